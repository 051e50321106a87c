// SPDX-License-Identifier: GPL-2.0-only
/*
 * samples/mdisp.c as user space sees it: a PCI display behind VFIO, its modes,
 * its memory by read, write and mmap, where the picture is, its monitor, and the
 * memory that the types share.
 *
 * The display under test has 8 MiB and shows 1024x768 at most.
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
#include <unistd.h>
#include <linux/io_uring.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "mdev_fuse.h"
#include "mdev_util.h"
#include "test_modules/mdev_test_dma.h"

#define PARENT	MDEV_CLASS "/mdisp"
#define VGA	"mdisp/mdisp-vga"
#define XGA	"mdisp/mdisp-xga"
#define HD	"mdisp/mdisp-hd"

#define MEMORY	(8 << 20)
#define MMIO	4096
#define RW	(PROT_READ | PROT_WRITE)

#define BAR0	VFIO_PCI_BAR0_REGION_INDEX
#define BAR2	VFIO_PCI_BAR2_REGION_INDEX
#define CONFIG	VFIO_PCI_CONFIG_REGION_INDEX
#define EDID	VFIO_PCI_NUM_REGIONS
#define WINDOW	(VFIO_PCI_NUM_REGIONS + 1)	/* and one more */
#define REGIONS	(VFIO_PCI_NUM_REGIONS + 3)

#define XR24	0x34325258	/* DRM_FORMAT_XRGB8888 */
#define BX24	0x34325842	/* DRM_FORMAT_BGRX8888 */

#define PROBE	VFIO_GFX_PLANE_TYPE_PROBE
#define REGION	VFIO_GFX_PLANE_TYPE_REGION
#define DMABUF	VFIO_GFX_PLANE_TYPE_DMABUF
#define UP	VFIO_DEVICE_GFX_LINK_STATE_UP
#define DOWN	VFIO_DEVICE_GFX_LINK_STATE_DOWN

/* what registers there are at 0x500 */
enum {
	ID, XRES, YRES, BPP, ENABLE, BANK, VIRT_WIDTH, VIRT_HEIGHT, X_OFFSET,
	Y_OFFSET, MEMORY_64K
};

#define BLANK	0x400
#define ENDIAN	0x604

/* the display under test; each test is a process of its own */
static int dev = -1;
static int lost;	/* accesses that failed; the teardown looks */

static off_t at(int region, off_t where)
{
	struct vfio_region_info info;

	lost += vfio_region(dev, region, &info) != 0;
	return info.offset + where;
}

/* PCI's registers are little-endian; VFIO's structure in the region EDID is the host's */
static uint32_t swap(int region, uint32_t val)
{
	return region == EDID ? val : le32toh(val);
}

static uint32_t get(int region, off_t where, int size)
{
	uint32_t val = 0;

	lost += vfio_read(dev, &val, size, at(region, where)) != size;
	return swap(region, val);
}

static void put(int region, off_t where, int size, uint32_t data)
{
	uint32_t val = swap(region, data);

	lost += vfio_write(dev, &val, size, at(region, where)) != size;
}

/* for what may be refused */
static int try_put(int region, off_t where, int size, uint32_t data)
{
	uint32_t val = swap(region, data);
	int ret = vfio_write(dev, &val, size, at(region, where));

	return ret < 0 ? ret : ret == size ? 0 : -EIO;
}

static int reg(int nr)
{
	return get(BAR2, 0x500 + 2 * nr, 2);
}

static void set(int nr, int val)
{
	put(BAR2, 0x500 + 2 * nr, 2, val);
}

/* as Linux's driver does it */
static void set_mode(int xres, int yres)
{
	set(ENABLE, 0);
	set(BPP, 32);
	set(XRES, xres);
	set(YRES, yres);
	set(ENABLE, 0x41);
}

static int query_flags(uint32_t flags, struct vfio_device_gfx_plane_info *plane)
{
	memset(plane, 0xee, sizeof(*plane));
	plane->argsz = sizeof(*plane);
	plane->flags = flags;
	plane->drm_plane_type = 0;
	return vfio_ioctl(dev, VFIO_DEVICE_QUERY_GFX_PLANE, plane);
}

static struct vfio_device_gfx_plane_info query(void)
{
	struct vfio_device_gfx_plane_info plane;

	lost += query_flags(REGION, &plane) != 0;
	return plane;
}

static bool is_off(void)
{
	struct vfio_device_gfx_plane_info plane = query();

	return !plane.drm_format && !plane.size && !plane.width &&
	       !plane.height;
}

static void *map_at(int region, off_t where, size_t size, int flags)
{
	return mmap(NULL, size, RW, flags, dev, at(region, where));
}

static uint8_t *map(int region)
{
	return map_at(region, 0, MEMORY, MAP_SHARED);
}

#define FIELD(name)	offsetof(struct vfio_region_gfx_edid, name)

/* a monitor that would like to show this; only what is looked at is there */
static void edid_make(uint8_t *edid, int xres, int yres)
{
	static const uint8_t start[] = { 0, 255, 255, 255, 255, 255, 255, 0 };

	memset(edid, 0, 128);
	memcpy(edid, start, sizeof(start));
	edid[54] = 1;
	edid[56] = xres;
	edid[58] = xres >> 8 << 4;
	edid[59] = yres;
	edid[61] = yres >> 8 << 4;
}

/* as QEMU plugs in a monitor */
static int edid_plug(int xres, int yres)
{
	uint8_t edid[128];

	edid_make(edid, xres, yres);
	put(EDID, FIELD(link_state), 4, DOWN);
	put(EDID, FIELD(edid_size), 4, sizeof(edid));
	lost += vfio_write(dev, edid, sizeof(edid),
			   at(EDID, get(EDID, FIELD(edid_offset), 4))) !=
		sizeof(edid);
	return try_put(EDID, FIELD(link_state), 4, UP);
}

FIXTURE(disp) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
};

FIXTURE_VARIANT(disp) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(disp, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(disp, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(disp)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mdisp"));
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(XGA, self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	dev = self->vc.device;
}

FIXTURE_TEARDOWN(disp)
{
	EXPECT_EQ(0, lost);
	vfio_close(&self->vc);
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(disp, info)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_irq_info irq = { .argsz = sizeof(irq) };

	ASSERT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET, info.flags);
	EXPECT_EQ(REGIONS, info.num_regions);
	EXPECT_EQ(VFIO_PCI_NUM_IRQS, info.num_irqs);
	info.argsz = 15;
	EXPECT_EQ(-EINVAL, vfio_ioctl(dev, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(-EFAULT, vfio_ioctl(dev, VFIO_DEVICE_GET_INFO, (void *)8));

	for (irq.index = 0; irq.index < VFIO_PCI_NUM_IRQS; irq.index++) {
		irq.count = 9;
		EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_GET_IRQ_INFO, &irq));
		EXPECT_EQ(0, irq.count);
	}
	EXPECT_EQ(-EINVAL, vfio_ioctl(dev, VFIO_DEVICE_GET_IRQ_INFO, &irq));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(dev, VFIO_DEVICE_PCI_HOT_RESET, &irq));
}

TEST_F(disp, regions)
{
	static const int sizes[REGIONS] = {
		[BAR0] = MEMORY, [BAR2] = MMIO, [CONFIG] = 256, [EDID] = 2048,
		[WINDOW] = MEMORY, [WINDOW + 1] = MEMORY,
	};
	struct vfio_region_info info;
	unsigned int i, flags;

	for (i = 0; i < REGIONS; i++) {
		ASSERT_EQ(0, vfio_region(dev, i, &info));
		EXPECT_EQ(sizes[i], info.size);
		flags = !sizes[i] ? 0 :
			VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
		if (sizes[i] == MEMORY)
			flags |= VFIO_REGION_INFO_FLAG_MMAP;
		if (i == EDID)
			flags |= VFIO_REGION_INFO_FLAG_CAPS;
		EXPECT_EQ(flags, info.flags);
	}
	EXPECT_EQ(-EINVAL, vfio_region(dev, REGIONS, &info));
	EXPECT_EQ(-EINVAL, vfio_region(dev, -1, &info));
}

