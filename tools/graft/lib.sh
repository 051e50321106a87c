# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What the scripts in this folder share. Sourced by them, never run.

# shellcheck source-path=SCRIPTDIR source=../lib/lib.sh disable=SC1091,SC2154
. "${BASH_SOURCE%/*}/../lib/lib.sh"

set -eu -o pipefail
# shellcheck disable=SC2034 # for those who source this

# files DIR: the files below a folder, sorted
files() { [ ! -d "$1" ] || (cd "$1" && find . -type f -printf '%P\n' | sort); }

# without WORD: filter a Kconfig, a Makefile, or C: drop the entry of a config
# symbol, the lines that name it, the blocks that depend on it, in this order,
# with the comment above. Fails if there is nothing to drop.
without() {
	awk -v word="$1" '
		function flush() {
			printf "%s", held
			if (held)
				last = held
			held = ""
		}
		function drop() { held = ""; gap = 1; dropped++ }

		# a Kconfig entry ends where something else begins
		/^[a-z#]/ && entry { entry = 0 }
		$0 == "config " word { drop(); entry = 1 }
		entry { next }

		# in C, up to #endif or #else
		$0 == "#if IS_ENABLED(CONFIG_" word ")" && !block {
			drop()
			block = depth = 1
			next
		}
		block && /^#[ \t]*if/ { depth++ }
		block && /^#[ \t]*else/ && depth == 1 { block = 2; next }
		block && /^#[ \t]*endif/ && !--depth { block = 0; next }
		block == 1 { next }

		# held until it is known what it is about
		/^(#[^a-z]| ?\*|\/\*)/ { held = held $0 "\n"; next }
		/^[a-z].*[:+]?= / && $0 ~ "(CONFIG_|-D)" word "([^A-Z0-9_]|$)" {
			drop()
			next
		}
		{ flush() }
		gap && $0 == "" && last == "" { next }
		{ print; last = $0; gap = 0 }
		END { flush(); exit !dropped }' | sed '$ { /^$/d }'
}
