// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tracepoints, and a way to them for files that cannot include their header.
 */
#include <linux/export.h>

#define CREATE_TRACE_POINTS
#include "mdev_trace.h"

/* the bridge's */
EXPORT_TRACEPOINT_SYMBOL_GPL(mdev_open);
EXPORT_TRACEPOINT_SYMBOL_GPL(mdev_close);
EXPORT_TRACEPOINT_SYMBOL_GPL(mdev_ioctl);
EXPORT_TRACEPOINT_SYMBOL_GPL(mdev_read);
EXPORT_TRACEPOINT_SYMBOL_GPL(mdev_write);
EXPORT_TRACEPOINT_SYMBOL_GPL(mdev_mmap);

void mdev_traced_register(struct device *dev, bool classic, bool late, int ret)
{
	trace_mdev_parent_register(dev, classic, late, ret);
}

/* 0 if nobody traces it */
u64 mdev_traced_unregister_start(void)
{
	return trace_mdev_parent_unregister_enabled() ? ktime_get_ns() : 0;
}

/* The parent is still all there. */
void mdev_traced_unregister(struct mdev_parent_obj *parent,
			    unsigned int devices, u64 start)
{
	trace_mdev_parent_unregister(parent, devices, mdev_since(start));
}

void mdev_traced_bind(struct device *dev, const char *driver, int ret)
{
	trace_mdev_bind(dev, driver, ret);
}
