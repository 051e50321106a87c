/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Emulated PCI devices: the interface for vendor drivers that use the kit, mdev_pci.ko.
 */
#ifndef MDEV_PCI_H
#define MDEV_PCI_H

#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/irq_work.h>
#include <linux/list.h>
#include <linux/mdev.h>
#include <linux/mutex.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/stddef.h>
#include <linux/sysfs.h>

/**
 * DOC: purpose
 *
 * Most of what VFIO asks of a PCI function is the same for all vendors: configuration
 * space, regions, interrupts, reset, types and their quota, the migration file. The kit
 * implements it. A vendor describes its function in constant tables, &struct
 * mdev_pci_desc, and writes what its registers do.
 *
 * The vendor embeds &struct mdev_pci in its device and fills in a &struct
 * mdev_pci_parent, whose ops are the kit's: MDEV_PCI_OPS, and MDEV_PCI_MIGRATION_OPS and
 * MDEV_PCI_DMA_OPS as needed. These functions have the signatures of &struct
 * mdev_parent_ops. A vendor can put a function of its own in place of one, and call the
 * kit's from there.
 */

/**
 * DOC: context
 *
 * The callbacks of a &struct mdev_pci_region and the hooks for configuration space run
 * in process context, under no lock of the kit. They can run at the same time as each
 * other and as &mdev_pci_ops.reset. A vendor whose registers depend on each other needs a
 * lock of its own.
 *
 * The spinlock of a device, taken with interrupts off, protects configuration space and
 * interrupts. It is not held while a vendor is called, so the functions that take it can be
 * called under the vendor's locks. Those that raise interrupts, mdev_pci_set_intx() for
 * one, and those that read configuration space can be called in any context;
 * mdev_pci_set_config() in any where a spinlock may be taken, which sleeps on PREEMPT_RT.
 * Reading configuration space takes no lock, and orders nothing.
 *
 * @reset, @quiesce, @resume and @check of one device run one at a time, under a mutex.
 * They must not wait for a callback of a register.
 */

struct eventfd_ctx;
struct mdev_pci;
struct mdev_pci_parent;
struct mdev_pci_pin;
struct mdev_pci_stream;
struct virqfd;

/* a region's offset in the fd is its index, shifted by this, as in vfio-pci */
#define MDEV_PCI_OFFSET_SHIFT	40

/* bits of mdev_pci_region.flags */
#define MDEV_PCI_IO		BIT(0)
#define MDEV_PCI_64		BIT(1)
#define MDEV_PCI_PREFETCH	BIT(2)
#define MDEV_PCI_READONLY	BIT(3)
#define MDEV_PCI_RAM		BIT(4)

/**
 * struct mdev_pci_region - a BAR, the expansion ROM, or a region outside of PCI
 * @size: in bytes; 0 if there is no such region. That of a BAR or of the ROM is a power
 *	of two: at least 16 for memory, 4 to 256 for I/O, at least 2048 for the ROM. That
 *	of a region with MDEV_PCI_RAM or @mmap is a multiple of 4096. It can be mapped if
 *	this is a multiple of PAGE_SIZE, which is larger on some architectures; otherwise,
 *	it can only be read and written.
 * @flags:
 *
 *	* MDEV_PCI_IO: it is an I/O BAR, and a memory BAR otherwise
 *	* MDEV_PCI_64: it uses the BAR behind it as well, which has to be empty
 *	* MDEV_PCI_PREFETCH: memory without side effects
 *	* MDEV_PCI_READONLY: writing fails with -EINVAL; the ROM always is
 *	* MDEV_PCI_RAM: the kit allocates memory for it, and clears that when the device
 *	  is opened or reset. It can be mapped (see @size), needs no callbacks, and migrates. See
 *	  mdev_pci_ram().
 * @width: widest access that @read and @write support: 1, 2, 4 or 8 bytes. An access that
 *	is wider or not aligned is split, from the lowest address on, as a bus would.
 * @min_width: narrowest access that they support; 0 is 1. A narrower one reads as ones or
 *	is ignored.
 * @type: of a region outside of PCI: for its VFIO_REGION_INFO_CAP_TYPE; 0 for none
 * @subtype: the same
 * @read: optional: return the value at @offset, which is a multiple of @width. A region
 *	without it reads as ones.
 * @write: optional: write the value. A region without it ignores writes.
 * @access: optional: used instead of these two, for an access as a whole. @buf is user
 *	memory, @offset and @count are within the region. Returns @count or a negative
 *	errno.
 * @mmap: optional: map it. @offset and the size of @vma are whole pages within the region,
 *	and @vma is shared. Returns 0 or a negative errno. Not needed with MDEV_PCI_RAM, and
 *	not called if @size is no multiple of PAGE_SIZE.
 * @add_capabilities: optional: add capabilities to the region's info by
 *	mdev_add_region_capability(). Returns 0 or a negative errno.
 *
 * The command register and the power state decide whether a BAR is decoded. One that is
 * not reads as ones and ignores writes, and none of the callbacks is called; but one that
 * has begun is not waited for when the BAR ceases to be decoded.
 *
 * While the device is stopped for migration, reads and writes fail with -EBUSY. The
 * migration waits for @read and @write, but not for an @access that has begun, because
 * that uses user memory: it can go on while the device is stopped and while a state is
 * loaded. So what migrates must not depend on it, or the vendor has to see to that.
 */
