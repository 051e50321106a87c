// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bridge: a VFIO device for every mediated device of the classic door.
 */
#include <linux/interval_tree_generic.h>
#include <linux/iova_bitmap.h>
#include <linux/mdev.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/overflow.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vfio.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include "mdev_private.h"
#include "mdev_trace.h"

/*
 * How long, and how often, to wait for a vendor that is to unpin before VFIO is
 * given the chance to sort out its locks. It asks eleven times, and then kills the
 * host.
 */
#define VFIO_MDEV_UNMAP_TIMEOUT		(HZ / 2)
#define VFIO_MDEV_UNMAP_ASKS		9

/* no region has that many capabilities, and no vendor makes us allocate more */
#define VFIO_MDEV_REGION_INFO_MAX	SZ_64K

/* what this VFIO knows; compat/ has it that older ones know less */
#define VFIO_MDEV_MIGRATION_FLAGS					\
	(VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P |		\
	 VFIO_MIGRATION_PRE_COPY)

/**
 * struct vfio_mdev_pin - what one call of mdev_pin_pages() has pinned
 * @rb: in mem->pins
 * @subtree_last: the interval tree's
 * @first: IOVA of the first byte
 * @last: IOVA of the last byte
 * @serial: what came later has a higher one
 * @done: it is pinned; otherwise it is being pinned or unpinned
 */
struct vfio_mdev_pin {
	struct rb_node rb;
	u64 subtree_last;
	u64 first;
	u64 last;
	u64 serial;
	bool done;
};

/**
 * struct vfio_mdev_unmap - a range that VFIO wants back
 * @next: in mem->unmapping
 * @first: IOVA of the first byte
 * @last: IOVA of the last byte
 * @serial: of the latest pin that this is about
 * @asked: how often VFIO has asked
 * @users: how many of those who were asked wait; nothing is pinned in the range as
 *	long as anybody does
 * @done: the vendor was told, and those pins are gone
 */
struct vfio_mdev_unmap {
	struct list_head next;
	u64 first;
	u64 last;
	u64 serial;
	unsigned int asked;
	unsigned int users;
	bool done;
};

/**
 * struct vfio_mdev_memory - the user's memory, as a vendor uses it
 * @vm: the device
 * @opened_lock: protects @opened, and keeps the vendor from being closed
 * @opened: the vendor's open has returned, its release was not called yet
 * @unmaps: told of unmapped ranges like the vendor's op
 * @lock: protects the members below
 * @pins: everything that VFIO may have pinned for the vendor, by IOVA
 * @serial: of the latest pin
 * @open: the vendor may be told of unmapped ranges
 * @usable: the vendor may pin, which it may somewhat longer
 * @unmapping: those ranges; who was asked last, or @unmap_work, takes one out
 * @unmap_work: tells the vendor
 * @wait: for pins to be done or gone, and for the end of an unmap
 */
struct vfio_mdev_memory {
	struct vfio_mdev *vm;
	struct mutex opened_lock;	/* protects opened */
	bool opened;
	struct blocking_notifier_head unmaps;
	spinlock_t lock;		/* protects what follows */
	struct rb_root_cached pins;
	u64 serial;
	bool open;
	bool usable;
	struct list_head unmapping;
	struct work_struct unmap_work;
	wait_queue_head_t wait;
};

/**
 * struct vfio_mdev - a VFIO device
 * @vdev: VFIO's part; its reference count keeps the structure. Its @dev is the
 *	mediated device's, which outlives the binding, not the structure
 * @ops: the vendor's callbacks; as long as the mediated device
 * @ioctl: the vendor's, or one that refuses: the hot path has nothing to check
 * @memory: there from the first time it is opened: most never are. What is needed
 *	only then is in there, as VFIO's part almost fills the 1024 bytes of this one
 */
struct vfio_mdev {
	struct vfio_device vdev;
	const struct mdev_parent_ops *ops;
	long (*ioctl)(struct mdev_device *mdev, unsigned int cmd,
		      unsigned long arg);
	struct vfio_mdev_memory *memory;
};

/*
 * VFIO looks at our ops when it releases a device, which may be after it was
 * unregistered: the module's text and data must wait for that.
 */
static atomic_t vfio_mdev_devices = ATOMIC_INIT(0);

static struct vfio_mdev *to_vfio_mdev(struct vfio_device *vdev)
{
	return container_of(vdev, struct vfio_mdev, vdev);
}

static struct mdev_device *mdev_of(struct vfio_mdev *vm)
{
	return to_mdev_device(vm->vdev.dev);
}

static int vfio_mdev_init_dev(struct vfio_device *vdev)
{
	atomic_inc(&vfio_mdev_devices);
	return 0;
}

static void vfio_mdev_release_dev(struct vfio_device *vdev)
{
	kfree(to_vfio_mdev(vdev)->memory);
	/* pairs with vfio_mdev_wait_released() */
	if (atomic_dec_and_test(&vfio_mdev_devices))
		wake_up_var(&vfio_mdev_devices);
}

/*
 * Memory of the user: what the vendor of an open device has pinned. VFIO kills
 * the host if a range is still pinned after it has asked for it too often, and
 * leaks what is still pinned after the device was closed. So the bridge keeps
 * account.
 */

#define PIN_FIRST(pin)	((pin)->first)
#define PIN_LAST(pin)	((pin)->last)
INTERVAL_TREE_DEFINE(struct vfio_mdev_pin, rb, u64, subtree_last, PIN_FIRST,
		     PIN_LAST, static, vfio_mdev_pins)

