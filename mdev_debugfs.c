// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an administrator looks at when something hangs: the files "parents",
 * "devices" and "objects" in debugfs.
 *
 * So they must not hang themselves: they take no lock that is held while a vendor
 * is called, or while somebody waits for a holder.
 */
#include <linux/debugfs.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "mdev_private.h"

#define MDEV_DEBUGFS_DIR	"mdev"

static struct dentry *mdev_debugfs_own;		/* the folder, if it is ours */
static struct dentry *mdev_debugfs_parents;
static struct dentry *mdev_debugfs_devices;
static struct dentry *mdev_debugfs_objects;

static const char *mdev_owner_name(const struct mdev_parent_obj *parent)
{
	const struct module *owner = NULL;

	if (parent->ops)
		owner = parent->ops->owner;
	else if (parent->driver)
		owner = parent->driver->driver.owner;
	return owner ? owner->name : "-";
}

/* Called under the lock that keeps the vendor from leaving. */
static void mdev_parent_show(struct mdev_parent_obj *parent, void *arg)
{
	static const char * const states[] = {
		[MDEV_PARENT_SETUP]	= "setup",
		[MDEV_PARENT_READY]	= "ready",
		[MDEV_PARENT_LEAVING]	= "leaving",
	};
	const struct mdev_driver *drv = READ_ONCE(parent->driver);
	struct seq_file *m = arg;

	seq_printf(m, "%s %s%s %s %s %u %u %d ", dev_name(parent->dev),
		   parent->handle ? "modern" : "classic",
		   parent->late ? "-late" : "", mdev_owner_name(parent),
		   states[parent->state], kref_read(&parent->ref),
		   READ_ONCE(parent->nr_devices), atomic_read(&parent->nr_open));
	/* vendors that count themselves are asked by "available_instances" */
	if (drv && !drv->get_available)
		seq_printf(m, "%d\n", atomic_read(&parent->available));
	else
		seq_puts(m, "-\n");
}

static int parents_show(struct seq_file *m, void *unused)
{
	seq_puts(m, "# parent door owner state refs devices open available\n");
	mdev_parents_for_each(mdev_parent_show, m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(parents);

/* The driver's memory is the vendor's; it stays while the device is locked. */
static void mdev_driver_copy_name(struct device *dev, char *name, size_t size)
{
	const struct device_driver *drv;

	/* the lock's owner may be waiting for the device to be closed */
	if (!device_trylock(dev)) {
		strscpy(name, "?", size);
		return;
	}
	drv = dev->driver;
	strscpy(name, drv ? drv->name : "-", size);
	device_unlock(dev);
}

static int devices_show(struct seq_file *m, void *v)
{
	static const char * const states[] = {
		[MDEV_RESERVED]	= "reserved",
		[MDEV_LIVE]	= "live",
		[MDEV_REMOVING]	= "removing",
	};
	struct mdev_device_obj *obj = v;
	struct mdev_holder holder;
	char parent[64], driver[64];

	if (v == SEQ_START_TOKEN) {
		seq_puts(m, "# uuid parent type state driver pid comm\n");
		return 0;
	}

	mdev_parent_copy_name(mdev_parent_of(obj), parent, sizeof(parent));
	mdev_driver_copy_name(&obj->mdev.dev, driver, sizeof(driver));
	seq_printf(m, "%pUl %s %s %s %s ", &obj->mdev.uuid, parent,
		   kobject_name(&obj->type->kobj),
		   states[READ_ONCE(obj->state)], driver);
	if (mdev_device_holder(obj, &holder))
		seq_printf(m, "%d %s\n", holder.pid, holder.comm);
	else
		seq_puts(m, mdev_device_held(obj) ? "- vfio\n" : "- -\n");
	return 0;
}

/**
 * struct mdev_devices_at - how far a reader of "devices" has come
 * @uuid: of the device that is shown now, or the next time
 * @end: there are no more devices
 */
struct mdev_devices_at {
	guid_t uuid;
	bool end;
};

/* The device to show, with a reference: devices come and go meanwhile. */
static void *devices_step(struct mdev_devices_at *at, bool after)
{
	struct mdev_device_obj *obj = NULL;

	if (!at->end)
		obj = mdev_device_get_next(&at->uuid, after);
	if (obj)
		at->uuid = obj->mdev.uuid;
	else
		at->end = true;
	return obj;
}

static void *devices_start(struct seq_file *m, loff_t *pos)
{
	struct mdev_devices_at *at = m->private;

	if (!*pos) {
		memset(at, 0, sizeof(*at));
		return SEQ_START_TOKEN;
	}
	/* seq_file asks again for a device that its buffer had no room for */
	return devices_step(at, false);
}

static void devices_put(void *v)
{
	struct mdev_device_obj *obj = v;

	if (v && v != SEQ_START_TOKEN)
		put_device(&obj->mdev.dev);
}

static void *devices_next(struct seq_file *m, void *v, loff_t *pos)
{
	bool after = v != SEQ_START_TOKEN;

	devices_put(v);
	++*pos;
	return devices_step(m->private, after);
}

static void devices_stop(struct seq_file *m, void *v)
{
	devices_put(v);
}

static const struct seq_operations devices_sops = {
	.start	= devices_start,
	.next	= devices_next,
	.stop	= devices_stop,
	.show	= devices_show,
};

static int devices_open(struct inode *inode, struct file *file)
{
	return seq_open_private(file, &devices_sops,
				sizeof(struct mdev_devices_at));
}

static const struct file_operations devices_fops = {
	.owner		= THIS_MODULE,
	.open		= devices_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= seq_release_private,
};

/* What the end of the module would wait for. */
static int objects_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "%d\n", mdev_objects_count());
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(objects);

/* Errors are ignored, as is usual with debugfs. */
void mdev_debugfs_init(void)
{
	struct dentry *dir, *found;

	/* late binding, which is part of vmlinux, has made it already */
	found = debugfs_lookup(MDEV_DEBUGFS_DIR, NULL);
	if (!found)
		mdev_debugfs_own = debugfs_create_dir(MDEV_DEBUGFS_DIR, NULL);
	dir = found ?: mdev_debugfs_own;

	mdev_debugfs_parents = debugfs_create_file("parents", 0400, dir, NULL,
						   &parents_fops);
	mdev_debugfs_devices = debugfs_create_file("devices", 0400, dir, NULL,
						   &devices_fops);
	mdev_debugfs_objects = debugfs_create_file("objects", 0400, dir, NULL,
						   &objects_fops);
	dput(found);
}

/* Waits for readers. */
void mdev_debugfs_exit(void)
{
	debugfs_remove(mdev_debugfs_objects);
	debugfs_remove(mdev_debugfs_devices);
	debugfs_remove(mdev_debugfs_parents);
	debugfs_remove(mdev_debugfs_own);
	mdev_debugfs_own = NULL;
}
