/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the bridge share.
 */
#ifndef VFIO_MDEV_PRIVATE_H
#define VFIO_MDEV_PRIVATE_H

#include <linux/mdev.h>
#include <linux/vfio.h>

struct vfio_mdev_memory;

/**
 * struct vfio_mdev - a VFIO device
 * @vdev: VFIO's part; its reference count keeps the structure. Its @dev is the
 *	mediated device's, which outlives the binding, not the structure
 * @ops: the vendor's callbacks; as long as the mediated device
 * @ioctl: the vendor's, or one that refuses, which spares the hot path a check. For the
 *	other accesses there is no room: with VFIO's part this has up to 1024 bytes, and
 *	kmalloc() would take 2048 for more
 * @memory: what only an open device needs. Allocated when it is opened the first time,
 *	which most devices never are
 * @iommufd: user memory comes from an iommufd, and not from a container of type1;
 *	does not change while the device is open
 * @waiting: VFIO waits for its other holders, and has dropped its own reference
 */
struct vfio_mdev {
	struct vfio_device vdev;
	const struct mdev_parent_ops *ops;
	long (*ioctl)(struct mdev_device *mdev, unsigned int cmd,
		      unsigned long arg);
	struct vfio_mdev_memory *memory;
	bool iommufd;
	bool waiting;
};

static inline struct vfio_mdev *to_vfio_mdev(struct vfio_device *vdev)
{
	return container_of(vdev, struct vfio_mdev, vdev);
}

static inline struct mdev_device *mdev_of(struct vfio_mdev *vm)
{
	return to_mdev_device(vm->vdev.dev);
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
void vfio_mdev_log_dirty(struct mdev_device *mdev, struct mdev_dirty *dirty,
			 unsigned long iova, size_t length);

#endif /* VFIO_MDEV_PRIVATE_H */
