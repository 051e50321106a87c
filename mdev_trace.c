// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tracepoints.
 */
#include <linux/export.h>

#define CREATE_TRACE_POINTS
#include "mdev_trace.h"

/* the bridge's */
EXPORT_TRACEPOINT_SYMBOL_GPL(mdev_open);
EXPORT_TRACEPOINT_SYMBOL_GPL(mdev_ioctl);
EXPORT_TRACEPOINT_SYMBOL_GPL(mdev_read);
EXPORT_TRACEPOINT_SYMBOL_GPL(mdev_write);
EXPORT_TRACEPOINT_SYMBOL_GPL(mdev_mmap);
