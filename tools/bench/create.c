// SPDX-License-Identifier: GPL-2.0-only
/*
 * What creating and removing one device costs when there are N already.
 *
 *	create TYPE_FOLDER N...		(ascending)
 *
 * Fills up to each N, measures a batch on top of it, and takes the batch away
 * again. Under "qemu -icount shift=0" a nanosecond is an instruction. Prints
 * "N create remove" lines, then removes all. Uses no library but libc, so that
 * what is measured is the kernel.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH	200

static int create_fd;

static void die(const char *what, unsigned int n)
{
	char text[64];

	snprintf(text, sizeof(text), "%s %u", what, n);
	perror(text);
	exit(1);
}

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
	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/remove", uuid);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1)
		die("remove", n);
	close(fd);
}

static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

/* average of a batch of calls */
static unsigned long measure(void (*fn)(unsigned int n), unsigned int first)
{
	unsigned long start = now();
	unsigned int i;

	for (i = 0; i < BATCH; i++)
		fn(first + i);
	return (now() - start) / BATCH;
}

int main(int argc, char **argv)
{
	unsigned int live = 0, i, wanted;
	unsigned long created, removed;
	char path[256];

	if (argc < 3)
		return 2;
	snprintf(path, sizeof(path), "%s/create", argv[1]);
	create_fd = open(path, O_WRONLY);
	if (create_fd < 0)
		die(path, 0);

	for (i = 2; i < (unsigned int)argc; i++) {
		wanted = strtoul(argv[i], NULL, 10);
		while (live < wanted)
			create(live++);
		/* let what the kernel does in the background settle */
		sleep(1);
		created = measure(create, live);
		removed = measure(destroy, live);
		printf("%u %lu %lu\n", live, created, removed);
		fflush(stdout);
	}
	while (live)
		destroy(--live);
	return 0;
}