struct mdev_pci_region {
	u64 size;
	u32 flags;
	u8 width;
	u8 min_width;
	u32 type;
	u32 subtype;
	u64 (*read)(struct mdev_pci *pci, const struct mdev_pci_region *region,
		    u64 offset, unsigned int width);
	void (*write)(struct mdev_pci *pci, const struct mdev_pci_region *region,
		      u64 offset, unsigned int width, u64 val);
	ssize_t (*access)(struct mdev_pci *pci,
			  const struct mdev_pci_region *region,
			  char __user *buf, size_t count, u64 offset, bool write);
	int (*mmap)(struct mdev_pci *pci, const struct mdev_pci_region *region,
		    u64 offset, struct vm_area_struct *vma);
	int (*add_capabilities)(struct mdev_pci *pci,
				const struct mdev_pci_region *region,
				struct vfio_info_cap *caps);
};

/* bits of mdev_pci_cap.flags */
#define MDEV_PCI_CAP_EXT	BIT(0)
#define MDEV_PCI_CAP_FLR	BIT(1)
#define MDEV_PCI_CAP_NO_SOFT_RESET BIT(2)

/**
 * struct mdev_pci_cap - an entry of the table of capabilities
 * @id: PCI_CAP_ID_PM etc., or PCI_EXT_CAP_ID_VNDR etc. with MDEV_PCI_CAP_EXT
 * @flags: MDEV_PCI_CAP_EXT: it is in the extended configuration space. The macros below
 *	set the others.
 * @offset: optional: its offset; without it, it follows the one before it
 * @vectors: of MSI: 1, 2, 4, 8, 16 or 32; of MSI-X: up to 2048
 * @table: of MSI-X: the BAR's number, and the offset in it, a multiple of 8
 * @pba: of MSI-X: the same
 * @data: of another capability: its contents after a reset, without the header. The
 *	header has two bytes, or four with MDEV_PCI_CAP_EXT.
 * @writable: optional: of another capability: which bits of @data can be written
 * @size: of @data and @writable
 */
struct mdev_pci_cap {
	u16 id;
	u16 flags;
	u16 offset;
	u16 vectors;
	u32 table;
	u32 pba;
	const void *data;
	const void *writable;
	u16 size;
};

/**
 * MDEV_PCI_CAP_PM - power management: D0 and D3hot, no PME
 * @_flags: MDEV_PCI_CAP_NO_SOFT_RESET if the device keeps its state when it goes from
 *	D3hot to D0; otherwise that resets it
 */
#define MDEV_PCI_CAP_PM(_flags) { .id = PCI_CAP_ID_PM, .flags = (_flags) }
/**
 * MDEV_PCI_CAP_MSI - message signalled interrupts
 * @_vectors: how many
 */
