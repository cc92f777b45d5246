#!/usr/bin/env bash
# The whole slice through the public interface: `coracle up` to a served request, stock kubectl,
# rolling updates and killed daemons under load, bad input, pulls, and a reset that leaves no trace.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/cluster.sh"
. "$TOP/tests/lib/snapshot.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
[ -x "$CORACLE" ] || skip_all "$CORACLE is not built"

K20=$("$TOP/tests/lib/kubectl-1.20") || bail "no kubectl 1.20"
NEWER=
[ -x /usr/bin/kubectl ] && ! /usr/bin/kubectl version --client 2>/dev/null | grep -q 'v1\.20\.' && NEWER=/usr/bin/kubectl
kill_quietly() { kill "$@" 2>/dev/null || true; }
k() { timeout $((60 * SLOW)) $NET "$K20" "$@"; }
c() { timeout $((60 * SLOW)) $NET "$CORACLE" "$@"; }

if [ -n "${SLICE_UML:-}" ]; then
    # In User Mode Linux starting kubectl takes seconds, most of it its threads: one of them, one kubectl.
    export GOMAXPROCS=1 GODEBUG=asyncpreemptoff=1
    NEWER=
    PAUSE=0.5 # between requests: starting curl takes most of this machine
fi

# ---- up ----
cluster_net
ROOT=$T/r
mkdir -p "$ROOT"
export KUBECONFIG=$ROOT/etc/coracle/kubeconfig
cluster_flags
snapshot >"$T/before"
at_end cluster_stop
ok "up brings a cluster from nothing" cluster_up --apply "$TOP/manifests/examples/hello.yaml" \
    --image "$B/share/coracle/hello.tar" || { cat "$T/up.log"; cluster_logs; bail "no cluster"; }
like "$(cat "$T/up.log")" "Hello from hello-" "and prints the answer through the Service"
like "$(cat "$T/up.log")" "kubeconfig: $KUBECONFIG" "and where the kubeconfig is"
ok "up again" cluster_up --apply "$TOP/manifests/examples/hello.yaml" --image "$B/share/coracle/hello.tar"
like "$(cat "$T/up.log")" "running already" "says that the cluster is running already"
IP=$(k get svc hello -o 'jsonpath={.spec.clusterIP}')
URL=http://$IP/

# ---- stock kubectl ----
with_kubectl() { # program label
    local kubectl=$1 v=$2 out
    kk() { timeout $((60 * SLOW)) $NET "$kubectl" "$@"; }
    like "$(kk get nodes -o wide 2>&1)" "$NODE +Ready .*v1\.36" "$v: get nodes -o wide"
    like "$(kk get pods -o wide 2>&1)" "hello-.* 1/1 +Running +0 .* 10\.244\." "$v: get pods -o wide"
    like "$(kk describe pod -l app=hello 2>&1)" "Reason.*Started container hello" "$v: describe shows events"
    like "$(kk logs deployment/hello 2>&1)" "listening" "$v: logs"
    ok "$v: create deployment" kk create deployment web --image=coracle.local/hello:v1 --replicas=2
    ok "$v: rollout status" kk rollout status deployment/web --timeout=$((30 * SLOW))s
    ok "$v: expose" kk expose deployment web --port=80 --target-port=8080 --type=NodePort
    ok "$v: scale" kk scale deployment/web --replicas=1
    ok "$v: scaled down" eventually 20 pods_are web 1
    ok "$v: set image" kk set image deployment/web "*=coracle.local/hello:missing"
    ok "$v: the new pod's trouble is told" eventually 20 waiting_reason web "ErrImagePull|ImagePullBackOff"
    ok "$v: rollout undo" kk rollout undo deployment/web
    ok "$v: and it recovers" kk rollout status deployment/web --timeout=$((30 * SLOW))s
    out=$(kk get svc web -o 'jsonpath={.spec.ports[0].nodePort}')
    like "$($OUTSIDE curl -sS --max-time $((5 * SLOW)) "http://10.77.0.2:$out/" 2>&1)" "Hello" "$v: the node port answers from outside"
    like "$($NET curl -sS --max-time $((5 * SLOW)) "http://127.0.0.1:$out/" 2>&1)" "Hello" "$v: and on loopback"
    ok "$v: delete" kk delete deployment/web service/web
    ok "$v: its pods go" eventually 30 pods_are web 0
    like "$(kk explain pod.spec.containers.image 2>&1)" "image" "$v: explain"
    ok "$v: apply" kk apply -f "$TOP/manifests/examples/hello.yaml"
}
pods_are() { [ "$(k get pods -l app="$1" -o name | wc -l)" = "$2" ]; }
waiting_reason() { k get pods -l app="$1" -o 'jsonpath={.items[*].status.containerStatuses[*].state.waiting.reason}' | grep -Eq "$2"; }
with_kubectl "$K20" "kubectl 1.20"
if [ -n "$NEWER" ]; then with_kubectl "$NEWER" "newer kubectl"; else skip "no newer kubectl here"; fi

