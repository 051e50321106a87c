// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fault injection for kernels that were built without: has a function that mdev.ko
 * calls fail once, or any function of the kernel come late once, by a kprobe.
 *
 * Write "FUNCTION N" to the parameter "call": the N-th call (from 0) that mdev makes
 * for the writing thread fails. It reads 1 until then. FUNCTION is one of those
 * below, or "-" for none.
 *
 * Write "FUNCTION MS" to the parameter "delay": the next call of that function, which
 * has at most six arguments and is not called in atomic context, sleeps for so many
 * milliseconds before it begins, as if its thread had been preempted. It reads 1 until
 * then. MS 0 is for none.
 */
#include <linux/delay.h>
#include <linux/kallsyms.h>
#include <linux/kobject.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/string.h>

/* what there is before the function can fail */
static void prepare_kobject(struct pt_regs *regs)
{
	kobject_init((void *)regs->di, (void *)regs->si);
}

static const struct function {
	const char *name;
	long ret;
	void (*prepare)(struct pt_regs *regs);
} functions[] = {
	/* kmalloc() of 6.12 and newer, and of 6.1 */
	{ "__kmalloc_cache_noprof", 0 },
	{ "kmalloc_trace", 0 },
	{ "dev_set_name", -ENOMEM },
	{ "device_add", -ENOMEM },
	{ "device_driver_attach", -ENOMEM },
	{ "kobject_create_and_add", 0 },
	{ "kobject_init_and_add", -ENOMEM, prepare_kobject },
	{ "sysfs_create_groups", -ENOMEM },
	{ "sysfs_create_link", -ENOMEM },
};

static const struct function *function;
static struct task_struct *task;
static unsigned int left;
static struct kprobe probe;

static bool called_by_mdev(unsigned long address)
{
	char name[KSYM_SYMBOL_LEN];

	sprint_symbol(name, address);
	return strstr(name, "[mdev]");
}

/* touches no register, whatever the error is that it goes back with */
static noinline notrace void return_to_caller(void)
{
	barrier();
}

/* Instead of the function: go back to the caller with an error. */
static int fail_call(struct kprobe *p, struct pt_regs *regs)
{
	unsigned long caller = *(unsigned long *)regs->sp;

	if (READ_ONCE(task) != current || !called_by_mdev(caller) || left--)
		return 0;

	WRITE_ONCE(task, NULL);
	if (function->prepare)
		function->prepare(regs);
	regs->ax = function->ret;
	regs->ip = (unsigned long)return_to_caller;
	return 1;
}

/* To have one keeps the kernel from making a jump of the probe, which returns. */
static void no_jump(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static void disarm(void)
{
	WRITE_ONCE(task, NULL);
	if (function)
		unregister_kprobe(&probe);
	function = NULL;
}

static int arm(const struct function *fn)
{
	int ret;

	memset(&probe, 0, sizeof(probe));
	probe.symbol_name = fn->name;
	probe.pre_handler = fail_call;
	probe.post_handler = no_jump;
	ret = register_kprobe(&probe);
	if (ret)
		return ret;
	function = fn;
	WRITE_ONCE(task, current);
	return 0;
}

static int call_set(const char *val, const struct kernel_param *kp)
{
	char name[32] = "";
	unsigned int i;

	disarm();
	if (sscanf(val, "%31s %u", name, &left) != 2)
		return name[0] == '-' ? 0 : -EINVAL;
	for (i = 0; i < ARRAY_SIZE(functions); i++)
		if (!strcmp(name, functions[i].name))
			return arm(&functions[i]);
	return -ENOENT;
}

static int call_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", !!READ_ONCE(task));
}

static const struct kernel_param_ops call_ops = {
	.set	= call_set,
	.get	= call_get,
};
module_param_cb(call, &call_ops, NULL, 0600);
MODULE_PARM_DESC(call, "function and number of the call that fails");

typedef long (*any_function)(long a, long b, long c, long d, long e, long f);

static struct kprobe delay_probe;
static char delay_name[64];
static unsigned int delay_ms;
static atomic_t delays;

static noinline notrace long call_late(long a, long b, long c, long d, long e,
				       long f)
{
	any_function fn = (any_function)delay_probe.addr;

	msleep(delay_ms);
	return fn(a, b, c, d, e, f);
}

static int delay_call(struct kprobe *p, struct pt_regs *regs)
{
	if (atomic_cmpxchg(&delays, 1, 0) != 1)
		return 0;
	regs->ip = (unsigned long)call_late;
	return 1;
}

static void delay_disarm(void)
{
	atomic_set(&delays, 0);
	if (delay_probe.symbol_name)
		unregister_kprobe(&delay_probe);
	memset(&delay_probe, 0, sizeof(delay_probe));
}

static int delay_set(const char *val, const struct kernel_param *kp)
{
	int ret;

	delay_disarm();
	if (sscanf(val, "%63s %u", delay_name, &delay_ms) != 2)
		return -EINVAL;
	if (!delay_ms)
		return 0;
	delay_probe.symbol_name = delay_name;
	delay_probe.pre_handler = delay_call;
	delay_probe.post_handler = no_jump;
	ret = register_kprobe(&delay_probe);
	if (ret)
		delay_probe.symbol_name = NULL;
	else
		atomic_set(&delays, 1);
	return ret;
}

static int delay_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&delays));
}

static const struct kernel_param_ops delay_ops = {
	.set	= delay_set,
	.get	= delay_get,
};
module_param_cb(delay, &delay_ops, NULL, 0600);
MODULE_PARM_DESC(delay, "function whose next call comes late, and by how much, in ms");

static int __init test_fail_init(void)
{
	return 0;
}

static void __exit test_fail_exit(void)
{
	disarm();
	delay_disarm();
}

module_init(test_fail_init);
module_exit(test_fail_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Make functions fail that mdev calls");
