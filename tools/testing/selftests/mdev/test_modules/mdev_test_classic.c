// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor driver as it was written for Linux 5.10, compiled with include/classic
 * in front of the kernel's headers. It does what its client says, and keeps
 * account of what it has pinned. mdev_test_classic_5_13.c makes one for Linux
 * 5.13 of it.
 */
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/kernel.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "mdev_test_classic.h"

#if IS_ENABLED(CONFIG_KVM)
#include <linux/kvm_host.h>
#endif

/**
 * struct test_pin - a page that is pinned
 * @next: in the device's list
 * @pfn: the client's page frame
 * @phys: the host's
 */
struct test_pin {
	struct list_head next;
	unsigned long pfn;
	unsigned long phys;
};

/**
 * struct test_device - a mediated device
 * @mdev: what mdev knows it by
 * @group: from open to release
 * @iommu_nb: notifier of unmaps
 * @group_nb: notifier of virtual machines
 * @iommu_registered: the first of them is registered
 * @group_registered: the second is
 * @kvm: the virtual machine that it was told of
 * @forgets: does not clean up
 * @late: calls VFIO whether the device is open or not
 * @late_nb: registered by that
 * @late_group: the handle that it keeps
 * @late_args: what it is to do
 * @late_end: what came of it
 * @late_stop: it is to do no more
 * @lock: protects what follows
 * @pins: what is pinned
 * @status: for the client
 * @region: answer about any region
 */
struct test_device {
	struct mdev_device *mdev;
	struct vfio_group *group;
	struct notifier_block iommu_nb;
	struct notifier_block group_nb;
	bool iommu_registered;
	bool group_registered;
	struct kvm *kvm;
	bool forgets;
	struct work_struct late;
	struct notifier_block late_nb;
	struct vfio_group *late_group;
	struct mdev_test_late late_args;
	struct mdev_test_late_end late_end;
	bool late_stop;
	struct mutex lock;	/* protects the rest */
	struct list_head pins;
	struct mdev_test_status status;
	struct mdev_test_region region;
};

static struct platform_device *test_parent;

/*
 * VFIO holds locks when it calls a notifier that it also takes in these functions,
 * so no lock of ours is held over them.
 */

static int test_unpin_range(struct test_device *td, u64 iova, u64 size)
{
	struct test_pin *pin, *tmp;
	LIST_HEAD(pins);
	int ret = 0;

	mutex_lock(&td->lock);
	list_for_each_entry_safe(pin, tmp, &td->pins, next) {
		if (((u64)pin->pfn << PAGE_SHIFT) - iova >= size)
			continue;
		list_move(&pin->next, &pins);
		td->status.pinned--;
	}
	mutex_unlock(&td->lock);

	list_for_each_entry_safe(pin, tmp, &pins, next) {
		if (!td->forgets)
			ret = vfio_unpin_pages(mdev_dev(td->mdev), &pin->pfn, 1);
		kfree(pin);
	}
	return ret;
}

static int test_iommu_notifier(struct notifier_block *nb, unsigned long action,
			       void *data)
{
	struct test_device *td = container_of(nb, struct test_device, iommu_nb);
	struct vfio_iommu_type1_dma_unmap *unmap = data;

	if (action != VFIO_IOMMU_NOTIFY_DMA_UNMAP)
		return NOTIFY_BAD;

	mutex_lock(&td->lock);
	td->status.unmaps++;
	td->status.unmap_iova = unmap->iova;
	td->status.unmap_size = unmap->size;
	mutex_unlock(&td->lock);
	if (!td->forgets)
		test_unpin_range(td, unmap->iova, unmap->size);
	return NOTIFY_OK;
}

/*
 * How many keep the virtual machine: it does not go while this device is open, so it can
 * be asked.
 */
static int test_kvm_users(struct kvm *kvm)
{
#if IS_ENABLED(CONFIG_KVM)
	return kvm ? refcount_read(&kvm->users_count) : 0;
#else
	return 0;
#endif
}

