// SPDX-License-Identifier: GPL-2.0-only
/*
 * Is a mediated PCI device what VMMs and guests expect of one? It is judged by what PCI
 * and linux/vfio.h say, and nothing is known of what else it does.
 *
 *   mdev_conform [-V group|cdev] [UUID | -m MODULE [ARG]...]
 *
 * The mdev that is named; or a new one of each type that MODULE has when it is loaded with
 * these arguments, or that a sample has. It must not be in use. It is opened by a group and a
 * container, and by its own node and an iommufd; -V leaves one of these out. Registers
 * are read, interrupts are triggered, and the device is reset, stopped, and loaded with
 * its own state, so do not try this on anything that matters. A line that begins with
 * "#" says what a VMM would stumble over.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <dirent.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "mdev_util.h"

#define CONFIG		VFIO_PCI_CONFIG_REGION_INDEX
#define ROM		VFIO_PCI_ROM_REGION_INDEX
#define MAX_CONFIG	4096
#define MAX_REGIONS	64
#define MAX_STATE	(64 << 20)

#define TRIGGER		VFIO_IRQ_SET_ACTION_TRIGGER
#define EFD		VFIO_IRQ_SET_DATA_EVENTFD
#define NONE		VFIO_IRQ_SET_DATA_NONE

static int dev;
static struct vfio_device_info device;
static struct vfio_region_info regions[MAX_REGIONS];
static struct vfio_irq_info irqs[VFIO_PCI_NUM_IRQS];
static uint8_t config[MAX_CONFIG];	/* as it was when opened */
static int complaints;

static void __printf(1, 2) complain(const char *fmt, ...)
{
	va_list ap;

	printf("#   ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	complaints++;
}

#define claim(expr, ...) do {		\
	if (!(expr))			\
		complain(__VA_ARGS__);	\
} while (0)

/* ---- Configuration space ---- */

static uint32_t cfg(unsigned int where, int size)
{
	uint32_t val = 0;

	if (vfio_read(dev, &val, size, regions[CONFIG].offset + where) != size)
		complain("configuration space at %#x: %d bytes cannot be read",
			 where, size);
	return le32toh(val);
}

static void set_cfg(unsigned int where, int size, uint32_t val)
{
	val = htole32(val);
	if (vfio_write(dev, &val, size, regions[CONFIG].offset + where) != size)
		complain("configuration space at %#x: %d bytes cannot be written",
			 where, size);
}

static unsigned int config_size(void)
{
	return regions[CONFIG].size > MAX_CONFIG ? MAX_CONFIG :
						   regions[CONFIG].size;
}

static void read_config(uint8_t *to)
{
	if (vfio_read(dev, to, config_size(), regions[CONFIG].offset) !=
	    (ssize_t)config_size())
		complain("configuration space cannot be read as a whole");
}

static void compare_config(const char *when)
{
	uint8_t now[MAX_CONFIG] = {};
	unsigned int i;

	read_config(now);
	for (i = 0; i < config_size(); i++)
		claim(now[i] == config[i],
		      "configuration space at %#x is %#x %s, and was %#x", i,
		      now[i], when, config[i]);
}

/* ---- What VFIO is told ---- */

static void check_info(void)
{
	struct vfio_device_info info = {};

	for (; info.argsz < offsetof(struct vfio_device_info, cap_offset); info.argsz++)
		claim(vfio_ioctl(dev, VFIO_DEVICE_GET_INFO, &info) == -EINVAL,
		      "GET_INFO takes an argsz of %u", info.argsz);
	info.argsz = sizeof(info) + 64;
	claim(!vfio_ioctl(dev, VFIO_DEVICE_GET_INFO, &info),
	      "GET_INFO refuses an argsz that is larger than the structure");
	claim(device.flags & VFIO_DEVICE_FLAGS_PCI, "it is no PCI device");
	claim(device.flags & VFIO_DEVICE_FLAGS_RESET, "it cannot be reset");
	claim(device.num_regions > CONFIG,
	      "%u regions: QEMU wants the %d of vfio-pci", device.num_regions,
	      VFIO_PCI_NUM_REGIONS);
	claim(device.num_irqs > VFIO_PCI_MSIX_IRQ_INDEX,
	      "%u interrupts: QEMU wants those of vfio-pci, up to MSI-X",
	      device.num_irqs);
	claim(vfio_ioctl(dev, VFIO_DEVICE_GET_INFO, (void *)8) == -EFAULT,
	      "GET_INFO accesses no memory");
	claim(vfio_ioctl(dev, _IO(VFIO_TYPE, 255), NULL) == -ENOTTY,
	      "an ioctl that nobody knows is not refused with ENOTTY");
}

static bool overlap(const struct vfio_region_info *a,
		    const struct vfio_region_info *b)
{
	return a->size && b->size && a->offset < b->offset + b->size &&
	       b->offset < a->offset + a->size;
}

