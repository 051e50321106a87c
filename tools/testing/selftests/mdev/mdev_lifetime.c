// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may take what away from whom: removing devices that are open or being
 * opened, parents with open devices, modules in use, drivers unbound and bound
 * again, and the bridge that comes when it is needed.
 *
 * Everything that must wait does so in a child; the test looks on.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"
#include "test_modules/mdev_test_dma.h"

#define PARENT		MDEV_CLASS "/mnull0"
#define REGISTERED	"/sys/class/mnull/mnull0/registered"
#define TYPE		"mnull0/mnull-1"
#define PARAM		"/sys/module/mnull/parameters/"
#define DMA_TYPE	"mdev_test_dma/platform-dma"
#define ASYNC_TYPE	"mdev_test_async/mdev_test_async-a"
#define ASYNC_CREATE	"mdev_test_async/mdev_supported_types/mdev_test_async-a/create"
#define HOLD		"/sys/module/mdev_test_bridge/parameters/hold"
#define DEVICES_FILE	"/sys/kernel/debug/mdev/devices"

static int hold_open(const char *uuid)
{
	struct vfio_client vc;

	return vfio_open(&vc, uuid);
}

/* @hold in a child, until it is killed; returns when it has the device */
static pid_t holder_start_by(int (*hold)(const char *uuid), const char *uuid)
{
	int fds[2], ret;
	pid_t pid;

	if (pipe(fds))
		return -errno;
	pid = fork_child();
	if (!pid) {
		ret = hold(uuid);
		if (write(fds[1], &ret, sizeof(ret)) == sizeof(ret) && !ret)
			pause();
		child_exit(ret);
	}
	if (read(fds[0], &ret, sizeof(ret)) != sizeof(ret))
		ret = -EIO;
	close(fds[0]);
	close(fds[1]);
	return ret ?: pid;
}

static pid_t holder_start(const char *uuid)
{
	return holder_start_by(hold_open, uuid);
}

static void holder_stop(pid_t pid)
{
	kill(pid, SIGKILL);
	child_wait(pid);
}

/* does the device answer? */
static int device_ping(struct vfio_client *vc)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	return vfio_ioctl(vc->device, VFIO_DEVICE_GET_INFO, &info);
}

FIXTURE(device) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
};

FIXTURE_VARIANT(device) {
	const char *args;
	bool request;
	bool iommufd;
};

/* vendors that cannot and that can be unplugged while open */
FIXTURE_VARIANT_ADD(device, plain) {
	.args = "mnull instances=8",
};

FIXTURE_VARIANT_ADD(device, unplug) {
	.args = "mnull instances=8 request=1",
	.request = true,
};

FIXTURE_VARIANT_ADD(device, cdev) {
	.args = "mnull instances=8",
	.iommufd = true,
};

FIXTURE_SETUP(device)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load(variant->args));
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
}

