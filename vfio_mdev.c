// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bridge: a VFIO device for every mediated device of the classic door.
 */
#include <linux/mdev.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vfio.h>
#include <linux/wait_bit.h>

#include "mdev_private.h"

/* no region has that many capabilities, and no vendor makes us allocate more */
#define VFIO_MDEV_REGION_INFO_MAX	SZ_64K

/**
 * struct vfio_mdev - a VFIO device
 * @vdev: VFIO's part; its reference count keeps the structure
 * @mdev: the mediated device; outlives the binding, not the structure
 * @ops: the vendor's callbacks; as long as @mdev
 */
struct vfio_mdev {
	struct vfio_device vdev;
	struct mdev_device *mdev;
	const struct mdev_parent_ops *ops;
};

/*
 * VFIO looks at our ops when it releases a device, which may be after it was
 * unregistered: the module's text and data must wait for that.
 */
static atomic_t vfio_mdev_devices = ATOMIC_INIT(0);

static struct vfio_mdev *to_vfio_mdev(struct vfio_device *vdev)
{
	return container_of(vdev, struct vfio_mdev, vdev);
}

static int vfio_mdev_init_dev(struct vfio_device *vdev)
{
	atomic_inc(&vfio_mdev_devices);
	return 0;
}

static void vfio_mdev_release_dev(struct vfio_device *vdev)
{
	/* pairs with the wait in vfio_mdev_exit() */
	if (atomic_dec_and_test(&vfio_mdev_devices))
		wake_up_var(&vfio_mdev_devices);
}

static int vfio_mdev_open_device(struct vfio_device *vdev)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	/* first: from here on the ops stay where they are */
	ret = mdev_open(vm->mdev);
	if (ret)
		return ret;

	if (!try_module_get(vm->ops->owner)) {
		ret = -ENODEV;
		goto err_close;
	}

	if (vm->ops->open) {
		ret = mdev_vendor_errno(vdev->dev, "open",
					vm->ops->open(vm->mdev));
		if (ret)
			goto err_module;
	}
	return 0;

err_module:
	module_put(vm->ops->owner);
err_close:
	mdev_close(vm->mdev);
	return ret;
}

static void vfio_mdev_close_device(struct vfio_device *vdev)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	if (vm->ops->release)
		vm->ops->release(vm->mdev);
	module_put(vm->ops->owner);
	/* last: the ops may be gone after this */
	mdev_close(vm->mdev);
}

static ssize_t vfio_mdev_read(struct vfio_device *vdev, char __user *buf,
			      size_t count, loff_t *ppos)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	if (unlikely(!vm->ops->read))
		return -EINVAL;
	return vm->ops->read(vm->mdev, buf, count, ppos);
}

static ssize_t vfio_mdev_write(struct vfio_device *vdev, const char __user *buf,
			       size_t count, loff_t *ppos)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	if (unlikely(!vm->ops->write))
		return -EINVAL;
	return vm->ops->write(vm->mdev, buf, count, ppos);
}

static long vfio_mdev_ioctl(struct vfio_device *vdev, unsigned int cmd,
			    unsigned long arg)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	if (unlikely(!vm->ops->ioctl))
		return -EINVAL;
	return vm->ops->ioctl(vm->mdev, cmd, arg);
}

static int vfio_mdev_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	if (unlikely(!vm->ops->mmap))
		return -EINVAL;
	return mdev_vendor_errno(vdev->dev, "mmap",
				 vm->ops->mmap(vm->mdev, vma));
}

/* VFIO asks when the bridge is unbound from an open device. */
static void vfio_mdev_request(struct vfio_device *vdev, unsigned int count)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	/* VFIO also asks while the last close is on its way out */
	if (!mdev_is_open(vm->mdev))
		return;

	if (vm->ops->request)
		vm->ops->request(vm->mdev, count);
	else if (!count)
		dev_notice(vdev->dev, "driver unbound while open, waiting\n");
}

/* Copy the capabilities that the vendor chained behind @info to VFIO's list. */
static int vfio_mdev_copy_caps(struct vfio_region_info *info, size_t size,
			       struct vfio_info_cap *caps)
{
	size_t offset = info->cap_offset;

	while (offset) {
		struct vfio_info_cap_header *cap = (void *)info + offset;
		size_t next, end;
		int ret;

		if (offset < sizeof(*info) || offset + sizeof(*cap) > size)
			return -EIO;
		/* chains go upwards, which also makes them end */
		next = cap->next;
		end = next ?: size;
		if (end < offset + sizeof(*cap) || end > size)
			return -EIO;

		ret = vfio_info_add_capability(caps, cap, end - offset);
		if (ret)
			return ret;
		offset = next;
	}
	return 0;
}

/*
 * Ask the vendor's ioctl about region @index. It writes to user memory, so lend
 * it some of the caller's address space. Each call has its own; whoever scribbles
 * over it from another thread fools nobody but itself.
 */
static int vfio_mdev_ask_region(struct vfio_mdev *vm, u32 index,
				struct vfio_region_info *answer, size_t size)
{
	const size_t minsz = offsetofend(struct vfio_region_info, offset);
	unsigned long addr;
	long ret;

