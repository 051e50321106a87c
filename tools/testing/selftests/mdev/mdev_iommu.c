// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mediated devices whose DMA another device does, behind an IOMMU
 * (mdev_set_iommu_device()): the sample medu_dma with QEMU's edu, and vendors that name a
 * device as those of Linux 5.10 and 5.13 did, or do it wrongly.
 *
 * Without two edus behind an IOMMU all is skipped (qemu -device intel-iommu -device edu
 * -device edu, intel_iommu=on); but not when MDEV_EDU_IOMMU says that they are there: then
 * that is a failure.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "mdev_edu.h"
#include "mdev_util.h"
#include "test_modules/mdev_test_iommu.h"

/* what medu_dma moves at once: not the end of the buffer */
#define SIZE		4088
/* an address at which nothing is mapped */
#define NOWHERE		0x20000000ULL
/* one that is mapped for a while */
#define THERE		0x30000000ULL

static char names[2][32];	/* of the edus */

static bool find_hardware(void)
{
	/* on some machines, a device gets its group with its driver */
	return find_edus(names, 2) == 2 && dir_count("/sys/class/iommu") > 0;
}

static const char *type_name(int which)
{
	static char name[80];

	snprintf(name, sizeof(name), "%s/medu_dma-1", names[which]);
	return name;
}

/* Real groups stay, so this is not mdev_leftovers(). */
static int leftovers(void)
{
	return dir_count(MDEV_DEVICES) + dir_count("/sys/class/vfio-dev");
}

static bool all(const uint8_t *mem, uint8_t byte, size_t size)
{
	while (size--)
		if (*mem++ != byte)
			return false;
	return true;
}

/* ---- medu_dma ---- */

FIXTURE(iommu) {
	char uuid[2][UUID_LEN + 1];
	struct edu edu[2];
	bool hardware;
};

FIXTURE_VARIANT(iommu) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(iommu, group) {
};

FIXTURE_VARIANT_ADD(iommu, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(iommu)
{
	int i;

	for (i = 0; i < 2; i++) {
		self->edu[i].irq = -1;
		self->edu[i].mem = MAP_FAILED;
	}
	if (!find_hardware() && !getenv("MDEV_EDU_IOMMU"))
		SKIP(return, "no hardware: qemu -device intel-iommu and two -device edu");
	ASSERT_TRUE(find_hardware());
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("medu_dma"));
	self->hardware = true;
	for (i = 0; i < 2; i++) {
		uuid_next(self->uuid[i]);
		ASSERT_EQ(0, mdev_create(type_name(i), self->uuid[i]));
		ASSERT_EQ(0, edu_open(&self->edu[i], self->uuid[i]));
	}
}

FIXTURE_TEARDOWN(iommu)
{
	int i;

	if (!self->hardware)
		return;
	for (i = 0; i < 2; i++) {
		edu_close(&self->edu[i]);
		if (mdev_exists(self->uuid[i]))
			EXPECT_EQ(0, mdev_remove(self->uuid[i]));
	}
	EXPECT_EQ(0, vendors_reset());
	EXPECT_TRUE(wait_for(!leftovers()));
}

TEST_F(iommu, is_in_the_group_of_the_hardware)
{
	char ours[32], real[32];
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, link_base(real, sizeof(real),
				       PCI "devices/%s/iommu_group", names[i]));
		ASSERT_EQ(0, link_base(ours, sizeof(ours),
				       MDEV_DEVICES "/%s/iommu_group", self->uuid[i]));
		EXPECT_STREQ(real, ours);
		EXPECT_TRUE(file_exists(MDEV_DEVICES "/%s/iommu_group/devices/%s",
					self->uuid[i], names[i]));
		EXPECT_EQ(2, dir_count("/sys/class/vfio-dev"));
		EXPECT_EQ(0, mdev_available(type_name(i)));
	}
	/* by the UUID, and by no other name */
	if (!variant->iommufd) {
		EXPECT_EQ(-ENODEV, vfio_ioctl(self->edu[0].vc.group,
					      VFIO_GROUP_GET_DEVICE_FD, names[0]));
		EXPECT_EQ(-ENODEV, vfio_ioctl(self->edu[0].vc.group,
					      VFIO_GROUP_GET_DEVICE_FD, self->uuid[1]));
	}
	/* of one that is not open there is no more to see, and no less */
	edu_close(&self->edu[0]);
	EXPECT_TRUE(file_exists(MDEV_DEVICES "/%s/vfio-dev", self->uuid[0]));
	EXPECT_EQ(0, file_write(self->uuid[0], BRIDGE_DRIVER "/unbind"));
	EXPECT_FALSE(file_exists(MDEV_DEVICES "/%s/vfio-dev", self->uuid[0]));
	EXPECT_FALSE(file_exists(MDEV_DEVICES "/%s/iommu_group", self->uuid[0]));
	EXPECT_EQ(0, file_write(self->uuid[0], BRIDGE_DRIVER "/bind"));
	EXPECT_TRUE(file_exists(MDEV_DEVICES "/%s/iommu_group", self->uuid[0]));
	ASSERT_EQ(0, edu_open(&self->edu[0], self->uuid[0]));
	EXPECT_EQ(0, dma_round_trip(&self->edu[0], 5, SIZE));
}

