// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an administrator can see of mdev at work: tracepoints, the files in
 * debugfs, and the commands that the documentation recommends.
 *
 * Nothing but tracefs and a shell is used, so that it can be repeated by hand. The
 * vendor is mnull.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/vfio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"

#define TYPE	"mnull0/mnull-1"
#define PARAM	"/sys/module/mnull/parameters/"
#define TRACING	"/sys/kernel/tracing"
#define DEBUGFS	"/sys/kernel/debug/mdev"
#define COMM	"mdev_trace"

static int trace_enable(bool on)
{
	return file_write(on ? "1" : "0", TRACING "/events/mdev/enable");
}

static int trace_clear(void)
{
	int fd = open(TRACING "/trace", O_WRONLY | O_TRUNC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* what a shell command prints, without the last newline; its status */
static int __printf(3, 4) shell(char *buf, size_t size, const char *fmt, ...)
{
	char cmd[1024];
	size_t len;
	va_list ap;
	FILE *pipe;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	pipe = popen(cmd, "r");
	if (!pipe)
		return -errno;
	len = fread(buf, 1, size - 1, pipe);
	buf[len] = 0;
	if (len && buf[len - 1] == '\n')
		buf[len - 1] = 0;
	return pclose(pipe);
}

/* events of this name whose text has a match of this */
static int trace_count(const char *event, const char *match)
{
	char buf[32];

	shell(buf, sizeof(buf), "sed -n 's/.* mdev_%s: //p' " TRACING
	      "/trace | grep -c -- '%s'", event, match);
	return atoi(buf);
}

static int __printf(2, 3) trace_has(const char *event, const char *fmt, ...)
{
	char match[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(match, sizeof(match), fmt, ap);
	va_end(ap);
	return trace_count(event, match);
}

/* the line of a file in debugfs that begins with this word */
static int debugfs_line(char *buf, size_t size, const char *file,
			const char *word)
{
	return shell(buf, size, "grep '^%s ' " DEBUGFS "/%s", word, file);
}

static void mounts(void)
{
	mount("tracefs", TRACING, "tracefs", 0, NULL);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
}

static bool have_events(void)
{
	return file_exists(TRACING "/events/mdev");
}

static bool have_debugfs(void)
{
	return file_exists(DEBUGFS "/devices");
}

/* --- parents and devices --- */

FIXTURE(core) {
	char uuid[UUID_LEN + 1];
};

FIXTURE_SETUP(core)
{
	mounts();
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mdev"));
	if (!have_events())
		SKIP(return, "no event tracing in this kernel");
	ASSERT_EQ(0, trace_clear());
	ASSERT_LE(0, trace_enable(true));
	uuid_next(self->uuid);
}

FIXTURE_TEARDOWN(core)
{
	EXPECT_EQ(0, vendors_reset());
	trace_enable(false);
}

/* the module is unloaded while its events are on, and in the trace */
TEST_F(core, unload)
{
	ASSERT_EQ(0, module_load("mnull"));
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	EXPECT_EQ(1, trace_has("create", "^uuid=%s ", self->uuid));
	EXPECT_EQ(0, modules_reset());
	EXPECT_FALSE(have_events());
	/* the kernel has cleared it */
	EXPECT_EQ(0, trace_has("create", "."));
	ASSERT_EQ(0, module_load("mnull"));
	EXPECT_TRUE(have_events());
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	EXPECT_EQ(0, trace_has("create", "."));
}

TEST_F(core, lifecycle)
{
	ASSERT_EQ(0, module_load("mnull"));
	EXPECT_EQ(1, trace_has("parent_register",
			       "^parent=mnull0 door=classic late=0 ret=0$"));

	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	EXPECT_EQ(1, trace_has("bind", "^uuid=%s driver=vfio_mdev ret=0$",
			       self->uuid));
	EXPECT_EQ(1, trace_has("create",
			       "^uuid=%s parent=mnull0 type=mnull-1 ret=0 failed= ns=[1-9][0-9]*$",
			       self->uuid));

	ASSERT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(1, trace_has("remove",
			       "^uuid=%s parent=mnull0 forced=0 ret=0 ns=[1-9][0-9]*$",
			       self->uuid));
	EXPECT_EQ(0, trace_has("remove_refused", "."));
}

TEST_F(core, durations)
{
	ASSERT_EQ(0, module_load("mnull delay_create=50 delay_remove=30"));
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, mdev_remove(self->uuid));
	/* tens of milliseconds, at the least */
	EXPECT_EQ(1, trace_has("create", "ns=[5-9][0-9]\\{7\\}$\\|ns=[0-9]\\{9,\\}$"));
	EXPECT_EQ(1, trace_has("remove", "ns=[3-9][0-9]\\{7\\}$\\|ns=[0-9]\\{9,\\}$"));
}

TEST_F(core, forced_removal)
{
	char other[UUID_LEN + 1];

	uuid_next(other);
	ASSERT_EQ(0, module_load("mnull"));
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, mdev_create(TYPE, other));
	ASSERT_EQ(0, module_unload("mnull"));
	EXPECT_EQ(1, trace_has("remove", "^uuid=%s .* forced=1 ret=0", other));
	EXPECT_EQ(1, trace_has("remove", "^uuid=%s .* forced=1 ret=0",
			       self->uuid));
	EXPECT_EQ(1, trace_has("parent_unregister",
			       "^parent=mnull0 door=classic late=0 devices=2 ns=[1-9]"));
}

TEST_F(core, modern_door)
{
	ASSERT_EQ(0, module_load("mnull door=modern"));
	EXPECT_EQ(1, trace_has("parent_register",
			       "^parent=mnull0 door=modern late=0 ret=0$"));
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	EXPECT_EQ(1, trace_has("bind", "^uuid=%s driver=mnull ret=0$",
			       self->uuid));
}

TEST_F(core, vendor_refuses_removal)
{
	ASSERT_EQ(0, module_load("mnull"));
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_LE(0, file_write("16", PARAM "fail_remove"));
	EXPECT_EQ(-EBUSY, mdev_remove(self->uuid));
	EXPECT_EQ(1, trace_has("remove_refused", "^uuid=%s ret=-16 holder=0 ",
			       self->uuid));
	ASSERT_LE(0, file_write("0", PARAM "fail_remove"));
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

TEST_F(core, silent_when_off)
{
	ASSERT_EQ(0, module_load("mnull"));
	ASSERT_LE(0, trace_enable(false));
	ASSERT_EQ(0, trace_clear());
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, trace_has("[a-z_]*", "."));
}

TEST_F(core, filter_by_uuid)
{
	char other[UUID_LEN + 1], filter[64];

	uuid_next(other);
	ASSERT_EQ(0, module_load("mnull"));
	snprintf(filter, sizeof(filter), "uuid == \"%s\"", other);
	ASSERT_LE(0, file_write(filter, TRACING "/events/mdev/mdev_create/filter"));
	ASSERT_LE(0, file_write(filter, TRACING "/events/mdev/mdev_bind/filter"));
	EXPECT_EQ(0, mdev_create(TYPE, self->uuid));
	EXPECT_EQ(0, mdev_create(TYPE, other));
	file_write("0", TRACING "/events/mdev/mdev_create/filter");
	file_write("0", TRACING "/events/mdev/mdev_bind/filter");
	EXPECT_EQ(0, trace_has("create", "%s", self->uuid));
	EXPECT_EQ(1, trace_has("create", "%s", other));
	EXPECT_EQ(0, trace_has("bind", "%s", self->uuid));
	EXPECT_EQ(1, trace_has("bind", "%s", other));
}

/* the question "why did create fail?", as the documentation answers it */
static int why(char *buf, size_t size)
{
	int ret;

	ret = shell(buf, size, "sed -n 's/.* mdev_create: //p' " TRACING
		    "/trace | grep -v ' ret=0 ' | cut -d' ' -f4,5");
	trace_clear();
	return ret;
}

TEST_F(core, why_did_create_fail)
{
	char buf[256];

	ASSERT_EQ(0, module_load("mnull"));
	ASSERT_EQ(-EINVAL, mdev_create(TYPE, "no-uuid"));
	ASSERT_EQ(0, why(buf, sizeof(buf)));
	EXPECT_STREQ("ret=-22 failed=parse", buf);

	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(-EEXIST, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, why(buf, sizeof(buf)));
	EXPECT_STREQ("ret=-17 failed=uuid", buf);
	ASSERT_EQ(0, mdev_remove(self->uuid));

	ASSERT_LE(0, file_write("5", PARAM "fail_create"));
	ASSERT_EQ(-EIO, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, why(buf, sizeof(buf)));
	EXPECT_STREQ("ret=-5 failed=vendor", buf);
}

TEST_F(core, why_did_create_fail_modern)
{
	char other[UUID_LEN + 1], buf[256];

	uuid_next(other);
	ASSERT_EQ(0, module_load("mnull door=modern instances=1"));
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(-EUSERS, mdev_create(TYPE, other));
	ASSERT_EQ(0, why(buf, sizeof(buf)));
	EXPECT_STREQ("ret=-87 failed=quota", buf);
	ASSERT_EQ(0, mdev_remove(self->uuid));

	ASSERT_LE(0, file_write("5", PARAM "fail_create"));
	ASSERT_EQ(-EIO, mdev_create(TYPE, self->uuid));
	EXPECT_EQ(1, trace_has("bind", "^uuid=%s driver=mnull ret=-5$",
			       self->uuid));
	ASSERT_EQ(0, why(buf, sizeof(buf)));
	EXPECT_STREQ("ret=-5 failed=bind", buf);
}

/* --- an open device --- */

FIXTURE(fd) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
	int fd;
};

