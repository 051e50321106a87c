/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the vendor mdev_test_classic can be asked to do, by ioctls of its devices.
 * Each returns what the function returned that it is about.
 */
#ifndef MDEV_TEST_CLASSIC_H
#define MDEV_TEST_CLASSIC_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* more than can be pinned at once */
#define MDEV_TEST_PAGES	520

/* arguments of vfio_pin_pages() and vfio_unpin_pages() */
struct mdev_test_pages {
	unsigned long pfn[MDEV_TEST_PAGES];
	unsigned long phys[MDEV_TEST_PAGES];	/* filled in */
	__s32 npage;
	__u32 prot;
	__u32 by_group;
	__u32 without;			/* 1: no pfn, 2: no phys */
};

/* those of vfio_dma_rw() */
struct mdev_test_dma {
	__u64 iova;
	__u64 len;
	__u32 write;
	__u32 pad;
	__u8 data[8192];
};

/* those of vfio_register_notifier() and vfio_unregister_notifier() */
struct mdev_test_notifier {
	__u64 events;			/* what is left of them comes back */
	__u32 type;
	__u32 pad;
};

/* what the vendor has seen */
struct mdev_test_status {
	__u64 unmap_iova;		/* the last one */
	__u64 unmap_size;
	__u32 unmaps;			/* calls of the notifiers */
	__u32 kvms;
	__u32 has_kvm;
	__u32 kvm_users;		/* of the last one, when it was released */
	__u32 pinned;			/* pages, by its own account */
	__u32 type_id;			/* 5.13: as it was told for the device */
	__s32 early_pin;		/* functions called while not open */
	__s32 early_notifier;
	__s32 early_group;
	__s32 wrong_pin;		/* and for another device */
	__s32 wrong_notifier;
	__s32 wrong_group;
	__s32 wrong_device;		/* 0 or 1: was there one? */
	__u32 pad;
};

/*
 * Have a thread of the vendor's call these of VFIO's functions again and again, whether
 * the device is open or not, as Linux 4.10 to 5.15 allowed.
 */
struct mdev_test_late {
	__u64 iova;
	__u32 calls;			/* MDEV_TEST_LATE_* */
	__u32 times;			/* at least once */
	__u32 pause_us;
	__u32 pad;
};

#define MDEV_TEST_LATE_PIN	1	/* and unpin */
#define MDEV_TEST_LATE_NOTIFIER	2	/* register and unregister; of unmaps */
#define MDEV_TEST_LATE_KVM	4	/* of virtual machines */
#define MDEV_TEST_LATE_DMA	8	/* vfio_dma_rw(), by a handle it keeps */

/* what came of it: calls that did what they should, and errnos, as bits */
struct mdev_test_late_end {
	__u64 errnos;
	__u32 ok;
	__u32 pad;
};

/* the first bytes of a page that is pinned, by host page frame number */
struct mdev_test_peek {
	__u64 phys;
	__u64 value;
};

/* what to answer VFIO_DEVICE_GET_REGION_INFO with, as far as there is room for it */
struct mdev_test_region {
	__u32 size;
	__u32 pad;
	__u64 answer[32];
};

#define MDEV_TEST_PIN		_IOWR('T', 0, struct mdev_test_pages)
#define MDEV_TEST_UNPIN		_IOW('T', 1, struct mdev_test_pages)
#define MDEV_TEST_DMA		_IOWR('T', 2, struct mdev_test_dma)
#define MDEV_TEST_REGISTER	_IOWR('T', 3, struct mdev_test_notifier)
#define MDEV_TEST_UNREGISTER	_IOW('T', 4, struct mdev_test_notifier)
#define MDEV_TEST_STATUS	_IOR('T', 5, struct mdev_test_status)
#define MDEV_TEST_PEEK		_IOWR('T', 6, struct mdev_test_peek)
/* do not clean up, neither when told of an unmap nor at release; and use the memory of
 * the notifier for something else then
 */
#define MDEV_TEST_FORGET	_IO('T', 7)
#define MDEV_TEST_REGION	_IOW('T', 8, struct mdev_test_region)
#define MDEV_TEST_LATE		_IOW('T', 9, struct mdev_test_late)
/* have the thread stop, and wait for it */
#define MDEV_TEST_LATE_END	_IOR('T', 10, struct mdev_test_late_end)

#endif /* MDEV_TEST_CLASSIC_H */