static void check_regions(void)
{
	struct vfio_region_info info;
	unsigned int i, j;
	char byte;

	for (i = 0; i < device.num_regions && i < MAX_REGIONS; i++) {
		claim(!vfio_region(dev, i, &info),
		      "region %u is below num_regions and has no info", i);
		for (info.argsz = 0; info.argsz < sizeof(info); info.argsz++)
			claim(vfio_ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, &info) ==
			      -EINVAL, "region %u: an argsz of %u is taken", i,
			      info.argsz);
		for (j = 0; j < i; j++)
			claim(!overlap(&regions[i], &regions[j]),
			      "regions %u and %u overlap", j, i);
		claim(!regions[i].size || regions[i].flags,
		      "region %u can be neither read nor written nor mapped", i);
		claim(vfio_read(dev, &byte, 1, regions[i].offset + regions[i].size) < 1,
		      "region %u can be read behind its end", i);
		claim(vfio_write(dev, &byte, 1, regions[i].offset + regions[i].size) < 1,
		      "region %u can be written behind its end", i);
	}
	claim(vfio_region(dev, device.num_regions, &info) == -EINVAL,
	      "there is a region %u", i);
	claim(vfio_region(dev, UINT32_MAX, &info) == -EINVAL,
	      "there is a region of the highest number");
	claim(regions[CONFIG].size == 256 || regions[CONFIG].size == MAX_CONFIG,
	      "configuration space has %llu bytes", regions[CONFIG].size);
}

/*
 * The capability of region @i with this id, in @buf, or NULL: then all of the chain has
 * been seen.
 */
static void *region_cap(unsigned int i, uint16_t id, void *buf, size_t size)
{
	struct vfio_info_cap_header *cap;
	struct vfio_region_info *info = memset(buf, 0, size);
	unsigned int offset;

	info->argsz = size;
	info->index = i;
	if (vfio_ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, info) ||
	    !(info->flags & VFIO_REGION_INFO_FLAG_CAPS))
		return NULL;
	claim(info->cap_offset, "region %u: there are capabilities, but nowhere", i);
	claim(info->argsz <= size, "region %u: capabilities of %u bytes", i, info->argsz);
	for (offset = info->cap_offset; offset; offset = cap->next) {
		cap = buf + offset;
		if (offset < sizeof(*info) || offset + sizeof(*cap) > size) {
			complain("region %u: a capability at %#x", i, offset);
			return NULL;
		}
		if (cap->id == id)
			return cap;
		if (cap->next && cap->next <= offset) {
			complain("region %u: capabilities do not end", i);
			return NULL;
		}
	}
	return NULL;
}

static void check_region_caps(void)
{
	unsigned int i;
	char buf[4096];

	for (i = 0; i < device.num_regions && i < MAX_REGIONS; i++)
		claim(!region_cap(i, 0, buf, sizeof(buf)),
		      "region %u: a capability without an id", i);
}

/* ---- What a guest sees ---- */

static void check_identity(void)
{
	static const struct { int where, size; const char *name; } constant[] = {
		{ PCI_VENDOR_ID, 2, "the vendor's ID" },
		{ PCI_DEVICE_ID, 2, "the device's ID" },
		{ PCI_CLASS_REVISION, 4, "class and revision" },
		{ PCI_HEADER_TYPE, 1, "the header's type" },
		{ PCI_SUBSYSTEM_VENDOR_ID, 4, "the subsystem's ID" },
		{ PCI_CAPABILITY_LIST, 1, "the first capability" },
		{ PCI_INTERRUPT_PIN, 1, "the interrupt's pin" },
	};
	unsigned int i;

	claim(cfg(PCI_VENDOR_ID, 2) && cfg(PCI_VENDOR_ID, 2) != 0xffff,
	      "a vendor's ID of %#x is that of an empty slot",
	      cfg(PCI_VENDOR_ID, 2));
	claim((cfg(PCI_HEADER_TYPE, 1) & 0x7f) == PCI_HEADER_TYPE_NORMAL,
	      "a header of type %#x", cfg(PCI_HEADER_TYPE, 1));
	claim(cfg(PCI_INTERRUPT_PIN, 1) <= 4, "an interrupt's pin of %u",
	      cfg(PCI_INTERRUPT_PIN, 1));
	for (i = 0; i < ARRAY_SIZE(constant); i++) {
		uint32_t was = cfg(constant[i].where, constant[i].size);

		set_cfg(constant[i].where, constant[i].size, ~was);
		claim(cfg(constant[i].where, constant[i].size) == was,
		      "%s can be written", constant[i].name);
	}
	/* by byte, by word, and by both; what changes of its own is left out */
	for (i = 0; i < config_size(); i += 4) {
		uint32_t bytes = cfg(i, 1) | cfg(i + 1, 1) << 8 |
				 cfg(i + 2, 1) << 16 | cfg(i + 3, 1) << 24;

		if (cfg(i, 4) != cfg(i, 4))
			continue;
		claim(cfg(i, 4) == bytes &&
		      (cfg(i, 2) | cfg(i + 2, 2) << 16) == bytes,
		      "configuration space at %#x depends on the width", i);
	}
	/* firmware keeps the interrupt's line there */
	if (!cfg(PCI_INTERRUPT_PIN, 1))
		return;
	set_cfg(PCI_INTERRUPT_LINE, 1, 0x5a);
	claim(cfg(PCI_INTERRUPT_LINE, 1) == 0x5a,
	      "the interrupt's line cannot be written");
	set_cfg(PCI_INTERRUPT_LINE, 1, config[PCI_INTERRUPT_LINE]);
}

