// SPDX-License-Identifier: GPL-2.0-only
/*
 * medu_dma: a vendor driver that hands a PCI device that does DMA to one virtual machine.
 *
 * The hardware is "edu", as for medu. There, devices share it, and the driver does all DMA in
 * turn, with memory that it has pinned. Here, a mediated device has the hardware for itself,
 * and guests program its DMA with their own addresses. The IOMMU translates these: it has
 * what VFIO has mapped for the user, because of mdev_set_iommu_device(). No memory is
 * pinned. Vendors that divide a device into functions of SR-IOV do it like this, with a
 * function for each mediated device.
 *
 * What such a vendor has to do, besides:
 *
 * It does not use the DMA API, and says so by driver_managed_dma. The addresses of that API
 * are those of the kernel's domain, which is not the one in use while a guest has the device.
 *
 * What guests write to registers goes to the hardware. So it checks what could harm that:
 * here, a transfer beyond the end of the buffer.
 *
 * It has the hardware off the bus unless the guest wants it on, and before another guest
 * gets it. Otherwise, what is still under way would reach the memory of the next guest or, in
 * between, what there is in the kernel's domain.
 *
 * It overwrites what a guest has left in the hardware.
 *
 * Its interrupt is INTx. Messages (MSI) that are requested in probe have an address in
 * the kernel's domain: on a machine whose IOMMU translates these as well, such as arm64 but
 * not x86, they do not arrive while a guest has the device. A driver that wants messages
 * requests them when the guest sets up its interrupts, as vfio-pci does.
 *
 * The devices of this driver cannot migrate, as nothing knows which memory the hardware has
 * written to.
 *
 * There is no MODULE_DEVICE_TABLE(), because medu should be loaded for an edu. This driver is
 * bound to each edu that has no driver yet.
 */
#include <linux/interrupt.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/mdev_pci.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/spinlock.h>

#include "medu.h"

/* older QEMUs end themselves when a transfer touches the last byte */
#define MEDU_TRANSFER_MAX	(MEDU_BUFFER_SIZE - 8)
/* it multiplies one by one; the factorials of larger numbers have 32 zero bits at the end */
#define MEDU_FACT_ZERO		34
/* how long to wait for what it still does at a reset */
#define MEDU_RESET_US		(1000 * USEC_PER_MSEC)
#define MEDU_FACT_GRACE_US	(100 * USEC_PER_MSEC)

/* A mediated device. */
struct medu_dma {
	struct mdev_pci pci;
	struct medu_engine *engine;
	/* under engine->lock */
	bool resetting;			/* what guests write does not reach the hardware */
	u32 irq_status;
	u64 dma[(MEDU_DMA_ERROR - MEDU_WIDE) / 8 + 1];
};

/* The hardware. */
struct medu_engine {
	struct pci_dev *pdev;
	void __iomem *regs;		/* its BAR 0 */
	struct mdev_pci_parent parent;
	struct mutex bus_mutex;		/* for whether it is on the bus */
	bool broken;			/* it does not answer any more */
	spinlock_t lock;		/* its DMA registers, and what follows */
	struct medu_dma *device;	/* the one that is open, or NULL; and under bus_mutex */
};

static struct medu_dma *to_medu_dma(struct mdev_pci *pci)
{
	return container_of(pci, struct medu_dma, pci);
}

static u64 *medu_dma_reg(struct medu_dma *device, unsigned int where)
{
	return &device->dma[(where - MEDU_WIDE) / 8];
}

/* ---- Interrupts ---- */

static void medu_dma_raise(struct medu_dma *device, u32 status)
{
	lockdep_assert_held(&device->engine->lock);
	device->irq_status |= status;
	mdev_pci_set_intx(&device->pci, true);
	/* one message each time, even if the last one was not acknowledged */
	mdev_pci_signal(&device->pci, 0);
}

/* Registers of a device that does not answer read as ones, or as zeroes. */
static bool medu_dma_alive(struct medu_engine *engine)
{
	u32 id = readl(engine->regs + MEDU_ID);

	return (id & MEDU_ID_MASK) == (MEDU_ID_VALUE & MEDU_ID_MASK);
}

