// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parents: registration by either door, the list of them, and the end of one.
 */
#include <linux/hashtable.h>
#include <linux/mdev.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/stringhash.h>

#include "mdev_late.h"
#include "mdev_private.h"
#include "mdev_trace.h"

/* protects the list, the tables, and every parent's state */
static DEFINE_MUTEX(mdev_parents_lock);
static LIST_HEAD(mdev_parents);

/*
 * A host may have ten thousand parents, as virtual functions. None is sought in the list,
 * which keeps their order for people.
 */
#define MDEV_PARENTS_BITS	8
static DEFINE_HASHTABLE(mdev_parents_by_dev, MDEV_PARENTS_BITS);
static DEFINE_HASHTABLE(mdev_parents_by_handle, MDEV_PARENTS_BITS);
static DEFINE_HASHTABLE(mdev_parents_by_name, MDEV_PARENTS_BITS);

static struct class_compat *mdev_bus_class;

/* The parent's name, or "-" once it is unregistered: the caller holds a reference only. */
void mdev_parent_copy_name(struct mdev_parent_obj *parent, char *name,
			   size_t size)
{
	/* pairs with mdev_parent_forget() */
	mutex_lock(&mdev_parents_lock);
	strscpy(name, parent->dev ? dev_name(parent->dev) : "-", size);
	mutex_unlock(&mdev_parents_lock);
}

/*
 * Call @fn for each parent with the lock held, which keeps mdev_parent_forget() away:
 * @fn may read the vendor's memory, and must not call back.
 */
void mdev_parents_for_each(void (*fn)(struct mdev_parent_obj *parent, void *arg),
			   void *arg)
{
	struct mdev_parent_obj *parent;

	mutex_lock(&mdev_parents_lock);
	list_for_each_entry(parent, &mdev_parents, next)
		fn(parent, arg);
	mutex_unlock(&mdev_parents_lock);
}

static struct mdev_parent_obj *mdev_parent_find(struct device *dev)
{
	struct mdev_parent_obj *parent;

	lockdep_assert_held(&mdev_parents_lock);

	hash_for_each_possible(mdev_parents_by_dev, parent, by_dev, mdev_key(dev))
		if (parent->dev == dev)
			return parent;
	return NULL;
}

static struct mdev_parent_obj *
mdev_parent_find_handle(const struct mdev_parent *handle)
{
	struct mdev_parent_obj *parent;

	lockdep_assert_held(&mdev_parents_lock);

	hash_for_each_possible(mdev_parents_by_handle, parent, by_handle,
			       mdev_key(handle))
		if (parent->handle == handle)
			return parent;
	return NULL;
}

/* Devices of different buses may have one name, but only one of them the link. */
static bool mdev_parent_may_link(struct mdev_parent_obj *parent)
{
	struct mdev_parent_obj *other;

	lockdep_assert_held(&mdev_parents_lock);

	hash_for_each_possible(mdev_parents_by_name, other, by_name,
			       parent->name_hash)
		if (other->name_hash == parent->name_hash &&
		    !strcmp(other->name, parent->name))
			return false;
	return true;
}

/* A parent that nobody else knows of; the caller sets the members of its door. */
static struct mdev_parent_obj *mdev_parent_alloc(struct device *dev, bool late)
{
	struct mdev_parent_obj *parent;

	/* a kobject that is not in sysfs cannot have children there */
	if (!dev->kobj.state_in_sysfs)
		return ERR_PTR(-EINVAL);

	parent = kzalloc_obj(*parent);
	if (!parent)
		return ERR_PTR(-ENOMEM);
	mdev_object_born();
	kref_init(&parent->ref);
	parent->name = kstrdup(dev_name(dev), GFP_KERNEL);
	if (!parent->name) {
		mdev_parent_put(parent);
		return ERR_PTR(-ENOMEM);
	}

	parent->name_hash = full_name_hash(NULL, parent->name, strlen(parent->name));

	parent->state = MDEV_PARENT_SETUP;
	parent->dev = dev;
	parent->late = late;
	init_rwsem(&parent->unreg_sem);
	INIT_LIST_HEAD(&parent->types);
	spin_lock_init(&parent->devices_lock);
	INIT_LIST_HEAD(&parent->devices);
	init_waitqueue_head(&parent->wait);
	return parent;
}

/*
 * From here on a second registration fails, and debugfs shows the parent. Drops the
 * reference on failure.
 */