TEST_F(disp, edid_capability)
{
	struct {
		struct vfio_region_info info;
		struct vfio_region_info_cap_type type;
	} answer = { .info.argsz = sizeof(answer.info), .info.index = EDID };

	/* first the size that is needed, then all */
	ASSERT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, &answer));
	ASSERT_EQ(sizeof(answer), answer.info.argsz);
	EXPECT_EQ(0, answer.info.cap_offset);
	ASSERT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, &answer));
	EXPECT_EQ(sizeof(answer.info), answer.info.cap_offset);
	EXPECT_EQ(VFIO_REGION_INFO_CAP_TYPE, answer.type.header.id);
	EXPECT_EQ(1, answer.type.header.version);
	EXPECT_EQ(0, answer.type.header.next);
	EXPECT_EQ(VFIO_REGION_TYPE_GFX, answer.type.type);
	EXPECT_EQ(VFIO_REGION_SUBTYPE_GFX_EDID, answer.type.subtype);
}

TEST_F(disp, config)
{
	unsigned int i;

	EXPECT_EQ(0x11111234, get(CONFIG, PCI_VENDOR_ID, 4));
	EXPECT_EQ(0x03800002, get(CONFIG, PCI_CLASS_REVISION, 4));
	EXPECT_EQ(0x11001af4, get(CONFIG, PCI_SUBSYSTEM_VENDOR_ID, 4));
	EXPECT_EQ(0x11, get(CONFIG, PCI_DEVICE_ID + 1, 1));
	EXPECT_EQ(0x1112, get(CONFIG, PCI_VENDOR_ID + 1, 2));
	EXPECT_EQ(PCI_COMMAND_MEMORY, get(CONFIG, PCI_COMMAND, 2));
	EXPECT_EQ(0, get(CONFIG, PCI_INTERRUPT_PIN, 1));
	EXPECT_EQ(0, get(CONFIG, PCI_CAPABILITY_LIST, 1));

	put(CONFIG, PCI_VENDOR_ID, 4, 0);
	EXPECT_EQ(0x11111234, get(CONFIG, PCI_VENDOR_ID, 4));
	put(CONFIG, PCI_COMMAND, 2, 0xffff);
	EXPECT_EQ(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
		  PCI_COMMAND_INTX_DISABLE, get(CONFIG, PCI_COMMAND, 2));
	put(CONFIG, PCI_COMMAND, 1, 0);
	EXPECT_EQ(PCI_COMMAND_INTX_DISABLE, get(CONFIG, PCI_COMMAND, 2));

	/* size the BARs */
	for (i = 0; i < 6; i++)
		put(CONFIG, PCI_BASE_ADDRESS_0 + 4 * i, 4, 0xffffffff);
	put(CONFIG, PCI_ROM_ADDRESS, 4, 0xffffffff);
	EXPECT_EQ((uint32_t)-MEMORY | PCI_BASE_ADDRESS_MEM_PREFETCH,
		  get(CONFIG, PCI_BASE_ADDRESS_0, 4));
	EXPECT_EQ(0, get(CONFIG, PCI_BASE_ADDRESS_1, 4));
	EXPECT_EQ((uint32_t)-MMIO, get(CONFIG, PCI_BASE_ADDRESS_2, 4));
	for (i = 3; i < 6; i++)
		EXPECT_EQ(0, get(CONFIG, PCI_BASE_ADDRESS_0 + 4 * i, 4));
	EXPECT_EQ(0, get(CONFIG, PCI_ROM_ADDRESS, 4));

	/* and set one, byte by byte */
	for (i = 0; i < 4; i++)
		put(CONFIG, PCI_BASE_ADDRESS_0 + i, 1, 0xfedcba98 >> 8 * i);
	EXPECT_EQ(0xfe800008, get(CONFIG, PCI_BASE_ADDRESS_0, 4));

	EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL));
	EXPECT_EQ(8, get(CONFIG, PCI_BASE_ADDRESS_0, 4));
	EXPECT_EQ(PCI_COMMAND_MEMORY, get(CONFIG, PCI_COMMAND, 2));
}

/* what Linux's driver looks at before it takes the device */
TEST_F(disp, registers)
{
	int i;

	EXPECT_EQ(0xb0c5, reg(ID));
	for (i = 0xb0c0; i <= 0xb0c5; i++) {
		set(ID, i);
		EXPECT_EQ(i, reg(ID));
	}
	set(ID, 0xb0c6);
	EXPECT_EQ(0xb0c5, reg(ID));

	EXPECT_EQ(MEMORY >> 16, reg(MEMORY_64K));
	set(MEMORY_64K, 1);
	EXPECT_EQ(MEMORY >> 16, reg(MEMORY_64K));
	EXPECT_EQ(8, get(BAR2, 0x600, 4));
	EXPECT_EQ(0x1e1e1e1e, get(BAR2, ENDIAN, 4));
	EXPECT_EQ(0, get(BAR2, 0x516, 2));
	EXPECT_EQ(0, get(BAR2, 0xffc, 4));

	/* a byte at a time, and several registers at once */
	set(XRES, 0x280);
	put(BAR2, 0x500 + 2 * XRES, 1, 0xe0);
	EXPECT_EQ(0x2e0, reg(XRES));
	put(BAR2, 0x500 + 2 * XRES + 1, 1, 0x01);
	EXPECT_EQ(0x1e0, reg(XRES));
	put(BAR2, 0x500 + 2 * XRES, 4, 600 << 16 | 800);
	EXPECT_EQ(800, reg(XRES));
	EXPECT_EQ(600, reg(YRES));
	EXPECT_EQ(600 << 16 | 800, get(BAR2, 0x500 + 2 * XRES, 4));
}

TEST_F(disp, mode)
{
	struct vfio_device_gfx_plane_info plane;
	uint32_t region;

	EXPECT_TRUE(is_off());
	set_mode(640, 480);
	plane = query();
	EXPECT_EQ(XR24, plane.drm_format);
	EXPECT_EQ(0, plane.drm_format_mod);
	EXPECT_EQ(640, plane.width);
	EXPECT_EQ(480, plane.height);
	EXPECT_EQ(4 * 640, plane.stride);
	EXPECT_EQ(4 * 640 * 480, plane.size);
	EXPECT_EQ(0, plane.x_pos);
	EXPECT_EQ(0, plane.y_pos);
	EXPECT_EQ(UINT32_MAX, plane.x_hot);
	EXPECT_EQ(UINT32_MAX, plane.y_hot);
	EXPECT_EQ(640, reg(VIRT_WIDTH));
	EXPECT_EQ(MEMORY / (4 * 640), reg(VIRT_HEIGHT));

	/* longer lines than are seen; QEMU looks at them if the region is new */
	region = plane.region_index;
	set(VIRT_WIDTH, 1000);
	plane = query();
	EXPECT_NE(region, plane.region_index);
	EXPECT_EQ(640, plane.width);
	EXPECT_EQ(4000, plane.stride);
	EXPECT_EQ((4000 * 480 + PAGE - 1) / PAGE * PAGE, plane.size);

	put(BAR2, ENDIAN, 4, 0xbebebebe);
	EXPECT_EQ(BX24, query().drm_format);
	EXPECT_EQ(640, query().width);
	put(BAR2, ENDIAN, 4, 0x1e1e1e1e);
	EXPECT_EQ(XR24, query().drm_format);

	/* a mode that is set anew has no gaps */
	set_mode(1024, 768);
	plane = query();
	EXPECT_EQ(1024, plane.width);
	EXPECT_EQ(768, plane.height);
	EXPECT_EQ(4096, plane.stride);
	EXPECT_EQ(4096 * 768, plane.size);
	set(ENABLE, 0);
	EXPECT_TRUE(is_off());
}

