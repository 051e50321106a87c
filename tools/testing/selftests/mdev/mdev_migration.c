// SPDX-License-Identifier: GPL-2.0-only
/*
 * Live migration of a classic vendor's devices, samples/mtty.c, by VFIO's rules
 * (enum vfio_device_mig_state in <linux/vfio.h>): every transition, what is
 * carried over, what is refused, and who may go away in the middle of it.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/serial_reg.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/mount.h>

#include "../kselftest_harness.h"
#include "mdev_migration.h"
#include "mdev_util.h"

#define SINGLE	"mtty/mtty-1"
#define DUAL	"mtty/mtty-2"

/* newer than the headers may be */
#define MIG_PRECOPY_INFO_V2	12

/* the stream of mtty: a header, the configuration space, and the ports */
#define HEADER	12
#define PORT	28
#define SIZE(ports)	(HEADER + 256 + (ports) * PORT)
#define SIZE_MAX_	SIZE(2)

/* not static, or the compiler knows better */
void *nowhere = (void *)8;

/* VFIO of Linux 6.1 has neither these states nor the feature DATA_SIZE */
static bool has_precopy(void)
{
	return linux_since(6, 2);
}

/* stop the card and take its state; it is in STOP then */
static int save(int fd, void *buf)
{
	int file, ret;

	file = open_stream(fd, STOP_COPY);
	if (file < 0)
		return file;
	ret = read_all(file, buf, SIZE_MAX_, SIZE_MAX_);
	close(file);
	return set(fd, STOP) ?: ret;
}

/* from any state but ERROR; to STOP, or an errno of the write or else the load */
static int load(int fd, const void *buf, size_t size)
{
	int file, ret, loaded;

	file = open_stream(fd, RESUMING);
	if (file < 0)
		return file;
	ret = write_some(file, buf, size);
	loaded = set(fd, STOP);
	close(file);
	/* what was not taken must not be loaded */
	if (ret < 0 && !loaded)
		return -EBADE;
	return ret < 0 ? ret : loaded;
}

/* the cards */

struct card {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
	int fd;
	off_t bar[2], config;
};

static int card_open(struct card *card)
{
	struct vfio_region_info info[3];
	int ret;

	ret = vfio_open(&card->vc, card->uuid);
	if (ret)
		return ret;
	card->fd = card->vc.device;
	ret = vfio_region(card->fd, 0, &info[0]) ?:
	      vfio_region(card->fd, 1, &info[1]) ?:
	      vfio_region(card->fd, VFIO_PCI_CONFIG_REGION_INDEX, &info[2]);
	card->bar[0] = info[0].offset;
	card->bar[1] = info[1].offset;
	card->config = info[2].offset;
	return ret;
}

static int card_add(struct card *card, const char *type)
{
	uuid_next(card->uuid);
	return mdev_create(type, card->uuid) ?: card_open(card);
}

static int64_t get(const struct card *card, off_t where, int size)
{
	uint32_t val = 0;
	int ret;

	ret = vfio_read(card->fd, &val, size, where);
	if (ret != size)
		return ret;
	return le32toh(val);
}

static int put(const struct card *card, off_t where, int size, uint32_t data)
{
	uint32_t val = htole32(data);
	int ret;

	ret = vfio_write(card->fd, &val, size, where);
	return ret == size ? 0 : ret;
}

static int in(const struct card *card, int port, int reg)
{
	return get(card, card->bar[port] + reg, 1);
}

static int out(const struct card *card, int port, int reg, int val)
{
	return put(card, card->bar[port] + reg, 1, val);
}

static int divisor(const struct card *card, int port, int val)
{
	return out(card, port, UART_LCR, UART_LCR_DLAB) ?:
	       put(card, card->bar[port] + UART_DLL, 2, val) ?:
	       out(card, port, UART_LCR, UART_LCR_WLEN8);
}

/* FIFOs that have wrapped, and a value of its own in each register */
static int paint(const struct card *card, int port, int seed)
{
	int ret, i;

	/* a character timeout takes seconds */
	ret = divisor(card, port, 0xfff0 + seed) ?:
	      out(card, port, UART_FCR, UART_FCR_ENABLE_FIFO |
		  UART_FCR_TRIGGER_8) ?:
	      out(card, port, UART_IER, UART_IER_THRI | UART_IER_MSI) ?:
	      out(card, port, UART_MCR, UART_MCR_RTS) ?:
	      out(card, port, UART_LCR, UART_LCR_WLEN7 | UART_LCR_STOP) ?:
	      out(card, port, UART_SCR, 0x50 + seed);
	for (i = 0; i < 11 && !ret; i++) {
		ret = out(card, port, UART_TX, i);
		if (!ret && in(card, port, UART_RX) != i)
			ret = -EIO;
	}
	for (i = 0; i < 9 && !ret; i++)
		ret = out(card, port, UART_TX, 0x20 + seed + i);
	return ret;
}

static int painted(const struct card *card, int port, int seed)
{
	int i, bad = 0;

	bad += in(card, port, UART_LCR) != (UART_LCR_WLEN7 | UART_LCR_STOP);
	bad += in(card, port, UART_IER) != (UART_IER_THRI | UART_IER_MSI);
	bad += in(card, port, UART_MCR) != UART_MCR_RTS;
	bad += in(card, port, UART_SCR) != 0x50 + seed;
	/* once each: that the transmitter is empty, that CTS has changed */
	bad += in(card, port, UART_IIR) != (0xc0 | UART_IIR_THRI);
	bad += in(card, port, UART_IIR) != (0xc0 | UART_IIR_MSI);
	bad += in(card, port, UART_MSR) != (UART_MSR_CTS | UART_MSR_DCTS);
	bad += in(card, port, UART_IIR) != (0xc0 | UART_IIR_NO_INT);
	/* more than the level is there */
	bad += out(card, port, UART_IER, UART_IER_RDI) != 0;
	bad += in(card, port, UART_IIR) != (0xc0 | UART_IIR_RDI);
	for (i = 0; i < 9; i++) {
		bad += !(in(card, port, UART_LSR) & UART_LSR_DR);
		bad += in(card, port, UART_RX) != 0x20 + seed + i;
	}
	bad += in(card, port, UART_LSR) != (UART_LSR_TEMT | UART_LSR_THRE);
	bad += out(card, port, UART_LCR, UART_LCR_DLAB) != 0;
	bad += get(card, card->bar[port] + UART_DLL, 2) != 0xfff0 + seed;
	return bad;
}

static int irq_trigger(const struct card *card, int index, int32_t fd)
{
	return vfio_set_irqs(card->fd, VFIO_IRQ_SET_ACTION_TRIGGER |
			     VFIO_IRQ_SET_DATA_EVENTFD, index, 0, 1, &fd);
}

static int signals(int fd)
{
	eventfd_t value;

	return eventfd_read(fd, &value) ? 0 : value;
}

/* two open cards of two ports, and one of one */

FIXTURE(cards) {
	struct card one, two, other;
	unsigned char state[SIZE_MAX_];	/* of two ports, painted */
};

