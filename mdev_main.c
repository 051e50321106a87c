// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's beginning and end, and what late binding calls in it.
 */
#include <linux/init.h>
#include <linux/mdev.h>
#include <linux/module.h>

#include "mdev_late.h"
#include "mdev_private.h"

static int mdev_vendor_bind(const struct mdev_late_entry *entry, bool waited)
{
	switch (entry->kind) {
	case MDEV_LATE_DEVICE:
		return mdev_parent_add_classic(entry->dev, entry->ops, entry->abi,
					       waited);
	case MDEV_LATE_PARENT:
		return mdev_parent_add_modern(entry->parent, entry->dev,
					      entry->driver, entry->types,
					      entry->nr_types, waited);
	case MDEV_LATE_DRIVER:
		return mdev_driver_add(entry->driver);
	}
	return -EINVAL;
}

static void mdev_vendor_unbind(const struct mdev_late_entry *entry)
{
	switch (entry->kind) {
	case MDEV_LATE_DEVICE:
		mdev_parent_remove_classic(entry->dev);
		break;
	case MDEV_LATE_PARENT:
		mdev_parent_remove_modern(entry->parent);
		break;
	case MDEV_LATE_DRIVER:
		mdev_driver_remove(entry->driver);
		break;
	}
}

static const struct mdev_late_core mdev_late_core = {
	.bind	= mdev_vendor_bind,
	.unbind	= mdev_vendor_unbind,
};

static int __init mdev_init(void)
{
	int ret;

	ret = mdev_parents_init();
	if (ret)
		return ret;
	ret = mdev_bus_init();
	if (ret) {
		mdev_parents_exit();
		return ret;
	}

	mdev_debugfs_init();
	/* last: vendors that are built in have waited for this */
	mdev_late_attach(&mdev_late_core);
	return 0;
}

static void __exit mdev_exit(void)
{
	mdev_late_detach();
	mdev_debugfs_exit();
	mdev_bus_exit();
	mdev_parents_exit();
	mdev_objects_wait();
}

subsys_initcall(mdev_init);
module_exit(mdev_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mediated device core");
