#!/usr/bin/env bash
# Images: what the node tells of them, and that unused ones go when the disk fills up.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
mkdir -p "$T/idle" && head -c 300000 /dev/urandom >"$T/idle/file"
make_image "$T/idle.tar" localhost/idle:1 "$T/idle" '{"Cmd":["none"]}'
cri import "$T/idle.tar" >/dev/null || bail "cannot import the image"
FLAGS=(--kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt")
config() { printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n%s\n' "$1" >"$T/config.yaml"; }
images() { get /api/v1/nodes/n1 '[.status.images[]?.names[] | select(startswith("localhost/") and (contains("@")|not))] | sort | join(" ")'; }
images_are() { [ "$(images)" = "$1" ]; }

kubelet_start "${FLAGS[@]}"
create used "$(spec "$(container "$SLEEP")")" >/dev/null
ok "a pod runs" eventually 40 ready used
ok "the node tells its images" eventually 40 images_are "localhost/bb:1 localhost/idle:1"
is "$(get /api/v1/nodes/n1 '[.status.images[].sizeBytes > 0] | all')" true "... and their sizes"

# This disk is never so empty: everything unused has to go, once it is old enough.
kubelet_stop
config 'imageGCHighThresholdPercent: 1
imageGCLowThresholdPercent: 0'
kubelet_start "${FLAGS[@]}" --config "$T/config.yaml"
ok "unused images go when the disk is fuller than it may be" eventually 40 images_are localhost/bb:1
is "$(cri images | grep -c localhost/idle)" 0 "... from the runtime"
ok "... and what has not helped is told" eventually 40 event_says n1 FreeDiskSpaceFailed 'Attempted to free'
ok "the pod runs on" ready used
kubelet_stop
config 'imageGCHighThresholdPercent: 70'
in_ns "$LIBEXEC/coracle-kubelet" --root "$R" --hostname-override n1 --config "$T/config.yaml" >"$T/bad.log" 2>&1
is $? 1 "wrong thresholds are refused"
like "$(cat "$T/bad.log")" 'imageGCLowThresholdPercent: 80 is not below imageGCHighThresholdPercent, 70' "... by name"
done_testing
