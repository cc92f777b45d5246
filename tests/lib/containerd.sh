# Debian's containerd with its CRI plugin and runc: the peer that tests and benchmarks compare with. Source
# after tap.sh and images.sh.
#
#   containerd_missing           prints what of it is not installed
#   containerd_start NETNS       in that network namespace; CONTAINERD_SOCKET, CONTAINERD_PID; ends at the end
#   containerd_import ARCHIVE…   into the images of its CRI plugin
CONTAINERD_SOCKET=$T/cd/c.sock
CONTAINERD_PID=
containerd_missing() {
    local tool
    for tool in containerd ctr runc; do command -v $tool >/dev/null || echo "$tool is not installed"; done
    [ -x /usr/lib/cni/bridge ] || echo "containernetworking-plugins is not installed"
}
containerd_import() {
    local archive
    for archive; do ctr -a "$CONTAINERD_SOCKET" -n k8s.io images import "$archive" >/dev/null || return 1; done
}
_containerd_cri() { "$B/tests/bin/cri-client" --socket "$CONTAINERD_SOCKET" "$@"; }
_containerd_run() {
    nsenter --net="/run/netns/$1" containerd -c "$T/cd/c.toml" >>"$T/cd.log" 2>&1 &
    CONTAINERD_PID=$!
    eventually 20 ctr -a "$CONTAINERD_SOCKET" version
}
containerd_start() {
    mkdir -p "$T/cd/state" "$T/cd/cni"
    # A tmpfs, as /run is.
    mount -t tmpfs -o mode=755 tmpfs "$T/cd/state"
    at_end containerd_stop "$1"
    cat >"$T/cd/cni/10.conflist" <<END
{"cniVersion":"0.4.0","name":"peer","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"hairpinMode":true,
 "ipam":{"type":"host-local","ranges":[[{"subnet":"10.99.0.0/23"}]],"dataDir":"$T/cd/ipam"}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
END
    cat >"$T/cd/c.toml" <<END
version = 2
root = "$T/cd/root"
state = "$T/cd/state"
[grpc]
  address = "$CONTAINERD_SOCKET"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "$T/cd/cni"
    bin_dir = "/usr/lib/cni"
END
    _containerd_run "$1" || bail "containerd does not serve: $(tail -3 "$T/cd.log")"
    busybox_root "$T/cd/pause"
    make_image "$T/cd/pause.tar" localhost/pause:1 "$T/cd/pause" '{"Entrypoint":["/bin/sleep","1000000"]}'
    containerd_import "$T/cd/pause.tar" || bail "containerd takes no image"
}
containerd_kill9() { kill -9 "$CONTAINERD_PID"; wait "$CONTAINERD_PID" 2>/dev/null; }
containerd_stop() {
    local p
    # It may be gone, or about to go: what ends a test by a signal ends it, too.
    if ! _containerd_cri version >/dev/null 2>&1; then
        kill "$CONTAINERD_PID" 2>/dev/null
        wait "$CONTAINERD_PID" 2>/dev/null
        _containerd_run "$1"
    fi
    for p in $(_containerd_cri pods | jq -r '.items[]?.id'); do
        _containerd_cri stopp "$p"
        _containerd_cri rmp "$p"
    done
    kill "$CONTAINERD_PID"
    wait "$CONTAINERD_PID" 2>/dev/null
    for p in $(awk -v r="$T/cd/" 'index($5, r) == 1 {print $5}' /proc/self/mountinfo | tac); do umount -l "$p"; done
    return 0
}
