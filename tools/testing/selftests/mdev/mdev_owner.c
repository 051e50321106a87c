// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hostile owners of VFIO devices: they have nothing but fds, and do with them, and
 * with memory, what no VMM does, at the worst moment. Neither the host nor anybody
 * else may suffer, and what the owner's vendor has pinned stays the vendor's until it
 * has unpinned it or was released.
 *
 * The vendors are mdev_test_dma and mdev_test_classic, which are slow, or forget, as
 * they are told to. They may be: none of this breaks what mdev.h asks of them, unless
 * the test is about that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/iommufd.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../kselftest_harness.h"
#include "mdev_classic.h"
#include "mdev_dma.h"

/* how long VFIO is to wait for a vendor; the bridge takes its pins over then */
#define PATIENCE_MS	10000

static long now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Memory of our own at IOVA, instead of what was there; not shared, nor huge. */
static int client_map(struct client *c)
{
	munmap(c->mem, SIZE);
	c->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c->mem == MAP_FAILED)
		return -errno;
	/* fails where there are no huge pages */
	madvise(c->mem, SIZE, MADV_NOHUGEPAGE);
	memset(c->mem, 0, SIZE);
	return vfio_dma_map(&c->vc, c->mem, IOVA, SIZE, true);
}

static int client_unmap(struct client *c)
{
	return vfio_dma_unmap(&c->vc, IOVA, SIZE);
}

static int unmap_all(struct client *c)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.flags = VFIO_DMA_UNMAP_FLAG_ALL,
	};

	if (c->vc.iommufd >= 0)
		return vfio_dma_unmap(&c->vc, 0, UINT64_MAX);
	return vfio_ioctl(c->vc.container, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

static int refs(struct client *c, uint64_t iova)
{
	struct test_dma_fill f = { .iova = iova };

	return vfio_ioctl(c->vc.device, TEST_DMA_REFS, &f);
}

/* Something that takes its time, in a thread. */
struct task {
	pthread_t thread;
	int (*fn)(struct client *c);
	struct client *c;
	atomic_bool done;
	int ret;
	long ms;
};

static void *task_run(void *arg)
{
	struct task *t = arg;

	t->ms = -now_ms();
	t->ret = t->fn(t->c);
	t->ms += now_ms();
	t->done = true;
	return NULL;
}

static int task_start(struct task *t, int (*fn)(struct client *c),
		      struct client *c)
{
	t->fn = fn;
	t->c = c;
	t->done = false;
	return -pthread_create(&t->thread, NULL, task_run, t);
}

/* what it returned; it must end, as a process with threads that hang does not */
static int task_end(struct task *t)
{
	if (!wait_for(t->done)) {
		fprintf(stderr, "# a system call hangs\n");
		return -ETIMEDOUT;
	}
	pthread_join(t->thread, NULL);
	return t->ret;
}

/*
 * Two devices that use the same memory, by one container or one IOAS. @b is not open
 * unless the test opens it.
 */
FIXTURE(owner) {
	struct client a;
	struct client b;
	int log;
};

FIXTURE_VARIANT(owner) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(owner, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(owner, cdev) {
	.iommufd = true,
};

static int two_clients(struct client *a, struct client *b)
{
	int ret;

	ret = vendors_reset() ?: module_load("mdev_test_dma");
	if (ret)
		return ret;
	b->vc = (struct vfio_client){ -1, -1, -1, 0, -1 };
	uuid_next(a->uuid);
	uuid_next(b->uuid);
	return mdev_create(TYPE, a->uuid) ?: mdev_create(TYPE, b->uuid) ?:
	       client_open(a);
}

static int two_clients_end(struct client *a, struct client *b)
{
	file_write("0", SLOW_MS);
	file_write("0", DMA_PARAM "pin_in_open");
	vfio_close(&b->vc);
	vfio_close(&a->vc);
	munmap(a->mem, SIZE);
	/* the last close may be on its way */
	if (!wait_for(memory_locked() <= a->locked))
		return -EBUSY;
	return mdev_remove(a->uuid) ?: mdev_remove(b->uuid) ?: vendors_reset();
}

FIXTURE_SETUP(owner)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, two_clients(&self->a, &self->b));
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
}

FIXTURE_TEARDOWN(owner)
{
	close(self->log);
	EXPECT_EQ(0, two_clients_end(&self->a, &self->b));
	EXPECT_EQ(0, mdev_leftovers());
}

/*
 * The owner takes its memory back, and the vendor goes on using it: the memory is
 * nobody else's before the vendor has unpinned it.
 */
static void keep(struct __test_metadata *_metadata, struct client *c, int log,
		 int (*take)(struct client *c))
{
	unsigned char *others;
	long ms;

	ASSERT_EQ(8, pin(c, IOVA, 8, RW));
	ASSERT_EQ(0, forget(c, TEST_DMA_FORGET_UNMAP));
	ms = -now_ms();
	ASSERT_LE(0, take(c));
	ms += now_ms();
	EXPECT_GT(PATIENCE_MS, ms);
	munmap(c->mem, SIZE);
	others = others_alloc();
	ASSERT_NE(NULL, others);
	EXPECT_EQ(0, fill(c, IOVA, 0xa5));
	EXPECT_EQ(0, others_hit(others));
	EXPECT_LT(0, refs(c, IOVA));
	EXPECT_TRUE(kmsg_find(log, c->uuid, "unpin"));
	/* VFIO is through with it */
	EXPECT_TRUE(wait_for(memory_locked() <= c->locked));
	others_free(others);
}

/* The vendor remembers; before, it gets nothing. */
static void give_back(struct __test_metadata *_metadata, struct client *c)
{
	ASSERT_EQ(0, client_map(c));
	EXPECT_EQ(-EBUSY, pin(c, IOVA, 1, RW));
	ASSERT_EQ(0, forget(c, 0));
	EXPECT_EQ(0, unpin(c, IOVA, 8));
	EXPECT_EQ(8, pin(c, IOVA, 8, RW));
	EXPECT_EQ(0, fill(c, IOVA, 0x5a));
	EXPECT_TRUE(all(c->mem, 8 * PAGE, 0x5a));
	EXPECT_EQ(0, unpin(c, IOVA, 8));
}

TEST_F(owner, unmap_while_used)
{
	keep(_metadata, &self->a, self->log, client_unmap);
	give_back(_metadata, &self->a);
	EXPECT_TRUE(kmsg_lacks(self->log, self->a.uuid, "unpin"));
}

TEST_F(owner, unmap_all_while_used)
{
	keep(_metadata, &self->a, self->log, unmap_all);
	give_back(_metadata, &self->a);
}

/* what the vendor keeps it keeps until it was released, and no longer */
TEST_F(owner, close_while_kept)
{
	struct client *c = &self->a;

	keep(_metadata, c, self->log, client_unmap);
	ASSERT_EQ(0, forget(c, TEST_DMA_FORGET_RELEASE));
	vfio_close(&c->vc);
	ASSERT_EQ(0, client_open(c));
	EXPECT_EQ(8, pin(c, IOVA, 8, RW));
	EXPECT_EQ(0, unpin(c, IOVA, 8));
}

