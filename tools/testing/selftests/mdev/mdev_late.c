// SPDX-License-Identifier: GPL-2.0-only
/*
 * Late binding: vendors that are built in and register before mdev is there,
 * and vendors and mdev as modules in all combinations.
 *
 * The built-in vendors are those of CONFIG_SAMPLE_VFIO_MDEV_EARLY. Which of them
 * start, and when, is up to the kernel's command line, so no one boot has it
 * all: what cannot be tested in this one is skipped, and tools/testing/late boots
 * until nothing was left out.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/vfio.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"

#define PENDING		"/sys/kernel/debug/mdev/pending"
#define PARENTS		"/sys/kernel/debug/mdev/parents"
#define EARLY		"/sys/module/%s_early/parameters/%s"
#define REGISTERED	"/sys/class/mnull/mnull0/registered"

/* mdev is there before anyone loads it */
static bool mdev_builtin;

static __attribute__((constructor)) void look_for_mdev(void)
{
	mdev_builtin = file_exists("/sys/bus/mdev") && !module_loaded("mdev");
}

/* initcall level that a built-in vendor was to start at, or less than 0 */
static int early_level(const char *vendor)
{
	return file_read_int(EARLY, vendor, "level");
}

static bool early_failed(const char *vendor)
{
	return early_level(vendor) >= 0 && !file_exists("/sys/class/%s", vendor);
}

static bool early_modern(const char *vendor)
{
	char door[16];

	return file_read(door, sizeof(door), EARLY, vendor, "door") > 0 &&
	       !strcmp(door, "modern");
}

/* position of the line that says this of what is pending; -1 if there is none */
static int pending_line(const char *text)
{
	char buf[4096], *line, *rest = buf;
	int i;

	if (file_read(buf, sizeof(buf), PENDING) < 0)
		return -1;
	for (i = 0; (line = strsep(&rest, "\n")); i++)
		if (!strcmp(line, text))
			return i;
	return -1;
}

static int pending_count(void)
{
	char buf[4096], *at = buf;
	int ret, count;

	ret = file_read(buf, sizeof(buf), PENDING);
	if (ret <= 0)
		return ret;
	for (count = 1; (at = strchr(at, '\n')); at++)
		count++;
	return count;
}

/* The door that this parent has come through, as mdev says. */
static void parent_door(const char *parent, char *door, size_t size)
{
	char buf[4096], *line, *rest = buf;

	*door = 0;
	if (file_read(buf, sizeof(buf), PARENTS) < 0)
		return;
	while ((line = strsep(&rest, "\n")))
		if (!strcmp(strsep(&line, " "), parent))
			snprintf(door, size, "%s", strsep(&line, " "));
}

/* mdev, if it is built in, starts at subsys_initcall, before samples do */
static bool has_waited(const char *vendor)
{
	return !mdev_builtin || early_level(vendor) < 4;
}

static int mdev_load(void)
{
	return mdev_builtin ? 0 : module_load("mdev");
}

static int mdev_unload(void)
{
	return mdev_builtin ? 0 : modules_reset();
}

/* A parent does all that it should, from its type to a device that is open. */
static void check_works(struct __test_metadata *_metadata, const char *type,
			bool modern)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
	int available, way;

	uuid_next(uuid);
	available = mdev_available(type);
	EXPECT_LT(0, available);
	ASSERT_EQ(0, mdev_create(type, uuid));
	EXPECT_EQ(available - 1, mdev_available(type));
	for (way = 0; way < 2 && !modern; way++) {
		if (!vfio_use_iommufd(way))
			continue;
		ASSERT_EQ(0, vfio_open(&vc, uuid));
		EXPECT_EQ(0, vfio_ioctl(vc.device, VFIO_DEVICE_GET_INFO, &info));
		EXPECT_EQ(-EBUSY, mdev_remove(uuid));
		vfio_close(&vc);
	}
	EXPECT_EQ(0, mdev_remove(uuid));
	EXPECT_EQ(available, mdev_available(type));
	EXPECT_FALSE(mdev_exists(uuid));
}

