/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What clients can ask a device of mdev_test_iommu to do.
 */
#ifndef MDEV_TEST_IOMMU_H
#define MDEV_TEST_IOMMU_H

#include <linux/types.h>
#include <linux/vfio.h>

/* pin the page at address 0: its answer */
#define TEST_IOMMU_PIN		_IO(VFIO_TYPE, VFIO_BASE + 40)
/* is the domain of the group's handle that of the device which does the DMA? 1 or 0 */
#define TEST_IOMMU_DOMAIN	_IO(VFIO_TYPE, VFIO_BASE + 41)
/* mdev_dma_rw(): copy 8 bytes from the address that the argument points to */
#define TEST_IOMMU_READ		_IO(VFIO_TYPE, VFIO_BASE + 42)

/* values of the parameter names */
enum test_iommu_names {
	TEST_IOMMU_PCI,		/* a PCI device, in create */
	TEST_IOMMU_PARENT,	/* the parent, which has no IOMMU */
	TEST_IOMMU_LATE,	/* a PCI device, in open, which is too late */
	TEST_IOMMU_TWICE,	/* the parent, and then a PCI device */
};

#endif /* MDEV_TEST_IOMMU_H */
