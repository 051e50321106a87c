// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bridge's account of user memory: what a vendor has pinned, and what VFIO wants
 * back.
 */
#include <linux/anon_inodes.h>
#include <linux/bitmap.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/interval_tree_generic.h>
#include <linux/iommu.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/overflow.h>
#include <linux/rwsem.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "vfio_mdev_private.h"

/**
 * DOC: user memory that is unmapped
 *
 * A vendor pins pages, and unpins them when it is told that user space unmaps
 * them. VFIO has rules of its own for that, which differ between its back ends, and
 * vendors, VMMs and guests keep none of them reliably. The bridge stands between:
 *
 * - vfio_iommu_type1 asks every device of a container in turn, and again, as long as
 *   any page of the mapping is pinned by any of them. If one is after the eleventh
 *   time, it stops the host with BUG_ON(). iommufd asks again for a range that is
 *   unmapped; but when a device is detached or gets another address space, it asks
 *   only once, and assumes that nothing is pinned after that.
 *
 * - vfio_iommu_type1 asks with device_list_lock held. Other threads wait for that lock
 *   while they hold iommu->lock, which each pin and unpin needs. So the answer must
 *   come in bounded time, whether the vendor has unpinned or not.
 *
 * - A vendor may be slow, may be in the middle of pinning, or may forget. Its device
 *   goes on writing to the pages.
 *
 * This is what follows from that:
 *
 * 1. A page that was pinned for a vendor stays allocated until the vendor unpins it or
 *    has released the device. When VFIO cannot wait any longer, the bridge keeps such
 *    a page by a reference of its own and only then undoes VFIO's pin. Such pages do
 *    not count for RLIMIT_MEMLOCK any more, so a vendor that has many of them cannot
 *    pin others.
 *
 * 2. Nothing is pinned in a range from the first question about it until VFIO is
 *    through with the unmap, for all devices that were asked, and nothing at all once it
 *    has asked many times. A device that is opened meanwhile waits for the unmaps of
 *    its container. VFIO is through when the thread that unmaps returns to user
 *    space; see vfio_mdev_unmap_watch().
 *
 * 3. A pin that is under way when its range is asked for fails, and so does the
 *    whole call that it is a part of.
 *
 * 4. An unpin undoes the pin that it belongs to: VFIO's, or the bridge's own. So nothing
 *    is pinned where something is kept.
 */

/*
 * How long a question waits for the vendor. Every unpin meanwhile starts that time anew.
 */
#define VFIO_MDEV_ASK_TIMEOUT		(HZ / 2)

/*
 * After how many questions the pages are kept. vfio_iommu_type1 needs an answer within
 * eleven; iommufd would wait for longer, but holds up the owner of the device.
 */
#define VFIO_MDEV_PATIENCE_TYPE1	5
#define VFIO_MDEV_PATIENCE_IOMMUFD	10

/*
 * From this question on, there is no limit: a thread that hangs is better than a host
 * that stops. VFIO may have asked once or twice more than we know of.
 */
#define VFIO_MDEV_LAST_QUESTION		9

/*
 * When an ioctl has asked that often, be it for several ranges, nothing at all is pinned
 * until it ends. VFIO tells mappings apart by their addresses in memory, and counts on if
 * another thread replaces the mapping by one that is new there. So that must not be pinned.
 */
#define VFIO_MDEV_MANY_QUESTIONS	3

/* How many pages are kept before the vendor can pin no others. */
#define VFIO_MDEV_KEPT_MAX		256

/*
 * How many pins for reading a report passes under one hold of the lock. A window has more
 * only if there are several pins of one page. The next pin then counts as dirty.
 */
#define VFIO_MDEV_LOG_VISITS		(4 * VFIO_MDEV_LOG_PAGES)

/* How long the first pin of an opened device waits for unmaps that are older. */
#define VFIO_MDEV_JOIN_TIMEOUT		(5 * HZ)

/*
 * A pin does not wait for an unmap that may be of another container, if that has not asked
 * for so long.
 */
#define VFIO_MDEV_STUCK_TIME		(2 * HZ)

/**
 * struct vfio_mdev_pin - what was pinned at once
 * @rb: in mem->pins or mem->kept
 * @subtree_last: the interval tree's
 * @first: IOVA of the first byte
 * @last: IOVA of the last byte
 * @done: it is pinned, and the vendor knows. Otherwise, if it is in mem->pins, it is
 *	being pinned or unpinned
 * @asked: VFIO has asked for it before it was @done: the error that the pin fails with
 * @write: the device writes to it
 * @pages: its pages
 */
struct vfio_mdev_pin {
	struct rb_node rb;
	u64 subtree_last;
	u64 first;
	u64 last;
	bool done;
	bool write;
	int asked;
	struct page *pages[];
};

/**
 * struct vfio_mdev_unmap - a range that VFIO wants back
 * @next: in mem->unmaps
 * @all: in vfio_mdev_unmaps, until it is @over
 * @task: the thread that unmaps; a reference if it is @blind
 * @container: a name for the container, if it is known; otherwise NULL
 * @id: of the ioctl that unmaps; later ones have higher ones
 * @first: IOVA of the first byte
 * @last: IOVA of the last byte
 * @asked: how often VFIO has asked, for all that we know
 * @when: it has asked last, in jiffies
 * @many: VFIO has asked many times; nothing at all is pinned
 * @blind: nobody will tell when it is over, see vfio_mdev_unmap_watch()
 * @gone: how many pins in the range were undone since the first question
 * @over: VFIO is through with it; set under vfio_mdev_unmaps_lock
 * @tell: the vendor is to be told
 * @keep: what is pinned in it is to be kept
 */
struct vfio_mdev_unmap {
	struct list_head next;
	struct list_head all;
	struct task_struct *task;
	const struct list_head *container;
	unsigned long id;
	u64 first;
	u64 last;
	unsigned int asked;
	unsigned long when;
	unsigned int gone;
	bool many;
	bool blind;
	bool over;
	bool tell;
	bool keep;
};

/**
 * struct vfio_mdev_call - what one call of a vendor is to pin
 * @pins: all of it
 * @count: number of entries in @pins
 * @asks: the value of mem->asks at which nothing in @pins was asked for
 */
struct vfio_mdev_call {
	struct vfio_mdev_pin **pins;
	int count;
	unsigned int asks;
};

/**
 * struct vfio_mdev_listener - a notifier that a vendor has registered
 * @next: in mem->listeners
 * @nb: the vendor's memory; not touched once the vendor may have freed it
 */
struct vfio_mdev_listener {
	struct list_head next;
	struct notifier_block *nb;
};

/**
 * struct vfio_mdev_memory - user memory, as a vendor uses it
 * @vm: the device
 * @vendor_lock: protects @vendor_open, and keeps the vendor from being closed
 * @vendor_open: the vendor's open has returned, its release was not called yet
 * @listeners_sem: protects @listeners; held for read while they are called
 * @listeners: told of unmapped ranges like the vendor's op
 * @lock: protects the members below, innermost but for vfio_mdev_unmaps_lock
 * @pins: everything that VFIO may have pinned for the vendor, by IOVA
 * @kept: pages that the bridge keeps: pinned for all that the vendor knows, but not by VFIO
 * @kept_pages: number of pages in @kept
 * @kept_from: what is kept from this address on is still to be told to the vendor
 * @unmaps: ranges in which nothing is pinned
 * @asks: goes up when a pin is @asked
 * @telling: the vendor may be told of unmapped ranges
 * @joined: something was pinned since the device was opened
 * @log: pages that are dirty but no longer pinned; NULL if no log runs
 * @spare: a pin of one page that was undone, for the next; exchanged without a lock
 * @by_entry: in vfio_mdev_memories, under vfio_mdev_unmaps_lock
 * @tell_work: tells the vendor; a stuck vendor holds it up
 * @keep_work: keeps pages; nothing of the vendor's can hold it up
 * @wait: for changes of @pins
 */
