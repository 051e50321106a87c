#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The distribution's own kvmgt.ko, which was built for the kernel's mdev.ko, on
# ours; or kvmgt in vmlinux, with mdev as a module, or in vmlinux, too. Its driver is
# registered although there is no graphics card.

ksft_skip=4
driver=/sys/bus/mdev/drivers/intel_vgpu_mdev
pending=/sys/kernel/debug/mdev/pending
tests=0
failed=0

# shellcheck source-path=SCRIPTDIR source=mdev_modules.sh disable=SC1091
. "$(dirname "$0")/mdev_modules.sh"

skip() {
	echo "1..0 # SKIP $*"
	exit $ksft_skip
}

# check WHAT COMMAND...
check() {
	tests=$((tests + 1))
	what=$1
	shift
	if "$@"; then
		echo "ok $tests kvmgt.$what"
	else
		echo "not ok $tests kvmgt.$what"
		failed=1
	fi
}

# shellcheck disable=SC2317 # called by check; O: not a module of the kernel's
is_ours() { grep -q O /sys/module/mdev/taint; }
# shellcheck disable=SC2317
is_gone() { [ ! -e "$1" ]; }

# shellcheck disable=SC2317
is_pending() { grep -qx 'driver intel_vgpu_mdev pending' $pending; }
# shellcheck disable=SC2317
is_not_pending() { ! is_pending; }

[ "$(id -u)" = 0 ] || skip "must be root"
if [ -e $driver ] && [ ! -e /sys/module/mdev/holders ]; then
	echo TAP version 13
	echo 1..1
	check in_vmlinux is_not_pending
	exit $failed
fi
if is_pending 2>/dev/null; then
	echo TAP version 13
	echo 1..18
	for round in 1 2 3; do
		check $round.pending is_pending
		check $round.load module_load mdev
		check $round.driver [ -e $driver ]
		check $round.not_pending is_not_pending
		check $round.unload module_remove mdev
		check $round.driver_gone is_gone $driver
	done
	exit $failed
fi
modinfo -n kvmgt 2>/dev/null | grep -q / || skip "there is no kvmgt.ko"

echo TAP version 13
echo 1..7
check load module_load kvmgt
check mdev_is_ours is_ours
check holds_mdev [ -e /sys/module/mdev/holders/kvmgt ]
check driver [ -e $driver ]
check unload module_remove kvmgt
check driver_gone is_gone $driver
# which modprobe -r may have done
module_remove mdev 2>/dev/null
check mdev_gone is_gone /sys/module/mdev
exit $failed