/* Of a device that is open: vendors may not ask for another. */
static struct vfio_mdev_memory *memory_of(struct mdev_device *mdev)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	return vm->memory;
}

static void vfio_mdev_pins_changed(struct vfio_mdev_memory *mem)
{
	lockdep_assert_held(&mem->lock);

	/* whoever waits looks at pins under the lock, after it began to wait */
	if (waitqueue_active(&mem->wait))
		wake_up_all(&mem->wait);
}

#define PIN_BUSY	BIT(0)
#define PIN_DONE	BIT(1)

/* The first pin in a range, up to a serial, that is in one of these states. */
static struct vfio_mdev_pin *
vfio_mdev_pin_find(struct vfio_mdev_memory *mem, u64 first, u64 last, u64 serial,
		   unsigned int states)
{
	struct vfio_mdev_pin *pin;

	lockdep_assert_held(&mem->lock);

	for (pin = vfio_mdev_pins_iter_first(&mem->pins, first, last); pin;
	     pin = vfio_mdev_pins_iter_next(pin, first, last))
		if (pin->serial <= serial &&
		    (pin->done ? PIN_DONE : PIN_BUSY) & states)
			return pin;
	return NULL;
}

static bool vfio_mdev_no_pin(struct vfio_mdev_memory *mem, u64 first, u64 last,
			     u64 serial, unsigned int states)
{
	bool none;

	spin_lock(&mem->lock);
	none = !vfio_mdev_pin_find(mem, first, last, serial, states);
	spin_unlock(&mem->lock);
	return none;
}

static bool vfio_mdev_pins_gone(struct vfio_mdev_memory *mem, u64 first, u64 last)
{
	return vfio_mdev_no_pin(mem, first, last, U64_MAX, PIN_BUSY | PIN_DONE);
}

/* Is VFIO waiting for the vendor to be told of a part of the range? */
static bool vfio_mdev_is_unmapping(struct vfio_mdev_memory *mem, u64 first,
				   u64 last)
{
	struct vfio_mdev_unmap *unmap;

	lockdep_assert_held(&mem->lock);

	list_for_each_entry(unmap, &mem->unmapping, next)
		if (unmap->users && unmap->first <= last && unmap->last >= first)
			return true;
	return false;
}

static int vfio_mdev_pin_range(dma_addr_t iova, int npage, u64 *first, u64 *last)
{
	if (npage <= 0)
		return -EINVAL;
	*first = ALIGN_DOWN((u64)iova, PAGE_SIZE);
	if (check_add_overflow(*first, ((u64)npage << PAGE_SHIFT) - 1, last))
		return -EINVAL;
	return 0;
}

/*
 * Before VFIO pins, as it may want back what it has pinned before it says so. Not
 * in a range that is being unmapped, or that would never end.
 */
static int vfio_mdev_pin_add(struct vfio_mdev_memory *mem,
			     struct vfio_mdev_pin *pin)
{
	int ret = 0;

	spin_lock(&mem->lock);
	if (!mem->usable)
		ret = -ENODEV;
	else if (vfio_mdev_is_unmapping(mem, pin->first, pin->last))
		ret = -EINVAL;
	if (!ret) {
		pin->serial = ++mem->serial;
		vfio_mdev_pins_insert(pin, &mem->pins);
	}
	spin_unlock(&mem->lock);
	return ret;
}

static void vfio_mdev_pin_free(struct vfio_mdev_memory *mem,
			       struct vfio_mdev_pin *pin)
{
	spin_lock(&mem->lock);
	vfio_mdev_pins_remove(pin, &mem->pins);
	vfio_mdev_pins_changed(mem);
	spin_unlock(&mem->lock);
	kfree(pin);
}

/* Undo a pin that the caller has taken: that was done, and is not any more. */
static void vfio_mdev_unpin(struct vfio_mdev_memory *mem,
			    struct vfio_mdev_pin *pin)
{
	vfio_unpin_pages(&mem->vm->vdev, pin->first,
			 (pin->last - pin->first + 1) >> PAGE_SHIFT);
	vfio_mdev_pin_free(mem, pin);
}

static int vfio_mdev_pin_pages(struct mdev_device *mdev, dma_addr_t iova,
			       int npage, int prot, struct page **pages)
{
	struct vfio_mdev_memory *mem = memory_of(mdev);
	struct vfio_mdev_pin *pin;
	u64 first, last;
	int ret;

	if (!mem->vm->ops->dma_unmap && !rcu_access_pointer(mem->unmaps.head))
		return -EINVAL;
	ret = vfio_mdev_pin_range(iova, npage, &first, &last);
	if (ret)
		return ret;

	pin = kzalloc_obj(*pin, GFP_KERNEL_ACCOUNT);
	if (!pin)
		return -ENOMEM;
	pin->first = first;
	pin->last = last;
	ret = vfio_mdev_pin_add(mem, pin);
	if (ret) {
		kfree(pin);
		return ret;
	}

	ret = vfio_pin_pages(&mem->vm->vdev, first, npage, prot, pages);
	if (ret <= 0) {
		vfio_mdev_pin_free(mem, pin);
		return ret ?: -EFAULT;
	}

	spin_lock(&mem->lock);
	pin->done = true;
	vfio_mdev_pins_changed(mem);
	spin_unlock(&mem->lock);
	return ret;
}

