# Nodes of an overlay: namespaces joined by a bridge in the API server's namespace, each with a pod behind a
# bridge of its own. Source after tap.sh and apiserver.sh; `overlay_net COUNT` makes them; `overlay_hosts COUNT`
# the nodes without pods and Nodes.
#
#   on N COMMAND…         runs it on node N        pod N COMMAND…   in N's pod
#   node N: 10.78.0.N fd78::N on eth0, pods 10.244.N.0/24 fd44:0:0:N::/64, the pod is .2 (::2) and serves tcp 8080
#   flannel_start N [FLAG…], flannel_stop N [SIGNAL]; the configuration is $T/net-conf.json, logs $T/flannel$N.log
ECHO=$B/tests/bin/echo
command -v busybox >/dev/null || skip_all "busybox is not installed"

on() { local n=$1; shift; nsenter --net=/run/netns/fln$$_"$n" "$@"; }
pod() { local n=$1; shift; nsenter --net=/run/netns/flp$$_"$n" "$@"; }
_netns() { ip netns add "$1" && at_end ip netns del "$1" && ip -n "$1" link set lo up; }

overlay_host() {
    local n=$1 node=fln$$_$1
    _netns "$node"
    ip -n "$node" link add eth0 type veth peer name "node$n" netns "$NS"
    in_ns ip link set "node$n" master nodes up
    ip -n "$node" addr add "10.78.0.$n/24" dev eth0
    ip -n "$node" addr add "fd78::$n/64" dev eth0 nodad
    ip -n "$node" link set eth0 up
    ip -n "$node" route add 192.0.2.10 via 10.78.0.254
}
overlay_pod() {
    local n=$1 node=fln$$_$1 pod=flp$$_$1
    _netns "$pod"
    ip -n "$node" link add pods type bridge
    ip -n "$node" link add veth0 type veth peer name eth0 netns "$pod"
    ip -n "$node" link set veth0 master pods up
    ip -n "$node" addr add "10.244.$n.1/24" dev pods
    ip -n "$node" addr add "fd44:0:0:$n::1/64" dev pods nodad
    ip -n "$node" link set pods up
    on "$n" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip -n "$pod" addr add "10.244.$n.2/24" dev eth0
    ip -n "$pod" addr add "fd44:0:0:$n::2/64" dev eth0 nodad
    ip -n "$pod" link set eth0 mtu 1430 up
    ip -n "$pod" route add default via "10.244.$n.1"
    ip -n "$pod" route add default via "fd44:0:0:$n::1"
    nsenter --net=/run/netns/"$pod" "$ECHO" serve "pod$n" tcp:8080 &
    at_end kill $!
}
# The Node, as the kubelet and the node IPAM make it.
overlay_object() {
    api_json POST /api/v1/nodes '{"apiVersion":"v1","kind":"Node","metadata":{"name":"node'"$1"'"},"spec":{"podCIDR":"10.244.'"$1"'.0/24","podCIDRs":["10.244.'"$1"'.0/24","fd44:0:0:'"$1"'::/64"]}}' >/dev/null
}
overlay_hosts() {
    local n
    in_ns ip link add nodes type bridge
    in_ns ip addr add 10.78.0.254/24 dev nodes
    in_ns ip link set nodes up
    sed "s,https://127.0.0.1:6443,https://192.0.2.10:6443," "$T/kubeconfig" >"$T/flannel.kubeconfig"
    for n in $(seq "$1"); do overlay_host "$n"; done
}
overlay_net() {
    local n
    overlay_hosts "$1"
    for n in $(seq "$1"); do
        overlay_pod "$n"
        overlay_object "$n"
    done
}

declare -A FLANNEL
flannel_start() {
    local n=$1
    shift
    mkdir -p "$T/root$n"
    # Not by a function, whose process would be killed in the daemon's place.
    NODE_NAME=node$n nsenter --net=/run/netns/fln$$_"$n" "$B/libexec/coracle/coracle-flannel" --root "$T/root$n" --kube-subnet-mgr \
        --kubeconfig-file "$T/flannel.kubeconfig" --net-config-path "$T/net-conf.json" --iface eth0 "$@" >>"$T/flannel$n.log" 2>&1 &
    FLANNEL[$n]=$!
}
flannel_stop() {
    [ -n "${FLANNEL[$1]:-}" ] || return 0
    kill "-${2:-TERM}" "${FLANNEL[$1]}" 2>/dev/null
    wait "${FLANNEL[$1]}" 2>/dev/null
    FLANNEL[$1]=
}
flannels_down() { local n; for n in "${!FLANNEL[@]}"; do flannel_stop "$n" KILL; done; }
flannel_cleanup() { on "$1" "$B/libexec/coracle/coracle-flannel" --root "$T/root$1" --cleanup; }
flannel_up() { [ "$(grep -c 'the overlay is up' "$T/flannel$1.log")" -ge "${2:-1}" ]; }
annotation() { api GET /api/v1/nodes/node"$1" | jq -r '.metadata.annotations["flannel.alpha.coreos.com/'"$2"'"]'; }

# reaches A B: A's pod asks B's, over both families (4, 6: one of them).
reaches() {
    case ${3:-46} in *4*) [ "$(pod "$1" "$ECHO" ask tcp "10.244.$2.2" 8080 1 1000)" = "pod$2 10.244.$1.2" ] || return 1 ;; esac
    case ${3:-46} in *6*) [ "$(pod "$1" "$ECHO" ask tcp "fd44:0:0:$2::2" 8080 1 1000)" = "pod$2 fd44:0:0:$1::2" ] || return 1 ;; esac
}
pings() { pod "$1" busybox ping -c 1 -W 1 "10.244.$2.2" && pod "$1" busybox ping -6 -c 1 -W 1 "fd44:0:0:$2::2"; }
link_of() { on "$1" ip -j link show "$2" | jq -r ".[0].$3"; } # N LINK FIELD
# Everything that the overlay has put into node N's kernel, whatever its numbers.
kernel() {
    on "$1" ip -d -o link show type vxlan | sed 's/^[0-9]*: //; s/state [A-Z]*//' | sort
    on "$1" ip -o addr | sed -n '/flannel/s/^[0-9]*: //p' | sort
    { on "$1" ip route; on "$1" ip -6 route; } | grep -E 'flannel|proto 70' | sort
    on "$1" ip neigh show nud permanent | sort
    on "$1" bridge fdb show | grep flannel | sort
}
