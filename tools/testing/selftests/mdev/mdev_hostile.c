// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hostile owners of devices whose vendors do all that is asked of them: they pass their
 * fds on, change structures that the kernel is reading, and have memory of every kind.
 * Nobody else notices, and who comes next finds all of it clean: the samples' devices,
 * and the account of memory.
 *
 * Vendors that are slow or forget are in mdev_owner.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
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
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../kselftest_harness.h"
#include "mdev_dma.h"
#include "mdev_hostile.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

/* nobody's job takes longer because of somebody else */
#define BOUNDED_MS	5000

/* ---- Whoever the fds are passed to ---- */

enum who { PROCESS, USER, USER_NAMESPACE, WHO_COUNT };

#define NOBODY	65534

/* Root of a user namespace of its own, which is nobody outside of it. */
static int enter_user_namespace(void)
{
	char map[32];

	/* or the files below belong to root */
	if (prctl(PR_SET_DUMPABLE, 1) ||
	    unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return -errno;
	snprintf(map, sizeof(map), "0 %d 1", NOBODY);
	return file_write("deny", "/proc/self/setgroups") ?:
	       file_write(map, "/proc/self/uid_map") ?:
	       file_write(map, "/proc/self/gid_map");
}

/* in a child */
static int become(enum who who)
{
	if (who == PROCESS)
		return 0;
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		return -errno;
	return who == USER ? 0 : enter_user_namespace();
}

/* ---- The samples ---- */

FIXTURE(sample) {
	char uuid[2][UUID_LEN + 1];
	struct vfio_client vc;
	struct snapshot clean;
};

FIXTURE_VARIANT(sample) {
	const char *module;
	const char *type;
};

FIXTURE_VARIANT_ADD(sample, mtty) {
	.module = "mtty",
	.type = "mtty/mtty-2",
};

FIXTURE_VARIANT_ADD(sample, mdisp) {
	.module = "mdisp",
	.type = "mdisp/mdisp-vga",
};

FIXTURE_VARIANT_ADD(sample, mnull) {
	.module = "mnull",
	.type = "mnull0/mnull-1",
};

FIXTURE_SETUP(sample)
{
	int i;

	ASSERT_EQ(0, vendors_reset());
	ASSERT_TRUE(vfio_use_iommufd(false));
	ASSERT_EQ(0, module_load(variant->module));
	for (i = 0; i < 2; i++) {
		uuid_next(self->uuid[i]);
		ASSERT_EQ(0, mdev_create(variant->type, self->uuid[i]));
	}
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid[0]));
	ASSERT_EQ(0, snapshot_take(&self->clean, self->vc.device));
}

FIXTURE_TEARDOWN(sample)
{
	int i;

	snapshot_free(&self->clean);
	vfio_close(&self->vc);
	/* a child's last close may be on its way */
	EXPECT_TRUE(wait_for(!module_refs(variant->module)));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, mdev_remove(self->uuid[i]));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(sample, next_owner)
{
	uint32_t seed = 1;
	int i, kept;

	for (i = 0; i < 2; i++) {
		kept = hostile_spoil(self->vc.device, &seed);
		vfio_close(&self->vc);
		ASSERT_EQ(0, vfio_open(&self->vc, self->uuid[0]));
		EXPECT_EQ(0, snapshot_check(&self->clean, self->vc.device));
		close(kept);
		EXPECT_EQ(0, snapshot_check(&self->clean, self->vc.device));
	}
}

/* It may do what it could if it had opened the device; then it has the only fds. */
TEST_F(sample, passed_on)
{
	uint32_t seed = 2;
	enum who who;
	pid_t pid;

	for (who = 0; who < WHO_COUNT; who++) {
		pid = fork_child();
		if (!pid) {
			int ret = become(who);

			ret = ret ?: snapshot_check(&self->clean, self->vc.device);
			/* closed when it exits */
			hostile_spoil(self->vc.device, &seed);
			child_exit(ret);
		}
		vfio_close(&self->vc);
		EXPECT_EQ(0, child_wait(pid));
		ASSERT_TRUE(wait_for(!module_refs(variant->module)));
		ASSERT_EQ(0, vfio_open(&self->vc, self->uuid[0]));
		EXPECT_EQ(0, snapshot_check(&self->clean, self->vc.device));
	}
}