static int mdev_parent_reserve(struct mdev_parent_obj *parent)
{
	mutex_lock(&mdev_parents_lock);
	if (mdev_parent_find(parent->dev) ||
	    (parent->handle && mdev_parent_find_handle(parent->handle))) {
		mutex_unlock(&mdev_parents_lock);
		mdev_parent_put(parent);
		return -EEXIST;
	}

	/* dropped in mdev_parent_forget() */
	get_device(parent->dev);
	list_add_tail(&parent->next, &mdev_parents);
	hash_add(mdev_parents_by_dev, &parent->by_dev, mdev_key(parent->dev));
	if (parent->handle)
		hash_add(mdev_parents_by_handle, &parent->by_handle,
			 mdev_key(parent->handle));
	parent->class_link = mdev_parent_may_link(parent);
	if (parent->class_link)
		hash_add(mdev_parents_by_name, &parent->by_name,
			 parent->name_hash);
	mutex_unlock(&mdev_parents_lock);
	return 0;
}

/* When this returns, the core cannot reach the vendor's memory any more. */
static void mdev_parent_forget(struct mdev_parent_obj *parent)
{
	struct device *dev = parent->dev;

	mutex_lock(&mdev_parents_lock);
	list_del(&parent->next);
	hash_del(&parent->by_dev);
	hash_del(&parent->by_handle);
	hash_del(&parent->by_name);
	parent->dev = NULL;
	parent->ops = NULL;
	parent->handle = NULL;
	parent->driver = NULL;
	mutex_unlock(&mdev_parents_lock);

	mdev_parent_put(parent);
	put_device(dev);
}

static void mdev_parent_uevent(struct device *dev, char *state)
{
	char *envp[2] = { state };

	kobject_uevent_env(&dev->kobj, KOBJ_CHANGE, envp);
}

/*
 * Administrators' tools look for parents in /sys/class/mdev_bus.
 *
 * class_compat takes a link's name from its device, both to make and to remove it. But
 * devices can be renamed, network devices for example: the removal would not find the
 * link, or would remove another parent's. So the link is made for a stand-in, whose
 * name does not change.
 */
static int mdev_parent_link(struct mdev_parent_obj *parent)
{
	if (!parent->class_link) {
		dev_warn(parent->dev,
			 "mdev: another parent has this name; no link in mdev_bus\n");
		return 0;
	}
	parent->stand_in.init_name = parent->name;
	/* the directory to link to */
	parent->stand_in.kobj.sd = parent->dev->kobj.sd;
	return class_compat_create_link(mdev_bus_class, &parent->stand_in);
}

static void mdev_parent_unlink(struct mdev_parent_obj *parent)
{
	if (!parent->class_link)
		return;
	class_compat_remove_link(mdev_bus_class, &parent->stand_in);
	/* who registers that name while types are still being read has the link */
	mutex_lock(&mdev_parents_lock);
	hash_del(&parent->by_name);
	parent->class_link = false;
	mutex_unlock(&mdev_parents_lock);
}

/* Both doors lead here. Forgets the parent if it fails. */
static int mdev_parent_publish(struct mdev_parent_obj *parent)
{
	struct device *dev = parent->dev;
	int ret;

	/*
	 * Types appear one by one. The lock keeps anybody from creating a device
	 * of the first before the last is there: on failure there is none to remove.
	 */
	down_write(&parent->unreg_sem);
	ret = mdev_sysfs_add_parent(parent);
	if (!ret) {
		ret = mdev_parent_link(parent);
		if (ret)
			mdev_sysfs_remove_parent(parent);
	}
	up_write(&parent->unreg_sem);

	if (ret) {
		mdev_parent_forget(parent);
		return ret;
	}

	mutex_lock(&mdev_parents_lock);
	/* pairs with the read in mdev_parent_leaving() */
	WRITE_ONCE(parent->state, MDEV_PARENT_READY);
	mutex_unlock(&mdev_parents_lock);

	dev_info(dev, "mdev: registered\n");
	mdev_parent_uevent(dev, "MDEV_STATE=registered");
	return 0;
}

