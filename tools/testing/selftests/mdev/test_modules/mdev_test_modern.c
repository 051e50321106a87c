// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor of the modern door that does nothing, for our mdev and for the kernel's
 * own: built once, it runs on either. Its module parameters make it slow, have it
 * fail, and register its parents or take them off again.
 */
#include <linux/delay.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/platform_device.h>
#include <linux/string.h>
#include <linux/vfio.h>

#define PARENTS	2

static unsigned int instances = 3;
module_param(instances, uint, 0444);
MODULE_PARM_DESC(instances, "number of devices of each parent");

static bool vendor_counts;
module_param(vendor_counts, bool, 0444);
MODULE_PARM_DESC(vendor_counts, "say 7 for a type that knows its parent, and 0 otherwise");

static unsigned int delay_probe, delay_remove;
module_param(delay_probe, uint, 0644);
MODULE_PARM_DESC(delay_probe, "milliseconds that probe takes");
module_param(delay_remove, uint, 0644);
MODULE_PARM_DESC(delay_remove, "milliseconds that remove takes");

static int fail_probe;
module_param(fail_probe, int, 0644);
MODULE_PARM_DESC(fail_probe, "errno for probe, 0: succeed");

/* the kernel's own mdev wants a type for each parent, and zeroed each time */
static struct test_parent {
	struct platform_device *pdev;
	bool registered;
	struct mdev_parent parent, second;
	struct mdev_type type[2];
	struct mdev_type *types[2];
} parents[PARENTS];

static int test_probe(struct mdev_device *mdev)
{
	msleep(delay_probe);
	return -fail_probe;
}

static void test_remove(struct mdev_device *mdev)
{
	msleep(delay_remove);
}

static unsigned int test_get_available(struct mdev_type *mtype)
{
	return READ_ONCE(mtype->parent) ? 7 : 0;
}

static struct mdev_driver test_driver = {
	.device_api	= VFIO_DEVICE_API_PLATFORM_STRING,
	.probe		= test_probe,
	.remove		= test_remove,
	.driver		= {
		.name		= "mdev_test_modern",
		.owner		= THIS_MODULE,
		.mod_name	= KBUILD_MODNAME,
	},
};

/* One that is registered already is registered with another handle. */
static int test_register(struct test_parent *tp)
{
	int ret;

	if (tp->registered)
		return mdev_register_parent(&tp->second, &tp->pdev->dev,
					    &test_driver, tp->types,
					    ARRAY_SIZE(tp->types));

	memset(tp->type, 0, sizeof(tp->type));
	tp->type[0].sysfs_name = "a";
	tp->type[1].sysfs_name = "b";
	tp->types[0] = &tp->type[0];
	tp->types[1] = &tp->type[1];
	ret = mdev_register_parent(&tp->parent, &tp->pdev->dev, &test_driver,
				   tp->types, ARRAY_SIZE(tp->types));
	tp->registered = !ret;
	return ret;
}

static void test_unregister(struct test_parent *tp)
{
	if (tp->registered)
		mdev_unregister_parent(&tp->parent);
	tp->registered = false;
}

static int test_parent_of(const char *val, struct test_parent **tp)
{
	unsigned int i;
	int ret;

	ret = kstrtouint(val, 0, &i);
	if (!ret && i >= PARENTS)
		ret = -EINVAL;
	if (!ret)
		*tp = &parents[i];
	return ret;
}

static int register_set(const char *val, const struct kernel_param *kp)
{
	struct test_parent *tp;

	return test_parent_of(val, &tp) ?: test_register(tp);
}

static int unregister_set(const char *val, const struct kernel_param *kp)
{
	struct test_parent *tp;
	int ret;

	ret = test_parent_of(val, &tp);
	if (!ret)
		test_unregister(tp);
	return ret;
}

static const struct kernel_param_ops register_ops = {
	.set	= register_set,
};

static const struct kernel_param_ops unregister_ops = {
	.set	= unregister_set,
};

module_param_cb(register, &register_ops, NULL, 0200);
MODULE_PARM_DESC(register, "number of the parent to register");
module_param_cb(unregister, &unregister_ops, NULL, 0200);
MODULE_PARM_DESC(unregister, "number of the parent to unregister");

static void test_remove_parents(void)
{
	unsigned int i;

	for (i = 0; i < PARENTS; i++) {
		if (!parents[i].pdev)
			continue;
		test_unregister(&parents[i]);
		platform_device_unregister(parents[i].pdev);
	}
}

static int test_add_parents(void)
{
	struct platform_device *pdev;
	unsigned int i;
	int ret;

	for (i = 0; i < PARENTS; i++) {
		pdev = platform_device_register_simple("mdev_test", i, NULL, 0);
		if (IS_ERR(pdev))
			return PTR_ERR(pdev);
		parents[i].pdev = pdev;
		ret = test_register(&parents[i]);
		if (ret)
			return ret;
	}
	return 0;
}

static int __init test_init(void)
{
	int ret;

	test_driver.max_instances = instances;
	if (vendor_counts)
		test_driver.get_available = test_get_available;
	ret = mdev_register_driver(&test_driver);
	if (ret)
		return ret;
	ret = test_add_parents();
	if (ret) {
		test_remove_parents();
		mdev_unregister_driver(&test_driver);
	}
	return ret;
}

static void __exit test_exit(void)
{
	test_remove_parents();
	mdev_unregister_driver(&test_driver);
}

module_init(test_init);
module_exit(test_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Test vendor of the modern door, for any mdev");
