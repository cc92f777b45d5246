#!/usr/bin/env bash
# The kubelet over Debian's containerd 1.6, which has no GetContainerEvents: the relist fallback.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/kubelet.sh"
. "$TOP/tests/lib/containerd.sh"
missing=$(containerd_missing)
[ -z "$missing" ] || skip_all "$missing"
ip netns add "$NS" || bail "cannot make a network namespace"
at_end ip netns del "$NS"
in_ns ip link set lo up
in_ns ip addr add 192.0.2.10/32 dev lo
mkdir -p "$MANIFESTS"
export CRI_SOCKET=$CONTAINERD_SOCKET
down() {
    [ -z "$KUBELET_PID" ] || kill -9 "$KUBELET_PID" 2>/dev/null
    wait "$KUBELET_PID" 2>/dev/null
    return 0
}
cgroups_down() {
    local d
    for d in $(_cgroup_dirs); do rmdir "$d" 2>/dev/null; done
    return 0
}
at_end cgroups_down
containerd_start "$NS"
at_end down
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
containerd_import "$T/bb.tar" || bail "cannot import"
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
