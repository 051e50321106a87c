#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Started by tools/clients/tracers in a guest: have the distribution's tools show what
# mdev does. Its root is on the first disk.
#
#   tracers_guest.sh
#
# Prints a line of the table per question: what the tools are asked is taken from
# the documentation, so that it is true. In front of it must be what they say.

# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # op() evaluates what it is given

case $1 in
-h|--help) sed -n '4,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac
# shellcheck source-path=SCRIPTDIR source=../vm/userland_guest.sh disable=SC1091
. "$(dirname "$0")/userland_guest.sh"

client='' version=''
types=/sys/class/mdev_bus/mtty/mdev_supported_types
UUID=83b8f4f2-509f-382f-3c1e-e6bfe0fa1001
mdev=/sys/bus/mdev/devices/$UUID
TYPE=$types/mtty-2
export UUID PID FD TYPE

# command_of TEXT: the indented line that comes first after this in the document
command_of() {
	awk -v text="$1" '
		index($0, text) { found = 1 }
		found && /^    / { sub(/^ */, ""); print; exit }
	' vfio-mediated-device.rst | grep .
}

# asked TEXT: what the document has for TEXT
asked() { eval "$(command_of "$1" || echo false)"; }

# watched TEXT COMMAND [REGEX]: the same, of one that watches COMMAND until interrupted;
# what it says by itself is REGEX
watched() {
	local command watcher wanted=${3-} _

	command=$(command_of "$1") || return
	# a group of its own, for the interrupt to be as from a terminal
	set -m
	eval "exec $command" &
	watcher=$!
	set +m
	# set up, and waiting for events: bpftrace takes its time
	soon 'grep -q poll /proc/$watcher/wchan &&
		ls -l /proc/$watcher/fd | grep -q perf_event' 1500 || return
	sleep 1
	eval "$2"
	[ -z "$wanted" ] || soon 'grep -qE "$wanted" "$said"' 1500
	# bpftrace forgets one that does not interrupt its epoll_wait()
	for _ in {1..12}; do
		kill -INT -- -"$watcher"
		soon '! kill -0 $watcher 2>/dev/null' 25 && return
	done
	echo "it does not end: it is $(awk '/^State/' "/proc/$watcher/status")"
	cat /proc/"$watcher"/task/*/stack
	kill -KILL -- -"$watcher"
	false
}

# tool PACKAGE: what comes is about this
tool() {
	client=$1 version=$(dpkg-query -W -f '${Version}' "$1")
}

mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
module_load mtty unplug=1
echo $UUID >$types/mtty-1/create

tool grep
./demo_client hold $UUID >/tmp/holder &
PID=$!
soon '[ -s /tmp/holder ]'
op 'who holds this device?' 'asked "Who holds this device?"' \
	'says "^$UUID mtty mtty-1 live vfio_mdev $PID demo_client$"'
FD=$(find "/proc/$PID/fd" -lname '*vfio-device*' -printf %f)
if grep -q vfio-device-syspath "/proc/$PID/fdinfo/$FD"; then
	op 'which device is this fd?' \
		'asked "Which device does a file descriptor belong to?"' 'says "/$UUID$"'
else
	row 'which device is this fd?' 'skipped: not in this kernel'
fi

tool linux-perf
waits="mdev:mdev_wait\(uuid: \"$UUID\", pid: $PID.*comm: \"demo_client\""
# the holder closes nothing, so this one waits until it is killed
op 'who keeps a remove from returning?' \
	'watched "Who keeps a parent" "echo 1 >$mdev/remove & remover=\$!" "$waits"' \
	'says "$waits"' '[ -e "$mdev" ]'
kill "$remover"
wait "$remover"
kill $PID
wait $PID
closes="mdev:mdev_close\(uuid: \"$UUID\", .*comm: \"demo_client\""
op 'who opens and closes devices?' \
	'watched "Who opens and closes" "./demo_client info $UUID" "$closes"' \
	'says "mdev:mdev_open\(uuid: \"$UUID\", .*comm: \"demo_client\""' 'says "$closes"'

tool trace-cmd
op 'why did create fail?' 'asked "Why did create fail?"' \
	'says "mdev_create: .*$UUID.*mtty-2.*ret=-17 failed=uuid "'

tool bpftrace
op 'which ioctl is slow?' \
	'watched "Which ioctl is slow?" "./demo_client info $UUID"' \
	'says "^@\[15211\]: count [1-9][0-9]*, average [1-9][0-9]*, total"'
op 'which device is this fd, without help of VFIO?' \
	'watched "Which descriptor belongs to which device" "./demo_client info $UUID" \
		"^[0-9]+ [0-9]+ $UUID$"' \
	'says "^[0-9]+ [0-9]+ $UUID$"'

echo 1 >$mdev/remove
module_unload mtty
exit $status
