#!/usr/bin/env bash
# The kubelet under our API server: node, lease, pods, status, ConfigMaps and Secrets, mirrors, outages.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
FLAGS=(--kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt")
kubelet_start "${FLAGS[@]}"

# ---- the node ----
node_ready() { [ "$(get /api/v1/nodes/n1 '.status.conditions[]?|select(.type=="Ready")|.status')" = True ]; }
ok "the node registers and is Ready" eventually 40 node_ready
n=$(api GET /api/v1/nodes/n1)
is "$(jq -r '.metadata.labels["kubernetes.io/os"], .metadata.labels["kubernetes.io/hostname"]' <<<"$n" | xargs)" "linux n1" "labels"
is "$(jq -r '.status.addresses[] | select(.type=="InternalIP") | .address' <<<"$n")" 192.0.2.10 "address"
is "$(jq -r '.status.daemonEndpoints.kubeletEndpoint.Port' <<<"$n")" 10250 "the server's port"
like "$(jq -r '.status.nodeInfo.containerRuntimeVersion + " " + .status.nodeInfo.kubeletVersion' <<<"$n")" '^coracle://.* v1\.' "versions"
like "$(jq -r '.status.capacity.cpu + " " + .status.allocatable.memory' <<<"$n")" '^[0-9]+ [0-9]+Ki$' "capacity and allocatable"
lease=/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1
lease_held() { [ "$(get $lease .spec.holderIdentity)" = n1 ]; }
ok "it holds a lease" eventually 40 lease_held
is "$(get $lease .spec.leaseDurationSeconds)" 40 "of 40 s"
renewed=$(get $lease .spec.renewTime)

# ---- a pod, ConfigMaps and Secrets ----
api_json POST /api/v1/namespaces/default/configmaps '{"metadata":{"name":"cfg"},"data":{"key":"value","file.txt":"first"}}' >/dev/null
api_json POST /api/v1/namespaces/default/secrets '{"metadata":{"name":"sec"},"stringData":{"password":"hunter2"}}' >/dev/null
create web "$(jq -cn --argjson c "$(container "httpd -p 80 -h /www; $SLEEP" '{
    "lifecycle":{"postStart":{"exec":{"command":["touch","/tmp/hooked"]}},"preStop":{"exec":{"command":["touch","/left/bye"]}}},
    "readinessProbe":{"exec":{"command":["test","!","-e","/tmp/down"]},"periodSeconds":1,"failureThreshold":1},
    "env":[{"name":"K","valueFrom":{"configMapKeyRef":{"name":"cfg","key":"key"}}},{"name":"P","valueFrom":{"secretKeyRef":{"name":"sec","key":"password"}}},
           {"name":"O","valueFrom":{"secretKeyRef":{"name":"none","key":"x","optional":true}}}],
    "envFrom":[{"prefix":"ALL_","secretRef":{"name":"sec"}}],
    "volumeMounts":[{"name":"cfg","mountPath":"/cfg"},{"name":"sec","mountPath":"/sec"},{"name":"cfg","mountPath":"/one","subPath":"file.txt"},{"name":"left","mountPath":"/left"}]}')" --arg left "$T/left" '{containers:[$c],volumes:[{name:"left",hostPath:{path:$left,type:"DirectoryOrCreate"}},{name:"cfg",configMap:{name:"cfg"}},{name:"sec",secret:{secretName:"sec",defaultMode:256,items:[{key:"password",path:"deep/pw"}]}}]}')" >/dev/null
ok "a pod becomes Ready" eventually 40 ready web
s=$(api GET $pods/web)
is "$(jq -r '.status.phase, .status.qosClass, .status.hostIP' <<<"$s" | xargs)" "Running BestEffort 192.0.2.10" "status"
like "$(jq -r '.status.containerStatuses[0].containerID' <<<"$s")" '^coracle://[0-9a-f]{64}$' "container id"
is "$(jq -r '.status.podIPs[0].ip' <<<"$s")" "$(jq -r .status.podIP <<<"$s")" "addresses"
env=$(in_pod web c env)
ok "the postStart hook ran" in_pod web c test -e /tmp/hooked
like "$env" "K=value" "env from a ConfigMap key"
like "$env" "P=hunter2" "env from a Secret key"
like "$env" "ALL_password=hunter2" "envFrom with a prefix"
like "$env" "KUBERNETES_SERVICE_HOST=10.96.0.1" "the API server's Service"
is "$(in_pod web c cat /cfg/file.txt)" first "a ConfigMap volume"
is "$(in_pod web c cat /one)" first "a subPath of it"
is "$(in_pod web c sh -c 'cat /sec/deep/pw; stat -L -c " %a" /sec/deep/pw')" "hunter2 400" "a Secret volume: items and mode"
like "$(in_pod web c mount)" "tmpfs on /sec" "... in memory"
api PATCH /api/v1/namespaces/default/configmaps/cfg -H 'Content-Type: application/merge-patch+json' --data-binary '{"data":{"file.txt":"second","new":"n"}}' >/dev/null
changed() { [ "$(in_pod web c cat /cfg/file.txt /cfg/new)" = secondn ]; }
ok "a changed ConfigMap reaches the volume" eventually 40 changed
for r in Pulled Created Started; do ok "event $r" eventually 40 has_event web $r; done
in_pod web c touch /tmp/down
ok "a failing readiness probe: not Ready" eventually 40 ready web False
ok "event Unhealthy" eventually 40 has_event web Unhealthy
in_pod web c rm /tmp/down
ok "... and Ready again" eventually 40 ready web
is "$(get $pods/web '.status.containerStatuses[0].restartCount')" 0 "without a restart"
is "$(get "$pods/web/log" . 2>/dev/null | head -1)" "" "logs through the API server (empty)"

# ---- what is missing ----
create noconfig "$(jq -cn --argjson c "$(container "$SLEEP" '{"envFrom":[{"configMapRef":{"name":"later"}}]}')" '{containers:[$c]}')" >/dev/null
create novolume "$(jq -cn --argjson c "$(container "$SLEEP")" '{containers:[$c],volumes:[{name:"v",secret:{secretName:"later"}}]}')" >/dev/null
create noimage "$(jq -cn '{containers:[{name:"c",image:"127.0.0.1:1/none:1"}]}')" >/dev/null
ok "a ConfigMap that is not there: the reason" eventually 40 pod_is noconfig '.status.containerStatuses[0].state.waiting | .reason + " " + .message' 'CreateContainerConfigError configmap "later" not found'
ok "a Secret that is not there: FailedMount" eventually 40 has_event novolume FailedMount
ok "an image that is not there: ErrImagePull" eventually 40 pod_is noimage '.status.containerStatuses[0].state.waiting.reason' ErrImagePull
like "$(get $pods/noimage '.status.containerStatuses[0].state.waiting.message')" '127.0.0.1:1' "... with the reason"
ok "... and then ImagePullBackOff" eventually 40 pod_is noimage '.status.containerStatuses[0].state.waiting.reason' ImagePullBackOff
ok "event Failed" eventually 40 has_event noimage Failed
ok "event BackOff" eventually 40 has_event noimage BackOff
api_json POST /api/v1/namespaces/default/configmaps '{"metadata":{"name":"later"},"data":{"A":"1"}}' >/dev/null
api_json POST /api/v1/namespaces/default/secrets '{"metadata":{"name":"later"},"stringData":{"A":"1"}}' >/dev/null
ok "the ConfigMap made, the pod starts" eventually 40 ready noconfig
ok "the Secret made, the pod starts" eventually 40 ready novolume
create odd "$(jq -cn --argjson c "$(container "$SLEEP" '{"securityContext":{"runAsNonRoot":true}}')" '{containers:[$c]}')" >/dev/null
ok "runAsNonRoot with an image that runs as root is refused" eventually 40 pod_is odd '.status.containerStatuses[0].state.waiting.message' 'container has runAsNonRoot and image will run as root'
for p in noconfig novolume noimage odd; do api DELETE $pods/$p >/dev/null; done
for p in noconfig novolume noimage odd; do ok "$p deleted" eventually 40 absent $p; done

# ---- completion ----
create done "$(jq -cn --argjson c "$(container 'exit 0')" '{restartPolicy:"Never",containers:[$c]}')" >/dev/null
create fail "$(jq -cn --argjson c "$(container 'exit 4')" '{restartPolicy:"Never",containers:[$c]}')" >/dev/null
ok "exit 0 with restartPolicy Never: Succeeded" eventually 40 pod_is done .status.phase Succeeded
ok "exit 4: Failed" eventually 40 pod_is fail .status.phase Failed
is "$(get $pods/fail '.status.containerStatuses[0].state.terminated | .reason, .exitCode' | xargs)" "Error 4" "reason and code"
create late "$(jq -cn --argjson c "$(container "$SLEEP")" '{activeDeadlineSeconds:1,containers:[$c]}')" >/dev/null
ok "activeDeadlineSeconds" eventually 40 pod_is late .status.reason DeadlineExceeded

# ---- the kubelet is killed; things happen meanwhile ----
create goes "$(jq -cn --argjson c "$(container "$SLEEP")" '{containers:[$c]}')" >/dev/null
ok "another pod" eventually 40 ready goes
id=$(container_id web c)
kubelet_kill9
api DELETE $pods/goes >/dev/null
api DELETE "$pods/done?gracePeriodSeconds=0" >/dev/null
create comes "$(jq -cn --argjson c "$(container "$SLEEP")" '{containers:[$c]}')" >/dev/null
before=$(get $pods/web .metadata.resourceVersion)
kubelet_start "${FLAGS[@]}"
ok "back: what was deleted goes" eventually 40 absent goes
ok "... what was made comes" eventually 40 ready comes
is "$(container_id web c)" "$id" "... what ran runs on"
sleep 0.5
is "$(get $pods/web .metadata.resourceVersion)" "$before" "... and its status is not written again"
no_done() { ! cri pods | grep -q '"done"'; }
ok "... what was deleted by force is removed from the runtime" eventually 40 no_done
is "$(get $pods/fail .status.phase)" Failed "a pod that had ended is not run again"

# ---- the API server goes away and comes back ----
create crash "$(jq -cn --argjson c "$(container "$SLEEP")" '{containers:[$c]}')" >/dev/null
eventually 40 ready crash
apiserver_stop KILL 2>/dev/null
in_pod crash c kill -TERM 1
ok "without the API server a container is restarted" eventually 40 is_running "crash/c 1"
is "$(container_id web c)" "$id" "... and others run on"
apiserver_start
eventually 40 apiserver_ready
ok "back: the status catches up" eventually 40 pod_is crash '.status.containerStatuses[0].restartCount' 1

# ---- static pods have mirrors ----
cat >"$MANIFESTS/.s" <<END
apiVersion: v1
kind: Pod
metadata: {name: static}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: "localhost/bb:1", command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.05; done']}]}
END
mv "$MANIFESTS/.s" "$MANIFESTS/static.yaml"
ok "a static pod shows in the API, Ready" eventually 40 ready static-n1
is "$(get $pods/static-n1 '.metadata.annotations | has("kubernetes.io/config.mirror") and ."kubernetes.io/config.source" == "file"')" true "its mirror is marked"
sid=$(container_id static-n1 c)
uid=$(get $pods/static-n1 .metadata.uid)
api DELETE "$pods/static-n1?gracePeriodSeconds=0" >/dev/null
again() { ready static-n1 && [ "$(get $pods/static-n1 .metadata.uid)" != "$uid" ]; }
ok "its mirror deleted: it is made again" eventually 40 again
is "$(container_id static-n1 c)" "$sid" "... and the pod did not notice"
rm "$MANIFESTS/static.yaml"
ok "its manifest removed: the mirror goes too" eventually 40 absent static-n1

# ---- deletion ----
is "$(api DELETE $pods/web | jq .metadata.deletionGracePeriodSeconds)" 3 "deletion is graceful"
ok "the pod goes" eventually 40 absent web
ok "its preStop hook ran" test -e "$T/left/bye"
create stubborn "$(jq -cn --argjson c "$(container 'trap "" TERM; while :; do sleep 1; done')" '{containers:[$c]}')" >/dev/null
eventually 40 ready stubborn
begun=$(date +%s%N)
api DELETE "$pods/stubborn?gracePeriodSeconds=2" >/dev/null
ok "a container that ignores SIGTERM is killed" eventually 40 absent stubborn
took=$((($(date +%s%N) - begun) / 1000000))
ok "... after the grace period ($took ms)" test $took -ge 1900 -a $took -lt 4500
create forced "$(jq -cn --argjson c "$(container "$SLEEP")" '{containers:[$c]}')" >/dev/null
eventually 40 ready forced
api DELETE "$pods/forced?gracePeriodSeconds=0" >/dev/null
no_forced() { ! cri pods | grep -q '"forced"'; }
ok "a pod deleted by force ends too" eventually 40 no_forced
api DELETE $pods >/dev/null
empty() { [ "$(cri pods | jq '.items|length')" = 0 ] && [ "$(get $pods '.items|length')" = 0 ]; }
ok "all deleted: nothing is left" eventually 40 empty
ok "... of their directories" eventually 40 bash -c "[ -z \"\$(ls '$R/var/lib/kubelet/pods' '$R/var/log/pods' '$R/var/log/containers' | grep -v :)\" ]"
ok "the lease is being renewed" eventually 12 bash -c '[ "$1" != "$2" ]' - "$renewed" "$(get $lease .spec.renewTime)"
kubelet_stop
is $? 0 "SIGTERM: an orderly end"
KUBELET_PID=
unlike "$(cat "$T/kubelet.log")" "AddressSanitizer|runtime error" "no sanitizer report"
done_testing
