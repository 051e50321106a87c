/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The map of mdev: its objects, who owns them, which lock protects what.
 *
 * Objects. Three public structures have a core-owned twin, named _obj:
 *
 *	struct mdev_parent_obj	one per registered parent device
 *	struct mdev_type_obj	one per type, holds its parent_obj
 *	struct mdev_device_obj	one per mediated device, holds its type_obj;
 *				the vendor sees its first member, mdev_device
 *
 * References point upwards only, so memory is freed in the order device, type,
 * parent, however late the last reference on a kobject is dropped. A release function
 * touches nothing but the object itself and the one above it: when an
 * unregister call has returned, vendor memory (the ops, the types, the driver,
 * the parent device) is not reached from here any more. That is why the
 * reference on the parent device is dropped by the unregister call and not by
 * the last release.
 *
 * A parent is in one of three states, see enum mdev_parent_state. It is found
 * by its device from the moment the registration begins until the
 * unregistration is through, so that neither can run twice.
 *
 * A device is in one of three states, see enum mdev_device_state:
 *
 *	RESERVED -> LIVE <-> REMOVING -> gone
 *
 * A RESERVED device has its UUID and quota; all that can fail is done in this state.
 * Exactly one caller wins LIVE -> REMOVING, after which nobody can open the device. If
 * it is open and the vendor has a request op to ask for a close, that caller waits until
 * it is closed before it takes anything away; without that op the caller fails with
 * -EBUSY and the device stays LIVE. A signal during the wait leads back to LIVE, and so
 * does a refusal by the vendor, by way of RESERVED while the driver is bound again.
 *
 * A device is open from mdev_open() to mdev_close(), and the process that opened it is
 * its holder. VFIO can hold a device that is not open: while the device's own node is
 * open but not bound, and while an open or a close is under way. It does not
 * unregister a device that it holds, but waits without a limit. The bridge says whether
 * VFIO holds one, see mdev_set_held(); but that can begin after we have asked. So a
 * write to "remove" has a worker unbind the driver, and can stop waiting for it: then
 * the device is LIVE again when the worker is through.
 *
 * Locks, outermost first; mdev_parents_lock is not held while unreg_sem is taken:
 *
 *	mdev_parents_lock	mutex: the list of parents, its tables, their states
 *	parent->unreg_sem	held for write while the parent is set up and torn
 *				down, for read while a device is created or
 *				removed. Readers only try it: they are in sysfs
 *				files, and the writer waits until those are left.
 *	mdev_bridge_sem		which driver serves the classic door; not held
 *				while a driver is unbound
 *	device_lock(mdev)	the driver core's: probe against unbind; of those that
 *				sleep, the only one that an administrator's "bind" and
 *				"unbind" take
 *	parent->devices_lock	spinlock: the list of the parent's devices
 *	device->lock		spinlock: state, open and holder
 *	mdev_uuids_lock		spinlock: the UUIDs that are taken
 *
 * Vendor callbacks run with unreg_sem held: for read (create, probe, and request and
 * remove of one device) or for write (request and remove, while the parent is
 * unregistered). The driver core calls some on its own, without it: probe, remove and
 * request of a device that is bound or unbound by hand, or as its driver comes and goes.
 * A worker that unbinds a driver may call request after unreg_sem has been released.
 * The files of types are read without it. None runs under a spinlock. The file
 * operations of an open device take none of these locks: what they need stays in place
 * while the device is open.
 *
 * The bridge has locks of its own: two spinlocks for what vendors have pinned, see
 * struct vfio_mdev_memory, inside of everything; a semaphore under which notifiers are
 * called; and a mutex that keeps an open device open for a file of VFIO's, under which
 * migration_get_state is called. dma_unmap is called from a work, without any lock: VFIO
 * asks for an unmap with locks held, and nobody may wait for a vendor under those.
 *
 * For a device that the vendor has named in mdev_set_iommu_device(), the bridge's probe takes
 * the lock of that device inside of device_lock(mdev), only by trylock and not if it is the
 * parent: the driver core has it when it unbinds the mediated device before the driver of
 * that one. It also does so for each device of the IOMMU group, whose mutex is held then.
 *
 * For a vendor of the first migration protocol there are two mutexes more, see
 * vfio_mdev_migration_v1.c: one of a stream's file, and inside of it one of the device, under
 * which the vendor's read, write and reset are called, and which a close takes.
 *
 * The bridge's dirty log has no lock of its own. It is protected by the lock of what is
 * pinned. A report takes that lock for one window of the log after the other, and copies
 * to user space without it.
 *
 * No lock is held while user space loads the bridge for a "create": modprobe may wait for
 * a vendor's probe, and that probe for the "create" file to be left.
 *
 * debugfs must work while a vendor or an open is stuck. Its readers take only
 * mdev_parents_lock and spinlocks; device_lock(mdev) only by trylock.
 *
 * Files, from top to bottom. Each calls only those below it, which "make lint"
 * checks; the functions that they share are at the end of this file, in the other order:
 *
 *	mdev_main.c		the module's beginning and end
 *	mdev_register.c, mdev_register_driver.c
 *				the exported functions that vendors register by
 *	mdev_debugfs.c		what an administrator looks at when something hangs
 *	mdev_core.c		parents
 *	mdev_sysfs.c		the folders of a parent and its types; "create"
 *	mdev_device.c		the life of a device, and its files; "remove"
 *	mdev_driver.c		the bus, drivers, and which of them is the bridge
 *	mdev_state.c		a device's state, and who has it open
 *	mdev_calls.c		what a vendor asks of the bridge
 *	mdev_object.c		what all objects need
 *	mdev_trace.c		tracepoints
 *
 * mdev_late.c is part of vmlinux and has a header of its own, mdev_late.h; what the
 * bridge may call is in mdev_bridge.h.
 */
