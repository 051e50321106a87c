#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The distribution's own kvmgt.ko, which was built for the kernel's mdev.ko, on
# ours. Its driver is registered although there is no graphics card.

ksft_skip=4
driver=/sys/bus/mdev/drivers/intel_vgpu_mdev
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

[ "$(id -u)" = 0 ] || skip "must be root"
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
