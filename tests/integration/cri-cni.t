#!/usr/bin/env bash
# The cni pod network: configurations that come, change and go; Debian's plugins; plugins that misbehave.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
[ -x /usr/lib/cni/bridge ] || skip_all "needs containernetworking-plugins"
cri_setup
in_node ip link add up0 type veth peer name up1
in_node ip addr add 192.0.2.1/24 dev up0
in_node ip link set up0 up
in_node ip link set up1 up

CONF=$R/etc/cni/net.d
pod_ns() { local p=$1; shift; nsenter --net="$R/run/coracle/sandboxes/$p/ns/net" "$@"; }
ip_of() { cri inspectp "$1" | jq -r .status.network.ip; }
ready() { [ "$(cri status | jq -r '.status.conditions[] | select(.type == "NetworkReady") | .status // false')" = "$1" ]; }
why() { cri status | jq -r '.status.conditions[] | select(.type == "NetworkReady") | .reason + ": " + .message'; }
start() { cri_start --network cni --cni-bin-dir "$T/bin:/usr/lib/cni" "$@"; }
# The daemon that removes what a failed test left must be of the same kind.
at_end eval '[ -z "${FINISHED:-}" ] && ! kill -0 "$CRI_PID" 2>/dev/null && start; true'
# put FILE JSON: as one step.
put() { mkdir -p "$CONF"; echo "$2" >"$CONF/.new"; mv "$CONF/.new" "$CONF/$1"; }
leases() { ls "$T/ipam/$1" 2>/dev/null | grep -E '^[0-9]|:' | xargs; }

# A plugin that writes down how it was called, and does what its configuration's "mode" says.
mkdir "$T/bin"
HANG=98765.$$ # seconds; and how its processes are found
cat >"$T/bin/fake-one" <<PLUGIN
#!/bin/bash
in=\$(cat)
jq -cn --arg who "\${0##*/}" --argjson in "\$in" \\
    '{who: \$who, command: env.CNI_COMMAND, id: env.CNI_CONTAINERID, netns: env.CNI_NETNS, ifname: env.CNI_IFNAME, args: env.CNI_ARGS, path: env.CNI_PATH, in: \$in}' >>"$T/calls"
mode=\$(jq -r '.mode // "ok"' <<<"\$in")
if [ "\$CNI_COMMAND" = ADD ] || [ "\$mode" = fail ]; then
    case \$mode in
    fail) echo '{"cniVersion":"1.0.0","code":11,"msg":"no luck","details":"try\nlater"}'; exit 1 ;;
    empty) echo '{"details":""}'; exit 1 ;;
    text) echo "something went wrong" >&2; exit 3 ;;
    hang) sleep $HANG & sleep $HANG ;;
    flood) head -c 3000000 /dev/zero | tr '\0' x; exit 0 ;;
    noaddr) echo '{"cniVersion":"1.0.0"}'; exit 0 ;;
    nojson) echo '{"cniVersion":'; exit 0 ;;
    esac
fi
if [ "\$CNI_COMMAND" = ADD ]; then
    prev=\$(jq -c '.prevResult // empty' <<<"\$in")
    [ -n "\$prev" ] && echo "\$prev" || jq -c '{cniVersion, ips: [{address: "10.77.0.5/24"}, {address: "fd00:77::5/64"}]}' <<<"\$in"
fi
exit 0
PLUGIN
chmod +x "$T/bin/fake-one"
ln -s fake-one "$T/bin/fake-two"
touch "$T/calls"
calls() { jq -r "$1" "$T/calls"; }
fake() { # VERSION MODE [MORE]: a list of two fake plugins; the second has the mode
    jq -cn --arg v "$1" --arg m "$2" '{cniVersion: $v, name: "fake", plugins: [{type: "fake-one", capabilities: {dns: true}}, {type: "fake-two", mode: $m, capabilities: {portMappings: true, bandwidth: true, dns: false}}]}' | jq -c "${3:-.}"
}

