// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vendor that machines in production depend on, and that nobody here wrote: vfio_ccw of
 * the kernel's source, for channel devices of s390x, on our mdev.ko. Its memory is pinned
 * for each channel program, which the hardware, or QEMU, runs on the real subchannel.
 *
 * MDEV_CCW names the device, by its bus ID: a virtio-net-ccw, of which a VMM gets the
 * subchannel (qemu -device virtio-net-ccw,devno=fe.0.1234; MDEV_CCW=0.0.1234). Without,
 * all is skipped.
 *
 * The driver may be built in, and mdev a module, which is then loaded and unloaded under it.
 *
 * QEMU does not follow a list of addresses (IDAL), which the driver makes for each command,
 * beyond its first entry in some commands, and not at all in others. So what is transferred
 * here does not cross the end of a page.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/vfio.h>
#include <linux/vfio_ccw.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"

#define CSS	"/sys/bus/css"
#define DRIVER	CSS "/drivers/vfio_ccw"
#define PENDING	"/sys/kernel/debug/mdev/pending"
#define TYPE	"vfio_ccw-io"
#define IRQ_EVENTFD	(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)
#define SIZE	(4 * PAGE)
/* below 2 GiB, as a channel program has addresses of 31 bits */
#define IOVA	0x100000u

/* channel commands: two that every device has, and virtio's (virtio 1.2, 4.3.1.2) */
#define CCW_NOP		0x03
#define CCW_SENSE_ID	0xe4
#define CCW_SET_REV	0x83
#define CCW_WRITE_CONF	0x21
#define CCW_READ_CONF	0x22
/* their flags: the next one is part of this program; a shorter answer is no error */
#define CCW_CHAIN	0x40
#define CCW_SLI		0x20

#define STATUS_END	0x0c	/* the channel and the device are through */
#define STATUS_CHECK	0x02
#define CHANNEL_CHECKS	0x3f	/* of all kinds */

/* Principles of Operation, chapter 15 */
struct ccw {
	uint8_t command;
	uint8_t flags;
	uint16_t count;
	uint32_t address;
};

struct orb {
	uint32_t parameter;
	uint32_t control;
	uint32_t program;
};

#define ORB_FORMAT_1	0x00800000u
#define ORB_PREFETCH	0x00400000u
#define ORB_ALL_PATHS	0x0000ff00u
#define SCSW_START	0x00004000u

struct status {
	uint32_t control;
	uint32_t address;
	uint8_t device;
	uint8_t channel;
	uint16_t left;
};

FIXTURE(ccw) {
	char subchannel[32];
	char parent[64];
	char create[128];
	char uuid[UUID_LEN + 1];
	struct vfio_client vc;
	uint8_t *mem;
	int done;
	uint64_t region;
};

/* the driver and mdev are there before anyone loads them */
static bool builtin, mdev_builtin;

static __attribute__((constructor)) void look(void)
{
	builtin = file_exists(DRIVER) && !module_loaded("vfio_ccw");
	mdev_builtin = file_exists("/sys/bus/mdev") && !module_loaded("mdev");
}

static int load(void)
{
	if (!builtin)
		return module_load("vfio_ccw");
	return mdev_builtin ? 0 : module_load("mdev");
}

/* which subchannel has the device? */
static int find(const char *device, char *name, size_t size)
{
	struct dirent *de;
	char id[32];
	int ret = -ENODEV;
	DIR *dir;

	dir = opendir(CSS "/devices");
	while (dir && ret && (de = readdir(dir)))
		if (file_read(id, sizeof(id), CSS "/devices/%s/dev_busid",
			      de->d_name) > 0 && !strcmp(id, device)) {
			snprintf(name, size, "%.*s", (int)size - 1, de->d_name);
			ret = 0;
		}
	if (dir)
		closedir(dir);
	return ret;
}

/*
 * With io_subchannel, the kernel brings the device online by itself, later. If another driver
 * has the subchannel by then, its data are taken for those of io_subchannel.
 */
static int rebind(const char *subchannel, const char *driver)
{
	char old[64];

	if (!link_base(old, sizeof(old), CSS "/devices/%s/driver", subchannel) &&
	    !strcmp(old, "io_subchannel") &&
	    !wait_for(file_read_int("/sys/bus/ccw/devices/%s/online",
				    getenv("MDEV_CCW")) == 1))
		return -ETIMEDOUT;
	if (file_exists(CSS "/devices/%s/driver", subchannel))
		file_write(subchannel, CSS "/devices/%s/driver/unbind", subchannel);
	return driver ? file_write(subchannel, CSS "/drivers/%s/bind", driver) : 0;
}

