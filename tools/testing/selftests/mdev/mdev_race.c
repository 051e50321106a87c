// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything against everything: create, remove, open, bind, unbind, sysfs readers,
 * parents that go and come, modules unloaded and loaded.
 *
 * Each operation has a list of errors that are legal whatever the others do;
 * anything else fails, as does an operation that never succeeds. In the end all
 * must go, and nothing be left. The rest is for the kernel log to say.
 *
 * MDEV_SECONDS is for how long, for all variants together (60), and at least until each
 * operation has succeeded; MDEV_SEED is what to do.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/vfio.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "mdev_classic.h"
#include "mdev_util.h"

#define UUIDS		12
#define MAX_ERRORS	8

static char uuids[UUIDS][UUID_LEN + 1];
static const char *vendor_args;
static atomic_bool stop;
static atomic_int reloading;

static const char * const types[] = {
	"mnull0/mnull-1", "mnull0/mnull-2", "mnull1/mnull-1", "mnull1/mnull-2",
};

/* xorshift: each thread has its own, so that a seed names a run's choices */
static unsigned int pick(uint32_t *rng, unsigned int n)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 17;
	*rng ^= *rng << 5;
	return *rng % n;
}

static int op_create(uint32_t *rng)
{
	const char *uuid = uuids[pick(rng, UUIDS)];

	return mdev_create(types[pick(rng, ARRAY_SIZE(types))], uuid);
}

static int op_remove(uint32_t *rng)
{
	return mdev_remove(uuids[pick(rng, UUIDS)]);
}

static int op_open(uint32_t *rng)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_client vc;
	void *map;
	int ret;

	ret = vfio_open(&vc, uuids[pick(rng, UUIDS)]);
	if (ret)
		return ret;

	/* an open device works, whoever wants to take it away */
	ret = vfio_ioctl(vc.device, VFIO_DEVICE_GET_INFO, &info);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, vc.device, 0);
	if (map == MAP_FAILED) {
		ret = -EIO;
	} else {
		memset(map, 1, 4096);
		munmap(map, 4096);
	}
	sleep_ms(pick(rng, 10));
	if (!ret && vfio_read(vc.device, &info, 4, 0) != 4)
		ret = -EIO;
	vfio_close(&vc);
	return ret;
}

/* one that is there, as far as one can know */
static const char *pick_present(uint32_t *rng)
{
	unsigned int first = pick(rng, UUIDS), i;

	for (i = 0; i < UUIDS - 1; i++)
		if (mdev_exists(uuids[(first + i) % UUIDS]))
			break;
	return uuids[(first + i) % UUIDS];
}

static int op_rebind(uint32_t *rng)
{
	const char *uuid = pick_present(rng);
	int ret;

	ret = file_write(uuid, BRIDGE_DRIVER "/unbind");
	if (ret)
		return ret;
	return file_write(uuid, BRIDGE_DRIVER "/bind");
}

static int op_read(uint32_t *rng)
{
	const char *uuid = uuids[pick(rng, UUIDS)];
	const char *type = types[pick(rng, ARRAY_SIZE(types))];
	char buf[4096];
	int ret;

	dir_count(MDEV_DEVICES);
	file_read(buf, sizeof(buf), MDEV_DEVICES "/%s/uevent", uuid);
	file_read(buf, sizeof(buf), MDEV_DEVICES "/%s/vendor/opens", uuid);
	link_base(buf, sizeof(buf), MDEV_DEVICES "/%s/mdev_type", uuid);
	ret = mdev_available(type);
	if (ret > 6)
		return -EOVERFLOW;
	return ret < 0 ? ret : 0;
}

static int op_reregister(uint32_t *rng)
{
	unsigned int parent = pick(rng, 2);
	int ret;

	sleep_ms(pick(rng, 300));
	ret = file_write("0", "/sys/class/mnull/mnull%u/registered", parent);
	if (ret)
		return ret;
	return file_write("1", "/sys/class/mnull/mnull%u/registered", parent);
}

/*
 * Kernels that release late take seconds to unload a module, and the others find
 * nothing to work with. So it stays for twice as long then, and the time when it
 * is not there does not count.
 */
