#!/usr/bin/env bash
# How a kubelet comes to its client certificate when things go wrong: who refuses it and why is told apart, one request
# is made however often it is killed, and a denied one is followed by another. kubelet-tls.t has the rest.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up --authorization-mode Node,RBAC --enable-bootstrap-token-auth
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
csrs=/apis/certificates.k8s.io/v1/certificatesigningrequests
pki=$R/var/lib/kubelet/pki
conf=$R/etc/kubernetes/kubelet.conf
mkdir -p "$R/etc/kubernetes"
# token ID SECRET [EXPIRATION]
token() {
    api_json POST /api/v1/namespaces/kube-system/secrets "$(jq -nc --arg id "$1" --arg secret "$2" --arg at "${3:-}" '{apiVersion:"v1",kind:"Secret",
        metadata:{name:("bootstrap-token-"+$id)},type:"bootstrap.kubernetes.io/token",stringData:({"token-id":$id,"token-secret":$secret,
        "usage-bootstrap-authentication":"true"}+(if $at=="" then {} else {expiration:$at} end))}')" >/dev/null
}
# bootstrap TOKEN [SERVER [CA]]: the file of a new node
bootstrap() {
    cat >"$T/bootstrap" <<END
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "${2:-https://127.0.0.1:6443}", certificate-authority: ${3:-$T/pki/ca.crt}}}]
users: [{name: u, user: {token: $1}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
END
}
start() { kubelet_start --client-ca-file "$T/pki/ca.crt" --kubeconfig "$conf" --bootstrap-kubeconfig "$T/bootstrap" "$@"; }
says() { grep -Eq "$1" "$T/kubelet.log"; }
# tells WORDS DESCRIPTION: a kubelet that is started now logs that, and runs on
tells() {
    : >"$T/kubelet.log"
    start
    ok "$2" eventually 40 says "no certificate yet.*$1" || diag "$(tail -n 5 "$T/kubelet.log")"
    ok "... and it tries on" kill -0 "$KUBELET_PID"
    kubelet_kill9
}
ttl() {
    in_ns curl -sk --max-time 10 --cert "$T/pki/admin.crt" --key "$T/pki/admin.key" https://127.0.0.1:10250/metrics |
        sed -n 's/^kubelet_certificate_manager_client_ttl_seconds //p'
}
requests() { api GET $csrs | jq '.items|length'; }
has_requests() { [ "$(requests)" = "$1" ]; }

# ---- refused, by whom and why ----
bootstrap none.0123456789abcdef https://127.0.0.1:6444
tells "https://127.0.0.1:6444 cannot be reached" "a server that is not there"
pki_ca other
bootstrap abcdef.0123456789abcdef https://127.0.0.1:6443 "$T/pki/other.crt"
tells "TLS with https://127.0.0.1:6443 fails .*certificate" "a server that another CA vouches for"
bootstrap abcdef.0123456789abcdef
tells "does not accept the bootstrap token" "a token that is not known"
token expire 0123456789abcdef 2020-01-01T00:00:00Z
bootstrap expire.0123456789abcdef
tells "does not accept the bootstrap token: it has expired" "a token that has expired"
bootstrap secret-token
tells "does not let it ask for certificates" "a token of somebody who may not ask"
is "$(requests)" 0 "none of them has made a request"

# ---- killed while it waits ----
token abcdef 0123456789abcdef
bootstrap abcdef.0123456789abcdef
start
ok "with a good token there is a request" eventually 40 has_requests 1
key=$(openssl pkey -in "$pki/kubelet-client.key.tmp" -pubout)
is "$(stat -c %a "$pki/kubelet-client.key.tmp")" 600 "its key is kept, for us only"
name=$(api GET $csrs | jq -r '.items[0].metadata.name')
kubelet_kill9
: >"$T/kubelet.log"
start
ok "killed and started again, it finds its request" eventually 40 says "certificate request is there already.*$name"
is "$(requests)" 1 "... and makes no other"
is "$(openssl pkey -in "$pki/kubelet-client.key.tmp" -pubout)" "$key" "... for the same key"

# ---- denied ----
settle() { # settle NAME CONDITION
    api PATCH "$csrs/$1/approval" -H 'Content-Type: application/strategic-merge-patch+json' \
        --data-binary '{"status":{"conditions":[{"type":"'"$2"'","status":"True","reason":"Test","message":"not today"}]}}' >/dev/null
}
settle "$name" Denied
ok "a denied request is told" eventually 20 says "$name was denied: not today"
ok "... and followed by another" eventually 20 has_requests 2
isnt "$(openssl pkey -in "$pki/kubelet-client.key.tmp" -pubout)" "$key" "... for another key"
is "$(find "$conf" "$pki" -name 'kubelet*.conf' -o -name 'kubelet-client*.pem' 2>/dev/null | wc -l)" 0 "there is no certificate and no kubeconfig yet"

# ---- signed ----
nsenter --net=/run/netns/"$NS" "$B/libexec/coracle/coracle-controllers" --kubeconfig "$T/kubeconfig" --cluster-signing-cert-file "$T/pki/ca.crt" \
    --cluster-signing-key-file "$T/pki/ca.key" >"$T/controllers.log" 2>&1 &
CONTROLLERS=$!
at_end kill "$CONTROLLERS"
node_ready() { api GET /api/v1/nodes/n1 | jq -e '.status.conditions[]?|select(.type=="Ready" and .status=="True")' >/dev/null; }
ok "approved, the node registers and is ready" eventually 60 node_ready || diag "$(tail -n 20 "$T/kubelet.log")"
no_key() { [ ! -e "$pki/kubelet-client.key.tmp" ]; }
ok "the key of the request is gone" eventually 10 no_key
is "$(stat -c %a "$conf")" 600 "the kubeconfig is for us only"
serial() { openssl x509 -in "$pki/kubelet-client-current.pem" -noout -serial; }
first=$(serial)

# ---- killed after the certificate, before the kubeconfig ----
kubelet_stop
openssl pkey -in "$pki/kubelet-client-current.pem" -out "$pki/kubelet-client.key.tmp"
rm "$conf" "$pki"/kubelet-client-*.pem
: >"$T/kubelet.log"
start
has_conf() { [ -e "$conf" ]; }
ok "killed in the middle, it ends what it had begun" eventually 40 has_conf
is "$(serial)" "$first" "... with the certificate that was there"
ok "... and forgets the key" eventually 10 no_key
is "$(requests)" 2 "... without another request"
kubelet_kill9

# ---- the token is not needed any more ----
rm "$T/bootstrap"
openssl pkey -in "$pki/kubelet-client-current.pem" -out "$pki/kubelet-client.key.tmp"
api DELETE /api/v1/nodes/n1 >/dev/null
start
ok "with a certificate that holds it starts without the token's file" eventually 60 node_ready || diag "$(tail -n 20 "$T/kubelet.log")"
ok "... and forgets a key that was left" eventually 10 no_key

# ---- somebody else puts a certificate there ----
# put CA: one of that authority for this node
put() {
    pki_cert "$1" node /O=system:nodes/CN=system:node:n1 'extendedKeyUsage=clientAuth\n'
    cat "$T/pki/node.crt" "$T/pki/node.key" >"$pki/by-hand.$1.pem"
    ln -s "by-hand.$1.pem" "$pki/link"
    mv -T "$pki/link" "$pki/kubelet-client-current.pem"
}
replaced() { [ "$(grep -c "client certificate was replaced" "$T/kubelet.log")" = "$1" ]; }
# The file's end and what the metrics tell of it; the second certificate ends well after the first.
ttl_is_right() {
    local ends now=$(ttl)
    ends=$(date -d "$(openssl x509 -in "$pki/kubelet-client-current.pem" -noout -enddate | cut -d= -f2)" +%s)
    local off=$((ends - $(date +%s) - now))
    [ "$off" -ge -5 ] && [ "$off" -le 5 ]
}
ok "the metrics tell how long the certificate holds" eventually 20 ttl_is_right
put other
ok "it notices" eventually 20 replaced 1
create while "$(spec "$(container "$SLEEP")")" >/dev/null
ok "the watch that runs goes on" eventually 40 is_running "while/c 0"
ok "new connections have the new certificate: one that is not accepted" eventually 40 says "(pod|Pod|status).*(Unauthorized|forbidden)" || diag "$(tail -n 20 "$T/kubelet.log")"
echo nothing >"$pki/by-hand.ca.pem"
ln -s by-hand.ca.pem "$pki/link" && mv -T "$pki/link" "$pki/kubelet-client-current.pem"
ok "what is no certificate is not taken, and that is told" eventually 20 says "client certificate is not replaced"
put ca
ok "with a good one in its place all is well again" eventually 40 replaced 2
ok "... for the pod too" eventually 40 ready while || diag "$(tail -n 20 "$T/kubelet.log")"
ok "the metrics tell of the one that is in use" eventually 20 ttl_is_right
kubelet_stop
is $? 0 "SIGTERM: an orderly end"

# ---- the node gets another address ----
in_ns ip link add e0 type veth peer name e1
for i in 5 6; do in_ns ip addr add "198.51.100.$i/32" dev e0; done
in_ns ip link set e1 up
in_ns ip link set e0 up
in_ns ip route add default dev e0 src 198.51.100.5
nsenter --net=/run/netns/"$NS" "$LIBEXEC/coracle-kubelet" --root "$R" --hostname-override n1 --cgroup-root "$CGROUP" --kubeconfig "$conf" \
    --client-ca-file "$T/pki/ca.crt" --rotate-server-certificates --v 4 >>"$T/kubelet.log" 2>&1 &
KUBELET_PID=$!
serving_for() { # serving_for ADDRESS: the cluster's certificate is for it
    local names
    names=$(in_ns timeout 5 openssl s_client -connect 127.0.0.1:10250 </dev/null 2>/dev/null | openssl x509 -noout -subject -ext subjectAltName -nameopt RFC2253)
    [[ $names == *"CN=system:node:n1,O=system:nodes"*"IP Address:$1"* ]]
}
has_address() { get /api/v1/nodes/n1 '.status.addresses[]|select(.type=="InternalIP").address' | grep -qx "$1"; }
ok "without --node-ip the address is the one that the default route has" eventually 40 has_address 198.51.100.5
ok "... for which there is a serving certificate" eventually 40 serving_for 198.51.100.5 || diag "$(tail -n 10 "$T/kubelet.log")"
in_ns ip route replace default dev e0 src 198.51.100.6
ok "when it is another, so is the node's" eventually 40 has_address 198.51.100.6 || diag "$(tail -n 10 "$T/kubelet.log")"
ok "... and the server's certificate is for it" eventually 40 serving_for 198.51.100.6 || diag "$(tail -n 10 "$T/kubelet.log")"
host_ip() { pod_is while .status.hostIP 198.51.100.6; }
ok "... and pods have it" eventually 40 host_ip
kubelet_stop
is $? 0 "SIGTERM ends it"
KUBELET_PID=
unlike "$(cat "$T/kubelet.log")" "AddressSanitizer|runtime error|LeakSanitizer" "no sanitizer report"
done_testing
