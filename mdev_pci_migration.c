// SPDX-License-Identifier: GPL-2.0-only
/*
 * Migration: the states, the file by which user space reads or writes the device's state,
 * and its format; and reset, which ends a migration that is under way.
 *
 * A stream is a header, configuration space, the fields of the vendor's table, and the
 * memory of all regions with MDEV_PCI_RAM. Devices that can load each other's state have
 * the same header, except for the version and the size.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mdev_pci_private.h"

static_assert(MDEV_PCI_MIGRATION_FLAGS == (VFIO_MIGRATION_STOP_COPY |
					   VFIO_MIGRATION_P2P |
					   VFIO_MIGRATION_PRE_COPY));

/* ---- What is in a stream ---- */

struct mdev_pci_header {
	__le32 magic;
	__le16 version;
	__le16 variant;
	__le32 size;	/* of what follows */
};

static unsigned int mdev_pci_min_version(const struct mdev_pci_migration *mig)
{
	return mig->min_version ?: mig->version;
}

static size_t mdev_pci_fields_size(const struct mdev_pci_migration *mig,
				   unsigned int version)
{
	size_t size = 0;
	unsigned int i;

	for (i = 0; i < mig->nr_fields; i++)
		if (mig->fields[i].version <= version)
			size += mig->fields[i].size * mig->fields[i].count;
	return size;
}

static size_t mdev_pci_ram_size(const struct mdev_pci *pci)
{
	size_t size = 0;
	unsigned int i;

	for (i = 0; i < pci->desc->nr_regions; i++)
		if (pci->desc->regions[i].flags & MDEV_PCI_RAM)
			size += pci->desc->regions[i].size;
	return size;
}

/* The size of a stream of a version that the vendor knows. */
static size_t mdev_pci_stream_size(const struct mdev_pci *pci,
				   unsigned int version)
{
	return sizeof(struct mdev_pci_header) + pci->config_size +
	       mdev_pci_fields_size(pci->desc->migration, version) +
	       mdev_pci_ram_size(pci);
}

static u64 mdev_pci_get_element(const void *from, unsigned int size)
{
	switch (size) {
	case 1:
		return *(const u8 *)from;
	case 2:
		return *(const u16 *)from;
	case 4:
		return *(const u32 *)from;
	default:
		return *(const u64 *)from;
	}
}

static void mdev_pci_put_element(void *to, unsigned int size, u64 val)
{
	switch (size) {
	case 1:
		*(u8 *)to = val;
		break;
	case 2:
		*(u16 *)to = val;
		break;
	case 4:
		*(u32 *)to = val;
		break;
	default:
		*(u64 *)to = val;
		break;
	}
}

/* Save the state at @to; returns the end. */
static u8 *mdev_pci_encode(const struct mdev_pci_migration *mig,
			   const void *state, u8 *to)
{
	const struct mdev_pci_field *field;
	unsigned int i, j;
	__le64 val;

	for (i = 0; i < mig->nr_fields; i++) {
		field = &mig->fields[i];
		for (j = 0; j < field->count; j++, to += field->size) {
			val = cpu_to_le64(mdev_pci_get_element(state +
				field->offset + j * field->size, field->size));
			memcpy(to, &val, field->size);
		}
	}
	return to;
}

/* Load the state of a @version; returns the end, or NULL if an element is not valid. */
static const u8 *mdev_pci_decode(const struct mdev_pci_migration *mig,
				 unsigned int version, void *state,
				 const u8 *from)
{
	const struct mdev_pci_field *field;
	unsigned int i, j;
	__le64 raw;
	u64 val;

	for (i = 0; i < mig->nr_fields; i++) {
		field = &mig->fields[i];
		if (field->version > version)
			continue;
		for (j = 0; j < field->count; j++, from += field->size) {
			raw = 0;
			memcpy(&raw, from, field->size);
			val = le64_to_cpu(raw);
			if (val & ~field->mask)
				return NULL;
			mdev_pci_put_element(state + field->offset +
					     j * field->size, field->size, val);
		}
	}
	return from;
}

