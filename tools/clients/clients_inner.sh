# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What of tools/clients/clients runs an inner guest. Sourced by clients_guest.sh, never
# run. In its folder are vmlinux and initrd; inner_init is process 1 of the
# inner guest, and the commands that it is told are from there.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # see there

dual=$uuid
single=83b8f4f2-509f-382f-3c1e-e6bfe0fa1002
divided=83b8f4f2-509f-382f-3c1e-e6bfe0fa1003
# No timer that an emulator in an emulator is too slow for; the rest saves time. What the
# kernel says is a sign of life: the guest is not given up as long as it boots.
inner_cmdline='console=ttyS0 no_timer_check mitigations=off nokaslr'
inner_cmdline+=' 8250.nr_uarts=8 cryptomgr.notests'
inner_cmdline+=' initcall_blacklist=jent_mod_init,load_system_certificate_list'

# console: of the inner guest, by pipes; what it says is in the file serial
console() {
	rm -f inner.in inner.out
	mkfifo -m 666 inner.in inner.out && : >serial || exit
	exec 5<>inner.in 6<>inner.out
	cat <&6 >>serial &
	boots=0 asked=0
}

# eventually CONDITION: of what the inner guest does; it takes its time, but not 300 s
# in which it says nothing
eventually() {
	local since=$SECONDS said='' now

	until eval "$1"; do
		now=$(wc -c <serial)
		[ "$now" = "$said" ] || { said=$now; since=$SECONDS; }
		((SECONDS - since < 300)) && pgrep qemu-system >/dev/null &&
			! grep 'Kernel panic' serial || return
		sleep 1
	done
}

# up: once more
up() {
	boots=$((boots + 1))
	eventually '[ "$(grep -c "guest is up" serial)" -ge $boots ]'
}

# ask COMMAND: one line for the inner guest, which has to succeed; says what it says
ask() {
	local from

	asked=$((asked + 1))
	from=$(wc -l <serial)
	echo "$1; status=\$?; echo; echo ' ='\$status'= $asked'" >&5
	eventually "grep -q '^ =[0-9]*= $asked' serial"
	tail -n "+$((from + 1))" serial | tr -d '\r'
	grep -q "^ =0= $asked" serial
}

# device NAME UUID: what QEMU is told, where $by is how it gets at devices, and $also has
# more options. 8250_pci uses messages with very few cards, so the single says that it is
# such a one.
device() {
	local device="vfio-pci,id=$1,sysfsdev=$mdevs/$2"

	if [ "$2" = $single ]; then
		device+=,x-pci-vendor-id=0x9710,x-pci-device-id=0x9900
		device+=,x-pci-sub-vendor-id=0xa000,x-pci-sub-device-id=0x1000
	fi
	[ "$by" = /dev/iommu ] && device+=,iommufd=iommufd0
	echo "$device$also"
}

# An inner guest's time is counted in instructions (-icount): else half of them are
# for its timers, and some of what it does takes longer than it waits for.

# start_qemu: with all the mdevs there are, as $qemu
start_qemu() {
	local args=()

	[ "$by" = /dev/iommu ] && args+=(-object 'iommufd,id=iommufd0')
	[ -d "$mdevs/$divided" ] && args+=(-device "$(device divided $divided)")
	qemu-system-x86_64 -nodefaults -no-user-config -display none -machine pc \
		-accel tcg -icount shift=1 -m 256M -kernel vmlinux -initrd initrd \
		-append "$inner_cmdline" "${args[@]}" \
		-device "$(device dual "$dual")" -device "$(device single $single)" \
		-serial pipe:inner -monitor pipe:monitor 2>qemu.log &
	qemu=$!
	up || { cat qemu.log; return 1; }
}

monitor() { echo "$1" >&7; }

create() { echo "$2" >"$types/$1/create"; }
remove() { echo 1 >"$mdevs/$1/remove"; }

# text WHEN: through both cards
text() {
	op "$1: text both ways, INTx, two ports" 'ask "cards 0x4348 2 IO-APIC"'
	op "$1: text both ways, MSI, one port" 'ask "cards 0x9710 1 PCI-MSI"'
}

