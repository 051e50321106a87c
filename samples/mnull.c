// SPDX-License-Identifier: GPL-2.0-only
/*
 * mnull: the smallest possible vendor, for tests and benchmarks.
 *
 * It has no hardware and does nothing, through either door. Module parameters set
 * how many parents, types and instances it offers, and which of its callbacks fail
 * or take long. Each parent has a file "registered", which unregisters it (0) and
 * registers it again (1). When it is unregistered, the memory that mdev was given
 * is poisoned and freed.
 */
#include <linux/delay.h>
#include <linux/mdev.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/poison.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#define MNULL_REGION_SIZE	PAGE_SIZE
/* as in vfio-pci: the number of the region is in the bits above the offset */
#define MNULL_OFFSET_MASK	GENMASK_ULL(39, 0)

static char *door = "classic";
module_param(door, charp, 0444);
MODULE_PARM_DESC(door, "classic: mdev_register_device(), or modern: mdev_register_parent()");

static unsigned int parents = 1;
module_param(parents, uint, 0444);
MODULE_PARM_DESC(parents, "number of parent devices");

static unsigned int types = 1;
module_param(types, uint, 0444);
MODULE_PARM_DESC(types, "number of types of each parent");

static unsigned int instances = 16;
module_param(instances, uint, 0444);
MODULE_PARM_DESC(instances, "number of devices of each parent");

static bool vendor_counts;
module_param(vendor_counts, bool, 0444);
MODULE_PARM_DESC(vendor_counts, "modern door: count instances here, not in the core");

static bool request;
module_param(request, bool, 0444);
MODULE_PARM_DESC(request, "classic door: have a request op, that is, support hot-unplug");

static bool region_op;
module_param(region_op, bool, 0444);
MODULE_PARM_DESC(region_op, "classic door: describe the region in kernel memory, with a capability");

static char *omit = "";
module_param(omit, charp, 0644);
MODULE_PARM_DESC(omit, "what to omit when registering: ops, create, remove, types, name, driver, or unique (two types get one name)");

/* errnos, as positive numbers; a callback returns the number with the sign changed */
static int fail_create, fail_remove, fail_open, fail_read, fail_write;
static int fail_ioctl, fail_mmap;
module_param(fail_create, int, 0644);
MODULE_PARM_DESC(fail_create, "errno for create or probe, 0: succeed");
module_param(fail_remove, int, 0644);
MODULE_PARM_DESC(fail_remove, "errno for remove, classic door");
module_param(fail_open, int, 0644);
MODULE_PARM_DESC(fail_open, "errno for open");
module_param(fail_read, int, 0644);
MODULE_PARM_DESC(fail_read, "errno for read");
module_param(fail_write, int, 0644);
MODULE_PARM_DESC(fail_write, "errno for write");
module_param(fail_ioctl, int, 0644);
MODULE_PARM_DESC(fail_ioctl, "errno for ioctl");
module_param(fail_mmap, int, 0644);
MODULE_PARM_DESC(fail_mmap, "errno for mmap");

static unsigned int delay_create, delay_remove;
module_param(delay_create, uint, 0644);
MODULE_PARM_DESC(delay_create, "milliseconds that create or probe take");
module_param(delay_remove, uint, 0644);
MODULE_PARM_DESC(delay_remove, "milliseconds that remove takes");

/**
 * struct mnull_type - a type, as either door wants it
 * @name: the second half of its directory's name
 * @group: classic door
 * @type: modern door
 */
struct mnull_type {
	char name[12];
	struct attribute_group group;
	struct mdev_type type;
};

/**
 * struct mnull_reg - all that mdev is given; gone when unregistered
 * @ops: classic door
 * @parent: modern door
 * @groups: classic door: the types
 * @ptypes: modern door: the types
 * @types: the types themselves
 */
struct mnull_reg {
	struct mdev_parent_ops ops;
	struct mdev_parent parent;
	struct attribute_group **groups;
	struct mdev_type **ptypes;
	struct mnull_type types[];
};

/**
 * struct mnull_parent - a parent device
 * @dev: the device
 * @lock: protects @reg and @gone
 * @reg: what is registered, or NULL
 * @gone: the module is being unloaded, nothing can be registered any more
 * @left: instances left
 * @devices_lock: protects @devices
 * @devices: those of the classic door
 */