static void *mdev_pci_state(struct mdev_pci *pci)
{
	return (void *)pci - pci->desc->offset +
	       pci->desc->migration->state_offset;
}

static u8 *mdev_pci_save_ram(struct mdev_pci *pci, u8 *to)
{
	unsigned int i;

	for (i = 0; i < pci->desc->nr_regions; i++) {
		if (!mdev_pci_ram(pci, i))
			continue;
		memcpy(to, pci->ram[i], pci->desc->regions[i].size);
		to += pci->desc->regions[i].size;
	}
	return to;
}

static void mdev_pci_load_ram(struct mdev_pci *pci, const u8 *from)
{
	unsigned int i;

	for (i = 0; i < pci->desc->nr_regions; i++) {
		if (!mdev_pci_ram(pci, i))
			continue;
		memcpy(pci->ram[i], from, pci->desc->regions[i].size);
		from += pci->desc->regions[i].size;
	}
}

static void mdev_pci_save_header(const struct mdev_pci *pci,
				 struct mdev_pci_header *header)
{
	const struct mdev_pci_migration *mig = pci->desc->migration;

	header->magic = cpu_to_le32(mig->magic);
	header->version = cpu_to_le16(mig->version);
	header->variant = cpu_to_le16(mig->variant);
	header->size = cpu_to_le32(mdev_pci_stream_size(pci, mig->version) -
				   sizeof(*header));
}

/* Save all that follows the header. */
static void mdev_pci_save(struct mdev_pci *pci, u8 *to)
{
	spin_lock_irq(&pci->lock);
	mdev_pci_config_save(pci, to);
	spin_unlock_irq(&pci->lock);
	to = mdev_pci_encode(pci->desc->migration, mdev_pci_state(pci),
			     to + pci->config_size);
	mdev_pci_save_ram(pci, to);
}

/* Load what follows the header; if that fails, the device is not changed. */
static int mdev_pci_load(struct mdev_pci *pci, unsigned int version,
			 const u8 *from)
{
	const struct mdev_pci_migration *mig = pci->desc->migration;
	const u8 *config = from, *ram;
	void *state;
	int ret;

	if (!mdev_pci_config_valid(pci, config))
		return -EINVAL;
	/* + 1: the state may be empty */
	state = kvzalloc(mig->state_size + 1, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!state)
		return -ENOMEM;
	ram = mdev_pci_decode(mig, version, state, from + pci->config_size);
	ret = ram ? 0 : -EINVAL;
	if (!ret && mig->check)
		ret = mig->check(pci, state);
	if (ret)
		goto out_free;

	memcpy(mdev_pci_state(pci), state, mig->state_size);
	mdev_pci_load_ram(pci, ram);
	spin_lock_irq(&pci->lock);
	mdev_pci_config_load(pci, config);
	mdev_pci_irq_reset(pci);
	spin_unlock_irq(&pci->lock);
	/* other regions may be decoded now */
	mdev_pci_revoke_bars(pci);

out_free:
	kvfree(state);
	return ret;
}

/* ---- The file ---- */

/**
 * struct mdev_pci_stream - the file by which user space reads or writes a state
 * @file: the file; the device has a reference on it
 * @owner: the vendor's module; the file pins it
 * @wait: for more data to read
 * @lock: protects what follows
 * @over: the device has ended it: every access fails
 * @complete: saving: all is there, not only the header
 * @refused: resuming: the data is not valid
 * @writing: resuming: user memory is being copied to @data, from @size on
 * @readers: saving: how many copy @data to user memory
 * @pos: saving: how much was read
 * @size: how much there is
 * @limit: how much there will be
 * @header: resuming: the header that this device writes
 * @min_version: resuming: the oldest version that can be loaded
 * @sizes: resuming: header.size of each version, from @min_version on
 * @data: the contents. They do not change any more up to @size. NULL when the stream is over
 *	and nobody copies from or to it.
 *
 * User space may keep the file open longer than the device exists, so this has no pointer to
 * the device. User memory is not accessed under the lock.
 */
