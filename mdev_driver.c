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
 * The driver that serves the classic door. Held for read while a device is
 * attached to it, so that it cannot go in the middle.
 *
 * A bridge that goes is out of mdev_bridge at once, but there is no other until it is
 * unbound from its devices. That takes for as long as VFIO holds one of them.
 */
static DECLARE_RWSEM(mdev_bridge_sem);
static struct mdev_driver *mdev_bridge;
static bool mdev_bridge_taken;

/* how long a create waits for the bridge to be loaded; it is bound later, then */
#define MDEV_LOAD_TIMEOUT	(30 * HZ)
/* and for modprobe to be through, when the bridge is there */
#define MDEV_LOAD_GRACE		HZ

/* how often user space was done with loading it, or with failing to */
static atomic_t mdev_loads = ATOMIC_INIT(0);
/* how many creates wait for that */
static atomic_t mdev_load_waiters = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(mdev_load_wait);

/* for what may take for as long as user space likes */
static struct workqueue_struct *mdev_workqueue;

static struct mdev_driver *to_mdev_driver(const struct device_driver *drv)
{
	return container_of((struct device_driver *)drv, struct mdev_driver,
			    driver);
}

/*
 * A modern device belongs to its parent's driver, a classic one to the bridge.
 * Devices that are not complete are attached by whoever creates them.
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
 * The core cannot see whether a modern device is open. A vendor's module uses
 * our symbols, which keeps us here; a driver that is built in does not, so each
 * device that is bound to it has to.
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
 * No sysfs file waits for a module by itself, see mdev_load_bridge(). This waits for
 * modprobe, and modprobe for any probe in the system that runs on its own.
 */
static void mdev_load(struct work_struct *work)
{
	/* it may be late, and the bridge have come and gone meanwhile */
	if (atomic_read(&mdev_load_waiters) && !READ_ONCE(mdev_bridge_taken))
		request_module(MDEV_CLASSIC_MODALIAS);
	atomic_inc(&mdev_loads);
	mdev_load_wake();
	/* taken in mdev_load_bridge(); mdev_bus_exit() waits for the rest of this */
	module_put(THIS_MODULE);
}

static DECLARE_WORK(mdev_load_work, mdev_load);

int mdev_bus_init(void)
{
	int ret;

	mdev_workqueue = alloc_workqueue("mdev", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!mdev_workqueue)
		return -ENOMEM;
	ret = bus_register(&mdev_bus);
	if (ret)
		destroy_workqueue(mdev_workqueue);
	return ret;
}

void mdev_bus_exit(void)
{
	destroy_workqueue(mdev_workqueue);
	bus_unregister(&mdev_bus);
}

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
 * Waits, as whoever creates a device expects a VFIO device. But modprobe may be
 * waiting for a vendor that is in its probe, and that vendor for the file to be left,
 * to unregister its parent: so this makes way for the latter, and does not wait for
 * ever. A bridge that comes later finds the device, as does one that is going now
 * and is loaded again.
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

	/* if it is being set up, and that fails, then this file is waited for, too */
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
	/* so that the module is not busy any more when a device has been created */
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

	/* the vendor did not register its driver, or not any more */
	if (!drv->driver.p)
		return -ENODEV;

	ret = device_driver_attach(&drv->driver, dev);
	/* somebody who writes to "bind" has been quicker */
	if (ret == -EBUSY && READ_ONCE(dev->driver) == &drv->driver)
		ret = 0;
	return ret;
}

/**
 * mdev_bus_attach - bind a complete device to its driver and make it LIVE
 * @obj: the device, RESERVED and on the bus
 *
 * A classic device without a bridge stays unbound and is LIVE, too.
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

	if (parent->driver) {
		ret = mdev_attach_driver(parent->driver, dev);
		if (!ret)
			mdev_device_set_live(obj);
		return ret;
	}

	/*
	 * LIVE is set before the lock goes: a bridge registered before this is
	 * the one we attach, one registered after it matches the device.
	 */
	down_read(&mdev_bridge_sem);
	if (mdev_bridge)
		ret = mdev_attach_driver(mdev_bridge, dev);
	else
		dev_notice(dev, "vfio_mdev is not loaded, no VFIO device yet\n");
	if (!ret)
		mdev_device_set_live(obj);
	up_read(&mdev_bridge_sem);
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
