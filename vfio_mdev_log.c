// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bridge's own dirty log: which pages the devices of a vendor that keeps no log have
 * written to.
 */
#include <kunit/visibility.h>
#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/interval_tree.h>
#include <linux/memcontrol.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/rbtree.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "vfio_mdev_private.h"

/**
 * DOC: the bridge's dirty log
 *
 * For live migration, a VMM asks VFIO for the pages that a device has written to
 * (VFIO_DEVICE_FEATURE_DMA_LOGGING_START, _REPORT and _STOP). A classic vendor reaches
 * the memory of user space only through the bridge, so the bridge can answer for it. A
 * report lists these pages as dirty:
 *
 * 1. Pages that are pinned for writing while the report is made. The log need not record
 *    them, because &struct vfio_mdev_memory has all pins. A pin that is still being made
 *    counts, and so does a page that the bridge keeps for a vendor after its unmap, as
 *    the device may go on writing to it.
 *
 * 2. Pages whose pin for writing has ended since the last report. vfio_mdev_pin_del()
 *    records them under the lock under which it removes the pin, so a report finds each
 *    page as a pin or in the log.
 *
 * 3. Pages that mdev_dma_rw() has written since the last report. They are recorded after
 *    the write. If they were recorded before, a report could come in between, and the
 *    write would be lost.
 *
 * So pinning a page does nothing for the log. An unpin and mdev_dma_rw() check whether
 * there is a log, and do nothing else if there is none.
 *
 * &struct vfio_mdev_log holds the pages of 2 and 3. It is allocated when the log starts.
 * It is freed when the log stops or when the device is closed, because VFIO does not stop
 * the log then. It has no lock of its own: mem->lock protects it and the pointer to it.
 *
 * Memory: The log has a bit per page, in leaves of %VFIO_MDEV_LOG_PAGES bits. A leaf is
 * allocated when one of its pages gets dirty, and freed when all its dirty pages have
 * been reported. So the size of the log depends on what is dirty, not on the ranges.
 * Leaves are charged to the memory cgroup of the process that started the log, whichever
 * thread of the vendor unpins.
 *
 * An unpin cannot fail, and does not sleep for the log. If a leaf cannot be allocated, the
 * range goes into a table of %VFIO_MDEV_LOG_LOST entries, which is a part of the log. If
 * the table is full, the two nearest entries become one, and the pages between them count
 * as dirty, too. So a report can list pages that were not written, but it omits none that
 * was; and a page that has been reported is clean again. A range of
 * %VFIO_MDEV_LOG_MANY leaves or more goes into the table at once, which limits the time
 * that a single unpin takes.
 *
 * A report goes through its range in windows of one leaf. It takes the lock for one
 * window, passes at most %VFIO_MDEV_LOG_VISITS pins for reading on the way to it and as
 * many in it, and copies the result to user space without the lock. So a fault on the
 * bitmap that takes forever delays only the process that has asked. A report does not
 * visit windows without dirty pages.
 *
 * User space names the ranges and sizes, and none of them is trusted:
 *
 * - Ranges are rounded to pages, and so is the page size: the log is always in pages of
 *   PAGE_SIZE, and log_start returns that size. VFIO has checked for overlaps and
 *   overflows. A range without any byte is refused here.
 * - A second start is refused. So is a report of anything outside the ranges, because
 *   the log does not cover it.
 * - A report can begin or end in the middle of a page. Such a page is reported and stays
 *   dirty, because the report does not cover the rest of it.
 * - If a log is stopped while a report runs, the report fails with -EINVAL.
 */

/* A range of so many leaves goes into vfio_mdev_log::lost. */
#define VFIO_MDEV_LOG_MANY	64

/* Number of entries in vfio_mdev_log::lost. */
#define VFIO_MDEV_LOG_LOST	32

/**
 * struct vfio_mdev_log_range - a range of pages
 * @first: number of the first page
 * @last: number of the last page
 */
struct vfio_mdev_log_range {
	u64 first;
	u64 last;
};

/**
 * struct vfio_mdev_log - pages that are dirty but no longer pinned
 * @leaves: bitmaps of %VFIO_MDEV_LOG_PAGES bits, by number of the first page divided by that
 * @memcg: that of the process that started the log, with a reference
 * @nr_lost: number of entries in @lost
 * @lost: ranges that are dirty as a whole; they neither overlap nor touch
 * @nr_ranges: number of entries in @ranges
 * @ranges: the logged ranges, in order; they neither overlap nor touch
 *
 * Protected by mem->lock.
 */
struct vfio_mdev_log {
	struct xarray leaves;
	struct mem_cgroup *memcg;
	unsigned int nr_lost;
	struct vfio_mdev_log_range lost[VFIO_MDEV_LOG_LOST];
	unsigned int nr_ranges;
	struct vfio_mdev_log_range ranges[];
};