TEST_F(iommu, data_arrives_where_it_is_mapped)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, dma_round_trip(&self->edu[i % 2], i, SIZE - 100 * i));
	/* to the last byte of what is mapped */
	memset(self->edu[0].mem, 0, MEM_SIZE);
	memset(self->edu[0].mem, 0x5a, SIZE);
	EXPECT_EQ(0, dma_from_ram(&self->edu[0], IOVA, 0, SIZE));
	EXPECT_EQ(0, dma_to_ram(&self->edu[0], IOVA + MEM_SIZE - SIZE, 0, SIZE));
	EXPECT_TRUE(all(self->edu[0].mem + MEM_SIZE - SIZE, 0x5a, SIZE));
	EXPECT_EQ(0, self->edu[0].mem[MEM_SIZE - SIZE - 1]);
}

/* The host's address of a page that the device can use, so that it is there; or 0. */
static uint64_t host_address(const void *page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	if (fd < 0 || pread(fd, &entry, sizeof(entry),
			    (uintptr_t)page / PAGE * sizeof(entry)) < 0)
		entry = 0;
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * PAGE;
}

/* The machine says that the hardware wanted to go there, in its own words. */
static bool is_reported(int log, uint64_t address)
{
	char text[64];

	if (file_exists("/sys/class/iommu/dmar0"))
		snprintf(text, sizeof(text), "fault addr %#llx",
			 (unsigned long long)address);
	else
		snprintf(text, sizeof(text), "0x%016llx", (unsigned long long)address);
	return kmsg_find(log, text, "");
}

/* The hardware does not report an error, but the IOMMU does. */
TEST_F(iommu, what_is_not_mapped_is_not_reached)
{
	struct edu *edu = &self->edu[0];
	uint8_t before[MEM_SIZE];
	uint64_t host;
	int log;

	fill(edu->mem, MEM_SIZE, 7);
	memcpy(before, edu->mem, MEM_SIZE);
	host = host_address(edu->mem);
	ASSERT_NE(0, host);
	/* faults before this count for the limit of what is logged */
	sleep_ms(6000);
	log = kmsg_open();
	ASSERT_LE(0, log);
	EXPECT_EQ(0, dma_from_ram(edu, IOVA + 4096, 0, SIZE));
	EXPECT_EQ(0, dma_to_ram(edu, NOWHERE, 0, SIZE));
	EXPECT_TRUE(is_reported(log, NOWHERE));
	/* nor is the host, at the address that the user's memory really has */
	sleep_ms(6000);
	EXPECT_EQ(0, dma_to_ram(edu, host, 0, SIZE));
	EXPECT_TRUE(is_reported(log, host));
	EXPECT_EQ(0, memcmp(before, edu->mem, MEM_SIZE));
	/* from there come zeroes */
	EXPECT_EQ(0, dma_from_ram(edu, NOWHERE, 0, SIZE));
	EXPECT_EQ(0, dma_to_ram(edu, IOVA, 0, SIZE));
	EXPECT_TRUE(all(edu->mem, 0, SIZE));
	EXPECT_EQ(0, memcmp(before + SIZE, edu->mem + SIZE, MEM_SIZE - SIZE));
	close(log);
}

