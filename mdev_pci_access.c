// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ops read and write: of regions, and of configuration space, where a write can reset
 * the device or change which regions are decoded.
 *
 * An access to configuration space is split into aligned pieces of up to four bytes, as a
 * bus would. Each piece is read or written as a whole. A write takes the device's lock; the
 * vendor's hooks are called before and after, without it.
 */
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/pci_regs.h>
#include <linux/uaccess.h>

#include "mdev_pci_private.h"

/* ---- User memory ---- */

/* Inline, so that @val is never in memory. */
static __always_inline int mdev_pci_get_user(u64 *val, const char __user *buf,
					     unsigned int width)
{
	__le64 val64;
	__le32 val32;
	__le16 val16;
	u8 val8;
	int ret;

	switch (width) {
	case 1:
		ret = get_user(val8, (const u8 __user *)buf);
		*val = val8;
		return ret;
	case 2:
		ret = get_user(val16, (const __le16 __user *)buf);
		*val = le16_to_cpu(val16);
		return ret;
	case 4:
		ret = get_user(val32, (const __le32 __user *)buf);
		*val = le32_to_cpu(val32);
		return ret;
	}
	ret = get_user(val64, (const __le64 __user *)buf);
	*val = le64_to_cpu(val64);
	return ret;
}

static int mdev_pci_put_user(u64 val, char __user *buf, unsigned int width)
{
	switch (width) {
	case 1:
		return put_user((u8)val, (u8 __user *)buf);
	case 2:
		return put_user(cpu_to_le16(val), (__le16 __user *)buf);
	case 4:
		return put_user(cpu_to_le32(val), (__le32 __user *)buf);
	}
	return put_user(cpu_to_le64(val), (__le64 __user *)buf);
}

/* ---- Configuration space ---- */

/* effects of a write, after the lock has been released */
#define MDEV_PCI_THEN_RESET	BIT(0)
#define MDEV_PCI_THEN_REVOKE	BIT(1)

/* Does a write of @width bytes at @offset set a bit of the byte at @at? */
static bool mdev_pci_sets(unsigned int offset, unsigned int width, u32 val,
			  unsigned int at, u8 bit)
{
	return at >= offset && at < offset + width &&
	       val >> (at - offset) * 8 & bit;
}

static bool mdev_pci_wants_reset(const struct mdev_pci *pci,
				 unsigned int offset, unsigned int width,
				 u32 val)
{
	return (pci->exp &&
		mdev_pci_sets(offset, width, val, pci->exp + PCI_EXP_DEVCTL + 1,
			      PCI_EXP_DEVCTL_BCR_FLR >> 8)) ||
	       (pci->af && mdev_pci_sets(offset, width, val,
					 pci->af + PCI_AF_CTRL, PCI_AF_CTRL_FLR));
}

/* Write, and return MDEV_PCI_THEN_*. */
static unsigned int mdev_pci_config_do_write(struct mdev_pci *pci,
					     unsigned int offset,
					     unsigned int width, u32 val)
{
	bool was_in_d3 = mdev_pci_in_d3(pci), reset;
	u32 was = pci->decoded_regions;

	lockdep_assert_held(&pci->lock);
	mdev_pci_config_put(pci, offset, width, val);
	reset = mdev_pci_wants_reset(pci, offset, width, val) ||
		(was_in_d3 && !mdev_pci_in_d3(pci) &&
		 !(pci->config[pci->pm + PCI_PM_CTRL] &
		   PCI_PM_CTRL_NO_SOFT_RESET));
	/* the write may have enabled INTA, in the command register or by D0 */
	if (!reset)
		mdev_pci_irq_update(pci);
	return (reset ? MDEV_PCI_THEN_RESET : 0) |
	       (was & ~pci->decoded_regions ? MDEV_PCI_THEN_REVOKE : 0);
}

static void mdev_pci_config_write(struct mdev_pci *pci, unsigned int offset,
				  unsigned int width, u32 val)
{
	const struct mdev_pci_ops *ops = pci->desc->ops;
	unsigned int then;

	if (ops->config_write)
		val = ops->config_write(pci, offset, width, val);
	spin_lock_irq(&pci->lock);
	then = mdev_pci_config_do_write(pci, offset, width, val);
	spin_unlock_irq(&pci->lock);
	if (then & MDEV_PCI_THEN_REVOKE)
		mdev_pci_revoke_bars(pci);
	if (ops->config_written)
		ops->config_written(pci, offset, width);
	/* fails only if this task is killed, and then nobody sees it */
	if (then & MDEV_PCI_THEN_RESET)
		mdev_pci_reset(pci);
}

/* What the guest reads. */
static u32 mdev_pci_config_read(struct mdev_pci *pci, unsigned int offset,
				unsigned int width)
{
	u32 val = mdev_pci_config_get(pci, offset, width);

	if (pci->desc->ops->config_read)
		val = pci->desc->ops->config_read(pci, offset, width, val);
	return val;
}

/* Returns how many bytes, up to four, a bus would access at once. */
static unsigned int mdev_pci_config_piece(unsigned int offset, size_t count)
{
	unsigned int width = 4;

	while (width > count || offset & (width - 1))
		width /= 2;
	return width;
}

