// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor with real hardware: medu, which shares QEMU's edu. Registers, DMA in
 * both directions, interrupts, what users do wrong, users that die, users that
 * compete, memory that is never there, and hardware that hangs, sleeps or leaves.
 *
 * Without the hardware (qemu -device edu) all is skipped; but not when
 * MDEV_EDU_BITS says that it is there, with so many address bits as QEMU's
 * dma_mask gives it: then that is a failure. Each of the hardware's transfers takes
 * 0.1 s, which makes large numbers of them bearable only in a guest whose time
 * leaps (-icount sleep=off): MDEV_MEDU_JOBS is how many jobs compete for the
 * hardware, MDEV_MEDU_ROUNDS how many users are killed, MDEV_MEDU_SUSPENDS how often
 * the guest sleeps, if it can. The hardware can be reset if it is behind a bridge.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
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
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../kselftest_harness.h"
#include "mdev_edu.h"
#include "mdev_fuse.h"
#include "mdev_hostile.h"
#include "mdev_util.h"

#define DRIVER		PCI "drivers/medu"

static int env_int(const char *name, int preset)
{
	const char *value = getenv(name);

	return value ? atoi(value) : preset;
}

/* how often, where that is a matter of time; variants that matter less do less */
static int how_often(const char *name, bool less)
{
	int count = env_int(name, 10);

	return less && count >= 100 ? count / 10 : count;
}

/* QEMU computes by the host's time, and ours may leap ahead */
static bool computed(struct edu *edu)
{
	int i;

	for (i = 0; reg_read(edu, STATUS) & COMPUTING; i++) {
		if (i > 1000)
			return false;
		sleep_ms(i);
	}
	return true;
}

static uint32_t factorial(struct edu *edu, uint32_t n)
{
	if (reg_write(edu, FACT, n) || !computed(edu))
		return UINT32_MAX;
	return reg_read(edu, FACT);
}

/* ---- The hardware ---- */

static char pci_name[32];	/* of the edu */

static bool find_edu(void)
{
	return find_edus(&pci_name, 1);
}

static const char *type_name(void)
{
	static char name[64];

	snprintf(name, sizeof(name), "%s/medu-1", pci_name);
	return name;
}

static int transfer_count(void)
{
	return file_read_int(PCI "devices/%s/medu/transfers", pci_name);
}

static int load_bits(const char *args, int bits)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "medu %s dma_bits=%d", args, bits);
	return module_load(cmd);
}

static int load(const char *args, bool bounced)
{
	int ret;

	if (!bounced)
		return load_bits(args, env_int("MDEV_EDU_BITS", 28));
	ret = load_bits(args, 28);
	if (ret || file_exists(MDEV_CLASS "/%s", pci_name))
		return ret;
	/* without CONFIG_ZONE_DMA there may be no memory for so few bits */
	ret = module_unload("medu");
	return ret ?: load_bits(args, 32);
}

/* ---- One device ---- */

FIXTURE(medu) {
	char uuid[UUID_LEN + 1];
	struct edu edu;
	int hardware;
};

FIXTURE_VARIANT(medu) {
	bool iommufd;
	bool bounced;	/* the hardware does not reach all memory */
	const char *args;
};

FIXTURE_VARIANT_ADD(medu, group) {
	.args = "instances=3",
};

FIXTURE_VARIANT_ADD(medu, cdev) {
	.iommufd = true,
	.args = "instances=3",
};

/* the hardware interrupts in the old way */
FIXTURE_VARIANT_ADD(medu, bounced) {
	.bounced = true,
	.args = "instances=3 msi=0",
};

FIXTURE_SETUP(medu)
{
	self->edu.irq = -1;
	self->edu.mem = MAP_FAILED;
	if (!find_edu() && !getenv("MDEV_EDU_BITS"))
		SKIP(return, "no hardware: qemu -device edu");
	ASSERT_STRNE("", pci_name);
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, load(variant->args, variant->bounced));
	self->hardware = true;
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(type_name(), self->uuid));
	ASSERT_EQ(0, edu_open(&self->edu, self->uuid));
}

FIXTURE_TEARDOWN(medu)
{
	if (!self->hardware)
		return;
	edu_close(&self->edu);
	if (mdev_exists(self->uuid))
		EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(medu, identification)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_region_info region;
	struct edu *edu = &self->edu;
	unsigned int i;
	char buf[64];

	EXPECT_EQ(0x1234, config_read16(edu, PCI_VENDOR_ID));
	EXPECT_EQ(0x11e8, config_read16(edu, PCI_DEVICE_ID));
	EXPECT_EQ(0x10, config_read16(edu, PCI_CLASS_REVISION));
	EXPECT_EQ(0xff00, config_read16(edu, PCI_CLASS_DEVICE));
	EXPECT_EQ(0x010000ed, reg_read(edu, ID));
	EXPECT_EQ(0, reg_write(edu, ID, 1));
	EXPECT_EQ(0x010000ed, reg_read(edu, ID));
	EXPECT_EQ(0, reg_write(edu, LIVE, 0x12345678));
	EXPECT_EQ(0xedcba987, reg_read(edu, LIVE));

	ASSERT_EQ(0, vfio_ioctl(edu->fd, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
		  info.flags & ~VFIO_DEVICE_FLAGS_CAPS);
	EXPECT_EQ(VFIO_PCI_NUM_REGIONS, info.num_regions);
	EXPECT_EQ(VFIO_PCI_NUM_IRQS, info.num_irqs);
	for (i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		ASSERT_EQ(0, vfio_region(edu->fd, i, &region));
		EXPECT_EQ(i == VFIO_PCI_BAR0_REGION_INDEX ? 1 << 20 :
			  i == VFIO_PCI_CONFIG_REGION_INDEX ? 256 : 0,
			  region.size);
	}
	EXPECT_EQ(-EINVAL, vfio_region(edu->fd, i, &region));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(edu->fd, 0, NULL));

	for (i = 0; i < VFIO_PCI_NUM_IRQS + 1; i++) {
		struct vfio_irq_info irq = { .argsz = sizeof(irq), .index = i };
		bool there = i == INTX || i == MSI || i == REQ;

		EXPECT_EQ(i < VFIO_PCI_NUM_IRQS ? 0 : -EINVAL,
			  vfio_ioctl(edu->fd, VFIO_DEVICE_GET_IRQ_INFO, &irq));
		EXPECT_EQ(there, irq.count);
	}

	EXPECT_LT(0, file_read(buf, sizeof(buf), MDEV_DEVICES
			       "/%s/mdev_type/name", self->uuid));
	EXPECT_STREQ("Shared edu", buf);
	EXPECT_LT(0, file_read(buf, sizeof(buf), MDEV_DEVICES
			       "/%s/mdev_type/device_api", self->uuid));
	EXPECT_STREQ("vfio-pci", buf);
	EXPECT_LT(0, file_read(buf, sizeof(buf), MDEV_DEVICES
			       "/%s/mdev_type/description", self->uuid));
}

