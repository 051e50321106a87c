// SPDX-License-Identifier: GPL-2.0-only
/*
 * Throw what nobody would think of at everything that user space reaches, and let
 * the kernel's coverage (KCOV) say what is worth being varied further.
 *
 *	mdev_fuzz EXECUTIONS [SEED] <CORPUS >CORPUS
 *
 * An input is a string of bytes, which decode() turns into operations on a world of
 * some devices of each type that there is. They share type1's containers and an iommufd.
 * Operations are writes to sysfs, ioctls, reads, writes, mappings and migration streams;
 * opening, closing, attaching and removing devices; mapping memory of several kinds for
 * them, taking it away, and having the vendor mdev_test_dma pin it. An input can give a
 * part of itself to a second thread. What it leaves changed is restored afterwards, so
 * that the next one finds the same world, but for the registers of the devices.
 *
 * What reaches an edge that none has reached before, or takes one more often, is kept,
 * and is the corpus: one input per line, in hex. Both threads' edges count. What the
 * kernel does for them in its own threads does not: KCOV would need its annotations for
 * that. Without KCOV, inputs are varied at random, and only those of the corpus.
 *
 * Whether something is wrong is for the kernel to say, and for us if an input does not
 * end: after PATIENCE_S, in which vendors and VFIO may wait for each other, all memory
 * is there and all devices are closed, and when it has not ended STUCK_S later, that
 * is a failure. The thread's name is the number of the execution, for the kernel's log,
 * and a disk has the last inputs with their numbers. With instructions counted instead
 * of time, a seed does nearly the same again.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/iommufd.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "mdev_dma.h"
#include "test_modules/mdev_test_pci.h"

#define INPUT_MAX	48
#define CORPUS_MAX	4096
#define DISK		"/dev/vda"
#define DISK_BLOCK	512	/* for an input */
#define DISK_BLOCKS	1024
#define CARDS_MAX	24
#define TYPES_MAX	2	/* of a parent */
#define SLOTS		4	/* devices that come and go */
#define EVENTFDS	4
#define AGAIN		100	/* as often a part is done over */
#define REBUILD		1000	/* executions in the same world */
#define PATIENCE_S	5
#define STUCK_S		200

/* The first pages at IOVA are mapped in parts, which can be unmapped one by one. */
#define PART		(8 * PAGE)
#define PARTS		2
#define LIMIT		(32 * PAGE)	/* of locked memory */

/* Kinds of memory. */
enum { ORDINARY, IN_FILE, HUGE, NEVER_THERE, KINDS };
#define HUGE_PAGE	(2UL << 20)
#define MEMORY(kind)	((unsigned char *)0x100000000UL + (kind) * HUGE_PAGE)

/* Address spaces: two containers, and two IOASes of an iommufd if there is one. */
#define SPACES		4
#define IOASES		2	/* the first of them */

/* of linux/kcov.h, which the distribution's libc need not have */
#define KCOV_INIT_TRACE	_IOR('c', 1, unsigned long)
#define KCOV_ENABLE	_IO('c', 100)
#define KCOV_PCS	65536
#define EDGES		65536

struct input {
	unsigned int len;
	unsigned char bytes[INPUT_MAX];
};

/* @changed: it is to be restored */
struct card {
	char type[96];
	struct client c;
	int stream;		/* of a migration, or -1 */
	unsigned int home;	/* the space where it is at first */
	bool changed;
};

/* @vc: of an anchor, which is never opened, but keeps a container alive */
struct space {
	char anchor[UUID_LEN + 1];
	struct vfio_client vc;
	bool changed;
};

struct memory {
	int fd;			/* of the file, or the userfaultfd */
	bool changed;
};

/* A thread that does something when it is told to, and says when it is done. */
struct worker {
	pthread_t thread;
	sem_t go, done;
	void (*fn)(void);
	unsigned long *cover;
};

static void run_first(void), run_second(void), relieve(void);

static struct worker first = { .fn = run_first };
static struct worker second = { .fn = run_second };
static struct worker helper = { .fn = relieve };

