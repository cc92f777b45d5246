#!/usr/bin/env bash
# Services by packets, mode ipvs: in User Mode Linux, whose kernel has IPVS, dummy links and SCTP.
. "$(dirname "$0")/../lib/tap.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
command -v linux.uml >/dev/null || skip_all "needs User Mode Linux (package user-mode-linux)"
exec "$TOP/tests/lib/uml" -t 1500 -k "$(cat "$TOP/tests/lib/ipvs-modules")" bash -c "export QUICK=1 CASES='${CASES:-}'; . $TOP/tests/lib/proxy-ipvs.sh; proxy_cases; . $TOP/tests/lib/proxy-random.sh; random_net; OPERATIONS=${OPERATIONS:-200} BATCH=50 random_operations ipvs legacy; done_testing"