static int type_create(const char *path, const char *uuid)
{
	return file_write(uuid, "%s/create", path);
}

FIXTURE_SETUP(ccw)
{
	const char *device = getenv("MDEV_CCW");

	if (!device)
		SKIP(return, "no channel device: MDEV_CCW");
	self->done = -1;
	ASSERT_EQ(0, modules_reset());
	ASSERT_EQ(0, module_load("vfio_iommu_type1"));
	ASSERT_EQ(0, load());
	ASSERT_EQ(0, find(device, self->subchannel, sizeof(self->subchannel)));
	ASSERT_EQ(0, rebind(self->subchannel, "vfio_ccw"));
	snprintf(self->parent, sizeof(self->parent), CSS "/devices/%s",
		 self->subchannel);
	snprintf(self->create, sizeof(self->create), "%s/mdev_supported_types/" TYPE,
		 self->parent);
	uuid_next(self->uuid);
	self->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
}

FIXTURE_TEARDOWN(ccw)
{
	if (!getenv("MDEV_CCW"))
		return;
	EXPECT_EQ(0, rebind(self->subchannel, "io_subchannel"));
	EXPECT_EQ(0, modules_reset());
	EXPECT_EQ(0, mdev_leftovers());
	close(self->done);
	munmap(self->mem, SIZE);
}

/* open the device, with memory and an eventfd for what has ended */
#define open_device() ({							\
	struct vfio_region_info _info;						\
	ASSERT_EQ(0, type_create(self->create, self->uuid));				\
	ASSERT_EQ(0, vfio_open(&self->vc, self->uuid));				\
	ASSERT_EQ(0, vfio_dma_map(&self->vc, self->mem, IOVA, SIZE, true));	\
	ASSERT_EQ(0, vfio_region(self->vc.device,				\
				 VFIO_CCW_CONFIG_REGION_INDEX, &_info));	\
	ASSERT_EQ(sizeof(struct ccw_io_region), _info.size);			\
	self->region = _info.offset;						\
	self->done = eventfd(0, 0);						\
	ASSERT_EQ(0, vfio_set_irqs(self->vc.device, IRQ_EVENTFD,		\
				   VFIO_CCW_IO_IRQ_INDEX, 0, 1, &self->done)); })

/* vfio_ccw keeps an eventfd for ever unless it is told to forget it */
#define forget_eventfd(index) ({						\
	int32_t _none = -1;							\
	EXPECT_EQ(0, vfio_set_irqs(self->vc.device, IRQ_EVENTFD, index, 0, 1,	\
				   &_none)); })

#define close_device() ({							\
	forget_eventfd(VFIO_CCW_IO_IRQ_INDEX);					\
	vfio_close(&self->vc);							\
	EXPECT_EQ(0, mdev_remove(self->uuid)); })

/*
 * Run the channel program that is at the beginning of the memory, and wait for its end.
 * What the driver answered, and the status that came with the interrupt.
 */
static int run(struct _test_data_ccw *self, struct status *status)
{
	struct ccw_io_region io = {};
	struct orb *orb = (void *)io.orb_area;
	struct status *scsw = (void *)io.scsw_area;
	int ret;

	orb->control = htobe32(ORB_FORMAT_1 | ORB_PREFETCH | ORB_ALL_PATHS);
	orb->program = htobe32(IOVA);
	scsw->control = htobe32(SCSW_START);
	ret = vfio_write(self->vc.device, &io, sizeof(io), self->region);
	if (ret < 0)
		return ret;
	if (ret != sizeof(io))
		return -EIO;
	if (!eventfd_fired(self->done, WAIT_MS))
		return -ETIMEDOUT;
	ret = vfio_read(self->vc.device, &io, sizeof(io), self->region);
	memcpy(status, io.irb_area, sizeof(*status));
	return ret < 0 ? ret : (int)io.ret_code;
}

static void command(struct _test_data_ccw *self, int n, uint8_t command,
		    uint8_t flags, uint16_t count, uint32_t offset)
{
	struct ccw *ccw = (struct ccw *)self->mem + n;

	ccw->command = command;
	ccw->flags = flags;
	ccw->count = htobe16(count);
	ccw->address = htobe32(IOVA + offset);
}