TEST_F(iommu, what_is_unmapped_is_not_reached_any_more)
{
	struct edu *edu = &self->edu[0];
	uint8_t *more;

	more = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, more);
	ASSERT_EQ(0, vfio_dma_map(&edu->vc, more, THERE, MEM_SIZE, true));
	memset(edu->mem, 0x11, SIZE);
	EXPECT_EQ(0, dma_from_ram(edu, IOVA, 0, SIZE));
	EXPECT_EQ(0, dma_to_ram(edu, THERE, 0, SIZE));
	EXPECT_TRUE(all(more, 0x11, SIZE));
	ASSERT_EQ(0, vfio_dma_unmap(&edu->vc, THERE, MEM_SIZE));
	memset(more, 0x22, MEM_SIZE);
	EXPECT_EQ(0, dma_to_ram(edu, THERE, 0, SIZE));
	EXPECT_TRUE(all(more, 0x22, MEM_SIZE));
	munmap(more, MEM_SIZE);
}

TEST_F(iommu, memory_that_is_read_only_is_not_written)
{
	struct edu *edu = &self->edu[0];
	uint8_t *more;

	more = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, more);
	memset(more, 0x33, MEM_SIZE);
	ASSERT_EQ(0, vfio_dma_map(&edu->vc, more, THERE, MEM_SIZE, false));
	EXPECT_EQ(0, dma_from_ram(edu, THERE, 0, SIZE));
	EXPECT_EQ(0, dma_to_ram(edu, IOVA, 0, SIZE));
	EXPECT_TRUE(all(edu->mem, 0x33, SIZE));
	memset(edu->mem, 0x44, SIZE);
	EXPECT_EQ(0, dma_from_ram(edu, IOVA, 0, SIZE));
	EXPECT_EQ(0, dma_to_ram(edu, THERE, 0, SIZE));
	EXPECT_TRUE(all(more, 0x33, MEM_SIZE));
	EXPECT_EQ(0, vfio_dma_unmap(&edu->vc, THERE, MEM_SIZE));
	munmap(more, MEM_SIZE);
}

/* Both use the same addresses, for memory of their own. */
TEST_F(iommu, two_devices_do_not_reach_each_other)
{
	struct edu *a = &self->edu[0], *b = &self->edu[1];

	memset(a->mem, 0xaa, MEM_SIZE);
	memset(b->mem, 0xbb, MEM_SIZE);
	EXPECT_EQ(0, dma_from_ram(a, IOVA, 0, SIZE));
	EXPECT_EQ(0, dma_from_ram(b, IOVA, 0, SIZE));
	EXPECT_EQ(0, dma_to_ram(a, IOVA + MEM_SIZE / 2, 0, SIZE));
	EXPECT_TRUE(all(a->mem, 0xaa, MEM_SIZE));
	EXPECT_TRUE(all(b->mem, 0xbb, MEM_SIZE));
	/* at the same time */
	EXPECT_EQ(0, dma_start(a, BUFFER, IOVA, SIZE, TO_RAM));
	EXPECT_EQ(0, dma_start(b, BUFFER, IOVA, SIZE, TO_RAM));
	EXPECT_EQ(0, dma_wait(a));
	EXPECT_EQ(0, dma_wait(b));
	EXPECT_TRUE(all(a->mem, 0xaa, MEM_SIZE));
	EXPECT_TRUE(all(b->mem, 0xbb, MEM_SIZE));
	/* what is mapped for one only */
	ASSERT_EQ(0, vfio_dma_map(&b->vc, b->mem, THERE, MEM_SIZE, true));
	EXPECT_EQ(0, dma_to_ram(a, THERE, 0, SIZE));
	EXPECT_TRUE(all(b->mem, 0xbb, MEM_SIZE));
	EXPECT_EQ(0, dma_from_ram(a, THERE, 0, SIZE));
	EXPECT_EQ(0, dma_to_ram(a, IOVA, 0, SIZE));
	EXPECT_TRUE(all(a->mem, 0, SIZE));
}

TEST_F(iommu, off_the_bus_it_reaches_nothing)
{
	struct edu *edu = &self->edu[0];

	memset(edu->mem, 0x66, MEM_SIZE);
	EXPECT_EQ(0, dma_from_ram(edu, IOVA, 0, SIZE));
	ASSERT_EQ(0, config_write16(edu, PCI_COMMAND, PCI_COMMAND_MEMORY));
	memset(edu->mem, 0x77, MEM_SIZE);
	ASSERT_EQ(0, dma_start(edu, BUFFER, IOVA, SIZE, TO_RAM));
	EXPECT_TRUE(wait_for(!(reg_read(edu, DMA_CMD) & RUN)));
	EXPECT_TRUE(all(edu->mem, 0x77, MEM_SIZE));
	/* it ends like any other */
	EXPECT_TRUE(eventfd_fired(edu->irq, WAIT_MS));
	EXPECT_EQ(0, reg_write(edu, IRQ_ACK, 0x100));
	ASSERT_EQ(0, config_write16(edu, PCI_COMMAND, PCI_COMMAND_MEMORY |
				    PCI_COMMAND_MASTER));
	EXPECT_EQ(0, dma_round_trip(edu, 8, SIZE));
}

