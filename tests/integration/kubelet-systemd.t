#!/usr/bin/env bash
# The kubelet over a runtime with the systemd cgroup driver: slices for pods and their classes, by a
# stand-in for systemd (tests/lib/progs/fake-systemd.c).
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
SOCKET=$T/systemd LOG=$T/systemd.log
CRI_FLAGS=(--cgroup-driver systemd --systemd-socket "$SOCKET")
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
ROOT=${CGROUP#/} && ROOT=${ROOT//-/_}
TOP_SLICE=/$ROOT.slice/$ROOT-kubepods.slice
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then CG=/sys/fs/cgroup MEMORY=MemoryMax; else CG=/sys/fs/cgroup/memory MEMORY=MemoryLimit; fi
remove_groups() { find /sys/fs/cgroup -depth -type d -path "*/$ROOT.slice*" -exec rmdir {} \; 2>/dev/null; return 0; }
at_end remove_groups
at_end eval 'kill $fake 2>/dev/null || true'
fake_start() {
    "$B/tests/bin/fake-systemd" "$SOCKET" "$LOG" 2>>"$T/fake.err" &
    fake=$!
    eventually 10 test -S "$SOCKET"
}
fake_start
node_up
config() { printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nkubeReserved: {memory: 64Mi}\n%s\n' "$1" >"$T/config.yaml"; }
FLAGS=(--kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt" --config "$T/config.yaml" --systemd-socket "$SOCKET")
node_says() { get /api/v1/nodes/n1 '.status.conditions[]? | select(.type=="Ready") | .status + " " + .message' | grep -qE "$1"; }
Mi=$((1 << 20))
# slice POD TIER: its name. limit SLICE-PATH: of memory.
slice() { echo "$ROOT-kubepods$2-pod$(get "$pods/$1" .metadata.uid | tr - _).slice"; }
dir() { echo "$CG$TOP_SLICE${2:+/$ROOT-kubepods$2.slice}/$(slice "$1" "$2")"; }
limit() { cat "$1/memory.max" "$1/memory.limit_in_bytes" 2>/dev/null; }
limit_is() { [ "$(limit "$(dir "$1" "$2")")" = "$3" ]; }

# ---- who says what ----
config 'cgroupDriver: cgroupfs'
kubelet_start "${FLAGS[@]}"
ok "a driver that is not the runtime's: the node is not ready, and says why" eventually 40 node_says "^False cgroupDriver: the configuration says cgroupfs, the container runtime has systemd$"
is "$(grep -c 'cgroupDriver: the configuration says' "$T/kubelet.log" | head -1)" "$(grep -c 'cgroupDriver: the configuration says.*' <(sort -u "$T/kubelet.log"))" "... once"
ok "... and nothing was made" test ! -e "$CG$TOP_SLICE"
kubelet_stop
config ''
kill $fake && wait $fake 2>/dev/null
kubelet_start "${FLAGS[@]}"
ok "no systemd: the node says so" eventually 40 node_says "^False cgroup driver systemd: systemd does not answer at unix:path=$SOCKET"
create early "$(spec "$(container "$SLEEP")")" >/dev/null
fake_start
ok "... and goes on when there is one" eventually 40 node_says '^True '
ok "... with the pod that waited" eventually 40 ready early || tail -5 "$T/kubelet.log"
is "$(grep -c 'slice=' "$LOG")" 1 "... which had no other group before"

# ---- the tree ----
total=$(awk '/^MemTotal/ {print $2}' /proc/meminfo)
like "$(cat "$LOG")" "slice $ROOT-kubepods.slice [^
]*$MEMORY=$(((total - 64 * 1024) * 1024))" "pods together are held to what is not reserved"
create g "$(spec "$(container "$SLEEP" '{"resources":{"limits":{"cpu":"200m","memory":"64Mi"}}}')")" >/dev/null
create b "$(spec "$(container "$SLEEP" '{"resources":{"requests":{"cpu":"100m"}}}')")" >/dev/null
for p in g b; do ok "$p runs" eventually 40 ready $p; done
like "$(grep "slice $(slice g '')" "$LOG")" "CPUQuotaPerSecUSec=200000 $MEMORY=$((64 * Mi))" "the limits of a pod are properties of its slice"
is "$(limit "$(dir g '')")" $((64 * Mi)) "... and its group has them"
like "$(cat "$LOG")" "start cri-coracle-$(container_id g c).scope slice=$(slice g '') " "its container is a scope in it"
ok "burstable" test -d "$(dir b -burstable)"
ok "best effort" test -d "$(dir early -besteffort)"
stats() { get "/api/v1/nodes/n1/proxy/stats/summary" '.pods[] | select(.podRef.name=="g") | (.memory.usageBytes > 0) and (.containers[0].memory.usageBytes > 0)'; }
has_stats() { [ "$(stats)" = true ]; }
ok "statistics" eventually 40 has_stats
resize() { api PATCH "$pods/g/resize" -H 'Content-Type: application/strategic-merge-patch+json' --data-binary "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":$1}]}}" >/dev/null; }
id=$(container_id g c)
resize '{"limits":{"cpu":"300m","memory":"96Mi"},"requests":{"cpu":"300m","memory":"96Mi"}}'
ok "a resize" eventually 40 pod_is g '.status.containerStatuses[0].resources.limits.memory' 96Mi
like "$(grep "set $(slice g '')" "$LOG" | tail -1)" "CPUQuotaPerSecUSec=300000 $MEMORY=$((96 * Mi))" "... is told to systemd"
ok "... and the group has it" limit_is g '' $((96 * Mi))

