# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# For scripts that have a QEMU in the guest run an inner guest: what that is made of.
# Sourced after lib.sh, never run.

# inner_module RELEASE MODULES NAME DIR: unpack it and what it depends on, and
# list them in the order of loading
inner_module() {
	local path name

	modprobe -C /dev/null -d "${2%/lib/modules/*}" -S "$1" \
		--show-depends "$3" | sed -n 's/^insmod //p' |
	while read -r path; do
		name=$(basename "${path%.xz}")
		case $path in
		*.xz) xz -dc "$path" ;;
		*) cat "$path" ;;
		esac >"$4/$name" || exit
		echo "$name"
	done
}

# inner_kernel BZIMAGE: the vmlinux in it, which QEMU can start as well (PVH). An
# emulator in an emulator takes a minute to decompress it, and two after a reset,
# as it forgets what it has translated one write at a time.
inner_kernel() {
	local sectors offset length how=xz

	# see Documentation/arch/x86/boot.rst; the data's size comes after them
	sectors=$(od -An -tu1 -j 497 -N 1 "$1")
	read -r offset length < <(od -An -tu4 -j 584 -N 8 "$1")
	offset=$(((sectors + 1) * 512 + offset))
	[ "$(od -An -tx4 -j $offset -N 4 "$1")" = ' fd2fb528' ] && how=zstd
	tail -c +$((offset + 1)) "$1" | head -c $((length - 4)) | $how -dc
}

# inner_initrd DIR INIT [PROGRAM]...: make DIR/initrd of DIR/root, busybox and
# these. The links to busybox are made here: in there it takes seconds.
inner_initrd() {
	local root=$1/root name

	mkdir -p "$root"/{bin,dev,lib,proc,sys,tmp} &&
		cp "$(command -v busybox)" "${@:3}" "$root/bin" &&
		cp "$2" "$root/init" || return
	for name in $(busybox --list); do
		[ -e "$root/bin/$name" ] || ln -s busybox "$root/bin/$name"
	done
	(cd "$root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$1/initrd"
}