FIXTURE_VARIANT(cards) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(cards, group) { .iommufd = false, };
FIXTURE_VARIANT_ADD(cards, cdev) { .iommufd = true, };

FIXTURE_SETUP(cards)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mtty"));
	ASSERT_EQ(0, card_add(&self->one, DUAL));
	ASSERT_EQ(0, card_add(&self->two, DUAL));
	ASSERT_EQ(0, card_add(&self->other, SINGLE));
	ASSERT_EQ(0, paint(&self->one, 0, 1));
	ASSERT_EQ(0, paint(&self->one, 1, 2));
	ASSERT_EQ(SIZE(2), save(self->one.fd, self->state));
	ASSERT_EQ(0, reset(self->one.fd));
}

FIXTURE_TEARDOWN(cards)
{
	vfio_close(&self->one.vc);
	vfio_close(&self->two.vc);
	vfio_close(&self->other.vc);
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

/* what VFIO_DEVICE_FEATURE offers, to whom */
TEST_F(cards, features)
{
	struct vfio_device_feature_mig_data_size size = {};
	struct vfio_device_feature_migration mig = {};
	uint64_t flags = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P;
	int fd = self->one.fd, ret;

	if (has_precopy())
		flags |= VFIO_MIGRATION_PRE_COPY;
	EXPECT_EQ(0, probe(fd, GET | VFIO_DEVICE_FEATURE_MIGRATION));
	EXPECT_EQ(-EINVAL, probe(fd, SET | VFIO_DEVICE_FEATURE_MIGRATION));
	EXPECT_EQ(0, probe(fd, GET | SET |
			   VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE));
	EXPECT_EQ(0, feature(fd, GET | VFIO_DEVICE_FEATURE_MIGRATION, &mig,
			     sizeof(mig)));
	EXPECT_EQ(flags, mig.flags);
	EXPECT_EQ(-EINVAL, feature(fd, SET | VFIO_DEVICE_FEATURE_MIGRATION,
				   &mig, sizeof(mig)));
	EXPECT_EQ(-EINVAL, feature(fd, GET | VFIO_DEVICE_FEATURE_MIGRATION,
				   &mig, sizeof(mig) - 1));
	EXPECT_EQ(-EINVAL, feature(fd, GET |
				   VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
				   &mig, 4));

	/* how much there is, in every state */
	ret = feature(fd, GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, &size,
		      sizeof(size));
	if (has_precopy()) {
		EXPECT_EQ(0, ret);
		EXPECT_EQ(SIZE(2), size.stop_copy_length);
		ASSERT_EQ(0, set(fd, STOP));
		EXPECT_EQ(0, feature(fd, GET |
				     VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, &size,
				     sizeof(size)));
		EXPECT_EQ(SIZE(2), size.stop_copy_length);
		EXPECT_EQ(0, feature(self->other.fd, GET |
				     VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, &size,
				     sizeof(size)));
		EXPECT_EQ(SIZE(1), size.stop_copy_length);
	} else {
		EXPECT_EQ(-ENOTTY, ret);
	}

	/* VFIO's own, where it is known */
	ret = feature(fd, SET | MIG_PRECOPY_INFO_V2, NULL, 0);
	EXPECT_TRUE(ret == 0 || ret == -ENOTTY);
	/* what there is not; for the dirty log, see mdev_dirty */
	EXPECT_EQ(-ENOTTY, probe(fd, GET | SET | VFIO_DEVICE_FEATURE_MASK));
}

TEST(no_migration)
{
	struct vfio_client vc;
	char uuid[UUID_LEN + 1];

	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mnull"));
	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create("mnull0/mnull-1", uuid));
	ASSERT_EQ(0, vfio_open(&vc, uuid));
	EXPECT_EQ(-ENOTTY, probe(vc.device, GET |
				 VFIO_DEVICE_FEATURE_MIGRATION));
	EXPECT_EQ(-ENOTTY, set(vc.device, STOP));
	EXPECT_EQ(-ENOTTY, state_of(vc.device));
	EXPECT_EQ(-ENOTTY, probe(vc.device, GET |
				 VFIO_DEVICE_FEATURE_MIG_DATA_SIZE));
	EXPECT_EQ(-ENOTTY, probe(vc.device, GET | VFIO_DEVICE_FEATURE_MASK));
	vfio_close(&vc);
	EXPECT_EQ(0, vendors_reset());
}

/* the state machine */

static bool known(uint32_t state)
{
	return state && state < (has_precopy() ? STATES : PRE_COPY);
}

static bool runs(uint32_t state)
{
	return state == RUNNING || state == RUNNING_P2P || state == PRE_COPY ||
	       state == PRE_COPY_P2P;
}

static bool saves(uint32_t state)
{
	return state == PRE_COPY || state == PRE_COPY_P2P || state == STOP_COPY;
}

/*
 * What the uAPI says of it: ERROR is left by a reset only and not asked for, one
 * cannot go back from STOP_COPY to PRE_COPY, and all else is some arcs.
 */
static bool allowed(uint32_t from, uint32_t to)
{
	return known(from) && known(to) &&
	       !(from == STOP_COPY && (to == PRE_COPY || to == PRE_COPY_P2P));
}

/* a reset card to a state; in RESUMING it has got all it needs */
static int enter(int fd, uint32_t state, const void *data, int *file)
{
	int ret;

	*file = -1;
	if (reset(fd) || state_of(fd) != RUNNING)
		return -EIO;
	if (state == ERROR)
		return load(fd, data, HEADER) == -EINVAL &&
		       state_of(fd) == ERROR ? 0 : -EIO;
	ret = set_state(fd, state, file);
	if (!ret && state == RESUMING &&
	    write_some(*file, data, SIZE(2)) != SIZE(2))
		return -EIO;
	return ret;
}

/* a file is as dead as it should be, and as alive */
static bool stream_is(int file, uint32_t state, bool over)
{
	char buf[SIZE_MAX_];
	int ret;

	ret = state == RESUMING ? write_some(file, buf, 0) :
				  read_some(file, buf, 1);
	if (over)
		return ret == -ENODEV;
	return ret == (state == RESUMING ? 0 : 1);
}

static int transition(const struct card *card, const void *data, uint32_t from,
		      uint32_t to)
{
	bool stays = from == to || (saves(from) && saves(to));
	int old, new, ret, bad = 0;

	if (enter(card->fd, from, data, &old))
		return 1;
	bad += (old >= 0) != (saves(from) || from == RESUMING);

	ret = set_state(card->fd, to, &new);
	bad += ret != (allowed(from, to) ? 0 : -EINVAL);
	if (ret) {
		/* nothing changed */
		to = from;
		stays = true;
	}
	bad += state_of(card->fd) != (int)to;
	bad += (new >= 0) != (!stays && (saves(to) || to == RESUMING));
	if (old >= 0)
		bad += !stream_is(old, from, !stays);
	if (new >= 0)
		bad += !stream_is(new, to, false);
	/* does it answer? its configuration space always does */
	bad += out(card, 0, UART_SCR, 0x77) != (runs(to) ? 0 : -EBUSY);
	bad += in(card, 0, UART_SCR) != (runs(to) ? 0x77 : -EBUSY);
	bad += get(card, card->config, 4) != 0x32534348;

	if (old >= 0)
		close(old);
	if (new >= 0)
		close(new);
	return bad;
}