struct vfio_mdev_memory {
	struct vfio_mdev *vm;
	struct mutex vendor_lock;	/* protects vendor_open */
	bool vendor_open;
	struct rw_semaphore listeners_sem;	/* protects listeners */
	struct list_head listeners;
	spinlock_t lock;		/* protects what follows */
	struct rb_root_cached pins;
	struct rb_root_cached kept;
	unsigned long kept_pages;
	u64 kept_from;
	struct list_head unmaps;
	unsigned int asks;
	bool telling;
	bool joined;
	struct vfio_mdev_log *log;
	struct vfio_mdev_pin *spare;
	struct hlist_node by_entry;
	struct work_struct tell_work;
	struct work_struct keep_work;
	wait_queue_head_t wait;
};

/*
 * The ranges of all devices. A device that is opened in the middle of an unmap has to know
 * how often VFIO has asked the others.
 */
static DEFINE_SPINLOCK(vfio_mdev_unmaps_lock);	/* protects the next three */
static LIST_HEAD(vfio_mdev_unmaps);
static unsigned long vfio_mdev_unmaps_id;

/* All devices that have been open, or asked, by their entry in their container's list. */
static DEFINE_HASHTABLE(vfio_mdev_memories, 7);

/* One for work that may wait for vendors without a limit, one for work that must not. */
static struct workqueue_struct *vfio_mdev_tell_wq;
static struct workqueue_struct *vfio_mdev_keep_wq;

#define PIN_FIRST(pin)	((pin)->first)
#define PIN_LAST(pin)	((pin)->last)
INTERVAL_TREE_DEFINE(struct vfio_mdev_pin, rb, u64, subtree_last, PIN_FIRST,
		     PIN_LAST, static, vfio_mdev_pins)

/* The device is open, as no other vendor can call the bridge. */
static struct vfio_mdev_memory *memory_of(struct mdev_device *mdev)
{
	struct vfio_mdev *vm = dev_get_drvdata(&mdev->dev);

	return vm->memory;
}

/*
 * --- containers ---
 *
 * type1 has the open devices of a container on a list. Its head is the only member that is
 * not the entry of a device: its address is the container's name here. Only those entries
 * that are ours can be recognised. So if there is another driver's device on the list,
 * it cannot be told from the head, and the container has no name.
 */

/* NULL in a kernel that has no containers */
static struct list_head *vfio_mdev_entry(struct vfio_mdev_memory *mem)
{
#if IS_ENABLED(CONFIG_VFIO_GROUP)
	return &mem->vm->vdev.iommu_entry;
#else
	return NULL;
#endif
}

static bool vfio_mdev_entry_is_ours(const struct list_head *entry)
{
	struct vfio_mdev_memory *mem;

	lockdep_assert_held(&vfio_mdev_unmaps_lock);

	hash_for_each_possible(vfio_mdev_memories, mem, by_entry, (unsigned long)entry)
		if (vfio_mdev_entry(mem) == entry)
			return true;
	return false;
}

/* The name of a device's container, while type1 asks the device and holds the list's lock. */
static const struct list_head *vfio_mdev_container_asked(struct vfio_mdev_memory *mem)
{
	struct list_head *first = vfio_mdev_entry(mem), *entry = first;
	const struct list_head *name = NULL;

	lockdep_assert_held(&vfio_mdev_unmaps_lock);

	if (!first)
		return NULL;
	do {
		if (!vfio_mdev_entry_is_ours(entry)) {
			if (name)
				return NULL;
			name = entry;
		}
		entry = entry->next;
	} while (entry != first);
	return name;
}

/*
 * The name of an open device's container, without the list's lock: the first entry that is
 * not ours, which is the head if the container has a name. True if the list was the same
 * when read twice, so that it has been like that at one time.
 */
static bool vfio_mdev_container_look(struct vfio_mdev_memory *mem,
				     const struct list_head **name)
{
	struct list_head *entry = NULL, *again = NULL;
	int round, steps, before = 0;

	lockdep_assert_held(&vfio_mdev_unmaps_lock);

	for (round = 0; round < 2; round++) {
		entry = vfio_mdev_entry(mem);
		for (steps = 0; entry && vfio_mdev_entry_is_ours(entry); steps++)
			entry = READ_ONCE(entry->next);
		if (round && (entry != again || steps != before))
			return false;
		again = entry;
		before = steps;
	}
	*name = entry;
	return true;
}

/* --- ranges that are being unmapped --- */

static void vfio_mdev_unmap_set_over(struct vfio_mdev_unmap *unmap)
{
	lockdep_assert_held(&vfio_mdev_unmaps_lock);

	WRITE_ONCE(unmap->over, true);
	list_del_init(&unmap->all);
}

static int vfio_mdev_unmap_returned(struct inode *inode, struct file *file)
{
	unsigned long id = (unsigned long)file->private_data;
	struct vfio_mdev_unmap *unmap, *tmp;

	spin_lock(&vfio_mdev_unmaps_lock);
	list_for_each_entry_safe(unmap, tmp, &vfio_mdev_unmaps, all)
		if (unmap->id == id)
			vfio_mdev_unmap_set_over(unmap);
	spin_unlock(&vfio_mdev_unmaps_lock);
	return 0;
}

static const struct file_operations vfio_mdev_unmap_fops = {
	.owner		= THIS_MODULE,
	.release	= vfio_mdev_unmap_returned,
};

/*
 * Have vfio_mdev_unmap_returned() called when this thread returns to user space: the
 * kernel then releases a file whose last reference the thread has dropped. VFIO has called
 * us from its ioctl, and does not tell us when it is through.
 */
static bool vfio_mdev_unmap_watch(unsigned long id)
{
	struct file *file;

	file = anon_inode_getfile("[vfio_mdev-unmap]", &vfio_mdev_unmap_fops,
				  (void *)id, O_RDONLY);
	if (IS_ERR(file))
		return false;
	fput(file);
	return true;
}

/*
 * The id of this thread's ioctl, which asks for a range. If it has asked for another range
 * before, that is over: VFIO goes to the next mapping only when nothing is pinned in
 * one. @asked is how often it has asked for that. @watch is set if the thread is not
 * watched yet.
 */
static unsigned long vfio_mdev_unmap_id(u64 first, u64 last, unsigned int *asked,
					bool *watch)
{
	struct vfio_mdev_unmap *unmap, *tmp;
	unsigned long id = 0;

	*watch = false;
	spin_lock(&vfio_mdev_unmaps_lock);
	list_for_each_entry_safe(unmap, tmp, &vfio_mdev_unmaps, all) {
		if (unmap->task != current)
			continue;
		id = unmap->id;
		*watch |= unmap->blind;
		if (unmap->first == first && unmap->last == last)
			continue;
		*asked = max(*asked, READ_ONCE(unmap->asked));
		vfio_mdev_unmap_set_over(unmap);
	}
	if (!id) {
		id = ++vfio_mdev_unmaps_id;
		*watch = true;
	}
	spin_unlock(&vfio_mdev_unmaps_lock);
	return id;
}

/* The thread is watched now, also for the ranges that it has asked for already. */
static void vfio_mdev_unmap_see(unsigned long id)
{
	struct vfio_mdev_unmap *unmap;

	spin_lock(&vfio_mdev_unmaps_lock);
	list_for_each_entry(unmap, &vfio_mdev_unmaps, all) {
		if (unmap->id != id || !unmap->blind)
			continue;
		unmap->blind = false;
		put_task_struct(unmap->task);
	}
	spin_unlock(&vfio_mdev_unmaps_lock);
}

static void vfio_mdev_unmap_del(struct vfio_mdev_unmap *unmap)
{
	spin_lock(&vfio_mdev_unmaps_lock);
	list_del(&unmap->all);
	spin_unlock(&vfio_mdev_unmaps_lock);
	list_del(&unmap->next);
	if (unmap->blind)
		put_task_struct(unmap->task);
	kfree(unmap);
}

