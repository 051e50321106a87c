// SPDX-License-Identifier: GPL-2.0-only
/*
 * Live migration of a vendor that speaks the first protocol, mdev_test_v1: user space
 * speaks the second one, does not see the vendor's region, and gets an error, not more,
 * for all that the vendor does wrong.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/vfio.h>

#include "../kselftest_harness.h"
#include "mdev_hostile.h"
#include "mdev_migration.h"
#include "mdev_util.h"
#include "test_modules/mdev_test_v1.h"

#define TYPE	"mdev_test_v1/mdev_test_v1-1"
#define FAIL	"/sys/module/mdev_test_v1/parameters/fail"

/* a piece in the stream: its length, two numbers, the data */
#define PIECE		(8 + 8 + TEST_V1_PIECE)
#define STREAM_MAX	((2 * TEST_V1_PIECES + 4) * PIECE)
#define STREAM		(8 + TEST_V1_PIECES * PIECE + 8)

struct dev {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
	int fd;
	off_t bar;
};

static int dev_open(struct dev *dev)
{
	struct vfio_region_info info;
	int ret;

	ret = vfio_open(&dev->vc, dev->uuid);
	if (ret)
		return ret;
	dev->fd = dev->vc.device;
	ret = vfio_region(dev->fd, 0, &info);
	dev->bar = info.offset;
	return ret;
}

static uint32_t reg(struct dev *dev, unsigned int where)
{
	uint32_t val = 0;

	if (vfio_read(dev->fd, &val, sizeof(val), dev->bar + where) != sizeof(val))
		return UINT32_MAX;
	return le32toh(val);
}

static int set_reg(struct dev *dev, unsigned int where, uint32_t data)
{
	uint32_t val = htole32(data);
	int ret = vfio_write(dev->fd, &val, sizeof(val), dev->bar + where);

	return ret == sizeof(val) ? 0 : ret;
}

static int fails(int how)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", how);
	return file_write(text, FAIL);
}

FIXTURE(v1) {
	struct dev a, b;
	uint8_t *stream;
};

FIXTURE_VARIANT(v1) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(v1, group) {
};

FIXTURE_VARIANT_ADD(v1, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(v1)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mdev_test_v1"));
	self->stream = malloc(STREAM_MAX);
	ASSERT_NE(NULL, self->stream);
	uuid_next(self->a.uuid);
	uuid_next(self->b.uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->a.uuid));
	ASSERT_EQ(0, mdev_create(TYPE, self->b.uuid));
	ASSERT_EQ(0, dev_open(&self->a));
	ASSERT_EQ(0, dev_open(&self->b));
	ASSERT_EQ(0, set_reg(&self->a, TEST_V1_SEED, 1234));
}

FIXTURE_TEARDOWN(v1)
{
	if (!self->stream)
		return;
	fails(0);
	vfio_close(&self->a.vc);
	vfio_close(&self->b.vc);
	EXPECT_EQ(0, mdev_remove(self->a.uuid));
	EXPECT_EQ(0, mdev_remove(self->b.uuid));
	EXPECT_EQ(0, vendors_reset());
	free(self->stream);
}

/* Returns the length of the stream, or an errno; the device is in STOP_COPY. */
static int save(struct dev *dev, uint8_t *stream, size_t step)
{
	int file, ret;

	file = open_stream(dev->fd, STOP_COPY);
	if (file < 0)
		return file;
	ret = read_all(file, stream, STREAM_MAX, step);
	close(file);
	return ret;
}

/* Returns 0 if the device is in RUNNING then, or an errno of the write or the change. */
static int load(struct dev *dev, const uint8_t *stream, size_t size, size_t step)
{
	size_t done, n;
	int file, ret = 0;

	file = open_stream(dev->fd, RESUMING);
	if (file < 0)
		return file;
	for (done = 0; done < size && ret >= 0; done += ret) {
		n = size - done < step ? size - done : step;
		ret = write_some(file, stream + done, n);
	}
	close(file);
	return ret < 0 ? ret : set(dev->fd, RUNNING);
}

