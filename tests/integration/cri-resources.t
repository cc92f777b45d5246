#!/usr/bin/env bash
# Limits, devices, running out of memory, statistics and metrics, seen through the runtime's socket.
# Runs on v1, hybrid and v2 hosts alike (tests/e2e/uml-cri-resources.t repeats a part of it on pure v2).
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
cri_setup
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
cri_start
cri_import "$T/bb.tar" >/dev/null || bail "no image"

v2() { [ -e /sys/fs/cgroup/cgroup.controllers ]; }
has() { if v2; then grep -qw "$1" /sys/fs/cgroup/cgroup.controllers; else [ -d "/sys/fs/cgroup/$1" ]; fi; }
# group CONTAINER CONTROLLER V1-FILE V2-FILE: what the file of a group of pod a says
group() {
    if v2; then echo "$(<"/sys/fs/cgroup$CGROUP/pod-a/$1/$4")"; else echo "$(<"/sys/fs/cgroup/$2$CGROUP/pod-a/$1/$3")"; fi
}
pid_of() { cri inspect "$1" | jq -r .info.info | jq -r .pid; }
short() { [ -n "${SHORT:-}" ]; } # where starting programs is slow
update() { cri call RuntimeService UpdateContainerResources "$(jq -cn --arg id "$1" "{container_id: \$id, linux: $2}")"; }
refused() { # DESCRIPTION RESOURCES REGEX
    like "$(cri create "$a" "$(container refused true ".linux.resources=$2")" 2>&1)" "$3" "$1"
}
a=$(cri runp "$(pod a '.linux.security_context.privileged=true')")

# ---- limits ----
k=$(run "$a" limits 'exec sleep 1000' '.linux.resources={cpu_shares:512,cpu_quota:50000,cpu_period:100000,
    memory_limit_in_bytes:67108864,memory_swap_limit_in_bytes:100663296,oom_score_adj:900,
    hugepage_limits:[{page_size:"2MB",limit:0}]}')
if has cpu; then
    is "$(group "$k" cpu cpu.shares cpu.weight)" "$(v2 && echo 59 || echo 512)" "the share of the processors"
    is "$(group "$k" cpu cpu.cfs_quota_us cpu.max)" "$(v2 && echo 50000 100000 || echo 50000)" "the quota"
else
    skip "no cpu controller"
    skip "no cpu controller"
fi
if has memory; then
    is "$(group "$k" memory memory.limit_in_bytes memory.max)" 67108864 "the memory limit"
    swap=$(group "$k" memory memory.memsw.limit_in_bytes memory.swap.max 2>/dev/null)
    if [ -n "$swap" ]; then is "$swap" "$(v2 && echo 33554432 || echo 100663296)" "the swap limit"; else skip "swap is not counted"; fi
else
    skip "no memory controller"
    skip "no memory controller"
fi
if has hugetlb; then is "$(group "$k" hugetlb hugetlb.2MB.limit_in_bytes hugetlb.2MB.max)" 0 "huge pages"; else skip "no hugetlb controller"; fi
pid=$(pid_of "$k")
is "$(cat "/proc/$pid/oom_score_adj")" 900 "oom_score_adj"
if has cpuset; then
    c=$(run "$a" cpuset 'exec sleep 1000' '.linux.resources={cpuset_cpus:"0",cpuset_mems:"0"}')
    is "$(group "$c" cpuset cpuset.cpus cpuset.cpus)" 0 "processors"
    is "$(group "$c" cpuset cpuset.mems cpuset.mems)" 0 "memory nodes"
    is "$(cri exec "$c" busybox nproc)" 1 "... hold inside"
    if [ "$(nproc)" -gt 1 ]; then
        ok "processors are changed while it runs" update "$c" '{cpuset_cpus:"0-1"}'
        is "$(group "$c" cpuset cpuset.cpus cpuset.cpus) $(cri exec "$c" busybox nproc)" "0-1 2" "... inside, too"
    else
        skip "one processor"
        skip "one processor"
    fi
    like "$(update "$c" '{cpuset_cpus:"4000"}' 2>&1)" 'cpuset.cpus "4000"' "... but not to some that are not there"
    refused "processors that are not there are refused" '{cpuset_cpus:"4000"}' 'cpuset.cpus "4000"'
