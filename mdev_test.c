// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of mdev.
 *
 * What an administrator does is done as an administrator does it, through the
 * files in sysfs, which is mounted for these tests alone: they need no user
 * space. What an administrator cannot bring about at will is done to the private
 * structures. Nothing here makes the kernel complain.
 *
 * The vendor and all that it registers are one piece of memory, which is poisoned
 * and freed as soon as it has unregistered, in every test.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/interval_tree.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/poison.h>
#include <linux/prandom.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "mdev_late.h"
#include "mdev_private.h"
#include "vfio_mdev_private.h"

#define TYPES	"mdev_supported_types"
/* the parents have no driver, so their bus is named instead */
#define TYPE	TYPES "/kunit-"
#define UUID	"6d646576-0000-4000-8000-%012x"

#define MAX_TYPES	3
/* no test may take long, even where all takes long */
#define FEW		IS_ENABLED(CONFIG_KASAN)

/* the doors, as a parameter */
static const struct door {
	const char *desc;
	bool modern;
} doors[] = {
	{ "classic", false },
	{ "modern", true },
};

KUNIT_ARRAY_PARAM_DESC(doors, doors, desc);

/* A driver's name may linger when the driver is gone, so this is a new one. */
static void driver_name(char *name, size_t size)
{
	snprintf(name, size, "mdev_kunit_%llu", ktime_get_ns());
}

static int kref_of(struct device *dev)
{
	return kref_read(&dev->kobj.kref);
}

/*
 * Jobs: what waits for the test has a thread of its own. It heeds SIGTERM.
 */

struct job {
	int (*fn)(void *arg);
	void *arg;
	int ret;
	struct task_struct *task;
	struct completion done;
};

static int job_thread(void *data)
{
	struct job *job = data;

	allow_signal(SIGTERM);
	job->ret = job->fn(job->arg);
	complete_all(&job->done);
	return 0;
}

static int job_end(struct job *job)
{
	wait_for_completion(&job->done);
	return job->ret;
}

static void job_end_action(void *job)
{
	job_end(job);
}

static struct job *job_start(struct kunit *test, int (*fn)(void *arg), void *arg)
{
	struct job *job = kunit_kzalloc(test, sizeof(*job), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, job);
	job->fn = fn;
	job->arg = arg;
	init_completion(&job->done);
	job->task = kthread_run(job_thread, job, "mdev_kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(job->task));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, job_end_action,
							   job));
	return job;
}

/*
 * The vendor.
 */

struct vendor {
	/* arguments of the registration */
	struct device *dev;
	const struct mdev_parent_ops *ops_arg;
	struct mdev_parent *parent_arg;
	struct mdev_driver *driver_arg;
	struct mdev_type **types_arg;
	unsigned int nr_types;

	/* what they point to */
	struct mdev_parent_ops ops;
	struct mdev_parent parent;
	struct mdev_driver driver;
	char driver_name[32];
	struct mdev_type types[MAX_TYPES];
	struct mdev_type *type_list[MAX_TYPES];
	struct attribute_group groups[MAX_TYPES];
	struct attribute_group *group_list[MAX_TYPES + 1];
	struct attribute *attrs[2];
	struct mdev_type_attribute name;

	bool modern;
	enum mdev_abi abi;
	bool registered;

	/* how it behaves */
	int create_ret;
	int remove_ret;
	bool hides_name;
	bool rescans;
	const struct device_driver *probes;
	bool reenters;

	/* what it has seen; the last device, if it is still there */
	struct mdev_device *mdev;
	int creates;
	int removes;
	int reentered;
	struct completion requested;
};

static struct vendor *vendor_of(struct mdev_device *mdev)
{
	return dev_get_drvdata(mdev_parent_dev(mdev));
}

static int vendor_register_parent(struct vendor *v)
{
	if (v->modern)
		return mdev_register_parent(v->parent_arg, v->dev,
					    v->driver_arg, v->types_arg,
					    v->nr_types);
	return mdev_register_device_abi(v->dev, v->ops_arg, v->abi);
}

static int vendor_probe(struct mdev_device *mdev)
{
	struct vendor *v = vendor_of(mdev);

	/* as it must not */
	if (v->reenters)
		v->reentered = vendor_register_parent(v);
	v->mdev = v->create_ret ? NULL : mdev;
	v->creates++;
	return v->create_ret;
}

static void vendor_unbind(struct mdev_device *mdev)
{
	struct vendor *v = vendor_of(mdev);

	v->mdev = NULL;
	v->removes++;
}

static unsigned int vendor_get_available(struct mdev_type *mtype)
{
	return 7;
}

static int vendor_create(struct kobject *kobj, struct mdev_device *mdev)
{
	/* without a name, it cannot be added */
	if (vendor_of(mdev)->hides_name) {
		mdev_set_drvdata(mdev, (void *)mdev->dev.kobj.name);
		mdev->dev.kobj.name = NULL;
	}
	return vendor_probe(mdev);
}

static int vendor_remove(struct mdev_device *mdev)
{
	struct vendor *v = vendor_of(mdev);

	if (v->hides_name)
		mdev->dev.kobj.name = mdev_get_drvdata(mdev);
	/* as when a driver is registered just now */
	if (v->rescans && bus_rescan_devices(mdev->dev.bus))
		return -EIO;
	/* as when it had looked at the device before that was claimed */
	if (v->probes && device_driver_attach(v->probes, &mdev->dev) != -ENODEV)
		return -EIO;
	if (!v->remove_ret)
		v->mdev = NULL;
	v->removes++;
	return v->remove_ret;
}

static void vendor_request(struct mdev_device *mdev, unsigned int count)
{
	complete(&vendor_of(mdev)->requested);
}

static ssize_t vendor_name_show(struct kobject *kobj, struct device *dev,
				char *buf)
{
	return sysfs_emit(buf, "name\n");
}

static ssize_t vendor_file_show(struct device *dev,
				struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "file\n");
}

static DEVICE_ATTR_RO(vendor_file);

static struct attribute *vendor_file_attrs[] = {
	&dev_attr_vendor_file.attr,
	NULL
};
ATTRIBUTE_GROUPS(vendor_file);

static int vendor_register(struct vendor *v)
{
	int ret;

	if (v->modern) {
		driver_name(v->driver_name, sizeof(v->driver_name));
		ret = mdev_register_driver(&v->driver);
		if (ret)
			return ret;
		ret = vendor_register_parent(v);
		if (ret)
			mdev_unregister_driver(&v->driver);
	} else {
		ret = vendor_register_parent(v);
	}
	v->registered = !ret;
	return ret;
}

static void vendor_unregister(struct vendor *v)
{
	if (!v->registered)
		return;
	v->registered = false;
	if (v->modern) {
		mdev_unregister_parent(&v->parent);
		mdev_unregister_driver(&v->driver);
	} else {
		mdev_unregister_device(v->dev);
	}
	/* gone, even if the vendor would have kept it */
	v->mdev = NULL;
}

static void vendor_free(void *data)
{
	struct vendor *v = data;

	/* if the test has failed, nobody else would */
	while (v->mdev && mdev_is_open(v->mdev))
		mdev_close(v->mdev);
	vendor_unregister(v);
	memset(v, POISON_FREE, sizeof(*v));
	kfree(v);
}

static void vendor_set_types(struct vendor *v, unsigned int nr,
			     const char *const *names)
{
	unsigned int i;

	memset(v->group_list, 0, sizeof(v->group_list));
	v->nr_types = nr;
	for (i = 0; i < nr; i++) {
		v->groups[i].name = names[i];
		v->groups[i].attrs = v->attrs;
		v->group_list[i] = &v->groups[i];
		v->types[i].sysfs_name = names[i];
		v->type_list[i] = &v->types[i];
	}
}

/* A vendor that may register the types "a" and "b". */
static struct vendor *vendor_new(struct kunit *test, const char *name,
				 bool modern)
{
	static const char *const types[] = { "a", "b" };
	struct device *dev;
	struct vendor *v;

	dev = kunit_device_register_with_driver(test, name, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(dev));
	v = kzalloc_obj(*v);
	KUNIT_ASSERT_NOT_NULL(test, v);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, vendor_free, v));

	dev_set_drvdata(dev, v);
	v->dev = dev;
	v->modern = modern;
	v->ops_arg = &v->ops;
	v->parent_arg = &v->parent;
	v->driver_arg = &v->driver;
	v->types_arg = v->type_list;
	v->ops = (struct mdev_parent_ops) {
		.owner			= THIS_MODULE,
		.dev_attr_groups	= vendor_file_groups,
		.mdev_attr_groups	= vendor_file_groups,
		.supported_type_groups	= v->group_list,
		.create			= vendor_create,
		.remove			= vendor_remove,
	};
	v->driver = (struct mdev_driver) {
		.device_api	= "kunit",
		.max_instances	= 10000,
		.probe		= vendor_probe,
		.remove		= vendor_unbind,
		.driver = {
			.name		= v->driver_name,
			.owner		= THIS_MODULE,
			.mod_name	= KBUILD_MODNAME,
		},
	};
	sysfs_attr_init(&v->name.attr);
	v->name.attr.name = "name";
	v->name.attr.mode = 0444;
	v->name.show = vendor_name_show;
	v->attrs[0] = &v->name.attr;
	init_completion(&v->requested);
	vendor_set_types(v, ARRAY_SIZE(types), types);
	return v;
}

static struct vendor *vendor_new_registered(struct kunit *test,
					    const char *name, bool modern)
{
	struct vendor *v = vendor_new(test, name, modern);

	KUNIT_ASSERT_EQ(test, 0, vendor_register(v));
	return v;
}

static struct vendor *vendor_of_door(struct kunit *test)
{
	const struct door *door = test->param_value;

	return vendor_new_registered(test, "parent", door->modern);
}

/*
 * The administrator. Paths begin at the parent device's directory.
 */

static struct vfsmount *sysfs;

static __printf(3, 4) struct file *admin_open(struct vendor *v, int flags,
					      const char *fmt, ...)
{
	char *dir = kobject_get_path(&v->dev->kobj, GFP_KERNEL);
	struct file *file = ERR_PTR(-ENOMEM);
	struct va_format vaf = { .fmt = fmt };
	char *path = NULL;
	va_list args;

	va_start(args, fmt);
	vaf.va = &args;
	/* relative to the root of our mount */
	if (dir)
		path = kasprintf(GFP_KERNEL, "%s/%pV", dir + 1, &vaf);
	va_end(args);
	if (path)
		file = file_open_root_mnt(sysfs, path, flags, 0);
	kfree(path);
	kfree(dir);
	return file;
}