TEST_F(disp, mode_clamped)
{
	struct vfio_device_gfx_plane_info plane;

	set_mode(0xffff, 0xffff);
	EXPECT_EQ(1024, reg(XRES));
	EXPECT_EQ(768, reg(YRES));
	plane = query();
	EXPECT_EQ(1024, plane.width);
	EXPECT_EQ(768, plane.height);
	EXPECT_EQ(4096, plane.stride);
	set(VIRT_WIDTH, 3);
	EXPECT_EQ(1024, reg(VIRT_WIDTH));
	EXPECT_EQ(4096, query().stride);

	/* the most that is possible can be asked for */
	set_mode(640, 480);
	set(ENABLE, 2);
	EXPECT_EQ(1024, reg(XRES));
	EXPECT_EQ(768, reg(YRES));
	EXPECT_EQ(32, reg(BPP));
	EXPECT_TRUE(is_off());
	set(ENABLE, 1);
	EXPECT_EQ(640, reg(XRES));
	EXPECT_FALSE(is_off());
}

TEST_F(disp, mode_without_picture)
{
	static const int bpps[] = { 0, 4, 8, 15, 16, 24, 33, 0xffff };
	unsigned int i;

	set_mode(640, 480);
	for (i = 0; i < ARRAY_SIZE(bpps); i++) {
		set(BPP, bpps[i]);
		EXPECT_TRUE(is_off());
	}
	set(BPP, 32);
	EXPECT_FALSE(is_off());
	set(XRES, 0);
	EXPECT_TRUE(is_off());
	set(XRES, 640);
	set(YRES, 0);
	EXPECT_TRUE(is_off());
	set(YRES, 480);
	/* 480 lines of this do not fit */
	set(VIRT_WIDTH, 4370);
	EXPECT_TRUE(is_off());
	set(VIRT_WIDTH, 4369);
	EXPECT_FALSE(is_off());
	set(VIRT_WIDTH, 0xffff);
	EXPECT_TRUE(is_off());
	set(VIRT_WIDTH, 0);
	EXPECT_FALSE(is_off());
	/* a blank screen */
	put(BAR2, BLANK, 1, 0);
	EXPECT_TRUE(is_off());
	put(BAR2, BLANK, 1, 0x20);
	EXPECT_FALSE(is_off());
}

TEST_F(disp, plane_flags)
{
	struct vfio_device_gfx_plane_info plane;

	EXPECT_EQ(0, query_flags(PROBE | REGION, &plane));
	EXPECT_EQ(-EINVAL, query_flags(PROBE | DMABUF, &plane));
	EXPECT_EQ(-EINVAL, query_flags(DMABUF, &plane));
	EXPECT_EQ(-EINVAL, query_flags(PROBE, &plane));
	EXPECT_EQ(-EINVAL, query_flags(0, &plane));
	EXPECT_EQ(-EINVAL, query_flags(REGION | DMABUF, &plane));
	EXPECT_EQ(-EINVAL, query_flags(PROBE | REGION | DMABUF, &plane));
	EXPECT_EQ(-EINVAL, query_flags(REGION | 8, &plane));
	EXPECT_EQ(-EFAULT, vfio_ioctl(dev, VFIO_DEVICE_QUERY_GFX_PLANE,
				      (void *)8));

	set_mode(640, 480);
	plane = query();
	EXPECT_EQ(sizeof(plane), plane.argsz);
	EXPECT_EQ(REGION, plane.flags);
	/* the primary plane is this one, a cursor is none */
	plane.drm_plane_type = 1;
	EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_QUERY_GFX_PLANE, &plane));
	EXPECT_EQ(640, plane.width);
	EXPECT_EQ(1, plane.drm_plane_type);
	plane.drm_plane_type = 2;
	EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_QUERY_GFX_PLANE, &plane));
	EXPECT_EQ(0, plane.drm_format);
	EXPECT_EQ(0, plane.width);
	plane.argsz = 16;
	EXPECT_EQ(-EINVAL, vfio_ioctl(dev, VFIO_DEVICE_QUERY_GFX_PLANE, &plane));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(dev, VFIO_DEVICE_GET_GFX_DMABUF, &plane));
}

TEST_F(disp, memory)
{
	uint8_t *mem = map(BAR0), *buf = malloc(MEMORY);
	unsigned int i;

	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < MEMORY; i += PAGE)
		ASSERT_EQ(0, mem[i]);
	/* what is written is seen, and the other way round */
	put(BAR0, 5, 4, 0x12345678);
	EXPECT_EQ(0x78, mem[5]);
	EXPECT_EQ(0x12, mem[8]);
	mem[MEMORY - 1] = 0x77;
	EXPECT_EQ(0x77, get(BAR0, MEMORY - 1, 1));

	for (i = 0; i < MEMORY; i++)
		buf[i] = i ^ i >> 8 ^ i >> 16;
	EXPECT_EQ(MEMORY, vfio_write(dev, buf, MEMORY, at(BAR0, 0)));
	EXPECT_EQ(0, memcmp(buf, mem, MEMORY));
	for (i = 0; i < MEMORY; i++)
		mem[i] ^= 0x5a;
	EXPECT_EQ(MEMORY, vfio_read(dev, buf, MEMORY, at(BAR0, 0)));
	EXPECT_EQ(0, memcmp(buf, mem, MEMORY));

	/* to and from itself */
	EXPECT_EQ(PAGE, vfio_read(dev, mem, PAGE, at(BAR0, PAGE)));
	EXPECT_EQ(0, memcmp(buf + PAGE, mem, PAGE));
	EXPECT_EQ(PAGE, vfio_write(dev, buf, PAGE, at(BAR0, PAGE)));
	EXPECT_EQ(0, memcmp(buf, mem + PAGE, PAGE));

	/* what is beyond the end is cut off */
	EXPECT_EQ(3, vfio_read(dev, buf, 16, at(BAR0, MEMORY - 3)));
	EXPECT_EQ(3, vfio_write(dev, buf, 16, at(BAR0, MEMORY - 3)));
	EXPECT_EQ(-EINVAL, vfio_read(dev, buf, 1, at(BAR0, MEMORY)));
	EXPECT_EQ(-EINVAL, vfio_read(dev, buf, 1, at(BAR0, 1ULL << 39)));
	EXPECT_EQ(-EFAULT, vfio_read(dev, (void *)8, 8, at(BAR0, 0)));
	EXPECT_EQ(-EFAULT, vfio_write(dev, (void *)8, 8, at(BAR0, 0)));
	munmap(mem, MEMORY);
	free(buf);
}

