// SPDX-License-Identifier: GPL-2.0-only
/*
 * The client's memory in the hands of a classic vendor: pinning, copying, what is
 * unmapped under it, and what the bridge does about a vendor that forgets.
 *
 * The vendor is mdev_test_dma, which does as it is told by ioctl. Whether memory
 * is still pinned is seen from VmPin and VmLck of this process: VFIO accounts for
 * pinned memory in the one or the other.
 */
#define _GNU_SOURCE
#include <errno.h>
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

FIXTURE(dma) {
	struct client c;
	int log;
};

FIXTURE_VARIANT(dma) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(dma, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(dma, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(dma)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mdev_test_dma"));
	uuid_next(self->c.uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->c.uuid));
	ASSERT_EQ(0, client_open(&self->c));
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
}

FIXTURE_TEARDOWN(dma)
{
	vfio_close(&self->c.vc);
	munmap(self->c.mem, SIZE);
	close(self->log);
	/* the last close may be on its way */
	EXPECT_TRUE(wait_for(memory_locked() <= self->c.locked));
	EXPECT_EQ(0, mdev_remove(self->c.uuid));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(dma, pinned_pages_are_the_clients)
{
	struct client *c = &self->c;

	ASSERT_EQ(1, pin(c, IOVA, 1, RW));
	ASSERT_EQ(16, pin(c, IOVA + 3 * PAGE, 16, RW));
	EXPECT_EQ(0, fill(c, IOVA, 0xa5));
	EXPECT_EQ(0, fill(c, IOVA + 3 * PAGE, 0x5a));
	EXPECT_TRUE(all(c->mem, PAGE, 0xa5));
	EXPECT_TRUE(all(c->mem + PAGE, 2 * PAGE, 0));
	EXPECT_TRUE(all(c->mem + 3 * PAGE, 16 * PAGE, 0x5a));
	EXPECT_TRUE(all(c->mem + 19 * PAGE, SIZE - 19 * PAGE, 0));
	EXPECT_LE(c->locked + 17 * 4, memory_locked());
	EXPECT_EQ(0, unpin(c, IOVA, 1));
	EXPECT_EQ(0, unpin(c, IOVA + 3 * PAGE, 16));
	EXPECT_EQ(0, unmaps(c).count);
}

TEST_F(dma, pin_what_is_not_there)
{
	struct client *c = &self->c;

	EXPECT_EQ(-EINVAL, pin(c, IOVA, 0, RW));
	EXPECT_EQ(-EINVAL, pin(c, IOVA, -1, RW));
	EXPECT_EQ(-EINVAL, pin(c, IOVA, INT32_MIN, RW));
	EXPECT_EQ(-EINVAL, pin(c, -PAGE, 2, RW));
	EXPECT_GT(0, pin(c, -PAGE, 1, RW));
	EXPECT_GT(0, pin(c, 0, 1, RW));
	EXPECT_GT(0, pin(c, IOVA + SIZE, 1, RW));
	/* begins well */
	EXPECT_GT(0, pin(c, IOVA + SIZE - PAGE, 2, RW));
	EXPECT_GT(0, pin(c, IOVA - PAGE, 2, RW));
	/* nothing of that has stayed */
	EXPECT_EQ(0, unmaps(c).pins);
	EXPECT_EQ(0, vfio_dma_unmap(&c->vc, IOVA, SIZE));
	EXPECT_EQ(0, unmaps(c).count);
}

TEST_F(dma, pin_more_than_allowed)
{
	struct client *c = &self->c;
	char buf[16] = {};

	ASSERT_EQ(0, vfio_dma_map(&c->vc, c->mem, 2 * IOVA, SIZE, false));
	EXPECT_EQ(-EPERM, pin(c, 2 * IOVA, 1, RW));
	EXPECT_EQ(1, pin(c, 2 * IOVA, 1, R));
	EXPECT_EQ(-EPERM, dma_rw(c, 2 * IOVA, buf, sizeof(buf), true));
	EXPECT_EQ(0, dma_rw(c, 2 * IOVA, buf, sizeof(buf), false));
	EXPECT_EQ(0, unpin(c, 2 * IOVA, 1));
}

TEST_F(dma, locked_memory_is_limited)
{
	struct client *c = &self->c;

	/* VFIO asks when it is opened, or memory is mapped */
	vfio_close(&c->vc);
	munmap(c->mem, SIZE);
	ASSERT_EQ(0, limit_memory(8 * PAGE));
	ASSERT_EQ(0, client_open(c));
	EXPECT_EQ(-ENOMEM, pin(c, IOVA, 32, RW));
	EXPECT_EQ(0, unmaps(c).pins);
	EXPECT_EQ(4, pin(c, IOVA, 4, RW));
	EXPECT_EQ(0, unpin(c, IOVA, 4));
}

TEST_F(dma, copy)
{
	struct client *c = &self->c;
	unsigned char buf[3 * PAGE];
	unsigned int i;

	for (i = 0; i < sizeof(buf); i++)
		buf[i] = i * 7 + (i >> 8);
	ASSERT_EQ(0, dma_rw(c, IOVA + 13, buf, sizeof(buf), true));
	EXPECT_TRUE(all(c->mem, 13, 0));
	EXPECT_EQ(0, memcmp(c->mem + 13, buf, sizeof(buf)));
	EXPECT_EQ(0, c->mem[13 + sizeof(buf)]);
	memset(buf, 0, sizeof(buf));
	ASSERT_EQ(0, dma_rw(c, IOVA + 13, buf, sizeof(buf), false));
	EXPECT_EQ(0, memcmp(c->mem + 13, buf, sizeof(buf)));

	EXPECT_EQ(0, dma_rw(c, IOVA + SIZE - 1, buf, 1, true));
	EXPECT_EQ(-EINVAL, dma_rw(c, IOVA, buf, 0, true));
	EXPECT_GT(0, dma_rw(c, IOVA - 1, buf, 1, true));
	EXPECT_GT(0, dma_rw(c, IOVA + SIZE, buf, 1, false));
	EXPECT_GT(0, dma_rw(c, IOVA + SIZE - 1, buf, 2, false));
	EXPECT_GT(0, dma_rw(c, -1ULL, buf, 2, false));
}

TEST_F(dma, unmap_tells_the_vendor)
{
	struct client *c = &self->c;
	struct test_dma_unmaps u;

	ASSERT_EQ(0, vfio_dma_map(&c->vc, c->mem, 2 * IOVA, SIZE, true));
	ASSERT_EQ(2, pin(c, IOVA, 2, RW));
	ASSERT_EQ(8, pin(c, IOVA + PAGE, 8, RW));
	ASSERT_EQ(1, pin(c, 2 * IOVA, 1, RW));

	ASSERT_EQ(0, vfio_dma_unmap(&c->vc, IOVA, SIZE));
	u = unmaps(c);
	EXPECT_LE(1, u.count);
	EXPECT_LE(u.iova, IOVA);
	EXPECT_GE(u.iova + u.length, IOVA + 9 * PAGE);
	EXPECT_EQ(1, u.pins);
	EXPECT_EQ(-ENOENT, unpin(c, IOVA, 2));
	EXPECT_GT(0, pin(c, IOVA, 1, RW));
	/* what is elsewhere is still good */
	EXPECT_EQ(0, fill(c, 2 * IOVA, 0x77));
	EXPECT_TRUE(all(c->mem, PAGE, 0x77));
	EXPECT_EQ(0, unpin(c, 2 * IOVA, 1));
	EXPECT_TRUE(kmsg_lacks(self->log, c->uuid, "forgot"));
}

/* Whoever unmaps is told when the vendor is done; VFIO asks again after 500 ms. */
TEST_F(dma, unmap_waits_for_vendor)
{
	struct client *c = &self->c;
	long took;

	ASSERT_EQ(1, pin(c, IOVA, 1, RW));
	ASSERT_EQ(0, file_write("100", SLOW_MS));
	took = -now_ms();
	EXPECT_EQ(0, vfio_dma_unmap(&c->vc, IOVA, SIZE));
	took += now_ms();
	EXPECT_LE(100, took);
	EXPECT_GT(400, took);
	EXPECT_LE(1, unmaps(c).count);
	ASSERT_EQ(0, file_write("0", SLOW_MS));
}

TEST_F(dma, pin_twice)
{
	struct client *c = &self->c;

	ASSERT_EQ(4, pin(c, IOVA, 4, RW));
	ASSERT_EQ(4, pin(c, IOVA, 4, RW));
	ASSERT_EQ(2, pin(c, IOVA + PAGE, 2, RW));
	EXPECT_EQ(0, unpin(c, IOVA, 4));
	EXPECT_EQ(0, fill(c, IOVA, 0x11));
	EXPECT_TRUE(all(c->mem, 4 * PAGE, 0x11));
	EXPECT_EQ(0, unpin(c, IOVA, 4));
	EXPECT_EQ(0, fill(c, IOVA + PAGE, 0x22));
	EXPECT_TRUE(all(c->mem + PAGE, 2 * PAGE, 0x22));
	EXPECT_EQ(0, unpin(c, IOVA + PAGE, 2));
	EXPECT_TRUE(kmsg_lacks(self->log, c->uuid, "did not pin"));
}

TEST_F(dma, unpin_what_is_not_pinned)
{
	struct client *c = &self->c;

	ASSERT_EQ(4, pin(c, IOVA, 4, RW));
	EXPECT_EQ(0, range(c, TEST_DMA_RAW, IOVA + PAGE, 1, 0));
	EXPECT_TRUE(kmsg_find(self->log, c->uuid, "did not pin"));
	EXPECT_EQ(0, range(c, TEST_DMA_RAW, 0, 4096, 0));
	EXPECT_EQ(0, range(c, TEST_DMA_RAW, -1ULL, -1, 0));
	EXPECT_EQ(0, range(c, TEST_DMA_RAW, -1ULL, 2, 0));
	EXPECT_EQ(0, unpin(c, IOVA, 4));
	EXPECT_EQ(0, range(c, TEST_DMA_RAW, IOVA, 4, 0));
}

TEST_F(dma, vendor_forgets_on_unmap)
{
	struct client *c = &self->c;

	ASSERT_EQ(4, pin(c, IOVA, 4, RW));
	ASSERT_EQ(4, pin(c, IOVA, 4, RW));
	ASSERT_EQ(0, forget(c, TEST_DMA_FORGET_UNMAP));
	ASSERT_EQ(0, vfio_dma_unmap(&c->vc, IOVA, SIZE));
	/* it is reminded as often as VFIO asks, and then VFIO gets its pins back */
	EXPECT_LE(5, unmaps(c).count);
	EXPECT_TRUE(kmsg_find(self->log, c->uuid, "still has 2 pins"));
	EXPECT_TRUE(wait_for(memory_locked() <= c->locked));

	/* the pages stay, and the vendor gets no others until it has let go of both */
	EXPECT_EQ(0, fill(c, IOVA, 0x44));
	EXPECT_TRUE(all(c->mem, 4 * PAGE, 0x44));
	ASSERT_EQ(0, vfio_dma_map(&c->vc, c->mem, IOVA, SIZE, true));
	EXPECT_EQ(-EBUSY, pin(c, IOVA, 1, RW));
	EXPECT_EQ(0, unpin(c, IOVA, 4));
	EXPECT_EQ(-EBUSY, pin(c, IOVA, 1, RW));
	EXPECT_EQ(0, unpin(c, IOVA, 4));
	EXPECT_TRUE(kmsg_lacks(self->log, c->uuid, "did not pin"));
	EXPECT_EQ(1, pin(c, IOVA, 1, RW));
}

/* what is kept for it counts for no limit any more, so it cannot be much */
TEST_F(dma, vendor_forgets_much)
{
	struct client *c = &self->c;
	int i;

	for (i = 0; i < 5; i++)
		ASSERT_EQ(PAGES, pin(c, IOVA, PAGES, RW));
	ASSERT_EQ(0, vfio_dma_map(&c->vc, c->mem, 2 * IOVA, SIZE, true));
	ASSERT_EQ(0, vfio_ioctl(c->vc.device, TEST_DMA_FORGET,
				(void *)TEST_DMA_FORGET_UNMAP));
	ASSERT_EQ(0, vfio_dma_unmap(&c->vc, IOVA, SIZE));
	EXPECT_EQ(-EBUSY, pin(c, 2 * IOVA, 1, RW));
	EXPECT_EQ(0, unpin(c, IOVA, PAGES));
	EXPECT_EQ(1, pin(c, 2 * IOVA, 1, RW));
	EXPECT_EQ(0, unpin(c, 2 * IOVA, 1));
}

TEST_F(dma, vendor_forgets_on_release)
{
	struct client *c = &self->c;

	ASSERT_EQ(4, pin(c, IOVA, 4, RW));
	ASSERT_EQ(PAGES, pin(c, IOVA, PAGES, RW));
	ASSERT_EQ(0, forget(c, TEST_DMA_FORGET_RELEASE));
	vfio_close_device(&c->vc);
	EXPECT_TRUE(kmsg_find(self->log, c->uuid, "forgot to unpin memory 2"));
	/* and it goes on as if nothing had happened */
	vfio_close(&c->vc);
	EXPECT_TRUE(wait_for(memory_locked() <= c->locked));
	munmap(c->mem, SIZE);
	ASSERT_EQ(0, client_open(c));
	EXPECT_EQ(4, pin(c, IOVA, 4, RW));
}

static void *close_device(void *arg)
{
	struct client *c = arg;

	vfio_close_device(&c->vc);
	return NULL;
}

/* longer than VFIO asks for the memory: it kills the host then */
TEST_F_TIMEOUT(dma, unmap_while_slowly_closed, 60)
{
	struct client *c = &self->c;
	pthread_t thread;

	if (variant->iommufd)
		SKIP(return, "iommufd loses a wakeup, and waits for a minute");
	ASSERT_EQ(PAGES, pin(c, IOVA, PAGES, RW));
	ASSERT_EQ(0, file_write("15000", SLOW_MS));
	ASSERT_EQ(0, pthread_create(&thread, NULL, close_device, c));
	sleep_ms(500);
	EXPECT_EQ(0, vfio_dma_unmap(&c->vc, IOVA, SIZE));
	pthread_join(thread, NULL);
}

TEST_F(dma, client_closes_all_at_once)
{
	struct client *c = &self->c;

	ASSERT_EQ(PAGES, pin(c, IOVA, PAGES, RW));
	ASSERT_EQ(0, vfio_ioctl(c->vc.device, TEST_DMA_RUN, NULL));
	sleep_ms(20);
	/* the memory goes first */
	munmap(c->mem, SIZE);
	vfio_close(&c->vc);
}

/* One client after the other is killed while the vendor writes to its memory. */
TEST_F(dma, client_is_killed)
{
	struct client *c = &self->c;
	int ready[2], i;
	char byte;
	pid_t pid;

	vfio_close(&c->vc);
	ASSERT_EQ(0, pipe(ready));
	for (i = 0; i < 40; i++) {
		pid = fork_child();
		if (!pid) {
			bool ok = !client_open(c) &&
				  pin(c, IOVA, PAGES, RW) == PAGES &&
				  !vfio_ioctl(c->vc.device, TEST_DMA_RUN, NULL);

			while (ok && !__atomic_load_n(c->mem + SIZE - 1,
						      __ATOMIC_RELAXED))
				;
			ok = ok && write(ready[1], "", 1) == 1;
			while (ok)
				pause();
			child_exit(-EIO);
		}
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		sleep_ms(i % 3);
		kill(pid, SIGKILL);
		ASSERT_EQ(-ECANCELED, child_wait(pid));
		/* its files may be closed a moment later */
		ASSERT_TRUE(wait_for(!module_refs("mdev_test_dma")));
	}
	close(ready[0]);
	close(ready[1]);
	ASSERT_EQ(0, client_open(c));
}

static bool stop;
static atomic_ulong pinned[2];

static void *pinner(void *arg)
{
	static atomic_int threads;
	struct client *c = arg;
	int i, n = 0, me = threads++;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		i = n++ % PAGES;
		if (pin(c, IOVA + i * PAGE, 1, RW) == 1) {
			fill(c, IOVA + i * PAGE, i);
			pinned[me]++;
			/* else it was unmapped meanwhile */
			unpin(c, IOVA + i * PAGE, 1);
		}
	}
	return NULL;
}

