// SPDX-License-Identifier: GPL-2.0-only
/*
 * Vendors of before Linux 5.19, by include/classic: what they were promised then
 * holds now. The vendor is test_modules/mdev_test_classic, as it was for 5.10 and
 * for 5.13; the client says what it is to do and looks at the memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"
#include "test_modules/mdev_test_classic.h"

#define PARENT		"mdev_test_classic"
#define TYPE_A		PARENT "/platform-a"
#define TYPE_B		PARENT "/platform-b"

#define NPAGES		512		/* VFIO_PIN_PAGES_MAX_ENTRIES */
#define IOVA		0x100000000ULL
#define PFN(n)		(IOVA / PAGE + (n))
#define SIZE		(NPAGES * PAGE)
/* where the client may only be read from */
#define RO_IOVA		0x200000000ULL

/* include/linux/iommu.h, and vfio.h of the time */
#define IOMMU_READ	1
#define IOMMU_WRITE	2
#define IOMMU_NOTIFY	0
#define GROUP_NOTIFY	1

FIXTURE(vendor) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
	struct mdev_test_pages pages;
	struct mdev_test_dma dma;
	char *mem;
	int kmsg;
	int unmapped;			/* VFIO's errno */
};

FIXTURE_VARIANT(vendor) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(vendor, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(vendor, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(vendor)
{
	unsigned long i;

	ASSERT_EQ(0, vendors_reset());
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, module_load("vfio_iommu_type1"));
	ASSERT_EQ(0, module_load(PARENT));
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(TYPE_B, self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	self->unmapped = variant->iommufd ? -ENOENT : -EINVAL;
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);

	self->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	for (i = 0; i < NPAGES; i++)
		*(uint64_t *)(self->mem + i * PAGE) = i + 1000;
	ASSERT_EQ(0, vfio_dma_map(&self->vc, self->mem, IOVA, SIZE, true));
}

FIXTURE_TEARDOWN(vendor)
{
	vfio_close(&self->vc);
	close(self->kmsg);
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

/* as the vendor's functions return it, or a negative errno */
static int vendor_do(struct vfio_client *vc, unsigned long cmd, void *arg)
{
	int ret = ioctl(vc->device, cmd, arg);

	return ret < 0 ? -errno : ret;
}

static int notifier_register(struct vfio_client *vc, uint32_t type,
			     uint64_t events)
{
	struct mdev_test_notifier n = { .type = type, .events = events };

	return vendor_do(vc, MDEV_TEST_REGISTER, &n);
}

static int notifier_unregister(struct vfio_client *vc, uint32_t type)
{
	struct mdev_test_notifier n = { .type = type };

	return vendor_do(vc, MDEV_TEST_UNREGISTER, &n);
}

static struct mdev_test_status status_of(struct vfio_client *vc)
{
	struct mdev_test_status status = {};

	if (vendor_do(vc, MDEV_TEST_STATUS, &status))
		status.pinned = UINT32_MAX;
	return status;
}

/* the arguments of the next pin or unpin: pages by number, up to -1 */
static void pages_set(struct mdev_test_pages *pages, const int *numbers)
{
	int i;

	memset(pages, 0, sizeof(*pages));
	for (i = 0; numbers[i] >= 0; i++)
		pages->pfn[i] = PFN(numbers[i]);
	pages->npage = i;
	pages->prot = IOMMU_READ | IOMMU_WRITE;
}

#define PAGES(...) pages_set(&self->pages, (int []){ __VA_ARGS__, -1 })
#define PIN() vendor_do(&self->vc, MDEV_TEST_PIN, &self->pages)
#define UNPIN() vendor_do(&self->vc, MDEV_TEST_UNPIN, &self->pages)

/* what the vendor sees where VFIO says that page is */
static uint64_t vendor_sees(struct vfio_client *vc, uint64_t phys)
{
	struct mdev_test_peek peek = { .phys = phys };

	return vendor_do(vc, MDEV_TEST_PEEK, &peek) ? 0 : peek.value;
}

/* what was called in create */
TEST_F(vendor, not_open)
{
	struct mdev_test_status status = status_of(&self->vc);

	EXPECT_EQ(-EINVAL, status.early_pin);
	EXPECT_EQ(-EINVAL, status.early_notifier);
	EXPECT_EQ(-EINVAL, status.early_group);
	EXPECT_EQ(-ENODEV, status.wrong_pin);
	EXPECT_EQ(-ENODEV, status.wrong_notifier);
	EXPECT_EQ(-ENODEV, status.wrong_group);
	EXPECT_EQ(0, status.wrong_device);
}

/* any order, any part of it, twice if need be, by either function */
TEST_F(vendor, pin_scattered)
{
	static const int numbers[] = { 7, 0, 300, 8, 7, 511 };
	uint32_t i, by_group;

	ASSERT_EQ(0, notifier_register(&self->vc, IOMMU_NOTIFY, 1));
	for (by_group = 0; by_group < 2; by_group++) {
		PAGES(7, 0, 300, 8, 7, 511);
		self->pages.by_group = by_group;
		ASSERT_EQ(6, PIN());
		for (i = 0; i < ARRAY_SIZE(numbers); i++)
			EXPECT_EQ(1000 + numbers[i],
				  vendor_sees(&self->vc, self->pages.phys[i]));
		EXPECT_EQ(self->pages.phys[0], self->pages.phys[4]);

		/* what is written is seen, so it is the page itself */
		*(uint64_t *)(self->mem + 300 * PAGE) = 77;
		EXPECT_EQ(77, vendor_sees(&self->vc, self->pages.phys[2]));
		*(uint64_t *)(self->mem + 300 * PAGE) = 1300;

		PAGES(8, 7);
		self->pages.by_group = !by_group;
		EXPECT_EQ(2, UNPIN());
		PAGES(511, 7, 300);
		self->pages.by_group = by_group;
		EXPECT_EQ(3, UNPIN());
		PAGES(0);
		EXPECT_EQ(1, UNPIN());
		EXPECT_EQ(0, status_of(&self->vc).pinned);
	}
	/* nothing is pinned: nobody needs to be told */
	EXPECT_EQ(0, vfio_dma_unmap(&self->vc, IOVA, SIZE));
	EXPECT_EQ(0, status_of(&self->vc).unmaps);
	EXPECT_TRUE(kmsg_lacks(self->kmsg, self->uuid, "pin"));
}

TEST_F(vendor, pin_as_many_as_can_be)
{
	uint32_t i;

	if (PAGE / sizeof(long) != NPAGES)
		SKIP(return, "VFIO's limit is a page full of addresses: too many here");
	ASSERT_EQ(0, notifier_register(&self->vc, IOMMU_NOTIFY, 1));
	for (i = 0; i < MDEV_TEST_PAGES; i++)
		self->pages.pfn[i] = PFN(NPAGES - 1 - i);
	self->pages.prot = IOMMU_READ;
	self->pages.npage = NPAGES + 1;
	EXPECT_EQ(-E2BIG, PIN());
	EXPECT_EQ(-E2BIG, UNPIN());
	self->pages.npage = -1;
	EXPECT_EQ(-E2BIG, PIN());
	EXPECT_EQ(-E2BIG, UNPIN());

	self->pages.npage = NPAGES;
	ASSERT_EQ(NPAGES, PIN());
	for (i = 0; i < NPAGES; i++)
		ASSERT_EQ(1000 + NPAGES - 1 - i,
			  vendor_sees(&self->vc, self->pages.phys[i]));
	EXPECT_EQ(NPAGES, UNPIN());
}

TEST_F(vendor, pin_refused)
{
	uint32_t by_group;

	for (by_group = 0; by_group < 2; by_group++) {
		/* nobody would be told when the memory goes */
		PAGES(1);
		self->pages.by_group = by_group;
		EXPECT_EQ(-EINVAL, PIN());
	}

	ASSERT_EQ(0, notifier_register(&self->vc, IOMMU_NOTIFY, 1));
	for (by_group = 0; by_group < 2; by_group++) {
		PAGES(1);
		self->pages.by_group = by_group;
		self->pages.npage = 0;
		EXPECT_EQ(-EINVAL, PIN());
		EXPECT_EQ(-EINVAL, UNPIN());
		self->pages.npage = 1;
		self->pages.without = 1;
		EXPECT_EQ(-EINVAL, PIN());
		EXPECT_EQ(-EINVAL, UNPIN());
		self->pages.without = 2;
		EXPECT_EQ(-EINVAL, PIN());
	}
	EXPECT_EQ(0, status_of(&self->vc).pinned);
}

/* all or nothing */
TEST_F(vendor, pin_undone)
{
	int i;

	ASSERT_EQ(0, notifier_register(&self->vc, IOMMU_NOTIFY, 1));
	/* the fourth is not mapped */
	PAGES(3, 4, 5, NPAGES, 6);
	memset(self->pages.phys, 0xff, 5 * sizeof(*self->pages.phys));
	EXPECT_EQ(self->unmapped, PIN());
	for (i = 0; i < 5; i++)
		EXPECT_EQ(0, self->pages.phys[i]);

	/* nor may the third be written to */
	ASSERT_EQ(0, vfio_dma_map(&self->vc, self->mem, RO_IOVA, PAGE, false));
	PAGES(3, 4, 0, 5);
	self->pages.pfn[2] = RO_IOVA / PAGE;
	EXPECT_EQ(-EPERM, PIN());
	self->pages.prot = IOMMU_READ;
	EXPECT_EQ(4, PIN());
	EXPECT_EQ(4, UNPIN());

	/* the notifier would be called for a page that was forgotten */
	EXPECT_EQ(0, vfio_dma_unmap(&self->vc, IOVA, SIZE));
	EXPECT_EQ(0, vfio_dma_unmap(&self->vc, RO_IOVA, PAGE));
	EXPECT_EQ(0, status_of(&self->vc).unmaps);
	EXPECT_TRUE(kmsg_lacks(self->kmsg, self->uuid, "pin"));
}

TEST_F(vendor, unmap)
{
	struct mdev_test_status status;

	ASSERT_EQ(0, vfio_dma_map(&self->vc, self->mem, RO_IOVA, 2 * PAGE,
				  true));
	ASSERT_EQ(0, notifier_register(&self->vc, IOMMU_NOTIFY, 1));
	PAGES(2, 500, 3);
	ASSERT_EQ(3, PIN());
	self->pages.pfn[0] = RO_IOVA / PAGE;
	self->pages.npage = 1;
	ASSERT_EQ(1, PIN());

	EXPECT_EQ(0, vfio_dma_unmap(&self->vc, IOVA, SIZE));
	status = status_of(&self->vc);
	EXPECT_EQ(1, status.unmaps);
	EXPECT_EQ(IOVA, status.unmap_iova);
	EXPECT_EQ(SIZE, status.unmap_size);
	/* the vendor has unpinned what was there, and no more */
	EXPECT_EQ(1, status.pinned);
	EXPECT_EQ(1000, vendor_sees(&self->vc, self->pages.phys[0]));

	EXPECT_EQ(0, vfio_dma_unmap(&self->vc, RO_IOVA, 2 * PAGE));
	status = status_of(&self->vc);
	EXPECT_EQ(2, status.unmaps);
	EXPECT_EQ(0, status.pinned);
	EXPECT_TRUE(kmsg_lacks(self->kmsg, self->uuid, "pin"));

	PAGES(2);
	EXPECT_EQ(self->unmapped, PIN());
}

/* a vendor that ignores its notifier, and does not know that it did */
TEST_F(vendor, unmap_ignored)
{
	ASSERT_EQ(0, notifier_register(&self->vc, IOMMU_NOTIFY, 1));
	PAGES(2, 500);
	ASSERT_EQ(2, PIN());
	ASSERT_EQ(0, vendor_do(&self->vc, MDEV_TEST_FORGET, NULL));
	EXPECT_EQ(0, vfio_dma_unmap(&self->vc, IOVA, SIZE));
	EXPECT_LE(5, status_of(&self->vc).unmaps);
	EXPECT_TRUE(kmsg_find(self->kmsg, self->uuid, "still has 2 pins"));
	/* they are kept for it */
	EXPECT_EQ(2, UNPIN());
	EXPECT_TRUE(kmsg_lacks(self->kmsg, self->uuid, "which it did not pin"));
	UNPIN();
	EXPECT_TRUE(kmsg_find(self->kmsg, self->uuid, "which it did not pin"));
	notifier_unregister(&self->vc, IOMMU_NOTIFY);
}

TEST_F(vendor, release_forgets)
{
	ASSERT_EQ(0, notifier_register(&self->vc, IOMMU_NOTIFY, 1));
	PAGES(2, 500, 2);
	ASSERT_EQ(3, PIN());
	ASSERT_EQ(0, vendor_do(&self->vc, MDEV_TEST_FORGET, NULL));
	vfio_close(&self->vc);
	EXPECT_TRUE(kmsg_find(self->kmsg, self->uuid,
			      "forgot to unregister a notifier"));
	EXPECT_TRUE(kmsg_find(self->kmsg, self->uuid,
			      "forgot to unpin memory 3 times"));

	/* and all is as new */
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	ASSERT_EQ(0, vfio_dma_map(&self->vc, self->mem, IOVA, SIZE, true));
	PAGES(2);
	EXPECT_EQ(-EINVAL, PIN());
	ASSERT_EQ(0, notifier_register(&self->vc, IOMMU_NOTIFY, 1));
	EXPECT_EQ(1, PIN());
}

/* the other way round: what a client that dies leaves is the vendor's to undo */
TEST_F(vendor, release_cleans)
{
	ASSERT_EQ(0, notifier_register(&self->vc, IOMMU_NOTIFY, 1));
	PAGES(2, 500, 2);
	ASSERT_EQ(3, PIN());
	vfio_close(&self->vc);
	EXPECT_TRUE(kmsg_lacks(self->kmsg, self->uuid, "forgot"));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	EXPECT_EQ(0, status_of(&self->vc).pinned);
}

TEST_F(vendor, notifiers)
{
	struct mdev_test_notifier n = { .type = IOMMU_NOTIFY };

	/* what of? */
	EXPECT_EQ(-EINVAL, notifier_register(&self->vc, IOMMU_NOTIFY, 0));
	EXPECT_EQ(-EINVAL, notifier_register(&self->vc, GROUP_NOTIFY, 0));
	/* the rest comes back */
	n.events = 5;
	EXPECT_EQ(-EINVAL, vendor_do(&self->vc, MDEV_TEST_REGISTER, &n));
	EXPECT_EQ(4, n.events);
	n.type = GROUP_NOTIFY;
	n.events = 9;
	EXPECT_EQ(-EINVAL, vendor_do(&self->vc, MDEV_TEST_REGISTER, &n));
	EXPECT_EQ(8, n.events);
	EXPECT_EQ(-EINVAL, notifier_register(&self->vc, 2, 1));
	EXPECT_EQ(-EINVAL, notifier_unregister(&self->vc, 2));

	EXPECT_EQ(-ENOENT, notifier_unregister(&self->vc, IOMMU_NOTIFY));
	n.type = IOMMU_NOTIFY;
	n.events = 1;
	EXPECT_EQ(0, vendor_do(&self->vc, MDEV_TEST_REGISTER, &n));
	EXPECT_EQ(0, n.events);
	PAGES(1);
	EXPECT_EQ(1, PIN());
	EXPECT_EQ(1, UNPIN());
	EXPECT_EQ(0, notifier_unregister(&self->vc, IOMMU_NOTIFY));
	EXPECT_EQ(-EINVAL, PIN());
	EXPECT_EQ(-ENOENT, notifier_unregister(&self->vc, IOMMU_NOTIFY));
}

/* there is no virtual machine */
TEST_F(vendor, no_kvm)
{
	EXPECT_EQ(0, notifier_register(&self->vc, GROUP_NOTIFY, 1));
	EXPECT_EQ(0, status_of(&self->vc).kvms);
	EXPECT_EQ(0, notifier_unregister(&self->vc, GROUP_NOTIFY));
}

TEST_F(vendor, mmap)
{
	unsigned char *both, *second;

	both = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		    self->vc.device, 0);
	ASSERT_NE(MAP_FAILED, both);
	second = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		      self->vc.device, PAGE);
	ASSERT_NE(MAP_FAILED, second);
	both[PAGE] = 0x5a;
	EXPECT_EQ(0x5a, second[0]);
	munmap(both, 2 * PAGE);
	munmap(second, PAGE);
}

