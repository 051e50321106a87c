// SPDX-License-Identifier: GPL-2.0-only
/*
 * Vendors that nobody here wrote: the samples of Linux 5.10, samples/vfio-mdev/
 * mtty.c, mdpy.c and mbochs.c, as they are, built with include/classic and loaded
 * on our mdev.ko as mtty_classic, mdpy_classic and mbochs_classic. What is wrong
 * with them is not ours to test.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/serial_reg.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"

#define CONFIG		VFIO_PCI_CONFIG_REGION_INDEX
#define BAR(n)		(VFIO_PCI_BAR0_REGION_INDEX + (n))
#define MAX_TYPES	3

FIXTURE(sample) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
};

FIXTURE_VARIANT(sample) {
	const char *module;
	const char *types[MAX_TYPES];
	uint16_t vendor;
	uint16_t device;
	/* what can be mapped of a device of the last type */
	uint64_t memory;
};

FIXTURE_VARIANT_ADD(sample, mtty) {
	.module = "mtty_classic",
	.types = { "mtty/mtty-1", "mtty/mtty-2" },
	.vendor = 0x4348,
	.device = 0x3253,
};

FIXTURE_VARIANT_ADD(sample, mdpy) {
	.module = "mdpy_classic",
	.types = { "mdpy/mdpy-vga", "mdpy/mdpy-xga", "mdpy/mdpy-hd" },
	.vendor = 0x1b36,
	.device = 0x000f,
	.memory = 8 << 20,
};

FIXTURE_VARIANT_ADD(sample, mbochs) {
	.module = "mbochs_classic",
	.types = { "mbochs/mbochs-small", "mbochs/mbochs-medium",
		   "mbochs/mbochs-large" },
	.vendor = 0x1234,
	.device = 0x1111,
	.memory = 64 << 20,
};

FIXTURE_SETUP(sample)
{
	ASSERT_EQ(0, modules_reset());
	ASSERT_EQ(0, module_load("vfio_iommu_type1"));
	ASSERT_EQ(0, module_load(variant->module));
	uuid_next(self->uuid);
}

FIXTURE_TEARDOWN(sample)
{
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

static const char *last_type(const char * const *types)
{
	int i = MAX_TYPES - 1;

	while (!types[i])
		i--;
	return types[i];
}

/* of each type a device, opened, looked at and removed, a few times */
TEST_F(sample, create_open_remove)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	char text[64];
	int i, n;

	for (i = 0; i < 3 * MAX_TYPES; i++) {
		const char *type = variant->types[i % MAX_TYPES];

		if (!type)
			continue;
		n = mdev_available(type);
		EXPECT_LT(0, n);
		ASSERT_EQ(0, mdev_create(type, self->uuid));
		EXPECT_GT(n, mdev_available(type));
		ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
		ASSERT_EQ(0, vfio_ioctl(self->vc.device, VFIO_DEVICE_GET_INFO,
					&info));
		EXPECT_TRUE(info.flags & VFIO_DEVICE_FLAGS_PCI);
		EXPECT_LE(VFIO_PCI_NUM_REGIONS, info.num_regions);
		EXPECT_LT(0, file_read(text, sizeof(text),
				       MDEV_DEVICES "/%s/mdev_type/device_api",
				       self->uuid));
		EXPECT_STREQ("vfio-pci", text);
		/* the vendor has no way to ask whoever has it */
		EXPECT_EQ(-EBUSY, mdev_remove(self->uuid));
		EXPECT_GT(0, module_unload(variant->module));
		EXPECT_EQ(0, vfio_ioctl(self->vc.device, VFIO_DEVICE_RESET,
					NULL));
		vfio_close(&self->vc);
		ASSERT_EQ(0, mdev_remove(self->uuid));
		EXPECT_EQ(n, mdev_available(type));
	}
}

TEST_F(sample, config_region)
{
	struct vfio_region_info region;
	uint32_t ids = 0, bar, mask = ~0U;
	int i;

	for (i = 0; i < MAX_TYPES && variant->types[i]; i++) {
		ASSERT_EQ(0, mdev_create(variant->types[i], self->uuid));
		ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
		ASSERT_EQ(0, vfio_region(self->vc.device, CONFIG, &region));
		EXPECT_LE(0xff, region.size);
		ASSERT_EQ(4, vfio_read(self->vc.device, &ids, 4, region.offset));
		EXPECT_EQ((uint32_t)variant->device << 16 | variant->vendor, ids);

		/* BAR 0 says how large it is */
		ASSERT_EQ(4, vfio_write(self->vc.device, &mask, 4,
					region.offset + 0x10));
		ASSERT_EQ(4, vfio_read(self->vc.device, &bar, 4,
				       region.offset + 0x10));
		ASSERT_EQ(0, vfio_region(self->vc.device, BAR(0), &region));
		bar &= bar & 1 ? ~3U : ~15U;
		EXPECT_EQ(region.size, ~bar + 1U);
		vfio_close(&self->vc);
		ASSERT_EQ(0, mdev_remove(self->uuid));
	}
}

