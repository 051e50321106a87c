// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor whose devices write to their user's memory when they are told to, by
 * an ioctl, and log where. They have a feature of their own as well.
 */
#include <linux/highmem.h>
#include <linux/interval_tree.h>
#include <linux/iommu.h>
#include <linux/log2.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/platform_device.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/xarray.h>

#include "mdev_test_log.h"

#define LOG_RANGES_MAX	256

/* VFIO_MIGRATION_PRE_COPY, which older headers lack; the bridge leaves it out there */
#define MIGRATION_PRE_COPY	BIT(2)

static bool careless;
module_param(careless, bool, 0644);
MODULE_PARM_DESC(careless, "report more than what is asked for");

struct test_range {
	u64 first, last;
};

/**
 * struct test_log - a mediated device
 * @lock: protects the rest
 * @number: the feature's
 * @shift: log2 of the size of what is logged as one; 0: nothing is
 * @nr_ranges: number of entries in @ranges
 * @ranges: what is logged
 * @dirty: what was written to, by address >> @shift
 */
struct test_log {
	struct mutex lock;	/* protects the rest */
	u64 number;
	unsigned int shift;
	unsigned int nr_ranges;
	struct test_range *ranges;
	struct xarray dirty;
};

static struct platform_device *test_parent;

static int test_create(struct kobject *kobj, struct mdev_device *mdev)
{
	struct test_log *log = kzalloc_obj(*log);

	if (!log)
		return -ENOMEM;
	mutex_init(&log->lock);
	xa_init(&log->dirty);
	mdev_set_drvdata(mdev, log);
	return 0;
}

static int test_remove(struct mdev_device *mdev)
{
	kfree(mdev_get_drvdata(mdev));
	return 0;
}

static void test_log_forget(struct test_log *log)
{
	lockdep_assert_held(&log->lock);
	xa_destroy(&log->dirty);
	kfree(log->ranges);
	log->ranges = NULL;
	log->nr_ranges = 0;
	log->shift = 0;
}

/* VFIO does not stop the log when its user goes without a word. */
static void test_release(struct mdev_device *mdev)
{
	struct test_log *log = mdev_get_drvdata(mdev);

	mutex_lock(&log->lock);
	test_log_forget(log);
	log->number = 0;
	mutex_unlock(&log->lock);
}

/* Log a write that has happened: before it, a report might come in between. */
static int test_log_write(struct test_log *log, u64 iova, u64 last)
{
	u64 index, first, end;
	unsigned int i;
	void *old;

	lockdep_assert_held(&log->lock);
	for (i = 0; i < log->nr_ranges; i++) {
		first = max(iova, log->ranges[i].first);
		end = min(last, log->ranges[i].last);
		if (first > end)
			continue;
		for (index = first >> log->shift; index <= end >> log->shift;
		     index++) {
			old = xa_store(&log->dirty, index, xa_mk_value(1),
				       GFP_KERNEL);
			if (xa_is_err(old))
				return xa_err(old);
		}
	}
	return 0;
}

static int test_write_pinned(struct mdev_device *mdev, u64 iova, u8 value,
			     u32 count)
{
	struct page *page;
	int ret;

	if (offset_in_page(iova) + count > PAGE_SIZE)
		return -EINVAL;
	ret = mdev_pin_pages(mdev, iova, 1, IOMMU_READ | IOMMU_WRITE, &page);
	if (ret != 1)
		return ret;
	memset_page(page, offset_in_page(iova), value, count);
	mdev_unpin_pages(mdev, iova, 1);
	return 0;
}

static int test_write_copied(struct mdev_device *mdev, u64 iova, u8 value,
			     u32 count)
{
	void *data = kmalloc(count, GFP_KERNEL_ACCOUNT);
	int ret;

	if (!data)
		return -ENOMEM;
	memset(data, value, count);
	ret = mdev_dma_rw(mdev, iova, data, count, true);
	kfree(data);
	return ret;
}

