// SPDX-License-Identifier: GPL-2.0-only
/*
 * Regions: their info for VFIO, reading and writing, mappings, and the memory of regions
 * with MDEV_PCI_RAM.
 */
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/vmalloc.h>

#include "mdev_pci_private.h"

/* number of bytes copied from or to user memory at a time */
#define MDEV_PCI_CHUNK	64

static bool mdev_pci_decoded(struct mdev_pci *pci, unsigned int index)
{
	return READ_ONCE(pci->decoded_regions) & BIT(index);
}

static bool mdev_pci_readonly(const struct mdev_pci_region *region,
			      unsigned int index)
{
	return region->flags & MDEV_PCI_READONLY ||
	       index == VFIO_PCI_ROM_REGION_INDEX;
}

/* ---- Reading and writing ---- */

/* Returns 1 in the table of MSI-X, 2 in its pending bits, 0 elsewhere. */
static int mdev_pci_in_msix(const struct mdev_pci *pci, unsigned int index,
			    u64 offset)
{
	u32 table, pba;

	if (!pci->msix)
		return 0;
	table = pci->msix->table & PCI_MSIX_TABLE_OFFSET;
	pba = pci->msix->pba & PCI_MSIX_PBA_OFFSET;
	if (index == (pci->msix->table & PCI_MSIX_TABLE_BIR) && offset >= table &&
	    offset - table < pci->msix->vectors * MDEV_PCI_MSIX_ENTRY)
		return 1;
	return index == (pci->msix->pba & PCI_MSIX_PBA_BIR) && offset >= pba &&
	       offset - pba < DIV_ROUND_UP(pci->msix->vectors, 64) * 8 ? 2 : 0;
}

/* Returns how many of @count bytes a bus would access at once. */
static unsigned int mdev_pci_piece(const struct mdev_pci_region *region,
				   u64 offset, size_t count)
{
	unsigned int width = region->width ?: 1;

	while (width > count || offset & (width - 1))
		width /= 2;
	return width;
}

static u64 mdev_pci_read_piece(struct mdev_pci *pci, unsigned int index,
			       u64 offset, unsigned int width)
{
	const struct mdev_pci_region *region = &pci->desc->regions[index];
	int msix = mdev_pci_in_msix(pci, index, offset);

	if (!mdev_pci_decoded(pci, index))
		return U64_MAX;
	if (msix)
		return msix == 1 ? U64_MAX : 0;
	if (!region->read || width < region->min_width)
		return U64_MAX;
	return region->read(pci, region, offset, width);
}

static void mdev_pci_write_piece(struct mdev_pci *pci, unsigned int index,
				 u64 offset, unsigned int width, u64 val)
{
	const struct mdev_pci_region *region = &pci->desc->regions[index];

	if (mdev_pci_in_msix(pci, index, offset) || !region->write ||
	    width < region->min_width || !mdev_pci_decoded(pci, index))
		return;
	region->write(pci, region, offset, width, val);
}

/* An access can have 2 GiB: let others run, and end it if the task was killed. */
static bool mdev_pci_gives_up(void)
{
	cond_resched();
	return fatal_signal_pending(current);
}

/* Access piece by piece, from the lowest address on. */
static void mdev_pci_access_chunk(struct mdev_pci *pci, unsigned int index,
				  u64 offset, u8 *data, size_t count, bool write)
{
	const struct mdev_pci_region *region = &pci->desc->regions[index];
	unsigned int width;
	__le64 val;

	for (; count; count -= width, offset += width, data += width) {
		width = mdev_pci_piece(region, offset, count);
		if (write) {
			val = 0;
			memcpy(&val, data, width);
			mdev_pci_write_piece(pci, index, offset, width,
					     le64_to_cpu(val));
		} else {
			val = cpu_to_le64(mdev_pci_read_piece(pci, index,
							      offset, width));
			memcpy(data, &val, width);
		}
	}
}

/*
 * User memory is copied outside of mdev_pci_enter() and mdev_pci_leave(): it may never
 * become present, and a migration waits for the access. If copying to it fails, the device
 * has been read all the same.
 */
static ssize_t mdev_pci_access_regs(struct mdev_pci *pci, unsigned int index,
				    u64 offset, char __user *buf, size_t count,
				    bool write)
{
	u8 data[MDEV_PCI_CHUNK];
	size_t done, part;

	for (done = 0; done < count; done += part) {
		if (mdev_pci_gives_up())
			return done ?: -EINTR;
		part = min(count - done, sizeof(data));
		if (write && copy_from_user(data, buf + done, part))
			return done ?: -EFAULT;
		if (!mdev_pci_enter(pci))
			return done ?: -EBUSY;
		mdev_pci_access_chunk(pci, index, offset + done, data, part,
				      write);
		mdev_pci_leave(pci);
		if (!write && copy_to_user(buf + done, data, part))
			return done ?: -EFAULT;
	}
	return count;
}

