#!/usr/bin/env bash
# A second machine joins with the line that the server prints; pods on both reach each other, Services and names;
# what goes wrong is told apart; reset leaves nothing.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/nodes.sh"
. "$TOP/tests/lib/snapshot.sh"
nodes_net 3
# What there is of node 2. (Groups of the other nodes come and go beside it.)
snapshot_2() { (T=$(root 2) ROOT=$(root 2) NET="nsenter --net=/run/netns/cj$$_2" snapshot | sed '/coracle-test-'$$'-[13]$/d'); }
snapshot_2 >"$T/before"

node_up --image "$B/share/coracle/hello.tar" >"$T/up.log" 2>&1 || { cat "$T/up.log" >&2; nodes_logs; bail "no cluster"; }
line=$(on 1 "$CORACLE" token create --print-join-command)
like "$line" '^coracle join 10\.79\.0\.1:6443 --token [a-z0-9]{6}\.[a-z0-9]{16} --discovery-token-ca-cert-hash sha256:[0-9a-f]{64}$' "the server prints the line"
read -ra words <<<"${line#coracle join }"
server=${words[0]} token=${words[2]} pin=${words[4]}

# ---- what goes wrong, each told apart; nothing is left ----
refused() { # DESCRIPTION REGEX FLAGS…
    local d=$1 re=$2 out
    shift 2
    out=$(node_join 2 "$@" 2>&1) && fail "$d" "it joined" "$out" || like "$out" "$re" "$d"
    [ -z "$(ls -A "$(root 2)/etc/coracle" 2>/dev/null)" ] || fail "$d: files were left" "$(find "$(root 2)/etc/coracle")"
}
refused "a wrong pin" "which is not the pin that was given" "$server" --token "$token" --discovery-token-ca-cert-hash "sha256:$(printf '0%.0s' {1..64})"
refused "no pin" "discovery-token-ca-cert-hash is missing" "$server" --token "$token"
refused "an unknown token" "knows no token aaaaaa, or it has expired" "$server" --token aaaaaa.0123456789abcdef --discovery-token-ca-cert-hash "$pin"
refused "a wrong secret" "the token's second half is not the cluster's" "$server" --token "${token%.*}.0123456789abcdef" --discovery-token-ca-cert-hash "$pin"
k -n kube-system patch secret "bootstrap-token-${token%.*}" -p '{"stringData":{"usage-bootstrap-authentication":"false"}}' >/dev/null
refused "a token that is for signing only" "does not let these credentials ask for a certificate" "$server" --token "$token" --discovery-token-ca-cert-hash "$pin"
k -n kube-system patch secret "bootstrap-token-${token%.*}" -p '{"stringData":{"usage-bootstrap-authentication":"true"}}' >/dev/null
refused "a port where nothing listens" "nothing listens at 10\.79\.0\.1:6444" 10.79.0.1:6444 --token "$token" --discovery-token-ca-cert-hash "$pin"
on 1 iptables-nft -I INPUT -p tcp --dport 6443 -s 10.79.0.2 -j DROP
refused "a blocked port" "10\.79\.0\.1:6443 does not answer: .*firewall" "$server" --token "$token" --discovery-token-ca-cert-hash "$pin"
on 1 iptables-nft -D INPUT -p tcp --dport 6443 -s 10.79.0.2 -j DROP
cat >"$T/late.py" <<'END'
import http.server, socketserver, ssl, sys
class Late(http.server.BaseHTTPRequestHandler):
    def date_time_string(self, timestamp=None): return "Thu, 01 Jan 2015 00:00:00 GMT"
    def do_GET(self): self.send_error(404)
