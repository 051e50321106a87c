// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kit for PCI devices, mdev_pci.ko, as a VMM sees it: devices of the vendor
 * mdev_test_pci, which has an entry of each kind in each table. What is right is
 * computed here from what PCI and VFIO say, and not from the kit's tables.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"
#include "test_modules/mdev_test_pci.h"

#define FULL	"mdev_test_pci/mdev_test_pci-full"
#define SMALL	"mdev_test_pci/mdev_test_pci-small"
#define NOTHING	"mdev_test_pci/mdev_test_pci-none"
#define ODD	"mdev_test_pci/mdev_test_pci-odd"
#define HELLO	"hello/hello-1"

#define INTX	VFIO_PCI_INTX_IRQ_INDEX
#define MSI	VFIO_PCI_MSI_IRQ_INDEX
#define MSIX	VFIO_PCI_MSIX_IRQ_INDEX
#define ERR	VFIO_PCI_ERR_IRQ_INDEX
#define REQ	VFIO_PCI_REQ_IRQ_INDEX
#define MASK	VFIO_IRQ_SET_ACTION_MASK
#define UNMASK	VFIO_IRQ_SET_ACTION_UNMASK
#define TRIG	VFIO_IRQ_SET_ACTION_TRIGGER
#define NONE	VFIO_IRQ_SET_DATA_NONE
#define BOOL	VFIO_IRQ_SET_DATA_BOOL
#define EFD	VFIO_IRQ_SET_DATA_EVENTFD

#define CONFIG	VFIO_PCI_CONFIG_REGION_INDEX
#define ROM	VFIO_PCI_ROM_REGION_INDEX
#define READ	VFIO_REGION_INFO_FLAG_READ
#define WRITE	VFIO_REGION_INFO_FLAG_WRITE
#define MMAP	VFIO_REGION_INFO_FLAG_MMAP
#define CAPS	VFIO_REGION_INFO_FLAG_CAPS

#define RUNNING	VFIO_DEVICE_STATE_RUNNING
#define RUNNING_P2P VFIO_DEVICE_STATE_RUNNING_P2P
#define STOP	VFIO_DEVICE_STATE_STOP
#define ERROR	VFIO_DEVICE_STATE_ERROR

/* where the vendor's tables put them */
#define FULL_PM		0x40
#define FULL_MSI	0x48
#define FULL_MSIX	0x58
#define FULL_EXP	0x64
#define FULL_VNDR	0xe0
#define SMALL_AF	0x40
#define SMALL_PM	0x48

#define STATE		(MDEV_TEST_PCI_BYTES + 3 * 2 + 1 + 4 + 8)
#define HEADER		12

/* the device under test; each test is a process of its own */
static int dev = -1;

static off_t at(int index, off_t offset)
{
	return ((off_t)index << 40) + offset;
}

static uint64_t get(int index, off_t offset, int size)
{
	uint64_t val = 0;

	if (vfio_read(dev, &val, size, at(index, offset)) != size)
		return 0xbad0bad0bad0bad0;
	return le64toh(val);
}

static int put(int index, off_t offset, int size, uint64_t data)
{
	uint64_t val = htole64(data);
	int ret;

	ret = vfio_write(dev, &val, size, at(index, offset));
	return ret == size ? 0 : ret;
}

static uint32_t cfg(int offset, int size)
{
	return get(CONFIG, offset, size);
}

static int set_cfg(int offset, int size, uint32_t val)
{
	return put(CONFIG, offset, size, val);
}

static int test_ioctl(unsigned long cmd, void *arg)
{
	return vfio_ioctl(dev, cmd, arg);
}

static struct mdev_test_pci_counts counts(void)
{
	struct mdev_test_pci_counts counts;

	memset(&counts, 0xff, sizeof(counts));
	test_ioctl(MDEV_TEST_PCI_GET_COUNTS, &counts);
	return counts;
}

static int reset(void)
{
	return vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL);
}

static int raise_irq(int what, int arg, int hard)
{
	struct mdev_test_pci_raise how = { what, arg, hard };

	return test_ioctl(MDEV_TEST_PCI_RAISE, &how);
}

static int efd_new(void)
{
	return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

/* how often was it signalled? What a work does is waited for where it is expected. */
static int signals(int fd)
{
	eventfd_t value;

	return eventfd_read(fd, &value) ? 0 : value;
}

static int irq_trigger(int index, int start, int32_t fd)
{
	return vfio_set_irqs(dev, TRIG | EFD, index, start, 1, &fd);
}

static int irq_off(int index)
{
	return vfio_set_irqs(dev, TRIG | NONE, index, 0, 0, NULL);
}

static int irq_do(int action, int index)
{
	return vfio_set_irqs(dev, action | NONE, index, 0, 1, NULL);
}

FIXTURE(pci) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
};

FIXTURE_VARIANT(pci) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(pci, group) { .iommufd = false, };
FIXTURE_VARIANT_ADD(pci, cdev) { .iommufd = true, };

static int device_add(char *uuid, struct vfio_client *vc, const char *type)
{
	int ret;

	uuid_next(uuid);
	ret = mdev_create(type, uuid) ?: vfio_open(vc, uuid);
	dev = vc->device;
	return ret;
}

/* instead of the device that the fixture has made */
static int device_change(char *uuid, struct vfio_client *vc, const char *type)
{
	vfio_close(vc);
	return mdev_remove(uuid) ?: device_add(uuid, vc, type);
}

FIXTURE_SETUP(pci)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mdev_test_pci"));
	ASSERT_EQ(0, device_add(self->uuid, &self->vc, FULL));
}

FIXTURE_TEARDOWN(pci)
{
	vfio_close(&self->vc);
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

/* what VFIO is told */

/* the capability of a region with this id; NULL if there is none, or the chain is bad */
static const struct vfio_info_cap_header *
region_cap(int index, uint16_t id, void *buf, size_t size)
{
	struct vfio_region_info *info = buf;
	const struct vfio_info_cap_header *cap;
	uint32_t offset;

	memset(buf, 0, size);
	info->argsz = size;
	info->index = index;
	if (vfio_ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, info) ||
	    info->argsz > size)
		return NULL;
	for (offset = info->cap_offset; offset; offset = cap->next) {
		cap = buf + offset;
		if (offset + sizeof(*cap) > info->argsz ||
		    (cap->next && cap->next <= offset))
			return NULL;
		if (cap->id == id)
			return cap;
	}
	return NULL;
}

TEST_F(pci, regions)
{
	static const struct {
		uint64_t size;
		uint32_t flags;
	} full[MDEV_TEST_PCI_REGIONS] = {
		[0] = { 4096, READ | WRITE },
		[1] = { 16, READ | WRITE },
		[2] = { MDEV_TEST_PCI_RAM, READ | WRITE | MMAP },
		[4] = { 4096, READ | WRITE },
		[ROM] = { MDEV_TEST_PCI_RAM, READ | MMAP },
		[CONFIG] = { 4096, READ | WRITE },
		[MDEV_TEST_PCI_NOTE] = { MDEV_TEST_PCI_NOTE_SIZE,
					 READ | WRITE | CAPS },
		[MDEV_TEST_PCI_FIXED] = { 65536, READ | MMAP },
		[MDEV_TEST_PCI_WINDOW] = { MDEV_TEST_PCI_RAM,
					   READ | WRITE | MMAP | CAPS },
	};
	struct vfio_device_info device = { .argsz = sizeof(device) };
	const struct vfio_region_info_cap_sparse_mmap *sparse;
	const struct vfio_region_info_cap_type *type;
	struct vfio_region_info info;
	uint64_t buf[32];
	char byte;
	int i;

	ASSERT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_GET_INFO, &device));
	EXPECT_EQ(VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET, device.flags);
	EXPECT_EQ(MDEV_TEST_PCI_REGIONS, device.num_regions);
	EXPECT_EQ(VFIO_PCI_NUM_IRQS, device.num_irqs);

	for (i = 0; i < MDEV_TEST_PCI_REGIONS; i++) {
		ASSERT_EQ(0, vfio_region(dev, i, &info));
		EXPECT_EQ(full[i].size, info.size);
		EXPECT_EQ(full[i].flags, info.flags);
		EXPECT_EQ(at(i, 0), info.offset);
		/* the end, and behind it */
		EXPECT_EQ(full[i].size && i != MDEV_TEST_PCI_NOTE ? 1 :
			  full[i].size ? -ENXIO : -EINVAL,
			  vfio_read(dev, &byte, 1, at(i, info.size - 1)));
		EXPECT_EQ(-EINVAL, vfio_read(dev, &byte, 1, at(i, info.size)));
		EXPECT_EQ(-EINVAL, vfio_write(dev, &byte, 1, at(i, info.size)));
	}
	EXPECT_EQ(-EINVAL, vfio_region(dev, i, &info));
	EXPECT_EQ(-EINVAL, vfio_region(dev, UINT32_MAX, &info));
	EXPECT_EQ(-EINVAL, vfio_read(dev, &byte, 1, at(i, 0)));
	EXPECT_EQ(-EINVAL, vfio_read(dev, &byte, 1, INT64_MAX));

	type = (void *)region_cap(MDEV_TEST_PCI_NOTE, VFIO_REGION_INFO_CAP_TYPE,
				  buf, sizeof(buf));
	ASSERT_NE(NULL, type);
	EXPECT_EQ(0x1234, type->type);
	EXPECT_EQ(0x5678, type->subtype);
	type = (void *)region_cap(MDEV_TEST_PCI_WINDOW,
				  VFIO_REGION_INFO_CAP_TYPE, buf, sizeof(buf));
	ASSERT_NE(NULL, type);
	EXPECT_EQ(2, type->subtype);
	sparse = (void *)region_cap(MDEV_TEST_PCI_WINDOW,
				    VFIO_REGION_INFO_CAP_SPARSE_MMAP, buf,
				    sizeof(buf));
	ASSERT_NE(NULL, sparse);
	EXPECT_EQ(1, sparse->nr_areas);
}

TEST_F(pci, irq_info)
{
	static const struct {
		const char *type;
		int counts[VFIO_PCI_NUM_IRQS];
	} types[] = {
		{ FULL, { 1, 4, 16, 0, 1 } },
		{ SMALL, { 1, 1, 0, 0, 1 } },
		{ NOTHING, { 0, 0, 0, 0, 1 } },
	};
	static const uint32_t flags[] = {
		VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE |
		VFIO_IRQ_INFO_AUTOMASKED,
		VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE,
		VFIO_IRQ_INFO_EVENTFD,
		0,
		VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE,
	};
	struct vfio_irq_info info;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		ASSERT_EQ(0, device_change(self->uuid, &self->vc, types[i].type));
		for (j = 0; j < VFIO_PCI_NUM_IRQS; j++) {
			info = (struct vfio_irq_info){ sizeof(info), -1, j, -1 };
			EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_GET_IRQ_INFO,
						&info));
			EXPECT_EQ(types[i].counts[j], info.count);
			EXPECT_EQ(info.count ? flags[j] : 0, info.flags);
		}
		for (info.index = j; info.index; info.index <<= 1)
			EXPECT_EQ(-EINVAL, vfio_ioctl(dev,
						      VFIO_DEVICE_GET_IRQ_INFO,
						      &info));
	}
}

TEST_F(pci, bad_ioctls)
{
	static const unsigned long cmds[] = {
		VFIO_DEVICE_GET_INFO, VFIO_DEVICE_GET_REGION_INFO,
		VFIO_DEVICE_GET_IRQ_INFO,
	};
	static const uint32_t sizes[] = { 16, 32, 16 };
	uint32_t buf[16];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		memset(buf, 0, sizeof(buf));
		for (; buf[0] < sizes[i]; buf[0]++)
			EXPECT_EQ(-EINVAL, vfio_ioctl(dev, cmds[i], buf));
		EXPECT_EQ(0, vfio_ioctl(dev, cmds[i], buf));
		EXPECT_EQ(-EFAULT, vfio_ioctl(dev, cmds[i], (void *)8));
	}
	EXPECT_EQ(-EFAULT, vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, (void *)8));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(dev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
				      buf));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(dev, 0, NULL));
	/* without an op of the vendor's, too */
	ASSERT_EQ(0, device_change(self->uuid, &self->vc, NOTHING));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(dev, MDEV_TEST_PCI_GET_COUNTS, buf));
}

