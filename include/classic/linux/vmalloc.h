/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Since Linux 5.10 modules can only map a whole area of the user's at once,
 * which is what vendors of mediated displays do anyway.
 */
#ifndef MDEV_CLASSIC_VMALLOC_H
#define MDEV_CLASSIC_VMALLOC_H

#include_next <linux/vmalloc.h>

#define remap_vmalloc_range_partial(vma, uaddr, kaddr, pgoff, size) ({	\
	struct vm_area_struct *__vma = (vma);				\
	unsigned long __uaddr = (uaddr), __size = (size);		\
	__uaddr == __vma->vm_start &&					\
	__size == __vma->vm_end - __vma->vm_start ?			\
		remap_vmalloc_range(__vma, kaddr, pgoff) : -EINVAL; })

#endif /* MDEV_CLASSIC_VMALLOC_H */
