#!/usr/bin/env bash
# Services by packets, mode ipvs: in User Mode Linux, whose kernel has IPVS, dummy links and SCTP.
. "$(dirname "$0")/../lib/tap.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
command -v linux.uml >/dev/null || skip_all "needs User Mode Linux (package user-mode-linux)"
modules="ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_sh ip_vs_mh nf_conntrack_netlink ip6_tables ip6table_nat ip6table_filter
 ip6t_REJECT xt_set ip_set ip_set_hash_ip ip_set_hash_ipport ip_set_hash_ipportip ip_set_hash_ipportnet ip_set_bitmap_port
 hmac sha1_generic sctp xt_sctp xt_recent"
exec "$TOP/tests/lib/uml" -t 1500 -k "$modules" bash -c "export QUICK=1 CASES='${CASES:-}'; . $TOP/tests/lib/proxy-ipvs.sh; proxy_cases; done_testing"