#define MDEV_PCI_CAP_MSI(_vectors)					\
	{ .id = PCI_CAP_ID_MSI, .vectors = (_vectors) }
/**
 * MDEV_PCI_CAP_MSIX - message signalled interrupts with a table
 * @_vectors: how many
 * @_bar: the BAR that holds the table and the pending bits; a memory BAR, without
 *	MDEV_PCI_RAM and @access
 * @_table: where the table is in it, @_vectors * 16 bytes
 * @_pba: where the pending bits are in it
 *
 * The VMM keeps the table, and does not pass it on to the device. The table in the BAR
 * reads as ones and the pending bits read as zeroes; the callbacks are not called there.
 */
#define MDEV_PCI_CAP_MSIX(_vectors, _bar, _table, _pba)			\
	{ .id = PCI_CAP_ID_MSIX, .vectors = (_vectors),			\
	  .table = (_table) | (_bar), .pba = (_pba) | (_bar) }
/**
 * MDEV_PCI_CAP_EXP - PCI Express: an endpoint; configuration space has 4096 bytes
 * @_flags: MDEV_PCI_CAP_FLR if a guest can reset the function by this capability
 */
#define MDEV_PCI_CAP_EXP(_flags) { .id = PCI_CAP_ID_EXP, .flags = (_flags) }
/**
 * MDEV_PCI_CAP_AF - advanced features: function-level reset without PCI Express
 */
#define MDEV_PCI_CAP_AF() { .id = PCI_CAP_ID_AF, .flags = MDEV_PCI_CAP_FLR }
/**
 * MDEV_PCI_CAP_DATA - any other capability, for one PCI_CAP_ID_VNDR
 * @_id: PCI_CAP_ID_*
 * @_data: an array with the contents, without the header. That of PCI_CAP_ID_VNDR begins
 *	with the length of the capability.
 * @_writable: an array of the same size, or NULL
 */
#define MDEV_PCI_CAP_DATA(_id, _data, _writable)			\
	{ .id = (_id), .data = (_data), .writable = (_writable),	\
	  .size = sizeof(_data) }
/**
 * MDEV_PCI_EXT_CAP_DATA - any extended capability; needs MDEV_PCI_CAP_EXP
 * @_id: PCI_EXT_CAP_ID_*
 * @_data: as in MDEV_PCI_CAP_DATA()
 * @_writable: the same
 */
#define MDEV_PCI_EXT_CAP_DATA(_id, _data, _writable)			\
	{ .id = (_id), .flags = MDEV_PCI_CAP_EXT, .data = (_data),	\
	  .writable = (_writable), .size = sizeof(_data) }

/**
 * struct mdev_pci_field - an entry of the table of what migrates
 * @offset: in the structure of the state
 * @size: of an element: 1, 2, 4 or 8 bytes. In a stream it is little-endian.
 * @count: number of elements
 * @version: the first version of the state that has it. Older streams do not contain it;
 *	loading one sets it to zero.
 * @mask: the bits that an element can have. A stream with other bits set is refused.
 */
struct mdev_pci_field {
	u16 offset;
	u16 size;
	u16 count;
	u16 version;
	u64 mask;
};

/* private: all bits, but only one of a bool */
#define MDEV_PCI_MASK(_type) \
	(__builtin_types_compatible_p(_type, bool) ? 1 : U64_MAX)
/**
 * MDEV_PCI_FIELD - an integer or a bool of the state
 * @_struct: type of the state
 * @_member: the member
 */
#define MDEV_PCI_FIELD(_struct, _member)				\
	{ .offset = offsetof(_struct, _member),				\
	  .size = sizeof_field(_struct, _member), .count = 1,		\
	  .mask = MDEV_PCI_MASK(typeof(((_struct *)0)->_member)) }
/**
 * MDEV_PCI_ARRAY - an array of integers of the state
 * @_struct: type of the state
 * @_member: the member, an array
 */