TEST_F(disp, register_bounds)
{
	static const struct { int region, size; } regions[] = {
		{ BAR2, MMIO }, { CONFIG, 256 }, { EDID, 2048 },
	};
	uint8_t buf[2 * MMIO];
	unsigned int i;
	off_t end;

	put(EDID, FIELD(link_state), 4, DOWN);
	for (i = 0; i < ARRAY_SIZE(regions); i++) {
		end = at(regions[i].region, regions[i].size);
		EXPECT_EQ(regions[i].size,
			  vfio_read(dev, buf, sizeof(buf), end - regions[i].size));
		EXPECT_EQ(1, vfio_read(dev, buf, 8, end - 1));
		EXPECT_EQ(1, vfio_write(dev, buf, 8, end - 1));
		EXPECT_EQ(-EINVAL, vfio_read(dev, buf, 1, end));
		EXPECT_EQ(-EINVAL, vfio_write(dev, buf, 1, end));
		EXPECT_EQ(-EFAULT, vfio_read(dev, (void *)8, 4, end - 4));
		EXPECT_EQ(-EFAULT, vfio_write(dev, (void *)8, 4, end - 4));
		EXPECT_EQ(-EFAULT, vfio_read(dev, NULL, 4, end - 4));
		EXPECT_EQ(-EFAULT, vfio_write(dev, NULL, 4, end - 4));
		EXPECT_EQ(0, vfio_read(dev, buf, 0, end - 1));
	}
	EXPECT_EQ(-EINVAL, vfio_read(dev, buf, 1, at(VFIO_PCI_BAR1_REGION_INDEX, 0)));
	EXPECT_EQ(-EINVAL, vfio_read(dev, buf, 1, (off_t)REGIONS << 40));
	EXPECT_EQ(-EINVAL, vfio_read(dev, buf, 1, INT64_MAX));
	EXPECT_EQ(-EINVAL, vfio_read(dev, buf, 1, -1));
}

TEST_F(disp, mmap_refused)
{
	const struct {
		int region;
		off_t where;
		size_t size;
		int flags;
	} bad[] = {
		{ BAR0, 0, MEMORY + PAGE, MAP_SHARED },
		{ BAR0, PAGE, MEMORY, MAP_SHARED },
		{ BAR0, MEMORY, PAGE, MAP_SHARED },
		{ BAR0, MEMORY - PAGE, 2 * PAGE, MAP_SHARED },
		{ BAR0, (1LL << 40) - PAGE, PAGE, MAP_SHARED },
		{ BAR0, 0, PAGE, MAP_PRIVATE },
		{ WINDOW, 0, MEMORY + PAGE, MAP_SHARED },
		{ WINDOW, MEMORY, PAGE, MAP_SHARED },
		{ WINDOW, 0, PAGE, MAP_PRIVATE },
		{ WINDOW + 1, PAGE, MEMORY, MAP_SHARED },
		{ WINDOW + 1, 1LL << 40, PAGE, MAP_SHARED },
		{ BAR2, 0, PAGE, MAP_SHARED },
		{ CONFIG, 0, PAGE, MAP_SHARED },
		{ EDID, 0, PAGE, MAP_SHARED },
	};
	uint8_t *mem;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(MAP_FAILED, map_at(bad[i].region, bad[i].where,
					     bad[i].size, bad[i].flags))
			TH_LOG("entry %u", i);
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, dev,
				   INT64_MAX & -(off_t)PAGE));

	/* the last page, which does not grow */
	mem = map_at(BAR0, MEMORY - PAGE, PAGE, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, mem);
	put(BAR0, MEMORY - 1, 1, 0x99);
	EXPECT_EQ(0x99, mem[PAGE - 1]);
	EXPECT_EQ(MAP_FAILED, mremap(mem, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
	munmap(mem, PAGE);
}

/* a mapping by parts, in places of its own */
TEST_F(disp, mmap_parts)
{
	uint8_t *mem = map(BAR0), *moved;

	ASSERT_NE(MAP_FAILED, mem);
	put(BAR0, 7 * PAGE, 1, 0x17);
	munmap(mem, 5 * PAGE);
	EXPECT_EQ(0x17, mem[7 * PAGE]);
	mem[9 * PAGE] = 0x19;
	EXPECT_EQ(0x19, get(BAR0, 9 * PAGE, 1));
	moved = mremap(mem + 9 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		       mem);
	ASSERT_EQ(mem, moved);
	EXPECT_EQ(0x19, mem[0]);
	EXPECT_EQ(0, mprotect(mem, PAGE, PROT_READ));
	munmap(mem, MEMORY);
}

/* QEMU takes the beginning of a region for the picture until it is told another */
TEST_F(disp, window)
{
	struct vfio_device_gfx_plane_info plane;
	uint8_t *mem = map(BAR0), *old, *new;
	uint32_t first;

	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 1, PAGE);
	memset(mem + 768 * 4096, 2, PAGE);
	set_mode(1024, 768);
	first = query().region_index;
	EXPECT_TRUE(first == WINDOW || first == WINDOW + 1);
	EXPECT_EQ(first, query().region_index);
	old = map(first);
	ASSERT_NE(MAP_FAILED, old);
	EXPECT_EQ(1, old[0]);

	/* flip to the second picture */
	set(Y_OFFSET, 768);
	EXPECT_EQ(768, reg(Y_OFFSET));
	plane = query();
	EXPECT_EQ(WINDOW + WINDOW + 1 - first, plane.region_index);
	EXPECT_EQ(plane.region_index, query().region_index);
	EXPECT_EQ(4096 * 768, plane.size);
	EXPECT_EQ(2, get(plane.region_index, 0, 1));
	new = map(plane.region_index);
	ASSERT_NE(MAP_FAILED, new);
	EXPECT_EQ(2, new[0]);
	EXPECT_EQ(1, old[0]);
	/* it is the same memory, from there to the end, and from the beginning */
	new[PAGE] = 0x33;
	EXPECT_EQ(0x33, mem[768 * 4096 + PAGE]);
	mem[MEMORY - 1] = 0x44;
	EXPECT_EQ(0x44, new[MEMORY - 768 * 4096 - 1]);
	EXPECT_EQ(1, new[MEMORY - 768 * 4096]);
	EXPECT_EQ(1, get(plane.region_index, MEMORY - 768 * 4096, 1));
	EXPECT_EQ(0x0144, get(plane.region_index, MEMORY - 768 * 4096 - 1, 2));
	put(plane.region_index, MEMORY - 768 * 4096 - 1, 2, 0x6655);
	EXPECT_EQ(0x55, mem[MEMORY - 1]);
	EXPECT_EQ(0x66, mem[0]);

	/* there and back while nobody looks: no change */
	set(Y_OFFSET, 0);
	set(Y_OFFSET, 768);
	EXPECT_EQ(plane.region_index, query().region_index);
	/* back and elsewhere while nobody looks: a change */
	set(Y_OFFSET, 0);
	set(Y_OFFSET, 1);
	EXPECT_EQ(first, query().region_index);
	EXPECT_EQ(0x66, old[0]);
	munmap(old, MEMORY);
	old = map(first);
	ASSERT_NE(MAP_FAILED, old);
	old[0] = 0x21;
	/* a page is the least */
	EXPECT_EQ(0x21, mem[4096 & -PAGE]);
	munmap(old, MEMORY);
	munmap(new, MEMORY);
	munmap(mem, MEMORY);
}

/* what one client has set is not there for the next, nor after a reset */
TEST_F(disp, window_is_forgotten)
{
	uint32_t first, second;

	set_mode(1024, 768);
	first = query().region_index;
	set(Y_OFFSET, 5);
	second = query().region_index;
	EXPECT_NE(first, second);

	EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL));
	put(BAR0, 0, 4, 0x12345678);
	EXPECT_EQ(0x12345678, get(WINDOW, 0, 4));
	EXPECT_EQ(0x12345678, get(WINDOW + 1, 0, 4));
	/* or QEMU would not notice */
	set_mode(1024, 768);
	EXPECT_EQ(first, query().region_index);

	set(Y_OFFSET, 5);
	EXPECT_EQ(second, query().region_index);
	vfio_close(&self->vc);
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	dev = self->vc.device;
	put(BAR0, 0, 4, 0x12345678);
	EXPECT_EQ(0x12345678, get(WINDOW, 0, 4));
	EXPECT_EQ(0x12345678, get(WINDOW + 1, 0, 4));
	set_mode(1024, 768);
	EXPECT_EQ(first, query().region_index);
	/* the same with the other parity */
	set(Y_OFFSET, 5);
	set_mode(800, 600);
	query();
	vfio_close(&self->vc);
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	dev = self->vc.device;
	set_mode(1024, 768);
	EXPECT_EQ(first, query().region_index);
}