static irqreturn_t medu_dma_interrupt(int irq, void *data)
{
	struct medu_engine *engine = data;
	u32 status = readl(engine->regs + MEDU_IRQ_STATUS);

	if (!status || !medu_dma_alive(engine))
		return IRQ_NONE;

	writel(status, engine->regs + MEDU_IRQ_ACK);
	spin_lock(&engine->lock);
	/* what a reset has ended is no guest's */
	if (engine->device && !engine->device->resetting)
		medu_dma_raise(engine->device, status);
	spin_unlock(&engine->lock);
	return IRQ_HANDLED;
}

/* ---- The registers ---- */

/* The guest has written the command of a transfer. */
static void medu_dma_start(struct medu_dma *device, u64 cmd)
{
	u64 src = *medu_dma_reg(device, MEDU_DMA_SRC);
	u64 dst = *medu_dma_reg(device, MEDU_DMA_DST);
	u64 count = *medu_dma_reg(device, MEDU_DMA_COUNT);
	u64 offset = (cmd & MEDU_DMA_TO_RAM ? src : dst) - MEDU_BUFFER;
	void __iomem *regs = device->engine->regs;
	bool valid;

	lockdep_assert_held(&device->engine->lock);
	if (!(cmd & MEDU_DMA_RUN) || device->resetting ||
	    readl(regs + MEDU_DMA_CMD) & MEDU_DMA_RUN)
		return;
	/* an address below the buffer has wrapped around and is too high */
	valid = offset <= MEDU_TRANSFER_MAX && count <= MEDU_TRANSFER_MAX - offset;
	*medu_dma_reg(device, MEDU_DMA_ERROR) = valid ? 0 : ERANGE;
	if (!valid || !count) {
		if (cmd & MEDU_DMA_IRQ)
			medu_dma_raise(device, MEDU_IRQ_DMA |
				       (valid ? 0 : MEDU_IRQ_DMA_FAILED));
		return;
	}
	writeq(src, regs + MEDU_DMA_SRC);
	writeq(dst, regs + MEDU_DMA_DST);
	writeq(count, regs + MEDU_DMA_COUNT);
	writeq(cmd & (MEDU_DMA_RUN | MEDU_DMA_TO_RAM | MEDU_DMA_IRQ),
	       regs + MEDU_DMA_CMD);
}

static u64 medu_dma_reg_read(struct medu_dma *device, unsigned int where)
{
	switch (where) {
	case MEDU_ID:
	case MEDU_LIVE:
	case MEDU_FACT:
	case MEDU_STATUS:
		return readl(device->engine->regs + where);
	case MEDU_IRQ_STATUS:
		return device->irq_status;
	case MEDU_DMA_CMD:
		return readq(device->engine->regs + where);
	case MEDU_DMA_SRC:
	case MEDU_DMA_DST:
	case MEDU_DMA_COUNT:
	case MEDU_DMA_ERROR:
		return *medu_dma_reg(device, where);
	}
	return U64_MAX;
}

static void medu_dma_reg_write(struct medu_dma *device, unsigned int where, u64 val)
{
	switch (where) {
	case MEDU_FACT:
		val = min_t(u64, val, MEDU_FACT_ZERO);
		fallthrough;
	case MEDU_LIVE:
	case MEDU_STATUS:
		if (!device->resetting)
			writel(val, device->engine->regs + where);
		break;
	case MEDU_IRQ_RAISE:
		/* without the hardware, which would interrupt the host each time */
		if ((u32)val)
			medu_dma_raise(device, val);
		break;
	case MEDU_IRQ_ACK:
		device->irq_status &= ~val;
		mdev_pci_set_intx(&device->pci, device->irq_status);
		break;
	case MEDU_DMA_SRC:
	case MEDU_DMA_DST:
	case MEDU_DMA_COUNT:
		*medu_dma_reg(device, where) = val;
		break;
	case MEDU_DMA_CMD:
		medu_dma_start(device, val);
		break;
	}
}