/* What BARs say of their sizes, as a guest asks them. Returns how many registers it has. */
static int check_bar(int i)
{
	int where = PCI_BASE_ADDRESS_0 + 4 * i;
	uint32_t was = cfg(where, 4), is, fixed, was_high = 0;
	uint64_t size, mask;
	bool wide;

	fixed = was & PCI_BASE_ADDRESS_SPACE_IO ? was & 3 : was & 0xf;
	wide = !(fixed & PCI_BASE_ADDRESS_SPACE_IO) &&
	       (fixed & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;
	if (wide && i == 5) {
		complain("BAR 5 has 64 bits");
		return 1;
	}
	set_cfg(where, 4, UINT32_MAX);
	is = cfg(where, 4);
	mask = is & ~(fixed & PCI_BASE_ADDRESS_SPACE_IO ? 3 : 0xf);
	if (wide) {
		was_high = cfg(where + 4, 4);
		set_cfg(where + 4, 4, UINT32_MAX);
		mask |= (uint64_t)cfg(where + 4, 4) << 32;
		set_cfg(where + 4, 4, was_high);
	} else if (mask) {
		/* I/O may have 16 bits */
		mask |= fixed & PCI_BASE_ADDRESS_SPACE_IO && !(mask >> 16) ?
			0xffffffffffff0000 : 0xffffffff00000000;
	}
	set_cfg(where, 4, was);

	size = mask ? ~mask + 1 : 0;
	claim(!(size & (size - 1)), "BAR %d: sizing gives %#llx", i,
	      (unsigned long long)mask);
	claim(size == regions[i].size,
	      "BAR %d has %#llx bytes for a guest and %#llx for a VMM", i,
	      (unsigned long long)size, regions[i].size);
	claim(!size || (is & (fixed & PCI_BASE_ADDRESS_SPACE_IO ? 3 : 0xf)) == fixed,
	      "BAR %d: the bits of its type can be written", i);
	claim(size || !is, "BAR %d is not there, but reads as %#x", i, is);
	claim(cfg(where, 4) == was, "BAR %d does not keep what is written", i);
	claim(!wide || !regions[i + 1].size, "BAR %d is inside of BAR %d", i + 1, i);
	return wide ? 2 : 1;
}

static void check_bars(void)
{
	uint16_t command = cfg(PCI_COMMAND, 2);
	uint32_t was = cfg(PCI_ROM_ADDRESS, 4), is;
	int i;

	set_cfg(PCI_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
	for (i = 0; i < 6;)
		i += check_bar(i);
	set_cfg(PCI_ROM_ADDRESS, 4, ~PCI_ROM_ADDRESS_ENABLE);
	is = cfg(PCI_ROM_ADDRESS, 4) & PCI_ROM_ADDRESS_MASK;
	set_cfg(PCI_ROM_ADDRESS, 4, was);
	claim((is ? ~is + 1 : 0) == regions[ROM].size,
	      "the ROM has %#x bytes for a guest and %#llx for a VMM",
	      is ? ~is + 1 : 0, regions[ROM].size);
	set_cfg(PCI_COMMAND, 2, command);
}

/* Is there room for a table of MSI-X? Returns where it ends. */
static uint64_t check_msix_table(const char *what, uint32_t reg, uint64_t size)
{
	unsigned int bar = reg & PCI_MSIX_TABLE_BIR;
	uint64_t offset = reg & PCI_MSIX_TABLE_OFFSET;

	claim(bar < 6 && offset + size <= regions[bar].size,
	      "%s of MSI-X is at %#llx of BAR %u, which has %#llx bytes", what,
	      (unsigned long long)offset, bar,
	      bar < 6 ? regions[bar].size : 0);
	return offset + size;
}

static void check_msix(unsigned int where)
{
	unsigned int vectors = (cfg(where + PCI_MSIX_FLAGS, 2) &
				PCI_MSIX_FLAGS_QSIZE) + 1;
	uint32_t table = cfg(where + PCI_MSIX_TABLE, 4);
	uint32_t pba = cfg(where + PCI_MSIX_PBA, 4);
	uint64_t table_end, pba_end;

	claim(vectors == irqs[VFIO_PCI_MSIX_IRQ_INDEX].count,
	      "MSI-X has %u vectors for a guest and %u for a VMM", vectors,
	      irqs[VFIO_PCI_MSIX_IRQ_INDEX].count);
	table_end = check_msix_table("the table", table, vectors * 16);
	pba_end = check_msix_table("the pending bits", pba, (vectors + 63) / 64 * 8);
	claim((table & PCI_MSIX_TABLE_BIR) != (pba & PCI_MSIX_PBA_BIR) ||
	      table_end <= (pba & PCI_MSIX_PBA_OFFSET) ||
	      pba_end <= (table & PCI_MSIX_TABLE_OFFSET),
	      "the table of MSI-X and its pending bits overlap");
}

static void check_express(unsigned int where)
{
	claim((cfg(where + PCI_EXP_FLAGS, 2) & PCI_EXP_FLAGS_VERS) >= 1,
	      "PCI Express of version 0");
	claim(config_size() == MAX_CONFIG,
	      "PCI Express, and configuration space of %u bytes", config_size());
}

/* the capabilities of the first 256 bytes */
static void check_caps(void)
{
	unsigned int where, id, seen[256 / 4] = {}, found[256] = {};

	if (!(cfg(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST)) {
		claim(!cfg(PCI_CAPABILITY_LIST, 1),
		      "there are capabilities, but the status says that there are none");
		where = 0;
	} else {
		where = cfg(PCI_CAPABILITY_LIST, 1);
	}
	for (; where; where = cfg(where + PCI_CAP_LIST_NEXT, 1)) {
		if (where & 3 || where < PCI_STD_HEADER_SIZEOF || seen[where / 4]++) {
			complain("a capability at %#x", where);
			break;
		}
		id = cfg(where + PCI_CAP_LIST_ID, 1);
		found[id]++;
		if (id == PCI_CAP_ID_MSI)
			claim(1U << ((cfg(where + PCI_MSI_FLAGS, 2) &
				      PCI_MSI_FLAGS_QMASK) >> 1) ==
			      irqs[VFIO_PCI_MSI_IRQ_INDEX].count,
			      "MSI has %u vectors for a VMM, and not for a guest",
			      irqs[VFIO_PCI_MSI_IRQ_INDEX].count);
		else if (id == PCI_CAP_ID_MSIX)
			check_msix(where);
		else if (id == PCI_CAP_ID_EXP)
			check_express(where);
		else if (id == PCI_CAP_ID_PM)
			claim(!(cfg(where + PCI_PM_CTRL, 2) & PCI_PM_CTRL_STATE_MASK),
			      "it is not in D0 when it is opened");
	}
	for (id = 0; id < ARRAY_SIZE(found); id++)
		claim(found[id] < 2 || id == PCI_CAP_ID_VNDR || id == PCI_CAP_ID_HT,
		      "capability %#x is there %u times", id, found[id]);
	claim(found[PCI_CAP_ID_MSI] || !irqs[VFIO_PCI_MSI_IRQ_INDEX].count,
	      "MSI for a VMM, and none for a guest");
	claim(found[PCI_CAP_ID_MSIX] || !irqs[VFIO_PCI_MSIX_IRQ_INDEX].count,
	      "MSI-X for a VMM, and none for a guest");
	claim(!cfg(PCI_INTERRUPT_PIN, 1) == !irqs[VFIO_PCI_INTX_IRQ_INDEX].count,
	      "INTx is only there for a guest, or for a VMM");
}

/* the capabilities behind them */
static void check_extended_caps(void)
{
	unsigned int where = PCI_CFG_SPACE_SIZE, next, left = 1000;
	uint32_t header;

	if (config_size() < MAX_CONFIG)
		return;
	for (; where; where = next) {
		header = cfg(where, 4);
		next = PCI_EXT_CAP_NEXT(header);
		if (!header) {
			claim(where == PCI_CFG_SPACE_SIZE,
			      "an extended capability of zeroes at %#x", where);
			break;
		}
		if (!left-- || (next && (next & 3 || next < PCI_CFG_SPACE_SIZE))) {
			complain("extended capabilities do not end at %#x", where);
			break;
		}
	}
}

static void check_command(void)
{
	uint16_t was = cfg(PCI_COMMAND, 2), decode = 0;
	uint32_t val;
	unsigned int i;
	ssize_t ret;

	for (i = 0; i < 6; i++)
		if (regions[i].size)
			decode |= cfg(PCI_BASE_ADDRESS_0 + 4 * i, 4) &
				  PCI_BASE_ADDRESS_SPACE_IO ?
				  PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	set_cfg(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	claim(cfg(PCI_COMMAND, 2) & PCI_COMMAND_MASTER,
	      "it cannot be made bus master");
	set_cfg(PCI_COMMAND, 2, decode);
	claim((cfg(PCI_COMMAND, 2) & decode) == decode,
	      "BARs cannot be switched on: %#x of %#x",
	      cfg(PCI_COMMAND, 2) & decode, decode);
	set_cfg(PCI_COMMAND, 2, 0);
	claim(!(cfg(PCI_COMMAND, 2) & decode), "BARs cannot be switched off");
	for (i = 0; i < 6; i++) {
		if (!regions[i].size || !(regions[i].flags & VFIO_REGION_INFO_FLAG_READ))
			continue;
		ret = vfio_read(dev, &val, 4, regions[i].offset);
		claim(ret < 0 || (ret == 4 && val == UINT32_MAX),
		      "BAR %u reads as %#x while it is switched off", i, val);
	}
	set_cfg(PCI_COMMAND, 2, was);
}

/* as a guest's firmware does before drivers come */
static void switch_on(void)
{
	set_cfg(PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY |
		PCI_COMMAND_MASTER);
}

static void check_widths(void)
{
	unsigned int i, size;
	uint64_t val;
	ssize_t ret;

	switch_on();
	for (i = 0; i < 6; i++) {
		if (!(regions[i].flags & VFIO_REGION_INFO_FLAG_READ))
			continue;
		for (size = 1; size <= 8 && size <= regions[i].size; size *= 2) {
			ret = vfio_read(dev, &val, size, regions[i].offset);
			claim(ret == size, "BAR %u: reading %u bytes returns %zd", i,
			      size, ret);
		}
	}
	set_cfg(PCI_COMMAND, 2, config[PCI_COMMAND] | config[PCI_COMMAND + 1] << 8);
}

char touched;	/* so that the compiler does not leave the access out */

static void check_mmap(void)
{
	struct vfio_region_info_cap_sparse_mmap *sparse;
	unsigned int i, j;
	char buf[4096];
	uint64_t start, size;
	char *mem;

	switch_on();
	for (i = 0; i < device.num_regions && i < MAX_REGIONS; i++) {
		if (!regions[i].size)
			continue;
		mem = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, dev,
			   regions[i].offset + ((regions[i].size + PAGE - 1) & -PAGE));
		claim(mem == MAP_FAILED, "region %u can be mapped behind its end", i);
		if (!(regions[i].flags & VFIO_REGION_INFO_FLAG_MMAP)) {
			mem = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, dev,
				   regions[i].offset);
			claim(mem == MAP_FAILED,
			      "region %u can be mapped, and does not say so", i);
			continue;
		}
		sparse = region_cap(i, VFIO_REGION_INFO_CAP_SPARSE_MMAP, buf,
				    sizeof(buf));
		for (j = 0; j < (sparse ? sparse->nr_areas : 1); j++) {
			start = sparse ? sparse->areas[j].offset : 0;
			size = sparse ? sparse->areas[j].size : regions[i].size;
			if (!size)
				continue;
			claim(!(start % PAGE) && start + size <= regions[i].size,
			      "region %u: an area of %#llx bytes at %#llx", i,
			      (unsigned long long)size, (unsigned long long)start);
			mem = mmap(NULL, size, PROT_READ, MAP_SHARED, dev,
				   regions[i].offset + start);
			if (mem == MAP_FAILED) {
				complain("region %u cannot be mapped: %s", i,
					 strerror(errno));
				continue;
			}
			touched = mem[0] ^ mem[size - 1];
			munmap(mem, size);
		}
	}
	set_cfg(PCI_COMMAND, 2, config[PCI_COMMAND] | config[PCI_COMMAND + 1] << 8);
}

/* ---- Interrupts ---- */

static void check_irqs(void)
{
	struct vfio_irq_info info;
	unsigned int i;

	for (i = 0; i < device.num_irqs && i < VFIO_PCI_NUM_IRQS; i++) {
		info = (struct vfio_irq_info){ .argsz = sizeof(info), .index = i };
		claim(!vfio_ioctl(dev, VFIO_DEVICE_GET_IRQ_INFO, &info),
		      "interrupt %u is below num_irqs and has no info", i);
		for (info.argsz = 0; info.argsz < sizeof(info); info.argsz++)
			claim(vfio_ioctl(dev, VFIO_DEVICE_GET_IRQ_INFO, &info) == -EINVAL,
			      "interrupt %u: an argsz of %u is taken", i, info.argsz);
		claim(!irqs[i].count || irqs[i].flags & VFIO_IRQ_INFO_EVENTFD,
		      "interrupt %u takes no eventfd", i);
	}
	info = (struct vfio_irq_info){ sizeof(info), .index = device.num_irqs };
	claim(vfio_ioctl(dev, VFIO_DEVICE_GET_IRQ_INFO, &info) == -EINVAL,
	      "there is an interrupt %u", device.num_irqs);
	claim(irqs[VFIO_PCI_INTX_IRQ_INDEX].count <= 1, "INTx has %u vectors",
	      irqs[VFIO_PCI_INTX_IRQ_INDEX].count);
	claim(!irqs[VFIO_PCI_INTX_IRQ_INDEX].count ||
	      irqs[VFIO_PCI_INTX_IRQ_INDEX].flags & VFIO_IRQ_INFO_AUTOMASKED,
	      "INTx does not mask itself: the guest would never come to acknowledge");
	claim(irqs[VFIO_PCI_MSI_IRQ_INDEX].count <= 32, "MSI has %u vectors",
	      irqs[VFIO_PCI_MSI_IRQ_INDEX].count);
	claim(irqs[VFIO_PCI_MSIX_IRQ_INDEX].count <= 2048, "MSI-X has %u vectors",
	      irqs[VFIO_PCI_MSIX_IRQ_INDEX].count);
}

static int irq_set(unsigned int flags, unsigned int index, unsigned int start,
		   unsigned int count, int fd)
{
	int32_t data = fd;

	return vfio_set_irqs(dev, flags, index, start, count,
			     flags & EFD ? &data : NULL);
}

/* what is malformed is refused, whatever the device has */
static void check_bad_irqs(void)
{
	struct vfio_irq_set set = { .argsz = sizeof(set) - 1,
				    .flags = TRIGGER | NONE };
	int efd = eventfd(0, EFD_NONBLOCK);
	unsigned int i;

	for (i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		unsigned int count = irqs[i].count;

		if (!count)
			continue;
		set.index = i;
		claim(vfio_ioctl(dev, VFIO_DEVICE_SET_IRQS, &set) == -EINVAL,
		      "interrupt %u: a SET_IRQS that is too short is taken", i);
		claim(irq_set(TRIGGER | EFD | NONE, i, 0, 1, efd) < 0,
		      "interrupt %u: two kinds of data are taken", i);
		claim(irq_set(TRIGGER, i, 0, 1, efd) < 0,
		      "interrupt %u: no kind of data is taken", i);
		claim(irq_set(EFD, i, 0, 1, efd) < 0,
		      "interrupt %u: no action is taken", i);
		claim(irq_set(1 << 20 | TRIGGER | EFD, i, 0, 1, efd) < 0,
		      "interrupt %u: an unknown flag is taken", i);
		claim(irq_set(TRIGGER | EFD, i, count, 1, efd) < 0,
		      "interrupt %u: the vector behind the last one is taken", i);
		claim(irq_set(TRIGGER | EFD, i, UINT32_MAX, 1, efd) < 0,
		      "interrupt %u: vector %u is taken", i, UINT32_MAX);
		claim(irq_set(TRIGGER | EFD, i, 0, 1, 12345) < 0,
		      "interrupt %u: an eventfd that is not open is taken", i);
		claim(irq_set(TRIGGER | EFD, i, 0, 1, STDIN_FILENO) < 0,
		      "interrupt %u: an fd that is no eventfd is taken", i);
	}
	claim(irq_set(TRIGGER | EFD, device.num_irqs, 0, 1, efd) < 0,
	      "interrupt %u is taken", device.num_irqs);
	close(efd);
}

static uint64_t signals(int fd)
{
	eventfd_t value;

	return eventfd_read(fd, &value) ? 0 : value;
}

/* an eventfd is signalled when user space says so, which is how QEMU tests it */
static void check_triggers(void)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	unsigned int i, last;

	for (i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		if (!irqs[i].count)
			continue;
		last = irqs[i].count - 1;
		if (irq_set(TRIGGER | EFD, i, 0, 1, efd) ||
		    (last && irq_set(TRIGGER | EFD, i, last, 1, efd) &&
		     !(irqs[i].flags & VFIO_IRQ_INFO_NORESIZE))) {
			complain("interrupt %u: no eventfd can be set", i);
			continue;
		}
		claim(!irq_set(TRIGGER | NONE, i, 0, 1, -1),
		      "interrupt %u cannot be triggered", i);
		claim(signals(efd) == 1,
		      "interrupt %u is triggered, and nothing is signalled", i);
		/* the eventfd goes */
		claim(!irq_set(TRIGGER | EFD, i, 0, 1, -1),
		      "interrupt %u: its eventfd cannot be taken away", i);
		irq_set(TRIGGER | NONE, i, 0, 1, -1);
		claim(!signals(efd), "interrupt %u is signalled after that", i);
		irq_set(TRIGGER | NONE, i, 0, 0, -1);
		claim(!irq_set(TRIGGER | EFD, i, 0, 1, efd),
		      "interrupt %u cannot be switched on again", i);
		claim(!irq_set(TRIGGER | NONE, i, 0, 0, -1),
		      "interrupt %u cannot be switched off", i);
		irq_set(TRIGGER | NONE, i, 0, 1, -1);
		claim(!signals(efd), "interrupt %u is signalled when it is off", i);
	}
	close(efd);
}

/* KVM unmasks INTx by an eventfd; without, each interrupt takes the slow way */
static void check_intx(void)
{
	const int intx = VFIO_PCI_INTX_IRQ_INDEX;
	int efd, unmask;

	if (!irqs[intx].count)
		return;
	efd = eventfd(0, EFD_NONBLOCK);
	unmask = eventfd(0, EFD_NONBLOCK);
	claim(!irq_set(TRIGGER | EFD, intx, 0, 1, efd), "INTx takes no eventfd");
	claim(!irq_set(VFIO_IRQ_SET_ACTION_MASK | NONE, intx, 0, 1, -1),
	      "INTx cannot be masked");
	claim(!irq_set(VFIO_IRQ_SET_ACTION_UNMASK | NONE, intx, 0, 1, -1),
	      "INTx cannot be unmasked");
	claim(!irq_set(VFIO_IRQ_SET_ACTION_UNMASK | EFD, intx, 0, 1, unmask),
	      "INTx cannot be unmasked by an eventfd");
	claim(!irq_set(VFIO_IRQ_SET_ACTION_UNMASK | EFD, intx, 0, 1, -1),
	      "the eventfd that unmasks INTx cannot be taken away");
	irq_set(TRIGGER | NONE, intx, 0, 0, -1);
	close(unmask);
	close(efd);
}

/* ---- Reset, migration ---- */

static void check_reset(void)
{
	unsigned int i;

	set_cfg(PCI_COMMAND, 2, 0xffff);
	set_cfg(PCI_BASE_ADDRESS_0, 4, 0xaaaaaaaa);
	set_cfg(PCI_INTERRUPT_LINE, 1, 0x77);
	for (i = PCI_STD_HEADER_SIZEOF; i < 256; i += 4)
		set_cfg(i, 4, 0);
	claim(!vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL), "it cannot be reset");
	compare_config("after a reset");
}