/* The hardware must not be told: QEMU ends itself. */
TEST_F(iommu, beyond_the_buffer)
{
	static const struct { uint64_t offset, count; } bad[] = {
		{ 0, SIZE + 1 }, { 1, SIZE }, { SIZE + 1, 0 }, { 0, UINT64_MAX },
		{ UINT64_MAX, 1 }, { UINT64_MAX - 100, 200 }, { 1ULL << 63, 1 },
		{ -BUFFER, SIZE }, { SIZE, UINT64_MAX - SIZE + 2 },
	};
	struct edu *edu = &self->edu[0];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-ERANGE, dma_from_ram(edu, IOVA, bad[i].offset,
						bad[i].count));
		EXPECT_EQ(-ERANGE, dma_to_ram(edu, IOVA, bad[i].offset,
					      bad[i].count));
	}
	EXPECT_EQ(0, dma_from_ram(edu, IOVA, SIZE, 0));
	EXPECT_EQ(0, dma_round_trip(edu, 9, SIZE));
}

/* Interrupts that nobody wants would be switched off for all owners to come. */
TEST_F(iommu, a_storm_of_interrupts)
{
	struct edu *edu = &self->edu[0];
	int i;

	for (i = 0; i < 1000; i++) {
		ASSERT_EQ(0, reg_write(edu, IRQ_RAISE, UINT32_MAX));
		ASSERT_EQ(UINT32_MAX, reg_read(edu, IRQ_STATUS));
		ASSERT_EQ(0, reg_write(edu, IRQ_ACK, UINT32_MAX));
	}
	EXPECT_EQ(0, reg_write(edu, IRQ_RAISE, 0));
	/* by its own DMA: what is written to this address is a message */
	EXPECT_TRUE(eventfd_fired(edu->irq, WAIT_MS));
	for (i = 0; i < 20; i++)
		EXPECT_EQ(0, dma_to_ram(edu, 0xfee00000, 0, 4));
	EXPECT_EQ(0, dma_round_trip(edu, 13, SIZE));
	EXPECT_EQ(0, dma_round_trip(&self->edu[1], 13, SIZE));
}

TEST_F(iommu, the_next_owner_finds_nothing)
{
	struct edu *edu = &self->edu[0];
	long looks;

	memset(edu->mem, 0xee, SIZE);
	EXPECT_EQ(0, dma_from_ram(edu, IOVA, 0, SIZE));
	EXPECT_EQ(0, reg_write(edu, LIVE, 0x12345678));
	EXPECT_EQ(0, reg_write(edu, FACT, 12));
	/* QEMU computes by the host's time, of which waiting may take none */
	for (looks = 0; looks < 10000000 && reg_read(edu, FACT) != 479001600; looks++)
		;
	EXPECT_EQ(479001600, reg_read(edu, FACT));
	/* and still at work */
	EXPECT_EQ(0, dma_start(edu, BUFFER, IOVA, SIZE, TO_RAM));
	edu_close(edu);
	ASSERT_EQ(0, edu_open(edu, self->uuid[0]));
	EXPECT_EQ(0, reg_read(edu, LIVE));
	EXPECT_EQ(1, reg_read(edu, FACT));
	EXPECT_EQ(0, reg_read(edu, DMA_SRC));
	EXPECT_EQ(0, reg_read(edu, IRQ_STATUS));
	memset(edu->mem, 0x99, MEM_SIZE);
	EXPECT_EQ(0, dma_to_ram(edu, IOVA, 0, SIZE));
	EXPECT_TRUE(all(edu->mem, 0, SIZE));
	EXPECT_TRUE(all(edu->mem + SIZE, 0x99, MEM_SIZE - SIZE));
}