/*
 * A @blind one is over when its thread is about to pin, or has exited.
 */
static bool vfio_mdev_unmap_is_over_locked(const struct vfio_mdev_unmap *unmap)
{
	lockdep_assert_held(&vfio_mdev_unmaps_lock);

	return unmap->over ||
	       (unmap->blind &&
		(unmap->task == current || READ_ONCE(unmap->task->exit_state)));
}

static bool vfio_mdev_unmap_is_over(const struct vfio_mdev_unmap *unmap)
{
	bool over = READ_ONCE(unmap->over);

	if (likely(over || !READ_ONCE(unmap->blind)))
		return over;
	spin_lock(&vfio_mdev_unmaps_lock);
	over = vfio_mdev_unmap_is_over_locked(unmap);
	spin_unlock(&vfio_mdev_unmaps_lock);
	return over;
}

/*
 * How often others were asked in the same unmap. Most likely their last question was of
 * the round that this device is asked in as well, so it does not count.
 */
static void vfio_mdev_unmap_inherit(struct vfio_mdev_unmap *new)
{
	struct vfio_mdev_unmap *unmap;
	unsigned int asked;

	lockdep_assert_held(&vfio_mdev_unmaps_lock);

	list_for_each_entry(unmap, &vfio_mdev_unmaps, all) {
		if (unmap->id != new->id)
			continue;
		asked = READ_ONCE(unmap->asked);
		new->asked = max(new->asked, asked ? asked - 1 : 0);
		new->many |= READ_ONCE(unmap->many);
	}
}

/* Record what this thread asks for. Without an @id, until the caller deletes it. */
static void vfio_mdev_unmap_add(struct vfio_mdev_memory *mem,
				struct vfio_mdev_unmap *unmap, unsigned long id,
				u64 first, u64 last)
{
	lockdep_assert_held(&mem->lock);

	unmap->task = current;
	unmap->id = id;
	unmap->first = first;
	unmap->last = last;
	unmap->when = jiffies;
	list_add(&unmap->next, &mem->unmaps);
	INIT_LIST_HEAD(&unmap->all);
	if (!id)
		return;
	spin_lock(&vfio_mdev_unmaps_lock);
	unmap->container = vfio_mdev_container_asked(mem);
	vfio_mdev_unmap_inherit(unmap);
	list_add(&unmap->all, &vfio_mdev_unmaps);
	spin_unlock(&vfio_mdev_unmaps_lock);
}

/* The record of what this thread asks for now. Deletes those that are over. */
static struct vfio_mdev_unmap *vfio_mdev_unmap_find(struct vfio_mdev_memory *mem,
						    unsigned long id)
{
	struct vfio_mdev_unmap *unmap, *tmp, *found = NULL;

	lockdep_assert_held(&mem->lock);

	list_for_each_entry_safe(unmap, tmp, &mem->unmaps, next) {
		if (READ_ONCE(unmap->over))
			vfio_mdev_unmap_del(unmap);
		else if (id && unmap->id == id)
			found = unmap;
	}
	return found;
}

/* The error of a pin in the range now, or 0. Deletes records that are over. */
static int vfio_mdev_unmapping(struct vfio_mdev_memory *mem, u64 first, u64 last)
{
	struct vfio_mdev_unmap *unmap, *tmp;
	int ret = 0;

	lockdep_assert_held(&mem->lock);

	list_for_each_entry_safe(unmap, tmp, &mem->unmaps, next) {
		if (vfio_mdev_unmap_is_over(unmap))
			vfio_mdev_unmap_del(unmap);
		else if (unmap->first <= last && unmap->last >= first)
			ret = -EINVAL;
		else if (!ret && (unmap->many || READ_ONCE(unmap->blind)))
			ret = -EBUSY;
	}
	return ret;
}

static bool vfio_mdev_unmap_has_asked(struct vfio_mdev_memory *mem,
				      const struct vfio_mdev_unmap *unmap)
{
	struct vfio_mdev_unmap *mine;

	lockdep_assert_held(&mem->lock);

	list_for_each_entry(mine, &mem->unmaps, next)
		if (mine->id == unmap->id)
			return true;
	return false;
}

/*
 * Is this an unmap of the device's container, with an id up to @id, that is under way and
 * has not asked the device? If one of the containers has no name: can it be?
 */
static bool vfio_mdev_unmap_before(struct vfio_mdev_memory *mem,
				   const struct vfio_mdev_unmap *unmap,
				   const struct list_head *container, unsigned long id)
{
	if (unmap->id > id || vfio_mdev_unmap_is_over_locked(unmap) ||
	    vfio_mdev_unmap_has_asked(mem, unmap))
		return false;
	if (container && unmap->container)
		return container == unmap->container;
	/* those that have asked but once are about to end */
	return READ_ONCE(unmap->asked) > 1 &&
	       time_before(jiffies, READ_ONCE(unmap->when) + VFIO_MDEV_STUCK_TIME);
}

/* @known: it is of this device's container, which does have a name. */
static bool vfio_mdev_unmaps_before(struct vfio_mdev_memory *mem, unsigned long id,
				    bool *known)
{
	const struct list_head *container = NULL;
	struct vfio_mdev_unmap *unmap;
	bool found = false;

	*known = false;
	spin_lock(&mem->lock);
	spin_lock(&vfio_mdev_unmaps_lock);
	if (!vfio_mdev_container_look(mem, &container)) {
		found = true;
		goto out;
	}
	list_for_each_entry(unmap, &vfio_mdev_unmaps, all) {
		if (!vfio_mdev_unmap_before(mem, unmap, container, id))
			continue;
		found = true;
		*known |= container && unmap->container;
	}
out:
	spin_unlock(&vfio_mdev_unmaps_lock);
	spin_unlock(&mem->lock);
	return found;
}

/*
 * Before the first pin of an opened device, which may have joined a container in the
 * middle of an unmap: its pins would make VFIO ask once more, and so would those of the
 * next device. If the unmap may be of another container, give up waiting after a while.
 */
