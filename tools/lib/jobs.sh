# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs commands some at a time, shows what each has said when it ends, and counts. For
# scripts that source lib.sh first; never run. A command may be a function of theirs.
#
# A command's tests are the lines of its output that begin with "ok" or "not ok", as in
# TAP, or end in "ok" or "FAILED", as in the tables here. A command without any such
# line is a test itself; one that fails without a line that says so is a failure, too. If
# there is a line "# --- PROGRAM", it is TAP only, and each program has to report all
# the tests that it has announced, and to announce some. "# === PROGRAM" announces that a
# program is going to run.

tmp=$(mktemp -d) || exit
jobs_at_once=2
jobs=()		# a name each, which is that of its files in tmp
declare -A job_waits=()	# those that mostly wait: they run beside the others
job_pids=()	# of those that have been started

# shellcheck disable=SC2317 # called by a trap
cleanup() {
	local pids

	mapfile -t pids < <(jobs -p)
	((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null && wait
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# job NAME CMD [ARG]...: a command to come
job() {
	[ ! -e "$tmp/$1.cmd" ] || die "$1: twice"
	jobs+=("$1")
	printf '%s\0' "${@:2}" >"$tmp/$1.cmd"
}

# job_ended NAME STATUS SECONDS: leave a file that says so
job_ended() {
	# an empty one, where the disk is full, is no success either
	echo "$2 $3" >"$tmp/$1.status.new"
	mv "$tmp/$1.status.new" "$tmp/$1.status"
}

# job_run NAME
job_run() {
	local command start=$SECONDS status

	mapfile -d '' -t command <"$tmp/$1.cmd"
	again "$tmp/$1.out" "${command[@]}" 2>"$tmp/$1.err"
	status=$?
	job_ended "$1" "$status" $((SECONDS - start))
}

# jobs_killed: a process that was killed leaves nothing
jobs_killed() {
	local i name

	for i in "${!job_pids[@]}"; do
		name=${jobs[i]}
		kill -0 "${job_pids[i]}" 2>/dev/null && continue
		[ -e "$tmp/$name.status" ] && continue
		touch "$tmp/$name".{out,err}
		job_ended "$name" 137 -
	done
}

# is_tap NAME: is its output that of test programs?
is_tap() { grep -q '^# --- ' "$tmp/$1.out"; }

# good, bad, planned NAME: lines of its output
good() { grep -cE "^ok $(is_tap "$1" || echo '|[ :]ok$')" "$tmp/$1.out"; }
bad() { grep -cE "^not ok $(is_tap "$1" || echo '|[ :]FAILED$')" "$tmp/$1.out"; }
planned() {
	sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$tmp/$1.out" |
		awk '{ n += $1 } END { print n + 0 }'
}

# missing NAME: "COUNT PROGRAM..." for each program whose tests did not all report; one
# that announces nothing, or did not run at all, misses one, unless it says that it is
# skipped
missing() {
	awk '
		function end() {
			if (program && !skipped && (!planned || planned > seen))
				print planned ? planned - seen : 1, program
			planned = seen = skipped = 0
		}
		/^# === / { order[++n] = $3 }
		/^# --- / { end(); program = substr($0, 7); ran[$3] = 1 }
		/^1\.\.0 # SKIP/ { skipped = 1 }
		/^1\.\.[0-9]+/ { planned = substr($1, 4) + 0 }
		/^(not )?ok / { seen++ }
		END {
			end()
			for (i = 1; i <= n; i++)
				if (!(order[i] in ran))
					print 1, order[i]
		}' "$tmp/$1.out"
}

passed=0 failed=0 skipped=0
failures=()	# a line each, to be said last
table=()	# a line for each job

# job_report NAME: of one that has ended
job_report() {
	local status seconds skips bad ok count program names

	cat "$tmp/$1.err" >&2
	cat "$tmp/$1.out"
	read -r status seconds <"$tmp/$1.status"
	[[ $status =~ ^[0-9]+$ ]] || status=255
	skips=$(grep -c '^ok .*# SKIP' "$tmp/$1.out")
	bad=$(bad "$1")
	ok=$(($(good "$1") - skips))
	names=$(sed -n -e 's/^not ok [0-9]* \([^ ]*\).*/ \1/p' \
		-e 's/^\(.*\)[ :]FAILED$/ \1;/p' "$tmp/$1.out" |
		tr -s ' ' | tr -d '\n')
	[ "$names" ] && failures+=("$1:$names")
	while read -r count program; do
		failures+=("$1: $count tests did not report: $program")
		bad=$((bad + count))
	done < <(missing "$1")
	is_tap "$1" || ((status || ok || bad || skips)) || ok=1
	((status > 1 || (status == 1 && bad == 0))) && {
		failures+=("$1: exit status $status")
		((bad)) || bad=1
	}
	mapfile -t -O "${#failures[@]}" failures < <(
		sed -n "s/^FAIL: /$1: /p" "$tmp/$1.err")
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skips))
	table+=("$(printf '%-19s %7s %7s %7s %7s' "$1" "$seconds" "$ok" "$bad" "$skips")")
	say "$1: $ok passed, $bad failed, $skips skipped, in $seconds s"
	grep '# SKIP' "$tmp/$1.out" | sed "s/^/$1: /"
}

# jobs_progress: of those that are running
jobs_progress() {
	local name line=''

	for name in "${jobs[@]}"; do
		[ -e "$tmp/$name.out" ] || continue
		[ -e "$tmp/$name.status" ] && continue
		line+=" $name: $(good "$name")"
		(($(planned "$name"))) && line+=" of $(planned "$name")"
		line+=,
	done
	say "$((SECONDS - start)) s,${line%,}"
}

# jobs_busy: how many of those that are running do more than wait
jobs_busy() {
	local name busy=0

	for name in "${jobs[@]:0:started}"; do
		[ -e "$tmp/$name.status" ] || [ "${job_waits[$name]}" ] ||
			busy=$((busy + 1))
	done
	echo $busy
}

# jobs_run: all of them; false if any fails. The longest should come first.
jobs_run() {
	local start=$SECONDS started=0 ended=0 next=$((SECONDS + 15))

	while ((ended < ${#jobs[@]})); do
		if ((started < ${#jobs[@]})) && (($(jobs_busy) < jobs_at_once)); then
			job_run "${jobs[started]}" &
			job_pids+=($!)
			started=$((started + 1))
		elif [ -e "$tmp/${jobs[ended]}.status" ]; then
			job_report "${jobs[ended]}"
			ended=$((ended + 1))
		else
			((SECONDS >= next)) && { jobs_progress; next=$((SECONDS + 15)); }
			jobs_killed
			sleep 1
		fi
	done

	printf '\n%-19s %7s %7s %7s %7s\n' part seconds passed failed skipped
	printf '%s\n' "${table[@]}"
	((${#failures[@]})) && printf '%s\n' '' "${failures[@]}"
	echo "$passed passed, $failed failed, $skipped skipped, in $((SECONDS - start)) s"
	((failed == 0 && passed > 0))
}