TEST_F(dma, unmap_races_pin)
{
	struct client *c = &self->c;
	pthread_t threads[2];
	int rounds = 0, i;
	long end;

	stop = false;
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, pinner, c));
	for (end = now_ms() + 1000;
	     goes_on(end, rounds > 10 && pinned[0] && pinned[1]); rounds++) {
		sleep_ms(2);
		ASSERT_EQ(0, vfio_dma_unmap(&c->vc, IOVA, SIZE));
		ASSERT_EQ(0, vfio_dma_map(&c->vc, c->mem, IOVA, SIZE, true));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_LT(0UL, pinned[i]);
	}
	EXPECT_EQ(0, unmaps(c).pins);
	EXPECT_LT(10, rounds);
	EXPECT_TRUE(kmsg_lacks(self->log, c->uuid, "forgot"));
	EXPECT_TRUE(kmsg_lacks(self->log, c->uuid, "did not pin"));
}

struct unmapper {
	struct client *c;
	uint64_t iova;
	unsigned int rounds;
	long longest;
	int error;
};

static void *unmapper(void *arg)
{
	struct unmapper *u = arg;
	long begin;
	int i, ret;

	do {
		ret = vfio_dma_map(&u->c->vc, u->c->mem, u->iova, SIZE, true);
		for (i = 0; i < 4 && !ret; i++)
			ret = pin(u->c, u->iova + i * PAGE, 1, RW) != 1;
		begin = now_ms();
		if (!ret)
			ret = vfio_dma_unmap(&u->c->vc, u->iova, SIZE);
		begin = now_ms() - begin;
		if (begin > u->longest)
			u->longest = begin;
		u->rounds++;
	} while (!ret && !__atomic_load_n(&stop, __ATOMIC_RELAXED));
	u->error = ret;
	return NULL;
}

