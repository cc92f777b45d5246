#!/usr/bin/env bash
# The overlay by packets: three nodes in namespaces, a pod on each, an API server; vxlan and host-gw, both families.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
. "$(dirname "$0")/../lib/flannel.sh"
apiserver_up
overlay_net 3
at_end flannels_down
conf() { echo '{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd44::/56","Backend":{'"$1"'}}' >"$T/net-conf.json"; }
all() { local a b; for a in 1 2 3; do for b in 1 2 3; do [ $a = $b ] || "$1" $a $b || return 1; done; done; }

# ---- what it does not start with ----
conf '"Type":"wireguard"'
like "$(on 1 "$B/libexec/coracle/coracle-flannel" --kube-subnet-mgr --net-config-path "$T/net-conf.json" 2>&1)" 'Backend.Type: back end wireguard is not there' "a back end that is not there is named"
like "$(on 1 "$B/libexec/coracle/coracle-flannel" --net-config-path "$T/net-conf.json" 2>&1)" 'kube-subnet-mgr is needed' "so is the subnet manager that is not"

# ---- vxlan ----
on 1 ip -o link | sed 's/^[0-9]*: //; s/state.*//' | sort >"$T/links.before"
conf '"Type":"vxlan"'
for n in 1 2 3; do flannel_start $n; done
ok "pods reach each other over vxlan" eventually 20 all reaches
ok "... by ping" all pings
mac=$(link_of 1 flannel.1 address) mac6=$(link_of 1 flannel-v6.1 address)
is "$(api GET /api/v1/nodes/node1 | jq -cS .metadata.annotations)" \
    '{"flannel.alpha.coreos.com/backend-data":"{\"VNI\":1,\"VtepMAC\":\"'$mac'\"}","flannel.alpha.coreos.com/backend-type":"vxlan","flannel.alpha.coreos.com/backend-v6-data":"{\"VNI\":1,\"VtepMAC\":\"'$mac6'\"}","flannel.alpha.coreos.com/kube-subnet-manager":"true","flannel.alpha.coreos.com/public-ip":"10.78.0.1","flannel.alpha.coreos.com/public-ipv6":"fd78::1"}' \
    "the annotations are flanneld's"
is "$(cat "$T/root1/run/flannel/subnet.env" | tr '\n' ' ')" \
    "FLANNEL_NETWORK=10.244.0.0/16 FLANNEL_SUBNET=10.244.1.1/24 FLANNEL_IPV6_NETWORK=fd44::/56 FLANNEL_IPV6_SUBNET=fd44:0:0:1::1/64 FLANNEL_MTU=1430 FLANNEL_IPMASQ=false " "so is subnet.env"
condition() { api GET /api/v1/nodes/node1 | jq -r '.status.conditions[]?|select(.type=="NetworkUnavailable")|[.status,.reason,.message]|join(" ")'; }
said() { [ "$(condition)" = "False FlannelIsUp Flannel is running on this node" ]; }
ok "the Node says that its network is there" eventually 10 said
like "$(on 1 ip -d -o link show flannel.1)" 'mtu 1450 .*vxlan id 1 local 10.78.0.1 dev eth0 .*dstport 8472 nolearning.*alias coracle:flannel|mtu 1450 .*alias coracle:flannel.*vxlan id 1 local 10.78.0.1 dev eth0 .*dstport 8472 nolearning' "the link is as it should be"
is "$(on 1 ip -o -4 addr show flannel.1 | awk '{print $4}') $(on 1 ip -o -6 addr show flannel-v6.1 | awk '{print $4}')" "10.244.1.0/32 fd44:0:0:1::/128" "... with its addresses and no other"
is "$(on 1 ip route show 10.244.2.0/24)" "10.244.2.0/24 via 10.244.2.0 dev flannel.1 proto 70 onlink " "a route for each peer"

# ---- somebody deletes what is ours ----
wanted=$(kernel 1)
back() { [ "$(kernel 1)" = "$wanted" ]; }
gone() { # WHAT COMMAND…
    local what=$1
    shift
    "$@" || fail "cannot delete $what"
    ok "$what comes back" eventually 10 back
}
gone "a route" on 1 ip route del 10.244.2.0/24
gone "a route of IPv6" on 1 ip -6 route del fd44:0:0:3::/64
gone "a neighbour" on 1 ip neigh del 10.244.3.0 dev flannel.1
gone "a forwarding entry" on 1 bridge fdb del "$(link_of 2 flannel.1 address)" dev flannel.1 dst 10.78.0.2
gone "an address" on 1 ip addr del 10.244.1.0/32 dev flannel.1
gone "the link, with its MAC" on 1 ip link del flannel.1
gone "the MTU" on 1 ip link set flannel.1 mtu 1300
gone "a link that was brought down" on 1 ip link set flannel.1 down
ok "pods still reach each other" eventually 10 all reaches
on 1 ip route add 10.244.9.0/24 via 10.244.9.0 dev flannel.1 onlink
gone "a route that nobody wants: what was there before" true

