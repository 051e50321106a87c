// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bugs that upstream's mdev has had, a test each, named after its bug.
 *
 * Those of the modern door run on the kernel's own mdev, too: the vendor is built
 * once and loads on either. Where it fails there, the bug is still open. What cannot
 * be seen from user space is in mdev_test.c, built-in order in mdev_late.c; see the
 * table in Documentation/testing.rst.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"

/* each door has two parents with one of these types, and three instances of it */
#define TYPE		"mdev_test.0/platform-a"
#define OTHER		"mdev_test.1/platform-a"
#define PARENT_DIR	"/sys/devices/platform/mdev_test.0"
#define TYPE_DIR	PARENT_DIR "/mdev_supported_types/platform-a"
#define PARAM		"/sys/module/mdev_test_modern/parameters/"

#define CLASSIC_TYPE	"mnull0/mnull-1"
#define CLASSIC_PARAM	"/sys/module/mnull/parameters/"
#define REGISTERED	"/sys/class/mnull/mnull0/registered"

FIXTURE(modern) {
	char uuid[UUID_LEN + 1];
	char other[UUID_LEN + 1];
};

FIXTURE_SETUP(modern)
{
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mdev_test_modern"));
	uuid_next(self->uuid);
	uuid_next(self->other);
}

FIXTURE_TEARDOWN(modern)
{
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

/* kmalloc() goes by another name on 6.1 */
static int create_fails_alloc(const char *uuid)
{
	int ret;

	ret = file_write_fails("__kmalloc_cache_noprof", 0, uuid, TYPE_DIR "/create");
	if (ret == -ENOENT)
		ret = file_write_fails("kmalloc_trace", 0, uuid, TYPE_DIR "/create");
	return ret;
}

/* a parent that is as good as new: all instances free, devices come and go */
#define expect_works() do {						\
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));				\
	EXPECT_EQ(3, mdev_available(TYPE));				\
	EXPECT_EQ(0, mdev_create(TYPE, self->uuid));			\
	EXPECT_EQ(2, mdev_available(TYPE));				\
	EXPECT_EQ(0, mdev_remove(self->uuid));				\
	EXPECT_EQ(3, mdev_available(TYPE));				\
} while (0)

TEST_F(modern, duplicate_registration_drops_reference)
{
	int i;

	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	for (i = 0; i < 5; i++)
		EXPECT_GT(0, file_write("0", PARAM "register"));
	EXPECT_TRUE(mdev_exists(self->uuid));
	EXPECT_EQ(0, mdev_remove(self->uuid));
	expect_works();
}

/* whoever comes while the parent goes must not leave a file, or a device */
TEST_F(modern, remove_file_recreated_on_stale_device)
{
	char path[128];
	pid_t leaver;
	int fd;

	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, mdev_create(TYPE, self->other));
	snprintf(path, sizeof(path), MDEV_DEVICES "/%s/remove", self->other);
	fd = open(path, O_WRONLY);
	ASSERT_LE(0, fd);

	ASSERT_EQ(0, file_write("2000", PARAM "delay_remove"));
	leaver = file_write_child("0", PARAM "unregister");
	ASSERT_TRUE(child_blocks(leaver));
	EXPECT_EQ(-1, write(fd, "1", 1));
	EXPECT_EQ(ENODEV, errno);

	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_EQ(-1, write(fd, "1", 1));
	EXPECT_EQ(ENODEV, errno);
	close(fd);
	EXPECT_FALSE(file_exists(PARENT_DIR "/%s", self->uuid));
	EXPECT_FALSE(file_exists(PARENT_DIR "/%s", self->other));

	ASSERT_EQ(0, file_write("0", PARAM "delay_remove"));
	ASSERT_EQ(0, file_write("0", PARAM "register"));
	expect_works();
}

TEST_F(modern, create_races_unregister)
{
	pid_t creator, leaver;

	ASSERT_EQ(0, file_write("2000", PARAM "delay_probe"));
	creator = mdev_create_child(TYPE, self->uuid);
	ASSERT_TRUE(child_blocks(creator));
	leaver = file_write_child("0", PARAM "unregister");
	ASSERT_TRUE(child_blocks(leaver));
	ASSERT_TRUE(child_running(creator));
	EXPECT_EQ(-ENODEV, mdev_create(TYPE, self->other));

	EXPECT_EQ(0, child_wait(creator));
	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
	EXPECT_FALSE(file_exists(PARENT_DIR "/%s", self->uuid));
	EXPECT_FALSE(file_exists(PARENT_DIR "/%s", self->other));

	ASSERT_EQ(0, file_write("0", PARAM "delay_probe"));
	ASSERT_EQ(0, file_write("0", PARAM "register"));
	expect_works();
}

