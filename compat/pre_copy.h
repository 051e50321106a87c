/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The states PRE_COPY of Linux 6.2, for a VFIO that does not have them.
 */
#ifndef MDEV_COMPAT_PRE_COPY_H
#define MDEV_COMPAT_PRE_COPY_H

#include <linux/vfio.h>

#define VFIO_DEVICE_STATE_PRE_COPY	((enum vfio_device_mig_state)6)
#define VFIO_DEVICE_STATE_PRE_COPY_P2P	((enum vfio_device_mig_state)7)
#define VFIO_MIG_GET_PRECOPY_INFO	_IO(VFIO_TYPE, VFIO_BASE + 21)

struct vfio_precopy_info {
	__u32 argsz;
	__u32 flags;
	__aligned_u64 initial_bytes;
	__aligned_u64 dirty_bytes;
};

#endif /* MDEV_COMPAT_PRE_COPY_H */
