// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor of Linux 5.10 whose devices migrate by the first protocol: VMMs use a region of
 * theirs. What does not matter for that is the kit's. The state is some megabytes, and
 * changes while the device runs.
 */
#include <linux/bitmap.h>
#include <linux/mdev_pci.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "mdev_test_v1.h"

static unsigned int fail;
module_param(fail, uint, 0644);
MODULE_PARM_DESC(fail, "what fails or is nonsense, see mdev_test_v1.h (0: nothing)");

/* where the region is for the ops, and the data in it */
#define TEST_POS	((u64)TEST_V1_REGION << 40)
#define TEST_DATA	SZ_4K

/* a piece as it is in the region */
struct test_piece {
	u32 number;
	u32 seed;
	u8 data[TEST_V1_PIECE];
};

#define TEST_SIZE	(TEST_DATA + sizeof(struct test_piece))

struct test_v1 {
	struct mdev_pci pci;
	struct mutex lock;	/* protects the rest */
	u32 seed;
	u8 *state;
	DECLARE_BITMAP(dirty, TEST_V1_PIECES);
	struct vfio_device_migration_info info;
	struct test_piece *piece;
};

static struct test_v1 *to_test(struct mdev_pci *pci)
{
	return container_of(pci, struct test_v1, pci);
}

/* ---- The device ---- */

static u32 test_sum(struct test_v1 *test)
{
	u32 sum = test->seed;
	size_t i;

	for (i = 0; i < TEST_V1_PIECES * TEST_V1_PIECE; i += 4)
		sum = sum * 31 + *(u32 *)(test->state + i);
	return sum;
}

static void test_set_seed(struct test_v1 *test, u32 seed)
{
	size_t i;

	test->seed = seed;
	for (i = 0; i < TEST_V1_PIECES * TEST_V1_PIECE; i += 4) {
		seed = seed * 1664525 + 1013904223;
		*(u32 *)(test->state + i) = seed;
	}
	bitmap_fill(test->dirty, TEST_V1_PIECES);
}

static void test_reset_locked(struct test_v1 *test)
{
	lockdep_assert_held(&test->lock);
	test_set_seed(test, 0);
	memset(&test->info, 0, sizeof(test->info));
	test->info.device_state = VFIO_DEVICE_STATE_RUNNING;
	memset(test->piece, 0, sizeof(*test->piece));
}

static void test_reset(struct mdev_pci *pci)
{
	struct test_v1 *test = to_test(pci);

	mutex_lock(&test->lock);
	test_reset_locked(test);
	mutex_unlock(&test->lock);
}

static u64 test_reg_read(struct mdev_pci *pci, const struct mdev_pci_region *bar,
			 u64 offset, unsigned int width)
{
	struct test_v1 *test = to_test(pci);
	u32 val = U32_MAX;

	mutex_lock(&test->lock);
	if (offset == TEST_V1_SEED)
		val = test->seed;
	else if (offset == TEST_V1_SUM)
		val = test_sum(test);
	mutex_unlock(&test->lock);
	return val;
}

static void test_reg_write(struct mdev_pci *pci, const struct mdev_pci_region *bar,
			   u64 offset, unsigned int width, u64 val)
{
	struct test_v1 *test = to_test(pci);

	mutex_lock(&test->lock);
	if (offset == TEST_V1_SEED) {
		test_set_seed(test, val);
	} else if (offset == TEST_V1_TOUCH && val < TEST_V1_PIECES) {
		test->state[val * TEST_V1_PIECE + 5]++;
		__set_bit(val, test->dirty);
	} else if (offset == TEST_V1_RESET) {
		test_reset_locked(test);
	}
	mutex_unlock(&test->lock);
}

static void test_exit(struct mdev_pci *pci)
{
	struct test_v1 *test = to_test(pci);

	kvfree(test->state);
	kvfree(test->piece);
}

