// SPDX-License-Identifier: GPL-2.0-only
/*
 * Throw what nobody would think of at everything that user space reaches, and let
 * the kernel's coverage (KCOV) say what is worth being varied further.
 *
 *	mdev_fuzz EXECUTIONS [SEED] <CORPUS >CORPUS
 *
 * An input is a string of bytes, which decode() turns into writes to sysfs, ioctls,
 * reads, writes, mappings and migration streams of one device of each type there is.
 * What reaches an edge that none has reached before is kept, and is the corpus: one
 * input per line, in hex. Whether something is wrong is for the kernel to say. With
 * instructions counted instead of time, a seed does the same again.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "mdev_util.h"

#define INPUT_MAX	64
#define CORPUS_MAX	4096
#define CARDS_MAX	8
#define TYPES_MAX	16
#define SLOTS		4	/* devices that come and go */
#define EVENTFDS	4
#define REOPEN		256	/* executions with the same fds */

#define IOVA		0x10000000ULL
#define MEMORY		(64 * 4096UL)

/* of linux/kcov.h, which the distribution's libc need not have */
#define KCOV_INIT_TRACE	_IOR('c', 1, unsigned long)
#define KCOV_ENABLE	_IO('c', 100)
#define KCOV_PCS	65536

struct input {
	unsigned int len;
	unsigned char bytes[INPUT_MAX];
};

struct card {
	char type[96];
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
	int stream;		/* of a migration, or -1 */
};

static struct input corpus[CORPUS_MAX];
static unsigned int corpus_size;
static struct card cards[CARDS_MAX];
static unsigned int nr_cards;
static char slots[SLOTS][UUID_LEN + 1];
static int eventfds[EVENTFDS], pipe_fds[2];
static void *memory;
static unsigned long *cover;
static unsigned char edges[65536];
static unsigned int nr_edges;
static uint64_t rng_state;

