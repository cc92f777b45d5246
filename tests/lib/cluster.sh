# A single-node cluster of its own for a test: network namespace, root directory, cgroup. Source
# after tap.sh, then `cluster_start NAME`; everything is undone at the end.
#
#   $NET   prefix of commands that run in the cluster's network namespace
#   $ROOT  --root of the cluster         $KUBECONFIG  its kubeconfig (exported)
#   $CORACLE  the front command
CORACLE=$B/bin/coracle
NODE=node1

# Makes the namespace, with a veth to the outside that only the test uses: 10.77.0.2 is the node,
# 10.77.0.1 the outside.
cluster_net() {
    NS=ct$$
    NET="nsenter --net=/run/netns/$NS"
    ip netns add "$NS"
    at_end ip netns del "$NS"
    ip netns add "${NS}o"
    at_end ip netns del "${NS}o"
    OUTSIDE="nsenter --net=/run/netns/${NS}o"
    ip -n "$NS" link add eth0 type veth peer name eth0 netns "${NS}o"
    ip -n "$NS" addr add 10.77.0.2/24 dev eth0
    ip -n "${NS}o" addr add 10.77.0.1/24 dev eth0
    for n in "$NS" "${NS}o"; do
        ip -n "$n" link set lo up
        ip -n "$n" link set eth0 up
    done
    ip -n "$NS" route add default via 10.77.0.1
    ip -n "${NS}o" route add 10.96.0.0/16 via 10.77.0.2
}

cluster_flags() {
    FLAGS=(--root "$ROOT" --node-name "$NODE" --node-ip 10.77.0.2 --cgroup-root "/coracle-test-$$")
}

cluster_stop() {
    $NET "$CORACLE" reset --yes --root "$ROOT" --cgroup-root "/coracle-test-$$" >"$T/reset.log" 2>&1 ||
        sed 's/^/# reset: /' "$T/reset.log" >&2
}

# Starts `coracle up` with further arguments; its output is in $T/up.log.
cluster_up() {
    $NET "$CORACLE" up "${FLAGS[@]}" "$@" >"$T/up.log" 2>&1
}

cluster_start() {
    cluster_net
    ROOT=$T/r
    mkdir -p "$ROOT"
    export KUBECONFIG=$ROOT/etc/coracle/kubeconfig
    cluster_flags
    at_end cluster_stop
    cluster_up "$@"
}

# Process IDs of the cluster by unit name (etcd, apiserver, …, supervisor).
unit_pid() {
    if [ "$1" = supervisor ]; then
        cat "$ROOT/run/coracle/supervisor/lock"
    else
        jq .pid "$ROOT/run/coracle/supervisor/$1.json"
    fi
}

cluster_logs() {
    for f in "$ROOT"/var/log/coracle/*.log; do
        echo "== ${f##*/}"
        tail -n "${1:-15}" "$f"
    done | sed 's/^/# /' >&2
}
