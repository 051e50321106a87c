# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-only
#
# What a kernel's log must not have, as extended regular expressions of grep and awk. A
# line that has one of the complaints fails whatever ran, unless it has the noise as well.
# For scripts to source; never run.

complaints='BUG: ([^K]|K[^C])|WARNING:|Oops|Kernel panic|general protection fault|Call [Tt]race'
complaints+='|KASAN|UBSAN|KFENCE|[Uu]nable to handle|soft lockup|hard LOCKUP'
complaints+='|scheduling while atomic'
complaints+='|possible (circular|recursive) locking|inconsistent lock state'
complaints+='|lock inversion|suspicious RCU usage|held lock freed|bad unlock balance'
complaints+='|blocked for more than|rcu.* detected .*stall'
complaints+='|self-detected stall|refcount_t|list_(add|del) corruption'
complaints+='|unreferenced object|suspected memory leak|leak detector disabled'
complaints+='|cannot create duplicate filename|kobject_add_internal failed'

# Data races in what is not ours are not for us to mend.
complaints+='|KCSAN: .*\[(vfio_)?m(dev|null|tty|disp|edu)[^]]*\]'

# What kernels say about the processor they are given, and when an allocation is made
# to fail, of which whoever wanted the kobject is told, too.
noise='(RETBleed|Spectre V2 ?): WARNING'
noise+='|kobject_add_internal failed for .* \(error: -12 '
