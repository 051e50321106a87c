// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor that nobody here wrote: the kernel's own sample for the modern door,
 * samples/vfio-mdev/mtty.c of the Linux it runs on, built against our header and
 * loaded on our mdev.ko as mtty_stock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <linux/vfio.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"

#define TYPE1	"mtty/mtty-1"
#define TYPE2	"mtty/mtty-2"

FIXTURE(stock) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
};

FIXTURE_SETUP(stock)
{
	ASSERT_EQ(0, modules_reset());
	ASSERT_EQ(0, module_load("vfio_iommu_type1"));
	ASSERT_EQ(0, module_load("mtty_stock"));
	uuid_next(self->uuid);
}

FIXTURE_TEARDOWN(stock)
{
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(stock, layout)
{
	char buf[64];

	EXPECT_EQ(24, mdev_available(TYPE1));
	EXPECT_EQ(12, mdev_available(TYPE2));
	ASSERT_EQ(0, mdev_create(TYPE2, self->uuid));
	EXPECT_EQ(11, mdev_available(TYPE2));
	ASSERT_EQ(0, mdev_driver_name(self->uuid, buf, sizeof(buf)));
	EXPECT_STREQ("mtty", buf);
	EXPECT_TRUE(file_exists(MDEV_DEVICES "/%s/iommu_group", self->uuid));
	EXPECT_FALSE(module_loaded("vfio_mdev"));
	EXPECT_EQ(-EEXIST, mdev_create(TYPE1, self->uuid));
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(12, mdev_available(TYPE2));
}

TEST_F(stock, create_open_remove)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	int i;

	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, mdev_create(i % 2 ? TYPE1 : TYPE2, self->uuid));
		ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
		EXPECT_EQ(0, vfio_ioctl(self->vc.device, VFIO_DEVICE_GET_INFO,
					&info));
		EXPECT_EQ(-EAGAIN, module_unload("mtty_stock"));
		vfio_close(&self->vc);
		ASSERT_EQ(0, mdev_remove(self->uuid));
	}
}

/* what becomes of an open device is up to a modern vendor: this one waits */
TEST_F(stock, remove_while_open)
{
	pid_t pid;

	ASSERT_EQ(0, mdev_create(TYPE1, self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	pid = mdev_remove_child(self->uuid);
	EXPECT_TRUE(child_blocks(pid));
	vfio_close(&self->vc);
	EXPECT_EQ(0, child_wait(pid));
	EXPECT_FALSE(mdev_exists(self->uuid));
}

TEST_F(stock, quota)
{
	char uuid[UUID_LEN + 1];
	int i;

	for (i = 0; i < 12; i++) {
		uuid_next(uuid);
		ASSERT_EQ(0, mdev_create(TYPE2, uuid));
	}
	EXPECT_EQ(0, mdev_available(TYPE1));
	EXPECT_EQ(-ENOSPC, mdev_create(TYPE1, self->uuid));
	EXPECT_FALSE(mdev_exists(self->uuid));
}

TEST_F(stock, unload_with_devices)
{
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, mdev_create(TYPE2, self->uuid));
		ASSERT_EQ(0, module_unload("mtty_stock"));
		EXPECT_EQ(0, dir_count(MDEV_DEVICES));
		ASSERT_EQ(0, module_load("mtty_stock"));
	}
}

TEST_HARNESS_MAIN
