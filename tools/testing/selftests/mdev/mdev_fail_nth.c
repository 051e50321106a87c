// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every allocation fails once, and every copy to and from user memory.
 *
 * A sweep does one thing over and over. The first time its first allocation (of
 * slab, of pages) or copy fails, then the second, and so on, until it comes
 * through without a failure. It may fail then, but only by an errno that says
 * so; and whether it fails or not, all must be as it was before, after undoing
 * what was done: the tree in sysfs, quota, counts of references, pinned memory.
 * Where what is done does nothing to the tree, that is looked through after some of the
 * points. The rest is for the kernel's log and for kmemleak to say.
 *
 * Failures reach what the calling task does itself, not what it has others do.
 *
 * MDEV_FAIL_NTH_ONLY picks the sweeps whose names hold it; the others only do
 * what they would sweep, once. MDEV_FAIL_NTH_LEAKS looks for leaks after each
 * sweep, for half a minute, and not just at the end as tools/vm/run does.
 * MDEV_FAIL_NTH_VERBOSE prints every point.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../kselftest_harness.h"
#include "mdev_edu.h"
#include "mdev_util.h"
#include "test_modules/mdev_test_classic.h"
#include "test_modules/mdev_test_dma.h"
#include "test_modules/mdev_test_log.h"
#include "test_modules/mdev_test_pci.h"
#include "test_modules/mdev_test_v1.h"

#define DEBUGFS		"/sys/kernel/debug"
#define KMEMLEAK	DEBUGFS "/kmemleak"
#define MNULL_REG	"/sys/class/mnull/mnull0/registered"
#define MNULL_TYPE	"/sys/class/mnull/mnull0/mdev_supported_types/mnull-1"
#define MNULL_PARAM	"/sys/module/mnull/parameters/"

/* what CONFIG_DEBUG_KOBJECT_RELEASE puts off is released after 4 s */
#define RELEASE_MS	4100
#define MAX_POINTS	2000
/* how often the tree is looked through where nothing is to change in it */
#define TREE_POINTS	8

#define PAGES	16
#define SIZE	(PAGES * PAGE)
#define IOVA	0x10000000ULL

static const char * const faults[] = {
	"failslab", "fail_page_alloc", "fail_usercopy",
};

/* Failures: the next one to come, and whether the last one has. */

static int fail_nth_fd = -1;
static unsigned int nth;
static bool hit;

static int fault_set(const char *fault, const char *file, const char *value)
{
	return file_write(value, DEBUGFS "/%s/%s", fault, file);
}

/* the kinds of failure that this kernel can do; or an errno */
static int faults_setup(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		if (!file_exists(DEBUGFS "/%s", faults[i]))
			return -ENOENT;
		if (fault_set(faults[i], "verbose", "0") ||
		    fault_set(faults[i], "probability", "0") ||
		    fault_set(faults[i], "task-filter", "N"))
			return -EIO;
	}
	if (fault_set("failslab", "ignore-gfp-wait", "N") ||
	    fault_set("fail_page_alloc", "ignore-gfp-wait", "N") ||
	    fault_set("fail_page_alloc", "ignore-gfp-highmem", "N") ||
	    fault_set("fail_page_alloc", "min-order", "0"))
		return -EIO;

	fail_nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return fail_nth_fd < 0 ? -errno : 0;
}

/* what a function of the kernel occupies */
static int function_range(const char *function, unsigned long *start,
			  unsigned long *end)
{
	char line[256], name[128];
	unsigned long addr;
	FILE *f;

	*start = 0;
	*end = ULONG_MAX;
	f = fopen("/proc/kallsyms", "r");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx %*c %127s", &addr, name) != 2)
			continue;
		if (!*start && !strcmp(name, function))
			*start = addr;
	}
	rewind(f);
	while (fgets(line, sizeof(line), f)) {
		addr = strtoul(line, NULL, 16);
		if (addr > *start && addr < *end)
			*end = addr;
	}
	fclose(f);
	return *start ? 0 : -ENOENT;
}

static int faults_range(const char *which, unsigned long start,
			unsigned long end)
{
	char file[32], text[32];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		snprintf(file, sizeof(file), "%s-start", which);
		snprintf(text, sizeof(text), "%#lx", start);
		if (fault_set(faults[i], file, text))
			return -EIO;
		snprintf(file, sizeof(file), "%s-end", which);
		snprintf(text, sizeof(text), "%#lx", end);
		if (fault_set(faults[i], file, text))
			return -EIO;
	}
	return 0;
}

/* Failures only below this function of the kernel. */
static int faults_below(const char *function)
{
	unsigned long start, end;

	return function_range(function, &start, &end) ?:
	       faults_range("require", start, end);
}

/* None below this one. */
static int faults_spare(const char *function)
{
	unsigned long start, end;

	return function_range(function, &start, &end) ?:
	       faults_range("reject", start, end);
}

static int faults_spare_none(void)
{
	return faults_range("reject", 0, 0);
}

static int faults_anywhere(void)
{
	return faults_range("require", 0, ULONG_MAX) ?: faults_spare_none();
}

/* Between these two, the nth failure comes. Neither changes errno. */
static void faults_on(void)
{
	char text[16];
	int len;

	hit = false;
	if (!nth)
		return;
	len = snprintf(text, sizeof(text), "%u", nth);
	if (pwrite(fail_nth_fd, text, len, 0) != len)
		abort();
}

static void faults_off(void)
{
	int err = errno;
	char text[16] = "";

	if (!nth)
		return;
	/*
	 * What is left of the count. Both of these copy from or to us, so that
	 * they may be what fails, and that means that nothing has before.
	 */
	if (pread(fail_nth_fd, text, sizeof(text) - 1, 0) > 0)
		hit = !atoi(text);
	while (pwrite(fail_nth_fd, "0", 1, 0) != 1)
		;
	errno = err;
}

/* System calls with failures in them. */

