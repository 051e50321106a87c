// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exported functions that register drivers of the modern door. In a file of their own for
 * the reason that mdev_register.c gives; the kernel's own includes one header more here.
 */
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/mdev.h>

#include "mdev_private.h"

/**
 * mdev_register_driver - register a driver for the modern door
 * @drv: the driver; must stay until mdev_unregister_driver() returns
 *
 * It is bound to the devices of parents that were registered with it and to no
 * others. Undo with mdev_unregister_driver().
 *
 * Context: process context, sleeps.
 * Return: 0; -EINVAL without @device_api; or what driver_register() returns,
 * e.g. -EBUSY if there is a driver of that name.
 */
int mdev_register_driver(struct mdev_driver *drv)
{
	return mdev_driver_add(drv);
}
EXPORT_SYMBOL(mdev_register_driver);

/**
 * mdev_unregister_driver - take back mdev_register_driver()
 * @drv: the driver
 *
 * Unbinds it from all devices. Unregister the parents first: no device of
 * theirs must be created while or after their driver goes.
 *
 * Context: process context, sleeps.
 */
void mdev_unregister_driver(struct mdev_driver *drv)
{
	mdev_driver_remove(drv);
}
EXPORT_SYMBOL(mdev_unregister_driver);