static bool admin_found(struct file *file)
{
	if (IS_ERR(file))
		return false;
	__fput_sync(file);
	return true;
}

#define admin_sees(v, ...) \
	admin_found(admin_open(v, O_PATH | O_NOFOLLOW, __VA_ARGS__))

/* 0, an errno, or how much was taken if that is not all. */
static int admin_write(struct file *file, const char *text, size_t len)
{
	loff_t pos = 0;
	ssize_t ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = kernel_write(file, text, len, &pos);
	__fput_sync(file);
	return ret == len ? 0 : ret;
}

/* What the file says, which is a number. */
static int admin_read(struct file *file)
{
	char buf[16] = {};
	loff_t pos = 0;
	int number;
	int ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = kernel_read(file, buf, sizeof(buf) - 1, &pos);
	__fput_sync(file);
	return ret < 0 ? ret : kstrtoint(buf, 10, &number) ?: number;
}

static int admin_create(struct vendor *v, const char *type, unsigned int n)
{
	char uuid[UUID_STRING_LEN + 1];

	snprintf(uuid, sizeof(uuid), UUID, n);
	return admin_write(admin_open(v, O_WRONLY, TYPE "%s/create", type),
			   uuid, UUID_STRING_LEN);
}

static int admin_remove(struct vendor *v, unsigned int n)
{
	return admin_write(admin_open(v, O_WRONLY, UUID "/remove", n), "1\n", 2);
}

static int admin_available(struct vendor *v)
{
	return admin_read(admin_open(v, O_RDONLY, TYPE "b/available_instances"));
}

/* The core's type behind the directory of type "a". */
static struct mdev_type_obj *type_a(struct vendor *v)
{
	struct kernfs_node *types, *node;
	struct mdev_type_obj *type;
	char name[40];

	snprintf(name, sizeof(name), "%s-a", dev_driver_string(v->dev));
	types = sysfs_get_dirent(v->dev->kobj.sd, TYPES);
	node = sysfs_get_dirent(types, name);
	type = to_type_obj(node->priv);
	sysfs_put(node);
	sysfs_put(types);
	return type;
}

static enum mdev_device_state state_of(struct mdev_device *mdev)
{
	return READ_ONCE(to_device_obj(mdev)->state);
}

static void set_state(struct mdev_device *mdev, enum mdev_device_state state)
{
	struct mdev_device_obj *obj = to_device_obj(mdev);

	spin_lock(&obj->lock);
	WRITE_ONCE(obj->state, state);
	spin_unlock(&obj->lock);
}

/*
 * Registration.
 */

/* As if the parent had never been offered. */
static void expect_nothing(struct kunit *test, struct vendor *v, int refs)
{
	KUNIT_EXPECT_FALSE(test, admin_sees(v, TYPES));
	KUNIT_EXPECT_FALSE(test, admin_sees(v, "vendor_file"));
	KUNIT_EXPECT_FALSE(test, admin_sees(v, "../../../class/mdev_bus/%s",
					    dev_name(v->dev)));
	KUNIT_EXPECT_EQ(test, refs, kref_of(v->dev));
}

static void expect_registered(struct kunit *test, struct vendor *v)
{
	KUNIT_EXPECT_TRUE(test, admin_sees(v, TYPE "a/create"));
	KUNIT_EXPECT_TRUE(test, admin_sees(v, TYPE "b/create"));
	KUNIT_EXPECT_EQ(test, !v->modern, admin_sees(v, "vendor_file"));
	KUNIT_EXPECT_TRUE(test, admin_sees(v, "../../../class/mdev_bus/%s",
					   dev_name(v->dev)));
}

static const struct mandatory {
	const char *desc;
	bool modern;
	size_t offset;
} mandatory[] = {
	{ "classic, device", false, offsetof(struct vendor, dev) },
	{ "ops", false, offsetof(struct vendor, ops_arg) },
	{ "create", false, offsetof(struct vendor, ops.create) },
	{ "remove", false, offsetof(struct vendor, ops.remove) },
	{ "supported_type_groups", false,
	  offsetof(struct vendor, ops.supported_type_groups) },
	{ "modern, device", true, offsetof(struct vendor, dev) },
	{ "parent", true, offsetof(struct vendor, parent_arg) },
	{ "driver", true, offsetof(struct vendor, driver_arg) },
	{ "device_api", true, offsetof(struct vendor, driver.device_api) },
	{ "types", true, offsetof(struct vendor, types_arg) },
};

KUNIT_ARRAY_PARAM_DESC(mandatory, mandatory, desc);

static void register_without(struct kunit *test)
{
	const struct mandatory *missing = test->param_value;
	struct vendor *v = vendor_new(test, "parent", missing->modern);
	void **member = (void *)v + missing->offset;
	int refs = kref_of(v->dev);
	void *value = *member;

	*member = NULL;
	KUNIT_EXPECT_EQ(test, -EINVAL, vendor_register(v));
	*member = value;
	expect_nothing(test, v, refs);

	KUNIT_EXPECT_EQ(test, 0, vendor_register(v));
	expect_registered(test, v);
}

/* Ops that are of use together only. */
static void register_half_of_ops(struct kunit *test)
{
	static const size_t halves[] = {
		offsetof(struct vendor, ops.migration_set_state),
		offsetof(struct vendor, ops.migration_get_state),
		offsetof(struct vendor, ops.migration_get_data_size),
		offsetof(struct vendor, ops.log_start),
		offsetof(struct vendor, ops.log_stop),
		offsetof(struct vendor, ops.log_read_and_clear),
	};
	struct vendor *v = vendor_new(test, "parent", false);
	int refs = kref_of(v->dev), i;

	for (i = 0; i < ARRAY_SIZE(halves); i++) {
		void **member = (void *)v + halves[i];

		*member = v;
		KUNIT_EXPECT_EQ(test, -EINVAL, vendor_register(v));
		*member = NULL;
	}
	v->ops.migration_flags = VFIO_MIGRATION_STOP_COPY;
	KUNIT_EXPECT_EQ(test, -EINVAL, vendor_register(v));

	/* all three, but without what the others build upon */
	for (i = 0; i < 3; i++)
		*(void **)((void *)v + halves[i]) = v;
	v->ops.migration_flags = VFIO_MIGRATION_P2P;
	KUNIT_EXPECT_EQ(test, -EINVAL, vendor_register(v));
	for (i = 0; i < 3; i++)
		*(void **)((void *)v + halves[i]) = NULL;
	v->ops.migration_flags = 0;
	expect_nothing(test, v, refs);
	KUNIT_EXPECT_EQ(test, 0, vendor_register(v));
}

static void register_nowhere(struct kunit *test)
{
	struct vendor *v = vendor_of_door(test);
	struct device *dev = v->dev;
	struct device *nowhere;

	nowhere = kunit_kzalloc(test, sizeof(*nowhere), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, nowhere);
	vendor_unregister(v);
	device_initialize(nowhere);
	v->dev = nowhere;
	KUNIT_EXPECT_EQ(test, -EINVAL, vendor_register(v));
	KUNIT_EXPECT_EQ(test, 1, kref_of(nowhere));
	v->dev = dev;
	KUNIT_EXPECT_EQ(test, 0, vendor_register(v));
}

static void register_handle_twice(struct kunit *test)
{
	struct vendor *one = vendor_new_registered(test, "one", true);
	struct vendor *two = vendor_new(test, "two", true);
	int refs = kref_of(two->dev);

	two->parent_arg = &one->parent;
	KUNIT_EXPECT_EQ(test, -EEXIST, vendor_register(two));
	expect_nothing(test, two, refs);
	KUNIT_EXPECT_PTR_EQ(test, one->dev, one->parent.dev);
	KUNIT_EXPECT_EQ(test, 0, admin_create(one, "a", 1));

	two->parent_arg = &two->parent;
	KUNIT_EXPECT_EQ(test, 0, vendor_register(two));
}

static const struct bad_names {
	const char *desc;
	const char *names[MAX_TYPES];
	int ret;
} bad_names[] = {
	{ "first missing", { NULL, "a", "b" }, -EINVAL },
	{ "last missing", { "a", "b", NULL }, -EINVAL },
	{ "empty", { "a", "", "b" }, -EINVAL },
	{ "twice", { "a", "b", "a" }, -EEXIST },
	{ "one directory", { "a/!b", "b", "a!/b" }, -EEXIST },
};

KUNIT_ARRAY_PARAM_DESC(bad_names, bad_names, desc);

static void register_bad_names(struct kunit *test)
{
	static const char *const good[] = { "b", "c", "a" };
	const struct bad_names *bad = test->param_value;
	const struct door *door;
	struct vendor *v;
	int refs;

	for (door = doors; door < doors + ARRAY_SIZE(doors); door++) {
		v = vendor_new(test, door->desc, door->modern);
		refs = kref_of(v->dev);
		vendor_set_types(v, MAX_TYPES, bad->names);
		KUNIT_EXPECT_EQ(test, bad->ret, vendor_register(v));
		expect_nothing(test, v, refs);

		vendor_set_types(v, MAX_TYPES, good);
		KUNIT_EXPECT_EQ(test, 0, vendor_register(v));
		expect_registered(test, v);
	}
}

/* In the vendor's order, below the driver's name. KUnit's bus takes any driver. */
static void register_names(struct kunit *test)
{
	static const char *const names[] = { "z", "a", "m" };
	const struct door *door = test->param_value;
	struct vendor *v = vendor_new(test, "parent", door->modern);
	char driver[32], expected[40];
	struct mdev_type_obj *type;
	int i = 0;

	vendor_set_types(v, ARRAY_SIZE(names), names);
	KUNIT_ASSERT_EQ(test, 0, vendor_register(v));
	KUNIT_EXPECT_TRUE(test, admin_sees(v, TYPES "/kunit-z/create"));
	vendor_unregister(v);

	driver_name(driver, sizeof(driver));
	KUNIT_ASSERT_PTR_EQ(test, kunit_driver_create(test, driver),
			    v->dev->driver);
	KUNIT_ASSERT_EQ(test, 0, vendor_register(v));
	KUNIT_ASSERT_TRUE(test, admin_sees(v, TYPES "/%s-a", driver));
	list_for_each_entry(type, &type_a(v)->parent->types, next) {
		KUNIT_ASSERT_LT(test, i, ARRAY_SIZE(names));
		snprintf(expected, sizeof(expected), "%s-%s", driver, names[i++]);
		KUNIT_EXPECT_STREQ(test, expected, type->kobj.name);
		KUNIT_EXPECT_TRUE(test, admin_sees(v, TYPES "/%s/create",
						   expected));
	}
	KUNIT_EXPECT_EQ(test, i, ARRAY_SIZE(names));
	/* before the driver goes */
	vendor_unregister(v);
}