/* As the hardware has it: whole registers, and 64 bits only for DMA. */
TEST_F(medu, accesses)
{
	struct edu *edu = &self->edu;
	uint8_t config[256] = {};
	uint64_t val;
	uint32_t bar;

	val = 0;
	EXPECT_EQ(1, vfio_read(edu->fd, &val, 1, ID));
	EXPECT_EQ(0xff, val);
	val = 0;
	EXPECT_EQ(2, vfio_read(edu->fd, &val, 2, ID + 2));
	EXPECT_EQ(0xffff, val);
	val = 0;
	EXPECT_EQ(8, vfio_read(edu->fd, &val, 8, ID + 1));
	EXPECT_EQ(0xff00000000ffffff, val);
	EXPECT_EQ(8, vfio_read(edu->fd, &val, 8, ID));
	EXPECT_EQ(0x010000ed, val);
	EXPECT_EQ(0, vfio_read(edu->fd, &val, 0, ID));

	EXPECT_EQ(0, reg_write(edu, DMA_SRC, 0x123456789abcdef0));
	EXPECT_EQ(0x123456789abcdef0, reg_read(edu, DMA_SRC));
	val = 0;
	EXPECT_EQ(4, vfio_read(edu->fd, &val, 4, DMA_SRC));
	EXPECT_EQ(0x9abcdef0, val);
	EXPECT_EQ(4, vfio_write(edu->fd, &val, 4, DMA_SRC));
	EXPECT_EQ(0x9abcdef0, reg_read(edu, DMA_SRC));
	EXPECT_EQ(1, vfio_write(edu->fd, &val, 1, DMA_DST));
	EXPECT_EQ(0, reg_read(edu, DMA_DST));
	/* without the bit it is no command */
	EXPECT_EQ(0, reg_write(edu, DMA_CMD, TO_RAM));
	EXPECT_EQ(0, reg_read(edu, DMA_CMD));

	val = 0;
	EXPECT_EQ(4, vfio_read(edu->fd, &val, 4, 0x30));
	EXPECT_EQ(UINT32_MAX, val);
	EXPECT_EQ(8, vfio_read(edu->fd, &val, 8, BUFFER));
	EXPECT_EQ(UINT64_MAX, val);
	EXPECT_EQ(8, vfio_write(edu->fd, &val, 8, (1 << 20) - 8));
	EXPECT_EQ(-EINVAL, vfio_read(edu->fd, &val, 4, 1 << 20));
	EXPECT_EQ(-EINVAL, vfio_write(edu->fd, &val, 4, CONFIG + 256));
	EXPECT_EQ(-EINVAL, vfio_read(edu->fd, &val, 4, 1ULL << 40));
	EXPECT_EQ(-EINVAL, vfio_read(edu->fd, &val, 4, INT64_MAX));
	EXPECT_EQ(-EFAULT, vfio_read(edu->fd, NULL, 4, ID));
	EXPECT_EQ(-EFAULT, vfio_write(edu->fd, NULL, 4, LIVE));

	/* 1 MiB, and what a guest does to find that out */
	bar = UINT32_MAX;
	EXPECT_EQ(4, vfio_write(edu->fd, &bar, 4, CONFIG + PCI_BASE_ADDRESS_0));
	EXPECT_EQ(4, vfio_read(edu->fd, &bar, 4, CONFIG + PCI_BASE_ADDRESS_0));
	EXPECT_EQ(0xfff00000, bar);
	EXPECT_EQ(0, config_write16(edu, PCI_VENDOR_ID, 0));
	EXPECT_EQ(0x1234, config_read16(edu, PCI_VENDOR_ID));
	EXPECT_EQ(0, config_write16(edu, PCI_COMMAND, 0));
	EXPECT_EQ(UINT32_MAX, reg_read(edu, ID));
	EXPECT_EQ(0, config_write16(edu, PCI_COMMAND, 0xffff));
	EXPECT_EQ(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
		  PCI_COMMAND_INTX_DISABLE, config_read16(edu, PCI_COMMAND));
	EXPECT_EQ(0x010000ed, reg_read(edu, ID));

	/* QEMU takes no less than all of it */
	EXPECT_EQ(256, vfio_read(edu->fd, config, sizeof(config), CONFIG));
	EXPECT_EQ(0x34, config[0]);
	EXPECT_EQ(0x11, config[3]);
	EXPECT_EQ(8, vfio_read(edu->fd, &val, 8, CONFIG));
	EXPECT_EQ(4, vfio_read(edu->fd, &val, 8, CONFIG + 252));
}

TEST_F(medu, factorials)
{
	struct edu *edu = &self->edu;
	uint32_t n, product = 1;

	for (n = 0; n < 40; n++) {
		product *= n ?: 1;
		EXPECT_EQ(product, factorial(edu, n));
	}
	/* the hardware would be busy for seconds with it */
	EXPECT_EQ(0, factorial(edu, UINT32_MAX));
	EXPECT_EQ(0, reg_read(edu, IRQ_STATUS));
	EXPECT_FALSE(eventfd_fired(edu->irq, 0));

	EXPECT_EQ(0, reg_write(edu, STATUS, IRQ_FACT | COMPUTING));
	EXPECT_EQ(IRQ_FACT, reg_read(edu, STATUS));
	EXPECT_EQ(0, reg_write(edu, FACT, 10));
	EXPECT_TRUE(computed(edu));
	EXPECT_TRUE(eventfd_fired(edu->irq, 0));
	EXPECT_EQ(1, reg_read(edu, IRQ_STATUS));
	EXPECT_EQ(3628800, reg_read(edu, FACT));
	EXPECT_EQ(0, reg_write(edu, IRQ_ACK, 1));
	EXPECT_EQ(0, reg_read(edu, IRQ_STATUS));
}

TEST_F(medu, dma)
{
	static const struct {
		uint64_t from, to, offset, count;
		int pieces;
	} jobs[] = {
		{ 0, 0x1000, 0, 1, 2 },
		{ 8, 0x1008, 0, 8, 2 },
		{ 5, 0x2003, 100, 100, 2 },
		{ 0, 0x1000, 0, 4088, 2 },
		{ 0, 0x1000, 1, 4095, 4 },
		{ 0, 0x1000, 0, 4096, 4 },
		{ 4095, 0x8fff, 4094, 2, 4 },
		{ 2048, 0x8800, 0, 4096, 4 },
		{ 2048, 0x3000, 0, 4096, 4 },
	};
	struct edu *edu = &self->edu;
	uint8_t expected[MEM_SIZE];
	int start = transfer_count();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(jobs); i++) {
		fill(edu->mem, MEM_SIZE, i);
		memcpy(expected, edu->mem, MEM_SIZE);
		memcpy(expected + jobs[i].to, expected + jobs[i].from,
		       jobs[i].count);

		ASSERT_EQ(0, dma_from_ram(edu, IOVA + jobs[i].from,
					  jobs[i].offset, jobs[i].count));
		ASSERT_EQ(0, dma_to_ram(edu, IOVA + jobs[i].to,
					jobs[i].offset, jobs[i].count));
		EXPECT_EQ(0, memcmp(expected, edu->mem, MEM_SIZE));
	}
	/* the hardware did all that, in two steps each */
	EXPECT_LE(start + 4 * i, transfer_count());

	/* nothing is nothing, wherever */
	EXPECT_EQ(0, dma_from_ram(edu, 0, 4096, 0));
	EXPECT_EQ(0, reg_read(edu, DMA_CMD) & RUN);
}