static struct input corpus[CORPUS_MAX];
static unsigned int corpus_size;
static struct card cards[CARDS_MAX];
static unsigned int nr_cards, nr_dma_cards;	/* those of mdev_test_dma come first */
static struct space spaces[SPACES];
static struct memory memories[KINDS];
static bool vendor_changed;
static char slots[SLOTS][UUID_LEN + 1];
static int eventfds[EVENTFDS], pipe_fds[2], disk;
static unsigned char edges[EDGES];	/* how often each was taken at most */
static unsigned int nr_edges;
static uint64_t rng_state;

/* What is executed, what is new with it, and whether it has to end now. */
static const struct input *current;
static const char *phase = "corpus ";
static unsigned long nr_executions;
static unsigned int found;
static atomic_bool relieved;
static bool rebuild = true;

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

/* in hex, and terminated */
static void input_print(const struct input *input, char *hex)
{
	unsigned int i;

	for (i = 0; i < input->len; i++)
		sprintf(hex + 2 * i, "%02x", input->bytes[i]);
	hex[2 * i] = '\0';
}

/* What is read of an input by a thread; zeroes behind the end. */
struct reader {
	const unsigned char *at, *end;
};

static __thread struct reader in;
static struct reader for_second;
static atomic_bool second_again;

static unsigned int byte(void)
{
	return in.at < in.end ? *in.at++ : 0;
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

static struct space *space(void)
{
	return &spaces[byte() % SPACES];
}

/* Put an fd in the place of another, which is closed. */
static void put_fd(int *place, int fd)
{
	fd = __atomic_exchange_n(place, fd, __ATOMIC_SEQ_CST);
	if (fd >= 0)
		close(fd);
}

/* What is done with a device. */

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
	struct card *of = (b & 0x30) == 0x30 ? card() : NULL;
	const char *uuid = of ? of->c.uuid : slots[b % SLOTS];
	int ret;

	if (file == 1 || file == 2)
		ret = file_write(uuid, files[file], "");
	else
		ret = file_write(texts[byte() % ARRAY_SIZE(texts)], files[file],
				 uuid);
	if (of && !ret)
		of->changed = true;
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
	ioctl(of->c.vc.device, cmd, b == 0xef ? NULL : arg);
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
	if (ioctl(of->c.vc.device, VFIO_DEVICE_FEATURE, feature))
		return;
	if (feature->flags == (VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE |
			       VFIO_DEVICE_FEATURE_SET) && state->data_fd > 2)
		put_fd(&of->stream, state->data_fd);
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
	if (ioctl(of->c.vc.device, VFIO_DEVICE_FEATURE, feature))
		return;
	if (state->data_fd > 2)
		put_fd(&of->stream, state->data_fd);
}

static void do_stream(void)
{
	static __thread unsigned char state[8192];
	static __thread ssize_t len;
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
	if (b == 0xff)
		put_fd(&of->stream, -1);
}

static off_t offset(void)
{
	unsigned int b = byte();

	return (off_t)(b % 13) << 40 | (b & 0x80 ? word() : byte());
}

static void do_access(void)
{
	static const unsigned short sizes[] = { 1, 2, 4, 8, 3, 16, 0, 4096 };
	static __thread unsigned char data[4096];
	struct card *of = card();
	unsigned int b = byte(), i, size = sizes[b & 7];
	off_t pos = offset();

	if (b & 8) {
		i = pread(of->c.vc.device, data, size, pos);
		return;
	}
	for (i = 0; i < size && i < 8; i += 4) {
		uint32_t value = word();

		memcpy(data + i, &value, 4);
	}
	i = pwrite(of->c.vc.device, b & 16 ? NULL : data, size, pos);
}

/* What the vendor of mdev_test_pci does by itself: raise interrupts, and DMA. */
static void do_test_pci(void)
{
	struct mdev_test_pci_raise raise;
	struct mdev_test_pci_dma dma;
	struct card *of = card();
	unsigned int b = byte();

	switch (b & 3) {
	case 0:
		ioctl(of->c.vc.device, MDEV_TEST_PCI_UNPIN);
		break;
	case 1:
		raise = (struct mdev_test_pci_raise) { b >> 2 & 3, byte(), b >> 7 };
		ioctl(of->c.vc.device, MDEV_TEST_PCI_RAISE, &raise);
		break;
	default:
		dma = (struct mdev_test_pci_dma) {
			.iova = IOVA + byte() * 1024, .len = word(),
			.write = b >> 2 & 1, .pin = b & 1,
		};
		ioctl(of->c.vc.device, MDEV_TEST_PCI_DMA, &dma);
	}
}

