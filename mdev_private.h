/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The map of mdev: its objects, who owns them, which lock protects what.
 *
 * Objects. Every public structure has a core-owned twin, named _obj:
 *
 *	struct mdev_parent_obj	one per registered parent device
 *	struct mdev_type_obj	one per type, holds its parent_obj
 *	struct mdev_device_obj	one per mediated device, holds its type_obj;
 *				the vendor sees its first member, mdev_device
 *
 * References point upwards only, so memory goes in the order device, type,
 * parent, however late the last user of a kobject lets go. A release function
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
 * RESERVED holds the UUID and the quota and does the fallible work. Exactly one
 * caller wins LIVE -> REMOVING, after which nobody can open the device; whoever
 * has it open is waited for before anything is taken away, or keeps the caller
 * from winning if the vendor cannot ask for it. A signal during that wait leads
 * back to LIVE, and so does a refusal by the vendor, by way of RESERVED while
 * the driver is bound again.
 *
 * VFIO's idea of open is wider than ours: whoever has opened the device's own node
 * but not bound it, or is on the way in or out, keeps VFIO from unregistering the
 * device, for which it waits without end. The bridge tells us; but it can begin
 * after we have asked. So who removes a device has a worker unbind its driver, and
 * can leave that alone: then the device is LIVE again when the worker is through.
 *
 * Locks, outermost first:
 *
 *	mdev_parents_lock	mutex: the list of parents and their states
 *	parent->unreg_sem	held for write while the parent is set up and torn
 *				down, for read while a device is created or
 *				removed. Readers only ever try: they come from
 *				sysfs files that the writer waits for.
 *	mdev_bridge_sem		which driver serves the classic door; not held
 *				while a driver is unbound
 *	device_lock(mdev)	the driver core's: probe against unbind; all that
 *				an administrator's "bind" and "unbind" take
 *	parent->devices_lock	spinlock: the list of the parent's devices
 *	device->lock		spinlock: state, open count and holder
 *	mdev_uuids_lock		spinlock: the UUIDs that are taken
 *
 * Vendor callbacks run under unreg_sem held for read (create, remove, probe) or
 * for write (remove, request when the parent goes), but for what the driver core
 * calls on its own (probe, remove, request of a device bound or unbound by
 * hand). They never run under a spinlock. The file operations of an open device
 * take none of these locks: the open count keeps all that they need in place.
 *
 * The bridge has locks of its own: two spinlocks for what vendors have pinned, see
 * struct vfio_mdev_memory, inside of everything; a semaphore under which notifiers are
 * called; and a mutex that keeps an open device open for a file of VFIO's, under which
 * migration_get_state is called. dma_unmap is called from a work with no lock at all, as
 * VFIO's own may not be waited for there.
 *
 * Nothing is held while user space loads the bridge for a "create", either: modprobe
 * may be waiting for a vendor's probe, and that for the file to be left.
 *
 * Whoever looks at debugfs must not hang with what hangs. It takes
 * mdev_parents_lock and the spinlocks, and of device_lock(mdev) what it gets at
 * once.
 *
 * Late binding. What built-in vendors register goes through a queue that is part
 * of vmlinux, see struct mdev_late, because mdev may not be there yet. The
 * queue's lock is not held while the core is called.
 */
#ifndef MDEV_PRIVATE_H
#define MDEV_PRIVATE_H

#include <linux/ctype.h>
#include <linux/hashtable.h>
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

/* what udev and request_module() load the bridge by */
#define MDEV_CLASSIC_MODALIAS	"mdev:vfio"

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
 * @state: written under mdev_parents_lock; LEAVING is also read without
 * @dev: the parent device, referenced until unregistered
 * @ops: classic door: the vendor's ops; NULL otherwise
 * @form: classic door: which form of create, show and store the vendor has
 * @parent: modern door: the vendor's handle; NULL otherwise
 * @driver: modern door: the vendor's driver; NULL otherwise
 * @unreg_sem: see "Locks" above
 * @available: modern door without get_available: instances left
 * @name: of @dev when it was registered; it may have got another since
 * @class_link: the link of that name in /sys/class/mdev_bus is this one's
 * @stand_in: for @dev where that link is made and removed
 * @types_kobj: the directory mdev_supported_types
 * @types: all types, fixed while unreg_sem can be had for read
 * @devices_lock: protects @devices and @nr_devices
 * @devices: all devices of this parent, by mdev_device.next
 * @nr_devices: how many are in @devices
 * @open: how many devices are open
 * @late: it was registered before mdev was there
 * @wait: for devices to be closed, and for the end of READY
 */
