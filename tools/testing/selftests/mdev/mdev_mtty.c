// SPDX-License-Identifier: GPL-2.0-only
/*
 * samples/mtty.c as user space sees it: a PCI serial card behind VFIO, its
 * registers, its interrupts, and the ports that the types share.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/serial_reg.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"

#define PARENT	MDEV_CLASS "/mtty"
#define SINGLE	"mtty/mtty-1"
#define DUAL	"mtty/mtty-2"

#define INTX	VFIO_PCI_INTX_IRQ_INDEX
#define MSI	VFIO_PCI_MSI_IRQ_INDEX
#define REQ	VFIO_PCI_REQ_IRQ_INDEX
#define MASK	VFIO_IRQ_SET_ACTION_MASK
#define UNMASK	VFIO_IRQ_SET_ACTION_UNMASK
#define TRIG	VFIO_IRQ_SET_ACTION_TRIGGER
#define NONE	VFIO_IRQ_SET_DATA_NONE
#define BOOL	VFIO_IRQ_SET_DATA_BOOL
#define EFD	VFIO_IRQ_SET_DATA_EVENTFD

/* in the FCR, in the IIR if FIFOs are on, and in the LSR */
#define FIFO	UART_FCR_ENABLE_FIFO
#define ON	0xc0
#define IDLE	(UART_LSR_THRE | UART_LSR_TEMT)
#define READY	(UART_LSR_THRE | UART_LSR_TEMT | UART_LSR_DR)
#define NEVER	0xffff	/* divisor: the character timeout takes 22 s */

/* the card under test; each test is a process of its own */
static int dev = -1;
static off_t config, bar[2];
static off_t uart;	/* the port under test: the last of the card */
static int efd, other;	/* eventfds */
static int lost;	/* accesses that failed; the teardown looks */

static int card_open(struct vfio_client *vc, const char *uuid, int ports)
{
	struct vfio_region_info info[3];
	int ret;

	ret = vfio_open(vc, uuid);
	if (ret)
		return ret;
	dev = vc->device;
	ret = vfio_region(dev, 0, &info[0]) ?: vfio_region(dev, 1, &info[1]) ?:
	      vfio_region(dev, VFIO_PCI_CONFIG_REGION_INDEX, &info[2]);
	bar[0] = info[0].offset;
	bar[1] = info[1].offset;
	config = info[2].offset;
	uart = bar[ports - 1];
	return ret;
}

static uint32_t get(off_t where, int size)
{
	uint32_t val = 0;

	lost += vfio_read(dev, &val, size, where) != size;
	return le32toh(val);
}

static void put(off_t where, int size, uint32_t data)
{
	uint32_t val = htole32(data);

	lost += vfio_write(dev, &val, size, where) != size;
}

static void send(int first, int count)
{
	while (count--)
		put(uart + UART_TX, 1, first++ & 0xff);
}

/* are the next bytes these, and no more? */
static bool receives(int first, int count)
{
	bool ok = true;

	while (count--)
		ok &= get(uart + UART_RX, 1) == (first++ & 0xff);
	return ok && get(uart + UART_LSR, 1) == IDLE;
}

static void set_divisor(int divisor)
{
	put(uart + UART_LCR, 1, UART_LCR_DLAB);
	put(uart + UART_DLL, 2, divisor);
	put(uart + UART_LCR, 1, UART_LCR_WLEN8);
}

/* eventfd -1: nothing more is to be signalled */
static int irq_trigger(int index, int32_t fd)
{
	return vfio_set_irqs(dev, TRIG | EFD, index, 0, 1, &fd);
}

static int irq_disable(int index)
{
	return vfio_set_irqs(dev, TRIG | NONE, index, 0, 0, NULL);
}

static int irq_do(int action, int index)
{
	return vfio_set_irqs(dev, action | NONE, index, 0, 1, NULL);
}

static int irq_do_if(int action, int index, bool yes)
{
	int32_t data = yes ? 0x01010101 : 0;

	return vfio_set_irqs(dev, action | BOOL, index, 0, 1, &data);
}

static int efd_new(void)
{
	return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

/* how often was it signalled? All but timers do it before they return. */
static int signals(int fd)
{
	eventfd_t value;

	return eventfd_read(fd, &value) ? 0 : value;
}

/* What a test does to a card, and what it must see. */
struct step {
	enum { END, OUT, IN, COMMAND, DO, SIGNALS } what;
	unsigned char reg;
	int val;
};

#define OUT(reg, val)	{ OUT, UART_##reg, val }
#define IN(reg, val)	{ IN, UART_##reg, val }
#define COMMAND(val)	{ COMMAND, 0, val }	/* of PCI, I/O stays on */
#define DO(action)	{ DO, 0, action }	/* MASK or UNMASK of INTx */
#define SIGNALS(count)	{ SIGNALS, 0, count }	/* of efd */
#define PLAY(...) do {							\
	int failed_at = play((struct step[]){ __VA_ARGS__, {} });	\
	EXPECT_EQ(0, failed_at);					\
} while (0)

/* the first step, from 1, that did not go as it should */
static int play(const struct step *steps)
{
	const struct step *step;
	int val;

	for (step = steps; step->what != END; step++) {
		val = step->val;
		if (step->what == OUT)
			put(uart + step->reg, 1, val);
		if (step->what == IN)
			val = get(uart + step->reg, 1);
		if (step->what == COMMAND)
			put(config + PCI_COMMAND, 2, PCI_COMMAND_IO | val);
		if (step->what == DO && irq_do(val, INTX))
			return step - steps + 1;
		if (step->what == SIGNALS)
			val = signals(efd);
		if (val != step->val) {
			fprintf(stderr, "# %#x instead of %#x\n", val,
				step->val);
			return step - steps + 1;
		}
	}
	return 0;
}

/* one interrupt from beginning to end, which unmasks INTx */
static bool intx_works(int fd)
{
	bool ok;

	put(uart + UART_IER, 1, UART_IER_THRI);
	ok = signals(fd) == 1;
	get(uart + UART_IIR, 1);
	put(uart + UART_IER, 1, 0);
	return !irq_do(UNMASK, INTX) && ok && !signals(fd);
}

/* an open card of each type */

FIXTURE(card) {
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
};

FIXTURE_VARIANT(card) {
	const char *type;
	int ports;
	bool iommufd;
};

FIXTURE_VARIANT_ADD(card, single) { .type = SINGLE, .ports = 1, };
FIXTURE_VARIANT_ADD(card, dual) { .type = DUAL, .ports = 2, };
FIXTURE_VARIANT_ADD(card, cdev) { .type = DUAL, .ports = 2, .iommufd = true, };

FIXTURE_SETUP(card)
{
	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mtty"));
	uuid_next(self->uuid);
	ASSERT_EQ(0, mdev_create(variant->type, self->uuid));
	ASSERT_EQ(0, card_open(&self->vc, self->uuid, variant->ports));
	efd = efd_new();
	other = efd_new();
	ASSERT_LT(efd, other);
}

