# Random operations, mode by mode: after each batch what was changed bit by bit, what a restart made of an
# older state, and what a cold start makes are the same. Source after tap.sh; OPERATIONS (1000), BATCH (100), SEED.
DRIVE=$B/tests/bin/proxy-drive
NS=pr$$
SEED=${SEED:-$RANDOM}

# Three nodes that know nothing of each other, with the same addresses.
random_net() {
    local n l
    for n in a b c; do
        ip netns add "$NS$n" && at_end ip netns del "$NS$n"
        ip -n "$NS$n" link set lo up
        ip -n "$NS$n" link add eth0 type veth peer name eth1
        for l in eth0 eth1; do ip -n "$NS$n" link set $l addrgenmode none; done
        ip -n "$NS$n" addr add 10.77.0.2/24 dev eth0
        ip -n "$NS$n" addr add fd77::2/64 dev eth0 nodad
        ip -n "$NS$n" link set eth0 up
        ip -n "$NS$n" link set eth1 up
    done
}
in_ns() { local n=$1; shift; nsenter --net="/run/netns/$NS$n" "$@"; }
# Rules of a list stand in any order, others in theirs.
saved_rules() {
    local t
    for t in iptables ip6tables; do in_ns "$1" $t-"$2"-save; done | sed '/^#/d; s/\[[0-9:]*\]//' |
        awk '/^\*/ {table = $1}
             /^-A (KUBE-SERVICES|KUBE-EXTERNAL-SERVICES|KUBE-NODEPORTS|KUBE-PROXY-FIREWALL) / {print table, $0; next}
             /^-A / {print table, $2, ++n[table $2], $0; next} {print table, $0}' | sort
}
# installed NODE MODE VARIANT
installed() {
    case $2 in
    nftables) # the comment of an element says which port it was made for: another name changes nothing
        for f in ip ip6; do in_ns "$1" nft list table $f kube-proxy; done | tr -d '\t' |
            sed 's/^elements = { //; s/,$//; s/ }$//; s/ comment "[^"]*" :/ :/' | sort
        ;;
    iptables) saved_rules "$1" "$3" ;;
    ipvs)
        in_ns "$1" ipvsadm -Sn | grep -v -- '-w 0$' | sort # what drains is on its way out
        in_ns "$1" ipset save | grep ^add | sort
        saved_rules "$1" "$3"
        ip -n "$NS$1" -o addr show dev kube-ipvs0 | awk '{print $3, $4}' | sort
        ;;
    esac
}
# random_operations MODE [VARIANT]
random_operations() {
    local mode=$1 variant=${2:-} n last name="$1${2:+ ($2)}"
    local config='{"mode":"'$mode'","clusterCIDR":"10.244.0.0/16,fd44::/16","healthzBindAddress":":0","metricsBindAddress":":0"}'
    local drive=("$DRIVE" ${variant:+--variant "$variant"} --config "$config")
    last=$((${OPERATIONS:-1000} / ${BATCH:-100} - 1))
    rm -rf "$T/ops"
    mkdir "$T/ops"
    python3 "$TOP/tests/lib/proxy-random.py" "$SEED" "${OPERATIONS:-1000}" "${BATCH:-100}" "$T/ops"
    mkfifo "$T/ops/in"
    in_ns a "${drive[@]}" <"$T/ops/in" >"$T/ops/out" 2>"$T/ops/log" &
    local pid=$!
    exec 5>"$T/ops/in"
    for n in $(seq 0 $last); do
        { cat "$T/ops/$n.changes"; echo sync; } >&5
        eventually 60 sh -c '[ "$(grep -c ^synced "$1")" -gt "$2" ]' sh "$T/ops/out" "$n" || bail "the proxy does not settle"
        in_ns b "${drive[@]}" <"$T/ops/$n.all" >/dev/null 2>>"$T/ops/log.b"
        in_ns c "$DRIVE" --cleanup
        in_ns c "${drive[@]}" <"$T/ops/$n.all" >/dev/null 2>>"$T/ops/log.c"
        installed a "$mode" "$variant" >"$T/ops/a"
        installed b "$mode" "$variant" >"$T/ops/b"
        installed c "$mode" "$variant" >"$T/ops/c"
        diff "$T/ops/c" "$T/ops/a" >"$T/ops/diff" && diff "$T/ops/c" "$T/ops/b" >>"$T/ops/diff" || break
    done
    exec 5>&-
    wait $pid
    ok "$name: ${OPERATIONS:-1000} operations end as a cold start does (seed $SEED, batch $n)" cat_if_any "$T/ops/diff"
    ok "$name: there is something to compare" test "$(wc -l <"$T/ops/c")" -gt 50
    for n in a b c; do in_ns $n "$DRIVE" --cleanup; done
}
cat_if_any() { head -30 "$1"; [ ! -s "$1" ]; }