/* somebody with another device of the same parent notices nothing */
TEST_F(sample, neighbour)
{
	long begin = now_ms(), longest = 0, ms;
	pid_t pid;
	int n = 0;

	pid = fork_child();
	if (!pid) {
		vfio_close(&self->vc);
		hostile_rage(self->uuid[1]);
	}
	for (; n < 3 || now_ms() < begin + 500; n++) {
		ms = -now_ms();
		ASSERT_EQ(0, snapshot_check(&self->clean, self->vc.device));
		ms += now_ms();
		if (ms > longest)
			longest = ms;
	}
	EXPECT_TRUE(child_running(pid));
	kill(pid, SIGKILL);
	EXPECT_EQ(-ECANCELED, child_wait(pid));
	TH_LOG("%d looks, the longest took %ld ms", n, longest);
	EXPECT_GT(BOUNDED_MS, longest);
}

/* ---- Memory, and its account ---- */

FIXTURE(dma) {
	struct client a;
	struct client b;
	long pinned;
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
	self->b.vc = (struct vfio_client){ -1, -1, -1, 0, -1 };
	uuid_next(self->a.uuid);
	uuid_next(self->b.uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->a.uuid));
	ASSERT_EQ(0, mdev_create(TYPE, self->b.uuid));
	ASSERT_EQ(0, client_open(&self->a));
	self->pinned = pages_pinned();
	ASSERT_LE(0, self->pinned);
}

FIXTURE_TEARDOWN(dma)
{
	vfio_close(&self->b.vc);
	vfio_close(&self->a.vc);
	/* a child's last close may be on its way, and what it had pinned */
	EXPECT_TRUE(wait_for(!module_refs("mdev_test_dma")));
	EXPECT_TRUE(wait_for(pages_pinned() == self->pinned));
	EXPECT_EQ(self->a.locked, memory_locked());
	EXPECT_EQ(0, mdev_remove(self->a.uuid));
	EXPECT_EQ(0, mdev_remove(self->b.uuid));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

/* the device works for the next owner */
static void next_owner(struct __test_metadata *_metadata, struct client *c)
{
	vfio_close(&c->vc);
	munmap(c->mem, SIZE);
	ASSERT_EQ(0, client_open(c));
	EXPECT_EQ(0, unmaps(c).pins);
	EXPECT_EQ(8, pin(c, IOVA, 8, RW));
	EXPECT_EQ(0, fill(c, IOVA, 0x42));
	EXPECT_TRUE(all(c->mem, 8 * PAGE, 0x42));
	EXPECT_EQ(0, unpin(c, IOVA, 8));
}

#define LIMIT	16

/* In a child, whose memory is now the device's; 0, or what is wrong. */
static int use_passed(struct client *c, enum who who)
{
	struct rlimit limit = { LIMIT * PAGE, LIMIT * PAGE };
	struct rlimit more = { SIZE, SIZE };
	int ret;

	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		return -errno;
	ret = become(who) ?: vfio_dma_unmap(&c->vc, IOVA, SIZE);
	if (ret)
		return ret;
	c->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ret = vfio_dma_map(&c->vc, c->mem, IOVA, SIZE, true);
	if (ret)
		return ret;
	/* root may have as much as it likes, but of its own namespace only */
	if (who != PROCESS && !setrlimit(RLIMIT_MEMLOCK, &more))
		return -ERANGE;
	if (pin(c, IOVA, LIMIT, RW) != LIMIT)
		return -EIO;
	ret = pin(c, IOVA + LIMIT * PAGE, 1, RW);
	if (ret != (who == PROCESS ? 1 : -ENOMEM))
		return ret ?: -EDOM;
	ret = fill(c, IOVA, 0x24);
	return ret ?: all(c->mem, LIMIT * PAGE, 0x24) ? 0 : -EBADMSG;
}

/*
 * It leaves all that it has pinned when it ends. The last two are the same user, who has
 * the limit once.
 */
TEST_F(dma, passed_on)
{
	struct client *a = &self->a;
	enum who who;
	pid_t pid;

	for (who = 0; who < WHO_COUNT; who++) {
		pid = fork_child();
		if (!pid)
			child_exit(use_passed(a, who));
		vfio_close(&a->vc);
		EXPECT_EQ(0, child_wait(pid))
			TH_LOG("passed to %d", who);
		ASSERT_TRUE(wait_for(!module_refs("mdev_test_dma")));
		EXPECT_EQ(self->pinned, pages_pinned());
		next_owner(_metadata, a);
	}
}

/* in a child, which waits to be killed */
static void open_in_namespaces(struct client *c, int tell)
{
	int ret = 0;

	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mkdir("/tmp/dev", 0700) ||
	    mount("/dev", "/tmp/dev", NULL, MS_BIND | MS_REC, NULL) ||
	    mount("/tmp/dev", "/dev", NULL, MS_MOVE, NULL))
		ret = -errno;
	ret = ret ?: client_open(c);
	if (!ret && pin(c, IOVA, 8, RW) != 8)
		ret = -EIO;
	if (ret)
		c->vc.device = ret;
	if (write(tell, &c->vc.device, sizeof(int)) < 0)
		child_exit(-EPIPE);
	for (;;)
		pause();
}