/* first, before any of the tests below has changed it */
TEST(boot_order)
{
	const char *pending = early_modern("mnull") ? "parent mnull0 pending" :
						      "device mnull0 pending";

	if (mdev_builtin)
		SKIP(return, "mdev is built in");
	if (early_level("mtty") < 0 || early_level("mnull") < 0)
		SKIP(return, "they were not both started early");
	if (early_level("mtty") == early_level("mnull"))
		SKIP(return, "both were started at the same level");

	ASSERT_LE(0, pending_line(pending));
	ASSERT_LE(0, pending_line("device mtty pending"));
	EXPECT_EQ(early_level("mtty") < early_level("mnull"),
		  pending_line("device mtty pending") < pending_line(pending));
}

/* a built-in vendor that gives its driver back, as it cannot start */
TEST(init_fails)
{
	if (!early_failed("mnull") || !early_modern("mnull"))
		SKIP(return, "mnull did not fail to start early");

	EXPECT_EQ(-1, pending_line("driver mnull pending"));
	ASSERT_EQ(0, mdev_load());
	EXPECT_EQ(0, pending_count());
	/* the name may go later; then there can be one of that name */
	ASSERT_EQ(0, modules_settle());
	ASSERT_EQ(0, module_load("mnull door=modern"));
	EXPECT_TRUE(file_exists("/sys/bus/mdev/drivers/mnull"));
	check_works(_metadata, "mnull0/mnull-1", true);
	EXPECT_EQ(0, module_unload("mnull"));
	EXPECT_EQ(0, mdev_unload());
	EXPECT_EQ(0, mdev_leftovers());
}

/* The combinations: whoever comes first, the vendor works in the end. */
FIXTURE(vendor) {
	bool modern;
};

FIXTURE_VARIANT(vendor) {
	const char *name;
	const char *type;
	const char *parent;
	bool builtin;
	bool modern;
};

FIXTURE_VARIANT_ADD(vendor, mtty_builtin) {
	.name = "mtty",
	.parent = "mtty",
	.type = "mtty/mtty-1",
	.builtin = true,
};

FIXTURE_VARIANT_ADD(vendor, mnull_builtin) {
	.name = "mnull",
	.parent = "mnull0",
	.type = "mnull0/mnull-1",
	.builtin = true,
};

FIXTURE_VARIANT_ADD(vendor, mtty_module) {
	.name = "mtty",
	.parent = "mtty",
	.type = "mtty/mtty-1",
};

FIXTURE_VARIANT_ADD(vendor, mnull_module) {
	.name = "mnull",
	.parent = "mnull0",
	.type = "mnull0/mnull-1",
};

FIXTURE_VARIANT_ADD(vendor, mnull_module_modern) {
	.name = "mnull",
	.parent = "mnull0",
	.type = "mnull0/mnull-1",
	.modern = true,
};

FIXTURE_SETUP(vendor)
{
	bool started = early_level(variant->name) >= 0;

	if (early_failed(variant->name))
		SKIP(return, "%s failed to start early", variant->name);
	if (variant->builtin && !started)
		SKIP(return, "%s was not started early", variant->name);
	if (!variant->builtin && started)
		SKIP(return, "%s is there already", variant->name);
	ASSERT_EQ(0, mdev_unload());
	self->modern = variant->builtin ? early_modern(variant->name) :
					  variant->modern;
}

