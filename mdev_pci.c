// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kit for emulated PCI devices: parents, their types, and the life of a device.
 */
#include <linux/device.h>
#include <linux/kdev_t.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>

#include "mdev_pci_private.h"

/* ---- Types ---- */

/**
 * struct mdev_pci_type_group - a type, as the core knows it
 * @group: in supported_type_groups
 * @parent: the registration
 * @type: the vendor's
 */
struct mdev_pci_type_group {
	struct attribute_group group;
	struct mdev_pci_parent *parent;
	const struct mdev_pci_type *type;
};

static const struct mdev_pci_type_group *mdev_pci_group(struct kobject *kobj)
{
	return container_of(mdev_type_group(kobj), struct mdev_pci_type_group,
			    group);
}

static unsigned int mdev_pci_units(const struct mdev_pci_type *type)
{
	return type->units ?: 1;
}

static ssize_t name_show(struct kobject *kobj, struct device *dev, char *buf)
{
	const struct mdev_pci_type *type = mdev_pci_group(kobj)->type;

	return sysfs_emit(buf, "%s\n", type->pretty_name ?: type->name);
}
static MDEV_TYPE_ATTR_RO(name);

static ssize_t description_show(struct kobject *kobj, struct device *dev,
				char *buf)
{
	return sysfs_emit(buf, "%s\n", mdev_pci_group(kobj)->type->description);
}
static MDEV_TYPE_ATTR_RO(description);

static ssize_t device_api_show(struct kobject *kobj, struct device *dev,
			       char *buf)
{
	return sysfs_emit(buf, "%s\n", VFIO_DEVICE_API_PCI_STRING);
}
static MDEV_TYPE_ATTR_RO(device_api);

static ssize_t available_instances_show(struct kobject *kobj,
					struct device *dev, char *buf)
{
	const struct mdev_pci_type_group *group = mdev_pci_group(kobj);
	unsigned int left = atomic_read(&group->parent->left);

	return sysfs_emit(buf, "%u\n", left / mdev_pci_units(group->type));
}
static MDEV_TYPE_ATTR_RO(available_instances);

static struct attribute *mdev_pci_type_attrs[] = {
	&mdev_type_attr_name.attr,
	&mdev_type_attr_description.attr,
	&mdev_type_attr_device_api.attr,
	&mdev_type_attr_available_instances.attr,
	NULL
};

static umode_t mdev_pci_type_attr_is_visible(struct kobject *kobj,
					     struct attribute *attr, int n)
{
	if (attr == &mdev_type_attr_description.attr &&
	    !mdev_pci_group(kobj)->type->description)
		return 0;
	return attr->mode;
}

static bool mdev_pci_take_units(struct mdev_pci_parent *parent,
				unsigned int units)
{
	int left = atomic_read(&parent->left);

	do {
		if (left < units)
			return false;
	} while (!atomic_try_cmpxchg(&parent->left, &left, left - units));
	return true;
}

static void mdev_pci_give_units(struct mdev_pci_parent *parent,
				unsigned int units)
{
	atomic_add(units, &parent->left);
}

/* ---- Parents ---- */

static int mdev_pci_check_type(struct device *dev,
			       const struct mdev_pci_parent *parent,
			       const struct mdev_pci_type *type)
{
	int ret;

	if (!type->name || !type->desc || mdev_pci_units(type) > INT_MAX) {
		dev_err(dev, "PCI tables: a type without name or desc\n");
		return -EINVAL;
	}
	if (parent->ops.migration_flags && !type->desc->migration) {
		dev_err(dev, "PCI tables: type %s cannot migrate\n", type->name);
		return -EINVAL;
	}
	ret = mdev_pci_check_desc(dev, type->desc);
	if (!ret && parent->ops.dma_unmap == mdev_pci_dma_unmap &&
	    !type->desc->ops->unpin) {
		dev_err(dev, "PCI tables: type %s has no unpin\n", type->name);
		return -EINVAL;
	}
	return ret;
}

static int mdev_pci_alloc_groups(struct mdev_pci_parent *parent)
{
	struct attribute_group **groups;
	unsigned int i;

	groups = kcalloc(parent->nr_types + 1, sizeof(*groups), GFP_KERNEL);
	parent->groups = kcalloc(parent->nr_types, sizeof(*parent->groups),
				 GFP_KERNEL);
	if (!groups || !parent->groups) {
		kfree(groups);
		kfree(parent->groups);
		return -ENOMEM;
	}
	for (i = 0; i < parent->nr_types; i++) {
		parent->groups[i] = (struct mdev_pci_type_group) {
			.group.name	= parent->types[i].name,
			.group.attrs	= mdev_pci_type_attrs,
			.group.is_visible = mdev_pci_type_attr_is_visible,
			.parent		= parent,
			.type		= &parent->types[i],
		};
		groups[i] = &parent->groups[i].group;
	}
	parent->ops.supported_type_groups = groups;
	return 0;
}

