// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bridge: a VFIO device for every mediated device of the classic door. This file has
 * the life of such a device, and what is passed on to the vendor as it is.
 */
#include <linux/mdev.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/vfio.h>
#include <linux/wait_bit.h>

#include "mdev_bridge.h"
#include "mdev_trace.h"
#include "vfio_mdev_private.h"

/* VFIO calls vfio_mdev_request() every 10 s; log once a minute */
#define VFIO_MDEV_REQUESTS_PER_MESSAGE	6

/*
 * VFIO uses our ops when it releases a device, which may be after it was unregistered:
 * the module must not be unloaded before that.
 */
static atomic_t vfio_mdev_devices = ATOMIC_INIT(0);

static int vfio_mdev_init_dev(struct vfio_device *vdev)
{
	atomic_inc(&vfio_mdev_devices);
	return 0;
}

static void vfio_mdev_release_dev(struct vfio_device *vdev)
{
	vfio_mdev_memory_free(to_vfio_mdev(vdev));
	/* pairs with vfio_mdev_wait_released() */
	if (atomic_dec_and_test(&vfio_mdev_devices))
		wake_up_var(&vfio_mdev_devices);
}

static int vfio_mdev_dma_rw(struct mdev_device *mdev, dma_addr_t iova,
			    void *data, size_t len, bool write)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);
	dma_addr_t last;
	int ret;

	/* type1 would go on at address 0, and the log would not have that */
	if (len && check_add_overflow(iova, (dma_addr_t)len - 1, &last))
		return -EINVAL;
	ret = vfio_dma_rw(&vm->vdev, iova, data, len, write);
	/* a copy that has failed may have written a part */
	if (write)
		vfio_mdev_memory_written(vm, iova, len);
	return ret;
}

static struct kvm *vfio_mdev_kvm(struct mdev_device *mdev)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	return vm->vdev.kvm;
}

static int vfio_mdev_add_capability(struct mdev_device *mdev,
				    struct vfio_info_cap *caps,
				    struct vfio_info_cap_header *cap, size_t size)
{
	return vfio_info_add_capability(caps, cap, size);
}

/*
 * @fn runs in a work, and not in the wakeup itself: it may signal an eventfd, which must
 * not be done while another one is being signalled.
 */
static int vfio_mdev_virqfd_enable(struct mdev_device *mdev,
				   void (*fn)(void *arg, void *data), void *arg,
				   struct virqfd **virqfd, int fd)
{
	return vfio_virqfd_enable(arg, NULL, fn, NULL, virqfd, fd);
}

static void vfio_mdev_virqfd_disable(struct mdev_device *mdev,
				     struct virqfd **virqfd)
{
	vfio_virqfd_disable(virqfd);
}

static const struct mdev_bridge_ops vfio_mdev_bridge_ops = {
	.pin_pages		= vfio_mdev_pin_pages,
	.unpin_pages		= vfio_mdev_unpin_pages,
	.pin_pfns		= vfio_mdev_pin_pfns,
	.dma_rw			= vfio_mdev_dma_rw,
	.register_unmap		= vfio_mdev_register_unmap,
	.unregister_unmap	= vfio_mdev_unregister_unmap,
	.kvm			= vfio_mdev_kvm,
	.mig_get_next_state	= vfio_mdev_mig_get_next_state,
	.mig_precopy_info_v2	= vfio_mdev_mig_precopy_info_v2,
	.log_dirty		= vfio_mdev_log_dirty,
	.add_capability		= vfio_mdev_add_capability,
	.virqfd_enable		= vfio_mdev_virqfd_enable,
	.virqfd_disable		= vfio_mdev_virqfd_disable,
};

/* What VFIO calls. */

/* We stay until the device is unregistered, which waits for VFIO to be through with this. */
static void vfio_mdev_put_modules(struct vfio_mdev *vm)
{
	if (vfio_mdev_has_iommu(vm))
		module_put(THIS_MODULE);
	module_put(vm->ops->owner);
}

