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
#include <uapi/linux/vfio.h>

/* what compat/probe found out; a kernel tree that has this header needs no probes */
#ifdef MDEV_FACTS
#include <mdev_facts.h>
#else
#define HAVE_MDEV_DEVICE_IOMMU 0
#endif

struct file;
struct mdev_dirty;
struct kobject;
struct kvm;
struct module;
struct notifier_block;
struct page;
struct rb_root_cached;
struct vfio_info_cap;
struct virqfd;
struct vm_area_struct;

/**
 * DOC: two doors
 *
 * A vendor driver offers a physical device (the *parent*) to be divided into
 * mediated devices through one of two doors. Both lead to the same core.
 *
 * The *classic* door, mdev_register_device(), takes a &struct mdev_parent_ops.
 * The vfio_mdev bridge registers a VFIO device for every mediated device and
 * forwards each access to the ops. The vendor need not know VFIO's internals.
 *
 * The *modern* door, mdev_register_parent(), takes a &struct mdev_driver, which
 * is bound to every mediated device of that parent. Usually it registers a VFIO
 * device of its own for each.
 *
 * A parent device can be registered only once, through one of the doors. When an
 * unregister function has returned, the core does not touch the vendor's memory
 * again.
 */

struct mdev_type;

/**
 * struct mdev_device - a mediated device
 * @dev: the device; its parent is the vendor's parent device
 * @uuid: the name the administrator gave it
 * @next: private to the core
 * @type: modern door: the vendor's type that it was created from; classic door:
 *	only for mtype_get_type_group_id() and mtype_get_parent_dev()
 * @active: true once the device is complete; private to the core
 *
 * Allocated and freed by the core. The vendor may use it from @create to @remove
 * (classic door) or from @probe to @remove (modern door).
 */
struct mdev_device {
	struct device dev;
	guid_t uuid;
	struct list_head next;
	struct mdev_type *type;
#if HAVE_MDEV_DEVICE_IOMMU
	/* private: RHEL 9 still has this member */
	struct device *iommu_device;
	/* public: */
#endif
	bool active;
};

/**
 * struct mdev_type - modern door: a kind of mediated device a parent offers
 * @sysfs_name: set by the vendor: second half of the type's directory name,
 *	after the name of the parent's driver and a dash
 * @pretty_name: set by the vendor: contents of the "name" file, or NULL for
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
 * This is in the vendor's memory. The layout is that of the kernel's own mdev, so
 * that a module which was built for either works with both.
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
 * @device_api: contents of the types' "device_api" file, e.g. "vfio-pci";
 *	mandatory
 * @max_instances: how many devices one parent can have at a time, of all types
 *	together; unused if there is a @get_available
 * @probe: optional: bind to a new device. An error undoes the creation of the
 *	device, and the write to "create" returns it. May sleep.
 * @remove: optional: undo @probe. Must not return before the device is unused.
 *	May sleep.
 * @get_available: optional: return how many more devices of this type can be
 *	created. A vendor that has it counts the devices itself, and its @probe
 *	fails if there are too many.
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

/*
 * private: create(), show() and store() have two forms. Vendors that are compiled with
 * include/classic-5.13 use that of Linux 5.13 to 5.15.
 */
enum mdev_abi {
	MDEV_ABI_4_10,
	MDEV_ABI_5_13,
};

/**
 * struct mdev_type_attribute - classic door: a file in a type's directory
 * @attr: name and mode
 * @show: print the file; @kobj is the type's, whose name is
 *	"<parent's driver>-<group's name>"; @dev is the parent device
 * @store: handle a write to the file; the arguments are those of @show
 *
 * Both may sleep. mdev_unregister_device() waits for them, and must not be called
 * from them.
 */
