// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty log that the bridge keeps for vendors without one: here mdev_test_dma, which
 * pins its client's memory and writes to it as it is told to.
 *
 * Where the kernel has no IOMMUFD_DRIVER, as Debian's 6.12, VFIO cannot report, and
 * there is no log: the test "offered" expects just that.
 *
 * The client maps one piece of memory at many addresses, so that what is far apart costs
 * no memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/vfio.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "mdev_dma.h"
#include "mdev_log.h"

/* a bitmap of the bridge's, in bytes of memory */
#define LEAF	(1024 * PAGE)

/* as many mappings, each at the start of a leaf of its own, and one word of the report */
#define MAPPINGS	16
#define ALL		(MAPPINGS * LEAF)
#define ALL_PAGES	(ALL / PAGE)

/* too far away for a bitmap of pages */
#define FAR		0x4000000000000ULL

FIXTURE(dirty) {
	struct client c;
	uint64_t *map;
	int fd;
};

FIXTURE_VARIANT(dirty) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(dirty, group) { .iommufd = false, };
FIXTURE_VARIANT_ADD(dirty, cdev) { .iommufd = true, };

FIXTURE_SETUP(dirty)
{
	int i;

	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mdev_test_dma"));
	uuid_next(self->c.uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->c.uuid));
	/* VFIO is loaded now, and can be asked */
	if (!has_report()) {
		EXPECT_EQ(0, mdev_remove(self->c.uuid));
		EXPECT_EQ(0, vendors_reset());
		SKIP(return, "VFIO of this kernel cannot report");
	}
	ASSERT_EQ(0, client_open(&self->c));
	for (i = 1; i < MAPPINGS; i++)
		ASSERT_EQ(0, vfio_dma_map(&self->c.vc, self->c.mem,
					  IOVA + i * LEAF, SIZE, true));
	self->fd = self->c.vc.device;
	/* VFIO pins a page more than it needs */
	self->map = mmap(NULL, ALL_PAGES / 8 + PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(dirty)
{
	vfio_close(&self->c.vc);
	munmap(self->c.mem, SIZE);
	munmap(self->map, ALL_PAGES / 8 + PAGE);
	EXPECT_TRUE(wait_for(memory_locked() <= self->c.locked));
	EXPECT_EQ(0, mdev_remove(self->c.uuid));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

static int start_all(int fd)
{
	struct vfio_device_feature_dma_logging_range all = { IOVA, ALL };
	int64_t ret = start(fd, PAGE, 1, &all);

	return ret == (int64_t)PAGE ? 0 : ret < 0 ? ret : -ERANGE;
}

static int count(const uint64_t *map)
{
	unsigned int i, n = 0;

	for (i = 0; i < ALL_PAGES / 64; i++)
		n += __builtin_popcountll(map[i]);
	return n;
}

/* how many pages are reported as dirty; which, is in the fixture's map */
static int report(int fd, uint64_t *map)
{
	int ret;

	memset(map, 0, ALL_PAGES / 8);
	ret = report_of(fd, IOVA, ALL, PAGE, map);
	return ret ?: count(map);
}

/* pages, reported as dirty, of a range */
static int among(const uint64_t *map, uint64_t iova, int npage)
{
	int i, n = 0;

	for (i = 0; i < npage; i++)
		n += bit(map, (iova - IOVA) / PAGE + i);
	return n;
}

static int probe(int fd, uint32_t feature_flags)
{
	return vfio_feature(fd, PROBE | feature_flags, NULL, 0);
}

static int probes(int fd)
{
	int ret;

	ret = probe(fd, SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START);
	if (ret != probe(fd, SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP) ||
	    ret != probe(fd, GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT))
		return -EBADE;
	return ret;
}

FIXTURE(vendors) {};

FIXTURE_VARIANT(vendors) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(vendors, group) { .iommufd = false, };
FIXTURE_VARIANT_ADD(vendors, cdev) { .iommufd = true, };

FIXTURE_SETUP(vendors)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
}

FIXTURE_TEARDOWN(vendors)
{
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

/* by all vendors that write in no way that the bridge does not see, where VFIO can report */
TEST_F_TIMEOUT(vendors, offered, 600)
{
	static const struct {
		const char *module, *type;
		bool seen;
	} list[] = {
		{ "mdev_test_dma", TYPE, true },
		{ "mdev_test_dma unmap=0", TYPE, true },
		{ "mdev_test_dma unseen=1", TYPE, false },
		{ "mnull", "mnull0/mnull-1", true },
		{ "mtty", "mtty/mtty-1", true },
	};
	struct vfio_device_feature_dma_logging_range range = { IOVA, SIZE };
	static uint64_t map[PAGES];
	struct vfio_client vc;
	char uuid[UUID_LEN + 1];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(list); i++) {
		ASSERT_EQ(0, vendors_reset());
		ASSERT_EQ(0, module_load(list[i].module));
		uuid_next(uuid);
		ASSERT_EQ(0, mdev_create(list[i].type, uuid));
		ASSERT_EQ(0, vfio_open(&vc, uuid));
		EXPECT_EQ(strcmp(list[i].module, "mtty") ? -ENOTTY : 0,
			  vfio_feature(vc.device, PROBE | GET | VFIO_DEVICE_FEATURE_MIGRATION,
				       NULL, 0));
		if (list[i].seen && has_report()) {
			EXPECT_EQ(0, probes(vc.device));
			EXPECT_EQ(4096, start(vc.device, PAGE, 1, &range));
			EXPECT_EQ(0, report_of(vc.device, IOVA, SIZE, PAGE, map));
			EXPECT_EQ(0, map[0]);
			EXPECT_EQ(0, stop(vc.device));
		} else {
			EXPECT_EQ(-ENOTTY, probes(vc.device));
			EXPECT_EQ(-ENOTTY, start(vc.device, PAGE, 1, &range));
			EXPECT_EQ(-ENOTTY, report_of(vc.device, IOVA, SIZE, PAGE,
						     map));
			EXPECT_EQ(-ENOTTY, stop(vc.device));
		}
		vfio_close(&vc);
	}
}

TEST_F(dirty, what_is_pinned_for_writing)
{
	struct client *c = &self->c;
	int i;

	/* before the log starts, and after */
	ASSERT_EQ(3, pin(c, IOVA + PAGE, 3, RW));
	ASSERT_EQ(5, pin(c, IOVA + 20 * PAGE, 5, R));
	ASSERT_EQ(0, start_all(self->fd));
	ASSERT_EQ(2, pin(c, IOVA + 7 * LEAF + 8 * PAGE, 2, RW));
	ASSERT_EQ(2, pin(c, IOVA + 9 * LEAF, 2, R));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(5, report(self->fd, self->map));
		EXPECT_EQ(3, among(self->map, IOVA + PAGE, 3));
		EXPECT_EQ(2, among(self->map, IOVA + 7 * LEAF + 8 * PAGE, 2));
	}
	/* one of two pins, and one that reads what the other writes */
	ASSERT_EQ(1, pin(c, IOVA + 2 * PAGE, 1, RW));
	ASSERT_EQ(1, pin(c, IOVA + PAGE, 1, R));
	EXPECT_EQ(0, unpin(c, IOVA + 2 * PAGE, 1));
	EXPECT_EQ(0, unpin(c, IOVA + PAGE, 1));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(5, report(self->fd, self->map));
		EXPECT_EQ(3, among(self->map, IOVA + PAGE, 3));
	}
	EXPECT_EQ(0, unpin(c, IOVA + PAGE, 3));
	EXPECT_EQ(0, unpin(c, IOVA + 20 * PAGE, 5));
	EXPECT_EQ(0, unpin(c, IOVA + 7 * LEAF + 8 * PAGE, 2));
	EXPECT_EQ(0, unpin(c, IOVA + 9 * LEAF, 2));
	EXPECT_EQ(5, report(self->fd, self->map));
	EXPECT_EQ(0, report(self->fd, self->map));
}