TEST_F(modern, remove_races_unregister)
{
	pid_t remover, leaver;

	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, mdev_create(TYPE, self->other));
	ASSERT_EQ(0, file_write("2000", PARAM "delay_remove"));
	remover = mdev_remove_child(self->uuid);
	ASSERT_TRUE(child_blocks(remover));
	leaver = file_write_child("0", PARAM "unregister");
	ASSERT_TRUE(child_blocks(leaver));
	ASSERT_TRUE(child_running(remover));

	EXPECT_EQ(0, child_wait(remover));
	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
	ASSERT_EQ(0, file_write("0", PARAM "delay_remove"));
	ASSERT_EQ(0, file_write("0", PARAM "register"));
	expect_works();
}

TEST_F(modern, duplicate_uuid_across_parents)
{
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	EXPECT_EQ(-EEXIST, mdev_create(OTHER, self->uuid));
	EXPECT_EQ(3, mdev_available(OTHER));
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, mdev_create(OTHER, self->uuid));
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

TEST_F(modern, no_event_on_registration)
{
	static const char * const steps[] = { "unregister", "register" };
	static const char * const states[] = { "unregistered", "registered" };
	struct uevent ev;
	unsigned int i;
	int fd;

	fd = uevent_open();
	ASSERT_LE(0, fd);
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		ASSERT_EQ(0, file_write("0", PARAM "%s", steps[i]));
		ASSERT_EQ(0, uevent_next(fd, "/mdev_test.0", &ev));
		EXPECT_STREQ("change", uevent_action(&ev));
		EXPECT_STREQ(states[i], uevent_get(&ev, "MDEV_STATE"));
	}
	close(fd);
}

/* the first type, then the second; vendors_reset() tells of what is not freed */
TEST_F(modern, kobject_leak_when_type_fails)
{
	int n, ret;

	if (module_load("mdev_test_fail"))
		SKIP(return, "no kprobes in this kernel");
	ASSERT_EQ(0, file_write("0", PARAM "unregister"));
	for (n = 0; n < 2; n++) {
		ret = file_write_fails("kobject_init_and_add", n, "0",
				       PARAM "register");
		EXPECT_EQ(-ENOMEM, ret);
		EXPECT_FALSE(file_exists(PARENT_DIR "/mdev_supported_types"));
	}
	ASSERT_EQ(0, file_write("0", PARAM "register"));
	expect_works();
}

/* upstream, registering was a success, and unregistering was not */
TEST_F(modern, protection_fault_after_type_failed)
{
	int n, ret;

	if (module_load("mdev_test_fail"))
		SKIP(return, "no kprobes in this kernel");
	for (n = 0; n < 10; n++) {
		ASSERT_EQ(0, file_write("0", PARAM "unregister"));
		ret = file_write_fails("kobject_create_and_add", n, "0",
				       PARAM "register");
		if (ret == 1)
			break;
		EXPECT_EQ(-ENOMEM, ret);
		EXPECT_FALSE(file_exists(PARENT_DIR "/mdev_supported_types"));
		/* does not oops */
		EXPECT_EQ(0, file_write("0", PARAM "unregister"));
		ASSERT_EQ(0, file_write("0", PARAM "register"));
	}
	/* both types, at the least */
	EXPECT_LE(2, n);
	EXPECT_GT(10, n);
	EXPECT_EQ(0, module_unload("mdev_test_modern"));
}

static bool stop;

/* whether the file is there is a matter of luck; what it says is not */
static void *read_available(void *arg)
{
	long wrong = 0;
	int ret;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		ret = file_read_int(TYPE_DIR "/available_instances");
		wrong += ret >= 0 && ret != 7;
	}
	return (void *)wrong;
}