struct mdev_type_attribute {
	struct attribute attr;
#ifndef MDEV_CLASSIC_5_13
	union {
		ssize_t (*show)(struct kobject *kobj, struct device *dev,
				char *buf);
		/* private: */
		ssize_t (*show_mtype)(struct mdev_type *mtype,
				      struct mdev_type_attribute *attr,
				      char *buf);
		/* public: */
	};
	union {
		ssize_t (*store)(struct kobject *kobj, struct device *dev,
				 const char *buf, size_t count);
		/* private: */
		ssize_t (*store_mtype)(struct mdev_type *mtype,
				       struct mdev_type_attribute *attr,
				       const char *buf, size_t count);
		/* public: */
	};
#else
	ssize_t (*show)(struct mdev_type *mtype,
			struct mdev_type_attribute *attr, char *buf);
	ssize_t (*store)(struct mdev_type *mtype,
			 struct mdev_type_attribute *attr,
			 const char *buf, size_t count);
#endif
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
 * struct mdev_parent_ops - classic door: the callbacks of a vendor driver
 * @owner: the vendor's module, THIS_MODULE; pinned while a device is open
 * @dev_attr_groups: optional: additional files for the parent device
 * @mdev_attr_groups: optional: additional files for each mediated device; added
 *	after @create and removed before @remove
 * @supported_type_groups: mandatory, NULL-terminated: one group per type. The
 *	group's name is the second half of the type's directory name. Its
 *	attributes are &struct mdev_type_attribute; there should be "name",
 *	"device_api" and "available_instances", and there may be "description".
 * @create: mandatory: create a device of the type whose kobject is @kobj. Return
 *	0, or a negative errno, which the write to "create" returns; -EUSERS if
 *	all instances are taken. The device has its name, parent and UUID, but is
 *	not on the bus yet. Its driver data and managed resources (devm_*) belong
 *	to the bridge: use mdev_set_drvdata().
 * @remove: mandatory: undo @create. The device is not open and cannot be
 *	opened. Return 0, or a negative errno to refuse. The write to "remove"
 *	then returns that errno, and the device stays, but VFIO may have given it
 *	another group number. While the parent is being unregistered, the core
 *	logs the refusal and removes the device.
 * @open: optional: a VFIO device fd is opened, and none was open before. Return
 *	0 or a negative errno. Also called @open_device.
 * @release: optional: the last VFIO device fd was closed. Also called
 *	@close_device.
 * @open_device: another name of @open
 * @close_device: another name of @release
 * @read: optional: read @count bytes at *@ppos of the device fd to user memory
 *	@buf, and advance *@ppos. Return the number of bytes or a negative errno.
 * @write: optional: as @read, in the other direction
 * @ioctl: optional: an ioctl of the device fd; @arg usually is a user pointer
 * @mmap: optional: map a region; vma->vm_pgoff says which. Return 0 or a
 *	negative errno.
 * @request: optional: ask the process that has the device open to close it,
 *	because the device is to be removed or unbound. Called again every 10 s,
 *	with @count going up from 0; may be called just after the device was
 *	closed. A vendor that has this op declares that its devices can be
 *	unplugged while open: a write to "remove" then waits for the close,
 *	instead of failing with -EBUSY.
 * @get_region_info_caps: optional: answer VFIO_DEVICE_GET_REGION_INFO in kernel
 *	memory, instead of @ioctl. Set the size, offset and flags of region
 *	@info->index, which are 0 before, and add any capabilities to @caps with
 *	vfio_info_add_capability(). Return 0 or a negative errno.
 * @dma_unmap: optional, but a vendor that calls mdev_pin_pages() needs it: user
 *	space takes back @length bytes of its memory at @iova. Stop using what is
 *	pinned there and unpin it, within two seconds. A pin that overlaps the
 *	range only partly must be unpinned as a whole. Called from a kernel
 *	thread, for one range at a time, and again every half a second as long as
 *	something in the range is pinned. After five times (ten with iommufd) the
 *	bridge keeps the pages, gives VFIO its pins back, and logs an error; see
 *	mdev_unpin_pages() for what that means for the vendor. VFIO waits for the
 *	pins to be gone, not for the op to return: once they are, user space can map
 *	the range again, and the vendor pin it. An op that looks for pins more than
 *	once has to leave those alone that are younger than its call.
 * @device_feature: optional: answer VFIO_DEVICE_FEATURE, for all features except
 *	those of migration and dirty logging that this VFIO knows. @flags are
 *	those of &struct vfio_device_feature, @arg is its data in user memory, of
 *	@argsz bytes. Return 0 or a positive number, which is passed on, or a
 *	negative errno; -ENOTTY if the feature is unknown.
 * @migration_flags: optional: VFIO_MIGRATION_STOP_COPY, possibly with
 *	VFIO_MIGRATION_P2P or VFIO_MIGRATION_PRE_COPY; 0 if devices cannot be
 *	migrated. Set either this and the next three, or none of them.
 * @migration_set_state: optional: take the device to @new_state, through the
 *	states that mdev_mig_get_next_state() returns. Return the file by which
 *	user space reads or writes the device's state, if an arc asks for one;
 *	NULL or an error pointer otherwise.
 * @migration_get_state: optional: store the state that the device is in. Return 0
 *	or a negative errno.
 * @migration_get_data_size: optional: store how many bytes to expect if the device
 *	is stopped and copied now. Return 0 or a negative errno. Never called on
 *	Linux 6.1.
 * @log_start: optional: begin to record the memory that the device writes by DMA,
 *	in the @nnodes ranges of @ranges (&struct interval_tree_node; @start and
 *	@last are addresses), in pages of *@page_size bytes. The vendor may change
 *	*@page_size to the size that it uses. Return 0 or a negative errno. Set
 *	either this and the next two, or none of them.
 * @log_stop: optional: undo @log_start. Return 0 or a negative errno. VFIO does
 *	not call it if a device is closed while its log runs, so @release has to
 *	end the log, too.
 * @log_read_and_clear: optional: call mdev_log_dirty() with @dirty for all memory
 *	in the @length bytes at @iova that the device has written since the last
 *	call. @length is never 0. Return 0 or a negative errno.
 * @dma_unseen: optional: the device also writes to memory of user space in ways that
 *	the bridge does not see: neither to what mdev_pin_pages() has pinned nor by
 *	mdev_dma_rw(). Without it and without @log_start, the bridge keeps the dirty
 *	log.
 *
 * Every op may sleep. @create and @remove of different devices run concurrently;
 * @create and @remove of one device do not. They run with the parent's registration
 * held: mdev_unregister_device() waits for them and must not be called from them.
 * The other ops, except @request, run only between @open and @release; they run
 * concurrently, except @dma_unmap. They are called without a lock of the core. If
 * @read, @write, @ioctl or @mmap is missing, the call fails with -EINVAL; if
 * @device_feature or @migration_set_state is missing, with -ENOTTY, and so it does if
 * @log_start is missing and the bridge keeps no log.
 *
 * The structure belongs to the vendor and must stay until
 * mdev_unregister_device() has returned.
 */
struct mdev_parent_ops {
	struct module *owner;
	const struct attribute_group **dev_attr_groups;
	const struct attribute_group **mdev_attr_groups;
	struct attribute_group **supported_type_groups;

#ifndef MDEV_CLASSIC_5_13
	union {
		int (*create)(struct kobject *kobj, struct mdev_device *mdev);
		/* private: */
		int (*create_mdev)(struct mdev_device *mdev);
		/* public: */
	};
#else
	int (*create)(struct mdev_device *mdev);
#endif
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
	void (*dma_unmap)(struct mdev_device *mdev, u64 iova, u64 length);
	int (*device_feature)(struct mdev_device *mdev, u32 flags,
			      void __user *arg, size_t argsz);