TEST_F(cards, transitions)
{
	static const uint32_t odd[] = { STATES, STATES + 1, 255, 1 << 31,
					UINT32_MAX };
	uint32_t from, to;
	int count = 0, legal = 0, bad;
	unsigned int i;

	for (from = 0; from < STATES; from++) {
		if (from && !known(from))
			continue;
		for (i = 0; i < STATES + ARRAY_SIZE(odd); i++) {
			to = i < STATES ? i : odd[i - STATES];
			bad = transition(&self->one, self->state, from, to);
			EXPECT_EQ(0, bad)
				TH_LOG("from %u to %u", from, to);
			count++;
			legal += allowed(from, to);
		}
	}
	printf("# %d transitions, %d of them legal\n", count, legal);
	EXPECT_EQ(0, reset(self->one.fd));
}

/* RESUMING goes nowhere without data, whatever the end of the way */
TEST_F(cards, resuming_without_data)
{
	uint32_t to;
	int file;

	for (to = 1; to < STATES; to++) {
		if (!known(to) || to == RESUMING)
			continue;
		file = open_stream(self->one.fd, RESUMING);
		ASSERT_LE(0, file);
		EXPECT_EQ(-EINVAL, set(self->one.fd, to));
		EXPECT_EQ(ERROR, state_of(self->one.fd));
		EXPECT_EQ(-ENODEV, write_some(file, self->state, 1));
		close(file);
		EXPECT_EQ(0, reset(self->one.fd));
		EXPECT_EQ(RUNNING, state_of(self->one.fd));
	}
}

/* out of any state */
TEST_F(cards, reset)
{
	uint32_t from;
	int file;

	for (from = 0; from < STATES; from++) {
		if (from && !known(from))
			continue;
		ASSERT_EQ(0, enter(self->one.fd, from, self->state, &file));
		EXPECT_EQ(0, reset(self->one.fd));
		EXPECT_EQ(RUNNING, state_of(self->one.fd));
		if (file >= 0)
			EXPECT_TRUE(stream_is(file, from, true));
		close(file);
		EXPECT_EQ(0, paint(&self->one, 0, 3));
		EXPECT_EQ(0, painted(&self->one, 0, 3));
	}
}

/* what is carried over */

/*
 * Numbers in a stream are little-endian, and nothing depends on the page size: this one
 * was saved on x86-64, and is the same on all architectures.
 */
static const unsigned char recorded[SIZE(1)] = {
	'm', 't', 't', 'y', 1, 0, 1, 0, PORT, 1,
	[HEADER + PCI_VENDOR_ID] = 'H', 'C', 'S', '2',
	[HEADER + PCI_COMMAND] = PCI_COMMAND_IO,
	[HEADER + PCI_STATUS] = PCI_STATUS_CAP_LIST,
	[HEADER + PCI_CLASS_PROG] = 2, 0, 7,
	[HEADER + PCI_BASE_ADDRESS_0] = PCI_BASE_ADDRESS_SPACE_IO,
	[HEADER + PCI_SUBSYSTEM_VENDOR_ID] = 'H', 'C', 'S', '2',
	[HEADER + PCI_CAPABILITY_LIST] = 0x40,
	[HEADER + PCI_INTERRUPT_PIN] = 1,
	[HEADER + 0x40] = PCI_CAP_ID_MSI, 0, PCI_MSI_FLAGS_64BIT,
	[HEADER + 256 + 1] = 0x0a, 0x81, 0x06, 0x02, 0, 0x11, 0x53, 0xf3, 0xff, 1, 9,
	0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b,
};

TEST_F(cards, recorded)
{
	struct card *card = &self->other;
	unsigned char state[SIZE_MAX_];
	unsigned int i;

	ASSERT_EQ(0, paint(card, 0, 3));
	ASSERT_EQ(SIZE(1), save(card->fd, state));
	for (i = 0; i < SIZE(1); i++)
		EXPECT_EQ(recorded[i], state[i]) TH_LOG("byte %u", i);
	ASSERT_EQ(0, reset(card->fd));
	ASSERT_EQ(0, load(card->fd, recorded, SIZE(1)));
	ASSERT_EQ(0, set(card->fd, RUNNING));
	EXPECT_EQ(0, painted(card, 0, 3));
}

TEST_F(cards, everything_arrives)
{
	unsigned char again[SIZE_MAX_];
	struct card *one = &self->one, *two = &self->two;

	ASSERT_EQ(0, paint(one, 0, 4));
	ASSERT_EQ(0, paint(one, 1, 8));
	ASSERT_EQ(0, put(one, one->config + PCI_BASE_ADDRESS_0, 4, 0xc0000100));
	ASSERT_EQ(0, put(one, one->config + PCI_BASE_ADDRESS_1, 4, 0xd0000200));
	ASSERT_EQ(0, put(one, one->config + PCI_INTERRUPT_LINE, 1, 0x5a));
	ASSERT_EQ(0, put(one, one->config + 0x44, 4, 0xfee00000));
	ASSERT_EQ(0, put(one, one->config + PCI_COMMAND, 2, PCI_COMMAND_IO |
			 PCI_COMMAND_INTX_DISABLE));
	ASSERT_EQ(SIZE(2), save(one->fd, self->state));

	/* over something else */
	ASSERT_EQ(0, paint(two, 0, 1));
	ASSERT_EQ(0, load(two->fd, self->state, SIZE(2)));
	ASSERT_EQ(0, set(two->fd, RUNNING));
	ASSERT_EQ(SIZE(2), save(two->fd, again));
	EXPECT_EQ(0, memcmp(self->state, again, SIZE(2)));
	ASSERT_EQ(0, set(two->fd, RUNNING));

	EXPECT_EQ(0, painted(two, 0, 4));
	EXPECT_EQ(0, painted(two, 1, 8));
	EXPECT_EQ(0xc0000101, get(two, two->config + PCI_BASE_ADDRESS_0, 4));
	EXPECT_EQ(0xd0000201, get(two, two->config + PCI_BASE_ADDRESS_1, 4));
	EXPECT_EQ(0x5a, get(two, two->config + PCI_INTERRUPT_LINE, 1));
	EXPECT_EQ(0xfee00000, get(two, two->config + 0x44, 4));
	EXPECT_EQ(PCI_COMMAND_IO | PCI_COMMAND_INTX_DISABLE,
		  get(two, two->config + PCI_COMMAND, 2));

	/* the one that was saved still has it, too */
	ASSERT_EQ(0, set(one->fd, RUNNING));
	EXPECT_EQ(0, painted(one, 1, 8));
}