static void do_mmap(void)
{
	struct card *of = card();
	unsigned int b = byte();
	size_t size = b & 0x80 ? (size_t)word() << 12 : (b & 7) * 4096;
	unsigned char *p, c = 0;

	p = mmap(NULL, size, b >> 3 & 3, b & 0x20 ? MAP_PRIVATE : MAP_SHARED,
		 of->c.vc.device, offset() & ~4095LL);
	if (p == MAP_FAILED)
		return;
	/* by way of the kernel, which does not mind if there is nothing */
	if (write(pipe_fds[1], p, 1) == 1 || write(pipe_fds[1], &c, 1) == 1)
		if (read(pipe_fds[0], p, 1) != 1 && read(pipe_fds[0], &c, 1) != 1)
			die("pipe");
	munmap(p, size);
}

/* What is done with memory. */

struct span {
	uint64_t from, size;
};

static struct span parts(void)
{
	unsigned int b = byte(), part = b % PARTS;
	struct span s = { .from = PART * part, .size = PART };

	s.size *= 1 + (b >> 2) % (PARTS - part);
	return s;
}

/*
 * One thread at a time: type1 goes on reading a mapping that another unmap frees, when
 * a device was asked for it and more are to be asked.
 */
static void unmap(struct vfio_client *vc, uint64_t iova, uint64_t size)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct vfio_iommu_type1_dma_unmap arg = {
		.argsz = sizeof(arg), .iova = iova, .size = size,
	};

	if (vc->iommufd >= 0) {
		vfio_dma_unmap(vc, iova, size);
		return;
	}
	if (size == UINT64_MAX) {
		arg.flags = VFIO_DMA_UNMAP_FLAG_ALL;
		arg.size = 0;
	}
	pthread_mutex_lock(&lock);
	ioctl(vc->container, VFIO_IOMMU_UNMAP_DMA, &arg);
	pthread_mutex_unlock(&lock);
}

static void unmap_all(struct vfio_client *vc)
{
	unmap(vc, 0, UINT64_MAX);
}

/* some memory, mostly instead of what was there */
static void do_map(void)
{
	struct space *to = space();
	unsigned int b = byte();
	struct span s = parts();

	to->changed = true;
	if (!(b & 0x80))
		unmap(&to->vc, IOVA + s.from, s.size);
	vfio_dma_map(&to->vc, MEMORY(b % KINDS) + s.from, IOVA + s.from,
		     s.size, b & 0x70);
}

static void do_unmap(void)
{
	struct space *of = space();
	unsigned int b = byte();
	struct span s = parts();

	of->changed = true;
	if (b & 0x80)
		unmap_all(&of->vc);
	else
		unmap(&of->vc, IOVA + s.from, s.size);
}

/* what a vendor does to it */
static void do_pin(void)
{
	struct card *of = &cards[byte() % nr_dma_cards];
	struct client *c = &of->c;
	unsigned int b = byte(), at = byte(), npage = 1 + (at >> 4) % 4;
	uint64_t iova = IOVA + at % 16 * PAGE;
	char data[8] = "deadbeef";
	int pinned = 0;

	switch (b % 8) {
	case 0:
		pinned = pin(c, iova, npage, R);
		break;
	case 1:
		pinned = range(c, TEST_DMA_PIN_WORK, iova, npage, RW);
		break;
	case 2:
		unpin(c, iova, npage);
		break;
	case 3:
		fill(c, iova, b);
		break;
	case 4:
		dma_rw(c, iova + (b >> 3), data, sizeof(data), b & 0x80);
		break;
	case 5:
		if (!forget(c, byte() % 4))
			of->changed = true;
		break;
	default:
		pinned = pin(c, iova, npage, RW);
	}
	/* if it is not at home, it has changed itself */
	if (pinned > 0)
		spaces[of->home].changed = true;
}

