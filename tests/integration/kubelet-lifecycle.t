#!/usr/bin/env bash
# The life of pods and containers: order of start and end, hooks, grace, restarts, conditions, refusals.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
make_image "$T/bb2.tar" localhost/bb:2 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin","FROM=second"]}'
cri import "$T/bb2.tar" >/dev/null || bail "cannot import the image"
kubelet_start --kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt" --allowed-unsafe-sysctls 'kernel.msg*'
OUT=$T/out
mkdir -p "$OUT" && chmod 777 "$OUT"
mount_out='"volumeMounts":[{"name":"out","mountPath":"/out"}]'
volume_out="\"volumes\":[{\"name\":\"out\",\"hostPath\":{\"path\":\"$OUT\"}}]"
# teller NAME [EXTRA]: a container that writes its name to /out/ended when it is told to end.
teller() {
    jq -cn --arg n "$1" --argjson m "{${2:+$2,}$mount_out}" \
        '{name:$n,image:"localhost/bb:1",command:["sh","-c","echo \($n) >>/out/started; trap \"echo \($n) >>/out/ended; exit 0\" TERM; while :; do sleep 0.05; done"]}+$m'
}
status_of() { get "$pods/$1" ".status.containerStatuses[0]$2"; }

# ---- order ----
create order "{\"terminationGracePeriodSeconds\":20,\"initContainers\":[$(teller s1 '"restartPolicy":"Always"'),
  {\"name\":\"i\",\"image\":\"localhost/bb:1\",\"command\":[\"sh\",\"-c\",\"echo i >>/out/started\"],$mount_out},$(teller s2 '"restartPolicy":"Always"')],
  \"containers\":[$(teller main)],\"readinessGates\":[{\"conditionType\":\"example.com/gate\"}],$volume_out}" >/dev/null
containers_ready() { pod_is "$1" '.status.conditions[]? | select(.type=="ContainersReady") | .status' True; }
ok "a pod with sidecars and an init container runs" eventually 40 containers_ready order
is "$(xargs <"$OUT/started")" "s1 i s2 main" "they start in order"
is "$(get $pods/order '[.status.conditions[] | select(.status=="True") | .type] | sort | join(" ")')" \
    "ContainersReady Initialized PodReadyToStartContainers PodScheduled" "conditions: all but Ready"
is "$(get $pods/order '.status.conditions[] | select(.type=="Ready") | .reason')" ReadinessGatesNotReady "... which waits for its readiness gate"
api PATCH $pods/order/status -H 'Content-Type: application/strategic-merge-patch+json' --data-binary '{"status":{"conditions":[{"type":"example.com/gate","status":"True"}]}}' >/dev/null
ok "the gate open, the pod is Ready" eventually 40 ready order
api DELETE $pods/order >/dev/null
ok "deleted" eventually 40 absent order
is "$(xargs <"$OUT/ended")" "main s2 s1" "they end in order: sidecars last, in reverse"

# ---- hooks, signals, messages ----
create hooks "{\"terminationGracePeriodSeconds\":30,\"os\":{\"name\":\"linux\"},\"containers\":[
  {\"name\":\"c\",\"image\":\"localhost/bb:1\",$mount_out,
   \"command\":[\"sh\",\"-c\",\"trap 'echo usr1 >>/out/signal; exit 0' USR1; httpd -p 80 -h /www; while :; do sleep 0.05; done\"],
   \"lifecycle\":{\"stopSignal\":\"SIGUSR1\",\"postStart\":{\"exec\":{\"command\":[\"sh\",\"-c\",\"echo post >>/out/hooks\"]}},\"preStop\":{\"sleep\":{\"seconds\":1}}}},
  {\"name\":\"d\",\"image\":\"localhost/bb:1\",$mount_out,\"command\":[\"sh\",\"-c\",\"trap 'exit 0' TERM; while :; do sleep 0.05; done\"],
   \"lifecycle\":{\"postStart\":{\"httpGet\":{\"path\":\"/index.html\",\"port\":80}}}}],$volume_out}" >/dev/null
ok "postStart by a command and over HTTP" eventually 40 ready hooks
is "$(cat "$OUT/hooks")" post "... the command ran"
is "$(status_of hooks .stopSignal)" SIGUSR1 "the status has the stop signal"
begun=$(date +%s%N)
api DELETE $pods/hooks >/dev/null
ok "deleted" eventually 40 absent hooks
ok "... after preStop's pause" test $(($(date +%s%N) - begun)) -ge 1000000000
is "$(cat "$OUT/signal")" usr1 "... by that signal"
create nohook "$(spec "$(container "$SLEEP" '{"lifecycle":{"postStart":{"exec":{"command":["false"]}}}}')")" >/dev/null
ok "a postStart hook that fails is told" eventually 40 has_event nohook FailedPostStartHook
restarted() { [ "$(status_of "$1" .restartCount)" -ge "${2:-1}" ]; }
ok "... and the container is restarted" eventually 40 restarted nohook
message() { status_of "$1" ".state.terminated.message"; }
create says "$(spec "$(container 'echo done >/dev/termination-log; exit 1')" '{"restartPolicy":"Never"}')" >/dev/null
create logs "$(spec "$(container 'seq 1 100; echo the end >&2; exit 1' '{"terminationMessagePolicy":"FallbackToLogsOnError"}')" '{"restartPolicy":"Never"}')" >/dev/null
failed() { pod_is "$1" .status.phase Failed; }
ok "a container fails" eventually 40 failed says
is "$(message says)" done "its termination message"
ok "another one, without a message" eventually 40 failed logs
is "$(message logs | sed '/^$/d' | sed -n '1p;$p' | xargs)" "22 the end" "... has the last 80 lines of its log"

# ---- grace ----
create stubborn "$(spec "$(container 'trap "" TERM; while :; do sleep 0.2; done')" '{"terminationGracePeriodSeconds":600}')" >/dev/null
eventually 40 ready stubborn
api DELETE $pods/stubborn >/dev/null
ending() { [ "$(get $pods/stubborn .metadata.deletionGracePeriodSeconds)" = 600 ] && has_event stubborn Killing; }
ok "deleted with ten minutes of grace" eventually 40 ending
api DELETE "$pods/stubborn?gracePeriodSeconds=1" >/dev/null
ok "... and again with one second: gone" eventually 40 absent stubborn
create live "$(spec "$(container 'trap "" TERM; touch /ok; while :; do sleep 0.2; done' '{"livenessProbe":{"exec":{"command":["test","-e","/ok"]},"periodSeconds":1,"failureThreshold":1,"terminationGracePeriodSeconds":1}}')" '{"terminationGracePeriodSeconds":600}')" >/dev/null
eventually 40 ready live
in_pod live c rm /ok
ok "a liveness probe fails: its own grace period holds" eventually 40 restarted live
api DELETE "$pods/live?gracePeriodSeconds=1" >/dev/null
create start "$(spec "$(container "$SLEEP" '{"startupProbe":{"exec":{"command":["test","-e","/tmp/up"]},"periodSeconds":1,"failureThreshold":60},"livenessProbe":{"exec":{"command":["test","-e","/tmp/up"]},"periodSeconds":1,"failureThreshold":1}}')")" >/dev/null
is_up() { is_running "start/c 0"; }
eventually 40 is_up
sleep 2
is "$(status_of start '|[.started,.ready,.restartCount]|map(tostring)|join(" ")')" "false false 0" "until startup has succeeded, liveness rests"
in_pod start c touch /tmp/up
ok "... then it is Ready" eventually 40 ready start
create slow "$(spec "$(container "$SLEEP" '{"readinessProbe":{"exec":{"command":["sleep","60"]},"timeoutSeconds":1,"periodSeconds":1,"failureThreshold":1}}')")" >/dev/null
ok "an exec probe that takes too long has failed" eventually 40 event_says slow Unhealthy 'Readiness probe failed: .*(timed out|timeout|deadline)'

# ---- restarts and updates ----
create image "$(spec "$(container "$SLEEP")")" >/dev/null
eventually 40 ready image
is "$(get $pods/image '.status.observedGeneration == .metadata.generation')" true "the status says which generation it is of"
api PATCH $pods/image -H 'Content-Type: application/strategic-merge-patch+json' --data-binary '{"spec":{"containers":[{"name":"c","image":"localhost/bb:2"}]}}' >/dev/null
second() { [ "$(in_pod image c sh -c 'echo $FROM' 2>/dev/null)" = second ]; }
ok "a new image: the container is made anew" eventually 40 second
is "$(status_of image '|[.restartCount,.image]|map(tostring)|join(" ")')" "1 localhost/bb:2" "... and the status has it"

# ---- sysctls, RuntimeClass ----
sysctls() { create "$1" "$(spec "$(container "$SLEEP")" "{\"securityContext\":{\"sysctls\":[{\"name\":\"$2\",\"value\":\"$3\"}]}}")" >/dev/null; }
sysctls safe net.ipv4.ip_unprivileged_port_start 80
sysctls allowed kernel.msgmax 16384
sysctls unsafe net.core.somaxconn 100
ok "a safe sysctl" eventually 40 ready safe
is "$(in_pod safe c cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" 80 "... is set"
ok "an unsafe one that the node allows" eventually 40 ready allowed
is "$(in_pod allowed c cat /proc/sys/kernel/msgmax)" 16384 "... is set"
ok "another one is refused" eventually 40 pod_is unsafe '.status.phase + " " + .status.reason' 'Failed SysctlForbidden'
like "$(get $pods/unsafe .status.message)" '^Pod was rejected: forbidden sysctl: "net.core.somaxconn" not allowlisted' "... with upstream's message"
create class "$(spec "$(container "$SLEEP")" '{"runtimeClassName":"none"}')" >/dev/null
[ "$(cat "$T/code")" != 201 ] || ok "a RuntimeClass that is not there" eventually 40 event_says class FailedCreatePodSandBox 'RuntimeClass "none"'

# ---- the end ----
api DELETE $pods >/dev/null
empty() { [ "$(get $pods '.items|length')" = 0 ] && [ "$(cri pods | jq '.items|length')" = 0 ]; }
ok "all deleted" eventually 30 empty || { get $pods '.items[].metadata.name'; cri pods | jq -r '.items[].metadata.name'; tail -5 "$T/kubelet.log"; } | sed 's/^/# left: /' >&2
kubelet_stop
is $? 0 "SIGTERM: an orderly end"
KUBELET_PID=
unlike "$(cat "$T/kubelet.log")" "AddressSanitizer|LeakSanitizer|runtime error" "no sanitizer report"
done_testing