/*
 * An unpin does not say which of several pins of a range it undoes. Whatever the order, a
 * page that the device may still write to is reported.
 */
TEST_F(dirty, pinned_twice)
{
	static const int prots[][3] = {
		{ RW, R, R }, { R, RW, R }, { R, R, RW }, { RW, RW, R }, { R, RW, RW },
	};
	struct client *c = &self->c;
	unsigned int i;
	int j;

	ASSERT_EQ(0, start_all(self->fd));
	for (i = 0; i < ARRAY_SIZE(prots); i++) {
		for (j = 0; j < 3; j++)
			ASSERT_EQ(1, pin(c, IOVA + PAGE, 1, prots[i][j]));
		/* a longer pin, which is another one, of the same page */
		ASSERT_EQ(2, pin(c, IOVA + PAGE, 2, R));
		for (j = 0; j < 2; j++) {
			EXPECT_EQ(0, unpin(c, IOVA + PAGE, 1));
			EXPECT_EQ(1, report(self->fd, self->map));
			EXPECT_EQ(1, report(self->fd, self->map));
		}
		EXPECT_EQ(0, unpin(c, IOVA + PAGE, 1));
		EXPECT_EQ(1, report(self->fd, self->map));
		EXPECT_EQ(0, report(self->fd, self->map));
		EXPECT_EQ(0, unpin(c, IOVA + PAGE, 2));
		EXPECT_EQ(0, report(self->fd, self->map));
	}
}

