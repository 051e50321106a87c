/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the vendor mdev_test_pci and its tests agree on.
 */
#ifndef MDEV_TEST_PCI_H
#define MDEV_TEST_PCI_H

#include <linux/types.h>
#include <linux/vfio.h>

/* regions of the type "full" that PCI does not know */
#define MDEV_TEST_PCI_NOTE	VFIO_PCI_NUM_REGIONS	/* written as a whole */
#define MDEV_TEST_PCI_FIXED	(VFIO_PCI_NUM_REGIONS + 1)	/* read-only memory */
#define MDEV_TEST_PCI_WINDOW	(VFIO_PCI_NUM_REGIONS + 2)	/* BAR 2 from its middle on */
#define MDEV_TEST_PCI_REGIONS	(VFIO_PCI_NUM_REGIONS + 3)

#define MDEV_TEST_PCI_BYTES	256	/* registers of BAR 0, which repeat */
#define MDEV_TEST_PCI_NOTE_SIZE	24
#define MDEV_TEST_PCI_RAM	0x10000
#define MDEV_TEST_PCI_BLOCKS	15	/* of BAR 1: reading it blocks when told to */

/* mistakes in tables that the module's parameter "wrong" makes, from 1 on */
#define MDEV_TEST_PCI_MISTAKES	60

/* how often something was asked of the vendor */
struct mdev_test_pci_counts {
	__u32 reset;
	__u32 open;
	__u32 close;
	__u32 quiesce;
	__u32 resume;
	__u32 check;
	__u32 unpin;
	__u32 config_written;
	__u32 blocked;	/* threads that are */
};

/* the last accesses to BAR 0 */
struct mdev_test_pci_access {
	__u16 offset;
	__u8 width;
	__u8 write;
};

#define MDEV_TEST_PCI_LOG_SIZE	64
struct mdev_test_pci_log {
	__u32 count;
	struct mdev_test_pci_access accesses[MDEV_TEST_PCI_LOG_SIZE];
};

/* what migrates, besides the bytes of BAR 0 */
struct mdev_test_pci_fields {
	__u64 qword;
	__u32 dword;	/* from version 2 on, not 0xdead */
	__u16 words[3];
	__u8 flag;	/* a bool */
	__u8 pad[5];
};

/* do something, in a hard interrupt if asked to */
struct mdev_test_pci_raise {
	__u32 what;
#define MDEV_TEST_PCI_INTX	0
#define MDEV_TEST_PCI_IRQ	1
#define MDEV_TEST_PCI_SIGNAL	2
	__u32 arg;
	__u32 hard;
};

struct mdev_test_pci_dma {
	__aligned_u64 iova;
	__aligned_u64 len;
	__u32 value;
	__u32 write;
	__u32 pin;	/* and leave it pinned */
	__u32 pad;
};

#define MDEV_TEST_PCI_GET_COUNTS	_IO(VFIO_TYPE, VFIO_BASE + 0x80)
#define MDEV_TEST_PCI_GET_LOG		_IO(VFIO_TYPE, VFIO_BASE + 0x81)
#define MDEV_TEST_PCI_GET_FIELDS	_IO(VFIO_TYPE, VFIO_BASE + 0x82)
#define MDEV_TEST_PCI_SET_FIELDS	_IO(VFIO_TYPE, VFIO_BASE + 0x83)
#define MDEV_TEST_PCI_RAISE		_IO(VFIO_TYPE, VFIO_BASE + 0x84)
#define MDEV_TEST_PCI_DMA		_IO(VFIO_TYPE, VFIO_BASE + 0x85)
#define MDEV_TEST_PCI_UNPIN		_IO(VFIO_TYPE, VFIO_BASE + 0x86)
/* arg: whether reads of MDEV_TEST_PCI_BLOCKS block */
#define MDEV_TEST_PCI_BLOCK		_IO(VFIO_TYPE, VFIO_BASE + 0x87)
/* arg: what the read-only byte of the vendor's capability is to be */
#define MDEV_TEST_PCI_SET_CONFIG	_IO(VFIO_TYPE, VFIO_BASE + 0x88)

#endif /* MDEV_TEST_PCI_H */