static void do_vendor(void)
{
	static const char *const texts[] = { "0", "20", "300", "700" };
	unsigned int b = byte(), n = b >> 2 & 3;
	struct rlimit limit = { n * LIMIT / 4, LIMIT };

	vendor_changed = true;
	switch (b % 4) {
	case 0:
		file_write(n & 1 ? "0x10000000" : "0", DMA_PARAM "pin_in_open");
		break;
	case 1:
		file_write(texts[n], DMA_PARAM "fault_ms");
		break;
	case 2:
		setrlimit(RLIMIT_MEMLOCK, &limit);
		break;
	default:
		file_write(texts[n], SLOW_MS);
	}
}

/* Write to it in a child; what is not there kills that. */
static void fork_and_write(unsigned char *p, size_t size)
{
	size_t at;
	pid_t pid = fork();

	if (!pid) {
		for (at = 0; at < size; at += PAGE)
			p[at] = 1;
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void do_memory(void)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_REMOVE, MADV_FREE, MADV_PAGEOUT,
		MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_DONTFORK,
		MADV_HUGEPAGE,
	};
	unsigned int b = byte(), kind = b % KINDS;
	struct span s = parts();
	unsigned char *p = MEMORY(kind) + s.from;
	struct uffdio_zeropage zero = { .range = { (uintptr_t)p, s.size } };

	memories[kind].changed = true;
	switch (b >> 2 & 7) {
	case 0:
		fork_and_write(p, s.size);
		break;
	case 1:
		ftruncate(memories[IN_FILE].fd, s.from);
		break;
	case 2:
		mprotect(p, s.size, b >> 5);
		break;
	case 3:	/* other pages */
		mmap(p, s.size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 4:	/* those of a device */
		mmap(p, s.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		     card()->c.vc.device, offset() & ~4095LL);
		break;
	case 5:	/* they come after all */
		ioctl(memories[NEVER_THERE].fd, UFFDIO_ZEROPAGE, &zero);
		break;
	default:
		madvise(p, s.size, advice[b >> 5]);
	}
}

/* Where devices are. */

static void close_card(struct card *of)
{
	put_fd(&of->stream, -1);
	put_fd(&of->c.vc.device, -1);
	put_fd(&of->c.vc.group, -1);
	put_fd(&of->c.vc.container, -1);
	put_fd(&of->c.vc.iommufd, -1);
}

/* With @by_group, an iommufd stands in for a container. */
static int open_card(struct card *of, const struct space *in, bool by_group)
{
	struct vfio_client in_vc = in->vc, vc;
	int ret;

	if (by_group && in_vc.iommufd >= 0) {
		in_vc.container = in_vc.iommufd;
		in_vc.iommufd = -1;
	}
	ret = vfio_open_beside(&vc, &in_vc, of->c.uuid);
	if (ret)
		return ret;
	put_fd(&of->c.vc.iommufd, vc.iommufd);
	put_fd(&of->c.vc.container, vc.container);
	put_fd(&of->c.vc.group, vc.group);
	put_fd(&of->c.vc.device, vc.device);
	return 0;
}

static void do_open(void)
{
	struct card *of = card();
	struct space *in = space();
	unsigned int b = byte();

	of->changed = true;
	if (!(b & 2))
		close_card(of);
	open_card(of, in, b & 1);
}

static void do_close(void)
{
	struct card *of = card();

	of->changed = true;
	close_card(of);
}

static void do_iommufd(void)
{
	unsigned int b = byte();
	struct card *of = card();
	struct space *to = &spaces[IOASES + (b & 1)];
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach), .pt_id = to->vc.ioas,
	};
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };
	struct iommu_destroy destroy = { sizeof(destroy), to->vc.ioas };
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
		.dst_ioas_id = to->vc.ioas,
		.src_ioas_id = spaces[IOASES + !(b & 1)].vc.ioas,
		.length = PARTS * PART,
		.dst_iova = IOVA,
		.src_iova = IOVA,
	};

	switch (b >> 1 & 7) {
	case 0:
		to->changed = true;
		unmap_all(&to->vc);
		ioctl(to->vc.iommufd, IOMMU_IOAS_COPY, &copy);
		break;
	case 1:
		to->changed = true;
		ioctl(to->vc.iommufd, IOMMU_DESTROY, &destroy);
		break;
	case 2:
		if (!ioctl(of->c.vc.device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach))
			of->changed = true;
		break;
	default:
		if (!ioctl(of->c.vc.device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
			of->changed = true;
	}
}

/* Threads. */

static void second_ends(void)
{
	second_again = false;
	sem_wait(&second.done);
}

/* what the next bytes say, at the same time, once or over and over */
static void do_beside(void)
{
	unsigned int b = byte(), n = 1 + b % 32;

	/* the second thread goes on by itself */
	if (pthread_equal(pthread_self(), second.thread))
		return;
	if (n > in.end - in.at)
		n = in.end - in.at;
	second_ends();
	for_second = (struct reader){ in.at, in.at + n };
	second_again = b & 0x80;
	in.at += n;
	sem_post(&second.go);
}

/* start, report or stop a dirty log with arguments that are mostly right */
static void do_log(void)
{
	/* VFIO pins one page more than it needs, so there must be one */
	static uint64_t bitmap[PARTS * PART / 64 + PAGE / 8];
	struct vfio_device_feature_dma_logging_range range;
	uint64_t arg[5] = {};
	struct vfio_device_feature *feature = (void *)arg;
	struct card *of = card();
	unsigned int b = byte();
	struct span s = parts();

	feature->argsz = sizeof(arg);
	range.iova = IOVA + s.from;
	range.length = s.size;
	if (b & 0x80) {
		feature->flags = VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT |
				 VFIO_DEVICE_FEATURE_GET;
		arg[1] = range.iova + (b & 0x40 ? 0 : byte());
		arg[2] = range.length - (b & 0x20 ? 0 : byte());
		arg[3] = PAGE << (b & 7);
		arg[4] = (uintptr_t)bitmap;
	} else if (b & 0x40) {
		feature->flags = VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP |
				 VFIO_DEVICE_FEATURE_SET;
	} else {
		feature->flags = VFIO_DEVICE_FEATURE_DMA_LOGGING_START |
				 VFIO_DEVICE_FEATURE_SET;
		arg[1] = b & 0x20 ? word() : PAGE;
		arg[2] = 1;
		arg[3] = (uintptr_t)&range;
	}
	ioctl(of->c.vc.device, VFIO_DEVICE_FEATURE, feature);
}

static void do_pause(void)
{
	sleep_ms(1 << byte() % 12);
}

static void decode(struct reader from)
{
	static void (*const ops[])(void) = {
		do_access, do_access, do_access, do_access, do_ioctl, do_ioctl,
		do_feature, do_migrate, do_stream, do_mmap, do_create,
		do_device_file, do_pin, do_pin, do_pin, do_pin, do_pin, do_map,
		do_map, do_unmap, do_unmap, do_memory, do_vendor, do_open,
		do_close, do_iommufd, do_pause, do_beside, do_beside, do_log,
		do_test_pci, do_test_pci,
	};

	in = from;
	while (in.at < in.end && !relieved)
		ops[byte() % ARRAY_SIZE(ops)]();
}

/* The world: how it is at first, and again after each execution. */

static int memory_reset(unsigned int kind)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)MEMORY(kind), SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_api api = { .api = UFFD_API };
	size_t size = kind == HUGE ? HUGE_PAGE : SIZE;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;

	if (kind == HUGE)
		flags |= MAP_HUGETLB;
	if (kind == IN_FILE) {
		flags = MAP_SHARED;
		fd = memories[kind].fd;
		if (ftruncate(fd, SIZE))
			return -errno;
	}
	if (mmap(MEMORY(kind), size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd,
		 0) == MAP_FAILED)
		return -errno;
	if (kind != NEVER_THERE)
		return 0;
	put_fd(&memories[kind].fd, syscall(SYS_userfaultfd, O_CLOEXEC));
	if (ioctl(memories[kind].fd, UFFDIO_API, &api) ||
	    ioctl(memories[kind].fd, UFFDIO_REGISTER, &reg))
		return -errno;
	return 0;
}

