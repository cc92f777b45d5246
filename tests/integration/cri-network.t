#!/usr/bin/env bash
# The builtin pod network: IPv4, IPv6, both; host ports from everywhere; restarts; flannel; nothing left. With
# PART=ports it ends after the host ports.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
cri_setup

# A machine outside, which knows the way to nothing but the node's own addresses.
OUT=cri-out-$$
ip netns add "$OUT" || bail "no network namespace"
at_end ip netns del "$OUT"
in_out() { nsenter --net="/run/netns/$OUT" "$@"; }
in_node ip link add up0 type veth peer name eth0 netns "$OUT"
in_node ip addr add 192.0.2.1/24 dev up0
in_node ip addr add 192.0.2.7/24 dev up0
in_node ip -6 addr add fd00:aa::1/64 dev up0 nodad
in_node ip link set up0 up
in_out ip addr add 192.0.2.2/24 dev eth0
in_out ip -6 addr add fd00:aa::2/64 dev eth0 nodad
in_out ip link set eth0 up
in_out ip link set lo up
in_node ip route add default via 192.0.2.2
in_node ip -6 route add default via fd00:aa::2

# pod_ns SANDBOX COMMAND…: in the pod's network namespace.
pod_ns() { local p=$1; shift; nsenter --net="$R/run/coracle/sandboxes/$p/ns/net" "$@"; }
SERVERS=()
stop_servers() { kill "${SERVERS[@]}" 2>/dev/null; return 0; }
at_end eval 'stop_servers'
# serve IN… -- NAME ADDRESS PORT…: a server there, ready when this returns.
serve() {
    local where=()
    while [ "$1" != -- ]; do where+=("$1"); shift; done
    shift
    "${where[@]}" "$B/tests/bin/who" serve "$@" >"$T/server-$1" 2>>"$T/server.err" &
    SERVERS+=($!)
    eventually 20 grep -q ready "$T/server-$1" || { cat "$T/server.err"; bail "no server $1"; }
}
ask_out() { in_out "$B/tests/bin/who" ask "$@"; }
ask_node() { in_node "$B/tests/bin/who" ask "$@"; }
ask_pod() { local p=$1; shift; pod_ns "$p" "$B/tests/bin/who" ask "$@"; }
ip_of() { cri inspectp "$1" | jq -r .status.network.ip; }
ip2_of() { cri inspectp "$1" | jq -r '.status.network.additional_ips[0].ip // ""'; }
ports() { jq -cn --argjson p "$1" '.port_mappings=$p' | sed 's/^{"port_mappings"://; s/}$//'; }
rules() { in_node iptables-save | grep -v '^#'; in_node ip6tables-save | grep -v '^#'; }
ready() { [ "$(cri status | jq -r '.status.conditions[] | select(.type == "NetworkReady") | .status // false')" = "$1" ]; }

# What was there before, and must be there afterwards.
in_node iptables -t nat -A PREROUTING -p tcp --dport 9999 -j RETURN
in_node iptables -A INPUT -p tcp --dport 9998 -j ACCEPT
in_node ip6tables -A FORWARD -p tcp --dport 9997 -j ACCEPT
rules | sed 's/\[[0-9:]*\]//' >"$T/rules.before"
links_before=$(in_node ip -o link | wc -l)

