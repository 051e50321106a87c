// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mnull sample as part of vmlinux, see early.h.
 */
#include "early.h"

#include "mnull.c"
