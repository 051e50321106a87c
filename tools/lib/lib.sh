# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What all scripts share. Sourced by them first, never run. Leaves the root of the
# sources in top, the calling script's folder in here, and answers --help.

PATH=$PATH:/usr/sbin:/sbin # for depmod, modprobe
export LC_ALL=C
# The makes called here are not part of the one that may have called us.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
me=${0##*/}
# shellcheck disable=SC2034 # for those who source this
here=$(dirname "$(realpath "$0")")
top=$(realpath "${BASH_SOURCE%/*}/../..")
cache=${MDEV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mdev}

say() { echo "$me: $*" >&2; }
die() { say "$@"; exit 1; }

for path in "$top" "$cache" "$MDEV_BUILD"; do
	[[ $path != *[[:space:]]* ]] ||
		die "kbuild cannot work in a folder with blanks in its name: $path"
done
mkdir -p "$cache" || exit 1

# The header comment of the calling script is its manual.
usage() { sed -n '4,/^$/s/^# \{0,1\}//p' "$0"; }
case ${1-} in
-h|--help) usage; exit ;;
esac

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

# meta KIND SERIES [FLAVOUR]: "METAPACKAGE PACKAGE VERSION" for Debian's current
# linux-KIND (image, headers) of a series such as 6.12, and of a FLAVOUR such as rt-amd64
# or arm64-16k, which is amd64 by default. Which metapackage that is differs between
# releases, so what they depend on decides.
meta() {
	local flavour=${3:-amd64}

	apt-cache "${apt_opts[@]}" show --no-all-versions "linux-$1-$2-$flavour" \
		"linux-$1-$flavour" 2>/dev/null |
		awk -v want="linux-$1-$2." '
		/^Package:/ { meta = $2 }
		/^Depends:/ && !found {
			for (i = 2; i < NF; i++)
				if (index($i, want) == 1 && $(i + 1) == "(=") {
					sub(/\),?$/, "", $(i + 2))
					print meta, $i, $(i + 2)
					found = 1
				}
		}
		END { exit !found }'
}

# flavour_arch FLAVOUR: the architecture of one of Debian's kernels, by Debian's name
flavour_arch() {
	case $1 in
	*amd64) echo amd64 ;;
	arm64*) echo arm64 ;;
	armmp*) echo armhf ;;
	powerpc64le*) echo ppc64el ;;
	riscv64|s390x) echo "$1" ;;
	*) return 1 ;;
	esac
}

# triplet ARCH: what the names of the programs that make code for another one begin with
triplet() {
	case $1 in
	arm64) echo aarch64-linux-gnu ;;
	armhf) echo arm-linux-gnueabihf ;;
	ppc64el) echo powerpc64le-linux-gnu ;;
	*) echo "$1-linux-gnu" ;;
	esac
}

# no_series SERIES [SUITE]: say why meta() found nothing, and end.
no_series() {
	local suite

	[ -z "$2" ] ||
		die "$2 has no Linux $1: is the network down, or has it a newer one?"
	# shellcheck source=/dev/null
	suite=$(. /etc/os-release && echo "$VERSION_CODENAME-security")
	grep -rqs -- "$suite" /etc/apt/sources.list /etc/apt/sources.list.d ||
		die "Linux $1 not found: the suite $suite is missing from the apt sources"
	die "Linux $1 not found in the package lists: is the network down?"
}

# Options for apt-get and apt-cache, for packages of another suite.
apt_opts=()

# archive SUITE: where it is from, as apt has it
archive() {
	echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]' \
		"http://deb.debian.org/debian $1 main"
}

# use_suite SUITE [ARCH]: from here on, apt knows nothing but this one, and of that nothing
# but the packages for ARCH if that is given
use_suite() {
	local dir=$cache/$1${2:+-$2}

	mkdir -p "$dir"/{lists,archives}/partial || exit
	archive "$1" >"$dir/sources.list"
	apt_opts=(-o Dir::Etc::sourcelist="$dir/sources.list"
		-o Dir::Etc::sourceparts=/dev/null
		-o Dir::State::lists="$dir/lists" -o Dir::Cache="$dir"
		-o APT::Sandbox::User=root)
	[ -z "$2" ] || apt_opts+=(-o APT::Architecture="$2" -o APT::Architectures="$2"
		-o Dir::State::status=/dev/null)
	[ "$(find "$dir/stamp" -mtime -1 2>/dev/null)" ] && return
	exec 7>"$dir/lock"
	flock 7
	[ ! "$(find "$dir/stamp" -mtime -1 2>/dev/null)" ] || { exec 7>&-; return; }
	say "refreshing the package lists of $1${2:+ for $2} ..."
	if apt-get "${apt_opts[@]}" -q -o Acquire::http::Timeout=20 update \
		>"$cache/apt.$me.log" 2>&1; then
		touch "$dir/stamp"
	else
		say "cannot refresh them: see $cache/apt.$me.log"
	fi
	exec 7>&-
}

