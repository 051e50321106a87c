#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Run the KUnit tests of mdev and report them as ours. Their module can be loaded
# whether they pass or not, and a suite that ends early says nothing of the rest:
# what counts is what the suites wrote, against what they announced.

ksft_skip=4
module=mdev_test
suites='mdev mdev_late vfio_mdev_log'
kunit=/sys/kernel/debug/kunit

# shellcheck source-path=SCRIPTDIR source=mdev_modules.sh disable=SC1091
. "$(dirname "$0")/mdev_modules.sh"

skip() {
	echo "1..0 # SKIP $*"
	exit $ksft_skip
}

run_module() {
	module_remove $module || skip "$module is in use"
	module_load $module || skip "$module cannot be loaded"
}

# They have run when the kernel started, but nobody looked at that.
run_builtin() {
	[ -e $kunit/mdev/run ] || skip "the kernel has no KUnit tests of mdev"
	for suite in $suites; do
		[ ! -e $kunit/"$suite"/run ] || echo 1 >$kunit/"$suite"/run
	done
}

[ "$(id -u)" = 0 ] || skip "must be root"
grep -q " /sys/kernel/debug " /proc/mounts ||
	mount -t debugfs none /sys/kernel/debug 2>/dev/null
if modinfo -n $module 2>/dev/null | grep -q /; then
	run_module
else
	run_builtin
fi
# a suite is missing if the kernel has no late binding, or no bridge
[ -e /sys/kernel/debug/mdev/pending ] || suites='mdev vfio_mdev_log'
[ -e /sys/bus/mdev/drivers/vfio_mdev ] || suites=${suites% vfio_mdev_log}

awk -v suites="$suites" -v kunit=$kunit '
function result(what, suite, name) {
	tests++
	if (what != "ok")
		failed++
	report = report said what " " tests " " suite "." name "\n"
	said = ""
}

function read_results(suite,    file, line, plan, end) {
	file = kunit "/" suite "/results"
	said = ""
	end = tests + 1
	while ((getline line <file) > 0) {
		if (line ~ /^    1\.\./) {
			end = tests + substr(line, 8)
		} else if (line ~ /^    ok [0-9]+ /) {
			said = ""
			sub(/^    ok [0-9]+ /, "", line)
			result("ok", suite, line)
		} else if (line ~ /^    not ok [0-9]+ /) {
			sub(/^    not ok [0-9]+ /, "", line)
			result("not ok", suite, line)
		} else {
			said = said "# " line "\n"
		}
	}
	while (tests < end)
		result("not ok", suite, "(missing)")
}

BEGIN {
	n = split(suites, suite)
	for (i = 1; i <= n; i++)
		read_results(suite[i])
	print "TAP version 13"
	print "1.." tests
	printf "%s", report
	exit failed > 0
}'