FIXTURE_TEARDOWN(card)
{
	EXPECT_EQ(0, lost);
	vfio_close(&self->vc);
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(card, region_info)
{
	struct vfio_region_info info;
	uint64_t end = 0;
	char buf[8];
	int i, size;

	for (i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		ASSERT_EQ(0, vfio_region(dev, i, &info));
		size = i < variant->ports ? 8 : 0;
		if (i == VFIO_PCI_CONFIG_REGION_INDEX)
			size = 256;
		EXPECT_EQ(sizeof(info), info.argsz);
		EXPECT_EQ(size, info.size);
		EXPECT_EQ(size ? VFIO_REGION_INFO_FLAG_READ |
				 VFIO_REGION_INFO_FLAG_WRITE : 0, info.flags);
		/* regions do not overlap */
		EXPECT_LE(end, info.offset);
		end = info.offset + info.size;
		EXPECT_EQ(size ? 1 : -EINVAL,
			  vfio_read(dev, buf, 1, info.offset));
		EXPECT_EQ(-EINVAL, vfio_read(dev, buf, 1, end));
		EXPECT_EQ(-EINVAL, vfio_write(dev, buf, 1, end));
		/* not even ports can be mapped */
		EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED,
					   dev, info.offset));
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(-EINVAL, vfio_region(dev, i, &info));
	EXPECT_EQ(-EINVAL, vfio_region(dev, UINT32_MAX, &info));
	/* where the next region would be, and the end of the world */
	EXPECT_EQ(-EINVAL, vfio_read(dev, buf, 1, bar[1] * i));
	EXPECT_EQ(-EINVAL, vfio_read(dev, buf, 1, INT64_MAX));
}

TEST_F(card, irq_info)
{
	/* what the card does not have is there none times */
	static const uint32_t flags[VFIO_PCI_NUM_IRQS + 2] = {
		[INTX] = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE |
			 VFIO_IRQ_INFO_AUTOMASKED,
		[MSI] = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE,
	};
	struct vfio_irq_info info;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		info = (struct vfio_irq_info){ sizeof(info), 0, i, 0 };
		EXPECT_EQ(i < VFIO_PCI_NUM_IRQS ? 0 : -EINVAL,
			  vfio_ioctl(dev, VFIO_DEVICE_GET_IRQ_INFO, &info));
		EXPECT_EQ(flags[i], info.flags);
		EXPECT_EQ(!!flags[i], info.count);
	}
	info.index = UINT32_MAX;
	EXPECT_EQ(-EINVAL, vfio_ioctl(dev, VFIO_DEVICE_GET_IRQ_INFO, &info));
}

TEST_F(card, device_info_and_bad_ioctls)
{
	static const unsigned long cmds[] = {
		VFIO_DEVICE_GET_INFO, VFIO_DEVICE_GET_REGION_INFO,
		VFIO_DEVICE_GET_IRQ_INFO,
	};
	static const uint32_t sizes[] = { 16, 32, 16 };
	struct vfio_device_info info = { .argsz = sizeof(info) };
	uint32_t buf[16];
	unsigned int i;

	ASSERT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET, info.flags);
	EXPECT_EQ(VFIO_PCI_NUM_REGIONS, info.num_regions);
	EXPECT_EQ(VFIO_PCI_NUM_IRQS, info.num_irqs);

	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		memset(buf, 0, sizeof(buf));
		for (; buf[0] < sizes[i]; buf[0]++)
			EXPECT_EQ(-EINVAL, vfio_ioctl(dev, cmds[i], buf));
		EXPECT_EQ(0, vfio_ioctl(dev, cmds[i], buf));
		EXPECT_EQ(-EFAULT, vfio_ioctl(dev, cmds[i], (void *)8));
	}
	EXPECT_EQ(-ENOTTY, vfio_ioctl(dev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
				      buf));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(dev, VFIO_DEVICE_PCI_HOT_RESET, buf));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(dev, 0, NULL));
	EXPECT_EQ(-ENOTTY, vfio_ioctl(dev, UINT32_MAX, NULL));
}

/* each bit of it: what it is after a reset, and whether it can be written */
TEST_F(card, config_space)
{
	static const struct {
		int where;
		uint32_t reset, writable;
	} words[] = {
		{ PCI_VENDOR_ID, 0x32534348 },
		/* I/O is on, there are capabilities; INTx-disable is there */
		{ PCI_COMMAND, 0x00100001, 0x407 },
		/* serial, compatible with a 16550 */
		{ PCI_CLASS_REVISION, 0x07000200 },
		/* I/O, 8 bytes; the second one only on the dual card */
		{ PCI_BASE_ADDRESS_0, 1, 0xfffffff8 },
		{ PCI_BASE_ADDRESS_1, 1, 0xfffffff8 },
		{ PCI_SUBSYSTEM_VENDOR_ID, 0x32534348 },
		{ PCI_CAPABILITY_LIST, 0x40 },
		/* pin A */
		{ PCI_INTERRUPT_LINE, 0x100, 0xff },
		/* MSI, the last capability: one vector, 64 bit address */
		{ 0x40, PCI_CAP_ID_MSI | PCI_MSI_FLAGS_64BIT << 16, 1 << 16 },
		{ 0x40 + PCI_MSI_ADDRESS_LO, 0, 0xfffffffc },
		{ 0x40 + PCI_MSI_ADDRESS_HI, 0, 0xffffffff },
		{ 0x40 + PCI_MSI_DATA_64, 0, 0xffff },
	};
	static const uint32_t patterns[] = {
		UINT32_MAX, 0, 0x5a5a5a5a, 0xa5a5a5a5,
	};
	uint32_t reset[64] = {}, writable[64] = {}, val;
	unsigned int i, j, k, size;

	for (i = 0; i < ARRAY_SIZE(words); i++) {
		if (words[i].where == PCI_BASE_ADDRESS_1 && variant->ports == 1)
			continue;
		reset[words[i].where / 4] = words[i].reset;
		writable[words[i].where / 4] = words[i].writable;
	}
	for (i = 0; i < 64; i++)
		EXPECT_EQ(reset[i], get(config + 4 * i, 4));

	for (j = 0; j < ARRAY_SIZE(patterns); j++) {
		/* with accesses of 1, 2 and 4 bytes */
		size = 1 << j % 3;
		for (i = 0; i < 256; i += size)
			put(config + i, size, patterns[j]);
		for (i = 0; i < 64; i++) {
			val = (reset[i] & ~writable[i]) |
			      (patterns[j] & writable[i]);
			EXPECT_EQ(val, get(config + 4 * i, 4));
			for (k = 0; k < 4; k++)
				EXPECT_EQ(val >> 8 * k & 0xff,
					  get(config + 4 * i + k, 1));
		}
	}
}

