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
 * "Memory" translates a guest's addresses to the hardware's. User memory may never
 * become present, and while VFIO waits for it, it may hold locks that an unpin needs.
 * So the thread that starts a DMA pins the memory before the job is put in the line,
 * because there it can be killed, and a workqueue of the device's own unpins it. The
 * engine waits for nothing but its hardware.
 *
 * A VMM may unmap memory, or die, in the middle of a transfer. Both wait for that
 * transfer, but not longer than the timeout, after which the hardware is taken off the
 * bus.
 *
 * The contents of a device's buffer are in a page of its own. Each job moves data from
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
#include <linux/iommu.h>
#include <linux/iopoll.h>
#include <linux/list.h>
#include <linux/mdev_pci.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pci.h>
#include <linux/pm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#define MEDU_VENDOR_ID		0x1234
#define MEDU_DEVICE_ID		0x11e8

/* registers of BAR 0, of the hardware and of mediated devices */
#define MEDU_ID			0x00
#define   MEDU_ID_VALUE		0x010000ed	/* version 1.0 */
#define   MEDU_ID_MASK		0x0000ffff
#define MEDU_LIVE		0x04	/* reads the inverse of what is written */
#define MEDU_FACT		0x08
#define MEDU_STATUS		0x20
#define   MEDU_STATUS_COMPUTING	BIT(0)
#define   MEDU_STATUS_IRQ	BIT(7)	/* interrupt when computed */
#define MEDU_IRQ_STATUS		0x24
#define   MEDU_IRQ_FACT		BIT(0)
#define   MEDU_IRQ_DMA		BIT(8)
#define   MEDU_IRQ_DMA_FAILED	BIT(9)	/* ours, along with the former */
#define MEDU_IRQ_RAISE		0x60
#define MEDU_IRQ_ACK		0x64
#define MEDU_WIDE		0x80	/* registers from here on have 64 bits */
#define MEDU_DMA_SRC		0x80
#define MEDU_DMA_DST		0x88
#define MEDU_DMA_COUNT		0x90
#define MEDU_DMA_CMD		0x98
#define   MEDU_DMA_RUN		BIT(0)
#define   MEDU_DMA_TO_RAM	BIT(1)
#define   MEDU_DMA_IRQ		BIT(2)
#define MEDU_DMA_ERROR		0xa0	/* ours: errno of the last DMA, or 0 */

/* where the buffer is, for the addresses in the DMA registers */
#define MEDU_BUFFER		0x40000
#define MEDU_BUFFER_SIZE	SZ_4K
/* older QEMUs end themselves when a transfer touches the last byte */
#define MEDU_TRANSFER_MAX	(MEDU_BUFFER_SIZE - 8)

/* pages of memory that a job uses at most */
#define MEDU_JOB_PAGES		2

/* interrupts can be lost: how often to look whether it has finished without one */
#define MEDU_POLL_MS		100

/* 34 has 32 factors of two in its factorial, so that 32 bits of it are zero */
#define MEDU_FACT_ZERO		34

#define MEDU_RESET_US		(1000 * USEC_PER_MSEC)
#define MEDU_FACT_GRACE_US	(100 * USEC_PER_MSEC)

#define MEDU_BAR_SIZE		SZ_1M

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

struct medu;

/**
 * struct medu_engine - the hardware, and the devices that want to use it
 * @pdev: the PCI device
 * @regs: its BAR 0
 * @done: the hardware has interrupted
 * @broken: it does not answer any more
 * @bounced: it does not reach all memory
 * @zeroes: a page of them, to overwrite its buffer
 * @zeroes_dma: its address for the hardware
 * @in_buffer: medu.tenant of the device whose data is in the hardware's buffer, 0 if
 *	that is not known; used by the worker only
 * @tenants: how many tenants there were
 * @transfers: how many DMA transfers the hardware was told to do
 * @parent: the mediated devices
 * @wq: runs @work, one at a time
 * @work: does one job
 * @lock: protects what follows, and the members of others that say so
 * @paused: no job is begun
 * @line: devices with jobs, except the one that is served, by medu.line
 * @running: the device that is served, or NULL
 * @idle: for a change of @running, or of the memory that is in use
 */
