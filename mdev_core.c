// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parents: registration, lookup and lifetime; the entry points for vendors.
 */
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <linux/mdev.h>

#include "mdev_private.h"

/* protects the list and every parent's state */
static DEFINE_MUTEX(mdev_parents_lock);
static LIST_HEAD(mdev_parents);

static struct class_compat *mdev_bus_class;

/*
 * Objects whose release function has not run yet. A release can come long after
 * the last vendor module is gone, so the module's text must wait for it.
 */
static atomic_t mdev_objects = ATOMIC_INIT(0);

void mdev_object_born(void)
{
	atomic_inc(&mdev_objects);
}

void mdev_object_gone(void)
{
	/* pairs with the wait in mdev_exit() */
	if (atomic_dec_and_test(&mdev_objects))
		wake_up_var(&mdev_objects);
}

/**
 * mdev_vendor_errno - what a vendor's callback returned, as 0 or negative errno
 * @dev: the device it was called for
 * @op: its name, for the log
 * @ret: what it returned
 *
 * Anything else would be taken for a byte count, a pointer or an address
 * further up: IS_ERR() does not know numbers below -MAX_ERRNO.
 *
 * Context: any.
 * Return: @ret, or -EIO if it is neither.
 */
int mdev_vendor_errno(struct device *dev, const char *op, int ret)
{
	if (likely(!ret || IS_ERR_VALUE((long)ret)))
		return ret;

	dev_err_ratelimited(dev, "vendor's %s returned %d, neither 0 nor an errno\n",
			    op, ret);
	return -EIO;
}
EXPORT_SYMBOL_GPL(mdev_vendor_errno);

static void mdev_parent_free(struct mdev_parent_obj *parent)
{
	kfree(parent->name);
	kfree(parent);
}

static void mdev_parent_release(struct kref *ref)
{
	mdev_parent_free(container_of(ref, struct mdev_parent_obj, ref));
	mdev_object_gone();
}

void mdev_parent_put(struct mdev_parent_obj *parent)
{
	kref_put(&parent->ref, mdev_parent_release);
}

/* For who holds a reference, but not the registration. */
void mdev_parent_copy_name(struct mdev_parent_obj *parent, char *name,
			   size_t size)
{
	/* pairs with mdev_parent_forget() */
	mutex_lock(&mdev_parents_lock);
	strscpy(name, parent->dev ? dev_name(parent->dev) : "-", size);
	mutex_unlock(&mdev_parents_lock);
}

/* The vendor's memory is there while @fn looks at a parent, as for the lock. */
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

	list_for_each_entry(parent, &mdev_parents, next)
		if (parent->dev == dev)
			return parent;
	return NULL;
}

static struct mdev_parent_obj *
mdev_parent_find_handle(const struct mdev_parent *handle)
{
	struct mdev_parent_obj *parent;

	lockdep_assert_held(&mdev_parents_lock);

	list_for_each_entry(parent, &mdev_parents, next)
		if (parent->parent == handle)
			return parent;
	return NULL;
}

/* Devices of different buses may have one name, but only one of them the link. */
static bool mdev_parent_may_link(struct mdev_parent_obj *parent)
{
	struct mdev_parent_obj *other;

	lockdep_assert_held(&mdev_parents_lock);

	list_for_each_entry(other, &mdev_parents, next)
		if (other->class_link && !strcmp(other->name, parent->name))
			return false;
	return true;
}

/* A parent that nobody else knows of; the caller says what it is. */
static struct mdev_parent_obj *mdev_parent_alloc(struct device *dev, bool late)
{
	struct mdev_parent_obj *parent;

	/* a kobject that is not in sysfs cannot have children there */
	if (!dev->kobj.state_in_sysfs)
		return ERR_PTR(-EINVAL);

	parent = kzalloc_obj(*parent);
	if (!parent)
		return ERR_PTR(-ENOMEM);
	parent->name = kstrdup(dev_name(dev), GFP_KERNEL);
	if (!parent->name) {
		mdev_parent_free(parent);
		return ERR_PTR(-ENOMEM);
	}

