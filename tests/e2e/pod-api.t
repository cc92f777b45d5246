#!/usr/bin/env bash
# What a pod gets from the API on a whole cluster: a token that it can use, storage that it claims,
# classes, containers to debug it with; seen through stock kubectl.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/cluster.sh"
. "$TOP/tests/lib/images.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
[ -x "$CORACLE" ] || skip_all "$CORACLE is not built"
for tool in openssl jq; do command -v $tool >/dev/null || skip_all "$tool is not installed"; done
K20=$("$TOP/tests/lib/kubectl-1.20") || bail "no kubectl 1.20"
NEWER=
[ -x /usr/bin/kubectl ] && ! /usr/bin/kubectl version --client 2>/dev/null | grep -q 'v1\.20\.' && NEWER=/usr/bin/kubectl
k() { timeout $((60 * SLOW)) $NET "$K20" "$@"; }
newer() { timeout $((60 * SLOW)) $NET "$NEWER" "$@"; }

# An image with a program that speaks TLS.
busybox_root "$T/tool"
cp --parents "$(command -v openssl)" $(ldd "$(command -v openssl)" | grep -o '/[^ ]*') "$T/tool"
make_image "$T/tool.tar" coracle.local/tool:v1 "$T/tool" '{"Cmd":["sh"],"Env":["PATH=/bin:/usr/bin"]}'
cluster_start || { cat "$T/up.log"; cluster_logs; bail "no cluster"; }
$NET "$CORACLE" image import "$T/tool.tar" --root "$ROOT" >/dev/null || bail "cannot import the image"

# pod NAME [MORE SPEC [MORE CONTAINER]]
pod() {
    jq -cn --arg n "$1" --argjson s "${2:-{\}}" --argjson c "${3:-{\}}" '{apiVersion:"v1",kind:"Pod",metadata:{name:$n},spec:({terminationGracePeriodSeconds:1,
        containers:[{name:"c",image:"coracle.local/tool:v1",imagePullPolicy:"Never",command:["sh","-c","trap exit TERM; while :; do sleep 0.1; done"]}+$c]}+$s)}' |
        k apply -f - 2>&1
}
ready() { k wait --for=condition=Ready "pod/$1" --timeout=$((40 * SLOW))s; }
said() { k get events -o json | jq -e --arg o "$1" --arg r "$2" --arg m "$3" '.items[]|select(.involvedObject.name==$o and .reason==$r and (.message|test($m)))'; }

# ---- a token ----
pod user >/dev/null
ok "a pod runs" ready user || { k describe pod user; cluster_logs; } >&2
files=/var/run/secrets/kubernetes.io/serviceaccount
is "$(k exec user -- sh -c "ls $files; cat $files/namespace" 2>&1 | xargs)" "ca.crt namespace token default" "it has a token, the cluster's CA and its namespace"
# ask POD PATH: the code and the body of a request that the pod makes with its token
ask() {
    k exec "$1" -- sh -c '{ printf "GET %s HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n" "$1" "$(cat $0/token)"; sleep 1; } |
        openssl s_client -quiet -verify_return_error -CAfile $0/ca.crt -verify_ip $KUBERNETES_SERVICE_HOST -connect $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT 2>&1' $files "$2" 2>&1
}
like "$(ask user /version)" '"gitVersion":.*v1\.' "it reaches the API through the Service, whose certificate holds"
like "$(ask user /api/v1/namespaces/default/pods)" 'HTTP/1.1 403 .*User \\"system:serviceaccount:default:default\\" cannot list resource \\"pods\\"' "its account may not do much"
k create rolebinding seeing --clusterrole=view --serviceaccount=default:default >/dev/null
may() { ask user /api/v1/namespaces/default/pods | grep -q 'HTTP/1.1 200'; }
ok "... and more with a role" eventually 20 may
like "$(ask user /api/v1/nodes)" 'HTTP/1.1 403' "... there, and nowhere else"
pod without '{"automountServiceAccountToken":false}' >/dev/null
ok "a pod that wants none" ready without
isnt "$(k exec without -- sh -c "ls $files 2>/dev/null"; echo $?)" 0 "... has none"

# ---- storage ----
mkdir "$T/disk"
k apply -f - >/dev/null <<END
{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":"local"},"provisioner":"kubernetes.io/no-provisioner","volumeBindingMode":"WaitForFirstConsumer"},
{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"disk"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"storageClassName":"local","local":{"path":"$T/disk"},
 "nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["$NODE"]}]}]}}}},
{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"local","resources":{"requests":{"storage":"500Mi"}}}}]}
END
claiming='{"volumes":[{"name":"d","persistentVolumeClaim":{"claimName":"data"}}]}'
mounted='{"volumeMounts":[{"name":"d","mountPath":"/data"}]}'
pod writer "$claiming" "$mounted" >/dev/null
ok "a pod that claims a local volume runs" ready writer || { k describe pvc,pv; k describe pod writer; } >&2
like "$(k get pvc data 2>&1)" 'data +Bound +disk +1Gi +RWO +local' "its claim is bound"
k exec writer -- sh -c 'echo kept >/data/file'
is "$(cat "$T/disk/file")" kept "it writes to the volume"
k delete pod writer --wait >/dev/null
pod reader "$claiming" "$mounted" >/dev/null
ok "another pod later" ready reader
is "$(k exec reader -- cat /data/file 2>&1)" kept "... finds it there"
k delete pvc data --wait=false >/dev/null
like "$(k get pvc data 2>&1)" Terminating "a claim in use is not deleted"
k delete pod reader --wait >/dev/null
no_claim() { ! k get pvc data; }
ok "... but afterwards" eventually 20 no_claim
released() { [ "$(k get pv disk -o 'jsonpath={.status.phase}')" = Released ]; }
ok "and its volume released" eventually 20 released