# ---- systemd says no ----
echo refuse >"$LOG.fail"
create no "$(spec "$(container "$SLEEP")")" >/dev/null
ok "a slice that cannot be had is an event" eventually 40 event_says no FailedCreatePodContainer "unable to prepare the pod: systemd: start $(slice no -besteffort): told to refuse"
rm "$LOG.fail"
ok "... and tried again" eventually 40 ready no
api DELETE $pods/no >/dev/null
ok "a pod goes" eventually 40 absent no

# ---- the kubelet is killed ----
kubelet_kill9
orphan=$(dir b -burstable)
api_json DELETE $pods/b '{"gracePeriodSeconds":0}' >/dev/null
kubelet_start "${FLAGS[@]}"
ok "of a pod that went meanwhile" eventually 60 test ! -e "$orphan"
like "$(cat "$LOG")" "stop ${orphan##*/}" "... the slice is stopped"
is "$(container_id g c)" "$id" "another's runs on"
ok "... and is ready" eventually 40 ready g

# ---- they go ----
gdir=$(dir g '')
for p in g early; do api DELETE $pods/$p >/dev/null; done
for p in g early; do ok "$p is deleted" eventually 40 absent $p; done
like "$(cat "$LOG")" "stop ${gdir##*/}" "its slice is stopped"
ok "... and gone" test ! -e "$gdir"
is "$(find /sys/fs/cgroup -type d -name "$ROOT-kubepods*-pod*")" "" "... in all hierarchies"
kubelet_stop && rc=0 || rc=$?
is $rc 0 "an orderly end"
in_ns "$LIBEXEC/coracle-kubelet" --root "$R" --cgroup-root "$CGROUP" --systemd-socket "$SOCKET" --cleanup >"$T/cleanup.log" 2>&1
is $? 0 "--cleanup" || diag "$(cat "$T/cleanup.log")"
ok "... leaves no slice" test ! -e "$CG$TOP_SLICE"
is "$(grep -cE 'Sanitizer|runtime error|Assertion' "$T/kubelet.log" "$T/fake.err" | grep -vc ':0$')" 0 "nothing found by sanitizers" || diag "$(grep -A30 -E 'Sanitizer|runtime error' "$T/kubelet.log" | head -60)"
done_testing
