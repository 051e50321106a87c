// SPDX-License-Identifier: GPL-2.0-only
/*
 * A PCI device with a few registers and MSI, twice: the devices of the first parent use
 * the kit, those of the second one are written by hand, with as little as will do.
 */
#include <linux/eventfd.h>
#include <linux/mdev_pci.h>

#include "bench.h"

/* a write of the last register raises the interrupt */
static bool bench_raises(const u32 *regs, const u32 *reg)
{
	return reg == &regs[BENCH_REGS - 1];
}

/* ---- With the kit ---- */

struct bench_kit {
	struct mdev_pci pci;
	u32 regs[BENCH_REGS];
};

static u32 *bench_kit_regs(struct mdev_pci *pci)
{
	return container_of(pci, struct bench_kit, pci)->regs;
}

static u64 bench_kit_read(struct mdev_pci *pci,
			  const struct mdev_pci_region *region, u64 offset,
			  unsigned int width)
{
	return READ_ONCE(bench_kit_regs(pci)[offset / 4]);
}

static void bench_kit_write(struct mdev_pci *pci,
			    const struct mdev_pci_region *region, u64 offset,
			    unsigned int width, u64 val)
{
	u32 *regs = bench_kit_regs(pci), *reg = &regs[offset / 4];

	WRITE_ONCE(*reg, val);
	if (bench_raises(regs, reg))
		mdev_pci_signal(pci, 0);
}

static const struct mdev_pci_region bench_kit_regions[] = {
	{ .size = BENCH_REGS * 4, .width = 4, .min_width = 4,
	  .read = bench_kit_read, .write = bench_kit_write },
};

static const struct mdev_pci_cap bench_kit_caps[] = { MDEV_PCI_CAP_MSI(1) };

static const struct mdev_pci_ops bench_kit_ops = {};

static const struct mdev_pci_desc bench_kit_desc = {
	.vendor		= 0x1b36,
	.device		= 0x0fff,
	.class		= 0xff0000,
	.caps		= bench_kit_caps,
	.nr_caps	= ARRAY_SIZE(bench_kit_caps),
	.regions	= bench_kit_regions,
	.nr_regions	= ARRAY_SIZE(bench_kit_regions),
	MDEV_PCI_DEVICE(struct bench_kit, pci),
	.ops		= &bench_kit_ops,
};

static const struct mdev_pci_type bench_kit_types[] = {
	{ .name = "bench", .desc = &bench_kit_desc },
};

static struct mdev_pci_parent bench_kit_parent = {
	.ops		= { MDEV_PCI_OPS },
	.types		= bench_kit_types,
	.nr_types	= ARRAY_SIZE(bench_kit_types),
	.units		= INT_MAX,
};

/* ---- By hand ---- */

struct bench_hand {
	u32 regs[BENCH_REGS];
	u32 config[64];
	struct eventfd_ctx *trigger;
};

static ssize_t device_api_show(struct kobject *kobj, struct device *dev,
			       char *buf)
{
	return sysfs_emit(buf, "%s\n", VFIO_DEVICE_API_PCI_STRING);
}

static MDEV_TYPE_ATTR_RO(device_api);

static struct attribute *bench_hand_attrs[] = {
	&mdev_type_attr_device_api.attr,
	NULL
};

static struct attribute_group bench_hand_group = {
	.name	= "bench",
	.attrs	= bench_hand_attrs,
};

static struct attribute_group *bench_hand_types[] = { &bench_hand_group, NULL };

static int bench_hand_create(struct kobject *kobj, struct mdev_device *mdev)
{
	struct bench_hand *hand = kzalloc(sizeof(*hand), GFP_KERNEL);

	mdev_set_drvdata(mdev, hand);
	return hand ? 0 : -ENOMEM;
}

static int bench_hand_remove(struct mdev_device *mdev)
{
	kfree(mdev_get_drvdata(mdev));
	return 0;
}

