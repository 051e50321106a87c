// SPDX-License-Identifier: GPL-2.0-only
/*
 * medu: a vendor driver of the classic door that divides a real PCI device.
 *
 * The hardware is "edu", which QEMU emulates for teaching how to write drivers
 * (-device edu, see its docs/specs/edu.rst). It computes factorials, moves up to
 * 4 KiB at a time between memory and a buffer of its own, and interrupts when it is
 * done. It can do one thing at a time, for one driver. Each mediated device looks
 * like an edu to its guest: the same IDs, registers, buffer and interrupts, plus one
 * register. What guests write to the registers becomes jobs, which the one engine
 * does in turn.
 *
 * How to read this as the author of a vendor driver:
 *
 * "The hardware" drives the real device, and contains nothing of mdev.
 *
 * "The jobs" schedules: a device that has jobs is put in a line. When it comes to the
 * front, one of its jobs is done, and it goes to the end. So a device waits for at
 * most one job of every other device, and no guest can keep the engine for itself.
 *
 * "Memory" pins a guest's memory, for the hardware or for a copy. User memory may never
 * become present, and while VFIO waits for it, it may hold locks that an unpin needs.
 * So the thread that starts a DMA pins the memory before the device is put in the line,
 * because that thread can be killed, and a workqueue of the device's own unpins it. The
 * engine waits for nothing but its hardware.
 *
 * A VMM may unmap memory, or die, in the middle of a transfer. Both wait for that
 * transfer, but not longer than the timeout, after which the hardware is taken off the
 * bus.
 *
 * The contents of a device's buffer are in a page of its own. Each DMA moves data from
 * memory through the hardware to memory. The hardware's buffer is overwritten before
 * it serves another device, or the same device after a reset, so that no guest gets
 * data that another has left there, even if a transfer is lost without an error.
 * For suspend, and for a reset of the hardware, the engine stops between two jobs.
 *
 * The kit for emulated PCI devices (linux/mdev_pci.h) does what every PCI device needs
 * under VFIO, from configuration space to interrupts. The tables below "What a device
 * looks like" describe the device to it.
 */
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/interrupt.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/list.h>
#include <linux/mdev_pci.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pm.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "medu.h"

/* older QEMUs end themselves when a transfer touches the last byte */
#define MEDU_TRANSFER_MAX	(MEDU_BUFFER_SIZE - 8)

/* jobs of a device: what its registers want the hardware to do */
#define MEDU_JOB_FACT		BIT(0)
#define MEDU_JOB_DMA		BIT(1)

/* interrupts can be lost: how often to look whether it has finished without one */
#define MEDU_POLL_MS		100

/* 34 has 32 factors of two in its factorial, so that 32 bits of it are zero */
#define MEDU_FACT_ZERO		34

/* how long to wait for what it still does at a reset, and for a host that is slow */
#define MEDU_RESET_US		(1000 * USEC_PER_MSEC)
#define MEDU_FACT_GRACE_US	(100 * USEC_PER_MSEC)

static unsigned int instances = 8;
module_param(instances, uint, 0444);
MODULE_PARM_DESC(instances, "Maximum number of mediated devices of each edu (8)");

static unsigned int dma_bits = 28;
module_param(dma_bits, uint, 0444);
MODULE_PARM_DESC(dma_bits, "Number of address bits of the hardware, as in QEMU's dma_mask (28)");

static bool msi = true;
module_param(msi, bool, 0444);
MODULE_PARM_DESC(msi, "Use message signalled interrupts of the hardware (yes)");

static unsigned int timeout_ms = 5000;
module_param(timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms, "Milliseconds after which the hardware is regarded as hung (5000)");

/* The hardware, and the devices that want to use it. */
struct medu_engine {
	struct pci_dev *pdev;
	void __iomem *regs;		/* its BAR 0 */
	struct completion done;		/* it has interrupted */
	bool broken;			/* it does not answer any more */
	bool bounced;			/* it does not reach all memory */
	void *zeroes;			/* a page, to overwrite its buffer with */
	dma_addr_t zeroes_dma;
	/* whose data is in its buffer (medu.tenant), or 0; used while no job is begun */
	u64 in_buffer;
	unsigned long transfers;	/* that it was told to do */
	struct mdev_pci_parent parent;
	struct workqueue_struct *wq;	/* runs @work, one at a time */
	struct work_struct work;	/* does one job */
	spinlock_t lock;		/* protects what follows, and the rest of medu */
	u64 tenants;			/* how many there were */
	bool paused;			/* no job is begun */
	struct list_head line;		/* devices with jobs, but for the one served */
	wait_queue_head_t idle;		/* for jobs that end */
};

