// SPDX-License-Identifier: GPL-2.0-only
/*
 * What runs in an inner guest to use a mediated medu (see tools/clients/clients): a
 * program that has the card's registers mapped and its interrupt by uio.
 *
 *   inner_medu fact   factorials, compared with those of a processor
 *   inner_medu dma    memory to the card's buffer, and back to other memory
 *
 * The registers are described in samples/medu.h.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../samples/medu.h"

#define DEVICE		"/sys/class/uio/uio0/device"
#define PAGE		MEDU_BUFFER_SIZE
/* of a page: the edu of older QEMUs does not reach the end of its buffer */
#define MOVED		(PAGE - 8)
#define PAGES		16

/* of the configuration space */
#define COMMAND		0x04
#define   COMMAND_MEMORY	0x0002
#define   COMMAND_MASTER	0x0004

static uint8_t *bar;
static int config, uio;
static unsigned int interrupts;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Atomic, so that the compiler does each access once, as a whole, in order. */
static uint32_t get(unsigned int where)
{
	return __atomic_load_n((uint32_t *)(bar + where), __ATOMIC_SEQ_CST);
}

static void set(unsigned int where, uint32_t val)
{
	__atomic_store_n((uint32_t *)(bar + where), val, __ATOMIC_RELEASE);
}

static void set_wide(unsigned int where, uint64_t val)
{
	__atomic_store_n((uint64_t *)(bar + where), val, __ATOMIC_RELEASE);
}

/* The kernel disables INTx each time there was one; this enables it again. */
static void enable(void)
{
	uint16_t command = COMMAND_MEMORY | COMMAND_MASTER;

	if (pwrite(config, &command, sizeof(command), COMMAND) != sizeof(command))
		fail("configuration space");
}

static void open_card(void)
{
	int fd = open(DEVICE "/resource0", O_RDWR);

	config = open(DEVICE "/config", O_RDWR);
	uio = open("/dev/uio0", O_RDWR);
	if (fd < 0 || config < 0 || uio < 0)
		fail(DEVICE);
	bar = mmap(NULL, MEDU_BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bar == MAP_FAILED)
		fail("registers");
	enable();
	if (get(MEDU_ID) != MEDU_ID_VALUE) {
		printf("this is no edu: %x\n", get(MEDU_ID));
		exit(1);
	}
}

/* Wait for the interrupt, which has to be for this. */
static void wait_irq(uint32_t why)
{
	struct pollfd pollfd = { .fd = uio, .events = POLLIN };
	uint32_t count, status;

	if (poll(&pollfd, 1, 60000) != 1) {
		printf("no interrupt, status %x\n", get(MEDU_IRQ_STATUS));
		exit(1);
	}
	if (read(uio, &count, sizeof(count)) != sizeof(count))
		fail("uio");
	interrupts++;
	status = get(MEDU_IRQ_STATUS);
	if (status != why) {
		printf("interrupt for %x, not %x\n", status, why);
		exit(1);
	}
	set(MEDU_IRQ_ACK, status);
	enable();
}

static int fact(void)
{
	uint32_t n, expect = 1;

	set(MEDU_STATUS, MEDU_STATUS_IRQ);
	/* from 13 on they are cut to 32 bits, here as there */
	for (n = 0; n <= 20; n++) {
		expect *= n ? n : 1;
		set(MEDU_FACT, n);
		wait_irq(MEDU_IRQ_FACT);
		if (get(MEDU_STATUS) & MEDU_STATUS_COMPUTING || get(MEDU_FACT) != expect) {
			printf("%u! is %u, not %u\n", n, expect, get(MEDU_FACT));
			return 1;
		}
	}
	printf("factorials: %u are right, %u interrupts\n", n, interrupts);
	return 0;
}

/* The guest's physical address of a page. */
static uint64_t physical(const void *page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	if (fd < 0 || pread(fd, &entry, sizeof(entry),
			    (uintptr_t)page / PAGE * sizeof(entry)) < 0)
		fail("pagemap");
	close(fd);
	if (!(entry >> 63)) {
		printf("page %p is not present\n", page);
		exit(1);
	}
	return (entry & ((1ULL << 55) - 1)) * PAGE;
}

static void transfer(uint64_t src, uint64_t dst, uint32_t direction)
{
	set_wide(MEDU_DMA_SRC, src);
	set_wide(MEDU_DMA_DST, dst);
	set_wide(MEDU_DMA_COUNT, MOVED);
	set_wide(MEDU_DMA_CMD, MEDU_DMA_RUN | MEDU_DMA_IRQ | direction);
	wait_irq(MEDU_IRQ_DMA);
	if (get(MEDU_DMA_ERROR)) {
		printf("DMA: error %u\n", get(MEDU_DMA_ERROR));
		exit(1);
	}
}

static int dma(void)
{
	size_t size = PAGES * PAGE, i;
	uint8_t *from, *to;

	from = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (from == MAP_FAILED || mlock(from, 2 * size))
		fail("memory");
	to = from + size;
	for (i = 0; i < size; i++)
		from[i] = i * 7 + i / PAGE + 1;
	for (i = 0; i < size; i += PAGE) {
		transfer(physical(from + i), MEDU_BUFFER, 0);
		transfer(MEDU_BUFFER, physical(to + i), MEDU_DMA_TO_RAM);
	}
	for (i = 0; i < size; i++) {
		if (i % PAGE < MOVED ? from[i] != to[i] : to[i]) {
			printf("byte %zu is %x, not %x\n", i, to[i], from[i]);
			return 1;
		}
	}
	printf("DMA: %u bytes there and back, %u interrupts\n", PAGES * MOVED,
	       interrupts);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";

	if (strcmp(what, "fact") && strcmp(what, "dma")) {
		fprintf(stderr, "usage: %s fact|dma\n", argv[0]);
		return 2;
	}
	open_card();
	return strcmp(what, "dma") ? fact() : dma();
}
