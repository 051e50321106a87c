// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measure devices, on counted instructions or by the clock.
 *
 *	bench SUBJECT create    CREATE DEVICES N...
 *	bench SUBJECT vfio      CREATE DEVICES
 *	bench SUBJECT pci       CREATE DEVICES
 *	bench SUBJECT register  CREATE DEVICES SWITCH N
 *	bench SUBJECT unregister CREATE DEVICES SWITCH N...
 *	bench SUBJECT memory    CREATE DEVICES N
 *	bench SUBJECT parallel  CREATE DEVICES CREATE2 N
 *
 * CREATE is the file to write UUIDs to, DEVICES the folder where devices appear,
 * SWITCH the file that takes the parents off, N the number of devices, or of parents that
 * there are besides. Prints "SUBJECT WHAT N VALUE" lines,
 * where a value is in nanoseconds unless said otherwise. Under
 * "qemu -icount shift=0" a nanosecond is an instruction. Uses no library but libc,
 * so that what is measured is the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "modules/bench.h"
#include "mdev_util.h"

static const char *subject, *devices;
static int create_fd;

static void die(const char *what, long n)
{
	fprintf(stderr, "bench: %s %ld: %s\n", what, n, strerror(errno));
	exit(1);
}

static void row(const char *what, long n, double value)
{
	printf("%s %s %ld %.0f\n", subject, what, n, value);
	fflush(stdout);
}

static long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000L + ts.tv_nsec;
}

/* creating and removing */

static void uuid_of(unsigned int n, char uuid[37])
{
	/* scattered, as random UUIDs are: the name decides on a tree's shape */
	unsigned int hash = n * 2654435761U;

	snprintf(uuid, 37, "%08x-%04x-4abc-8def-%012x", hash, n & 0xffff, n);
}

static void create(unsigned int n)
{
	char uuid[37];

	uuid_of(n, uuid);
	if (write(create_fd, uuid, 36) != 36)
		die("create", n);
}

static void destroy(unsigned int n)
{
	char uuid[37], path[128];
	int fd;

	uuid_of(n, uuid);
	snprintf(path, sizeof(path), "%s/%s/remove", devices, uuid);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1)
		die("remove", n);
	close(fd);
}

static void create_open(const char *path)
{
	create_fd = open(path, O_WRONLY | O_CLOEXEC);
	if (create_fd < 0)
		die(path, 0);
}

#define CREATE_BATCH	50
#define CREATE_BATCHES	10
#define CREATE_ROUNDS	12	/* a multiple of four */

struct create_round {
	long created, removed;
};

static int create_round_cmp(const void *a, const void *b)
{
	const struct create_round *x = a, *y = b;
	long left = x->created + x->removed, right = y->created + y->removed;

	return (left > right) - (left < right);
}

/* the time it takes to call @fn for a batch */
static long batch(void (*fn)(unsigned int n), unsigned int first)
{
	long start = now();
	unsigned int i;

	for (i = 0; i < CREATE_BATCH; i++)
		fn(first + i);
	return now() - start;
}

/*
 * Averages of many, as what one call leaves to be done, another one pays for, be it a
 * create or a remove; and of these the half in the middle, as a round may have been
 * disturbed, or have left its work to the next one.
 */
static void bench_create(int argc, char **argv)
{
	struct create_round rounds[CREATE_ROUNDS], *round;
	unsigned int live = 0, wanted, n;
	double created, removed;
	int i;

	for (i = 0; i < argc; i++) {
		wanted = strtoul(argv[i], NULL, 10);
		while (live < wanted)
			create(live++);
		/* let what the kernel does in the background settle */
		sleep(1);
		memset(rounds, 0, sizeof(rounds));
		for (round = rounds; round < rounds + CREATE_ROUNDS; round++) {
			for (n = 0; n < CREATE_BATCHES; n++) {
				round->created += batch(create, live);
				round->removed += batch(destroy, live);
			}
		}
		qsort(rounds, CREATE_ROUNDS, sizeof(*rounds), create_round_cmp);
		created = 0;
		removed = 0;
		for (n = CREATE_ROUNDS / 4; n < CREATE_ROUNDS * 3 / 4; n++) {
			created += rounds[n].created;
			removed += rounds[n].removed;
		}
		n = CREATE_ROUNDS / 2 * CREATE_BATCHES * CREATE_BATCH;
		row("create", live, created / n);
		row("remove", live, removed / n);
	}
}