TEST_F(dirty, what_was_pinned_once)
{
	struct client *c = &self->c;
	uint64_t iova;
	int i;

	ASSERT_EQ(1, pin(c, IOVA, 1, RW));
	EXPECT_EQ(0, unpin(c, IOVA, 1));
	ASSERT_EQ(0, start_all(self->fd));
	EXPECT_EQ(0, report(self->fd, self->map));
	for (i = 0; i < 256; i++) {
		iova = IOVA + i % MAPPINGS * LEAF + (i * 7 % PAGES) * PAGE;
		ASSERT_EQ(1, pin(c, iova, 1, RW));
		EXPECT_EQ(0, fill(c, iova, i));
		EXPECT_EQ(0, unpin(c, iova, 1));
		EXPECT_EQ(1, report(self->fd, self->map));
		EXPECT_EQ(1, among(self->map, iova, 1));
		EXPECT_EQ(0, report(self->fd, self->map));
	}
	/* all of them in one report, some more than once */
	for (i = 0; i < 3 * MAPPINGS; i++) {
		iova = IOVA + i % MAPPINGS * LEAF + 40 * PAGE;
		ASSERT_EQ(4, pin(c, iova, 4, i % 3 ? RW : R));
		EXPECT_EQ(0, unpin(c, iova, 4));
	}
	EXPECT_EQ(4 * MAPPINGS, report(self->fd, self->map));
	EXPECT_EQ(0, report(self->fd, self->map));
	/* what could not be pinned */
	EXPECT_GT(0, pin(c, IOVA + SIZE - PAGE, 2, RW));
	EXPECT_GT(0, pin(c, IOVA + SIZE, 1, RW));
	EXPECT_EQ(0, report(self->fd, self->map));
}

TEST_F(dirty, what_was_copied_once)
{
	struct client *c = &self->c;
	char buf[3 * PAGE];

	EXPECT_EQ(0, dma_rw(c, IOVA, buf, sizeof(buf), true));
	ASSERT_EQ(0, start_all(self->fd));
	EXPECT_EQ(0, dma_rw(c, IOVA, buf, sizeof(buf), false));
	EXPECT_EQ(0, report(self->fd, self->map));
	EXPECT_EQ(0, dma_rw(c, IOVA + 100, buf, 1, true));
	EXPECT_EQ(0, dma_rw(c, IOVA + 4 * PAGE - 1, buf, 2, true));
	EXPECT_EQ(0, dma_rw(c, IOVA + 15 * LEAF + PAGE - 1, buf, 2 * PAGE + 1, true));
	EXPECT_EQ(6, report(self->fd, self->map));
	EXPECT_EQ(1, among(self->map, IOVA, 1));
	EXPECT_EQ(2, among(self->map, IOVA + 3 * PAGE, 2));
	EXPECT_EQ(3, among(self->map, IOVA + 15 * LEAF, 3));
	EXPECT_EQ(0, report(self->fd, self->map));
	/* one that fails half-way */
	EXPECT_GT(0, dma_rw(c, IOVA + SIZE - PAGE, buf, PAGE + 1, true));
	EXPECT_LE(1, report(self->fd, self->map));
	EXPECT_EQ(1, among(self->map, IOVA + SIZE - PAGE, 1));
	/* and nonsense */
	EXPECT_EQ(-EINVAL, dma_rw(c, IOVA, buf, 0, true));
	EXPECT_GT(0, dma_rw(c, -1ULL, buf, 2, true));
	EXPECT_EQ(0, report(self->fd, self->map));
}

/* nothing is kept from before, or between two logs */
TEST_F(dirty, stopped)
{
	struct client *c = &self->c;
	char byte = 1;

	EXPECT_EQ(-EINVAL, stop(self->fd));
	EXPECT_EQ(-EINVAL, report(self->fd, self->map));
	ASSERT_EQ(0, start_all(self->fd));
	ASSERT_EQ(1, pin(c, IOVA, 1, RW));
	EXPECT_EQ(0, unpin(c, IOVA, 1));
	EXPECT_EQ(0, dma_rw(c, IOVA + PAGE, &byte, 1, true));
	EXPECT_EQ(0, stop(self->fd));
	EXPECT_EQ(-EINVAL, stop(self->fd));
	EXPECT_EQ(-EINVAL, report(self->fd, self->map));
	ASSERT_EQ(1, pin(c, IOVA + 2 * PAGE, 1, RW));
	EXPECT_EQ(0, unpin(c, IOVA + 2 * PAGE, 1));
	EXPECT_EQ(0, dma_rw(c, IOVA + 3 * PAGE, &byte, 1, true));
	ASSERT_EQ(0, start_all(self->fd));
	EXPECT_EQ(0, report(self->fd, self->map));
}

