// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor on the kit for PCI devices, with an entry of each kind in each table. It notes
 * what is asked of it, and does what its tests tell it by ioctls.
 *
 * The type "full" has all there is. "small" is a PCI device of the old kind that resets
 * otherwise, and takes states of an older version. "none" has no interrupts, no
 * capabilities, and no registers.
 */
#include <linux/irq_work.h>
#include <linux/mdev_pci.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "mdev_test_pci.h"

struct test_state {
	u8 bytes[MDEV_TEST_PCI_BYTES];
	u16 words[3];
	bool flag;
	u32 dword;
	u64 qword;
};

struct test_device {
	int before;	/* so that the kit's part is not at the beginning */
	struct mdev_pci pci;
	struct test_state state;
	spinlock_t lock;	/* protects state.bytes, log and counts */
	struct mdev_test_pci_log log;
	struct mdev_test_pci_counts counts;
	char note[MDEV_TEST_PCI_NOTE_SIZE];
	bool blocks;
	wait_queue_head_t wait;
	struct mutex pin_mutex;	/* protects pin while user space pins or unpins it */
	struct mdev_pci_pin pin;
	struct irq_work irq_work;
	struct mdev_test_pci_raise raise;
};

static struct test_device *to_test(struct mdev_pci *pci)
{
	return container_of(pci, struct test_device, pci);
}

static void count(struct mdev_pci *pci, u32 *what)
{
	spin_lock(&to_test(pci)->lock);
	++*what;
	spin_unlock(&to_test(pci)->lock);
}

/* ---- Regions ---- */

static void test_note_access(struct test_device *test, u64 offset,
			     unsigned int width, bool write)
{
	struct mdev_test_pci_log *log = &test->log;

	if (log->count < MDEV_TEST_PCI_LOG_SIZE)
		log->accesses[log->count++] = (struct mdev_test_pci_access) {
			offset, width, write
		};
}

static u64 bytes_read(struct mdev_pci *pci, const struct mdev_pci_region *bar,
		      u64 offset, unsigned int width)
{
	struct test_device *test = to_test(pci);
	u64 val = 0;

	spin_lock(&test->lock);
	test_note_access(test, offset, width, false);
	while (width--)
		val = val << 8 | test->state.bytes[(offset + width) %
						   MDEV_TEST_PCI_BYTES];
	spin_unlock(&test->lock);
	return val;
}

static void bytes_write(struct mdev_pci *pci, const struct mdev_pci_region *bar,
			u64 offset, unsigned int width, u64 val)
{
	struct test_device *test = to_test(pci);

	spin_lock(&test->lock);
	test_note_access(test, offset, width, true);
	for (; width--; val >>= 8)
		test->state.bytes[offset++ % MDEV_TEST_PCI_BYTES] = val;
	spin_unlock(&test->lock);
}

/* its own offset, and one of them blocks */
static u64 port_read(struct mdev_pci *pci, const struct mdev_pci_region *bar,
		     u64 offset, unsigned int width)
{
	struct test_device *test = to_test(pci);

	if (offset == MDEV_TEST_PCI_BLOCKS && READ_ONCE(test->blocks)) {
		count(pci, &test->counts.blocked);
		wait_event(test->wait, !READ_ONCE(test->blocks));
	}
	return offset;
}

static void port_write(struct mdev_pci *pci, const struct mdev_pci_region *bar,
		       u64 offset, unsigned int width, u64 val)
{
	port_read(pci, bar, offset, width);
}

static u64 rom_read(struct mdev_pci *pci, const struct mdev_pci_region *rom,
		    u64 offset, unsigned int width)
{
	return 0xaa55;
}

static ssize_t note_access(struct mdev_pci *pci,
			   const struct mdev_pci_region *region,
			   char __user *buf, size_t count, u64 offset, bool write)
{
	struct test_device *test = to_test(pci);

	if (offset)
		return -ENXIO;
	if (write ? copy_from_user(test->note, buf, count) :
		    copy_to_user(buf, test->note, count))
		return -EFAULT;
	return count;
}

