#!/usr/bin/env bash
# Volumes of pods: every kind, what changes in them, what is refused, and that nothing is left.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
FLAGS=(--kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt")
kubelet_start "${FLAGS[@]}"
mounts_below() { awk -v r="$1/" 'index($5, r) == 1' /proc/self/mountinfo; }
# volumes JSON...: {volumes: [...]}
shows() { [ "$(in_pod "$1" c cat "$2" 2>&1)" = "$3" ]; }

# ---- files from the API ----
config_map cfg '{"a":"one","file.txt":"first"}'
secret sec '{"pw":"hunter2"}'
create files "$(spec "$(container "$SLEEP" '{"resources":{"limits":{"cpu":"1500m","memory":"64Mi"}},
  "env":[{"name":"WHO","value":"me"}],
  "volumeMounts":[{"name":"down","mountPath":"/down"},{"name":"all","mountPath":"/all"},
   {"name":"mem","mountPath":"/mem"},{"name":"disk","mountPath":"/disk"},{"name":"disk","mountPath":"/mine","subPathExpr":"of-$(WHO)/x"},
   {"name":"all","mountPath":"/one","subPath":"deep/a"}]}')" '{
  "securityContext":{"fsGroup":2000,"runAsUser":1000},
  "volumes":[
   {"name":"down","downwardAPI":{"defaultMode":256,"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}},
     {"path":"note","fieldRef":{"fieldPath":"metadata.annotations['"'n/ote'"']"}},
     {"path":"cpu","mode":420,"resourceFieldRef":{"containerName":"c","resource":"limits.cpu","divisor":"1m"}}]}},
   {"name":"all","projected":{"sources":[
     {"configMap":{"name":"cfg","items":[{"key":"a","path":"deep/a"}]}},
     {"secret":{"name":"sec","items":[{"key":"pw","path":"pw","mode":288}]}},
     {"configMap":{"name":"none","optional":true}},
     {"downwardAPI":{"items":[{"path":"name","fieldRef":{"fieldPath":"metadata.name"}}]}}]}},
   {"name":"mem","emptyDir":{"medium":"Memory","sizeLimit":"2Mi"}},
   {"name":"disk","emptyDir":{}}]}')" '{"annotations":{"n/ote":"kept"}}' >/dev/null
ok "a pod with volumes of every kind from the API runs" eventually 40 ready files
is "$(in_pod files c cat /down/labels)" 'app="files"' "downwardAPI: labels"
is "$(in_pod files c cat /down/note /down/cpu)" kept1500 "... an annotation, a resource in units of the divisor"
is "$(in_pod files c stat -L -c '%a %g' /down/labels /down/cpu | xargs)" "440 2000 644 2000" "... modes, and the pod's fsGroup may read"
is "$(in_pod files c cat /all/deep/a /all/pw /all/name)" onehunter2files "projected: three sources in one directory"
is "$(in_pod files c cat /one)" one "... and a subPath of it"
is "$(in_pod files c sh -c 'touch /all/x 2>&1; echo $?' | tail -1)" 1 "... read-only"
like "$(in_pod files c mount)" "tmpfs on /mem type tmpfs .*size=2048k" "emptyDir in memory has its size"
is "$(in_pod files c sh -c 'dd if=/dev/zero of=/mem/f bs=1M count=3 2>/dev/null; echo $?')" 1 "... and is full when that is used"
is "$(in_pod files c sh -c 'echo x >/disk/f && stat -c %g /disk/f')" 2000 "emptyDir: files belong to fsGroup"
is "$(in_pod files c sh -c 'echo y >/mine/f && cat /disk/of-me/x/f')" y "subPathExpr"
is "$(get $pods/files '.status.containerStatuses[0].volumeMounts[] | select(.mountPath=="/down") | .name')" down "the status lists the mounts"
merge $pods/files '{"metadata":{"labels":{"tier":"back"}}}'
relabelled() { shows files /down/labels 'app="files"
tier="back"'; }
ok "a new label reaches the volume" eventually 40 relabelled
merge /api/v1/namespaces/default/configmaps/cfg '{"data":{"a":"two"}}'
ok "a changed ConfigMap reaches the projected volume" eventually 40 shows files /all/deep/a two
is "$(in_pod files c cat /one)" one "... and not the subPath"
id=$(container_id files c)
kubelet_kill9
merge /api/v1/namespaces/default/configmaps/cfg '{"data":{"a":"three"}}'
n=$(mounts_below "$R/var/lib/kubelet" | wc -l)
kubelet_start "${FLAGS[@]}"
ok "a restarted kubelet brings volumes up to date" eventually 40 shows files /all/deep/a three
is "$(container_id files c)" "$id" "... under the running container"
is "$(mounts_below "$R/var/lib/kubelet" | wc -l)" "$n" "... with the mounts there are"
api DELETE /api/v1/namespaces/default/configmaps/cfg >/dev/null
ok "a ConfigMap that vanishes is told" eventually 40 event_says files FailedMount 'configmap "cfg" not found'
is "$(in_pod files c cat /all/deep/a)" three "... and what was there stays"

# ---- tokens ----
api_json POST /api/v1/namespaces/default/serviceaccounts '{"metadata":{"name":"robot"}}' >/dev/null
create robot "$(spec "$(container "$SLEEP" '{"volumeMounts":[{"name":"t","mountPath":"/t"}]}')" '{"serviceAccountName":"robot",
  "volumes":[{"name":"t","projected":{"sources":[{"serviceAccountToken":{"path":"token","expirationSeconds":600}},{"serviceAccountToken":{"path":"vault","audience":"vault"}}]}}]}')" >/dev/null