static int faulty_write(const char *text, const char *path)
{
	int fd, ret;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	faults_on();
	ret = write(fd, text, strlen(text));
	faults_off();
	if (ret < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int faulty_cat(const char *path)
{
	char buf[4096];
	int fd, ret = 0;

	faults_on();
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		ret = read(fd, buf, sizeof(buf));
	faults_off();
	if (fd < 0 || ret < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

static int faulty_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret;

	faults_on();
	ret = ioctl(fd, cmd, arg);
	faults_off();
	return ret < 0 ? -errno : ret;
}

/* All that must be as it was, as text. */

struct text {
	char *mem;
	size_t len;
	size_t size;
};

static void text_add(struct text *text, const char *add)
{
	size_t len = strlen(add);

	if (text->len + len + 1 > text->size) {
		text->size = (text->len + len + 1) * 2;
		text->mem = realloc(text->mem, text->size);
		if (!text->mem)
			abort();
	}
	memcpy(text->mem + text->len, add, len + 1);
	text->len += len;
}

/* Numbers of VFIO devices and of groups are not given out again at once. */
static void text_add_path(struct text *text, const char *path)
{
	char line[PATH_MAX], *to = line;

	while (*path && to < line + sizeof(line) - 2) {
		if (*path >= '0' && *path <= '9') {
			*to++ = 'N';
			path += strspn(path, "0123456789");
		} else {
			*to++ = *path++;
		}
	}
	*to++ = '\n';
	*to = '\0';
	text_add(text, line);
}

static void text_add_file(struct text *text, const char *path)
{
	char buf[4096];

	if (file_read(buf, sizeof(buf), "%s", path) < 0)
		return;
	text_add(text, path);
	text_add(text, ": ");
	text_add(text, buf);
	text_add(text, "\n");
}

/* @all: including VFIO's, which it gives back when it releases a device */
static void text_add_refs(struct text *text, bool all)
{
	static const char * const modules[] = {
		"mdev", "vfio_mdev", "mnull", "mtty", "mdev_test_dma",
		"mdev_test_log", "mdev_pci", "mdev_test_pci", "mdev_test_v1", "vfio",
		"vfio_iommu_type1", "iommufd",
	};
	char path[64];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(modules) - (all ? 0 : 3); i++) {
		snprintf(path, sizeof(path), "/sys/module/%s/refcnt",
			 modules[i]);
		text_add_file(text, path);
	}
}

/* memory that VFIO has pinned; it accounts for it in the one or the other */
static void text_add_pinned(struct text *text)
{
	char status[4096], *line, *rest = status;

	if (file_read(status, sizeof(status), "/proc/self/status") < 0)
		return;
	while ((line = strsep(&rest, "\n"))) {
		if (strncmp(line, "VmPin:", 6) && strncmp(line, "VmLck:", 6))
			continue;
		text_add(text, line);
		text_add(text, "\n");
	}
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Each is more than the one before it, and takes more time. */
enum what {
	COUNTS,		/* parents and devices that mdev knows, references, pinned memory */
	TREE,		/* the names in sysfs, debugfs and /dev, and quota */
	ALL,		/* what goes late as a rule, and who looks at it has to wait for */
};

static void text_add_tree(struct text *text)
{
	static char * const roots[] = {
		"/sys/bus/mdev", MDEV_CLASS, "/sys/class/vfio",
		"/sys/class/vfio-dev", "/sys/devices/virtual/mnull",
		"/sys/devices/virtual/mtty/mtty",
		"/sys/devices/platform/mdev_test_dma",
		"/sys/devices/platform/mdev_test_log",
		"/sys/devices/virtual/mdev_test_pci",
		"/sys/devices/virtual/mdev_test_v1",
		"/sys/devices/virtual/vfio", "/dev/vfio", DEBUGFS "/mdev",
		DEBUGFS "/vfio", NULL
	};
	FTSENT *ent;
	FTS *fts;

	fts = fts_open(roots, FTS_PHYSICAL | FTS_NOSTAT, by_name);
	while (fts && (ent = fts_read(fts))) {
		/* nobody's but the driver core's */
		if (!strcmp(ent->fts_name, "power"))
			fts_set(fts, ent, FTS_SKIP);
		if (ent->fts_info == FTS_DP)
			continue;
		if (ent->fts_info == FTS_NS && !ent->fts_level)
			continue;
		text_add_path(text, ent->fts_path);
		if (!strcmp(ent->fts_name, "available_instances"))
			text_add_file(text, ent->fts_path);
	}
	if (fts)
		fts_close(fts);
}

static char *state(enum what what)
{
	struct text text = {};

	if (what >= TREE)
		text_add_tree(&text);
	text_add_file(&text, DEBUGFS "/mdev/parents");
	text_add_file(&text, DEBUGFS "/mdev/devices");
	text_add_file(&text, DEBUGFS "/mdev/pending");
	text_add_refs(&text, what == ALL);
	text_add_pinned(&text);
	return text.mem;
}

/* where they begin to differ */
static void state_differ(const char *before, const char *after)
{
	size_t i = 0, line = 0;

	for (; before[i] && before[i] == after[i]; i++)
		if (before[i] == '\n')
			line = i + 1;
	printf("#   before: %.*s\n", (int)strcspn(before + line, "\n"),
	       before + line);
	printf("#   after:  %.*s\n", (int)strcspn(after + line, "\n"),
	       after + line);
}

/* Is all as it was, perhaps a little later? */
static bool state_is(const char *before, enum what what)
{
	char *after = state(what);
	bool same;
	int i;

	for (i = 0; i < 3 && strcmp(before, after); i++) {
		free(after);
		sleep_ms(RELEASE_MS);
		after = state(what);
	}
	same = !strcmp(before, after);
	if (!same)
		state_differ(before, after);
	free(after);
	return same;
}

/*
 * Is there a leak? kmemleak tells nothing of an object whose content has changed
 * since it last looked, and so nothing the first time.
 */
static bool leaks(void)
{
	char buf[4096];
	int i, ret;

	if (!getenv("MDEV_FAIL_NTH_LEAKS"))
		return false;
	if (!file_exists(KMEMLEAK)) {
		printf("# this kernel has no kmemleak\n");
		return true;
	}
	/* it ignores anything younger */
	sleep_ms(6000);
	for (i = 0; i < 2; i++)
		if (file_write("scan", KMEMLEAK))
			return true;
	ret = file_read(buf, sizeof(buf), KMEMLEAK);
	if (ret > 0)
		printf("%s\n", buf);
	return ret;
}

/*
 * A sweep. A @run that fails has done nothing, or what @failed takes back.
 */
struct sweep {
	const char *name;
	int (*run)(void);	/* 0 or more, or a negative errno */
	int (*undo)(void);	/* take back a run that did not fail */
	int (*failed)(void);	/* take back the part of one that did */
	const char *spare;	/* a function that is not to fail */
	int error;		/* another errno that @run may fail with */
	bool restores;		/* @run changes the tree, and that back */
};

/*
 * What is done wrong by others when they get no memory (Linux 7.3).
 *
 * vfio_create_group(), when it cannot add the group's device, puts it without
 * having put the IOMMU group, whose reference is lost; vfio_group_release() warns
 * of it: WARN_ON(group->iommu_group).
 *
 * devtmpfs_delete_node(), when there is no memory for the node's name, leaves the
 * node in /dev/vfio for good. The next device of this name does not get one.
 *
 * bus_register(), when it has no memory for the files and folders it begins with,
 * has not registered a key with lockdep that bus_release() unregisters, of which
 * lockdep_unregister_key() warns: WARN_ON_ONCE(!found && debug_locks).
 */
#define SPARE_GROUP	"vfio_create_group"
#define SPARE_NODE	"devtmpfs_delete_node"
#define SPARE_BUS	"bus_register"

static bool sweep_wanted(const struct sweep *s)
{
	const char *only = getenv("MDEV_FAIL_NTH_ONLY");

	return !only || strstr(s->name, only);
}

/* one point; 0, or 1 if something is wrong */
static int sweep_point(const struct sweep *s, const char *counts, const char *tree)
{
	static bool changes;
	int ret = s->run(), err = 0, bad = 0;
	bool look;
	char *now;

	if (getenv("MDEV_FAIL_NTH_VERBOSE"))
		printf("#  %s %u: %s %d\n", s->name, nth, hit ? "hit" : "-", ret);
	if (!nth) {
		now = state(TREE);
		changes = s->restores || strcmp(now, tree);
		free(now);
	}
	if (ret >= 0 && s->undo)
		err = s->undo();
	else if (ret < 0 && s->failed)
		err = s->failed();

	if (ret < 0 && (!hit || (ret != -ENOMEM && ret != -EFAULT &&
				 ret != -s->error))) {
		printf("# %s, %u: %s%s\n", s->name, nth, strerror(-ret),
		       hit ? "" : " without a failure");
		bad = 1;
	}
	if (err < 0) {
		printf("# %s, %u: cannot be undone: %s\n", s->name, nth,
		       strerror(-err));
		bad = 1;
	}
	look = changes || !(nth % TREE_POINTS);
	if (!state_is(look ? tree : counts, look ? TREE : COUNTS)) {
		printf("# %s, %u%s: not as before\n", s->name, nth,
		       look && !changes ? " or one before it" : "");
		bad = 1;
	}
	fflush(stdout);
	return bad;
}

/* the number of points that were wrong */
static int sweep_all(const struct sweep *s)
{
	char *before, *counts, *tree, *all;
	unsigned int hits = 0;
	bool same;
	int bad;

	/* what goes late is gone, and what that releases */
	all = state(ALL);
	for (;;) {
		sleep_ms(RELEASE_MS);
		before = all;
		all = state(ALL);
		same = !strcmp(before, all);
		free(before);
		if (same)
			break;
	}
	counts = state(COUNTS);
	tree = state(TREE);

	/* without a failure; also for what is only allocated once */
	nth = 0;
	bad = sweep_point(s, counts, tree);
	if (bad || !sweep_wanted(s))
		goto out;
	if (s->spare && faults_spare(s->spare)) {
		printf("# %s: there is no %s()\n", s->name, s->spare);
		bad = 1;
		goto out;
	}

	do {
		nth++;
		bad += sweep_point(s, counts, tree);
		hits += hit;
	} while (hit && nth < MAX_POINTS && bad < 5);
	if (hit && nth >= MAX_POINTS)
		bad++;
	if (!state_is(all, ALL)) {
		printf("# %s: not as before\n", s->name);
		bad++;
	}
	if (leaks()) {
		printf("# %s: leaks\n", s->name);
		bad++;
	}
	printf("# sweep %s\n# result sweeps=1 points=%u faults=%u\n", s->name, nth, hits);
	if (s->spare && faults_spare_none())
		bad++;
out:
	nth = 0;
	fflush(stdout);
	free(counts);
	free(tree);
	free(all);
	return bad;
}

/* What is being used; there is one of each. */
static const char *type;
static char uuid[UUID_LEN + 1];
static struct vfio_client vc;
static unsigned char *mem;
static int stream = -1, event = -1;

/* of a variant, for the names of its sweeps */
static const char *label = "";

static const char *sweep_name(const char *what)
{
	static char name[64];

	snprintf(name, sizeof(name), "%s%s%s", what, *label ? " " : "", label);
	return name;
}

#define test_sweep(_what, ...)						\
do {									\
	const struct sweep _s = {					\
		.name = sweep_name(_what), __VA_ARGS__	\
	};								\
	ASSERT_EQ(0, sweep_all(&_s));					\
} while (0)

/* -ENOENT if this kernel cannot make anything fail */
static int setup(const char *variant)
{
	label = variant;
	uuid_next(uuid);
	return faults_setup() ?: modules_reset();
}

static int do_create(void)
{
	return mdev_create(type, uuid);
}

static int do_remove(void)
{
	return mdev_remove(uuid);
}

/* Parents and devices. */

static int run_register(void)
{
	return faulty_write("1", MNULL_REG);
}

static int run_unregister(void)
{
	return faulty_write("0", MNULL_REG);
}

static int do_register(void)
{
	return file_write("1", MNULL_REG);
}

static int do_unregister(void)
{
	return file_write("0", MNULL_REG);
}

static int do_register_create(void)
{
	return do_register() ?: do_create();
}

static int run_create(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), MDEV_CLASS "/%.*s/mdev_supported_types%s/create",
		 (int)strcspn(type, "/"), type, strchr(type, '/'));
	return faulty_write(uuid, path);
}

static int run_remove(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), MDEV_DEVICES "/%s/remove", uuid);
	return faulty_write("1", path);
}

