/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What older VFIO cores do not do for drivers that pin. Included before the bridge's account of
 * user memory, and nowhere else.
 */
#ifndef MDEV_COMPAT_VFIO_PIN_H
#define MDEV_COMPAT_VFIO_PIN_H

#include <linux/poison.h>
#include <linux/vfio.h>

#include <mdev_facts.h>

/* a VFIO that has groups, and cannot be built without */
#if HAVE_VFIO_CONTAINERS && !IS_ENABLED(CONFIG_VFIO_GROUP)
#define CONFIG_VFIO_GROUP 1
#endif

#if !HAVE_VFIO_IOMMUFD
/*
 * This VFIO lets a device pin before it is on the list of those that are asked: in its
 * open, if there is another device in the container. Be strict, as it is when there is
 * none.
 */
static inline int compat_vfio_pin_pages(struct vfio_device *vdev, dma_addr_t iova,
					int npage, int prot, struct page **pages)
{
	const struct list_head *next = READ_ONCE(vdev->iommu_entry.next);

	if (!next || next == LIST_POISON1)
		return -EINVAL;
	return vfio_pin_pages(vdev, iova, npage, prot, pages);
}

#define vfio_pin_pages compat_vfio_pin_pages
#endif

#endif /* MDEV_COMPAT_VFIO_PIN_H */