#define DMA() vendor_do(&self->vc, MDEV_TEST_DMA, &self->dma)

TEST_F(vendor, dma)
{
	const unsigned int len = 5000, start = PAGE - 100;
	unsigned int i;

	for (i = 0; i < len; i++)
		self->mem[start + i] = i * 7;
	self->dma.iova = IOVA + start;
	self->dma.len = len;
	ASSERT_EQ(0, DMA());
	for (i = 0; i < len; i++)
		ASSERT_EQ((uint8_t)(i * 7), self->dma.data[i]);
	EXPECT_EQ(0, self->dma.data[len]);

	memset(self->dma.data, 0x5a, sizeof(self->dma.data));
	self->dma.write = 1;
	ASSERT_EQ(0, DMA());
	for (i = 0; i < len; i++)
		ASSERT_EQ(0x5a, self->mem[start + i]);
	EXPECT_NE(0x5a, self->mem[start - 1]);
	EXPECT_NE(0x5a, self->mem[start + len]);
}

TEST_F(vendor, dma_refused)
{
	self->dma.iova = IOVA;
	EXPECT_EQ(-EINVAL, DMA());
	self->dma.len = 8;
	EXPECT_EQ(0, DMA());
	self->dma.iova = IOVA + SIZE - 4;
	EXPECT_GT(0, DMA());
	self->dma.iova = IOVA - 8;
	EXPECT_EQ(self->unmapped, DMA());

	ASSERT_EQ(0, vfio_dma_map(&self->vc, self->mem, RO_IOVA, PAGE, false));
	self->dma.iova = RO_IOVA;
	EXPECT_EQ(0, DMA());
	self->dma.write = 1;
	EXPECT_EQ(-EPERM, DMA());
}