	u32 migration_flags;
	struct file *
	(*migration_set_state)(struct mdev_device *mdev,
			       enum vfio_device_mig_state new_state);
	int (*migration_get_state)(struct mdev_device *mdev,
				   enum vfio_device_mig_state *state);
	int (*migration_get_data_size)(struct mdev_device *mdev,
				       unsigned long *stop_copy_length);

	int (*log_start)(struct mdev_device *mdev,
			 struct rb_root_cached *ranges, u32 nnodes,
			 u64 *page_size);
	int (*log_stop)(struct mdev_device *mdev);
	int (*log_read_and_clear)(struct mdev_device *mdev, unsigned long iova,
				  unsigned long length,
				  struct mdev_dirty *dirty);
	bool dma_unseen;
};

/* the name the structure had when mdev was first posted */
#define parent_ops mdev_parent_ops

int mdev_register_device(struct device *dev, const struct mdev_parent_ops *ops);
int mdev_register_device_abi(struct device *dev,
			     const struct mdev_parent_ops *ops,
			     enum mdev_abi abi);
void mdev_unregister_device(struct device *dev);

/*
 * All functions below are inline, because a vendor that is built in cannot link with
 * mdev when that is a module.
 */

/* private: the action that notifiers of register_unmap() are called with */
#define MDEV_DMA_UNMAP	1UL

/*
 * private: what the bridge does for the vendor of an open device. The functions below
 * call the core's, which fail if the device is not open.
 */
struct mdev_bridge_ops {
	bool (*is_open)(struct mdev_device *mdev);
	int (*pin_pages)(struct mdev_device *mdev, dma_addr_t iova, int npage,
			 int prot, struct page **pages);
	void (*unpin_pages)(struct mdev_device *mdev, dma_addr_t iova,
			    int npage);
	int (*pin_pfns)(struct mdev_device *mdev, const unsigned long *user_pfn,
			int npage, int prot, unsigned long *phys_pfn);
	int (*dma_rw)(struct mdev_device *mdev, dma_addr_t iova, void *data,
		      size_t len, bool write);
	int (*register_unmap)(struct mdev_device *mdev,
			      struct notifier_block *nb);
	int (*unregister_unmap)(struct mdev_device *mdev,
				struct notifier_block *nb);
	struct kvm *(*kvm)(struct mdev_device *mdev);
	int (*mig_get_next_state)(struct mdev_device *mdev,
				  enum vfio_device_mig_state cur,
				  enum vfio_device_mig_state end,
				  enum vfio_device_mig_state *next);
	bool (*mig_precopy_info_v2)(struct mdev_device *mdev);
	void (*log_dirty)(struct mdev_device *mdev, struct mdev_dirty *dirty,
			  unsigned long iova, size_t length);
	int (*add_capability)(struct mdev_device *mdev,
			      struct vfio_info_cap *caps,
			      struct vfio_info_cap_header *cap, size_t size);
	int (*virqfd_enable)(struct mdev_device *mdev,
			     void (*fn)(void *arg, void *data), void *arg,
			     struct virqfd **virqfd, int fd);
	void (*virqfd_disable)(struct mdev_device *mdev, struct virqfd **virqfd);
	/* the core's own: for a device that is not open, and not even there */
	int (*set_iommu_device)(struct mdev_device *mdev,
				struct device *iommu_device);
};

/* private: a device as the functions below see it */
struct mdev_device_classic {
	struct mdev_device mdev;
	void *drvdata;
	const struct mdev_bridge_ops *calls;
	struct device *iommu_device;
};

/* private: a type as the functions below see it */
struct mdev_type_kobj {
	struct kobject kobj;
	const struct attribute_group *group;
};

/* private: a type as include/classic-5.13/linux/mdev.h sees it */
struct mdev_type_classic {
	struct mdev_type type;
	struct device *parent_dev;
	unsigned int group_id;
};

/**
 * mdev_get_drvdata - the classic vendor's data of a device
 * @mdev: the device
 *
 * Context: any.
 * Return: the last argument of mdev_set_drvdata(); NULL before the first call.
 */
static inline void *mdev_get_drvdata(struct mdev_device *mdev)
{
	return container_of(mdev, struct mdev_device_classic, mdev)->drvdata;
}

/**
 * mdev_set_drvdata - attach the classic vendor's data to a device
 * @mdev: the device
 * @data: for mdev_get_drvdata(); the vendor allocates and frees it
 *
 * The data stays when the bridge is unbound and bound again. Usually called in
 * @create.
 *
 * Context: any.
 */
static inline void mdev_set_drvdata(struct mdev_device *mdev, void *data)
{
	container_of(mdev, struct mdev_device_classic, mdev)->drvdata = data;
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
 * mdev_type_group - classic door: the attribute group of a type
 * @kobj: the type, as @create and the callbacks of the type's files get it
 *
 * A vendor that embeds the &struct attribute_group in a structure of its own finds that
 * by container_of().
 *
 * Context: any.
 * Return: an entry of @supported_type_groups.
 */
static inline const struct attribute_group *mdev_type_group(struct kobject *kobj)
{
	return container_of(kobj, struct mdev_type_kobj, kobj)->group;
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
	/* no two buses have the same name */
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

/* private: valid from @create to @remove */
static inline const struct mdev_bridge_ops *mdev_calls(struct mdev_device *mdev)
{
	return container_of(mdev, struct mdev_device_classic, mdev)->calls;
}

/**
 * mdev_pin_pages - keep some of user space's memory in place, for DMA
 * @mdev: the device
 * @iova: first address of the range, as user space has mapped it for the device;
 *	rounded down to a page
 * @npage: number of pages
 * @prot: what the device will do with it: IOMMU_READ, IOMMU_WRITE or both
 * @pages: where to store the pages, in order
 *
 * For classic vendors, between the start of their @open and the end of their
 * @release; before Linux 6.2 only after their @open, because VFIO does not report
 * unmaps earlier. Either all pages are pinned, or none. Undo each call by one of
 * mdev_unpin_pages() with the same @iova and @npage.
 *
 * The vendor must have the op @dma_unmap, which may be called for the range as soon as
 * this returns. If the vendor has not recorded the pin by then, the op is called again,
 * and user space waits longer. To avoid that, hold a lock over this call and the
 * recording, and take the same lock in @dma_unmap.
 *
 * The pages stay allocated until the vendor unpins them, or its @release has returned,
 * whatever user space does.
 *
 * Context: process context, sleeps. If the memory is behind a userfaultfd or FUSE, user
 * space decides for how long, so do not make another device wait for this.
 * Return: @npage, or one of
 *
 * * -EINVAL: the range is not mapped (-ENOENT with iommufd) or is being unmapped, @npage
 *   is not positive, the vendor has no @dma_unmap, or it is in @open before Linux 6.2
 * * -EBUSY: the vendor still has pins of memory that user space unmapped long ago, in
 *   this range, or of more than a megabyte elsewhere; or an unmap of this address space
 *   takes long because a vendor is slow to unpin
 * * -EPERM: @prot is more than user space allows
 * * -E2BIG: VFIO of this kernel does not pin so many pages at once
 * * -ENOMEM: there is no memory, or the limit for locked memory is reached
 * * -EINTR: the caller is killed
 * * -EOPNOTSUPP: the vendor has named a device by mdev_set_iommu_device()
 * * -ENODEV: the device is not open
 * * another error of VFIO
 */
static inline int mdev_pin_pages(struct mdev_device *mdev, dma_addr_t iova,
				 int npage, int prot, struct page **pages)
{
	return mdev_calls(mdev)->pin_pages(mdev, iova, npage, prot, pages);
}

/**
 * mdev_unpin_pages - undo a mdev_pin_pages()
 * @mdev: the device
 * @iova: as it was given to mdev_pin_pages()
 * @npage: as it was given to mdev_pin_pages()
 *
 * The device must not use the pages any more. If VFIO could not wait for this after an
 * unmap, the bridge has kept the pages for the vendor, and drops its references to them
 * now. If the range is not pinned, an error is logged, and nothing is unpinned. When
 * @release has returned, the bridge unpins all that is still pinned, and logs an error.
 *
 * Context: process context, sleeps.
 */
static inline void mdev_unpin_pages(struct mdev_device *mdev, dma_addr_t iova,
				    int npage)
{
	mdev_calls(mdev)->unpin_pages(mdev, iova, npage);
}

/**
 * mdev_dma_rw - copy from or to user space's memory as the device would by DMA
 * @mdev: the device
 * @iova: first address of the range, as user space has mapped it for the device
 * @data: kernel memory
 * @len: number of bytes
 * @write: copy to user space's memory if true, from it otherwise
 *
 * For classic vendors, between the start of their @open and the end of their
 * @release. The memory need not be pinned.
 *
 * Context: process context, sleeps; a kernel thread, a workqueue, or the process
 * that has mapped the memory. VFIO's type1 refuses other processes.
 * Return: 0; -EINVAL if the range is not mapped (-ENOENT with iommufd), wraps around,
 * @len is 0, or the vendor has named a device by mdev_set_iommu_device() and user space uses
 * iommufd; -EPERM if user space does not allow the access, or in another process; -EFAULT if
 * the memory is gone; -ENODEV if the device is not open; or another error of VFIO. On
 * error some bytes may have been copied.
 */
static inline int mdev_dma_rw(struct mdev_device *mdev, dma_addr_t iova,
			      void *data, size_t len, bool write)
{
	return mdev_calls(mdev)->dma_rw(mdev, iova, data, len, write);
}

/**
 * mdev_set_iommu_device - name the device that does the DMA of a mediated device
 * @dev: the mediated device's &struct device, see mdev_dev()
 * @iommu_device: the device behind the IOMMU: a virtual function, or the parent; or NULL
 *	for none
 *
 * For classic vendors, in their @create. VFIO then maps the memory of user space in the
 * IOMMU domain of @iommu_device, so that device can be given the addresses that user space
 * uses, and reaches nothing else. The mediated device is in the IOMMU group of
 * @iommu_device. mdev_pin_pages() fails, as there is nothing to pin; mdev_dma_rw() works
 * where VFIO's container is used, and fails with iommufd. Live migration has no dirty log
 * of the bridge.
 *
 * @iommu_device must be in an IOMMU group, or this function fails. It must also have a
 * driver, and can be named for only one mediated device at a time. That is checked when the
 * bridge is bound, after @create, and then the write to the file "create" fails. When that
 * driver is unbound, so is the bridge, after user space has closed the device.
 *
 * The driver must not use the kernel's DMA API for @iommu_device, and must set
 * driver_managed_dma in its &struct pci_driver. Otherwise user space cannot open the device:
 * VFIO returns -EPERM. This holds for every driver in the IOMMU group.
 *
 * The core keeps a reference on @iommu_device until @remove has returned. If this function
 * fails in @create, the device stays named, so that nobody uses it without isolation; call
 * this with NULL to go on without.
 *
 * Context: process context; in @create. Later, this does nothing if @iommu_device is NULL or
 * named already.
 * Return: 0; -EINVAL if @dev is no mediated device of a classic vendor, or @iommu_device is in
 * no IOMMU group; -EBUSY if it is too late. In that case the device can no longer be opened,
 * because @iommu_device would reach more than the memory of user space. If it is open, it
 * stays so.
 */
static inline int mdev_set_iommu_device(struct device *dev,
					struct device *iommu_device)
{
	struct mdev_device *mdev = mdev_from_dev(dev);

	if (!mdev)
		return -EINVAL;
	return mdev_calls(mdev)->set_iommu_device(mdev, iommu_device);
}

/* private: by the mediated device; in all spellings of the next one */
static inline struct device *mdev_iommu_device(struct mdev_device *mdev)
{
	return container_of(mdev, struct mdev_device_classic, mdev)->iommu_device;
}

/**
 * mdev_get_iommu_device - the device that does the DMA of a mediated device
 * @dev: the mediated device's &struct device
 *
 * Context: any, from @create to @remove.
 * Return: what was given to mdev_set_iommu_device(), without another reference; NULL if
 * nothing was.
 */
static inline struct device *mdev_get_iommu_device(struct device *dev)
{
	struct mdev_device *mdev = mdev_from_dev(dev);

	return mdev ? mdev_iommu_device(mdev) : NULL;
}

/**
 * mdev_kvm - the virtual machine that an open device belongs to
 * @mdev: the device
 *
 * For classic vendors, between the start of their @open and the end of their
 * @release. The structure stays valid that long.
 *
 * Context: any.
 * Return: the virtual machine that user space has named to VFIO; NULL if it has named
 * none, or if the device is not open.
 */
static inline struct kvm *mdev_kvm(struct mdev_device *mdev)
{
	return mdev_calls(mdev)->kvm(mdev);
}

/**
 * mdev_mig_get_next_state - one step of a migration
 * @mdev: the device
 * @cur: the state that it is in
 * @end: the state that it is to reach
 * @next: where to store the state to go to from @cur, on the way to @end
 *
 * For the op @migration_set_state, which calls it until it has reached @end.
 *
 * Context: any.
 * Return: 0; -EINVAL if there is no path, or if it leads through a state that is
 * not among the vendor's @migration_flags; -ENODEV if the device is not open.
 */
static inline int
mdev_mig_get_next_state(struct mdev_device *mdev,
			enum vfio_device_mig_state cur,
			enum vfio_device_mig_state end,
			enum vfio_device_mig_state *next)
{
	return mdev_calls(mdev)->mig_get_next_state(mdev, cur, end, next);
}

/**
 * mdev_mig_precopy_info_v2 - may the vendor report new initial data?
 * @mdev: the device
 *
 * For VFIO_MIG_GET_PRECOPY_INFO, which the vendor answers. VFIO_PRECOPY_INFO_REINIT may
 * be set in the flags only if user space has set the feature
 * VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 since it has opened the device.
 *
 * Context: any.
 * Return: true if user space has; false also if this VFIO does not know the feature,
 * or if the device is not open.
 */
static inline bool mdev_mig_precopy_info_v2(struct mdev_device *mdev)
{
	return mdev_calls(mdev)->mig_precopy_info_v2(mdev);
}

/**
 * mdev_log_dirty - report memory that the device has written
 * @mdev: the device
 * @dirty: the argument of the op @log_read_and_clear
 * @iova: first address of the range
 * @length: number of bytes
 *
 * For the op @log_read_and_clear only. Addresses outside of the range that the op was
 * called for are ignored.
 *
 * Context: process context, sleeps.
 */
static inline void mdev_log_dirty(struct mdev_device *mdev,
				  struct mdev_dirty *dirty,
				  unsigned long iova, size_t length)
{
	mdev_calls(mdev)->log_dirty(mdev, dirty, iova, length);
}

/**
 * mdev_add_region_capability - add a capability to a region's info
 * @mdev: the device
 * @caps: what the op @get_region_info_caps got
 * @cap: the capability: a VFIO_REGION_INFO_CAP_*, with its id and version in the header
 * @size: its size in bytes
 *
 * May be called only from the op @get_region_info_caps. It does what
 * vfio_info_add_capability() does, and the vendor's module need not link with VFIO.
 *
 * Context: process context, sleeps.
 * Return: 0; -ENOMEM; -ENODEV if the device is not open.
 */
static inline int mdev_add_region_capability(struct mdev_device *mdev,
					     struct vfio_info_cap *caps,
					     struct vfio_info_cap_header *cap,
					     size_t size)
{
	return mdev_calls(mdev)->add_capability(mdev, caps, cap, size);
}

/*
 * A vendor that is built in may start before mdev does, and mdev may come and go as a
 * module. Without mdev, these functions queue a registration and return 0; it takes
 * effect whenever mdev is there. The rules are those of the functions that they replace.
 */
#if IS_ENABLED(CONFIG_VFIO_MDEV_LATE)
int mdev_late_register_device_abi(struct device *dev,
				  const struct mdev_parent_ops *ops,
				  enum mdev_abi abi);
void mdev_late_unregister_device(struct device *dev);
int mdev_late_register_parent(struct mdev_parent *parent, struct device *dev,
			      struct mdev_driver *mdev_driver,
			      struct mdev_type **types, unsigned int nr_types);
void mdev_late_unregister_parent(struct mdev_parent *parent);
int mdev_late_register_driver(struct mdev_driver *drv);
void mdev_late_unregister_driver(struct mdev_driver *drv);

static inline int mdev_late_register_device(struct device *dev,
					    const struct mdev_parent_ops *ops)
{
	return mdev_late_register_device_abi(dev, ops, MDEV_ABI_4_10);
}

#if !defined(MODULE) && !defined(MDEV_CORE)
#define mdev_register_device	mdev_late_register_device
#define mdev_register_device_abi	mdev_late_register_device_abi
#define mdev_unregister_device	mdev_late_unregister_device
#define mdev_register_parent	mdev_late_register_parent
#define mdev_unregister_parent	mdev_late_unregister_parent
#define mdev_register_driver	mdev_late_register_driver
#define mdev_unregister_driver	mdev_late_unregister_driver
#endif
#endif

#endif /* MDEV_H */
