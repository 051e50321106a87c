#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The part of tools/testing/vfio that runs in the guest.

modes=(vfio_type1_iommu vfio_type1v2_iommu)
[ ! -e /dev/iommu ] ||
	modes+=(iommufd_compat_type1 iommufd_compat_type1v2 iommufd)

# vendor and device of a type's devices, by the type's parent
declare -A ids=([hello]='0x1b36 0x0fff' [mtty]='0x4348 0x3253' [mdisp]='0x1234 0x1111'
	[medu]='0x1234 0x11e8' [mdev_test_pci-full]='0x1b36 0x0ffe')

for module in vfio_mdev hello_pci mtty mdisp medu mdev_test_pci; do
	modprobe $module || exit
done

devices=0 passed=0 failed=0
for type in /sys/class/mdev_bus/*/mdev_supported_types/*; do
	name=${type##*/}
	read -r vendor device <<<"${ids[$name]:-${ids[${name%-*}]}}"
	# not a type that is listed above
	[ "$vendor" ] || continue
	uuid=$(</proc/sys/kernel/random/uuid)
	echo "$uuid" >"$type/create" || exit
	mkdir -p "ids/$uuid"
	echo "$vendor" >"ids/$uuid/vendor"
	echo "$device" >"ids/$uuid/device"
	devices=$((devices + 1))
	for mode in "${modes[@]}"; do
		echo "# $name, $mode"
		if MDEV_IOMMU_MODE=$mode ./vfio_pci_device_test "$uuid" >said 2>&1; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			cat said
		fi
		grep -E '^(ok|not ok)|^# Totals' said
	done
	echo 1 >"/sys/bus/mdev/devices/$uuid/remove" || exit
done
echo "$devices types, ${#modes[@]} modes: $passed runs passed, $failed failed"
[ $devices -ge 7 ] && [ $failed = 0 ]