static int vfio_mdev_join(struct vfio_mdev_memory *mem)
{
	unsigned long end = jiffies + VFIO_MDEV_JOIN_TIMEOUT;
	unsigned long id;
	bool known;

	/* iommufd does not count its questions, and refuses pins by itself */
	if (vfio_mdev_by_iommufd(mem->vm))
		return 0;

	spin_lock(&vfio_mdev_unmaps_lock);
	id = vfio_mdev_unmaps_id;
	spin_unlock(&vfio_mdev_unmaps_lock);

	while (vfio_mdev_unmaps_before(mem, id, &known)) {
		if (time_after_eq(jiffies, end))
			return known ? -EBUSY : 0;
		schedule_timeout_killable(1);
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/*
 * --- pins ---
 *
 * Inlined, as most calls pin one page: the compiler removes their loops then, which are a
 * quarter of what the bridge adds to a pin.
 */

/* Pins consist of whole pages. */
static bool vfio_mdev_is_page(u64 first, u64 last)
{
	return last - first < PAGE_SIZE;
}

static __always_inline struct vfio_mdev_pin *
vfio_mdev_pin_alloc(struct vfio_mdev_memory *mem, u64 first, u64 last, int prot)
{
	size_t npage = (last - first + 1) >> PAGE_SHIFT;
	struct vfio_mdev_pin *pin;

	/* most are: vendors pin and unpin the same few pages over and over */
	if (vfio_mdev_is_page(first, last))
		pin = xchg(&mem->spare, NULL) ?:
		      kmalloc(struct_size(pin, pages, 1), GFP_KERNEL_ACCOUNT);
	else
		pin = kvmalloc(struct_size(pin, pages, npage),
			       GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pin)
		return NULL;
	pin->first = first;
	pin->last = last;
	pin->done = false;
	pin->asked = 0;
	pin->write = prot & IOMMU_WRITE;
	return pin;
}

static int vfio_mdev_pin_npage(const struct vfio_mdev_pin *pin)
{
	return (pin->last - pin->first + 1) >> PAGE_SHIFT;
}

static void vfio_mdev_pin_free(struct vfio_mdev_memory *mem,
			       struct vfio_mdev_pin *pin)
{
	if (likely(vfio_mdev_is_page(pin->first, pin->last)))
		pin = xchg(&mem->spare, pin);
	if (unlikely(pin))
		kvfree(pin);
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

/* If VFIO has asked for one of the first @count pins of the call, the error; or 0. */
static __always_inline int
vfio_mdev_call_asked(struct vfio_mdev_memory *mem, struct vfio_mdev_call *call,
		     int count)
{
	lockdep_assert_held(&mem->lock);

	if (likely(mem->asks == call->asks))
		return 0;
	call->asks = mem->asks;
	while (count--)
		if (call->pins[count]->asked)
			return call->pins[count]->asked;
	return 0;
}

/* Does something that is kept stand in the way of a pin? */
static bool vfio_mdev_is_kept(struct vfio_mdev_memory *mem, u64 first, u64 last)
{
	lockdep_assert_held(&mem->lock);

	return mem->kept_pages > VFIO_MDEV_KEPT_MAX ||
	       vfio_mdev_pins_iter_first(&mem->kept, first, last);
}

/*
 * Before VFIO pins the call's pin @i, as it may ask for the pages before its function
 * returns.
 */
static __always_inline int
vfio_mdev_pin_add(struct vfio_mdev_memory *mem, struct vfio_mdev_call *call, int i)
{
	struct vfio_mdev_pin *pin = call->pins[i];
	int ret;

	spin_lock(&mem->lock);
	ret = vfio_mdev_call_asked(mem, call, i);
	if (unlikely(!ret && !list_empty(&mem->unmaps)))
		ret = vfio_mdev_unmapping(mem, pin->first, pin->last);
	if (unlikely(!ret && mem->kept_pages) &&
	    vfio_mdev_is_kept(mem, pin->first, pin->last))
		ret = -EBUSY;
	if (likely(!ret))
		vfio_mdev_pins_insert(pin, &mem->pins);
	spin_unlock(&mem->lock);
	return ret;
}

/*
 * Record the pages of a pin that was removed from the account. Out of line, so that an
 * unpin without a log only has the check for it.
 */
static noinline void vfio_mdev_pin_log(struct vfio_mdev_memory *mem,
				       const struct vfio_mdev_pin *pin)
{
	lockdep_assert_held(&mem->lock);

	if (pin->write)
		vfio_mdev_log_set(mem->log, pin->first >> PAGE_SHIFT,
				  pin->last >> PAGE_SHIFT);
}

/* @written: the device may have written to it, if it is for that */
static void vfio_mdev_pin_del(struct vfio_mdev_memory *mem,
			      struct vfio_mdev_pin *pin, bool written)
{
	struct vfio_mdev_unmap *unmap;

	spin_lock(&mem->lock);
	vfio_mdev_pins_remove(pin, &mem->pins);
	if (unlikely(mem->log) && written)
		vfio_mdev_pin_log(mem, pin);
	list_for_each_entry(unmap, &mem->unmaps, next)
		if (unmap->first <= pin->last && unmap->last >= pin->first)
			WRITE_ONCE(unmap->gone, unmap->gone + 1);
	/* a task that waits looks at pins under the lock, after it is queued */
	if (waitqueue_active(&mem->wait))
		wake_up_all(&mem->wait);
	spin_unlock(&mem->lock);
}

/* Undo a pin that is not done, or not any more. */
static void vfio_mdev_unpin(struct vfio_mdev_memory *mem,
			    struct vfio_mdev_pin *pin)
{
	vfio_unpin_pages(&mem->vm->vdev, pin->first, vfio_mdev_pin_npage(pin));
	vfio_mdev_pin_del(mem, pin, true);
	vfio_mdev_pin_free(mem, pin);
}

static __always_inline int
vfio_mdev_pin_one(struct vfio_mdev_memory *mem, struct vfio_mdev_call *call, int i,
		  int prot)
{
	struct vfio_mdev_pin *pin = call->pins[i];
	int ret;

	ret = vfio_mdev_pin_add(mem, call, i);
	if (ret)
		return ret;
	ret = vfio_pin_pages(&mem->vm->vdev, pin->first, vfio_mdev_pin_npage(pin),
			     prot, pin->pages);
	if (ret > 0)
		return 0;
	vfio_mdev_pin_del(mem, pin, false);
	return ret ?: -EFAULT;
}

/* Undo the first pins of a call, of which the vendor does not know. */
static void vfio_mdev_call_undo(struct vfio_mdev_memory *mem,
				struct vfio_mdev_call *call, int count)
{
	while (count--) {
		vfio_mdev_unpin(mem, call->pins[count]);
		call->pins[count] = NULL;
	}
}

/* Have VFIO pin all that the call is about. */
static __always_inline int
vfio_mdev_call_pin(struct vfio_mdev_memory *mem, struct vfio_mdev_call *call,
		   int prot)
{
	int i, ret;

	if (!mem->vm->ops->dma_unmap && list_empty(&mem->listeners))
		return vfio_mdev_has_iommu(mem->vm) ? -EOPNOTSUPP : -EINVAL;
	if (unlikely(!READ_ONCE(mem->joined))) {
		/* VFIO maps all of the user's memory for it */
		if (vfio_mdev_has_iommu(mem->vm))
			return -EOPNOTSUPP;
		ret = vfio_mdev_join(mem);
		if (ret)
			return ret;
	}

	call->asks = READ_ONCE(mem->asks);
	for (i = 0; i < call->count; i++) {
		ret = vfio_mdev_pin_one(mem, call, i, prot);
		if (unlikely(ret)) {
			vfio_mdev_call_undo(mem, call, i);
			return ret;
		}
	}
	return 0;
}

/* The vendor is to know, unless VFIO has asked meanwhile. */
static __always_inline int
vfio_mdev_call_done(struct vfio_mdev_memory *mem, struct vfio_mdev_call *call)
{
	int i, asked;

	spin_lock(&mem->lock);
	asked = vfio_mdev_call_asked(mem, call, call->count);
	for (i = 0; i < call->count; i++)
		call->pins[i]->done = !asked;
	if (!mem->joined)
		WRITE_ONCE(mem->joined, true);
	spin_unlock(&mem->lock);
	if (likely(!asked))
		return 0;
	vfio_mdev_call_undo(mem, call, call->count);
	return asked;
}

int vfio_mdev_pin_pages(struct mdev_device *mdev, dma_addr_t iova, int npage,
			int prot, struct page **pages)
{
	struct vfio_mdev_memory *mem = memory_of(mdev);
	struct vfio_mdev_pin *pin;
	struct vfio_mdev_call call = { .pins = &pin, .count = 1 };
	u64 first, last;
	int i, ret;

	ret = vfio_mdev_pin_range(iova, npage, &first, &last);
	if (ret)
		return ret;
	pin = vfio_mdev_pin_alloc(mem, first, last, prot);
	if (!pin)
		return -ENOMEM;
	ret = vfio_mdev_call_pin(mem, &call, prot);
	if (ret) {
		vfio_mdev_pin_free(mem, pin);
		return ret;
	}

	/* once it is done, it may be unpinned */
	for (i = 0; i < npage; i++)
		pages[i] = pin->pages[i];
	return vfio_mdev_call_done(mem, &call) ?: npage;
}

/* One page each, so that any of them can be unpinned on its own. */
static int vfio_mdev_pins_alloc(struct vfio_mdev_memory *mem,
				struct vfio_mdev_pin **pins,
				const unsigned long *user_pfn, int npage, int prot)
{
	u64 first, last;
	int i, ret;

	for (i = 0; i < npage; i++) {
		ret = vfio_mdev_pin_range((dma_addr_t)user_pfn[i] << PAGE_SHIFT, 1,
					  &first, &last);
		if (ret)
			return ret;
		pins[i] = vfio_mdev_pin_alloc(mem, first, last, prot);
		if (!pins[i])
			return -ENOMEM;
	}
	return 0;
}

int vfio_mdev_pin_pfns(struct mdev_device *mdev, const unsigned long *user_pfn,
		       int npage, int prot, unsigned long *phys_pfn)
{
	struct vfio_mdev_memory *mem = memory_of(mdev);
	struct vfio_mdev_call call = { .count = npage };
	int i, ret;

	call.pins = kvcalloc(npage, sizeof(*call.pins), GFP_KERNEL);
	if (!call.pins)
		return -ENOMEM;
	ret = vfio_mdev_pins_alloc(mem, call.pins, user_pfn, npage, prot);
	if (!ret)
		ret = vfio_mdev_call_pin(mem, &call, prot);
	if (ret) {
		for (i = 0; i < npage; i++)
			kvfree(call.pins[i]);
		goto out;
	}

	for (i = 0; i < npage; i++)
		phys_pfn[i] = page_to_pfn(call.pins[i]->pages[0]);
	ret = vfio_mdev_call_done(mem, &call) ?: npage;
out:
	kvfree(call.pins);
	return ret;
}

/* @pin or the next one that is of exactly this range, if the vendor knows of it. */
static struct vfio_mdev_pin *vfio_mdev_pin_exact_from(struct vfio_mdev_pin *pin,
						      u64 first, u64 last)
{
	while (pin && !(pin->done && pin->first == first && pin->last == last))
		pin = vfio_mdev_pins_iter_next(pin, first, last);
	return pin;
}

static struct vfio_mdev_pin *vfio_mdev_pin_exact(struct rb_root_cached *root,
						 u64 first, u64 last)
{
	return vfio_mdev_pin_exact_from(vfio_mdev_pins_iter_first(root, first, last),
					first, last);
}

/* --- pages that are kept for a vendor --- */

/* User space may have mapped the kernel's own pages, which are not counted. */
static void vfio_mdev_pin_get(struct vfio_mdev_pin *pin)
{
	int i;

	for (i = 0; i < vfio_mdev_pin_npage(pin); i++)
		if (!PageReserved(pin->pages[i]))
			get_page(pin->pages[i]);
}

/* VFIO has marked them dirty already, but the device went on. */
static void vfio_mdev_pin_put(struct vfio_mdev_pin *pin)
{
	int i;

	for (i = 0; i < vfio_mdev_pin_npage(pin); i++) {
		if (PageReserved(pin->pages[i]))
			continue;
		if (pin->write)
			set_page_dirty_lock(pin->pages[i]);
		put_page(pin->pages[i]);
	}
	kvfree(pin);
}

static void vfio_mdev_kept_del(struct vfio_mdev_memory *mem,
			       struct vfio_mdev_pin *pin)
{
	lockdep_assert_held(&mem->lock);

	vfio_mdev_pins_remove(pin, &mem->kept);
	mem->kept_pages -= vfio_mdev_pin_npage(pin);
	if (unlikely(mem->log))
		vfio_mdev_pin_log(mem, pin);
}

/*
 * Keep the pages of a pin that is done, and undo VFIO's pin. From now on an unpin finds
 * it in mem->kept; a stand-in is in mem->pins until VFIO's pin is undone.
 */
static void vfio_mdev_keep_one(struct vfio_mdev_memory *mem,
			       struct vfio_mdev_pin *pin)
{
	struct vfio_mdev_pin stand_in = {
		.first	= pin->first,
		.last	= pin->last,
	};

	lockdep_assert_held(&mem->lock);

	vfio_mdev_pins_remove(pin, &mem->pins);
	vfio_mdev_pin_get(pin);
	vfio_mdev_pins_insert(pin, &mem->kept);
	mem->kept_pages += vfio_mdev_pin_npage(pin);
	mem->kept_from = min(mem->kept_from, pin->first);
	vfio_mdev_pins_insert(&stand_in, &mem->pins);
	spin_unlock(&mem->lock);

	vfio_unpin_pages(&mem->vm->vdev, stand_in.first,
			 vfio_mdev_pin_npage(&stand_in));
	vfio_mdev_pin_del(mem, &stand_in, false);
	spin_lock(&mem->lock);
}

static struct vfio_mdev_pin *vfio_mdev_pin_find_done(struct vfio_mdev_memory *mem,
						     u64 first, u64 last)
{
	struct vfio_mdev_pin *pin;

	lockdep_assert_held(&mem->lock);

	for (pin = vfio_mdev_pins_iter_first(&mem->pins, first, last); pin;
	     pin = vfio_mdev_pins_iter_next(pin, first, last))
		if (pin->done)
			break;
	return pin;
}

static struct vfio_mdev_pin *vfio_mdev_keep_next(struct vfio_mdev_memory *mem)
{
	struct vfio_mdev_unmap *unmap;
	struct vfio_mdev_pin *pin;

	lockdep_assert_held(&mem->lock);

	list_for_each_entry(unmap, &mem->unmaps, next) {
		if (!unmap->keep)
			continue;
		pin = vfio_mdev_pin_find_done(mem, unmap->first, unmap->last);
		if (pin)
			return pin;
	}
	return NULL;
}

static void vfio_mdev_keep(struct vfio_mdev_memory *mem)
{
	struct vfio_mdev_pin *pin;
	unsigned int count = 0;

	spin_lock(&mem->lock);
	for (; (pin = vfio_mdev_keep_next(mem)); count++)
		vfio_mdev_keep_one(mem, pin);
	/* the vendor may not have been told of these at all yet */
	if (count && mem->telling)
		queue_work(vfio_mdev_tell_wq, &mem->tell_work);
	spin_unlock(&mem->lock);
	if (count)
		dev_err_ratelimited(vfio_mdev_dev(mem->vm),
				    "vendor still has %u pins of unmapped memory, kept until it unpins\n",
				    count);
}

static void vfio_mdev_keep_work(struct work_struct *work)
{
	vfio_mdev_keep(container_of(work, struct vfio_mdev_memory, keep_work));
}

/*
 * @pin is about to be undone. An unpin does not say which of several pins of a range it
 * undoes, so if the next one is for reading, that is undone instead: as long as one of them
 * is left, one that is for writing is, if any was.
 */
static void vfio_mdev_pin_pass_on(struct vfio_mdev_memory *mem,
				  struct vfio_mdev_pin *pin, bool kept)
{
	struct vfio_mdev_pin *other;

	lockdep_assert_held(&mem->lock);

	if (!pin->write)
		return;
	other = vfio_mdev_pin_exact_from(vfio_mdev_pins_iter_next(pin, pin->first,
								  pin->last),
					 pin->first, pin->last);
	/* in the middle of vfio_mdev_keep() */
	if (!other && unlikely(kept))
		other = vfio_mdev_pin_exact(&mem->pins, pin->first, pin->last);
	if (other)
		swap(pin->write, other->write);
}

void vfio_mdev_unpin_pages(struct mdev_device *mdev, dma_addr_t iova, int npage)
{
	struct vfio_mdev_memory *mem = memory_of(mdev);
	struct vfio_mdev_pin *kept = NULL, *pin = NULL;
	u64 first, last;

	if (vfio_mdev_pin_range(iova, npage, &first, &last))
		goto out;
	spin_lock(&mem->lock);
	if (unlikely(mem->kept_pages))
		kept = vfio_mdev_pin_exact(&mem->kept, first, last);
	if (unlikely(kept)) {
		vfio_mdev_pin_pass_on(mem, kept, true);
		vfio_mdev_kept_del(mem, kept);
	} else {
		pin = vfio_mdev_pin_exact(&mem->pins, first, last);
	}
	if (likely(pin)) {
		vfio_mdev_pin_pass_on(mem, pin, false);
		pin->done = false;
	}
	spin_unlock(&mem->lock);
out:
	if (likely(pin))
		vfio_mdev_unpin(mem, pin);
	else if (kept)
		vfio_mdev_pin_put(kept);
	else
		dev_err_ratelimited(&mdev->dev,
				    "vendor unpins %d pages at %#llx, which it did not pin\n",
				    npage, (u64)iova);
}

/* --- the dirty log, see vfio_mdev_log.c --- */

int vfio_mdev_memory_log_start(struct vfio_mdev *vm, struct rb_root_cached *ranges,
			       u32 count)
{
	struct vfio_mdev_memory *mem = vm->memory;
	struct vfio_mdev_log *log;
	int ret = -EINVAL;

	log = vfio_mdev_log_alloc(ranges, count);
	if (IS_ERR(log))
		return PTR_ERR(log);
	spin_lock(&mem->lock);
	if (!mem->log) {
		WRITE_ONCE(mem->log, log);
		ret = 0;
	}
	spin_unlock(&mem->lock);
	if (ret)
		vfio_mdev_log_free(log);
	/* pairs with vfio_mdev_memory_written(): user space reads its memory next */
	smp_mb();
	return ret;
}

int vfio_mdev_memory_log_stop(struct vfio_mdev *vm)
{
	struct vfio_mdev_memory *mem = vm->memory;
	struct vfio_mdev_log *log;

	spin_lock(&mem->lock);
	log = mem->log;
	WRITE_ONCE(mem->log, NULL);
	spin_unlock(&mem->lock);
	if (!log)
		return -EINVAL;
	vfio_mdev_log_free(log);
	return 0;
}

/* Record what the vendor has written, or tried to write, without a pin. */
void vfio_mdev_memory_written(struct vfio_mdev *vm, u64 iova, size_t len)
{
	struct vfio_mdev_memory *mem = vm->memory;
	u64 last;

	/*
	 * A process that starts a log after this barrier finds in its memory what was
	 * written. Pairs with the barrier in vfio_mdev_memory_log_start().
	 */
	smp_mb();
	if (likely(!READ_ONCE(mem->log)))
		return;
	if (!len || check_add_overflow(iova, (u64)len - 1, &last))
		return;
	spin_lock(&mem->lock);
	if (mem->log)
		vfio_mdev_log_set(mem->log, iova >> PAGE_SHIFT, last >> PAGE_SHIFT);
	spin_unlock(&mem->lock);
}

/*
 * Return the next pin for writing that has one of these pages. To limit the time that
 * this takes, return any pin after *@visits pins for reading.
 */
static struct vfio_mdev_pin *vfio_mdev_pin_written(struct rb_root_cached *root, u64 first,
						   u64 last, int *visits)
{
	struct vfio_mdev_pin *pin;

	first <<= PAGE_SHIFT;
	last = (last << PAGE_SHIFT) + PAGE_SIZE - 1;
	for (pin = vfio_mdev_pins_iter_first(root, first, last); pin;
	     pin = vfio_mdev_pins_iter_next(pin, first, last))
		if (pin->write || (*visits)-- <= 0)
			break;
	return pin;
}

static void vfio_mdev_pins_dirty(struct rb_root_cached *root, u64 first, u64 last,
				 struct vfio_mdev_window *window, int *visits)
{
	struct vfio_mdev_pin *pin;
	u64 to;

	for (; first <= last; first = to + 1) {
		pin = vfio_mdev_pin_written(root, first, last, visits);
		if (!pin)
			break;
		first = max(first, pin->first >> PAGE_SHIFT);
		to = min(last, pin->last >> PAGE_SHIFT);
		bitmap_set(window->dirty, first - window->base, to - first + 1);
	}
}

/* Return a page so that none from @first to it is dirty; after @last if none is at all. */
static u64 vfio_mdev_log_first(struct vfio_mdev_memory *mem, u64 first, u64 last)
{
	u64 page = vfio_mdev_log_next(mem->log, first);
	int visits = VFIO_MDEV_LOG_VISITS;
	struct vfio_mdev_pin *pin;

	lockdep_assert_held(&mem->lock);

	pin = vfio_mdev_pin_written(&mem->pins, first, last, &visits);
	if (pin)
		page = min(page, max(first, pin->first >> PAGE_SHIFT));
	pin = vfio_mdev_pin_written(&mem->kept, first, last, &visits);
	if (pin)
		page = min(page, max(first, pin->first >> PAGE_SHIFT));
	return page;
}

/* A page stays dirty if the report covers only a part of it. */
static void vfio_mdev_log_keep_edge(struct vfio_mdev_memory *mem,
				    const struct vfio_mdev_window *window, u64 page)
{
	lockdep_assert_held(&mem->lock);

	if (page >= window->whole && page < window->whole_end)
		return;
	if (test_bit(page - window->base, window->dirty))
		vfio_mdev_log_set(mem->log, page, page);
}

static int vfio_mdev_window_fill(struct vfio_mdev_memory *mem,
				 struct vfio_mdev_window *window)
{
	int visits = VFIO_MDEV_LOG_VISITS;
	u64 first, last;

	lockdep_assert_held(&mem->lock);

	if (!mem->log || !vfio_mdev_log_covers(mem->log, window->first, window->last))
		return -EINVAL;
	first = vfio_mdev_log_first(mem, window->first, window->last);
	if (first > window->last)
		return 0;
	last = min(window->last, first | (VFIO_MDEV_LOG_PAGES - 1));
	window->base = round_down(first, (u64)VFIO_MDEV_LOG_PAGES);
	bitmap_zero(window->dirty, VFIO_MDEV_LOG_PAGES);
	vfio_mdev_log_take(mem->log, first, last, window->dirty);
	vfio_mdev_pins_dirty(&mem->pins, first, last, window, &visits);
	vfio_mdev_pins_dirty(&mem->kept, first, last, window, &visits);
	vfio_mdev_log_keep_edge(mem, window, first);
	vfio_mdev_log_keep_edge(mem, window, last);
	window->first = last + 1;
	return 1;
}

/*
 * Fill in the next window of a report that has dirty pages. They are clean afterwards,
 * except those that are pinned. Return 1, 0 if there is no such window, or -EINVAL.
 */
int vfio_mdev_memory_log_next(struct vfio_mdev *vm, struct vfio_mdev_window *window)
{
	struct vfio_mdev_memory *mem = vm->memory;
	int ret;

	if (window->first > window->last)
		return 0;
	spin_lock(&mem->lock);
	ret = vfio_mdev_window_fill(mem, window);
	spin_unlock(&mem->lock);
	return ret;
}

/* --- the vendor is told --- */

/* The next of the pins that are kept, if there is one to tell the vendor of. */
static bool vfio_mdev_tell_kept(struct vfio_mdev_memory *mem, u64 *first, u64 *last)
{
	struct vfio_mdev_pin *pin;

	lockdep_assert_held(&mem->lock);

	pin = vfio_mdev_pins_iter_first(&mem->kept, mem->kept_from, U64_MAX);
	mem->kept_from = U64_MAX;
	if (!pin)
		return false;
	*first = pin->first;
	*last = pin->last;
	if (pin->last < U64_MAX)
		mem->kept_from = pin->last + 1;
	return true;
}

/* A range to tell the vendor of, if it still has anything there. */
static bool vfio_mdev_tell_next(struct vfio_mdev_memory *mem, u64 *first, u64 *last)
{
	struct vfio_mdev_unmap *unmap;
	bool found = false;

	spin_lock(&mem->lock);
	list_for_each_entry(unmap, &mem->unmaps, next) {
		if (!unmap->tell)
			continue;
		unmap->tell = false;
		*first = unmap->first;
		*last = unmap->last;
		found = vfio_mdev_pin_find_done(mem, *first, *last);
		if (found)
			break;
	}
	if (!found)
		found = vfio_mdev_tell_kept(mem, first, last);
	spin_unlock(&mem->lock);
	return found;
}

static void vfio_mdev_tell(struct vfio_mdev_memory *mem, u64 first, u64 last)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz	= sizeof(unmap),
		.iova	= first,
		.size	= last - first + 1,
	};
	struct vfio_mdev_listener *listener;

	if (mem->vm->ops->dma_unmap)
		mem->vm->ops->dma_unmap(mdev_of(mem->vm), unmap.iova, unmap.size);

	down_read(&mem->listeners_sem);
	list_for_each_entry(listener, &mem->listeners, next)
		listener->nb->notifier_call(listener->nb, MDEV_DMA_UNMAP, &unmap);
	up_read(&mem->listeners_sem);
}

static void vfio_mdev_tell_work(struct work_struct *work)
{
	struct vfio_mdev_memory *mem = container_of(work, struct vfio_mdev_memory,
						    tell_work);
	u64 first, last;

	while (vfio_mdev_tell_next(mem, &first, &last))
		vfio_mdev_tell(mem, first, last);
}

/* The entry of @nb among the listeners. */
static struct vfio_mdev_listener *
vfio_mdev_listener_find(struct vfio_mdev_memory *mem, struct notifier_block *nb)
{
	struct vfio_mdev_listener *listener;

	list_for_each_entry(listener, &mem->listeners, next)
		if (listener->nb == nb)
			return listener;
	return NULL;
}

int vfio_mdev_register_unmap(struct mdev_device *mdev, struct notifier_block *nb)
{
	struct vfio_mdev_memory *mem = memory_of(mdev);
	struct vfio_mdev_listener *listener;
	int ret = 0;

	listener = kzalloc_obj(*listener, GFP_KERNEL_ACCOUNT);
	if (!listener)
		return -ENOMEM;
	listener->nb = nb;
	down_write(&mem->listeners_sem);
	if (vfio_mdev_listener_find(mem, nb))
		ret = -EEXIST;
	else
		list_add_tail(&listener->next, &mem->listeners);
	up_write(&mem->listeners_sem);
	if (ret)
		kfree(listener);
	return ret;
}

int vfio_mdev_unregister_unmap(struct mdev_device *mdev,
			       struct notifier_block *nb)
{
	struct vfio_mdev_memory *mem = memory_of(mdev);
	struct vfio_mdev_listener *listener;

	down_write(&mem->listeners_sem);
	listener = vfio_mdev_listener_find(mem, nb);
	if (listener)
		list_del(&listener->next);
	up_write(&mem->listeners_sem);
	kfree(listener);
	return listener ? 0 : -ENOENT;
}

/* --- VFIO asks --- */

static bool vfio_mdev_range_free(struct vfio_mdev_memory *mem, u64 first, u64 last)
{
	bool free;

	spin_lock(&mem->lock);
	free = !vfio_mdev_pins_iter_first(&mem->pins, first, last);
	spin_unlock(&mem->lock);
	return free;
}

/* Have the pins fail that are under way in the range, and with them their calls. */
static void vfio_mdev_ask_pins(struct vfio_mdev_memory *mem, u64 first, u64 last,
			       int error)
{
	struct vfio_mdev_pin *pin;

	lockdep_assert_held(&mem->lock);

	for (pin = vfio_mdev_pins_iter_first(&mem->pins, first, last); pin;
	     pin = vfio_mdev_pins_iter_next(pin, first, last)) {
		if (!pin->done && !pin->asked) {
			pin->asked = error;
			WRITE_ONCE(mem->asks, mem->asks + 1);
		}
	}
}

/*
 * One question: have the vendor told, and wait for a while. True if nothing is pinned
 * any more.
 */
static bool vfio_mdev_ask(struct vfio_mdev_memory *mem,
			  struct vfio_mdev_unmap *unmap, unsigned int patience)
{
	const u64 first = unmap->first, last = unmap->last;
	long timeout = VFIO_MDEV_ASK_TIMEOUT;
	unsigned int seen;

	spin_lock(&mem->lock);
	WRITE_ONCE(unmap->asked, unmap->asked + 1);
	WRITE_ONCE(unmap->when, jiffies);
	if (unmap->id && unmap->asked >= VFIO_MDEV_MANY_QUESTIONS)
		WRITE_ONCE(unmap->many, true);
	vfio_mdev_ask_pins(mem, first, last, -EINVAL);
	if (unmap->many)
		vfio_mdev_ask_pins(mem, 0, U64_MAX, -EBUSY);
	if (vfio_mdev_pin_find_done(mem, first, last)) {
		unmap->tell = true;
		if (mem->telling)
			queue_work(vfio_mdev_tell_wq, &mem->tell_work);
		unmap->keep = unmap->asked > patience;
		if (unmap->keep)
			queue_work(vfio_mdev_keep_wq, &mem->keep_work);
	}
	if (unmap->id && unmap->asked >= VFIO_MDEV_LAST_QUESTION)
		timeout = MAX_SCHEDULE_TIMEOUT;
	spin_unlock(&mem->lock);

	do {
		seen = READ_ONCE(unmap->gone);
		wait_event_timeout(mem->wait,
				   vfio_mdev_range_free(mem, first, last) ||
				   READ_ONCE(unmap->gone) != seen, timeout);
		if (vfio_mdev_range_free(mem, first, last))
			return true;
	} while (READ_ONCE(unmap->gone) != seen);
	return false;
}

/*
 * iommufd asks only once when an access is detached, holds no lock that an unpin needs, and
 * refuses pins by itself until it is through.
 */
static void vfio_mdev_ask_iommufd(struct vfio_mdev_memory *mem,
				  struct vfio_mdev_unmap *unmap, u64 first, u64 last)
{
	bool free = false;

	spin_lock(&mem->lock);
	vfio_mdev_unmap_add(mem, unmap, 0, first, last);
	spin_unlock(&mem->lock);

	while (!free && unmap->asked <= VFIO_MDEV_PATIENCE_IOMMUFD)
		free = vfio_mdev_ask(mem, unmap, VFIO_MDEV_PATIENCE_IOMMUFD);
	if (!free)
		wait_event(mem->wait, vfio_mdev_range_free(mem, first, last));

	spin_lock(&mem->lock);
	vfio_mdev_unmap_del(unmap);
	spin_unlock(&mem->lock);
}

static void vfio_mdev_ask_type1(struct vfio_mdev_memory *mem,
				struct vfio_mdev_unmap *new, u64 first, u64 last)
{
	struct vfio_mdev_unmap *unmap;
	unsigned int asked = 0;
	unsigned long id;
	bool watch, blind;

	id = vfio_mdev_unmap_id(first, last, &asked, &watch);
	blind = watch && !vfio_mdev_unmap_watch(id);
	if (watch && !blind)
		vfio_mdev_unmap_see(id);

	spin_lock(&mem->lock);
	unmap = vfio_mdev_unmap_find(mem, id);
	if (!unmap) {
		unmap = new;
		new = NULL;
		unmap->asked = min_t(unsigned int, asked, VFIO_MDEV_MANY_QUESTIONS);
		unmap->many = asked >= VFIO_MDEV_MANY_QUESTIONS;
		unmap->blind = blind;
		if (blind)
			get_task_struct(current);
		vfio_mdev_unmap_add(mem, unmap, id, first, last);
	}
	spin_unlock(&mem->lock);
	kfree(new);

	vfio_mdev_ask(mem, unmap, VFIO_MDEV_PATIENCE_TYPE1);
}

static struct vfio_mdev_memory *vfio_mdev_memory_get(struct vfio_mdev *vm,
						     gfp_t gfp);

/* VFIO asks for a range. */
void vfio_mdev_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct vfio_mdev *vm = to_vfio_mdev(vdev);
	struct vfio_mdev_unmap *unmap;
	struct vfio_mdev_memory *mem;
	u64 last;

	/* type1 can ask for what it has read from freed memory, which may be zeroes */
	if (!length || check_add_overflow(iova, length - 1, &last))
		return;
	/*
	 * Both are small, and VFIO takes no error. A device can be asked shortly before
	 * it is opened, when it has no memory yet.
	 */
	mem = vfio_mdev_memory_get(vm, GFP_KERNEL | __GFP_NOFAIL);
	unmap = kzalloc_obj(*unmap, GFP_KERNEL | __GFP_NOFAIL);
	if (vfio_mdev_by_iommufd(vm))
		vfio_mdev_ask_iommufd(mem, unmap, iova, last);
	else
		vfio_mdev_ask_type1(mem, unmap, iova, last);
}