# ---- both families ----
cri_start --pod-cidr 10.99.0.0/24,fd00:99::/64
ok "the network gets ready" eventually 20 ready true
a=$(cri runp "$(pod a)")
b=$(cri runp "$(pod b)")
is "$(pod_ns "$a" busybox ping6 -c1 -W1 "$(ip2_of "$b")" | grep -c ' 0% packet loss')" 1 "an IPv6 address answers at once"
like "$(ip_of "$a") $(ip2_of "$a")" '^10\.99\.0\.[0-9]+ fd00:99::[0-9a-f]+$' "both addresses, IPv4 first"
is "$(grep -cE "^($(ip_of "$a")|$(ip2_of "$a"))"$'\t'"a$" "$R/run/coracle/sandboxes/$a/hosts")" 2 "both are in /etc/hosts"
is "$(pod_ns "$a" ip -6 addr show dev eth0 scope global | grep -c tentative)" 0 "no duplicate address detection"
is "$(pod_ns "$a" cat /proc/sys/net/ipv6/conf/eth0/accept_ra)" 0 "no pod tells another where routers are"
serve pod_ns "$b" -- b :: 80
serve in_out -- out :: 80
is "$(ask_pod "$a" tcp "$(ip_of "$b")" 80)" "b $(ip_of "$a")" "pod to pod, IPv4: by its own address"
is "$(ask_pod "$a" tcp "$(ip2_of "$b")" 80)" "b $(ip2_of "$a")" "pod to pod, IPv6"
is "$(ask_pod "$a" udp 192.0.2.2 80)" "out 192.0.2.1" "pod to outside, IPv4: masqueraded"
is "$(ask_pod "$a" udp fd00:aa::2 80)" "out fd00:aa::1" "pod to outside, IPv6: masqueraded"
is "$(ask_node tcp "$(ip2_of "$b")" 80)" "b fd00:99::1" "node to pod"
c=$(cri runp "$(pod c)")
gone4=$(ip_of "$c")
serve pod_ns "$c" -- c :: 80
is "$(ask_node tcp "$gone4" 80)" "c 10.99.0.1" "node to a pod that is to go"
cri stopp "$c" >/dev/null
is "$(in_node ip neigh show to "$gone4" nud reachable nud stale nud delay nud probe nud permanent)" "" "the node does not believe in a stopped pod"
cri rmp "$c" >/dev/null
ok "statistics of its interface" jq -e --arg a "$a" '.stats[] | select(.attributes.id == $a) | .linux.network.default_interface | .name == "eth0" and .rx_bytes.value > 0' <<<"$(cri statsp)"
is "$(rules | grep -c HOSTPORTS)" 0 "no chain for host ports before there is one"

# ---- host ports ----
p=$(cri runp "$(pod p '.port_mappings=[{container_port:80,host_port:8080},{container_port:53,host_port:5353,protocol:"UDP"},{container_port:80,host_port:8081,host_ip:"192.0.2.7"},{container_port:80,host_port:8082,host_ip:"127.0.0.1"},{container_port:99,host_port:8083,protocol:"SCTP"},{container_port:443}]')")
like "$p" '^[0-9a-f]{32}$' "a pod with host ports runs"
serve pod_ns "$p" -- p :: 80 53 99
is "$(ask_out tcp 192.0.2.1 8080)" "p 192.0.2.2" "from outside, IPv4: the client's address is seen"
is "$(ask_out tcp fd00:aa::1 8080)" "p fd00:aa::2" "from outside, IPv6"
is "$(ask_out udp 192.0.2.1 5353)" "p 192.0.2.2" "from outside, UDP"
is "$(ask_node tcp 192.0.2.1 8080)" "p 192.0.2.1" "from the node by its address"
is "$(ask_node tcp fd00:aa::1 8080)" "p fd00:aa::1" "... IPv6"
is "$(ask_node tcp 127.0.0.1 8080)" "p 10.99.0.1" "from the node by 127.0.0.1"
is "$(ask_node udp 127.0.0.1 5353)" "p 10.99.0.1" "... UDP"
# Answers between pods of a bridge pass conntrack only with br_netfilter; without it they go by the node.
seen4=$(ip_of "$a") seen6=$(ip2_of "$a")
in_node test -e /proc/sys/net/bridge/bridge-nf-call-iptables || seen4=10.99.0.1 seen6=fd00:99::1
is "$(ask_pod "$a" tcp 192.0.2.1 8080)" "p $seen4" "from another pod"
is "$(ask_pod "$a" tcp fd00:aa::1 8080)" "p $seen6" "... IPv6"
is "$(ask_pod "$a" tcp 10.99.0.1 8080)" "p $seen4" "... by the gateway"
is "$(ask_pod "$p" tcp 192.0.2.1 8080)" "p 10.99.0.1" "from the pod itself"
is "$(ask_pod "$p" tcp fd00:aa::1 8080)" "p fd00:99::1" "... IPv6"
is "$(ask_out tcp 192.0.2.7 8081) $(ask_out tcp 192.0.2.1 8081)" "p 192.0.2.2 none" "host_ip: that address only"
is "$(ask_node tcp 127.0.0.1 8082) $(ask_out tcp 192.0.2.1 8082)" "p 10.99.0.1 none" "host_ip 127.0.0.1: the node only"
if grep -qw SCTP /proc/net/protocols; then
    is "$(ask_out sctp 192.0.2.1 8083)" "p 192.0.2.2" "SCTP"
