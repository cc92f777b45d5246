#!/usr/bin/env bash
# The container runtime, seen through its socket.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
cri_setup
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin","FROM=image"],"WorkingDir":"/home","User":"alice"}'

# ---- start ----
cri_start
is "$(cri version | jq -r '.runtime_name + .runtime_api_version')" "${CRI_PEER:-coracle}v1" "version"
is "$(cri status | jq -r '.status.conditions[] | select(.status) | .type' | xargs)" "RuntimeReady NetworkReady" "ready"
ours && is "$(cri call RuntimeService RuntimeConfig | jq -r .linux.cgroup_driver)" CGROUPFS "cgroup driver"
ok "an image archive is imported" cri_import "$T/bb.tar"

# ---- a sandbox ----
a=$(cri runp "$(pod a)")
like "$a" '^[0-9a-f]{32,64}$' "a sandbox runs"
s=$(cri inspectp "$a")
is "$(jq -r .status.state <<<"$s")" SANDBOX_READY "it is ready"
ip_a=$(jq -r .status.network.ip <<<"$s")
like "$ip_a" '^10\.99\.0\.[0-9]+$' "it has an address"
is "$(jq -r '.status.labels.app + .status.annotations.note' <<<"$s")" akept "labels and annotations are kept"
ok "the node reaches the pod" eventually 10 in_node busybox ping -c1 -W2 "$ip_a"
like "$(cri runp "$(pod a)" 2>&1)" "ALREADY_EXISTS|is reserved for" "the same name, uid and attempt again is refused"
like "$(cri runp "$(pod x)" nope 2>&1)" 'no (handler|runtime for) "nope"' "an unknown runtime handler is refused"
if ours; then # others leave it to the kubelet
    like "$(cri runp "$(pod x .hostname=\"a/b\")" 2>&1)" "INVALID_ARGUMENT.*config.hostname" "a bad hostname is refused by name"
    for bad in '{"kernel.core_pattern":"|/x"}' '{"vm.overcommit_memory":"1"}' '{"net/../kernel/panic":"1"}' '{"kernel/core_pattern":"x"}'; do
        like "$(cri runp "$(pod x ".linux.sysctls=$bad")" 2>&1)" "INVALID_ARGUMENT.*config.linux.sysctls" "sysctls of the node are refused: $bad"
    done
    like "$(cri runp "$(pod x '.linux.sysctls={"net.core.somaxconn":"9"} | .linux.security_context.namespace_options.network="NODE"')" 2>&1)" "config.linux.sysctls" "... and the network's on the host network"
fi

