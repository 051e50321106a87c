/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A client of the vendor mdev_test_dma, with memory that the device may use.
 */
#ifndef MDEV_DMA_H
#define MDEV_DMA_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "mdev_util.h"
#include "test_modules/mdev_test_dma.h"

#define TYPE	"mdev_test_dma/platform-dma"
#define PAGES	64
#define SIZE	(PAGES * PAGE)
#define IOVA	0x10000000ULL
#define R	1
#define RW	3
#define DMA_PARAM	"/sys/module/mdev_test_dma/parameters/"
#define SLOW_MS		DMA_PARAM "slow_ms"

struct client {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
	unsigned char *mem;
	long locked;
};

/* in KiB; VFIO accounts for pinned memory in the one or the other */
static inline long memory_locked(void)
{
	static const char * const names[] = { "\nVmPin:", "\nVmLck:" };
	char status[4096], *line;
	long kib = 0;
	int ret, i;

	ret = file_read(status, sizeof(status), "/proc/self/status");
	for (i = 0; ret > 0 && i < 2; i++) {
		line = strstr(status, names[i]);
		kib += line ? atol(line + strlen(names[i])) : 0;
	}
	return kib;
}

/*
 * How many pages of the host are pinned, by whomever. What the bridge keeps for a vendor
 * is not.
 */
static inline long pages_pinned(void)
{
	static const char * const names[] = {
		"\nnr_foll_pin_acquired ", "\nnr_foll_pin_released ",
	};
	static char stat[16384];
	char *line[2];
	int i;

	/* processors have a count of their own otherwise */
	if (file_write("1", "/proc/sys/vm/stat_refresh") ||
	    file_read(stat, sizeof(stat), "/proc/vmstat") < 0)
		return -EIO;
	for (i = 0; i < 2; i++) {
		line[i] = strstr(stat, names[i]);
		if (!line[i])
			return -ENOENT;
	}
	return atol(line[0] + strlen(names[0])) - atol(line[1] + strlen(names[1]));
}

/* Drop what lets root lock as much as it likes. */
static inline int limit_memory(rlim_t bytes)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct caps[2];
	struct rlimit limit = { bytes, bytes };

	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		return -errno;
	if (syscall(SYS_capget, &head, caps))
		return -errno;
	caps[0].effective &= ~(1U << CAP_IPC_LOCK | 1U << CAP_SYS_RESOURCE);
	return syscall(SYS_capset, &head, caps) ? -errno : 0;
}

static inline int client_open(struct client *c)
{
	int ret;

	c->locked = memory_locked();
	c->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (c->mem == MAP_FAILED)
		return -errno;
	ret = vfio_open(&c->vc, c->uuid);
	if (ret)
		return ret;
	return vfio_dma_map(&c->vc, c->mem, IOVA, SIZE, true);
}

static inline int range(struct client *c, unsigned long cmd, uint64_t iova,
			int npage, int prot)
{
	struct test_dma_range r = { .iova = iova, .npage = npage, .prot = prot };

	return vfio_ioctl(c->vc.device, cmd, &r);
}

static inline int pin(struct client *c, uint64_t iova, int npage, int prot)
{
	return range(c, TEST_DMA_PIN, iova, npage, prot);
}

static inline int unpin(struct client *c, uint64_t iova, int npage)
{
	return range(c, TEST_DMA_UNPIN, iova, npage, 0);
}

static inline int fill(struct client *c, uint64_t iova, unsigned char byte)
{
	struct test_dma_fill f = { .iova = iova, .byte = byte };

	return vfio_ioctl(c->vc.device, TEST_DMA_FILL, &f);
}

static inline int dma_rw(struct client *c, uint64_t iova, void *buf, size_t len,
			 bool write)
{
	struct test_dma_rw rw = {
		.iova = iova, .addr = (uintptr_t)buf, .len = len, .write = write,
	};

	return vfio_ioctl(c->vc.device, TEST_DMA_RW, &rw);
}

static inline int forget(struct client *c, unsigned long what)
{
	return vfio_ioctl(c->vc.device, TEST_DMA_FORGET, (void *)what);
}

static inline struct test_dma_unmaps unmaps(struct client *c)
{
	struct test_dma_unmaps u = { .count = -1U };

	vfio_ioctl(c->vc.device, TEST_DMA_UNMAPS, &u);
	return u;
}

static inline bool all(const unsigned char *mem, size_t size, unsigned char byte)
{
	return mem[0] == byte && !memcmp(mem, mem + 1, size - 1);
}

/*
 * Memory of others, which takes whatever pages are free. How many of them were
 * written to by somebody else?
 */
#define OTHERS	(8UL << 20)

static inline unsigned char *others_alloc(void)
{
	unsigned char *mem;

	mem = mmap(NULL, OTHERS, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return NULL;
	madvise(mem, OTHERS, MADV_NOHUGEPAGE);
	return memset(mem, 0x11, OTHERS);
}

static inline int others_hit(const unsigned char *mem)
{
	size_t at;
	int n = 0;

	for (at = 0; at < OTHERS; at += PAGE)
		n += mem[at] != 0x11;
	return n;
}

static inline void others_free(unsigned char *mem)
{
	munmap(mem, OTHERS);
}

#endif /* MDEV_DMA_H */