TEST_F(disp, window_anywhere)
{
	static const struct { int width, x, y; unsigned int start; } tests[] = {
		{ 1024, 0, 5, 5 * 4096 },
		{ 1024, 1023, 5, 5 * 4096 + 1023 * 4 },
		{ 1024, 1024, 5, 6 * 4096 },
		{ 1024, 0, 2047, MEMORY - 4096 },
		{ 1024, 0, 2049, 4096 },
		{ 1024, 0xffff, 0xffff, 63 * 4096 - 4 },
		{ 2560, 0, 2, 5 * 4096 },
	};
	unsigned int start;
	uint8_t *mem;
	unsigned int i;

	for (i = 0; i < MEMORY; i += PAGE)
		put(BAR0, i, 4, i);
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		set_mode(640, 480);
		set(VIRT_WIDTH, tests[i].width);
		set(X_OFFSET, tests[i].x);
		set(Y_OFFSET, tests[i].y);
		mem = map(query().region_index);
		ASSERT_NE(MAP_FAILED, mem);
		/* a page is the least */
		start = tests[i].start & -PAGE;
		EXPECT_EQ(start, le32toh(*(uint32_t *)mem));
		EXPECT_EQ((start - PAGE) % MEMORY,
			  le32toh(*(uint32_t *)(mem + MEMORY - PAGE)));
		munmap(mem, MEMORY);
	}
	/* a new mode starts at the beginning */
	set_mode(640, 480);
	EXPECT_EQ(0, reg(X_OFFSET));
	EXPECT_EQ(0, reg(Y_OFFSET));
	EXPECT_EQ(0, get(query().region_index, 0, 4));
}

TEST_F(disp, reset)
{
	uint8_t *mem = map(BAR0);

	ASSERT_NE(MAP_FAILED, mem);
	set_mode(640, 480);
	memset(mem, 0xaa, MEMORY);
	put(BAR2, ENDIAN, 4, 0xbebebebe);
	put(BAR2, BLANK, 1, 0);
	EXPECT_EQ(0, edid_plug(800, 600));

	EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL));
	EXPECT_TRUE(is_off());
	EXPECT_EQ(0, reg(XRES));
	EXPECT_EQ(0x1e1e1e1e, get(BAR2, ENDIAN, 4));
	/* the mapping is still one, of memory that is cleared */
	EXPECT_EQ(0, mem[0]);
	EXPECT_EQ(0, memcmp(mem, mem + 1, MEMORY - 1));
	mem[0] = 0x11;
	EXPECT_EQ(0x11, get(BAR0, 0, 1));
	/* nobody unplugged the monitor */
	EXPECT_EQ(800 & 0xff, get(BAR2, 56, 1));
	set_mode(640, 480);
	EXPECT_FALSE(is_off());
	munmap(mem, MEMORY);
}

/* the next user finds nothing of this one */
TEST_F(disp, nothing_left)
{
	uint8_t *mem = map(BAR0), edid[2048], seen[2048];

	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 0xaa, MEMORY);
	munmap(mem, MEMORY);
	set_mode(640, 480);
	set(Y_OFFSET, 7);
	query();
	put(CONFIG, PCI_INTERRUPT_LINE, 1, 9);
	ASSERT_EQ(2048, vfio_read(dev, edid, 2048, at(EDID, 0)));
	EXPECT_EQ(0, edid_plug(800, 600));
	put(EDID, FIELD(link_state), 4, DOWN);
	put(EDID, 2000, 4, 0x12345678);

	vfio_close(&self->vc);
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	dev = self->vc.device;
	mem = map(BAR0);
	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_EQ(0, mem[0]);
	EXPECT_EQ(0, memcmp(mem, mem + 1, MEMORY - 1));
	munmap(mem, MEMORY);
	EXPECT_TRUE(is_off());
	EXPECT_EQ(0, get(CONFIG, PCI_INTERRUPT_LINE, 1));
	ASSERT_EQ(2048, vfio_read(dev, seen, 2048, at(EDID, 0)));
	EXPECT_EQ(0, memcmp(edid, seen, 2048));
	set_mode(640, 480);
	EXPECT_EQ(0, get(query().region_index, 0, 4));
}

/* a mapping keeps the device in use, whoever has it */
TEST_F(disp, mapping_outlives_fd)
{
	uint8_t *mem = map(BAR0);
	int ready[2], go[2];
	pid_t pid;
	char c;

	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(go));
	mem[0] = 1;
	pid = fork_child();
	if (!pid) {
		vfio_close(&self->vc);
		close(go[1]);
		mem[0] = 2;
		mem[PAGE] = 3;	/* not touched before the fork */
		if (write(ready[1], "", 1) != 1 || read(go[0], &c, 1))
			child_exit(1);
		child_exit(mem[0] == 4 ? 0 : 2);
	}
	ASSERT_EQ(1, read(ready[0], &c, 1));
	EXPECT_EQ(2, mem[0]);
	EXPECT_EQ(3, get(BAR0, PAGE, 1));
	vfio_close(&self->vc);
	mem[0] = 4;
	munmap(mem, MEMORY);

	EXPECT_TRUE(child_running(pid));
	EXPECT_EQ(-EBUSY, mdev_remove(self->uuid));
	EXPECT_EQ(1, module_refs("mdisp"));
	close(go[1]);
	EXPECT_EQ(0, child_wait(pid));
	EXPECT_TRUE(wait_for(!module_refs("mdisp")));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	dev = self->vc.device;
	EXPECT_EQ(0, get(BAR0, 0, 4));
	EXPECT_EQ(0, get(BAR0, PAGE, 4));
}

/*
 * A page of the memory can be kept longer than the mapping, the fd and all: by whatever
 * pins it. Then it is not for the next user. Each of these keeps the first page, and
 * looks, or writes, when it is somebody else's turn.
 */
#define MINE	"what is mine"
#define SECRET	"a secret of the next one"

static uint8_t *keep_first(void)
{
	uint8_t *mem = map(BAR0);

	if (mem != MAP_FAILED)
		memcpy(mem, MINE, sizeof(MINE));
	return mem;
}

/* close it, open it as somebody else, who finds it clean and writes something */
static char *next_user(struct __test_metadata *_metadata,
		       struct vfio_client *vc, const char *uuid, uint8_t *mem)
{
	munmap(mem, MEMORY);
	vfio_close(vc);
	ASSERT_EQ(0, vfio_open(vc, uuid));
	dev = vc->device;
	mem = map(BAR0);
	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_EQ(0, mem[0]);
	EXPECT_EQ(0, memcmp(mem, mem + 1, MEMORY - 1));
	memcpy(mem, SECRET, sizeof(SECRET));
	return (char *)mem;
}

TEST_F(disp, kept_by_vmsplice)
{
	uint8_t *mem = keep_first();
	struct iovec page = { mem, PAGE };
	char seen[PAGE_MAX] = "", *next;
	int fds[2];

	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, pipe2(fds, O_CLOEXEC));
	ASSERT_EQ(PAGE, vmsplice(fds[1], &page, 1, 0));
	next = next_user(_metadata, &self->vc, self->uuid, mem);
	EXPECT_EQ(PAGE, read(fds[0], seen, PAGE));
	EXPECT_STREQ(MINE, seen);
	munmap(next, MEMORY);
	close(fds[0]);
	close(fds[1]);
}

