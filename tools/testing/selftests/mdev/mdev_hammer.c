// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything against everything, checked by a model that runs along.
 *
 * Threads, and processes that are killed, do at random all that can be done to
 * mediated devices. What thread T does as its operation N is a function of the
 * seed, T and N alone, so a seed replays, as far as a scheduler lets it.
 *
 * Operations overlap, so the model knows bounds: what the world may have been at
 * any time while an operation ran. There is a bit for each thing that may have
 * been so, and one for its contrary; see "facts" below. Each result has a rule
 * that says which of them it needs. "May" is kept small: as nobody else did
 * anything to a device in between, it must be there, and must open. Every few
 * hundred operations all threads stop, all that they hold is closed, and sysfs
 * must be exactly what the model says.
 *
 * Nobody who can wait for a device to be closed has one open. So all waits end.
 *
 * Some variants are about the client's memory. Each thread has its own in each
 * container, where it lets devices of all threads pin and write to it, and takes it
 * back: what they pin is that memory or, if a vendor forgets to unpin, nobody's.
 *
 * MDEV_SEED, MDEV_THREADS, and MDEV_SECONDS for all variants together, change
 * what is run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "mdev_util.h"
#include "mdev_dma.h"
#include "mdev_log.h"

#define UUIDS		12
#define MAX_THREADS	16
#define SLOTS		3	/* devices that a thread has open at a time */
#define SPACES		(MAX_THREADS * (SLOTS + 1))
#define FILES		3	/* files in sysfs that it has open */
#define ROUND		240	/* operations until all threads stop */
#define INSTANCES	4
#define STUCK		150	/* seconds without any progress */
#define MORE		10	/* rounds, if something has not come about */

/* Of a mapping: what others pin and write to, and what nobody but its owner does. */
#define OURS		4
#define FOREIGN		2
#define NPAGES		(OURS + FOREIGN)
#define MEMORY		(NPAGES * PAGE)

/* the part of a device's address space that the threads use together */
#define LOGGED		((MAX_THREADS + 1ULL) << 20)

/* ---- The world ---- */

enum vendor { MNULL, DMA, VENDORS };

static struct vendor_module {
	const char *name;
	char path[PATH_MAX];
	const char *args;
	bool loaded;
	pthread_rwlock_t lock;		/* written: it is being loaded */
	pthread_mutex_t unload;
} vendors[VENDORS] = {
	[MNULL]	= { .name = "mnull" },
	[DMA]	= { .name = "mdev_test_dma", .args = "" },
};

static struct vendor_module bridge_module = {
	.name = "vfio_mdev",
	.args = "",
	.lock = PTHREAD_RWLOCK_INITIALIZER,
};

/*
 * A parent. @gen changes when it begins to be registered and when that is over,
 * so whoever opens a file of it between two equal readings knows of which
 * registration that is. @count is what completed operations say of this one: how
 * often more a UUID was created than removed.
 */
static struct parent {
	const char *name;
	enum vendor vendor;
	const char *types[2];
	bool has_class_file;		/* "registered" */
	bool modern;
	bool request;
	int quota;
	int gen;
	bool registered;
	int count[UUIDS];
	pthread_mutex_t lock;		/* one registration at a time */
} parents[] = {
	{ .name = "mnull0", .vendor = MNULL, .has_class_file = true,
	  .types = { "mnull0/mnull-1", "mnull0/mnull-2" } },
	{ .name = "mnull1", .vendor = MNULL, .has_class_file = true,
	  .types = { "mnull1/mnull-1", "mnull1/mnull-2" } },
	{ .name = "mdev_test_dma", .vendor = DMA,
	  .types = { "mdev_test_dma/platform-dma",
		     "mdev_test_dma/platform-dma" } },
};

#define PARENTS		((int)ARRAY_SIZE(parents))

static char uuids[UUIDS][UUID_LEN + 1];
static bool iommufd;			/* open by iommufd, not by group */
static bool memory;			/* this is about the client's memory */

/*
 * An address space: a container, or an IOAS. Each thread maps memory of its own there,
 * and nobody else unmaps that, but with the lock written. So no two unmap the same:
 * VFIO's type1 looks at what it asks the second device about after the first one's
 * answer, when another thread may have freed it.
 */
struct space {
	unsigned int users;		/* devices in it, and threads that use them */
	unsigned long serial;		/* changes when all is unmapped; unique */
	pthread_rwlock_t lock;
	atomic_int going;		/* whose memory is being unmapped, or -1 */
	atomic_uint unmaps;		/* odd: only of what is going, which runs */
	atomic_int uuid;		/* of a device that it concerns */
	atomic_uint told;		/* how often that was told before */
} spaces[SPACES];

/* A device that somebody has open, in this process or in a child. */
struct hold {
	enum { FREE, HELD, CLOSING } state;
	bool child;
	int uuid;
	int parent;
	struct vfio_client vc;
	struct space *space;		/* NULL: a child's */
};

/* ---- Facts: what may have been so at any time while an operation ran ---- */

#define LIVE		0x000001	/* there is a device of that UUID */
#define ABSENT		0x000002	/* there is none */
#define RESERVED	0x000004	/* somebody else is creating it */
#define CLASSIC		0x000008	/* it is of the classic door */
#define MODERN		0x000010	/* it is of the modern one */
#define OPEN		0x000020	/* somebody has it open */
#define CLOSED		0x000040	/* nobody has */
#define UNBOUND		0x000080	/* it has no driver */
#define STRAY		0x000100	/* somebody else is opening something */
#define HERE		0x000200	/* the parent is registered */
#define AWAY		0x000400	/* it is not, or about to be or not to be */
#define FULL		0x000800	/* it has no instances left */
#define ROOM		0x001000	/* it has */
#define CAN_ASK		0x002000	/* its vendor supports hot-unplug */
#define CANNOT_ASK	0x004000	/* it does not */
#define LOADED		0x008000	/* the vendor's module */
#define UNLOADED	0x010000
#define SOME_OPEN	0x020000	/* of this parent, vendor, or any at all */
#define ALL_CLOSED	0x040000
#define BRIDGE		0x080000	/* it is loaded */
#define NO_BRIDGE	0x100000	/* it is not */
#define BRIDGE_UP	0x200000	/* somebody else loads it */
#define BRIDGE_DOWN	0x400000	/* somebody else unloads it */
#define ARMED		0x800000	/* a signal is to come */

static const char * const fact_names[] = {
	"live", "absent", "reserved", "classic", "modern", "open", "closed",
	"unbound", "stray", "here", "away", "full", "room", "can-ask",
	"cannot-ask", "loaded", "unloaded", "some-open", "all-closed", "bridge",
	"no-bridge", "bridge-up", "bridge-down", "armed",
};

enum kind {
	CREATE, CREATE_BAD, REMOVE, OPEN_DEV, CLOSE_DEV, USE_DEV, AVAILABLE,
	UNBIND, BIND, LOOK, KEEP_FILE, REGISTER, UNREGISTER, LOAD, UNLOAD,
	BRIDGE_LOAD, BRIDGE_UNLOAD, KINDS
};

static const char * const kind_names[KINDS] = {
	"create", "bad create", "remove", "open", "close", "use", "available",
	"unbind", "bind", "look", "keep file", "register", "unregister", "load",
	"unload", "load bridge", "unload bridge",
};

/* A result is legal if one of @any, if there are such, and all of @all may be. */
static struct rule {
	enum kind kind;
	int error;
	unsigned int any;
	unsigned int all;
	unsigned long seen;
} rules[] = {
	{ CREATE, 0, 0, ABSENT | HERE | ROOM },
	{ CREATE, EEXIST, LIVE | RESERVED, HERE },
	{ CREATE, EUSERS, 0, FULL | HERE },
	{ CREATE, ENODEV, AWAY, 0 },
	{ CREATE, ENOENT, AWAY, 0 },

	{ CREATE_BAD, EINVAL, 0, HERE },
	{ CREATE_BAD, ENODEV, AWAY, 0 },
	{ CREATE_BAD, ENOENT, AWAY, 0 },

	{ REMOVE, 0, 0, LIVE | CLOSED },
	{ REMOVE, EBUSY, 0, LIVE | OPEN | CANNOT_ASK },
	{ REMOVE, EINTR, 0, LIVE | OPEN | CAN_ASK | ARMED },
	/* while the driver is unbound: on a busy host, or if VFIO holds it, that takes time */
	{ REMOVE, EINTR, 0, LIVE | CLOSED | ARMED },
	{ REMOVE, EAGAIN, RESERVED | UNBOUND, 0 },
	{ REMOVE, ENODEV, ABSENT | UNBOUND, 0 },
	{ REMOVE, ENOENT, ABSENT, 0 },

	/* ENXIO: it went after its node was found; EPERM, EINVAL: out of its group */
	{ OPEN_DEV, 0, 0, CLASSIC | CLOSED | BRIDGE },
	{ OPEN_DEV, EBUSY, OPEN | STRAY, 0 },
	{ OPEN_DEV, EINVAL, ABSENT | UNBOUND | NO_BRIDGE | OPEN | STRAY, 0 },
	{ OPEN_DEV, ENODEV, ABSENT | UNBOUND | NO_BRIDGE | MODERN, 0 },
	{ OPEN_DEV, ENOENT, ABSENT | UNBOUND | NO_BRIDGE | MODERN, 0 },
	{ OPEN_DEV, ENXIO, ABSENT | UNBOUND | NO_BRIDGE | MODERN, 0 },
	{ OPEN_DEV, EPERM, ABSENT | UNBOUND | NO_BRIDGE | MODERN, 0 },

	{ CLOSE_DEV, 0, 0, 0 },
	{ USE_DEV, 0, 0, 0 },
	{ LOOK, 0, 0, 0 },
	{ KEEP_FILE, 0, 0, HERE },
	{ KEEP_FILE, ENOENT, AWAY, 0 },
	{ KEEP_FILE, ENODEV, AWAY, 0 },

	{ AVAILABLE, 0, 0, HERE },
	{ AVAILABLE, ENODEV, AWAY, 0 },
	{ AVAILABLE, ENOENT, AWAY, 0 },

	{ UNBIND, 0, 0, CLASSIC | BRIDGE },
	{ UNBIND, ENODEV, ABSENT | UNBOUND | NO_BRIDGE | MODERN, 0 },
	{ UNBIND, ENOENT, NO_BRIDGE, 0 },

	{ BIND, 0, 0, CLASSIC | BRIDGE | UNBOUND },
	{ BIND, EBUSY, LIVE, 0 },
	{ BIND, ENODEV, ABSENT | NO_BRIDGE | MODERN, 0 },
	{ BIND, ENOENT, NO_BRIDGE, 0 },

	{ REGISTER, 0, 0, LOADED | AWAY },
	{ REGISTER, EEXIST, 0, HERE },
	{ REGISTER, ENODEV, UNLOADED, 0 },
	{ REGISTER, ENOENT, UNLOADED, 0 },

	{ UNREGISTER, 0, 0, LOADED | ALL_CLOSED },
	{ UNREGISTER, ENODEV, UNLOADED, 0 },
	{ UNREGISTER, ENOENT, UNLOADED, 0 },

	{ LOAD, 0, 0, UNLOADED },
	{ LOAD, EEXIST, 0, LOADED },

	{ UNLOAD, 0, 0, LOADED | ALL_CLOSED },
	{ UNLOAD, EAGAIN, 0, SOME_OPEN },
	{ UNLOAD, ENOENT, 0, UNLOADED },

	{ BRIDGE_LOAD, 0, 0, NO_BRIDGE },
	{ BRIDGE_LOAD, EEXIST, BRIDGE, 0 },
	/* the same module was being loaded, or unloaded */
	{ BRIDGE_LOAD, EBUSY, BRIDGE_UP | BRIDGE_DOWN, 0 },

	{ BRIDGE_UNLOAD, 0, 0, BRIDGE | ALL_CLOSED },
	{ BRIDGE_UNLOAD, EAGAIN, 0, SOME_OPEN },
	{ BRIDGE_UNLOAD, ENOENT, NO_BRIDGE, 0 },
	{ BRIDGE_UNLOAD, EBUSY, BRIDGE_UP | BRIDGE_DOWN, 0 },
};