/* the buffer as a whole, in pieces from and to everywhere */
TEST_F(medu, dma_pieces)
{
	struct edu *edu = &self->edu;
	unsigned int i;

	fill(edu->mem, 4096, 1);
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, dma_from_ram(edu, IOVA + i * 1024,
					  (3 - i) * 1024, 1024));
	ASSERT_EQ(0, dma_to_ram(edu, IOVA + 4096, 0, 4096));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, memcmp(edu->mem + i * 1024,
				    edu->mem + 4096 + (3 - i) * 1024, 1024));
}

/* two jobs at once: the registers of each are busy, those of the other are not */
TEST_F(medu, busy)
{
	struct edu *edu = &self->edu;

	fill(edu->mem, 4096, 1);
	ASSERT_EQ(0, dma_start(edu, IOVA, BUFFER, 4096, 0));
	EXPECT_EQ(RUN | IRQ_DMA, reg_read(edu, DMA_CMD));
	EXPECT_EQ(0, reg_write(edu, FACT, 5));
	EXPECT_EQ(0, reg_write(edu, FACT, 6));
	/* all of this is ignored */
	EXPECT_EQ(0, dma_start(edu, 1, 2, 3, TO_RAM));
	EXPECT_EQ(IOVA, reg_read(edu, DMA_SRC));
	EXPECT_EQ(RUN | IRQ_DMA, reg_read(edu, DMA_CMD));
	EXPECT_EQ(COMPUTING, reg_read(edu, STATUS));

	EXPECT_EQ(0, dma_wait(edu));
	EXPECT_TRUE(computed(edu));
	EXPECT_EQ(120, reg_read(edu, FACT));
	ASSERT_EQ(0, dma_to_ram(edu, IOVA + 4096, 0, 4096));
	EXPECT_EQ(0, memcmp(edu->mem, edu->mem + 4096, 4096));
}

TEST_F(medu, bad_addresses)
{
	struct edu *edu = &self->edu;
	void *readonly;

	fill(edu->mem, 4096, 1);
	ASSERT_EQ(0, dma_from_ram(edu, IOVA, 0, 4096));

	/* the buffer ends, or has not begun */
	EXPECT_EQ(-ERANGE, dma_from_ram(edu, IOVA, 0, 4097));
	EXPECT_EQ(-ERANGE, dma_from_ram(edu, IOVA, 4095, 2));
	EXPECT_EQ(-ERANGE, dma_from_ram(edu, IOVA, 4097, 0));
	EXPECT_EQ(-ERANGE, dma_from_ram(edu, IOVA, -1, 1));
	EXPECT_EQ(-ERANGE, dma_to_ram(edu, IOVA, -BUFFER, 1));
	EXPECT_EQ(-ERANGE, dma_to_ram(edu, IOVA, 1, UINT64_MAX));
	EXPECT_EQ(-ERANGE, dma_to_ram(edu, IOVA, UINT64_MAX, UINT64_MAX));
	/* memory that is not there, or ends, or wraps around */
	EXPECT_GT(0, dma_from_ram(edu, 0, 0, 1));
	EXPECT_GT(0, dma_to_ram(edu, IOVA - 1, 0, 1));
	EXPECT_GT(0, dma_to_ram(edu, IOVA + MEM_SIZE, 0, 1));
	EXPECT_GT(0, dma_from_ram(edu, IOVA + MEM_SIZE - 1, 0, 2));
	EXPECT_GT(0, dma_from_ram(edu, UINT64_MAX - 4095, 0, 4096));
	EXPECT_GT(0, dma_from_ram(edu, UINT64_MAX, 0, 2));

	/* memory that is not to be written to */
	readonly = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	ASSERT_NE(MAP_FAILED, readonly);
	ASSERT_EQ(0, vfio_dma_map(&edu->vc, readonly, IOVA + MEM_SIZE, PAGE,
				  false));
	EXPECT_GT(0, dma_to_ram(edu, IOVA + MEM_SIZE, 0, 1));
	EXPECT_EQ(0, vfio_dma_unmap(&edu->vc, IOVA + MEM_SIZE, PAGE));
	munmap(readonly, PAGE);

	/* not on the bus */
	EXPECT_EQ(0, config_write16(edu, PCI_COMMAND, PCI_COMMAND_MEMORY));
	EXPECT_EQ(-EACCES, dma_from_ram(edu, IOVA, 0, 1));
	EXPECT_EQ(0, config_write16(edu, PCI_COMMAND, PCI_COMMAND_MEMORY |
				    PCI_COMMAND_MASTER));

	/* and all is well, but what the one with the end has overwritten */
	ASSERT_EQ(0, dma_to_ram(edu, IOVA + 4096, 0, 4096));
	EXPECT_EQ(0, memcmp(edu->mem + 1, edu->mem + 4097, 4095));
}