# ---- no configuration yet ----
start
ok "without a configuration it is not ready" ready false
like "$(why)" "^NetworkPluginNotReady: .*$CONF" "... and says where one is looked for"
like "$(cri runp "$(pod x)" 2>&1)" "not ready.*$CONF" "... and refuses pods"
put 10-net.conflist '{"cniVersion":"1.0.0","name":"net"'
ok "a broken file" eventually 10 eval '[[ $(why) =~ 10-net.conflist:.*line ]]'
put 10-net.conflist '{"cniVersion":"9.9.9","name":"net","plugins":[{"type":"bridge"}]}'
ok "an unknown version" eventually 10 eval '[[ $(why) =~ 10-net.conflist:\ cniVersion.*9.9.9 ]]'
put 10-net.conflist '{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"no-such-plugin"}]}'
ok "a plugin that is not there" eventually 10 eval '[[ $(why) =~ no-such-plugin.*/usr/lib/cni ]]'

# ---- Debian's plugins: bridge, host-local, portmap, firewall ----
put 10-net.conflist '{"cniVersion":"1.0.0","name":"net","plugins":[
  {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"hairpinMode":true,
   "ipam":{"type":"host-local","dataDir":"'"$T/ipam"'","ranges":[[{"subnet":"10.88.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
  {"type":"portmap","capabilities":{"portMappings":true}},
  {"type":"firewall","backend":"iptables"}]}'
ok "a valid one is picked up without a restart" eventually 10 ready true
a=$(cri runp "$(pod a '.port_mappings=[{container_port:80,host_port:8080}]')")
like "$a" '^[0-9a-f]{32}$' "a pod runs" || diag "$(tail -5 "$T/cri.log")"
b=$(cri runp "$(pod b)")
like "$(ip_of "$a") $(ip_of "$b")" '^10\.88\.0\.[0-9]+ 10\.88\.0\.[0-9]+$' "addresses are host-local's"
is "$(leases net | wc -w)" 2 "... which has them leased"
nsenter --net="$R/run/coracle/sandboxes/$a/ns/net" "$B/tests/bin/who" serve a 0.0.0.0 80 >"$T/server" &
server=$!
at_end eval 'kill $server 2>/dev/null; true'
eventually 10 grep -q ready "$T/server"
is "$(pod_ns "$b" "$B/tests/bin/who" ask tcp "$(ip_of "$a")" 80)" "a $(ip_of "$b")" "pod to pod"
is "$(in_node "$B/tests/bin/who" ask tcp 192.0.2.1 8080)" "a 192.0.2.1" "a host port, by portmap"
ok "the loopback is up" pod_ns "$b" busybox ping -c1 -W1 127.0.0.1
ok "statistics of its interface" jq -e --arg a "$a" '.stats[] | select(.attributes.id == $a) | .linux.network.default_interface | .name == "eth0" and .rx_bytes.value > 0' <<<"$(cri statsp)"
like "$(timeout 20 nsenter --net="/run/netns/$NETNS" "$LIBEXEC/coracle-cri" --root "$R" --network builtin 2>&1)" "another coracle-cri" "(one daemon a root)"

# ---- the daemon dies; the configuration goes ----
cri_kill9
like "$(timeout 20 nsenter --net="/run/netns/$NETNS" "$LIBEXEC/coracle-cri" --root "$R" --network builtin --cgroup-root "$CGROUP" 2>&1)" "2 pods of the network cni are still there" "another network is refused while pods of this one are there"
rm "$CONF/10-net.conflist"
start
ok "not ready after a restart without configuration" ready false
is "$(ip_of "$a")" "$(leases net | cut -d' ' -f1)" "the address is known after a restart"
ok "a pod goes without a configuration" cri rmp "$a"
is "$(leases net)" "$(ip_of "$b")" "... and gives its address back"
is "$(in_node iptables-save | grep -c 'dport 8080')" 0 "... and its host port"
ok "stop" cri stopp "$b"
ok "stop again" cri stopp "$b"
is "$(leases net)" "" "the other's address is back"
cri rmp "$b"
is "$(in_node ip -o link | grep -c 'master cni0')" 0 "no veth is left"

# ---- single configurations, order, ptp, both families ----
put 20-single.conf '{"cniVersion":"0.3.1","name":"single","type":"ptp","ipam":{"type":"host-local","dataDir":"'"$T/ipam"'","ranges":[[{"subnet":"10.89.0.0/24"}],[{"subnet":"fd00:89::/64"}]]}}'
put 30-later.conflist "$(fake 1.0.0 ok)"
ok "a single plugin's configuration" eventually 10 ready true
c=$(cri runp "$(pod c)")
is "$(cri inspectp "$c" | jq -r '.status.network | .ip + " " + .additional_ips[0].ip')" "10.89.0.2 fd00:89::2" "both families, by ptp; the first file by name"
is "$(grep -cE '^(10.89.0.2|fd00:89::2)'$'\t'c$ "$R/run/coracle/sandboxes/$c/hosts")" 2 "... in /etc/hosts"
put 10-net.conflist '{"cniVersion":"1.0.0"}'
d=$(cri runp "$(pod d)")
like "$(ip_of "$d")" '^10\.89\.0\.3$' "an invalid file before it changes nothing"
rm "$CONF/10-net.conflist" "$CONF/20-single.conf"
ok "the next one is taken when it goes" eventually 10 eval 'grep -q "name=fake" "$T/cri.log"'
e=$(cri runp "$(pod e)")
is "$(ip_of "$e")" 10.77.0.5 "... for new pods"
ok "those of the old one go by it" cri rmp "$c"
cri rmp "$d"
is "$(leases single)" "" "... and give their addresses back"
put 05-old.conflist '{"cniVersion":"0.4.0","name":"old","plugins":[
  {"type":"bridge","bridge":"cni1","isGateway":true,"ipam":{"type":"host-local","dataDir":"'"$T/ipam"'","ranges":[[{"subnet":"10.87.0.0/24"}]]}},
  {"type":"portmap","capabilities":{"portMappings":true}}]}'
ok "a list of version 0.4.0" eventually 10 grep -q "name=old" "$T/cri.log"
o=$(cri runp "$(pod o '.port_mappings=[{container_port:80,host_port:8084}]')")
is "$(ip_of "$o") $(leases old)" "10.87.0.2 10.87.0.2" "... with Debian's plugins"
like "$(in_node iptables-save)" "-p tcp -m tcp --dport 8084 .*10.87.0.2:80" "... portmap, too"
taken=$(grep -c "name=fake" "$T/cri.log")
rm "$CONF/05-old.conflist"
eventually 10 eval '[ "$(grep -c "name=fake" "$T/cri.log")" -gt "$taken" ]'
cri rmp "$o"
is "$(leases old) $(in_node iptables-save | grep -c 'dport 8084')" " 0" "... and nothing is left of it"

# ---- what plugins are told ----
is "$(calls .who | xargs)" "fake-one fake-two" "plugins run in order"
is "$(calls 'select(.who == "fake-one") | [.command, .id, .ifname, .in.name, .in.cniVersion, .in.type] | join(" ")')" "ADD $e eth0 fake 1.0.0 fake-one" "command, container, interface, name, version"
is "$(calls 'select(.who == "fake-one").args')" "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=e;K8S_POD_INFRA_CONTAINER_ID=$e;K8S_POD_UID=uid-e" "CNI_ARGS"
is "$(calls 'select(.who == "fake-one") | .netns, .path')" "$R/run/coracle/sandboxes/$e/ns/net"$'\n'"$T/bin:/usr/lib/cni" "namespace and path"
is "$(calls 'select(.who == "fake-one").in | has("prevResult"), .runtimeConfig.dns.servers[0], (.runtimeConfig | keys | length)' | xargs)" "false 10.96.0.10 1" "dns, as the capability is declared"
is "$(calls 'select(.who == "fake-two").in | .prevResult.ips[0].address, (.runtimeConfig | tostring)' | xargs)" "10.77.0.5/24 null" "the result before; nothing that is not declared"
: >"$T/calls"
cri rmp "$e"
is "$(calls '.who + .command' | xargs)" "fake-twoDEL fake-oneDEL" "DEL in reverse order"
is "$(calls '.in.prevResult.ips[1].address' | xargs)" "fd00:77::5/64 fd00:77::5/64" "... with the result of ADD"
: >"$T/calls"
e=$(cri runp "$(pod e '.port_mappings=[{container_port:53,host_port:5353,protocol:"UDP",host_ip:"127.0.0.1"}] | .annotations={"kubernetes.io/ingress-bandwidth":"1M","kubernetes.io/egress-bandwidth":"2500k"}')")
is "$(calls 'select(.who == "fake-two").in.runtimeConfig | [.portMappings[0].hostPort, .portMappings[0].containerPort, .portMappings[0].protocol, .portMappings[0].hostIP, .bandwidth.ingressRate, .bandwidth.egressRate, (.bandwidth.ingressBurst > 0)] | map(tostring) | join(" ")')" "5353 53 udp 127.0.0.1 1000000 2500000 true" "port mappings and bandwidth"
like "$(cri runp "$(pod x '.annotations={"kubernetes.io/ingress-bandwidth":"fast"}')" 2>&1)" "INVALID_ARGUMENT.*config.annotations.*ingress-bandwidth.*fast" "a bad rate is refused by name"
like "$(cri runp "$(pod x '.port_mappings=[{container_port:0,host_port:1}]')" 2>&1)" "INVALID_ARGUMENT.*port_mappings" "a bad port too"

# ---- plugins that misbehave ----
mode() { # MODE: a configuration whose second plugin does that, in effect when this returns
    put 30-later.conflist "$(fake 1.0.0 "$1" ".name = \"fake-$1\"")"
    eventually 10 grep -q "name=fake-$1" "$T/cri.log"
    : >"$T/calls"
}
sandboxes() { ls "$R/run/coracle/sandboxes" | grep -vc "$e"; }
mode fail
like "$(cri runp "$(pod x)" 2>&1)" "CNI plugin fake-two \(ADD\): no luck: try later" "a plugin's error is told"
is "$(calls '.who + .command' | xargs)" "fake-oneADD fake-twoADD fake-twoDEL" "... a failing DEL ends the chain"
x=$(ls "$R/run/coracle/sandboxes" | grep -v "$e")
is "$(cri inspectp "$x" | jq -r .status.state)" SANDBOX_NOTREADY "... and the sandbox stays, for another try"
cri_kill9
start --cni-timeout 3
is "$(sandboxes)" 1 "... also over a restart"
like "$(cri rmp "$x" 2>&1)" "CNI plugin fake-two \(DEL\): no luck" "... which tells why it failed"
sed -i 's/"mode":"fail"/"mode":"ok"/' "$R/var/lib/coracle/cni/$x.json"
ok "... until DEL succeeds" cri rmp "$x"
mode text
like "$(cri runp "$(pod x)" 2>&1)" "CNI plugin fake-two \(ADD\): exit status 3: something went wrong" "an error without JSON"
is "$(sandboxes)" 0 "... leaves nothing"
mode empty
like "$(cri runp "$(pod x)" 2>&1)" 'CNI plugin fake-two \(ADD\): \{"details":""\}' "an error that says nothing"
is "$(sandboxes)" 0 "... leaves nothing either"
mode hang
like "$(cri runp "$(pod x)" 2>&1)" "CNI plugin fake-two \(ADD\): no answer in time, killed" "a plugin that hangs is killed"
is "$(pgrep -fc "sleep $HANG" || true)" 0 "... with what it started" || diag "$(pgrep -fa "sleep $HANG")"
is "$(calls '.who + .command' | xargs)" "fake-oneADD fake-twoADD fake-twoDEL fake-oneDEL" "... and DEL runs"
mode flood
like "$(cri runp "$(pod x)" 2>&1)" "CNI plugin fake-two.*more than 1048576 bytes" "output is bounded"
mode noaddr
like "$(cri runp "$(pod x)" 2>&1)" "no address for eth0" "a result without an address"
mode nojson
like "$(cri runp "$(pod x)" 2>&1)" "CNI plugin fake-two \(ADD\): line [0-9]" "a result that is no JSON"
is "$(sandboxes) $(ls "$R/var/lib/coracle/cni" | wc -l)" "0 1" "nothing is left of them"