else
    for i in 1 2 3 4 5 6 7; do skip "no cpuset controller"; done
fi
refused "a period out of range is refused by name" '{cpu_period:5}' 'INVALID_ARGUMENT.*resources.cpu_period'
refused "an oom_score_adj out of range" '{oom_score_adj:1001}' 'INVALID_ARGUMENT.*resources.oom_score_adj'
refused "swap below memory" '{memory_limit_in_bytes:67108864,memory_swap_limit_in_bytes:1048576}' 'INVALID_ARGUMENT.*memory and swap'
refused "a page size that is none" '{hugepage_limits:[{page_size:"../x",limit:1}]}' 'INVALID_ARGUMENT.*page size'
if v2; then
    u=$(run "$a" unified 'exec sleep 1000' '.linux.resources={unified:{"memory.high":"50000000","pids.max":"40","memory.oom.group":"1"}}')
    is "$(group "$u" - - memory.high) $(group "$u" - - pids.max) $(group "$u" - - memory.oom.group)" "49999872 40 1" "unified settings"
    refused "a unified setting that is no controller's" '{unified:{"cgroup.freeze":"1"}}' 'INVALID_ARGUMENT.*cgroup.freeze'
    refused "... that leaves the group" '{unified:{"../memory.max":"1"}}' 'INVALID_ARGUMENT.*CONTROLLER.PARAMETER'
    refused "... that no kernel has" '{unified:{"memory.nosuch":"1"}}' 'memory.nosuch: this kernel has no such file'
    refused "... with a value that the kernel refuses" '{unified:{"pids.max":"lots"}}' 'pids.max "lots"'
    ok "unified settings are changed while it runs" update "$u" '{unified:{"memory.high":"60000000","pids.max":"50"}}'
    high() { echo "$(group "$u" - - memory.high) $(group "$u" - - pids.max) $(group "$u" - - memory.oom.group)"; }
    is "$(high)" "59998208 50 1" "... those that are named"
    is "$(field "$u" resources.linux.unified | jq -cS .)" '{"memory.high":"60000000","memory.oom.group":"1","pids.max":"50"}' "... and told in the status"
    like "$(update "$u" '{unified:{"pids.max":"60","memory.nosuch":"1"}}' 2>&1)" "memory.nosuch: this kernel has no such file" "a change of which one is wrong"
    is "$(high)" "59998208 50 1" "... changes none"
else
    refused "unified settings need cgroup v2" '{unified:{"memory.high":"50000000"}}' 'memory.high.*needs cgroup v2'
    like "$(update "$k" '{unified:{"memory.high":"50000000"}}' 2>&1)" "memory.high.*needs cgroup v2" "... also while it runs"
    for i in 1 2 3 4 5 6 7 8; do skip "unified settings need cgroup v2"; done
fi
is "$(cri ps '{"label_selector":{"c":"refused"}}' | jq '.containers | length')" 0 "what was refused is not there"