static const struct two_doors {
	const char *desc;
	bool first, second;
} two_doors[] = {
	{ "classic, classic", false, false },
	{ "classic, modern", false, true },
	{ "modern, classic", true, false },
	{ "modern, modern", true, true },
};

KUNIT_ARRAY_PARAM_DESC(two_doors, two_doors, desc);

/* Upstream, the second registration dropped a reference of the first. */
static void register_twice(struct kunit *test)
{
	const struct two_doors *two = test->param_value;
	struct vendor *first = vendor_new(test, "first", two->first);
	struct vendor *second = vendor_new(test, "second", two->second);
	int refs = kref_of(first->dev), registered;

	second->dev = first->dev;
	KUNIT_ASSERT_EQ(test, 0, vendor_register(first));
	registered = kref_of(first->dev);

	KUNIT_EXPECT_EQ(test, -EEXIST, vendor_register(second));
	KUNIT_EXPECT_EQ(test, registered, kref_of(first->dev));
	expect_registered(test, first);
	KUNIT_EXPECT_EQ(test, 0, admin_create(first, "a", 1));
	KUNIT_EXPECT_EQ(test, 1, first->creates);

	vendor_unregister(first);
	expect_nothing(test, first, refs);
	KUNIT_EXPECT_EQ(test, 0, vendor_register(second));
	expect_registered(test, second);
	vendor_unregister(second);
	expect_nothing(test, second, refs);
}

/* The link in mdev_bus is for who came first. */
static void register_same_name(struct kunit *test)
{
	struct vendor *first = vendor_of_door(test);
	struct vendor *second = vendor_new(test, "second", first->modern);
	struct device *dev = second->dev;

	/* not of KUnit's bus, where each name is there once */
	second->dev = root_device_register(dev_name(first->dev));
	KUNIT_ASSERT_FALSE(test, IS_ERR(second->dev));
	KUNIT_EXPECT_EQ(test, 0, vendor_register(second));
	expect_registered(test, first);
	vendor_unregister(second);
	expect_registered(test, first);

	root_device_unregister(second->dev);
	second->dev = dev;
}

static bool admin_sees_link(struct vendor *v, const char *name)
{
	return admin_sees(v, "../../class/mdev_bus/%s", name);
}

/* The link in mdev_bus keeps its name and goes by it, whatever its parent is called. */
static void register_then_rename(struct kunit *test)
{
	const struct door *door = test->param_value;
	struct vendor *one = vendor_new(test, "one", door->modern);
	struct vendor *two = vendor_new(test, "two", door->modern);
	struct device *devs[] = { one->dev, two->dev };

	/* links on a bus are not renamed with a device */
	one->dev = root_device_register("mdev_kunit_a");
	KUNIT_ASSERT_FALSE(test, IS_ERR(one->dev));
	dev_set_drvdata(one->dev, one);
	two->dev = root_device_register("mdev_kunit_b");
	KUNIT_ASSERT_FALSE(test, IS_ERR(two->dev));
	dev_set_drvdata(two->dev, two);
	KUNIT_EXPECT_EQ(test, 0, vendor_register(one));
	KUNIT_EXPECT_EQ(test, 0, device_rename(one->dev, "mdev_kunit_c"));
	KUNIT_EXPECT_TRUE(test, admin_sees_link(one, "mdev_kunit_a"));

	/* its old name is in use, and now another is to be called that */
	KUNIT_EXPECT_EQ(test, 0, device_rename(two->dev, "mdev_kunit_a"));
	KUNIT_EXPECT_EQ(test, 0, vendor_register(two));
	vendor_unregister(two);
	KUNIT_EXPECT_TRUE(test, admin_sees_link(one, "mdev_kunit_a"));
	vendor_unregister(one);
	KUNIT_EXPECT_FALSE(test, admin_sees_link(one, "mdev_kunit_a"));

	/* nor does whoever takes over the name of a link take the link along */
	KUNIT_EXPECT_EQ(test, 0, vendor_register(two));
	KUNIT_EXPECT_EQ(test, 0, vendor_register(one));
	KUNIT_EXPECT_EQ(test, 0, device_rename(two->dev, "mdev_kunit_b"));
	KUNIT_EXPECT_EQ(test, 0, device_rename(one->dev, "mdev_kunit_a"));
	vendor_unregister(one);
	KUNIT_EXPECT_FALSE(test, admin_sees_link(one, "mdev_kunit_c"));
	KUNIT_EXPECT_TRUE(test, admin_sees_link(one, "mdev_kunit_a"));
	vendor_unregister(two);
	KUNIT_EXPECT_FALSE(test, admin_sees_link(one, "mdev_kunit_a"));

	root_device_unregister(one->dev);
	root_device_unregister(two->dev);
	one->dev = devs[0];
	two->dev = devs[1];
}

/* Upstream keeps kobjects in the vendor's types, so they work only once. */
static void register_again(struct kunit *test)
{
	const struct door *door = test->param_value;
	struct vendor *v = vendor_new(test, "parent", door->modern);
	const int times = 100;
	int refs = kref_of(v->dev);
	int i;

	for (i = 0; i < times; i++) {
		KUNIT_ASSERT_EQ(test, 0, vendor_register(v));
		KUNIT_ASSERT_EQ(test, 0, admin_create(v, "b", 1));
		vendor_unregister(v);
	}
	KUNIT_EXPECT_EQ(test, times, v->removes);
	expect_nothing(test, v, refs);
}

static void unregister_unregistered(struct kunit *test)
{
	struct vendor *v = vendor_new(test, "parent", true);
	int refs = kref_of(v->dev);

	mdev_unregister_device(NULL);
	mdev_unregister_parent(NULL);
	mdev_unregister_device(v->dev);
	mdev_unregister_parent(&v->parent);
	expect_nothing(test, v, refs);

	KUNIT_ASSERT_EQ(test, 0, vendor_register(v));
	/* what came by the other door stays */
	mdev_unregister_device(v->dev);
	expect_registered(test, v);
	vendor_unregister(v);
	mdev_unregister_device(v->dev);
	mdev_unregister_parent(&v->parent);
	expect_nothing(test, v, refs);
}

/* A vendor ought to keep its driver until its parents are gone. */
static void driver_gone(struct kunit *test)
{
	struct vendor *v = vendor_new_registered(test, "parent", true);

	mdev_unregister_driver(&v->driver);
	KUNIT_EXPECT_EQ(test, -ENODEV, admin_create(v, "a", 1));
	KUNIT_EXPECT_FALSE(test, admin_sees(v, UUID, 1));

	driver_name(v->driver_name, sizeof(v->driver_name));
	KUNIT_ASSERT_EQ(test, 0, mdev_register_driver(&v->driver));
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "a", 1));
}

/* It is bound to devices of its own parents, and to no others. */
static void driver_of_others(struct kunit *test)
{
	struct vendor *v = vendor_new_registered(test, "classic", false);
	struct device *dev;

	KUNIT_ASSERT_EQ(test, 0, admin_create(v, "a", 1));
	dev = mdev_dev(v->mdev);
	device_release_driver(dev);
	vendor_new_registered(test, "modern", true);
	KUNIT_EXPECT_NULL(test, dev->driver);
	KUNIT_EXPECT_EQ(test, 1, device_attach(dev));
}

/* A reference to whatever does not bring the vendor's memory back. */
static void vendor_memory(struct kunit *test)
{
	const struct door *door = test->param_value;
	struct vendor *v = vendor_new(test, "parent", door->modern);
	struct device *parent = v->dev, *dev;
	int refs = kref_of(parent);
	struct mdev_type_obj *type;
	struct file *file;

	KUNIT_ASSERT_EQ(test, 0, vendor_register(v));
	KUNIT_ASSERT_EQ(test, 0, admin_create(v, "a", 1));
	type = type_a(v);
	kobject_get(&type->kobj);
	dev = get_device(mdev_dev(v->mdev));
	file = admin_open(v, O_RDONLY, TYPE "a/name");

	kunit_release_action(test, vendor_free, v);

	KUNIT_EXPECT_EQ(test, refs, kref_of(parent));
	KUNIT_EXPECT_EQ(test, -ENODEV, admin_read(file));
	KUNIT_EXPECT_EQ(test, -ENODEV, mdev_open(to_mdev_device(dev)));
	KUNIT_EXPECT_NULL(test, type->parent->dev);
	KUNIT_EXPECT_NULL(test, type->parent->ops);
	KUNIT_EXPECT_NULL(test, type->parent->handle);
	KUNIT_EXPECT_NULL(test, type->parent->driver);
	put_device(dev);
	kobject_put(&type->kobj);
}

/* Upstream once had the type's release look at a parent that was gone. */
static void type_not_holding_parent(struct kunit *test)
{
	const struct door *door = test->param_value;
	struct vendor *v = vendor_new(test, "parent", door->modern);
	struct mdev_parent_obj *parent;
	struct mdev_type_obj *type;

	KUNIT_ASSERT_EQ(test, 0, vendor_register(v));
	type = type_a(v);
	parent = type->parent;
	/* the registration has one, too */
	KUNIT_EXPECT_EQ(test, 1 + list_count_nodes(&parent->types),
			kref_read(&parent->ref));
	kobject_get(&type->kobj);
	vendor_unregister(v);
	KUNIT_EXPECT_LE(test, 1, kref_read(&parent->ref));
	kobject_put(&type->kobj);
}

/*
 * UUIDs.
 */

