#!/usr/bin/env bash
# What a machine lacks is said before anything is changed: by `coracle check` and by `coracle up`.
. "$(dirname "$0")/../lib/tap.sh"
. "$TOP/tests/lib/cluster.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"

cluster_net
ROOT=$T/r
mkdir -p "$ROOT"
cluster_flags
out=$($NET "$CORACLE" check "${FLAGS[@]}" 2>&1)
is $? 0 "a machine that has everything passes"
like "$out" "ok +memory controller" "check says what it looked at"
grep -qs Y /sys/module/apparmor/parameters/enabled || unlike "$out" AppArmor "nothing is said of an AppArmor that the kernel does not have"

# ---- a port in use ----
$NET python3 -c '
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("0.0.0.0", 6443)); s.listen(1)
time.sleep(60)' &
LISTENER=$!
at_end kill_listener
kill_listener() { kill $LISTENER 2>/dev/null || true; }
ok "somebody listens on 6443" eventually 5 $NET bash -c 'exec 3<>/dev/tcp/127.0.0.1/6443'
out=$($NET "$CORACLE" check "${FLAGS[@]}" 2>&1)
is $? 1 "check fails"
like "$out" "FAIL +port 6443 +in use" "and names the port"
like "$out" "choose another with --port" "and what to do"
out=$($NET "$CORACLE" up "${FLAGS[@]}" 2>&1)
is $? 1 "up fails"
like "$out" "port 6443: in use" "and names the port"
is "$(find "$ROOT" -type f)" "" "nothing half made stays"
kill_listener

# ---- the DNS's port ----
$NET python3 -c '
import socket, time
s = socket.socket(type=socket.SOCK_DGRAM); s.bind(("0.0.0.0", 53)); print(flush=True)
time.sleep(60)' >"$T/bound" &
LISTENER=$!
ok "somebody has port 53 of every address" eventually 5 test -s "$T/bound"
like "$($NET "$CORACLE" check "${FLAGS[@]}" 2>&1)" "FAIL +port 53 +in use" "the DNS could not listen"
like "$($NET "$CORACLE" check "${FLAGS[@]}" 2>&1)" "--dns=off" "what to do"
ok "without it there is nothing to complain of" $NET "$CORACLE" check "${FLAGS[@]}" --dns=off
kill_listener

# ---- a program that is not there ----
mkdir "$T/bin"
out=$($NET env PATH="$T/bin" "$CORACLE" check "${FLAGS[@]}" 2>&1)
like "$out" "FAIL +etcd +not in PATH" "a missing program"
like "$out" "apt-get install etcd-server" "and its package"

# ---- not root ----
chmod 755 "$T" "$ROOT"
out=$($NET setpriv --reuid 65534 --clear-groups "$CORACLE" up "${FLAGS[@]}" 2>&1)
is $? 1 "not root: up fails"
like "$out" "must be run as root" "and says so"
out=$($NET setpriv --reuid 65534 --clear-groups "$CORACLE" check "${FLAGS[@]}" 2>&1)
like "$out" "FAIL +privileges +not root" "so does check"

# ---- settings that make no sense ----
for flag in --pod-cidr=10.0.0.0/24 --service-cidr=10.244.0.0/16 --port=0 --node-name=Not_A_Name --node-ip=300.1.1.1 --dns=maybe; do
    out=$($NET "$CORACLE" up "${FLAGS[@]}" $flag 2>&1)
    like "$out" "${flag%%=*}" "$flag is refused by name"
done
done_testing