s = socketserver.TCPServer(("10.79.0.1", 6445), Late)  # HTTPServer looks up the name of the address
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.load_cert_chain(*sys.argv[1:3])
s.socket = c.wrap_socket(s.socket, server_side=True)
s.serve_forever()
END
nsenter --net=/run/netns/cj$$_1 python3 "$T/late.py" "$(root 1)"/etc/coracle/pki/apiserver.{crt,key} 2>/dev/null &
late=$!
eventually 10 on 2 bash -c ': </dev/tcp/10.79.0.1/6445'
refused "a clock that is off" "this machine's clock is [0-9]+ minutes ahead of that of 10\.79\.0\.1:6445: set it" 10.79.0.1:6445 --token "$token" --discovery-token-ca-cert-hash "$pin"
kill "$late"
refused "a name that is taken" "a node called node1 is Ready in the cluster already" "$server" --token "$token" --discovery-token-ca-cert-hash "$pin" --node-name node1
nsenter --net=/run/netns/cj$$_2 "$B/tests/bin/echo" serve x tcp:10250 & # not by `on`, whose process would be killed in its place
echo=$!
eventually 5 on 2 bash -c ': </dev/tcp/127.0.0.1/10250'
refused "a port in use" "port 10250: in use" "$server" --token "$token" --discovery-token-ca-cert-hash "$pin"
kill "$echo"
mkdir -p "$(root 2)/var/lib/kubelet/pki"
echo theirs >"$(root 2)/var/lib/kubelet/pki/key"
refused "a machine with another kubelet's identity" "var/lib/kubelet/pki is there: this machine is, or was, a node already" "$server" --token "$token" --discovery-token-ca-cert-hash "$pin"
is "$(cat "$(root 2)/var/lib/kubelet/pki/key" 2>&1)" theirs "... which stays"
rm -r "$(root 2)/var/lib/kubelet"

# ---- joining ----
join() { node_join "$1" "$server" --token "$token" --discovery-token-ca-cert-hash "$pin" "${@:2}" >"$T/join$1.log" 2>&1; }
ok "a machine joins" join 2 --node-labels disk=ssd,node.kubernetes.io/rack=r1 --register-with-taints dedicated=db:PreferNoSchedule ||
    { cat "$T/join2.log" >&2; nodes_logs 15; bail "no second node"; }
like "$(cat "$T/join2.log")" "flannel +on +a Coracle cluster.*Node node2 is Ready" "and says what runs there"
like "$(k get nodes -o wide 2>&1)" "node2 +Ready .* 10\.79\.0\.2 " "kubectl sees it"
is "$(k get node node2 -o 'jsonpath={.metadata.labels.disk} {.metadata.labels.node\.kubernetes\.io/rack} {.spec.taints[0].key}={.spec.taints[0].value}:{.spec.taints[0].effect}')" \
    "ssd r1 dedicated=db:PreferNoSchedule" "with its labels and taints"
ok "joining twice" join 2
like "$(cat "$T/join2.log")" "has joined https://10\.79\.0\.1:6443 already: node node2 is Ready" "is harmless"
ok "the token is not kept on the node" test ! -e "$(root 2)/etc/coracle/bootstrap.kubeconfig"
out=$(node_join 1 "$server" --token "$token" --discovery-token-ca-cert-hash "$pin" 2>&1) && fail "the server joins itself" || like "$out" "a cluster's server is set up on this machine" "a server does not join"

