/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The client's side of dirty logging: VFIO_DEVICE_FEATURE_DMA_LOGGING_*.
 */
#ifndef MDEV_LOG_H
#define MDEV_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <linux/vfio.h>
#include <sys/mman.h>

#include "mdev_util.h"

#define GET	VFIO_DEVICE_FEATURE_GET
#define SET	VFIO_DEVICE_FEATURE_SET
#define PROBE	VFIO_DEVICE_FEATURE_PROBE

/* what the first test finds out for all, each of which is a process of its own */
static int *has_iova_bitmap;

static __attribute__((constructor)) void share_has_iova_bitmap(void)
{
	has_iova_bitmap = mmap(NULL, sizeof(*has_iova_bitmap),
			       PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*has_iova_bitmap = -1;
}

/*
 * Does this kernel's VFIO, which is loaded, have something to report with? Not by a program:
 * a fork copies the fds of all threads, which keeps open what one of them closes.
 */
static inline bool has_report(void)
{
	char line[256];
	FILE *file;

	if (*has_iova_bitmap >= 0)
		return *has_iova_bitmap;
	file = fopen("/proc/kallsyms", "re");
	while (file && *has_iova_bitmap != 1 && fgets(line, sizeof(line), file))
		if (strstr(line, " iova_bitmap_alloc"))
			*has_iova_bitmap = 1;
	if (file)
		fclose(file);
	if (*has_iova_bitmap < 0)
		*has_iova_bitmap = 0;
	return *has_iova_bitmap;
}

/* the page size in use, or an errno */
static inline int64_t start(int fd, uint64_t page_size, uint32_t count,
			    const struct vfio_device_feature_dma_logging_range *ranges)
{
	struct vfio_device_feature_dma_logging_control control = {
		.page_size = page_size,
		.num_ranges = count,
		.ranges = (uintptr_t)ranges,
	};
	int ret;

	ret = vfio_feature(fd, SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START, &control,
			   sizeof(control));
	return ret ?: (int64_t)control.page_size;
}

static inline int stop(int fd)
{
	return vfio_feature(fd, SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, NULL, 0);
}

/*
 * Bitmaps must not be on the stack: VFIO pins a page more than one needs, and if there
 * is none, as at the end of the address space, it loses what is reported, and says
 * nothing.
 */
static inline int report_of(int fd, uint64_t iova, uint64_t length, uint64_t page_size,
			    uint64_t *bitmap)
{
	struct vfio_device_feature_dma_logging_report report = {
		.iova = iova,
		.length = length,
		.page_size = page_size,
		.bitmap = (uintptr_t)bitmap,
	};

	return vfio_feature(fd, GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
			    &report, sizeof(report));
}

static inline bool bit(const uint64_t *bitmap, int n)
{
	return bitmap[n / 64] >> n % 64 & 1;
}

#endif /* MDEV_LOG_H */
