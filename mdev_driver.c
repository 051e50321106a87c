// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bus: match, probe, remove, uevents, drivers and the bridge among them.
 */
#include <linux/kmod.h>
#include <linux/mdev.h>
#include <linux/module.h>

#include "mdev_late.h"
#include "mdev_private.h"
#include "mdev_trace.h"

/*
 * The driver that serves the classic door. The lock is held for read while a device is
 * attached to it, so that it is not unregistered meanwhile.
 *
 * A bridge that is being unregistered leaves mdev_bridge at once, but is unbound from its
 * devices only when VFIO holds none of them. Until then mdev_bridge_taken stays set, and
 * no other bridge can be registered.
 */
static DECLARE_RWSEM(mdev_bridge_sem);
static struct mdev_driver *mdev_bridge;
static bool mdev_bridge_taken;

/* how long a create waits for the bridge; one that comes later is bound then */
#define MDEV_LOAD_TIMEOUT	(30 * HZ)
/* and, when the bridge is there, for modprobe to end */
#define MDEV_LOAD_GRACE		HZ

/* how many attempts to load it have ended, well or not */
static atomic_t mdev_loads = ATOMIC_INIT(0);
/* how many creates wait for one to end */
static atomic_t mdev_load_waiters = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(mdev_load_wait);

/* for work that may have to wait for user space, without a limit */
static struct workqueue_struct *mdev_workqueue;

static struct mdev_driver *to_mdev_driver(const struct device_driver *drv)
{
	return container_of((struct device_driver *)drv, struct mdev_driver,
			    driver);
}

/*
 * A modern device belongs to its parent's driver, a classic one to the bridge.
 * A device that is not complete is attached by the create that makes it.
 */
static int mdev_bus_match(struct device *dev, const struct device_driver *drv)
{
	struct mdev_device_obj *obj = dev_to_device_obj(dev);
	struct mdev_parent_obj *parent = mdev_parent_of(obj);
	struct mdev_driver *wanted;

	wanted = parent->ops ? READ_ONCE(mdev_bridge) : parent->driver;
	return wanted == to_mdev_driver(drv) && mdev_device_may_match(obj);
}

/*
 * The core cannot see whether a modern device is open, so this module must stay while
 * one is bound. A vendor's module uses our symbols, which keeps us loaded; a driver that
 * is built in does not, so we take a reference for each device that is bound to it.
 */
static bool mdev_driver_pins(const struct mdev_driver *drv)
{
	return !drv->driver.owner;
}

static int mdev_bus_probe(struct device *dev)
{
	struct mdev_driver *drv = to_mdev_driver(dev->driver);
	struct mdev_device_obj *obj = dev_to_device_obj(dev);
	int ret = 0;

	/* pairs with the claim that precedes every unbind for removal */
	if (!mdev_device_may_bind(obj))
		return -ENODEV;

	if (drv->probe)
		ret = mdev_vendor_errno(dev, "probe",
					drv->probe(to_mdev_device(dev)));
	trace_mdev_bind(dev, drv->driver.name, ret);
	if (ret)
		return ret;
	mdev_device_set_bound(obj, true);
	/* dropped in mdev_bus_remove() */
	if (mdev_driver_pins(drv))
		__module_get(THIS_MODULE);
	return 0;
}

static void mdev_bus_remove(struct device *dev)
{
	struct mdev_driver *drv = to_mdev_driver(dev->driver);

	if (drv->remove)
		drv->remove(to_mdev_device(dev));
	mdev_device_set_bound(dev_to_device_obj(dev), false);
	if (mdev_driver_pins(drv))
		module_put(THIS_MODULE);
}

static int mdev_bus_uevent(const struct device *dev, struct kobj_uevent_env *env)
{
	if (!mdev_parent_of(dev_to_device_obj(dev))->ops)
		return 0;
	return add_uevent_var(env, "MODALIAS=" MDEV_CLASSIC_MODALIAS);
}

/* const where the driver core lets a bus be const, that is, not on 6.1 */
static typeof(*((struct device *)NULL)->bus) mdev_bus = {
	.name		= "mdev",
	.match		= mdev_bus_match,
	.uevent		= mdev_bus_uevent,
	.probe		= mdev_bus_probe,
	.remove		= mdev_bus_remove,
};

/*
 * In a worker, as it waits for modprobe, and modprobe for all asynchronous probes in the
 * system: the callback of a sysfs file must be able to stop waiting, see
 * mdev_load_bridge().
 */
static void mdev_load(struct work_struct *work)
{
	/* this may run late: all creates may have given up, or a bridge be there */
	if (atomic_read(&mdev_load_waiters) && !READ_ONCE(mdev_bridge_taken))
		request_module(MDEV_CLASSIC_MODALIAS);
	atomic_inc(&mdev_loads);
	mdev_load_wake();
	/* taken in mdev_load_bridge(); mdev_bus_exit() waits for the rest of this */
	module_put(THIS_MODULE);
}