/*
 * The device's fd is all that is left, of who opened it, and of the mount namespace
 * where it is from. A virtual machine's fd: see mdev_classic.
 */
TEST_F(dma, all_else_is_gone)
{
	struct client *a = &self->a;
	int tell[2], fd;
	pid_t pid;

	vfio_close(&a->vc);
	munmap(a->mem, SIZE);
	a->mem = NULL;
	ASSERT_EQ(0, pipe2(tell, O_CLOEXEC));
	pid = fork_child();
	if (!pid)
		open_in_namespaces(a, tell[1]);
	ASSERT_EQ(sizeof(fd), read(tell[0], &fd, sizeof(fd)));
	ASSERT_LE(0, fd);
	a->vc.device = fd_of(pid, fd);
	ASSERT_LE(0, a->vc.device);
	kill(pid, SIGKILL);
	ASSERT_EQ(-ECANCELED, child_wait(pid));
	close(tell[0]);
	close(tell[1]);
	rmdir("/tmp/dev");

	/* what is pinned is there, more is not */
	EXPECT_EQ(0, fill(a, IOVA, 0x42));
	EXPECT_GT(0, pin(a, IOVA + 8 * PAGE, 1, RW));
	EXPECT_EQ(-EBUSY, mdev_remove(a->uuid));
	EXPECT_EQ(0, unpin(a, IOVA, 8));
	EXPECT_EQ(self->pinned, pages_pinned());
	next_owner(_metadata, a);
}

/*
 * A structure in two pages, one of which is not there: when the kernel comes to it, all
 * of the structure changes, what it has read as well.
 */
#define WORDS	16

struct changing {
	pthread_t thread;
	int uffd;
	char *second;		/* page of two */
	uint32_t seed;
	uint32_t values[24];
	unsigned int changes;
};

static void change(struct changing *c, uint32_t *words, unsigned int n)
{
	while (n--)
		words[n] = c->values[hostile_random(&c->seed) %
				     ARRAY_SIZE(c->values)];
}

