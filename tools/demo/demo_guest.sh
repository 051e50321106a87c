#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The story that tools/demo/demo tells, in the guest.
#
#   demo_guest.sh [--colour]
#
# What is shown after "# " is what is run, and what follows is what it said.
# After each step it is checked that things are as told; the first that is not
# ends the story with status 1.

# shellcheck disable=SC2016 # typed() expands what it has shown

case $1 in
-h|--help) sed -n '4,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
--colour) bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m' ;;
esac
[ -e /etc/vm/cmd ] || { echo "$0: only for the guest of tools/demo/demo" >&2; exit 1; }

# shellcheck source-path=SCRIPTDIR source=../testing/selftests/mdev/mdev_modules.sh disable=SC1091
. "$(dirname "$0")/mdev_modules.sh"

said=/tmp/said # by the last command
ms=0 # that it took

# What ls does by itself on a terminal.
ls() { command ls -C -T 0 "$@"; }

title() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
why() { printf '%s\n' "$@"; }

wrong() {
	printf '\n%sNot as told: %s%s\n' "$red" "$*" "$plain"
	exit 1
}

# typed COMMAND: show it, run it in this shell, show and keep what it says. One in
# the background says something when it is ready.
typed() {
	local start=${EPOCHREALTIME/./} status

	printf '%s# %s%s\n' "$green" "$1" "$plain"
	eval "$1" >$said 2>&1
	status=$?
	ms=$(((${EPOCHREALTIME/./} - start) / 1000))
	[[ $1 == *'&' ]] && until [ -s $said ]; do sleep 0.1; done
	# at the prompt, bash's errors have no name of a script
	sed -i "s|^$0: line [0-9]*: |bash: |" $said
	cat $said
	return $status
}

# works COMMAND
works() { typed "$1" || wrong "it failed"; }

# fails REASON COMMAND
fails() {
	typed "$2" && wrong "this should have failed: $1"
	grep -q "$1\$" $said || wrong "it should have said: $1"
}

# told REGEX...: did the last command say all of these?
told() {
	local regex

	for regex; do
		grep -qE "$regex" $said || wrong "the output lacks: $regex"
	done
}

# same WHAT IS WANTED
same() { [ "$2" = "$3" ] || wrong "$1 is '$2' instead of '$3'"; }

loaded() { [ -d "/sys/module/$1" ]; }
left() { cat "$types/mtty-$1/available_instances"; }

types=/sys/class/mdev_bus/mtty/mdev_supported_types
UUID=83b8f4f2-509f-382f-3c1e-e6bfe0fa1001

title '1. A stock kernel, and modules from outside of its tree'
why 'mtty is the vendor driver here: its virtual hardware is serial cards. It needs' \
	'the core, mdev, which comes along: ours, not the kernel'\''s own.'
works 'uname -r'
told '^6\.12\.'
works 'modprobe mtty'
works 'modinfo -n mdev'
told '/updates/mdev\.ko$'
works 'lsmod'
told '^mtty ' '^mdev .* mtty$'
loaded vfio_mdev && wrong 'vfio_mdev is loaded already'

title '2. The vendor has registered a parent, and what it can be divided into'
why 'A card of type mtty-1 takes one port from the parent, one of mtty-2 two.'
works 'cd /sys/class/mdev_bus/mtty/mdev_supported_types'
works 'ls'
told '^mtty-1 +mtty-2$'
works 'grep . */name */description */device_api */available_instances'
told '^mtty-2/name:.' '^mtty-2/description:.' '^mtty-2/device_api:vfio-pci$'
ports=$(cat ../max_ports)
same 'what is available of mtty-1' "$(left 1)" "$ports"
same 'what is available of mtty-2' "$(left 2)" $((ports / 2))

title '3. A UUID written to a type'\''s "create" makes a mediated device'
why 'The bridge to VFIO, vfio_mdev, is loaded by itself.'
works "UUID=$UUID"
works "echo \$UUID > $types/mtty-2/create"
works 'lsmod | grep mdev'
told '^vfio_mdev '

