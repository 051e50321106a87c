/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints. Events copy all they show: a device, its parent and its vendor may
 * be gone when they are read.
 *
 * <linux/tracepoint.h> changes the checksums of what mdev_register.c and
 * mdev_register_driver.c export, so those two do not include this file.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM mdev

#if !defined(MDEV_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define MDEV_TRACE_H

#include <linux/ktime.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <linux/uuid.h>

#include "mdev_private.h"

#ifndef MDEV_TRACE_STRINGS
#define MDEV_TRACE_STRINGS

/* dynamic arrays of characters look like __string(), which changes with time */
#define MDEV_STRING(field, from)					\
	__dynamic_array(char, field, strlen(from) + 1)
#define MDEV_ASSIGN(field, from)					\
	strscpy(__get_str(field), from, __get_dynamic_array_len(field))

/* how long something took; 0 if it began before anybody traced it */
static inline u64 mdev_since(u64 start)
{
	return start ? ktime_get_ns() - start : 0;
}

#define mdev_parent_name(type)	dev_name((type)->parent->dev)
#define mdev_type_name_of(type)	kobject_name(&(type)->kobj)

#endif

TRACE_EVENT(mdev_parent_register,
	TP_PROTO(struct device *dev, bool classic, bool late, int ret),
	TP_ARGS(dev, classic, late, ret),
	TP_STRUCT__entry(
		MDEV_STRING(parent, dev_name(dev))
		__field(bool, classic)
		__field(bool, late)
		__field(int, ret)
	),
	TP_fast_assign(
		MDEV_ASSIGN(parent, dev_name(dev));
		__entry->classic = classic;
		__entry->late = late;
		__entry->ret = ret;
	),
	TP_printk("parent=%s door=%s late=%d ret=%d", __get_str(parent),
		  __entry->classic ? "classic" : "modern", __entry->late,
		  __entry->ret)
);

TRACE_EVENT(mdev_parent_unregister,
	TP_PROTO(struct mdev_parent_obj *parent, unsigned int devices, u64 ns),
	TP_ARGS(parent, devices, ns),
	TP_STRUCT__entry(
		MDEV_STRING(parent, dev_name(parent->dev))
		__field(bool, classic)
		__field(bool, late)
		__field(unsigned int, devices)
		__field(u64, ns)
	),
	TP_fast_assign(
		MDEV_ASSIGN(parent, dev_name(parent->dev));
		__entry->classic = parent->ops;
		__entry->late = parent->late;
		__entry->devices = devices;
		__entry->ns = ns;
	),
	TP_printk("parent=%s door=%s late=%d devices=%u ns=%llu",
		  __get_str(parent), __entry->classic ? "classic" : "modern",
		  __entry->late, __entry->devices, __entry->ns)
);

/* for perf and others, which do not know our names */
TRACE_DEFINE_ENUM(MDEV_STEP_PARSE);
TRACE_DEFINE_ENUM(MDEV_STEP_PARENT);
TRACE_DEFINE_ENUM(MDEV_STEP_ALLOC);
TRACE_DEFINE_ENUM(MDEV_STEP_UUID);
TRACE_DEFINE_ENUM(MDEV_STEP_QUOTA);
TRACE_DEFINE_ENUM(MDEV_STEP_VENDOR);
TRACE_DEFINE_ENUM(MDEV_STEP_SYSFS);
TRACE_DEFINE_ENUM(MDEV_STEP_BIND);