/* It may have been destroyed. */
static int ioas_reset(struct vfio_client *vc)
{
	struct iommu_ioas_iova_ranges ranges = {
		.size = sizeof(ranges), .ioas_id = vc->ioas,
	};
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int ret;

	if (vfio_ioctl(vc->iommufd, IOMMU_IOAS_IOVA_RANGES, &ranges) != -ENOENT)
		return 0;
	ret = vfio_ioctl(vc->iommufd, IOMMU_IOAS_ALLOC, &alloc);
	vc->ioas = alloc.out_ioas_id;
	return ret;
}

static int space_reset(struct space *s)
{
	struct iommu_vfio_ioas set = {
		.size = sizeof(set), .op = IOMMU_VFIO_IOAS_SET,
	};
	int ret = 0, i;

	if (s->vc.iommufd >= 0) {
		ret = ioas_reset(&s->vc);
		/* for those that are opened by their groups */
		set.ioas_id = spaces[IOASES].vc.ioas;
		if (!ret)
			ret = vfio_ioctl(s->vc.iommufd, IOMMU_VFIO_IOAS, &set);
	}
	unmap_all(&s->vc);
	for (i = 0; !ret && i < PARTS; i++)
		ret = vfio_dma_map(&s->vc, MEMORY(ORDINARY) + i * PART,
				   IOVA + i * PART, PART, true);
	return ret;
}