static int test_group_notifier(struct notifier_block *nb, unsigned long action,
			       void *data)
{
	struct test_device *td = container_of(nb, struct test_device, group_nb);

	if (action != VFIO_GROUP_NOTIFY_SET_KVM)
		return NOTIFY_BAD;

	mutex_lock(&td->lock);
	td->status.kvms++;
	td->status.has_kvm = !!data;
	td->kvm = data;
	mutex_unlock(&td->lock);
	return NOTIFY_OK;
}

/* Neither a device that is not open nor one of another bus has a user. */
static void test_call_wrongly(struct test_device *td)
{
	struct device *dev = mdev_dev(td->mdev), *parent = mdev_parent_dev(td->mdev);
	struct mdev_test_status *status = &td->status;
	unsigned long events = VFIO_IOMMU_NOTIFY_DMA_UNMAP;
	unsigned long pfn = 1, phys;
	struct vfio_device *vdev;

	status->early_pin = vfio_pin_pages(dev, &pfn, 1, IOMMU_READ, &phys);
	status->early_notifier = vfio_register_notifier(dev, VFIO_IOMMU_NOTIFY,
							&events, &td->iommu_nb);
	status->early_group =
		PTR_ERR_OR_ZERO(vfio_group_get_external_user_from_dev(dev));
	status->wrong_pin = vfio_pin_pages(parent, &pfn, 1, IOMMU_READ, &phys);
	status->wrong_notifier = vfio_register_notifier(parent, VFIO_IOMMU_NOTIFY,
							&events, &td->iommu_nb);
	status->wrong_group =
		PTR_ERR_OR_ZERO(vfio_group_get_external_user_from_dev(parent));
	status->wrong_device = !!vfio_device_get_from_dev(parent);

	vdev = vfio_device_get_from_dev(dev);
	if (vdev)
		vfio_device_put(vdev);
	else
		status->wrong_device = -ENODEV;
}

static void test_late_note(struct test_device *td, int ret)
{
	if (ret >= 0)
		td->late_end.ok++;
	else
		td->late_end.errnos |= BIT_ULL(min(-ret, 63));
}

static void test_late_notifier(struct test_device *td, enum vfio_notify_type type)
{
	unsigned long events = VFIO_IOMMU_NOTIFY_DMA_UNMAP;
	struct device *dev = mdev_dev(td->mdev);
	int ret;

	ret = vfio_register_notifier(dev, type, &events, &td->late_nb);
	if (!ret)
		ret = vfio_unregister_notifier(dev, type, &td->late_nb);
	test_late_note(td, ret);
}

static void test_late_call(struct test_device *td)
{
	unsigned long pfn = td->late_args.iova >> PAGE_SHIFT, phys;
	struct device *dev = mdev_dev(td->mdev);
	u32 calls = td->late_args.calls;
	u64 data;
	int ret;

	if (calls & MDEV_TEST_LATE_PIN) {
		ret = vfio_pin_pages(dev, &pfn, 1, IOMMU_READ, &phys);
		if (ret == 1)
			vfio_unpin_pages(dev, &pfn, 1);
		test_late_note(td, ret);
	}
	if (calls & MDEV_TEST_LATE_NOTIFIER)
		test_late_notifier(td, VFIO_IOMMU_NOTIFY);
	if (calls & MDEV_TEST_LATE_KVM)
		test_late_notifier(td, VFIO_GROUP_NOTIFY);
	if (calls & MDEV_TEST_LATE_DMA)
		test_late_note(td, vfio_dma_rw(td->late_group, td->late_args.iova,
					       &data, sizeof(data), false));
}

static void test_late(struct work_struct *work)
{
	struct test_device *td = container_of(work, struct test_device, late);
	u32 i = 0;

	do {
		test_late_call(td);
		usleep_range(td->late_args.pause_us, td->late_args.pause_us + 10);
	} while (++i < td->late_args.times && !READ_ONCE(td->late_stop));
	vfio_group_put_external_user(td->late_group);
}

static int test_late_begin(struct test_device *td,
			   const struct mdev_test_late *args)
{
	if (work_busy(&td->late))
		return -EBUSY;
	td->late_group = vfio_group_get_external_user_from_dev(mdev_dev(td->mdev));
	if (IS_ERR(td->late_group))
		return PTR_ERR(td->late_group);
	td->late_args = *args;
	td->late_stop = false;
	memset(&td->late_end, 0, sizeof(td->late_end));
	queue_work(system_unbound_wq, &td->late);
	return 0;
}

