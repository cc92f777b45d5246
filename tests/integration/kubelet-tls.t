#!/usr/bin/env bash
# The kubelet's certificates: a bootstrap token becomes a client certificate, the server's one is asked for; both are
# renewed while pods run. The signer's certificates live for some seconds only.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up --authorization-mode Node,RBAC --enable-bootstrap-token-auth
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
csrs=/apis/certificates.k8s.io/v1/certificatesigningrequests
pki=$R/var/lib/kubelet/pki
api_json POST /api/v1/namespaces/kube-system/secrets '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"bootstrap-token-abcdef"},"type":"bootstrap.kubernetes.io/token","stringData":{"token-id":"abcdef","token-secret":"0123456789abcdef","usage-bootstrap-authentication":"true"}}' >/dev/null
sed "s,client-certificate:.*,token: abcdef.0123456789abcdef}}],; /client-key/d" "$T/kubeconfig" >"$T/bootstrap"
cat >"$T/config.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
rotateCertificates: true
serverTLSBootstrap: true
authentication: {x509: {clientCAFile: $T/pki/ca.crt}}
END
FLAGS=(--config "$T/config.yaml" --kubeconfig "$R/etc/kubernetes/kubelet.conf" --bootstrap-kubeconfig "$T/bootstrap")
mkdir -p "$R/etc/kubernetes"
kubelet_start "${FLAGS[@]}"

serving() { in_ns timeout 5 openssl s_client -connect 127.0.0.1:10250 </dev/null 2>/dev/null | openssl x509 -noout "$@" 2>/dev/null; }
subject_is() { [ "$(serving -subject -nameopt RFC2253)" = "subject=$1" ]; }
serial() { openssl x509 -in "$pki/kubelet-client-current.pem" -noout -serial; }
requests() { api GET $csrs | jq "[.items[]|select(.spec.signerName|endswith(\"$1\"))]|length"; }
has_requests() { [ "$(requests "$1")" -ge "$2" ]; }

# ---- nobody approves yet ----
ok "it asks for a client certificate with its token" eventually 40 has_requests kube-apiserver-client-kubelet 1
is "$(api GET $csrs | jq -c '.items[0].spec|[.username,.usages]')" '["system:bootstrap:abcdef",["digital signature","client auth"]]' "... as upstream does"
ok "the server serves at once, with a certificate of its own" eventually 20 subject_is CN=n1
cat >"$MANIFESTS/.s" <<END
apiVersion: v1
kind: Pod
metadata: {name: static}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: "localhost/bb:1", command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.05; done']}]}
END
mv "$MANIFESTS/.s" "$MANIFESTS/static.yaml"
ok "static pods run meanwhile" eventually 40 is_running "static-n1/c 0"
is "$(ls "$R/etc/kubernetes" | grep -c kubelet.conf)" 0 "no kubeconfig is written before there is a certificate"

# ---- a signer ----
nsenter --net=/run/netns/"$NS" "$B/libexec/coracle/coracle-controllers" --kubeconfig "$T/kubeconfig" --cluster-signing-cert-file "$T/pki/ca.crt" \
    --cluster-signing-key-file "$T/pki/ca.key" --cluster-signing-duration 20s >"$T/controllers.log" 2>&1 &
CONTROLLERS=$!
at_end kill "$CONTROLLERS"
node_ready() { [ "$(get /api/v1/nodes/n1 '.status.conditions[]?|select(.type=="Ready")|.status')" = True ]; }
ok "approved, the node registers" eventually 40 node_ready || diag "$(tail -n 20 "$T/kubelet.log")"
is "$(readlink "$pki/kubelet-client-current.pem" | sed 's/[0-9]/9/g')" "kubelet-client-9999-99-99-99-99-99.pem" "the certificate's file, as upstream names it"
is "$(stat -L -c %a "$pki/kubelet-client-current.pem")" 600 "... for us only"
is "$(openssl x509 -in "$pki/kubelet-client-current.pem" -noout -subject -nameopt RFC2253)" "subject=CN=system:node:n1,O=system:nodes" "... its subject"
like "$(cat "$R/etc/kubernetes/kubelet.conf")" "client-certificate: .?$pki/kubelet-client-current.pem" "... and the kubeconfig that names it"
first=$(serial)
ok "the server's certificate is the cluster's" eventually 30 subject_is CN=system:node:n1,O=system:nodes
like "$(serving -ext subjectAltName | xargs)" "DNS:n1, IP Address:192.0.2.10" "... for the node's name and address"
server_first=$(serving -serial)
broken() { grep -c "API server cannot be followed" "$T/kubelet.log"; }
watches=$(broken)
metric() {
    in_ns curl -sk --max-time 10 --cert "$T/pki/admin.crt" --key "$T/pki/admin.key" https://127.0.0.1:10250/metrics | sed -n "s/^$1 //p"
}

