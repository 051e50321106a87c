// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts: what the vendor raises, and the eventfds that are signalled for it.
 *
 * INTA is a level. VFIO makes an edge and a mask of it: it is signalled and masked when it
 * is high, and signalled again if it is still high when the VMM unmasks it. Messages are
 * edges. MSI and MSI-X are on if they have eventfds, whatever their capabilities say: the
 * VMM controls both.
 */
#include <linux/bitmap.h>
#include <linux/eventfd.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci_regs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mdev_pci_private.h"

#define INTX	VFIO_PCI_INTX_IRQ_INDEX
#define MSI	VFIO_PCI_MSI_IRQ_INDEX
#define MSIX	VFIO_PCI_MSIX_IRQ_INDEX
#define REQ	VFIO_PCI_REQ_IRQ_INDEX
#define NONE	VFIO_PCI_NUM_IRQS

static unsigned int mdev_pci_max_vectors(const struct mdev_pci *pci)
{
	return max(pci->nr_vectors[0], pci->nr_vectors[1]);
}

static unsigned int mdev_pci_nr_irqs(const struct mdev_pci *pci, u32 index)
{
	switch (index) {
	case INTX:
		return pci->desc->intx;
	case MSI:
	case MSIX:
		return pci->nr_vectors[index == MSIX];
	case REQ:
		return mdev_pci_can_unplug(pci);
	}
	return 0;
}

/* ---- From the vendor to the VMM ---- */

/* To be called after each change that may require INTA to be signalled. */
void mdev_pci_irq_update(struct mdev_pci *pci)
{
	lockdep_assert_held(&pci->lock);
	if (!pci->line || pci->line_masked || !pci->intx || pci->holds_back ||
	    mdev_pci_in_d3(pci) ||
	    pci->config[PCI_COMMAND + 1] & (PCI_COMMAND_INTX_DISABLE >> 8))
		return;
	pci->line_masked = true;
	eventfd_signal(pci->intx);
}

static void mdev_pci_send(struct mdev_pci *pci, unsigned int vector)
{
	lockdep_assert_held(&pci->lock);
	if (pci->irq_index == NONE ||
	    vector >= pci->nr_vectors[pci->irq_index == MSIX] ||
	    mdev_pci_in_d3(pci))
		return;
	if (pci->vectors[vector] && !pci->holds_back)
		eventfd_signal(pci->vectors[vector]);
	else if (pci->holds_back || pci->irq_index == MSIX)
		__set_bit(vector, pci->vectors_pending);
}

/* Interrupts are not off for longer than it takes to signal one of them. */
static void mdev_pci_send_pending(struct mdev_pci *pci, unsigned int start,
				  unsigned int count)
{
	unsigned int vector;

	for (vector = start; vector < start + count; vector++) {
		spin_lock_irq(&pci->lock);
		if (__test_and_clear_bit(vector, pci->vectors_pending))
			mdev_pci_send(pci, vector);
		spin_unlock_irq(&pci->lock);
	}
}

/*
 * bits of line_wanted: there is a level to be set; it is high; it is also sent as a
 * message; it was high before, and that message is not sent yet
 */
#define MDEV_PCI_WANTED		BIT(0)
#define MDEV_PCI_WANTED_HIGH	BIT(1)
#define MDEV_PCI_WANTED_MESSAGE	BIT(2)
#define MDEV_PCI_WANTED_PULSE	BIT(3)

static int mdev_pci_wanted(bool level, bool message)
{
	return MDEV_PCI_WANTED | (level ? MDEV_PCI_WANTED_HIGH : 0) |
	       (message ? MDEV_PCI_WANTED_MESSAGE : 0);
}

static void mdev_pci_apply(struct mdev_pci *pci, int wanted)
{
	bool high = wanted & MDEV_PCI_WANTED_HIGH;

	lockdep_assert_held(&pci->lock);
	if (!wanted)
		return;
	if (wanted & MDEV_PCI_WANTED_PULSE ||
	    (wanted & MDEV_PCI_WANTED_MESSAGE && high && !pci->line))
		mdev_pci_send(pci, 0);
	WRITE_ONCE(pci->line, high);
	mdev_pci_irq_update(pci);
}

static void mdev_pci_do_set_intx(struct mdev_pci *pci, int wanted)
{
	unsigned long flags;

	spin_lock_irqsave(&pci->lock, flags);
	/* first the level that was deferred */
	if (atomic_read(&pci->line_wanted))
		mdev_pci_apply(pci, atomic_xchg(&pci->line_wanted, 0));
	mdev_pci_apply(pci, wanted);
	spin_unlock_irqrestore(&pci->lock, flags);
}