struct mnull_parent {
	struct device *dev;
	struct mutex lock;	/* protects reg and gone */
	struct mnull_reg *reg;
	bool gone;
	atomic_t left;
	spinlock_t devices_lock;	/* protects devices */
	struct list_head devices;
};

/**
 * struct mnull_dev - a mediated device of the classic door
 * @next: in the parent's devices
 * @page: the region, while the device is open
 * @opens: how often it was opened
 * @requests: how often the request op was called
 */
struct mnull_dev {
	struct list_head next;
	struct page *page;
	atomic_t opens;
	atomic_t requests;
};

static struct mnull_parent *mnull_parents;

static bool mnull_modern(void)
{
	return !strcmp(door, "modern");
}

static struct mnull_parent *mnull_parent_of(struct device *dev)
{
	return dev_get_drvdata(dev);
}

static int mnull_claim(struct device *parent)
{
	msleep(delay_create);
	if (fail_create)
		return -fail_create;
	return atomic_dec_if_positive(&mnull_parent_of(parent)->left) < 0 ?
		-EUSERS : 0;
}

static void mnull_unclaim(struct device *parent)
{
	atomic_inc(&mnull_parent_of(parent)->left);
}

/* the classic door */

static ssize_t name_show(struct kobject *kobj, struct device *dev, char *buf)
{
	return sysfs_emit(buf, "%s\n", kobject_name(kobj));
}

static MDEV_TYPE_ATTR_RO(name);

static ssize_t device_api_show(struct kobject *kobj, struct device *dev,
			       char *buf)
{
	return sysfs_emit(buf, "vfio-pci\n");
}

static MDEV_TYPE_ATTR_RO(device_api);

static ssize_t available_instances_show(struct kobject *kobj,
					struct device *dev, char *buf)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&mnull_parent_of(dev)->left));
}

static MDEV_TYPE_ATTR_RO(available_instances);

static struct attribute *mnull_type_attrs[] = {
	&mdev_type_attr_name.attr,
	&mdev_type_attr_device_api.attr,
	&mdev_type_attr_available_instances.attr,
	NULL
};

static struct mnull_dev *mnull_dev_of(struct device *dev)
{
	return mdev_get_drvdata(mdev_from_dev(dev));
}

static ssize_t opens_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&mnull_dev_of(dev)->opens));
}

static DEVICE_ATTR_RO(opens);

static ssize_t requests_show(struct device *dev, struct device_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "%d\n",
			  atomic_read(&mnull_dev_of(dev)->requests));
}

static DEVICE_ATTR_RO(requests);

static struct attribute *mnull_dev_attrs[] = {
	&dev_attr_opens.attr,
	&dev_attr_requests.attr,
	NULL
};

static const struct attribute_group mnull_dev_group = {
	.name	= "vendor",
	.attrs	= mnull_dev_attrs,
};

static const struct attribute_group *mnull_dev_groups[] = {
	&mnull_dev_group,
	NULL
};

static int mnull_create(struct kobject *kobj, struct mdev_device *mdev)
{
	struct mnull_parent *mp = mnull_parent_of(mdev_parent_dev(mdev));
	struct mnull_dev *md;
	int ret;

	md = kzalloc_obj(*md);
	if (!md)
		return -ENOMEM;

	ret = mnull_claim(mdev_parent_dev(mdev));
	if (ret) {
		kfree(md);
		return ret;
	}
	spin_lock(&mp->devices_lock);
	list_add(&md->next, &mp->devices);
	spin_unlock(&mp->devices_lock);
	mdev_set_drvdata(mdev, md);
	return 0;
}

static int mnull_remove(struct mdev_device *mdev)
{
	struct mnull_parent *mp = mnull_parent_of(mdev_parent_dev(mdev));
	struct mnull_dev *md = mdev_get_drvdata(mdev);

	msleep(delay_remove);
	if (fail_remove)
		return -fail_remove;

	spin_lock(&mp->devices_lock);
	list_del(&md->next);
	spin_unlock(&mp->devices_lock);
	kfree(md);
	mnull_unclaim(mdev_parent_dev(mdev));
	return 0;
}