/* @step: what failed, if @ret is not 0 */
TRACE_EVENT(mdev_create,
	TP_PROTO(struct mdev_type_obj *type, const guid_t *uuid,
		 enum mdev_step step, int ret, u64 ns),
	TP_ARGS(type, uuid, step, ret, ns),
	TP_STRUCT__entry(
		__array(char, uuid, UUID_STRING_LEN + 1)
		MDEV_STRING(parent, mdev_parent_name(type))
		MDEV_STRING(type, mdev_type_name_of(type))
		__field(int, step)
		__field(int, ret)
		__field(u64, ns)
	),
	TP_fast_assign(
		snprintf(__entry->uuid, sizeof(__entry->uuid), "%pUl", uuid);
		MDEV_ASSIGN(parent, mdev_parent_name(type));
		MDEV_ASSIGN(type, mdev_type_name_of(type));
		__entry->step = step;
		__entry->ret = ret;
		__entry->ns = ns;
	),
	TP_printk("uuid=%s parent=%s type=%s ret=%d failed=%s ns=%llu",
		  __entry->uuid, __get_str(parent), __get_str(type),
		  __entry->ret,
		  __entry->ret ?
		  __print_symbolic(__entry->step,
				   { MDEV_STEP_PARSE,	"parse" },
				   { MDEV_STEP_PARENT,	"parent" },
				   { MDEV_STEP_ALLOC,	"alloc" },
				   { MDEV_STEP_UUID,	"uuid" },
				   { MDEV_STEP_QUOTA,	"quota" },
				   { MDEV_STEP_VENDOR,	"vendor" },
				   { MDEV_STEP_SYSFS,	"sysfs" },
				   { MDEV_STEP_BIND,	"bind" }) : "",
		  __entry->ns)
);

/* @forced: because the parent is unregistered */
TRACE_EVENT(mdev_remove,
	TP_PROTO(struct mdev_type_obj *type, const guid_t *uuid, bool forced,
		 int ret, u64 ns),
	TP_ARGS(type, uuid, forced, ret, ns),
	TP_STRUCT__entry(
		__array(char, uuid, UUID_STRING_LEN + 1)
		MDEV_STRING(parent, mdev_parent_name(type))
		__field(bool, forced)
		__field(int, ret)
		__field(u64, ns)
	),
	TP_fast_assign(
		snprintf(__entry->uuid, sizeof(__entry->uuid), "%pUl", uuid);
		MDEV_ASSIGN(parent, mdev_parent_name(type));
		__entry->forced = forced;
		__entry->ret = ret;
		__entry->ns = ns;
	),
	TP_printk("uuid=%s parent=%s forced=%d ret=%d ns=%llu", __entry->uuid,
		  __get_str(parent), __entry->forced, __entry->ret,
		  __entry->ns)
);

/* @driver: its name */
TRACE_EVENT(mdev_bind,
	TP_PROTO(struct device *dev, const char *driver, int ret),
	TP_ARGS(dev, driver, ret),
	TP_STRUCT__entry(
		MDEV_STRING(uuid, dev_name(dev))
		MDEV_STRING(driver, driver)
		__field(int, ret)
	),
	TP_fast_assign(
		MDEV_ASSIGN(uuid, dev_name(dev));
		MDEV_ASSIGN(driver, driver);
		__entry->ret = ret;
	),
	TP_printk("uuid=%s driver=%s ret=%d", __get_str(uuid),
		  __get_str(driver), __entry->ret)
);

/* a device, and who opened it; a pid of 0 if nobody has it open */
DECLARE_EVENT_CLASS(mdev_holder,
	TP_PROTO(struct device *dev, pid_t pid, const char *comm, int ret),
	TP_ARGS(dev, pid, comm, ret),
	TP_STRUCT__entry(
		MDEV_STRING(uuid, dev_name(dev))
		__field(pid_t, pid)
		__array(char, comm, TASK_COMM_LEN)
		__field(int, ret)
	),
	TP_fast_assign(
		MDEV_ASSIGN(uuid, dev_name(dev));
		__entry->pid = pid;
		mdev_copy_comm(__entry->comm, comm);
		__entry->ret = ret;
	),
	TP_printk("uuid=%s ret=%d holder=%d comm=%s", __get_str(uuid),
		  __entry->ret, __entry->pid, __entry->comm)
);

DEFINE_EVENT(mdev_holder, mdev_open,
	TP_PROTO(struct device *dev, pid_t pid, const char *comm, int ret),
	TP_ARGS(dev, pid, comm, ret)
);

