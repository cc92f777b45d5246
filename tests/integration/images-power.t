#!/usr/bin/env bash
# The image store when the daemon is killed, or the power goes, before any of the system calls that change
# the disk: it starts again, images are whole or absent, what was reported done is done, nothing leaks.
# POWER_SAMPLE (4): how many of these calls, for each of both; POWER_SEED; "all" takes every one.
. "$(dirname "$0")/../lib/imagestore.sh"
for tool in strace python3 jq; do command -v $tool >/dev/null || skip_all "needs $tool"; done
SAMPLE=${POWER_SAMPLE:-4}
SEED=${POWER_SEED:-$RANDOM}
diag "POWER_SEED=$SEED"
CHECK=$TOP/tests/lib/store_check.py
CALLS=mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,fsync,fdatasync,ftruncate,write,pwrite64,openat
for n in a b; do python3 "$TOP/tests/lib/layered.py" "$T/$n.tar" "coracle.local/$n:v1" 3 2 3000 2 || bail "no image"; done
python3 "$TOP/tests/lib/layered.py" "$T/c.tar" "coracle.local/a:v1" 2 3 2000 1 # takes the name of the first

# ---- the work that is interrupted ----
# work DIR: what a node does to its store, through the socket; each step's name goes to DIR/done.
work() {
    local images="$B/tests/bin/images $1/run/coracle/cri.sock"
    $images import "$T/a.tar" && echo a >>"$1/done" || return
    $images import "$T/b.tar" && echo b >>"$1/done" || return
    $images import "$T/c.tar" && echo c >>"$1/done" || return
    $images remove coracle.local/b:v1 && echo d >>"$1/done" || return
    $images pull 127.0.0.1:1/none:v1
}
# daemon DIR [WRAPPER…]: starts it, pid in PID (the wrapper's).
daemon() {
    local dir=$1
    shift
    "$@" "$B/libexec/coracle/coracle-cri" --root "$dir" >>"$dir/cri.log" 2>&1 &
    PID=$!
}
ready() { eventually 60 "$B/tests/bin/images" "$1/run/coracle/cri.sock" fsinfo; }
# The daemon itself, also under strace.
daemon_pid() { pgrep -f -x "$B/libexec/coracle/coracle-cri --root $1"; }
stop() {
    kill "$(daemon_pid "$1")"
    wait $PID
}
swept() { ! ls "$1/var/lib/coracle/images/tmp" | grep -q .; }
state() { # DIR: once what goes in the background is gone
    eventually 20 swept "$1"
    python3 "$CHECK" "$1/var/lib/coracle/images" | sort
}

# Without an interruption: which calls there are, and what the states between the steps are.
CLEAN=$T/clean
mkdir -p "$CLEAN"
daemon "$CLEAN" strace -qq -y -e trace=$CALLS -o "$T/calls"
ready "$CLEAN" >/dev/null || bail "coracle-cri does not start: $(tail -3 "$CLEAN/cri.log")"
work "$CLEAN" >/dev/null 2>&1
is "$(tr -d '\n' <"$CLEAN/done")" "abcd" "the work, undisturbed"
stop "$CLEAN"
FINAL=$(state "$CLEAN")
unlike "$FINAL" "problem" "leaves a clean store"
line() { python3 "$CHECK" "$T/s/var/lib/coracle/images" | grep "^coracle.local/$1:v1 "; }
mkdir -p "$T/s"
daemon "$T/s"
ready "$T/s" >/dev/null
"$B/tests/bin/images" "$T/s/run/coracle/cri.sock" import "$T/a.tar" >/dev/null
"$B/tests/bin/images" "$T/s/run/coracle/cri.sock" import "$T/b.tar" >/dev/null
A=$(line a) BB=$(line b) CC=$FINAL
stop "$T/s"
# What may be there after the steps that were reported done (none, a, ab, abc, abcd) and the one under way.
may_be() { # DONE STATE
    case $1 in
    "") [ -z "$2" ] || [ "$2" = "$A" ] ;;
    a) [ "$2" = "$A" ] || [ "$2" = "$(printf '%s\n' "$A" "$BB")" ] ;;
    ab) [ "$2" = "$(printf '%s\n' "$A" "$BB")" ] || [ "$2" = "$(printf '%s\n' "$CC" "$BB" | sort)" ] ;;
    abc) [ "$2" = "$(printf '%s\n' "$CC" "$BB" | sort)" ] || [ "$2" = "$CC" ] ;;
    abcd) [ "$2" = "$CC" ] || { [ -n "${3:-}" ] && [ "$2" = "$(printf '%s\n' "$CC" "$BB" | sort)" ]; } ;;
    esac
}

