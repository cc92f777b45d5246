#!/usr/bin/env bash
# Classes that pods and claims name (PriorityClass, RuntimeClass, StorageClass), the subresources
# ephemeralcontainers and resize, and a pod's generation: what the server decides alone.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up

pods=/api/v1/namespaces/default/pods claims=/api/v1/namespaces/default/persistentvolumeclaims
code() { cat "$T/code"; }
message() { jq -r '"\(.code) \(.message)"'; }
# class GROUP PLURAL KIND NAME MORE
class() { api_json POST "/apis/$1/v1/$2" "{\"apiVersion\":\"$1/v1\",\"kind\":\"$3\",\"metadata\":{\"name\":\"$4\"},$5}"; }
# pod NAME MORE: the answer to its creation
pod() { api_json POST $pods "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]${2:+,$2}}}"; }
patch() { api PATCH "$1" -H "Content-Type: application/$2" --data-binary "$3"; }

# ---- priority ----
is "$(api GET /apis/scheduling.k8s.io/v1/priorityclasses | jq -r '.items[]|"\(.metadata.name) \(.value)"' | xargs)" "system-cluster-critical 2000000000 system-node-critical 2000001000" "the classes of the system are there"
is "$(pod none | jq -c '[.spec.priority, .spec.priorityClassName, .spec.preemptionPolicy]')" '[0,null,"PreemptLowerPriority"]' "a pod without a class"
is "$(pod critical '"priorityClassName":"system-node-critical"' | jq .spec.priority)" 2000001000 "a class gives its number"
is "$(pod x '"priorityClassName":"missing"' | message)" '403 pods "x" is forbidden: no PriorityClass with name missing was found' "a class that is not there"
is "$(class scheduling.k8s.io priorityclasses PriorityClass high '"value":1000,"preemptionPolicy":"Never","description":"d"' | jq -c '[.value,.preemptionPolicy]')" '[1000,"Never"]' "a class of one's own"
is "$(pod x '"priorityClassName":"high","priority":5' | message)" '403 pods "x" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name' "nobody gives the number"
is "$(pod high '"priorityClassName":"high"' | jq -c '[.spec.priority, .spec.preemptionPolicy]')" '[1000,"Never"]' "... its policy comes with it"
class scheduling.k8s.io priorityclasses PriorityClass usual '"value":10,"globalDefault":true' >/dev/null
is "$(pod usual | jq -c '[.spec.priority, .spec.priorityClassName]')" '[10,"usual"]' "the default class"
is "$(class scheduling.k8s.io priorityclasses PriorityClass system-mine '"value":1' | jq -r '.details.causes[].field')" metadata.name "system- is the system's"
is "$(class scheduling.k8s.io priorityclasses PriorityClass huge '"value":1000000001' | jq -r '.details.causes[].field')" value "a number that is too high"
is "$(patch /apis/scheduling.k8s.io/v1/priorityclasses/high merge-patch+json '{"value":7}' | jq -r '.details.causes[].field')" value "... or changed"

# ---- RuntimeClass ----
is "$(pod x '"runtimeClassName":"missing"' | message)" '403 pods "x" is forbidden: pod rejected: RuntimeClass "missing" not found' "a RuntimeClass that is not there"
class node.k8s.io runtimeclasses RuntimeClass heavy '"handler":"vm","overhead":{"podFixed":{"memory":"100Mi","cpu":"0.5"}},"scheduling":{"nodeSelector":{"vm.io/able":"yes"},"tolerations":[{"key":"vm","operator":"Exists"}]}' >/dev/null
is "$(code)" 201 "a class with overhead, selector and tolerations"
is "$(pod heavy '"runtimeClassName":"heavy","nodeSelector":{"a":"b"}' | jq -c '.spec|[.overhead, .nodeSelector, ([.tolerations[]|select(.key=="vm")]|length)]')" '[{"memory":"100Mi","cpu":"500m"},{"a":"b","vm.io/able":"yes"},1]' "... of which the pod gets all"
is "$(pod x '"runtimeClassName":"heavy","nodeSelector":{"vm.io/able":"no"}' | message)" '403 pods "x" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[vm.io/able] = yes; pod.spec.nodeSelector[vm.io/able] = no' "... unless they disagree"
is "$(pod x '"overhead":{"cpu":"1"}' | message)" '403 pods "x" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead' "overhead without a class"
is "$(pod x '"runtimeClassName":"heavy","overhead":{"cpu":"1"}' | message)" "403 pods \"x\" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead" "... or of one's own"
is "$(patch /apis/node.k8s.io/v1/runtimeclasses/heavy merge-patch+json '{"handler":"other"}' | jq -r '.details.causes[].field')" handler "a handler stays"