static void mdev_pci_do_signal(struct mdev_pci *pci, unsigned int vector)
{
	unsigned long flags;

	spin_lock_irqsave(&pci->lock, flags);
	mdev_pci_send(pci, vector);
	spin_unlock_irqrestore(&pci->lock, flags);
}

/*
 * On PREEMPT_RT spinlocks and eventfds sleep. Where lockdep checks for that on other kernels,
 * defer as well.
 */
static bool mdev_pci_must_defer(void)
{
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		return !preemptible();
	return IS_ENABLED(CONFIG_PROVE_RAW_LOCK_NESTING) && in_hardirq();
}

static void mdev_pci_irq_work(struct irq_work *work)
{
	struct mdev_pci *pci = container_of(work, struct mdev_pci, irq_work);
	unsigned int vector, max = mdev_pci_max_vectors(pci);

	mdev_pci_do_set_intx(pci, 0);
	for_each_set_bit(vector, pci->vectors_wanted, max)
		if (test_and_clear_bit(vector, pci->vectors_wanted))
			mdev_pci_do_signal(pci, vector);
}

static void mdev_pci_defer_line(struct mdev_pci *pci, bool level, bool message)
{
	int old = atomic_read(&pci->line_wanted), new;

	do {
		new = mdev_pci_wanted(level, message);
		/* do not lose a message that is not sent yet */
		if (!level && message && old & MDEV_PCI_WANTED_HIGH)
			new |= MDEV_PCI_WANTED_PULSE;
		new |= old & MDEV_PCI_WANTED_PULSE;
	} while (!atomic_try_cmpxchg(&pci->line_wanted, &old, new));
	irq_work_queue(&pci->irq_work);
}

/**
 * mdev_pci_set_intx - set the level of INTA
 * @pci: the device, which has &mdev_pci_desc.intx
 * @level: an interrupt is pending
 *
 * A high level is signalled as soon as the VMM has set an eventfd, has not masked it, the
 * command register enables it, and the device is not in D3hot. The level is low after a
 * reset.
 *
 * Context: any, from @init to @exit.
 */
void mdev_pci_set_intx(struct mdev_pci *pci, bool level)
{
	if (mdev_pci_must_defer())
		mdev_pci_defer_line(pci, level, false);
	else
		mdev_pci_do_set_intx(pci, mdev_pci_wanted(level, false));
}
EXPORT_SYMBOL_GPL(mdev_pci_set_intx);

/**
 * mdev_pci_signal - send a message
 * @pci: the device
 * @vector: of MSI or MSI-X, from 0 on
 *
 * The message is lost if neither MSI nor MSI-X has eventfds, if there is no such vector, or
 * if the device is in D3hot. A vector of MSI-X that has no eventfd stays pending as long as
 * others have one. It does not matter whether the device is bus master.
 *
 * Context: any, from @init to @exit.
 */
void mdev_pci_signal(struct mdev_pci *pci, unsigned int vector)
{
	if (!mdev_pci_must_defer()) {
		mdev_pci_do_signal(pci, vector);
	} else if (vector < mdev_pci_max_vectors(pci)) {
		set_bit(vector, pci->vectors_wanted);
		irq_work_queue(&pci->irq_work);
	}
}
EXPORT_SYMBOL_GPL(mdev_pci_signal);

/**
 * mdev_pci_set_irq - set the level of a device's only interrupt
 * @pci: the device
 * @level: it is pending
 *
 * As mdev_pci_set_intx(). If MSI or MSI-X is in use instead, the first vector is signalled
 * whenever the level goes up.
 *
 * Context: any, from @init to @exit.
 */
void mdev_pci_set_irq(struct mdev_pci *pci, bool level)
{
	if (mdev_pci_must_defer())
		mdev_pci_defer_line(pci, level, true);
	else
		mdev_pci_do_set_intx(pci, mdev_pci_wanted(level, true));
}
EXPORT_SYMBOL_GPL(mdev_pci_set_irq);

/* While the device is stopped for migration, interrupts are kept and not signalled. */
void mdev_pci_irq_hold_back(struct mdev_pci *pci, bool hold_back)
{
	spin_lock_irq(&pci->lock);
	pci->holds_back = hold_back;
	mdev_pci_irq_update(pci);
	spin_unlock_irq(&pci->lock);
	if (!hold_back)
		mdev_pci_send_pending(pci, 0, mdev_pci_max_vectors(pci));
}