TEST_F(card, command_and_status)
{
	/* ports that are not decoded: nobody answers, nobody listens */
	PLAY(OUT(SCR, 0xa5));
	put(config + PCI_COMMAND, 2, 0);
	PLAY(IN(SCR, 0xff), IN(LSR, 0xff), OUT(SCR, 0), COMMAND(0),
	     IN(SCR, 0xa5));
	/* the status tells the level of INTx, whether it can get out or not */
	PLAY(COMMAND(PCI_COMMAND_INTX_DISABLE), OUT(IER, UART_IER_THRI));
	EXPECT_EQ(PCI_STATUS_CAP_LIST | PCI_STATUS_INTERRUPT,
		  get(config + PCI_STATUS, 2));
	PLAY(IN(IIR, UART_IIR_THRI));
	EXPECT_EQ(PCI_STATUS_CAP_LIST, get(config + PCI_STATUS, 2));
}

/* 1 to 8 bytes from anywhere; what is beyond the end is not touched */
TEST_F(card, access_sizes)
{
	off_t starts[] = { config, uart };
	int ends[] = { 256, 8 }, i, size, where, count;
	unsigned char all[256], buf[512];

	/* so that reading a port twice is the same, and writing it back */
	PLAY(OUT(FCR, FIFO), OUT(SCR, 0xa5), OUT(LCR, UART_LCR_DLAB));
	put(uart + UART_DLL, 2, 0x1234);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(ends[i], vfio_read(dev, all, ends[i], starts[i]));
		for (size = 1; size <= 8; size++) {
			for (where = 0; where < ends[i]; where++) {
				count = ends[i] - where;
				count = count < size ? count : size;
				memset(buf, 0xee, sizeof(buf));
				EXPECT_EQ(count, vfio_read(dev, buf, size,
							   starts[i] + where));
				EXPECT_EQ(0, memcmp(all + where, buf, count));
				EXPECT_EQ(0xee, buf[count]);
				EXPECT_EQ(count, vfio_write(dev, buf, size,
							    starts[i] + where));
			}
			where += starts[i];
			EXPECT_EQ(-EINVAL, vfio_read(dev, buf, size, where));
			EXPECT_EQ(-EINVAL, vfio_write(dev, buf, size, where));
		}
		EXPECT_EQ(ends[i], vfio_read(dev, buf, 512, starts[i]));
		EXPECT_EQ(0, memcmp(all, buf, ends[i]));
		EXPECT_EQ(0, vfio_read(dev, buf, 0, starts[i]));
		EXPECT_EQ(-EFAULT, vfio_read(dev, (void *)8, 4, starts[i]));
		EXPECT_EQ(-EFAULT, vfio_write(dev, (void *)8, 4, starts[i]));
		EXPECT_EQ(-EFAULT, vfio_read(dev, NULL, 4, starts[i]));
		EXPECT_EQ(-EFAULT, vfio_write(dev, NULL, 4, starts[i]));
	}
	/* wide accesses are those of the bytes, in order */
	put(uart + UART_LCR, 2, 0x051b);
	PLAY(IN(LCR, 0x1b), IN(MCR, 0x05));
}

/* the ports */

TEST_F(card, registers)
{
	int val;

	PLAY(IN(IER, 0), IN(IIR, 1), IN(LCR, 0), IN(MCR, 0), IN(LSR, IDLE),
	     IN(MSR, 0), IN(RX, 0));
	for (val = 0; val < 256; val++)
		PLAY(OUT(SCR, val), IN(SCR, val), OUT(LCR, val), IN(LCR, val));
	/* bits that do not exist stay clear, these two are read-only */
	PLAY(OUT(LCR, 0), OUT(IER, 0xff), IN(IER, 0xf), OUT(MCR, 0xff),
	     IN(MCR, 0x1f), OUT(LSR, 0xff), IN(LSR, IDLE), OUT(MCR, 0),
	     IN(MSR, 0x0f), OUT(MSR, 0xff), IN(MSR, 0));
	/* the divisor hides two registers, and is hidden by them */
	PLAY(OUT(IER, 8), OUT(LCR, 0x80), OUT(DLL, 0x34), OUT(DLM, 0x12),
	     IN(DLL, 0x34), IN(DLM, 0x12), IN(LSR, IDLE), OUT(LCR, 0),
	     IN(IER, 8), IN(RX, 0), OUT(LCR, 0x80), IN(DLL, 0x34),
	     IN(DLM, 0x12));
}

/* by the plug on the line, and by the loop in the chip */
TEST_F(card, bytes_come_back)
{
	int loop, i;

	for (loop = 0; loop <= UART_MCR_LOOP; loop += UART_MCR_LOOP) {
		PLAY(OUT(MCR, loop), OUT(FCR, 0));
		for (i = 0; i < 256; i++)
			PLAY(OUT(TX, i), IN(LSR, READY), IN(RX, i),
			     IN(LSR, IDLE));
		/* 11 is no divisor of 16: the FIFO wraps around everywhere */
		PLAY(OUT(FCR, FIFO));
		for (i = 0; i < 16; i++) {
			send(i, 11);
			EXPECT_TRUE(receives(i, 11));
		}
	}
}

TEST_F(card, fifo)
{
	set_divisor(NEVER);
	/* nothing else in the FCR counts without the enable bit */
	PLAY(OUT(FCR, UART_FCR_R_TRIG_11), IN(IIR, 1), OUT(FCR, FIFO),
	     IN(IIR, ON | 1));
	/* bytes outlive a new level, but neither a clear nor a switch */
	send(1, 3);
	PLAY(OUT(FCR, FIFO | UART_FCR_R_TRIG_10), IN(RX, 1),
	     OUT(FCR, FIFO | UART_FCR_CLEAR_XMIT), IN(RX, 2),
	     OUT(FCR, FIFO | UART_FCR_CLEAR_RCVR), IN(LSR, IDLE), IN(RX, 0));
	PLAY(OUT(TX, 4), OUT(FCR, 0), IN(LSR, IDLE), IN(IIR, 1),
	     OUT(TX, 5), OUT(FCR, FIFO), IN(LSR, IDLE));
}

TEST_F(card, overrun)
{
	/* a single register keeps the last byte; reading tells it once */
	PLAY(OUT(TX, 1), OUT(TX, 2), IN(LSR, READY | UART_LSR_OE),
	     IN(LSR, READY), IN(RX, 2));
	/* a FIFO keeps the first ones */
	PLAY(OUT(FCR, FIFO));
	send(0, 16);
	PLAY(IN(LSR, READY), OUT(TX, 0x77), IN(LSR, READY | UART_LSR_OE),
	     IN(LSR, READY));
	EXPECT_TRUE(receives(0, 16));
}