/* A VMM sees a device that migrates, and an empty region. */
TEST_F(v1, offered)
{
	struct vfio_device_feature_migration mig = {};
	struct vfio_region_info info;
	uint64_t want = VFIO_MIGRATION_STOP_COPY;
	struct dev *a = &self->a;

	if (linux_since(6, 2))
		want |= VFIO_MIGRATION_PRE_COPY;
	EXPECT_EQ(0, feature(a->fd, GET | VFIO_DEVICE_FEATURE_MIGRATION, &mig, sizeof(mig)));
	EXPECT_EQ(want, mig.flags);
	EXPECT_EQ(RUNNING, state_of(a->fd));

	EXPECT_EQ(0, vfio_region(a->fd, TEST_V1_REGION, &info));
	EXPECT_EQ(0, info.size);
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(0, vfio_region(a->fd, TEST_V1_REGION - 1, &info));
	EXPECT_EQ(0, vfio_region(a->fd, VFIO_PCI_CONFIG_REGION_INDEX, &info));
	EXPECT_EQ(256, info.size);
	EXPECT_EQ(-EINVAL, vfio_region(a->fd, TEST_V1_REGION + 1, &info));
	info.argsz = 8;
	info.index = TEST_V1_REGION;
	EXPECT_EQ(-EINVAL, vfio_ioctl(a->fd, VFIO_DEVICE_GET_REGION_INFO, &info));
	EXPECT_EQ(-EINVAL, set(a->fd, ERROR));
	EXPECT_EQ(0, set(a->fd, RUNNING));
}

/* The vendor refuses ways that no VMM of its time took. */
TEST_F(v1, every_way)
{
	static const uint32_t way[] = {
		STOP, RUNNING, STOP, STOP_COPY, STOP, RUNNING, STOP_COPY, RUNNING,
		PRE_COPY, RUNNING, PRE_COPY, STOP_COPY, STOP, STOP_COPY, RUNNING, PRE_COPY,
		STOP_COPY, RUNNING, PRE_COPY, STOP, PRE_COPY, STOP, RUNNING,
	};
	struct dev *a = &self->a;
	uint32_t from = RUNNING;
	int file, ret;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(way); i++) {
		if (way[i] == PRE_COPY && !linux_since(6, 2)) {
			EXPECT_EQ(-EINVAL, set(a->fd, PRE_COPY));
			break;
		}
		ret = set_state(a->fd, way[i], &file);
		EXPECT_EQ(0, ret) TH_LOG("%zu: from %u to %u", i, from, way[i]);
		EXPECT_EQ((way[i] == STOP_COPY && from != PRE_COPY) || way[i] == PRE_COPY,
			  file >= 0);
		if (file >= 0)
			close(file);
		EXPECT_EQ((int)way[i], state_of(a->fd));
		from = way[i];
	}

	/* and with the state of another one, which this is left with only as a whole */
	EXPECT_EQ(STREAM, save(a, self->stream, STREAM_MAX));
	for (i = 0; i < 4; i++) {
		static const uint32_t to[] = { STOP, RUNNING, STOP_COPY, RESUMING };

		file = open_stream(a->fd, RESUMING);
		ASSERT_LE(0, file);
		EXPECT_EQ(i ? -EINVAL : 0, i ? set(a->fd, to[i - 1]) : 0);
		EXPECT_EQ(RESUMING, state_of(a->fd));
		EXPECT_EQ(STREAM, write_some(file, self->stream, STREAM));
		close(file);
		EXPECT_EQ(0, set_state(a->fd, to[i], &file)) TH_LOG("to %u", to[i]);
		if (file >= 0)
			close(file);
		EXPECT_EQ((int)to[i], state_of(a->fd));
		EXPECT_EQ(0, set(a->fd, RUNNING));
	}
}