/* Take the pin of exactly this range. */
static struct vfio_mdev_pin *vfio_mdev_take_exact(struct vfio_mdev_memory *mem,
						  u64 first, u64 last)
{
	struct vfio_mdev_pin *pin;

	spin_lock(&mem->lock);
	for (pin = vfio_mdev_pins_iter_first(&mem->pins, first, last); pin;
	     pin = vfio_mdev_pins_iter_next(pin, first, last)) {
		if (pin->done && pin->first == first && pin->last == last) {
			pin->done = false;
			break;
		}
	}
	spin_unlock(&mem->lock);
	return pin;
}

static void vfio_mdev_unpin_pages(struct mdev_device *mdev, dma_addr_t iova,
				  int npage)
{
	struct vfio_mdev_memory *mem = memory_of(mdev);
	struct vfio_mdev_pin *pin = NULL;
	u64 first, last;

	if (!vfio_mdev_pin_range(iova, npage, &first, &last))
		pin = vfio_mdev_take_exact(mem, first, last);
	if (pin)
		vfio_mdev_unpin(mem, pin);
	else
		dev_err_ratelimited(&mdev->dev,
				    "vendor unpins %d pages at %#llx, which it did not pin\n",
				    npage, (u64)iova);
}

/* Undo what the vendor ought to have undone. */
static void vfio_mdev_unpin_rest(struct vfio_mdev_memory *mem, u64 first,
				 u64 last, u64 serial)
{
	struct vfio_mdev_pin *pin;
	unsigned int count = 0;

	for (;;) {
		spin_lock(&mem->lock);
		pin = vfio_mdev_pin_find(mem, first, last, serial, PIN_DONE);
		if (pin)
			pin->done = false;
		spin_unlock(&mem->lock);
		if (!pin)
			break;
		vfio_mdev_unpin(mem, pin);
		count++;
	}
	if (count)
		dev_err_ratelimited(mem->vm->vdev.dev,
				    "vendor forgot to unpin memory %u times, done for it\n",
				    count);
}

static void vfio_mdev_unmap_tell(struct vfio_mdev_memory *mem,
				 struct vfio_mdev_unmap *range)
{
	u64 first = range->first, last = range->last, serial = range->serial;
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz	= sizeof(unmap),
		.iova	= first,
		.size	= last - first + 1,
	};

	/* the vendor knows what is pinned only when it is */
	wait_event(mem->wait,
		   vfio_mdev_no_pin(mem, first, last, serial, PIN_BUSY));
	if (mem->vm->ops->dma_unmap)
		mem->vm->ops->dma_unmap(mdev_of(mem->vm), unmap.iova, unmap.size);
	blocking_notifier_call_chain(&mem->unmaps, MDEV_DMA_UNMAP, &unmap);
	vfio_mdev_unpin_rest(mem, first, last, serial);
	wait_event(mem->wait, vfio_mdev_no_pin(mem, first, last, serial,
					       PIN_BUSY | PIN_DONE));
}

/* The first range that the vendor was not told of. */
static struct vfio_mdev_unmap *vfio_mdev_unmap_next(struct vfio_mdev_memory *mem)
{
	struct vfio_mdev_unmap *unmap, *found = NULL;

	spin_lock(&mem->lock);
	list_for_each_entry(unmap, &mem->unmapping, next) {
		if (!unmap->done) {
			found = unmap;
			break;
		}
	}
	spin_unlock(&mem->lock);
	return found;
}

/*
 * If nobody waits, the range is free to be pinned again: VFIO will see that all is
 * gone, and is most likely done with it before anybody pins.
 */
static void vfio_mdev_unmap_put(struct vfio_mdev_memory *mem,
				struct vfio_mdev_unmap *unmap)
{
	lockdep_assert_held(&mem->lock);

	if (!unmap->done || unmap->users)
		return;
	list_del(&unmap->next);
	kfree(unmap);
}

static void vfio_mdev_unmap_end(struct vfio_mdev_memory *mem,
				struct vfio_mdev_unmap *unmap)
{
	spin_lock(&mem->lock);
	unmap->done = true;
	vfio_mdev_unmap_put(mem, unmap);
	vfio_mdev_pins_changed(mem);
	spin_unlock(&mem->lock);
}

static void vfio_mdev_unmap_work(struct work_struct *work)
{
	struct vfio_mdev_memory *mem = container_of(work, struct vfio_mdev_memory,
						    unmap_work);
	struct vfio_mdev_unmap *unmap;

	while ((unmap = vfio_mdev_unmap_next(mem))) {
		vfio_mdev_unmap_tell(mem, unmap);
		vfio_mdev_unmap_end(mem, unmap);
	}
}

/* The range, among those that the vendor is to be told of. */
static struct vfio_mdev_unmap *
vfio_mdev_unmap_find(struct vfio_mdev_memory *mem, u64 first, u64 last)
{
	struct vfio_mdev_unmap *unmap;

	lockdep_assert_held(&mem->lock);

	list_for_each_entry(unmap, &mem->unmapping, next)
		if (!unmap->done && unmap->first <= first && unmap->last >= last)
			return unmap;
	return NULL;
}

/*
 * Have the vendor told, if it was not yet; the caller waits. A device that is about
 * to be closed is told nothing any more, and lets go of everything anyway. NULL: that
 * is all gone.
 */