FIXTURE_VARIANT(fd) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(fd, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(fd, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(fd)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	mounts();
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mnull"));
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	if (file_exists(TRACING "/events/mdev")) {
		ASSERT_EQ(0, trace_clear());
		ASSERT_LE(0, trace_enable(true));
	}
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	self->fd = self->vc.device;
}

FIXTURE_TEARDOWN(fd)
{
	vfio_close(&self->vc);
	EXPECT_EQ(0, vendors_reset());
	trace_enable(false);
}

TEST_F(fd, open_and_close)
{
	if (!have_events())
		SKIP(return, "no event tracing in this kernel");
	EXPECT_EQ(1, trace_has("open", "^uuid=%s ret=0 holder=%d comm=" COMM "$",
			       self->uuid, getpid()));
	EXPECT_EQ(0, trace_has("close", "."));
	vfio_close(&self->vc);
	EXPECT_EQ(1, trace_has("close", "^uuid=%s ret=0 holder=%d comm=" COMM "$",
			       self->uuid, getpid()));
}

/* the vendor's error, not that of the core */
TEST_F(fd, open_refused)
{
	struct vfio_client vc;

	if (!have_events())
		SKIP(return, "no event tracing in this kernel");
	vfio_close(&self->vc);
	ASSERT_EQ(0, trace_clear());
	ASSERT_LE(0, file_write("5", PARAM "fail_open"));
	EXPECT_NE(0, vfio_open(&vc, self->uuid));
	EXPECT_LE(1, trace_has("open", "^uuid=%s ret=-5 holder=%d comm=" COMM "$",
			       self->uuid, getpid()));
	EXPECT_EQ(0, trace_has("open", "ret=0"));
	EXPECT_EQ(0, trace_has("close", "."));
	vfio_close(&vc);
}

TEST_F(fd, accesses)
{
	char buf[4] = {};
	void *map;

	if (!have_events())
		SKIP(return, "no event tracing in this kernel");
	ASSERT_EQ(4, vfio_read(self->fd, buf, 4, 0x10));
	EXPECT_EQ(1, trace_has("read", "^uuid=%s pos=0x10 count=4 ret=4 ns=[1-9]",
			       self->uuid));
	ASSERT_EQ(3, vfio_write(self->fd, buf, 3, 0x20));
	EXPECT_EQ(1, trace_has("write", "^uuid=%s pos=0x20 count=3 ret=3 ns=[1-9]",
			       self->uuid));
	ASSERT_LE(0, file_write("5", PARAM "fail_read"));
	ASSERT_EQ(-EIO, vfio_read(self->fd, buf, 4, 0));
	EXPECT_EQ(1, trace_has("read", "pos=0x0 count=4 ret=-5 "));

	map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	munmap(map, PAGE);
	EXPECT_EQ(1, trace_has("mmap", "^uuid=%s pos=0x0 count=%d ret=0 ns=[1-9]",
			       self->uuid, (int)PAGE));
}

/* What nobody traces is passed on as before, and so is what somebody does. */
TEST_F(fd, results_do_not_change)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	int on;

	if (!have_events())
		SKIP(return, "no event tracing in this kernel");
	for (on = 0; on < 2; on++) {
		ASSERT_LE(0, trace_enable(on));
		ASSERT_LE(0, file_write("0", PARAM "fail_ioctl"));
		EXPECT_EQ(0, vfio_ioctl(self->fd, VFIO_DEVICE_GET_INFO, &info));
		EXPECT_NE(0, info.num_regions);
		ASSERT_LE(0, file_write("5", PARAM "fail_ioctl"));
		EXPECT_EQ(-EIO, vfio_ioctl(self->fd, VFIO_DEVICE_GET_INFO,
					   &info));
	}
	EXPECT_EQ(1, trace_has("ioctl", " ret=-5 "));
}