static int set_state(uint32_t state, int *fd)
{
	struct vfio_device_feature_mig_state mig = {
		.device_state = state,
		.data_fd = -1,
	};
	int ret;

	ret = vfio_feature(dev, VFIO_DEVICE_FEATURE_SET |
			   VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig, sizeof(mig));
	if (fd)
		*fd = ret ? -1 : mig.data_fd;
	return ret;
}

static int state(void)
{
	struct vfio_device_feature_mig_state mig = {};

	return vfio_feature(dev, VFIO_DEVICE_FEATURE_GET |
			    VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig,
			    sizeof(mig)) ?: (int)mig.device_state;
}

/* stop it, and read its state; returns the number of bytes, or -1 */
static ssize_t save(char *buf)
{
	size_t size = 0;
	ssize_t ret = 1;
	int fd;

	claim(!set_state(VFIO_DEVICE_STATE_STOP, NULL), "it cannot be stopped");
	if (set_state(VFIO_DEVICE_STATE_STOP_COPY, &fd) || fd < 0) {
		complain("its state cannot be read");
		return -1;
	}
	while (size < MAX_STATE && ret > 0) {
		ret = read(fd, buf + size, MAX_STATE - size);
		size += ret > 0 ? ret : 0;
	}
	claim(!ret, "reading its state ends with %s", ret ? strerror(errno) : "");
	close(fd);
	claim(!set_state(VFIO_DEVICE_STATE_STOP, NULL),
	      "it cannot be stopped after its state was read");
	return size;
}