struct medu_engine {
	struct pci_dev *pdev;
	void __iomem *regs;
	struct completion done;
	bool broken;
	bool bounced;
	void *zeroes;
	dma_addr_t zeroes_dma;
	u64 in_buffer;
	atomic64_t tenants;
	atomic64_t transfers;
	struct mdev_pci_parent parent;
	struct workqueue_struct *wq;
	struct work_struct work;
	spinlock_t lock;		/* protects what follows */
	bool paused;
	struct list_head line;
	struct medu *running;
	wait_queue_head_t idle;
};

/**
 * struct medu_job - something for the engine to do
 * @medu: the device
 * @all: in medu.all, under engine->lock, until @end has returned
 * @next: in medu.jobs, under engine->lock, until the engine takes it
 * @stop: do not continue: the memory is being unmapped, or the device reset
 * @run: have the hardware do it; returns 0 or a negative errno
 * @tell: report the result to the guest, if the registers still belong to this job
 * @end: free what the job uses, on medu.wq
 * @error: the result of @run, or the reason why it did not run
 * @pages: DMA: memory, pinned from @iova on
 * @npages: DMA: number of entries in @pages
 * @iova: DMA: address in memory, as the guest knows it
 * @offset: DMA: address in the buffer
 * @count: DMA: number of bytes, at least one if there are pages
 * @to_ram: DMA: direction
 * @number: factorial: the argument, later the result
 */
struct medu_job {
	struct medu *medu;
	struct list_head all;
	struct list_head next;
	bool stop;
	int (*run)(struct medu_job *job);
	void (*tell)(struct medu_job *job);
	struct work_struct end;
	int error;
	struct page *pages[MEDU_JOB_PAGES];
	unsigned int npages;
	u64 iova;
	u64 offset;
	size_t count;
	bool to_ram;
	u32 number;
};

/**
 * struct medu_regs - the registers that are not constant
 * @live: MEDU_LIVE
 * @fact: MEDU_FACT
 * @status: MEDU_STATUS
 * @irq_status: MEDU_IRQ_STATUS
 * @dma: from MEDU_WIDE to MEDU_DMA_ERROR
 */
struct medu_regs {
	u32 live;
	u32 fact;
	u32 status;
	u32 irq_status;
	u64 dma[(MEDU_DMA_ERROR - MEDU_WIDE) / 8 + 1];
};

/**
 * struct medu - a mediated device
 * @pci: the kit's part
 * @engine: the hardware
 * @page: contents of the device's buffer; used by the worker only while a job runs
 * @page_dma: its address for the hardware
 * @bounce: if engine->bounced, a page to copy user memory to and from
 * @bounce_dma: its address for the hardware
 * @tenant: a number that no other opener of a device has or had; does not change while
 *	a job runs
 * @wq: ends jobs. Each device has its own, so that no other device has to wait if VFIO
 *	makes this one wait
 * @line: in engine->line, under its lock
 * @jobs: jobs to be done, in the order they came, under engine->lock. A register that
 *	has a job here is busy and cannot be written, so there are two at most
 * @all: all of @jobs, the one that runs, and those whose memory is still in use, or
 *	waited for, although the device was reset; under engine->lock
 * @lock: protects what follows; outside of engine->lock
 * @stopping: no new jobs are accepted
 * @dma: the job of the DMA registers, or NULL
 * @fact: the job of the factorial register, or NULL
 * @regs: the registers; those of a job do not change until it is done
 */
struct medu {
	struct mdev_pci pci;
	struct medu_engine *engine;
	void *page;
	dma_addr_t page_dma;
	void *bounce;
	dma_addr_t bounce_dma;
	u64 tenant;
	struct workqueue_struct *wq;
	struct list_head line;
	struct list_head jobs;
	struct list_head all;
	struct mutex lock;		/* protects what follows */
	bool stopping;
	struct medu_job *dma;
	struct medu_job *fact;
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
				  MEDU_RESET_US);
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

/* When off the bus, the hardware reports success, but has moved nothing. */
static int medu_engine_on_bus(struct medu_engine *engine)
{
	u16 command;

	pci_read_config_word(engine->pdev, PCI_COMMAND, &command);
	return command & PCI_COMMAND_MASTER ? 0 : -EIO;
}

