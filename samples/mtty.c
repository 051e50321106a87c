// SPDX-License-Identifier: GPL-2.0-only
/*
 * mtty: a vendor driver of PCI serial cards that needs no hardware, on the kit for emulated
 * PCI devices (linux/mdev_pci.h).
 *
 * Each mediated device is a PCI serial card with one or two 16550A ports. Every
 * port is looped back: it receives what it sends, RTS drives CTS, and DTR drives
 * DSR and DCD.
 *
 * How to read this as the author of a vendor driver: read samples/hello_pci.c first.
 * Then begin at the end, with mtty_init(), which registers the parents, and the tables
 * above it, which describe a card. "The card" has the functions that the kit calls.
 * "The ports" stand for your hardware: skip them at first.
 *
 * The IDs are those of WCH's CH352. Linux's 8250_pci knows this chip and takes
 * each I/O BAR of 8 bytes for a port, so the card with a single port is the same
 * card without BAR 1.
 */
#include <linux/device.h>
#include <linux/kdev_t.h>
#include <linux/mdev_pci.h>
#include <linux/module.h>
#include <linux/serial_reg.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>

#define MTTY_VENDOR_ID		0x4348
#define MTTY_DEVICE_ID		0x3253
#define MTTY_CLASS		0x070002 /* serial, compatible with a 16550 */
#define MTTY_BAR_SIZE		8

#define MTTY_MAX_PORTS		2	/* of one card */
#define MTTY_FIFO_SIZE		16
#define MTTY_IIR_FIFO		0xc0	/* both FIFOs are enabled */
#define MTTY_BAUD_BASE		115200	/* at divisor 1 */

static int max_ports = 24;
module_param(max_ports, int, 0444);
MODULE_PARM_DESC(max_ports, "Number of serial ports of each parent (24)");

static unsigned int parents = 1;
module_param(parents, uint, 0444);
MODULE_PARM_DESC(parents, "Number of parent devices (1)");

static bool unplug;
module_param(unplug, bool, 0444);
MODULE_PARM_DESC(unplug, "Support hot-unplug of devices that are open (no)");

#define MTTY_THRI	BIT(0)	/* the transmitter ran empty, which was not signalled yet */
#define MTTY_TIMEOUT	BIT(1)	/* bytes below the trigger level have waited too long */

/* A 16550A: all that a reset clears, and all that migrates, as it is. */
struct mtty_uart {
	u8 reg[8];	/* FCR, not IIR; only the error bits of LSR */
	u8 divisor[2];
	u8 flags;
	u8 count;	/* at most 1 while the FIFO is disabled */
	u8 fifo[MTTY_FIFO_SIZE];	/* from the oldest byte on, then zeroes */
};

static_assert(sizeof(struct mtty_uart) == 28);

/* A serial port: the chip and where it is. */
struct mtty_port {
	struct mtty *mtty;
	struct mtty_uart *uart;
	struct timer_list timer;	/* runs while bytes wait in the FIFO */
};

/* A card: one mediated device. */
struct mtty {
	struct mdev_pci pci;
	int nr_ports;
	/* Protects what follows. A spinlock, as timers take it. */
	spinlock_t lock;
	bool stopped;	/* for migration: nothing here changes by itself */
	struct mtty_uart uarts[MTTY_MAX_PORTS];	/* one BAR each */
	struct mtty_port ports[MTTY_MAX_PORTS];
};

static struct mtty *to_mtty(struct mdev_pci *pci)
{
	return container_of(pci, struct mtty, pci);
}

/* ---- Interrupts ---- */