static void *changer(void *arg)
{
	static uint32_t page[PAGE_MAX / 4];
	struct changing *c = arg;
	struct uffd_msg msg;

	while (read(c->uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		struct uffdio_copy copy = {
			.dst = (uintptr_t)c->second, .src = (uintptr_t)page,
			.len = PAGE,
		};

		change(c, (uint32_t *)c->second - WORDS, WORDS);
		change(c, page, WORDS);
		c->changes++;
		ioctl(c->uffd, UFFDIO_COPY, &copy);
	}
	return NULL;
}

static int changing_start(struct changing *c)
{
	struct uffdio_register reg = {
		.mode = UFFDIO_REGISTER_MODE_MISSING,
		.range.len = PAGE,
	};
	struct uffdio_api api = { .api = UFFD_API };
	char *mem;

	mem = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	c->second = mem + PAGE;
	memset(mem, 0, PAGE);
	reg.range.start = (uintptr_t)c->second;
	c->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (c->uffd < 0)
		return -errno;
	if (ioctl(c->uffd, UFFDIO_API, &api) ||
	    ioctl(c->uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	return -pthread_create(&c->thread, NULL, changer, c);
}

/* it changes after the first 4 bytes, or 8, or so many */
static void changing_ioctl(struct changing *c, int fd, unsigned int nr)
{
	static const unsigned int cuts[] = { 4, 8, 12, 16, 20, 24, 40 };
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(cuts); i++) {
		for (j = 0; j < 3; j++) {
			madvise(c->second, PAGE, MADV_DONTNEED);
			change(c, (uint32_t *)c->second - WORDS, WORDS);
			/* it is long enough, most likely */
			*(uint32_t *)(c->second - cuts[i]) = 24 + 16 * j;
			ioctl(fd, _IO(VFIO_TYPE, nr), c->second - cuts[i]);
		}
	}
}

TEST_F(dma, changing_ioctls)
{
	struct client *a = &self->a, *b = &self->b;
	const struct {
		int fd;
		unsigned int first;	/* VFIO's 100, iommufd's 128 */
	} targets[] = {
		{ a->vc.device, 100 }, { a->vc.container, 100 },
		{ a->vc.group, 100 }, { a->vc.iommufd, 100 },
		{ a->vc.iommufd, 128 }, { vfio_open_node(b->uuid), 100 },
	};
	struct changing c = {
		.seed = 4,
		/* sizes, flags, addresses, ids and fds */
		.values = {
			0, 1, 2, 3, 4, 8, 16, 20, 24, 32, 40, 48, 64, 4096, 65536,
			IOVA, -1, 1U << 31, 1 << 16, 1 << 17,
			(uintptr_t)a->mem, (uintptr_t)a->mem >> 32,
			a->vc.iommufd, a->vc.container,
		},
	};
	struct client next = {};
	unsigned int i, nr;

	if (!file_exists("/proc/sys/vm/unprivileged_userfaultfd"))
		SKIP(return, "no userfaultfd in this kernel");
	ASSERT_EQ(0, changing_start(&c));
	uuid_next(next.uuid);
	ASSERT_EQ(0, mdev_create(TYPE, next.uuid));
	ASSERT_EQ(0, client_open(&next));
	ASSERT_EQ(4, pin(&next, IOVA, 4, RW));
	ASSERT_EQ(4, pin(a, IOVA, 4, RW));
	for (i = 0; i < ARRAY_SIZE(targets); i++)
		for (nr = targets[i].first; targets[i].fd >= 0 &&
		     nr < targets[i].first + 24; nr++)
			changing_ioctl(&c, targets[i].fd, nr);
	TH_LOG("%u changes", c.changes);
	EXPECT_LT(20, c.changes);
	close(targets[5].fd);
	EXPECT_EQ(0, fill(&next, IOVA, 0x42));
	EXPECT_TRUE(all(next.mem, 4 * PAGE, 0x42));
	vfio_close(&next.vc);
	munmap(next.mem, SIZE);
	EXPECT_EQ(0, mdev_remove(next.uuid));
	next_owner(_metadata, a);
}

/* ---- Kinds of memory ---- */

/* of a huge page, or 2 MiB where there are none */
static size_t huge_size(void)
{
	static size_t size;
	char text[4096];
	const char *line = NULL;

	if (!size && file_read(text, sizeof(text), "/proc/meminfo") > 0)
		line = strstr(text, "\nHugepagesize:");
	if (!size)
		size = line ? strtoul(strchr(line, ':') + 1, NULL, 10) << 10 : 2 << 20;
	return size;
}

static bool huge_offered(void)
{
	return dir_count("/sys/kernel/mm/hugepages") > 0;
}

#define HUGE	huge_size()

struct kind {
	const char *name;
	/* what it is mapped from: an fd to be closed, or -1 */
	int (*file)(void);
	int flags;
	/* take it away; what is there of it from then on, or NULL */
	unsigned char *(*take)(unsigned char *mem, int fd);
};

static int no_file(void)
{
	return -1;
}

static int memory_file(void)
{
	int fd = memfd_create("mdev", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, HUGE)) {
		close(fd);
		return -1;
	}
	return fd;
}

static pid_t forked;
static int forked_go[2];

/* What the child has is what was there, whatever the device writes from now on. */
static unsigned char *take_fork(unsigned char *mem, int fd)
{
	char byte;

	if (pipe(forked_go))
		return NULL;
	forked = fork_child();
	if (!forked) {
		close(forked_go[1]);
		if (read(forked_go[0], &byte, 1) != 1)
			child_exit(-EPIPE);
		child_exit(all(mem, 16 * PAGE, 0xa5) ? 0 : -EBADMSG);
	}
	memset(mem, 0x66, HUGE);
	return mem;
}

static int fork_end(void)
{
	int ret = write(forked_go[1], "", 1) == 1 ? 0 : -EPIPE;

	close(forked_go[0]);
	close(forked_go[1]);
	return child_wait(forked) ?: ret;
}

static unsigned char *take_truncate(unsigned char *mem, int fd)
{
	return ftruncate(fd, 0) ? mem : NULL;
}

static unsigned char *take_punch(unsigned char *mem, int fd)
{
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE);
	return mem;
}

