/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Since Linux 5.10 modules cannot call remap_vmalloc_range_partial(). Vendors of
 * mediated displays use it to map a whole area, for which remap_vmalloc_range() does.
 * Before 5.7 the function had no parameter for a page offset.
 */
#ifndef MDEV_CLASSIC_VMALLOC_H
#define MDEV_CLASSIC_VMALLOC_H

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mm_types.h>
#include_next <linux/vmalloc.h>

static inline int mdev_classic_remap_2(struct vm_area_struct *vma,
				       unsigned long uaddr, void *kaddr,
				       unsigned long pgoff, unsigned long size)
{
	if (uaddr != vma->vm_start || size != vma->vm_end - vma->vm_start)
		return -EINVAL;
	return remap_vmalloc_range(vma, kaddr, pgoff);
}

static inline int mdev_classic_remap_1(struct vm_area_struct *vma,
				       unsigned long uaddr, void *kaddr,
				       unsigned long size)
{
	return mdev_classic_remap_2(vma, uaddr, kaddr, 0, size);
}

#define remap_vmalloc_range_partial(vma, uaddr, kaddr, ...)		\
	(CONCATENATE(mdev_classic_remap_, COUNT_ARGS(__VA_ARGS__))	\
		(vma, uaddr, kaddr, __VA_ARGS__))

#endif /* MDEV_CLASSIC_VMALLOC_H */