/* as the documentation has it: nanoseconds and number of each, the slowest first */
TEST_F(fd, which_ioctl_is_slow)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_irq_info irq = { .argsz = sizeof(irq) };
	unsigned long long ns, slowest = -1ULL;
	char buf[1024], *line, *save;
	unsigned int cmd;
	int seen = 0;

	if (!have_events())
		SKIP(return, "no event tracing in this kernel");
	ASSERT_EQ(0, vfio_ioctl(self->fd, VFIO_DEVICE_GET_INFO, &info));
	vfio_ioctl(self->fd, VFIO_DEVICE_GET_IRQ_INFO, &irq);
	ASSERT_EQ(0, shell(buf, sizeof(buf),
			   "sed -n 's/.* mdev_ioctl: .* cmd=\\([^ ]*\\) .* ns=/\\1 /p' "
			   TRACING "/trace | awk '{ print $2, $1 }' | sort -rn"));
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		ns = strtoull(line, &line, 10);
		cmd = strtoul(line, NULL, 16);
		EXPECT_LT(0, ns);
		EXPECT_LE(ns, slowest);
		slowest = ns;
		seen += cmd == VFIO_DEVICE_GET_INFO;
		seen += cmd == VFIO_DEVICE_GET_IRQ_INFO;
	}
	EXPECT_EQ(2, seen);
}