static DECLARE_WORK(mdev_load_work, mdev_load);

void mdev_bus_queue(struct work_struct *work)
{
	queue_work(mdev_workqueue, work);
}

/* Make @dev one of ours; it is added to the bus by device_add(). */
void mdev_bus_adopt(struct device *dev)
{
	dev->bus = &mdev_bus;
}

void mdev_load_wake(void)
{
	wake_up_all(&mdev_load_wait);
}

/**
 * mdev_load_bridge - ask user space for the bridge, if there is none
 * @parent: for which; the caller is in a file of it
 *
 * Waits, as a VFIO device is expected when a create returns. But modprobe may wait for a
 * vendor's probe, and that probe, to unregister its parent, for the "create" file to be
 * left. So an unregistration ends the wait, and so does a time limit. A bridge that is
 * registered later is bound to the device then.
 *
 * Context: process context, sleeps; no locks held.
 * Return: 0, whether there is a bridge or not; -ENODEV if the parent is being registered
 * or unregistered; -ERESTARTSYS if the caller was killed.
 */
int mdev_load_bridge(struct mdev_parent_obj *parent)
{
	int seen = atomic_read(&mdev_loads);
	long ret;

	if (READ_ONCE(mdev_bridge_taken))
		return 0;

	/* a registration that fails waits for this file to be left, too */
	if (!down_read_trylock(&parent->unreg_sem))
		return -ENODEV;
	up_read(&parent->unreg_sem);

	atomic_inc(&mdev_load_waiters);
	/* dropped in mdev_load() */
	__module_get(THIS_MODULE);
	if (!queue_work(mdev_workqueue, &mdev_load_work))
		module_put(THIS_MODULE);

	ret = wait_event_killable_timeout(mdev_load_wait,
					  atomic_read(&mdev_loads) != seen ||
					  READ_ONCE(mdev_bridge) ||
					  mdev_parent_leaving(parent),
					  MDEV_LOAD_TIMEOUT);
	/* modprobe uses the bridge until it ends; after a create, rmmod should work */
	if (ret > 0)
		ret = wait_event_killable_timeout(mdev_load_wait,
						  atomic_read(&mdev_loads) != seen ||
						  mdev_parent_leaving(parent),
						  MDEV_LOAD_GRACE);
	atomic_dec(&mdev_load_waiters);
	if (ret < 0)
		return ret;
	return mdev_parent_leaving(parent) ? -ENODEV : 0;
}

static int mdev_attach_driver(struct mdev_driver *drv, struct device *dev)
{
	int ret;

	/* the vendor has not registered its driver, or has unregistered it */
	if (!drv->driver.p)
		return -ENODEV;

	ret = device_driver_attach(&drv->driver, dev);
	/* a write to "bind" was quicker */
	if (ret == -EBUSY && READ_ONCE(dev->driver) == &drv->driver)
		ret = 0;
	return ret;
}

/*
 * A device is bound, or there is nothing that it could be bound to: make it LIVE. The first
 * time, tell user space of it: whoever looks for VFIO's group or cdev when ADD comes, as
 * libvirt does, finds it.
 *
 * Under the device's lock, so that a removal, which may begin as soon as the device is LIVE,
 * deletes it only after ADD is sent. The lock must not be taken for this once a driver is
 * bound: somebody may be unbinding it by hand, and has the lock until the device is closed.
 */
static void mdev_bus_complete(struct mdev_device_obj *obj)
{
	struct device *dev = &obj->mdev.dev;

	device_lock_assert(dev);

	mdev_device_set_live(obj);
	if (dev_get_uevent_suppress(dev)) {
		dev_set_uevent_suppress(dev, false);
		kobject_uevent(&dev->kobj, KOBJ_ADD);
	}
}

static int mdev_bus_notify(struct notifier_block *nb, unsigned long event,
			   void *data)
{
	/* the driver core sends BIND after this */
	if (event == BUS_NOTIFY_BOUND_DRIVER)
		mdev_bus_complete(dev_to_device_obj(data));
	return NOTIFY_DONE;
}

static struct notifier_block mdev_bus_nb = {
	.notifier_call	= mdev_bus_notify,
};

int mdev_bus_init(void)
{
	int ret;

	mdev_workqueue = alloc_workqueue("mdev", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!mdev_workqueue)
		return -ENOMEM;
	ret = bus_register(&mdev_bus);
	if (ret)
		goto err_workqueue;
	ret = bus_register_notifier(&mdev_bus, &mdev_bus_nb);
	if (ret)
		goto err_bus;
	return 0;

err_bus:
	bus_unregister(&mdev_bus);
err_workqueue:
	destroy_workqueue(mdev_workqueue);
	return ret;
}