# ---- changes while it runs ----
if has memory; then
    ok "resources are changed" update "$k" '{cpu_shares:1024,memory_limit_in_bytes:134217728,memory_swap_limit_in_bytes:134217728}'
    is "$(group "$k" memory memory.limit_in_bytes memory.max)" 134217728 "... in the group"
    swap=$(group "$k" memory memory.memsw.limit_in_bytes memory.swap.max 2>/dev/null)
    if [ -n "$swap" ]; then is "$swap" "$(v2 && echo 0 || echo 134217728)" "... swap, too"; else skip "swap is not counted"; fi
    is "$(field "$k" resources.linux | jq -c '[.cpu_shares, .cpu_quota, .memory_limit_in_bytes, .oom_score_adj]')" "[1024,50000,134217728,900]" "... and in the status, what was not named as before"
    h=$(run "$a" holder 'dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null; echo full; exec sleep 1000' '.linux.resources={memory_limit_in_bytes:134217728}')
    eventually 10 grep -q full "$T/logs/a/holder/0.log"
    like "$(update "$h" '{cpu_shares:2048,memory_limit_in_bytes:16777216}' 2>&1)" "FAILED_PRECONDITION.*(busy|cannot reclaim)" "a limit below what is used is refused"
    is "$(group "$h" memory memory.limit_in_bytes memory.max) $(state "$h")" "134217728 CONTAINER_RUNNING" "... nothing is changed and nobody killed"
    is "$(group "$h" cpu cpu.shares cpu.weight)" "$(v2 && echo 100 || echo 1024)" "... not even what came before it"
    is "$(field "$h" 'resources.linux | .cpu_shares // 0')" 0 "... nor in the status"
    cri exec "$h" rm /dev/shm/x
    ok "... and taken when it fits" update "$h" '{memory_limit_in_bytes:16777216}'
else
    for i in 1 2 3 4 5 6 7 8 9; do skip "no memory controller"; done
fi
ok "oom_score_adj is raised" update "$k" '{oom_score_adj:950}'
is "$(cat "/proc/$pid/oom_score_adj") $(cri exec "$k" cat /proc/self/oom_score_adj)" "950 950" "... of what runs and what is run from now on"
like "$(update "$k" '{cpu_period:7}' 2>&1)" "INVALID_ARGUMENT.*cpu_period" "a bad change is refused by name"
like "$(update 0123456789 '{}' 2>&1)" NOT_FOUND "an unknown container"
cr=$(cri create "$a" "$(container created 'exec sleep 1000')")
if has cpu; then
    ok "a container that only waits is changed" update "$cr" '{cpu_shares:256}'
    is "$(group "$cr" cpu cpu.shares cpu.weight)" "$(v2 && echo 35 || echo 256)" "... too"
else
    skip "no cpu controller"
    skip "no cpu controller"
fi
# Ten at once: each is answered, the last one wins.
if ! short; then
for i in $(seq 1 10); do update "$k" "{cpu_shares:$((100 + i))}" >>"$T/updates" 2>&1 & pids[i]=$!; done
failed=0
for i in $(seq 1 10); do wait "${pids[i]}" || failed=1; done
is $failed 0 "changes at the same moment all succeed"
is "$(field "$k" resources.linux.cpu_shares)" "$(v2 && field "$k" resources.linux.cpu_shares || group "$k" cpu cpu.shares x)" "... and the status tells the one that holds"
fi

# ---- devices ----
if v2 || has devices; then
    for dev in /dev/net/tun /dev/fuse /dev/loop0; do [ -e $dev ] && break; done # one that is not among the standard ones
    w=$(run "$a" writes 'exec sleep 1000' '.linux.security_context.run_as_user={value:0} | .devices=[{container_path:"/dev/mine",host_path:"'$dev'",permissions:"rwm"}]')
    is "$(cri exec "$w" sh -c 'head -c1 /dev/zero | wc -c; head -c1 /dev/random | wc -c; echo x >/dev/null && echo ok' | xargs)" "1 1 ok" "the standard devices"
    is "$(cri exec "$w" sh -c '(: <>/dev/mine) 2>&1 && echo opened')" opened "a device with every permission"
    d=$(run "$a" reads 'exec sleep 1000' '.linux.security_context.run_as_user={value:0} | .devices=[{container_path:"/dev/mine",host_path:"'$dev'",permissions:"r"}]')
    like "$(cri exec "$d" sh -c '(: </dev/mine) && echo read; (: <>/dev/mine) 2>&1' | tr '\n' ' ')" "^read .*not permitted" "a device that may be read only"
    like "$(cri exec "$d" sh -c 'mknod /tmp/mem c 1 1 && head -c1 /tmp/mem 2>&1')" "not permitted" "a device that nobody allowed cannot be opened"
    p=$(run "$a" privileged 'exec sleep 1000' '.linux.security_context |= . + {privileged:true, run_as_user:{value:0}}')
    ok "privileged: every device" cri exec "$p" sh -c 'echo "coracle test" >/dev/kmsg'