#define MDEV_PCI_ARRAY(_struct, _member)				\
	{ .offset = offsetof(_struct, _member),				\
	  .size = sizeof_field(_struct, _member[0]),			\
	  .count = sizeof_field(_struct, _member) /			\
		   sizeof_field(_struct, _member[0]),			\
	  .mask = MDEV_PCI_MASK(typeof(((_struct *)0)->_member[0])) }
/**
 * MDEV_PCI_BYTES - bytes of the state, as they are
 * @_offset: in the structure of the state
 * @_count: how many
 */
#define MDEV_PCI_BYTES(_offset, _count)					\
	{ .offset = (_offset), .size = 1, .count = (_count), .mask = U8_MAX }

/**
 * struct mdev_pci_migration - how a device migrates
 * @magic: the number that a stream begins with; choose one that no other vendor has
 * @version: the version of the state that this vendor saves, from 1 on
 * @min_version: the oldest version that can be loaded; 0 is @version
 * @variant: a device can load the state of another only if this is the same
 * @state_offset: where the state is in the vendor's device. See MDEV_PCI_STATE().
 * @state_size: its size
 * @fields: all of it that is to be saved
 * @nr_fields: number of entries in @fields
 * @check: optional: can a device be in this state? @state is a copy that fits @fields. It
 *	comes from user space and can contain anything else. Returns 0 or a negative errno.
 * @quiesce: optional: stop the device. After it, the state must not change by itself. No
 *	callback of a register runs between @quiesce and @resume, except for an @access.
 * @resume: optional: undo @quiesce. If another state was loaded in between, INTA is low.
 *	Each @quiesce is followed by one @resume, but there may be a reset in between.
 *
 * Configuration space and MDEV_PCI_RAM migrate, too; all of it has to be less than 2 GiB,
 * as a stream is kept in kernel memory. The level of an interrupt does not:
 * it follows from the state, and @resume sets it by mdev_pci_set_intx().
 */
struct mdev_pci_migration {
	u32 magic;
	u16 version;
	u16 min_version;
	u16 variant;
	u16 state_offset;
	u16 state_size;
	const struct mdev_pci_field *fields;
	unsigned int nr_fields;
	int (*check)(struct mdev_pci *pci, const void *state);
	void (*quiesce)(struct mdev_pci *pci);
	void (*resume)(struct mdev_pci *pci);
};

/**
 * MDEV_PCI_STATE - where the state is, in a &struct mdev_pci_migration
 * @_struct: type of the vendor's device
 * @_member: the member that holds all that migrates, and nothing else
 */
#define MDEV_PCI_STATE(_struct, _member)				\
	.state_offset = offsetof(_struct, _member),			\
	.state_size = sizeof_field(_struct, _member)

/**
 * struct mdev_pci_ops - the vendor's callbacks for a device
 * @init: optional: prepare a new device, which is all zeroes except for the kit's part.
 *	Returns 0 or a negative errno.
 * @exit: optional: undo @init
 * @reset: optional: set all registers to their values after a reset. The kit has reset
 *	configuration space and interrupts. Called for VFIO_DEVICE_RESET, when a guest
 *	resets the function, before @open and before @close. Callbacks of registers can run
 *	at the same time. A device that can raise its interrupt concurrently, from one of
 *	these or a timer, has to set the level here as well, under the lock under which it
 *	does that: the interrupt may have been raised after the kit has reset it. The device
 *	must not use the guest's memory any more when this returns.
 * @open: optional: the device is opened. Returns 0 or a negative errno.
 * @close: optional: the device is closed: stop all that runs by itself, and wait for it
 * @config_read: optional: the guest reads @width bytes at @offset in configuration space,
 *	within four aligned bytes. Returns the value that it gets: @val or another one.
 * @config_write: optional: the guest writes @val there. Returns the value that is written
 *	instead, or @val. Only the bits change that are writable.
 * @config_written: optional: the guest has written there; see mdev_pci_read_config()
 * @ioctl: optional: an ioctl that the kit does not know; -ENOTTY if the vendor does not
 *	know it either. It can be called at any time while the device is open, also while it
 *	is stopped for migration and while a state is loaded.
 * @unpin: needed for mdev_pci_pin_pages(): stop using @pin, for good. The kit unpins the
 *	memory when this returns. It must not wait for a callback of a register, and must
 *	not free @pin.
 *
 * Every op may sleep.
 */
