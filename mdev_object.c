// SPDX-License-Identifier: GPL-2.0-only
/*
 * What all objects need: the module's text until the last of them is gone, parents until
 * nothing below them is left, and a vendor's return value made an errno.
 */
#include <linux/export.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <linux/mdev.h>

#include "mdev_private.h"

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
	/* pairs with the wait in mdev_objects_wait() */
	if (atomic_dec_and_test(&mdev_objects))
		wake_up_var(&mdev_objects);
}

int mdev_objects_count(void)
{
	return atomic_read(&mdev_objects);
}

/* At the module's end: wait until all release functions have returned. */
void mdev_objects_wait(void)
{
	/* pairs with mdev_object_gone() */
	wait_var_event(&mdev_objects, !atomic_read(&mdev_objects));
	/* the task that ended the wait may still be executing our text */
	synchronize_rcu_tasks();
}

static void mdev_parent_release(struct kref *ref)
{
	struct mdev_parent_obj *parent = container_of(ref, struct mdev_parent_obj,
						      ref);

	kfree(parent->name);
	kfree(parent);
	mdev_object_gone();
}

void mdev_parent_put(struct mdev_parent_obj *parent)
{
	kref_put(&parent->ref, mdev_parent_release);
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
