#!/usr/bin/env bash
# The kubelet without an API server: static pods over coracle-cri.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/kubelet.sh"
node_up
PORT=10250
# Certificates for the server's clients.
mkdir -p "$T/pki"
for ca in ca other; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$T/pki/$ca.key" \
        -subj "/CN=$ca" -days 2 -out "$T/pki/$ca.crt" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$T/pki/$ca-client.key" \
        -subj /CN=client -out "$T/pki/$ca-client.csr" 2>/dev/null
    openssl x509 -req -in "$T/pki/$ca-client.csr" -CA "$T/pki/$ca.crt" -CAkey "$T/pki/$ca.key" -CAcreateserial \
        -days 2 -extfile <(echo extendedKeyUsage=clientAuth) -out "$T/pki/$ca-client.crt" 2>/dev/null
done
server() {
    local path=$1
    shift
    in_ns curl -sk --max-time 20 --cert "$T/pki/ca-client.crt" --key "$T/pki/ca-client.key" "$@" "https://127.0.0.1:$PORT$path"
}
manifest() { cat >"$MANIFESTS/.$1" && mv "$MANIFESTS/.$1" "$MANIFESTS/$1"; }
status() { server /pods | jq -c --arg p "$1" '.items[] | select(.metadata.name == $p) | .status'; }
waiting_reason() { [ "$(status "$1" | jq -r '.containerStatuses[0].state.waiting.reason')" = "$2" ]; }
condition() { [ "$(status "$1" | jq -r --arg t "$2" '.conditions[] | select(.type == $t) | .status')" = "$3" ]; }
phase() { [ "$(status "$1" | jq -r .phase)" = "$2" ]; }
gone() { ! cri pods | grep -q "\"$1\""; }

manifest web.yaml <<END
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 5
  hostAliases: [{ip: 192.0.2.99, hostnames: [alias.example]}]
  containers:
  - name: web
    image: localhost/bb:1
    command: [sh, -c, "trap 'exit 0' TERM; httpd -f -p 80 -h /www & echo begun; while :; do sleep 0.05; done"]
    readinessProbe: {httpGet: {path: /index.html, port: http}, periodSeconds: 1}
    livenessProbe: {tcpSocket: {port: http}, initialDelaySeconds: 2, periodSeconds: 1}
    ports: [{name: http, containerPort: 80}]
    resources: {requests: {cpu: 0.1, memory: 16Mi}, limits: {memory: 64Mi}}
    volumeMounts: [{name: shared, mountPath: /shared}, {name: mem, mountPath: /mem}, {name: host, mountPath: /host, readOnly: true}]
  - name: side
    image: localhost/bb:1
    command: [sh, -c, "trap 'exit 0' TERM; wget -qO- http://127.0.0.1/index.html; echo \$NAME from \$IP; while :; do sleep 0.05; done"]
    env:
    - {name: FIRST, value: hello}
    - {name: NAME, value: "\$(FIRST)-\$(POD)"}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    volumeMounts: [{name: shared, mountPath: /inner, subPath: a/b}]
  volumes:
  - {name: shared, emptyDir: {}}
  - {name: mem, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: host, hostPath: {path: $T/hostdir, type: DirectoryOrCreate}}
END
cat >"$T/config.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
clusterDNS: [10.96.0.10]
clusterDomain: example.local
authentication: {x509: {clientCAFile: $T/pki/ca.crt}}
cpuManagerPolicy: static
END
kubelet_start --config "$T/config.yaml" --pod-infra-container-image example/pause:1 --fail-swap-on=false

