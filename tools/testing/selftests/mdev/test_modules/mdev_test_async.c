// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor whose driver is probed asynchronously: it registers its parent, waits as
 * if for firmware, and then gives up and takes the parent back.
 */
#include <linux/delay.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/platform_device.h>

static unsigned int delay_probe = 2000;
module_param(delay_probe, uint, 0444);
MODULE_PARM_DESC(delay_probe, "milliseconds that probe waits after it has registered");

static struct platform_device *test_pdev;

static ssize_t device_api_show(struct kobject *kobj, struct device *dev, char *buf)
{
	return sysfs_emit(buf, "vfio-platform\n");
}

static MDEV_TYPE_ATTR_RO(device_api);

static struct attribute *test_type_attrs[] = {
	&mdev_type_attr_device_api.attr,
	NULL
};

static struct attribute_group test_type = {
	.name	= "a",
	.attrs	= test_type_attrs,
};

static struct attribute_group *test_types[] = {
	&test_type,
	NULL
};

static int test_create(struct kobject *kobj, struct mdev_device *mdev)
{
	return 0;
}

static int test_remove(struct mdev_device *mdev)
{
	return 0;
}

static const struct mdev_parent_ops test_ops = {
	.owner			= THIS_MODULE,
	.supported_type_groups	= test_types,
	.create			= test_create,
	.remove			= test_remove,
};

static int test_probe(struct platform_device *pdev)
{
	int ret;

	ret = mdev_register_device(&pdev->dev, &test_ops);
	if (ret)
		return ret;
	msleep(delay_probe);
	mdev_unregister_device(&pdev->dev);
	return -ENODEV;
}

static struct platform_driver test_driver = {
	.probe	= test_probe,
	.driver	= {
		.name		= "mdev_test_async",
		.probe_type	= PROBE_PREFER_ASYNCHRONOUS,
	},
};

static int __init test_init(void)
{
	int ret;

	test_pdev = platform_device_register_simple("mdev_test_async", -1, NULL, 0);
	if (IS_ERR(test_pdev))
		return PTR_ERR(test_pdev);
	ret = platform_driver_register(&test_driver);
	if (ret)
		platform_device_unregister(test_pdev);
	return ret;
}

static void __exit test_exit(void)
{
	platform_driver_unregister(&test_driver);
	platform_device_unregister(test_pdev);
}

module_init(test_init);
module_exit(test_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Vendor with an asynchronous probe for tests of mdev");