/*
 * Such a vendor describes its regions by its ioctl, into memory of the client. From
 * Linux 6.19 on, VFIO wants the description in kernel memory, and lays out itself
 * what the client gets of it.
 */

struct region_answer {
	struct vfio_region_info info;
	struct vfio_region_info_cap_sparse_mmap sparse;
	struct vfio_region_sparse_mmap_area area;
	struct vfio_region_info_cap_type type;
};

static const struct region_answer two_caps = {
	.info = {
		.argsz		= sizeof(two_caps),
		.flags		= VFIO_REGION_INFO_FLAG_READ |
				  VFIO_REGION_INFO_FLAG_CAPS,
		.cap_offset	= offsetof(struct region_answer, sparse),
		.size		= 0x3000,
		.offset		= 0x70000000,
	},
	.sparse = {
		.header = {
			.id		= VFIO_REGION_INFO_CAP_SPARSE_MMAP,
			.version	= 1,
			.next		= offsetof(struct region_answer, type),
		},
		.nr_areas	= 1,
	},
	.area = {
		.offset		= 0x1000,
		.size		= 0x2000,
	},
	.type = {
		.header = {
			.id		= VFIO_REGION_INFO_CAP_TYPE,
			.version	= 1,
		},
		.type		= 0x1234,
		.subtype	= 0x5678,
	},
};

