/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What older kernels lack that the samples, the kit for PCI devices and the benchmark's
 * modules use, apart from mdev itself. Included before each of their files.
 */
#ifndef MDEV_COMPAT_SAMPLES_H
#define MDEV_COMPAT_SAMPLES_H

#include <linux/bits.h>
#include <linux/device/class.h>
#include <linux/eventfd.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <uapi/linux/vfio.h>

#include <mdev_facts.h>

#if !HAVE_VM_FLAGS_SET
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}
#endif

#if !HAVE_CLASS_CREATE_NAME
#undef class_create
#define class_create(name) ({						\
	static struct lock_class_key __key;				\
	__class_create(THIS_MODULE, name, &__key); })
#endif

#if !HAVE_EVENTFD_SIGNAL_ONE
#define eventfd_signal(ctx) eventfd_signal(ctx, 1)
#endif

/* to be there is enough: the bridge does not tell this VFIO that we can do it */
#if !HAVE_VFIO_PRE_COPY
#define VFIO_MIGRATION_PRE_COPY		BIT(2)
#include "pre_copy.h"
#endif

/* this VFIO calls the release op of every driver, and leaves it to that to free the device */
#if HAVE_VFIO_FREE_DEVICE
#define BENCH_VFIO_RELEASE		vfio_free_device
#endif

#if !HAVE_PCI_IRQ_INTX
#define PCI_IRQ_INTX PCI_IRQ_LEGACY
#endif

#endif /* MDEV_COMPAT_SAMPLES_H */