static int test_write(struct mdev_device *mdev, void __user *arg)
{
	struct test_log *log = mdev_get_drvdata(mdev);
	struct mdev_test_write write;
	u64 last;
	int ret;

	if (copy_from_user(&write, arg, sizeof(write)))
		return -EFAULT;
	if (!write.count || write.count > SZ_64K ||
	    check_add_overflow(write.iova, (u64)write.count - 1, &last))
		return -EINVAL;

	/* not under our lock, which op dma_unmap might want in other vendors */
	if (write.pin)
		ret = test_write_pinned(mdev, write.iova, write.value,
					write.count);
	else
		ret = test_write_copied(mdev, write.iova, write.value,
					write.count);
	if (ret)
		return ret;

	mutex_lock(&log->lock);
	ret = test_log_write(log, write.iova, last);
	mutex_unlock(&log->lock);
	return ret;
}

static long test_ioctl(struct mdev_device *mdev, unsigned int cmd,
		       unsigned long arg)
{
	switch (cmd) {
	case MDEV_TEST_WRITE:
		return test_write(mdev, (void __user *)arg);
	case MDEV_TEST_PRECOPY_INFO:
		return mdev_mig_precopy_info_v2(mdev);
	default:
		return -ENOTTY;
	}
}

/* A device that could be migrated, if it could leave its state. */

static struct file *test_set_state(struct mdev_device *mdev,
				   enum vfio_device_mig_state new_state)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static int test_get_state(struct mdev_device *mdev, enum vfio_device_mig_state *state)
{
	*state = VFIO_DEVICE_STATE_RUNNING;
	return 0;
}

static int test_get_data_size(struct mdev_device *mdev, unsigned long *size)
{
	*size = 0;
	return 0;
}

/* Nothing stays pinned for longer than the ioctl, which the user waits for. */
static void test_dma_unmap(struct mdev_device *mdev, u64 iova, u64 length)
{
}

static int test_device_feature(struct mdev_device *mdev, u32 flags,
			       void __user *arg, size_t argsz)
{
	struct test_log *log = mdev_get_drvdata(mdev);
	u64 number;
	int ret;

	if ((flags & VFIO_DEVICE_FEATURE_MASK) != MDEV_TEST_FEATURE)
		return -ENOTTY;
	ret = vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_GET |
				 VFIO_DEVICE_FEATURE_SET, sizeof(number));
	if (ret != 1)
		return ret;

	if (flags & VFIO_DEVICE_FEATURE_SET) {
		if (copy_from_user(&number, arg, sizeof(number)))
			return -EFAULT;
		mutex_lock(&log->lock);
		log->number = number;
		mutex_unlock(&log->lock);
		return 0;
	}

	mutex_lock(&log->lock);
	number = log->number;
	mutex_unlock(&log->lock);
	return copy_to_user(arg, &number, sizeof(number)) ? -EFAULT : 0;
}

static int test_log_start(struct mdev_device *mdev, struct rb_root_cached *root,
			  u32 nnodes, u64 *page_size)
{
	struct test_log *log = mdev_get_drvdata(mdev);
	struct interval_tree_node *node;
	struct test_range *ranges;
	unsigned int i = 0;
	int ret = 0;

	if (nnodes > LOG_RANGES_MAX)
		return -E2BIG;
	/* the user's wish, which may be anything */
	if (!is_power_of_2(*page_size) || *page_size < SZ_4K ||
	    *page_size > SZ_1G)
		*page_size = SZ_4K;
	ranges = kcalloc(nnodes, sizeof(*ranges), GFP_KERNEL_ACCOUNT);
	if (!ranges)
		return -ENOMEM;
	for (node = interval_tree_iter_first(root, 0, ULONG_MAX);
	     node && i < nnodes;
	     node = interval_tree_iter_next(node, 0, ULONG_MAX), i++) {
		ranges[i].first = node->start;
		ranges[i].last = node->last;
	}

	mutex_lock(&log->lock);
	if (log->shift) {
		ret = -EINVAL;
	} else {
		log->shift = ilog2(*page_size);
		log->nr_ranges = i;
		swap(log->ranges, ranges);
	}
	mutex_unlock(&log->lock);
	kfree(ranges);
	return ret;
}

static int test_log_stop(struct mdev_device *mdev)
{
	struct test_log *log = mdev_get_drvdata(mdev);
	int ret = 0;

	mutex_lock(&log->lock);
	if (log->shift)
		test_log_forget(log);
	else
		ret = -EINVAL;
	mutex_unlock(&log->lock);
	return ret;
}