static const struct uuid_string {
	const char *text;
	int ret;
	/* unless the text is good for it */
	const char *desc;
	size_t len;
} uuid_strings[] = {
	{ "00000000-0000-0000-0000-000000000000", 0 },
	{ "ABCDEF01-2345-6789-abcd-EF0123456789", 0 },
	{ "01234567-89ab-cdef-0123-456789abcdef\n", 0, "newline" },
	{ "01234567-89ab-cdef-0123-456789abcdef\n\n", -EINVAL, "two newlines" },
	{ "\n01234567-89ab-cdef-0123-456789abcdef", -EINVAL, "newline first" },
	{ "01234567-89ab-cdef-0123-456789abcde\n", -EINVAL, "newline early" },
	{ "\n", -EINVAL, "only newline" },
	{ "01234567-89ab-cdef-0123-456789abcdef", 0, "NUL", 37 },
	{ "01234567-89ab-cdef-0123-456789abcdef\0", -EINVAL, "two NULs", 38 },
	{ "01234567-89ab-cdef-0123-456789abcdef\n", -EINVAL, "newline, NUL", 38 },
	{ "01234567-89ab-cdef-0123-456789abcdef\0\n", -EINVAL, "NUL, newline", 38 },
	{ "01234567-89ab-cdef-0123-456789abcde", -EINVAL, "NUL early", 36 },
	{ "01234567-89ab-cdef\000123-456789abcdefa", -EINVAL, "NUL inside", 36 },
	{ "0", -EINVAL },
	{ "01234567-89ab-cdef-0123-456789abcde", -EINVAL },
	{ "01234567-89ab-cdef-0123-456789abcdef0", -EINVAL },
	{ "01234567-89ab-cdef-0123-456789abcdeg", -EINVAL },
	{ " 1234567-89ab-cdef-0123-456789abcdef", -EINVAL },
	{ "01234567-89ab-cdef-0123-456789abcdef ", -EINVAL },
	{ "{1234567-89ab-cdef-0123-456789abcde}", -EINVAL },
	{ "0x234567-89ab-cdef-0123-456789abcdef", -EINVAL },
	{ "0123456789ab-cdef-0123-456789abcdef-", -EINVAL },
	{ "0123456789abcdef0123456789abcdef", -EINVAL },
	{ "../../../../../../../../../../../etc", -EINVAL },
	{ "%s%s%s%s-%s%s-%s%s-%s%s-%s%s%s%s%s%s", -EINVAL },
};

static void uuid_string_desc(const struct uuid_string *string, char *desc)
{
	strscpy(desc, string->desc ?: string->text, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(uuid_strings, uuid_strings, uuid_string_desc);

static void uuid_syntax(struct kunit *test)
{
	const struct uuid_string *string = test->param_value;
	struct vendor *v = vendor_new_registered(test, "parent", true);

	KUNIT_EXPECT_EQ(test, string->ret,
			admin_write(admin_open(v, O_WRONLY, TYPE "a/create"),
				    string->text,
				    string->len ?: strlen(string->text)));
	KUNIT_EXPECT_EQ(test, v->creates, !string->ret);
}

/* Upstream once let two parents have a device of the same name. */
static void uuid_taken(struct kunit *test)
{
	struct vendor *classic = vendor_new_registered(test, "classic", false);
	struct vendor *modern = vendor_new_registered(test, "modern", true);

	KUNIT_ASSERT_EQ(test, 0, admin_create(classic, "a", 1));
	KUNIT_EXPECT_EQ(test, -EEXIST, admin_create(classic, "a", 1));
	KUNIT_EXPECT_EQ(test, -EEXIST, admin_create(classic, "b", 1));
	KUNIT_EXPECT_EQ(test, -EEXIST, admin_create(modern, "a", 1));
	KUNIT_EXPECT_EQ(test, 1, classic->creates);
	KUNIT_EXPECT_EQ(test, 0, modern->creates);

	/* free after a removal, and after an unregistration */
	KUNIT_EXPECT_EQ(test, 0, admin_remove(classic, 1));
	KUNIT_EXPECT_EQ(test, 0, admin_create(modern, "b", 1));
	KUNIT_EXPECT_EQ(test, -EEXIST, admin_create(classic, "a", 1));
	vendor_unregister(modern);
	KUNIT_EXPECT_EQ(test, 0, admin_create(classic, "a", 1));
}

static void uuid_many(struct kunit *test)
{
	const int many = FEW ? 40 : 1000;
	struct vendor *v = vendor_of_door(test);
	int i;

	for (i = 0; i < many; i++)
		KUNIT_ASSERT_EQ(test, 0, admin_create(v, "a", i));
	for (i = 0; i < many; i += 2)
		KUNIT_ASSERT_EQ(test, 0, admin_remove(v, i));
	for (i = 0; i < many; i++)
		KUNIT_ASSERT_EQ(test, i % 2 ? -EEXIST : 0,
				admin_create(v, "b", i));

	vendor_unregister(v);
	KUNIT_EXPECT_EQ(test, v->creates, v->removes);
	KUNIT_ASSERT_EQ(test, 0, vendor_register(v));
	for (i = 0; i < many; i++)
		KUNIT_ASSERT_EQ(test, 0, admin_create(v, "a", i));
}

/*
 * Creation.
 */

static const struct vendor_ret {
	const char *desc;
	int ret, errno;
} vendor_rets[] = {
	{ "errno", -EXDEV, -EXDEV },
	{ "positive", 1, -EIO },
	{ "huge", INT_MAX, -EIO },
	{ "last errno", -MAX_ERRNO, -MAX_ERRNO },
	{ "no errno", -MAX_ERRNO - 1, -EIO },
	{ "least", INT_MIN, -EIO },
};

KUNIT_ARRAY_PARAM_DESC(vendor_rets, vendor_rets, desc);

/* The modern door has no create; its vendor sees the device in probe. */
static void vendor_fails(struct kunit *test, struct vendor *v)
{
	const struct vendor_ret *create = test->param_value;

	v->create_ret = create->ret;
	KUNIT_EXPECT_EQ(test, create->errno, admin_create(v, "a", 1));
	KUNIT_EXPECT_FALSE(test, admin_sees(v, UUID, 1));
	/* what was not created is not removed */
	KUNIT_EXPECT_EQ(test, 0, v->removes);

	v->create_ret = 0;
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "a", 1));
	vendor_unregister(v);
}

static void create_vendor_fails(struct kunit *test)
{
	vendor_fails(test, vendor_new_registered(test, "classic", false));
	vendor_fails(test, vendor_new_registered(test, "modern", true));
}

static void create_reenters(struct kunit *test)
{
	struct vendor *v = vendor_of_door(test);

	v->reenters = true;
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "a", 1));
	KUNIT_EXPECT_EQ(test, -EEXIST, v->reentered);
	KUNIT_EXPECT_EQ(test, 0, admin_remove(v, 1));
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "b", 1));
	vendor_unregister(v);
	KUNIT_EXPECT_EQ(test, v->creates, v->removes);
}

static void create_add_fails(struct kunit *test)
{
	struct vendor *v = vendor_new_registered(test, "parent", false);

	v->hides_name = true;
	KUNIT_EXPECT_EQ(test, -EINVAL, admin_create(v, "a", 1));
	KUNIT_EXPECT_EQ(test, 1, v->creates);
	KUNIT_EXPECT_EQ(test, 1, v->removes);

	v->hides_name = false;
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "a", 1));
}

static void create_link_fails(struct kunit *test)
{
	struct vendor *v = vendor_of_door(test);
	struct mdev_type_obj *type = type_a(v);
	struct kobject nowhere = {}, *devices = type->devices_kobj;
	int available = atomic_read(&type->parent->available);

	/* there can be no links in what is not in sysfs */
	type->devices_kobj = &nowhere;
	KUNIT_EXPECT_EQ(test, -EFAULT, admin_create(v, "a", 1));
	/* it goes, whether the vendor wants that or not */
	v->remove_ret = -EBUSY;
	KUNIT_EXPECT_EQ(test, -EFAULT, admin_create(v, "a", 1));
	v->remove_ret = 0;
	type->devices_kobj = devices;
	KUNIT_EXPECT_FALSE(test, admin_sees(v, UUID, 1));
	KUNIT_EXPECT_EQ(test, v->creates, v->removes);
	KUNIT_EXPECT_EQ(test, available, atomic_read(&type->parent->available));
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "a", 1));
}

static int job_create(void *vendor)
{
	return admin_create(vendor, "a", 2);
}

static int job_remove(void *vendor)
{
	return admin_remove(vendor, 1);
}

static int job_unregister(void *vendor)
{
	vendor_unregister(vendor);
	return 0;
}

static void parent_is_busy(struct kunit *test)
{
	struct vendor *v = vendor_of_door(test);
	struct mdev_parent_obj *parent = type_a(v)->parent;
	struct job *create, *remove;

	KUNIT_ASSERT_EQ(test, 0, admin_create(v, "a", 1));

	/* from here, lockdep would learn an order that there is not */
	down_write(&parent->unreg_sem);
	create = job_start(test, job_create, v);
	remove = job_start(test, job_remove, v);
	KUNIT_EXPECT_EQ(test, -ENODEV, job_end(create));
	KUNIT_EXPECT_EQ(test, -ENODEV, job_end(remove));
	up_write(&parent->unreg_sem);

	KUNIT_EXPECT_EQ(test, MDEV_LIVE, state_of(v->mdev));
	KUNIT_EXPECT_EQ(test, 0, admin_remove(v, 1));
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "a", 2));
}

/*
 * Open and remove.
 */

static void open_in_state(struct kunit *test)
{
	static const int expected[] = {
		[MDEV_RESERVED]	= 0,
		[MDEV_LIVE]	= 0,
		[MDEV_REMOVING]	= -ENODEV,
	};
	struct vendor *v = vendor_new_registered(test, "parent", false);
	struct mdev_parent_obj *parent = type_a(v)->parent;
	int i, ret;

	KUNIT_ASSERT_EQ(test, 0, admin_create(v, "a", 1));
	KUNIT_EXPECT_EQ(test, MDEV_LIVE, state_of(v->mdev));
	for (i = 0; i < ARRAY_SIZE(expected); i++) {
		set_state(v->mdev, i);
		ret = mdev_open(v->mdev);
		KUNIT_EXPECT_EQ(test, expected[i], ret);
		KUNIT_EXPECT_EQ(test, !ret, mdev_is_open(v->mdev));
		KUNIT_EXPECT_EQ(test, !ret, atomic_read(&parent->nr_open));
		if (!ret)
			mdev_close(v->mdev);
		KUNIT_EXPECT_FALSE(test, mdev_is_open(v->mdev));
		KUNIT_EXPECT_EQ(test, 0, atomic_read(&parent->nr_open));
	}
}