FIXTURE_TEARDOWN(device)
{
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(device, open_close_many)
{
	int i;

	for (i = 1; i <= 50; i++) {
		ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
		EXPECT_EQ(0, device_ping(&self->vc));
		vfio_close(&self->vc);
		EXPECT_EQ(i, file_read_int(MDEV_DEVICES "/%s/vendor/opens",
					   self->uuid));
	}
	EXPECT_EQ(0, file_read_int(MDEV_DEVICES "/%s/vendor/requests",
				   self->uuid));
}

TEST_F(device, open_error)
{
	ASSERT_EQ(0, file_write("13", PARAM "fail_open"));
	EXPECT_EQ(-EACCES, vfio_open(&self->vc, self->uuid));
	/* a vendor's nonsense would be taken for a pointer further up */
	ASSERT_EQ(0, file_write("-13", PARAM "fail_open"));
	EXPECT_EQ(-EIO, vfio_open(&self->vc, self->uuid));
	ASSERT_EQ(0, file_write("100000", PARAM "fail_open"));
	EXPECT_EQ(-EIO, vfio_open(&self->vc, self->uuid));
	ASSERT_EQ(0, file_write("0", PARAM "fail_open"));

	/* nothing is held by an open that failed */
	EXPECT_EQ(0, module_refs("mnull"));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	vfio_close(&self->vc);
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

/* upstream bug: "owner" was never read, and the vendor unloaded while open */
TEST_F(device, open_pins_modules)
{
	EXPECT_EQ(0, module_refs("mnull"));
	EXPECT_EQ(0, module_refs("vfio_mdev"));

	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	EXPECT_EQ(1, module_refs("mnull"));
	EXPECT_EQ(1, module_refs("vfio_mdev"));
	EXPECT_EQ(-EAGAIN, module_unload("mnull"));
	EXPECT_EQ(-EAGAIN, module_unload("vfio_mdev"));
	EXPECT_EQ(-EAGAIN, module_unload("mdev"));
	EXPECT_EQ(0, device_ping(&self->vc));

	/* the device fd counts, not the group's or the iommufd */
	vfio_close_device(&self->vc);
	EXPECT_EQ(0, module_refs("mnull"));
	EXPECT_EQ(0, module_refs("vfio_mdev"));
	vfio_close(&self->vc);

	/* a live, unopened device pins nothing */
	EXPECT_EQ(0, module_unload("mnull"));
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
}

TEST_F(device, mapping_outlives_fd)
{
	unsigned char *map;

	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
		   self->vc.device, 0);
	ASSERT_NE(MAP_FAILED, map);
	vfio_close(&self->vc);

	/* the mapping holds the file, and so the device */
	map[0] = 1;
	EXPECT_EQ(-EAGAIN, module_unload("mnull"));
	if (!variant->request)
		EXPECT_EQ(-EBUSY, mdev_remove(self->uuid));
	munmap(map, 4096);
	EXPECT_TRUE(wait_for(!module_refs("mnull")));
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

TEST_F(device, remove_while_attached)
{
	ASSERT_EQ(0, vfio_attach(&self->vc, self->uuid));
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(variant->iommufd ? -ENOENT : -ENODEV,
		  vfio_open_device(&self->vc, self->uuid));
	vfio_close(&self->vc);
}

/* opening what is being removed */
TEST_F(device, open_while_removing)
{
	pid_t pid;

	ASSERT_EQ(0, vfio_attach(&self->vc, self->uuid));
	ASSERT_EQ(0, file_write("2000", PARAM "delay_remove"));
	pid = mdev_remove_child(self->uuid);
	ASSERT_TRUE(child_blocks(pid));
	EXPECT_EQ(variant->iommufd ? -ENOENT : -ENODEV,
		  vfio_open_device(&self->vc, self->uuid));
	/* nor can it be bound again behind the remover's back */
	EXPECT_EQ(-ENODEV, file_write(self->uuid, BRIDGE_DRIVER "/bind"));
	EXPECT_EQ(0, child_wait(pid));
	vfio_close(&self->vc);
	EXPECT_FALSE(mdev_exists(self->uuid));
}

TEST_F(device, unbind_bind)
{
	char buf[64];
	int i;

	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	vfio_close(&self->vc);

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, file_write(self->uuid, BRIDGE_DRIVER "/unbind"));
		EXPECT_EQ(-ENOENT, mdev_driver_name(self->uuid, buf,
						    sizeof(buf)));
		EXPECT_FALSE(file_exists(MDEV_DEVICES "/%s/iommu_group",
					 self->uuid));
		EXPECT_EQ(-ENOENT, vfio_open(&self->vc, self->uuid));
		ASSERT_EQ(0, file_write(self->uuid, BRIDGE_DRIVER "/bind"));
		EXPECT_EQ(0, mdev_driver_name(self->uuid, buf, sizeof(buf)));
	}
	/* the vendor's data survived */
	EXPECT_EQ(1, file_read_int(MDEV_DEVICES "/%s/vendor/opens",
				   self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	vfio_close(&self->vc);

	/* a device without a driver can be removed */
	ASSERT_EQ(0, file_write(self->uuid, BRIDGE_DRIVER "/unbind"));
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

TEST_F(device, unbind_while_open)
{
	pid_t holder, unbinder;

	holder = holder_start(self->uuid);
	ASSERT_LT(0, holder);
	unbinder = file_write_child(self->uuid, BRIDGE_DRIVER "/unbind");
	ASSERT_TRUE(child_blocks(unbinder));
	if (variant->request) {
		EXPECT_LT(0, file_read_int(MDEV_DEVICES "/%s/vendor/requests",
					   self->uuid));
	}
	holder_stop(holder);
	EXPECT_EQ(0, child_wait(unbinder));
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

TEST_F(device, bridge_reload)
{
	char buf[64];
	int i;

	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	vfio_close(&self->vc);

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, module_unload("vfio_mdev"));
		/* it stays, without a driver and without a VFIO node */
		EXPECT_TRUE(mdev_exists(self->uuid));
		EXPECT_EQ(-ENOENT, mdev_driver_name(self->uuid, buf,
						    sizeof(buf)));
		EXPECT_EQ(0, dir_count("/sys/class/vfio"));
		EXPECT_EQ(0, dir_count("/sys/class/vfio-dev"));
		ASSERT_EQ(0, module_load("vfio_mdev"));
		EXPECT_EQ(0, mdev_driver_name(self->uuid, buf, sizeof(buf)));
		EXPECT_STREQ("vfio_mdev", buf);
	}
	EXPECT_EQ(1, file_read_int(MDEV_DEVICES "/%s/vendor/opens",
				   self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
	vfio_close(&self->vc);
}

/* unregistering a parent is forced, but an open device is waited for */
TEST_F(device, unregister_while_open)
{
	char other[UUID_LEN + 1], who[64];
	pid_t holder, leaver;
	int kmsg;

	uuid_next(other);
	ASSERT_EQ(0, mdev_create(TYPE, other));
	kmsg = kmsg_open();
	ASSERT_LE(0, kmsg);
	holder = holder_start(self->uuid);
	ASSERT_LT(0, holder);

	leaver = file_write_child("0", REGISTERED);
	/* the log says who holds it */
	snprintf(who, sizeof(who), "mdev_lifetime[%d]", holder);
	EXPECT_TRUE(kmsg_find(kmsg, self->uuid, who));
	close(kmsg);
	EXPECT_TRUE(child_running(leaver));
	if (variant->request) {
		/* right after the log */
		EXPECT_TRUE(wait_for(file_read_int(MDEV_DEVICES "/%s/vendor/requests",
						   self->uuid) == 1));
	}

	EXPECT_EQ(-ENODEV, mdev_remove(self->uuid));
	uuid_next(other);
	EXPECT_EQ(-ENODEV, mdev_create(TYPE, other));

	holder_stop(holder);
	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
	EXPECT_FALSE(file_exists(PARENT));

	ASSERT_EQ(0, file_write("1", REGISTERED));
	EXPECT_EQ(8, mdev_available(TYPE));
}

TEST_F(device, vendor_reload)
{
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, module_unload("mnull"));
		EXPECT_EQ(0, dir_count(MDEV_DEVICES));
		EXPECT_EQ(0, dir_count(MDEV_CLASS));
		ASSERT_EQ(0, module_load(variant->args));
		ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	}
}

TEST_F(device, all_modules_reload)
{
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, modules_reset());
		EXPECT_FALSE(file_exists(MDEV_CLASS));
		EXPECT_EQ(0, mdev_leftovers());
		ASSERT_EQ(0, module_load(variant->args));
		ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	}
}