/* who closes the device without a word has stopped it; pinned or not */
TEST_F(dirty, closed)
{
	struct client *c = &self->c;

	ASSERT_EQ(0, start_all(self->fd));
	ASSERT_EQ(1, pin(c, IOVA, 1, RW));
	EXPECT_EQ(0, unpin(c, IOVA, 1));
	ASSERT_EQ(1, pin(c, IOVA, 1, RW));
	vfio_close(&c->vc);
	ASSERT_EQ(0, vfio_open(&c->vc, c->uuid));
	self->fd = c->vc.device;
	EXPECT_EQ(-EINVAL, report(self->fd, self->map));
	EXPECT_EQ(-EINVAL, stop(self->fd));
	ASSERT_EQ(0, start_all(self->fd));
	EXPECT_EQ(0, report(self->fd, self->map));
}

/* VMMs ask for what was unmapped, after it was: a virtual IOMMU does that all the time */
TEST_F(dirty, unmapped)
{
	struct client *c = &self->c;

	ASSERT_EQ(0, start_all(self->fd));
	ASSERT_EQ(2, pin(c, IOVA + 8 * PAGE, 2, RW));
	ASSERT_EQ(1, pin(c, IOVA + LEAF, 1, RW));
	ASSERT_EQ(0, vfio_dma_unmap(&c->vc, IOVA, SIZE));
	EXPECT_EQ(3, report(self->fd, self->map));
	EXPECT_EQ(2, among(self->map, IOVA + 8 * PAGE, 2));
	EXPECT_EQ(1, report(self->fd, self->map));
	EXPECT_EQ(0, unpin(c, IOVA + LEAF, 1));
	EXPECT_EQ(1, report(self->fd, self->map));
	EXPECT_EQ(0, report(self->fd, self->map));
}

/* a vendor that has forgotten to unpin still writes */
TEST_F(dirty, kept)
{
	struct client *c = &self->c;
	int i;

	ASSERT_EQ(0, start_all(self->fd));
	ASSERT_EQ(2, pin(c, IOVA + 8 * PAGE, 2, RW));
	ASSERT_EQ(1, pin(c, IOVA + 30 * PAGE, 1, R));
	EXPECT_EQ(0, forget(c, TEST_DMA_FORGET_UNMAP));
	ASSERT_EQ(0, vfio_dma_unmap(&c->vc, IOVA, SIZE));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(2, report(self->fd, self->map));
		EXPECT_EQ(2, among(self->map, IOVA + 8 * PAGE, 2));
	}
	EXPECT_EQ(0, unpin(c, IOVA + 8 * PAGE, 2));
	EXPECT_EQ(0, unpin(c, IOVA + 30 * PAGE, 1));
	EXPECT_EQ(2, report(self->fd, self->map));
	EXPECT_EQ(0, report(self->fd, self->map));
	EXPECT_EQ(0, forget(c, 0));
}

