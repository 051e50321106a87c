// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty logging and features of a classic vendor, mdev_test_log, whose devices
 * write to their user's memory when they are told to.
 *
 * VFIO cannot report what is logged where the kernel has no IOMMUFD_DRIVER, as
 * Debian's 6.12; the tests expect just that there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/vfio.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "mdev_log.h"
#include "mdev_util.h"
#include "test_modules/mdev_test_log.h"

#define TYPE	"mdev_test_log/platform-1"
#define PARAM	"/sys/module/mdev_test_log/parameters/"
#define IOVA	0x10000000ULL
#define PAGES	512
#define SIZE	(PAGES * PAGE)

static int64_t start_all(int fd, uint64_t page_size)
{
	struct vfio_device_feature_dma_logging_range range = { IOVA, SIZE };

	return start(fd, page_size, 1, &range);
}

static int report(int fd, uint64_t *bitmap)
{
	memset(bitmap, 0, PAGES / 8);
	return report_of(fd, IOVA, SIZE, PAGE, bitmap);
}

static int dma(int fd, uint64_t iova, uint32_t count, int value, bool pin)
{
	struct mdev_test_write write = {
		.iova = iova, .count = count, .value = value, .pin = pin,
	};

	return vfio_ioctl(fd, MDEV_TEST_WRITE, &write);
}

static int bits(const uint64_t *bitmap)
{
	int i, count = 0;

	for (i = 0; i < PAGES / 64; i++)
		count += __builtin_popcountll(bitmap[i]);
	return count;
}

FIXTURE(log) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
	unsigned char *mem;
	bool has_report;
	int fd;
};

FIXTURE_VARIANT(log) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(log, group) { .iommufd = false, };
FIXTURE_VARIANT_ADD(log, cdev) { .iommufd = true, };

FIXTURE_SETUP(log)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	if (module_load("mdev_test_log"))
		SKIP(return, "no module mdev_test_log");
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	self->fd = self->vc.device;
	self->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	ASSERT_EQ(0, vfio_dma_map(&self->vc, self->mem, IOVA, SIZE, true));
	self->has_report = has_report();
}