TEST_F(ccw, type)
{
	char text[64];

	ASSERT_LT(0, file_read(text, sizeof(text), "%s/device_api", self->create));
	EXPECT_STREQ("vfio-ccw", text);
	EXPECT_EQ(1, file_read_int("%s/available_instances", self->create));
	ASSERT_EQ(0, type_create(self->create, self->uuid));
	EXPECT_EQ(0, file_read_int("%s/available_instances", self->create));
	ASSERT_EQ(0, mdev_driver_name(self->uuid, text, sizeof(text)));
	EXPECT_STREQ("vfio_ccw_mdev", text);
	EXPECT_FALSE(module_loaded("vfio_mdev"));
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(1, file_read_int("%s/available_instances", self->create));
}

TEST_F(ccw, quota)
{
	char other[UUID_LEN + 1];

	uuid_next(other);
	ASSERT_EQ(0, type_create(self->create, self->uuid));
	EXPECT_EQ(-EEXIST, type_create(self->create, self->uuid));
	EXPECT_EQ(-EUSERS, type_create(self->create, other));
	EXPECT_FALSE(mdev_exists(other));
	EXPECT_EQ(0, mdev_remove(self->uuid));
	EXPECT_EQ(0, type_create(self->create, other));
}

TEST_F(ccw, sense_id)
{
	/* by virtio's own type, and its model is a network card */
	static const uint8_t virtio[] = { 0xff, 0x38, 0x32, 1 };
	struct status status;
	int i, j;

	open_device();
	for (i = 0; i < 100; i++) {
		memset(self->mem, 0x55, SIZE);
		command(self, 0, CCW_NOP, CCW_CHAIN | CCW_SLI, 1, PAGE);
		command(self, 1, CCW_SENSE_ID, CCW_CHAIN | CCW_SLI, 7, PAGE + 8 * i);
		command(self, 2, CCW_SENSE_ID, CCW_SLI, 7, 2 * PAGE + 8 * i);
		ASSERT_EQ(0, run(self, &status));
		EXPECT_EQ(STATUS_END, status.device);
		EXPECT_EQ(0, status.channel & CHANNEL_CHECKS);
		for (j = PAGE; j <= 2 * PAGE; j += PAGE) {
			EXPECT_EQ(0, memcmp(self->mem + j + 8 * i, virtio,
					    sizeof(virtio)));
			EXPECT_EQ(0x55, self->mem[j + 8 * i - 1]);
			EXPECT_EQ(0x55, self->mem[j + 8 * i + 7]);
		}
	}
	close_device();
}

TEST_F(ccw, write_and_read)
{
	struct status status;
	uint8_t mac[6];
	int i;

	open_device();
	/* revision 0 */
	memset(self->mem, 0, SIZE);
	command(self, 0, CCW_SET_REV, CCW_SLI, 4, PAGE);
	ASSERT_EQ(0, run(self, &status));
	EXPECT_EQ(STATUS_END, status.device);
	/* it is chosen once: what the device has to complain of arrives, too */
	ASSERT_EQ(0, run(self, &status));
	EXPECT_EQ(STATUS_CHECK, status.device & STATUS_CHECK);
	for (i = 0; i < 10; i++) {
		memset(mac, 2 * i, sizeof(mac));
		memcpy(self->mem + 2 * PAGE, mac, sizeof(mac));
		command(self, 0, CCW_WRITE_CONF, CCW_CHAIN | CCW_SLI, sizeof(mac),
			2 * PAGE);
		command(self, 1, CCW_READ_CONF, CCW_SLI, sizeof(mac), 3 * PAGE);
		ASSERT_EQ(0, run(self, &status));
		EXPECT_EQ(STATUS_END, status.device);
		EXPECT_EQ(0, memcmp(self->mem + 3 * PAGE, mac, sizeof(mac)));
	}
	close_device();
}

