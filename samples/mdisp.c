// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdisp: a vendor driver of the classic door whose devices are displays.
 *
 * Each mediated device is the PCI display that emulators call "bochs-display":
 * BAR 0 is the video memory, BAR 2 has the registers that set the mode, and the
 * monitor's EDID. A Linux guest uses its bochs driver for it. The VMM, for example
 * QEMU with display=on, asks where in the video memory the picture is, maps it, and
 * plugs in a monitor by writing an EDID.
 *
 * How to read this as the author of a vendor driver: begin at the end, with
 * mdisp_init() and mdisp_ops. "The picture", "The monitor" and mdisp_mmap() are
 * particular to displays. "The card" stands for your hardware.
 */
#include <drm/drm_fourcc.h>
#include <linux/mdev.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/vmalloc.h>

#define MDISP_VENDOR_ID		0x1234
#define MDISP_DEVICE_ID		0x1111
#define MDISP_REVISION		2	/* from here on there is MDISP_EXT_SIZE */
#define MDISP_SUBVENDOR_ID	0x1af4
#define MDISP_SUBDEVICE_ID	0x1100
#define MDISP_CLASS		0x0380	/* display, and not a VGA */

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
#define MDISP_OFFSET_SHIFT	40	/* of the region in the fd's offset */

#define MDISP_CONFIG_SIZE	256
#define MDISP_EDID_MAX		(MDISP_VGA - MDISP_EDID)
#define MDISP_EDID_OFFSET	0x400	/* in its region */
#define MDISP_EDID_TIMING	54	/* in it: the mode it prefers */
#define MDISP_EDID_REGION_SIZE	(MDISP_EDID_OFFSET + MDISP_EDID_MAX)
#define MDISP_CHUNK		64	/* registers are copied so much at a time */

static unsigned int mem_mib = 256;
module_param(mem_mib, uint, 0444);
MODULE_PARM_DESC(mem_mib, "Total video memory of all devices, in MiB (256)");

/**
 * struct mdisp_type - a type
 * @name: second half of its directory's name
 * @max_x: widest picture
 * @max_y: highest picture
 * @mib: video memory, a power of two: drivers flip between two pictures
 */
struct mdisp_type {
	const char *name;
	u16 max_x;
	u16 max_y;
	unsigned int mib;
};

static const struct mdisp_type mdisp_types[] = {
	{ "vga", 640, 480, 4 },
	{ "xga", 1024, 768, 8 },
	{ "hd", 1920, 1080, 16 },
};

/* The parent: what is left of mem_mib. */
static struct device *mdisp_parent;
static DEFINE_MUTEX(mdisp_lock);	/* protects mdisp_mib_left */
static unsigned int mdisp_mib_left;

