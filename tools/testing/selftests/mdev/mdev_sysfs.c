// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sysfs ABI, through both doors: names, modes, links, contents, events, and
 * every input and every error that "create" and "remove" promise.
 *
 * The vendor is mnull: it does nothing, and fails when it is told to.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"

#define PARENT0		MDEV_CLASS "/mnull0"
#define TYPE0		"mnull0/mnull-1"
#define TYPE0_DIR	PARENT0 "/mdev_supported_types/mnull-1"
#define PARAM		"/sys/module/mnull/parameters/"

/* what has to be true whatever happened: nothing there, all instances free */
#define expect_clean() do {				\
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));		\
	EXPECT_EQ(3, mdev_available(TYPE0));		\
} while (0)

FIXTURE(door) {
	char uuid[UUID_LEN + 1];
};

FIXTURE_VARIANT(door) {
	const char *args;
	bool classic;
	const char *driver;
};

FIXTURE_VARIANT_ADD(door, classic) {
	.args = "mnull door=classic parents=2 types=2 instances=3",
	.classic = true,
	.driver = "vfio_mdev",
};

FIXTURE_VARIANT_ADD(door, modern) {
	.args = "mnull door=modern parents=2 types=2 instances=3",
	.driver = "mnull",
};

FIXTURE_VARIANT_ADD(door, modern_vendor_counts) {
	.args = "mnull door=modern parents=2 types=2 instances=3 vendor_counts=1",
	.driver = "mnull",
};

FIXTURE_SETUP(door)
{
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("vfio_mdev"));
	ASSERT_EQ(0, module_load(variant->args));
	uuid_next(self->uuid);
}