/* MCR: LOOP, OUT2, OUT1, RTS, DTR. MSR: DCD, RI, DSR, CTS, and their deltas */
TEST_F(card, modem_lines)
{
	/* by the plug: RTS is CTS; DTR is DSR and DCD; the outputs lead nowhere */
	PLAY(OUT(MCR, 2), IN(MSR, 0x11), IN(MSR, 0x10), OUT(MCR, 1),
	     IN(MSR, 0xab), OUT(MCR, 0xc), IN(MSR, 0x0a));
	/* deltas stay until they are read */
	PLAY(OUT(MCR, 2), OUT(MCR, 0), IN(MSR, 0x01), IN(MSR, 0));
	/* in the chip: each output is one input; of a ring only the end counts */
	PLAY(OUT(MCR, 0x12), IN(MSR, 0x11), OUT(MCR, 0x11), IN(MSR, 0x23),
	     OUT(MCR, 0x18), IN(MSR, 0x8a), OUT(MCR, 0x14), IN(MSR, 0x48),
	     OUT(MCR, 0x10), IN(MSR, 0x04), IN(MSR, 0));
}

TEST_F(card, trigger_levels)
{
	static const int levels[] = { 1, 4, 8, 14 };
	int i, sent;

	set_divisor(NEVER);
	PLAY(OUT(IER, UART_IER_RDI));
	for (i = 0; i < 4; i++) {
		PLAY(OUT(FCR, FIFO | i << 6));
		for (sent = 1; sent < levels[i]; sent++)
			PLAY(OUT(TX, sent), IN(IIR, ON | 1));
		PLAY(OUT(TX, sent), IN(IIR, ON | UART_IIR_RDI), IN(RX, 1),
		     IN(IIR, ON | 1));
		EXPECT_TRUE(receives(2, levels[i] - 1));
	}
}

TEST_F(card, transmitter_empty)
{
	/* told to who enables it, and after each byte; reading it takes it */
	PLAY(OUT(TX, 1), IN(IIR, 1), OUT(IER, 2), IN(IIR, 2), IN(IIR, 1),
	     OUT(TX, 2), IN(IIR, 2), IN(IIR, 1));
	/* enabled already, and anew */
	PLAY(OUT(IER, 2), IN(IIR, 1), OUT(IER, 0), OUT(IER, 2), IN(IIR, 2));
}

TEST_F(card, priorities)
{
	int i;

	set_divisor(NEVER);
	PLAY(OUT(FCR, FIFO), OUT(MCR, UART_MCR_RTS));
	send(0, 17);
	/* all at once; each goes in its own way, then the next one shows */
	PLAY(IN(IIR, ON | 1), OUT(IER, 0xf), IN(IIR, ON | UART_IIR_RLSI),
	     IN(IIR, ON | UART_IIR_RLSI), IN(LSR, READY | UART_LSR_OE));
	for (i = 0; i < 16; i++)
		PLAY(IN(IIR, ON | UART_IIR_RDI), IN(RX, i));
	PLAY(IN(IIR, ON | UART_IIR_THRI), IN(IIR, ON | UART_IIR_MSI),
	     IN(IIR, ON | UART_IIR_MSI), IN(MSR, 0x11), IN(IIR, ON | 1));

	/* the character timeout comes before the transmitter */
	set_divisor(1);
	PLAY(OUT(FCR, FIFO | UART_FCR_R_TRIG_11), OUT(MCR, 0), OUT(TX, 1));
	sleep_ms(100);
	PLAY(IN(IIR, ON | UART_IIR_RX_TIMEOUT), IN(RX, 1),
	     IN(IIR, ON | UART_IIR_THRI), IN(IIR, ON | UART_IIR_MSI));
}

/* interrupts */

TEST_F(card, intx)
{
	/* what was pending before anybody listened */
	PLAY(OUT(IER, UART_IER_THRI));
	ASSERT_EQ(0, irq_trigger(INTX, efd));
	PLAY(SIGNALS(1));
	/* it is a level: told once, and again only after unmasking */
	PLAY(OUT(TX, 1), OUT(IER, UART_IER_RDI | UART_IER_THRI), SIGNALS(0),
	     DO(UNMASK), SIGNALS(1), IN(RX, 1), DO(UNMASK), SIGNALS(1));
	/* gone; back */
	PLAY(IN(IIR, UART_IIR_THRI), DO(UNMASK), SIGNALS(0),
	     OUT(TX, 2), SIGNALS(1));
	/* the command register can hold it back, but not lose it */
	PLAY(COMMAND(PCI_COMMAND_INTX_DISABLE), DO(UNMASK), SIGNALS(0),
	     COMMAND(0), SIGNALS(1));
}

TEST_F(card, intx_mask)
{
	ASSERT_EQ(0, irq_trigger(INTX, efd));
	PLAY(DO(MASK), OUT(IER, UART_IER_THRI), SIGNALS(0));
	/* another eventfd changes nothing about the mask */
	ASSERT_EQ(0, irq_trigger(INTX, other));
	EXPECT_EQ(0, signals(other));
	EXPECT_EQ(0, irq_do(UNMASK, INTX));
	EXPECT_EQ(1, signals(other));
	ASSERT_EQ(0, irq_trigger(INTX, efd));
	/* a boolean says whether to do it at all */
	EXPECT_EQ(0, irq_do_if(UNMASK, INTX, false));
	PLAY(SIGNALS(0));
	EXPECT_EQ(0, irq_do_if(UNMASK, INTX, true));
	PLAY(SIGNALS(1), IN(IIR, UART_IIR_THRI), OUT(IER, 0), DO(UNMASK));
	EXPECT_EQ(0, irq_do_if(MASK, INTX, false));
	EXPECT_TRUE(intx_works(efd));
	EXPECT_EQ(0, irq_do_if(MASK, INTX, true));
	EXPECT_FALSE(intx_works(efd));
	EXPECT_TRUE(intx_works(efd));
}

TEST_F(card, msi)
{
	ASSERT_EQ(0, irq_trigger(MSI, efd));
	/* an edge, whatever the command register says about INTx */
	PLAY(COMMAND(PCI_COMMAND_INTX_DISABLE), SIGNALS(0),
	     OUT(IER, UART_IER_RDI | UART_IER_THRI), SIGNALS(1));
	/* nothing more while something is there */
	PLAY(OUT(TX, 1), IN(RX, 1), SIGNALS(0), IN(IIR, UART_IIR_THRI),
	     SIGNALS(0));
	/* and the next edges need no unmasking */
	PLAY(OUT(TX, 2), SIGNALS(1), IN(RX, 2), IN(IIR, UART_IIR_THRI),
	     OUT(TX, 3), SIGNALS(1));
}

