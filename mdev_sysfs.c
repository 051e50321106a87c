// SPDX-License-Identifier: GPL-2.0-only
/*
 * A parent's folder of types, and the files in there: create, and the vendor's.
 */
#include <linux/mdev.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "mdev_private.h"
#include "mdev_trace.h"

/* A file of the core's own. Classic vendors bring struct mdev_type_attribute instead. */
struct mdev_type_file {
	struct attribute attr;
	ssize_t (*show)(struct mdev_type_obj *type, char *buf);
	ssize_t (*store)(struct mdev_type_obj *type, const char *buf,
			 size_t count);
};

static ssize_t create_store(struct mdev_type_obj *type, const char *buf,
			    size_t count)
{
	size_t len = count;
	guid_t uuid;
	int ret;

	/* a UUID, and at most the newline that echo adds or the NUL of a string */
	if (len == UUID_STRING_LEN + 1 &&
	    (buf[UUID_STRING_LEN] == '\n' || buf[UUID_STRING_LEN] == '\0'))
		len--;
	if (len != UUID_STRING_LEN || guid_parse(buf, &uuid)) {
		trace_mdev_create(type, &guid_null, MDEV_STEP_PARSE, -EINVAL, 0);
		return -EINVAL;
	}

	ret = mdev_device_create(type, &uuid);
	return ret ?: count;
}

static struct mdev_type_file mdev_type_file_create = __ATTR_WO(create);

/* The vendor's functions may have the arguments of Linux 5.13. */

static ssize_t mdev_vendor_show(struct mdev_type_obj *type,
				struct attribute *attr, char *buf)
{
	struct mdev_type_attribute *file =
		container_of(attr, struct mdev_type_attribute, attr);

	if (!file->show)
		return -EIO;
	if (type->parent->abi == MDEV_ABI_5_13)
		return file->show_mtype(type->type, file, buf);
	return file->show(&type->kobj, type->parent->dev, buf);
}

static ssize_t mdev_vendor_store(struct mdev_type_obj *type,
				 struct attribute *attr, const char *buf,
				 size_t count)
{
	struct mdev_type_attribute *file =
		container_of(attr, struct mdev_type_attribute, attr);

	if (!file->store)
		return -EIO;
	if (type->parent->abi == MDEV_ABI_5_13)
		return file->store_mtype(type->type, file, buf, count);
	return file->store(&type->kobj, type->parent->dev, buf, count);
}

static bool mdev_file_is_vendors(const struct mdev_type_obj *type,
				 const struct attribute *attr)
{
	return type->group && attr != &mdev_type_file_create.attr;
}

static ssize_t mdev_type_show(struct kobject *kobj, struct attribute *attr,
			      char *buf)
{
	struct mdev_type_file *file =
		container_of(attr, struct mdev_type_file, attr);
	struct mdev_type_obj *type = to_type_obj(kobj);

	if (mdev_file_is_vendors(type, attr))
		return mdev_vendor_show(type, attr, buf);
	return file->show ? file->show(type, buf) : -EIO;
}

static ssize_t mdev_type_store(struct kobject *kobj, struct attribute *attr,
			       const char *buf, size_t count)
{
	struct mdev_type_file *file =
		container_of(attr, struct mdev_type_file, attr);
	struct mdev_type_obj *type = to_type_obj(kobj);

	if (mdev_file_is_vendors(type, attr))
		return mdev_vendor_store(type, attr, buf, count);
	return file->store ? file->store(type, buf, count) : -EIO;
}

static const struct sysfs_ops mdev_type_sysfs_ops = {
	.show	= mdev_type_show,
	.store	= mdev_type_store,
};

/* The files below are for modern vendors; classic ones bring their own. */

static ssize_t name_show(struct mdev_type_obj *type, char *buf)
{
	return sysfs_emit(buf, "%s\n",
			  type->type->pretty_name ?: type->type->sysfs_name);
}