TEST_F(medu, interrupts)
{
	struct edu *edu = &self->edu;
	int intx = eventfd(0, EFD_CLOEXEC), none = -1;

	/* messages: one each time */
	EXPECT_EQ(0, reg_write(edu, IRQ_RAISE, 0x10));
	EXPECT_TRUE(eventfd_fired(edu->irq, 0));
	EXPECT_EQ(0, reg_write(edu, IRQ_RAISE, 0x20));
	EXPECT_TRUE(eventfd_fired(edu->irq, 0));
	EXPECT_EQ(0x30, reg_read(edu, IRQ_STATUS));
	EXPECT_TRUE(config_read16(edu, PCI_STATUS) & PCI_STATUS_INTERRUPT);
	EXPECT_EQ(0, reg_write(edu, IRQ_ACK, 0x10));
	EXPECT_EQ(0x20, reg_read(edu, IRQ_STATUS));

	/* one way or the other */
	EXPECT_EQ(-EINVAL, vfio_set_irqs(edu->fd, TRIGGER, INTX, 0, 1, &intx));
	EXPECT_EQ(0, vfio_set_irqs(edu->fd, TRIGGER, MSI, 0, 1, &none));

	/* a level: seen at once, and once until unmasked */
	EXPECT_EQ(0, vfio_set_irqs(edu->fd, TRIGGER, INTX, 0, 1, &intx));
	EXPECT_TRUE(eventfd_fired(intx, 0));
	EXPECT_EQ(0, reg_write(edu, IRQ_RAISE, 0x1));
	EXPECT_FALSE(eventfd_fired(intx, 0));
	EXPECT_EQ(0, vfio_set_irqs(edu->fd, VFIO_IRQ_SET_ACTION_UNMASK |
				   VFIO_IRQ_SET_DATA_NONE, INTX, 0, 1, NULL));
	EXPECT_TRUE(eventfd_fired(intx, 0));
	EXPECT_EQ(0, reg_write(edu, IRQ_ACK, UINT32_MAX));
	EXPECT_EQ(0, vfio_set_irqs(edu->fd, VFIO_IRQ_SET_ACTION_UNMASK |
				   VFIO_IRQ_SET_DATA_NONE, INTX, 0, 1, NULL));
	EXPECT_FALSE(eventfd_fired(intx, 0));
	EXPECT_FALSE(config_read16(edu, PCI_STATUS) & PCI_STATUS_INTERRUPT);

	/* by DMA, and held back by the device itself */
	EXPECT_EQ(0, config_write16(edu, PCI_COMMAND, PCI_COMMAND_MEMORY |
				    PCI_COMMAND_MASTER |
				    PCI_COMMAND_INTX_DISABLE));
	EXPECT_EQ(0, dma_start(edu, IOVA, BUFFER, 1, 0));
	EXPECT_TRUE(wait_for(!(reg_read(edu, DMA_CMD) & RUN)));
	EXPECT_FALSE(eventfd_fired(intx, 0));
	EXPECT_EQ(0, config_write16(edu, PCI_COMMAND, PCI_COMMAND_MEMORY |
				    PCI_COMMAND_MASTER));
	EXPECT_TRUE(eventfd_fired(intx, 0));
	EXPECT_EQ(0x100, reg_read(edu, IRQ_STATUS));

	EXPECT_EQ(-EBADF, vfio_set_irqs(edu->fd, TRIGGER, REQ, 0, 1,
					&(int){ 12345 }));
	EXPECT_EQ(-EINVAL, vfio_set_irqs(edu->fd, TRIGGER, INTX, 0, 2, &intx));
	EXPECT_EQ(-EINVAL, vfio_set_irqs(edu->fd, TRIGGER, INTX, 1, 1, &intx));
	EXPECT_EQ(-EINVAL, vfio_set_irqs(edu->fd, TRIGGER, 2, 0, 1, &intx));
	EXPECT_EQ(-EINVAL, vfio_set_irqs(edu->fd, TRIGGER, UINT32_MAX, 0, 1,
					 &intx));
	EXPECT_EQ(-EINVAL, vfio_set_irqs(edu->fd, 0, INTX, 0, 1, &intx));
	close(intx);
}

TEST_F(medu, reset)
{
	struct edu *edu = &self->edu;
	uint8_t zero[4096] = {};

	fill(edu->mem, 4096, 1);
	ASSERT_EQ(0, dma_from_ram(edu, IOVA, 0, 4096));
	ASSERT_EQ(0, dma_start(edu, BUFFER, IOVA + 4096, 4096, TO_RAM));
	EXPECT_EQ(0, reg_write(edu, FACT, 5));
	EXPECT_EQ(0, vfio_ioctl(edu->fd, VFIO_DEVICE_RESET, NULL));
	/* what was running has ended, what was not has not begun */
	memset(edu->mem + 4096, 0, 4096);
	EXPECT_EQ(0, reg_read(edu, DMA_CMD));
	EXPECT_EQ(0, reg_read(edu, DMA_DST));
	EXPECT_EQ(0, reg_read(edu, STATUS));
	EXPECT_EQ(0, reg_read(edu, FACT));
	EXPECT_EQ(PCI_COMMAND_MEMORY, config_read16(edu, PCI_COMMAND));
	sleep_ms(500);
	EXPECT_EQ(0, memcmp(edu->mem + 4096, zero, 4096));

	/* interrupts are still reported, and the buffer is empty */
	while (eventfd_fired(edu->irq, 0))
		;
	EXPECT_EQ(0, config_write16(edu, PCI_COMMAND, PCI_COMMAND_MEMORY |
				    PCI_COMMAND_MASTER));
	ASSERT_EQ(0, dma_to_ram(edu, IOVA, 0, 4096));
	EXPECT_EQ(0, memcmp(edu->mem, zero, 4096));
}

/* nobody sees what the one before has left */
TEST_F(medu, buffer_is_private)
{
	uint8_t zero[4096] = {};
	char uuid[UUID_LEN + 1];
	struct edu other;

	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create(type_name(), uuid));
	ASSERT_EQ(0, edu_open(&other, uuid));
	fill(self->edu.mem, 4096, 1);
	ASSERT_EQ(0, dma_from_ram(&self->edu, IOVA, 0, 4096));
	memset(other.mem, 0xff, 4096);
	ASSERT_EQ(0, dma_to_ram(&other, IOVA, 0, 4096));
	EXPECT_EQ(0, memcmp(other.mem, zero, 4096));
	fill(other.mem, 4096, 2);
	ASSERT_EQ(0, dma_from_ram(&other, IOVA, 0, 4096));
	ASSERT_EQ(0, dma_to_ram(&self->edu, IOVA + 4096, 0, 4096));
	EXPECT_EQ(0, memcmp(self->edu.mem, self->edu.mem + 4096, 4096));
	edu_close(&other);

	ASSERT_EQ(0, edu_open(&other, uuid));
	memset(other.mem, 0xff, 4096);
	ASSERT_EQ(0, dma_to_ram(&other, IOVA, 0, 4096));
	EXPECT_EQ(0, memcmp(other.mem, zero, 4096));
	edu_close(&other);
	EXPECT_EQ(0, mdev_remove(uuid));
}

/* whatever that was */
TEST_F(medu, next_owner)
{
	struct snapshot clean;
	struct vfio_client vc;
	uint32_t seed = 1;
	int i;

	edu_close(&self->edu);
	ASSERT_EQ(0, vfio_open(&vc, self->uuid));
	ASSERT_EQ(0, snapshot_take(&clean, vc.device));
	vfio_close(&vc);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, edu_open(&self->edu, self->uuid));
		EXPECT_EQ(0, dma_round_trip(&self->edu, i, 4096));
		close(hostile_spoil(self->edu.fd, &seed));
		edu_close(&self->edu);
		ASSERT_EQ(0, vfio_open(&vc, self->uuid));
		EXPECT_EQ(0, snapshot_check(&clean, vc.device));
		vfio_close(&vc);
	}
	snapshot_free(&clean);
}