# ---- kill -9 ----
wanted=$(kernel 1)
nsenter --net=/run/netns/fln$$_1 ip monitor link address route neigh >"$T/monitor" 2>&1 &
monitor=$!
sleep 0.5 # until it listens
flannel_stop 1 KILL
flannel_start 1
ok "started again after kill -9" eventually 20 flannel_up 1 2
is "$(kernel 1)" "$wanted" "nothing in the kernel is another"
kill $monitor
is "$(grep -cE 'Deleted|flannel.*state DOWN' "$T/monitor")" 0 "... nor was in between"

# ---- the uplink ----
on 2 ip link set eth0 down
sleep 0.2
on 2 ip link set eth0 up
on 2 ip addr add fd78::2/64 dev eth0 nodad
on 2 ip route add 192.0.2.10 via 10.78.0.254
ok "the uplink goes down and up" eventually 20 all reaches
on 3 ip addr del 10.78.0.3/24 dev eth0
on 3 ip addr add 10.78.0.33/24 dev eth0
on 3 ip route add 192.0.2.10 via 10.78.0.254
moved() { [ "$(on 1 bridge fdb show dev flannel.1 | grep -c 'dst 10.78.0.33')" = 1 ]; }
ok "a node changes its address" eventually 30 moved
ok "... and is reached" eventually 20 all reaches
is "$(annotation 3 public-ip)" 10.78.0.33 "... where it says"
on 1 ip link set eth0 mtu 1400
ok "the MTU follows the uplink's" eventually 10 grep -q FLANNEL_MTU=1330 "$T/root1/run/flannel/subnet.env"
is "$(link_of 1 flannel.1 mtu)" 1350 "... the link's too"
on 1 ip link set eth0 mtu 1500

# ---- peers come and go ----
flannel_stop 3
api DELETE /api/v1/nodes/node3 >/dev/null
absent() { ! kernel 1 | grep -qE '10\.244\.3\.|fd44:0:0:3|10\.78\.0\.33|fd78::3'; }
ok "a node that goes takes everything with it" eventually 10 absent
overlay_object 3
started=$(date +%s%N)
flannel_start 3
ok "... and may come again" eventually 20 all reaches
diag "joined and reached after $((($(date +%s%N) - started) / 1000000)) ms"

# ---- neighbours that lie ----
# liar NAME CIDR PUBLIC-IP MAC
liar() {
    api_json POST /api/v1/nodes '{"apiVersion":"v1","kind":"Node","metadata":{"name":"'"$1"'","annotations":{"flannel.alpha.coreos.com/kube-subnet-manager":"true","flannel.alpha.coreos.com/backend-type":"vxlan","flannel.alpha.coreos.com/public-ip":"'"$3"'","flannel.alpha.coreos.com/backend-data":"{\"VNI\":1,\"VtepMAC\":\"'"$4"'\"}"}},"spec":{"podCIDR":"'"$2"'","podCIDRs":["'"$2"'"]}}' >/dev/null
}
wanted=$(kernel 1)
on 1 ip addr add 10.244.77.1/32 dev lo
liar liar-ours 10.244.1.128/25 10.78.0.99 0a:00:00:00:00:01
liar liar-peers 10.244.2.0/25 10.78.0.99 0a:00:00:00:00:02
liar liar-out 10.96.0.0/24 10.78.0.99 0a:00:00:00:00:03
liar liar-host 10.244.77.0/24 10.78.0.99 0a:00:00:00:00:04
liar liar-ip 10.244.101.0/24 224.0.0.1 0a:00:00:00:00:05
liar liar-mac 10.244.102.0/24 10.78.0.99 "$mac"
liar liar-group 10.244.103.0/24 10.78.0.99 01:00:5e:00:00:01
liar liar-text 10.244.104.0/24 10.78.0.99 nonsense
for n in ours peers out host ip mac group text; do
    ok "node1 refuses liar-$n" eventually 10 grep -qE "(lease is not used|cannot be understood).*node=liar-$n reason=" "$T/flannel1.log"