static int mnull_open(struct mdev_device *mdev)
{
	struct mnull_dev *md = mdev_get_drvdata(mdev);

	if (fail_open)
		return -fail_open;

	md->page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!md->page)
		return -ENOMEM;
	atomic_inc(&md->opens);
	return 0;
}

static void mnull_release(struct mdev_device *mdev)
{
	struct mnull_dev *md = mdev_get_drvdata(mdev);

	/* mappings hold references of their own */
	put_page(md->page);
	md->page = NULL;
}

/* How much of @count at @pos is in region 0. */
static ssize_t mnull_clip(loff_t pos, size_t count)
{
	if (pos < 0 || pos >= MNULL_REGION_SIZE)
		return -EINVAL;
	return min_t(size_t, count, MNULL_REGION_SIZE - pos);
}

static ssize_t mnull_read(struct mdev_device *mdev, char __user *buf,
			  size_t count, loff_t *ppos)
{
	ssize_t ret = mnull_clip(*ppos, count);

	if (fail_read)
		return -fail_read;
	if (ret < 0)
		return ret;
	if (clear_user(buf, ret))
		return -EFAULT;
	*ppos += ret;
	return ret;
}

static ssize_t mnull_write(struct mdev_device *mdev, const char __user *buf,
			   size_t count, loff_t *ppos)
{
	ssize_t ret = mnull_clip(*ppos, count);

	if (fail_write)
		return -fail_write;
	if (ret > 0)
		*ppos += ret;
	return ret;
}

static long mnull_get_info(void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;

	info.flags = VFIO_DEVICE_FLAGS_PCI;
	info.num_regions = 1;
	info.num_irqs = 0;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static long mnull_get_region_info(void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_region_info, offset);
	struct vfio_region_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index)
		return -EINVAL;

	info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
		     VFIO_REGION_INFO_FLAG_MMAP;
	info.cap_offset = 0;
	info.size = MNULL_REGION_SIZE;
	info.offset = 0;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static long mnull_ioctl(struct mdev_device *mdev, unsigned int cmd,
			unsigned long arg)
{
	if (fail_ioctl)
		return -fail_ioctl;

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return mnull_get_info((void __user *)arg);
	case VFIO_DEVICE_GET_REGION_INFO:
		return mnull_get_region_info((void __user *)arg);
	case VFIO_DEVICE_RESET:
		return 0;
	}
	return -ENOTTY;
}

static int mnull_get_region_info_caps(struct mdev_device *mdev,
				      struct vfio_region_info *info,
				      struct vfio_info_cap *caps)
{
	struct {
		struct vfio_region_info_cap_sparse_mmap sparse;
		struct vfio_region_sparse_mmap_area area;
	} cap = {
		.sparse.header.id	= VFIO_REGION_INFO_CAP_SPARSE_MMAP,
		.sparse.header.version	= 1,
		.sparse.nr_areas	= 1,
		.area.size		= MNULL_REGION_SIZE,
	};

	if (fail_ioctl)
		return -fail_ioctl;
	if (info->index)
		return -EINVAL;

	info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
		      VFIO_REGION_INFO_FLAG_MMAP;
	info->size = MNULL_REGION_SIZE;
	/* VFIO may be a module, and this not */
	if (!IS_REACHABLE(CONFIG_VFIO))
		return 0;
	return vfio_info_add_capability(caps, &cap.sparse.header, sizeof(cap));
}

static int mnull_mmap(struct mdev_device *mdev, struct vm_area_struct *vma)
{
	struct mnull_dev *md = mdev_get_drvdata(mdev);

	if (fail_mmap)
		return -fail_mmap;
	if (vma->vm_pgoff || vma->vm_end - vma->vm_start > MNULL_REGION_SIZE)
		return -EINVAL;
	return vm_insert_page(vma, vma->vm_start, md->page);
}

static void mnull_request(struct mdev_device *mdev, unsigned int count)
{
	struct mnull_dev *md = mdev_get_drvdata(mdev);

	atomic_inc(&md->requests);
}

static const struct mdev_parent_ops mnull_ops = {
	.owner			= THIS_MODULE,
	.mdev_attr_groups	= mnull_dev_groups,
	.create			= mnull_create,
	.remove			= mnull_remove,
	.open			= mnull_open,
	.release		= mnull_release,
	.read			= mnull_read,
	.write			= mnull_write,
	.ioctl			= mnull_ioctl,
	.mmap			= mnull_mmap,
};