/* The registers that are not constant; those of 64 bits are all in @dma. */
struct medu_regs {
	u32 live;
	u32 fact;
	u32 status;
	u32 irq_status;
	u64 dma[(MEDU_DMA_ERROR - MEDU_WIDE) / 8 + 1];
};

/* A mediated device. */
struct medu {
	struct mdev_pci pci;		/* the kit's part */
	struct medu_engine *engine;
	void *page;			/* its buffer; the worker's while a job is done */
	void *bounce;			/* after it: a copy of user memory, if need be */
	dma_addr_t page_dma;		/* where the hardware finds both */
	/* runs @end; its own, as VFIO can make it wait, and no other device must */
	struct workqueue_struct *wq;
	struct work_struct end;		/* unpins @pin, and reports to the guest */
	struct mdev_pci_pin pin;	/* for the one that has set @pin_taken */
	wait_queue_head_t pin_wait;	/* for those that want to, and for a reset */

	/* under engine->lock, but for what does not change while a job is done */
	bool pin_taken;			/* from before it is pinned to after it was */
	u64 pin_tenant;			/* @tenant then: another is not told the result */
	bool stop;			/* it is being unmapped, or the device reset */
	int error;			/* of the DMA */
	u64 tenant;			/* of an opener until a reset, and of no other */
	bool resetting;			/* no new jobs are accepted */
	struct list_head line;		/* in engine->line */
	unsigned int wanted;		/* jobs that wait; their registers are busy */
	unsigned int doing;		/* the job that the engine does */
	struct medu_regs regs;
};

static struct medu *to_medu(struct mdev_pci *pci)
{
	return container_of(pci, struct medu, pci);
}

static u64 *medu_dma_reg(struct medu *medu, unsigned int where)
{
	return &medu->regs.dma[(where - MEDU_WIDE) / 8];
}

/* ---- The hardware ---- */

static irqreturn_t medu_interrupt(int irq, void *data)
{
	struct medu_engine *engine = data;
	u32 status = readl(engine->regs + MEDU_IRQ_STATUS);

	/* a device that is gone has all bits set */
	if (!status || status == U32_MAX)
		return IRQ_NONE;

	writel(status, engine->regs + MEDU_IRQ_ACK);
	complete(&engine->done);
	return IRQ_HANDLED;
}

static void medu_engine_start(struct medu_engine *engine)
{
	writel(U32_MAX, engine->regs + MEDU_IRQ_ACK);
	writel(MEDU_STATUS_IRQ, engine->regs + MEDU_STATUS);
	pci_set_master(engine->pdev);
}

/* Registers of a device that does not answer read as ones, or as zeroes. */
static bool medu_engine_alive(struct medu_engine *engine)
{
	u32 id = readl(engine->regs + MEDU_ID);

	return (id & MEDU_ID_MASK) == (MEDU_ID_VALUE & MEDU_ID_MASK);
}

/*
 * QEMU computes by the host's time. If the guest's leaps ahead when nothing is to be done, a
 * wait may be over before QEMU has begun; this does not sleep.
 */
static int medu_engine_computed(struct medu_engine *engine)
{
	u32 val;

	return readl_poll_timeout_atomic(engine->regs + MEDU_STATUS, val,
					 !(val & MEDU_STATUS_COMPUTING), 1,
					 MEDU_FACT_GRACE_US);
}

/* Wait for an operation that may still be under way. */
static int medu_engine_settle(struct medu_engine *engine)
{
	void __iomem *regs = engine->regs;
	u32 val;
	int ret;

	if (!medu_engine_alive(engine))
		return -ENODEV;
	ret = readl_poll_timeout(regs + MEDU_DMA_CMD, val,
				 !(val & MEDU_DMA_RUN), 1000, MEDU_RESET_US);
	if (ret)
		return ret;
	return readl_poll_timeout(regs + MEDU_STATUS, val,
				  !(val & MEDU_STATUS_COMPUTING), 1000,
				  MEDU_RESET_US) ? medu_engine_computed(engine) : 0;
}

/* Make the hardware ready, whatever state it is in. */
static void medu_engine_restart(struct medu_engine *engine)
{
	/* the contents of the buffer are not known now */
	engine->in_buffer = 0;
	if (engine->broken)
		return;
	if (!medu_engine_settle(engine)) {
		medu_engine_start(engine);
		return;
	}
	dev_err(&engine->pdev->dev,
		"hardware does not answer and is not used any more\n");
	WRITE_ONCE(engine->broken, true);
}

/*
 * The hardware has no register to stop it. When it is off the bus it cannot access
 * memory, whatever it does, so the memory that it was given can be unpinned.
 */
static void medu_engine_reset(struct medu_engine *engine, int error)
{
	dev_err(&engine->pdev->dev, "hardware failed: %d; resetting it\n", error);
	pci_clear_master(engine->pdev);
	medu_engine_restart(engine);
}