static u64 medu_dma_read(struct mdev_pci *pci, const struct mdev_pci_region *bar,
			 u64 offset, unsigned int width)
{
	struct medu_dma *device = to_medu_dma(pci);
	unsigned long flags;
	u64 val;

	/* as the hardware does */
	if (width == 8 && offset < MEDU_WIDE)
		return U64_MAX;
	spin_lock_irqsave(&device->engine->lock, flags);
	val = medu_dma_reg_read(device, offset);
	spin_unlock_irqrestore(&device->engine->lock, flags);
	return val;
}

static void medu_dma_write(struct mdev_pci *pci, const struct mdev_pci_region *bar,
			   u64 offset, unsigned int width, u64 val)
{
	struct medu_dma *device = to_medu_dma(pci);
	unsigned long flags;

	if (width == 8 && offset < MEDU_WIDE)
		return;
	spin_lock_irqsave(&device->engine->lock, flags);
	medu_dma_reg_write(device, offset, val);
	spin_unlock_irqrestore(&device->engine->lock, flags);
}

/* ---- The life of a device ---- */

/* The guest decides whether its device is on the bus. @device is NULL if none is open. */
static void medu_dma_set_master(struct medu_engine *engine, struct medu_dma *device)
{
	lockdep_assert_held(&engine->bus_mutex);
	if (device && !engine->broken &&
	    mdev_pci_command(&device->pci) & PCI_COMMAND_MASTER)
		pci_set_master(engine->pdev);
	else
		pci_clear_master(engine->pdev);
}

static void medu_dma_config_written(struct mdev_pci *pci, unsigned int offset,
				    unsigned int width)
{
	struct medu_dma *device = to_medu_dma(pci);

	if (offset > PCI_COMMAND || offset + width <= PCI_COMMAND)
		return;
	mutex_lock(&device->engine->bus_mutex);
	medu_dma_set_master(device->engine, device);
	mutex_unlock(&device->engine->bus_mutex);
}

/* Wait until it does nothing. */
static int medu_dma_settle(struct medu_engine *engine)
{
	u32 val;
	int ret;

	if (!medu_dma_alive(engine))
		return -ENODEV;
	ret = readl_poll_timeout(engine->regs + MEDU_DMA_CMD, val,
				 !(val & MEDU_DMA_RUN), 1000, MEDU_RESET_US);
	if (ret)
		return ret;
	ret = readl_poll_timeout(engine->regs + MEDU_STATUS, val,
				 !(val & MEDU_STATUS_COMPUTING), 1000,
				 MEDU_RESET_US);
	/*
	 * QEMU computes by the host's time. If the guest's leaps ahead when nothing is to be
	 * done, this may be over before QEMU has begun; so do not sleep.
	 */
	if (ret)
		ret = readl_poll_timeout_atomic(engine->regs + MEDU_STATUS, val,
						!(val & MEDU_STATUS_COMPUTING),
						1, MEDU_FACT_GRACE_US);
	return ret;
}

/* Take it off the bus, and erase what a guest has left in it. */
static int medu_dma_clean(struct medu_engine *engine)
{
	void __iomem *regs = engine->regs;
	int ret;

	pci_clear_master(engine->pdev);
	ret = medu_dma_settle(engine);
	if (ret)
		goto broken;
	/*
	 * The buffer can be written by DMA only. What an edu reads while it is off the bus are
	 * zeroes.
	 */
	writeq(0, regs + MEDU_DMA_SRC);
	writeq(MEDU_BUFFER, regs + MEDU_DMA_DST);
	writeq(MEDU_TRANSFER_MAX, regs + MEDU_DMA_COUNT);
	writeq(MEDU_DMA_RUN, regs + MEDU_DMA_CMD);
	ret = medu_dma_settle(engine);
	if (ret)
		goto broken;
	writel(0, regs + MEDU_STATUS);
	/* the last factorial; that of 0 is 1 */
	writel(0, regs + MEDU_FACT);
	writel(U32_MAX, regs + MEDU_LIVE);
	ret = medu_dma_settle(engine);
	if (ret)
		goto broken;
	writel(U32_MAX, regs + MEDU_IRQ_ACK);
	return 0;

broken:
	dev_err(&engine->pdev->dev,
		"hardware does not answer and is not used any more\n");
	engine->broken = true;
	return ret;
}