/* Who looked at the device before it was claimed comes too late. */
static void bind_while_removing(struct kunit *test)
{
	struct vendor *v = vendor_new_registered(test, "parent", false);
	struct device_driver *driver;
	struct device *dev;

	KUNIT_ASSERT_EQ(test, 0, admin_create(v, "a", 1));
	dev = mdev_dev(v->mdev);
	driver = dev->driver;
	device_release_driver(dev);

	set_state(v->mdev, MDEV_REMOVING);
	KUNIT_EXPECT_EQ(test, -ENODEV, device_driver_attach(driver, dev));
	KUNIT_EXPECT_NULL(test, dev->driver);
	set_state(v->mdev, MDEV_LIVE);
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(driver, dev));
}

static const struct removal {
	const char *desc;
	enum mdev_device_state state;
	bool open;
	int ret;
} removals[] = {
	{ "reserved", MDEV_RESERVED, false, -EAGAIN },
	{ "reserved and open", MDEV_RESERVED, true, -EAGAIN },
	{ "live", MDEV_LIVE, false, 0 },
	{ "live and open", MDEV_LIVE, true, -EBUSY },
	{ "removing", MDEV_REMOVING, false, -ENODEV },
	{ "removing and open", MDEV_REMOVING, true, -ENODEV },
};

KUNIT_ARRAY_PARAM_DESC(removals, removals, desc);

/* Upstream deletes the file before it checks: there is no second try. */
static void remove_in_state(struct kunit *test)
{
	struct vendor *v = vendor_new_registered(test, "parent", false);
	const struct removal *removal = test->param_value;

	KUNIT_ASSERT_EQ(test, 0, admin_create(v, "a", 1));
	if (removal->open)
		KUNIT_ASSERT_EQ(test, 0, mdev_open(v->mdev));
	set_state(v->mdev, removal->state);
	KUNIT_ASSERT_EQ(test, removal->ret, admin_remove(v, 1));

	if (removal->ret) {
		KUNIT_EXPECT_EQ(test, removal->state, state_of(v->mdev));
		KUNIT_EXPECT_EQ(test, 0, v->removes);
		set_state(v->mdev, MDEV_LIVE);
		if (removal->open)
			mdev_close(v->mdev);
		KUNIT_EXPECT_EQ(test, 0, admin_remove(v, 1));
	}
	KUNIT_EXPECT_FALSE(test, admin_sees(v, UUID, 1));
	KUNIT_EXPECT_EQ(test, 1, v->removes);
}

/* Upstream once dropped the vendor's error. */
static void remove_vendor_refuses(struct kunit *test)
{
	struct vendor *v = vendor_new_registered(test, "parent", false);
	const struct vendor_ret *remove = test->param_value;
	struct device_driver *driver;
	int i;

	KUNIT_ASSERT_EQ(test, 0, admin_create(v, "a", 1));
	v->remove_ret = remove->ret;
	/* with a bridge, and without */
	for (i = 0; i < 2; i++) {
		driver = mdev_dev(v->mdev)->driver;
		KUNIT_ASSERT_EQ(test, remove->errno, admin_remove(v, 1));
		KUNIT_EXPECT_EQ(test, MDEV_LIVE, state_of(v->mdev));
		KUNIT_EXPECT_PTR_EQ(test, driver, mdev_dev(v->mdev)->driver);
		KUNIT_EXPECT_TRUE(test, admin_sees(v, UUID "/remove", 1));
		KUNIT_EXPECT_TRUE(test, admin_sees(v, UUID "/vendor_file", 1));
		device_release_driver(mdev_dev(v->mdev));
	}

	/* a driver that comes in the middle finds the device afterwards */
	KUNIT_ASSERT_NULL(test, mdev_dev(v->mdev)->driver);
	v->rescans = true;
	KUNIT_ASSERT_EQ(test, remove->errno, admin_remove(v, 1));
	KUNIT_EXPECT_EQ(test, MDEV_LIVE, state_of(v->mdev));
	KUNIT_EXPECT_NOT_NULL(test, mdev_dev(v->mdev)->driver);
	v->rescans = false;
	/* so does one that is between match and probe */
	v->probes = mdev_dev(v->mdev)->driver;
	device_release_driver(mdev_dev(v->mdev));
	KUNIT_ASSERT_EQ(test, remove->errno, admin_remove(v, 1));
	KUNIT_EXPECT_EQ(test, MDEV_LIVE, state_of(v->mdev));
	KUNIT_EXPECT_PTR_EQ(test, v->probes, mdev_dev(v->mdev)->driver);
	v->probes = NULL;

	/* it has no say when the parent goes */
	vendor_unregister(v);
	KUNIT_EXPECT_EQ(test, 5, v->removes);
	KUNIT_EXPECT_FALSE(test, admin_sees(v, UUID, 1));
}

static void expect_request(struct kunit *test, struct vendor *v)
{
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&v->requested,
							     20 * HZ));
}

/* Somebody removes an open device, whose vendor asks for it. */
static struct vendor *vendor_asking(struct kunit *test, struct job **remove)
{
	struct vendor *v = vendor_new(test, "parent", false);

	v->ops.request = vendor_request;
	KUNIT_ASSERT_EQ(test, 0, vendor_register(v));
	KUNIT_ASSERT_EQ(test, 0, admin_create(v, "a", 1));
	KUNIT_ASSERT_EQ(test, 0, mdev_open(v->mdev));
	*remove = job_start(test, job_remove, v);
	expect_request(test, v);
	KUNIT_EXPECT_FALSE(test, completion_done(&(*remove)->done));
	KUNIT_EXPECT_EQ(test, MDEV_REMOVING, state_of(v->mdev));
	KUNIT_EXPECT_EQ(test, -ENODEV, mdev_open(v->mdev));
	KUNIT_EXPECT_EQ(test, -ENODEV, admin_remove(v, 1));
	return v;
}

/* Before the vendor would be asked again. */
static void expect_end(struct kunit *test, struct job *job, int ret)
{
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&job->done, 8 * HZ));
	KUNIT_EXPECT_EQ(test, ret, job_end(job));
}

static void remove_waits_for_close(struct kunit *test)
{
	struct job *remove;
	struct vendor *v = vendor_asking(test, &remove);

	mdev_close(v->mdev);
	expect_end(test, remove, 0);
	KUNIT_EXPECT_EQ(test, 1, v->removes);
	KUNIT_EXPECT_FALSE(test, admin_sees(v, UUID, 1));
}

static void remove_interrupted(struct kunit *test)
{
	struct job *remove;
	struct vendor *v = vendor_asking(test, &remove);

	send_sig(SIGTERM, remove->task, 0);
	expect_end(test, remove, -ERESTARTSYS);
	KUNIT_EXPECT_EQ(test, 0, v->removes);
	KUNIT_EXPECT_EQ(test, MDEV_LIVE, state_of(v->mdev));

	mdev_close(v->mdev);
	KUNIT_EXPECT_EQ(test, 0, admin_remove(v, 1));
}

static void remove_makes_way(struct kunit *test)
{
	struct job *remove, *unregister;
	struct vendor *v = vendor_asking(test, &remove);

	unregister = job_start(test, job_unregister, v);
	expect_end(test, remove, -ENODEV);
	/* now the unregistration asks */
	expect_request(test, v);
	KUNIT_EXPECT_FALSE(test, completion_done(&unregister->done));
	/* which somebody else does; nobody waits for that */
	mdev_unregister_device(v->dev);
	KUNIT_EXPECT_FALSE(test, completion_done(&unregister->done));
	KUNIT_EXPECT_EQ(test, -ENODEV, mdev_open(v->mdev));
	KUNIT_EXPECT_EQ(test, 0, v->removes);

	mdev_close(v->mdev);
	expect_end(test, unregister, 0);
	KUNIT_EXPECT_EQ(test, 1, v->removes);
}

/* VFIO's part, for a device that it holds while nobody has it open. */
static bool vfio_holds;

static bool vfio_held(struct mdev_device *mdev)
{
	return READ_ONCE(vfio_holds);
}

static struct vendor *vendor_held(struct kunit *test, bool asks)
{
	struct vendor *v = vendor_new(test, "parent", false);

	if (asks)
		v->ops.request = vendor_request;
	KUNIT_ASSERT_EQ(test, 0, vendor_register(v));
	KUNIT_ASSERT_EQ(test, 0, admin_create(v, "a", 1));
	WRITE_ONCE(vfio_holds, true);
	mdev_set_held(v->mdev, vfio_held);
	return v;
}

static void remove_held(struct kunit *test)
{
	struct vendor *v = vendor_held(test, false);

	KUNIT_EXPECT_EQ(test, -EBUSY, admin_remove(v, 1));
	KUNIT_EXPECT_EQ(test, MDEV_LIVE, state_of(v->mdev));
	KUNIT_EXPECT_FALSE(test, mdev_is_open(v->mdev));
	WRITE_ONCE(vfio_holds, false);
	KUNIT_EXPECT_EQ(test, 0, admin_remove(v, 1));
}

static void remove_held_waits(struct kunit *test)
{
	struct vendor *v = vendor_held(test, true);
	struct job *remove, *unregister;

	remove = job_start(test, job_remove, v);
	while (state_of(v->mdev) != MDEV_REMOVING)
		usleep_range(100, 1000);
	send_sig(SIGTERM, remove->task, 0);
	expect_end(test, remove, -ERESTARTSYS);
	KUNIT_EXPECT_EQ(test, MDEV_LIVE, state_of(v->mdev));

	remove = job_start(test, job_remove, v);
	while (state_of(v->mdev) != MDEV_REMOVING)
		usleep_range(100, 1000);
	unregister = job_start(test, job_unregister, v);
	expect_end(test, remove, -ENODEV);
	KUNIT_EXPECT_FALSE(test, completion_done(&unregister->done));
	KUNIT_EXPECT_EQ(test, 0, v->removes);
	/* there is nobody whom the vendor could ask */
	KUNIT_EXPECT_FALSE(test, completion_done(&v->requested));
	WRITE_ONCE(vfio_holds, false);
	expect_end(test, unregister, 0);
	KUNIT_EXPECT_EQ(test, 1, v->removes);
}

