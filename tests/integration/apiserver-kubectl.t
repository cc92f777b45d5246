#!/usr/bin/env bash
# kubectl against the API server: Debian's 1.20, and the machine's own where there is one. There are
# no controllers and no nodes here: what kubectl itself does is what counts.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
old=$("$TOP/tests/lib/kubectl-1.20" 2>"$T/fetch") || { cat "$T/fetch" >&2; old=; }
own=$(command -v kubectl || :)
[ -n "$old$own" ] || skip_all "no kubectl to be had"
apiserver_up

cat >"$T/app.yaml" <<'END'
apiVersion: v1
kind: Namespace
metadata: {name: app}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: app}
data: {mode: fast}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: app, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "hello:v1", ports: [{containerPort: 8080, name: http}]}
      - {name: side, image: "hello:v1"}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: app}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
END
cat >"$T/bad.yaml" <<'END'
apiVersion: v1
kind: Service
metadata: {name: bad}
spec: {ports: [{port: eighty}], nonsense: 1}
END

exercise() {
    k() { in_ns timeout 30 "$kubectl" --cache-dir "$T/cache-$v" "$@"; }
    v=$(in_ns "$kubectl" version --client -o json | jq -r .clientVersion.gitVersion)
    like "$(k version -o json 2>/dev/null | jq -r .serverVersion.gitVersion)" '^v1\.36\.' "$v: version"
    is "$(k apply -f "$T/app.yaml" | xargs)" "namespace/app created configmap/settings created deployment.apps/web created service/web created" "$v: apply"
    is "$(k apply -f "$T/app.yaml" | xargs)" "namespace/app unchanged configmap/settings unchanged deployment.apps/web unchanged service/web unchanged" "$v: apply again"
    sed 's/mode: fast/mode: slow/; s/replicas: 2/replicas: 3/; s/port: 80,/port: 81,/' "$T/app.yaml" >"$T/changed.yaml"
    like "$(k diff -f "$T/changed.yaml")" 'replicas: 3' "$v: diff"
    is "$(k apply -f "$T/changed.yaml" | xargs)" "namespace/app unchanged configmap/settings configured deployment.apps/web configured service/web configured" "$v: apply a change"
    is "$(k -n app get svc web -o jsonpath='{.spec.ports[*].port}')" 81 "$v: …a list entry is replaced by its key"
    like "$(k apply -f "$T/bad.yaml" 2>&1)" 'port' "$v: a bad manifest is refused with its field"
    like "$(k -n app get deploy -o wide)" 'NAME +READY +UP-TO-DATE +AVAILABLE +AGE +CONTAINERS +IMAGES +SELECTOR
web +0/3 +0 +0 +[0-9]+s +web,side +hello:v1,hello:v1 +app=web' "$v: get -o wide"
    is "$(k -n app get deploy,cm,svc -o name | grep -v kube-root | xargs)" "deployment.apps/web configmap/settings service/web" "$v: get -o name"
    like "$(k get all -A)" 'service/kubernetes' "$v: get all -A"
    is "$(k get ns -l kubernetes.io/metadata.name=app -o name)" namespace/app "$v: get -l"
    is "$(k -n app get cm --field-selector metadata.name=settings -o jsonpath='{.items[0].data.mode}')" slow "$v: get --field-selector"
    like "$(k -n app describe deploy web)" 'StrategyType: +RollingUpdate' "$v: describe"
    like "$(k -n app describe svc web)" 'TargetPort: +http/TCP' "$v: describe a Service"
    like "$(k explain deployment.spec.strategy.rollingUpdate)" 'maxSurge' "$v: explain"
    like "$(k api-resources)" 'deployments +deploy +apps/v1 +true +Deployment' "$v: api-resources"
    like "$(k api-versions | xargs)" 'apps/v1 .* v1$' "$v: api-versions"
    is "$(k create deployment made --image=hello:v1 -n app)" "deployment.apps/made created" "$v: create deployment"
    is "$(k create configmap made --from-literal=a=b -n app)" "configmap/made created" "$v: create configmap"
    is "$(k create secret generic made --from-literal=a=b -n app)" "secret/made created" "$v: create secret"
    is "$(k -n app get secret made -o jsonpath='{.data.a}')" Yg== "$v: …with its data"
    is "$(k -n app scale deploy made --replicas=4)" "deployment.apps/made scaled" "$v: scale"
    is "$(k -n app get deploy made -o jsonpath='{.spec.replicas}')" 4 "$v: …to what was asked"
    is "$(k -n app expose deploy made --port=80)" "service/made exposed" "$v: expose"
    is "$(k -n app set image deploy/made hello=hello:v2)" "deployment.apps/made image updated" "$v: set image"
    is "$(k -n app rollout restart deploy/made)" "deployment.apps/made restarted" "$v: rollout restart"
    like "$(k -n app rollout status deploy/made --timeout=1s 2>&1)" 'Waiting for deployment' "$v: rollout status waits"
    is "$(k -n app label cm made x=y)" "configmap/made labeled" "$v: label"
    is "$(k -n app annotate cm made x=y)" "configmap/made annotated" "$v: annotate"
    is "$(k -n app patch cm made -p '{"data":{"a":"c"}}')" "configmap/made patched" "$v: patch"
    is "$(k -n app patch deploy made --type=json -p '[{"op":"replace","path":"/spec/replicas","value":1}]')" "deployment.apps/made patched" "$v: patch --type=json"
    is "$(k -n app create serviceaccount default)" "serviceaccount/default created" "$v: create serviceaccount"
    is "$(k -n app run pod1 --image=hello:v1)" "pod/pod1 created" "$v: run"
    like "$(k -n app get pods)" 'pod1 +0/1 +Pending +0 ' "$v: get pods"
    like "$(k -n app logs pod1 2>&1)" 'does not have a host assigned' "$v: logs of a pod without a node"
    k -n app get cm --watch -o name >"$T/watched" 2>/dev/null &
    local watcher=$!
    eventually 10 grep -q made "$T/watched"
    k -n app create cm late --from-literal=a=b >/dev/null
    ok "$v: get --watch" eventually 10 grep -q late "$T/watched"
    kill $watcher
    wait $watcher 2>/dev/null
    ok "$v: delete a pod and wait until it is gone" k -n app delete pod pod1
    like "$(k -n app get pod pod1 2>&1)" 'NotFound' "$v: it is"
    like "$(k -n app delete -f "$T/app.yaml" --wait=false | xargs)" 'configmap settings deleted( from app namespace)? deployment.apps web deleted' "$v: delete -f"
    is "$(k -n app delete cm,secret,deploy,svc --all -o name | wc -l)" 5 "$v: delete --all"
    is "$(k -n app delete serviceaccount default -o name)" "serviceaccount/default" "$v: delete serviceaccount"
    # Nobody else finalizes the namespace here.
    api GET /api/v1/namespaces/app | jq '.spec.finalizers=[]' |
        api PUT /api/v1/namespaces/app/finalize -H 'Content-Type: application/json' --data-binary @- >/dev/null
    is "$(k get ns app -o name 2>&1 | grep -c NotFound)" 1 "$v: the namespace is gone"
}

if [ -n "$old" ]; then kubectl=$old; exercise; else skip "the package kubernetes-client cannot be fetched"; fi
if [ -n "$own" ]; then kubectl=$own; exercise; else skip "no kubectl is installed"; fi
done_testing
