/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One parent and its devices, with everybody who may come at any time: who writes
 * to "create" and "remove", who opens and closes, who binds and unbinds, and a
 * vendor that leaves. spin tries every order that their steps can have; tools/lint/model
 * runs it, and says what each -D takes out of the source.
 *
 * Names are the source's. A step is what nobody can look into: a section under
 * a spinlock, or a single store. Everybody goes on for as long as they like, and stops
 * when they like. Asserted are, beside what the source says that it needs:
 *
 *	nothing gets stuck (spin looks for that by itself);
 *	no device is taken away while open, and none is opened while it is;
 *	no memory of the parent is used after it was freed, and it is freed;
 *	a parent that is unregistered leaves no device, UUID, file or instance;
 *	when everybody has gone home, a write to "remove" takes away each device
 *	that is left, and then the quota is whole.
 *
 * Not in it: holders that never close, memory ordering (but for one pair, it is
 * all locks). The two doors are one here, with the quota of the modern and
 * the open count of the classic.
 */

#ifndef DEVICES
#define DEVICES	1	/* UUIDs */
#endif
#ifndef QUOTA
#define QUOTA	1
#endif
#ifndef CREATORS
#define CREATORS 1
#endif
#ifndef REMOVERS
#define REMOVERS 1
#endif
#ifndef HOLDERS
#define HOLDERS	1
#endif
#ifndef BINDERS
#define BINDERS	1
#endif
#ifndef VENDORS
#define VENDORS	1	/* who may leave */
#endif

mtype = { RESERVED, LIVE, REMOVING };
mtype = { READY, LEAVING, FORGOTTEN };
mtype = { OK, EAGAIN, EBUSY, EEXIST, EINTR, ENODEV, EREFUSED, EUSERS };

/* in sysfs; who removes it waits for those who are in it */
typedef File {
	bool there;
	byte inside
};

typedef Device {
	mtype state = REMOVING;
	bool uuid;		/* taken */
	bool listed;		/* in parent->devices */
	bool locked;		/* device_lock() */
	bool bound;		/* VFIO takes new users */
	bool driver;		/* the source's "bound": until it is unbound */
	bool missed;
	byte users;
	byte known;		/* references of those who bind */
	File remove
};

Device dev[DEVICES];
mtype parent = READY;
byte refs = 2;			/* of the registration and of the type */
byte available = QUOTA;
File create;
byte readers;			/* of unreg_sem */
bool writer, writer_waits;
bool request;			/* the vendor can ask a holder to close */
bool over;			/* nobody refuses or interrupts any more */

/*
 * What is inline uses the locals of its caller: d, the device; ok and ret, what came
 * out; again.
 */

/* sysfs */

inline file_enter(f)
{
	atomic {
		ok = f.there;
		f.inside = f.inside + ok
	}
}

inline file_leave(f)
{
	f.inside--
}

inline file_remove(f)
{
	f.there = false;
	f.inside == 0
}

/* By somebody who is in it, and is not counted any more; one of them wins. */
inline file_remove_self(f)
{
	atomic {
		ok = f.there;
		f.there = false;
		f.inside--
	}
	f.inside == 0
}

/* unreg_sem: a reader does not get in if there is, or waits, a writer */

inline down_read_trylock()
{
	atomic {
#ifdef NO_SEMAPHORE
		ok = true
#else
#ifdef READERS_SLEEP
		!writer && !writer_waits;
#endif
		ok = !writer && !writer_waits;
		readers = readers + ok
#endif
	}
}

inline up_read()
{
#ifndef NO_SEMAPHORE
	readers--;
#endif
	/* it looks whether somebody waits */
	assert(refs)
}

inline down_write()
{
	writer_waits = true;
	atomic {
		readers == 0;
		writer_waits = false;
		writer = true
	}
}

/* the driver core */

inline device_lock()
{
	atomic {
		!dev[d].locked;
		dev[d].locked = true
	}
}

inline device_unlock()
{
	dev[d].locked = false
}

/* VFIO takes no new users, and waits for those there are. */
inline unbind()
{
	dev[d].bound = false;
	atomic {
		dev[d].users == 0;
		dev[d].missed = dev[d].missed ||
				(dev[d].driver && dev[d].state == REMOVING);
		dev[d].driver = false
	}
}

/* The end of a bind, with the device locked. */
inline mdev_bus_probe()
{
#ifdef NO_PROBE_CHECK
	ok = true;
#else
	atomic {
		ok = dev[d].state != REMOVING;
		dev[d].missed = dev[d].missed || !ok
	}
#endif
	if
	:: ok -> atomic { dev[d].bound = true; dev[d].driver = true }
	:: ok && !over -> ok = false
	:: else
	fi
}

/* mdev_driver.c */