TEST_F(card, character_timeout)
{
	int index;
	long start;

	for (index = INTX; index <= MSI; index++) {
		ASSERT_EQ(0, irq_trigger(index, efd));
		/* four characters take 200 ms */
		set_divisor(576);
		PLAY(OUT(FCR, FIFO | UART_FCR_R_TRIG_10), OUT(IER, 1));
		start = now_ms();
		send(1, 7);
		EXPECT_TRUE(eventfd_fired(efd, WAIT_MS));
		EXPECT_LE(190, now_ms() - start);
		/* one byte read: the time runs anew for the others */
		PLAY(IN(IIR, ON | UART_IIR_RX_TIMEOUT), IN(RX, 1),
		     IN(IIR, ON | 1));
		if (index == INTX)
			EXPECT_EQ(0, irq_do(UNMASK, INTX));
		EXPECT_TRUE(eventfd_fired(efd, WAIT_MS));
		/* an empty FIFO waits for nothing */
		EXPECT_TRUE(receives(2, 6));
		send(1, 1);
		PLAY(OUT(FCR, FIFO | UART_FCR_CLEAR_RCVR));
		if (index == INTX)
			EXPECT_EQ(0, irq_do(UNMASK, INTX));
		EXPECT_FALSE(eventfd_fired(efd, 300));
		ASSERT_EQ(0, irq_disable(index));
	}
}

TEST_F(card, intx_or_msi)
{
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, irq_trigger(INTX, efd));
		EXPECT_EQ(-EINVAL, irq_trigger(MSI, other));
		EXPECT_TRUE(intx_works(efd));
		/* off twice is no error; -1 is as good; the mask goes, too */
		EXPECT_EQ(0, irq_do(MASK, INTX));
		EXPECT_EQ(0, i ? irq_disable(INTX) : irq_trigger(INTX, -1));
		EXPECT_EQ(0, irq_disable(INTX));
		PLAY(OUT(IER, UART_IER_THRI), IN(IIR, UART_IIR_THRI));

		ASSERT_EQ(0, irq_trigger(MSI, other));
		EXPECT_EQ(-EINVAL, irq_trigger(INTX, efd));
		PLAY(OUT(TX, 1), IN(IIR, UART_IIR_THRI), OUT(IER, 0));
		EXPECT_EQ(1, signals(other));
		EXPECT_EQ(0, i ? irq_disable(MSI) : irq_trigger(MSI, -1));
		EXPECT_EQ(0, irq_disable(MSI));
		EXPECT_EQ(0, signals(efd));
	}
}

/* users test their own side without an interrupt */
TEST_F(card, trigger_by_hand)
{
	int index;

	for (index = INTX; index <= MSI; index++) {
		/* there is nothing to signal or to mask yet */
		EXPECT_EQ(-EINVAL, irq_do(TRIG, index));
		EXPECT_EQ(-EINVAL, irq_do(MASK, INTX));
		EXPECT_EQ(-EINVAL, irq_do(UNMASK, INTX));

		ASSERT_EQ(0, irq_trigger(index, efd));
		EXPECT_EQ(0, irq_do(TRIG, index));
		EXPECT_EQ(1, signals(efd));
		EXPECT_EQ(0, irq_do_if(TRIG, index, true));
		EXPECT_EQ(1, signals(efd));
		EXPECT_EQ(0, irq_do_if(TRIG, index, false));
		ASSERT_EQ(0, irq_disable(index));
		EXPECT_EQ(-EINVAL, irq_do(TRIG, index));
		EXPECT_EQ(0, signals(efd));
	}
}

TEST_F(card, set_irqs_refused)
{
	enum { FD = TRIG | EFD, NO = TRIG | NONE };
	/* error 0: EINVAL; fd 0: a good one; argsz 0: enough for it */
	static const struct {
		uint32_t flags, index, start, count;
		int32_t fd;
		uint32_t argsz;
		int error;
	} bad[] = {
		/* too small: for the header, for the data */
		{ NO, INTX, 0, 1, 0, 1 }, { NO, INTX, 0, 0, 0, 19 },
		{ FD, INTX, 0, 1, 0, 20 }, { FD, INTX, 0, 1, 0, 23 },
		{ TRIG | BOOL, INTX, 0, 1, 0, 20 },
		/* flags: missing, unknown, too many */
		{ 0, INTX, 0, 1 }, { TRIG, INTX, 0, 1 }, { EFD, INTX, 0, 1 },
		{ FD | 1 << 6, INTX, 0, 1 }, { FD | 1U << 31, INTX, 0, 1 },
		{ -1, INTX, 0, 1 }, { FD | NONE, INTX, 0, 1 },
		{ FD | BOOL, INTX, 0, 1 }, { NO | BOOL, INTX, 0, 0 },
		{ FD | MASK, INTX, 0, 1 }, { NO | UNMASK, INTX, 0, 1 },
		{ MASK | UNMASK | NONE, INTX, 0, 1 },
		/* index */
		{ FD, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1 }, { FD, REQ, 0, 1 },
		{ FD, VFIO_PCI_ERR_IRQ_INDEX, 0, 1 }, { NO, REQ, 0, 0 },
		{ FD, VFIO_PCI_NUM_IRQS, 0, 1 }, { FD, -1, 0, 1 },
		{ NO, -1, 0, 0 },
		/* start and count, also where their sum or size overflows */
		{ FD, INTX, 1, 1 }, { FD, INTX, 0, 2 }, { FD, INTX, -1, 1 },
		{ FD, INTX, -1, 2 }, { FD, INTX, 1, -1 }, { NO, INTX, 0, -1 },
		{ FD, INTX, 0, 1 << 30 }, { FD, INTX, 0, 1 << 30 | 1 },
		{ TRIG | BOOL, INTX, 0, -1 }, { NO, INTX, 1, 0 },
		{ NO, INTX, -1, 0 },
		/* none of something */
		{ FD, INTX, 0, 0 }, { TRIG | BOOL, INTX, 0, 0 },
		{ MASK | NONE, INTX, 0, 0 }, { UNMASK | NONE, INTX, 0, 0 },
		/* INTx is on; a fd of something else, no fd */
		{ FD, MSI, 0, 1 }, { FD, INTX, 0, 1, STDOUT_FILENO },
		{ FD, INTX, 0, 1, 9999, 0, EBADF },
		{ FD, INTX, 0, 1, -2, 0, EBADF },
		{ FD, INTX, 0, 1, INT32_MIN, 0, EBADF },
		/* not offered */
		{ MASK | EFD, INTX, 0, 1, 0, 0, ENOTTY },
		{ MASK | NONE, MSI, 0, 1, 0, 0, ENOTTY },
		{ UNMASK | BOOL, MSI, 0, 1, 0, 0, ENOTTY },
	};
	struct vfio_irq_set *set;
	unsigned int i;
	char *pages;

	pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, munmap(pages + PAGE, PAGE));
	ASSERT_EQ(0, irq_trigger(INTX, efd));

	set = (void *)pages;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		int32_t fd = bad[i].fd ?: other;

		*set = (struct vfio_irq_set) {
			bad[i].argsz ?: sizeof(*set) + sizeof(fd),
			bad[i].flags, bad[i].index, bad[i].start, bad[i].count,
		};
		memcpy(set->data, &fd, sizeof(fd));
		EXPECT_EQ(-(bad[i].error ?: EINVAL),
			  vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, set)) {
			TH_LOG("row %u", i);
		}
		EXPECT_TRUE(intx_works(efd)) {
			TH_LOG("after row %u", i);
		}
	}
	EXPECT_EQ(0, signals(other));

	/* a header, or data, that cannot be read; one that needs no data */
	EXPECT_EQ(-EFAULT, vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, NULL));
	set = (void *)(pages + PAGE - sizeof(*set));
	*set = (struct vfio_irq_set) { 24, TRIG | EFD, INTX, 0, 1 };
	EXPECT_EQ(-EFAULT, vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, set));
	set->flags = TRIG | BOOL;
	EXPECT_EQ(-EFAULT, vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, set));
	EXPECT_TRUE(intx_works(efd));
	set->flags = TRIG | NONE;
	EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, set));
	EXPECT_EQ(1, signals(efd));
}