ok "a pod with tokens runs" eventually 40 ready robot
review() { # TOKEN AUDIENCES
    api_json POST /apis/authentication.k8s.io/v1/tokenreviews "$(jq -cn --arg t "$1" --argjson a "$2" '{apiVersion:"authentication.k8s.io/v1",kind:"TokenReview",spec:{token:$t,audiences:$a}}')" | jq -r "$3"
}
is "$(review "$(in_pod robot c cat /t/token)" '[]' '[.status.user.username, .status.user.extra["authentication.kubernetes.io/pod-name"][0]] | join(" ")')" \
    "system:serviceaccount:default:robot robot" "the API server knows the token, and the pod it is bound to"
is "$(review "$(in_pod robot c cat /t/vault)" '["vault"]' .status.authenticated) $(review "$(in_pod robot c cat /t/vault)" '[]' .status.authenticated)" "true null" "one for another audience is good only there"

# ---- the host's files ----
mkdir -p "$T/host/dir" "$T/ro" && echo content >"$T/host/file"
mount -t tmpfs t "$T/host/dir" && at_end umount -l "$T/host/dir"
mount --make-shared "$T/host/dir"
mkdir "$T/host/dir/late"
create host "$(spec "$(container "$SLEEP" '{"volumeMounts":[{"name":"f","mountPath":"/f"},{"name":"made","mountPath":"/made"},
   {"name":"fm","mountPath":"/fm"},{"name":"d","mountPath":"/d","mountPropagation":"HostToContainer"},
   {"name":"d","mountPath":"/ro","readOnly":true,"recursiveReadOnly":"IfPossible"}]}')" \
   "$(jq -cn --arg t "$T" '{volumes:[{name:"f",hostPath:{path:($t+"/host/file"),type:"File"}},{name:"made",hostPath:{path:($t+"/host/a/b"),type:"DirectoryOrCreate"}},
      {name:"fm",hostPath:{path:($t+"/host/made"),type:"FileOrCreate"}},{name:"d",hostPath:{path:($t+"/host/dir"),type:"Directory"}}]}')")" >/dev/null
