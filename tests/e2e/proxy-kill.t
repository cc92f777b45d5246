#!/usr/bin/env bash
# The proxy is killed in the middle of its work, again and again, while a client asks through a service: no
# connection to a live endpoint fails, and in the end everything is as a cold start makes it. ROUNDS (10).
. "$(dirname "$0")/../lib/tap.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
. "$TOP/tests/lib/proxy-cases.sh"
. "$TOP/tests/lib/proxy-random.sh"
NS=px$$
ROUNDS=${ROUNDS:-10}
diag "seed $SEED"
RANDOM=$SEED
proxy_net

# write_round N: the input, with services around the one that is asked, all of them other than the round before.
write_round() {
    local pods="10.244.1.11@node1 10.244.1.12@node1"
    [ $(($1 % 2)) = 0 ] || pods="$pods 10.244.1.13@node1"
    service web '"clusterIP":"10.96.0.10","type":"NodePort","ports":[{"name":"http","port":80,"nodePort":30080}]'
    slice web "$TO" $pods
    service f@ '"clusterIP":"10.96.2.@","type":"NodePort","ports":[{"name":"http","port":80,"nodePort":301%}]' |
        awk '{for (i = 10; i < 90; i++) {s = $0; gsub("@", i, s); gsub("%", i, s); print s}}'
    slice f% "$TO" 10.244.1.11@node1 "10.244.2.$(($1 % 200 + 11))@node2" |
        awk '{for (i = 10; i < 90; i++) {s = $0; gsub("%", i, s); print s}}'
}
for r in $(seq 0 "$ROUNDS"); do write_round "$r" >"$T/round.$r"; done
objects() { cat "$T/round.$1" >&9; } # ROUND
# killed MODE [VARIANT]
killed() {
    local r hammer name="$1${2:+ ($2)}"
    VARIANT=${2:-}
    DRIVE_CONFIG='"mode":"'$1'","clusterCIDR":"10.244.0.0/16","nodePortAddresses":["10.77.0.0/24"],"healthzBindAddress":":0","metricsBindAddress":":0"'
    drive_start
    objects 0
    sync_proxy
    $POD3 "$ECHO" hammer 10.96.0.10 80 >"$T/hammer.$1" &
    hammer=$!
    at_end sh -c "kill $hammer 2>/dev/null"
    for r in $(seq "$ROUNDS"); do
        objects "$r"
        put sync
        sleep "0.0$((RANDOM % 90 + 10))"
        drive_stop KILL
        drive_start
        objects "$r"
        put sync
        sleep "0.0$((RANDOM % 90 + 10))"
        drive_stop KILL
        drive_start
        objects "$r"
        sync_proxy
    done
    kill $hammer
    wait $hammer
    like "$(cat "$T/hammer.$1")" "^asked [0-9]{2,} failed 0$" "$name: no connection failed in $ROUNDS rounds"
    installed n "$1" "${2:-}" >"$T/end"
    drive_stop
    $NODE "$DRIVE" --cleanup
    drive_start
    objects "$ROUNDS"
    sync_proxy
    installed n "$1" "${2:-}" >"$T/cold"
    ok "$name: the end is what a cold start makes" diff "$T/end" "$T/cold"
    drive_stop
    $NODE "$DRIVE" --cleanup
}
at_end drive_stop
killed nftables
killed iptables nft
killed iptables legacy
[ -s "$T/drive.log" ] && diag "$(tail -5 "$T/drive.log")"
done_testing
