#!/usr/bin/env bash
# Choosing and changing modes: what is not possible says why, what the mode before made goes, services go
# on meanwhile, rules of others stay, and a firewall that drops what is forwarded does not matter.
. "$(dirname "$0")/../lib/tap.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
VARIANT=nft
. "$TOP/tests/lib/proxy-cases.sh"
proxy_net

# Docker's and ufw's way: what is forwarded is dropped unless somebody wants it.
foreign_rules
$NODE iptables-nft -P FORWARD DROP
$NODE iptables-nft -N ufw-before-forward
$NODE iptables-nft -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
$NODE iptables-nft -A FORWARD -j ufw-before-forward
$NODE iptables-nft -A FORWARD -s 10.244.0.0/16 -d 10.244.0.0/16 -j ACCEPT # the network's own affair
# A chain whose name is like ours.
$NODE iptables-nft -t nat -N KUBE-SVCMINE
$NODE iptables-nft -t nat -A KUBE-SVCMINE -s 192.0.2.9/32 -j RETURN
rules_now >"$T/rules.before"

begin() { # MODE
    DRIVE_CONFIG='"mode":"'$1'","clusterCIDR":"10.244.0.0/16,fd44::/16","healthzBindAddress":":0","metricsBindAddress":"127.0.0.1:10249","iptables":{"syncPeriod":"1s"}'
    drive_start
    put "$(service web '"clusterIP":"10.96.0.10","type":"NodePort","externalIPs":["203.0.113.5"],"ports":[{"name":"http","port":80,"nodePort":30080}]')"
    put "$(slice web "$TO" 10.244.1.11@node1 10.244.1.12@node1)"
    sync_proxy
}
ours_in() { # iptables or nftables: how much of it is there
    case $1 in
    iptables) $NODE iptables-nft-save | grep -c '^[:-].*KUBE-\(SERVICES\|SEP-.*\|FORWARD\|POSTROUTING\)\( \|$\)' ;;
    nftables) $NODE nft list tables | grep -c kube-proxy ;;
    esac
}
serves() {
    is "$(names "$POD3" tcp 10.96.0.10 80 30)" "p1 p2" "$1: cluster IP"
    # There every table has its say: what one of them drops is lost, as with kube-proxy.
    [ "$(head -1 "$T/out")" = "mode nftables" ] && return
    is "$(names "$CLIENT" tcp 10.77.0.2 30080 30)" "p1 p2" "$1: node port from outside, where FORWARD drops"
    is "$(names "$CLIENT" tcp 203.0.113.5 80 30)" "p1 p2" "$1: external address, where FORWARD drops"
}

at_end drive_stop
begin iptables
serves iptables
is "$(ours_in nftables)" 0 "iptables: no nftables table"
like "$($NODE iptables-nft-save -t filter | grep '^-A FORWARD' | head -1)" "KUBE-" "our rules are in front of others' in FORWARD"

# A client that asks all the time must not notice the change of modes.
$POD3 "$ECHO" hammer 10.96.0.10 80 >"$T/hammer" &
HAMMER=$!
at_end sh -c "kill $HAMMER 2>/dev/null"
begin nftables
eventually 10 sh -c '! '"$NODE"' iptables-nft-save | grep -q KUBE-SERVICES$'
is "$(ours_in iptables)" 0 "nftables: the rules of iptables are gone"
is "$(ours_in nftables)" 2 "and its own are there"
serves nftables
begin iptables
eventually 10 sh -c '! '"$NODE"' nft list tables | grep -q kube-proxy'
is "$(ours_in nftables)" 0 "iptables again: the tables of nftables are gone"
serves "iptables again"
kill $HAMMER
wait $HAMMER
like "$(cat "$T/hammer")" "^asked [0-9]{2,} failed 0$" "no connection failed meanwhile"

begin auto
is "$(head -1 "$T/out")" "mode nftables" "auto takes the best that works"
serves auto

# What a person asks: what is there of a service, and why an endpoint is not used.
put "$(service part '"clusterIP":"10.96.0.20","type":"NodePort","externalTrafficPolicy":"Local","ports":[{"name":"http","port":80,"nodePort":30081},{"name":"gone","port":81}]')"
put "$(slice part "$TO" 10.244.1.11@node1 10.244.2.11@node2 10.244.1.12@node1=draining 10.244.1.13@node1=lost)"
sync_proxy
asked=$($NODE "$B/bin/coracle" service part)
like "$asked" "default/part on node node1, mode nftables" "coracle service: where and how"
like "$asked" "IPv4: programmed" "whether it is programmed"
like "$asked" "cluster IP +10.96.0.20 port 80.*node port +30081.*from outside +Local" "its addresses and policies"
like "$asked" "-> 10.244.1.11 port 8080 +node1: used"$'\n' "an endpoint that is used"
like "$asked" "-> 10.244.2.11 port 8080 +node2: used from inside; from outside not: is on another node" "one that is on another node"
like "$asked" "-> 10.244.1.12 port 8080 +node1: not used: is terminating, others are ready" "one that is terminating"
like "$asked" "-> 10.244.1.13 port 8080 +node1: not used: is not ready" "one that is not ready"
like "$asked" "part:gone.*no endpoint can take traffic.*has no port of this name" "a port that no slice has"
like "$($NODE "$B/bin/coracle" service nobody 2>&1)" "coracle service: no service default/nobody" "a service that is not there"
drive_stop
like "$($NODE "$B/bin/coracle" service part 2>&1)" "coracle-proxy does not answer at 127.0.0.1:10249" "a proxy that is not there"

$NODE "$DRIVE" --config '{"mode":"ipvs"}' </dev/null >"$T/no" 2>&1 && [ ! -e /proc/net/ip_vs ] && fail "ipvs without IPVS"
if [ ! -e /proc/net/ip_vs ]; then
    like "$(cat "$T/no")" "mode ipvs is not possible here.*(CONFIG_IP_VS|module ip_vs)" "a mode that the kernel cannot do says what is missing"
fi
$NODE "$DRIVE" --config '{"mode":"ebpf"}' </dev/null >"$T/no" 2>&1
like "$(cat "$T/no")" "mode: \"ebpf\"" "a mode that does not exist is named"

ok "clean-up" $NODE "$DRIVE" --cleanup --journal "$T/journal"
rules_now >"$T/rules.after"
ok "leaves the rules of others as they were" diff "$T/rules.before" "$T/rules.after"
[ -s "$T/drive.log" ] && diag "$(cat "$T/drive.log")"
done_testing
