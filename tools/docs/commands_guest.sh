#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Started by tools/docs/commands in a guest: run the commands that it found in the
# documents, and compare. Its root is on the first disk.
#
#   commands_guest.sh
#
# Each document starts in a folder of its own, with no mdev and none of our modules.

# shellcheck disable=SC2154,SC2317 # by userland_guest.sh; the plan calls functions

case $1 in
-h|--help) sed -n '4,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac
# shellcheck source-path=SCRIPTDIR source=../vm/userland_guest.sh disable=SC1091
. "$(dirname "$0")/userland_guest.sh"

number=0

# What a document leaves behind, the next one shall not find.
clean() {
	local dev

	for dev in /sys/bus/mdev/devices/*; do
		[ ! -e "$dev" ] || echo 1 >"$dev/remove"
	done
	find /etc/mdevctl.d -mindepth 1 -maxdepth 1 ! -name scripts.d -exec rm -r {} +
	for dev in mtty mnull medu hello vfio_mdev mdev_pci mdev; do
		[ ! -e /sys/module/$dev ] || module_unload $dev
	done
	cd || exit
	udevadm settle
}

count() {
	((!number)) || printf '%-56s %3d commands\n' "$name" "$number"
	number=0
}

# document NAME: what follows is from there
document() {
	count
	name=$1
	clean
}

# it is there
file() { :; }

# words: all white space is the same
words() { tr -s '[:space:]' ' ' | sed 's/^ //; s/ $//'; }

# as_shown SAID SHOWN: with "..." for anything
as_shown() {
	local pattern=${2//\\/\\\\}

	pattern=${pattern//\*/\\*}
	pattern=${pattern//\?/\\?}
	pattern=${pattern//\[/\\[}
	# shellcheck disable=SC2053 # a pattern
	[[ $1 == ${pattern//.../*} ]]
}

# judged COMMAND SHOWN: run it; is that what is shown? Else wrong says what is not
judged() {
	local got

	wrong=''
	eval "$1" >"$said" 2>&1 </dev/null
	ret=$?
	# the next command may load them again
	case $1 in
	*rmmod*|*'modprobe -r'*) modules_settle || wrong='names stay' ;;
	esac
	# at the prompt, bash's errors have no name of a script
	sed -i "s|^$0: line [0-9]*: |bash: |" "$said"
	got=$(words <"$said")
	if tail -n 1 <<<"${2%$'\n'}" | grep -qiE 'error|^[a-z-]+: .*: '; then
		((ret)) || wrong='should have failed'
	elif ((ret)); then
		wrong="status $ret"
	fi
	as_shown "$got" "$(words <<<"$2")" || wrong+=${wrong:+, }'not what is shown'
	[ -z "$wrong" ]
}

# cmd WHERE COMMAND SHOWN
cmd() {
	local wrong ret tries

	number=$((number + 1))
	for ((tries = 0; tries < 100; tries++)); do
		judged "$2" "$3" && return
		# libvirt hears of what has happened by events, and may be late
		case $2 in
		*virsh*list*|*virsh*info*|*virsh*dumpxml*) ;;
		*virsh*) ((ret)) || break ;;
		*) break ;;
		esac
		sleep 0.2
	done
	status=1
	echo "$1: $wrong: $2"
	sed 's/^/  | /' "$said"
}

start_udev
export HOME=/root/files
# what libvirtd would ask of systemd, and /dev as QEMU is to see it
cat >>/etc/libvirt/qemu.conf <<END
namespaces = []
cgroup_controllers = []
END
mkdir -p /run/dbus && dbus-daemon --system && virtlogd -d && libvirtd -d || exit
name=''
# shellcheck source=/dev/null
. /root/plan
count
clean
exit "$status"
