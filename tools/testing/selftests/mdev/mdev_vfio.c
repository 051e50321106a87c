// SPDX-License-Identifier: GPL-2.0-only
/*
 * What goes through a VFIO fd of the bridge to the vendor and back: reads,
 * writes, mappings, ioctls, and every error a vendor may return.
 *
 * The vendor is mnull, with one region of a page that reads as zeroes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"

#define TYPE	"mnull0/mnull-1"
#define PARAM	"/sys/module/mnull/parameters/"
#define REGION	PAGE

FIXTURE(fd) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
	int fd;
};

FIXTURE_VARIANT(fd) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(fd, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(fd, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(fd)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mnull"));
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	self->fd = self->vc.device;
}

FIXTURE_TEARDOWN(fd)
{
	vfio_close(&self->vc);
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(fd, read_sizes)
{
	unsigned char buf[PAGE_MAX], zero[PAGE_MAX] = {};
	static const int sizes[] = {
		1, 2, 3, 4, 5, 7, 8, 16, 63, 512, 4095, 4096,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		memset(buf, 0xff, sizeof(buf));
		ASSERT_EQ(sizes[i], vfio_read(self->fd, buf, sizes[i], 0));
		EXPECT_EQ(0, memcmp(buf, zero, sizes[i]));
		EXPECT_TRUE(sizes[i] == REGION || buf[sizes[i]] == 0xff);
	}
	EXPECT_EQ(0, vfio_read(self->fd, buf, 0, 0));
}

TEST_F(fd, read_offsets)
{
	unsigned char buf[PAGE_MAX];

	EXPECT_EQ(1, vfio_read(self->fd, buf, 1, REGION - 1));
	/* what is beyond the end is not read */
	EXPECT_EQ(1, vfio_read(self->fd, buf, 8, REGION - 1));
	EXPECT_EQ(96, vfio_read(self->fd, buf, REGION, REGION - 96));
	EXPECT_EQ(-EINVAL, vfio_read(self->fd, buf, 1, REGION));
	EXPECT_EQ(-EINVAL, vfio_read(self->fd, buf, 1, 1ULL << 40));
	EXPECT_EQ(-EINVAL, vfio_read(self->fd, buf, 1, INT64_MAX));
	EXPECT_EQ(-EINVAL, vfio_read(self->fd, buf, 1, -1));
	EXPECT_EQ(-EFAULT, vfio_read(self->fd, (void *)8, 8, 0));
}

TEST_F(fd, write_sizes_and_offsets)
{
	unsigned char buf[PAGE_MAX] = {};

	EXPECT_EQ(1, vfio_write(self->fd, buf, 1, 0));
	EXPECT_EQ(4, vfio_write(self->fd, buf, 4, 3));
	EXPECT_EQ(8, vfio_write(self->fd, buf, 8, REGION - 8));
	EXPECT_EQ(REGION, vfio_write(self->fd, buf, REGION, 0));
	EXPECT_EQ(4, vfio_write(self->fd, buf, 8, REGION - 4));
	EXPECT_EQ(-EINVAL, vfio_write(self->fd, buf, 1, REGION));
	EXPECT_EQ(-EINVAL, vfio_write(self->fd, buf, 1, 1ULL << 40));
	EXPECT_EQ(-EINVAL, vfio_write(self->fd, buf, 1, -1));
}

TEST_F(fd, position)
{
	char buf[8];

	/* the vendor advances it, as the bridge passes it on */
	EXPECT_EQ(8, read(self->fd, buf, 8));
	EXPECT_EQ(8, read(self->fd, buf, 8));
	EXPECT_EQ(REGION - 16, read(self->fd, malloc(REGION), REGION));
	EXPECT_EQ(-1, read(self->fd, buf, 8));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F(fd, mmap)
{
	char *one, *two;

	one = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, one);
	two = mmap(NULL, REGION, PROT_READ, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, two);
	EXPECT_EQ(0, one[0]);
	sprintf(one, "mapped");
	EXPECT_STREQ("mapped", two);
	munmap(one, REGION);
	EXPECT_STREQ("mapped", two);
	munmap(two, REGION);
}

