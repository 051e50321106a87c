// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's beginning and end, and what late binding calls of it.
 */
#include <linux/init.h>
#include <linux/mdev.h>
#include <linux/module.h>

#include "mdev_late.h"
#include "mdev_private.h"

#if IS_ENABLED(CONFIG_VFIO_MDEV_LATE)
static const struct mdev_late_core mdev_late_core = {
	.register_device	= mdev_parent_add_classic,
	.unregister_device	= mdev_unregister_device,
	.register_parent	= mdev_parent_add_modern,
	.unregister_parent	= mdev_unregister_parent,
	.register_driver	= mdev_register_driver,
	.unregister_driver	= mdev_unregister_driver,
};

static void mdev_vendors_attach(void)
{
	mdev_late_attach(&mdev_late_core);
}

static void mdev_vendors_detach(void)
{
	mdev_late_detach();
}
#else
static void mdev_vendors_attach(void)
{
}

static void mdev_vendors_detach(void)
{
}
#endif

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
	mdev_vendors_attach();
	return 0;
}

static void __exit mdev_exit(void)
{
	mdev_vendors_detach();
	mdev_debugfs_exit();
	mdev_bus_exit();
	mdev_parents_exit();
	mdev_objects_wait();
}

subsys_initcall(mdev_init);
module_exit(mdev_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mediated device core");
