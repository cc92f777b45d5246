#!/usr/bin/env bash
# Who may call the kubelet: client certificates, tokens (TokenReview), rights (SubjectAccessReview), under RBAC.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up --authorization-mode Node,RBAC
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
pki_ca other
pki_cert ca node '/O=system:nodes/CN=system:node:n1' 'extendedKeyUsage=clientAuth\n'
pki_cert ca bob '/O=dev/CN=bob' 'extendedKeyUsage=clientAuth\n'
pki_cert other mallory '/O=system:masters/CN=admin' 'extendedKeyUsage=clientAuth\n'
sed "s,pki/admin,pki/node,g" "$T/kubeconfig" >"$T/node.kubeconfig"
FLAGS=(--kubeconfig "$T/node.kubeconfig" --client-ca-file "$T/pki/ca.crt" --authorization-webhook-cache-unauthorized-ttl 0s)
kubelet_start "${FLAGS[@]}"

url=https://127.0.0.1:10250
# call PATH CURL-ARGUMENTS: the answer; its code goes to $T/code
call() {
    local path=$1
    shift
    in_ns curl -sk --max-time 20 -o "$T/answer" -w '%{http_code}' "$@" "$url$path" >"$T/code"
    cat "$T/answer" 2>/dev/null
    rm -f "$T/answer"
}
code() { call "$@" >/dev/null; cat "$T/code"; }
cert() { echo --cert "$T/pki/$1.crt" --key "$T/pki/$1.key"; }
alice=(-H "Authorization: Bearer secret-token")
up() { [ "$(code /healthz $(cert admin))" = 200 ]; }
ok "it serves" eventually 40 up || bail "$(tail -n 5 "$T/kubelet.log")"

# ---- who is it? ----
is "$(call /pods) $(cat "$T/code")" "Unauthorized 401" "nobody"
is "$(code /healthz)" 401 "... not even healthz, here"
is "$(in_ns curl -s --max-time 5 -w ' %{http_code}' http://127.0.0.1:10248/healthz)" "ok 200" "healthz has a port of its own"
is "$(in_ns curl -s --max-time 5 -o /dev/null -w '%{http_code}' http://127.0.0.1:10248/pods)" 404 "... with nothing else"
is "$(code /pods $(cert mallory))" 401 "a certificate of another CA"
is "$(code /pods -H 'Authorization: Bearer nonsense')" 401 "a token that nobody knows"
is "$(call /pods $(cert bob))" "Forbidden (user=bob, verb=get, resource=nodes, subresource(s)=[pods proxy])" "a certificate says who; he has no rights"
is "$(call /stats/summary "${alice[@]}") $(cat "$T/code")" "Forbidden (user=alice, verb=get, resource=nodes, subresource(s)=[stats]) 403" "a token says who"
is "$(code /pods $(cert admin) -X HEAD -I)" 405 "a method that means nothing here"

# ---- what may he do? ----
rbac=/apis/rbac.authorization.k8s.io/v1
role() { # NAME USER RESOURCES VERBS
    api_json POST $rbac/clusterroles "{\"metadata\":{\"name\":\"$1\"},\"rules\":[{\"verbs\":[$4],\"apiGroups\":[\"\"],\"resources\":[$3]}]}" >/dev/null
    api_json POST $rbac/clusterrolebindings "{\"metadata\":{\"name\":\"$1\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"$1\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"$2\"}]}" >/dev/null
}
gets() { [ "$(code "$@")" = 200 ]; }
role see-pods alice '"nodes/pods","nodes/configz"' '"get"'
ok "nodes/pods opens pods" eventually 20 gets /pods "${alice[@]}"
is "$(call /configz "${alice[@]}" | jq -c '.kubeletconfig | [.authentication.x509.clientCAFile, .authorization.webhook, .healthzPort]')" "[\"$T/pki/ca.crt\",{\"cacheUnauthorizedTTL\":\"0s\",\"cacheAuthorizedTTL\":\"5m\"},10248]" "nodes/configz opens configz: what holds, flags and defaults"
is "$(code "/exec/default/p/c?command=id&output=1" "${alice[@]}" -X POST)" 403 "... and nothing else"
role proxy bob '"nodes/proxy"' '"get"'
ok "nodes/proxy opens what had no name of its own" eventually 20 gets /runningpods/ $(cert bob)
create p "$(spec "$(container "$SLEEP")")" >/dev/null
ok "a pod runs" eventually 40 ready p
for word in exec attach portForward; do
    is "$(code "/$word/default/p/c?command=id&output=1" $(cert bob) -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')" 403 "a WebSocket to $word is more than reading, though it is a GET"
done
is "$(call "/run/default/p/c?cmd=id" $(cert bob) -X POST)" "Forbidden (user=bob, verb=create, resource=nodes, subresource(s)=[proxy])" "run is more than reading"
is "$(call "/run/default/p/c?cmd=echo%20hello" $(cert admin) -X POST)" hello "... and does it"
is "$(call "/run/default/p/c?cmd=false" $(cert admin) -X POST) $(cat "$T/code")" " 500" "... a command that fails"
is "$(call "/run/default/p/c" $(cert admin) -X POST) $(cat "$T/code")" "cmd is missing 400" "... or is missing"
is "$(get "$pods/p/log" . | head -1)" "" "the API server is let in"

# ---- answers hold for a while ----
api DELETE $rbac/clusterrolebindings/see-pods >/dev/null
is "$(code /pods "${alice[@]}")" 200 "a yes holds for a while"
apiserver_stop KILL 2>/dev/null
is "$(code /pods "${alice[@]}")" 200 "... also without the API server"
is "$(call /configz $(cert bob)) $(cat "$T/code")" "Authorization error (user=bob, verb=get, resource=nodes, subresource(s)=[configz proxy]) 500" "another question cannot be answered"
is "$(code /pods -H 'Authorization: Bearer another')" 401 "... another token neither"
kubelet_stop
is $? 0 "SIGTERM: an orderly end"

# ---- by configuration ----
cat >"$T/config.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
enableDebuggingHandlers: false
END
kubelet_start --config "$T/config.yaml" --client-ca-file "$T/pki/ca.crt"
ok "anonymous, AlwaysAllow: everybody may" eventually 40 gets /pods
is "$(code /pods $(cert mallory))" 401 "... but who brings something that does not hold"
is "$(call /runningpods) $(cat "$T/code")" "Debug endpoints are disabled. 405" "enableDebuggingHandlers: false"
kubelet_stop
KUBELET_PID=
refused() { in_ns timeout 10 "$LIBEXEC/coracle-kubelet" --root "$R" --hostname-override n1 --cgroup-root "$CGROUP" "$@" 2>&1; }
like "$(refused --authorization-mode Webhook)" "authorization.mode: Webhook: there is no API server to ask" "Webhook without an API server is refused"
like "$(refused --authorization-mode No)" 'authorization.mode: ."No." is neither' "an unknown mode is refused"
like "$(refused --authentication-token-webhook-cache-ttl soon)" 'authentication.webhook.cacheTTL: ."soon." is not a duration' "a bad duration too"
like "$(refused --port x)" '--port: ."x." is not a number' "a bad number names the flag"
unlike "$(cat "$T/kubelet.log")" "AddressSanitizer|runtime error" "no sanitizer report"
done_testing