/* a late unpin is of the pin that it belongs to, though another has that address */
TEST_F(owner, late_unpin_spares_others)
{
	struct client *a = &self->a, *b = &self->b;
	unsigned char *others;

	ASSERT_EQ(0, vfio_open_beside(&b->vc, &a->vc, b->uuid));
	keep(_metadata, a, self->log, client_unmap);
	ASSERT_EQ(0, client_map(a));
	ASSERT_EQ(8, pin(b, IOVA, 8, RW));
	EXPECT_EQ(0, unpin(a, IOVA, 8));
	EXPECT_LE(a->locked + 8 * 4, memory_locked());
	EXPECT_EQ(0, fill(b, IOVA, 0x77));
	EXPECT_TRUE(all(a->mem, 8 * PAGE, 0x77));
	/* the client leaves it, the device does not */
	munmap(a->mem, SIZE);
	others = others_alloc();
	ASSERT_NE(NULL, others);
	EXPECT_EQ(0, fill(b, IOVA, 0xa5));
	EXPECT_EQ(0, others_hit(others));
	others_free(others);
}

/*
 * From when VFIO has asked about a range until it is unmapped, no device of the
 * container gets any of it. VFIO would ask again, and kill the host when it has asked
 * too often.
 */
struct pins {
	unsigned int got;
	uint64_t errnos;
};

static void pins_note(struct pins *p, int ret)
{
	if (ret > 0)
		p->got++;
	else
		p->errnos |= 1ULL << -ret;
}

#define ERRNO(e)	(1ULL << (e))

/* Unmap the range, and see whether these devices can pin in it meanwhile. */
static struct pins pins_while_unmapped(struct client *a, struct client **by, int n)
{
	unsigned int told = unmaps(a).told;
	struct pins p = {};
	struct task t;
	int i;

	if (task_start(&t, client_unmap, a) || !wait_for(unmaps(a).told != told))
		return (struct pins){ .got = -1U };
	while (!t.done) {
		for (i = 0; i < n; i++)
			pins_note(&p, pin(by[i], IOVA, 1, RW));
		sleep_ms(1);
	}
	/* it is not there any more */
	for (i = 0; i < n; i++)
		pins_note(&p, pin(by[i], IOVA, 1, RW));
	if (task_end(&t))
		p.got = -1U;
	return p;
}

TEST_F(owner, two_devices_pin_while_unmapping)
{
	struct client *both[] = { &self->a, &self->b };
	struct client *a = &self->a, *b = &self->b;
	struct pins p;
	int i;

	ASSERT_EQ(0, vfio_open_beside(&b->vc, &a->vc, b->uuid));
	ASSERT_EQ(0, file_write("50", SLOW_MS));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(1, pin(a, IOVA, 1, RW));
		ASSERT_EQ(1, pin(b, IOVA, 1, RW));
		p = pins_while_unmapped(a, both, 2);
		ASSERT_EQ(0, p.got);
		/* and what an IOAS says that has nothing there */
		EXPECT_EQ(0, p.errnos & ~(ERRNO(EINVAL) | ERRNO(ENOENT)));
		EXPECT_EQ(i + 1, unmaps(a).count);
		EXPECT_EQ(i + 1, unmaps(b).count);
		ASSERT_EQ(0, client_map(a));
	}
	EXPECT_TRUE(kmsg_lacks(self->log, "mdev", "unpin"));
}

/* one that has nothing there was asked as well */
TEST_F(owner, other_device_pins_while_unmapping)
{
	struct client *a = &self->a, *b = &self->b;
	struct pins p;

	ASSERT_EQ(0, vfio_open_beside(&b->vc, &a->vc, b->uuid));
	ASSERT_EQ(0, file_write("300", SLOW_MS));
	ASSERT_EQ(1, pin(a, IOVA, 1, RW));
	p = pins_while_unmapped(a, &b, 1);
	EXPECT_EQ(0, p.got);
	ASSERT_EQ(0, client_map(a));
	EXPECT_EQ(1, pin(b, IOVA, 1, RW));
}

/* What comes late keeps VFIO's locks, so that there are gaps between its questions. */
static atomic_bool stop;

struct slow_memory {
	struct client c;
	pthread_t thread;
	struct client *by;
	void *mem;
	uint64_t iova;
};

#define SLOW_PAGES	16
#define SLOW_SIZE	(SLOW_PAGES * PAGE)

static void *slow_copy(void *arg)
{
	struct slow_memory *s = arg;
	uint64_t at, data;

	for (at = 0; at < SLOW_SIZE && !stop; at += PAGE)
		dma_rw(s->by, s->iova + at, &data, sizeof(data), false);
	return NULL;
}

/* each page of it takes @ms to come; the device that has it is open for itself */
static int slow_memory_open(struct slow_memory *s, struct client *by,
			    const char *ms)
{
	int ret;

	s->by = by;
	s->iova = 16 * IOVA;
	uuid_next(s->c.uuid);
	ret = file_write(ms, DMA_PARAM "fault_ms") ?:
	      mdev_create(TYPE, s->c.uuid) ?: vfio_open(&s->c.vc, s->c.uuid);
	if (ret)
		return ret;
	s->mem = mmap(NULL, SLOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		      s->c.vc.device, 0);
	if (s->mem == MAP_FAILED)
		return -errno;
	return vfio_dma_map(&by->vc, s->mem, s->iova, SLOW_SIZE, true);
}

/* let it come again */
static int slow_memory_forget(struct slow_memory *s)
{
	return madvise(s->mem, SLOW_SIZE, MADV_DONTNEED) ? -errno : 0;
}

static int slow_memory_close(struct slow_memory *s)
{
	int ret = vfio_dma_unmap(&s->by->vc, s->iova, SLOW_SIZE);

	munmap(s->mem, SLOW_SIZE);
	vfio_close(&s->c.vc);
	return ret ?: mdev_remove(s->c.uuid);
}

struct pinner {
	pthread_t thread;
	struct client *c;
	struct pins pins;
};

static void *pinner(void *arg)
{
	struct pinner *p = arg;

	while (!stop) {
		pins_note(&p->pins, pin(p->c, IOVA, 1, RW));
		sleep_ms(1);
	}
	return NULL;
}

TEST_F(owner, slow_vendor_and_eight_pinners)
{
	struct client *c = &self->a;
	struct slow_memory slow;
	struct pinner p[8];
	struct task t;
	unsigned int i;

	ASSERT_EQ(0, slow_memory_open(&slow, c, "700"));
	ASSERT_EQ(1, pin(c, IOVA, 1, RW));
	ASSERT_EQ(0, file_write("4300", SLOW_MS));
	stop = false;
	ASSERT_EQ(0, task_start(&t, client_unmap, c));
	ASSERT_TRUE(wait_for(unmaps(c).told));
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = (struct pinner){ .c = c };
		ASSERT_EQ(0, pthread_create(&p[i].thread, NULL, pinner, &p[i]));
	}
	sleep_ms(100);
	ASSERT_EQ(0, pthread_create(&slow.thread, NULL, slow_copy, &slow));
	EXPECT_EQ(0, task_end(&t));
	EXPECT_GT(PATIENCE_MS, t.ms);
	stop = true;
	pthread_join(slow.thread, NULL);
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		pthread_join(p[i].thread, NULL);
		EXPECT_EQ(0, p[i].pins.got);
		EXPECT_EQ(0, p[i].pins.errnos &
			     ~(ERRNO(EINVAL) | ERRNO(EBUSY) | ERRNO(ENOENT)));
	}
	EXPECT_TRUE(wait_for(unmaps(c).count));
	EXPECT_EQ(1, unmaps(c).count);
	ASSERT_EQ(0, client_map(c));
	EXPECT_EQ(1, pin(c, IOVA, 1, RW));
	ASSERT_EQ(0, file_write("0", SLOW_MS));
	EXPECT_EQ(0, unpin(c, IOVA, 1));
	EXPECT_EQ(0, slow_memory_close(&slow));
}

