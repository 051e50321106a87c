/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * BAR 0 of the devices of mdev_test_v1, and what its parameter fail can be.
 */
#ifndef MDEV_TEST_V1_H
#define MDEV_TEST_V1_H

/* registers of 32 bits */
#define TEST_V1_SEED	0x0	/* the state becomes what follows from this number */
#define TEST_V1_SUM	0x4	/* a checksum of the state, read only */
#define TEST_V1_TOUCH	0x8	/* changes this piece of the state */
#define TEST_V1_RESET	0xc	/* resets the device */

/* the state, and what the vendor has in its region at once */
#define TEST_V1_PIECE	65536
#define TEST_V1_PIECES	40
#define TEST_V1_SMALL_PIECES	2

/* the index of the region for migration */
#define TEST_V1_REGION	10

enum test_v1_fail {
	TEST_V1_STATE = 1,		/* a change of state, which is as before then */
	TEST_V1_ERROR,			/* the same, and only a reset helps */
	TEST_V1_PENDING,		/* reading pending_bytes */
	TEST_V1_OFFSET_FAR,		/* data_offset is far beyond the region */
	TEST_V1_OFFSET_END,		/* it is that of the region's end */
	TEST_V1_OFFSET_LOW,		/* it is in the region's registers */
	TEST_V1_SIZE_ZERO,		/* data_size is 0 although bytes are pending */
	TEST_V1_SIZE_LARGE,		/* data_size goes beyond the region's end */
	TEST_V1_SIZE_WRAPS,		/* data_size is 2^64 - 1 */
	TEST_V1_READ,			/* the data can be read to their half only */
	TEST_V1_READ_NONE,		/* reading data returns 0 */
	TEST_V1_READ_NOMSG,		/* reading data returns -ENOMSG */
	TEST_V1_WRITE,			/* writing data */
	TEST_V1_TAKE,			/* writing data_size */
	/* accesses of more than 8 bytes; only the first pieces of the state are saved then */
	TEST_V1_SMALL,
};

#endif