static void die(const char *what)
{
	fprintf(stderr, "mdev_fuzz: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint32_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state >> 16;
}

/* What is read of an input; zeroes behind its end. */

static const struct input *in;
static unsigned int in_pos;

static unsigned int byte(void)
{
	return in_pos < in->len ? in->bytes[in_pos++] : 0;
}

/* A number that means something more often than a random one would. */
static uint32_t word(void)
{
	unsigned int b = byte();

	if (b < 0x60)
		return b;
	if (b < 0x80)
		return 1U << (b & 31);
	if (b < 0xa0)
		return (1U << (b & 31)) - 1;
	if (b < 0xa0 + EVENTFDS)
		return eventfds[b - 0xa0];
	if (b < 0xb0)
		return -(b & 15);
	if (b < 0xc0)
		return IOVA + (b & 15) * 4096;
	if (b < 0xe0)
		return (b & 31) << 16 | byte();
	return byte() << 24 | byte() << 8 | b;
}

static struct card *card(void)
{
	return &cards[byte() % nr_cards];
}

/* What is done. */

static void do_create(void)
{
	const struct card *of = card();
	const char *slash = strchr(of->type, '/');
	char path[256], text[64];
	unsigned int len = UUID_LEN, b = byte();

	memcpy(text, slots[b % SLOTS], UUID_LEN);
	if (b & 0x40)
		text[byte() % UUID_LEN] = byte();
	if (b & 0x20)
		text[len++] = '\n';
	if (b & 0x80)
		len = byte() % sizeof(text);
	snprintf(path, sizeof(path), MDEV_CLASS "/%.*s/mdev_supported_types/%s/create",
		 (int)(slash - of->type), of->type, slash + 1);
	file_write_bytes(path, text, len);
}

static void do_device_file(void)
{
	static const char *const files[] = {
		MDEV_DEVICES "/%s/remove", BRIDGE_DRIVER "/unbind%.0s",
		BRIDGE_DRIVER "/bind%.0s", MDEV_DEVICES "/%s/uevent",
	};
	static const char *const texts[] = {
		"1", "1\n", "0", "2", "-1", "x", "", "1 ", "0x1",
		"99999999999999999999", "add", "bind",
	};
	unsigned int b = byte(), file = b >> 6;
	const char *slot = slots[b % SLOTS];

	if (file == 1 || file == 2)
		file_write(slot, files[file], "");
	else
		file_write(texts[byte() % ARRAY_SIZE(texts)], files[file], slot);
}

static void do_ioctl(void)
{
	static const unsigned int cmds[] = {
		VFIO_DEVICE_GET_INFO, VFIO_DEVICE_GET_REGION_INFO,
		VFIO_DEVICE_GET_IRQ_INFO, VFIO_DEVICE_SET_IRQS,
		VFIO_DEVICE_RESET, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
		VFIO_DEVICE_QUERY_GFX_PLANE, VFIO_DEVICE_GET_GFX_DMABUF,
		VFIO_DEVICE_IOEVENTFD, VFIO_DEVICE_FEATURE,
	};
	uint32_t arg[64] = {};
	struct card *of = card();
	unsigned int b = byte(), i, count;
	unsigned int cmd = b < 0xf0 ? cmds[b % ARRAY_SIZE(cmds)] : _IO(';', b);

	arg[0] = b & 0x40 ? word() : sizeof(arg);
	count = byte() % 16;
	for (i = 1; i <= count; i++)
		arg[i] = word();
	ioctl(of->vc.device, cmd, b == 0xef ? NULL : arg);
}

static void do_feature(void)
{
	uint64_t arg[16] = {};
	struct vfio_device_feature *feature = (void *)arg;
	struct vfio_device_feature_mig_state *state = (void *)feature->data;
	struct card *of = card();
	unsigned int b = byte();

	feature->argsz = b & 0x80 ? sizeof(arg) : sizeof(*feature) + byte() % 32;
	feature->flags = b % 12 | (byte() & 7) << 16;
	arg[1] = word();
	arg[2] = word();
	arg[3] = (uintptr_t)&arg[6];
	if (ioctl(of->vc.device, VFIO_DEVICE_FEATURE, feature))
		return;
	if (feature->flags == (VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE |
			       VFIO_DEVICE_FEATURE_SET) && state->data_fd > 2) {
		if (of->stream >= 0)
			close(of->stream);
		of->stream = state->data_fd;
	}
}

/* from state to state, as who means it */
static void do_migrate(void)
{
	uint64_t arg[3] = {};
	struct vfio_device_feature *feature = (void *)arg;
	struct vfio_device_feature_mig_state *state = (void *)feature->data;
	struct card *of = card();

	feature->argsz = sizeof(arg);
	feature->flags = VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE |
			 VFIO_DEVICE_FEATURE_SET;
	state->device_state = byte() % 9;
	if (ioctl(of->vc.device, VFIO_DEVICE_FEATURE, feature))
		return;
	if (state->data_fd < 3)
		return;
	if (of->stream >= 0)
		close(of->stream);
	of->stream = state->data_fd;
}

static void do_stream(void)
{
	static unsigned char state[8192];
	static ssize_t len;
	struct card *of = card();
	unsigned int b = byte(), i;

	if (of->stream < 0)
		return;
	if (b & 1) {
		len = read(of->stream, state, b & 2 ? sizeof(state) : word() % sizeof(state));
	} else if (b & 4) {
		uint64_t precopy[4] = { sizeof(precopy) };

		ioctl(of->stream, VFIO_MIG_GET_PRECOPY_INFO, precopy);
	} else if (len > 0) {
		/* what was read last, changed a little */
		for (i = 0; i < (b >> 3) % 4; i++)
			state[word() % len] = byte();
		i = write(of->stream, state, b & 0x80 ? byte() % len + 1 : len);
	}
	if (b == 0xff) {
		close(of->stream);
		of->stream = -1;
	}
}

static off_t offset(void)
{
	unsigned int b = byte();

	return (off_t)(b % 10) << 40 | (b & 0x80 ? word() : byte());
}

static void do_access(void)
{
	static const unsigned short sizes[] = { 1, 2, 4, 8, 3, 16, 0, 4096 };
	static unsigned char data[4096];
	struct card *of = card();
	unsigned int b = byte(), i, size = sizes[b & 7];
	off_t pos = offset();

	if (b & 8) {
		i = pread(of->vc.device, data, size, pos);
		return;
	}
	for (i = 0; i < size && i < 8; i += 4) {
		uint32_t value = word();

		memcpy(data + i, &value, 4);
	}
	i = pwrite(of->vc.device, b & 16 ? NULL : data, size, pos);
}

static void do_mmap(void)
{
	struct card *of = card();
	unsigned int b = byte();
	size_t size = b & 0x80 ? (size_t)word() << 12 : (b & 7) * 4096;
	unsigned char *p, c = 0;

	p = mmap(NULL, size, b >> 3 & 3, b & 0x20 ? MAP_PRIVATE : MAP_SHARED,
		 of->vc.device, offset() & ~4095LL);
	if (p == MAP_FAILED)
		return;
	/* by way of the kernel, which does not mind if there is nothing */
	if (write(pipe_fds[1], p, 1) == 1 || write(pipe_fds[1], &c, 1) == 1)
		if (read(pipe_fds[0], p, 1) != 1 && read(pipe_fds[0], &c, 1) != 1)
			die("pipe");
	munmap(p, size);
}

static void do_dma(void)
{
	struct card *of = card();
	unsigned int b = byte(), pages = byte() % 8;
	uint64_t iova = IOVA + MEMORY + (b & 15) * 4096;

	if (b & 0x80)
		vfio_dma_map(&of->vc, memory, iova, pages * 4096, b & 0x40);
	else if (b & 0x40)
		vfio_dma_unmap(&of->vc, iova, pages * 4096);
	else if (!vfio_dma_unmap(&of->vc, IOVA, MEMORY))
		vfio_dma_map(&of->vc, memory, IOVA, MEMORY, true);
}

static void decode(const struct input *input)
{
	static void (*const ops[])(void) = {
		do_access, do_access, do_access, do_ioctl, do_ioctl, do_feature,
		do_migrate, do_stream, do_mmap, do_dma, do_create,
		do_device_file,
	};

	in = input;
	in_pos = 0;
	while (in_pos < in->len)
		ops[byte() % ARRAY_SIZE(ops)]();
}

/* Devices. */

static void open_card(struct card *of)
{
	int ret;

	ret = vfio_open(&of->vc, of->uuid);
	if (!ret)
		ret = vfio_dma_map(&of->vc, memory, IOVA, MEMORY, true);
	if (ret) {
		errno = -ret;
		die(of->type);
	}
	of->stream = -1;
}

static void close_card(struct card *of)
{
	if (of->stream >= 0)
		close(of->stream);
	vfio_close(&of->vc);
}

static void reopen(void)
{
	unsigned int i;

	for (i = 0; i < nr_cards; i++) {
		close_card(&cards[i]);
		open_card(&cards[i]);
	}
}

static void find_types(const char *parent)
{
	char path[200];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), MDEV_CLASS "/%.100s/mdev_supported_types",
		 parent);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir)) && nr_cards < CARDS_MAX) {
		struct card *of = &cards[nr_cards];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(of->type, sizeof(of->type), "%.40s/%.40s", parent,
			 entry->d_name);
		uuid_next(of->uuid);
		if (!mdev_create(of->type, of->uuid))
			nr_cards++;
	}
	closedir(dir);
}

