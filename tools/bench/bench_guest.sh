#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Started by tools/bench/bench in a guest: measure devices without mdev, with the
# kernel's own, and with ours; and PCI devices by hand and with the kit.
#
#   bench_guest.sh counted|clock LIVE...
#
# LIVE are numbers of devices, ascending. What is printed is for tools/bench/bench:
# see bench.c; subjects that have a VFIO device each end in "-vfio".

case $1 in
-h|--help) sed -n '4,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac
[ -e /etc/vm/cmd ] || { echo "$0: only for the guest of tools/bench/bench" >&2; exit 1; }

mode=$1
shift
live=("$@")
stock=$(find /lib/modules -path '*/kernel/drivers/vfio/mdev/mdev.ko*')

# shellcheck source-path=SCRIPTDIR source=../testing/selftests/mdev/mdev_modules.sh disable=SC1091
. "$(dirname "$0")/mdev_modules.sh"

die() { echo "bench_guest: $*" >&2; exit 1; }

# load SUBJECT: sets module, create, create2, devices and switch. The module is given params.
load() {
	local vfio=0 class=/sys/class/mdev_bus

	[[ $1 == *-vfio ]] && vfio=1
	devices=/sys/bus/mdev/devices
	module=bench_modern
	case $1 in
	floor*)
		module=bench_floor class=/sys/devices/platform
		devices=/sys/bus/bench_floor/devices ;;
	upstream*) insmod "$stock" ;;
	modern*) module_load mdev ;;
	classic)
		module=bench_classic
		module_load mdev && module_load mdev_test_bridge ;;
	classic-vfio) module=bench_classic; module_load vfio_mdev ;;
	hand*|kit*)
		module=bench_pci
		module_load vfio_mdev && module_load mdev_pci ;;
	esac || die "cannot load mdev for $1"
	if [ $module = bench_classic ] || [ $module = bench_pci ]; then
		# shellcheck disable=SC2086 # several, or none
		module_load $module $params
	else
		# modprobe would bring our mdev along
		# shellcheck disable=SC2086 # the same
		insmod "$(modinfo -n $module)" vfio=$vfio $params
	fi || die "cannot load $module"
	create=$class/bench.0/mdev_supported_types/platform-bench/create
	[ -e "$create" ] || create=$class/bench.0/create
	create2=${create/bench.0/bench.1}
	[[ $1 != hand* ]] || create=$create2
	switch=/sys/module/$module/parameters/registered
}

unload() {
	local name

	for name in $module mdev_test_bridge vfio_mdev mdev_pci mdev; do
		[ ! -d "/sys/module/$name" ] || module_unload "$name" ||
			die "cannot unload $name"
	done
}

# bench SUBJECT WHAT [ARG]...: SWITCH and CREATE2 are files of the module's
bench() {
	local args=("${@:3}")

	load "$1"
	args=("${args[@]/#SWITCH/$switch}")
	./bench "$1" "$2" "$create" "$devices" "${args[@]/#CREATE2/$create2}" ||
		die "$1: $2 failed"
	unload
}

# register SUBJECT N: with as many parents besides
register() {
	params=parents=$(($2 + 2))
	bench "$1" register SWITCH "$2"
	params=''
}

# sizes SUBJECT: of the modules, in bytes
sizes() {
	local name

	load "$1"
	for name in mdev vfio_mdev mdev_pci $module; do
		[ ! -d "/sys/module/$name" ] ||
			echo "$1 size-$name 0 $(cat "/sys/module/$name/coresize")"
	done
	unload
}

many=() few=() parents=(100 10000) params=''
for n in "${live[@]}"; do
	if ((n > 10000)); then many+=("$n"); else few+=("$n"); fi
done

((${#few[@]})) || few=(1000)
modprobe -a vfio vfio_iommu_type1 || die "no VFIO"
for subject in floor upstream modern classic; do
	bench $subject create "${few[@]}"
	bench $subject-vfio create "${few[@]}"
	bench $subject unregister SWITCH 1 "${few[@]}"
	for n in "${parents[@]}"; do
		register $subject "$n"
	done
	bench $subject-vfio memory "${few[-1]}"
	case $mode in
	counted) sizes $subject-vfio ;;
	clock) bench $subject parallel CREATE2 1000 ;;
	esac
done
# VFIO's own files, with nobody of ours in between, and with the bridge
bench modern-vfio vfio
bench classic-vfio vfio
# PCI devices, which the classic door makes, by hand and with the kit
for subject in hand kit; do
	bench $subject-vfio pci
	bench $subject-vfio memory "${few[-1]}"
done
[ "$mode" != counted ] || sizes kit-vfio
# Last, as the kernel's own takes a quarter of an hour for 100,000. 1000 once more: a
# minute later the clock may show something else for the same work.
for subject in floor modern classic upstream; do
	((${#many[@]} == 0)) || bench $subject create 1000 "${many[@]}"
done