/* what is outside of them is not logged, and not reported on */
TEST_F(dirty, ranges)
{
	struct vfio_device_feature_dma_logging_range ranges[257] = {
		{ IOVA + 10 * PAGE, 2 * PAGE }, { IOVA, PAGE },
		{ IOVA + LEAF + 4 * PAGE, PAGE },
		{ IOVA + LEAF + 5 * PAGE, 3 * PAGE },
	};
	struct client *c = &self->c;
	char byte = 1;
	int i;

	ASSERT_EQ(PAGE, start(self->fd, PAGE, 4, ranges));
	for (i = 0; i < PAGES; i++) {
		EXPECT_EQ(0, dma_rw(c, IOVA + i * PAGE, &byte, 1, true));
		ASSERT_EQ(1, pin(c, IOVA + LEAF + i * PAGE, 1, RW));
		EXPECT_EQ(0, unpin(c, IOVA + LEAF + i * PAGE, 1));
	}
	ASSERT_EQ(32, pin(c, IOVA + LEAF, 32, RW));
	EXPECT_EQ(-EINVAL, report(self->fd, self->map));
	EXPECT_EQ(-EINVAL, report_of(self->fd, IOVA + PAGE, PAGE, PAGE, self->map));
	EXPECT_EQ(-EINVAL, report_of(self->fd, IOVA, 2 * PAGE, PAGE, self->map));
	EXPECT_EQ(-EINVAL, report_of(self->fd, IOVA + 9 * PAGE, 2 * PAGE, PAGE,
				     self->map));
	EXPECT_EQ(-EINVAL, report_of(self->fd, 0, IOVA, PAGE, self->map));
	EXPECT_EQ(0, count(self->map));

	EXPECT_EQ(0, report_of(self->fd, IOVA, PAGE, PAGE, self->map));
	EXPECT_EQ(1, self->map[0]);
	self->map[0] = 0;
	/* a part; then the whole, of which that part is clean */
	EXPECT_EQ(0, report_of(self->fd, IOVA + 11 * PAGE, PAGE, PAGE, self->map));
	EXPECT_EQ(1, self->map[0]);
	self->map[0] = 0;
	EXPECT_EQ(0, report_of(self->fd, IOVA + 10 * PAGE, 2 * PAGE, PAGE, self->map));
	EXPECT_EQ(1, self->map[0]);
	self->map[0] = 0;
	/* two that touch are one */
	EXPECT_EQ(0, report_of(self->fd, IOVA + LEAF + 4 * PAGE, 4 * PAGE, PAGE,
			       self->map));
	EXPECT_EQ(0xf, self->map[0]);
	/* bits are set, none is cleared */
	memset(self->map, 0xff, ALL_PAGES / 8);
	EXPECT_EQ(0, report_of(self->fd, IOVA, PAGE, PAGE, self->map));
	EXPECT_EQ(ALL_PAGES, count(self->map));
	EXPECT_EQ(0, stop(self->fd));
	EXPECT_EQ(0, unpin(c, IOVA + LEAF, 32));

	/* as many as VFIO takes */
	for (i = 0; i < 257; i++) {
		ranges[i].iova = IOVA + 2 * PAGE * (256 - i);
		ranges[i].length = PAGE;
	}
	EXPECT_EQ(-E2BIG, start(self->fd, PAGE, 257, ranges));
	EXPECT_EQ(PAGE, start(self->fd, PAGE, 256, ranges));
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(0, dma_rw(c, IOVA + i * PAGE, &byte, 1, true));
	for (i = 0; i < PAGES; i++) {
		EXPECT_EQ(i && !(i & 1) ? 0 : -EINVAL,
			  report_of(self->fd, IOVA + i * PAGE, PAGE, PAGE,
				    self->map));
	}
	EXPECT_EQ(0, stop(self->fd));
}

/* those of the report are the user's; those of the log are the kernel's */
TEST_F(dirty, page_sizes)
{
	const uint64_t wishes[] = { PAGE, 2 * PAGE, LEAF, 512, 1 };
	struct client *c = &self->c;
	uint64_t *map = self->map;
	unsigned int i;
	char byte = 1;

	for (i = 0; i < ARRAY_SIZE(wishes); i++) {
		struct vfio_device_feature_dma_logging_range all = { IOVA, ALL };

		ASSERT_EQ(PAGE, start(self->fd, wishes[i], 1, &all));
		EXPECT_EQ(0, dma_rw(c, IOVA + LEAF + 17 * PAGE, &byte, 1, true));
		EXPECT_EQ(1, report(self->fd, map));
		EXPECT_EQ(1, among(map, IOVA + LEAF + 17 * PAGE, 1));
		EXPECT_EQ(0, stop(self->fd));
	}
	ASSERT_EQ(0, start_all(self->fd));
	ASSERT_EQ(3, pin(c, IOVA + LEAF + 3 * PAGE, 3, RW));
	EXPECT_EQ(0, dma_rw(c, IOVA + 5 * LEAF + 17 * PAGE, &byte, 1, true));
	memset(map, 0, PAGE);
	EXPECT_EQ(0, report_of(self->fd, IOVA, ALL, LEAF, map));
	EXPECT_EQ(1 << 1 | 1 << 5, map[0]);
	map[0] = 0;
	EXPECT_EQ(0, report_of(self->fd, IOVA, ALL, FAR, map));
	EXPECT_EQ(1, map[0]);
	memset(map, 0, PAGE);
	EXPECT_EQ(0, report_of(self->fd, IOVA + LEAF, SIZE, 2 * PAGE, map));
	EXPECT_EQ(1 << 1 | 1 << 2, map[0]);
	EXPECT_EQ(0, unpin(c, IOVA + LEAF + 3 * PAGE, 3));
	EXPECT_EQ(-EINVAL, report_of(self->fd, IOVA, ALL, 0, map));
	EXPECT_EQ(-EINVAL, report_of(self->fd, IOVA, ALL, 2048, map));
	EXPECT_EQ(-EINVAL, report_of(self->fd, IOVA, ALL, 4097, map));
}

