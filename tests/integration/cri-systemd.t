#!/usr/bin/env bash
# The systemd cgroup driver, against a stand-in for systemd that makes scopes in the host's hierarchies
# (tests/soak/systemd-qemu.t has the real one).
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
cri_setup
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
S=corotest$$ # the root of this run's slices
SOCKET=$T/systemd
LOG=$T/systemd.log
SYSTEMD="--cgroup-driver systemd --systemd-socket $SOCKET"
v2() { [ -e /sys/fs/cgroup/cgroup.controllers ]; }
if v2; then CG=/sys/fs/cgroup; else CG=/sys/fs/cgroup/memory; fi
groups_left() { find /sys/fs/cgroup -depth -type d \( -path "*/$S.slice*" -o -path "*/coracle_test_$$.slice*" \) 2>/dev/null; }
remove_groups() { groups_left | while read -r d; do rmdir "$d" 2>/dev/null; done; return 0; }
at_end remove_groups
start_fake() {
    "$B/tests/bin/fake-systemd" "$SOCKET" "$LOG" 2>"$T/fake.err" &
    fake=$!
    eventually 10 test -S "$SOCKET"
}
at_end eval 'kill $fake 2>/dev/null || true'
# A daemon for the clean-up of cri.sh, whatever is left.
cri_start_systemd() { cri_start $SYSTEMD; }

# ---- who is there, and who is not ----
like "$(timeout 20 nsenter --net=/run/netns/$NETNS "$LIBEXEC/coracle-cri" --root "$R" $SYSTEMD 2>&1)" "cannot start.*cgroup-driver systemd.*systemd does not answer at unix:path=$SOCKET" "without systemd the daemon does not start, and says why"
like "$(timeout 20 nsenter --net=/run/netns/$NETNS "$LIBEXEC/coracle-cri" --root "$R" --cgroup-driver nope 2>&1)" "cgroup-driver nope: must be cgroupfs or systemd" "a driver that there is not"
start_fake
cri_start_systemd
cri import "$T/bb.tar" >/dev/null || bail "no image"
is "$(cri call RuntimeService RuntimeConfig | jq -r '.linux.cgroup_driver // "SYSTEMD"')" SYSTEMD "the kubelet is told the driver"
like "$(cri runp "$(pod x)" 2>&1)" "INVALID_ARGUMENT.*config.linux.cgroup_parent.*is no slice" "a path of cgroupfs is no parent"
like "$(cri runp "$(pod x ".linux.cgroup_parent=\"/x.slice/$S-pod1.slice\"")" 2>&1)" "INVALID_ARGUMENT.*config.linux.cgroup_parent.*not where systemd has" "a slice that is not there neither"
like "$(cri runp "$(pod x ".linux.cgroup_parent=\"$S--pod1.slice\"")" 2>&1)" "INVALID_ARGUMENT.*no name of a systemd slice" "... nor one with a bad name"

# ---- a pod as the kubelet makes it ----
a=$(cri runp "$(pod a ".linux.cgroup_parent=\"/$S.slice/$S-burstable.slice/$S-burstable-poda.slice\"")")
like "$a" '^[0-9a-f]{32}$' "a pod in a slice"
k=$(run "$a" one 'exec sleep 1000' '.linux.resources={memory_limit_in_bytes:67108864,cpu_shares:512}')
scope=cri-coracle-$k.scope
like "$(cat "$LOG")" "^start $scope slice=$S-burstable-poda.slice delegate=1 pid=[0-9]+" "a scope is asked for, delegated, in the pod's slice"
dir=$CG/$S.slice/$S-burstable.slice/$S-burstable-poda.slice/$scope
pid=$(cri inspect "$k" | jq -r .info.info | jq -r .pid)
is "$(cat "$dir/container/cgroup.procs")" "$pid" "the container is in the scope, in a group of its own"
is "$(cat "$dir/container/memory.max" "$dir/container/memory.limit_in_bytes" 2>/dev/null)" 67108864 "... with its limits"
like "$(cri exec "$k" grep -E "$(v2 && echo '^0:' || echo ':memory:')" /proc/self/cgroup)" ":/$" "a command is executed there"
cri call RuntimeService UpdateContainerResources "{\"container_id\":\"$k\",\"linux\":{\"memory_limit_in_bytes\":33554432}}" >/dev/null
is "$(cat "$dir/container/memory.max" "$dir/container/memory.limit_in_bytes" 2>/dev/null)" 33554432 "limits are changed"
ok "statistics" jq -e '.stats[0] | .cpu.usage_core_nano_seconds.value > 0 and .memory.usage_bytes.value > 0' <<<"$(cri stats)"
ok "... of the pod" jq -e '.stats[0].linux.memory.usage_bytes.value > 0' <<<"$(cri statsp)"
h=$(pgrep -P "$(cri inspectp "$a" | jq -r .info.info | jq -r .pid)" | grep -v "^$pid$")
is "$(tr '\0' ' ' <"/proc/$h/cmdline") $(ls "/proc/$h/fd" | wc -l)" "coracle-launch hold  0" "... by a process that holds nothing else"