static struct mdev_type_file mdev_type_file_name = __ATTR_RO(name);

static ssize_t device_api_show(struct mdev_type_obj *type, char *buf)
{
	return sysfs_emit(buf, "%s\n", type->parent->driver->device_api);
}

static struct mdev_type_file mdev_type_file_device_api = __ATTR_RO(device_api);

static ssize_t available_instances_show(struct mdev_type_obj *type, char *buf)
{
	struct mdev_driver *drv = type->parent->driver;
	unsigned int available;

	if (drv->get_available)
		available = drv->get_available(type->type);
	else
		available = atomic_read(&type->parent->available);
	return sysfs_emit(buf, "%u\n", available);
}

static struct mdev_type_file mdev_type_file_available_instances =
	__ATTR_RO(available_instances);

static ssize_t description_show(struct mdev_type_obj *type, char *buf)
{
	return type->parent->driver->show_description(type->type, buf);
}

static struct mdev_type_file mdev_type_file_description = __ATTR_RO(description);

static struct attribute *mdev_type_modern_attrs[] = {
	&mdev_type_file_name.attr,
	&mdev_type_file_device_api.attr,
	&mdev_type_file_available_instances.attr,
	&mdev_type_file_description.attr,
	NULL
};

static umode_t mdev_type_modern_is_visible(struct kobject *kobj,
					   struct attribute *attr, int n)
{
	if (attr == &mdev_type_file_description.attr &&
	    !to_type_obj(kobj)->parent->driver->show_description)
		return 0;
	return attr->mode;
}

static const struct attribute_group mdev_type_modern_group = {
	.attrs		= mdev_type_modern_attrs,
	.is_visible	= mdev_type_modern_is_visible,
};

/* Runs at any time after removal: touches core memory only. */
static void mdev_type_release(struct kobject *kobj)
{
	struct mdev_type_obj *type = to_type_obj(kobj);

	/* taken in mdev_type_add() */
	mdev_parent_put(type->parent);
	kfree(type);
	mdev_object_gone();
}

static const struct kobj_type mdev_type_ktype = {
	.sysfs_ops	= &mdev_type_sysfs_ops,
	.release	= mdev_type_release,
};

/*
 * Remove a directory of kobject_create_and_add(). kobject_put() alone would do it, but
 * the release may come late, and the parent's directory is referenced until then.
 */
static void mdev_dir_remove(struct kobject *kobj)
{
	kobject_del(kobj);
	kobject_put(kobj);
}

static int mdev_type_add_files(struct mdev_type_obj *type)
{
	/* in the type's own directory, not in one named after the group */
	struct attribute_group files = {};

	if (!type->group)
		return sysfs_create_group(&type->kobj, &mdev_type_modern_group);

	files = *type->group;
	files.name = NULL;
	return sysfs_create_group(&type->kobj, &files);
}

/* The vendor's name for its type number @i; NULL after the last. */
static const char *mdev_type_name(struct mdev_parent_obj *parent, unsigned int i)
{
	struct attribute_group *group;

	if (parent->ops) {
		group = parent->ops->supported_type_groups[i];
		return group ? group->name ?: "" : NULL;
	}
	if (i >= parent->handle->nr_types)
		return NULL;
	return parent->handle->types[i]->sysfs_name ?: "";
}

/* Would they have the same directory? kobjects have "!" in place of "/". */
static bool mdev_type_same_name(const char *a, const char *b)
{
	while (*a == *b || (*a == '/' && *b == '!') || (*a == '!' && *b == '/')) {
		if (!*a)
			return true;
		a++;
		b++;
	}
	return false;
}

static int mdev_type_check_name(struct mdev_parent_obj *parent, unsigned int n)
{
	const char *name = mdev_type_name(parent, n);
	unsigned int i;

	if (!*name)
		return -EINVAL;
	for (i = 0; i < n; i++)
		if (mdev_type_same_name(mdev_type_name(parent, i), name))
			return -EEXIST;
	return 0;
}

