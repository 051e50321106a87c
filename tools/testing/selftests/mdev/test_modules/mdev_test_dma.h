/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What mdev_dma.c tells the vendor mdev_test_dma to do, by ioctls of the device.
 */
#ifndef MDEV_TEST_DMA_H
#define MDEV_TEST_DMA_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* @prot: IOMMU_READ is 1, IOMMU_WRITE is 2 */
struct test_dma_range {
	__u64 iova;
	__s32 npage;
	__u32 prot;
};

/* @addr: of the caller; at most TEST_DMA_RW_MAX bytes */
struct test_dma_rw {
	__u64 iova;
	__u64 addr;
	__u32 len;
	__u32 write;
};

struct test_dma_fill {
	__u64 iova;
	__u8 byte;
};

/*
 * Calls of dma_unmap: those that have begun, those that have ended, and the range of
 * the last one. @opened is what the pin in the op open returned, see pin_in_open.
 */
struct test_dma_unmaps {
	__u64 iova;
	__u64 length;
	__u32 count;
	__u32 pins;
	__u32 told;
	__s32 opened;
};

#define TEST_DMA_RW_MAX	(64 * 1024)

/* do not unpin where it is due */
#define TEST_DMA_FORGET_UNMAP	1
#define TEST_DMA_FORGET_RELEASE	2

#define TEST_DMA_PIN	_IOW('M', 1, struct test_dma_range)
#define TEST_DMA_UNPIN	_IOW('M', 2, struct test_dma_range)
/* unpin without a look at what is pinned */
#define TEST_DMA_RAW	_IOW('M', 3, struct test_dma_range)
#define TEST_DMA_RW	_IOW('M', 4, struct test_dma_rw)
/* write to the pages of a pin that begins at iova */
#define TEST_DMA_FILL	_IOW('M', 5, struct test_dma_fill)
#define TEST_DMA_UNMAPS	_IOR('M', 6, struct test_dma_unmaps)
/* TEST_DMA_FORGET_*, as the argument itself */
#define TEST_DMA_FORGET	_IO('M', 7)
/* write to whatever is pinned, until the device is closed */
#define TEST_DMA_RUN	_IO('M', 8)
/* TEST_DMA_PIN, but by a thread of the vendor's */
#define TEST_DMA_PIN_WORK	_IOW('M', 9, struct test_dma_range)
/* the lowest reference count of the pages of a pin that begins at iova */
#define TEST_DMA_REFS	_IOW('M', 10, struct test_dma_fill)

#endif /* MDEV_TEST_DMA_H */
