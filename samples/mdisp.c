// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdisp: a vendor driver whose devices are displays, on the kit for emulated PCI devices
 * (linux/mdev_pci.h).
 *
 * Each mediated device is the PCI display that emulators call "bochs-display":
 * BAR 0 is the video memory, BAR 2 has the registers that set the mode, and the
 * monitor's EDID. A Linux guest uses its bochs driver for it. The VMM, for example
 * QEMU with display=on, asks where in the video memory the picture is, maps it, and
 * plugs in a monitor by writing an EDID.
 *
 * How to read this as the author of a vendor driver: read samples/hello_pci.c first.
 * Then begin at the end, with the tables below "What a display looks like". "The
 * picture", "The monitor" and "The windows" are particular to displays. "The card"
 * stands for your hardware.
 */
#include <drm/drm_fourcc.h>
#include <linux/mdev_pci.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#define MDISP_VENDOR_ID		0x1234
#define MDISP_DEVICE_ID		0x1111
#define MDISP_REVISION		2	/* from here on there is MDISP_EXT_SIZE */
#define MDISP_SUBVENDOR_ID	0x1af4
#define MDISP_SUBDEVICE_ID	0x1100
#define MDISP_CLASS		0x038000	/* display, and not a VGA */

/* in BAR 2 */
#define MDISP_EDID		0x000
#define MDISP_VGA		0x400	/* I/O ports 0x3c0 to 0x3df */
#define MDISP_VGA_ATTRIBUTE	0x400	/* 0x3c0 */
#define MDISP_VGA_SHOW		0x20	/* in it: the screen is not blank */
#define MDISP_DISPI		0x500	/* registers of 16 bits, see below */
#define MDISP_EXT		0x600
#define MDISP_EXT_SIZE		8	/* what it says, and its size */
#define MDISP_EXT_ENDIAN	0x604
#define MDISP_BIG_ENDIAN	0xbe	/* four times */
#define MDISP_LITTLE_ENDIAN	0x1e
#define MDISP_MMIO_SIZE		0x1000

enum mdisp_dispi {
	MDISP_ID,
	MDISP_XRES,
	MDISP_YRES,
	MDISP_BPP,
	MDISP_ENABLE,
	MDISP_BANK,
	MDISP_VIRT_WIDTH,
	MDISP_VIRT_HEIGHT,
	MDISP_X_OFFSET,
	MDISP_Y_OFFSET,
	MDISP_MEMORY_64K,
	MDISP_DISPI_COUNT
};

#define MDISP_ID_FIRST		0xb0c0
#define MDISP_ID_LAST		0xb0c5
#define MDISP_ENABLED		0x01
#define MDISP_GETCAPS		0x02
#define MDISP_ENABLE_BITS	0xe3

/*
 * Regions behind those of PCI. The windows show the video memory from where the
 * picture starts, see mdisp_place_window().
 */
#define MDISP_EDID_REGION	VFIO_PCI_NUM_REGIONS
#define MDISP_WINDOW_REGION	(VFIO_PCI_NUM_REGIONS + 1)
#define MDISP_NUM_REGIONS	(VFIO_PCI_NUM_REGIONS + 3)

#define MDISP_EDID_MAX		(MDISP_VGA - MDISP_EDID)
#define MDISP_EDID_OFFSET	0x400	/* in its region */
#define MDISP_EDID_TIMING	54	/* in it: the mode it prefers */
#define MDISP_EDID_REGION_SIZE	(MDISP_EDID_OFFSET + MDISP_EDID_MAX)
#define MDISP_CHUNK		64	/* the EDID is copied so much at a time */

static unsigned int mem_mib = 256;
module_param(mem_mib, uint, 0444);
MODULE_PARM_DESC(mem_mib, "Total video memory of all devices, in MiB (256)");

/* The largest picture of a type. */
struct mdisp_limits {
	u16 max_x;
	u16 max_y;
};