static struct vfio_mdev_unmap *
vfio_mdev_unmap_join(struct vfio_mdev_memory *mem, u64 first, u64 last,
		     long *timeout)
{
	struct vfio_mdev_unmap *unmap = NULL, *new;

	/* small, and there is nobody to tell of an error */
	new = kzalloc_obj(*new, GFP_KERNEL | __GFP_NOFAIL);
	spin_lock(&mem->lock);
	if (!vfio_mdev_pin_find(mem, first, last, U64_MAX, PIN_BUSY | PIN_DONE))
		goto out;
	unmap = vfio_mdev_unmap_find(mem, first, last);
	if (!unmap) {
		unmap = new;
		new = NULL;
		unmap->first = first;
		unmap->last = last;
		unmap->serial = mem->serial;
		list_add_tail(&unmap->next, &mem->unmapping);
		if (mem->open)
			schedule_work(&mem->unmap_work);
	}
	unmap->users++;
	*timeout = unmap->asked++ < VFIO_MDEV_UNMAP_ASKS ?
		   VFIO_MDEV_UNMAP_TIMEOUT : MAX_SCHEDULE_TIMEOUT;
out:
	spin_unlock(&mem->lock);
	kfree(new);
	return unmap;
}

static bool vfio_mdev_unmap_done(struct vfio_mdev_memory *mem,
				 struct vfio_mdev_unmap *unmap)
{
	bool done;

	spin_lock(&mem->lock);
	done = unmap->done;
	spin_unlock(&mem->lock);
	return done;
}

static void vfio_mdev_unmap_leave(struct vfio_mdev_memory *mem,
				  struct vfio_mdev_unmap *unmap)
{
	spin_lock(&mem->lock);
	unmap->users--;
	vfio_mdev_unmap_put(mem, unmap);
	spin_unlock(&mem->lock);
}

/*
 * VFIO wants a range back. Its type1 back end holds a lock while it asks that is
 * taken inside of the one that vfio_pin_pages() and vfio_unpin_pages() take, when
 * another device joins or leaves the container, and when another thread unmaps. So
 * nobody who pins or unpins may be waited for without end here. But VFIO asks again,
 * and meanwhile lets go of the lock. When it has asked too often, a thread that
 * hangs is better than a host that dies.
 */
static void vfio_mdev_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct vfio_mdev_memory *mem;
	struct vfio_mdev_unmap *unmap;
	u64 last = iova + length - 1;
	long timeout;

	/* VFIO may ask a device that is just about to be opened the first time */
	mem = smp_load_acquire(&to_vfio_mdev(vdev)->memory);
	if (!mem || vfio_mdev_pins_gone(mem, iova, last))
		return;

	unmap = vfio_mdev_unmap_join(mem, iova, last, &timeout);
	if (!unmap)
		return;
	wait_event_timeout(mem->wait, vfio_mdev_unmap_done(mem, unmap), timeout);
	vfio_mdev_unmap_leave(mem, unmap);
}

static int vfio_mdev_dma_rw(struct mdev_device *mdev, dma_addr_t iova,
			    void *data, size_t len, bool write)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	return vfio_dma_rw(&vm->vdev, iova, data, len, write);
}

static int vfio_mdev_register_unmap(struct mdev_device *mdev,
				    struct notifier_block *nb)
{
	struct vfio_mdev_memory *mem = memory_of(mdev);

	return blocking_notifier_chain_register(&mem->unmaps, nb);
}

static int vfio_mdev_unregister_unmap(struct mdev_device *mdev,
				      struct notifier_block *nb)
{
	struct vfio_mdev_memory *mem = memory_of(mdev);

	return blocking_notifier_chain_unregister(&mem->unmaps, nb);
}

static int vfio_mdev_memory_alloc(struct vfio_mdev *vm)
{
	struct vfio_mdev_memory *mem;

	/* freed in vfio_mdev_release_dev() */
	mem = kzalloc_obj(*mem, GFP_KERNEL_ACCOUNT);
	if (!mem)
		return -ENOMEM;

	mem->vm = vm;
	mutex_init(&mem->opened_lock);
	BLOCKING_INIT_NOTIFIER_HEAD(&mem->unmaps);
	spin_lock_init(&mem->lock);
	mem->pins = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&mem->unmapping);
	INIT_WORK(&mem->unmap_work, vfio_mdev_unmap_work);
	init_waitqueue_head(&mem->wait);
	/* pairs with vfio_mdev_dma_unmap() and vfio_mdev_migration_get_state() */
	smp_store_release(&vm->memory, mem);
	return 0;
}

/* The vendor may pin, and is told of what is unmapped. */
static int vfio_mdev_memory_begin(struct vfio_mdev *vm)
{
	struct vfio_mdev_memory *mem;
	int ret;

	if (!vm->memory) {
		ret = vfio_mdev_memory_alloc(vm);
		if (ret)
			return ret;
	}
	mem = vm->memory;
	spin_lock(&mem->lock);
	mem->open = true;
	mem->usable = true;
	spin_unlock(&mem->lock);
	return 0;
}

/* The vendor is not told of anything any more when this returns. */
static void vfio_mdev_memory_end(struct vfio_mdev_memory *mem)
{
	spin_lock(&mem->lock);
	mem->open = false;
	spin_unlock(&mem->lock);
	flush_work(&mem->unmap_work);
}