/* returns whether it takes that */
static bool load(const char *buf, size_t size)
{
	size_t done = 0;
	ssize_t ret = 1;
	int fd;

	if (set_state(VFIO_DEVICE_STATE_RESUMING, &fd) || fd < 0) {
		complain("its state cannot be written");
		return false;
	}
	while (done < size && ret > 0) {
		ret = write(fd, buf + done, size - done);
		done += ret > 0 ? ret : 0;
	}
	close(fd);
	return ret > 0 && !set_state(VFIO_DEVICE_STATE_STOP, NULL);
}

static void check_migration(void)
{
	struct vfio_device_feature_migration migration = {};
	char *buf;
	ssize_t size;
	int ret;

	ret = vfio_feature(dev, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION,
			   &migration, sizeof(migration));
	if (ret) {
		printf("#   it cannot be migrated: %s\n", strerror(-ret));
		return;
	}
	claim(migration.flags & VFIO_MIGRATION_STOP_COPY, "migration without STOP_COPY");
	claim(state() == VFIO_DEVICE_STATE_RUNNING, "it is in state %d, and should run",
	      state());
	buf = malloc(MAX_STATE);
	size = save(buf);
	if (size <= 0)
		goto out;
	claim(!vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL) &&
	      state() == VFIO_DEVICE_STATE_RUNNING,
	      "a reset leaves it in state %d", state());
	set_state(VFIO_DEVICE_STATE_STOP, NULL);
	claim(load(buf, size), "it does not take its own state");
	claim(!set_state(VFIO_DEVICE_STATE_RUNNING, NULL), "it does not run with it");
	compare_config("after it was loaded");

	/* a part of it, and what is no state at all */
	set_state(VFIO_DEVICE_STATE_STOP, NULL);
	claim(!load(buf, size - 1), "it takes a state that lacks a byte");
	vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL);
	set_state(VFIO_DEVICE_STATE_STOP, NULL);
	memset(buf, 0x55, size);
	claim(!load(buf, size), "it takes nonsense for a state");
	vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL);
	claim(state() == VFIO_DEVICE_STATE_RUNNING, "no reset lets it run after that");