FIXTURE_TEARDOWN(vendor)
{
	if (!variant->builtin)
		EXPECT_EQ(0, module_unload(variant->name));
	EXPECT_EQ(0, mdev_unload());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(vendor, works)
{
	char text[64], args[64], door[16];

	snprintf(text, sizeof(text), "%s %s pending",
		 self->modern ? "parent" : "device", variant->parent);
	if (!variant->builtin) {
		snprintf(args, sizeof(args), "%s%s", variant->name,
			 self->modern ? " door=modern" : "");
		ASSERT_EQ(0, module_load(args));
	} else if (!mdev_builtin) {
		/* upstream bug: there was no way to register that early */
		EXPECT_LE(0, pending_line(text));
		EXPECT_FALSE(file_exists(MDEV_CLASS "/%s", variant->parent));
		ASSERT_EQ(0, mdev_load());
	}

	EXPECT_EQ(-1, pending_line(text));
	parent_door(variant->parent, door, sizeof(door));
	snprintf(text, sizeof(text), "%s%s", self->modern ? "modern" : "classic",
		 variant->builtin && has_waited(variant->name) ? "-late" : "");
	EXPECT_STREQ(text, door);
	check_works(_metadata, variant->type, self->modern);
}

/* What a built-in vendor sees of a module that comes and goes. */
FIXTURE(queue) {
	bool modern;
	const char *pending;	/* the line for mnull0 */
	const char *failed;
};

FIXTURE_SETUP(queue)
{
	if (mdev_builtin)
		SKIP(return, "mdev is built in");
	if (early_level("mnull") < 0 || early_failed("mnull"))
		SKIP(return, "mnull was not started early");

	ASSERT_EQ(0, modules_reset());
	self->modern = early_modern("mnull");
	self->pending = self->modern ? "parent mnull0 pending" :
				       "device mnull0 pending";
	self->failed = self->modern ? "parent mnull0 failed -17" :
				      "device mnull0 failed -17";
	ASSERT_LE(0, pending_line(self->pending));
}

FIXTURE_TEARDOWN(queue)
{
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
	/* as it was at the beginning */
	EXPECT_EQ(0, file_write("nothing", EARLY, "mnull", "omit"));
	if (file_read_int(REGISTERED) == 1)
		EXPECT_EQ(0, file_write("0", REGISTERED));
	EXPECT_EQ(0, file_write("1", REGISTERED));
	EXPECT_LE(0, pending_line(self->pending));
}

TEST_F(queue, reload_three_times)
{
	int i, count = pending_count();

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, module_load("mdev"));
		EXPECT_EQ(0, pending_count());
		check_works(_metadata, "mnull0/mnull-1", self->modern);
		if (early_level("mtty") >= 0)
			check_works(_metadata, "mtty/mtty-1", false);
		ASSERT_EQ(0, modules_reset());
		EXPECT_EQ(count, pending_count());
		EXPECT_LE(0, pending_line(self->pending));
	}
}

TEST_F(queue, unregister_pending)
{
	int kmsg;

	EXPECT_EQ(0, file_write("0", REGISTERED));
	EXPECT_EQ(-1, pending_line(self->pending));

	/* once more changes nothing; a modern vendor knows that by itself */
	kmsg = kmsg_open();
	ASSERT_LE(0, kmsg);
	EXPECT_EQ(0, file_write("0", REGISTERED));
	if (self->modern) {
		EXPECT_TRUE(kmsg_lacks(kmsg, "mnull0", "not registered"));
	} else {
		EXPECT_TRUE(kmsg_find(kmsg, "mnull0",
				      "not registered, cannot unregister"));
	}
	close(kmsg);

	ASSERT_EQ(0, module_load("mdev"));
	EXPECT_FALSE(file_exists(MDEV_CLASS "/mnull0"));

	/* now there is nothing to wait for, either way */
	EXPECT_EQ(0, file_write("1", REGISTERED));
	EXPECT_TRUE(file_exists(MDEV_CLASS "/mnull0"));
	check_works(_metadata, "mnull0/mnull-1", self->modern);
	EXPECT_EQ(0, file_write("0", REGISTERED));
	EXPECT_FALSE(file_exists(MDEV_CLASS "/mnull0"));

	ASSERT_EQ(0, modules_reset());
	EXPECT_EQ(-1, pending_line(self->pending));
	EXPECT_EQ(0, file_write("1", REGISTERED));
	EXPECT_LE(0, pending_line(self->pending));
}