/* vendors without a request op: an open device is busy, at once */

FIXTURE(busy) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
};

FIXTURE_VARIANT(busy) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(busy, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(busy, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(busy)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mnull"));
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));
}

FIXTURE_TEARDOWN(busy)
{
	vfio_close(&self->vc);
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(busy, remove_is_refused)
{
	long start = now_ms();
	int i;

	/* upstream: hangs in D state */
	for (i = 0; i < 20; i++)
		EXPECT_EQ(-EBUSY, mdev_remove(self->uuid));
	EXPECT_GT(1000, now_ms() - start);

	EXPECT_EQ(0200, file_mode(MDEV_DEVICES "/%s/remove", self->uuid));
	EXPECT_EQ(0, device_ping(&self->vc));
	vfio_close(&self->vc);
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_FALSE(mdev_exists(self->uuid));
}

TEST_F(busy, second_fd)
{
	int first = self->vc.device;

	/* there is one fd by the device's own node */
	if (variant->iommufd) {
		EXPECT_EQ(-EINVAL, vfio_open_device(&self->vc, self->uuid));
		close(first);
		return;
	}
	/* a group hands out more of an open device; the last one counts */
	ASSERT_EQ(0, vfio_open_device(&self->vc, self->uuid));
	close(first);
	EXPECT_EQ(-EBUSY, mdev_remove(self->uuid));
	EXPECT_EQ(0, device_ping(&self->vc));
	EXPECT_EQ(1, file_read_int(MDEV_DEVICES "/%s/vendor/opens",
				   self->uuid));
	vfio_close_device(&self->vc);
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

/* the fd is what counts, whoever has it */
TEST_F(busy, inherited_fd)
{
	pid_t pid = fork_child();

	if (!pid) {
		pause();
		child_exit(0);
	}
	vfio_close(&self->vc);
	EXPECT_EQ(-EBUSY, mdev_remove(self->uuid));
	holder_stop(pid);
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

/* vendors with a request op: an open device is asked for, and waited for */

FIXTURE(unplug) {
	char uuid[UUID_LEN + 1];
	pid_t holder;
	pid_t remover;
};

FIXTURE_VARIANT(unplug) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(unplug, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(unplug, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(unplug)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mnull request=1"));
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	self->holder = holder_start(self->uuid);
	ASSERT_LT(0, self->holder);
	self->remover = mdev_remove_child(self->uuid);
	ASSERT_TRUE(wait_for(file_read_int(MDEV_DEVICES "/%s/vendor/requests",
					   self->uuid) == 1));
	ASSERT_TRUE(child_running(self->remover));
}

FIXTURE_TEARDOWN(unplug)
{
	kill(self->holder, SIGKILL);
	kill(self->remover, SIGKILL);
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(unplug, close_finishes_it)
{
	holder_stop(self->holder);
	EXPECT_EQ(0, child_wait(self->remover));
	EXPECT_FALSE(mdev_exists(self->uuid));
}

TEST_F(unplug, second_remover_loses)
{
	EXPECT_EQ(-ENODEV, mdev_remove(self->uuid));
	EXPECT_EQ(0200, file_mode(MDEV_DEVICES "/%s/remove", self->uuid));
	holder_stop(self->holder);
	EXPECT_EQ(0, child_wait(self->remover));
}

/* the wait comes before the point of no return */
TEST_F(unplug, killed_remover_loses_nothing)
{
	struct vfio_client vc;
	char buf[64];

	kill(self->remover, SIGTERM);
	EXPECT_EQ(-ECANCELED, child_wait(self->remover));

	EXPECT_EQ(0200, file_mode(MDEV_DEVICES "/%s/remove", self->uuid));
	EXPECT_EQ(0, mdev_driver_name(self->uuid, buf, sizeof(buf)));
	holder_stop(self->holder);
	/* can be opened again */
	ASSERT_EQ(0, vfio_open(&vc, self->uuid));
	EXPECT_EQ(0, device_ping(&vc));
	vfio_close(&vc);
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

/*
 * Who unbinds it by hand has the device's lock while it is open. A write to "bind" is
 * refused, and leaves nothing that the interrupted remover would have to do.
 */
TEST_F(unplug, killed_while_unbound)
{
	pid_t unbinder;
	char buf[64];

	unbinder = file_write_child(self->uuid, BRIDGE_DRIVER "/unbind");
	ASSERT_TRUE(child_blocks(unbinder));
	EXPECT_EQ(-ENODEV, file_write(self->uuid, BRIDGE_DRIVER "/bind"));
	kill(self->remover, SIGTERM);
	EXPECT_TRUE(wait_for(!child_running(self->remover)));
	/* nor does it have any other lock */
	EXPECT_EQ(0, mdev_available("mnull0/mnull-1") - 15);
	EXPECT_TRUE(child_running(unbinder));

	holder_stop(self->holder);
	EXPECT_EQ(0, child_wait(unbinder));
	EXPECT_EQ(-ENOENT, mdev_driver_name(self->uuid, buf, sizeof(buf)));
	EXPECT_EQ(0, file_write(self->uuid, BRIDGE_DRIVER "/bind"));
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

TEST_F(unplug, makes_way_for_unregister)
{
	pid_t leaver = file_write_child("0", REGISTERED);

	/* the remover gives up, the unregistration waits in its place */
	EXPECT_EQ(-ENODEV, child_wait(self->remover));
	EXPECT_TRUE(child_running(leaver));
	holder_stop(self->holder);
	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
}

TEST_F_TIMEOUT(unplug, asks_again, 60)
{
	long start = now_ms();

	while (file_read_int(MDEV_DEVICES "/%s/vendor/requests",
			     self->uuid) < 2 && now_ms() - start < 20000)
		sleep_ms(100);
	EXPECT_LT(8000, now_ms() - start);
	EXPECT_GT(15000, now_ms() - start);
	holder_stop(self->holder);
	EXPECT_EQ(0, child_wait(self->remover));
}

/*
 * Devices that VFIO holds though nobody has them open, as far as vendors and mdev are
 * told: one's own node is open, but not bound; or it is just being closed, which
 * waits for a lock of type1's while somebody accesses memory that never comes.
 */

FIXTURE(held) {
	char uuid[UUID_LEN + 1];
	pid_t holder;
	int kmsg;
};

FIXTURE_VARIANT(held) {
	bool iommufd;
	bool request;
};

FIXTURE_VARIANT_ADD(held, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(held, cdev) {
	.iommufd = true,
};

FIXTURE_VARIANT_ADD(held, group_unplug) {
	.request = true,
};

FIXTURE_VARIANT_ADD(held, cdev_unplug) {
	.iommufd = true,
	.request = true,
};

static char held_other[UUID_LEN + 1];

static int hold_node(const char *uuid)
{
	int fd = vfio_open_node(uuid);

	return fd < 0 ? fd : 0;
}

/* memory of which no page is ever there */
static void *memory_that_never_comes(size_t size)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	void *mem;
	int fd;

	fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fd < 0 || mem == MAP_FAILED)
		return NULL;
	reg.range.start = (uintptr_t)mem;
	reg.range.len = size;
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		return NULL;
	return mem;
}

static void *access_memory(void *client)
{
	struct vfio_client *vc = client;
	static char data[8];
	struct test_dma_rw rw = {
		.addr = (uintptr_t)data,
		.len = sizeof(data),
	};

	vfio_ioctl(vc->device, TEST_DMA_RW, &rw);
	return NULL;
}

static void *close_device(void *client)
{
	vfio_close_device(client);
	return NULL;
}

static int hold_closing(const char *uuid)
{
	static struct vfio_client first, second;
	pthread_t accessor, closer;
	void *mem;
	int ret;

	mem = memory_that_never_comes(1 << 16);
	if (!mem)
		return -errno;
	ret = vfio_open(&first, held_other) ?:
	      vfio_open_beside(&second, &first, uuid) ?:
	      vfio_dma_map(&first, mem, 0, 1 << 16, true);
	if (ret)
		return ret;
	pthread_create(&accessor, NULL, access_memory, &first);
	sleep_ms(1000);
	pthread_create(&closer, NULL, close_device, &second);
	/* the vendor's part of it is over */
	return wait_for(!module_refs("mnull")) ? 0 : -ETIMEDOUT;
}

FIXTURE_SETUP(held)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	if (!variant->iommufd && !memory_that_never_comes(1 << 12))
		SKIP(return, "no userfaultfd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load(variant->request ? "mnull request=1" : "mnull"));
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	if (variant->iommufd) {
		self->holder = holder_start_by(hold_node, self->uuid);
	} else {
		ASSERT_EQ(0, module_load("mdev_test_dma"));
		uuid_next(held_other);
		ASSERT_EQ(0, mdev_create(DMA_TYPE, held_other));
		self->holder = holder_start_by(hold_closing, self->uuid);
	}
	ASSERT_LT(0, self->holder);
	EXPECT_EQ(0, module_refs("mnull"));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
}

FIXTURE_TEARDOWN(held)
{
	if (self->holder > 0)
		holder_stop(self->holder);
	close(self->kmsg);
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

/* the line of this device in debugfs ends like this */
static bool device_line_ends(const char *uuid, const char *end)
{
	static char buf[1 << 16];
	char *line, *rest = buf;
	size_t len;

	if (file_read(buf, sizeof(buf), DEVICES_FILE) < 0)
		return false;
	while ((line = strsep(&rest, "\n"))) {
		len = strlen(line);
		if (!strncmp(line, uuid, UUID_LEN) && len > strlen(end) &&
		    !strcmp(line + len - strlen(end), end))
			return true;
	}
	return false;
}

/* a device that can be removed is at once, or it is busy at once */
TEST_F(held, remove_returns)
{
	long start = now_ms();
	pid_t remover;
	int i;

	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	if (file_exists("/sys/kernel/debug/mdev"))
		EXPECT_TRUE(device_line_ends(self->uuid, " live vfio_mdev - vfio"));
	if (variant->request) {
		remover = mdev_remove_child(self->uuid);
		EXPECT_TRUE(kmsg_find(self->kmsg, self->uuid,
				      "to be removed, not open"));
		EXPECT_TRUE(child_running(remover));
		EXPECT_EQ(-ENODEV, mdev_remove(self->uuid));
		kill(remover, SIGTERM);
		EXPECT_TRUE(wait_for(!child_running(remover)));
		EXPECT_EQ(-ECANCELED, child_wait(remover));
		/* it has not been told anything */
		EXPECT_EQ(0, file_read_int(MDEV_DEVICES "/%s/vendor/requests",
					   self->uuid));
		remover = mdev_remove_child(self->uuid);
		ASSERT_TRUE(child_blocks(remover));
		holder_stop(self->holder);
		EXPECT_EQ(0, child_wait(remover));
	} else {
		for (i = 0; i < 20; i++)
			EXPECT_EQ(-EBUSY, mdev_remove(self->uuid));
		EXPECT_GT(1000, now_ms() - start);
		EXPECT_TRUE(kmsg_find(self->kmsg, self->uuid,
				      "not removed: not open"));
		holder_stop(self->holder);
		EXPECT_EQ(0, mdev_remove(self->uuid));
	}
	self->holder = 0;
	EXPECT_FALSE(mdev_exists(self->uuid));
}

TEST_F(held, unregister_says_for_whom)
{
	pid_t leaver = file_write_child("0", REGISTERED);

	EXPECT_TRUE(kmsg_find(self->kmsg, self->uuid, "to be removed, not open"));
	EXPECT_TRUE(child_running(leaver));
	EXPECT_EQ(-ENODEV, mdev_remove(self->uuid));
	holder_stop(self->holder);
	self->holder = 0;
	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_FALSE(mdev_exists(self->uuid));
}

/* nobody else waits with whoever unbinds it by hand */
TEST_F(held, unbound_by_hand)
{
	char other[UUID_LEN + 1];
	pid_t unbinder;

	unbinder = file_write_child(self->uuid, BRIDGE_DRIVER "/unbind");
	ASSERT_TRUE(child_blocks(unbinder));
	if (!variant->request)
		EXPECT_EQ(-EBUSY, mdev_remove(self->uuid));
	uuid_next(other);
	EXPECT_EQ(0, mdev_create(TYPE, other));
	EXPECT_EQ(0, mdev_remove(other));
	EXPECT_TRUE(kmsg_find(self->kmsg, self->uuid, "unbound, but held by VFIO"));
	EXPECT_TRUE(child_running(unbinder));
	holder_stop(self->holder);
	self->holder = 0;
	EXPECT_EQ(0, child_wait(unbinder));
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

/* an open device keeps the bridge, one that is only held does not */
TEST_F(held, bridge_goes)
{
	char other[UUID_LEN + 1], buf[64];
	pid_t unloader;

	if (!variant->iommufd) {
		EXPECT_EQ(-EAGAIN, module_delete("vfio_mdev"));
		return;
	}
	unloader = fork_child();
	if (!unloader)
		child_exit(module_delete("vfio_mdev"));
	ASSERT_TRUE(child_blocks(unloader));
	uuid_next(other);
	EXPECT_EQ(0, mdev_create(TYPE, other));
	EXPECT_EQ(-ENOENT, mdev_driver_name(other, buf, sizeof(buf)));
	EXPECT_TRUE(child_running(unloader));
	holder_stop(self->holder);
	self->holder = 0;
	EXPECT_EQ(0, child_wait(unloader));

	ASSERT_EQ(0, modules_settle());
	ASSERT_EQ(0, module_load("vfio_mdev"));
	EXPECT_EQ(0, mdev_driver_name(other, buf, sizeof(buf)));
	EXPECT_EQ(0, mdev_driver_name(self->uuid, buf, sizeof(buf)));
}

/*
 * The same when it begins after mdev has looked: a bridge whose remove does not
 * return stands in for VFIO.
 */

FIXTURE(stuck) {
	char uuid[UUID_LEN + 1];
	char other[UUID_LEN + 1];
};

FIXTURE_SETUP(stuck)
{
	ASSERT_EQ(0, modules_reset());
	ASSERT_EQ(0, module_load("mdev_test_bridge"));
	ASSERT_EQ(0, module_load("mnull"));
	uuid_next(self->uuid);
	uuid_next(self->other);
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	ASSERT_EQ(0, file_write("1", HOLD));
}

FIXTURE_TEARDOWN(stuck)
{
	file_write("0", HOLD);
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(stuck, remover_is_killed)
{
	pid_t remover;
	char buf[64];

	remover = mdev_remove_child(self->uuid);
	ASSERT_TRUE(child_blocks(remover));
	kill(remover, SIGKILL);
	EXPECT_TRUE(wait_for(!child_running(remover)));
	EXPECT_EQ(-ENODEV, mdev_remove(self->uuid));
	EXPECT_EQ(0, mdev_create(TYPE, self->other));
	EXPECT_EQ(0200, file_mode(MDEV_DEVICES "/%s/remove", self->uuid));

	/* as it was before; until it is, its driver is bound again whoever unbinds it */
	ASSERT_EQ(0, file_write("0", HOLD));
	EXPECT_TRUE(wait_for(mdev_remove(self->other) == 0));
	EXPECT_TRUE(wait_for(device_line_ends(self->uuid,
					      " live mdev_test_bridge - -")));
	EXPECT_EQ(0, file_write(self->uuid,
				"/sys/bus/mdev/drivers/mdev_test_bridge/unbind"));
	EXPECT_EQ(-ENOENT, mdev_driver_name(self->uuid, buf, sizeof(buf)));
	EXPECT_TRUE(wait_for(mdev_remove(self->uuid) == 0));
	EXPECT_FALSE(mdev_exists(self->uuid));
}

TEST_F(stuck, remover_makes_way)
{
	pid_t remover, leaver;

	remover = mdev_remove_child(self->uuid);
	ASSERT_TRUE(child_blocks(remover));
	leaver = file_write_child("0", REGISTERED);
	EXPECT_TRUE(wait_for(!child_running(remover)));
	EXPECT_EQ(-ENODEV, child_wait(remover));
	EXPECT_TRUE(child_running(leaver));
	ASSERT_EQ(0, file_write("0", HOLD));
	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_FALSE(mdev_exists(self->uuid));
}

/* killed first, and then the parent goes */
TEST_F(stuck, killed_and_unregistered)
{
	pid_t remover, leaver;

	remover = mdev_remove_child(self->uuid);
	ASSERT_TRUE(child_blocks(remover));
	kill(remover, SIGKILL);
	EXPECT_TRUE(wait_for(!child_running(remover)));
	leaver = file_write_child("0", REGISTERED);
	ASSERT_TRUE(child_blocks(leaver));
	ASSERT_EQ(0, file_write("0", HOLD));
	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_FALSE(mdev_exists(self->uuid));
	ASSERT_EQ(0, file_write("1", REGISTERED));
	EXPECT_EQ(0, mdev_create(TYPE, self->uuid));
}

TEST_F(stuck, bridge_goes)
{
	pid_t unloader, creator;
	char buf[64];

	unloader = fork_child();
	if (!unloader)
		child_exit(module_delete("mdev_test_bridge"));
	ASSERT_TRUE(child_blocks(unloader));
	/* its place is not free yet; nobody waits for that */
	EXPECT_NE(0, system("modprobe vfio_mdev 2>/dev/null"));
	creator = mdev_create_child(TYPE, self->other);
	EXPECT_TRUE(wait_for(!child_running(creator)));
	EXPECT_EQ(0, child_wait(creator));
	EXPECT_EQ(-ENOENT, mdev_driver_name(self->other, buf, sizeof(buf)));
	EXPECT_TRUE(child_running(unloader));

	ASSERT_EQ(0, file_write("0", HOLD));
	EXPECT_EQ(0, child_wait(unloader));
	ASSERT_EQ(0, module_load("vfio_mdev"));
	EXPECT_EQ(0, mdev_driver_name(self->uuid, buf, sizeof(buf)));
	EXPECT_EQ(0, mdev_driver_name(self->other, buf, sizeof(buf)));
	EXPECT_EQ(0, mdev_remove(self->uuid));
}

/*
 * The vendor's memory is the vendor's again when unregistering returns: mnull
 * poisons and frees all that it gave to mdev at that moment, while files of it
 * are open and being read and devices are in use. KASAN says if somebody looks at it
 * then; where kobjects are released late, the allocator says if that writes to it.
 */

FIXTURE(memory) {
	pthread_t reader, client;
	bool client_runs;
};

FIXTURE_VARIANT(memory) {
	bool iommufd;
	const char *args;
	bool modern;
};

FIXTURE_VARIANT_ADD(memory, classic) {
	.args = "mnull types=3 request=1",
};

FIXTURE_VARIANT_ADD(memory, cdev) {
	.args = "mnull types=3 request=1",
	.iommufd = true,
};

FIXTURE_VARIANT_ADD(memory, modern) {
	.args = "mnull types=3 door=modern",
	.modern = true,
};

static char memory_uuids[2][UUID_LEN + 1];
static atomic_bool memory_stop;
static atomic_int memory_reads, memory_opens, memory_error;

static void memory_complain(int error)
{
	int none = 0;

	atomic_compare_exchange_strong(&memory_error, &none, error);
}

/* Open the files of whatever is there, read them until they are dead. */
static void *memory_read(void *arg)
{
	static const char * const files[] = {
		PARENT "/mdev_supported_types/mnull-1/name",
		PARENT "/mdev_supported_types/mnull-2/device_api",
		PARENT "/mdev_supported_types/mnull-3/available_instances",
		PARENT "/mdev_supported_types/mnull-1/description",
	};
	int fds[ARRAY_SIZE(files)], alive;
	char buf[4096];
	unsigned int i;

	while (!memory_stop) {
		for (i = 0; i < ARRAY_SIZE(files); i++)
			fds[i] = open(files[i], O_RDONLY | O_CLOEXEC);
		do {
			alive = 0;
			for (i = 0; i < ARRAY_SIZE(files); i++) {
				if (pread(fds[i], buf, sizeof(buf), 0) > 0)
					alive++;
				else if (fds[i] >= 0 && errno != ENODEV)
					memory_complain(-errno);
			}
			memory_reads += alive;
		} while (alive && !memory_stop);
		/* what is dead stays open for as long as the next is there */
		for (i = 0; i < ARRAY_SIZE(files); i++)
			if (fds[i] >= 0)
				close(fds[i]);
	}
	return NULL;
}

static void *memory_use(void *arg)
{
	struct vfio_client vc;

	while (!memory_stop) {
		if (vfio_open(&vc, memory_uuids[0]))
			continue;
		if (device_ping(&vc))
			memory_complain(-EIO);
		sleep_ms(3);
		memory_opens++;
		vfio_close(&vc);
	}
	return NULL;
}

FIXTURE_SETUP(memory)
{
	unsigned int i;

	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, modules_reset());
	ASSERT_EQ(0, module_load(variant->args));
	for (i = 0; i < ARRAY_SIZE(memory_uuids); i++)
		uuid_next(memory_uuids[i]);
	ASSERT_EQ(0, pthread_create(&self->reader, NULL, memory_read, NULL));
	self->client_runs = !variant->modern;
	if (self->client_runs)
		ASSERT_EQ(0, pthread_create(&self->client, NULL, memory_use,
					    NULL));
}

FIXTURE_TEARDOWN(memory)
{
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

static bool memory_goes_well(bool client_runs)
{
	return memory_reads > 100 && (!client_runs || memory_opens > 10);
}

TEST_F(memory, is_the_vendors_again)
{
	long end = now_ms();
	unsigned int i, j;

	for (i = 0; i < 8 || goes_on(end, memory_goes_well(self->client_runs));
	     i++) {
		for (j = 0; j < ARRAY_SIZE(memory_uuids); j++)
			ASSERT_EQ(0, mdev_create(TYPE, memory_uuids[j]));
		sleep_ms(10);
		ASSERT_EQ(0, file_write("0", REGISTERED));
		ASSERT_EQ(0, file_write("1", REGISTERED));
	}

	memory_stop = true;
	pthread_join(self->reader, NULL);
	if (self->client_runs)
		pthread_join(self->client, NULL);
	EXPECT_EQ(0, memory_error);
	EXPECT_TRUE(memory_goes_well(self->client_runs));
}

/*
 * Names in sysfs and debugfs. What a module had there is free again when
 * module_unload() returns: it can be loaded again at once, and nothing stays.
 */
FIXTURE(names) {
	void *tree;		/* of tsearch(): what is there without the module */
};

FIXTURE_VARIANT(names) {
	const char *module;
	const char *args;
};

FIXTURE_VARIANT_ADD(names, mdev) {
	.module = "mdev",
	.args = "mdev",
};

FIXTURE_VARIANT_ADD(names, vfio_mdev) {
	.module = "vfio_mdev",
	.args = "vfio_mdev",
};

FIXTURE_VARIANT_ADD(names, classic) {
	.module = "mnull",
	.args = "mnull",
};

FIXTURE_VARIANT_ADD(names, modern) {
	.module = "mnull",
	.args = "mnull door=modern",
};

FIXTURE_VARIANT_ADD(names, test_modern) {
	.module = "mdev_test_modern",
	.args = "mdev_test_modern",
};

FIXTURE_VARIANT_ADD(names, mtty) {
	.module = "mtty",
	.args = "mtty",
};

FIXTURE_VARIANT_ADD(names, mdisp) {
	.module = "mdisp",
	.args = "mdisp",
};

FIXTURE_VARIANT_ADD(names, medu) {
	.module = "medu",
	.args = "medu",
};

static int name_compare(const void *one, const void *two)
{
	return strcmp(one, two);
}

/*
 * Find the folders and links below @path, to so many levels. They are added to
 * @tree, or else the number of those that are not in it is returned.
 */
static int names_below(void **tree, const char *path, int levels, bool add)
{
	char name[PATH_MAX];
	struct dirent *de;
	int missing = 0;
	DIR *dir;

	dir = opendir(path);
	while (dir && (de = readdir(dir))) {
		if (de->d_name[0] == '.' ||
		    (de->d_type != DT_DIR && de->d_type != DT_LNK))
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, de->d_name);
		if (add) {
			tsearch(strdup(name), tree, name_compare);
		} else if (!tfind(name, tree, name_compare)) {
			fprintf(stderr, "# %s stays\n", name);
			missing++;
		}
		if (de->d_type == DT_DIR && levels > 1)
			missing += names_below(tree, name, levels - 1, add);
	}
	if (dir)
		closedir(dir);
	return missing;
}

/* deep enough for a driver, a device and its types */
static int names(void **tree, bool add)
{
	return names_below(tree, "/sys/bus", 3, add) +
	       names_below(tree, "/sys/class", 2, add) +
	       names_below(tree, "/sys/devices", 4, add) +
	       names_below(tree, "/sys/module", 3, add) +
	       names_below(tree, "/sys/kernel/debug", 1, add);
}

FIXTURE_SETUP(names)
{
	ASSERT_EQ(0, modules_reset());
	/* what it depends on stays */
	ASSERT_EQ(0, module_load(variant->args));
	ASSERT_EQ(0, module_unload(variant->module));
	ASSERT_EQ(0, names(&self->tree, true));
	ASSERT_NE(NULL, self->tree);
}

FIXTURE_TEARDOWN(names)
{
	tdestroy(self->tree, free);
	EXPECT_EQ(0, modules_reset());
}

TEST_F(names, are_free_after_unload)
{
	int i;

	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, module_load(variant->args));
		ASSERT_EQ(0, module_unload(variant->module));
	}
	EXPECT_EQ(0, names(&self->tree, false));
}

/* the bridge comes, fails and goes */

FIXTURE(bridge) {
	char uuid[UUID_LEN + 1];
	char modprobe[256];
};

FIXTURE_VARIANT(bridge) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(bridge, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(bridge, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(bridge)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, modules_reset());
	ASSERT_LT(0, file_read(self->modprobe, sizeof(self->modprobe),
			       MODPROBE));
	ASSERT_EQ(0, module_load("mnull"));
	ASSERT_FALSE(module_loaded("vfio_mdev"));
	uuid_next(self->uuid);
}

FIXTURE_TEARDOWN(bridge)
{
	EXPECT_EQ(0, file_write(self->modprobe, MODPROBE));
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(bridge, loaded_when_needed)
{
	struct vfio_client vc;

	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	EXPECT_TRUE(module_loaded("vfio_mdev"));
	ASSERT_EQ(0, vfio_open(&vc, self->uuid));
	vfio_close(&vc);
}

/* by what tests put in modprobe's place while they unload modules in a race */
TEST_F(bridge, loaded_when_names_are_gone)
{
	char modprobe[256];

	ASSERT_EQ(0, modules_autoload_settled(modprobe, sizeof(modprobe)));
	EXPECT_STREQ(self->modprobe, modprobe);
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	EXPECT_TRUE(module_loaded("vfio_mdev"));
}

TEST_F(bridge, not_to_be_had)
{
	char buf[64];
	int kmsg;

	ASSERT_EQ(0, file_write("/nonexistent", MODPROBE));
	kmsg = kmsg_open();
	ASSERT_LE(0, kmsg);
	ASSERT_EQ(0, mdev_create(TYPE, self->uuid));
	EXPECT_EQ(-ENOENT, mdev_driver_name(self->uuid, buf, sizeof(buf)));
	EXPECT_TRUE(kmsg_find(kmsg, self->uuid, "vfio_mdev is not loaded"));
	close(kmsg);

	/* found when the bridge comes at last */
	ASSERT_EQ(0, module_load("vfio_mdev"));
	EXPECT_EQ(0, mdev_driver_name(self->uuid, buf, sizeof(buf)));
	EXPECT_STREQ("vfio_mdev", buf);
}

/* what is put in the place of modprobe and does not end while this file is there */
#define SLOW_MODPROBE	"/tmp/slow_modprobe"

static int slow_modprobe(void)
{
	FILE *f = fopen(SLOW_MODPROBE, "w");

	if (!f)
		return -errno;
	fprintf(f, "#!/bin/sh\nwhile [ -e $0 ]; do sleep .1; done\n");
	fclose(f);
	return chmod(SLOW_MODPROBE, 0755) ? -errno :
	       file_write(SLOW_MODPROBE, MODPROBE);
}

/* a create that waits for the bridge has nothing that others need */
TEST_F(bridge, loading_takes_long)
{
	pid_t creator, leaver;
	char buf[64];
	long ms;

	ASSERT_EQ(0, slow_modprobe());
	creator = mdev_create_child(TYPE, self->uuid);
	ASSERT_TRUE(child_blocks(creator));
	kill(creator, SIGKILL);
	EXPECT_TRUE(wait_for(!child_running(creator)));
	EXPECT_FALSE(mdev_exists(self->uuid));

	creator = mdev_create_child(TYPE, self->uuid);
	ASSERT_TRUE(child_blocks(creator));
	ms = -now_ms();
	leaver = file_write_child("0", REGISTERED);
	EXPECT_TRUE(wait_for(!child_running(leaver)));
	EXPECT_EQ(0, child_wait(leaver));
	EXPECT_EQ(-ENODEV, child_wait(creator));
	/* and not when its time is up, after half a minute */
	EXPECT_GT(10000, ms + now_ms());
	ASSERT_EQ(0, file_write("1", REGISTERED));

	/* loaded by hand, it is there at once */
	creator = mdev_create_child(TYPE, self->uuid);
	ASSERT_TRUE(child_blocks(creator));
	ASSERT_EQ(0, module_load("vfio_mdev"));
	EXPECT_TRUE(wait_for(!child_running(creator)));
	EXPECT_EQ(0, child_wait(creator));
	EXPECT_EQ(0, mdev_driver_name(self->uuid, buf, sizeof(buf)));
	unlink(SLOW_MODPROBE);
}

/* modprobe waits for a probe, that for whoever is in "create", and that for modprobe */
TEST_F(bridge, loading_waits_for_vendor)
{
	pid_t loader, creator;
	int ret;

	loader = fork_child();
	if (!loader)
		child_exit(module_load("mdev_test_async"));
	ASSERT_TRUE(wait_for(file_exists(MDEV_CLASS "/" ASYNC_CREATE)));
	creator = mdev_create_child(ASYNC_TYPE, self->uuid);
	EXPECT_TRUE(wait_for(!child_running(creator)));
	/* it may have been quicker than the vendor */
	ret = child_wait(creator);
	if (ret)
		EXPECT_EQ(-ENODEV, ret);
	EXPECT_TRUE(wait_for(!child_running(loader)));
	EXPECT_EQ(0, child_wait(loader));
	EXPECT_FALSE(mdev_exists(self->uuid));
	EXPECT_EQ(0, mdev_create(TYPE, self->uuid));
	EXPECT_TRUE(module_loaded("vfio_mdev"));
}

TEST_F(bridge, probe_error_undoes_create)
{
	static const int errors[] = { ENOMEM, EIO, ENODEV, EBUSY };
	char text[16];
	unsigned int i;

	ASSERT_EQ(0, module_load("mdev_test_bridge"));
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		snprintf(text, sizeof(text), "%d", errors[i]);
		ASSERT_EQ(0, file_write(text,
					"/sys/module/mdev_test_bridge/parameters/fail_probe"));
		EXPECT_EQ(-errors[i], mdev_create(TYPE, self->uuid));
		EXPECT_FALSE(mdev_exists(self->uuid));
		EXPECT_EQ(16, mdev_available(TYPE));
	}
	ASSERT_EQ(0, file_write("0",
				"/sys/module/mdev_test_bridge/parameters/fail_probe"));
	EXPECT_EQ(0, mdev_create(TYPE, self->uuid));

	/* there is one bridge at a time, and the second harms nothing */
	EXPECT_EQ(-EINVAL, module_load("vfio_mdev"));
	EXPECT_FALSE(module_loaded("vfio_mdev"));
	EXPECT_EQ(0, module_unload("mdev_test_bridge"));
	EXPECT_EQ(0, module_load("vfio_mdev"));
}

/* a bridge that is loaded while devices are created misses none */
TEST_F(bridge, load_while_creating)
{
	char uuid[12][UUID_LEN + 1], buf[64];
	pid_t loader;
	int round, i;

	for (i = 0; i < 12; i++)
		uuid_next(uuid[i]);
	for (round = 0; round < 5; round++) {
		loader = fork_child();
		if (!loader)
			child_exit(module_load("vfio_mdev"));
		for (i = 0; i < 12; i++)
			ASSERT_EQ(0, mdev_create(TYPE, uuid[i]));
		EXPECT_EQ(0, child_wait(loader));
		for (i = 0; i < 12; i++) {
			EXPECT_EQ(0, mdev_driver_name(uuid[i], buf,
						      sizeof(buf)));
			EXPECT_EQ(0, mdev_remove(uuid[i]));
		}
		ASSERT_EQ(0, module_unload("vfio_mdev"));
	}
}

TEST_HARNESS_MAIN