static int medu_engine_transfer(struct medu_engine *engine, u64 src, u64 dst,
				size_t count, u64 direction)
{
	int ret;

	if (engine->broken)
		return -EIO;

	atomic64_inc(&engine->transfers);
	reinit_completion(&engine->done);
	writeq(src, engine->regs + MEDU_DMA_SRC);
	writeq(dst, engine->regs + MEDU_DMA_DST);
	writeq(count, engine->regs + MEDU_DMA_COUNT);
	/* this one waits for what we have written to memory */
	writeq(MEDU_DMA_RUN | MEDU_DMA_IRQ | direction,
	       engine->regs + MEDU_DMA_CMD);
	ret = medu_engine_wait(engine, MEDU_DMA_CMD, MEDU_DMA_RUN);
	if (!ret)
		ret = medu_engine_on_bus(engine);
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
	u32 status;
	int ret;

	if (engine->broken)
		return -EIO;

	reinit_completion(&engine->done);
	/* it multiplies one by one: a large number would take seconds */
	writel(min_t(u32, n, MEDU_FACT_ZERO), engine->regs + MEDU_FACT);
	ret = medu_engine_wait(engine, MEDU_STATUS, MEDU_STATUS_COMPUTING);
	/* QEMU computes by the host's time, and the guest's may leap ahead */
	if (ret == -ETIMEDOUT)
		ret = readl_poll_timeout_atomic(engine->regs + MEDU_STATUS,
						status,
						!(status & MEDU_STATUS_COMPUTING),
						1, MEDU_FACT_GRACE_US);
	if (ret)
		medu_engine_reset(engine, ret);
	else
		*result = readl(engine->regs + MEDU_FACT);
	return ret;
}

/* ---- The jobs ---- */

/* The worker: one job of the device at the front of the line. */
static void medu_work(struct work_struct *work)
{
	struct medu_engine *engine = container_of(work, struct medu_engine, work);
	struct medu_job *job;
	struct medu *medu;

	spin_lock(&engine->lock);
	medu = list_first_entry_or_null(&engine->line, struct medu, line);
	if (!medu || engine->paused) {
		spin_unlock(&engine->lock);
		return;
	}
	list_del_init(&medu->line);
	job = list_first_entry(&medu->jobs, struct medu_job, next);
	list_del_init(&job->next);
	engine->running = medu;
	spin_unlock(&engine->lock);

	/* this does not wait for anything that user space controls */
	job->error = job->run(job);

	spin_lock(&engine->lock);
	engine->running = NULL;
	queue_work(medu->wq, &job->end);
	if (!list_empty(&medu->jobs))
		list_add_tail(&medu->line, &engine->line);
	if (!list_empty(&engine->line))
		queue_work(engine->wq, &engine->work);
	spin_unlock(&engine->lock);
	/* the device may be gone from here on, the engine waits for us */
	wake_up_all(&engine->idle);
}

static void medu_job_end(struct work_struct *work)
{
	struct medu_job *job = container_of(work, struct medu_job, end);
	struct medu_engine *engine = job->medu->engine;
	struct medu *medu = job->medu;

	if (job->npages)
		mdev_unpin_pages(medu->pci.mdev, job->iova & PAGE_MASK, job->npages);
	mutex_lock(&medu->lock);
	job->tell(job);
	mutex_unlock(&medu->lock);

	spin_lock(&engine->lock);
	list_del(&job->all);
	spin_unlock(&engine->lock);
	kfree(job);
	wake_up_all(&engine->idle);
}

/*
 * The caller fills in the rest, drops the lock and calls medu_begin(). Returns NULL if
 * there is no memory.
 */
static struct medu_job *medu_job_new(struct medu *medu,
				     int (*run)(struct medu_job *job),
				     void (*tell)(struct medu_job *job))
{
	struct medu_job *job;

	lockdep_assert_held(&medu->lock);
	job = kzalloc_obj(*job, GFP_KERNEL_ACCOUNT);
	if (!job)
		return NULL;
	job->medu = medu;
	INIT_LIST_HEAD(&job->next);
	job->run = run;
	job->tell = tell;
	INIT_WORK(&job->end, medu_job_end);
	spin_lock(&medu->engine->lock);
	list_add_tail(&job->all, &medu->all);
	spin_unlock(&medu->engine->lock);
	return job;
}

