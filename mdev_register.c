// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exported functions that register parents, by either door.
 *
 * In a file of their own, with no other headers than these: modversions makes a checksum of
 * an exported function from all structures that its file has seen. With others, vendors
 * that were built for the kernel's own mdev, or for an earlier version of this one, would
 * not load. "make lint" compares the former.
 */
#include <linux/module.h>
#include <linux/mdev.h>

#include "mdev_private.h"

/**
 * mdev_register_device - offer a device through the classic door
 * @dev: the parent device; referenced until mdev_unregister_device() returns
 * @ops: the vendor's callbacks; must stay until mdev_unregister_device() returns
 *
 * Creates the types below @dev's directory and sends a CHANGE uevent with
 * MDEV_STATE=registered for @dev. Devices can be created, and @ops called,
 * before this returns. Undo with mdev_unregister_device().
 *
 * Context: process context, sleeps; not from within a callback of @ops.
 * Return: 0; -EINVAL if @dev, @ops or a mandatory op is missing, ops that go
 * together are not all there, @dev is not in sysfs, or a type has no name;
 * -EEXIST if @dev is registered already, through either door, or two types have
 * the same name; -ENOMEM. On error nothing is registered.
 */
int mdev_register_device(struct device *dev, const struct mdev_parent_ops *ops)
{
	return mdev_register_device_abi(dev, ops, MDEV_ABI_4_10);
}
EXPORT_SYMBOL(mdev_register_device);

/**
 * mdev_register_device_abi - mdev_register_device() for any version of the ops
 * @dev: the parent device
 * @ops: the vendor's callbacks
 * @abi: which of the members that share a place are meant
 *
 * What mdev_register_device() is with include/classic-5.13.
 *
 * Context: as mdev_register_device().
 * Return: as mdev_register_device().
 */
int mdev_register_device_abi(struct device *dev,
			     const struct mdev_parent_ops *ops,
			     enum mdev_abi abi)
{
	return mdev_parent_add_classic(dev, ops, abi, false);
}
EXPORT_SYMBOL(mdev_register_device_abi);

/**
 * mdev_unregister_device - take back mdev_register_device()
 * @dev: the parent device
 *
 * Waits for creates and removes that run; those that come later fail with
 * -ENODEV. Removes all mediated devices of @dev: those that are open are asked
 * for with @request and waited for, however long that takes; a line in the log
 * says who holds them. When this returns, @dev and the ops are not used any more. Does
 * nothing, but for a line in the log, if @dev is not registered, or by
 * mdev_register_parent().
 *
 * Context: process context, sleeps; not from within a callback of the ops.
 */
void mdev_unregister_device(struct device *dev)
{
	mdev_parent_remove_classic(dev);
}
EXPORT_SYMBOL(mdev_unregister_device);

/**
 * mdev_register_parent - offer a device through the modern door
 * @parent: the vendor's handle; overwritten; must stay until
 *	mdev_unregister_parent() returns
 * @dev: the parent device; referenced until mdev_unregister_parent() returns
 * @mdev_driver: registered driver to bind to devices of this parent
 * @types: the types to offer; they, too, must stay
 * @nr_types: number of entries in @types
 *
 * Creates the types below @dev's directory and sends a CHANGE uevent with
 * MDEV_STATE=registered for @dev. Devices can be created before this returns.
 * Undo with mdev_unregister_parent().
 *
 * Context: process context, sleeps; not from within a callback of @mdev_driver.
 * Return: 0; -EINVAL if an argument or a type's name is missing, or @dev is not in
 * sysfs; -EEXIST if @dev is registered already, through either door, or @parent
 * is, or two types have the same name; -ENOMEM. On error nothing is registered.
 */
int mdev_register_parent(struct mdev_parent *parent, struct device *dev,
			 struct mdev_driver *mdev_driver,
			 struct mdev_type **types, unsigned int nr_types)
{
	return mdev_parent_add_modern(parent, dev, mdev_driver, types, nr_types,
				      false);
}
EXPORT_SYMBOL(mdev_register_parent);

/**
 * mdev_unregister_parent - take back mdev_register_parent()
 * @parent: the vendor's handle
 *
 * Waits for creates and removes that run; those that come later fail with
 * -ENODEV. Removes all mediated devices of the parent by unbinding their driver,
 * whose @remove waits until they are unused. When this returns, neither @parent
 * nor the types, the driver and the parent device are used any more. Does nothing
 * if @parent is not registered.
 *
 * Context: process context, sleeps; not from within a callback of the driver.
 */
void mdev_unregister_parent(struct mdev_parent *parent)
{
	mdev_parent_remove_modern(parent);
}
EXPORT_SYMBOL(mdev_unregister_parent);
