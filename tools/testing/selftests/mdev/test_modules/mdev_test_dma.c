// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor that uses its client's memory as it is told to, and breaks the rules
 * of that if it is told so, too.
 */
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/list.h>
#include <linux/mdev.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "mdev_test_dma.h"

static bool unmap = true;
module_param(unmap, bool, 0444);
MODULE_PARM_DESC(unmap, "have the op dma_unmap");

static bool unseen;
module_param(unseen, bool, 0444);
MODULE_PARM_DESC(unseen, "say that memory is written to in other ways, too");

static bool files = true;
module_param(files, bool, 0444);
MODULE_PARM_DESC(files, "have an op for what is done to a VFIO file, ioctl");

static unsigned int slow_ms;
module_param(slow_ms, uint, 0644);
MODULE_PARM_DESC(slow_ms, "how long the ops release and dma_unmap take, in ms");

static unsigned long long pin_in_open;
module_param(pin_in_open, ullong, 0644);
MODULE_PARM_DESC(pin_in_open, "address of a page that the op open pins; 0 is none");

static unsigned int fault_ms;
module_param(fault_ms, uint, 0644);
MODULE_PARM_DESC(fault_ms, "how long a page that mmap has mapped takes to come, in ms");

/**
 * struct test_dma - a device
 * @mdev: the same
 * @lock: held from before memory is pinned until it is noted in @pins
 * @pins: what is pinned
 * @unmaps: what dma_unmap was called for
 * @forget: TEST_DMA_FORGET_*
 * @run: writes to all of @pins, over and over
 */
struct test_dma {
	struct mdev_device *mdev;
	struct mutex lock;		/* protects the next three */
	struct list_head pins;
	struct test_dma_unmaps unmaps;
	unsigned long forget;
	struct work_struct run;
};

struct test_dma_pin {
	struct list_head next;
	u64 iova;
	int npage;
	struct page *pages[];
};

static struct platform_device *test_dma_parent;

static void test_dma_write(struct test_dma_pin *pin, u8 byte)
{
	int i;

	for (i = 0; i < pin->npage; i++) {
		void *va = kmap_local_page(pin->pages[i]);

		memset(va, byte, PAGE_SIZE);
		kunmap_local(va);
	}
}

static void test_dma_run(struct work_struct *work)
{
	struct test_dma *td = container_of(work, struct test_dma, run);
	struct test_dma_pin *pin;

	mutex_lock(&td->lock);
	list_for_each_entry(pin, &td->pins, next)
		test_dma_write(pin, 0xff);
	mutex_unlock(&td->lock);
	queue_work(system_unbound_wq, work);
}

static void test_dma_unpin(struct test_dma *td, struct test_dma_pin *pin)
{
	mdev_unpin_pages(td->mdev, pin->iova, pin->npage);
	list_del(&pin->next);
	kfree(pin);
}

static long test_dma_ioctl_pin(struct test_dma *td,
			       const struct test_dma_range *range)
{
	struct test_dma_pin *pin;
	int ret;

	pin = kzalloc(struct_size(pin, pages, max(range->npage, 0)), GFP_KERNEL);
	if (!pin)
		return -ENOMEM;
	pin->iova = range->iova;
	pin->npage = range->npage;

	mutex_lock(&td->lock);
	ret = mdev_pin_pages(td->mdev, range->iova, range->npage, range->prot,
			     pin->pages);
	if (ret > 0)
		list_add_tail(&pin->next, &td->pins);
	mutex_unlock(&td->lock);
	if (ret <= 0)
		kfree(pin);
	return ret;
}

struct test_dma_pin_work {
	struct work_struct work;
	struct test_dma *td;
	const struct test_dma_range *range;
	long ret;
};

static void test_dma_pin_work(struct work_struct *work)
{
	struct test_dma_pin_work *pw;

	pw = container_of(work, struct test_dma_pin_work, work);
	pw->ret = test_dma_ioctl_pin(pw->td, pw->range);
}

static long test_dma_ioctl_pin_work(struct test_dma *td,
				    const struct test_dma_range *range)
{
	struct test_dma_pin_work pw = { .td = td, .range = range };

	INIT_WORK_ONSTACK(&pw.work, test_dma_pin_work);
	queue_work(system_unbound_wq, &pw.work);
	flush_work(&pw.work);
	destroy_work_on_stack(&pw.work);
	return pw.ret;
}

