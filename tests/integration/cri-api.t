#!/usr/bin/env bash
# The whole of the protocol: every call has an answer, streamed lists are the lists; and what the common
# configurations leave to the image and the node: its command, the node's namespaces, name servers.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
cri_setup
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Entrypoint":["/bin/echo","entry"],"Cmd":["image","words"],"Env":["PATH=/bin"]}'
cri_start
cri_import "$T/bb.tar" >/dev/null || bail "no image"
a=$(cri runp "$(pod a)")
k=$(run "$a" one 'exec sleep 1000')

# ---- what the image says ----
says() { # NAME JQ: all that the container says
    local id
    id=$(run "$a" "$1" x "$2") || return
    eventually 10 is_state "$id" EXITED
    output "$id"
}
is "$(says plain 'del(.command)')" "entry image words" "neither command nor args: the image's"
is "$(says args 'del(.command) | .args=["own"]')" "entry own" "args take the place of the image's Cmd, after its Entrypoint"
is "$(says command '.command=["/bin/echo","cmd"]')" cmd "a command takes the place of both"
is "$(says both '.command=["/bin/echo","cmd"] | .args=["own"]')" "cmd own" "... with args after it"

# ---- times ----
e=$(run "$a" ends 'sleep 0.3; exit 2')
eventually 10 is_state "$e" EXITED
ok "a container is created, started and finished in this order, at times that are now" \
    jq -e --argjson now "$(date +%s)" '.status | .created_at <= .started_at and .started_at + 250000000 <= .finished_at and (.finished_at / 1000000000 - $now | fabs) < 100' <<<"$(cri inspect "$e")"

# ---- the node's namespaces ----
ns() { readlink "/proc/$1/ns/$2"; }
ours_of() { for n in pid ipc net uts; do [ "$(ns "$1" $n)" = "$(ns "$CRI_PID" $n)" ] && echo -n "$n "; done; }
pid_of() { cri inspect "$1" | jq -r .info.info | jq -r .pid; }
NODE='.linux.security_context.namespace_options={network:"NODE",pid:"NODE",ipc:"NODE"}'
h=$(cri runp "$(pod h "del(.hostname) | $NODE")")
hc=$(run "$h" one 'exec sleep 1000' "$NODE")
if ours; then
    is "$(ours_of "$(pid_of "$hc")")" "pid ipc net uts " "a pod in the node's PID, IPC, network (and with it UTS) namespaces"
    is "$(ours_of "$(pid_of "$k")")" "" "... another is in none of them"
fi
is "$(cri exec "$hc" hostname)" "$(hostname)" "... it has the node's name"
is "$(cri exec "$hc" head -c 12 "/proc/$CRI_PID/comm")" "$(cat "/proc/$CRI_PID/comm")" "... and sees the node's processes"
unseen() { ! cri exec "$k" test -e "/proc/$CRI_PID"; }
ok "... which another does not" unseen

# ---- name servers ----
is "$(cri exec "$k" cat /etc/resolv.conf)" $'search default.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5' "resolv.conf: servers, search list, options"
is "$(cri exec "$hc" cat /etc/resolv.conf)" "$(cri exec "$k" cat /etc/resolv.conf)" "... also on the node's network"
d=$(cri runp "$(pod d 'del(.dns_config)')")
dc=$(run "$d" one 'exec sleep 1000')
is "$(cri exec "$dc" cat /etc/resolv.conf)" "$(cat /etc/resolv.conf)" "without a DNS configuration: the node's"
if ours; then
    like "$(cri runp "$(pod x '.dns_config.servers=["1.1.1.1\nnameserver 2.2.2.2"]')" 2>&1)" 'INVALID_ARGUMENT.*config.dns_config.*servers\[0\]' "a server that is two lines is refused"
fi
cri rmp "$d"

# ---- every call ----
ours || { done_testing; exit; }
client() { timeout 10 nsenter --net="/run/netns/$NETNS" "$B/tests/bin/cri-client" "$@" 2>&1; }
silent='' n=0
while read -r service method; do
    n=$((n + 1))
    [ $method != GetContainerEvents ] || continue # without an end: cri-events.t
    answer=$(client call "$service" "$method" '{}')
    case $method in
    CheckpointContainer) like "$answer" "^UNIMPLEMENTED: .*CRIU" "$method is not there, and says why" ;;
    *) [[ -n $answer && $answer != *UNIMPLEMENTED* && $answer != *UNAVAILABLE* ]] || silent="$silent $method ($answer)" ;;
    esac
done < <(awk '/^service/{s=$2} $1 == "rpc"{sub(/\(.*/, "", $2); print s, $2}' "$TOP/lib/net/cri.proto")
ok "the protocol's $n calls were tried" test $n -gt 38
is "$silent" "" "every other one has an answer"
like "$(client call RuntimeService NoSuchCall '{}')" "NoSuchCall" "one that is none"

same() { # STREAM LIST SERVICE WHAT [REQUEST]: a streamed list has what the list has
    is "$(cri call "$3" "$1" "${5:-{\}}" | jq -s "[.[].$4[]?.id // .[].$4[]?.attributes.id] | sort")" \
        "$(cri call "$3" "$2" "${5:-{\}}" | jq "[.${6:-$4}[]? | .id // .attributes.id] | sort")" "$1 has what $2 has"
}
same StreamPodSandboxes ListPodSandbox RuntimeService pod_sandboxes '{}' items
same StreamContainers ListContainers RuntimeService containers
same StreamImages ListImages ImageService images
same StreamContainerStats ListContainerStats RuntimeService container_stats '{}' stats
same StreamPodSandboxStats ListPodSandboxStats RuntimeService pod_sandbox_stats '{}' stats
is "$(cri call RuntimeService StreamContainers '{"filter":{"pod_sandbox_id":"'"$h"'"}}' | jq -r '.containers[].id')" "$hc" "... also with a filter"
ok "UpdatePodSandboxResources" cri call RuntimeService UpdatePodSandboxResources '{"pod_sandbox_id":"'"$a"'","overhead":{},"resources":{"cpu_shares":10}}'
like "$(cri call RuntimeService UpdatePodSandboxResources '{"pod_sandbox_id":"0123456789"}' 2>&1)" NOT_FOUND "... of a pod that is not there"
for x in $a $h; do cri rmp "$x" || fail "cannot remove $x"; done
cri_stop && rc=0 || rc=$?
is $rc 0 "an orderly end"
is "$(grep -cE 'Sanitizer|runtime error|Assertion' "$T/cri.log")" 0 "nothing found by sanitizers" || diag "$(grep -A30 -E 'Sanitizer|runtime error' "$T/cri.log" | head -60)"
done_testing