/* but what was mapped again is there at once, for whatever thread */
TEST_F(owner, innocent_pins)
{
	struct client *a = &self->a, *b = &self->b;
	long ms, longest = 0;
	int i;

	ASSERT_EQ(0, vfio_open_beside(&b->vc, &a->vc, b->uuid));
	for (i = 0; i < 200; i++) {
		ms = -now_ms();
		ASSERT_EQ(4, range(a, TEST_DMA_PIN_WORK, IOVA, 4, RW));
		ASSERT_EQ(4, range(b, TEST_DMA_PIN_WORK, IOVA + PAGE, 4, RW));
		if (i % 2)
			ASSERT_EQ(0, unpin(a, IOVA, 4));
		ASSERT_EQ(0, client_unmap(a));
		ASSERT_EQ(0, vfio_dma_map(&a->vc, a->mem, IOVA, SIZE, true));
		ms += now_ms();
		if (ms > longest)
			longest = ms;
	}
	TH_LOG("the longest round took %ld ms", longest);
	EXPECT_GT(400, longest);
	EXPECT_TRUE(kmsg_lacks(self->log, "mdev", "unpin"));
}

static int open_b(struct client *c)
{
	struct client *a = c, *b = c + 1;

	return vfio_open_beside(&b->vc, &a->vc, b->uuid);
}

/* each waits for a lock that the other has */
TEST_F(owner, unmap_while_opening_another)
{
	struct client *pair = &self->a;
	struct task unmap, open;

	ASSERT_EQ(&self->b, pair + 1);
	ASSERT_EQ(1, pin(pair, IOVA, 1, RW));
	ASSERT_EQ(0, file_write("5000", SLOW_MS));
	ASSERT_EQ(0, task_start(&unmap, client_unmap, pair));
	sleep_ms(4750);
	ASSERT_EQ(0, task_start(&open, open_b, pair));
	ASSERT_EQ(0, task_end(&unmap));
	ASSERT_EQ(0, task_end(&open));
	EXPECT_GT(PATIENCE_MS, unmap.ms);
	EXPECT_GT(PATIENCE_MS, open.ms);
	ASSERT_TRUE(wait_for(unmaps(pair).count));
}

static bool pinned_in_open(struct client *c, bool can)
{
	int ret = unmaps(c).opened;

	if (can)
		return ret == 1;
	return c->vc.iommufd >= 0 ? ret < 0 : ret == -EINVAL;
}

/*
 * A container of Linux 6.1 knows a device only when its open op has returned, and does
 * not ask it before. An IOAS is attached later in any case.
 */
TEST_F(owner, pin_in_open)
{
	bool can = !variant->iommufd && linux_since(6, 2);
	struct client *a = &self->a, *b = &self->b;

	ASSERT_EQ(0, file_write("0x10000000", DMA_PARAM "pin_in_open"));
	ASSERT_EQ(0, vfio_open_beside(&b->vc, &a->vc, b->uuid));
	EXPECT_TRUE(pinned_in_open(b, can));
	EXPECT_EQ(0, client_unmap(a));
	EXPECT_EQ(can, unmaps(b).count);
	EXPECT_EQ(0, unmaps(b).pins);
	ASSERT_EQ(0, client_map(a));
	EXPECT_EQ(1, pin(b, IOVA, 1, RW));
}

/* nor is it asked if it is the only one */
TEST_F(owner, only_device_pins_in_open)
{
	bool can = !variant->iommufd && linux_since(6, 2);
	struct client *a = &self->a;

	vfio_close_device(&a->vc);
	ASSERT_EQ(0, file_write("0x10000000", DMA_PARAM "pin_in_open"));
	ASSERT_EQ(0, vfio_open_device(&a->vc, a->uuid));
	EXPECT_TRUE(pinned_in_open(a, can));
	EXPECT_EQ(0, client_unmap(a));
	EXPECT_EQ(can, unmaps(a).count);
}

/*
 * Three or more that unmap, each of which has a lock of VFIO that another one's unpinning
 * needs: each costs the others half a second, but all of them end.
 */
#define UNMAPPERS	4

static uint64_t next_range(void)
{
	static atomic_uint next;

	return (32 + next++ % UNMAPPERS) * IOVA;
}

static int unmap_some(struct client *c)
{
	uint64_t iova = next_range();
	int i, ret = 0;

	for (i = 0; i < 2 && !ret; i++) {
		ret = vfio_dma_map(&c->vc, c->mem, iova, SIZE, true);
		if (ret)
			break;
		/* the vendor may be kept from unpinning for longer than VFIO waits */
		while ((ret = pin(c, iova, 4, RW)) == -EBUSY)
			sleep_ms(10);
		ret = ret == 4 ? vfio_dma_unmap(&c->vc, iova, SIZE) : -EIO;
	}
	return ret;
}

TEST_F(owner, many_unmap)
{
	struct task t[UNMAPPERS];
	int i;

	ASSERT_EQ(0, file_write("20", SLOW_MS));
	for (i = 0; i < UNMAPPERS; i++)
		ASSERT_EQ(0, task_start(&t[i], unmap_some, &self->a));
	for (i = 0; i < UNMAPPERS; i++)
		ASSERT_EQ(0, task_end(&t[i]));
	/* the vendor is told late, or of what was kept for it, but it is told */
	EXPECT_TRUE(wait_for(!unmaps(&self->a).pins));
}

#define DEVICES	12

/* each is asked in each round, which makes it no more rounds: a prompt vendor is prompt */
TEST_F(owner, many_devices)
{
	struct client *a = &self->a, more[DEVICES];
	long ms;
	int i;

	for (i = 0; i < DEVICES; i++) {
		more[i].vc = (struct vfio_client){ -1, -1, -1, 0, -1 };
		uuid_next(more[i].uuid);
		ASSERT_EQ(0, mdev_create(TYPE, more[i].uuid));
		ASSERT_EQ(0, vfio_open_beside(&more[i].vc, &a->vc, more[i].uuid));
		ASSERT_EQ(1, pin(&more[i], IOVA + i * PAGE, 1, RW));
	}
	ms = -now_ms();
	EXPECT_EQ(0, client_unmap(a));
	ms += now_ms();
	EXPECT_GT(400, ms);
	for (i = 0; i < DEVICES; i++) {
		EXPECT_EQ(1, unmaps(&more[i]).count);
		EXPECT_EQ(0, unmaps(&more[i]).pins);
	}
	EXPECT_TRUE(kmsg_lacks(self->log, "kept", "unpin"));
	for (i = 0; i < DEVICES; i++) {
		vfio_close(&more[i].vc);
		EXPECT_EQ(0, mdev_remove(more[i].uuid));
	}
}

