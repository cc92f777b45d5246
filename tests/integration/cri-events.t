#!/usr/bin/env bash
# GetContainerEvents: every kind, in order, to everybody who listens; who does not keep up is let go.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
cri_setup
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
cri_start
cri import "$T/bb.tar" >/dev/null || bail "no image"

# listen NAME: writes to $T/NAME what comes; its pid is in $listener.
listen() {
    nsenter --net="/run/netns/$NETNS" "$B/tests/bin/cri-client" events >"$T/$1" 2>"$T/$1.err" &
    listener=$!
    at_end eval "kill -CONT $listener 2>/dev/null; kill $listener 2>/dev/null || true"
}
# heard NAME ID: the kinds of the events about ID
heard() { jq -r --arg id "$2" 'select(.container_id == $id) | .container_event_type | sub("CONTAINER_"; "") | sub("_EVENT"; "")' "$T/$1" | xargs; }
# Until a listener is known to be there: pods come and go.
probe() { p=$(cri runp "$(pod "probe-$1-$((++n))")") && cri rmp "$p" && sleep 0.1 && [ -s "$T/$1" ]; }
n=0
listen one
one=$listener
eventually 20 probe one
listen two
two=$listener
eventually 20 probe two

# ---- one pod's life ----
a=$(cri runp "$(pod a)")
k=$(run "$a" short 'exit 4')
eventually 10 is_state "$k" EXITED
l=$(run "$a" long 'exec sleep 1000')
cri stop "$l" 0
c=$(cri create "$a" "$(container waits true)")
cri rm "$k"
cri rm "$c"
cri stopp "$a"
cri rmp "$a"
done_with() { [ "$(heard "$1" "$a" | wc -w)" = 4 ]; }
for who in one two; do
    ok "listener $who hears of the pod's end" eventually 10 done_with $who
    is "$(heard $who "$a")" "CREATED STARTED STOPPED DELETED" "... and of all its life, in order"
    is "$(heard $who "$k")" "CREATED STARTED STOPPED DELETED" "... of a container that ended by itself"
    is "$(heard $who "$l")" "CREATED STARTED STOPPED DELETED" "... of one that was stopped, and removed with its pod"
    is "$(heard $who "$c")" "CREATED DELETED" "... of one that never ran"
done
order() { jq -r --argjson ids "[\"$a\",\"$k\",\"$l\",\"$c\"]" 'select(.container_id | IN($ids[])) | .container_id + .container_event_type' "$T/$1"; }
is "$(order one)" "$(order two)" "both hear the same, in the same order"
ok "times do not go back" jq -se '[.[].created_at] | . == sort' "$T/one"
at() { jq -se --arg id "$2" --arg t "CONTAINER_$3_EVENT" "[.[] | select(.container_id == \$id and .container_event_type == \$t)][0] | $4" "$T/$1"; }
ok "an event has the pod's status and its containers' as they are then" at one "$k" STARTED '.pod_sandbox_status.state == "SANDBOX_READY" and ([.containers_statuses[] | select(.id == $id)][0].state | . == "CONTAINER_RUNNING" or . == "CONTAINER_EXITED")'
ok "... the exit code at the end" at one "$k" STOPPED '[.containers_statuses[] | select(.id == $id)][0] | .exit_code == 4 and .reason == "Error" and .finished_at > 0'
ok "... the pod's own end" at one "$a" STOPPED '.pod_sandbox_status.state == "SANDBOX_NOTREADY"'

# ---- a listener that does not read ----
listen stuck
stuck=$listener
eventually 20 probe stuck
kill -STOP "$stuck"
b=$(cri runp "$(pod b "$(printf '.annotations.big="%060000d"' 0)")")
for i in $(seq 1 40); do
    x=$(cri create "$b" "$(container "c$i" true)") && cri rm "$x"
done
ok "events go on for the others" test "$(heard one "$x")" = "CREATED DELETED"
kill -CONT "$stuck"
ended() { ! kill -0 "$stuck" 2>/dev/null; }
ok "who does not read is let go" eventually 20 ended
like "$(cat "$T/stuck.err")" "RESOURCE_EXHAUSTED.*list again" "... and told to list again"
before=$(wc -l <"$T/stuck")
ok "... having missed some" test "$(grep -c "$b" "$T/one")" -gt "$(grep -c "$b" "$T/stuck")"
rss=$(awk '/VmRSS/{print $2}' "/proc/$(pgrep -P $$ -f "coracle-cri.*$R" | head -1)/status")
ok "nothing piles up ($rss kB)" test "$rss" -lt "$([ -n "${ASAN_OPTIONS:-}" ] && [ "$(basename "$B")" = asan ] && echo 400000 || echo 40000)"

# ---- the daemon is killed ----
s=$(run "$b" steady 'exec sleep 1000')
e=$(run "$b" ends 'sleep 1; exit 5')
cri_kill9
gone() { ! kill -0 "$one" 2>/dev/null && ! kill -0 "$two" 2>/dev/null; }
ok "listeners hear of the daemon's end" eventually 10 gone
like "$(cat "$T/one.err")" "UNAVAILABLE" "... as an error"
sleep 1.2
cri_start
listen again
eventually 20 probe again
is "$(field "$e" exit_code)" 5 "what happened meanwhile is in the status"
is "$(heard again "$e")" "" "... not told as if it were new"
cri stop "$s" 0
stopped() { [ "$(heard again "$s")" = STOPPED ]; }
ok "a container of the last daemon is told of" eventually 10 stopped
cri rm "$e"
removed() { [ "$(heard again "$e")" = DELETED ]; }
ok "... also one that ended meanwhile" eventually 10 removed
cri rmp "$b"
cri_stop && rc=0 || rc=$?
is $rc 0 "an orderly end"
like "$(cat "$T/again.err")" "UNAVAILABLE|CANCELLED" "... that listeners hear of"
is "$(grep -cE 'Sanitizer|runtime error|Assertion' "$T/cri.log")" 0 "nothing found by sanitizers" || diag "$(grep -A30 -E 'Sanitizer|runtime error' "$T/cri.log" | head -60)"
done_testing