	addr = vm_mmap(NULL, 0, PAGE_ALIGN(size), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	if (IS_ERR_VALUE(addr))
		return (long)addr;

	memset(answer, 0, size);
	answer->argsz = size;
	answer->index = index;
	ret = -EFAULT;
	if (copy_to_user((void __user *)addr, answer, minsz))
		goto out_unmap;
	ret = vm->ops->ioctl(vm->mdev, VFIO_DEVICE_GET_REGION_INFO, addr);
	if (ret)
		goto out_unmap;
	if (copy_from_user(answer, (void __user *)addr, size))
		ret = -EFAULT;

out_unmap:
	vm_munmap(addr, PAGE_ALIGN(size));
	return mdev_vendor_errno(vm->vdev.dev, "ioctl", ret);
}

/* What VFIO wants to know, from a vendor that has no other op than ioctl. */
static int vfio_mdev_ioctl_region_info(struct vfio_mdev *vm,
				       struct vfio_region_info *info,
				       struct vfio_info_cap *caps)
{
	struct vfio_region_info *full;
	struct vfio_region_info answer;
	u32 size;
	int ret;

	if (unlikely(!vm->ops->ioctl))
		return -EINVAL;

	ret = vfio_mdev_ask_region(vm, info->index, &answer, sizeof(answer));
	if (ret)
		return ret;

	info->size = answer.size;
	info->offset = answer.offset;
	/* VFIO sets this one when it has laid out the capabilities */
	info->flags = answer.flags & ~VFIO_REGION_INFO_FLAG_CAPS;
	if (info->flags == answer.flags || answer.argsz <= sizeof(answer))
		return 0;

	/* there was no room for capabilities; now the size is known */
	size = answer.argsz;
	if (size > VFIO_MDEV_REGION_INFO_MAX)
		return -E2BIG;
	full = kvzalloc(size, GFP_KERNEL);
	if (!full)
		return -ENOMEM;
	ret = vfio_mdev_ask_region(vm, info->index, full, size);
	if (!ret)
		ret = vfio_mdev_copy_caps(full, size, caps);
	kvfree(full);
	return ret;
}

static bool vfio_mdev_has_region_op(struct vfio_device *vdev)
{
	return to_vfio_mdev(vdev)->ops->get_region_info_caps;
}

/*
 * Newer VFIO answers VFIO_DEVICE_GET_REGION_INFO itself and wants the answer in
 * kernel memory, with the capabilities on a list.
 */
static int vfio_mdev_get_region_info_caps(struct vfio_device *vdev,
					  struct vfio_region_info *info,
					  struct vfio_info_cap *caps)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	if (!vfio_mdev_has_region_op(vdev))
		return vfio_mdev_ioctl_region_info(vm, info, caps);

	/* the caller's, but for argsz and index */
	info->flags = 0;
	info->cap_offset = 0;
	info->size = 0;
	info->offset = 0;
	ret = vm->ops->get_region_info_caps(vm->mdev, info, caps);
	info->flags &= ~VFIO_REGION_INFO_FLAG_CAPS;
	return mdev_vendor_errno(vdev->dev, "get_region_info_caps", ret);
}

static const struct vfio_device_ops vfio_mdev_ops = {
	.name			= "vfio-mdev",
	.init			= vfio_mdev_init_dev,
	.release		= vfio_mdev_release_dev,
	.open_device		= vfio_mdev_open_device,
	.close_device		= vfio_mdev_close_device,
	.read			= vfio_mdev_read,
	.write			= vfio_mdev_write,
	.ioctl			= vfio_mdev_ioctl,
	.mmap			= vfio_mdev_mmap,
	.request		= vfio_mdev_request,
	.get_region_info_caps	= vfio_mdev_get_region_info_caps,
	.bind_iommufd		= vfio_iommufd_emulated_bind,
	.unbind_iommufd		= vfio_iommufd_emulated_unbind,
	.attach_ioas		= vfio_iommufd_emulated_attach_ioas,
	.detach_ioas		= vfio_iommufd_emulated_detach_ioas,
};

static int vfio_mdev_probe(struct mdev_device *mdev)
{
	struct vfio_mdev *vm;
	int ret;

	vm = vfio_alloc_device(vfio_mdev, vdev, &mdev->dev, &vfio_mdev_ops);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	vm->mdev = mdev;
	vm->ops = mdev_classic_ops(mdev);
	dev_set_drvdata(&mdev->dev, vm);

	/* last: user space may open it at once */
	ret = vfio_register_emulated_iommu_dev(&vm->vdev);
	if (ret)
		vfio_put_device(&vm->vdev);
	return ret;
}

static void vfio_mdev_remove(struct mdev_device *mdev)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	vfio_unregister_group_dev(&vm->vdev);
	vfio_put_device(&vm->vdev);
}

static struct mdev_driver vfio_mdev_driver = {
	.probe	= vfio_mdev_probe,
	.remove	= vfio_mdev_remove,
	.driver	= {
		.name		= "vfio_mdev",
		.owner		= THIS_MODULE,
		.mod_name	= KBUILD_MODNAME,
	},
};

static int __init vfio_mdev_init(void)
{
	return mdev_register_bridge(&vfio_mdev_driver);
}

static void __exit vfio_mdev_exit(void)
{
	mdev_unregister_bridge(&vfio_mdev_driver);
	/* pairs with vfio_mdev_release_dev() */
	wait_var_event(&vfio_mdev_devices, !atomic_read(&vfio_mdev_devices));
	/* who ended the wait may still be on its way out of this module */
	synchronize_rcu_tasks();
}

module_init(vfio_mdev_init);
module_exit(vfio_mdev_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("VFIO bridge for mediated devices");
MODULE_ALIAS(MDEV_CLASSIC_MODALIAS);