/* Reset the device, but not how its interrupts are signalled, as vfio-pci does. */
void mdev_pci_irq_reset(struct mdev_pci *pci)
{
	lockdep_assert_held(&pci->lock);
	WRITE_ONCE(pci->line, false);
	bitmap_zero(pci->vectors_pending, mdev_pci_max_vectors(pci));
}

/* ---- From the VMM: what to signal ---- */

static bool mdev_pci_has_vectors(const struct mdev_pci *pci)
{
	return memchr_inv(pci->vectors, 0, mdev_pci_max_vectors(pci) *
			  sizeof(*pci->vectors));
}

/* The last eventfd of an index is gone. */
static void mdev_pci_is_off(struct mdev_pci *pci, u32 index)
{
	lockdep_assert_held(&pci->lock);
	if (index == INTX) {
		pci->line_masked = false;
	} else if (index == pci->irq_index) {
		pci->irq_index = NONE;
		bitmap_zero(pci->vectors_pending, mdev_pci_max_vectors(pci));
	}
}

/*
 * Set @count eventfds from @start on; @ctxs has the old ones afterwards. Only one of INTx,
 * MSI and MSI-X can have eventfds at a time.
 */
static int mdev_pci_swap_triggers(struct mdev_pci *pci, u32 index, u32 start,
				  u32 count, struct eventfd_ctx **ctxs)
{
	u32 i;

	lockdep_assert_held(&pci->irq_mutex);
	lockdep_assert_held(&pci->lock);
	switch (index) {
	case REQ:
		swap(pci->request, ctxs[0]);
		return 0;
	case INTX:
		if (ctxs[0] && pci->irq_index != NONE)
			return -EINVAL;
		swap(pci->intx, ctxs[0]);
		if (!pci->intx)
			mdev_pci_is_off(pci, index);
		mdev_pci_irq_update(pci);
		return 0;
	}
	if (pci->irq_index != index &&
	    memchr_inv(ctxs, 0, count * sizeof(*ctxs))) {
		if (pci->intx || pci->irq_index != NONE)
			return -EINVAL;
		pci->irq_index = index;
	}
	/* removing eventfds of an index that is off does not change the one that is on */
	if (pci->irq_index != index)
		return 0;
	for (i = 0; i < count; i++)
		swap(pci->vectors[start + i], ctxs[i]);
	if (!mdev_pci_has_vectors(pci))
		mdev_pci_is_off(pci, index);
	return 0;
}

/* @fds: one for each, -1 for none */
static int mdev_pci_set_triggers(struct mdev_pci *pci, u32 index, u32 start,
				 u32 count, const s32 *fds)
{
	struct eventfd_ctx **ctxs;
	int ret = 0;
	u32 i;

	ctxs = kcalloc(count, sizeof(*ctxs), GFP_KERNEL_ACCOUNT);
	if (!ctxs)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		if (fds[i] == -1)
			continue;
		ctxs[i] = eventfd_ctx_fdget(fds[i]);
		if (IS_ERR(ctxs[i])) {
			ret = PTR_ERR(ctxs[i]);
			ctxs[i] = NULL;
			goto out_put;
		}
	}
	spin_lock_irq(&pci->lock);
	ret = mdev_pci_swap_triggers(pci, index, start, count, ctxs);
	spin_unlock_irq(&pci->lock);
	if (!ret && (index == MSI || index == MSIX))
		mdev_pci_send_pending(pci, start, count);

out_put:
	/* the old ones, or the new ones that were refused */
	for (i = 0; i < count; i++)
		if (ctxs[i])
			eventfd_ctx_put(ctxs[i]);
	kfree(ctxs);
	return ret;
}

/* Without an eventfd to signal, INTA needs none that unmasks it. */
static void mdev_pci_no_unmask(struct mdev_pci *pci, u32 index)
{
	lockdep_assert_held(&pci->irq_mutex);
	if (index == INTX)
		mdev_virqfd_disable(pci->mdev, &pci->unmask);
}

/* For an index that is on. */
static struct eventfd_ctx **mdev_pci_trigger(struct mdev_pci *pci, u32 index,
					     u32 i)
{
	if (index == REQ)
		return &pci->request;
	return index == INTX ? &pci->intx : &pci->vectors[i];
}

/* Is there an eventfd of this index? */
static bool mdev_pci_is_on(struct mdev_pci *pci, u32 index)
{
	if (index == MSI || index == MSIX)
		return pci->irq_index == index;
	return *mdev_pci_trigger(pci, index, 0);
}

