# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The part of tools/clients/clients that migrates an inner guest between two QEMUs. Their
# command lines have no options for migration. clients_guest.sh sources it after
# clients_inner.sh.
#
# Each QEMU has a number, a card of its own, and pipes for the guest's console and for its
# monitor. $home is the number of the QEMU that has the guest.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # see there

cards=(83b8f4f2-509f-382f-3c1e-e6bfe0fa1010 83b8f4f2-509f-382f-3c1e-e6bfe0fa1011)
card=mtty-2
home=0
migrations=10

# pipes: make those of both; the file serial gets all output of the guest's consoles
pipes() {
	local nr

	: >serial
	for nr in 0 1; do
		mkfifo inner$nr.in inner$nr.out monitor$nr.in monitor$nr.out || exit
		: >said$nr
	done
	exec 10<>inner0.in 11<>inner1.in 12<>monitor0.in 13<>monitor1.in
	exec 14<>inner0.out 15<>inner1.out 16<>monitor0.out 17<>monitor1.out
	cat <&14 >>serial &
	cat <&15 >>serial &
	cat <&16 >>said0 &
	cat <&17 >>said1 &
	boots=0 asked=0
	exec 5>&10
}

# start NUMBER [TYPE [QEMUARG]...]: QEMU with a new card, of type $card
start() {
	local nr=$1 type=${2:-$card} args=()

	shift $(($# < 2 ? $# : 2))
	[ ! -d "$mdevs/${cards[nr]}" ] || remove "${cards[nr]}" || return
	create "$type" "${cards[nr]}" || return
	[ "$by" = /dev/iommu ] && args+=(-object 'iommufd,id=iommufd0')
	qemu-system-x86_64 -nodefaults -no-user-config -display none -machine pc \
		-accel tcg -icount shift=1 -m 128M -kernel vmlinux -initrd initrd \
		-append "$inner_cmdline" "${args[@]}" \
		-device "$(device dual "${cards[nr]}")" \
		-serial "pipe:inner$nr" -monitor "pipe:monitor$nr" "$@" 2>"qemu$nr.log" &
	qemus[nr]=$!
}

# tell NUMBER COMMAND: write it to a monitor, whose answer goes to the file saidNUMBER
tell() {
	: >"said$1"
	echo "$2" >&$((12 + $1))
}

# end NUMBER
end() {
	kill -KILL "${qemus[$1]}" 2>/dev/null
	wait "${qemus[$1]}" 2>/dev/null
	remove "${cards[$1]}"
}

# state REGEX: wait until the migration ends, or has sent nothing for 300 s; fail if its
# state does not match
state() {
	local now sent was='' since=$SECONDS

	while ((SECONDS - since < 300)); do
		tell $home 'info migrate'
		sleep 1
		sent=$(grep '^transferred ram' said$home)
		[ "$sent" = "$was" ] || { was=$sent; since=$SECONDS; }
		# once, as the answer may still be coming
		now=$(sed -n 's/.*tatus:[[:space:]]*\([a-z]*\).*/\1/p' said$home | head -n 1)
		[[ ! $now =~ ^($1)$ ]] || return 0
		[[ ! $now =~ ^(completed|failed|cancelled)$ ]] || break
	done
	grep -hE '^[a-zA-Z ]+:' said0 said1 qemu0.log qemu1.log
	return 1
}

# figures: print those of the last migration
figures() {
	tr -d '\r' <said$home | grep -E '^(transferred ram|downtime|dirty sync count|vfio[^:]*):' |
		sort -u | paste -sd ,
}

# other [TYPE [QEMUARG]...]: start the destination
other() {
	start $((1 - home)) "${1:-$card}" -incoming defer "${@:2}" &&
		tell $((1 - home)) "migrate_incoming unix:$PWD/socket" && soon '[ -S socket ]' 1500
}

set_parameter() { tell $home "migrate_set_parameter $1 $2"; }

# leave: begin a migration
leave() { tell $home "migrate -d unix:$PWD/socket"; }

# leave_soon: as leave. Linux 6.1 does not tell how much a device has to send. QEMU then
# assumes 100 GiB, and waits for a network that is fast enough for that.
leave_soon() {
	[[ $(uname -r) != 6.1.* ]] || set_parameter avail-switchover-bandwidth 1T
	leave
}

# leave_late: begin a migration that does not end by itself for a while
leave_late() {
	set_parameter avail-switchover-bandwidth 0
	set_parameter max-bandwidth 100k
	leave && sleep 3
}

# arrive: wait until the migration has completed, and use the destination's console
arrive() {
	state completed || return
	figures >table
	end $home
	rm -f socket
	home=$((1 - home))
	if ((home)); then exec 5>&11; else exec 5>&10; fi
}

# give_up: end the destination
give_up() {
	end $((1 - home))
	rm -f socket
}

# Can the bridge report what is dirty?
can_log() { grep -q ' iova_bitmap_alloc' /proc/kallsyms; }

# test_vendor FILE: somebody's own vendor driver, which FILE describes; see
# tools/clients/clients
test_vendor() {
	local by=/dev/vfio/vfio also='' qemus=() vendor='' type='' command='' move='' count i

	# shellcheck disable=SC1090,SC1091
	. "./$1"
	client=$vendor version=$(version_of qemu-system-x86)
	version=${version#*:} card=$type
	op "load $vendor" 'module_load $vendor' \
		'types=$(dirname /sys/class/mdev_bus/*/mdev_supported_types/$type | head -n 1)' \
		'[ -d "$types/$type" ]' || return
	count=$(left "$type")
	pipes
	[ -c /dev/iommu ] && qemu-system-x86_64 -object help | grep -qw iommufd &&
		by=/dev/iommu
	[ -z "$move" ] || can_log || also=,enable-migration=on
	op "start, $type, by $by$also" 'start 0' up 'ask "vendor && { $command; }"' || return
	op 'system_reset' 'tell 0 system_reset && up' 'ask "vendor && { $command; }"' || return
	if [ "$move" ]; then
		for i in 1 2; do
			op "migrate, $i of 2" 'other && leave_soon && arrive' \
				'ask "$command"' || return
			sed 's/^/  | /' table
		done
	fi
	op 'quit: nothing is left' 'tell $home quit; wait ${qemus[home]}' \
		'remove ${cards[home]}' nothing '[ "$(left $type)" = $count ]'
	op "unload $vendor" 'module_unload $vendor'
}

test_migrate() {
	local by=/dev/vfio/vfio qemus=() i

	client=migrate version=$(version_of qemu-system-x86)
	version=${version#*:}
	module_load mtty
	pipes
	[ -c /dev/iommu ] && by=/dev/iommu
	op "start, mtty-2, by $by" 'start 0' up 'ask "cards 0x4348 2 IO-APIC"' || return
	if ! can_log; then
		op 'migrate: refused, as this VFIO cannot report what is dirty' \
			'tell 0 "migrate -d unix:$PWD/socket"
				soon "grep -q \"dirty tracking\" said0 qemu0.log" 1500
				cat said0 qemu0.log' \
			'says "dirty tracking"' 'ask "cards 0x4348 2 IO-APIC"'
		end 0
		return
	fi

	op 'a transfer begins' 'ask "stream \$(ports 0x4348 | head -n 1) & true"' \
		'ask streaming' || return
	for ((i = 1; i <= migrations; i++)); do
		op "migrate, $i of $migrations" 'other && leave_soon && arrive' \
			'ask streaming' || return
		sed 's/^/  | /' table
	done
	op 'migrate, cancelled: the guest goes on' \
		'other && leave_late && tell $home migrate_cancel && state cancelled' \
		'give_up' 'ask streaming'
	op 'migrate, the other is killed: the guest goes on' \
		'other && leave_late && kill -KILL ${qemus[1 - home]} && state failed' \
		'give_up' 'ask streaming'
	# the destination refuses the device only after it has all data; this makes QEMU wait
	tell $home 'migrate_set_capability return-path on'
	op 'migrate, to a card of another type: fails, the guest goes on' \
		'other mtty-1 && set_parameter max-bandwidth 1G && leave_soon && state failed' \
		'give_up' 'ask streaming'
	tell $home 'migrate_set_capability return-path off'
	set_parameter max-bandwidth 4M
	set_parameter downtime-limit 100
	op 'migrate, slowly' 'other && leave_soon && arrive' 'ask streaming'
	sed 's/^/  | /' table
	op 'the transfer ends: no line is lost' 'ask streamed'
	op 'text both ways, INTx, two ports' 'ask "cards 0x4348 2 IO-APIC"'
	op 'nothing is left' 'end $home' nothing '[ "$(left mtty-1)" = 24 ]'
}