/* each of them holds a lock of VFIO that the other's unpinning waits for */
TEST_F(dma, two_unmap)
{
	struct unmapper u[2] = {
		{ .c = &self->c, .iova = 0x40000000 },
		{ .c = &self->c, .iova = 0x80000000 },
	};
	pthread_t threads[2];
	int i;

	stop = false;
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, unmapper, &u[i]));
	sleep_ms(1000);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		TH_LOG("%u rounds, the longest unmap took %ld ms", u[i].rounds,
		       u[i].longest);
		EXPECT_EQ(0, u[i].error);
		EXPECT_LT(0, u[i].rounds);
	}
	EXPECT_EQ(0, unmaps(&self->c).pins);
	EXPECT_TRUE(kmsg_lacks(self->log, self->c.uuid, "forgot"));
}

struct neighbour {
	struct client *c;
	char uuid[UUID_LEN + 1];
	unsigned long opens;
	int error;
};

static void *open_and_close(void *arg)
{
	struct neighbour *n = arg;
	struct vfio_client vc;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED) && !n->error) {
		n->error = vfio_open_beside(&vc, &n->c->vc, n->uuid);
		if (n->error)
			break;
		__atomic_add_fetch(&n->opens, 1, __ATOMIC_RELAXED);
		vfio_close(&vc);
	}
	return NULL;
}

