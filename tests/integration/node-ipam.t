#!/usr/bin/env bash
# Node IPAM: nodes get pod CIDRs, of one family or both, give them back, and none is given twice.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up --authorization-mode Node,RBAC

nodes=/api/v1/nodes
pki_cert ca controllers /CN=system:kube-controller-manager 'extendedKeyUsage=clientAuth\n'
sed "s/admin\.crt/controllers.crt/; s/admin\.key/controllers.key/" "$T/kubeconfig" >"$T/controllers.kubeconfig"
controllers_start() {
    nsenter --net=/run/netns/"$NS" "$B/libexec/coracle/coracle-controllers" --kubeconfig "$T/controllers.kubeconfig" \
        --allocate-node-cidrs "$@" >>"$T/controllers.log" 2>&1 &
    CONTROLLERS=$!
}
controllers_down() { kill "-${1:-9}" "$CONTROLLERS" 2>/dev/null; wait "$CONTROLLERS" 2>/dev/null; :; }
at_end controllers_down
# node NAME [SPEC]
node() { api_json POST $nodes '{"apiVersion":"v1","kind":"Node","metadata":{"name":"'"$1"'"},"spec":{'"${2:-}"'}}' >/dev/null; }
cidrs() { api GET $nodes/"$1" | jq -r '[.spec.podCIDR, .spec.podCIDRs[]?]|join(" ")'; }
has() { [ "$(cidrs "$1")" = "$2" ]; }
said() { api GET /api/v1/events | jq -e --arg o "$1" '.items[]|select(.involvedObject.name==$o and .reason=="CIDRNotAvailable" and .message=="Node \($o) status is now: CIDRNotAvailable")'; }
twice() { api GET $nodes | jq -r '.items[].spec.podCIDRs[]?' | sort | uniq -d; }

is "$(in_ns "$B/libexec/coracle/coracle-controllers" --allocate-node-cidrs 2>&1)" 'coracle-controllers: --cluster-cidr: "" is no prefix' "a range is needed"
node taken '"podCIDR":"10.20.1.0/24","podCIDRs":["10.20.1.0/24"]'
node alone '"podCIDR":"10.20.2.0/24"'
controllers_start --cluster-cidr 10.20.0.0/22
node n1
ok "a node gets a pod CIDR" eventually 20 has n1 "10.20.0.0/24 10.20.0.0/24"
node n2
ok "what others have is passed over" eventually 20 has n2 "10.20.3.0/24 10.20.3.0/24"
node n3
ok "when none is left the node is told" eventually 20 said n3
is "$(cidrs n3)" "" "... and has none"
controllers_down
api DELETE $nodes/taken >/dev/null
controllers_start --cluster-cidr 10.20.0.0/22
ok "what became free while nobody looked is given" eventually 20 has n3 "10.20.1.0/24 10.20.1.0/24"
node n4
ok "none is left again" eventually 20 said n4
api DELETE $nodes/n1 >/dev/null
ok "a node that goes gives its CIDR back to who waits" eventually 20 has n4 "10.20.0.0/24 10.20.0.0/24"
is "$(twice)" "" "no CIDR is given twice"
api DELETE $nodes/n2 >/dev/null
node n2
ok "another node of the same name" eventually 20 has n2 "10.20.3.0/24 10.20.3.0/24"

given() { [ -n "$(cidrs "$1")" ]; }

# ---- both families, killed at any moment ----
controllers_down
for n in taken alone n2 n3 n4; do api DELETE $nodes/$n >/dev/null; done
for n in $(seq 6); do
    controllers_start --cluster-cidr 10.30.0.0/16,fd30::/56 --node-cidr-mask-size-ipv4 26 --service-cluster-ip-range 10.30.0.0/25
    node d$n
    [ $((n % 2)) = 1 ] || eventually 20 given d$n
    controllers_down
done
controllers_start --cluster-cidr 10.30.0.0/16,fd30::/56 --node-cidr-mask-size-ipv4 26 --service-cluster-ip-range 10.30.0.0/25
all() { [ "$(api GET $nodes | jq '[.items[]|select((.spec.podCIDRs|length)==2)]|length')" = 6 ]; }
ok "every node gets one of each family" eventually 20 all
is "$(twice)" "" "none twice, although it was killed again and again"
like "$(cidrs d1)" '^(10\.30\.[0-9]+\.(0|64|128|192)/26) (10\.30\.[0-9.]+/26) fd30:[0-9a-f:]*/64$' "of the sizes that were asked for"
is "$(api GET $nodes | jq -r '.items[].spec.podCIDR' | grep -cE '^10\.30\.0\.(0|64)/')" 0 "the services' addresses are left out"
controllers_down TERM
done_testing