# ---- containers ----
k=$(cri create "$a" "$(container one 'echo out; echo err >&2; env; pwd; id; hostname; cat /etc/resolv.conf; httpd -p 127.0.0.1:8080 -h /www; exec sleep 1000')")
like "$k" '^[0-9a-f]{64}$' "a container is created"
is "$(state "$k")" CONTAINER_CREATED "... and waits"
ok "it starts" cri start "$k"
is "$(state "$k")" CONTAINER_RUNNING "it runs"
eventually 5 grep -q ndots "$T/logs/a/one/0.log"
like "$(grep ' stdout F out' "$T/logs/a/one/0.log")" '^20[0-9-]+T[0-9:.]+Z stdout F out$' "its log has CRI's form"
like "$(grep ' err$' "$T/logs/a/one/0.log")" 'stderr F err$' "... with both streams"
o=$(output "$k")
like "$o" "FROM=image" "the image's environment"
like "$o" "HOSTNAME=a" "the hostname in the environment"
like "$o" "/home" "the image's working directory"
like "$o" "uid=1000\(alice\) gid=1000\(alice\) groups=$(ours && echo "50\(staff\),")1000\(alice\)" "the image's user, by name, with its groups"
like "$o" "nameserver 10.96.0.10" "resolv.conf from the DNS configuration"
k2=$(run "$a" two 'wget -qO- http://127.0.0.1:8080/index.html; exec sleep 1000')
eventually 5 test -s "$T/logs/a/two/0.log"
is "$(output "$k2")" "hello from the image" "two containers share localhost"
is "$(cri exec "$k2" readlink /proc/1/exe)" /bin/busybox "each has its own PID namespace"
is "$(cri exec "$k2" ps | grep -c httpd)" 0 "... and does not see the other's processes"
like "$(cri create "$a" "$(container one true)" 2>&1)" "ALREADY_EXISTS|is reserved for" "the same container name again is refused"
like "$(cri create "$a" "$(container x true '.image.image="localhost/none:1"')" 2>&1)" "NOT_FOUND.*config.image.image|NOT_FOUND.*localhost/none" "a missing image is an error"
if ours; then
    like "$(cri create "$a" "$(container x true '.mounts=[{container_path:"/x",host_path:"/nonexistent"}]')" 2>&1)" "mounts\[0\].host_path" "a bad mount names its field"
    like "$(cri create "$a" "$(container x true '.log_path="../../x.log"')" 2>&1)" "log_path" "a log path may not leave its directory"
    like "$(cri create "$a" "$(container x true '.linux.security_context.capabilities={add_capabilities:["NOPE"]}')" 2>&1)" 'no capability "NOPE"' "an unknown capability is refused"
    is "$(ls "$R/var/lib/coracle/containers" | wc -l)" 2 "refused containers leave nothing"
fi

# ---- exec ----
is "$(cri exec "$k" sh -c 'echo o; echo e >&2' 2>&1 | sort | xargs)" "e o" "ExecSync returns both outputs"
cri exec "$k" sh -c 'exit 7' && rc=0 || rc=$?
is $rc 7 "... and the exit code"
like "$(EXEC_TIMEOUT=1 cri exec "$k" sleep 30 2>&1)" DEADLINE_EXCEEDED "its timeout ends the command"
is "$(cri exec "$k" head -c 3000000 /dev/zero | wc -c)" 3000000 "much output is whole"
like "$(cri exec "$k" /no/such 2>&1)" "no/such|No such file" "a command that is not there is an error"
is "$(cri exec "$k" id -u)" 1000 "it runs as the container's user"

# ---- streams ----
is "$(cri stream "$k" sh -c 'echo o; echo e >&2; exit 4' 2>&1 | sort | xargs)" "e o" "Exec over SPDY: both outputs"
cri stream "$k" sh -c 'exit 4' && rc=0 || rc=$?
is $rc 4 "... and the exit code"
head -c 5000000 /dev/urandom >"$T/random"
is "$(cri stream -i "$k" cat <"$T/random" | sha256sum)" "$(sha256sum <"$T/random")" "5 MB to the command and back are the same"
like "$(printf 'tty\nexit 3\n' | cri stream -i -t "$k" sh; echo "status $?")" "$(ours && echo "/dev/pts/0.*")status 3" "a terminal"
ours && like "$(cri stream "$k" /no/such 2>&1)" "no such file" "a command that is not there is an error"
url=$(cri call RuntimeService Exec '{"container_id":"'"$k"'","cmd":["true"],"stdout":true}' | jq -r .url)
like "$url" '^http://127.0.0.1:[0-9]+/exec/[0-9a-zA-Z_-]{8,}$' "a stream's URL has a token"
in_node curl -s -o "$T/first" "$url"
is "$(in_node curl -s -o /dev/null -w '%{http_code}' "$url")" 404 "... that is good once"
like "$(printf 'GET /index.html HTTP/1.0\r\n\r\n' | cri forward "$a" 8080)" "hello from the image" "port-forward to what listens on the pod's loopback"
ours && like "$(printf x | cri forward "$a" 9999 2>&1)" "Connection refused" "... and to what nobody listens on"
at=$(run "$a" attached 'while read x; do echo "got $x"; [ "$x" = end ] && exit 0; done' '.stdin=true')
# Others let go of a client whose input has ended, answered or not: it stays until the container has ended.
is "$( (sleep 0.3; echo one; echo end; eventually 20 is_state "$at" EXITED) | cri attach -i "$at" | xargs)" "got one got end" "attach: stdin and output"