static ssize_t mdev_pci_config_access(struct mdev_pci *pci, u64 offset,
				      char __user *buf, size_t count, bool write)
{
	size_t done, width;
	u64 val;

	if (offset >= pci->config_size)
		return -EINVAL;
	count = min_t(size_t, count, pci->config_size - offset);
	for (done = 0; done < count; done += width, offset += width) {
		width = mdev_pci_config_piece(offset, count - done);
		if (write) {
			if (mdev_pci_get_user(&val, buf + done, width))
				return done ?: -EFAULT;
			mdev_pci_config_write(pci, offset, width, val);
			continue;
		}
		val = mdev_pci_config_read(pci, offset, width);
		if (mdev_pci_put_user(val, buf + done, width))
			return done ?: -EFAULT;
	}
	return done;
}

/* ---- The ops ---- */

/* Which regions have registers only, and nothing of the kit's among them? */
u32 mdev_pci_direct_regions(const struct mdev_pci *pci)
{
	const struct mdev_pci_desc *desc = pci->desc;
	u32 direct = 0;
	unsigned int i;

	for (i = 0; i < desc->nr_regions; i++) {
		const struct mdev_pci_region *region = &desc->regions[i];

		if (region->read && region->write && region->width &&
		    !(region->size & (region->width - 1)) && !region->access &&
		    !(region->flags & (MDEV_PCI_RAM | MDEV_PCI_READONLY)) &&
		    i != VFIO_PCI_ROM_REGION_INDEX)
			direct |= BIT(i);
	}
	if (pci->msix)
		direct &= ~(BIT(pci->msix->table & PCI_MSIX_TABLE_BIR) |
			    BIT(pci->msix->pba & PCI_MSIX_PBA_BIR));
	return direct;
}

/*
 * Most accesses of guests are to one whole register. Returns the region if this is one of
 * these, which go directly to the vendor's callback; NULL otherwise.
 */
static __always_inline const struct mdev_pci_region *
mdev_pci_direct(const struct mdev_pci *pci, u64 pos, size_t count)
{
	u64 offset = mdev_pci_pos_offset(pos), index = mdev_pci_pos_index(pos);
	const struct mdev_pci_region *region = mdev_pci_region(pci, index);

	if (!region || !(pci->direct_regions & BIT(index)))
		return NULL;
	return offset < region->size && count <= region->width &&
	       count >= region->min_width && is_power_of_2(count) &&
	       !(offset & (count - 1)) ? region : NULL;
}

/*
 * Is the region decoded? To be asked after mdev_pci_enter(), as user memory may have come
 * late, and the device may be in another state by then.
 */
static __always_inline bool mdev_pci_answers(const struct mdev_pci *pci, u64 pos)
{
	return READ_ONCE(pci->decoded_regions) & BIT(mdev_pci_pos_index(pos));
}

static ssize_t mdev_pci_access(struct mdev_pci *pci, char __user *buf,
			       size_t count, loff_t *ppos, bool write)
{
	u64 offset = mdev_pci_pos_offset(*ppos), index = mdev_pci_pos_index(*ppos);
	ssize_t ret;

	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		ret = mdev_pci_config_access(pci, offset, buf, count, write);
	else
		ret = mdev_pci_region_access(pci, index, offset, buf, count,
					     write);
	if (ret > 0)
		*ppos += ret;
	return ret;
}

/**
 * mdev_pci_read - the op read
 * @mdev: the device
 * @buf: as the op says
 * @count: as the op says; bytes beyond the region are cut off
 * @ppos: as the op says
 *
 * Context: process context, sleeps.
 * Return: the number of bytes read; -EINVAL if there is no region at this offset; -EBUSY if
 * the device is stopped for migration and this is not configuration space; -EINTR if the
 * caller was killed; -EFAULT; an errno of the vendor's.
 */
ssize_t mdev_pci_read(struct mdev_device *mdev, char __user *buf, size_t count,
		      loff_t *ppos)
{
	struct mdev_pci *pci = mdev_pci_of(mdev);
	const struct mdev_pci_region *region;
	u64 val;

	region = mdev_pci_direct(pci, *ppos, count);
	if (!region)
		return mdev_pci_access(pci, buf, count, ppos, false);
	if (!mdev_pci_enter(pci))
		return -EBUSY;
	val = mdev_pci_answers(pci, *ppos) ?
	      region->read(pci, region, mdev_pci_pos_offset(*ppos), count) : U64_MAX;
	mdev_pci_leave(pci);
	if (mdev_pci_put_user(val, buf, count))
		return -EFAULT;
	*ppos += count;
	return count;
}
EXPORT_SYMBOL_GPL(mdev_pci_read);

/**
 * mdev_pci_write - the op write
 * @mdev: the device
 * @buf: as the op says
 * @count: as the op says; bytes beyond the region are cut off
 * @ppos: as the op says
 *
 * Context: process context, sleeps.
 * Return: the number of bytes written; errors as for mdev_pci_read(), and -EINVAL if the
 * region is read-only.
 */
ssize_t mdev_pci_write(struct mdev_device *mdev, const char __user *buf,
		       size_t count, loff_t *ppos)
{
	struct mdev_pci *pci = mdev_pci_of(mdev);
	const struct mdev_pci_region *region;
	u64 val;

	region = mdev_pci_direct(pci, *ppos, count);
	if (!region)
		return mdev_pci_access(pci, (char __user *)buf, count, ppos, true);
	if (mdev_pci_get_user(&val, buf, count))
		return -EFAULT;
	if (!mdev_pci_enter(pci))
		return -EBUSY;
	if (mdev_pci_answers(pci, *ppos))
		region->write(pci, region, mdev_pci_pos_offset(*ppos), count, val);
	mdev_pci_leave(pci);
	*ppos += count;
	return count;
}
EXPORT_SYMBOL_GPL(mdev_pci_write);