static void mdev_parent_withdraw(struct mdev_parent_obj *parent)
{
	struct device *dev = parent->dev;
	u64 start = trace_mdev_parent_unregister_enabled() ? ktime_get_ns() : 0;
	unsigned int devices;

	/* ends the waits in "remove", for a device, and in "create", for the bridge */
	wake_up_all(&parent->wait);
	mdev_load_wake();

	down_write(&parent->unreg_sem);
	devices = parent->nr_devices;
	mdev_devices_remove_all(parent);
	mdev_parent_unlink(parent);
	mdev_sysfs_remove_parent(parent);
	up_write(&parent->unreg_sem);

	dev_info(dev, "mdev: unregistered\n");
	mdev_parent_uevent(dev, "MDEV_STATE=unregistered");
	/* while the parent can still be read */
	trace_mdev_parent_unregister(parent, devices, mdev_since(start));
	mdev_parent_forget(parent);
}

/* Exactly one caller wins READY -> LEAVING. */
static bool mdev_parent_claim(struct mdev_parent_obj *parent)
{
	lockdep_assert_held(&mdev_parents_lock);

	if (!parent || parent->state != MDEV_PARENT_READY)
		return false;
	/* pairs with the read in mdev_parent_leaving() */
	WRITE_ONCE(parent->state, MDEV_PARENT_LEAVING);
	return true;
}

/* What mdev_register_device() and late binding do. */
int mdev_parent_add_classic(struct device *dev, const struct mdev_parent_ops *ops,
			    enum mdev_abi abi, bool late)
{
	struct mdev_parent_obj *parent;
	int ret;

	if (!mdev_device_args_valid(dev, ops))
		return -EINVAL;

	parent = mdev_parent_alloc(dev, late);
	if (IS_ERR(parent)) {
		ret = PTR_ERR(parent);
		goto out;
	}
	parent->ops = ops;
	parent->abi = abi;

	ret = mdev_parent_reserve(parent);
	if (!ret)
		ret = mdev_parent_publish(parent);
out:
	trace_mdev_parent_register(dev, true, late, ret);
	return ret;
}

/* What mdev_unregister_device() does. */
void mdev_parent_remove_classic(struct device *dev)
{
	struct mdev_parent_obj *parent;
	bool claimed;

	if (!dev)
		return;

	mutex_lock(&mdev_parents_lock);
	parent = mdev_parent_find(dev);
	/* what came by the other door leaves by it */
	if (parent && parent->handle)
		parent = NULL;
	claimed = mdev_parent_claim(parent);
	mutex_unlock(&mdev_parents_lock);

	if (!claimed) {
		dev_err(dev, "mdev: not registered, cannot unregister\n");
		return;
	}
	mdev_parent_withdraw(parent);
}

/* What mdev_register_parent() and late binding do. */
int mdev_parent_add_modern(struct mdev_parent *parent, struct device *dev,
			   struct mdev_driver *mdev_driver,
			   struct mdev_type **types, unsigned int nr_types,
			   bool late)
{
	struct mdev_parent_obj *obj;
	int ret;

	if (!mdev_parent_args_valid(parent, dev, mdev_driver, types, nr_types))
		return -EINVAL;

	obj = mdev_parent_alloc(dev, late);
	if (IS_ERR(obj)) {
		ret = PTR_ERR(obj);
		goto out;
	}
	obj->handle = parent;
	obj->driver = mdev_driver;
	atomic_set(&obj->available, min_t(unsigned int, INT_MAX,
					  mdev_driver->max_instances));

	ret = mdev_parent_reserve(obj);
	if (ret)
		goto out;

	/* not before: another registration may be using it */
	memset(parent, 0, sizeof(*parent));
	parent->dev = dev;
	parent->mdev_driver = mdev_driver;
	parent->types = types;
	parent->nr_types = nr_types;
	ret = mdev_parent_publish(obj);
out:
	trace_mdev_parent_register(dev, false, late, ret);
	return ret;
}

/* What mdev_unregister_parent() does. */
void mdev_parent_remove_modern(struct mdev_parent *parent)
{
	struct mdev_parent_obj *obj;
	bool claimed;

	if (!parent)
		return;

	mutex_lock(&mdev_parents_lock);
	obj = mdev_parent_find_handle(parent);
	claimed = mdev_parent_claim(obj);
	mutex_unlock(&mdev_parents_lock);

	if (claimed)
		mdev_parent_withdraw(obj);
}

int mdev_parents_init(void)
{
	mdev_bus_class = class_compat_register("mdev_bus");
	return mdev_bus_class ? 0 : -ENOMEM;
}

void mdev_parents_exit(void)
{
	class_compat_unregister(mdev_bus_class);
}
