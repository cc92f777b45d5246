# A coracle-cri of the test's own: its network namespace, root, cgroups. Source after tap.sh.
#
# With CRI_PEER=containerd the same test runs against Debian's containerd, so that a wrong expectation of a
# test shows; what only ours promises stands behind `ours`.
. "$TOP/tests/lib/images.sh"
ours() { [ -z "${CRI_PEER:-}" ]; }
NETNS=cri-$$
CGROUP=/coracle-test-$$
R=$T/r
LIBEXEC=$B/libexec/coracle
export CRI_SOCKET=$R/run/coracle/cri.sock
if ! ours; then
    . "$TOP/tests/lib/containerd.sh"
    CRI_SOCKET=$CONTAINERD_SOCKET
fi
# Streams are on the node's loopback, so that the client is in the node's namespace too. As a kubelet does, it
# sends the pod's configuration with its containers'.
cri() {
    local id client=(nsenter --net="/run/netns/$NETNS" "$B/tests/bin/cri-client")
    if [ "$1" = runp ] && id=$("${client[@]}" "$@"); then
        printf '%s' "$2" >"$T/pod-$id" && echo "$id"
    elif [ "$1" = create ] && [ -f "$T/pod-$2" ]; then
        "${client[@]}" "$@" "$(cat "$T/pod-$2")"
    elif [ "$1" != runp ]; then
        "${client[@]}" "$@"
    else
        return 1
    fi
}
export NETNS B T
export -f cri

# cri_setup: the namespace; cri_start [FLAG…]: the daemon, ready when it returns.
cri_setup() {
    [ "$(id -u)" = 0 ] || skip_all "needs root"
    command -v jq >/dev/null || skip_all "needs jq"
    ours || [ -z "$(containerd_missing)" ] || skip_all "$(containerd_missing)"
    mkdir -p "$R"
    ip netns add "$NETNS" || bail "no network namespace"
    at_end ip netns del "$NETNS"
    nsenter --net="/run/netns/$NETNS" ip link set lo up
    at_end cri_remove_cgroups
    ! ours || at_end cri_cleanup
}
in_node() { nsenter --net="/run/netns/$NETNS" "$@"; }
cri_import() { if ours; then cri import "$1"; else containerd_import "$1"; fi; }
cri_start() {
    if ! ours; then
        if [ -z "$CONTAINERD_PID" ]; then containerd_start "$NETNS"; else _containerd_run "$NETNS"; fi
        CRI_PID=$CONTAINERD_PID
        return
    fi
    nsenter --net="/run/netns/$NETNS" "$LIBEXEC/coracle-cri" --root "$R" --pod-cidr 10.99.0.0/24 --cgroup-root "$CGROUP" "$@" >>"$T/cri.log" 2>&1 &
    CRI_PID=$!
    eventually 20 cri version || { sed 's/^/# /' "$T/cri.log" >&2; bail "coracle-cri does not serve"; }
}
cri_kill9() { kill -9 "$CRI_PID"; wait "$CRI_PID" 2>/dev/null; }
cri_stop() { kill "$CRI_PID"; wait "$CRI_PID"; }
# Whatever state the test ended in: a daemon that removes every sandbox, then goes.
cri_cleanup() {
    kill -0 "$CRI_PID" 2>/dev/null || cri_start
    local p
    for p in $(cri pods | jq -r '.items[]?.id'); do cri rmp "$p"; done
    kill "$CRI_PID" 2>/dev/null
    wait "$CRI_PID" 2>/dev/null
    return 0
}
cri_cgroups() { find /sys/fs/cgroup -depth -type d -path "*$CGROUP*" 2>/dev/null; }
cri_remove_cgroups() {
    local d
    for d in $(cri_cgroups); do rmdir "$d" 2>/dev/null; done
    return 0
}
# pod NAME [JQ]: a sandbox's configuration, changed by the jq expression.
pod() {
    jq -cn --arg n "$1" --arg log "$T/logs/$1" --arg cg "$CGROUP/pod-$1" \
        '{metadata: {name: $n, uid: ("uid-" + $n), namespace: "default"}, hostname: $n, log_directory: $log,
          labels: {app: $n}, annotations: {note: "kept"},
          dns_config: {servers: ["10.96.0.10"], searches: ["default.svc.cluster.local"], options: ["ndots:5"]},
          linux: {cgroup_parent: $cg, security_context: {namespace_options: {pid: "CONTAINER"}}}} | '"${2:-.}"
}
# container NAME SHELL-COMMAND [JQ]
container() {
    jq -cn --arg n "$1" --arg c "$2" \
        '{metadata: {name: $n}, image: {image: "localhost/bb:1"}, command: ["/bin/sh", "-c", $c],
          log_path: ($n + "/0.log"), labels: {c: $n},
          linux: {security_context: {namespace_options: {pid: "CONTAINER"}, seccomp: {profile_type: "RuntimeDefault"},
            masked_paths: ["/proc/version", "/proc/no/such"], readonly_paths: ["/proc/sys"]}}} | '"${3:-.}"
}
# run POD NAME COMMAND [JQ]: creates and starts, prints the id.
run() {
    local id
    id=$(cri create "$1" "$(container "$2" "$3" "${4:-.}")") && cri start "$id" && echo "$id"
}
state() { cri inspect "$1" | jq -r .status.state; }
is_state() { [ "$(state "$1")" = "CONTAINER_$2" ]; }
field() { cri inspect "$1" | jq -r ".status.$2"; }
output() { cri logs "$1" | sed 's/^[^ ]* std[a-z]* [FP] //'; }
