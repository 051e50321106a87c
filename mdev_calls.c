// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a classic vendor asks of the bridge: passed on while its device is open. And which
 * device does the DMA, which it says before there is anything to ask.
 *
 * A vendor may have threads of its own that ask at any time between @create and @remove,
 * beside opens and closes, and while the bridge comes and goes. So calls are counted, and
 * a close waits for those that are under way.
 */
#include <linux/atomic.h>
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/mdev.h>
#include <linux/minmax.h>
#include <linux/wait_bit.h>

#include "mdev_private.h"

/* The bridge, or NULL if the device is not open. It stays open until mdev_bridge_put(). */
static const struct mdev_bridge_ops *mdev_bridge_get(struct mdev_device *mdev)
{
	struct mdev_device_obj *obj = to_device_obj(mdev);

	/* otherwise calls that overlap could keep a close waiting for ever */
	if (READ_ONCE(obj->calls_end))
		return NULL;
	return atomic_inc_not_zero(&obj->nr_calls) ? obj->bridge : NULL;
}

static void mdev_bridge_put(struct mdev_device *mdev)
{
	struct mdev_device_obj *obj = to_device_obj(mdev);

	/* pairs with mdev_end_calls() */
	if (atomic_dec_and_test(&obj->nr_calls))
		wake_up_var(&obj->nr_calls);
}

static bool mdev_call_is_open(struct mdev_device *mdev)
{
	return atomic_read(&to_device_obj(mdev)->nr_calls);
}

static int mdev_call_pin_pages(struct mdev_device *mdev, dma_addr_t iova,
			       int npage, int prot, struct page **pages)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);
	int ret;

	if (!bridge)
		return -ENODEV;
	ret = bridge->pin_pages(mdev, iova, npage, prot, pages);
	mdev_bridge_put(mdev);
	return ret;
}

static void mdev_call_unpin_pages(struct mdev_device *mdev, dma_addr_t iova,
				  int npage)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);

	if (!bridge)
		return;
	bridge->unpin_pages(mdev, iova, npage);
	mdev_bridge_put(mdev);
}

static int mdev_call_pin_pfns(struct mdev_device *mdev,
			      const unsigned long *user_pfn, int npage, int prot,
			      unsigned long *phys_pfn)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);
	int ret;

	if (!bridge)
		return -ENODEV;
	ret = bridge->pin_pfns(mdev, user_pfn, npage, prot, phys_pfn);
	mdev_bridge_put(mdev);
	return ret;
}

static int mdev_call_dma_rw(struct mdev_device *mdev, dma_addr_t iova, void *data,
			    size_t len, bool write)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);
	int ret;

	if (!bridge)
		return -ENODEV;
	ret = bridge->dma_rw(mdev, iova, data, len, write);
	mdev_bridge_put(mdev);
	return ret;
}

static int mdev_call_register_unmap(struct mdev_device *mdev,
				    struct notifier_block *nb)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);
	int ret;

	if (!bridge)
		return -ENODEV;
	ret = bridge->register_unmap(mdev, nb);
	mdev_bridge_put(mdev);
	return ret;
}

static int mdev_call_unregister_unmap(struct mdev_device *mdev,
				      struct notifier_block *nb)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);
	int ret;

	if (!bridge)
		return -ENODEV;
	ret = bridge->unregister_unmap(mdev, nb);
	mdev_bridge_put(mdev);
	return ret;
}

static struct kvm *mdev_call_kvm(struct mdev_device *mdev)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);
	struct kvm *kvm;

	if (!bridge)
		return NULL;
	kvm = bridge->kvm(mdev);
	mdev_bridge_put(mdev);
	return kvm;
}

static int mdev_call_mig_get_next_state(struct mdev_device *mdev,
					enum vfio_device_mig_state cur,
					enum vfio_device_mig_state end,
					enum vfio_device_mig_state *next)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);
	int ret;

	if (!bridge)
		return -ENODEV;
	ret = bridge->mig_get_next_state(mdev, cur, end, next);
	mdev_bridge_put(mdev);
	return ret;
}

static bool mdev_call_mig_precopy_info_v2(struct mdev_device *mdev)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);
	bool ret;

	if (!bridge)
		return false;
	ret = bridge->mig_precopy_info_v2(mdev);
	mdev_bridge_put(mdev);
	return ret;
}

static void mdev_call_log_dirty(struct mdev_device *mdev, struct mdev_dirty *dirty,
				unsigned long iova, size_t length)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);

	if (!bridge)
		return;
	bridge->log_dirty(mdev, dirty, iova, length);
	mdev_bridge_put(mdev);
}

static int mdev_call_add_capability(struct mdev_device *mdev,
				    struct vfio_info_cap *caps,
				    struct vfio_info_cap_header *cap, size_t size)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);
	int ret;

	if (!bridge)
		return -ENODEV;
	ret = bridge->add_capability(mdev, caps, cap, size);
	mdev_bridge_put(mdev);
	return ret;
}

static int mdev_call_virqfd_enable(struct mdev_device *mdev,
				   void (*fn)(void *arg, void *data), void *arg,
				   struct virqfd **virqfd, int fd)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);
	int ret;

	if (!bridge)
		return -ENODEV;
	ret = bridge->virqfd_enable(mdev, fn, arg, virqfd, fd);
	mdev_bridge_put(mdev);
	return ret;
}

static void mdev_call_virqfd_disable(struct mdev_device *mdev,
				     struct virqfd **virqfd)
{
	const struct mdev_bridge_ops *bridge = mdev_bridge_get(mdev);

	if (!bridge)
		return;
	bridge->virqfd_disable(mdev, virqfd);
	mdev_bridge_put(mdev);
}