static int window_mmap(struct mdev_pci *pci, const struct mdev_pci_region *region,
		       u64 offset, struct vm_area_struct *vma)
{
	return mdev_pci_mmap_ram(pci, VFIO_PCI_BAR2_REGION_INDEX,
				 (MDEV_TEST_PCI_RAM / 2 + offset) %
				 MDEV_TEST_PCI_RAM, vma);
}

static int window_caps(struct mdev_pci *pci, const struct mdev_pci_region *region,
		       struct vfio_info_cap *caps)
{
	struct {
		struct vfio_region_info_cap_sparse_mmap sparse;
		struct vfio_region_sparse_mmap_area area;
	} cap = {
		.sparse.header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP,
		.sparse.header.version = 1,
		.sparse.nr_areas = 1,
		.area.size = PAGE_SIZE,
	};

	return mdev_add_region_capability(pci->mdev, caps, &cap.sparse.header,
					  sizeof(cap));
}

static const struct mdev_pci_region full_regions[] = {
	[VFIO_PCI_BAR0_REGION_INDEX] = {
		.size = SZ_4K, .width = 8, .read = bytes_read, .write = bytes_write,
	},
	[VFIO_PCI_BAR1_REGION_INDEX] = {
		.size = 16, .flags = MDEV_PCI_IO, .width = 1, .read = port_read,
	},
	[VFIO_PCI_BAR2_REGION_INDEX] = {
		.size = MDEV_TEST_PCI_RAM,
		.flags = MDEV_PCI_RAM | MDEV_PCI_64 | MDEV_PCI_PREFETCH,
	},
	[VFIO_PCI_BAR4_REGION_INDEX] = {
		.size = SZ_4K, .width = 4, .min_width = 4, .read = bytes_read,
		.write = bytes_write,
	},
	[VFIO_PCI_ROM_REGION_INDEX] = {
		.size = MDEV_TEST_PCI_RAM, .width = 2, .read = rom_read,
		.mmap = window_mmap,
	},
	[MDEV_TEST_PCI_NOTE] = {
		.size = MDEV_TEST_PCI_NOTE_SIZE, .type = 0x1234, .subtype = 0x5678,
		.access = note_access,
	},
	[MDEV_TEST_PCI_FIXED] = {
		.size = SZ_64K, .flags = MDEV_PCI_RAM | MDEV_PCI_READONLY,
	},
	[MDEV_TEST_PCI_WINDOW] = {
		.size = MDEV_TEST_PCI_RAM, .mmap = window_mmap,
		.add_capabilities = window_caps, .type = 1, .subtype = 2,
	},
};

static const struct mdev_pci_region small_regions[] = {
	[VFIO_PCI_BAR5_REGION_INDEX] = {
		.size = 16, .width = 2, .read = bytes_read, .write = bytes_write,
	},
};

/* callbacks where the kit has something of its own, or that fit only part of a region */
static const struct mdev_pci_region odd_regions[] = {
	[1] = { .size = SZ_4K, .width = 4, .read = port_read, .write = port_write },
	[2] = { .size = SZ_4K, .width = 4, .read = bytes_read, .write = bytes_write },
	[3] = { .size = SZ_4K, .width = 4, .read = bytes_read, .write = bytes_write },
	[VFIO_PCI_ROM_REGION_INDEX] = {
		.size = SZ_4K, .width = 4, .read = bytes_read, .write = bytes_write,
	},
	[9] = { .size = 12, .width = 8, .read = bytes_read, .write = bytes_write },
	[10] = {
		.size = 16, .flags = MDEV_PCI_READONLY, .width = 4,
		.read = bytes_read, .write = bytes_write,
	},
	[11] = {
		.size = SZ_4K, .flags = MDEV_PCI_RAM, .width = 4,
		.read = bytes_read, .write = bytes_write,
	},
};

/* ---- Capabilities ---- */

