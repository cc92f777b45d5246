#!/usr/bin/env bash
# What a container finds: environment, names, /etc/hosts, resolv.conf.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
printf 'nameserver 192.0.2.53\nsearch a.example b.example.\noptions timeout:3\n' >"$T/resolv.conf"
kubelet_start --kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt" --cluster-dns 10.96.0.10 \
    --cluster-domain cluster.local --resolv-conf "$T/resolv.conf"
node=/api/v1/nodes/n1
node_ready() { [ "$(get $node '.status.conditions[]?|select(.type=="Ready")|.status')" = True ]; }
ok "the node is Ready" eventually 40 node_ready

config_map cfg '{"KEY":"value","other.key":"2"}'
secret sec '{"password":"hunter2"}'
api_json POST /api/v1/namespaces/default/services '{"metadata":{"name":"my-svc"},"spec":{"clusterIP":"10.96.0.77","selector":{"x":"y"},"ports":[{"name":"web","port":80},{"name":"dns","port":53,"protocol":"UDP"}]}}' >/dev/null
sleep 1 # the kubelet hears of the Service
field() { jq -cn --arg n "$1" --arg p "$2" '{name:$n,valueFrom:{fieldRef:{fieldPath:$p}}}'; }
resource() { jq -cn --arg n "$1" --arg r "$2" --arg d "${3:-0}" '{name:$n,valueFrom:{resourceFieldRef:{resource:$r,divisor:$d}}}'; }
envs=$(jq -cs . <<<"$(field NAME metadata.name) $(field NS metadata.namespace) $(field UID_ metadata.uid) $(field LABEL "metadata.labels['app']")
  $(field NOTE "metadata.annotations['n/ote']") $(field NODE spec.nodeName) $(field SA spec.serviceAccountName) $(field IP status.podIP)
  $(field IPS status.podIPs) $(field HOST status.hostIP) $(field HOSTS status.hostIPs) $(resource CPU limits.cpu) $(resource MILLI limits.cpu 1m)
  $(resource MEM requests.memory 1Mi) $(resource NODEMEM limits.memory 1Ki) $(resource DISK limits.ephemeral-storage 1Ki)")
more=$(jq -cn --argjson e "$envs" '{resources:{limits:{cpu:"1500m"},requests:{memory:"5Mi"}},
  envFrom:[{prefix:"P_",configMapRef:{name:"cfg"}},{secretRef:{name:"none",optional:true}}],
  env:($e+[{name:"A",value:"1"},{name:"B",value:"$(A)-$(P_KEY)-$(NO)-$$(A)-$(MY_SVC_SERVICE_HOST)"},
   {name:"PW",valueFrom:{secretKeyRef:{name:"sec",key:"password"}}},{name:"OPT",valueFrom:{configMapKeyRef:{name:"cfg",key:"none",optional:true}}}]),
  args:["$(NAME)-$(B)","$$(A)"]}')
create env "$(spec "$(container "$SLEEP" "$more" | jq -c '.command+=["sh"]')" '{"hostname":"h","subdomain":"sub",
  "hostAliases":[{"ip":"192.0.2.99","hostnames":["alias.example","other"]}],
  "initContainers":[{"name":"i","image":"localhost/bb:1","command":["sh","-c","test \"$FROM_INIT\" = env"],"env":[{"name":"FROM_INIT","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}]}]}')" '{"annotations":{"n/ote":"kept"}}' >/dev/null
ok "a pod with every kind of variable runs" eventually 40 ready env
e=$(in_pod env c env)
s=$(api GET $pods/env)
var() { sed -n "s/^$1=//p" <<<"$e"; }
is "$(var NAME) $(var NS) $(var UID_) $(var LABEL) $(var NOTE)" "env default $(jq -r .metadata.uid <<<"$s") env kept" "fieldRef: metadata"
is "$(var NODE) $(var SA) $(var HOST) $(var HOSTS)" "n1 $(jq -r '.spec.serviceAccountName // ""' <<<"$s") 192.0.2.10 192.0.2.10" "... the node, its addresses, the account"
is "$(var IP) $(var IPS)" "$(jq -r '.status.podIP + " " + ([.status.podIPs[].ip]|join(","))' <<<"$s")" "... the pod's addresses"
is "$(var CPU) $(var MILLI) $(var MEM)" "2 1500 5" "resourceFieldRef with divisors"
n=$(api GET $node)
is "$(var NODEMEM)Ki $(var DISK)Ki" "$(jq -r '.status.allocatable.memory + " " + .status.allocatable["ephemeral-storage"]' <<<"$n")" "... without a limit: what the node may give"
is "$(var B)" '1-value-$(NO)-$(A)-10.96.0.77' '$(VAR): earlier ones, envFrom, services; what is unknown stays'
is "$(in_pod env c sh -c 'tr "\0" "\n" </proc/1/cmdline | tail -2')" "env-$(var B)"$'\n$(A)' "... in arguments too"
is "$(var P_KEY) $(var P_other.key) $(var PW) [$(grep -c ^OPT= <<<"$e")] $(var FROM)" "value 2 hunter2 [0] image" "envFrom with a prefix, a Secret's key, an optional one, the image's own"
is "$(var MY_SVC_SERVICE_PORT) $(var MY_SVC_SERVICE_PORT_DNS) $(var MY_SVC_PORT_53_UDP)" "80 53 udp://10.96.0.77:53" "service variables"
is "$(var MY_SVC_PORT) $(var MY_SVC_PORT_80_TCP_ADDR) $(var KUBERNETES_SERVICE_HOST)" "tcp://10.96.0.77:80 10.96.0.77 10.96.0.1" "... links, and the API server's"
is "$(in_pod env c hostname)" h "hostname"
hosts=$(in_pod env c cat /etc/hosts)
like "$hosts" "$(var IP)"$'\t'"h.sub.default.svc.cluster.local"$'\t'"h"$'\n' "/etc/hosts: the pod's own line with its domain"
like "$hosts" $'192.0.2.99\talias.example\tother' "... hostAliases"
is "$(in_pod env c cat /etc/resolv.conf)" "search default.svc.cluster.local svc.cluster.local cluster.local a.example b.example
nameserver 10.96.0.10
options ndots:5" "resolv.conf of ClusterFirst"

# ---- variations ----
create plain "$(spec "$(container "$SLEEP")" '{"enableServiceLinks":false,"dnsPolicy":"Default","hostname":"h","subdomain":"sub","setHostnameAsFQDN":true}')" >/dev/null
create own "$(spec "$(container "$SLEEP")" '{"hostnameOverride":"some.other.name","dnsPolicy":"None","dnsConfig":{"nameservers":["192.0.2.1","192.0.2.2","192.0.2.3"],"searches":["x.example"],"options":[{"name":"ndots","value":"2"},{"name":"edns0"}]}}')" >/dev/null
create node "$(spec "$(container "$SLEEP")" '{"hostNetwork":true}')" >/dev/null
create long "$(spec "$(container "$SLEEP")" '{"hostname":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","subdomain":"sub","setHostnameAsFQDN":true}')" >/dev/null
ok "another pod" eventually 40 ready plain
e=$(in_pod plain c env)
is "[$(var MY_SVC_SERVICE_HOST)] $(var KUBERNETES_SERVICE_HOST)" "[] 10.96.0.1" "enableServiceLinks false: only the API server's"
is "$(in_pod plain c hostname)" h.sub.default.svc.cluster.local "setHostnameAsFQDN"
is "$(in_pod plain c cat /etc/resolv.conf)" "search a.example b.example
nameserver 192.0.2.53
options timeout:3" "resolv.conf of Default is the host's"
ok "and another" eventually 40 ready own
is "$(in_pod own c hostname)" some.other.name "hostnameOverride"
is "$(in_pod own c cat /etc/resolv.conf)" "search x.example
nameserver 192.0.2.1
nameserver 192.0.2.2
nameserver 192.0.2.3
options ndots:2 edns0" "resolv.conf of None is dnsConfig"
ok "one in the host's network" eventually 40 ready node
is "$(in_pod node c head -1 /etc/hosts)" "# Kubernetes-managed hosts file (host network)." "its /etc/hosts is the node's, managed"
is "$(get $pods/node .status.podIP)" 192.0.2.10 "its address is the node's"
ok "a full name that is too long is an error" eventually 40 event_says long FailedCreatePodSandBox 'is too long \(64 characters is the max'
printf 'nameserver 192.0.2.54\n' >"$T/resolv.conf"
create later "$(spec "$(container "$SLEEP")" '{"dnsPolicy":"Default","dnsConfig":{"nameservers":["192.0.2.1","192.0.2.2","192.0.2.3"]}}')" >/dev/null
ok "the host's resolv.conf changed: the next pod" eventually 40 ready later
is "$(in_pod later c cat /etc/resolv.conf)" "nameserver 192.0.2.54
nameserver 192.0.2.1
nameserver 192.0.2.2" "... has the new one, and of dnsConfig what libc takes"
ok "... which is told" eventually 40 event_says later DNSConfigForming 'the applied nameserver line is: 192.0.2.54 192.0.2.1 192.0.2.2'
api DELETE $pods >/dev/null
empty() { [ "$(get $pods '.items|length')" = 0 ]; }
ok "all deleted" eventually 40 empty || get $pods '.items[].metadata.name' | sed 's/^/# left: /' >&2
kubelet_stop
is $? 0 "SIGTERM: an orderly end"
KUBELET_PID=
unlike "$(cat "$T/kubelet.log")" "AddressSanitizer|LeakSanitizer|runtime error" "no sanitizer report"
done_testing