/* A region that is not decoded reads as ones and ignores writes. */
static ssize_t mdev_pci_access_undecoded(char __user *buf, size_t count,
					 bool write)
{
	u8 ones[MDEV_PCI_CHUNK];
	size_t done, part;

	memset(ones, 0xff, sizeof(ones));
	for (done = 0; done < count && !write; done += part) {
		if (mdev_pci_gives_up())
			return done ?: -EINTR;
		part = min(count - done, sizeof(ones));
		if (copy_to_user(buf + done, ones, part))
			return done ?: -EFAULT;
	}
	return count;
}

static ssize_t mdev_pci_access_ram(void *ram, char __user *buf, size_t count,
				   bool write)
{
	if (write ? copy_from_user(ram, buf, count) :
		    copy_to_user(buf, ram, count))
		return -EFAULT;
	return count;
}

/* Access a region that is not configuration space. */
ssize_t mdev_pci_region_access(struct mdev_pci *pci, u64 index, u64 offset,
			       char __user *buf, size_t count, bool write)
{
	const struct mdev_pci_region *region = mdev_pci_region(pci, index);

	if (!region || offset >= region->size)
		return -EINVAL;
	if (write && mdev_pci_readonly(region, index))
		return -EINVAL;
	count = min_t(u64, count, region->size - offset);
	if (!count)
		return 0;
	if (!(region->flags & MDEV_PCI_RAM) && !region->access)
		return mdev_pci_access_regs(pci, index, offset, buf, count,
					    write);

	/* these access user memory, so a migration does not wait for them */
	if (atomic_read(&pci->active) < 0)
		return -EBUSY;
	if (!mdev_pci_decoded(pci, index))
		return mdev_pci_access_undecoded(buf, count, write);
	if (region->access)
		return region->access(pci, region, buf, count, offset, write);
	return mdev_pci_access_ram(pci->ram[index] + offset, buf, count, write);
}

/* ---- Mappings ---- */

#define MDEV_PCI_PAGES_SHIFT	(MDEV_PCI_OFFSET_SHIFT - PAGE_SHIFT)

static vm_fault_t mdev_pci_fault(struct vm_fault *vmf, bool decoded)
{
	u64 page = vmf->pgoff & (BIT_ULL(MDEV_PCI_PAGES_SHIFT) - 1);
	unsigned int index = vmf->pgoff >> MDEV_PCI_PAGES_SHIFT;
	struct mdev_pci *pci = vmf->vma->vm_private_data;
	u64 offset = page << PAGE_SHIFT;

	/* a fault between this and mdev_pci_revoke_bars() maps what could be seen before */
	if (!decoded && !mdev_pci_decoded(pci, index))
		return VM_FAULT_SIGBUS;
	/* mdev_pci_mmap_ram() can map beyond the end, which wraps around */
	if (offset >= pci->desc->regions[index].size)
		offset -= pci->desc->regions[index].size;
	vmf->page = vmalloc_to_page(pci->ram[index] + offset);
	get_page(vmf->page);
	return 0;
}

static vm_fault_t mdev_pci_fault_bar(struct vm_fault *vmf)
{
	return mdev_pci_fault(vmf, false);
}

static vm_fault_t mdev_pci_fault_ram(struct vm_fault *vmf)
{
	return mdev_pci_fault(vmf, true);
}

static const struct vm_operations_struct mdev_pci_bar_vm_ops = {
	.fault = mdev_pci_fault_bar,
};

static const struct vm_operations_struct mdev_pci_ram_vm_ops = {
	.fault = mdev_pci_fault_ram,
};

/*
 * A mapping keeps the device's file open, and therefore the device and the vendor's module.
 * A pin of one of its pages, as by vmsplice(), O_DIRECT or another device's DMA, does not:
 * see mdev_pci_ram_open().
 */
static void mdev_pci_map_ram(struct mdev_pci *pci, unsigned int index, u64 offset,
			     struct vm_area_struct *vma,
			     const struct vm_operations_struct *ops)
{
	vma->vm_pgoff = (mdev_pci_offset(index) + offset) >> PAGE_SHIFT;
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = pci;
	vma->vm_ops = ops;
}

