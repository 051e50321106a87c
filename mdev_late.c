// SPDX-License-Identifier: GPL-2.0-only
/*
 * Late binding: part of vmlinux. Keeps what built-in vendors register until they
 * unregister it, and binds it, that is, registers it with mdev, whenever mdev is there.
 *
 * Every registration is an entry in one of two lists, both in the order of
 * registration. On "pending" are those that mdev was not asked to register. On "bound"
 * are those that it was, including those that it has refused. An entry is on "bound"
 * and BUSY while a call into mdev registers or unregisters it. mdev waits for BUSY
 * entries before it is unloaded, so nobody needs a reference to its module.
 *
 * The lock is not held while mdev is called: vendors may call us, and be called
 * back by mdev, with locks of their own.
 */
#include <kunit/visibility.h>
#include <linux/debugfs.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "mdev_late.h"

/* usable from the first initcall on */
static struct mdev_late mdev_late_vendors = {
	.lock		= __MUTEX_INITIALIZER(mdev_late_vendors.lock),
	.pending	= LIST_HEAD_INIT(mdev_late_vendors.pending),
	.bound		= LIST_HEAD_INIT(mdev_late_vendors.bound),
	.wait		= __WAIT_QUEUE_HEAD_INITIALIZER(mdev_late_vendors.wait),
};

static struct mdev_late_entry *mdev_late_find(struct mdev_late *late,
					      const void *key)
{
	struct mdev_late_entry *entry;

	lockdep_assert_held(&late->lock);

	hash_for_each_possible(late->entries, entry, by_key, mdev_key(key))
		if (entry->key == key)
			return entry;
	return NULL;
}

/*
 * By the address of the vendor's handle. What is in the handle cannot be used: mdev
 * overwrites it while it registers a parent.
 */
static struct mdev_late_entry *
mdev_late_find_handle(struct mdev_late *late, const struct mdev_parent *handle)
{
	struct mdev_late_entry *entry;

	lockdep_assert_held(&late->lock);

	hash_for_each_possible(late->handles, entry, by_handle, mdev_key(handle))
		if (entry->parent == handle)
			return entry;
	return NULL;
}

/* Wait, without the lock, until some entry is not BUSY any more, or is freed. */
static void mdev_late_wait(struct mdev_late *late)
{
	DEFINE_WAIT(wait);

	/* before the lock is released: it is held for all wakeups */
	prepare_to_wait(&late->wait, &wait, TASK_UNINTERRUPTIBLE);
	mutex_unlock(&late->lock);
	schedule();
	finish_wait(&late->wait, &wait);
	mutex_lock(&late->lock);
}

static void mdev_late_set_state(struct mdev_late *late,
				struct mdev_late_entry *entry,
				enum mdev_late_state state)
{
	lockdep_assert_held(&late->lock);

	entry->state = state;
	wake_up_all(&late->wait);
}

/* Free an entry, and release the lock. */
static void mdev_late_forget(struct mdev_late *late,
			     struct mdev_late_entry *entry)
{
	lockdep_assert_held(&late->lock);

	list_del(&entry->next);
	hash_del(&entry->by_key);
	if (entry->parent)
		hash_del(&entry->by_handle);
	/* mdev_late_stop() may be waiting for this one */
	wake_up_all(&late->wait);
	mutex_unlock(&late->lock);

	/* taken in mdev_late_register(); may be the last, and call the vendor */
	put_device(entry->dev);
	kfree(entry);
}

static void mdev_late_complain(const struct mdev_late_entry *entry)
{
	if (entry->dev)
		dev_err(entry->dev, "mdev: late registration failed: %d\n",
			entry->error);
	else
		pr_err("mdev: driver %s: late registration failed: %d\n",
		       entry->driver->driver.name, entry->error);
}

/**
 * mdev_late_register - keep a registration, and bind it if mdev is there
 * @late: the queue
 * @request: what to register; copied
 *
 * Context: process context, sleeps.
 * Return: 0; -EEXIST (-EBUSY for a driver, as driver_register() has it) if it is
 * registered already; -ENOMEM; if mdev is there, whatever it returns. On error
 * nothing is kept.
 */