# ---- it ends ----
e=$(run "$a" ends 'exit 6')
eventually 10 is_state "$e" EXITED
gone() { ! [ -e "$CG/$S.slice/$S-burstable.slice/$S-burstable-poda.slice/cri-coracle-$1.scope" ]; }
ok "a scope ends with its container" eventually 10 gone "$e"
is "$(field "$e" exit_code)" 6 "... whose exit code is known"
o=$(run "$a" oom 'busybox tail /dev/zero; echo over' '.linux.resources={memory_limit_in_bytes:16777216,memory_swap_limit_in_bytes:16777216}')
eventually 20 is_state "$o" EXITED
is "$(field "$o" reason)" OOMKilled "out of memory is told although the group goes at once"
ok "stop" cri stop "$k" 0
ok "... ends the scope" eventually 10 gone "$k"
ok "... and its holder" bash -c "! kill -0 $h 2>/dev/null"
w=$(cri create "$a" "$(container waits true)")
ok "a container that only waits has its scope" test -d "$CG/$S.slice/$S-burstable.slice/$S-burstable-poda.slice/cri-coracle-$w.scope/container"
cri rm "$w"
ok "... until it is removed" eventually 10 gone "$w"

# ---- the daemon is killed ----
s=$(run "$a" steady 'exec sleep 1000')
w=$(cri create "$a" "$(container waits2 'exec sleep 1000')")
cri_kill9
cri_start_systemd
ok "scopes outlive the daemon" test -d "$CG/$S.slice/$S-burstable.slice/$S-burstable-poda.slice/cri-coracle-$s.scope/container"
ok "a container that waited is started by the next" cri start "$w"
is "$(state "$s") $(state "$w")" "CONTAINER_RUNNING CONTAINER_RUNNING" "... and all run"
cri stop "$w" 0
ok "... and are stopped" eventually 10 gone "$w"

# ---- systemd says no ----
count() { ls "$R/var/lib/coracle/containers" | wc -l; }
before=$(count)
for how in failed refuse close; do
    echo $how >"$LOG.fail"
    like "$(cri create "$a" "$(container "no-$how" true)" 2>&1)" "systemd: start cri-coracle-[0-9a-f]+.scope: (failed|told to refuse|the connection broke)" "a scope that cannot be had ($how) is an error"
done
rm "$LOG.fail"
ok "... and leaves nothing" eventually 10 eval '[ "$(count)" = "$before" ]'
n=$(run "$a" again 'exec sleep 1000')
is "$(state "$n")" CONTAINER_RUNNING "then it works again"
echo hang >"$LOG.fail"
b=$(cri runp "$(pod b ".linux.cgroup_parent=\"$S-podb.slice\"")")
cri create "$b" "$(container hangs true)" >"$T/hangs" 2>&1 &
hangs=$!
eventually 10 grep -q "slice=$S-podb.slice" "$LOG"
rm "$LOG.fail"
ok "a pod whose container waits for systemd is removed" timeout 20 bash -c "cri rmp $b"
wait $hangs
like "$(cat "$T/hangs")" "was stopped" "... and the container's maker is told"

# ---- the shim is killed ----
kill -9 "$(cri inspectp "$a" | jq -r .info.info | jq -r .pid)"
ok "a killed shim: its containers' scopes end" eventually 10 gone "$s"
ok "... all of them" eventually 10 gone "$n"
cri rmp "$a"

# ---- a pod without a parent; --cleanup ----
c=$(cri runp "$(pod c '.linux |= del(.cgroup_parent)')")
m=$(run "$c" lonely 'exec sleep 1000')
own=coracle_test_$$
dir=$CG/$own.slice/$own-coracle.slice/$own-coracle-pods.slice/cri-coracle-$m.scope
ok "a pod without a parent is in a slice of ours" test -d "$dir/container"
pid=$(cri inspect "$m" | jq -r .info.info | jq -r .pid)
cri_kill9
ok "--cleanup" nsenter --net=/run/netns/$NETNS "$LIBEXEC/coracle-cri" --root "$R" --cgroup-root "$CGROUP" $SYSTEMD --cleanup
ok "... kills what runs" eventually 10 sh -c "! grep -qs 'State:.[^Z]' /proc/$pid/status"
ok "... and its scope is gone" eventually 10 test ! -e "$dir"
like "$(tail -3 "$LOG")" "stop $own-coracle.slice" "... and our slice is stopped"
rm -rf --one-file-system "$R/run/coracle"
mkdir -p "$R/run"

is "$(groups_left | grep -c '\.scope')" 0 "no scope is left"
cri_start_systemd
cri_stop && rc=0 || rc=$?
is $rc 0 "an orderly end"
# ---- the other driver ----
cri_start
like "$(cri runp "$(pod x ".linux.cgroup_parent=\"$S-pod.slice\"")" 2>&1)" "INVALID_ARGUMENT.*config.linux.cgroup_parent.*is a slice of systemd's" "cgroupfs takes no slice"
like "$(cri runp "$(pod x '.linux.cgroup_parent="/a/../b"')" 2>&1)" "INVALID_ARGUMENT.*config.linux.cgroup_parent.*no path of a cgroup" "... nor a path that leads elsewhere"
cri_stop
is "$(grep -cE 'Sanitizer|runtime error|Assertion' "$T/cri.log" "$T/fake.err" | grep -vc ':0$')" 0 "nothing found by sanitizers" || diag "$(grep -A30 -E 'Sanitizer|runtime error' "$T/cri.log" "$T/fake.err" | head -60)"
done_testing
