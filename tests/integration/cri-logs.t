#!/usr/bin/env bash
# Container logs under load: every byte once and in order, whatever is done to the files meanwhile.
# LINES (1000000) of standard output may be given.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
LINES_OUT=${LINES:-1000000}
cri_setup
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
cri_start
cri_import "$T/bb.tar" >/dev/null || bail "no image"
a=$(cri runp "$(pod a)")

# What a stream was: records put together again, a partial one without a newline.
stream() { # NAME FILE…
    local s=$1
    shift
    cat "$@" | mawk -v s="$s" '{ if ($2 != s) next; at = index($0, " " s " ") + length(s) + 2; tag = substr($0, at, 1); printf "%s%s", substr($0, at + 2), tag == "F" ? "\n" : "" }'
}
# Lines of all lengths, some longer than a record, and an end without a newline.
LONG='BEGIN { for (i = 0; i < 300; i++) { n = (i * 7919) % 60000; s = i ":"; for (j = 0; j < n; j += 50) s = s sprintf("%050d", j); print s } printf "the end" }'

# ---- files are renamed and opened anew while millions of lines are written ----
k=$(run "$a" load "seq 1 $LINES_OUT & busybox awk '$LONG' >&2; seq 1 $((LINES_OUT / 3)) >&2; printf 'no newline' >&2; wait; printf last")
dir=$T/logs/a/load
n=0
failed=0
while ! is_state "$k" EXITED; do
    n=$((n + 1))
    sleep 0.2
    mv "$dir/0.log" "$dir/0.log.$(printf %04d $n)"
    cri reopen "$k" 2>>"$T/reopen" || { is_state "$k" EXITED || failed=1; break; }
done
eventually 120 is_state "$k" EXITED
is $failed 0 "the log is opened anew while it is written to"
ok "... $n times" test "$n" -gt 3
files="$(ls "$dir"/0.log.*) $(ls "$dir"/0.log 2>/dev/null)" # in the order of their time
is "$(stream stdout $files | sha256sum)" "$({ seq 1 "$LINES_OUT"; printf last; } | sha256sum)" "standard output: every byte, in order"
is "$(stream stderr $files | sha256sum)" "$({ busybox awk "$LONG"; seq 1 $((LINES_OUT / 3)); printf 'no newline'; } | sha256sum)" "standard error too, long lines put together"
is "$(cat $files | grep -cavE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,9})?Z std(out|err) [FP] ')" 0 "no record is torn"
is "$(cat $files | mawk '{ n = length($0) - index($0, $3) - 1; if (n > 16384) print n }' | wc -l)" 0 "none is longer than 16 KB"
is "$(tail -qc1 $files | tr -d '\n' | wc -c)" 0 "every file ends with a whole one"
like "$(cri reopen "$k" 2>&1)" "$(ours && echo "FAILED_PRECONDITION.*")not running" "a container that has ended has no log to open"
is "$(cri inspectp "$a" | jq -r .status.state)" SANDBOX_READY "the pod is well"
cri rmp "$a"
cri_stop

# ---- limits at write time: ours, others leave rotation to the kubelet ----
ours || { done_testing; exit; }
like "$("$LIBEXEC/coracle-cri" --root "$R" --container-log-max-bytes 10 2>&1)" "container-log-max-bytes: at least 65536" "a limit that makes no sense is refused"
cri_start --container-log-max-bytes 65536 --container-log-max-files 3
a=$(cri runp "$(pod b)")
k=$(run "$a" limited 'seq 1 20000')
eventually 60 is_state "$k" EXITED
dir=$T/logs/b/limited
is "$(find "$dir" -size +65536c | wc -l)" 0 "no file is larger than the limit"
is "$(ls "$dir" | sed -E 's/[0-9]{8}-[0-9]{6}/TIME/' | sort | uniq -c | xargs)" "1 0.log 3 0.log.TIME" "as many are kept as was said, in the kubelet's form"
kept=$(stream stdout $(ls "$dir"/0.log.*) "$dir/0.log")
is "$kept" "$(seq "$(head -1 <<<"$kept")" 20000)" "... the last ones, without a gap"
ok "... a lot of them" test "$(wc -l <<<"$kept")" -gt 3000

# ---- a log's place where there is something else ----
echo mine >"$T/victim"
mkdir -p "$T/logs/b"/{linked,piped}
ln -s "$T/victim" "$T/logs/b/linked/0.log"
mkfifo "$T/logs/b/piped/0.log"
like "$(cri create "$a" "$(container linked true)" 2>&1)" "log file $T/logs/b/linked/0.log: Too many levels of symbolic links" "a link in a log's place is not followed"
like "$(timeout 20 bash -c 'cri create "$0" "$1"' "$a" "$(container piped true)" 2>&1)" "log file $T/logs/b/piped/0.log: " "... nor is a pipe waited for"
like "$(cri create "$a" "$(container x true '.log_path="/x.log"')" 2>&1)" 'INVALID_ARGUMENT.*config.log_path: "/x.log"' "... nor an absolute path taken"
k=$(run "$a" goes-on 'echo one; until [ -e /go ]; do sleep 0.1; done; echo two')
dir=$T/logs/b/goes-on
mv "$dir/0.log" "$dir/1.log"
ln -s "$T/victim" "$dir/0.log"
like "$(cri reopen "$k" 2>&1)" "log file $dir/0.log: Too many levels of symbolic links" "... nor a link when the log is opened anew"
cri exec "$k" touch /go
eventually 20 is_state "$k" EXITED
is "$(stream stdout "$dir/1.log")" $'one\ntwo' "... the log goes on in the file that is open"
is "$(cat "$T/victim")" mine "nothing was written elsewhere"
cri rmp "$a"
cri_stop
is "$(grep -cE 'Sanitizer|runtime error|Assertion' "$T/cri.log")" 0 "nothing found by sanitizers"
done_testing