static int card_reset(struct card *of)
{
	struct space *home = &spaces[of->home];

	if (!open_card(of, home, false))
		return 0;
	/* it may have been removed, or unbound */
	mdev_create(of->type, of->c.uuid);
	file_write(of->c.uuid, BRIDGE_DRIVER "/bind");
	return open_card(of, home, false);
}

static void vendor_reset(void)
{
	struct rlimit limit = { LIMIT, LIMIT };

	file_write("0", SLOW_MS);
	file_write("0", DMA_PARAM "fault_ms");
	file_write("0", DMA_PARAM "pin_in_open");
	setrlimit(RLIMIT_MEMLOCK, &limit);
}

/* True if something resists. */
static bool tidy(void)
{
	bool failed = false;
	unsigned int i;

	if (vendor_changed)
		vendor_reset();
	vendor_changed = false;
	for (i = 0; i < KINDS; i++)
		if (memories[i].changed)
			failed |= memory_reset(i);
	for (i = 0; i < nr_cards; i++)
		if (cards[i].changed)
			close_card(&cards[i]);
	for (i = 0; i < SPACES; i++)
		if (spaces[i].changed)
			failed |= space_reset(&spaces[i]);
	for (i = 0; i < nr_cards; i++)
		if (cards[i].changed)
			failed |= card_reset(&cards[i]);
	for (i = 0; i < KINDS; i++)
		memories[i].changed = false;
	for (i = 0; i < nr_cards; i++)
		cards[i].changed = false;
	for (i = 0; i < SPACES; i++)
		spaces[i].changed = false;
	return failed;
}

/* Whatever waits for memory, for a vendor, or for a device to be closed, goes on. */
static void relieve(void)
{
	unsigned int i;

	vendor_reset();
	put_fd(&memories[NEVER_THERE].fd, -1);
	mmap(MEMORY(0), KINDS * HUGE_PAGE, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (i = 0; i < KINDS; i++)
		memories[i].changed = true;
	for (i = 0; i < nr_cards; i++) {
		close_card(&cards[i]);
		cards[i].changed = true;
	}
}

static void add_card(const char *type, unsigned int home)
{
	struct card *of = &cards[nr_cards++];

	snprintf(of->type, sizeof(of->type), "%s", type);
	uuid_next(of->c.uuid);
	of->c.vc = (struct vfio_client){ -1, -1, -1, 0, -1 };
	of->stream = -1;
	of->home = home;
}

static void find_types(const char *parent)
{
	char path[200], type[96];
	struct dirent *entry;
	unsigned int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), MDEV_CLASS "/%.100s/mdev_supported_types",
		 parent);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) && n < TYPES_MAX) {
		snprintf(type, sizeof(type), "%.40s/%.40s", parent, entry->d_name);
		if (entry->d_name[0] == '.' || !strcmp(type, TYPE) ||
		    nr_cards + 2 > CARDS_MAX)
			continue;
		add_card(type, 0);
		add_card(type, IOASES);
		n++;
	}
	closedir(dir);
}