# ---- isolation ----
r=$(run "$a" root 'exec sleep 1000' '.linux.security_context.run_as_user={value:0}')
is "$(cri exec "$r" id -u)" 0 "run_as_user"
ok "root cannot set the clock, mount, load modules" bash -c "! cri exec $r mount -t tmpfs none /mnt"
like "$(cri exec "$r" grep CapEff /proc/self/status)" "00000000a80425fb" "default capabilities"
like "$(cri exec "$r" grep Seccomp: /proc/self/status)" "2" "the default seccomp profile"
like "$(cri exec "$r" sh -c 'echo 1 >/proc/sys/kernel/panic' 2>&1)" "Read-only" "read-only paths"
is "$(cri exec "$r" sh -c 'wc -c </proc/version')" 0 "masked paths"
is "$(cri exec "$r" sh -c 'ls /proc/self/fd | wc -l')" 4 "no descriptor leaks into the container"
like "$(cri exec "$r" cat /proc/1/cgroup)" "$r|:/" "its own cgroup"
n=$(run "$a" nobody 'exec sleep 1000' '.linux.security_context |= . + {run_as_user:{value:1234},run_as_group:{value:4321},supplemental_groups:[77],no_new_privs:true,readonly_rootfs:true,capabilities:{drop_capabilities:["ALL"]}}')
is "$(cri exec "$n" id)" "uid=1234 gid=4321 groups=77,4321" "numeric user, group, supplemental groups"
ours && is "$(field "$n" user.linux | jq -c '[.uid, .gid, .supplemental_groups]')" "[1234,4321,[77,4321]]" "... which the status tells"
ours && is "$(field "$k" user.linux.uid)" 1000 "... also for a name of the image"
like "$(cri exec "$n" cat /proc/self/status)" "CapBnd:.0000000000000000.*NoNewPrivs:.1" "no capabilities, no new privileges"
like "$(cri exec "$n" touch /tmp/x 2>&1)" "Read-only" "a read-only root"
g=$(cri runp "$(pod g '.linux.security_context.privileged=true')")
like "$(cri create "$a" "$(container x true '.linux.security_context.privileged=true')" 2>&1)" "no privileged container allowed in sandbox" "privileged: the sandbox must be, too"
p=$(run "$g" privileged 'exec sleep 1000' '.linux.security_context |= . + {privileged:true, run_as_user:{value:0}}')
like "$(cri exec "$p" grep Seccomp: /proc/self/status)" "0" "privileged: no seccomp"
ok "privileged: devices" cri exec "$p" test -c /dev/kmsg -o -c /dev/fuse -o -b /dev/loop0
mkdir "$T/vol" && echo data >"$T/vol/file"
m=$(run "$a" mounts 'exec sleep 1000' '.linux.security_context.run_as_user={value:0} | .mounts=[{container_path:"/vol",host_path:"'"$T/vol"'"},{container_path:"/ro",host_path:"'"$T/vol"'",readonly:true}]')
is "$(cri exec "$m" sh -c 'cat /ro/file; echo more >/vol/new; echo no >/ro/new2' 2>/dev/null)" data "a volume is mounted"
is "$(cat "$T/vol/new")" more "... and written to"
ok "... but not where it is read-only" test ! -e "$T/vol/new2"
h=$(cri exec "$m" sh -c 'echo x >/dev/shm/shared; stat -c %a /dev/shm')
is "$h" 1777 "/dev/shm"
is "$(cri exec "$r" cat /dev/shm/shared)" x "... is the pod's"

