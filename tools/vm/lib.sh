# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What the scripts in this folder share. Sourced by them, never run.

PATH=$PATH:/usr/sbin:/sbin # for depmod, modprobe
export LC_ALL=C
# The makes called here are not part of the one that may have called us.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
me=${0##*/}
cache=${MDEV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mdev}
mkdir -p "$cache" || exit 1

say() { echo "$me: $*" >&2; }
die() { say "$@"; exit 1; }

# The header comment of the calling script is its manual.
usage() { sed -n '4,/^$/s/^# \{0,1\}//p' "$0"; }

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# apt ARGS...: apt-get as root, its chatter in a log that is shown on failure.
apt() {
	local log=$cache/apt.$me.log

	(
		flock 8
		as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q \
			-o DPkg::Lock::Timeout=300 "$@"
	) 8>"$cache/apt.lock" >"$log" 2>&1 </dev/null && return
	say "apt-get $* failed:"
	tail -n 25 "$log" >&2
	return 1
}

# A broken third-party source must not stop us: what follows will tell.
apt_update() {
	say "refreshing the package lists ..."
	apt update || true
}

apt_install() { apt install --no-install-recommends "$@"; }

# meta KIND SERIES: "METAPACKAGE PACKAGE VERSION" for Debian's current
# linux-KIND (image, headers) of a series such as 6.12. Which metapackage that
# is differs between releases, so what they depend on decides.
meta() {
	apt-cache show --no-all-versions "linux-$1-$2-amd64" "linux-$1-amd64" \
		2>/dev/null | awk -v want="linux-$1-$2." '
		/^Package:/ { meta = $2 }
		/^Depends:/ && index($2, want) == 1 && $3 == "(=" && !found {
			sub(/\),?$/, "", $4)
			print meta, $2, $4
			found = 1
		}
		END { exit !found }'
}

# no_series SERIES: say why meta() found nothing, and end.
no_series() {
	local suite

	# shellcheck source=/dev/null
	suite=$(. /etc/os-release && echo "$VERSION_CODENAME-security")
	grep -rqs -- "$suite" /etc/apt/sources.list /etc/apt/sources.list.d ||
		die "Linux $1 not found: the suite $suite is missing from the apt sources"
	die "Linux $1 not found in the package lists: is the network down?"
}

# Options for apt-get and apt-cache, for packages of another suite.
apt_opts=()

# use_suite SUITE: from here on, apt knows nothing but this one
use_suite() {
	local dir=$cache/$1

	mkdir -p "$dir"/{lists,archives}/partial || exit
	echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]' \
		"http://deb.debian.org/debian $1 main" >"$dir/sources.list"
	apt_opts=(-o Dir::Etc::sourcelist="$dir/sources.list"
		-o Dir::Etc::sourceparts=/dev/null
		-o Dir::State::lists="$dir/lists" -o Dir::Cache="$dir"
		-o APT::Sandbox::User=root)
	[ "$(find "$dir/stamp" -mtime -1 2>/dev/null)" ] && return
	say "refreshing the package lists of $1 ..."
	if apt-get "${apt_opts[@]}" -q -o Acquire::http::Timeout=20 update \
		>"$cache/apt.$me.log" 2>&1; then
		touch "$dir/stamp"
	else
		say "cannot refresh them: see $cache/apt.$me.log"
	fi
}

# uapi DIR: the headers for user space of what VFIO is now. The distribution's libc
# has those of its own kernel, which may be too old; the kernel's lack what "make
# headers" takes out.
uapi() {
	local headers header

	headers=$("${BASH_SOURCE%/*}/kernel" 6.12 headers) || return
	headers=$(sed -n 's/^include \(.*\)\/Makefile$/\1/p' "$headers/Makefile")/include/uapi
	mkdir -p "$1/linux" || return
	for header in vfio iommufd; do
		sed 's/ __user / /' "$headers/linux/$header.h" >"$1/linux/$header.h" ||
			return
	done
}

# version PACKAGE: that of the archive's current one
version() {
	apt-cache "${apt_opts[@]}" show --no-all-versions "$1" 2>/dev/null |
		sed -n 's/^Version: //p'
}

# unpack PACKAGE VERSION DIR: download into a temporary folder, run
# extract() (the caller's) on the .deb, publish as DIR.
unpack() {
	local tmp

	tmp=$(mktemp -d "$cache/tmp.XXXXXX") || return
	# shellcheck disable=SC2064 # now, not at exit
	trap "rm -rf '$tmp'" EXIT
	mkdir "$tmp/root"
	(cd "$tmp" && apt-get "${apt_opts[@]}" -q download "$1=$2") \
		>"$cache/apt.$me.log" 2>&1 &&
		extract "$tmp"/*.deb "$tmp/root" &&
		mv -T "$tmp/root" "$3" || return
	rm -rf "$tmp"
	trap - EXIT
}

# The archive inside a linux-source package, which is never written out.
# extract_source DEB DIR [PART]...: all of it, or some of its files and folders
extract_source() {
	dpkg-deb --fsys-tarfile "$1" | tar -xO --wildcards '*.tar.xz' |
		xz -dcT0 | tar -x -C "$2" --strip-components=1 "${@:3}"
}

# again FILE CMD...: run it with its output in FILE, and up to twice more if it says
# (75, see run) that QEMU was to blame
again() {
	local file=$1 status

	shift
	for _ in 1 2 3; do
		"$@" >"$file" &
		# shellcheck disable=SC2064 # now
		trap "kill $!" TERM
		wait $!
		status=$?
		trap - TERM
		((status == 75)) || break
		say "the guest died of a race in QEMU; once more"
	done
	return "$status"
}
