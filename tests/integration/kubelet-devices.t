#!/usr/bin/env bash
# Device plugins: registration, what the node has, what containers get, restarts, refusals; the pod resources
# service.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
FLAGS=(--kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt")
LIB=$R/var/lib/kubelet
PLUGIN=$B/tests/bin/device-plugin
GPU=example.com/gpu
mkdir -p "$LIB"
echo hello >"$LIB/shared"
devices() { printf '%s\n' "$@" >"$LIB/devices"; }
plugin_start() {
    "$PLUGIN" serve "$LIB/device-plugins" $GPU pre-start preferred >>"$T/plugin.log" 2>&1 &
    plugin=$!
}
plugin_stop() { kill "$plugin" && wait "$plugin"; }
at_end eval 'kill $plugin 2>/dev/null || true'
node_has() { [ "$(get /api/v1/nodes/n1 ".status | .capacity[\"$GPU\"] + \"/\" + .allocatable[\"$GPU\"]")" = "$1" ]; }
asks() { container "$SLEEP" "{\"resources\":{\"limits\":{\"$GPU\":\"$1\"}}}"; }
why() { get "$pods/$1" '.status.phase + " " + (.status.reason // "") + ": " + (.status.message // "")'; }
is_refused() { pod_is "$1" '.status.phase + " " + .status.reason' "Failed UnexpectedAdmissionError"; }
env_of() { in_pod "$1" "${2:-c}" sh -c 'echo $DEVICE_IDS'; }

devices 'd0 Healthy 0' 'd1 Healthy 1' 'd2 Healthy' 'd3 Unhealthy'
kubelet_start "${FLAGS[@]}"
ok "the registration socket" eventually 20 test -S "$LIB/device-plugins/kubelet.sock" || { tail -5 "$T/kubelet.log"; bail "no node"; }
like "$("$PLUGIN" register "$LIB/device-plugins" v1alpha1 $GPU x.sock 2>&1)" 'requested API version "v1alpha1" is not supported by kubelet. Supported version is "v1beta1"' "another version is refused"
like "$("$PLUGIN" register "$LIB/device-plugins" v1beta1 gpu x.sock 2>&1)" 'the ResourceName "gpu" is invalid' "... a resource of Kubernetes' own"
like "$("$PLUGIN" register "$LIB/device-plugins" v1beta1 $GPU ../x.sock 2>&1)" 'the endpoint "../x.sock" is no name' "... a socket elsewhere"
plugin_start
ok "a plugin registers: the node has its devices" eventually 40 node_has 4/3 || tail -3 "$T/plugin.log" "$T/kubelet.log"

# ---- what a container gets ----
create one "$(spec "$(asks 1)")" >/dev/null
ok "a pod with a device runs" eventually 40 ready one || { why one; tail -5 "$T/kubelet.log"; }
is "$(env_of one)" d2 "... the plugin's favourite, by a variable"
is "$(in_pod one c cat /shared)" hello "... a mount"
ok "... that is read-only" eval '! in_pod one c sh -c "echo x >/shared" 2>/dev/null'
is "$(in_pod one c sh -c 'echo x >/dev/coracle0 && stat -c %t:%T /dev/coracle0')" 1:3 "... a device"
is "$(cri inspect "$(container_id one c)" | jq -r '.status.annotations["example.com/devices"]')" d2 "... an annotation"
like "$(cat "$T/plugin.log")" $'options\n.*preferred d0 d1 d2\nallocate d2\npre-start d2' "the plugin was asked in order"
like "$(cat "$T/plugin.log")" 'preferred d0 d1 d2' "... and not for what is unhealthy"

# ---- init containers, refusals ----
create two "$(spec "$(asks 2)" "{\"initContainers\":[$(container 'echo $DEVICE_IDS; exit 0' "{\"resources\":{\"limits\":{\"$GPU\":\"1\"}}}" | jq -c '.name="first"')]}")" >/dev/null
ok "a container takes over the device of an init container" eventually 40 ready two || why two
is "$(env_of two)" d1,d0 "... and has another"
create three "$(spec "$(asks 1)")" >/dev/null
ok "a pod that can't have a device is refused" eventually 40 is_refused three
is "$(why three)" "Failed UnexpectedAdmissionError: Pod was rejected: Allocate failed due to requested number of devices unavailable for $GPU. Requested: 1, Available: 0, which is unexpected" "... in upstream's words"
api DELETE "$pods/two" >/dev/null
ok "a pod ends" eventually 40 absent two
touch "$LIB/refuse"
create four "$(spec "$(asks 1)")" >/dev/null
ok "a plugin refuses" eventually 40 is_refused four
like "$(why four)" 'Allocate failed due to rpc error: .*told to refuse, which is unexpected' "... for its reason"
rm "$LIB/refuse"
touch "$LIB/hang"
before=$(grep -c '^allocate' "$T/plugin.log")
create hangs "$(spec "$(asks 1)")" >/dev/null
asked() { [ "$(grep -c '^allocate' "$T/plugin.log")" -gt "$before" ]; }
ok "a plugin that does not answer" eventually 40 asked
"$PLUGIN" register "$LIB/device-plugins" v1beta1 $GPU "plugin-$plugin.sock" >/dev/null
ok "... registers again: the pod is refused" eventually 40 is_refused hangs
rm "$LIB/hang"
create five "$(spec "$(asks 2)")" >/dev/null
ok "what ended pods and refused ones had is free" eventually 40 ready five || why five

# ---- the pod resources service ----
SOCKET=$LIB/pod-resources/kubelet.sock
is "$("$PLUGIN" list "$SOCKET" | jq -c '[.pod_resources[] | select(.name=="one")]')" "[{\"name\":\"one\",\"namespace\":\"default\",\"containers\":[{\"name\":\"c\",\"devices\":[{\"resource_name\":\"$GPU\",\"device_ids\":[\"d2\"]}]}]}]" "List"
is "$("$PLUGIN" get "$SOCKET" default five | jq -c '[.pod_resources.containers[0].devices[] | .device_ids[0] + " " + ((.topology.nodes[0].ID // 0)|tostring)] | sort')" '["d0 0","d1 1"]' "Get, with NUMA nodes"
like "$("$PLUGIN" get "$SOCKET" default none 2>&1)" 'NOT_FOUND: pod none in namespace default not found' "... of a pod that is not there"
is "$("$PLUGIN" allocatable "$SOCKET" | jq -c '[.devices[].device_ids[0]] | sort')" '["d0","d1","d2"]' "GetAllocatableResources"

# ---- health, restarts ----
devices 'd0 Healthy 0' 'd1 Unhealthy 1' 'd2 Healthy'
kill -HUP "$plugin"
ok "an unhealthy device leaves allocatable, one that is gone capacity" eventually 20 node_has 3/2
plugin_stop
ok "the plugin ends: none is allocatable" eventually 20 node_has 3/0
kubelet_kill9
kubelet_start "${FLAGS[@]}"
ok "a kubelet that starts waits for the plugin" eventually 40 node_has 0/0
create six "$(spec "$(asks 1)")" >/dev/null
ok "... until then no pod comes" eventually 40 is_refused six
is "$(running)" $'five/c 0\none/c 0' "pods that run are left alone"
devices 'd0 Healthy' 'd1 Healthy' 'd2 Healthy' 'd4 Healthy'
plugin_start
ok "the plugin comes back" eventually 40 node_has 4/4
is "$("$PLUGIN" get "$SOCKET" default one | jq -c '.pod_resources.containers[0].devices[0].device_ids')" '["d2"]' "who has what survived"
create seven "$(spec "$(asks 1)")" >/dev/null
ok "a pod comes" eventually 40 ready seven || why seven
is "$(env_of seven)" d4 "... and gets what nobody has"
in_pod one c sh -c 'kill -TERM 1' 2>/dev/null
ok "a container starts again" eventually 40 is_running "one/c 1"
is "$(env_of one)" d2 "... with its device"
is "$(tail -1 "$T/plugin.log")" "pre-start d2" "... of which the plugin is told"
kubelet_stop
kubelet_start "${FLAGS[@]}"
ok "the kubelet starts again: the plugin registers again" eventually 40 node_has 4/4
echo garbage >"$LIB/device-plugins/kubelet_internal_checkpoint"
kubelet_stop
kubelet_start "${FLAGS[@]}"
ok "a checkpoint that is none is told of" eventually 20 grep -q 'which pods have which devices is not known any more' "$T/kubelet.log"
ok "... and the node works" eventually 40 node_has 4/4
plugin_stop
done_testing