# ---- resources ----
l=$(run "$a" limits 'exec sleep 1000' '.linux.resources={memory_limit_in_bytes:33554432,cpu_quota:50000,cpu_period:100000,cpu_shares:512}')
f=$(find /sys/fs/cgroup -path "*$l/memory.limit_in_bytes" -o -path "*$l/memory.max" | head -1)
if [ -n "$f" ]; then
    is "$(cat "$f")" 33554432 "the memory limit"
    ok "resources are updated" cri call RuntimeService UpdateContainerResources '{"container_id":"'"$l"'","linux":{"memory_limit_in_bytes":67108864}}'
    is "$(cat "$f")" 67108864 "... in the cgroup"
    is "$(field "$l" resources.linux.memory_limit_in_bytes)" 67108864 "... and in the status"
    oom=$(run "$a" oom 'exec tr "\000" x </dev/zero | sort' '.linux.resources={memory_limit_in_bytes:16777216}')
    ok "a container over its limit ends" eventually 20 is_state "$oom" EXITED
    is "$(field "$oom" reason)" OOMKilled "... with the reason OOMKilled"
else
    skip "no memory controller"
fi
st=$(cri stats)
ok "stats: cpu and memory" jq -e --arg k "$k" '.stats[] | select(.attributes.id == $k) | .cpu.usage_core_nano_seconds.value > 0 and .memory.working_set_bytes.value > 0' <<<"$st"
ok "stats of the pod: network" jq -e '.stats[0].linux.network.default_interface.rx_bytes.value > 0' <<<"$(cri statsp)"

# ---- ends ----
e=$(run "$a" ends 'exit 3')
ok "a container that ends is seen" eventually 5 is_state "$e" EXITED
is "$(field "$e" exit_code) $(field "$e" reason)" "3 Error" "exit code and reason"
like "$(cri start "$(cri create "$a" "$(container bad x '.command=["/no/such"]')")" 2>&1)" "no/such|No such" "a command that is not there fails at start"
t=$(run "$a" term 'trap "echo got TERM; exit 0" TERM; while :; do sleep 0.1; done')
sleep 0.2
ok "stop sends the stop signal" cri stop "$t" 10
is "$(field "$t" "exit_code // 0") $(field "$t" reason)" "0 Completed" "... and the container ends by it"
like "$(output "$t")" "got TERM" "... having heard it"
t0=$(date +%s%N)
ok "a container that ignores it" cri stop "$k2" 1
is "$(field "$k2" exit_code)" 137 "... is killed"
ok "... after the timeout" test $((($(date +%s%N) - t0) / 1000000)) -ge 950
ok "stop again" cri stop "$k2" 1
ours && ok "stop of an unknown one" cri stop 0123456789abcdef 1
ok "remove" cri rm "$e"
ok "remove again" cri rm "$e"
like "$(cri inspect "$e" 2>&1)" NOT_FOUND "it is gone"
mv "$T/logs/a/root/0.log" "$T/logs/a/root/0.log.old"
ok "the log is opened anew" cri reopen "$r"
ok "... as a new file" test -e "$T/logs/a/root/0.log"

