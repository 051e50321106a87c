// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mediated devices whose DMA is done by a device behind an IOMMU, which the vendor has named
 * in mdev_set_iommu_device().
 *
 * VFIO maps the memory of user space for an IOMMU group. So it is the named device that is
 * registered with VFIO, and VFIO finds the group that it is really in. User space looks for
 * both in the folder of the mediated device, so that has links to the group and to the
 * folder of VFIO's node, and it asks for the device by the UUID.
 *
 * VFIO also uses the driver of the device that it is given. By a device link, the driver
 * core unbinds the bridge before that driver.
 */
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/iommu.h>
#include <linux/kernfs.h>
#include <linux/mdev.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/sysfs.h>
#include <linux/vfio.h>
#include <linux/xarray.h>

#include "mdev_bridge.h"
#include "vfio_mdev_private.h"

/* how long to try to get the lock of a device that is being bound or unbound */
#define VFIO_MDEV_LOCK_TRIES	100
#define VFIO_MDEV_LOCK_MS	10

/* Devices that are named, by their address: VFIO takes each only once. */
static DEFINE_XARRAY(vfio_mdev_iommu_devices);

/*
 * VFIO gives no group away in which a driver uses the kernel's DMA API, but does not say
 * that it is that. Say so when the device is created: with a container, nobody asks us when
 * it is opened.
 */
static int vfio_mdev_check_driver(struct device *member, void *data)
{
	struct device_driver *drv;
	bool own_dma = false;

	/* if it is being bound or unbound, it is not known yet who will drive it */
	if (!device_trylock(member))
		return 0;
	drv = member->driver;
	if (drv && dev_is_pci(member))
		own_dma = !to_pci_driver(drv)->driver_managed_dma;
	else if (drv && dev_is_platform(member))
		own_dma = !to_platform_driver(drv)->driver_managed_dma;
	if (own_dma)
		dev_err(data, "cannot be opened: the driver %s of %s, in its IOMMU group, must set driver_managed_dma\n",
			drv->name, dev_name(member));
	device_unlock(member);
	return 0;
}

/*
 * Is there a driver, and does it stay? Not while it is being bound, as it may fail, unless that
 * is the vendor, which then takes its mediated devices away first.
 */
static bool vfio_mdev_driver_stays(struct device *dev, struct device *iommu_device)
{
	enum dl_dev_state state = READ_ONCE(iommu_device->links.status);

	return state == DL_DEV_DRIVER_BOUND ||
	       (state == DL_DEV_PROBING && iommu_device == dev->parent);
}

/* In this state the driver core waits for us before it unbinds the driver. */
static bool vfio_mdev_is_linked(const struct device_link *link)
{
	return READ_ONCE(link->status) == DL_STATE_CONSUMER_PROBE;
}

static int vfio_mdev_link_driver(struct device *dev, struct device *iommu_device,
				 struct iommu_group *group)
{
	struct device_link *link = NULL;
	bool stays;

	/* a device that is gone has no folder for what the link adds there */
	stays = iommu_device->iommu_group == group &&
		vfio_mdev_driver_stays(dev, iommu_device);
	if (stays) {
		link = device_link_add(dev, iommu_device,
				       DL_FLAG_AUTOREMOVE_CONSUMER);
		if (!link)
			return -ENOMEM;
		stays = vfio_mdev_is_linked(link) &&
			iommu_device->iommu_group == group;
	}
	if (stays)
		return 0;
	dev_err(dev, "%s, which does its DMA, has no driver\n",
		dev_name(iommu_device));
	return -ENODEV;
}

/*
 * The lock is for what is not the parent of the mediated device: its driver must not begin to
 * leave between the look at its state and the link. Nobody can wait for it, as the driver's
 * remove, which holds it, may wait for us.
 */
static int vfio_mdev_link_driver_locked(struct device *dev,
					struct device *iommu_device,
					struct iommu_group *group)
{
	int tries, ret;

	if (iommu_device == dev->parent)
		return vfio_mdev_link_driver(dev, iommu_device, group);
	for (tries = 0; !device_trylock(iommu_device); tries++) {
		if (tries == VFIO_MDEV_LOCK_TRIES)
			return -EAGAIN;
		msleep(VFIO_MDEV_LOCK_MS);
	}
	ret = vfio_mdev_link_driver(dev, iommu_device, group);
	device_unlock(iommu_device);
	return ret;
}

