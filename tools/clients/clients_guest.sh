#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Started by tools/clients/clients in a guest: try what the distribution has for
# mediated devices. Its root is on the first disk.
#
#   clients_guest.sh CLIENT...
#
# Prints a line of the table per operation. An operation is a command that has to
# succeed, and what must be true in sysfs (or elsewhere) after it.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # op() evaluates what it is given

case $1 in
-h|--help) sed -n '4,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac
# shellcheck source-path=SCRIPTDIR source=../vm/userland_guest.sh disable=SC1091
. "$(dirname "$0")/userland_guest.sh"

client='' version=''
mdevs=/sys/bus/mdev/devices
types=/sys/class/mdev_bus/mtty/mdev_supported_types
uuid=83b8f4f2-509f-382f-3c1e-e6bfe0fa1001
other=a297db4a-f4c2-11e6-90f6-d3b88d6c9525

exists() { [ -d "$mdevs/$1" ]; }
type_of() { basename "$(readlink "$mdevs/$1/mdev_type")"; }
left() { cat "$types/$1/available_instances"; }
nothing() { [ -z "$(ls -A "$mdevs")" ]; }
# version_of PACKAGE
version_of() { dpkg-query -W -f '${Version}' "$1"; }
# json FILTER: is it true of what the command said?
json() { jq -e "$1" "$said" >/dev/null; }

test_mdevctl() {
	client=mdevctl version=$(version_of mdevctl)
	module_load mtty
	op 'types' 'mdevctl types' 'says "^mtty$"' 'says "^  mtty-2$"' \
		'says "Available instances: $(left mtty-2)$"' \
		'says "Name: $(cat $types/mtty-2/name)$"'
	op 'types --dumpjson' 'mdevctl types --dumpjson' \
		'json ".[0].mtty[1].\"mtty-2\".available_instances == $(left mtty-2)"' \
		'json ".[0].mtty[0].\"mtty-1\".device_api == \"vfio-pci\""'

	op 'start, of what is not defined' \
		'mdevctl start -u $uuid -p mtty -t mtty-1' \
		'exists $uuid' '[ "$(type_of $uuid)" = mtty-1 ]' '[ "$(left mtty-1)" = 23 ]'
	op 'start, the UUID is taken: refused' \
		'! mdevctl start -u $uuid -p mtty -t mtty-2' \
		'exists $uuid' '[ "$(type_of $uuid)" = mtty-1 ]' '[ "$(left mtty-1)" = 23 ]'
	op 'list' 'mdevctl list' 'says "^$uuid mtty mtty-1 manual$"'
	op 'list --dumpjson' 'mdevctl list --dumpjson' \
		'json ".[0].mtty[0].\"$uuid\".mdev_type == \"mtty-1\""'
	op 'define, of what is running' 'mdevctl define -u $uuid' \
		'[ -e /etc/mdevctl.d/mtty/$uuid ]' 'exists $uuid'
	op 'stop' 'mdevctl stop -u $uuid' 'nothing' '[ "$(left mtty-1)" = 24 ]' \
		'[ -e /etc/mdevctl.d/mtty/$uuid ]'
	op 'undefine' 'mdevctl undefine -u $uuid' \
		'[ ! -e /etc/mdevctl.d/mtty/$uuid ]'

	op 'define' 'mdevctl define -u $uuid -p mtty -t mtty-2' nothing
	op 'list --defined' 'mdevctl list --defined' \
		'says "^$uuid mtty mtty-2 manual$"' 'nothing'
	op 'modify --addattr, read-only' \
		'mdevctl modify -u $uuid --addattr=vendor/ports --value=9' nothing
	op 'start, an attribute cannot be set: refused, nothing is left' \
		'! mdevctl start -u $uuid' 'nothing' '[ "$(left mtty-2)" = 12 ]'
	op 'modify --delattr' 'mdevctl modify -u $uuid --delattr'
	op 'modify --addattr' \
		'mdevctl modify -u $uuid --addattr=power/control --value=on'
	op 'list --defined --dumpjson' 'mdevctl list --defined --dumpjson' \
		'json ".[0].mtty[0].\"$uuid\".attrs == [{\"power/control\": \"on\"}]"'
	op 'start, with an attribute' 'mdevctl start -u $uuid' 'exists $uuid' \
		'[ "$(type_of $uuid)" = mtty-2 ]' '[ "$(left mtty-2)" = 11 ]' \
		'[ "$(cat $mdevs/$uuid/power/control)" = on ]'
	op 'stop, of a defined one' 'mdevctl stop -u $uuid' 'nothing'
	mdevctl_fails
	mdevctl_autostart
	mdevctl undefine -u $uuid
	module_unload mtty
}