/* A reset by the guest or the VMM is the same for what is under way. */
TEST_F(iommu, a_reset_ends_dma)
{
	struct edu *edu = &self->edu[0];

	memset(edu->mem, 0xdd, SIZE);
	EXPECT_EQ(0, dma_from_ram(edu, IOVA, 0, SIZE));
	memset(edu->mem, 0x10, SIZE);
	EXPECT_EQ(0, dma_start(edu, BUFFER, IOVA, SIZE, TO_RAM));
	ASSERT_EQ(0, vfio_ioctl(edu->fd, VFIO_DEVICE_RESET, NULL));
	EXPECT_TRUE(all(edu->mem, 0x10, SIZE));
	sleep_ms(300);
	EXPECT_TRUE(all(edu->mem, 0x10, SIZE));
	ASSERT_EQ(0, config_write16(edu, PCI_COMMAND, PCI_COMMAND_MEMORY |
				    PCI_COMMAND_MASTER));
	EXPECT_EQ(0, dma_to_ram(edu, IOVA, 0, SIZE));
	EXPECT_TRUE(all(edu->mem, 0, SIZE));
}

/* medu does DMA by the kernel's API: it works if the kernel has its domain. */
TEST_F(iommu, after_a_close_the_kernel_has_its_domain)
{
	char uuid[UUID_LEN + 1], type[80];
	struct edu edu;

	EXPECT_EQ(0, dma_round_trip(&self->edu[0], 1, SIZE));
	edu_close(&self->edu[0]);
	edu_close(&self->edu[1]);
	ASSERT_EQ(0, mdev_remove(self->uuid[0]));
	ASSERT_EQ(0, mdev_remove(self->uuid[1]));
	ASSERT_EQ(0, module_unload("medu_dma"));
	ASSERT_EQ(0, module_load("medu dma_bits=64"));

	uuid_next(uuid);
	snprintf(type, sizeof(type), "%s/medu-1", names[0]);
	ASSERT_EQ(0, mdev_create(type, uuid));
	ASSERT_EQ(0, edu_open(&edu, uuid));
	EXPECT_EQ(0, dma_round_trip(&edu, 3, 4096));
	edu_close(&edu);
	EXPECT_EQ(0, mdev_remove(uuid));
	/* and back again */
	ASSERT_EQ(0, module_unload("medu"));
	ASSERT_EQ(0, module_load("medu_dma"));
	ASSERT_EQ(0, mdev_create(type_name(0), self->uuid[0]));
	ASSERT_EQ(0, edu_open(&self->edu[0], self->uuid[0]));
	EXPECT_EQ(0, dma_round_trip(&self->edu[0], 4, SIZE));
}

TEST_F(iommu, the_hardware_leaves_while_it_is_open)
{
	struct edu *edu = &self->edu[0];
	int32_t req = eventfd(0, EFD_CLOEXEC);
	pid_t pid;
	int log;

	ASSERT_EQ(0, vfio_set_irqs(edu->fd, TRIGGER, REQ, 0, 1, &req));
	log = kmsg_open();
	ASSERT_LE(0, log);
	pid = file_write_child(names[0], PCI "drivers/medu_dma/unbind");
	EXPECT_TRUE(eventfd_fired(req, WAIT_MS));
	EXPECT_TRUE(kmsg_find(log, self->uuid[0], "held open by mdev_iommu"));
	close(log);
	/* it works until then */
	EXPECT_EQ(0, dma_round_trip(edu, 2, SIZE));
	EXPECT_TRUE(child_running(pid));
	edu_close(edu);
	close(req);
	EXPECT_EQ(0, child_wait(pid));
	EXPECT_FALSE(mdev_exists(self->uuid[0]));
	EXPECT_EQ(0, dma_round_trip(&self->edu[1], 2, SIZE));
}

TEST_F(iommu, the_bridge_comes_again)
{
	char other[UUID_LEN + 1];
	int i;

	/* not while VFIO uses it */
	EXPECT_EQ(-EAGAIN, module_delete("vfio_mdev"));
	for (i = 0; i < 2; i++)
		edu_close(&self->edu[i]);
	ASSERT_EQ(0, module_unload("vfio_mdev"));
	EXPECT_FALSE(file_exists(MDEV_DEVICES "/%s/iommu_group", self->uuid[0]));
	ASSERT_EQ(0, module_load("vfio_mdev"));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, edu_open(&self->edu[i], self->uuid[i]));
	EXPECT_EQ(0, dma_round_trip(&self->edu[0], 11, SIZE));
	EXPECT_EQ(0, dma_round_trip(&self->edu[1], 12, SIZE));
	/* each has its hardware for itself */
	uuid_next(other);
	EXPECT_EQ(-EUSERS, mdev_create(type_name(0), other));
	EXPECT_EQ(-EAGAIN, module_delete("medu_dma"));
}