/* The driver core clears its own drvdata. */
static void drvdata_survives_unbind(struct kunit *test)
{
	struct vendor *v = vendor_new_registered(test, "parent", false);
	struct device *dev;

	KUNIT_ASSERT_EQ(test, 0, admin_create(v, "a", 1));
	KUNIT_EXPECT_NULL(test, mdev_get_drvdata(v->mdev));
	mdev_set_drvdata(v->mdev, v);

	dev = mdev_dev(v->mdev);
	KUNIT_EXPECT_NOT_NULL(test, dev->driver);
	device_release_driver(dev);
	KUNIT_EXPECT_NULL(test, dev->driver);
	KUNIT_EXPECT_PTR_EQ(test, (void *)v, mdev_get_drvdata(v->mdev));
	KUNIT_EXPECT_EQ(test, 1, device_attach(dev));
	KUNIT_EXPECT_PTR_EQ(test, (void *)v, mdev_get_drvdata(v->mdev));
}

/*
 * Quota.
 */

static struct vendor *vendor_with_quota(struct kunit *test, const char *name,
					unsigned int max_instances)
{
	struct vendor *v = vendor_new(test, name, true);

	v->driver.max_instances = max_instances;
	KUNIT_ASSERT_EQ(test, 0, vendor_register(v));
	return v;
}

static void quota_exhausted(struct kunit *test)
{
	struct vendor *v = vendor_with_quota(test, "parent", 2);

	KUNIT_EXPECT_EQ(test, 2, admin_available(v));
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "a", 1));
	KUNIT_EXPECT_EQ(test, 1, admin_available(v));
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "b", 2));
	KUNIT_EXPECT_EQ(test, -EUSERS, admin_create(v, "a", 3));
	KUNIT_EXPECT_EQ(test, -EUSERS, admin_create(v, "b", 3));
	KUNIT_EXPECT_EQ(test, 0, admin_available(v));
	KUNIT_EXPECT_EQ(test, 2, v->creates);

	KUNIT_EXPECT_EQ(test, 0, admin_remove(v, 1));
	KUNIT_EXPECT_EQ(test, 1, admin_available(v));
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "b", 3));
	KUNIT_EXPECT_EQ(test, -EUSERS, admin_create(v, "b", 1));
}

/* Upstream takes one and then fails without giving it back. */
static void quota_given_back(struct kunit *test)
{
	struct vendor *v = vendor_with_quota(test, "parent", 2);

	v->create_ret = -ENOMEM;
	KUNIT_EXPECT_EQ(test, -ENOMEM, admin_create(v, "a", 1));
	KUNIT_EXPECT_EQ(test, 2, admin_available(v));
	v->create_ret = 0;
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "a", 1));
	KUNIT_EXPECT_EQ(test, -EEXIST, admin_create(v, "a", 1));
	KUNIT_EXPECT_EQ(test, 1, admin_available(v));
}

static void quota_extremes(struct kunit *test)
{
	struct vendor *none = vendor_with_quota(test, "none", 0);
	struct vendor *many = vendor_with_quota(test, "many", UINT_MAX);

	KUNIT_EXPECT_EQ(test, -EUSERS, admin_create(none, "a", 1));
	KUNIT_EXPECT_EQ(test, 0, admin_create(many, "a", 1));
	/* more than can be counted */
	KUNIT_EXPECT_EQ(test, INT_MAX - 1, admin_available(many));
}

/* A vendor of Linux 5.13 to 5.15 is called as it was then. */

static ssize_t vendor_mtype_show(struct mdev_type *mtype,
				 struct mdev_type_attribute *attr, char *buf)
{
	struct mdev_type_classic *type =
		container_of(mtype, struct mdev_type_classic, type);
	struct vendor *v = dev_get_drvdata(type->parent_dev);

	if (attr != &v->name)
		return -ENXIO;
	return sysfs_emit(buf, "%u\n", type->group_id);
}

static ssize_t vendor_mtype_store(struct mdev_type *mtype,
				  struct mdev_type_attribute *attr,
				  const char *buf, size_t count)
{
	struct mdev_type_classic *type =
		container_of(mtype, struct mdev_type_classic, type);
	struct vendor *v = dev_get_drvdata(type->parent_dev);

	v->creates = type->group_id + 100;
	return count;
}

static int vendor_create_mdev(struct mdev_device *mdev)
{
	struct mdev_type_classic *type =
		container_of(mdev->type, struct mdev_type_classic, type);

	return type->group_id ? vendor_probe(mdev) : -ENOSPC;
}

static void abi_5_13(struct kunit *test)
{
	struct vendor *v = vendor_new(test, "parent", false);

	v->abi = MDEV_ABI_5_13;
	v->ops.create_mdev = vendor_create_mdev;
	v->name.attr.mode = 0644;
	v->name.show_mtype = vendor_mtype_show;
	v->name.store_mtype = vendor_mtype_store;
	KUNIT_ASSERT_EQ(test, 0, vendor_register(v));

	KUNIT_EXPECT_EQ(test, 0, admin_read(admin_open(v, O_RDONLY,
						       TYPE "a/name")));
	KUNIT_EXPECT_EQ(test, 1, admin_read(admin_open(v, O_RDONLY,
						       TYPE "b/name")));
	KUNIT_EXPECT_EQ(test, 0, admin_write(admin_open(v, O_WRONLY,
							TYPE "b/name"),
					     "1", 1));
	KUNIT_EXPECT_EQ(test, 101, v->creates);
	KUNIT_EXPECT_EQ(test, -ENOSPC, admin_create(v, "a", 1));
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "b", 1));
	KUNIT_EXPECT_EQ(test, 102, v->creates);
	KUNIT_EXPECT_EQ(test, 0, admin_remove(v, 1));
}

static void quota_of_vendor(struct kunit *test)
{
	struct vendor *v = vendor_new(test, "parent", true);

	v->driver.max_instances = 1;
	v->driver.get_available = vendor_get_available;
	KUNIT_ASSERT_EQ(test, 0, vendor_register(v));
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "a", 1));
	KUNIT_EXPECT_EQ(test, 0, admin_create(v, "a", 2));
	KUNIT_EXPECT_EQ(test, 7, admin_available(v));
	v->create_ret = -EUSERS;
	KUNIT_EXPECT_EQ(test, -EUSERS, admin_create(v, "b", 3));
}

static struct kunit_case mdev_cases[] = {
	KUNIT_CASE_PARAM(register_without, mandatory_gen_params),
	KUNIT_CASE(register_half_of_ops),
	KUNIT_CASE_PARAM(register_nowhere, doors_gen_params),
	KUNIT_CASE(register_handle_twice),
	KUNIT_CASE_PARAM(register_bad_names, bad_names_gen_params),
	KUNIT_CASE_PARAM(register_names, doors_gen_params),
	KUNIT_CASE_PARAM(register_twice, two_doors_gen_params),
	KUNIT_CASE_PARAM(register_same_name, doors_gen_params),
	KUNIT_CASE_PARAM(register_then_rename, doors_gen_params),
	KUNIT_CASE_PARAM(register_again, doors_gen_params),
	KUNIT_CASE(unregister_unregistered),
	KUNIT_CASE(driver_gone),
	KUNIT_CASE(driver_of_others),
	KUNIT_CASE_PARAM(vendor_memory, doors_gen_params),
	KUNIT_CASE_PARAM(type_not_holding_parent, doors_gen_params),
	KUNIT_CASE_PARAM(uuid_syntax, uuid_strings_gen_params),
	KUNIT_CASE(uuid_taken),
	KUNIT_CASE_PARAM(uuid_many, doors_gen_params),
	KUNIT_CASE_PARAM(create_vendor_fails, vendor_rets_gen_params),
	KUNIT_CASE_PARAM(create_reenters, doors_gen_params),
	KUNIT_CASE(create_add_fails),
	KUNIT_CASE_PARAM(create_link_fails, doors_gen_params),
	KUNIT_CASE_PARAM(parent_is_busy, doors_gen_params),
	KUNIT_CASE(open_in_state),
	KUNIT_CASE(bind_while_removing),
	KUNIT_CASE_PARAM(remove_in_state, removals_gen_params),
	KUNIT_CASE_PARAM(remove_vendor_refuses, vendor_rets_gen_params),
	KUNIT_CASE(remove_waits_for_close),
	KUNIT_CASE(remove_interrupted),
	KUNIT_CASE(remove_makes_way),
	KUNIT_CASE(remove_held),
	KUNIT_CASE(remove_held_waits),
	KUNIT_CASE(drvdata_survives_unbind),
	KUNIT_CASE(abi_5_13),
	KUNIT_CASE(quota_exhausted),
	KUNIT_CASE(quota_given_back),
	KUNIT_CASE(quota_of_vendor),
	KUNIT_CASE(quota_extremes),
	{}
};

static char bridge_name[32];
static bool has_bridge;

/* In place of vfio_mdev, which every create would ask user space for. */
static struct mdev_driver bridge = {
	.driver = {
		.name		= bridge_name,
		.owner		= THIS_MODULE,
		.mod_name	= KBUILD_MODNAME,
	},
};

static int mdev_suite_init(struct kunit_suite *suite)
{
	struct file_system_type *type = get_fs_type("sysfs");
	struct vfsmount *mnt;
	int ret;

	if (!type)
		return -ENODEV;
	mnt = kern_mount(type);
	if (IS_ERR(mnt))
		return PTR_ERR(mnt);
	sysfs = mnt;

	driver_name(bridge_name, sizeof(bridge_name));
	ret = mdev_register_bridge(&bridge);
	has_bridge = !ret;
	/* the real one will do */
	return ret == -EBUSY ? 0 : ret;
}

static void mdev_suite_exit(struct kunit_suite *suite)
{
	if (has_bridge)
		mdev_unregister_bridge(&bridge);
	has_bridge = false;
	kern_unmount(sysfs);
	sysfs = NULL;
}

static struct kunit_suite mdev_suite = {
	.name		= "mdev",
	.suite_init	= mdev_suite_init,
	.suite_exit	= mdev_suite_exit,
	.test_cases	= mdev_cases,
};

kunit_test_suite(mdev_suite);

#if IS_ENABLED(CONFIG_VFIO_MDEV_LATE)
/*
 * The queue of built-in vendors, and a core that only takes notes: "+x" when it
 * is told of x, "*x" if the ops of x are those of 5.13, "-x" when x is taken back.
 */

static struct {
	struct mdev_late queue;
	char notes[64];
	/* turn this one down */
	const char *fails;
	/* enter this one, and do not leave until told so */
	const char *blocks;
	struct completion entered, leave;
	/* register this one from within the next call */
	const struct mdev_late_entry *during;
	int during_ret;
} late;

/* What is offered: the devices a and d, the parent b, and its driver c. */
struct offer {
	struct mdev_late_entry a, b, c, d;
	struct mdev_parent parent;
	struct mdev_driver driver;
};