/* nor has anybody to wait for long */
TEST_F(medu, neighbour)
{
	char uuid[UUID_LEN + 1];
	long longest = 0, ms;
	pid_t pid;
	int i;

	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create(type_name(), uuid));
	pid = fork_child();
	if (!pid) {
		edu_close(&self->edu);
		hostile_rage(uuid);
	}
	for (i = 0; i < (variant->bounced ? 1 : 4); i++) {
		ms = -now_ms();
		ASSERT_EQ(0, dma_round_trip(&self->edu, i, 4088));
		ms += now_ms();
		if (ms > longest)
			longest = ms;
	}
	EXPECT_TRUE(child_running(pid));
	kill(pid, SIGKILL);
	EXPECT_EQ(-ECANCELED, child_wait(pid));
	TH_LOG("the longest took %ld ms", longest);
	EXPECT_GT(10000, longest);
	EXPECT_TRUE(wait_for(module_refs("medu") == 1));
	EXPECT_EQ(0, mdev_remove(uuid));
}

TEST_F(medu, limits)
{
	char uuid[3][UUID_LEN + 1];
	struct edu other;
	int i;

	EXPECT_EQ(2, mdev_available(type_name()));
	for (i = 0; i < 3; i++) {
		uuid_next(uuid[i]);
		EXPECT_EQ(i < 2 ? 0 : -EUSERS, mdev_create(type_name(), uuid[i]));
	}
	EXPECT_EQ(0, mdev_available(type_name()));
	/* each is for one user at a time */
	EXPECT_GT(0, edu_open(&other, self->uuid));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, mdev_remove(uuid[i]));
	EXPECT_EQ(2, mdev_available(type_name()));
}

/* memory is taken back while the hardware uses it */
TEST_F(medu, unmap_during_dma)
{
	struct edu *edu = &self->edu;
	int i, ret;

	for (i = 0; i < 10; i++) {
		fill(edu->mem, 4096, i);
		ASSERT_EQ(0, dma_start(edu, BUFFER, IOVA + 2048, 4096, TO_RAM));
		/* from before it has begun to after it has ended */
		sleep_ms(i * 50);
		ASSERT_EQ(0, vfio_dma_unmap(&edu->vc, IOVA, MEM_SIZE));
		/* it is all ours now */
		memset(edu->mem, 0xa5, MEM_SIZE);
		ret = dma_wait(edu);
		EXPECT_TRUE(ret == 0 || ret == -EINVAL || ret == -EFAULT ||
			    ret == -ENOENT)
			TH_LOG("round %d: %d", i, ret);
		sleep_ms(200);
		EXPECT_EQ(0xa5, edu->mem[0]);
		EXPECT_EQ(0, memcmp(edu->mem, edu->mem + 1, MEM_SIZE - 1));
		munmap(edu->mem, MEM_SIZE);
		EXPECT_GT(0, dma_from_ram(edu, IOVA, 0, 1));

		edu->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, edu->mem);
		ASSERT_EQ(0, vfio_dma_map(&edu->vc, edu->mem, IOVA, MEM_SIZE,
					  true));
	}
	EXPECT_EQ(0, dma_round_trip(edu, 1, 4096));
}

/* ---- Users that compete ---- */

struct race {
	int ready;
	int done[2];		/* jobs */
	int behind;		/* what the other one had done at the first's end */
};

/* in a child */
static int compete(struct race *race, int me, const char *uuid, int jobs)
{
	unsigned int seed = me;
	struct edu edu;
	int ret, i;

	ret = edu_open(&edu, uuid);
	if (ret)
		return ret;
	__atomic_add_fetch(&race->ready, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&race->ready, __ATOMIC_SEQ_CST) < 2)
		sleep_ms(1);

	for (i = 0; i < jobs && !ret; i++) {
		ret = dma_round_trip(&edu, seed + 2 * i,
				     rand_r(&seed) % 4088 + 1);
		__atomic_add_fetch(&race->done[me], 2, __ATOMIC_SEQ_CST);
	}
	if (__atomic_add_fetch(&race->ready, 1, __ATOMIC_SEQ_CST) == 3)
		race->behind = __atomic_load_n(&race->done[!me],
					       __ATOMIC_SEQ_CST);
	edu_close(&edu);
	return ret;
}

TEST_F_TIMEOUT(medu, fairness, 3600)
{
	int jobs = how_often("MDEV_MEDU_JOBS", variant->bounced);
	int start = transfer_count(), i;
	char uuid[UUID_LEN + 1];
	struct race *race;
	pid_t pid[2];
	long ms;

	race = mmap(NULL, sizeof(*race), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, race);
	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create(type_name(), uuid));
	edu_close(&self->edu);

	ms = now_ms();
	for (i = 0; i < 2; i++) {
		pid[i] = fork_child();
		if (!pid[i])
			child_exit(compete(race, i, i ? uuid : self->uuid,
					   jobs));
	}
	EXPECT_EQ(0, child_wait(pid[0]));
	EXPECT_EQ(0, child_wait(pid[1]));
	ms = now_ms() - ms;

	EXPECT_EQ(2 * jobs, race->done[0]);
	EXPECT_EQ(2 * jobs, race->done[1]);
	EXPECT_LE(2 * jobs * 8 / 10, race->behind);
	/* in and out of the hardware, which is cleared if it was another's turn */
	EXPECT_LE(2 * 4 * jobs, transfer_count() - start);
	EXPECT_GE(2 * 6 * jobs, transfer_count() - start);
	TH_LOG("jobs: 2 x %d, the slower one was at %d when the faster ended, %ld ms",
	       2 * jobs, race->behind, ms);
	EXPECT_EQ(0, mdev_remove(uuid));
	munmap(race, sizeof(*race));
}

/* ---- Users that die ---- */

/* in a child, which is killed */
static void start_and_wait(const char *uuid, int tell, int round)
{
	struct edu edu;
	int ret;

	ret = edu_open(&edu, uuid);
	/* to and from, within a page and across, and a second job in line */
	if (!ret)
		ret = round & 1 ?
		      dma_start(&edu, BUFFER, IOVA + (round & 2) * 1024, 4096,
				TO_RAM) :
		      dma_start(&edu, IOVA + (round & 2) * 1024, BUFFER, 4096,
				0);
	if (!ret && round & 4)
		ret = reg_write(&edu, FACT, round);
	if (write(tell, &ret, sizeof(ret)) != sizeof(ret))
		child_exit(-EPIPE);
	for (;;)
		pause();
}

TEST_F_TIMEOUT(medu, killed_during_dma, 3600)
{
	int rounds = how_often("MDEV_MEDU_ROUNDS", variant->bounced);
	int i, ret, tell[2];
	unsigned int seed = 1;
	char uuid[UUID_LEN + 1];
	pid_t pid;

	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create(type_name(), uuid));
	ASSERT_EQ(0, pipe2(tell, O_CLOEXEC));
	for (i = 0; i < rounds; i++) {
		pid = fork_child();
		if (!pid)
			start_and_wait(uuid, tell[1], i);
		ASSERT_EQ(sizeof(ret), read(tell[0], &ret, sizeof(ret)));
		ASSERT_EQ(0, ret);
		/* each of the transfers takes 100, the four of them 400 */
		sleep_ms(rand_r(&seed) % 390);
		kill(pid, SIGKILL);
		ASSERT_EQ(-ECANCELED, child_wait(pid));
		/* the others notice nothing */
		if (i % 16 == 0)
			ASSERT_EQ(0, dma_round_trip(&self->edu, i, 4096));
	}
	EXPECT_EQ(0, dma_round_trip(&self->edu, i, 4096));
	EXPECT_EQ(0, mdev_remove(uuid));
	EXPECT_EQ(1, module_refs("medu"));
	close(tell[0]);
	close(tell[1]);
}

