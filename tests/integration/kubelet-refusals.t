#!/usr/bin/env bash
# What the kubelet cannot run becomes an event and a reason, by upstream's names; other pods do not notice, and
# what was missing is taken up when it comes.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
kubelet_start --kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt"
create fine "$(spec "$(container "$SLEEP")")" >/dev/null
config_map cfg '{"other":"1"}'
secret sec '{"other":"1"}'
env() { jq -cn --argjson v "$1" '{env:[{name:"A",valueFrom:$v}]}'; }
create key "$(spec "$(container "$SLEEP" "$(env '{"configMapKeyRef":{"name":"cfg","key":"k"}}')")")" >/dev/null
create seckey "$(spec "$(container "$SLEEP" "$(env '{"secretKeyRef":{"name":"sec","key":"k"}}')")")" >/dev/null
create nosecret "$(spec "$(container "$SLEEP" '{"envFrom":[{"secretRef":{"name":"none"}}]}')")" >/dev/null
create item "$(spec "$(container "$SLEEP" '{"volumeMounts":[{"name":"v","mountPath":"/v"}]}')" '{"volumes":[{"name":"v","configMap":{"name":"cfg","items":[{"key":"k","path":"p"}]}}]}')" >/dev/null
create onfile "$(spec "$(container "$SLEEP" '{"volumeMounts":[{"name":"v","mountPath":"/bin/busybox/x"}]}')" '{"volumes":[{"name":"v","emptyDir":{}}]}')" >/dev/null
create nofile "$(spec "$(container "$SLEEP" '{"command":["/no/such/program"]}')")" >/dev/null
create nodir "$(spec "$(container "$SLEEP" '{"workingDir":"/bin/busybox"}')")" >/dev/null
create block "$(spec "$(container "$SLEEP" '{"volumeDevices":[{"name":"v","devicePath":"/dev/x"}]}')" '{"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"c"}}]}')" >/dev/null
create nouser "$(spec "$(container "$SLEEP" '{"securityContext":{"runAsNonRoot":true}}')")" >/dev/null
create profile "$(spec "$(container "$SLEEP" '{"securityContext":{"seccompProfile":{"type":"Localhost","localhostProfile":"none.json"}}}')")" >/dev/null
create sysctl "$(spec "$(container "$SLEEP")" '{"securityContext":{"sysctls":[{"name":"kernel.msgmax","value":"1"}]}}')" >/dev/null
api_json POST /apis/node.k8s.io/v1/runtimeclasses '{"apiVersion":"node.k8s.io/v1","kind":"RuntimeClass","metadata":{"name":"vm"},"handler":"no-such"}' >/dev/null
create class "$(spec "$(container "$SLEEP")" '{"runtimeClassName":"vm"}')" >/dev/null

ok "a key that a ConfigMap has not" eventually 40 waiting key CreateContainerConfigError
ok "... is told" eventually 20 waiting_says key "couldn't find key k in ConfigMap default/cfg"
ok "... as an event" eventually 20 event_says key Failed "Error: couldn't find key k in ConfigMap default/cfg"
ok "a key that a Secret has not" eventually 40 waiting_says seckey "couldn't find key k in Secret default/sec"
ok "a Secret that is not there" eventually 40 waiting_says nosecret 'secret "none" not found'
ok "an item that a ConfigMap has not: FailedMount" eventually 40 event_says item FailedMount 'references non-existent config key: k'
ok "... meanwhile it is being made" waiting item ContainerCreating
# A container that cannot be made or started: where the image's files are in the way only the runtime knows.
stuck() { get "$pods/$1" '.status.containerStatuses[0] | [.state.waiting.reason, .lastState.terminated.reason, .state.terminated.reason] | map(. // "") | join(" ")' | grep -qE 'CreateContainerError|RunContainerError|StartError|CrashLoopBackOff'; }
ok "a mount below a file" eventually 40 stuck onfile
ok "... as an event" eventually 20 has_event onfile Failed
ok "a program that is not there" eventually 40 stuck nofile
ok "... is told" eventually 20 event_says nofile Failed 'no/such/program'
ok "a working directory that is a file" eventually 40 stuck nodir
ok "a user that must not be root" eventually 40 waiting nouser CreateContainerConfigError
ok "a seccomp profile that is not there" eventually 40 waiting profile CreateContainerError
ok "a claim that is not there" eventually 40 event_says block FailedMount 'PVC .*"c" not found'
ok "a sysctl that is not allowed" eventually 40 pod_is sysctl '.status.phase + " " + .status.reason' "Failed SysctlForbidden"
ok "a RuntimeClass whose handler the runtime has not" eventually 40 event_says class FailedCreatePodSandBox '^Failed to create pod sandbox: .*no-such' || api GET /api/v1/namespaces/default/events | jq -c '.items[]|select(.involvedObject.name=="class")' >&2
ok "... meanwhile it is being made" waiting class ContainerCreating
ok "the other pod runs" eventually 20 ready fine
is "$(get $pods/fine '.status.containerStatuses[0].restartCount')" 0 "... and was not touched"
merge /api/v1/namespaces/default/configmaps/cfg '{"data":{"k":"v"}}'
ok "the key comes: the pod runs" eventually 40 ready key
ok "... and the one with the volume" eventually 40 ready item
done_testing
