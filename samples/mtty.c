// SPDX-License-Identifier: GPL-2.0-only
/*
 * mtty: a vendor driver of the classic door that needs no hardware.
 *
 * Each mediated device is a PCI serial card with one or two 16550A ports. Every
 * port is looped back: it receives what it sends, RTS drives CTS, and DTR drives
 * DSR and DCD.
 *
 * How to read this as the author of a vendor driver: begin at the end, with
 * mtty_init(), which registers the parents. Continue with the callbacks in
 * mtty_ops, in the order of a device's life, and with "Interrupts", which every
 * VFIO PCI device has in some form. Read "Migration" if your devices are to
 * support it. "The ports" and "The configuration space" stand for your hardware:
 * skip them at first.
 *
 * The IDs are those of WCH's CH352. Linux's 8250_pci knows this chip and takes
 * each I/O BAR of 8 bytes for a port, so the card with a single port is the same
 * card without BAR 1.
 */
#include <linux/anon_inodes.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/log2.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci_regs.h>
#include <linux/poll.h>
#include <linux/serial_reg.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#define MTTY_VENDOR_ID		0x4348
#define MTTY_DEVICE_ID		0x3253
#define MTTY_CLASS		0x070002 /* serial, compatible with a 16550 */

#define MTTY_CONFIG_SIZE	256
#define MTTY_BAR_SIZE		8
#define MTTY_MSI_CAP		0x40
#define MTTY_OFFSET_SHIFT	40	/* of the region in the fd's offset */

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

/* A parent device. */
struct mtty_parent {
	struct device *dev;
	struct mutex lock;	/* protects ports_left */
	int ports_left;		/* ports in no mediated device yet */
};

static struct mtty_parent mtty_parents[16];

/* A 16550A: all that a reset clears. */
struct mtty_uart {
	u8 reg[8];	/* FCR, not IIR; only the error bits of LSR */
	u8 divisor[2];
	bool thri;	/* the transmitter ran empty, which was not signalled yet */
	bool timeout;	/* bytes below the trigger level have waited too long */
	u8 fifo[MTTY_FIFO_SIZE];
	unsigned int head;	/* the oldest byte */
	unsigned int count;	/* at most 1 while the FIFO is disabled */
};

/* A serial port: the chip and where it is. */
struct mtty_port {
	struct mtty *mtty;
	struct timer_list timer;	/* runs while bytes wait in the FIFO */
	struct mtty_uart uart;
};

/* A card: one mediated device. */
struct mtty {
	struct mtty_parent *parent;	/* where the ports came from */
	int nr_ports;
	struct mutex mig_lock;	/* protects the next two; taken before lock */
	enum vfio_device_mig_state state;
	struct file *stream;	/* the file that reads or writes the state now */
	/*
	 * Protects everything below. A spinlock, as timers take it. Signalling
	 * an eventfd under it is fine, touching user memory is not.
	 */
	spinlock_t lock;
	bool stopped;	/* for migration: nothing here changes by itself */
	struct mtty_port ports[MTTY_MAX_PORTS];	/* one BAR each */
	u8 config[MTTY_CONFIG_SIZE];
	bool pending;	/* at least one port wants an interrupt */
	bool masked;	/* INTx is, by the VMM or because it was signalled */
	/* by interrupt index; not both INTx and MSI */
	struct eventfd_ctx *trigger[VFIO_PCI_NUM_IRQS];
};

/* ---- Interrupts, towards the VMM ---- */

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
	if (ier & UART_IER_RDI && uart->timeout)
		return UART_IIR_RX_TIMEOUT;
	if (ier & UART_IER_THRI && uart->thri)
		return UART_IIR_THRI;
	if (ier & UART_IER_MSI && uart->reg[UART_MSR] & UART_MSR_ANY_DELTA)
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

/* To be called after everything that may change what the ports want. */
static void mtty_update_irq(struct mtty *mtty)
{
	struct eventfd_ctx *intx = mtty->trigger[VFIO_PCI_INTX_IRQ_INDEX];
	struct eventfd_ctx *msi = mtty->trigger[VFIO_PCI_MSI_IRQ_INDEX];
	bool was_pending = mtty->pending;
	unsigned int i;

	lockdep_assert_held(&mtty->lock);
	if (mtty->stopped)
		return;

	/* OUT2 is not looked at: it gates interrupts on ISA cards only */
	mtty->pending = false;
	for (i = 0; i < mtty->nr_ports; i++)
		if (mtty_uart_iir(&mtty->ports[i].uart) != UART_IIR_NO_INT)
			mtty->pending = true;

	if (!mtty->pending)
		return;

	/* VFIO wants INTx, a level, turned into an edge and a mask */
	if (intx && !mtty->masked &&
	    !(mtty->config[PCI_COMMAND + 1] & (PCI_COMMAND_INTX_DISABLE >> 8))) {
		mtty->masked = true;
		eventfd_signal(intx);
	}
	/* MSI is on if it has a trigger, whatever the capability says */
	if (msi && !was_pending)
		eventfd_signal(msi);
}

static bool mtty_has_irq(unsigned int index)
{
	return index == VFIO_PCI_INTX_IRQ_INDEX ||
	       index == VFIO_PCI_MSI_IRQ_INDEX ||
	       (index == VFIO_PCI_REQ_IRQ_INDEX && unplug);
}