/* The memory of the job is pinned, or pinning has failed. */
static void medu_submit(struct medu_job *job)
{
	struct medu *medu = job->medu;
	struct medu_engine *engine = medu->engine;

	spin_lock(&engine->lock);
	if (job->stop && !job->error)
		job->error = -EFAULT;
	if (job->error) {
		queue_work(medu->wq, &job->end);
	} else {
		list_add_tail(&job->next, &medu->jobs);
		if (engine->running != medu && list_empty(&medu->line))
			list_add_tail(&medu->line, &engine->line);
		queue_work(engine->wq, &engine->work);
	}
	spin_unlock(&engine->lock);
}

static bool medu_job_uses(const struct medu_job *job, u64 first, u64 last)
{
	return job->count && job->iova <= last &&
	       job->iova + job->count - 1 >= first;
}

/* Stop the jobs that use memory from @first to @last, or all. A running one ends. */
static void medu_stop(struct medu *medu, u64 first, u64 last, bool all)
{
	struct medu_job *job;

	spin_lock(&medu->engine->lock);
	list_for_each_entry(job, &medu->all, all) {
		if (!all && !medu_job_uses(job, first, last))
			continue;
		WRITE_ONCE(job->stop, true);
		if (list_empty(&job->next))
			continue;
		list_del_init(&job->next);
		job->error = -EFAULT;
		queue_work(medu->wq, &job->end);
	}
	if (list_empty(&medu->jobs))
		list_del_init(&medu->line);
	spin_unlock(&medu->engine->lock);
}

static bool medu_is_running(struct medu *medu)
{
	bool running;

	spin_lock(&medu->engine->lock);
	running = medu->engine->running == medu;
	spin_unlock(&medu->engine->lock);
	return running;
}

/* When this returns, no job runs, and none begins until medu_go_on(). */
static void medu_pause(struct medu_engine *engine)
{
	spin_lock(&engine->lock);
	engine->paused = true;
	spin_unlock(&engine->lock);
	flush_work(&engine->work);
}

static void medu_go_on(struct medu_engine *engine)
{
	/* it may have been without power */
	medu_engine_restart(engine);
	spin_lock(&engine->lock);
	engine->paused = false;
	if (!list_empty(&engine->line))
		queue_work(engine->wq, &engine->work);
	spin_unlock(&engine->lock);
}

/* ---- Interrupts, towards the VMM ---- */

static void medu_raise(struct medu *medu, u32 status)
{
	lockdep_assert_held(&medu->lock);
	medu->regs.irq_status |= status;
	if (!medu->regs.irq_status)
		return;
	mdev_pci_set_intx(&medu->pci, true);
	/* one message each time, even if the last one was not acknowledged */
	mdev_pci_signal(&medu->pci, 0);
}

static void medu_acknowledge(struct medu *medu, u32 status)
{
	lockdep_assert_held(&medu->lock);
	medu->regs.irq_status &= ~status;
	mdev_pci_set_intx(&medu->pci, medu->regs.irq_status);
}

/* ---- Memory ---- */

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

/* The hardware accesses user memory itself. */
static int medu_move_mapped(struct medu *medu, struct page *page, size_t where,
			    u64 offset, size_t count, bool to_ram)
{
	enum dma_data_direction dir = to_ram ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
	struct device *dev = &medu->engine->pdev->dev;
	dma_addr_t addr;
	int ret;

	addr = dma_map_page(dev, page, where, count, dir);
	ret = dma_mapping_error(dev, addr);
	if (ret)
		return ret;
	ret = medu_move(medu, addr, offset, count, to_ram);
	dma_unmap_page(dev, addr, count, dir);
	return ret;
}

/* The hardware does not reach all memory: copy through a page that it reaches. */
static int medu_move_bounced(struct medu *medu, struct page *page, size_t where,
			     u64 offset, size_t count, bool to_ram)
{
	int ret;

	if (!to_ram)
		memcpy_from_page(medu->bounce, page, where, count);
	ret = medu_move(medu, medu->bounce_dma, offset, count, to_ram);
	if (!ret && to_ram)
		memcpy_to_page(page, where, medu->bounce, count);
	return ret;
}