static bool vfio_mdev_log_add_range(struct vfio_mdev_log *log,
				    const struct interval_tree_node *node)
{
	struct vfio_mdev_log_range *prev, range = {
		.first	= node->start >> PAGE_SHIFT,
		.last	= node->last >> PAGE_SHIFT,
	};

	/* VFIO turns a range without bytes into one that is empty, or has all bytes */
	if (node->start > node->last || (!node->start && node->last == ULONG_MAX))
		return false;
	prev = log->nr_ranges ? &log->ranges[log->nr_ranges - 1] : NULL;
	if (prev && range.first <= prev->last + 1)
		prev->last = max(prev->last, range.last);
	else
		log->ranges[log->nr_ranges++] = range;
	return true;
}

/* Allocate a log of @count ranges of user space: &struct interval_tree_node. */
struct vfio_mdev_log *vfio_mdev_log_alloc(struct rb_root_cached *ranges, u32 count)
{
	struct vfio_mdev_log *log;
	struct rb_node *rb;

	log = kzalloc(struct_size(log, ranges, count), GFP_KERNEL_ACCOUNT);
	if (!log)
		return ERR_PTR(-ENOMEM);
	xa_init_flags(&log->leaves, XA_FLAGS_ACCOUNT);
	for (rb = rb_first_cached(ranges); rb; rb = rb_next(rb)) {
		if (!vfio_mdev_log_add_range(log, rb_entry(rb, struct interval_tree_node,
							   rb))) {
			kfree(log);
			return ERR_PTR(-EINVAL);
		}
	}
	log->memcg = get_mem_cgroup_from_mm(current->mm);
	return log;
}
EXPORT_SYMBOL_IF_KUNIT(vfio_mdev_log_alloc);

void vfio_mdev_log_free(struct vfio_mdev_log *log)
{
	unsigned long index;
	void *leaf;

	/* one by one: xa_destroy() frees nodes with interrupts disabled */
	xa_for_each(&log->leaves, index, leaf) {
		xa_erase(&log->leaves, index);
		kfree(leaf);
		cond_resched();
	}
	/* an xa_store() that failed may have left nodes without a leaf */
	xa_destroy(&log->leaves);
	mem_cgroup_put(log->memcg);
	kfree(log);
}
EXPORT_SYMBOL_IF_KUNIT(vfio_mdev_log_free);

/* Are all of these pages logged? */
bool vfio_mdev_log_covers(const struct vfio_mdev_log *log, u64 first, u64 last)
{
	unsigned int i;

	for (i = 0; i < log->nr_ranges; i++)
		if (log->ranges[i].first <= first && log->ranges[i].last >= last)
			return true;
	return false;
}
EXPORT_SYMBOL_IF_KUNIT(vfio_mdev_log_covers);

static u64 vfio_mdev_log_gap(const struct vfio_mdev_log_range *range, u64 first,
			     u64 last)
{
	if (range->first > last)
		return range->first - last;
	return range->last < first ? first - range->last : 0;
}

/* The entry in @lost that is nearest to a range, which may overlap it. */
static struct vfio_mdev_log_range *
vfio_mdev_log_nearest(struct vfio_mdev_log *log, u64 first, u64 last)
{
	struct vfio_mdev_log_range *range, *nearest = NULL;
	u64 gap, smallest = U64_MAX;

	for (range = log->lost; range < log->lost + log->nr_lost; range++) {
		gap = vfio_mdev_log_gap(range, first, last);
		if (gap < smallest) {
			smallest = gap;
			nearest = range;
		}
	}
	return nearest;
}

static void vfio_mdev_log_lost_add(struct vfio_mdev_log *log, u64 first, u64 last)
{
	struct vfio_mdev_log_range *near;

	/* merge entries that overlap or touch; if the table is full, the nearest, too */
	while ((near = vfio_mdev_log_nearest(log, first, last))) {
		if (vfio_mdev_log_gap(near, first, last) > 1 &&
		    log->nr_lost < VFIO_MDEV_LOG_LOST)
			break;
		first = min(first, near->first);
		last = max(last, near->last);
		*near = log->lost[--log->nr_lost];
	}
	log->lost[log->nr_lost++] = (struct vfio_mdev_log_range){ first, last };
}

/* Remove reported pages from @lost, unless that takes an entry that it does not have. */
static void vfio_mdev_log_lost_del(struct vfio_mdev_log *log, u64 first, u64 last)
{
	struct vfio_mdev_log_range *range = log->lost;

	while (range < log->lost + log->nr_lost) {
		if (range->last < first || range->first > last) {
			range++;
		} else if (range->first >= first && range->last <= last) {
			*range = log->lost[--log->nr_lost];
		} else if (range->first >= first) {
			range->first = last + 1;
		} else if (range->last <= last) {
			range->last = first - 1;
		} else if (log->nr_lost < VFIO_MDEV_LOG_LOST) {
			log->lost[log->nr_lost++] =
				(struct vfio_mdev_log_range){ last + 1, range->last };
			range->last = first - 1;
		} else {
			range++;
		}
	}
}