/* Without a close before it: all that a killed user had is torn down in some order. */
TEST_F(iommu, a_user_is_killed)
{
	struct edu edu;
	pid_t pid;
	int i;

	edu_close(&self->edu[0]);
	for (i = 0; i < 4; i++) {
		pid = fork_child();
		if (!pid) {
			if (edu_open(&edu, self->uuid[0]))
				child_exit(-EIO);
			dma_start(&edu, IOVA, BUFFER, SIZE, 0);
			raise(SIGKILL);
		}
		EXPECT_EQ(-ECANCELED, child_wait(pid));
	}
	ASSERT_EQ(0, edu_open(&self->edu[0], self->uuid[0]));
	EXPECT_EQ(0, dma_round_trip(&self->edu[0], 6, SIZE));
}

/* ---- All at the same time ---- */

/* what a child does again and again until it is killed; it may fail */
static void again_open(const char *uuid)
{
	struct edu edu;

	if (edu_open(&edu, uuid)) {
		sleep_ms(1);
		return;
	}
	dma_start(&edu, IOVA, BUFFER, SIZE, 0);
	edu_close(&edu);
}

static void again_rebind(const char *uuid)
{
	file_write(uuid, BRIDGE_DRIVER "/unbind");
	file_write(uuid, BRIDGE_DRIVER "/bind");
}

static void again_driver(const char *driver)
{
	file_write(names[0], PCI "drivers/%s/unbind", driver);
	file_write(names[0], PCI "drivers/%s/bind", driver);
}

/* Let them all loose for two seconds; false if one of them does not end. */
static bool at_once(const char *uuid, const char *driver, const char *type)
{
	long end = now_ms() + 2000;
	pid_t pids[5];
	int i;

	for (i = 0; i < 5; i++) {
		pids[i] = fork_child();
		while (!pids[i]) {
			if (i < 2)
				again_open(uuid);
			else if (i == 2)
				again_rebind(uuid);
			else if (i == 3)
				again_driver(driver);
			else if (mdev_remove(uuid) || mdev_create(type, uuid))
				sleep_ms(1);
			if (now_ms() > end)
				child_exit(0);
		}
	}
	for (i = 0; i < 5; i++)
		if (!wait_for(!child_running(pids[i])) || child_wait(pids[i]))
			return false;
	file_write(names[0], PCI "drivers/%s/bind", driver);
	mdev_create(type, uuid);
	file_write(uuid, BRIDGE_DRIVER "/bind");
	return true;
}

TEST_F(iommu, everything_at_once)
{
	edu_close(&self->edu[0]);
	EXPECT_TRUE(at_once(self->uuid[0], "medu_dma", type_name(0)));
	ASSERT_EQ(0, edu_open(&self->edu[0], self->uuid[0]));
	EXPECT_EQ(0, dma_round_trip(&self->edu[0], 10, SIZE));
}

/* ---- Vendors, right and wrong ---- */

FIXTURE(vendor) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
	uint8_t *mem;
	bool hardware;
};

FIXTURE_VARIANT(vendor) {
	const char *module;
	bool iommufd;
};

FIXTURE_VARIANT_ADD(vendor, 5_10) {
	.module = "mdev_test_iommu",
};

FIXTURE_VARIANT_ADD(vendor, 5_13) {
	.module = "mdev_test_iommu_5_13",
};

FIXTURE_VARIANT_ADD(vendor, cdev) {
	.module = "mdev_test_iommu",
	.iommufd = true,
};

static int vendor_load(const char *module, int which, const char *args)
{
	char text[128];

	snprintf(text, sizeof(text), "%s device=%s %s", module, names[0], args);
	if (which >= 0)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 " names=%d", which);
	return module_load(text);
}

static int vendor_create(const char *module, const char *uuid)
{
	char type[64];

	/* of a device without a driver, its bus */
	snprintf(type, sizeof(type), "%s/platform-1", module);
	return mdev_create(type, uuid);
}