static int test_init(struct mdev_pci *pci)
{
	struct test_v1 *test = to_test(pci);

	mutex_init(&test->lock);
	test->state = kvzalloc(TEST_V1_PIECES * TEST_V1_PIECE, GFP_KERNEL);
	test->piece = kvzalloc(sizeof(*test->piece), GFP_KERNEL);
	if (test->state && test->piece)
		return 0;
	test_exit(pci);
	return -ENOMEM;
}

/* ---- Its migration ---- */

/* What VMMs of that time did; anything else is refused. */
static bool test_is_way(u32 from, u32 to)
{
	const u32 pre_copy = VFIO_DEVICE_STATE_RUNNING | VFIO_DEVICE_STATE_SAVING;

	switch (from) {
	case VFIO_DEVICE_STATE_RUNNING:
		return to == pre_copy || to == VFIO_DEVICE_STATE_SAVING ||
		       to == VFIO_DEVICE_STATE_STOP || to == VFIO_DEVICE_STATE_RESUMING;
	case VFIO_DEVICE_STATE_RUNNING | VFIO_DEVICE_STATE_SAVING:
		return to == VFIO_DEVICE_STATE_SAVING || to == VFIO_DEVICE_STATE_RUNNING ||
		       to == VFIO_DEVICE_STATE_STOP;
	case VFIO_DEVICE_STATE_SAVING:
	case VFIO_DEVICE_STATE_RESUMING:
		return to == VFIO_DEVICE_STATE_STOP || to == VFIO_DEVICE_STATE_RUNNING;
	case VFIO_DEVICE_STATE_STOP:
		return to == VFIO_DEVICE_STATE_RUNNING || to == VFIO_DEVICE_STATE_SAVING ||
		       to == VFIO_DEVICE_STATE_RESUMING;
	}
	return false;
}

static int test_set_state(struct test_v1 *test, u32 state)
{
	u32 from = test->info.device_state;

	if (fail == TEST_V1_ERROR)
		test->info.device_state = VFIO_DEVICE_STATE_SAVING |
					  VFIO_DEVICE_STATE_RESUMING;
	if (fail == TEST_V1_STATE || fail == TEST_V1_ERROR)
		return -EIO;
	if (!test_is_way(from, state))
		return -EINVAL;
	if (state & VFIO_DEVICE_STATE_SAVING && !(from & VFIO_DEVICE_STATE_SAVING)) {
		bitmap_zero(test->dirty, TEST_V1_PIECES);
		bitmap_set(test->dirty, 0,
			   fail == TEST_V1_SMALL ? TEST_V1_SMALL_PIECES : TEST_V1_PIECES);
	}
	test->info.device_state = state;
	return 0;
}

/* The number of the register is that of its first byte in the structure. */
static int test_info_read(struct test_v1 *test, size_t where)
{
	struct vfio_device_migration_info *info = &test->info;
	u32 number;

	switch (where) {
	case offsetof(struct vfio_device_migration_info, pending_bytes):
		if (fail == TEST_V1_PENDING)
			return -EIO;
		info->pending_bytes = (u64)bitmap_weight(test->dirty, TEST_V1_PIECES) *
				      sizeof(struct test_piece);
		break;
	case offsetof(struct vfio_device_migration_info, data_offset):
		info->data_offset = fail == TEST_V1_OFFSET_FAR ? 1ULL << 50 :
				    fail == TEST_V1_OFFSET_END ? TEST_SIZE :
				    fail == TEST_V1_OFFSET_LOW ? 8 : TEST_DATA;
		if (!(info->device_state & VFIO_DEVICE_STATE_SAVING))
			break;
		number = find_first_bit(test->dirty, TEST_V1_PIECES);
		if (number == TEST_V1_PIECES)
			return -ENODATA;
		test->piece->number = number;
		memcpy(test->piece->data, test->state + number * TEST_V1_PIECE,
		       TEST_V1_PIECE);
		test->piece->seed = test->seed;
		/* it may become dirty again before it has been read */
		__clear_bit(number, test->dirty);
		break;
	case offsetof(struct vfio_device_migration_info, data_size):
		info->data_size = fail == TEST_V1_SIZE_ZERO ? 0 :
				  fail == TEST_V1_SIZE_LARGE ? sizeof(struct test_piece) + 1 :
				  fail == TEST_V1_SIZE_WRAPS ? U64_MAX :
				  sizeof(struct test_piece);
		break;
	}
	return 0;
}