# ---- a pod runs ----
ok "both containers of the manifest run" eventually 40 is_running "web-n1/side 0"
ok "the pod is ready" eventually 40 condition web-n1 Ready True
s=$(status web-n1)
is "$(jq -r .phase <<<"$s")" Running "phase"
is "$(jq -r .qosClass <<<"$s")" Burstable "QoS class"
is "$(jq -r '[.conditions[].type]|sort|join(" ")' <<<"$s")" "ContainersReady Initialized PodReadyToStartContainers PodScheduled Ready" "conditions"
ip=$(jq -r .podIP <<<"$s")
like "$ip" '^10\.99\.0\.' "it has an address"
is "$(in_ns curl -s --max-time 5 "http://$ip/index.html")" "hello from the image" "it answers"
log=$R/var/log/pods/default_web-n1_$(server /pods | jq -r '.items[0].metadata.uid')
ok "the containers share localhost" eventually 40 grep -q "hello from the image" "$log/side/0.log"
like "$(cat "$log/side/0.log")" "hello-.*\(POD\) from $ip" "the environment: a reference sees what stands before it"
is "$(in_pod web-n1 web sh -c 'echo x >/shared/f; ls /shared' | xargs)" "a f" "emptyDir, and the subPath made in it"
in_pod web-n1 side sh -c 'echo inside >/inner/g'
is "$(in_pod web-n1 web cat /shared/a/b/g)" inside "a subPath is a part of the volume"
like "$(in_pod web-n1 web mount)" "tmpfs on /mem" "emptyDir in memory"
like "$(in_pod web-n1 web sh -c 'touch /host/x' 2>&1)" "Read-only" "hostPath, read-only"
like "$(in_pod web-n1 web cat /etc/hosts)" "$ip.web-n1.*192.0.2.99.alias.example" "/etc/hosts"
is "$(in_pod web-n1 web hostname)" web-n1 "host name"
like "$(in_pod web-n1 web cat /etc/resolv.conf)" "default.svc.example.local.*nameserver 10.96.0.10" "resolv.conf, from the configuration file's DNS"
like "$(cat "$T/kubelet.log")" "not supported.*cpuManagerPolicy" "a field of the file that is not supported is named"
like "$(grep 'flag is not supported' "$T/kubelet.log" | xargs)" "pod-infra-container-image.*fail-swap-on" "... and flags"
printf 'kind: Other\n' >"$T/other.yaml"
like "$(in_ns "$LIBEXEC/coracle-kubelet" --root "$T/other" --config "$T/other.yaml" 2>&1)" "other.yaml: kind" "a file of another kind is refused"
printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nnonsense: 1\n' >"$T/other.yaml"
like "$(in_ns "$LIBEXEC/coracle-kubelet" --root "$T/other" --config "$T/other.yaml" 2>&1)" "other.yaml: nonsense: there is no such field" "... and one with a field that does not exist"
group=$(find /sys/fs/cgroup -path "*$CGROUP/kubepods/burstable/pod*" -name 'memory.limit_in_bytes' -o -path "*$CGROUP/kubepods/burstable/pod*" -name memory.max 2>/dev/null | head -1)
like "$group" "kubepods/burstable/pod" "the pod's cgroup below its QoS class"

hint() { in_ns "$1" -t mangle 2>/dev/null | grep -c '^:KUBE-IPTABLES-HINT '; }
hints() { [ "$(hint iptables-save)$(hint ip6tables-save)" = 11 ]; }
ok "iptables has the chain that tells containers which flavour the host uses" eventually 20 hints

# ---- the server ----
is "$(in_ns curl -s --max-time 5 http://127.0.0.1:10248/healthz)" ok "healthz for everybody"
is "$(server /healthz)" ok "healthz"
is "$(server '/run/default/web-n1/web?cmd=hostname%20-s' -X POST)" web-n1 "run: a command's output"
is "$(in_ns curl -sk -o /dev/null -w '%{http_code}' "https://127.0.0.1:$PORT/pods")" 401 "no certificate: 401"
is "$(in_ns curl -sk -o /dev/null -w '%{http_code}' --cert "$T/pki/other-client.crt" --key "$T/pki/other-client.key" "https://127.0.0.1:$PORT/pods")" 401 "a certificate of another CA: 401"
is "$(server /runningpods/ | jq -r '.items[0].spec.containers | length')" 2 "running pods"
is "$(server /containerLogs/default/web-n1/web)" begun "logs"
in_pod web-n1 side sh -c 'for i in 1 2 3 4 5; do echo line $i >/proc/1/fd/1; done'
ok "logs written later" eventually 40 bash -c "grep -q 'line 5' '$log/side/0.log'"
is "$(server '/containerLogs/default/web-n1/side?tailLines=2' | xargs)" "line 4 line 5" "tail"
like "$(server '/containerLogs/default/web-n1/side?tailLines=1&timestamps=true')" '^20[0-9T:.-]*Z line 5$' "timestamps"
is "$(server '/containerLogs/default/web-n1/side?tailLines=2&limitBytes=8' | xargs)" "line 4 l" "limitBytes"
is "$(server '/containerLogs/default/web-n1/side?sinceTime=2100-01-01T00:00:00Z')" "" "sinceTime"
like "$(server '/containerLogs/default/web-n1/side?previous=true')" "previous terminated container .* not found" "previous"
is "$(server /containerLogs/default/web-n1/none -o /dev/null -w '%{http_code}')" 404 "an unknown container"
server '/containerLogs/default/web-n1/side?follow=true&tailLines=0' -N >"$T/followed" &
follower=$!
follows() { in_pod web-n1 side sh -c 'echo followed >/proc/1/fd/1' && sleep 0.1 && grep -qx followed "$T/followed"; }
ok "following: what is written arrives" eventually 40 follows

