# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# For scripts that run in a guest whose first disk is the image of tools/vm/userland:
# sourcing this puts them into that root. Sourced, never run.

# shellcheck disable=SC2034,SC2154 # some variables are of who sources this

[ -e /etc/vm/cmd ] || [ "$CHROOTED" ] ||
	{ echo "$0: only for the guests of tools/vm" >&2; exit 1; }

# From the root that tools/vm/run made to the distribution's, with what process 1
# would have started there.
enter() {
	local dir

	mount -t ext4 /dev/vda /mnt 2>/dev/null ||
		mount -t ext2 /dev/vda /mnt || exit
	for dir in proc sys dev run tmp; do
		mount --rbind "/$dir" "/mnt/$dir" || exit
	done
	mkdir -p /mnt/lib/modules /mnt/root
	mount --bind /lib/modules /mnt/lib/modules || exit
	mount -t tmpfs tmpfs /mnt/root || exit
	cp -r /root/. /mnt/root || exit
	ln -s /proc/self/fd /dev/fd
	for dir in 0:stdin 1:stdout 2:stderr; do
		ln -s "fd/${dir%:*}" "/dev/${dir#*:}"
	done
	busybox syslogd -O /tmp/syslog # mdevctl's udev rule wants it
	# else udev does nothing, as it is not in the root of process 1
	export CHROOTED=1 SYSTEMD_IGNORE_CHROOT=1
	export PATH=/usr/local/bin:/usr/sbin:/usr/bin
	# moved, so that it is the root for who enters a mount namespace, too
	cd /mnt && mount --move . / && exec chroot . /bin/bash "/root/${0##*/}" "$@"
}
mkdir -p /mnt
[ "$CHROOTED" ] || enter "$@"

cd /root || exit
# shellcheck source-path=SCRIPTDIR source=../testing/selftests/mdev/mdev_modules.sh disable=SC1091
. ./mdev_modules.sh
said=/tmp/said status=0

# op WHAT COMMAND [CONDITION]...: fails if one of them does
op() {
	local what=$1 condition

	shift
	if ! eval "$1" >$said 2>&1; then
		condition=$1
	else
		shift
		for condition; do
			eval "$condition" >>$said 2>&1 || break
			condition=''
		done
	fi
	if [ -z "$condition" ]; then
		row "$what" ok
		return
	fi
	status=1
	row "$what" FAILED
	echo "  because of: $condition"
	sed 's/^/  | /' $said
	return 1
}

# says REGEX: did the command say so?
says() { grep -qE "$1" "$said"; }

# soon CONDITION [TRIES]: what comes by udev or an event takes its time
soon() {
	local i

	for ((i = 0; i < ${2:-600}; i++)); do
		eval "$1" && return
		sleep 0.2
	done
	return 1
}

row() { printf '%-8s %-22s %-58s %s\n' "$client" "$version" "$1" "$2"; }

start_udev() {
	/lib/systemd/systemd-udevd --daemon 2>/dev/null
	udevadm trigger --action=add
	udevadm settle
}