/* parents, of which a write of the file registers several */
static void bench_register(char **argv)
{
	enum { ROUNDS = 20 };
	long took = 0, start;
	int fd, i;

	close(create_fd);
	fd = open(argv[0], O_WRONLY);
	if (fd < 0)
		die(argv[0], 0);
	for (i = 0; i < ROUNDS; i++) {
		if (pwrite(fd, "0", 1, 0) != 1)
			die("unregister", i);
		start = now();
		if (pwrite(fd, "1", 1, 0) != 1)
			die("register", i);
		took += now() - start;
	}
	row("register", strtoul(argv[1], NULL, 10), took / (ROUNDS * BENCH_PARENTS));
	close(fd);
}

static void bench_unregister(int argc, char **argv)
{
	const char *file = argv[0];
	unsigned int n, live;
	long start, took;
	int fd, i;

	fd = open(file, O_WRONLY);
	if (fd < 0)
		die(file, 0);
	for (i = 1; i < argc; i++) {
		live = strtoul(argv[i], NULL, 10);
		for (n = 0; n < live; n++)
			create(n);
		/* nothing holds the file that goes */
		close(create_fd);
		sleep(1);
		start = now();
		if (pwrite(fd, "0", 1, 0) != 1)
			die("unregister", live);
		took = now() - start;
		row("unregister", live, took);
		if (pwrite(fd, "1", 1, 0) != 1)
			die("register", live);
		create_open(getenv("CREATE"));
	}
	close(fd);
}

/* memory, in bytes per device */

static long memory_of(const char *name)
{
	char text[4096], *at;
	int ret;

	file_write("3", "/proc/sys/vm/drop_caches");
	ret = file_read(text, sizeof(text), "/proc/meminfo");
	if (ret < 0)
		die("/proc/meminfo", ret);
	at = strstr(text, name);
	if (!at)
		die(name, 0);
	return strtol(at + strlen(name), NULL, 10) * 1024;
}

static void bench_memory(int argc, char **argv)
{
	unsigned int n, live = strtoul(argv[0], NULL, 10);
	long slab, available;

	/* the first of all makes what is there once */
	create(live);
	sleep(1);
	slab = memory_of("Slab:");
	available = memory_of("MemFree:");
	for (n = 0; n < live; n++)
		create(n);
	sleep(1);
	row("slab", live, (memory_of("Slab:") - slab) / live);
	row("memory", live, (available - memory_of("MemFree:")) / live);
}

/* a device in use */

#define CALLS	50
#define ROUNDS	100

/* the least that so many times @call took, each */
#define BEST_OF(calls, call) ({						\
	const int _calls = (calls);					\
	long _best = 0;							\
	for (int _round = 0; _round < ROUNDS; _round++) {		\
		long _start = now(), _took;				\
		for (int _i = 0; _i < _calls; _i++)			\
			if ((call) < 0)					\
				die(#call, _i);				\
		_took = now() - _start;					\
		if (!_best || _took < _best)				\
			_best = _took;					\
	}								\
	(double)_best / _calls; })

#define BEST(call)	BEST_OF(CALLS, call)

static struct vfio_client client;

static int region_info(void)
{
	struct vfio_region_info info = { .argsz = sizeof(info) };

	return ioctl(client.device, VFIO_DEVICE_GET_REGION_INFO, &info);
}