/*
 * An operation. @uuid, @parent: what it is about, or -1. @gen: the registration
 * that its file is of, or -1. @may, @used_min, @used_max: facts.
 */
struct op {
	bool active;
	enum kind kind;
	unsigned int thread;
	unsigned int number;
	int uuid;
	int parent;
	int gen;
	enum vendor vendor;
	bool armed;
	unsigned int may;
	int used_min;
	int used_max;
};

static struct {
	pthread_mutex_t lock;		/* protects this, parents, holds */
	struct op *ops[MAX_THREADS];	/* what each thread is at */
	struct hold holds[MAX_THREADS * SLOTS];
	unsigned int bridge;		/* BRIDGE, NO_BRIDGE, or both */
	bool unbound[UUIDS];		/* since it was seen to be bound */
	unsigned long done[KINDS];
	unsigned long checks;
	atomic_ulong kept;		/* what a vendor forgot to unpin */
	atomic_ulong logged;		/* completed use_logged() */
	unsigned long serial;
	bool failed;
	uint64_t seed;
	unsigned int threads;
} model = { .lock = PTHREAD_MUTEX_INITIALIZER };

static atomic_ulong progress;

static int uuid_index(const char *uuid)
{
	int i;

	for (i = 0; i < UUIDS; i++)
		if (!strncmp(uuid, uuids[i], UUID_LEN))
			return i;
	return -1;
}

/* What another thread does now; @i goes through all, and most do something. */
static const struct op *op_other(const struct op *self, int i)
{
	static const struct op nothing = { .kind = KINDS, .uuid = -1 };

	return model.ops[i] && model.ops[i] != self ? model.ops[i] : &nothing;
}

/* Is this about the registration that the parent has now? */
static bool op_is_of(const struct op *o, int parent)
{
	return (o->parent == parent || o->parent < 0) &&
	       (o->gen < 0 || o->gen == parents[parent].gen);
}

static bool parent_changes(const struct op *self, int parent, bool leaves_only)
{
	const struct op *o;
	int i;

	for (i = 0; i < MAX_THREADS; i++) {
		o = op_other(self, i);
		if (o->kind == UNREGISTER && o->parent == parent)
			return true;
		if (o->kind == UNLOAD && o->vendor == parents[parent].vendor)
			return true;
		if (leaves_only)
			continue;
		if (o->kind == REGISTER && o->parent == parent)
			return true;
		if (o->kind == LOAD && o->vendor == parents[parent].vendor)
			return true;
	}
	return false;
}

/* How many devices of a UUID a parent has, at least and at most. */
static void uuid_bounds(const struct op *self, int uuid, int parent, int *low,
			int *high)
{
	const struct op *o;
	int i;

	*low = parents[parent].count[uuid];
	*high = *low;
	for (i = 0; i < MAX_THREADS; i++) {
		o = op_other(self, i);
		if (o->uuid != uuid || !op_is_of(o, parent))
			continue;
		if (o->kind == CREATE)
			++*high;
		else if (o->kind == REMOVE)
			--*low;
	}
	if (*low < 0 || parent_changes(self, parent, true))
		*low = 0;
}

static unsigned int uuid_facts(const struct op *self)
{
	unsigned int may = 0;
	int p, low, high, all = 0;
	const struct op *o;
	int i;

	for (p = 0; p < PARENTS; p++) {
		/* whoever has the file of one device does not see another */
		if (self->kind == REMOVE && !op_is_of(self, p))
			continue;
		uuid_bounds(self, self->uuid, p, &low, &high);
		all += low;
		if (high > 0)
			may |= LIVE | (parents[p].modern ? MODERN : CLASSIC);
	}
	if (!all)
		may |= ABSENT;
	if (model.unbound[self->uuid])
		may |= UNBOUND;
	for (i = 0; i < MAX_THREADS; i++) {
		o = op_other(self, i);
		if (o->uuid != self->uuid)
			continue;
		if (o->kind == CREATE)
			may |= RESERVED;
		else if (o->kind == UNBIND)
			may |= UNBOUND;
	}
	return may;
}

/* Does an operation that runs have a device open for some time, or any? */
static bool op_opens(const struct op *o)
{
	return o->kind == OPEN_DEV || o->kind == USE_DEV || o->kind == CLOSE_DEV;
}

static unsigned int open_facts(const struct op *self)
{
	unsigned int may = CLOSED | ALL_CLOSED;
	const struct op *o;
	int i;

	for (i = 0; i < MAX_THREADS; i++) {
		o = op_other(self, i);
		if (!op_opens(o))
			continue;
		may |= SOME_OPEN;
		if (o->kind == OPEN_DEV)
			may |= STRAY;
		/* a node that was found may be another device's when it is opened */
		if (o->uuid == self->uuid || (iommufd && o->kind == OPEN_DEV))
			may |= OPEN;
	}
	for (i = 0; i < MAX_THREADS * SLOTS; i++) {
		struct hold *h = &model.holds[i];

		if (h->state == FREE)
			continue;
		if (h->uuid == self->uuid)
			may |= OPEN;
		if (h->uuid == self->uuid && h->state == HELD)
			may &= ~CLOSED;
		if (self->parent >= 0 && h->parent != self->parent)
			continue;
		if (self->kind == UNLOAD &&
		    parents[h->parent].vendor != self->vendor)
			continue;
		may |= SOME_OPEN;
		if (h->state == HELD)
			may &= ~ALL_CLOSED;
	}
	return may;
}

static void used_bounds(const struct op *self, int parent, int *low, int *high)
{
	int u, l, h;

	*low = 0;
	*high = 0;
	for (u = 0; u < UUIDS; u++) {
		uuid_bounds(self, u, parent, &l, &h);
		*low += l;
		*high += h > 0 ? h : 0;
	}
}

static unsigned int parent_facts(struct op *self)
{
	struct parent *p = &parents[self->parent];
	unsigned int may = p->request ? CAN_ASK : CANNOT_ASK;
	int low, high;

	if (self->gen >= 0 && self->gen != p->gen &&
	    self->kind != UNREGISTER && self->kind != REGISTER)
		return may | AWAY;

	if (parent_changes(self, self->parent, false))
		may |= HERE | AWAY;
	may |= p->registered ? HERE : AWAY;

	used_bounds(self, self->parent, &low, &high);
	if (high >= p->quota)
		may |= FULL;
	if (low < p->quota)
		may |= ROOM;
	if (low < self->used_min)
		self->used_min = low;
	if (high > self->used_max)
		self->used_max = high;
	return may;
}

static unsigned int vendor_facts(const struct op *self)
{
	unsigned int may = vendors[self->vendor].loaded ? LOADED : UNLOADED;
	const struct op *o;
	int i;

	for (i = 0; i < MAX_THREADS; i++) {
		o = op_other(self, i);
		if ((o->kind == LOAD || o->kind == UNLOAD) &&
		    o->vendor == self->vendor)
			may |= LOADED | UNLOADED;
	}
	return may;
}

static unsigned int bridge_facts(const struct op *self)
{
	unsigned int may = model.bridge;
	const struct op *o;
	int i;

	for (i = 0; i < MAX_THREADS; i++) {
		o = op_other(self, i);
		/* creating loads it, too */
		if (o->kind == BRIDGE_LOAD || o->kind == CREATE)
			may |= BRIDGE_UP | (may & NO_BRIDGE ? BRIDGE : 0);
		else if (o->kind == BRIDGE_UNLOAD)
			may |= BRIDGE_DOWN | NO_BRIDGE;
	}
	return may;
}

/* Something has changed: it may have been so for all that run. */
static void model_notice(void)
{
	struct op *o;
	int i;

	for (i = 0; i < MAX_THREADS; i++) {
		o = model.ops[i];
		if (!o)
			continue;
		o->may |= open_facts(o) | bridge_facts(o);
		if (o->uuid >= 0)
			o->may |= uuid_facts(o);
		if (o->parent >= 0)
			o->may |= parent_facts(o);
		o->may |= vendor_facts(o);
	}
}

static const char *error_name(int error)
{
	static const struct {
		int error;
		const char *name;
	} names[] = {
		{ 0, "ok" }, { EAGAIN, "EAGAIN" }, { EBUSY, "EBUSY" },
		{ EEXIST, "EEXIST" }, { EINTR, "EINTR" }, { EINVAL, "EINVAL" },
		{ ENODEV, "ENODEV" }, { ENOENT, "ENOENT" }, { ENXIO, "ENXIO" },
		{ EPERM, "EPERM" }, { EUSERS, "EUSERS" },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].error == error)
			return names[i].name;
	return "?";
}

