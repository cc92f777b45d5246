#!/usr/bin/env bash
# UDP through a Service without selector: two endpoints outside the cluster, by cluster IP and node port.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/cluster.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
cluster_start || { cat "$T/up.log"; cluster_logs; bail "no cluster"; }
for port in 9001 9002; do
    $OUTSIDE python3 "$TOP/tests/lib/udp_echo.py" serve 10.77.0.1 $port 2>/dev/null &
    SERVERS[port]=$!
    cat >>"$T/udp.yaml" <<YAML
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: udp-$port, labels: {kubernetes.io/service-name: udp}}
addressType: IPv4
ports: [{port: $port, protocol: UDP}]
endpoints: [{addresses: [10.77.0.1], conditions: {ready: true}}]
YAML
done
stop_servers() { kill "${SERVERS[@]}" 2>/dev/null || true; }
at_end stop_servers
cat >>"$T/udp.yaml" <<YAML
---
apiVersion: v1
kind: Service
metadata: {name: udp}
spec: {type: NodePort, ports: [{protocol: UDP, port: 53, nodePort: 30053}]}
YAML
ok "apply" $NET "$CORACLE" apply -f "$T/udp.yaml"
IP=$($NET "$CORACLE" get svc udp -o json | jq -r .spec.clusterIP)
both() { [ "$($NET python3 "$TOP/tests/lib/udp_echo.py" ask "$1" "$2" 20)" = "9001:hi 9002:hi" ]; }
both_outside() { [ "$($OUTSIDE python3 "$TOP/tests/lib/udp_echo.py" ask 10.77.0.2 30053 20)" = "9001:hi 9002:hi" ]; }
ok "both endpoints answer by cluster IP" eventually 10 both "$IP" 53
ok "and by node port, from outside" eventually 10 both_outside
ok "one endpoint goes" $NET "$CORACLE" delete endpointslice udp-9001
one() { [ "$($NET python3 "$TOP/tests/lib/udp_echo.py" ask "$IP" 53 20)" = "9002:hi" ]; }
ok "the other gets all new flows" eventually 10 one
done_testing