/* a ring that has the page as a fixed buffer, for one request at a time */
struct ring {
	int fd;
	struct io_uring_params params;
	uint8_t *sq;
	struct io_uring_sqe *sqe;
};

static int ring_open(struct ring *ring, void *page)
{
	struct iovec buffer = { page, PAGE };

	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(SYS_io_uring_setup, 1, &ring->params);
	/* not in this kernel */
	if (ring->fd < 0)
		return -EOPNOTSUPP;
	ring->sq = mmap(NULL, PAGE, RW, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->sqe = mmap(NULL, sizeof(*ring->sqe), RW, MAP_SHARED, ring->fd,
			 IORING_OFF_SQES);
	if (ring->sq == MAP_FAILED || ring->sqe == MAP_FAILED ||
	    syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS,
		    &buffer, 1)) {
		int ret = -errno;

		close(ring->fd);
		return ret;
	}
	return 0;
}

/* between the page and a pipe, of @count bytes */
static int ring_do(struct ring *ring, int opcode, int fd, void *page, int count)
{
	uint32_t *tail = (uint32_t *)(ring->sq + ring->params.sq_off.tail);

	*ring->sqe = (struct io_uring_sqe) {
		.opcode = opcode, .fd = fd, .off = -1ULL,
		.addr = (uintptr_t)page, .len = count,
	};
	*(uint32_t *)(ring->sq + ring->params.sq_off.array) = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	return syscall(SYS_io_uring_enter, ring->fd, 1, 1,
		       IORING_ENTER_GETEVENTS, NULL, 0) == 1 ? 0 : -errno;
}

TEST_F(disp, kept_by_io_uring)
{
	uint8_t *mem = keep_first();
	char seen[PAGE_MAX] = "", *next;
	struct ring ring;
	int fds[2], ret;

	ASSERT_NE(MAP_FAILED, mem);
	ret = ring_open(&ring, mem);
	if (ret == -EOPNOTSUPP) {
		munmap(mem, MEMORY);
		SKIP(return, "this kernel's io_uring does not keep such pages");
	}
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, pipe2(fds, O_CLOEXEC));
	next = next_user(_metadata, &self->vc, self->uuid, mem);
	ASSERT_EQ(0, ring_do(&ring, IORING_OP_WRITE_FIXED, fds[1], mem, PAGE));
	EXPECT_EQ(PAGE, read(fds[0], seen, PAGE));
	EXPECT_STREQ(MINE, seen);
	ASSERT_EQ(5, write(fds[1], "spoil", 5));
	ASSERT_EQ(0, ring_do(&ring, IORING_OP_READ_FIXED, fds[0], mem, 5));
	EXPECT_STREQ(SECRET, next);
	munmap(next, MEMORY);
	close(ring.fd);
	close(fds[0]);
	close(fds[1]);
}

/* by another device, in memory of its own */
TEST_F(disp, kept_by_dma)
{
	struct test_dma_range range = { .iova = 0, .npage = 1, .prot = 3 };
	struct test_dma_fill fill = { .iova = 0, .byte = 0xee };
	uint8_t *mem = keep_first();
	char uuid[UUID_LEN + 1], *next;
	struct vfio_client other;

	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, module_load("mdev_test_dma"));
	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create("mdev_test_dma/platform-dma", uuid));
	ASSERT_EQ(0, vfio_open(&other, uuid));
	ASSERT_EQ(0, vfio_dma_map(&other, mem, 0, PAGE, true));
	ASSERT_EQ(1, vfio_ioctl(other.device, TEST_DMA_PIN, &range));
	next = next_user(_metadata, &self->vc, self->uuid, mem);
	ASSERT_EQ(0, vfio_ioctl(other.device, TEST_DMA_FILL, &fill));
	EXPECT_STREQ(SECRET, next);
	munmap(next, MEMORY);
	vfio_close(&other);
	EXPECT_EQ(0, mdev_remove(uuid));
}

static void *read_directly(void *page)
{
	int fd = open(FUSE_FILE, O_RDONLY | O_DIRECT | O_CLOEXEC);
	long ret = fd < 0 ? -1 : read(fd, page, PAGE);

	if (ret < 0)
		fprintf(stderr, "# read: %s\n", strerror(errno));
	close(fd);
	return (void *)ret;
}

/* by a read that is under way */
TEST_F(disp, kept_by_direct_io)
{
	pthread_t reader;
	char *next, c;
	uint8_t *mem;
	int hold[2];
	pid_t server;
	void *ret;

	/* or the server would have the device open, too */
	vfio_close(&self->vc);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, hold));
	server = fuse_start(hold[1]);
	if (server == -ENODEV)
		SKIP(return, "no FUSE in this kernel");
	ASSERT_LT(0, server);
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	dev = self->vc.device;
	mem = keep_first();
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, pthread_create(&reader, NULL, read_directly, mem));
	ASSERT_TRUE(wait_for(recv(hold[0], &c, 1, MSG_DONTWAIT) == 1));
	next = next_user(_metadata, &self->vc, self->uuid, mem);
	ASSERT_EQ(1, write(hold[0], &c, 1));
	ASSERT_EQ(0, pthread_join(reader, &ret));
	EXPECT_EQ(FUSE_SIZE, (long)ret);
	EXPECT_STREQ(SECRET, next);
	munmap(next, MEMORY);
	fuse_stop(server);
	close(hold[0]);
	close(hold[1]);
}

/* What others see of the first page, by each way there is. */
static int peek_vm(pid_t pid, void *page, char *seen)
{
	struct iovec to = { seen, sizeof(MINE) }, from = { page, sizeof(MINE) };

	return process_vm_readv(pid, &to, 1, &from, 1, 0);
}

static int peek_ptrace(pid_t pid, void *page, char *seen)
{
	long word;

	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) || waitpid(pid, NULL, 0) != pid)
		return -EPERM;
	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, pid, page, NULL);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	memcpy(seen, &word, sizeof(word));
	return errno ? -1 : (int)sizeof(word);
}

static int peek_proc(pid_t pid, void *page, char *seen)
{
	char path[32];
	int fd, ret;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ret = pread(fd, seen, sizeof(MINE), (uintptr_t)page);
	close(fd);
	return ret;
}

static int (* const peeks[])(pid_t pid, void *page, char *seen) = {
	peek_vm, peek_ptrace, peek_proc,
};

/*
 * Who may look into the memory of the device's owner sees the device's while it is mapped
 * there, and no longer.
 */