/* configuration space */

struct word {
	int where;
	uint32_t reset, writable;
};

static const struct word full_words[] = {
	{ PCI_VENDOR_ID, 0x0ffe1b36 },
	/* I/O and memory are on, there are capabilities */
	{ PCI_COMMAND, 0x00100003, 0x407 },
	{ PCI_CLASS_REVISION, 0xff010203 },
	{ PCI_BASE_ADDRESS_0, 0, 0xfffff000 },
	{ PCI_BASE_ADDRESS_1, 1, 0xfffffff0 },
	{ PCI_BASE_ADDRESS_2, 0xc, 0xffff0000 },
	{ PCI_BASE_ADDRESS_3, 0, 0xffffffff },
	{ PCI_BASE_ADDRESS_4, 0, 0xfffff000 },
	{ PCI_SUBSYSTEM_VENDOR_ID, 0x11001af4 },
	{ PCI_ROM_ADDRESS, 0, 0xffff0001 },
	{ PCI_CAPABILITY_LIST, FULL_PM },
	{ PCI_INTERRUPT_LINE, 0x100, 0xff },
	/* power management 1.2, without PME; the state is tested elsewhere */
	{ FULL_PM, PCI_CAP_ID_PM | FULL_MSI << 8 | 3 << 16 },
	/* MSI: 64 bit address, 4 vectors */
	{ FULL_MSI, PCI_CAP_ID_MSI | FULL_MSIX << 8 | 0x84 << 16, 0x71 << 16 },
	{ FULL_MSI + 4, 0, 0xfffffffc },
	{ FULL_MSI + 8, 0, 0xffffffff },
	{ FULL_MSI + 12, 0, 0xffff },
	/* MSI-X: 16 vectors, in BAR 4 */
	{ FULL_MSIX, PCI_CAP_ID_MSIX | FULL_EXP << 8 | 15 << 16, 0xc0000000 },
	{ FULL_MSIX + 4, 0x804 },
	{ FULL_MSIX + 8, 0xc04 },
	/* PCI Express: an endpoint that can be reset, which is tested elsewhere */
	{ FULL_EXP, PCI_CAP_ID_EXP | FULL_VNDR << 8 | 2 << 16 },
	{ FULL_EXP + PCI_EXP_DEVCAP, 0x10008000 },
	{ FULL_EXP + PCI_EXP_DEVCTL, 0x2810, 0x78ff },
	{ FULL_EXP + PCI_EXP_LNKCAP, 0x11 },
	{ FULL_EXP + PCI_EXP_LNKCTL, 0x110000, 0x4b },
	{ FULL_EXP + PCI_EXP_LNKCAP2, 2 },
	/* the vendor's; see config_hooks */
	{ FULL_VNDR, 0x11080009, 0xff000000 },
	{ FULL_VNDR + 4, 0x55443322, 0x00f0000f },
	/* a serial number, and the vendor's */
	{ 0x100, 0x20010003 },
	{ 0x104, 0x04030201 },
	{ 0x108, 0x08070605 },
	{ 0x200, 0x0001000b },
	{ 0x204, 0x01011234 },
	{ 0x208, 0, 0xffffffff },
};

static const struct word small_words[] = {
	{ PCI_VENDOR_ID, 0x0ffd1b36 },
	{ PCI_COMMAND, 0x00100002, 0x406 },
	{ PCI_CLASS_REVISION, 0xff000000 },
	{ PCI_BASE_ADDRESS_5, 0, 0xfffffff0 },
	{ PCI_SUBSYSTEM_VENDOR_ID, 0x0ffd1b36 },
	{ PCI_CAPABILITY_LIST, SMALL_AF },
	{ PCI_INTERRUPT_LINE, 0x100, 0xff },
	/* 6 bytes; resets the function */
	{ SMALL_AF, PCI_CAP_ID_AF | SMALL_PM << 8 | 0x03060000 },
	{ SMALL_PM, PCI_CAP_ID_PM | 0x50 << 8 | 3 << 16 },
	{ SMALL_PM + 4, 8 },
	{ 0x50, PCI_CAP_ID_MSI | 0x80 << 16, 1 << 16 },
	{ 0x54, 0, 0xfffffffc },
	{ 0x58, 0, 0xffffffff },
	{ 0x5c, 0, 0xffff },
};

static const struct word nothing_words[] = {
	{ PCI_VENDOR_ID, 0x0ffc1b36 },
	{ PCI_COMMAND, 0, 0x406 },
	{ PCI_CLASS_REVISION, 0xff000000 },
	{ PCI_SUBSYSTEM_VENDOR_ID, 0x0ffc1b36 },
};

static const struct {
	const char *type;
	const struct word *words;
	int count, size;
	/* bytes that do something when they are written */
	int acts[2];
} spaces[] = {
	{ FULL, full_words, ARRAY_SIZE(full_words), 4096,
	  { FULL_PM + 4, FULL_EXP + PCI_EXP_DEVCTL + 1 } },
	{ SMALL, small_words, ARRAY_SIZE(small_words), 256,
	  { SMALL_PM + 4, SMALL_AF + PCI_AF_CTRL } },
	{ NOTHING, nothing_words, ARRAY_SIZE(nothing_words), 256 },
};

static uint8_t model_reset[4096], model_writable[4096];

static void model_init(int space)
{
	int i, j;

	memset(model_reset, 0, sizeof(model_reset));
	memset(model_writable, 0, sizeof(model_writable));
	for (i = 0; i < spaces[space].count; i++) {
		const struct word *word = &spaces[space].words[i];

		for (j = 0; j < 4; j++) {
			model_reset[word->where + j] = word->reset >> 8 * j;
			model_writable[word->where + j] = word->writable >> 8 * j;
		}
	}
}

/* at each offset, with each width: the first one that is not as the model */
static int config_differs(int space, const uint8_t *model)
{
	uint8_t buf[16];
	int where, width, count;

	for (where = 0; where < spaces[space].size; where++) {
		for (width = 1; width <= 8; width++) {
			count = spaces[space].size - where;
			count = count < width ? count : width;
			if (vfio_read(dev, buf, width, at(CONFIG, where)) != count ||
			    memcmp(buf, model + where, count))
				return where ?: -1;
		}
	}
	return 0;
}

TEST_F(pci, config_reset)
{
	unsigned int i;
	char byte;

	for (i = 0; i < ARRAY_SIZE(spaces); i++) {
		ASSERT_EQ(0, device_change(self->uuid, &self->vc, spaces[i].type));
		model_init(i);
		EXPECT_EQ(0, config_differs(i, model_reset)) TH_LOG("%u", i);
		EXPECT_EQ(-EINVAL, vfio_read(dev, &byte, 1,
					     at(CONFIG, spaces[i].size)));
		EXPECT_EQ(0, vfio_read(dev, &byte, 0, at(CONFIG, 0)));
		EXPECT_EQ(-EFAULT, vfio_read(dev, (void *)8, 4, at(CONFIG, 0)));
		EXPECT_EQ(-EFAULT, vfio_write(dev, (void *)8, 4, at(CONFIG, 0)));
		EXPECT_EQ(-EFAULT, vfio_read(dev, NULL, 4, at(CONFIG, 0)));
		EXPECT_EQ(-EFAULT, vfio_write(dev, NULL, 4, at(CONFIG, 0)));
	}
}

static bool acts(int space, int where)
{
	return where == spaces[space].acts[0] || where == spaces[space].acts[1];
}

/* patterns, with each width, at each place; but for what they set off */
TEST_F(pci, config_write)
{
	static const uint8_t patterns[] = { 0x5a, 0xa5 };
	uint8_t model[4096], buf[8];
	int space, i, where, width, j;

	for (space = 0; space < (int)ARRAY_SIZE(spaces); space++) {
		ASSERT_EQ(0, device_change(self->uuid, &self->vc,
					   spaces[space].type));
		model_init(space);
		memcpy(model, model_reset, sizeof(model));
		for (i = 0; i < (int)ARRAY_SIZE(patterns) * 8; i++) {
			width = i % 8 + 1;
			for (where = 0; where < spaces[space].size; where += width) {
				memset(buf, patterns[i / 8], width);
				for (j = 0; j < width; j++) {
					int at = where + j;

					if (at >= spaces[space].size)
						break;
					/* no reset, no sleep */
					if (acts(space, at))
						buf[j] = 0;
					model[at] = (model[at] & ~model_writable[at]) |
						    (buf[j] & model_writable[at]);
				}
				EXPECT_EQ(j, vfio_write(dev, buf, width,
							at(CONFIG, where)));
			}
			ASSERT_EQ(0, config_differs(space, model))
				TH_LOG("space %d, width %d, pattern %#x", space,
				       width, patterns[i / 8]);
		}
		EXPECT_EQ(0, reset());
		EXPECT_EQ(0, config_differs(space, model_reset));
	}
}

/* by what the pointers say, and by what is known to be there */
TEST_F(pci, config_chains)
{
	static const uint8_t ids[] = {
		PCI_CAP_ID_PM, PCI_CAP_ID_MSI, PCI_CAP_ID_MSIX, PCI_CAP_ID_EXP,
		PCI_CAP_ID_VNDR,
	};
	static const uint16_t ext_ids[] = {
		PCI_EXT_CAP_ID_DSN, PCI_EXT_CAP_ID_VNDR,
	};
	unsigned int n = 0, where;
	uint32_t header;

	for (where = cfg(PCI_CAPABILITY_LIST, 1); where;
	     where = cfg(where + 1, 1)) {
		ASSERT_LT(n, ARRAY_SIZE(ids));
		EXPECT_LE(0x40, where);
		EXPECT_EQ(0, where % 4);
		EXPECT_EQ(ids[n++], cfg(where, 1));
	}
	EXPECT_EQ(ARRAY_SIZE(ids), n);
	for (n = 0, where = 0x100; where; where = header >> 20) {
		ASSERT_LT(n, ARRAY_SIZE(ext_ids));
		header = cfg(where, 4);
		EXPECT_LE(0x100, where);
		EXPECT_EQ(0, where % 4);
		EXPECT_EQ(1, header >> 16 & 0xf);
		EXPECT_EQ(ext_ids[n++], header & 0xffff);
	}
	EXPECT_EQ(ARRAY_SIZE(ext_ids), n);
}

/* as PCI says: all ones, and what stays zero is the size */
TEST_F(pci, bar_sizes)
{
	static const uint32_t sizes[] = { 4096, 16, MDEV_TEST_PCI_RAM, 0, 4096 };
	uint32_t bar, mask;
	int i;

	for (i = 0; i < 6; i++) {
		bar = PCI_BASE_ADDRESS_0 + 4 * i;
		ASSERT_EQ(0, set_cfg(bar, 4, UINT32_MAX));
		mask = cfg(bar, 4);
		if (i == 3) {
			EXPECT_EQ(UINT32_MAX, mask);
			continue;
		}
		if (i == 5) {
			EXPECT_EQ(0, mask);
			continue;
		}
		mask &= mask & PCI_BASE_ADDRESS_SPACE_IO ? ~3 : ~0xf;
		EXPECT_EQ(sizes[i], ~mask + 1);
		ASSERT_EQ(0, set_cfg(bar, 4, 0xc0000000));
		EXPECT_EQ(0xc0000000, cfg(bar, 4) & 0xfffffff0);
	}
	ASSERT_EQ(0, set_cfg(PCI_ROM_ADDRESS, 4, ~1U));
	EXPECT_EQ(MDEV_TEST_PCI_RAM, ~cfg(PCI_ROM_ADDRESS, 4) + 1);
}

