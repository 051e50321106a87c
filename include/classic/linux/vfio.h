/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VFIO as vendors of mediated devices knew it before Linux 5.19.
 *
 * For vendor drivers of Linux 4.10 to 5.12. With this directory in front of the
 * kernel's own they compile without a change; see
 * Documentation/driver-api/vfio-mediated-porting.rst. All functions are inline and call
 * those that <linux/mdev.h> has for the vendor of an open device. A driver that also
 * uses VFIO of its own kernel must not include this.
 */
#ifndef MDEV_CLASSIC_VFIO_H
#define MDEV_CLASSIC_VFIO_H

#include <linux/bits.h>
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/mdev.h>
#include <linux/mm.h>
#include <linux/notifier.h>

/*
 * Some vendors find out by compiling snippets what their kernel has. A vendor that
 * finds this member of struct vfio_device_ops would not register a notifier.
 */
#define dma_unmap mdev_classic_no_dma_unmap
#include_next <linux/vfio.h>
#undef dma_unmap

/*
 * Of the first protocol of live migration, which the bridge still speaks with vendors. The
 * second has given other numbers to the names of states.
 */
#define VFIO_REGION_TYPE_MIGRATION	VFIO_REGION_TYPE_MIGRATION_DEPRECATED
#define VFIO_REGION_SUBTYPE_MIGRATION	VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED
#define VFIO_DEVICE_STATE_STOP		VFIO_DEVICE_STATE_V1_STOP
#define VFIO_DEVICE_STATE_RUNNING	VFIO_DEVICE_STATE_V1_RUNNING
#define VFIO_DEVICE_STATE_SAVING	VFIO_DEVICE_STATE_V1_SAVING
#define VFIO_DEVICE_STATE_RESUMING	VFIO_DEVICE_STATE_V1_RESUMING

/* a kernel without CONFIG_VFIO_GROUP does not declare it */
struct vfio_group;

/* this kernel's VFIO has functions of the same names, for VFIO drivers */
#define vfio_pin_pages		mdev_classic_pin_pages
#define vfio_unpin_pages	mdev_classic_unpin_pages
#define vfio_dma_rw		mdev_classic_dma_rw

#ifndef VFIO_PIN_PAGES_MAX_ENTRIES
#define VFIO_PIN_PAGES_MAX_ENTRIES	(PAGE_SIZE / sizeof(unsigned long))
#endif

enum vfio_notify_type {
	VFIO_IOMMU_NOTIFY,
	VFIO_GROUP_NOTIFY,
};

/* data is a struct vfio_iommu_type1_dma_unmap */
#define VFIO_IOMMU_NOTIFY_DMA_UNMAP	BIT(0)
/* data is a struct kvm */
#define VFIO_GROUP_NOTIFY_SET_KVM	BIT(0)

/* the bridge calls the notifiers */
static_assert(VFIO_IOMMU_NOTIFY_DMA_UNMAP == MDEV_DMA_UNMAP);

/* private: by struct device; one that is not open fails like one without a container */
static inline int mdev_classic_find(struct device *dev,
				    struct mdev_device **mdev)
{
	*mdev = dev ? mdev_from_dev(dev) : NULL;
	if (!*mdev)
		return -ENODEV;
	return mdev_calls(*mdev)->is_open(*mdev) ? 0 : -EINVAL;
}

/* private: all or none, and any of them can be unpinned on its own */
static inline int mdev_classic_pin(struct mdev_device *mdev,
				   const unsigned long *user_pfn, int npage,
				   int prot, unsigned long *phys_pfn)
{
	int ret;

	ret = mdev_calls(mdev)->pin_pfns(mdev, user_pfn, npage, prot, phys_pfn);
	if (ret < 0)
		memset(phys_pfn, 0, npage * sizeof(*phys_pfn));
	return ret;
}

/* private: */
static inline int mdev_classic_unpin(struct mdev_device *mdev,
				     const unsigned long *user_pfn, int npage)
{
	int i;

	for (i = 0; i < npage; i++)
		mdev_unpin_pages(mdev, (dma_addr_t)user_pfn[i] << PAGE_SHIFT, 1);
	return npage;
}

