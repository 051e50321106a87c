/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The functions of mdev.ko that the bridge, vfio_mdev.ko, calls. They are documented where
 * they are defined: in mdev_driver.c, mdev_state.c, mdev_calls.c and mdev_object.c.
 */
#ifndef MDEV_BRIDGE_H
#define MDEV_BRIDGE_H

#include <linux/mdev.h>

/* what udev and request_module() load the bridge by */
#define MDEV_CLASSIC_MODALIAS	"mdev:vfio"

int mdev_register_bridge(struct mdev_driver *drv);
void mdev_unregister_bridge(struct mdev_driver *drv);
const struct mdev_parent_ops *mdev_classic_ops(struct mdev_device *mdev);
int mdev_open(struct mdev_device *mdev);
void mdev_begin_calls(struct mdev_device *mdev,
		      const struct mdev_bridge_ops *bridge);
void mdev_end_calls(struct mdev_device *mdev);
void mdev_open_failed(struct mdev_device *mdev);
bool mdev_iommu_in_time(struct mdev_device *mdev);
struct iommu_group *mdev_iommu_group(struct mdev_device *mdev);
void mdev_log_holder(struct mdev_device *mdev, const char *what);
void mdev_close(struct mdev_device *mdev);
void mdev_set_held(struct mdev_device *mdev,
		   bool (*held)(struct mdev_device *mdev));
bool mdev_is_open(struct mdev_device *mdev);
int mdev_vendor_errno(struct device *dev, const char *op, int ret);

#endif /* MDEV_BRIDGE_H */