static int late_note(const char *sign, const char *name)
{
	const struct mdev_late_entry *during = late.during;

	strlcat(late.notes, sign, sizeof(late.notes));
	strlcat(late.notes, name, sizeof(late.notes));
	if (!strcmp(late.blocks, name)) {
		complete(&late.entered);
		wait_for_completion(&late.leave);
	}
	late.during = NULL;
	if (during)
		late.during_ret = mdev_late_register(&late.queue, during);
	return strcmp(late.fails, name) ? 0 : -EIO;
}

/* KUnit's devices are called "TEST.NAME". */
static const char *late_name(const struct mdev_late_entry *entry)
{
	return entry->dev ? strrchr(dev_name(entry->dev), '.') + 1 :
			    entry->driver->driver.name;
}

static int late_bind(const struct mdev_late_entry *entry, bool waited)
{
	int ret;

	/* the real one does so, too, though not for as long */
	if (entry->parent)
		memset(entry->parent, 0, sizeof(*entry->parent));
	ret = late_note(entry->abi == MDEV_ABI_5_13 ? "*" : "+",
			late_name(entry));
	if (entry->parent)
		entry->parent->dev = entry->dev;
	return ret;
}

static void late_unbind(const struct mdev_late_entry *entry)
{
	late_note("-", late_name(entry));
}

static const struct mdev_late_core late_core = {
	.bind	= late_bind,
	.unbind	= late_unbind,
};

/* The notes since the last look. */
static void expect_notes(struct kunit *test, const char *notes)
{
	KUNIT_EXPECT_STREQ(test, late.notes, notes);
	late.notes[0] = '\0';
}

static int late_register(void *entry)
{
	return mdev_late_register(&late.queue, entry);
}

static int late_unregister(void *data)
{
	struct mdev_late_entry *entry = data;

	return mdev_late_unregister(&late.queue, entry->key, entry->parent);
}

static int late_attach(void *unused)
{
	mdev_late_start(&late.queue, &late_core);
	return 0;
}

static int late_detach(void *unused)
{
	mdev_late_stop(&late.queue);
	return 0;
}

static void late_empty(void *unused)
{
	struct mdev_late_entry *entry;

	late_detach(NULL);
	while ((entry = list_first_entry_or_null(&late.queue.pending,
						 struct mdev_late_entry, next)))
		late_unregister(entry);
}

static void offer_device(struct kunit *test, struct mdev_late_entry *entry,
			 const char *name)
{
	entry->dev = kunit_device_register_with_driver(test, name, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(entry->dev));
	entry->key = entry->dev;
	entry->kind = MDEV_LATE_DEVICE;
}

static struct offer *offer_new(struct kunit *test)
{
	struct offer *o = kunit_kzalloc(test, sizeof(*o), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, o);
	offer_device(test, &o->a, "a");
	offer_device(test, &o->b, "b");
	offer_device(test, &o->d, "d");
	o->d.abi = MDEV_ABI_5_13;
	o->b.kind = MDEV_LATE_PARENT;
	o->b.parent = &o->parent;
	o->b.driver = &o->driver;
	o->c.kind = MDEV_LATE_DRIVER;
	o->c.key = &o->driver;
	o->c.driver = &o->driver;
	o->driver.driver.name = "c";

	memset(&late, 0, sizeof(late));
	mutex_init(&late.queue.lock);
	INIT_LIST_HEAD(&late.queue.pending);
	INIT_LIST_HEAD(&late.queue.bound);
	init_waitqueue_head(&late.queue.wait);
	init_completion(&late.entered);
	init_completion(&late.leave);
	late.fails = "";
	late.blocks = "";
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, late_empty, NULL));
	return o;
}

/* c, a and b, in this order. */
static struct offer *offer_pending(struct kunit *test)
{
	struct offer *o = offer_new(test);

	KUNIT_ASSERT_EQ(test, 0, late_register(&o->c));
	KUNIT_ASSERT_EQ(test, 0, late_register(&o->a));
	KUNIT_ASSERT_EQ(test, 0, late_register(&o->b));
	expect_notes(test, "");
	return o;
}

static void late_order(struct kunit *test)
{
	struct offer *o = offer_pending(test);
	int i;

	for (i = 0; i < 3; i++) {
		late_attach(NULL);
		expect_notes(test, "+c+a+b");
		late_detach(NULL);
		expect_notes(test, "-b-a-c");
	}
	KUNIT_EXPECT_EQ(test, 0, late_register(&o->d));
	expect_notes(test, "");
	late_attach(NULL);
	expect_notes(test, "+c+a+b*d");
}

static void late_duplicates(struct kunit *test)
{
	struct offer *o = offer_pending(test);
	struct mdev_parent handle = {};
	struct mdev_late_entry other = o->b, again;
	int refs = kref_of(o->a.dev);
	int i;

	/* the same device through the other door */
	other.dev = o->a.dev;
	other.key = o->a.dev;
	other.parent = &handle;
	/* pending, then bound */
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, -EEXIST, late_register(&o->a));
		KUNIT_EXPECT_EQ(test, -EEXIST, late_register(&o->b));
		KUNIT_EXPECT_EQ(test, -EEXIST, late_register(&other));
		/* nor does a handle serve two devices */
		again = o->b;
		again.key = &again;
		KUNIT_EXPECT_EQ(test, -EEXIST, late_register(&again));
		KUNIT_EXPECT_EQ(test, -EBUSY, late_register(&o->c));
		KUNIT_EXPECT_EQ(test, refs, kref_of(o->a.dev));
		late_attach(NULL);
	}
	KUNIT_EXPECT_NULL(test, handle.dev);
	expect_notes(test, "+c+a+b");
}

static void late_unregister_pending(struct kunit *test)
{
	struct offer *o = offer_new(test);
	int refs = kref_of(o->b.dev);

	KUNIT_EXPECT_EQ(test, 0, late_register(&o->a));
	KUNIT_EXPECT_EQ(test, 0, late_register(&o->b));
	KUNIT_EXPECT_EQ(test, refs + 1, kref_of(o->b.dev));

	/* unknown, and known through the other door */
	KUNIT_EXPECT_FALSE(test, late_unregister(&o->c));
	KUNIT_EXPECT_FALSE(test, mdev_late_unregister(&late.queue, o->b.key,
						      NULL));
	KUNIT_EXPECT_TRUE(test, late_unregister(&o->b));
	KUNIT_EXPECT_FALSE(test, late_unregister(&o->b));
	KUNIT_EXPECT_EQ(test, refs, kref_of(o->b.dev));
	late_attach(NULL);
	expect_notes(test, "+a");
}

static void late_failure(struct kunit *test)
{
	struct offer *o = offer_pending(test);
	int refs = kref_of(o->a.dev);

	late.fails = "a";
	late_attach(NULL);
	expect_notes(test, "+c+a+b");
	KUNIT_EXPECT_EQ(test, -EEXIST, late_register(&o->a));
	late_detach(NULL);
	expect_notes(test, "-b-c");

	/* the next time, in its old place */
	late.fails = "";
	late_attach(NULL);
	expect_notes(test, "+c+a+b");
	late_detach(NULL);
	expect_notes(test, "-b-a-c");

	late.fails = "c";
	late_attach(NULL);
	expect_notes(test, "+c+a+b");
	late_detach(NULL);
	expect_notes(test, "-b-a");

	late.fails = "a";
	late_attach(NULL);
	expect_notes(test, "+c+a+b");
	KUNIT_EXPECT_EQ(test, refs, kref_of(o->a.dev));
	KUNIT_EXPECT_TRUE(test, late_unregister(&o->a));
	KUNIT_EXPECT_EQ(test, refs - 1, kref_of(o->a.dev));
	expect_notes(test, "");
}

static void late_attached(struct kunit *test)
{
	struct offer *o = offer_new(test);
	int refs = kref_of(o->b.dev);

	late_attach(NULL);
	late.fails = "b";
	KUNIT_EXPECT_EQ(test, -EIO, late_register(&o->b));
	KUNIT_EXPECT_EQ(test, refs, kref_of(o->b.dev));
	KUNIT_EXPECT_FALSE(test, late_unregister(&o->b));
	expect_notes(test, "+b");

	late.fails = "";
	KUNIT_EXPECT_EQ(test, 0, late_register(&o->b));
	KUNIT_EXPECT_EQ(test, 0, late_register(&o->a));
	KUNIT_EXPECT_TRUE(test, late_unregister(&o->b));
	KUNIT_EXPECT_EQ(test, refs, kref_of(o->b.dev));
	late_detach(NULL);
	expect_notes(test, "+b+a-b-a");
}

static void late_register_during_replay(struct kunit *test)
{
	struct offer *o = offer_pending(test);

	late.during = &o->d;
	late.during_ret = -EIO;
	/* whatever becomes of it when its turn comes */
	late.fails = "d";
	late_attach(NULL);
	KUNIT_EXPECT_EQ(test, 0, late.during_ret);
	expect_notes(test, "+c+a+b*d");

	late_detach(NULL);
	late.fails = "";
	late_attach(NULL);
	expect_notes(test, "-b-a-c+c+a+b*d");
}

static const struct late_race {
	const char *desc;
	/* what keeps d busy, what comes then, and what both return */
	int (*first)(void *entry);
	int first_ret;
	int (*second)(void *entry);
	int second_ret;
	const char *notes;
} late_races[] = {
	{ "replay, unregister", late_attach, 0, late_unregister, 1, "+a*d-d" },
	{ "register, unregister", late_register, 0, late_unregister, 1, "+a*d-d" },
	{ "register, detach", late_register, 0, late_detach, 0, "+a*d-d-a" },
	{ "unregister, unregister", late_unregister, 1, late_unregister, 0,
	  "+a*d-d" },
	{ "unregister, detach", late_unregister, 1, late_detach, 0, "+a*d-d-a" },
};

KUNIT_ARRAY_PARAM_DESC(late_races, late_races, desc);