/**
 * mdev_pci_prepare - check the tables of a parent, and set up its types
 * @parent: the vendor's; &struct mdev_pci_parent says which members to set
 * @dev: the parent device
 *
 * For mdev_pci_register(). That is inline, because a vendor that is built in calls another
 * mdev_register_device() than a module does.
 *
 * Context: process context, sleeps.
 * Return: 0; -EINVAL if an entry of a table is not valid, which the log names; -ENOMEM.
 */
int mdev_pci_prepare(struct mdev_pci_parent *parent, struct device *dev)
{
	unsigned int i;
	int ret;

	if (!dev || !parent->nr_types || parent->units > INT_MAX)
		return -EINVAL;
	for (i = 0; i < parent->nr_types; i++) {
		ret = mdev_pci_check_type(dev, parent, &parent->types[i]);
		if (ret)
			return ret;
	}
	ret = mdev_pci_alloc_groups(parent);
	if (ret)
		return ret;
	parent->dev = dev;
	atomic_set(&parent->left, parent->units);
	return 0;
}
EXPORT_SYMBOL_GPL(mdev_pci_prepare);

/**
 * mdev_pci_forget - undo mdev_pci_prepare()
 * @parent: the vendor's, which is not registered
 *
 * Context: process context.
 */
void mdev_pci_forget(struct mdev_pci_parent *parent)
{
	kfree(parent->ops.supported_type_groups);
	parent->ops.supported_type_groups = NULL;
	kfree(parent->groups);
	parent->groups = NULL;
}
EXPORT_SYMBOL_GPL(mdev_pci_forget);

/**
 * mdev_pci_add_virtual - create a parent device that is no hardware
 * @parent: the vendor's
 * @name: as mdev_pci_register_virtual() has it
 *
 * For mdev_pci_register_virtual().
 *
 * Context: process context, sleeps.
 * Return: the device, or an error pointer.
 */
struct device *mdev_pci_add_virtual(struct mdev_pci_parent *parent,
				    const char *name)
{
	struct device *dev;

	/* without a driver, types are named after the class */
	parent->class = class_create(name);
	if (IS_ERR(parent->class))
		return ERR_CAST(parent->class);
	dev = device_create(parent->class, NULL, MKDEV(0, 0), NULL, "%s", name);
	if (IS_ERR(dev))
		class_destroy(parent->class);
	return dev;
}
EXPORT_SYMBOL_GPL(mdev_pci_add_virtual);

/**
 * mdev_pci_remove_virtual - undo mdev_pci_add_virtual()
 * @parent: the vendor's, which is not registered
 * @dev: the device
 *
 * Context: process context, sleeps.
 */
void mdev_pci_remove_virtual(struct mdev_pci_parent *parent, struct device *dev)
{
	device_unregister(dev);
	class_destroy(parent->class);
}
EXPORT_SYMBOL_GPL(mdev_pci_remove_virtual);

/* ---- The life of a device ---- */

static int mdev_pci_init(struct mdev_pci *pci)
{
	int ret;

	mutex_init(&pci->state_mutex);
	pci->state = VFIO_DEVICE_STATE_RUNNING;
	mdev_pci_dma_init(pci);
	ret = mdev_pci_config_init(pci);
	if (ret)
		return ret;
	pci->direct_regions = mdev_pci_direct_regions(pci);
	ret = mdev_pci_irq_init(pci);
	if (ret)
		goto err_config;
	if (pci->desc->ops->init) {
		ret = pci->desc->ops->init(pci);
		if (ret)
			goto err_irq;
	}
	return 0;

err_irq:
	mdev_pci_irq_exit(pci);
err_config:
	mdev_pci_config_exit(pci);
	return ret;
}

/**
 * mdev_pci_create - the op create
 * @kobj: as the op says
 * @mdev: as the op says
 *
 * Allocates the vendor's device and calls &mdev_pci_ops.init.
 *
 * Context: process context, sleeps.
 * Return: 0; -EUSERS if the parent has no units left; -ENOMEM; an errno of the vendor's.
 */
int mdev_pci_create(struct kobject *kobj, struct mdev_device *mdev)
{
	const struct mdev_pci_type_group *group = mdev_pci_group(kobj);
	const struct mdev_pci_desc *desc = group->type->desc;
	unsigned int units = mdev_pci_units(group->type);
	struct mdev_pci *pci;
	void *device;
	int ret;

	if (!mdev_pci_take_units(group->parent, units))
		return -EUSERS;
	device = kzalloc(desc->size, GFP_KERNEL);
	if (!device) {
		ret = -ENOMEM;
		goto err_units;
	}
	pci = device + desc->offset;
	pci->mdev = mdev;
	pci->parent = group->parent;
	pci->type = group->type;
	pci->desc = desc;
	ret = mdev_pci_init(pci);
	if (ret)
		goto err_free;
	/* last: the device's files appear after we return */
	mdev_set_drvdata(mdev, pci);
	return 0;

err_free:
	kfree(device);
err_units:
	mdev_pci_give_units(group->parent, units);
	return ret;
}
EXPORT_SYMBOL_GPL(mdev_pci_create);