out:
	vfio_ioctl(dev, VFIO_DEVICE_RESET, NULL);
	free(buf);
}

/* ---- All of it ---- */

static const struct {
	const char *name;
	void (*check)(void);
} checks[] = {
	{ "info", check_info },
	{ "regions", check_regions },
	{ "region_capabilities", check_region_caps },
	{ "identity", check_identity },
	{ "bars", check_bars },
	{ "capabilities", check_caps },
	{ "extended_capabilities", check_extended_caps },
	{ "command", check_command },
	{ "widths", check_widths },
	{ "mmap", check_mmap },
	{ "interrupts", check_irqs },
	{ "malformed_interrupts", check_bad_irqs },
	{ "triggers", check_triggers },
	{ "intx", check_intx },
	{ "reset", check_reset },
	{ "migration", check_migration },
};

/* whatever is not there stays zero */
static void look(void)
{
	unsigned int i;

	memset(regions, 0, sizeof(regions));
	memset(irqs, 0, sizeof(irqs));
	memset(config, 0, sizeof(config));
	device = (struct vfio_device_info){ .argsz = sizeof(device) };
	vfio_ioctl(dev, VFIO_DEVICE_GET_INFO, &device);
	for (i = 0; i < device.num_regions && i < MAX_REGIONS; i++)
		vfio_region(dev, i, &regions[i]);
	for (i = 0; i < device.num_irqs && i < VFIO_PCI_NUM_IRQS; i++) {
		irqs[i].argsz = sizeof(irqs[i]);
		irqs[i].index = i;
		vfio_ioctl(dev, VFIO_DEVICE_GET_IRQ_INFO, &irqs[i]);
	}
	read_config(config);
}