else
    for i in 1 2 3 4 5; do skip "no devices controller"; done
fi

# ---- out of memory ----
if has memory; then
    o=$(run "$a" oom 'exec busybox tail /dev/zero' '.linux.resources={memory_limit_in_bytes:16777216,memory_swap_limit_in_bytes:16777216}')
    ok "a container over its limit ends" eventually 20 is_state "$o" EXITED
    is "$(field "$o" exit_code) $(field "$o" reason)" "137 OOMKilled" "... with 137 and the reason OOMKilled"
    ok "... and when" test "$(field "$o" finished_at)" -ge "$(field "$o" started_at)"
    o=$(run "$a" oom-child 'busybox tail /dev/zero; echo "child $?"; exit 3' '.linux.resources={memory_limit_in_bytes:16777216,memory_swap_limit_in_bytes:16777216}')
    ok "a child over the limit is killed alone" eventually 20 is_state "$o" EXITED
    is "$(output "$o" | grep child) $(field "$o" exit_code) $(field "$o" reason)" "child 137 3 OOMKilled" "... its parent goes on; the reason tells all the same"
    if v2; then
        o=$(run "$a" oom-group 'busybox tail /dev/zero; echo survived' '.linux.resources={memory_limit_in_bytes:16777216,memory_swap_limit_in_bytes:16777216,unified:{"memory.oom.group":"1"}}')
        eventually 20 is_state "$o" EXITED
        is "$(output "$o") $(field "$o" exit_code) $(field "$o" reason)" " 137 OOMKilled" "memory.oom.group: all die together"
    else
        skip "memory.oom.group needs cgroup v2"
    fi
    o=$(run "$a" killed 'exec sleep 1000')
    kill -9 "$(pid_of "$o")"
    eventually 10 is_state "$o" EXITED
    is "$(field "$o" exit_code) $(field "$o" reason)" "137 Error" "who is killed by somebody else was not out of memory"
else
    for i in 1 2 3 4 5 6 7; do skip "no memory controller"; done
fi

# ---- statistics ----
b=$(cri runp "$(pod b)")
short && busy='exec sleep 1000' || busy='while :; do :; done'
s=$(run "$b" busy "dd if=/dev/zero of=/file bs=1M count=3 2>/dev/null; sleep 1000 & $busy" '.linux.resources={memory_limit_in_bytes:67108864} | .labels.kind="busy"')
i=$(run "$b" idle 'exec sleep 1000')
one() { cri call RuntimeService ContainerStats "{\"container_id\":\"$1\"}" | jq .stats; }
sleep 0.5
first=$(one "$s")
ok "cpu" jq -e '.cpu | .timestamp > 0 and .usage_core_nano_seconds.value > 0' <<<"$first"
if has memory; then
    ok "memory" jq -e '.memory | .timestamp > 0 and .working_set_bytes.value > 0 and .usage_bytes.value >= .working_set_bytes.value and .rss_bytes.value > 0
        and .page_faults.value > 0 and has("major_page_faults") and .available_bytes.value == 67108864 - .working_set_bytes.value' <<<"$first"
    ok "... without a limit nothing is said to be available" jq -e '.memory | has("available_bytes") | not' <<<"$(one "$i")"
    ok "swap" jq -e '.swap.timestamp > 0 and (.swap | has("swap_usage_bytes"))' <<<"$first"
else
    for x in 1 2 3; do skip "no memory controller"; done