/* the vendor's first @size bytes of @answer */
static int region_answers(struct vfio_client *vc, const struct region_answer *answer,
			  uint32_t size)
{
	struct mdev_test_region region = { .size = size };

	memcpy(region.answer, answer, size);
	return vendor_do(vc, MDEV_TEST_REGION, &region);
}

static int region_ask(struct vfio_client *vc, struct region_answer *answer,
		      uint32_t argsz)
{
	memset(answer, 0, sizeof(*answer));
	answer->info.argsz = argsz;
	return vendor_do(vc, VFIO_DEVICE_GET_REGION_INFO, answer);
}

TEST_F(vendor, region_capabilities)
{
	struct region_answer full;

	ASSERT_EQ(0, region_answers(&self->vc, &two_caps, sizeof(two_caps)));
	ASSERT_EQ(0, region_ask(&self->vc, &full, sizeof(full)));
	EXPECT_EQ(0, memcmp(&full, &two_caps, sizeof(full)));

	/* no room: how much is needed */
	ASSERT_EQ(0, region_ask(&self->vc, &full, sizeof(full.info)));
	EXPECT_EQ(sizeof(full), full.info.argsz);
	EXPECT_EQ(two_caps.info.flags, full.info.flags);
	EXPECT_EQ(two_caps.info.size, full.info.size);
	EXPECT_EQ(two_caps.info.offset, full.info.offset);
	EXPECT_EQ(0, full.sparse.header.id);

	/* a vendor that needs no more than it gets has none */
	full = two_caps;
	full.info.argsz = sizeof(full.info);
	ASSERT_EQ(0, region_answers(&self->vc, &full, sizeof(full.info)));
	ASSERT_EQ(0, region_ask(&self->vc, &full, sizeof(full)));
	EXPECT_EQ(two_caps.info.size, full.info.size);
	EXPECT_EQ(0, full.sparse.header.id);

	ASSERT_EQ(0, region_answers(&self->vc, &full, 0));
	EXPECT_EQ(-EINVAL, region_ask(&self->vc, &full, sizeof(full)));
}

