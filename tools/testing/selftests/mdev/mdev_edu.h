/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A user of QEMU's edu, whole or shared, as the samples medu and medu_dma hand it out: its
 * registers, DMA, and interrupts. All functions return 0 or more, or a negative errno.
 */
#ifndef MDEV_EDU_H
#define MDEV_EDU_H

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "mdev_util.h"

#define PCI		"/sys/bus/pci/"

#define ID		0x00
#define LIVE		0x04
#define FACT		0x08
#define STATUS		0x20
#define   COMPUTING	0x01
#define   IRQ_FACT	0x80
#define IRQ_STATUS	0x24
#define IRQ_RAISE	0x60
#define IRQ_ACK		0x64
#define DMA_SRC		0x80
#define DMA_DST		0x88
#define DMA_COUNT	0x90
#define DMA_CMD		0x98
#define   RUN		0x01
#define   TO_RAM	0x02
#define   IRQ_DMA	0x04
#define DMA_ERROR	0xa0

#define BUFFER		0x40000ULL
#define BUFFER_SIZE	4096

#define CONFIG		((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40)
#define INTX		VFIO_PCI_INTX_IRQ_INDEX
#define MSI		VFIO_PCI_MSI_IRQ_INDEX
#define REQ		VFIO_PCI_REQ_IRQ_INDEX
#define TRIGGER		(VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD)

/* memory that the device can use, and where */
#define MEM_SIZE	(16 * 4096)
#define IOVA		0x10000000ULL

struct edu {
	struct vfio_client vc;
	int fd;
	int irq;	/* MSI */
	uint8_t *mem;
};

/* the registers below DMA_SRC have 32 bits */
static inline int reg_write(struct edu *edu, unsigned int reg, uint64_t val)
{
	int size = reg < DMA_SRC ? 4 : 8;
	int ret = vfio_write(edu->fd, &val, size, reg);

	return ret == size ? 0 : ret < 0 ? ret : -EIO;
}

static inline uint64_t reg_read(struct edu *edu, unsigned int reg)
{
	int size = reg < DMA_SRC ? 4 : 8;
	uint64_t val = 0;

	return vfio_read(edu->fd, &val, size, reg) == size ? val : UINT64_MAX;
}

static inline int config_write16(struct edu *edu, unsigned int where, uint16_t val)
{
	return vfio_write(edu->fd, &val, 2, CONFIG + where) == 2 ? 0 : -EIO;
}

static inline uint16_t config_read16(struct edu *edu, unsigned int where)
{
	uint16_t val = 0;

	vfio_read(edu->fd, &val, 2, CONFIG + where);
	return val;
}

static inline void edu_close(struct edu *edu)
{
	vfio_close(&edu->vc);
	if (edu->irq >= 0)
		close(edu->irq);
	if (edu->mem != MAP_FAILED)
		munmap(edu->mem, MEM_SIZE);
	edu->irq = -1;
	edu->mem = MAP_FAILED;
}

static inline int edu_open(struct edu *edu, const char *uuid)
{
	int ret;

	edu->irq = -1;
	edu->mem = MAP_FAILED;
	ret = vfio_open(&edu->vc, uuid);
	if (ret)
		return ret;
	edu->fd = edu->vc.device;
	edu->irq = eventfd(0, EFD_CLOEXEC);
	edu->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ret = edu->irq < 0 || edu->mem == MAP_FAILED ? -ENOMEM : 0;
	if (!ret)
		ret = vfio_dma_map(&edu->vc, edu->mem, IOVA, MEM_SIZE, true);
	if (!ret)
		ret = vfio_set_irqs(edu->fd, TRIGGER, MSI, 0, 1, &edu->irq);
	if (!ret)
		ret = config_write16(edu, PCI_COMMAND, PCI_COMMAND_MEMORY |
				     PCI_COMMAND_MASTER);
	if (ret)
		edu_close(edu);
	return ret;
}

static inline int dma_start(struct edu *edu, uint64_t src, uint64_t dst,
			    uint64_t count, uint64_t direction)
{
	int ret;

	ret = reg_write(edu, DMA_SRC, src);
	if (!ret)
		ret = reg_write(edu, DMA_DST, dst);
	if (!ret)
		ret = reg_write(edu, DMA_COUNT, count);
	if (!ret)
		ret = reg_write(edu, DMA_CMD, RUN | IRQ_DMA | direction);
	return ret;
}

/* 0, or the negative errno the device reports */
static inline int dma_wait(struct edu *edu)
{
	uint64_t status;
	int error;

	if (!eventfd_fired(edu->irq, 100000))
		return -ETIME;
	status = reg_read(edu, IRQ_STATUS);
	if (reg_read(edu, DMA_CMD) & RUN)
		return -EINPROGRESS;
	error = reg_read(edu, DMA_ERROR);
	if (status != (error ? 0x300 : 0x100))
		return -EPROTO;
	reg_write(edu, IRQ_ACK, status);
	return -error;
}

static inline int dma_from_ram(struct edu *edu, uint64_t iova, uint64_t offset,
			       uint64_t count)
{
	return dma_start(edu, iova, BUFFER + offset, count, 0) ?: dma_wait(edu);
}

static inline int dma_to_ram(struct edu *edu, uint64_t iova, uint64_t offset,
			     uint64_t count)
{
	return dma_start(edu, BUFFER + offset, iova, count, TO_RAM) ?:
	       dma_wait(edu);
}

static inline void fill(uint8_t *mem, size_t size, unsigned int seed)
{
	for (size_t i = 0; i < size; i++)
		mem[i] = rand_r(&seed) >> 8;
}

/* @count bytes from the first page to the device and back to the second */
static inline int dma_round_trip(struct edu *edu, unsigned int seed, size_t count)
{
	int ret;

	fill(edu->mem, count, seed);
	memset(edu->mem + 4096, ~seed, 4096);
	ret = dma_from_ram(edu, IOVA, 0, count);
	if (!ret)
		ret = dma_to_ram(edu, IOVA + 4096, 0, count);
	if (ret)
		return ret;
	if (memcmp(edu->mem, edu->mem + 4096, count))
		return -EBADMSG;
	/* and nothing beyond */
	if (count < 4096 && edu->mem[4096 + count] != (uint8_t)~seed)
		return -EOVERFLOW;
	return 0;
}

/* The names of those that there are, @max at most; returns how many. */
static inline int find_edus(char names[][32], int max)
{
	struct dirent *de;
	DIR *dir = opendir(PCI "devices");
	int count = 0;
	char id[16];

	while (dir && count < max && (de = readdir(dir))) {
		if (file_read(id, sizeof(id), PCI "devices/%s/vendor",
			      de->d_name) < 0 || strcmp(id, "0x1234"))
			continue;
		if (file_read(id, sizeof(id), PCI "devices/%s/device",
			      de->d_name) < 0 || strcmp(id, "0x11e8"))
			continue;
		snprintf(names[count++], 32, "%.31s", de->d_name);
	}
	if (dir)
		closedir(dir);
	return count;
}

#endif /* MDEV_EDU_H */
