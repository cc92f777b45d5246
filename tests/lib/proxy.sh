# Services by packets: a node with pods, another node's pod and the outside, in namespaces of their own,
# and the proxy fed with objects from the test (proxy-drive). Source after tap.sh.
#
#   $NODE $CLIENT $POD1 $POD2 $POD3 $FAR   prefixes of commands run there
#   10.77.0.2 fd77::2     the node           10.77.0.1 fd77::1    the client outside
#   10.244.1.11 … .13     pods of the node   10.244.2.11          a pod of node2 (fd44:1::11 …, fd44:2::11)
#   10.96.0.0/16, 203.0.113.0/24, fd96::/112, fd03::/64 are routed to the node from outside
#
# Every pod serves tcp and udp 8080 and 9090 under its name (p1, p2, p3, far), $SCTP=1: sctp too.
DRIVE=$B/tests/bin/proxy-drive
ECHO=$B/tests/bin/echo
NS=px$$

_ns() { ip netns add "$1" && at_end ip netns del "$1" && ip -n "$1" link set lo up; }
# _link NS IFNAME NAME ADDRESS4 ADDRESS6: a pod behind a link of its own, so that everything is routed.
_pod() {
    _ns "$NS$1"
    ip -n "${NS}n" link add "$2" type veth peer name eth0 netns "$NS$1"
    ip -n "${NS}n" link set "$2" up
    ip -n "$NS$1" link set eth0 up
    ip -n "$NS$1" addr add "$3/32" dev eth0
    ip -n "$NS$1" addr add "$4/128" dev eth0 nodad
    ip -n "${NS}n" addr add 10.244.1.1/32 dev "$2"
    ip -n "${NS}n" addr add fd44:1::1/128 dev "$2" nodad
    ip -n "${NS}n" route add "$3" dev "$2"
    ip -n "${NS}n" route add "$4" dev "$2"
    ip -n "$NS$1" route add 10.244.1.1 dev eth0
    ip -n "$NS$1" route add default via 10.244.1.1
    ip -n "$NS$1" route add fd44:1::1 dev eth0
    ip -n "$NS$1" route add default via fd44:1::1
}
serve() { # NS NAME
    local p=(tcp:8080 udp:8080 tcp:9090 udp:9090)
    [ -n "${SCTP:-}" ] && p+=(sctp:8080)
    nsenter --net="/run/netns/$NS$1" "$ECHO" serve "$2" "${p[@]}" &
    at_end kill $!
}
proxy_net() {
    local n
    _ns "${NS}n"
    _ns "${NS}c"
    ip -n "${NS}n" link add eth0 type veth peer name eth0 netns "${NS}c"
    ip -n "${NS}n" addr add 10.77.0.2/24 dev eth0
    ip -n "${NS}n" addr add fd77::2/64 dev eth0 nodad
    ip -n "${NS}c" addr add 10.77.0.1/24 dev eth0
    ip -n "${NS}c" addr add fd77::1/64 dev eth0 nodad
    for n in n c; do ip -n "$NS$n" link set eth0 up; done
    for n in 10.96.0.0/16 203.0.113.0/24 10.244.0.0/16; do ip -n "${NS}c" route add $n via 10.77.0.2; done
    for n in fd96::/112 fd03::/64 fd44::/16; do ip -n "${NS}c" route add $n via fd77::2; done
    ip -n "${NS}n" route add default via 10.77.0.1
    ip -n "${NS}n" route add default via fd77::1
    NODE="nsenter --net=/run/netns/${NS}n" CLIENT="nsenter --net=/run/netns/${NS}c"
    POD1="nsenter --net=/run/netns/${NS}1" POD2="nsenter --net=/run/netns/${NS}2"
    POD3="nsenter --net=/run/netns/${NS}3" FAR="nsenter --net=/run/netns/${NS}f"
    $NODE sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
        net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0 # they share a rate limit with refusals
    _pod 1 vp1 10.244.1.11 fd44:1::11
    _pod 2 vp2 10.244.1.12 fd44:1::12
    _pod 3 vp3 10.244.1.13 fd44:1::13
    _pod f vpf 10.244.2.11 fd44:2::11
    serve 1 p1
    serve 2 p2
    serve 3 p3
    serve f far
    for n in 11 12 13; do
        eventually 10 $NODE "$ECHO" ask tcp 10.244.1.$n 8080 >/dev/null || bail "no pod"
    done
}