TEST_F(vendor, region_capabilities_are_nonsense)
{
	const uint32_t size = sizeof(two_caps);
	static const struct {
		uint32_t first;
		uint16_t next;
	} chains[] = {
		{ 1, 0 },					/* into itself */
		{ sizeof(struct vfio_region_info) - 1, 0 },
		{ size - sizeof(struct vfio_info_cap_header) + 1, 0 },
		{ size, 0 },					/* out of it */
		{ UINT32_MAX, 0 },
		{ offsetof(struct region_answer, sparse), 1 },	/* backwards */
		{ offsetof(struct region_answer, sparse),	/* a circle */
		  offsetof(struct region_answer, sparse) },
		{ offsetof(struct region_answer, sparse),	/* too narrow */
		  offsetof(struct region_answer, sparse) + 4 },
		{ offsetof(struct region_answer, sparse), size - 4 },
		{ offsetof(struct region_answer, sparse), UINT16_MAX },
	};
	struct region_answer answer, got;
	unsigned int i;

	if (!linux_since(6, 19))
		SKIP(return, "this VFIO leaves it all to the vendor");
	for (i = 0; i < ARRAY_SIZE(chains); i++) {
		answer = two_caps;
		answer.info.cap_offset = chains[i].first;
		answer.sparse.header.next = chains[i].next;
		ASSERT_EQ(0, region_answers(&self->vc, &answer, size));
		EXPECT_EQ(-EIO, region_ask(&self->vc, &got, size))
			TH_LOG("chain %u", i);
	}

	/* more than it has, or more than anybody needs */
	answer = two_caps;
	answer.info.argsz = size + 64;
	ASSERT_EQ(0, region_answers(&self->vc, &answer, size));
	EXPECT_EQ(0, region_ask(&self->vc, &got, size));
	EXPECT_EQ(size + 64, got.info.argsz);
	answer.info.argsz = UINT32_MAX;
	ASSERT_EQ(0, region_answers(&self->vc, &answer, size));
	EXPECT_EQ(-E2BIG, region_ask(&self->vc, &got, size));
}