/* A display: one mediated device. */
struct mdisp {
	struct mdev_pci pci;
	const struct mdisp_limits *limits;
	size_t size;	/* of the video memory */
	/*
	 * Protects everything below. Not held while user memory is touched: that
	 * may be a mapping of ours, and mdisp_mmap_window() takes it.
	 */
	struct mutex lock;
	__le16 dispi[MDISP_DISPI_COUNT];	/* as written */
	u8 endian[4];
	bool blank;
	struct vfio_region_gfx_edid monitor;
	u8 edid[MDISP_EDID_MAX];
	/* where each window starts in the video memory; which one is used, for what */
	size_t window_start[2];
	unsigned int window;
	u32 window_stride;
};

static struct mdisp *to_mdisp(struct mdev_pci *pci)
{
	return container_of(pci, struct mdisp, pci);
}

/* ---- The card: its registers ---- */

static u16 mdisp_raw(const struct mdisp *md, enum mdisp_dispi reg)
{
	return le16_to_cpu(md->dispi[reg]);
}

static u16 mdisp_limit(const struct mdisp *md, enum mdisp_dispi reg, u16 max)
{
	if (mdisp_raw(md, MDISP_ENABLE) & MDISP_GETCAPS)
		return max;
	return min(mdisp_raw(md, reg), max);
}

/* The value of a register, whatever was written to it. */
static u16 mdisp_dispi_get(const struct mdisp *md, enum mdisp_dispi reg)
{
	u16 raw = mdisp_raw(md, reg);
	unsigned int width;

	switch (reg) {
	case MDISP_ID:
		/* drivers write the version they want and see if they get it */
		return raw >= MDISP_ID_FIRST && raw <= MDISP_ID_LAST ?
			raw : MDISP_ID_LAST;
	case MDISP_XRES:
		return mdisp_limit(md, reg, md->limits->max_x);
	case MDISP_YRES:
		return mdisp_limit(md, reg, md->limits->max_y);
	case MDISP_BPP:
		return mdisp_raw(md, MDISP_ENABLE) & MDISP_GETCAPS ? 32 : raw;
	case MDISP_ENABLE:
		return raw & MDISP_ENABLE_BITS;
	case MDISP_VIRT_WIDTH:
		return max_t(u32, raw,
			     min_t(u32, mdisp_raw(md, MDISP_XRES), md->limits->max_x));
	case MDISP_VIRT_HEIGHT:
		width = mdisp_dispi_get(md, MDISP_VIRT_WIDTH);
		return width ? min_t(size_t, md->size / (width * 4), U16_MAX) : 0;
	case MDISP_X_OFFSET:
	case MDISP_Y_OFFSET:
		return raw;
	case MDISP_MEMORY_64K:
		return md->size / SZ_64K;
	default:
		return 0;
	}
}

static u8 mdisp_mmio_read(const struct mdisp *md, unsigned int where)
{
	unsigned int reg = (where - MDISP_DISPI) / 2;

	if (where < MDISP_VGA)
		return md->monitor.link_state == VFIO_DEVICE_GFX_LINK_STATE_UP &&
		       where < md->monitor.edid_size ? md->edid[where] : 0;
	if (where >= MDISP_DISPI && reg < MDISP_DISPI_COUNT)
		return mdisp_dispi_get(md, reg) >> (where % 2 * 8);
	if (where == MDISP_EXT)
		return MDISP_EXT_SIZE;
	if (where >= MDISP_EXT_ENDIAN && where < MDISP_EXT + MDISP_EXT_SIZE)
		return md->endian[where - MDISP_EXT_ENDIAN];
	return 0;
}

