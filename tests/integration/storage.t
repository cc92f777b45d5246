#!/usr/bin/env bash
# Claims and volumes: the binder, what protects them while they are in use, and where pods go that
# wait for a volume. Nodes are objects only.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up --authorization-mode Node,RBAC

claims=/api/v1/namespaces/default/persistentvolumeclaims volumes=/api/v1/persistentvolumes pods=/api/v1/namespaces/default/pods
pki_cert ca controllers /CN=system:kube-controller-manager 'extendedKeyUsage=clientAuth\n'
sed "s/admin\.crt/controllers.crt/; s/admin\.key/controllers.key/" "$T/kubeconfig" >"$T/controllers.kubeconfig"
controllers_start() {
    nsenter --net=/run/netns/"$NS" "$B/libexec/coracle/coracle-controllers" --kubeconfig "$T/controllers.kubeconfig" >>"$T/controllers.log" 2>&1 &
    CONTROLLERS=$!
}
controllers_down() { kill -9 "$CONTROLLERS" 2>/dev/null; wait "$CONTROLLERS" 2>/dev/null; :; }
controllers_start
at_end controllers_down

merge() { api PATCH "$1" -H 'Content-Type: application/merge-patch+json' --data-binary "$2"; }
# volume NAME SIZE [MORE SPEC [SOURCE]]
volume() { api_json POST $volumes "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolume\",\"metadata\":{\"name\":\"$1\"},\"spec\":{\"capacity\":{\"storage\":\"$2\"},\"accessModes\":[\"ReadWriteOnce\",\"ReadOnlyMany\"],\"hostPath\":{\"path\":\"/x\"}${3:+,$3}}}" >/dev/null; }
# claim NAME SIZE [MORE SPEC]
claim() { api_json POST $claims "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":\"$1\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"$2\"}}${3:+,$3}}}" >/dev/null; }
# pod NAME CLAIM [MORE SPEC]
pod() { api_json POST $pods "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"$2\"}}]${3:+,$3}}}" >/dev/null; }
field() { api GET "$1" | jq -r "$2"; }
has() { [ "$(field "$1" "$2")" = "$3" ]; }
said() { api GET /api/v1/events | jq -e --arg o "$1" --arg r "$2" --arg m "$3" '.items[] | select(.involvedObject.name==$o and .reason==$r and (.message|test($m)))'; }

# ---- finding each other ----
claim first 1Gi
ok "a claim that nothing suits is told" eventually 20 said first FailedBinding "no persistent volumes available for this claim and no storage class is set"
is "$(field $claims/first .status.phase)" Pending "... and waits"
volume large 10Gi
ok "until a volume comes" eventually 20 has $claims/first '[.status.phase, .spec.volumeName, .status.capacity.storage, (.status.accessModes|join("+"))]|join(" ")' "Bound large 10Gi ReadWriteOnce+ReadOnlyMany"
ok "which is bound too" eventually 20 has $volumes/large '[.status.phase, .spec.claimRef.namespace, .spec.claimRef.name]|join(" ")' "Bound default first"
is "$(field $volumes/large .spec.claimRef.uid)" "$(field $claims/first .metadata.uid)" "... to this very claim"
is "$(field $claims/first '.metadata.annotations|keys|join(" ")')" "pv.kubernetes.io/bind-completed pv.kubernetes.io/bound-by-controller" "... marked as others mark it"
volume v3 3Gi; volume v2 2Gi; volume v1 500Mi
ok "a new volume is there to be had" eventually 20 has $volumes/v2 .status.phase Available
isnt "$(field $volumes/v2 '.status.lastPhaseTransitionTime // empty')" "" "... since when, it says"
claim second 1Gi
ok "the smallest that is large enough is taken" eventually 20 has $claims/second '.status.phase + .spec.volumeName' Boundv2
claim named 1Gi '"volumeName":"v1"'
ok "a volume that was asked for and is too small" eventually 20 said named VolumeMismatch 'Cannot bind to requested volume "v1": requested PV is too small'
claim taken 1Gi '"volumeName":"v2"'
ok "... or another's" eventually 20 said taken FailedBinding 'volume "v2" already bound to a different claim'
volume kept 5Gi '"claimRef":{"namespace":"default","name":"later"}'
ok "a volume that is kept for a claim" eventually 20 has $volumes/kept .status.phase Available
claim anyone 4Gi
claim later 1Gi
ok "... is taken by that one" eventually 20 has $claims/later '.status.phase + .spec.volumeName' Boundkept
is "$(field $claims/anyone .status.phase)" Pending "... and by nobody else"
api DELETE $claims/anyone >/dev/null

# ---- the end of a claim ----
api DELETE $claims/first >/dev/null
ok "a claim that nothing uses goes" eventually 20 has $claims/first .code 404
ok "its volume is kept" eventually 20 has $volumes/large .status.phase Released
claim again 6Gi
api DELETE $volumes/v2 >/dev/null
is "$(field $volumes/v2 '.metadata.deletionTimestamp != null')" true "a bound volume stays while it is"
volume gone 20Gi '"persistentVolumeReclaimPolicy":"Delete","storageClassName":"g"'
claim goes 20Gi '"storageClassName":"g"'
ok "a volume to be deleted" eventually 20 has $volumes/gone .status.phase Bound
api DELETE $claims/goes >/dev/null
ok "... which nobody here can" eventually 20 has $volumes/gone .status.phase Failed
ok "... and it says so" said gone VolumeFailedDelete "no deletable volume plugin matched"
is "$(field $claims/again .status.phase)" Pending "a released volume is nobody's"
merge $volumes/large '{"spec":{"claimRef":null}}' >/dev/null
ok "... until its claimRef is taken off" eventually 20 has $claims/again '.status.phase + .spec.volumeName' Boundlarge
merge $volumes/large '{"metadata":{"finalizers":null}}' >/dev/null
api DELETE $volumes/large >/dev/null
ok "a claim that lost its volume" eventually 20 has $claims/again .status.phase Lost
ok "... is told" said again ClaimLost "lost its PersistentVolume"