/* an overrun, a byte without FIFO, and the card of one port */
TEST_F(cards, the_other_type)
{
	struct card *card = &self->other;
	unsigned char state[SIZE_MAX_];

	ASSERT_EQ(0, out(card, 0, UART_TX, 1));
	ASSERT_EQ(0, out(card, 0, UART_TX, 2));
	ASSERT_EQ(SIZE(1), save(card->fd, state));
	ASSERT_EQ(0, reset(card->fd));
	ASSERT_EQ(0, load(card->fd, state, SIZE(1)));
	ASSERT_EQ(0, set(card->fd, RUNNING));
	EXPECT_EQ(UART_LSR_OE | UART_LSR_DR | UART_LSR_TEMT | UART_LSR_THRE,
		  in(card, 0, UART_LSR));
	EXPECT_EQ(2, in(card, 0, UART_RX));

	/* neither of the types takes what is the other's */
	EXPECT_EQ(-EFBIG, load(card->fd, self->state, SIZE(2)));
	ASSERT_EQ(0, reset(card->fd));
	EXPECT_EQ(-EINVAL, load(card->fd, self->state, SIZE(1)));
	EXPECT_EQ(-EINVAL, load(self->two.fd, state, SIZE(1)));
	EXPECT_EQ(ERROR, state_of(card->fd));
	EXPECT_EQ(ERROR, state_of(self->two.fd));
}

TEST_F(cards, segmentation)
{
	static const int steps[] = { 1, 2, 3, 7, 11, 12, 13, 100, SIZE_MAX_ };
	unsigned char state[SIZE_MAX_];
	int from, to, done, step, i;

	for (i = 0; i < (int)ARRAY_SIZE(steps); i++) {
		ASSERT_EQ(0, load(self->one.fd, self->state, SIZE(2)));
		from = open_stream(self->one.fd, STOP_COPY);
		to = open_stream(self->two.fd, RESUMING);
		ASSERT_LT(from, to);
		memset(state, 0, sizeof(state));
		ASSERT_EQ(SIZE(2), read_all(from, state, sizeof(state),
					    steps[i]));
		EXPECT_EQ(0, memcmp(self->state, state, sizeof(state)));
		/* for good */
		EXPECT_EQ(0, read_some(from, state, 1));
		EXPECT_EQ(0, read_some(from, state, 1));
		EXPECT_EQ(POLLIN, events(from, 0));
		for (done = 0; done < SIZE(2); done += step) {
			step = steps[i] < SIZE(2) - done ? steps[i] :
			       SIZE(2) - done;
			ASSERT_EQ(step, write_some(to, self->state + done,
						   step));
		}
		ASSERT_EQ(0, set(self->two.fd, RUNNING));
		EXPECT_EQ(0, painted(&self->two, 0, 1));
		close(from);
		close(to);
	}
}

/* the files are streams of one direction, and user memory may be bad */
TEST_F(cards, streams)
{
	struct vfio_precopy_info info = { .argsz = sizeof(info) };
	unsigned char state[SIZE_MAX_];
	int file;

	file = open_stream(self->one.fd, STOP_COPY);
	ASSERT_LE(0, file);
	EXPECT_EQ(-1, pread(file, state, 1, 0));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, lseek(file, 0, SEEK_SET));
	EXPECT_EQ(-EBADF, write_some(file, state, 1));
	EXPECT_EQ(-EFAULT, read_some(file, nowhere, 10));
	EXPECT_EQ(0, read_some(file, state, 0));
	EXPECT_EQ(FD_CLOEXEC, fcntl(file, F_GETFD));
	EXPECT_EQ(-EINVAL, vfio_ioctl(file, VFIO_MIG_GET_PRECOPY_INFO, &info));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(file, VFIO_DEVICE_RESET, NULL));
	/* nothing was lost by that */
	EXPECT_EQ(SIZE(2), read_all(file, state, sizeof(state), 50));
	close(file);

	ASSERT_EQ(0, set(self->one.fd, STOP));
	file = open_stream(self->one.fd, RESUMING);
	ASSERT_LE(0, file);
	EXPECT_EQ(-1, pwrite(file, state, 1, 0));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-EBADF, read_some(file, state, 1));
	EXPECT_EQ(-EFAULT, write_some(file, nowhere, 10));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(file, VFIO_MIG_GET_PRECOPY_INFO, &info));
	EXPECT_EQ(SIZE(2), write_some(file, state, SIZE(2)));
	EXPECT_EQ(0, set(self->one.fd, RUNNING));
	close(file);
}

/* the user closes his end: the state machine goes on without him */
TEST_F(cards, closed_streams)
{
	int file;

	file = open_stream(self->one.fd, STOP_COPY);
	ASSERT_LE(0, file);
	close(file);
	EXPECT_EQ(STOP_COPY, state_of(self->one.fd));
	EXPECT_EQ(0, set(self->one.fd, RUNNING));

	file = open_stream(self->one.fd, RESUMING);
	ASSERT_LE(0, file);
	ASSERT_EQ(SIZE(2), write_some(file, self->state, SIZE(2)));
	close(file);
	EXPECT_EQ(0, set(self->one.fd, RUNNING));
	EXPECT_EQ(0, painted(&self->one, 1, 2));
}

/* pre-copy */

static void *wait_readable(void *arg)
{
	return (void *)(long)events(*(int *)arg, 10000);
}

TEST_F(cards, precopy)
{
	unsigned char state[SIZE_MAX_], again[SIZE_MAX_];
	struct vfio_precopy_info info;
	pthread_t thread;
	void *seen;
	int file;

	if (!has_precopy())
		SKIP(return, "no PRE_COPY in this kernel's VFIO");
	ASSERT_EQ(0, paint(&self->one, 0, 5));
	file = open_stream(self->one.fd, PRE_COPY);
	ASSERT_LE(0, file);
	EXPECT_EQ(POLLIN, events(file, 0));

	/* the card runs; what there is gets less, and comes to an end */
	EXPECT_EQ(0, precopy_info(file, &info));
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(HEADER, info.initial_bytes);
	EXPECT_EQ(0, info.dirty_bytes);
	EXPECT_EQ(0, painted(&self->one, 0, 5));
	EXPECT_EQ(5, read_some(file, state, 5));
	EXPECT_EQ(0, precopy_info(file, &info));
	EXPECT_EQ(HEADER - 5, info.initial_bytes);
	EXPECT_EQ(HEADER - 5, read_some(file, state + 5, 100));
	EXPECT_EQ(0, precopy_info(file, &info));
	EXPECT_EQ(0, info.initial_bytes);
	EXPECT_EQ(-ENOMSG, read_some(file, again, 1));
	EXPECT_EQ(0, events(file, 0));
	ASSERT_EQ(0, paint(&self->one, 0, 1));
	ASSERT_EQ(0, paint(&self->one, 1, 2));
	EXPECT_EQ(-ENOMSG, read_some(file, again, 1));
	info.argsz = 23;
	EXPECT_EQ(-EINVAL, vfio_ioctl(file, VFIO_MIG_GET_PRECOPY_INFO, &info));
	EXPECT_EQ(-EFAULT, vfio_ioctl(file, VFIO_MIG_GET_PRECOPY_INFO,
				      nowhere));

	/* the same session all along; who waits is told of the rest */
	EXPECT_EQ(0, set(self->one.fd, PRE_COPY_P2P));
	EXPECT_EQ(0, precopy_info(file, &info));
	EXPECT_EQ(0, set(self->one.fd, PRE_COPY));
	ASSERT_EQ(0, pthread_create(&thread, NULL, wait_readable, &file));
	sleep_ms(50);
	EXPECT_EQ(0, set(self->one.fd, STOP_COPY));
	ASSERT_EQ(0, pthread_join(thread, &seen));
	EXPECT_EQ(POLLIN, (long)seen);
	EXPECT_EQ(-EINVAL, precopy_info(file, &info));
	EXPECT_EQ(SIZE(2) - HEADER, read_all(file, state + HEADER, SIZE(2),
					     SIZE(2)));
	EXPECT_EQ(0, set(self->one.fd, STOP));
	EXPECT_EQ(POLLERR | POLLHUP, events(file, 0));
	EXPECT_EQ(-ENODEV, precopy_info(file, &info));
	close(file);
	/* the state it had when it stopped */
	EXPECT_EQ(SIZE(2), save(self->one.fd, again));
	EXPECT_EQ(0, memcmp(again, state, SIZE(2)));
	EXPECT_EQ(0, load(self->two.fd, state, SIZE(2)));
}