# The vendor says no in the middle of create.
mdevctl_fails() {
	local param=/sys/module/mnull/parameters/fail_create

	module_load mnull
	echo 12 >$param # ENOMEM
	op 'start, the vendor fails it: refused, nothing is left' \
		'! mdevctl start -u $other -p mnull0 -t mnull-1' 'nothing' \
		'grep -qx 16 /sys/class/mdev_bus/mnull0/mdev_supported_types/*/available_instances'
	echo 0 >$param
	op 'start, once the vendor has recovered' \
		'mdevctl start -u $other -p mnull0 -t mnull-1' 'exists $other'
	op 'stop, and the vendor can be unloaded' \
		'mdevctl stop -u $other; module_unload mnull' 'nothing'
}

# Debian's udev rule (12, 13) says /usr/sbin/mdevctl, which its package does not have:
# an administrator has to make a link.
mdevctl_link() {
	local sbin=/usr/sbin/mdevctl

	[ ! -e $sbin ] || return
	ln -s ../bin/mdevctl $sbin
	echo "  note: the udev rule of this package runs $sbin, which is not there; linked"
}

mdevctl_autostart() {
	op 'modify --auto' 'mdevctl modify -u $uuid --auto' \
		'mdevctl list -d | grep -q " mtty-2 auto$"'
	mdevctl_link
	op 'the vendor is loaded: started by the udev rule' \
		'module_unload mtty && module_load mtty' 'soon "exists $uuid"' \
		'[ "$(type_of $uuid)" = mtty-2 ]' \
		'soon "[ \"\$(cat $mdevs/$uuid/power/control)\" = on ]"'
	udevadm settle
	op 'list, after that' 'mdevctl list' 'says "^$uuid mtty mtty-2 auto"'
	op 'unloading the vendor takes it, loading brings it again' \
		'module_unload mtty && nothing && module_load mtty' 'soon "exists $uuid"'
	udevadm settle
	op 'modify --manual, loading does not bring it' \
		'mdevctl modify -u $uuid --manual && module_unload mtty &&
			module_load mtty && udevadm settle' 'nothing'
}

# What is defined for a vendor in vmlinux, which registered long ago, starts when mdev
# comes.
test_late() {
	client=mdevctl version=$(version_of mdevctl)
	mdevctl_link
	op 'define --auto; the vendor is built in, and waits for mdev' \
		'mdevctl define -u $uuid -p mtty -t mtty-2 --auto' \
		'[ ! -e /sys/bus/mdev ]' 'grep -q mtty /sys/kernel/debug/mdev/pending'
	op 'mdev is loaded: started by the udev rule' 'module_load mdev' \
		'soon "exists $uuid"' '[ "$(type_of $uuid)" = mtty-2 ]'
	udevadm settle
	op 'unloading mdev takes it, loading brings it again' \
		'module_unload vfio_mdev mdev && [ ! -e /sys/bus/mdev ] && module_load mdev' \
		'soon "exists $uuid"'
	udevadm settle
	op 'stop' 'mdevctl stop -u $uuid' nothing
}

start_libvirt() {
	client=libvirt version=$(version_of libvirt-daemon)
	mkdir -p /run/dbus
	pgrep libvirtd >/dev/null ||
		{ dbus-daemon --system && virtlogd -d && libvirtd -d; } || exit
}

test_libvirt() {
	start_libvirt
	module_load mtty
	module_load medu
	soon 'virsh nodedev-list --cap mdev_types 2>/dev/null | grep -q pci_' ||
		echo "  note: libvirtd has found no parent yet"
	libvirt_parent mtty_mtty mtty-2 /sys/class/mdev_bus/mtty
	libvirt_parent "$(virsh nodedev-list --cap mdev_types | grep -m1 ^pci_)" \
		medu-1 "$(echo /sys/bus/pci/drivers/medu/*:*)"
}

