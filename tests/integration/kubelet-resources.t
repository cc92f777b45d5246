#!/usr/bin/env bash
# Resources of pods: the cgroup tree, who fits, cpu and memory changed while a pod runs.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
cat >"$T/config.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
kubeReserved: {memory: 64Mi}
systemReserved: {memory: 64Mi, cpu: 100m}
evictionHard: {memory.available: 100Mi}
podPidsLimit: 60
maxPods: 20
END
FLAGS=(--kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt" --config "$T/config.yaml")
kubelet_start "${FLAGS[@]}"
uid() { get "$pods/$1" .metadata.uid; }
# group CONTROLLER PATH: the directory of a group below the test's.
group() {
    local d
    for d in "/sys/fs/cgroup/$1$CGROUP$2" "/sys/fs/cgroup$CGROUP$2"; do [ ! -d "$d" ] || { echo "$d"; return; }; done
    return 1
}
# Bytes of memory and microseconds per 100 ms; "max" where there is no limit.
memory_limit() {
    local d v
    d=$(group memory "$1") || return 1
    v=$(cat "$d/memory.max" 2>/dev/null || cat "$d/memory.limit_in_bytes") || return 1
    [ "$v" = max ] || [ "$v" -lt $((1 << 60)) ] && echo "$v" || echo max
}
cpu_quota() {
    local d v
    d=$(group cpu "$1") || return 1
    v=$(cut -d' ' -f1 "$d/cpu.max" 2>/dev/null || cat "$d/cpu.cfs_quota_us") || return 1
    [ "$v" = -1 ] && echo max || echo "$v"
}
# limits POD TIER: of the pod's group and of its container's.
limits() {
    local p
    p=/kubepods$2/pod$(uid "$1")
    echo "$(memory_limit "$p") $(cpu_quota "$p") $(memory_limit "$p/$(container_id "$1" c)") $(cpu_quota "$p/$(container_id "$1" c)")"
}
limits_are() { [ "$(limits "$1" "$2")" = "$3" ]; }
Mi=$((1 << 20))

# ---- the tree ----
create g "$(spec "$(container "$SLEEP" '{"resources":{"limits":{"cpu":"200m","memory":"64Mi"}}}')")" >/dev/null
create b "$(spec "$(container "$SLEEP" '{"resources":{"requests":{"cpu":"100m","memory":"32Mi"},"limits":{"memory":"64Mi"}}}')")" >/dev/null
create e "$(spec "$(container "$SLEEP")")" >/dev/null
for p in g b e; do ok "$p runs" eventually 40 ready $p; done
is "$(limits g "")" "$((64 * Mi)) 20000 $((64 * Mi)) 20000" "guaranteed: straight below kubepods, with its limits"
is "$(limits b /burstable)" "$((64 * Mi)) max $((64 * Mi)) max" "burstable"
is "$(limits e /besteffort)" "max max max max" "best effort"
is "$(for p in g b e; do get $pods/$p .status.qosClass; done | xargs)" "Guaranteed Burstable BestEffort" "the status says the classes"

is "$(cat "$(group pids "/kubepods/besteffort/pod$(uid e)")/pids.max")" 60 "podPidsLimit"
tasks=$(in_pod e c sh -c 'i=0; while [ $i -lt 100 ]; do sleep 60 >/dev/null 2>&1 & i=$((i+1)); done; echo $i' 2>/dev/null)
isnt "$tasks" 100 "... holds"
node() { get /api/v1/nodes/n1 "$1"; }
total=$(awk '/^MemTotal/ {print $2}' /proc/meminfo)
is "$(node .status.allocatable.memory)" "$((total - 228 * 1024))Ki" "allocatable memory: less what is reserved and has to stay free"
is "$(node '.status.allocatable.cpu + " " + .status.allocatable.pods')" "$(($(nproc) * 1000 - 100))m 20" "... cpu, pods"
limit=$(memory_limit /kubepods)
is "$((limit / 1024 / 4 * 4))" "$(((total - 128 * 1024) / 4 * 4))" "pods together are held to what is not reserved"

# ---- resize ----
resize() { # POD RESOURCES
    api PATCH "$pods/$1/resize" -H 'Content-Type: application/strategic-merge-patch+json' \
        --data-binary "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":$2}]}}" >/dev/null
    [ "$(cat "$T/code")" = 200 ]
}
condition() { pod_is "$1" "[.status.conditions[]? | select(.type==\"$2\") | .reason // \"\"] | join(\",\")" "$3"; }
actual() { pod_is "$1" '.status.containerStatuses[0] | .resources.limits.cpu + " " + .resources.limits.memory + " " + .allocatedResources.cpu' "$2"; }
id=$(container_id g c)
ok "a resize is taken" resize g '{"limits":{"cpu":"300m","memory":"96Mi"},"requests":{"cpu":"300m","memory":"96Mi"}}'
ok "... the groups follow" eventually 40 limits_are g "" "$((96 * Mi)) 30000 $((96 * Mi)) 30000"
ok "... and the status" eventually 40 actual g "300m 96Mi 300m"
is "$(container_id g c)" "$id" "... in the running container"
ok "... as an event" eventually 40 has_event g ResizeCompleted
ok "a resize down is taken" resize g '{"limits":{"cpu":"100m","memory":"48Mi"},"requests":{"cpu":"100m","memory":"48Mi"}}'
ok "... the groups follow" eventually 40 limits_are g "" "$((48 * Mi)) 10000 $((48 * Mi)) 10000"
ok "... no condition is left" eventually 40 condition g PodResizeInProgress ""
cpus=$(nproc)
ok "more than the node has" resize b "{\"requests\":{\"cpu\":\"$((cpus + 1))\"}}"
ok "... is infeasible" eventually 40 condition b PodResizePending Infeasible
ok "... told as an event" eventually 40 event_says b ResizeInfeasible 'enough capacity: cpu'
ok "... and the group stays" limits_are b /burstable "$((64 * Mi)) max $((64 * Mi)) max"
kubelet_kill9
ok "more than is free, while no kubelet runs" resize b "{\"requests\":{\"cpu\":\"$((cpus * 1000 - 150))m\"}}"
kubelet_start "${FLAGS[@]}"
ok "... is put off when it is back" eventually 40 condition b PodResizePending Deferred
api DELETE $pods/g >/dev/null
ok "... until another pod has left" eventually 40 condition b PodResizePending ""
ok "... then the status has it" eventually 40 pod_is b ".status.containerStatuses[0].allocatedResources.cpu == \"$((cpus * 1000 - 150))m\"" true
is "$(get $pods/b '.status.containerStatuses[0].restartCount')" 0 "... without a restart"

# ---- who fits ----
create big "$(spec "$(container "$SLEEP" '{"resources":{"requests":{"cpu":"100m"}}}')")" >/dev/null
ok "a pod that does not fit is rejected" eventually 40 pod_is big '.status.phase + " " + .status.reason' "Failed OutOfcpu"
for p in b e big; do api DELETE "$pods/$p" >/dev/null; done
gone() { for p in g b e big; do absent $p || return 1; done; }
ok "all are deleted" eventually 40 gone
no_groups() { [ -z "$(find "$(group memory /kubepods)" -mindepth 1 -type d -name 'pod*')" ]; }
ok "... and their groups" eventually 20 no_groups
done_testing