static int test_new(struct mdev_device *mdev, unsigned int type_id)
{
	struct test_device *td = kzalloc_obj(*td);

	if (!td)
		return -ENOMEM;

	td->mdev = mdev;
	td->group_nb.notifier_call = test_group_notifier;
	td->late_nb.notifier_call = test_group_notifier;
	INIT_WORK(&td->late, test_late);
	mutex_init(&td->lock);
	INIT_LIST_HEAD(&td->pins);
	td->status.type_id = type_id;
	test_call_wrongly(td);
	mdev_set_drvdata(mdev, td);
	return 0;
}

static int test_remove(struct mdev_device *mdev)
{
	struct test_device *td = mdev_get_drvdata(mdev);

	WRITE_ONCE(td->late_stop, true);
	flush_work(&td->late);
	kfree(td);
	return 0;
}

static int test_open(struct mdev_device *mdev)
{
	struct test_device *td = mdev_get_drvdata(mdev);

	td->group = vfio_group_get_external_user_from_dev(mdev_dev(mdev));
	if (IS_ERR(td->group))
		return PTR_ERR(td->group);
	td->forgets = false;
	td->iommu_nb = (struct notifier_block){
		.notifier_call = test_iommu_notifier,
	};
	return 0;
}

static void test_release(struct mdev_device *mdev)
{
	struct test_device *td = mdev_get_drvdata(mdev);

	td->status.kvm_users = test_kvm_users(td->kvm);
	td->kvm = NULL;
	test_unpin_range(td, 0, U64_MAX);
	if (td->iommu_registered && !td->forgets)
		vfio_unregister_notifier(mdev_dev(mdev), VFIO_IOMMU_NOTIFY,
					 &td->iommu_nb);
	if (td->group_registered)
		vfio_unregister_notifier(mdev_dev(mdev), VFIO_GROUP_NOTIFY,
					 &td->group_nb);
	if (td->forgets)
		memset(&td->iommu_nb, 0x5a, sizeof(td->iommu_nb));
	td->iommu_registered = false;
	td->group_registered = false;
	vfio_group_put_external_user(td->group);
}

static int test_note_pins(struct test_device *td,
			  const struct mdev_test_pages *pages)
{
	struct test_pin *pin;
	int i, ret = 0;

	mutex_lock(&td->lock);
	for (i = 0; i < pages->npage; i++) {
		pin = kmalloc_obj(*pin);
		if (!pin) {
			ret = -ENOMEM;
			break;
		}
		pin->pfn = pages->pfn[i];
		pin->phys = pages->phys[i];
		list_add_tail(&pin->next, &td->pins);
		td->status.pinned++;
	}
	mutex_unlock(&td->lock);
	return ret;
}

static int test_pin(struct test_device *td, struct mdev_test_pages *pages)
{
	unsigned long *phys = pages->phys;
	unsigned long *pfn = pages->pfn;
	int ret, err = 0;

	if (pages->without == 1)
		pfn = NULL;
	if (pages->without == 2)
		phys = NULL;

	if (pages->by_group)
		ret = vfio_group_pin_pages(td->group, pfn, pages->npage,
					   pages->prot, phys);
	else
		ret = vfio_pin_pages(mdev_dev(td->mdev), pfn, pages->npage,
				     pages->prot, phys);
	if (ret > 0)
		err = test_note_pins(td, pages);
	return err ?: ret;
}

/* One note for each; what there is no note of is unpinned all the same. */
static int test_unpin(struct test_device *td, struct mdev_test_pages *pages)
{
	unsigned long *pfn = pages->pfn;
	struct test_pin *pin;
	int i, ret;

	mutex_lock(&td->lock);
	for (i = 0; i < pages->npage && i < MDEV_TEST_PAGES; i++) {
		list_for_each_entry(pin, &td->pins, next) {
			if (pin->pfn != pages->pfn[i])
				continue;
			list_del(&pin->next);
			kfree(pin);
			td->status.pinned--;
			break;
		}
	}
	mutex_unlock(&td->lock);

	if (pages->without == 1)
		pfn = NULL;
	if (pages->by_group)
		ret = vfio_group_unpin_pages(td->group, pfn, pages->npage);
	else
		ret = vfio_unpin_pages(mdev_dev(td->mdev), pfn, pages->npage);
	return ret;
}