DEFINE_EVENT(mdev_holder, mdev_close,
	TP_PROTO(struct device *dev, pid_t pid, const char *comm, int ret),
	TP_ARGS(dev, pid, comm, ret)
);

DEFINE_EVENT(mdev_holder, mdev_remove_refused,
	TP_PROTO(struct device *dev, pid_t pid, const char *comm, int ret),
	TP_ARGS(dev, pid, comm, ret)
);

/* @unregister: it is the parent that is to go */
TRACE_EVENT(mdev_wait,
	TP_PROTO(struct device *dev, pid_t pid, const char *comm,
		 bool unregister, unsigned int count),
	TP_ARGS(dev, pid, comm, unregister, count),
	TP_STRUCT__entry(
		MDEV_STRING(uuid, dev_name(dev))
		__field(pid_t, pid)
		__array(char, comm, TASK_COMM_LEN)
		__field(bool, unregister)
		__field(unsigned int, count)
	),
	TP_fast_assign(
		MDEV_ASSIGN(uuid, dev_name(dev));
		__entry->pid = pid;
		mdev_copy_comm(__entry->comm, comm);
		__entry->unregister = unregister;
		__entry->count = count;
	),
	TP_printk("uuid=%s for=%s count=%u holder=%d comm=%s", __get_str(uuid),
		  __entry->unregister ? "unregister" : "remove",
		  __entry->count, __entry->pid, __entry->comm)
);

/* What goes through the fd of a classic device, and how long the vendor took. */

TRACE_EVENT(mdev_ioctl,
	TP_PROTO(struct device *dev, unsigned int cmd, long ret, u64 ns),
	TP_ARGS(dev, cmd, ret, ns),
	TP_STRUCT__entry(
		MDEV_STRING(uuid, dev_name(dev))
		__field(unsigned int, cmd)
		__field(long, ret)
		__field(u64, ns)
	),
	TP_fast_assign(
		MDEV_ASSIGN(uuid, dev_name(dev));
		__entry->cmd = cmd;
		__entry->ret = ret;
		__entry->ns = ns;
	),
	TP_printk("uuid=%s cmd=0x%x ret=%ld ns=%llu", __get_str(uuid),
		  __entry->cmd, __entry->ret, __entry->ns)
);

DECLARE_EVENT_CLASS(mdev_access,
	TP_PROTO(struct device *dev, loff_t pos, size_t count, ssize_t ret,
		 u64 ns),
	TP_ARGS(dev, pos, count, ret, ns),
	TP_STRUCT__entry(
		MDEV_STRING(uuid, dev_name(dev))
		__field(loff_t, pos)
		__field(size_t, count)
		__field(ssize_t, ret)
		__field(u64, ns)
	),
	TP_fast_assign(
		MDEV_ASSIGN(uuid, dev_name(dev));
		__entry->pos = pos;
		__entry->count = count;
		__entry->ret = ret;
		__entry->ns = ns;
	),
	TP_printk("uuid=%s pos=0x%llx count=%zu ret=%zd ns=%llu",
		  __get_str(uuid), __entry->pos, __entry->count, __entry->ret,
		  __entry->ns)
);

DEFINE_EVENT(mdev_access, mdev_read,
	TP_PROTO(struct device *dev, loff_t pos, size_t count, ssize_t ret,
		 u64 ns),
	TP_ARGS(dev, pos, count, ret, ns)
);

DEFINE_EVENT(mdev_access, mdev_write,
	TP_PROTO(struct device *dev, loff_t pos, size_t count, ssize_t ret,
		 u64 ns),
	TP_ARGS(dev, pos, count, ret, ns)
);

/* for the lack of anything else, @pos and @count are those of the mapping */
DEFINE_EVENT(mdev_access, mdev_mmap,
	TP_PROTO(struct device *dev, loff_t pos, size_t count, ssize_t ret,
		 u64 ns),
	TP_ARGS(dev, pos, count, ret, ns)
);

#endif /* MDEV_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE mdev_trace
#include <trace/define_trace.h>