/* a page that was asked for in part is reported, and asked for in whole again */
TEST_F(dirty, parts_of_pages)
{
	struct client *c = &self->c;
	uint64_t *map = self->map;
	char byte = 1;
	int i;

	ASSERT_EQ(0, start_all(self->fd));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, dma_rw(c, IOVA + i * PAGE, &byte, 1, true));
	/* the second half of page 0, page 1, and the first half of page 2 */
	EXPECT_EQ(0, report_of(self->fd, IOVA + PAGE / 2, 2 * PAGE, PAGE, map));
	EXPECT_EQ(3, map[0]);
	EXPECT_EQ(3, report(self->fd, map));
	EXPECT_EQ(0xd, map[0]);
	EXPECT_EQ(0, dma_rw(c, IOVA, &byte, 1, true));
	EXPECT_EQ(0, report_of(self->fd, IOVA + 1, 1, PAGE, map));
	EXPECT_EQ(1, report(self->fd, map));
	EXPECT_EQ(0, report(self->fd, map));
}

/* the order of calls is the user's, and so are the arguments */
TEST_F(dirty, refused)
{
	struct vfio_device_feature_dma_logging_range ranges[3] = {
		{ IOVA, 2 * PAGE }, { IOVA + PAGE, PAGE },
	};
	struct client *c = &self->c;
	char byte = 1;

	EXPECT_EQ(-EINVAL, start(self->fd, PAGE, 0, ranges));
	EXPECT_EQ(-EINVAL, start(self->fd, PAGE, 2, ranges));
	EXPECT_EQ(-EINVAL, start(self->fd, 4 * PAGE, 1, ranges));
	EXPECT_EQ(-EFAULT, start(self->fd, PAGE, 1, (void *)8));
	ranges[0].iova = -PAGE;
	EXPECT_EQ(-EOVERFLOW, start(self->fd, PAGE, 1, ranges));
	/* no bytes, here or there, alone or not */
	ranges[0] = (typeof(ranges[0])){ IOVA, 0 };
	ranges[2] = ranges[0];
	EXPECT_EQ(-EINVAL, start(self->fd, PAGE, 1, ranges));
	EXPECT_EQ(-EINVAL, start(self->fd, PAGE, 2, ranges));
	EXPECT_EQ(-EINVAL, start(self->fd, PAGE, 2, ranges + 1));
	ranges[0].iova = 0;
	EXPECT_EQ(-EINVAL, start(self->fd, PAGE, 1, ranges));
	EXPECT_EQ(-EINVAL, start(self->fd, 0, 1, ranges));
	EXPECT_EQ(-EINVAL, stop(self->fd));

	EXPECT_EQ(0, start_all(self->fd));
	EXPECT_EQ(0, dma_rw(c, IOVA, &byte, 1, true));
	EXPECT_EQ(-EINVAL, start_all(self->fd));
	EXPECT_EQ(-EOVERFLOW, report_of(self->fd, -PAGE, ALL, PAGE, self->map));
	EXPECT_EQ(0, count(self->map));
	/* the second start has not taken the first one with it */
	EXPECT_EQ(1, report(self->fd, self->map));
}

/* nothing is not everything: nobody is asked, and nothing is clean */
TEST_F(dirty, report_of_no_bytes)
{
	struct client *c = &self->c;
	char byte = 1;

	ASSERT_EQ(0, start_all(self->fd));
	EXPECT_EQ(0, dma_rw(c, IOVA + 9 * PAGE, &byte, 1, true));
	/* VFIO of 6.1 makes a report out of it that ends with the memory for it */
	report_of(self->fd, 0, 0, 1ULL << 30, self->map);
	EXPECT_EQ(1, report(self->fd, self->map));
	EXPECT_EQ(1, among(self->map, IOVA + 9 * PAGE, 1));
}

/*
 * As much as there can be: what a report takes is a matter of what is dirty. The bitmaps
 * would be larger than memory if they were all there.
 */
TEST_F(dirty, huge)
{
	struct vfio_device_feature_dma_logging_range huge = { 0, 1ULL << 62 };
	struct client *c = &self->c;
	uint64_t *map = self->map;
	char byte = 1;
	long took;

	ASSERT_EQ(0, vfio_dma_map(&c->vc, c->mem, FAR, SIZE, true));
	ASSERT_EQ(PAGE, start(self->fd, PAGE, 1, &huge));
	EXPECT_EQ(0, dma_rw(c, IOVA + 3 * LEAF, &byte, 1, true));
	ASSERT_EQ(1, pin(c, FAR + PAGE, 1, RW));
	took = -now_ms();
	EXPECT_EQ(0, report_of(self->fd, 0, huge.length, FAR, map));
	took += now_ms();
	EXPECT_EQ(3, map[0]);
	EXPECT_GT(2000, took);
	map[0] = 0;
	EXPECT_EQ(0, report_of(self->fd, 0, huge.length, FAR, map));
	EXPECT_EQ(2, map[0]);
	EXPECT_EQ(0, unpin(c, FAR + PAGE, 1));
}

/*
 * The same few huge pages as all of a large bitmap. VFIO of 6.1 goes through all of it, and
 * takes long for that, whatever is dirty.
 */