static void print_facts(unsigned int may)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fact_names); i++)
		if (may & (1U << i))
			fprintf(stderr, " %s", fact_names[i]);
	fprintf(stderr, "\n");
}

static void print_op(const struct op *op)
{
	fprintf(stderr, "# seed %#llx, thread %u, operation %u: %s",
		(unsigned long long)model.seed, op->thread, op->number,
		kind_names[op->kind]);
	if (op->uuid >= 0)
		fprintf(stderr, " %s", uuids[op->uuid]);
	if (op->parent >= 0)
		fprintf(stderr, " of %s", parents[op->parent].name);
	if (op->kind == LOAD || op->kind == UNLOAD)
		fprintf(stderr, " %s", vendors[op->vendor].name);
}

static bool rule_holds(const struct rule *rule, unsigned int may)
{
	return (!rule->any || may & rule->any) && (may & rule->all) == rule->all;
}

/* there may be several rules for an error */
static bool legal(const struct op *op, int error)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rules); i++) {
		if (rules[i].kind != op->kind || rules[i].error != error ||
		    !rule_holds(&rules[i], op->may))
			continue;
		rules[i].seen++;
		return true;
	}
	return false;
}

static void model_fail(void)
{
	model.failed = true;
}

/* For what is wrong whatever the model says. */
static void op_fail(const struct op *op, const char *what, long got, long want)
{
	pthread_mutex_lock(&model.lock);
	print_op(op);
	fprintf(stderr, ": %s is %ld, and must be %ld\n", what, got, want);
	model_fail();
	pthread_mutex_unlock(&model.lock);
}

static void op_illegal(const struct op *op, int ret)
{
	unsigned int i;

	print_op(op);
	fprintf(stderr, ": %d (%s)\n# legal now:", ret,
		error_name(ret < 0 ? -ret : 0));
	for (i = 0; i < ARRAY_SIZE(rules); i++)
		if (rules[i].kind == op->kind && rule_holds(&rules[i], op->may))
			fprintf(stderr, " %s", error_name(rules[i].error));
	fprintf(stderr, "; as all that may have been is:");
	print_facts(op->may);
	model_fail();
}

/* What cannot be, however operations overlap. */
static void model_check(const struct op *op)
{
	int u, p, low, high, all;

	for (u = 0; u < UUIDS; u++) {
		all = 0;
		for (p = 0; p < PARENTS; p++) {
			uuid_bounds(NULL, u, p, &low, &high);
			all += low;
			if (high >= 0)
				continue;
			print_op(op);
			fprintf(stderr, ": %s was removed more often than created\n",
				uuids[u]);
			model_fail();
		}
		if (all <= 1)
			continue;
		print_op(op);
		fprintf(stderr, ": there are two devices %s\n", uuids[u]);
		model_fail();
	}
	for (p = 0; p < PARENTS; p++) {
		used_bounds(NULL, p, &low, &high);
		if (low <= parents[p].quota)
			continue;
		print_op(op);
		fprintf(stderr, ": %s has %d devices, and instances for %d\n",
			parents[p].name, low, parents[p].quota);
		model_fail();
	}
}

static void parent_gone(int parent)
{
	struct parent *p = &parents[parent];

	p->gen++;
	p->registered = false;
	memset(p->count, 0, sizeof(p->count));
}

static void vendor_effect(const struct op *op, bool loaded)
{
	int p;

	vendors[op->vendor].loaded = loaded;
	for (p = 0; p < PARENTS; p++) {
		if (parents[p].vendor != op->vendor)
			continue;
		if (loaded)
			parents[p].registered = true;
		else
			parent_gone(p);
	}
}

static void bridge_effect(const struct op *op, int ret)
{
	/* an unload that loses against a load cannot be told from one that wins */
	if (op->kind == BRIDGE_UNLOAD && !ret)
		model.bridge = op->may & BRIDGE_UP ? BRIDGE | NO_BRIDGE : NO_BRIDGE;
	else if (op->kind == BRIDGE_LOAD && (!ret || ret == -EEXIST))
		model.bridge = op->may & BRIDGE_DOWN ? BRIDGE | NO_BRIDGE : BRIDGE;
	else if (op->kind == CREATE && model.bridge & NO_BRIDGE)
		model.bridge |= BRIDGE;
}

static void op_effect(const struct op *op, int ret)
{
	struct parent *p = op->parent >= 0 ? &parents[op->parent] : NULL;

	bridge_effect(op, ret);
	/* it is bound again when it has been unbound, which may be still to come */
	if (op->kind == REMOVE && ret == -EINTR)
		model.unbound[op->uuid] = true;
	if (ret < 0)
		return;
	switch (op->kind) {
	case CREATE:
		if (op->gen == p->gen)
			p->count[op->uuid]++;
		break;
	case REMOVE:
		if (op->gen == p->gen)
			p->count[op->uuid]--;
		break;
	case REGISTER:
		if (op->gen == p->gen)
			p->registered = true;
		break;
	case UNREGISTER:
		if (op->gen == p->gen)
			parent_gone(op->parent);
		break;
	case LOAD:
	case UNLOAD:
		vendor_effect(op, op->kind == LOAD);
		break;
	default:
		break;
	}
}

/* A registration begins here: files of it are of a new generation. */
static void op_new_gen(struct op *op)
{
	int p;

	if (op->kind == REGISTER && !parents[op->parent].registered)
		parents[op->parent].gen++;
	if (op->kind == REGISTER || op->kind == UNREGISTER)
		op->gen = parents[op->parent].gen;
	if (op->kind != LOAD || vendors[op->vendor].loaded)
		return;
	for (p = 0; p < PARENTS; p++)
		if (parents[p].vendor == op->vendor)
			parents[p].gen++;
}

static void op_begin(struct op *op, enum kind kind)
{
	pthread_mutex_lock(&model.lock);
	op->kind = kind;
	op->may = op->armed ? ARMED : 0;
	op->used_min = INT_MAX;
	op->used_max = 0;
	op_new_gen(op);
	if (kind == UNBIND)
		model.unbound[op->uuid] = true;
	model.ops[op->thread] = op;
	model_notice();
	pthread_mutex_unlock(&model.lock);
}

/* The address space @space with one user more, or a new one. */
static struct space *space_get(struct space *space)
{
	pthread_mutex_lock(&model.lock);
	if (!space) {
		for (space = spaces; space->users; space++)
			;
		space->serial = ++model.serial;
	}
	space->users++;
	pthread_mutex_unlock(&model.lock);
	return space;
}

static void space_put(struct space *space)
{
	pthread_mutex_lock(&model.lock);
	space->users--;
	pthread_mutex_unlock(&model.lock);
}

/* Judge a result. @hold: what is open now, or NULL. */
static void op_end_hold(struct op *op, int ret, struct hold *hold,
			const struct hold *now)
{
	int error = ret < 0 ? -ret : 0;

	pthread_mutex_lock(&model.lock);
	if (!legal(op, error))
		op_illegal(op, ret);
	model.ops[op->thread] = NULL;
	op_effect(op, ret);
	if (hold)
		*hold = *now;
	if (!model.failed)
		model_check(op);
	model_notice();
	model.done[op->kind] += !error;
	progress++;
	pthread_mutex_unlock(&model.lock);
}

static void op_end(struct op *op, int ret)
{
	op_end_hold(op, ret, NULL, NULL);
}

/* ---- Threads ---- */

/* A file in sysfs that is kept open, whatever becomes of what it is about. */
struct kept {
	int fd;
	bool create;			/* else available_instances */
	int parent;
	int gen;
};

/* What a thread has mapped. */
struct mapping {
	unsigned long serial;		/* of the space, when it was */
	uint8_t *mem;			/* or NULL */
	uint8_t byte;			/* what is in it, but for the last pages */
};

struct worker {
	pthread_t thread;
	bool joined;
	unsigned int nr;
	struct op op;
	uint64_t rng;
	struct hold *holds;
	struct kept files[FILES];
	struct mapping maps[SPACES];
	int orders;			/* to the process that has children */
	int answers;
	timer_t timer;
};

static struct worker workers[MAX_THREADS];
static pthread_barrier_t barrier;
static bool done;			/* written while all stand at the barrier */
static long deadline;

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static unsigned int pick(struct worker *w, unsigned int n)
{
	w->rng = mix(w->rng);
	return w->rng % n;
}

static const char *pick_type(struct worker *w, int parent)
{
	return parents[parent].types[pick(w, 2)];
}

static int type_path(char *path, size_t size, const char *type, const char *file)
{
	const char *slash = strchr(type, '/');

	return snprintf(path, size, MDEV_CLASS "/%.*s/mdev_supported_types/%s/%s",
			(int)(slash - type), type, slash + 1, file);
}

static int parent_gen(int parent)
{
	int gen;

	pthread_mutex_lock(&model.lock);
	gen = parents[parent].gen;
	pthread_mutex_unlock(&model.lock);
	return gen;
}

/* Open a file of a parent, and know of which registration it is. */
static int open_of(struct op *op, const char *path, int flags)
{
	int fd, gen, tries;

	for (tries = 0; tries < 5; tries++) {
		gen = parent_gen(op->parent);
		fd = open(path, flags | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		if (gen == parent_gen(op->parent)) {
			pthread_mutex_lock(&model.lock);
			op->gen = gen;
			pthread_mutex_unlock(&model.lock);
			return fd;
		}
		close(fd);
	}
	return -ENODEV;
}

static int write_fd(int fd, const char *text)
{
	ssize_t len = strlen(text), ret = pwrite(fd, text, len, 0);

	if (ret < 0)
		return -errno;
	return ret == len ? 0 : -EIO;
}

/* ---- Children: processes that hold devices open until they are killed ---- */

struct order {
	int slot;
	int uuid;			/* -1: kill it */
};

/* The parent's index of a device in a path, or -1. */
static int device_parent(int uuid, char *path, size_t size)
{
	char link[256];
	ssize_t len;
	int p;

	snprintf(path, size, MDEV_DEVICES "/%s", uuids[uuid]);
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0)
		return -errno;
	link[len] = '\0';
	snprintf(path, size, MDEV_DEVICES "/%s", link);
	for (p = 0; p < PARENTS; p++) {
		char part[64];

		snprintf(part, sizeof(part), "/%s/", parents[p].name);
		if (strstr(link, part))
			return p;
	}
	return -EIO;
}