/* The vendor has released the device, and should have done this. */
static void vfio_mdev_memory_forget(struct vfio_mdev_memory *mem)
{
	struct vfio_mdev_unmap *unmap;
	struct notifier_block *nb;

	while ((nb = rcu_access_pointer(mem->unmaps.head))) {
		dev_err_ratelimited(mem->vm->vdev.dev,
				    "vendor forgot to unregister a notifier, done for it\n");
		blocking_notifier_chain_unregister(&mem->unmaps, nb);
	}
	spin_lock(&mem->lock);
	mem->usable = false;
	spin_unlock(&mem->lock);
	/* what it is in the midst of does end */
	wait_event(mem->wait,
		   vfio_mdev_no_pin(mem, 0, U64_MAX, U64_MAX, PIN_BUSY));
	vfio_mdev_unpin_rest(mem, 0, U64_MAX, U64_MAX);
	while ((unmap = vfio_mdev_unmap_next(mem)))
		vfio_mdev_unmap_end(mem, unmap);
}

static struct kvm *vfio_mdev_kvm(struct mdev_device *mdev)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	return vm->vdev.kvm;
}

static int vfio_mdev_mig_get_next_state(struct mdev_device *mdev,
					enum vfio_device_mig_state cur,
					enum vfio_device_mig_state end,
					enum vfio_device_mig_state *next)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	/* there is none, but VFIO warns of a driver that asks */
	if (cur == VFIO_DEVICE_STATE_ERROR)
		return -EINVAL;
	return vfio_mig_get_next_state(&vm->vdev, cur, end, next);
}

/**
 * struct mdev_dirty - where a vendor reports dirty memory
 * @bitmap: VFIO's
 * @first: the first address that the vendor was asked about
 * @last: the last one
 */
struct mdev_dirty {
	struct iova_bitmap *bitmap;
	unsigned long first;
	unsigned long last;
};

/*
 * A vendor's pages may be larger than the user's, and stick out of what it was asked
 * about; behind the bitmap there is other memory, on old kernels ours.
 */
static void vfio_mdev_log_dirty(struct mdev_dirty *dirty, unsigned long iova,
				size_t length)
{
	unsigned long last;

	if (!length)
		return;
	if (check_add_overflow(iova, length - 1, &last))
		last = ULONG_MAX;
	iova = max(iova, dirty->first);
	last = min(last, dirty->last);
	if (iova <= last)
		iova_bitmap_set(dirty->bitmap, iova, last - iova + 1);
}

static const struct mdev_bridge_ops vfio_mdev_bridge_ops = {
	.pin_pages		= vfio_mdev_pin_pages,
	.unpin_pages		= vfio_mdev_unpin_pages,
	.dma_rw			= vfio_mdev_dma_rw,
	.register_unmap		= vfio_mdev_register_unmap,
	.unregister_unmap	= vfio_mdev_unregister_unmap,
	.kvm			= vfio_mdev_kvm,
	.mig_get_next_state	= vfio_mdev_mig_get_next_state,
	.log_dirty		= vfio_mdev_log_dirty,
};

/* What VFIO calls. */

static void vfio_mdev_set_opened(struct vfio_mdev_memory *mem, bool opened)
{
	mutex_lock(&mem->opened_lock);
	mem->opened = opened;
	mutex_unlock(&mem->opened_lock);
}

static int vfio_mdev_try_open(struct vfio_mdev *vm)
{
	int ret;

	/* first: from here on the ops stay where they are */
	ret = mdev_open(mdev_of(vm), &vfio_mdev_bridge_ops);
	if (ret)
		return ret;

	if (!try_module_get(vm->ops->owner)) {
		ret = -ENODEV;
		goto err_close;
	}

	ret = vfio_mdev_memory_begin(vm);
	if (ret)
		goto err_module;
	if (vm->ops->open) {
		ret = mdev_vendor_errno(vm->vdev.dev, "open",
					vm->ops->open(mdev_of(vm)));
		if (ret)
			goto err_memory;
	}
	vfio_mdev_set_opened(vm->memory, true);
	return 0;

err_memory:
	vfio_mdev_memory_end(vm->memory);
	vfio_mdev_memory_forget(vm->memory);
err_module:
	module_put(vm->ops->owner);
err_close:
	mdev_close(mdev_of(vm));
	return ret;
}

static int vfio_mdev_open_device(struct vfio_device *vdev)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	ret = vfio_mdev_try_open(vm);
	trace_mdev_open(vm->vdev.dev, task_tgid_nr(current), current->comm,
			ret);
	return ret;
}

static void vfio_mdev_close_device(struct vfio_device *vdev)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	const struct mdev_holder *holder = &to_device_obj(mdev_of(vm))->holder;

	vfio_mdev_set_opened(vm->memory, false);
	vfio_mdev_memory_end(vm->memory);
	if (vm->ops->release)
		vm->ops->release(mdev_of(vm));
	vfio_mdev_memory_forget(vm->memory);
	module_put(vm->ops->owner);
	trace_mdev_close(vm->vdev.dev, holder->pid, holder->comm, 0);
	/* last: the ops may be gone after this */
	mdev_close(mdev_of(vm));
}

/*
 * Accesses, traced. Out of line, so that an access that nobody traces passes by one
 * instruction, which does nothing, and ends in a jump to the vendor.
 */

