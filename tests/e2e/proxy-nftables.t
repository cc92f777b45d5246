#!/usr/bin/env bash
# Services by packets, mode nftables.
. "$(dirname "$0")/../lib/tap.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
. "$TOP/tests/lib/proxy-cases.sh"
MODE=nftables
NOTHING_THERE=timeout # nobody answers for an address of a service at another port
installed() {
    # Elements come in an order of their own.
    for f in ip ip6; do $NODE nft list table $f kube-proxy; done | tr -d '\t' | sed 's/^elements = { //; s/,$//; s/ }$//' | sort
}
case_disturbed() {
    put "$(service web '"clusterIP":"10.96.0.10","type":"NodePort","ports":[{"name":"http","port":80,"nodePort":30080}]')"
    put "$(slice web "$TO" $PODS)"
    sync_proxy
    back() { [ "$(names "$POD1" tcp 10.96.0.10 80 20)" = "p1 p2 p3" ] && [ "$(names "$CLIENT" tcp 10.77.0.2 30080 20)" = "p1 p2 p3" ]; }
    $NODE nft flush table ip kube-proxy
    ok "rules that somebody flushed come back" eventually 20 back
    $NODE nft delete table ip kube-proxy
    ok "and the whole table" eventually 20 back
    $NODE nft flush map ip kube-proxy services
    ok "and elements of a map" eventually 20 back
    $NODE nft delete table ip kube-proxy
    $NODE nft 'add table ip kube-proxy { chain services { type filter hook forward priority 0; drop; }; }'
    ok "a table of somebody else's in its place is replaced" eventually 20 back
    chain=$($NODE nft list map ip kube-proxy services | sed -n 's/.*10\.96\.0\.10 \. tcp \. 80 .*: goto \([^ ,]*\).*/\1/p')
    ok "a map of somebody else's that leads to a chain of ours" \
        $NODE nft "add map ip kube-proxy mine { type ipv4_addr : verdict; elements = { 192.0.2.9 : goto $chain }; }"
    put "$(unservice web)"
    gone() { ! $NODE nft list map ip kube-proxy services | grep -q 10.96.0.10; }
    ok "does not keep a service that was deleted" eventually 20 gone
    put "$(service web '"clusterIP":"10.96.0.10","type":"NodePort","ports":[{"name":"http","port":80,"nodePort":30080}]')"
    ok "nor one that comes again from being served" eventually 20 back
}
proxy_cases
done_testing
