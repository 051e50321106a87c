/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Since Linux 5.16 who uses dma-buf has to say so, which vendors of mediated
 * displays that are older do not.
 */
#ifndef MDEV_CLASSIC_DMA_BUF_H
#define MDEV_CLASSIC_DMA_BUF_H

#include_next <linux/dma-buf.h>
#include <linux/module.h>

MODULE_INFO(import_ns, "DMA_BUF");

#endif /* MDEV_CLASSIC_DMA_BUF_H */