static void find_cards(void)
{
	struct dirent *entry;
	DIR *dir = opendir(MDEV_CLASS);
	unsigned int i;

	if (!dir)
		die(MDEV_CLASS);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			find_types(entry->d_name);
	closedir(dir);
	if (!nr_cards)
		die("no device");

	if (!vfio_use_iommufd(true))
		vfio_use_iommufd(false);
	for (i = 0; i < nr_cards; i++)
		open_card(&cards[i]);
	for (i = 0; i < SLOTS; i++)
		uuid_next(slots[i]);
}

static void clean(void)
{
	unsigned int i;

	for (i = 0; i < nr_cards; i++) {
		close_card(&cards[i]);
		mdev_remove(cards[i].uuid);
	}
}

/* Feedback. */

static void kcov_start(void)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR);

	if (fd < 0 || ioctl(fd, KCOV_INIT_TRACE, KCOV_PCS))
		die("/sys/kernel/debug/kcov");
	cover = mmap(NULL, KCOV_PCS * sizeof(*cover), PROT_READ | PROT_WRITE,
		     MAP_SHARED, fd, 0);
	if (cover == MAP_FAILED || ioctl(fd, KCOV_ENABLE, 0))
		die("KCOV_ENABLE");
}

/* How many edges are new. */
static unsigned int execute(const struct input *input)
{
	unsigned long i, pc, last = 0;
	unsigned int found = 0;

	__atomic_store_n(&cover[0], 0, __ATOMIC_RELAXED);
	decode(input);
	for (i = __atomic_load_n(&cover[0], __ATOMIC_RELAXED); i; i--) {
		unsigned char *edge;

		pc = cover[i] * 0x9e3779b97f4a7c15UL >> 40;
		edge = &edges[(pc ^ last >> 1) & 0xffff];
		last = pc;
		found += !*edge;
		*edge = 1;
	}
	nr_edges += found;
	return found;
}

