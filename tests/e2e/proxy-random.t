#!/usr/bin/env bash
# Random operations on services and endpoints end as a cold start from the same input does.
. "$(dirname "$0")/../lib/tap.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
. "$TOP/tests/lib/proxy-random.sh"
random_net
random_operations nftables
random_operations iptables nft
random_operations iptables legacy
done_testing
