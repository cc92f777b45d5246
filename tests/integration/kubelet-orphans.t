#!/usr/bin/env bash
# What is left of pods that are not there any more: directories, mounts, logs, control groups, sandboxes. All of
# it goes, when the kubelet starts and while it runs, and nothing that is only mounted there.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/kubelet.sh"
node_up
POD_DIRS=$R/var/lib/kubelet/pods LOGS=$R/var/log/pods
A=11111111-aaaa-4aaa-8aaa-000000000001 B1=11111111-aaaa-4aaa-8aaa-000000000002 C=11111111-aaaa-4aaa-8aaa-000000000003
manifest() { # NAME
    cat >"$MANIFESTS/$1.json" <<END
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"$1"},"spec":{"terminationGracePeriodSeconds":2,"containers":[
 {"name":"c","image":"localhost/bb:1","command":["sh","-c","trap 'exit 0' TERM; while :; do sleep 0.05; done"],"volumeMounts":[{"name":"v","mountPath":"/v"}]}],
 "volumes":[{"name":"v","emptyDir":{"medium":"Memory"}}]}}
END
}
group_dirs() { find /sys/fs/cgroup -type d -path "*$CGROUP/kubepods*/pod$1" 2>/dev/null; }
left() { # UID: what is left of it
    ls -d "$POD_DIRS/$1" "$LOGS"/*_"$1" 2>/dev/null
    group_dirs "$1"
    grep " $POD_DIRS/$1/" /proc/self/mountinfo
}
nothing_left() { [ -z "$(left "$1")" ]; }

# ---- a sandbox whose pod is gone while no kubelet runs ----
manifest gone
manifest stays
kubelet_start
ok "two pods run" eventually 40 is_running "gone-n1/c 0"
ok "..." eventually 40 is_running "stays-n1/c 0"
uid=$(cri ps | jq -r '[.containers[] | select(.labels["io.kubernetes.pod.name"]=="gone-n1")][0].labels["io.kubernetes.pod.uid"]')
kubelet_kill9
rm "$MANIFESTS/gone.json"

# ---- trees with mounts in them, the mounts deepest within each other ----
mkdir -p "$T/precious/deeper" && echo keep >"$T/precious/file" && echo keep >"$T/precious/deeper/file"
v=$POD_DIRS/$A/volumes/kubernetes.io~empty-dir/v
mkdir -p "$v" "$POD_DIRS/$A/volume-subpaths/v/c/0" "$POD_DIRS/$A/plugins" && echo x >"$v/file"
mount -t tmpfs tmpfs "$v" && mkdir "$v/inner" && mount --bind "$T/precious" "$v/inner" && mount -t tmpfs tmpfs "$v/inner/deeper" &&
    mount --bind "$T/precious" "$POD_DIRS/$A/volume-subpaths/v/c/0" || bail "cannot mount"
ln -s "$T/precious" "$POD_DIRS/$A/link"
mkdir -p "$LOGS/default_x_$A/c" && echo log >"$LOGS/default_x_$A/c/0.log"
# ---- logs alone, and what is no pod's ----
mkdir -p "$LOGS/default_y_$B1/c" && echo log >"$LOGS/default_y_$B1/c/0.log"
ln -s "$LOGS/default_y_$B1/c/0.log" "$R/var/log/containers/y_default_c-0123.log"
mkdir "$LOGS/other"
# ---- a control group with a process in it ----
sleep 1000 &
sleeper=$!
at_end eval "kill $sleeper 2>/dev/null"
for d in $(find /sys/fs/cgroup -type d -path "*$CGROUP/kubepods/besteffort" 2>/dev/null); do
    mkdir "$d/pod$C" && { [ ! -e "$d/cgroup.procs" ] || echo $sleeper >"$d/pod$C/cgroup.procs"; } 2>/dev/null
done
isnt "$(group_dirs $C)" "" "there is an orphaned group"

kubelet_start
ok "the sandbox of a pod that is gone goes" eventually 60 nothing_left "$uid"
sandboxes() { cri pods | jq -r '[.items[]? | .metadata.name] | sort | join(" ")'; }
sandboxes_are() { [ "$(sandboxes)" = "$1" ]; }
ok "... from the runtime too" eventually 40 sandboxes_are stays-n1
ok "a directory with mounts in it goes, and its logs" eventually 40 nothing_left $A
is "$(cat "$T/precious/file" "$T/precious/deeper/file" | xargs)" "keep keep" "... but not what was mounted there or linked to"
ok "logs alone go" eventually 40 nothing_left $B1
is "$(ls "$R/var/log/containers" | grep -c y_default)" 0 "... and the link to them"
ok "a group goes" eventually 40 nothing_left $C
ended() { ! kill -0 $sleeper 2>/dev/null; }
ok "... and the process in it" eventually 20 ended
ok "what is no pod's stays" test -d "$LOGS/other"
is "$(running)" "stays-n1/c 0" "the other pod runs on"

# ---- while the kubelet runs ----
mkdir -p "$POD_DIRS/$A/volumes" "$LOGS/default_y_$B1"
for d in $(find /sys/fs/cgroup -type d -path "*$CGROUP/kubepods/burstable" 2>/dev/null); do mkdir "$d/pod$C"; done
ok "later ones go too: a directory" eventually 60 nothing_left $A
ok "... logs" eventually 60 nothing_left $B1
ok "... a group" eventually 60 nothing_left $C
is "$(running)" "stays-n1/c 0" "the other pod runs on"
done_testing