/* Add the vendor's type number @n. */
static int mdev_type_add(struct mdev_parent_obj *parent, unsigned int n)
{
	struct mdev_type_obj *type;
	int ret;

	ret = mdev_type_check_name(parent, n);
	if (ret)
		return ret;

	type = kzalloc_obj(*type);
	if (!type)
		return -ENOMEM;

	mdev_object_born();
	type->parent = parent;
	/* dropped in mdev_type_release() */
	kref_get(&parent->ref);
	if (parent->ops) {
		type->group = parent->ops->supported_type_groups[n];
		type->type = &type->classic.type;
		type->classic.parent_dev = parent->dev;
		type->classic.group_id = n;
	} else {
		type->type = parent->handle->types[n];
		type->type->parent = parent->handle;
	}

	ret = kobject_init_and_add(&type->kobj, &mdev_type_ktype,
				   parent->types_kobj, "%s-%s",
				   dev_driver_string(parent->dev),
				   mdev_type_name(parent, n));
	if (ret)
		goto err_put;

	type->devices_kobj = kobject_create_and_add("devices", &type->kobj);
	if (!type->devices_kobj) {
		ret = -ENOMEM;
		goto err_del;
	}
	ret = mdev_type_add_files(type);
	if (ret)
		goto err_devices;
	/* last, when all that a new device needs is there */
	ret = sysfs_create_file(&type->kobj, &mdev_type_file_create.attr);
	if (ret)
		goto err_devices;

	list_add_tail(&type->next, &parent->types);
	return 0;

err_devices:
	mdev_dir_remove(type->devices_kobj);
err_del:
	/* removes the files, too */
	kobject_del(&type->kobj);
err_put:
	kobject_put(&type->kobj);
	return ret;
}

/* Waits until nobody is in one of the types' files. */
static void mdev_types_remove(struct mdev_parent_obj *parent)
{
	struct mdev_type_obj *type, *tmp;

	list_for_each_entry_safe_reverse(type, tmp, &parent->types, next) {
		list_del(&type->next);
		mdev_dir_remove(type->devices_kobj);
		kobject_del(&type->kobj);
		kobject_put(&type->kobj);
	}
}

static int mdev_types_add(struct mdev_parent_obj *parent)
{
	unsigned int i;
	int ret;

	for (i = 0; mdev_type_name(parent, i); i++) {
		ret = mdev_type_add(parent, i);
		if (ret)
			return ret;
	}
	return 0;
}

static const struct attribute_group **
mdev_parent_groups(struct mdev_parent_obj *parent)
{
	return parent->ops ? parent->ops->dev_attr_groups : NULL;
}

int mdev_sysfs_add_parent(struct mdev_parent_obj *parent)
{
	struct kobject *kobj = &parent->dev->kobj;
	int ret;

	lockdep_assert_held_write(&parent->unreg_sem);

	parent->types_kobj = kobject_create_and_add("mdev_supported_types", kobj);
	if (!parent->types_kobj)
		return -ENOMEM;

	ret = sysfs_create_groups(kobj, mdev_parent_groups(parent));
	if (ret)
		goto err_types_kobj;
	ret = mdev_types_add(parent);
	if (ret)
		goto err_types;
	return 0;

err_types:
	mdev_types_remove(parent);
	sysfs_remove_groups(kobj, mdev_parent_groups(parent));
err_types_kobj:
	mdev_dir_remove(parent->types_kobj);
	return ret;
}

void mdev_sysfs_remove_parent(struct mdev_parent_obj *parent)
{
	lockdep_assert_held_write(&parent->unreg_sem);

	mdev_types_remove(parent);
	sysfs_remove_groups(&parent->dev->kobj, mdev_parent_groups(parent));
	mdev_dir_remove(parent->types_kobj);
}