# drive_start FIELDS: starts the proxy with these fields of KubeProxyConfiguration.
drive_start() {
    drive_stop
    rm -f "$T/in"
    mkfifo "$T/in"
    : >"$T/out"
    $NODE "$DRIVE" ${VARIANT:+--variant $VARIANT} --journal "$T/journal" --config "{$DRIVE_CONFIG${1:+,$1}}" \
        <"$T/in" >"$T/out" 2>>"$T/drive.log" &
    DRIVE_PID=$!
    exec 9>"$T/in"
    put '{"kind":"Node","metadata":{"name":"node1"},"status":{"addresses":[{"type":"InternalIP","address":"10.77.0.2"},{"type":"InternalIP","address":"fd77::2"}]}}'
}
drive_stop() { # [SIGNAL]
    [ -n "${DRIVE_PID:-}" ] || return 0
    kill "-${1:-TERM}" "$DRIVE_PID" 2>/dev/null
    exec 9>&-
    wait "$DRIVE_PID" 2>/dev/null
    DRIVE_PID=
}
put() { printf '%s\n' "$*" >&9; }
_synced() { [ "$(grep -c ^synced "$T/out")" -gt "$1" ]; }
sync_proxy() {
    local n
    n=$(grep -c ^synced "$T/out")
    put sync
    eventually "${1:-60}" _synced "$n" || { tail -5 "$T/drive.log" >&2; bail "the proxy does not settle"; }
}
# service NAME SPEC [STATUS]: an object, in JSON.
service() {
    echo '{"kind":"Service","metadata":{"namespace":"default","name":"'"$1"'","uid":"'"$1"'"},"spec":{'"$2"'},"status":{'"${3:-}"'}}'
}
# slice SERVICE PORTS ADDRESS[@NODE][=CONDITIONS]…: one slice for each family among the addresses.
slice() {
    local name=$1 ports=$2 a node cond fam list4= list6=
    shift 2
    for a; do
        cond='"ready":true'
        case $a in *=draining) cond='"ready":false,"serving":true,"terminating":true' ;; *=lost) cond='"ready":false' ;; esac
        a=${a%%=*}
        node=node1
        case $a in *@*) node=${a#*@} ;; esac
        a='{"addresses":["'${a%%@*}'"],"nodeName":"'$node'","conditions":{'$cond'}}'
        case $a in *::*) list6=$list6${list6:+,}$a ;; *) list4=$list4${list4:+,}$a ;; esac
    done
    for fam in 4 6; do
        local list=list$fam
        echo '{"kind":"EndpointSlice","metadata":{"namespace":"default","name":"'"$name-$fam"'","labels":{"kubernetes.io/service-name":"'"$name"'"}},"addressType":"IPv'$fam'","ports":['"$ports"'],"endpoints":['"${!list}"']}'
    done
}
unservice() { echo '{"delete":{"kind":"Service","metadata":{"namespace":"default","name":"'"$1"'"}}}'; }
unslice() {
    echo '{"delete":{"kind":"EndpointSlice","metadata":{"namespace":"default","name":"'"$1-4"'"}}}'
    echo '{"delete":{"kind":"EndpointSlice","metadata":{"namespace":"default","name":"'"$1-6"'"}}}'
}

# answers FROM PROTO ADDRESS PORT EXPECTED [MS]: what the answer is. (A refusal on the way out may come with the second SYN only.)
answers() { is "$($1 "$ECHO" ask "$2" "$3" "$4" 1 "${6:-3000}")" "$5" "$2 $3 $4 from ${1##*$NS}: $5"; }
# names FROM PROTO ADDRESS PORT COUNT: who answered.
names() { $1 "$ECHO" names "$2" "$3" "$4" "$5" | sed 's/:.*//' | tr '\n' ' ' | sed 's/ $//'; }
