# The one list of cases for every mode: what a client sees. MODE (iptables, ipvs, nftables), VARIANT and
# SCTP say what runs; the topology is that of proxy.sh.
. "$TOP/tests/lib/proxy.sh"

HTTP='"ports":[{"name":"http","port":80,"protocol":"TCP"}]'
TO='{"name":"http","port":8080,"protocol":"TCP"}'
PODS="10.244.1.11@node1 10.244.1.12@node1 10.244.1.13@node1"

case_cluster_ip() {
    put "$(service web '"clusterIP":"10.96.0.10",'"$HTTP")"
    put "$(slice web "$TO" $PODS 10.244.2.11@node2)"
    sync_proxy
    is "$(names "$POD1" tcp 10.96.0.10 80 60)" "far p1 p2 p3" "cluster IP: every endpoint gets connections"
    is "$(names "$NODE" tcp 10.96.0.10 80 60)" "far p1 p2 p3" "from the node"
    is "$(names "$CLIENT" tcp 10.96.0.10 80 60)" "far p1 p2 p3" "from outside, with a route"
    put "$(slice web "$TO" 10.244.1.12@node1)"
    sync_proxy
    answers "$POD1" tcp 10.96.0.10 80 "p2 10.244.1.11"
    answers "$CLIENT" tcp 10.96.0.10 80 "p2 10.244.1.1" # masqueraded: the answer comes back this way
    put "$(slice web "$TO" 10.244.1.11@node1)"
    sync_proxy
    like "$($POD1 "$ECHO" ask tcp 10.96.0.10 80)" "^p1 " "a pod reaches itself through its service"
    answers "$POD1" tcp 10.96.0.10 81 "$NOTHING_THERE" "$([ "$NOTHING_THERE" = timeout ] && echo 500)"
}

# Connections spread evenly: chi-square with three degrees of freedom, which is beyond 30.7 once in a million.
case_spread() {
    local n=10000
    [ "${QUICK:-}" = 1 ] && n=400
    put "$(service web '"clusterIP":"10.96.0.10",'"$HTTP")"
    put "$(slice web "$TO" $PODS 10.244.2.11@node2)"
    sync_proxy
    $POD2 "$ECHO" names tcp 10.96.0.10 80 $n >"$T/spread"
    ok "$n connections spread evenly" awk -v n=$n '{print; k++; x += ($2 - n / 4) ^ 2 / (n / 4); sum += $2}
        END {print "chi-square", x; exit !(k == 4 && sum == n && x < 30.7)}' "$T/spread"
}

case_no_endpoints() {
    put "$(service web '"clusterIP":"10.96.0.10","type":"NodePort","externalIPs":["203.0.113.5"],"ports":[{"name":"http","port":80,"nodePort":30080}]')"
    put "$(slice web "$TO")"
    sync_proxy
    answers "$POD1" tcp 10.96.0.10 80 refused
    answers "$NODE" tcp 10.96.0.10 80 refused
    answers "$CLIENT" tcp 203.0.113.5 80 refused
    answers "$CLIENT" tcp 10.77.0.2 30080 refused
    put "$(slice web "$TO" 10.244.1.11@node1=draining 10.244.1.12@node1=lost)"
    sync_proxy
    answers "$POD2" tcp 10.96.0.10 80 "p1 10.244.1.12"
    put "$(slice web "$TO" 10.244.1.11@node1=draining 10.244.1.12@node1)"
    sync_proxy
    is "$(names "$POD3" tcp 10.96.0.10 80 20)" p2 "a draining endpoint gets nothing beside a ready one"
}

case_node_port() {
    put "$(service web '"clusterIP":"10.96.0.10","type":"NodePort","ports":[{"name":"http","port":80,"nodePort":30080}]')"
    put "$(slice web "$TO" 10.244.1.11@node1 10.244.2.11@node2)"
    sync_proxy
    is "$(names "$CLIENT" tcp 10.77.0.2 30080 40)" "far p1" "node port from outside"
    is "$(names "$NODE" tcp 10.77.0.2 30080 40)" "far p1" "from the node"
    is "$(names "$POD2" tcp 10.77.0.2 30080 40)" "far p1" "from a pod"
    answers "$CLIENT" tcp 10.77.0.2 30081 refused
    if [ "$MODE" = iptables ]; then
        is "$(names "$NODE" tcp 127.0.0.1 30080 40)" "far p1" "on loopback, in this mode"
    fi
    put "$(unservice web)"
    put "$(unslice web)"
    sync_proxy
    answers "$CLIENT" tcp 10.77.0.2 30080 refused
}

