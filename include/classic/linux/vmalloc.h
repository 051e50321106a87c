/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Since Linux 5.10 modules can only map a whole area of the user's at once,
 * which is what vendors of mediated displays do anyway. Before 5.7 there was no page
 * offset among the parameters.
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