static int vfio_mdev_try_open(struct vfio_mdev *vm)
{
	int ret;

	/* first: keeps the parent registered, and so the ops in place */
	ret = mdev_open(mdev_of(vm));
	if (ret)
		return ret;

	if (!try_module_get(vm->ops->owner)) {
		ret = -ENODEV;
		goto err_close;
	}

	/* otherwise VFIO does, by the driver of the device that it knows */
	if (vfio_mdev_has_iommu(vm))
		__module_get(THIS_MODULE);
	ret = vfio_mdev_memory_begin(vm);
	if (ret)
		goto err_module;
	mdev_begin_calls(mdev_of(vm), &vfio_mdev_bridge_ops);
	if (vm->ops->open) {
		ret = mdev_vendor_errno(vfio_mdev_dev(vm), "open",
					vm->ops->open(mdev_of(vm)));
		if (ret)
			goto err_memory;
	}
	/* this may just have named who does the DMA */
	ret = -EPERM;
	if (!mdev_iommu_in_time(mdev_of(vm)))
		goto err_open;
	vfio_mdev_set_vendor_open(vm, true);
	vfio_mdev_v1_begin(vm);
	return 0;

err_open:
	/* in the order of a close: the vendor is not told of an unmap after its release */
	vfio_mdev_memory_end(vm);
	if (vm->ops->release)
		vm->ops->release(mdev_of(vm));
	goto err_calls;
err_memory:
	vfio_mdev_memory_end(vm);
err_calls:
	mdev_end_calls(mdev_of(vm));
	vfio_mdev_memory_forget(vm);
err_module:
	vfio_mdev_put_modules(vm);
err_close:
	mdev_open_failed(mdev_of(vm));
	return ret;
}

static int vfio_mdev_open_device(struct vfio_device *vdev)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	ret = vfio_mdev_try_open(vm);
	trace_mdev_open(vfio_mdev_dev(vm), task_tgid_nr(current), current->comm,
			ret);
	return ret;
}

static void vfio_mdev_close_device(struct vfio_device *vdev)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	vfio_mdev_v1_end(vm);
	vfio_mdev_set_vendor_open(vm, false);
	vfio_mdev_memory_end(vm);
	if (vm->ops->release)
		vm->ops->release(mdev_of(vm));
	mdev_end_calls(mdev_of(vm));
	vfio_mdev_memory_forget(vm);
	vfio_mdev_put_modules(vm);
	/* last: the ops may be gone after this */
	mdev_close(mdev_of(vm));
}

/*
 * Traced accesses. They are out of line, so that one that nobody traces costs only an
 * instruction that does nothing, and ends in a jump to the vendor.
 */

static noinline ssize_t vfio_mdev_read_traced(struct vfio_mdev *vm,
					      char __user *buf, size_t count,
					      loff_t *ppos)
{
	u64 start = ktime_get_ns();
	loff_t pos = *ppos;
	ssize_t ret;

	ret = vm->ops->read(mdev_of(vm), buf, count, ppos);
	trace_mdev_read(vfio_mdev_dev(vm), pos, count, ret, mdev_since(start));
	return ret;
}

static noinline ssize_t vfio_mdev_write_traced(struct vfio_mdev *vm,
					       const char __user *buf,
					       size_t count, loff_t *ppos)
{
	u64 start = ktime_get_ns();
	loff_t pos = *ppos;
	ssize_t ret;

	ret = vm->ops->write(mdev_of(vm), buf, count, ppos);
	trace_mdev_write(vfio_mdev_dev(vm), pos, count, ret, mdev_since(start));
	return ret;
}

static noinline long vfio_mdev_ioctl_traced(struct vfio_mdev *vm,
					    unsigned int cmd, unsigned long arg)
{
	u64 start = ktime_get_ns();
	long ret;

	ret = vm->ioctl(mdev_of(vm), cmd, arg);
	trace_mdev_ioctl(vfio_mdev_dev(vm), cmd, ret, mdev_since(start));
	return ret;
}

static noinline int vfio_mdev_mmap_traced(struct vfio_mdev *vm,
					  struct vm_area_struct *vma)
{
	loff_t pos = (loff_t)vma->vm_pgoff << PAGE_SHIFT;
	size_t count = vma->vm_end - vma->vm_start;
	u64 start = ktime_get_ns();
	int ret;