/* Two of each type, one of them in a container; of the vendor that pins, four. */
static void find_cards(void)
{
	struct dirent *entry;
	unsigned int i;
	DIR *dir;

	for (i = 0; i < 4; i++)
		add_card(TYPE, i < 2 ? 0 : IOASES);
	nr_dma_cards = nr_cards;
	dir = opendir(MDEV_CLASS);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			find_types(entry->d_name);
	closedir(dir);
	for (i = 0; i < SPACES; i++)
		uuid_next(spaces[i].anchor);
	for (i = 0; i < SLOTS; i++)
		uuid_next(slots[i]);
}

static void world_end(void)
{
	struct dirent *entry;
	unsigned int i;
	DIR *dir;

	for (i = 0; i < nr_cards; i++)
		close_card(&cards[i]);
	for (i = 0; i < SPACES; i++)
		vfio_close(&spaces[i].vc);
	dir = opendir(MDEV_DEVICES);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && mdev_remove(entry->d_name))
			die(entry->d_name);
	closedir(dir);
}

static void world_begin(void)
{
	struct vfio_client *ioas = &spaces[IOASES + 1].vc;
	bool iommufd = vfio_use_iommufd(true);
	unsigned int i;

	for (i = 0; i < SPACES; i++) {
		struct space *s = &spaces[i];

		vfio_use_iommufd(iommufd && i >= IOASES);
		s->changed = true;
		if (mdev_create(TYPE, s->anchor) || vfio_attach(&s->vc, s->anchor))
			die("cannot attach");
	}
	/* both are of one iommufd, where the second is to be allocated */
	if (iommufd) {
		put_fd(&ioas->iommufd, dup(spaces[IOASES].vc.iommufd));
		ioas->ioas = 0;
	}
	for (i = 0; i < nr_cards; i++)
		cards[i].changed = true;
	for (i = 0; i < KINDS; i++)
		memories[i].changed = true;
	vendor_changed = true;
	if (tidy())
		die("cannot begin");
}

/* Feedback. */

static void kcov_start(struct worker *w)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR);

	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || ioctl(fd, KCOV_INIT_TRACE, KCOV_PCS))
		die("/sys/kernel/debug/kcov");
	w->cover = mmap(NULL, KCOV_PCS * sizeof(*w->cover), PROT_READ | PROT_WRITE,
			MAP_SHARED, fd, 0);
	if (w->cover == MAP_FAILED || ioctl(fd, KCOV_ENABLE, 0))
		die("KCOV_ENABLE");
}

static void cover_begin(struct worker *w)
{
	if (w->cover)
		__atomic_store_n(&w->cover[0], 0, __ATOMIC_RELAXED);
}

/*
 * How many edges are new, or were taken more often than by any other, in powers of two.
 * How often VFIO asks, for one, is only to be seen by that.
 */
static unsigned int cover_end(struct worker *w)
{
	static unsigned char times[EDGES];
	unsigned long i, pc, last = 0;
	unsigned int new = 0;

	if (!w->cover)
		return 0;
	for (i = __atomic_load_n(&w->cover[0], __ATOMIC_RELAXED); i; i--) {
		pc = w->cover[i] * 0x9e3779b97f4a7c15UL >> 40;
		w->cover[i] = (pc ^ last >> 1) % EDGES;
		times[w->cover[i]] += times[w->cover[i]] < 255;
		last = pc;
	}
	for (i = __atomic_load_n(&w->cover[0], __ATOMIC_RELAXED); i; i--) {
		unsigned char *t = &times[w->cover[i]], *seen = &edges[w->cover[i]];

		if (*t > *seen) {
			new++;
			nr_edges += !*seen;
			/* 1, 3, 7, 15 ... */
			*seen = (2U << (31 - __builtin_clz(*t))) - 1;
		}
		*t = 0;
	}
	return new;
}

static void run_first(void)
{
	char name[16];

	snprintf(name, sizeof(name), "%s%lu", phase, nr_executions);
	prctl(PR_SET_NAME, name);
	if (rebuild) {
		world_end();
		world_begin();
	}
	/* the helper may have changed something when all was done */
	rebuild = tidy();
	cover_begin(&first);
	cover_begin(&second);
	decode((struct reader){ current->bytes, current->bytes + current->len });
	second_ends();
	rebuild |= tidy();
	found = cover_end(&first) + cover_end(&second);
	sem_post(&second.done);
}

