#!/usr/bin/env bash
# What a kubelet may see and do: the node authorizer and the restrictions on what it writes.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up --authorization-mode Node,RBAC --service-account-mount

ns=/api/v1/namespaces/default
leases=/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases
code() { cat "$T/code"; }
for n in n1 n2; do pki_cert ca $n "/O=system:nodes/CN=system:node:$n" 'extendedKeyUsage=clientAuth\n'; done
pki_cert ca stray "/O=system:nodes/CN=stray" 'extendedKeyUsage=clientAuth\n'
# as NODE METHOD PATH [BODY]: the answer; its code goes to $T/code
as() {
    local who=$1 method=$2 path=$3 body=${4:-}
    in_ns curl -sS --max-time 20 --cacert "$T/pki/ca.crt" --cert "$T/pki/$who.crt" --key "$T/pki/$who.key" -X "$method" -o "$T/body" \
        -w '%{http_code}' ${body:+-H "Content-Type: ${TYPE:-application/json}" --data-binary "$body"} "https://127.0.0.1:6443$path" >"$T/code"
    cat "$T/body" 2>/dev/null
    rm -f "$T/body"
}
codes() { as "$@" >/dev/null; code; }
message() { as "$@" | jq -r .message; }
patch() { TYPE=application/strategic-merge-patch+json as "$1" PATCH "$2" "$3"; }
allowed() { [ "$(codes "$@")" = 200 ]; }
denied() { [ "$(codes "$@")" = 403 ]; }
object() { api_json POST "$1" "{\"apiVersion\":\"v1\",\"kind\":\"$2\",\"metadata\":{\"name\":\"$3\"}${4:-}}" >/dev/null; }

for s in s-env s-vol s-pull s-proj s-other; do object $ns/secrets Secret $s; done
for c in c-env c-vol c-other; do object $ns/configmaps ConfigMap $c; done
object $ns/configmaps ConfigMap kube-root-ca.crt
object $ns/serviceaccounts ServiceAccount robot
object $ns/serviceaccounts ServiceAccount other
object $ns/pods Pod p1 ',"spec":{"nodeName":"n1","serviceAccountName":"robot","imagePullSecrets":[{"name":"s-pull"}],
  "containers":[{"name":"c","image":"i","env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s-env","key":"k"}}}],"envFrom":[{"configMapRef":{"name":"c-env"}}]}],
  "volumes":[{"name":"a","secret":{"secretName":"s-vol"}},{"name":"b","configMap":{"name":"c-vol"}},{"name":"c","projected":{"sources":[{"secret":{"name":"s-proj"}},{"serviceAccountToken":{"audience":"vault","path":"t"}}]}}]}'
object $ns/pods Pod p2 ',"spec":{"nodeName":"n2","containers":[{"name":"c","image":"i"}]}'
object $ns/pods Pod p3 ',"spec":{"containers":[{"name":"c","image":"i","envFrom":[{"secretRef":{"name":"s-other"}}]}]}'

# ---- registration ----
node() { printf '{"apiVersion":"v1","kind":"Node","metadata":{"name":"%s","labels":%s},"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}}' "$1" "$2"; }
is "$(codes n1 POST /api/v1/nodes "$(node n1 '{"kubernetes.io/hostname":"n1","my/label":"x","node.kubernetes.io/x":"y"}')")" 201 "a node registers itself, with taints"
is "$(message n2 POST /api/v1/nodes "$(node n3 '{}')")" 'nodes "n3" is forbidden: node "n2" is not allowed to modify node "n3"' "…and no other"
is "$(message n2 POST /api/v1/nodes "$(node n2 '{"node-restriction.kubernetes.io/x":"y","node-role.kubernetes.io/control-plane":"","a":"b"}')")" 'nodes "n2" is forbidden: is not allowed to set the following labels: node-restriction.kubernetes.io/x, node-role.kubernetes.io/control-plane' "…not with the administrator's labels"
is "$(codes n2 POST /api/v1/nodes "$(node n2 '{}')")" 201 "another one"
is "$(codes n1 GET /api/v1/nodes/n1) $(codes n1 GET /api/v1/nodes/n2) $(codes n1 GET /api/v1/nodes)" "200 403 403" "a node reads itself only"
is "$(codes n1 GET '/api/v1/nodes?fieldSelector=metadata.name%3Dn1') $(codes n1 GET '/api/v1/nodes?fieldSelector=metadata.name%3Dn2')" "200 403" "…by a field selector too"
patch n1 /api/v1/nodes/n1/status '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}' >/dev/null
is "$(code)" 200 "it reports its status"
is "$(patch n1 /api/v1/nodes/n2/status '{"status":{"phase":"x"}}' | jq -r .message)" 'nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"' "…and nobody else's"
is "$(patch n1 /api/v1/nodes/n1 '{"spec":{"taints":null}}' | jq -r .message)" 'nodes "n1" is forbidden: node "n1" is not allowed to modify taints' "taints are not its own"
is "$(patch n1 /api/v1/nodes/n1 '{"metadata":{"labels":{"node-restriction.kubernetes.io/a":"b"}}}' | jq -r .message)" 'nodes "n1" is forbidden: is not allowed to modify the following labels: node-restriction.kubernetes.io/a' "nor are labels"
patch n1 /api/v1/nodes/n1 '{"metadata":{"labels":{"mine":"b","topology.kubernetes.io/zone":"z"},"annotations":{"a":"b"}}}' >/dev/null
is "$(code)" 200 "…but for its own"
is "$(codes n1 DELETE /api/v1/nodes/n1)" 403 "it cannot delete itself"
is "$(patch n1 /api/v1/nodes/n1 '{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"x","uid":"y"}]}}' | jq -r .message)" 'nodes "n1" is forbidden: node "n1" is not allowed to modify ownerReferences' "…nor have itself collected"

