#!/usr/bin/env bash
# The cluster DNS over a real API server, asked with dig: every kind of record, changes, UDP and TCP,
# the API server away.
. "$(dirname "$0")/../lib/tap.sh"
command -v dig >/dev/null || skip_all "dig is not installed"
. "$(dirname "$0")/../lib/apiserver.sh"

SERVER=127.0.0.10
ALSO=(--listen ::1)
# It becomes nobody; the leak checker could not look at it then.
chmod 711 "$T"
USER_FLAG=()
case $B in *asan*) USER_FLAG=(--user "") ;; esac
RESOLV= # nobody is asked for other names
# ask NAME TYPE [DIG ARGUMENT…]: the data of the answer's records, sorted, on one line
ask() { in_ns dig +short +tries=1 +time=5 "@$SERVER" "$@" | sort | paste -sd' '; }
# status NAME TYPE [DIG ARGUMENT…]: the code
status() { in_ns dig +tries=1 +time=5 "@$SERVER" "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
full() { in_ns dig +tries=1 +time=5 "@$SERVER" "$@"; }
answers() { [ "$(ask "$1" "$2")" = "$3" ]; }
says() { [ "$(status "$1" "$2")" = "$3" ]; }
create() { api_json POST "$1" "$2" >/dev/null; like "$(cat "$T/code")" '^201$' "create ${2:0:60}"; }
dns_start() {
    nsenter --net=/run/netns/"$NS" "$B/libexec/coracle/coracle-dns" --kubeconfig "$T/kubeconfig" --listen $SERVER "${ALSO[@]}" --resolv-conf "$RESOLV" "${USER_FLAG[@]}" "$@" >>"$T/dns.log" 2>&1 &
    DNS_PID=$!
}
dns_stop() { kill "$DNS_PID" && wait "$DNS_PID"; }
dns_down() { kill -9 "$DNS_PID" 2>/dev/null; }

apiserver_up
D=default.svc.cluster.local
SERVICES=/api/v1/namespaces/default/services
SLICES=/apis/discovery.k8s.io/v1/namespaces/default/endpointslices
meta() { printf '"metadata":{"name":"%s","namespace":"default"%s}' "$1" "${2:+,\"labels\":{\"kubernetes.io/service-name\":\"$2\"\}}"; }
slice() { printf '{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice",%s,"addressType":"IPv4","ports":[{"name":"http","port":8080,"protocol":"TCP"}],"endpoints":[%s]}' "$(meta "$1" "$2")" "$3"; }
create $SERVICES "{\"apiVersion\":\"v1\",\"kind\":\"Service\",$(meta web),\"spec\":{\"clusterIP\":\"10.96.1.1\",\"ports\":[{\"name\":\"http\",\"port\":80}]}}"
create $SERVICES "{\"apiVersion\":\"v1\",\"kind\":\"Service\",$(meta pets),\"spec\":{\"clusterIP\":\"None\",\"ports\":[{\"name\":\"http\",\"port\":80}]}}"
create $SERVICES "{\"apiVersion\":\"v1\",\"kind\":\"Service\",$(meta out),\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"web.$D\"}}"
create $SLICES "$(slice pets-1 pets '{"addresses":["10.244.0.1"],"hostname":"cat"},{"addresses":["10.244.0.2"]},{"addresses":["10.244.0.3"],"conditions":{"ready":false}}')"

dns_start
at_end dns_down
ok "names are answered" eventually 20 answers web.$D A 10.96.1.1
nsenter --net=/run/netns/"$NS" timeout 60 python3 -c 'import socket
print("closed", socket.create_connection(("'$SERVER'", 53)).recv(1))' >"$T/idle" &
idle=$!
is "$(ask web.$D A +tcp)" 10.96.1.1 "over TCP"
is "$(in_ns dig +short @::1 web.$D A)" 10.96.1.1 "over IPv6"
is "$(status web.$D AAAA)" NOERROR "no AAAA, but the name is there"
like "$(full web.$D AAAA)" 'cluster.local.[[:space:]]+5[[:space:]]+IN[[:space:]]+SOA' "and how long that may be believed"
like "$(full web.$D A)" ' aa rd' "the answer is authoritative"
is "$(ask _http._tcp.web.$D SRV)" "0 100 80 web.$D." "SRV of a port"
is "$(ask -x 10.96.1.1)" "web.$D." "PTR of a cluster IP"
is "$(ask pets.$D A)" "10.244.0.1 10.244.0.2" "a headless service has its ready endpoints"
is "$(ask cat.pets.$D A)" 10.244.0.1 "a host name below it"
is "$(ask _http._tcp.pets.$D SRV)" "0 50 8080 10-244-0-2.pets.$D. 0 50 8080 cat.pets.$D." "SRV of a headless service"
is "$(ask -x 10.244.0.1)" "cat.pets.$D." "PTR of an endpoint"
is "$(ask out.$D A)" "10.96.1.1 web.$D." "an alias is followed inside the cluster"
is "$(ask 10-1-2-3.default.pod.cluster.local A)" 10.1.2.3 "the name of a pod's address"
is "$(ask dns-version.cluster.local TXT)" '"1.1.0"' "the schema's version"
is "$(status absent.$D A)" NXDOMAIN "no such service"
is "$(status www.example.com.$D A)" NXDOMAIN "the search walk ends here"
is "$(status example.com A)" REFUSED "nothing else is answered"
like "$(full cluster.local AXFR)" 'Transfer failed' "nor is the whole zone"
like "$(full web.$D ANY +notcp)" 'HINFO[[:space:]]+"RFC8482"' "everything is one small record"

# ---- changes ----
api_json PUT $SLICES/pets-1 "$(slice pets-1 pets '{"addresses":["10.244.0.3"]}')" >/dev/null
ok "a changed endpoint is answered" eventually 10 answers pets.$D A 10.244.0.3
api DELETE $SERVICES/web >/dev/null
ok "a deleted service is gone" eventually 10 says web.$D A NXDOMAIN
create /api/v1/namespaces '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"late"}}'
ok "a new namespace is there" eventually 10 says late.svc.cluster.local A NOERROR

# ---- sizes ----
endpoints=$(for i in $(seq 1 100); do printf '%s{"addresses":["10.244.1.%d"]}' "${comma:-}" "$i"; comma=,; done)
create $SERVICES "{\"apiVersion\":\"v1\",\"kind\":\"Service\",$(meta many),\"spec\":{\"clusterIP\":\"None\"}}"
create $SLICES "$(slice many-1 many "$endpoints")"
ok "a hundred addresses" eventually 10 eval '[ "$(ask many.$D A +tcp | wc -w)" = 100 ]'
like "$(full many.$D A +noedns +ignore)" 'flags: qr aa tc .*ANSWER: [1-9]' "a long answer is cut for UDP, and says so"
is "$(ask many.$D A | wc -w)" 100 "dig then asks over TCP"

# ---- connections ----
in_ns timeout 20 python3 - $SERVER >"$T/tcp" <<'PY'
import socket, struct, sys
def query(i, name):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0"
    m = struct.pack(">HHHHHH", i, 0x100, 1, 0, 0, 0) + labels + struct.pack(">HH", 1, 1)
    return struct.pack(">H", len(m)) + m
def read(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more: raise EOFError
        data += more
    return data
def answer(s): return read(s, struct.unpack(">H", read(s, 2))[0])
s = socket.create_connection((sys.argv[1], 53))
N = 200
s.sendall(b"".join(query(i, "many.default.svc.cluster.local") for i in range(N)))
s.shutdown(socket.SHUT_WR)
ids = sorted(struct.unpack(">H", answer(s)[:2])[0] for _ in range(N))
print("pipelined", ids == list(range(N)))
print("then", s.recv(1))
s = socket.create_connection((sys.argv[1], 53))
s.sendall(query(1, "cluster.local")[:7])
s.sendall(query(1, "cluster.local")[7:])
print("in pieces", len(answer(s)) > 12)
s.sendall(struct.pack(">H", 5) + b"hello")
print("no message", s.recv(1))
crowd = [socket.create_connection((sys.argv[1], 53)) for _ in range(300)]
crowd[-1].sendall(query(9, "cluster.local"))
print("a crowd", len(answer(crowd[-1])) > 12)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.connect((sys.argv[1], 53))
for junk in (b"", b"x", b"\0" * 11, b"\xff" * 4096, b"\0" * 5000): u.send(junk)
u.send(query(7, "cluster.local")[2:])
print("after junk", u.recv(4096)[:2] == b"\0\7")
PY
is "$(cat "$T/tcp")" "pipelined True
then b''
in pieces True
no message b''
a crowd True
after junk True" "connections: pipelined, in pieces, junk, too many"

wait $idle
is "$(cat "$T/idle")" "closed b''" "an idle connection is closed"

# ---- what it says of itself ----
status_of() { in_ns curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:9153/$1"; }
metric() { in_ns curl -s http://127.0.0.1:9153/metrics | grep "^$1" | sed 's/.* //' | paste -sd' '; }
is "$(status_of health) $(status_of ready) $(status_of other)" "200 200 404" "well, ready"
before=$(metric 'coredns_dns_responses_total{server="dns://:53",zone="cluster.local.",view="",rcode="NXDOMAIN",plugin="kubernetes"}')
status absent.$D MX >/dev/null
is "$(metric 'coredns_dns_responses_total{server="dns://:53",zone="cluster.local.",view="",rcode="NXDOMAIN",plugin="kubernetes"}')" \
    $((before + 1)) "responses are counted"
is "$(metric 'coredns_dns_requests_total{server="dns://:53",zone="cluster.local.",view="",proto="udp",family="1",type="MX"}')" 1 "and requests"
like "$(metric 'coredns_dns_request_duration_seconds_count{server="dns://:53",zone="cluster.local.",view=""}')" '^[0-9]+$' "and how long they took"

# ---- why ----
why() { in_ns "$B/bin/coracle" dns "$@" 2>&1 | tr -s '\n ' ' '; }
like "$(why pets)" "pets.default.svc.cluster.local A: NOERROR # headless Service default/pets: .*ready endpoints # it has 1 ready endpoint pets.* IN A 10.244.0.3" "coracle dns: records and why they are"
like "$(why absent)" "there is no Service default/absent absent.svc.cluster.local A: NXDOMAIN # there is no namespace absent absent.cluster.local A: NXDOMAIN # below .* not below cluster.local: .* asks no other one" "the search domains one after the other, and what is missing"
like "$(why pets.late)" "there is no Service default/late pets.late.svc.cluster.local A: NXDOMAIN # there is no Service late/pets" "a name with its namespace"
like "$(why _http._udp.pets.$D. SRV)" "has no port http of protocol udp" "a port it does not have"
like "$(why cat.pets.$D.)" "cat would be the host name of an endpoint" "an endpoint that is not there"
like "$(why out.$D.)" "another name for web.$D # there is no Service default/web" "an alias is followed"
like "$(why 1.0.96.10.in-addr.arpa. PTR)" "10.96.0.1 is the cluster IP of Service default/kubernetes .* PTR kubernetes.$D" "the address of a Service"
like "$(why pets NONSENSE)" '"NONSENSE" is no type of record' "an unknown type"
like "$(why 'a..b.')" '"a..b." is no name' "no name"
like "$(why pets --dns 127.0.0.1:1)" "coracle-dns does not answer at 127.0.0.1:1" "nobody there"

# ---- without the API server ----
apiserver_stop TERM
is "$(ask pets.$D A)" 10.244.0.3 "the API server is away: answers go on"
dns_stop
dns_start
ok "started without it: the cluster's names are not known yet" eventually 10 says pets.$D A SERVFAIL
is "$(status -x 10.96.0.1)" SERVFAIL "nor addresses"
is "$(status_of health) $(status_of ready)" "200 503" "well, but not ready"
apiserver_start
ok "until it is back" eventually 30 answers pets.$D A 10.244.0.3
dns_stop
is $? 0 "it ends when told to"

# ---- on the loopback link, untracked ----
before=$(in_ns ip -o addr show lo; in_ns iptables-save; in_ns nft list ruleset 2>/dev/null)
SERVER=10.96.0.10
ALSO=()
dns_start --root "$T/local" --local --metrics-bind-address 0
ok "--local: the address is there and answers" eventually 20 answers pets.$D A 10.244.0.3
is "$(in_ns ip -o -4 addr show lo to 10.96.0.10 | awk '{print $4, $6}')" "10.96.0.10/32 host" "on lo"
is "$(in_ns conntrack -L -d $SERVER 2>/dev/null)" "" "its packets are not tracked"
in_ns iptables -P INPUT DROP
is "$(in_ns dig +short +tries=1 +time=3 -b $SERVER @$SERVER dns-version.cluster.local TXT)" '"1.1.0"' "a firewall that drops what it does not know lets them in"
in_ns iptables -P INPUT ACCEPT
kill -9 $DNS_PID
wait $DNS_PID 2>/dev/null
dns_start --root "$T/local" --local --metrics-bind-address 0
ok "started again after a kill: the same" eventually 20 answers pets.$D A 10.244.0.3
is "$(in_ns iptables-save -t raw | grep -c 'j CORACLE-DNS')" 2 "rules are there once"
dns_stop
ok "--cleanup" in_ns "$B/libexec/coracle/coracle-dns" --cleanup --root "$T/local"
is "$(in_ns ip -o addr show lo; in_ns iptables-save; in_ns nft list ruleset 2>/dev/null)" "$before" "leaves nothing"
ok "again" in_ns "$B/libexec/coracle/coracle-dns" --cleanup --root "$T/local"
mkdir "$T/none"
nsenter --net=/run/netns/"$NS" env PATH="$T/none" "$B/libexec/coracle/coracle-dns" --kubeconfig "$T/kubeconfig" --root "$T/local" --local --listen $SERVER \
    --resolv-conf "" --metrics-bind-address 0 "${USER_FLAG[@]}" 2>"$T/without.log" &
DNS_PID=$!
ok "without iptables it answers all the same" eventually 20 answers pets.$D A 10.244.0.3
like "$(cat "$T/without.log")" 'rules cannot be made.* family=IPv4' "and says what that means"
dns_stop
in_ns "$B/libexec/coracle/coracle-dns" --cleanup --root "$T/local"
SERVER=127.0.0.10
ALSO=(--listen ::1)

# ---- flags ----
dns_fails() { in_ns timeout 10 "$B/libexec/coracle/coracle-dns" --kubeconfig "$T/kubeconfig" "$@" 2>&1; }
like "$(dns_fails --listen 0.0.0.0)" '0.0.0.0: name the addresses' "all addresses are refused"
like "$(dns_fails)" '--listen: name the addresses' "no address"
like "$(dns_fails --listen 127.0.0.1x)" 'not an address' "not an address"
like "$(dns_fails --listen 192.0.2.99)" '192.0.2.99 port 53: binding: Cannot assign' "an address of somebody else"
like "$(dns_fails --listen $SERVER --pods maybe)" 'maybe.* is none of disabled, insecure, verified' "an unknown mode"
like "$(dns_fails --listen $SERVER --metrics-bind-address 9153)" '--metrics-bind-address: 9153: not an address and a port' "no address for metrics"
like "$(dns_fails --listen $SERVER --cluster-domain 'a..b')" '--cluster-domain: .*a\.\.b.* is not a domain' "not a domain"

# ---- pods that are there, and aliases to other names ----
upstream_down() { kill -9 "$UPSTREAM_PID" 2>/dev/null; }
nsenter --net=/run/netns/"$NS" python3 "$TOP/tests/lib/dns_upstream.py" 127.0.0.20 "$T/upstream.log" 2>"$T/upstream.err" &
UPSTREAM_PID=$!
at_end upstream_down
RESOLV=$T/resolv.conf
echo 'nameserver 127.0.0.20' >"$RESOLV"
create $SERVICES "{\"apiVersion\":\"v1\",\"kind\":\"Service\",$(meta elsewhere),\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"plain.example\"}}"
ok "another server is there" eventually 20 grep -q ready "$T/upstream.log"
dns_start --pods verified --cluster-domain corp.example
create /api/v1/namespaces/default/pods '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}'
api PATCH /api/v1/namespaces/default/pods/p/status -H 'Content-Type: application/merge-patch+json' \
    --data-binary '{"status":{"phase":"Running","podIP":"10.244.9.9","podIPs":[{"ip":"10.244.9.9"}]}}' >/dev/null
ok "a pod's address has a name" eventually 10 answers 10-244-9-9.default.pod.corp.example A 10.244.9.9
is "$(status 10-244-9-8.default.pod.corp.example A)" NXDOMAIN "another one has none"
is "$(ask elsewhere.default.svc.corp.example A)" "192.0.2.1 plain.example." "an alias is followed to another server"
is "$(status elsewhere.default.svc.corp.example AAAA)" NOERROR "also where it has no record"
is "$(grep -c corp.example "$T/upstream.log")" 0 "which is not asked for names of the cluster"

# ---- names and domains added by hand ----
config() { printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"coracle-dns","namespace":"kube-system"},"data":{"hosts":"%s","zones":"%s"}}' "$1" "$2"; }
printf 'nameserver 192.0.2.77\n' >"$RESOLV" # nobody is there
create /api/v1/namespaces/kube-system/configmaps "$(config '192.168.1.5 nas.home nas # disks\n192.168.1.6 nas.home' 'example 127.0.0.20\nwrong')"
ok "hosts of the ConfigMap coracle-dns" eventually 10 answers nas.home A "192.168.1.5 192.168.1.6"
is "$(status nas.home AAAA)" NOERROR "which are there without an address of the other family"
is "$(ask -x 192.168.1.5)" "nas.home." "and back"
is "$(ask who.example A)" 127.0.0.20 "a domain with servers of its own"
is "$(ask elsewhere.default.svc.corp.example A)" "192.0.2.1 plain.example." "for aliases, too"
like "$(why nas.home.)" "ConfigMap kube-system/coracle-dns has it among its hosts nas.home. 5 IN A" "coracle dns says where it is from"
like "$(why who.example.)" "those that ConfigMap kube-system/coracle-dns has for example who.example" "and who was asked"
like "$(cat "$T/dns.log")" 'passed over.* why="zones: line 2: no server behind wrong"' "a wrong line is named"
event() { api GET /api/v1/namespaces/kube-system/events | jq -e '.items[]|select(.reason=="InvalidLine" and .involvedObject.name=="coracle-dns" and (.message|test("line 2")))'; }
ok "in an event, too" eventually 10 event
api_json PUT /api/v1/namespaces/kube-system/configmaps/coracle-dns "$(config '192.168.1.7 nas.home' '')" >/dev/null
ok "a change is followed" eventually 10 answers nas.home A 192.168.1.7
api DELETE /api/v1/namespaces/kube-system/configmaps/coracle-dns >/dev/null
gone() { [ -z "$(in_ns dig +short +tries=1 +time=5 @$SERVER nas.home A | grep 192)" ]; }
ok "and its end" eventually 10 gone
dns_stop
is $? 0 "it ends"
is "$(grep -c 'level=error\| error ' "$T/dns.log")" 0 "nothing went wrong" || sed 's/^/# /' "$T/dns.log" >&2
done_testing