struct mdev_pci_stream {
	struct file *file;
	struct module *owner;
	wait_queue_head_t wait;
	spinlock_t lock;	/* protects what follows */
	bool over;
	bool complete;
	bool refused;
	bool writing;
	unsigned int readers;
	size_t pos;
	size_t size;
	size_t limit;
	struct mdev_pci_header header;
	unsigned int min_version;
	u32 *sizes;
	u8 *data;
};

/* Returns the data, for kvfree() without the lock, if the stream is over and nobody uses it. */
static u8 *mdev_pci_stream_take(struct mdev_pci_stream *stream)
{
	u8 *data = NULL;

	lockdep_assert_held(&stream->lock);
	if (stream->over && !stream->readers && !stream->writing)
		swap(data, stream->data);
	return data;
}

static ssize_t mdev_pci_stream_read(struct file *file, char __user *buf,
				    size_t count, loff_t *ppos)
{
	struct mdev_pci_stream *stream = file->private_data;
	bool copied;
	size_t pos;
	int ret = 0;
	u8 *data;

	spin_lock(&stream->lock);
	pos = stream->pos;
	count = min(count, stream->size - pos);
	if (stream->over)
		ret = -ENODEV;
	else if (pos == stream->size && !stream->complete)
		ret = -ENOMSG;	/* there will be more, in STOP_COPY */
	if (!ret) {
		stream->pos += count;
		stream->readers++;
	}
	spin_unlock(&stream->lock);
	if (ret)
		return ret;

	copied = !copy_to_user(buf, stream->data + pos, count);
	spin_lock(&stream->lock);
	stream->readers--;
	/* if another reader has read on, these bytes are lost */
	if (!copied && stream->pos == pos + count)
		stream->pos = pos;
	data = mdev_pci_stream_take(stream);
	spin_unlock(&stream->lock);
	kvfree(data);
	return copied ? count : -EFAULT;
}

/* Can the device load a stream with this header? If so, set the limit. */
static bool mdev_pci_header_valid(struct mdev_pci_stream *stream)
{
	struct mdev_pci_header header;
	unsigned int version;
	u32 size;

	memcpy(&header, stream->data, sizeof(header));
	version = le16_to_cpu(header.version);
	if (header.magic != stream->header.magic ||
	    header.variant != stream->header.variant ||
	    version < stream->min_version ||
	    version > le16_to_cpu(stream->header.version))
		return false;
	size = stream->sizes[version - stream->min_version];
	if (le32_to_cpu(header.size) != size)
		return false;
	stream->limit = sizeof(header) + size;
	return stream->size <= stream->limit;
}

/* There are @count bytes more. */
static int mdev_pci_stream_grow(struct mdev_pci_stream *stream, size_t count)
{
	lockdep_assert_held(&stream->lock);
	stream->size += count;
	/* refuse it early: in PRE_COPY, the device still runs at the source */
	if (stream->size < sizeof(stream->header) ||
	    mdev_pci_header_valid(stream))
		return 0;
	stream->refused = true;
	return -EINVAL;
}

static int mdev_pci_stream_may_grow(struct mdev_pci_stream *stream, size_t count)
{
	lockdep_assert_held(&stream->lock);
	if (stream->over)
		return -ENODEV;
	if (stream->refused)
		return -EINVAL;
	if (stream->writing)
		return -EBUSY;
	if (count <= stream->limit - stream->size)
		return 0;
	stream->refused = true;
	return -EFBIG;
}