title '4. The device is on the mdev bus, below its parent'
why 'Its links lead to its driver, its IOMMU group, its type and its bus.'
works 'readlink /sys/bus/mdev/devices/$UUID'
told "/mtty/$UUID\$"
works 'cd /sys/bus/mdev/devices/$UUID; ls'
told '\<remove\>' '\<vfio-dev\>'
works 'ls -og driver iommu_group mdev_type subsystem'
told ' driver -> .*/bus/mdev/drivers/vfio_mdev$' ' mdev_type -> .*/mtty-2$' \
	' iommu_group -> .*/kernel/iommu_groups/[0-9]+$' ' subsystem -> .*/bus/mdev$'
group=$(basename "$(readlink iommu_group)")
why '' 'Two ports are taken, for either type.'
works 'cd /sys/class/mdev_bus/mtty/mdev_supported_types'
works 'grep . */available_instances'
same 'what is available of mtty-1' "$(left 1)" $((ports - 2))
same 'what is available of mtty-2' "$(left 2)" $((ports / 2 - 1))

title '5. To a VMM it is a VFIO device: a PCI card with two BARs'
why "The IOMMU group is number $group, so it is reached through /dev/vfio/$group. demo_client" \
	'opens it as QEMU would: container, group, type1, device.'
works 'ls /dev/vfio'
told "^$group +vfio\$"
works 'demo_client info $UUID'
told ' /dev/vfio/vfio .* type1,' " /dev/vfio/$group .*viable, in the container" \
	'^device .*PCI' '^0 BAR 0 +8 ' '^1 BAR 1 +8 ' '^7 config +256 ' \
	'^0 INTx +1 ' '^1 MSI +1 '

title '6. Reads and writes of a BAR reach the vendor driver'
why 'Bytes that its UART sends come back into its FIFO: there is a plug on the port.'
works 'demo_client echo $UUID "Hello, mdev!"'
told '^write THR .*"Hello, mdev!"' '^read RBR .*"Hello, mdev!"'

title '7. The vendor sends interrupts through an eventfd'
why 'A byte arrives, the UART raises INTx; its register IIR says why.'
works 'demo_client irq $UUID'
told ': received data are available' '^poll eventfd .*fired'

title '8. What is in use cannot be taken away'
why 'While a VMM has the device open, it cannot be removed, nor can its driver be' \
	'unloaded. Both fail at once.'
works 'demo_client hold $UUID &'
told '^open '
fails 'Device or resource busy' 'echo 1 > /sys/bus/mdev/devices/$UUID/remove'
why "(That took $ms ms.)"
((ms < 1000)) || wrong 'that was not at once'
fails 'Module mtty is in use' 'rmmod mtty'
works 'ls /sys/bus/mdev/devices'
told "^$UUID\$"

title '9. A UUID that is taken, or is none, is refused'
fails 'File exists' 'echo $UUID > mtty-1/create'
fails 'Invalid argument' 'echo my-first-mdev > mtty-1/create'
same 'what is available of mtty-1' "$(left 1)" $((ports - 2))

title '10. Once closed, the device can be removed'
why 'No device is listed any more, and what it took from the parent is back.'
works 'kill %1; wait'
works 'echo 1 > /sys/bus/mdev/devices/$UUID/remove'
works 'ls /sys/bus/mdev/devices'
same 'the list of devices' "$(<$said)" ''
works 'grep . */available_instances'
same 'what is available of mtty-1' "$(left 1)" "$ports"
same 'what is available of mtty-2' "$(left 2)" $((ports / 2))

title '11. Unloaded, the modules leave nothing behind'
why 'The search finds nothing, and VFIO has its own node only.'
works 'cd /; rmmod mtty mdev_pci vfio_mdev mdev'
modules_settle || wrong 'names stay'
works 'find /sys -xdev -name "*mdev*" -o -name "*mtty*" -o -path "*/iommu_groups/*"'
same 'what is left' "$(<$said)" ''
works 'ls /dev/vfio'
same 'what is left' "$(<$said)" vfio