static int test_register(struct test_device *td, struct mdev_test_notifier *n)
{
	struct device *dev = mdev_dev(td->mdev);
	unsigned long events = n->events;
	bool group = n->type == VFIO_GROUP_NOTIFY;
	int ret;

	ret = vfio_register_notifier(dev, n->type, &events,
				     group ? &td->group_nb : &td->iommu_nb);
	n->events = events;
	if (!ret && group)
		td->group_registered = true;
	else if (!ret)
		td->iommu_registered = true;
	return ret;
}

static int test_unregister(struct test_device *td, struct mdev_test_notifier *n)
{
	bool group = n->type == VFIO_GROUP_NOTIFY;

	if (group)
		td->group_registered = false;
	else
		td->iommu_registered = false;
	return vfio_unregister_notifier(mdev_dev(td->mdev), n->type,
					group ? &td->group_nb : &td->iommu_nb);
}

/* Only what is pinned: that is memory for sure. */
static int test_peek(struct test_device *td, struct mdev_test_peek *peek)
{
	struct test_pin *pin;
	int ret = -ENOENT;
	void *page;

	mutex_lock(&td->lock);
	list_for_each_entry(pin, &td->pins, next) {
		if (pin->phys != peek->phys)
			continue;
		page = kmap_local_page(pfn_to_page(pin->phys));
		memcpy(&peek->value, page, sizeof(peek->value));
		kunmap_local(page);
		ret = 0;
		break;
	}
	mutex_unlock(&td->lock);
	return ret;
}

static int test_dma(struct test_device *td, struct mdev_test_dma *dma)
{
	if (dma->len > sizeof(dma->data))
		return -E2BIG;
	return vfio_dma_rw(td->group, dma->iova, dma->data, dma->len, dma->write);
}

/* What the client has asked for, be it sense or not. */
static long test_region(struct test_device *td, void __user *arg)
{
	u32 argsz;
	long ret = 0;

	if (get_user(argsz, (u32 __user *)arg))
		return -EFAULT;
	mutex_lock(&td->lock);
	if (!td->region.size)
		ret = -EINVAL;
	else if (copy_to_user(arg, td->region.answer,
			      min(argsz, td->region.size)))
		ret = -EFAULT;
	mutex_unlock(&td->lock);
	return ret;
}

static int test_set_region(struct test_device *td,
			   const struct mdev_test_region *region)
{
	if (region->size > sizeof(region->answer))
		return -E2BIG;
	mutex_lock(&td->lock);
	td->region = *region;
	mutex_unlock(&td->lock);
	return 0;
}

static int test_do(struct test_device *td, unsigned int cmd, void *arg)
{
	switch (cmd) {
	case MDEV_TEST_PIN:
		return test_pin(td, arg);
	case MDEV_TEST_UNPIN:
		return test_unpin(td, arg);
	case MDEV_TEST_DMA:
		return test_dma(td, arg);
	case MDEV_TEST_REGISTER:
		return test_register(td, arg);
	case MDEV_TEST_UNREGISTER:
		return test_unregister(td, arg);
	case MDEV_TEST_PEEK:
		return test_peek(td, arg);
	case MDEV_TEST_STATUS:
		mutex_lock(&td->lock);
		*(struct mdev_test_status *)arg = td->status;
		mutex_unlock(&td->lock);
		return 0;
	case MDEV_TEST_FORGET:
		td->forgets = true;
		return 0;
	case MDEV_TEST_LATE:
		return test_late_begin(td, arg);
	case MDEV_TEST_LATE_END:
		WRITE_ONCE(td->late_stop, true);
		flush_work(&td->late);
		*(struct mdev_test_late_end *)arg = td->late_end;
		return 0;
	case MDEV_TEST_REGION:
		return test_set_region(td, arg);
	}
	return -ENOTTY;
}

