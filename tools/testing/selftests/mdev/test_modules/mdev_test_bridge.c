// SPDX-License-Identifier: GPL-2.0-only
/*
 * A bridge in place of vfio_mdev whose probe fails, and whose remove waits, when it is
 * told to: as VFIO does for whoever opens a device just then.
 */
#include <linux/delay.h>
#include <linux/mdev.h>
#include <linux/module.h>

#include "mdev_private.h"

static int fail_probe;
module_param(fail_probe, int, 0644);
MODULE_PARM_DESC(fail_probe, "errno for probe, 0: succeed");

static bool hold;
module_param(hold, bool, 0644);
MODULE_PARM_DESC(hold, "remove does not return");

static int test_bridge_probe(struct mdev_device *mdev)
{
	return -fail_probe;
}

static void test_bridge_remove(struct mdev_device *mdev)
{
	while (READ_ONCE(hold))
		msleep(200);
}

static struct mdev_driver test_bridge = {
	.probe	= test_bridge_probe,
	.remove	= test_bridge_remove,
	.driver	= {
		.name		= "mdev_test_bridge",
		.owner		= THIS_MODULE,
		.mod_name	= KBUILD_MODNAME,
	},
};

static int __init test_bridge_init(void)
{
	return mdev_register_bridge(&test_bridge);
}

static void __exit test_bridge_exit(void)
{
	mdev_unregister_bridge(&test_bridge);
}

module_init(test_bridge_init);
module_exit(test_bridge_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Bridge for tests of mdev");
