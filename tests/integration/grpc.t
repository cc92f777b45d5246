#!/usr/bin/env bash
# Our gRPC server under a client of another make: etcdctl, which uses grpc-go.
. "$(dirname "$0")/../lib/tap.sh"
command -v etcdctl >/dev/null || skip_all "etcdctl is not installed"
"$B/tests/bin/grpc-server" "$T/s" >"$T/out" 2>&1 &
server=$!
at_end sh -c "kill $server 2>/dev/null; :"
ctl() { ETCDCTL_API=3 timeout 20 etcdctl --endpoints "unix://$T/s" "$@" 2>&1; }
ok "the server listens" eventually 5 test -S "$T/s"
is "$(stat -c %a "$T/s")" 600 "its socket is private"
is "$(ctl get hello --print-value-only)" "value of hello" "a unary call"
is "$(ctl get big --print-value-only --command-timeout=15s | tr -d '\n' | wc -c)" 3145728 "a large answer"
like "$(ctl get fail)" "100% of nö: refused" "an error's text arrives as it was"
like "$(ctl get slow --command-timeout=300ms)" "deadline exceeded" "the client's deadline"
ok "which the server hears of" eventually 5 grep -q 'cancelled /etcdserverpb.KV/Range' "$T/out"
like "$(ctl put a b)" "unknown method /etcdserverpb.KV/Put" "an unknown method"
ETCDCTL_API=3 etcdctl --endpoints "unix://$T/s" watch thing >"$T/watch" 2>&1 &
watch=$!
at_end sh -c "kill $watch 2>/dev/null; :"
ok "a bidirectional stream" eventually 10 grep -q second "$T/watch"
is "$(tr '\n' ' ' <"$T/watch")" "PUT thing first PUT thing second " "with all its messages"
kill $watch
ok "whose end the server hears of" eventually 5 grep -q 'cancelled /etcdserverpb.Watch/Watch' "$T/out"
out=$("$B/tests/bin/grpc-server" "$T/s" 2>&1)
like "$out" "another process listens on $T/s" "a second server is refused"
kill $server
wait $server
is $? 0 "it ends in order"
ok "and takes its socket along" test ! -e "$T/s"
done_testing