FIXTURE_TEARDOWN(log)
{
	vfio_close(&self->vc);
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(log, probes)
{
	EXPECT_EQ(0, vfio_feature(self->fd, PROBE | SET |
				  VFIO_DEVICE_FEATURE_DMA_LOGGING_START, NULL, 0));
	EXPECT_EQ(0, vfio_feature(self->fd, PROBE | SET |
				  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, NULL, 0));
	EXPECT_EQ(0, vfio_feature(self->fd, PROBE | GET |
				  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, NULL, 0));
	EXPECT_EQ(-EINVAL, vfio_feature(self->fd, PROBE | GET |
					VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
					NULL, 0));
	EXPECT_EQ(0, vfio_feature(self->fd, PROBE | GET | VFIO_DEVICE_FEATURE_MIGRATION,
				  NULL, 0));
}

/* writes, logged or not, by both ways */
TEST_F(log, writes)
{
	/* VFIO's errno depends on who it asks */
	int unmapped = variant->iommufd ? -ENOENT : -EINVAL;
	static uint64_t map[PAGES / 64];
	int pin;

	for (pin = 0; pin < 2; pin++) {
		EXPECT_EQ(0, dma(self->fd, IOVA + 5, 3, 0x5a, pin));
		EXPECT_EQ(0, self->mem[4]);
		EXPECT_EQ(0x5a, self->mem[5]);
		EXPECT_EQ(0x5a, self->mem[7]);
		EXPECT_EQ(0, self->mem[8]);
		EXPECT_EQ(unmapped, dma(self->fd, IOVA + SIZE, 1, 1, pin));
		EXPECT_EQ(PAGE, start_all(self->fd, PAGE));
		EXPECT_EQ(0, dma(self->fd, IOVA + PAGE * 7 + 100, 10, 1, pin));
		EXPECT_EQ(0, dma(self->fd, IOVA + SIZE - 1, 1, 2, pin));
		/* it is the writes that are logged, not attempts */
		EXPECT_EQ(unmapped, dma(self->fd, IOVA + SIZE, 1, 1, pin));
		EXPECT_EQ(1, self->mem[PAGE * 7 + 109]);
		EXPECT_EQ(2, self->mem[SIZE - 1]);
		if (self->has_report) {
			EXPECT_EQ(0, report(self->fd, map));
			EXPECT_EQ(2, bits(map));
			EXPECT_TRUE(bit(map, 7) && bit(map, PAGES - 1));
			/* read and clear */
			EXPECT_EQ(0, report(self->fd, map));
			EXPECT_EQ(0, bits(map));
		} else {
			EXPECT_EQ(-EOPNOTSUPP, report(self->fd, map));
		}
		EXPECT_EQ(0, stop(self->fd));
		memset(self->mem, 0, SIZE);
	}
}

TEST_F(log, every_page)
{
	static uint64_t map[PAGES / 64];
	int i;

	ASSERT_EQ(PAGE, start_all(self->fd, PAGE));
	for (i = 0; i < PAGES; i++) {
		EXPECT_EQ(0, dma(self->fd, IOVA + PAGE * i, 1, i, i & 1));
		if (!self->has_report)
			continue;
		ASSERT_EQ(0, report(self->fd, map));
		ASSERT_TRUE(bits(map) == 1 && bit(map, i));
	}
	/* 16 pages at once, across a word of the bitmap */
	EXPECT_EQ(0, dma(self->fd, IOVA + PAGE * 56 + 1, 0x10000, 1, false));
	if (!self->has_report)
		return;
	EXPECT_EQ(0, report(self->fd, map));
	EXPECT_EQ(17, bits(map));
	EXPECT_TRUE(bit(map, 56) && bit(map, 64) && bit(map, 72));
}

TEST_F(log, page_sizes)
{
	/* what is wished for; what cannot be done becomes 4096 */
	const uint64_t wishes[][2] = {
		{ PAGE, PAGE }, { 2 * PAGE, 2 * PAGE }, { 1 << 16, 1 << 16 },
		{ 1 << 20, 1 << 20 }, { 2048, 4096 }, { 1, 4096 },
	};
	static uint64_t map[PAGES / 64], coarse;
	unsigned int i, per;

	for (i = 0; i < ARRAY_SIZE(wishes); i++) {
		ASSERT_EQ(wishes[i][1], start_all(self->fd, wishes[i][0]));
		EXPECT_EQ(0, dma(self->fd, IOVA + PAGE * 257, 1, 1, false));
		if (self->has_report) {
			/* all of what is logged as one */
			per = wishes[i][1] / PAGE ?: 1;
			EXPECT_EQ(0, report(self->fd, map));
			EXPECT_EQ(per, bits(map));
			EXPECT_TRUE(bit(map, 257));
			/* asked for in larger pages */
			EXPECT_EQ(0, dma(self->fd, IOVA + SIZE - 1, 1, 1, true));
			coarse = 0;
			EXPECT_EQ(0, report_of(self->fd, IOVA, SIZE, SIZE / 2,
					       &coarse));
			EXPECT_EQ(2, coarse);
		}
		ASSERT_EQ(0, stop(self->fd));
	}
}

/*
 * Nothing is not everything: the vendor is not asked, and clears nothing. VFIO of 6.1
 * makes as much of it as there is memory behind the bitmap: that is not much here, and
 * the page that is dirty is beyond.
 */
TEST_F(log, report_of_no_bytes)
{
	static uint64_t map[PAGES / 64];
	char *pages;

	if (!self->has_report)
		SKIP(return, "VFIO of this kernel cannot report");
	pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, mprotect(pages + PAGE, PAGE, PROT_NONE));
	ASSERT_EQ(PAGE, start_all(self->fd, PAGE));
	ASSERT_EQ(0, dma(self->fd, IOVA + PAGE * 9, 1, 1, false));
	report_of(self->fd, 0, 0, PAGE, (uint64_t *)pages);
	EXPECT_EQ(0, *(uint64_t *)pages);
	EXPECT_EQ(0, report(self->fd, map));
	EXPECT_TRUE(bits(map) == 1 && bit(map, 9));
	munmap(pages, 2 * PAGE);
}

/* a vendor that reports more than it was asked about writes to nobody else's memory */
TEST_F(log, careless_vendor)
{
	static uint64_t bitmap[PAGES / 64];

	if (!self->has_report)
		SKIP(return, "VFIO of this kernel cannot report");
	ASSERT_EQ(0, file_write("1", PARAM "careless"));
	ASSERT_EQ(65536, start_all(self->fd, 65536));
	ASSERT_EQ(0, dma(self->fd, IOVA + 128 * PAGE, 1, 1, false));

	/* 64 of its pages, from the middle of what the vendor calls one */
	EXPECT_EQ(0, report_of(self->fd, IOVA + 136 * PAGE, 64 * PAGE, PAGE,
			       &bitmap[3]));
	EXPECT_EQ(0xff, bitmap[3] & 0xff);
	bitmap[3] = 0;
	EXPECT_EQ(0, bits(bitmap));
	EXPECT_EQ(0, stop(self->fd));
}