/* private: is the number of pages valid? */
static inline int mdev_classic_check_npage(int npage)
{
	if (!npage)
		return -EINVAL;
	if (npage < 0 || npage > VFIO_PIN_PAGES_MAX_ENTRIES)
		return -E2BIG;
	return 0;
}

/**
 * vfio_pin_pages - keep pages of user space's memory in place, for DMA
 * @dev: the mediated device
 * @user_pfn: the page frames, as user space has mapped them for the device; in any
 *	order
 * @npage: number of pages
 * @prot: IOMMU_READ, IOMMU_WRITE or both
 * @phys_pfn: where to store the host's page frames, in the same order
 *
 * Either all pages are pinned, or none; none if user space unmaps any of them during the
 * call. Unpin each page as often as it was pinned. The vendor must have registered a
 * notifier for VFIO_IOMMU_NOTIFY.
 *
 * Context: process context, sleeps; between the start of the vendor's open and
 * the end of its release.
 * Return: @npage; -EINVAL if an argument is missing, a page is not mapped or is being
 * unmapped, there is no notifier, or the device is not open; -EBUSY as long as the
 * vendor still has pins of memory that was unmapped there long ago; -E2BIG if @npage is
 * greater than VFIO_PIN_PAGES_MAX_ENTRIES; -ENODEV if @dev is no mediated device;
 * -EPERM if @prot is more than user space allows; or another error of VFIO.
 */
static inline int vfio_pin_pages(struct device *dev, unsigned long *user_pfn,
				 int npage, int prot, unsigned long *phys_pfn)
{
	struct mdev_device *mdev;
	int ret;

	if (!dev || !user_pfn || !phys_pfn)
		return -EINVAL;
	ret = mdev_classic_check_npage(npage) ?: mdev_classic_find(dev, &mdev);
	if (ret)
		return ret;
	return mdev_classic_pin(mdev, user_pfn, npage, prot, phys_pfn);
}

/**
 * vfio_unpin_pages - undo a vfio_pin_pages(), or a part of it
 * @dev: the mediated device
 * @user_pfn: the page frames, as given to vfio_pin_pages(); in any order
 * @npage: number of pages
 *
 * Pages that are not pinned are skipped, and an error is logged.
 *
 * Context: as vfio_pin_pages().
 * Return: @npage, or an error as vfio_pin_pages() has it.
 */
static inline int vfio_unpin_pages(struct device *dev, unsigned long *user_pfn,
				   int npage)
{
	struct mdev_device *mdev;
	int ret;

	if (!dev || !user_pfn)
		return -EINVAL;
	ret = mdev_classic_check_npage(npage) ?: mdev_classic_find(dev, &mdev);
	if (ret)
		return ret;
	return mdev_classic_unpin(mdev, user_pfn, npage);
}

/*
 * Vendors that make many of these calls got the group once, so that VFIO need not look
 * for it in each call. Here the handle is the device.
 */

static inline struct mdev_device *mdev_classic_of_group(struct vfio_group *group)
{
	return (struct mdev_device *)group;
}

/**
 * vfio_group_get_external_user_from_dev - a handle for the functions below
 * @dev: the mediated device
 *
 * Context: as vfio_pin_pages().
 * Return: the handle, to be released by vfio_group_put_external_user(); or
 * ERR_PTR(-ENODEV) if @dev is no mediated device, ERR_PTR(-EINVAL) if it is not
 * open.
 */
static inline struct vfio_group *
vfio_group_get_external_user_from_dev(struct device *dev)
{
	struct mdev_device *mdev;
	int ret;

	ret = mdev_classic_find(dev, &mdev);
	if (ret)
		return ERR_PTR(ret);
	/* dropped in vfio_group_put_external_user() */
	get_device(dev);
	return (struct vfio_group *)mdev;
}