/* Has VFIO got it already, from a driver such as vfio-pci? */
static bool vfio_mdev_is_taken(struct device *iommu_device)
{
	struct kernfs_node *dir;

	dir = kernfs_find_and_get(iommu_device->kobj.sd, "vfio-dev");
	kernfs_put(dir);
	return dir;
}

/* The group is opaque, but its folder belongs to the kobject that it has. */
static int vfio_mdev_link_group(struct device *dev, struct device *iommu_device)
{
	struct kernfs_node *link;
	int ret = -ENOENT;

	link = kernfs_find_and_get(iommu_device->kobj.sd, "iommu_group");
	if (link && kernfs_type(link) == KERNFS_LINK)
		ret = sysfs_create_link(&dev->kobj, link->symlink.target_kn->priv,
					"iommu_group");
	kernfs_put(link);
	return ret;
}

/**
 * vfio_mdev_iommu_register - register a device that has an IOMMU with VFIO
 * @vm: the device, allocated for the one that was named
 *
 * Context: the bridge's probe.
 * Return: 0; -EINVAL if the named device is in no IOMMU group; -EBUSY if another mediated
 * device has named it, or another driver has registered it with VFIO; -ENODEV if it is gone or
 * has no driver; -EAGAIN if it is being bound or unbound; -ENOMEM; or what VFIO returns.
 */
int vfio_mdev_iommu_register(struct vfio_mdev *vm)
{
	struct device *dev = vfio_mdev_dev(vm), *iommu_device = vm->vdev.dev;
	struct iommu_group *group = mdev_iommu_group(vm->mdev);
	unsigned long key = (unsigned long)iommu_device;
	int ret;

	/* the core has said so */
	if (!group)
		return -EINVAL;
	ret = xa_insert(&vfio_mdev_iommu_devices, key, vm, GFP_KERNEL);
	if (ret == -EBUSY)
		dev_err(dev, "%s does the DMA of another mediated device already\n",
			dev_name(iommu_device));
	if (ret)
		return ret;

	/* removed when we are unbound, and if this fails */
	ret = vfio_mdev_link_driver_locked(dev, iommu_device, group);
	if (ret)
		goto err_key;
	ret = -EBUSY;
	if (vfio_mdev_is_taken(iommu_device)) {
		dev_err(dev, "%s is a device of VFIO already\n",
			dev_name(iommu_device));
		goto err_key;
	}
	ret = vfio_mdev_link_group(dev, iommu_device);
	if (ret)
		goto err_key;
	/* user space may open it from here on, if it guesses the UUID */
	ret = vfio_register_group_dev(&vm->vdev);
	if (ret) {
		dev_err(dev, "VFIO does not take %s: %d\n",
			dev_name(iommu_device), ret);
		goto err_group;
	}
	ret = sysfs_create_link(&dev->kobj, vm->vdev.device.kobj.parent,
				"vfio-dev");
	if (ret)
		goto err_register;
	iommu_group_for_each_dev(group, dev, vfio_mdev_check_driver);
	return 0;

err_register:
	vfio_unregister_group_dev(&vm->vdev);
err_group:
	sysfs_remove_link(&dev->kobj, "iommu_group");
err_key:
	xa_erase(&vfio_mdev_iommu_devices, key);
	return ret;
}

/**
 * vfio_mdev_iommu_unregister - undo vfio_mdev_iommu_register()
 * @vm: the device
 *
 * Context: the bridge's remove; waits while VFIO holds the device.
 */
void vfio_mdev_iommu_unregister(struct vfio_mdev *vm)
{
	struct device *dev = vfio_mdev_dev(vm);
	unsigned long key = (unsigned long)vm->vdev.dev;

	/* VFIO removes its folder at once, and then waits */
	sysfs_remove_link(&dev->kobj, "vfio-dev");
	vfio_unregister_group_dev(&vm->vdev);
	sysfs_remove_link(&dev->kobj, "iommu_group");
	xa_erase(&vfio_mdev_iommu_devices, key);
}
