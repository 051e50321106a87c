/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the mdev tests share: sysfs, modules, uevents, and a small VFIO client.
 *
 * Every function returns 0 or more, or a negative errno; none asserts. Tests
 * say themselves what they expect. Nothing here is clever: a step that fails
 * must be found in the test by its line.
 */
#ifndef MDEV_UTIL_H
#define MDEV_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <sys/types.h>

#include "../kselftest.h"

/* the harness allows 30 s; kernels that release kobjects late need more */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 180

#define UUID_LEN	36
#define MDEV_DEVICES	"/sys/bus/mdev/devices"
#define MDEV_CLASS	"/sys/class/mdev_bus"
#define BRIDGE_DRIVER	"/sys/bus/mdev/drivers/vfio_mdev"
#define MODPROBE	"/proc/sys/kernel/modprobe"

/* files; paths are printf formats */
int file_write(const char *text, const char *path, ...)
	__printf(2, 3);
int file_write_bytes(const char *path, const void *buf, size_t len);
int file_read(char *buf, size_t size, const char *path, ...)
	__printf(3, 4);
int file_read_int(const char *path, ...) __printf(1, 2);
int file_mode(const char *path, ...) __printf(1, 2);
bool file_exists(const char *path, ...) __printf(1, 2);
/*
 * Write, while call number @n (from 0) that mdev.ko makes to @function fails, one of
 * those that the module mdev_test_fail knows. 1 if there was no such call; the write
 * has succeeded then.
 */
int file_write_fails(const char *function, int n, const char *text,
		     const char *path);
int link_base(char *buf, size_t size, const char *path, ...)
	__printf(3, 4);
int dir_count(const char *path);

/* is this Linux, or a later one, running? */
bool linux_since(int major, int minor);

/*
 * Modules; arguments as modprobe takes them. Nothing that a module had in sysfs is
 * there any more when it has been unloaded, or when loading it has failed, so it
 * can be loaded at once.
 */
int module_load(const char *args);
int module_unload(const char *name);
bool module_loaded(const char *name);
int module_refs(const char *name);
/* take all of ours off, whatever a failed test left; 0 if none is left */
int modules_reset(void);
/*
 * The same, but mdev, the bridge and the kit stay, for tests that are about devices: to
 * load these takes more time than such a test does. 0 if nobody uses them.
 */
int vendors_reset(void);

/*
 * For tests that race with unloading: only that, and the wait, which says what
 * stays if it is in vain.
 */
int module_delete(const char *name);
int modules_settle(void);
/*
 * While other threads unload, have the kernel wait as well, before it loads a
 * module by itself; @old is for modules_autoload_restore().
 */
int modules_autoload_settled(char *old, size_t size);
int modules_autoload_restore(const char *old);

/* mediated devices; a type is "parent/type", e.g. "mnull0/mnull-1" */
void uuid_next(char uuid[UUID_LEN + 1]);
int mdev_create(const char *type, const char *uuid);
int mdev_remove(const char *uuid);
bool mdev_exists(const char *uuid);
int mdev_available(const char *type);
/* name of the bound driver, or -ENOENT */
int mdev_driver_name(const char *uuid, char *buf, size_t size);
/* what a failed test or a race has left; 0 if nothing */
int mdev_leftovers(void);

/* memory: the size of a page, and what it may be */
#define PAGE		((uint64_t)sysconf(_SC_PAGESIZE))
#define PAGE_MIN	4096
#define PAGE_MAX	16384	/* more is not tested */

/* time */
long now_ms(void);
void sleep_ms(long ms);
/*
 * Wait for an expression, asking less and less; its last value. The limit is for
 * what never comes: much more than a host that is busy, or kernels that release
 * late (4 s), and twice over, may take, and less than TEST_TIMEOUT_DEFAULT.
 */
#define WAIT_MS		30000
#define wait_for(expr)	wait_longer(WAIT_MS, expr)
/* The last look comes after the limit: the machine may have stood still. */
#define wait_longer(limit, expr) ({					\
	long _start = now_ms(), _ms;					\
	bool _seen;							\
	for (;;) {							\
		_ms = now_ms() - _start;				\
		_seen = (expr);						\
		if (_seen || _ms >= (limit))				\
			break;						\
		sleep_ms(5 + (_ms < 4000 ? _ms / 4 : 1000));		\
	}								\
	_seen; })