/* Wait until it has cleared the bit @busy of a register. */
static int medu_engine_wait(struct medu_engine *engine, unsigned int reg,
			    u32 busy)
{
	unsigned long left = msecs_to_jiffies(READ_ONCE(timeout_ms));
	unsigned long poll;

	do {
		poll = min(left, msecs_to_jiffies(MEDU_POLL_MS));
		left -= poll;
		left += wait_for_completion_timeout(&engine->done, poll);
		if (!medu_engine_alive(engine))
			return -ENODEV;
		/* the interrupt may be a late one, or have another cause */
		if (!(readl(engine->regs + reg) & busy))
			return 0;
	} while (left);
	return -ETIMEDOUT;
}

static int medu_engine_transfer(struct medu_engine *engine, u64 src, u64 dst,
				size_t count, u64 direction)
{
	u16 command;
	int ret;

	if (engine->broken)
		return -EIO;

	WRITE_ONCE(engine->transfers, engine->transfers + 1);
	reinit_completion(&engine->done);
	writeq(src, engine->regs + MEDU_DMA_SRC);
	writeq(dst, engine->regs + MEDU_DMA_DST);
	writeq(count, engine->regs + MEDU_DMA_COUNT);
	/* this one waits for what we have written to memory */
	writeq(MEDU_DMA_RUN | MEDU_DMA_IRQ | direction,
	       engine->regs + MEDU_DMA_CMD);
	ret = medu_engine_wait(engine, MEDU_DMA_CMD, MEDU_DMA_RUN);
	/* when off the bus, the hardware reports success, but has moved nothing */
	pci_read_config_word(engine->pdev, PCI_COMMAND, &command);
	if (!ret && !(command & PCI_COMMAND_MASTER))
		ret = -EIO;
	if (ret)
		medu_engine_reset(engine, ret);
	return ret;
}

/* Fill the hardware's buffer with zeroes, unless the data in it is @tenant's. */
static int medu_engine_clear(struct medu_engine *engine, u64 tenant)
{
	int ret;

	if (tenant && engine->in_buffer == tenant)
		return 0;
	ret = medu_engine_transfer(engine, engine->zeroes_dma, MEDU_BUFFER,
				   MEDU_TRANSFER_MAX, 0);
	if (!ret)
		engine->in_buffer = tenant;
	return ret;
}

static int medu_engine_factorial(struct medu_engine *engine, u32 n, u32 *result)
{
	int ret;

	if (engine->broken)
		return -EIO;

	reinit_completion(&engine->done);
	/* it multiplies one by one: a large number would take seconds */
	writel(min_t(u32, n, MEDU_FACT_ZERO), engine->regs + MEDU_FACT);
	ret = medu_engine_wait(engine, MEDU_STATUS, MEDU_STATUS_COMPUTING);
	if (ret == -ETIMEDOUT)
		ret = medu_engine_computed(engine);
	if (ret)
		medu_engine_reset(engine, ret);
	else
		*result = readl(engine->regs + MEDU_FACT);
	return ret;
}

/* ---- What a guest is told ---- */

static void medu_raise(struct medu *medu, u32 status)
{
	lockdep_assert_held(&medu->engine->lock);
	medu->regs.irq_status |= status;
	if (!medu->regs.irq_status)
		return;
	mdev_pci_set_intx(&medu->pci, true);
	/* one message each time, even if the last one was not acknowledged */
	mdev_pci_signal(&medu->pci, 0);
}

/* The transfer in the registers is done, or could not begin. */
static void medu_dma_done(struct medu *medu, int error)
{
	u64 *cmd = medu_dma_reg(medu, MEDU_DMA_CMD);

	lockdep_assert_held(&medu->engine->lock);
	*medu_dma_reg(medu, MEDU_DMA_ERROR) = -error;
	*cmd &= ~MEDU_DMA_RUN;
	if (*cmd & MEDU_DMA_IRQ)
		medu_raise(medu, MEDU_IRQ_DMA |
			   (error ? MEDU_IRQ_DMA_FAILED : 0));
}

/* ---- What the engine does: the registers of a job do not change meanwhile ---- */

static void medu_do_fact(struct medu *medu)
{
	u32 result = 0;

	/* there is no register for an error: the result is 0 then */
	medu_engine_factorial(medu->engine, medu->regs.fact, &result);
	spin_lock(&medu->engine->lock);
	medu->regs.fact = result;
	medu->regs.status &= ~MEDU_STATUS_COMPUTING;
	if (medu->regs.status & MEDU_STATUS_IRQ)
		medu_raise(medu, MEDU_IRQ_FACT);
	spin_unlock(&medu->engine->lock);
}