# ---- exec: SPDY through apiserver, kubelet and runtime ----
. "$TOP/tests/lib/images.sh"
BOX=$T/box.tar # busybox, and programs that ask glibc's and musl's resolvers
busybox_root "$T/box"
cp "$B/tests/image/resolve" "$B/tests/image/resolve-musl" "$T/box/bin/"
echo "hosts: files dns" >"$T/box/etc/nsswitch.conf"
make_image "$BOX" coracle.local/busybox:v1 "$T/box"
like "$(c image import "$BOX" --root "$ROOT" 2>&1)" "coracle.local/busybox:v1" "coracle image import"
ok "a pod with a shell" k run box --image=coracle.local/busybox:v1 --image-pull-policy=Never --labels=run=box --command -- httpd -f -p 8000 -h /etc
ok "and a Service in front of it" k expose pod box --port=80 --target-port=8000
ok "it runs" k wait --for=condition=Ready pod/box --timeout=$((20 * SLOW))s
is "$(k exec box -- echo hi 2>&1)" "hi" "kubectl exec runs a command"
is "$(c exec box -- echo hi 2>&1)" "hi" "coracle exec does too"
is "$(echo through | k exec -i box -- cat 2>&1)" "through" "standard input goes in"
is "$(echo through | c exec -i box -- cat 2>&1)" "through" "of coracle exec too"
k exec box -- sh -c 'exit 7' >/dev/null 2>&1
is $? 7 "kubectl exec ends with the command's status"
c exec box -- sh -c 'exit 7' >/dev/null 2>&1
is $? 7 "coracle exec too"
like "$(k exec box -- wget -qO- http://127.0.0.1:8000/passwd 2>&1)" "root" "a pod reaches its own server on localhost"
like "$(k exec box -- wget -qO- "$URL" 2>&1)" "Hello from hello-" "pod → Service → pod"
box=$(k get svc box -o 'jsonpath={.spec.clusterIP}')
like "$(k exec box -- wget -qO- "http://$box/passwd" 2>&1)" "root" "pod → Service → itself"

# ---- names ----
named() { k exec box -- wget -qO- "$1"; }
like "$(named http://hello/ 2>&1)" "Hello from hello-" "a Service is found by its name"
like "$(named http://box.default/passwd 2>&1)" "root" "by name and namespace"
for program in resolve resolve-musl; do
    is "$(k exec box -- $program hello 2>&1)" "$IP" "$program: by name"
    is "$(k exec box -- $program kubernetes.default.svc.cluster.local 2>&1)" "10.96.0.1" "$program: by its whole name"
    is "$(k exec box -- $program absent.default.svc.cluster.local. 2>&1 | head -1)" "no such name" "$program: a name that is not there"
done
like "$(k exec box -- cat /etc/resolv.conf)" "nameserver 10\.96\.0\.10" "at the address where upstream's tools look for it"
like "$(k get svc -n kube-system kube-dns -o wide 2>&1)" "10\.96\.0\.10 .*53/UDP,53/TCP" "which is that of the Service kube-dns"
is "$($NET conntrack -L -d 10.96.0.10 2>/dev/null)" "" "no question was tracked"
like "$(c dns hello 2>&1)" "Service default/hello has cluster IP $IP.*IN A $IP" "coracle dns says what is answered and why"
kill -9 "$(unit_pid dns)"
ok "dns killed: it answers again" eventually 10 named http://hello/

k port-forward pod/box 18000:8000 >"$T/forward.log" 2>&1 &
FORWARD=$!
ok "port-forward" eventually 10 $NET curl -sf http://127.0.0.1:18000/passwd
kill $FORWARD
wait $FORWARD 2>/dev/null