/* The vendor is asked, whether by VFIO or by the user. */
TEST_F(fd, region_info)
{
	struct vfio_region_info info = { .argsz = sizeof(info) };

	if (!have_events())
		SKIP(return, "no event tracing in this kernel");
	ASSERT_EQ(0, vfio_ioctl(self->fd, VFIO_DEVICE_GET_REGION_INFO, &info));
	EXPECT_EQ(1, trace_has("ioctl", "^uuid=%s cmd=0x%x ret=0 ns=[1-9]",
			       self->uuid, VFIO_DEVICE_GET_REGION_INFO));
}

TEST_F(fd, remove_refused)
{
	if (!have_events())
		SKIP(return, "no event tracing in this kernel");
	EXPECT_EQ(-EBUSY, mdev_remove(self->uuid));
	EXPECT_EQ(1, trace_has("remove_refused",
			       "^uuid=%s ret=-16 holder=%d comm=" COMM "$",
			       self->uuid, getpid()));
	EXPECT_EQ(1, trace_has("remove", "^uuid=%s .* ret=-16 ", self->uuid));
}

/* the question "who holds this device?" */
TEST_F(fd, who_holds_it)
{
	char buf[256], want[256];

	if (!have_debugfs())
		SKIP(return, "no debugfs in this kernel");
	ASSERT_EQ(0, shell(buf, sizeof(buf), "grep '^%s ' " DEBUGFS "/devices",
			   self->uuid));
	snprintf(want, sizeof(want), "%s mnull0 mnull-1 live vfio_mdev %d " COMM,
		 self->uuid, getpid());
	EXPECT_STREQ(want, buf);

	vfio_close(&self->vc);
	ASSERT_EQ(0, debugfs_line(buf, sizeof(buf), "devices", self->uuid));
	snprintf(want, sizeof(want), "%s mnull0 mnull-1 live vfio_mdev - -",
		 self->uuid);
	EXPECT_STREQ(want, buf);
}

