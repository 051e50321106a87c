// SPDX-License-Identifier: GPL-2.0-only
/*
 * One mediated device: create, remove, its files and links, the UUID table.
 */
#include <linux/mdev.h>
#include <linux/rbtree.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "mdev_private.h"
#include "mdev_trace.h"

/* how often a holder is asked again, and how often the log says who it is */
#define MDEV_ASK_INTERVAL	(10 * HZ)
#define MDEV_ASKS_PER_MESSAGE	6
/* VFIO does not tell when it drops a device that is not open: look again this often */
#define MDEV_HELD_INTERVAL	(HZ / 4)
/* an unbind takes less unless VFIO holds the device; signals wait for that long */
#define MDEV_UNBIND_TIME	HZ

/*
 * Every UUID on the host that is taken: those of devices whose name is in sysfs, or
 * about to be.
 */
static DEFINE_SPINLOCK(mdev_uuids_lock);
static struct rb_root mdev_uuids = RB_ROOT;

static int mdev_uuid_cmp(struct rb_node *a, const struct rb_node *b)
{
	return memcmp(&rb_entry(a, struct mdev_device_obj, uuid_node)->mdev.uuid,
		      &rb_entry(b, struct mdev_device_obj, uuid_node)->mdev.uuid,
		      sizeof(guid_t));
}

static int mdev_uuid_claim(struct mdev_device_obj *obj)
{
	bool taken;

	spin_lock(&mdev_uuids_lock);
	taken = rb_find_add(&obj->uuid_node, &mdev_uuids, mdev_uuid_cmp);
	spin_unlock(&mdev_uuids_lock);
	return taken ? -EEXIST : 0;
}

static void mdev_uuid_release(struct mdev_device_obj *obj)
{
	spin_lock(&mdev_uuids_lock);
	rb_erase(&obj->uuid_node, &mdev_uuids);
	spin_unlock(&mdev_uuids_lock);
}

/*
 * Iterate over all devices in the order of their UUIDs: return the first whose UUID is
 * not before @uuid, or, if @after, is after it. The caller drops the reference.
 */
struct mdev_device_obj *mdev_device_get_next(const guid_t *uuid, bool after)
{
	struct mdev_device_obj *obj, *found = NULL;
	struct rb_node *node;
	int cmp;

