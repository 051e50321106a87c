// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's memory: what a device does by DMA, if it is bus master.
 *
 * A pin is in the list from before its memory is pinned, which may never succeed, until it
 * has been dropped. An unmap or a reset in between marks the pin as lost and does not wait:
 * the thread that pins the memory drops it then.
 */
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/pci_regs.h>
#include <linux/slab.h>

#include "mdev_pci_private.h"

/* Is the device bus master, and in D0? */
static bool mdev_pci_can_dma(struct mdev_pci *pci)
{
	bool can;

	spin_lock_irq(&pci->lock);
	can = pci->config[PCI_COMMAND] & PCI_COMMAND_MASTER &&
	      !mdev_pci_in_d3(pci);
	spin_unlock_irq(&pci->lock);
	return can;
}

/**
 * mdev_pci_dma_rw - copy from or to the guest's memory as the device would by DMA
 * @pci: the device
 * @iova: the address of the memory for the device; any byte
 * @data: kernel memory
 * @len: number of bytes
 * @write: to the guest's memory; from it otherwise
 *
 * A copy that has begun is not waited for when the device is reset: a vendor that calls
 * this elsewhere than in a callback waits for its own copies in &mdev_pci_ops.reset.
 *
 * Context: as mdev_dma_rw().
 * Return: -EACCES if the device is not bus master or not in D0; otherwise as mdev_dma_rw().
 */
int mdev_pci_dma_rw(struct mdev_pci *pci, u64 iova, void *data, size_t len,
		    bool write)
{
	if (!mdev_pci_can_dma(pci))
		return -EACCES;
	return mdev_dma_rw(pci->mdev, iova, data, len, write);
}
EXPORT_SYMBOL_GPL(mdev_pci_dma_rw);

/* Unpin the memory, and remove the pin from the list. */
static void mdev_pci_drop(struct mdev_pci *pci, struct mdev_pci_pin *pin)
{
	if (pin->pinned)
		mdev_unpin_pages(pci->mdev, pin->iova & PAGE_MASK, pin->pinned);
	kvfree(pin->pages);
	pin->pages = NULL;
	spin_lock(&pci->pins_lock);
	list_del_init(&pin->next);
	pin->npages = 0;
	pin->pinned = 0;
	pin->busy = false;
	spin_unlock(&pci->pins_lock);
	/* the pin may be freed now: only its address is used; pairs with mdev_pci_unpin_pages() */
	smp_mb();
	wake_up_var(&pin->busy);
}

static bool mdev_pci_is_busy(struct mdev_pci *pci, struct mdev_pci_pin *pin)
{
	bool busy;

	spin_lock(&pci->pins_lock);
	busy = pin->busy;
	spin_unlock(&pci->pins_lock);
	return busy;
}

static int mdev_pci_do_pin(struct mdev_pci *pci, struct mdev_pci_pin *pin,
			   bool write)
{
	int ret;

	pin->pages = kvcalloc(pin->npages, sizeof(*pin->pages),
			      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pin->pages)
		return -ENOMEM;
	ret = mdev_pin_pages(pci->mdev, pin->iova & PAGE_MASK, pin->npages,
			     write ? IOMMU_WRITE : IOMMU_READ, pin->pages);
	if (ret < 0)
		return ret;
	spin_lock(&pci->pins_lock);
	pin->pinned = pin->npages;
	ret = pin->lost ? -EFAULT : 0;
	/* pairs with mdev_pci_claim(): from now on others may drop the pin */
	if (!ret)
		pin->busy = false;
	spin_unlock(&pci->pins_lock);
	return ret;
}

/**
 * mdev_pci_pin_pages - pin memory of the guest, for DMA
 * @pci: the device, whose parent has MDEV_PCI_DMA_OPS
 * @pin: the vendor's; all zeroes, or used before
 * @iova: the address of the memory for the device; any byte
 * @length: number of bytes, from 1 to MDEV_PCI_PIN_MAX
 * @write: the device will write to it; read otherwise
 *
 * The pages are in @pin->pages until mdev_pci_unpin_pages(). When the VMM unmaps them, or
 * resets or closes the device, the kit calls &mdev_pci_ops.unpin and unpins them. That can
 * happen before this returns.
 *
 * Context: as mdev_pin_pages(); under no lock that @unpin or @close wait for.
 * Return: 0; -EACCES if the device is not bus master or not in D0; -EINVAL if @length is not
 * valid or the range wraps around; -EFAULT if it was unmapped meanwhile; -ENOMEM; an errno of
 * mdev_pin_pages(). After an error there is nothing to unpin.
 */