/* Between memory at @addr and the device's page, through the hardware's buffer. */
static int medu_move(struct medu *medu, dma_addr_t addr, u64 offset,
		     size_t count, bool to_ram)
{
	struct medu_engine *engine = medu->engine;
	dma_addr_t page = medu->page_dma + offset;
	int ret;

	ret = medu_engine_clear(engine, medu->tenant);
	if (ret)
		return ret;
	ret = medu_engine_transfer(engine, to_ram ? page : addr, MEDU_BUFFER,
				   count, 0);
	if (ret)
		return ret;
	return medu_engine_transfer(engine, MEDU_BUFFER, to_ram ? addr : page,
				    count, MEDU_DMA_TO_RAM);
}

/* Between a page of user memory and the device's page. */
static int medu_move_page(struct medu *medu, struct page *page, size_t where,
			  u64 offset, size_t count, bool to_ram)
{
	enum dma_data_direction dir = to_ram ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
	struct device *dev = &medu->engine->pdev->dev;
	dma_addr_t addr;
	int ret;

	if (medu->engine->bounced) {
		if (!to_ram)
			memcpy_from_page(medu->bounce, page, where, count);
		ret = medu_move(medu, medu->page_dma + MEDU_BUFFER_SIZE, offset,
				count, to_ram);
		if (!ret && to_ram)
			memcpy_to_page(page, where, medu->bounce, count);
		return ret;
	}
	/* the hardware accesses it itself */
	addr = dma_map_page(dev, page, where, count, dir);
	ret = dma_mapping_error(dev, addr);
	if (ret)
		return ret;
	ret = medu_move(medu, addr, offset, count, to_ram);
	dma_unmap_page(dev, addr, count, dir);
	return ret;
}

/* What the registers say. */
struct medu_dma {
	u64 iova;
	u64 offset;
	u64 count;
	bool to_ram;
};

static void medu_parse_dma(struct medu *medu, struct medu_dma *dma)
{
	u64 src = *medu_dma_reg(medu, MEDU_DMA_SRC);
	u64 dst = *medu_dma_reg(medu, MEDU_DMA_DST);

	dma->to_ram = *medu_dma_reg(medu, MEDU_DMA_CMD) & MEDU_DMA_TO_RAM;
	dma->iova = dma->to_ram ? dst : src;
	dma->offset = (dma->to_ram ? src : dst) - MEDU_BUFFER;
	dma->count = *medu_dma_reg(medu, MEDU_DMA_COUNT);
}

/* In pieces, each of which is within one page of memory. */
static int medu_transfer(struct medu *medu)
{
	size_t where, done, piece;
	struct medu_dma dma;
	struct page *page;
	int ret = 0;

	medu_parse_dma(medu, &dma);
	for (done = 0; done < dma.count && !ret; done += piece) {
		/* a reset, a close or an unmap waits for this */
		if (READ_ONCE(medu->stop))
			return -EFAULT;
		if (!(mdev_pci_command(&medu->pci) & PCI_COMMAND_MASTER))
			return -EACCES;
		where = offset_in_page(dma.iova) + done;
		page = medu->pin.pages[where >> PAGE_SHIFT];
		where = offset_in_page(where);
		piece = min3((size_t)dma.count - done, (size_t)MEDU_TRANSFER_MAX,
			     (size_t)PAGE_SIZE - where);
		ret = medu_move_page(medu, page, where, dma.offset + done, piece,
				     dma.to_ram);
	}
	return ret;
}

static void medu_do_dma(struct medu *medu)
{
	int error = medu_transfer(medu);

	spin_lock(&medu->engine->lock);
	medu->error = error;
	queue_work(medu->wq, &medu->end);
	spin_unlock(&medu->engine->lock);
}

/* ---- The jobs ---- */

/* The registers want something done. */
static void medu_submit(struct medu *medu, unsigned int job)
{
	struct medu_engine *engine = medu->engine;

	lockdep_assert_held(&engine->lock);
	medu->wanted |= job;
	if (!medu->doing && list_empty(&medu->line))
		list_add_tail(&medu->line, &engine->line);
	queue_work(engine->wq, &engine->work);
}

/* The registers do not want @jobs any more. One that is being done is told to stop. */
static void medu_cancel(struct medu *medu, unsigned int jobs)
{
	lockdep_assert_held(&medu->engine->lock);
	WRITE_ONCE(medu->stop, true);
	if (medu->wanted & jobs & MEDU_JOB_DMA) {
		medu->error = -EFAULT;
		queue_work(medu->wq, &medu->end);
	}
	medu->wanted &= ~jobs;
	if (!medu->wanted)
		list_del_init(&medu->line);
}