/**
 * mdev_pci_mmap_ram - map the memory of a region with MDEV_PCI_RAM in another region
 * @pci: the device
 * @index: of the region with MDEV_PCI_RAM
 * @offset: of the first page in it
 * @vma: the mapping
 *
 * For @mmap of another region. Behind the end of the memory its beginning is mapped. The
 * mapping shows the memory whether the BAR is decoded or not.
 *
 * Context: as @mmap.
 * Return: 0; -EINVAL if there is no such memory, or it is not whole pages.
 */
int mdev_pci_mmap_ram(struct mdev_pci *pci, unsigned int index, u64 offset,
		      struct vm_area_struct *vma)
{
	const struct mdev_pci_region *region = mdev_pci_region(pci, index);

	if (!region || !(region->flags & MDEV_PCI_RAM) || !mdev_pci_is_mapped(region) ||
	    offset >= region->size || !PAGE_ALIGNED(offset) ||
	    vma->vm_end - vma->vm_start > region->size)
		return -EINVAL;
	mdev_pci_map_ram(pci, index, offset, vma, &mdev_pci_ram_vm_ops);
	return 0;
}
EXPORT_SYMBOL_GPL(mdev_pci_mmap_ram);

/* Before Linux 6.10, the mappings of all files are in one address space: leave that alone. */
static void mdev_pci_note_mapping(struct mdev_pci *pci, struct file *file)
{
	if (file->f_mapping != file_inode(file)->i_mapping)
		WRITE_ONCE(pci->mapping, file->f_mapping);
}

/**
 * mdev_pci_mmap - the op mmap
 * @mdev: the device
 * @vma: the mapping
 *
 * Context: process context, sleeps; under the caller's mmap lock.
 * Return: 0; -EINVAL if it is not within a region that can be mapped, is private, or is
 * writable and the region is not; an errno of the vendor's.
 */