/* what the client has not given is not reached */
TEST_F(ccw, not_mapped)
{
	struct status status;

	open_device();
	command(self, 0, CCW_SENSE_ID, CCW_SLI, 32, SIZE);
	EXPECT_EQ(-EINVAL, run(self, &status));
	EXPECT_FALSE(eventfd_fired(self->done, 100));
	/* and all is well again */
	command(self, 0, CCW_SENSE_ID, CCW_SLI, 32, PAGE);
	ASSERT_EQ(0, run(self, &status));
	EXPECT_EQ(STATUS_END, status.device);
	ASSERT_EQ(0, vfio_dma_unmap(&self->vc, IOVA, SIZE));
	EXPECT_EQ(-EINVAL, run(self, &status));
	EXPECT_FALSE(eventfd_fired(self->done, 100));
	close_device();
}

TEST_F(ccw, unbind_and_bind)
{
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, type_create(self->create, self->uuid));
		ASSERT_EQ(0, rebind(self->subchannel, NULL));
		EXPECT_FALSE(mdev_exists(self->uuid));
		EXPECT_FALSE(file_exists("%s/mdev_supported_types", self->parent));
		ASSERT_EQ(0, rebind(self->subchannel, "vfio_ccw"));
		EXPECT_EQ(1, file_read_int("%s/available_instances", self->create));
	}
}

/* the owner is asked, and waited for */
TEST_F(ccw, unbind_while_open)
{
	int asked = eventfd(0, 0);
	struct status status;
	pid_t pid;

	open_device();
	ASSERT_EQ(0, vfio_set_irqs(self->vc.device, IRQ_EVENTFD,
				   VFIO_CCW_REQ_IRQ_INDEX, 0, 1, &asked));
	if (!builtin)
		EXPECT_EQ(-EAGAIN, module_unload("vfio_ccw"));
	pid = file_write_child(self->subchannel, DRIVER "/unbind");
	EXPECT_TRUE(eventfd_fired(asked, WAIT_MS));
	EXPECT_TRUE(child_blocks(pid));
	command(self, 0, CCW_SENSE_ID, CCW_SLI, 32, PAGE);
	EXPECT_EQ(0, run(self, &status));
	EXPECT_EQ(STATUS_END, status.device);
	forget_eventfd(VFIO_CCW_IO_IRQ_INDEX);
	forget_eventfd(VFIO_CCW_REQ_IRQ_INDEX);
	vfio_close(&self->vc);
	EXPECT_EQ(0, child_wait(pid));
	EXPECT_FALSE(mdev_exists(self->uuid));
	close(asked);
}

TEST_F(ccw, unload)
{
	int i;

	if (builtin)
		SKIP(return, "the driver is built in");
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, type_create(self->create, self->uuid));
		ASSERT_EQ(0, module_unload("vfio_ccw"));
		EXPECT_FALSE(mdev_exists(self->uuid));
		EXPECT_EQ(0, module_unload("mdev"));
		ASSERT_EQ(0, module_load("vfio_ccw"));
		ASSERT_EQ(0, rebind(self->subchannel, "vfio_ccw"));
	}
}

static bool is_pending(const char *kind, const char *name)
{
	char text[4096], line[128];

	snprintf(line, sizeof(line), "%s %s pending", kind, name);
	return file_read(text, sizeof(text), PENDING) >= 0 && strstr(text, line);
}

/* the driver has the subchannel before mdev is there, and when it is gone again */
TEST_F(ccw, late)
{
	struct status status;
	int i;

	if (!builtin || mdev_builtin)
		SKIP(return, "not built in with mdev as a module");
	ASSERT_EQ(0, rebind(self->subchannel, NULL));
	ASSERT_EQ(0, module_unload("mdev"));
	ASSERT_EQ(0, rebind(self->subchannel, "vfio_ccw"));
	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(is_pending("driver", "vfio_ccw_mdev"));
		EXPECT_TRUE(is_pending("parent", self->subchannel));
		EXPECT_FALSE(file_exists("%s", self->create));
		ASSERT_EQ(0, module_load("mdev"));
		EXPECT_FALSE(is_pending("driver", "vfio_ccw_mdev"));
		EXPECT_FALSE(is_pending("parent", self->subchannel));
		open_device();
		command(self, 0, CCW_SENSE_ID, CCW_SLI, 32, PAGE);
		ASSERT_EQ(0, run(self, &status));
		EXPECT_EQ(STATUS_END, status.device);
		EXPECT_EQ(0xff, self->mem[PAGE]);
		close_device();
		close(self->done);
		ASSERT_EQ(0, module_unload("mdev"));
	}
	ASSERT_EQ(0, module_load("mdev"));
}

TEST_HARNESS_MAIN