static void conform(const char *uuid, const char *name, bool iommufd)
{
	struct vfio_client vc;
	unsigned int i;
	int ret;

	if (!vfio_use_iommufd(iommufd)) {
		ksft_test_result_skip("%s.cdev no iommufd in this kernel\n", name);
		return;
	}
	ret = vfio_open(&vc, uuid);
	if (ret) {
		ksft_test_result_fail("%s: cannot be opened: %s\n", name, strerror(-ret));
		return;
	}
	dev = vc.device;
	for (i = 0; i < ARRAY_SIZE(checks); i++) {
		look();
		complaints = 0;
		checks[i].check();
		ksft_test_result(!complaints, "%s.%s.%s\n", name,
				 iommufd ? "cdev" : "group", checks[i].name);
	}
	vfio_close(&vc);
}

static bool left_out[2];	/* by iommufd */

static void conform_both(const char *uuid, const char *name)
{
	int i;

	for (i = 0; i < 2; i++)
		if (!left_out[i])
			conform(uuid, name, i);
}

static void conform_type(const char *parent, const char *name)
{
	char type[600], uuid[UUID_LEN + 1];
	int ret;

	snprintf(type, sizeof(type), "%s/%s", parent, name);
	uuid_next(uuid);
	ret = mdev_create(type, uuid);
	if (ret) {
		ksft_test_result_fail("%s: cannot be created: %s\n", type, strerror(-ret));
		return;
	}
	conform_both(uuid, name);
	ret = mdev_remove(uuid);
	ksft_test_result(!ret, "%s.remove\n", name);
}

