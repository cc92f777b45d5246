#!/usr/bin/env bash
# The cluster DNS and the servers that it asks for other names: good ones, slow ones, liars. There is no
# API server: those names need none.
. "$(dirname "$0")/../lib/tap.sh"
command -v dig >/dev/null || skip_all "dig is not installed"
command -v python3 >/dev/null || skip_all "python3 is not installed"
NS=coracle-dnsf-$$
ip netns add "$NS" 2>/dev/null || skip_all "needs root and network namespaces"
at_end ip netns del "$NS"
ip -n "$NS" link set lo up
in_ns() { nsenter --net=/run/netns/"$NS" "$@"; }

SERVER=127.0.0.10
ask() { in_ns dig +short +tries=1 +time=8 "@$SERVER" "$@" | sort | paste -sd' '; }
status() { in_ns dig +tries=1 +time=8 "@$SERVER" "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
answers() { [ "$(ask "$1" "$2")" = "$3" ]; }
# asked SERVER TEXT: how many questions with this text the server has seen
asked() { grep -ci "$2" "$T/$1.log"; }
kill_all() { kill -9 $PIDS 2>/dev/null; wait 2>/dev/null; :; }
PIDS=
at_end eval 'kill_all'
upstream() { # ADDRESS
    nsenter --net=/run/netns/"$NS" python3 "$TOP/tests/lib/dns_upstream.py" "$1" "$T/$1.log" $SERVER 2>"$T/$1.err" &
    PIDS="$PIDS $!"
    eventually 20 grep -q ready "$T/$1.log" || bail "the server of the test does not start"
}
resolvers() { printf 'search example\n' >"$T/new" && printf 'nameserver %s\n' "$@" >>"$T/new" && mv "$T/new" "$T/etc/resolv.conf"; }

upstream 127.0.0.20
upstream 127.0.0.21
mkdir "$T/etc"
resolvers 127.0.0.20 127.0.0.21
cat >"$T/kubeconfig" <<END
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
END
# It becomes nobody, who must be able to read the file; the leak checker could not look at it then.
chmod 711 "$T"
USER_FLAG=()
case $B in *asan*) USER_FLAG=(--user "") ;; esac
nsenter --net=/run/netns/"$NS" "$B/libexec/coracle/coracle-dns" --kubeconfig "$T/kubeconfig" --listen $SERVER \
    --resolv-conf "$T/etc/resolv.conf" "${USER_FLAG[@]}" >"$T/dns.log" 2>&1 &
DNS_PID=$!
PIDS="$PIDS $DNS_PID"

ok "another name is asked for elsewhere" eventually 10 answers who.example A 127.0.0.20
if [ ${#USER_FLAG[@]} = 0 ]; then
    is "$(awk '/^Uid/ {print $2, $3, $4}' "/proc/$DNS_PID/status")" "65534 65534 65534" "it is nobody"
    is "$(awk '/^Groups/ {print NF - 1} /^Cap(Prm|Eff|Inh|Amb)/ {print $2 + 0} /^(NoNewPrivs|Seccomp):/ {print $2}' "/proc/$DNS_PID/status" | paste -sd' ')" \
        "0 0 0 0 0 1 2" "without groups, capabilities and new privileges, its system calls filtered"
fi
like "$(in_ns dig @$SERVER plain.example A)" 'flags: qr rd ra;.*192.0.2.1' "and answered as what it is: hearsay"
is "$(ask plain.example A)" 192.0.2.1 "again"
is "$(asked 127.0.0.20 'plain.example 1$')" 1 "which was remembered"
is "$(status nx.example A)" NXDOMAIN "an absence"
is "$(status nx.example A)" NXDOMAIN "again"
is "$(asked 127.0.0.20 nx.example)" 1 "is remembered, too"
is "$(status plain.example AAAA)" NOERROR "a name without records of a type"
is "$(ask servfail.example A)" "" "a server that fails"
is "$(asked 127.0.0.21 servfail.example)" 1 "is not the last that is asked"
is "$(status servfail.example A)" SERVFAIL "when all fail, so do we"
is "$(ask big.example A +tcp | wc -w)" 200 "an answer that is cut is fetched over TCP"
is "$(asked 127.0.0.20 'tcp big.example')" 1 "from the same server"
is "$(ask lies.example A)" 192.0.2.1 "wrong ids, questions and junk are passed over"
is "$(ask evil.example A)" "192.0.2.1 real.example." "what was not asked for is left out"
is "$(ask bank.example A)" 192.0.2.1 "and not remembered"
is "$(status loop.example A)" REFUSED "a server that asks us what we ask it"
like "$(cat "$T/dns.log")" 'question comes back.* name=loop.example from=127.0.0.1' "is found out"
like "$(in_ns curl -s http://127.0.0.1:9153/metrics)" 'coredns_cache_hits_total 2' "what was remembered is counted"
like "$(in_ns dig +norec @$SERVER fresh.example A)" 'status: REFUSED' "who does not want recursion gets none"
is "$(asked 127.0.0.20 fresh.example)" 0 "and causes none"
like "$(in_ns dig +notcp @$SERVER more.example ANY)" HINFO "nor does who asks for everything"
is "$(status web.default.svc.cluster.local A)" SERVFAIL "names of the cluster are not given away"
is "$(asked 127.0.0.20 cluster.local)" 0 "at all"

in_ns timeout 20 python3 - $SERVER >"$T/many" <<'PY'
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 53))
s.settimeout(10)
for i in range(20):
    name = b"\4slow\7example" if i % 2 else b"\4SLOW\7eXample"
    s.send(struct.pack(">HHHHHH", i, 0x100, 1, 0, 0, 0) + name + b"\0\0\1\0\1")
