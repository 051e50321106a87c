// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bridge's answer to VFIO_DEVICE_GET_REGION_INFO: VFIO wants it in kernel memory,
 * and most vendors can only give it in user memory.
 */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "mdev_bridge.h"
#include "mdev_trace.h"
#include "vfio_mdev_private.h"

/* no region has that many capabilities, and no vendor makes us allocate more */
#define VFIO_MDEV_REGION_INFO_MAX	SZ_64K

/* Copy the capabilities that the vendor chained behind @info to VFIO's list. */
static int vfio_mdev_copy_caps(struct vfio_region_info *info, size_t size,
			       struct vfio_info_cap *caps)
{
	size_t offset = info->cap_offset;

	while (offset) {
		struct vfio_info_cap_header cap;
		size_t next, end;
		int ret;

		if (offset < sizeof(*info) || offset + sizeof(cap) > size)
			return -EIO;
		memcpy(&cap, (void *)info + offset, sizeof(cap));
		/* chains go upwards, which also makes them end */
		next = cap.next;
		end = next ?: size;
		if (end < offset + sizeof(cap) || end > size)
			return -EIO;

		/* it may be at any alignment; what is before it was copied */
		memmove(info, (void *)info + offset, end - offset);
		ret = vfio_info_add_capability(caps, (void *)info, end - offset);
		if (ret)
			return ret;
		offset = next;
	}
	return 0;
}

static long vfio_mdev_ask(struct vfio_mdev *vm, unsigned long addr)
{
	u64 start = trace_mdev_ioctl_enabled() ? ktime_get_ns() : 0;
	long ret;

	ret = vm->ioctl(mdev_of(vm), VFIO_DEVICE_GET_REGION_INFO, addr);
	trace_mdev_ioctl(vfio_mdev_dev(vm), VFIO_DEVICE_GET_REGION_INFO, ret,
			 mdev_since(start));
	return ret;
}

/*
 * Some of the caller's address space, for ops that know only user memory. Each call has its
 * own; a process that writes to it from another thread deceives only itself.
 */
unsigned long vfio_mdev_lend(size_t size)
{
	return vm_mmap(NULL, 0, PAGE_ALIGN(size), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
}

void vfio_mdev_take_back(unsigned long addr, size_t size)
{
	vm_munmap(addr, PAGE_ALIGN(size));
}

/* Ask the vendor's ioctl about region @index. */
static int vfio_mdev_ask_region(struct vfio_mdev *vm, u32 index,
				struct vfio_region_info *answer, size_t size)
{
	const size_t minsz = offsetofend(struct vfio_region_info, offset);
	unsigned long addr;
	long ret;

	addr = vfio_mdev_lend(size);
	if (IS_ERR_VALUE(addr))
		return (long)addr;

	memset(answer, 0, size);
	answer->argsz = size;
	answer->index = index;
	ret = -EFAULT;
	if (copy_to_user((void __user *)addr, answer, minsz))
		goto out_unmap;
	ret = vfio_mdev_ask(vm, addr);
	if (ret)
		goto out_unmap;
	if (copy_from_user(answer, (void __user *)addr, size))
		ret = -EFAULT;

out_unmap:
	vfio_mdev_take_back(addr, size);
	return mdev_vendor_errno(vfio_mdev_dev(vm), "ioctl", ret);
}

/* The answer of a vendor that has only the ioctl op for it. */
static int vfio_mdev_ioctl_region_info(struct vfio_mdev *vm,
				       struct vfio_region_info *info,
				       struct vfio_info_cap *caps)
{
	struct vfio_region_info *full;
	struct vfio_region_info answer;
	u32 size;
	int ret;

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

/*
 * Newer VFIO answers VFIO_DEVICE_GET_REGION_INFO itself and wants the answer in
 * kernel memory, with the capabilities on a list.
 */
int vfio_mdev_get_region_info_caps(struct vfio_device *vdev,
				   struct vfio_region_info *info,
				   struct vfio_info_cap *caps)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	u64 start = trace_mdev_ioctl_enabled() ? ktime_get_ns() : 0;
	int ret;

	if (!vfio_mdev_has_region_op(vdev))
		return vfio_mdev_ioctl_region_info(vm, info, caps);

	/* all but argsz and index is what user space has left there */
	info->flags = 0;
	info->cap_offset = 0;
	info->size = 0;
	info->offset = 0;
	ret = vm->ops->get_region_info_caps(mdev_of(vm), info, caps);
	trace_mdev_ioctl(vfio_mdev_dev(vm), VFIO_DEVICE_GET_REGION_INFO, ret,
			 mdev_since(start));
	info->flags &= ~VFIO_REGION_INFO_FLAG_CAPS;
	return mdev_vendor_errno(vfio_mdev_dev(vm), "get_region_info_caps", ret);
}
