#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Started by tools/demo/picture in a guest: create a display, have QEMU run an inner
# guest with it, take pictures of what it shows. Files in /root: vmlinux, initrd.
#
#   picture_guest.sh TYPE

case $1 in
-h|--help) sed -n '4,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac
type=$1
uuid=a297db4a-f4c2-11e6-90f6-d3b88d6c9525

die() { echo "FAIL: $*"; tail -n 30 serial qemu.log; kill "$qemu"; exit 1; }

# wait_for TEXT: from the inner guest, unless it says nothing for 300 s
wait_for() {
	local since=$SECONDS size='' now

	until grep -q "$1" serial; do
		now=$(wc -c <serial)
		[ "$now" = "$size" ] || { size=$now; since=$SECONDS; }
		((SECONDS - since < 300)) || die "no '$1'"
		kill -0 "$qemu" 2>/dev/null || die "QEMU has ended"
		sleep 1
	done
}

# shot NAME: of what QEMU shows, as a PPM and a PNG
shot() {
	rm -f "$1.ppm" "$1.png"
	printf 'screendump %s.ppm disp0 0\nscreendump %s.png -f png disp0 0\n' \
		"$PWD/$1" "$PWD/$1" >&5
	for ((i = 0; i < 600; i++)); do
		# it is complete when its last chunk is there, and made after the other
		tail -c 8 "$1.png" 2>/dev/null | grep -q IEND && return
		sleep 0.1
	done
	die "no screendump"
}

echo "$uuid" >/sys/class/mdev_bus/mdisp/mdev_supported_types/"$type"/create ||
	exit
echo "created $(cat /sys/bus/mdev/devices/$uuid/mdev_type/name)"

mkfifo monitor.in monitor.out serial.in && : >serial || exit
exec 5<>monitor.in 6<>serial.in 7<>monitor.out
qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
	-machine pc -accel tcg -icount shift=1 -m 256M -kernel vmlinux -initrd initrd \
	-append 'console=ttyS0 panic=-1 no_timer_check mitigations=off nokaslr' \
	-device "vfio-pci,id=disp0,sysfsdev=/sys/bus/mdev/devices/$uuid,display=on" \
	-chardev stdio,id=serial,signal=off -serial chardev:serial \
	-chardev pipe,id=monitor,path=monitor -mon chardev=monitor \
	<&6 >serial 2>qemu.log &
qemu=$!

wait_for 'showing text'
sed -n '/^display/p;/^EDID/p' serial
shot text
echo >&6
wait_for 'showing blue'
sed -n '/^mode/p' serial
shot blue
echo >&6
wait_for 'showing the card'
shot card
picture_test check card.ppm || die "this is not the card"
picture_test check blue.ppm >/dev/null && die "this is not blue"

kill "$qemu"
wait "$qemu"
cat qemu.log
echo 1 >/sys/bus/mdev/devices/$uuid/remove || die "cannot remove the display"
for name in text card; do
	echo "begin $name.png"
	base64 $name.png
	echo end
done
