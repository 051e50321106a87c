// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bridge's part in live migration: VFIO's questions about the state of a device and the
 * memory that it has written to, and the vendor's answers.
 */
#include <linux/bitmap.h>
#include <linux/iova_bitmap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/vfio.h>

#include "mdev_bridge.h"
#include "vfio_mdev_private.h"

/* all that VFIO knows; compat/ removes what an older one does not know */
#define VFIO_MDEV_MIGRATION_FLAGS					\
	(VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P |		\
	 VFIO_MIGRATION_PRE_COPY)

int vfio_mdev_mig_get_next_state(struct mdev_device *mdev,
				 enum vfio_device_mig_state cur,
				 enum vfio_device_mig_state end,
				 enum vfio_device_mig_state *next)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	/* no way leads out of this state, and VFIO warns of a driver that asks */
	if (cur == VFIO_DEVICE_STATE_ERROR)
		return -EINVAL;
	return vfio_mig_get_next_state(&vm->vdev, cur, end, next);
}

bool vfio_mdev_mig_precopy_info_v2(struct mdev_device *mdev)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	return vm->vdev.precopy_info_v2;
}

static struct file *
vfio_mdev_migration_set_state(struct vfio_device *vdev,
			      enum vfio_device_mig_state new_state)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	/* the user's number; this one would be taken for "as it is" */
	if (new_state == VFIO_DEVICE_STATE_ERROR)
		return ERR_PTR(-EINVAL);
	return vm->ops->migration_set_state(mdev_of(vm), new_state);
}

static int vfio_mdev_ask_state(struct vfio_mdev *vm, void *state)
{
	return vm->ops->migration_get_state(mdev_of(vm), state);
}

/* VFIO also asks for a file in debugfs, whether the device is open or not. */
static int vfio_mdev_migration_get_state(struct vfio_device *vdev,
					 enum vfio_device_mig_state *state)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	/* if the vendor does not set it, user space must not see our stack */
	*state = VFIO_DEVICE_STATE_ERROR;
	ret = vfio_mdev_while_open(vm, vfio_mdev_ask_state, state);
	return mdev_vendor_errno(vfio_mdev_dev(vm), "migration_get_state", ret);
}

static int vfio_mdev_migration_get_data_size(struct vfio_device *vdev,
					     unsigned long *stop_copy_length)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	*stop_copy_length = 0;
	ret = vm->ops->migration_get_data_size(mdev_of(vm), stop_copy_length);
	return mdev_vendor_errno(vfio_mdev_dev(vm), "migration_get_data_size", ret);
}

static const struct vfio_migration_ops vfio_mdev_migration_ops = {
	.migration_set_state	 = vfio_mdev_migration_set_state,
	.migration_get_state	 = vfio_mdev_migration_get_state,
	.migration_get_data_size = vfio_mdev_migration_get_data_size,
};

/**
 * struct mdev_dirty - where a vendor reports dirty memory
 * @bitmap: VFIO's
 * @first: the first address that the vendor was asked about
 * @last: the last one
 */
struct mdev_dirty {
	struct iova_bitmap *bitmap;
	unsigned long first;
	unsigned long last;
};

/*
 * A vendor's pages may be larger than those of user space, and reach beyond the range it
 * was asked about. Beyond the bitmap there is other memory, on old kernels the kernel's.
 */
void vfio_mdev_log_dirty(struct mdev_device *mdev, struct mdev_dirty *dirty,
			 unsigned long iova, size_t length)
{
	unsigned long last;

	if (!length)
		return;
	if (check_add_overflow(iova, length - 1, &last))
		last = ULONG_MAX;
	iova = max(iova, dirty->first);
	last = min(last, dirty->last);
	if (iova <= last)
		iova_bitmap_set(dirty->bitmap, iova, last - iova + 1);
}

/*
 * Older VFIO, as of 6.1, asks for each 2 MiB of the bitmap in turn, and neither lets others
 * run nor looks at signals meanwhile. That can be a hundred terabytes, as a process can map
 * the same few pages again and again.
 */
static int vfio_mdev_log_may_go_on(void)
{
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

static int vfio_mdev_log_start(struct vfio_device *vdev,
			       struct rb_root_cached *ranges, u32 nnodes,
			       u64 *page_size)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	ret = vm->ops->log_start(mdev_of(vm), ranges, nnodes, page_size);
	return mdev_vendor_errno(vfio_mdev_dev(vm), "log_start", ret);
}