case_external() {
    put "$(service web '"clusterIP":"10.96.0.10","type":"LoadBalancer","externalIPs":["203.0.113.5"],"loadBalancerSourceRanges":["10.77.0.0/24"],"ports":[{"name":"http","port":80,"nodePort":30080}]' \
        '"loadBalancer":{"ingress":[{"ip":"203.0.113.6"},{"ip":"203.0.113.7","ipMode":"Proxy"}]}')"
    put "$(slice web "$TO" 10.244.1.11@node1)"
    sync_proxy
    answers "$CLIENT" tcp 203.0.113.5 80 "p1 10.244.1.1"
    answers "$CLIENT" tcp 203.0.113.6 80 "p1 10.244.1.1"
    answers "$NODE" tcp 203.0.113.6 80 "p1 10.244.1.1"
    answers "$POD2" tcp 203.0.113.6 80 timeout 500
    answers "$POD2" tcp 203.0.113.5 80 "p1 10.244.1.1"
    put "$(service web '"clusterIP":"10.96.0.10","type":"LoadBalancer","externalIPs":["203.0.113.5"],"loadBalancerSourceRanges":["10.244.0.0/16"],"ports":[{"name":"http","port":80,"nodePort":30080}]' \
        '"loadBalancer":{"ingress":[{"ip":"203.0.113.6"}]}')"
    sync_proxy
    answers "$CLIENT" tcp 203.0.113.6 80 timeout 500
    answers "$CLIENT" tcp 203.0.113.5 80 "p1 10.244.1.1"
    answers "$CLIENT" tcp 10.77.0.2 30080 "p1 10.244.1.1"
    answers "$POD2" tcp 203.0.113.6 80 "p1 10.244.1.1"
}

case_policies() {
    put "$(service web '"clusterIP":"10.96.0.10","type":"LoadBalancer","externalTrafficPolicy":"Local","internalTrafficPolicy":"Local","healthCheckNodePort":31000,"ports":[{"name":"http","port":80,"nodePort":30080}]' \
        '"loadBalancer":{"ingress":[{"ip":"203.0.113.6"}]}')"
    put "$(slice web "$TO" 10.244.1.11@node1 10.244.2.11@node2)"
    sync_proxy
    answers "$CLIENT" tcp 10.77.0.2 30080 "p1 10.77.0.1" # the client's address arrives
    answers "$CLIENT" tcp 203.0.113.6 80 "p1 10.77.0.1"
    is "$(names "$CLIENT" tcp 10.77.0.2 30080 20)" "p1" "external policy Local: endpoints here only"
    is "$(names "$POD2" tcp 10.96.0.10 80 20)" "p1" "internal policy Local: endpoints here only"
    # A virtual server has one set of real servers, whoever asks.
    if [ "$MODE" != ipvs ]; then
        is "$(names "$POD2" tcp 203.0.113.6 80 40)" "far p1" "a pod's way out and back in goes anywhere"
        is "$(names "$NODE" tcp 10.77.0.2 30080 40)" "far p1" "and the node's"
    fi
    like "$($CLIENT curl -s -D - http://10.77.0.2:31000/)" "200 OK.*Endpoint-Weight: 1.*\"localEndpoints\": 1" "health check: one endpoint here"
    put "$(slice web "$TO" 10.244.2.11@node2)"
    sync_proxy
    answers "$CLIENT" tcp 10.77.0.2 30080 timeout 500
    answers "$CLIENT" tcp 203.0.113.6 80 timeout 500
    answers "$POD2" tcp 10.96.0.10 80 timeout 500
    [ "$MODE" = ipvs ] || answers "$POD2" tcp 203.0.113.6 80 "far 10.244.1.12"
    like "$($CLIENT curl -s -D - http://10.77.0.2:31000/)" "503 .*\"localEndpoints\": 0" "health check: none here"
}

case_affinity() {
    local a
    put "$(service web '"clusterIP":"10.96.0.10","type":"NodePort","sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":1}},"ports":[{"name":"http","port":80,"nodePort":30080}]')"
    put "$(slice web "$TO" $PODS)"
    sync_proxy
    a=$($POD1 "$ECHO" names tcp 10.96.0.10 80 30)
    like "$a" "^p[123]: 30$" "affinity: one endpoint gets all of a client's connections"
    like "$($CLIENT "$ECHO" names tcp 10.77.0.2 30080 30)" "^p[123]: 30$" "through a node port too"
    # The one that it had goes: another takes over, and is kept to.
    local gone=${a%%:*} left=() n
    for n in 1 2 3; do [ "p$n" = "$gone" ] || left+=("10.244.1.1$n@node1"); done
    put "$(slice web "$TO" "${left[@]}")"
    sync_proxy
    a=$($POD1 "$ECHO" names tcp 10.96.0.10 80 30)
    like "$a" "^p[123]: 30$" "when its endpoint goes, another one gets them all"
    isnt "${a%%:*}" "$gone" "and it is not the one that went"
    spread() {
        local first now
        first=$($POD1 "$ECHO" names tcp 10.96.0.10 80 1)
        for _ in $(seq 25); do
            sleep 1.3
            now=$($POD1 "$ECHO" names tcp 10.96.0.10 80 1)
            [ "$now" = "$first" ] || return 0
        done
        return 1
    }
    [ "${QUICK:-}" = 1 ] || ok "it ends after its time" spread
}