static int test_take(struct test_v1 *test, u64 size)
{
	if (fail == TEST_V1_TAKE)
		return -EIO;
	if (test->info.device_state != VFIO_DEVICE_STATE_RESUMING ||
	    size != sizeof(struct test_piece) || test->piece->number >= TEST_V1_PIECES)
		return -EINVAL;
	memcpy(test->state + test->piece->number * TEST_V1_PIECE, test->piece->data,
	       TEST_V1_PIECE);
	test->seed = test->piece->seed;
	return 0;
}

static ssize_t test_region_read(struct test_v1 *test, char __user *buf, size_t count,
				u64 where)
{
	void *from = (void *)&test->info + where;
	int ret;

	if (where >= TEST_DATA && where < TEST_SIZE) {
		if (fail == TEST_V1_READ_NONE)
			return 0;
		if (fail == TEST_V1_READ_NOMSG)
			return -ENOMSG;
		if (fail == TEST_V1_READ && where >= TEST_DATA + TEST_V1_PIECE / 2)
			return -EIO;
		count = min_t(size_t, count, TEST_V1_PIECE / 2);
		from = (void *)test->piece + where - TEST_DATA;
		count = min_t(size_t, count, TEST_SIZE - where);
	} else if (where < sizeof(test->info) && count <= sizeof(test->info) - where) {
		ret = test_info_read(test, where);
		if (ret)
			return ret;
	} else {
		return -EINVAL;
	}
	return copy_to_user(buf, from, count) ? -EFAULT : count;
}

static ssize_t test_region_write(struct test_v1 *test, const char __user *buf,
				 size_t count, u64 where)
{
	union {
		u32 state;
		u64 size;
	} val;
	int ret = -EINVAL;

	if (where >= TEST_DATA && where < TEST_SIZE) {
		if (fail == TEST_V1_WRITE)
			return -EIO;
		count = min_t(size_t, count, TEST_SIZE - where);
		return copy_from_user((void *)test->piece + where - TEST_DATA, buf, count) ?
		       -EFAULT : count;
	}
	if (count > sizeof(val) || copy_from_user(&val, buf, count))
		return -EFAULT;
	if (where == offsetof(struct vfio_device_migration_info, device_state) &&
	    count == 4)
		ret = test_set_state(test, val.state);
	else if (where == offsetof(struct vfio_device_migration_info, data_size) &&
		 count == 8)
		ret = test_take(test, val.size);
	return ret ?: count;
}

/* ---- The ops ---- */

static ssize_t test_read(struct mdev_device *mdev, char __user *buf, size_t count,
			 loff_t *ppos)
{
	struct test_v1 *test = to_test(mdev_pci_of(mdev));
	ssize_t ret;

	if (*ppos >> 40 != TEST_V1_REGION)
		return mdev_pci_read(mdev, buf, count, ppos);
	if (fail == TEST_V1_SMALL && count > 8)
		return -EINVAL;
	mutex_lock(&test->lock);
	ret = test_region_read(test, buf, count, *ppos - TEST_POS);
	mutex_unlock(&test->lock);
	return ret;
}

static ssize_t test_write(struct mdev_device *mdev, const char __user *buf, size_t count,
			  loff_t *ppos)
{
	struct test_v1 *test = to_test(mdev_pci_of(mdev));
	ssize_t ret;

	if (*ppos >> 40 != TEST_V1_REGION)
		return mdev_pci_write(mdev, buf, count, ppos);
	if (fail == TEST_V1_SMALL && (count > 8 || *ppos % count))
		return -EINVAL;
	mutex_lock(&test->lock);
	ret = test_region_write(test, buf, count, *ppos - TEST_POS);
	mutex_unlock(&test->lock);
	return ret;
}

