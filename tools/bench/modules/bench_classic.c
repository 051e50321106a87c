// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor of the classic door: the bridge makes VFIO devices of its devices.
 */
#include <linux/iommu.h>
#include <linux/mdev.h>

#include "bench.h"

static ssize_t device_api_show(struct kobject *kobj, struct device *dev,
			       char *buf)
{
	return sysfs_emit(buf, "%s\n", VFIO_DEVICE_API_PLATFORM_STRING);
}

static MDEV_TYPE_ATTR_RO(device_api);

static struct attribute *bench_attrs[] = {
	&mdev_type_attr_device_api.attr,
	NULL
};

static struct attribute_group bench_group = {
	.name	= "bench",
	.attrs	= bench_attrs,
};

static struct attribute_group *bench_types[] = { &bench_group, NULL };

static int bench_mdev_create(struct kobject *kobj, struct mdev_device *mdev)
{
	return 0;
}

static int bench_mdev_remove(struct mdev_device *mdev)
{
	return 0;
}

static int bench_mdev_open(struct mdev_device *mdev)
{
	struct bench_region *region = bench_open();

	mdev_set_drvdata(mdev, region);
	return region ? 0 : -ENOMEM;
}

static void bench_mdev_release(struct mdev_device *mdev)
{
	bench_close(mdev_get_drvdata(mdev));
}

static ssize_t bench_mdev_read(struct mdev_device *mdev, char __user *buf,
			       size_t count, loff_t *ppos)
{
	return bench_read(mdev_get_drvdata(mdev), buf, count, ppos);
}

static ssize_t bench_mdev_write(struct mdev_device *mdev,
				const char __user *buf, size_t count,
				loff_t *ppos)
{
	return bench_write(mdev_get_drvdata(mdev), buf, count, ppos);
}

static long bench_mdev_ioctl(struct mdev_device *mdev, unsigned int cmd,
			     unsigned long arg)
{
	struct bench_region *region = mdev_get_drvdata(mdev);

	switch (cmd) {
	case BENCH_NOTHING:
		return 0;
	case VFIO_DEVICE_GET_REGION_INFO:
		return bench_region_info(arg);
	case BENCH_PIN:
		if (arg > BENCH_MAX_PAGES)
			return -EINVAL;
		return mdev_pin_pages(mdev, 0, arg, IOMMU_READ | IOMMU_WRITE,
				      region->pages);
	case BENCH_UNPIN:
		mdev_unpin_pages(mdev, 0, arg);
		return 0;
	}
	return -ENOTTY;
}

static int bench_mdev_mmap(struct mdev_device *mdev, struct vm_area_struct *vma)
{
	return bench_mmap(mdev_get_drvdata(mdev), vma);
}

/* what is measured unpins before it unmaps */
static void bench_mdev_dma_unmap(struct mdev_device *mdev, u64 iova, u64 length)
{
}

static const struct mdev_parent_ops bench_ops = {
	.owner			= THIS_MODULE,
	.supported_type_groups	= bench_types,
	.create			= bench_mdev_create,
	.remove			= bench_mdev_remove,
	.open			= bench_mdev_open,
	.release		= bench_mdev_release,
	.read			= bench_mdev_read,
	.write			= bench_mdev_write,
	.ioctl			= bench_mdev_ioctl,
	.mmap			= bench_mdev_mmap,
	.dma_unmap		= bench_mdev_dma_unmap,
};

static int bench_register(struct platform_device *parent)
{
	return mdev_register_device(&parent->dev, &bench_ops);
}

static void bench_unregister(struct platform_device *parent)
{
	mdev_unregister_device(&parent->dev);
}

module_param_cb(registered, &bench_registered_ops, &bench_registered, 0600);
MODULE_PARM_DESC(registered, "write 0 to unregister the parents, 1 to register them");

module_init(bench_add_parents);
module_exit(bench_remove_parents);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Benchmark of mdev: a vendor of the classic door");