/* ---- Memory that is never there ---- */

/* Nobody serves it, and somebody else holds it, so that it does not end with us. */
static int uffd_register(void *mem, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range = { (uintptr_t)mem, size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range))
		return -errno;
	return fd;
}

struct absent {
	struct edu edu;
	uint64_t iova;
	bool wait;	/* until it is false */
};

static void *start_absent(void *arg)
{
	struct absent *absent = arg;

	while (__atomic_load_n(&absent->wait, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	/* may never return */
	dma_start(&absent->edu, absent->iova, BUFFER, 64, 0);
	return NULL;
}

/*
 * In a child: DMA from memory that is not there, then a reset. Tell when it begins, when
 * the reset has returned, and leave the uffd, if it is one, to another process.
 */
static void use_absent(const char *uuid, bool is_fuse, int tell, int hold)
{
	struct absent absent = {};
	pthread_t thread;
	void *mem;
	int ret, fd = -1;
	char c;

	ret = edu_open(&absent.edu, uuid);
	absent.iova = IOVA;
	if (!ret && is_fuse) {
		fd = open(FUSE_FILE, O_RDONLY | O_CLOEXEC);
		mem = fd < 0 ? MAP_FAILED :
		      mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
		absent.iova = IOVA + MEM_SIZE;
		ret = mem == MAP_FAILED ? -errno :
		      vfio_dma_map(&absent.edu.vc, mem, absent.iova, PAGE, false);
	} else if (!ret) {
		fd = uffd_register(absent.edu.mem, MEM_SIZE);
		ret = fd < 0 ? fd : 0;
		if (!ret && !fork_child()) {
			/* the client's fds are not for this one */
			dup2(fd, 100);
			dup2(hold, 101);
			close_range(102, ~0U, 0);
			close_range(3, 99, 0);
			if (read(101, &c, 1) < 0)
				child_exit(-EIO);
			child_exit(0);
		}
		close(fd);
	}
	if (!ret)
		ret = -pthread_create(&thread, NULL, start_absent, &absent);
	if (write(tell, &ret, sizeof(ret)) != sizeof(ret))
		child_exit(-EPIPE);
	/* the job is begun */
	sleep_ms(1000);
	ret = vfio_ioctl(absent.edu.fd, VFIO_DEVICE_RESET, NULL);
	if (write(tell, &ret, sizeof(ret)) != sizeof(ret))
		child_exit(-EPIPE);
	for (;;)
		pause();
}

static int told(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int ret;

	if (poll(&pfd, 1, WAIT_MS) != 1)
		return -ETIME;
	return read(fd, &ret, sizeof(ret)) == sizeof(ret) ? ret : -EPIPE;
}

/* Nobody else notices, and the device can be reset. The killed user is returned. */
static pid_t others_go_on(struct __test_metadata *_metadata, struct edu *edu,
			  const char *uuid, bool is_fuse, int hold)
{
	int tell[2], i;
	long ms;
	pid_t pid;

	ASSERT_EQ(0, mdev_create(type_name(), uuid));
	ASSERT_EQ(0, pipe2(tell, O_CLOEXEC));
	pid = fork_child();
	if (!pid) {
		/* or it would keep the test's own device open */
		edu_close(edu);
		use_absent(uuid, is_fuse, tell[1], hold);
	}
	ASSERT_EQ(0, told(tell[0]));
	ms = now_ms();
	for (i = 0; i < 10; i++)
		ASSERT_EQ(0, dma_round_trip(edu, i, 4088));
	EXPECT_GT(ms + 10000, now_ms());
	EXPECT_EQ(0, told(tell[0]));
	/* nor of its reset */
	EXPECT_EQ(0, dma_round_trip(edu, i, 4096));
	kill(pid, SIGKILL);
	close(tell[0]);
	close(tell[1]);
	return pid;
}

TEST_F(medu, userfaultfd)
{
	char uuid[UUID_LEN + 1];
	int hold[2];
	pid_t pid;

	if (!file_exists("/proc/sys/vm/unprivileged_userfaultfd"))
		SKIP(return, "no userfaultfd in this kernel");
	uuid_next(uuid);
	ASSERT_EQ(0, pipe2(hold, O_CLOEXEC));
	pid = others_go_on(_metadata, &self->edu, uuid, false, hold[0]);
	/* it dies although nobody serves the page */
	EXPECT_TRUE(wait_for(!child_running(pid)));
	close(hold[0]);
	close(hold[1]);
	EXPECT_EQ(-ECANCELED, child_wait(pid));
	EXPECT_EQ(0, dma_round_trip(&self->edu, 1, 4096));
	EXPECT_EQ(0, mdev_remove(uuid));
}

TEST_F(medu, fuse)
{
	char uuid[UUID_LEN + 1];
	pid_t pid, server;

	server = fuse_start(-1);
	if (server == -ENODEV)
		SKIP(return, "no FUSE in this kernel");
	ASSERT_LT(0, server);
	uuid_next(uuid);
	pid = others_go_on(_metadata, &self->edu, uuid, true, -1);
	/* type1 waits for it and cannot be interrupted, until the file system ends */
	fuse_stop(server);
	EXPECT_EQ(-ECANCELED, child_wait(pid));
	EXPECT_EQ(0, dma_round_trip(&self->edu, 1, 4096));
	EXPECT_EQ(0, mdev_remove(uuid));
}

/* A reset does not wait for memory, the DMA that is begun after it does. Both end. */
TEST_F(medu, reset_while_pinning)
{
	struct absent first = { .edu = self->edu, .iova = IOVA + MEM_SIZE };
	struct absent second = { .edu = self->edu, .iova = IOVA, .wait = true };
	struct edu *edu = &self->edu;
	pthread_t threads[2];
	pid_t server;
	void *mem;
	int fd;

	server = fuse_start(-1);
	if (server == -ENODEV)
		SKIP(return, "no FUSE in this kernel");
	ASSERT_LT(0, server);
	fd = open(FUSE_FILE, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	mem = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, vfio_dma_map(&edu->vc, mem, first.iova, PAGE, false));
	fill(edu->mem, 4096, 3);
	memset(edu->mem + 4096, 0, 4096);

	/* the lock that is held for the page is also needed to start a thread */
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, start_absent, &second));
	ASSERT_EQ(0, pthread_create(&threads[0], NULL, start_absent, &first));
	ASSERT_TRUE(wait_for(reg_read(edu, DMA_CMD) & RUN));
	sleep_ms(200);
	ASSERT_EQ(0, vfio_ioctl(edu->fd, VFIO_DEVICE_RESET, NULL));
	EXPECT_EQ(0, reg_read(edu, DMA_CMD));
	ASSERT_EQ(0, config_write16(edu, PCI_COMMAND, PCI_COMMAND_MEMORY |
				    PCI_COMMAND_MASTER));
	__atomic_store_n(&second.wait, false, __ATOMIC_RELEASE);
	ASSERT_TRUE(wait_for(reg_read(edu, DMA_CMD) & RUN));
	sleep_ms(500);
	EXPECT_EQ(RUN | IRQ_DMA, reg_read(edu, DMA_CMD));

	/* the pin of the first fails now */
	fuse_stop(server);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	EXPECT_EQ(0, dma_wait(edu));
	ASSERT_EQ(0, dma_to_ram(edu, IOVA + 4096, 0, 64));
	EXPECT_EQ(0, memcmp(edu->mem, edu->mem + 4096, 64));
	EXPECT_EQ(0, vfio_dma_unmap(&edu->vc, first.iova, PAGE));
	munmap(mem, 4096);
}

