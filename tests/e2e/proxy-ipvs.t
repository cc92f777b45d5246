#!/usr/bin/env bash
# Services by packets, mode ipvs: in User Mode Linux, whose kernel has IPVS, dummy links and SCTP. Some of the cases:
# CASES=all and random operations (OPERATIONS) are for `make soak`.
. "$(dirname "$0")/../lib/tap.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
command -v linux.uml >/dev/null || skip_all "needs User Mode Linux (package user-mode-linux)"
CASES=${CASES:-cluster_ip no_endpoints node_port protocols restart} OPERATIONS=${OPERATIONS:-0}
[ "$CASES" != all ] || CASES=
random=''
[ "$OPERATIONS" = 0 ] || random=". $TOP/tests/lib/proxy-random.sh; random_net; OPERATIONS=$OPERATIONS BATCH=50 random_operations ipvs legacy;"
exec "$TOP/tests/lib/uml" -t 1500 -k "$(cat "$TOP/tests/lib/ipvs-modules")" bash -c "export QUICK=1 CASES='$CASES'; . $TOP/tests/lib/proxy-ipvs.sh; proxy_cases; $random done_testing"