static void mdisp_mmio_write(struct mdisp *md, unsigned int where, u8 val)
{
	bool was_enabled = mdisp_raw(md, MDISP_ENABLE) & MDISP_ENABLED;

	if (where == MDISP_VGA_ATTRIBUTE)
		md->blank = !(val & MDISP_VGA_SHOW);
	else if (where >= MDISP_DISPI && where < MDISP_DISPI + sizeof(md->dispi))
		((u8 *)md->dispi)[where - MDISP_DISPI] = val;
	else if (where >= MDISP_EXT_ENDIAN && where < MDISP_EXT + MDISP_EXT_SIZE)
		md->endian[where - MDISP_EXT_ENDIAN] = val;

	/* a new mode starts at the top left and has no gaps between lines */
	if (!was_enabled && mdisp_raw(md, MDISP_ENABLE) & MDISP_ENABLED) {
		md->dispi[MDISP_VIRT_WIDTH] = 0;
		md->dispi[MDISP_X_OFFSET] = 0;
		md->dispi[MDISP_Y_OFFSET] = 0;
	}
}

static u64 mdisp_read(struct mdev_pci *pci, const struct mdev_pci_region *bar,
		      u64 offset, unsigned int width)
{
	struct mdisp *md = to_mdisp(pci);
	u64 val = 0;

	mutex_lock(&md->lock);
	while (width--)
		val = val << 8 | mdisp_mmio_read(md, offset + width);
	mutex_unlock(&md->lock);
	return val;
}

static void mdisp_write(struct mdev_pci *pci, const struct mdev_pci_region *bar,
			u64 offset, unsigned int width, u64 val)
{
	struct mdisp *md = to_mdisp(pci);

	mutex_lock(&md->lock);
	for (; width--; val >>= 8)
		mdisp_mmio_write(md, offset++, val);
	mutex_unlock(&md->lock);
}

/*
 * The kit resets the memory. The monitor stays plugged in. Both windows start where the
 * memory does, and the next picture uses the window that the last one did not.
 */
static void mdisp_reset(struct mdev_pci *pci)
{
	struct mdisp *md = to_mdisp(pci);

	mutex_lock(&md->lock);
	memset(md->window_start, 0, sizeof(md->window_start));
	md->window_stride = 0;
	memset(md->dispi, 0, sizeof(md->dispi));
	memset(md->endian, MDISP_LITTLE_ENDIAN, sizeof(md->endian));
	md->blank = false;
	mutex_unlock(&md->lock);
}

/* ---- The picture ---- */

/* Is the mode valid? If so, the picture is @stride * @height bytes. */
static bool mdisp_is_on(const struct mdisp *md, u32 *stride)
{
	u32 height = mdisp_dispi_get(md, MDISP_YRES);
	u16 enable = mdisp_raw(md, MDISP_ENABLE);

	*stride = mdisp_dispi_get(md, MDISP_VIRT_WIDTH) * 4;
	return enable & MDISP_ENABLED && !(enable & MDISP_GETCAPS) &&
	       !md->blank && mdisp_raw(md, MDISP_BPP) == 32 &&
	       mdisp_raw(md, MDISP_XRES) && height &&
	       *stride <= md->size / height;
}

/*
 * The VMM maps a region and expects the picture at its beginning, until it is told to
 * use another region. So there are two windows, each of which shows the video memory
 * from any page on; a picture that begins within a page is shown from the beginning of that
 * page on. When the picture has moved, or when its lines have become longer, which QEMU would
 * not notice otherwise, it is put in the other window. Existing mappings do not change.
 */
static u32 mdisp_place_window(struct mdisp *md, u32 stride)
{
	size_t start = (size_t)mdisp_raw(md, MDISP_Y_OFFSET) * stride +
		       mdisp_raw(md, MDISP_X_OFFSET) * 4;

	lockdep_assert_held(&md->lock);
	/* addresses wrap around at the end of the memory */
	start &= (md->size - 1) & PAGE_MASK;
	if (start != md->window_start[md->window] ||
	    stride != md->window_stride) {
		md->window ^= 1;
		md->window_start[md->window] = start;
		md->window_stride = stride;
	}
	return MDISP_WINDOW_REGION + md->window;
}