static int map_and_touch(void)
{
	char *mem = mmap(NULL, BENCH_REGION_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED, client.device, 0);

	if (mem == MAP_FAILED)
		return -1;
	__atomic_store_n(mem, 1, __ATOMIC_RELAXED);
	return munmap(mem, BENCH_REGION_SIZE);
}

static int pin_unpin(unsigned long pages)
{
	int ret = ioctl(client.device, BENCH_PIN, pages);

	return ret < 0 ? ret : ioctl(client.device, BENCH_UNPIN, pages);
}

/* the dirty log, where VFIO can report */

#define LOG_RANGE	0x10000000000ULL
/* VFIO pins a page more than it needs */
#define LOG_BITMAP	(LOG_RANGE / 4096 / 8 + 4096)

static int log_feature(unsigned int flags, uint64_t one, uint64_t two, uint64_t three,
		       uint64_t four)
{
	uint64_t data[] = { one, two, three, four };
	char buf[sizeof(struct vfio_device_feature) + sizeof(data)] = {};
	struct vfio_device_feature *feature = (void *)buf;

	feature->argsz = sizeof(buf);
	feature->flags = flags;
	memcpy(feature->data, data, sizeof(data));
	return ioctl(client.device, VFIO_DEVICE_FEATURE, feature);
}

static int log_report(void *bitmap)
{
	return log_feature(VFIO_DEVICE_FEATURE_GET |
			   VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, 0, LOG_RANGE, 4096,
			   (uintptr_t)bitmap);
}

/* pins while a log runs; and reports of a terabyte, with so many pages pinned */
static void bench_log(void)
{
	struct vfio_device_feature_dma_logging_range range = { 0, LOG_RANGE };
	void *bitmap;

	bitmap = mmap(NULL, LOG_BITMAP, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bitmap == MAP_FAILED)
		die("bitmap", 0);
	if (log_feature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
			4096, 1, (uintptr_t)&range, 0))
		return;
	if (!log_report(bitmap)) {
		row("pin-logged", 1, BEST(pin_unpin(1)));
		row("pin-logged", 512, BEST(pin_unpin(512)));
		log_report(bitmap);
		row("report", 0, BEST_OF(1, log_report(bitmap)));
		ioctl(client.device, BENCH_PIN, 512UL);
		row("report", 512, BEST_OF(1, log_report(bitmap)));
		ioctl(client.device, BENCH_UNPIN, 512UL);
	}
	munmap(bitmap, LOG_BITMAP);
}

static int reopen(const char *uuid)
{
	vfio_close_device(&client);
	return vfio_open_device(&client, uuid);
}

