// SPDX-License-Identifier: GPL-2.0-only
/*
 * The contents of configuration space.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci_regs.h>

#include "mdev_pci_private.h"

/* the register of four aligned bytes that @offset is in */
#define MDEV_PCI_REG(_offset)	((_offset) & ~3U)

static u32 mdev_pci_reg(const u8 *config, unsigned int reg)
{
	return le32_to_cpu(READ_ONCE(*(const __le32 *)(config + reg)));
}

/* the bits of a register that are @width bytes at @offset */
static u32 mdev_pci_reg_bits(unsigned int offset, unsigned int width)
{
	return U32_MAX >> (32 - width * 8) << offset % 4 * 8;
}

/* Change the bits of @mask. */
static void mdev_pci_reg_change(struct mdev_pci *pci, unsigned int reg, u32 mask,
				u32 val)
{
	lockdep_assert_held(&pci->lock);
	val = (mdev_pci_reg(pci->config, reg) & ~mask) | (val & mask);
	WRITE_ONCE(*(__le32 *)(pci->config + reg), cpu_to_le32(val));
}

static void mdev_pci_regs_set(struct mdev_pci *pci, const u8 *from)
{
	unsigned int reg;
	__le32 val;

	for (reg = 0; reg < pci->config_end; reg += 4) {
		memcpy(&val, from + reg, sizeof(val));
		mdev_pci_reg_change(pci, reg, ~0U, le32_to_cpu(val));
	}
}

u32 mdev_pci_config_get(const struct mdev_pci *pci, unsigned int offset,
			unsigned int width)
{
	unsigned int reg = MDEV_PCI_REG(offset);
	u32 val = 0;

	if (reg < pci->config_end)
		val = mdev_pci_reg(pci->config, reg);
	/* this bit does not depend on PCI_COMMAND_INTX_DISABLE */
	if (reg == PCI_COMMAND && READ_ONCE(pci->line))
		val |= PCI_STATUS_INTERRUPT << 16;
	return (val & mdev_pci_reg_bits(offset, width)) >> offset % 4 * 8;
}

/* Update which regions are decoded. Those that are no BARs always are. */
void mdev_pci_config_decode(struct mdev_pci *pci)
{
	u8 command = pci->config[PCI_COMMAND];
	u32 decoded = ~0U;
	unsigned int i;

	lockdep_assert_held(&pci->lock);
	for (i = 0; i < min(pci->desc->nr_regions, MDEV_PCI_BARS); i++) {
		u8 bit = pci->desc->regions[i].flags & MDEV_PCI_IO ?
			 PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

		if (!(command & bit) || mdev_pci_in_d3(pci))
			decoded &= ~BIT(i);
	}
	WRITE_ONCE(pci->decoded_regions, decoded);
}

/* Change those bits that can be written. */
void mdev_pci_config_put(struct mdev_pci *pci, unsigned int offset,
			 unsigned int width, u32 val)
{
	u32 mask = mdev_pci_reg_bits(offset, width), state;
	unsigned int reg = MDEV_PCI_REG(offset);
	bool is_pm = pci->pm && reg == pci->pm + PCI_PM_CTRL;

	lockdep_assert_held(&pci->lock);
	if (reg >= pci->config_end)
		return;
	val <<= offset % 4 * 8;
	mask &= mdev_pci_reg(pci->config_writable, reg);
	/* a write of a power state that it does not have is ignored */
	state = val & PCI_PM_CTRL_STATE_MASK;
	if (is_pm && state && state != (__force u32)PCI_D3hot)
		mask &= ~PCI_PM_CTRL_STATE_MASK;
	mdev_pci_reg_change(pci, reg, mask, val);
	if (reg == PCI_COMMAND || is_pm)
		mdev_pci_config_decode(pci);
}

void mdev_pci_config_reset(struct mdev_pci *pci)
{
	lockdep_assert_held(&pci->lock);
	mdev_pci_regs_set(pci, pci->config_reset);
	mdev_pci_config_decode(pci);
}