/* ---- Hardware that leaves, hangs, or sleeps ---- */

/* the user is asked, may go on, and is waited for */
static void leave_while_in_use(struct __test_metadata *_metadata,
			       struct edu *edu, const char *text,
			       const char *path)
{
	int req = eventfd(0, EFD_CLOEXEC), i;
	pid_t pid;

	ASSERT_EQ(0, vfio_set_irqs(edu->fd, TRIGGER, REQ, 0, 1, &req));
	pid = file_write_child(text, "%s", path);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, dma_round_trip(edu, i, 100));
	EXPECT_TRUE(eventfd_fired(req, 30000));
	EXPECT_EQ(0, dma_round_trip(edu, i, 100));
	EXPECT_TRUE(child_running(pid));
	/* and leaves in the middle of a job */
	EXPECT_EQ(0, dma_start(edu, IOVA, BUFFER, 4096, 0));
	edu_close(edu);
	EXPECT_EQ(0, child_wait(pid));
	close(req);
}

static void works_again(struct __test_metadata *_metadata, char *uuid)
{
	struct edu edu;

	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create(type_name(), uuid));
	ASSERT_EQ(0, edu_open(&edu, uuid));
	EXPECT_EQ(0, dma_round_trip(&edu, 1, 4096));
	EXPECT_EQ(120, factorial(&edu, 5));
	edu_close(&edu);
}

TEST_F(medu, unbind)
{
	leave_while_in_use(_metadata, &self->edu, pci_name, DRIVER "/unbind");
	EXPECT_FALSE(mdev_exists(self->uuid));
	EXPECT_GT(0, mdev_create(type_name(), self->uuid));
	ASSERT_EQ(0, file_write(pci_name, DRIVER "/bind"));
	works_again(_metadata, self->uuid);
}

TEST_F(medu, pci_remove)
{
	char path[128];

	snprintf(path, sizeof(path), PCI "devices/%s/remove", pci_name);
	leave_while_in_use(_metadata, &self->edu, "1", path);
	EXPECT_FALSE(mdev_exists(self->uuid));
	EXPECT_FALSE(file_exists(PCI "devices/%s", pci_name));
	ASSERT_EQ(0, file_write("1", PCI "rescan"));
	ASSERT_TRUE(find_edu());
	works_again(_metadata, self->uuid);
}

/* the user is killed instead */
TEST_F(medu, pci_remove_killed)
{
	char uuid[UUID_LEN + 1];
	pid_t user, writer;
	int tell[2], ret;

	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create(type_name(), uuid));
	edu_close(&self->edu);
	ASSERT_EQ(0, pipe2(tell, O_CLOEXEC));
	user = fork_child();
	if (!user)
		start_and_wait(uuid, tell[1], 0);
	ASSERT_EQ(sizeof(ret), read(tell[0], &ret, sizeof(ret)));
	ASSERT_EQ(0, ret);

	writer = file_write_child("1", PCI "devices/%s/remove", pci_name);
	EXPECT_TRUE(child_blocks(writer));
	kill(user, SIGKILL);
	EXPECT_EQ(-ECANCELED, child_wait(user));
	EXPECT_EQ(0, child_wait(writer));
	EXPECT_FALSE(mdev_exists(uuid));
	ASSERT_EQ(0, file_write("1", PCI "rescan"));
	works_again(_metadata, self->uuid);
	close(tell[0]);
	close(tell[1]);
}

TEST_F(medu, unload)
{
	EXPECT_EQ(1, module_refs("medu"));
	EXPECT_EQ(-EAGAIN, module_unload("medu"));
	ASSERT_EQ(0, dma_start(&self->edu, IOVA, BUFFER, 4096, 0));
	edu_close(&self->edu);
	/* a device that nobody has open goes along */
	EXPECT_EQ(0, module_unload("medu"));
	EXPECT_FALSE(mdev_exists(self->uuid));
	ASSERT_EQ(0, load(variant->args, variant->bounced));
	works_again(_metadata, self->uuid);
}

TEST_F(medu, hardware_hangs)
{
	struct edu *edu = &self->edu;
	int kmsg = kmsg_open();

	ASSERT_EQ(0, file_write("10", "/sys/module/medu/parameters/timeout_ms"));
	EXPECT_EQ(-ETIMEDOUT, dma_from_ram(edu, IOVA, 0, 4096));
	EXPECT_TRUE(kmsg_find(kmsg, pci_name, "resetting"));
	ASSERT_EQ(0, file_write("5000",
				"/sys/module/medu/parameters/timeout_ms"));
	EXPECT_EQ(0, dma_round_trip(edu, 1, 4096));
	EXPECT_EQ(120, factorial(edu, 5));
	close(kmsg);
}

static int config_open(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), PCI "devices/%s/config", name);
	return open(path, O_RDWR | O_CLOEXEC);
}

/*
 * A job while the hardware is without @bits of its command register, from @off to @on
 * ms after the job was begun, behind somebody else's. What comes of it may be nothing,
 * or an error, but not what the other one had in the hardware. The job's errno.
 */
static int dma_disturbed(struct __test_metadata *_metadata, struct edu *edu,
			 struct edu *other, uint16_t bits, int off, int on)
{
	int fd = config_open(pci_name), ret;
	uint16_t command, less;
	uint8_t secret[64];
	long ms;

	memset(secret, 0xbb, sizeof(secret));
	memset(other->mem, 0xbb, 4096);
	ASSERT_EQ(0, dma_from_ram(other, IOVA, 0, 4088));
	memset(edu->mem, 0xaa, 4096);