/**
 * vfio_group_put_external_user - release a handle
 * @group: the handle; usually when the device is released
 *
 * Context: any that sleeps.
 */
static inline void vfio_group_put_external_user(struct vfio_group *group)
{
	put_device(mdev_dev(mdev_classic_of_group(group)));
}

/**
 * vfio_group_pin_pages - vfio_pin_pages() by handle
 * @group: the handle
 * @user_iova_pfn: the page frames, as user space has mapped them for the device
 * @npage: number of pages
 * @prot: IOMMU_READ, IOMMU_WRITE or both
 * @phys_pfn: where to store the host's page frames, in the same order
 *
 * Context: as vfio_pin_pages().
 * Return: as vfio_pin_pages().
 */
static inline int vfio_group_pin_pages(struct vfio_group *group,
				       unsigned long *user_iova_pfn, int npage,
				       int prot, unsigned long *phys_pfn)
{
	if (!group)
		return -EINVAL;
	return vfio_pin_pages(mdev_dev(mdev_classic_of_group(group)),
			      user_iova_pfn, npage, prot, phys_pfn);
}

/**
 * vfio_group_unpin_pages - vfio_unpin_pages() by handle
 * @group: the handle
 * @user_iova_pfn: the page frames, as given to vfio_group_pin_pages()
 * @npage: number of pages
 *
 * Context: as vfio_pin_pages().
 * Return: as vfio_unpin_pages().
 */
static inline int vfio_group_unpin_pages(struct vfio_group *group,
					 unsigned long *user_iova_pfn, int npage)
{
	if (!group)
		return -EINVAL;
	return vfio_unpin_pages(mdev_dev(mdev_classic_of_group(group)),
				user_iova_pfn, npage);
}

/**
 * vfio_group_iommu_domain - the domain in which VFIO maps the memory of user space
 * @group: a handle from vfio_group_get_external_user_from_dev()
 *
 * For a vendor that has named a device by mdev_set_iommu_device(): the domain of that.
 *
 * Context: as vfio_pin_pages(). With VFIO's container the domain stays as long as the device
 * is open; with iommufd, user space can exchange it at any time, so ask again each time.
 * Return: the domain; ERR_PTR(-EINVAL) if @group is missing or the vendor has named no
 * device; ERR_PTR(-ENODEV) if the device has no domain.
 */
static inline struct iommu_domain *
vfio_group_iommu_domain(struct vfio_group *group)
{
	struct iommu_domain *domain;
	struct mdev_device *mdev;

	if (IS_ERR_OR_NULL(group))
		return ERR_PTR(-EINVAL);
	mdev = mdev_classic_of_group(group);
	if (!mdev_iommu_device(mdev))
		return ERR_PTR(-EINVAL);
	domain = iommu_get_domain_for_dev(mdev_iommu_device(mdev));
	return domain ?: ERR_PTR(-ENODEV);
}

/**
 * vfio_dma_rw - copy from or to user space's memory as the device would by DMA
 * @group: a handle from vfio_group_get_external_user_from_dev()
 * @user_iova: first address of the range, as user space has mapped it for the device
 * @data: kernel memory
 * @len: number of bytes
 * @write: copy to user space's memory if true, from it otherwise
 *
 * The memory need not be pinned, and no notifier need be registered.
 *
 * Context: as vfio_pin_pages(), and mdev_dma_rw().
 * Return: 0; -EINVAL if an argument is missing, @len is 0, or the range is not
 * mapped; -EPERM if user space does not allow the access; or another error of VFIO.
 */
static inline int vfio_dma_rw(struct vfio_group *group, dma_addr_t user_iova,
			      void *data, size_t len, bool write)
{
	if (!group || !data || !len)
		return -EINVAL;
	return mdev_dma_rw(mdev_classic_of_group(group), user_iova, data, len,
			   write);
}

/* private: VFIO knows the virtual machine before a device is opened */
static inline int mdev_classic_notify_kvm(struct mdev_device *mdev,
					  struct notifier_block *nb)
{
	struct kvm *kvm = mdev_kvm(mdev);

