/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The map of the kit for emulated PCI devices, mdev_pci.ko.
 *
 * Files, from top to bottom. Each calls only those below it, which "make lint" checks:
 *
 *	mdev_pci.c		parents, types, the life of a device, ioctls
 *	mdev_pci_access.c	the ops read and write: the direct way to one register;
 *				configuration space, and the effects of a write to it
 *	mdev_pci_migration.c	reset; the states, and the file
 *	mdev_pci_region.c	regions: their info, all other accesses, mappings,
 *				memory
 *	mdev_pci_dma.c		the guest's memory
 *	mdev_pci_irq.c		interrupts
 *	mdev_pci_config.c	contents of configuration space
 *	mdev_pci_table.c	checks the vendor's tables; fills configuration space in
 *
 * Members of struct mdev_pci, by what protects them:
 *
 * Constant:
 *
 *	direct_regions	one bit for each region: see mdev_pci_direct()
 *	config_reset, config_writable
 *			configuration space after a reset; the bits that can be written
 *	config_end, config_size
 *			its size in memory, a multiple of four; to a guest, which reads
 *			the rest as zeroes
 *	pm, af, exp	where these capabilities are, or 0; exp only if a guest can reset
 *			the device by it
 *	msix		the capability in the vendor's table, or NULL
 *	nr_vectors	of MSI and MSI-X
 *
 * Written under lock, and read without it:
 *
 *	decoded_regions	one bit for each region: it is decoded
 *	config		configuration space, written four aligned bytes at a time
 *	line		the level of INTA, as the vendor has set it
 *
 * Under lock:
 *
 *	line_masked	INTA is masked, by the VMM or because it was signalled
 *	vectors_pending	vectors to signal as soon as possible
 *	holds_back	signal nothing, as the device is stopped for migration
 *
 * Written under irq_mutex and lock; either is enough to read:
 *
 *	intx, request, vectors
 *			the eventfds; not both those of INTx and of MSI or MSI-X
 *	irq_index	which of MSI and MSI-X has eventfds; VFIO_PCI_NUM_IRQS if none
 *
 * Under irq_mutex:
 *
 *	unmask		VFIO's: the eventfd that unmasks INTA
 *
 * Atomic:
 *
 *	active		how many accesses to registers are under way; negative while no
 *			more can begin, see mdev_pci_enter()
 *	line_wanted, vectors_wanted, irq_work
 *			what the vendor has set where lock cannot be taken: see
 *			mdev_pci_must_defer()
 *
 * Under state_mutex:
 *
 *	state, stream, quiet
 *			of migration; quiet is between quiesce and resume
 *
 * Under pins_lock:
 *
 *	pins		memory that is pinned or is being pinned
 *	pins_begun	the number of the newest of them
 *
 * From open to release:
 *
 *	ram		the memory of MDEV_PCI_RAM by region
 *	mapping		the address space of all mappings, from the first one on; NULL
 *			before Linux 6.10
 *
 * Locks, outermost first: state_mutex, then lock, pins_lock or a stream's lock; irq_mutex,
 * then lock. The mutexes are not nested. mdev_virqfd_disable() waits, under irq_mutex, for
 * the work that unmasks INTA, which takes only lock.
 *
 * Eventfds are signalled under lock. Code that runs when an eventfd is signalled must not
 * take it, or a VMM could deadlock two devices by connecting the eventfds of each to the
 * other. So a work does the unmasking.
 *
 * User memory is accessed under no lock, and not between mdev_pci_enter() and
 * mdev_pci_leave(), because it may never become present.
 */
#ifndef MDEV_PCI_PRIVATE_H
#define MDEV_PCI_PRIVATE_H

#include <linux/mdev_pci.h>
#include <linux/nospec.h>
#include <linux/wait_bit.h>

#define MDEV_PCI_BARS		6
#define MDEV_PCI_MAX_REGIONS	32
#define MDEV_PCI_MSIX_ENTRY	16

/* added to mdev_pci.active while no access can begin */
#define MDEV_PCI_SHUT		(INT_MIN / 2)

static inline u64 mdev_pci_offset(unsigned int index)
{
	return (u64)index << MDEV_PCI_OFFSET_SHIFT;
}

static inline u64 mdev_pci_pos_index(u64 pos)
{
	return pos >> MDEV_PCI_OFFSET_SHIFT;
}

static inline u64 mdev_pci_pos_offset(u64 pos)
{
	return pos & (BIT_ULL(MDEV_PCI_OFFSET_SHIFT) - 1);
}

