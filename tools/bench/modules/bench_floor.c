// SPDX-License-Identifier: GPL-2.0-only
/*
 * What devices cost without any mdev: a file "create" of a parent, a bus with a
 * driver, and devices with a file "remove". Below that, mdev could only come by
 * leaving out what the driver core does.
 */
#include <linux/device.h>
#include <linux/uuid.h>

#include "bench_vfio.h"

static int floor_probe(struct device *dev)
{
	return bench_vfio_add(dev);
}

static void floor_remove(struct device *dev)
{
	bench_vfio_remove(dev);
}

/* const where the driver core lets it be */
static typeof(*((struct device *)NULL)->bus) floor_bus = {
	.name	= "bench_floor",
	.probe	= floor_probe,
	.remove	= floor_remove,
};

static struct device_driver floor_driver = {
	.name	= "bench_floor",
	.bus	= &floor_bus,
	.owner	= THIS_MODULE,
};

static void floor_release(struct device *dev)
{
	kfree(dev);
}

static ssize_t remove_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t count)
{
	if (device_remove_file_self(dev, attr))
		device_unregister(dev);
	return count;
}

static DEVICE_ATTR_WO(remove);

static struct attribute *floor_attrs[] = {
	&dev_attr_remove.attr,
	NULL
};

ATTRIBUTE_GROUPS(floor);

static ssize_t create_store(struct device *parent, struct device_attribute *attr,
			    const char *buf, size_t count)
{
	struct device *dev;
	guid_t uuid;
	int ret;

	if (count < UUID_STRING_LEN)
		return -EINVAL;
	ret = guid_parse(buf, &uuid);
	if (ret)
		return ret;

	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return -ENOMEM;
	device_initialize(dev);
	dev->parent = parent;
	dev->bus = &floor_bus;
	dev->groups = floor_groups;
	dev->release = floor_release;
	ret = dev_set_name(dev, "%pUl", &uuid);
	if (!ret)
		ret = device_add(dev);
	if (ret)
		put_device(dev);
	return ret ?: count;
}

static DEVICE_ATTR_WO(create);

static int bench_register(struct platform_device *parent)
{
	return device_create_file(&parent->dev, &dev_attr_create);
}

static int floor_unregister_child(struct device *dev, void *data)
{
	/* the parent has children on no other bus */
	device_unregister(dev);
	return 0;
}

static void bench_unregister(struct platform_device *parent)
{
	device_remove_file(&parent->dev, &dev_attr_create);
	device_for_each_child(&parent->dev, NULL, floor_unregister_child);
}

module_param_cb(registered, &bench_registered_ops, &bench_registered, 0600);
MODULE_PARM_DESC(registered, "write 0 to unregister the parents, 1 to register them");

static int __init floor_init(void)
{
	int ret = bus_register(&floor_bus);

	if (ret)
		return ret;
	ret = driver_register(&floor_driver);
	if (ret)
		goto err_bus;
	ret = bench_add_parents();
	if (ret)
		goto err_driver;
	return 0;

err_driver:
	driver_unregister(&floor_driver);
err_bus:
	bus_unregister(&floor_bus);
	return ret;
}

static void __exit floor_exit(void)
{
	bench_remove_parents();
	driver_unregister(&floor_driver);
	bus_unregister(&floor_bus);
}

module_init(floor_init);
module_exit(floor_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Benchmark of mdev: devices without it");