got = [s.recv(4096) for _ in range(20)]
ids = {struct.unpack(">H", m[:2])[0]: m for m in got}
print(len(ids), all(m[-4:] == b"\xc0\0\2\1" for m in got), b"SLOW" in ids[0], b"slow" in ids[1])
PY
is "$(cat "$T/many")" "20 True True True" "twenty want to know the same: each gets an answer in its own letters"
is "$(asked 127.0.0.20 slow.example)" 1 "and one question is asked"

# ---- servers that are away, and changes of resolv.conf ----
resolvers 127.0.0.19 127.0.0.21
ok "a changed resolv.conf is followed" eventually 10 answers who.example A 127.0.0.21
upstream 127.0.0.22
kill -STOP ${PIDS##* }
resolvers 127.0.0.22 127.0.0.20
ok "a server is silent: the next is asked" eventually 10 answers who.example A 127.0.0.20
is "$(ask one.example A)" 192.0.2.1 "again"
kill -CONT ${PIDS##* }
ok "it wakes up and sees what it was asked" eventually 10 grep -q who.example "$T/127.0.0.22.log"
is "$(asked 127.0.0.22 one.example)" 0 "the second time others were asked first"
like "$(cat "$T/dns.log")" 'server=127.0.0.22' "the log says which"
mkdir "$T/elsewhere"
printf 'nameserver 127.0.0.21\n' >"$T/elsewhere/stub.conf"
ln -s "$T/elsewhere/stub.conf" "$T/etc/link" && mv "$T/etc/link" "$T/etc/resolv.conf"
ok "a link to another file" eventually 10 answers who.example A 127.0.0.21
printf 'nameserver 127.0.0.20\n' >"$T/elsewhere/stub.conf"
ok "which changes" eventually 10 answers who.example A 127.0.0.20
printf 'nameserver %s\n' $SERVER >"$T/elsewhere/stub.conf"
says_failure() { [ "$(status who.example A)" = SERVFAIL ]; }
ok "our own address is nobody to ask" eventually 10 says_failure
like "$(cat "$T/dns.log")" 'this server is named among those to ask.*in=resolv.conf address=127.0.0.10' "and the log says so"
printf 'nameserver 127.0.0.20\n' >"$T/elsewhere/stub.conf"
ok "and back" eventually 10 answers who.example A 127.0.0.20
in_ns dig +tries=1 +time=1 "@$SERVER" silent.example A >/dev/null
like "$(in_ns "$B/libexec/coracle/coracle-dns" --kubeconfig "$T/kubeconfig" --listen 127.0.0.30 --metrics-bind-address 0 --user no-such-user 2>&1)" \
    'there is no user no-such-user' "a user that is not there"
kill "$DNS_PID"
wait "$DNS_PID"
is $? 0 "it ends while a question is under way"
done_testing