static unsigned char *take_by_advice(unsigned char *mem, int advice)
{
	madvise(mem, HUGE, advice);
	return mem;
}

static unsigned char *take_remove(unsigned char *mem, int fd)
{
	return take_by_advice(mem, MADV_REMOVE);
}

static unsigned char *take_dontneed(unsigned char *mem, int fd)
{
	return take_by_advice(mem, MADV_DONTNEED);
}

static unsigned char *take_free(unsigned char *mem, int fd)
{
	return take_by_advice(mem, MADV_FREE);
}

static unsigned char *take_pageout(unsigned char *mem, int fd)
{
	return take_by_advice(mem, MADV_PAGEOUT);
}

static unsigned char *take_mremap(unsigned char *mem, int fd)
{
	mem = mremap(mem, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, mem + 2 * HUGE);
	munmap(mem, HUGE);
	return NULL;
}

static unsigned char *take_munmap(unsigned char *mem, int fd)
{
	munmap(mem, HUGE);
	return NULL;
}

static unsigned char *take_replace(unsigned char *mem, int fd)
{
	return mmap(mem, HUGE, PROT_READ | PROT_WRITE,
		    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static unsigned char *take_protect(unsigned char *mem, int fd)
{
	mprotect(mem, HUGE, PROT_NONE);
	return NULL;
}

#define PRIVATE	(MAP_PRIVATE | MAP_ANONYMOUS)
#define SHARED	(MAP_SHARED | MAP_ANONYMOUS)

static const struct kind kinds[] = {
	{ "unmapped", no_file, PRIVATE, take_munmap },
	{ "unmapped, shared", no_file, SHARED, take_munmap },
	{ "replaced", no_file, PRIVATE, take_replace },
	{ "forked", no_file, PRIVATE, take_fork },
	{ "moved", no_file, PRIVATE, take_mremap },
	{ "protected", no_file, PRIVATE, take_protect },
	{ "not needed", no_file, PRIVATE, take_dontneed },
	{ "free", no_file, PRIVATE, take_free },
	{ "paged out", no_file, PRIVATE, take_pageout },
	{ "removed", no_file, SHARED, take_remove },
	{ "a file's, truncated", memory_file, MAP_SHARED, take_truncate },
	{ "a file's, truncated, private", memory_file, MAP_PRIVATE, take_truncate },
	{ "a file's, a hole punched", memory_file, MAP_SHARED, take_punch },
	{ "a file's, removed", memory_file, MAP_SHARED, take_remove },
	{ "huge, unmapped", no_file, PRIVATE | MAP_HUGETLB, take_munmap },
	{ "huge, not needed", no_file, PRIVATE | MAP_HUGETLB, take_dontneed },
	{ "huge, forked", no_file, PRIVATE | MAP_HUGETLB, take_fork },
	{ "huge, shared, removed", no_file, SHARED | MAP_HUGETLB, take_remove },
};

/* At a huge page's boundary, with room behind it. */
static unsigned char *kind_map(const struct kind *kind, int fd)
{
	unsigned char *mem;

	mem = mmap(NULL, 5 * HUGE, PROT_NONE, PRIVATE, -1, 0);
	if (mem == MAP_FAILED)
		return mem;
	mem += -(uintptr_t)mem & (HUGE - 1);
	return mmap(mem, HUGE, PROT_READ | PROT_WRITE, kind->flags | MAP_FIXED, fd,
		    0);
}

/*
 * What is pinned stays the device's, whatever its owner does to the memory; what is
 * pinned afterwards is what the owner then has there.
 */
static void use_kind(struct __test_metadata *_metadata, struct client *c,
		     const struct kind *kind)
{
	/* type1 has one page at an address, as long as that is pinned */
	const uint64_t second = IOVA + 32 * PAGE;
	unsigned char *mem, *left, *others;
	long pinned = pages_pinned();
	int fd = kind->file(), ret;

	mem = kind_map(kind, fd);
	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 0, HUGE);
	ASSERT_EQ(0, vfio_dma_map(&c->vc, mem, IOVA, HUGE, true));
	ASSERT_EQ(16, pin(c, IOVA, 16, RW));
	ASSERT_EQ(0, fill(c, IOVA, 0xa5));
	ASSERT_TRUE(all(mem, 16 * PAGE, 0xa5));

	left = kind->take(mem, fd);
	ret = pin(c, second, 4, RW);
	EXPECT_TRUE(left ? ret == 4 : ret < 0)
		TH_LOG("%d", ret);
	if (left) {
		EXPECT_EQ(0, fill(c, second, 0x77));
		EXPECT_TRUE(all(left + 32 * PAGE, 4 * PAGE, 0x77));
	}
	if (ret > 0)
		EXPECT_EQ(0, unpin(c, second, 4));

	/* they may get the addresses as well, but not these pages */
	others = others_alloc();
	ASSERT_NE(NULL, others);
	EXPECT_EQ(0, fill(c, IOVA, 0x5a));
	EXPECT_EQ(0, others_hit(others));
	if (kind->take == take_fork) {
		/* the parent's is the device's */
		EXPECT_TRUE(all(mem, 16 * PAGE, 0x5a));
		EXPECT_EQ(0, fork_end());
	}
	EXPECT_EQ(0, unpin(c, IOVA, 16));
	EXPECT_EQ(pinned, pages_pinned());
	EXPECT_EQ(c->locked, memory_locked());
	EXPECT_EQ(0, vfio_dma_unmap(&c->vc, IOVA, HUGE));
	others_free(others);
	munmap(mem, HUGE);
	close(fd);
}

/* two for a fork */
static bool has_huge_pages(void)
{
	file_write("8", "/proc/sys/vm/nr_hugepages");
	return file_read_int("/proc/sys/vm/nr_hugepages") >= 2;
}

TEST_F(dma, kinds_of_memory)
{
	bool huge = has_huge_pages();
	struct client *a = &self->a;
	unsigned int i;

	ASSERT_EQ(0, vfio_dma_unmap(&a->vc, IOVA, SIZE));
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i].flags & MAP_HUGETLB && !huge)
			continue;
		use_kind(_metadata, a, &kinds[i]);
		ASSERT_TRUE(__test_passed(_metadata))
			TH_LOG("memory that is %s", kinds[i].name);
	}
	file_write("0", "/proc/sys/vm/nr_hugepages");
	EXPECT_EQ(huge_offered(), huge);
	if (!huge)
		printf("# without huge pages: this machine has none\n");
}