/* taken back: the next session begins from the beginning */
TEST_F(cards, precopy_abandoned)
{
	unsigned char state[SIZE_MAX_];
	int file, next;

	if (!has_precopy())
		SKIP(return, "no PRE_COPY in this kernel's VFIO");
	file = open_stream(self->one.fd, PRE_COPY);
	ASSERT_LE(0, file);
	EXPECT_EQ(HEADER, read_some(file, state, HEADER));
	EXPECT_EQ(0, set(self->one.fd, RUNNING));
	EXPECT_EQ(-ENODEV, read_some(file, state, 1));
	next = open_stream(self->one.fd, PRE_COPY);
	ASSERT_LT(file, next);
	EXPECT_EQ(HEADER, read_some(next, state, HEADER));
	EXPECT_EQ(-ENODEV, read_some(file, state, 1));
	close(file);
	close(next);
}

/* a card that cannot take it says so while the other one still runs */
TEST_F(cards, precopy_tells_types)
{
	unsigned char state[SIZE_MAX_];
	int from, to;

	if (!has_precopy())
		SKIP(return, "no PRE_COPY in this kernel's VFIO");
	from = open_stream(self->other.fd, PRE_COPY);
	to = open_stream(self->two.fd, RESUMING);
	ASSERT_LT(from, to);
	ASSERT_EQ(HEADER, read_some(from, state, sizeof(state)));
	EXPECT_EQ(-EINVAL, write_some(to, state, HEADER));
	EXPECT_EQ(-EINVAL, write_some(to, self->state, SIZE(2)));
	EXPECT_EQ(-EINVAL, set(self->two.fd, STOP));
	EXPECT_EQ(0, set(self->other.fd, RUNNING));
	close(from);
	close(to);
}

/* what is refused */

/* nothing of it has been applied, and a reset is all it takes */
static int unharmed(const struct card *card)
{
	int bad = 0;

	bad += state_of(card->fd) != ERROR;
	bad += get(card, card->config + PCI_BASE_ADDRESS_0, 4) != 0x1001;
	bad += out(card, 0, UART_SCR, 0) != -EBUSY;
	bad += reset(card->fd) != 0;
	bad += state_of(card->fd) != RUNNING;
	bad += out(card, 0, UART_SCR, 0x33) != 0;
	bad += in(card, 0, UART_SCR) != 0x33;
	return bad;
}

static int mark(const struct card *card)
{
	return put(card, card->config + PCI_BASE_ADDRESS_0, 4, 0x1000);
}

TEST_F(cards, truncated_and_appended)
{
	unsigned char state[SIZE_MAX_ + 1] = {};
	struct card *card = &self->two;
	int len, file;

	for (len = 0; len < SIZE(2); len++) {
		ASSERT_EQ(0, mark(card));
		EXPECT_EQ(-EINVAL, load(card->fd, self->state, len));
		ASSERT_EQ(0, unharmed(card))
			TH_LOG("length %d", len);
	}

	/* too much: at once, and bit by bit; what comes then is too late */
	memcpy(state, self->state, SIZE(2));
	ASSERT_EQ(0, mark(card));
	EXPECT_EQ(-EFBIG, load(card->fd, state, SIZE(2) + 1));
	EXPECT_EQ(0, unharmed(card));
	ASSERT_EQ(0, mark(card));
	file = open_stream(card->fd, RESUMING);
	ASSERT_LE(0, file);
	EXPECT_EQ(SIZE(2), write_some(file, state, SIZE(2)));
	EXPECT_EQ(-EFBIG, write_some(file, state, 1));
	EXPECT_EQ(-EINVAL, write_some(file, state, 0));
	EXPECT_EQ(-EINVAL, set(card->fd, RUNNING));
	EXPECT_EQ(0, unharmed(card));
	close(file);
}

/* the last byte before memory that is not there, however long it is said to be */
TEST_F(cards, enormous)
{
	int file = open_stream(self->one.fd, RESUMING);
	char *buf = malloc(1 << 20);

	ASSERT_LE(0, file);
	EXPECT_EQ(-EFBIG, write_some(file, buf, 1 << 20));
	EXPECT_EQ(-EINVAL, set(self->one.fd, STOP));
	free(buf);
	close(file);
}

/*
 * Every byte, changed in several ways, one at a time: refused, or it is a state
 * that the card can have, and then it says the same when it is asked.
 */
TEST_F(cards, changed)
{
	unsigned char state[SIZE_MAX_], again[SIZE_MAX_];
	static const unsigned char xors[] = { 1, 2, 0x10, 0x80, 0xff };
	int taken = 0, refused = 0, ret;
	struct card *card = &self->two;
	unsigned int i, j;

	for (i = 0; i < SIZE(2) * ARRAY_SIZE(xors); i++) {
		j = i / ARRAY_SIZE(xors);
		memcpy(state, self->state, sizeof(state));
		state[j] ^= xors[i % ARRAY_SIZE(xors)];
		ASSERT_EQ(0, mark(card));
		ret = load(card->fd, state, sizeof(state));
		if (ret) {
			ASSERT_EQ(-EINVAL, ret);
			ASSERT_EQ(0, unharmed(card))
				TH_LOG("byte %u", j);
			refused++;
			continue;
		}
		/* no part of the header is optional */
		EXPECT_LE(HEADER, (int)j);
		taken++;
		ASSERT_EQ(0, set(card->fd, RUNNING));
		/* what runs is interrupted, but this card has no eventfd */
		ASSERT_EQ(SIZE(2), save(card->fd, again));
		EXPECT_EQ(0, memcmp(state, again, sizeof(state)))
			TH_LOG("byte %u", j);
		ASSERT_EQ(0, reset(card->fd));
	}
	printf("# %d changed streams refused, %d taken\n", refused, taken);
	EXPECT_LT(0, taken);
}

