#!/usr/bin/env bash
# Eviction: disk and memory get low, and pods go, those first that use more than they asked for; limits of the
# disk that a pod or a container may use. The node's disk is a small tmpfs, its memory a small share.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
mkdir -p "$R"
mount -t tmpfs -o size=400M,mode=755 tmpfs "$R" || bail "cannot mount a tmpfs"
at_end umount -l "$R"
node_up
FLAGS=(--kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt" --config "$T/config.yaml")
config() { printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n%s\n' "$1" | sed 's/^    //' >"$T/config.yaml"; }
pressure() { # CONDITION STATUS REASON
    [ "$(get /api/v1/nodes/n1 ".status.conditions[]? | select(.type==\"$1\") | .status + \" \" + .reason")" = "$2 $3" ]
}
why() { get "$pods/$1" '.status.phase + " " + (.status.reason // "") + ": " + (.status.message // "")'; }
is_evicted() { pod_is "$1" '.status.phase + " " + .status.reason' "Failed Evicted"; }
# writes MEGABYTES DIRECTORY: a command that writes and stays.
writes() { echo "dd if=/dev/zero of=$2/file bs=1M count=$1 2>/dev/null; $SLEEP"; }
DIR='{"volumeMounts":[{"name":"v","mountPath":"/v"}]}'
DISK='{"volumes":[{"name":"v","emptyDir":{}}]}'
nothing() { [ "$(cri pods | jq '.items|length')" = 0 ] && [ "$(get $pods '.items|length')" = 0 ]; }
image_is() { [ "$(cri images | grep -c localhost/idle)" = "$1" ]; }

# ---- disk ----
disk() {
    mkdir -p "$T/idle" && head -c 60000000 /dev/urandom >"$T/idle/file"
    make_image "$T/idle.tar" localhost/idle:1 "$T/idle" '{"Cmd":["none"]}'
    cri import "$T/idle.tar" >/dev/null || bail "cannot import the image"
    rm -rf "$T/idle" "$T/idle.tar"
    config 'imageMinimumGCAge: 1s
    evictionHard: {nodefs.available: 150Mi}
    evictionMinimumReclaim: {nodefs.available: 10Mi}
    evictionPressureTransitionPeriod: 8s'
    kubelet_start "${FLAGS[@]}"
    ok "the node has no pressure" eventually 40 pressure DiskPressure False KubeletHasNoDiskPressure || { tail -5 "$T/kubelet.log"; bail "no node"; }
    LIMIT='{"resources":{"limits":{"ephemeral-storage":"5Mi"}}}'
    create limited "$(spec "$(container "$(writes 10 /)" "$LIMIT")")" >/dev/null
    create one "$(spec "$(container "$(writes 10 /)" "$LIMIT")" |
        jq -c '.containers += [.containers[0] | .name = "other" | .command[2] = "sleep 1000" | .resources.limits["ephemeral-storage"] = "20Mi"]')" >/dev/null
    cat >"$MANIFESTS/critical.json" <<END
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"critical"},"spec":$(spec "$(container "$(writes 80 /v)" "$DIR")" "$DISK")}
END
    create asks "$(spec "$(container "$(writes 120 /v)" "$(jq -c '.resources={requests:{"ephemeral-storage":"200Mi"}}' <<<"$DIR")")" "$DISK")" >/dev/null
    ok "disk gets low: an image that nobody uses goes" eventually 60 image_is 0
    ok "... the condition is told" eventually 40 pressure DiskPressure True KubeletHasDiskPressure
    ok "... and as an event" eventually 40 event_says n1 EvictionThresholdMet 'Attempting to reclaim ephemeral-storage'
    ok "... that was enough: the pod runs on" ready asks
    create refused "$(spec "$(container "$SLEEP" '{"resources":{"requests":{"memory":"1Mi"}}}')")" >/dev/null
    ok "under this pressure no pod comes" eventually 40 is_evicted refused
    like "$(why refused)" '^Failed Evicted: Pod was rejected: The node had condition: \[DiskPressure\]\. $' "... for that reason"
    ok "the pressure is over" eventually 40 pressure DiskPressure False KubeletHasNoDiskPressure
    create hog "$(spec "$(container "$(writes 60 /)")")" >/dev/null
    ok "disk gets low again: a pod goes" eventually 60 is_evicted hog
    like "$(why hog)" '^Failed Evicted: The node was low on resource: ephemeral-storage\. Threshold quantity: 150Mi, available: [0-9]+[KM]i\. Container c was using [0-9]+[KM]i, request is 0, has larger consumption of ephemeral-storage\. $' "... and is told why"
    is "$(get "$pods/hog" '.status.conditions[] | select(.type=="DisruptionTarget") | .status + " " + .reason')" "True TerminationByKubelet" "... its condition"
    ok "... not the one that asked for what it uses" ready asks
    ok "... nor the static one, which uses more" is_running "critical-n1/c 0"
    ok "the pod over its limit is evicted" eventually 60 is_evicted limited
    is "$(why limited)" 'Failed Evicted: Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. ' "... and is told why"
    ok "the container over its limit too" eventually 60 is_evicted one
    is "$(why one)" 'Failed Evicted: Container c exceeded its local ephemeral storage limit "5Mi". ' "... and is told why"
    rm "$MANIFESTS/critical.json"
    api DELETE $pods >/dev/null
    # Their files are in memory here, which counts as the pods' together.
    ok "all deleted: nothing is left" eventually 60 nothing
    kubelet_stop
}
[ -n "${SHORT:-}" ] || disk # SHORT=1: memory only