static int vfio_mdev_log_stop(struct vfio_device *vdev)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	return mdev_vendor_errno(vfio_mdev_dev(vm), "log_stop",
				 vm->ops->log_stop(mdev_of(vm)));
}

static int vfio_mdev_log_read_and_clear(struct vfio_device *vdev,
					unsigned long iova,
					unsigned long length,
					struct iova_bitmap *bitmap)
{
	struct mdev_dirty dirty = {
		.bitmap	= bitmap,
		.first	= iova,
		.last	= iova + length - 1,
	};
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	/* user space may ask about nothing, which no vendor should have to handle */
	if (!length)
		return 0;
	ret = vfio_mdev_log_may_go_on();
	if (ret)
		return ret;
	ret = vm->ops->log_read_and_clear(mdev_of(vm), iova, length, &dirty);
	return mdev_vendor_errno(vfio_mdev_dev(vm), "log_read_and_clear", ret);
}

static const struct vfio_log_ops vfio_mdev_log_ops = {
	.log_start		= vfio_mdev_log_start,
	.log_stop		= vfio_mdev_log_stop,
	.log_read_and_clear	= vfio_mdev_log_read_and_clear,
};

/* The log for a vendor that has none, see vfio_mdev_log.c. */

static int vfio_mdev_own_log_start(struct vfio_device *vdev,
				   struct rb_root_cached *ranges, u32 nnodes,
				   u64 *page_size)
{
	int ret;

	ret = vfio_mdev_memory_log_start(to_vfio_mdev(vdev), ranges, nnodes);
	if (!ret)
		*page_size = PAGE_SIZE;
	return ret;
}

static int vfio_mdev_own_log_stop(struct vfio_device *vdev)
{
	return vfio_mdev_memory_log_stop(to_vfio_mdev(vdev));
}

static int vfio_mdev_own_log_read_and_clear(struct vfio_device *vdev,
					    unsigned long iova, unsigned long length,
					    struct iova_bitmap *bitmap)
{
	struct mdev_dirty dirty = {
		.bitmap	= bitmap,
		.first	= iova,
		.last	= iova + length - 1,
	};
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	struct vfio_mdev_window window = {
		.first		= dirty.first >> PAGE_SHIFT,
		.last		= dirty.last >> PAGE_SHIFT,
		.whole		= (iova >> PAGE_SHIFT) + !!offset_in_page(iova),
		.whole_end	= ((u64)dirty.last + 1) >> PAGE_SHIFT,
	};
	unsigned int first, end;
	int ret;

	if (!length)
		return 0;
	do {
		ret = vfio_mdev_log_may_go_on();
		if (ret)
			return ret;
		ret = vfio_mdev_memory_log_next(vm, &window);
		if (ret <= 0)
			return ret;
		for_each_set_bitrange(first, end, window.dirty, VFIO_MDEV_LOG_PAGES)
			vfio_mdev_log_dirty(mdev_of(vm), &dirty,
					    (window.base + first) << PAGE_SHIFT,
					    (size_t)(end - first) << PAGE_SHIFT);
	} while (true);
}

static const struct vfio_log_ops vfio_mdev_own_log_ops = {
	.log_start		= vfio_mdev_own_log_start,
	.log_stop		= vfio_mdev_own_log_stop,
	.log_read_and_clear	= vfio_mdev_own_log_read_and_clear,
};

/* Before the device is registered: what VFIO can ask of its vendor. */
void vfio_mdev_migration_setup(struct vfio_mdev *vm)
{
	if (vm->ops->migration_flags) {
		vm->vdev.migration_flags = vm->ops->migration_flags &
					   VFIO_MDEV_MIGRATION_FLAGS;
		/* older kernels know only the first part of it, see compat/ */
		vm->vdev.mig_ops = (const void *)&vfio_mdev_migration_ops;
	}
	if (vm->ops->log_start)
		vm->vdev.log_ops = &vfio_mdev_log_ops;
	/* a VMM relies on a log that it finds, so offer none that cannot report */
	else if (IS_ENABLED(CONFIG_IOMMUFD_DRIVER) && !vm->ops->dma_unseen &&
		 !vfio_mdev_has_iommu(vm))
		vm->vdev.log_ops = &vfio_mdev_own_log_ops;
}

#if IS_ENABLED(CONFIG_IOMMUFD_DRIVER)
MODULE_INFO(import_ns, "IOMMUFD");	/* iova_bitmap_set() */
#endif