/* The node of vfioN may be another device's by the time it is opened. */
static bool opened_wrong(struct vfio_client *vc, int uuid)
{
	char dev[32], text[32];
	struct stat st;
	int n;

	if (vc->iommufd < 0)
		return false;
	if (fstat(vc->device, &st))
		return true;
	snprintf(dev, sizeof(dev), "%u:%u", major(st.st_rdev), minor(st.st_rdev));
	/* the numbers are reused, so they stay small */
	for (n = 0; n < 4 * UUIDS; n++)
		if (file_read(text, sizeof(text),
			      MDEV_DEVICES "/%s/vfio-dev/vfio%d/dev", uuids[uuid],
			      n) > 0)
			return strcmp(text, dev);
	return true;
}

/* @beside: whose memory it gets, or NULL */
static int open_uuid(struct vfio_client *vc, const struct vfio_client *beside,
		     int uuid)
{
	int ret = beside ? vfio_open_beside(vc, beside, uuids[uuid]) :
			   vfio_open(vc, uuids[uuid]);

	if (!ret && opened_wrong(vc, uuid)) {
		vfio_close(vc);
		ret = -ENODEV;
	}
	return ret;
}

/* What is done until the end: none of it need succeed in a child. */
static void child_loop(struct vfio_client *vc)
{
	struct test_dma_range range = { .iova = PAGE, .npage = 1, .prot = 3 };
	struct vfio_device_info info = { .argsz = sizeof(info) };
	void *mem, *map;

	mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vc->device, 0);
	for (;;) {
		vfio_ioctl(vc->device, VFIO_DEVICE_GET_INFO, &info);
		vfio_dma_map(vc, mem, PAGE, MEMORY, true);
		vfio_ioctl(vc->device, TEST_DMA_PIN, &range);
		if (map != MAP_FAILED)
			memset(map, 1, PAGE);
		sleep_ms(1);
		vfio_dma_unmap(vc, PAGE, MEMORY);
	}
}

static void child(int uuid, int answers)
{
	struct vfio_client vc;
	int ret;

	ret = open_uuid(&vc, NULL, uuid);
	if (write(answers, &ret, sizeof(ret)) != sizeof(ret) || ret)
		_exit(1);
	child_loop(&vc);
}

/* Forks children: it has no other file open, and no other thread. */
static void nursery(int orders, int answers)
{
	pid_t pids[SLOTS] = {};
	struct order order;
	int ret, i;

	while (read(orders, &order, sizeof(order)) == sizeof(order)) {
		pid_t *pid = &pids[order.slot];

		if (order.uuid < 0) {
			kill(*pid, SIGKILL);
			ret = waitpid(*pid, NULL, 0) == *pid ? 0 : -errno;
			if (write(answers, &ret, sizeof(ret)) != sizeof(ret))
				break;
			continue;
		}
		*pid = fork();
		if (!*pid)
			child(order.uuid, answers);
	}
	for (i = 0; i < SLOTS; i++)
		if (pids[i] > 0)
			kill(pids[i], SIGKILL);
	_exit(0);
}

static int give_order(struct worker *w, int slot, int uuid)
{
	struct order order = { slot, uuid };
	int ret;

	if (write(w->orders, &order, sizeof(order)) != sizeof(order) ||
	    read(w->answers, &ret, sizeof(ret)) != sizeof(ret))
		return -EPIPE;
	return ret;
}

/* ---- Operations ---- */

static void op_create(struct worker *w, int uuid, int parent, int fd, int gen)
{
	struct op *op = &w->op;
	char path[PATH_MAX];
	int ret = fd;

	op->uuid = uuid;
	op->parent = parent;
	op->gen = gen;
	op_begin(op, CREATE);
	if (fd < 0) {
		type_path(path, sizeof(path), pick_type(w, parent), "create");
		ret = open_of(op, path, O_WRONLY);
	}
	if (ret >= 0) {
		int file = ret;

		ret = write_fd(file, uuids[uuid]);
		if (fd < 0)
			close(file);
	}
	op_end(op, ret);
}

static void do_create(struct worker *w)
{
	int uuid = pick(w, UUIDS), parent = pick(w, PARENTS);

	/* the last one's devices use it */
	if (memory && pick(w, 4))
		parent = PARENTS - 1;
	op_create(w, uuid, parent, -1, -1);
}

static void do_create_bad(struct worker *w)
{
	static const char * const texts[] = {
		"", "\n", "x", "00000000-0000-0000-0000-00000000000",
		"00000000-0000-0000-0000-0000000000000",
		"00000000-0000-0000-0000-00000000000g",
		"{0000000-0000-0000-0000-000000000000}",
	};
	const char *text = texts[1 + pick(w, ARRAY_SIZE(texts) - 1)];
	struct op *op = &w->op;
	char path[PATH_MAX];
	int fd, ret;

	op->parent = pick(w, PARENTS);
	type_path(path, sizeof(path), pick_type(w, op->parent), "create");
	op_begin(op, CREATE_BAD);
	ret = open_of(op, path, O_WRONLY);
	fd = ret;
	if (fd >= 0) {
		ret = write_fd(fd, text);
		close(fd);
	}
	op_end(op, ret);
}

static void do_close_slot(struct worker *w, int slot)
{
	struct hold *h = &w->holds[slot], closed = { .state = FREE };
	struct op *op = &w->op;
	int ret = 0;

	if (h->state != HELD)
		return;
	op->uuid = h->uuid;
	op->parent = h->parent;
	op->gen = -1;
	pthread_mutex_lock(&model.lock);
	h->state = CLOSING;
	pthread_mutex_unlock(&model.lock);
	op_begin(op, CLOSE_DEV);
	if (h->child)
		ret = give_order(w, slot, -1);
	else
		vfio_close(&h->vc);
	if (h->space)
		space_put(h->space);
	op_end_hold(op, ret, h, &closed);
}

static void op_init(struct worker *w)
{
	struct op *op = &w->op;

	op->uuid = -1;
	op->parent = -1;
	op->gen = -1;
	op->vendor = MNULL;
	op->armed = false;
}

/* Before whatever may wait for somebody to close a device. */
static void close_all(struct worker *w)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		do_close_slot(w, i);
	op_init(w);
}

static void do_close(struct worker *w)
{
	do_close_slot(w, pick(w, SLOTS));
}

static void arm(struct worker *w, long us)
{
	struct itimerspec when = { .it_value = { 0, us * 1000 } };

	timer_settime(w->timer, 0, &when, NULL);
}

static void do_remove(struct worker *w)
{
	int uuid = pick(w, UUIDS), ret, fd;
	bool armed = !pick(w, 3);
	long us = 1000 + pick(w, 20000);
	struct op *op = &w->op;
	char path[PATH_MAX];

	/* waits for a holder if the vendor can be asked */
	if (parents[0].request)
		close_all(w);
	op->uuid = uuid;
	op->armed = armed && parents[0].request;
	op_begin(op, REMOVE);
	ret = device_parent(uuid, path, sizeof(path));
	if (ret >= 0) {
		pthread_mutex_lock(&model.lock);
		op->parent = ret;
		model_notice();
		pthread_mutex_unlock(&model.lock);
		strncat(path, "/remove", sizeof(path) - strlen(path) - 1);
		ret = open_of(op, path, O_WRONLY);
	}
	fd = ret;
	if (fd >= 0) {
		if (op->armed)
			arm(w, us);
		ret = write_fd(fd, "1");
		if (op->armed)
			arm(w, 0);
		close(fd);
	}
	op_end(op, ret);
}

static void do_open(struct worker *w)
{
	int uuid = pick(w, UUIDS), slot = pick(w, SLOTS);
	struct hold now = { .state = FREE, .child = !pick(w, 4) };
	struct hold *h = &w->holds[slot], *beside = &w->holds[pick(w, SLOTS)];
	struct op *op = &w->op;
	char path[PATH_MAX];
	int ret;

	if (h->state != FREE)
		return;
	if (beside->state != HELD || beside->child)
		beside = NULL;
	op->uuid = uuid;
	op_begin(op, OPEN_DEV);
	if (now.child)
		ret = give_order(w, slot, uuid);
	else
		ret = open_uuid(&now.vc, beside ? &beside->vc : NULL, uuid);
	if (!ret) {
		if (!now.child)
			now.space = space_get(beside ? beside->space : NULL);
		now.state = HELD;
		now.uuid = uuid;
		now.parent = device_parent(uuid, path, sizeof(path));
		if (now.parent < 0)
			op_fail(op, "parent of an open device", now.parent, 0);
	} else if (now.child) {
		give_order(w, slot, -1);
	}
	op_end_hold(op, ret, ret ? NULL : h, &now);
}

/* Each result of these is known: the device is open, and nobody else's. */
#define want(op, expr, wanted) ({					\
	long _got = (expr), _want = (wanted);				\
	if (_got != _want)						\
		op_fail(op, #expr, _got, _want); })

static void use_mnull(struct worker *w, int fd)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_region_info region;
	char buf[64] = "x";
	void *map;

	switch (pick(w, 5)) {
	case 0:
		want(&w->op, vfio_ioctl(fd, VFIO_DEVICE_GET_INFO, &info), 0);
		want(&w->op, info.num_regions, 1);
		break;
	case 1:
		want(&w->op, vfio_region(fd, 0, &region), 0);
		want(&w->op, region.size, PAGE);
		want(&w->op, vfio_region(fd, 1, &region), -EINVAL);
		break;
	case 2:
		want(&w->op, vfio_read(fd, buf, sizeof(buf), PAGE - 4), 4);
		want(&w->op, buf[0], 0);
		want(&w->op, vfio_write(fd, buf, sizeof(buf), 0), sizeof(buf));
		want(&w->op, vfio_read(fd, buf, 1, PAGE), -EINVAL);
		break;
	case 3:
		map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		want(&w->op, map != MAP_FAILED, true);
		if (map == MAP_FAILED)
			break;
		memset(map, w->nr, PAGE);
		munmap(map, PAGE);
		break;
	case 4:
		want(&w->op, vfio_ioctl(fd, VFIO_DEVICE_RESET, NULL), 0);
		want(&w->op, vfio_ioctl(fd, _IO(';', 99), NULL), -ENOTTY);
		break;
	}
}

static uint64_t iova_of(unsigned int thread)
{
	return (uint64_t)(thread + 1) << 20;
}

static int dma_range(struct hold *use, unsigned long cmd, uint64_t iova, int npage)
{
	struct test_dma_range range = { .iova = iova, .npage = npage, .prot = RW };

	return vfio_ioctl(use->vc.device, cmd, &range);
}