else
    like "$(rules)" "-p sctp -m sctp --dport 8083 .*--to-destination 10\.99\.0\.[0-9]+:99" "SCTP (a rule; this kernel has no SCTP)"
fi
is "$(ask_pod "$a" tcp "$(ip_of "$p")" 80)" "p $(ip_of "$a")" "the pod's own port still answers"

like "$(cri runp "$(pod q '.port_mappings=[{container_port:1,host_port:8080}]')" 2>&1)" "FAILED_PRECONDITION.*port_mappings.*8080/tcp.*default/p" "the same port again is refused, with who has it"
like "$(cri runp "$(pod q '.port_mappings=[{container_port:1,host_port:8081}]')" 2>&1)" "8081/tcp.*default/p" "... also if only one address is taken"
like "$(cri runp "$(pod q '.port_mappings=[{container_port:1,host_port:70000}]')" 2>&1)" "INVALID_ARGUMENT.*port_mappings\[0\].host_port" "a bad port is refused by name"
is "$(cri pods | jq '.items | length')" 3 "... and leaves no sandbox"
is "$(ls "$R/run/coracle/network/leases" | wc -l)" 6 "... and no address"
q=$(cri runp "$(pod q '.port_mappings=[{container_port:80,host_port:8081,host_ip:"192.0.2.1"},{container_port:80,host_port:8080,protocol:"UDP"}]')")
like "$q" '^[0-9a-f]{32}$' "another address, another protocol are free"

# A pod that forges its routes reaches the node's loopback only without our rule. (It does not take
# the answers, but that the node sends them is bad enough.)
serve in_node -- loop 127.0.0.1 7777
pod_ns "$a" sh -c 'echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet; ip route del local 127.0.0.0/8 dev lo table local; ip route del local 127.0.0.1 dev lo table local; ip route add 127.0.0.1/32 via 10.99.0.1 dev eth0 src '"$(ip_of "$a")"
in_node iptables -I OUTPUT -s 127.0.0.1 ! -o lo -p udp --sport 7777 -m comment --comment answered
answered() {
    ask_pod "$a" udp 127.0.0.1 7777 >/dev/null
    in_node iptables -nvxL OUTPUT | awk '/answered/ {print $1}'
}
is "$(answered)" 0 "a pod does not reach the node's loopback"
in_node iptables -F CORACLE-INPUT
is "$(answered)" 1 "... which is due to the rule"

no_sanitizer() {
    is "$(grep -cE 'Sanitizer|runtime error|Assertion' "$T/cri.log")" 0 "nothing found by sanitizers" || diag "$(grep -A30 -E 'Sanitizer|runtime error' "$T/cri.log" | head -60)"
}
if [ "${PART:-}" = ports ]; then
    no_sanitizer
    done_testing
    exit
fi

# ---- the daemon dies ----
cri_kill9
is "$(ask_out tcp 192.0.2.1 8080)" "p 192.0.2.2" "host ports work without the daemon"
in_node iptables -t nat -F CORACLE-HOSTPORTS
in_node ip6tables -t nat -D OUTPUT "$(in_node ip6tables -t nat -nL OUTPUT --line-numbers | awk '/CORACLE/{print $1}')"
cri_start --pod-cidr 10.99.0.0/24,fd00:99::/64
ok "a new one makes the rules again" eventually 20 eval '[ "$(ask_out tcp 192.0.2.1 8080)" = "p 192.0.2.2" ]'
is "$(ask_node tcp fd00:aa::1 8080)" "p fd00:aa::1" "... and the jump that was missing"
is "$(answered)" 1 "... and the rule for the loopback"
in_node iptables -D OUTPUT 1
is "$(for f in iptables ip6tables; do in_node $f-save | grep -- '-j CORACLE' | sort | uniq -d; done)" "" "no jump is doubled"
is "$(rules | grep -c -- '-j CORACLE')" 9 "every jump is there"
like "$(cri runp "$(pod r '.port_mappings=[{container_port:1,host_port:8080}]')" 2>&1)" "8080/tcp.*default/p" "a new one knows who has which port"