/* VFIO may take one mapping for another when it has asked often: none is pinned then */
TEST_F(owner, slow_unmap_stops_all_pins)
{
	struct client *a = &self->a;
	uint64_t other = 16 * IOVA;
	bool refused = false;
	struct task t;
	int ret;

	if (variant->iommufd)
		SKIP(return, "iommufd does not count");
	ASSERT_EQ(0, vfio_dma_map(&a->vc, a->mem, other, SIZE, true));
	ASSERT_EQ(4, pin(a, IOVA, 4, RW));
	ASSERT_EQ(0, file_write("3000", SLOW_MS));
	ASSERT_EQ(0, task_start(&t, client_unmap, a));
	ASSERT_TRUE(wait_for(unmaps(a).told));
	while (!t.done) {
		ret = pin(a, other, 1, RW);
		EXPECT_TRUE(ret == 1 || ret == -EBUSY);
		/* for good: no pin is let in before the vendor has answered */
		EXPECT_FALSE(refused && ret == 1 && !unmaps(a).count);
		refused |= ret == -EBUSY;
		if (ret == 1)
			EXPECT_EQ(0, unpin(a, other, 1));
		sleep_ms(10);
	}
	EXPECT_EQ(0, task_end(&t));
	EXPECT_TRUE(refused);
	EXPECT_EQ(1, pin(a, other, 1, RW));
}

/* A device that joins a container waits for its unmaps at most, and for no others. */
TEST_F(owner, opened_while_unmapping)
{
	struct client *a = &self->a, *b = &self->b;
	char uuid[UUID_LEN + 1];
	struct client c = { .mem = b->mem };
	struct task t;
	long ms;

	if (variant->iommufd)
		SKIP(return, "iommufd does not count");
	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create(TYPE, uuid));
	ASSERT_EQ(4, pin(a, IOVA, 4, RW));
	ASSERT_EQ(0, vfio_dma_map(&a->vc, a->mem, 16 * IOVA, SIZE, true));
	ASSERT_EQ(0, file_write("1800", SLOW_MS));
	ASSERT_EQ(0, task_start(&t, client_unmap, a));
	ASSERT_TRUE(wait_for(unmaps(a).told));
	sleep_ms(600);

	memcpy(c.uuid, uuid, sizeof(uuid));
	ASSERT_EQ(0, client_open(&c));
	ms = -now_ms();
	EXPECT_EQ(4, pin(&c, IOVA, 4, RW));
	EXPECT_GT(200, ms + now_ms());
	EXPECT_FALSE(t.done);

	/* this one may be refused, once VFIO has asked often */
	ASSERT_EQ(0, vfio_open_beside(&b->vc, &a->vc, b->uuid));
	EXPECT_TRUE(wait_for(pin(b, 16 * IOVA, 1, RW) == 1));
	EXPECT_EQ(0, task_end(&t));
	EXPECT_EQ(1, unmaps(b).pins);
	EXPECT_EQ(0, file_write("0", SLOW_MS));
	vfio_close(&c.vc);
	EXPECT_EQ(0, mdev_remove(uuid));
}

static struct slow_memory *slow_read;

/* VFIO has the container locked until the page has come. */
static int read_slow_page(struct client *c, unsigned int page)
{
	uint64_t data;

	return dma_rw(c, slow_read->iova + page * PAGE, &data, sizeof(data), false);
}

/* Threads are not to be started then: that needs a lock that is held for the page, too. */

static int read_after_100_ms(struct client *c)
{
	sleep_ms(100);
	return read_slow_page(c, 0);
}

static int open_after_200_ms(struct client *c)
{
	sleep_ms(200);
	return vfio_open_device(&c->vc, c->uuid);
}

static int read_after_300_ms(struct client *c)
{
	sleep_ms(300);
	return read_slow_page(c, 1);
}

/*
 * Who waits for the container's lock gets it in this order: the one that opens, the second
 * reader, the unmap. So that has not asked the new device, and does not for long.
 */
TEST_F(owner, opened_before_unmap_asks_again)
{
	struct client *a = &self->a, *b = &self->b;
	struct task unmap, open, reader[2];
	struct slow_memory slow;
	long ms;
	int i;

	if (variant->iommufd)
		SKIP(return, "iommufd does not count");
	ASSERT_EQ(0, vfio_open_beside(&b->vc, &a->vc, b->uuid));
	vfio_close_device(&b->vc);
	ASSERT_EQ(4, pin(a, IOVA, 4, RW));
	ASSERT_EQ(0, vfio_dma_map(&a->vc, a->mem, 32 * IOVA, SIZE, true));
	ASSERT_EQ(0, slow_memory_open(&slow, a, "1000"));
	slow_read = &slow;

	ASSERT_EQ(0, file_write("3000", SLOW_MS));
	ASSERT_EQ(0, task_start(&reader[0], read_after_100_ms, a));
	ASSERT_EQ(0, task_start(&open, open_after_200_ms, b));
	ASSERT_EQ(0, task_start(&reader[1], read_after_300_ms, a));
	/* its first question takes half a second */
	ASSERT_EQ(0, task_start(&unmap, client_unmap, a));
	sleep_ms(250);
	ASSERT_EQ(0, file_write("8000", DMA_PARAM "fault_ms"));

	ASSERT_EQ(0, task_end(&open));
	ms = -now_ms();
	EXPECT_EQ(-EBUSY, pin(b, 32 * IOVA, 1, RW));
	ms += now_ms();
	EXPECT_LT(4000, ms);
	EXPECT_GT(7000, ms);
	EXPECT_FALSE(unmap.done);
	EXPECT_EQ(0, task_end(&unmap));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, task_end(&reader[i]));
	EXPECT_EQ(1, pin(b, 32 * IOVA, 1, RW));
	EXPECT_EQ(0, file_write("0", SLOW_MS));
	EXPECT_EQ(0, slow_memory_close(&slow));
}

static int pin_other(struct client *c)
{
	return pin(c, 16 * IOVA, 1, RW);
}

static int unmap_third(struct client *c)
{
	return vfio_dma_unmap(&c->vc, 32 * IOVA, SIZE);
}

/*
 * Two threads unmap, each a mapping of its own: VFIO reads freed memory if it is the same.
 * Then one does: another one could still be at it, for all that is known.
 */
static int unmap_without_file(struct client *c)
{
	int (*const unmap[])(struct client *c) = { client_unmap, unmap_third };
	struct task t[2];
	int i, ret;

	ret = setresuid(1000, 1000, 1000);
	for (i = 0; i < 2 && !ret; i++)
		ret = task_start(&t[i], unmap[i], c);
	for (i = 0; i < 2 && !ret; i++)
		ret = task_end(&t[i]);
	ret = ret ?: vfio_dma_map(&c->vc, c->mem, 8 * IOVA, SIZE, true);
	if (ret || pin(c, 8 * IOVA, 1, RW) != 1)
		return -EIO;
	ret = vfio_dma_unmap(&c->vc, 8 * IOVA, SIZE) ?:
	      task_start(&t[0], pin_other, c);
	if (ret || task_end(&t[0]) != -EBUSY)
		return -EIO;
	/* but this one is not */
	return pin_other(c) == 1 ? 0 : -EIO;
}

/* Without a file to notice the end of an unmap by: all ends, and pins are refused. */
TEST_F(owner, no_file)
{
	struct client *a = &self->a;
	char max[32];
	pid_t pid;

	if (variant->iommufd)
		SKIP(return, "iommufd does not count");
	ASSERT_EQ(4, pin(a, IOVA, 4, RW));
	ASSERT_EQ(0, vfio_dma_map(&a->vc, a->mem, 16 * IOVA, SIZE, true));
	ASSERT_EQ(0, vfio_dma_map(&a->vc, a->mem, 32 * IOVA, SIZE, true));
	ASSERT_EQ(1, pin(a, 32 * IOVA, 1, RW));
	/* the vendor unpins when the second thread has the lock that it needs for that */
	ASSERT_EQ(0, file_write("200", SLOW_MS));
	ASSERT_LT(0, file_read(max, sizeof(max), "/proc/sys/fs/file-max"));
	ASSERT_EQ(0, file_write("1", "/proc/sys/fs/file-max"));
	pid = fork_child();
	if (!pid)
		child_exit(unmap_without_file(a));
	EXPECT_EQ(0, child_wait(pid));
	EXPECT_EQ(0, file_write(max, "/proc/sys/fs/file-max"));
	EXPECT_EQ(0, file_write("0", SLOW_MS));
}