static int run_remove_refused(void)
{
	int ret = run_remove();

	return ret == -EBADE ? 0 : ret;
}

/* What could not be put back is for the administrator, whom the log tells of it. */
static int do_restore(void)
{
	char name[32];

	if (!mdev_driver_name(uuid, name, sizeof(name)) &&
	    file_exists(MDEV_DEVICES "/%s/vendor", uuid))
		return 0;
	return file_write("0", MNULL_PARAM "fail_remove") ?:
	       do_remove() ?: do_create() ?:
	       file_write("52", MNULL_PARAM "fail_remove");
}

static int run_unbind(void)
{
	return faulty_write(uuid, BRIDGE_DRIVER "/unbind");
}

static int run_bind(void)
{
	return faulty_write(uuid, BRIDGE_DRIVER "/bind");
}

static int do_bind(void)
{
	return file_write(uuid, BRIDGE_DRIVER "/bind");
}

static int do_unbind(void)
{
	return file_write(uuid, BRIDGE_DRIVER "/unbind");
}

static int run_cat_type(void)
{
	return faulty_cat(MNULL_TYPE "/available_instances");
}

static int run_cat_devices(void)
{
	return faulty_cat(DEBUGFS "/mdev/devices");
}

static int run_cat_parents(void)
{
	return faulty_cat(DEBUGFS "/mdev/parents");
}