# ---- UDP flows do not stick ----
ok "stop" cri stopp "$p"
is "$(ask_out udp 192.0.2.1 5353 40000)" none "a client before the pod"
p2=$(cri runp "$(pod p2 '.port_mappings=[{container_port:53,host_port:5353,protocol:"UDP"}]')")
serve pod_ns "$p2" -- p2 :: 53
is "$(ask_out udp 192.0.2.1 5353 40000)" "p2 192.0.2.2" "reaches it from the same port once it is there"
is "$(ask_node udp 127.0.0.1 5353 40001)" "p2 10.99.0.1" "... another by 127.0.0.1"
ok "the pod goes" cri rmp "$p2"
is "$(in_node conntrack -L -p udp --orig-port-dst 5353 2>/dev/null | grep -c 'src=10\.99')" 0 "its flows are forgotten"
p3=$(cri runp "$(pod p3 '.port_mappings=[{container_port:53,host_port:5353,protocol:"UDP"},{container_port:80,host_port:8080}]')")
serve pod_ns "$p3" -- p3 :: 53 80
is "$(ask_out udp 192.0.2.1 5353 40000)" "p3 192.0.2.2" "the same client reaches the next pod"

# ---- pods that die unseen ----
kill -9 "$(cri inspectp "$p3" | jq -r .info.info | jq -r .pid)" "$CRI_PID"
wait "$CRI_PID" 2>/dev/null
cri_start --pod-cidr 10.99.0.0/24,fd00:99::/64
ok "rules of a pod that died meanwhile go" eventually 20 eval '! rules | grep -q "default/p3"'
r=$(cri runp "$(pod r '.port_mappings=[{container_port:80,host_port:8080}]')")
serve pod_ns "$r" -- r :: 80
is "$(ask_out tcp fd00:aa::1 8080)" "r fd00:aa::2" "its port is free again"
for x in $a $b $p $q $p3 $r; do cri rmp "$x" || fail "cannot remove $x"; done
is "$(rules | grep -cE 'DNAT --to|-A CORACLE-MASQ -s 10.99.0.[0-9]+/32')" 0 "no rule of a pod is left"
is "$(ls "$R/run/coracle/network/leases" | xargs)" "" "no lease is left"
cri_stop

# ---- one family, and the other order ----
cri_start --pod-cidr fd00:98::/64,10.98.0.0/23
ok "IPv6 first" eventually 20 ready true
c=$(cri runp "$(pod c)")
like "$(ip_of "$c") $(ip2_of "$c")" '^fd00:98::[0-9a-f]+ 10\.98\.0\.[0-9]+$' "... and IPv4 second"
is "$(in_node ip -o addr show dev coracle0 | grep -cE '10\.99\.|fd00:99:')" 0 "the earlier CIDRs' addresses are gone"
cri rmp "$c"
cri_stop
cri_start --pod-cidr fd00:97::/120
ok "IPv6 only" eventually 20 ready true
c=$(cri runp "$(pod c '.port_mappings=[{container_port:80,host_port:80}]')")
serve pod_ns "$c" -- c :: 80
is "$(ip_of "$c") $(ip2_of "$c")" "fd00:97::2 " "... one address"
is "$(ask_pod "$c" udp fd00:aa::2 80)" "out fd00:aa::1" "... masqueraded"
is "$(ask_out tcp fd00:aa::1 80)" "c fd00:aa::2" "... with a host port"
like "$(cri runp "$(pod d '.port_mappings=[{container_port:80,host_port:81,host_ip:"192.0.2.1"}]')" 2>&1)" "INVALID_ARGUMENT.*192.0.2.1.*no address of that family" "... but not on an IPv4 address"
like "$(cri call RuntimeService UpdateRuntimeConfig '{"runtime_config":{"network_config":{"pod_cidr":"10.1.0.0/24,10.2.0.0/24"}}}' 2>&1)" "INVALID_ARGUMENT.*pod CIDR" "two of one family are refused"
ok "UpdateRuntimeConfig with both" cri call RuntimeService UpdateRuntimeConfig '{"runtime_config":{"network_config":{"pod_cidr":"10.96.0.0/24,fd00:97::/120"}}}'
d=$(cri runp "$(pod d)")
like "$(ip_of "$d") $(ip2_of "$d")" '^10\.96\.0\.2 fd00:97::[0-9a-f]+$' "... are used for the next pod"
cri rmp "$c"
cri rmp "$d"
cri_stop
for bad in "--pod-cidr 10.1.0.0/33" "--pod-cidr 10.1.0.0/24,x" "--cluster-cidr x" "--bridge a/b" "--network magic"; do
    ok "refused: $bad" bash -c "! timeout 20 nsenter --net=/run/netns/$NETNS '$LIBEXEC/coracle-cri' --root '$T/other' --cgroup-root '$CGROUP-x' $bad 2>'$T/refused'"