TEST_F(modern, type_parent_is_null)
{
	pthread_t reader;
	void *wrong;
	int i;

	ASSERT_EQ(0, module_unload("mdev_test_modern"));
	ASSERT_EQ(0, module_load("mdev_test_modern vendor_counts=1"));
	EXPECT_EQ(7, mdev_available(TYPE));
	stop = false;
	ASSERT_EQ(0, pthread_create(&reader, NULL, read_available, NULL));
	for (i = 0; i < 200; i++) {
		EXPECT_EQ(0, file_write("0", PARAM "unregister"));
		EXPECT_EQ(0, file_write("0", PARAM "register"));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(reader, &wrong);
	EXPECT_EQ(NULL, wrong);
}

TEST_F(modern, available_instances_race)
{
	char uuid[8][UUID_LEN + 1];
	int round, i, made, ret;
	pid_t pid[8];

	for (i = 0; i < 8; i++)
		uuid_next(uuid[i]);
	for (round = 0; round < 10; round++) {
		made = 0;
		for (i = 0; i < 8; i++)
			pid[i] = mdev_create_child(TYPE, uuid[i]);
		for (i = 0; i < 8; i++) {
			ret = child_wait(pid[i]);
			made += !ret;
			if (ret)
				EXPECT_EQ(-EUSERS, ret);
		}
		EXPECT_EQ(3, made);
		EXPECT_EQ(0, mdev_available(TYPE));
		for (i = 0; i < 8; i++)
			mdev_remove(uuid[i]);
		EXPECT_EQ(3, mdev_available(TYPE));
	}
}

/* open upstream */
TEST_F(modern, quota_lost_on_failed_create)
{
	int i;

	if (module_load("mdev_test_fail"))
		SKIP(return, "no kprobes in this kernel");
	for (i = 0; i < 3; i++)
		ASSERT_EQ(-ENOMEM, create_fails_alloc(self->uuid));
	EXPECT_EQ(3, mdev_available(TYPE));
	EXPECT_EQ(0, mdev_create(TYPE, self->uuid));
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

TEST_F(modern, device_name_error_ignored)
{
	if (module_load("mdev_test_fail"))
		SKIP(return, "no kprobes in this kernel");
	EXPECT_EQ(-ENOMEM, file_write_fails("dev_set_name", 0, self->uuid,
					    TYPE_DIR "/create"));
	EXPECT_FALSE(mdev_exists(self->uuid));
	expect_works();
}

/* open upstream */
TEST_F(modern, remove_file_lost)
{
	pid_t creator;

	ASSERT_EQ(0, file_write("2000", PARAM "delay_probe"));
	creator = mdev_create_child(TYPE, self->uuid);
	ASSERT_TRUE(wait_for(mdev_exists(self->uuid)));
	ASSERT_TRUE(child_running(creator));
	EXPECT_EQ(-EAGAIN, mdev_remove(self->uuid));
	EXPECT_EQ(0, child_wait(creator));

	/* a device that nobody can remove is there until its parent goes */
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_FALSE(mdev_exists(self->uuid));
}

/* bugs of the classic door, which upstream does not have any more */

FIXTURE(classic) {
	char uuid[3][UUID_LEN + 1];
};

FIXTURE_SETUP(classic)
{
	int i;

	ASSERT_EQ(0, vendors_reset());
	if (module_load("mnull request=1 instances=3"))
		SKIP(return, "this mdev has no classic door");
	for (i = 0; i < 3; i++)
		uuid_next(self->uuid[i]);
}

FIXTURE_TEARDOWN(classic)
{
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(classic, remove_error_masked)
{
	ASSERT_EQ(0, mdev_create(CLASSIC_TYPE, self->uuid[0]));
	ASSERT_EQ(0, file_write("28", CLASSIC_PARAM "fail_remove"));
	EXPECT_EQ(-ENOSPC, mdev_remove(self->uuid[0]));
	ASSERT_EQ(0, file_write("0", CLASSIC_PARAM "fail_remove"));
	EXPECT_EQ(0, mdev_remove(self->uuid[0]));
}

TEST_F(classic, failing_child_stops_removal)
{
	int i;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, mdev_create(CLASSIC_TYPE, self->uuid[i]));
	ASSERT_EQ(0, file_write("16", CLASSIC_PARAM "fail_remove"));
	EXPECT_EQ(0, file_write("0", REGISTERED));
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
	EXPECT_EQ(0, module_unload("mnull"));
}

TEST_F(classic, on_the_bus_before_create)
{
	pid_t creator;

	/* or creating waits for it first */
	ASSERT_EQ(0, module_load("vfio_mdev"));
	ASSERT_EQ(0, file_write("2000", CLASSIC_PARAM "delay_create"));
	creator = mdev_create_child(CLASSIC_TYPE, self->uuid[0]);
	ASSERT_TRUE(child_blocks(creator));
	EXPECT_FALSE(mdev_exists(self->uuid[0]));
	EXPECT_EQ(0, child_wait(creator));
	EXPECT_TRUE(mdev_exists(self->uuid[0]));

	/* nor is it there if create fails */
	ASSERT_EQ(0, file_write("5", CLASSIC_PARAM "fail_create"));
	EXPECT_EQ(-EIO, mdev_create(CLASSIC_TYPE, self->uuid[1]));
	EXPECT_FALSE(mdev_exists(self->uuid[1]));
}

/* the holder is asked for the device, and the log says who that is */
TEST_F(classic, unregister_waits_without_asking)
{
	struct vfio_client vc;
	pid_t leaver;
	char who[64];
	int kmsg;

	ASSERT_EQ(0, module_load("vfio_iommu_type1"));
	ASSERT_EQ(0, mdev_create(CLASSIC_TYPE, self->uuid[0]));
	ASSERT_EQ(0, vfio_open(&vc, self->uuid[0]));
	kmsg = kmsg_open();
	ASSERT_LE(0, kmsg);
	leaver = file_write_child("0", REGISTERED);
	EXPECT_TRUE(wait_for(file_read_int(MDEV_DEVICES "/%s/vendor/requests",
					   self->uuid[0]) == 1));
	snprintf(who, sizeof(who), "mdev_bugs[%d]", getpid());
	EXPECT_TRUE(kmsg_find(kmsg, self->uuid[0], who));
	close(kmsg);
	EXPECT_TRUE(child_running(leaver));
	vfio_close(&vc);
	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
}

TEST_HARNESS_MAIN
