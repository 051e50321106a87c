/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that others answer for: a file system, served by a child, with a file of one
 * page that answers reads never, or late.
 */
#ifndef MDEV_FUSE_H
#define MDEV_FUSE_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "mdev_util.h"

#define FUSE_DIR	"/tmp/mdev_fuse"
#define FUSE_FILE	FUSE_DIR "/F"
#define FUSE_SIZE	4096
#define FUSE_DATA	"what a file system says"

/* in a child; @hold: see fuse_start() */
static inline void fuse_serve(int fuse, int hold)
{
	static const struct fuse_attr dir = { .ino = 1, .mode = 040755, .nlink = 2 };
	static const struct fuse_attr file = {
		.ino = 2, .mode = 0100644, .nlink = 1, .size = FUSE_SIZE,
	};
	static char request[1 << 17];
	struct fuse_in_header *in = (void *)request;
	static struct {
		struct fuse_out_header header;
		union {
			struct fuse_init_out init;
			struct fuse_entry_out entry;
			struct fuse_attr_out attr;
			struct fuse_open_out open;
			char data[FUSE_SIZE];
		};
	} out;
	char byte = 0;

	/* a test that fails does not stop it */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(fuse, request, sizeof(request)) > 0) {
		size_t size = 0;

		memset(&out, 0, sizeof(out));
		switch (in->opcode) {
		case FUSE_INIT:
			size = sizeof(out.init);
			out.init.major = ((struct fuse_init_in *)(in + 1))->major;
			out.init.minor = 31;
			out.init.max_write = 4096;
			break;
		case FUSE_LOOKUP:
			size = sizeof(out.entry);
			out.entry.nodeid = 2;
			out.entry.attr = file;
			break;
		case FUSE_GETATTR:
			size = sizeof(out.attr);
			out.attr.attr = in->nodeid == 1 ? dir : file;
			break;
		case FUSE_OPEN:
			size = sizeof(out.open);
			break;
		case FUSE_READ:
			if (hold < 0 || write(hold, &byte, 1) != 1 ||
			    read(hold, &byte, 1) != 1)
				continue;
			size = sizeof(out.data);
			memcpy(out.data, FUSE_DATA, sizeof(FUSE_DATA));
			break;
		case FUSE_FORGET:
		case FUSE_INTERRUPT:
			continue;
		default:
			out.header.error = -EOPNOTSUPP;
		}
		out.header.unique = in->unique;
		out.header.len = sizeof(out.header) + size;
		if (write(fuse, &out, out.header.len) < 0)
			break;
	}
	child_exit(0);
}

/*
 * The server, -ENODEV if the kernel has no FUSE, or another errno. A read is answered
 * never if @hold is -1; otherwise that is a socket, which gets a byte when the server was
 * asked, and has to give it another one.
 */
static inline pid_t fuse_start(int hold)
{
	char options[64];
	pid_t server;
	int fd, ret;

	/* udev is not there to have it loaded by its node */
	if (system("modprobe fuse 2>/dev/null"))
		return -ENODEV;
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENODEV : -errno;
	mkdir("/tmp", 0777);
	mkdir(FUSE_DIR, 0700);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (mount("mdev", FUSE_DIR, "fuse", 0, options)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	/* not earlier: there is nothing to read before */
	server = fork_child();
	if (!server)
		fuse_serve(fd, hold);
	close(fd);
	return server;
}

static inline void fuse_stop(pid_t server)
{
	kill(server, SIGKILL);
	child_wait(server);
	umount2(FUSE_DIR, MNT_DETACH);
	rmdir(FUSE_DIR);
}

#endif /* MDEV_FUSE_H */