# ---- the kubelet is killed and comes back ----
before=$(running)
ids=$(cri ps | jq -r '.containers[].id' | sort)
kubelet_kill9
is "$(running)" "$before" "killed: containers run on"
kubelet_start --client-ca-file "$T/pki/ca.crt"
ok "it serves again" eventually 40 condition web-n1 Ready True
sleep 0.5
is "$(cri ps | jq -r '.containers[].id' | sort)" "$ids" "no container was restarted or doubled"
is "$(status web-n1 | jq -r '[.containerStatuses[].restartCount]|add')" 0 "restart counts are kept"

# ---- the runtime is killed and comes back ----
kill -9 "$CRI_PID"
wait "$CRI_PID" 2>/dev/null
sleep 0.5
cri_start
ok "the runtime killed: still ready" condition web-n1 Ready True
is "$(cri ps | jq -r '.containers[].id' | sort)" "$ids" "... with the same containers"

# ---- restarts ----
manifest crash.json <<'END'
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "crash"}, "spec": {"containers": [{"name": "c", "image": "localhost/bb:1",
 "command": ["sh", "-c", "echo run; echo last words >/dev/termination-log; exit 3"]}]}}
END
ok "a crashing container backs off" eventually 40 waiting_reason crash-n1 CrashLoopBackOff
s=$(status crash-n1 | jq -c '.containerStatuses[0]')
is "$(jq -r '.lastState.terminated.exitCode, .restartCount' <<<"$s" | xargs)" "3 1" "with its exit code and count"
is "$(jq -r '.lastState.terminated.message' <<<"$s")" "last words" "and its termination message"
like "$(jq -r '.state.waiting.message' <<<"$s")" 'back-off 10s restarting failed container=c pod=crash-n1_default\(' "and upstream's text"
is "$(server '/containerLogs/default/crash-n1/c?previous=true')" run "logs of the previous run"
kubelet_kill9
kubelet_start --client-ca-file "$T/pki/ca.crt"
ok "killed in a back-off: it goes on" eventually 40 waiting_reason crash-n1 CrashLoopBackOff
is "$(status crash-n1 | jq -r '.containerStatuses[0].restartCount')" 1 "... where it was"
rm "$MANIFESTS/crash.json"
ok "its manifest removed, it goes" eventually 40 gone crash-n1

# ---- liveness ----
manifest live.yaml <<END
apiVersion: v1
kind: Pod
metadata: {name: live}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: c
    image: localhost/bb:1
    command: [sh, -c, "trap 'exit 0' TERM; touch /tmp/ok; while :; do sleep 0.05; done"]
    livenessProbe: {exec: {command: [test, -e, /tmp/ok]}, initialDelaySeconds: 1, timeoutSeconds: 10, periodSeconds: 1, failureThreshold: 2}
END
ok "a pod with an exec probe runs" eventually 40 is_running "live-n1/c 0"
sleep 1.5
ok "... and stays" is_running "live-n1/c 0"
in_pod live-n1 c rm /tmp/ok
ok "a failing liveness probe restarts it" eventually 40 is_running "live-n1/c 1"
rm "$MANIFESTS/live.yaml"

# ---- a shim is killed ----
web_ids=$(cri ps | jq -r '.containers[] | select(.labels["io.kubernetes.pod.name"]=="web-n1") | .id' | sort)
manifest victim.yaml <<END
apiVersion: v1
kind: Pod
metadata: {name: victim}
spec: {terminationGracePeriodSeconds: 2, containers: [{name: c, image: "localhost/bb:1", command: [sleep, "1000"]}]}
END
ok "a victim runs" eventually 40 is_running "victim-n1/c 0"
sandbox=$(cri pods | jq -r '.items[] | select(.metadata.name=="victim-n1") | .id')
shim=$(pgrep -f "coracle-shim .*$sandbox" | head -1)
kill -9 "$shim"
ok "its shim killed, the pod restarts" eventually 40 is_running "victim-n1/c 1"
s=$(status victim-n1 | jq -c '.containerStatuses[0]')
is "$(jq -r .lastState.terminated.exitCode <<<"$s")" 137 "... its containers reported as killed"
is "$(cri ps | jq -r '.containers[] | select(.labels["io.kubernetes.pod.name"]=="web-n1") | .id' | sort)" "$web_ids" "... and no other pod is touched"
rm "$MANIFESTS/victim.yaml"

