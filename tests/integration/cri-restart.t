#!/usr/bin/env bash
# The runtime's daemon and its shims end at any moment: what is known afterwards, and that nothing is left.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
cri_setup
busybox_root "$T/bb"
install -D -m 4755 /bin/busybox "$T/bb/suid/sleep"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'

cri_start
ok "the second daemon on one root refuses" bash -c "! timeout 10 nsenter --net=/run/netns/$NETNS '$LIBEXEC/coracle-cri' --root '$R' --pod-cidr 10.99.0.0/24 2>'$T/second'"
like "$(cat "$T/second")" "another coracle-cri" "... and says why"
ok "an image archive is imported" cri_import "$T/bb.tar"
before=$(in_node ip -o link | wc -l)
a=$(cri runp "$(pod a)")
b=$(cri runp "$(pod b)")
c=$(cri runp "$(pod c)")
ip_a=$(cri inspectp "$a" | jq -r .status.network.ip)
ip_b=$(cri inspectp "$b" | jq -r .status.network.ip)
is "$(pgrep -fc "coracle-shim $R/")" 3 "one shim a pod, no pause container"
r=$(run "$a" root 'exec sleep 1000')
w=$(run "$b" web 'exec sleep 1000')
k2=$(run "$a" ends 'exit 3')
ok "a container that ends" eventually 5 is_state "$k2" EXITED
e=$(run "$a" removed 'exit 3')
ok "another is removed" cri rm "$e"

# ---- the daemon is killed ----
pid=$(cri inspect "$r" | jq -r .info.info | jq -r .pid)
cri_kill9
ok "containers outlive the daemon" kill -0 "$pid"
cri_start
is "$(cri inspect "$r" | jq -r .info.info | jq -r .pid)" "$pid" "a restarted daemon adopts them"
is "$(state "$r") $(state "$e" 2>&1 | head -c 9)$(state "$k2")" "CONTAINER_RUNNING NOT_FOUNDCONTAINER_EXITED" "... with their states"
ok "... and drives them" cri exec "$r" true
is "$(cri inspectp "$a" | jq -r .status.network.ip)" "$ip_a" "... and knows the address"
f=$(cri runp "$(pod f)")
unlike "$(cri inspectp "$f" | jq -r .status.network.ip)" "^($ip_a|$ip_b)$" "a new pod gets a new address"
short=$(run "$f" short 'sleep 0.5; exit 5')
cri_kill9
sleep 1
echo '{"half' >"$R/run/coracle/sandboxes/$c/sandbox.json"
cri_start
is "$(field "$short" exit_code)" 5 "an exit while the daemon was away is known"
like "$(cri inspectp "$c" 2>&1)" NOT_FOUND "a damaged record costs its pod only"
is "$(cri inspectp "$a" | jq -r .status.state)" SANDBOX_READY "... the others are there"

# ---- the shim is killed ----
kill -9 "$(cri inspectp "$b" | jq -r .info.info | jq -r .pid)"
ok "a killed shim: its container is reported" eventually 5 is_state "$w" EXITED
is "$(field "$w" exit_code) $(field "$w" reason)" "137 ShimDied" "... as 137 with a reason"
ok "... the sandbox is not ready" eventually 5 bash -c "[ \$(cri inspectp $b | jq -r .status.state) = SANDBOX_NOTREADY ]"
is "$(state "$r")" CONTAINER_RUNNING "... and other pods are not touched"
kill -9 "$(cri inspectp "$f" | jq -r .info.info | jq -r .pid)" "$CRI_PID"
wait "$CRI_PID" 2>/dev/null
cri_start
is "$(cri inspectp "$f" | jq -r .status.state)" SANDBOX_NOTREADY "shim and daemon killed together"

# ---- nothing is left ----
ok "stop a sandbox with running containers" cri stopp "$a"
for x in $a $b $f; do ok "remove" cri rmp "$x"; done
is "$(cri pods | jq '.items | length')" 0 "no sandbox is left"
is "$(cri ps | jq '.containers | length')" 0 "no container is left"
is "$(in_node ip -o link | wc -l)" "$before" "no link is left"
is "$(ls "$R/run/coracle/sandboxes" "$R/run/coracle/network/leases" | grep -v : | xargs)" "" "no state, no lease is left"
ok "no layer is left" eventually 5 bash -c "[ -z \"\$(ls '$R/var/lib/coracle/containers')\" ]"
is "$(grep -c "$R" /proc/self/mountinfo)" 0 "no mount is left"
is "$(pgrep -fc "coracle-(shim|init|launch).*$R/")" 0 "no process is left"
is "$(cri_cgroups | grep -cE '/[0-9a-f]{64}$')" 0 "no container's cgroup is left"
cri_stop && rc=0 || rc=$?
is $rc 0 "SIGTERM: an orderly end"
ok "... without a socket" test ! -e "$CRI_SOCKET"

# ---- --cleanup, when the daemon was killed ----
# A set-user-ID program does not die with its parent, and the pod's group is not below ours.
cri_start
u=$(cri runp "$(pod u)")
v=$(run "$u" stays x '.command=["/suid/sleep","1000"] | .linux.security_context.run_as_user={value:1000}')
is "$(state "$v")" CONTAINER_RUNNING "a container of a set-user-ID program"
pid=$(cri inspect "$v" | jq -r .info.info | jq -r .pid)
at_end eval "kill -9 $pid 2>/dev/null || true"
cri_kill9
ok "--cleanup" in_node "$LIBEXEC/coracle-cri" --root "$R" --cgroup-root "$CGROUP-ours" --cleanup
ok "... kills containers wherever they are" eventually 5 sh -c "! grep -qs 'State:.[^Z]' /proc/$pid/status"
is "$(cri_cgroups | grep -c "/$v")" 0 "... and removes their cgroups"
is "$(grep -c "$R" /proc/self/mountinfo)" 0 "... and mounts"
is "$(grep -cE 'Sanitizer|runtime error|Assertion' "$T/cri.log")" 0 "nothing found by sanitizers" || diag "$(grep -A30 -E 'Sanitizer|runtime error' "$T/cri.log" | head -60)"
done_testing
