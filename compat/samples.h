/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What older kernels lack that the samples use, apart from mdev itself.
 * Included before each sample.
 */
#ifndef MDEV_COMPAT_SAMPLES_H
#define MDEV_COMPAT_SAMPLES_H

#include <linux/device/class.h>
#include <linux/eventfd.h>
#include <linux/module.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
#undef class_create
#define class_create(name) ({						\
	static struct lock_class_key __key;				\
	__class_create(THIS_MODULE, name, &__key); })
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define eventfd_signal(ctx) eventfd_signal(ctx, 1)
#endif

#endif /* MDEV_COMPAT_SAMPLES_H */