# A sample of the calls that change something below the store: "rename 3" is the third rename.
points() {
    python3 - "$T/calls" "$SAMPLE" "$SEED" <<'END'
import random, re, sys
calls, sample, seed = sys.argv[1:]
seen, points = {}, []
for line in open(calls):
    name = re.match(r"(\w+)\(", line)
    if not name:
        continue
    name = name.group(1)
    seen[name] = seen.get(name, 0) + 1
    if "/var/lib/coracle/images/" in line and (name != "openat" or "O_CREAT" in line):
        points.append("%s %d" % (name, seen[name]))
if sample != "all":
    points = random.Random(seed).sample(points, min(int(sample), len(points)))
print("\n".join(points))
END
}

# finish DIR WHAT [LOST]: after the interruption: starts again, and does the work to its end.
finish() {
    local dir=$1 what=$2 done_ now
    done_=$(tr -d '\n' <"$dir/done" 2>/dev/null)
    daemon "$dir"
    ready "$dir" >/dev/null || { fail "$what: starts again" "$(tail -3 "$dir/cri.log")"; return; }
    now=$(state "$dir")
    if may_be "$done_" "$now" "${3:-}"; then pass "$what, after \"$done_\": whole or absent"; else
        fail "$what, after \"$done_\": whole or absent" "$now" "$(tail -5 "$dir/cri.log")"
    fi
    rm -f "$dir/done"
    work "$dir" >/dev/null 2>&1
    now=$(state "$dir")
    [ "$(tr -d '\n' <"$dir/done") $now" = "abcd $FINAL" ] || fail "$what: and goes on" "$(cat "$dir/done")" "$now" "$(tail -5 "$dir/cri.log")"
    stop "$dir"
}
interrupted() { # DIR CALL N
    mkdir -p "$1"
    : >"$1/done"
    daemon "$1" strace -qq -e "trace=$2" -e "inject=$2:signal=KILL:when=$3" -o /dev/null
    ready_or_dead() { ! kill -0 $PID 2>/dev/null || "$B/tests/bin/images" "$1/run/coracle/cri.sock" fsinfo; }
    eventually 60 ready_or_dead "$1" >/dev/null
    work "$1" >/dev/null 2>&1
    kill -KILL "$(daemon_pid "$1")" 2>/dev/null # it was not interrupted: timing made it fewer calls
    wait $PID 2>/dev/null
}

# ---- killed ----
n=0
while read -r call nth; do
    n=$((n + 1))
    interrupted "$T/k$n" "$call" "$nth" </dev/null
    is "$(ls "$T/k$n/var/lib/coracle/images/quarantine" 2>/dev/null)" "" "killed before $call $nth: nothing is damaged"
    finish "$T/k$n" "killed before $call $nth"
    rm -rf "$T/k$n"
done < <(points)

# ---- the power goes: what was not synced is lost ----
if ! command -v mkfs.ext4 >/dev/null || ! truncate -s 64M "$T/disk" || ! mkfs.ext4 -q -F "$T/disk" || ! mkdir "$T/mnt" ||
    ! mount -o loop,noauto_da_alloc,commit=600 "$T/disk" "$T/mnt" 2>/dev/null; then
    skip "needs ext4 on a loop device"
    done_testing
    exit
fi
umount "$T/mnt"
SEED=$((SEED + 1))
n=0
while read -r call nth; do
    n=$((n + 1))
    dir=$T/p$n
    mkdir -p "$dir/var/lib/coracle/images"
    cp --sparse=always "$T/disk" "$T/disk.now"
    mount -o loop,noauto_da_alloc,commit=600 "$T/disk.now" "$dir/var/lib/coracle/images"
    at_end eval "mountpoint -q $dir/var/lib/coracle/images && umount $dir/var/lib/coracle/images; :"
    interrupted "$dir" "$call" "$nth" </dev/null
    cp --sparse=always "$T/disk.now" "$T/disk.crash" # what reached the disk
    umount "$dir/var/lib/coracle/images"
    mount -o loop "$T/disk.crash" "$dir/var/lib/coracle/images"
    finish "$dir" "the power went before $call $nth" lost
    umount "$dir/var/lib/coracle/images"
    rm -rf "$dir"
done < <(points)
done_testing