TEST_F(pci, config_hooks)
{
	int before = counts().config_written;

	/* before a write: it becomes another; after it: it is counted */
	ASSERT_EQ(0, set_cfg(FULL_VNDR + 3, 1, 0xee));
	EXPECT_EQ(0xe0, cfg(FULL_VNDR + 3, 1));
	ASSERT_EQ(0, set_cfg(FULL_VNDR + 3, 1, 0xef));
	EXPECT_EQ(0xef, cfg(FULL_VNDR + 3, 1));
	EXPECT_EQ(before + 2, counts().config_written);
	/* before a read */
	EXPECT_EQ((before + 2) & 0xff, cfg(FULL_VNDR + 7, 1));
	/* what the vendor sets though it cannot be written */
	EXPECT_EQ(0, test_ioctl(MDEV_TEST_PCI_SET_CONFIG, (void *)0x99));
	EXPECT_EQ(0x99, cfg(FULL_VNDR + 5, 1));
	EXPECT_EQ(0, reset());
	EXPECT_EQ(0x33, cfg(FULL_VNDR + 5, 1));
}

/* as if it had just been reset? All of what a guest has changed in spoil() */
static bool is_reset(void)
{
	return !get(0, 0x10, 4) && cfg(PCI_INTERRUPT_LINE, 1) == 0;
}

static int spoil(void)
{
	return put(0, 0x10, 4, 0x12345678) ?: set_cfg(PCI_INTERRUPT_LINE, 1, 7);
}

TEST_F(pci, power_states)
{
	int pm = FULL_PM + 4;

	ASSERT_EQ(0, spoil());
	/* there is no D1 and no D2 */
	ASSERT_EQ(0, set_cfg(pm, 1, 1));
	EXPECT_EQ(0, cfg(pm, 1));
	ASSERT_EQ(0, set_cfg(pm, 1, 2));
	EXPECT_EQ(0, cfg(pm, 1));
	ASSERT_EQ(0, set_cfg(pm, 4, 1));
	EXPECT_EQ(0, cfg(pm, 1));
	EXPECT_EQ(0x12345678, get(0, 0x10, 4));
	/* in D3hot only the configuration space answers, whatever is written there */
	ASSERT_EQ(0, set_cfg(pm, 2, 3));
	EXPECT_EQ(3, cfg(pm, 1));
	EXPECT_EQ(UINT32_MAX, get(0, 0x10, 4));
	EXPECT_EQ(0xff, get(1, 3, 1));
	EXPECT_EQ(UINT32_MAX, get(2, 0, 4));
	EXPECT_EQ(0, put(0, 0x10, 4, 1));
	EXPECT_EQ(7, cfg(PCI_INTERRUPT_LINE, 1));
	ASSERT_EQ(0, set_cfg(pm, 1, 1));
	EXPECT_EQ(3, cfg(pm, 1));
	/* D0 again: reset */
	ASSERT_EQ(0, set_cfg(pm, 1, 0));
	EXPECT_EQ(0, cfg(pm, 1));
	EXPECT_TRUE(is_reset());

	/* or not, if it says so */
	ASSERT_EQ(0, device_change(self->uuid, &self->vc, SMALL));
	ASSERT_EQ(0, put(5, 0, 2, 0x1234));
	ASSERT_EQ(0, set_cfg(SMALL_PM + 4, 1, 3));
	EXPECT_EQ(0xb, cfg(SMALL_PM + 4, 1));
	EXPECT_EQ(0xffff, get(5, 0, 2));
	ASSERT_EQ(0, set_cfg(SMALL_PM + 4, 1, 0));
	EXPECT_EQ(0x1234, get(5, 0, 2));
}

TEST_F(pci, function_level_reset)
{
	int efd = efd_new(), before = counts().reset;

	ASSERT_EQ(0, irq_trigger(MSIX, 3, efd));
	ASSERT_EQ(0, spoil());
	ASSERT_EQ(0, set_cfg(FULL_EXP + PCI_EXP_DEVCTL, 2, 0x7fff));
	EXPECT_FALSE(is_reset());
	ASSERT_EQ(0, set_cfg(FULL_EXP + PCI_EXP_DEVCTL, 2, 0x8000));
	EXPECT_TRUE(is_reset());
	EXPECT_EQ(before + 1, counts().reset);
	EXPECT_EQ(0x2810, cfg(FULL_EXP + PCI_EXP_DEVCTL, 2));
	/* as a byte, and as part of four */
	ASSERT_EQ(0, set_cfg(FULL_EXP + PCI_EXP_DEVCTL + 1, 1, 0x80));
	EXPECT_EQ(before + 2, counts().reset);
	ASSERT_EQ(0, set_cfg(FULL_EXP + PCI_EXP_DEVCTL, 4, 0x8000));
	EXPECT_EQ(before + 3, counts().reset);
	/* the device was reset, not who listens */
	EXPECT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, 3, 0));
	EXPECT_EQ(1, signals(efd));

	ASSERT_EQ(0, device_change(self->uuid, &self->vc, SMALL));
	before = counts().reset;
	ASSERT_EQ(0, put(5, 0, 2, 0x1234));
	ASSERT_EQ(0, set_cfg(SMALL_AF + PCI_AF_CTRL, 1, 0xfe));
	EXPECT_EQ(0x1234, get(5, 0, 2));
	ASSERT_EQ(0, set_cfg(SMALL_AF + PCI_AF_CTRL, 1, PCI_AF_CTRL_FLR));
	EXPECT_EQ(0, get(5, 0, 2));
	EXPECT_EQ(0, cfg(SMALL_AF + PCI_AF_CTRL, 1));
	EXPECT_EQ(before + 1, counts().reset);
}

/* regions */

/* how a bus does it: as much at a time as is aligned, up to @max bytes */
static int pieces(int where, int count, int max,
		  struct mdev_test_pci_access *accesses, bool write)
{
	int n = 0, width;

	for (; count; where += width, count -= width) {
		for (width = max; width > count || where % width; width /= 2)
			;
		accesses[n++] = (struct mdev_test_pci_access) {
			where, width, write
		};
	}
	return n;
}

/* did the vendor see these, and no others? */
static bool saw(const struct mdev_test_pci_access *accesses, int n)
{
	struct mdev_test_pci_log log;

	if (test_ioctl(MDEV_TEST_PCI_GET_LOG, &log))
		return false;
	return (int)log.count == n &&
	       !memcmp(log.accesses, accesses, n * sizeof(*accesses));
}

/* user memory that comes when it is told to */
struct late_page {
	void *mem;
	int uffd;
};

static int late_page_new(struct late_page *page)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };

	page->mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	page->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	reg.range.start = (uintptr_t)page->mem;
	reg.range.len = PAGE;
	if (page->mem == MAP_FAILED || page->uffd < 0 ||
	    ioctl(page->uffd, UFFDIO_API, &api) ||
	    ioctl(page->uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	return 0;
}

/* somebody waits for it */
static bool late_page_wanted(struct late_page *page)
{
	struct uffd_msg msg;

	return read(page->uffd, &msg, sizeof(msg)) == sizeof(msg);
}

static int late_page_come(struct late_page *page, const void *content)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)page->mem,
		.src = (uintptr_t)content,
		.len = PAGE,
	};
	int ret = ioctl(page->uffd, UFFDIO_COPY, &copy) ? -errno : 0;

	close(page->uffd);
	return ret;
}

static void *write_late(void *arg)
{
	struct late_page *page = arg;

	return (void *)(long)vfio_write(dev, page->mem, 4, at(0, 0x10));
}

/* what is written arrives after the BAR has ceased to be decoded: the vendor is not asked */
TEST_F(pci, access_decoded_no_more)
{
	static const uint32_t content[1024] = { 0x12345678 };
	struct late_page page;
	pthread_t thread;
	void *ret;
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, late_page_new(&page));
		ASSERT_EQ(0, pthread_create(&thread, NULL, write_late, &page));
		ASSERT_TRUE(late_page_wanted(&page));
		ASSERT_EQ(0, i ? set_cfg(FULL_PM + 4, 1, 3) :
			  set_cfg(PCI_COMMAND, 2, 0));
		saw(NULL, 0);
		ASSERT_EQ(0, late_page_come(&page, content));
		ASSERT_EQ(0, pthread_join(thread, &ret));
		EXPECT_EQ(4, (long)ret);
		EXPECT_TRUE(saw(NULL, 0));
		ASSERT_EQ(0, reset());
	}
}

/* indexes and positions that there are not, and nothing to access */
TEST_F(pci, access_nowhere)
{
	char byte;
	int i;

	for (i = MDEV_TEST_PCI_REGIONS; i < 300; i++) {
		EXPECT_EQ(-EINVAL, vfio_read(dev, &byte, 1, at(i, 0)));
		EXPECT_EQ(-EINVAL, vfio_write(dev, &byte, 1, at(i, 0)));
	}
	EXPECT_EQ(0, vfio_read(dev, &byte, 0, at(0, 0)));
	EXPECT_EQ(0, vfio_write(dev, &byte, 0, at(0, 0)));
	EXPECT_EQ(-EINVAL, vfio_read(dev, &byte, 0, at(0, 4096)));
}

/* read() and write() go on at the file's own position */
TEST_F(pci, access_position)
{
	static const struct mdev_test_pci_access accesses[] = {
		{ 0, 4, 0 }, { 4, 4, 0 }, { 8, 4, 1 },
	};
	uint32_t val = 0;

	saw(NULL, 0);
	EXPECT_EQ(4, read(dev, &val, 4));
	EXPECT_EQ(4, read(dev, &val, 4));
	EXPECT_EQ(4, write(dev, &val, 4));
	EXPECT_TRUE(saw(accesses, 3));
}

/* regions that have callbacks, which are not for all accesses, or for none */
TEST_F(pci, access_odd)
{
	static const struct mdev_test_pci_access read_end = { 8, 4, 0 },
		write_end = { 8, 4, 1 };
	uint64_t val = 0;

	ASSERT_EQ(0, device_change(self->uuid, &self->vc, ODD));
	/* a size that is no multiple of the width */
	saw(NULL, 0);
	EXPECT_EQ(4, vfio_read(dev, &val, 8, at(9, 8)));
	EXPECT_TRUE(saw(&read_end, 1));
	EXPECT_EQ(4, vfio_write(dev, &val, 8, at(9, 8)));
	EXPECT_TRUE(saw(&write_end, 1));
	/* read-only, and the kit's memory */
	EXPECT_EQ(-EINVAL, put(ROM, 0, 4, 1));
	EXPECT_EQ(-EINVAL, put(10, 0, 4, 1));
	EXPECT_EQ(0, put(11, 0, 4, 0x1234));
	EXPECT_EQ(0x1234, get(11, 0, 4));
	/* the table of MSI-X and its pending bits, each in a BAR of its own */
	EXPECT_EQ(UINT32_MAX, get(2, 0, 4));
	EXPECT_EQ(0, get(3, 0, 4));
	EXPECT_EQ(0, put(2, 0, 4, 1));
	EXPECT_EQ(0, put(3, 0, 4, 1));
	EXPECT_TRUE(saw(NULL, 0));
}

/* each offset with each width: what is read, written, and how it was split */
TEST_F(pci, access_widths)
{
	struct mdev_test_pci_access accesses[32];
	unsigned char model[256] = {}, buf[32];
	int where, width, n, i;

	ASSERT_EQ(256, vfio_write(dev, model, 256, at(0, 0)));
	saw(NULL, 0);
	for (where = 0; where < 200; where++) {
		for (width = 1; width <= 17; width++) {
			for (i = 0; i < width; i++)
				buf[i] = where + width * 7 + i;
			memcpy(model + where, buf, width);
			ASSERT_EQ(width, vfio_write(dev, buf, width, at(0, where)));
			n = pieces(where, width, 8, accesses, true);
			EXPECT_TRUE(saw(accesses, n));
			memset(buf, 0xee, sizeof(buf));
			ASSERT_EQ(width, vfio_read(dev, buf, width, at(0, where)));
			EXPECT_EQ(0, memcmp(model + where, buf, width));
			EXPECT_EQ(0xee, buf[width]);
			n = pieces(where, width, 8, accesses, false);
			EXPECT_TRUE(saw(accesses, n));
		}
	}
	/* little endian */
	EXPECT_EQ(8, vfio_read(dev, buf, 8, at(0, 0)));
	EXPECT_EQ(buf[0] | buf[1] << 8 | buf[2] << 16 | (uint32_t)buf[3] << 24,
		  get(0, 0, 4));
	/* up to the end, and no further */
	for (width = 1; width <= 17; width++) {
		memset(buf, 0xee, sizeof(buf));
		EXPECT_EQ(width < 3 ? width : 3,
			  vfio_read(dev, buf, width, at(0, 4093)));
		EXPECT_EQ(0xee, buf[3]);
		EXPECT_EQ(width < 3 ? width : 3,
			  vfio_write(dev, buf, width, at(0, 4093)));
	}
	/* bad memory */
	saw(NULL, 0);
	EXPECT_EQ(-EFAULT, vfio_write(dev, (void *)8, 4, at(0, 0)));
	EXPECT_TRUE(saw(NULL, 0));
	EXPECT_EQ(-EFAULT, vfio_read(dev, (void *)8, 4, at(0, 0)));
	EXPECT_EQ(-EFAULT, vfio_read(dev, NULL, 4, at(0, 0)));
	EXPECT_EQ(0, vfio_read(dev, NULL, 0, at(0, 0)));
}