static void bench_vfio(void)
{
	static const unsigned int pages[] = { 1, 16, 512 };
	static char buf[4096];
	char uuid[37];
	unsigned int i;
	void *mem;

	uuid_of(0, uuid);
	create(0);
	if (vfio_open(&client, uuid))
		die("open", 0);
	row("ioctl", 0, BEST(ioctl(client.device, BENCH_NOTHING)));
	row("region-info", 0, BEST(region_info()));
	row("pread", 4, BEST(pread(client.device, buf, 4, 0)));
	row("pread", 4096, BEST(pread(client.device, buf, 4096, 0)));
	row("pwrite", 4, BEST(pwrite(client.device, buf, 4, 0)));
	row("pwrite", 4096, BEST(pwrite(client.device, buf, 4096, 0)));
	row("mmap", 1, BEST(map_and_touch()));
	row("open", 0, BEST(reopen(uuid)));

	mem = mmap(NULL, BENCH_MAX_PAGES * 4096, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (mem == MAP_FAILED ||
	    vfio_dma_map(&client, mem, 0, BENCH_MAX_PAGES * 4096, true))
		die("map", 0);
	for (i = 0; i < 3; i++)
		row("pin", pages[i], BEST(pin_unpin(pages[i])));
	bench_log();
	vfio_close(&client);
}

/* a PCI device's registers, and its interrupt */

static off_t pci_offset(unsigned int index, unsigned int offset)
{
	return ((off_t)index << BENCH_SHIFT) + offset;
}

static void bench_pci(void)
{
	off_t config = pci_offset(VFIO_PCI_CONFIG_REGION_INDEX, 0);
	off_t bar = pci_offset(VFIO_PCI_BAR0_REGION_INDEX, 0);
	off_t raise = bar + 4 * (BENCH_REGS - 1);
	uint32_t val = PCI_COMMAND_MEMORY;
	char uuid[37];
	int fd;

	uuid_of(0, uuid);
	create(0);
	fd = eventfd(0, EFD_CLOEXEC);
	if (fd < 0 || vfio_open(&client, uuid) ||
	    pwrite(client.device, &val, 4, config + PCI_COMMAND) != 4 ||
	    vfio_set_irqs(client.device, VFIO_IRQ_SET_DATA_EVENTFD |
			  VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSI_IRQ_INDEX, 0,
			  1, &fd))
		die("open", 0);
	row("bar-read", 4, BEST(pread(client.device, &val, 4, bar)));
	row("bar-write", 4, BEST(pwrite(client.device, &val, 4, bar)));
	row("bar-write-raises", 4, BEST(pwrite(client.device, &val, 4, raise)));
	row("config-read", 4, BEST(pread(client.device, &val, 4,
					 config + PCI_BASE_ADDRESS_0)));
	row("config-write", 4, BEST(pwrite(client.device, &val, 4,
					   config + PCI_BASE_ADDRESS_0)));
	if (!eventfd_fired(fd, 0))
		die("interrupt", 0);
	close(fd);
	vfio_close(&client);
}

/* two processors at it, in devices per second */

/* create and remove @n devices, of our own numbers */
static void churn(const char *path, unsigned int first, unsigned int n)
{
	unsigned int i;

	create_open(path);
	for (i = 0; i < n; i++) {
		create(first + i % 16);
		destroy(first + i % 16);
	}
}

/* how many per second, with a process for each path */
static double rate(const char *one, const char *two, unsigned int n)
{
	long start = now();
	int status;
	pid_t pid = 0;

	if (two) {
		pid = fork();
		if (!pid) {
			churn(two, 1000, n);
			_exit(0);
		}
	}
	churn(one, 0, n);
	if (two && (waitpid(pid, &status, 0) < 0 || status))
		die("the other process", status);
	return (two ? 2e9 : 1e9) * n / (now() - start);
}

static void bench_parallel(const char *one, int argc, char **argv)
{
	unsigned int n = strtoul(argv[1], NULL, 10);
	double single, best[3] = { 0 };
	int i, round;

	for (round = 0; round < 5; round++) {
		for (i = 0; i < 3; i++) {
			single = rate(one, i == 0 ? NULL : i == 1 ? one : argv[0], n);
			if (single > best[i])
				best[i] = single;
		}
	}
	row("rate", 1, best[0]);
	row("rate-one-parent", 2, best[1]);
	row("rate-two-parents", 2, best[2]);
}

int main(int argc, char **argv)
{
	const char *what;

	if (argc < 5)
		return 2;
	subject = argv[1];
	what = argv[2];
	setenv("CREATE", argv[3], 1);
	create_open(argv[3]);
	devices = argv[4];
	argc -= 5;
	argv += 5;

	if (!strcmp(what, "create"))
		bench_create(argc, argv);
	else if (!strcmp(what, "vfio"))
		bench_vfio();
	else if (!strcmp(what, "pci"))
		bench_pci();
	else if (!strcmp(what, "register") && argc == 2)
		bench_register(argv);
	else if (!strcmp(what, "unregister") && argc > 1)
		bench_unregister(argc, argv);
	else if (!strcmp(what, "memory") && argc == 1)
		bench_memory(argc, argv);
	else if (!strcmp(what, "parallel") && argc == 2)
		bench_parallel(getenv("CREATE"), argc, argv);
	else
		return 2;
	return 0;
}