/*
 * What differs between 5.12 and 5.13 is how a type is named to the vendor.
 */

FIXTURE(form) {
	char uuid[UUID_LEN + 1];
};

FIXTURE_VARIANT(form) {
	const char *module;
};

FIXTURE_VARIANT_ADD(form, of_5_10) {
	.module = "mdev_test_classic",
};

FIXTURE_VARIANT_ADD(form, of_5_13) {
	.module = "mdev_test_classic_5_13",
};

FIXTURE_SETUP(form)
{
	ASSERT_EQ(0, vendors_reset());
	ASSERT_TRUE(vfio_use_iommufd(false));
	ASSERT_EQ(0, module_load("vfio_iommu_type1"));
	ASSERT_EQ(0, module_load(variant->module));
	uuid_next(self->uuid);
}

FIXTURE_TEARDOWN(form)
{
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(form, types)
{
	char buf[64];

	ASSERT_LT(0, file_read(buf, sizeof(buf), MDEV_CLASS "/" PARENT
			       "/mdev_supported_types/platform-a/name"));
	EXPECT_STREQ("platform-a of " PARENT, buf);
	ASSERT_LT(0, file_read(buf, sizeof(buf), MDEV_CLASS "/" PARENT
			       "/mdev_supported_types/platform-b/name"));
	EXPECT_STREQ("platform-b of " PARENT, buf);
}

TEST_F(form, devices)
{
	static const char * const types[] = { TYPE_A, TYPE_B };
	struct vfio_client vc;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		ASSERT_EQ(0, mdev_create(types[i], self->uuid));
		ASSERT_EQ(0, vfio_open(&vc, self->uuid));
		EXPECT_EQ(i, status_of(&vc).type_id);
		EXPECT_EQ(0, notifier_register(&vc, IOMMU_NOTIFY, 1));
		vfio_close(&vc);
		ASSERT_EQ(0, mdev_remove(self->uuid));
	}
}

