/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What older driver cores lack. Included before each file of ours.
 *
 * Careful: modules built against the kernel's own mdev.ko load on ours only if
 * the checksums of the exported symbols are the same, and those depend on which
 * structures are complete where the symbol is exported. These two are part of
 * every such file anyway; do not include others.
 */
#ifndef MDEV_COMPAT_DEVICE_H
#define MDEV_COMPAT_DEVICE_H

#include <linux/device.h>
#include <linux/slab.h>

#include <mdev_facts.h>

/*
 * The macros below named like a function replace the parameter lists in its
 * definition; a name without parentheses behind it is left alone.
 */

#if !HAVE_BUS_MATCH_CONST
#define mdev_bus_match(dev_, drv_) \
	mdev_bus_match(struct device *dev, struct device_driver *drv)
#endif

#if !HAVE_BUS_UEVENT_CONST
#define mdev_bus_uevent(dev_, env_) \
	mdev_bus_uevent(struct device *dev, struct kobj_uevent_env *env)
#endif

#if !HAVE_CLASS_COMPAT_ONE_LINK
#define class_compat_create_link(cls, dev) \
	class_compat_create_link(cls, dev, NULL)
#define class_compat_remove_link(cls, dev) \
	class_compat_remove_link(cls, dev, NULL)
#endif

#if !HAVE_KMALLOC_OBJ
#undef kmalloc_obj
#undef kzalloc_obj
#define compat_gfp(none, flags, ...) flags
#define kmalloc_obj(obj, ...) \
	kmalloc(sizeof(obj), compat_gfp(, ##__VA_ARGS__, GFP_KERNEL))
#define kzalloc_obj(obj, ...) \
	kzalloc(sizeof(obj), compat_gfp(, ##__VA_ARGS__, GFP_KERNEL))
#endif

#endif /* MDEV_COMPAT_DEVICE_H */
