# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-only
#
# How scripts load and unload modules. Sourced, never run.
#
# As with module_load() and module_unload() in mdev_util.c, nothing that a module had
# in sysfs is there any more when it has been unloaded, or when loading it has
# failed, so it can be loaded at once. See modules_settle() there for why some names go
# later.

# names_staying: the names in sysfs that are of nothing any more
names_staying() {
	for names_driver in /sys/bus/*/drivers/*; do
		[ -e "$names_driver/uevent" ] || [ ! -d "$names_driver" ] ||
			echo "$names_driver"
	done
	[ -e /sys/bus/mdev ] || [ ! -d /sys/class/mdev_bus ] ||
		echo /sys/class/mdev_bus
}

# modules_settle: wait for them to go, 30 s at most; after a command that unloads
modules_settle() {
	names_tries=300
	while names=$(names_staying) && [ "$names" ]; do
		names_tries=$((names_tries - 1))
		if [ $names_tries = 0 ]; then
			echo "$names" | sed 's/.*/# & stays/' >&2
			return 1
		fi
		sleep 0.1
	done
}

# module_load MODULE [PARAMETER]...
module_load() { modprobe "$@" || { modules_settle; return 1; }; }

# module_unload MODULE...: these, one after the other
module_unload() { rmmod "$@" && modules_settle; }

# module_remove MODULE...: the same, and all that only they have needed
module_remove() { modprobe -r "$@" && modules_settle; }