struct mdev_parent_obj {
	struct kref ref;
	struct list_head next;
	enum mdev_parent_state state;
	struct device *dev;
	const struct mdev_parent_ops *ops;
	enum mdev_form form;
	struct mdev_parent *parent;
	struct mdev_driver *driver;
	struct rw_semaphore unreg_sem;
	atomic_t available;
	char *name;
	bool class_link;
	struct device stand_in;
	struct kobject *types_kobj;
	struct list_head types;
	spinlock_t devices_lock;	/* protects devices, nr_devices */
	struct list_head devices;
	unsigned int nr_devices;
	atomic_t open;
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
 * @next: in parent->types
 * @parent: holds a reference
 * @type: modern door: the vendor's type; the one in @classic otherwise
 * @classic: classic door: what a vendor that was compiled with
 *	include/classic-5.13 is given for a type
 * @group: classic door: the vendor's attributes; NULL otherwise
 * @devices_kobj: the directory of links to the type's devices
 */
struct mdev_type_obj {
	struct kobject kobj;
	struct list_head next;
	struct mdev_parent_obj *parent;
	struct mdev_type *type;
	struct mdev_type_classic classic;
	const struct attribute_group *group;
	struct kobject *devices_kobj;
};

/**
 * enum mdev_device_state - how far a device is, under device->lock
 * @MDEV_RESERVED: being created: cannot be removed yet
 * @MDEV_LIVE: complete
 * @MDEV_REMOVING: somebody removes it: cannot be opened, bound or removed
 */
enum mdev_device_state {
	MDEV_RESERVED,
	MDEV_LIVE,
	MDEV_REMOVING,
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
 * names: with a newline in it, one could make up a line of its own.
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
 * @bridge: what the bridge does of that while the device is open
 * @nr_calls: of the vendor into @bridge, and one while there may be more; 0 otherwise
 * @calls_end: no more are let in
 * @type: holds a reference
 * @vendor_files: the vendor's mdev_attr_groups are there
 * @uuid_node: its UUID is taken until the device is gone from sysfs
 * @unbind_work: unbinds its driver for whoever removes it
 * @lock: protects the members below
 * @state: see enum mdev_device_state
 * @bound: its driver's probe has succeeded, its remove has not returned
 * @missed: while it was REMOVING, a driver came by or went
 * @unbinding: @unbind_work is queued or at it
 * @revive: whoever queued @unbind_work has given up
 * @held: does VFIO hold it? While the bridge knows
 * @users: 1 while the VFIO device is open, classic door only
 * @holder: who has it open, or had
 */
struct mdev_device_obj {
	struct mdev_device mdev;
	void *drvdata;
	const struct mdev_bridge_ops *calls;
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
	unsigned int users;
	struct mdev_holder holder;
};

/* vendors and the driver core hold the first member, mdev_from_dev() casts */
static_assert(offsetof(struct mdev_device_obj, mdev) == 0);
/* what the vendor calls with a device is inline */
static_assert(offsetof(struct mdev_device_obj, drvdata) ==
	      offsetof(struct mdev_device_classic, drvdata));
static_assert(offsetof(struct mdev_device_obj, calls) ==
	      offsetof(struct mdev_device_classic, calls));

static inline struct mdev_device_obj *to_device_obj(struct mdev_device *mdev)
{
	return container_of(mdev, struct mdev_device_obj, mdev);
}

static inline struct mdev_device_obj *dev_to_device_obj(const struct device *dev)
{
	return container_of(dev, struct mdev_device_obj, mdev.dev);
}

static inline struct mdev_type_obj *to_type_obj(struct kobject *kobj)
{
	return container_of(kobj, struct mdev_type_obj, kobj);
}

/*
 * What can be said of a registration before mdev is there.
 */

static inline bool mdev_migration_valid(const struct mdev_parent_ops *ops)
{
	bool can = ops->migration_flags;

	/* VFIO has no others without it */
	if (can && !(ops->migration_flags & VFIO_MIGRATION_STOP_COPY))
		return false;
	return !ops->migration_set_state == !can &&
	       !ops->migration_get_state == !can &&
	       !ops->migration_get_data_size == !can &&
	       !ops->log_start == !ops->log_stop &&
	       !ops->log_start == !ops->log_read_and_clear;
}

static inline bool mdev_device_args_valid(const struct device *dev,
					  const struct mdev_parent_ops *ops)
{
	return dev && ops && ops->create && ops->remove &&
	       ops->supported_type_groups && mdev_migration_valid(ops);
}

static inline bool mdev_parent_args_valid(const struct mdev_parent *parent,
					  const struct device *dev,
					  const struct mdev_driver *mdev_driver,
					  struct mdev_type **types,
					  unsigned int nr_types)
{
	return parent && dev && mdev_driver && (types || !nr_types);
}

static inline bool mdev_driver_valid(const struct mdev_driver *drv)
{
	return drv && drv->device_api;
}

/* what a built-in vendor registers */
enum mdev_late_kind {
	MDEV_LATE_DEVICE,
	MDEV_LATE_PARENT,
	MDEV_LATE_DRIVER,
};

/**
 * enum mdev_late_state - what mdev knows of an entry, under mdev_late.lock
 * @MDEV_LATE_PENDING: nothing; on the list of that name
 * @MDEV_LATE_BUSY: somebody is telling it; on the list "bound", like the rest
 * @MDEV_LATE_BOUND: it is registered
 * @MDEV_LATE_FAILED: mdev turned it down when it came
 */
enum mdev_late_state {
	MDEV_LATE_PENDING,
	MDEV_LATE_BUSY,
	MDEV_LATE_BOUND,
	MDEV_LATE_FAILED,
};

/**
 * struct mdev_late_entry - a registration of a built-in vendor
 * @next: in one of the queue's lists
 * @by_key: in the queue's hash table
 * @state: see enum mdev_late_state
 * @error: why it FAILED; belongs to who made it BUSY
 * @kind: which of the arguments below are used
 * @key: the parent device or the driver: can be registered once
 * @dev: parent device, referenced; NULL for a driver
 * @ops: classic door: the vendor's ops
 * @form: classic door: the form of @ops
 * @parent: modern door: the vendor's handle
 * @driver: modern door: the vendor's driver
 * @types: modern door: the vendor's types
 * @nr_types: number of entries in @types
 */
struct mdev_late_entry {
	struct list_head next;
	struct hlist_node by_key;
	enum mdev_late_state state;
	int error;
	enum mdev_late_kind kind;
	const void *key;
	struct device *dev;
	const struct mdev_parent_ops *ops;
	enum mdev_form form;
	struct mdev_parent *parent;
	struct mdev_driver *driver;
	struct mdev_type **types;
	unsigned int nr_types;
};

/*
 * mdev's entry points, given to the queue while mdev is there. @late is for what
 * has waited for it.
 */
struct mdev_late_core {
	int (*register_device)(struct device *dev,
			       const struct mdev_parent_ops *ops,
			       enum mdev_form form, bool late);
	void (*unregister_device)(struct device *dev);
	int (*register_parent)(struct mdev_parent *parent, struct device *dev,
			       struct mdev_driver *mdev_driver,
			       struct mdev_type **types, unsigned int nr_types,
			       bool late);
	void (*unregister_parent)(struct mdev_parent *parent);
	int (*register_driver)(struct mdev_driver *drv);
	void (*unregister_driver)(struct mdev_driver *drv);
};

/**
 * struct mdev_late - the registrations of built-in vendors
 * @lock: protects all members, and the state of entries
 * @core: mdev, from start to stop: while an entry may be BUSY or BOUND
 * @ready: nothing is pending and @core is there: call it at once
 * @pending: entries that mdev does not know of, in order of registration
 * @bound: entries that mdev was told of, in that order
 * @entries: all of them, by key
 * @wait: for an entry that is BUSY
 */
struct mdev_late {
	struct mutex lock;		/* protects everything here */
	const struct mdev_late_core *core;
	bool ready;
	struct list_head pending;
	struct list_head bound;
	DECLARE_HASHTABLE(entries, 7);
	wait_queue_head_t wait;
};

/* mdev_core.c: parents, and what keeps the module's text in place */
void mdev_parent_put(struct mdev_parent_obj *parent);
void mdev_parent_copy_name(struct mdev_parent_obj *parent, char *name,
			   size_t size);
void mdev_parents_for_each(void (*fn)(struct mdev_parent_obj *parent, void *arg),
			   void *arg);
void mdev_object_born(void);
void mdev_object_gone(void);

/* mdev_device.c: one mediated device */
int mdev_device_create(struct mdev_type_obj *type, const guid_t *uuid);
int mdev_device_remove(struct mdev_device_obj *obj);
void mdev_devices_remove_all(struct mdev_parent_obj *parent);
bool mdev_device_may_match(struct mdev_device_obj *obj);
bool mdev_device_may_bind(struct mdev_device_obj *obj);
void mdev_device_set_bound(struct mdev_device_obj *obj, bool bound);
void mdev_device_set_live(struct mdev_device_obj *obj);
bool mdev_device_holder(struct mdev_device_obj *obj, struct mdev_holder *holder);
bool mdev_device_in_vfio(struct mdev_device_obj *obj);
struct mdev_device_obj *mdev_device_from(const guid_t *uuid, bool after);

/* mdev_calls.c: what a vendor asks of the bridge */
void mdev_calls_init(struct mdev_device_obj *obj);

/* mdev_sysfs.c: everything an administrator sees */
int mdev_sysfs_add_parent(struct mdev_parent_obj *parent);
void mdev_sysfs_remove_parent(struct mdev_parent_obj *parent);
int mdev_sysfs_add_device(struct mdev_device_obj *obj);
void mdev_sysfs_remove_device(struct mdev_device_obj *obj);
int mdev_sysfs_add_vendor_files(struct mdev_device_obj *obj);
void mdev_sysfs_remove_vendor_files(struct mdev_device_obj *obj);
void mdev_sysfs_remove_own_file(struct mdev_device_obj *obj);
extern const struct attribute_group *mdev_device_groups[];

/* mdev_driver.c: the bus */
int mdev_bus_init(void);
void mdev_bus_exit(void);
void mdev_bus_adopt(struct device *dev);
int mdev_bus_attach(struct mdev_device_obj *obj);
void mdev_bus_queue(struct work_struct *work);
int mdev_load_bridge(struct mdev_parent_obj *parent);
void mdev_load_wake(void);

/* mdev_trace.c: tracepoints, for who cannot include mdev_trace.h */
void mdev_traced_register(struct device *dev, bool classic, bool late, int ret);
u64 mdev_traced_unregister_start(void);
void mdev_traced_unregister(struct mdev_parent_obj *parent,
			    unsigned int devices, u64 start);
void mdev_traced_bind(struct device *dev, const char *driver, int ret);

/* mdev_debugfs.c: "parents" and "devices" */
#if IS_ENABLED(CONFIG_DEBUG_FS)
void mdev_debugfs_init(void);
void mdev_debugfs_exit(void);
#else
static inline void mdev_debugfs_init(void) { }
static inline void mdev_debugfs_exit(void) { }
#endif

/* mdev_late.c: part of vmlinux; not there when mdev is built outside of a tree */
#if IS_ENABLED(CONFIG_VFIO_MDEV_LATE)
int mdev_late_register(struct mdev_late *late,
		       const struct mdev_late_entry *request);
bool mdev_late_unregister(struct mdev_late *late, const void *key,
			  const struct mdev_parent *parent);
void mdev_late_start(struct mdev_late *late, const struct mdev_late_core *core);
void mdev_late_stop(struct mdev_late *late);
void mdev_late_attach(const struct mdev_late_core *core);
void mdev_late_detach(void);
#endif

/* for the bridge, vfio_mdev.ko; exported */
int mdev_register_bridge(struct mdev_driver *drv);
void mdev_unregister_bridge(struct mdev_driver *drv);
const struct mdev_parent_ops *mdev_classic_ops(struct mdev_device *mdev);
int mdev_open(struct mdev_device *mdev);
void mdev_begin_calls(struct mdev_device *mdev,
		      const struct mdev_bridge_ops *bridge);
void mdev_end_calls(struct mdev_device *mdev);
void mdev_close(struct mdev_device *mdev);
void mdev_set_held(struct mdev_device *mdev,
		   bool (*held)(struct mdev_device *mdev));
bool mdev_is_open(struct mdev_device *mdev);
int mdev_vendor_errno(struct device *dev, const char *op, int ret);

#endif /* MDEV_PRIVATE_H */
