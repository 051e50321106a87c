// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ops read and write: of regions, and of configuration space, where a write can reset
 * the device or change which regions are decoded.
 *
 * An access to configuration space is split into pieces of up to four aligned bytes, as a
 * bus would. Each piece is read or written as a whole, under the device's lock. The
 * vendor's hooks are called before and after, without the lock.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pci_regs.h>
#include <linux/uaccess.h>

#include "mdev_pci_private.h"

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
	u32 was = pci->decoded;

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
	       (was & ~pci->decoded ? MDEV_PCI_THEN_REVOKE : 0);
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
		mdev_pci_revoke_all(pci);
	if (ops->config_written)
		ops->config_written(pci, offset, width);
	/* fails only if this task is killed, and then nobody sees it */
	if (then & MDEV_PCI_THEN_RESET)
		mdev_pci_reset(pci);
}

static u32 mdev_pci_config_read(struct mdev_pci *pci, unsigned int offset,
				unsigned int width)
{
	u32 val = mdev_pci_read_config(pci, offset, width);

	if (pci->desc->ops->config_read)
		val = pci->desc->ops->config_read(pci, offset, width, val);
	return val;
}

static ssize_t mdev_pci_config_access(struct mdev_pci *pci, u64 offset,
				      char __user *buf, size_t count, bool write)
{
	size_t done, width;
	__le32 data = 0;
	u32 val;

	if (offset >= pci->config_size)
		return -EINVAL;
	count = min_t(size_t, count, pci->config_size - offset);
	for (done = 0; done < count; done += width, offset += width) {
		width = min_t(size_t, count - done, 4 - offset % 4);
		if (write) {
			if (copy_from_user(&data, buf + done, width))
				return done ?: -EFAULT;
			val = le32_to_cpu(data);
			mdev_pci_config_write(pci, offset, width, val);
			continue;
		}
		data = cpu_to_le32(mdev_pci_config_read(pci, offset, width));
		if (copy_to_user(buf + done, &data, width))
			return done ?: -EFAULT;
	}
	return done;
}

static ssize_t mdev_pci_access(struct mdev_pci *pci, char __user *buf,
			       size_t count, loff_t *ppos, bool write)
{
	u64 offset = *ppos & (BIT_ULL(MDEV_PCI_OFFSET_SHIFT) - 1);
	u64 index = (u64)*ppos >> MDEV_PCI_OFFSET_SHIFT;
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
 * the device is stopped for migration; -EINTR if the caller was killed; -EFAULT; an errno
 * of the vendor's.
 */
ssize_t mdev_pci_read(struct mdev_device *mdev, char __user *buf, size_t count,
		      loff_t *ppos)
{
	return mdev_pci_access(mdev_pci_of(mdev), buf, count, ppos, false);
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
 * Return: the number of bytes written; errors as for mdev_pci_read().
 */
ssize_t mdev_pci_write(struct mdev_device *mdev, const char __user *buf,
		       size_t count, loff_t *ppos)
{
	return mdev_pci_access(mdev_pci_of(mdev), (char __user *)buf, count, ppos,
			       true);
}
EXPORT_SYMBOL_GPL(mdev_pci_write);