void mdev_bus_exit(void)
{
	destroy_workqueue(mdev_workqueue);
	bus_unregister_notifier(&mdev_bus, &mdev_bus_nb);
	bus_unregister(&mdev_bus);
}

/**
 * mdev_bus_attach - bind a complete device to its driver and make it LIVE
 * @obj: the device, RESERVED and on the bus; its uevents are suppressed if it is new
 *
 * A classic device without a bridge stays unbound and is LIVE, too. User space learns
 * of a new device when it is LIVE.
 *
 * Context: parent's unreg_sem held.
 * Return: 0 or what the driver's probe returned; then the state is unchanged.
 */
int mdev_bus_attach(struct mdev_device_obj *obj)
{
	struct mdev_parent_obj *parent = mdev_parent_of(obj);
	struct device *dev = &obj->mdev.dev;
	int ret = 0;

	lockdep_assert_held(&parent->unreg_sem);

	/* it may be removed, and go, as soon as it is LIVE */
	get_device(dev);
	if (parent->driver) {
		ret = mdev_attach_driver(parent->driver, dev);
		goto out;
	}

	/*
	 * LIVE is set before the lock is released: a bridge registered before this
	 * is the one we attach, one registered after it matches the device.
	 */
	down_read(&mdev_bridge_sem);
	if (mdev_bridge) {
		ret = mdev_attach_driver(mdev_bridge, dev);
	} else {
		dev_notice(dev, "vfio_mdev is not loaded, no VFIO device yet\n");
		device_lock(dev);
		mdev_bus_complete(obj);
		device_unlock(dev);
	}
	up_read(&mdev_bridge_sem);
out:
	put_device(dev);
	return ret;
}

/* What mdev_register_driver() does. */
int mdev_driver_add(struct mdev_driver *drv)
{
	if (!mdev_driver_valid(drv))
		return -EINVAL;

	drv->driver.bus = &mdev_bus;
	return driver_register(&drv->driver);
}

/* What mdev_unregister_driver() does. */
void mdev_driver_remove(struct mdev_driver *drv)
{
	driver_unregister(&drv->driver);
	/* left dangling by the driver core; see mdev_attach_driver() */
	drv->driver.p = NULL;
}

/**
 * mdev_register_bridge - register the driver that serves the classic door
 * @drv: the driver
 *
 * It is bound to all classic devices there are and will be.
 *
 * Context: process context, sleeps.
 * Return: 0; -EBUSY if there is a bridge, or one that is going; or what
 * driver_register() returns.
 */
int mdev_register_bridge(struct mdev_driver *drv)
{
	int ret = -EBUSY;

	down_write(&mdev_bridge_sem);
	if (mdev_bridge_taken)
		goto out;

	/* before driver_register(), which matches the devices there are */
	WRITE_ONCE(mdev_bridge, drv);
	drv->driver.bus = &mdev_bus;
	ret = driver_register(&drv->driver);
	if (ret)
		WRITE_ONCE(mdev_bridge, NULL);
	WRITE_ONCE(mdev_bridge_taken, !ret);
out:
	up_write(&mdev_bridge_sem);
	mdev_load_wake();
	return ret;
}
EXPORT_SYMBOL_GPL(mdev_register_bridge);

/**
 * mdev_unregister_bridge - take back mdev_register_bridge()
 * @drv: the driver
 *
 * The devices stay, without a driver. Waits while VFIO holds one of them. Those that are
 * created meanwhile have no driver.
 *
 * Context: process context, sleeps.
 */
void mdev_unregister_bridge(struct mdev_driver *drv)
{
	down_write(&mdev_bridge_sem);
	WRITE_ONCE(mdev_bridge, NULL);
	up_write(&mdev_bridge_sem);

	/* with the lock held, nobody could create a device while this waits */
	driver_unregister(&drv->driver);

	down_write(&mdev_bridge_sem);
	WRITE_ONCE(mdev_bridge_taken, false);
	up_write(&mdev_bridge_sem);
}
EXPORT_SYMBOL_GPL(mdev_unregister_bridge);

/**
 * mdev_classic_ops - the vendor's callbacks of a classic device
 * @mdev: the device
 *
 * Context: the device is bound, or its parent's registration is held.
 * Return: the ops, or NULL for a device of the modern door.
 */
const struct mdev_parent_ops *mdev_classic_ops(struct mdev_device *mdev)
{
	return mdev_parent_of(to_device_obj(mdev))->ops;
}
EXPORT_SYMBOL_GPL(mdev_classic_ops);