TEST_F(v1, moves)
{
	static const size_t steps[] = { STREAM_MAX, 1000003, 65536, 4099 };
	struct dev *a = &self->a, *b = &self->b;
	unsigned int i;
	int size;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		ASSERT_EQ(0, set_reg(a, TEST_V1_SEED, 77 + i));
		ASSERT_EQ(0, set_reg(b, TEST_V1_SEED, 1));
		size = save(a, self->stream, steps[i]);
		ASSERT_EQ(STREAM, size);
		EXPECT_EQ(0, set(a->fd, RUNNING));
		EXPECT_EQ(0, memcmp("mdevv1\0\0", self->stream, 8));
		ASSERT_EQ(0, load(b, self->stream, size, steps[i]));
		EXPECT_EQ(77 + i, reg(b, TEST_V1_SEED));
		EXPECT_EQ(reg(a, TEST_V1_SUM), reg(b, TEST_V1_SUM));
	}
}

/* What changes while the device runs comes once more, in the same file. */
TEST_F(v1, pre_copy)
{
	struct dev *a = &self->a, *b = &self->b;
	struct vfio_precopy_info info;
	size_t size = 0;
	int file, ret;

	if (!linux_since(6, 2))
		SKIP(return, "VFIO has no PRE_COPY");
	file = open_stream(a->fd, PRE_COPY);
	ASSERT_LE(0, file);
	EXPECT_EQ(0, precopy_info(file, &info));
	EXPECT_EQ(8, info.initial_bytes);
	EXPECT_EQ(TEST_V1_PIECES * (PIECE - 8), info.dirty_bytes);
	EXPECT_EQ(0, info.flags);
	/* all but the end of it, so that a piece is not read yet as a whole */
	ret = read_all(file, self->stream, STREAM - 8 - 1000, 65536);
	ASSERT_EQ(STREAM - 8 - 1000, ret);
	size = ret;
	EXPECT_EQ(0, precopy_info(file, &info));
	EXPECT_EQ(1000, info.initial_bytes);
	EXPECT_EQ(0, info.dirty_bytes);
	ASSERT_EQ(1000, read_some(file, self->stream + size, 5000));
	size += 1000;
	EXPECT_EQ(-ENOMSG, read_some(file, self->stream + size, 1));

	EXPECT_EQ(0, set_reg(a, TEST_V1_TOUCH, 3));
	EXPECT_EQ(0, set_reg(a, TEST_V1_TOUCH, TEST_V1_PIECES - 1));
	EXPECT_EQ(0, precopy_info(file, &info));
	EXPECT_EQ(2 * (PIECE - 8), info.dirty_bytes);
	ASSERT_EQ(100, read_some(file, self->stream + size, 100));
	size += 100;
	/* once more, in the middle of the piece */
	EXPECT_EQ(0, set_reg(a, TEST_V1_TOUCH, 3));
	ASSERT_EQ(0, set(a->fd, STOP_COPY));
	EXPECT_EQ(-EINVAL, precopy_info(file, &info));
	ret = read_all(file, self->stream + size, STREAM_MAX - size, 65536);
	EXPECT_EQ(3 * PIECE - 100 + 8, ret);
	size += ret;
	EXPECT_EQ(0, read_some(file, self->stream, 1));
	close(file);

	ASSERT_EQ(0, load(b, self->stream, size, 65536));
	EXPECT_EQ(reg(a, TEST_V1_SUM), reg(b, TEST_V1_SUM));
}

