/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Makes the driver included after this one that is built in and starts at the
 * initcall level which its parameter "level" names on the kernel's command line:
 * 0 (pure) to 7 (late), as in <linux/init.h>. Without it the driver does not
 * start. That is how late binding is tested: with vendors whose source knows
 * nothing of it.
 */
#include <linux/module.h>
#include <linux/moduleparam.h>

static int early_level = -1;
module_param_named(level, early_level, int, 0444);
MODULE_PARM_DESC(level, "initcall level to start at, 0 to 7; else not started");

static initcall_t early_init __initdata;

#define EARLY_INITCALL(name, number)				\
	static int __init early_##name(void)			\
	{							\
		return early_level == (number) ? early_init() : 0;	\
	}							\
	name##_initcall(early_##name)

EARLY_INITCALL(pure, 0);
EARLY_INITCALL(core, 1);
EARLY_INITCALL(postcore, 2);
EARLY_INITCALL(arch, 3);
EARLY_INITCALL(subsys, 4);
EARLY_INITCALL(fs, 5);
EARLY_INITCALL(device, 6);
EARLY_INITCALL(late, 7);

#undef module_init
#define module_init(fn) static initcall_t early_init __initdata = fn
