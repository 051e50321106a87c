// SPDX-License-Identifier: GPL-2.0-only
/*
 * Vendors that speak the first protocol of live migration, that of Linux 5.8 to 5.17: user
 * space used a region of theirs. Now it uses the second protocol, and the bridge uses the
 * region, which user space does not see.
 *
 * A stream has the pieces that the vendor puts into the region, as the vendor may rely on
 * getting the same ones: 8 bytes that name this format, then the length of each piece and
 * the piece, and a length of 0 at the end. Numbers are little endian, with 64 bits.
 *
 * The read and write ops of vendors know only user memory, so the bridge lends them some of
 * the caller's. A process can make that memory come late, or never, and the lock is held
 * meanwhile, for which a close of the device waits. Who has only a stream must not do that
 * to others: a stream is for the process that has asked for it. A stream has a mutex of its
 * own, outside of the lock, for accesses to the buffers of its user.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "mdev_bridge.h"
#include "vfio_mdev_private.h"

/* "mdev" and "v1" */
#define VFIO_MDEV_V1_FORMAT		0x000031767665646dULL

/* the longest piece: a stream that comes from user space can name any length */
#define VFIO_MDEV_V1_PIECE_MAX		SZ_64M

/* how much memory is lent at once */
#define VFIO_MDEV_V1_LENT		SZ_64K

/* no vendor has so many regions */
#define VFIO_MDEV_V1_REGIONS_MAX	64

/**
 * struct vfio_mdev_v1 - an open device whose vendor has a migration region
 * @ops: what VFIO has of it; the first member
 * @refs: one for the device as long as it is open, one for each stream's file
 * @lock: protects what follows, and is held while the region is used
 * @lent: user memory of whoever holds the lock
 * @vm: the device, or NULL when it is closed
 * @index: of the region
 * @offset: of the region, for the vendor's ops
 * @size: of the region
 * @small: the vendor takes accesses of 8 bytes at most
 * @state: what user space was told
 * @streams: how many streams there were
 * @current_nr: number of the stream that can be used, or 0
 * @partial: it is to be written, and the end has not come
 */
struct vfio_mdev_v1 {
	struct vfio_migration_ops ops;
	refcount_t refs;
	struct mutex lock;		/* protects what follows */
	unsigned long lent;
	struct vfio_mdev *vm;
	u32 index;
	u64 offset;
	u64 size;
	bool small;
	enum vfio_device_mig_state state;
	u64 streams;
	u64 current_nr;
	bool partial;
};

/**
 * struct vfio_mdev_v1_stream - the data of a migration, as a file
 * @v1: the device
 * @nr: @v1->current_nr as long as it can be used
 * @mm: of the process that uses it; only compared
 * @saving: user space reads it
 * @mutex: one access at a time; protects what follows. Outside of @v1->lock
 * @begun: the format was written
 * @complete: the end was read or written
 * @error: why it is of no more use, or 0: the vendor may have a part of a piece
 * @head: written so far of a number
 * @head_len: how many bytes of it
 * @buf: a piece, in a saved stream with the number before it; NULL if there is none
 * @size: its length
 * @pos: what of it was read, or written
 */
struct vfio_mdev_v1_stream {
	struct vfio_mdev_v1 *v1;
	u64 nr;
	struct mm_struct *mm;
	bool saving;
	struct mutex mutex;		/* protects what follows */
	bool begun;
	bool complete;
	int error;
	__le64 head;
	size_t head_len;
	void *buf;
	size_t size;
	size_t pos;
};

/* the first protocol's name for a state of the second */
static const u32 vfio_mdev_v1_states[] = {
	[VFIO_DEVICE_STATE_STOP]	= VFIO_DEVICE_STATE_V1_STOP,
	[VFIO_DEVICE_STATE_RUNNING]	= VFIO_DEVICE_STATE_V1_RUNNING,
	[VFIO_DEVICE_STATE_STOP_COPY]	= VFIO_DEVICE_STATE_V1_SAVING,
	[VFIO_DEVICE_STATE_RESUMING]	= VFIO_DEVICE_STATE_V1_RESUMING,
	[VFIO_DEVICE_STATE_PRE_COPY]	= VFIO_DEVICE_STATE_V1_RUNNING |
					  VFIO_DEVICE_STATE_V1_SAVING,
};