ok "a pod with hostPath volumes runs" eventually 40 ready host
is "$(in_pod host c cat /f)" content "hostPath: a file"
is "$(in_pod host c sh -c 'echo x >/made/x; echo y >/fm')$(cat "$T/host/a/b/x" "$T/host/made")" "x
y" "... DirectoryOrCreate and FileOrCreate"
mount -t tmpfs late "$T/host/dir/late" && at_end umount -l "$T/host/dir/late"
touch "$T/host/dir/late/seen"
ok "mountPropagation HostToContainer: a mount made later is seen" eventually 40 in_pod host c test -e /d/late/seen
is "$(in_pod host c sh -c 'touch /ro/x 2>/dev/null; echo $?')" 1 "readOnly"
like "$(get $pods/host '.status.containerStatuses[0].volumeMounts[] | select(.mountPath=="/ro") | .recursiveReadOnly')" '^(Enabled|Disabled)$' "the status says whether that is recursive"

# ---- what is refused, each with its reason; others are unaffected ----
mkdir -p "$T/evil" && ln -s /etc "$T/evil/out"
bad() { create "$1" "$(spec "$(container "$SLEEP" "${3:-{\}}")" "{\"volumes\":[{\"name\":\"v\",$2}]}")" >/dev/null; }
bad csi '"csi":{"driver":"d.example"}'
bad trust '"projected":{"sources":[{"clusterTrustBundle":{"name":"x","path":"p"}}]}'
bad nodir "\"hostPath\":{\"path\":\"$T/none\",\"type\":\"Directory\"}"
bad sock "\"hostPath\":{\"path\":\"$T/host/file\",\"type\":\"Socket\"}"
bad huge '"emptyDir":{"medium":"HugePages"}'
bad escape "\"hostPath\":{\"path\":\"$T/evil\"}" '{"volumeMounts":[{"name":"v","mountPath":"/v","subPath":"out/passwd"}]}'
ok "csi" eventually 40 event_says csi FailedMount 'volume "v" : volumes of kind "csi" are not supported'
ok "clusterTrustBundle" eventually 40 event_says trust FailedMount clusterTrustBundle
ok "hostPath of type Directory that is not there" eventually 40 event_says nodir FailedMount 'hostPath type check failed'
ok "hostPath of type Socket that is a file" eventually 40 event_says sock FailedMount 'is not a socket'
ok "emptyDir on huge pages" eventually 40 event_says huge FailedMount HugePages
ok "a subPath that leads out by a link" eventually 40 waiting escape CreateContainerConfigError
waiting csi ContainerCreating
is $? 0 "a pod waits for its volumes in ContainerCreating"
mkdir "$T/none"
ok "the directory made, the pod starts" eventually 40 ready nodir
for p in csi trust nodir sock huge escape; do api DELETE "$pods/$p" >/dev/null; done
for p in csi trust nodir sock huge escape; do ok "$p deleted" eventually 40 absent $p; done

# ---- a limit on disk ----
create greedy "$(spec "$(container "dd if=/dev/zero of=/v/f bs=1M count=3 2>/dev/null; $SLEEP" '{"volumeMounts":[{"name":"v","mountPath":"/v"}]}')" \
    '{"volumes":[{"name":"v","emptyDir":{"sizeLimit":"1Mi"}}]}')" >/dev/null
evicted() { pod_is greedy '.status.phase + " " + .status.reason' 'Failed Evicted'; }
ok "an emptyDir over its sizeLimit: evicted" eventually 30 evicted
like "$(get $pods/greedy .status.message)" 'Usage of EmptyDir volume "v" exceeds the limit "1Mi"' "... with the reason"
is "$(get $pods/greedy '.status.conditions[] | select(.type=="DisruptionTarget") | .reason')" TerminationByKubelet "... and the condition"

# ---- the end ----
api DELETE $pods >/dev/null
empty() { [ "$(get $pods '.items|length')" = 0 ] && [ -z "$(ls "$R/var/lib/kubelet/pods")" ]; }
ok "all deleted: nothing is left of them" eventually 40 empty
is "$(mounts_below "$R/var/lib/kubelet")" "" "... no mount either"
is "$(cat "$T/host/file" "$T/host/a/b/x")" "content
x" "... and the host's files are as they were"
kubelet_stop
is $? 0 "SIGTERM: an orderly end"
KUBELET_PID=
unlike "$(cat "$T/kubelet.log")" "AddressSanitizer|LeakSanitizer|runtime error" "no sanitizer report"
done_testing
