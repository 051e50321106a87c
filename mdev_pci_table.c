// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vendor's tables: check them, and fill configuration space in from them.
 *
 * They are checked when the vendor registers. The log names the entry that is not valid, so
 * that a mistake need not be searched for in a guest.
 */
#include <linux/bitfield.h>
#include <linux/device.h>
#include <linux/log2.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "mdev_pci_private.h"

#define MDEV_PCI_MSI_SIZE	(PCI_MSI_DATA_64 + 2)
#define MDEV_PCI_EXP_SIZE	0x3c	/* of version 2 */
#define MDEV_PCI_AF_SIZE	(PCI_AF_STATUS + 1)

#define MDEV_PCI_ROM_MIN	2048
#define MDEV_PCI_MEM_MIN	16
#define MDEV_PCI_IO_MIN		4
#define MDEV_PCI_IO_MAX		256

/* fields and memory; a stream, which is in one piece of memory, has a bit more */
#define MDEV_PCI_STATE_MAX	(INT_MAX - SZ_64K)

#define mdev_pci_wrong(dev, fmt, ...) \
	({ dev_err(dev, "PCI tables: " fmt "\n", ##__VA_ARGS__); -EINVAL; })

/* ---- Where the capabilities are ---- */

static unsigned int mdev_pci_cap_size(const struct mdev_pci_cap *cap)
{
	if (cap->flags & MDEV_PCI_CAP_EXT)
		return 4 + cap->size;
	if (cap->size)
		return PCI_CAP_SIZEOF - 2 + cap->size;
	switch (cap->id) {
	case PCI_CAP_ID_PM:
		return PCI_PM_SIZEOF;
	case PCI_CAP_ID_MSI:
		return MDEV_PCI_MSI_SIZE;
	case PCI_CAP_ID_MSIX:
		return PCI_CAP_MSIX_SIZEOF;
	case PCI_CAP_ID_EXP:
		return MDEV_PCI_EXP_SIZE;
	case PCI_CAP_ID_AF:
		return MDEV_PCI_AF_SIZE;
	}
	return PCI_CAP_SIZEOF - 2;
}

/* Returns the offset of capability @n; @end is the offset behind it. */
static unsigned int mdev_pci_cap_offset(const struct mdev_pci_desc *desc,
					unsigned int n, unsigned int *end)
{
	bool ext = desc->caps[n].flags & MDEV_PCI_CAP_EXT;
	unsigned int at = 0, next, i;

	next = ext ? PCI_CFG_SPACE_SIZE : PCI_STD_HEADER_SIZEOF;
	for (i = 0; i <= n; i++) {
		const struct mdev_pci_cap *cap = &desc->caps[i];

		if (!(cap->flags & MDEV_PCI_CAP_EXT) != !ext)
			continue;
		at = cap->offset ?: next;
		next = ALIGN(at + mdev_pci_cap_size(cap), 4);
	}
	*end = next;
	return at;
}

static const struct mdev_pci_cap *mdev_pci_cap(const struct mdev_pci_desc *desc,
					       u8 id)
{
	unsigned int i;

	for (i = 0; i < desc->nr_caps; i++)
		if (desc->caps[i].id == id &&
		    !(desc->caps[i].flags & MDEV_PCI_CAP_EXT))
			return &desc->caps[i];
	return NULL;
}

/* ---- Checks ---- */

static bool mdev_pci_msix_fits(const struct mdev_pci_desc *desc, u32 where,
			       u64 size)
{
	unsigned int bar = where & PCI_MSIX_TABLE_BIR;
	u64 offset = where & PCI_MSIX_TABLE_OFFSET;
	const struct mdev_pci_region *region;

	if (bar >= MDEV_PCI_BARS || bar >= desc->nr_regions)
		return false;
	region = &desc->regions[bar];
	return !(region->flags & (MDEV_PCI_IO | MDEV_PCI_RAM)) &&
	       !region->access && offset < region->size &&
	       size <= region->size - offset;
}

static int mdev_pci_check_cap(struct device *dev,
			      const struct mdev_pci_desc *desc, unsigned int n)
{
	const struct mdev_pci_cap *cap = &desc->caps[n];
	bool ext = cap->flags & MDEV_PCI_CAP_EXT;
	unsigned int at, before = 0, end, i;

	if (n && !ext && desc->caps[n - 1].flags & MDEV_PCI_CAP_EXT)
		return mdev_pci_wrong(dev, "capability %u: extended ones come last", n);
	at = mdev_pci_cap_offset(desc, n, &end);
	if (n && !(desc->caps[n - 1].flags & MDEV_PCI_CAP_EXT) == !ext)
		mdev_pci_cap_offset(desc, n - 1, &before);
	if (at % 4 || at < before || at < (ext ? 256 : 64) ||
	    end > (ext ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE))
		return mdev_pci_wrong(dev, "capability %u cannot be at %#x", n, at);
	/* the chain begins there */
	if (ext && !before && at != PCI_CFG_SPACE_SIZE)
		return mdev_pci_wrong(dev, "no extended capability at 0x100");
	if (ext && !mdev_pci_cap(desc, PCI_CAP_ID_EXP))
		return mdev_pci_wrong(dev, "extended capability without PCI Express");
	if (cap->size && !cap->data)
		return mdev_pci_wrong(dev, "capability %u has no data", n);
	for (i = 0; i < n && !cap->size; i++)
		if (desc->caps[i].id == cap->id && !desc->caps[i].size)
			return mdev_pci_wrong(dev, "capability %u is there twice", n);

	if (ext)
		return 0;
	if (cap->id == PCI_CAP_ID_MSI &&
	    (!is_power_of_2(cap->vectors) || cap->vectors > 32))
		return mdev_pci_wrong(dev, "MSI: %u vectors", cap->vectors);
	if (cap->id == PCI_CAP_ID_MSIX &&
	    (!cap->vectors || cap->vectors > PCI_MSIX_FLAGS_QSIZE + 1 ||
	     !mdev_pci_msix_fits(desc, cap->table,
				 cap->vectors * MDEV_PCI_MSIX_ENTRY) ||
	     !mdev_pci_msix_fits(desc, cap->pba,
				 DIV_ROUND_UP(cap->vectors, 64) * 8)))
		return mdev_pci_wrong(dev, "MSI-X: %u vectors, table %#x, PBA %#x",
				      cap->vectors, cap->table, cap->pba);
	return 0;
}

static bool mdev_pci_bar_size_valid(const struct mdev_pci_region *region)
{
	if (!is_power_of_2(region->size))
		return false;
	if (region->flags & MDEV_PCI_IO)
		return region->size >= MDEV_PCI_IO_MIN &&
		       region->size <= MDEV_PCI_IO_MAX;
	return region->size >= MDEV_PCI_MEM_MIN &&
	       (region->flags & MDEV_PCI_64 || region->size <= SZ_2G);
}

static int mdev_pci_check_region(struct device *dev,
				 const struct mdev_pci_desc *desc,
				 unsigned int n)
{
	const struct mdev_pci_region *region = &desc->regions[n], *next;

	if (!region->size)
		return 0;
	if (n == VFIO_PCI_CONFIG_REGION_INDEX || n == VFIO_PCI_VGA_REGION_INDEX)
		return mdev_pci_wrong(dev, "region %u is not for vendors", n);
	if (region->size >= BIT_ULL(MDEV_PCI_OFFSET_SHIFT))
		return mdev_pci_wrong(dev, "region %u is too large", n);
	if (n < MDEV_PCI_BARS && !mdev_pci_bar_size_valid(region))
		return mdev_pci_wrong(dev, "BAR %u: %llu bytes", n, region->size);
	if (n == VFIO_PCI_ROM_REGION_INDEX &&
	    (!is_power_of_2(region->size) || region->size < MDEV_PCI_ROM_MIN))
		return mdev_pci_wrong(dev, "ROM: %llu bytes", region->size);
	/* whether the kernel's pages are larger is not up to the vendor */
	if ((region->flags & MDEV_PCI_RAM || region->mmap) && region->size % SZ_4K)
		return mdev_pci_wrong(dev, "region %u: not whole pages", n);
	if (region->flags & MDEV_PCI_64) {
		next = n + 1 < desc->nr_regions ? region + 1 : NULL;
		if (n >= MDEV_PCI_BARS - 1 || (next && next->size) ||
		    region->flags & MDEV_PCI_IO)
			return mdev_pci_wrong(dev, "BAR %u cannot have 64 bits", n);
	}
	if ((region->read || region->write || region->width) &&
	    (!is_power_of_2(region->width) || region->width > 8 ||
	     region->min_width > region->width))
		return mdev_pci_wrong(dev, "region %u: %u to %u bytes wide", n,
				      region->min_width, region->width);
	return 0;
}

static int mdev_pci_check_migration(struct device *dev,
				    const struct mdev_pci_desc *desc)
{
	const struct mdev_pci_migration *mig = desc->migration;
	u64 size = 0;
	unsigned int i;

	if (!mig->version || mig->min_version > mig->version)
		return mdev_pci_wrong(dev, "migration: version %u, minimum %u",
				      mig->version, mig->min_version);
	if (mig->state_offset + mig->state_size > desc->size)
		return mdev_pci_wrong(dev, "migration: state is not in the device");
	for (i = 0; i < mig->nr_fields; i++) {
		const struct mdev_pci_field *field = &mig->fields[i];

		if (!is_power_of_2(field->size) || field->size > 8 ||
		    !field->count || field->version > mig->version ||
		    field->offset + field->size * field->count > mig->state_size)
			return mdev_pci_wrong(dev, "migration: field %u", i);
		size += field->size * field->count;
	}
	for (i = 0; i < desc->nr_regions; i++)
		if (desc->regions[i].flags & MDEV_PCI_RAM)
			size += desc->regions[i].size;
	if (size > MDEV_PCI_STATE_MAX)
		return mdev_pci_wrong(dev, "migration: %llu bytes", size);
	return 0;
}

/* Returns 0; or -EINVAL, after a message for @dev. */
int mdev_pci_check_desc(struct device *dev, const struct mdev_pci_desc *desc)
{
	unsigned int i;
	int ret = 0;

	if (!desc->ops || desc->class >> 24 ||
	    desc->nr_regions > MDEV_PCI_MAX_REGIONS ||
	    desc->offset + sizeof(struct mdev_pci) > desc->size)
		return mdev_pci_wrong(dev, "%04x:%04x: not a device", desc->vendor,
				      desc->device);
	for (i = 0; i < desc->nr_regions && !ret; i++)
		ret = mdev_pci_check_region(dev, desc, i);
	for (i = 0; i < desc->nr_caps && !ret; i++)
		ret = mdev_pci_check_cap(dev, desc, i);
	if (!ret && desc->migration)
		ret = mdev_pci_check_migration(dev, desc);
	return ret;
}

/* ---- Configuration space ---- */

static void mdev_pci_put16(u8 *to, unsigned int where, u16 val)
{
	to[where] = val;
	to[where + 1] = val >> 8;
}

static void mdev_pci_put32(u8 *to, unsigned int where, u32 val)
{
	mdev_pci_put16(to, where, val);
	mdev_pci_put16(to, where + 2, val >> 16);
}

static void mdev_pci_fill_bar(struct mdev_pci *pci, unsigned int n,
			      const struct mdev_pci_region *region)
{
	unsigned int at = PCI_BASE_ADDRESS_0 + 4 * n;
	u64 mask = ~(region->size - 1);
	u32 bits = 0;

	if (region->flags & MDEV_PCI_IO)
		bits |= PCI_BASE_ADDRESS_SPACE_IO;
	if (region->flags & MDEV_PCI_64)
		bits |= PCI_BASE_ADDRESS_MEM_TYPE_64;
	if (region->flags & MDEV_PCI_PREFETCH)
		bits |= PCI_BASE_ADDRESS_MEM_PREFETCH;
	mdev_pci_put32(pci->config_reset, at, bits);
	mdev_pci_put32(pci->config_writable, at, mask);
	if (region->flags & MDEV_PCI_64)
		mdev_pci_put32(pci->config_writable, at + 4, mask >> 32);
}

static void mdev_pci_fill_header(struct mdev_pci *pci)
{
	const struct mdev_pci_desc *desc = pci->desc;
	const struct mdev_pci_region *region;
	u8 *reset = pci->config_reset, *writable = pci->config_writable;
	u16 command = 0, can = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
			       PCI_COMMAND_INTX_DISABLE;
	unsigned int i;

	for (i = 0; i < MDEV_PCI_BARS; i++) {
		region = mdev_pci_region(pci, i);
		if (!region)
			continue;
		mdev_pci_fill_bar(pci, i, region);
		command |= region->flags & MDEV_PCI_IO ? PCI_COMMAND_IO :
							 PCI_COMMAND_MEMORY;
	}
	region = mdev_pci_region(pci, VFIO_PCI_ROM_REGION_INDEX);
	if (region)
		mdev_pci_put32(writable, PCI_ROM_ADDRESS,
			       ~((u32)region->size - 1) | PCI_ROM_ADDRESS_ENABLE);

	mdev_pci_put16(reset, PCI_VENDOR_ID, desc->vendor);
	mdev_pci_put16(reset, PCI_DEVICE_ID, desc->device);
	/* VFIO devices start enabled, except for DMA, as with vfio-pci */
	mdev_pci_put16(reset, PCI_COMMAND, command);
	mdev_pci_put16(writable, PCI_COMMAND, can | (command & PCI_COMMAND_IO));
	mdev_pci_put32(reset, PCI_CLASS_REVISION,
		       desc->class << 8 | desc->revision);
	mdev_pci_put16(reset, PCI_SUBSYSTEM_VENDOR_ID,
		       desc->subvendor ?: desc->vendor);
	mdev_pci_put16(reset, PCI_SUBSYSTEM_ID, desc->subdevice ?: desc->device);
	if (desc->intx) {
		reset[PCI_INTERRUPT_PIN] = 1;
		writable[PCI_INTERRUPT_LINE] = 0xff;
	}
}

/* An endpoint of 2.5 GT/s and one lane, with nothing that is optional. */
static void mdev_pci_fill_exp(struct mdev_pci *pci, u8 *reset, u8 *writable,
			      const struct mdev_pci_cap *cap)
{
	u32 devcap = PCI_EXP_DEVCAP_RBER, width;

	if (cap->flags & MDEV_PCI_CAP_FLR)
		devcap |= PCI_EXP_DEVCAP_FLR;
	width = FIELD_PREP(PCI_EXP_LNKCAP_MLW, 1);
	mdev_pci_put16(reset, PCI_EXP_FLAGS, 2 | PCI_EXP_TYPE_ENDPOINT << 4);
	mdev_pci_put32(reset, PCI_EXP_DEVCAP, devcap);
	mdev_pci_put16(writable, PCI_EXP_DEVCTL,
		       PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE |
		       PCI_EXP_DEVCTL_FERE | PCI_EXP_DEVCTL_URRE |
		       PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_PAYLOAD |
		       PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ);
	mdev_pci_put16(reset, PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_RELAX_EN |
		       PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ_512B);
	mdev_pci_put32(reset, PCI_EXP_LNKCAP, PCI_EXP_LNKCAP_SLS_2_5GB | width);
	mdev_pci_put16(writable, PCI_EXP_LNKCTL, PCI_EXP_LNKCTL_ASPMC |
		       PCI_EXP_LNKCTL_RCB | PCI_EXP_LNKCTL_CCC);
	mdev_pci_put16(reset, PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_CLS_2_5GB | width);
	mdev_pci_put32(reset, PCI_EXP_LNKCAP2, PCI_EXP_LNKCAP2_SLS_2_5GB);
}

static void mdev_pci_fill_msi(struct mdev_pci *pci, u8 *reset, u8 *writable,
			      const struct mdev_pci_cap *cap)
{
	u16 can = PCI_MSI_FLAGS_ENABLE;

	if (cap->vectors > 1)
		can |= PCI_MSI_FLAGS_QSIZE;
	mdev_pci_put16(reset, PCI_MSI_FLAGS, PCI_MSI_FLAGS_64BIT |
		       FIELD_PREP(PCI_MSI_FLAGS_QMASK, ilog2(cap->vectors)));
	mdev_pci_put16(writable, PCI_MSI_FLAGS, can);
	mdev_pci_put32(writable, PCI_MSI_ADDRESS_LO, ~3);
	mdev_pci_put32(writable, PCI_MSI_ADDRESS_HI, ~0);
	mdev_pci_put16(writable, PCI_MSI_DATA_64, ~0);
	pci->nr_vectors[0] = cap->vectors;
}

/* Fill in what follows the header of a capability at @at. */
static void mdev_pci_fill_cap(struct mdev_pci *pci, unsigned int at,
			      const struct mdev_pci_cap *cap)
{
	unsigned int header = cap->flags & MDEV_PCI_CAP_EXT ? 4 : 2;
	u8 *reset = pci->config_reset + at;
	u8 *writable = pci->config_writable + at;

	if (cap->size) {
		memcpy(reset + header, cap->data, cap->size);
		if (cap->writable)
			memcpy(writable + header, cap->writable, cap->size);
		return;
	}
	switch (cap->id) {
	case PCI_CAP_ID_PM:
		mdev_pci_put16(reset, PCI_PM_PMC, 3);
		mdev_pci_put16(reset, PCI_PM_CTRL,
			       cap->flags & MDEV_PCI_CAP_NO_SOFT_RESET ?
			       PCI_PM_CTRL_NO_SOFT_RESET : 0);
		mdev_pci_put16(writable, PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
		pci->pm = at;
		break;
	case PCI_CAP_ID_MSI:
		mdev_pci_fill_msi(pci, reset, writable, cap);
		break;
	case PCI_CAP_ID_MSIX:
		mdev_pci_put16(reset, PCI_MSIX_FLAGS, cap->vectors - 1);
		mdev_pci_put16(writable, PCI_MSIX_FLAGS,
			       PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
		mdev_pci_put32(reset, PCI_MSIX_TABLE, cap->table);
		mdev_pci_put32(reset, PCI_MSIX_PBA, cap->pba);
		pci->nr_vectors[1] = cap->vectors;
		pci->msix = cap;
		break;
	case PCI_CAP_ID_EXP:
		mdev_pci_fill_exp(pci, reset, writable, cap);
		if (cap->flags & MDEV_PCI_CAP_FLR)
			pci->exp = at;
		break;
	case PCI_CAP_ID_AF:
		reset[PCI_AF_LENGTH] = MDEV_PCI_AF_SIZE;
		reset[PCI_AF_CAP] = PCI_AF_CAP_TP | PCI_AF_CAP_FLR;
		pci->af = at;
		break;
	}
}

static void mdev_pci_fill_caps(struct mdev_pci *pci)
{
	const struct mdev_pci_desc *desc = pci->desc;
	unsigned int last = 0, at, end, i;
	u8 *reset = pci->config_reset;

	for (i = 0; i < desc->nr_caps; i++) {
		const struct mdev_pci_cap *cap = &desc->caps[i];

		at = mdev_pci_cap_offset(desc, i, &end);
		if (cap->flags & MDEV_PCI_CAP_EXT) {
			/* the version is 1; bits 20 on lead to the next one */
			mdev_pci_put32(reset, at, cap->id | 1 << 16);
			if (last >= PCI_CFG_SPACE_SIZE)
				mdev_pci_put16(reset, last + 2, 1 | at << 4);
		} else {
			reset[at] = cap->id;
			reset[last ? last + PCI_CAP_LIST_NEXT :
				     PCI_CAPABILITY_LIST] = at;
			reset[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
		}
		mdev_pci_fill_cap(pci, at, cap);
		last = at;
	}
}

/* For a description that mdev_pci_check_desc() has accepted. */
int mdev_pci_config_init(struct mdev_pci *pci)
{
	const struct mdev_pci_desc *desc = pci->desc;
	unsigned int end = PCI_CFG_SPACE_SIZE;

	if (desc->nr_caps &&
	    desc->caps[desc->nr_caps - 1].flags & MDEV_PCI_CAP_EXT)
		mdev_pci_cap_offset(desc, desc->nr_caps - 1, &end);
	end = ALIGN(end, 4);
	pci->config = kzalloc(3 * end, GFP_KERNEL);
	if (!pci->config)
		return -ENOMEM;
	pci->config_reset = pci->config + end;
	pci->config_writable = pci->config_reset + end;
	pci->config_end = end;
	pci->config_size = mdev_pci_cap(desc, PCI_CAP_ID_EXP) ?
			   PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE;
	mdev_pci_fill_header(pci);
	mdev_pci_fill_caps(pci);
	return 0;
}

void mdev_pci_config_exit(struct mdev_pci *pci)
{
	kfree(pci->config);
}