# ---- renewal ----
renewed() { [ "$(serial)" != "$first" ]; }
ok "the client certificate is renewed before it ends" eventually 40 renewed
like "$(api GET $csrs | jq -r '.items[].spec|select(.signerName|endswith("client-kubelet"))|.username')" "system:node:n1" "... the node asks for it itself"
server_renewed() { [ "$(serving -serial)" != "$server_first" ] && serving -checkend 0 >/dev/null; }
ok "the server's too" eventually 40 server_renewed
valid_until=$(date -d "$(openssl x509 -in "$pki/kubelet-client-current.pem" -noout -enddate | cut -d= -f2)" +%s)
is "$(find "$pki" -name 'kubelet-client-2*' | wc -l)" 1 "old files go"
id=$(container_id static-n1 c)
past_first() { [ "$(date +%s)" -gt "$valid_until" ]; }
eventually 40 past_first
create late "$(spec "$(container "$SLEEP")")" >/dev/null
ok "after the end of the one before: pods still come" eventually 40 ready late
is "$(container_id static-n1 c)" "$id" "... and nothing was started again"
second=$(serial)
renewed_again() { [ "$(serial)" != "$first" ] && [ "$(serial)" != "$second" ]; }
ok "it is renewed again and again" eventually 40 renewed_again
is "$(broken)" "$watches" "... and no watch was broken by it"
for m in client server; do
    left=$(metric "kubelet_certificate_manager_${m}_ttl_seconds")
    ok "metrics: the $m certificate's time to live ($left)" [ "${left:-99}" -gt 0 -a "${left:-99}" -le 20 ]
done
like "$(metric kubelet_certificate_manager_client_expiration_renew_errors)" '^[0-9]+$' "... and what failed"

# ---- a restart, too late ----
kubelet_stop
is $? 0 "SIGTERM: an orderly end"
last=$(serial)
valid_until=$(date -d "$(openssl x509 -in "$pki/kubelet-client-current.pem" -noout -enddate | cut -d= -f2)" +%s)
eventually 40 past_first
in_ns ip addr add 192.0.2.11/32 dev lo
kubelet_start "${FLAGS[@]}" --node-ip 192.0.2.11
new() { [ "$(serial)" != "$last" ]; }
ok "an expired certificate is bootstrapped anew" eventually 40 new
create again "$(spec "$(container "$SLEEP")")" >/dev/null
ok "... and works" eventually 40 ready again
for_other() { [[ $(serving -ext subjectAltName | xargs) == *"DNS:n1, IP Address:192.0.2.11"* ]]; }
ok "the node has another address: so has its server's certificate" eventually 40 for_other || diag "$(serving -ext subjectAltName)" "$(tail -n 5 "$T/controllers.log")"
kubelet_stop
KUBELET_PID=
refused() { in_ns timeout 10 "$LIBEXEC/coracle-kubelet" --root "$R" --hostname-override n1 --cgroup-root "$CGROUP" "$@" 2>&1; }
like "$(refused --bootstrap-kubeconfig "$T/bootstrap")" "--kubeconfig must say where" "a token alone is refused"
like "$(refused --kubeconfig "$T/none" --bootstrap-kubeconfig "$T/nothing")" "$T/nothing" "a missing file is named"
like "$(refused --rotate-server-certificates)" "serverTLSBootstrap: there is no API server" "nobody to ask: refused"
like "$(refused --tls-cert-file "$T/pki/ca.crt")" "tlsCertFile: tlsPrivateKeyFile is missing" "half a pair is refused"
unlike "$(cat "$T/kubelet.log")" "AddressSanitizer|runtime error" "no sanitizer report"
done_testing