/* resets */

/* change all there is; 14 bytes wait for their timeout of 100 ms */
static void card_spoil(void)
{
	put(config + PCI_COMMAND, 1, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	put(config + PCI_BASE_ADDRESS_0, 4, 0xc000);
	put(config + PCI_INTERRUPT_LINE, 1, 11);
	put(config + 0x40 + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE);
	set_divisor(288);
	play((struct step[]){
		OUT(SCR, 0xa5), OUT(MCR, UART_MCR_RTS | UART_MCR_LOOP),
		OUT(FCR, FIFO | UART_FCR_R_TRIG_11), {}
	});
	send(0, 17);
	get(uart + UART_RX, 1);
	get(uart + UART_RX, 1);
	put(uart + UART_IER, 1, 0xf);
}

/* 0 if all registers are as after a reset, but LCR at the end */
static int uart_spoiled(void)
{
	return play((struct step[]){
		IN(RX, 0), IN(IER, 0), IN(IIR, 1), IN(LCR, 0), IN(MCR, 0),
		IN(LSR, IDLE), IN(MSR, 0), IN(SCR, 0), OUT(LCR, UART_LCR_DLAB),
		IN(DLL, 0), IN(DLM, 0), OUT(LCR, 0), {}
	});
}

static bool config_spoiled(const void *before)
{
	char now[256];

	return vfio_read(dev, now, 256, config) != 256 ||
	       memcmp(now, before, 256);
}

TEST_F(card, reset)
{
	char before[256];

	ASSERT_EQ(256, vfio_read(dev, before, 256, config));
	ASSERT_EQ(0, irq_trigger(INTX, efd));
	card_spoil();
	EXPECT_EQ(1, signals(efd));
	EXPECT_TRUE(config_spoiled(before));
	EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL));
	EXPECT_FALSE(config_spoiled(before));
	EXPECT_EQ(0, uart_spoiled());
	/* the card was reset, not how one listens to it */
	EXPECT_EQ(0, irq_do(UNMASK, INTX));
	EXPECT_EQ(0, signals(efd));
	EXPECT_TRUE(intx_works(efd));
	/* no timeout of bytes that are gone */
	PLAY(OUT(FCR, FIFO), OUT(IER, UART_IER_RDI));
	EXPECT_FALSE(eventfd_fired(efd, 200));
}

TEST_F(card, reopen)
{
	char before[256];
	int i;

	ASSERT_EQ(256, vfio_read(dev, before, 256, config));
	for (i = 0; i < 5; i++) {
		/* closed while masked, pending, and with a timer running */
		ASSERT_EQ(0, irq_trigger(INTX, efd));
		card_spoil();
		EXPECT_EQ(1, signals(efd));
		vfio_close(&self->vc);
		/* a timer must not outlive its card either */
		if (i % 2) {
			ASSERT_EQ(0, mdev_remove(self->uuid));
			ASSERT_EQ(0, mdev_create(variant->type, self->uuid));
		}
		ASSERT_EQ(0, card_open(&self->vc, self->uuid, variant->ports));
		EXPECT_FALSE(config_spoiled(before));
		EXPECT_EQ(0, uart_spoiled());
		/* nobody listens any more, so MSI is free, INTx not masked */
		PLAY(OUT(IER, UART_IER_THRI), IN(IIR, UART_IIR_THRI),
		     OUT(IER, 0));
		ASSERT_EQ(0, irq_trigger(MSI, other));
		ASSERT_EQ(0, irq_disable(MSI));
		EXPECT_EQ(0, signals(efd));
		ASSERT_EQ(0, irq_trigger(INTX, other));
		EXPECT_TRUE(intx_works(other));
	}
	EXPECT_FALSE(eventfd_fired(efd, 200));
}

/* registers, interrupts and resets from all sides at once, for a while */
static void *storm(void *role)
{
	long end = now_ms() + 500;
	int i, fd = efd_new();

	for (i = 0; now_ms() < end; i++) {
		switch ((long)role) {
		case 0:
			vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL);
			sleep_ms(1);
			break;
		case 1:
			irq_trigger(i % 2, fd);
			irq_do(UNMASK, INTX);
			irq_disable(i % 2);
			break;
		default:
			put(uart + i % 8, 1, i);
			get(uart + i / 3 % 8, 1);
			put(uart + UART_IER, 1, 0xf);
		}
	}
	close(fd);
	return NULL;
}

TEST_F(card, storm)
{
	static const long roles[] = { 0, 1, 1, 2, 2 };
	pthread_t threads[ARRAY_SIZE(roles)];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(roles); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, storm,
					    (void *)roles[i]));
	for (i = 0; i < ARRAY_SIZE(roles); i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL));
	EXPECT_EQ(0, uart_spoiled());
	ASSERT_EQ(0, irq_trigger(INTX, efd));
	EXPECT_TRUE(intx_works(efd));
}

/* the driver: parents, types, and the ports they share */

FIXTURE(driver) {
	char uuid[8][UUID_LEN + 1];
	struct vfio_client vc;
};

FIXTURE_VARIANT(driver) {
	bool iommufd;
};

FIXTURE_VARIANT_ADD(driver, group) {
	.iommufd = false,
};

FIXTURE_VARIANT_ADD(driver, cdev) {
	.iommufd = true,
};

FIXTURE_SETUP(driver)
{
	int i;

	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	ASSERT_EQ(0, vendors_reset());
	for (i = 0; i < 8; i++)
		uuid_next(self->uuid[i]);
	self->vc = (struct vfio_client) { -1, -1, -1, .device = -1 };
	efd = efd_new();
	other = efd_new();
	ASSERT_LT(efd, other);
}