FIXTURE(parent) {};

FIXTURE_VARIANT(parent) {
	const char *name;
	const char *args;
	bool bridge;
};

FIXTURE_VARIANT_ADD(parent, classic) {
	.name = "classic",
	.args = "mnull types=2",
	.bridge = true,
};

FIXTURE_VARIANT_ADD(parent, modern) {
	.name = "modern",
	.args = "mnull types=2 door=modern",
};

FIXTURE_SETUP(parent)
{
	int ret = setup(variant->name);

	if (ret == -ENOENT)
		SKIP(return, "no fault injection in this kernel");
	ASSERT_EQ(0, ret);
	if (variant->bridge)
		ASSERT_EQ(0, module_load("vfio_mdev"));
	ASSERT_EQ(0, module_load(variant->args));
	type = "mnull0/mnull-1";
}

FIXTURE_TEARDOWN(parent)
{
	EXPECT_EQ(0, faults_anywhere());
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F_TIMEOUT(parent, sweeps, 100000)
{
	const char *group = variant->bridge ? SPARE_GROUP : NULL;
	const char *node = variant->bridge ? SPARE_NODE : NULL;

	ASSERT_EQ(0, do_unregister());
	test_sweep("register", .run = run_register, .undo = do_unregister);
	ASSERT_EQ(0, do_register());
	test_sweep("unregister", .run = run_unregister, .undo = do_register);
	test_sweep("create", .run = run_create, .undo = do_remove,
		   .spare = group);
	test_sweep("read type", .run = run_cat_type);

	ASSERT_EQ(0, do_create());
	test_sweep("remove", .run = run_remove, .undo = do_create,
		   .spare = node);
	test_sweep("unregister with a device", .run = run_unregister,
		   .undo = do_register_create, .spare = node);
	test_sweep("read parents", .run = run_cat_parents);
	test_sweep("read devices", .run = run_cat_devices);
	if (variant->bridge) {
		test_sweep("unbind", .run = run_unbind, .undo = do_bind,
			   .spare = node);
		ASSERT_EQ(0, do_unbind());
		test_sweep("bind", .run = run_bind, .undo = do_unbind,
			   .spare = group);
	}
	EXPECT_EQ(0, do_remove());
}

/*
 * The vendor says no, and all is put back: its files, and the driver. Not with
 * VFIO's, where two functions would have to be spared.
 */
TEST(remove_refused)
{
	int ret = setup("");

	if (ret == -ENOENT)
		SKIP(return, "no fault injection in this kernel");
	ASSERT_EQ(0, ret);
	type = "mnull0/mnull-1";
	ASSERT_EQ(0, module_load("mdev_test_bridge"));
	ASSERT_EQ(0, module_load("mnull"));
	ASSERT_EQ(0, do_create());
	/* EBADE, which nobody else returns */
	ASSERT_EQ(0, file_write("52", MNULL_PARAM "fail_remove"));
	test_sweep("remove refused", .run = run_remove_refused,
		   .undo = do_restore, .restores = true);
	ASSERT_EQ(0, file_write("0", MNULL_PARAM "fail_remove"));
	EXPECT_EQ(0, do_remove());
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

/* What a VFIO client does. */

static int run_open(void)
{
	int ret;

	faults_on();
	ret = vfio_open_device(&vc, uuid);
	faults_off();
	return ret;
}

static int do_close(void)
{
	vfio_close_device(&vc);
	return 0;
}

/* the first time, there is more to do */
static int run_first_open(void)
{
	return do_create() ?: vfio_attach(&vc, uuid) ?: run_open();
}

static int do_close_and_remove(void)
{
	vfio_close(&vc);
	return do_remove();
}

static int run_get_info(void)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	return faulty_ioctl(vc.device, VFIO_DEVICE_GET_INFO, &info);
}

static int run_region_info(void)
{
	char buf[256] = {};
	struct vfio_region_info *info = (void *)buf;

	info->argsz = sizeof(buf);
	return faulty_ioctl(vc.device, VFIO_DEVICE_GET_REGION_INFO, info);
}

static int run_irq_info(void)
{
	struct vfio_irq_info info = { .argsz = sizeof(info) };

	return faulty_ioctl(vc.device, VFIO_DEVICE_GET_IRQ_INFO, &info);
}

static int run_set_irqs(void)
{
	int ret;

	faults_on();
	ret = vfio_set_irqs(vc.device, VFIO_IRQ_SET_ACTION_TRIGGER |
			    VFIO_IRQ_SET_DATA_EVENTFD, VFIO_PCI_INTX_IRQ_INDEX,
			    0, 1, &event);
	faults_off();
	return ret;
}

static int do_unset_irqs(void)
{
	return vfio_set_irqs(vc.device, VFIO_IRQ_SET_ACTION_TRIGGER |
			     VFIO_IRQ_SET_DATA_NONE, VFIO_PCI_INTX_IRQ_INDEX,
			     0, 0, NULL);
}

static int run_reset(void)
{
	return faulty_ioctl(vc.device, VFIO_DEVICE_RESET, NULL);
}

static int run_read(void)
{
	int data, ret;

	faults_on();
	ret = vfio_read(vc.device, &data, sizeof(data), 0);
	faults_off();
	return ret;
}

static int run_write(void)
{
	int data = 0, ret;

	faults_on();
	ret = vfio_write(vc.device, &data, sizeof(data), 0);
	faults_off();
	return ret;
}

static void *map;

static int run_mmap(void)
{
	faults_on();
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vc.device, 0);
	faults_off();
	return map == MAP_FAILED ? -errno : 0;
}

static int do_munmap(void)
{
	return munmap(map, PAGE) ? -errno : 0;
}

static int feature(bool faulty, uint32_t flags, void *data, size_t size)
{
	char buf[sizeof(struct vfio_device_feature) + 64] = {};
	struct vfio_device_feature *feature = (void *)buf;
	int ret;

	feature->argsz = sizeof(*feature) + size;
	feature->flags = flags;
	memcpy(feature->data, data, size);
	ret = faulty ? faulty_ioctl(vc.device, VFIO_DEVICE_FEATURE, feature) :
		       vfio_ioctl(vc.device, VFIO_DEVICE_FEATURE, feature);
	memcpy(data, feature->data, size);
	return ret;
}