/* --- the life of a device --- */

static struct vfio_mdev_memory *vfio_mdev_memory_alloc(struct vfio_mdev *vm,
						       gfp_t gfp)
{
	struct vfio_mdev_memory *mem;

	mem = kzalloc_obj(*mem, gfp);
	if (!mem)
		return NULL;
	mem->vm = vm;
	mutex_init(&mem->vendor_lock);
	init_rwsem(&mem->listeners_sem);
	INIT_LIST_HEAD(&mem->listeners);
	spin_lock_init(&mem->lock);
	mem->pins = RB_ROOT_CACHED;
	mem->kept = RB_ROOT_CACHED;
	mem->kept_from = U64_MAX;
	INIT_LIST_HEAD(&mem->unmaps);
	INIT_WORK(&mem->tell_work, vfio_mdev_tell_work);
	INIT_WORK(&mem->keep_work, vfio_mdev_keep_work);
	init_waitqueue_head(&mem->wait);
	return mem;
}

/* Freed in vfio_mdev_memory_free(). Two callers at once get the same. */
static struct vfio_mdev_memory *vfio_mdev_memory_get(struct vfio_mdev *vm,
						     gfp_t gfp)
{
	struct vfio_mdev_memory *mem, *old;

	/* pairs with cmpxchg() below */
	mem = smp_load_acquire(&vm->memory);
	if (mem)
		return mem;
	mem = vfio_mdev_memory_alloc(vm, gfp);
	if (!mem)
		return NULL;
	old = cmpxchg(&vm->memory, NULL, mem);
	if (old) {
		kfree(mem);
		return old;
	}
	spin_lock(&vfio_mdev_unmaps_lock);
	hash_add(vfio_mdev_memories, &mem->by_entry,
		 (unsigned long)vfio_mdev_entry(mem));
	spin_unlock(&vfio_mdev_unmaps_lock);
	return mem;
}