	spin_lock(&mdev_uuids_lock);
	node = mdev_uuids.rb_node;
	while (node) {
		obj = rb_entry(node, struct mdev_device_obj, uuid_node);
		cmp = memcmp(&obj->mdev.uuid, uuid, sizeof(*uuid));
		if (cmp > 0 || (!cmp && !after)) {
			found = obj;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	/* there is one: the UUID is released before the last reference is dropped */
	if (found)
		get_device(&found->mdev.dev);
	spin_unlock(&mdev_uuids_lock);
	return found;
}

/* The core counts instances only for modern vendors that do not. */
static bool mdev_quota_counted(struct mdev_parent_obj *parent)
{
	return parent->driver && !parent->driver->get_available;
}

static int mdev_quota_claim(struct mdev_parent_obj *parent)
{
	if (mdev_quota_counted(parent) &&
	    atomic_dec_if_positive(&parent->available) < 0)
		return -EUSERS;
	return 0;
}

static void mdev_quota_release(struct mdev_parent_obj *parent)
{
	if (mdev_quota_counted(parent))
		atomic_inc(&parent->available);
}

/* Runs at any time after removal: touches core memory only. */
static void mdev_device_release(struct device *dev)
{
	struct mdev_device_obj *obj = dev_to_device_obj(dev);

	/* taken in mdev_device_alloc() */
	kobject_put(&obj->type->kobj);
	kfree(obj);
	mdev_object_gone();
}

/* A device with nothing but memory; put_device() frees it. */
static struct mdev_device_obj *mdev_device_alloc(struct mdev_type_obj *type,
						 const guid_t *uuid)
{
	char name[UUID_STRING_LEN + 1];
	struct mdev_device_obj *obj;
	struct device *dev;

	obj = kzalloc_obj(*obj);
	if (!obj)
		return NULL;

	mdev_object_born();
	spin_lock_init(&obj->lock);
	obj->state = MDEV_RESERVED;
	obj->type = type;
	mdev_calls_init(obj);
	/* dropped in mdev_device_release() */
	kobject_get(&type->kobj);

	obj->mdev.type = type->type;
	guid_copy(&obj->mdev.uuid, uuid);

	dev = &obj->mdev.dev;
	device_initialize(dev);
	dev->parent = type->parent->dev;
	dev->release = mdev_device_release;
	mdev_bus_adopt(dev);
	/* once: %pU is slow, and dev_set_name() formats twice, first for the length */
	snprintf(name, sizeof(name), "%pUl", uuid);
	if (dev_set_name(dev, "%s", name)) {
		put_device(dev);
		return NULL;
	}
	return obj;
}

static int mdev_device_add_links(struct mdev_device_obj *obj)
{
	struct device *dev = &obj->mdev.dev;
	struct mdev_type_obj *type = obj->type;
	int ret;

	ret = sysfs_create_link(type->devices_kobj, &dev->kobj, dev_name(dev));
	if (ret)
		return ret;
	ret = sysfs_create_link(&dev->kobj, &type->kobj, "mdev_type");
	if (ret)
		sysfs_remove_link(type->devices_kobj, dev_name(dev));
	return ret;
}

/* Those in the device's own directory are removed with it. */
static void mdev_device_remove_links(struct mdev_device_obj *obj)
{
	sysfs_remove_link(obj->type->devices_kobj, dev_name(&obj->mdev.dev));
}

static const struct attribute_group **
mdev_vendor_groups(struct mdev_device_obj *obj)
{
	const struct mdev_parent_ops *ops = mdev_parent_of(obj)->ops;

	return ops ? ops->mdev_attr_groups : NULL;
}

static int mdev_vendor_add_files(struct mdev_device_obj *obj)
{
	int ret;

	ret = sysfs_create_groups(&obj->mdev.dev.kobj, mdev_vendor_groups(obj));
	obj->vendor_files = !ret;
	return ret;
}

static void mdev_vendor_remove_files(struct mdev_device_obj *obj)
{
	/* a removal that the vendor refused may have lost them */
	if (obj->vendor_files)
		sysfs_remove_groups(&obj->mdev.dev.kobj,
				    mdev_vendor_groups(obj));
	obj->vendor_files = false;
}

/*
 * A removal is called off. Bind the driver again if it was unbound, or could not be
 * bound, meanwhile. If it is bound, do not try: somebody may be unbinding it by hand, and
 * has the device's lock until the device is closed.
 */
static void mdev_device_revive(struct mdev_device_obj *obj)
{
	bool bind;
	int ret;

	spin_lock(&obj->lock);
	bind = obj->missed && !obj->bound;
	WRITE_ONCE(obj->state, bind ? MDEV_RESERVED : MDEV_LIVE);
	obj->mdev.active = !bind;
	spin_unlock(&obj->lock);
	if (!bind)
		return;

	ret = mdev_bus_attach(obj);
	if (ret) {
		dev_warn(&obj->mdev.dev, "driver could not be bound again: %d\n",
			 ret);
		mdev_device_set_live(obj);
	}
}

/* Ask the holder to close the device, and log now and then who that is. */
static void mdev_device_ask(struct mdev_device_obj *obj, unsigned int count)
{
	const struct mdev_parent_ops *ops = mdev_parent_of(obj)->ops;
	struct device *dev = &obj->mdev.dev;
	struct mdev_holder holder;

	if (!mdev_device_holder(obj, &holder)) {
		/* only VFIO holds it, so there is nothing that the vendor could do */
		if (count % MDEV_ASKS_PER_MESSAGE == 0)
			dev_warn(dev, "to be removed, not open, but held by VFIO: waiting\n");
		return;
	}

	trace_mdev_wait(dev, holder.pid, holder.comm,
			mdev_parent_leaving(mdev_parent_of(obj)), count);
	if (count % MDEV_ASKS_PER_MESSAGE == 0)
		dev_warn(dev, "to be removed, but held open by %s[%d]: %s\n",
			 holder.comm, holder.pid,
			 ops->request ? "asked to close it" : "waiting");
	if (ops->request)
		ops->request(&obj->mdev, count);
}

static long mdev_wait_time(bool busy)
{
	return busy ? MDEV_ASK_INTERVAL : MDEV_HELD_INTERVAL;
}

static bool mdev_ask_due(unsigned long *next)
{
	if (time_before(jiffies, *next))
		return false;
	*next = jiffies + MDEV_ASK_INTERVAL;
	return true;
}

/*
 * For a write to "remove": wait until the REMOVING device is closed. A signal ends the
 * wait, and so does the unregistration of the parent.
 */
static int mdev_device_wait_closed(struct mdev_device_obj *obj)
{
	struct mdev_parent_obj *parent = mdev_parent_of(obj);
	unsigned long next = jiffies;
	unsigned int count = 0;
	bool busy;
	long ret;

	while (!mdev_device_idle(obj)) {
		if (mdev_parent_leaving(parent))
			return -ENODEV;
		if (mdev_ask_due(&next))
			mdev_device_ask(obj, count++);
		busy = mdev_device_busy(obj);
		ret = wait_event_interruptible_timeout(parent->wait,
						       mdev_device_busy(obj) != busy ||
						       mdev_parent_leaving(parent),
						       mdev_wait_time(busy));
		if (ret < 0)
			return ret;
	}
	return 0;
}

/*
 * LIVE -> REMOVING for a write to "remove". On success nobody else can open, bind or
 * remove the device, and nobody has it open.
 */
static int mdev_device_claim(struct mdev_device_obj *obj)
{
	const struct mdev_parent_ops *ops = mdev_parent_of(obj)->ops;
	bool held = false;
	int ret = 0;

	spin_lock(&obj->lock);
	if (obj->state == MDEV_RESERVED) {
		ret = -EAGAIN;
	} else if (obj->state == MDEV_REMOVING) {
		ret = -ENODEV;
	} else if (ops && !ops->request) {
		held = !obj->open && mdev_device_held_locked(obj);
		if (obj->open || held)
			ret = -EBUSY;
	}
	if (!ret)
		mdev_device_set_removing(obj);
	spin_unlock(&obj->lock);
	/* an administrator would look for a process that has it open */
	if (held)
		dev_notice_ratelimited(&obj->mdev.dev,
				       "not removed: not open, but held by VFIO\n");
	if (ret)
		return ret;

	ret = mdev_device_wait_closed(obj);
	if (ret)
		mdev_device_revive(obj);
	return ret;
}

/* Undo the vendor's part of a device whose driver is unbound, or never was. */
static int mdev_vendor_remove(struct mdev_device_obj *obj)
{
	const struct mdev_parent_ops *ops = mdev_parent_of(obj)->ops;

	if (!ops)
		return 0;
	return mdev_vendor_errno(&obj->mdev.dev, "remove",
				 ops->remove(&obj->mdev));
}

static int mdev_vendor_create(struct mdev_device_obj *obj)
{
	struct mdev_parent_obj *parent = mdev_parent_of(obj);
	const struct mdev_parent_ops *ops = parent->ops;
	int ret;

	if (!ops)
		return 0;
	if (parent->abi == MDEV_ABI_5_13)
		ret = ops->create_mdev(&obj->mdev);
	else
		ret = ops->create(&obj->type->kobj, &obj->mdev);
	mdev_calls_fix_iommu(obj);
	return mdev_vendor_errno(&obj->mdev.dev, "create", ret);
}

/* The vendor refused: restore what mdev_device_retire() has removed. */
static void mdev_device_restore(struct mdev_device_obj *obj)
{
	struct device *dev = &obj->mdev.dev;
	int ret;

	ret = mdev_vendor_add_files(obj);
	if (ret)
		dev_warn(dev, "vendor's files could not be restored: %d\n", ret);

	mdev_device_revive(obj);
}

static void mdev_device_unbind_work(struct work_struct *work)
{
	struct mdev_device_obj *obj = container_of(work, struct mdev_device_obj,
						   unbind_work);
	struct mdev_parent_obj *parent = mdev_parent_of(obj);
	bool revive;

	device_release_driver(&obj->mdev.dev);

	spin_lock(&obj->lock);
	revive = obj->revive;
	obj->revive = false;
	obj->unbinding = false;
	wake_up_all(&parent->wait);
	spin_unlock(&obj->lock);

	/* if the parent is leaving, it removes the device, which stays REMOVING */
	if (revive && down_read_trylock(&parent->unreg_sem)) {
		if (!mdev_parent_leaving(parent))
			mdev_device_revive(obj);
		up_read(&parent->unreg_sem);
	}
	/* taken in mdev_device_unbind() */
	put_device(&obj->mdev.dev);
}

static bool mdev_device_unbind_over(struct mdev_device_obj *obj)
{
	return !mdev_device_busy(obj) || mdev_parent_leaving(mdev_parent_of(obj));
}

/*
 * Unbind the driver of a claimed device, for a write to "remove". A worker does it:
 * VFIO may hold the device again since the claim, and its wait cannot be interrupted. If
 * this fails, the worker is still at it, and must decide what becomes of the device.
 */
static int mdev_device_unbind(struct mdev_device_obj *obj)
{
	struct mdev_parent_obj *parent = mdev_parent_of(obj);
	struct device *dev = &obj->mdev.dev;
	int ret = 0;

	spin_lock(&obj->lock);
	obj->unbinding = true;
	spin_unlock(&obj->lock);
	/* dropped in mdev_device_unbind_work() */
	get_device(dev);
	mdev_bus_queue(&obj->unbind_work);

	if (!wait_event_timeout(parent->wait, mdev_device_unbind_over(obj),
				MDEV_UNBIND_TIME))
		wait_event_interruptible(parent->wait,
					 mdev_device_unbind_over(obj));

	spin_lock(&obj->lock);
	if (obj->unbinding) {
		obj->revive = true;
		/* -EINTR: the write must not be restarted, as it would find it REMOVING */
		ret = mdev_parent_leaving(parent) ? -ENODEV : -EINTR;
	}
	spin_unlock(&obj->lock);
	if (ret == -EINTR)
		dev_warn(dev, "not removed: held by VFIO, bound again when it is not\n");
	return ret;
}

/*
 * Take a claimed device away from its driver and its vendor. If @forced, the vendor
 * cannot refuse. Otherwise, on an error, the device is LIVE again, or will be.
 */
static int mdev_device_retire(struct mdev_device_obj *obj, bool forced)
{
	struct device *dev = &obj->mdev.dev;
	int ret = 0;

	lockdep_assert_held(&mdev_parent_of(obj)->unreg_sem);

	/* drivers of modern vendors do their own waiting */
	if (forced || !mdev_parent_of(obj)->ops)
		device_release_driver(dev);
	else
		ret = mdev_device_unbind(obj);
	if (ret)
		return ret;

	mdev_vendor_remove_files(obj);
	ret = mdev_vendor_remove(obj);
	if (!ret)
		return 0;

	if (forced) {
		dev_err(dev, "vendor's remove failed: %d; removed all the same\n",
			ret);
		return 0;
	}
	mdev_device_restore(obj);
	return ret;
}

static void mdev_device_list(struct mdev_device_obj *obj)
{
	struct mdev_parent_obj *parent = mdev_parent_of(obj);

	spin_lock(&parent->devices_lock);
	list_add_tail(&obj->mdev.next, &parent->devices);
	WRITE_ONCE(parent->nr_devices, parent->nr_devices + 1);
	spin_unlock(&parent->devices_lock);
}

static void mdev_device_unlist(struct mdev_device_obj *obj)
{
	struct mdev_parent_obj *parent = mdev_parent_of(obj);

	spin_lock(&parent->devices_lock);
	list_del(&obj->mdev.next);
	WRITE_ONCE(parent->nr_devices, parent->nr_devices - 1);
	spin_unlock(&parent->devices_lock);
}

/* The last of a retired device: its name, UUID and quota are free after this. */
static void mdev_device_destroy(struct mdev_device_obj *obj)
{
	struct mdev_parent_obj *parent = mdev_parent_of(obj);

	lockdep_assert_held(&parent->unreg_sem);

	mdev_device_unlist(obj);
	mdev_device_remove_links(obj);
	device_del(&obj->mdev.dev);
	mdev_calls_exit(obj);
	mdev_uuid_release(obj);
	mdev_quota_release(parent);
	put_device(&obj->mdev.dev);
}

static void mdev_trace_refused(struct mdev_device_obj *obj, int ret)
{
	struct mdev_holder holder;

	if (!trace_mdev_remove_refused_enabled())
		return;
	mdev_device_holder(obj, &holder);
	trace_mdev_remove_refused(&obj->mdev.dev, holder.pid, holder.comm, ret);
}

/*
 * For a write to "remove", which is @file. The file is still there if this fails.
 *
 * Returns 0; -EAGAIN if the device is still being created; -ENODEV if it, or its
 * parent, is being removed by somebody else; -EBUSY if it is open, or VFIO holds it, and
 * the vendor has no request op; -ERESTARTSYS if a signal ended the wait for a holder;
 * or the error of the vendor's remove. On error the device is LIVE afterwards, if its
 * parent is not about to go; with -EINTR, when VFIO does not hold it any more.
 */
static int mdev_device_remove(struct mdev_device_obj *obj,
			      struct device_attribute *file)
{
	u64 start = trace_mdev_remove_enabled() ? ktime_get_ns() : 0;
	struct mdev_type_obj *type = obj->type;
	struct mdev_parent_obj *parent = type->parent;
	guid_t uuid = obj->mdev.uuid;
	int ret = -ENODEV;

	if (!down_read_trylock(&parent->unreg_sem)) {
		mdev_trace_refused(obj, ret);
		/* we are in a file of the device: its parent is not forgotten yet */
		trace_mdev_remove(type, &uuid, false, ret, mdev_since(start));
		return ret;
	}
	/* or a writer could free the parent while up_read() still looks at it */
	kref_get(&parent->ref);

	ret = mdev_device_claim(obj);
	if (!ret)
		ret = mdev_device_retire(obj, false);
	if (!ret) {
		/* or device_del() would wait for this write; cannot be undone */
		device_remove_file_self(&obj->mdev.dev, file);
		mdev_device_destroy(obj);
	} else {
		mdev_trace_refused(obj, ret);
	}
	trace_mdev_remove(type, &uuid, false, ret, mdev_since(start));

	up_read(&parent->unreg_sem);
	mdev_parent_put(parent);
	return ret;
}

static ssize_t remove_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t count)
{
	unsigned long val;
	int ret;

	ret = kstrtoul(buf, 0, &val);
	if (ret)
		return -EINVAL;
	if (!val)
		return count;

	ret = mdev_device_remove(dev_to_device_obj(dev), attr);
	return ret ?: count;
}

static DEVICE_ATTR_WO(remove);

static struct attribute *mdev_device_attrs[] = {
	&dev_attr_remove.attr,
	NULL
};

static const struct attribute_group mdev_device_group = {
	.attrs = mdev_device_attrs,
};

static const struct attribute_group *mdev_device_groups[] = {
	&mdev_device_group,
	NULL
};

/* @step: where to note what is tried, which on failure is what has failed */
static int mdev_device_create_locked(struct mdev_type_obj *type,
				     const guid_t *uuid, enum mdev_step *step)
{
	struct mdev_parent_obj *parent = type->parent;
	struct mdev_device_obj *obj;
	struct device *dev;
	int ret;

	lockdep_assert_held(&parent->unreg_sem);

	*step = MDEV_STEP_ALLOC;
	obj = mdev_device_alloc(type, uuid);
	if (!obj)
		return -ENOMEM;
	INIT_WORK(&obj->unbind_work, mdev_device_unbind_work);
	dev = &obj->mdev.dev;
	dev->groups = mdev_device_groups;

	*step = MDEV_STEP_UUID;
	ret = mdev_uuid_claim(obj);
	if (ret)
		goto err_put;
	*step = MDEV_STEP_QUOTA;
	ret = mdev_quota_claim(parent);
	if (ret)
		goto err_uuid;
	*step = MDEV_STEP_VENDOR;
	ret = mdev_vendor_create(obj);
	if (ret)
		goto err_quota;

	*step = MDEV_STEP_SYSFS;
	/* until all that udev may look at is there, see mdev_bus_complete() */
	dev_set_uevent_suppress(dev, true);
	ret = device_add(dev);
	if (ret)
		goto err_vendor;
	ret = mdev_device_add_links(obj);
	if (ret)
		goto err_del;
	ret = mdev_vendor_add_files(obj);
	if (ret)
		goto err_sysfs;

	mdev_device_list(obj);
	*step = MDEV_STEP_BIND;
	ret = mdev_bus_attach(obj);
	if (ret)
		goto err_attach;
	return 0;

err_attach:
	mdev_device_unlist(obj);
	mdev_vendor_remove_files(obj);
err_sysfs:
	mdev_device_remove_links(obj);
err_del:
	device_del(dev);
err_vendor:
	if (mdev_vendor_remove(obj))
		dev_err(dev, "vendor's remove failed after a failed create\n");
err_quota:
	mdev_calls_exit(obj);
	mdev_quota_release(parent);
err_uuid:
	mdev_uuid_release(obj);
err_put:
	put_device(dev);
	return ret;
}

/**
 * mdev_device_create - create a mediated device
 * @type: its type, kept in place by the caller's use of its "create" file
 * @uuid: its name
 *
 * Context: process context, sleeps.
 * Return: 0; -EEXIST if @uuid is taken; -EUSERS if all instances are; -ENODEV if
 * the parent is being registered or unregistered; -ENOMEM; or the error of the
 * vendor's create or the driver's probe. On error nothing is left.
 */
int mdev_device_create(struct mdev_type_obj *type, const guid_t *uuid)
{
	u64 start = trace_mdev_create_enabled() ? ktime_get_ns() : 0;
	struct mdev_parent_obj *parent = type->parent;
	enum mdev_step step = MDEV_STEP_PARENT;
	int ret;

	if (parent->ops) {
		ret = mdev_load_bridge(parent);
		if (ret)
			goto out;
	}

	ret = -ENODEV;
	/* only try: a writer waits until the "create" file is left */
	if (down_read_trylock(&parent->unreg_sem)) {
		ret = mdev_device_create_locked(type, uuid, &step);
		up_read(&parent->unreg_sem);
	}
out:
	/* the caller is in a file of the type: its parent is not forgotten yet */
	trace_mdev_create(type, uuid, step, ret, mdev_since(start));
	return ret;
}

/* Ask for all devices that are open, or that VFIO holds. */
static void mdev_devices_ask(struct mdev_parent_obj *parent, unsigned int count)
{
	struct mdev_device_obj *obj;

	list_for_each_entry(obj, &parent->devices, mdev.next)
		if (!mdev_device_idle(obj))
			mdev_device_ask(obj, count);
}

/* One after the other; nobody can open any of them again. */
static void mdev_devices_wait_closed(struct mdev_parent_obj *parent)
{
	struct mdev_device_obj *obj;
	unsigned long next = jiffies;
	unsigned int count = 0;
	bool busy;

	list_for_each_entry(obj, &parent->devices, mdev.next)
		while (!mdev_device_idle(obj)) {
			if (mdev_ask_due(&next))
				mdev_devices_ask(parent, count++);
			busy = mdev_device_busy(obj);
			wait_event_timeout(parent->wait,
					   mdev_device_busy(obj) != busy,
					   mdev_wait_time(busy));
		}
}

/* Remove a device that cannot be opened any more, whatever its vendor says. */
static void mdev_device_expel(struct mdev_device_obj *obj)
{
	u64 start = trace_mdev_remove_enabled() ? ktime_get_ns() : 0;
	struct mdev_type_obj *type = obj->type;
	guid_t uuid = obj->mdev.uuid;

	mdev_device_retire(obj, true);
	mdev_device_destroy(obj);
	trace_mdev_remove(type, &uuid, true, 0, mdev_since(start));
}

/**
 * mdev_devices_remove_all - remove all devices of a parent that leaves
 * @parent: the parent; no device is being created or removed
 *
 * Context: process context, sleeps; unreg_sem held for write.
 */
void mdev_devices_remove_all(struct mdev_parent_obj *parent)
{
	struct mdev_device_obj *obj, *tmp;

	lockdep_assert_held_write(&parent->unreg_sem);

	/* no new opens, on any of them */
	list_for_each_entry(obj, &parent->devices, mdev.next) {
		spin_lock(&obj->lock);
		mdev_device_set_removing(obj);
		spin_unlock(&obj->lock);
	}

	mdev_devices_wait_closed(parent);
	list_for_each_entry_safe(obj, tmp, &parent->devices, mdev.next)
		mdev_device_expel(obj);
}
