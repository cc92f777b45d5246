#!/usr/bin/env bash
# etcd-client when etcd fails, in a network namespace of its own. An argument names the tests to
# run ("watch*").
. "$(dirname "$0")/../lib/tap.sh"
command -v etcd >/dev/null || skip_all "etcd is not installed"
export T
ns=coracle-etcd-failure-$$
ip netns add "$ns" || bail "cannot make a network namespace"
at_end ip netns del "$ns"
nsenter --net=/run/netns/"$ns" ip link set lo up
# The program prints TAP; if it dies, its etcds go with it: they are in its process group.
setsid -w nsenter --net=/run/netns/"$ns" "$B/tests/bin/etcd-failure-test" ${1+"$1"} &
pid=$!
at_end sh -c "kill -9 -- -$pid 2>/dev/null; :"
wait $pid
status=$?
[ $status = 0 ] || diag "the last etcd said:" "$(tail -n 5 "$(ls -t "$T"/*.log | head -n 1)")"
exit $status