/* BAR 4 has registers of four bytes, and the table of MSI-X */
TEST_F(pci, access_narrow)
{
	struct mdev_test_pci_access accesses[8];
	int where, width, n;

	ASSERT_EQ(0, put(0, 0, 8, 0));
	ASSERT_EQ(0, put(0, 8, 8, 0));
	for (where = 0; where < 8; where++) {
		for (width = 1; width < 4; width++) {
			saw(NULL, 0);
			EXPECT_EQ((1ULL << width * 8) - 1, get(4, where, width));
			EXPECT_EQ(0, put(4, where, width, 0));
			EXPECT_TRUE(saw(NULL, 0));
		}
	}
	EXPECT_EQ(0, get(4, 0, 4));
	/* eight are two of four; what sticks out is lost */
	saw(NULL, 0);
	EXPECT_EQ(0, put(4, 0, 8, 0x8877665544332211));
	n = pieces(0, 8, 4, accesses, true);
	EXPECT_TRUE(saw(accesses, n));
	EXPECT_EQ(0x8877665544332211, get(4, 0, 8));
	EXPECT_EQ(0xff88776655ffffff, get(4, 1, 8));

	saw(NULL, 0);
	for (where = 0x800; where < 0x900; where += 4) {
		EXPECT_EQ(0, put(4, where, 4, 0));
		EXPECT_EQ(UINT32_MAX, get(4, where, 4));
	}
	EXPECT_EQ(0, put(4, 0xc00, 4, 0xff));
	EXPECT_EQ(0, get(4, 0xc00, 4));
	EXPECT_EQ(0, get(4, 0xc04, 4));
	EXPECT_TRUE(saw(NULL, 0));
	/* what is around them is the vendor's */
	get(4, 0x900, 4);
	get(4, 0x7fc, 4);
	get(4, 0xc08, 4);
	accesses[0] = (struct mdev_test_pci_access) { 0x900, 4, 0 };
	accesses[1] = (struct mdev_test_pci_access) { 0x7fc, 4, 0 };
	accesses[2] = (struct mdev_test_pci_access) { 0xc08, 4, 0 };
	EXPECT_TRUE(saw(accesses, 3));
}

/* nobody answers, nobody listens; what was there stays */
TEST_F(pci, access_not_decoded)
{
	static const uint16_t commands[] = {
		PCI_COMMAND_IO | PCI_COMMAND_MEMORY, PCI_COMMAND_IO,
		PCI_COMMAND_MEMORY, 0, PCI_COMMAND_MASTER,
	};
	bool io, memory;
	unsigned char buf[100];
	unsigned int i, j;

	ASSERT_EQ(0, put(0, 0, 4, 0x11223344));
	ASSERT_EQ(0, put(2, 0, 4, 0x55667788));
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		ASSERT_EQ(0, set_cfg(PCI_COMMAND, 2, commands[i]));
		io = commands[i] & PCI_COMMAND_IO;
		memory = commands[i] & PCI_COMMAND_MEMORY;
		EXPECT_EQ(io ? 3 : 0xff, get(1, 3, 1));
		EXPECT_EQ(memory ? 0x11223344 : UINT32_MAX, get(0, 0, 4));
		EXPECT_EQ(memory ? 0x55667788 : UINT32_MAX, get(2, 0, 4));
		EXPECT_EQ(memory ? 0 : UINT32_MAX, get(4, 0xc00, 4));
		/* what PCI does not know, and the ROM, are always there */
		EXPECT_EQ(0xaa55, get(ROM, 0, 2));
		EXPECT_EQ(0, get(MDEV_TEST_PCI_FIXED, 0, 4));
		if (memory)
			continue;
		saw(NULL, 0);
		EXPECT_EQ(0, put(0, 0, 4, 1));
		EXPECT_TRUE(saw(NULL, 0));
		EXPECT_EQ(0, put(2, 0, 4, 1));
		memset(buf, 0, sizeof(buf));
		EXPECT_EQ(100, vfio_read(dev, buf, 100, at(2, 0)));
		for (j = 0; j < 100; j++)
			EXPECT_EQ(0xff, buf[j]);
		EXPECT_EQ(-EFAULT, vfio_read(dev, (void *)8, 100, at(2, 0)));
	}
	ASSERT_EQ(0, set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MEMORY));
	EXPECT_EQ(0x11223344, get(0, 0, 4));
	EXPECT_EQ(0x55667788, get(2, 0, 4));
}

TEST_F(pci, access_others)
{
	char note[] = "all of it at once......", buf[64] = {};

	/* by an op of the vendor's, with its errors */
	EXPECT_EQ(24, vfio_write(dev, note, 24, at(MDEV_TEST_PCI_NOTE, 0)));
	EXPECT_EQ(24, vfio_read(dev, buf, 64, at(MDEV_TEST_PCI_NOTE, 0)));
	EXPECT_STREQ(note, buf);
	EXPECT_EQ(-ENXIO, vfio_read(dev, buf, 1, at(MDEV_TEST_PCI_NOTE, 1)));
	EXPECT_EQ(-EFAULT, vfio_read(dev, NULL, 4, at(MDEV_TEST_PCI_NOTE, 0)));
	EXPECT_EQ(0, vfio_read(dev, NULL, 0, at(MDEV_TEST_PCI_NOTE, 5)));
	/* what cannot be written */
	EXPECT_EQ(-EINVAL, put(ROM, 0, 2, 0));
	EXPECT_EQ(-EINVAL, put(MDEV_TEST_PCI_FIXED, 0, 2, 0));
	/* written to by nobody: the vendor has no such op */
	EXPECT_EQ(0, put(1, 3, 1, 9));
	EXPECT_EQ(3, get(1, 3, 1));
	/* nobody to be asked at all */
	EXPECT_EQ(UINT32_MAX, get(MDEV_TEST_PCI_WINDOW, 0, 4));
	EXPECT_EQ(0, put(MDEV_TEST_PCI_WINDOW, 0, 4, 0));
}

/* mappings */

static sigjmp_buf fault_env;

static void on_fault(int sig)
{
	siglongjmp(fault_env, sig);
}

/* 0, or the signal it gets */
static int touch(uint32_t *where, uint32_t *val)
{
	struct sigaction sa = { .sa_handler = on_fault }, old;
	int ret;

	sigaction(SIGBUS, &sa, &old);
	ret = sigsetjmp(fault_env, 1);
	if (!ret)
		*val = __atomic_load_n(where, __ATOMIC_RELAXED);
	sigaction(SIGBUS, &old, NULL);
	return ret;
}

static void *map(int index, off_t offset, size_t size, int prot, int flags)
{
	return mmap(NULL, size, prot, flags, dev, at(index, offset));
}

#define RW	(PROT_READ | PROT_WRITE)

TEST_F(pci, mmap_memory)
{
	uint32_t *mem, *window, val;
	int i;

	mem = map(2, 0, MDEV_TEST_PCI_RAM, RW, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, mem);
	window = map(MDEV_TEST_PCI_WINDOW, 0, MDEV_TEST_PCI_RAM, RW, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, window);
	for (i = 0; i < MDEV_TEST_PCI_RAM / 4; i += 64) {
		EXPECT_EQ(0, mem[i]);
		mem[i] = htole32(i + 1);
		EXPECT_EQ(i + 1, get(2, i * 4, 4));
		/* the other half first */
		EXPECT_EQ(mem[i], window[(i + MDEV_TEST_PCI_RAM / 8) %
					(MDEV_TEST_PCI_RAM / 4)]);
	}
	EXPECT_EQ(0, put(2, 0x8000, 4, 0xabcd));
	EXPECT_EQ(0xabcd, le32toh(mem[0x2000]));
	EXPECT_EQ(0xabcd, le32toh(window[0]));

	/* not decoded: nobody answers there either, where VFIO can take it away */
	ASSERT_EQ(0, set_cfg(PCI_COMMAND, 2, 0));
	EXPECT_EQ(linux_since(6, 10) ? SIGBUS : 0, touch(&mem[0x2000], &val));
	EXPECT_EQ(0, touch(window, &val));
	EXPECT_EQ(0xabcd, le32toh(val));
	ASSERT_EQ(0, set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MEMORY));
	EXPECT_EQ(0, touch(&mem[0x2000], &val));
	EXPECT_EQ(0xabcd, le32toh(val));

	/* who has it mapped sees that it is reset */
	EXPECT_EQ(0, reset());
	EXPECT_EQ(0, mem[0x2000]);
	EXPECT_EQ(0, window[0]);
	mem[1] = htole32(5);
	EXPECT_EQ(5, get(2, 4, 4));
	munmap(mem, MDEV_TEST_PCI_RAM);
	munmap(window, MDEV_TEST_PCI_RAM);

	/* the next user gets other memory */
	vfio_close(&self->vc);
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	dev = self->vc.device;
	EXPECT_EQ(0, get(2, 4, 4));
}

TEST_F(pci, mmap_parts)
{
	static const int fixed[] = { MDEV_TEST_PCI_FIXED, ROM };
	uint32_t *mem;
	unsigned int i;

	mem = map(2, 2 * PAGE, 2 * PAGE, RW, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, mem);
	mem[PAGE / 4] = htole32(7);
	EXPECT_EQ(7, get(2, 3 * PAGE, 4));
	munmap(mem, 2 * PAGE);
	/* a part of the window that wraps around */
	mem = map(MDEV_TEST_PCI_WINDOW, MDEV_TEST_PCI_RAM / 2 - PAGE, 2 * PAGE, RW,
		  MAP_SHARED);
	ASSERT_NE(MAP_FAILED, mem);
	mem[PAGE / 4] = htole32(8);
	EXPECT_EQ(8, get(2, 0, 4));
	munmap(mem, 2 * PAGE);
	/* what can only be read */
	for (i = 0; i < ARRAY_SIZE(fixed); i++) {
		mem = map(fixed[i], 0, PAGE, PROT_READ, MAP_SHARED);
		ASSERT_NE(MAP_FAILED, mem);
		EXPECT_EQ(0, mem[0]);
		EXPECT_EQ(-1, mprotect(mem, PAGE, RW));
		munmap(mem, PAGE);
	}
}

TEST_F(pci, mmap_refused)
{
	const struct {
		int index;
		off_t offset;
		size_t size;
		int prot, flags;
	} bad[] = {
		{ 0, 0, PAGE, RW, MAP_SHARED },
		{ 1, 0, PAGE, RW, MAP_SHARED },
		{ 3, 0, PAGE, RW, MAP_SHARED },
		{ CONFIG, 0, PAGE, RW, MAP_SHARED },
		{ ROM, 0, PAGE, RW, MAP_SHARED },
		{ MDEV_TEST_PCI_NOTE, 0, PAGE, RW, MAP_SHARED },
		{ MDEV_TEST_PCI_REGIONS, 0, PAGE, RW, MAP_SHARED },
		{ 2, 0, PAGE, RW, MAP_PRIVATE },
		{ 2, 0, MDEV_TEST_PCI_RAM + PAGE, RW, MAP_SHARED },
		{ 2, PAGE, MDEV_TEST_PCI_RAM, RW, MAP_SHARED },
		{ 2, MDEV_TEST_PCI_RAM, PAGE, RW, MAP_SHARED },
		{ 2, 1LL << 39, PAGE, RW, MAP_SHARED },
		{ MDEV_TEST_PCI_FIXED, 0, PAGE, RW, MAP_SHARED },
		{ MDEV_TEST_PCI_FIXED, 0, PAGE, PROT_READ, MAP_PRIVATE },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(MAP_FAILED, map(bad[i].index, bad[i].offset,
					  bad[i].size, bad[i].prot,
					  bad[i].flags)) TH_LOG("%u", i);
		EXPECT_EQ(EINVAL, errno);
	}
}

