/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The account of pinned memory in vfio_mdev_memory.c: one page of a container, devices
 * whose vendors pin it, VFIO that unmaps it, and other devices that are opened
 * meanwhile; with IOMMUFD, one device, which gets another address space. spin tries
 * every order that their steps can have; tools/lint/model runs it, and says what each
 * -D takes out of the source.
 *
 * Names are the source's, and VFIO's. A step is what nobody can look into: a section
 * under mem->lock, or under one of VFIO's locks if nothing is waited for in it.
 * Asserted are, beside what is said at its place:
 *
 *	nothing gets stuck (spin looks for that by itself);
 *	VFIO never stops the host, as it does when a page is pinned after it has asked
 *	for it too often;
 *	no vendor has a page that nobody holds;
 *	no pin succeeds after the first question, until VFIO is through;
 *	when all vendors have released their devices, nothing is held.
 *
 * Vendors do what they like when they are told: unpin, unpin when the unmap is over,
 * or forget it. Time passes only while nobody can do anything else ("timeout"), so a
 * question that ends without an answer had none that could come. Numbers of questions
 * are smaller than the source's: VFIO asks QUESTIONS times, and not eleven.
 *
 * Not in it: more than one page, and so calls of many; more threads that unmap;
 * RLIMIT_MEMLOCK; a thread that cannot be watched; vfio_mdev_join(), which is for more
 * devices that come than there are here.
 */

#ifndef DEVICES
#define DEVICES	2
#endif
#ifndef UNMAPS
#define UNMAPS	2
#endif
#ifndef PINS
#define PINS	2	/* of each device */
#endif

/* VFIO_MDEV_PATIENCE_TYPE1, VFIO_MDEV_LAST_QUESTION, and what VFIO does */
#define PATIENCE	1
#define LAST_QUESTION	3
#define QUESTIONS	4

typedef Memory {
	bool listed;		/* VFIO asks it */
	byte done;		/* mem->pins */
	byte going;		/* the same, neither pinned nor unpinned */
	bool asked;		/* what is being pinned, though it was not done */
	byte kept;		/* mem->kept */
	byte kept_page;		/* which one that is */
	/* the record of the unmap that runs */
	bool unmap;
	bool tell;
	bool keep;
	byte rounds;
	/* the vendor's: pins that it believes to have, of the page mapped then */
	byte has[UNMAPS + 1]
};

Memory mem[DEVICES];
bool iommu_lock, device_list_lock;
bool mapped = true;
byte page;			/* which one is mapped */
byte pinned;			/* how often VFIO has pinned it */
byte refs[UNMAPS + 1];		/* the bridge's own, of each */
bool unmapping;			/* VFIO has asked, and is not through */
byte rounds;			/* how often it has asked anybody, in this unmap */

#define lock(l)		atomic { !l; l = true }
#define unlock(l)	l = false

/* A page of which VFIO and the bridge have no pin may be anybody's. */
inline page_check()
{
	d_step {
		p = 0;
		do
		:: p <= UNMAPS ->
			m = 0;
			do
			:: m < DEVICES ->
				assert(!mem[m].has[p] || refs[p] ||
				       p == page && pinned);
				m++
			:: else -> break
			od;
			p++
		:: else -> break
		od;
		p = 0;
		m = 0
	}
}

/* vfio_unpin_pages(), whatever is mapped there now */
inline vfio_unpin()
{
	lock(iommu_lock);
	atomic {
		if
		:: pinned -> pinned--
		:: else
		fi;
		page_check()
	};
	unlock(iommu_lock)
}

/*
 * vfio_mdev_unpin_pages(), of one of those that the vendor has, if any; it has a lock of
 * its own
 */
inline vfio_mdev_unpin_pages()
{
	atomic {
		ok = false;
		if
		:: mem[d].has[0] -> mem[d].has[0]--
		:: mem[d].has[1] -> mem[d].has[1]--
		:: mem[d].has[UNMAPS] -> mem[d].has[UNMAPS]--
		:: else -> goto unpinned
		fi;
		if
		:: mem[d].kept ->
			mem[d].kept--;
#ifndef NOT_HELD
			refs[mem[d].kept_page]--;
#endif
			page_check()
		:: else ->
			assert(mem[d].done);
			mem[d].done--;
			mem[d].going++;
			ok = true
		fi;
	}
	if
	:: ok ->
		vfio_unpin();
		mem[d].going--
	:: else
	fi;
unpinned:
	ok = false
}

#define vendor_has(d)	(mem[d].has[0] || mem[d].has[1] || mem[d].has[UNMAPS])

/* vfio_mdev_keep_work() */
proctype keeper(byte d)
{
	byte p, m;

end:	do
	:: atomic {
		mem[d].keep && mem[d].done ->
		mem[d].done--;
		mem[d].going++;
		mem[d].kept++;
		mem[d].kept_page = page;
#ifndef NOT_HELD
		refs[page]++
#endif
	   }
	   vfio_unpin();
	   mem[d].going--
	od
}

/* vfio_mdev_tell_work() */
proctype teller(byte d)
{
	byte p, m;
	bool ok;

end:	do
	:: atomic {
		mem[d].tell ->
		mem[d].tell = false
	   }
	   if
	   :: true
	   :: true -> !unmapping
	   :: true -> goto end		/* it forgets */
	   fi;
	   do
	   :: vendor_has(d) -> vfio_mdev_unpin_pages()
	   :: else -> break
	   od
	od
}