# ---- classes ----
k apply -f - >/dev/null <<END
{"apiVersion":"node.k8s.io/v1","kind":"RuntimeClass","metadata":{"name":"vm"},"handler":"vm","overhead":{"podFixed":{"cpu":"10m"}}}
END
pod strange '{"runtimeClassName":"vm","priorityClassName":"system-node-critical"}' >/dev/null
ok "a RuntimeClass whose handler the runtime has not" eventually 40 said strange FailedCreatePodSandBox 'handler "vm"'
is "$(k get pod strange -o 'jsonpath={.spec.overhead.cpu} {.spec.priority}')" "10m 2000001000" "... gives its overhead, a PriorityClass its number"
like "$(pod x '{"runtimeClassName":"missing"}')" 'RuntimeClass "missing" not found' "a class that is not there"
k delete pod strange --wait=false >/dev/null

# ---- a container to debug with, more cpu ----
if [ -n "$NEWER" ]; then
    before=$(newer get pod user -o 'jsonpath={.metadata.generation}')
    ok "kubectl debug" newer debug user --image=coracle.local/tool:v1 --image-pull-policy=Never -c dbg -- sh -c 'echo seen; sleep 300'
    debugged() { newer logs user -c dbg | grep -q seen; }
    ok "... runs a container in the pod" eventually 40 debugged
    is "$(newer get pod user -o 'jsonpath={.spec.ephemeralContainers[0].name} {.metadata.generation}')" "dbg $((before + 1))" "... and raises its generation"
    observed() { [ "$(newer get pod user -o 'jsonpath={.status.observedGeneration}')" = $((before + 1)) ]; }
    ok "... which the kubelet has seen" eventually 20 observed
    like "$(newer auth whoami 2>&1)" "system:masters" "kubectl auth whoami"
else
    skip "no newer kubectl here"
fi

# ---- what else the tools ask ----
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$T/dev.key" -subj /CN=dev/O=devs -out "$T/dev.csr" 2>/dev/null
with_kubectl() { # PROGRAM LABEL N
    kk() { timeout $((60 * SLOW)) $NET "$@" 2>&1; }
    like "$(kk "$1" auth can-i --list)" '\*\.\* +\[\] +\[\] +\[\*\]' "$2: auth can-i --list"
    like "$(kk "$1" auth can-i list nodes --as=system:serviceaccount:default:default)" '(^|[[:space:]])no$' "$2: auth can-i --as"
    is "$(kk "$1" auth can-i list pods --as=system:serviceaccount:default:default)" yes "$2: ... in the namespace of a role"
    k apply -f - >/dev/null <<END
{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"dev$3"},"spec":{"signerName":"kubernetes.io/kube-apiserver-client","usages":["client auth"],"request":"$(base64 -w0 "$T/dev.csr")"}}
END
    like "$(kk "$1" get csr "dev$3")" "Pending" "$2: get csr"
    ok "$2: certificate approve" kk "$1" certificate approve "dev$3"
    certified() { k get csr "dev$N" -o 'jsonpath={.status.certificate}' | base64 -d | openssl x509 -noout -subject | grep -q 'CN = dev'; }
    N=$3
    ok "$2: ... and it is signed" eventually 20 certified
    like "$(kk "$1" get pv,sc,runtimeclass,priorityclass)" 'persistentvolume/disk .*storageclass.storage.k8s.io/local .*runtimeclass.node.k8s.io/vm .*priorityclass.scheduling.k8s.io/system-node-critical' "$2: get pv,sc,runtimeclass,priorityclass"
    like "$(kk "$1" describe pod user)" 'kube-api-access-[a-z0-9]+ \(ro\)' "$2: describe pod shows the token's volume"
    like "$(kk "$1" describe node "$NODE")" 'default +user ' "$2: describe node"
    like "$(kk "$1" describe pv disk)" 'Term 0: +kubernetes.io/hostname in \['"$NODE" "$2: describe pv"
}
with_kubectl "$K20" "kubectl 1.20" 1
if [ -n "$NEWER" ]; then with_kubectl "$NEWER" "newer kubectl" 2; else skip "no newer kubectl here"; fi
unlike "$(cat "$ROOT"/var/log/coracle/{kubelet,controllers,proxy}.log)" "forbidden|Unauthorized" "every process may do what it does" || grep -hE "forbidden|Unauthorized" "$ROOT"/var/log/coracle/*.log | head -5 >&2
done_testing