/* The name of a process is its own choice, and makes no line of its own. */
TEST_F(fd, hostile_name)
{
	char buf[256], want[256];
	int kmsg = kmsg_open();
	pid_t leaver;

	if (!have_debugfs())
		SKIP(return, "no debugfs in this kernel");
	ASSERT_LE(0, kmsg);
	vfio_close(&self->vc);
	ASSERT_EQ(0, prctl(PR_SET_NAME, "%s a\nb\\ -"));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	ASSERT_EQ(0, debugfs_line(buf, sizeof(buf), "devices", self->uuid));
	snprintf(want, sizeof(want),
		 "%s mnull0 mnull-1 live vfio_mdev %d %%s a?b\\ -",
		 self->uuid, getpid());
	EXPECT_STREQ(want, buf);
	EXPECT_NE(0, debugfs_line(buf, sizeof(buf), "devices", "b"));
	ASSERT_EQ(0, prctl(PR_SET_NAME, COMM));
	if (have_events())
		EXPECT_EQ(1, trace_has("open", "comm=%%s a[?]b. -$"));
	leaver = file_write_child("0", "/sys/class/mnull/mnull0/registered");
	ASSERT_LT(0, leaver);
	EXPECT_TRUE(kmsg_find(kmsg, self->uuid, "held open by %s a?b"));
	vfio_close(&self->vc);
	EXPECT_EQ(0, child_wait(leaver));
	close(kmsg);
}

/* Somebody waits for it: who looks at the files does not. */
TEST_F(fd, unregister_waits)
{
	char buf[256], want[256];
	pid_t leaver;

	if (!have_events())
		SKIP(return, "no event tracing in this kernel");
	if (!have_debugfs())
		SKIP(return, "no debugfs in this kernel");
	leaver = file_write_child("0", "/sys/class/mnull/mnull0/registered");
	ASSERT_LT(0, leaver);
	EXPECT_TRUE(wait_for(trace_has("wait",
				       "^uuid=%s for=unregister count=0 holder=%d comm=" COMM "$",
				       self->uuid, getpid())));
	ASSERT_EQ(0, debugfs_line(buf, sizeof(buf), "devices", self->uuid));
	snprintf(want, sizeof(want), "%s mnull0 mnull-1 removing vfio_mdev %d " COMM,
		 self->uuid, getpid());
	EXPECT_STREQ(want, buf);
	ASSERT_EQ(0, debugfs_line(buf, sizeof(buf), "parents", "mnull0"));
	EXPECT_NE(NULL, strstr(buf, " leaving "));
	EXPECT_NE(NULL, strstr(buf, " 1 1 -"));

	vfio_close(&self->vc);
	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_NE(0, debugfs_line(buf, sizeof(buf), "devices", self->uuid));
	EXPECT_NE(0, debugfs_line(buf, sizeof(buf), "parents", "mnull0"));
}