static int dma_fill(struct hold *use, uint64_t iova, uint8_t byte)
{
	struct test_dma_fill fill = { .iova = iova, .byte = byte };

	return vfio_ioctl(use->vc.device, TEST_DMA_FILL, &fill);
}

static unsigned int told(struct hold *use)
{
	struct test_dma_unmaps unmaps = {};

	vfio_ioctl(use->vc.device, TEST_DMA_UNMAPS, &unmaps);
	return unmaps.told;
}

/* Is what goes on in @unmaps something that the device was asked about? */
static bool is_asked(struct hold *use, unsigned int unmaps)
{
	return unmaps & 1 && use->space->uuid == use->uuid &&
	       told(use) != use->space->told;
}

/*
 * Others pin it as well, and write to it, while it is mapped or not. Meanwhile it may be
 * unmapped: that is when they come in numbers.
 */
static void use_foreign(struct worker *w, struct hold *use)
{
	int going = use->space->going, npage = 1 + pick(w, FOREIGN), ret;
	unsigned int of = going < 0 ? pick(w, model.threads) : going, n = 0;
	uint64_t iova = iova_of(of) + (NPAGES - npage) * PAGE;
	unsigned int unmaps;
	bool asked;

	if (of == w->nr)
		return;
	do {
		unmaps = use->space->unmaps;
		asked = use->space->going == (int)of && is_asked(use, unmaps);
		ret = dma_range(use, TEST_DMA_PIN, iova, npage);
		if (ret != npage && ret != -EINVAL && ret != -ENOENT &&
		    ret != -EFAULT && ret != -EBUSY)
			op_fail(&w->op, "pin of somebody's memory", ret, npage);
		if (ret == npage && asked && use->space->unmaps == unmaps)
			op_fail(&w->op, "pin of what is being unmapped", ret, -EINVAL);
		if (ret == npage)
			dma_fill(use, iova, pick(w, 256));
	} while (use->space->going == (int)of && ++n < 100 && !model.failed);
	if (pick(w, 2) && ret == npage)
		dma_range(use, TEST_DMA_UNPIN, iova, npage);
}

/* What the vendor should have unpinned, of one thread's memory. */
static void unpin_all(struct hold *use, unsigned int of)
{
	uint64_t iova = iova_of(of);
	int i;

	while (!dma_range(use, TEST_DMA_UNPIN, iova, NPAGES))
		;
	for (i = 1; i <= FOREIGN; i++)
		while (!dma_range(use, TEST_DMA_UNPIN, iova + (NPAGES - i) * PAGE, i))
			;
}

static void mapping_forget(struct mapping *m)
{
	if (m->mem)
		munmap(m->mem, MEMORY);
	m->mem = NULL;
}

static void check_memory(struct worker *w, struct mapping *m)
{
	unsigned long i;

	for (i = 0; i < OURS * PAGE && m->mem[i] == m->byte; i++)
		;
	want(&w->op, i, OURS * PAGE);
}

/* Map memory of this thread's, if it is not, and look at what is in it. */
static struct mapping *map_own(struct worker *w, struct hold *use)
{
	struct mapping *m = &w->maps[use->space - spaces];
	bool mapped = m->mem && m->serial == use->space->serial;

	if (!mapped) {
		mapping_forget(m);
		m->mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		want(&w->op, m->mem != MAP_FAILED, true);
		m->serial = use->space->serial;
		m->byte = pick(w, 256);
		memset(m->mem, m->byte, MEMORY);
	}
	want(&w->op, vfio_dma_map(&use->vc, m->mem, iova_of(w->nr), MEMORY, true),
	     mapped ? -EEXIST : 0);
	check_memory(w, m);
	return m;
}

/* What is pinned is this memory, and can be pinned. */
static void pin_own(struct worker *w, struct hold *use, struct mapping *m)
{
	uint64_t iova = iova_of(w->nr);
	struct test_dma_rw rw = {
		.iova = iova, .len = 1, .write = true, .addr = (uintptr_t)&m->byte,
	};
	int ret;

	/* the vendors may have been kept from unpinning, one after the other */
	wait_longer(5 * WAIT_MS, (ret = dma_range(use, TEST_DMA_PIN, iova, NPAGES)) != -EBUSY);
	want(&w->op, ret, NPAGES);
	m->byte = pick(w, 256);
	want(&w->op, dma_fill(use, iova, m->byte), 0);
	check_memory(w, m);
	m->mem[0]++;
	want(&w->op, vfio_ioctl(use->vc.device, TEST_DMA_RW, &rw), 0);
	check_memory(w, m);
}

static int unmap_own(struct worker *w, struct hold *use)
{
	return vfio_dma_unmap(&use->vc, iova_of(w->nr), MEMORY);
}

/* Nothing of it is pinned, or the next owner of the page is written to. */
static void unmapped_own(struct worker *w, struct hold *use, struct mapping *m)
{
	uint64_t iova = iova_of(w->nr);
	int ret = dma_range(use, TEST_DMA_PIN, iova, NPAGES);

	want(&w->op, ret < 0, true);
	/* unless it is kept for the vendor, who has not come to it */
	if (ret != -EBUSY)
		want(&w->op, dma_range(use, TEST_DMA_UNPIN, iova, NPAGES), -ENOENT);
	mapping_forget(m);
}

/* A thread maps its own memory, and nobody else unmaps that. */
static void use_own(struct worker *w, struct hold *use)
{
	bool unpin = pick(w, 2), keep = pick(w, 2);
	struct mapping *m = map_own(w, use);

	pin_own(w, use, m);
	if (unpin)
		want(&w->op, dma_range(use, TEST_DMA_UNPIN, iova_of(w->nr), NPAGES),
		     0);
	if (keep)
		return;
	use->space->going = w->nr;
	want(&w->op, unmap_own(w, use), 0);
	use->space->going = -1;
	unmapped_own(w, use, m);
}

static int unmap_everything(struct worker *w, struct hold *use)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.flags = VFIO_DMA_UNMAP_FLAG_ALL,
	};

	pthread_mutex_lock(&model.lock);
	use->space->serial = ++model.serial;
	pthread_mutex_unlock(&model.lock);
	if (iommufd)
		return vfio_dma_unmap(&use->vc, 0, UINT64_MAX);
	return vfio_ioctl(use->vc.container, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

static int attach(struct hold *use, uint32_t ioas)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach), .pt_id = ioas,
	};

	return vfio_ioctl(use->vc.device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

static int detach(struct worker *w, struct hold *use)
{
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

	return vfio_ioctl(use->vc.device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach) ?:
	       attach(use, use->vc.ioas) ?: unmap_own(w, use);
}

/* by an IOAS that has nothing in it, and back */
static int replace(struct worker *w, struct hold *use)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct iommu_destroy destroy = { .size = sizeof(destroy) };
	int ret;

	ret = vfio_ioctl(use->vc.iommufd, IOMMU_IOAS_ALLOC, &alloc);
	if (ret)
		return ret;
	destroy.id = alloc.out_ioas_id;
	return attach(use, alloc.out_ioas_id) ?: attach(use, use->vc.ioas) ?:
	       vfio_ioctl(use->vc.iommufd, IOMMU_DESTROY, &destroy) ?:
	       unmap_own(w, use);
}

/* Ways to take back this thread's memory; the last ones are for an IOAS. */
static int (* const take_back[])(struct worker *w, struct hold *use) = {
	unmap_own, unmap_everything, detach, replace,
};

static void take_own(struct worker *w, struct hold *use, unsigned int how)
{
	struct space *space = use->space;

	space->uuid = use->uuid;
	space->told = told(use);
	space->going = w->nr;
	/* others may be asked about something else, or come and go */
	space->unmaps += 1 + (how > 0);
	want(&w->op, take_back[how](w, use), 0);
	space->unmaps += 1 + (how > 0);
	space->going = -1;
}

/* The vendor is told, and takes its time. */
static void use_slowly(struct worker *w, struct hold *use)
{
	static const char * const times[] = { "20", "20", "700", "3500" };
	unsigned int how = pick(w, iommufd ? 4 : 2);
	struct mapping *m = map_own(w, use);

	want(&w->op, file_write(times[pick(w, 4)], SLOW_MS), 0);
	pin_own(w, use, m);
	take_own(w, use, how);
	want(&w->op, file_write("0", SLOW_MS), 0);
	unmapped_own(w, use, m);
}

/* It is told, and does nothing: what it has pinned stays its own, and nobody else's. */
static void use_forgetfully(struct worker *w, struct hold *use)
{
	/* all would take long, as VFIO asks for one after the other */
	unsigned int how = iommufd ? pick(w, 3) : 0, of;
	struct mapping *m = map_own(w, use);
	uint64_t iova = iova_of(w->nr);
	int fd = use->vc.device;

	pin_own(w, use, m);
	want(&w->op, vfio_ioctl(fd, TEST_DMA_FORGET, (void *)TEST_DMA_FORGET_UNMAP), 0);
	take_own(w, use, how ? how + 1 : 0);
	mapping_forget(m);
	m = map_own(w, use);
	want(&w->op, dma_range(use, TEST_DMA_PIN, iova, NPAGES), -EBUSY);
	want(&w->op, dma_fill(use, iova, ~m->byte), 0);
	check_memory(w, m);
	want(&w->op, dma_range(use, TEST_DMA_UNPIN, iova, NPAGES), 0);
	model.kept++;
	for (of = 0; of < model.threads; of++)
		unpin_all(use, of);

	/* it is told again of what is kept: before the next, which is about this pin */
	want(&w->op, vfio_ioctl(fd, TEST_DMA_FORGET, NULL), 0);
	want(&w->op, dma_range(use, TEST_DMA_PIN, iova, NPAGES), NPAGES);
	want(&w->op, unmap_own(w, use), 0);
	mapping_forget(m);
	m = map_own(w, use);
	pin_own(w, use, m);
}

/* number of this thread's pages that are reported as dirty; others leave these alone */
static int dirty_own(struct worker *w, struct hold *use)
{
	static uint64_t maps[MAX_THREADS][LOGGED / PAGE_MIN / 64 + PAGE_MAX / 8];
	uint64_t *map = maps[w->nr];
	int ret, i, n = 0;

	memset(map, 0, LOGGED / PAGE / 8);
	ret = report_of(use->vc.device, 0, LOGGED, PAGE, map);
	for (i = 0; !ret && i < OURS; i++)
		n += bit(map, iova_of(w->nr) / PAGE + i);
	return ret ?: n;
}