/* The worker: one job of the device at the front of the line. */
static void medu_work(struct work_struct *work)
{
	struct medu_engine *engine = container_of(work, struct medu_engine, work);
	struct medu *medu;

	spin_lock(&engine->lock);
	medu = list_first_entry_or_null(&engine->line, struct medu, line);
	if (!medu || engine->paused) {
		spin_unlock(&engine->lock);
		return;
	}
	list_del_init(&medu->line);
	medu->doing = medu->wanted & MEDU_JOB_FACT ?: MEDU_JOB_DMA;
	medu->wanted &= ~medu->doing;
	spin_unlock(&engine->lock);

	/* this does not wait for anything that user space controls */
	if (medu->doing == MEDU_JOB_FACT)
		medu_do_fact(medu);
	else
		medu_do_dma(medu);

	spin_lock(&engine->lock);
	medu->doing = 0;
	if (medu->wanted)
		list_add_tail(&medu->line, &engine->line);
	if (!list_empty(&engine->line))
		queue_work(engine->wq, &engine->work);
	spin_unlock(&engine->lock);
	/* the device may be gone from here on, the engine waits for us */
	wake_up_all(&engine->idle);
}

static bool medu_does(struct medu *medu, unsigned int jobs)
{
	bool does;

	spin_lock(&medu->engine->lock);
	does = medu->doing & jobs;
	spin_unlock(&medu->engine->lock);
	return does;
}

/* When this returns, no job is done, and none begins until medu_go_on(). */
static void medu_pause(struct pci_dev *pdev)
{
	struct medu_engine *engine = pci_get_drvdata(pdev);

	spin_lock(&engine->lock);
	engine->paused = true;
	spin_unlock(&engine->lock);
	flush_work(&engine->work);
}

static void medu_go_on(struct pci_dev *pdev)
{
	struct medu_engine *engine = pci_get_drvdata(pdev);

	/* it may have been without power */
	medu_engine_restart(engine);
	spin_lock(&engine->lock);
	engine->paused = false;
	if (!list_empty(&engine->line))
		queue_work(engine->wq, &engine->work);
	spin_unlock(&engine->lock);
}

/* ---- Memory ---- */

/* Returns false if the memory of an earlier DMA is in use; a reset ends the wait for it. */
static bool medu_take_pin(struct medu *medu, u64 tenant, bool *taken)
{
	bool stale;

	spin_lock(&medu->engine->lock);
	stale = tenant != medu->tenant;
	*taken = !stale && !medu->pin_taken;
	if (*taken) {
		medu->pin_taken = true;
		medu->pin_tenant = tenant;
		medu->stop = false;
	}
	spin_unlock(&medu->engine->lock);
	return *taken || stale;
}

/* There is no memory any more, and the registers can be used again. */
static void medu_leave_pin(struct medu *medu, int error)
{
	lockdep_assert_held(&medu->engine->lock);
	medu->pin_taken = false;
	if (medu->pin_tenant == medu->tenant && !medu->resetting)
		medu_dma_done(medu, error);
	wake_up_all(&medu->pin_wait);
}

static void medu_end(struct work_struct *work)
{
	struct medu *medu = container_of(work, struct medu, end);

	mdev_pci_unpin_pages(&medu->pci, &medu->pin);
	spin_lock(&medu->engine->lock);
	medu_leave_pin(medu, medu->error);
	spin_unlock(&medu->engine->lock);
}

/*
 * Pin the memory of a DMA, in the thread that has started it. VFIO may wait for user
 * space there, so no lock is held, and a fatal signal ends the wait.
 */
static void medu_begin_dma(struct medu *medu, const struct medu_dma *dma,
			   u64 tenant)
{
	struct medu_engine *engine = medu->engine;
	bool taken;
	int ret;

	/* killed, or reset; if killed, the registers stay busy until a reset */
	ret = wait_event_killable(medu->pin_wait, medu_take_pin(medu, tenant, &taken));
	if (ret || !taken)
		return;
	ret = mdev_pci_pin_pages(&medu->pci, &medu->pin, dma->iova, dma->count,
				 dma->to_ram);
	spin_lock(&engine->lock);
	if (ret) {
		medu_leave_pin(medu, ret);
	} else if (medu->stop || medu->resetting || tenant != medu->tenant) {
		medu->error = -EFAULT;
		queue_work(medu->wq, &medu->end);
	} else {
		medu_submit(medu, MEDU_JOB_DMA);
	}
	spin_unlock(&engine->lock);
}

/* The kit unpins the memory when this returns. The DMA that used it fails. */
static void medu_unpin(struct mdev_pci *pci, struct mdev_pci_pin *pin)
{
	struct medu *medu = to_medu(pci);

	spin_lock(&medu->engine->lock);
	medu_cancel(medu, MEDU_JOB_DMA);
	spin_unlock(&medu->engine->lock);
	wait_event(medu->engine->idle, !medu_does(medu, MEDU_JOB_DMA));
}