fi
ok "the writable layer" jq -e --arg m "$R/var/lib/coracle/containers" '.writable_layer | .timestamp > 0 and .fs_id.mountpoint == $m and .used_bytes.value >= 3145728 and .used_bytes.value < 5000000 and .inodes_used.value > 1' <<<"$first"
if ! short; then
ok "... its growth is seen" cri exec "$s" dd if=/dev/zero of=/more bs=1M count=4
grown() { jq -e '.writable_layer.used_bytes.value >= 7340032' <<<"$(one "$s")"; }
ok "... soon" eventually 10 grown
rate() { jq -e '.cpu.usage_nano_cores.value > 10000000' <<<"$(one "$s")"; }
ok "the rate, after a second look" eventually 10 rate
lazy() { jq -e '.cpu | has("usage_nano_cores") and (.usage_nano_cores.value // 0) < 10000000' <<<"$(one "$i")"; }
ok "... is low for who sleeps" eventually 10 lazy
if v2 && [ -e /proc/pressure/cpu ]; then
    ok "pressure" jq -e '.cpu.psi.Some.Total > 0 and (.memory.psi | has("Full")) and .io.timestamp > 0 and (.io.psi | has("Some"))' <<<"$(one "$s")"
else
    skip "no pressure stall information in this kernel's groups"
fi
stats() { cri call RuntimeService ListContainerStats "{\"filter\":$1}"; }
ids() { jq -r "[.stats[].attributes.$1] | sort | join(\" \")"; }
is "$(stats '{"pod_sandbox_id":"'"$b"'"}' | ids metadata.name)" "busy idle" "the list, of one pod"
is "$(stats '{"label_selector":{"kind":"busy"}}' | ids metadata.name)" busy "... by label"
is "$(stats '{"id":"'"${i:0:12}"'"}' | ids id)" "$i" "... by the beginning of an id"
ok "... of all" jq -e --arg s "$s" --arg k "$k" '[.stats[].attributes.id] | index($s) != null and index($k) != null' <<<"$(cri stats)"
is "$(cri stats | jq --arg o "$o" '[.stats[] | select(.attributes.id == $o)] | length')" 0 "... that run"
ok "a container that has ended still has its layer" jq -e '.attributes.metadata.name != "" and .writable_layer.inodes_used.value > 0 and (has("cpu") | not)' <<<"$(one "$o")"
like "$(one 0123456789 2>&1)" NOT_FOUND "an unknown container"
pod=$(cri call RuntimeService PodSandboxStats "{\"pod_sandbox_id\":\"$b\"}" | jq .stats)
ok "a pod: cpu, network, processes" jq -e '.attributes.labels.app == "b" and (.linux | .cpu.usage_core_nano_seconds.value > 0 and .network.default_interface.name == "eth0" and (.network.default_interface | has("rx_errors")))' <<<"$pod"
if has pids; then ok "... processes" jq -e '.linux.process.process_count.value == 3' <<<"$pod"; else skip "no pids controller"; fi
is "$(jq -r '[.linux.containers[].attributes.metadata.name] | sort | join(" ")' <<<"$pod")" "busy idle" "... and its containers"
is "$(cri call RuntimeService ListPodSandboxStats '{"filter":{"label_selector":{"app":"b"}}}' | jq -r '.stats[].attributes.id')" "$b" "the list of pods, by label"
like "$(cri call RuntimeService PodSandboxStats '{"pod_sandbox_id":"0123456789"}' 2>&1)" NOT_FOUND "an unknown pod"
fs=$(cri call ImageService ImageFsInfo)
ok "disk usage of images and of writable layers" jq -e --arg r "$R/var/lib/coracle" '(.image_filesystems[0] | .fs_id.mountpoint == $r + "/images" and .used_bytes.value > 1000000)
    and (.container_filesystems[0] | .fs_id.mountpoint == $r + "/containers" and .used_bytes.value >= 7340032 and .inodes_used.value > 4)' <<<"$fs"