	ret = vm->ops->mmap(mdev_of(vm), vma);
	trace_mdev_mmap(vfio_mdev_dev(vm), pos, count, ret, mdev_since(start));
	return ret;
}

/* inlined: the whole path is 13 instructions, and a call would double that */
static __always_inline long vfio_mdev_call_ioctl(struct vfio_mdev *vm,
						 unsigned int cmd,
						 unsigned long arg)
{
	if (trace_mdev_ioctl_enabled())
		return vfio_mdev_ioctl_traced(vm, cmd, arg);
	return vm->ioctl(mdev_of(vm), cmd, arg);
}

static ssize_t vfio_mdev_read(struct vfio_device *vdev, char __user *buf,
			      size_t count, loff_t *ppos)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	if (unlikely(!vm->ops->read))
		return -EINVAL;
	if (trace_mdev_read_enabled())
		return vfio_mdev_read_traced(vm, buf, count, ppos);
	return vm->ops->read(mdev_of(vm), buf, count, ppos);
}

static ssize_t vfio_mdev_write(struct vfio_device *vdev, const char __user *buf,
			       size_t count, loff_t *ppos)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	if (unlikely(!vm->ops->write))
		return -EINVAL;
	if (trace_mdev_write_enabled())
		return vfio_mdev_write_traced(vm, buf, count, ppos);
	return vm->ops->write(mdev_of(vm), buf, count, ppos);
}

static long vfio_mdev_ioctl(struct vfio_device *vdev, unsigned int cmd,
			    unsigned long arg)
{
	return vfio_mdev_call_ioctl(to_vfio_mdev(vdev), cmd, arg);
}

static int vfio_mdev_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	if (unlikely(!vm->ops->mmap))
		return -EINVAL;
	if (trace_mdev_mmap_enabled())
		ret = vfio_mdev_mmap_traced(vm, vma);
	else
		ret = vm->ops->mmap(mdev_of(vm), vma);
	return mdev_vendor_errno(vfio_mdev_dev(vm), "mmap", ret);
}

/*
 * Does VFIO hold the device, be it open or not? The core asks before it removes a device, as
 * VFIO's wait cannot be interrupted. VFIO has a reference of its own until it waits for the
 * others.
 */
static bool vfio_mdev_held(struct mdev_device *mdev)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	return refcount_read(&vm->vdev.refcount) > 1;
}

static bool vfio_mdev_held_by_others(struct mdev_device *mdev)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	return refcount_read(&vm->vdev.refcount);
}

/*
 * VFIO calls this while the bridge is being unbound from a device that it holds: the
 * device is open, its own node is open but not bound, or an open or a close is under way.
 */
static void vfio_mdev_request(struct vfio_device *vdev, unsigned int count)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	mdev_set_held(mdev_of(vm), vfio_mdev_held_by_others);
	if (!mdev_is_open(mdev_of(vm))) {
		/* not the first time: a close that is just ending takes no time */
		if (count % VFIO_MDEV_REQUESTS_PER_MESSAGE == 1)
			dev_warn(vfio_mdev_dev(vm), "driver unbound, but held by VFIO, waiting\n");
		return;
	}

	if (count % VFIO_MDEV_REQUESTS_PER_MESSAGE == 0)
		mdev_log_holder(mdev_of(vm), vm->ops->request ?
				"asked to close it" : "waiting");
	if (vm->ops->request)
		vm->ops->request(mdev_of(vm), count);
}

static int vfio_mdev_device_feature(struct vfio_device *vdev, u32 flags,
				    void __user *arg, size_t argsz)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	u64 start = trace_mdev_ioctl_enabled() ? ktime_get_ns() : 0;
	int ret;

	if (!vm->ops->device_feature)
		return -ENOTTY;
	ret = vm->ops->device_feature(mdev_of(vm), flags, arg, argsz);
	trace_mdev_ioctl(vfio_mdev_dev(vm), VFIO_DEVICE_FEATURE, ret,
			 mdev_since(start));
	return ret;
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
	.dma_unmap		= vfio_mdev_dma_unmap,
	.device_feature		= vfio_mdev_device_feature,
	.bind_iommufd		= vfio_iommufd_emulated_bind,
	.unbind_iommufd		= vfio_iommufd_emulated_unbind,
	.attach_ioas		= vfio_iommufd_emulated_attach_ioas,
	.detach_ioas		= vfio_iommufd_emulated_detach_ioas,
};