TEST_F(disp, seen_by_others)
{
	uint8_t *mem = keep_first();
	struct iovec from = { "poked", 5 }, to = { mem, 5 };
	char seen[PAGE], *next, c;
	int go[2], done[2];
	unsigned int i;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, mem);
	/* any memory of ours would do */
	if (peek_vm(getpid(), seen, seen) < 0) {
		munmap(mem, MEMORY);
		SKIP(return, "no process_vm_readv() in this kernel");
	}
	ASSERT_EQ(0, pipe2(go, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(done, O_CLOEXEC));
	pid = fork_child();
	if (!pid) {
		vfio_close(&self->vc);
		close(go[1]);
		if (read(go[0], &c, 1) == 1 && !munmap(mem, MEMORY) &&
		    write(done[1], "", 1) == 1 && read(go[0], &c, 1) == 0)
			child_exit(0);
		child_exit(-EPIPE);
	}
	/* the child's mapping is all that is left */
	munmap(mem, MEMORY);
	vfio_close(&self->vc);
	for (i = 0; i < ARRAY_SIZE(peeks); i++) {
		memset(seen, 0, sizeof(seen));
		EXPECT_LT(0, peeks[i](pid, mem, seen))
			TH_LOG("peek %u", i);
		EXPECT_EQ(0, memcmp(MINE, seen, sizeof(long)));
	}
	EXPECT_EQ(5, process_vm_writev(pid, &from, 1, &to, 1, 0));
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(1, read(done[0], &c, 1));

	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	dev = self->vc.device;
	next = (char *)map(BAR0);
	ASSERT_NE(MAP_FAILED, (void *)next);
	EXPECT_EQ(0, next[0]);
	EXPECT_EQ(0, memcmp(next, next + 1, MEMORY - 1));
	memcpy(next, SECRET, sizeof(SECRET));
	for (i = 0; i < ARRAY_SIZE(peeks); i++)
		EXPECT_GT(0, peeks[i](pid, mem, seen))
			TH_LOG("peek %u", i);
	EXPECT_EQ(-1, process_vm_writev(pid, &from, 1, &to, 1, 0));
	EXPECT_STREQ(SECRET, next);
	munmap(next, MEMORY);
	close(go[1]);
	EXPECT_EQ(0, child_wait(pid));
}

TEST_F(disp, edid)
{
	uint8_t edid[128], seen[1024];
	struct vfio_region_gfx_edid regs;

	ASSERT_EQ(sizeof(regs), vfio_read(dev, &regs, sizeof(regs), at(EDID, 0)));
	EXPECT_EQ(1024, regs.edid_offset);
	EXPECT_EQ(1024, regs.edid_max_size);
	EXPECT_EQ(1024, regs.max_xres);
	EXPECT_EQ(768, regs.max_yres);
	EXPECT_EQ(0, get(EDID, sizeof(regs), 4));

	edid_make(edid, 800, 600);
	EXPECT_EQ(0, edid_plug(800, 600));
	EXPECT_EQ(UP, get(EDID, FIELD(link_state), 4));
	EXPECT_EQ(sizeof(edid), get(EDID, FIELD(edid_size), 4));
	/* the guest sees it, and nothing behind it */
	ASSERT_EQ(1024, vfio_read(dev, seen, 1024, at(BAR2, 0)));
	EXPECT_EQ(0, memcmp(edid, seen, sizeof(edid)));
	EXPECT_EQ(0, seen[128]);
	EXPECT_EQ(edid[127], get(BAR2, 127, 1));
	EXPECT_EQ(0, memcmp(seen + 128, seen + 129, 1024 - 129));
	/* it cannot write to it */
	put(BAR2, 8, 4, 0xffffffff);
	EXPECT_EQ(0, get(BAR2, 8, 4));

	/* no change under its eyes */
	EXPECT_EQ(-EBUSY, try_put(EDID, 1024, 1, 1));
	EXPECT_EQ(-EBUSY, try_put(EDID, FIELD(edid_size), 4, 0));
	EXPECT_EQ(0, try_put(EDID, FIELD(link_state), 4, UP));
	put(EDID, FIELD(link_state), 4, DOWN);
	EXPECT_EQ(0, get(BAR2, 1, 1));
	ASSERT_EQ(1024, vfio_read(dev, seen, 1024, at(EDID, 1024)));
	EXPECT_EQ(0, memcmp(edid, seen, sizeof(edid)));

	/* as long as it may be */
	memset(seen, 0x5a, sizeof(seen));
	seen[54] = 0;
	seen[55] = 0;	/* prefers nothing */
	EXPECT_EQ(1024, vfio_write(dev, seen, 2000, at(EDID, 1024)));
	put(EDID, FIELD(edid_size), 4, 1024);
	EXPECT_EQ(0, try_put(EDID, FIELD(link_state), 4, UP));
	EXPECT_EQ(0x5a5a, get(BAR2, 1022, 2));
}

/* there is a monitor before anybody plugs in one */
TEST_F(disp, edid_default)
{
	uint8_t edid[1024], sum = 0;
	int i;

	EXPECT_EQ(UP, get(EDID, FIELD(link_state), 4));
	EXPECT_EQ(128, get(EDID, FIELD(edid_size), 4));
	ASSERT_EQ(1024, vfio_read(dev, edid, 1024, at(BAR2, 0)));
	EXPECT_EQ(0, memcmp(edid, "\0\xff\xff\xff\xff\xff\xff\0", 8));
	for (i = 0; i < 128; i++)
		sum += edid[i];
	EXPECT_EQ(0, sum);
	for (; i < 1024; i++)
		EXPECT_EQ(0, edid[i]);
	EXPECT_EQ(1024, edid[56] | (edid[58] & 0xf0) << 4);
	EXPECT_EQ(768, edid[59] | (edid[61] & 0xf0) << 4);

	put(EDID, FIELD(link_state), 4, DOWN);
	EXPECT_EQ(0, get(BAR2, 0, 4));
}

TEST_F(disp, edid_refused)
{
	put(EDID, FIELD(link_state), 4, DOWN);
	EXPECT_EQ(-EINVAL, try_put(EDID, FIELD(edid_size), 4, 1025));
	EXPECT_EQ(-EINVAL, try_put(EDID, FIELD(edid_size), 4, 0xffffffff));
	EXPECT_EQ(128, get(EDID, FIELD(edid_size), 4));
	EXPECT_EQ(-EINVAL, try_put(EDID, FIELD(link_state), 4, 0));
	EXPECT_EQ(-EINVAL, try_put(EDID, FIELD(link_state), 4, 3));
	EXPECT_EQ(DOWN, get(EDID, FIELD(link_state), 4));
	/* what cannot be written, or not in part */
	EXPECT_EQ(-EINVAL, try_put(EDID, FIELD(edid_offset), 4, 0));
	EXPECT_EQ(-EINVAL, try_put(EDID, FIELD(edid_max_size), 4, 4096));
	EXPECT_EQ(-EINVAL, try_put(EDID, FIELD(max_xres), 4, 4096));
	EXPECT_EQ(-EINVAL, try_put(EDID, FIELD(max_yres), 4, 4096));
	EXPECT_EQ(-EINVAL, try_put(EDID, FIELD(edid_size), 1, 1));
	EXPECT_EQ(-EINVAL, try_put(EDID, FIELD(link_state), 2, UP));
	EXPECT_EQ(-EINVAL, try_put(EDID, FIELD(link_state) + 1, 4, UP));
	EXPECT_EQ(-EINVAL, try_put(EDID, sizeof(struct vfio_region_gfx_edid), 4,
				   0));
	EXPECT_EQ(-EINVAL, try_put(EDID, 1023, 4, 0));
}

/* a monitor that would like more than there is */
TEST_F(disp, edid_fitted)
{
	static const struct { int xres, yres, x, y; } tests[] = {
		{ 1024, 768, 1024, 768 }, { 1, 1, 1, 1 }, { 800, 768, 800, 768 },
		{ 1025, 768, 1024, 768 }, { 800, 769, 1024, 768 },
		{ 1280, 800, 1024, 768 }, { 4095, 4095, 1024, 768 },
	};
	uint8_t seen[128], sum;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		EXPECT_EQ(0, edid_plug(tests[i].xres, tests[i].yres));
		ASSERT_EQ(128, vfio_read(dev, seen, 128, at(BAR2, 0)));
		EXPECT_EQ(tests[i].x, seen[56] | (seen[58] & 0xf0) << 4);
		EXPECT_EQ(tests[i].y, seen[59] | (seen[61] & 0xf0) << 4);
		if (tests[i].xres == tests[i].x && tests[i].yres == tests[i].y)
			continue;
		for (sum = 0, j = 0; j < 128; j++)
			sum += seen[j];
		EXPECT_EQ(0, sum);
		/* 60 Hz */
		EXPECT_EQ((1024 + 160) * (768 + 32) * 60 / 10000,
			  seen[54] | seen[55] << 8);
	}
}