# ---- what its pods need ----
ok "a Secret of its pod" eventually 10 allowed n1 GET $ns/secrets/s-env
is "$(codes n1 GET $ns/secrets/s-vol) $(codes n1 GET $ns/secrets/s-pull) $(codes n1 GET $ns/secrets/s-proj) $(codes n1 GET $ns/configmaps/c-env) $(codes n1 GET $ns/configmaps/c-vol)" "200 200 200 200 200" "…by volume, to pull images, projected, ConfigMaps"
is "$(message n1 GET $ns/secrets/s-other)" "secrets \"s-other\" is forbidden: User \"system:node:n1\" cannot get resource \"secrets\" in API group \"\" in the namespace \"default\": no relationship found between node 'n1' and this object" "…and no other"
is "$(codes n2 GET $ns/secrets/s-env) $(codes n2 GET $ns/configmaps/c-env) $(codes n2 GET /api/v1/namespaces/kube-system/secrets/s-env)" "403 403 403" "another node may not"
is "$(codes n1 GET "$ns/secrets?fieldSelector=metadata.name%3Ds-env") $(codes n1 GET $ns/secrets) $(codes n1 GET /api/v1/secrets)" "200 403 403" "lists of one by name"
in_ns curl -sN --max-time 30 --cacert "$T/pki/ca.crt" --cert "$T/pki/n1.crt" --key "$T/pki/n1.key" -o "$T/watch" "https://127.0.0.1:6443$ns/secrets?watch=1&fieldSelector=metadata.name%3Ds-env" &
watch=$!
ok "…and watches" eventually 20 grep -q '"name":"s-env"' "$T/watch"
kill "$watch"
is "$(codes n1 PUT $ns/secrets/s-env '{}') $(codes n1 DELETE $ns/configmaps/c-env)" "403 403" "it changes none"
api_json POST $ns/pods/p3/binding '{"apiVersion":"v1","kind":"Binding","metadata":{"name":"p3"},"target":{"kind":"Node","name":"n2"}}' >/dev/null
ok "a pod is bound: its node may" eventually 10 allowed n2 GET $ns/secrets/s-other
api_json DELETE $ns/pods/p3 '{"gracePeriodSeconds":0}' >/dev/null
ok "the pod is gone: no more" eventually 10 denied n2 GET $ns/secrets/s-other
is "$(codes stray GET $ns/secrets/s-env) $(message stray GET /api/v1/nodes | grep -c 'unknown node for user')" "403 1" "a node without a name"