inline mdev_bus_attach()
{
	device_lock();
	if
	:: dev[d].bound -> ok = true
	:: else -> mdev_bus_probe()
	fi;
	device_unlock();
	if
	:: ok -> dev[d].state = LIVE
	:: else
	fi
}

/* mdev_device.c */

inline quota_claim()
{
	atomic {
		ok = available > 0;
		available = available - ok
	}
}

inline quota_release()
{
	atomic {
		assert(available < QUOTA);
		available++
	}
}

/* The last of a device, with its driver gone. Another may have its name now. */
inline mdev_device_destroy()
{
	dev[d].listed = false;
	file_remove(dev[d].remove);
	atomic {
		assert(dev[d].state != LIVE);
		assert(!dev[d].bound && !dev[d].driver && !dev[d].users);
		dev[d].missed = false;
		dev[d].uuid = false
	}
	quota_release();
	refs--
}

inline mdev_device_create_locked()
{
	atomic {
		/* who still knows the last of that name does not know this one */
		ok = !dev[d].uuid && !dev[d].known;
		dev[d].uuid = dev[d].uuid || ok
	}
	if
	:: !ok -> ret = EEXIST; goto created
	:: else
	fi;

	quota_claim();
	if
	:: !ok -> dev[d].uuid = false; ret = EUSERS; goto created
	:: else
	fi;

	atomic {
		assert(!dev[d].listed && !dev[d].remove.there);
		dev[d].state = RESERVED;
		refs++
	}
	if
	:: true
	:: true ->
		/* the vendor has refused, or memory was short */
#ifndef QUOTA_LEAK
		quota_release();
#endif
		dev[d].uuid = false;
		refs--;
		ret = EREFUSED;
		goto created
	fi;

	dev[d].remove.there = true;
	dev[d].listed = true;
	mdev_bus_attach();
	if
	:: ok -> ret = OK
	:: else -> mdev_device_destroy(); ret = EREFUSED
	fi;
created:
	skip
}

inline create_store()
{
	file_enter(create);
	if
	:: ok ->
		down_read_trylock();
		if
		:: ok ->
			assert(refs && parent != FORGOTTEN);
			mdev_device_create_locked();
			up_read()
		:: else -> ret = ENODEV
		fi;
		file_leave(create)
	:: else -> ret = ENODEV
	fi
}

/* A removal is off; the driver that came or went comes back. */
inline mdev_device_revive()
{
	atomic {
		again = dev[d].missed && !dev[d].driver;
		dev[d].missed = false;
		dev[d].state = (again -> RESERVED : LIVE)
	}
	if
	:: again ->
		mdev_bus_attach();
		if
		:: !ok -> dev[d].state = LIVE	/* without its driver */
		:: else
		fi
	:: else
	fi
}

/* LIVE -> REMOVING, and closed, or nothing has changed */
inline mdev_device_claim()
{
	ret = OK;
#ifdef CHECK_THEN_CLAIM
	if
	:: dev[d].users -> ret = EBUSY
	:: else
	fi;
#endif
	atomic {
		if
		:: ret == EBUSY
		:: ret == OK && dev[d].state == RESERVED -> ret = EAGAIN
		:: ret == OK && dev[d].state == REMOVING -> ret = ENODEV
#ifndef CHECK_THEN_CLAIM
		:: dev[d].state == LIVE && dev[d].users && !request ->
			ret = EBUSY
#endif
		:: else ->
			assert(dev[d].state == LIVE);
			dev[d].state = REMOVING;
			dev[d].missed = false
		fi
	}
#ifndef CHECK_THEN_CLAIM
	if
	:: ret == OK ->
		if
		:: !dev[d].users
		:: dev[d].users && parent == LEAVING -> ret = ENODEV
		:: dev[d].users && !over -> ret = EINTR
		fi;
		if
		:: ret != OK -> mdev_device_revive()
		:: else
		fi
	:: else
	fi
#endif
}

/* of a device that was claimed, or whose parent leaves */
inline mdev_device_retire(forced)
{
	assert(dev[d].state == REMOVING && !dev[d].users);
	device_lock();
	unbind();
	device_unlock();
	ret = OK;
	if
	:: true
	:: !forced && !over ->
		ret = EREFUSED;
		mdev_device_revive()
	fi
}

inline mdev_device_remove()
{
	down_read_trylock();
	if
	:: ok ->
		assert(refs && parent != FORGOTTEN);
#ifndef NO_PARENT_REF
		refs++;
#endif
		mdev_device_claim();
		if
		:: ret == OK -> mdev_device_retire(false)
		:: else
		fi;
		if
		:: ret == OK ->
#ifndef FILE_FIRST
			file_remove_self(dev[d].remove);
#endif
			mdev_device_destroy()
		:: else
		fi;
		up_read();
#ifndef NO_PARENT_REF
		refs--
#endif
	:: else -> ret = ENODEV
	fi
}