FIXTURE_TEARDOWN(door)
{
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

/* for what only one of the doors has */

FIXTURE(classic) {
	char uuid[UUID_LEN + 1];
};

FIXTURE_SETUP(classic)
{
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mnull door=classic parents=2 types=2 instances=3"));
	uuid_next(self->uuid);
}

FIXTURE_TEARDOWN(classic)
{
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

FIXTURE(modern) {
	char uuid[UUID_LEN + 1];
};

FIXTURE_SETUP(modern)
{
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mnull door=modern parents=2 types=2 instances=3"));
	uuid_next(self->uuid);
}

FIXTURE_TEARDOWN(modern)
{
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(door, parent_layout)
{
	char buf[64];

	ASSERT_EQ(0, link_base(buf, sizeof(buf), PARENT0));
	EXPECT_STREQ("mnull0", buf);
	EXPECT_TRUE(file_exists(MDEV_CLASS "/mnull1"));
	EXPECT_EQ(2, dir_count(PARENT0 "/mdev_supported_types"));
	EXPECT_TRUE(file_exists(TYPE0_DIR));
	EXPECT_TRUE(file_exists(PARENT0 "/mdev_supported_types/mnull-2"));
	EXPECT_TRUE(file_exists("/sys/bus/mdev"));
}

TEST_F(door, type_files)
{
	char buf[64];

	EXPECT_EQ(0200, file_mode(TYPE0_DIR "/create"));
	EXPECT_EQ(0444, file_mode(TYPE0_DIR "/name"));
	EXPECT_EQ(0444, file_mode(TYPE0_DIR "/device_api"));
	EXPECT_EQ(0444, file_mode(TYPE0_DIR "/available_instances"));
	EXPECT_EQ(0755, file_mode(TYPE0_DIR "/devices"));
	EXPECT_EQ(0, dir_count(TYPE0_DIR "/devices"));

	ASSERT_LT(0, file_read(buf, sizeof(buf), TYPE0_DIR "/name"));
	EXPECT_STREQ(variant->classic ? "mnull-1" : "1", buf);
	ASSERT_LT(0, file_read(buf, sizeof(buf), TYPE0_DIR "/device_api"));
	EXPECT_STREQ("vfio-pci", buf);
	EXPECT_EQ(3, mdev_available(TYPE0));

	if (variant->classic) {
		EXPECT_EQ(5, dir_count(TYPE0_DIR));
	} else {
		EXPECT_EQ(6, dir_count(TYPE0_DIR));
		EXPECT_EQ(0444, file_mode(TYPE0_DIR "/description"));
		ASSERT_LT(0, file_read(buf, sizeof(buf),
				       TYPE0_DIR "/description"));
		EXPECT_STREQ("Null device, does nothing", buf);
	}
}

TEST_F(door, device_layout)
{
	const char *uuid = self->uuid;
	char buf[64];

	ASSERT_EQ(0, mdev_create(TYPE0, uuid));

	/* one device, seen from the bus, the parent and the type */
	EXPECT_TRUE(file_exists(MDEV_DEVICES "/%s", uuid));
	EXPECT_TRUE(file_exists(PARENT0 "/%s", uuid));
	ASSERT_EQ(0, link_base(buf, sizeof(buf), TYPE0_DIR "/devices/%s", uuid));
	EXPECT_STREQ(uuid, buf);
	EXPECT_EQ(1, dir_count(TYPE0_DIR "/devices"));

	ASSERT_EQ(0, link_base(buf, sizeof(buf), MDEV_DEVICES "/%s/mdev_type",
			       uuid));
	EXPECT_STREQ("mnull-1", buf);
	ASSERT_EQ(0, link_base(buf, sizeof(buf), MDEV_DEVICES "/%s/subsystem",
			       uuid));
	EXPECT_STREQ("mdev", buf);
	ASSERT_EQ(0, mdev_driver_name(uuid, buf, sizeof(buf)));
	EXPECT_STREQ(variant->driver, buf);
	EXPECT_EQ(0200, file_mode(MDEV_DEVICES "/%s/remove", uuid));

	EXPECT_EQ(variant->classic,
		  file_exists(MDEV_DEVICES "/%s/iommu_group", uuid));
	EXPECT_EQ(variant->classic,
		  file_exists(MDEV_DEVICES "/%s/vfio-dev", uuid));
	/* the vendor's own */
	EXPECT_EQ(variant->classic,
		  file_exists(MDEV_DEVICES "/%s/vendor/opens", uuid));

	ASSERT_EQ(0, mdev_remove(uuid));
	EXPECT_FALSE(file_exists(PARENT0 "/%s", uuid));
	EXPECT_EQ(0, dir_count(TYPE0_DIR "/devices"));
	expect_clean();
}

TEST_F(door, uuid_forms)
{
	char upper[UUID_LEN + 1], line[UUID_LEN + 2];
	unsigned int i;

	for (i = 0; i <= UUID_LEN; i++)
		upper[i] = toupper(self->uuid[i]);
	snprintf(line, sizeof(line), "%s\n", self->uuid);

	/* hex in either case names the same device */
	ASSERT_EQ(0, mdev_create(TYPE0, upper));
	EXPECT_TRUE(mdev_exists(self->uuid));
	EXPECT_EQ(-EEXIST, mdev_create(TYPE0, self->uuid));
	ASSERT_EQ(0, mdev_remove(self->uuid));

	/* one newline is what echo adds */
	ASSERT_EQ(0, mdev_create(TYPE0, line));
	ASSERT_EQ(0, mdev_remove(self->uuid));

	/* one NUL comes with who writes all of a string's array */
	ASSERT_EQ(0, file_write_bytes(TYPE0_DIR "/create", self->uuid,
				      UUID_LEN + 1));
	ASSERT_EQ(0, mdev_remove(self->uuid));
	expect_clean();
}

TEST_F(door, uuid_refused)
{
	static const char * const bad[] = {
		"\n", "x", "mnull",
		"12345678-1234-1234-1234-12345678901",		/* 35 */
		"12345678-1234-1234-1234-12345678901\n",
		"12345678-1234-1234-1234-1234567890123",	/* 37 */
		"12345678-1234-1234-1234-123456789012 ",
		"12345678-1234-1234-1234-123456789012\r",
		"12345678-1234-1234-1234-12345678901234",	/* 38 */
		"12345678-1234-1234-1234-123456789012\n\n",
		"12345678-1234-1234-1234-1234567890123\n",
		" 2345678-1234-1234-1234-123456789012",
		"1234567g-1234-1234-1234-123456789012",
		"123456781234-1234-1234-1234567890123",		/* dashes */
		"12345678-12341234-1234-1234567890123",
		"12345678_1234_1234_1234_123456789012",
		"123456789012345678901234567890123456",
		"------------------------------------",
		"{2345678-1234-1234-1234-12345678901}",
		"12345678-1234-1234-1234-12345678901\xff",
		"../../../../../../../../../../../tmp",
		"%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%n",
	};
	/* after the UUID */
	static const struct {
		const char *bytes;
		unsigned int len;
	} tails[] = {
		{ "\0\0", 2 }, { "\n\0", 2 }, { "\0\n", 2 }, { "\0x", 2 },
		{ "\00012345678-1234-1234-1234-123456789012", UUID_LEN + 1 },
	};
	char text[4096];
	unsigned int i, len;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EINVAL, mdev_create(TYPE0, bad[i]))
			TH_LOG("taken: number %u", i);

	memcpy(text, self->uuid, UUID_LEN);
	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		memcpy(text + UUID_LEN, tails[i].bytes, tails[i].len);
		EXPECT_EQ(-EINVAL, file_write_bytes(TYPE0_DIR "/create", text,
						    UUID_LEN + tails[i].len))
			TH_LOG("taken: tail %u", i);
	}

	/* a NUL within it, whatever may follow a UUID included */
	for (i = 0; i < UUID_LEN; i++) {
		memcpy(text, self->uuid, UUID_LEN + 1);
		text[i] = '\0';
		for (len = UUID_LEN - 1; len <= UUID_LEN + 1; len++)
			EXPECT_EQ(-EINVAL,
				  file_write_bytes(TYPE0_DIR "/create", text,
						   len))
				TH_LOG("NUL at %u of %u", i, len);
	}

	memset(text, 'a', sizeof(text));
	EXPECT_EQ(-EINVAL, file_write_bytes(TYPE0_DIR "/create", text,
					    sizeof(text)));
	expect_clean();
}

TEST_F(door, duplicate_uuid)
{
	ASSERT_EQ(0, mdev_create(TYPE0, self->uuid));
	EXPECT_EQ(-EEXIST, mdev_create(TYPE0, self->uuid));
	EXPECT_EQ(-EEXIST, mdev_create("mnull0/mnull-2", self->uuid));
	/* upstream bug: duplicate UUID across two parents */
	EXPECT_EQ(-EEXIST, mdev_create("mnull1/mnull-1", self->uuid));
	/* a vendor of the other door, or of the same */
	ASSERT_EQ(0, module_load("mtty"));
	EXPECT_EQ(-EEXIST, mdev_create("mtty/mtty-1", self->uuid));

	EXPECT_EQ(2, mdev_available(TYPE0));
	EXPECT_EQ(3, mdev_available("mnull1/mnull-1"));
	ASSERT_EQ(0, mdev_remove(self->uuid));

	/* free everywhere as soon as the removal has returned */
	ASSERT_EQ(0, mdev_create("mnull1/mnull-1", self->uuid));
	ASSERT_EQ(0, mdev_remove(self->uuid));
	ASSERT_EQ(0, mdev_create("mtty/mtty-1", self->uuid));
	ASSERT_EQ(0, mdev_remove(self->uuid));
	expect_clean();
}

TEST_F(door, quota)
{
	char uuid[4][UUID_LEN + 1];
	int i, round;

	for (i = 0; i < 4; i++)
		uuid_next(uuid[i]);

	for (round = 0; round < 3; round++) {
		for (i = 0; i < 3; i++) {
			EXPECT_EQ(3 - i, mdev_available(TYPE0));
			ASSERT_EQ(0, mdev_create(TYPE0, uuid[i]));
		}
		EXPECT_EQ(0, mdev_available(TYPE0));
		EXPECT_EQ(-EUSERS, mdev_create(TYPE0, uuid[3]));
		/* the parent's quota is for all types together */
		EXPECT_EQ(-EUSERS, mdev_create("mnull0/mnull-2", uuid[3]));
		EXPECT_EQ(0, mdev_available(TYPE0));
		EXPECT_FALSE(mdev_exists(uuid[3]));
		/* the other parent has its own, and the UUID is not taken */
		ASSERT_EQ(0, mdev_create("mnull1/mnull-1", uuid[3]));
		ASSERT_EQ(0, mdev_remove(uuid[3]));
		/* a duplicate is a duplicate even if the quota is used up */
		EXPECT_EQ(-EEXIST, mdev_create(TYPE0, uuid[0]));

		for (i = 0; i < 3; i++)
			ASSERT_EQ(0, mdev_remove(uuid[i]));
		expect_clean();
	}
}

TEST_F(door, vendor_create_error)
{
	static const int errors[] = {
		EIO, ENOMEM, ENOSPC, EPERM, EBUSY, ENODEV, EINVAL, EAGAIN,
	};
	char text[16];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		snprintf(text, sizeof(text), "%d", errors[i]);
		ASSERT_EQ(0, file_write(text, PARAM "fail_create"));
		EXPECT_EQ(-errors[i], mdev_create(TYPE0, self->uuid));
		expect_clean();
	}

	/* neither 0 nor an errno: that is the vendor's bug, not our caller's */
	ASSERT_EQ(0, file_write("-5", PARAM "fail_create"));
	EXPECT_EQ(-EIO, mdev_create(TYPE0, self->uuid));
	expect_clean();

	ASSERT_EQ(0, file_write("0", PARAM "fail_create"));
	ASSERT_EQ(0, mdev_create(TYPE0, self->uuid));
	ASSERT_EQ(0, mdev_remove(self->uuid));
	expect_clean();
}