static int reload(const char *name, const char *args)
{
	long start = now_ms(), end;
	int ret;

	reloading++;
	ret = module_unload(name);
	module_load(args);
	reloading--;
	end = now_ms() + 2 * (now_ms() - start);
	while (!stop && now_ms() < end)
		sleep_ms(10);
	return ret;
}

static int op_reload_bridge(uint32_t *rng)
{
	sleep_ms(pick(rng, 1000));
	return reload("vfio_mdev", "vfio_mdev");
}

static int op_reload_vendor(uint32_t *rng)
{
	sleep_ms(pick(rng, 2000));
	return reload("mnull", vendor_args);
}

/* errors as positive numbers */
static const struct op {
	const char *name;
	int (*fn)(uint32_t *rng);
	int threads;
	bool bridge;			/* only with a bridge */
	int legal[MAX_ERRORS];
} ops[] = {
	{ "create", op_create, 2, false,
	  { EEXIST, EUSERS, ENODEV, ENOENT } },
	{ "remove", op_remove, 2, false,
	  { ENODEV, ENOENT, EBUSY, EAGAIN } },
	/*
	 * EBUSY: the group is open; EINVAL: it has just lost its device, or the
	 * device is open; ENXIO: it went after its node in /dev was found
	 */
	{ "open", op_open, 2, true,
	  { ENODEV, ENOENT, EBUSY, EINVAL, ENXIO } },
	/* EBUSY: bound by somebody else in between */
	{ "rebind", op_rebind, 1, true, { ENODEV, ENOENT, EBUSY } },
	{ "read", op_read, 1, false, { ENODEV, ENOENT } },
	/* EEXIST: registered by a module that was just loaded */
	{ "reregister", op_reregister, 1, false,
	  { ENODEV, ENOENT, EEXIST } },
	{ "reload bridge", op_reload_bridge, 1, true,
	  { EAGAIN, ENOENT, EBUSY } },
	{ "reload vendor", op_reload_vendor, 1, false,
	  { EAGAIN, ENOENT, EBUSY } },
};

struct worker {
	pthread_t thread;
	const struct op *op;
	uint32_t rng;
	unsigned int done;
	unsigned int refused;
	int illegal;
};

static bool legal(const struct op *op, int error)
{
	int i;

	for (i = 0; i < MAX_ERRORS; i++)
		if (op->legal[i] == error)
			return true;
	return false;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	int ret;

	while (!stop) {
		ret = w->op->fn(&w->rng);
		if (!ret)
			w->done++;
		else if (legal(w->op, -ret))
			w->refused++;
		else if (!w->illegal)
			w->illegal = ret;
		/* or all time goes into what is refused */
		if (ret)
			sleep_ms(pick(&w->rng, 5));
	}
	return NULL;
}

FIXTURE(race) {
	char modprobe[256];
	int seconds;
	uint32_t seed;
};

FIXTURE_VARIANT(race) {
	const char *args;
	bool iommufd;
	bool bridge;
};

FIXTURE_VARIANT_ADD(race, classic) {
	.args = "mnull door=classic parents=2 types=2 instances=6",
	.bridge = true,
};

FIXTURE_VARIANT_ADD(race, classic_unplug) {
	.args = "mnull door=classic parents=2 types=2 instances=6 request=1",
	.bridge = true,
};

FIXTURE_VARIANT_ADD(race, cdev) {
	.args = "mnull door=classic parents=2 types=2 instances=6",
	.iommufd = true,
	.bridge = true,
};

FIXTURE_VARIANT_ADD(race, modern) {
	.args = "mnull door=modern parents=2 types=2 instances=6",
};

FIXTURE_SETUP(race)
{
	const char *seconds = getenv("MDEV_SECONDS");
	const char *seed = getenv("MDEV_SEED");
	int i;

	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	self->seconds = (seconds ? atoi(seconds) : 60) / 3;
	self->seed = seed ? strtoul(seed, NULL, 0) : (uint32_t)time(NULL);
	for (i = 0; i < UUIDS; i++)
		uuid_next(uuids[i]);
	stop = false;
	vendor_args = variant->args;
	ASSERT_EQ(0, modules_reset());
	/* whoever creates has the bridge loaded */
	ASSERT_EQ(0, modules_autoload_settled(self->modprobe,
					      sizeof(self->modprobe)));
	ASSERT_EQ(0, module_load("vfio_mdev"));
	ASSERT_EQ(0, module_load(variant->args));
}