/* interrupts */

TEST_F(pci, intx)
{
	int efd = efd_new(), hard;

	for (hard = 0; hard < 2; hard++) {
		/* pending before anybody listens */
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 1, hard));
		EXPECT_EQ(0x18, cfg(PCI_STATUS, 1));
		ASSERT_EQ(0, irq_trigger(INTX, 0, efd));
		EXPECT_EQ(1, signals(efd));
		/* a level: told once, and again after each unmasking */
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 1, hard));
		EXPECT_EQ(0, signals(efd));
		EXPECT_EQ(0, irq_do(UNMASK, INTX));
		EXPECT_EQ(1, signals(efd));
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 0, hard));
		EXPECT_EQ(0x10, cfg(PCI_STATUS, 1));
		EXPECT_EQ(0, irq_do(UNMASK, INTX));
		EXPECT_EQ(0, signals(efd));
		/* held back by a mask, and by the command register */
		EXPECT_EQ(0, irq_do(MASK, INTX));
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 1, hard));
		EXPECT_EQ(0, signals(efd));
		ASSERT_EQ(0, set_cfg(PCI_COMMAND + 1, 1, 4));
		EXPECT_EQ(0, irq_do(UNMASK, INTX));
		EXPECT_EQ(0, signals(efd));
		EXPECT_EQ(0x18, cfg(PCI_STATUS, 1));
		ASSERT_EQ(0, set_cfg(PCI_COMMAND + 1, 1, 0));
		EXPECT_EQ(1, signals(efd));
		/* low after a reset; the mask stays */
		EXPECT_EQ(0, reset());
		EXPECT_EQ(0x10, cfg(PCI_STATUS, 1));
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 1, hard));
		EXPECT_EQ(0, signals(efd));
		EXPECT_EQ(0, irq_do(UNMASK, INTX));
		EXPECT_EQ(1, signals(efd));
		/* whoever listens anew is not masked */
		ASSERT_EQ(0, irq_off(INTX));
		ASSERT_EQ(0, irq_trigger(INTX, 0, efd));
		EXPECT_EQ(1, signals(efd));
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 0, hard));
		ASSERT_EQ(0, irq_off(INTX));
	}
}

/* as KVM does it when the guest has ended the interrupt */
TEST_F(pci, intx_unmask_by_eventfd)
{
	int efd = efd_new(), unmask = efd_new(), other = efd_new();
	int on = UNMASK | EFD, i;

	EXPECT_EQ(-EINVAL, vfio_set_irqs(dev, on, INTX, 0, 1, &unmask));
	ASSERT_EQ(0, irq_trigger(INTX, 0, efd));
	ASSERT_EQ(0, vfio_set_irqs(dev, on, INTX, 0, 1, &unmask));
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 1, 0));
	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(eventfd_fired(efd, WAIT_MS));
		EXPECT_EQ(0, eventfd_write(unmask, 1));
	}
	EXPECT_TRUE(eventfd_fired(efd, WAIT_MS));
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 0, 0));
	EXPECT_EQ(0, eventfd_write(unmask, 1));
	EXPECT_FALSE(eventfd_fired(efd, 100));
	/* another one takes its place; none */
	ASSERT_EQ(0, vfio_set_irqs(dev, on, INTX, 0, 1, &other));
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 1, 0));
	EXPECT_TRUE(eventfd_fired(efd, WAIT_MS));
	EXPECT_EQ(0, eventfd_write(unmask, 1));
	EXPECT_FALSE(eventfd_fired(efd, 100));
	EXPECT_EQ(0, eventfd_write(other, 1));
	EXPECT_TRUE(eventfd_fired(efd, WAIT_MS));
	i = -1;
	ASSERT_EQ(0, vfio_set_irqs(dev, on, INTX, 0, 1, &i));
	EXPECT_EQ(0, eventfd_write(other, 1));
	EXPECT_FALSE(eventfd_fired(efd, 100));
	i = 9999;
	EXPECT_EQ(-EBADF, vfio_set_irqs(dev, on, INTX, 0, 1, &i));
	/* one that is signalled already; one that goes away; the trigger itself */
	ASSERT_EQ(0, eventfd_write(unmask, 1));
	ASSERT_EQ(0, vfio_set_irqs(dev, on, INTX, 0, 1, &unmask));
	EXPECT_TRUE(eventfd_fired(efd, WAIT_MS));
	close(unmask);
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 0, 0));
	ASSERT_EQ(0, vfio_set_irqs(dev, on, INTX, 0, 1, &efd));
	ASSERT_EQ(0, irq_do(UNMASK, INTX));
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 1, 0));
	sleep_ms(50);
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 0, 0));
	ASSERT_EQ(0, irq_off(INTX));
	/* nothing unmasks what nobody listens to; and the next one starts anew */
	ASSERT_EQ(0, irq_trigger(INTX, 0, efd));
	ASSERT_EQ(0, irq_do(MASK, INTX));
	signals(efd);
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 1, 0));
	EXPECT_EQ(0, eventfd_write(other, 1));
	EXPECT_FALSE(eventfd_fired(efd, 100));
}

static int set_vectors(int index, int start, int count, const int *fds)
{
	char buf[sizeof(struct vfio_irq_set) + 64 * 4];
	struct vfio_irq_set *set = (void *)buf;

	set->argsz = sizeof(*set) + count * 4;
	set->flags = TRIG | EFD;
	set->index = index;
	set->start = start;
	set->count = count;
	memcpy(set->data, fds, count * 4);
	return vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, set);
}

/* in D3hot a device is silent, but for a level that it still has in D0 */
TEST_F(pci, irqs_in_d3)
{
	int efd = efd_new(), pm = FULL_PM + 4, index;

	for (index = MSI; index <= MSIX; index++) {
		ASSERT_EQ(0, irq_trigger(index, 0, efd));
		ASSERT_EQ(0, set_cfg(pm, 1, 3));
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, 0, 0));
		ASSERT_EQ(0, set_cfg(pm, 1, 0));
		EXPECT_EQ(0, signals(efd));
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, 0, 0));
		EXPECT_EQ(1, signals(efd));
		ASSERT_EQ(0, irq_off(index));
	}
	/* D0 is a reset, after which the level is low */
	ASSERT_EQ(0, irq_trigger(INTX, 0, efd));
	ASSERT_EQ(0, set_cfg(pm, 1, 3));
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 1, 0));
	EXPECT_EQ(0, signals(efd));
	ASSERT_EQ(0, set_cfg(pm, 1, 0));
	EXPECT_EQ(0, signals(efd));
	EXPECT_EQ(0x10, cfg(PCI_STATUS, 1));

	/* or not, if it says so */
	ASSERT_EQ(0, device_change(self->uuid, &self->vc, SMALL));
	ASSERT_EQ(0, irq_trigger(INTX, 0, efd));
	ASSERT_EQ(0, set_cfg(SMALL_PM + 4, 1, 3));
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 1, 0));
	EXPECT_EQ(0, irq_do(UNMASK, INTX));
	EXPECT_EQ(0, signals(efd));
	ASSERT_EQ(0, set_cfg(SMALL_PM + 4, 1, 0));
	EXPECT_EQ(1, signals(efd));
}

TEST_F(pci, messages)
{
	int index, nr, i, hard = 0, fds[16], bad[16];

	for (i = 0; i < 16; i++)
		fds[i] = efd_new();
	for (index = MSI; index <= MSIX; index++) {
		nr = index == MSI ? 4 : 16;
		/* nobody listens, and to none that does not exist */
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, 0, 0));
		ASSERT_EQ(0, set_vectors(index, 0, nr, fds));
		for (i = 0; i < nr; i++)
			EXPECT_EQ(0, signals(fds[i]));
		for (i = 0; i < 20; i++) {
			ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, i, hard));
			ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, i, hard));
			hard = !hard;
			EXPECT_EQ(i < nr ? 2 : 0, signals(fds[i % 16]));
		}
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, -1, hard));

		/* one bad eventfd, and nothing has changed */
		memcpy(bad, fds, sizeof(bad));
		bad[nr - 1] = 9999;
		EXPECT_EQ(-EBADF, set_vectors(index, 0, nr, bad));
		bad[nr - 1] = STDOUT_FILENO;
		bad[0] = -1;
		EXPECT_EQ(-EINVAL, set_vectors(index, 0, nr, bad));
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, 0, 0));
		EXPECT_EQ(1, signals(fds[0]));

		/* some of them; INTA is not there meanwhile */
		bad[0] = -1;
		ASSERT_EQ(0, set_vectors(index, 2, 1, bad));
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, 2, 0));
		EXPECT_EQ(0, signals(fds[2]));
		EXPECT_EQ(-EINVAL, irq_trigger(INTX, 0, fds[0]));
		EXPECT_EQ(-EINVAL, irq_trigger(index ^ 3, 0, fds[0]));
		EXPECT_EQ(0, irq_trigger(index ^ 3, 0, -1));
		EXPECT_EQ(0, irq_off(index ^ 3));
		/* with a table it was pending, without one it is lost */
		ASSERT_EQ(0, set_vectors(index, 2, 1, &fds[2]));
		EXPECT_EQ(index == MSIX, signals(fds[2]));
		EXPECT_EQ(0, signals(fds[0]));

		/* a vector of a device that has one interrupt: edges */
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_IRQ, 1, hard));
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_IRQ, 1, hard));
		EXPECT_EQ(1, signals(fds[0]));
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_IRQ, 0, hard));
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_IRQ, 1, hard));
		EXPECT_EQ(1, signals(fds[0]));
		ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_IRQ, 0, hard));

		/* off, by one call or one by one; then another kind */
		if (index == MSI) {
			for (i = 0; i < nr; i++)
				ASSERT_EQ(0, irq_trigger(MSI, i, -1));
		} else {
			ASSERT_EQ(0, irq_off(MSIX));
		}
		for (i = 0; i < nr; i++) {
			ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, i, 0));
			EXPECT_EQ(0, signals(fds[i]));
		}
		/* no eventfd is left: none comes back with that of another vector */
		ASSERT_EQ(0, irq_trigger(index, 0, fds[0]));
		for (i = 0; i < nr; i++) {
			ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, i, 0));
			EXPECT_EQ(!i, signals(fds[i]));
		}
		ASSERT_EQ(0, irq_off(index));
		ASSERT_EQ(0, irq_trigger(INTX, 0, fds[0]));
		EXPECT_EQ(-EINVAL, irq_trigger(MSI, 0, fds[1]));
		EXPECT_EQ(-EINVAL, irq_trigger(MSIX, 0, fds[1]));
		ASSERT_EQ(0, irq_off(INTX));
	}
}

/* VFIO_DEVICE_SET_IRQS in every combination, against what VFIO says */

static int nr_irqs(uint32_t index)
{
	static const int nr[] = { 1, 4, 16, 0, 1 };

	return index < ARRAY_SIZE(nr) ? nr[index] : 0;
}

static bool is_one(uint32_t bits)
{
	return bits && !(bits & (bits - 1));
}

/* @on: the index that somebody listens to, or -1 */
static int expected(uint32_t flags, uint32_t index, uint32_t start, uint32_t count,
		    int on)
{
	uint32_t action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	uint32_t data = flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	uint32_t nr = nr_irqs(index);

	if (flags & ~(action | data) || !is_one(action))
		return -EINVAL;
	if (start >= nr || (uint64_t)start + count > nr)
		return -EINVAL;
	if (!count && (start || flags != (TRIG | NONE)))
		return -EINVAL;
	if (action != TRIG && (index != INTX || flags == (MASK | EFD)))
		return -ENOTTY;
	if (!is_one(data))
		return -EINVAL;
	if (!count)
		return 0;
	if (flags == (TRIG | EFD))
		return index == REQ || on < 0 || on == (int)index ? 0 : -EINVAL;
	return on == (int)index ? 0 : -EINVAL;
}