/* whatever it is that fails, nothing is left */
TEST_F(door, create_undone)
{
	static const char * const functions[] = {
		"dev_set_name", "device_add", "sysfs_create_link",
		"sysfs_create_groups", "device_driver_attach",
	};
	unsigned int i;
	int n, ret;

	if (module_load("mdev_test_fail"))
		SKIP(return, "no kprobes in this kernel");
	for (i = 0; i < ARRAY_SIZE(functions); i++) {
		for (n = 0; n < 5; n++) {
			ret = file_write_fails(functions[i], n, self->uuid,
					       TYPE0_DIR "/create");
			if (ret == 1)
				break;
			EXPECT_EQ(-ENOMEM, ret);
			expect_clean();
			EXPECT_EQ(0, dir_count(TYPE0_DIR "/devices"));
			EXPECT_FALSE(file_exists(PARENT0 "/%s", self->uuid));
		}
		EXPECT_LT(0, n)
			TH_LOG("%s is not called", functions[i]);
		EXPECT_EQ(0, mdev_remove(self->uuid));
	}
}

/* upstream bug: vendor's remove error masked; here nothing is lost either */
TEST_F(classic, vendor_remove_error)
{
	char buf[64];

	ASSERT_EQ(0, mdev_create(TYPE0, self->uuid));
	ASSERT_EQ(0, file_write("28", PARAM "fail_remove"));
	EXPECT_EQ(-ENOSPC, mdev_remove(self->uuid));
	ASSERT_EQ(0, file_write("-7", PARAM "fail_remove"));
	EXPECT_EQ(-EIO, mdev_remove(self->uuid));

	EXPECT_EQ(0200, file_mode(MDEV_DEVICES "/%s/remove", self->uuid));
	EXPECT_TRUE(file_exists(MDEV_DEVICES "/%s/mdev_type", self->uuid));
	EXPECT_TRUE(file_exists(TYPE0_DIR "/devices/%s", self->uuid));
	EXPECT_EQ(0, file_read_int(MDEV_DEVICES "/%s/vendor/opens",
				   self->uuid));
	ASSERT_EQ(0, mdev_driver_name(self->uuid, buf, sizeof(buf)));
	EXPECT_STREQ("vfio_mdev", buf);
	EXPECT_EQ(2, mdev_available(TYPE0));

	/* upstream bug: one failing child stopping removal of the rest */
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(TYPE0, self->uuid));
	ASSERT_EQ(0, file_write("0", PARENT0 "/registered"));
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
}