/* ---- For migration ---- */

/* Read-only bits are saved as after a reset: mdev_pci_set_config() may have changed them. */
void mdev_pci_config_save(struct mdev_pci *pci, u8 *to)
{
	unsigned int i;

	lockdep_assert_held(&pci->lock);
	memset(to, 0, pci->config_size);
	for (i = 0; i < pci->config_end; i++)
		to[i] = (pci->config[i] & pci->config_writable[i]) |
			(pci->config_reset[i] & ~pci->config_writable[i]);
}

/* Can a device have these contents? They come from user space. */
bool mdev_pci_config_valid(const struct mdev_pci *pci, const u8 *from)
{
	unsigned int i, state;

	for (i = 0; i < pci->config_end; i++)
		if ((from[i] ^ pci->config_reset[i]) & ~pci->config_writable[i])
			return false;
	if (pci->pm) {
		state = from[pci->pm + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK;
		if (state && state != (__force u32)PCI_D3hot)
			return false;
	}
	return !memchr_inv(from + i, 0, pci->config_size - i);
}

void mdev_pci_config_load(struct mdev_pci *pci, const u8 *from)
{
	lockdep_assert_held(&pci->lock);
	mdev_pci_regs_set(pci, from);
	mdev_pci_config_decode(pci);
}

/* ---- For the vendor ---- */

/* Is it within configuration space, and within four aligned bytes? */
static bool mdev_pci_config_fits(const struct mdev_pci *pci,
				 unsigned int offset, unsigned int width)
{
	return width && width <= 4 && offset % 4 + width <= 4 &&
	       offset < pci->config_size;
}

/**
 * mdev_pci_read_config - read configuration space
 * @pci: the device
 * @offset: in configuration space
 * @width: 1 to 4 bytes, within four aligned ones
 *
 * Context: any.
 * Return: the value; all ones if @offset or @width is not valid.
 */
u32 mdev_pci_read_config(struct mdev_pci *pci, unsigned int offset,
			 unsigned int width)
{
	return mdev_pci_config_fits(pci, offset, width) ?
	       mdev_pci_config_get(pci, offset, width) : U32_MAX;
}
EXPORT_SYMBOL_GPL(mdev_pci_read_config);

/**
 * mdev_pci_set_config - set configuration space, also read-only bits
 * @pci: the device
 * @offset: in a capability of the vendor's
 * @width: 1 to 4 bytes, within four aligned ones
 * @val: the value
 *
 * This has no effect but the new contents, and none at all if @offset or @width is not
 * valid. Read-only bits do not migrate: the vendor sets them again in its @resume.
 *
 * Context: any where a spinlock may be taken, which sleeps on PREEMPT_RT.
 */
void mdev_pci_set_config(struct mdev_pci *pci, unsigned int offset,
			 unsigned int width, u32 val)
{
	unsigned long flags;

	if (!mdev_pci_config_fits(pci, offset, width) ||
	    offset >= pci->config_end)
		return;
	spin_lock_irqsave(&pci->lock, flags);
	mdev_pci_reg_change(pci, MDEV_PCI_REG(offset),
			    mdev_pci_reg_bits(offset, width),
			    val << offset % 4 * 8);
	spin_unlock_irqrestore(&pci->lock, flags);
}
EXPORT_SYMBOL_GPL(mdev_pci_set_config);

/**
 * mdev_pci_find_capability - find a capability
 * @pci: the device
 * @id: PCI_CAP_ID_*
 *
 * Context: any.
 * Return: its offset in configuration space; 0 if there is none.
 */
unsigned int mdev_pci_find_capability(struct mdev_pci *pci, u8 id)
{
	unsigned int at = pci->config_reset[PCI_CAPABILITY_LIST];

	while (at && pci->config_reset[at] != id)
		at = pci->config_reset[at + PCI_CAP_LIST_NEXT];
	return at;
}
EXPORT_SYMBOL_GPL(mdev_pci_find_capability);