# ---- claims ----
claim() { api_json POST $claims "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":\"$1\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}${2:+,$2}}}"; }
is "$(claim plain | jq -c '[.metadata.finalizers, .spec.storageClassName, .spec.volumeMode, .status.phase]')" '[["kubernetes.io/pvc-protection"],null,"Filesystem","Pending"]' "a claim without a default class"
class storage.k8s.io storageclasses StorageClass slow '"provisioner":"kubernetes.io/no-provisioner"' >/dev/null
patch /apis/storage.k8s.io/v1/storageclasses/slow merge-patch+json '{"metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}' >/dev/null
has_default() { api DELETE $claims/usual >/dev/null; patch $claims/usual merge-patch+json '{"metadata":{"finalizers":null}}' >/dev/null; [ "$(claim usual | jq -r .spec.storageClassName)" = slow ]; }
ok "a claim gets the default class" eventually 10 has_default
is "$(claim nodefault '"storageClassName":""' | jq -c .spec.storageClassName)" '""' "... unless it says that it wants none"
is "$(patch $claims/usual merge-patch+json '{"spec":{"accessModes":["ReadWriteMany"]}}' | jq -r '.details.causes[0].field')" spec "a claim stays what it is"
is "$(api_json POST $claims '{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"bad"},"spec":{"accessModes":["Sometimes"]}}' | jq -r '[.details.causes[].field]|sort|unique|join(" ")')" "spec.accessModes spec.resources.requests[storage]" "an invalid claim"
is "$(api_json POST /api/v1/persistentvolumes '{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"bad"},"spec":{"capacity":{"storage":"0"},"accessModes":["ReadWriteOnce"],"local":{"path":"/a/../b"}}}' | jq -r '[.details.causes[].field]|sort|unique|join(" ")')" "spec.capacity[storage] spec.local.path spec.nodeAffinity" "an invalid volume"

# ---- parts of pods ----
is "$(api GET $pods/high | jq .metadata.generation)" 1 "a pod begins at generation 1"
debug='{"spec":{"ephemeralContainers":[{"name":"debug","image":"d","targetContainerName":"c"}]}}'
is "$(patch $pods/high/ephemeralcontainers strategic-merge-patch+json "$debug" | jq -c '[.metadata.generation, .spec.ephemeralContainers[0].name, .spec.ephemeralContainers[0].terminationMessagePath]')" '[2,"debug","/dev/termination-log"]' "an ephemeral container is added"
is "$(patch $pods/high strategic-merge-patch+json '{"spec":{"ephemeralContainers":[{"name":"two","image":"d"}]}}' | jq .code)" 422 "... through its subresource only"
is "$(patch $pods/high/ephemeralcontainers merge-patch+json '{"spec":{"ephemeralContainers":[]}}' | jq .code)" 422 "... and stays"
is "$(patch $pods/high/ephemeralcontainers strategic-merge-patch+json '{"spec":{"ephemeralContainers":[{"name":"c","image":"d"}]}}' | jq .code)" 422 "... under a name of its own"
is "$(patch $pods/high/resize strategic-merge-patch+json '{"spec":{"containers":[{"name":"c","image":"other","resources":{"requests":{"cpu":"2"}}}]}}' | jq -c '[.metadata.generation, .spec.containers[0].resources.requests.cpu, .spec.containers[0].image]')" '[3,"2","i"]' "resize changes resources and nothing else"
is "$(patch $pods/high/resize strategic-merge-patch+json '{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"2","memory":"1Gi"},"requests":{"memory":"1Gi"}}}]}}' | jq .code)" 422 "... not the QoS class"
is "$(patch $pods/high strategic-merge-patch+json '{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"3"}}}]}}' | jq .code)" 422 "... and not without it"

# ---- people's tools ----
with_kubectl() { # PROGRAM LABEL
    local out
    kk() { in_ns "$1" "${@:2}" 2>&1; }
    like "$(kk "$1" get priorityclasses)" 'high +1000 +false +[0-9]+[a-z]+' "$2: get priorityclasses"
    like "$(kk "$1" get pc usual)" 'usual +10 +true' "$2: get pc"
    like "$(kk "$1" get runtimeclasses)" 'heavy +vm +' "$2: get runtimeclasses"
    like "$(kk "$1" get sc)" 'slow \(default\) +kubernetes.io/no-provisioner +Delete +Immediate +false' "$2: get sc"
    like "$(kk "$1" get pvc)" 'usual +Pending +.*slow' "$2: get pvc"
    like "$(kk "$1" describe pvc usual)" 'StorageClass: +slow.*Finalizers: +\[kubernetes.io/pvc-protection\]' "$2: describe pvc"
    like "$(kk "$1" describe pc high)" 'Value: +1000' "$2: describe priorityclass"
    like "$(kk "$1" describe sc slow)" 'IsDefaultClass: +Yes' "$2: describe sc"
    like "$(kk "$1" get runtimeclass,csidrivers,csinodes)" 'heavy' "$2: get of several kinds"
    like "$(kk "$1" explain pv.spec.local)" 'path' "$2: explain"
}
K20=$("$TOP/tests/lib/kubectl-1.20") || bail "no kubectl 1.20"
with_kubectl "$K20" "kubectl 1.20"
if [ -x /usr/bin/kubectl ] && ! /usr/bin/kubectl version --client 2>/dev/null | grep -q 'v1\.20\.'; then
    with_kubectl /usr/bin/kubectl "newer kubectl"
else
    skip "no newer kubectl here"
fi

apiserver_stop TERM
is $? 0 "an orderly end"
APISERVER_PID=
unlike "$(cat "$T/apiserver.log")" "AddressSanitizer|LeakSanitizer|runtime error" "no sanitizer report"
done_testing