TEST_F(pci, set_irqs)
{
	static const uint32_t edges[] = { 0, 1, 2, 3, 4, 5, 15, 16, 17, 1 << 30,
					  1U << 31, UINT32_MAX };
	static const int active[] = { -1, INTX, MSI, MSIX };
	char buf[sizeof(struct vfio_irq_set) + 64 * 4];
	uint32_t flags, index, i, j, k;
	struct vfio_irq_set *set = (void *)buf;
	int fd = efd_new(), want, ret, o, n = 0, good = 0;

	for (o = 0; o < (int)ARRAY_SIZE(active); o++) {
		if (active[o] >= 0)
			ASSERT_EQ(0, irq_trigger(active[o], 0, fd));
		for (i = 0; i < 64 * 8 * 12 * 12; i++) {
			/* all types and actions; odd bits are below */
			flags = i % 64;
			index = i / 64 % 8;
			j = i / 64 / 8 % 12;
			k = i / 64 / 8 / 12;
			want = expected(flags, index, edges[j], edges[k], active[o]);
			*set = (struct vfio_irq_set) { sizeof(buf), flags, index,
						       edges[j], edges[k] };
			for (int v = 0; v < 64; v++)
				memcpy(set->data + v * 4, &fd, 4);
			if (flags & VFIO_IRQ_SET_DATA_BOOL)
				memset(set->data, 1, 64);
			ret = vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, set);
			ASSERT_EQ(want, ret)
				TH_LOG("flags %#x index %u start %#x count %#x on %d",
				       flags, index, edges[j], edges[k], active[o]);
			n++;
			good += !want;
			/* as before */
			if (want || (flags != (TRIG | EFD) && edges[k] &&
				     flags != (UNMASK | EFD)))
				continue;
			ASSERT_EQ(0, irq_off(index));
			if (active[o] >= 0)
				ASSERT_EQ(0, irq_trigger(active[o], 0, fd));
		}
		if (active[o] >= 0)
			ASSERT_EQ(0, irq_off(active[o]));
	}
	printf("# %d combinations, %d of them good\n", n, good);
	for (flags = 1 << 6; flags; flags <<= 1)
		EXPECT_EQ(-EINVAL, vfio_set_irqs(dev, TRIG | EFD | flags, INTX, 0,
						 1, &fd));
}

/* too small for what it says, or where no memory is */
TEST_F(pci, set_irqs_bad_data)
{
	int fd = efd_new();
	struct vfio_irq_set *set;
	unsigned int size;
	char *pages;

	pages = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, munmap(pages + PAGE, PAGE));
	set = (void *)pages;
	*set = (struct vfio_irq_set) { 0, TRIG | EFD, MSIX, 0, 16 };
	for (size = 0; size < 16; size++)
		memcpy(set->data + 4 * size, &fd, 4);
	for (size = 0; size < sizeof(*set) + 16 * 4; size++) {
		set->argsz = size;
		EXPECT_EQ(-EINVAL, vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, set));
	}
	set->argsz = size;
	EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, set));
	for (size = 1; size <= 16 * 4; size++) {
		set = (void *)(pages + PAGE - sizeof(*set) - 16 * 4 + size);
		*set = (struct vfio_irq_set) { 84, TRIG | EFD, MSIX, 0, 16 };
		EXPECT_EQ(-EFAULT, vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, set));
	}
	/* booleans: some of them; none is never an error */
	set = (void *)pages;
	*set = (struct vfio_irq_set) { 36, TRIG | BOOL, MSIX, 0, 16 };
	memset(set->data, 0, 16);
	set->data[5] = 1;
	set->data[9] = 1;
	EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, set));
	EXPECT_EQ(2, signals(fd));
	EXPECT_EQ(0, irq_off(MSIX));
	EXPECT_EQ(-EINVAL, vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, set));
	memset(set->data, 0, 16);
	EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, set));
	EXPECT_EQ(0, signals(fd));
}

static void *set_irqs_often(void *arg)
{
	long end = now_ms() + 500, bad = 0;
	int fds[16], fd = *(int *)arg, i, ret;

	for (i = 0; i < 16; i++)
		fds[i] = fd;
	while (now_ms() < end) {
		/* fails if another thread has just switched it off, or another kind on */
		irq_trigger(INTX, 0, fd);
		ret = vfio_set_irqs(dev, UNMASK | EFD, INTX, 0, 1, &fd);
		bad += ret && ret != -EINVAL;
		bad += irq_off(INTX) != 0;
		set_vectors(MSIX, 0, 16, fds);
		bad += irq_off(MSIX) != 0;
	}
	return (void *)bad;
}

/* what threads set at the same time is set one after the other, and nothing of it stays */
TEST_F(pci, set_irqs_at_once)
{
	int efd = efd_new(), other = efd_new(), i, j;
	pthread_t threads[3];
	void *bad;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, set_irqs_often,
					    &efd));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, pthread_join(threads[i], &bad));
		EXPECT_EQ(0, (long)bad);
	}
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, irq_trigger(MSIX, 15, other));
		for (j = 0; j < 16; j++)
			ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, j, 0));
		EXPECT_EQ(0, signals(efd));
		EXPECT_EQ(1, signals(other));
		vfio_close(&self->vc);
		ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
		dev = self->vc.device;
	}
}

/* everything at once, for a while: nothing but errnos comes of it */
static void *storm(void *role)
{
	int fds[16], i, j = 0, fd = efd_new();
	long end = now_ms() + 500;

	for (i = 0; i < 16; i++)
		fds[i] = fd;
	for (i = 0; now_ms() < end; i++) {
		switch ((long)role) {
		case 0:
			reset();
			set_cfg(FULL_EXP + PCI_EXP_DEVCTL, 2, 0x8000);
			break;
		case 1:
			set_vectors(MSI + i % 2, 0, i % 2 ? 16 : 4, fds);
			irq_trigger(INTX, 0, fd);
			vfio_set_irqs(dev, UNMASK | EFD, INTX, 0, 1, &fd);
			irq_off(i % 3);
			break;
		case 2:
			raise_irq(i % 3, i / 3 % 4, i % 2);
			break;
		default:
			put(i % 5, i * 4 % 4096, 4, i);
			get(i % 5, i * 4 % 4096, 4);
			set_cfg(PCI_COMMAND, 2, j++);
			set_cfg(FULL_PM + 4, 1, i % 4);
		}
	}
	close(fd);
	return NULL;
}

TEST_F(pci, storm)
{
	static const long roles[] = { 0, 1, 1, 2, 3, 3 };
	pthread_t threads[ARRAY_SIZE(roles)];
	int efd = efd_new();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(roles); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, storm,
					    (void *)roles[i]));
	for (i = 0; i < ARRAY_SIZE(roles); i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	EXPECT_EQ(0, reset());
	for (i = INTX; i <= MSIX; i++)
		ASSERT_EQ(0, irq_off(i));
	EXPECT_TRUE(is_reset());
	ASSERT_EQ(0, irq_trigger(INTX, 0, efd));
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 1, 0));
	EXPECT_EQ(1, signals(efd));
}

/* resets, opens, unplugging */

TEST_F(pci, reset_and_reopen)
{
	struct mdev_test_pci_counts was = counts(), is;
	int efd = efd_new();

	ASSERT_EQ(0, irq_trigger(MSI, 0, efd));
	ASSERT_EQ(0, spoil());
	EXPECT_EQ(0, reset());
	EXPECT_TRUE(is_reset());
	EXPECT_EQ(was.reset + 1, counts().reset);
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, 0, 0));
	EXPECT_EQ(1, signals(efd));

	ASSERT_EQ(0, spoil());
	vfio_close(&self->vc);
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	dev = self->vc.device;
	EXPECT_TRUE(is_reset());
	is = counts();
	EXPECT_EQ(was.open + 1, is.open);
	EXPECT_EQ(was.close + 1, is.close);
	EXPECT_EQ(was.reset + 3, is.reset);
	/* nobody listens any more */
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, 0, 0));
	EXPECT_EQ(0, signals(efd));
	ASSERT_EQ(0, irq_trigger(INTX, 0, efd));
	EXPECT_EQ(0, signals(efd));
}

TEST_F(pci, unplug)
{
	int req = efd_new();
	pid_t pid;

	EXPECT_EQ(-EINVAL, irq_do(TRIG, REQ));
	ASSERT_EQ(0, irq_trigger(REQ, 0, req));
	ASSERT_EQ(0, irq_trigger(MSIX, 0, req));
	EXPECT_EQ(0, irq_do(TRIG, REQ));
	EXPECT_EQ(1, signals(req));
	EXPECT_EQ(-ENOTTY, irq_do(MASK, REQ));

	pid = fork_child();
	if (!pid) {
		vfio_close(&self->vc);
		child_exit(mdev_remove(self->uuid));
	}
	EXPECT_TRUE(eventfd_fired(req, WAIT_MS));
	EXPECT_TRUE(child_running(pid));
	EXPECT_EQ(0, get(0, 0, 4));
	vfio_close(&self->vc);
	EXPECT_EQ(0, child_wait(pid));
	/* for the teardown */
	ASSERT_EQ(0, device_add(self->uuid, &self->vc, FULL));
}

/* memory of the user */

#define IOVA	0x100000

static int dma(uint64_t iova, uint64_t len, int value, bool write, bool pin)
{
	struct mdev_test_pci_dma how = { iova, len, value, write, pin };
	int ret;

	ret = test_ioctl(MDEV_TEST_PCI_DMA, &how);
	return ret ?: pin || write ? 0 : how.value;
}

TEST_F(pci, dma)
{
	unsigned char *mem;

	mem = mmap(NULL, 16384, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, vfio_dma_map(&self->vc, mem, IOVA, 16384, true));

	/* not before the device is bus master, and not in D3hot */
	EXPECT_EQ(-EACCES, dma(IOVA, 4, 1, true, false));
	EXPECT_EQ(-EACCES, dma(IOVA, 4, 1, false, false));
	EXPECT_EQ(-EACCES, dma(IOVA, 4, 1, true, true));
	ASSERT_EQ(0, set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MASTER));
	ASSERT_EQ(0, set_cfg(FULL_PM + 4, 1, 3));
	EXPECT_EQ(-EACCES, dma(IOVA, 4, 1, true, false));
	ASSERT_EQ(0, set_cfg(FULL_PM + 4, 1, 0));
	EXPECT_EQ(-EACCES, dma(IOVA, 4, 1, true, false));
	ASSERT_EQ(0, set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MASTER));
	EXPECT_EQ(0, mem[4095]);

	EXPECT_EQ(0, dma(IOVA + 4095, 2, 0x5a, true, false));
	EXPECT_EQ(0, mem[4094]);
	EXPECT_EQ(0x5a, mem[4095]);
	EXPECT_EQ(0x5a, mem[4096]);
	EXPECT_EQ(0, mem[4097]);
	mem[9] = 0x77;
	EXPECT_EQ(0x77, dma(IOVA + 9, 1, 0, false, false));
	EXPECT_GT(0, dma(IOVA + 16384, 1, 0, false, false));
	ASSERT_EQ(0, vfio_dma_unmap(&self->vc, IOVA, 16384));
	munmap(mem, 16384);
}

