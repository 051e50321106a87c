// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest's driver of the sample hello_pci, for tools/clients/clients: writes a number to the
 * card and raises its interrupt, whose handler looks whether the number is there, again
 * and again. Knows one card. Its parameters say how often, and how often it was not.
 */
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/workqueue.h>

#define HELLO_NUMBER	4	/* registers: see samples/hello_pci.c */
#define HELLO_IRQ	8

static unsigned int sent, wrong;
module_param(sent, uint, 0444);
MODULE_PARM_DESC(sent, "Numbers that were written");
module_param(wrong, uint, 0444);
MODULE_PARM_DESC(wrong, "Numbers that were not there at the interrupt");

static void __iomem *regs;

static void hello_send(struct work_struct *work)
{
	iowrite32(++sent, regs + HELLO_NUMBER);
	iowrite32(1, regs + HELLO_IRQ);
}

static DECLARE_DELAYED_WORK(hello_work, hello_send);

static irqreturn_t hello_interrupt(int irq, void *data)
{
	if (!ioread32(regs + HELLO_IRQ))
		return IRQ_NONE;
	iowrite32(0, regs + HELLO_IRQ);
	wrong += ioread32(regs + HELLO_NUMBER) != sent;
	schedule_delayed_work(&hello_work, HZ / 10);
	return IRQ_HANDLED;
}

static int hello_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	ret = pcim_enable_device(pdev) ?:
	      pcim_iomap_regions(pdev, BIT(0), "hello");
	if (ret)
		return ret;
	regs = pcim_iomap_table(pdev)[0];
	pci_set_master(pdev);
	ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES);
	if (ret < 0)
		return ret;
	ret = devm_request_irq(&pdev->dev, pci_irq_vector(pdev, 0),
			       hello_interrupt, IRQF_SHARED, "hello", pdev);
	if (!ret)
		schedule_delayed_work(&hello_work, 0);
	return ret;
}

static const struct pci_device_id hello_ids[] = { { PCI_DEVICE(0x1b36, 0x0fff) }, { } };

static struct pci_driver hello_driver = {
	.name		= "hello",
	.id_table	= hello_ids,
	.probe		= hello_probe,
};

/* it stays until the guest ends */
builtin_pci_driver(hello_driver);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A guest's driver of hello_pci");
