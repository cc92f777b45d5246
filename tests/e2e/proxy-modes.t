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
drive_stop

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