test_qemu() {
	local medu by=/dev/vfio/vfio

	client=qemu version=$(version_of qemu-system-x86)
	version=${version#*:}
	mkfifo monitor.in monitor.out && exec 7<>monitor.in 8<>monitor.out || exit
	console
	module_load mtty
	module_load medu dma_bits=64
	medu=$(echo /sys/bus/pci/drivers/medu/*:*)/mdev_supported_types/medu-1
	create mtty-2 "$dual"
	create mtty-1 $single
	echo $divided >"$medu/create"

	[ -c /dev/iommu ] && qemu-system-x86_64 -object help | grep -qw iommufd &&
		by=/dev/iommu
	op "start, mtty-2, mtty-1 and medu-1, by $by" start_qemu \
		'[ "$(find /proc/$qemu/fd -lname $by)" ]' || return
	op 'remove, while in use: refused' '! remove "$dual"' 'says "resource busy"' \
		'exists $dual'
	text 'the guest'
	op 'the guest, medu: factorials' 'ask "medu fact"'
	op 'the guest, medu: DMA both ways, 65408 bytes' 'ask "medu dma"'
	op 'medu: remove asks QEMU, which unplugs it' 'remove $divided' \
		'! exists $divided' '[ "$(cat "$medu/available_instances")" = 8 ]' \
		'ask "[ ! -e /dev/uio0 ]"'

	op 'device_del: the guest has lost it, it is free' 'monitor "device_del dual"' \
		'eventually "remove $dual"' '! exists $dual' 'ask "has 0x4348 0"'
	op 'device_add, of a new one' \
		'create mtty-2 $dual && monitor "device_add $(device again $dual)"' \
		'ask "has 0x4348 2"'
	text 'plugged in'

	op 'reboot, by the guest' 'ask "(sleep 3; reboot -f) & true" && up' || return
	text 'rebooted'
	op 'system_reset' 'monitor system_reset && up' || return
	text 'reset'
	op 'SIGKILL: the mdevs stay, and QEMU starts with them again' \
		'kill -KILL $qemu; wait $qemu; exists $dual && exists $single && start_qemu' ||
		return
	text 'started again'
	op 'quit, remove: nothing is left' \
		'monitor quit; wait $qemu && remove $dual && remove $single' nothing \
		'[ "$(left mtty-1)" = 24 ]'
}

# The hardware, which is behind an IOMMU, with its DMA.
test_iommu() {
	local by=/dev/vfio/vfio qemu parent object=''

	client=iommu version=$(version_of qemu-system-x86)
	version=${version#*:}
	mkfifo monitor.in monitor.out && exec 7<>monitor.in 8<>monitor.out || exit
	console
	module_load medu_dma
	parent=$(echo /sys/bus/pci/drivers/medu_dma/*:*)
	[ -c /dev/iommu ] && qemu-system-x86_64 -object help | grep -qw iommufd &&
		by=/dev/iommu
	op 'create, in the IOMMU group of the hardware' \
		'echo $divided >"$parent/mdev_supported_types/medu_dma-1/create"' \
		'[ $mdevs/$divided/iommu_group -ef "$parent/iommu_group" ]' || return
	[ $by = /dev/iommu ] && object='-object iommufd,id=iommufd0'
	# shellcheck disable=SC2086 # split
	op "start, by $by" 'qemu-system-x86_64 -nodefaults -no-user-config \
			-display none -machine pc -accel tcg -icount shift=1 -m 256M \
			-kernel vmlinux -initrd initrd -append "$inner_cmdline" $object \
			-device "$(device divided $divided)" \
			-serial pipe:inner -monitor pipe:monitor 2>qemu.log & qemu=$!
			up || ! cat qemu.log' '[ "$(find /proc/$qemu/fd -lname $by)" ]' || return
	op 'the guest: DMA both ways, 65408 bytes' 'ask "medu dma"'
	op 'the guest: factorials' 'ask "medu fact"'
	op 'reboot, by the guest' 'ask "(sleep 3; reboot -f) & true" && up' || return
	op 'rebooted: DMA both ways, 65408 bytes' 'ask "medu dma"'
	op 'remove asks QEMU, which unplugs it' 'remove $divided' \
		'! exists $divided' 'ask "[ ! -e /dev/uio0 ]"'
	op 'quit: nothing is left' 'monitor quit; wait $qemu' nothing
}

# What pciutils of the inner guest say of a device of each sample.
test_pci() {
	local by=/dev/vfio/vfio qemu args=() uuids=() type

	client=pci version=$(version_of qemu-system-x86)
	version=${version#*:}
	console
	module_load mtty
	module_load mdisp
	module_load hello_pci
	module_load medu dma_bits=64
	for type in mtty-2 mdisp-vga hello-1 medu-1; do
		uuids+=(83b8f4f2-509f-382f-3c1e-e6bfe0fa102${#uuids[@]})
		echo "${uuids[-1]}" >"$(echo /sys/class/mdev_bus/*/mdev_supported_types/$type/create)"
		args+=(-device "$(device $type "${uuids[-1]}"),display=off")
	done
	op 'start, a device of each sample' 'qemu-system-x86_64 -nodefaults -no-user-config \
			-display none -machine pc -accel tcg -icount shift=1 -m 256M \
			-kernel vmlinux -initrd initrd -append "$inner_cmdline" "${args[@]}" \
			-serial pipe:inner -monitor none 2>qemu.log & qemu=$!
			up || ! cat qemu.log' &&
		op 'lspci and setpci agree: capabilities, sizes of BARs' \
			'ask "pci 4348: 1234:1111 1b36:0fff 1234:11e8"'
	kill -KILL "$qemu"
	wait "$qemu"
	for uuid in "${uuids[@]}"; do
		remove "$uuid"
	done
	op 'nothing is left' nothing
}

# libvirt_domain: with a card, as libvirt starts it
libvirt_domain() {
	chmod 755 /root # for QEMU, which libvirt runs as another user
	console
	cat >domain.xml <<-END
		<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
		<name>inner</name>
		<memory unit='MiB'>256</memory><vcpu>1</vcpu>
		<os><type arch='x86_64' machine='pc'>hvm</type>
		<kernel>$PWD/vmlinux</kernel><initrd>$PWD/initrd</initrd>
		<cmdline>$inner_cmdline</cmdline></os>
		<features><acpi/></features><devices>
		<serial type='pipe'><source path='$PWD/inner'/></serial>
		<memballoon model='none'/><controller type='usb' model='none'/>
		<hostdev mode='subsystem' type='mdev' model='vfio-pci'>
		<source><address uuid='$uuid'/></source></hostdev>
		</devices><qemu:commandline><qemu:arg value='-icount'/>
		<qemu:arg value='shift=1'/></qemu:commandline></domain>
	END
	op 'define, a domain with a hostdev of type mdev' 'virsh define domain.xml' \
		'virsh list --all --name | grep -qx inner' nothing
	op 'start, there is no such mdev: refused' '! virsh start inner' nothing
	create mtty-1 "$uuid"
	op 'start' 'virsh start inner' 'virsh list --name | grep -qx inner' ||
		return
	op 'its guest is up, with the card' 'up && ask "has 0x4348 1"' || return
	op 'text both ways, INTx' 'ask "cards 0x4348 1 IO-APIC"'
	op 'nodedev-destroy, while in use: refused' \
		'! virsh nodedev-destroy $(virsh nodedev-list --cap mdev)' 'exists $uuid'
	op 'detach-device' 'virsh dumpxml inner |
			sed -n "/<hostdev/,/<.hostdev>/p" >hostdev.xml &&
			virsh detach-device inner hostdev.xml' \
		'eventually "! virsh dumpxml inner | grep -q \"<hostdev\""' \
		'exists $uuid' 'ask "has 0x4348 0"'
	op 'attach-device' 'virsh attach-device inner hostdev.xml' \
		'ask "cards 0x4348 1 IO-APIC"'
	op 'destroy' 'virsh destroy inner' 'exists $uuid' \
		'[ -z "$(virsh list --name)" ]'
	op 'nodedev-destroy, of the card' \
		'virsh nodedev-destroy $(virsh nodedev-list --cap mdev)' nothing \
		'[ "$(left mtty-1)" = 24 ]'
	op 'undefine' 'virsh undefine inner' '[ -z "$(virsh list --all --name)" ]'
}
