/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mediated devices: the interface for vendor drivers.
 *
 * This is the only header a vendor driver includes.
 */
#ifndef MDEV_H
#define MDEV_H

#include <linux/device.h>
#include <linux/string.h>
#include <linux/uuid.h>

struct kobject;
struct module;
struct vfio_info_cap;
struct vfio_region_info;
struct vm_area_struct;

/**
 * DOC: two doors
 *
 * A vendor driver offers a physical device (the *parent*) to be divided into
 * mediated devices through one of two doors. Both lead to the same core.
 *
 * The *classic* door, mdev_register_device(), takes a &struct mdev_parent_ops.
 * The vfio_mdev bridge turns every mediated device into a VFIO device and
 * forwards each access to the ops. The vendor knows nothing of VFIO's internals.
 *
 * The *modern* door, mdev_register_parent(), takes a &struct mdev_driver, which
 * is bound to every mediated device of that parent and does as it likes with
 * it, usually registering a VFIO device of its own.
 *
 * A parent device goes through one door, once. When an unregister function has
 * returned, the core does not touch the vendor's memory again.
 */

struct mdev_type;

/**
 * struct mdev_device - a mediated device
 * @dev: the device; its parent is the vendor's parent device
 * @uuid: the name the administrator gave it
 * @next: private to the core
 * @type: modern door: the vendor's type it was created from; classic: NULL
 * @active: true once the device is complete; private to the core
 *
 * Allocated and freed by the core. Vendors hold it from @create to @remove
 * (classic) or from @probe to @remove (modern).
 */
struct mdev_device {
	struct device dev;
	guid_t uuid;
	struct list_head next;
	struct mdev_type *type;
	bool active;
};

/**
 * struct mdev_type - modern door: a kind of mediated device a parent offers
 * @sysfs_name: set by the vendor: second half of the type's directory name,
 *	after the name of the parent's driver and a dash
 * @pretty_name: set by the vendor: what the "name" file says, or NULL for
 *	@sysfs_name
 * @parent: set by the core, valid until mdev_unregister_parent() returns
 * @kobj: unused: the core keeps its own
 * @devices_kobj: unused: the core keeps its own
 */
struct mdev_type {
	const char *sysfs_name;
	const char *pretty_name;
	struct mdev_parent *parent;
	struct kobject kobj;
	struct kobject *devices_kobj;
};

/**
 * struct mdev_parent - modern door: the vendor's handle of a registration
 * @dev: set by the core: the parent device
 * @mdev_driver: set by the core: the driver for devices of this parent
 * @mdev_types_kset: unused: the core keeps its own
 * @unreg_sem: unused: the core keeps its own
 * @types: set by the core: the types registered
 * @nr_types: set by the core: number of entries in @types
 * @available_instances: unused: the core keeps its own
 *
 * Lives in the vendor's memory. The layout is that of the kernel's own mdev, so
 * that modules built against either are interchangeable.
 */
struct mdev_parent {
	struct device *dev;
	struct mdev_driver *mdev_driver;
	struct kset *mdev_types_kset;
	struct rw_semaphore unreg_sem;
	struct mdev_type **types;
	unsigned int nr_types;
	atomic_t available_instances;
};

static inline struct mdev_device *to_mdev_device(struct device *dev)
{
	return container_of(dev, struct mdev_device, dev);
}

/**
 * struct mdev_driver - modern door: a driver for mediated devices
 * @device_api: what the types' "device_api" file says, e.g. "vfio-pci";
 *	mandatory
 * @max_instances: how many devices one parent can have at a time, of all types
 *	together; unused if @get_available is there
 * @probe: optional: a new device is to be driven; an error undoes its creation
 *	and reaches whoever wrote to "create". May sleep.
 * @remove: optional: the device goes away; undo @probe. Must not return before
 *	the device is unused. May sleep.
 * @get_available: optional: how many more devices of this type could be
 *	created. With it the vendor counts, and @probe refuses what is too much.
 * @show_description: optional: print the "description" file; at most a page
 * @driver: the driver core's part; the vendor sets name, owner and mod_name
 *
 * @probe and @remove run with the device's lock and with the parent's
 * registration held: mdev_unregister_parent() waits for them and must not be
 * called from them.
 */
struct mdev_driver {
	const char *device_api;
	unsigned int max_instances;
	int (*probe)(struct mdev_device *dev);
	void (*remove)(struct mdev_device *dev);
	unsigned int (*get_available)(struct mdev_type *mtype);
	ssize_t (*show_description)(struct mdev_type *mtype, char *buf);
	struct device_driver driver;
};

int mdev_register_parent(struct mdev_parent *parent, struct device *dev,
			 struct mdev_driver *mdev_driver,
			 struct mdev_type **types, unsigned int nr_types);
void mdev_unregister_parent(struct mdev_parent *parent);