# ---- pods ----
is "$(codes n1 GET "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1") $(codes n1 GET "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2") $(codes n1 GET /api/v1/pods)" "200 403 403" "a node lists its pods"
is "$(codes n1 GET $ns/pods/p1) $(codes n1 GET $ns/pods/p2)" "200 403" "…and reads them"
patch n1 $ns/pods/p1/status '{"status":{"phase":"Running"}}' >/dev/null
is "$(code)" 200 "it reports their status"
is "$(patch n1 $ns/pods/p2/status '{"status":{"phase":"Running"}}' | jq -r .message)" 'pods "p2" is forbidden: node "n1" can only update pod status for pods with spec.nodeName set to itself' "…not that of others"
is "$(patch n1 $ns/pods/p1/status '{"metadata":{"labels":{"a":"b"}}}' | jq -r .message)" 'pods "p1" is forbidden: node "n1" cannot update labels through pod status' "…and no labels by it"
is "$(message n1 DELETE $ns/pods/p2)" 'pods "p2" is forbidden: node "n1" can only delete pods with spec.nodeName set to itself' "it deletes its own only"
is "$(message n1 POST $ns/pods/p2/eviction '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p2"}}')" 'pods "p2" is forbidden: node "n1" can only evict pods with spec.nodeName set to itself' "it evicts its own only"
is "$(codes n1 PATCH $ns/pods/p1 '{}') $(codes n1 GET $ns/pods/p1/log) $(codes n1 POST $ns/pods/p1/exec)" "403 403 403" "nothing else of pods"
mirror() { printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"m","annotations":{%s}},"spec":{"nodeName":"%s","containers":[{"name":"c","image":"i"}]%s}}' "$1" "$2" "${3:-}"; }
m='"kubernetes.io/config.mirror":"x"'
is "$(message n1 POST $ns/pods "$(mirror '' n1)")" 'pods "m" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods' "it makes mirrors only"
is "$(message n1 POST $ns/pods "$(mirror "$m" n2)")" 'pods "m" is forbidden: node "n1" can only create pods with spec.nodeName set to itself' "…for itself"
is "$(message n1 POST $ns/pods "$(mirror "$m" n1 ',"volumes":[{"name":"v","configMap":{"name":"c-other"}}]')")" 'pods "m" is forbidden: node "n1" can not create pods that reference configmaps' "…that refer to nothing"
is "$(codes n1 POST $ns/pods "$(mirror "$m" n1)")" 201 "…so"
is "$(codes n1 GET $ns/configmaps/c-other)" 403 "a mirror opens nothing"
api_json DELETE $ns/pods/m '{"gracePeriodSeconds":0}' >/dev/null

# ---- leases, services, events ----
lease() { printf '{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"%s"}}' "$1"; }
is "$(codes n1 POST $leases "$(lease n1)")" 201 "its lease"
is "$(message n1 POST $leases "$(lease n9)")" 'leases.coordination.k8s.io "n9" is forbidden: can only access node lease with the same name as the requesting node' "…and no other"
is "$(codes n2 GET $leases/n1) $(codes n1 GET $leases) $(codes n1 POST /apis/coordination.k8s.io/v1/namespaces/default/leases "$(lease n1)")" "403 403 403" "…nobody else's, not all, nowhere else"
is "$(codes n1 GET /api/v1/services)" 200 "it lists Services"

# ---- tokens ----
request() { as "$1" POST "$ns/serviceaccounts/$2/token" "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenRequest\",\"spec\":$3}"; }
uid=$(api GET $ns/pods/p1 | jq -r .metadata.uid)
ref="\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p1\",\"uid\":\"$uid\"}"
like "$(request n1 robot "{$ref}" | jq -r .status.token)" '^ey' "a token for its pod"
like "$(request n1 robot "{$ref,\"audiences\":[\"vault\"]}" | jq -r .status.token)" '^ey' "…for an audience that the pod asks for"
is "$(request n1 robot "{$ref,\"audiences\":[\"bank\"]}" | jq -r .message)" 'serviceaccounts "robot" is forbidden: audience "bank" not found in pod spec volume' "…and no other"
is "$(request n1 robot '{}' | jq -r .message)" 'serviceaccounts "robot" is forbidden: node requested token not bound to a pod' "…bound to nothing"
is "$(request n1 robot '{"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p1"}}' | jq -r .message)" 'serviceaccounts "robot" is forbidden: node requested token with a pod binding without a uid' "…without a uid"
is "$(request n2 robot "{$ref}" | jq -r .code) $(request n1 other "{$ref}" | jq -r .code)" "403 403" "another node, another account"

# ---- volumes and ephemeral containers change what is referred to ----
TYPE=application/strategic-merge-patch+json as admin PATCH $ns/pods/p2/ephemeralcontainers '{"spec":{"ephemeralContainers":[{"name":"e","image":"i","envFrom":[{"secretRef":{"name":"s-other"}}]}]}}' >/dev/null
ok "an ephemeral container's Secret" eventually 10 allowed n2 GET $ns/secrets/s-other

# ---- after a restart ----
apiserver_stop TERM
apiserver_start
eventually 20 apiserver_ready
is "$(codes n1 GET $ns/secrets/s-env) $(codes n2 GET $ns/secrets/s-env) $(codes n2 GET $ns/secrets/s-other)" "200 403 200" "a restart knows what it knew"
done_testing