/* ---- Memory that somebody pays for ---- */

#define CGROUPS	"/tmp/mdev_cgroups"
#define CGROUP	CGROUPS "/tenant"
#define PINNED	256		/* pages */
#define LOT	(2 * PINNED * PAGE)

static long cgroup_current(void)
{
	return file_read_int(CGROUP "/memory.current");
}

/* in a child; 0, or what is wrong */
static int use_under_pressure(struct client *c)
{
	const size_t size = 4 * LOT;
	unsigned char *mem, *scratch;
	char text[32];
	size_t at;
	int i, ret;

	ret = file_write("0", CGROUP "/cgroup.procs");
	if (ret)
		return ret;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, PRIVATE, -1, 0);
	scratch = mmap(NULL, LOT, PROT_READ | PROT_WRITE, PRIVATE, -1, 0);
	if (mem == MAP_FAILED || scratch == MAP_FAILED)
		return -ENOMEM;
	madvise(mem, size, MADV_NOHUGEPAGE);
	madvise(scratch, LOT, MADV_NOHUGEPAGE);
	memset(mem, 0x66, size);
	ret = client_open(c) ?: vfio_dma_map(&c->vc, mem, 2 * IOVA, size, true);
	if (ret)
		return ret;
	if (pin(c, 2 * IOVA, PINNED, RW) != PINNED)
		return -EIO;
	ret = fill(c, 2 * IOVA, 0xa5);
	if (ret)
		return ret;

	/* all of it may be taken away, and is, as far as it can be */
	madvise(mem, size, MADV_FREE);
	snprintf(text, sizeof(text), "%zu", 2 * size);
	file_write(text, CGROUP "/memory.reclaim");
	for (at = PINNED * PAGE; at < size && !mem[at]; at += PAGE)
		;
	if (at < size) {
		fprintf(stderr, "# nothing was reclaimed, at %zu\n", at);
		return -ENODATA;
	}
	/* and from now on what is pinned is nearly all that is allowed */
	snprintf(text, sizeof(text), "%llu", (unsigned long long)LOT);
	ret = file_write(text, CGROUP "/memory.high");
	for (i = 0; !ret && i < 20; i++) {
		memset(scratch, i, LOT / 2);
		madvise(scratch, LOT / 2, MADV_FREE);
		if (pin(c, IOVA, 16, RW) != 16)
			return -EIO;
		ret = fill(c, 2 * IOVA, i) ?: unpin(c, IOVA, 16);
		if (!ret && !all(mem, PINNED * PAGE, i))
			ret = -EBADMSG;
	}
	return ret;
}

