/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A client of the vendor mdev_test_classic, with memory that the device may use, and
 * the vendor's thread, which calls VFIO whether the device is open or not.
 */
#ifndef MDEV_CLASSIC_H
#define MDEV_CLASSIC_H

#include "mdev_dma.h"
#include "test_modules/mdev_test_classic.h"

#define CLASSIC		"mdev_test_classic"
#define CLASSIC_TYPE	CLASSIC "/platform-a"

/* it may not pin without */
static inline int notifier_register(struct client *c)
{
	/* VFIO_IOMMU_NOTIFY */
	struct mdev_test_notifier n = { .type = 0, .events = 1 };

	return vfio_ioctl(c->vc.device, MDEV_TEST_REGISTER, &n);
}

static inline int classic_open(struct client *c)
{
	return client_open(c) ?: notifier_register(c);
}

static inline void classic_close(struct client *c)
{
	vfio_close(&c->vc);
	munmap(c->mem, SIZE);
}

#define LATE_ALL	(MDEV_TEST_LATE_PIN | MDEV_TEST_LATE_NOTIFIER | \
			 MDEV_TEST_LATE_KVM | MDEV_TEST_LATE_DMA)

static inline int late(struct client *c, unsigned int calls, unsigned int times)
{
	struct mdev_test_late late = {
		.iova = IOVA, .calls = calls, .times = times, .pause_us = 100,
	};

	return vfio_ioctl(c->vc.device, MDEV_TEST_LATE, &late);
}

static inline struct mdev_test_late_end late_end(struct client *c)
{
	struct mdev_test_late_end end = { .errnos = UINT64_MAX };

	vfio_ioctl(c->vc.device, MDEV_TEST_LATE_END, &end);
	return end;
}

/* A call that comes late gets what it wants, or one of these. */
static inline bool late_errnos_legal(const struct mdev_test_late_end *end)
{
	return !(end->errnos & ~(1ULL << ENOENT | 1ULL << ENODEV | 1ULL << EINVAL));
}

#endif /* MDEV_CLASSIC_H */