int mdev_pci_mmap(struct mdev_device *mdev, struct vm_area_struct *vma)
{
	u64 page = vma->vm_pgoff & (BIT_ULL(MDEV_PCI_PAGES_SHIFT) - 1);
	unsigned int index = vma->vm_pgoff >> MDEV_PCI_PAGES_SHIFT;
	struct mdev_pci *pci = mdev_pci_of(mdev);
	const struct mdev_pci_region *region = mdev_pci_region(pci, index);
	u64 size = vma->vm_end - vma->vm_start;

	/* the guest's changes would not appear in a private copy */
	if (!region || !mdev_pci_is_mapped(region) ||
	    !(vma->vm_flags & VM_SHARED) || size > region->size ||
	    page > (region->size - size) >> PAGE_SHIFT)
		return -EINVAL;
	if (mdev_pci_readonly(region, index)) {
		if (vma->vm_flags & VM_WRITE)
			return -EINVAL;
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	mdev_pci_note_mapping(pci, vma->vm_file);
	if (region->flags & MDEV_PCI_RAM) {
		mdev_pci_map_ram(pci, index, page << PAGE_SHIFT, vma,
				 &mdev_pci_bar_vm_ops);
		return 0;
	}
	return region->mmap(pci, region, page << PAGE_SHIFT, vma);
}
EXPORT_SYMBOL_GPL(mdev_pci_mmap);

/**
 * mdev_pci_revoke - unmap the pages of a region from all mappings
 * @pci: the device
 * @index: of the region
 *
 * The next access to a mapping calls its fault handler. Before Linux 6.10 nothing is
 * unmapped, because VFIO cannot find the mappings of a device.
 *
 * Context: process context, sleeps; not in a fault handler, and not in @mmap.
 */
void mdev_pci_revoke(struct mdev_pci *pci, unsigned int index)
{
	struct address_space *mapping = READ_ONCE(pci->mapping);

	if (mapping)
		unmap_mapping_range(mapping, mdev_pci_offset(index),
				    BIT_ULL(MDEV_PCI_OFFSET_SHIFT), 1);
}
EXPORT_SYMBOL_GPL(mdev_pci_revoke);

void mdev_pci_revoke_bars(struct mdev_pci *pci)
{
	unsigned int i;

	for (i = 0; i < MDEV_PCI_BARS; i++)
		if (mdev_pci_region(pci, i))
			mdev_pci_revoke(pci, i);
}

/* ---- Memory of regions with MDEV_PCI_RAM ---- */

/**
 * mdev_pci_ram - the memory of a region with MDEV_PCI_RAM
 * @pci: the device
 * @index: of the region
 *
 * Context: any.
 * Return: the memory, from @open to @close; NULL at other times, also in the @reset before
 * @open, and for other regions.
 */
void *mdev_pci_ram(struct mdev_pci *pci, unsigned int index)
{
	return pci->ram && index < pci->desc->nr_regions ? pci->ram[index] : NULL;
}
EXPORT_SYMBOL_GPL(mdev_pci_ram);

/*
 * Each opener gets new memory, which is charged to it: the previous one may still have
 * pages of the old memory pinned, for ever.
 */
int mdev_pci_ram_open(struct mdev_pci *pci)
{
	unsigned int i;

	for (i = 0; i < pci->desc->nr_regions; i++) {
		const struct mdev_pci_region *region = &pci->desc->regions[i];

		if (!(region->flags & MDEV_PCI_RAM) || !region->size)
			continue;
		if (!pci->ram)
			pci->ram = kcalloc(pci->desc->nr_regions,
					   sizeof(*pci->ram),
					   GFP_KERNEL_ACCOUNT);
		if (pci->ram)
			pci->ram[i] = __vmalloc(region->size, GFP_KERNEL_ACCOUNT |
						__GFP_ZERO | __GFP_NOWARN);
		if (!pci->ram || !pci->ram[i]) {
			mdev_pci_ram_release(pci);
			return -ENOMEM;
		}
	}
	return 0;
}

/* Mappings show the change. */
void mdev_pci_ram_reset(struct mdev_pci *pci)
{
	unsigned int i;

	for (i = 0; i < pci->desc->nr_regions; i++)
		if (mdev_pci_ram(pci, i))
			memset(pci->ram[i], 0, pci->desc->regions[i].size);
}

void mdev_pci_ram_release(struct mdev_pci *pci)
{
	unsigned int i;

	for (i = 0; i < pci->desc->nr_regions; i++)
		vfree(mdev_pci_ram(pci, i));
	kfree(pci->ram);
	pci->ram = NULL;
	pci->mapping = NULL;
}

/* ---- The info of regions ---- */

static int mdev_pci_add_type(struct mdev_pci *pci,
			     const struct mdev_pci_region *region,
			     struct vfio_info_cap *caps)
{
	struct vfio_region_info_cap_type cap = {
		.header.id	= VFIO_REGION_INFO_CAP_TYPE,
		.header.version	= 1,
		.type		= region->type,
		.subtype	= region->subtype,
	};

	return mdev_add_region_capability(pci->mdev, caps, &cap.header,
					  sizeof(cap));
}

static int mdev_pci_add_msix_mappable(struct mdev_pci *pci,
				      struct vfio_info_cap *caps)
{
	struct vfio_info_cap_header cap = {
		.id		= VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
		.version	= 1,
	};

	return mdev_add_region_capability(pci->mdev, caps, &cap, sizeof(cap));
}

static int mdev_pci_describe(struct mdev_pci *pci,
			     const struct mdev_pci_region *region,
			     struct vfio_region_info *info,
			     struct vfio_info_cap *caps)
{
	int ret = 0;

	info->size = region->size;
	info->flags = VFIO_REGION_INFO_FLAG_READ;
	if (!mdev_pci_readonly(region, info->index))
		info->flags |= VFIO_REGION_INFO_FLAG_WRITE;
	if (mdev_pci_is_mapped(region)) {
		info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
		if (pci->msix && info->index ==
		    (pci->msix->table & PCI_MSIX_TABLE_BIR))
			ret = mdev_pci_add_msix_mappable(pci, caps);
	}
	if (!ret && region->type)
		ret = mdev_pci_add_type(pci, region, caps);
	if (!ret && region->add_capabilities)
		ret = region->add_capabilities(pci, region, caps);
	return ret;
}

/**
 * mdev_pci_get_region_info_caps - the op get_region_info_caps
 * @mdev: the device
 * @info: as the op says
 * @caps: as the op says
 *
 * Context: process context, sleeps.
 * Return: 0; -EINVAL if there is no such index; -ENOMEM; an errno of the vendor's.
 */
int mdev_pci_get_region_info_caps(struct mdev_device *mdev,
				  struct vfio_region_info *info,
				  struct vfio_info_cap *caps)
{
	struct mdev_pci *pci = mdev_pci_of(mdev);
	const struct mdev_pci_region *region;

	if (info->index >= max_t(u32, pci->desc->nr_regions, VFIO_PCI_NUM_REGIONS))
		return -EINVAL;
	info->offset = mdev_pci_offset(info->index);
	if (info->index == VFIO_PCI_CONFIG_REGION_INDEX) {
		info->size = pci->config_size;
		info->flags = VFIO_REGION_INFO_FLAG_READ |
			      VFIO_REGION_INFO_FLAG_WRITE;
		return 0;
	}
	region = mdev_pci_region(pci, info->index);
	return region ? mdev_pci_describe(pci, region, info, caps) : 0;
}
EXPORT_SYMBOL_GPL(mdev_pci_get_region_info_caps);