static int cgroup_make(void)
{
	mkdir(CGROUPS, 0700);
	if (mount("mdev", CGROUPS, "cgroup2", 0, NULL))
		return -errno;
	if (file_write("+memory", CGROUPS "/cgroup.subtree_control")) {
		umount(CGROUPS);
		return -ENODEV;
	}
	return mkdir(CGROUP, 0700) ? -errno : 0;
}

/* What is pinned is not reclaimed, and is paid back when its owner is gone. */
TEST_F(dma, memory_is_reclaimed)
{
	struct client *b = &self->b;
	pid_t pid;
	int ret;

	ret = cgroup_make();
	if (ret == -ENODEV)
		SKIP(return, "no control group for memory in this kernel");
	ASSERT_EQ(0, ret);
	pid = fork_child();
	if (!pid) {
		/* the test's own device is not the child's */
		vfio_close(&self->a.vc);
		child_exit(use_under_pressure(b));
	}
	EXPECT_EQ(0, child_wait(pid));
	EXPECT_TRUE(wait_for(pages_pinned() == self->pinned));
	/* but for what processors have in stock */
	EXPECT_TRUE(wait_for(cgroup_current() < (long)(PINNED * PAGE / 2)));
	EXPECT_EQ(0, rmdir(CGROUP));
	umount(CGROUPS);
	rmdir(CGROUPS);
}

TEST_HARNESS_MAIN