/*
 * Remove @count eventfds from @triggers on, all that @index has, one after the other: this
 * allocates nothing, so cannot fail.
 */
static void mdev_pci_drop(struct mdev_pci *pci, u32 index,
			  struct eventfd_ctx **triggers, u32 count)
{
	struct eventfd_ctx *ctx;
	u32 i;

	lockdep_assert_held(&pci->irq_mutex);
	for (i = 0; i < count; i++) {
		ctx = NULL;
		spin_lock_irq(&pci->lock);
		swap(ctx, triggers[i]);
		spin_unlock_irq(&pci->lock);
		if (ctx)
			eventfd_ctx_put(ctx);
	}
	spin_lock_irq(&pci->lock);
	mdev_pci_is_off(pci, index);
	spin_unlock_irq(&pci->lock);
}

static void mdev_pci_disable(struct mdev_pci *pci, u32 index)
{
	mdev_pci_no_unmask(pci, index);
	if (mdev_pci_is_on(pci, index))
		mdev_pci_drop(pci, index, mdev_pci_trigger(pci, index, 0),
			      mdev_pci_nr_irqs(pci, index));
}

static bool mdev_pci_on(const u8 *bools, u32 i)
{
	return !bools || bools[i];
}

/* @i: among the interrupts of @index */
static int mdev_pci_poke_one(struct mdev_pci *pci, u32 index, u32 action, u32 i)
{
	struct eventfd_ctx *ctx;

	lockdep_assert_held(&pci->lock);
	if (!mdev_pci_is_on(pci, index))
		return -EINVAL;
	if (action == VFIO_IRQ_SET_ACTION_TRIGGER) {
		/* on request, which VMMs test with */
		ctx = *mdev_pci_trigger(pci, index, i);
		if (ctx)
			eventfd_signal(ctx);
		return 0;
	}
	pci->line_masked = action == VFIO_IRQ_SET_ACTION_MASK;
	/* signals again if it still is high */
	mdev_pci_irq_update(pci);
	return 0;
}

/*
 * @bools: for each of them, whether it is meant; NULL means all. As in
 * mdev_pci_send_pending(), one after the other.
 */
static int mdev_pci_poke(struct mdev_pci *pci, u32 index, u32 action, u32 start,
			 u32 count, const u8 *bools)
{
	int ret = 0;
	u32 i;

	for (i = 0; i < count && !ret; i++) {
		if (!mdev_pci_on(bools, i))
			continue;
		spin_lock_irq(&pci->lock);
		ret = mdev_pci_poke_one(pci, index, action, start + i);
		spin_unlock_irq(&pci->lock);
	}
	return ret;
}

/* Ask the VMM to unplug the device. */
int mdev_pci_signal_request(struct mdev_pci *pci)
{
	return mdev_pci_poke(pci, REQ, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 1, NULL);
}

/* Runs in a work that is waited for under irq_mutex. */
static void mdev_pci_unmasked(void *arg, void *data)
{
	mdev_pci_poke(arg, INTX, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, NULL);
}

/* Set the eventfd that unmasks INTA, instead of the one that is there. */
static int mdev_pci_set_unmask(struct mdev_pci *pci, s32 fd)
{
	lockdep_assert_held(&pci->irq_mutex);
	if (!pci->intx)
		return -EINVAL;
	mdev_virqfd_disable(pci->mdev, &pci->unmask);
	if (fd == -1)
		return 0;
	return mdev_virqfd_enable(pci->mdev, mdev_pci_unmasked, pci,
				  &pci->unmask, fd);
}

/* Returns the size of one element of the data behind the header, or a negative errno. */
static int mdev_pci_check_irq_set(struct mdev_pci *pci,
				  const struct vfio_irq_set *set)
{
	u32 action = set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	u32 type = set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	u32 nr = mdev_pci_nr_irqs(pci, set->index);

	if (set->flags != (action | type) || !is_power_of_2(action))
		return -EINVAL;
	if (set->start >= nr || set->count > nr - set->start)
		return -EINVAL;
	/* a count of 0 without data switches the whole index off */
	if (!set->count && (set->start || set->flags !=
			    (VFIO_IRQ_SET_ACTION_TRIGGER |
			     VFIO_IRQ_SET_DATA_NONE)))
		return -EINVAL;
	/* only INTA can be masked; masking by eventfd is not supported */
	if (action != VFIO_IRQ_SET_ACTION_TRIGGER &&
	    (set->index != INTX || set->flags ==
	     (VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_DATA_EVENTFD)))
		return -ENOTTY;

	switch (type) {
	case VFIO_IRQ_SET_DATA_NONE:
		return 0;
	case VFIO_IRQ_SET_DATA_BOOL:
		return sizeof(u8);
	case VFIO_IRQ_SET_DATA_EVENTFD:
		return sizeof(s32);
	}
	return -EINVAL;
}