/* ---- The registers ---- */

static u64 medu_reg_read(struct medu *medu, unsigned int where)
{
	switch (where) {
	case MEDU_ID:
		return MEDU_ID_VALUE;
	case MEDU_LIVE:
		return medu->regs.live;
	case MEDU_FACT:
		return medu->regs.fact;
	case MEDU_STATUS:
		return medu->regs.status;
	case MEDU_IRQ_STATUS:
		return medu->regs.irq_status;
	case MEDU_DMA_SRC:
	case MEDU_DMA_DST:
	case MEDU_DMA_COUNT:
	case MEDU_DMA_CMD:
	case MEDU_DMA_ERROR:
		return *medu_dma_reg(medu, where);
	}
	return U64_MAX;
}

/* Returns true if this begins a DMA, which is in @dma then. */
static bool medu_write_dma(struct medu *medu, unsigned int where, u64 val,
			   struct medu_dma *dma)
{
	u64 *cmd = medu_dma_reg(medu, MEDU_DMA_CMD);
	bool valid;

	/* they stay as they are until it is done */
	if (*cmd & MEDU_DMA_RUN)
		return false;
	if (where != MEDU_DMA_CMD) {
		*medu_dma_reg(medu, where) = val;
		return false;
	}
	if (!(val & MEDU_DMA_RUN) || medu->resetting)
		return false;
	*cmd = val & (MEDU_DMA_RUN | MEDU_DMA_TO_RAM | MEDU_DMA_IRQ);
	medu_parse_dma(medu, dma);
	/* an address below the buffer has wrapped around and is too high */
	valid = dma->offset <= MEDU_BUFFER_SIZE &&
		dma->count <= MEDU_BUFFER_SIZE - dma->offset;
	if (valid && dma->count)
		return true;
	medu_dma_done(medu, valid ? 0 : -ERANGE);
	return false;
}

static bool medu_reg_write(struct medu *medu, unsigned int where, u64 val,
			   struct medu_dma *dma)
{
	struct medu_regs *regs = &medu->regs;

	switch (where) {
	case MEDU_LIVE:
		regs->live = ~val;
		break;
	case MEDU_FACT:
		if (regs->status & MEDU_STATUS_COMPUTING || medu->resetting)
			break;
		regs->fact = val;
		regs->status |= MEDU_STATUS_COMPUTING;
		medu_submit(medu, MEDU_JOB_FACT);
		break;
	case MEDU_STATUS:
		regs->status = (regs->status & MEDU_STATUS_COMPUTING) |
			       (val & MEDU_STATUS_IRQ);
		break;
	case MEDU_IRQ_RAISE:
		medu_raise(medu, val);
		break;
	case MEDU_IRQ_ACK:
		regs->irq_status &= ~val;
		mdev_pci_set_intx(&medu->pci, regs->irq_status);
		break;
	case MEDU_DMA_SRC:
	case MEDU_DMA_DST:
	case MEDU_DMA_COUNT:
	case MEDU_DMA_CMD:
		return medu_write_dma(medu, where, val, dma);
	}
	return false;
}

static u64 medu_read(struct mdev_pci *pci, const struct mdev_pci_region *bar,
		     u64 offset, unsigned int width)
{
	struct medu *medu = to_medu(pci);
	u64 val;

	if (width == 8 && offset < MEDU_WIDE)
		return (u32)medu_read(pci, bar, offset, 4) |
		       medu_read(pci, bar, offset + 4, 4) << 32;
	spin_lock(&medu->engine->lock);
	val = medu_reg_read(medu, offset);
	spin_unlock(&medu->engine->lock);
	return val;
}

static void medu_write(struct mdev_pci *pci, const struct mdev_pci_region *bar,
		       u64 offset, unsigned int width, u64 val)
{
	struct medu *medu = to_medu(pci);
	struct medu_dma dma;
	u64 tenant;
	bool begin;

	if (width == 8 && offset < MEDU_WIDE) {
		medu_write(pci, bar, offset, 4, (u32)val);
		medu_write(pci, bar, offset + 4, 4, val >> 32);
		return;
	}
	spin_lock(&medu->engine->lock);
	begin = medu_reg_write(medu, offset, val, &dma);
	tenant = medu->tenant;
	spin_unlock(&medu->engine->lock);
	if (begin)
		medu_begin_dma(medu, &dma, tenant);
}

/* ---- The life of a device ---- */

/*
 * When this returns, nothing is done for the device any more, and its registers have
 * their initial values. It does not wait for a DMA whose memory is waited for, or not
 * unpinned yet: that does nothing more.
 */