static void mdisp_get_plane(struct mdisp *md,
			    struct vfio_device_gfx_plane_info *plane)
{
	u32 stride;

	lockdep_assert_held(&md->lock);
	/* QEMU leaves it at 0; 1 is the primary plane, and we have no other */
	if (plane->drm_plane_type > 1 || !mdisp_is_on(md, &stride))
		return;

	plane->drm_format = md->endian[0] == MDISP_BIG_ENDIAN ?
			    DRM_FORMAT_BGRX8888 : DRM_FORMAT_XRGB8888;
	plane->width = mdisp_dispi_get(md, MDISP_XRES);
	plane->height = mdisp_dispi_get(md, MDISP_YRES);
	plane->stride = stride;
	plane->size = PAGE_ALIGN(stride * plane->height);
	plane->region_index = mdisp_place_window(md, stride);
}

static long mdisp_ioctl(struct mdev_pci *pci, unsigned int cmd, void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_device_gfx_plane_info,
					 region_index);
	struct vfio_device_gfx_plane_info in, out;
	struct mdisp *md = to_mdisp(pci);

	if (cmd != VFIO_DEVICE_QUERY_GFX_PLANE)
		return -ENOTTY;
	if (copy_from_user(&in, arg, minsz))
		return -EFAULT;
	if (in.argsz < minsz)
		return -EINVAL;
	if (in.flags == (VFIO_GFX_PLANE_TYPE_PROBE | VFIO_GFX_PLANE_TYPE_REGION))
		return 0;
	if (in.flags != VFIO_GFX_PLANE_TYPE_REGION)
		return -EINVAL;

	/* all zeroes mean that there is no picture */
	out = (struct vfio_device_gfx_plane_info) {
		.argsz		= in.argsz,
		.flags		= in.flags,
		.drm_plane_type	= in.drm_plane_type,
		.x_hot		= U32_MAX,
		.y_hot		= U32_MAX,
	};
	mutex_lock(&md->lock);
	mdisp_get_plane(md, &out);
	mutex_unlock(&md->lock);
	return copy_to_user(arg, &out, minsz) ? -EFAULT : 0;
}

/* ---- The monitor: its EDID, and whether it is plugged in ---- */

/* The bytes that do not depend on the type; the others are 0 or set below. */
static const u8 mdisp_edid_base[128] = {
	0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,
	0x34, 0x96, 1, 0,		/* made by "MDV", product 1 */
	[17] = 2026 - 1990, 1, 4,	/* in that year, by version 1.4 */
	[20] = 0xa5,			/* digital, 8 bits of each colour */
	[23] = 120, 0x02,		/* gamma 2.2; the first timing is best */
	[35] = 0x20,			/* 640x480 */
	[38] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	[72] = 0, 0, 0, 0xfc, 0, 'm', 'd', 'i', 's', 'p', '\n', ' ',
	[93] = 0x10,			/* no third and no fourth descriptor */
	[111] = 0x10,
};

/* Make the largest mode of the card the preferred one of the monitor. */
static void mdisp_edid_prefer_max(struct mdisp *md)
{
	const u32 x = md->limits->max_x, y = md->limits->max_y;
	const u32 x_blank = 160, y_blank = 32;
	u32 clock = (x + x_blank) * (y + y_blank) * 60 / 10000;
	u8 *timing = md->edid + MDISP_EDID_TIMING;
	unsigned int i;

	timing[0] = clock;	/* in 10 kHz, for 60 Hz */
	timing[1] = clock >> 8;
	timing[2] = x;
	timing[3] = x_blank;
	timing[4] = x >> 8 << 4;
	timing[5] = y;
	timing[6] = y_blank;
	timing[7] = y >> 8 << 4;
	timing[8] = 48;		/* horizontal: front porch, sync */
	timing[9] = 32;
	timing[10] = 3 << 4 | 5;	/* vertical: the same */
	timing[11] = 0;
	/* all bytes add up to 0 */
	md->edid[127] = 0;
	for (i = 0; i < 127; i++)
		md->edid[127] -= md->edid[i];
}