/* A vendor that does not care what it was asked about, and worse. */
static void test_report_carelessly(struct mdev_device *mdev,
				   struct mdev_dirty *dirty,
				   unsigned long iova, unsigned long size)
{
	mdev_log_dirty(mdev, dirty, iova, size);
	mdev_log_dirty(mdev, dirty, 0, PAGE_SIZE);
	mdev_log_dirty(mdev, dirty, ULONG_MAX, PAGE_SIZE);
	mdev_log_dirty(mdev, dirty, iova + size / 2, 0);
	mdev_log_dirty(mdev, dirty, iova + size / 2, ULONG_MAX);
}

static int test_log_read_and_clear(struct mdev_device *mdev, unsigned long iova,
				   unsigned long length,
				   struct mdev_dirty *dirty)
{
	struct test_log *log = mdev_get_drvdata(mdev);
	unsigned long index, first, last, size;
	void *entry;
	int ret = 0;

	mutex_lock(&log->lock);
	if (!log->shift) {
		ret = -EINVAL;
		goto out;
	}
	size = 1UL << log->shift;
	xa_for_each_range(&log->dirty, index, entry, iova >> log->shift,
			  (iova + length - 1) >> log->shift) {
		/* what we call a page may begin before what is asked for */
		first = max(index << log->shift, iova);
		last = min((index << log->shift) + size - 1, iova + length - 1);
		if (careless)
			test_report_carelessly(mdev, dirty, index << log->shift,
					       size);
		else
			mdev_log_dirty(mdev, dirty, first, last - first + 1);
		/* the rest of it has not been reported */
		if (last - first + 1 == size)
			xa_erase(&log->dirty, index);
	}
out:
	mutex_unlock(&log->lock);
	return ret;
}

static ssize_t name_show(struct kobject *kobj, struct device *dev, char *buf)
{
	return sysfs_emit(buf, "%s\n", kobject_name(kobj));
}

static MDEV_TYPE_ATTR_RO(name);

static ssize_t device_api_show(struct kobject *kobj, struct device *dev,
			       char *buf)
{
	return sysfs_emit(buf, "vfio-pci\n");
}

static MDEV_TYPE_ATTR_RO(device_api);

static ssize_t available_instances_show(struct kobject *kobj,
					struct device *dev, char *buf)
{
	return sysfs_emit(buf, "16\n");
}

static MDEV_TYPE_ATTR_RO(available_instances);

static struct attribute *test_type_attrs[] = {
	&mdev_type_attr_name.attr,
	&mdev_type_attr_device_api.attr,
	&mdev_type_attr_available_instances.attr,
	NULL
};

static struct attribute_group test_type_group = {
	.name	= "1",
	.attrs	= test_type_attrs,
};

static struct attribute_group *test_type_groups[] = {
	&test_type_group,
	NULL
};

static const struct mdev_parent_ops test_ops = {
	.owner			= THIS_MODULE,
	.supported_type_groups	= test_type_groups,
	.create			= test_create,
	.remove			= test_remove,
	.release		= test_release,
	.ioctl			= test_ioctl,
	.dma_unmap		= test_dma_unmap,
	.device_feature		= test_device_feature,
	.migration_flags	= VFIO_MIGRATION_STOP_COPY | MIGRATION_PRE_COPY,
	.migration_set_state	= test_set_state,
	.migration_get_state	= test_get_state,
	.migration_get_data_size = test_get_data_size,
	.log_start		= test_log_start,
	.log_stop		= test_log_stop,
	.log_read_and_clear	= test_log_read_and_clear,
};

static int __init test_init(void)
{
	int ret;

	test_parent = platform_device_register_simple("mdev_test_log", -1,
						      NULL, 0);
	if (IS_ERR(test_parent))
		return PTR_ERR(test_parent);
	ret = mdev_register_device(&test_parent->dev, &test_ops);
	if (ret)
		platform_device_unregister(test_parent);
	return ret;
}

static void __exit test_exit(void)
{
	mdev_unregister_device(&test_parent->dev);
	platform_device_unregister(test_parent);
}

module_init(test_init);
module_exit(test_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Vendor with dirty logging for tests of mdev");