/* One that has nothing follows those of PCI, then that for migration. */
static long test_region_info(struct mdev_device *mdev, void __user *arg)
{
	struct {
		struct vfio_region_info info;
		struct vfio_region_info_cap_type cap;
	} answer = {};
	struct vfio_region_info *info = &answer.info;
	struct vfio_info_cap caps = {};
	u32 argsz;
	int ret;

	if (copy_from_user(info, arg, offsetofend(struct vfio_region_info, offset)))
		return -EFAULT;
	argsz = info->argsz;
	if (argsz < sizeof(*info))
		return -EINVAL;
	info->flags = 0;
	info->cap_offset = 0;
	info->size = 0;
	if (info->index < VFIO_PCI_NUM_REGIONS) {
		ret = mdev_pci_get_region_info_caps(mdev, info, &caps);
		kfree(caps.buf);
		return ret ?: copy_to_user(arg, info, sizeof(*info)) ? -EFAULT : 0;
	}
	if (info->index > TEST_V1_REGION)
		return -EINVAL;
	info->argsz = sizeof(answer);
	info->offset = (u64)info->index << 40;
	if (info->index == TEST_V1_REGION) {
		info->size = TEST_SIZE;
		info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
			      VFIO_REGION_INFO_FLAG_CAPS;
		info->cap_offset = argsz < sizeof(answer) ? 0 : sizeof(*info);
		answer.cap.header.id = VFIO_REGION_INFO_CAP_TYPE;
		answer.cap.header.version = 1;
		answer.cap.type = VFIO_REGION_TYPE_MIGRATION;
		answer.cap.subtype = VFIO_REGION_SUBTYPE_MIGRATION;
	}
	return copy_to_user(arg, &answer, argsz < sizeof(answer) ? sizeof(*info) :
			    sizeof(answer)) ? -EFAULT : 0;
}

static long test_ioctl(struct mdev_device *mdev, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	u32 regions = TEST_V1_REGION + 1;
	long ret;

	if (cmd == VFIO_DEVICE_GET_REGION_INFO)
		return test_region_info(mdev, user);
	ret = mdev_pci_ioctl(mdev, cmd, arg);
	if (!ret && cmd == VFIO_DEVICE_GET_INFO &&
	    copy_to_user(user + offsetof(struct vfio_device_info, num_regions), &regions,
			 sizeof(regions)))
		return -EFAULT;
	return ret;
}

static const struct mdev_pci_region test_regions[] = {
	[VFIO_PCI_BAR0_REGION_INDEX] = {
		.size = 4096, .width = 4, .min_width = 4,
		.read = test_reg_read, .write = test_reg_write,
	},
};

static const struct mdev_pci_ops test_pci_ops = {
	.init	= test_init,
	.exit	= test_exit,
	.reset	= test_reset,
};

static const struct mdev_pci_desc test_desc = {
	.vendor		= 0x1b36,
	.device		= 0x0ffa,
	.class		= 0xff0000,
	.regions	= test_regions,
	.nr_regions	= ARRAY_SIZE(test_regions),
	MDEV_PCI_DEVICE(struct test_v1, pci),
	.ops		= &test_pci_ops,
};

static const struct mdev_pci_type test_types[] = {
	{ .name = "1", .desc = &test_desc },
};

static struct mdev_pci_parent test_parent = {
	.ops = {
		.owner		= THIS_MODULE,
		.create		= mdev_pci_create,
		.remove		= mdev_pci_remove,
		.open		= mdev_pci_open,
		.release	= mdev_pci_release,
		.read		= test_read,
		.write		= test_write,
		.ioctl		= test_ioctl,
		.mmap		= mdev_pci_mmap,
	},
	.types		= test_types,
	.nr_types	= ARRAY_SIZE(test_types),
	.units		= 16,
};

module_mdev_pci_virtual(test_parent, "mdev_test_v1");

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("mdev test vendor with the first protocol of migration");
