// SPDX-License-Identifier: GPL-2.0-only
/*
 * Questions about a kernel's headers. Nothing is built from this file. compat/probe has
 * the compiler check its syntax once for each kernel. A function in which the compiler
 * finds no error answers its question with yes.
 *
 *   HAVE_...    This is a fact. It becomes a macro of that name in mdev_facts.h, which is
 *               1 or 0. compat/ supplies what a kernel does not have.
 *   NEED_...    mdev cannot be built without this. The comment is the message. A fact
 *               HAVE_... whose name begins with the same words will do instead.
 *   CONTROL_... These functions are right, or wrong, on every kernel. They check that the
 *               compiler works, and that it can read the headers.
 *
 * "make probe" shows the comment above each function, which is on one line. Each error
 * must be in one of these functions, so a header that a kernel may lack is included only
 * if it is there.
 */
#include <generated/utsrelease.h>
#include <linux/device.h>
#include <linux/eventfd.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#if __has_include("linux/iova_bitmap.h")
#include <linux/iova_bitmap.h>
#endif
#if __has_include("linux/mdev.h")
#include <linux/mdev.h>
#define KERNEL_HAS_MDEV 1
#endif
#if __has_include("linux/vfio.h")
#include <linux/vfio.h>
#endif

#define SAME(type, expression) \
	static_assert(__builtin_types_compatible_p(type, typeof(expression)))
#define MEMBER(type, member)	((void)sizeof_field(type, member))
#define ORDER(type, one, other) \
	static_assert(offsetofend(type, one) == offsetof(type, other))

/* every kernel has this */
void CONTROL_RIGHT_first(struct device *dev)
{
	get_device(dev);
	MEMBER(struct device_driver, owner);
	SAME(const char *, ((struct device_driver *)0)->name);
}

/* no kernel has this function */
void CONTROL_WRONG_function(struct device *dev)
{
	mdev_no_such_function(dev);
}

/* no kernel has this member */
void CONTROL_WRONG_member(void)
{
	MEMBER(struct device, mdev_no_such_member);
}

/* this call has one argument too many */
void CONTROL_WRONG_arguments(struct device *dev)
{
	get_device(dev, dev);
}

/* the member has another type */
void CONTROL_WRONG_type(void)
{
	SAME(int, ((struct device_driver *)0)->name);
}

/* it is built without VFIO (CONFIG_VFIO) */
void NEED_CONFIG_VFIO(void)
{
	static_assert(IS_ENABLED(CONFIG_VFIO));
}

/* its VFIO has no vfio_register_emulated_iommu_dev() */
int NEED_VFIO_EMULATED(struct vfio_device *vdev)
{
	return vfio_register_emulated_iommu_dev(vdev);
}

/* its VFIO does not allocate devices */
void *NEED_VFIO_ALLOC(struct device *dev, const struct vfio_device_ops *ops)
{
	MEMBER(struct vfio_device_ops, init);
	MEMBER(struct vfio_device_ops, release);
	return _vfio_alloc_device(sizeof(struct vfio_device), dev, ops);
}

/* its VFIO pins page frame numbers, not pages */
int NEED_VFIO_PAGES(struct vfio_device *vdev, struct page **pages)
{
	MEMBER(struct vfio_device_ops, dma_unmap);
	return vfio_pin_pages(vdev, 0ULL, 1, 0, pages) +
	       vfio_dma_rw(vdev, 0ULL, pages, 1, true);
}

/* its VFIO cannot log dirty pages */
void NEED_VFIO_LOG(struct vfio_device *vdev)
{
	vdev->log_ops->log_stop(vdev);
	MEMBER(struct vfio_migration_ops, migration_set_state);
}

/* its struct mdev_device is not that of Linux 6.1 */
void NEED_MDEV_DEVICE(void)
{
#if KERNEL_HAS_MDEV
	ORDER(struct mdev_device, dev, uuid);
	ORDER(struct mdev_device, uuid, next);
	ORDER(struct mdev_device, next, type);
	ORDER(struct mdev_device, type, active);
#endif
}

/* RHEL 9: struct mdev_device has the member iommu_device, as before Linux 5.16 */
void HAVE_MDEV_DEVICE_IOMMU(void)
{
	ORDER(struct mdev_device, dev, uuid);
	ORDER(struct mdev_device, uuid, next);
	ORDER(struct mdev_device, next, type);
	ORDER(struct mdev_device, type, iommu_device);
	ORDER(struct mdev_device, iommu_device, active);
	SAME(struct device *, ((struct mdev_device *)0)->iommu_device);
}

/* its struct mdev_type, mdev_parent or mdev_driver is not that of Linux 6.1 */
void NEED_MDEV_LAYOUT(void)
{
#if KERNEL_HAS_MDEV
	ORDER(struct mdev_type, sysfs_name, pretty_name);
	ORDER(struct mdev_type, pretty_name, parent);
	ORDER(struct mdev_type, parent, kobj);
	ORDER(struct mdev_type, kobj, devices_kobj);
	ORDER(struct mdev_parent, dev, mdev_driver);
	ORDER(struct mdev_parent, mdev_driver, mdev_types_kset);
	ORDER(struct mdev_parent, mdev_types_kset, unreg_sem);
	ORDER(struct mdev_parent, unreg_sem, types);
	ORDER(struct mdev_parent, types, nr_types);
	ORDER(struct mdev_parent, nr_types, available_instances);
	ORDER(struct mdev_driver, device_api, max_instances);
	ORDER(struct mdev_driver, probe, remove);
	ORDER(struct mdev_driver, remove, get_available);
	ORDER(struct mdev_driver, get_available, show_description);
	ORDER(struct mdev_driver, show_description, driver);
#endif
}

