// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdev_test_classic as it would have been for Linux 5.13 to 5.15, by the headers
 * in include/classic-5.13.
 */
#include "mdev_test_classic.c"