/* A stream that is none, or not whole, does not make a device run. */
TEST_F(v1, bad_streams)
{
	struct dev *b = &self->b;
	uint64_t number;
	int size, file;

	size = save(&self->a, self->stream, STREAM_MAX);
	ASSERT_EQ(STREAM, size);

	EXPECT_EQ(-EINVAL, load(b, self->stream, size - 8, 65536));
	EXPECT_EQ(RESUMING, state_of(b->fd));
	EXPECT_EQ(0, reset(b->fd));
	EXPECT_EQ(-EINVAL, load(b, self->stream, 8, 8));
	EXPECT_EQ(0, reset(b->fd));
	EXPECT_EQ(-EINVAL, load(b, self->stream, size - 8 - 1, 65536));
	EXPECT_EQ(0, reset(b->fd));
	for (size = 0; size < 8; size++) {
		EXPECT_EQ(-EINVAL, load(b, self->stream, size, 8));
		EXPECT_EQ(0, reset(b->fd));
	}
	size = STREAM;

	/* after its end */
	self->stream[size] = 0;
	EXPECT_EQ(-EINVAL, load(b, self->stream, size + 1, size));
	EXPECT_EQ(0, reset(b->fd));

	/* another format */
	self->stream[0]++;
	EXPECT_EQ(-EINVAL, load(b, self->stream, size, size));
	EXPECT_EQ(0, reset(b->fd));
	self->stream[0]--;

	/* pieces that are too long, or that the vendor does not take */
	for (number = 65ULL << 20; number; number <<= 8) {
		memcpy(self->stream + 8, &number, 8);
		EXPECT_EQ(-EINVAL, load(b, self->stream, size, 16));
		EXPECT_EQ(0, reset(b->fd));
	}
	number = htole64(PIECE - 8 - 1);
	memcpy(self->stream + 8, &number, 8);
	EXPECT_EQ(-EINVAL, load(b, self->stream, size, 65536));
	EXPECT_EQ(0, reset(b->fd));

	/* and no more after that, though it is right */
	number = htole64(PIECE - 8);
	file = open_stream(b->fd, RESUMING);
	ASSERT_LE(0, file);
	EXPECT_EQ(-EINVAL, write_some(file, "notmine!", 8));
	memcpy(self->stream + 8, &number, 8);
	EXPECT_EQ(-EINVAL, write_some(file, self->stream, size));
	close(file);
	EXPECT_EQ(-EINVAL, set(b->fd, RUNNING));
	EXPECT_EQ(0, reset(b->fd));
	EXPECT_EQ(RUNNING, state_of(b->fd));
	EXPECT_EQ(0, load(b, self->stream, size, size));
	EXPECT_EQ(reg(&self->a, TEST_V1_SUM), reg(b, TEST_V1_SUM));
}