static bool vfio_mdev_v1_is_state(enum vfio_device_mig_state state)
{
	return state == VFIO_DEVICE_STATE_STOP || vfio_mdev_v1_states[state];
}

static struct vfio_mdev_v1 *vfio_mdev_v1_of(struct vfio_device *vdev)
{
	/* older kernels know only the first part of the ops, see compat/ */
	return container_of((void *)vdev->mig_ops, struct vfio_mdev_v1, ops);
}

static int vfio_mdev_v1_lock(struct vfio_mdev_v1 *v1)
{
	if (mutex_lock_killable(&v1->lock))
		return -EINTR;
	v1->lent = vfio_mdev_lend(VFIO_MDEV_V1_LENT);
	if (!IS_ERR_VALUE(v1->lent))
		return 0;
	mutex_unlock(&v1->lock);
	return (long)v1->lent;
}

static void vfio_mdev_v1_unlock(struct vfio_mdev_v1 *v1)
{
	vfio_mdev_take_back(v1->lent, VFIO_MDEV_V1_LENT);
	mutex_unlock(&v1->lock);
}

static void vfio_mdev_v1_put(struct vfio_mdev_v1 *v1)
{
	if (!refcount_dec_and_test(&v1->refs))
		return;
	mutex_destroy(&v1->lock);
	kfree(v1);
}

/* ---- The region, with the lock held ---- */

/* One call of the vendor's op. */
static ssize_t vfio_mdev_v1_call(struct vfio_mdev_v1 *v1, loff_t pos, void *data,
				 size_t n, bool write)
{
	const struct mdev_parent_ops *ops = v1->vm->ops;
	struct mdev_device *mdev = mdev_of(v1->vm);
	void __user *lent = (void __user *)v1->lent;
	ssize_t ret;

	if (write && copy_to_user(lent, data, n))
		return -EFAULT;
	ret = write ? ops->write(mdev, lent, n, &pos) :
		      ops->read(mdev, lent, n, &pos);
	if (ret < 0)
		return mdev_vendor_errno(vfio_mdev_dev(v1->vm), write ? "write" : "read", ret);
	if (!ret || ret > n)
		return -EIO;
	if (!write && copy_from_user(data, lent, ret))
		return -EFAULT;
	return ret;
}

/* How much of @left bytes at @pos is accessed at once; VMMs did it by 8 bytes at most. */
static size_t vfio_mdev_v1_width(struct vfio_mdev_v1 *v1, u64 pos, size_t left)
{
	size_t width = 8;

	if (!v1->small)
		return min_t(size_t, left, VFIO_MDEV_V1_LENT);
	while (width > left || pos % width)
		width /= 2;
	return width;
}