/* The interrupt with the highest priority, as the IIR shows it. */
static u8 mtty_uart_iir(const struct mtty_uart *uart)
{
	/* while the FIFO is disabled the level is 1 */
	static const u8 levels[] = { 1, 4, 8, 14 };
	u8 level = levels[UART_FCR_R_TRIG_BITS(uart->reg[UART_FCR])];
	u8 ier = uart->reg[UART_IER];

	if (ier & UART_IER_RLSI && uart->reg[UART_LSR])
		return UART_IIR_RLSI;
	if (ier & UART_IER_RDI && uart->count >= level)
		return UART_IIR_RDI;
	if (ier & UART_IER_RDI && uart->flags & MTTY_TIMEOUT)
		return UART_IIR_RX_TIMEOUT;
	if (ier & UART_IER_THRI && uart->flags & MTTY_THRI)
		return UART_IIR_THRI;
	if (ier & UART_IER_MSI && uart->reg[UART_MSR] & UART_MSR_ANY_DELTA)
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

/* To be called after everything that may change what the ports want. */
static void mtty_update_irq(struct mtty *mtty)
{
	bool pending = false;
	unsigned int i;

	lockdep_assert_held(&mtty->lock);
	if (mtty->stopped)
		return;

	/* OUT2 is not looked at: it gates interrupts on ISA cards only */
	for (i = 0; i < mtty->nr_ports; i++)
		if (mtty_uart_iir(&mtty->uarts[i]) != UART_IIR_NO_INT)
			pending = true;
	mdev_pci_set_irq(&mtty->pci, pending);
}

/* ---- The ports ---- */

static bool mtty_has_fifo(const struct mtty_uart *uart)
{
	return uart->reg[UART_FCR] & UART_FCR_ENABLE_FIFO;
}

/* The receive timeout: nothing received for four characters, of 10 bits each. */
static void mtty_rx_start_timer(struct mtty_port *port)
{
	struct mtty_uart *uart = port->uart;
	unsigned int divisor = uart->divisor[1] << 8 | uart->divisor[0];
	unsigned int ms;

	if (!uart->count || !mtty_has_fifo(uart))
		return;

	ms = DIV_ROUND_UP(4 * 10 * divisor * 1000, MTTY_BAUD_BASE);
	mod_timer(&port->timer, jiffies + msecs_to_jiffies(ms));
}

static void mtty_rx_timeout(struct timer_list *timer)
{
	struct mtty_port *port = container_of(timer, struct mtty_port, timer);
	struct mtty *mtty = port->mtty;

	spin_lock(&mtty->lock);
	/* the timer may have been started again while we waited for the lock */
	if (!timer_pending(timer) && port->uart->count && !mtty->stopped) {
		port->uart->flags |= MTTY_TIMEOUT;
		mtty_update_irq(mtty);
	}
	spin_unlock(&mtty->lock);
}

static u8 mtty_rx_pop(struct mtty_port *port)
{
	struct mtty_uart *uart = port->uart;
	u8 val;

	if (!uart->count)
		return 0;

	val = uart->fifo[0];
	memmove(uart->fifo, uart->fifo + 1, MTTY_FIFO_SIZE - 1);
	uart->fifo[MTTY_FIFO_SIZE - 1] = 0;
	uart->count--;
	uart->flags &= ~MTTY_TIMEOUT;
	mtty_rx_start_timer(port);
	return val;
}

static void mtty_rx_push(struct mtty_port *port, u8 val)
{
	struct mtty_uart *uart = port->uart;

	if (uart->count == (mtty_has_fifo(uart) ? MTTY_FIFO_SIZE : 1)) {
		uart->reg[UART_LSR] |= UART_LSR_OE;
		/* a full FIFO keeps what it has, a single register does not */
		if (!mtty_has_fifo(uart))
			uart->fifo[0] = val;
		return;
	}

	uart->fifo[uart->count++] = val;
	if (!(uart->flags & MTTY_TIMEOUT))
		mtty_rx_start_timer(port);
}

static void mtty_write_fcr(struct mtty_uart *uart, u8 val)
{
	/* the other bits count only together with this one */
	if (!(val & UART_FCR_ENABLE_FIFO))
		val = 0;
	/* switching the FIFOs on or off empties them, too */
	if (val & UART_FCR_CLEAR_RCVR ||
	    (val ^ uart->reg[UART_FCR]) & UART_FCR_ENABLE_FIFO) {
		uart->count = 0;
		uart->flags &= ~MTTY_TIMEOUT;
		memset(uart->fifo, 0, MTTY_FIFO_SIZE);
	}
	uart->reg[UART_FCR] = val & (UART_FCR_ENABLE_FIFO |
				     UART_FCR_TRIGGER_MASK);
}

/* The modem lines, by the plug on the connector or inside the chip. */
static u8 mtty_modem_lines(u8 mcr)
{
	bool loop = mcr & UART_MCR_LOOP;

	return (mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
	       (mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
	       (mcr & (loop ? UART_MCR_OUT1 : 0) ? UART_MSR_RI : 0) |
	       (mcr & (loop ? UART_MCR_OUT2 : UART_MCR_DTR) ? UART_MSR_DCD : 0);
}

static void mtty_write_mcr(struct mtty_uart *uart, u8 val)
{
	u8 msr = uart->reg[UART_MSR];
	u8 lines = mtty_modem_lines(val);
	u8 changed;

	/* a line's delta is 4 bits below it; that of RI tells only its end */
	changed = (msr ^ lines) & ~(lines & UART_MSR_RI);
	uart->reg[UART_MSR] = lines | (msr & UART_MSR_ANY_DELTA) |
			      (changed & 0xf0) >> 4;
	uart->reg[UART_MCR] = val & 0x1f;
}

static u8 mtty_uart_read(struct mtty_port *port, unsigned int reg)
{
	struct mtty_uart *uart = port->uart;
	u8 val = uart->reg[reg];

	if (uart->reg[UART_LCR] & UART_LCR_DLAB && reg <= UART_DLM)
		return uart->divisor[reg];

	switch (reg) {
	case UART_RX:
		return mtty_rx_pop(port);
	case UART_IIR:
		val = mtty_uart_iir(uart);
		if (val == UART_IIR_THRI)
			uart->flags &= ~MTTY_THRI;
		return mtty_has_fifo(uart) ? val | MTTY_IIR_FIFO : val;
	case UART_LSR:
		uart->reg[UART_LSR] = 0;
		if (uart->count)
			val |= UART_LSR_DR;
		return val | UART_LSR_THRE | UART_LSR_TEMT;
	case UART_MSR:
		uart->reg[UART_MSR] &= ~UART_MSR_ANY_DELTA;
		break;
	}
	return val;
}

static void mtty_uart_write(struct mtty_port *port, unsigned int reg, u8 val)
{
	struct mtty_uart *uart = port->uart;

	if (uart->reg[UART_LCR] & UART_LCR_DLAB && reg <= UART_DLM) {
		uart->divisor[reg] = val;
		return;
	}

	switch (reg) {
	case UART_TX:
		/* the line takes no time: the transmitter is empty at once */
		mtty_rx_push(port, val);
		uart->flags |= MTTY_THRI;
		break;
	case UART_IER:
		/* enabling this interrupt signals that the transmitter is empty */
		if (val & ~uart->reg[UART_IER] & UART_IER_THRI)
			uart->flags |= MTTY_THRI;
		uart->reg[UART_IER] = val & 0xf;
		break;
	case UART_FCR:
		mtty_write_fcr(uart, val);
		break;
	case UART_MCR:
		mtty_write_mcr(uart, val);
		break;
	case UART_LCR:
	case UART_SCR:
		uart->reg[reg] = val;
		break;
	}
}

/* ---- The card: what the kit calls ---- */

static struct mtty_port *mtty_port(struct mdev_pci *pci,
				   const struct mdev_pci_region *bar)
{
	return &to_mtty(pci)->ports[bar - pci->desc->regions];
}

static u64 mtty_read(struct mdev_pci *pci, const struct mdev_pci_region *bar,
		     u64 offset, unsigned int width)
{
	struct mtty *mtty = to_mtty(pci);
	u8 val;

	spin_lock_bh(&mtty->lock);
	/* even reading changes a port */
	val = mtty_uart_read(mtty_port(pci, bar), offset);
	mtty_update_irq(mtty);
	spin_unlock_bh(&mtty->lock);
	return val;
}

static void mtty_write(struct mdev_pci *pci, const struct mdev_pci_region *bar,
		       u64 offset, unsigned int width, u64 val)
{
	struct mtty *mtty = to_mtty(pci);

	spin_lock_bh(&mtty->lock);
	mtty_uart_write(mtty_port(pci, bar), offset, val);
	mtty_update_irq(mtty);
	spin_unlock_bh(&mtty->lock);
}

static int mtty_init_card(struct mdev_pci *pci)
{
	struct mtty *mtty = to_mtty(pci);
	unsigned int i;

	mtty->nr_ports = pci->desc->nr_regions;
	spin_lock_init(&mtty->lock);
	for (i = 0; i < mtty->nr_ports; i++) {
		mtty->ports[i].mtty = mtty;
		mtty->ports[i].uart = &mtty->uarts[i];
		timer_setup(&mtty->ports[i].timer, mtty_rx_timeout, 0);
	}
	return 0;
}

/* The timers need not be stopped: they find an empty FIFO. */
static void mtty_reset(struct mdev_pci *pci)
{
	struct mtty *mtty = to_mtty(pci);

	spin_lock_bh(&mtty->lock);
	memset(mtty->uarts, 0, sizeof(mtty->uarts));
	/* one may have raised the interrupt since the kit has lowered it */
	mtty_update_irq(mtty);
	spin_unlock_bh(&mtty->lock);
}

/* Nothing starts the timers again before the next open. */
static void mtty_close(struct mdev_pci *pci)
{
	struct mtty *mtty = to_mtty(pci);
	unsigned int i;

	for (i = 0; i < mtty->nr_ports; i++)
		timer_delete_sync(&mtty->ports[i].timer);
}

static const struct mdev_pci_ops mtty_ops = {
	.init	= mtty_init_card,
	.reset	= mtty_reset,
	.close	= mtty_close,
};

/* ---- Migration ---- */

/* Is this a state that a chip can have? The data comes from user space. */
static bool mtty_uart_valid(const struct mtty_uart *uart)
{
	static const u8 known[] = {
		[UART_IER] = 0xf,
		[UART_FCR] = UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK,
		[UART_LCR] = 0xff,
		[UART_MCR] = 0x1f,
		[UART_LSR] = UART_LSR_OE,
		[UART_MSR] = 0xff,
		[UART_SCR] = 0xff,
	};
	bool fifo = uart->reg[UART_FCR] & UART_FCR_ENABLE_FIFO;
	u8 lines = mtty_modem_lines(uart->reg[UART_MCR]);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (uart->reg[i] & ~known[i])
			return false;
	if (!fifo && uart->reg[UART_FCR])
		return false;
	if ((uart->reg[UART_MSR] & ~UART_MSR_ANY_DELTA) != lines)
		return false;
	if (uart->flags & ~(MTTY_THRI | MTTY_TIMEOUT))
		return false;
	if (uart->count > (fifo ? MTTY_FIFO_SIZE : 1))
		return false;
	if (!uart->count && uart->flags & MTTY_TIMEOUT)
		return false;
	return !memchr_inv(uart->fifo + uart->count, 0,
			   MTTY_FIFO_SIZE - uart->count);
}

static int mtty_check(struct mdev_pci *pci, const void *state)
{
	const struct mtty_uart *uarts = state;
	unsigned int i;

	for (i = 0; i < to_mtty(pci)->nr_ports; i++)
		if (!mtty_uart_valid(&uarts[i]))
			return -EINVAL;
	return 0;
}

static void mtty_quiesce(struct mdev_pci *pci)
{
	struct mtty *mtty = to_mtty(pci);

	spin_lock_bh(&mtty->lock);
	mtty->stopped = true;
	spin_unlock_bh(&mtty->lock);
}

static void mtty_resume(struct mdev_pci *pci)
{
	struct mtty *mtty = to_mtty(pci);
	unsigned int i;

	spin_lock_bh(&mtty->lock);
	mtty->stopped = false;
	/* a timer that was running was stopped: start it again */
	for (i = 0; i < mtty->nr_ports; i++)
		if (!(mtty->uarts[i].flags & MTTY_TIMEOUT))
			mtty_rx_start_timer(&mtty->ports[i]);
	mtty_update_irq(mtty);
	spin_unlock_bh(&mtty->lock);
}

/* ---- What a card looks like ---- */

#define MTTY_PORT {							\
	.size	= MTTY_BAR_SIZE,					\
	.flags	= MDEV_PCI_IO,						\
	.width	= 1,							\
	.read	= mtty_read,						\
	.write	= mtty_write,						\
}

static const struct mdev_pci_region mtty_regions[MTTY_MAX_PORTS] = {
	MTTY_PORT, MTTY_PORT
};

static const struct mdev_pci_cap mtty_caps[] = { MDEV_PCI_CAP_MSI(1) };

static const struct mdev_pci_field mtty_fields[] = {
	MDEV_PCI_BYTES(0, sizeof(struct mtty_uart)),
	MDEV_PCI_BYTES(sizeof(struct mtty_uart), sizeof(struct mtty_uart)),
};

/* cards of one and of two ports, but for how many these are */
#define MTTY_MIGRATION							\
	.magic		= 0x7974746d,	/* "mtty" */			\
	.version	= 1,						\
	MDEV_PCI_STATE(struct mtty, uarts),				\
	.fields		= mtty_fields,					\
	.check		= mtty_check,					\
	.quiesce	= mtty_quiesce,					\
	.resume		= mtty_resume

static const struct mdev_pci_migration mtty_migration[] = {
	{ MTTY_MIGRATION, .variant = 1, .nr_fields = 1 },
	{ MTTY_MIGRATION, .variant = 2, .nr_fields = 2 },
};

#define MTTY_DESC							\
	.vendor		= MTTY_VENDOR_ID,				\
	.device		= MTTY_DEVICE_ID,				\
	.class		= MTTY_CLASS,					\
	.intx		= true,						\
	.caps		= mtty_caps,					\
	.nr_caps	= ARRAY_SIZE(mtty_caps),			\
	.regions	= mtty_regions,					\
	MDEV_PCI_DEVICE(struct mtty, pci),				\
	.ops		= &mtty_ops

static const struct mdev_pci_desc mtty_descs[] = {
	{ MTTY_DESC, .nr_regions = 1, .migration = &mtty_migration[0] },
	{ MTTY_DESC, .nr_regions = 2, .migration = &mtty_migration[1] },
};

static const struct mdev_pci_type mtty_types[] = {
	{
		.name		= "1",
		.pretty_name	= "Single port serial",
		.description	= "PCI serial card, 16550A ports: 1",
		.units		= 1,
		.desc		= &mtty_descs[0],
	}, {
		.name		= "2",
		.pretty_name	= "Dual port serial",
		.description	= "PCI serial card, 16550A ports: 2",
		.units		= 2,
		.desc		= &mtty_descs[1],
	},
};

/* ---- More files: of a device, of a parent ---- */

static ssize_t ports_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	struct mtty *mtty = to_mtty(mdev_pci_of(mdev_from_dev(dev)));

	return sysfs_emit(buf, "%d\n", mtty->nr_ports);
}
static DEVICE_ATTR_RO(ports);

static struct attribute *mtty_mdev_attrs[] = {
	&dev_attr_ports.attr,
	NULL
};

static const struct attribute_group mtty_mdev_group = {
	.name	= "vendor",
	.attrs	= mtty_mdev_attrs,
};
__ATTRIBUTE_GROUPS(mtty_mdev);

static ssize_t max_ports_show(struct device *dev,
			      struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", max_ports);
}
static DEVICE_ATTR_RO(max_ports);

static struct attribute *mtty_parent_attrs[] = {
	&dev_attr_max_ports.attr,
	NULL
};
ATTRIBUTE_GROUPS(mtty_parent);

/* ---- The parents ---- */

static struct mdev_pci_parent mtty_parents[16];

/* its name is the first half of the types' names, as there is no driver */
static struct class *mtty_class;

static int mtty_add_parent(struct mdev_pci_parent *parent, unsigned int nr)
{
	struct device *dev;
	int ret;

	*parent = (struct mdev_pci_parent) {
		.ops = {
			MDEV_PCI_OPS, MDEV_PCI_MIGRATION_OPS,
			.dev_attr_groups	= mtty_parent_groups,
			.mdev_attr_groups	= mtty_mdev_groups,
			/* having this op tells the core that devices can be unplugged */
			.request		= unplug ? mdev_pci_request : NULL,
		},
		.types		= mtty_types,
		.nr_types	= ARRAY_SIZE(mtty_types),
		.units		= max_ports,
	};
	if (parents == 1)
		dev = device_create(mtty_class, NULL, MKDEV(0, 0), NULL, "mtty");
	else
		dev = device_create(mtty_class, NULL, MKDEV(0, 0), NULL,
				    "mtty%u", nr);
	if (IS_ERR(dev))
		return PTR_ERR(dev);

	/* last: devices can be created before this returns */
	ret = mdev_pci_register(parent, dev);
	if (ret)
		device_unregister(dev);
	return ret;
}

static void mtty_remove_parents(unsigned int count)
{
	struct device *dev;

	while (count--) {
		dev = mtty_parents[count].dev;
		mdev_pci_unregister(&mtty_parents[count]);
		device_unregister(dev);
	}
	class_destroy(mtty_class);
}

static int __init mtty_init(void)
{
	unsigned int i;
	int ret;

	if (max_ports < 0 || !parents || parents > ARRAY_SIZE(mtty_parents))
		return -EINVAL;

	mtty_class = class_create("mtty");
	if (IS_ERR(mtty_class))
		return PTR_ERR(mtty_class);

	for (i = 0; i < parents; i++) {
		ret = mtty_add_parent(&mtty_parents[i], i);
		if (ret) {
			mtty_remove_parents(i);
			return ret;
		}
	}
	return 0;
}

static void __exit mtty_exit(void)
{
	mtty_remove_parents(parents);
}

module_init(mtty_init);
module_exit(mtty_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mediated PCI serial cards without hardware");