/* somebody with a container of its own notices nothing */
TEST_F(owner, another_container)
{
	struct client *a = &self->a, *b = &self->b;
	long begin, longest = 0;
	struct task t;
	int n = 0;

	ASSERT_EQ(0, client_open(b));
	ASSERT_EQ(4, pin(a, IOVA, 4, RW));
	ASSERT_EQ(4, pin(b, IOVA, 4, RW));
	ASSERT_EQ(0, file_write("2000", SLOW_MS));
	ASSERT_EQ(0, task_start(&t, client_unmap, a));
	for (; !t.done; n++) {
		begin = now_ms();
		ASSERT_EQ(1, pin(b, IOVA, 1, RW));
		ASSERT_EQ(0, unpin(b, IOVA, 1));
		begin = now_ms() - begin;
		if (begin > longest)
			longest = begin;
		sleep_ms(10);
	}
	EXPECT_EQ(0, task_end(&t));
	EXPECT_LT(10, n);
	EXPECT_GT(400, longest);
	EXPECT_EQ(0, unmaps(b).told);
	EXPECT_EQ(0, fill(b, IOVA, 0x55));
	EXPECT_TRUE(all(b->mem, 4 * PAGE, 0x55));
}

static struct slow_memory *slow_pinned;

static int pin_slow(struct client *c)
{
	return pin(c, slow_pinned->iova, 1, RW);
}

/* Somebody else, in a process of its own, as memory is mapped under its locks. */
static int neighbour(struct client *c)
{
	char uuid[UUID_LEN + 1];
	long begin = now_ms();
	int ret;

	uuid_next(uuid);
	ret = client_open(c);
	if (!ret && pin(c, IOVA, 4, RW) != 4)
		ret = -EIO;
	ret = ret ?: client_unmap(c);
	if (!ret && unmaps(c).count != 1)
		ret = -EIO;
	vfio_close(&c->vc);
	ret = ret ?: mdev_create(TYPE, uuid) ?: mdev_remove(uuid);
	return ret ?: now_ms() - begin < 1000 ? 0 : -ETIMEDOUT;
}

/* nor if the memory is long in coming */
TEST_F(owner, memory_comes_late)
{
	struct client *a = &self->a, *b = &self->b;
	struct slow_memory slow;
	struct task t;
	pid_t pid;

	ASSERT_EQ(0, slow_memory_open(&slow, a, "3000"));
	slow_pinned = &slow;
	pid = fork_child();
	if (!pid) {
		sleep_ms(500);
		child_exit(neighbour(b));
	}
	ASSERT_EQ(0, task_start(&t, pin_slow, a));
	EXPECT_EQ(0, child_wait(pid));
	EXPECT_FALSE(t.done);
	EXPECT_EQ(1, task_end(&t));
	EXPECT_EQ(0, unpin(a, slow.iova, 1));
	EXPECT_EQ(0, slow_memory_close(&slow));
}

/* memory that never comes, as nobody serves it */
static int userfault(void *mem, size_t size)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)mem, size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg))
		return -errno;
	return fd;
}

TEST_F(owner, killed_for_memory_that_never_comes)
{
	struct client *a = &self->a, *b = &self->b;
	uint64_t data;
	pid_t pid;

	if (!file_exists("/proc/sys/vm/unprivileged_userfaultfd"))
		SKIP(return, "no userfaultfd in this kernel");
	vfio_close(&a->vc);
	pid = fork_child();
	if (!pid) {
		int ret = client_open(a);

		ret = ret ?: vfio_open_beside(&b->vc, &a->vc, b->uuid);
		madvise(a->mem, SIZE, MADV_DONTNEED);
		if (!ret && userfault(a->mem, SIZE) >= 0)
			dma_rw(a, IOVA, &data, sizeof(data), false);
		child_exit(-EIO);
	}
	ASSERT_TRUE(child_blocks(pid));
	kill(pid, SIGKILL);
	EXPECT_TRUE(wait_for(!child_running(pid)));
	EXPECT_EQ(-ECANCELED, child_wait(pid));
	ASSERT_TRUE(wait_for(!module_refs("mdev_test_dma")));
	munmap(a->mem, SIZE);
	ASSERT_EQ(0, client_open(a));
	EXPECT_EQ(1, pin(a, IOVA, 1, RW));
}

/* the device alone keeps all that it needs, and that goes with it */
TEST_F(owner, device_fd_alone)
{
	struct client *c = &self->a;

	ASSERT_EQ(4, pin(c, IOVA, 4, RW));
	close(c->vc.group);
	close(c->vc.container);
	close(c->vc.iommufd);
	c->vc.group = -1;
	c->vc.container = -1;
	c->vc.iommufd = -1;
	EXPECT_EQ(4, pin(c, IOVA, 4, RW));
	EXPECT_EQ(0, unpin(c, IOVA, 4));
	EXPECT_EQ(0, fill(c, IOVA, 0x42));
	EXPECT_TRUE(all(c->mem, 4 * PAGE, 0x42));
	EXPECT_EQ(-EBUSY, mdev_remove(c->uuid));
	vfio_close(&c->vc);
	EXPECT_TRUE(wait_for(memory_locked() <= c->locked));
	munmap(c->mem, SIZE);
	ASSERT_EQ(0, client_open(c));
	EXPECT_EQ(1, pin(c, IOVA, 1, RW));
}

/* Have a child open the device and pin; it waits for a byte, and unmaps that. */
static int client_of_child(struct client *c, pid_t *pid, int go[2])
{
	struct vfio_client *vc = &c->vc;
	int fds[2], ret;

	vfio_close(vc);
	munmap(c->mem, SIZE);
	c->mem = NULL;
	if (pipe(fds) || pipe(go))
		return -errno;
	*pid = fork_child();
	if (!*pid) {
		char byte;

		close(go[1]);
		if (!client_open(c) && pin(c, IOVA, 4, RW) == 4 &&
		    write(fds[1], vc, sizeof(*vc)) > 0 &&
		    read(go[0], &byte, 1) == 1)
			client_unmap(c);
		child_exit(-EIO);
	}
	close(fds[1]);
	ret = read(fds[0], vc, sizeof(*vc)) == sizeof(*vc) ? 0 : -EIO;
	close(fds[0]);
	if (ret)
		return ret;
	vc->device = fd_of(*pid, vc->device);
	vc->group = fd_of(*pid, vc->group);
	vc->container = fd_of(*pid, vc->container);
	vc->iommufd = fd_of(*pid, vc->iommufd);
	return vc->device < 0 ? -EBADF : 0;
}