/* told of, and unpinned by the kit: at an unmap, a reset, a close */
TEST_F(pci, pins)
{
	void *mem;
	int i;

	mem = mmap(NULL, 16384, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, vfio_dma_map(&self->vc, mem, IOVA, 16384, true));
		ASSERT_EQ(0, set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MASTER));
		EXPECT_EQ(-EINVAL, dma(IOVA, 0, 0, true, true));
		EXPECT_EQ(-EINVAL, dma(IOVA, 1ULL << 41, 0, true, true));
		EXPECT_EQ(-EINVAL, dma(UINT64_MAX, 2, 0, true, true));
		EXPECT_GT(0, dma(IOVA + 16384, 1, 0, true, true));
		ASSERT_EQ(0, dma(IOVA + 4095, 2, 0, true, true));
		EXPECT_EQ(i, counts().unpin);
		/* by the vendor: it is not told */
		EXPECT_EQ(0, test_ioctl(MDEV_TEST_PCI_UNPIN, NULL));
		EXPECT_EQ(0, test_ioctl(MDEV_TEST_PCI_UNPIN, NULL));
		EXPECT_EQ(i, counts().unpin);
		ASSERT_EQ(0, dma(IOVA + 4095, 2, 0, false, true));
		if (i == 0) {
			/* elsewhere, and here */
			if (variant->iommufd)
				EXPECT_EQ(i, counts().unpin);
		} else if (i == 1) {
			EXPECT_EQ(0, reset());
			EXPECT_EQ(i + 1, counts().unpin);
		} else if (i == 2) {
			EXPECT_EQ(0, set_cfg(FULL_EXP + PCI_EXP_DEVCTL, 2, 0x8000));
			EXPECT_EQ(i + 1, counts().unpin);
		} else {
			vfio_close(&self->vc);
			ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
			dev = self->vc.device;
			EXPECT_EQ(i + 1, counts().unpin);
			break;
		}
		ASSERT_EQ(0, vfio_dma_unmap(&self->vc, IOVA, 16384));
		EXPECT_EQ(i + 1, counts().unpin);
		EXPECT_EQ(0, test_ioctl(MDEV_TEST_PCI_UNPIN, NULL));
	}
	munmap(mem, 16384);
}

/* memory that is not whole pages cannot be mapped with what else is in its page */
TEST_F(pci, mmap_part_of_page)
{
	bool whole = 4096 % PAGE == 0;
	struct vfio_region_info info;
	uint32_t *mem;

	ASSERT_EQ(0, device_change(self->uuid, &self->vc, ODD));
	ASSERT_EQ(0, vfio_region(dev, 11, &info));
	EXPECT_EQ(4096, info.size);
	EXPECT_EQ(whole, !!(info.flags & VFIO_REGION_INFO_FLAG_MMAP));
	EXPECT_EQ(0, put(11, 4092, 4, 0x1234));
	EXPECT_EQ(0x1234, get(11, 4092, 4));
	mem = map(11, 0, PAGE, RW, MAP_SHARED);
	if (!whole) {
		EXPECT_EQ(MAP_FAILED, mem);
		EXPECT_EQ(EINVAL, errno);
		return;
	}
	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_EQ(0x1234, le32toh(mem[1023]));
	munmap(mem, PAGE);
}

/* migration; the states themselves are those of mdev_migration */

static int feature(uint32_t flags, void *data, size_t size)
{
	return vfio_feature(dev, flags, data, size);
}

/* a file, -1 for none, or an errno below it */
static int set_state(uint32_t state)
{
	struct vfio_device_feature_mig_state mig = { .device_state = state };
	int ret;

	ret = feature(VFIO_DEVICE_FEATURE_SET |
		      VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig, sizeof(mig));
	return ret ? ret - 1 : mig.data_fd;
}

static int state_of(void)
{
	struct vfio_device_feature_mig_state mig = {};
	int ret;

	ret = feature(VFIO_DEVICE_FEATURE_GET |
		      VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig, sizeof(mig));
	return ret ?: (int)mig.device_state;
}

/* its size, or an errno; the device goes on */
static int save(void *buf, size_t size)
{
	int file = set_state(VFIO_DEVICE_STATE_STOP_COPY), ret;
	size_t done = 0;

	if (file < 0)
		return file;
	while ((ret = read(file, buf + done, size - done)) > 0)
		done += ret;
	close(file);
	set_state(RUNNING);
	return ret < 0 ? -errno : (int)done;
}

/* 0 or an errno; it does not go on if it fails */
static int load(const void *buf, size_t size)
{
	int file = set_state(VFIO_DEVICE_STATE_RESUMING), ret;

	if (file < 0)
		return file;
	ret = write(file, buf, size) == (ssize_t)size ? 0 : -errno;
	close(file);
	if (set_state(STOP) != -1)
		ret = ret ?: -EINVAL;
	else if (ret)
		return -EBADE;
	return ret ?: set_state(RUNNING) + 1;
}

#define FULL_SIZE	(HEADER + 4096 + STATE + MDEV_TEST_PCI_RAM + 65536)
#define SMALL_SIZE	(HEADER + 256 + STATE)

/* a stream that is over keeps no memory, however long its file is open */
TEST_F(pci, kept_streams)
{
	struct sysinfo before, after;
	int files[200];
	unsigned int i;

	ASSERT_EQ(0, sysinfo(&before));
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		files[i] = set_state(VFIO_DEVICE_STATE_STOP_COPY);
		ASSERT_LE(0, files[i]);
		ASSERT_EQ(-1, set_state(RUNNING));
	}
	ASSERT_EQ(0, sysinfo(&after));
	EXPECT_GT(ARRAY_SIZE(files) * FULL_SIZE / 2,
		  before.freeram > after.freeram ?
		  (before.freeram - after.freeram) * after.mem_unit : 0);
	EXPECT_EQ(-1, read(files[0], &after, 1));
	EXPECT_EQ(ENODEV, errno);
	for (i = 0; i < ARRAY_SIZE(files); i++)
		close(files[i]);
}

TEST_F(pci, migration)
{
	struct mdev_test_pci_fields in = {
		0x1122334455667788, 0xdef0, { 0x1234, 0x5678, 0x9abc }, 1,
	}, out;
	unsigned char *state = malloc(FULL_SIZE + 1), *again = malloc(FULL_SIZE + 1);
	struct mdev_test_pci_counts was;
	unsigned char *fields = state + HEADER + 4096 + MDEV_TEST_PCI_BYTES;
	int i;

	ASSERT_EQ(0, spoil());
	ASSERT_EQ(0, put(2, 0x5000, 4, 0xfeed));
	ASSERT_EQ(0, test_ioctl(MDEV_TEST_PCI_SET_FIELDS, &in));
	ASSERT_EQ(0, test_ioctl(MDEV_TEST_PCI_SET_CONFIG, (void *)0x99));
	was = counts();
	ASSERT_EQ(FULL_SIZE, save(state, FULL_SIZE + 1));
	EXPECT_EQ(was.quiesce + 1, counts().quiesce);
	EXPECT_EQ(was.resume + 1, counts().resume);
	/* little endian, whatever runs this */
	EXPECT_EQ(0, memcmp(fields, "\x34\x12\x78\x56\xbc\x9a\x01\xf0\xde\0\0"
			    "\x88\x77\x66\x55\x44\x33\x22\x11", 19));

	EXPECT_EQ(0, reset());
	EXPECT_EQ(0, load(state, FULL_SIZE));
	EXPECT_EQ(was.check + 1, counts().check);
	EXPECT_EQ(was.quiesce + 2, counts().quiesce);
	EXPECT_EQ(was.resume + 2, counts().resume);
	EXPECT_EQ(0x12345678, get(0, 0x10, 4));
	EXPECT_EQ(7, cfg(PCI_INTERRUPT_LINE, 1));
	EXPECT_EQ(0xfeed, get(2, 0x5000, 4));
	EXPECT_EQ(0, test_ioctl(MDEV_TEST_PCI_GET_FIELDS, &out));
	EXPECT_EQ(0, memcmp(&in, &out, sizeof(in)));
	/* what the vendor has set is for its resume to set again */
	EXPECT_EQ(0x33, cfg(FULL_VNDR + 5, 1));
	ASSERT_EQ(FULL_SIZE, save(again, FULL_SIZE + 1));
	EXPECT_EQ(0, memcmp(state, again, FULL_SIZE));

	/* each byte of all but the memory, changed: refused, or what it is then */
	for (i = 0; i < HEADER + 4096 + STATE; i++) {
		/* there is much of nothing */
		if (i > 0x220 && i < HEADER + 4096 && i % 64)
			continue;
		state[i] ^= 0x21;
		if (load(state, FULL_SIZE)) {
			EXPECT_EQ(ERROR, state_of());
			EXPECT_EQ(0, reset());
		} else {
			ASSERT_EQ(FULL_SIZE, save(again, FULL_SIZE + 1));
			EXPECT_EQ(0, memcmp(state, again, FULL_SIZE))
				TH_LOG("byte %#x", i);
			EXPECT_LE(HEADER, i);
		}
		state[i] ^= 0x21;
	}
	/* too short, too long */
	EXPECT_EQ(-EINVAL, load(state, FULL_SIZE - 1));
	EXPECT_EQ(0, reset());
	EXPECT_EQ(-EFBIG, load(state, FULL_SIZE + 1));
	EXPECT_EQ(0, reset());
	free(state);
	free(again);
}

TEST_F(pci, migration_refused)
{
	/* where, and to what it is changed; first what is as it should be */
	static const struct {
		int where;
		unsigned char value;
	} changes[] = {
		{ 0, 't' },
		/* magic, version, variant, size */
		{ 0, 'u' }, { 4, 0 }, { 4, 3 }, { 5, 1 }, { 6, 1 }, { 6, 3 },
		{ 8, 0 }, { 11, 0x80 },
		/* read-only bits of configuration space, D1, nothing */
		{ HEADER, 0 }, { HEADER + PCI_STATUS, 0 },
		{ HEADER + PCI_STATUS, 0x18 }, { HEADER + PCI_COMMAND + 1, 1 },
		{ HEADER + SMALL_PM + 4, 9 }, { HEADER + SMALL_PM + 4, 10 },
		{ HEADER + 255, 1 },
		/* a bool of 2; bits that a field does not have; what the vendor says */
		{ HEADER + 256 + 256 + 6, 2 }, { HEADER + 256 + 256 + 6, 0xff },
		{ HEADER + 256 + 256 + 9, 1 }, { HEADER + 256 + 256 + 10, 0x80 },
		{ HEADER + 256 + 256 + 8, 0xde },
	};
	struct mdev_test_pci_fields in = { .dword = 0xffad };
	unsigned char state[SMALL_SIZE + 1], bad[SMALL_SIZE];
	unsigned int i;

	ASSERT_EQ(0, device_change(self->uuid, &self->vc, SMALL));
	ASSERT_EQ(0, test_ioctl(MDEV_TEST_PCI_SET_FIELDS, &in));
	ASSERT_EQ(SMALL_SIZE, save(state, sizeof(state)));
	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		memcpy(bad, state, SMALL_SIZE);
		bad[changes[i].where] = changes[i].value;
		ASSERT_EQ(0, put(5, 0, 2, 0x4321));
		EXPECT_EQ(i ? -EINVAL : 0, load(bad, SMALL_SIZE))
			TH_LOG("change %u", i);
		if (!i)
			continue;
		EXPECT_EQ(ERROR, state_of());
		EXPECT_EQ(-EBUSY, put(5, 0, 2, 0));
		EXPECT_EQ(0, reset());
		EXPECT_EQ(0, put(5, 0, 2, 0));
	}
}

/* an older version, in which a field was not there yet; and the same with it */
TEST_F(pci, migration_old_version)
{
	unsigned char state[SMALL_SIZE + 1];
	unsigned char *dword = state + HEADER + 256 + MDEV_TEST_PCI_BYTES + 7;
	struct mdev_test_pci_fields in = {
		0x0102030405060708, 0xbeef, { 1, 2, 3 }, 1,
	}, out;

	ASSERT_EQ(0, device_change(self->uuid, &self->vc, SMALL));
	ASSERT_EQ(0, test_ioctl(MDEV_TEST_PCI_SET_FIELDS, &in));
	ASSERT_EQ(SMALL_SIZE, save(state, sizeof(state)));
	memmove(dword, dword + 4, 8);
	state[4] = 1;
	state[8] -= 4;
	EXPECT_EQ(0, load(state, SMALL_SIZE - 4));
	EXPECT_EQ(0, test_ioctl(MDEV_TEST_PCI_GET_FIELDS, &out));
	EXPECT_EQ(0, out.dword);
	EXPECT_EQ(in.qword, out.qword);
	EXPECT_EQ(-EFBIG, load(state, SMALL_SIZE + 1));
	EXPECT_EQ(0, reset());
	EXPECT_EQ(-EINVAL, load(state, SMALL_SIZE));
	EXPECT_EQ(0, reset());
	state[8] += 4;
	EXPECT_EQ(-EINVAL, load(state, SMALL_SIZE - 4));
	EXPECT_EQ(0, reset());

	/* the other type's, of a device that takes no old versions either */
	state[4] = 2;
	ASSERT_EQ(0, device_change(self->uuid, &self->vc, FULL));
	EXPECT_EQ(-EINVAL, load(state, SMALL_SIZE));
	ASSERT_EQ(0, device_change(self->uuid, &self->vc, NOTHING));
	EXPECT_EQ(HEADER + 256, save(state, sizeof(state)));
	EXPECT_EQ(0, load(state, HEADER + 256));
}