/* A whole job, in pieces, each of which is within one page of memory. */
static int medu_run_dma(struct medu_job *job)
{
	size_t where = offset_in_page(job->iova), done, piece;
	struct medu *medu = job->medu;
	struct page *page;
	int ret = 0;

	for (done = 0; done < job->count && !ret; done += piece) {
		/* a reset, a close or an unmap waits for this job */
		if (READ_ONCE(job->stop))
			return -EFAULT;
		piece = min3(job->count - done, (size_t)MEDU_TRANSFER_MAX,
			     (size_t)(PAGE_SIZE - offset_in_page(where + done)));
		page = job->pages[(where + done) >> PAGE_SHIFT];
		ret = medu->bounce ?
		      medu_move_bounced(medu, page, offset_in_page(where + done),
					job->offset + done, piece, job->to_ram) :
		      medu_move_mapped(medu, page, offset_in_page(where + done),
				       job->offset + done, piece, job->to_ram);
	}
	return ret;
}

/* The transfer in the registers is done, or could not begin. */
static void medu_dma_done(struct medu *medu, int error)
{
	u64 *cmd = medu_dma_reg(medu, MEDU_DMA_CMD);

	lockdep_assert_held(&medu->lock);
	*medu_dma_reg(medu, MEDU_DMA_ERROR) = -error;
	*cmd &= ~MEDU_DMA_RUN;
	if (*cmd & MEDU_DMA_IRQ)
		medu_raise(medu, MEDU_IRQ_DMA |
			   (error ? MEDU_IRQ_DMA_FAILED : 0));
}

static void medu_tell_dma(struct medu_job *job)
{
	struct medu *medu = job->medu;

	if (medu->dma != job)
		return;
	medu->dma = NULL;
	medu_dma_done(medu, job->error);
}

/* Make a job of what the registers say, if that is valid. */
static int medu_parse_dma(struct medu *medu, struct medu_job *job)
{
	bool to_ram = *medu_dma_reg(medu, MEDU_DMA_CMD) & MEDU_DMA_TO_RAM;
	u64 src = *medu_dma_reg(medu, MEDU_DMA_SRC);
	u64 dst = *medu_dma_reg(medu, MEDU_DMA_DST);
	u64 count = *medu_dma_reg(medu, MEDU_DMA_COUNT);
	u64 iova = to_ram ? dst : src, last;
	u64 offset = (to_ram ? src : dst) - MEDU_BUFFER;

	/* an address below the buffer has wrapped around and is too high */
	if (offset > MEDU_BUFFER_SIZE || count > MEDU_BUFFER_SIZE - offset)
		return -ERANGE;
	if (!(mdev_pci_command(&medu->pci) & PCI_COMMAND_MASTER))
		return -EACCES;
	if (count && check_add_overflow(iova, count - 1, &last))
		return -EINVAL;

	/* under the lock, as the core may call dma_unmap once we ask for a page */
	spin_lock(&medu->engine->lock);
	job->iova = iova;
	job->offset = offset;
	job->count = count;
	job->to_ram = to_ram;
	spin_unlock(&medu->engine->lock);
	return 0;
}

static int medu_run_fact(struct medu_job *job)
{
	u32 number = job->number;

	/* there is no register for an error: the result is 0 then */
	job->number = 0;
	return medu_engine_factorial(job->medu->engine, number, &job->number);
}

static void medu_fact_done(struct medu *medu, u32 number)
{
	lockdep_assert_held(&medu->lock);
	medu->regs.fact = number;
	medu->regs.status &= ~MEDU_STATUS_COMPUTING;
	if (medu->regs.status & MEDU_STATUS_IRQ)
		medu_raise(medu, MEDU_IRQ_FACT);
}

static void medu_tell_fact(struct medu_job *job)
{
	struct medu *medu = job->medu;

	if (medu->fact != job)
		return;
	medu->fact = NULL;
	medu_fact_done(medu, job->number);
}

/*
 * Pin the memory of a job, in the thread that has started it. VFIO may wait for user
 * space there, so no lock is held, and a fatal signal ends the wait.
 */
static void medu_begin(struct medu_job *job)
{
	size_t end = offset_in_page(job->iova) + job->count;
	int ret;

	if (job->count) {
		ret = mdev_pin_pages(job->medu->pci.mdev, job->iova & PAGE_MASK,
				     DIV_ROUND_UP(end, PAGE_SIZE),
				     job->to_ram ? IOMMU_WRITE : IOMMU_READ,
				     job->pages);
		if (ret < 0)
			job->error = ret;
		else
			job->npages = ret;
	}
	medu_submit(job);
}