#define HUGE_PAGE	(2UL << 20)
#define HUGE_PART	(16 * HUGE_PAGE)
#define HUGE_BITMAP	(4096 * HUGE_PART)

static char *huge_bitmap(void)
{
	char *map, *part;
	int fd;

	file_write("16", "/proc/sys/vm/nr_hugepages");
	fd = memfd_create("bitmap", MFD_CLOEXEC | MFD_HUGETLB);
	map = mmap(NULL, HUGE_BITMAP + HUGE_PAGE, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (fd < 0 || map == MAP_FAILED || ftruncate(fd, HUGE_PART))
		return NULL;
	map += -(uintptr_t)map % HUGE_PAGE;
	for (part = map; part < map + HUGE_BITMAP; part += HUGE_PART)
		if (mmap(part, HUGE_PART, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 fd, 0) != part)
			return NULL;
	close(fd);
	return map;
}

/* how long a report takes, in ms, if its process is killed after some time, or not at all */
static long long_report(int fd, char *map, long kill_after_ms)
{
	struct pollfd begun = { .events = POLLIN };
	int pipe_fds[2];
	char *part;
	pid_t pid;
	long took;
	int ret;

	if (pipe2(pipe_fds, O_CLOEXEC))
		return -errno;
	pid = fork_child();
	if (!pid) {
		for (part = map; part < map + HUGE_BITMAP; part += HUGE_PAGE)
			*part = 0;
		if (write(pipe_fds[1], "", 1) != 1)
			child_exit(-EIO);
		child_exit(report_of(fd, 0, HUGE_BITMAP * 8 * PAGE, PAGE,
				     (uint64_t *)map));
	}
	begun.fd = pipe_fds[0];
	poll(&begun, 1, -1);
	took = -now_ms();
	if (kill_after_ms) {
		sleep_ms(kill_after_ms);
		kill(pid, SIGKILL);
	}
	ret = child_wait(pid);
	took += now_ms();
	/* it may have ended before that, if most of the time is not the report's */
	if (kill_after_ms && !ret)
		took = 0;
	else if (ret != (kill_after_ms ? -ECANCELED : 0))
		took = -1;
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return took;
}

TEST_F_TIMEOUT(dirty, killed_while_reporting, 300)
{
	struct vfio_device_feature_dma_logging_range huge = { 0, 1ULL << 62 };
	long whole, killed;
	char *map;
	int ret;

	ASSERT_EQ(PAGE, start(self->fd, PAGE, 1, &huge));
	/* newer VFIO goes only where something is dirty, and sees no bitmap that is not there */
	map = mmap(NULL, HUGE_BITMAP, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	ret = report_of(self->fd, 0, HUGE_BITMAP * 8 * PAGE, PAGE, (uint64_t *)map);
	munmap(map, HUGE_BITMAP);
	if (!ret)
		SKIP(return, "VFIO does not go through all of a bitmap");
	EXPECT_EQ(-EFAULT, ret);
	map = huge_bitmap();
	ASSERT_NE(NULL, map);
	whole = long_report(self->fd, map, 0);
	EXPECT_LT(200, whole);
	killed = long_report(self->fd, map, whole / 8);
	EXPECT_LE(0, killed);
	EXPECT_GT(whole / 2, killed);
	munmap(map, HUGE_BITMAP);
	file_write("0", "/proc/sys/vm/nr_hugepages");
}

/* pins for reading that are in the way, a lot of them: none of them makes it wait */
TEST_F(dirty, many_readers)
{
	struct client *c = &self->c;
	int i;

	for (i = 0; i < MAPPINGS * (int)PAGES; i++)
		ASSERT_EQ(1, pin(c, IOVA + i % MAPPINGS * LEAF + i / MAPPINGS * PAGE, 1,
				 R));
	ASSERT_EQ(1, pin(c, IOVA + 4 * PAGE, 1, RW));
	ASSERT_EQ(1, pin(c, IOVA + (MAPPINGS - 1) * LEAF + 9 * PAGE, 1, RW));
	ASSERT_EQ(0, start_all(self->fd));
	EXPECT_EQ(2, report(self->fd, self->map));
	EXPECT_EQ(1, among(self->map, IOVA + 4 * PAGE, 1));
	EXPECT_EQ(1, among(self->map, IOVA + (MAPPINGS - 1) * LEAF + 9 * PAGE, 1));
	/* more than anybody needs, of one page: it may be taken for dirty */
	for (i = 0; i < 5000; i++)
		ASSERT_EQ(1, pin(c, IOVA + PAGE, 1, R));
	EXPECT_LE(2, report(self->fd, self->map));
	EXPECT_EQ(1, among(self->map, IOVA + 4 * PAGE, 1));
	EXPECT_EQ(1, among(self->map, IOVA + (MAPPINGS - 1) * LEAF + 9 * PAGE, 1));
}

/*
 * While it writes, whoever copies what is reported has it all in the end: that is
 * what dirty logging is for.
 */

static struct {
	struct client *c;
	atomic_bool stop;
	atomic_int reports, writes, errors;
} writer;

static void *write_around(void *arg)
{
	unsigned int seed = 1, n = 0;
	struct client *c = writer.c;
	unsigned char byte;
	uint64_t iova;
	int npage;

	while (!writer.stop) {
		iova = IOVA + rand_r(&seed) % PAGES * PAGE;
		byte = rand_r(&seed);
		npage = 1 + rand_r(&seed) % 3;
		if (n++ & 1) {
			if (dma_rw(c, iova + byte, &byte, 1, true))
				writer.errors++;
		} else if (iova + npage * PAGE <= IOVA + SIZE) {
			if (pin(c, iova, npage, RW) != npage ||
			    fill(c, iova, byte) || unpin(c, iova, npage))
				writer.errors++;
		}
		writer.writes = n;
	}
	return NULL;
}

static int copy_reported(int fd, uint64_t *map, unsigned char *to,
			 const unsigned char *from)
{
	int i, copied = 0;

	memset(map, 0, SIZE / PAGE / 8);
	if (report_of(fd, IOVA, SIZE, PAGE, map))
		return -EIO;
	for (i = 0; i < PAGES; i++) {
		if (!bit(map, i))
			continue;
		memcpy(to + PAGE * i, from + PAGE * i, PAGE);
		copied++;
	}
	return copied;
}

TEST_F(dirty, copied_while_written)
{
	unsigned char *copy = calloc(1, SIZE);
	int ret, copied = 0, rounds = 0;
	pthread_t thread;
	long end;

	writer.c = &self->c;
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_around, NULL));
	/* it has begun before, as a guest's driver has */
	ASSERT_TRUE(wait_for(writer.writes > 10));
	ASSERT_EQ(0, start_all(self->fd));
	memcpy(copy, self->c.mem, SIZE);
	for (end = now_ms() + 500; goes_on(end, copied); rounds++) {
		ret = copy_reported(self->fd, self->map, copy, self->c.mem);
		ASSERT_LE(0, ret);
		copied += ret;
	}
	writer.stop = true;
	pthread_join(thread, NULL);
	ret = copy_reported(self->fd, self->map, copy, self->c.mem);
	ASSERT_LE(0, ret);
	EXPECT_EQ(0, writer.errors);
	EXPECT_LT(0, copied);
	EXPECT_EQ(0, memcmp(copy, self->c.mem, SIZE));
	printf("# %d writes, %d pages copied in %d rounds, %d in the last\n",
	       writer.writes, copied, rounds, ret);
	EXPECT_EQ(0, copy_reported(self->fd, self->map, copy, self->c.mem));
	free(copy);
}