struct mdev_pci_ops {
	int (*init)(struct mdev_pci *pci);
	void (*exit)(struct mdev_pci *pci);
	void (*reset)(struct mdev_pci *pci);
	int (*open)(struct mdev_pci *pci);
	void (*close)(struct mdev_pci *pci);
	u32 (*config_read)(struct mdev_pci *pci, unsigned int offset,
			   unsigned int width, u32 val);
	u32 (*config_write)(struct mdev_pci *pci, unsigned int offset,
			    unsigned int width, u32 val);
	void (*config_written)(struct mdev_pci *pci, unsigned int offset,
			       unsigned int width);
	long (*ioctl)(struct mdev_pci *pci, unsigned int cmd, void __user *arg);
	void (*unpin)(struct mdev_pci *pci, struct mdev_pci_pin *pin);
};

/**
 * struct mdev_pci_desc - what a kind of device looks like
 * @vendor: PCI vendor ID
 * @device: PCI device ID
 * @subvendor: 0 is @vendor
 * @subdevice: 0 is @device
 * @class: 24 bits
 * @revision: revision ID
 * @intx: it has the pin INTA
 * @caps: the capabilities, in the order of the chain
 * @nr_caps: number of entries in @caps
 * @regions: by VFIO_PCI_BAR0_REGION_INDEX etc.; those from VFIO_PCI_NUM_REGIONS on are
 *	the vendor's. The entry of the configuration space stays empty.
 * @nr_regions: number of entries in @regions, at most 32
 * @size: of the vendor's device; see MDEV_PCI_DEVICE()
 * @offset: of its &struct mdev_pci
 * @migration: optional: how it migrates
 * @ops: the vendor's callbacks
 *
 * It must not change while the parent is registered, because the kit uses it until then.
 */
struct mdev_pci_desc {
	u16 vendor;
	u16 device;
	u16 subvendor;
	u16 subdevice;
	u32 class;
	u8 revision;
	bool intx;
	const struct mdev_pci_cap *caps;
	unsigned int nr_caps;
	const struct mdev_pci_region *regions;
	unsigned int nr_regions;
	size_t size;
	size_t offset;
	const struct mdev_pci_migration *migration;
	const struct mdev_pci_ops *ops;
};

/**
 * MDEV_PCI_DEVICE - what the kit allocates, in a &struct mdev_pci_desc
 * @_struct: type of the vendor's device
 * @_member: its &struct mdev_pci
 */
#define MDEV_PCI_DEVICE(_struct, _member)				\
	.size = sizeof(_struct), .offset = offsetof(_struct, _member)

/**
 * struct mdev_pci_type - a type: what an administrator can create
 * @name: second half of the type's directory name
 * @pretty_name: optional: contents of the file "name"; without it, @name
 * @description: optional: contents of the file "description"
 * @units: how many of the parent's units a device takes; 0 is 1
 * @desc: what a device looks like
 * @data: for the vendor
 */
struct mdev_pci_type {
	const char *name;
	const char *pretty_name;
	const char *description;
	unsigned int units;
	const struct mdev_pci_desc *desc;
	const void *data;
};

/**
 * struct mdev_pci_parent - a parent device, the vendor's handle of a registration
 * @ops: MDEV_PCI_OPS and what the vendor adds or replaces. The kit sets
 *	supported_type_groups.
 * @types: all types
 * @nr_types: number of entries in @types
 * @units: how many units the devices of all types share
 *
 * This is in the vendor's memory; the kit uses it from mdev_pci_register() until
 * mdev_pci_unregister() returns.
 */
struct mdev_pci_parent {
	struct mdev_parent_ops ops;
	const struct mdev_pci_type *types;
	unsigned int nr_types;
	unsigned int units;
	/* private: */
	struct device *dev;
	struct class *class;
	atomic_t left;
	struct mdev_pci_type_group *groups;
};