static void medu_reset(struct mdev_pci *pci)
{
	struct medu *medu = to_medu(pci);
	struct medu_engine *engine = medu->engine;

	spin_lock(&engine->lock);
	medu->resetting = true;
	medu_cancel(medu, MEDU_JOB_FACT | MEDU_JOB_DMA);
	spin_unlock(&engine->lock);
	wait_event(engine->idle, !medu_does(medu, ~0U));

	spin_lock(&engine->lock);
	memset(&medu->regs, 0, sizeof(medu->regs));
	mdev_pci_set_intx(pci, false);
	memset(medu->page, 0, 2 * MEDU_BUFFER_SIZE);
	medu->tenant = ++engine->tenants;
	medu->resetting = false;
	wake_up_all(&medu->pin_wait);
	spin_unlock(&engine->lock);
}

static int medu_open(struct mdev_pci *pci)
{
	return READ_ONCE(to_medu(pci)->engine->broken) ? -EIO : 0;
}

/* No callback runs that could begin another DMA. */
static void medu_close(struct mdev_pci *pci)
{
	flush_workqueue(to_medu(pci)->wq);
}

static void medu_exit(struct mdev_pci *pci)
{
	struct medu *medu = to_medu(pci);

	/* it is closed, so it has no jobs */
	destroy_workqueue(medu->wq);
	dma_free_coherent(&medu->engine->pdev->dev, 2 * MEDU_BUFFER_SIZE,
			  medu->page, medu->page_dma);
}

static int medu_init(struct mdev_pci *pci)
{
	struct medu *medu = to_medu(pci);
	struct medu_engine *engine;

	engine = container_of(pci->parent, struct medu_engine, parent);
	medu->engine = engine;
	INIT_WORK(&medu->end, medu_end);
	INIT_LIST_HEAD(&medu->line);
	init_waitqueue_head(&medu->pin_wait);
	medu->wq = alloc_ordered_workqueue("medu", 0);
	if (!medu->wq)
		return -ENOMEM;
	medu->page = dma_alloc_coherent(&engine->pdev->dev,
					2 * MEDU_BUFFER_SIZE, &medu->page_dma,
					GFP_KERNEL);
	medu->bounce = medu->page + MEDU_BUFFER_SIZE;
	if (medu->page)
		return 0;
	destroy_workqueue(medu->wq);
	return -ENOMEM;
}

/* ---- What a device looks like ---- */

static const struct mdev_pci_region medu_regions[] = {
	[VFIO_PCI_BAR0_REGION_INDEX] = {
		.size		= MEDU_BAR_SIZE,
		/* no single bytes; 4 bytes of a wide register are its low half, as in QEMU */
		.width		= 8,
		.min_width	= 4,
		.read		= medu_read,
		.write		= medu_write,
	},
};

static const struct mdev_pci_cap medu_caps[] = { MDEV_PCI_CAP_MSI(1) };

static const struct mdev_pci_ops medu_ops = {
	.init	= medu_init,
	.exit	= medu_exit,
	.reset	= medu_reset,
	.open	= medu_open,
	.close	= medu_close,
	.unpin	= medu_unpin,
};

static const struct mdev_pci_desc medu_desc = {
	.vendor		= MEDU_VENDOR_ID,
	.device		= MEDU_DEVICE_ID,
	.class		= 0xff0000,
	.revision	= 0x10,
	.intx		= true,
	.caps		= medu_caps,
	.nr_caps	= ARRAY_SIZE(medu_caps),
	.regions	= medu_regions,
	.nr_regions	= ARRAY_SIZE(medu_regions),
	MDEV_PCI_DEVICE(struct medu, pci),
	.ops		= &medu_ops,
};

static const struct mdev_pci_type medu_types[] = {
	{
		.name		= "1",
		.pretty_name	= "Shared edu",
		.description	= "QEMU edu, a turn of one job at a time, buffer: 4 KiB",
		.desc		= &medu_desc,
	},
};

static ssize_t transfers_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	struct medu_engine *engine = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%lu\n", READ_ONCE(engine->transfers));
}
static DEVICE_ATTR_RO(transfers);

static struct attribute *medu_parent_attrs[] = {
	&dev_attr_transfers.attr,
	NULL
};

static const struct attribute_group medu_parent_group = {
	.name	= "medu",
	.attrs	= medu_parent_attrs,
};
__ATTRIBUTE_GROUPS(medu_parent);

static const struct mdev_parent_ops medu_parent_ops = {
	MDEV_PCI_OPS,
	MDEV_PCI_DMA_OPS,
	.dev_attr_groups	= medu_parent_groups,
	.request		= mdev_pci_request,
};

/* ---- The PCI driver ---- */