inline remove_store()
{
	file_enter(dev[d].remove);
	if
	:: ok ->
#ifdef FILE_FIRST
		file_remove_self(dev[d].remove);
		if
		:: ok -> mdev_device_remove()
		:: else -> ret = OK
		fi
#else
		mdev_device_remove();
		if
		:: ret != OK -> file_leave(dev[d].remove)
		:: else		/* not counted any more */
		fi
#endif
	:: else -> ret = ENODEV
	fi
}

/* Who may come. */

inline any_device()
{
	select(d : 0 .. DEVICES - 1)
}

/* So that spin need not tell apart what differs in nothing that matters. */
inline forget()
{
	atomic {
		d = 0;
		ok = false;
		again = false;
		ret = OK
	}
}

proctype creator()
{
	bool ok, again;
	mtype ret;
	byte d;

	do
	:: any_device(); create_store(); forget()
	:: break
	od
}

proctype remover()
{
	bool ok, again;
	mtype ret;
	byte d;

	do
	:: any_device(); remove_store(); forget()
	:: break
	od
}

/* mdev_open() and mdev_close(), each under device->lock */
proctype holder()
{
	byte d;

	do
	:: any_device();
		if
		:: atomic {
			dev[d].bound && dev[d].state != REMOVING ->
			dev[d].users++
		   }
		   assert(dev[d].remove.there && refs);
#ifdef WAKE_UNLOCKED
		   dev[d].users--;
		   assert(refs)		/* it wakes who waits there */
#else
		   atomic {
			assert(refs);
			dev[d].users--
		   }
#endif
		:: else
		fi
	:: break
	od
}

/* An administrator, or the bridge that comes and goes. */
proctype binder()
{
	bool ok, again;
	mtype ret;
	byte d;

	do
	:: any_device();
		if
		:: atomic { dev[d].remove.there -> dev[d].known++ };
			/* mdev_device_may_match() */
			atomic {
				ok = dev[d].state == LIVE;
				dev[d].missed = dev[d].missed ||
						dev[d].state == REMOVING
			}
			if
			:: ok ->
				device_lock();
				if
				:: !dev[d].bound -> mdev_bus_probe()
				:: else
				fi;
				device_unlock()
			:: true ->
				device_lock();
				unbind();
				device_unlock()
			:: !ok
			fi;
			dev[d].known--;
			forget()
		:: else
		fi
	:: break
	od
}

/* mdev_parent_withdraw() */
proctype vendor()
{
	bool ok, again;
	mtype ret;
	byte d;

	parent = LEAVING;
	down_write();
	d = 0;
	do
	:: d < DEVICES && dev[d].listed ->
		atomic {
			dev[d].state = REMOVING;
			dev[d].missed = false
		}
		d++
	:: d < DEVICES && !dev[d].listed -> d++
	:: d == DEVICES -> break
	od;
	/* all are asked, and waited for */
	d = 0;
	do
	:: d < DEVICES -> !dev[d].listed || !dev[d].users; d++
	:: d == DEVICES -> break
	od;
	d = 0;
	do
	:: d < DEVICES && dev[d].listed ->
		mdev_device_retire(true);
		mdev_device_destroy();
		d++
	:: d < DEVICES && !dev[d].listed -> d++
	:: d == DEVICES -> break
	od;

	/* the types go */
	file_remove(create);
	refs--;
	writer = false;
	parent = FORGOTTEN;
	refs--;

	d = 0;
	do
	:: d < DEVICES ->
		assert(!dev[d].uuid);
		assert(!dev[d].remove.there && !dev[d].listed);
		d++
	:: d == DEVICES -> break
	od;
	assert(available == QUOTA);
}

/* What is left can be taken away. */
proctype administrator()
{
	bool ok, again;
	mtype ret;
	byte d;

	do
	:: d < DEVICES && dev[d].uuid ->
		remove_store();
		assert(ret == OK && !dev[d].uuid);
		d++
	:: d < DEVICES && !dev[d].uuid -> d++
	:: d == DEVICES -> break
	od;
	assert(available == QUOTA);
	assert(refs == (parent == FORGOTTEN -> 0 : 2))
}

#define start(number, who)				\
	i = 0;						\
	do						\
	:: i < number -> run who(); i++			\
	:: i >= number -> break				\
	od

init {
	byte i;

	atomic {
		create.there = true;
		if
		:: request = true
		:: request = false
		fi;
		start(CREATORS, creator);
		start(REMOVERS, remover);
		start(HOLDERS, holder);
		start(BINDERS, binder);
		if
		:: VENDORS -> run vendor()
		:: true
		fi
	}
	_nr_pr == 1;
	over = true;
	run administrator()
}