int mdev_register_driver(struct mdev_driver *drv);
void mdev_unregister_driver(struct mdev_driver *drv);

/**
 * struct mdev_type_attribute - classic door: a file in a type's directory
 * @attr: name and mode
 * @show: print the file; @kobj is the type's, whose name is
 *	"<parent's driver>-<group's name>"; @dev is the parent device
 * @store: take what was written to the file
 *
 * Both may sleep. They run until mdev_unregister_device() has removed the file,
 * and must not call it.
 */
struct mdev_type_attribute {
	struct attribute attr;
	ssize_t (*show)(struct kobject *kobj, struct device *dev, char *buf);
	ssize_t (*store)(struct kobject *kobj, struct device *dev,
			 const char *buf, size_t count);
};

#define MDEV_TYPE_ATTR(_name, _mode, _show, _store)		\
	struct mdev_type_attribute mdev_type_attr_##_name =	\
		__ATTR(_name, _mode, _show, _store)
#define MDEV_TYPE_ATTR_RW(_name)				\
	struct mdev_type_attribute mdev_type_attr_##_name = __ATTR_RW(_name)
#define MDEV_TYPE_ATTR_RO(_name)				\
	struct mdev_type_attribute mdev_type_attr_##_name = __ATTR_RO(_name)
#define MDEV_TYPE_ATTR_WO(_name)				\
	struct mdev_type_attribute mdev_type_attr_##_name = __ATTR_WO(_name)

/**
 * struct mdev_parent_ops - classic door: what a vendor driver does
 * @owner: the vendor's module, THIS_MODULE; pinned while a device is open
 * @dev_attr_groups: optional: more files for the parent device
 * @mdev_attr_groups: optional: more files for each mediated device; there
 *	from after @create until before @remove
 * @supported_type_groups: mandatory, NULL-terminated: one group per type. The
 *	group's name is the second half of the type's directory name; its
 *	attributes are &struct mdev_type_attribute and should hold "name",
 *	"device_api" and "available_instances", and may hold "description".
 * @create: mandatory: make a device of the type whose kobject is @kobj. 0, or
 *	a negative errno, which reaches whoever wrote to "create"; -EUSERS says
 *	that all instances are taken. The device has its name, parent and UUID
 *	but is not on the bus yet. Its driver data and managed resources
 *	(devm_*) are the bridge's: use mdev_set_drvdata().
 * @remove: mandatory: undo @create. The device is not open and cannot be
 *	opened. 0, or a negative errno to refuse: it reaches whoever wrote to
 *	"remove" and the device stays, though VFIO may have given it another
 *	group number. When the parent is being
 *	unregistered the refusal is logged and the device goes all the same.
 * @open: optional: the VFIO device fd is opened (the first time, until
 *	@release). 0 or a negative errno. Also called @open_device.
 * @release: optional: the last VFIO device fd was closed. Also called
 *	@close_device.
 * @open_device: another name of @open
 * @close_device: another name of @release
 * @read: optional: read @count bytes at *@ppos of the device fd to user memory
 *	@buf; advance *@ppos. Number of bytes or a negative errno.
 * @write: optional: the other direction
 * @ioctl: optional: an ioctl of the device fd; @arg mostly is a user pointer
 * @mmap: optional: map a region; vma->vm_pgoff says which. 0 or a negative
 *	errno.
 * @request: optional: the device is wanted back: ask whoever has it open to
 *	close it. Called again every 10 s, with @count going up from 0; may come
 *	just after the device was closed. A vendor that has it declares that its
 *	devices can be unplugged while open: writing to "remove" then asks and
 *	waits instead of failing with -EBUSY.
 * @get_region_info_caps: optional: answer VFIO_DEVICE_GET_REGION_INFO in kernel
 *	memory; @ioctl is not asked then. Set the size, offset and flags of region
 *	@info->index, all 0 before, and add capabilities to @caps, if any, with
 *	vfio_info_add_capability(). 0 or a negative errno.
 *
 * Every op may sleep. @create and @remove of different devices run at the same
 * time, on several CPUs; @create and @remove of one device do not. They run with
 * the parent's registration held: mdev_unregister_device() waits for them and
 * must not be called from them. @read, @write, @ioctl, @mmap and
 * @get_region_info_caps run only between @open and @release, any number of them
 * at once. No lock of the core is held in them. A missing @read, @write, @ioctl
 * or @mmap is -EINVAL to the caller.
 *
 * The structure belongs to the vendor and must stay until
 * mdev_unregister_device() has returned.
 */
struct mdev_parent_ops {
	struct module *owner;
	const struct attribute_group **dev_attr_groups;
	const struct attribute_group **mdev_attr_groups;
	struct attribute_group **supported_type_groups;

