// SPDX-License-Identifier: GPL-2.0-only
/*
 * The contents of configuration space.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci_regs.h>

#include "mdev_pci_private.h"

static u8 mdev_pci_config_byte(const struct mdev_pci *pci, unsigned int offset)
{
	u8 val = offset < pci->config_end ? pci->config[offset] : 0;

	/* this bit does not depend on PCI_COMMAND_INTX_DISABLE */
	if (offset == PCI_STATUS && pci->line)
		val |= PCI_STATUS_INTERRUPT;
	return val;
}

static u32 mdev_pci_config_get(const struct mdev_pci *pci, unsigned int offset,
			       unsigned int width)
{
	u32 val = 0;

	lockdep_assert_held(&pci->lock);
	while (width--)
		val = val << 8 | mdev_pci_config_byte(pci, offset + width);
	return val;
}

bool mdev_pci_in_d3(const struct mdev_pci *pci)
{
	return pci->pm && (pci->config[pci->pm + PCI_PM_CTRL] &
			   PCI_PM_CTRL_STATE_MASK);
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
	WRITE_ONCE(pci->decoded, decoded);
}

static void mdev_pci_config_put_byte(struct mdev_pci *pci, unsigned int offset,
				     u8 val)
{
	u8 mask = pci->config_writable[offset];

	/* a write of a power state that it does not have is ignored */
	if (pci->pm && offset == pci->pm + PCI_PM_CTRL &&
	    (val & PCI_PM_CTRL_STATE_MASK) &&
	    (val & PCI_PM_CTRL_STATE_MASK) != (__force u32)PCI_D3hot)
		mask &= ~PCI_PM_CTRL_STATE_MASK;
	pci->config[offset] = (pci->config[offset] & ~mask) | (val & mask);
}

/* Change those bits that can be written. */
void mdev_pci_config_put(struct mdev_pci *pci, unsigned int offset,
			 unsigned int width, u32 val)
{
	lockdep_assert_held(&pci->lock);
	if (offset + width > pci->config_end)
		return;
	for (; width--; val >>= 8)
		mdev_pci_config_put_byte(pci, offset++, val);
	mdev_pci_config_decode(pci);
}

void mdev_pci_config_reset(struct mdev_pci *pci)
{
	lockdep_assert_held(&pci->lock);
	memcpy(pci->config, pci->config_reset, pci->config_end);
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
	memcpy(pci->config, from, pci->config_end);
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
 * Context: any where a spinlock may be taken, which sleeps on PREEMPT_RT.
 * Return: the value; all ones if @offset or @width is not valid.
 */
u32 mdev_pci_read_config(struct mdev_pci *pci, unsigned int offset,
			 unsigned int width)
{
	unsigned long flags;
	u32 val;

	if (!mdev_pci_config_fits(pci, offset, width))
		return U32_MAX;
	spin_lock_irqsave(&pci->lock, flags);
	val = mdev_pci_config_get(pci, offset, width);
	spin_unlock_irqrestore(&pci->lock, flags);
	return val;
}
EXPORT_SYMBOL_GPL(mdev_pci_read_config);

/**
 * mdev_pci_set_config - set configuration space, also read-only bits
 * @pci: the device
 * @offset: in a capability of the vendor's
 * @width: 1 to 4 bytes, within four aligned ones
 * @val: the value
 *
 * This has no effect but the new contents. Read-only bits do not migrate: the vendor sets
 * them again in its @resume.
 *
 * Context: any where a spinlock may be taken, which sleeps on PREEMPT_RT.
 */
void mdev_pci_set_config(struct mdev_pci *pci, unsigned int offset,
			 unsigned int width, u32 val)
{
	unsigned long flags;

	if (!mdev_pci_config_fits(pci, offset, width) ||
	    offset + width > pci->config_end)
		return;
	spin_lock_irqsave(&pci->lock, flags);
	for (; width--; val >>= 8)
		pci->config[offset++] = val;
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