static void late_waits_for_busy(struct kunit *test)
{
	const struct late_race *race = test->param_value;
	struct offer *o = offer_new(test);
	int refs = kref_of(o->d.dev);
	struct job *first, *second;

	KUNIT_EXPECT_EQ(test, 0, late_register(&o->a));
	if (race->first != late_register)
		KUNIT_EXPECT_EQ(test, 0, late_register(&o->d));
	if (race->first != late_attach)
		late_attach(NULL);

	late.blocks = "d";
	first = job_start(test, race->first, &o->d);
	wait_for_completion(&late.entered);
	second = job_start(test, race->second, &o->d);
	while (!wq_has_sleeper(&late.queue.wait) &&
	       !completion_done(&second->done))
		usleep_range(100, 1000);
	KUNIT_EXPECT_FALSE(test, completion_done(&second->done));
	KUNIT_EXPECT_FALSE(test, completion_done(&first->done));

	complete_all(&late.leave);
	KUNIT_EXPECT_EQ(test, race->first_ret, job_end(first));
	KUNIT_EXPECT_EQ(test, race->second_ret, job_end(second));
	expect_notes(test, race->notes);
	late_empty(NULL);
	KUNIT_EXPECT_EQ(test, refs, kref_of(o->d.dev));
}

static int late_unregister_handle(void *parent)
{
	return mdev_late_unregister(&late.queue, NULL, parent);
}

/* What mdev writes to the vendor's handle meanwhile has no part in finding it. */
static void late_handle_overwritten(struct kunit *test)
{
	struct offer *o = offer_new(test);
	struct mdev_late_entry again = o->b;
	int refs = kref_of(o->b.dev);
	struct job *first, *second;

	late_attach(NULL);
	late.blocks = "b";
	first = job_start(test, late_register, &o->b);
	wait_for_completion(&late.entered);
	KUNIT_EXPECT_NULL(test, o->parent.dev);

	again.key = &again;
	KUNIT_EXPECT_EQ(test, -EEXIST, late_register(&again));
	second = job_start(test, late_unregister_handle, &o->parent);
	while (!wq_has_sleeper(&late.queue.wait) &&
	       !completion_done(&second->done))
		usleep_range(100, 1000);
	KUNIT_EXPECT_FALSE(test, completion_done(&second->done));

	complete_all(&late.leave);
	KUNIT_EXPECT_EQ(test, 0, job_end(first));
	KUNIT_EXPECT_TRUE(test, job_end(second));
	expect_notes(test, "+b-b");
	KUNIT_EXPECT_EQ(test, refs, kref_of(o->b.dev));
}

static struct kunit_case mdev_late_cases[] = {
	KUNIT_CASE(late_order),
	KUNIT_CASE(late_duplicates),
	KUNIT_CASE(late_unregister_pending),
	KUNIT_CASE(late_failure),
	KUNIT_CASE(late_attached),
	KUNIT_CASE(late_register_during_replay),
	KUNIT_CASE_PARAM(late_waits_for_busy, late_races_gen_params),
	KUNIT_CASE(late_handle_overwritten),
	{}
};

static struct kunit_suite mdev_late_suite = {
	.name		= "mdev_late",
	.test_cases	= mdev_late_cases,
};

kunit_test_suite(mdev_late_suite);

#endif

#if IS_REACHABLE(CONFIG_VFIO_MDEV_DEVICE)
/*
 * The bridge's dirty log is compared with a bitmap of all its pages. Ranges that are too
 * large for leaves go into the table that is used when a leaf cannot be allocated.
 */

#define LOG_PAGES	(200 * VFIO_MDEV_LOG_PAGES)
#define LOG_LARGE	(70 * VFIO_MDEV_LOG_PAGES)

static void log_free(void *log)
{
	vfio_mdev_log_free(log);
}

/* a log of one range, which begins at page 0 */
static struct vfio_mdev_log *log_new(struct kunit *test, u64 npage)
{
	struct interval_tree_node node = { .last = (npage << PAGE_SHIFT) - 1 };
	struct rb_root_cached root = RB_ROOT_CACHED;
	struct vfio_mdev_log *log;

	interval_tree_insert(&node, &root);
	log = vfio_mdev_log_alloc(&root, 1);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, log);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, log_free, log));
	return log;
}

/* Take some pages: at least those in @dirty, or exactly those. */
static void log_take(struct kunit *test, struct vfio_mdev_log *log,
		     unsigned long *dirty, u64 first, u64 last, bool exact)
{
	DECLARE_BITMAP(want, VFIO_MDEV_LOG_PAGES) = {};
	DECLARE_BITMAP(bits, VFIO_MDEV_LOG_PAGES) = {};
	const u64 base = round_down(first, (u64)VFIO_MDEV_LOG_PAGES);
	u64 page, next = U64_MAX;

	for (page = first; page <= last; page++) {
		if (!__test_and_clear_bit(page, dirty))
			continue;
		__set_bit(page - base, want);
		next = min(next, page);
	}
	if (next != U64_MAX)
		KUNIT_EXPECT_LE(test, vfio_mdev_log_next(log, first), next);
	vfio_mdev_log_take(log, first, last, bits);
	KUNIT_EXPECT_TRUE(test, bitmap_subset(want, bits, VFIO_MDEV_LOG_PAGES));
	if (exact)
		KUNIT_EXPECT_TRUE(test, bitmap_equal(bits, want, VFIO_MDEV_LOG_PAGES));
}

static void log_take_all(struct kunit *test, struct vfio_mdev_log *log,
			 unsigned long *dirty, bool exact)
{
	u64 first;

	for (first = 0; first < LOG_PAGES; first += VFIO_MDEV_LOG_PAGES)
		log_take(test, log, dirty, first, first + VFIO_MDEV_LOG_PAGES - 1,
			 exact);
	KUNIT_EXPECT_EQ(test, U64_MAX, vfio_mdev_log_next(log, 0));
}

static void log_random(struct kunit *test, bool large)
{
	struct vfio_mdev_log *log = log_new(test, LOG_PAGES);
	u64 first, npage, last, window;
	struct rnd_state rnd;
	unsigned long *dirty;
	int i;

	dirty = kunit_kzalloc(test, LOG_PAGES / BITS_PER_BYTE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, dirty);
	prandom_seed_state(&rnd, 1);
	for (i = 0; i < 300; i++) {
		first = prandom_u32_state(&rnd) % LOG_PAGES;
		npage = 1 + prandom_u32_state(&rnd) % 3000;
		if (large && i % 30 == 0)
			npage += LOG_LARGE;
		last = min(first + npage, (u64)LOG_PAGES) - 1;
		bitmap_set(dirty, first, last - first + 1);
		/* pages beyond the range are not logged */
		vfio_mdev_log_set(log, first, first + npage - 1);
		for (window = 0; window < 20; window++) {
			first = prandom_u32_state(&rnd) % LOG_PAGES;
			last = first | (VFIO_MDEV_LOG_PAGES - 1);
			first = max(first, last - prandom_u32_state(&rnd) %
				    VFIO_MDEV_LOG_PAGES);
			log_take(test, log, dirty, first, last, !large);
		}
	}
	log_take_all(test, log, dirty, !large);
}

static void log_exact(struct kunit *test)
{
	log_random(test, false);
}

/* The table has too few entries for the rests of the large ranges. */
static void log_large(struct kunit *test)
{
	log_random(test, true);
}

/* With more ranges than the table has entries, some pages between them are dirty, too. */
static void log_too_many(struct kunit *test)
{
	const u64 npage = 100ULL * 2 * LOG_LARGE;
	struct vfio_mdev_log *log = log_new(test, npage);
	DECLARE_BITMAP(bits, VFIO_MDEV_LOG_PAGES);
	u64 first, index, more = 0;

	for (first = 0; first < npage; first += 2 * LOG_LARGE)
		vfio_mdev_log_set(log, first, first + LOG_LARGE - 1);
	for (first = 0; first < npage; first += VFIO_MDEV_LOG_PAGES) {
		bitmap_zero(bits, VFIO_MDEV_LOG_PAGES);
		index = first / LOG_LARGE;
		if (!(index & 1))
			KUNIT_EXPECT_EQ(test, first, vfio_mdev_log_next(log, first));
		vfio_mdev_log_take(log, first, first + VFIO_MDEV_LOG_PAGES - 1, bits);
		if (index & 1)
			more += bitmap_weight(bits, VFIO_MDEV_LOG_PAGES);
		else
			KUNIT_EXPECT_TRUE(test, bitmap_full(bits,
							    VFIO_MDEV_LOG_PAGES));
	}
	/* not all of them, and not forever */
	KUNIT_EXPECT_GT(test, more, 0ULL);
	KUNIT_EXPECT_LT(test, more, 80ULL * LOG_LARGE);
	KUNIT_EXPECT_EQ(test, U64_MAX, vfio_mdev_log_next(log, 0));
}

/* Take pages out of one range until the table has no entry for the rest of it. */
static void log_too_many_holes(struct kunit *test)
{
	struct vfio_mdev_log *log = log_new(test, 100 * LOG_LARGE);
	DECLARE_BITMAP(bits, VFIO_MDEV_LOG_PAGES);
	u64 first;
	int round;

	vfio_mdev_log_set(log, 0, 100 * LOG_LARGE - 1);
	for (round = 0; round < 2; round++) {
		for (first = 5; first < 100 * LOG_LARGE; first += LOG_LARGE) {
			bitmap_zero(bits, VFIO_MDEV_LOG_PAGES);
			vfio_mdev_log_take(log, first, first, bits);
			/* all are dirty in the first round, those without an entry in the second */
			KUNIT_EXPECT_EQ(test, !round || first > 31 * LOG_LARGE,
					test_bit(first % VFIO_MDEV_LOG_PAGES, bits));
			KUNIT_EXPECT_GE(test, 1, bitmap_weight(bits,
							       VFIO_MDEV_LOG_PAGES));
		}
	}
	for (first = 0; first < 100 * LOG_LARGE; first += VFIO_MDEV_LOG_PAGES)
		vfio_mdev_log_take(log, first, first + VFIO_MDEV_LOG_PAGES - 1, bits);
	KUNIT_EXPECT_EQ(test, U64_MAX, vfio_mdev_log_next(log, 0));
}

static struct kunit_case vfio_mdev_log_cases[] = {
	KUNIT_CASE(log_exact),
	KUNIT_CASE(log_large),
	KUNIT_CASE(log_too_many),
	KUNIT_CASE(log_too_many_holes),
	{}
};

static struct kunit_suite vfio_mdev_log_suite = {
	.name		= "vfio_mdev_log",
	.test_cases	= vfio_mdev_log_cases,
};

kunit_test_suite(vfio_mdev_log_suite);
#endif

/* not MODULE_IMPORT_NS(): 6.12 wants that without quotes */
MODULE_INFO(import_ns, "EXPORTED_FOR_KUNIT_TESTING");

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("KUnit tests of mdev");
