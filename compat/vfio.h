/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What older VFIO cores lack. Included before the bridge, and nowhere else.
 */
#ifndef MDEV_COMPAT_VFIO_H
#define MDEV_COMPAT_VFIO_H

#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "../vfio_mdev_private.h"
#include <mdev_facts.h>

/*
 * The ops as the bridge writes them: the kernel's own, then those this kernel
 * does not have and never looks at. VFIO is given the first part.
 */
struct compat_vfio_device_ops {
	struct vfio_device_ops;		/* needs -fms-extensions */
#if !HAVE_VFIO_IOMMUFD
	void *bind_iommufd;
	void *unbind_iommufd;
	void *attach_ioas;
#endif
#if !HAVE_VFIO_DETACH_IOAS
	void *detach_ioas;
#endif
#if !HAVE_VFIO_REGION_INFO_CAPS
	int (*get_region_info_caps)(struct vfio_device *vdev,
				    struct vfio_region_info *info,
				    struct vfio_info_cap *caps);
#endif
};

#if !HAVE_VFIO_IOMMUFD
/* never called */
#undef vfio_iommufd_emulated_bind
#undef vfio_iommufd_emulated_unbind
#undef vfio_iommufd_emulated_attach_ioas
#undef vfio_iommufd_physical_bind
#undef vfio_iommufd_physical_unbind
#undef vfio_iommufd_physical_attach_ioas
#define vfio_iommufd_physical_bind			NULL
#define vfio_iommufd_physical_unbind			NULL
#define vfio_iommufd_physical_attach_ioas		NULL
#define vfio_iommufd_emulated_bind			NULL
#define vfio_iommufd_emulated_unbind			NULL
#define vfio_iommufd_emulated_attach_ioas		NULL
struct iommufd_ctx;
#endif

#if !HAVE_VFIO_DETACH_IOAS
#undef vfio_iommufd_emulated_detach_ioas
#undef vfio_iommufd_physical_detach_ioas
#define vfio_iommufd_physical_detach_ioas		NULL
#define vfio_iommufd_emulated_detach_ioas		NULL
#endif

#if HAVE_VFIO_FREE_DEVICE
/*
 * This VFIO leaves it to the driver's release op to free the device, newer ones
 * free it after that op. Do what they do.
 */
static void (*compat_vfio_release)(struct device *dev);

static void compat_vfio_release_and_free(struct device *dev)
{
	struct vfio_device *vdev = container_of(dev, struct vfio_device, device);

	compat_vfio_release(dev);
	vfio_free_device(vdev);
}
#endif

#if !HAVE_VFIO_PUT_KVM
#if IS_ENABLED(CONFIG_KVM)
#include <linux/kvm_host.h>
#include <linux/module.h>

/*
 * This VFIO holds no reference on the virtual machine while a device is open. It keeps
 * the group from losing it while the device is being opened, so get one then.
 */
static bool compat_kvm_get(struct kvm *kvm)
{
	bool (*get)(struct kvm *kvm) = symbol_get(kvm_get_kvm_safe);
	void (*put)(struct kvm *kvm) = symbol_get(kvm_put_kvm);
	bool got = get && put && get(kvm);

	if (get)
		symbol_put(kvm_get_kvm_safe);
	/* kept until compat_kvm_put(), if there is something to put */
	if (put && !got)
		symbol_put(kvm_put_kvm);
	return got;
}

static void compat_kvm_put(struct kvm *kvm)
{
	void (*put)(struct kvm *kvm) = symbol_get(kvm_put_kvm);

	if (WARN_ON_ONCE(!put))
		return;
	put(kvm);
	symbol_put(kvm_put_kvm);
	/* that of compat_kvm_get() */
	symbol_put(kvm_put_kvm);
}

#else
static bool compat_kvm_get(struct kvm *kvm) { return false; }
static void compat_kvm_put(struct kvm *kvm) { }
#endif

static int compat_vfio_mdev_open_device(struct vfio_device *vdev);
static void compat_vfio_mdev_close_device(struct vfio_device *vdev);

static int vfio_mdev_open_device(struct vfio_device *vdev)
{
	int ret;

	if (vdev->kvm && !compat_kvm_get(vdev->kvm))
		vdev->kvm = NULL;
	ret = compat_vfio_mdev_open_device(vdev);
	if (ret && vdev->kvm)
		compat_kvm_put(vdev->kvm);
	return ret;
}

static void vfio_mdev_close_device(struct vfio_device *vdev)
{
	compat_vfio_mdev_close_device(vdev);
	if (vdev->kvm)
		compat_kvm_put(vdev->kvm);
}

/* these rename the definitions, as below */
#define vfio_mdev_open_device(vdev)	compat_vfio_mdev_open_device(vdev)
#define vfio_mdev_close_device(vdev)	compat_vfio_mdev_close_device(vdev)
#endif

static inline struct vfio_device *
compat_vfio_alloc_device(size_t size, struct device *dev,
			 const struct compat_vfio_device_ops *ops)
{
	struct vfio_device *vdev;

	vdev = _vfio_alloc_device(size, dev,
				  (const struct vfio_device_ops *)ops);
#if HAVE_VFIO_FREE_DEVICE
	if (!IS_ERR(vdev)) {
		compat_vfio_release = vdev->device.release;
		vdev->device.release = compat_vfio_release_and_free;
	}
#endif
	return vdev;
}

#define vfio_device_ops compat_vfio_device_ops
#define _vfio_alloc_device compat_vfio_alloc_device

#if !HAVE_VFIO_REGION_INFO_CAPS
/*
 * This VFIO leaves VFIO_DEVICE_GET_REGION_INFO to the driver's ioctl op. Answer
 * it as newer ones do if the vendor can only be asked that way.
 */
static long compat_vfio_mdev_ioctl(struct vfio_device *vdev, unsigned int cmd,
				   unsigned long arg);

/* out of line: it needs a stack frame, which no other ioctl should pay for */
static noinline long compat_vfio_region_info(struct vfio_device *vdev,
					     void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_region_info, offset);
	struct vfio_info_cap caps = {};
	struct vfio_region_info info;
	long ret;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;

	ret = vfio_mdev_get_region_info_caps(vdev, &info, &caps);
	if (ret)
		goto out;

	if (caps.size)
		info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
	if (caps.size && info.argsz >= sizeof(info) + caps.size) {
		info.cap_offset = sizeof(info);
		vfio_info_cap_shift(&caps, sizeof(info));
		if (copy_to_user(arg + sizeof(info), caps.buf, caps.size))
			ret = -EFAULT;
	} else if (caps.size) {
		info.argsz = sizeof(info) + caps.size;
	}
	if (copy_to_user(arg, &info, minsz))
		ret = -EFAULT;
out:
	kfree(caps.buf);
	return ret;
}

static long vfio_mdev_ioctl(struct vfio_device *vdev, unsigned int cmd,
			    unsigned long arg)
{
	if (cmd == VFIO_DEVICE_GET_REGION_INFO && vfio_mdev_has_region_op(vdev))
		return compat_vfio_region_info(vdev, (void __user *)arg);
	return compat_vfio_mdev_ioctl(vdev, cmd, arg);
}

/* renames the definition; a name without parentheses behind it is left alone */
#define vfio_mdev_ioctl(vdev, cmd, arg) compat_vfio_mdev_ioctl(vdev, cmd, arg)
#endif

#endif /* MDEV_COMPAT_VFIO_H */