/* A dirty log, while others pin and unpin pages beside. Some threads leave the log running. */
static void use_logged(struct worker *w, struct hold *use)
{
	struct vfio_device_feature_dma_logging_range all = { 0, LOGGED };
	struct mapping *m = map_own(w, use);
	int fd = use->vc.device, ret;

	unpin_all(use, w->nr);
	ret = start(fd, PAGE, 1, &all);
	if (!has_report()) {
		want(&w->op, ret, -ENOTTY);
		return;
	}
	if (ret != -EINVAL)
		want(&w->op, ret, (int)PAGE);
	want(&w->op, dirty_own(w, use) >= 0, true);
	want(&w->op, dirty_own(w, use), 0);
	pin_own(w, use, m);
	want(&w->op, dirty_own(w, use), OURS);
	want(&w->op, dirty_own(w, use), OURS);
	want(&w->op, dma_range(use, TEST_DMA_UNPIN, iova_of(w->nr), NPAGES), 0);
	want(&w->op, dirty_own(w, use), OURS);
	want(&w->op, dirty_own(w, use), 0);
	pin_own(w, use, m);
	if (pick(w, 2)) {
		take_own(w, use, 0);
		mapping_forget(m);
	} else {
		want(&w->op, dma_range(use, TEST_DMA_UNPIN, iova_of(w->nr), NPAGES), 0);
	}
	want(&w->op, dirty_own(w, use), OURS);
	model.logged++;
	if (pick(w, 3))
		want(&w->op, stop(fd), 0);
}

static void use_dma(struct worker *w, struct hold *use)
{
	pthread_rwlock_t *lock = &use->space->lock;
	unsigned int n = pick(w, 24);

	/* it is to have happened once, at least */
	if (memory && !model.kept)
		n = 0;
	if (memory && n < 5 && !pthread_rwlock_trywrlock(lock)) {
		if (n > 1)
			use_logged(w, use);
		else if (n)
			use_slowly(w, use);
		else
			use_forgetfully(w, use);
		pthread_rwlock_unlock(lock);
	} else if (!pthread_rwlock_tryrdlock(lock)) {
		use_own(w, use);
		pthread_rwlock_unlock(lock);
	}
	use_foreign(w, use);
}

