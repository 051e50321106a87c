/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Late binding: the interface between mdev and the queue, which is part of vmlinux.
 *
 * What built-in vendors register goes through the queue, as mdev may not be there yet. The
 * queue's lock is not held while mdev is called.
 */
#ifndef MDEV_LATE_H
#define MDEV_LATE_H

#include <linux/hashtable.h>
#include <linux/jhash.h>
#include <linux/list.h>
#include <linux/mdev.h>
#include <linux/mutex.h>
#include <linux/wait.h>

/* Checks of arguments, shared by mdev and the queue, which works without mdev. */

static inline bool mdev_migration_valid(const struct mdev_parent_ops *ops)
{
	bool can = ops->migration_flags;

	/* VFIO has no others without it */
	if (can && !(ops->migration_flags & VFIO_MIGRATION_STOP_COPY))
		return false;
	return !ops->migration_set_state == !can &&
	       !ops->migration_get_state == !can &&
	       !ops->migration_get_data_size == !can &&
	       !ops->log_start == !ops->log_stop &&
	       !ops->log_start == !ops->log_read_and_clear;
}

static inline bool mdev_device_args_valid(const struct device *dev,
					  const struct mdev_parent_ops *ops)
{
	return dev && ops && ops->create && ops->remove &&
	       ops->supported_type_groups && mdev_migration_valid(ops);
}

static inline bool mdev_parent_args_valid(const struct mdev_parent *parent,
					  const struct device *dev,
					  const struct mdev_driver *mdev_driver,
					  struct mdev_type **types,
					  unsigned int nr_types)
{
	return parent && dev && mdev_driver && (types || !nr_types);
}

static inline bool mdev_driver_valid(const struct mdev_driver *drv)
{
	return drv && drv->device_api;
}

/*
 * What tables have a pointer of a vendor under. Vendors have their devices in arrays, in whose
 * addresses a multiplication, as in hash_ptr(), finds patterns.
 */
static inline u32 mdev_key(const void *ptr)
{
	return jhash(&ptr, sizeof(ptr), 0);
}

/* what a built-in vendor registers */
enum mdev_late_kind {
	MDEV_LATE_DEVICE,
	MDEV_LATE_PARENT,
	MDEV_LATE_DRIVER,
};

/**
 * enum mdev_late_state - whether mdev has an entry, under mdev_late.lock
 * @MDEV_LATE_PENDING: no; on the list of that name
 * @MDEV_LATE_BUSY: a call into mdev to register or unregister it runs, without the
 *	lock; on the list "bound", as are the next two
 * @MDEV_LATE_BOUND: it is registered
 * @MDEV_LATE_FAILED: it was PENDING, and mdev has refused to register it
 */
enum mdev_late_state {
	MDEV_LATE_PENDING,
	MDEV_LATE_BUSY,
	MDEV_LATE_BOUND,
	MDEV_LATE_FAILED,
};

/**
 * struct mdev_late_entry - a registration of a built-in vendor
 * @next: in one of the queue's lists
 * @by_key: in the queue's table of all
 * @by_handle: modern door: in that by @parent
 * @state: see enum mdev_late_state
 * @error: errno of the failed registration; written only by the task that has set BUSY
 * @kind: which of the arguments below are used
 * @key: the parent device or the driver, which can be registered only once
 * @dev: parent device, referenced; NULL for a driver
 * @ops: classic door: the vendor's ops
 * @abi: classic door: which create, show and store the vendor has
 * @parent: modern door: the vendor's handle
 * @driver: modern door: the vendor's driver
 * @types: modern door: the vendor's types
 * @nr_types: number of entries in @types
 */
struct mdev_late_entry {
	struct list_head next;
	struct hlist_node by_key;
	struct hlist_node by_handle;
	enum mdev_late_state state;
	int error;
	enum mdev_late_kind kind;
	const void *key;
	struct device *dev;
	const struct mdev_parent_ops *ops;
	enum mdev_abi abi;
	struct mdev_parent *parent;
	struct mdev_driver *driver;
	struct mdev_type **types;
	unsigned int nr_types;
};

/**
 * struct mdev_late_core - mdev, as the queue sees it
 * @bind: register what a BUSY entry says; @waited: it was PENDING. 0 or a negative errno
 * @unbind: take back @bind
 */
struct mdev_late_core {
	int (*bind)(const struct mdev_late_entry *entry, bool waited);
	void (*unbind)(const struct mdev_late_entry *entry);
};

/**
 * struct mdev_late - the registrations of built-in vendors
 * @lock: protects all members, and the state of entries
 * @core: mdev, from mdev_late_start() to mdev_late_stop(), or NULL
 * @ready: nothing is pending and @core is there: bind new entries at once
 * @pending: entries that mdev was not asked to register, in order of registration
 * @bound: those that it was asked to register, in that order
 * @entries: all of them, by key
 * @handles: those of the modern door, by the vendor's handle
 * @wait: for an entry that is BUSY
 */
struct mdev_late {
	struct mutex lock;		/* protects everything here */
	const struct mdev_late_core *core;
	bool ready;
	struct list_head pending;
	struct list_head bound;
	DECLARE_HASHTABLE(entries, 7);
	DECLARE_HASHTABLE(handles, 7);
	wait_queue_head_t wait;
};

/* mdev_late.c; not there when mdev is built outside of a tree */
#if IS_ENABLED(CONFIG_VFIO_MDEV_LATE)
int mdev_late_register(struct mdev_late *late,
		       const struct mdev_late_entry *request);
bool mdev_late_unregister(struct mdev_late *late, const void *key,
			  const struct mdev_parent *parent);
void mdev_late_start(struct mdev_late *late, const struct mdev_late_core *core);
void mdev_late_stop(struct mdev_late *late);
void mdev_late_attach(const struct mdev_late_core *core);
void mdev_late_detach(void);
#else
static inline void mdev_late_attach(const struct mdev_late_core *core) { }
static inline void mdev_late_detach(void) { }
#endif

#endif /* MDEV_LATE_H */