# ---- killed in the middle of ADD; GC ----
put 30-later.conflist "$(fake 1.1.0 hang '.name = "gc"')"
eventually 10 grep -q "name=gc" "$T/cri.log"
: >"$T/calls"
cri runp "$(pod x)" >/dev/null 2>&1 &
eventually 10 grep -q fake-two "$T/calls"
cri_kill9
wait %% 2>/dev/null
: >"$T/calls"
start
ok "what was half made is taken back after a restart" eventually 10 eval '[ "$(calls "select(.command == \"DEL\") | .who" | xargs)" = "fake-two fake-one" ]'
gc_told() { calls 'select(.command == "GC" and .who == "fake-two") | .in["cni.dev/valid-attachments"][] | .containerID + " " + .ifname'; }
ok "GC is told what is there" eventually 10 eval 'gc_told | grep -qx "$e eth0"'
is "$(calls 'select(.command == "GC") | .id' | xargs)" "null null" "... and nothing of one pod"
for x in $(pgrep -f "sleep $HANG"); do kill "$x"; done

# ---- a reboot: what is on tmpfs is gone ----
cri_kill9
kill -9 "$(cut -d" " -f1 "$R/run/coracle/sandboxes/$e/shim.pid")"
eventually 10 eval '! pgrep -f "coracle-shim $R/"'
grep -o "$R/run/[^ ]*" /proc/self/mountinfo | sort -r | xargs -r -n1 umount -l
rm -rf "$R/run/coracle"
: >"$T/calls"
start
ok "addresses are given back after a reboot" eventually 10 eval '[ "$(calls "select(.command == \"DEL\") | [.who, .id, .netns] | join(\" \")" | xargs)" = "fake-two $e fake-one $e" ]' || diag "$(cat "$T/calls")"
ok "... once" eventually 10 eval '[ -z "$(ls "$R/var/lib/coracle/cni")" ]'

# ---- nothing is left ----
put 30-later.conflist "$(fake 0.4.0 ok)"
eventually 10 grep -q "name=fake file" "$T/cri.log"
f=$(cri runp "$(pod f)")
is "$(ip_of "$f")" 10.77.0.5 "version 0.4.0"
cri_kill9
: >"$T/calls"
ok "--cleanup" in_node "$LIBEXEC/coracle-cri" --root "$R" --cgroup-root "$CGROUP" --cni-bin-dir "$T/bin" --cleanup
is "$(calls '.who + .command + .id' | xargs)" "fake-twoDEL$f fake-oneDEL$f" "... detaches what is there"
is "$(ls "$R/var/lib/coracle/cni" | wc -l)" 0 "... and forgets it"
is "$(grep -c "$R" /proc/self/mountinfo)" 0 "no mount is left"
start
cri rmp "$f"
cri_stop
FINISHED=1
is "$(grep -cE 'Sanitizer|runtime error|Assertion' "$T/cri.log")" 0 "nothing found by sanitizers" || diag "$(grep -A30 -E 'Sanitizer|runtime error' "$T/cri.log" | head -60)"
done_testing