static int dup_fd(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* Whatever somebody has open, while others do the same or close it. */
static void do_use(struct worker *w)
{
	unsigned int all = model.threads * SLOTS, slot = pick(w, all), i;
	struct op *op = &w->op;
	struct hold use, *h;

	pthread_mutex_lock(&model.lock);
	for (i = 0; i < all; i++) {
		h = &model.holds[(slot + i) % all];
		if (h->state == HELD && !h->child)
			break;
	}
	if (i == all) {
		pthread_mutex_unlock(&model.lock);
		return;
	}
	use = *h;
	use.vc.device = dup_fd(use.vc.device);
	use.vc.container = dup_fd(use.vc.container);
	use.vc.iommufd = dup_fd(use.vc.iommufd);
	use.vc.group = -1;
	use.space->users++;
	/* from here on, it may be open after its holder has closed it */
	op->uuid = h->uuid;
	op->kind = USE_DEV;
	op->may = 0;
	model.ops[op->thread] = op;
	model_notice();
	pthread_mutex_unlock(&model.lock);

	if (parents[use.parent].vendor == DMA)
		use_dma(w, &use);
	else
		use_mnull(w, use.vc.device);
	vfio_close(&use.vc);
	space_put(use.space);
	op_end(op, 0);
}

static int read_number(int fd)
{
	char buf[32];
	ssize_t ret = pread(fd, buf, sizeof(buf) - 1, 0);

	if (ret < 0)
		return -errno;
	buf[ret] = '\0';
	return atoi(buf);
}

static void op_available(struct worker *w, int parent, int fd, int gen)
{
	struct op *op = &w->op;
	char path[PATH_MAX];
	int ret = fd, used;

	op->parent = parent;
	op->gen = gen;
	op_begin(op, AVAILABLE);
	if (fd < 0) {
		type_path(path, sizeof(path), pick_type(w, parent),
			  "available_instances");
		ret = open_of(op, path, O_RDONLY);
	}
	if (ret >= 0) {
		int file = ret;

		ret = read_number(file);
		if (fd < 0)
			close(file);
	}
	used = parents[parent].quota - ret;
	op_end(op, ret);
	/* nobody writes to these any more */
	if (ret >= 0 && used < op->used_min)
		op_fail(op, "the least of used instances", used, op->used_min);
	if (ret >= 0 && used > op->used_max)
		op_fail(op, "the most of used instances", used, op->used_max);
}

/* The vendor with the user's memory has no such file. */
static void do_available(struct worker *w)
{
	op_available(w, pick(w, 2), -1, -1);
}

static void do_keep_file(struct worker *w)
{
	struct kept *k = &w->files[pick(w, FILES)];
	struct op *op = &w->op;
	char path[PATH_MAX];
	int ret;

	op->parent = pick(w, 2);
	if (k->fd >= 0)
		close(k->fd);
	k->parent = op->parent;
	k->create = pick(w, 2);
	type_path(path, sizeof(path), pick_type(w, op->parent),
		  k->create ? "create" : "available_instances");
	op_begin(op, KEEP_FILE);
	ret = open_of(op, path, k->create ? O_WRONLY : O_RDONLY);
	k->fd = ret;
	k->gen = op->gen;
	op_end(op, ret < 0 ? ret : 0);
}

static void do_kept_file(struct worker *w)
{
	struct kept *k = &w->files[pick(w, FILES)];
	int uuid = pick(w, UUIDS);

	if (k->fd < 0)
		return;
	if (k->create)
		op_create(w, uuid, k->parent, k->fd, k->gen);
	else
		op_available(w, k->parent, k->fd, k->gen);
}

static void do_unbind(struct worker *w)
{
	struct op *op = &w->op;
	int uuid = pick(w, UUIDS);

	close_all(w);
	op->uuid = uuid;
	op_begin(op, UNBIND);
	op_end(op, file_write(uuids[uuid], BRIDGE_DRIVER "/unbind"));
	/* most often, so that devices can be opened */
	if (!pick(w, 4))
		return;
	op_begin(op, BIND);
	op_end(op, file_write(uuids[uuid], BRIDGE_DRIVER "/bind"));
}

/* Whatever is there to be read; none of it need be. */
static void do_look(struct worker *w)
{
	static const char * const files[] = {
		"vendor/opens", "vendor/requests", "mdev_type/name",
		"mdev_type/device_api", "power/control", "uevent",
	};
	const char *file = files[pick(w, ARRAY_SIZE(files))];
	const char *uuid = uuids[pick(w, UUIDS)];
	char buf[8192];

	/* it may wait for whoever unbinds, who waits for us */
	if (!strcmp(file, "uevent"))
		close_all(w);
	op_begin(&w->op, LOOK);
	dir_count(MDEV_DEVICES);
	dir_count("/sys/kernel/iommu_groups");
	file_read(buf, sizeof(buf), MDEV_DEVICES "/%s/%s", uuid, file);
	link_base(buf, sizeof(buf), MDEV_DEVICES "/%s/iommu_group", uuid);
	file_read(buf, sizeof(buf), "/sys/kernel/debug/mdev/devices");
	file_read(buf, sizeof(buf), "/sys/kernel/debug/mdev/parents");
	op_end(&w->op, 0);
}

static void op_register(struct worker *w, int parent, bool on)
{
	struct op *op = &w->op;
	struct parent *p = &parents[parent];

	op->parent = parent;
	op->vendor = p->vendor;
	pthread_rwlock_rdlock(&vendors[p->vendor].lock);
	pthread_mutex_lock(&p->lock);
	op->gen = -1;
	op_begin(op, on ? REGISTER : UNREGISTER);
	op_end(op, file_write(on ? "1" : "0", "/sys/class/mnull/%s/registered",
			      p->name));
	pthread_mutex_unlock(&p->lock);
	pthread_rwlock_unlock(&vendors[p->vendor].lock);
}

static void do_reregister(struct worker *w)
{
	int parent = pick(w, 2);
	long ms = pick(w, 20);

	close_all(w);
	op_register(w, parent, false);
	sleep_ms(ms);
	op_register(w, parent, true);
}

static void do_register(struct worker *w)
{
	int parent = pick(w, 2);

	close_all(w);
	op_register(w, parent, true);
}

static int load(struct vendor_module *m)
{
	int fd, ret;

	fd = open(m->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, m->args, 0) ? -errno : 0;
	close(fd);
	return ret;
}

/* After unloading; it says itself what is wrong. */
static void settle(void)
{
	if (modules_settle())
		model_fail();
}

static void op_load(struct worker *w, enum vendor vendor)
{
	struct op *op = &w->op;

	op->vendor = vendor;
	pthread_rwlock_wrlock(&vendors[vendor].lock);
	op_begin(op, LOAD);
	op_end(op, load(&vendors[vendor]));
	pthread_rwlock_unlock(&vendors[vendor].lock);
}

static void op_unload(struct worker *w, enum vendor vendor)
{
	struct op *op = &w->op;

	op->vendor = vendor;
	pthread_rwlock_rdlock(&vendors[vendor].lock);
	pthread_mutex_lock(&vendors[vendor].unload);
	op_begin(op, UNLOAD);
	op_end(op, module_delete(vendors[vendor].name));
	/* nobody loads it meanwhile */
	settle();
	pthread_mutex_unlock(&vendors[vendor].unload);
	pthread_rwlock_unlock(&vendors[vendor].lock);
}

static void do_reload_vendor(struct worker *w)
{
	enum vendor vendor = pick(w, VENDORS);
	long ms = pick(w, 20);

	close_all(w);
	op_unload(w, vendor);
	sleep_ms(ms);
	op_load(w, vendor);
}

static void do_reload_bridge(struct worker *w)
{
	struct op *op = &w->op;
	long ms = pick(w, 20);
	bool only_load = !pick(w, 3);

	close_all(w);
	if (!only_load) {
		pthread_rwlock_rdlock(&bridge_module.lock);
		op_begin(op, BRIDGE_UNLOAD);
		op_end(op, module_delete(bridge_module.name));
		/* nobody loads it meanwhile but whoever creates, who waits, too */
		settle();
		pthread_rwlock_unlock(&bridge_module.lock);
		sleep_ms(ms);
	}
	pthread_rwlock_wrlock(&bridge_module.lock);
	op_begin(op, BRIDGE_LOAD);
	op_end(op, load(&bridge_module));
	pthread_rwlock_unlock(&bridge_module.lock);
}

static const struct {
	void (*fn)(struct worker *w);
	unsigned int weight;
} mixture[] = {
	{ do_create, 220 },
	{ do_create_bad, 10 },
	{ do_remove, 120 },
	{ do_open, 180 },
	{ do_close, 60 },
	{ do_use, 250 },
	{ do_available, 50 },
	{ do_keep_file, 30 },
	{ do_kept_file, 40 },
	{ do_unbind, 12 },
	{ do_look, 20 },
	{ do_reregister, 8 },
	{ do_register, 4 },
	{ do_reload_vendor, 3 },
	{ do_reload_bridge, 3 },
};

static void do_something(struct worker *w, unsigned int number)
{
	unsigned int i, n, total = 0;

	for (i = 0; i < ARRAY_SIZE(mixture); i++)
		total += mixture[i].weight;
	w->rng = mix(model.seed ^ mix(((uint64_t)w->nr << 32) | number));
	w->op.number = number;
	op_init(w);
	n = pick(w, total);
	for (i = 0; n >= mixture[i].weight; i++)
		n -= mixture[i].weight;
	mixture[i].fn(w);
}

/* ---- Uevents: a listener with a model of its own ---- */

static struct {
	pthread_mutex_t lock;		/* protects what follows */
	int fd;
	bool there[UUIDS];
	bool bound[UUIDS];
	bool lost;			/* the kernel has dropped some */
	unsigned long count;
} events = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void event_wrong(const char *action, int uuid)
{
	fprintf(stderr, "# seed %#llx: uevent \"%s\" of %s, which is %sthere and %sbound\n",
		(unsigned long long)model.seed, action, uuids[uuid],
		events.there[uuid] ? "" : "not ", events.bound[uuid] ? "" : "not ");
	model_fail();
}

static void event_set(bool *state, bool to, const char *action, int uuid)
{
	if (*state == to && !events.lost)
		event_wrong(action, uuid);
	*state = to;
}

static void event(const struct uevent *ev)
{
	const char *subsystem = uevent_get(ev, "SUBSYSTEM");
	const char *action = uevent_action(ev);
	const char *path = uevent_get(ev, "DEVPATH");
	int uuid;

	if (!subsystem || strcmp(subsystem, "mdev") || !path)
		return;
	uuid = uuid_index(strrchr(path, '/') + 1);
	if (uuid < 0)
		return;
	events.count++;
	if (!strcmp(action, "add"))
		event_set(&events.there[uuid], true, action, uuid);
	else if (!strcmp(action, "bind"))
		event_set(&events.bound[uuid], true, action, uuid);
	else if (!strcmp(action, "unbind"))
		event_set(&events.bound[uuid], false, action, uuid);
	else if (!strcmp(action, "remove"))
		event_set(&events.there[uuid], false, action, uuid);
}

static void events_read(void)
{
	static struct uevent ev;
	ssize_t len;

	pthread_mutex_lock(&events.lock);
	for (;;) {
		len = recv(events.fd, ev.buf, sizeof(ev.buf) - 1, MSG_DONTWAIT);
		if (len < 0 && errno == ENOBUFS) {
			events.lost = true;
			continue;
		}
		if (len < 0)
			break;
		ev.buf[len] = '\0';
		ev.len = len;
		event(&ev);
	}
	pthread_mutex_unlock(&events.lock);
}

static atomic_bool listening;

static void *listen_to_events(void *arg)
{
	struct pollfd pfd = { .fd = events.fd, .events = POLLIN };

	while (listening)
		if (poll(&pfd, 1, 50) > 0)
			events_read();
	return NULL;
}

/* ---- When all threads stand still ---- */

static void wrong(const char *what, const char *name, long got, long want)
{
	fprintf(stderr, "# seed %#llx, standstill %lu: %s of %s is %ld, not %ld\n",
		(unsigned long long)model.seed, model.checks, what, name, got,
		want);
	model_fail();
}

#define must(expr, name, wanted) ({					\
	long _got = (expr), _want = (wanted);				\
	if (_got != _want)						\
		wrong(#expr, name, _got, _want); })

static int model_parent(int uuid)
{
	int p;

	for (p = 0; p < PARENTS; p++)
		if (parents[p].count[uuid])
			return p;
	return -1;
}

static int parent_used(int parent)
{
	int u, used = 0;

	for (u = 0; u < UUIDS; u++)
		used += parents[parent].count[u];
	return used;
}

static void check_parent(int parent)
{
	struct parent *p = &parents[parent];
	int t;

	must(file_exists(MDEV_CLASS "/%s", p->name), p->name, p->registered);
	if (!p->has_class_file || !vendors[p->vendor].loaded)
		return;
	must(file_read_int("/sys/class/mnull/%s/registered", p->name), p->name,
	     p->registered);
	for (t = 0; t < 2 && p->registered; t++)
		must(mdev_available(p->types[t]), p->types[t],
		     p->quota - parent_used(parent));
}

static bool is_bound(int uuid)
{
	return file_exists(MDEV_DEVICES "/%s/driver", uuids[uuid]);
}

static bool has_vfio(int uuid)
{
	return file_exists(MDEV_DEVICES "/%s/iommu_group", uuids[uuid]);
}

/* Returns whether there is a VFIO device. */
static bool check_device(int uuid)
{
	int p = model_parent(uuid);
	const char *name = uuids[uuid];
	char path[PATH_MAX];
	bool bound;

	must(mdev_exists(name), name, p >= 0);
	if (events.lost)
		events.there[uuid] = p >= 0;
	must(events.there[uuid], name, p >= 0);
	if (p < 0)
		return false;

	must(device_parent(uuid, path, sizeof(path)), name, p);
	bound = is_bound(uuid);
	if (events.lost)
		events.bound[uuid] = bound;
	must(events.bound[uuid], name, bound);
	must(has_vfio(uuid), name, bound && !parents[p].modern);
	if (parents[p].modern || (model.bridge == BRIDGE && !model.unbound[uuid]))
		must(bound, name, true);
	if (!parents[p].modern && model.bridge == NO_BRIDGE)
		must(bound, name, false);
	return bound && !parents[p].modern;
}

static void check_bridge(void)
{
	bool loaded = module_loaded("vfio_mdev");

	if (model.bridge == (BRIDGE | NO_BRIDGE))
		model.bridge = loaded ? BRIDGE : NO_BRIDGE;
	must(loaded, "vfio_mdev", model.bridge == BRIDGE);
}

static void check_debugfs_device(char *line)
{
	char uuid[40], parent[64], type[64], state[16], driver[32], pid[16];
	int u, p;

	if (sscanf(line, "%39s %63s %63s %15s %31s %15s", uuid, parent, type, state,
		   driver, pid) != 6) {
		wrong("debugfs line", line, 0, 6);
		return;
	}
	u = uuid_index(uuid);
	p = u < 0 ? -1 : model_parent(u);
	must(p >= 0, uuid, true);
	must(p >= 0 && !strcmp(parents[p].name, parent), uuid, true);
	must(!strcmp(state, "live"), uuid, true);
	must(u >= 0 && strcmp(driver, "-"), uuid, u >= 0 && is_bound(u));
	must(!strcmp(pid, "-"), uuid, true);
}

static void check_debugfs_parent(char *line)
{
	char name[64], door[32], owner[64], state[16];
	int refs, devices, open, p;

	if (sscanf(line, "%63s %31s %63s %15s %d %d %d", name, door, owner, state,
		   &refs, &devices, &open) != 7) {
		wrong("debugfs line", line, 0, 7);
		return;
	}
	for (p = 0; p < PARENTS; p++) {
		if (strcmp(parents[p].name, name))
			continue;
		must(parents[p].registered, name, true);
		must(!strcmp(state, "ready"), name, true);
		must(refs, name, parents[p].vendor == DMA ? 2 : 3);
		must(devices, name, parent_used(p));
		must(open, name, 0);
	}
}

/* Returns the number of lines. */
static int check_debugfs(const char *file, void (*fn)(char *line))
{
	static char buf[16384];
	char *line, *rest = buf;
	int count = 0;

	if (file_read(buf, sizeof(buf), "/sys/kernel/debug/mdev/%s", file) < 0)
		return -1;
	while ((line = strsep(&rest, "\n"))) {
		if (!*line || *line == '#')
			continue;
		fn(line);
		count++;
	}
	return count;
}

/* It must open, and then be busy. */
static void check_open(int uuid)
{
	struct vfio_client vc;
	int ret = vfio_open(&vc, uuids[uuid]);

	must(ret, uuids[uuid], 0);
	if (ret)
		return;
	if (!parents[model_parent(uuid)].request)
		must(mdev_remove(uuids[uuid]), uuids[uuid], -EBUSY);
	vfio_close(&vc);
}

static void check_refs(const char *module)
{
	if (module_loaded(module))
		must(module_refs(module), module, 0);
}

/* They go with their last reference, which may be dropped late, twice over. */
static void wait_for_groups(int count)
{
	wait_for(dir_count("/sys/kernel/iommu_groups") == count);
}

static void check_all(void)
{
	int u, p, live = 0, vfio = 0, open = -1, lines, registered = 0;

	events_read();
	pthread_mutex_lock(&events.lock);
	check_bridge();
	for (p = 0; p < PARENTS; p++) {
		check_parent(p);
		registered += parents[p].registered;
	}
	for (u = 0; u < UUIDS; u++) {
		live += model_parent(u) >= 0;
		if (check_device(u)) {
			vfio++;
			open = u;
		}
		model.unbound[u] = model_parent(u) >= 0 && !is_bound(u);
	}
	events.lost = false;
	pthread_mutex_unlock(&events.lock);

	must(dir_count(MDEV_DEVICES), "all", live);
	wait_for_groups(vfio);
	must(dir_count("/sys/kernel/iommu_groups"), "all", vfio);
	if (file_exists("/sys/class/vfio-dev"))
		must(dir_count("/sys/class/vfio-dev"), "all", vfio);
	if (file_exists("/sys/class/vfio"))
		must(dir_count("/sys/class/vfio"), "all", vfio);
	lines = check_debugfs("devices", check_debugfs_device);
	if (lines >= 0) {
		must(lines, "devices", live);
		must(check_debugfs("parents", check_debugfs_parent) >= registered,
		     "parents", true);
	}
	check_refs("mnull");
	check_refs("mdev_test_dma");
	check_refs("vfio_mdev");
	if (open >= 0)
		check_open(open);
	must(memory_locked(), "all", 0);
	model.checks++;
}

/* What must have happened at the least. */
static bool has_hammered(void)
{
	return model.done[CREATE] && model.done[REMOVE] &&
	       model.done[OPEN_DEV] && model.checks &&
	       (!memory || (model.kept && (model.logged || !has_report())));
}

/* By rounds, not by the clock, as those may take long on a busy machine. */
static bool is_enough(void)
{
	static unsigned int more;

	return now_ms() >= deadline && (has_hammered() || ++more > MORE);
}

static void quiesce(void)
{
	if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) {
		if (!model.failed)
			check_all();
		progress++;
		done = model.failed || is_enough();
	}
	pthread_barrier_wait(&barrier);
}

static void *work(void *arg)
{
	unsigned int number = 0, each = ROUND / model.threads, i;
	struct worker *w = arg;

	while (!done) {
		for (i = 0; i < each; i++, number++)
			if (!__atomic_load_n(&model.failed, __ATOMIC_RELAXED))
				do_something(w, number);
		close_all(w);
		quiesce();
	}
	return NULL;
}

/* ---- Start and end ---- */

static void on_signal(int sig)
{
}

static void *run_worker(void *arg)
{
	struct worker *w = arg;
	struct sigevent ev = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = SIGUSR1,
	};

	ev._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &ev, &w->timer))
		model_fail();
	return work(w);
}