#define GET	VFIO_DEVICE_FEATURE_GET
#define SET	VFIO_DEVICE_FEATURE_SET

static int run_mig_flags(void)
{
	struct vfio_device_feature_migration flags;

	return feature(true, GET | VFIO_DEVICE_FEATURE_MIGRATION, &flags,
		       sizeof(flags));
}

static int run_mig_size(void)
{
	struct vfio_device_feature_mig_data_size size;

	return feature(true, GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, &size,
		       sizeof(size));
}

static int run_mig_get(void)
{
	struct vfio_device_feature_mig_state mig = {};

	return feature(true, GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig,
		       sizeof(mig));
}

static int set_state(bool faulty, uint32_t new)
{
	struct vfio_device_feature_mig_state mig = { .device_state = new };
	int ret;

	if (stream >= 0)
		close(stream);
	stream = -1;
	ret = feature(faulty, SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig,
		      sizeof(mig));
	if (!ret)
		stream = mig.data_fd;
	return ret;
}

static int run_save(void)
{
	return set_state(true, VFIO_DEVICE_STATE_STOP_COPY);
}

static int run_resume(void)
{
	return set_state(true, VFIO_DEVICE_STATE_RESUMING);
}

/* A failed transition leaves the device between the two, or in ERROR. */
static int do_running(void)
{
	return vfio_ioctl(vc.device, VFIO_DEVICE_RESET, NULL) ?:
	       set_state(false, VFIO_DEVICE_STATE_RUNNING);
}

static int run_read_stream(void)
{
	char buf[64];
	int ret;

	faults_on();
	ret = read(stream, buf, sizeof(buf));
	faults_off();
	return ret < 0 ? -errno : ret;
}

static int do_save_again(void)
{
	return do_running() ?: set_state(false, VFIO_DEVICE_STATE_STOP_COPY);
}

FIXTURE(client) {};

FIXTURE_VARIANT(client) {
	const char *name;
	bool iommufd;
};

FIXTURE_VARIANT_ADD(client, group) {
	.name = "group",
};

FIXTURE_VARIANT_ADD(client, cdev) {
	.name = "cdev",
	.iommufd = true,
};

FIXTURE_SETUP(client)
{
	int ret = setup(variant->name);

	if (ret == -ENOENT)
		SKIP(return, "no fault injection in this kernel");
	ASSERT_EQ(0, ret);
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, module_load("vfio_mdev"));
	event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, event);
}