int mdev_pci_pin_pages(struct mdev_pci *pci, struct mdev_pci_pin *pin, u64 iova,
		       size_t length, bool write)
{
	u64 last;
	int ret;

	if (!length || length > MDEV_PCI_PIN_MAX ||
	    check_add_overflow(iova, (u64)length - 1, &last))
		return -EINVAL;
	pin->iova = iova;
	pin->length = length;
	pin->npages = (last >> PAGE_SHIFT) - (iova >> PAGE_SHIFT) + 1;
	pin->pinned = 0;
	pin->lost = false;
	pin->busy = true;
	spin_lock(&pci->pins_lock);
	pin->number = ++pci->pins_begun;
	list_add_tail(&pin->next, &pci->pins);
	spin_unlock(&pci->pins_lock);

	/* a reset either finds the pin in the list, or is seen here */
	ret = mdev_pci_can_dma(pci) ? mdev_pci_do_pin(pci, pin, write) :
				      -EACCES;
	if (ret)
		mdev_pci_drop(pci, pin);
	return ret;
}
EXPORT_SYMBOL_GPL(mdev_pci_pin_pages);

/* Returns true if the caller has to drop the pin, false if another task does or has. */
static bool mdev_pci_claim(struct mdev_pci_pin *pin)
{
	if (pin->busy) {
		pin->lost = true;
		return false;
	}
	pin->busy = true;
	return true;
}

/**
 * mdev_pci_unpin_pages - undo a mdev_pci_pin_pages()
 * @pci: the device
 * @pin: the vendor's; it need not be pinned any more
 *
 * After this, the kit does not use @pin. It waits if the kit is calling &mdev_pci_ops.unpin
 * for it, so it must not be called from there.
 *
 * Context: process context, sleeps.
 */
void mdev_pci_unpin_pages(struct mdev_pci *pci, struct mdev_pci_pin *pin)
{
	bool mine = false;

	spin_lock(&pci->pins_lock);
	/* a pin that was never used is all zeroes */
	if (pin->npages)
		mine = mdev_pci_claim(pin);
	spin_unlock(&pci->pins_lock);
	if (mine)
		mdev_pci_drop(pci, pin);
	else
		wait_var_event(&pin->busy, !mdev_pci_is_busy(pci, pin));
}
EXPORT_SYMBOL_GPL(mdev_pci_unpin_pages);

/*
 * Returns the next pin with a page in the range which the caller has to drop, and which is
 * not younger than @newest.
 */
static struct mdev_pci_pin *mdev_pci_next_pin(struct mdev_pci *pci, u64 first,
					      u64 last, u64 newest)
{
	struct mdev_pci_pin *pin, *found = NULL;

	spin_lock(&pci->pins_lock);
	list_for_each_entry(pin, &pci->pins, next) {
		if (pin->number > newest || (pin->iova & PAGE_MASK) > last ||
		    ((pin->iova + pin->length - 1) | ~PAGE_MASK) < first)
			continue;
		if (mdev_pci_claim(pin)) {
			found = pin;
			break;
		}
	}
	spin_unlock(&pci->pins_lock);
	return found;
}

/*
 * An unmap ends when the last pin is dropped, so user space can have the range pinned again
 * before this has looked for more. Such a pin stays. One that is older than this call, and
 * younger than the unmap, is taken: that is a DMA that fails, and the vendor is told.
 */
static void mdev_pci_unpin_range(struct mdev_pci *pci, u64 first, u64 last)
{
	struct mdev_pci_pin *pin;
	u64 newest;

	spin_lock(&pci->pins_lock);
	newest = pci->pins_begun;
	spin_unlock(&pci->pins_lock);
	while ((pin = mdev_pci_next_pin(pci, first, last, newest))) {
		if (pci->desc->ops->unpin)
			pci->desc->ops->unpin(pci, pin);
		mdev_pci_drop(pci, pin);
	}
}

/**
 * mdev_pci_dma_unmap - the op dma_unmap
 * @mdev: the device
 * @iova: as the op says
 * @length: as the op says
 *
 * Context: process context, sleeps.
 */
void mdev_pci_dma_unmap(struct mdev_device *mdev, u64 iova, u64 length)
{
	mdev_pci_unpin_range(mdev_pci_of(mdev), iova, iova + length - 1);
}
EXPORT_SYMBOL_GPL(mdev_pci_dma_unmap);

void mdev_pci_unpin_all(struct mdev_pci *pci)
{
	mdev_pci_unpin_range(pci, 0, U64_MAX);
}

void mdev_pci_dma_init(struct mdev_pci *pci)
{
	spin_lock_init(&pci->pins_lock);
	INIT_LIST_HEAD(&pci->pins);
}