/* Each thing that a vendor can do wrong is an error, and a reset helps. */
TEST_F(v1, vendor_fails)
{
	static const int saving[] = {
		TEST_V1_PENDING, TEST_V1_OFFSET_FAR, TEST_V1_OFFSET_END, TEST_V1_OFFSET_LOW,
		TEST_V1_SIZE_LARGE, TEST_V1_SIZE_WRAPS, TEST_V1_READ, TEST_V1_READ_NONE,
		TEST_V1_READ_NOMSG,
	};
	static const int loading[] = {
		TEST_V1_OFFSET_FAR, TEST_V1_OFFSET_END, TEST_V1_OFFSET_LOW, TEST_V1_WRITE,
		TEST_V1_TAKE,
	};
	struct dev *a = &self->a, *b = &self->b;
	int i, size, file;

	for (i = 0; i < (int)ARRAY_SIZE(saving); i++) {
		ASSERT_EQ(0, fails(saving[i]));
		file = open_stream(a->fd, STOP_COPY);
		ASSERT_LE(0, file);
		EXPECT_EQ(8, read_some(file, self->stream, 100));
		EXPECT_EQ(-EIO, read_some(file, self->stream, 100))
			TH_LOG("saving, %d", saving[i]);
		ASSERT_EQ(0, fails(0));
		/* a piece may be lost now */
		EXPECT_EQ(-EIO, read_some(file, self->stream, 100));
		close(file);
		EXPECT_EQ(0, set(a->fd, RUNNING));
	}
	/* VMMs took this for the end */
	ASSERT_EQ(0, fails(TEST_V1_SIZE_ZERO));
	EXPECT_EQ(16, save(a, self->stream, STREAM_MAX));
	EXPECT_EQ(0, set(a->fd, RUNNING));
	ASSERT_EQ(0, fails(0));
	size = save(a, self->stream, STREAM_MAX);
	ASSERT_EQ(STREAM, size);
	EXPECT_EQ(0, set(a->fd, RUNNING));

	for (i = 0; i < (int)ARRAY_SIZE(loading); i++) {
		ASSERT_EQ(0, fails(loading[i]));
		EXPECT_EQ(-EIO, load(b, self->stream, size, 65536))
			TH_LOG("loading, %d", loading[i]);
		ASSERT_EQ(0, fails(0));
		EXPECT_EQ(-EINVAL, set(b->fd, RUNNING));
		EXPECT_EQ(0, reset(b->fd));
		EXPECT_EQ(RUNNING, state_of(b->fd));
	}

	ASSERT_EQ(0, fails(TEST_V1_STATE));
	EXPECT_EQ(-EIO, set(a->fd, STOP_COPY));
	EXPECT_EQ(RUNNING, state_of(a->fd));
	ASSERT_EQ(0, fails(TEST_V1_ERROR));
	EXPECT_EQ(-EIO, set(a->fd, STOP_COPY));
	EXPECT_EQ(ERROR, state_of(a->fd));
	ASSERT_EQ(0, fails(0));
	EXPECT_EQ(-EINVAL, set(a->fd, RUNNING));
	EXPECT_EQ(0, reset(a->fd));
	EXPECT_EQ(RUNNING, state_of(a->fd));
	ASSERT_EQ(STREAM, save(a, self->stream, STREAM_MAX));
	EXPECT_EQ(0, set(a->fd, RUNNING));
	EXPECT_EQ(0, load(b, self->stream, STREAM, 65536));
	EXPECT_EQ(reg(a, TEST_V1_SUM), reg(b, TEST_V1_SUM));

	/* VMMs never read or wrote more than 8 bytes at once */
	ASSERT_EQ(0, set_reg(a, TEST_V1_TOUCH, 1));
	ASSERT_EQ(0, fails(TEST_V1_SMALL));
	size = save(a, self->stream, STREAM_MAX);
	ASSERT_EQ(8 + TEST_V1_SMALL_PIECES * PIECE + 8, size);
	EXPECT_EQ(0, set(a->fd, RUNNING));
	EXPECT_NE(reg(a, TEST_V1_SUM), reg(b, TEST_V1_SUM));
	EXPECT_EQ(0, load(b, self->stream, size, 65536));
	EXPECT_EQ(reg(a, TEST_V1_SUM), reg(b, TEST_V1_SUM));
}

/* A file that is left over is one of nothing: of another state, or of no device. */
TEST_F(v1, left_over)
{
	struct dev *a = &self->a;
	int old, file;

	old = open_stream(a->fd, STOP_COPY);
	ASSERT_LE(0, old);
	EXPECT_EQ(100, read_some(old, self->stream, 100));
	EXPECT_EQ(0, set(a->fd, STOP));
	/* what has been taken is there, but no more */
	EXPECT_EQ(PIECE - 92, read_some(old, self->stream, STREAM_MAX));
	EXPECT_EQ(-ENODEV, read_some(old, self->stream, 100));
	file = open_stream(a->fd, STOP_COPY);
	ASSERT_LE(0, file);
	EXPECT_EQ(-ENODEV, read_some(old, self->stream, 100));
	EXPECT_EQ(100, read_some(file, self->stream, 100));
	close(old);
	EXPECT_EQ(100, read_some(file, self->stream, 100));

	vfio_close(&a->vc);
	EXPECT_EQ(PIECE - 192, read_some(file, self->stream, STREAM_MAX));
	EXPECT_EQ(-ENODEV, read_some(file, self->stream, 100));
	ASSERT_EQ(0, dev_open(a));
	EXPECT_EQ(RUNNING, state_of(a->fd));
	EXPECT_EQ(-ENODEV, read_some(file, self->stream, 100));
	close(file);

	file = open_stream(a->fd, RESUMING);
	ASSERT_LE(0, file);
	EXPECT_EQ(0, reset(a->fd));
	EXPECT_EQ(-ENODEV, write_some(file, "mdevv1\0\0", 8));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(file, VFIO_MIG_GET_PRECOPY_INFO, self->stream));
	close(file);
}