/* Is it an edu, and does it work? */
static int medu_check(struct medu_engine *engine)
{
	const u32 magic = 0xedf00d;

	writel(magic, engine->regs + MEDU_LIVE);
	if (!medu_engine_alive(engine) ||
	    readl(engine->regs + MEDU_LIVE) != ~magic) {
		dev_err(&engine->pdev->dev, "does not work like an edu\n");
		return -ENODEV;
	}
	/* a previous driver may have left it running */
	return medu_engine_settle(engine);
}

static void medu_destroy_wq(void *data)
{
	destroy_workqueue(data);
}

/* What is acquired here is released after the driver's remove, in the opposite order. */
static int medu_probe_hardware(struct medu_engine *engine)
{
	struct pci_dev *pdev = engine->pdev;
	struct device *dev = &pdev->dev;
	int ret;

	if (!dma_bits || dma_bits > 64)
		return -EINVAL;
	engine->wq = alloc_ordered_workqueue("medu", 0);
	if (!engine->wq)
		return -ENOMEM;
	ret = devm_add_action_or_reset(dev, medu_destroy_wq, engine->wq) ?:
	      pcim_enable_device(pdev);
	if (ret)
		return ret;
	engine->regs = devm_ioremap_resource(dev, &pdev->resource[0]);
	if (IS_ERR(engine->regs))
		return PTR_ERR(engine->regs);
	ret = medu_check(engine) ?:
	      dma_set_mask_and_coherent(dev, DMA_BIT_MASK(dma_bits));
	if (ret)
		return ret;
	engine->bounced = dma_addressing_limited(dev);
	engine->zeroes = dmam_alloc_coherent(dev, MEDU_BUFFER_SIZE,
					     &engine->zeroes_dma, GFP_KERNEL);
	if (!engine->zeroes)
		return -ENOMEM;
	ret = pci_alloc_irq_vectors(pdev, 1, 1, msi ? PCI_IRQ_ALL_TYPES :
				    PCI_IRQ_INTX);
	if (ret < 0)
		return ret;
	return devm_request_irq(dev, pci_irq_vector(pdev, 0), medu_interrupt,
				IRQF_SHARED, "medu", engine);
}

static int medu_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct medu_engine *engine;
	int ret;

	engine = devm_kzalloc(&pdev->dev, sizeof(*engine), GFP_KERNEL);
	if (!engine)
		return -ENOMEM;
	engine->pdev = pdev;
	init_completion(&engine->done);
	engine->parent.ops = medu_parent_ops;
	engine->parent.types = medu_types;
	engine->parent.nr_types = ARRAY_SIZE(medu_types);
	engine->parent.units = min_t(unsigned int, instances, INT_MAX);
	INIT_WORK(&engine->work, medu_work);
	spin_lock_init(&engine->lock);
	INIT_LIST_HEAD(&engine->line);
	init_waitqueue_head(&engine->idle);
	pci_set_drvdata(pdev, engine);

	ret = medu_probe_hardware(engine);
	if (ret)
		return ret;
	medu_engine_start(engine);
	/* last: devices can be created before this returns */
	ret = mdev_pci_register(&engine->parent, &pdev->dev);
	if (ret)
		pci_clear_master(pdev);
	return ret;
}

static void medu_pci_remove(struct pci_dev *pdev)
{
	struct medu_engine *engine = pci_get_drvdata(pdev);

	/* VMMs are asked to close open devices, waited for, and served until then */
	mdev_pci_unregister(&engine->parent);
	flush_workqueue(engine->wq);
	/* the next driver, vfio-pci perhaps, must not find data in it */
	medu_engine_clear(engine, 0);
	/* off the bus, as the memory that it knows is freed now */
	pci_clear_master(pdev);
}

/* User space is frozen, and a job's memory is pinned, so the job ends soon. */
static int medu_suspend(struct device *dev)
{
	medu_pause(to_pci_dev(dev));
	return 0;
}

static int medu_resume(struct device *dev)
{
	medu_go_on(to_pci_dev(dev));
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(medu_pm_ops, medu_suspend, medu_resume);

static const struct pci_error_handlers medu_err_handlers = {
	.reset_prepare	= medu_pause,
	.reset_done	= medu_go_on,
};

static const struct pci_device_id medu_ids[] = {
	{ PCI_DEVICE(MEDU_VENDOR_ID, MEDU_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, medu_ids);

static struct pci_driver medu_driver = {
	.name		= "medu",
	.id_table	= medu_ids,
	.probe		= medu_pci_probe,
	.remove		= medu_pci_remove,
	.err_handler	= &medu_err_handlers,
	.driver.pm	= pm_sleep_ptr(&medu_pm_ops),
};
module_pci_driver(medu_driver);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mediated devices of QEMU's edu");
