# The cases in mode iptables, for one flavour: VARIANT=nft or legacy.
. "$TOP/tests/lib/proxy-cases.sh"
MODE=iptables
NOTHING_THERE=timeout # nobody answers for an address of a service at another port
installed() {
    for n in iptables ip6tables; do $NODE $n-$VARIANT-save; done 2>/dev/null | grep -v '^#' | sed 's/\[[0-9:]*\]//' |
        grep -v '^-A KUBE-SERVICES -d' # whose order says nothing
    for n in iptables ip6tables; do $NODE $n-$VARIANT-save; done 2>/dev/null | grep '^-A KUBE-SERVICES -d' | sort
}
case_disturbed() {
    put "$(service web '"clusterIP":"10.96.0.10","type":"NodePort","ports":[{"name":"http","port":80,"nodePort":30080}]')"
    put "$(slice web "$TO" $PODS)"
    sync_proxy
    back() { [ "$(names "$POD1" tcp 10.96.0.10 80 20)" = "p1 p2 p3" ] && [ "$(names "$CLIENT" tcp 10.77.0.2 30080 20)" = "p1 p2 p3" ]; }
    $NODE iptables-$VARIANT -t nat -F
    ok "rules that somebody flushed come back" eventually 20 back
    $NODE iptables-$VARIANT -t nat -D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
    ok "and a jump that somebody deleted" eventually 20 back
    foreign_nat=$($NODE iptables-$VARIANT-save -t nat | grep -c MINE)
    is "$foreign_nat" "$([ $VARIANT = nft ] && echo 1 || echo 0)" "what else was flushed is not ours to bring back"
    # As it was, for the comparison at the end.
    if [ $VARIANT = nft ]; then
        $NODE iptables-nft -t nat -A KUBE-SERVICES-MINE -s 192.0.2.1/32 -j RETURN
        $NODE iptables-nft -t nat -A PREROUTING -j KUBE-SERVICES-MINE
    fi
}
