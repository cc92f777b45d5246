#!/usr/bin/env bash
# Services by packets, mode iptables, the nft flavour.
. "$(dirname "$0")/../lib/tap.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
VARIANT=nft
. "$TOP/tests/lib/proxy-iptables.sh"
proxy_cases
done_testing