/* Returns 0 if it could read something, or an errno. */
static int read_in_child(int file, uint8_t *stream)
{
	pid_t pid = fork_child();
	int ret;

	if (!pid) {
		ret = read_some(file, stream, 100);
		child_exit(ret < 0 ? ret : 0);
	}
	return child_wait(pid);
}

/* Who has only the stream could hold up its owner. */
TEST_F(v1, another_process)
{
	struct dev *a = &self->a;
	int file;

	file = open_stream(a->fd, STOP_COPY);
	ASSERT_LE(0, file);
	EXPECT_EQ(0, read_in_child(file, self->stream));
	EXPECT_EQ(-EPERM, read_in_child(file, self->stream));
	EXPECT_EQ(STREAM - 8, read_all(file, self->stream, STREAM_MAX, 65536));
	close(file);
}

/* A guest can reset the device, and nobody tells the bridge. */
TEST_F(v1, reset_by_guest)
{
	struct dev *a = &self->a;
	int file;

	if (!linux_since(6, 2))
		SKIP(return, "VFIO has no PRE_COPY");
	file = open_stream(a->fd, PRE_COPY);
	ASSERT_LE(0, file);
	EXPECT_EQ(100, read_some(file, self->stream, 100));
	EXPECT_EQ(0, set_reg(a, TEST_V1_RESET, 1));
	EXPECT_EQ(PIECE - 92, read_some(file, self->stream, STREAM_MAX));
	EXPECT_EQ(-ENODEV, read_some(file, self->stream, 100));
	EXPECT_EQ(RUNNING, state_of(a->fd));
	close(file);

	ASSERT_EQ(0, set(a->fd, STOP));
	EXPECT_EQ(0, set_reg(a, TEST_V1_RESET, 1));
	EXPECT_EQ(-EIO, set(a->fd, STOP_COPY));
	EXPECT_EQ(RUNNING, state_of(a->fd));
	EXPECT_EQ(STREAM, save(a, self->stream, STREAM_MAX));
}

struct toucher {
	struct dev *dev;
	bool stop;
};

static void *touch(void *arg)
{
	struct toucher *t = arg;
	unsigned int i;

	for (i = 0; !__atomic_load_n(&t->stop, __ATOMIC_RELAXED); i++) {
		set_reg(t->dev, TEST_V1_TOUCH, i % TEST_V1_PIECES);
		sleep_ms(1);
	}
	return NULL;
}

/* A device that never stops changing, there and back. */
TEST_F(v1, busy)
{
	struct dev *from = &self->a, *to = &self->b, *other;
	struct toucher t = {};
	pthread_t thread;
	int i, file, ret;
	size_t size;

	if (!linux_since(6, 2))
		SKIP(return, "VFIO has no PRE_COPY");
	for (i = 0; i < 4; i++) {
		t = (struct toucher){ .dev = from };
		ASSERT_EQ(0, pthread_create(&thread, NULL, touch, &t));
		file = open_stream(from->fd, PRE_COPY);
		ASSERT_LE(0, file);
		ret = read_all(file, self->stream, STREAM - 8, 65536);
		EXPECT_EQ(STREAM - 8, ret);
		size = ret;
		__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		ASSERT_EQ(0, set(from->fd, STOP_COPY));
		ret = read_all(file, self->stream + size, STREAM_MAX - size, 65536);
		ASSERT_LT(0, ret);
		size += ret;
		close(file);
		ASSERT_EQ(0, load(to, self->stream, size, 65536));
		EXPECT_EQ(reg(from, TEST_V1_SUM), reg(to, TEST_V1_SUM));
		EXPECT_EQ(0, set(from->fd, RUNNING));
		other = from;
		from = to;
		to = other;
	}
}

TEST_HARNESS_MAIN
