// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VFIO client for the demo: what a VMM does with a mediated device, by hand.
 *
 *   demo_client info UUID        open it, say what it is
 *   demo_client echo UUID TEXT   send TEXT through its serial port and read it
 *   demo_client irq UUID         have it send an interrupt
 *   demo_client hold UUID        keep it open until killed
 *
 * Exits with 0 if the device did what it should, or with 1 and a reason. How a
 * device is opened is in vfio_attach() of mdev_util.c.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/serial_reg.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>

#include "mdev_util.h"

static const char usage[] =
	"usage: demo_client info UUID\n"
	"       demo_client echo UUID TEXT\n"
	"       demo_client irq UUID\n"
	"       demo_client hold UUID\n";

#define FIFO_SIZE	16

static struct vfio_client vc;
static off_t port;	/* where the port's registers are in the device's fd */

/* must(): end if @ret is a negative errno. */
static int must(int ret, const char *what)
{
	if (ret < 0)
		errx(1, "%s: %s", what, strerror(-ret));
	return ret;
}

/* ---- info ---- */

/* Flags by name, from bit 0 on. */
static void print_flags(uint32_t flags, const char * const *names, size_t count)
{
	const char *comma = "";
	size_t i;

	for (i = 0; i < count; i++) {
		if (!(flags & 1U << i))
			continue;
		printf("%s%s", comma, names[i]);
		comma = ", ";
	}
	printf("\n");
}

static const char *path_of(int fd)
{
	static char path[PATH_MAX];
	char link[32];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	path[len < 0 ? 0 : len] = '\0';
	return path;
}

static void print_fds(void)
{
	struct vfio_iommu_type1_info iommu = { .argsz = sizeof(iommu) };
	struct vfio_group_status group = { .argsz = sizeof(group) };
	static const char * const names[] = { "viable", "in the container" };
	int version;

	version = must(vfio_ioctl(vc.container, VFIO_GET_API_VERSION, NULL),
		       "VFIO_GET_API_VERSION");
	must(vfio_ioctl(vc.container, VFIO_IOMMU_GET_INFO, &iommu),
	     "VFIO_IOMMU_GET_INFO");
	printf("container  fd %d  %-25s API %d, type1, pages from %llu\n",
	       vc.container, path_of(vc.container), version,
	       iommu.iova_pgsizes & -iommu.iova_pgsizes);

	must(vfio_ioctl(vc.group, VFIO_GROUP_GET_STATUS, &group),
	     "VFIO_GROUP_GET_STATUS");
	printf("group      fd %d  %-25s ", vc.group, path_of(vc.group));
	print_flags(group.flags, names, ARRAY_SIZE(names));
}

static void print_regions(unsigned int count)
{
	static const char * const names[] = {
		"BAR 0", "BAR 1", "BAR 2", "BAR 3", "BAR 4", "BAR 5", "ROM",
		"config", "VGA",
	};
	static const char * const flags[] = { "read", "write", "mmap" };
	struct vfio_region_info info;
	unsigned int empty = 0;
	unsigned int i;

	printf("\nregion     size  offset in fd   flags\n");
	for (i = 0; i < count; i++) {
		must(vfio_region(vc.device, i, &info),
		     "VFIO_DEVICE_GET_REGION_INFO");
		if (!info.size) {
			empty++;
			continue;
		}
		printf("%u %-6s %6llu  0x%-12llx ", i,
		       i < ARRAY_SIZE(names) ? names[i] : "?", info.size,
		       info.offset);
		print_flags(info.flags, flags, ARRAY_SIZE(flags));
	}
	printf("(%u more are empty)\n", empty);
}

static void print_irqs(unsigned int count)
{
	static const char * const names[] = {
		"INTx", "MSI", "MSI-X", "error", "request",
	};
	static const char * const flags[] = {
		"eventfd", "maskable", "automasked", "noresize",
	};
	unsigned int absent = 0;
	unsigned int i;

	printf("\ninterrupt count                flags\n");
	for (i = 0; i < count; i++) {
		struct vfio_irq_info info = { .argsz = sizeof(info), .index = i };

		/* a device may refuse to talk about those it has not */
		if (vfio_ioctl(vc.device, VFIO_DEVICE_GET_IRQ_INFO, &info) ||
		    !info.count) {
			absent++;
			continue;
		}
		printf("%u %-7s %5u                ", i,
		       i < ARRAY_SIZE(names) ? names[i] : "?", info.count);
		print_flags(info.flags, flags, ARRAY_SIZE(flags));
	}
	printf("(%u more are not there)\n", absent);
}

static void do_info(void)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	static const char * const names[] = { "reset", "PCI" };
	struct vfio_region_info config;
	uint8_t id[16];

	print_fds();
	must(vfio_ioctl(vc.device, VFIO_DEVICE_GET_INFO, &info),
	     "VFIO_DEVICE_GET_INFO");
	printf("device     fd %d  %-25s ", vc.device, path_of(vc.device));
	print_flags(info.flags, names, ARRAY_SIZE(names));
	print_regions(info.num_regions);
	print_irqs(info.num_irqs);

	must(vfio_region(vc.device, VFIO_PCI_CONFIG_REGION_INDEX, &config),
	     "config space");
	if (must(vfio_read(vc.device, id, sizeof(id), config.offset),
		 "config space") != sizeof(id))
		errx(1, "config space: short read");
	printf("\nPCI vendor:device %02x%02x:%02x%02x, class %02x%02x%02x\n",
	       id[PCI_VENDOR_ID + 1], id[PCI_VENDOR_ID],
	       id[PCI_DEVICE_ID + 1], id[PCI_DEVICE_ID],
	       id[PCI_CLASS_DEVICE + 1], id[PCI_CLASS_DEVICE], id[PCI_CLASS_PROG]);
}