/* who registers again is last, before and after mdev has been there */
TEST_F(queue, order)
{
	int i, kmsg, mtty, mnull;

	if (early_level("mtty") < 0)
		SKIP(return, "mtty was not started early");
	EXPECT_EQ(0, file_write("0", REGISTERED));
	EXPECT_EQ(0, file_write("1", REGISTERED));

	for (i = 0; i < 2; i++) {
		mtty = pending_line("device mtty pending");
		mnull = pending_line(self->pending);
		EXPECT_LE(0, mtty);
		EXPECT_LT(mtty, mnull);

		/* finds the lines one after the other */
		kmsg = kmsg_open();
		ASSERT_LE(0, kmsg);
		ASSERT_EQ(0, module_load("mdev"));
		EXPECT_TRUE(kmsg_find(kmsg, "mtty", "mdev: registered"));
		EXPECT_TRUE(kmsg_find(kmsg, "mnull0", "mdev: registered"));
		close(kmsg);
		ASSERT_EQ(0, modules_reset());
	}
}

TEST_F(queue, duplicate)
{
	int count = pending_count();

	EXPECT_EQ(-EEXIST, file_write("1", REGISTERED));
	EXPECT_EQ(count, pending_count());
	ASSERT_EQ(0, module_load("mdev"));
	EXPECT_EQ(-EEXIST, file_write("1", REGISTERED));
	check_works(_metadata, "mnull0/mnull-1", self->modern);
}

/* what is wrong for certain is refused while mdev is not there */
TEST_F(queue, invalid)
{
	int count;

	EXPECT_EQ(0, file_write("0", REGISTERED));
	count = pending_count();
	EXPECT_EQ(0, file_write(self->modern ? "driver" : "create",
				EARLY, "mnull", "omit"));
	EXPECT_EQ(-EINVAL, file_write("1", REGISTERED));
	EXPECT_EQ(0, file_write("types", EARLY, "mnull", "omit"));
	EXPECT_EQ(-EINVAL, file_write("1", REGISTERED));
	EXPECT_EQ(count, pending_count());
}

/* two types of one name: only mdev itself sees that */
TEST_F(queue, replay_fails)
{
	int kmsg;

	if (file_read_int(EARLY, "mnull", "types") < 2)
		SKIP(return, "mnull has one type only");

	EXPECT_EQ(0, file_write("0", REGISTERED));
	EXPECT_EQ(0, file_write("unique", EARLY, "mnull", "omit"));
	EXPECT_EQ(0, file_write("1", REGISTERED));
	EXPECT_LE(0, pending_line(self->pending));

	kmsg = kmsg_open();
	ASSERT_LE(0, kmsg);
	ASSERT_EQ(0, module_load("mdev"));
	EXPECT_TRUE(kmsg_find(kmsg, "mnull0", "late registration failed: -17"));
	close(kmsg);
	EXPECT_LE(0, pending_line(self->failed));
	EXPECT_EQ(1, pending_count());
	EXPECT_FALSE(file_exists(MDEV_CLASS "/mnull0"));
	/* it is the vendor's still, and not to be had twice */
	EXPECT_EQ(-EEXIST, file_write("1", REGISTERED));

	/* the next mdev is asked again */
	ASSERT_EQ(0, modules_reset());
	EXPECT_LE(0, pending_line(self->pending));
	ASSERT_EQ(0, module_load("mdev"));
	EXPECT_LE(0, pending_line(self->failed));

	/* and there is a way out */
	EXPECT_EQ(0, file_write("0", REGISTERED));
	EXPECT_EQ(0, pending_count());
	EXPECT_EQ(0, file_write("nothing", EARLY, "mnull", "omit"));
	EXPECT_EQ(0, file_write("1", REGISTERED));
	check_works(_metadata, "mnull0/mnull-1", self->modern);
}