TEST_F(fd, mmap_refused)
{
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * REGION, PROT_READ, MAP_SHARED,
				   self->fd, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, REGION, PROT_READ, MAP_SHARED,
				   self->fd, REGION));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, REGION, PROT_READ, MAP_SHARED,
				   self->fd, 1ULL << 40));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F(fd, ioctls)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_region_info region;

	ASSERT_EQ(0, vfio_ioctl(self->fd, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(VFIO_DEVICE_FLAGS_PCI, info.flags);
	EXPECT_EQ(1, info.num_regions);
	EXPECT_EQ(0, info.num_irqs);

	ASSERT_EQ(0, vfio_region(self->fd, 0, &region));
	EXPECT_EQ(REGION, region.size);
	EXPECT_EQ(0, region.offset);
	EXPECT_EQ(VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
		  VFIO_REGION_INFO_FLAG_MMAP, region.flags);
	EXPECT_EQ(0, vfio_ioctl(self->fd, VFIO_DEVICE_RESET, NULL));
}

TEST_F(fd, ioctls_refused)
{
	struct vfio_device_info info = {};
	struct vfio_region_info region = {};
	uint32_t argsz;

	for (argsz = 0; argsz < 16; argsz++) {
		info.argsz = argsz;
		EXPECT_EQ(-EINVAL,
			  vfio_ioctl(self->fd, VFIO_DEVICE_GET_INFO, &info));
	}
	for (argsz = 0; argsz < 32; argsz++) {
		region.argsz = argsz;
		EXPECT_EQ(-EINVAL,
			  vfio_ioctl(self->fd, VFIO_DEVICE_GET_REGION_INFO,
				     &region));
	}
	EXPECT_EQ(-EINVAL, vfio_region(self->fd, 1, &region));
	EXPECT_EQ(-EINVAL, vfio_region(self->fd, UINT32_MAX, &region));
	EXPECT_EQ(-EFAULT, vfio_ioctl(self->fd, VFIO_DEVICE_GET_INFO, NULL));
	EXPECT_EQ(-EFAULT, vfio_ioctl(self->fd, VFIO_DEVICE_GET_REGION_INFO,
				      (void *)8));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(self->fd, VFIO_DEVICE_GET_IRQ_INFO,
				      NULL));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(self->fd, 0, NULL));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(self->fd, UINT32_MAX, NULL));
}

/* the vendor's errno, whatever it is, reaches the caller as it is */
TEST_F(fd, vendor_errors)
{
	static const int errors[] = { EIO, EPERM, ENOMEM, ENXIO, EBUSY, ENODEV };
	static const char *const addresses[] = { "-5", "100000" };
	char text[16], buf[8];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		snprintf(text, sizeof(text), "%d", errors[i]);
		ASSERT_EQ(0, file_write(text, PARAM "fail_read"));
		ASSERT_EQ(0, file_write(text, PARAM "fail_write"));
		ASSERT_EQ(0, file_write(text, PARAM "fail_ioctl"));
		ASSERT_EQ(0, file_write(text, PARAM "fail_mmap"));

		EXPECT_EQ(-errors[i], vfio_read(self->fd, buf, 8, 0));
		EXPECT_EQ(-errors[i], vfio_write(self->fd, buf, 8, 0));
		EXPECT_EQ(-errors[i],
			  vfio_ioctl(self->fd, VFIO_DEVICE_RESET, NULL));
		EXPECT_EQ(MAP_FAILED, mmap(NULL, REGION, PROT_READ, MAP_SHARED,
					   self->fd, 0));
		EXPECT_EQ(errors[i], errno);
	}

	/* these numbers would be an address */
	for (i = 0; i < ARRAY_SIZE(addresses); i++) {
		ASSERT_EQ(0, file_write(addresses[i], PARAM "fail_mmap"));
		EXPECT_EQ(MAP_FAILED, mmap(NULL, REGION, PROT_READ, MAP_SHARED,
					   self->fd, 0));
		EXPECT_EQ(EIO, errno);
	}

	ASSERT_EQ(0, file_write("0", PARAM "fail_read"));
	EXPECT_EQ(8, vfio_read(self->fd, buf, 8, 0));
}

/* libc, too, takes only some numbers for an errno */
static long result(long ret)
{
	return ret == -1 ? -errno : ret;
}

/*
 * What is read, written or answered is between the vendor and its user, and nobody
 * in between makes anything of the number: more bytes than there were, fewer than
 * none, an errno of the kernel's own (512 is ERESTARTSYS).
 */
TEST_F(fd, vendor_nonsense)
{
	static const int numbers[] = { -100000, -9, 512, 100000 };
	char text[16], buf[8];
	struct iovec vec[] = { { buf, 4 }, { buf + 4, 4 } };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		snprintf(text, sizeof(text), "%d", numbers[i]);
		ASSERT_EQ(0, file_write(text, PARAM "fail_read"));
		ASSERT_EQ(0, file_write(text, PARAM "fail_write"));
		ASSERT_EQ(0, file_write(text, PARAM "fail_ioctl"));

		EXPECT_EQ(-numbers[i], result(pread(self->fd, buf, 8, 0)));
		EXPECT_EQ(-numbers[i], result(pwrite(self->fd, buf, 8, 0)));
		EXPECT_EQ(-numbers[i],
			  result(ioctl(self->fd, VFIO_DEVICE_RESET)));
		EXPECT_NE(8, preadv(self->fd, vec, 2, 0));
		EXPECT_NE(8, pwritev(self->fd, vec, 2, 0));
	}

	ASSERT_EQ(0, file_write("0", PARAM "fail_read"));
	EXPECT_EQ(8, vfio_read(self->fd, buf, 8, 0));
}

