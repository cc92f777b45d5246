#!/usr/bin/env bash
# The API server over a real etcd, by its protocol: curl and jq.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up

code() { cat "$T/code"; }
etcd_get() { in_ns env ETCDCTL_API=3 etcdctl --endpoints=http://127.0.0.1:2379 get --print-value-only "$1"; }
cms=/api/v1/namespaces/default/configmaps
cm() { printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s"},"data":{"k":"%s"}}' "$1" "${2:-v}"; }

# ---- who, what, where ----
is "$(in_ns curl -s -o /dev/null -w '%{http_code}' -k https://127.0.0.1:6443/version)" 200 "anonymous: /version"
is "$(in_ns curl -s -k https://127.0.0.1:6443/livez)" ok "anonymous: /livez"
is "$(in_ns curl -s -k https://127.0.0.1:6443/api | jq -r '.reason, .code' | xargs)" "Unauthorized 401" "anonymous: 401 for all else"
is "$(in_ns curl -s -k -H 'Authorization: Bearer secret-token' https://127.0.0.1:6443/api | jq -r .kind)" APIVersions "a token of the token file"
is "$(in_ns curl -s -k -H 'Authorization: Bearer wrong' https://127.0.0.1:6443/api | jq -r .code)" 401 "a token nobody knows"
pki_ca other
pki_cert other stranger /O=system:masters/CN=admin 'extendedKeyUsage=clientAuth\n'
is "$(in_ns curl -s -k --cert "$T/pki/stranger.crt" --key "$T/pki/stranger.key" https://127.0.0.1:6443/api | jq -r .code)" 401 "a certificate of another CA"
is "$(api GET /version | jq -r .gitVersion | grep -o '^v1\.36\..*+coracle')" "$(api GET /version | jq -r .gitVersion)" "version"
is "$(api GET /api/v1 | jq -r '.resources[]|select(.name=="pods")|.shortNames[0],.kind' | xargs)" "po Pod" "discovery: pods"
is "$(api GET /apis | jq -r '[.groups[].name]|sort|join(" ")')" "apps authentication.k8s.io authorization.k8s.io certificates.k8s.io coordination.k8s.io discovery.k8s.io node.k8s.io rbac.authorization.k8s.io scheduling.k8s.io storage.k8s.io" "discovery: groups"
is "$(api GET /apis -H 'Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList' | jq -r '.kind, (.items[]|select(.metadata.name=="apps").versions[0].resources|map(.resource)|join(","))' | xargs)" "APIGroupDiscoveryList deployments,replicasets" "discovery: aggregated"
is "$(api GET /api/v1/nonsense | jq -r .reason)" NotFound "an unknown resource"
is "$(api POST $cms/x -d '{}' | jq -r .reason)" MethodNotAllowed "a method that is not allowed"

# ---- what the server makes itself ----
is "$(api GET /api/v1/namespaces | jq -r '[.items[].metadata.name]|join(" ")')" "default kube-node-lease kube-public kube-system" "the namespaces"
is "$(api GET /api/v1/namespaces/default/services/kubernetes | jq -r '.spec.clusterIP, .spec.ports[0].targetPort' | xargs)" "10.96.0.1 6443" "the Service kubernetes"
is "$(api GET /api/v1/namespaces/default/endpoints/kubernetes | jq -r '.subsets[0].addresses[0].ip')" 192.0.2.10 "its Endpoints"
is "$(api GET /apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes | jq -r '.endpoints[0].addresses[0], .ports[0].port' | xargs)" "192.0.2.10 6443" "its EndpointSlice"
has_kubernetes() { [ "$(api GET /api/v1/namespaces/default/services/kubernetes | jq -r .spec.clusterIP)" = 10.96.0.1 ]; }
api DELETE /api/v1/namespaces/default/services/kubernetes >/dev/null
ok "…which comes back when it is deleted" eventually 5 has_kubernetes

# ---- create, get, conflicts ----
out=$(api_json POST $cms "$(cm a)")
is "$(code)" 201 "create answers 201"
like "$(jq -r .metadata.uid <<<"$out")" '^[0-9a-f-]{36}$' "create sets a uid"
like "$(jq -r .metadata.creationTimestamp <<<"$out")" '^20.*Z$' "create sets creationTimestamp"
stored=$(etcd_get /registry/configmaps/default/a)
is "$(jq -r '.apiVersion, .kind, (.metadata|has("resourceVersion"))' <<<"$stored" | xargs)" "v1 ConfigMap false" "stored in upstream's layout, without resourceVersion"
is "$(api_json POST $cms "$(cm a)" | jq -r .reason)" AlreadyExists "create again: AlreadyExists"
is "$(api GET $cms/none | jq -r '.reason, .details.name, .details.kind' | xargs)" "NotFound none configmaps" "get nothing: NotFound"
is "$(api_json POST /api/v1/namespaces/nowhere/configmaps "$(cm a)" | jq -r '.reason, .message' | xargs)" 'NotFound namespaces nowhere not found' "create in a missing namespace"
is "$(api_json POST $cms '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"gen-"}}' | jq -r .metadata.name | grep -cE '^gen-[a-z0-9]{5}$')" 1 "generateName"
is "$(api_json POST $cms '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"other"}}' | jq -r .code)" 400 "namespace of the body and of the path differ"
is "$(api_json POST $cms '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}' | jq -r .code)" 400 "another kind than the path's"
is "$(api_json POST $cms '{"metadata":{"name":"Bad_Name"},"apiVersion":"v1","kind":"ConfigMap"}' | jq -r '.reason, .details.causes[0].field' | xargs)" "Invalid metadata.name" "an invalid name: 422 with the field"
is "$(api_json POST $cms 'nonsense' | jq -r .code)" 400 "a body that is not JSON"
is "$(api POST $cms -H 'Content-Type: application/cbor' -d x | jq -r .reason)" UnsupportedMediaType "CBOR is refused"
is "$(head -c 4000000 /dev/zero | api POST $cms -H 'Content-Type: application/json' --data-binary @- | jq -r .code)" 413 "a body of 4 MB is refused"
is "$(api_json POST "$cms?dryRun=All" "$(cm dry)" | jq -r .metadata.name)" dry "dryRun answers the object"
is "$(api GET $cms/dry | jq -r .reason)" NotFound "…and stores nothing"
is "$(api_json POST "$cms?fieldValidation=Strict" '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"s"},"dta":{}}' | jq -r .code)" 400 "fieldValidation=Strict refuses an unknown field"

# ---- update ----
obj=$(api GET $cms/a)
new=$(jq '.data.k="2"' <<<"$obj")
rv1=$(jq -r .metadata.resourceVersion <<<"$obj")
rv2=$(api_json PUT $cms/a "$new" | jq -r .metadata.resourceVersion)
ok "update raises resourceVersion" [ "$rv2" -gt "$rv1" ]
out=$(api_json PUT $cms/a "$new")
is "$(jq -r '.reason, .code' <<<"$out" | xargs)" "Conflict 409" "update with an old resourceVersion"
like "$(jq -r .message <<<"$out")" 'the object has been modified; please apply your changes to the latest version and try again' "…with upstream's text"
is "$(api_json PUT $cms/a "$(jq 'del(.metadata.resourceVersion)|.data.k="3"' <<<"$new")" | jq -r .data.k)" 3 "an update without resourceVersion wins"
is "$(api_json PUT $cms/none "$(cm none)" | jq -r .reason)" NotFound "update of nothing"
is "$(api_json PUT $cms/a "$(cm b)" | jq -r .code)" 400 "names of path and body differ"
rv=$(api GET $cms/a | jq -r .metadata.resourceVersion)
is "$(api_json PUT $cms/a "$(api GET $cms/a)" | jq -r .metadata.resourceVersion)" "$rv" "an update that changes nothing writes nothing"
is "$(api_json PUT $cms/a "$(api GET $cms/a | jq '.metadata.uid="x"')" | jq -r .code)" 409 "another uid: 409"

# ---- patch ----
patch() { api PATCH "$1" -H "Content-Type: application/$2" --data-binary "$3"; }
is "$(patch $cms/a merge-patch+json '{"data":{"k":null,"m":"1"}}' | jq -c .data)" '{"m":"1"}' "merge patch"
is "$(patch $cms/a strategic-merge-patch+json '{"metadata":{"labels":{"l":"1"}}}' | jq -r .metadata.labels.l)" 1 "strategic merge patch"
is "$(patch $cms/a json-patch+json '[{"op":"add","path":"/data/j","value":"x"}]' | jq -r .data.j)" x "JSON patch"
is "$(patch $cms/a json-patch+json '[{"op":"test","path":"/data/j","value":"y"}]' | jq -r .code)" 422 "a JSON patch whose test fails"
is "$(patch $cms/a merge-patch+json '{"metadata":{"resourceVersion":"1"}}' | jq -r .reason)" Conflict "a patch with an old resourceVersion"
is "$(patch $cms/none merge-patch+json '{}' | jq -r .reason)" NotFound "patch of nothing"
is "$(patch $cms/a merge-patch+json '{"metadata":{"name":"z"}}' | jq -r .status)" Failure "a patch cannot rename"
out=$(patch "$cms/a?fieldManager=x" apply-patch+yaml 'a: b')
is "$(jq -r .code <<<"$out")" 415 "server-side apply: 415"
for i in 1 2 3 4 5 6 7 8; do
    in_ns curl -s --cacert "$T/pki/ca.crt" --cert "$T/pki/admin.crt" --key "$T/pki/admin.key" -X PATCH -o /dev/null -w '%{http_code}\n' \
        -H 'Content-Type: application/merge-patch+json' -d "{\"data\":{\"p$i\":\"1\"}}" "https://127.0.0.1:6443$cms/a" >>"$T/patches" &
    patchers[i]=$!
done
wait "${patchers[@]}"
is "$(sort -u "$T/patches")" 200 "eight patches at once all succeed"
is "$(api GET $cms/a | jq '[.data|keys[]|select(startswith("p"))]|length')" 8 "…and none is lost"

# ---- status and spec, generation, scale ----
deps=/apis/apps/v1/namespaces/default/deployments
dep='{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}},"status":{"replicas":9}}'
out=$(api_json POST $deps "$dep")
is "$(jq -r '.metadata.generation, (.status.replicas//0)' <<<"$out" | xargs)" "1 0" "create: generation 1, status dropped"
is "$(patch $deps/d merge-patch+json '{"spec":{"replicas":3},"status":{"replicas":9}}' | jq -r '.metadata.generation, .spec.replicas, (.status.replicas//0)' | xargs)" "2 3 0" "a change of spec raises generation and leaves status"
is "$(patch $deps/d/status merge-patch+json '{"spec":{"replicas":7},"status":{"replicas":3}}' | jq -r '.metadata.generation, .spec.replicas, .status.replicas' | xargs)" "2 3 3" "a change of status leaves spec and generation"
is "$(api GET $deps/d/scale | jq -r '.kind, .spec.replicas, .status.replicas' | xargs)" "Scale 3 3" "scale: get"
is "$(patch $deps/d/scale merge-patch+json '{"spec":{"replicas":5}}' | jq -r .spec.replicas)" 5 "scale: patch"
is "$(api GET $deps/d | jq -r '.metadata.generation, .spec.replicas' | xargs)" "3 5" "…changes the Deployment"

# ---- lists: selectors, pages, revisions, shapes ----
api_json POST /api/v1/namespaces '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"lists"}}' >/dev/null
l=/api/v1/namespaces/lists/configmaps
for i in 1 2 3 4 5 6 7; do
    api_json POST $l "$(cm "c$i" | jq -c ".metadata.labels={n:\"$i\",odd:\"$((i % 2))\"}")" >/dev/null
done
names() { jq -r '[.items[].metadata.name]|join(" ")'; }
is "$(api GET "$l?labelSelector=odd%3D1" | names)" "c1 c3 c5 c7" "label selector"
is "$(api GET "$l?labelSelector=n+in+(2,3)" | names)" "c2 c3" "set selector"
is "$(api GET "$l?fieldSelector=metadata.name%3Dc4" | names)" c4 "field selector"
is "$(api GET "$l?fieldSelector=spec.none%3Dx" | jq -r .code)" 400 "a field that cannot be selected by"
page=$(api GET "$l?limit=3")
is "$(names <<<"$page"; jq -r .metadata.remainingItemCount <<<"$page")" $'c1 c2 c3\n4' "limit: first page, remainingItemCount"
api_json POST $l "$(cm c0)" >/dev/null
api DELETE $l/c5 >/dev/null
token=$(jq -r .metadata.continue <<<"$page")
page=$(api GET "$l?limit=3&continue=$token")
is "$(names <<<"$page")" "c4 c5 c6" "continue reads the state of the first page"
page=$(api GET "$l?limit=3&continue=$(jq -r .metadata.continue <<<"$page")")
is "$(names <<<"$page"; jq -r '.metadata.continue//"none"' <<<"$page")" $'c7\nnone' "the last page has no token"
is "$(api GET "$l?limit=2&labelSelector=odd%3D1" | names)" "c1 c3" "limit counts what is selected"
rv=$(jq -r .metadata.resourceVersion <<<"$page")
is "$(api GET "$l?resourceVersion=$rv&resourceVersionMatch=Exact" | names)" "c1 c2 c3 c4 c5 c6 c7" "resourceVersionMatch=Exact"
is "$(api GET "$l?resourceVersion=$rv&resourceVersionMatch=NotOlderThan" | names)" "c0 c1 c2 c3 c4 c6 c7" "NotOlderThan"
is "$(api GET "$l?resourceVersion=0" | names)" "c0 c1 c2 c3 c4 c6 c7" "resourceVersion=0: the cache"
is "$(api GET "$l?resourceVersion=99999999" | jq -r '.code, .details.causes[0].reason' | xargs)" "504 ResourceVersionTooLarge" "a revision of the future"
is "$(api GET "$l?continue=nonsense" | jq -r .code)" 400 "a broken token"
table=$(api GET $l -H 'Accept: application/json;as=Table;v=v1;g=meta.k8s.io')
is "$(jq -r '.kind, .columnDefinitions[0].name, (.rows|length), .rows[0].cells[0], .rows[0].object.kind' <<<"$table" | xargs)" "Table Name 7 c0 PartialObjectMetadata" "Table"
is "$(api GET $l -H 'Accept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io' | jq -r '.kind, (.items[0]|has("data"))' | xargs)" "PartialObjectMetadataList false" "metadata only"
in_ns env ETCDCTL_API=3 etcdctl --endpoints=http://127.0.0.1:2379 compact "$(api GET $l | jq -r .metadata.resourceVersion)" >/dev/null
is "$(api GET "$l?limit=3&continue=$token" | jq -r '.reason, .code' | xargs)" "Expired 410" "a token whose state was compacted: 410"
is "$(api GET "$l?resourceVersion=$rv&resourceVersionMatch=Exact" | jq -r .reason)" Expired "a revision that was compacted: 410"

# ---- delete ----
is "$(api DELETE $l/c0 | jq -r '.kind, .status, .details.name' | xargs)" "Status Success c0" "delete answers Success"
is "$(api_json DELETE $l/c1 '{"preconditions":{"uid":"x"}}' | jq -r .code)" 409 "a precondition that does not hold"
is "$(api DELETE "$l/c1?dryRun=All" | jq -r .status; api GET $l/c1 | jq -r .metadata.name)" $'Success\nc1' "dryRun deletes nothing"
patch $l/c1 merge-patch+json '{"metadata":{"finalizers":["example.com/hold"]}}' >/dev/null
is "$(api DELETE $l/c1 | jq -r '.metadata.deletionTimestamp != null')" true "a finalizer holds the object"
is "$(patch $l/c1 merge-patch+json '{"metadata":{"finalizers":null}}' >/dev/null; api GET $l/c1 | jq -r .reason)" NotFound "without it, it goes"
is "$(api_json DELETE $l/c2 '{"propagationPolicy":"Foreground"}' | jq -r '.metadata.finalizers[0]')" foregroundDeletion "propagationPolicy Foreground"
is "$(api_json DELETE $l/c3 '{"propagationPolicy":"Orphan"}' | jq -r '.metadata.finalizers[0]')" orphan "propagationPolicy Orphan"
is "$(api DELETE "$l?labelSelector=odd%3D0" | jq -r .kind; api GET $l | names)" $'ConfigMapList\nc2 c3 c7' "deletecollection with a selector"
is "$(api DELETE /api/v1/namespaces/default | jq -r .reason)" Forbidden "the default namespace cannot be deleted"
is "$(api DELETE /api/v1/namespaces/lists | jq -r '.status.phase')" Terminating "a namespace terminates"
is "$(api_json POST $l "$(cm late)" | jq -r '.reason, .details.causes[0].reason' | xargs)" "Forbidden NamespaceTerminating" "nothing new in a terminating namespace"
is "$(api GET /api/v1/namespaces/lists | jq '.spec.finalizers=[]' | api PUT /api/v1/namespaces/lists/finalize -H 'Content-Type: application/json' --data-binary @- | jq -r .metadata.name; api GET /api/v1/namespaces/lists | jq -r .reason)" $'lists\nNotFound' "finalize lets it go"

# ---- pods: binding, eviction, grace ----
pods=/api/v1/namespaces/default/pods
pod() { printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s"},"spec":{"containers":[{"name":"c","image":"i"}]}}' "$1"; }
out=$(api_json POST $pods "$(pod p1)")
is "$(jq -r '.status.phase, .status.qosClass, .spec.serviceAccountName, .spec.priority' <<<"$out" | xargs)" "Pending BestEffort default 0" "a pod's defaults"
is "$(api DELETE $pods/p1 | jq -r .kind; api GET $pods/p1 | jq -r .reason)" $'Pod\nNotFound' "a pod nobody runs goes at once"
api_json POST $pods "$(pod p2)" >/dev/null
is "$(api_json POST $pods/p2/binding '{"apiVersion":"v1","kind":"Binding","metadata":{"name":"p2"},"target":{"kind":"Node","name":"n1"}}' | jq -r .status)" Success "binding"
is "$(api GET $pods/p2 | jq -r '.spec.nodeName, (.status.conditions[]|select(.type=="PodScheduled").status)' | xargs)" "n1 True" "…sets nodeName and PodScheduled"
is "$(api_json POST $pods/p2/binding '{"target":{"name":"n2"}}' | jq -r .reason)" Conflict "a second binding"
is "$(api GET "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1" | names)" p2 "field selector spec.nodeName"
out=$(api DELETE $pods/p2)
is "$(jq -r '.metadata.deletionGracePeriodSeconds' <<<"$out")" 30 "a pod that runs gets its grace"
is "$(api DELETE "$pods/p2?gracePeriodSeconds=5" | jq -r .metadata.deletionGracePeriodSeconds)" 5 "grace can be shortened"
is "$(api DELETE "$pods/p2?gracePeriodSeconds=50" | jq -r .metadata.deletionGracePeriodSeconds)" 5 "…not lengthened"
is "$(api DELETE "$pods/p2?gracePeriodSeconds=0" >/dev/null; api GET $pods/p2 | jq -r .reason)" NotFound "grace 0 (the kubelet's word): gone"
api_json POST $pods "$(pod p3)" >/dev/null
is "$(api_json POST $pods/p3/eviction '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p3"}}' | jq -r .status; api GET $pods/p3 | jq -r .reason)" $'Success\nNotFound' "eviction"
is "$(api GET $pods/p3/log | jq -r .reason)" NotFound "log of nothing"
api_json POST $pods "$(pod p4)" >/dev/null
is "$(api GET $pods/p4/log | jq -r .message)" "pod p4 does not have a host assigned" "log of a pod without a node"
is "$(patch $pods/p4 merge-patch+json '{"spec":{"containers":[{"name":"c","image":"i","command":["x"]}]}}' | jq -r .code)" 422 "a pod's spec cannot change"

# ---- services ----
svcs=/api/v1/namespaces/default/services
svc() { jq -nc --arg n "$1" --argjson s "$2" '{apiVersion:"v1",kind:"Service",metadata:{name:$n},spec:({ports:[{port:80}]}+$s)}'; }
out=$(api_json POST $svcs "$(svc s1 '{}')")
like "$(jq -r .spec.clusterIP <<<"$out")" '^10\.96\.[0-9]+\.[0-9]+$' "a cluster IP"
is "$(jq -r '.spec.clusterIPs[0] == .spec.clusterIP, .spec.ipFamilies[0], .spec.ipFamilyPolicy, .spec.type' <<<"$out" | xargs)" "true IPv4 SingleStack ClusterIP" "…and what goes with it"
is "$(api_json POST $svcs "$(svc s2 '{"clusterIP":"10.96.0.77"}')" | jq -r .spec.clusterIP)" 10.96.0.77 "a chosen cluster IP"
is "$(api_json POST $svcs "$(svc s3 '{"clusterIP":"10.96.0.77"}')" | jq -r '.code, .details.causes[0].field' | xargs)" "422 spec.clusterIPs[0]" "one that is taken"
is "$(api_json POST $svcs "$(svc s3 '{"clusterIP":"10.97.0.1"}')" | jq -r .code)" 422 "one outside the range"
is "$(api_json POST $svcs "$(svc s3 '{"clusterIP":"None"}')" | jq -r .spec.clusterIP)" None "headless"
is "$(api_json POST $svcs "$(svc s4 '{"ipFamilyPolicy":"RequireDualStack"}')" | jq -r .code)" 422 "dual stack is refused"
out=$(api_json POST $svcs "$(svc np '{"type":"NodePort"}')")
port=$(jq -r '.spec.ports[0].nodePort' <<<"$out")
ok "a node port in the range" [ "$port" -ge 30000 -a "$port" -le 32767 ]
is "$(api_json POST $svcs "$(svc np2 "{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":$port}]}")" | jq -r '.code, .details.causes[0].field' | xargs)" "422 spec.ports[0].nodePort" "a node port that is taken"
is "$(api_json POST $svcs "$(svc np2 '{"type":"NodePort","ports":[{"port":80,"nodePort":80}]}')" | jq -r .code)" 422 "a node port outside the range"
is "$(etcd_get /registry/ipaddresses/10.96.0.77 | jq -r '.kind, .spec.parentRef.name' | xargs)" "IPAddress s2" "IPAddress objects as upstream keeps them"
is "$(patch $svcs/np merge-patch+json '{"spec":{"type":"ClusterIP"}}' | jq -r '.spec.ports[0].nodePort // "none"')" none "back to ClusterIP gives the node port back"
is "$(api_json POST $svcs "$(svc np2 "{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":$port}]}")" | jq -r '.spec.ports[0].nodePort')" "$port" "…and another Service can have it"
api DELETE $svcs/s2 >/dev/null
is "$(etcd_get /registry/ipaddresses/10.96.0.77)" "" "a deleted Service gives its IP back"
is "$(api_json POST $svcs "$(svc s5 '{"clusterIP":"10.96.0.77"}')" | jq -r .spec.clusterIP)" 10.96.0.77 "…and another one can have it"

# ---- events expire, foreign values ----
in_ns env ETCDCTL_API=3 etcdctl --endpoints=http://127.0.0.1:2379 put /registry/secrets/default/foreign "$(printf 'k8s\001x')" >/dev/null
like "$(api GET /api/v1/namespaces/default/secrets/foreign | jq -r .message)" '/registry/secrets/default/foreign' "a value in another form is an error that names the key"
is "$(api GET /api/v1/secrets | jq -r .code)" 500 "…also in a list"
in_ns env ETCDCTL_API=3 etcdctl --endpoints=http://127.0.0.1:2379 del /registry/secrets/default/foreign >/dev/null
event='{"apiVersion":"v1","kind":"Event","metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p","namespace":"default"},"reason":"R","message":"m","type":"Normal"}'
api_json POST /api/v1/namespaces/default/events "$event" >/dev/null
lease=$(in_ns env ETCDCTL_API=3 etcdctl --endpoints=http://127.0.0.1:2379 get /registry/events/default/e -w json | jq '.kvs[0].lease')
ok "an Event has a lease" [ "${lease:-0}" != 0 -a "$lease" != null ]

apiserver_stop TERM
is $? 0 "SIGTERM: exit 0"
done_testing
