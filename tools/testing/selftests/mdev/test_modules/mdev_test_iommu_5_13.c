// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdev_test_iommu as it would have been for Linux 5.13 and 5.14, by the headers in
 * include/classic-5.13.
 */
#include "mdev_test_iommu.c"