/**
 * struct mdev_pci - a device; the vendor embeds it in its own
 * @mdev: the core's part
 * @parent: the registration
 * @type: its type
 * @desc: what it looks like
 *
 * The rest is the kit's.
 */
struct mdev_pci {
	struct mdev_device *mdev;
	struct mdev_pci_parent *parent;
	const struct mdev_pci_type *type;
	const struct mdev_pci_desc *desc;
	/* private: see mdev_pci_private.h */
	atomic_t active;
	u32 decoded_regions;
	u32 direct_regions;
	spinlock_t lock;		/* configuration space and interrupts */
	u8 *config;
	u8 *config_reset;
	u8 *config_writable;
	u16 config_end;
	u16 config_size;
	u8 pm, exp, af;
	const struct mdev_pci_cap *msix;
	u16 nr_vectors[2];
	bool holds_back;
	bool line;
	bool line_masked;
	atomic_t line_wanted;
	unsigned int irq_index;
	struct eventfd_ctx *intx;
	struct eventfd_ctx *request;
	struct eventfd_ctx **vectors;
	unsigned long *vectors_pending;
	unsigned long *vectors_wanted;
	struct irq_work irq_work;
	struct mutex irq_mutex;		/* what the VMM sets: eventfds, unmask */
	struct virqfd *unmask;
	void **ram;
	struct address_space *mapping;
	struct mutex state_mutex;	/* migration */
	enum vfio_device_mig_state state;
	bool quiet;
	struct mdev_pci_stream *stream;
	spinlock_t pins_lock;		/* pins */
	struct list_head pins;
	u64 pins_begun;
};

/**
 * mdev_pci_of - the kit's part of a device
 * @mdev: the device, of a parent of mdev_pci_register()
 *
 * Context: any, between the end of mdev_pci_create() and the start of mdev_pci_remove().
 * Return: the &struct mdev_pci in the vendor's device.
 */
static inline struct mdev_pci *mdev_pci_of(struct mdev_device *mdev)
{
	return mdev_get_drvdata(mdev);
}

int mdev_pci_prepare(struct mdev_pci_parent *parent, struct device *dev);
void mdev_pci_forget(struct mdev_pci_parent *parent);
struct device *mdev_pci_add_virtual(struct mdev_pci_parent *parent,
				    const char *name);
void mdev_pci_remove_virtual(struct mdev_pci_parent *parent, struct device *dev);

/**
 * mdev_pci_register - register a parent of emulated PCI devices
 * @parent: the vendor's; &struct mdev_pci_parent says which members to set
 * @dev: the parent device
 *
 * Devices can be created before this returns.
 *
 * Context: process context, sleeps.
 * Return: 0; -EINVAL if an entry of a table is not valid, which the log names; -ENOMEM; an
 * errno of mdev_register_device().
 */
static inline int mdev_pci_register(struct mdev_pci_parent *parent,
				    struct device *dev)
{
	int ret;

	ret = mdev_pci_prepare(parent, dev);
	if (ret)
		return ret;
	ret = mdev_register_device(dev, &parent->ops);
	if (ret)
		mdev_pci_forget(parent);
	return ret;
}

/**
 * mdev_pci_unregister - undo mdev_pci_register()
 * @parent: the vendor's, which is not touched any more when this returns
 *
 * Context: as mdev_unregister_device().
 */
static inline void mdev_pci_unregister(struct mdev_pci_parent *parent)
{
	mdev_unregister_device(parent->dev);
	mdev_pci_forget(parent);
}

/**
 * mdev_pci_register_virtual - create and register a parent that is no hardware
 * @parent: the vendor's; &struct mdev_pci_parent says which members to set
 * @name: of the parent device, /sys/devices/virtual/NAME/NAME, and first half of the
 *	types' directory names; the string must stay as long as the registration
 *
 * Devices can be created before this returns.
 *
 * Context: process context, sleeps.
 * Return: 0; -EEXIST if the name is in use; an errno of mdev_pci_register().
 */