static bool medu_uses(struct medu *medu, u64 first, u64 last)
{
	struct medu_job *job;
	bool uses = false;

	spin_lock(&medu->engine->lock);
	list_for_each_entry(job, &medu->all, all)
		uses = uses || medu_job_uses(job, first, last);
	spin_unlock(&medu->engine->lock);
	return uses;
}

/*
 * User space unmaps memory: stop the jobs that use it, which unpin it on medu.wq, and
 * wait for that. No lock is held meanwhile, as the unpin needs locks.
 */
static void medu_dma_unmap(struct mdev_device *mdev, u64 iova, u64 length)
{
	struct medu *medu = to_medu(mdev_pci_of(mdev));
	u64 last = iova + length - 1;

	medu_stop(medu, iova, last, false);
	wait_event(medu->engine->idle, !medu_uses(medu, iova, last));
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

static struct medu_job *medu_write_fact(struct medu *medu, u32 val)
{
	struct medu_job *job;

	if (medu->regs.status & MEDU_STATUS_COMPUTING || medu->stopping)
		return NULL;
	job = medu_job_new(medu, medu_run_fact, medu_tell_fact);
	if (!job) {
		medu_fact_done(medu, 0);
		return NULL;
	}
	job->number = val;
	medu->fact = job;
	medu->regs.fact = val;
	medu->regs.status |= MEDU_STATUS_COMPUTING;
	return job;
}

static struct medu_job *medu_write_dma(struct medu *medu, unsigned int where,
				       u64 val)
{
	struct medu_job *job;

	/* they stay as they are until it is done */
	if (*medu_dma_reg(medu, MEDU_DMA_CMD) & MEDU_DMA_RUN)
		return NULL;
	if (where != MEDU_DMA_CMD) {
		*medu_dma_reg(medu, where) = val;
		return NULL;
	}
	if (!(val & MEDU_DMA_RUN) || medu->stopping)
		return NULL;
	*medu_dma_reg(medu, MEDU_DMA_CMD) =
		val & (MEDU_DMA_RUN | MEDU_DMA_TO_RAM | MEDU_DMA_IRQ);
	job = medu_job_new(medu, medu_run_dma, medu_tell_dma);
	if (!job) {
		medu_dma_done(medu, -ENOMEM);
		return NULL;
	}
	medu->dma = job;
	job->error = medu_parse_dma(medu, job);
	return job;
}

/* Returns the job that this write begins, or NULL. */
static struct medu_job *medu_reg_write(struct medu *medu, unsigned int where,
				       u64 val)
{
	struct medu_regs *regs = &medu->regs;

	switch (where) {
	case MEDU_LIVE:
		regs->live = ~val;
		break;
	case MEDU_FACT:
		return medu_write_fact(medu, val);
	case MEDU_STATUS:
		regs->status = (regs->status & MEDU_STATUS_COMPUTING) |
			       (val & MEDU_STATUS_IRQ);
		break;
	case MEDU_IRQ_RAISE:
		medu_raise(medu, val);
		break;
	case MEDU_IRQ_ACK:
		medu_acknowledge(medu, val);
		break;
	case MEDU_DMA_SRC:
	case MEDU_DMA_DST:
	case MEDU_DMA_COUNT:
	case MEDU_DMA_CMD:
		return medu_write_dma(medu, where, val);
	}
	return NULL;
}

static u64 medu_read(struct mdev_pci *pci, const struct mdev_pci_region *bar,
		     u64 offset, unsigned int width)
{
	struct medu *medu = to_medu(pci);
	u64 val;

	if (width == 8 && offset < MEDU_WIDE)
		return (u32)medu_read(pci, bar, offset, 4) |
		       medu_read(pci, bar, offset + 4, 4) << 32;
	mutex_lock(&medu->lock);
	val = medu_reg_read(medu, offset);
	mutex_unlock(&medu->lock);
	return val;
}

static void medu_write(struct mdev_pci *pci, const struct mdev_pci_region *bar,
		       u64 offset, unsigned int width, u64 val)
{
	struct medu *medu = to_medu(pci);
	struct medu_job *job;

	if (width == 8 && offset < MEDU_WIDE) {
		medu_write(pci, bar, offset, 4, (u32)val);
		medu_write(pci, bar, offset + 4, 4, val >> 32);
		return;
	}
	mutex_lock(&medu->lock);
	job = medu_reg_write(medu, offset, val);
	mutex_unlock(&medu->lock);
	if (job)
		medu_begin(job);
}

/* ---- The life of a device ---- */

/*
 * When this returns, nothing is done for the device any more, and its registers have
 * their initial values. It does not wait for a job whose memory is waited for, or not
 * unpinned yet: such a job does nothing more.
 */
static void medu_reset(struct mdev_pci *pci)
{
	struct medu *medu = to_medu(pci);

	mutex_lock(&medu->lock);
	medu->stopping = true;
	medu->dma = NULL;
	medu->fact = NULL;
	mutex_unlock(&medu->lock);

	medu_stop(medu, 0, U64_MAX, true);
	wait_event(medu->engine->idle, !medu_is_running(medu));

	mutex_lock(&medu->lock);
	memset(&medu->regs, 0, sizeof(medu->regs));
	mdev_pci_set_intx(pci, false);
	memset(medu->page, 0, MEDU_BUFFER_SIZE);
	if (medu->bounce)
		memset(medu->bounce, 0, MEDU_BUFFER_SIZE);
	medu->tenant = atomic64_inc_return(&medu->engine->tenants);
	medu->stopping = false;
	mutex_unlock(&medu->lock);
}

static int medu_open(struct mdev_pci *pci)
{
	return READ_ONCE(to_medu(pci)->engine->broken) ? -EIO : 0;
}

/* All jobs are on this workqueue, and no callback runs that could begin another. */
static void medu_close(struct mdev_pci *pci)
{
	flush_workqueue(to_medu(pci)->wq);
}

static struct medu_engine *medu_engine_of(struct device *parent)
{
	return dev_get_drvdata(parent);
}

static void *medu_alloc_page(struct medu_engine *engine, dma_addr_t *addr)
{
	/* zeroed */
	return dma_alloc_coherent(&engine->pdev->dev, MEDU_BUFFER_SIZE, addr,
				  GFP_KERNEL);
}

static void medu_free_page(struct medu_engine *engine, void *page,
			   dma_addr_t addr)
{
	if (page)
		dma_free_coherent(&engine->pdev->dev, MEDU_BUFFER_SIZE, page,
				  addr);
}

static int medu_alloc(struct medu *medu)
{
	struct medu_engine *engine = medu->engine;

	medu->wq = alloc_ordered_workqueue("medu", 0);
	medu->page = medu_alloc_page(engine, &medu->page_dma);
	if (engine->bounced)
		medu->bounce = medu_alloc_page(engine, &medu->bounce_dma);
	return medu->wq && medu->page && (medu->bounce || !engine->bounced) ?
	       0 : -ENOMEM;
}

static void medu_exit(struct mdev_pci *pci)
{
	struct medu *medu = to_medu(pci);

	/* it is closed, so it has no jobs */
	if (medu->wq)
		destroy_workqueue(medu->wq);
	medu_free_page(medu->engine, medu->page, medu->page_dma);
	medu_free_page(medu->engine, medu->bounce, medu->bounce_dma);
	mutex_destroy(&medu->lock);
}

static int medu_init(struct mdev_pci *pci)
{
	struct medu *medu = to_medu(pci);
	int ret;

	medu->engine = container_of(pci->parent, struct medu_engine, parent);
	INIT_LIST_HEAD(&medu->line);
	INIT_LIST_HEAD(&medu->jobs);
	INIT_LIST_HEAD(&medu->all);
	mutex_init(&medu->lock);
	ret = medu_alloc(medu);
	if (ret)
		medu_exit(pci);
	return ret;
}

/* ---- What a device looks like ---- */

static const struct mdev_pci_region medu_regions[] = {
	[VFIO_PCI_BAR0_REGION_INDEX] = {
		.size		= MEDU_BAR_SIZE,
		/* a register is accessed as a whole, or not at all */
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
	return sysfs_emit(buf, "%lld\n",
			  atomic64_read(&medu_engine_of(dev)->transfers));
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
	.dev_attr_groups	= medu_parent_groups,
	.request		= mdev_pci_request,
	.dma_unmap		= medu_dma_unmap,
};

/* ---- The PCI driver ---- */

static int medu_probe_memory(struct medu_engine *engine)
{
	struct device *dev = &engine->pdev->dev;
	int ret;

	if (!dma_bits || dma_bits > 64)
		return -EINVAL;
	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(dma_bits));
	if (ret)
		return ret;
	engine->bounced = dma_addressing_limited(dev);
	engine->zeroes = medu_alloc_page(engine, &engine->zeroes_dma);
	return engine->zeroes ? 0 : -ENOMEM;
}

static void medu_free_memory(struct medu_engine *engine)
{
	medu_free_page(engine, engine->zeroes, engine->zeroes_dma);
}

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

static int medu_probe_interrupt(struct medu_engine *engine)
{
	struct pci_dev *pdev = engine->pdev;
	int ret;

	ret = pci_alloc_irq_vectors(pdev, 1, 1, msi ? PCI_IRQ_ALL_TYPES :
				    PCI_IRQ_INTX);
	if (ret < 0)
		return ret;
	ret = request_irq(pci_irq_vector(pdev, 0), medu_interrupt, IRQF_SHARED,
			  "medu", engine);
	if (ret)
		pci_free_irq_vectors(pdev);
	return ret;
}

static void medu_free_interrupt(struct medu_engine *engine)
{
	free_irq(pci_irq_vector(engine->pdev, 0), engine);
	pci_free_irq_vectors(engine->pdev);
}

static int medu_probe_regs(struct medu_engine *engine)
{
	struct pci_dev *pdev = engine->pdev;
	int ret;

	ret = pci_enable_device(pdev);
	if (ret)
		return ret;
	ret = pci_request_regions(pdev, "medu");
	if (ret)
		goto err_disable;
	engine->regs = pci_iomap(pdev, 0, MEDU_BAR_SIZE);
	if (!engine->regs) {
		ret = -ENOMEM;
		goto err_release;
	}
	ret = medu_check(engine);
	if (ret)
		goto err_unmap;
	return 0;

err_unmap:
	pci_iounmap(pdev, engine->regs);
err_release:
	pci_release_regions(pdev);
err_disable:
	pci_disable_device(pdev);
	return ret;
}

static void medu_free_regs(struct medu_engine *engine)
{
	/* takes it off the bus, too */
	pci_disable_device(engine->pdev);
	pci_iounmap(engine->pdev, engine->regs);
	pci_release_regions(engine->pdev);
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

	engine->wq = alloc_ordered_workqueue("medu", 0);
	if (!engine->wq)
		return -ENOMEM;
	ret = medu_probe_regs(engine);
	if (ret)
		goto err_wq;
	ret = medu_probe_memory(engine);
	if (ret)
		goto err_regs;
	ret = medu_probe_interrupt(engine);
	if (ret)
		goto err_memory;
	medu_engine_start(engine);

	/* last: devices can be created before this returns */
	ret = mdev_pci_register(&engine->parent, &pdev->dev);
	if (ret)
		goto err_interrupt;
	return 0;

err_interrupt:
	medu_free_interrupt(engine);
err_memory:
	medu_free_memory(engine);
err_regs:
	medu_free_regs(engine);
err_wq:
	destroy_workqueue(engine->wq);
	return ret;
}

static void medu_pci_remove(struct pci_dev *pdev)
{
	struct medu_engine *engine = pci_get_drvdata(pdev);

	/* VMMs are asked to close open devices, waited for, and served until then */
	mdev_pci_unregister(&engine->parent);
	destroy_workqueue(engine->wq);
	/* the next driver, vfio-pci perhaps, must not find data in it */
	medu_engine_clear(engine, 0);
	medu_free_interrupt(engine);
	medu_free_regs(engine);
	medu_free_memory(engine);
}

/* User space is frozen, and a job's memory is pinned, so the job ends soon. */
static int medu_suspend(struct device *dev)
{
	medu_pause(medu_engine_of(dev));
	return 0;
}

static int medu_resume(struct device *dev)
{
	medu_go_on(medu_engine_of(dev));
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(medu_pm_ops, medu_suspend, medu_resume);

/* An administrator resets the hardware through sysfs. */
static void medu_reset_prepare(struct pci_dev *pdev)
{
	medu_pause(pci_get_drvdata(pdev));
}

static void medu_reset_done(struct pci_dev *pdev)
{
	medu_go_on(pci_get_drvdata(pdev));
}

static const struct pci_error_handlers medu_err_handlers = {
	.reset_prepare	= medu_reset_prepare,
	.reset_done	= medu_reset_done,
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