/* length, two bytes that can be written, one that cannot */
static const u8 vendor_data[] = { 8, 0x11, 0x22, 0x33, 0x44, 0x55 };
static const u8 vendor_writable[] = { 0, 0xff, 0x0f, 0, 0xf0, 0 };
static const u8 serial_data[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
/* id, version, length 0x10; then two words */
static const u8 ext_data[] = { 0x34, 0x12, 0x01, 0x01, 0, 0, 0, 0, 0, 0, 0, 0 };
static const u8 ext_writable[] = { 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 };

static const struct mdev_pci_cap full_caps[] = {
	MDEV_PCI_CAP_PM(0),
	MDEV_PCI_CAP_MSI(4),
	MDEV_PCI_CAP_MSIX(16, VFIO_PCI_BAR4_REGION_INDEX, 0x800, 0xc00),
	MDEV_PCI_CAP_EXP(MDEV_PCI_CAP_FLR),
	{ .id = PCI_CAP_ID_VNDR, .offset = 0xe0, .data = vendor_data,
	  .writable = vendor_writable, .size = sizeof(vendor_data) },
	MDEV_PCI_EXT_CAP_DATA(PCI_EXT_CAP_ID_DSN, serial_data, NULL),
	{ .id = PCI_EXT_CAP_ID_VNDR, .flags = MDEV_PCI_CAP_EXT, .offset = 0x200,
	  .data = ext_data, .writable = ext_writable, .size = sizeof(ext_data) },
};

static const struct mdev_pci_cap odd_caps[] = {
	{ .id = PCI_CAP_ID_MSIX, .vectors = 4, .table = 2, .pba = 3 },
};

static const struct mdev_pci_cap small_caps[] = {
	MDEV_PCI_CAP_AF(),
	MDEV_PCI_CAP_PM(MDEV_PCI_CAP_NO_SOFT_RESET),
	MDEV_PCI_CAP_MSI(1),
};

/* a write of 0xee to the vendor's capability is one of 0xe0 */
static u32 test_config_write(struct mdev_pci *pci, unsigned int offset,
			     unsigned int width, u32 val)
{
	return offset == 0xe3 && width == 1 && val == 0xee ? 0xe0 : val;
}

static void test_config_written(struct mdev_pci *pci, unsigned int offset,
				unsigned int width)
{
	count(pci, &to_test(pci)->counts.config_written);
}

/* its last byte counts up while the writable one is 0xef */
static u32 test_config_read(struct mdev_pci *pci, unsigned int offset,
			    unsigned int width, u32 val)
{
	if (offset == 0xe7 && width == 1 &&
	    mdev_pci_read_config(pci, 0xe3, 1) == 0xef)
		return to_test(pci)->counts.config_written & 0xff;
	return val;
}

/* ---- Interrupts ---- */

static void test_do_raise(struct test_device *test)
{
	u32 arg = test->raise.arg;

	switch (test->raise.what) {
	case MDEV_TEST_PCI_INTX:
		mdev_pci_set_intx(&test->pci, arg);
		break;
	case MDEV_TEST_PCI_IRQ:
		mdev_pci_set_irq(&test->pci, arg);
		break;
	case MDEV_TEST_PCI_SIGNAL:
		mdev_pci_signal(&test->pci, arg);
		break;
	}
}

static void test_raise_hard(struct irq_work *work)
{
	test_do_raise(container_of(work, struct test_device, irq_work));
}

static long test_raise(struct test_device *test, void __user *arg)
{
	if (copy_from_user(&test->raise, arg, sizeof(test->raise)))
		return -EFAULT;
	if (!test->raise.hard) {
		test_do_raise(test);
		return 0;
	}
	irq_work_queue(&test->irq_work);
	irq_work_sync(&test->irq_work);
	return 0;
}

/* ---- Memory of the guest ---- */

#define TEST_DMA_MAX	SZ_64K

/* Pinning may never end. Fail, instead of waiting for another thread that pins. */
static long test_pin(struct test_device *test, const struct mdev_test_pci_dma *dma)
{
	int ret;

	if (!mutex_trylock(&test->pin_mutex))
		return -EBUSY;
	mdev_pci_unpin_pages(&test->pci, &test->pin);
	ret = mdev_pci_pin_pages(&test->pci, &test->pin, dma->iova, dma->len,
				 dma->write);
	mutex_unlock(&test->pin_mutex);
	return ret;
}

static long test_unpin_now(struct test_device *test)
{
	if (!mutex_trylock(&test->pin_mutex))
		return -EBUSY;
	mdev_pci_unpin_pages(&test->pci, &test->pin);
	mutex_unlock(&test->pin_mutex);
	return 0;
}

static long test_dma(struct test_device *test, void __user *arg)
{
	struct mdev_test_pci_dma dma;
	int ret;
	u8 *buf;

	if (copy_from_user(&dma, arg, sizeof(dma)))
		return -EFAULT;
	if (dma.pin)
		return test_pin(test, &dma);
	if (!dma.len || dma.len > TEST_DMA_MAX)
		return -EINVAL;
	buf = kzalloc(dma.len, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	memset(buf, dma.value, dma.len);
	ret = dma.write ? mdev_pci_dma_write(&test->pci, dma.iova, buf, dma.len) :
			  mdev_pci_dma_read(&test->pci, dma.iova, buf, dma.len);
	dma.value = buf[0];
	kfree(buf);
	if (!ret && copy_to_user(arg, &dma, sizeof(dma)))
		ret = -EFAULT;
	return ret;
}

static void test_unpin(struct mdev_pci *pci, struct mdev_pci_pin *pin)
{
	count(pci, &to_test(pci)->counts.unpin);
}

/* ---- What tests ask for ---- */

static long test_get_log(struct test_device *test, void __user *arg)
{
	struct mdev_test_pci_log log;

	spin_lock(&test->lock);
	log = test->log;
	test->log.count = 0;
	spin_unlock(&test->lock);
	return copy_to_user(arg, &log, sizeof(log)) ? -EFAULT : 0;
}

static long test_get_fields(struct test_device *test, void __user *arg)
{
	struct mdev_test_pci_fields fields = {
		.flag	= test->state.flag,
		.dword	= test->state.dword,
		.qword	= test->state.qword,
	};

	memcpy(fields.words, test->state.words, sizeof(fields.words));
	return copy_to_user(arg, &fields, sizeof(fields)) ? -EFAULT : 0;
}

static long test_set_fields(struct test_device *test, void __user *arg)
{
	struct mdev_test_pci_fields fields;

	if (copy_from_user(&fields, arg, sizeof(fields)))
		return -EFAULT;
	memcpy(test->state.words, fields.words, sizeof(fields.words));
	test->state.flag = fields.flag;
	test->state.dword = fields.dword;
	test->state.qword = fields.qword;
	return 0;
}

static void test_block(struct test_device *test, bool blocks)
{
	WRITE_ONCE(test->blocks, blocks);
	wake_up_all(&test->wait);
}

static long test_ioctl(struct mdev_pci *pci, unsigned int cmd, void __user *arg)
{
	struct test_device *test = to_test(pci);
	unsigned int cap;

	switch (cmd) {
	case MDEV_TEST_PCI_GET_COUNTS:
		return copy_to_user(arg, &test->counts, sizeof(test->counts)) ?
		       -EFAULT : 0;
	case MDEV_TEST_PCI_GET_LOG:
		return test_get_log(test, arg);
	case MDEV_TEST_PCI_GET_FIELDS:
		return test_get_fields(test, arg);
	case MDEV_TEST_PCI_SET_FIELDS:
		return test_set_fields(test, arg);
	case MDEV_TEST_PCI_RAISE:
		return test_raise(test, arg);
	case MDEV_TEST_PCI_DMA:
		return test_dma(test, arg);
	case MDEV_TEST_PCI_UNPIN:
		return test_unpin_now(test);
	case MDEV_TEST_PCI_BLOCK:
		test_block(test, arg);
		return 0;
	case MDEV_TEST_PCI_SET_CONFIG:
		cap = mdev_pci_find_capability(pci, PCI_CAP_ID_VNDR);
		mdev_pci_set_config(pci, cap + 5, 1, (uintptr_t)arg);
		return 0;
	}
	return -ENOTTY;
}

/* ---- A device's life ---- */

static int test_init(struct mdev_pci *pci)
{
	struct test_device *test = to_test(pci);

	spin_lock_init(&test->lock);
	mutex_init(&test->pin_mutex);
	init_waitqueue_head(&test->wait);
	test->irq_work = IRQ_WORK_INIT_HARD(test_raise_hard);
	return 0;
}

static void test_exit(struct mdev_pci *pci)
{
	irq_work_sync(&to_test(pci)->irq_work);
}

static void test_reset(struct mdev_pci *pci)
{
	struct test_device *test = to_test(pci);

	spin_lock(&test->lock);
	memset(&test->state, 0, sizeof(test->state));
	test->log.count = 0;
	test->counts.reset++;
	spin_unlock(&test->lock);
}

static int test_open(struct mdev_pci *pci)
{
	struct test_device *test = to_test(pci);

	count(pci, &test->counts.open);
	memset(test->note, 0, sizeof(test->note));
	return 0;
}

static void test_close(struct mdev_pci *pci)
{
	count(pci, &to_test(pci)->counts.close);
}

static const struct mdev_pci_ops test_ops = {
	.init		= test_init,
	.exit		= test_exit,
	.reset		= test_reset,
	.open		= test_open,
	.close		= test_close,
	.config_read	= test_config_read,
	.config_write	= test_config_write,
	.config_written	= test_config_written,
	.ioctl		= test_ioctl,
	.unpin		= test_unpin,
};

/* it pins nothing */
static void none_unpin(struct mdev_pci *pci, struct mdev_pci_pin *pin)
{
}

static const struct mdev_pci_ops none_ops = { .unpin = none_unpin };

/* those of a vendor's mistake */
static const struct mdev_pci_ops no_unpin_ops = {};

/* ---- Migration ---- */

static int test_check(struct mdev_pci *pci, const void *state)
{
	const struct test_state *new = state;

	count(pci, &to_test(pci)->counts.check);
	return new->dword == 0xdead ? -EINVAL : 0;
}

static void test_quiesce(struct mdev_pci *pci)
{
	count(pci, &to_test(pci)->counts.quiesce);
}

static void test_resume(struct mdev_pci *pci)
{
	count(pci, &to_test(pci)->counts.resume);
}

static const struct mdev_pci_field test_fields[] = {
	MDEV_PCI_BYTES(offsetof(struct test_state, bytes), MDEV_TEST_PCI_BYTES),
	MDEV_PCI_ARRAY(struct test_state, words),
	MDEV_PCI_FIELD(struct test_state, flag),
	{ .offset = offsetof(struct test_state, dword), .size = 4, .count = 1,
	  .version = 2, .mask = 0xffff },
	MDEV_PCI_FIELD(struct test_state, qword),
};

#define TEST_MIGRATION(_variant)					\
	.magic		= 0x74736574,					\
	.version	= 2,						\
	.variant	= (_variant),					\
	MDEV_PCI_STATE(struct test_device, state),			\
	.fields		= test_fields,					\
	.nr_fields	= ARRAY_SIZE(test_fields),			\
	.check		= test_check,					\
	.quiesce	= test_quiesce,					\
	.resume		= test_resume

static const struct mdev_pci_migration full_migration = { TEST_MIGRATION(1) };

static const struct mdev_pci_migration small_migration = {
	TEST_MIGRATION(2), .min_version = 1,
};

static const struct mdev_pci_migration none_migration = { .version = 1 };

/* ---- Types ---- */

static const struct mdev_pci_desc full_desc = {
	.vendor		= 0x1b36,
	.device		= 0x0ffe,
	.subvendor	= 0x1af4,
	.subdevice	= 0x1100,
	.class		= 0xff0102,
	.revision	= 3,
	.intx		= true,
	.caps		= full_caps,
	.nr_caps	= ARRAY_SIZE(full_caps),
	.regions	= full_regions,
	.nr_regions	= ARRAY_SIZE(full_regions),
	MDEV_PCI_DEVICE(struct test_device, pci),
	.migration	= &full_migration,
	.ops		= &test_ops,
};

static const struct mdev_pci_desc small_desc = {
	.vendor		= 0x1b36,
	.device		= 0x0ffd,
	.class		= 0xff0000,
	.intx		= true,
	.caps		= small_caps,
	.nr_caps	= ARRAY_SIZE(small_caps),
	.regions	= small_regions,
	.nr_regions	= ARRAY_SIZE(small_regions),
	MDEV_PCI_DEVICE(struct test_device, pci),
	.migration	= &small_migration,
	.ops		= &test_ops,
};

static const struct mdev_pci_migration odd_migration = { TEST_MIGRATION(3) };

static const struct mdev_pci_desc odd_desc = {
	.vendor		= 0x1b36,
	.device		= 0x0ffb,
	.class		= 0xff0000,
	.caps		= odd_caps,
	.nr_caps	= ARRAY_SIZE(odd_caps),
	.regions	= odd_regions,
	.nr_regions	= ARRAY_SIZE(odd_regions),
	MDEV_PCI_DEVICE(struct test_device, pci),
	.migration	= &odd_migration,
	.ops		= &test_ops,
};

static const struct mdev_pci_desc none_desc = {
	.vendor		= 0x1b36,
	.device		= 0x0ffc,
	.class		= 0xff0000,
	.size		= sizeof(struct mdev_pci),
	.migration	= &none_migration,
	.ops		= &none_ops,
};

static const struct mdev_pci_type test_types[] = {
	{ .name = "full", .pretty_name = "Everything", .units = 3,
	  .description = "all that the kit has", .desc = &full_desc },
	{ .name = "small", .desc = &small_desc },
	{ .name = "none", .desc = &none_desc },
	{ .name = "odd", .desc = &odd_desc },
};

static struct mdev_pci_parent test_parent = {
	.ops		= { MDEV_PCI_OPS, MDEV_PCI_MIGRATION_OPS, MDEV_PCI_DMA_OPS,
			    .request = mdev_pci_request },
	.types		= test_types,
	.nr_types	= ARRAY_SIZE(test_types),
	.units		= 8,
};

/* ---- Tables that make no sense ---- */

static int wrong;
module_param(wrong, int, 0444);
MODULE_PARM_DESC(wrong, "Number of a mistake in the tables (0: none)");

static struct {
	struct mdev_pci_region regions[ARRAY_SIZE(full_regions)];
	struct mdev_pci_cap caps[ARRAY_SIZE(full_caps)];
	struct mdev_pci_field fields[ARRAY_SIZE(test_fields)];
	struct mdev_pci_migration migration;
	struct mdev_pci_desc desc;
	struct mdev_pci_type type;
} bad;

static void spoil(struct mdev_pci_type *t, struct mdev_pci_desc *d,
		  struct mdev_pci_region *r, struct mdev_pci_cap *c,
		  struct mdev_pci_migration *m, struct mdev_pci_field *f)
{
	switch (wrong) {
	case 1:
		d->class = 0x1000000;
		break;
	case 2:
		d->size = d->offset;
		break;
	case 3:
		d->ops = NULL;
		break;
	case 4:
		d->nr_regions = 33;
		break;
	case 5:
		r[VFIO_PCI_CONFIG_REGION_INDEX].size = 4096;
		break;
	case 6:
		r[VFIO_PCI_VGA_REGION_INDEX].size = 4096;
		break;
	case 7:
		r[MDEV_TEST_PCI_NOTE].size = 1ULL << 40;
		break;
	case 8:
		r[0].size = 4096 + 16;
		break;
	case 9:
		r[0].size = 8;
		break;
	case 10:
		r[1].size = 2;
		break;
	case 11:
		r[1].size = 512;
		break;
	case 12:
		r[0].size = 1ULL << 32;
		break;
	case 13:
		r[5] = r[2];
		break;
	case 14:
		r[0].flags = MDEV_PCI_64;
		break;
	case 15:
		r[1].flags |= MDEV_PCI_64;
		break;
	case 16:
		r[3] = r[0];
		break;
	case 17:
		r[0].width = 0;
		break;
	case 18:
		r[0].width = 3;
		break;
	case 19:
		r[0].width = 16;
		break;
	case 20:
		r[4].min_width = 8;
		break;
	case 21:
		r[VFIO_PCI_ROM_REGION_INDEX].size = 1024;
		break;
	case 22:
		r[VFIO_PCI_ROM_REGION_INDEX].size = 3072;
		break;
	case 23:
		r[MDEV_TEST_PCI_FIXED].size = 100;
		break;
	case 24:
		c[0].offset = 0x42;
		break;
	case 25:
		c[0].offset = 0x3c;
		break;
	case 26:
		c[1].offset = 0x40;
		break;
	case 27:
		c[4].offset = 0xfc;
		break;
	case 28:
		c[5].offset = 0x104;
		break;
	case 29:
		c[6].offset = 0xffc;
		break;
	case 30:
		c[6].offset = 0x108;
		break;
	case 31:
		c[0].flags = MDEV_PCI_CAP_EXT;
		break;
	case 32:
		c[3] = c[4];
		break;
	case 33:
		c[1] = c[0];
		break;
	case 34:
		c[1].vectors = 3;
		break;
	case 35:
		c[1].vectors = 64;
		break;
	case 36:
		c[1].vectors = 0;
		break;
	case 37:
		c[2].vectors = 0;
		break;
	case 38:
		c[2].vectors = 2049;
		break;
	case 39:
		c[2].table = 0xf08 | 4;
		break;
	case 40:
		c[2].pba = 0x1000 | 4;
		break;
	case 41:
		c[2].pba = 1;
		break;
	case 42:
		c[2].table = 7;
		break;
	case 43:
		c[4].data = NULL;
		break;
	case 44:
		m->version = 0;
		break;
	case 45:
		m->min_version = 3;
		break;
	case 46:
		m->state_offset = d->size - 8;
		break;
	case 47:
		f[1].size = 3;
		break;
	case 48:
		f[1].size = 16;
		break;
	case 49:
		f[1].count = 0;
		break;
	case 50:
		f[4].offset = sizeof(struct test_state) - 4;
		break;
	case 51:
		f[0].version = 3;
		break;
	case 52:
		t->name = NULL;
		break;
	case 53:
		t->desc = NULL;
		break;
	case 54:
		d->migration = NULL;
		break;
	case 55:
		r[MDEV_TEST_PCI_WINDOW].width = 16;
		break;
	case 56:
		c[0].data = full_regions;
		c[0].size = sizeof(full_regions);
		break;
	case 57:
		r[2].size = SZ_2G;
		break;
	case 58:
		d->ops = &no_unpin_ops;
		break;
	case 59:
		r[4].flags = MDEV_PCI_RAM;
		break;
	case 60:
		r[4].access = note_access;
		break;
	}
}

static void spoil_tables(void)
{
	memcpy(bad.regions, full_regions, sizeof(full_regions));
	memcpy(bad.caps, full_caps, sizeof(full_caps));
	memcpy(bad.fields, test_fields, sizeof(test_fields));
	bad.migration = full_migration;
	bad.migration.fields = bad.fields;
	bad.desc = full_desc;
	bad.desc.regions = bad.regions;
	bad.desc.caps = bad.caps;
	bad.desc.migration = &bad.migration;
	bad.type = test_types[0];
	bad.type.desc = &bad.desc;
	test_parent.types = &bad.type;
	test_parent.nr_types = 1;
	spoil(&bad.type, &bad.desc, bad.regions, bad.caps, &bad.migration,
	      bad.fields);
}

static int __init test_module_init(void)
{
	if (wrong)
		spoil_tables();
	return mdev_pci_register_virtual(&test_parent, "mdev_test_pci");
}

static void __exit test_module_exit(void)
{
	mdev_pci_unregister_virtual(&test_parent);
}

module_init(test_module_init);
module_exit(test_module_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Vendor on the kit for PCI devices, for tests");