static noinline ssize_t vfio_mdev_read_traced(struct vfio_mdev *vm,
					      char __user *buf, size_t count,
					      loff_t *ppos)
{
	u64 start = ktime_get_ns();
	loff_t pos = *ppos;
	ssize_t ret;

	ret = vm->ops->read(mdev_of(vm), buf, count, ppos);
	trace_mdev_read(vm->vdev.dev, pos, count, ret, mdev_since(start));
	return ret;
}

static noinline ssize_t vfio_mdev_write_traced(struct vfio_mdev *vm,
					       const char __user *buf,
					       size_t count, loff_t *ppos)
{
	u64 start = ktime_get_ns();
	loff_t pos = *ppos;
	ssize_t ret;

	ret = vm->ops->write(mdev_of(vm), buf, count, ppos);
	trace_mdev_write(vm->vdev.dev, pos, count, ret, mdev_since(start));
	return ret;
}

static noinline long vfio_mdev_ioctl_traced(struct vfio_mdev *vm,
					    unsigned int cmd, unsigned long arg)
{
	u64 start = ktime_get_ns();
	long ret;

	ret = vm->ioctl(mdev_of(vm), cmd, arg);
	trace_mdev_ioctl(vm->vdev.dev, cmd, ret, mdev_since(start));
	return ret;
}

static noinline int vfio_mdev_mmap_traced(struct vfio_mdev *vm,
					  struct vm_area_struct *vma)
{
	loff_t pos = (loff_t)vma->vm_pgoff << PAGE_SHIFT;
	size_t count = vma->vm_end - vma->vm_start;
	u64 start = ktime_get_ns();
	int ret;

	ret = vm->ops->mmap(mdev_of(vm), vma);
	trace_mdev_mmap(vm->vdev.dev, pos, count, ret, mdev_since(start));
	return ret;
}

/* a call would be as dear as all the rest */
static __always_inline long vfio_mdev_call_ioctl(struct vfio_mdev *vm,
						 unsigned int cmd,
						 unsigned long arg)
{
	if (trace_mdev_ioctl_enabled())
		return vfio_mdev_ioctl_traced(vm, cmd, arg);
	return vm->ioctl(mdev_of(vm), cmd, arg);
}

static ssize_t vfio_mdev_read(struct vfio_device *vdev, char __user *buf,
			      size_t count, loff_t *ppos)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	if (unlikely(!vm->ops->read))
		return -EINVAL;
	if (trace_mdev_read_enabled())
		return vfio_mdev_read_traced(vm, buf, count, ppos);
	return vm->ops->read(mdev_of(vm), buf, count, ppos);
}

static ssize_t vfio_mdev_write(struct vfio_device *vdev, const char __user *buf,
			       size_t count, loff_t *ppos)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	if (unlikely(!vm->ops->write))
		return -EINVAL;
	if (trace_mdev_write_enabled())
		return vfio_mdev_write_traced(vm, buf, count, ppos);
	return vm->ops->write(mdev_of(vm), buf, count, ppos);
}

static long vfio_mdev_ioctl(struct vfio_device *vdev, unsigned int cmd,
			    unsigned long arg)
{
	return vfio_mdev_call_ioctl(to_vfio_mdev(vdev), cmd, arg);
}

static int vfio_mdev_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	if (unlikely(!vm->ops->mmap))
		return -EINVAL;
	if (trace_mdev_mmap_enabled())
		ret = vfio_mdev_mmap_traced(vm, vma);
	else
		ret = vm->ops->mmap(mdev_of(vm), vma);
	return mdev_vendor_errno(vdev->dev, "mmap", ret);
}

/* VFIO asks when the bridge is unbound from an open device. */
static void vfio_mdev_request(struct vfio_device *vdev, unsigned int count)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	/* VFIO also asks while the last close is on its way out */
	if (!mdev_is_open(mdev_of(vm)))
		return;

	if (vm->ops->request)
		vm->ops->request(mdev_of(vm), count);
	else if (!count)
		dev_notice(vdev->dev, "driver unbound while open, waiting\n");
}

/* Copy the capabilities that the vendor chained behind @info to VFIO's list. */
static int vfio_mdev_copy_caps(struct vfio_region_info *info, size_t size,
			       struct vfio_info_cap *caps)
{
	size_t offset = info->cap_offset;

	while (offset) {
		struct vfio_info_cap_header *cap = (void *)info + offset;
		size_t next, end;
		int ret;

		if (offset < sizeof(*info) || offset + sizeof(*cap) > size)
			return -EIO;
		/* chains go upwards, which also makes them end */
		next = cap->next;
		end = next ?: size;
		if (end < offset + sizeof(*cap) || end > size)
			return -EIO;

		ret = vfio_info_add_capability(caps, cap, end - offset);
		if (ret)
			return ret;
		offset = next;
	}
	return 0;
}

/*
 * Ask the vendor's ioctl about region @index. It writes to user memory, so lend
 * it some of the caller's address space. Each call has its own; whoever scribbles
 * over it from another thread fools nobody but itself.
 */
static int vfio_mdev_ask_region(struct vfio_mdev *vm, u32 index,
				struct vfio_region_info *answer, size_t size)
{
	const size_t minsz = offsetofend(struct vfio_region_info, offset);
	unsigned long addr;
	long ret;