# ---- coracle's own verbs ----
like "$(c get pods -o wide 2>&1)" "NAME +READY.*hello-" "coracle get -o wide"
like "$(c get deployment hello -o yaml 2>&1)" "kind: Deployment" "coracle get -o yaml"
like "$(c get deployment hello -o json 2>&1)" '"kind": "Deployment"' "coracle get -o json"
is "$(c get deployment hello -o name)" "deployment.apps/hello" "coracle get -o name"
like "$(c get pods -A -l app=hello 2>&1)" "default +hello-" "coracle get -A -l"
like "$(c apply -f "$TOP/manifests/examples/hello.yaml" 2>&1)" "service/hello configured" "coracle apply"
like "$(c apply -f "$TOP/manifests/examples/hello.yaml" 2>&1)" "service/hello unchanged" "coracle apply again"
like "$(c logs deployment/hello 2>&1)" "listening" "coracle logs"
like "$(c image list --root "$ROOT" 2>&1)" "coracle.local/hello:v1" "coracle image list"

# ---- a client that never stops asking ----
hammer() { # starts the client
    rm -f "$T/stop" "$T/count" "$T/failed"
    : >"$T/failed"
    (
        n=0
        while [ ! -e "$T/stop" ]; do
            n=$((n + 1))
            echo $n >"$T/count"
            at=$(date +%T.%N)
            $NET curl -sS --max-time $((5 * SLOW)) -o /dev/null -f "$URL" 2>>"$T/failed" && { sleep "${PAUSE:-0}"; continue; }
            { echo "request $n at $at failed"; k get pods,endpointslices -o wide; } >>"$T/failed" 2>&1
        done
    ) &
    HAMMER=$!
    sleep 0.2
}
asked() { [ "$(cat "$T/count" 2>/dev/null)" -gt 5 ] 2>/dev/null; }
hammered() { # DESCRIPTION: stops it; passes when nothing failed
    eventually 30 asked
    touch "$T/stop"
    wait $HAMMER
    if [ ! -s "$T/failed" ] && asked; then
        pass "$1 ($(cat "$T/count") requests)"
    else
        fail "$1" "$(cat "$T/count") requests; $(head -20 "$T/failed")" "$(date +%T.%N)"
    fi
}
containers() { k get pods -l app=hello -o 'jsonpath={range .items[*]}{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort; }

# hello serves on for 2 s after SIGTERM. That is time enough for a machine to program its rules; for one that is
# SLOW times slower it is SLOW times as much.
if [ "$SLOW" -gt 1 ]; then
    grace=$((2 * SLOW))
    # There a rule takes up to 16 s beside other tests; a pod has 30 s to end.
    [ -z "${SLICE_UML:-}" ] || grace=20
    k set env deployment/hello GRACE_SECONDS=$grace >/dev/null &&
        k rollout status deployment/hello --timeout=$((60 * SLOW))s >/dev/null || bail "no slower hello"
    eventually 30 pods_are hello 2 || bail "the first pods stay"
fi
hammer
ok "rolling update" k set env deployment/hello "ROUND=1"
ok "rolls out" k rollout status deployment/hello --timeout=$((60 * SLOW))s
sleep 3
hammered "no request is lost in a rolling update"
ok "the pods of before go" eventually 30 pods_are hello 2

restarted() { [ "$(unit_pid "$1")" != "$2" ] && kill -0 "$(unit_pid "$1")"; }
for unit in kubelet cri proxy apiserver controllers etcd; do
    before=$(containers)
    pid=$(unit_pid $unit)
    hammer
    kill -9 "$pid"
    ok "$unit killed: the supervisor starts it again" eventually 10 restarted $unit "$pid"
    ok "$unit killed: the API answers" eventually 20 k get nodes
    sleep 1
    hammered "$unit killed: no request fails"
    is "$(containers)" "$before" "$unit killed: no container restarts"
done

before=$(containers)
pids=$(for u in etcd apiserver cri controllers proxy dns kubelet; do unit_pid $u; done)
hammer
kill -9 "$(unit_pid supervisor)"
ok "supervisor killed: up again" cluster_up
hammered "supervisor killed: no request fails"
is "$(for u in etcd apiserver cri controllers proxy dns kubelet; do unit_pid $u; done)" "$pids" "supervisor killed: its children are adopted, not doubled"
is "$(containers)" "$before" "supervisor killed: no container restarts"

# ---- a killed shim: that pod alone restarts, with the reason ----
other=$(k get pods -l app=hello -o 'jsonpath={.items[1].status.containerStatuses[0].containerID}')
victim=$(k get pods -l app=hello -o 'jsonpath={.items[0].metadata.name}')
sandbox=$(c_sandbox() { for d in "$ROOT"/run/coracle/sandboxes/*/; do grep -l "$victim" "$d"*.json 2>/dev/null | head -1; done; }; dirname "$(c_sandbox | head -1)")
kill -9 "$(cut -d' ' -f1 "$sandbox/shim.pid")"
reason() { k get pod "$victim" -o 'jsonpath={.status.containerStatuses[0].lastState.terminated.reason} {.status.containerStatuses[0].lastState.terminated.exitCode} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}' | grep -q '^ShimDied 137 1 true$'; }
ok "shim killed: its pod restarts with the reason" eventually 15 reason
is "$(k get pods -l app=hello -o 'jsonpath={.items[1].status.containerStatuses[0].containerID}')" "$other" "shim killed: the other pod does not"

# ---- bad input ----
cat >"$T/bad.yaml" <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: never}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: bad}
spec:
  replicas: "three"
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}
YAML
out=$(c apply -f "$T/bad.yaml" 2>&1)
like "$out" "bad.yaml: document 2: .*spec.replicas" "a wrong type names file, document and field"
like "$(k get configmap never 2>&1)" "NotFound" "and nothing of the file is applied"
printf 'apiVersion: v1\nkind: Fo\nmetadata: {name: x}\n' >"$T/kind.yaml"
like "$(c apply -f "$T/kind.yaml" 2>&1)" 'kind.yaml: document 1: no matches for kind "Fo"' "an unknown kind"
printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: q}\nspec: {containers: [{name: c, image: x, resources: {limits: {memory: lots}}}]}\n' >"$T/quantity.yaml"
like "$(c apply -f "$T/quantity.yaml" 2>&1)" "quantity.yaml: document 1: .*spec.containers\[0\].resources.limits" "a bad quantity"
printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: q}\nspec: {containers: [{name: c}]}\n' >"$T/missing.yaml"
like "$(c apply -f "$T/missing.yaml" 2>&1)" "spec.containers\[0\].image: Required value" "a missing field"
printf 'a: [1\nb: 2\n' >"$T/broken.yaml"
like "$(c apply -f "$T/broken.yaml" 2>&1)" "broken.yaml: document 1, line" "broken YAML"

# ---- pulls, by tag and by digest ----
cat >"$T/registry.yml" <<YAML
version: 0.1
storage: {filesystem: {rootdirectory: $T/registry}}
http: {addr: 127.0.0.1:5000}
YAML
$NET docker-registry serve "$T/registry.yml" >"$T/registry.log" 2>&1 &
REGISTRY=$!
at_end kill_quietly "$REGISTRY"
ok "a registry runs" eventually 10 $NET curl -sf http://127.0.0.1:5000/v2/
ok "holds the image" $NET skopeo copy -q --dest-tls-verify=false "oci-archive:$B/share/coracle/hello.tar" docker://127.0.0.1:5000/hello:v2
digest=$($NET skopeo inspect --tls-verify=false docker://127.0.0.1:5000/hello:v2 | jq -r .Digest)
ok "run by tag" k run tagged --image=127.0.0.1:5000/hello:v2
ok "run by digest" k run pinned --image="127.0.0.1:5000/hello@$digest"
ok "both are pulled and run" k wait --for=condition=Ready pod/tagged pod/pinned --timeout=$((30 * SLOW))s
ok "an image that is not there" k run absent --image=127.0.0.1:5000/hello:absent
absent() { k get pod absent -o 'jsonpath={.status.containerStatuses[0].state.waiting.reason}' | grep -Eq 'ErrImagePull|ImagePullBackOff'; }
ok "says so in its status" eventually 15 absent
like "$(k describe pod absent 2>&1)" "Failed to pull image .*absent" "and in an event"
k delete pod tagged pinned absent --wait=false >/dev/null 2>&1

# ---- down, up, reset ----
ok "down" c down --root "$ROOT"
is "$(pgrep -f "$ROOT/" | wc -l)" 0 "leaves no process"
ok "up after down" cluster_up
ok "brings the pods back" k rollout status deployment/hello --timeout=$((30 * SLOW))s
ok "at the same address" eventually 10 $NET curl -sSf --max-time $((5 * SLOW)) "$URL"
kill $REGISTRY 2>/dev/null
wait $REGISTRY 2>/dev/null
ok "reset" c reset --yes --root "$ROOT" --cgroup-root "/coracle-test-$$"
snapshot >"$T/after"
if diff -u "$T/before" "$T/after" >"$T/diff"; then pass "reset leaves the machine as it was"; else fail "reset leaves the machine as it was" "$(cat "$T/diff")"; fi
like "$(c reset --yes --root "$ROOT" --cgroup-root "/coracle-test-$$" 2>&1)" "as it was" "a second reset finds nothing to do"
done_testing