#ifndef MDEV_PRIVATE_H
#define MDEV_PRIVATE_H

#include <linux/ctype.h>
#include <linux/kobject.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mdev.h>
#include <linux/mutex.h>
#include <linux/rbtree_types.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "mdev_bridge.h"

/**
 * enum mdev_parent_state - how far a parent is, under mdev_parents_lock
 * @MDEV_PARENT_SETUP: being registered; until unreg_sem is released, creates
 *	fail with -ENODEV
 * @MDEV_PARENT_READY: devices come and go
 * @MDEV_PARENT_LEAVING: being unregistered; no way back
 */
enum mdev_parent_state {
	MDEV_PARENT_SETUP,
	MDEV_PARENT_READY,
	MDEV_PARENT_LEAVING,
};

/**
 * struct mdev_parent_obj - a registered parent device
 * @ref: the registration holds one, every type one
 * @next: in the list of parents, under mdev_parents_lock
 * @by_dev: in the table of parents by their device, under mdev_parents_lock
 * @by_handle: modern door: in that by @handle; the same lock
 * @by_name: with @class_link: in that by @name; the same lock
 * @state: written under mdev_parents_lock; LEAVING is also read without
 * @dev: the parent device, referenced until unregistered
 * @ops: classic door: the vendor's ops; NULL otherwise
 * @abi: classic door: which create, show and store the vendor has
 * @handle: modern door: the vendor's; NULL otherwise
 * @driver: modern door: the vendor's driver; NULL otherwise
 * @unreg_sem: see "Locks" above
 * @available: modern door without get_available: instances left
 * @name: the name of @dev at registration; it may have been renamed since
 * @name_hash: what the table by names has @name under
 * @class_link: it has the link of that name in /sys/class/mdev_bus, from registration
 *	until the link is removed
 * @stand_in: what that link is made for, as @dev can be renamed
 * @types_kobj: the directory mdev_supported_types
 * @types: all types; they do not change while unreg_sem is held for read
 * @devices_lock: protects @devices and @nr_devices
 * @devices: all devices of this parent, by mdev_device.next
 * @nr_devices: how many are in @devices
 * @nr_open: how many devices are open
 * @late: the vendor registered it before mdev was there
 * @wait: for devices to be closed, and for the end of READY
 */
struct mdev_parent_obj {
	struct kref ref;
	struct list_head next;
	struct hlist_node by_dev;
	struct hlist_node by_handle;
	struct hlist_node by_name;
	enum mdev_parent_state state;
	struct device *dev;
	const struct mdev_parent_ops *ops;
	enum mdev_abi abi;
	struct mdev_parent *handle;
	struct mdev_driver *driver;
	struct rw_semaphore unreg_sem;
	atomic_t available;
	char *name;
	u32 name_hash;
	bool class_link;
	struct device stand_in;
	struct kobject *types_kobj;
	struct list_head types;
	spinlock_t devices_lock;	/* protects devices, nr_devices */
	struct list_head devices;
	unsigned int nr_devices;
	atomic_t nr_open;
	bool late;
	wait_queue_head_t wait;
};

static inline bool mdev_parent_leaving(struct mdev_parent_obj *parent)
{
	/* pairs with mdev_parent_claim() */
	return READ_ONCE(parent->state) == MDEV_PARENT_LEAVING;
}

/**
 * struct mdev_type_obj - a type below mdev_supported_types
 * @kobj: the type's directory, and its reference count
 * @group: classic door: the vendor's attributes; NULL otherwise
 * @next: in parent->types
 * @parent: holds a reference
 * @type: modern door: the vendor's type; the one in @classic otherwise
 * @classic: classic door: what a vendor that was compiled with
 *	include/classic-5.13 is given for a type
 * @devices_kobj: the directory of links to the type's devices
 */
