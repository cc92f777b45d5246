#!/usr/bin/env bash
# nodes/NAME/proxy and pods/NAME/proxy: requests passed on to a kubelet and to a port of a pod.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up --authorization-mode RBAC --kubelet-certificate-authority "$T/pki/ca.crt"
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
FLAGS=(--kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt")
N=/api/v1/nodes/n1/proxy
registered() { [ "$(get /api/v1/nodes/n1 '.status.addresses|length > 0')" = true ]; }
code() { api "$@" >/dev/null; cat "$T/code"; }
alice() { # METHOD PATH [CURL ARGUMENT…]: as a user with few rights
    local m=$1 p=$2
    shift 2
    in_ns curl -sS --max-time 20 --cacert "$T/pki/ca.crt" -H 'Authorization: Bearer secret-token' -X "$m" -o /dev/null -w '%{http_code}' "$@" "https://127.0.0.1:6443$p"
}

# ---- the kubelet's certificate ----
kubelet_start "${FLAGS[@]}"
ok "a node" eventually 40 registered
like "$(api GET $N/healthz)" '"message":"error trying to reach https://192.0.2.10:10250/healthz: .*certificate' "a kubelet whose certificate is its own is not trusted"
is "$(cat "$T/code")" 503 "... 503"
kubelet_stop
pki_cert ca kubelet /CN=n1 'subjectAltName=IP:192.0.2.10\nextendedKeyUsage=serverAuth\n'
kubelet_start "${FLAGS[@]}" --tls-cert-file "$T/pki/kubelet.crt" --tls-private-key-file "$T/pki/kubelet.key"
healthy() { [ "$(api GET $N/healthz)" = ok ]; }
ok "one that the CA has signed is: /healthz" eventually 40 healthy
is "$(api GET $N/stats/summary | jq -r .node.nodeName)" n1 "/stats/summary"
is "$(api GET "/api/v1/nodes/n1:10250/proxy/stats/summary?only_cpu_and_memory=true" | jq -r '.node.nodeName + " " + (.node.fs|type)')" "n1 null" "... with a query, by name and port"
is "$(api GET /api/v1/nodes/https:n1:/proxy/healthz)" ok "... and scheme"
like "$(api GET $N/metrics)" '# TYPE' "/metrics"
is "$(code GET $N/no/such/thing)" 404 "the kubelet's own code comes through"
is "$(code GET $N)" 301 "without a slash: a redirect"
is "$(api GET "$N?a=b" -D "$T/head" >/dev/null; tr -d '\r' <"$T/head" | sed -n 's/^[Ll]ocation: //p')" "$N/?a=b" "... to the one with"
like "$(api GET /api/v1/nodes/n1:22/proxy/)" 'nodes are proxied to their kubelet only: https and port 10250 of node n1' "another port of a node"
is "$(code GET /api/v1/nodes/none/proxy/healthz)" 404 "a node that is not there"
is "$(code GET /api/v1/nodes/a:b:c/proxy/healthz)" 400 "a name that is none"
is "$(api GET $N/healthz -H 'Connection: Upgrade' -H 'Upgrade: websocket' | jq -r .message)" 'nodes/proxy does not carry upgraded connections' "no upgrades"
is "$(in_ns kubectl get --raw $N/healthz 2>/dev/null)" ok "kubectl get --raw"
is "$(api GET /api/v1 | jq -r '.resources[]|select(.name=="nodes/proxy")|.kind + " " + (.verbs|join(","))')" "NodeProxyOptions create,delete,get,patch,update" "discovery"


# ---- who may ----
# This server's own user at kubelets needs a role for them, not all rights.
pki_cert ca kc /CN=kube-apiserver-kubelet-client 'extendedKeyUsage=clientAuth\n'
kubelet_says() { in_ns curl -sS --max-time 20 --cacert "$T/pki/ca.crt" --cert "$T/pki/kc.crt" --key "$T/pki/kc.key" -o /dev/null -w '%{http_code}' "$@"; }
is "$(kubelet_says https://192.0.2.10:10250/stats/summary)" 200 "kube-apiserver-kubelet-client may ask kubelets"
is "$(kubelet_says https://192.0.2.10:10250/configz)" 200 "... all they tell"
is "$(kubelet_says -X POST https://192.0.2.10:10250/run/default/none/c?cmd=id)" 404 "... and run commands"
is "$(kubelet_says https://127.0.0.1:6443/api/v1/secrets)" 403 "... and nothing else"
is "$(alice GET $N/healthz)" 403 "who may not"
api_json POST /apis/rbac.authorization.k8s.io/v1/clusterroles '{"metadata":{"name":"see"},"rules":[{"apiGroups":[""],"resources":["nodes/proxy","pods/proxy"],"verbs":["get"]}]}' >/dev/null
api_json POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{"metadata":{"name":"see"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"see"},"subjects":[{"kind":"User","name":"alice","apiGroup":"rbac.authorization.k8s.io"}]}' >/dev/null
may() { [ "$(alice "$@")" = 200 ]; }
ok "get of nodes/proxy is enough to GET" eventually 10 may GET $N/healthz
is "$(alice POST $N/run/default/x/c)" 403 "... but not to POST"
is "$(alice GET /api/v1/nodes/n1)" 403 "... nor to see the node"

# ---- pods ----
httpd='mkdir -p /www/cgi-bin; echo hello >/www/index.html; echo "#!/bin/sh
echo Content-Type: text/plain; echo X-Own: yes; echo; echo \$REQUEST_METHOD \$QUERY_STRING; env | grep -ci -e secret -e \"^HTTP_AUTH\"; cat" >/www/cgi-bin/show; chmod +x /www/cgi-bin/show; httpd -p 8080 -h /www; '
create web "$(spec "$(container "$httpd$SLEEP" '{"ports":[{"containerPort":8080}]}')")" >/dev/null
ok "a pod that serves" eventually 40 ready web
W=$pods/web/proxy
served() { [ "$(api GET $W/)" = hello ]; }
ok "its first port" eventually 20 served || api GET $W/
is "$(api GET "$pods/http:web:8080/proxy/index.html")" hello "... by scheme and port"
is "$(api POST "$W/cgi-bin/show?x=1&y=a%20b" --data-binary body -H 'Authorization: Bearer secret-token' | head -3)" $'POST x=1&y=a%20b\n0\nbody' "method, query and body go through, credentials don't"
is "$(api GET "$W/cgi-bin/show" -D "$T/head" >/dev/null; grep -ic '^x-own: yes' "$T/head")" 1 "... headers come back"
like "$(api GET $pods/web:9/proxy/)" 'error trying to reach http://10.99.0.[0-9]+:9/' "a port that nobody listens on"
is "$(head -c 4000000 /dev/zero | api POST "$W/cgi-bin/show" --data-binary @- | jq -r .code)" 413 "a body that is too large"
create far "$(spec "$(container "$SLEEP")" '{"nodeName":"elsewhere"}')" >/dev/null
merge $pods/far/status '{"status":{"podIP":"169.254.169.254","podIPs":[{"ip":"169.254.169.254"}]}}'
like "$(api GET $pods/far:80/proxy/)" 'address not allowed: pod far has 169.254.169.254' "an address that no pod has"
is "$(alice GET $W/)" 200 "get of pods/proxy is enough to GET"
is "$(alice POST $W/ --data-binary x)" 403 "... but not to POST"
done_testing
