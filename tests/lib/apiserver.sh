# An API server over Debian's etcd in a network namespace, for tests: source after tap.sh.
#
#   apiserver_up [FLAG…]   makes the namespace $NS, the keys in $T/pki, starts both, waits until ready.
#                          There are no controllers: namespaces have no account but default/default
#   api METHOD PATH [CURL ARGUMENT…]   prints the answer's body; its code goes to $T/code
#   KUBECONFIG=$T/kubeconfig           an administrator, for kubectl run by `in_ns`
#   apiserver_stop SIGNAL, apiserver_start; etcd_stop SIGNAL, etcd_start
for tool in etcd openssl curl jq; do command -v $tool >/dev/null || skip_all "$tool is not installed"; done
NS=coracle-api-$$
export KUBECONFIG=$T/kubeconfig HOME=$T
APISERVER_FLAGS=()

in_ns() { nsenter --net=/run/netns/"$NS" "$@"; }

# pki_ca NAME; pki_cert CA NAME SUBJECT EXTENSIONS
pki_ca() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$T/pki/$1.key" \
        -subj "/CN=$1" -days 30 -out "$T/pki/$1.crt" 2>/dev/null
}
pki_cert() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$T/pki/$2.key" \
        -subj "$3" -out "$T/pki/$2.csr" 2>/dev/null &&
        openssl x509 -req -in "$T/pki/$2.csr" -CA "$T/pki/$1.crt" -CAkey "$T/pki/$1.key" \
            -CAcreateserial -days 30 -extfile <(printf '%b' "$4") -out "$T/pki/$2.crt" 2>/dev/null
}

etcd_start() {
    nsenter --net=/run/netns/"$NS" etcd --data-dir "$T/etcd" --listen-client-urls http://127.0.0.1:2379 \
        --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 \
        --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster default=http://127.0.0.1:2380 --unsafe-no-fsync >>"$T/etcd.log" 2>&1 &
    ETCD_PID=$!
}
etcd_stop() { kill "-$1" "$ETCD_PID" && wait "$ETCD_PID" 2>/dev/null; :; }
apiserver_start() {
    nsenter --net=/run/netns/"$NS" "$B/libexec/coracle/coracle-apiserver" --etcd-servers http://127.0.0.1:2379 \
        --advertise-address 192.0.2.10 --client-ca-file "$T/pki/ca.crt" \
        --tls-cert-file "$T/pki/server.crt" --tls-private-key-file "$T/pki/server.key" \
        --service-account-issuer https://kubernetes.default.svc.cluster.local \
        --service-account-key-file "$T/pki/sa.key" --service-account-signing-key-file "$T/pki/sa.key" \
        --service-account-mount=false --token-auth-file "$T/pki/tokens" --kubelet-client-certificate "$T/pki/admin.crt" \
        --kubelet-client-key "$T/pki/admin.key" "${APISERVER_FLAGS[@]}" >>"$T/apiserver.log" 2>&1 &
    APISERVER_PID=$!
}
apiserver_stop() { kill "-$1" "$APISERVER_PID" && wait "$APISERVER_PID"; }

api() {
    local method=$1 path=$2
    shift 2
    in_ns curl -sS --max-time 20 --cacert "$T/pki/ca.crt" --cert "$T/pki/admin.crt" \
        --key "$T/pki/admin.key" -X "$method" -o "$T/body" -w '%{http_code}' "$@" \
        "https://127.0.0.1:6443$path" >"$T/code"
    cat "$T/body" 2>/dev/null
    rm -f "$T/body"
}
# api_json METHOD PATH BODY
api_json() { api "$1" "$2" -H 'Content-Type: application/json' --data-binary "$3"; }
apiserver_ready() { [ "$(api GET /readyz)" = ok ]; }

_apiserver_down() {
    [ -z "${APISERVER_PID:-}" ] || kill -9 "$APISERVER_PID" 2>/dev/null
    [ -z "${ETCD_PID:-}" ] || kill -9 "$ETCD_PID" 2>/dev/null
    wait 2>/dev/null
    ip netns del "$NS"
}

apiserver_up() {
    APISERVER_FLAGS=("$@")
    ip netns add "$NS" || bail "cannot make a network namespace"
    at_end _apiserver_down
    in_ns ip link set lo up
    in_ns ip addr add 192.0.2.10/32 dev lo
    mkdir -p "$T/pki"
    pki_ca ca
    pki_cert ca server /CN=apiserver 'subjectAltName=IP:127.0.0.1,IP:192.0.2.10\nextendedKeyUsage=serverAuth\n'
    pki_cert ca admin /O=system:masters/CN=admin 'extendedKeyUsage=clientAuth\n' ||
        bail "cannot make certificates"
    openssl ecparam -name prime256v1 -genkey -noout -out "$T/pki/sa.key" 2>/dev/null
    echo 'secret-token,alice,1,"dev,ops"' >"$T/pki/tokens"
    cat >"$T/kubeconfig" <<END
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443", certificate-authority: $T/pki/ca.crt}}]
users: [{name: u, user: {client-certificate: $T/pki/admin.crt, client-key: $T/pki/admin.key}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
END
    etcd_start
    apiserver_start
    eventually 20 apiserver_ready || { cat "$T/apiserver.log" "$T/etcd.log" | tail -20; bail "the API server does not come up"; }
    api_json POST /api/v1/namespaces/default/serviceaccounts \
        '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}' >/dev/null
}