/*
 * A client that is a virtual machine. There is no group to tell KVM of with
 * iommufd; what it is told of then, VFIO does not need to know.
 */

FIXTURE(kvm) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
	int kvm;
	int vm;
};

/* A virtual machine that has the group, and for which the device is opened. */
static int vm_open(int kvm, struct vfio_client *vc, const char *uuid)
{
	struct kvm_create_device dev = { .type = KVM_DEV_TYPE_VFIO };
	struct kvm_device_attr attr = {
		.group	= KVM_DEV_VFIO_GROUP,
		.attr	= KVM_DEV_VFIO_GROUP_ADD,
		.addr	= (uintptr_t)&vc->group,
	};
	int vm, ret;

	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0 || ioctl(vm, KVM_CREATE_DEVICE, &dev))
		return -errno;
	ret = vfio_ioctl(dev.fd, KVM_SET_DEVICE_ATTR, &attr) ?:
	      vfio_open_device(vc, uuid);
	close(dev.fd);
	return ret ?: vm;
}

FIXTURE_SETUP(kvm)
{
	ASSERT_EQ(0, vendors_reset());
	module_load("kvm_amd");
	self->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (self->kvm < 0)
		SKIP(return, "no KVM in this kernel, or on this processor");
	ASSERT_TRUE(vfio_use_iommufd(false));
	ASSERT_EQ(0, module_load("vfio_iommu_type1"));
	ASSERT_EQ(0, module_load("mdev_test_classic"));
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(TYPE_A, self->uuid));
	ASSERT_EQ(0, vfio_attach(&self->vc, self->uuid));
	self->vm = vm_open(self->kvm, &self->vc, self->uuid);
	ASSERT_LE(0, self->vm);
}

FIXTURE_TEARDOWN(kvm)
{
	vfio_close(&self->vc);
	close(self->vm);
	close(self->kvm);
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, vendors_reset());
}

TEST_F(kvm, told_at_once)
{
	struct mdev_test_status status;
	int i;

	for (i = 1; i < 4; i++) {
		ASSERT_EQ(0, notifier_register(&self->vc, GROUP_NOTIFY, 1));
		status = status_of(&self->vc);
		EXPECT_EQ(i, status.kvms);
		EXPECT_EQ(1, status.has_kvm);
		ASSERT_EQ(0, notifier_unregister(&self->vc, GROUP_NOTIFY));
	}
}

/*
 * The virtual machine is there until the vendor has released the device, whatever its
 * owner closes before.
 */
TEST_F(kvm, outlives_its_fd)
{
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, notifier_register(&self->vc, GROUP_NOTIFY, 1));
		ASSERT_EQ(1, status_of(&self->vc).has_kvm);
		close(self->vm);
		vfio_close_device(&self->vc);
		self->vm = vm_open(self->kvm, &self->vc, self->uuid);
		ASSERT_LE(0, self->vm);
		EXPECT_EQ(1, status_of(&self->vc).kvm_users);
	}
}

/* nor if it was that of a process that is gone, with all its memory */
TEST_F(kvm, outlives_its_owner)
{
	int fds[2], fd;
	pid_t pid;

	vfio_close_device(&self->vc);
	close(self->vm);
	ASSERT_EQ(0, pipe2(fds, O_CLOEXEC));
	pid = fork_child();
	if (!pid) {
		if (vm_open(self->kvm, &self->vc, self->uuid) >= 0 &&
		    !notifier_register(&self->vc, GROUP_NOTIFY, 1) &&
		    write(fds[1], &self->vc.device, sizeof(int)) > 0)
			pause();
		child_exit(-EIO);
	}
	close(fds[1]);
	ASSERT_EQ(sizeof(fd), read(fds[0], &fd, sizeof(fd)));
	self->vc.device = fd_of(pid, fd);
	ASSERT_LE(0, self->vc.device);
	kill(pid, SIGKILL);
	ASSERT_EQ(-ECANCELED, child_wait(pid));
	EXPECT_EQ(1, status_of(&self->vc).has_kvm);
	vfio_close_device(&self->vc);
	self->vm = vm_open(self->kvm, &self->vc, self->uuid);
	ASSERT_LE(0, self->vm);
	EXPECT_EQ(1, status_of(&self->vc).kvm_users);
	close(fds[0]);
}

TEST_HARNESS_MAIN
