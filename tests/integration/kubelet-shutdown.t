#!/usr/bin/env bash
# Graceful shutdown of the node: the machine waits while pods end, by their priority; with a stand-in for logind
# on a message bus of the test's own, and without one, where SIGTERM is the sign.
. "$(dirname "$0")/../lib/tap.sh"
command -v dbus-daemon >/dev/null || skip_all "dbus-daemon is not installed"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
FLAGS=(--kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt" --config "$T/config.yaml")
config() { printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n%s\n' "$1" >"$T/config.yaml"; }
node_is() { # STATUS MESSAGE
    [ "$(get /api/v1/nodes/n1 '.status.conditions[]? | select(.type=="Ready") | .status + " " + .reason + " " + .message')" = "$1" ]
}
UP='True KubeletReady kubelet is posting ready status'
DOWN='False KubeletNotReady node is shutting down'
refused() {
    config "$1"
    in_ns timeout 20 "$LIBEXEC/coracle-kubelet" --root "$R" --hostname-override n1 --cgroup-root "$CGROUP" --config "$T/config.yaml" >"$T/bad.log" 2>&1
    is $? 1 "refused: $2"
    like "$(cat "$T/bad.log")" "$2" "... by name"
}
refused 'shutdownGracePeriod: 5s
shutdownGracePeriodCriticalPods: 6s' 'shutdownGracePeriodCriticalPods: is more than shutdownGracePeriod'
refused 'shutdownGracePeriod: 5s
shutdownGracePeriodByPodPriority: [{priority: 1, shutdownGracePeriodSeconds: 1}]' 'shutdownGracePeriodByPodPriority: does not go with'
refused 'shutdownGracePeriodByPodPriority: [{priority: 1, shutdownGracePeriod: 1}]' 'shutdownGracePeriodByPodPriority.0..shutdownGracePeriod: there is no such field'

# ---- logind ----
LOGIND=$T/logind.log OVERRIDE=$R/etc/systemd/logind.conf.d/99-kubelet.conf
mkdir -p "$R/run/dbus"
cat >"$T/bus.conf" <<END
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=$R/run/dbus/system_bus_socket</listen>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
END
bus_start() {
    dbus-daemon --nofork --nopidfile --config-file "$T/bus.conf" 2>"$T/bus.log" &
    bus=$!
    eventually 10 test -S "$R/run/dbus/system_bus_socket"
    "$B/tests/bin/fake-logind" "unix:path=$R/run/dbus/system_bus_socket" "$LOGIND" "$OVERRIDE" &
    logind=$!
    eventually 10 grep -q ready "$LOGIND" || bail "no logind"
}
bus_stop() { kill "$logind" "$bus"; wait "$logind" "$bus" 2>/dev/null; rm -f "$R/run/dbus/system_bus_socket" "$LOGIND"; }
at_end eval 'kill $logind $bus 2>/dev/null || true'
bus_start
config 'shutdownGracePeriod: 20s
shutdownGracePeriodCriticalPods: 8s'
kubelet_start "${FLAGS[@]}"
ok "an inhibitor lock is taken" eventually 20 grep -q '^inhibit shutdown kubelet delay$' "$LOGIND" || { tail -5 "$T/kubelet.log" "$T/bus.log"; bail "no lock"; }
like "$(cat "$LOGIND")" $'reload systemd-logind.service 1\ninhibit' "... after logind was told to grant more time"
like "$(cat "$OVERRIDE")" 'InhibitDelayMaxSec=20' "... as much as is configured"
ok "the node is ready" eventually 40 node_is "$UP"
# Each says who had ended before it was told to.
STAMP='trap "ls /out >/out/.NAME; sleep 0.5; : >/out/NAME; exit 0" TERM; while :; do sleep 0.05; done'
mkdir -p "$T/out"
stamped() { # NAME CLASS
    create "$1" "$(jq -cn --arg c "${STAMP//NAME/$1}" --arg p "$2" '{priorityClassName:$p,terminationGracePeriodSeconds:30,
        volumes:[{name:"o",hostPath:{path:$dir}}],
        containers:[{name:"c",image:"localhost/bb:1",command:["sh","-c",$c],volumeMounts:[{name:"o",mountPath:"/out"}]}]}' --arg dir "$T/out")"
}
stamped plain '' >/dev/null
stamped critical system-node-critical >/dev/null
create slow "$(spec "$(container 'trap "" TERM; while :; do sleep 0.05; done')" '{"terminationGracePeriodSeconds":2}')" >/dev/null
for p in plain critical slow; do ok "pod $p runs" eventually 40 ready "$p"; done
kubelet_stop
is $? 0 "SIGTERM ends the kubelet"
is "$(running)" $'critical/c 0\nplain/c 0\nslow/c 0' "... and no pod, where logind tells of shutdowns"
kubelet_start "${FLAGS[@]}"
locks() { [ "$(grep -c '^inhibit' "$LOGIND") $(grep -c '^released' "$LOGIND")" = "$1" ]; }
ok "its lock is gone, the next kubelet has one" eventually 20 locks "2 1"
ok "the node is ready" eventually 40 node_is "$UP"
kill -USR1 "$logind"
ok "the machine is about to go down: the node is not ready" eventually 20 node_is "$DOWN"
ok "... an event says so" eventually 20 event_says n1 NodeShutdown '^Shutdown manager detected shutdown event$'
create late "$(spec "$(container "$SLEEP")")" >/dev/null
ok "no pod comes any more" eventually 20 pod_is late '.status.phase + " " + .status.reason' "Failed NodeShutdown"
like "$(get "$pods/late" .status.message)" 'Pod was rejected as the node is shutting down\.$' "... for that reason"
ok "the machine is let go" eventually 40 locks "2 2"
is "$(running)" "" "... no pod runs"
for p in plain critical slow; do
    is "$(get "$pods/$p" '.status | .phase + " " + .reason + ": " + .message')" 'Failed Terminated: Pod was terminated in response to imminent node shutdown.' "... pod $p is told as upstream does"
done
is "$(get "$pods/plain" '.status.conditions[] | select(.type=="DisruptionTarget") | .status + " " + .reason')" "True TerminationByKubelet" "... with its condition"
is "$(cat "$T/out/.critical") $(cat "$T/out/.plain")" "plain " "the critical one was told to end when the others had"
kill -USR2 "$logind"
ok "the shutdown is called off: the node is ready" eventually 20 node_is "$UP"
ok "... and has a lock again" eventually 20 locks "3 2"
create again "$(spec "$(container "$SLEEP")")" >/dev/null
ok "... pods come" eventually 40 ready again
bus_stop
ok "the bus goes: the kubelet says so" eventually 20 grep -q 'no inhibitor lock is held' "$T/kubelet.log"
bus_start
ok "... it comes back: there is a lock again" eventually 20 locks "1 0"
bus_stop
kubelet_stop

# ---- without logind ----
config 'shutdownGracePeriodByPodPriority: [{priority: 1000, shutdownGracePeriodSeconds: 6}, {priority: 0, shutdownGracePeriodSeconds: 3}]'
kubelet_start "${FLAGS[@]}"
ok "the node is ready" eventually 40 node_is "$UP"
create stubborn "$(spec "$(container 'trap "" TERM; while :; do sleep 0.05; done')" '{"terminationGracePeriodSeconds":600}')" >/dev/null
ok "a pod runs that takes its time" eventually 40 ready stubborn
began=$(date +%s)
kubelet_stop
is $? 0 "SIGTERM ends the kubelet"
is "$(running)" "" "... and the pods first, where there is no logind"
ok "... in the time they are given" test $(($(date +%s) - began)) -lt 40
is "$(get "$pods/stubborn" '.status.phase + " " + .status.reason')" "Failed Terminated" "... the API knows"
ok "... of the node too" node_is "$DOWN"
in_ns "$LIBEXEC/coracle-kubelet" --root "$R" --cgroup-root "$CGROUP" --cleanup >"$T/cleanup.log" 2>&1
ok "clean-up takes the configuration of logind with it" test ! -e "$R/etc/systemd/logind.conf.d"
done_testing