/* what is outside of them is written to, not logged */
TEST_F(log, ranges)
{
	struct vfio_device_feature_dma_logging_range ranges[257] = {
		{ IOVA + PAGE * 10, PAGE * 2 }, { IOVA, PAGE },
		{ IOVA + PAGE * 100, PAGE * 100 },
	};
	static uint64_t map[PAGES / 64];
	int i;

	ASSERT_EQ(PAGE, start(self->fd, PAGE, 3, ranges));
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(0, dma(self->fd, IOVA + PAGE * i, 1, 1, false));
	if (self->has_report) {
		EXPECT_EQ(0, report(self->fd, map));
		EXPECT_EQ(103, bits(map));
		EXPECT_TRUE(bit(map, 0) && bit(map, 10) && bit(map, 11) &&
			    bit(map, 100) && bit(map, 199));
		/* a report of a part clears that part */
		EXPECT_EQ(0, dma(self->fd, IOVA, 1, 1, false));
		EXPECT_EQ(0, dma(self->fd, IOVA + PAGE * 10, 2 * PAGE, 1, false));
		memset(map, 0, sizeof(map));
		EXPECT_EQ(0, report_of(self->fd, IOVA + PAGE * 11, PAGE, PAGE,
				       map));
		EXPECT_EQ(1, map[0]);
		EXPECT_EQ(0, report(self->fd, map));
		EXPECT_EQ(2, bits(map));
		EXPECT_TRUE(bit(map, 0) && bit(map, 10));
		/* bits are set, none is cleared */
		memset(map, 0xff, sizeof(map));
		EXPECT_EQ(0, report_of(self->fd, IOVA, SIZE, PAGE, map));
		EXPECT_EQ(PAGES, bits(map));
	}
	ASSERT_EQ(0, stop(self->fd));

	/* as many as VFIO takes, and one more */
	for (i = 0; i < 257; i++) {
		ranges[i].iova = IOVA + 2 * PAGE * (256 - i);
		ranges[i].length = PAGE;
	}
	EXPECT_EQ(-E2BIG, start(self->fd, PAGE, 257, ranges));
	EXPECT_EQ(PAGE, start(self->fd, PAGE, 256, ranges));
	EXPECT_EQ(0, stop(self->fd));
}

/* the order of calls is the user's, and so are the arguments */
TEST_F(log, refused)
{
	struct vfio_device_feature_dma_logging_range ranges[2] = {
		{ IOVA, 2 * PAGE }, { IOVA + PAGE, PAGE },
	};
	static uint64_t map[PAGES / 64];
	int none = self->has_report ? 0 : -EOPNOTSUPP;

	EXPECT_EQ(-EINVAL, stop(self->fd));
	EXPECT_EQ(none ?: -EINVAL, report(self->fd, map));
	EXPECT_EQ(-EINVAL, start(self->fd, PAGE, 0, ranges));
	/* overlapping, not aligned, not there */
	EXPECT_EQ(-EINVAL, start(self->fd, PAGE, 2, ranges));
	EXPECT_EQ(-EINVAL, start(self->fd, 4 * PAGE, 1, ranges));
	EXPECT_EQ(-EFAULT, start(self->fd, PAGE, 1, (void *)8));
	ranges[0].iova = UINT64_MAX - (PAGE - 1);
	EXPECT_EQ(-EOVERFLOW, start(self->fd, PAGE, 1, ranges));
	EXPECT_EQ(-EINVAL, stop(self->fd));

	EXPECT_EQ(PAGE, start_all(self->fd, PAGE));
	EXPECT_EQ(-EINVAL, start_all(self->fd, PAGE));
	EXPECT_EQ(-EINVAL, report_of(self->fd, IOVA, SIZE, 2048, map));
	EXPECT_EQ(-EINVAL, report_of(self->fd, IOVA, SIZE, 4097, map));
	EXPECT_EQ(-EOVERFLOW, report_of(self->fd, UINT64_MAX - (PAGE - 1), SIZE, PAGE,
					map));
	/* the second start has not taken the first one with it */
	EXPECT_EQ(0, dma(self->fd, IOVA, 1, 1, false));
	EXPECT_EQ(none, report(self->fd, map));
	EXPECT_TRUE(none || bit(map, 0));
	EXPECT_EQ(0, stop(self->fd));
	EXPECT_EQ(-EINVAL, stop(self->fd));
}

/* who closes the device without a word has stopped it */
TEST_F(log, closed)
{
	static uint64_t map[PAGES / 64];

	ASSERT_EQ(PAGE, start_all(self->fd, PAGE));
	EXPECT_EQ(0, dma(self->fd, IOVA, 1, 1, false));
	vfio_close(&self->vc);
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	self->fd = self->vc.device;
	ASSERT_EQ(0, vfio_dma_map(&self->vc, self->mem, IOVA, SIZE, true));
	EXPECT_EQ(-EINVAL, stop(self->fd));
	ASSERT_EQ(PAGE, start_all(self->fd, PAGE));
	if (self->has_report) {
		EXPECT_EQ(0, report(self->fd, map));
		EXPECT_EQ(0, bits(map));
	}
}