TEST_F(fd, one_client)
{
	struct vfio_client other;

	EXPECT_EQ(variant->iommufd ? -EINVAL : -EBUSY,
		  vfio_open(&other, self->uuid));
}

TEST_F(fd, wrong_name)
{
	char uuid[UUID_LEN + 1];
	struct vfio_client other = self->vc;

	uuid_next(uuid);
	EXPECT_EQ(variant->iommufd ? -ENOENT : -ENODEV,
		  vfio_open_device(&other, uuid));
	EXPECT_EQ(variant->iommufd ? -ENOENT : -ENODEV,
		  vfio_open_device(&other, ""));
}

/* two devices are two devices */
TEST_F(fd, second_device)
{
	struct vfio_client other;
	char uuid[UUID_LEN + 1];
	char *one, *two;

	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create(TYPE, uuid));
	ASSERT_EQ(0, vfio_open(&other, uuid));
	one = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, one);
	two = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED,
		   other.device, 0);
	ASSERT_NE(MAP_FAILED, two);
	sprintf(one, "one");
	sprintf(two, "two");
	EXPECT_STREQ("one", one);
	munmap(one, REGION);
	munmap(two, REGION);

	EXPECT_EQ(-EBUSY, mdev_remove(uuid));
	vfio_close(&other);
	EXPECT_EQ(0, mdev_remove(uuid));
}

/*
 * A vendor that describes its region in kernel memory. On all kernels the client
 * sees what VFIO makes of it: the capabilities, or how much room they need.
 */

struct region_info {
	struct vfio_region_info info;
	struct vfio_region_info_cap_sparse_mmap sparse;
	struct vfio_region_sparse_mmap_area area;
};

FIXTURE(region_op) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
};

FIXTURE_VARIANT(region_op) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(region_op, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(region_op, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(region_op)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mnull region_op=1"));
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
}

FIXTURE_TEARDOWN(region_op)
{
	vfio_close(&self->vc);
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(region_op, capabilities)
{
	struct region_info full;
	const uint32_t flags = VFIO_REGION_INFO_FLAG_READ |
			       VFIO_REGION_INFO_FLAG_WRITE |
			       VFIO_REGION_INFO_FLAG_MMAP |
			       VFIO_REGION_INFO_FLAG_CAPS;

	/* no room: how much is needed */
	ASSERT_EQ(0, vfio_region(self->vc.device, 0, &full.info));
	EXPECT_EQ(sizeof(full), full.info.argsz);
	EXPECT_EQ(flags, full.info.flags);
	EXPECT_EQ(0, full.info.cap_offset);
	EXPECT_EQ(REGION, full.info.size);
	EXPECT_EQ(0, full.info.offset);

	/* what is not asked for is ignored, not taken over */
	memset(&full, 0xff, sizeof(full));
	full.info.argsz = sizeof(full);
	full.info.index = 0;
	ASSERT_EQ(0, vfio_ioctl(self->vc.device, VFIO_DEVICE_GET_REGION_INFO,
				&full));
	EXPECT_EQ(flags, full.info.flags);
	EXPECT_EQ(sizeof(full.info), full.info.cap_offset);
	EXPECT_EQ(VFIO_REGION_INFO_CAP_SPARSE_MMAP, full.sparse.header.id);
	EXPECT_EQ(1, full.sparse.header.version);
	EXPECT_EQ(0, full.sparse.header.next);
	EXPECT_EQ(1, full.sparse.nr_areas);
	EXPECT_EQ(0, full.area.offset);
	EXPECT_EQ(REGION, full.area.size);
}

TEST_F(region_op, errors)
{
	struct vfio_region_info region = {};

	for (region.argsz = 0; region.argsz < 32; region.argsz++)
		EXPECT_EQ(-EINVAL, vfio_ioctl(self->vc.device,
					      VFIO_DEVICE_GET_REGION_INFO,
					      &region));
	EXPECT_EQ(-EINVAL, vfio_region(self->vc.device, 1, &region));
	EXPECT_EQ(-EFAULT, vfio_ioctl(self->vc.device,
				      VFIO_DEVICE_GET_REGION_INFO, (void *)8));

	ASSERT_EQ(0, file_write("13", PARAM "fail_ioctl"));
	EXPECT_EQ(-EACCES, vfio_region(self->vc.device, 0, &region));
	/* neither success nor an errno */
	ASSERT_EQ(0, file_write("-13", PARAM "fail_ioctl"));
	EXPECT_EQ(-EIO, vfio_region(self->vc.device, 0, &region));
	/* the rest is ioctls as ever */
	EXPECT_EQ(13, vfio_ioctl(self->vc.device, VFIO_DEVICE_RESET, NULL));
	ASSERT_EQ(0, file_write("0", PARAM "fail_ioctl"));
}

TEST_HARNESS_MAIN
