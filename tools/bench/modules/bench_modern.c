// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor of the modern door, for our mdev and for the kernel's own: built once,
 * it runs on either.
 */
#include <linux/mdev.h>

#include "bench_vfio.h"

/* the kernel's own mdev needs a type for each parent, and zeroed each time */
static struct bench_modern {
	struct mdev_parent parent;
	struct mdev_type type;
	struct mdev_type *types[1];
} bench_moderns[BENCH_MAX_PARENTS];

static int bench_probe(struct mdev_device *mdev)
{
	return bench_vfio_add(&mdev->dev);
}

static void bench_remove(struct mdev_device *mdev)
{
	bench_vfio_remove(&mdev->dev);
}

static struct mdev_driver bench_driver = {
	.device_api	= VFIO_DEVICE_API_PLATFORM_STRING,
	.max_instances	= 1000000,
	.probe		= bench_probe,
	.remove		= bench_remove,
	.driver		= {
		.name		= "bench_modern",
		.owner		= THIS_MODULE,
		.mod_name	= KBUILD_MODNAME,
	},
};

static int bench_register(struct platform_device *parent)
{
	struct bench_modern *bm = &bench_moderns[parent->id];

	memset(bm, 0, sizeof(*bm));
	bm->type.sysfs_name = "bench";
	bm->types[0] = &bm->type;
	return mdev_register_parent(&bm->parent, &parent->dev, &bench_driver,
				    bm->types, ARRAY_SIZE(bm->types));
}

static void bench_unregister(struct platform_device *parent)
{
	mdev_unregister_parent(&bench_moderns[parent->id].parent);
}

module_param_cb(registered, &bench_registered_ops, &bench_registered, 0600);
MODULE_PARM_DESC(registered, "write 0 to unregister the parents, 1 to register them");

static int __init bench_init(void)
{
	int ret = mdev_register_driver(&bench_driver);

	if (ret)
		return ret;
	ret = bench_add_parents();
	if (ret)
		mdev_unregister_driver(&bench_driver);
	return ret;
}

static void __exit bench_exit(void)
{
	bench_remove_parents();
	mdev_unregister_driver(&bench_driver);
}

module_init(bench_init);
module_exit(bench_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Benchmark of mdev: a vendor of the modern door");