/*
 * For what runs until @end: until then, and then until @expr, too, so that what
 * should happen at least once may take longer where all is slow.
 */
#define goes_on(end, expr) ({						\
	long _ms = now_ms() - (end);					\
	_ms < 0 || (_ms < WAIT_MS && !(expr)); })

/*
 * Do something in a child: fork_child() returns 0 in it, and the child must
 * leave by child_exit(), whose argument child_wait() returns in the parent.
 */
pid_t fork_child(void);
void __noreturn child_exit(int ret);
int child_wait(pid_t pid);
bool child_running(pid_t pid);
/*
 * Wait until a child has come to where it waits: it has slept for 100 ms and is
 * still at it. False if it ends instead.
 */
bool child_blocks(pid_t pid);
/* an fd of a child's, as one of ours; or -1 */
int fd_of(pid_t pid, int fd);
/* for the common cases: write in a child */
pid_t file_write_child(const char *text, const char *path, ...)
	__printf(2, 3);
pid_t mdev_create_child(const char *type, const char *uuid);
pid_t mdev_remove_child(const char *uuid);

/* uevents, from the kernel itself */
struct uevent {
	char buf[8192];
	size_t len;
};

int uevent_open(void);
/* next event whose path holds @path, as long as wait_for() at most */
int uevent_next(int fd, const char *path, struct uevent *ev);
/* "add", "remove", "change", "bind", ... */
const char *uevent_action(const struct uevent *ev);
/* value of a variable, or NULL */
const char *uevent_get(const struct uevent *ev, const char *name);

/* the kernel's log */
int kmsg_open(void);
/* does a line come that holds both? */
bool kmsg_find(int fd, const char *one, const char *two);
/* does none come, not even within a second? */
bool kmsg_lacks(int fd, const char *one, const char *two);

/*
 * A VFIO client, by group and container, or by the device's own node and iommufd.
 * What is not in use is -1.
 */
struct vfio_client {
	int container;
	int group;
	int iommufd;
	uint32_t ioas;
	int device;
};

/*
 * Have vfio_attach() and vfio_open() take the second way. False if this kernel
 * does not have it: a fixture's setup skips then.
 */
bool vfio_use_iommufd(bool iommufd);

/* all but opening the device; for its own node, this is only the iommufd */
int vfio_attach(struct vfio_client *vc, const char *uuid);
int vfio_open_device(struct vfio_client *vc, const char *uuid);
/* only its own node: an fd that is not bound to an iommufd */
int vfio_open_node(const char *uuid);
/* all of it */
int vfio_open(struct vfio_client *vc, const char *uuid);
/* a second device in the memory of the first */
int vfio_open_beside(struct vfio_client *vc, const struct vfio_client *first,
		     const char *uuid);
void vfio_close_device(struct vfio_client *vc);
void vfio_close(struct vfio_client *vc);

/* let the device use memory of ours, at @iova */
int vfio_dma_map(struct vfio_client *vc, void *mem, uint64_t iova, size_t size,
		 bool writable);
int vfio_dma_unmap(struct vfio_client *vc, uint64_t iova, size_t size);

/* ioctl(), pread() and pwrite() with a negative errno */
int vfio_ioctl(int fd, unsigned long cmd, void *arg);
ssize_t vfio_read(int fd, void *buf, size_t count, off_t pos);
ssize_t vfio_write(int fd, const void *buf, size_t count, off_t pos);

struct vfio_region_info;
int vfio_region(int fd, unsigned int index, struct vfio_region_info *info);
/* SET_IRQS with one int of data (an eventfd), or none if @data is NULL */
int vfio_set_irqs(int fd, uint32_t flags, uint32_t index, uint32_t start,
		  uint32_t count, const int32_t *data);
/* FEATURE with @size bytes of @data, at most 64, which are copied both ways */
int vfio_feature(int fd, uint32_t flags, void *data, size_t size);
/* has the eventfd fired within @ms? then it is read */
bool eventfd_fired(int fd, int ms);

#endif /* MDEV_UTIL_H */
