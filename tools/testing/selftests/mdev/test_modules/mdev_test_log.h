/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the vendor mdev_test_log and its tests agree on.
 */
#ifndef MDEV_TEST_LOG_H
#define MDEV_TEST_LOG_H

#include <linux/types.h>
#include <linux/vfio.h>

/* a VFIO feature of its own: a number that can be set and read */
#define MDEV_TEST_FEATURE	0xff00

/* write @count bytes of @value to the user's memory at @iova */
struct mdev_test_write {
	__aligned_u64 iova;
	__u32 count;
	__u32 value;
	__u32 pin;	/* through pages pinned for it; else mdev_dma_rw() */
	__u32 pad;
};

#define MDEV_TEST_WRITE		_IO(VFIO_TYPE, VFIO_BASE + 0x80)

/* what mdev_mig_precopy_info_v2() says */
#define MDEV_TEST_PRECOPY_INFO	_IO(VFIO_TYPE, VFIO_BASE + 0x81)

#endif /* MDEV_TEST_LOG_H */