/* Limit the preferred mode of a monitor that is plugged in to what the card can do. */
static void mdisp_fit_monitor(struct mdisp *md)
{
	const u8 *timing = md->edid + MDISP_EDID_TIMING;

	/* no EDID, or one without preference */
	if (md->monitor.edid_size < sizeof(mdisp_edid_base) ||
	    !(timing[0] | timing[1]))
		return;
	if ((timing[2] | (timing[4] & 0xf0) << 4) > md->limits->max_x ||
	    (timing[5] | (timing[7] & 0xf0) << 4) > md->limits->max_y)
		mdisp_edid_prefer_max(md);
}

static int mdisp_set_link(struct mdisp *md, u32 state)
{
	if (state != VFIO_DEVICE_GFX_LINK_STATE_UP &&
	    state != VFIO_DEVICE_GFX_LINK_STATE_DOWN)
		return -EINVAL;
	if (state == VFIO_DEVICE_GFX_LINK_STATE_UP)
		mdisp_fit_monitor(md);
	md->monitor.link_state = state;
	return 0;
}

/* The guest reads the EDID of a link that is up; nobody changes it then. */
static int mdisp_edid_write(struct mdisp *md, unsigned int where,
			    const void *data, size_t count)
{
	bool up = md->monitor.link_state == VFIO_DEVICE_GFX_LINK_STATE_UP;
	u32 val;

	if (where >= MDISP_EDID_OFFSET) {
		if (up)
			return -EBUSY;
		memcpy(md->edid + where - MDISP_EDID_OFFSET, data, count);
		return 0;
	}

	if (count != sizeof(val))
		return -EINVAL;
	memcpy(&val, data, sizeof(val));
	switch (where) {
	case offsetof(struct vfio_region_gfx_edid, link_state):
		return mdisp_set_link(md, val);
	case offsetof(struct vfio_region_gfx_edid, edid_size):
		if (up)
			return -EBUSY;
		if (val > MDISP_EDID_MAX)
			return -EINVAL;
		md->monitor.edid_size = val;
		return 0;
	default:
		return -EINVAL;
	}
}

static u8 mdisp_edid_read(const struct mdisp *md, unsigned int where)
{
	if (where >= MDISP_EDID_OFFSET)
		return md->edid[where - MDISP_EDID_OFFSET];
	return where < sizeof(md->monitor) ? ((u8 *)&md->monitor)[where] : 0;
}

static int mdisp_edid_piece(struct mdisp *md, unsigned int where, u8 *data,
			    size_t count, bool write)
{
	int ret = 0;
	size_t i;

	mutex_lock(&md->lock);
	if (write)
		ret = mdisp_edid_write(md, where, data, count);
	else
		for (i = 0; i < count; i++)
			data[i] = mdisp_edid_read(md, where + i);
	mutex_unlock(&md->lock);
	return ret;
}

static ssize_t mdisp_access_edid(struct mdev_pci *pci,
				 const struct mdev_pci_region *region,
				 char __user *buf, size_t count, u64 offset,
				 bool write)
{
	u8 data[MDISP_CHUNK];
	size_t done, part;
	int ret;

	for (done = 0; done < count; done += part) {
		part = min(count - done, sizeof(data));
		if (write && copy_from_user(data, buf + done, part))
			return -EFAULT;
		ret = mdisp_edid_piece(to_mdisp(pci), offset + done, data, part,
				       write);
		if (ret)
			return ret;
		if (!write && copy_to_user(buf + done, data, part))
			return -EFAULT;
	}
	return count;
}

/*
 * The monitor that is there until the VMM plugs in another one. QEMU does that only if
 * the picture is in a dma-buf.
 */