TEST_F(door, remove_input)
{
	static const char * const bad[] = { "x", "1x", "-1", "\n", "1 1", "yes" };
	unsigned int i;

	ASSERT_EQ(0, mdev_create(TYPE0, self->uuid));
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EINVAL, file_write(bad[i], MDEV_DEVICES "/%s/remove",
					      self->uuid))
			TH_LOG("taken: number %u", i);
	/* zero is a number, and says: do not */
	EXPECT_EQ(0, file_write("0", MDEV_DEVICES "/%s/remove", self->uuid));
	EXPECT_TRUE(mdev_exists(self->uuid));
	EXPECT_EQ(0, file_write("1\n", MDEV_DEVICES "/%s/remove", self->uuid));
	EXPECT_FALSE(mdev_exists(self->uuid));
	EXPECT_EQ(-ENOENT, mdev_remove(self->uuid));
	expect_clean();
}

/*
 * Upstream bug: a "remove" that comes early gets -EAGAIN and eats the file. The
 * vendor's part of a classic create is over before there is a file.
 */
TEST_F(modern, remove_during_create)
{
	pid_t pid;

	ASSERT_EQ(0, file_write("500", PARAM "delay_create"));
	pid = mdev_create_child(TYPE0, self->uuid);
	ASSERT_TRUE(wait_for(mdev_exists(self->uuid)));
	ASSERT_TRUE(child_running(pid));

	EXPECT_EQ(-EAGAIN, mdev_remove(self->uuid));
	EXPECT_EQ(0200, file_mode(MDEV_DEVICES "/%s/remove", self->uuid));
	EXPECT_EQ(-EEXIST, mdev_create("mnull1/mnull-1", self->uuid));

	EXPECT_EQ(0, child_wait(pid));
	ASSERT_EQ(0, mdev_remove(self->uuid));
	expect_clean();
}

