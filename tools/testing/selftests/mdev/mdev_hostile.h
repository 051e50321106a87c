/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a hostile owner does to a device of any vendor, and all that the next owner can
 * look at.
 */
#ifndef MDEV_HOSTILE_H
#define MDEV_HOSTILE_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "mdev_util.h"

#define HOSTILE_PAGE	4096

/* What a device shows. Two that were just opened show the same. */
struct snapshot {
	size_t size;
	char *data;
};

/* room for more, which is zero */
static inline char *snapshot_more(struct snapshot *s, size_t size)
{
	char *data = realloc(s->data, s->size + size);

	if (!data)
		return NULL;
	s->data = data;
	data += s->size;
	s->size += size;
	return memset(data, 0, size);
}

static inline int snapshot_add(struct snapshot *s, const void *data, size_t size)
{
	char *to = snapshot_more(s, size);

	if (!to)
		return -ENOMEM;
	memcpy(to, data, size);
	return 0;
}

/* By reading, and as it is mapped. Of the one or the other the beginning is enough. */
static inline int snapshot_region(struct snapshot *s, int fd, unsigned int index)
{
	struct vfio_region_info info;
	int ret = vfio_region(fd, index, &info);
	bool mapped = !ret && info.flags & VFIO_REGION_INFO_FLAG_MMAP;
	char *to;
	void *mem;

	if (snapshot_add(s, &ret, sizeof(ret)))
		return -ENOMEM;
	if (ret)
		return 0;
	if (!mapped && info.size > HOSTILE_PAGE)
		info.size = HOSTILE_PAGE;
	to = snapshot_more(s, info.size);
	if (!to)
		return -ENOMEM;
	if (info.size && vfio_read(fd, to, info.size, info.offset) !=
			 (ssize_t)info.size)
		return -EIO;
	if (!mapped)
		return 0;
	mem = mmap(NULL, HOSTILE_PAGE, PROT_READ, MAP_SHARED, fd, info.offset);
	if (mem == MAP_FAILED)
		return -errno;
	ret = snapshot_add(s, mem, HOSTILE_PAGE);
	munmap(mem, HOSTILE_PAGE);
	return ret;
}

/* Nobody is told of an interrupt, so that it can't be tested. */
static inline int snapshot_irq(struct snapshot *s, int fd, unsigned int index)
{
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };
	int ret[] = {
		vfio_ioctl(fd, VFIO_DEVICE_GET_IRQ_INFO, &info),
		vfio_set_irqs(fd, VFIO_IRQ_SET_ACTION_TRIGGER |
			      VFIO_IRQ_SET_DATA_NONE, index, 0, 1, NULL),
	};

	return snapshot_add(s, ret, sizeof(ret)) ?:
	       snapshot_add(s, &info, sizeof(info));
}

struct hostile_mig {
	struct vfio_device_feature feature;
	struct vfio_device_feature_mig_state state;
};

/* the state of its migration, or what keeps it from having one */
static inline int hostile_migrate(int fd, struct hostile_mig *mig, uint32_t flags,
				  uint32_t state)
{
	*mig = (struct hostile_mig) {
		.feature.argsz	= sizeof(*mig),
		.feature.flags	= flags | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
		.state.device_state = state,
		.state.data_fd	= -1,
	};
	return vfio_ioctl(fd, VFIO_DEVICE_FEATURE, mig);
}

static inline int snapshot_take(struct snapshot *s, int fd)
{
	struct vfio_device_gfx_plane_info plane = {
		.argsz = sizeof(plane), .flags = VFIO_GFX_PLANE_TYPE_REGION,
	};
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct hostile_mig mig;
	unsigned int i;
	int ret;

	*s = (struct snapshot){};
	ret = vfio_ioctl(fd, VFIO_DEVICE_GET_INFO, &info) ?:
	      snapshot_add(s, &info, sizeof(info));
	for (i = 0; !ret && i < info.num_regions; i++)
		ret = snapshot_region(s, fd, i);
	for (i = 0; !ret && i < info.num_irqs; i++)
		ret = snapshot_irq(s, fd, i);
	if (ret)
		return ret;
	ret = hostile_migrate(fd, &mig, VFIO_DEVICE_FEATURE_GET, 0);
	if (snapshot_add(s, &ret, sizeof(ret)) || snapshot_add(s, &mig, sizeof(mig)))
		return -ENOMEM;
	ret = vfio_ioctl(fd, VFIO_DEVICE_QUERY_GFX_PLANE, &plane);
	return snapshot_add(s, &ret, sizeof(ret)) ?:
	       snapshot_add(s, &plane, sizeof(plane));
}