/*
 * In the vendor's create: the bridge looks at it when it is bound. Later it only does no harm
 * to name what is named already, or nothing, as vendors do in their remove.
 */
static int mdev_call_set_iommu_device(struct mdev_device *mdev,
				      struct device *iommu_device)
{
	struct mdev_device_obj *obj = to_device_obj(mdev);
	struct device *old_device = NULL;
	struct iommu_group *group = NULL;
	bool fixed, late;

	/* a modern vendor registers its devices with VFIO itself */
	if (!mdev_parent_of(obj)->ops)
		return -EINVAL;

	if (iommu_device)
		group = iommu_group_get(iommu_device);
	spin_lock(&obj->lock);
	fixed = obj->iommu_fixed;
	late = fixed && iommu_device && iommu_device != obj->iommu_device;
	if (late)
		WRITE_ONCE(obj->unsafe, true);
	if (!fixed) {
		old_device = obj->iommu_device;
		/* both are dropped in mdev_calls_exit() */
		obj->iommu_device = get_device(iommu_device);
		swap(obj->iommu_group, group);
	}
	spin_unlock(&obj->lock);
	put_device(old_device);
	iommu_group_put(group);

	if (late) {
		dev_err(&mdev->dev, "vendor named the device that does its DMA only after create: it can no longer be opened\n");
		return -EBUSY;
	}
	if (fixed || !iommu_device || obj->iommu_group)
		return 0;
	/* vendors of 5.13 do not look at this, but the bridge refuses the device, too */
	dev_err(&mdev->dev, "%s, which does its DMA, is in no IOMMU group; is the IOMMU on?\n",
		dev_name(iommu_device));
	return -EINVAL;
}

static const struct mdev_bridge_ops mdev_vendor_calls = {
	.is_open		= mdev_call_is_open,
	.pin_pages		= mdev_call_pin_pages,
	.unpin_pages		= mdev_call_unpin_pages,
	.pin_pfns		= mdev_call_pin_pfns,
	.dma_rw			= mdev_call_dma_rw,
	.register_unmap		= mdev_call_register_unmap,
	.unregister_unmap	= mdev_call_unregister_unmap,
	.kvm			= mdev_call_kvm,
	.mig_get_next_state	= mdev_call_mig_get_next_state,
	.mig_precopy_info_v2	= mdev_call_mig_precopy_info_v2,
	.log_dirty		= mdev_call_log_dirty,
	.add_capability		= mdev_call_add_capability,
	.virqfd_enable		= mdev_call_virqfd_enable,
	.virqfd_disable		= mdev_call_virqfd_disable,
	.set_iommu_device	= mdev_call_set_iommu_device,
};

void mdev_calls_init(struct mdev_device_obj *obj)
{
	obj->calls = &mdev_vendor_calls;
}

/* The vendor's create has returned. */
void mdev_calls_fix_iommu(struct mdev_device_obj *obj)
{
	spin_lock(&obj->lock);
	obj->iommu_fixed = true;
	spin_unlock(&obj->lock);
}

/* The vendor's remove has returned, or its create has failed. */
void mdev_calls_exit(struct mdev_device_obj *obj)
{
	iommu_group_put(obj->iommu_group);
	put_device(obj->iommu_device);
	obj->iommu_device = NULL;
}

/**
 * mdev_iommu_in_time - did the vendor say in time who does the DMA?
 * @mdev: the device
 *
 * Context: any.
 * Return: false if it has called mdev_set_iommu_device() after create, so that VFIO does not
 * know of that device; true otherwise, also for a vendor that has not called it.
 */
bool mdev_iommu_in_time(struct mdev_device *mdev)
{
	return !READ_ONCE(to_device_obj(mdev)->unsafe);
}
EXPORT_SYMBOL_GPL(mdev_iommu_in_time);

/**
 * mdev_iommu_group - the IOMMU group in which a vendor has found a device
 * @mdev: the mediated device
 *
 * Context: from the vendor's create to its remove.
 * Return: the group that the device had when the vendor named it in
 * mdev_set_iommu_device(), without another reference; NULL if it had none. The device may
 * have left it.
 */
struct iommu_group *mdev_iommu_group(struct mdev_device *mdev)
{
	return to_device_obj(mdev)->iommu_group;
}
EXPORT_SYMBOL_GPL(mdev_iommu_group);

/**
 * mdev_begin_calls - the vendor of an open device may call the bridge
 * @mdev: the device
 * @bridge: what it can ask for
 *
 * Once after mdev_open(), when the bridge is ready for it.
 *
 * Context: process context.
 */
void mdev_begin_calls(struct mdev_device *mdev,
		      const struct mdev_bridge_ops *bridge)
{
	struct mdev_device_obj *obj = to_device_obj(mdev);

	obj->bridge = bridge;
	WRITE_ONCE(obj->calls_end, false);
	/* dropped in mdev_end_calls(); publishes what the bridge has prepared */
	atomic_set_release(&obj->nr_calls, 1);
}
EXPORT_SYMBOL_GPL(mdev_begin_calls);

/**
 * mdev_end_calls - end the calls of a vendor for an open device
 * @mdev: the device
 *
 * Once after mdev_begin_calls(). Waits for the calls that are under way, such as a
 * mdev_pin_pages(); from then on they fail.
 *
 * Context: process context, sleeps.
 */
void mdev_end_calls(struct mdev_device *mdev)
{
	struct mdev_device_obj *obj = to_device_obj(mdev);

	WRITE_ONCE(obj->calls_end, true);
	/* taken in mdev_begin_calls(); the last one wakes us, see mdev_bridge_put() */
	if (!atomic_dec_and_test(&obj->nr_calls))
		wait_var_event(&obj->nr_calls, !atomic_read(&obj->nr_calls));
}
EXPORT_SYMBOL_GPL(mdev_end_calls);