done
is "$(kernel 1)" "$wanted" "the kernel heard of none of them"
ok "... and pods reach each other" all reaches
for n in ours peers out host ip mac group text; do api DELETE /api/v1/nodes/liar-$n >/dev/null; done
on 1 ip addr del 10.244.77.1/32 dev lo

# ---- direct routing, host-gw ----
again() { for n in 1 2 3; do flannel_stop $n; flannel_start $n; done; }
conf '"Type":"vxlan","DirectRouting":true'
again
direct() { [ "$(on 1 ip route show 10.244.2.0/24)" = "10.244.2.0/24 via 10.78.0.2 dev eth0 proto 70 " ] && [ -z "$(on 1 bridge fdb show dev flannel.1)" ]; }
ok "neighbours are reached directly" eventually 20 direct
ok "... their pods too" eventually 10 all reaches
conf '"Type":"host-gw"'
again
hostgw() { ! on 1 ip link show flannel.1 && direct 2>/dev/null; }
ok "host-gw: no link is left" eventually 20 hostgw
ok "... and pods reach each other" eventually 10 all reaches
is "$(annotation 1 backend-data) $(annotation 1 backend-type) $(annotation 1 backend-v6-data)" "null host-gw null" "it publishes no MAC"
is "$(grep MTU "$T/root1/run/flannel/subnet.env")" FLANNEL_MTU=1500 "packets may be as large as the uplink's"
on 1 ip route del 10.244.2.0/24
ok "a deleted route comes back" eventually 10 direct
on 1 ip link set eth0 down
sleep 0.2
on 1 ip link set eth0 up
on 1 ip addr add fd78::1/64 dev eth0 nodad
on 1 ip route add 192.0.2.10 via 10.78.0.254
ok "the uplink goes down and up" eventually 20 all reaches
on 1 ip route replace 10.244.2.0/24 via 10.78.0.254
ok "what somebody else says of a peer's pods is left alone" eventually 10 grep -q 'the route to 10.244.2.0/24 is somebody else' "$T/flannel1.log"
on 1 ip route del 10.244.2.0/24
ok "... until it goes" eventually 40 direct

# ---- masquerading and forwarding ----
flannels_down
saved() { on 1 iptables-save | sed 's/\[[0-9:]*\]//; /^#/d'; }
nsenter --net=/run/netns/"$NS" "$ECHO" serve outside tcp:8080 &
at_end kill $!
in_ns ip route add 10.244.1.0/24 via 10.78.0.1 # so that an answer would find its way without a masquerade too
for n in 1 2; do
    on $n iptables -P FORWARD DROP
    flannel_start $n --ip-masq
done
outside() { [ "$(pod 1 "$ECHO" ask tcp 10.78.0.254 8080 1 1000)" = "outside 10.78.0.1" ]; }
ok "what leaves the overlay is masqueraded" eventually 20 outside
ok "pods reach each other by their own addresses, although FORWARD drops the rest" eventually 10 reaches 1 2 4
is "$(grep IPMASQ "$T/root1/run/flannel/subnet.env")" FLANNEL_IPMASQ=true "subnet.env says who masquerades"
rules=$(saved)
same_rules() { [ "$(saved)" = "$rules" ]; }
on 1 iptables -t nat -F FLANNEL-POSTRTG
ok "a flushed chain comes back" eventually 10 same_rules
on 1 iptables -D FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
ok "... a deleted jump too" eventually 10 same_rules
flannel_stop 1 KILL
flannel_start 1 --ip-masq
sleep 1
ok "a restart doubles nothing" eventually 10 same_rules
on 1 iptables -P FORWARD ACCEPT

# ---- no trace ----
flannels_down
conf '"Type":"vxlan"'
flannel_start 1
ok "from host-gw to vxlan" eventually 20 on 1 ip link show flannel.1
flannel_stop 1
ok "cleaning up" flannel_cleanup 1
is "$(kernel 1)$(find "$T/root1" -type f -not -path "*/var/lib/coracle/journal/*")$(saved | grep FLANNEL)" "" "leaves nothing (but the journal, which is reset's)"
is "$(on 1 ip -o link | sed 's/^[0-9]*: //; s/state.*//' | sort)" "$(cat "$T/links.before")" "... and the links that were there before"
done_testing