static inline int mdev_pci_register_virtual(struct mdev_pci_parent *parent,
					    const char *name)
{
	struct device *dev = mdev_pci_add_virtual(parent, name);
	int ret;

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	ret = mdev_pci_register(parent, dev);
	if (ret)
		mdev_pci_remove_virtual(parent, dev);
	return ret;
}

/**
 * mdev_pci_unregister_virtual - undo mdev_pci_register_virtual()
 * @parent: the vendor's, which is not touched any more when this returns
 *
 * Context: as mdev_unregister_device().
 */
static inline void mdev_pci_unregister_virtual(struct mdev_pci_parent *parent)
{
	struct device *dev = parent->dev;

	mdev_pci_unregister(parent);
	mdev_pci_remove_virtual(parent, dev);
}

/**
 * module_mdev_pci_virtual - init and exit of a module whose parent is no hardware
 * @_parent: the &struct mdev_pci_parent
 * @_name: for mdev_pci_register_virtual()
 */
#define module_mdev_pci_virtual(_parent, _name)				\
static int __init _parent##_init(void)					\
{									\
	return mdev_pci_register_virtual(&(_parent), _name);		\
}									\
module_init(_parent##_init);						\
static void __exit _parent##_exit(void)					\
{									\
	mdev_pci_unregister_virtual(&(_parent));			\
}									\
module_exit(_parent##_exit)

/* configuration space */
u32 mdev_pci_read_config(struct mdev_pci *pci, unsigned int offset,
			 unsigned int width);
void mdev_pci_set_config(struct mdev_pci *pci, unsigned int offset,
			 unsigned int width, u32 val);
unsigned int mdev_pci_find_capability(struct mdev_pci *pci, u8 id);

/**
 * mdev_pci_command - the value of the command register
 * @pci: the device
 *
 * Context: any.
 * Return: PCI_COMMAND_MASTER etc.
 */
static inline u16 mdev_pci_command(struct mdev_pci *pci)
{
	return mdev_pci_read_config(pci, PCI_COMMAND, 2);
}

/* regions */
void *mdev_pci_ram(struct mdev_pci *pci, unsigned int index);
int mdev_pci_mmap_ram(struct mdev_pci *pci, unsigned int index, u64 offset,
		      struct vm_area_struct *vma);
void mdev_pci_revoke(struct mdev_pci *pci, unsigned int index);

/* interrupts */
void mdev_pci_set_intx(struct mdev_pci *pci, bool level);
void mdev_pci_signal(struct mdev_pci *pci, unsigned int vector);
void mdev_pci_set_irq(struct mdev_pci *pci, bool level);

/* reset */
int mdev_pci_reset(struct mdev_pci *pci);

/* most bytes that one pin can have: guests may choose the length */
#define MDEV_PCI_PIN_MAX	SZ_1G

/**
 * struct mdev_pci_pin - pinned memory of the guest; the vendor embeds it
 * @iova: its address for the device
 * @length: number of bytes
 * @pages: the pages, from that of @iova on
 * @npages: how many
 *
 * The rest is the kit's.
 */
struct mdev_pci_pin {
	u64 iova;
	size_t length;
	struct page **pages;
	unsigned int npages;
	/* private: */
	struct list_head next;
	u64 number;
	unsigned int pinned;
	bool lost;
	bool busy;
};

/* memory of the guest */
int mdev_pci_dma_rw(struct mdev_pci *pci, u64 iova, void *data, size_t len,
		    bool write);
int mdev_pci_pin_pages(struct mdev_pci *pci, struct mdev_pci_pin *pin, u64 iova,
		       size_t length, bool write);
void mdev_pci_unpin_pages(struct mdev_pci *pci, struct mdev_pci_pin *pin);

/**
 * mdev_pci_dma_read - copy from the guest's memory as the device would by DMA
 * @pci: the device
 * @iova: the address of the memory for the device
 * @data: kernel memory
 * @len: number of bytes
 *
 * Context: as mdev_pci_dma_rw().
 * Return: as mdev_pci_dma_rw()
 */
static inline int mdev_pci_dma_read(struct mdev_pci *pci, u64 iova, void *data,
				    size_t len)
{
	return mdev_pci_dma_rw(pci, iova, data, len, false);
}

/**
 * mdev_pci_dma_write - copy to the guest's memory as the device would by DMA
 * @pci: the device
 * @iova: the address of the memory for the device
 * @data: kernel memory
 * @len: number of bytes
 *
 * Context: as mdev_pci_dma_rw().
 * Return: as mdev_pci_dma_rw()
 */
static inline int mdev_pci_dma_write(struct mdev_pci *pci, u64 iova,
				     const void *data, size_t len)
{
	return mdev_pci_dma_rw(pci, iova, (void *)data, len, true);
}

/* the ops; each can be replaced by one that calls it */
int mdev_pci_create(struct kobject *kobj, struct mdev_device *mdev);
int mdev_pci_remove(struct mdev_device *mdev);
int mdev_pci_open(struct mdev_device *mdev);
void mdev_pci_release(struct mdev_device *mdev);
ssize_t mdev_pci_read(struct mdev_device *mdev, char __user *buf, size_t count,
		      loff_t *ppos);
ssize_t mdev_pci_write(struct mdev_device *mdev, const char __user *buf,
		       size_t count, loff_t *ppos);
long mdev_pci_ioctl(struct mdev_device *mdev, unsigned int cmd,
		    unsigned long arg);
int mdev_pci_mmap(struct mdev_device *mdev, struct vm_area_struct *vma);
void mdev_pci_request(struct mdev_device *mdev, unsigned int count);
int mdev_pci_get_region_info_caps(struct mdev_device *mdev,
				  struct vfio_region_info *info,
				  struct vfio_info_cap *caps);
void mdev_pci_dma_unmap(struct mdev_device *mdev, u64 iova, u64 length);
struct file *
mdev_pci_migration_set_state(struct mdev_device *mdev,
			     enum vfio_device_mig_state new_state);
int mdev_pci_migration_get_state(struct mdev_device *mdev,
				 enum vfio_device_mig_state *state);
int mdev_pci_migration_get_data_size(struct mdev_device *mdev,
				     unsigned long *size);

/**
 * MDEV_PCI_OPS - the kit's ops, for mdev_pci_parent.ops
 *
 * Set .request = mdev_pci_request as well if devices can be unplugged while they are open.
 */
#define MDEV_PCI_OPS						\
	.owner			= THIS_MODULE,			\
	.create			= mdev_pci_create,		\
	.remove			= mdev_pci_remove,		\
	.open			= mdev_pci_open,		\
	.release		= mdev_pci_release,		\
	.read			= mdev_pci_read,		\
	.write			= mdev_pci_write,		\
	.ioctl			= mdev_pci_ioctl,		\
	.mmap			= mdev_pci_mmap,		\
	.get_region_info_caps	= mdev_pci_get_region_info_caps

/* private: STOP_COPY, P2P and PRE_COPY, which the bridge hides from older VFIOs */
#define MDEV_PCI_MIGRATION_FLAGS	(BIT(0) | BIT(1) | BIT(2))
/* public: */

/**
 * MDEV_PCI_MIGRATION_OPS - the kit's ops for migration; all types need
 * mdev_pci_desc.migration
 */
#define MDEV_PCI_MIGRATION_OPS					\
	.migration_flags	= MDEV_PCI_MIGRATION_FLAGS,	\
	.migration_set_state	= mdev_pci_migration_set_state,	\
	.migration_get_state	= mdev_pci_migration_get_state,	\
	.migration_get_data_size = mdev_pci_migration_get_data_size

/**
 * MDEV_PCI_DMA_OPS - the kit's ops for a vendor that calls mdev_pci_pin_pages(); all types
 * need &mdev_pci_ops.unpin
 */
#define MDEV_PCI_DMA_OPS					\
	.dma_unmap		= mdev_pci_dma_unmap

#endif /* MDEV_PCI_H */