# ---- a second pod ----
# Two that are safe, and two that are not so: the kubelet decides about these. A node may lack message queues.
SYSCTLS='"net.ipv4.ip_unprivileged_port_start":"7","kernel.shm_rmid_forced":"1","kernel.msgmax":"9000","net.core.somaxconn":"77"'
QUEUES=/proc/sys/fs/mqueue/msg_max
[ -e $QUEUES ] && SYSCTLS+=',"fs.mqueue.msg_max":"11"' || QUEUES=
b=$(cri runp "$(pod b ".linux.sysctls={$SYSCTLS}")")
ip_b=$(cri inspectp "$b" | jq -r .status.network.ip)
unlike "$ip_b" "^$ip_a$" "another address"
w=$(run "$b" web 'exec httpd -f -p 80 -h /www' '.linux.security_context.run_as_user={value:0}')
is "$(eventually 5 cri exec "$r" wget -qO- "http://$ip_b/index.html"; cri exec "$r" wget -qO- "http://$ip_b/index.html")" "hello from the image" "pod to pod"
ok "another pod's localhost is another" bash -c "! cri exec $w wget -qO- http://127.0.0.1:8080/"
SYSCTLS="/proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced /proc/sys/kernel/msgmax /proc/sys/net/core/somaxconn $QUEUES"
is "$(cri exec "$w" cat $SYSCTLS | xargs)" "7 1 9000 77${QUEUES:+ 11}" "the pod's sysctls, safe and unsafe"
is "$(cri exec "$r" cat $SYSCTLS | xargs)" "$(unshare -in cat $SYSCTLS | xargs)" "... which another pod has as the kernel makes them"
is "$(cri pods '{"label_selector":{"app":"b"}}' | jq -r '.items[].id')" "$b" "pods by label"
is "$(cri ps '{"pod_sandbox_id":"'"$b"'"}' | jq -r '.containers[].id')" "$w" "containers of a pod"

# ---- shared PID namespace, host namespaces ----
c=$(cri runp "$(pod c '.linux.security_context.namespace_options.pid="POD"')")
c1=$(run "$c" one 'exec sleep 1001' '.linux.security_context.namespace_options.pid="POD"')
c2=$(run "$c" two 'exec sleep 1002' '.linux.security_context.namespace_options.pid="POD"')
like "$(cri exec "$c1" ps)" "sleep 1002" "a shared PID namespace"
ours && like "$(cri create "$a" "$(container x true '.linux.security_context.namespace_options.pid="POD"')" 2>&1)" "shared PID namespace" "... needs a sandbox that has one"
d=$(cri runp "$(pod d 'del(.hostname) | .linux.security_context.namespace_options={network:"NODE",pid:"CONTAINER",ipc:"NODE"}')")
d1=$(run "$d" one 'exec sleep 1000')
is "$(cri inspectp "$d" | jq -r '.status.network.ip // ""')" "" "host network: no address of its own"
like "$(cri exec "$d1" ip -o link)" "$(ours && echo coracle0 || echo cni0)" "... but the node's links"

# ---- events ----
if ours; then
    cri events >"$T/events" &
    events=$!
    at_end eval "kill $events 2>/dev/null || true"
    eventually 5 bash -c "cri rm $c2; cri exec $c1 true; grep -q DELETED '$T/events'" || true
    v=$(run "$b" events 'exit 0')
    eventually 5 is_state "$v" EXITED
    ok "events: created, started, stopped" eventually 5 bash -c "[ \"\$(jq -r 'select(.container_id == \"$v\") | .container_event_type' '$T/events' | xargs)\" = 'CONTAINER_CREATED_EVENT CONTAINER_STARTED_EVENT CONTAINER_STOPPED_EVENT' ]"
    ok "... with the pod's status" jq -se --arg v "$v" --arg b "$b" '[.[] | select(.container_id == $v)] | last | .pod_sandbox_status.id == $b and any(.containers_statuses[]; .id == $v and .state == "CONTAINER_EXITED")' "$T/events"
fi

# ---- nothing is left ----
ok "stop a sandbox with running containers" cri stopp "$a"
is "$(state "$r")" CONTAINER_EXITED "its containers have ended"
is "$(cri inspectp "$a" | jq -r .status.state)" SANDBOX_NOTREADY "it is not ready"
ok "stop again" cri stopp "$a"
for x in $a $b $c $d $g; do cri rmp "$x" || fail "cannot remove $x"; done
ok "remove again" cri rmp "$a"
is "$(cri pods | jq '.items | length')" 0 "no sandbox is left"
is "$(cri ps | jq '.containers | length')" 0 "no container is left"
is "$(cri_cgroups | grep -cE '/[0-9a-f]{64}$')" 0 "no container's cgroup is left"
done_testing