case_protocols() {
    put "$(service dns '"clusterIP":"10.96.0.53","ports":[{"name":"t","port":53,"protocol":"TCP"},{"name":"u","port":53,"protocol":"UDP"}]')"
    put "$(slice dns '{"name":"t","port":8080,"protocol":"TCP"},{"name":"u","port":9090,"protocol":"UDP"}' 10.244.1.11@node1 10.244.1.12@node1)"
    sync_proxy
    is "$(names "$POD3" tcp 10.96.0.53 53 30)" "p1 p2" "one number, tcp"
    is "$(names "$POD3" udp 10.96.0.53 53 30)" "p1 p2" "and udp"
    if [ -n "${SCTP:-}" ]; then
        put "$(service s '"clusterIP":"10.96.0.54","type":"NodePort","ports":[{"name":"s","port":80,"protocol":"SCTP","nodePort":30090}]')"
        put "$(slice s '{"name":"s","port":8080,"protocol":"SCTP"}' 10.244.1.11@node1)"
        sync_proxy
        answers "$POD2" sctp 10.96.0.54 80 "p1 10.244.1.12"
        like "$($CLIENT "$ECHO" ask sctp 10.77.0.2 30090)" "^p1 " "sctp through a node port"
        put "$(unservice s)"
        put "$(unslice s)"
    fi
    put "$(unservice dns)"
    put "$(unslice dns)"
}

# A UDP client that keeps its socket is not stuck with an endpoint that is gone, nor with silence from
# before there was one; a TCP connection to an endpoint that stays is left alone.
case_flows() {
    put "$(service u '"clusterIP":"10.96.0.60","type":"NodePort","ports":[{"name":"u","port":53,"protocol":"UDP","nodePort":30053}]')"
    put "$(service web '"clusterIP":"10.96.0.10",'"$HTTP")"
    put "$(slice u '{"name":"u","port":8080,"protocol":"UDP"}' 10.244.1.11@node1)"
    put "$(slice web "$TO" 10.244.1.11@node1)"
    sync_proxy
    mkfifo "$T/flow" "$T/port" "$T/hold"
    $POD3 "$ECHO" flow 10.96.0.60 53 <"$T/flow" >"$T/flow.out" &
    $CLIENT "$ECHO" flow 10.77.0.2 30053 <"$T/port" >"$T/port.out" &
    $POD3 "$ECHO" hold 10.96.0.10 80 <"$T/hold" >"$T/hold.out" &
    exec 6>"$T/flow" 7>"$T/hold" 8>"$T/port"
    said() { eventually 10 sh -c '[ "$(wc -l <"$1")" -ge "$2" ]' sh "$1" "$2" && tail -1 "$1" | cut -d" " -f1; }
    echo 1 >&6
    echo 1 >&8
    is "$(said "$T/flow.out" 1)" p1 "a UDP flow"
    is "$(said "$T/port.out" 1)" p1 "another one, through the node port"
    is "$(said "$T/hold.out" 1)" p1 "a TCP connection"
    put "$(slice u '{"name":"u","port":8080,"protocol":"UDP"}' 10.244.1.12@node1)"
    put "$(slice web "$TO" 10.244.1.11@node1 10.244.1.12@node1)"
    sync_proxy
    # The old flow is deleted a moment after its rules: what is asked after that goes elsewhere.
    moved() { echo 2 >&"$2"; sleep 0.1; [ "$(tail -1 "$1" | cut -d" " -f1)" = p2 ]; }
    ok "the UDP flow goes to the endpoint that is there now" eventually 5 moved "$T/flow.out" 6
    ok "and so does the other one" eventually 5 moved "$T/port.out" 8
    put "$(slice web "$TO" 10.244.1.11@node1=draining 10.244.1.12@node1)"
    sync_proxy
    echo ping >&7
    is "$(said "$T/hold.out" 2)" ping "the connection to a draining endpoint lives on"
    exec 6>&- 7>&- 8>&-
    rm -f "$T/flow" "$T/port" "$T/hold"
    put "$(unservice u)"
    put "$(unslice u)"
}

