#!/usr/bin/env bash
# The kubelet over Debian's containerd 1.6, which has no GetContainerEvents: the relist fallback.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/kubelet.sh"
for tool in containerd ctr runc; do command -v $tool >/dev/null || skip_all "$tool is not installed"; done
[ -x /usr/lib/cni/bridge ] || skip_all "containernetworking-plugins is not installed"
ip netns add "$NS" || bail "cannot make a network namespace"
at_end ip netns del "$NS"
in_ns ip link set lo up
in_ns ip addr add 192.0.2.10/32 dev lo
mkdir -p "$T/cd" "$T/cni" "$MANIFESTS"
cat >"$T/cni/10.conflist" <<END
{"cniVersion":"0.4.0","name":"b","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,
 "ipam":{"type":"host-local","ranges":[[{"subnet":"10.77.0.0/24"}]],"dataDir":"$T/ipam"}}]}
END
cat >"$T/cd/c.toml" <<END
version = 2
root = "$T/cd/root"
state = "$T/cd/state"
[grpc]
  address = "$T/cd/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "$T/cni"
    bin_dir = "/usr/lib/cni"
END
export CRI_SOCKET=$T/cd/c.sock
nsenter --net="/run/netns/$NS" containerd -c "$T/cd/c.toml" >"$T/cd.log" 2>&1 &
CONTAINERD_PID=$!
down() {
    [ -z "$KUBELET_PID" ] || kill -9 "$KUBELET_PID" 2>/dev/null
    local p
    for p in $(cri pods | jq -r '.items[]?.id'); do cri stopp "$p"; cri rmp "$p"; done
    kill "$CONTAINERD_PID"
    wait 2>/dev/null
    for p in $(awk -v r="$T/" 'index($5, r) == 1 {print $5}' /proc/self/mountinfo | tac); do umount -l "$p"; done
    for p in $(_cgroup_dirs); do rmdir "$p" 2>/dev/null; done
    return 0
}
at_end down
eventually 20 cri version || bail "containerd does not serve"
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
make_image "$T/pause.tar" localhost/pause:1 "$T/bb" '{"Entrypoint":["/bin/sleep","1000000"]}'
for i in bb pause; do ctr -a "$CRI_SOCKET" -n k8s.io images import "$T/$i.tar" >/dev/null || bail "cannot import"; done
FLAGS=(--container-runtime-endpoint "unix://$CRI_SOCKET" --port 0)
cat >"$MANIFESTS/web.yaml" <<END
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - {name: c, image: "localhost/bb:1", command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.1; done']}
  - {name: d, image: "localhost/bb:1", command: [sh, -c, 'sleep 1; exit 3']}
END
kubelet_start "${FLAGS[@]}"
ok "without events the runtime is asked" eventually 10 grep -q "has no events" "$T/kubelet.log"
ok "a pod runs" eventually 20 is_running "web-n1/c 0"
backs_off() { grep -q "reason=BackOff.*container d" "$T/kubelet.log"; }
ok "a container's end is seen: restarted, then backed off" eventually 20 backs_off
id=$(container_id web-n1 c)
kubelet_kill9
kubelet_start "${FLAGS[@]}"
twice() { [ "$(grep -c "pod added" "$T/kubelet.log")" = 2 ]; }
ok "killed and back" eventually 10 twice
sleep 2.5
is "$(container_id web-n1 c)" "$id" "nothing is restarted or doubled"
is "$(cri pods | jq '.items|length')" 1 "one sandbox"
rm "$MANIFESTS/web.yaml"
gone() { [ "$(cri pods | jq '.items|length')" = 0 ]; }
ok "the manifest removed, the pod goes" eventually 20 gone
done_testing