	addr = vm_mmap(NULL, 0, PAGE_ALIGN(size), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	if (IS_ERR_VALUE(addr))
		return (long)addr;

	memset(answer, 0, size);
	answer->argsz = size;
	answer->index = index;
	ret = -EFAULT;
	if (copy_to_user((void __user *)addr, answer, minsz))
		goto out_unmap;
	ret = vfio_mdev_call_ioctl(vm, VFIO_DEVICE_GET_REGION_INFO, addr);
	if (ret)
		goto out_unmap;
	if (copy_from_user(answer, (void __user *)addr, size))
		ret = -EFAULT;

out_unmap:
	vm_munmap(addr, PAGE_ALIGN(size));
	return mdev_vendor_errno(vm->vdev.dev, "ioctl", ret);
}

/* What VFIO wants to know, from a vendor that has no other op than ioctl. */
static int vfio_mdev_ioctl_region_info(struct vfio_mdev *vm,
				       struct vfio_region_info *info,
				       struct vfio_info_cap *caps)
{
	struct vfio_region_info *full;
	struct vfio_region_info answer;
	u32 size;
	int ret;

	ret = vfio_mdev_ask_region(vm, info->index, &answer, sizeof(answer));
	if (ret)
		return ret;

	info->size = answer.size;
	info->offset = answer.offset;
	/* VFIO sets this one when it has laid out the capabilities */
	info->flags = answer.flags & ~VFIO_REGION_INFO_FLAG_CAPS;
	if (info->flags == answer.flags || answer.argsz <= sizeof(answer))
		return 0;

	/* there was no room for capabilities; now the size is known */
	size = answer.argsz;
	if (size > VFIO_MDEV_REGION_INFO_MAX)
		return -E2BIG;
	full = kvzalloc(size, GFP_KERNEL);
	if (!full)
		return -ENOMEM;
	ret = vfio_mdev_ask_region(vm, info->index, full, size);
	if (!ret)
		ret = vfio_mdev_copy_caps(full, size, caps);
	kvfree(full);
	return ret;
}

static bool vfio_mdev_has_region_op(struct vfio_device *vdev)
{
	return to_vfio_mdev(vdev)->ops->get_region_info_caps;
}

/*
 * Newer VFIO answers VFIO_DEVICE_GET_REGION_INFO itself and wants the answer in
 * kernel memory, with the capabilities on a list.
 */
static int vfio_mdev_get_region_info_caps(struct vfio_device *vdev,
					  struct vfio_region_info *info,
					  struct vfio_info_cap *caps)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	u64 start = trace_mdev_ioctl_enabled() ? ktime_get_ns() : 0;
	int ret;

	if (!vfio_mdev_has_region_op(vdev))
		return vfio_mdev_ioctl_region_info(vm, info, caps);

	/* the caller's, but for argsz and index */
	info->flags = 0;
	info->cap_offset = 0;
	info->size = 0;
	info->offset = 0;
	ret = vm->ops->get_region_info_caps(mdev_of(vm), info, caps);
	trace_mdev_ioctl(vm->vdev.dev, VFIO_DEVICE_GET_REGION_INFO, ret,
			 mdev_since(start));
	info->flags &= ~VFIO_REGION_INFO_FLAG_CAPS;
	return mdev_vendor_errno(vdev->dev, "get_region_info_caps", ret);
}

static int vfio_mdev_device_feature(struct vfio_device *vdev, u32 flags,
				    void __user *arg, size_t argsz)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	u64 start = trace_mdev_ioctl_enabled() ? ktime_get_ns() : 0;
	int ret;

	if (!vm->ops->device_feature)
		return -ENOTTY;
	ret = vm->ops->device_feature(mdev_of(vm), flags, arg, argsz);
	trace_mdev_ioctl(vm->vdev.dev, VFIO_DEVICE_FEATURE, ret,
			 mdev_since(start));
	return ret;
}

static struct file *
vfio_mdev_migration_set_state(struct vfio_device *vdev,
			      enum vfio_device_mig_state new_state)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	/* the user's number; this one would be taken for "as it is" */
	if (new_state == VFIO_DEVICE_STATE_ERROR)
		return ERR_PTR(-EINVAL);
	return vm->ops->migration_set_state(mdev_of(vm), new_state);
}

/* VFIO also asks for a file in debugfs, whether the device is open or not. */
static int vfio_mdev_migration_get_state(struct vfio_device *vdev,
					 enum vfio_device_mig_state *state)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	struct vfio_mdev_memory *mem;
	int ret = -ENODEV;

	/* should the vendor forget it, the user gets none of our stack */
	*state = VFIO_DEVICE_STATE_ERROR;
	/* it may never have been open */
	mem = smp_load_acquire(&vm->memory);
	if (!mem)
		return ret;
	mutex_lock(&mem->opened_lock);
	if (mem->opened)
		ret = vm->ops->migration_get_state(mdev_of(vm), state);
	mutex_unlock(&mem->opened_lock);
	return mdev_vendor_errno(vdev->dev, "migration_get_state", ret);
}

static int vfio_mdev_migration_get_data_size(struct vfio_device *vdev,
					     unsigned long *stop_copy_length)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	*stop_copy_length = 0;
	ret = vm->ops->migration_get_data_size(mdev_of(vm), stop_copy_length);
	return mdev_vendor_errno(vdev->dev, "migration_get_data_size", ret);
}

static const struct vfio_migration_ops vfio_mdev_migration_ops = {
	.migration_set_state	 = vfio_mdev_migration_set_state,
	.migration_get_state	 = vfio_mdev_migration_get_state,
	.migration_get_data_size = vfio_mdev_migration_get_data_size,
};