# uapi DIR: the headers for user space of what VFIO is now. The distribution's libc
# has those of its own kernel, which may be too old; the kernel's lack what "make
# headers" takes out.
uapi() {
	local headers header

	headers=$("$top/tools/kernels/kernel" 6.12 headers) || return
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

# unpack DIR VERSION PACKAGE...: download into a temporary folder, run
# extract() (the caller's) on an empty folder and the .debs, publish that as DIR.
unpack() {
	local tmp names=("${@:3}")

	tmp=$(mktemp -d "$cache/tmp.XXXXXX") || return
	# shellcheck disable=SC2064 # now, not at exit
	trap "rm -rf '$tmp'" EXIT
	mkdir "$tmp/root"
	(cd "$tmp" && apt-get "${apt_opts[@]}" -q download "${names[@]/%/=$2}") \
		>"$cache/apt.$me.log" 2>&1 &&
		extract "$tmp/root" "$tmp"/*.deb &&
		mv -T "$tmp/root" "$1" || return
	rm -rf "$tmp"
	trap - EXIT
}

# The archive inside a linux-source package, which is never written out.
# extract_source DIR DEB [PART]...: all of it, or some of its files and folders
extract_source() {
	dpkg-deb --fsys-tarfile "$2" | tar -xO --wildcards '*.tar.xz' |
		xz -dcT0 | tar -x -C "$1" --strip-components=1 "${@:3}"
}

# in_root ROOT [DIR]... -- CMD...: in the root of another release (see root), with /proc,
# a few devices, a /tmp that is its own, and the DIRs, which are absolute, at the same
# places as here. What is mounted there is mounted for nobody else, and ends with the
# command. Until then the root is locked. Root is needed only to make a place for a DIR
# that has none. Two makes would otherwise meet in /tmp, as both have the same PID.
in_root() {
	local dirs=() root=$1 user=()

	shift
	while [ "$1" != -- ]; do
		dirs+=("$1")
		[[ $1 == /tmp/* || -d $root$1 ]] || as_root mkdir -p "$root$1" || return
		shift
	done
	[ "$(id -u)" = 0 ] || user=(--map-root-user)
	# shellcheck disable=SC2016 # for that shell to expand
	flock --shared --no-fork "$root" unshare "${user[@]}" --mount \
		--propagation private --pid --fork --kill-child sh -ec '
		root=$1
		shift
		mount -t proc proc "$root/proc"
		umask 022
		mount -t tmpfs -o mode=1777 tmp "$root/tmp"
		mount -t tmpfs -o mode=755 dev "$root/dev"
		for node in null zero full random urandom tty; do
			: >"$root/dev/$node"
			mount --bind "/dev/$node" "$root/dev/$node"
		done
		ln -s /proc/self/fd "$root/dev/fd"
		while [ "$1" != -- ]; do
			mkdir -p "$root$1"
			mount --bind "$1" "$root$1"
			shift
		done
		shift
		exec chroot "$root" env -i HOME=/root LC_ALL=C.UTF-8 TERM=dumb \
			PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			DEBIAN_FRONTEND=noninteractive "$@"
	' in_root "$root" "${dirs[@]}" "$@" </dev/null
}

# again FILE CMD...: run it with its output in FILE, and up to twice more if it says
# (75, see run) that QEMU was to blame
again() {
	local file=$1 status

	shift
	for _ in 1 2 3; do
		"$@" >"$file" &
		# shellcheck disable=SC2064 # now
		trap "kill $!; wait $!; exit 143" TERM
		wait $!
		status=$?
		trap 'exit 143' TERM
		((status == 75)) || break
		say "the guest died of a race in QEMU; once more"
	done
	return "$status"
}