/* starts, stops and reports of several threads: nothing but errnos comes of it */

static void *start_around(void *arg)
{
	struct vfio_device_feature_dma_logging_range all = { IOVA, ALL };
	int fd = writer.c->vc.device, ret;

	while (!writer.stop) {
		ret = start(fd, PAGE, 1, &all);
		if (ret != (int)PAGE && ret != -EINVAL)
			writer.errors++;
		ret = stop(fd);
		if (ret && ret != -EINVAL)
			writer.errors++;
	}
	return NULL;
}

static void *report_around(void *arg)
{
	static uint64_t maps[2][MAPPINGS * 1024 / 64 + PAGE_MAX / 8];
	int ret;

	while (!writer.stop) {
		ret = report_of(writer.c->vc.device, IOVA, ALL, PAGE,
				maps[(uintptr_t)arg]);
		if (ret && ret != -EINVAL)
			writer.errors++;
		if (!ret)
			writer.reports++;
	}
	return NULL;
}

TEST_F(dirty, stopped_while_reported)
{
	void *(*const jobs[])(void *) = {
		report_around, report_around, start_around, start_around, write_around,
	};
	pthread_t threads[ARRAY_SIZE(jobs)];
	unsigned int i;
	long end;

	writer.c = &self->c;
	for (i = 0; i < ARRAY_SIZE(jobs); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, jobs[i],
					    (void *)(uintptr_t)i));
	for (end = now_ms() + 1000; goes_on(end, writer.reports);)
		sleep_ms(10);
	writer.stop = true;
	for (i = 0; i < ARRAY_SIZE(jobs); i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(0, writer.errors);
	EXPECT_LT(0, writer.reports);
	printf("# %d reports, %d writes\n", writer.reports, writer.writes);
}

TEST_HARNESS_MAIN