static int vfio_mdev_log_start(struct vfio_device *vdev,
			       struct rb_root_cached *ranges, u32 nnodes,
			       u64 *page_size)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	ret = vm->ops->log_start(mdev_of(vm), ranges, nnodes, page_size);
	return mdev_vendor_errno(vdev->dev, "log_start", ret);
}

static int vfio_mdev_log_stop(struct vfio_device *vdev)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);

	return mdev_vendor_errno(vdev->dev, "log_stop",
				 vm->ops->log_stop(mdev_of(vm)));
}

static int vfio_mdev_log_read_and_clear(struct vfio_device *vdev,
					unsigned long iova,
					unsigned long length,
					struct iova_bitmap *bitmap)
{
	struct mdev_dirty dirty = {
		.bitmap	= bitmap,
		.first	= iova,
		.last	= iova + length - 1,
	};
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	int ret;

	/* user space may ask so; no vendor should have to think of it */
	if (!length)
		return 0;
	ret = vm->ops->log_read_and_clear(mdev_of(vm), iova, length, &dirty);
	return mdev_vendor_errno(vdev->dev, "log_read_and_clear", ret);
}

static const struct vfio_log_ops vfio_mdev_log_ops = {
	.log_start		= vfio_mdev_log_start,
	.log_stop		= vfio_mdev_log_stop,
	.log_read_and_clear	= vfio_mdev_log_read_and_clear,
};

static const struct vfio_device_ops vfio_mdev_ops = {
	.name			= "vfio-mdev",
	.init			= vfio_mdev_init_dev,
	.release		= vfio_mdev_release_dev,
	.open_device		= vfio_mdev_open_device,
	.close_device		= vfio_mdev_close_device,
	.read			= vfio_mdev_read,
	.write			= vfio_mdev_write,
	.ioctl			= vfio_mdev_ioctl,
	.mmap			= vfio_mdev_mmap,
	.request		= vfio_mdev_request,
	.get_region_info_caps	= vfio_mdev_get_region_info_caps,
	.dma_unmap		= vfio_mdev_dma_unmap,
	.device_feature		= vfio_mdev_device_feature,
	.bind_iommufd		= vfio_iommufd_emulated_bind,
	.unbind_iommufd		= vfio_iommufd_emulated_unbind,
	.attach_ioas		= vfio_iommufd_emulated_attach_ioas,
	.detach_ioas		= vfio_iommufd_emulated_detach_ioas,
};

static long vfio_mdev_no_ioctl(struct mdev_device *mdev, unsigned int cmd,
			       unsigned long arg)
{
	return -EINVAL;
}

static int vfio_mdev_probe(struct mdev_device *mdev)
{
	struct vfio_mdev *vm;
	int ret;

	vm = vfio_alloc_device(vfio_mdev, vdev, &mdev->dev, &vfio_mdev_ops);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	vm->ops = mdev_classic_ops(mdev);
	vm->ioctl = vm->ops->ioctl ?: vfio_mdev_no_ioctl;
	if (vm->ops->migration_flags) {
		vm->vdev.migration_flags = vm->ops->migration_flags &
					   VFIO_MDEV_MIGRATION_FLAGS;
		/* older kernels know only the first part of it, see compat/ */
		vm->vdev.mig_ops = (const void *)&vfio_mdev_migration_ops;
	}
	if (vm->ops->log_start)
		vm->vdev.log_ops = &vfio_mdev_log_ops;
	dev_set_drvdata(&mdev->dev, vm);

	/* last: user space may open it at once */
	ret = vfio_register_emulated_iommu_dev(&vm->vdev);
	if (ret)
		vfio_put_device(&vm->vdev);
	return ret;
}

static void vfio_mdev_remove(struct mdev_device *mdev)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	vfio_unregister_group_dev(&vm->vdev);
	vfio_put_device(&vm->vdev);
}

static struct mdev_driver vfio_mdev_driver = {
	.probe	= vfio_mdev_probe,
	.remove	= vfio_mdev_remove,
	.driver	= {
		.name		= "vfio_mdev",
		.owner		= THIS_MODULE,
		.mod_name	= KBUILD_MODNAME,
	},
};

/* There is no driver, but VFIO may have devices of ours to release. */
static void vfio_mdev_wait_released(void)
{
	/* pairs with vfio_mdev_release_dev() */
	wait_var_event(&vfio_mdev_devices, !atomic_read(&vfio_mdev_devices));
	/* who ended the wait may still be on its way out of this module */
	synchronize_rcu_tasks();
}

static int __init vfio_mdev_init(void)
{
	int ret = mdev_register_bridge(&vfio_mdev_driver);

	/* devices may have been bound, and unbound again */
	if (ret)
		vfio_mdev_wait_released();
	return ret;
}

static void __exit vfio_mdev_exit(void)
{
	mdev_unregister_bridge(&vfio_mdev_driver);
	vfio_mdev_wait_released();
}

module_init(vfio_mdev_init);
module_exit(vfio_mdev_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("VFIO bridge for mediated devices");
MODULE_ALIAS(MDEV_CLASSIC_MODALIAS);
#if IS_ENABLED(CONFIG_IOMMUFD_DRIVER)
MODULE_INFO(import_ns, "IOMMUFD");	/* iova_bitmap_set() */
#endif