/* the modern door */

static int mnull_probe(struct mdev_device *mdev)
{
	return mnull_claim(mdev->type->parent->dev);
}

static void mnull_driver_remove(struct mdev_device *mdev)
{
	msleep(delay_remove);
	mnull_unclaim(mdev->type->parent->dev);
}

static unsigned int mnull_get_available(struct mdev_type *type)
{
	return atomic_read(&mnull_parent_of(type->parent->dev)->left);
}

static ssize_t mnull_show_description(struct mdev_type *type, char *buf)
{
	return sysfs_emit(buf, "Null device, does nothing\n");
}

static struct mdev_driver mnull_driver = {
	.device_api		= "vfio-pci",
	.probe			= mnull_probe,
	.remove			= mnull_driver_remove,
	.show_description	= mnull_show_description,
	.driver = {
		.name		= "mnull",
		.owner		= THIS_MODULE,
		.mod_name	= KBUILD_MODNAME,
	},
};

/* registration */

static void mnull_reg_free(struct mnull_reg *reg)
{
	if (!reg)
		return;
	kfree(reg->groups);
	kfree(reg->ptypes);
	/* mdev must not look at any of this any more */
	memset(reg, POISON_FREE, struct_size(reg, types, types));
	kfree(reg);
}

static struct mnull_reg *mnull_reg_alloc(const char *omitted)
{
	bool no_names = sysfs_streq(omitted, "name");
	bool not_unique = sysfs_streq(omitted, "unique");
	struct mnull_reg *reg;
	unsigned int i;

	reg = kzalloc(struct_size(reg, types, types), GFP_KERNEL);
	if (!reg)
		return NULL;
	reg->groups = kcalloc(types + 1, sizeof(*reg->groups), GFP_KERNEL);
	reg->ptypes = kcalloc(types + 1, sizeof(*reg->ptypes), GFP_KERNEL);
	if (!reg->groups || !reg->ptypes) {
		mnull_reg_free(reg);
		return NULL;
	}

	for (i = 0; i < types; i++) {
		struct mnull_type *type = &reg->types[i];

		snprintf(type->name, sizeof(type->name), "%u",
			 not_unique ? 1 : i + 1);
		type->group.name = no_names ? NULL : type->name;
		type->group.attrs = mnull_type_attrs;
		type->type.sysfs_name = type->group.name;
		reg->groups[i] = &type->group;
		reg->ptypes[i] = &type->type;
	}

	reg->ops = mnull_ops;
	if (!sysfs_streq(omitted, "types"))
		reg->ops.supported_type_groups = reg->groups;
	if (request)
		reg->ops.request = mnull_request;
	if (region_op)
		reg->ops.get_region_info_caps = mnull_get_region_info_caps;
	if (sysfs_streq(omitted, "create"))
		reg->ops.create = NULL;
	if (sysfs_streq(omitted, "remove"))
		reg->ops.remove = NULL;
	return reg;
}

static int mnull_mdev_register(struct mnull_parent *mp, struct mnull_reg *reg,
			       const char *omitted)
{
	bool no_types = sysfs_streq(omitted, "types");

	if (!mnull_modern())
		return mdev_register_device(mp->dev,
					    sysfs_streq(omitted, "ops") ?
					    NULL : &reg->ops);

	return mdev_register_parent(&reg->parent, mp->dev,
				    sysfs_streq(omitted, "driver") ?
				    NULL : &mnull_driver,
				    no_types ? NULL : reg->ptypes, types);
}

/* Registers even what is registered: it is for mdev to refuse that. */
static int mnull_register(struct mnull_parent *mp)
{
	struct mnull_reg *reg;
	char omitted[16];
	int ret;

	lockdep_assert_held(&mp->lock);

	if (mp->gone)
		return -ENODEV;

	kernel_param_lock(THIS_MODULE);
	strscpy(omitted, omit, sizeof(omitted));
	kernel_param_unlock(THIS_MODULE);

	reg = mnull_reg_alloc(omitted);
	if (!reg)
		return -ENOMEM;

	ret = mnull_mdev_register(mp, reg, omitted);
	if (ret)
		mnull_reg_free(reg);
	else
		mp->reg = reg;
	return ret;
}