TEST_F(door, remove_twice)
{
	char type[64] = "";
	pid_t pid;
	int ret;

	ASSERT_EQ(0, mdev_create(TYPE0, self->uuid));
	ASSERT_EQ(0, file_write("2000", PARAM "delay_remove"));
	pid = mdev_remove_child(self->uuid);
	ASSERT_TRUE(child_blocks(pid));

	/* the file is there until the winner has won for good */
	ret = mdev_remove(self->uuid);
	EXPECT_EQ(-ENODEV, ret);
	EXPECT_EQ(0, link_base(type, sizeof(type), MDEV_DEVICES "/%s/mdev_type",
			       self->uuid));
	EXPECT_STREQ("mnull-1", type);
	EXPECT_EQ(0, child_wait(pid));
	EXPECT_EQ(-ENOENT, mdev_remove(self->uuid));
	expect_clean();
}

/*
 * Upstream: ADD before the mdev_type link was there, and before VFIO's device was. libvirt
 * ignores a device that has no IOMMU group when ADD comes. So the order of all events is
 * what is tested, those of VFIO's devices included.
 */
TEST_F(door, uevents)
{
	struct uevent ev;
	char path[256];
	pid_t pid;
	int fd;

	fd = uevent_open();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, file_write("300", PARAM "delay_create"));
	pid = mdev_create_child(TYPE0, self->uuid);

	do {
		ASSERT_EQ(0, uevent_next(fd, self->uuid, &ev));
		EXPECT_STREQ("add", uevent_action(&ev));
	} while (!strcmp(uevent_get(&ev, "SUBSYSTEM"), "vfio-dev"));
	EXPECT_EQ(variant->classic,
		  file_exists(MDEV_DEVICES "/%s/iommu_group", self->uuid));
	EXPECT_TRUE(file_exists(MDEV_DEVICES "/%s/mdev_type", self->uuid));
	EXPECT_TRUE(file_exists(MDEV_DEVICES "/%s/remove", self->uuid));
	EXPECT_TRUE(file_exists(TYPE0_DIR "/devices/%s", self->uuid));
	EXPECT_EQ(variant->classic,
		  file_exists(MDEV_DEVICES "/%s/vendor/opens", self->uuid));
	EXPECT_STREQ("mdev", uevent_get(&ev, "SUBSYSTEM"));
	EXPECT_STREQ(variant->driver, uevent_get(&ev, "DRIVER") ?: "none");
	EXPECT_STREQ(variant->classic ? "mdev:vfio" : "none",
		     uevent_get(&ev, "MODALIAS") ?: "none");
	snprintf(path, sizeof(path), "/mnull0/%s", self->uuid);
	EXPECT_NE(NULL, strstr(uevent_get(&ev, "DEVPATH"), path));

	ASSERT_EQ(0, uevent_next(fd, self->uuid, &ev));
	EXPECT_STREQ("bind", uevent_action(&ev));
	EXPECT_STREQ("mdev", uevent_get(&ev, "SUBSYSTEM"));
	EXPECT_STREQ(variant->driver, uevent_get(&ev, "DRIVER"));
	EXPECT_EQ(0, child_wait(pid));

	ASSERT_EQ(0, mdev_remove(self->uuid));
	do {
		ASSERT_EQ(0, uevent_next(fd, self->uuid, &ev));
	} while (strcmp(uevent_get(&ev, "SUBSYSTEM"), "mdev"));
	EXPECT_STREQ("unbind", uevent_action(&ev));
	ASSERT_EQ(0, uevent_next(fd, self->uuid, &ev));
	EXPECT_STREQ("remove", uevent_action(&ev));
	close(fd);
}