static ssize_t mdev_pci_stream_write(struct file *file, const char __user *buf,
				     size_t count, loff_t *ppos)
{
	struct mdev_pci_stream *stream = file->private_data;
	bool copied;
	u8 *data;
	int ret;

	spin_lock(&stream->lock);
	ret = mdev_pci_stream_may_grow(stream, count);
	if (!ret)
		stream->writing = true;
	spin_unlock(&stream->lock);
	if (ret)
		return ret;

	/* @writing keeps others from changing the size */
	copied = !copy_from_user(stream->data + stream->size, buf, count);
	spin_lock(&stream->lock);
	stream->writing = false;
	if (stream->over)
		ret = -ENODEV;
	else if (!copied)
		ret = -EFAULT;
	else
		ret = mdev_pci_stream_grow(stream, count);
	data = mdev_pci_stream_take(stream);
	spin_unlock(&stream->lock);
	kvfree(data);
	return ret ?: count;
}

/* Before the device is stopped, only the header can be read. */
static long mdev_pci_stream_ioctl(struct file *file, unsigned int cmd,
				  unsigned long arg)
{
	const size_t minsz = offsetofend(struct vfio_precopy_info, dirty_bytes);
	struct mdev_pci_stream *stream = file->private_data;
	struct vfio_precopy_info info;
	int ret = 0;

	if (cmd != VFIO_MIG_GET_PRECOPY_INFO)
		return -ENOTTY;
	if (copy_from_user(&info, (void __user *)arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;

	spin_lock(&stream->lock);
	if (stream->over)
		ret = -ENODEV;
	else if (stream->complete)
		ret = -EINVAL;
	info.flags = 0;
	info.initial_bytes = stream->size - stream->pos;
	info.dirty_bytes = 0;
	spin_unlock(&stream->lock);
	if (ret)
		return ret;
	return copy_to_user((void __user *)arg, &info, minsz) ? -EFAULT : 0;
}

static __poll_t mdev_pci_stream_poll(struct file *file,
				     struct poll_table_struct *wait)
{
	struct mdev_pci_stream *stream = file->private_data;
	__poll_t events = 0;

	poll_wait(file, &stream->wait, wait);
	spin_lock(&stream->lock);
	if (stream->pos < stream->size || stream->complete)
		events = EPOLLIN | EPOLLRDNORM;
	if (stream->over)
		events = EPOLLERR | EPOLLHUP;
	spin_unlock(&stream->lock);
	return events;
}

static void mdev_pci_stream_free(struct mdev_pci_stream *stream)
{
	kvfree(stream->data);
	kfree(stream->sizes);
	kfree(stream);
}

static int mdev_pci_stream_release(struct inode *inode, struct file *file)
{
	struct mdev_pci_stream *stream = file->private_data;

	/* taken in mdev_pci_stream_open() */
	module_put(stream->owner);
	mdev_pci_stream_free(stream);
	return 0;
}

static const struct file_operations mdev_pci_save_fops = {
	.owner		= THIS_MODULE,
	.read		= mdev_pci_stream_read,
	.poll		= mdev_pci_stream_poll,
	.unlocked_ioctl	= mdev_pci_stream_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.release	= mdev_pci_stream_release,
};

static const struct file_operations mdev_pci_resume_fops = {
	.owner		= THIS_MODULE,
	.write		= mdev_pci_stream_write,
	.release	= mdev_pci_stream_release,
};

static int mdev_pci_stream_alloc(struct mdev_pci *pci,
				 struct mdev_pci_stream *stream)
{
	const struct mdev_pci_migration *mig = pci->desc->migration;
	unsigned int min = mdev_pci_min_version(mig), i;

	spin_lock_init(&stream->lock);
	init_waitqueue_head(&stream->wait);
	/* the newest version is the longest */
	stream->limit = mdev_pci_stream_size(pci, mig->version);
	stream->min_version = min;
	mdev_pci_save_header(pci, &stream->header);
	stream->data = kvzalloc(stream->limit, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	stream->sizes = kcalloc(mig->version - min + 1, sizeof(*stream->sizes),
				GFP_KERNEL_ACCOUNT);
	if (!stream->data || !stream->sizes)
		return -ENOMEM;
	for (i = min; i <= mig->version; i++)
		stream->sizes[i - min] = mdev_pci_stream_size(pci, i) -
					 sizeof(stream->header);
	return 0;
}

/* Returns a file with two references: the device's, in pci->stream, and the caller's. */
static struct file *mdev_pci_stream_open(struct mdev_pci *pci, bool resume)
{
	struct mdev_pci_stream *stream;
	struct file *file;
	int ret;

	lockdep_assert_held(&pci->state_mutex);
	stream = kzalloc_obj(*stream, GFP_KERNEL_ACCOUNT);
	if (!stream)
		return ERR_PTR(-ENOMEM);
	ret = mdev_pci_stream_alloc(pci, stream);
	if (ret)
		goto err_free;
	if (!resume) {
		memcpy(stream->data, &stream->header, sizeof(stream->header));
		stream->size = sizeof(stream->header);
	}

	file = anon_inode_getfile("[mdev-pci]", resume ? &mdev_pci_resume_fops :
				  &mdev_pci_save_fops, stream,
				  resume ? O_WRONLY : O_RDONLY);
	if (IS_ERR(file)) {
		ret = PTR_ERR(file);
		goto err_free;
	}
	/* no seeking, and no lock that a read would hold */
	stream_open(file->f_inode, file);
	stream->file = get_file(file);
	/* an open device pins the owner; dropped in mdev_pci_stream_release() */
	stream->owner = pci->parent->ops.owner;
	__module_get(stream->owner);
	pci->stream = stream;
	return file;

err_free:
	mdev_pci_stream_free(stream);
	return ERR_PTR(ret);
}

/* The device is stopped: save its state. */
static void mdev_pci_stream_complete(struct mdev_pci *pci)
{
	struct mdev_pci_stream *stream = pci->stream;

	lockdep_assert_held(&pci->state_mutex);
	/* readers get only the header until @complete is set */
	mdev_pci_save(pci, stream->data + sizeof(stream->header));
	spin_lock(&stream->lock);
	stream->size = stream->limit;
	stream->complete = true;
	spin_unlock(&stream->lock);
	wake_up_interruptible(&stream->wait);
}

/*
 * From now on all accesses to the file fail. User space may keep it open for ever, so the
 * data is freed here, or by the last access that still uses it.
 */
static void mdev_pci_stream_end(struct mdev_pci *pci)
{
	struct mdev_pci_stream *stream = pci->stream;
	u8 *data;

	lockdep_assert_held(&pci->state_mutex);
	if (!stream)
		return;
	pci->stream = NULL;
	spin_lock(&stream->lock);
	stream->over = true;
	data = mdev_pci_stream_take(stream);
	spin_unlock(&stream->lock);
	kvfree(data);
	wake_up_interruptible(&stream->wait);
	/* taken in mdev_pci_stream_open(); may free the stream */
	fput(stream->file);
}

/* Load the state from the stream. Setting @over keeps user space from writing more. */
static int mdev_pci_stream_load(struct mdev_pci *pci)
{
	struct mdev_pci_stream *stream = pci->stream;
	struct mdev_pci_header header;
	bool valid;

	lockdep_assert_held(&pci->state_mutex);
	spin_lock(&stream->lock);
	valid = !stream->refused && !stream->writing &&
		stream->size >= sizeof(header) &&
		stream->size == stream->limit;
	stream->over = true;
	spin_unlock(&stream->lock);
	if (!valid)
		return -EINVAL;
	memcpy(&header, stream->data, sizeof(header));
	return mdev_pci_load(pci, le16_to_cpu(header.version),
			     stream->data + sizeof(header));
}

/* ---- The states ---- */

static bool mdev_pci_runs(enum vfio_device_mig_state state)
{
	return state == VFIO_DEVICE_STATE_RUNNING ||
	       state == VFIO_DEVICE_STATE_RUNNING_P2P ||
	       state == VFIO_DEVICE_STATE_PRE_COPY ||
	       state == VFIO_DEVICE_STATE_PRE_COPY_P2P;
}

static bool mdev_pci_streams(enum vfio_device_mig_state state)
{
	return state == VFIO_DEVICE_STATE_PRE_COPY ||
	       state == VFIO_DEVICE_STATE_PRE_COPY_P2P ||
	       state == VFIO_DEVICE_STATE_STOP_COPY ||
	       state == VFIO_DEVICE_STATE_RESUMING;
}

/* Keep accesses from beginning, and wait for those under way; undone if we are killed. */
static int mdev_pci_shut(struct mdev_pci *pci)
{
	int ret;

	atomic_add(MDEV_PCI_SHUT, &pci->active);
	ret = wait_var_event_killable(&pci->active,
				      atomic_read(&pci->active) == MDEV_PCI_SHUT);
	if (ret)
		atomic_sub(MDEV_PCI_SHUT, &pci->active);
	return ret ? -EINTR : 0;
}

static int mdev_pci_stop(struct mdev_pci *pci)
{
	const struct mdev_pci_migration *mig = pci->desc->migration;
	int ret;

	lockdep_assert_held(&pci->state_mutex);
	ret = mdev_pci_shut(pci);
	if (ret)
		return ret;
	if (mig->quiesce)
		mig->quiesce(pci);
	/* signal first what the vendor has raised until now */
	irq_work_sync(&pci->irq_work);
	mdev_pci_irq_hold_back(pci, true);
	pci->quiet = true;
	return 0;
}

static void mdev_pci_go_on(struct mdev_pci *pci)
{
	const struct mdev_pci_migration *mig = pci->desc->migration;

	lockdep_assert_held(&pci->state_mutex);
	if (!pci->quiet)
		return;
	pci->quiet = false;
	mdev_pci_irq_hold_back(pci, false);
	if (mig->resume)
		mig->resume(pci);
	atomic_sub(MDEV_PCI_SHUT, &pci->active);
}

/*
 * One arc of the state machine. The *_P2P states are the same as those without P2P, because
 * the devices do no DMA to each other.
 */
static struct file *mdev_pci_take_arc(struct mdev_pci *pci,
				      enum vfio_device_mig_state next)
{
	bool streams = mdev_pci_streams(pci->state);
	struct file *file = NULL;
	int ret = 0;

	if (mdev_pci_runs(pci->state) && !mdev_pci_runs(next)) {
		ret = mdev_pci_stop(pci);
		if (ret)
			return ERR_PTR(ret);
	}
	if (!streams && mdev_pci_streams(next)) {
		file = mdev_pci_stream_open(pci, next == VFIO_DEVICE_STATE_RESUMING);
		if (IS_ERR(file))
			return file;
	}
	if (pci->state == VFIO_DEVICE_STATE_RESUMING)
		ret = mdev_pci_stream_load(pci);
	if (streams && !mdev_pci_streams(next))
		mdev_pci_stream_end(pci);
	if (ret) {
		/* the device keeps its old state, but user space wanted another */
		WRITE_ONCE(pci->state, VFIO_DEVICE_STATE_ERROR);
		return ERR_PTR(ret);
	}

	if (!mdev_pci_runs(pci->state) && mdev_pci_runs(next))
		mdev_pci_go_on(pci);
	if (next == VFIO_DEVICE_STATE_STOP_COPY)
		mdev_pci_stream_complete(pci);
	WRITE_ONCE(pci->state, next);
	return file;
}

/**
 * mdev_pci_migration_set_state - the op migration_set_state
 * @mdev: the device
 * @new_state: as the op says
 *
 * Context: process context, sleeps.
 * Return: a file or NULL, as the op says; -EINVAL if there is no such transition, or if the
 * data that was written is not valid; -EINTR if the caller was killed; -ENOMEM.
 */
struct file *
mdev_pci_migration_set_state(struct mdev_device *mdev,
			     enum vfio_device_mig_state new_state)
{
	struct mdev_pci *pci = mdev_pci_of(mdev);
	enum vfio_device_mig_state next;
	struct file *file = NULL;
	int ret;

	ret = mutex_lock_killable(&pci->state_mutex);
	if (ret)
		return ERR_PTR(ret);
	/* an arc that returns a file is the last one */
	while (pci->state != new_state && !IS_ERR(file)) {
		ret = mdev_mig_get_next_state(mdev, pci->state, new_state,
					      &next);
		file = ret ? ERR_PTR(ret) : mdev_pci_take_arc(pci, next);
	}
	mutex_unlock(&pci->state_mutex);
	return file;
}
EXPORT_SYMBOL_GPL(mdev_pci_migration_set_state);

/**
 * mdev_pci_migration_get_state - the op migration_get_state
 * @mdev: the device
 * @state: as the op says
 *
 * Does not wait for a transition that is under way.
 *
 * Context: any.
 * Return: 0
 */
int mdev_pci_migration_get_state(struct mdev_device *mdev,
				 enum vfio_device_mig_state *state)
{
	*state = READ_ONCE(mdev_pci_of(mdev)->state);
	return 0;
}
EXPORT_SYMBOL_GPL(mdev_pci_migration_get_state);

/**
 * mdev_pci_migration_get_data_size - the op migration_get_data_size
 * @mdev: the device
 * @size: as the op says
 *
 * Context: any.
 * Return: 0
 */
int mdev_pci_migration_get_data_size(struct mdev_device *mdev,
				     unsigned long *size)
{
	struct mdev_pci *pci = mdev_pci_of(mdev);

	*size = mdev_pci_stream_size(pci, pci->desc->migration->version);
	return 0;
}
EXPORT_SYMBOL_GPL(mdev_pci_migration_get_data_size);

/* ---- Reset ---- */

/*
 * Reset all except MDEV_PCI_RAM. How interrupts are signalled does not change. A migration
 * that is under way ends.
 */
void mdev_pci_reset_locked(struct mdev_pci *pci)
{
	lockdep_assert_held(&pci->state_mutex);
	mdev_pci_stream_end(pci);
	/* an interrupt that was raised before must not be signalled afterwards */
	irq_work_sync(&pci->irq_work);
	WRITE_ONCE(pci->state, VFIO_DEVICE_STATE_RUNNING);

	spin_lock_irq(&pci->lock);
	mdev_pci_config_reset(pci);
	mdev_pci_irq_reset(pci);
	spin_unlock_irq(&pci->lock);
	mdev_pci_unpin_all(pci);
	if (pci->desc->ops->reset)
		pci->desc->ops->reset(pci);
	mdev_pci_revoke_bars(pci);
	mdev_pci_go_on(pci);
}

/**
 * mdev_pci_reset - reset a device as VFIO_DEVICE_RESET does
 * @pci: the device, which is open
 *
 * Context: process context, sleeps; not from a callback of a register, nor from @reset,
 * @quiesce, @resume or @check.
 * Return: 0; -EINTR if the caller was killed while it waited for a reset or a transition.
 */
int mdev_pci_reset(struct mdev_pci *pci)
{
	int ret;

	ret = mutex_lock_killable(&pci->state_mutex);
	if (ret)
		return ret;
	mdev_pci_ram_reset(pci);
	mdev_pci_reset_locked(pci);
	mutex_unlock(&pci->state_mutex);
	return 0;
}
EXPORT_SYMBOL_GPL(mdev_pci_reset);