FIXTURE_TEARDOWN(client)
{
	close(event);
	vfio_close(&vc);
	EXPECT_EQ(0, mdev_remove(uuid));
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

/* a vendor that answers ioctls, has interrupts and can be migrated */
TEST_F_TIMEOUT(client, sweeps, 100000)
{
	type = "mtty/mtty-1";
	/* or it is built in */
	if (!file_exists(MDEV_CLASS "/mtty"))
		ASSERT_EQ(0, module_load("mtty"));
	ASSERT_EQ(0, do_create());
	ASSERT_EQ(0, vfio_attach(&vc, uuid));
	test_sweep("open", .run = run_open, .undo = do_close);
	ASSERT_EQ(0, vfio_open_device(&vc, uuid));
	test_sweep("read", .run = run_read);
	test_sweep("write", .run = run_write);
	test_sweep("GET_INFO", .run = run_get_info);
	test_sweep("GET_REGION_INFO", .run = run_region_info);
	test_sweep("GET_IRQ_INFO", .run = run_irq_info);
	test_sweep("SET_IRQS", .run = run_set_irqs, .undo = do_unset_irqs);
	test_sweep("RESET", .run = run_reset);
	test_sweep("migration flags", .run = run_mig_flags);
	test_sweep("migration size", .run = run_mig_size);
	test_sweep("migration state", .run = run_mig_get);
	test_sweep("save", .run = run_save, .undo = do_running,
		   .failed = do_running);
	test_sweep("resume", .run = run_resume, .undo = do_running,
		   .failed = do_running);
	ASSERT_EQ(0, set_state(false, VFIO_DEVICE_STATE_STOP_COPY));
	test_sweep("read saved", .run = run_read_stream, .undo = do_save_again);
	EXPECT_EQ(0, do_running());
}

/* one that describes its region in kernel memory, which can be mapped */
TEST_F_TIMEOUT(client, sweeps_region, 100000)
{
	type = "mnull0/mnull-1";
	ASSERT_EQ(0, module_load("mnull region_op=1"));
	test_sweep("first open", .run = run_first_open, .undo = do_close_and_remove,
		   .failed = do_close_and_remove);
	ASSERT_EQ(0, do_create());
	ASSERT_EQ(0, vfio_open(&vc, uuid));
	test_sweep("GET_REGION_INFO of op", .run = run_region_info);
	test_sweep("mmap", .run = run_mmap, .undo = do_munmap);
}

/* one that describes it in the client's, with a capability */
TEST_F_TIMEOUT(client, sweeps_region_ioctl, 100000)
{
	struct {
		struct vfio_region_info info;
		struct vfio_region_info_cap_type type;
	} answer = {
		.info = {
			.argsz		= sizeof(answer),
			.flags		= VFIO_REGION_INFO_FLAG_CAPS,
			.cap_offset	= sizeof(answer.info),
		},
		.type.header.id = VFIO_REGION_INFO_CAP_TYPE,
	};
	struct mdev_test_region region = { .size = sizeof(answer) };

	type = "mdev_test_classic/platform-a";
	ASSERT_EQ(0, module_load("mdev_test_classic"));
	ASSERT_EQ(0, do_create());
	ASSERT_EQ(0, vfio_open(&vc, uuid));
	memcpy(region.answer, &answer, sizeof(answer));
	ASSERT_EQ(0, vfio_ioctl(vc.device, MDEV_TEST_REGION, &region));
	test_sweep("GET_REGION_INFO of ioctl", .run = run_region_info);
}

/* The client's memory. */

static int run_map(void)
{
	int ret;

	faults_on();
	ret = vfio_dma_map(&vc, mem, IOVA, SIZE, true);
	faults_off();
	return ret;
}

static int do_map(void)
{
	return vfio_dma_map(&vc, mem, IOVA, SIZE, true);
}

static int do_unmap(void)
{
	return vfio_dma_unmap(&vc, IOVA, SIZE);
}

static struct test_dma_range range = { .iova = IOVA, .npage = PAGES, .prot = 3 };

static int run_pin(void)
{
	return faulty_ioctl(vc.device, TEST_DMA_PIN, &range);
}

static int run_unpin(void)
{
	return faulty_ioctl(vc.device, TEST_DMA_UNPIN, &range);
}

static int do_pin(void)
{
	int ret = vfio_ioctl(vc.device, TEST_DMA_PIN, &range);

	return ret == PAGES ? 0 : ret < 0 ? ret : -EIO;
}

static int do_unpin(void)
{
	return vfio_ioctl(vc.device, TEST_DMA_UNPIN, &range);
}

static int run_unmap(void)
{
	int ret;

	faults_on();
	ret = vfio_dma_unmap(&vc, IOVA, SIZE);
	faults_off();
	return ret;
}

static int do_map_pin(void)
{
	return do_map() ?: do_pin();
}

/* These two copy their result to the user when all is done. */

static int do_unmap_if(void)
{
	do_unmap();
	return 0;
}

static int do_map_pin_if(void)
{
	do_unpin();
	do_map();
	return do_pin();
}

static int run_copy(void)
{
	static char data[100];
	struct test_dma_rw rw = {
		.iova = IOVA, .addr = (uintptr_t)data, .len = sizeof(data),
		.write = 1,
	};

	return faulty_ioctl(vc.device, TEST_DMA_RW, &rw);
}

static int log_start(bool faulty)
{
	struct vfio_device_feature_dma_logging_range logged = { IOVA, SIZE };
	struct vfio_device_feature_dma_logging_control control = {
		.page_size = PAGE,
		.num_ranges = 1,
		.ranges = (uintptr_t)&logged,
	};

	return feature(faulty, SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
		       &control, sizeof(control));
}

static int run_log_start(void)
{
	return log_start(true);
}

static int do_log_start(void)
{
	return log_start(false);
}

static int log_stop(bool faulty)
{
	return feature(faulty, SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, NULL,
		       0);
}

static int run_log_stop(void)
{
	return log_stop(true);
}

static int do_log_stop(void)
{
	return log_stop(false);
}

static int run_log_write(void)
{
	struct mdev_test_write data = {
		.iova = IOVA, .count = 100, .value = 1, .pin = 1,
	};

	return faulty_ioctl(vc.device, MDEV_TEST_WRITE, &data);
}

static int run_log_report(void)
{
	static uint64_t bitmap[PAGES]; /* as in mdev_log */
	struct vfio_device_feature_dma_logging_report report = {
		.iova = IOVA,
		.length = SIZE,
		.page_size = PAGE,
		.bitmap = (uintptr_t)bitmap,
	};

	return feature(true, GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
		       &report, sizeof(report));
}

/* report, and thereby clean, all dirty pages; return their number */
static int log_report(void)
{
	static uint64_t bitmap[PAGES]; /* as in mdev_log */
	struct vfio_device_feature_dma_logging_report report = {
		.iova = IOVA,
		.length = SIZE,
		.page_size = PAGE,
		.bitmap = (uintptr_t)bitmap,
	};
	int ret;

	bitmap[0] = 0;
	ret = feature(false, GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
		      &report, sizeof(report));
	return ret ?: __builtin_popcountll(bitmap[0]);
}

/* An unpin cannot fail. Its pages are reported, and once only. */
static int run_unpin_logged(void)
{
	int ret = run_unpin();

	if (ret)
		return ret;
	return log_report() == PAGES && !log_report() ? 0 : -ENODATA;
}

/* A copy that fails may have written its page or not. */
static int run_copy_logged(void)
{
	int ret = run_copy(), dirty = log_report();

	if (!ret && dirty != 1)
		return -ENODATA;
	return dirty > 1 || log_report() ? -ENODATA : ret;
}

static int run_feature(void)
{
	uint64_t number = 1;

	return feature(true, SET | MDEV_TEST_FEATURE, &number, sizeof(number));
}

FIXTURE(memory) {};

FIXTURE_VARIANT(memory) {
	const char *name;
	bool iommufd;
};

FIXTURE_VARIANT_ADD(memory, group) {
	.name = "group",
};

FIXTURE_VARIANT_ADD(memory, cdev) {
	.name = "cdev",
	.iommufd = true,
};

FIXTURE_SETUP(memory)
{
	int ret = setup(variant->name);

	if (ret == -ENOENT)
		SKIP(return, "no fault injection in this kernel");
	ASSERT_EQ(0, ret);
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, module_load("vfio_mdev"));
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
}