	int (*create)(struct kobject *kobj, struct mdev_device *mdev);
	int (*remove)(struct mdev_device *mdev);
	union {
		int (*open)(struct mdev_device *mdev);
		int (*open_device)(struct mdev_device *mdev);
	};
	union {
		void (*release)(struct mdev_device *mdev);
		void (*close_device)(struct mdev_device *mdev);
	};
	ssize_t (*read)(struct mdev_device *mdev, char __user *buf,
			size_t count, loff_t *ppos);
	ssize_t (*write)(struct mdev_device *mdev, const char __user *buf,
			 size_t count, loff_t *ppos);
	long (*ioctl)(struct mdev_device *mdev, unsigned int cmd,
		      unsigned long arg);
	int (*mmap)(struct mdev_device *mdev, struct vm_area_struct *vma);
	void (*request)(struct mdev_device *mdev, unsigned int count);
	int (*get_region_info_caps)(struct mdev_device *mdev,
				    struct vfio_region_info *info,
				    struct vfio_info_cap *caps);
};

/* the name the structure had when mdev was first posted */
#define parent_ops mdev_parent_ops

int mdev_register_device(struct device *dev, const struct mdev_parent_ops *ops);
void mdev_unregister_device(struct device *dev);

/*
 * The rest is inline: a vendor that is built in has nothing to link with when
 * mdev is a module.
 */

/* private: how mdev_get_drvdata() and mdev_set_drvdata() see a device */
struct mdev_device_drvdata {
	struct mdev_device mdev;
	void *drvdata;
};

/**
 * mdev_get_drvdata - the classic vendor's data of a device
 * @mdev: the device
 *
 * Context: any.
 * Return: what mdev_set_drvdata() was last given; NULL before that.
 */
static inline void *mdev_get_drvdata(struct mdev_device *mdev)
{
	return container_of(mdev, struct mdev_device_drvdata, mdev)->drvdata;
}

/**
 * mdev_set_drvdata - attach the classic vendor's data to a device
 * @mdev: the device
 * @data: for mdev_get_drvdata(); the vendor allocates and frees it
 *
 * Survives the bridge being unbound and bound again. Usually called in @create.
 *
 * Context: any.
 */
static inline void mdev_set_drvdata(struct mdev_device *mdev, void *data)
{
	container_of(mdev, struct mdev_device_drvdata, mdev)->drvdata = data;
}

/**
 * mdev_parent_dev - the parent device of a mediated device
 * @mdev: the device
 *
 * Context: any.
 * Return: the device given to mdev_register_device(); no reference is taken.
 */
static inline struct device *mdev_parent_dev(struct mdev_device *mdev)
{
	return mdev->dev.parent;
}

/**
 * mdev_uuid - the UUID of a mediated device
 * @mdev: the device
 *
 * Context: any.
 * Return: pointer into @mdev.
 */
static inline const guid_t *mdev_uuid(struct mdev_device *mdev)
{
	return &mdev->uuid;
}

/**
 * mdev_from_dev - the mediated device behind a struct device
 * @dev: any device
 *
 * Context: any.
 * Return: the mediated device, or NULL if @dev is none; no reference is taken.
 */
static inline struct mdev_device *mdev_from_dev(struct device *dev)
{
	/* a bus has its name to itself */
	if (!dev->bus || strcmp(dev->bus->name, "mdev"))
		return NULL;
	return to_mdev_device(dev);
}

/**
 * mdev_dev - the struct device of a mediated device
 * @mdev: the device
 *
 * Context: any.
 * Return: pointer into @mdev; no reference is taken.
 */
static inline struct device *mdev_dev(struct mdev_device *mdev)
{
	return &mdev->dev;
}

/*
 * A vendor that is built in may start before mdev does, or see it come and go as
 * a module. Its registrations are kept for it: they succeed at once, and take
 * effect whenever mdev is there. The rules are those of the functions replaced.
 */
#if IS_ENABLED(CONFIG_VFIO_MDEV_LATE)
int mdev_late_register_device(struct device *dev,
			      const struct mdev_parent_ops *ops);
void mdev_late_unregister_device(struct device *dev);
int mdev_late_register_parent(struct mdev_parent *parent, struct device *dev,
			      struct mdev_driver *mdev_driver,
			      struct mdev_type **types, unsigned int nr_types);
void mdev_late_unregister_parent(struct mdev_parent *parent);
int mdev_late_register_driver(struct mdev_driver *drv);
void mdev_late_unregister_driver(struct mdev_driver *drv);

#if !defined(MODULE) && !defined(MDEV_CORE)
#define mdev_register_device	mdev_late_register_device
#define mdev_unregister_device	mdev_late_unregister_device
#define mdev_register_parent	mdev_late_register_parent
#define mdev_unregister_parent	mdev_late_unregister_parent
#define mdev_register_driver	mdev_late_register_driver
#define mdev_unregister_driver	mdev_late_unregister_driver
#endif
#endif

#endif /* MDEV_H */