/* Set what to signal: the eventfd @fd, or nothing if it is -1. */
static int mtty_set_trigger(struct mtty *mtty, unsigned int index, int fd)
{
	unsigned int other = index == VFIO_PCI_INTX_IRQ_INDEX ?
			     VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_INTX_IRQ_INDEX;
	struct eventfd_ctx *ctx = NULL;
	int ret = 0;

	if (fd != -1) {
		ctx = eventfd_ctx_fdget(fd);
		if (IS_ERR(ctx))
			return PTR_ERR(ctx);
	}

	spin_lock_bh(&mtty->lock);
	if (ctx && index != VFIO_PCI_REQ_IRQ_INDEX && mtty->trigger[other]) {
		ret = -EINVAL;
	} else {
		swap(ctx, mtty->trigger[index]);
		if (!mtty->trigger[VFIO_PCI_INTX_IRQ_INDEX])
			mtty->masked = false;
		mtty_update_irq(mtty);
	}
	spin_unlock_bh(&mtty->lock);

	/* the old one, or the new one that was refused */
	if (ctx)
		eventfd_ctx_put(ctx);
	return ret;
}

/* Mask or unmask INTx, or signal an interrupt on request, which VMMs test with. */
static int mtty_poke_irq(struct mtty *mtty, unsigned int index, u32 action)
{
	int ret = 0;

	spin_lock_bh(&mtty->lock);
	if (!mtty->trigger[index]) {
		ret = -EINVAL;
	} else if (action == VFIO_IRQ_SET_ACTION_TRIGGER) {
		eventfd_signal(mtty->trigger[index]);
	} else {
		mtty->masked = action == VFIO_IRQ_SET_ACTION_MASK;
		/* signals again if a port still wants it */
		mtty_update_irq(mtty);
	}
	spin_unlock_bh(&mtty->lock);
	return ret;
}

/*
 * Refuse what the interrupts do not support; return the size of the data that follows
 * the header. Each index has only one interrupt, which keeps this simple.
 */
static int mtty_check_irq_set(const struct vfio_irq_set *set)
{
	u32 action = set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	u32 type = set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;

	if (set->flags != (action | type) || !is_power_of_2(action))
		return -EINVAL;
	if (!mtty_has_irq(set->index) || set->start || set->count > 1)
		return -EINVAL;
	/* a count of 0 without data switches the whole index off */
	if (!set->count && (action != VFIO_IRQ_SET_ACTION_TRIGGER ||
			    type != VFIO_IRQ_SET_DATA_NONE))
		return -EINVAL;
	/* unmasking by eventfd is optional, VMMs have a fallback */
	if (action != VFIO_IRQ_SET_ACTION_TRIGGER &&
	    (set->index != VFIO_PCI_INTX_IRQ_INDEX ||
	     type == VFIO_IRQ_SET_DATA_EVENTFD))
		return -ENOTTY;

	if (type == VFIO_IRQ_SET_DATA_BOOL)
		return sizeof(u8);
	if (type == VFIO_IRQ_SET_DATA_EVENTFD)
		return sizeof(s32);
	return type == VFIO_IRQ_SET_DATA_NONE ? 0 : -EINVAL;
}

static long mtty_set_irqs(struct mtty *mtty, void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_irq_set, count);
	struct vfio_irq_set set;
	s32 fd = -1;
	u8 on = 1;
	int size;

	if (copy_from_user(&set, arg, minsz))
		return -EFAULT;
	if (set.argsz < minsz)
		return -EINVAL;
	size = mtty_check_irq_set(&set);
	if (size < 0)
		return size;
	if (set.argsz - minsz < size)
		return -EINVAL;
	if (set.flags & VFIO_IRQ_SET_DATA_BOOL &&
	    copy_from_user(&on, arg + minsz, sizeof(on)))
		return -EFAULT;
	if (set.flags & VFIO_IRQ_SET_DATA_EVENTFD &&
	    copy_from_user(&fd, arg + minsz, sizeof(fd)))
		return -EFAULT;

	if (!set.count || set.flags & VFIO_IRQ_SET_DATA_EVENTFD)
		return mtty_set_trigger(mtty, set.index, fd);
	return !on ? 0 : mtty_poke_irq(mtty, set.index, set.flags &
				       VFIO_IRQ_SET_ACTION_TYPE_MASK);
}

/* ---- The ports ---- */

static bool mtty_has_fifo(const struct mtty_uart *uart)
{
	return uart->reg[UART_FCR] & UART_FCR_ENABLE_FIFO;
}

/* The receive timeout: nothing received for four characters, of 10 bits each. */
static void mtty_rx_start_timer(struct mtty_port *port)
{
	struct mtty_uart *uart = &port->uart;
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
	/* while we waited for the lock it may have been started anew */
	if (!timer_pending(timer) && port->uart.count && !mtty->stopped) {
		port->uart.timeout = true;
		mtty_update_irq(mtty);
	}
	spin_unlock(&mtty->lock);
}

static u8 mtty_rx_pop(struct mtty_port *port)
{
	struct mtty_uart *uart = &port->uart;
	u8 val;

	if (!uart->count)
		return 0;

	val = uart->fifo[uart->head];
	uart->head = (uart->head + 1) % MTTY_FIFO_SIZE;
	uart->count--;
	uart->timeout = false;
	mtty_rx_start_timer(port);
	return val;
}