done
like "$(cat "$T/refused")" "magic" "... and it says why"

# ---- flannel ----
rm -f "$R/run/coracle/network/network.json"
cri_start --pod-cidr ""
ok "without a pod CIDR it is not ready" ready false
like "$(cri runp "$(pod e)" 2>&1)" "no pod CIDR" "... and refuses pods"
mkdir -p "$R/run/flannel"
printf 'FLANNEL_NETWORK=10.50.0.0/16\nFLANNEL_SUBNET=10.50.3.1/24\nFLANNEL_MTU=14x\nFLANNEL_IPMASQ=true\n' >"$R/run/flannel/subnet.env"
ok "a bad subnet.env is told" eventually 20 eval 'cri status | grep -q "subnet.env.*FLANNEL_MTU"'
printf 'FLANNEL_NETWORK=10.50.0.0/16\nFLANNEL_SUBNET=10.50.3.1/24\nFLANNEL_MTU=1410\nFLANNEL_IPMASQ=true\n' >"$R/run/flannel/subnet.env"
ok "flannel's subnet.env is picked up" eventually 20 ready true
e=$(cri runp "$(pod e)")
like "$(ip_of "$e")" '^10\.50\.3\.[0-9]+$' "... its subnet"
is "$(pod_ns "$e" ip -o link show eth0 | grep -o 'mtu [0-9]*') $(in_node ip -o link show coracle0 | grep -o 'mtu [0-9]*')" "mtu 1410 mtu 1410" "... and MTU"
is "$(rules | grep -c 'MASQUERADE --random-fully')" 0 "flanneld masquerades: we do not"
printf 'FLANNEL_NETWORK=10.50.0.0/16\nFLANNEL_SUBNET=10.50.4.1/24\nFLANNEL_IPV6_NETWORK=fd00:50::/48\nFLANNEL_IPV6_SUBNET=fd00:50:0:4::1/64\nFLANNEL_MTU=1400\nFLANNEL_IPMASQ=false\n' >"$R/run/flannel/subnet.env"
ok "a change is picked up" eventually 20 eval 'in_node ip -o addr show dev coracle0 | grep -q "fd00:50:0:4::1/64"'
ok "... the masquerading too" eventually 20 eval 'rules | grep -q -- "-A CORACLE-MASQ -d 10.50.0.0/16 -j RETURN"'
f=$(cri runp "$(pod f)")
like "$(ip_of "$f") $(ip2_of "$f")" '^10\.50\.4\.[0-9]+ fd00:50:0:4::[0-9a-f]+$' "... for the next pod"
ok "the kubelet's CIDR does not override it" cri call RuntimeService UpdateRuntimeConfig '{"runtime_config":{"network_config":{"pod_cidr":"10.44.0.0/24"}}}'
echo garbage >"$R/run/flannel/subnet.env"
sleep 0.2
ok "a bad file changes nothing" ready true
cri rmp "$e"
cri rmp "$f"

# ---- nothing is left ----
g=$(cri runp "$(pod g '.port_mappings=[{container_port:80,host_port:8080}]')")
cri_kill9
ok "--cleanup" in_node "$LIBEXEC/coracle-cri" --root "$R" --cgroup-root "$CGROUP" --cleanup
is "$(rules | sed 's/\[[0-9:]*\]//')" "$(cat "$T/rules.before")" "the rules are as they were"
is "$(in_node ip -o link | wc -l)" "$links_before" "no link is left"
is "$(grep -c "$R" /proc/self/mountinfo)" 0 "no mount is left"
is "$(grep -l route_localnet "$R"/var/lib/coracle/journal/* | wc -l)" 1 "route_localnet is in the journal"
no_sanitizer
done_testing