static void mutate(struct input *input)
{
	const struct input *other = &corpus[rng() % corpus_size];
	unsigned int times = 1 + rng() % 4, at, n;

	*input = corpus[rng() % corpus_size];
	while (times--) {
		at = input->len ? rng() % input->len : 0;
		n = 1 + rng() % 16;
		switch (rng() % 6) {
		case 0:
			input->bytes[at] ^= 1 << rng() % 8;
			break;
		case 1:
			input->bytes[at] = rng();
			break;
		case 2:	/* take some out */
			if (at + n < input->len) {
				input->len -= n;
				memmove(input->bytes + at, input->bytes + at + n,
					input->len - at);
			}
			break;
		case 3:	/* some more at the end */
			while (n-- && input->len < INPUT_MAX)
				input->bytes[input->len++] = rng();
			break;
		default: /* another's instead of the rest, or behind it */
			if (rng() & 1)
				input->len = at;
			n = rng() % (other->len + 1);
			if (n > INPUT_MAX - input->len)
				n = INPUT_MAX - input->len;
			memcpy(input->bytes + input->len, other->bytes, n);
			input->len += n;
		}
	}
}

static void keep(const struct input *input)
{
	unsigned int i;

	if (corpus_size < CORPUS_MAX)
		corpus[corpus_size++] = *input;
	for (i = 0; i < input->len; i++)
		printf("%02x", input->bytes[i]);
	putchar('\n');
}

static void read_corpus(void)
{
	char line[2 * INPUT_MAX + 2];

	while (fgets(line, sizeof(line), stdin)) {
		struct input input = {};
		unsigned int value;

		while (sscanf(line + 2 * input.len, "%2x", &value) == 1 &&
		       input.len < INPUT_MAX)
			input.bytes[input.len++] = value;
		if (execute(&input))
			keep(&input);
	}
	if (!corpus_size)
		corpus[corpus_size++].len = 16;
}

int main(int argc, char **argv)
{
	unsigned long total = argc > 1 ? strtoul(argv[1], NULL, 0) : 0, n;
	struct input input;
	unsigned int i;

	rng_state = (argc > 2 ? strtoul(argv[2], NULL, 0) : 0) + 88172645463325252UL;
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < EVENTFDS; i++)
		eventfds[i] = eventfd(0, EFD_NONBLOCK);
	if (memory == MAP_FAILED || pipe2(pipe_fds, O_NONBLOCK))
		die("preparations");
	find_cards();
	kcov_start();

	read_corpus();
	for (n = 1; n <= total; n++) {
		mutate(&input);
		if (execute(&input))
			keep(&input);
		if (n % REOPEN == 0)
			reopen();
		if (n % 10000 == 0)
			fprintf(stderr, "mdev_fuzz: %lu executions, %u edges, %u inputs\n",
				n, nr_edges, corpus_size);
	}
	fprintf(stderr, "mdev_fuzz: %lu executions, %u edges, %u inputs\n", total,
		nr_edges, corpus_size);
	clean();
	return 0;
}