	kref_init(&parent->ref);
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
 * From here on a second registration fails, and debugfs shows the parent. Frees it
 * on failure.
 */
static int mdev_parent_reserve(struct mdev_parent_obj *parent)
{
	mutex_lock(&mdev_parents_lock);
	if (mdev_parent_find(parent->dev) ||
	    (parent->parent && mdev_parent_find_handle(parent->parent))) {
		mutex_unlock(&mdev_parents_lock);
		mdev_parent_free(parent);
		return -EEXIST;
	}

	parent->class_link = mdev_parent_may_link(parent);
	mdev_object_born();
	/* dropped in mdev_parent_forget() */
	get_device(parent->dev);
	list_add_tail(&parent->next, &mdev_parents);
	mutex_unlock(&mdev_parents_lock);
	return 0;
}

/* The vendor's memory is out of reach when this returns. */
static void mdev_parent_forget(struct mdev_parent_obj *parent)
{
	struct device *dev = parent->dev;

	mutex_lock(&mdev_parents_lock);
	list_del(&parent->next);
	parent->dev = NULL;
	parent->ops = NULL;
	parent->parent = NULL;
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
 * class_compat calls a link what its device is called at that moment, but network
 * devices, for example, are renamed. By its new name the link would not be found
 * again, or be another parent's. So the device of the link is one that keeps its name.
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
	if (parent->class_link)
		class_compat_remove_link(mdev_bus_class, &parent->stand_in);
}

/* Both doors lead here. Forgets the parent if it fails. */
static int mdev_parent_publish(struct mdev_parent_obj *parent)
{
	struct device *dev = parent->dev;
	int ret;

	/*
	 * Types appear one by one. Nobody can create a device from the first
	 * before the last is there, so there is none to clean up on failure.
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
	parent->state = MDEV_PARENT_READY;
	mutex_unlock(&mdev_parents_lock);

	dev_info(dev, "mdev: registered\n");
	mdev_parent_uevent(dev, "MDEV_STATE=registered");
	return 0;
}

static void mdev_parent_unregister(struct mdev_parent_obj *parent)
{
	struct device *dev = parent->dev;
	u64 start = mdev_traced_unregister_start();
	unsigned int devices;

	/* whoever waits in "remove" for a device, or in "create" for the bridge, gives up */
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
	mdev_traced_unregister(parent, devices, start);
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

static int mdev_add_classic(struct device *dev, const struct mdev_parent_ops *ops,
			    enum mdev_form form, bool late)
{
	struct mdev_parent_obj *parent;
	int ret;

	parent = mdev_parent_alloc(dev, late);
	if (IS_ERR(parent))
		return PTR_ERR(parent);
	parent->ops = ops;
	parent->form = form;

	ret = mdev_parent_reserve(parent);
	return ret ?: mdev_parent_publish(parent);
}

static int mdev_device_register(struct device *dev,
				const struct mdev_parent_ops *ops,
				enum mdev_form form, bool late)
{
	int ret;

	if (!mdev_device_args_valid(dev, ops))
		return -EINVAL;

	ret = mdev_add_classic(dev, ops, form, late);
	mdev_traced_register(dev, true, late, ret);
	return ret;
}

/**
 * mdev_register_device - offer a device through the classic door
 * @dev: the parent device; referenced until mdev_unregister_device() returns
 * @ops: the vendor's callbacks; must stay until mdev_unregister_device() returns
 *
 * Creates the types below @dev's directory and sends a CHANGE uevent with
 * MDEV_STATE=registered for @dev. Devices can be created, and @ops called,
 * before this returns. Undo with mdev_unregister_device().
 *
 * Context: process context, sleeps; not from within a callback of @ops.
 * Return: 0; -EINVAL if @dev, @ops or a mandatory op is missing, ops that go
 * together are not all there, @dev is not in sysfs, or a type has no name;
 * -EEXIST if @dev is registered already, through either door, or two types have
 * the same name; -ENOMEM. On error nothing is registered.
 */
int mdev_register_device(struct device *dev, const struct mdev_parent_ops *ops)
{
	return mdev_register_device_form(dev, ops, MDEV_FORM_KOBJ);
}
EXPORT_SYMBOL(mdev_register_device);

/**
 * mdev_register_device_form - mdev_register_device() for ops of either form
 * @dev: the parent device
 * @ops: the vendor's callbacks
 * @form: which of the members that share a place are meant
 *
 * What mdev_register_device() is with include/classic-5.13.
 *
 * Context: as mdev_register_device().
 * Return: as mdev_register_device().
 */
int mdev_register_device_form(struct device *dev,
			      const struct mdev_parent_ops *ops,
			      enum mdev_form form)
{
	return mdev_device_register(dev, ops, form, false);
}
EXPORT_SYMBOL(mdev_register_device_form);

/**
 * mdev_unregister_device - take back mdev_register_device()
 * @dev: the parent device
 *
 * Waits for creates and removes that run; those that come later fail with
 * -ENODEV. Removes all mediated devices of @dev: those that are open are asked
 * for with @request and waited for, however long that takes; a line in the log
 * says who holds them. When this returns, @dev and the ops are not used any more. Does
 * nothing, but for a line in the log, if @dev is not registered.
 *
 * Context: process context, sleeps; not from within a callback of the ops.
 */
void mdev_unregister_device(struct device *dev)
{
	struct mdev_parent_obj *parent;
	bool claimed;

	if (!dev)
		return;

	mutex_lock(&mdev_parents_lock);
	parent = mdev_parent_find(dev);
	claimed = mdev_parent_claim(parent);
	mutex_unlock(&mdev_parents_lock);

	if (!claimed) {
		dev_err(dev, "mdev: not registered, cannot unregister\n");
		return;
	}
	mdev_parent_unregister(parent);
}
EXPORT_SYMBOL(mdev_unregister_device);

static int mdev_add_modern(struct mdev_parent *parent, struct device *dev,
			   struct mdev_driver *mdev_driver,
			   struct mdev_type **types, unsigned int nr_types,
			   bool late)
{
	struct mdev_parent_obj *obj;
	int ret;

	obj = mdev_parent_alloc(dev, late);
	if (IS_ERR(obj))
		return PTR_ERR(obj);
	obj->parent = parent;
	obj->driver = mdev_driver;
	atomic_set(&obj->available, min_t(unsigned int, INT_MAX,
					  mdev_driver->max_instances));

	ret = mdev_parent_reserve(obj);
	if (ret)
		return ret;

	/* not before: it may be in use by the registration there is */
	memset(parent, 0, sizeof(*parent));
	parent->dev = dev;
	parent->mdev_driver = mdev_driver;
	parent->types = types;
	parent->nr_types = nr_types;
	return mdev_parent_publish(obj);
}

static int mdev_parent_register(struct mdev_parent *parent, struct device *dev,
				struct mdev_driver *mdev_driver,
				struct mdev_type **types, unsigned int nr_types,
				bool late)
{
	int ret;

	if (!mdev_parent_args_valid(parent, dev, mdev_driver, types, nr_types))
		return -EINVAL;

	ret = mdev_add_modern(parent, dev, mdev_driver, types, nr_types, late);
	mdev_traced_register(dev, false, late, ret);
	return ret;
}

/**
 * mdev_register_parent - offer a device through the modern door
 * @parent: the vendor's handle; overwritten; must stay until
 *	mdev_unregister_parent() returns
 * @dev: the parent device; referenced until mdev_unregister_parent() returns
 * @mdev_driver: registered driver to bind to devices of this parent
 * @types: the types to offer; they, too, must stay
 * @nr_types: number of entries in @types
 *
 * Creates the types below @dev's directory and sends a CHANGE uevent with
 * MDEV_STATE=registered for @dev. Devices can be created before this returns.
 * Undo with mdev_unregister_parent().
 *
 * Context: process context, sleeps; not from within a callback of @mdev_driver.
 * Return: 0; -EINVAL if an argument or a type's name is missing, or @dev is not in
 * sysfs; -EEXIST if @dev is registered already, through either door, or @parent
 * is, or two types have the same name; -ENOMEM. On error nothing is registered.
 */
int mdev_register_parent(struct mdev_parent *parent, struct device *dev,
			 struct mdev_driver *mdev_driver,
			 struct mdev_type **types, unsigned int nr_types)
{
	return mdev_parent_register(parent, dev, mdev_driver, types, nr_types,
				    false);
}
EXPORT_SYMBOL(mdev_register_parent);

/**
 * mdev_unregister_parent - take back mdev_register_parent()
 * @parent: the vendor's handle
 *
 * Waits for creates and removes that run; those that come later fail with
 * -ENODEV. Removes all mediated devices of the parent by unbinding their driver,
 * whose @remove waits until they are unused. When this returns, neither @parent
 * nor the types, the driver and the parent device are used any more. Does nothing
 * if @parent is not registered.
 *
 * Context: process context, sleeps; not from within a callback of the driver.
 */
void mdev_unregister_parent(struct mdev_parent *parent)
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
		mdev_parent_unregister(obj);
}
EXPORT_SYMBOL(mdev_unregister_parent);

#if IS_ENABLED(CONFIG_VFIO_MDEV_LATE)
static const struct mdev_late_core mdev_late_core = {
	.register_device	= mdev_device_register,
	.unregister_device	= mdev_unregister_device,
	.register_parent	= mdev_parent_register,
	.unregister_parent	= mdev_unregister_parent,
	.register_driver	= mdev_register_driver,
	.unregister_driver	= mdev_unregister_driver,
};

static void mdev_vendors_attach(void)
{
	mdev_late_attach(&mdev_late_core);
}

static void mdev_vendors_detach(void)
{
	mdev_late_detach();
}
#else
static void mdev_vendors_attach(void)
{
}

static void mdev_vendors_detach(void)
{
}
#endif

static int __init mdev_init(void)
{
	int ret;

	mdev_bus_class = class_compat_register("mdev_bus");
	if (!mdev_bus_class)
		return -ENOMEM;

	ret = mdev_bus_init();
	if (ret) {
		class_compat_unregister(mdev_bus_class);
		return ret;
	}

	mdev_debugfs_init();
	/* last: vendors that are built in have waited for this */
	mdev_vendors_attach();
	return 0;
}

static void __exit mdev_exit(void)
{
	mdev_vendors_detach();
	mdev_debugfs_exit();
	mdev_bus_exit();
	class_compat_unregister(mdev_bus_class);
	/* pairs with mdev_object_gone() */
	wait_var_event(&mdev_objects, !atomic_read(&mdev_objects));
	/* who ended the wait may still be on its way out of this module */
	synchronize_rcu_tasks();
}

subsys_initcall(mdev_init);
module_exit(mdev_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mediated device core");