/* A vendor that pins what it likes, from when the device is listed */
proctype pinner(byte d)
{
	byte p, m, n;
	bool ok;

	mem[d].listed;
	do
	:: n < PINS ->
		n++;
		atomic {
			ok = true;
#ifndef FORGETS_RANGE
			ok = ok && !mem[d].unmap;
#endif
#ifndef PINNED_AGAIN
			ok = ok && !mem[d].kept;
#endif
			mem[d].going = mem[d].going + ok;
			mem[d].asked = false
		}
		if
		:: !ok -> goto next
		:: else
		fi;
		lock(iommu_lock);
		atomic {
			ok = mapped;
			pinned = pinned + ok
		}
		unlock(iommu_lock);
		if
		:: !ok -> mem[d].going--; goto next
		:: else
		fi;
		/* vfio_mdev_call_done() */
		atomic {
			ok = !mem[d].asked;
#ifdef TORN
			ok = true;
#endif
			if
			:: ok ->
				assert(!mem[d].unmap);
				mem[d].going--;
				mem[d].done++;
				mem[d].has[page]++
			:: else
			fi
		}
		if
		:: !ok -> vfio_unpin(); mem[d].going--
		:: else
		fi;
next:
		ok = false
	:: vendor_has(d) -> vfio_mdev_unpin_pages()
	:: n == PINS -> break
	od
}

/* vfio_mdev_dma_unmap(): one question */
inline ask()
{
	atomic {
		if
		:: !mem[d].unmap ->
			mem[d].unmap = true;
#ifdef ROUNDS_ADD_UP
			mem[d].rounds = rounds
#else
			/* others know of this round already */
			mem[d].rounds = rounds - (rounds > 0)
#endif
		:: else
		fi;
		mem[d].rounds++;
		rounds = (rounds > mem[d].rounds -> rounds : mem[d].rounds);
		mem[d].asked = true;
		mem[d].tell = mem[d].done;
#ifndef NEVER_KEEPS
		mem[d].keep = mem[d].done && mem[d].rounds > PATIENCE
#endif
	}
	if
	:: atomic { !mem[d].done && !mem[d].going -> skip }
#ifndef WITHOUT_END
	:: atomic {
#ifndef NEVER_KEEPS
		mem[d].rounds < LAST_QUESTION &&
#endif
		timeout -> skip
	   }
#endif
	fi
#ifdef DROPPED
	;
	mem[d].unmap = false
#endif
}

/* vfio_dma_do_unmap(), and what the thread does when it returns, and before */
proctype unmapper()
{
	byte d, n, retries;

	do
	:: n < UNMAPS ->
		n++;
		retries = 0;
		lock(iommu_lock);
		do
		:: pinned ->
			assert(retries < QUESTIONS);
			retries++;
			unmapping = true;
			lock(device_list_lock);
			unlock(iommu_lock);
			d = 0;
			do
			:: d < DEVICES && mem[d].listed -> ask(); d++
			:: d < DEVICES && !mem[d].listed -> d++
			:: d == DEVICES -> break
			od;
			unlock(device_list_lock);
			lock(iommu_lock)
		:: else -> break
		od;
		mapped = false;
		unlock(iommu_lock);
		/* vfio_mdev_unmap_returned() */
		atomic {
			d = 0;
			do
			:: d < DEVICES ->
				mem[d].unmap = false;
				mem[d].keep = false;
				d++
			:: else -> break
			od;
			d = 0;
			unmapping = false;
			rounds = 0
		}
		lock(iommu_lock);
		atomic {
			page++;
			mapped = true
		}
		unlock(iommu_lock)
	:: else -> break
	od
}

/* iommufd_access_change_ioas() */
proctype changer()
{
	byte d, n, p, m;

	do
	:: n < UNMAPS ->
		n++;
		lock(iommu_lock);
		mapped = false;
		unlock(iommu_lock);
		unmapping = true;
#ifdef ASKED_ONCE
		ask();
#else
		/* vfio_mdev_ask_iommufd() */
		do
		:: mem[d].done || mem[d].going ->
			if
			:: mem[d].rounds <= PATIENCE -> ask()
			:: else -> !mem[d].done && !mem[d].going
			fi
		:: else -> break
		od;
#endif
		atomic {
			mem[d].unmap = false;
			mem[d].keep = false;
			mem[d].rounds = 0;
			unmapping = false;
			rounds = 0
		}
		lock(iommu_lock);
		atomic {
			/* whatever there still is */
			pinned = 0;
			page++;
			mapped = true;
			page_check()
		}
		unlock(iommu_lock)
	:: else -> break
	od
}

/* vfio_iommu_type1_register_device() */
proctype opener()
{
	byte d = 1;

	do
	:: d < DEVICES ->
		lock(iommu_lock);
		lock(device_list_lock);
		mem[d].listed = true;
		unlock(device_list_lock);
		unlock(iommu_lock);
		d++
	:: else -> break
	od
}

init {
	byte d, p, m;
	bool ok;

	atomic {
		mem[0].listed = true;
		do
		:: d < DEVICES ->
			run keeper(d);
			run teller(d);
			d++
		:: else -> break
		od;
		/* these end: spin counts nobody out before who came later */
		d = 0;
		do
		:: d < DEVICES -> run pinner(d); d++
		:: else -> break
		od;
#ifdef IOMMUFD
		run changer()
#else
		run opener();
		run unmapper()
#endif
	}
	/* all but the workers have ended, and these have nothing to do */
	_nr_pr == 1 + 2 * DEVICES && timeout;
	/* vfio_mdev_memory_forget() */
	atomic {
		d = 0;
		do
		:: d < DEVICES ->
			do
			:: vendor_has(d) -> vfio_mdev_unpin_pages()
			:: else -> break
			od;
			assert(!mem[d].going);
			d++
		:: else -> break
		od;
		assert(!pinned && !refs[0] && !refs[1])
	}
}