/* A driver that is being unbound from an open device has its lock. */
TEST_F(fd, unbind_waits)
{
	char buf[256], want[256];
	pid_t unbinder;

	if (!have_debugfs())
		SKIP(return, "no debugfs in this kernel");
	unbinder = file_write_child(self->uuid, BRIDGE_DRIVER "/unbind");
	ASSERT_LT(0, unbinder);
	snprintf(want, sizeof(want), "%s mnull0 mnull-1 live ? %d " COMM,
		 self->uuid, getpid());
	EXPECT_TRUE(wait_for(!debugfs_line(buf, sizeof(buf), "devices",
					   self->uuid) &&
			     !strcmp(buf, want)));
	EXPECT_STREQ(want, buf);
	vfio_close(&self->vc);
	EXPECT_EQ(0, child_wait(unbinder));
	ASSERT_EQ(0, debugfs_line(buf, sizeof(buf), "devices", self->uuid));
	snprintf(want, sizeof(want), "%s mnull0 mnull-1 live - - -", self->uuid);
	EXPECT_STREQ(want, buf);
}

/* newer VFIO says by itself which device an fd is */
TEST_F(fd, fdinfo)
{
	char buf[1024];

	ASSERT_LT(0, file_read(buf, sizeof(buf), "/proc/self/fdinfo/%d",
			       self->fd));
	if (!strstr(buf, "vfio-device-syspath:"))
		SKIP(return, "no VFIO fdinfo in this kernel");
	EXPECT_NE(NULL, strstr(buf, self->uuid));
}

/* --- debugfs --- */

FIXTURE(debugfs) {
	char uuid[UUID_LEN + 1];
};

FIXTURE_SETUP(debugfs)
{
	mounts();
	ASSERT_EQ(0, modules_reset());
	ASSERT_EQ(0, module_load("mdev"));
	if (!have_debugfs())
		SKIP(return, "no debugfs in this kernel");
	uuid_next(self->uuid);
}

FIXTURE_TEARDOWN(debugfs)
{
	EXPECT_EQ(0, modules_reset());
}

TEST_F(debugfs, parents)
{
	char buf[256];

	ASSERT_EQ(0, module_load("mnull types=2 parents=2"));
	/* one reference of its own, and one of each type */
	ASSERT_EQ(0, debugfs_line(buf, sizeof(buf), "parents", "mnull1"));
	EXPECT_STREQ("mnull1 classic mnull ready 3 0 0 -", buf);
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, debugfs_line(buf, sizeof(buf), "parents", "mnull0"));
	EXPECT_STREQ("mnull0 classic mnull ready 3 1 0 -", buf);
	ASSERT_EQ(0, mdev_remove(self->uuid));
	ASSERT_EQ(0, debugfs_line(buf, sizeof(buf), "parents", "mnull0"));
	EXPECT_STREQ("mnull0 classic mnull ready 3 0 0 -", buf);
	ASSERT_EQ(0, module_unload("mnull"));
	EXPECT_NE(0, debugfs_line(buf, sizeof(buf), "parents", "mnull0"));
}

TEST_F(debugfs, objects)
{
	EXPECT_EQ(0, file_read_int(DEBUGFS "/objects"));
	/* a parent and two types */
	ASSERT_EQ(0, module_load("mnull types=2"));
	EXPECT_EQ(3, file_read_int(DEBUGFS "/objects"));
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	EXPECT_EQ(4, file_read_int(DEBUGFS "/objects"));
	ASSERT_EQ(0, mdev_remove(self->uuid));
	EXPECT_TRUE(wait_for(file_read_int(DEBUGFS "/objects") == 3));
	ASSERT_EQ(0, module_unload("mnull"));
	EXPECT_TRUE(wait_for(!file_read_int(DEBUGFS "/objects")));
}