TEST_F(queue, open_keeps_mdev)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;

	uuid_next(uuid);
	ASSERT_EQ(0, module_load("mdev"));
	ASSERT_EQ(0, mdev_create("mnull0/mnull-1", uuid));

	if (self->modern) {
		/* may be open for all that mdev can see */
		EXPECT_EQ(-EAGAIN, module_unload("mdev"));
		EXPECT_EQ(0, mdev_remove(uuid));
		return;
	}

	ASSERT_EQ(0, vfio_open(&vc, uuid));
	EXPECT_EQ(-EAGAIN, module_unload("vfio_mdev"));
	EXPECT_EQ(-EAGAIN, module_unload("mdev"));
	EXPECT_EQ(0, vfio_ioctl(vc.device, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_TRUE(file_exists(MDEV_DEVICES "/%s/mdev_type", uuid));
	EXPECT_EQ(0, pending_count());
	vfio_close(&vc);
	EXPECT_EQ(0, mdev_remove(uuid));
}

/* a device that nobody uses goes with mdev, and its instance is free again */
TEST_F(queue, unload_removes_devices)
{
	char uuid[UUID_LEN + 1];
	int available;

	if (self->modern)
		SKIP(return, "devices of a modern vendor keep mdev");

	uuid_next(uuid);
	ASSERT_EQ(0, module_load("mdev"));
	available = mdev_available("mnull0/mnull-1");
	ASSERT_EQ(0, mdev_create("mnull0/mnull-1", uuid));
	ASSERT_EQ(0, modules_reset());
	EXPECT_FALSE(mdev_exists(uuid));
	EXPECT_LE(0, pending_line(self->pending));

	ASSERT_EQ(0, module_load("mdev"));
	EXPECT_EQ(available, mdev_available("mnull0/mnull-1"));
}

/*
 * mdev comes and goes on one processor while the vendor does on another, and a
 * third party creates devices.
 */

static atomic_bool race_stop;
static atomic_int race_loads, race_registrations, race_creates;

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *race_mdev(void *arg)
{
	run_on(0);
	while (!race_stop) {
		if (!module_load("mdev"))
			race_loads++;
		modules_reset();
	}
	return NULL;
}

/* Returns the errno of the first write that failed. */
static void *race_vendor(void *arg)
{
	int ret = 0;

	run_on(1);
	while (!race_stop && !ret) {
		ret = file_write("0", REGISTERED);
		if (!ret)
			ret = file_write("1", REGISTERED);
		if (!ret)
			race_registrations++;
	}
	return (void *)(long)ret;
}

static void *race_create(void *arg)
{
	char uuid[UUID_LEN + 1];

	while (!race_stop) {
		uuid_next(uuid);
		if (!mdev_create("mnull0/mnull-1", uuid))
			race_creates++;
		mdev_remove(uuid);
	}
	return NULL;
}

TEST_F_TIMEOUT(queue, race, 900)
{
	static void *(*const funcs[])(void *) = {
		race_vendor, race_mdev, race_create,
	};
	const char *seconds = getenv("MDEV_SECONDS");
	pthread_t threads[ARRAY_SIZE(funcs)];
	void *result;
	unsigned int i;
	long end;

	for (i = 0; i < ARRAY_SIZE(funcs); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, funcs[i], NULL));
	end = now_ms() + 1000 * (seconds ? atoi(seconds) : 20);
	/* a load waits for what is released late: under load, minutes with all checkers on */
	while (now_ms() < end || (now_ms() < end + 240000 &&
				  !(race_loads > 1 && race_registrations > 10)))
		sleep_ms(50);
	race_stop = true;

	ASSERT_EQ(0, pthread_join(threads[0], &result));
	EXPECT_EQ(0, (long)result);
	for (i = 1; i < ARRAY_SIZE(funcs); i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));

	TH_LOG("%d loads, %d registrations, %d creates", race_loads,
	       race_registrations, race_creates);
	EXPECT_LT(1, race_loads);
	EXPECT_LT(10, race_registrations);

	/* whoever was last, it works */
	ASSERT_EQ(0, modules_reset());
	EXPECT_LE(0, pending_line(self->pending));
	ASSERT_EQ(0, module_load("mdev"));
	check_works(_metadata, "mnull0/mnull-1", self->modern);
}

TEST_HARNESS_MAIN