/* By the UUID, as for other mediated devices: VFIO knows this one by another name. */
static int vfio_mdev_match(struct vfio_device *vdev, char *name)
{
	return !strcmp(dev_name(vfio_mdev_dev(to_vfio_mdev(vdev))), name);
}

/* for a device that has an IOMMU: VFIO maps memory for it, and never asks for an unmap */
static const struct vfio_device_ops vfio_mdev_iommu_ops = {
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
	.match			= vfio_mdev_match,
	.get_region_info_caps	= vfio_mdev_get_region_info_caps,
	.device_feature		= vfio_mdev_device_feature,
	.bind_iommufd		= vfio_iommufd_physical_bind,
	.unbind_iommufd		= vfio_iommufd_physical_unbind,
	.attach_ioas		= vfio_iommufd_physical_attach_ioas,
	.detach_ioas		= vfio_iommufd_physical_detach_ioas,
};

static long vfio_mdev_no_ioctl(struct mdev_device *mdev, unsigned int cmd,
			       unsigned long arg)
{
	return -EINVAL;
}

static int vfio_mdev_probe(struct mdev_device *mdev)
{
	struct device *iommu_device = mdev_iommu_device(mdev);
	struct vfio_mdev *vm;
	int ret;

	if (iommu_device)
		vm = vfio_alloc_device(vfio_mdev, vdev, iommu_device,
				       &vfio_mdev_iommu_ops);
	else
		vm = vfio_alloc_device(vfio_mdev, vdev, &mdev->dev,
				       &vfio_mdev_ops);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	vm->mdev = mdev;
	vm->ops = mdev_classic_ops(mdev);
	vm->ioctl = vm->ops->ioctl ?: vfio_mdev_no_ioctl;
	vfio_mdev_migration_setup(vm);
	dev_set_drvdata(&mdev->dev, vm);
	mdev_set_held(mdev, vfio_mdev_held);

	/* last: user space may open it at once */
	ret = iommu_device ? vfio_mdev_iommu_register(vm) :
			     vfio_register_emulated_iommu_dev(&vm->vdev);
	if (ret) {
		mdev_set_held(mdev, NULL);
		vfio_put_device(&vm->vdev);
	}
	return ret;
}

static void vfio_mdev_remove(struct mdev_device *mdev)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	if (vfio_mdev_has_iommu(vm))
		vfio_mdev_iommu_unregister(vm);
	else
		vfio_unregister_group_dev(&vm->vdev);
	mdev_set_held(mdev, NULL);
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

/* The driver is unregistered, but VFIO may not have released all devices yet. */
static void vfio_mdev_wait_released(void)
{
	/* pairs with vfio_mdev_release_dev() */
	wait_var_event(&vfio_mdev_devices, !atomic_read(&vfio_mdev_devices));
	/* the task that ended the wait may still be executing our text */
	synchronize_rcu_tasks();
}

static int __init vfio_mdev_init(void)
{
	int ret;

	ret = vfio_mdev_memory_init();
	if (ret)
		return ret;
	ret = mdev_register_bridge(&vfio_mdev_driver);
	if (ret) {
		/* devices may have been bound, and unbound again */
		vfio_mdev_wait_released();
		vfio_mdev_memory_exit();
	}
	return ret;
}

static void __exit vfio_mdev_exit(void)
{
	mdev_unregister_bridge(&vfio_mdev_driver);
	vfio_mdev_wait_released();
	vfio_mdev_memory_exit();
}

module_init(vfio_mdev_init);
module_exit(vfio_mdev_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("VFIO bridge for mediated devices");
MODULE_ALIAS(MDEV_CLASSIC_MODALIAS);
