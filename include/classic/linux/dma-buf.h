/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Since Linux 5.16, modules that use dma-buf have to import its namespace. Older vendors
 * of mediated displays do not.
 */
#ifndef MDEV_CLASSIC_DMA_BUF_H
#define MDEV_CLASSIC_DMA_BUF_H

#include_next <linux/dma-buf.h>
#include <linux/module.h>

MODULE_INFO(import_ns, "DMA_BUF");

#endif /* MDEV_CLASSIC_DMA_BUF_H */