	if (kvm)
		nb->notifier_call(nb, VFIO_GROUP_NOTIFY_SET_KVM, kvm);
	return 0;
}

/**
 * vfio_register_notifier - have a notifier called for unmaps, or for the virtual
 * machine
 * @dev: the mediated device
 * @type: VFIO_IOMMU_NOTIFY or VFIO_GROUP_NOTIFY
 * @events: the events to be notified of; this function clears the bits that it
 *	knows, and fails if any bit is left
 * @nb: the notifier
 *
 * The notifier is called with VFIO_IOMMU_NOTIFY_DMA_UNMAP when user space takes back
 * memory that is pinned. It has to unpin that memory before it returns, and is called
 * again if it has not.
 * This function itself calls the notifier with VFIO_GROUP_NOTIFY_SET_KVM, if the device
 * belongs to a virtual machine. That event is never sent again.
 *
 * Context: as vfio_pin_pages().
 * Return: 0; -EINVAL if an argument is missing or not known, or the device is
 * not open; -ENODEV if @dev is no mediated device; -EEXIST if @nb is registered.
 */
static inline int vfio_register_notifier(struct device *dev,
					 enum vfio_notify_type type,
					 unsigned long *events,
					 struct notifier_block *nb)
{
	struct mdev_device *mdev;
	unsigned long wanted;
	int ret;

	if (!dev || !nb || !events || !*events)
		return -EINVAL;
	ret = mdev_classic_find(dev, &mdev);
	if (ret)
		return ret;
	if (type != VFIO_IOMMU_NOTIFY && type != VFIO_GROUP_NOTIFY)
		return -EINVAL;

	/* each type has one event, and it is bit 0 */
	wanted = *events;
	*events &= ~BIT(0);
	if (*events)
		return -EINVAL;

	if (type == VFIO_IOMMU_NOTIFY)
		return mdev_calls(mdev)->register_unmap(mdev, nb);
	return wanted ? mdev_classic_notify_kvm(mdev, nb) : 0;
}

/**
 * vfio_unregister_notifier - undo a vfio_register_notifier()
 * @dev: the mediated device
 * @type: as given to vfio_register_notifier()
 * @nb: the notifier
 *
 * Context: as vfio_pin_pages(); not from within the notifier.
 * Return: 0; -EINVAL, -ENODEV as vfio_register_notifier(); -ENOENT if @nb is not
 * registered for VFIO_IOMMU_NOTIFY.
 */
static inline int vfio_unregister_notifier(struct device *dev,
					   enum vfio_notify_type type,
					   struct notifier_block *nb)
{
	struct mdev_device *mdev;
	int ret;

	if (!dev || !nb)
		return -EINVAL;
	ret = mdev_classic_find(dev, &mdev);
	if (ret)
		return ret;

	switch (type) {
	case VFIO_IOMMU_NOTIFY:
		return mdev_calls(mdev)->unregister_unmap(mdev, nb);
	case VFIO_GROUP_NOTIFY:
		return 0;
	default:
		return -EINVAL;
	}
}

/**
 * vfio_device_get_from_dev - hold a mediated device
 * @dev: the mediated device
 *
 * This keeps the structure in memory, but the device can be removed. The handle can only
 * be passed to vfio_device_put().
 *
 * Context: any, between the vendor's create and remove.
 * Return: a handle; NULL if @dev is no mediated device.
 */
static inline struct vfio_device *vfio_device_get_from_dev(struct device *dev)
{
	if (!dev || !mdev_from_dev(dev))
		return NULL;
	/* dropped in vfio_device_put() */
	return (struct vfio_device *)get_device(dev);
}

/**
 * vfio_device_put - drop a reference to a mediated device
 * @device: the handle from vfio_device_get_from_dev()
 *
 * Context: any that sleeps.
 */
static inline void vfio_device_put(struct vfio_device *device)
{
	put_device((struct device *)device);
}

#endif /* MDEV_CLASSIC_VFIO_H */