/* ---- The serial port ---- */

static uint8_t get(unsigned int reg)
{
	uint8_t val;

	if (must(vfio_read(vc.device, &val, 1, port + reg), "register") != 1)
		errx(1, "register %u: nothing read", reg);
	return val;
}

static void put(unsigned int reg, uint8_t val)
{
	if (must(vfio_write(vc.device, &val, 1, port + reg), "register") != 1)
		errx(1, "register %u: nothing written", reg);
}

static void say(const char *what, const char *fmt, ...) __printf(2, 3);
static void say(const char *what, const char *fmt, ...)
{
	va_list ap;

	printf("%-14s ", what);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

static void port_setup(void)
{
	struct vfio_region_info info;

	must(vfio_region(vc.device, VFIO_PCI_BAR0_REGION_INDEX, &info), "BAR 0");
	port = info.offset;
	must(vfio_ioctl(vc.device, VFIO_DEVICE_RESET, NULL), "VFIO_DEVICE_RESET");
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	put(UART_LCR, UART_LCR_WLEN8);
}

static void show_lsr(void)
{
	uint8_t lsr = get(UART_LSR);

	say("read LSR", "0x%02x: %s", lsr,
	    lsr & UART_LSR_DR ? "there is something to read" : "nothing to read");
}

static void do_send(const char *text)
{
	const char *p;

	for (p = text; *p; p++)
		put(UART_TX, *p);
	say("write THR", "\"%s\"", text);
}

/* Read what there is and compare it to what was sent. */
static void do_receive(const char *sent)
{
	char text[FIFO_SIZE + 1];
	size_t len = 0;

	while (len < FIFO_SIZE && get(UART_LSR) & UART_LSR_DR)
		text[len++] = get(UART_RX);
	text[len] = '\0';
	say("read RBR", "\"%s\"", text);
	if (strcmp(text, sent))
		errx(1, "sent \"%s\", received \"%s\"", sent, text);
}

static void do_echo(const char *text)
{
	port_setup();
	show_lsr();
	do_send(text);
	show_lsr();
	do_receive(text);
	show_lsr();
}

/* ---- Interrupts ---- */

static void show_iir(uint8_t want)
{
	uint8_t iir = get(UART_IIR);
	uint8_t id = iir & (UART_IIR_NO_INT | UART_IIR_ID | 0x08);

	say("read IIR", "0x%02x: %s", iir,
	    id == UART_IIR_NO_INT ? "no interrupt is pending" :
	    id == UART_IIR_RDI ? "received data are available" :
	    id == UART_IIR_THRI ? "the transmitter is empty" : "something else");
	if (id != want)
		errx(1, "IIR is 0x%02x instead of 0x%02x", id, want);
}

static void show_eventfd(int fd, bool want)
{
	bool fired;
	long start;

	start = now_ms();
	fired = eventfd_fired(fd, want ? 5000 : 100);
	if (fired)
		say("poll eventfd", "it fired, after %ld ms", now_ms() - start);
	else
		say("poll eventfd", "silent for %ld ms", now_ms() - start);
	if (fired != want)
		errx(1, "the eventfd did not do what it should");
}

static void do_irq(void)
{
	int32_t fd;

	port_setup();
	fd = eventfd(0, EFD_CLOEXEC);
	if (fd < 0)
		err(1, "eventfd");
	must(vfio_set_irqs(vc.device, VFIO_IRQ_SET_DATA_EVENTFD |
			   VFIO_IRQ_SET_ACTION_TRIGGER,
			   VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd),
	     "VFIO_DEVICE_SET_IRQS");
	say("set trigger", "eventfd %d for INTx", fd);
	put(UART_IER, UART_IER_RDI);
	say("write IER", "0x%02x: tell me when data have been received",
	    get(UART_IER));
	show_iir(UART_IIR_NO_INT);
	show_eventfd(fd, false);

	do_send("!");
	show_eventfd(fd, true);
	show_iir(UART_IIR_RDI);
	do_receive("!");
	show_iir(UART_IIR_NO_INT);

	/* signalled INTx is masked; if its cause were still there it would fire */
	must(vfio_set_irqs(vc.device, VFIO_IRQ_SET_DATA_NONE |
			   VFIO_IRQ_SET_ACTION_UNMASK,
			   VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL),
	     "VFIO_DEVICE_SET_IRQS");
	say("unmask INTx", "done");
	show_eventfd(fd, false);
}

static void do_hold(void)
{
	say("open", "by process %d, until it ends", getpid());
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	const char *cmd = argc > 1 ? argv[1] : "";

	if (!strcmp(cmd, "-h") || !strcmp(cmd, "--help")) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc != (strcmp(cmd, "echo") ? 3 : 4)) {
		fputs(usage, stderr);
		return 1;
	}
	must(vfio_open(&vc, argv[2]), argv[2]);

	if (!strcmp(cmd, "info")) {
		do_info();
	} else if (!strcmp(cmd, "echo") && strlen(argv[3]) <= FIFO_SIZE) {
		do_echo(argv[3]);
	} else if (!strcmp(cmd, "irq")) {
		do_irq();
	} else if (!strcmp(cmd, "hold")) {
		do_hold();
	} else {
		fputs(usage, stderr);
		return 1;
	}
	vfio_close(&vc);
	return 0;
}