/* one mdev of each type of each parent; returns how many */
static int conform_types(void)
{
	struct dirent *parent, *type;
	DIR *parents, *types;
	char path[600];
	int count = 0;

	parents = opendir(MDEV_CLASS);
	while (parents && (parent = readdir(parents))) {
		if (parent->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), MDEV_CLASS "/%s/mdev_supported_types",
			 parent->d_name);
		types = opendir(path);
		while (types && (type = readdir(types))) {
			if (type->d_name[0] == '.')
				continue;
			conform_type(parent->d_name, type->d_name);
			count++;
		}
		if (types)
			closedir(types);
	}
	if (parents)
		closedir(parents);
	return count;
}

static void conform_module(const char *args)
{
	if (vendors_reset() || module_load(args))
		ksft_test_result_fail("%s: cannot be loaded\n", args);
	else if (!conform_types())
		ksft_test_result_fail("%s: has no type\n", args);
	ksft_test_result(!vendors_reset() && !mdev_leftovers(), "%s: leftovers\n", args);
}

int main(int argc, char **argv)
{
	static const char * const samples[] = {
		"mtty", "mdisp", "hello_pci", "mdev_test_pci",
	};
	char args[512] = "";
	unsigned int i;
	size_t len = 0;
	int opt;

	while ((opt = getopt(argc, argv, "m:V:")) != -1) {
		if (opt == 'm')
			len = snprintf(args, sizeof(args), "%s", optarg);
		else if (opt != 'V')
			ksft_exit_fail_msg("%s [-V group|cdev] [UUID | -m MODULE [ARG]...]\n",
					   argv[0]);
		/* tests have other variants, too */
		else if (!strcmp(optarg, "cdev") || !strcmp(optarg, "group"))
			left_out[!strcmp(optarg, "cdev")] = true;
	}
	for (; len && optind < argc && len < sizeof(args); optind++)
		len += snprintf(args + len, sizeof(args) - len, " %s", argv[optind]);
	ksft_print_header();
	if (len)
		conform_module(args);
	else if (optind < argc)
		conform_both(argv[optind], argv[optind]);
	else
		for (i = 0; i < ARRAY_SIZE(samples); i++)
			conform_module(samples[i]);
	ksft_set_plan(ksft_test_num());
	ksft_print_cnts();
	return ksft_get_fail_cnt() ? KSFT_FAIL : KSFT_PASS;
}
