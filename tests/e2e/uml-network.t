#!/usr/bin/env bash
# Pods and host ports on a kernel without br_netfilter: what a bridge forwards does not pass conntrack.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
command -v linux.uml >/dev/null || { echo "1..0 # SKIP needs user-mode-linux"; exit 0; }
exec "$TOP/tests/lib/uml" -t 600 -k "ip6_tables ip6table_nat ip6table_filter nf_conntrack_netlink xt_conntrack" \
    bash -c 'rmmod br_netfilter && PART=ports exec bash tests/integration/cri-network.t'