TEST_F(door, no_events_for_what_never_was)
{
	struct uevent ev;
	char other[UUID_LEN + 1];
	int fd;

	fd = uevent_open();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, file_write("5", PARAM "fail_create"));
	EXPECT_EQ(-EIO, mdev_create(TYPE0, self->uuid));
	ASSERT_EQ(0, file_write("0", PARAM "fail_create"));
	uuid_next(other);
	ASSERT_EQ(0, mdev_create(TYPE0, other));

	ASSERT_EQ(0, uevent_next(fd, "feed-4bad-8eef", &ev));
	EXPECT_STREQ("add", uevent_action(&ev));
	EXPECT_NE(NULL, strstr(ev.buf, other));
	close(fd);
}

/* upstream bug: no uevent on parent registration */
TEST_F(door, parent_uevents)
{
	struct uevent ev;
	int fd;

	fd = uevent_open();
	ASSERT_LE(0, fd);

	ASSERT_EQ(0, file_write("0", PARENT0 "/registered"));
	ASSERT_EQ(0, uevent_next(fd, "/mnull0", &ev));
	EXPECT_STREQ("change", uevent_action(&ev));
	EXPECT_STREQ("unregistered", uevent_get(&ev, "MDEV_STATE"));
	EXPECT_FALSE(file_exists(TYPE0_DIR));
	EXPECT_FALSE(file_exists(PARENT0));

	ASSERT_EQ(0, file_write("1", "/sys/class/mnull/mnull0/registered"));
	ASSERT_EQ(0, uevent_next(fd, "/mnull0", &ev));
	EXPECT_TRUE(file_exists(TYPE0_DIR "/create"));
	EXPECT_STREQ("change", uevent_action(&ev));
	EXPECT_STREQ("registered", uevent_get(&ev, "MDEV_STATE"));
	close(fd);
}