# ---- pods of both nodes ----
host_flags 2
ok "an image for it" on 2 "$CORACLE" image import --root "$(root 2)" "$B/share/coracle/hello.tar"
for n in 1 2; do
    k apply -f - <<END >/dev/null
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p$n","labels":{"app":"p"}},"spec":{"nodeSelector":{"kubernetes.io/hostname":"node$n"},"containers":[{"name":"c","image":"coracle.local/hello:v1","imagePullPolicy":"IfNotPresent"}]}}
END
done
k apply -f - >/dev/null <<END
{"apiVersion":"v1","kind":"Service","metadata":{"name":"p"},"spec":{"selector":{"app":"p"},"type":"NodePort","ports":[{"port":80,"targetPort":8080,"nodePort":30080}]}}
END
ok "a pod on each runs" k wait pod p1 p2 --for=condition=Ready --timeout=$((60 * SLOW))s || nodes_logs 10
pod_ip() { k get pod "p$1" -o 'jsonpath={.status.podIP}'; }
IP1=$(pod_ip 1) IP2=$(pod_ip 2) VIP=$(k get svc p -o 'jsonpath={.spec.clusterIP}')
isnt "${IP1%.*}" "${IP2%.*}" "with addresses of its own range"
sandbox_net() { echo "$(root "$1")"/run/coracle/sandboxes/*/ns/net; }
from() { local n=$1; shift; nsenter --net="$(sandbox_net "$n")" "$@"; }
asks() { from "$1" curl -sS --max-time 2 "http://$2/"; }
ok "the first node's pod reaches the second's" eventually 10 asks 1 "$IP2:8080"
ok "... and the other way round" eventually 10 asks 2 "$IP1:8080"
answers() { for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do asks "$1" "$VIP" || return; done | grep -o 'from p[12]' | sort -u | xargs; }
for n in 1 2; do ok "the Service answers node $n's pod from both" eventually 10 test "$(answers $n)" = "from p1 from p2"; done
mtu() { from "$1" ip -j link show eth0 | jq -r '.[0].mtu'; }
is "$(mtu 1) $(mtu 2)" "1450 1450" "pods have the overlay's MTU"
for n in 1 2; do like "$(outside curl -sS --max-time 3 "http://10.79.0.$n:30080/" 2>&1)" "Hello from p" "the node port of node $n answers from outside"; done
like "$(k logs p2 2>&1)" "listening" "kubectl logs reaches the second node"
like "$(k exec p2 -- /hello --version 2>&1; k get --raw /api/v1/nodes/node2/proxy/healthz 2>&1)" "ok" "... and the proxy to its kubelet"

# ---- another address ----
on 2 ip addr del 10.79.0.2/24 dev eth0
on 2 ip addr add 10.79.0.22/24 dev eth0
on 2 ip route replace default via 10.79.0.254
address_is() { [ "$(k get node node2 -o 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}')" = "$1" ]; }
ok "a node whose address changes tells so" eventually 60 address_is 10.79.0.22 || nodes_logs 6
ok "... and is reached there: pods" eventually 60 asks 1 "$IP2:8080"
ok "... its kubelet" eventually 60 k logs p2
on 2 ip addr del 10.79.0.22/24 dev eth0
on 2 ip addr add 10.79.0.2/24 dev eth0
on 2 ip route replace default via 10.79.0.254
ok "... and back" eventually 60 address_is 10.79.0.2
ok "... pods" eventually 60 asks 2 "$IP1:8080"

# ---- the agent goes, and comes ----
agent() { cat "$(root 2)/run/coracle/supervisor/lock"; }
kill -9 "$(agent)"
ok "a killed agent's pods go on" asks 1 "$IP2:8080"
ok "joining again starts it" join 2
like "$(cat "$T/join2.log")" "already: node node2 is Ready" "... and finds what runs"
is "$(k get pod p2 -o 'jsonpath={.status.containerStatuses[0].restartCount}')" 0 "no container restarted"

ok "a third machine joins by a file" eval 'sed "/client-/d" "$KUBECONFIG" >"$T/discovery" && node_join 3 --discovery-file "$T/discovery" --token "$token" >"$T/join3.log" 2>&1' || cat "$T/join3.log" >&2
like "$(k get nodes 2>&1)" "node3 +Ready" "... and is Ready"

# ---- reset ----
ok "reset on the second" node_reset 2
snapshot_2 >"$T/after"
is "$(diff "$T/before" "$T/after")" "" "leaves the namespace as it was"
like "$(k get node node2 2>&1)" "node2 +NotReady" "the cluster knows that it is gone"
ok "it may join again" join 2 || cat "$T/join2.log" >&2
like "$(k get node node2 2>&1)" "node2 +Ready" "... and is Ready"
# The old pod is bound to the node still: its image, gone by the reset, is pulled in vain, by a name that nobody here
# looks up. That holds up nothing.
pulls() { [ "$(k get pod p2 -o 'jsonpath={.status.containerStatuses[0].state.waiting.reason}')" != "" ]; }
ok "a pod waits for its image" eventually 20 pulls
ok "reset while names are looked up" node_reset 2
is "$(diff "$T/before" <(snapshot_2))" "" "... leaves nothing either"
done_testing