struct mdev_type_obj {
	struct kobject kobj;
	const struct attribute_group *group;
	struct list_head next;
	struct mdev_parent_obj *parent;
	struct mdev_type *type;
	struct mdev_type_classic classic;
	struct kobject *devices_kobj;
};

/**
 * enum mdev_device_state - how far a device is, under device->lock
 * @MDEV_RESERVED: being created, or bound again after a remove was refused: cannot be
 *	removed yet
 * @MDEV_LIVE: complete
 * @MDEV_REMOVING: somebody removes it: cannot be opened, bound or removed
 */
enum mdev_device_state {
	MDEV_RESERVED,
	MDEV_LIVE,
	MDEV_REMOVING,
};

/**
 * enum mdev_step - what a create does, to trace which step has failed
 * @MDEV_STEP_PARSE: parse the UUID
 * @MDEV_STEP_PARENT: check that the parent is READY
 * @MDEV_STEP_ALLOC: allocate memory
 * @MDEV_STEP_UUID: claim the UUID
 * @MDEV_STEP_QUOTA: claim an instance
 * @MDEV_STEP_VENDOR: the vendor's create
 * @MDEV_STEP_SYSFS: the device, its links and the vendor's files
 * @MDEV_STEP_BIND: the driver's probe
 */
enum mdev_step {
	MDEV_STEP_PARSE,
	MDEV_STEP_PARENT,
	MDEV_STEP_ALLOC,
	MDEV_STEP_UUID,
	MDEV_STEP_QUOTA,
	MDEV_STEP_VENDOR,
	MDEV_STEP_SYSFS,
	MDEV_STEP_BIND,
};

/**
 * struct mdev_holder - who has opened a device
 * @pid: thread group
 * @comm: its name at that time, as mdev_copy_comm() has it
 */
struct mdev_holder {
	pid_t pid;
	char comm[TASK_COMM_LEN];
};

/*
 * Copy the name of a process for the log, a trace or a file. Processes choose their
 * names, and could forge a line by one that has a newline in it.
 */
static inline void mdev_copy_comm(char to[TASK_COMM_LEN], const char *comm)
{
	strscpy(to, comm, TASK_COMM_LEN);
	for (; *to; to++)
		if (!isascii(*to) || !isprint(*to))
			*to = '?';
}

/**
 * struct mdev_device_obj - a mediated device
 * @mdev: what the vendor sees; its kobject is the reference count
 * @drvdata: the classic vendor's; not in @mdev.dev, where the driver core
 *	clears it when the bridge is unbound
 * @calls: what the classic vendor can ask for, see mdev_calls.c
 * @iommu_device: what mdev_set_iommu_device() has named, until the vendor's remove has
 *	returned; holds a reference
 * @iommu_group: the group in which that was; holds a reference
 * @iommu_fixed: the vendor's create has returned; under @lock
 * @unsafe: mdev_set_iommu_device() came too late: it must not be opened
 * @bridge: what the bridge does of that while the device is open
 * @nr_calls: how many calls of the vendor into @bridge run, plus one while more can begin
 * @calls_end: no more can begin
 * @type: holds a reference
 * @vendor_files: the vendor's mdev_attr_groups are there
 * @uuid_node: its UUID is taken until the device is gone from sysfs
 * @unbind_work: unbinds its driver for whoever removes it
 * @lock: protects the members below
 * @state: see enum mdev_device_state
 * @bound: its driver's probe has succeeded, its remove has not returned
 * @missed: while it was REMOVING, a driver could not be bound, or was unbound
 * @unbinding: @unbind_work is queued or running
 * @revive: nobody waits for @unbind_work any more: it is to make the device LIVE
 * @held: asks the bridge whether VFIO holds the device, be it open or not; NULL if there
 *	is nobody to ask
 * @open: from mdev_open() to mdev_close(), classic door only
 * @holder: the process that opened it last
 */
struct mdev_device_obj {
	struct mdev_device mdev;
	void *drvdata;
	const struct mdev_bridge_ops *calls;
	struct device *iommu_device;
	struct iommu_group *iommu_group;
	bool iommu_fixed;
	bool unsafe;
	const struct mdev_bridge_ops *bridge;
	atomic_t nr_calls;
	bool calls_end;
	struct mdev_type_obj *type;
	bool vendor_files;
	struct rb_node uuid_node;
	struct work_struct unbind_work;
	spinlock_t lock;		/* protects what follows */
	enum mdev_device_state state;
	bool bound;
	bool missed;
	bool unbinding;
	bool revive;
	bool (*held)(struct mdev_device *mdev);
	bool open;
	struct mdev_holder holder;
};

