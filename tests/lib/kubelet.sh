# A node of the test's own: coracle-cri and coracle-kubelet in a network namespace $NS, below the
# root $R and the cgroup $CGROUP. Source after tap.sh; after apiserver.sh too for a node in a cluster
# (then $NS is the API server's).
#
#   node_up             the runtime with the image localhost/bb:1 (busybox)
#   kubelet_start [FLAG…], kubelet_stop, kubelet_kill9
#   cri …               the CRI test client
# CRI_FLAGS, an array: more flags of coracle-cri.
. "$TOP/tests/lib/images.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
for tool in jq curl openssl; do command -v $tool >/dev/null || skip_all "$tool is not installed"; done
NS=${NS:-coracle-kubelet-$$}
CGROUP=/coracle-test-$$
R=$T/r
LIBEXEC=$B/libexec/coracle
MANIFESTS=$R/etc/kubernetes/manifests
export CRI_SOCKET=$R/run/coracle/cri.sock
CRI_PID='' KUBELET_PID=''
declare -p CRI_FLAGS >/dev/null 2>&1 || CRI_FLAGS=()

in_ns() { nsenter --net="/run/netns/$NS" "$@"; }
cri() { "$B/tests/bin/cri-client" "$@"; }
cri_start() {
    nsenter --net="/run/netns/$NS" "$LIBEXEC/coracle-cri" --root "$R" --pod-cidr 10.99.0.0/24 --cgroup-root "$CGROUP" "${CRI_FLAGS[@]}" >>"$T/cri.log" 2>&1 &
    CRI_PID=$!
    eventually 20 cri version || { sed 's/^/# /' "$T/cri.log" >&2; bail "coracle-cri does not serve"; }
}
kubelet_start() {
    nsenter --net="/run/netns/$NS" "$LIBEXEC/coracle-kubelet" --root "$R" --hostname-override n1 --node-ip 192.0.2.10 \
        --cgroup-root "$CGROUP" --v 4 "$@" >>"$T/kubelet.log" 2>&1 &
    KUBELET_PID=$!
}
kubelet_stop() { kill "$KUBELET_PID" && wait "$KUBELET_PID"; }
kubelet_kill9() { kill -9 "$KUBELET_PID" && wait "$KUBELET_PID" 2>/dev/null; :; }

_cgroup_dirs() { find /sys/fs/cgroup -depth -type d -path "*$CGROUP*" 2>/dev/null; }
_node_down() {
    local p d m
    [ -z "$KUBELET_PID" ] || { kill -9 "$KUBELET_PID" && wait "$KUBELET_PID"; } 2>/dev/null
    if [ -n "$CRI_PID" ]; then
        kill -0 "$CRI_PID" 2>/dev/null || cri_start
        for p in $(cri pods | jq -r '.items[]?.id'); do cri rmp "$p"; done
        kill "$CRI_PID" 2>/dev/null
        wait "$CRI_PID" 2>/dev/null
    fi
    for m in $(awk -v r="$R/" 'index($5, r) == 1 {print $5}' /proc/self/mountinfo | tac); do umount -l "$m"; done
    for d in $(_cgroup_dirs); do rmdir "$d" 2>/dev/null; done
    return 0
}
node_up() {
    if [ ! -e "/run/netns/$NS" ]; then
        ip netns add "$NS" || bail "cannot make a network namespace"
        at_end ip netns del "$NS"
        in_ns ip link set lo up
        in_ns ip addr add 192.0.2.10/32 dev lo
    fi
    mkdir -p "$MANIFESTS"
    at_end _node_down
    busybox_root "$T/bb"
    make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin","FROM=image"]}'
    cri_start
    cri import "$T/bb.tar" >/dev/null || bail "cannot import the image"
}
# What runs: "pod/container attempt" a line.
running() {
    cri ps | jq -r '.containers[]? | select(.state=="CONTAINER_RUNNING") |
        .labels["io.kubernetes.pod.name"] + "/" + .metadata.name + " " + ((.metadata.attempt // 0)|tostring)' | sort
}
is_running() { running | grep -qx "$1"; }
# container_id POD CONTAINER: of the running one.
container_id() {
    cri ps | jq -r --arg p "$1" --arg c "$2" '.containers[]? | select(.state=="CONTAINER_RUNNING" and
        .labels["io.kubernetes.pod.name"]==$p and .metadata.name==$c) | .id'
}
in_pod() { local p=$1 c=$2; shift 2; cri exec "$(container_id "$p" "$c")" "$@"; }
