# The cases in mode ipvs, for a kernel that has it: see tests/e2e/proxy-ipvs.t.
. "$TOP/tests/lib/tap.sh"
VARIANT=legacy FOREIGN=legacy
. "$TOP/tests/lib/proxy-cases.sh"
MODE=ipvs SCTP=1
NOTHING_THERE=refused # addresses of services are the node's own
installed() {
    $NODE ipvsadm -Sn | sort
    $NODE ipset save | grep ^add | sort
    for n in iptables ip6tables; do $NODE $n-legacy-save; done | grep -v '^#' | sed 's/\[[0-9:]*\]//'
    ip -n "${NS}n" -o addr show dev kube-ipvs0 | awk '{print $3, $4}' | sort
}
case_disturbed() {
    put "$(service web '"clusterIP":"10.96.0.10","type":"NodePort","ports":[{"name":"http","port":80,"nodePort":30080}]')"
    put "$(slice web "$TO" $PODS)"
    sync_proxy
    back() { [ "$(names "$POD1" tcp 10.96.0.10 80 20)" = "p1 p2 p3" ] && [ "$(names "$CLIENT" tcp 10.77.0.2 30080 20)" = "p1 p2 p3" ]; }
    $NODE ipvsadm -C
    ok "servers that somebody flushed come back" eventually 20 back
    ip -n "${NS}n" addr del 10.96.0.10/32 dev kube-ipvs0
    there() { ip -n "${NS}n" addr show dev kube-ipvs0 | grep -q 10.96.0.10; }
    ok "an address that somebody deleted comes back" eventually 20 there
    ip -n "${NS}n" link del kube-ipvs0
    ok "and their addresses" eventually 20 back
    $NODE iptables-legacy -t nat -F
    ok "and rules" eventually 20 back
    # What else was flushed is not ours to bring back: as it was, for the comparison at the end.
    $NODE iptables-legacy -t nat -A KUBE-SERVICES-MINE -s 192.0.2.1/32 -j RETURN
    $NODE iptables-legacy -t nat -A PREROUTING -j KUBE-SERVICES-MINE
}