/* everything at once: nothing to see but that all goes on */
static bool stop;

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void *race_map(void *arg)
{
	while (!stopped()) {
		int region = *(int *)arg;
		uint8_t *mem = map(region);

		if (mem == MAP_FAILED)
			return "map";
		mem[(rand() % MEMORY)] ^= 1;
		munmap(mem, MEMORY);
	}
	return NULL;
}

static void *race_mode(void *arg)
{
	while (!stopped()) {
		set_mode(rand() % 2000, rand() % 2000);
		set(VIRT_WIDTH, rand());
		set(X_OFFSET, rand());
		set(Y_OFFSET, rand());
		edid_plug(rand() % 2000, rand() % 2000);
	}
	return NULL;
}

static void *race_query(void *arg)
{
	while (!stopped()) {
		struct vfio_device_gfx_plane_info plane = query();

		if (plane.size > MEMORY || plane.width > 1024 ||
		    plane.height > 768 || plane.width * 4 > plane.stride)
			return "plane";
	}
	return NULL;
}

static void *race_reset(void *arg)
{
	while (!stopped())
		if (vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL))
			return "reset";
	return NULL;
}

TEST_F(disp, race)
{
	static const int regions[] = { BAR0, WINDOW, WINDOW + 1 };
	struct {
		pthread_t thread;
		void *(*fn)(void *arg);
	} racers[] = {
		{ .fn = race_map }, { .fn = race_map }, { .fn = race_map },
		{ .fn = race_mode }, { .fn = race_query }, { .fn = race_reset },
	};
	unsigned int i;
	void *failed;

	for (i = 0; i < ARRAY_SIZE(racers); i++)
		ASSERT_EQ(0, pthread_create(&racers[i].thread, NULL,
					    racers[i].fn,
					    (void *)&regions[i % 3]));
	sleep_ms(1500);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < ARRAY_SIZE(racers); i++) {
		ASSERT_EQ(0, pthread_join(racers[i].thread, &failed));
		EXPECT_EQ(NULL, failed)
			TH_LOG("%s", (char *)failed);
	}
}

/* the types, and what they share */
FIXTURE(types) {
	char uuid[8][UUID_LEN + 1];
};

FIXTURE_SETUP(types)
{
	unsigned int i;

	ASSERT_EQ(0, vendors_reset());
	for (i = 0; i < ARRAY_SIZE(self->uuid); i++)
		uuid_next(self->uuid[i]);
}

FIXTURE_TEARDOWN(types)
{
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(types, files)
{
	static const char * const files[][3] = {
		{ "vga", "Display 640x480",
		  "PCI display, up to 640x480 pixels, 4 MiB" },
		{ "xga", "Display 1024x768",
		  "PCI display, up to 1024x768 pixels, 8 MiB" },
		{ "hd", "Display 1920x1080",
		  "PCI display, up to 1920x1080 pixels, 16 MiB" },
	};
	const char *dir = PARENT "/mdev_supported_types/mdisp-%s/%s";
	unsigned int i;
	char buf[64];

	ASSERT_EQ(0, module_load("mdisp"));
	EXPECT_EQ(3, dir_count(PARENT "/mdev_supported_types"));
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		ASSERT_LT(0, file_read(buf, sizeof(buf), dir, files[i][0],
				       "name"));
		EXPECT_STREQ(files[i][1], buf);
		ASSERT_LT(0, file_read(buf, sizeof(buf), dir, files[i][0],
				       "description"));
		EXPECT_STREQ(files[i][2], buf);
		ASSERT_LT(0, file_read(buf, sizeof(buf), dir, files[i][0],
				       "device_api"));
		EXPECT_STREQ("vfio-pci", buf);
	}
	EXPECT_EQ(64, mdev_available(VGA));
	EXPECT_EQ(32, mdev_available(XGA));
	EXPECT_EQ(16, mdev_available(HD));
}

TEST_F(types, share_memory)
{
	ASSERT_EQ(0, module_load("mdisp mem_mib=30"));
	EXPECT_EQ(7, mdev_available(VGA));
	EXPECT_EQ(3, mdev_available(XGA));
	EXPECT_EQ(1, mdev_available(HD));

	ASSERT_EQ(0, mdev_create(HD, self->uuid[0]));
	EXPECT_EQ(3, mdev_available(VGA));
	EXPECT_EQ(1, mdev_available(XGA));
	EXPECT_EQ(0, mdev_available(HD));
	EXPECT_EQ(-EUSERS, mdev_create(HD, self->uuid[1]));
	ASSERT_EQ(0, mdev_create(XGA, self->uuid[1]));
	EXPECT_EQ(1, mdev_available(VGA));
	EXPECT_EQ(-EUSERS, mdev_create(XGA, self->uuid[2]));
	ASSERT_EQ(0, mdev_create(VGA, self->uuid[2]));
	EXPECT_EQ(0, mdev_available(VGA));
	EXPECT_EQ(-EUSERS, mdev_create(VGA, self->uuid[3]));

	EXPECT_EQ(0, mdev_remove(self->uuid[0]));
	EXPECT_EQ(4, mdev_available(VGA));
	EXPECT_EQ(1, mdev_available(HD));
	EXPECT_EQ(0, mdev_remove(self->uuid[1]));
	EXPECT_EQ(0, mdev_remove(self->uuid[2]));
	EXPECT_EQ(7, mdev_available(VGA));
}

TEST_F(types, sizes)
{
	static const struct { const char *type; int mib, xres, yres; } types[] = {
		{ VGA, 4, 640, 480 }, { XGA, 8, 1024, 768 }, { HD, 16, 1920, 1080 },
	};
	struct vfio_device_gfx_plane_info plane;
	struct vfio_region_info info;
	struct vfio_client vc;
	unsigned int i;

	ASSERT_EQ(0, module_load("mdisp"));
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		ASSERT_EQ(0, mdev_create(types[i].type, self->uuid[i]));
		ASSERT_EQ(0, vfio_open(&vc, self->uuid[i]));
		dev = vc.device;
		ASSERT_EQ(0, vfio_region(dev, BAR0, &info));
		EXPECT_EQ(types[i].mib << 20, info.size);
		put(CONFIG, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
		EXPECT_EQ(info.size, -(get(CONFIG, PCI_BASE_ADDRESS_0, 4) & ~15));
		EXPECT_EQ(info.size >> 16, reg(MEMORY_64K));
		set_mode(types[i].xres, types[i].yres);
		plane = query();
		EXPECT_EQ(types[i].xres, plane.width);
		EXPECT_EQ(types[i].yres, plane.height);
		/* drivers flip between two pictures */
		EXPECT_LE(2 * plane.size, info.size);
		set_mode(8000, 8000);
		EXPECT_EQ(types[i].xres, reg(XRES));
		EXPECT_EQ(types[i].yres, reg(YRES));
		EXPECT_EQ(types[i].xres, get(EDID, FIELD(max_xres), 4));
		EXPECT_EQ(types[i].yres, get(EDID, FIELD(max_yres), 4));
		EXPECT_EQ(0, lost);
		vfio_close(&vc);
		EXPECT_EQ(0, mdev_remove(self->uuid[i]));
	}
}

TEST_HARNESS_MAIN