/* The fds have another owner, and the memory is that of nobody who lives. */
TEST_F(owner, opener_is_gone)
{
	struct client *c = &self->a;
	char byte;
	pid_t pid;
	int go[2];

	ASSERT_EQ(0, client_of_child(c, &pid, go));
	kill(pid, SIGKILL);
	ASSERT_EQ(-ECANCELED, child_wait(pid));

	/* what is pinned is there, more is not */
	EXPECT_EQ(0, fill(c, IOVA, 0x42));
	EXPECT_LT(0, refs(c, IOVA));
	EXPECT_GT(0, pin(c, IOVA + 8 * PAGE, 1, RW));
	EXPECT_GT(0, dma_rw(c, IOVA + 8 * PAGE, &byte, 1, true));
	EXPECT_EQ(0, client_unmap(c));
	EXPECT_EQ(1, unmaps(c).count);
	EXPECT_EQ(0, unmaps(c).pins);
	vfio_close(&c->vc);
	ASSERT_EQ(0, client_open(c));
	EXPECT_EQ(1, pin(c, IOVA, 1, RW));
	close(go[0]);
	close(go[1]);
}

/* What a thread was about to unmap is not kept from others if that thread dies. */
TEST_F(owner, killed_while_unmapping)
{
	struct client *c = &self->a;
	pid_t pid;
	int go[2];

	ASSERT_EQ(0, client_of_child(c, &pid, go));
	ASSERT_EQ(0, file_write("1000", SLOW_MS));
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_TRUE(wait_for(unmaps(c).told));
	kill(pid, SIGKILL);
	EXPECT_GT(0, pin(c, IOVA, 1, RW));
	ASSERT_EQ(-ECANCELED, child_wait(pid));
	EXPECT_EQ(1, unmaps(c).count);
	ASSERT_EQ(0, file_write("0", SLOW_MS));
	ASSERT_EQ(0, client_map(c));
	EXPECT_EQ(1, pin(c, IOVA, 1, RW));
	EXPECT_EQ(0, client_unmap(c));
	close(go[0]);
	close(go[1]);
}

/* How often; many times take long, and say so now and then. */
static int count_from(const char *name, int count)
{
	const char *env = getenv(name);

	return env ? atoi(env) : count;
}

static long say_next;

static void say_progress(const char *what, int n)
{
	if (n && now_ms() < say_next)
		return;
	say_next = now_ms() + 60000;
	if (n)
		fprintf(stderr, "# %d %s\n", n, what);
}

TEST_F_TIMEOUT(owner, many_opens, 7200)
{
	int opens = count_from("MDEV_OWNER_OPENS", 300), i;
	struct client *c = &self->a;
	long pinned = pages_pinned(), us = -now_us();

	for (i = 0; i < opens; i++) {
		vfio_close(&c->vc);
		ASSERT_EQ(0, vfio_open(&c->vc, c->uuid));
		ASSERT_EQ(0, vfio_dma_map(&c->vc, c->mem, IOVA, SIZE, true));
		ASSERT_EQ(4, pin(c, IOVA, 4, RW));
		say_progress("opens", i);
	}
	us += now_us();
	TH_LOG("%d opens, %ld us each", opens, us / opens);
	printf("# result opens=%d\n", opens);
	EXPECT_GE(c->locked + 4 * (long)PAGE / 1024, memory_locked());
	EXPECT_TRUE(wait_for(pages_pinned() == pinned + 4));
	EXPECT_EQ(0, unpin(c, IOVA, 4));
	EXPECT_EQ(pinned, pages_pinned());
}

/* neither many pins, nor what a careless vendor keeps, gets by the limit */
TEST_F_TIMEOUT(owner, pins_against_the_limit, 7200)
{
	int pins = count_from("MDEV_OWNER_PINS", 4000), done, i, n = 0;
	struct client *c = &self->a;
	long pinned, us;

	vfio_close(&c->vc);
	munmap(c->mem, SIZE);
	ASSERT_EQ(0, limit_memory(16 * PAGE));
	ASSERT_EQ(0, client_open(c));
	pinned = pages_pinned();
	us = -now_us();
	for (done = 0, i = 1; done < pins; done += i, i = i % 16 + 1) {
		ASSERT_EQ(i, pin(c, IOVA, i, RW));
		ASSERT_EQ(-ENOMEM, pin(c, IOVA + 16 * PAGE, 16, RW));
		ASSERT_EQ(0, unpin(c, IOVA, i));
		say_progress("pins", done);
	}
	us += now_us();
	TH_LOG("%d pins, %ld us each", done, us / done);
	printf("# result pins=%d\n", done);
	EXPECT_EQ(pinned, pages_pinned());
	EXPECT_EQ(c->locked, memory_locked());
	while (pin(c, IOVA + n * PAGE, 1, RW) == 1)
		n++;
	EXPECT_EQ(16, n);
	ASSERT_EQ(0, forget(c, TEST_DMA_FORGET_UNMAP));
	ASSERT_EQ(0, client_unmap(c));
	EXPECT_EQ(pinned, pages_pinned());
	ASSERT_EQ(0, client_map(c));
	EXPECT_EQ(-EBUSY, pin(c, IOVA, 1, RW));
	EXPECT_EQ(n, unmaps(c).pins);
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, unpin(c, IOVA + i * PAGE, 1));
	EXPECT_EQ(16, pin(c, IOVA, 16, RW));
	EXPECT_EQ(pinned + 16, pages_pinned());
}

/* A structure that is short, long, askew, or nowhere; @end is that of the memory. */
static void hostile_ioctl(int fd, unsigned int nr, char *end)
{
	static const uint32_t sizes[] = { 0, 1, 8, 15, 16, 24, 32, 4096, -1U };
	static const unsigned int cuts[] = { 4, 8, 12, 16, 20, 24, 32, 48 };
	static void * const nowhere[] = {
		NULL, (void *)1, (void *)-1, (void *)-8,
		(void *)0x7fffffffeffcULL, (void *)0x7ffffffff000ULL,
		(void *)0x8000000000000000ULL, (void *)0xffff888000000000ULL,
	};
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(nowhere); i++)
		ioctl(fd, _IO(VFIO_TYPE, nr), nowhere[i]);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		memset(end - 64, i % 2 ? 0xff : 0, 64);
		for (j = 0; j < ARRAY_SIZE(cuts); j++) {
			memcpy(end - cuts[j], &sizes[i], sizeof(*sizes));
			ioctl(fd, _IO(VFIO_TYPE, nr), end - cuts[j]);
		}
		memcpy(end - 63, &sizes[i], sizeof(*sizes));
		ioctl(fd, _IO(VFIO_TYPE, nr), end - 63);
	}
}

TEST_F(owner, hostile_ioctls)
{
	struct client *a = &self->a, *b = &self->b;
	/* VFIO's numbers begin at 100, those of iommufd at 128 */
	const struct {
		int fd;
		unsigned int first;
	} targets[] = {
		{ a->vc.device, 100 }, { a->vc.container, 100 },
		{ a->vc.group, 100 }, { a->vc.iommufd, 100 },
		{ a->vc.iommufd, 128 }, { vfio_open_node(b->uuid), 100 },
	};
	unsigned int i, nr;
	char *mem;

	ASSERT_EQ(0, client_open(b));
	ASSERT_EQ(4, pin(b, IOVA, 4, RW));
	ASSERT_EQ(4, pin(a, IOVA, 4, RW));
	mem = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	munmap(mem + PAGE, PAGE);
	for (i = 0; i < ARRAY_SIZE(targets); i++)
		for (nr = targets[i].first; targets[i].fd >= 0 &&
		     nr < targets[i].first + 22; nr++)
			hostile_ioctl(targets[i].fd, nr, mem + PAGE);
	munmap(mem, PAGE);
	close(targets[5].fd);
	vfio_close(&a->vc);
	EXPECT_EQ(0, fill(b, IOVA, 0x42));
	EXPECT_TRUE(all(b->mem, 4 * PAGE, 0x42));
	munmap(a->mem, SIZE);
	ASSERT_EQ(0, client_open(a));
	EXPECT_EQ(4, pin(a, IOVA, 4, RW));
}