/*
 * While it writes, whoever copies what is reported has it all in the end: that is
 * what dirty logging is for.
 */

static struct {
	int fd;
	atomic_bool stop;
	atomic_int writes, errors;
} writer;

static void *write_around(void *arg)
{
	unsigned int seed = 1;
	int n = 0;

	while (!writer.stop) {
		if (dma(writer.fd, IOVA + PAGE * (rand_r(&seed) % PAGES) +
			rand_r(&seed) % PAGE, 1, rand_r(&seed), n & 1))
			writer.errors++;
		n++;
		writer.writes = n;
	}
	return NULL;
}

static int copy_reported(int fd, unsigned char *to, const unsigned char *from)
{
	static uint64_t map[PAGES / 64];
	int i, copied = 0;

	if (report(fd, map))
		return -EIO;
	for (i = 0; i < PAGES; i++) {
		if (!bit(map, i))
			continue;
		memcpy(to + PAGE * i, from + PAGE * i, PAGE);
		copied++;
	}
	return copied;
}

TEST_F(log, copied_while_written)
{
	unsigned char *copy = calloc(1, SIZE);
	int ret, copied = 0, rounds = 0;
	pthread_t thread;
	long end;

	if (!self->has_report)
		SKIP(return, "this kernel's VFIO reports nothing");
	ASSERT_EQ(PAGE, start_all(self->fd, PAGE));
	writer.fd = self->fd;
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_around, NULL));
	for (end = now_ms() + 500; goes_on(end, copied); rounds++) {
		ret = copy_reported(self->fd, copy, self->mem);
		ASSERT_LE(0, ret);
		copied += ret;
	}
	writer.stop = true;
	pthread_join(thread, NULL);
	ret = copy_reported(self->fd, copy, self->mem);
	ASSERT_LE(0, ret);
	EXPECT_EQ(0, writer.errors);
	EXPECT_LT(0, copied);
	EXPECT_EQ(0, memcmp(copy, self->mem, SIZE));
	printf("# %d writes, %d pages copied in %d rounds, %d in the last\n",
	       writer.writes, copied, rounds, ret);
	EXPECT_EQ(0, copy_reported(self->fd, copy, self->mem));
	free(copy);
}

/* a feature that only the vendor knows, and those that nobody knows */
TEST_F(log, vendor_feature)
{
	uint64_t number = 1;

	EXPECT_EQ(0, vfio_feature(self->fd, PROBE | MDEV_TEST_FEATURE, NULL, 0));
	EXPECT_EQ(0, vfio_feature(self->fd, PROBE | GET | SET | MDEV_TEST_FEATURE,
				  NULL, 0));
	EXPECT_EQ(0, vfio_feature(self->fd, GET | MDEV_TEST_FEATURE, &number,
				  sizeof(number)));
	EXPECT_EQ(0, number);
	number = 0x1122334455667788;
	EXPECT_EQ(0, vfio_feature(self->fd, SET | MDEV_TEST_FEATURE, &number,
				  sizeof(number)));
	number = 0;
	EXPECT_EQ(0, vfio_feature(self->fd, GET | MDEV_TEST_FEATURE, &number,
				  sizeof(number)));
	EXPECT_EQ(0x1122334455667788, number);
	/* no room, neither nor, both */
	EXPECT_EQ(-EINVAL, vfio_feature(self->fd, GET | MDEV_TEST_FEATURE, &number,
					sizeof(number) - 1));
	EXPECT_EQ(-EINVAL, vfio_feature(self->fd, MDEV_TEST_FEATURE, &number,
					sizeof(number)));
	EXPECT_EQ(-EINVAL, vfio_feature(self->fd, GET | SET | MDEV_TEST_FEATURE,
					&number, sizeof(number)));
	EXPECT_EQ(-ENOTTY, vfio_feature(self->fd, PROBE | (MDEV_TEST_FEATURE + 1),
					NULL, 0));
	EXPECT_EQ(-ENOTTY, vfio_feature(self->fd, GET |
					VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, &number,
					sizeof(number)));
}

/* newer than the headers may be */
#define MIG_PRECOPY_INFO_V2	12

/* The vendor learns whether it may report new initial data. */
TEST_F(log, precopy_info)
{
	int ret;

	EXPECT_EQ(0, vfio_ioctl(self->fd, MDEV_TEST_PRECOPY_INFO, NULL));
	ret = vfio_feature(self->fd, SET | MIG_PRECOPY_INFO_V2, NULL, 0);
	if (ret == -ENOTTY)
		SKIP(return, "VFIO of this kernel has no second version of the information");
	EXPECT_EQ(0, ret);
	EXPECT_EQ(1, vfio_ioctl(self->fd, MDEV_TEST_PRECOPY_INFO, NULL));
}

TEST_HARNESS_MAIN
