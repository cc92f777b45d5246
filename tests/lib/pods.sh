# Pods of a node under an API server of the test's own, for tests of the kubelet: source after
# kubelet.sh. Pods are bound to the node n1; every one is in the namespace default.
#
#   create NAME SPEC [METADATA]   makes one; SPEC and METADATA are JSON
#   container COMMAND [MORE]      a container "c" that runs a shell command, JSON
#   get PATH JQ, pod_is NAME JQ TEXT, ready NAME, absent NAME, has_event NAME REASON
pods=/api/v1/namespaces/default/pods
get() { api GET "$1" | jq -r "$2"; }
pod_is() { [ "$(get "$pods/$1" "$2")" = "$3" ]; }
ready() { pod_is "$1" '.status.conditions[]? | select(.type=="Ready") | .status' "${2:-True}"; }
absent() { pod_is "$1" .reason NotFound; }
has_event() { api GET "/api/v1/namespaces/default/events" | jq -e --arg o "$1" --arg r "$2" '.items[] | select(.involvedObject.name==$o and .reason==$r)'; }
# event_says NAME REASON REGEX
event_says() {
    api GET "/api/v1/namespaces/default/events" | jq -e --arg o "$1" --arg r "$2" --arg m "$3" \
        '.items[] | select(.involvedObject.name==$o and .reason==$r and (.message|test($m)))'
}
create() {
    api_json POST $pods "$(jq -cn --arg n "$1" --argjson s "$2" --argjson m "${3:-{\}}" \
        '{apiVersion:"v1",kind:"Pod",metadata:({name:$n,labels:{app:$n}}+$m),spec:({nodeName:"n1",terminationGracePeriodSeconds:3}+$s)}')"
}
SLEEP='trap "exit 0" TERM; while :; do sleep 0.05; done'
container() { jq -cn --arg c "$1" --argjson m "${2:-{\}}" '{name:"c",image:"localhost/bb:1",command:["sh","-c",$c]}+$m'; }
# spec CONTAINER [MORE]: the specification of a pod with this container.
spec() { jq -cn --argjson c "$1" --argjson m "${2:-{\}}" '{containers:[$c]}+$m'; }
config_map() { api_json POST /api/v1/namespaces/default/configmaps "$(jq -cn --arg n "$1" --argjson d "$2" '{metadata:{name:$n},data:$d}')" >/dev/null; }
secret() { api_json POST /api/v1/namespaces/default/secrets "$(jq -cn --arg n "$1" --argjson d "$2" '{metadata:{name:$n},stringData:$d}')" >/dev/null; }
# merge PATH JSON: a merge patch.
merge() { api PATCH "$1" -H 'Content-Type: application/merge-patch+json' --data-binary "$2" >/dev/null; }
waiting() { pod_is "$1" '.status.containerStatuses[0].state.waiting.reason' "$2"; }
waiting_says() { get "$pods/$1" '.status.containerStatuses[0].state.waiting.message' | grep -q "$2"; }