static unsigned long *vfio_mdev_log_leaf(struct vfio_mdev_log *log, unsigned long index)
{
	const gfp_t gfp = GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT;
	unsigned long *leaf = xa_load(&log->leaves, index);
	struct mem_cgroup *memcg;

	if (leaf)
		return leaf;
	memcg = set_active_memcg(log->memcg);
	leaf = kzalloc(VFIO_MDEV_LOG_PAGES / BITS_PER_BYTE, gfp);
	if (leaf && xa_err(xa_store(&log->leaves, index, leaf, gfp))) {
		kfree(leaf);
		leaf = NULL;
	}
	set_active_memcg(memcg);
	return leaf;
}

static void vfio_mdev_log_set_logged(struct vfio_mdev_log *log, u64 first, u64 last,
				     bool many)
{
	unsigned long *leaf;
	u64 to;

	if (many) {
		vfio_mdev_log_lost_add(log, first, last);
		return;
	}
	for (; first <= last; first = to + 1) {
		to = min(last, first | (VFIO_MDEV_LOG_PAGES - 1));
		leaf = vfio_mdev_log_leaf(log, first / VFIO_MDEV_LOG_PAGES);
		if (leaf)
			bitmap_set(leaf, first % VFIO_MDEV_LOG_PAGES, to - first + 1);
		else
			vfio_mdev_log_lost_add(log, first, to);
	}
}

/* Record that these pages are dirty, except those that are outside the ranges. */
void vfio_mdev_log_set(struct vfio_mdev_log *log, u64 first, u64 last)
{
	bool many = last - first >= VFIO_MDEV_LOG_MANY * VFIO_MDEV_LOG_PAGES;
	const struct vfio_mdev_log_range *range;

	for (range = log->ranges; range < log->ranges + log->nr_ranges; range++)
		if (range->first <= last && range->last >= first)
			vfio_mdev_log_set_logged(log, max(first, range->first),
						 min(last, range->last), many);
}
EXPORT_SYMBOL_IF_KUNIT(vfio_mdev_log_set);

/* Return a page so that none from @first to it is dirty; U64_MAX if none is at all. */
u64 vfio_mdev_log_next(struct vfio_mdev_log *log, u64 first)
{
	unsigned long index = first / VFIO_MDEV_LOG_PAGES;
	const struct vfio_mdev_log_range *range;
	u64 next = U64_MAX;

	if (xa_find(&log->leaves, &index, ULONG_MAX, XA_PRESENT))
		next = max(first, (u64)index * VFIO_MDEV_LOG_PAGES);
	for (range = log->lost; range < log->lost + log->nr_lost; range++)
		if (range->last >= first)
			next = min(next, max(first, range->first));
	return next;
}
EXPORT_SYMBOL_IF_KUNIT(vfio_mdev_log_next);

/*
 * Set in @bits, the bitmap of a leaf, the dirty pages from @first to @last, all of which
 * belong to that leaf. They are clean afterwards.
 */
void vfio_mdev_log_take(struct vfio_mdev_log *log, u64 first, u64 last,
			unsigned long *bits)
{
	const u64 base = round_down(first, (u64)VFIO_MDEV_LOG_PAGES);
	unsigned long index = first / VFIO_MDEV_LOG_PAGES;
	unsigned long *leaf = xa_load(&log->leaves, index);
	DECLARE_BITMAP(taken, VFIO_MDEV_LOG_PAGES) = {};
	const struct vfio_mdev_log_range *range;
	u64 from;

	if (leaf) {
		bitmap_set(taken, first - base, last - first + 1);
		bitmap_and(taken, taken, leaf, VFIO_MDEV_LOG_PAGES);
		bitmap_or(bits, bits, taken, VFIO_MDEV_LOG_PAGES);
		bitmap_andnot(leaf, leaf, taken, VFIO_MDEV_LOG_PAGES);
		if (bitmap_empty(leaf, VFIO_MDEV_LOG_PAGES)) {
			xa_erase(&log->leaves, index);
			kfree(leaf);
		}
	}
	for (range = log->lost; range < log->lost + log->nr_lost; range++) {
		from = max(first, range->first);
		if (from <= min(last, range->last))
			bitmap_set(bits, from - base, min(last, range->last) - from + 1);
	}
	vfio_mdev_log_lost_del(log, first, last);
}
EXPORT_SYMBOL_IF_KUNIT(vfio_mdev_log_take);