static long test_ioctl(struct mdev_device *mdev, unsigned int cmd,
		       unsigned long arg)
{
	size_t size = _IOC_SIZE(cmd);
	void *data;
	long ret;

	if (cmd == VFIO_DEVICE_GET_REGION_INFO)
		return test_region(mdev_get_drvdata(mdev), (void __user *)arg);
	if (_IOC_TYPE(cmd) != 'T' || size > sizeof(struct mdev_test_pages) +
				      sizeof(struct mdev_test_dma))
		return -ENOTTY;
	data = kzalloc(size ?: 1, GFP_KERNEL);
	if (!data)
		return -ENOMEM;

	ret = -EFAULT;
	if (_IOC_DIR(cmd) & _IOC_WRITE &&
	    copy_from_user(data, (void __user *)arg, size))
		goto out;
	ret = test_do(mdev_get_drvdata(mdev), cmd, data);
	if (_IOC_DIR(cmd) & _IOC_READ &&
	    copy_to_user((void __user *)arg, data, size))
		ret = -EFAULT;
out:
	kfree(data);
	return ret;
}

/* What differs between the kernels that vendors were written for. */
#ifndef MDEV_CLASSIC_5_13

static int test_create(struct kobject *kobj, struct mdev_device *mdev)
{
	return test_new(mdev, kobj->name[strlen(kobj->name) - 1] - 'a');
}

static ssize_t name_show(struct kobject *kobj, struct device *dev, char *buf)
{
	return sprintf(buf, "%s of %s\n", kobj->name, dev_name(dev));
}

#else

static int test_create(struct mdev_device *mdev)
{
	if (mtype_get_parent_dev(mdev->type) != mdev_parent_dev(mdev))
		return -ENXIO;
	return test_new(mdev, mdev_get_type_group_id(mdev));
}

static ssize_t name_show(struct mdev_type *mtype,
			 struct mdev_type_attribute *attr, char *buf)
{
	return sprintf(buf, "platform-%c of %s\n",
		       'a' + mtype_get_type_group_id(mtype),
		       dev_name(mtype_get_parent_dev(mtype)));
}

#endif

static MDEV_TYPE_ATTR_RO(name);

static struct attribute *test_type_attrs[] = {
	&mdev_type_attr_name.attr,
	NULL,
};

static struct attribute_group test_type_a = {
	.name	= "a",
	.attrs	= test_type_attrs,
};

static struct attribute_group test_type_b = {
	.name	= "b",
	.attrs	= test_type_attrs,
};

static struct attribute_group *test_types[] = {
	&test_type_a,
	&test_type_b,
	NULL,
};

/* two pages, which can be mapped as before 5.7, or the second one as since then */
static void *test_area;

static int test_mmap(struct mdev_device *mdev, struct vm_area_struct *vma)
{
	unsigned long size = vma->vm_end - vma->vm_start;

	if (vma->vm_pgoff)
		return remap_vmalloc_range_partial(vma, vma->vm_start, test_area,
						   1, size);
	return remap_vmalloc_range_partial(vma, vma->vm_start, test_area, size);
}

static const struct mdev_parent_ops test_ops = {
	.owner			= THIS_MODULE,
	.supported_type_groups	= test_types,
	.create			= test_create,
	.remove			= test_remove,
	.open			= test_open,
	.release		= test_release,
	.ioctl			= test_ioctl,
	.mmap			= test_mmap,
};

static int __init test_init(void)
{
	int ret;

	test_area = vmalloc_user(2 * PAGE_SIZE);
	if (!test_area)
		return -ENOMEM;
	test_parent = platform_device_register_simple("mdev_test_classic", -1,
						      NULL, 0);
	if (IS_ERR(test_parent)) {
		ret = PTR_ERR(test_parent);
		goto err_free;
	}
	ret = mdev_register_device(&test_parent->dev, &test_ops);
	if (ret)
		goto err_parent;
	return 0;

err_parent:
	platform_device_unregister(test_parent);
err_free:
	vfree(test_area);
	return ret;
}

static void __exit test_exit(void)
{
	mdev_unregister_device(&test_parent->dev);
	platform_device_unregister(test_parent);
	vfree(test_area);
}

module_init(test_init);
module_exit(test_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Vendor of before Linux 5.19 for tests of mdev");