/* A display: one mediated device. */
struct mdisp {
	const struct mdisp_type *type;
	u8 *memory;	/* the video memory while the device is open, see mdisp_open() */
	size_t size;	/* of @memory */
	/*
	 * Protects everything below. Not held while user memory is touched: that
	 * may be a mapping of ours, and mdisp_mmap() takes it.
	 */
	struct mutex lock;
	u8 config[MDISP_CONFIG_SIZE];
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
		return mdisp_limit(md, reg, md->type->max_x);
	case MDISP_YRES:
		return mdisp_limit(md, reg, md->type->max_y);
	case MDISP_BPP:
		return mdisp_raw(md, MDISP_ENABLE) & MDISP_GETCAPS ? 32 : raw;
	case MDISP_ENABLE:
		return raw & MDISP_ENABLE_BITS;
	case MDISP_VIRT_WIDTH:
		return max_t(u32, raw, min_t(u32, mdisp_raw(md, MDISP_XRES), md->type->max_x));
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

static const __le16 mdisp_config_reset[MDISP_CONFIG_SIZE / 2] = {
	[PCI_VENDOR_ID / 2]	= cpu_to_le16(MDISP_VENDOR_ID),
	[PCI_DEVICE_ID / 2]	= cpu_to_le16(MDISP_DEVICE_ID),
	/* VFIO devices start enabled, as with vfio-pci */
	[PCI_COMMAND / 2]	= cpu_to_le16(PCI_COMMAND_MEMORY),
	[PCI_CLASS_REVISION / 2] = cpu_to_le16(MDISP_REVISION),
	[PCI_CLASS_DEVICE / 2]	= cpu_to_le16(MDISP_CLASS),
	[PCI_BASE_ADDRESS_0 / 2] = cpu_to_le16(PCI_BASE_ADDRESS_MEM_PREFETCH),
	[PCI_SUBSYSTEM_VENDOR_ID / 2] = cpu_to_le16(MDISP_SUBVENDOR_ID),
	[PCI_SUBSYSTEM_ID / 2]	= cpu_to_le16(MDISP_SUBDEVICE_ID),
};

static_assert(sizeof(mdisp_config_reset) == MDISP_CONFIG_SIZE);

/* Which bits can be written. The bits of a BAR that are not give its size. */
static u8 mdisp_config_writable(const struct mdisp *md, unsigned int where)
{
	u32 bar = 0;

	switch (where) {
	case PCI_COMMAND:
		return PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	case PCI_COMMAND + 1:
		return PCI_COMMAND_INTX_DISABLE >> 8;
	case PCI_INTERRUPT_LINE:
		return 0xff;
	case PCI_BASE_ADDRESS_0 ... PCI_BASE_ADDRESS_0 + 3:
		bar = ~(md->size - 1);
		break;
	case PCI_BASE_ADDRESS_2 ... PCI_BASE_ADDRESS_2 + 3:
		bar = ~(MDISP_MMIO_SIZE - 1);
		break;
	}
	return bar >> (where % 4 * 8);
}

static void mdisp_config_write(struct mdisp *md, unsigned int where, u8 val)
{
	u8 mask = mdisp_config_writable(md, where);

	md->config[where] = (md->config[where] & ~mask) | (val & mask);
}

/*
 * Reset all except the memory. The monitor stays plugged in. Both windows start where
 * the memory does, and the next picture uses the window that the last one did not.
 */
static void mdisp_reset_regs(struct mdisp *md)
{
	mutex_lock(&md->lock);
	memset(md->window_start, 0, sizeof(md->window_start));
	md->window_stride = 0;
	memcpy(md->config, mdisp_config_reset, MDISP_CONFIG_SIZE);
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
 * from any page on. When the picture has moved, or when its lines have become longer,
 * which QEMU would not notice otherwise, it is put in the other window. Existing
 * mappings do not change.
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

static long mdisp_query_plane(struct mdisp *md, void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_device_gfx_plane_info,
					 region_index);
	struct vfio_device_gfx_plane_info in, out;

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
	const u32 x = md->type->max_x, y = md->type->max_y;
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
	if ((timing[2] | (timing[4] & 0xf0) << 4) > md->type->max_x ||
	    (timing[5] | (timing[7] & 0xf0) << 4) > md->type->max_y)
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

/*
 * The monitor that is there until the VMM plugs in another one. QEMU does that only if
 * the picture is in a dma-buf.
 */
static void mdisp_default_monitor(struct mdisp *md)
{
	mutex_lock(&md->lock);
	memset(md->edid, 0, sizeof(md->edid));
	memcpy(md->edid, mdisp_edid_base, sizeof(mdisp_edid_base));
	mdisp_edid_prefer_max(md);
	md->monitor = (struct vfio_region_gfx_edid) {
		.edid_offset	= MDISP_EDID_OFFSET,
		.edid_max_size	= MDISP_EDID_MAX,
		.edid_size	= sizeof(mdisp_edid_base),
		.max_xres	= md->type->max_x,
		.max_yres	= md->type->max_y,
		.link_state	= VFIO_DEVICE_GFX_LINK_STATE_UP,
	};
	mutex_unlock(&md->lock);
}

/* ---- The VFIO device: regions ---- */

static bool mdisp_is_window(u64 index)
{
	return index >= MDISP_WINDOW_REGION && index < MDISP_NUM_REGIONS;
}

static bool mdisp_is_memory(u64 index)
{
	return index == VFIO_PCI_BAR0_REGION_INDEX || mdisp_is_window(index);
}

static size_t mdisp_region_size(const struct mdisp *md, u64 index)
{
	if (mdisp_is_memory(index))
		return md->size;
	switch (index) {
	case VFIO_PCI_BAR2_REGION_INDEX:
		return MDISP_MMIO_SIZE;
	case VFIO_PCI_CONFIG_REGION_INDEX:
		return MDISP_CONFIG_SIZE;
	case MDISP_EDID_REGION:
		return MDISP_EDID_REGION_SIZE;
	default:
		return 0;
	}
}

static size_t mdisp_region_start(struct mdisp *md, u64 index)
{
	size_t start = 0;

	if (mdisp_is_window(index)) {
		mutex_lock(&md->lock);
		start = md->window_start[index - MDISP_WINDOW_REGION];
		mutex_unlock(&md->lock);
	}
	return start;
}

/* Addresses wrap around at the end of the memory. */
static int mdisp_copy_memory(struct mdisp *md, size_t pos, char __user *to,
			     const char __user *from, size_t count)
{
	size_t done, piece;

	for (done = 0; done < count; done += piece) {
		size_t where = (pos + done) & (md->size - 1);

		piece = min(count - done, md->size - where);
		if (to ? copy_to_user(to + done, md->memory + where, piece) :
			 copy_from_user(md->memory + where, from + done, piece))
			return -EFAULT;
	}
	return 0;
}

/* Access byte by byte, as a bus would, except regions that are not on the bus. */
static int mdisp_write_regs(struct mdisp *md, unsigned int index,
			    unsigned int where, const u8 *data, size_t count)
{
	size_t i;

	lockdep_assert_held(&md->lock);
	if (index == MDISP_EDID_REGION)
		return mdisp_edid_write(md, where, data, count);

	for (i = 0; i < count; i++)
		if (index == VFIO_PCI_CONFIG_REGION_INDEX)
			mdisp_config_write(md, where + i, data[i]);
		else
			mdisp_mmio_write(md, where + i, data[i]);
	return 0;
}

static void mdisp_read_regs(const struct mdisp *md, unsigned int index,
			    unsigned int where, u8 *data, size_t count)
{
	size_t i;

	lockdep_assert_held(&md->lock);
	for (i = 0; i < count; i++)
		if (index == MDISP_EDID_REGION)
			data[i] = mdisp_edid_read(md, where + i);
		else if (index == VFIO_PCI_CONFIG_REGION_INDEX)
			data[i] = md->config[where + i];
		else
			data[i] = mdisp_mmio_read(md, where + i);
}

static int mdisp_copy_regs(struct mdisp *md, unsigned int index,
			   unsigned int where, char __user *to,
			   const char __user *from, size_t count)
{
	u8 data[MDISP_CHUNK];
	size_t done, part;
	int ret = 0;

	for (done = 0; done < count && !ret; done += part) {
		part = min(count - done, sizeof(data));
		if (from && copy_from_user(data, from + done, part))
			return -EFAULT;

		mutex_lock(&md->lock);
		if (from)
			ret = mdisp_write_regs(md, index, where + done, data, part);
		else
			mdisp_read_regs(md, index, where + done, data, part);
		mutex_unlock(&md->lock);

		if (to && copy_to_user(to + done, data, part))
			return -EFAULT;
	}
	return ret;
}

/* Bytes beyond the region are cut off. */
static ssize_t mdisp_access(struct mdev_device *mdev, char __user *to,
			    const char __user *from, size_t count, loff_t *ppos)
{
	u64 where = *ppos & (BIT_ULL(MDISP_OFFSET_SHIFT) - 1);
	struct mdisp *md = mdev_get_drvdata(mdev);
	u64 index = (u64)*ppos >> MDISP_OFFSET_SHIFT;
	size_t size = mdisp_region_size(md, index);
	int ret;

	if (where >= size)
		return -EINVAL;
	/* one of the two is set, unless user space has passed NULL */
	if (!to && !from)
		return -EFAULT;
	count = min_t(size_t, count, size - where);
	if (mdisp_is_memory(index))
		ret = mdisp_copy_memory(md, mdisp_region_start(md, index) + where,
					to, from, count);
	else
		ret = mdisp_copy_regs(md, index, where, to, from, count);
	if (ret)
		return ret;
	*ppos += count;
	return count;
}

static ssize_t mdisp_read(struct mdev_device *mdev, char __user *buf,
			  size_t count, loff_t *ppos)
{
	return mdisp_access(mdev, buf, NULL, count, ppos);
}

static ssize_t mdisp_write(struct mdev_device *mdev, const char __user *buf,
			   size_t count, loff_t *ppos)
{
	return mdisp_access(mdev, NULL, buf, count, ppos);
}

/* Mappings share the pages of the memory, so both always have the same contents. */
static vm_fault_t mdisp_fault(struct vm_fault *vmf)
{
	struct mdisp *md = vmf->vma->vm_private_data;
	size_t pos = (vmf->pgoff << PAGE_SHIFT) & (md->size - 1);

	vmf->page = vmalloc_to_page(md->memory + pos);
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct mdisp_vm_ops = {
	.fault = mdisp_fault,
};

/*
 * A mapping keeps the device's file open, and therefore the device and this module. A
 * pin of one of its pages, as by vmsplice(), O_DIRECT or another device's DMA, does not.
 */
static int mdisp_mmap(struct mdev_device *mdev, struct vm_area_struct *vma)
{
	const unsigned int shift = MDISP_OFFSET_SHIFT - PAGE_SHIFT;
	u64 page = vma->vm_pgoff & (BIT_ULL(shift) - 1);
	struct mdisp *md = mdev_get_drvdata(mdev);
	size_t size = vma->vm_end - vma->vm_start;
	u64 index = vma->vm_pgoff >> shift;

	/* the guest's changes would not appear in a private copy */
	if (!(vma->vm_flags & VM_SHARED) || !mdisp_is_memory(index))
		return -EINVAL;
	if (size > md->size || page > (md->size - size) >> PAGE_SHIFT)
		return -EINVAL;

	/* from here on: the page of the memory, which wraps around */
	vma->vm_pgoff = (mdisp_region_start(md, index) >> PAGE_SHIFT) + page;
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = md;
	vma->vm_ops = &mdisp_vm_ops;
	return 0;
}

/* The region with the EDID is recognized by its capability. */
static int mdisp_get_region_info_caps(struct mdev_device *mdev,
				      struct vfio_region_info *info,
				      struct vfio_info_cap *caps)
{
	struct vfio_region_info_cap_type cap = {
		.header.id	= VFIO_REGION_INFO_CAP_TYPE,
		.header.version	= 1,
		.type		= VFIO_REGION_TYPE_GFX,
		.subtype	= VFIO_REGION_SUBTYPE_GFX_EDID,
	};
	struct mdisp *md = mdev_get_drvdata(mdev);

	if (info->index >= MDISP_NUM_REGIONS)
		return -EINVAL;
	info->offset = (u64)info->index << MDISP_OFFSET_SHIFT;
	info->size = mdisp_region_size(md, info->index);
	if (info->size)
		info->flags = VFIO_REGION_INFO_FLAG_READ |
			      VFIO_REGION_INFO_FLAG_WRITE;
	if (mdisp_is_memory(info->index))
		info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
	if (info->index != MDISP_EDID_REGION)
		return 0;
	return vfio_info_add_capability(caps, &cap.header, sizeof(cap));
}

/* ---- The VFIO device: the other callbacks while it is open ---- */

static long mdisp_get_info(void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;

	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = MDISP_NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/* PCI devices have these indexes; this device has no interrupt in any of them. */
static long mdisp_get_irq_info(void __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_irq_info, count);
	struct vfio_irq_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;

	info.flags = 0;
	info.count = 0;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static long mdisp_ioctl(struct mdev_device *mdev, unsigned int cmd,
			unsigned long arg)
{
	struct mdisp *md = mdev_get_drvdata(mdev);
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return mdisp_get_info(uarg);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return mdisp_get_irq_info(uarg);
	case VFIO_DEVICE_QUERY_GFX_PLANE:
		return mdisp_query_plane(md, uarg);
	case VFIO_DEVICE_RESET:
		mdisp_reset_regs(md);
		/* mappings show the change */
		memset(md->memory, 0, md->size);
		return 0;
	default:
		return -ENOTTY;
	}
}

/*
 * Each opener gets new memory, which is charged to it: the previous one may still have
 * pages of the old memory pinned, for ever.
 */
static int mdisp_open(struct mdev_device *mdev)
{
	struct mdisp *md = mdev_get_drvdata(mdev);

	md->memory = __vmalloc(md->size, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!md->memory)
		return -ENOMEM;
	mdisp_reset_regs(md);
	md->window = 0;
	mdisp_default_monitor(md);
	return 0;
}

static void mdisp_release(struct mdev_device *mdev)
{
	struct mdisp *md = mdev_get_drvdata(mdev);

	/* nobody has it mapped; a page that is pinned is freed when it is not any more */
	vfree(md->memory);
	md->memory = NULL;
}

/* ---- Types, and the devices of a type ---- */

/* The kobject is named after the driver and the group: "mdisp-vga" etc. */
static const struct mdisp_type *mdisp_type_of(struct kobject *kobj)
{
	const char *name = strrchr(kobject_name(kobj), '-') + 1;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(mdisp_types) - 1; i++)
		if (!strcmp(name, mdisp_types[i].name))
			break;
	return &mdisp_types[i];
}

static int mdisp_take_memory(unsigned int mib)
{
	int ret = 0;

	mutex_lock(&mdisp_lock);
	if (mib > mdisp_mib_left)
		ret = -EUSERS;
	else
		WRITE_ONCE(mdisp_mib_left, mdisp_mib_left - mib);
	mutex_unlock(&mdisp_lock);
	return ret;
}

static void mdisp_give_memory(unsigned int mib)
{
	mutex_lock(&mdisp_lock);
	WRITE_ONCE(mdisp_mib_left, mdisp_mib_left + mib);
	mutex_unlock(&mdisp_lock);
}

static int mdisp_create(struct kobject *kobj, struct mdev_device *mdev)
{
	const struct mdisp_type *type = mdisp_type_of(kobj);
	struct mdisp *md;
	int ret;

	ret = mdisp_take_memory(type->mib);
	if (ret)
		return ret;

	md = kzalloc_obj(*md);
	if (!md) {
		mdisp_give_memory(type->mib);
		return -ENOMEM;
	}
	md->type = type;
	md->size = (size_t)type->mib * SZ_1M;
	mutex_init(&md->lock);

	/* last: the device's files appear after we return */
	mdev_set_drvdata(mdev, md);
	return 0;
}

static int mdisp_remove(struct mdev_device *mdev)
{
	struct mdisp *md = mdev_get_drvdata(mdev);

	mdisp_give_memory(md->type->mib);
	mutex_destroy(&md->lock);
	kfree(md);
	return 0;
}

/* ---- Files of a type ---- */

static ssize_t name_show(struct kobject *kobj, struct device *dev, char *buf)
{
	const struct mdisp_type *type = mdisp_type_of(kobj);

	return sysfs_emit(buf, "Display %ux%u\n", type->max_x, type->max_y);
}
static MDEV_TYPE_ATTR_RO(name);

static ssize_t description_show(struct kobject *kobj, struct device *dev,
				char *buf)
{
	const struct mdisp_type *type = mdisp_type_of(kobj);

	return sysfs_emit(buf, "PCI display, up to %ux%u pixels, %u MiB\n",
			  type->max_x, type->max_y, type->mib);
}
static MDEV_TYPE_ATTR_RO(description);

static ssize_t device_api_show(struct kobject *kobj, struct device *dev,
			       char *buf)
{
	return sysfs_emit(buf, "%s\n", VFIO_DEVICE_API_PCI_STRING);
}
static MDEV_TYPE_ATTR_RO(device_api);

static ssize_t available_instances_show(struct kobject *kobj,
					struct device *dev, char *buf)
{
	/* taking the lock would not make the answer last any longer */
	return sysfs_emit(buf, "%u\n", READ_ONCE(mdisp_mib_left) /
				       mdisp_type_of(kobj)->mib);
}
static MDEV_TYPE_ATTR_RO(available_instances);

static struct attribute *mdisp_type_attrs[] = {
	&mdev_type_attr_name.attr,
	&mdev_type_attr_description.attr,
	&mdev_type_attr_device_api.attr,
	&mdev_type_attr_available_instances.attr,
	NULL
};

static struct attribute_group mdisp_type_group[ARRAY_SIZE(mdisp_types)];
static struct attribute_group *mdisp_type_groups[ARRAY_SIZE(mdisp_types) + 1];

/* ---- The parent ---- */

/* no request: a display that is in use cannot be unplugged */
static const struct mdev_parent_ops mdisp_ops = {
	.owner			= THIS_MODULE,
	.supported_type_groups	= mdisp_type_groups,
	.create			= mdisp_create,
	.remove			= mdisp_remove,
	.open			= mdisp_open,
	.release		= mdisp_release,
	.read			= mdisp_read,
	.write			= mdisp_write,
	.ioctl			= mdisp_ioctl,
	.mmap			= mdisp_mmap,
	.get_region_info_caps	= mdisp_get_region_info_caps,
};

/* its name is the first half of the types' names, as there is no driver */
static struct class *mdisp_class;

static int __init mdisp_init(void)
{
	unsigned int i;
	int ret;

	mdisp_mib_left = mem_mib;
	for (i = 0; i < ARRAY_SIZE(mdisp_types); i++) {
		mdisp_type_group[i].name = mdisp_types[i].name;
		mdisp_type_group[i].attrs = mdisp_type_attrs;
		mdisp_type_groups[i] = &mdisp_type_group[i];
	}

	mdisp_class = class_create("mdisp");
	if (IS_ERR(mdisp_class))
		return PTR_ERR(mdisp_class);
	mdisp_parent = device_create(mdisp_class, NULL, MKDEV(0, 0), NULL,
				     "mdisp");
	if (IS_ERR(mdisp_parent)) {
		ret = PTR_ERR(mdisp_parent);
		goto err_class;
	}
	/* last: devices can be created before this returns */
	ret = mdev_register_device(mdisp_parent, &mdisp_ops);
	if (ret)
		goto err_device;
	return 0;

err_device:
	device_unregister(mdisp_parent);
err_class:
	class_destroy(mdisp_class);
	return ret;
}

static void __exit mdisp_exit(void)
{
	mdev_unregister_device(mdisp_parent);
	device_unregister(mdisp_parent);
	class_destroy(mdisp_class);
}

module_init(mdisp_init);
module_exit(mdisp_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mediated PCI displays without hardware");