/* The vendor may pin, and is told of what is unmapped. */
int vfio_mdev_memory_begin(struct vfio_mdev *vm)
{
	struct vfio_mdev_memory *mem;

	mem = vfio_mdev_memory_get(vm, GFP_KERNEL_ACCOUNT);
	if (!mem)
		return -ENOMEM;
	spin_lock(&mem->lock);
	mem->telling = true;
	WRITE_ONCE(mem->joined, false);
	spin_unlock(&mem->lock);
	return 0;
}

/* The vendor is not told of anything any more when this returns. */
void vfio_mdev_memory_end(struct vfio_mdev *vm)
{
	struct vfio_mdev_memory *mem = vm->memory;

	/* VFIO does not stop the log; nobody can start one any more */
	vfio_mdev_memory_log_stop(vm);

	spin_lock(&mem->lock);
	mem->telling = false;
	spin_unlock(&mem->lock);
	flush_work(&mem->tell_work);
}

/* Notifiers that the vendor has not unregistered, and may have freed already. */
static void vfio_mdev_listeners_forget(struct vfio_mdev_memory *mem)
{
	struct vfio_mdev_listener *listener, *tmp;

	list_for_each_entry_safe(listener, tmp, &mem->listeners, next) {
		dev_err_ratelimited(vfio_mdev_dev(mem->vm),
				    "vendor forgot to unregister a notifier, done for it\n");
		list_del(&listener->next);
		kfree(listener);
	}
}