/* video memory: what is written is read, and seen where it is mapped */
TEST_F(sample, memory)
{
	struct vfio_region_info region;
	uint32_t value;
	uint64_t at;
	char *map;

	if (!variant->memory)
		SKIP(return, "it has none");

	ASSERT_EQ(0, mdev_create(last_type(variant->types), self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	ASSERT_EQ(0, vfio_region(self->vc.device, BAR(0), &region));
	EXPECT_EQ(variant->memory, region.size);
	EXPECT_TRUE(region.flags & VFIO_REGION_INFO_FLAG_MMAP);

	map = mmap(NULL, region.size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   self->vc.device, region.offset);
	ASSERT_NE(MAP_FAILED, map);
	for (at = 0; at < region.size; at += 1 << 20) {
		*(uint64_t *)(map + at) = at + 5;
		*(uint64_t *)(map + at + PAGE - 8) = at + 6;
	}
	for (at = 0; at < region.size; at += 1 << 20) {
		ASSERT_EQ(at + 5, *(uint64_t *)(map + at));
		ASSERT_EQ(at + 6, *(uint64_t *)(map + at + PAGE - 8));
	}
	munmap(map, region.size);

	/* it is still there, for who maps it again */
	map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->vc.device,
		   region.offset);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(5, *(uint64_t *)map);
	munmap(map, PAGE);

	/* not more at once: mdpy does not look at the offset */
	value = 0x11223344;
	ASSERT_EQ(4, vfio_write(self->vc.device, &value, 4, region.offset + 64));
	value = 0;
	ASSERT_EQ(4, vfio_read(self->vc.device, &value, 4, region.offset + 64));
	EXPECT_EQ(0x11223344, value);

	EXPECT_EQ(MAP_FAILED, mmap(NULL, region.size + PAGE, PROT_READ,
				   MAP_SHARED, self->vc.device, region.offset));
	vfio_close(&self->vc);
	ASSERT_EQ(0, mdev_remove(self->uuid));
}

/* a picture for the VMM */
TEST_F(sample, display)
{
	struct vfio_device_gfx_plane_info plane = { .argsz = sizeof(plane) };

	if (!variant->memory)
		SKIP(return, "it has none");

	ASSERT_EQ(0, mdev_create(variant->types[0], self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	plane.flags = VFIO_GFX_PLANE_TYPE_PROBE |
		      (variant->vendor == 0x1234 ? VFIO_GFX_PLANE_TYPE_DMABUF :
						   VFIO_GFX_PLANE_TYPE_REGION);
	EXPECT_EQ(0, vfio_ioctl(self->vc.device, VFIO_DEVICE_QUERY_GFX_PLANE,
				&plane));
	plane.flags ^= VFIO_GFX_PLANE_TYPE_DMABUF | VFIO_GFX_PLANE_TYPE_REGION;
	EXPECT_EQ(-EINVAL, vfio_ioctl(self->vc.device,
				      VFIO_DEVICE_QUERY_GFX_PLANE, &plane));
	vfio_close(&self->vc);
	ASSERT_EQ(0, mdev_remove(self->uuid));
}

/* mtty has two ports, which send to themselves */
TEST_F(sample, serial)
{
	struct vfio_region_info region;
	static const char text[] = "hello";
	uint8_t byte;
	unsigned int i, port;

	if (variant->memory)
		SKIP(return, "it is a display");

	ASSERT_EQ(0, mdev_create(last_type(variant->types), self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	for (port = 0; port < 2; port++) {
		ASSERT_EQ(0, vfio_region(self->vc.device, BAR(port), &region));
		EXPECT_EQ(8, region.size);
		byte = UART_FCR_ENABLE_FIFO;
		ASSERT_EQ(1, vfio_write(self->vc.device, &byte, 1,
					region.offset + UART_FCR));
		for (i = 0; i < sizeof(text); i++)
			ASSERT_EQ(1, vfio_write(self->vc.device, &text[i], 1,
						region.offset + UART_TX));
		for (i = 0; i < sizeof(text); i++) {
			ASSERT_EQ(1, vfio_read(self->vc.device, &byte, 1,
					       region.offset + UART_RX));
			EXPECT_EQ(text[i], byte);
		}
	}
	vfio_close(&self->vc);
	ASSERT_EQ(0, mdev_remove(self->uuid));
}

/* the module can go, and takes its devices along */
TEST_F(sample, unload_with_devices)
{
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, mdev_create(variant->types[i % 2], self->uuid));
		ASSERT_EQ(0, module_unload(variant->module));
		EXPECT_EQ(0, dir_count(MDEV_DEVICES));
		ASSERT_EQ(0, module_load(variant->module));
	}
}

TEST_HARNESS_MAIN