static void medu_dma_set_resetting(struct medu_dma *device, bool resetting)
{
	unsigned long flags;

	spin_lock_irqsave(&device->engine->lock, flags);
	device->resetting = resetting;
	spin_unlock_irqrestore(&device->engine->lock, flags);
}

static void medu_dma_reset(struct mdev_pci *pci)
{
	struct medu_dma *device = to_medu_dma(pci);
	struct medu_engine *engine = device->engine;
	unsigned long flags;

	mutex_lock(&engine->bus_mutex);
	/* accesses that have begun can still come to the registers */
	medu_dma_set_resetting(device, true);
	if (!engine->broken)
		medu_dma_clean(engine);
	/* what it has read from the hardware is the last guest's */
	synchronize_irq(pci_irq_vector(engine->pdev, 0));
	spin_lock_irqsave(&engine->lock, flags);
	device->resetting = false;
	device->irq_status = 0;
	memset(device->dma, 0, sizeof(device->dma));
	mdev_pci_set_intx(pci, false);
	spin_unlock_irqrestore(&engine->lock, flags);
	mutex_unlock(&engine->bus_mutex);
}

static void medu_dma_set_device(struct medu_engine *engine, struct medu_dma *device)
{
	unsigned long flags;

	mutex_lock(&engine->bus_mutex);
	spin_lock_irqsave(&engine->lock, flags);
	engine->device = device;
	spin_unlock_irqrestore(&engine->lock, flags);
	mutex_unlock(&engine->bus_mutex);
}

static int medu_dma_open(struct mdev_pci *pci)
{
	struct medu_dma *device = to_medu_dma(pci);

	if (device->engine->broken)
		return -EIO;
	medu_dma_set_device(device->engine, device);
	return 0;
}

static void medu_dma_close(struct mdev_pci *pci)
{
	medu_dma_set_device(to_medu_dma(pci)->engine, NULL);
}

static int medu_dma_init(struct mdev_pci *pci)
{
	to_medu_dma(pci)->engine = container_of(pci->parent, struct medu_engine,
						parent);
	return 0;
}

static int medu_dma_create(struct kobject *kobj, struct mdev_device *mdev)
{
	int ret;

	ret = mdev_pci_create(kobj, mdev);
	if (ret)
		return ret;
	ret = mdev_set_iommu_device(mdev_dev(mdev), mdev_parent_dev(mdev));
	if (ret)
		mdev_pci_remove(mdev);
	return ret;
}

/* ---- What a device looks like ---- */

static const struct mdev_pci_region medu_dma_regions[] = {
	[VFIO_PCI_BAR0_REGION_INDEX] = {
		.size		= MEDU_BAR_SIZE,
		/* no single bytes; 4 bytes of a wide register are its low half, as in QEMU */
		.width		= 8,
		.min_width	= 4,
		.read		= medu_dma_read,
		.write		= medu_dma_write,
	},
};

static const struct mdev_pci_cap medu_dma_caps[] = { MDEV_PCI_CAP_MSI(1) };

static const struct mdev_pci_ops medu_dma_ops = {
	.init		= medu_dma_init,
	.reset		= medu_dma_reset,
	.open		= medu_dma_open,
	.close		= medu_dma_close,
	.config_written	= medu_dma_config_written,
};

