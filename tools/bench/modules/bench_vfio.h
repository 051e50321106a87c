/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VFIO device as drivers have it that know VFIO: what the bridge is held against.
 */
#ifndef BENCH_VFIO_H
#define BENCH_VFIO_H

#include <linux/iommu.h>

#include "bench.h"

static bool bench_vfio;
module_param_named(vfio, bench_vfio, bool, 0444);
MODULE_PARM_DESC(vfio, "make a VFIO device of every device");

struct bench_vfio {
	struct vfio_device vdev;
	struct bench_region *region;
};

static struct bench_vfio *to_bench_vfio(struct vfio_device *vdev)
{
	return container_of(vdev, struct bench_vfio, vdev);
}

static int bench_vfio_open(struct vfio_device *vdev)
{
	struct bench_vfio *bv = to_bench_vfio(vdev);

	bv->region = bench_open();
	return bv->region ? 0 : -ENOMEM;
}

static void bench_vfio_close(struct vfio_device *vdev)
{
	bench_close(to_bench_vfio(vdev)->region);
}

static ssize_t bench_vfio_read(struct vfio_device *vdev, char __user *buf,
			       size_t count, loff_t *ppos)
{
	return bench_read(to_bench_vfio(vdev)->region, buf, count, ppos);
}

static ssize_t bench_vfio_write(struct vfio_device *vdev,
				const char __user *buf, size_t count,
				loff_t *ppos)
{
	return bench_write(to_bench_vfio(vdev)->region, buf, count, ppos);
}

static long bench_vfio_ioctl(struct vfio_device *vdev, unsigned int cmd,
			     unsigned long arg)
{
	struct bench_region *region = to_bench_vfio(vdev)->region;

	switch (cmd) {
	case BENCH_NOTHING:
		return 0;
	case VFIO_DEVICE_GET_REGION_INFO:
		return bench_region_info(arg);
	case BENCH_PIN:
		if (arg > BENCH_MAX_PAGES)
			return -EINVAL;
		return vfio_pin_pages(vdev, 0, arg, IOMMU_READ | IOMMU_WRITE,
				      region->pages);
	case BENCH_UNPIN:
		vfio_unpin_pages(vdev, 0, arg);
		return 0;
	}
	return -ENOTTY;
}

static int bench_vfio_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	return bench_mmap(to_bench_vfio(vdev)->region, vma);
}

/* what is measured unpins before it unmaps */
static void bench_vfio_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
}

/* VFIO frees a device itself; where it does not, compat/ has the op that does */
#ifndef BENCH_VFIO_RELEASE
#define BENCH_VFIO_RELEASE	NULL
#endif

/* the kernels that this is for have no iommufd */
static const struct vfio_device_ops bench_vfio_ops = {
	.name		= "bench",
	.release	= BENCH_VFIO_RELEASE,
	.open_device	= bench_vfio_open,
	.close_device	= bench_vfio_close,
	.read		= bench_vfio_read,
	.write		= bench_vfio_write,
	.ioctl		= bench_vfio_ioctl,
	.mmap		= bench_vfio_mmap,
	.dma_unmap	= bench_vfio_dma_unmap,
};

static int bench_vfio_add(struct device *dev)
{
	struct bench_vfio *bv;
	int ret;

	if (!bench_vfio)
		return 0;

	bv = vfio_alloc_device(bench_vfio, vdev, dev, &bench_vfio_ops);
	if (IS_ERR(bv))
		return PTR_ERR(bv);
	ret = vfio_register_emulated_iommu_dev(&bv->vdev);
	if (ret)
		vfio_put_device(&bv->vdev);
	else
		dev_set_drvdata(dev, bv);
	return ret;
}

static void bench_vfio_remove(struct device *dev)
{
	struct bench_vfio *bv = dev_get_drvdata(dev);

	if (!bv)
		return;
	vfio_unregister_group_dev(&bv->vdev);
	vfio_put_device(&bv->vdev);
}

#endif /* BENCH_VFIO_H */
