#!/usr/bin/env bash
# The kubelet is killed at random points while pods are made, deleted, crash and fail their probes: afterwards what
# runs is what the API has, and nobody was restarted without cause. ROUNDS (10) and SEED (1) may be given.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
ROUNDS=${ROUNDS:-10}
RANDOM=${SEED:-1}
diag "seed ${SEED:-1}"
node_up
FLAGS=(--kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt")
kubelet_start "${FLAGS[@]}"
QUICK='{"terminationGracePeriodSeconds":1}'

# Pods that live through everything.
create steady "$(spec "$(container "$SLEEP" '{"livenessProbe":{"exec":{"command":["true"]},"periodSeconds":1}}')")" >/dev/null
create done "$(spec "$(container 'exit 0')" '{"restartPolicy":"Never"}')" >/dev/null
create crash "$(spec "$(container 'exit 3')")" >/dev/null
create probed "$(spec "$(container "$SLEEP" '{"livenessProbe":{"exec":{"command":["false"]},"periodSeconds":1,"failureThreshold":1}}')" "$QUICK")" >/dev/null
ok "a pod that stays" eventually 60 ready steady || { tail -5 "$T/kubelet.log"; bail "no pod"; }
ok "one that ends" eventually 60 pod_is done .status.phase Succeeded
id=$(container_id steady c) ended=$(get $pods/done '.status.containerStatuses[0].containerID')
crashed() { [ "$(get "$pods/$1" '.status.containerStatuses[0].restartCount')" -ge 1 ]; }
ok "one that crashes" eventually 60 crashed crash
ok "one that fails its probe" eventually 60 crashed probed

# ---- the rounds ----
lost=0
for ((round = 1; round <= ROUNDS; round++)); do
    for i in 1 2; do create "churn-$round-$i" "$(spec "$(container "$SLEEP")" "$QUICK")" >/dev/null; done
    [ $round = 1 ] || api DELETE "$pods/churn-$((round - 1))-1" >/dev/null
    [ $((RANDOM % 2)) = 0 ] || api DELETE "$pods/churn-$round-2?gracePeriodSeconds=0" >/dev/null
    sleep "0.$((RANDOM % 900 + 100))"
    kubelet_kill9
    [ $round -lt 3 ] || api DELETE "$pods/churn-$((round - 2))-2?gracePeriodSeconds=$((RANDOM % 2))" >/dev/null
    kubelet_start "${FLAGS[@]}"
    [ "$(container_id steady c)" = "$id" ] || { diag "round $round: steady was restarted"; lost=1; }
done
is $lost 0 "$ROUNDS kills: who runs, runs on"

# ---- the end: the runtime has what the API has ----
wanted() { get $pods '.items[] | select(.metadata.deletionTimestamp == null) | .metadata.uid' | sort; }
has() { cri pods | jq -r '.items[]?.labels["io.kubernetes.pod.uid"]' | sort -u; }
settled() { # what ended has its sandbox or not, as the kubelet likes
    local over
    over=$(get $pods/done .metadata.uid)
    [ "$(wanted | grep -v "$over")" = "$(has | grep -v "$over")" ] && [ "$(get $pods '[.items[] | select(.metadata.deletionTimestamp)] | length')" = 0 ]
}
ok "every pod of the API is in the runtime, and no other" eventually 90 settled || { diag "API:" "$(wanted)" "runtime:" "$(has)"; }
ready_all() { [ "$(get $pods '[.items[] | select(.metadata.name | startswith("churn")) | select([.status.conditions[]? | select(.type=="Ready" and .status=="True")] | length == 0)] | length')" = 0 ]; }
ok "... all are ready" eventually 60 ready_all
is "$(get $pods '[.items[] | select(.metadata.name | test("^(churn|steady|done)")) | .status.containerStatuses[].restartCount] | add')" 0 "... and none of them was restarted"
is "$(container_id steady c)" "$id" "the steady one has not noticed"
is "$(get $pods/done '.status.containerStatuses[0].containerID')" "$ended" "the one that had ended was not run again"
doubled() { cri ps | jq -r '.containers[]? | select(.state=="CONTAINER_RUNNING") | .labels["io.kubernetes.pod.uid"] + "/" + .metadata.name' | sort | uniq -d; }
is "$(doubled)" "" "no container runs twice"
n=$(get $pods/crash '.status.containerStatuses[0].restartCount')
ok "the crashing one still counts ($n)" [ "$n" -ge 1 ]
api DELETE $pods >/dev/null
nothing() { [ "$(get $pods '.items|length')" = 0 ] && [ "$(cri pods | jq '.items|length')" = 0 ] && [ -z "$(ls "$R/var/lib/kubelet/pods")" ]; }
ok "deleted: no pod, sandbox or directory is left" eventually 90 nothing || diag "$(get $pods '.items[].metadata.name')" "$(ls "$R/var/lib/kubelet/pods")"
groups() { find /sys/fs/cgroup -type d -path "*$CGROUP/kubepods/*" -name 'pod*'; }
no_groups() { [ -z "$(groups)" ]; }
ok "... no cgroup" eventually 40 no_groups
is "$(awk -v r="$R/var/lib/kubelet/" 'index($5, r) == 1' /proc/self/mountinfo)" "" "... no mount"
is "$(ls "$R/var/log/pods")" "" "... no log"
kubelet_stop && rc=0 || rc=$?
is $rc 0 "an orderly end"
is "$(grep -cE 'Sanitizer|runtime error|Assertion' "$T/kubelet.log")" 0 "nothing found by sanitizers" || diag "$(grep -A30 -E 'Sanitizer|runtime error' "$T/kubelet.log" | head -60)"
done_testing