/* upstream bug: duplicate parent registration dropping the first's reference */
TEST_F(door, register_twice)
{
	int i;

	ASSERT_EQ(0, mdev_create(TYPE0, self->uuid));
	for (i = 0; i < 5; i++)
		EXPECT_EQ(-EEXIST, file_write("1", PARENT0 "/registered"));
	EXPECT_TRUE(mdev_exists(self->uuid));
	ASSERT_EQ(0, mdev_remove(self->uuid));
	ASSERT_EQ(0, mdev_create(TYPE0, self->uuid));
	ASSERT_EQ(0, mdev_remove(self->uuid));
	expect_clean();
}

/* upstream: registering the same types again trips lib/kobject.c */
TEST_F(door, register_again)
{
	int i;

	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, mdev_create(TYPE0, self->uuid));
		ASSERT_EQ(0, file_write("0", PARENT0 "/registered"));
		EXPECT_EQ(0, dir_count(MDEV_DEVICES));
		EXPECT_EQ(-ENOENT, mdev_create(TYPE0, self->uuid));
		/* the other parent does not notice */
		EXPECT_TRUE(file_exists(MDEV_CLASS "/mnull1"));
		ASSERT_EQ(0, file_write("1",
					"/sys/class/mnull/mnull0/registered"));
		expect_clean();
	}
	/* unregistering what is not registered does nothing */
	ASSERT_EQ(0, file_write("0", PARENT0 "/registered"));
	EXPECT_EQ(0, file_write("0", "/sys/class/mnull/mnull0/registered"));
}

TEST_F(door, register_refused)
{
	static const struct {
		const char *omit;
		int classic;
		int modern;
	} rows[] = {
		{ "ops", -EINVAL, 0 },
		{ "create", -EINVAL, 0 },
		{ "remove", -EINVAL, 0 },
		{ "types", -EINVAL, -EINVAL },
		{ "name", -EINVAL, -EINVAL },
		{ "driver", 0, -EINVAL },
		/* upstream bug: kobject leak when adding a type fails */
		{ "unique", -EEXIST, -EEXIST },
	};
	unsigned int i;
	int expected;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		expected = variant->classic ? rows[i].classic : rows[i].modern;

		ASSERT_EQ(0, file_write("0", PARENT0 "/registered"));
		ASSERT_EQ(0, file_write(rows[i].omit, PARAM "omit"));
		EXPECT_EQ(expected,
			  file_write("1", "/sys/class/mnull/mnull0/registered"))
			TH_LOG("row %u", i);
		EXPECT_EQ(!expected, file_exists(PARENT0));
		EXPECT_EQ(!expected,
			  file_exists("/sys/class/mnull/mnull0/mdev_supported_types"));

		ASSERT_EQ(0, file_write("\n", PARAM "omit"));
		EXPECT_EQ(expected ? 0 : -EEXIST,
			  file_write("1", "/sys/class/mnull/mnull0/registered"));
		ASSERT_EQ(0, mdev_create(TYPE0, self->uuid));
		ASSERT_EQ(0, mdev_remove(self->uuid));
	}
}