/* vendors and the driver core hold the first member, mdev_from_dev() casts */
static_assert(offsetof(struct mdev_device_obj, mdev) == 0);
/* what the vendor calls with a device is inline */
static_assert(offsetof(struct mdev_device_obj, drvdata) ==
	      offsetof(struct mdev_device_classic, drvdata));
static_assert(offsetof(struct mdev_device_obj, calls) ==
	      offsetof(struct mdev_device_classic, calls));
static_assert(offsetof(struct mdev_device_obj, iommu_device) ==
	      offsetof(struct mdev_device_classic, iommu_device));
static_assert(offsetof(struct mdev_type_obj, group) ==
	      offsetof(struct mdev_type_kobj, group));

static inline struct mdev_device_obj *to_device_obj(struct mdev_device *mdev)
{
	return container_of(mdev, struct mdev_device_obj, mdev);
}

static inline struct mdev_device_obj *dev_to_device_obj(const struct device *dev)
{
	return container_of(dev, struct mdev_device_obj, mdev.dev);
}

static inline struct mdev_parent_obj *mdev_parent_of(const struct mdev_device_obj *obj)
{
	return obj->type->parent;
}

static inline struct mdev_type_obj *to_type_obj(struct kobject *kobj)
{
	return container_of(kobj, struct mdev_type_obj, kobj);
}

/* mdev_object.c: what all objects need */
void mdev_object_born(void);
void mdev_object_gone(void);
int mdev_objects_count(void);
void mdev_objects_wait(void);
void mdev_parent_put(struct mdev_parent_obj *parent);

/* mdev_calls.c: what a vendor asks of the bridge */
void mdev_calls_init(struct mdev_device_obj *obj);
void mdev_calls_fix_iommu(struct mdev_device_obj *obj);
void mdev_calls_exit(struct mdev_device_obj *obj);

/* mdev_state.c: a device's state, and who has it open */
void mdev_device_set_live(struct mdev_device_obj *obj);
void mdev_device_set_removing(struct mdev_device_obj *obj);
void mdev_device_set_bound(struct mdev_device_obj *obj, bool bound);
bool mdev_device_may_match(struct mdev_device_obj *obj);
bool mdev_device_may_bind(struct mdev_device_obj *obj);
bool mdev_device_holder(struct mdev_device_obj *obj, struct mdev_holder *holder);
bool mdev_device_held(struct mdev_device_obj *obj);
bool mdev_device_held_locked(struct mdev_device_obj *obj);
bool mdev_device_idle(struct mdev_device_obj *obj);
bool mdev_device_busy(struct mdev_device_obj *obj);

/* mdev_driver.c: the bus */
int mdev_bus_init(void);
void mdev_bus_exit(void);
void mdev_bus_adopt(struct device *dev);
int mdev_bus_attach(struct mdev_device_obj *obj);
void mdev_bus_queue(struct work_struct *work);
int mdev_load_bridge(struct mdev_parent_obj *parent);
void mdev_load_wake(void);
int mdev_driver_add(struct mdev_driver *drv);
void mdev_driver_remove(struct mdev_driver *drv);

/* mdev_device.c: the life of a device, and its files */
int mdev_device_create(struct mdev_type_obj *type, const guid_t *uuid);
void mdev_devices_remove_all(struct mdev_parent_obj *parent);
struct mdev_device_obj *mdev_device_get_next(const guid_t *uuid, bool after);

/* mdev_sysfs.c: the folders of a parent and its types */
int mdev_sysfs_add_parent(struct mdev_parent_obj *parent);
void mdev_sysfs_remove_parent(struct mdev_parent_obj *parent);

/* mdev_core.c: parents */
int mdev_parents_init(void);
void mdev_parents_exit(void);
int mdev_parent_add_classic(struct device *dev, const struct mdev_parent_ops *ops,
			    enum mdev_abi abi, bool late);
int mdev_parent_add_modern(struct mdev_parent *parent, struct device *dev,
			   struct mdev_driver *mdev_driver,
			   struct mdev_type **types, unsigned int nr_types,
			   bool late);
void mdev_parent_remove_classic(struct device *dev);
void mdev_parent_remove_modern(struct mdev_parent *parent);
void mdev_parent_copy_name(struct mdev_parent_obj *parent, char *name,
			   size_t size);
void mdev_parents_for_each(void (*fn)(struct mdev_parent_obj *parent, void *arg),
			   void *arg);

/* mdev_debugfs.c: "parents" and "devices" */
#if IS_ENABLED(CONFIG_DEBUG_FS)
void mdev_debugfs_init(void);
void mdev_debugfs_exit(void);
#else
static inline void mdev_debugfs_init(void) { }
static inline void mdev_debugfs_exit(void) { }
#endif

#endif /* MDEV_PRIVATE_H */