static int mdisp_open(struct mdev_pci *pci)
{
	struct mdisp *md = to_mdisp(pci);

	mutex_lock(&md->lock);
	md->window = 0;
	memset(md->edid, 0, sizeof(md->edid));
	memcpy(md->edid, mdisp_edid_base, sizeof(mdisp_edid_base));
	mdisp_edid_prefer_max(md);
	md->monitor = (struct vfio_region_gfx_edid) {
		.edid_offset	= MDISP_EDID_OFFSET,
		.edid_max_size	= MDISP_EDID_MAX,
		.edid_size	= sizeof(mdisp_edid_base),
		.max_xres	= md->limits->max_x,
		.max_yres	= md->limits->max_y,
		.link_state	= VFIO_DEVICE_GFX_LINK_STATE_UP,
	};
	mutex_unlock(&md->lock);
	return 0;
}

/* ---- The windows ---- */

static size_t mdisp_window_start(struct mdev_pci *pci,
				 const struct mdev_pci_region *region)
{
	unsigned int index = region - pci->desc->regions;
	struct mdisp *md = to_mdisp(pci);
	size_t start;

	mutex_lock(&md->lock);
	start = md->window_start[index - MDISP_WINDOW_REGION];
	mutex_unlock(&md->lock);
	return start;
}

/* Addresses wrap around at the end of the memory. */
static ssize_t mdisp_access_window(struct mdev_pci *pci,
				   const struct mdev_pci_region *region,
				   char __user *buf, size_t count, u64 offset,
				   bool write)
{
	u8 *memory = mdev_pci_ram(pci, VFIO_PCI_BAR0_REGION_INDEX);
	size_t start = mdisp_window_start(pci, region) + offset;
	size_t size = to_mdisp(pci)->size, done, piece;

	for (done = 0; done < count; done += piece) {
		size_t where = (start + done) & (size - 1);

		piece = min(count - done, size - where);
		if (write ? copy_from_user(memory + where, buf + done, piece) :
			    copy_to_user(buf + done, memory + where, piece))
			return -EFAULT;
	}
	return count;
}

/* A mapping stays where the window starts now. */
static int mdisp_mmap_window(struct mdev_pci *pci,
			     const struct mdev_pci_region *region, u64 offset,
			     struct vm_area_struct *vma)
{
	size_t start = mdisp_window_start(pci, region) + offset;

	return mdev_pci_mmap_ram(pci, VFIO_PCI_BAR0_REGION_INDEX,
				 start & (to_mdisp(pci)->size - 1), vma);
}

/* ---- What a display looks like ---- */

static int mdisp_init_display(struct mdev_pci *pci)
{
	struct mdisp *md = to_mdisp(pci);

	md->limits = pci->type->data;
	md->size = pci->desc->regions[VFIO_PCI_BAR0_REGION_INDEX].size;
	mutex_init(&md->lock);
	return 0;
}

static void mdisp_exit_display(struct mdev_pci *pci)
{
	mutex_destroy(&to_mdisp(pci)->lock);
}

static const struct mdev_pci_ops mdisp_ops = {
	.init	= mdisp_init_display,
	.exit	= mdisp_exit_display,
	.reset	= mdisp_reset,
	.open	= mdisp_open,
	.ioctl	= mdisp_ioctl,
};

/* video memory of each type; drivers flip between two pictures */
#define MDISP_VGA_SIZE		(4 * SZ_1M)
#define MDISP_XGA_SIZE		(8 * SZ_1M)
#define MDISP_HD_SIZE		(16 * SZ_1M)

#define MDISP_WINDOW(_size) {						\
	.size	= (_size),						\
	.access	= mdisp_access_window,					\
	.mmap	= mdisp_mmap_window,					\
}

