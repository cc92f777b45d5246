#!/usr/bin/env bash
# The runtime is killed at random points while pods come and go: nothing is left, lost or doubled.
# ROUNDS (10) and SEED (1) may be given.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
ROUNDS=${ROUNDS:-10}
RANDOM=${SEED:-1}
cri_setup
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb"
cri_start
cri import "$T/bb.tar" >/dev/null || bail "no image"
before=$(in_node ip -o link | wc -l)

# A pod that lives through everything.
keep=$(cri runp "$(pod keep)")
steady=$(run "$keep" steady 'exec sleep 100000')
pid=$(cri inspect "$steady" | jq -r .info.info | jq -r .pid)
address=$(cri inspectp "$keep" | jq -r .status.network.ip)

# Goes on whatever fails: the daemon is away half of the time.
churn() {
    local i p k
    for ((i = 0; ; i++)); do
        [ -e "$T/stop" ] && return
        p=$(cri runp "$(pod "churn-$1-$i")") || continue
        k=$(cri create "$p" "$(container c 'exec sleep 1000')") && cri start "$k" && cri exec "$k" true
        [ $((i % 3)) = 0 ] && cri stop "$k" 0
        [ $((i % 2)) = 0 ] && cri rm "$k"
        cri rmp "$p"
    done
}
lost=0
for ((round = 1; round <= ROUNDS; round++)); do
    rm -f "$T/stop"
    churn "$round-a" >>"$T/churn.log" 2>&1 &
    one=$!
    churn "$round-b" >>"$T/churn.log" 2>&1 &
    two=$!
    sleep "0.$((RANDOM % 900 + 100))"
    cri_kill9
    touch "$T/stop"
    wait $one $two
    cri_start
    [ "$(cri inspect "$steady" | jq -r .info.info | jq -r .pid)" = "$pid" ] || lost=1
    # Whatever the kill left half done is known by the list, or gone.
    for p in $(cri pods | jq -r '.items[].id'); do
        [ "$p" = "$keep" ] || cri rmp "$p" || { diag "round $round: cannot remove $p"; lost=1; }
    done
    left=$(ls "$R/run/coracle/sandboxes" | grep -v "$keep")
    [ -z "$left" ] || { diag "round $round: left $left"; lost=1; }
done
is $lost 0 "$ROUNDS kills: every pod is known afterwards, and can be removed"
ok "the steady container has not noticed" kill -0 "$pid"
ok "... and is driven" cri exec "$steady" true
is "$(cri inspectp "$keep" | jq -r .status.network.ip)" "$address" "... with its address"
is "$(cri ps | jq '.containers | length')" 1 "no container is doubled or left"
is "$(in_node ip -o link | wc -l)" $((before + 1)) "no link is left"
is "$(ls "$R/run/coracle/network/leases" | xargs)" "$address" "no lease is left"
is "$(pgrep -fc "coracle-shim $R/")" 1 "no shim is left"
ok "no layer is left" eventually 5 bash -c "[ \"\$(ls '$R/var/lib/coracle/containers')\" = $steady ]"
is "$(grep -c "$R/run" /proc/self/mountinfo)" "$(grep -c "$R/run/coracle/sandboxes/$keep" /proc/self/mountinfo)" "no mount is left"
is "$(cri_cgroups | grep -E '/[0-9a-f]{64}$' | grep -vc "$steady")" 0 "no container's cgroup is left"
is "$(grep -cE 'Sanitizer|runtime error' "$T/cri.log")" 0 "nothing found by sanitizers" || diag "$(grep -A30 -E 'Sanitizer|runtime error' "$T/cri.log" | head -60)"
done_testing