static int vfio_mdev_v1_access(struct vfio_mdev_v1 *v1, u64 offset, void *data,
			       size_t len, bool write)
{
	u64 pos = v1->offset + offset;
	size_t done = 0, n;
	ssize_t ret;

	while (done < len) {
		n = vfio_mdev_v1_width(v1, pos + done, len - done);
		ret = vfio_mdev_v1_call(v1, pos + done, data + done, n, write);
		if (ret > 0)
			done += ret;
		else if (ret == -EINVAL && n > 8)
			v1->small = true;
		else
			return ret;
		/* a register is accessed as a whole, data can be much */
		if (done < len && fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/* A register of the region, which vendors expect to be accessed as a whole. */
#define vfio_mdev_v1_reg(name)	offsetof(struct vfio_device_migration_info, name)

static int vfio_mdev_v1_get(struct vfio_mdev_v1 *v1, u64 reg, u64 *value)
{
	return vfio_mdev_v1_access(v1, reg, value, sizeof(*value), false);
}

static void vfio_mdev_v1_nonsense(struct vfio_mdev_v1 *v1, const char *what)
{
	dev_warn_ratelimited(vfio_mdev_dev(v1->vm),
			     "vendor's migration region: %s\n", what);
}

/* Where does the vendor have its data, and is there room for some? */
static int vfio_mdev_v1_data_offset(struct vfio_mdev_v1 *v1, u64 *offset)
{
	int ret;

	ret = vfio_mdev_v1_get(v1, vfio_mdev_v1_reg(data_offset), offset);
	if (ret)
		return ret;
	/* before it are the registers */
	if (*offset >= sizeof(struct vfio_device_migration_info) && *offset < v1->size)
		return 0;
	vfio_mdev_v1_nonsense(v1, "data_offset is none that can be");
	return -EIO;
}

/* Which state is the vendor in? ERROR is one that it should not be in. */
static int vfio_mdev_v1_read_state(struct vfio_mdev_v1 *v1,
				   enum vfio_device_mig_state *state, u32 *now)
{
	int ret, i;

	*state = VFIO_DEVICE_STATE_ERROR;
	ret = vfio_mdev_v1_access(v1, vfio_mdev_v1_reg(device_state), now, sizeof(*now),
				  false);
	for (i = VFIO_DEVICE_STATE_STOP; !ret && i < ARRAY_SIZE(vfio_mdev_v1_states); i++)
		if (vfio_mdev_v1_is_state(i) &&
		    vfio_mdev_v1_states[i] == (*now & VFIO_DEVICE_STATE_MASK))
			*state = i;
	return ret;
}

/* A vendor that has failed, or was reset behind our back, says in which state it is. */
static void vfio_mdev_v1_learn_state(struct vfio_mdev_v1 *v1)
{
	u32 now;

	vfio_mdev_v1_read_state(v1, &v1->state, &now);
	v1->partial = v1->state == VFIO_DEVICE_STATE_RESUMING;
	v1->current_nr = 0;
}

static int vfio_mdev_v1_write_state(struct vfio_mdev_v1 *v1,
				    enum vfio_device_mig_state state)
{
	enum vfio_device_mig_state now;
	u32 bits;
	int ret;

	ret = vfio_mdev_v1_read_state(v1, &now, &bits);
	if (ret)
		return ret;
	if (now != v1->state) {
		vfio_mdev_v1_learn_state(v1);
		return -EIO;
	}
	/* the other bits stay as they are */
	bits = (bits & ~VFIO_DEVICE_STATE_MASK) | vfio_mdev_v1_states[state];
	ret = vfio_mdev_v1_access(v1, vfio_mdev_v1_reg(device_state), &bits, sizeof(bits),
				  true);
	if (ret && (vfio_mdev_v1_read_state(v1, &now, &bits) || now != v1->state))
		vfio_mdev_v1_learn_state(v1);
	return ret;
}

/* ---- Streams ---- */

static int vfio_mdev_v1_lock_stream(struct vfio_mdev_v1_stream *stream)
{
	return current->mm == stream->mm ? vfio_mdev_v1_lock(stream->v1) : -EPERM;
}

static bool vfio_mdev_v1_is_current(struct vfio_mdev_v1_stream *stream)
{
	return stream->v1->vm && stream->v1->current_nr == stream->nr;
}

/* Put a number into the stream, and @size bytes after it that vfio_mdev_v1_access() gets. */
static int vfio_mdev_v1_stage(struct vfio_mdev_v1_stream *stream, u64 number,
			      u64 offset, size_t size)
{
	__le64 head = cpu_to_le64(number);
	int ret;

	kvfree(stream->buf);
	stream->pos = 0;
	stream->size = 0;
	stream->buf = kvmalloc(sizeof(head) + size,
			       GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!stream->buf)
		return -ENOMEM;
	memcpy(stream->buf, &head, sizeof(head));
	ret = size ? vfio_mdev_v1_access(stream->v1, offset, stream->buf + sizeof(head),
					 size, false) : 0;
	/* what has not come cannot be read */
	if (!ret)
		stream->size = sizeof(head) + size;
	return ret;
}

/*
 * Have the vendor put the next piece into the region, and get it. Returns 1 if there is none
 * now. At the end the stream gets a 0.
 */
static int vfio_mdev_v1_fetch(struct vfio_mdev_v1_stream *stream)
{
	struct vfio_mdev_v1 *v1 = stream->v1;
	u64 pending, offset, size = 0;
	int ret;

	/* this also tells the vendor that the last piece was taken */
	ret = vfio_mdev_v1_get(v1, vfio_mdev_v1_reg(pending_bytes), &pending);
	if (!ret && pending)
		ret = vfio_mdev_v1_data_offset(v1, &offset) ?:
		      vfio_mdev_v1_get(v1, vfio_mdev_v1_reg(data_size), &size);
	if (ret)
		return ret;
	if (!size && v1->state == VFIO_DEVICE_STATE_PRE_COPY)
		return 1;
	if (!size) {
		stream->complete = true;
		return vfio_mdev_v1_stage(stream, 0, 0, 0);
	}
	if (size > v1->size - offset || size > VFIO_MDEV_V1_PIECE_MAX) {
		vfio_mdev_v1_nonsense(v1, "data_size is none that can be");
		return -EIO;
	}
	return vfio_mdev_v1_stage(stream, size, offset, size);
}

/* The same, if the device is where it was. */
static int vfio_mdev_v1_fetch_current(struct vfio_mdev_v1_stream *stream)
{
	struct vfio_mdev_v1 *v1 = stream->v1;
	enum vfio_device_mig_state now;
	u32 bits;
	int ret;

	if (!vfio_mdev_v1_is_current(stream))
		return -ENODEV;
	/* it may have been reset in another way */
	ret = vfio_mdev_v1_read_state(v1, &now, &bits);
	if (ret)
		return ret == -ENOMSG ? -EIO : ret;
	if (now != v1->state) {
		vfio_mdev_v1_learn_state(v1);
		return -ENODEV;
	}
	ret = vfio_mdev_v1_fetch(stream);
	if (ret > 0)
		return -ENOMSG;
	/* VMMs take this one for the end */
	if (ret == -ENOMSG)
		ret = -EIO;
	stream->error = ret;
	return ret;
}

static int vfio_mdev_v1_next(struct vfio_mdev_v1_stream *stream)
{
	int ret;

	if (stream->error)
		return stream->error;
	if (stream->pos < stream->size || stream->complete)
		return 0;
	ret = vfio_mdev_v1_lock_stream(stream);
	if (ret)
		return ret;
	ret = vfio_mdev_v1_fetch_current(stream);
	vfio_mdev_v1_unlock(stream->v1);
	return ret;
}

static ssize_t vfio_mdev_v1_read(struct file *file, char __user *buf,
				 size_t count, loff_t *ppos)
{
	struct vfio_mdev_v1_stream *stream = file->private_data;
	size_t done = 0, n;
	int ret = 0;

	if (mutex_lock_killable(&stream->mutex))
		return -EINTR;
	while (done < count) {
		ret = vfio_mdev_v1_next(stream);
		n = min(count - done, stream->size - stream->pos);
		if (ret || !n)
			break;
		ret = -EFAULT;
		if (copy_to_user(buf + done, stream->buf + stream->pos, n))
			break;
		stream->pos += n;
		done += n;
	}
	mutex_unlock(&stream->mutex);
	return done ?: ret;
}

/* Give a piece to the vendor, in several if its region is smaller than the source's. */
static int vfio_mdev_v1_load(struct vfio_mdev_v1_stream *stream)
{
	struct vfio_mdev_v1 *v1 = stream->v1;
	u64 done, offset, n;
	int ret;

	for (done = 0; done < stream->size; done += n) {
		ret = vfio_mdev_v1_data_offset(v1, &offset);
		if (ret)
			return ret;
		n = min_t(u64, stream->size - done, v1->size - offset);
		ret = vfio_mdev_v1_access(v1, offset, stream->buf + done, n, true) ?:
		      vfio_mdev_v1_access(v1, vfio_mdev_v1_reg(data_size), &n,
					  sizeof(n), true);
		if (ret)
			return ret;
	}
	return 0;
}

/* A number has come: the format, then the length of a piece, or 0 at the end. */
static int vfio_mdev_v1_number(struct vfio_mdev_v1_stream *stream, u64 number)
{
	stream->head_len = 0;
	if (!stream->begun) {
		stream->begun = true;
		return number == VFIO_MDEV_V1_FORMAT ? 0 : -EINVAL;
	}
	if (!number) {
		stream->complete = true;
		stream->v1->partial = false;
		return 0;
	}
	if (number > VFIO_MDEV_V1_PIECE_MAX)
		return -EINVAL;
	stream->buf = kvmalloc(number, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!stream->buf)
		return -ENOMEM;
	stream->size = number;
	stream->pos = 0;
	return 0;
}

/* A number has come as a whole, or a piece. */
static int vfio_mdev_v1_came(struct vfio_mdev_v1_stream *stream)
{
	int ret;

	ret = vfio_mdev_v1_lock_stream(stream);
	if (ret)
		return ret;
	if (!vfio_mdev_v1_is_current(stream)) {
		ret = -ENODEV;
	} else if (stream->buf) {
		ret = vfio_mdev_v1_load(stream);
		kvfree(stream->buf);
		stream->buf = NULL;
	} else {
		ret = vfio_mdev_v1_number(stream, le64_to_cpu(stream->head));
	}
	vfio_mdev_v1_unlock(stream->v1);
	return ret;
}

static int vfio_mdev_v1_take(struct vfio_mdev_v1_stream *stream,
			     const char __user *from, size_t count)
{
	size_t *pos = stream->buf ? &stream->pos : &stream->head_len;
	size_t size = stream->buf ? stream->size : sizeof(stream->head);
	void *to = stream->buf ?: &stream->head;
	size_t n = min(count, size - *pos);
	int ret;

	if (stream->error)
		return stream->error;
	if (stream->complete)
		return -EINVAL;
	if (copy_from_user(to + *pos, from, n))
		return -EFAULT;
	*pos += n;
	ret = *pos == size ? vfio_mdev_v1_came(stream) : 0;
	stream->error = ret;
	return ret ?: n;
}

static ssize_t vfio_mdev_v1_write(struct file *file, const char __user *buf,
				  size_t count, loff_t *ppos)
{
	struct vfio_mdev_v1_stream *stream = file->private_data;
	size_t done;
	int ret = 0;

	if (mutex_lock_killable(&stream->mutex))
		return -EINTR;
	for (done = 0; done < count; done += ret) {
		ret = vfio_mdev_v1_take(stream, buf + done, count - done);
		if (ret < 0)
			break;
	}
	mutex_unlock(&stream->mutex);
	return done ?: ret;
}

static long vfio_mdev_v1_precopy_info(struct vfio_mdev_v1_stream *stream,
				      struct vfio_precopy_info *info)
{
	struct vfio_mdev_v1 *v1 = stream->v1;
	int ret;

	info->initial_bytes = stream->size - stream->pos;
	ret = vfio_mdev_v1_lock_stream(stream);
	if (ret)
		return ret;
	if (!vfio_mdev_v1_is_current(stream))
		ret = -ENODEV;
	else if (v1->state != VFIO_DEVICE_STATE_PRE_COPY)
		ret = -EINVAL;
	else
		ret = vfio_mdev_v1_get(v1, vfio_mdev_v1_reg(pending_bytes), &info->dirty_bytes);
	vfio_mdev_v1_unlock(v1);
	return ret;
}

static long vfio_mdev_v1_ioctl_stream(struct file *file, unsigned int cmd,
				      unsigned long arg)
{
	const size_t minsz = offsetofend(struct vfio_precopy_info, dirty_bytes);
	struct vfio_mdev_v1_stream *stream = file->private_data;
	void __user *user = (void __user *)arg;
	struct vfio_precopy_info info;
	long ret;

	if (cmd != VFIO_MIG_GET_PRECOPY_INFO || !stream->saving)
		return -ENOTTY;
	if (copy_from_user(&info, user, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	info.flags = 0;
	if (mutex_lock_killable(&stream->mutex))
		return -EINTR;
	ret = vfio_mdev_v1_precopy_info(stream, &info);
	mutex_unlock(&stream->mutex);
	return ret ?: copy_to_user(user, &info, minsz) ? -EFAULT : 0;
}

static int vfio_mdev_v1_release(struct inode *inode, struct file *file)
{
	struct vfio_mdev_v1_stream *stream = file->private_data;

	kvfree(stream->buf);
	mutex_destroy(&stream->mutex);
	mmdrop(stream->mm);
	vfio_mdev_v1_put(stream->v1);
	kfree(stream);
	return 0;
}

static const struct file_operations vfio_mdev_v1_saving = {
	.owner		= THIS_MODULE,
	.read		= vfio_mdev_v1_read,
	.unlocked_ioctl	= vfio_mdev_v1_ioctl_stream,
	.compat_ioctl	= compat_ptr_ioctl,
	.release	= vfio_mdev_v1_release,
};

static const struct file_operations vfio_mdev_v1_resuming = {
	.owner		= THIS_MODULE,
	.write		= vfio_mdev_v1_write,
	.release	= vfio_mdev_v1_release,
};

/* The file becomes the one that can be used when the vendor has changed its state. */
static struct file *vfio_mdev_v1_open_stream(struct vfio_mdev_v1 *v1, bool saving)
{
	struct vfio_mdev_v1_stream *stream;
	struct file *file;
	int ret;

	stream = kzalloc_obj(*stream, GFP_KERNEL_ACCOUNT);
	if (!stream)
		return ERR_PTR(-ENOMEM);
	ret = saving ? vfio_mdev_v1_stage(stream, VFIO_MDEV_V1_FORMAT, 0, 0) : 0;
	if (ret)
		goto err_free;
	file = anon_inode_getfile("[mdev-migration]",
				  saving ? &vfio_mdev_v1_saving : &vfio_mdev_v1_resuming,
				  stream, saving ? O_RDONLY : O_WRONLY);
	if (IS_ERR(file)) {
		ret = PTR_ERR(file);
		goto err_free;
	}
	stream_open(file_inode(file), file);
	mutex_init(&stream->mutex);
	stream->saving = saving;
	mmgrab(current->mm);
	stream->mm = current->mm;
	stream->v1 = v1;
	stream->nr = ++v1->streams;
	refcount_inc(&v1->refs);
	return file;

err_free:
	kvfree(stream->buf);
	kfree(stream);
	return ERR_PTR(ret);
}

/* ---- The second protocol ---- */

static bool vfio_mdev_v1_has_stream(enum vfio_device_mig_state state)
{
	return state == VFIO_DEVICE_STATE_PRE_COPY ||
	       state == VFIO_DEVICE_STATE_STOP_COPY ||
	       state == VFIO_DEVICE_STATE_RESUMING;
}

/*
 * The next state on the way to @end. VMMs took some ways in one step that the second protocol
 * has two for, with the device stopped in between, and vendors may know no others.
 */
static int vfio_mdev_v1_next_state(struct vfio_mdev_v1 *v1,
				   enum vfio_device_mig_state end,
				   enum vfio_device_mig_state *next)
{
	enum vfio_device_mig_state cur = v1->state;
	int ret;

	/* no way leads into this state by request, or out of it; VFIO warns of who asks */
	if (cur == VFIO_DEVICE_STATE_ERROR || end == VFIO_DEVICE_STATE_ERROR)
		return -EINVAL;
	ret = vfio_mig_get_next_state(&v1->vm->vdev, cur, end, next);
	if (cur == VFIO_DEVICE_STATE_RUNNING || end == VFIO_DEVICE_STATE_RUNNING)
		*next = end;
	return ret;
}

/* Returns NULL, or the file that user space gets if this was the last step. */
static struct file *vfio_mdev_v1_step(struct vfio_mdev_v1 *v1,
				      enum vfio_device_mig_state state)
{
	bool goes_on = v1->state == VFIO_DEVICE_STATE_PRE_COPY &&
		       state == VFIO_DEVICE_STATE_STOP_COPY;
	struct file *file = NULL;
	int ret;

	/* the vendor would run with a part of a state */
	if (v1->state == VFIO_DEVICE_STATE_RESUMING && v1->partial)
		return ERR_PTR(-EINVAL);
	if (vfio_mdev_v1_has_stream(state) && !goes_on)
		file = vfio_mdev_v1_open_stream(v1, state != VFIO_DEVICE_STATE_RESUMING);
	if (IS_ERR(file))
		return file;
	ret = vfio_mdev_v1_write_state(v1, state);
	if (ret) {
		if (file)
			fput(file);
		return ERR_PTR(ret);
	}
	v1->state = state;
	v1->partial = state == VFIO_DEVICE_STATE_RESUMING;
	if (!goes_on)
		v1->current_nr = file ? v1->streams : 0;
	return file;
}

static struct file *vfio_mdev_v1_move(struct vfio_mdev_v1 *v1,
				      enum vfio_device_mig_state end)
{
	enum vfio_device_mig_state next;
	struct file *file = NULL;
	int ret;

	while (v1->state != end) {
		/* that of a state on the way */
		if (file)
			fput(file);
		ret = vfio_mdev_v1_next_state(v1, end, &next);
		if (ret)
			return ERR_PTR(ret);
		file = vfio_mdev_v1_step(v1, next);
		if (IS_ERR(file))
			return file;
	}
	return file;
}

static struct file *vfio_mdev_v1_set_state(struct vfio_device *vdev,
					   enum vfio_device_mig_state state)
{
	struct vfio_mdev_v1 *v1 = vfio_mdev_v1_of(vdev);
	struct file *file;
	int ret;

	ret = vfio_mdev_v1_lock(v1);
	if (ret)
		return ERR_PTR(ret);
	file = vfio_mdev_v1_move(v1, state);
	vfio_mdev_v1_unlock(v1);
	return file;
}

static int vfio_mdev_v1_get_state(struct vfio_device *vdev,
				  enum vfio_device_mig_state *state)
{
	struct vfio_mdev_v1 *v1 = vfio_mdev_v1_of(vdev);
	int ret;

	ret = vfio_mdev_v1_lock(v1);
	if (ret)
		return ret;
	*state = v1->state;
	vfio_mdev_v1_unlock(v1);
	return 0;
}

/* A vendor knows only while it saves; until then, what its region has room for. */
static int vfio_mdev_v1_get_data_size(struct vfio_device *vdev,
				      unsigned long *stop_copy_length)
{
	struct vfio_mdev_v1 *v1 = vfio_mdev_v1_of(vdev);
	u64 pending = v1->size;
	int ret;

	ret = vfio_mdev_v1_lock(v1);
	if (ret)
		return ret;
	if (v1->state == VFIO_DEVICE_STATE_PRE_COPY ||
	    v1->state == VFIO_DEVICE_STATE_STOP_COPY)
		ret = vfio_mdev_v1_get(v1, vfio_mdev_v1_reg(pending_bytes), &pending);
	vfio_mdev_v1_unlock(v1);
	*stop_copy_length = min_t(u64, pending, ULONG_MAX);
	return ret;
}

static const struct vfio_migration_ops vfio_mdev_v1_ops = {
	.migration_set_state	 = vfio_mdev_v1_set_state,
	.migration_get_state	 = vfio_mdev_v1_get_state,
	.migration_get_data_size = vfio_mdev_v1_get_data_size,
};

static long vfio_mdev_v1_reset(struct vfio_mdev_v1 *v1, unsigned long arg)
{
	long ret;

	ret = vfio_mdev_v1_lock(v1);
	if (ret)
		return ret;
	ret = v1->vm->ops->ioctl(mdev_of(v1->vm), VFIO_DEVICE_RESET, arg);
	if (!ret)
		vfio_mdev_v1_learn_state(v1);
	vfio_mdev_v1_unlock(v1);
	return ret;
}

/* The region is there, as those after it keep their numbers, but has no size. */
static long vfio_mdev_v1_region_info(struct vfio_mdev_v1 *v1, unsigned long arg)
{
	const size_t minsz = offsetofend(struct vfio_region_info, offset);
	void __user *user = (void __user *)arg;
	struct vfio_region_info info;

	if (copy_from_user(&info, user, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	if (info.index != v1->index)
		return v1->vm->ops->ioctl(mdev_of(v1->vm),
					  VFIO_DEVICE_GET_REGION_INFO, arg);
	info = (struct vfio_region_info){ .argsz = minsz, .index = v1->index };
	return copy_to_user(user, &info, minsz) ? -EFAULT : 0;
}

/* vfio_mdev.ioctl of such a device */
static long vfio_mdev_v1_ioctl(struct mdev_device *mdev, unsigned int cmd,
			       unsigned long arg)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);
	struct vfio_mdev_v1 *v1 = vfio_mdev_v1_of(&vm->vdev);

	switch (cmd) {
	case VFIO_DEVICE_RESET:
		return vfio_mdev_v1_reset(v1, arg);
	case VFIO_DEVICE_GET_REGION_INFO:
		return vfio_mdev_v1_region_info(v1, arg);
	}
	return vm->ops->ioctl(mdev, cmd, arg);
}

/* ---- The life of an open device ---- */

/* The number of regions that the device has, and of those that every one of its kind has. */
static int vfio_mdev_v1_count(struct vfio_mdev *vm, u32 *first, u32 *end)
{
	struct vfio_device_info info = {
		.argsz = offsetofend(struct vfio_device_info, num_irqs),
	};
	unsigned long addr = vfio_mdev_lend(sizeof(info));
	long ret;

	if (IS_ERR_VALUE(addr))
		return (long)addr;
	ret = -EFAULT;
	if (!copy_to_user((void __user *)addr, &info, sizeof(info)))
		ret = vm->ioctl(mdev_of(vm), VFIO_DEVICE_GET_INFO, addr);
	if (!ret && copy_from_user(&info, (void __user *)addr, sizeof(info)))
		ret = -EFAULT;
	vfio_mdev_take_back(addr, sizeof(info));
	if (ret)
		return ret;
	*first = info.flags & VFIO_DEVICE_FLAGS_PCI ? VFIO_PCI_NUM_REGIONS : 0;
	*end = min_t(u32, info.num_regions, *first + VFIO_MDEV_V1_REGIONS_MAX);
	return 0;
}

/* Does one of these say that the region is for migration? */
static bool vfio_mdev_v1_is_migration(const struct vfio_info_cap *caps)
{
	struct vfio_region_info_cap_type cap;
	size_t offset = 0;

	while (offset + sizeof(cap) <= caps->size) {
		memcpy(&cap, (void *)caps->buf + offset, sizeof(cap));
		if (cap.header.id == VFIO_REGION_INFO_CAP_TYPE)
			return cap.type == VFIO_REGION_TYPE_MIGRATION_DEPRECATED &&
			       cap.subtype == VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED;
		offset = cap.header.next;
		if (!offset)
			break;
	}
	return false;
}

/* Returns false if the device has no such region. */
static bool vfio_mdev_v1_find(struct vfio_mdev *vm, struct vfio_region_info *info)
{
	struct vfio_info_cap caps;
	u32 index, end;
	bool found;
	int ret;

	if (vfio_mdev_v1_count(vm, &index, &end))
		return false;
	for (found = false; index < end && !found; index++) {
		caps = (struct vfio_info_cap){};
		info->index = index;
		ret = vfio_mdev_get_region_info_caps(&vm->vdev, info, &caps);
		found = !ret && info->size > sizeof(struct vfio_device_migration_info) &&
			vfio_mdev_v1_is_migration(&caps);
		kfree(caps.buf);
	}
	return found;
}

/*
 * The vendor's open op has returned. A device that is short of memory here is one that
 * cannot be migrated.
 */
void vfio_mdev_v1_begin(struct vfio_mdev *vm)
{
	struct vfio_region_info info = {};
	struct vfio_mdev_v1 *v1;

	if (vm->vdev.mig_ops || !vm->ops->ioctl || !vm->ops->read || !vm->ops->write ||
	    vfio_mdev_has_region_op(&vm->vdev) || !vfio_mdev_v1_find(vm, &info))
		return;
	v1 = kzalloc_obj(*v1, GFP_KERNEL_ACCOUNT);
	if (!v1)
		return;
	v1->ops = vfio_mdev_v1_ops;
	refcount_set(&v1->refs, 1);
	mutex_init(&v1->lock);
	v1->vm = vm;
	v1->index = info.index;
	v1->offset = info.offset;
	v1->size = info.size;
	v1->state = VFIO_DEVICE_STATE_RUNNING;
	/* as it should be now; but a vendor may keep it from the last opener */
	if (!vfio_mdev_v1_lock(v1)) {
		vfio_mdev_v1_learn_state(v1);
		vfio_mdev_v1_unlock(v1);
	}
	vm->vdev.migration_flags = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_PRE_COPY;
	vm->vdev.mig_ops = (const void *)&v1->ops;
	vm->ioctl = vfio_mdev_v1_ioctl;
}

/* The vendor's release op will be called: streams do not use its region any more. */
void vfio_mdev_v1_end(struct vfio_mdev *vm)
{
	struct vfio_mdev_v1 *v1;

	if (vm->ioctl != vfio_mdev_v1_ioctl)
		return;
	v1 = vfio_mdev_v1_of(&vm->vdev);
	mutex_lock(&v1->lock);
	v1->vm = NULL;
	mutex_unlock(&v1->lock);
	vm->ioctl = vm->ops->ioctl;
	vm->vdev.mig_ops = NULL;
	vm->vdev.migration_flags = 0;
	vfio_mdev_v1_put(v1);
}