/* VFIO's locks are taken the one way by the one and the other by the other */
TEST_F(dma, unmap_races_another_device)
{
	struct neighbour n = { .c = &self->c };
	struct client *c = &self->c;
	pthread_t thread;
	int rounds = 0;
	long end;

	if (variant->iommufd)
		SKIP(return, "iommufd loses a wakeup, and waits for a minute");
	uuid_next(n.uuid);
	ASSERT_EQ(0, mdev_create(TYPE, n.uuid));
	stop = false;
	ASSERT_EQ(0, pthread_create(&thread, NULL, open_and_close, &n));
	/* opening takes long where there is much to check */
	for (end = now_ms() + 60000; now_ms() < end; rounds++) {
		if (rounds >= 100 && __atomic_load_n(&n.opens, __ATOMIC_RELAXED) > 20)
			break;
		ASSERT_EQ(4, pin(c, IOVA, 4, RW));
		ASSERT_EQ(0, vfio_dma_unmap(&c->vc, IOVA, SIZE));
		ASSERT_EQ(0, vfio_dma_map(&c->vc, c->mem, IOVA, SIZE, true));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, n.error);
	EXPECT_LT(20, n.opens);
	EXPECT_LE(100, rounds);
	EXPECT_EQ(0, mdev_remove(n.uuid));
}