FIXTURE_TEARDOWN(memory)
{
	vfio_close(&vc);
	munmap(mem, SIZE);
	EXPECT_EQ(0, mdev_remove(uuid));
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F_TIMEOUT(memory, sweeps, 100000)
{
	type = "mdev_test_dma/platform-dma";
	ASSERT_EQ(0, module_load("mdev_test_dma"));
	ASSERT_EQ(0, do_create());
	ASSERT_EQ(0, vfio_open(&vc, uuid));
	test_sweep("map", .run = run_map, .undo = do_unmap,
		   .failed = do_unmap_if);
	ASSERT_EQ(0, do_map());
	test_sweep("pin", .run = run_pin, .undo = do_unpin);
	test_sweep("copy", .run = run_copy);
	ASSERT_EQ(0, do_pin());
	test_sweep("unpin", .run = run_unpin, .undo = do_pin);
	test_sweep("unmap what is pinned", .run = run_unmap, .undo = do_map_pin,
		   .failed = do_map_pin_if);
}

TEST_F_TIMEOUT(memory, sweeps_own_log, 100000)
{
	type = "mdev_test_dma/platform-dma";
	ASSERT_EQ(0, module_load("mdev_test_dma"));
	ASSERT_EQ(0, do_create());
	ASSERT_EQ(0, vfio_open(&vc, uuid));
	ASSERT_EQ(0, do_map());
	test_sweep("own log start", .run = run_log_start, .undo = do_log_stop);
	ASSERT_EQ(0, do_log_start());
	test_sweep("own log copy", .run = run_copy_logged);
	ASSERT_EQ(0, do_pin());
	test_sweep("own log unpin", .run = run_unpin_logged, .undo = do_pin,
		   .failed = do_map_pin_if);
	test_sweep("own log report", .run = run_log_report);
	test_sweep("own log stop", .run = run_log_stop, .undo = do_log_start);
	EXPECT_EQ(0, do_log_stop());
}

/* What the kit for PCI devices does besides what mtty uses of it. */

static int run_region_info_pci(void)
{
	char buf[256] = {};
	struct vfio_region_info *info = (void *)buf;

	info->argsz = sizeof(buf);
	info->index = MDEV_TEST_PCI_NOTE;
	return faulty_ioctl(vc.device, VFIO_DEVICE_GET_REGION_INFO, info);
}

static int run_read_config(void)
{
	char data[256];
	int ret;

	faults_on();
	ret = vfio_read(vc.device, data, sizeof(data),
			(off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40);
	faults_off();
	/* a part, if the rest could not be copied */
	return ret;
}

static int run_set_vectors(void)
{
	char buf[sizeof(struct vfio_irq_set) + 16 * sizeof(int32_t)] = {};
	struct vfio_irq_set *set = (void *)buf;
	int i;

	set->argsz = sizeof(buf);
	set->flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD;
	set->index = VFIO_PCI_MSIX_IRQ_INDEX;
	set->count = 16;
	for (i = 0; i < 16; i++)
		memcpy(set->data + i * sizeof(int32_t), &event, sizeof(int32_t));
	return faulty_ioctl(vc.device, VFIO_DEVICE_SET_IRQS, set);
}

static int do_unset_vectors(void)
{
	return vfio_set_irqs(vc.device, VFIO_IRQ_SET_ACTION_TRIGGER |
			     VFIO_IRQ_SET_DATA_NONE, VFIO_PCI_MSIX_IRQ_INDEX,
			     0, 0, NULL);
}

static int run_set_unmask(void)
{
	int ret;

	faults_on();
	ret = vfio_set_irqs(vc.device, VFIO_IRQ_SET_ACTION_UNMASK |
			    VFIO_IRQ_SET_DATA_EVENTFD, VFIO_PCI_INTX_IRQ_INDEX,
			    0, 1, &event);
	faults_off();
	return ret;
}

static int do_unset_unmask(void)
{
	int none = -1;

	return vfio_set_irqs(vc.device, VFIO_IRQ_SET_ACTION_UNMASK |
			     VFIO_IRQ_SET_DATA_EVENTFD, VFIO_PCI_INTX_IRQ_INDEX,
			     0, 1, &none);
}

static int run_pci_dma(void)
{
	struct mdev_test_pci_dma dma = { .iova = IOVA, .len = 100, .write = 1 };

	return faulty_ioctl(vc.device, MDEV_TEST_PCI_DMA, &dma);
}

static int run_pci_pin(void)
{
	struct mdev_test_pci_dma dma = {
		.iova = IOVA, .len = SIZE, .write = 1, .pin = 1,
	};

	return faulty_ioctl(vc.device, MDEV_TEST_PCI_DMA, &dma);
}

static int do_pci_unpin(void)
{
	return vfio_ioctl(vc.device, MDEV_TEST_PCI_UNPIN, NULL);
}

static char pci_state[1 << 20];
static int pci_state_size;

/* what another device would send; nothing fails */
static int do_save_pci(void)
{
	int ret;

	ret = set_state(false, VFIO_DEVICE_STATE_STOP_COPY);
	if (ret)
		return ret;
	pci_state_size = 0;
	while ((ret = read(stream, pci_state + pci_state_size,
			   sizeof(pci_state) - pci_state_size)) > 0)
		pci_state_size += ret;
	return ret < 0 ? -errno : do_running();
}

/* The state is written by itself, as what fails is to be the one or the other. */
static int run_write_stream(void)
{
	int ret;

	ret = set_state(false, VFIO_DEVICE_STATE_RESUMING);
	if (ret)
		return ret;
	faults_on();
	ret = write(stream, pci_state, pci_state_size);
	faults_off();
	return ret < 0 ? -errno : 0;
}

static int run_load(void)
{
	int ret;

	ret = set_state(false, VFIO_DEVICE_STATE_RESUMING);
	if (ret)
		return ret;
	if (write(stream, pci_state, pci_state_size) != pci_state_size)
		return -EIO;
	return set_state(true, VFIO_DEVICE_STATE_STOP);
}

TEST_F_TIMEOUT(memory, sweeps_pci, 100000)
{
	uint16_t master = PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY;

	type = "mdev_test_pci/mdev_test_pci-full";
	event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, event);
	ASSERT_EQ(0, module_load("mdev_test_pci"));
	ASSERT_EQ(0, do_create());
	ASSERT_EQ(0, vfio_attach(&vc, uuid));
	test_sweep("open of kit", .run = run_open, .undo = do_close);
	ASSERT_EQ(0, vfio_open_device(&vc, uuid));
	ASSERT_EQ(0, do_map());
	test_sweep("GET_REGION_INFO of kit", .run = run_region_info_pci);
	test_sweep("read config", .run = run_read_config);
	test_sweep("SET_IRQS MSI-X", .run = run_set_vectors,
		   .undo = do_unset_vectors);
	ASSERT_EQ(0, run_set_irqs());
	test_sweep("SET_IRQS unmask", .run = run_set_unmask,
		   .undo = do_unset_unmask);
	ASSERT_EQ(0, do_unset_irqs());
	ASSERT_EQ(0, do_save_pci());
	test_sweep("write of kit's state", .run = run_write_stream,
		   .undo = do_running, .failed = do_running);
	test_sweep("load of kit", .run = run_load, .undo = do_running,
		   .failed = do_running);
	ASSERT_EQ(2, vfio_write(vc.device, &master, 2,
				((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40) +
				PCI_COMMAND));
	test_sweep("DMA of kit", .run = run_pci_dma);
	test_sweep("pin of kit", .run = run_pci_pin, .undo = do_pci_unpin);
	EXPECT_EQ(0, do_unmap());
	close(event);
}

/* the stream of mdev_test_v1: the format, and a piece with its length */
static char v1_state[8 + 8 + 8 + TEST_V1_PIECE];

static int do_save_v1(void)
{
	int ret;

	ret = set_state(false, VFIO_DEVICE_STATE_STOP_COPY);
	if (ret)
		return ret;
	if (read(stream, v1_state, sizeof(v1_state)) != sizeof(v1_state))
		return -EIO;
	return do_running();
}

static int run_write_v1(void)
{
	int ret;

	ret = set_state(false, VFIO_DEVICE_STATE_RESUMING);
	if (ret)
		return ret;
	faults_on();
	ret = write(stream, v1_state, sizeof(v1_state));
	faults_off();
	return ret == sizeof(v1_state) ? 0 : ret < 0 ? -errno : -ENOMEM;
}

TEST_F_TIMEOUT(memory, sweeps_v1, 100000)
{
	type = "mdev_test_v1/mdev_test_v1-1";
	ASSERT_EQ(0, module_load("mdev_test_v1"));
	ASSERT_EQ(0, do_create());
	ASSERT_EQ(0, vfio_attach(&vc, uuid));
	test_sweep("open of v1", .run = run_open, .undo = do_close);
	ASSERT_EQ(0, vfio_open_device(&vc, uuid));
	test_sweep("GET_REGION_INFO of v1", .run = run_region_info);
	test_sweep("save of v1", .run = run_save, .undo = do_running,
		   .failed = do_running);
	ASSERT_EQ(0, do_save_v1());
	ASSERT_EQ(0, set_state(false, VFIO_DEVICE_STATE_STOP_COPY));
	test_sweep("read of v1", .run = run_read_stream, .undo = do_save_again,
		   .failed = do_save_again);
	ASSERT_EQ(0, do_running());
	test_sweep("write of v1", .run = run_write_v1, .undo = do_running,
		   .failed = do_running);
}

/* A device whose DMA another device does, behind an IOMMU. */
TEST_F_TIMEOUT(memory, sweeps_iommu, 100000)
{
	char edu[1][32], args[128];

	if (!find_edus(edu, 1) || !file_exists(PCI "devices/%s/iommu_group", edu[0]))
		SKIP(return, "no hardware: qemu -device intel-iommu -device edu");
	type = "mdev_test_iommu/platform-1";
	snprintf(args, sizeof(args), "mdev_test_iommu device=%s", edu[0]);
	ASSERT_EQ(0, module_load(args));
	test_sweep("create with IOMMU", .run = run_create, .undo = do_remove,
		   .spare = SPARE_GROUP);
	ASSERT_EQ(0, do_create());
	test_sweep("remove with IOMMU", .run = run_remove, .undo = do_create,
		   .spare = SPARE_NODE);
	ASSERT_EQ(0, vfio_attach(&vc, uuid));
	test_sweep("open with IOMMU", .run = run_open, .undo = do_close);
	vfio_close(&vc);
	/* to unbind it, devlink_remove_symlinks() would have to be spared, too: it warns */
	ASSERT_EQ(0, do_unbind());
	test_sweep("bind with IOMMU", .run = run_bind, .undo = do_unbind,
		   .spare = SPARE_GROUP);
	ASSERT_EQ(0, do_bind());
}

TEST_F_TIMEOUT(memory, sweeps_log, 100000)
{
	type = "mdev_test_log/platform-1";
	ASSERT_EQ(0, module_load("mdev_test_log"));
	ASSERT_EQ(0, do_create());
	ASSERT_EQ(0, vfio_open(&vc, uuid));
	ASSERT_EQ(0, do_map());
	test_sweep("feature", .run = run_feature);
	test_sweep("log start", .run = run_log_start, .undo = do_log_stop);
	ASSERT_EQ(0, do_log_start());
	test_sweep("log write", .run = run_log_write);
	test_sweep("log report", .run = run_log_report);
	test_sweep("log stop", .run = run_log_stop, .undo = do_log_start);
	EXPECT_EQ(0, do_log_stop());
}

/*
 * Modules. Their loader is none of ours, and prints a trace when it gets no memory:
 * failures come from below the call of the module's init.
 */

static const char *module, *module_args;
static char module_file[PATH_MAX];

static int module_find(const char *name, const char *args)
{
	char cmd[64];
	size_t len;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "modinfo -n %s", name);
	f = popen(cmd, "r");
	if (!f)
		return -errno;
	len = fread(module_file, 1, sizeof(module_file) - 1, f);
	pclose(f);
	if (!len)
		return -ENOENT;
	module_file[len - 1] = '\0';
	module = name;
	module_args = args ?: "";
	return 0;
}

static int run_init(void)
{
	int fd, ret;

	fd = open(module_file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	faults_on();
	ret = syscall(SYS_finit_module, fd, module_args, 0);
	faults_off();
	if (ret)
		ret = -errno;
	close(fd);
	return ret;
}

static int do_exit(void)
{
	int ret;

	wait_for((ret = module_delete(module)) != -EAGAIN);
	return ret ?: modules_settle();
}

FIXTURE(init) {
	char modprobe[256];
};

FIXTURE_VARIANT(init) {
	const char *name;
	const char *module;
	const char *args;
	const char *before;	/* a module to load */
	const char *spare;
	int error;
	bool device;		/* one that waits for the bridge */
};

FIXTURE_VARIANT_ADD(init, core) {
	.name = "mdev",
	.module = "mdev",
	.spare = SPARE_BUS,
};

/* with a device that is bound at once; what is below that was swept there */
FIXTURE_VARIANT_ADD(init, bridge) {
	.name = "vfio_mdev",
	.module = "vfio_mdev",
	.before = "mnull",
	.spare = "driver_attach",
	.error = EINVAL,	/* module_add_driver(), without a folder */
	.device = true,
};

/* what is below registering was swept there */
FIXTURE_VARIANT_ADD(init, driver) {
	.name = "a modern vendor",
	.module = "mnull",
	.args = "door=modern",
	.before = "mdev",
	.spare = "mdev_register_parent",
	.error = EINVAL,
};

FIXTURE_SETUP(init)
{
	int ret = setup(variant->name);

	if (ret == -ENOENT)
		SKIP(return, "no fault injection in this kernel");
	ASSERT_EQ(0, ret);
	/* what they depend on */
	ASSERT_EQ(0, module_load("vfio_mdev"));
	ASSERT_EQ(0, modules_reset());
	if (variant->before)
		ASSERT_EQ(0, module_load(variant->before));
	ASSERT_EQ(0, module_find(variant->module, variant->args));
	if (variant->device) {
		type = "mnull0/mnull-1";
		/* or the bridge comes at once */
		ASSERT_LT(0, file_read(self->modprobe, sizeof(self->modprobe),
				       MODPROBE));
		ASSERT_EQ(0, file_write("\n", MODPROBE));
		ASSERT_EQ(0, do_create());
		ASSERT_EQ(0, file_write(self->modprobe, MODPROBE));
	}
	ASSERT_EQ(0, faults_below("do_init_module"));
}

FIXTURE_TEARDOWN(init)
{
	EXPECT_EQ(0, faults_anywhere());
	if (variant->device)
		EXPECT_EQ(0, mdev_remove(uuid));
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F_TIMEOUT(init, sweeps, 100000)
{
	test_sweep("init of", .run = run_init, .undo = do_exit,
		   .failed = modules_settle, .spare = variant->spare,
		   .error = variant->error);
}

TEST_HARNESS_MAIN
