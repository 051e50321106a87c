/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * BAR 0 of QEMU's edu, and of the devices that medu makes of it: what the driver of the
 * hardware writes, and what programs of its guests do (tools/clients/inner_medu.c).
 */
#ifndef MEDU_H
#define MEDU_H

#define MEDU_VENDOR_ID		0x1234
#define MEDU_DEVICE_ID		0x11e8

#define MEDU_BAR_SIZE		0x100000

/* registers of 32 bits */
#define MEDU_ID			0x00
#define   MEDU_ID_VALUE		0x010000ed	/* version 1.0 */
#define   MEDU_ID_MASK		0x0000ffff
#define MEDU_LIVE		0x04	/* reads the inverse of what is written */
#define MEDU_FACT		0x08
#define MEDU_STATUS		0x20
#define   MEDU_STATUS_COMPUTING	0x01
#define   MEDU_STATUS_IRQ	0x80	/* interrupt when computed */
#define MEDU_IRQ_STATUS		0x24
#define   MEDU_IRQ_FACT		0x001
#define   MEDU_IRQ_DMA		0x100
#define   MEDU_IRQ_DMA_FAILED	0x200	/* medu's, along with the former */
#define MEDU_IRQ_RAISE		0x60
#define MEDU_IRQ_ACK		0x64

/* registers of 64 bits */
#define MEDU_WIDE		0x80	/* the first of them */
#define MEDU_DMA_SRC		0x80
#define MEDU_DMA_DST		0x88
#define MEDU_DMA_COUNT		0x90
#define MEDU_DMA_CMD		0x98
#define   MEDU_DMA_RUN		0x1
#define   MEDU_DMA_TO_RAM	0x2
#define   MEDU_DMA_IRQ		0x4
#define MEDU_DMA_ERROR		0xa0	/* medu's: errno of the last DMA, or 0 */

/* where the buffer is, for the addresses in the DMA registers */
#define MEDU_BUFFER		0x40000
#define MEDU_BUFFER_SIZE	4096

#endif