/* 6.11: the match op of a bus gets a const driver */
void HAVE_BUS_MATCH_CONST(void)
{
	SAME(int (*)(struct device *, const struct device_driver *),
	     ((const struct bus_type *)0)->match);
}

/* 6.3: the uevent op of a bus gets a const device */
void HAVE_BUS_UEVENT_CONST(void)
{
	SAME(int (*)(const struct device *, struct kobj_uevent_env *),
	     ((const struct bus_type *)0)->uevent);
}

/* 6.13: class_compat_create_link() has two parameters */
int HAVE_CLASS_COMPAT_ONE_LINK(struct class_compat *cls, struct device *dev)
{
	class_compat_remove_link(cls, dev);
	return class_compat_create_link(cls, dev);
}

/* 7.0: there are kmalloc_obj() and kzalloc_obj(), whose flags may be left out */
void *HAVE_KMALLOC_OBJ(struct list_head *list)
{
	list = kmalloc_obj(*list);
	list = kmalloc_obj(*list, GFP_ATOMIC);
	list = kzalloc_obj(*list);
	return kzalloc_obj(*list, GFP_ATOMIC);
}

/* 6.3: there is vm_flags_set() */
void HAVE_VM_FLAGS_SET(struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_IO);
}

/* 6.4: class_create() has one parameter, the name */
void *HAVE_CLASS_CREATE_NAME(void)
{
	return class_create("");
}

/* 6.8: eventfd_signal() has one parameter, and adds one */
void HAVE_EVENTFD_SIGNAL_ONE(struct eventfd_ctx *ctx)
{
	eventfd_signal(ctx);
}

/* 6.8: PCI_IRQ_LEGACY is called PCI_IRQ_INTX */
int HAVE_PCI_IRQ_INTX(void)
{
	return PCI_IRQ_INTX;
}

/* 6.2: a device that migrates has the states PRE_COPY and PRE_COPY_P2P */
int HAVE_VFIO_PRE_COPY(void)
{
	return VFIO_MIGRATION_PRE_COPY + VFIO_DEVICE_STATE_PRE_COPY +
	       VFIO_DEVICE_STATE_PRE_COPY_P2P + VFIO_MIG_GET_PRECOPY_INFO +
	       sizeof(struct vfio_precopy_info);
}

/* 6.2: VFIO asks a device how much data it has to migrate */
void HAVE_VFIO_MIGRATION_DATA_SIZE(void)
{
	MEMBER(struct vfio_migration_ops, migration_get_data_size);
}

/* 6.7, without CONFIG_IOMMUFD_DRIVER: what VFIO reports dirty pages with does nothing */
void HAVE_IOVA_BITMAP_STUBS(struct iova_bitmap *bitmap)
{
	iova_bitmap_set(bitmap, 0, 1);
}

/* an error if the kernel exports it */
static typeof(iova_bitmap_set) iova_bitmap_set;

/* 6.2: devices can be bound to an iommufd, and are in their container before they open */
void HAVE_VFIO_IOMMUFD(void)
{
	MEMBER(struct vfio_device_ops, bind_iommufd);
	MEMBER(struct vfio_device_ops, unbind_iommufd);
	MEMBER(struct vfio_device_ops, attach_ioas);
}

/* 6.6: devices can be detached from an IOAS of an iommufd */
void HAVE_VFIO_DETACH_IOAS(void)
{
	MEMBER(struct vfio_device_ops, detach_ioas);
}

/* until 6.1: the release op of a device calls vfio_free_device() */
void HAVE_VFIO_FREE_DEVICE(struct vfio_device *vdev)
{
	vfio_free_device(vdev);
}

/* 6.2, with KVM: VFIO holds a reference on the virtual machine of an open device */
void HAVE_VFIO_PUT_KVM(struct vfio_device *vdev)
{
	MEMBER(struct vfio_device, put_kvm);
}

/* devices can be in a container; since 6.6 this depends on CONFIG_VFIO_GROUP */
void HAVE_VFIO_CONTAINERS(void)
{
	MEMBER(struct vfio_device, iommu_entry);
}

/* 6.19: there is the op get_region_info_caps */
void HAVE_VFIO_REGION_INFO_CAPS(void)
{
	SAME(int (*)(struct vfio_device *, struct vfio_region_info *,
		     struct vfio_info_cap *),
	     ((struct vfio_device_ops *)0)->get_region_info_caps);
}

/* every kernel has this */
void CONTROL_RIGHT_last(struct pci_dev *pdev)
{
	pci_set_master(pdev);
	MEMBER(struct vm_area_struct, vm_start);
	kfree(kmalloc(1, GFP_KERNEL));
}