static void bench_hand_set_trigger(struct bench_hand *hand,
				   struct eventfd_ctx *trigger)
{
	swap(hand->trigger, trigger);
	if (trigger)
		eventfd_ctx_put(trigger);
}

static int bench_hand_open(struct mdev_device *mdev)
{
	return 0;
}

static void bench_hand_release(struct mdev_device *mdev)
{
	bench_hand_set_trigger(mdev_get_drvdata(mdev), NULL);
}

static u32 *bench_hand_reg(struct bench_hand *hand, u64 pos, size_t count)
{
	u64 offset = pos & (BIT_ULL(BENCH_SHIFT) - 1);

	if (count != 4 || offset % 4)
		return NULL;
	switch (pos >> BENCH_SHIFT) {
	case VFIO_PCI_BAR0_REGION_INDEX:
		return offset < sizeof(hand->regs) ? &hand->regs[offset / 4] : NULL;
	case VFIO_PCI_CONFIG_REGION_INDEX:
		return offset < sizeof(hand->config) ? &hand->config[offset / 4] :
						       NULL;
	}
	return NULL;
}

static ssize_t bench_hand_read(struct mdev_device *mdev, char __user *buf,
			       size_t count, loff_t *ppos)
{
	u32 *reg = bench_hand_reg(mdev_get_drvdata(mdev), *ppos, count);

	if (!reg)
		return -EINVAL;
	if (put_user(READ_ONCE(*reg), (u32 __user *)buf))
		return -EFAULT;
	*ppos += count;
	return count;
}

static ssize_t bench_hand_write(struct mdev_device *mdev, const char __user *buf,
				size_t count, loff_t *ppos)
{
	struct bench_hand *hand = mdev_get_drvdata(mdev);
	u32 *reg = bench_hand_reg(hand, *ppos, count), val;

	if (!reg)
		return -EINVAL;
	if (get_user(val, (const u32 __user *)buf))
		return -EFAULT;
	WRITE_ONCE(*reg, val);
	if (bench_raises(hand->regs, reg) && hand->trigger)
		eventfd_signal(hand->trigger);
	*ppos += count;
	return count;
}

/* what bench.c sets: the trigger of the only vector */
static long bench_hand_ioctl(struct mdev_device *mdev, unsigned int cmd,
			     unsigned long arg)
{
	struct vfio_irq_set __user *set = (void __user *)arg;
	struct eventfd_ctx *trigger;
	s32 fd;

	if (cmd != VFIO_DEVICE_SET_IRQS)
		return -ENOTTY;
	if (get_user(fd, (s32 __user *)set->data))
		return -EFAULT;
	trigger = eventfd_ctx_fdget(fd);
	if (IS_ERR(trigger))
		return PTR_ERR(trigger);
	bench_hand_set_trigger(mdev_get_drvdata(mdev), trigger);
	return 0;
}

static const struct mdev_parent_ops bench_hand_ops = {
	.owner			= THIS_MODULE,
	.supported_type_groups	= bench_hand_types,
	.create			= bench_hand_create,
	.remove			= bench_hand_remove,
	.open			= bench_hand_open,
	.release		= bench_hand_release,
	.read			= bench_hand_read,
	.write			= bench_hand_write,
	.ioctl			= bench_hand_ioctl,
};

static int bench_register(struct platform_device *parent)
{
	return parent->id ? mdev_register_device(&parent->dev, &bench_hand_ops) :
			    mdev_pci_register(&bench_kit_parent, &parent->dev);
}

static void bench_unregister(struct platform_device *parent)
{
	if (parent->id)
		mdev_unregister_device(&parent->dev);
	else
		mdev_pci_unregister(&bench_kit_parent);
}

module_param_cb(registered, &bench_registered_ops, &bench_registered, 0600);
MODULE_PARM_DESC(registered, "write 0 to unregister the parents, 1 to register them");

module_init(bench_add_parents);
module_exit(bench_remove_parents);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Benchmark of mdev: PCI devices, with the kit and by hand");