static const struct mdev_pci_desc medu_dma_desc = {
	.vendor		= MEDU_VENDOR_ID,
	.device		= MEDU_DEVICE_ID,
	.class		= 0xff0000,
	.revision	= 0x10,
	.intx		= true,
	.caps		= medu_dma_caps,
	.nr_caps	= ARRAY_SIZE(medu_dma_caps),
	.regions	= medu_dma_regions,
	.nr_regions	= ARRAY_SIZE(medu_dma_regions),
	MDEV_PCI_DEVICE(struct medu_dma, pci),
	.ops		= &medu_dma_ops,
};

static const struct mdev_pci_type medu_dma_types[] = {
	{
		.name		= "1",
		.pretty_name	= "Whole edu",
		.description	= "QEMU edu with its own DMA, translated by the IOMMU",
		.desc		= &medu_dma_desc,
	},
};

static const struct mdev_parent_ops medu_dma_parent_ops = {
	.owner			= THIS_MODULE,
	.create			= medu_dma_create,
	.remove			= mdev_pci_remove,
	.open			= mdev_pci_open,
	.release		= mdev_pci_release,
	.read			= mdev_pci_read,
	.write			= mdev_pci_write,
	.ioctl			= mdev_pci_ioctl,
	.mmap			= mdev_pci_mmap,
	.request		= mdev_pci_request,
	.get_region_info_caps	= mdev_pci_get_region_info_caps,
};

/* ---- The PCI driver ---- */

static int medu_dma_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct medu_engine *engine;
	int ret;

	engine = devm_kzalloc(&pdev->dev, sizeof(*engine), GFP_KERNEL);
	if (!engine)
		return -ENOMEM;
	engine->pdev = pdev;
	mutex_init(&engine->bus_mutex);
	spin_lock_init(&engine->lock);
	engine->parent.ops = medu_dma_parent_ops;
	engine->parent.types = medu_dma_types;
	engine->parent.nr_types = ARRAY_SIZE(medu_dma_types);
	engine->parent.units = 1;
	pci_set_drvdata(pdev, engine);

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	engine->regs = devm_ioremap_resource(&pdev->dev, &pdev->resource[0]);
	if (IS_ERR(engine->regs))
		return PTR_ERR(engine->regs);
	ret = medu_dma_clean(engine) ?:
	      pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_INTX);
	if (ret < 0)
		return ret;
	ret = devm_request_irq(&pdev->dev, pci_irq_vector(pdev, 0),
			       medu_dma_interrupt, IRQF_SHARED, "medu_dma",
			       engine);
	if (ret)
		return ret;
	/* last: devices can be created before this returns */
	return mdev_pci_register(&engine->parent, &pdev->dev);
}

static void medu_dma_remove(struct pci_dev *pdev)
{
	struct medu_engine *engine = pci_get_drvdata(pdev);

	/* VMMs are asked to close open devices, and waited for; a close cleans it */
	mdev_pci_unregister(&engine->parent);
}

/* An administrator resets it: what the PCI core restores is as it was before. */
static void medu_dma_reset_prepare(struct pci_dev *pdev)
{
	struct medu_engine *engine = pci_get_drvdata(pdev);

	mutex_lock(&engine->bus_mutex);
}

static void medu_dma_reset_done(struct pci_dev *pdev)
{
	struct medu_engine *engine = pci_get_drvdata(pdev);

	medu_dma_set_master(engine, engine->device);
	mutex_unlock(&engine->bus_mutex);
}

static const struct pci_error_handlers medu_dma_err_handlers = {
	.reset_prepare	= medu_dma_reset_prepare,
	.reset_done	= medu_dma_reset_done,
};

static const struct pci_device_id medu_dma_ids[] = {
	{ PCI_DEVICE(MEDU_VENDOR_ID, MEDU_DEVICE_ID) },
	{ }
};

static struct pci_driver medu_dma_driver = {
	.name			= "medu_dma",
	.id_table		= medu_dma_ids,
	.probe			= medu_dma_probe,
	.remove			= medu_dma_remove,
	.err_handler		= &medu_dma_err_handlers,
	.driver_managed_dma	= true,
};
module_pci_driver(medu_dma_driver);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mediated devices that are a whole edu of QEMU, with its DMA");
