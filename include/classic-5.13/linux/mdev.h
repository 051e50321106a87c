/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * <linux/mdev.h> for vendor drivers of Linux 5.13 to 5.15, whose create() has the
 * device as its only argument, and whose show() and store() have a struct mdev_type.
 * Include this directory before include/classic, which these drivers need as well. See
 * Documentation/driver-api/vfio-mediated-porting.rst.
 */
#ifndef MDEV_CLASSIC_5_13
#define MDEV_CLASSIC_5_13

#include_next <linux/mdev.h>

/* private: what these vendors mean by mdev_register_device() */
static inline int mdev_classic_register_device(struct device *dev,
					       const struct mdev_parent_ops *ops)
{
	return mdev_register_device_abi(dev, ops, MDEV_ABI_5_13);
}

#undef mdev_register_device
#define mdev_register_device mdev_classic_register_device

/**
 * mtype_get_type_group_id - the number of a type
 * @mtype: the type, as given to show() and store()
 *
 * Context: any.
 * Return: the index of the type in the ops' @supported_type_groups.
 */
static inline unsigned int mtype_get_type_group_id(struct mdev_type *mtype)
{
	return container_of(mtype, struct mdev_type_classic, type)->group_id;
}

/**
 * mtype_get_parent_dev - the parent device that offers a type
 * @mtype: the type, as given to show() and store()
 *
 * Context: any.
 * Return: the device given to mdev_register_device(); no reference is taken.
 */
static inline struct device *mtype_get_parent_dev(struct mdev_type *mtype)
{
	return container_of(mtype, struct mdev_type_classic, type)->parent_dev;
}

/**
 * mdev_get_type_group_id - the number of the type that a device has
 * @mdev: the device
 *
 * Context: any.
 * Return: the index of the type in the ops' @supported_type_groups.
 */
static inline unsigned int mdev_get_type_group_id(struct mdev_device *mdev)
{
	return mtype_get_type_group_id(mdev->type);
}

/* private: by the mediated device, as 5.13 did; that one returned nothing */
static inline int mdev_classic_set_iommu_device(struct mdev_device *mdev,
						struct device *iommu_device)
{
	return mdev_set_iommu_device(&mdev->dev, iommu_device);
}

/* private: */
static inline struct device *
mdev_classic_get_iommu_device(struct mdev_device *mdev)
{
	return mdev_get_iommu_device(&mdev->dev);
}

#define mdev_set_iommu_device mdev_classic_set_iommu_device
#define mdev_get_iommu_device mdev_classic_get_iommu_device

#endif /* MDEV_CLASSIC_5_13 */