/* while it stands still */
TEST_F(pci, stopped)
{
	int efd = efd_new(), msi = efd_new();
	char byte;

	ASSERT_EQ(0, put(0, 0, 4, 0x1234));
	ASSERT_EQ(0, irq_trigger(INTX, 0, efd));
	ASSERT_EQ(-1, set_state(STOP));
	EXPECT_EQ(-EBUSY, put(0, 0, 4, 1));
	EXPECT_EQ(-EBUSY, vfio_read(dev, &byte, 1, at(0, 0)));
	EXPECT_EQ(-EBUSY, vfio_read(dev, &byte, 1, at(1, 0)));
	EXPECT_EQ(-EBUSY, vfio_read(dev, &byte, 1, at(2, 0)));
	EXPECT_EQ(-EBUSY, vfio_read(dev, &byte, 1, at(MDEV_TEST_PCI_NOTE, 0)));
	/* what was wrong stays wrong in the same way */
	EXPECT_EQ(-EINVAL, vfio_read(dev, &byte, 1, at(0, 4096)));
	EXPECT_EQ(-EFAULT, vfio_write(dev, (void *)8, 1, at(0, 0)));
	/* configuration space always answers */
	EXPECT_EQ(0, set_cfg(PCI_INTERRUPT_LINE, 1, 5));
	EXPECT_EQ(5, cfg(PCI_INTERRUPT_LINE, 1));

	/* nothing is signalled, and nothing is lost */
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_INTX, 1, 0));
	EXPECT_EQ(0, signals(efd));
	ASSERT_EQ(-1, set_state(RUNNING));
	EXPECT_EQ(1, signals(efd));
	EXPECT_EQ(0x1234, get(0, 0, 4));
	ASSERT_EQ(0, irq_off(INTX));
	ASSERT_EQ(0, irq_trigger(MSI, 1, msi));
	ASSERT_EQ(-1, set_state(STOP));
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, 1, 0));
	EXPECT_EQ(0, signals(msi));
	ASSERT_EQ(-1, set_state(RUNNING));
	EXPECT_EQ(1, signals(msi));
	/* a reset has it go on */
	ASSERT_EQ(-1, set_state(STOP));
	ASSERT_EQ(0, raise_irq(MDEV_TEST_PCI_SIGNAL, 1, 0));
	EXPECT_EQ(0, set_cfg(FULL_EXP + PCI_EXP_DEVCTL, 2, 0x8000));
	EXPECT_EQ(RUNNING, state_of());
	EXPECT_EQ(0, signals(msi));
	EXPECT_EQ(0, put(0, 0, 4, 1));
	EXPECT_EQ(counts().quiesce, counts().resume);
}

static void *read_blocking(void *arg)
{
	return (void *)(long)get(1, MDEV_TEST_PCI_BLOCKS, 1);
}

static void *write_blocking(void *arg)
{
	return (void *)(long)put(1, MDEV_TEST_PCI_BLOCKS, 1, 1);
}

/* the same for a write, which goes directly to the vendor */
TEST_F(pci, stop_waits_for_write)
{
	pthread_t thread;
	void *ret;
	pid_t pid;

	ASSERT_EQ(0, device_change(self->uuid, &self->vc, ODD));
	ASSERT_EQ(0, test_ioctl(MDEV_TEST_PCI_BLOCK, (void *)1));
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_blocking, NULL));
	ASSERT_TRUE(wait_for(counts().blocked == 1));
	pid = fork_child();
	if (!pid)
		child_exit(set_state(STOP) + 1);
	EXPECT_TRUE(child_blocks(pid));
	ASSERT_EQ(0, test_ioctl(MDEV_TEST_PCI_BLOCK, NULL));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(0, (long)ret);
	EXPECT_EQ(0, child_wait(pid));
	EXPECT_EQ(STOP, state_of());
	EXPECT_EQ(-1, set_state(RUNNING));
}

/* whoever stops a device waits for accesses that are under way, and can be killed */
TEST_F(pci, stop_waits)
{
	pthread_t thread;
	void *val;
	pid_t pid;
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, test_ioctl(MDEV_TEST_PCI_BLOCK, (void *)1));
		ASSERT_EQ(0, pthread_create(&thread, NULL, read_blocking, NULL));
		ASSERT_TRUE(wait_for(counts().blocked == i + 1U));
		pid = fork_child();
		if (!pid)
			child_exit(set_state(STOP) + 1);
		EXPECT_TRUE(child_blocks(pid));
		/* nobody else is let in; who asks does not wait. This far it came. */
		EXPECT_EQ(RUNNING_P2P, state_of());
		EXPECT_EQ(-EBUSY, put(0, 0, 4, 1));
		if (i) {
			kill(pid, SIGKILL);
			EXPECT_EQ(-ECANCELED, child_wait(pid));
			EXPECT_EQ(0, put(0, 0, 4, 1));
			EXPECT_EQ(0, reset());
			EXPECT_EQ(RUNNING, state_of());
		}
		ASSERT_EQ(0, test_ioctl(MDEV_TEST_PCI_BLOCK, NULL));
		ASSERT_EQ(0, pthread_join(thread, &val));
		EXPECT_EQ(MDEV_TEST_PCI_BLOCKS, (long)val);
		if (i)
			continue;
		EXPECT_EQ(0, child_wait(pid));
		EXPECT_EQ(STOP, state_of());
		ASSERT_EQ(-1, set_state(RUNNING));
	}
	EXPECT_EQ(counts().quiesce, counts().resume);
}

/* types */

TEST_F(pci, types)
{
	static const char *const parent =
		"/sys/class/mdev_bus/mdev_test_pci/mdev_supported_types";
	char uuid[5][UUID_LEN + 1], buf[64];
	int i;

	file_read(buf, sizeof(buf), "%s/mdev_test_pci-full/name", parent);
	EXPECT_STREQ("Everything", buf);
	file_read(buf, sizeof(buf), "%s/mdev_test_pci-full/description", parent);
	EXPECT_STREQ("all that the kit has", buf);
	file_read(buf, sizeof(buf), "%s/mdev_test_pci-small/name", parent);
	EXPECT_STREQ("small", buf);
	EXPECT_FALSE(file_exists("%s/mdev_test_pci-small/description", parent));
	file_read(buf, sizeof(buf), "%s/mdev_test_pci-none/device_api", parent);
	EXPECT_STREQ("vfio-pci", buf);
	EXPECT_EQ(0444, file_mode("%s/mdev_test_pci-none/name", parent));

	/* the fixture has taken three of eight units */
	for (i = 0; i < 5; i++)
		uuid_next(uuid[i]);
	EXPECT_EQ(1, mdev_available(FULL));
	EXPECT_EQ(5, mdev_available(SMALL));
	EXPECT_EQ(0, mdev_create(FULL, uuid[0]));
	EXPECT_EQ(0, mdev_available(FULL));
	EXPECT_EQ(2, mdev_available(NOTHING));
	EXPECT_EQ(-EUSERS, mdev_create(FULL, uuid[1]));
	EXPECT_EQ(0, mdev_create(SMALL, uuid[1]));
	EXPECT_EQ(0, mdev_create(NOTHING, uuid[2]));
	EXPECT_EQ(-EUSERS, mdev_create(NOTHING, uuid[3]));
	EXPECT_EQ(0, mdev_available(SMALL));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, mdev_remove(uuid[i]));
	EXPECT_EQ(5, mdev_available(SMALL));
}

FIXTURE(tables) {};
FIXTURE_SETUP(tables) {}
FIXTURE_TEARDOWN(tables) {}

/* each mistake is found when the vendor registers, and the log says which */
TEST_F_TIMEOUT(tables, wrong, 1800)
{
	char cmd[64];
	int kmsg, i;

	ASSERT_EQ(0, vendors_reset());
	kmsg = kmsg_open();
	ASSERT_LE(0, kmsg);
	for (i = 1; i <= MDEV_TEST_PCI_MISTAKES; i++) {
		snprintf(cmd, sizeof(cmd), "mdev_test_pci wrong=%d", i);
		ASSERT_EQ(-EINVAL, module_load(cmd)) TH_LOG("mistake %d", i);
		EXPECT_TRUE(kmsg_find(kmsg, "mdev_test_pci", "PCI tables: "))
			TH_LOG("mistake %d", i);
	}
	/* the tables are right but for these */
	snprintf(cmd, sizeof(cmd), "mdev_test_pci wrong=%d", i);
	EXPECT_EQ(0, module_load(cmd));
	EXPECT_EQ(0, vendors_reset());
	close(kmsg);
}

/* samples/hello_pci.c */

/* its stream, as saved on x86-64, is the same on all architectures */
static const char hello_saved[HEADER + 256 + 8] = {
	'h', 'e', 'l', 'o', 1, 0, 0, 0, 8, 1,
	[HEADER + PCI_VENDOR_ID] = 0x36, 0x1b, '\xff', 0x0f,
	[HEADER + PCI_COMMAND] = PCI_COMMAND_MEMORY,
	[HEADER + PCI_STATUS] = PCI_STATUS_CAP_LIST,
	[HEADER + PCI_CLASS_DEVICE + 1] = '\xff',
	[HEADER + PCI_SUBSYSTEM_VENDOR_ID] = 0x36, 0x1b, '\xff', 0x0f,
	[HEADER + PCI_CAPABILITY_LIST] = 0x40,
	[HEADER + PCI_INTERRUPT_PIN] = 1,
	[HEADER + 0x40] = PCI_CAP_ID_MSI, 0, (char)PCI_MSI_FLAGS_64BIT,
	/* the registers */
	[HEADER + 256] = 0x34, 0x12, 0, 0, 1,
};

TEST(hello)
{
	char uuid[UUID_LEN + 1], state[sizeof(hello_saved) + 1];
	struct vfio_client vc;
	int efd = efd_new();

	vfio_use_iommufd(false);
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("hello_pci"));
	EXPECT_EQ(8, mdev_available(HELLO));
	ASSERT_EQ(0, device_add(uuid, &vc, HELLO));
	EXPECT_EQ(0x0fff1b36, cfg(0, 4));
	EXPECT_EQ(0x6f6c6568, get(0, 0, 4));
	EXPECT_EQ(0xff, get(0, 0, 1));
	ASSERT_EQ(0, put(0, 4, 4, 0x1234));
	EXPECT_EQ(0x1234, get(0, 4, 4));
	EXPECT_EQ(UINT32_MAX, get(0, 12, 4));

	ASSERT_EQ(0, irq_trigger(INTX, 0, efd));
	ASSERT_EQ(0, put(0, 8, 4, 1));
	EXPECT_EQ(1, signals(efd));
	ASSERT_EQ(sizeof(state) - 1, save(state, sizeof(state)));
	EXPECT_EQ(0, memcmp(hello_saved, state, sizeof(hello_saved)));
	EXPECT_EQ(0, reset());
	EXPECT_EQ(0, get(0, 4, 4));
	EXPECT_EQ(0, irq_do(UNMASK, INTX));
	EXPECT_EQ(0, signals(efd));
	EXPECT_EQ(0, load(hello_saved, sizeof(hello_saved)));
	EXPECT_EQ(0x1234, get(0, 4, 4));
	EXPECT_EQ(1, get(0, 8, 4));
	EXPECT_EQ(1, signals(efd));
	ASSERT_EQ(0, irq_off(INTX));
	ASSERT_EQ(0, irq_trigger(MSI, 0, efd));
	ASSERT_EQ(0, put(0, 8, 4, 0));
	ASSERT_EQ(0, put(0, 8, 4, 1));
	EXPECT_EQ(1, signals(efd));
	EXPECT_EQ(-EAGAIN, module_unload("hello_pci"));
	vfio_close(&vc);
	EXPECT_EQ(0, module_unload("hello_pci"));
	EXPECT_EQ(0, vendors_reset());
}

TEST_HARNESS_MAIN
