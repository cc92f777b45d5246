#!/usr/bin/env bash
# Watches of the API server, and what happens to it and them when it or etcd dies.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up

cms=/api/v1/namespaces/default/configmaps
cm() { printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s","labels":{"l":"%s"}}}' "$1" "${2:-x}"; }
# watch FILE QUERY [CURL ARGUMENT…]: in the background; its pid is in $!
watch() {
    local file=$1 query=$2
    shift 2
    nsenter --net=/run/netns/"$NS" curl -sS -N --cacert "$T/pki/ca.crt" --cert "$T/pki/admin.crt" --key "$T/pki/admin.key" "$@" \
        "https://127.0.0.1:6443$cms?watch=1&$query" >"$T/$file" 2>"$T/$file.err" &
    watches+=($!)
}
stop_watches() { [ ${#watches[@]} -gt 0 ] || return 0; kill "${watches[@]}" 2>/dev/null; wait "${watches[@]}" 2>/dev/null; watches=(); }
watches=()
at_end stop_watches
events() { jq -r '"\(.type) \(.object.metadata.name // .object.code // "")"' "$T/$1" 2>/dev/null | xargs; }
shows() { [ "$(events "$1")" = "$2" ]; }

api_json POST $cms "$(cm a)" >/dev/null
rv=$(api GET $cms | jq -r .metadata.resourceVersion)
api_json POST $cms "$(cm b)" >/dev/null
watch from-rv "resourceVersion=$rv"
watch state "labelSelector=l%3Dx"
watch initial "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
watch selected "resourceVersion=$rv&labelSelector=l%3Dy"
watch named "resourceVersion=$rv&fieldSelector=metadata.name%3Db"
watch table "resourceVersion=$rv" -H 'Accept: application/json;as=Table;v=v1;g=meta.k8s.io'
ok "from a revision: what came after it" eventually 5 shows from-rv "ADDED b"
ok "without one: the state" eventually 5 shows state "ADDED a ADDED b"
ok "sendInitialEvents: the state and a bookmark" eventually 5 shows initial "ADDED a ADDED b BOOKMARK"
is "$(jq -r 'select(.type=="BOOKMARK").object.metadata.annotations["k8s.io/initial-events-end"]' "$T/initial")" true "…that says so"
api PATCH $cms/b -H 'Content-Type: application/merge-patch+json' -d '{"metadata":{"labels":{"l":"y"}}}' >/dev/null
ok "a change that leaves the selection is a deletion" eventually 5 shows state "ADDED a ADDED b DELETED b"
ok "…one that enters it an addition" eventually 5 shows selected "ADDED b"
api DELETE $cms/b >/dev/null
ok "a deletion" eventually 5 shows from-rv "ADDED b MODIFIED b DELETED b"
ok "by field selector" eventually 5 shows named "ADDED b MODIFIED b DELETED b"
last=$(jq -r 'select(.type=="DELETED").object.metadata.resourceVersion' "$T/from-rv")
ok "…at the revision of the deletion" [ "$last" -gt "$(jq -r 'select(.type=="MODIFIED").object.metadata.resourceVersion' "$T/from-rv")" ]
is "$(jq -rs '.[0].object.kind, (.[0].object.columnDefinitions|length>0), .[0].object.rows[0].cells[0], (.[1].object.columnDefinitions//[]|length)' "$T/table" | xargs)" "Table true b 0" "as Tables, columns in the first one only"
watch timeout "resourceVersion=$rv&timeoutSeconds=1&allowWatchBookmarks=true"
ok "timeoutSeconds ends it with a bookmark" eventually 5 shows timeout "ADDED b MODIFIED b DELETED b BOOKMARK"
is "$(cat "$T/timeout.err")" "" "…in order"
stop_watches

# ---- a thousand watchers ----
ulimit -n 8192
many=1000
[[ $B == *asan* ]] && many=100
out=$(in_ns "$B/tests/bin/watch-fan" https://127.0.0.1:6443 "$T/pki/ca.crt" "$T/pki/admin.crt" "$T/pki/admin.key" $cms a $many 2>&1)
like "$out" "^watchers=$many " "one change reaches $many watchers ($out)"

# ---- kill -9 of the server ----
rv=$(api GET $cms | jq -r .metadata.resourceVersion)
api_json POST $cms "$(cm before)" >/dev/null
apiserver_stop KILL
apiserver_start
ok "after kill -9 it serves again" eventually 5 apiserver_ready
is "$(api GET $cms/before | jq -r .metadata.name)" before "nothing is lost"
watch resumed "resourceVersion=$rv"
ok "a watch resumes from a revision of the server before" eventually 5 shows resumed "ADDED before"
watch old "resourceVersion=1"
ok "…and from one before everything" eventually 5 grep -q '"a"' "$T/old"
api GET /api/v1/namespaces/default/services/kubernetes >/dev/null
is "$(api GET "/api/v1/services" | jq '.items|length')" 1 "the Service kubernetes is there once"
stop_watches

# ---- etcd goes away ----
watch through "resourceVersion=$(api GET $cms | jq -r .metadata.resourceVersion)"
etcd_stop KILL
out=$(api GET $cms/a)
like "$(cat "$T/code")" '^50[034]$' "without etcd a read is an error"
is "$(jq -r '.kind, .status' <<<"$out" | xargs)" "Status Failure" "…in a Status"
out=$(api_json POST $cms "$(cm lost)")
is "$(jq -r '.kind, .status' <<<"$out" | xargs)" "Status Failure" "a write too"
like "$(api GET /readyz)" 'etcd failed' "readyz says why"
is "$(api GET /livez)" ok "livez does not care"
is "$(api GET "$cms?resourceVersion=0" | jq -r '[.items[].metadata.name]|join(" ")')" "a before" "the cache still answers resourceVersion=0"
etcd_start
ok "it is back by itself" eventually 20 apiserver_ready
api_json POST $cms "$(cm after)" >/dev/null
is "$(cat "$T/code")" 201 "writes work"
ok "a watch has lived through it" eventually 10 grep -q '"after"' "$T/through"
ok "the process is the same" kill -0 "$APISERVER_PID"
stop_watches

# ---- etcd is not there at the start ----
etcd_stop KILL
apiserver_stop KILL
apiserver_start
sleep 0.5
is "$(api GET /livez)" ok "it starts without etcd"
is "$(api GET $cms | jq -r .code)" 503 "…and says 503"
etcd_start
ok "…until etcd is there" eventually 20 apiserver_ready
is "$(api GET $cms/after | jq -r .metadata.name)" after "everything is there"

# ---- two servers on one etcd ----
first=$APISERVER_PID
APISERVER_FLAGS+=(--secure-port 6444)
apiserver_start
second=$APISERVER_PID
at_end kill -9 "$second"
APISERVER_PID=$first
port2() { in_ns curl -sS --cacert "$T/pki/ca.crt" --cert "$T/pki/admin.crt" --key "$T/pki/admin.key" "https://127.0.0.1:6444$1" "${@:2}"; }
ok "a second server" eventually 10 sh -c "[ \"\$(nsenter --net=/run/netns/$NS curl -sk https://127.0.0.1:6444/readyz)\" = ok ]"
for i in $(seq 20); do
    svc=$(jq -nc --arg n "s$i" '{apiVersion:"v1",kind:"Service",metadata:{name:$n},spec:{type:"NodePort",ports:[{port:80}]}}')
    api_json POST /api/v1/namespaces/default/services "$svc" >/dev/null &
    pids[i]=$!
    port2 /api/v1/namespaces/default/services -H 'Content-Type: application/json' -d "${svc/s$i/t$i}" >/dev/null &
    pids[i + 100]=$!
done
wait "${pids[@]}"
list=$(api GET /api/v1/namespaces/default/services)
is "$(jq '.items|length' <<<"$list")" 41 "both create Services at once"
is "$(jq '[.items[].spec.clusterIP]|unique|length' <<<"$list")" 41 "no cluster IP twice"
is "$(jq '[.items[].spec.ports[0].nodePort|select(.)]|unique|length' <<<"$list")" 40 "no node port twice"
done_testing