FIXTURE_TEARDOWN(driver)
{
	EXPECT_EQ(0, lost);
	vfio_close(&self->vc);
	EXPECT_EQ(0, vendors_reset());
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F(driver, attributes)
{
	static const char * const types[] = { "mtty-1", "mtty-2" };
	static const char * const names[] = {
		"Single port serial", "Dual port serial",
	};
	const char *dir = PARENT "/mdev_supported_types";
	char buf[64];
	int i;

	ASSERT_EQ(0, module_load("mtty"));
	EXPECT_EQ(24, file_read_int(PARENT "/max_ports"));
	EXPECT_EQ(0444, file_mode(PARENT "/max_ports"));
	EXPECT_EQ(2, dir_count(dir));
	for (i = 0; i < 2; i++) {
		file_read(buf, sizeof(buf), "%s/%s/name", dir, types[i]);
		EXPECT_STREQ(names[i], buf);
		file_read(buf, sizeof(buf), "%s/%s/device_api", dir, types[i]);
		EXPECT_STREQ("vfio-pci", buf);
		file_read(buf, sizeof(buf), "%s/%s/description", dir, types[i]);
		EXPECT_EQ(i ? '2' : '1', buf[strlen(buf) - 1]);
		EXPECT_EQ(i ? 12 : 24, mdev_available(i ? DUAL : SINGLE));
	}
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, mdev_create(i ? DUAL : SINGLE, self->uuid[i]));
		EXPECT_EQ(i + 1, file_read_int(MDEV_DEVICES "/%s/vendor/ports",
					       self->uuid[i]));
		EXPECT_EQ(0444, file_mode(MDEV_DEVICES "/%s/vendor/ports",
					  self->uuid[i]));
	}
}

/* each type says how many more of it there can be, whoever took the others */
TEST_F(driver, quota)
{
	static const struct {
		const char *type;	/* NULL: remove */
		int device, ret, singles, duals;
	} steps[] = {
		{ DUAL, 0, 0, 3, 1 }, { SINGLE, 1, 0, 2, 1 },
		{ SINGLE, 2, 0, 1, 0 }, { DUAL, 3, -EUSERS, 1, 0 },
		{ SINGLE, 3, 0, 0, 0 }, { SINGLE, 4, -EUSERS, 0, 0 },
		{ DUAL, 4, -EUSERS, 0, 0 }, { NULL, 1, 0, 1, 0 },
		{ DUAL, 4, -EUSERS, 1, 0 }, { NULL, 3, 0, 2, 1 },
		{ DUAL, 4, 0, 0, 0 }, { NULL, 0, 0, 2, 1 },
		{ NULL, 4, 0, 4, 2 }, { NULL, 2, 0, 5, 2 },
	};
	unsigned int i;

	ASSERT_EQ(0, module_load("mtty max_ports=5"));
	EXPECT_EQ(5, file_read_int(PARENT "/max_ports"));
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		const char *uuid = self->uuid[steps[i].device];

		EXPECT_EQ(steps[i].ret, steps[i].type ?
			  mdev_create(steps[i].type, uuid) : mdev_remove(uuid));
		EXPECT_EQ(steps[i].singles, mdev_available(SINGLE));
		EXPECT_EQ(steps[i].duals, mdev_available(DUAL));
	}
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
}

TEST_F(driver, parameters)
{
	EXPECT_EQ(-EINVAL, module_load("mtty max_ports=-1"));
	EXPECT_EQ(-EINVAL, module_load("mtty parents=0"));
	EXPECT_EQ(-EINVAL, module_load("mtty parents=17"));
	EXPECT_FALSE(file_exists("/sys/class/mtty"));
	ASSERT_EQ(0, module_load("mtty max_ports=0"));
	EXPECT_EQ(0, mdev_available(SINGLE));
	EXPECT_EQ(-EUSERS, mdev_create(SINGLE, self->uuid[0]));
	ASSERT_EQ(0, vendors_reset());
	ASSERT_EQ(0, module_load("mtty parents=16"));
	EXPECT_EQ(16, dir_count(MDEV_CLASS));
}

/* ports in all devices there are */
static int ports_taken(void)
{
	struct dirent *de;
	int sum = 0;
	DIR *dir;

	dir = opendir(MDEV_DEVICES);
	while (dir && (de = readdir(dir)))
		if (de->d_name[0] != '.')
			sum += file_read_int(MDEV_DEVICES "/%s/vendor/ports",
					     de->d_name);
	if (dir)
		closedir(dir);
	return sum;
}

/* a child that creates both types in turn, a single at last; 0 or a surprise */
static pid_t creator_start(int gate, int count, bool remove)
{
	pid_t pid = fork_child();
	char uuid[UUID_LEN + 1];
	int ret = 0;

	if (pid)
		return pid;
	if (read(gate, uuid, 1) != 1)
		child_exit(-EIO);
	while (count-- && !ret) {
		uuid_next(uuid);
		ret = mdev_create(count % 2 ? DUAL : SINGLE, uuid);
		if (!ret && remove)
			ret = mdev_remove(uuid);
		if (ret == -EUSERS)
			ret = 0;
	}
	child_exit(ret);
}

TEST_F(driver, quota_concurrent)
{
	int gate[2], remove, i, left;
	pid_t pids[8];

	ASSERT_EQ(0, module_load("mtty max_ports=9"));
	ASSERT_EQ(0, pipe(gate));
	/* first all come and go, then all stay */
	for (remove = 1; remove >= 0; remove--) {
		for (i = 0; i < 8; i++) {
			pids[i] = creator_start(gate[0], remove ? 20 : 6,
						remove);
			ASSERT_LT(0, pids[i]);
		}
		ASSERT_EQ(8, write(gate[1], "allatonc", 8));
		while (child_running(pids[0])) {
			left = mdev_available(SINGLE);
			EXPECT_TRUE(left >= 0 && left <= 9);
			sleep_ms(1);
		}
		for (i = 0; i < 8; i++)
			EXPECT_EQ(0, child_wait(pids[i]));
		EXPECT_EQ(remove ? 0 : 9, ports_taken());
		EXPECT_EQ(remove ? 9 : 0, mdev_available(SINGLE));
		EXPECT_EQ(remove ? 4 : 0, mdev_available(DUAL));
	}
}

TEST_F(driver, parents)
{
	char parent[16], type[32], buf[32];
	int i, j;

	ASSERT_EQ(0, module_load("mtty parents=3 max_ports=2"));
	EXPECT_EQ(3, dir_count(MDEV_CLASS));
	for (i = 0; i < 3; i++) {
		snprintf(parent, sizeof(parent), "mtty%d", i);
		snprintf(type, sizeof(type), "%s/mtty-2", parent);
		EXPECT_EQ(2, file_read_int(MDEV_CLASS "/%s/max_ports", parent));
		ASSERT_EQ(0, mdev_create(type, self->uuid[i]));
		EXPECT_EQ(-EUSERS, mdev_create(type, self->uuid[7]));
		EXPECT_EQ(0, link_base(buf, sizeof(buf), MDEV_DEVICES "/%s/..",
				       self->uuid[i]));
		EXPECT_STREQ(parent, buf);
		/* nobody else's ports are gone */
		for (j = 0; j < 3; j++) {
			snprintf(type, sizeof(type), "mtty%d/mtty-1", j);
			EXPECT_EQ(j <= i ? 0 : 2, mdev_available(type));
		}
	}
	/* given back to whom they belong */
	EXPECT_EQ(0, mdev_remove(self->uuid[1]));
	EXPECT_EQ(0, mdev_available("mtty0/mtty-1"));
	EXPECT_EQ(2, mdev_available("mtty1/mtty-1"));
	EXPECT_EQ(0, mdev_available("mtty2/mtty-1"));
	EXPECT_EQ(0, module_unload("mtty"));
	EXPECT_EQ(0, dir_count(MDEV_CLASS));
}