/* what no port can be, and what only the eye of a reader sees */
TEST_F(cards, inconsistent)
{
	/* in the first port: registers, divisor, flags, count, FIFO */
	enum { P = HEADER + 256, FLAGS = P + 10, COUNT = P + 11, FIFO = P + 12 };
	static const struct {
		int where, value;
	} changes[] = {
		{ COUNT, 17 }, { COUNT, 255 }, { COUNT, 0x80 },
		/* fewer than there are, one that is not there */
		{ COUNT, 8 }, { FIFO + 9, 1 }, { FIFO + 15, 1 },
		/* two bytes and more without a FIFO, a level without a FIFO */
		{ P + UART_FCR, 0 }, { P + UART_FCR, UART_FCR_TRIGGER_8 },
		{ P + UART_FCR, 0xff }, { P + UART_RX, 1 },
		{ P + UART_IER, 0x10 }, { P + UART_MCR, 0x20 },
		/* RTS without CTS, an error on a line that has none */
		{ P + UART_MSR, 0 }, { P + UART_MCR, 0 },
		{ P + UART_LSR, UART_LSR_FE }, { P + UART_LSR, UART_LSR_DR },
		{ FLAGS, 4 }, { FLAGS, 0x80 },
		/* read-only bits of the configuration space */
		{ HEADER + PCI_VENDOR_ID, 0 }, { HEADER + PCI_STATUS, 0 },
		{ HEADER + PCI_COMMAND, 8 }, { HEADER + 0x80, 1 },
		{ HEADER + PCI_BASE_ADDRESS_0, 0 }, { HEADER + 0xff, 1 },
	};
	unsigned char state[SIZE_MAX_];
	struct card *card = &self->two;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		memcpy(state, self->state, sizeof(state));
		state[changes[i].where] = changes[i].value;
		ASSERT_EQ(0, mark(card));
		EXPECT_EQ(-EINVAL, load(card->fd, state, sizeof(state)))
			TH_LOG("change %u", i);
		EXPECT_EQ(0, unharmed(card));
	}
	/* a timeout of nothing: of an empty port */
	ASSERT_EQ(SIZE(2), save(card->fd, state));
	state[FLAGS] = 2;
	EXPECT_EQ(-EINVAL, load(card->fd, state, sizeof(state)));
}

/* while it is stopped */

TEST_F(cards, stopped)
{
	unsigned char before[SIZE_MAX_], after[SIZE_MAX_], buf[8];
	struct card *card = &self->one;
	int reg, port;

	ASSERT_EQ(0, paint(card, 0, 1));
	ASSERT_EQ(SIZE(2), save(card->fd, before));
	for (port = 0; port < 2; port++) {
		for (reg = 0; reg < 8; reg++) {
			EXPECT_EQ(-EBUSY, in(card, port, reg));
			EXPECT_EQ(-EBUSY, out(card, port, reg, 0xff));
		}
		EXPECT_EQ(-EBUSY, vfio_read(card->fd, buf, 8, card->bar[port]));
		/* what was wrong stays wrong in the same way */
		EXPECT_EQ(-EINVAL, vfio_read(card->fd, buf, 1,
					     card->bar[port] + 8));
		EXPECT_EQ(-EFAULT, vfio_write(card->fd, nowhere, 8,
					      card->bar[port]));
	}
	ASSERT_EQ(SIZE(2), save(card->fd, after));
	EXPECT_EQ(0, memcmp(before, after, sizeof(before)));

	/* the user of the configuration space need not know */
	EXPECT_EQ(0, put(card, card->config + PCI_INTERRUPT_LINE, 1, 7));
	EXPECT_EQ(7, get(card, card->config + PCI_INTERRUPT_LINE, 1));
	ASSERT_EQ(0, set(card->fd, RUNNING));
	EXPECT_EQ(0, painted(card, 0, 1));
}

/* 4 characters of 10 bits at 115200 / 864 are 300 ms */
TEST_F(cards, time_stands_still)
{
	int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct card *one = &self->one, *two = &self->two;
	unsigned char state[SIZE_MAX_];

	ASSERT_EQ(0, irq_trigger(one, VFIO_PCI_MSI_IRQ_INDEX, efd));
	ASSERT_EQ(0, irq_trigger(two, VFIO_PCI_MSI_IRQ_INDEX, efd));
	ASSERT_EQ(0, divisor(one, 0, 864));
	ASSERT_EQ(0, out(one, 0, UART_IER, UART_IER_RDI));
	ASSERT_EQ(0, out(one, 0, UART_FCR, UART_FCR_ENABLE_FIFO |
			 UART_FCR_TRIGGER_14));
	ASSERT_EQ(0, out(one, 0, UART_TX, 'x'));
	ASSERT_EQ(SIZE(2), save(one->fd, state));
	EXPECT_FALSE(eventfd_fired(efd, 600));

	/* there, or here again, it goes on */
	ASSERT_EQ(0, load(two->fd, state, SIZE(2)));
	EXPECT_FALSE(eventfd_fired(efd, 600));
	ASSERT_EQ(0, set(two->fd, RUNNING));
	EXPECT_TRUE(eventfd_fired(efd, WAIT_MS));
	EXPECT_EQ(0xc0 | UART_IIR_RX_TIMEOUT, in(two, 0, UART_IIR));
	ASSERT_EQ(0, set(one->fd, RUNNING));
	EXPECT_TRUE(eventfd_fired(efd, WAIT_MS));
	EXPECT_EQ('x', in(one, 0, UART_RX));
	EXPECT_EQ('x', in(two, 0, UART_RX));
	EXPECT_FALSE(eventfd_fired(efd, 600));
	close(efd);
}

/* what is pending is signalled where the card runs, to who is there then */
TEST_F(cards, interrupts)
{
	static const int kinds[] = { VFIO_PCI_INTX_IRQ_INDEX,
				     VFIO_PCI_MSI_IRQ_INDEX };
	int efd[2] = { eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK) };
	struct card *one = &self->one, *two = &self->two;
	unsigned char state[SIZE_MAX_];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		ASSERT_EQ(0, reset(one->fd));
		ASSERT_EQ(0, reset(two->fd));
		ASSERT_EQ(0, irq_trigger(one, kinds[i], efd[0]));
		ASSERT_EQ(0, irq_trigger(two, kinds[i], efd[1]));
		ASSERT_EQ(0, out(one, 0, UART_IER, UART_IER_THRI));
		EXPECT_EQ(1, signals(efd[0]));
		ASSERT_EQ(SIZE(2), save(one->fd, state));
		ASSERT_EQ(0, load(two->fd, state, SIZE(2)));
		EXPECT_EQ(0, signals(efd[1]));
		ASSERT_EQ(0, set(two->fd, RUNNING));
		EXPECT_EQ(1, signals(efd[1]));
		/* once */
		ASSERT_EQ(0, set(two->fd, STOP));
		ASSERT_EQ(0, set(two->fd, RUNNING));
		EXPECT_EQ(0, signals(efd[1]));
		EXPECT_EQ(UART_IIR_THRI, in(two, 0, UART_IIR));
		EXPECT_EQ(UART_IIR_NO_INT, in(two, 0, UART_IIR));
		/* the source is not interrupted by that */
		EXPECT_EQ(0, signals(efd[0]));
		ASSERT_EQ(0, irq_trigger(one, kinds[i], -1));
		ASSERT_EQ(0, irq_trigger(two, kinds[i], -1));
	}

	/* a level that nobody was told of, as there was nobody */
	ASSERT_EQ(0, reset(one->fd));
	ASSERT_EQ(0, out(one, 0, UART_IER, UART_IER_THRI));
	ASSERT_EQ(SIZE(2), save(one->fd, state));
	ASSERT_EQ(0, load(two->fd, state, SIZE(2)));
	ASSERT_EQ(0, irq_trigger(two, kinds[0], efd[1]));
	EXPECT_EQ(0, signals(efd[1]));
	ASSERT_EQ(0, set(two->fd, RUNNING));
	EXPECT_EQ(1, signals(efd[1]));
	close(efd[0]);
	close(efd[1]);
}