static void run_second(void)
{
	unsigned int i;

	decode(for_second);
	for (i = 0; i < AGAIN && second_again && !relieved; i++) {
		sleep_ms(10);
		decode(for_second);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;

	kcov_start(w);
	for (;;) {
		sem_wait(&w->go);
		w->fn();
		sem_post(&w->done);
	}
	return NULL;
}

static void start(struct worker *w)
{
	sem_init(&w->go, 0, 0);
	sem_init(&w->done, 0, 0);
	if (pthread_create(&w->thread, NULL, work, w))
		die("pthread_create");
}

static bool ends_within(struct worker *w, unsigned int s)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += s;
	return !sem_clockwait(&w->done, CLOCK_MONOTONIC, &end);
}

static void stuck(void)
{
	char stack[4096];
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/task");

	fprintf(stderr, "mdev_fuzz: %s%lu does not end\n", phase, nr_executions);
	while (dir && (entry = readdir(dir)))
		if (file_read(stack, sizeof(stack), "/proc/self/task/%s/stack",
			      entry->d_name) > 0)
			fprintf(stderr, "mdev_fuzz: thread %s:\n%s\n", entry->d_name,
				stack);
	_exit(1);
}

/* for whoever looks at it after the kernel has stopped */
static void note(const struct input *input)
{
	char hex[2 * INPUT_MAX + 1];
	static char *block;

	if (disk < 0)
		return;
	/* O_DIRECT wants it so */
	if (!block)
		block = aligned_alloc(DISK_BLOCK, DISK_BLOCK);
	if (!block)
		die("memory");
	input_print(input, hex);
	memset(block, ' ', DISK_BLOCK);
	block[sprintf(block, "%s%lu %s", phase, nr_executions, hex)] = ' ';
	block[DISK_BLOCK - 1] = '\n';
	if (pwrite(disk, block, DISK_BLOCK,
		   nr_executions % DISK_BLOCKS * DISK_BLOCK) != DISK_BLOCK)
		die(DISK);
}

/* How many edges are new, or were taken more often. */
static unsigned int execute(const struct input *input)
{
	current = input;
	relieved = false;
	nr_executions++;
	note(input);
	rebuild |= nr_executions % REBUILD == 1;
	sem_post(&first.go);
	if (!ends_within(&first, PATIENCE_S)) {
		relieved = true;
		sem_post(&helper.go);
		if (!ends_within(&helper, STUCK_S) || !ends_within(&first, STUCK_S))
			stuck();
	}
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
	char hex[2 * INPUT_MAX + 1];

	if (corpus_size < CORPUS_MAX)
		corpus[corpus_size++] = *input;
	input_print(input, hex);
	puts(hex);
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
		if (execute(&input) || !first.cover)
			keep(&input);
	}
	if (!corpus_size)
		corpus[corpus_size++].len = 16;
}

static void prepare(void)
{
	unsigned int i;

	for (i = 0; i < EVENTFDS; i++)
		eventfds[i] = eventfd(0, EFD_NONBLOCK);
	for (i = 0; i < SPACES; i++)
		spaces[i].vc = (struct vfio_client){ -1, -1, -1, 0, -1 };
	memories[IN_FILE].fd = memfd_create("memory", MFD_CLOEXEC);
	memories[NEVER_THERE].fd = -1;
	disk = open(DISK, O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (pipe2(pipe_fds, O_NONBLOCK) ||
	    file_write("8", "/proc/sys/vm/nr_hugepages") || limit_memory(LIMIT))
		die("preparations");
	find_cards();
	start(&first);
	start(&second);
	start(&helper);
	sem_post(&second.done);
}

static void report(unsigned long n)
{
	fprintf(stderr, "mdev_fuzz: %lu executions, %u edges, %u inputs\n", n,
		nr_edges, corpus_size);
}

int main(int argc, char **argv)
{
	unsigned long total = argc > 1 ? strtoul(argv[1], NULL, 0) : 0, n;
	struct input input;

	rng_state = (argc > 2 ? strtoul(argv[2], NULL, 0) : 0) + 88172645463325252UL;
	prepare();
	read_corpus();
	phase = "";
	nr_executions = 0;
	for (n = 1; n <= total; n++) {
		mutate(&input);
		if (execute(&input))
			keep(&input);
		if (n % 10000 == 0)
			report(n);
	}
	report(total);
	world_end();
	return 0;
}