/*
 * iommufd asks once when it takes an IOAS from a device, and believes that all is
 * unpinned then.
 */
FIXTURE(ioas) {
	struct client a;
	struct client b;
	int log;
	uint32_t other;
};

FIXTURE_VARIANT(ioas) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(ioas, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(ioas)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, two_clients(&self->a, &self->b));
	ASSERT_EQ(0, vfio_ioctl(self->a.vc.iommufd, IOMMU_IOAS_ALLOC, &alloc));
	self->other = alloc.out_ioas_id;
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
}

FIXTURE_TEARDOWN(ioas)
{
	close(self->log);
	EXPECT_EQ(0, two_clients_end(&self->a, &self->b));
	EXPECT_EQ(0, mdev_leftovers());
}

static int attach(struct client *c, uint32_t ioas)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach), .pt_id = ioas,
	};

	return vfio_ioctl(c->vc.device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

static int detach(struct client *c)
{
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

	return vfio_ioctl(c->vc.device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
}

/* by an IOAS of its own, which has nothing in it */
static int replace(struct client *c)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	return vfio_ioctl(c->vc.iommufd, IOMMU_IOAS_ALLOC, &alloc) ?:
	       attach(c, alloc.out_ioas_id);
}

static int ioas_destroy(struct client *c, uint32_t ioas)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = ioas };

	return vfio_ioctl(c->vc.iommufd, IOMMU_DESTROY, &destroy);
}

TEST_F(ioas, detach_while_used)
{
	struct client *c = &self->a;

	keep(_metadata, c, self->log, detach);
	/* the IOAS is as if it had never been used */
	EXPECT_EQ(0, client_unmap(c));
	EXPECT_EQ(0, attach(c, c->vc.ioas));
	give_back(_metadata, c);
}

TEST_F(ioas, replace_while_used)
{
	struct client *c = &self->a;

	keep(_metadata, c, self->log, replace);
	EXPECT_EQ(0, client_unmap(c));
	EXPECT_EQ(0, ioas_destroy(c, c->vc.ioas));
	c->vc.ioas = self->other;
	EXPECT_EQ(0, attach(c, c->vc.ioas));
	give_back(_metadata, c);
}

/* a vendor that is slow, and not careless */
TEST_F(ioas, detach_while_pinned)
{
	struct client *c = &self->a;

	ASSERT_EQ(4, pin(c, IOVA, 4, RW));
	ASSERT_EQ(0, file_write("2000", SLOW_MS));
	EXPECT_EQ(0, detach(c));
	EXPECT_EQ(1, unmaps(c).count);
	EXPECT_EQ(0, unmaps(c).pins);
	EXPECT_EQ(0, client_unmap(c));
	EXPECT_GE(c->locked, memory_locked());
	EXPECT_EQ(0, ioas_destroy(c, c->vc.ioas));
	ASSERT_EQ(0, file_write("0", SLOW_MS));
	c->vc.ioas = self->other;
	ASSERT_EQ(0, attach(c, self->other));
	ASSERT_EQ(0, client_map(c));
	EXPECT_EQ(1, pin(c, IOVA, 1, RW));
	EXPECT_TRUE(kmsg_lacks(self->log, c->uuid, "unpin"));
}

TEST_F(ioas, replace_while_pinned)
{
	struct client *c = &self->a;
	uint32_t ioas = c->vc.ioas;
	unsigned char *others;

	/* the same address in both, and different memory */
	c->vc.ioas = self->other;
	ASSERT_EQ(0, client_map(c));
	ASSERT_EQ(4, pin(c, IOVA, 4, RW));
	ASSERT_EQ(0, file_write("2000", SLOW_MS));
	EXPECT_EQ(0, attach(c, self->other));
	ASSERT_EQ(0, file_write("0", SLOW_MS));
	EXPECT_EQ(1, unmaps(c).count);
	EXPECT_EQ(0, unmaps(c).pins);
	EXPECT_EQ(0, ioas_destroy(c, ioas));

	EXPECT_EQ(4, pin(c, IOVA, 4, RW));
	EXPECT_EQ(-ENOENT, unpin(c, IOVA, 3));
	EXPECT_EQ(0, fill(c, IOVA, 0x77));
	EXPECT_TRUE(all(c->mem, 4 * PAGE, 0x77));
	/* they are its own, whatever the owner does */
	ASSERT_EQ(0, forget(c, TEST_DMA_FORGET_UNMAP));
	EXPECT_EQ(0, client_unmap(c));
	munmap(c->mem, SIZE);
	others = others_alloc();
	ASSERT_NE(NULL, others);
	EXPECT_EQ(0, fill(c, IOVA, 0xa5));
	EXPECT_EQ(0, others_hit(others));
	others_free(others);
	EXPECT_EQ(0, unpin(c, IOVA, 4));
}

/* the other device has the same IOAS, and keeps it */
TEST_F(ioas, detach_spares_others)
{
	struct client *a = &self->a, *b = &self->b;

	ASSERT_EQ(0, vfio_open_beside(&b->vc, &a->vc, b->uuid));
	ASSERT_EQ(4, pin(a, IOVA, 4, RW));
	ASSERT_EQ(4, pin(b, IOVA, 4, RW));
	ASSERT_EQ(0, detach(a));
	EXPECT_EQ(1, unmaps(a).count);
	EXPECT_EQ(0, unmaps(b).count);
	EXPECT_EQ(0, fill(b, IOVA, 0x33));
	EXPECT_TRUE(all(a->mem, 4 * PAGE, 0x33));
	EXPECT_EQ(1, pin(b, IOVA, 1, RW));
}

/*
 * Vendors of before Linux 5.19, who pin many pages in one call, who call VFIO whenever
 * they like, and whose memory is their own again when they were released.
 */
#define NPAGES	512			/* VFIO_PIN_PAGES_MAX_ENTRIES */

FIXTURE(classic) {
	struct client c;
	struct mdev_test_pages pages;
	int log;
};

FIXTURE_VARIANT(classic) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(classic, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(classic, cdev) {
	.iommufd = true,
};

static int classic_client(struct client *c)
{
	int ret = vendors_reset() ?: module_load(CLASSIC);

	uuid_next(c->uuid);
	return ret ?: mdev_create(CLASSIC_TYPE, c->uuid) ?: classic_open(c);
}

static int classic_client_end(struct client *c)
{
	classic_close(c);
	return mdev_remove(c->uuid) ?: vendors_reset();
}

FIXTURE_SETUP(classic)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, classic_client(&self->c));
	self->log = kmsg_open();
	ASSERT_LE(0, self->log);
}

FIXTURE_TEARDOWN(classic)
{
	close(self->log);
	EXPECT_EQ(0, classic_client_end(&self->c));
	EXPECT_EQ(0, mdev_leftovers());
}

/* where the rest of the pages is */
#define REST		(2 * IOVA)

struct torn {
	struct client *c;
	unsigned long us;
	int ret;
};

static void *unmap_after(void *arg)
{
	struct torn *t = arg;

	usleep(t->us);
	t->ret = vfio_dma_unmap(&t->c->vc, IOVA, PAGE);
	return NULL;
}

/* the vendor's note of this page of the host */
static int vendor_has(struct client *c, uint64_t phys)
{
	struct mdev_test_peek peek = { .phys = phys };

	return vfio_ioctl(c->vc.device, MDEV_TEST_PEEK, &peek);
}