/* who goes away in the middle of it */

TEST_F(cards, device_closed)
{
	struct card *card = &self->one;
	struct vfio_precopy_info info;
	uint32_t from;
	char buf[4];
	int file;

	for (from = 0; from < STATES; from++) {
		if (from && !known(from))
			continue;
		ASSERT_EQ(0, enter(card->fd, from, self->state, &file));
		vfio_close(&card->vc);
		if (file >= 0) {
			EXPECT_TRUE(stream_is(file, from, true));
			if (saves(from)) {
				EXPECT_EQ(-ENODEV, precopy_info(file, &info));
				EXPECT_EQ(POLLERR | POLLHUP, events(file, 0));
			}
		}
		/* the next user knows nothing of it */
		ASSERT_EQ(0, card_open(card));
		EXPECT_EQ(RUNNING, state_of(card->fd));
		EXPECT_EQ(0, in(card, 0, UART_SCR));
		if (file >= 0)
			EXPECT_TRUE(stream_is(file, from, true));
		close(file);
	}

	/* a file outlives the card, but not the vendor's module */
	file = open_stream(card->fd, STOP_COPY);
	ASSERT_LE(0, file);
	vfio_close(&self->one.vc);
	vfio_close(&self->two.vc);
	vfio_close(&self->other.vc);
	EXPECT_EQ(0, mdev_remove(self->one.uuid));
	EXPECT_EQ(-ENODEV, read_some(file, buf, 4));
	EXPECT_EQ(-EWOULDBLOCK, module_unload("mtty"));
	close(file);
	EXPECT_TRUE(wait_for(!module_refs("mtty")));
	EXPECT_EQ(0, module_unload("mtty"));
}

/* who has the card in a child: killed in every state */
TEST_F(cards, killed)
{
	struct card *card = &self->one;
	int file, fds[2], ret;
	uint32_t from;
	pid_t pid;

	for (from = 0; from < STATES; from++) {
		if (from && !known(from))
			continue;
		vfio_close(&card->vc);
		ASSERT_EQ(0, pipe(fds));
		pid = fork_child();
		if (!pid) {
			ret = card_open(card) ?:
			      enter(card->fd, from, self->state, &file);
			if (write(fds[1], &ret, sizeof(ret)) == sizeof(ret))
				pause();
			child_exit(ret);
		}
		ASSERT_EQ(sizeof(ret), read(fds[0], &ret, sizeof(ret)));
		EXPECT_EQ(0, ret);
		EXPECT_EQ(-EBUSY, mdev_remove(card->uuid));
		kill(pid, SIGKILL);
		EXPECT_EQ(-ECANCELED, child_wait(pid));
		close(fds[0]);
		close(fds[1]);
		ASSERT_TRUE(wait_for(!card_open(card)));
		EXPECT_EQ(RUNNING, state_of(card->fd));
	}
}

TEST(unplugged)
{
	int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), file;
	struct card card;
	char buf[4];
	pid_t pid;

	vfio_use_iommufd(false);
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mtty unplug=1"));
	ASSERT_EQ(0, card_add(&card, DUAL));
	ASSERT_EQ(0, irq_trigger(&card, VFIO_PCI_REQ_IRQ_INDEX, efd));
	file = open_stream(card.fd, STOP_COPY);
	ASSERT_LE(0, file);

	/* asked in STOP_COPY as ever; the migration goes on meanwhile */
	pid = mdev_remove_child(card.uuid);
	EXPECT_TRUE(eventfd_fired(efd, WAIT_MS));
	EXPECT_EQ(4, read_some(file, buf, 4));
	EXPECT_EQ(0, set(card.fd, STOP));
	close(file);
	file = open_stream(card.fd, STOP_COPY);
	EXPECT_EQ(4, read_some(file, buf, 4));
	EXPECT_TRUE(child_running(pid));
	vfio_close(&card.vc);
	EXPECT_EQ(0, child_wait(pid));
	EXPECT_FALSE(mdev_exists(card.uuid));
	EXPECT_EQ(-ENODEV, read_some(file, buf, 4));
	close(file);
	close(efd);
	EXPECT_EQ(0, vendors_reset());
}

/* VFIO shows the state to root, of cards that are not open, too */
TEST_F(cards, debugfs)
{
	static const char state[] = "/sys/kernel/debug/vfio/%s/migration/state";
	char uuid[UUID_LEN + 1], text[32];

	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	if (!file_exists(state, self->one.uuid))
		SKIP(return, "no CONFIG_VFIO_DEBUGFS in this kernel");
	ASSERT_LT(0, file_read(text, sizeof(text), state, self->one.uuid));
	EXPECT_STREQ("RUNNING", text);
	ASSERT_EQ(0, set(self->one.fd, STOP));
	ASSERT_LT(0, file_read(text, sizeof(text), state, self->one.uuid));
	EXPECT_STREQ("STOP", text);
	vfio_close(&self->one.vc);
	EXPECT_EQ(-EINVAL, file_read(text, sizeof(text), state, self->one.uuid));

	/* nobody ever had this one open */
	uuid_next(uuid);
	ASSERT_EQ(0, mdev_create(SINGLE, uuid));
	EXPECT_EQ(-EINVAL, file_read(text, sizeof(text), state, uuid));
	EXPECT_EQ(0, mdev_remove(uuid));
}

/* under load */

#define ROUNDS	50

static struct {
	struct card *cards[2];
	atomic_int current;
	atomic_uint sent, received;
	atomic_int errors;
	atomic_bool stop, all_sent;
} load_test;

/* an access to the card that runs; there is one at any time, or none */
static int retry_in(int reg)
{
	int ret;

	do {
		ret = in(load_test.cards[load_test.current], 1, reg);
	} while (ret == -EBUSY);
	return ret;
}

static int retry_out(int reg, int val)
{
	int ret;

	do {
		ret = out(load_test.cards[load_test.current], 1, reg, val);
	} while (ret == -EBUSY);
	return ret;
}

static void *sender(void *arg)
{
	while (!load_test.stop) {
		/* the FIFO takes 16 */
		if (load_test.sent - load_test.received >= 16) {
			sched_yield();
			continue;
		}
		if (retry_out(UART_TX, load_test.sent & 0xff))
			load_test.errors++;
		load_test.sent++;
	}
	return NULL;
}