# an inner guest that libvirt starts
test_domain() {
	start_libvirt
	module_load mtty
	libvirt_domain
}

# libvirt_parent NODEDEV TYPE SYSFS: an mdev of it, transient, then persistent
libvirt_parent() {
	local dev=$1 type=$2 file=$3/mdev_supported_types/$2/available_instances
	local node number config

	number=$(cat "$file")
	config=/etc/mdevctl.d/$(basename "$3")/$uuid
	cat >mdev.xml <<-END
		<device><parent>$dev</parent><capability type='mdev'>
		<type id='$type'/><uuid>$uuid</uuid></capability></device>
	END
	op "nodedev-list --cap mdev_types: $dev" \
		'virsh nodedev-list --cap mdev_types' 'says "^$dev$"'
	op "nodedev-dumpxml $dev" 'virsh nodedev-dumpxml $dev' \
		'says "<type id=.$type.>"' 'says "<deviceAPI>vfio-pci<"' \
		'says "<availableInstances>$number<"'
	op "nodedev-create, $type" 'virsh nodedev-create mdev.xml' \
		'exists $uuid' '[ "$(type_of $uuid)" = $type ]' '[ "$(cat $file)" -lt $number ]'
	op 'nodedev-list --cap mdev' \
		'soon "virsh nodedev-list --cap mdev | tee $said | grep -q ^mdev_"' \
		'node=$(head -n 1 $said)' 'says "^mdev_${uuid//-/_}"'
	op 'nodedev-dumpxml, of it' 'virsh nodedev-dumpxml $node' \
		'says "<uuid>$uuid<"' 'says "<type id=.$type./>"' \
		'says "<iommuGroup number=.$(basename "$(readlink $mdevs/$uuid/iommu_group)")./>"' \
		'says "<parent>$dev<"'
	op 'nodedev-destroy' 'virsh nodedev-destroy $node' 'nothing' \
		'[ "$(cat $file)" = $number ]' \
		'soon "! virsh nodedev-list --cap mdev | grep -q mdev_"'

	op 'nodedev-define' 'virsh nodedev-define mdev.xml' 'nothing' \
		'[ -e $config ]'
	op 'nodedev-list --cap mdev --inactive' \
		'soon "virsh nodedev-list --cap mdev --inactive | grep -qx $node"'
	op 'nodedev-autostart' 'virsh nodedev-autostart $node' \
		'grep -q "\"auto\"" $config' 'nothing'
	op 'nodedev-start' 'virsh nodedev-start $node' 'exists $uuid' \
		'[ "$(type_of $uuid)" = $type ]' '[ "$(cat $file)" -lt $number ]'
	# libvirt learns of it from udev, when the device is long there
	op 'nodedev-info' 'soon "virsh nodedev-info $node | grep -q Active:.*yes" &&
			virsh nodedev-info $node' 'says "Active: +yes"' \
		'says "Persistent: +yes"' 'says "Autostart: +yes"'
	op 'nodedev-destroy, of a defined one' 'virsh nodedev-destroy $node' \
		'nothing' '[ -e $config ]' '[ "$(cat $file)" = $number ]'
	op 'nodedev-undefine' 'virsh nodedev-undefine $node' '[ ! -e $config ]' \
		'soon "! virsh nodedev-list --cap mdev --all | grep -q mdev_"'
}

# shellcheck source=clients_inner.sh disable=SC1091
. ./clients_inner.sh
# shellcheck source=clients_migrate.sh disable=SC1091
. ./clients_migrate.sh

client=client version=version
row operation result
# it loads medu as well, without what test_qemu tells it
[[ $1 =~ ^(qemu|pci|iommu|vendor|v1|migrate)$ ]] || start_udev
for test; do
	case $test in
	mdevctl) test_mdevctl ;;
	late) test_late ;;
	libvirt) test_libvirt ;;
	domain) test_domain ;;
	qemu) test_qemu ;;
	pci) test_pci ;;
	iommu) test_iommu ;;
	vendor|v1) test_vendor "$test" ;;
	migrate) test_migrate ;;
	*)
		echo "there is no client $test"
		status=1 ;;
	esac
done
if ((status)); then
	cat /tmp/syslog
	tail -n 60 serial qemu*.log 2>/dev/null
	cat /var/log/libvirt/libvirtd.log 2>/dev/null
fi
exit "$status"