# ---- memory ----
total=$(awk '/^MemTotal/ {print $2}' /proc/meminfo)
config "systemReserved: {memory: $((total - 300 * 1024))Ki}
evictionHard: {memory.available: 100Mi}
evictionPressureTransitionPeriod: 8s"
kubelet_start "${FLAGS[@]}"
ok "the node has no pressure" eventually 40 pressure MemoryPressure False KubeletHasSufficientMemory
create calm "$(spec "$(container "$SLEEP" '{"resources":{"requests":{"memory":"20Mi"}}}')")" >/dev/null
ok "a pod runs" eventually 40 ready calm
create eater "$(spec "$(container "$(writes 210 /v)" "$DIR")" '{"volumes":[{"name":"v","emptyDir":{"medium":"Memory"}}]}')" >/dev/null
ok "memory gets low: the condition is told" eventually 60 pressure MemoryPressure True KubeletHasInsufficientMemory
ok "... the pod that takes it goes" eventually 40 is_evicted eater
like "$(why eater)" '^Failed Evicted: The node was low on resource: memory\. Threshold quantity: 100Mi, available: [0-9]+[KM]i\. Container c was using [0-9]+[KM]i, request is 0, has larger consumption of memory\. $' "... and is told why"
create best "$(spec "$(container "$SLEEP")")" >/dev/null
create burst "$(spec "$(container "$SLEEP" '{"resources":{"requests":{"memory":"1Mi"}}}')")" >/dev/null
ok "under this pressure no best effort pod comes" eventually 40 is_evicted best
like "$(why best)" 'The node had condition: \[MemoryPressure\]' "... for that reason"
ok "... others do" eventually 40 ready burst
ok "the pod that asked for what it uses runs on" ready calm
ok "the pressure is over" eventually 40 pressure MemoryPressure False KubeletHasSufficientMemory
kubelet_stop
config 'evictionSoft: {memory.available: 1Gi}'
in_ns "$LIBEXEC/coracle-kubelet" --root "$R" --hostname-override n1 --cgroup-root "$CGROUP" --config "$T/config.yaml" >"$T/bad.log" 2>&1
is $? 1 "a soft threshold without a time is refused"
like "$(cat "$T/bad.log")" 'evictionSoftGracePeriod\[memory.available\]: is missing' "... by name"
done_testing