/* Returns NULL if there is no such region. Not for configuration space. */
static inline const struct mdev_pci_region *
mdev_pci_region(const struct mdev_pci *pci, u64 index)
{
	const struct mdev_pci_desc *desc = pci->desc;
	const struct mdev_pci_region *region;

	if (index >= desc->nr_regions)
		return NULL;
	region = &desc->regions[array_index_nospec((u32)index, desc->nr_regions)];
	return region->size ? region : NULL;
}

/* Can it be mapped? A part of a page cannot, with what else would be in that page. */
static inline bool mdev_pci_is_mapped(const struct mdev_pci_region *region)
{
	return (region->flags & MDEV_PCI_RAM || region->mmap) &&
	       IS_ALIGNED(region->size, PAGE_SIZE);
}

static inline bool mdev_pci_in_d3(const struct mdev_pci *pci)
{
	return pci->pm && (pci->config[pci->pm + PCI_PM_CTRL] &
			   PCI_PM_CTRL_STATE_MASK);
}

static inline bool mdev_pci_can_unplug(const struct mdev_pci *pci)
{
	return pci->parent->ops.request;
}

/* Call @fn, from a work, whenever the eventfd is signalled. */
static inline int mdev_virqfd_enable(struct mdev_device *mdev,
				     void (*fn)(void *arg, void *data),
				     void *arg, struct virqfd **virqfd, int fd)
{
	return mdev_calls(mdev)->virqfd_enable(mdev, fn, arg, virqfd, fd);
}

/* Waits for @fn. */
static inline void mdev_virqfd_disable(struct mdev_device *mdev,
				       struct virqfd **virqfd)
{
	mdev_calls(mdev)->virqfd_disable(mdev, virqfd);
}

static inline void mdev_pci_leave(struct mdev_pci *pci)
{
	/* pairs with mdev_pci_shut() */
	if (unlikely(atomic_dec_return(&pci->active) == MDEV_PCI_SHUT))
		wake_up_var(&pci->active);
}

/* If this returns true, the device is not stopped for migration before mdev_pci_leave(). */
static inline bool mdev_pci_enter(struct mdev_pci *pci)
{
	if (likely(atomic_inc_return(&pci->active) > 0))
		return true;
	mdev_pci_leave(pci);
	return false;
}

/* mdev_pci_table.c */
int mdev_pci_check_desc(struct device *dev, const struct mdev_pci_desc *desc);
int mdev_pci_config_init(struct mdev_pci *pci);
void mdev_pci_config_exit(struct mdev_pci *pci);

/* mdev_pci_config.c */
u32 mdev_pci_config_get(const struct mdev_pci *pci, unsigned int offset,
			unsigned int width);
void mdev_pci_config_put(struct mdev_pci *pci, unsigned int offset,
			 unsigned int width, u32 val);
void mdev_pci_config_decode(struct mdev_pci *pci);
void mdev_pci_config_reset(struct mdev_pci *pci);
void mdev_pci_config_save(struct mdev_pci *pci, u8 *to);
bool mdev_pci_config_valid(const struct mdev_pci *pci, const u8 *from);
void mdev_pci_config_load(struct mdev_pci *pci, const u8 *from);

/* mdev_pci_irq.c */
int mdev_pci_irq_init(struct mdev_pci *pci);
void mdev_pci_irq_exit(struct mdev_pci *pci);
void mdev_pci_irq_release(struct mdev_pci *pci);
void mdev_pci_irq_reset(struct mdev_pci *pci);
void mdev_pci_irq_hold_back(struct mdev_pci *pci, bool hold_back);
void mdev_pci_irq_update(struct mdev_pci *pci);
long mdev_pci_get_irq_info(struct mdev_pci *pci, void __user *arg);
long mdev_pci_set_irqs(struct mdev_pci *pci, void __user *arg);
int mdev_pci_signal_request(struct mdev_pci *pci);

/* mdev_pci_dma.c */
void mdev_pci_dma_init(struct mdev_pci *pci);
void mdev_pci_unpin_all(struct mdev_pci *pci);

/* mdev_pci_region.c */
int mdev_pci_ram_open(struct mdev_pci *pci);
void mdev_pci_ram_reset(struct mdev_pci *pci);
void mdev_pci_ram_release(struct mdev_pci *pci);
void mdev_pci_revoke_bars(struct mdev_pci *pci);
ssize_t mdev_pci_region_access(struct mdev_pci *pci, u64 index, u64 offset,
			       char __user *buf, size_t count, bool write);

/* mdev_pci_access.c */
u32 mdev_pci_direct_regions(const struct mdev_pci *pci);

/* mdev_pci_migration.c */
size_t mdev_pci_state_size(const struct mdev_pci *pci);
void mdev_pci_reset_locked(struct mdev_pci *pci);

#endif /* MDEV_PCI_PRIVATE_H */