# Ten thousand files: nothing waits for them to be counted.
run "$b" many 'i=0; while [ $i -lt 100 ]; do mkdir /d$i; (cd /d$i; seq 1 100 | busybox xargs touch); i=$((i+1)); done; echo done; exec sleep 1000' >/dev/null
eventually 60 grep -q done "$T/logs/b/many/0.log"
m=$(cri ps '{"label_selector":{"c":"many"}}' | jq -r '.containers[0].id')
many() { jq -e '.writable_layer.inodes_used.value >= 10100' <<<"$(one "$m")"; }
ok "many files are counted" eventually 30 many
for n in $(seq 1 10); do cri stats >/dev/null & pids[n]=$!; done
failed=0
for n in $(seq 1 10); do wait "${pids[n]}" || failed=1; done
is $failed 0 "many who ask at once"
ok "... are answered" jq -e '.stats | length > 3' <<<"$(cri stats)"

fi

# ---- metrics ----
cri call RuntimeService ListMetricDescriptors >"$T/descriptors"
cri call RuntimeService ListPodSandboxMetrics >"$T/metrics"
ok "every metric is described, with as many labels" jq -se '(.[0].descriptors | map({key: .name, value: (.label_keys | length)}) | from_entries) as $d
    | [.[1].pod_metrics[] | .metrics[]?, (.container_metrics[]?.metrics[]?)] | length > 50 and all(.[]; $d[.name] == (.label_values | length))' "$T/descriptors" "$T/metrics"
metric() { jq -r --arg id "$1" --arg n "$2" '.pod_metrics[].container_metrics[]? | select(.container_id == $id) | .metrics[] | select(.name == $n) | .value.value // 0' "$T/metrics"; }
is "$(jq -r --arg id "$s" '.pod_metrics[].container_metrics[]? | select(.container_id == $id) | .metrics[] | select(.name == "container_memory_rss") | .label_values[1:] | join(" ")' "$T/metrics")" \
    "$(has memory && echo "$s localhost/bb:1 busy b default")" "cAdvisor's labels"
ok "processor time" test "$(metric "$s" container_cpu_usage_seconds_total)" -ge "$(short && echo 0 || echo 1)"
is "$(metric "$s" container_processes)" 2 "processes"
if has memory; then
    is "$(metric "$s" container_spec_memory_limit_bytes) $(metric "$i" container_spec_memory_limit_bytes)" "67108864 0" "limits"
    ok "the page cache" test "$(metric "$s" container_memory_cache)" -gt 1000000
    ok "memory and its parts" test "$(metric "$s" container_memory_usage_bytes)" -ge "$(metric "$s" container_memory_working_set_bytes)"
else
    for x in 1 2 3; do skip "no memory controller"; done
fi
is "$(metric "$k" container_spec_cpu_quota)" "$(has cpu && echo 50000)" "the quota"
ok "the writable layer" test "$(metric "$s" container_fs_usage_bytes)" -ge 3145728
ok "the network, of the pod" jq -e --arg id "$b" '.pod_metrics[] | select(.pod_sandbox_id == $id) | .metrics | map(select(.name == "container_network_receive_bytes_total")) | .[0].label_values[-1] == "eth0" and .[0].value.value > 0' "$T/metrics"
is "$(cri call RuntimeService StreamPodSandboxMetrics 2>/dev/null | jq -s 'map(.pod_sandbox_metrics // [] | length) | add')" 2 "and as a stream"

short && ok "the unit tests of the groups pass here too" "$B/tests/unit/test_cgroup"
for x in $a $b; do cri rmp "$x" 2>"$T/err" || fail "cannot remove $x" "$(cat "$T/err")"; done
is "$(cri_cgroups | grep -cE '/[0-9a-f]{64}$')" 0 "no container's cgroup is left"
cri_stop && rc=0 || rc=$?
is $rc 0 "an orderly end"
is "$(grep -cE 'Sanitizer|runtime error|Assertion' "$T/cri.log")" 0 "nothing found by sanitizers" || diag "$(grep -A30 -E 'Sanitizer|runtime error' "$T/cri.log" | head -60)"
done_testing