/**
 * mdev_pci_remove - the op remove
 * @mdev: as the op says
 *
 * Calls &mdev_pci_ops.exit and frees the vendor's device.
 *
 * Context: process context, sleeps.
 * Return: 0
 */
int mdev_pci_remove(struct mdev_device *mdev)
{
	struct mdev_pci *pci = mdev_pci_of(mdev);

	if (pci->desc->ops->exit)
		pci->desc->ops->exit(pci);
	mdev_pci_irq_exit(pci);
	mdev_pci_config_exit(pci);
	mutex_destroy(&pci->state_mutex);
	mdev_pci_give_units(pci->parent, mdev_pci_units(pci->type));
	kfree((void *)pci - pci->desc->offset);
	return 0;
}
EXPORT_SYMBOL_GPL(mdev_pci_remove);

static void mdev_pci_reset_all(struct mdev_pci *pci)
{
	mutex_lock(&pci->state_mutex);
	mdev_pci_reset_locked(pci);
	mutex_unlock(&pci->state_mutex);
}

/**
 * mdev_pci_open - the op open
 * @mdev: as the op says
 *
 * Resets the device and calls &mdev_pci_ops.open.
 *
 * Context: process context, sleeps.
 * Return: 0; -ENOMEM; an errno of the vendor's.
 */
int mdev_pci_open(struct mdev_device *mdev)
{
	struct mdev_pci *pci = mdev_pci_of(mdev);
	int ret;

	mdev_pci_reset_all(pci);
	ret = mdev_pci_ram_open(pci);
	if (ret)
		return ret;
	if (pci->desc->ops->open) {
		ret = pci->desc->ops->open(pci);
		if (ret)
			mdev_pci_ram_release(pci);
	}
	return ret;
}
EXPORT_SYMBOL_GPL(mdev_pci_open);

/**
 * mdev_pci_release - the op release
 * @mdev: as the op says
 *
 * Resets the device, so that the next opener finds nothing of this one's, and calls
 * &mdev_pci_ops.close.
 *
 * Context: process context, sleeps.
 */
void mdev_pci_release(struct mdev_device *mdev)
{
	struct mdev_pci *pci = mdev_pci_of(mdev);

	mdev_pci_reset_all(pci);
	if (pci->desc->ops->close)
		pci->desc->ops->close(pci);
	mdev_pci_unpin_all(pci);
	mdev_pci_irq_release(pci);
	mdev_pci_ram_release(pci);
}
EXPORT_SYMBOL_GPL(mdev_pci_release);

/**
 * mdev_pci_request - the op request
 * @mdev: as the op says
 * @count: as the op says
 *
 * Signals the request interrupt, at which VMMs unplug the device. Having this op tells the
 * core that devices of the parent can be unplugged while they are open.
 *
 * Context: process context, sleeps.
 */
void mdev_pci_request(struct mdev_device *mdev, unsigned int count)
{
	/* fails if the VMM has set no eventfd for this, or has closed the device */
	if (mdev_pci_signal_request(mdev_pci_of(mdev)) && !count)
		dev_notice(mdev_dev(mdev), "VMM does not listen for unplug requests\n");
}
EXPORT_SYMBOL_GPL(mdev_pci_request);

/* ---- Ioctls ---- */

static long mdev_pci_get_info(struct mdev_pci *pci, void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;

	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = max_t(u32, pci->desc->nr_regions,
				 VFIO_PCI_NUM_REGIONS);
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/**
 * mdev_pci_ioctl - the op ioctl
 * @mdev: as the op says
 * @cmd: as the op says
 * @arg: as the op says
 *
 * Context: process context, sleeps.
 * Return: 0, or a positive number of the vendor's; -ENOTTY if neither the kit nor the vendor
 * knows @cmd; -EINVAL if the device has no such interrupt or cannot do this with it; -EBADF
 * if a file is not an eventfd; -EFAULT; -ENOMEM; -EINTR; an errno of the vendor's.
 */
long mdev_pci_ioctl(struct mdev_device *mdev, unsigned int cmd,
		    unsigned long arg)
{
	struct mdev_pci *pci = mdev_pci_of(mdev);
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return mdev_pci_get_info(pci, uarg);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return mdev_pci_get_irq_info(pci, uarg);
	case VFIO_DEVICE_SET_IRQS:
		return mdev_pci_set_irqs(pci, uarg);
	case VFIO_DEVICE_RESET:
		return mdev_pci_reset(pci);
	}
	if (!pci->desc->ops->ioctl)
		return -ENOTTY;
	return pci->desc->ops->ioctl(pci, cmd, uarg);
}
EXPORT_SYMBOL_GPL(mdev_pci_ioctl);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Kit for vendor drivers of emulated PCI devices");