static int mdev_pci_do_set_irqs(struct mdev_pci *pci,
				const struct vfio_irq_set *set, void *data)
{
	u32 action = set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;

	lockdep_assert_held(&pci->irq_mutex);
	if (!set->count) {
		mdev_pci_disable(pci, set->index);
		return 0;
	}
	if (!(set->flags & VFIO_IRQ_SET_DATA_EVENTFD))
		return mdev_pci_poke(pci, set->index, action, set->start,
				     set->count, data);
	if (action == VFIO_IRQ_SET_ACTION_UNMASK)
		return mdev_pci_set_unmask(pci, *(s32 *)data);
	if (*(s32 *)data == -1)
		mdev_pci_no_unmask(pci, set->index);
	return mdev_pci_set_triggers(pci, set->index, set->start, set->count,
				     data);
}

/* VFIO_DEVICE_SET_IRQS */
long mdev_pci_set_irqs(struct mdev_pci *pci, void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_irq_set, count);
	struct vfio_irq_set set;
	void *data = NULL;
	int size, ret;

	if (copy_from_user(&set, arg, minsz))
		return -EFAULT;
	if (set.argsz < minsz)
		return -EINVAL;
	size = mdev_pci_check_irq_set(pci, &set);
	if (size < 0)
		return size;
	/* the count is at most the number of vectors, so this does not overflow */
	if (set.argsz - minsz < size * set.count)
		return -EINVAL;
	if (size) {
		data = memdup_user(arg + minsz, size * set.count);
		if (IS_ERR(data))
			return PTR_ERR(data);
	}
	ret = mutex_lock_killable(&pci->irq_mutex);
	if (!ret) {
		ret = mdev_pci_do_set_irqs(pci, &set, data);
		mutex_unlock(&pci->irq_mutex);
	}
	kfree(data);
	return ret;
}

/* VFIO_DEVICE_GET_IRQ_INFO: an interrupt that the device does not have has a count of 0. */
long mdev_pci_get_irq_info(struct mdev_pci *pci, void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_irq_info, count);
	struct vfio_irq_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;

	info.count = mdev_pci_nr_irqs(pci, info.index);
	info.flags = info.count ? VFIO_IRQ_INFO_EVENTFD : 0;
	if (info.count && info.index == INTX)
		info.flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
	/* eventfds of MSI-X can be set and removed one by one */
	else if (info.count && info.index != MSIX)
		info.flags |= VFIO_IRQ_INFO_NORESIZE;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/* ---- A device's life ---- */

int mdev_pci_irq_init(struct mdev_pci *pci)
{
	unsigned int max = mdev_pci_max_vectors(pci);
	size_t size = BITS_TO_LONGS(max) * sizeof(long);

	mutex_init(&pci->irq_mutex);
	spin_lock_init(&pci->lock);
	init_irq_work(&pci->irq_work, mdev_pci_irq_work);
	pci->irq_index = NONE;
	if (!max)
		return 0;
	pci->vectors = kzalloc(max * sizeof(*pci->vectors) + 2 * size, GFP_KERNEL);
	if (!pci->vectors)
		return -ENOMEM;
	pci->vectors_pending = (unsigned long *)(pci->vectors + max);
	pci->vectors_wanted = pci->vectors_pending + BITS_TO_LONGS(max);
	return 0;
}

void mdev_pci_irq_exit(struct mdev_pci *pci)
{
	irq_work_sync(&pci->irq_work);
	kfree(pci->vectors);
	mutex_destroy(&pci->irq_mutex);
}

/* The device is closed: remove all eventfds. */
void mdev_pci_irq_release(struct mdev_pci *pci)
{
	mutex_lock(&pci->irq_mutex);
	mdev_pci_disable(pci, INTX);
	mdev_pci_disable(pci, REQ);
	/* whichever of MSI and MSI-X is on, if any */
	mdev_pci_drop(pci, pci->irq_index, pci->vectors,
		      mdev_pci_max_vectors(pci));
	mutex_unlock(&pci->irq_mutex);
	/* an interrupt that was raised until now must not reach the next opener */
	irq_work_sync(&pci->irq_work);
	spin_lock_irq(&pci->lock);
	mdev_pci_irq_reset(pci);
	spin_unlock_irq(&pci->lock);
}
