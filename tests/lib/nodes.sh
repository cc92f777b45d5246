# A cluster of several nodes for a test: a network namespace, root directory and cgroup for each, joined by a
# bridge. Source after tap.sh; `nodes_net COUNT` makes the namespaces, the rest is the test's.
#
#   on N COMMAND…        runs it on node N: 10.79.0.N on eth0, default route to 10.79.0.254 (outside, which has the bridge)
#   root N               its --root        outside COMMAND…
#   node_up [FLAG…]      `coracle up` on node 1           node_join N [FLAG…]   `coracle join` on node N
#   node_reset N         `coracle reset`                  k ARGUMENT…           kubectl 1.20 as the administrator
#   container POD        prints NODE ID of a pod's container; in_pod NODE ID COMMAND…
CORACLE=$B/bin/coracle
[ "$(id -u)" = 0 ] || skip_all "needs root"
[ -x "$CORACLE" ] || skip_all "$CORACLE is not built"
K20=$("$TOP/tests/lib/kubectl-1.20") || bail "no kubectl 1.20"

on() { local n=$1; shift; nsenter --net=/run/netns/cj$$_"$n" "$@"; }
outside() { nsenter --net=/run/netns/cj$$_0 "$@"; }
root() { echo "$T/root$1"; }
_netns() { ip netns add "$1" && at_end ip netns del "$1" && ip -n "$1" link set lo up; }
nodes_net() {
    local n
    _netns cj$$_0
    ip -n cj$$_0 link add nodes type bridge
    ip -n cj$$_0 addr add 10.79.0.254/24 dev nodes
    ip -n cj$$_0 link set nodes up
    for n in $(seq "$1"); do
        _netns cj$$_"$n"
        ip -n cj$$_"$n" link add eth0 type veth peer name "node$n" netns cj$$_0
        ip -n cj$$_0 link set "node$n" master nodes up
        ip -n cj$$_"$n" addr add "10.79.0.$n/24" dev eth0
        ip -n cj$$_"$n" link set eth0 up
        ip -n cj$$_"$n" route add default via 10.79.0.254
        mkdir -p "$(root "$n")"
        at_end node_reset "$n"
    done
    export KUBECONFIG=$(root 1)/etc/coracle/kubeconfig
}
host_flags() { HOST_FLAGS=(--root "$(root "$1")" --cgroup-root "/coracle-test-$$-$1"); }
node_up() { host_flags 1; on 1 "$CORACLE" up "${HOST_FLAGS[@]}" --node-name node1 "$@"; }
node_join() { local n=$1; shift; host_flags "$n"; on "$n" "$CORACLE" join "${HOST_FLAGS[@]}" --node-name "node$n" "$@"; }
node_reset() { host_flags "$1"; on "$1" "$CORACLE" reset --yes "${HOST_FLAGS[@]}"; }
k() { timeout $((60 * SLOW)) nsenter --net=/run/netns/cj$$_1 "$K20" "$@"; }
nodes_logs() {
    local f
    for f in "$T"/root*/var/log/coracle/*.log; do echo "== $f"; tail -n "${1:-8}" "$f"; done | sed 's/^/# /' >&2
}