	ASSERT_EQ(2, pread(fd, &command, 2, PCI_COMMAND));
	less = command & ~bits;
	if (!off)
		ASSERT_EQ(2, pwrite(fd, &less, 2, PCI_COMMAND));
	ms = now_ms();
	ASSERT_EQ(0, dma_start(edu, IOVA, BUFFER, 4088, 0));
	sleep_ms(off);
	ASSERT_EQ(2, pwrite(fd, &less, 2, PCI_COMMAND));
	sleep_ms(on - off);
	ASSERT_EQ(2, pwrite(fd, &command, 2, PCI_COMMAND));
	close(fd);
	ret = dma_wait(edu);
	/* an interrupt that is lost does not stop everybody for long */
	EXPECT_GT(ms + 2000, now_ms());

	ASSERT_EQ(0, dma_to_ram(edu, IOVA, 0, 4088));
	EXPECT_NE(0, memcmp(edu->mem, secret, sizeof(secret)))
		TH_LOG("without %#x from %d to %d ms", bits, off, on);
	return ret;
}

TEST_F_TIMEOUT(medu, transfer_lost, 600)
{
	char uuid[UUID_LEN + 1];
	int off, on, ret, failed = 0;
	struct edu other;

	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create(type_name(), uuid));
	ASSERT_EQ(0, edu_open(&other, uuid));
	/* the command does not arrive; the hardware says that it does nothing */
	ret = dma_disturbed(_metadata, &self->edu, &other, PCI_COMMAND_MEMORY, 0,
			    50);
	EXPECT_EQ(0, ret);
	/* it is done, as ever, cannot tell, and has moved nothing */
	for (off = 10; off < 300; off += 100) {
		for (on = off + 50; on < off + 150; on += 4) {
			ret = dma_disturbed(_metadata, &self->edu, &other,
					    PCI_COMMAND_MASTER, off, on);
			EXPECT_TRUE(ret == 0 || ret == -EIO);
			failed += ret != 0;
		}
	}
	/* what lasts is noticed */
	EXPECT_LT(0, failed);
	edu_close(&other);
	EXPECT_EQ(0, mdev_remove(uuid));
}

#define RTC	"/sys/class/rtc/rtc0/wakealarm"

/*
 * The host sleeps until tools/vm/run wakes it, or else for a minute: an alarm that comes
 * before all sleeps is none. Meanwhile its hardware has no power. After that, the
 * firmware of QEMU's q35 does not say again where the chipset's power management has its
 * ports, without which there is no second time, and no power off.
 */
static int suspend(void)
{
	int fd = config_open("0000:00:1f.0"), ret;
	uint8_t before[8], after[8];
	uint32_t id = 0;

	if (fd < 0 || pread(fd, &id, 4, 0) != 4 || id != 0x29188086 ||
	    pread(fd, before, sizeof(before), 0x40) != sizeof(before))
		id = 0;
	ret = file_write("0", RTC) ?: file_write("+60", RTC) ?:
	      file_write("mem", "/sys/power/state");
	file_write("0", RTC);
	if (id && (pread(fd, after, sizeof(after), 0x40) != sizeof(after) ||
		   (memcmp(before, after, sizeof(before)) &&
		    (pwrite(fd, before, 4, 0x40) != 4 ||
		     pwrite(fd, before + 4, 4, 0x44) != 4))))
		ret = -EIO;
	if (fd >= 0)
		close(fd);
	return ret;
}

/* in a child: until the end, without anything lost */
static int work_on(const char *uuid, int *end)
{
	struct edu edu;
	int ret, i;

	ret = edu_open(&edu, uuid);
	for (i = 0; !ret && !__atomic_load_n(end, __ATOMIC_SEQ_CST); i++)
		ret = dma_round_trip(&edu, i, 4088);
	if (ret)
		fprintf(stderr, "# round %d: %d\n", i, ret);
	edu_close(&edu);
	return ret;
}

/* two users work, while the hardware is without power again and again */
static void work_without_power(struct __test_metadata *_metadata,
			       const char *one, int rounds,
			       int (*power_off)(void))
{
	char uuid[UUID_LEN + 1];
	pid_t pid[2];
	int *end, i;

	end = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, end);
	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create(type_name(), uuid));
	for (i = 0; i < 2; i++) {
		pid[i] = fork_child();
		if (!pid[i])
			child_exit(work_on(i ? uuid : one, end));
	}
	for (i = 0; i < rounds; i++) {
		sleep_ms(500 + 37 * i);
		EXPECT_EQ(0, power_off());
	}
	sleep_ms(500);
	__atomic_store_n(end, 1, __ATOMIC_SEQ_CST);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, child_wait(pid[i]));
	EXPECT_EQ(0, mdev_remove(uuid));
	munmap(end, 4096);
}

/*
 * In a guest whose time leaps, the hardware's stands still while the host sleeps, and
 * little is lost. See hardware_reset, too, where it does not.
 */
TEST_F(medu, suspend)
{
	char states[64];

#ifndef __x86_64__
	SKIP(return, "only x86 suspends to memory under QEMU");
#endif
	ASSERT_LT(0, file_read(states, sizeof(states), "/sys/power/mem_sleep"));
	ASSERT_TRUE(strstr(states, "deep") && file_exists(RTC));
	edu_close(&self->edu);
	work_without_power(_metadata, self->uuid,
			   env_int("MDEV_MEDU_SUSPENDS", 2), suspend);
}

static int hardware_reset(void)
{
	return file_write("1", PCI "devices/%s/reset", pci_name);
}

TEST_F(medu, hardware_reset)
{
	if (!file_exists(PCI "devices/%s/reset", pci_name))
		SKIP(return, "no way to reset this hardware");
	edu_close(&self->edu);
	work_without_power(_metadata, self->uuid, 6, hardware_reset);
}

/* as if somebody had pulled it out, with all that this does to a driver */
TEST_F(medu, hardware_gone)
{
	struct edu *edu = &self->edu;
	int kmsg = kmsg_open(), fd = config_open(pci_name);
	/* what is gone does not interrupt */
	uint16_t command, none = PCI_COMMAND_INTX_DISABLE;

	ASSERT_LE(0, fd);
	ASSERT_EQ(2, pread(fd, &command, 2, PCI_COMMAND));

	ASSERT_EQ(0, dma_start(edu, IOVA, BUFFER, 4096, 0));
	ASSERT_EQ(2, pwrite(fd, &none, 2, PCI_COMMAND));
	EXPECT_EQ(-ENODEV, dma_wait(edu));
	EXPECT_TRUE(kmsg_find(kmsg, pci_name, "not used any more"));
	EXPECT_EQ(-EIO, dma_from_ram(edu, IOVA, 0, 4096));
	EXPECT_EQ(0, factorial(edu, 5));
	edu_close(edu);
	/* or it would wait for itself below */
	ASSERT_EQ(-EIO, edu_open(edu, self->uuid));

	ASSERT_EQ(2, pwrite(fd, &command, 2, PCI_COMMAND));
	close(fd);
	ASSERT_EQ(0, file_write(pci_name, DRIVER "/unbind"));
	ASSERT_EQ(0, file_write(pci_name, DRIVER "/bind"));
	works_again(_metadata, self->uuid);
	close(kmsg);
}

TEST_HARNESS_MAIN
