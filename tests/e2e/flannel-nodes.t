#!/usr/bin/env bash
# Two whole nodes on the overlay: the kubelet registers, the node IPAM gives a pod CIDR, the overlay publishes
# it, the runtime takes it with the overlay's MTU, and a pod on one node reaches a pod on the other.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
. "$(dirname "$0")/../lib/flannel.sh"
. "$(dirname "$0")/../lib/images.sh"
apiserver_up
overlay_hosts 2
at_end flannels_down
echo '{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd44::/56","Backend":{"Type":"vxlan"}}' >"$T/net-conf.json"
libexec=$B/libexec/coracle
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'

PIDS=()
all_down() {
    local n
    kill -9 "${PIDS[@]}" 2>/dev/null
    wait "${PIDS[@]}" 2>/dev/null
    for n in 1 2; do
        for c in kubelet cri; do on $n "$libexec/coracle-$c" --cleanup --root "$T/root$n" --cgroup-root "/coracle-test-$$-$n" >>"$T/cleanup.log" 2>&1; done
    done
}
at_end all_down
# run N NAME ARGUMENTS…: a daemon on a node (0: beside the API server).
run() {
    local ns=fln$$_$1
    [ "$1" != 0 ] || ns=$NS
    nsenter --net=/run/netns/"$ns" "$libexec/coracle-$2" "${@:3}" >>"$T/$2$1.log" 2>&1 &
    PIDS+=($!)
}
cri() { CRI_SOCKET=$T/root$1/run/coracle/cri.sock on "$1" "$B/tests/bin/cri-client" "${@:2}"; }

run 0 controllers --kubeconfig "$T/kubeconfig" --allocate-node-cidrs --cluster-cidr 10.244.0.0/16,fd44::/56
for n in 1 2; do
    flannel_start $n
    run $n cri --root "$T/root$n" --cgroup-root "/coracle-test-$$-$n" --cluster-cidr 10.244.0.0/16,fd44::/56
    eventually 20 cri $n version >/dev/null || bail "coracle-cri does not serve"
    cri $n import "$T/bb.tar" >/dev/null || bail "cannot import the image"
    run $n kubelet --root "$T/root$n" --hostname-override node$n --node-ip 10.78.0.$n --cgroup-root "/coracle-test-$$-$n" \
        --kubeconfig "$T/flannel.kubeconfig" --client-ca-file "$T/pki/ca.crt"
done
get() { api GET "$1" | jq -r "$2"; }
ready_node() { [ "$(get /api/v1/nodes/node$1 '.status.conditions[]?|select(.type=="Ready" or .type=="NetworkUnavailable")|.status' | sort | xargs)" = "False True" ]; }
for n in 1 2; do ok "node$n is Ready, with a network" eventually 40 ready_node $n; done
for n in 1 2; do
    api_json POST /api/v1/namespaces/default/pods '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p'$n'"},"spec":{"nodeName":"node'$n'","terminationGracePeriodSeconds":1,
        "containers":[{"name":"c","image":"localhost/bb:1","imagePullPolicy":"Never","command":["sh","-c","mkdir /www; echo pod'$n' >/www/index.html; exec httpd -f -p 80 -h /www"]}]}}' >/dev/null
done
ready_pod() { [ "$(get /api/v1/namespaces/default/pods/p$1 '.status.conditions[]?|select(.type=="Ready")|.status')" = True ]; }
for n in 1 2; do ok "a pod on node$n runs" eventually 40 ready_pod $n; done
addresses() { get /api/v1/namespaces/default/pods/p$1 '[.status.podIPs[].ip]|join(" ")'; }
container() { cri "$1" ps | jq -r '.containers[]|select(.labels["io.kubernetes.pod.name"]=="p'"$1"'")|.id'; }
# asks N ADDRESS: from the pod on node N.
asks() { nsenter --net="$(echo "$T/root$1"/run/coracle/sandboxes/*/ns/net)" curl -sS -g --max-time 2 "http://$2/"; }
read -r a1 b1 <<<"$(addresses 1)"
read -r a2 b2 <<<"$(addresses 2)"
cidr() { get /api/v1/nodes/node$1 ".spec.podCIDRs[$2]"; }
like "$a1 $a2" "^${a1%.*}\.[0-9]+ ${a2%.*}\.[0-9]+$" "pods have addresses"
is "$(cidr 1 0) $(cidr 2 0)" "${a1%.*}.0/24 ${a2%.*}.0/24" "... of their nodes' pod CIDRs"
isnt "${a1%.*}" "${a2%.*}" "... which differ"
ok "pod to pod over nodes, IPv4" eventually 10 asks 1 "$a2"
is "$(asks 1 "$a2")" pod2 "... the right one"
is "$(asks 2 "$a1")" pod1 "... and back"
is "$(asks 1 "[$b2]")" pod2 "pod to pod over nodes, IPv6"
is "$(cri 1 exec "$(container 1)" cat /sys/class/net/eth0/mtu)" 1430 "the pods' MTU is the overlay's"
is "$(cri 2 exec "$(container 2)" sh -c 'ip -o -4 addr show eth0' | awk '{print $4}')" "$a2/24" "the address is in the pod"
done_testing