static unsigned int vfio_mdev_pins_forget(struct vfio_mdev_memory *mem)
{
	struct vfio_mdev_pin *pin;
	unsigned int count = 0;

	for (;; count++) {
		spin_lock(&mem->lock);
		pin = vfio_mdev_pin_find_done(mem, 0, U64_MAX);
		if (pin)
			pin->done = false;
		spin_unlock(&mem->lock);
		if (!pin)
			return count;
		vfio_mdev_unpin(mem, pin);
	}
}

static unsigned int vfio_mdev_kept_forget(struct vfio_mdev_memory *mem)
{
	struct vfio_mdev_pin *pin;
	unsigned int count = 0;

	for (;; count++) {
		spin_lock(&mem->lock);
		pin = vfio_mdev_pins_iter_first(&mem->kept, 0, U64_MAX);
		if (pin)
			vfio_mdev_kept_del(mem, pin);
		spin_unlock(&mem->lock);
		if (!pin)
			return count;
		vfio_mdev_pin_put(pin);
	}
}

/*
 * The vendor has released the device, and its calls have ended: undo what it has
 * forgotten.
 */
void vfio_mdev_memory_forget(struct vfio_mdev *vm)
{
	struct vfio_mdev_memory *mem = vm->memory;
	unsigned int count;

	vfio_mdev_listeners_forget(mem);
	count = vfio_mdev_pins_forget(mem);
	/* keep_work may be keeping one, and does not find another */
	wait_event(mem->wait, vfio_mdev_range_free(mem, 0, U64_MAX));
	flush_work(&mem->keep_work);
	count += vfio_mdev_kept_forget(mem);
	kfree(xchg(&mem->spare, NULL));
	if (count)
		dev_err_ratelimited(vfio_mdev_dev(vm),
				    "vendor forgot to unpin memory %u times, done for it\n",
				    count);
}

