/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * <linux/mdev.h> for vendor drivers of Linux 5.13 to 5.15, whose create() has the
 * device as its only argument, and whose files of types are given the type. To be
 * in front of include/classic, which they need as well. See
 * Documentation/driver-api/vfio-mediated-porting.rst.
 */
#ifndef MDEV_CLASSIC_5_13
#define MDEV_CLASSIC_5_13

#include_next <linux/mdev.h>

/* private: what these vendors mean by mdev_register_device() */
static inline int mdev_classic_register_device(struct device *dev,
					       const struct mdev_parent_ops *ops)
{
	return mdev_register_device_form(dev, ops, MDEV_FORM_MTYPE);
}

#undef mdev_register_device
#define mdev_register_device mdev_classic_register_device

/**
 * mtype_get_type_group_id - which of the vendor's types this is
 * @mtype: the type, as given to show() and store()
 *
 * Context: any.
 * Return: its place in the ops' @supported_type_groups, from 0.
 */
static inline unsigned int mtype_get_type_group_id(struct mdev_type *mtype)
{
	return container_of(mtype, struct mdev_type_classic, type)->group_id;
}

/**
 * mtype_get_parent_dev - whose type this is
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
 * mdev_get_type_group_id - of which of the vendor's types a device is
 * @mdev: the device
 *
 * Context: any.
 * Return: its type's place in the ops' @supported_type_groups, from 0.
 */
static inline unsigned int mdev_get_type_group_id(struct mdev_device *mdev)
{
	return mtype_get_type_group_id(mdev->type);
}

#endif /* MDEV_CLASSIC_5_13 */