static void mtty_rx_push(struct mtty_port *port, u8 val)
{
	struct mtty_uart *uart = &port->uart;

	if (uart->count == (mtty_has_fifo(uart) ? MTTY_FIFO_SIZE : 1)) {
		uart->reg[UART_LSR] |= UART_LSR_OE;
		/* a full FIFO keeps what it has, a single register does not */
		if (!mtty_has_fifo(uart))
			uart->fifo[uart->head] = val;
		return;
	}

	uart->fifo[(uart->head + uart->count) % MTTY_FIFO_SIZE] = val;
	uart->count++;
	if (!uart->timeout)
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
		uart->timeout = false;
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
	struct mtty_uart *uart = &port->uart;
	u8 val = uart->reg[reg];

	if (uart->reg[UART_LCR] & UART_LCR_DLAB && reg <= UART_DLM)
		return uart->divisor[reg];

	switch (reg) {
	case UART_RX:
		return mtty_rx_pop(port);
	case UART_IIR:
		val = mtty_uart_iir(uart);
		if (val == UART_IIR_THRI)
			uart->thri = false;
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
	struct mtty_uart *uart = &port->uart;

	if (uart->reg[UART_LCR] & UART_LCR_DLAB && reg <= UART_DLM) {
		uart->divisor[reg] = val;
		return;
	}

	switch (reg) {
	case UART_TX:
		/* the line takes no time: the transmitter is empty at once */
		mtty_rx_push(port, val);
		uart->thri = true;
		break;
	case UART_IER:
		/* enabling this interrupt signals that the transmitter is empty */
		if (val & ~uart->reg[UART_IER] & UART_IER_THRI)
			uart->thri = true;
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

/* ---- The configuration space ---- */

static const __le16 mtty_config_reset[MTTY_CONFIG_SIZE / 2] = {
	[PCI_VENDOR_ID / 2]	= cpu_to_le16(MTTY_VENDOR_ID),
	[PCI_DEVICE_ID / 2]	= cpu_to_le16(MTTY_DEVICE_ID),
	/* VFIO devices start enabled, as with vfio-pci */
	[PCI_COMMAND / 2]	= cpu_to_le16(PCI_COMMAND_IO),
	[PCI_STATUS / 2]	= cpu_to_le16(PCI_STATUS_CAP_LIST),
	[PCI_CLASS_REVISION / 2] = cpu_to_le16(MTTY_CLASS << 8 & 0xffff),
	[PCI_CLASS_DEVICE / 2]	= cpu_to_le16(MTTY_CLASS >> 8),
	[PCI_BASE_ADDRESS_0 / 2] = cpu_to_le16(PCI_BASE_ADDRESS_SPACE_IO),
	[PCI_BASE_ADDRESS_1 / 2] = cpu_to_le16(PCI_BASE_ADDRESS_SPACE_IO),
	[PCI_SUBSYSTEM_VENDOR_ID / 2] = cpu_to_le16(MTTY_VENDOR_ID),
	[PCI_SUBSYSTEM_ID / 2]	= cpu_to_le16(MTTY_DEVICE_ID),
	[PCI_CAPABILITY_LIST / 2] = cpu_to_le16(MTTY_MSI_CAP),
	[PCI_INTERRUPT_LINE / 2] = cpu_to_le16(1 << 8),	/* pin A */
	[MTTY_MSI_CAP / 2]	= cpu_to_le16(PCI_CAP_ID_MSI),
	[(MTTY_MSI_CAP + PCI_MSI_FLAGS) / 2] = cpu_to_le16(PCI_MSI_FLAGS_64BIT),
};

/* Which bits can be written. The bits of a BAR that are not give its size. */
static const u8 mtty_config_writable[MTTY_CONFIG_SIZE] = {
	[PCI_COMMAND] = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
	[PCI_COMMAND + 1] = PCI_COMMAND_INTX_DISABLE >> 8,
	[PCI_BASE_ADDRESS_0] = (u8)~(MTTY_BAR_SIZE - 1), 0xff, 0xff, 0xff,
	[PCI_BASE_ADDRESS_1] = (u8)~(MTTY_BAR_SIZE - 1), 0xff, 0xff, 0xff,
	[PCI_INTERRUPT_LINE] = 0xff,
	[MTTY_MSI_CAP + PCI_MSI_FLAGS] = PCI_MSI_FLAGS_ENABLE,
	[MTTY_MSI_CAP + PCI_MSI_ADDRESS_LO] = 0xfc, 0xff, 0xff, 0xff,
	[MTTY_MSI_CAP + PCI_MSI_ADDRESS_HI] = 0xff, 0xff, 0xff, 0xff,
	[MTTY_MSI_CAP + PCI_MSI_DATA_64] = 0xff, 0xff,
};

static u8 mtty_config_read(struct mtty *mtty, unsigned int where)
{
	/* the BAR of a port that this card does not have */
	if (where / 4 == PCI_BASE_ADDRESS_1 / 4 && mtty->nr_ports < 2)
		return 0;
	if (where == PCI_STATUS && mtty->pending)
		return mtty->config[where] | PCI_STATUS_INTERRUPT;
	return mtty->config[where];
}

static void mtty_config_write(struct mtty *mtty, unsigned int where, u8 val)
{
	u8 mask = mtty_config_writable[where];

	mtty->config[where] = (mtty->config[where] & ~mask) | (val & mask);
}

/* ---- The VFIO device: regions ---- */

static size_t mtty_region_size(struct mtty *mtty, u64 index)
{
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		return MTTY_CONFIG_SIZE;
	return index < mtty->nr_ports ? MTTY_BAR_SIZE : 0;
}

static u8 mtty_region_read(struct mtty *mtty, unsigned int index,
			   unsigned int where)
{
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		return mtty_config_read(mtty, where);
	if (!(mtty->config[PCI_COMMAND] & PCI_COMMAND_IO))
		return 0xff;
	return mtty_uart_read(&mtty->ports[index], where);
}

static void mtty_region_write(struct mtty *mtty, unsigned int index,
			      unsigned int where, u8 val)
{
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		mtty_config_write(mtty, where, val);
	else if (mtty->config[PCI_COMMAND] & PCI_COMMAND_IO)
		mtty_uart_write(&mtty->ports[index], where, val);
}

/* Access byte by byte, as a bus would; bytes beyond the region are cut off. */
static ssize_t mtty_access(struct mdev_device *mdev, char __user *to,
			   const char __user *from, size_t count, loff_t *ppos)
{
	struct mtty *mtty = mdev_get_drvdata(mdev);
	u64 where = *ppos & (BIT_ULL(MTTY_OFFSET_SHIFT) - 1);
	u64 index = (u64)*ppos >> MTTY_OFFSET_SHIFT;
	size_t size = mtty_region_size(mtty, index);
	u8 data[MTTY_CONFIG_SIZE];
	size_t i;

	if (where >= size)
		return -EINVAL;
	/* one of the two is set, unless user space has passed NULL */
	if (!to && !from)
		return -EFAULT;
	count = min_t(size_t, count, size - where);
	if (from && copy_from_user(data, from, count))
		return -EFAULT;

	spin_lock_bh(&mtty->lock);
	/* even reading a port changes it, and what is sent must not get lost */
	if (mtty->stopped && index != VFIO_PCI_CONFIG_REGION_INDEX) {
		spin_unlock_bh(&mtty->lock);
		return -EBUSY;
	}
	for (i = 0; i < count; i++)
		if (from)
			mtty_region_write(mtty, index, where + i, data[i]);
		else
			data[i] = mtty_region_read(mtty, index, where + i);
	mtty_update_irq(mtty);
	spin_unlock_bh(&mtty->lock);

	if (to && copy_to_user(to, data, count))
		return -EFAULT;
	*ppos += count;
	return count;
}

static ssize_t mtty_read(struct mdev_device *mdev, char __user *buf,
			 size_t count, loff_t *ppos)
{
	return mtty_access(mdev, buf, NULL, count, ppos);
}

static ssize_t mtty_write(struct mdev_device *mdev, const char __user *buf,
			  size_t count, loff_t *ppos)
{
	return mtty_access(mdev, NULL, buf, count, ppos);
}

/* ---- Migration ---- */

#define MTTY_SAVED_MAGIC	0x7974746d	/* "mtty" */
#define MTTY_SAVED_VERSION	1
#define MTTY_SAVED_THRI		BIT(0)
#define MTTY_SAVED_TIMEOUT	BIT(1)

/* The header is the same for cards that can take each other's state. */
struct mtty_saved_header {
	__le32 magic;
	__le16 version;
	__le16 nr_ports;
	__le32 size;	/* of what follows */
};

/* As struct mtty_uart, the FIFO from its oldest byte, zeroes after the last. */
struct mtty_saved_port {
	u8 reg[8];
	u8 divisor[2];
	u8 flags;
	u8 count;
	u8 fifo[MTTY_FIFO_SIZE];
};

/*
 * The state of a card in the stream. Whether interrupts are pending follows from it.
 * The eventfds and the mask of INTx are not in it: the VMM at the other end sets up its
 * own, and would never unmask an interrupt that it has not seen.
 */
struct mtty_saved {
	struct mtty_saved_header header;
	u8 config[MTTY_CONFIG_SIZE];
	struct mtty_saved_port ports[MTTY_MAX_PORTS];	/* as many as it has */
};

static_assert(sizeof(struct mtty_saved) == 12 + MTTY_CONFIG_SIZE +
	      MTTY_MAX_PORTS * 28);

/*
 * The file by which user space reads or writes a state. User space may keep it open
 * longer than the card exists, so it has no pointer to the card. User memory is not
 * accessed under the lock: the card must not wait for a page that never comes.
 */
struct mtty_stream {
	spinlock_t lock;	/* protects what follows */
	bool over;	/* the card has ended it: every access fails */
	bool complete;	/* saving: all is there, not only the header */
	bool refused;	/* resuming: the data is not valid */
	size_t pos;	/* saving: how much was read */
	size_t size;	/* how much there is */
	size_t limit;	/* how much there will be */
	struct mtty_saved_header header;	/* resuming: what it must be */
	struct mtty_saved saved;
	wait_queue_head_t wait;
};

static size_t mtty_saved_size(const struct mtty *mtty)
{
	return offsetof(struct mtty_saved, ports) +
	       mtty->nr_ports * sizeof(struct mtty_saved_port);
}

static void mtty_save_header(const struct mtty *mtty,
			     struct mtty_saved_header *header)
{
	header->magic = cpu_to_le32(MTTY_SAVED_MAGIC);
	header->version = cpu_to_le16(MTTY_SAVED_VERSION);
	header->nr_ports = cpu_to_le16(mtty->nr_ports);
	header->size = cpu_to_le32(mtty_saved_size(mtty) - sizeof(*header));
}

static void mtty_save_port(const struct mtty_uart *uart,
			   struct mtty_saved_port *port)
{
	unsigned int i;

	memcpy(port->reg, uart->reg, sizeof(port->reg));
	memcpy(port->divisor, uart->divisor, sizeof(port->divisor));
	port->flags = (uart->thri ? MTTY_SAVED_THRI : 0) |
		      (uart->timeout ? MTTY_SAVED_TIMEOUT : 0);
	port->count = uart->count;
	for (i = 0; i < uart->count; i++)
		port->fifo[i] = uart->fifo[(uart->head + i) % MTTY_FIFO_SIZE];
}

static void mtty_load_port(struct mtty_uart *uart,
			   const struct mtty_saved_port *port)
{
	memcpy(uart->reg, port->reg, sizeof(uart->reg));
	memcpy(uart->divisor, port->divisor, sizeof(uart->divisor));
	uart->thri = port->flags & MTTY_SAVED_THRI;
	uart->timeout = port->flags & MTTY_SAVED_TIMEOUT;
	uart->head = 0;
	uart->count = port->count;
	memcpy(uart->fifo, port->fifo, sizeof(uart->fifo));
}

/* Is this a state that a port can have? The data comes from user space. */
static bool mtty_port_valid(const struct mtty_saved_port *port)
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
	bool fifo = port->reg[UART_FCR] & UART_FCR_ENABLE_FIFO;
	u8 lines = mtty_modem_lines(port->reg[UART_MCR]);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (port->reg[i] & ~known[i])
			return false;
	if (!fifo && port->reg[UART_FCR])
		return false;
	if ((port->reg[UART_MSR] & ~UART_MSR_ANY_DELTA) != lines)
		return false;
	if (port->flags & ~(MTTY_SAVED_THRI | MTTY_SAVED_TIMEOUT))
		return false;
	if (port->count > (fifo ? MTTY_FIFO_SIZE : 1))
		return false;
	if (!port->count && port->flags & MTTY_SAVED_TIMEOUT)
		return false;
	return !memchr_inv(port->fifo + port->count, 0,
			   MTTY_FIFO_SIZE - port->count);
}

static bool mtty_saved_valid(const struct mtty *mtty,
			     const struct mtty_saved *saved)
{
	const u8 *reset = (const u8 *)mtty_config_reset;
	unsigned int i;

	for (i = 0; i < MTTY_CONFIG_SIZE; i++)
		if ((saved->config[i] ^ reset[i]) & ~mtty_config_writable[i])
			return false;
	for (i = 0; i < mtty->nr_ports; i++)
		if (!mtty_port_valid(&saved->ports[i]))
			return false;
	return true;
}

static ssize_t mtty_stream_read(struct file *file, char __user *buf,
				size_t count, loff_t *ppos)
{
	struct mtty_stream *stream = file->private_data;
	u8 data[sizeof(struct mtty_saved)];
	size_t pos;
	int ret = 0;

	spin_lock(&stream->lock);
	pos = stream->pos;
	count = min(count, stream->size - pos);
	if (stream->over)
		ret = -ENODEV;
	else if (pos == stream->size && !stream->complete)
		ret = -ENOMSG;	/* more will come, in STOP_COPY */
	else
		stream->pos += count;
	memcpy(data, (u8 *)&stream->saved + pos, count);
	spin_unlock(&stream->lock);
	if (ret)
		return ret;

	if (!copy_to_user(buf, data, count))
		return count;
	spin_lock(&stream->lock);
	/* if another reader has the bytes behind these, they are lost */
	if (stream->pos == pos + count)
		stream->pos = pos;
	spin_unlock(&stream->lock);
	return -EFAULT;
}

static ssize_t mtty_stream_write(struct file *file, const char __user *buf,
				 size_t count, loff_t *ppos)
{
	struct mtty_stream *stream = file->private_data;
	u8 data[sizeof(struct mtty_saved)];
	ssize_t ret = count;

	if (count <= sizeof(data) && copy_from_user(data, buf, count))
		return -EFAULT;

	spin_lock(&stream->lock);
	if (stream->over) {
		ret = -ENODEV;
	} else if (stream->refused) {
		ret = -EINVAL;
	} else if (count > stream->limit - stream->size) {
		ret = -EFBIG;
		stream->refused = true;
	} else {
		memcpy((u8 *)&stream->saved + stream->size, data, count);
		stream->size += count;
		/* in PRE_COPY, the card that cannot stay here still runs there */
		if (stream->size >= sizeof(stream->header) &&
		    memcmp(&stream->saved.header, &stream->header,
			   sizeof(stream->header))) {
			ret = -EINVAL;
			stream->refused = true;
		}
	}
	spin_unlock(&stream->lock);
	return ret;
}

/* Before the card stops there is nothing to be read but the header. */
static long mtty_stream_ioctl(struct file *file, unsigned int cmd,
			      unsigned long arg)
{
	const size_t minsz = offsetofend(struct vfio_precopy_info, dirty_bytes);
	struct mtty_stream *stream = file->private_data;
	struct vfio_precopy_info info;
	int ret = 0;

	if (cmd != VFIO_MIG_GET_PRECOPY_INFO)
		return -ENOTTY;
	if (copy_from_user(&info, (void __user *)arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;

	spin_lock(&stream->lock);
	if (stream->over)
		ret = -ENODEV;
	else if (stream->complete)
		ret = -EINVAL;
	info.flags = 0;
	info.initial_bytes = stream->size - stream->pos;
	info.dirty_bytes = 0;
	spin_unlock(&stream->lock);
	if (ret)
		return ret;
	return copy_to_user((void __user *)arg, &info, minsz) ? -EFAULT : 0;
}

static __poll_t mtty_stream_poll(struct file *file,
				 struct poll_table_struct *wait)
{
	struct mtty_stream *stream = file->private_data;
	__poll_t events = 0;

	poll_wait(file, &stream->wait, wait);
	spin_lock(&stream->lock);
	if (stream->pos < stream->size || stream->complete)
		events = EPOLLIN | EPOLLRDNORM;
	if (stream->over)
		events = EPOLLERR | EPOLLHUP;
	spin_unlock(&stream->lock);
	return events;
}

static int mtty_stream_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations mtty_save_fops = {
	.owner		= THIS_MODULE,
	.read		= mtty_stream_read,
	.poll		= mtty_stream_poll,
	.unlocked_ioctl	= mtty_stream_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.release	= mtty_stream_release,
};

static const struct file_operations mtty_resume_fops = {
	.owner		= THIS_MODULE,
	.write		= mtty_stream_write,
	.release	= mtty_stream_release,
};

/* Two references are made: the card's, in mtty->stream, and the caller's. */
static struct file *mtty_stream_open(struct mtty *mtty, bool resume)
{
	struct mtty_stream *stream;
	struct file *file;

	lockdep_assert_held(&mtty->mig_lock);
	stream = kzalloc_obj(*stream, GFP_KERNEL_ACCOUNT);
	if (!stream)
		return ERR_PTR(-ENOMEM);

	spin_lock_init(&stream->lock);
	init_waitqueue_head(&stream->wait);
	stream->limit = mtty_saved_size(mtty);
	mtty_save_header(mtty, &stream->header);
	if (!resume) {
		stream->saved.header = stream->header;
		stream->size = sizeof(stream->header);
	}

	file = anon_inode_getfile("[mtty]", resume ? &mtty_resume_fops :
				  &mtty_save_fops, stream,
				  resume ? O_WRONLY : O_RDONLY);
	if (IS_ERR(file)) {
		kfree(stream);
		return file;
	}
	/* no seeking, and no lock that a read would hold */
	stream_open(file->f_inode, file);
	mtty->stream = get_file(file);
	return file;
}

/* The card has stopped: here is its state. */
static void mtty_stream_complete(struct mtty *mtty)
{
	struct mtty_stream *stream = mtty->stream->private_data;
	unsigned int i;

	lockdep_assert_held(&mtty->mig_lock);
	/* readers get only the header until @complete is set */
	spin_lock_bh(&mtty->lock);
	memcpy(stream->saved.config, mtty->config, MTTY_CONFIG_SIZE);
	for (i = 0; i < mtty->nr_ports; i++)
		mtty_save_port(&mtty->ports[i].uart, &stream->saved.ports[i]);
	spin_unlock_bh(&mtty->lock);

	spin_lock(&stream->lock);
	stream->size = stream->limit;
	stream->complete = true;
	spin_unlock(&stream->lock);
	wake_up_interruptible(&stream->wait);
}

/* From now on all accesses to the file fail. */
static void mtty_stream_end(struct mtty *mtty)
{
	struct mtty_stream *stream;

	lockdep_assert_held(&mtty->mig_lock);
	if (!mtty->stream)
		return;

	stream = mtty->stream->private_data;
	spin_lock(&stream->lock);
	stream->over = true;
	spin_unlock(&stream->lock);
	wake_up_interruptible(&stream->wait);
	fput(mtty->stream);
	mtty->stream = NULL;
}

/* Load the state from the stream; if that fails, the card is not changed. */
static int mtty_load(struct mtty *mtty)
{
	struct mtty_stream *stream = mtty->stream->private_data;
	struct mtty_saved saved;
	unsigned int i;
	bool valid;

	lockdep_assert_held(&mtty->mig_lock);
	spin_lock(&stream->lock);
	valid = !stream->refused && stream->size == stream->limit;
	saved = stream->saved;
	spin_unlock(&stream->lock);
	if (!valid || !mtty_saved_valid(mtty, &saved))
		return -EINVAL;

	spin_lock_bh(&mtty->lock);
	memcpy(mtty->config, saved.config, MTTY_CONFIG_SIZE);
	for (i = 0; i < mtty->nr_ports; i++)
		mtty_load_port(&mtty->ports[i].uart, &saved.ports[i]);
	/* a spurious interrupt is better than a lost one */
	mtty->pending = false;
	spin_unlock_bh(&mtty->lock);
	return 0;
}

static bool mtty_state_runs(enum vfio_device_mig_state state)
{
	return state == VFIO_DEVICE_STATE_RUNNING ||
	       state == VFIO_DEVICE_STATE_RUNNING_P2P ||
	       state == VFIO_DEVICE_STATE_PRE_COPY ||
	       state == VFIO_DEVICE_STATE_PRE_COPY_P2P;
}

static bool mtty_state_streams(enum vfio_device_mig_state state)
{
	return state == VFIO_DEVICE_STATE_PRE_COPY ||
	       state == VFIO_DEVICE_STATE_PRE_COPY_P2P ||
	       state == VFIO_DEVICE_STATE_STOP_COPY ||
	       state == VFIO_DEVICE_STATE_RESUMING;
}

static void mtty_run(struct mtty *mtty, bool run)
{
	unsigned int i;

	spin_lock_bh(&mtty->lock);
	mtty->stopped = !run;
	/* a timer that was running was stopped: start it again */
	for (i = 0; run && i < mtty->nr_ports; i++)
		if (!mtty->ports[i].uart.timeout)
			mtty_rx_start_timer(&mtty->ports[i]);
	mtty_update_irq(mtty);
	spin_unlock_bh(&mtty->lock);
}

/*
 * One arc of the state machine. As there is no DMA, the states without DMA among
 * peers, *_P2P, are no different from those with it.
 */
static struct file *mtty_take_arc(struct mtty *mtty,
				  enum vfio_device_mig_state next)
{
	bool streams = mtty_state_streams(mtty->state);
	struct file *file = NULL;
	int ret = 0;

	if (!streams && mtty_state_streams(next)) {
		file = mtty_stream_open(mtty, next == VFIO_DEVICE_STATE_RESUMING);
		if (IS_ERR(file))
			return file;
	}
	if (mtty->state == VFIO_DEVICE_STATE_RESUMING)
		ret = mtty_load(mtty);
	if (streams && !mtty_state_streams(next))
		mtty_stream_end(mtty);
	if (ret) {
		/* the card keeps its old state, but user space wanted another */
		mtty->state = VFIO_DEVICE_STATE_ERROR;
		return ERR_PTR(ret);
	}

	if (mtty_state_runs(mtty->state) != mtty_state_runs(next))
		mtty_run(mtty, mtty_state_runs(next));
	if (next == VFIO_DEVICE_STATE_STOP_COPY)
		mtty_stream_complete(mtty);
	mtty->state = next;
	return file;
}

/* An arc that returns a file is the last one. */
static struct file *mtty_set_state(struct mdev_device *mdev,
				   enum vfio_device_mig_state new_state)
{
	struct mtty *mtty = mdev_get_drvdata(mdev);
	enum vfio_device_mig_state next;
	struct file *file = NULL;
	int ret;

	mutex_lock(&mtty->mig_lock);
	while (mtty->state != new_state && !IS_ERR(file)) {
		ret = mdev_mig_get_next_state(mdev, mtty->state, new_state,
					      &next);
		file = ret ? ERR_PTR(ret) : mtty_take_arc(mtty, next);
	}
	mutex_unlock(&mtty->mig_lock);
	return file;
}

static int mtty_get_state(struct mdev_device *mdev,
			  enum vfio_device_mig_state *state)
{
	struct mtty *mtty = mdev_get_drvdata(mdev);

	mutex_lock(&mtty->mig_lock);
	*state = mtty->state;
	mutex_unlock(&mtty->mig_lock);
	return 0;
}

static int mtty_get_data_size(struct mdev_device *mdev, unsigned long *size)
{
	*size = mtty_saved_size(mdev_get_drvdata(mdev));
	return 0;
}

/* ---- The VFIO device: the other callbacks while it is open ---- */

/* All three start with argsz; the last two have an index. */
static long mtty_get_info(struct mtty *mtty, unsigned int cmd, void __user *arg)
{
	size_t minsz = cmd == VFIO_DEVICE_GET_INFO ?
		       offsetofend(struct vfio_device_info, num_irqs) :
		       cmd == VFIO_DEVICE_GET_REGION_INFO ?
		       offsetofend(struct vfio_region_info, offset) :
		       offsetofend(struct vfio_irq_info, count);
	union {
		struct vfio_device_info device;
		struct vfio_region_info region;
		struct vfio_irq_info irq;
	} info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.device.argsz < minsz)
		return -EINVAL;

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		info.device.flags = VFIO_DEVICE_FLAGS_PCI |
				    VFIO_DEVICE_FLAGS_RESET;
		info.device.num_regions = VFIO_PCI_NUM_REGIONS;
		info.device.num_irqs = VFIO_PCI_NUM_IRQS;
		break;
	case VFIO_DEVICE_GET_REGION_INFO:
		if (info.region.index >= VFIO_PCI_NUM_REGIONS)
			return -EINVAL;
		info.region.cap_offset = 0;
		info.region.offset = (u64)info.region.index << MTTY_OFFSET_SHIFT;
		info.region.size = mtty_region_size(mtty, info.region.index);
		info.region.flags = !info.region.size ? 0 :
			VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
		break;
	case VFIO_DEVICE_GET_IRQ_INFO:
		if (!mtty_has_irq(info.irq.index))
			return -EINVAL;
		info.irq.count = 1;
		info.irq.flags = VFIO_IRQ_INFO_EVENTFD |
			(info.irq.index != VFIO_PCI_INTX_IRQ_INDEX ?
			 VFIO_IRQ_INFO_NORESIZE :
			 VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED);
		break;
	}
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/*
 * Reset the card, but not how its interrupts are signalled, as vfio-pci does. A
 * migration that is under way ends.
 */
static int mtty_reset(struct mdev_device *mdev)
{
	struct mtty *mtty = mdev_get_drvdata(mdev);
	unsigned int i;

	mutex_lock(&mtty->mig_lock);
	mtty_stream_end(mtty);
	mtty->state = VFIO_DEVICE_STATE_RUNNING;

	spin_lock_bh(&mtty->lock);
	mtty->stopped = false;
	memcpy(mtty->config, mtty_config_reset, MTTY_CONFIG_SIZE);
	/* a timer that still runs finds an empty FIFO */
	for (i = 0; i < mtty->nr_ports; i++)
		memset(&mtty->ports[i].uart, 0, sizeof(mtty->ports[i].uart));
	mtty_update_irq(mtty);
	spin_unlock_bh(&mtty->lock);
	mutex_unlock(&mtty->mig_lock);
	return 0;
}

static long mtty_ioctl(struct mdev_device *mdev, unsigned int cmd,
		       unsigned long arg)
{
	struct mtty *mtty = mdev_get_drvdata(mdev);
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
	case VFIO_DEVICE_GET_REGION_INFO:
	case VFIO_DEVICE_GET_IRQ_INFO:
		return mtty_get_info(mtty, cmd, uarg);
	case VFIO_DEVICE_SET_IRQS:
		return mtty_set_irqs(mtty, uarg);
	case VFIO_DEVICE_RESET:
		return mtty_reset(mdev);
	default:
		return -ENOTTY;
	}
}

static void mtty_release(struct mdev_device *mdev)
{
	struct mtty *mtty = mdev_get_drvdata(mdev);
	unsigned int i;

	/* user space may still have its file open */
	mutex_lock(&mtty->mig_lock);
	mtty_stream_end(mtty);
	mutex_unlock(&mtty->mig_lock);
	/* nothing can start them again until the next open */
	for (i = 0; i < mtty->nr_ports; i++)
		timer_delete_sync(&mtty->ports[i].timer);
	for (i = 0; i < VFIO_PCI_NUM_IRQS; i++)
		mtty_set_trigger(mtty, i, -1);
}

/* The device is to be removed: ask the VMM to close it. */
static void mtty_request(struct mdev_device *mdev, unsigned int count)
{
	struct mtty *mtty = mdev_get_drvdata(mdev);

	/* fails if the VMM has set no eventfd for this, or has closed the device */
	if (mtty_poke_irq(mtty, VFIO_PCI_REQ_IRQ_INDEX,
			  VFIO_IRQ_SET_ACTION_TRIGGER) && !count)
		dev_notice(mdev_dev(mdev), "VMM does not listen for unplug requests\n");
}

/* ---- Types, and the devices of a type ---- */

/* The kobject is named after the driver and the group: "mtty-1", "mtty-2". */
static int mtty_type_ports(struct kobject *kobj)
{
	const char *name = kobject_name(kobj);

	return name[strlen(name) - 1] - '0';
}

/* A negative number returns ports. */
static int mtty_take_ports(struct mtty_parent *parent, int ports)
{
	int ret = 0;

	mutex_lock(&parent->lock);
	if (ports > parent->ports_left)
		ret = -EUSERS;
	else
		WRITE_ONCE(parent->ports_left, parent->ports_left - ports);
	mutex_unlock(&parent->lock);
	return ret;
}

static int mtty_create(struct kobject *kobj, struct mdev_device *mdev)
{
	struct mtty_parent *parent = dev_get_drvdata(mdev_parent_dev(mdev));
	int ports = mtty_type_ports(kobj);
	struct mtty *mtty;
	int i, ret;

	ret = mtty_take_ports(parent, ports);
	if (ret)
		return ret;

	mtty = kzalloc_obj(*mtty);
	if (!mtty) {
		mtty_take_ports(parent, -ports);
		return -ENOMEM;
	}

	mtty->parent = parent;
	mtty->nr_ports = ports;
	mutex_init(&mtty->mig_lock);
	spin_lock_init(&mtty->lock);
	for (i = 0; i < mtty->nr_ports; i++) {
		mtty->ports[i].mtty = mtty;
		timer_setup(&mtty->ports[i].timer, mtty_rx_timeout, 0);
	}
	/* last: the device's files appear after we return */
	mdev_set_drvdata(mdev, mtty);
	return 0;
}

static int mtty_remove(struct mdev_device *mdev)
{
	struct mtty *mtty = mdev_get_drvdata(mdev);

	/* it is closed, so its timers and eventfds are gone */
	mtty_take_ports(mtty->parent, -mtty->nr_ports);
	kfree(mtty);
	return 0;
}

/* ---- Files: of a type, of a device, of a parent ---- */

static ssize_t name_show(struct kobject *kobj, struct device *dev, char *buf)
{
	return sysfs_emit(buf, "%s port serial\n",
			  mtty_type_ports(kobj) == 1 ? "Single" : "Dual");
}
static MDEV_TYPE_ATTR_RO(name);

static ssize_t description_show(struct kobject *kobj, struct device *dev,
				char *buf)
{
	return sysfs_emit(buf, "PCI serial card, 16550A ports: %d\n",
			  mtty_type_ports(kobj));
}
static MDEV_TYPE_ATTR_RO(description);

static ssize_t device_api_show(struct kobject *kobj, struct device *dev,
			       char *buf)
{
	return sysfs_emit(buf, "%s\n", VFIO_DEVICE_API_PCI_STRING);
}
static MDEV_TYPE_ATTR_RO(device_api);

static ssize_t available_instances_show(struct kobject *kobj,
					struct device *dev, char *buf)
{
	struct mtty_parent *parent = dev_get_drvdata(dev);
	/* taking the lock would not make the answer last any longer */
	int left = READ_ONCE(parent->ports_left);

	return sysfs_emit(buf, "%d\n", left / mtty_type_ports(kobj));
}
static MDEV_TYPE_ATTR_RO(available_instances);

static struct attribute *mtty_type_attrs[] = {
	&mdev_type_attr_name.attr,
	&mdev_type_attr_description.attr,
	&mdev_type_attr_device_api.attr,
	&mdev_type_attr_available_instances.attr,
	NULL
};

static struct attribute_group mtty_type_group[] = {
	{ .name = "1", .attrs = mtty_type_attrs },
	{ .name = "2", .attrs = mtty_type_attrs },
};

static struct attribute_group *mtty_type_groups[] = {
	&mtty_type_group[0], &mtty_type_group[1], NULL
};

static ssize_t ports_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	struct mtty *mtty = mdev_get_drvdata(mdev_from_dev(dev));

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

/* no mmap: ports cannot be mapped; no request unless asked for, see below */
static struct mdev_parent_ops mtty_ops = {
	.owner			= THIS_MODULE,
	.dev_attr_groups	= mtty_parent_groups,
	.mdev_attr_groups	= mtty_mdev_groups,
	.supported_type_groups	= mtty_type_groups,
	.create			= mtty_create,
	.remove			= mtty_remove,
	.open			= mtty_reset,
	.release		= mtty_release,
	.read			= mtty_read,
	.write			= mtty_write,
	.ioctl			= mtty_ioctl,
	.migration_flags	= VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P |
				  VFIO_MIGRATION_PRE_COPY,
	.migration_set_state	= mtty_set_state,
	.migration_get_state	= mtty_get_state,
	.migration_get_data_size = mtty_get_data_size,
};

/* its name is the first half of the types' names, as there is no driver */
static struct class *mtty_class;

static int mtty_add_parent(struct mtty_parent *parent, unsigned int nr)
{
	int ret;

	mutex_init(&parent->lock);
	parent->ports_left = max_ports;
	if (parents == 1)
		parent->dev = device_create(mtty_class, NULL, MKDEV(0, 0),
					    parent, "mtty");
	else
		parent->dev = device_create(mtty_class, NULL, MKDEV(0, 0),
					    parent, "mtty%u", nr);
	if (IS_ERR(parent->dev))
		return PTR_ERR(parent->dev);

	/* last: devices can be created before this returns */
	ret = mdev_register_device(parent->dev, &mtty_ops);
	if (ret)
		device_unregister(parent->dev);
	return ret;
}

static void mtty_remove_parents(unsigned int count)
{
	while (count--) {
		mdev_unregister_device(mtty_parents[count].dev);
		device_unregister(mtty_parents[count].dev);
	}
	class_destroy(mtty_class);
}

static int __init mtty_init(void)
{
	unsigned int i;
	int ret;

	if (max_ports < 0 || !parents || parents > ARRAY_SIZE(mtty_parents))
		return -EINVAL;
	/* having this op tells the core that devices can be unplugged */
	if (unplug)
		mtty_ops.request = mtty_request;

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