TEST_F(debugfs, quota)
{
	char buf[256];

	ASSERT_EQ(0, module_load("mnull door=modern instances=3"));
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, debugfs_line(buf, sizeof(buf), "parents", "mnull0"));
	EXPECT_STREQ("mnull0 modern mnull ready 2 1 0 2", buf);
	ASSERT_EQ(0, module_unload("mnull"));
	ASSERT_EQ(0, module_load("mnull door=modern vendor_counts=1"));
	ASSERT_EQ(0, debugfs_line(buf, sizeof(buf), "parents", "mnull0"));
	EXPECT_STREQ("mnull0 modern mnull ready 2 0 0 -", buf);
}

/* more than fits into a page, each of them once */
TEST_F(debugfs, many_devices)
{
	char uuid[UUID_LEN + 1], buf[32];
	int i;

	ASSERT_EQ(0, module_load("mnull instances=200"));
	for (i = 0; i < 200; i++) {
		uuid_next(uuid);
		ASSERT_EQ(0, mdev_create(TYPE, uuid));
	}
	ASSERT_EQ(0, shell(buf, sizeof(buf),
			   "grep -c ' mnull0 mnull-1 live vfio_mdev - -$' "
			   DEBUGFS "/devices"));
	EXPECT_STREQ("200", buf);
	ASSERT_EQ(0, shell(buf, sizeof(buf), "sort -u " DEBUGFS "/devices | wc -l"));
	EXPECT_STREQ("201", buf);
	/* a few bytes at a time */
	ASSERT_EQ(0, shell(buf, sizeof(buf), "dd bs=100 2>/dev/null <" DEBUGFS
			   "/devices | grep -c mnull-1"));
	EXPECT_STREQ("200", buf);
}

/* Devices and their vendor come and go under whoever reads. */
TEST_F(debugfs, race)
{
	pid_t reader, creator;
	long end;
	int i;

	ASSERT_EQ(0, module_load("mnull"));
	creator = fork_child();
	ASSERT_LE(0, creator);
	if (!creator) {
		for (end = now_ms() + 1000; now_ms() < end;) {
			mdev_create(TYPE, self->uuid);
			mdev_remove(self->uuid);
		}
		child_exit(0);
	}
	reader = fork_child();
	ASSERT_LE(0, reader);
	if (!reader) {
		char buf[8192];
		int ret = 0;

		for (end = now_ms() + 1000; now_ms() < end && !ret;) {
			if (file_read(buf, sizeof(buf), DEBUGFS "/devices") <= 0)
				ret = -EIO;
			if (file_read(buf, sizeof(buf), DEBUGFS "/parents") <= 0)
				ret = -EIO;
		}
		child_exit(ret);
	}
	for (i = 0; i < 5; i++) {
		sleep_ms(100);
		EXPECT_LE(0, file_write("0", "/sys/class/mnull/mnull0/registered"));
		EXPECT_LE(0, file_write("1", "/sys/class/mnull/mnull0/registered"));
	}
	EXPECT_EQ(0, child_wait(reader));
	EXPECT_EQ(0, child_wait(creator));
	mdev_remove(self->uuid);
}

/* The module waits for whoever has a file open, and takes them along. */
TEST_F(debugfs, module)
{
	bool pending = file_exists(DEBUGFS "/pending");
	int fd;

	if (module_refs("mdev") < 0)
		SKIP(return, "mdev is built in");
	fd = open(DEBUGFS "/devices", O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_NE(0, module_unload("mdev"));
	close(fd);
	EXPECT_EQ(0, module_unload("mdev"));
	EXPECT_FALSE(file_exists(DEBUGFS "/devices"));
	EXPECT_FALSE(file_exists(DEBUGFS "/parents"));
	/* the folder is late binding's, if there is such a thing */
	EXPECT_EQ(pending, file_exists(DEBUGFS "/pending"));
	EXPECT_EQ(pending, file_exists(DEBUGFS));
	EXPECT_EQ(0, module_load("mdev"));
	EXPECT_EQ(pending, file_exists(DEBUGFS "/pending"));
	EXPECT_TRUE(file_exists(DEBUGFS "/devices"));
}

TEST_HARNESS_MAIN