/* VFIO does not ask any more. */
void vfio_mdev_memory_free(struct vfio_mdev *vm)
{
	struct vfio_mdev_memory *mem = vm->memory;
	struct vfio_mdev_unmap *unmap, *tmp;

	if (!mem)
		return;
	spin_lock(&vfio_mdev_unmaps_lock);
	hash_del(&mem->by_entry);
	spin_unlock(&vfio_mdev_unmaps_lock);
	list_for_each_entry_safe(unmap, tmp, &mem->unmaps, next)
		vfio_mdev_unmap_del(unmap);
	kfree(mem);
}

void vfio_mdev_set_vendor_open(struct vfio_mdev *vm, bool open)
{
	struct vfio_mdev_memory *mem = vm->memory;

	mutex_lock(&mem->vendor_lock);
	mem->vendor_open = open;
	mutex_unlock(&mem->vendor_lock);
}

/*
 * Call a function while the vendor has the device open, and keep it open for that;
 * -ENODEV if it is not. For callers that can come at any time.
 */
int vfio_mdev_while_open(struct vfio_mdev *vm,
			 int (*function)(struct vfio_mdev *vm, void *arg),
			 void *arg)
{
	struct vfio_mdev_memory *mem;
	int ret = -ENODEV;

	/* it may never have been open; pairs with vfio_mdev_memory_get() */
	mem = smp_load_acquire(&vm->memory);
	if (!mem)
		return ret;
	mutex_lock(&mem->vendor_lock);
	if (mem->vendor_open)
		ret = function(vm, arg);
	mutex_unlock(&mem->vendor_lock);
	return ret;
}

int __init vfio_mdev_memory_init(void)
{
	vfio_mdev_tell_wq = alloc_workqueue("vfio_mdev_tell", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!vfio_mdev_tell_wq)
		return -ENOMEM;
	vfio_mdev_keep_wq = alloc_workqueue("vfio_mdev_keep", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!vfio_mdev_keep_wq) {
		destroy_workqueue(vfio_mdev_tell_wq);
		return -ENOMEM;
	}
	return 0;
}

void vfio_mdev_memory_exit(void)
{
	destroy_workqueue(vfio_mdev_keep_wq);
	destroy_workqueue(vfio_mdev_tell_wq);
}