#define MDISP_REGIONS(_type) {						\
	[VFIO_PCI_BAR0_REGION_INDEX] = {				\
		.size		= _type##_SIZE,				\
		.flags		= MDEV_PCI_RAM | MDEV_PCI_PREFETCH,	\
	},								\
	[VFIO_PCI_BAR2_REGION_INDEX] = {				\
		.size		= MDISP_MMIO_SIZE,			\
		.width		= 8,					\
		.read		= mdisp_read,				\
		.write		= mdisp_write,				\
	},								\
	[MDISP_EDID_REGION] = {						\
		.size		= MDISP_EDID_REGION_SIZE,		\
		.type		= VFIO_REGION_TYPE_GFX,			\
		.subtype	= VFIO_REGION_SUBTYPE_GFX_EDID,		\
		.access		= mdisp_access_edid,			\
	},								\
	[MDISP_WINDOW_REGION] = MDISP_WINDOW(_type##_SIZE),		\
	[MDISP_WINDOW_REGION + 1] = MDISP_WINDOW(_type##_SIZE),	\
}

static const struct mdev_pci_region mdisp_vga_regions[MDISP_NUM_REGIONS] =
	MDISP_REGIONS(MDISP_VGA);
static const struct mdev_pci_region mdisp_xga_regions[MDISP_NUM_REGIONS] =
	MDISP_REGIONS(MDISP_XGA);
static const struct mdev_pci_region mdisp_hd_regions[MDISP_NUM_REGIONS] =
	MDISP_REGIONS(MDISP_HD);

#define MDISP_DESC(_regions) {						\
	.vendor		= MDISP_VENDOR_ID,				\
	.device		= MDISP_DEVICE_ID,				\
	.subvendor	= MDISP_SUBVENDOR_ID,				\
	.subdevice	= MDISP_SUBDEVICE_ID,				\
	.class		= MDISP_CLASS,					\
	.revision	= MDISP_REVISION,				\
	.regions	= (_regions),					\
	.nr_regions	= MDISP_NUM_REGIONS,				\
	MDEV_PCI_DEVICE(struct mdisp, pci),				\
	.ops		= &mdisp_ops,					\
}

static const struct mdev_pci_desc mdisp_descs[] = {
	MDISP_DESC(mdisp_vga_regions),
	MDISP_DESC(mdisp_xga_regions),
	MDISP_DESC(mdisp_hd_regions),
};

static const struct mdisp_limits mdisp_limits[] = {
	{ 640, 480 }, { 1024, 768 }, { 1920, 1080 },
};

/* the units are MiB */
static const struct mdev_pci_type mdisp_types[] = {
	{
		.name		= "vga",
		.pretty_name	= "Display 640x480",
		.description	= "PCI display, up to 640x480 pixels, 4 MiB",
		.units		= MDISP_VGA_SIZE / SZ_1M,
		.desc		= &mdisp_descs[0],
		.data		= &mdisp_limits[0],
	}, {
		.name		= "xga",
		.pretty_name	= "Display 1024x768",
		.description	= "PCI display, up to 1024x768 pixels, 8 MiB",
		.units		= MDISP_XGA_SIZE / SZ_1M,
		.desc		= &mdisp_descs[1],
		.data		= &mdisp_limits[1],
	}, {
		.name		= "hd",
		.pretty_name	= "Display 1920x1080",
		.description	= "PCI display, up to 1920x1080 pixels, 16 MiB",
		.units		= MDISP_HD_SIZE / SZ_1M,
		.desc		= &mdisp_descs[2],
		.data		= &mdisp_limits[2],
	},
};

/* no request: a display that is in use cannot be unplugged */
static struct mdev_pci_parent mdisp_parent = {
	.ops		= { MDEV_PCI_OPS },
	.types		= mdisp_types,
	.nr_types	= ARRAY_SIZE(mdisp_types),
};

static int __init mdisp_init(void)
{
	mdisp_parent.units = mem_mib;
	return mdev_pci_register_virtual(&mdisp_parent, "mdisp");
}

static void __exit mdisp_exit(void)
{
	mdev_pci_unregister_virtual(&mdisp_parent);
}

module_init(mdisp_init);
module_exit(mdisp_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mediated PCI displays without hardware");