FIXTURE_TEARDOWN(race)
{
	EXPECT_EQ(0, modules_autoload_restore(self->modprobe));
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

/* Has everybody succeeded at least once? */
static bool all_done(const struct worker *workers, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (!__atomic_load_n(&workers[i].done, __ATOMIC_RELAXED))
			return false;
	return true;
}

TEST_F_TIMEOUT(race, everything, 900)
{
	struct worker workers[16] = {};
	int count = 0, i, j;

	TH_LOG("seed %#x, %d s", self->seed, self->seconds);
	for (i = 0; i < (int)ARRAY_SIZE(ops); i++) {
		for (j = 0; j < ops[i].threads; j++) {
			struct worker *w = &workers[count];

			if (ops[i].bridge && !variant->bridge)
				continue;
			w->op = &ops[i];
			w->rng = (self->seed + count * 2654435761U) | 1;
			ASSERT_EQ(0, pthread_create(&w->thread, NULL, work, w));
			count++;
		}
	}

	for (i = 0; i < self->seconds * 1000; i += reloading ? 0 : 50)
		sleep_ms(50);
	/* under load, what is seldom possible takes minutes with all checkers on */
	for (i = 0; i < 240 * 1000 && !all_done(workers, count); i += 50)
		sleep_ms(50);
	stop = true;
	for (i = 0; i < count; i++) {
		struct worker *w = &workers[i];

		pthread_join(w->thread, NULL);
		TH_LOG("%-14s %6u done, %6u refused", w->op->name, w->done,
		       w->refused);
		EXPECT_EQ(0, w->illegal)
			TH_LOG("%s may not return that", w->op->name);
		EXPECT_LT(0, w->done)
			TH_LOG("%s never succeeded", w->op->name);
	}

	/* what the others left can be removed, and nothing is pinned */
	if (!module_loaded("mnull"))
		ASSERT_EQ(0, module_load(variant->args));
	for (i = 0; i < 2; i++)
		file_write("1", "/sys/class/mnull/mnull%d/registered", i);
	for (i = 0; i < UUIDS; i++)
		if (mdev_exists(uuids[i]))
			EXPECT_EQ(0, mdev_remove(uuids[i]));
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
	for (i = 0; i < (int)ARRAY_SIZE(types); i++)
		EXPECT_EQ(6, mdev_available(types[i]));
	EXPECT_EQ(0, module_refs("mnull"));
}

/*
 * A thread of a vendor of before Linux 5.19, which calls VFIO whenever it likes, while
 * the device is opened and closed, and its driver and the bridge go and come.
 */
FIXTURE(calls) {
	struct client c;
};

FIXTURE_VARIANT(calls) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(calls, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(calls, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(calls)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, modules_reset());
	ASSERT_EQ(0, module_load(CLASSIC));
	uuid_next(self->c.uuid);
	ASSERT_EQ(0, mdev_create(CLASSIC_TYPE, self->c.uuid));
	ASSERT_EQ(0, classic_open(&self->c));
}

FIXTURE_TEARDOWN(calls)
{
	classic_close(&self->c);
	EXPECT_EQ(0, mdev_remove(self->c.uuid));
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(calls, late)
{
	struct client *c = &self->c;
	struct mdev_test_late_end end;
	long stop_ms = now_ms() + 4000;
	int i;

	ASSERT_EQ(0, late(c, LATE_ALL, -1U));
	for (i = 0; goes_on(stop_ms, i > 20); i++) {
		sleep_ms(i % 7);
		classic_close(c);
		if (i % 4 == 1) {
			ASSERT_EQ(0, file_write(c->uuid, BRIDGE_DRIVER "/unbind"));
			ASSERT_EQ(0, file_write(c->uuid, BRIDGE_DRIVER "/bind"));
		}
		if (i % 16 == 2) {
			ASSERT_EQ(0, module_unload("vfio_mdev"));
			ASSERT_EQ(0, module_load("vfio_mdev"));
		}
		ASSERT_EQ(0, classic_open(c));
	}
	end = late_end(c);
	TH_LOG("%d opens; %u calls did what they should, errnos %#llx", i, end.ok,
	       (unsigned long long)end.errnos);
	EXPECT_LT(0, end.ok);
	EXPECT_TRUE(late_errnos_legal(&end));
}

TEST_HARNESS_MAIN