static long test_dma_ioctl_unpin(struct test_dma *td,
				 const struct test_dma_range *range)
{
	struct test_dma_pin *pin;
	long ret = -ENOENT;

	mutex_lock(&td->lock);
	list_for_each_entry(pin, &td->pins, next) {
		if (pin->iova == range->iova && pin->npage == range->npage) {
			test_dma_unpin(td, pin);
			ret = 0;
			break;
		}
	}
	mutex_unlock(&td->lock);
	return ret;
}

static long test_dma_ioctl_range(struct test_dma *td, unsigned int cmd,
				 void __user *arg)
{
	struct test_dma_range range;

	if (copy_from_user(&range, arg, sizeof(range)))
		return -EFAULT;
	if (range.npage > 4096)
		return -EINVAL;
	if (cmd == TEST_DMA_PIN)
		return test_dma_ioctl_pin(td, &range);
	if (cmd == TEST_DMA_PIN_WORK)
		return test_dma_ioctl_pin_work(td, &range);
	if (cmd == TEST_DMA_UNPIN)
		return test_dma_ioctl_unpin(td, &range);
	mdev_unpin_pages(td->mdev, range.iova, range.npage);
	return 0;
}

static long test_dma_ioctl_rw(struct test_dma *td, void __user *arg)
{
	struct test_dma_rw rw;
	void *buf;
	long ret;

	if (copy_from_user(&rw, arg, sizeof(rw)))
		return -EFAULT;
	if (rw.len > TEST_DMA_RW_MAX)
		return -EINVAL;
	buf = kzalloc(rw.len, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;

	ret = -EFAULT;
	if (rw.write && copy_from_user(buf, u64_to_user_ptr(rw.addr), rw.len))
		goto out;
	ret = mdev_dma_rw(td->mdev, rw.iova, buf, rw.len, rw.write);
	if (!ret && !rw.write &&
	    copy_to_user(u64_to_user_ptr(rw.addr), buf, rw.len))
		ret = -EFAULT;
out:
	kfree(buf);
	return ret;
}

static long test_dma_ioctl_fill(struct test_dma *td, void __user *arg)
{
	struct test_dma_fill fill;
	struct test_dma_pin *pin;
	long ret = -ENOENT;

	if (copy_from_user(&fill, arg, sizeof(fill)))
		return -EFAULT;
	mutex_lock(&td->lock);
	list_for_each_entry(pin, &td->pins, next) {
		if (pin->iova == fill.iova) {
			test_dma_write(pin, fill.byte);
			ret = 0;
		}
	}
	mutex_unlock(&td->lock);
	return ret;
}

static long test_dma_ioctl_refs(struct test_dma *td, void __user *arg)
{
	struct test_dma_fill fill;
	struct test_dma_pin *pin;
	long ret = -ENOENT;
	int i;

	if (copy_from_user(&fill, arg, sizeof(fill)))
		return -EFAULT;
	mutex_lock(&td->lock);
	list_for_each_entry(pin, &td->pins, next) {
		if (pin->iova != fill.iova)
			continue;
		ret = page_count(pin->pages[0]);
		for (i = 1; i < pin->npage; i++)
			ret = min_t(long, ret, page_count(pin->pages[i]));
		break;
	}
	mutex_unlock(&td->lock);
	return ret;
}

static long test_dma_ioctl_unmaps(struct test_dma *td, void __user *arg)
{
	struct test_dma_unmaps unmaps;
	struct test_dma_pin *pin;

	mutex_lock(&td->lock);
	unmaps = td->unmaps;
	list_for_each_entry(pin, &td->pins, next)
		unmaps.pins++;
	mutex_unlock(&td->lock);
	return copy_to_user(arg, &unmaps, sizeof(unmaps)) ? -EFAULT : 0;
}

static long test_dma_ioctl(struct mdev_device *mdev, unsigned int cmd,
			   unsigned long arg)
{
	struct test_dma *td = mdev_get_drvdata(mdev);
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case TEST_DMA_PIN:
	case TEST_DMA_PIN_WORK:
	case TEST_DMA_UNPIN:
	case TEST_DMA_RAW:
		return test_dma_ioctl_range(td, cmd, uarg);
	case TEST_DMA_RW:
		return test_dma_ioctl_rw(td, uarg);
	case TEST_DMA_FILL:
		return test_dma_ioctl_fill(td, uarg);
	case TEST_DMA_REFS:
		return test_dma_ioctl_refs(td, uarg);
	case TEST_DMA_UNMAPS:
		return test_dma_ioctl_unmaps(td, uarg);
	case TEST_DMA_FORGET:
		td->forget = arg;
		return 0;
	case TEST_DMA_RUN:
		queue_work(system_unbound_wq, &td->run);
		return 0;
	default:
		return -ENOTTY;
	}
}

