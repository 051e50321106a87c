/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the benchmarks' devices do, whoever makes VFIO devices of them; and what
 * the programs that measure them need to know.
 */
#ifndef BENCH_H
#define BENCH_H

#include <linux/vfio.h>

#define BENCH_PARENTS		2	/* that are used, and registered again */
#define BENCH_MAX_PARENTS	10100
#define BENCH_REGION_SIZE	65536
#define BENCH_MAX_PAGES		512

/* does nothing */
#define BENCH_NOTHING		_IO(VFIO_TYPE, VFIO_BASE + 100)
/* the argument is the number of pages, from IOVA 0 */
#define BENCH_PIN		_IO(VFIO_TYPE, VFIO_BASE + 101)
#define BENCH_UNPIN		_IO(VFIO_TYPE, VFIO_BASE + 102)

/* registers of 32 bits of the PCI devices, in BAR 0; a region's offset is its index << */
#define BENCH_REGS		4
#define BENCH_SHIFT		40

#ifdef __KERNEL__
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

/* the parents, and what each module does to offer devices of them */

static struct platform_device *bench_parents[BENCH_MAX_PARENTS];

static unsigned int parents = BENCH_PARENTS;
module_param(parents, uint, 0400);
MODULE_PARM_DESC(parents, "how many there are, the others for nothing");

static int bench_register(struct platform_device *parent);
static void bench_unregister(struct platform_device *parent);

static bool bench_registered = true;

/* those that are used, at once; the time a write takes is that of registering */
static int bench_registered_set(const char *val, const struct kernel_param *kp)
{
	bool old = bench_registered;
	int ret = param_set_bool(val, kp);
	unsigned int i;

	for (i = 0; i < BENCH_PARENTS && !ret && bench_registered != old; i++) {
		if (bench_registered)
			ret = bench_register(bench_parents[i]);
		else
			bench_unregister(bench_parents[i]);
	}
	return ret;
}

static const struct kernel_param_ops bench_registered_ops = {
	.set	= bench_registered_set,
	.get	= param_get_bool,
};

static int bench_add_parents(void)
{
	struct platform_device *parent;
	unsigned int i;
	int ret;

	if (parents < BENCH_PARENTS || parents > BENCH_MAX_PARENTS)
		return -EINVAL;
	for (i = 0; i < parents; i++) {
		parent = platform_device_register_simple("bench", i, NULL, 0);
		if (IS_ERR(parent)) {
			ret = PTR_ERR(parent);
			goto err_unregister;
		}
		bench_parents[i] = parent;
		ret = bench_register(parent);
		if (ret) {
			platform_device_unregister(parent);
			goto err_unregister;
		}
	}
	return 0;

err_unregister:
	while (i--) {
		bench_unregister(bench_parents[i]);
		platform_device_unregister(bench_parents[i]);
	}
	return ret;
}

static void bench_remove_parents(void)
{
	unsigned int i;

	for (i = 0; i < parents; i++) {
		if (bench_registered || i >= BENCH_PARENTS)
			bench_unregister(bench_parents[i]);
		platform_device_unregister(bench_parents[i]);
	}
}

/* the devices */

struct bench_region {
	void *mem;
	struct page *pages[BENCH_MAX_PAGES];
};

static inline struct bench_region *bench_open(void)
{
	struct bench_region *region = kvzalloc(sizeof(*region), GFP_KERNEL);

	if (!region)
		return NULL;
	region->mem = alloc_pages_exact(BENCH_REGION_SIZE,
					GFP_KERNEL | __GFP_ZERO);
	if (region->mem)
		return region;
	kvfree(region);
	return NULL;
}

static inline void bench_close(struct bench_region *region)
{
	free_pages_exact(region->mem, BENCH_REGION_SIZE);
	kvfree(region);
}

static inline ssize_t bench_read(struct bench_region *region, char __user *buf,
				 size_t count, loff_t *ppos)
{
	return simple_read_from_buffer(buf, count, ppos, region->mem,
				       BENCH_REGION_SIZE);
}

static inline ssize_t bench_write(struct bench_region *region,
				  const char __user *buf, size_t count,
				  loff_t *ppos)
{
	return simple_write_to_buffer(region->mem, BENCH_REGION_SIZE, ppos, buf,
				      count);
}

static vm_fault_t bench_fault(struct vm_fault *vmf)
{
	struct bench_region *region = vmf->vma->vm_private_data;

	if (vmf->pgoff >= BENCH_REGION_SIZE >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;
	return vmf_insert_pfn(vmf->vma, vmf->address,
			      page_to_pfn(virt_to_page(region->mem)) + vmf->pgoff);
}

static const struct vm_operations_struct bench_vm_ops = {
	.fault	= bench_fault,
};

static inline int bench_mmap(struct bench_region *region,
			     struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = region;
	vma->vm_ops = &bench_vm_ops;
	return 0;
}

static inline long bench_region_info(unsigned long arg)
{
	const size_t minsz = offsetofend(struct vfio_region_info, offset);
	struct vfio_region_info info;

	if (copy_from_user(&info, (void __user *)arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index)
		return -EINVAL;
	info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
		     VFIO_REGION_INFO_FLAG_MMAP;
	info.size = BENCH_REGION_SIZE;
	info.offset = 0;
	return copy_to_user((void __user *)arg, &info, minsz) ? -EFAULT : 0;
}

#endif /* __KERNEL__ */
#endif /* BENCH_H */
