#!/usr/bin/env bash
# What the kubelet tells of use: /stats/summary, /metrics/resource, /metrics/probes, /metrics.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
kubelet_start --kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt"
ask() { in_ns curl -sSk --max-time 30 --cert "$T/pki/admin.crt" --key "$T/pki/admin.key" -w '\n%{http_code}\n' "https://192.0.2.10:10250/$1"; }
summary() { ask "stats/summary$1" | head -n -1; }
MORE='{"volumeMounts":[{"name":"v","mountPath":"/v"}],"resources":{"limits":{"memory":"64Mi"}},
  "readinessProbe":{"exec":{"command":["true"]},"periodSeconds":1},"livenessProbe":{"exec":{"command":["false"]},"failureThreshold":1000,"periodSeconds":1}}'
create web "$(spec "$(container "dd if=/dev/zero of=/v/a bs=1M count=3 2>/dev/null; dd if=/dev/zero of=/layer bs=1M count=2 2>/dev/null; echo hello; i=0; while [ \$i -lt 200000 ]; do i=\$((i+1)); done; $SLEEP" "$MORE")" \
    '{"volumes":[{"name":"v","emptyDir":{}}]}')" >/dev/null
ok "a pod runs" eventually 40 ready web
wrote() { in_pod web c test -s /layer; }
ok "... and has written" eventually 40 wrote
uid=$(get $pods/web .metadata.uid)

s=$(summary "")
web() { jq -r --arg u "$uid" "[.pods[] | select(.podRef.uid==\$u)][0] | $1" <<<"$s"; }
is "$(jq -r .node.nodeName <<<"$s")" n1 "the summary is of this node"
total=$(awk '/^MemTotal/ {printf "%.0f", $2 * 1024}' /proc/meminfo)
is "$(jq --argjson t "$total" '.node.memory | .workingSetBytes > 1000000 and .workingSetBytes + .availableBytes == $t' <<<"$s")" true "memory of the node adds up"
is "$(jq '.node | .cpu.usageCoreNanoSeconds > 1000000000 and .fs.capacityBytes > .fs.availableBytes and .runtime.imageFs.capacityBytes > 0 and .rlimit.curproc > 0 and .rlimit.maxpid > .rlimit.curproc' <<<"$s")" true "... processor, disks, process ids"
is "$(jq -r '[.node.systemContainers[] | select(.name=="pods")][0].memory.workingSetBytes > 0' <<<"$s")" true "... and of all pods"
is "$(web '.podRef | .namespace + "/" + .name')" default/web "the pod is there"
is "$(web '(.cpu.usageCoreNanoSeconds > 0) and (.memory.workingSetBytes > 0) and (.process_stats.process_count > 0)')" true "... its processor, memory, processes"
is "$(web '.network.name + " " + (.network.rxBytes|type)')" "eth0 number" "... its network"
is "$(web '[.volume[] | select(.name=="v") | .usedBytes >= 3145728 and .capacityBytes > .usedBytes] | .[0]')" true "... its volume"
is "$(web '.["ephemeral-storage"].usedBytes >= 5242880')" true "... its share of the disk"
is "$(web '.containers | map(.name) | join(",")')" c "its container is there"
is "$(web '.containers[0] | (.cpu.usageCoreNanoSeconds > 0) and (.memory | .workingSetBytes > 0 and .availableBytes + .workingSetBytes == 67108864)')" true "... processor, memory and what is left of its limit"
is "$(web '.containers[0] | .rootfs.usedBytes >= 2097152 and .logs.usedBytes > 0')" true "... layer and log"
rate() { s=$(summary ""); [ "$(web '(.cpu.usageNanoCores|type) + (.containers[0].cpu.usageNanoCores|type)')" = numbernumber ] && [ "$(jq -r '.node.cpu.usageNanoCores|type' <<<"$s")" = number ]; }
ok "asked again it tells rates too" eventually 20 rate
s=$(summary "?only_cpu_and_memory=true")
is "$(web '[has("cpu"), has("memory"), has("volume"), has("network")] | join(",")')" true,true,false,false "only processor and memory, when asked so"

# ---- metrics ----
m=$(ask metrics/resource)
value() { sed -n "s/^$1 //p" <<<"$m"; }
is "$(tail -1 <<<"$m")" 200 "metrics of resources"
like "$(value 'container_cpu_usage_seconds_total{container="c",namespace="default",pod="web"}')" '^0\.[0-9]{9} [0-9]{13}$|^[0-9]+\.[0-9]{9} [0-9]{13}$' "... processor of the container, with its time"
like "$(value 'container_memory_working_set_bytes{container="c",namespace="default",pod="web"}')" '^[1-9][0-9]+ [0-9]{13}$' "... its memory"
like "$(value 'container_start_time_seconds{container="c",namespace="default",pod="web"}')" '^1[0-9]{9}\.[0-9]{9}$' "... its start"
like "$(value 'pod_memory_working_set_bytes{namespace="default",pod="web"}')" '^[1-9][0-9]+ [0-9]{13}$' "... memory of the pod"
like "$(value node_cpu_usage_seconds_total)" '^[0-9.]+ [0-9]{13}$' "... processor of the node"
is "$(value resource_scrape_error)" 0 "... without errors"
is "$(grep -c '^# TYPE' <<<"$m")" "$(grep -c '^# HELP' <<<"$m")" "... each told what it is"
probes() {
    m=$(ask metrics/probes)
    [ "$(value "prober_probe_total{container=\"c\",namespace=\"default\",pod=\"web\",pod_uid=\"$uid\",probe_type=\"Readiness\",result=\"successful\"}")" -gt 0 ] &&
        [ "$(value "prober_probe_total{container=\"c\",namespace=\"default\",pod=\"web\",pod_uid=\"$uid\",probe_type=\"Liveness\",result=\"failed\"}")" -gt 0 ]
}
ok "results of probes" eventually 20 probes
m=$(ask metrics)
is "$(value 'kubelet_running_pods') $(value 'kubelet_running_containers{container_state="running"}')" "1 1" "what runs"
is "$(value 'kubelet_runtime_operations_total{operation_type="create_container"}')" 1 "calls of the runtime"
is "$(value 'kubelet_node_name{node="n1"}')" 1 "the node's name"
is "$(ask metrics/other | tail -1) $(ask stats/other | tail -1)" "404 404" "nothing else"
is "$(in_ns curl -sk -o /dev/null -w '%{http_code}' https://192.0.2.10:10250/metrics)" 401 "not for strangers"
done_testing
