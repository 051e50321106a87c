/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the bridge share.
 */
#ifndef VFIO_MDEV_PRIVATE_H
#define VFIO_MDEV_PRIVATE_H

#include <linux/bitmap.h>
#include <linux/mdev.h>
#include <linux/vfio.h>

struct rb_root_cached;
struct vfio_mdev_log;
struct vfio_mdev_memory;

/**
 * struct vfio_mdev - a VFIO device
 * @vdev: VFIO's part; its reference count keeps the structure. Its @dev is that of @mdev,
 *	or the one that the vendor has named in mdev_set_iommu_device()
 * @mdev: the mediated device, which outlives the binding, not the structure
 * @ops: the vendor's callbacks; as long as the mediated device
 * @ioctl: the vendor's, or one that refuses, which spares the hot path a check. For the
 *	other accesses there is no room: with VFIO's part this has up to 1024 bytes, and
 *	kmalloc() would take 2048 for more
 * @memory: what only an open device needs. Allocated when it is opened the first time,
 *	which most devices never are
 */
struct vfio_mdev {
	struct vfio_device vdev;
	struct mdev_device *mdev;
	const struct mdev_parent_ops *ops;
	long (*ioctl)(struct mdev_device *mdev, unsigned int cmd,
		      unsigned long arg);
	struct vfio_mdev_memory *memory;
};

static inline struct vfio_mdev *to_vfio_mdev(struct vfio_device *vdev)
{
	return container_of(vdev, struct vfio_mdev, vdev);
}

static inline struct mdev_device *mdev_of(struct vfio_mdev *vm)
{
	return vm->mdev;
}

static inline struct device *vfio_mdev_dev(struct vfio_mdev *vm)
{
	return &vm->mdev->dev;
}

/* Does VFIO map user memory for it, in the domain of an IOMMU group? */
static inline bool vfio_mdev_has_iommu(struct vfio_mdev *vm)
{
	return vm->vdev.dev != vfio_mdev_dev(vm);
}

/*
 * Does user memory come from an iommufd, and not from a container of type1? That does not
 * change while the device is open.
 */
static inline bool vfio_mdev_by_iommufd(struct vfio_mdev *vm)
{
#if IS_ENABLED(CONFIG_IOMMUFD)
	return vm->vdev.iommufd_access;
#else
	return false;
#endif
}

/* Can the vendor answer in kernel memory? */
static inline bool vfio_mdev_has_region_op(struct vfio_device *vdev)
{
	return to_vfio_mdev(vdev)->ops->get_region_info_caps;
}

/* vfio_mdev_memory.c: for the life of a device */
int vfio_mdev_memory_init(void);
void vfio_mdev_memory_exit(void);
int vfio_mdev_memory_begin(struct vfio_mdev *vm);
void vfio_mdev_memory_end(struct vfio_mdev *vm);
void vfio_mdev_memory_forget(struct vfio_mdev *vm);
void vfio_mdev_memory_free(struct vfio_mdev *vm);
void vfio_mdev_set_vendor_open(struct vfio_mdev *vm, bool open);
int vfio_mdev_while_open(struct vfio_mdev *vm,
			 int (*function)(struct vfio_mdev *vm, void *arg),
			 void *arg);

/* vfio_mdev_memory.c: for VFIO */
void vfio_mdev_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length);

/* vfio_mdev_memory.c: for the vendor of an open device, see struct mdev_bridge_ops */
int vfio_mdev_pin_pages(struct mdev_device *mdev, dma_addr_t iova, int npage,
			int prot, struct page **pages);
int vfio_mdev_pin_pfns(struct mdev_device *mdev, const unsigned long *user_pfn,
		       int npage, int prot, unsigned long *phys_pfn);
void vfio_mdev_unpin_pages(struct mdev_device *mdev, dma_addr_t iova, int npage);
int vfio_mdev_register_unmap(struct mdev_device *mdev, struct notifier_block *nb);
int vfio_mdev_unregister_unmap(struct mdev_device *mdev,
			       struct notifier_block *nb);

/*
 * vfio_mdev_log.c: pages that are dirty but no longer pinned. Addresses are page numbers.
 * All functions but the first two are called under the lock that protects the log.
 */

/* number of pages in a leaf or window */
#define VFIO_MDEV_LOG_PAGES	1024

struct vfio_mdev_log *vfio_mdev_log_alloc(struct rb_root_cached *ranges, u32 count);
void vfio_mdev_log_free(struct vfio_mdev_log *log);
bool vfio_mdev_log_covers(const struct vfio_mdev_log *log, u64 first, u64 last);
void vfio_mdev_log_set(struct vfio_mdev_log *log, u64 first, u64 last);
u64 vfio_mdev_log_next(struct vfio_mdev_log *log, u64 first);
void vfio_mdev_log_take(struct vfio_mdev_log *log, u64 first, u64 last,
			unsigned long *bits);

/**
 * struct vfio_mdev_window - a part of a report
 * @first: number of the first page after this window
 * @last: number of the last page of the report
 * @whole: number of the first page that the report covers as a whole
 * @whole_end: number of the page after the last one that it covers as a whole
 * @base: number of the page that is bit 0 of @dirty
 * @dirty: the dirty pages of this window
 */
struct vfio_mdev_window {
	u64 first;
	u64 last;
	u64 whole;
	u64 whole_end;
	u64 base;
	DECLARE_BITMAP(dirty, VFIO_MDEV_LOG_PAGES);
};

/* vfio_mdev_memory.c: the dirty log of an open device */
int vfio_mdev_memory_log_start(struct vfio_mdev *vm, struct rb_root_cached *ranges,
			       u32 count);
int vfio_mdev_memory_log_stop(struct vfio_mdev *vm);
int vfio_mdev_memory_log_next(struct vfio_mdev *vm, struct vfio_mdev_window *window);
void vfio_mdev_memory_written(struct vfio_mdev *vm, u64 iova, size_t len);

/* vfio_mdev_region.c: for vendors that know only user memory */
unsigned long vfio_mdev_lend(size_t size);
void vfio_mdev_take_back(unsigned long addr, size_t size);

/* vfio_mdev_region.c: for VFIO */
int vfio_mdev_get_region_info_caps(struct vfio_device *vdev,
				   struct vfio_region_info *info,
				   struct vfio_info_cap *caps);

/* vfio_mdev_migration.c */
void vfio_mdev_migration_setup(struct vfio_mdev *vm);
int vfio_mdev_mig_get_next_state(struct mdev_device *mdev,
				 enum vfio_device_mig_state cur,
				 enum vfio_device_mig_state end,
				 enum vfio_device_mig_state *next);
bool vfio_mdev_mig_precopy_info_v2(struct mdev_device *mdev);
void vfio_mdev_log_dirty(struct mdev_device *mdev, struct mdev_dirty *dirty,
			 unsigned long iova, size_t length);

/* vfio_mdev_iommu.c: for a device that has an IOMMU */
int vfio_mdev_iommu_register(struct vfio_mdev *vm);
void vfio_mdev_iommu_unregister(struct vfio_mdev *vm);

/* vfio_mdev_migration_v1.c: when the vendor's open op has returned, before its release */
void vfio_mdev_v1_begin(struct vfio_mdev *vm);
void vfio_mdev_v1_end(struct vfio_mdev *vm);

#endif /* VFIO_MDEV_PRIVATE_H */
