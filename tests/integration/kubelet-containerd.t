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
mkdir "$T/pki"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=ca -days 2 \
    -keyout "$T/pki/ca.key" -out "$T/pki/ca.crt" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /O=system:masters/CN=admin \
    -keyout "$T/pki/admin.key" 2>/dev/null | openssl x509 -req -CA "$T/pki/ca.crt" -CAkey "$T/pki/ca.key" \
    -CAcreateserial -days 2 -extfile <(echo extendedKeyUsage=clientAuth) -out "$T/pki/admin.crt" 2>/dev/null
FLAGS=(--container-runtime-endpoint "unix://$CRI_SOCKET" --client-ca-file "$T/pki/ca.crt")
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
ok "without events the runtime is asked" eventually 40 grep -q "has no events" "$T/kubelet.log"
ok "a pod runs" eventually 40 is_running "web-n1/c 0"
backs_off() { grep -q "reason=BackOff.*container d" "$T/kubelet.log"; }
ok "a container's end is seen: restarted, then backed off" eventually 40 backs_off
id=$(container_id web-n1 c)

# ---- streams: what its server does not speak is relayed to SPDY ----
ws() { in_ns timeout 60 "$TOP/tests/lib/ws_client.py" --cert "$T/pki/admin.crt" --key "$T/pki/admin.key" "https://192.0.2.10:10250/$1" "${@:2}" 2>&1; }
is "$(echo typed | in_ns "$B/tests/bin/cri-client" stream -i "$id" sh -c 'cat; exit 4'; echo $?)" $'typed\n4' "exec over SPDY to its streaming server"
if /usr/bin/python3 -c 'import websocket' 2>/dev/null; then
    is "$(ws 'exec/default/web-n1/c?command=sh&command=-c&command=cat;exit+3&input=1&output=1&error=1' v5.channel.k8s.io send:0:'hello\n' end:0 |
        jq -Rr 'if startswith("3 ") then .[2:] | fromjson | .details.causes[0].message else . end' | xargs)" "1 hello 3 close 1000" "exec over WebSocket: input ends, output, exit code"
    is "$(ws 'exec/default/web-n1/c?command=sh&command=-c&command=yes+x+%7C+head+-c+6000000&output=1' v5.channel.k8s.io | grep -o x | wc -l)" 3000000 "... much output"
    in_pod web-n1 c sh -c 'mkdir -p /srv; echo served >/srv/index.html; httpd -p 8080 -h /srv'
    like "$(ws 'portForward/default/web-n1?port=8080' v4.channel.k8s.io send:0:'GET /index.html HTTP/1.0\r\n\r\n')" "200 OK.*served" "port-forward over WebSocket"
else
    skip "python3-websocket is not installed"
fi
kubelet_kill9
kubelet_start "${FLAGS[@]}"
twice() { [ "$(grep -c "pod added" "$T/kubelet.log")" = 2 ]; }
ok "killed and back" eventually 40 twice
sleep 2.5
is "$(container_id web-n1 c)" "$id" "nothing is restarted or doubled"
is "$(cri pods | jq '.items|length')" 1 "one sandbox"
rm "$MANIFESTS/web.yaml"
gone() { [ "$(cri pods | jq '.items|length')" = 0 ]; }
ok "the manifest removed, the pod goes" eventually 40 gone
done_testing