static void mnull_unregister(struct mnull_parent *mp)
{
	struct mnull_dev *md, *next;

	lockdep_assert_held(&mp->lock);

	if (mnull_modern() && mp->reg)
		mdev_unregister_parent(&mp->reg->parent);
	else if (!mnull_modern())
		mdev_unregister_device(mp->dev);
	/* devices that fail_remove has kept: the unregistration has removed them */
	list_for_each_entry_safe(md, next, &mp->devices, next)
		kfree(md);
	INIT_LIST_HEAD(&mp->devices);
	mnull_reg_free(mp->reg);
	mp->reg = NULL;
}

static ssize_t registered_show(struct device *dev,
			       struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", !!READ_ONCE(mnull_parent_of(dev)->reg));
}

static ssize_t registered_store(struct device *dev,
				struct device_attribute *attr,
				const char *buf, size_t count)
{
	struct mnull_parent *mp = mnull_parent_of(dev);
	bool on;
	int ret;

	ret = kstrtobool(buf, &on);
	if (ret)
		return ret;

	mutex_lock(&mp->lock);
	if (on)
		ret = mnull_register(mp);
	else
		mnull_unregister(mp);
	mutex_unlock(&mp->lock);
	return ret ?: count;
}

static DEVICE_ATTR_RW(registered);

static struct attribute *mnull_parent_attrs[] = {
	&dev_attr_registered.attr,
	NULL
};

ATTRIBUTE_GROUPS(mnull_parent);

static struct class *mnull_class;

static void mnull_remove_parents(void)
{
	unsigned int i;

	for (i = 0; i < parents; i++) {
		struct mnull_parent *mp = &mnull_parents[i];

		if (!mp->dev)
			continue;
		mutex_lock(&mp->lock);
		mp->gone = true;
		if (mp->reg)
			mnull_unregister(mp);
		mutex_unlock(&mp->lock);
		device_unregister(mp->dev);
	}
}

static int mnull_add_parent(struct mnull_parent *mp, unsigned int i)
{
	struct device *dev;
	int ret;

	mutex_init(&mp->lock);
	spin_lock_init(&mp->devices_lock);
	INIT_LIST_HEAD(&mp->devices);
	atomic_set(&mp->left, instances);

	mutex_lock(&mp->lock);
	dev = device_create(mnull_class, NULL, MKDEV(0, 0), mp, "mnull%u", i);
	if (IS_ERR(dev)) {
		ret = PTR_ERR(dev);
	} else {
		mp->dev = dev;
		ret = mnull_register(mp);
	}
	mutex_unlock(&mp->lock);
	return ret;
}

static int __init mnull_init(void)
{
	unsigned int i;
	int ret;

	if (!mnull_modern() && strcmp(door, "classic"))
		return -EINVAL;

	mnull_parents = kcalloc(parents, sizeof(*mnull_parents), GFP_KERNEL);
	if (!mnull_parents)
		return -ENOMEM;
	/* not a static one: its release may come when the module is gone */
	mnull_class = class_create("mnull");
	if (IS_ERR(mnull_class)) {
		ret = PTR_ERR(mnull_class);
		goto err_free;
	}
	mnull_class->dev_groups = mnull_parent_groups;

	mnull_driver.max_instances = instances;
	if (vendor_counts)
		mnull_driver.get_available = mnull_get_available;
	if (mnull_modern()) {
		ret = mdev_register_driver(&mnull_driver);
		if (ret)
			goto err_class;
	}

	for (i = 0; i < parents; i++) {
		ret = mnull_add_parent(&mnull_parents[i], i);
		if (ret)
			goto err_parents;
	}
	return 0;

err_parents:
	mnull_remove_parents();
	if (mnull_modern())
		mdev_unregister_driver(&mnull_driver);
err_class:
	class_destroy(mnull_class);
err_free:
	kfree(mnull_parents);
	return ret;
}

static void __exit mnull_exit(void)
{
	mnull_remove_parents();
	if (mnull_modern())
		mdev_unregister_driver(&mnull_driver);
	class_destroy(mnull_class);
	kfree(mnull_parents);
}

module_init(mnull_init);
module_exit(mnull_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mediated device that does nothing");