int mdev_late_register(struct mdev_late *late,
		       const struct mdev_late_entry *request)
{
	struct mdev_late_entry *entry;
	int ret;

	entry = kmemdup(request, sizeof(*request), GFP_KERNEL);
	if (!entry)
		return -ENOMEM;

	mutex_lock(&late->lock);
	/* a handle serves one registration */
	if (mdev_late_find(late, entry->key) ||
	    (entry->parent && mdev_late_find_handle(late, entry->parent))) {
		mutex_unlock(&late->lock);
		kfree(entry);
		return request->kind == MDEV_LATE_DRIVER ? -EBUSY : -EEXIST;
	}

	/* dropped in mdev_late_forget() */
	get_device(entry->dev);
	hash_add(late->entries, &entry->by_key, mdev_key(entry->key));
	if (entry->parent) {
		hash_add(late->handles, &entry->by_handle,
			 mdev_key(entry->parent));
		/* vendors read it after they have registered */
		entry->parent->dev = entry->dev;
	}

	if (!late->ready) {
		entry->state = MDEV_LATE_PENDING;
		list_add_tail(&entry->next, &late->pending);
		mutex_unlock(&late->lock);
		return 0;
	}

	entry->state = MDEV_LATE_BUSY;
	list_add_tail(&entry->next, &late->bound);
	mutex_unlock(&late->lock);

	ret = late->core->bind(entry, false);

	mutex_lock(&late->lock);
	if (!ret) {
		mdev_late_set_state(late, entry, MDEV_LATE_BOUND);
		mutex_unlock(&late->lock);
		return 0;
	}
	mdev_late_forget(late, entry);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(mdev_late_register);

/**
 * mdev_late_unregister - take back mdev_late_register()
 * @late: the queue
 * @key: the entry's key; not used if there is a @parent
 * @parent: modern door: the vendor's handle; NULL otherwise
 *
 * If it is bound, unregisters it with mdev. If it is BUSY, waits until it is not.
 *
 * Context: process context, sleeps.
 * Return: true, or false if there is no such registration.
 */
bool mdev_late_unregister(struct mdev_late *late, const void *key,
			  const struct mdev_parent *parent)
{
	struct mdev_late_entry *entry;

	mutex_lock(&late->lock);
	for (;;) {
		entry = parent ? mdev_late_find_handle(late, parent) :
				 mdev_late_find(late, key);
		if (!entry || entry->parent != parent) {
			mutex_unlock(&late->lock);
			return false;
		}
		if (entry->state != MDEV_LATE_BUSY)
			break;
		mdev_late_wait(late);
	}

	if (entry->state == MDEV_LATE_BOUND) {
		entry->state = MDEV_LATE_BUSY;
		mutex_unlock(&late->lock);
		late->core->unbind(entry);
		mutex_lock(&late->lock);
	}
	mdev_late_forget(late, entry);
	return true;
}
EXPORT_SYMBOL_IF_KUNIT(mdev_late_unregister);

/**
 * mdev_late_start - mdev is there: bind all that is pending, in order
 * @late: the queue
 * @core: mdev's functions; must stay until mdev_late_stop() returns
 *
 * Registrations that are made meanwhile are bound after these. An entry that mdev
 * refuses is logged and stays, for the next time.
 *
 * Context: process context, sleeps; mdev is ready to be called.
 */
void mdev_late_start(struct mdev_late *late, const struct mdev_late_core *core)
{
	struct mdev_late_entry *entry;

	mutex_lock(&late->lock);
	late->core = core;
	while ((entry = list_first_entry_or_null(&late->pending,
						 struct mdev_late_entry, next))) {
		entry->state = MDEV_LATE_BUSY;
		list_move_tail(&entry->next, &late->bound);
		mutex_unlock(&late->lock);

		entry->error = late->core->bind(entry, true);
		if (entry->error)
			mdev_late_complain(entry);

		mutex_lock(&late->lock);
		mdev_late_set_state(late, entry, entry->error ?
				    MDEV_LATE_FAILED : MDEV_LATE_BOUND);
	}
	late->ready = true;
	mutex_unlock(&late->lock);
}
EXPORT_SYMBOL_IF_KUNIT(mdev_late_start);

/**
 * mdev_late_stop - mdev is to be unloaded: unregister all that is bound
 * @late: the queue
 *
 * In reverse order, so that the pending list is in order again. When this
 * returns, mdev is not being called from here and will not be.
 *
 * Context: process context, sleeps; mdev can still be called.
 */
void mdev_late_stop(struct mdev_late *late)
{
	struct mdev_late_entry *entry;

	mutex_lock(&late->lock);
	late->ready = false;
	while (!list_empty(&late->bound)) {
		entry = list_last_entry(&late->bound, struct mdev_late_entry,
					next);
		if (entry->state == MDEV_LATE_BUSY) {
			mdev_late_wait(late);
			continue;
		}
		if (entry->state == MDEV_LATE_BOUND) {
			entry->state = MDEV_LATE_BUSY;
			mutex_unlock(&late->lock);
			late->core->unbind(entry);
			mutex_lock(&late->lock);
		}
		list_move(&entry->next, &late->pending);
		mdev_late_set_state(late, entry, MDEV_LATE_PENDING);
	}
	late->core = NULL;
	mutex_unlock(&late->lock);
}
EXPORT_SYMBOL_IF_KUNIT(mdev_late_stop);

/**
 * mdev_late_attach - mdev_late_start() for the queue of this kernel's vendors
 * @core: mdev's functions; must stay until mdev_late_detach() returns
 *
 * Context: as mdev_late_start().
 */
void mdev_late_attach(const struct mdev_late_core *core)
{
	mdev_late_start(&mdev_late_vendors, core);
}
EXPORT_SYMBOL_GPL(mdev_late_attach);

/**
 * mdev_late_detach - mdev_late_stop() for the queue of this kernel's vendors
 *
 * Context: as mdev_late_stop().
 */
void mdev_late_detach(void)
{
	mdev_late_stop(&mdev_late_vendors);
}
EXPORT_SYMBOL_GPL(mdev_late_detach);

/*
 * <linux/mdev.h> replaces a built-in vendor's calls by these. The documentation is at
 * the functions that they replace.
 */

int mdev_late_register_device_abi(struct device *dev,
				  const struct mdev_parent_ops *ops,
				  enum mdev_abi abi)
{
	struct mdev_late_entry entry = {
		.kind	= MDEV_LATE_DEVICE,
		.key	= dev,
		.dev	= dev,
		.ops	= ops,
		.abi	= abi,
	};

	if (!mdev_device_args_valid(dev, ops))
		return -EINVAL;
	return mdev_late_register(&mdev_late_vendors, &entry);
}

void mdev_late_unregister_device(struct device *dev)
{
	if (dev && !mdev_late_unregister(&mdev_late_vendors, dev, NULL))
		dev_err(dev, "mdev: not registered, cannot unregister\n");
}

int mdev_late_register_parent(struct mdev_parent *parent, struct device *dev,
			      struct mdev_driver *mdev_driver,
			      struct mdev_type **types, unsigned int nr_types)
{
	struct mdev_late_entry entry = {
		.kind		= MDEV_LATE_PARENT,
		.key		= dev,
		.dev		= dev,
		.parent		= parent,
		.driver		= mdev_driver,
		.types		= types,
		.nr_types	= nr_types,
	};

	if (!mdev_parent_args_valid(parent, dev, mdev_driver, types, nr_types))
		return -EINVAL;
	return mdev_late_register(&mdev_late_vendors, &entry);
}

void mdev_late_unregister_parent(struct mdev_parent *parent)
{
	if (parent)
		mdev_late_unregister(&mdev_late_vendors, NULL, parent);
}

int mdev_late_register_driver(struct mdev_driver *drv)
{
	struct mdev_late_entry entry = {
		.kind	= MDEV_LATE_DRIVER,
		.key	= drv,
		.driver	= drv,
	};

	if (!mdev_driver_valid(drv))
		return -EINVAL;
	return mdev_late_register(&mdev_late_vendors, &entry);
}

void mdev_late_unregister_driver(struct mdev_driver *drv)
{
	mdev_late_unregister(&mdev_late_vendors, drv, NULL);
}

static const char *mdev_late_name(const struct mdev_late_entry *entry)
{
	return entry->dev ? dev_name(entry->dev) : entry->driver->driver.name;
}

/* Parents and drivers that wait for mdev, or that it has refused. */
static int pending_show(struct seq_file *m, void *unused)
{
	static const char * const kinds[] = {
		[MDEV_LATE_DEVICE]	= "device",
		[MDEV_LATE_PARENT]	= "parent",
		[MDEV_LATE_DRIVER]	= "driver",
	};
	struct mdev_late *late = m->private;
	struct mdev_late_entry *entry;

	mutex_lock(&late->lock);
	list_for_each_entry(entry, &late->bound, next)
		if (entry->state == MDEV_LATE_FAILED)
			seq_printf(m, "%s %s failed %d\n", kinds[entry->kind],
				   mdev_late_name(entry), entry->error);
	list_for_each_entry(entry, &late->pending, next)
		seq_printf(m, "%s %s pending\n", kinds[entry->kind],
			   mdev_late_name(entry));
	mutex_unlock(&late->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(pending);

/* Before mdev's own initcall, which uses the directory if it is there. */
static int __init mdev_late_debugfs_init(void)
{
	struct dentry *dir = debugfs_create_dir("mdev", NULL);

	debugfs_create_file("pending", 0400, dir, &mdev_late_vendors,
			    &pending_fops);
	return 0;
}
postcore_initcall(mdev_late_debugfs_init);