static void *receiver(void *arg)
{
	bool last;
	int lsr;

	for (;;) {
		/* something is on its way at any time */
		if (!load_test.stop &&
		    load_test.sent - load_test.received < 8) {
			sched_yield();
			continue;
		}
		last = load_test.all_sent;
		lsr = retry_in(UART_LSR);
		if (lsr < 0 || lsr & UART_LSR_OE)
			load_test.errors++;
		if (lsr & UART_LSR_DR) {
			if (retry_in(UART_RX) !=
			    (int)(load_test.received & 0xff))
				load_test.errors++;
			load_test.received++;
		} else if (last) {
			return NULL;
		}
	}
}

static bool load_goes_on(unsigned int count)
{
	unsigned int before = load_test.sent;

	return wait_for(load_test.sent - before >= count);
}

/* all of a live migration, from the card that runs to the other one */
static int migrate(struct card *from, struct card *to)
{
	unsigned char state[SIZE_MAX_];
	int reader, writer, ret, len = 0;

	writer = open_stream(to->fd, RESUMING);
	reader = open_stream(from->fd, has_precopy() ? PRE_COPY : STOP_COPY);
	if (writer < 0 || reader < 0)
		return -EIO;
	if (has_precopy()) {
		len = read_some(reader, state, sizeof(state));
		if (len != HEADER || write_some(writer, state, len) != len)
			return -EIO;
		if (!load_goes_on(20))
			return -ETIMEDOUT;
		ret = set(from->fd, STOP_COPY);
		if (ret)
			return ret;
	}
	/* who sends and receives knocks at both doors meanwhile */
	sleep_ms(1);
	len = read_all(reader, state, sizeof(state), 100);
	if (len < 0 || write_some(writer, state, len) != len)
		return -EIO;
	ret = set(to->fd, STOP) ?: set(from->fd, STOP);
	close(reader);
	close(writer);
	return ret ?: set(to->fd, RUNNING);
}

TEST_F(cards, under_load)
{
	struct card *cards[] = { &self->one, &self->two };
	unsigned int before, during = 0;
	pthread_t threads[2];
	long start;
	int i;

	memcpy(load_test.cards, cards, sizeof(cards));
	ASSERT_EQ(0, divisor(cards[0], 1, 1));
	ASSERT_EQ(0, out(cards[0], 1, UART_FCR, UART_FCR_ENABLE_FIFO));
	ASSERT_EQ(0, set(cards[1]->fd, STOP));

	start = now_ms();
	ASSERT_EQ(0, pthread_create(&threads[0], NULL, sender, NULL));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, receiver, NULL));
	for (i = 0; i < 2 * ROUNDS; i++) {
		before = load_test.sent;
		ASSERT_EQ(0, migrate(cards[i % 2], cards[!(i % 2)]));
		load_test.current = !(i % 2);
		during += load_test.sent - before;
		/* some load between two of them, too */
		EXPECT_TRUE(load_goes_on(20));
	}
	load_test.stop = true;
	pthread_join(threads[0], NULL);
	load_test.all_sent = true;
	pthread_join(threads[1], NULL);
	printf("# %d migrations in %ld ms, %u bytes, %u of them meanwhile\n",
	       2 * ROUNDS, now_ms() - start, load_test.sent, during);
	EXPECT_EQ(0, load_test.errors);
	EXPECT_EQ(load_test.sent, load_test.received);
	EXPECT_LE(2 * ROUNDS * 20, load_test.sent);
	/* both are still what they say they are */
	EXPECT_EQ(RUNNING, state_of(cards[0]->fd));
	EXPECT_EQ(STOP, state_of(cards[1]->fd));
}

/* everything at the same time, in no order: nothing but errnos comes of it */

static struct {
	struct card *card;
	const unsigned char *state;
	atomic_int files[4];
	atomic_bool stop;
	atomic_int odd;
} chaos;

static void *chaos_states(void *arg)
{
	unsigned int seed = (uintptr_t)arg;
	int file, old, ret;

	while (!chaos.stop) {
		ret = set_state(chaos.card->fd, 1 + rand_r(&seed) % 7, &file);
		/* out of memory is for other tests */
		if (ret && ret != -EINVAL)
			chaos.odd++;
		if (ret && rand_r(&seed) % 4 == 0)
			reset(chaos.card->fd);
		if (file < 0)
			continue;
		old = atomic_exchange(&chaos.files[rand_r(&seed) % 4], file);
		if (old >= 0)
			close(old);
	}
	return NULL;
}

static void *chaos_streams(void *arg)
{
	struct vfio_precopy_info info;
	unsigned int seed = (uintptr_t)arg;
	char buf[SIZE_MAX_];
	int file;

	while (!chaos.stop) {
		file = chaos.files[rand_r(&seed) % 4];
		if (file < 0)
			continue;
		if (write_some(file, chaos.state, SIZE(2)) == -EBADF)
			read_some(file, buf, rand_r(&seed) % SIZE_MAX_);
		precopy_info(file, &info);
		events(file, 0);
	}
	return NULL;
}

static void *chaos_ports(void *arg)
{
	unsigned int seed = (uintptr_t)arg;
	int reg, ret;

	while (!chaos.stop) {
		reg = rand_r(&seed) % 8;
		ret = out(chaos.card, rand_r(&seed) % 2, reg, rand_r(&seed));
		if (ret && ret != -EBUSY)
			chaos.odd++;
		ret = in(chaos.card, rand_r(&seed) % 2, reg);
		if (ret < 0 && ret != -EBUSY)
			chaos.odd++;
	}
	return NULL;
}

TEST_F(cards, chaos)
{
	void *(*const jobs[])(void *) = {
		chaos_states, chaos_streams, chaos_ports, chaos_states,
		chaos_streams,
	};
	pthread_t threads[ARRAY_SIZE(jobs)];
	unsigned char state[SIZE_MAX_];
	unsigned int i;

	chaos.card = &self->one;
	chaos.state = self->state;
	for (i = 0; i < ARRAY_SIZE(chaos.files); i++)
		chaos.files[i] = -1;
	for (i = 0; i < ARRAY_SIZE(jobs); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, jobs[i],
					    (void *)(uintptr_t)(i + 1)));
	sleep_ms(2000);
	chaos.stop = true;
	for (i = 0; i < ARRAY_SIZE(jobs); i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < ARRAY_SIZE(chaos.files); i++)
		close(chaos.files[i]);
	EXPECT_EQ(0, chaos.odd);

	/* whatever the card has become, it can be saved and loaded */
	reset(chaos.card->fd);
	for (i = 0; i < 500; i++) {
		out(chaos.card, i % 2, (i * 7) % 8, i * 37);
		in(chaos.card, i % 2, (i * 5) % 8);
		ASSERT_EQ(SIZE(2), save(chaos.card->fd, state));
		ASSERT_EQ(0, load(self->two.fd, state, SIZE(2)));
		ASSERT_EQ(0, set(chaos.card->fd, RUNNING));
	}
}

TEST_HARNESS_MAIN