# ---- pods ----
for n in n1 n2; do
    api_json POST /api/v1/nodes "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"$n\",\"labels\":{\"kubernetes.io/hostname\":\"$n\"}}}" >/dev/null
    merge /api/v1/nodes/$n/status '{"status":{"allocatable":{"cpu":"4","memory":"8Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True"}]}}' >/dev/null
done
pod missing nothing
ok "a pod whose claim is not there" eventually 20 said missing FailedScheduling 'persistentvolumeclaim "nothing" not found'
pod user second
ok "a pod whose claim is bound gets a node" eventually 20 has $pods/user '.spec.nodeName != null' true
api DELETE $claims/second >/dev/null
is "$(field $claims/second '.metadata.deletionTimestamp != null')" true "its claim is held"
like "$(in_ns "$("$TOP/tests/lib/kubectl-1.20")" get pvc second 2>&1)" "Terminating" "... Terminating, says kubectl"
pod late second
ok "no further pod may have it" eventually 20 said late FailedScheduling 'persistentvolumeclaim "second" is being deleted'
is "$(field $claims/second .metadata.name)" second "... while the pod is there"
api DELETE "$pods/user?gracePeriodSeconds=0" >/dev/null
ok "... and no longer" eventually 20 has $claims/second .code 404
ok "with its volume, which was waiting" eventually 20 has $volumes/v2 .code 404

api_json POST /apis/storage.k8s.io/v1/storageclasses '{"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":"local"},"provisioner":"kubernetes.io/no-provisioner","volumeBindingMode":"WaitForFirstConsumer"}' >/dev/null
on() { echo "\"storageClassName\":\"local\",\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"kubernetes.io/hostname\",\"operator\":\"In\",\"values\":[\"$1\"]}]}]}}"; }
claim lazy 1Gi '"storageClassName":"local"'
volume l1 1Gi "$(on n1)"
volume l2 2Gi "$(on n2)"
ok "a claim that waits for a pod" eventually 20 said lazy WaitForFirstConsumer "waiting for first consumer"
is "$(field $claims/lazy .status.phase)" Pending "... is not bound before"
pod choosy lazy '"nodeSelector":{"kubernetes.io/hostname":"n2"}'
ok "the pod's node decides" eventually 20 has $pods/choosy .spec.nodeName n2
is "$(field $claims/lazy '.status.phase + " " + .spec.volumeName + " " + .metadata.annotations["volume.kubernetes.io/selected-node"]')" "Bound l2 n2" "... which volume the claim gets"
claim lazier 1Gi '"storageClassName":"local"'
pod nowhere lazier '"nodeSelector":{"kubernetes.io/hostname":"n2"}'
ok "a pod on whose node there is none" eventually 20 said nowhere FailedScheduling "1 node\(s\) didn't find available persistent volumes to bind"
volume l3 1Gi "$(on n2)"
ok "... until one is made" eventually 20 has $pods/nowhere .spec.nodeName n2

# ---- killed while it works ----
for i in 1 2 3 4 5 6 7 8; do claim many$i 1Gi '"storageClassName":"many"'; done
for i in 1 2 3 4 5 6 7 8; do
    volume m$i 1Gi '"storageClassName":"many"'
    [ $((i % 3)) != 0 ] || { controllers_down; controllers_start; }
done
all_bound() { [ "$(api GET $claims | jq -r '[.items[]|select(.spec.storageClassName=="many" and .status.phase=="Bound")|.spec.volumeName]|unique|length')" = 8 ]; }
ok "killed controllers go on: eight claims have eight volumes" eventually 120 all_bound
each_other() { api GET $volumes | jq -e --argjson c "$(api GET $claims)" '[.items[]|select(.spec.storageClassName=="many")|. as $v|select(.status.phase=="Bound" and ($c.items[]|select(.metadata.uid==$v.spec.claimRef.uid)|.spec.volumeName)==.metadata.name)]|length==8'; }
ok "... and each has the one that has it" eventually 120 each_other ||
    diag "$(api GET $volumes | jq -c '.items[]|[.metadata.name,.spec.claimRef.name,.status.phase]')" "$(tail -n 20 "$T/controllers.log")"

like "$(in_ns "$("$TOP/tests/lib/kubectl-1.20")" get pv m1 2>&1)" "m1 +1Gi +RWO,ROX +Retain +Bound +default/many[1-8] +many" "kubectl get pv"
kill "$CONTROLLERS" && wait "$CONTROLLERS"
is $? 0 "an orderly end"
unlike "$(cat "$T/controllers.log" "$T/apiserver.log")" "AddressSanitizer|LeakSanitizer|runtime error" "no sanitizer report"
unlike "$(cat "$T/controllers.log")" "forbidden" "the controllers' role suffices"
done_testing
