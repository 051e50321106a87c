// SPDX-License-Identifier: GPL-2.0-only
/*
 * hello_pci: the shortest vendor driver of a PCI device, on the kit (linux/mdev_pci.h).
 *
 * BAR 0 has three registers of 32 bits: one that says hello, one that keeps what is
 * written to it, and one that raises the interrupt, INTA or MSI. The device can be
 * unplugged, and migrates.
 */
#include <linux/mdev_pci.h>
#include <linux/module.h>
#include <linux/spinlock.h>

#define HELLO_ID	0x0
#define HELLO_SCRATCH	0x4
#define HELLO_IRQ	0x8	/* 1 raises the interrupt, 0 lowers it */

struct hello_regs {
	u32 scratch;
	u32 irq;
};

struct hello {
	struct mdev_pci pci;
	struct hello_regs regs;
};

static struct hello_regs *hello_regs(struct mdev_pci *pci)
{
	return &container_of(pci, struct hello, pci)->regs;
}

static u64 hello_read(struct mdev_pci *pci, const struct mdev_pci_region *bar,
		      u64 offset, unsigned int width)
{
	switch (offset) {
	case HELLO_ID:
		return 0x6f6c6568;
	case HELLO_SCRATCH:
		return READ_ONCE(hello_regs(pci)->scratch);
	case HELLO_IRQ:
		return READ_ONCE(hello_regs(pci)->irq);
	}
	return U64_MAX;
}

/* of two writes, the last one decides on the register and on the interrupt */
static DEFINE_SPINLOCK(hello_lock);

static void hello_write(struct mdev_pci *pci, const struct mdev_pci_region *bar,
			u64 offset, unsigned int width, u64 val)
{
	spin_lock(&hello_lock);
	if (offset == HELLO_SCRATCH) {
		WRITE_ONCE(hello_regs(pci)->scratch, val);
	} else if (offset == HELLO_IRQ) {
		WRITE_ONCE(hello_regs(pci)->irq, val & 1);
		mdev_pci_set_irq(pci, val & 1);
	}
	spin_unlock(&hello_lock);
}

static const struct mdev_pci_region hello_regions[] = {
	[VFIO_PCI_BAR0_REGION_INDEX] = {
		.size = 4096, .width = 4, .min_width = 4,
		.read = hello_read, .write = hello_write,
	},
};

static const struct mdev_pci_cap hello_caps[] = { MDEV_PCI_CAP_MSI(1) };

static void hello_reset(struct mdev_pci *pci)
{
	hello_write(pci, NULL, HELLO_SCRATCH, 4, 0);
	hello_write(pci, NULL, HELLO_IRQ, 4, 0);
}

static const struct mdev_pci_ops hello_ops = { .reset = hello_reset };

/* what migrates: the registers; whether the interrupt is raised follows from them */
static void hello_resume(struct mdev_pci *pci)
{
	mdev_pci_set_irq(pci, hello_regs(pci)->irq);
}

static const struct mdev_pci_field hello_fields[] = {
	MDEV_PCI_FIELD(struct hello_regs, scratch),
	MDEV_PCI_FIELD(struct hello_regs, irq),
};

static const struct mdev_pci_migration hello_migration = {
	.magic		= 0x6f6c6568,
	.version	= 1,
	MDEV_PCI_STATE(struct hello, regs),
	.fields		= hello_fields,
	.nr_fields	= ARRAY_SIZE(hello_fields),
	.resume		= hello_resume,
};

static const struct mdev_pci_desc hello_desc = {
	.vendor		= 0x1b36,
	.device		= 0x0fff,
	.class		= 0xff0000,	/* none of those that there are */
	.intx		= true,
	.caps		= hello_caps,
	.nr_caps	= ARRAY_SIZE(hello_caps),
	.regions	= hello_regions,
	.nr_regions	= ARRAY_SIZE(hello_regions),
	MDEV_PCI_DEVICE(struct hello, pci),
	.migration	= &hello_migration,
	.ops		= &hello_ops,
};

static const struct mdev_pci_type hello_types[] = {
	{ .name = "1", .pretty_name = "Hello", .desc = &hello_desc },
};

static struct mdev_pci_parent hello_parent = {
	.ops		= { MDEV_PCI_OPS, MDEV_PCI_MIGRATION_OPS,
			    .request = mdev_pci_request },
	.types		= hello_types,
	.nr_types	= ARRAY_SIZE(hello_types),
	.units		= 8,
};

module_mdev_pci_virtual(hello_parent, "hello");

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("The shortest vendor driver of a mediated PCI device");
