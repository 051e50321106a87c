// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor driver as it was written for Linux 5.10, compiled with include/classic, that has
 * a PCI device do the DMA of its mediated devices. mdev_test_iommu_5_13.c makes one for
 * Linux 5.13 of it. It also is the driver of that PCI device, QEMU's edu, but makes nothing
 * of it.
 */
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "mdev_test_iommu.h"

static char device[32];
module_param_string(device, device, sizeof(device), 0644);
MODULE_PARM_DESC(device, "name of the PCI device that does the DMA");

static unsigned int names;
module_param(names, uint, 0644);
MODULE_PARM_DESC(names, "what is named, and when, see mdev_test_iommu.h (0)");

static bool managed = true;
module_param(managed, bool, 0444);
MODULE_PARM_DESC(managed, "The PCI driver leaves DMA to others (yes)");

static struct platform_device *test_parent;

struct test_device {
	struct mdev_device *mdev;
	struct notifier_block nb;
};

/* ---- What differs between 5.10 and 5.13 ---- */

#ifndef MDEV_CLASSIC_5_13
static int test_set(struct mdev_device *mdev, struct device *iommu_device)
{
	return mdev_set_iommu_device(mdev_dev(mdev), iommu_device);
}

static struct device *test_get(struct mdev_device *mdev)
{
	return mdev_get_iommu_device(mdev_dev(mdev));
}
#else
static int test_set(struct mdev_device *mdev, struct device *iommu_device)
{
	/* it returned nothing */
	mdev_set_iommu_device(mdev, iommu_device);
	return 0;
}

static struct device *test_get(struct mdev_device *mdev)
{
	return mdev_get_iommu_device(mdev);
}
#endif

/* ---- What does not ---- */

static int test_name(struct mdev_device *mdev)
{
	struct device *pci;
	int ret;

	if (names == TEST_IOMMU_PARENT || names == TEST_IOMMU_TWICE) {
		ret = test_set(mdev, mdev_parent_dev(mdev));
		if (names == TEST_IOMMU_PARENT)
			return ret;
	}
	pci = bus_find_device_by_name(&pci_bus_type, NULL, device);
	if (!pci)
		return -ENXIO;
	ret = test_set(mdev, pci);
	if (!ret && test_get(mdev) != pci)
		ret = -EBADE;
	put_device(pci);
	return ret;
}

static int test_new(struct mdev_device *mdev)
{
	struct test_device *td;
	int ret = 0;

	td = kzalloc(sizeof(*td), GFP_KERNEL);
	if (!td)
		return -ENOMEM;
	td->mdev = mdev;
	mdev_set_drvdata(mdev, td);
	if (names != TEST_IOMMU_LATE)
		ret = test_name(mdev);
	if (ret)
		kfree(td);
	return ret;
}

#ifndef MDEV_CLASSIC_5_13
static int test_create(struct kobject *kobj, struct mdev_device *mdev)
{
	return test_new(mdev);
}
#else
static int test_create(struct mdev_device *mdev)
{
	return test_new(mdev);
}
#endif

static int test_remove(struct mdev_device *mdev)
{
	kfree(mdev_get_drvdata(mdev));
	return 0;
}

static int test_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	return NOTIFY_OK;
}

static int test_open(struct mdev_device *mdev)
{
	struct test_device *td = mdev_get_drvdata(mdev);
	unsigned long events = VFIO_IOMMU_NOTIFY_DMA_UNMAP;

	if (names == TEST_IOMMU_LATE)
		test_name(mdev);
	td->nb.notifier_call = test_notify;
	return vfio_register_notifier(mdev_dev(mdev), VFIO_IOMMU_NOTIFY, &events,
				      &td->nb);
}

static void test_release(struct mdev_device *mdev)
{
	struct test_device *td = mdev_get_drvdata(mdev);

	vfio_unregister_notifier(mdev_dev(mdev), VFIO_IOMMU_NOTIFY, &td->nb);
}

static long test_domain(struct mdev_device *mdev)
{
	struct iommu_domain *domain;
	struct vfio_group *group;

	group = vfio_group_get_external_user_from_dev(mdev_dev(mdev));
	if (IS_ERR(group))
		return PTR_ERR(group);
	domain = vfio_group_iommu_domain(group);
	vfio_group_put_external_user(group);
	if (IS_ERR(domain))
		return PTR_ERR(domain);
	return domain == iommu_get_domain_for_dev(test_get(mdev));
}

static long test_read(struct mdev_device *mdev, u64 __user *where)
{
	struct vfio_group *group;
	u64 iova, val = 0;
	long ret;

	if (copy_from_user(&iova, where, sizeof(iova)))
		return -EFAULT;
	group = vfio_group_get_external_user_from_dev(mdev_dev(mdev));
	if (IS_ERR(group))
		return PTR_ERR(group);
	ret = vfio_dma_rw(group, iova, &val, sizeof(val), false);
	vfio_group_put_external_user(group);
	if (!ret && copy_to_user(where, &val, sizeof(val)))
		ret = -EFAULT;
	return ret;
}

static long test_ioctl(struct mdev_device *mdev, unsigned int cmd,
		       unsigned long arg)
{
	unsigned long pfn = 0, phys;

	switch (cmd) {
	case TEST_IOMMU_PIN:
		return vfio_pin_pages(mdev_dev(mdev), &pfn, 1, IOMMU_READ, &phys);
	case TEST_IOMMU_DOMAIN:
		return test_domain(mdev);
	case TEST_IOMMU_READ:
		return test_read(mdev, (void __user *)arg);
	}
	return -ENOTTY;
}

static struct attribute *test_type_attrs[] = { NULL };

static struct attribute_group test_type_group = {
	.name	= "1",
	.attrs	= test_type_attrs,
};

static struct attribute_group *test_type_groups[] = { &test_type_group, NULL };

static const struct mdev_parent_ops test_ops = {
	.owner			= THIS_MODULE,
	.supported_type_groups	= test_type_groups,
	.create			= test_create,
	.remove			= test_remove,
	.open			= test_open,
	.release		= test_release,
	.ioctl			= test_ioctl,
};

static int test_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return 0;
}

static const struct pci_device_id test_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};

static struct pci_driver test_driver = {
	.name		= KBUILD_MODNAME,
	.id_table	= test_ids,
	.probe		= test_probe,
};

static int __init test_init(void)
{
	int ret;

	test_parent = platform_device_register_simple(KBUILD_MODNAME,
						      PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(test_parent))
		return PTR_ERR(test_parent);
	test_driver.driver_managed_dma = managed;
	ret = pci_register_driver(&test_driver);
	if (ret)
		goto err_parent;
	ret = mdev_register_device(&test_parent->dev, &test_ops);
	if (ret)
		goto err_driver;
	return 0;

err_driver:
	pci_unregister_driver(&test_driver);
err_parent:
	platform_device_unregister(test_parent);
	return ret;
}

static void __exit test_exit(void)
{
	mdev_unregister_device(&test_parent->dev);
	pci_unregister_driver(&test_driver);
	platform_device_unregister(test_parent);
}

module_init(test_init);
module_exit(test_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Vendor of mdevs whose DMA another device does, for tests of mdev");