static void test_dma_unmap(struct mdev_device *mdev, u64 iova, u64 length)
{
	struct test_dma *td = mdev_get_drvdata(mdev);
	struct test_dma_pin *pin, *tmp;

	/* lock is held over pins, which may take long as well */
	WRITE_ONCE(td->unmaps.told, td->unmaps.told + 1);
	msleep(slow_ms);
	mutex_lock(&td->lock);
	td->unmaps.count++;
	td->unmaps.iova = iova;
	td->unmaps.length = length;
	list_for_each_entry_safe(pin, tmp, &td->pins, next) {
		if (iova + length <= pin->iova ||
		    pin->iova + ((u64)pin->npage << PAGE_SHIFT) <= iova)
			continue;
		if (!(td->forget & TEST_DMA_FORGET_UNMAP))
			test_dma_unpin(td, pin);
	}
	mutex_unlock(&td->lock);
}

/* Memory that is long in coming, as that of FUSE or userfaultfd may be. */
static vm_fault_t test_dma_fault(struct vm_fault *vmf)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);

	if (!page)
		return VM_FAULT_OOM;
	msleep(fault_ms);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct test_dma_vm_ops = {
	.fault	= test_dma_fault,
};

static int test_dma_mmap(struct mdev_device *mdev, struct vm_area_struct *vma)
{
	vma->vm_ops = &test_dma_vm_ops;
	return 0;
}

static int test_dma_open(struct mdev_device *mdev)
{
	struct test_dma_range range = { .iova = pin_in_open, .npage = 1, .prot = 3 };
	struct test_dma *td = mdev_get_drvdata(mdev);

	if (range.iova)
		td->unmaps.opened = test_dma_ioctl_pin(td, &range);
	return 0;
}

static void test_dma_release(struct mdev_device *mdev)
{
	struct test_dma *td = mdev_get_drvdata(mdev);
	struct test_dma_pin *pin, *tmp;

	cancel_work_sync(&td->run);
	msleep(slow_ms);
	mutex_lock(&td->lock);
	list_for_each_entry_safe(pin, tmp, &td->pins, next) {
		if (td->forget & TEST_DMA_FORGET_RELEASE) {
			list_del(&pin->next);
			kfree(pin);
		} else {
			test_dma_unpin(td, pin);
		}
	}
	td->forget = 0;
	memset(&td->unmaps, 0, sizeof(td->unmaps));
	mutex_unlock(&td->lock);
}

static int test_dma_create(struct kobject *kobj, struct mdev_device *mdev)
{
	struct test_dma *td;

	td = kzalloc_obj(*td);
	if (!td)
		return -ENOMEM;
	td->mdev = mdev;
	mutex_init(&td->lock);
	INIT_LIST_HEAD(&td->pins);
	INIT_WORK(&td->run, test_dma_run);
	mdev_set_drvdata(mdev, td);
	return 0;
}

static int test_dma_remove(struct mdev_device *mdev)
{
	kfree(mdev_get_drvdata(mdev));
	return 0;
}

static struct attribute *test_dma_type_attrs[] = { NULL };

static struct attribute_group test_dma_type = {
	.name	= "dma",
	.attrs	= test_dma_type_attrs,
};

static struct attribute_group *test_dma_types[] = { &test_dma_type, NULL };

static struct mdev_parent_ops test_dma_ops = {
	.owner			= THIS_MODULE,
	.supported_type_groups	= test_dma_types,
	.create			= test_dma_create,
	.remove			= test_dma_remove,
	.open			= test_dma_open,
	.release		= test_dma_release,
};

static int __init test_dma_init(void)
{
	int ret;

	if (unmap)
		test_dma_ops.dma_unmap = test_dma_unmap;
	test_dma_ops.dma_unseen = unseen;
	if (files) {
		test_dma_ops.ioctl = test_dma_ioctl;
		test_dma_ops.mmap = test_dma_mmap;
	}
	test_dma_parent = platform_device_register_simple("mdev_test_dma",
							  PLATFORM_DEVID_NONE,
							  NULL, 0);
	if (IS_ERR(test_dma_parent))
		return PTR_ERR(test_dma_parent);
	ret = mdev_register_device(&test_dma_parent->dev, &test_dma_ops);
	if (ret)
		platform_device_unregister(test_dma_parent);
	return ret;
}

static void __exit test_dma_exit(void)
{
	mdev_unregister_device(&test_dma_parent->dev);
	platform_device_unregister(test_dma_parent);
}

module_init(test_dma_init);
module_exit(test_dma_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Vendor for tests of mdev: memory of the client");
