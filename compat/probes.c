// SPDX-License-Identifier: GPL-2.0-only
/*
 * Questions to a kernel's headers. Nothing is built from this file: compat/probe has the
 * compiler look at it, once for each kernel, and a function without an error in it is a
 * yes.
 *
 *   HAVE_...    a fact, which is a macro of that name in mdev_facts.h if it is true.
 *               compat/ supplies what is missing
 *   NEED_...    without this there is nothing to build for: the comment says what to say
 *   CONTROL_... has to be right, or wrong, whatever the kernel is like: it is the
 *               compiler that is asked, and whether it can read the headers
 *
 * The comment above each function, on one line, is what "make probe" shows. An error must
 * be in one of these functions, so each header is looked for before it is included.
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

/* what every kernel has */
void CONTROL_RIGHT_first(struct device *dev)
{
	get_device(dev);
	MEMBER(struct device_driver, owner);
	SAME(const char *, ((struct device_driver *)0)->name);
}

/* a function that no kernel has */
void CONTROL_WRONG_function(struct device *dev)
{
	mdev_no_such_function(dev);
}

/* a member that no kernel has */
void CONTROL_WRONG_member(void)
{
	MEMBER(struct device, mdev_no_such_member);
}

/* an argument too many */
void CONTROL_WRONG_arguments(struct device *dev)
{
	get_device(dev, dev);
}

/* another type */
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

/* its VFIO has no log of dirty pages */
void NEED_VFIO_LOG(struct vfio_device *vdev)
{
	vdev->log_ops->log_stop(vdev);
	MEMBER(struct vfio_migration_ops, migration_set_state);
}

/* its struct mdev_device and its like are not those of Linux 6.1 */
void NEED_MDEV_LAYOUT(void)
{
#if KERNEL_HAS_MDEV
	ORDER(struct mdev_device, dev, uuid);
	ORDER(struct mdev_device, uuid, next);
	ORDER(struct mdev_device, next, type);
	ORDER(struct mdev_device, type, active);
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

/* 6.11: a bus matches a const driver */
void HAVE_BUS_MATCH_CONST(void)
{
	SAME(int (*)(struct device *, const struct device_driver *),
	     ((const struct bus_type *)0)->match);
}

/* 6.3: a bus has uevents of a const device */
void HAVE_BUS_UEVENT_CONST(void)
{
	SAME(int (*)(const struct device *, struct kobj_uevent_env *),
	     ((const struct bus_type *)0)->uevent);
}

/* 6.13: a class_compat has no third link */
int HAVE_CLASS_COMPAT_ONE_LINK(struct class_compat *cls, struct device *dev)
{
	class_compat_remove_link(cls, dev);
	return class_compat_create_link(cls, dev);
}

/* 7.0: kmalloc_obj() and kzalloc_obj(), whose flags may be left out */
void *HAVE_KMALLOC_OBJ(struct list_head *list)
{
	list = kmalloc_obj(*list);
	list = kmalloc_obj(*list, GFP_ATOMIC);
	list = kzalloc_obj(*list);
	return kzalloc_obj(*list, GFP_ATOMIC);
}

/* 6.3: vm_flags_set() */
void HAVE_VM_FLAGS_SET(struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_IO);
}

/* 6.4: a class does not want to know its owner */
void *HAVE_CLASS_CREATE_NAME(void)
{
	return class_create("");
}

/* 6.8: eventfd_signal() always adds one */
void HAVE_EVENTFD_SIGNAL_ONE(struct eventfd_ctx *ctx)
{
	eventfd_signal(ctx);
}

/* 6.8: PCI_IRQ_INTX, which was PCI_IRQ_LEGACY */
int HAVE_PCI_IRQ_INTX(void)
{
	return PCI_IRQ_INTX;
}

/* 6.2: devices say that they are about to be migrated, user space reads it */
int HAVE_VFIO_PRE_COPY(void)
{
	return VFIO_MIGRATION_PRE_COPY + VFIO_DEVICE_STATE_PRE_COPY +
	       VFIO_DEVICE_STATE_PRE_COPY_P2P + VFIO_MIG_GET_PRECOPY_INFO +
	       sizeof(struct vfio_precopy_info);
}

/* 6.2: VFIO asks how much there is to migrate */
void HAVE_VFIO_MIGRATION_DATA_SIZE(void)
{
	MEMBER(struct vfio_migration_ops, migration_get_data_size);
}

/* 6.2: devices can be bound to an iommufd, and a container knows them while they open */
void HAVE_VFIO_IOMMUFD(void)
{
	MEMBER(struct vfio_device_ops, bind_iommufd);
	MEMBER(struct vfio_device_ops, unbind_iommufd);
	MEMBER(struct vfio_device_ops, attach_ioas);
}

/* 6.6: devices can leave the memory of an iommufd */
void HAVE_VFIO_DETACH_IOAS(void)
{
	MEMBER(struct vfio_device_ops, detach_ioas);
}

/* to 6.1: whoever releases a device frees it */
void HAVE_VFIO_FREE_DEVICE(struct vfio_device *vdev)
{
	vfio_free_device(vdev);
}

/* 6.2, if there is KVM: VFIO keeps the virtual machine of an open device */
void HAVE_VFIO_PUT_KVM(struct vfio_device *vdev)
{
	MEMBER(struct vfio_device, put_kvm);
}

/* devices can be in a container; since 6.6 not in every kernel */
void HAVE_VFIO_CONTAINERS(void)
{
	MEMBER(struct vfio_device, iommu_entry);
}

/* 6.19: VFIO asks for regions with the kernel's structures */
void HAVE_VFIO_REGION_INFO_CAPS(void)
{
	SAME(int (*)(struct vfio_device *, struct vfio_region_info *,
		     struct vfio_info_cap *),
	     ((struct vfio_device_ops *)0)->get_region_info_caps);
}

/* what every kernel has */
void CONTROL_RIGHT_last(struct pci_dev *pdev)
{
	pci_set_master(pdev);
	MEMBER(struct vm_area_struct, vm_start);
	kfree(kmalloc(1, GFP_KERNEL));
}