static int pages_do(struct client *c, unsigned long cmd,
		    struct mdev_test_pages *pages)
{
	return vfio_ioctl(c->vc.device, cmd, pages);
}

static unsigned int vendor_pins(struct client *c)
{
	struct mdev_test_status status = { .pinned = -1U };

	vfio_ioctl(c->vc.device, MDEV_TEST_STATUS, &status);
	return status.pinned;
}

/* All pages are pinned, and the vendor unpins what is unmapped; or none is. */
TEST_F(classic, torn_pin)
{
	struct mdev_test_pages *pages = &self->pages, others;
	int i, ret, done = 0, failed = 0;
	struct client *c = &self->c;
	struct torn torn = { .c = c };
	struct slow_memory slow;
	pthread_t thread;
	char *rest;
	long us;

	rest = mmap(NULL, NPAGES * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, rest);
	ASSERT_EQ(0, vfio_dma_map(&c->vc, rest, REST, NPAGES * PAGE, true));
	ASSERT_EQ(0, client_unmap(c));
	ASSERT_EQ(0, module_load("mdev_test_dma"));
	ASSERT_EQ(0, slow_memory_open(&slow, c, "2"));
	for (i = 0; i < NPAGES; i++)
		pages->pfn[i] = REST / PAGE + i;
	for (i = 0; i < SLOW_PAGES; i++)
		pages->pfn[NPAGES / SLOW_PAGES * i + 16] = slow.iova / PAGE + i;
	pages->npage = NPAGES;
	pages->prot = RW;
	others = *pages;
	/* how long it takes */
	us = -now_us();
	ASSERT_EQ(NPAGES, pages_do(c, MDEV_TEST_PIN, pages));
	us += now_us();
	ASSERT_EQ(NPAGES, pages_do(c, MDEV_TEST_UNPIN, pages));
	/* all but that one */
	pages->pfn[0] = IOVA / PAGE;
	others.pfn[0] = others.pfn[--others.npage];

	for (i = 0; i < 24; i++) {
		ASSERT_EQ(0, vfio_dma_map(&c->vc, c->mem, IOVA, PAGE, true));
		ASSERT_EQ(0, slow_memory_forget(&slow));
		torn.us = us * i / 20;
		ASSERT_EQ(0, pthread_create(&thread, NULL, unmap_after, &torn));
		ret = pages_do(c, MDEV_TEST_PIN, pages);
		pthread_join(thread, NULL);
		ASSERT_EQ(0, torn.ret);
		if (ret == NPAGES) {
			done++;
			EXPECT_EQ(-ENOENT, vendor_has(c, pages->phys[0]));
			EXPECT_EQ(NPAGES - 1, vendor_pins(c));
			EXPECT_EQ(NPAGES - 1, pages_do(c, MDEV_TEST_UNPIN,
						       &others));
		} else {
			failed++;
			EXPECT_TRUE(ret == -EINVAL || ret == -ENOENT);
		}
		ASSERT_EQ(0, vendor_pins(c));
		ASSERT_TRUE(wait_for(memory_locked() <= c->locked));
	}
	TH_LOG("%ld us; %d calls were done, %d failed", us, done, failed);
	EXPECT_LT(0, done);
	EXPECT_LT(0, failed);
	EXPECT_TRUE(kmsg_lacks(self->log, c->uuid, "pin"));
	EXPECT_EQ(0, slow_memory_close(&slow));
	munmap(rest, NPAGES * PAGE);
}

/* The vendor's notifier is in memory that is something else when it was released. */
TEST_F(classic, forgotten_notifier)
{
	struct mdev_test_status status = {};
	struct client *c = &self->c;
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, vfio_ioctl(c->vc.device, MDEV_TEST_FORGET, NULL));
		classic_close(c);
		EXPECT_TRUE(kmsg_find(self->log, c->uuid,
				      "forgot to unregister a notifier"));
		ASSERT_EQ(0, classic_open(c));
	}
	/* and there is one again */
	self->pages.pfn[0] = IOVA / PAGE;
	self->pages.npage = 1;
	self->pages.prot = RW;
	EXPECT_EQ(1, vfio_ioctl(c->vc.device, MDEV_TEST_PIN, &self->pages));
	ASSERT_EQ(0, vfio_ioctl(c->vc.device, MDEV_TEST_STATUS, &status));
	i = status.unmaps;
	EXPECT_EQ(0, client_unmap(c));
	ASSERT_EQ(0, vfio_ioctl(c->vc.device, MDEV_TEST_STATUS, &status));
	EXPECT_EQ(i + 1, status.unmaps);
	EXPECT_EQ(0, status.pinned);
}

/*
 * A thread of the vendor's is preempted when it has found the device open, and goes on
 * when it is closed, and its driver unbound. Without such delays: see mdev_race.
 */
#define DELAY	"/sys/module/mdev_test_fail/parameters/delay"

FIXTURE(late) {
	struct client c;
};

FIXTURE_VARIANT(late) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(late, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(late, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(late)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, classic_client(&self->c));
	if (module_load("mdev_test_fail"))
		SKIP(return, "no kprobes in this kernel");
}

FIXTURE_TEARDOWN(late)
{
	EXPECT_EQ(0, classic_client_end(&self->c));
	EXPECT_EQ(0, mdev_leftovers());
}

static void call_outlives(struct __test_metadata *_metadata, struct client *c,
			  const char *function, unsigned int calls)
{
	struct mdev_test_late_end end;
	char delay[64];

	snprintf(delay, sizeof(delay), "%s 300", function);
	ASSERT_EQ(0, file_write(delay, DELAY));
	ASSERT_EQ(0, late(c, calls, 1));
	EXPECT_TRUE(wait_for(!file_read_int(DELAY)));
	classic_close(c);
	EXPECT_EQ(0, file_write(c->uuid, BRIDGE_DRIVER "/unbind"));
	/* it goes on, if it has not ended */
	sleep_ms(500);
	EXPECT_EQ(0, file_write(c->uuid, BRIDGE_DRIVER "/bind"));
	ASSERT_EQ(0, classic_open(c));
	end = late_end(c);
	EXPECT_TRUE(late_errnos_legal(&end));
	/* nothing has stayed */
	ASSERT_EQ(0, late(c, LATE_ALL, 1));
	end = late_end(c);
	EXPECT_EQ(0, end.errnos);
	EXPECT_EQ(4, end.ok);
}

TEST_F(late, copy_outlives_the_device)
{
	call_outlives(_metadata, &self->c, "vfio_dma_rw", MDEV_TEST_LATE_DMA);
}

TEST_F(late, copy_outlives_the_bridge)
{
	call_outlives(_metadata, &self->c, "vfio_mdev_dma_rw", MDEV_TEST_LATE_DMA);
}

TEST_F(late, pin_outlives_the_device)
{
	call_outlives(_metadata, &self->c, "vfio_pin_pages", MDEV_TEST_LATE_PIN);
}

TEST_F(late, pin_outlives_the_bridge)
{
	call_outlives(_metadata, &self->c, "vfio_mdev_pin_pfns",
		      MDEV_TEST_LATE_PIN);
}

TEST_F(late, notifier_outlives_the_bridge)
{
	call_outlives(_metadata, &self->c, "vfio_mdev_register_unmap",
		      MDEV_TEST_LATE_NOTIFIER);
}

TEST_HARNESS_MAIN
