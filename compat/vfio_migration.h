/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What older VFIO cores lack of migration. Included before the bridge's part in that, and
 * nowhere else.
 */
#ifndef MDEV_COMPAT_VFIO_MIGRATION_H
#define MDEV_COMPAT_VFIO_MIGRATION_H

#include <linux/vfio.h>

#include <mdev_facts.h>

#if !HAVE_VFIO_MIGRATION_DATA_SIZE
/* The ops as the bridge writes them; VFIO never looks at those that are ours. */
struct compat_vfio_migration_ops {
	struct vfio_migration_ops;
	int (*migration_get_data_size)(struct vfio_device *vdev,
				       unsigned long *stop_copy_length);
};

#define vfio_migration_ops			compat_vfio_migration_ops
#endif

#if !HAVE_VFIO_PRE_COPY
/* this VFIO has no such states: it must not tell the user that there are */
#define VFIO_MIGRATION_PRE_COPY			0
#include "pre_copy.h"
#endif

#if !HAVE_IOVA_BITMAP_STUBS
/* before Linux 6.7 VFIO could always report dirty pages */
#undef CONFIG_IOMMUFD_DRIVER
#define CONFIG_IOMMUFD_DRIVER			1
#endif

#ifndef VFIO_PRECOPY_INFO_REINIT
/* this VFIO lacks the member; the other one is always false, as no VFIO device is offline */
#define precopy_info_v2				device.offline
#endif

#endif /* MDEV_COMPAT_VFIO_MIGRATION_H */