static int worker_prepare(struct worker *w, unsigned int nr)
{
	int orders[2], answers[2], i;
	pid_t pid;

	memset(w, 0, sizeof(*w));
	w->nr = nr;
	w->op.thread = nr;
	w->holds = &model.holds[nr * SLOTS];
	for (i = 0; i < FILES; i++)
		w->files[i].fd = -1;
	if (pipe(orders) || pipe(answers))
		return -errno;
	pid = fork_child();
	if (!pid) {
		close(orders[1]);
		close(answers[0]);
		/* the others' ends, or none of us sees an end */
		for (i = 0; i < (int)nr; i++) {
			close(workers[i].orders);
			close(workers[i].answers);
		}
		nursery(orders[0], answers[1]);
	}
	close(orders[0]);
	close(answers[1]);
	w->orders = orders[1];
	w->answers = answers[0];
	return pid < 0 ? -errno : 0;
}

static void worker_finish(struct worker *w)
{
	int i;

	for (i = 0; i < FILES; i++)
		if (w->files[i].fd >= 0)
			close(w->files[i].fd);
	close(w->orders);
	close(w->answers);
	for (i = 0; i < SPACES; i++)
		mapping_forget(&w->maps[i]);
}

static int find_module(struct vendor_module *m)
{
	char cmd[128];
	FILE *f;

	snprintf(cmd, sizeof(cmd), "modinfo -n %s 2>/dev/null", m->name);
	f = popen(cmd, "r");
	if (!f)
		return -errno;
	if (!fgets(m->path, sizeof(m->path), f))
		m->path[0] = '\0';
	m->path[strcspn(m->path, "\n")] = '\0';
	return pclose(f) || !m->path[0] ? -ENOENT : 0;
}

/* Wait for the threads, and say so if they stand still. */
static bool wait_for_workers(void)
{
	unsigned long last = progress;
	long since = now_ms();
	unsigned int i;
	bool over;

	do {
		sleep_ms(100);
		if (last != progress) {
			last = progress;
			since = now_ms();
		}
		over = true;
		for (i = 0; i < model.threads; i++) {
			struct worker *w = &workers[i];

			w->joined = w->joined ||
				    !pthread_tryjoin_np(w->thread, NULL);
			over &= w->joined;
		}
		if (over)
			return true;
	} while (now_ms() - since < STUCK * 1000);

	for (i = 0; i < model.threads; i++) {
		if (!model.ops[i])
			continue;
		print_op(model.ops[i]);
		fprintf(stderr, ": does not end\n");
	}
	return false;
}

static void print_results(enum kind kind)
{
	const char *between = "";
	unsigned int i;

	printf("%s%s: ", kind ? "; " : "", kind_names[kind]);
	for (i = 0; i < ARRAY_SIZE(rules); i++) {
		if (rules[i].kind != kind || !rules[i].seen)
			continue;
		printf("%s%lu %s", between, rules[i].seen,
		       error_name(rules[i].error));
		between = ", ";
	}
}

static void print_summary(const char *name, long ms)
{
	unsigned long all = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rules); i++)
		all += rules[i].seen;
	printf("# hammer: %s: seed %#llx, %u threads, %ld s, %lu operations (",
	       name, (unsigned long long)model.seed, model.threads, ms / 1000,
	       all);
	for (i = 0; i < KINDS; i++)
		print_results(i);
	printf("), %lu vendors forgot, %lu logs, %lu uevents, %lu quiescent checks\n",
	       model.kept, model.logged, events.count, model.checks);
	printf("# result variants=1 operations=%lu seed=%#llx\n", all,
	       (unsigned long long)model.seed);
	fflush(stdout);
}

FIXTURE(hammer) {
	int seconds;
	char modprobe[256];
};

FIXTURE_VARIANT(hammer) {
	const char *name;
	const char *args;
	bool iommufd;
	bool modern;
	bool request;
	bool memory;
};

FIXTURE_VARIANT_ADD(hammer, classic) {
	.name = "classic",
	.args = "door=classic parents=2 types=2 instances=4",
};

FIXTURE_VARIANT_ADD(hammer, unplug) {
	.name = "unplug",
	.args = "door=classic parents=2 types=2 instances=4 request=1",
	.request = true,
};

FIXTURE_VARIANT_ADD(hammer, cdev) {
	.name = "cdev",
	.args = "door=classic parents=2 types=2 instances=4",
	.iommufd = true,
};

FIXTURE_VARIANT_ADD(hammer, modern) {
	.name = "modern",
	.args = "door=modern parents=2 types=2 instances=4",
	.modern = true,
};

FIXTURE_VARIANT_ADD(hammer, containers) {
	.name = "containers",
	.args = "door=classic parents=2 types=2 instances=4 request=1",
	.request = true,
	.memory = true,
};

FIXTURE_VARIANT_ADD(hammer, ioas) {
	.name = "ioas",
	.args = "door=classic parents=2 types=2 instances=4 request=1",
	.request = true,
	.iommufd = true,
	.memory = true,
};

static unsigned long env(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

FIXTURE_SETUP(hammer)
{
	struct vendor_module *m;
	int i;

	if (!vfio_use_iommufd(variant->iommufd))
		SKIP(return, "no iommufd in this kernel");
	iommufd = variant->iommufd;
	memory = variant->memory;
	/* the others are skipped */
	self->seconds = env("MDEV_SECONDS", 60) / (file_exists("/dev/iommu") ? 6 : 4);
	model.seed = env("MDEV_SEED", time(NULL));
	model.threads = env("MDEV_THREADS", 6);
	ASSERT_TRUE(model.threads >= 1 && model.threads <= MAX_THREADS);
	/* the same ones with the same seed: they decide who is whose neighbour */
	for (i = 0; i < UUIDS; i++)
		snprintf(uuids[i], sizeof(uuids[i]), "%08x-feed-4bad-8eef-%012x",
			 (unsigned int)mix(model.seed ^ i), i);

	ASSERT_EQ(0, modules_reset());
	ASSERT_EQ(0, modules_autoload_settled(self->modprobe,
					      sizeof(self->modprobe)));
	vendors[MNULL].args = variant->args;
	ASSERT_EQ(0, find_module(&bridge_module));
	ASSERT_EQ(0, module_load("vfio_mdev"));
	/* or the first client loads it, which takes a while */
	ASSERT_EQ(0, module_load("vfio_iommu_type1"));
	model.bridge = BRIDGE;
	for (i = 0; i < VENDORS; i++) {
		char cmd[256];

		m = &vendors[i];
		ASSERT_EQ(0, find_module(m));
		snprintf(cmd, sizeof(cmd), "%s %s", m->name, m->args);
		ASSERT_EQ(0, module_load(cmd));
		m->loaded = true;
		pthread_rwlock_init(&m->lock, NULL);
		pthread_mutex_init(&m->unload, NULL);
	}
	for (i = 0; i < PARENTS; i++) {
		struct parent *p = &parents[i];

		p->modern = p->vendor == MNULL && variant->modern;
		p->request = p->vendor == MNULL && variant->request;
		p->quota = p->vendor == MNULL ? INSTANCES : INT_MAX;
		p->registered = true;
		pthread_mutex_init(&p->lock, NULL);
	}
	for (i = 0; i < SPACES; i++) {
		pthread_rwlock_init(&spaces[i].lock, NULL);
		spaces[i].going = -1;
	}
}

FIXTURE_TEARDOWN(hammer)
{
	EXPECT_EQ(0, modules_autoload_restore(self->modprobe));
	EXPECT_EQ(0, modules_reset());
	wait_for_groups(0);
	EXPECT_EQ(0, mdev_leftovers());
}

TEST_F_TIMEOUT(hammer, model, 7200)
{
	struct sigaction act = { .sa_handler = on_signal };
	long start = now_ms();
	pthread_t listener;
	unsigned int i;
	bool over;

	ASSERT_EQ(0, sigaction(SIGUSR1, &act, NULL));
	deadline = start + self->seconds * 1000;
	ASSERT_EQ(0, pthread_barrier_init(&barrier, NULL, model.threads));
	/* processes before files, and before threads */
	for (i = 0; i < model.threads; i++)
		ASSERT_EQ(0, worker_prepare(&workers[i], i));
	events.fd = uevent_open();
	ASSERT_LE(0, events.fd);
	listening = true;
	ASSERT_EQ(0, pthread_create(&listener, NULL, listen_to_events, NULL));
	for (i = 0; i < model.threads; i++)
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, run_worker,
					    &workers[i]));
	over = wait_for_workers();
	print_summary(variant->name, now_ms() - start);
	ASSERT_TRUE(over) {
		/* whoever hangs keeps what it has */
		_exit(1);
	}
	listening = false;
	pthread_join(listener, NULL);
	close(events.fd);
	for (i = 0; i < model.threads; i++)
		worker_finish(&workers[i]);
	EXPECT_FALSE(model.failed);
	EXPECT_TRUE(has_hammered());
}

TEST_HARNESS_MAIN