FIXTURE(no_op) {
	struct client c;
};

FIXTURE_VARIANT(no_op) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(no_op, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(no_op, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(no_op)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mdev_test_dma unmap=0"));
	uuid_next(self->c.uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->c.uuid));
	ASSERT_EQ(0, client_open(&self->c));
}

FIXTURE_TEARDOWN(no_op)
{
	vfio_close(&self->c.vc);
	munmap(self->c.mem, SIZE);
	EXPECT_EQ(0, mdev_remove(self->c.uuid));
	EXPECT_EQ(0, vendors_reset());
}

TEST_F(no_op, may_copy_but_not_pin)
{
	char buf[16] = "0123456789abcde";

	EXPECT_EQ(-EINVAL, pin(&self->c, IOVA, 1, RW));
	EXPECT_EQ(0, dma_rw(&self->c, IOVA, buf, sizeof(buf), true));
	EXPECT_STREQ(buf, (char *)self->c.mem);
}

TEST(vendor_without_file_ops)
{
	struct vfio_region_info region = { .argsz = sizeof(region) };
	struct vfio_device_info info = { .argsz = sizeof(info) };
	char uuid[UUID_LEN + 1], buf[4] = "";
	struct vfio_client vc;

	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mdev_test_dma files=0"));
	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create(TYPE, uuid));
	ASSERT_EQ(0, vfio_open(&vc, uuid));

	EXPECT_EQ(-EINVAL, vfio_ioctl(vc.device, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(-EINVAL, vfio_ioctl(vc.device, VFIO_DEVICE_GET_REGION_INFO,
				      &region));
	EXPECT_EQ(-EINVAL, vfio_ioctl(vc.device, VFIO_DEVICE_RESET, NULL));
	EXPECT_EQ(-1, pread(vc.device, buf, sizeof(buf), 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, pwrite(vc.device, buf, sizeof(buf), 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, vc.device,
				   0));
	EXPECT_EQ(EINVAL, errno);

	vfio_close(&vc);
	EXPECT_EQ(0, mdev_remove(uuid));
	EXPECT_EQ(0, vendors_reset());
}

TEST_HARNESS_MAIN
