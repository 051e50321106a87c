// SPDX-License-Identifier: GPL-2.0-only
/*
 * What registering costs a vendor that is built in, while mdev is not there and
 * when it comes, with N registrations waiting.
 *
 *	late MDEV_KO N...		(ascending)
 *
 * The vendor is mnull_early, with at least as many parents as the largest N and
 * one more. Under "qemu -icount shift=0" a nanosecond is an instruction. Prints
 * lines of N, the cost of registering one more and taking it back, the cost of
 * loading mdev and of unloading it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCH	100

static void die(const char *what, unsigned int n)
{
	char text[64];

	snprintf(text, sizeof(text), "%s %u", what, n);
	perror(text);
	exit(1);
}

static int parent_open(unsigned int n)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/class/mnull/mnull%u/registered", n);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		die(path, n);
	return fd;
}

static void parent_set(unsigned int n, const char *to)
{
	int fd = parent_open(n);

	if (write(fd, to, 1) != 1)
		die("registered", n);
	close(fd);
}

static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

static unsigned long measure_pending(unsigned int n)
{
	int fd = parent_open(n);
	unsigned long start;
	unsigned int i;

	start = now();
	for (i = 0; i < BATCH; i++)
		if (write(fd, "1", 1) != 1 || write(fd, "0", 1) != 1)
			die("registered", n);
	start = (now() - start) / BATCH;
	close(fd);
	return start;
}

static unsigned long measure_load(const char *file)
{
	int fd = open(file, O_RDONLY);
	unsigned long start;

	if (fd < 0)
		die(file, 0);
	start = now();
	if (syscall(SYS_finit_module, fd, "", 0))
		die("load", 0);
	start = now() - start;
	close(fd);
	return start;
}

static unsigned long measure_unload(void)
{
	unsigned long start = now();

	if (syscall(SYS_delete_module, "mdev", 0))
		die("unload", 0);
	return now() - start;
}

int main(int argc, char **argv)
{
	unsigned int registered = 0, wanted;
	unsigned long pending, load;
	int i;

	if (argc < 3)
		return 2;
	/* all of them were registered when the kernel booted */
	for (wanted = atoi(argv[argc - 1]) + 1; wanted; wanted--)
		parent_set(wanted - 1, "0");

	for (i = 2; i < argc; i++) {
		for (wanted = atoi(argv[i]); registered < wanted; registered++)
			parent_set(registered, "1");
		/* let what the kernel does in the background settle */
		sleep(1);
		pending = measure_pending(registered);
		load = measure_load(argv[1]);
		printf("%u %lu %lu %lu\n", registered, pending, load,
		       measure_unload());
		fflush(stdout);
		/* some kernels release kobjects late */
		sleep(8);
	}
	return 0;
}
