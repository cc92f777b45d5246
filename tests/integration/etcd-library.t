#!/usr/bin/env bash
# The etcd client as others use it: installed, found through pkg-config, with its example.
. "$(dirname "$0")/../lib/tap.sh"
command -v etcd >/dev/null || skip_all "etcd is not installed"
cd "$TOP" || exit 1
ok "the library installs" make -s install-etcd-client B="$TOP/build" SANITIZE= DESTDIR="$T/dest" prefix=/opt/it
export PKG_CONFIG_PATH=$T/dest/opt/it/lib/pkgconfig
flags=$(PKG_CONFIG_SYSROOT_DIR=$T/dest pkg-config --static --cflags --libs coracle-etcd)
# shellcheck disable=SC2086
ok "the example builds against it" \
    cc -Wall -Wextra -Werror etcd-client/examples/watch.c -o "$T/watch" $flags
is "$(nm -g --defined-only "$T/dest/opt/it/lib/libcoracle-etcd.a" | awk 'NF == 3 && $3 !~ /^etcd_/' | wc -l)" 0 \
    "it defines no names but its own"

ns=coracle-etcdlib-$$
ip netns add "$ns" || bail "cannot make a network namespace"
at_end ip netns del "$ns"
nsenter --net=/run/netns/"$ns" ip link set lo up
nsenter --net=/run/netns/"$ns" etcd --data-dir "$T/data" --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 >"$T/etcd.log" 2>&1 &
at_end kill $!
ctl() { ETCDCTL_API=3 nsenter --net=/run/netns/"$ns" etcdctl "$@"; }
ok "etcd answers" eventually 20 ctl put /app/a one
nsenter --net=/run/netns/"$ns" "$T/watch" http://127.0.0.1:2379 /app/ >"$T/out" 2>&1 &
at_end sh -c "kill $! 2>/dev/null; :"
ok "the example lists" eventually 10 grep -q 'is /app/a' "$T/out"
ctl put /app/b two >/dev/null
ctl del /app/a >/dev/null
ok "and sees a change" eventually 10 grep -q 'put /app/b (3 bytes)' "$T/out"
ok "and a deletion" eventually 10 grep -q 'deleted /app/a' "$T/out"
done_testing
