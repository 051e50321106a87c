// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device's state and who has it open: all that its lock protects.
 *
 * A device can be opened until it is REMOVING. To check that and to mark it as open is one
 * step, so an open and a removal cannot both succeed.
 */
#include <linux/export.h>
#include <linux/mdev.h>
#include <linux/pid.h>
#include <linux/string.h>

#include "mdev_private.h"
#include "mdev_trace.h"

/* Nothing is to be done for a device that is LIVE already, or is being removed. */
void mdev_device_set_live(struct mdev_device_obj *obj)
{
	spin_lock(&obj->lock);
	if (obj->state == MDEV_RESERVED) {
		WRITE_ONCE(obj->state, MDEV_LIVE);
		obj->mdev.active = true;
	}
	spin_unlock(&obj->lock);
}

/*
 * For the bus' match: may a driver be bound now? If the device is REMOVING, @missed notes
 * the attempt, which mdev_device_revive() repeats if the removal is called off.
 */
bool mdev_device_may_match(struct mdev_device_obj *obj)
{
	bool live;

	spin_lock(&obj->lock);
	live = obj->state == MDEV_LIVE;
	if (obj->state == MDEV_REMOVING)
		obj->missed = true;
	spin_unlock(&obj->lock);
	return live;
}

/* The same for a probe, which may come long after the match. */
bool mdev_device_may_bind(struct mdev_device_obj *obj)
{
	bool may;

	spin_lock(&obj->lock);
	may = obj->state != MDEV_REMOVING;
	if (!may)
		obj->missed = true;
	spin_unlock(&obj->lock);
	return may;
}

/* A driver that is unbound for a removal is bound again if that is called off. */
void mdev_device_set_bound(struct mdev_device_obj *obj, bool bound)
{
	spin_lock(&obj->lock);
	obj->bound = bound;
	if (!bound && obj->state == MDEV_REMOVING)
		obj->missed = true;
	spin_unlock(&obj->lock);
}

/* The device cannot be opened any more; if it is open now, it stays so. */
void mdev_device_set_removing(struct mdev_device_obj *obj)
{
	lockdep_assert_held(&obj->lock);

	WRITE_ONCE(obj->state, MDEV_REMOVING);
	obj->mdev.active = false;
	obj->missed = false;
}

/**
 * mdev_open - the bridge opens a device
 * @mdev: the device
 *
 * From now on the device is not removed, and its parent not unregistered, until
 * mdev_close() or mdev_open_failed().
 *
 * Context: process context; the bridge opens a device once at a time.
 * Return: 0, or -ENODEV if the device is being removed.
 */
int mdev_open(struct mdev_device *mdev)
{
	struct mdev_device_obj *obj = to_device_obj(mdev);
	int ret = -ENODEV;

	spin_lock(&obj->lock);
	if (obj->state != MDEV_REMOVING) {
		WRITE_ONCE(obj->open, true);
		atomic_inc(&mdev_parent_of(obj)->nr_open);
		obj->holder.pid = task_tgid_nr(current);
		mdev_copy_comm(obj->holder.comm, current->comm);
		ret = 0;
	}
	spin_unlock(&obj->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(mdev_open);

/**
 * mdev_log_holder - log who keeps a driver from being unbound
 * @mdev: the device; nothing is logged if it is not open
 * @what: what is done about it
 *
 * Context: any.
 */
void mdev_log_holder(struct mdev_device *mdev, const char *what)
{
	struct mdev_holder holder;

	if (mdev_device_holder(to_device_obj(mdev), &holder))
		dev_warn(&mdev->dev, "driver to be unbound, but held open by %s[%d]: %s\n",
			 holder.comm, holder.pid, what);
}
EXPORT_SYMBOL_GPL(mdev_log_holder);

/**
 * mdev_open_failed - take back mdev_open()
 * @mdev: the device; the vendor's part of it may be gone when this returns
 *
 * For an open that failed after mdev_open(), e.g. because the vendor refused it.
 *
 * Context: process context.
 */
void mdev_open_failed(struct mdev_device *mdev)
{
	struct mdev_device_obj *obj = to_device_obj(mdev);
	struct mdev_parent_obj *parent = mdev_parent_of(obj);

	/* under the lock: the task that waits may free the parent once it sees this */
	spin_lock(&obj->lock);
	WRITE_ONCE(obj->open, false);
	atomic_dec(&parent->nr_open);
	wake_up_all(&parent->wait);
	spin_unlock(&obj->lock);
}
EXPORT_SYMBOL_GPL(mdev_open_failed);

/**
 * mdev_close - the bridge closes a device that it has opened
 * @mdev: the device; the vendor's part of it may be gone when this returns
 *
 * After mdev_end_calls().
 *
 * Context: process context.
 */
void mdev_close(struct mdev_device *mdev)
{
	struct mdev_device_obj *obj = to_device_obj(mdev);

	trace_mdev_close(&mdev->dev, obj->holder.pid, obj->holder.comm, 0);
	mdev_open_failed(mdev);
}
EXPORT_SYMBOL_GPL(mdev_close);

/**
 * mdev_is_open - is there an mdev_open() without an mdev_close()?
 * @mdev: the device
 *
 * Context: any.
 * Return: the answer; it may be old by the time the caller looks at it.
 */
bool mdev_is_open(struct mdev_device *mdev)
{
	return READ_ONCE(to_device_obj(mdev)->open);
}
EXPORT_SYMBOL_GPL(mdev_is_open);

/* Store who has it open. If nobody has, store zeroes and return false. */
bool mdev_device_holder(struct mdev_device_obj *obj, struct mdev_holder *holder)
{
	bool open;

	memset(holder, 0, sizeof(*holder));
	spin_lock(&obj->lock);
	open = obj->open;
	if (open)
		*holder = obj->holder;
	spin_unlock(&obj->lock);
	return open;
}

/**
 * mdev_set_held - tell the core how to find out whether VFIO holds a device
 * @mdev: the device
 * @held: returns whether VFIO holds it, and would wait if the driver were unbound. Called
 *	under a spinlock, at any time until it is replaced; NULL if VFIO does not know it
 *
 * Context: any.
 */
void mdev_set_held(struct mdev_device *mdev,
		   bool (*held)(struct mdev_device *mdev))
{
	struct mdev_device_obj *obj = to_device_obj(mdev);

	spin_lock(&obj->lock);
	obj->held = held;
	spin_unlock(&obj->lock);
}
EXPORT_SYMBOL_GPL(mdev_set_held);

bool mdev_device_held_locked(struct mdev_device_obj *obj)
{
	lockdep_assert_held(&obj->lock);

	return obj->held && obj->held(&obj->mdev);
}

/* Does VFIO hold it, be it open or not? */
bool mdev_device_held(struct mdev_device_obj *obj)
{
	bool held;

	spin_lock(&obj->lock);
	held = mdev_device_held_locked(obj);
	spin_unlock(&obj->lock);
	return held;
}

/* Can its driver be unbound without waiting for anybody? */
bool mdev_device_idle(struct mdev_device_obj *obj)
{
	bool idle;

	/* the lock makes sure that mdev_close() is through */
	spin_lock(&obj->lock);
	idle = !obj->open && !obj->unbinding && !mdev_device_held_locked(obj);
	spin_unlock(&obj->lock);
	return idle;
}

/* Is it in use in a way whose end wakes parent->wait? VFIO does not when it drops it. */
bool mdev_device_busy(struct mdev_device_obj *obj)
{
	bool busy;

	spin_lock(&obj->lock);
	busy = obj->open || obj->unbinding;
	spin_unlock(&obj->lock);
	return busy;
}