/* upstream bugs: create or remove racing unregister, and "create" too early */
TEST_F(door, unregister_waits_for_create)
{
	char other[UUID_LEN + 1];
	pid_t creator, leaver;

	uuid_next(other);
	ASSERT_EQ(0, file_write("2000", PARAM "delay_create"));
	creator = mdev_create_child(TYPE0, self->uuid);
	ASSERT_TRUE(child_blocks(creator));
	leaver = file_write_child("0", PARENT0 "/registered");
	ASSERT_TRUE(child_blocks(leaver));
	ASSERT_TRUE(child_running(creator));

	/* who comes now comes too late */
	EXPECT_EQ(-ENODEV, mdev_create("mnull0/mnull-2", other));

	EXPECT_EQ(0, child_wait(creator));
	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
	EXPECT_FALSE(file_exists(PARENT0));

	ASSERT_EQ(0, file_write("0", PARAM "delay_create"));
	ASSERT_EQ(0, file_write("1", "/sys/class/mnull/mnull0/registered"));
	expect_clean();
}

TEST_F(door, unregister_waits_for_remove)
{
	char other[UUID_LEN + 1];
	pid_t remover, leaver;

	uuid_next(other);
	ASSERT_EQ(0, mdev_create(TYPE0, self->uuid));
	ASSERT_EQ(0, mdev_create(TYPE0, other));
	ASSERT_EQ(0, file_write("2000", PARAM "delay_remove"));
	remover = mdev_remove_child(self->uuid);
	ASSERT_TRUE(child_blocks(remover));
	leaver = file_write_child("0", PARENT0 "/registered");
	ASSERT_TRUE(child_blocks(leaver));
	ASSERT_TRUE(child_running(remover));

	EXPECT_EQ(-ENODEV, mdev_remove(other));
	EXPECT_EQ(0, child_wait(remover));
	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
}

/* upstream bug: available_instances race */
TEST_F(door, quota_race)
{
	char uuid[8][UUID_LEN + 1];
	int round, i, made, ret;
	pid_t pid[8];

	for (i = 0; i < 8; i++)
		uuid_next(uuid[i]);

	for (round = 0; round < 4; round++) {
		made = 0;
		for (i = 0; i < 8; i++)
			pid[i] = mdev_create_child(TYPE0, uuid[i]);
		for (i = 0; i < 8; i++) {
			ret = child_wait(pid[i]);
			made += !ret;
			if (ret)
				EXPECT_EQ(-EUSERS, ret);
		}
		EXPECT_EQ(3, made);
		EXPECT_EQ(0, mdev_available(TYPE0));

		for (i = 0; i < 8; i++)
			pid[i] = mdev_remove_child(uuid[i]);
		for (i = 0; i < 8; i++)
			made -= !child_wait(pid[i]);
		EXPECT_EQ(0, made);
		expect_clean();
	}
}

/* files held open across removal must not reach what is gone */
TEST_F(door, stale_files)
{
	char path[256], buf[64];
	int remove_fd, create_fd, name_fd;

	ASSERT_EQ(0, mdev_create(TYPE0, self->uuid));
	snprintf(path, sizeof(path), MDEV_DEVICES "/%s/remove", self->uuid);
	remove_fd = open(path, O_WRONLY);
	ASSERT_LE(0, remove_fd);
	create_fd = open(TYPE0_DIR "/create", O_WRONLY);
	ASSERT_LE(0, create_fd);
	name_fd = open(TYPE0_DIR "/name", O_RDONLY);
	ASSERT_LE(0, name_fd);

	ASSERT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(-1, write(remove_fd, "1", 1));
	EXPECT_EQ(ENODEV, errno);

	ASSERT_EQ(0, file_write("0", PARENT0 "/registered"));
	ASSERT_EQ(0, file_write("1", "/sys/class/mnull/mnull0/registered"));
	EXPECT_EQ(-1, write(create_fd, self->uuid, UUID_LEN));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(-1, pread(name_fd, buf, sizeof(buf), 0));
	EXPECT_EQ(ENODEV, errno);

	close(remove_fd);
	close(create_fd);
	close(name_fd);
	expect_clean();
}

TEST_HARNESS_MAIN