static inline void snapshot_free(struct snapshot *s)
{
	free(s->data);
	*s = (struct snapshot){};
}

/* does it still show the same? */
static inline int snapshot_check(const struct snapshot *before, int fd)
{
	struct snapshot now;
	size_t i;
	int ret = snapshot_take(&now, fd);

	if (!ret && now.size != before->size)
		ret = -EMSGSIZE;
	if (!ret && memcmp(now.data, before->data, now.size)) {
		for (i = 0; now.data[i] == before->data[i]; i++)
			;
		fprintf(stderr, "# byte %zu is %#hhx instead of %#hhx\n", i,
			now.data[i], before->data[i]);
		ret = -EBADMSG;
	}
	snapshot_free(&now);
	return ret;
}

static inline uint32_t hostile_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static inline void hostile_region(int fd, unsigned int index, uint32_t *seed)
{
	struct vfio_region_info info;
	uint64_t junk;
	size_t at;
	char *mem;
	int i;

	if (vfio_region(fd, index, &info) || !info.size)
		return;
	mem = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   info.offset);
	if (mem != MAP_FAILED) {
		for (at = 0; at < info.size; at += 16 * HOSTILE_PAGE)
			memset(mem + at, 0xa5, HOSTILE_PAGE);
		munmap(mem, info.size);
	}
	/* most registers are at the beginning */
	for (i = 0; i < 256; i++) {
		junk = (uint64_t)hostile_random(seed) << 32 | hostile_random(seed);
		vfio_write(fd, &junk, 1U << (i & 3),
			   info.offset + hostile_random(seed) %
			   (i & 4 || info.size < 256 ? info.size : 256));
	}
}

/*
 * Leave the device in whatever state it can be in. What would keep it in one is returned,
 * an fd, or -1.
 */
static inline int hostile_spoil(int fd, uint32_t *seed)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct hostile_mig mig;
	int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	unsigned int i;

	vfio_ioctl(fd, VFIO_DEVICE_GET_INFO, &info);
	for (i = 0; i < info.num_irqs; i++)
		vfio_set_irqs(fd, VFIO_IRQ_SET_ACTION_TRIGGER |
			      VFIO_IRQ_SET_DATA_EVENTFD, i, 0, 1, &efd);
	for (i = 0; i < info.num_regions; i++)
		hostile_region(fd, i, seed);
	vfio_set_irqs(fd, VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_DATA_NONE, 0, 0,
		      1, NULL);
	hostile_migrate(fd, &mig, VFIO_DEVICE_FEATURE_SET,
			hostile_random(seed) % 2 ? VFIO_DEVICE_STATE_STOP_COPY :
						   VFIO_DEVICE_STATE_RESUMING);
	close(efd);
	return mig.state.data_fd;
}

/* In a child, until it is killed: to a device that nobody has open. */
static inline void __noreturn hostile_rage(const char *uuid)
{
	struct vfio_client vc;
	uint32_t seed = 3;
	int i, ret;

	while (!(ret = vfio_open(&vc, uuid))) {
		for (i = 0; i < 4; i++) {
			close(hostile_spoil(vc.device, &seed));
			vfio_ioctl(vc.device, VFIO_DEVICE_RESET, NULL);
		}
		close(hostile_spoil(vc.device, &seed));
		vfio_close(&vc);
	}
	child_exit(ret);
}

#endif /* MDEV_HOSTILE_H */