case_ipv6() {
    put "$(service web '"clusterIP":"fd96::10","clusterIPs":["fd96::10","10.96.0.10"],"type":"NodePort","externalIPs":["fd03::5"],"ports":[{"name":"http","port":80,"nodePort":30080}]')"
    put "$(slice web "$TO" 10.244.1.11@node1 fd44:1::12@node1)"
    sync_proxy
    answers "$POD1" tcp fd96::10 80 "p2 fd44:1::11"
    answers "$POD2" tcp 10.96.0.10 80 "p1 10.244.1.12"
    like "$($CLIENT "$ECHO" ask tcp fd03::5 80)" "^p2 " "an external address in IPv6"
    like "$($CLIENT "$ECHO" ask tcp fd77::2 30080)" "^p2 " "a node port in IPv6"
    like "$($CLIENT "$ECHO" ask tcp 10.77.0.2 30080)" "^p1 " "and the same one in IPv4"
    like "$($POD2 "$ECHO" ask tcp fd96::10 80)" "^p2 " "a pod reaches itself"
    put "$(slice web "$TO" 10.244.1.11@node1)"
    sync_proxy
    answers "$POD1" tcp fd96::10 80 refused
    answers "$CLIENT" tcp fd77::2 30080 refused
    put "$(service web '"clusterIP":"10.96.0.10",'"$HTTP")"
    sync_proxy
}

# Rules that others make stay as they are, in the middle of ours and after them.
foreign_rules() {
    local ipt=iptables-${FOREIGN:-nft}
    $NODE $ipt -t nat -N KUBE-SERVICES-MINE
    $NODE $ipt -t nat -A KUBE-SERVICES-MINE -s 192.0.2.1/32 -j RETURN
    $NODE $ipt -t nat -A PREROUTING -j KUBE-SERVICES-MINE
    $NODE $ipt -t filter -N DOCKER-USER
    $NODE $ipt -A FORWARD -j DOCKER-USER
    [ "$ipt" = iptables-legacy ] ||
        $NODE nft add table ip mine '{ chain c { type filter hook input priority 5; ip saddr 192.0.2.2 drop; }; }'
}
rules_now() {
    for n in iptables ip6tables; do
        $NODE $n-nft-save 2>/dev/null
        $NODE $n-legacy-save 2>/dev/null | grep -E '^-A|^:[^ ]* -' # its tables stay loaded
    done | grep -v '^#' | sed 's/\[[0-9:]*\]//'
    $NODE nft list table ip mine 2>/dev/null
    $NODE nft list tables 2>/dev/null | sort
}

case_restart() {
    put "$(service web '"clusterIP":"10.96.0.10","type":"NodePort","ports":[{"name":"http","port":80,"nodePort":30080}]')"
    put "$(slice web "$TO" $PODS)"
    sync_proxy
    installed >"$T/before"
    drive_stop KILL
    is "$(names "$POD1" tcp 10.96.0.10 80 40)" "p1 p2 p3" "services go on without the proxy"
    drive_start
    put "$(service web '"clusterIP":"10.96.0.10","type":"NodePort","ports":[{"name":"http","port":80,"nodePort":30080}]')"
    put "$(slice web "$TO" 10.244.1.11@node1 10.244.1.12@node1)"
    put "$(service new '"clusterIP":"10.96.0.11",'"$HTTP")"
    put "$(slice new "$TO" 10.244.1.13@node1)"
    sync_proxy
    is "$(names "$POD1" tcp 10.96.0.10 80 40)" "p1 p2" "a restart finds out what changed meanwhile"
    answers "$POD1" tcp 10.96.0.11 80 "p3 10.244.1.11"
    put "$(unservice new)"
    put "$(unslice new)"
    put "$(slice web "$TO" $PODS)"
    sync_proxy
    installed >"$T/after"
    ok "and everything is as it was" diff "$T/before" "$T/after"
}

proxy_cases() {
    local c
    proxy_net
    DRIVE_CONFIG='"mode":"'$MODE'","clusterCIDR":"10.244.0.0/16,fd44::/16","healthzBindAddress":":0","metricsBindAddress":":0","iptables":{"syncPeriod":"1s"}'
    foreign_rules
    rules_now >"$T/rules.before"
    at_end drive_stop
    drive_start
    for c in ${CASES:-cluster_ip spread no_endpoints node_port external policies affinity protocols flows ipv6 restart disturbed}; do
        diag "$c"
        case_$c
    done
    drive_stop
    ok "clean-up" $NODE "$DRIVE" --cleanup --journal "$T/journal"
    rules_now >"$T/rules.after"
    ok "leaves the rules as they were before" diff "$T/rules.before" "$T/rules.after"
    [ -s "$T/drive.log" ] && diag "$(cat "$T/drive.log")"
}