FIXTURE_SETUP(vendor)
{
	self->mem = MAP_FAILED;
	self->vc = (struct vfio_client){
		.container = -1, .group = -1, .iommufd = -1, .device = -1,
	};
	if (!find_hardware() && !getenv("MDEV_EDU_IOMMU"))
		SKIP(return, "no hardware: qemu -device intel-iommu and two -device edu");
	ASSERT_TRUE(find_hardware());
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	self->hardware = true;
	uuid_next(self->uuid);
	self->mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
}

FIXTURE_TEARDOWN(vendor)
{
	if (!self->hardware)
		return;
	vfio_close(&self->vc);
	if (mdev_exists(self->uuid))
		EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_TRUE(wait_for(!leftovers()));
	munmap(self->mem, PAGE);
}

TEST_F(vendor, of_before_builds_and_works)
{
	uint64_t data = 0;

	ASSERT_EQ(0, vendor_load(variant->module, -1, ""));
	ASSERT_EQ(0, vendor_create(variant->module, self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	memset(self->mem, 0x42, 4096);
	ASSERT_EQ(0, vfio_dma_map(&self->vc, self->mem, 0, PAGE, true));
	EXPECT_EQ(-EOPNOTSUPP, vfio_ioctl(self->vc.device, TEST_IOMMU_PIN, NULL));
	EXPECT_EQ(1, vfio_ioctl(self->vc.device, TEST_IOMMU_DOMAIN, NULL));
	/* the handle of the group is another user's, not to say the kernel's */
	EXPECT_EQ(variant->iommufd ? -EINVAL : 0,
		  vfio_ioctl(self->vc.device, TEST_IOMMU_READ, &data));
	EXPECT_EQ(variant->iommufd ? 0 : 0x4242424242424242, data);
	EXPECT_EQ(0, vfio_dma_unmap(&self->vc, 0, PAGE));
}

TEST_F(vendor, names_one_device_once)
{
	char second[UUID_LEN + 1];
	int log;

	ASSERT_EQ(0, vendor_load(variant->module, TEST_IOMMU_TWICE, ""));
	ASSERT_EQ(0, vendor_create(variant->module, self->uuid));
	log = kmsg_open();
	ASSERT_LE(0, log);
	uuid_next(second);
	EXPECT_EQ(-EBUSY, vendor_create(variant->module, second));
	EXPECT_FALSE(mdev_exists(second));
	EXPECT_TRUE(kmsg_find(log, second, "does the DMA of another mediated device"));
	close(log);
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	vfio_close(&self->vc);
	/* but another one after it */
	ASSERT_EQ(0, mdev_remove(self->uuid));
	ASSERT_EQ(0, vendor_create(variant->module, self->uuid));
	EXPECT_EQ(0, vfio_open(&self->vc, self->uuid));
}

TEST_F(vendor, names_a_device_without_iommu)
{
	int log;

	ASSERT_EQ(0, vendor_load(variant->module, TEST_IOMMU_PARENT, ""));
	log = kmsg_open();
	ASSERT_LE(0, log);
	EXPECT_EQ(-EINVAL, vendor_create(variant->module, self->uuid));
	EXPECT_FALSE(mdev_exists(self->uuid));
	EXPECT_TRUE(kmsg_find(log, self->uuid, "is in no IOMMU group"));
	close(log);
}

TEST_F(vendor, names_a_device_without_driver)
{
	int log;

	ASSERT_EQ(0, vendor_load(variant->module, -1, ""));
	ASSERT_EQ(0, file_write(names[0], PCI "devices/%s/driver/unbind", names[0]));
	log = kmsg_open();
	ASSERT_LE(0, log);
	EXPECT_EQ(-ENODEV, vendor_create(variant->module, self->uuid));
	EXPECT_FALSE(mdev_exists(self->uuid));
	EXPECT_TRUE(kmsg_find(log, self->uuid, "has no driver"));
	close(log);
	ASSERT_EQ(0, file_write(names[0], PCI "drivers/%s/bind", variant->module));
	EXPECT_EQ(0, vendor_create(variant->module, self->uuid));
}

/* Whose driver goes while the vendor, which is another, still has the mediated device. */
TEST_F(vendor, the_driver_of_the_device_goes)
{
	pid_t pid;

	ASSERT_EQ(0, vendor_load(variant->module, -1, ""));
	ASSERT_EQ(0, vendor_create(variant->module, self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	pid = file_write_child(names[0], PCI "drivers/%s/unbind", variant->module);
	EXPECT_TRUE(child_blocks(pid));
	EXPECT_EQ(1, vfio_ioctl(self->vc.device, TEST_IOMMU_DOMAIN, NULL));
	vfio_close(&self->vc);
	EXPECT_EQ(0, child_wait(pid));
	/* it is there, without a driver, and nobody can open it */
	EXPECT_TRUE(mdev_exists(self->uuid));
	EXPECT_FALSE(file_exists(MDEV_DEVICES "/%s/driver", self->uuid));
	EXPECT_EQ(-ENOENT, vfio_open(&self->vc, self->uuid));
	EXPECT_GT(0, file_write(self->uuid, BRIDGE_DRIVER "/bind"));
	ASSERT_EQ(0, file_write(names[0], PCI "drivers/%s/bind", variant->module));
	ASSERT_EQ(0, file_write(self->uuid, BRIDGE_DRIVER "/bind"));
	EXPECT_EQ(0, vfio_open(&self->vc, self->uuid));
}

/* The mediated device keeps the memory of one that is not there any more, and no longer. */
TEST_F(vendor, the_device_is_unplugged)
{
	pid_t pid;
	int i;

	ASSERT_EQ(0, vendor_load(variant->module, -1, ""));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, vendor_create(variant->module, self->uuid));
		ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
		pid = file_write_child("1", PCI "devices/%s/remove", names[0]);
		EXPECT_TRUE(child_blocks(pid));
		vfio_close(&self->vc);
		ASSERT_EQ(0, child_wait(pid));
		EXPECT_FALSE(file_exists(MDEV_DEVICES "/%s/driver", self->uuid));
		ASSERT_EQ(0, mdev_remove(self->uuid));
		ASSERT_EQ(0, file_write("1", PCI "rescan"));
		ASSERT_TRUE(wait_for(file_exists(PCI "devices/%s/driver", names[0])));
	}
}

TEST_F(vendor, everything_at_once)
{
	char type[64];

	snprintf(type, sizeof(type), "%s/platform-1", variant->module);
	ASSERT_EQ(0, vendor_load(variant->module, -1, ""));
	ASSERT_EQ(0, vendor_create(variant->module, self->uuid));
	EXPECT_TRUE(at_once(self->uuid, variant->module, type));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	EXPECT_EQ(1, vfio_ioctl(self->vc.device, TEST_IOMMU_DOMAIN, NULL));
}

/* VFIO gives nothing away that the kernel does DMA with, and does not say why. */
TEST_F(vendor, the_driver_of_the_device_does_dma)
{
	char group[16], path[32];
	int log;

	ASSERT_EQ(0, vendor_load(variant->module, -1, "managed=0"));
	log = kmsg_open();
	ASSERT_LE(0, log);
	ASSERT_EQ(0, vendor_create(variant->module, self->uuid));
	EXPECT_TRUE(kmsg_find(log, self->uuid, "must set driver_managed_dma"));
	close(log);
	if (variant->iommufd) {
		EXPECT_EQ(-EPERM, vfio_open(&self->vc, self->uuid));
		return;
	}
	/* vfio_open() looks first, as QEMU does */
	EXPECT_EQ(-EPERM, vfio_open(&self->vc, self->uuid));
	ASSERT_EQ(0, link_base(group, sizeof(group), MDEV_DEVICES "/%s/iommu_group",
			       self->uuid));
	snprintf(path, sizeof(path), "/dev/vfio/%s", group);
	self->vc.group = open(path, O_RDWR);
	ASSERT_LE(0, self->vc.group);
	self->vc.container = open("/dev/vfio/vfio", O_RDWR);
	ASSERT_LE(0, self->vc.container);
	EXPECT_EQ(-EPERM, vfio_ioctl(self->vc.group, VFIO_GROUP_SET_CONTAINER,
				     &self->vc.container));
}

/* The vendor believes that the device is isolated: the next user would not be. */
TEST_F(vendor, names_it_too_late)
{
	int log;

	ASSERT_EQ(0, vendor_load(variant->module, TEST_IOMMU_LATE, ""));
	ASSERT_EQ(0, vendor_create(variant->module, self->uuid));
	log = kmsg_open();
	ASSERT_LE(0, log);
	EXPECT_EQ(-EPERM, vfio_open(&self->vc, self->uuid));
	EXPECT_TRUE(kmsg_find(log, self->uuid, "only after create"));
	close(log);
	EXPECT_EQ(-EPERM, vfio_open(&self->vc, self->uuid));
}

TEST_HARNESS_MAIN