# ---- what cannot run ----
printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: {containers: [{name: c, image: 5}]}\n' | manifest bad.yaml
printf 'kind: [' | manifest broken.yaml
ok "a wrong type is refused with file and field" eventually 40 grep -q "bad.yaml.*spec.containers\[0\].image" "$T/kubelet.log"
ok "broken YAML is refused with the file" eventually 40 grep -q "broken.yaml" "$T/kubelet.log"
manifest image.yaml <<END
apiVersion: v1
kind: Pod
metadata: {name: image}
spec: {containers: [{name: c, image: "localhost/none:1", imagePullPolicy: Never}]}
END
ok "an image that is not there" eventually 40 waiting_reason image-n1 ErrImageNeverPull
manifest volume.yaml <<END
apiVersion: v1
kind: Pod
metadata: {name: volume}
spec:
  containers: [{name: c, image: "localhost/bb:1", volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, cephfs: {monitors: [x]}}]
END
ok "an unknown kind of volume" eventually 40 grep -q 'reason=FailedMount.*cephfs' "$T/kubelet.log"
ok "none of these touches another pod" condition web-n1 Ready True
rm "$MANIFESTS"/{bad,broken,image,volume}.yaml

# ---- completion, init containers ----
manifest job.yaml <<END
apiVersion: v1
kind: Pod
metadata: {name: job}
spec:
  restartPolicy: Never
  initContainers: [{name: first, image: "localhost/bb:1", command: [sh, -c, "echo from init >/v/f"], volumeMounts: [{name: v, mountPath: /v}]}]
  containers: [{name: c, image: "localhost/bb:1", command: [cat, /v/f], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, emptyDir: {}}]
END
ok "a pod that ends well succeeds" eventually 40 phase job-n1 Succeeded
is "$(server /containerLogs/default/job-n1/c)" "from init" "after its init container; its log stays"
is "$(status job-n1 | jq -r '.containerStatuses[0].state.terminated.reason')" Completed "reason"
kubelet_kill9
kubelet_start --client-ca-file "$T/pki/ca.crt"
eventually 40 phase job-n1 Succeeded
is "$(status job-n1 | jq -r '.phase, .containerStatuses[0].restartCount' | xargs)" "Succeeded 0" "a restarted kubelet does not run it again"

# ---- the end ----
rm "$MANIFESTS"/*.yaml
ok "manifests removed: pods go" eventually 40 bash -c "[ \"\$('$B/tests/bin/cri-client' pods | jq '.items|length')\" = 0 ]"
ok "... their directories" eventually 40 bash -c "[ -z \"\$(ls '$R/var/lib/kubelet/pods' '$R/var/log/pods' '$R/var/log/containers' | grep -v :)\" ]"
is "$(find /sys/fs/cgroup -type d -path "*$CGROUP/kubepods*/pod*" | wc -l)" 0 "... their cgroups"
is "$(grep -c "$R/" /proc/self/mountinfo)" 0 "... their mounts"
wait $follower
is "$(tail -n1 "$T/followed")" followed "the followed log has ended"
# A pod that nobody wants any more, found after a restart.
manifest orphan.yaml <<END
apiVersion: v1
kind: Pod
metadata: {name: orphan}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: "localhost/bb:1", command: [sleep, "1000"]}]}
END
eventually 40 is_running "orphan-n1/c 0"
kubelet_kill9
rm "$MANIFESTS/orphan.yaml"
kubelet_start --client-ca-file "$T/pki/ca.crt"
ok "orphans of before the restart are removed" eventually 40 gone orphan-n1
kubelet_stop
is $? 0 "SIGTERM: an orderly end"
KUBELET_PID=
in_ns "$LIBEXEC/coracle-kubelet" --root "$R" --cgroup-root "$CGROUP" --cleanup
is "$? $(hint iptables-save)$(hint ip6tables-save)" "0 00" "--cleanup removes its chains"
is "$(in_ns nft list tables 2>/dev/null | grep -c mangle)" 0 "... and the tables that were made for them"
unlike "$(cat "$T/kubelet.log")" "AddressSanitizer|runtime error" "no sanitizer report"
done_testing