TEST_F(driver, unload)
{
	int i;

	ASSERT_EQ(0, module_load("mtty"));
	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, mdev_create(i % 2 ? DUAL : SINGLE, self->uuid[i]));
	ASSERT_EQ(0, card_open(&self->vc, self->uuid[0], 1));
	EXPECT_EQ(-EAGAIN, module_unload("mtty"));
	EXPECT_EQ(8, dir_count(MDEV_DEVICES));
	EXPECT_EQ(-EBUSY, mdev_remove(self->uuid[0]));
	ASSERT_EQ(0, irq_trigger(INTX, efd));
	EXPECT_TRUE(intx_works(efd));
	/* devices that nobody uses are no obstacle */
	vfio_close(&self->vc);
	EXPECT_EQ(0, module_unload("mtty"));
	EXPECT_EQ(0, dir_count(MDEV_DEVICES));
	EXPECT_FALSE(file_exists("/sys/class/mtty"));
}

/* ports know nothing of each other, on one card or on two */
TEST_F(driver, ports_are_independent)
{
	struct vfio_client second;
	off_t ports[3];
	int fds[3], i, j;

	ASSERT_EQ(0, module_load("mtty"));
	ASSERT_EQ(0, mdev_create(SINGLE, self->uuid[0]));
	ASSERT_EQ(0, mdev_create(DUAL, self->uuid[1]));
	ASSERT_EQ(0, card_open(&second, self->uuid[0], 1));
	fds[2] = dev;
	ports[2] = bar[0];
	ASSERT_EQ(0, card_open(&self->vc, self->uuid[1], 2));
	for (i = 0; i < 2; i++) {
		fds[i] = dev;
		ports[i] = bar[i];
	}
	for (i = 0; i < 3; i++) {
		dev = fds[i];
		uart = ports[i];
		card_spoil();
		for (j = 0; j < 3; j++) {
			dev = fds[j];
			uart = ports[j];
			if (j != i)
				EXPECT_EQ(0, uart_spoiled());
		}
		dev = fds[i];
		EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL));
	}
	vfio_close(&second);
}

/* but the ports of a card share its interrupt */
TEST_F(driver, ports_share_interrupt)
{
	ASSERT_EQ(0, module_load("mtty"));
	ASSERT_EQ(0, mdev_create(DUAL, self->uuid[0]));
	ASSERT_EQ(0, card_open(&self->vc, self->uuid[0], 2));
	ASSERT_EQ(0, irq_trigger(INTX, efd));
	PLAY(OUT(IER, UART_IER_THRI), SIGNALS(1));
	uart = bar[0];
	PLAY(OUT(IER, UART_IER_THRI), SIGNALS(0), IN(IIR, UART_IIR_THRI),
	     IN(IIR, 1), DO(UNMASK), SIGNALS(1));
	uart = bar[1];
	PLAY(IN(IIR, UART_IIR_THRI), DO(UNMASK), SIGNALS(0));
}

/* cards that can be unplugged: an open one tells its user */

/* the child gets our fds, and must not keep the card open by them */
static pid_t remover_start(struct vfio_client *vc, const char *uuid)
{
	pid_t pid = fork_child();

	if (!pid) {
		vfio_close(vc);
		child_exit(mdev_remove(uuid));
	}
	return pid;
}

TEST_F(driver, unplug)
{
	pid_t remover;
	int req = efd_new();

	ASSERT_EQ(0, module_load("mtty unplug=1"));
	ASSERT_EQ(0, mdev_create(DUAL, self->uuid[0]));
	ASSERT_EQ(0, card_open(&self->vc, self->uuid[0], 2));
	ASSERT_EQ(0, irq_trigger(REQ, req));
	remover = remover_start(&self->vc, self->uuid[0]);
	EXPECT_TRUE(eventfd_fired(req, WAIT_MS));
	/* the card works until its user lets it go */
	EXPECT_TRUE(child_running(remover));
	ASSERT_EQ(0, irq_trigger(INTX, efd));
	EXPECT_TRUE(intx_works(efd));
	vfio_close(&self->vc);
	EXPECT_EQ(0, child_wait(remover));
	EXPECT_FALSE(mdev_exists(self->uuid[0]));
	EXPECT_EQ(12, mdev_available(DUAL));
}

TEST_F(driver, unplug_nobody_listens)
{
	int kmsg = kmsg_open();
	pid_t remover;

	ASSERT_LE(0, kmsg);
	ASSERT_EQ(0, module_load("mtty unplug=1"));
	ASSERT_EQ(0, mdev_create(SINGLE, self->uuid[0]));
	ASSERT_EQ(0, card_open(&self->vc, self->uuid[0], 1));
	remover = remover_start(&self->vc, self->uuid[0]);
	EXPECT_TRUE(kmsg_find(kmsg, self->uuid[0], "does not listen"));
	close(kmsg);
	EXPECT_TRUE(child_running(remover));
	vfio_close(&self->vc);
	EXPECT_EQ(0, child_wait(remover));
}

/* REQ is an index of its own, not a third kind of interrupt */
TEST_F(driver, unplug_index)
{
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = REQ };
	int req = efd_new();

	ASSERT_EQ(0, module_load("mtty unplug=1"));
	ASSERT_EQ(0, mdev_create(SINGLE, self->uuid[0]));
	ASSERT_EQ(0, card_open(&self->vc, self->uuid[0], 1));
	ASSERT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_GET_IRQ_INFO, &info));
	EXPECT_EQ(1, info.count);
	EXPECT_EQ(VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE, info.flags);

	EXPECT_EQ(-EINVAL, irq_do(TRIG, REQ));
	ASSERT_EQ(0, irq_trigger(INTX, efd));
	ASSERT_EQ(0, irq_trigger(REQ, req));
	EXPECT_EQ(-ENOTTY, irq_do(MASK, REQ));
	EXPECT_EQ(0, vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL));
	EXPECT_EQ(0, irq_do(TRIG, REQ));
	EXPECT_EQ(1, signals(req));
	EXPECT_TRUE(intx_works(efd));
	EXPECT_EQ(0, irq_disable(INTX));
	ASSERT_EQ(0, irq_trigger(MSI, efd));
	EXPECT_EQ(0, irq_disable(REQ));
	EXPECT_EQ(-EINVAL, irq_do(TRIG, REQ));
	EXPECT_EQ(0, signals(req));
}

TEST_HARNESS_MAIN
