/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a VMM does to migrate a device of VFIO: VFIO_DEVICE_FEATURE, and the stream.
 */
#ifndef MDEV_MIGRATION_H
#define MDEV_MIGRATION_H

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include <linux/vfio.h>

#include "mdev_util.h"

#define ERROR		VFIO_DEVICE_STATE_ERROR
#define STOP		VFIO_DEVICE_STATE_STOP
#define RUNNING		VFIO_DEVICE_STATE_RUNNING
#define STOP_COPY	VFIO_DEVICE_STATE_STOP_COPY
#define RESUMING	VFIO_DEVICE_STATE_RESUMING
#define RUNNING_P2P	VFIO_DEVICE_STATE_RUNNING_P2P
#define PRE_COPY	VFIO_DEVICE_STATE_PRE_COPY
#define PRE_COPY_P2P	VFIO_DEVICE_STATE_PRE_COPY_P2P
#define STATES		8

#define GET	VFIO_DEVICE_FEATURE_GET
#define SET	VFIO_DEVICE_FEATURE_SET
#define PROBE	VFIO_DEVICE_FEATURE_PROBE

static inline int feature_sized(int fd, uint32_t flags, void *data, size_t size,
				uint32_t argsz)
{
	char buf[sizeof(struct vfio_device_feature) + 64] = {};
	struct vfio_device_feature *feature = (void *)buf;
	int ret;

	feature->argsz = argsz;
	feature->flags = flags;
	memcpy(feature->data, data, size);
	ret = vfio_ioctl(fd, VFIO_DEVICE_FEATURE, feature);
	memcpy(data, feature->data, size);
	return ret;
}

static inline int feature(int fd, uint32_t flags, void *data, size_t size)
{
	return feature_sized(fd, flags, data, size,
			     sizeof(struct vfio_device_feature) + size);
}

static inline int probe(int fd, uint32_t flags)
{
	return feature(fd, PROBE | flags, NULL, 0);
}

/* 0 and a file or -1 in @file, or an errno */
static inline int set_state(int fd, uint32_t state, int *file)
{
	struct vfio_device_feature_mig_state mig = { .device_state = state };
	int ret;

	ret = feature(fd, SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig,
		      sizeof(mig));
	*file = ret ? -1 : mig.data_fd;
	return ret;
}

/* without a file, or it is an error */
static inline int set(int fd, uint32_t state)
{
	int file, ret;

	ret = set_state(fd, state, &file);
	if (file < 0)
		return ret;
	close(file);
	return -EEXIST;
}

/* with a file, or it is an error */
static inline int open_stream(int fd, uint32_t state)
{
	int file, ret;

	ret = set_state(fd, state, &file);
	return ret ?: file >= 0 ? file : -ENOENT;
}

static inline int state_of(int fd)
{
	struct vfio_device_feature_mig_state mig = {};
	int ret;

	ret = feature(fd, GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig,
		      sizeof(mig));
	return ret ?: mig.data_fd == -1 ? (int)mig.device_state : -EEXIST;
}

static inline int reset(int fd)
{
	return vfio_ioctl(fd, VFIO_DEVICE_RESET, NULL);
}

static inline int read_some(int file, void *buf, size_t size)
{
	ssize_t ret = read(file, buf, size);

	return ret < 0 ? -errno : ret;
}

static inline int write_some(int file, const void *buf, size_t size)
{
	ssize_t ret = write(file, buf, size);

	return ret < 0 ? -errno : ret;
}

/* up to the end; @step bytes at a time */
static inline int read_all(int file, void *buf, size_t size, size_t step)
{
	size_t done = 0;
	int ret;

	while (done < size) {
		ret = read_some(file, buf + done,
				step < size - done ? step : size - done);
		if (ret < 0)
			return ret;
		if (!ret)
			break;
		done += ret;
	}
	return done;
}

static inline int events(int file, int ms)
{
	struct pollfd pfd = { .fd = file, .events = POLLIN | POLLOUT };

	return poll(&pfd, 1, ms) < 0 ? -errno : pfd.revents;
}

static inline int precopy_info(int file, struct vfio_precopy_info *info)
{
	memset(info, 0xff, sizeof(*info));
	info->argsz = sizeof(*info);
	return vfio_ioctl(file, VFIO_MIG_GET_PRECOPY_INFO, info);
}

#endif
