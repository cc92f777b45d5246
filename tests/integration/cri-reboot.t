#!/usr/bin/env bash
# After a reboot: what was on disk is there, no process, mount, link or cgroup is. With /run on a tmpfs the state
# of sandboxes is gone too; where it is not, the records are of pods that ended.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
cri_setup
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
cri_start
ok "an image" cri import "$T/bb.tar"
shims() { pgrep -f "coracle-shim $R/"; }
no_shims() { [ -z "$(shims)" ]; }
# Everything that lives in the kernel goes at once.
power_off() {
    local p m
    cri_kill9
    for p in $(cri_cgroups | while read -r d; do cat "$d/cgroup.procs" "$d/tasks" 2>/dev/null; done | sort -un) $(shims); do
        kill -9 "$p" 2>/dev/null
    done
    eventually 10 no_shims
    for m in $(awk -v r="$R/" 'index($5, r) == 1 {print $5}' /proc/self/mountinfo | tac); do umount -l "$m"; done
    for m in $(in_node ip -o link | awk -F': ' '{sub(/@.*/, "", $2); print $2}' | grep -v '^lo$'); do in_node ip link del "$m" 2>/dev/null; done
    eventually 10 cgroups_gone
}
cgroups_gone() {
    cri_remove_cgroups
    [ -z "$(cri_cgroups)" ]
}
pods_up() {
    P=$(cri runp "$(pod "$1")")
    C=$(run "$P" c 'echo data >/file; exec sleep 100000')
    W=$(run "$P" waits 'exec sleep 100000')
    is "$(state "$C")" CONTAINER_RUNNING "$1: a pod runs"
}

pods_up tmpfs
power_off
rm -rf "${R:?}/run"
cri_start
is "$(cri pods | jq '.items | length') $(cri ps | jq '.containers | length')" "0 0" "a reboot: no pod is left"
is "$(cri images | jq '.images | length')" 1 "... the image is"
ok "... layers of containers that are gone are removed" eventually 10 bash -c "[ -z \"\$(ls '$R/var/lib/coracle/containers')\" ]"

pods_up disk
power_off
cri_start
is "$(cri inspectp "$P" | jq -r .status.state)" SANDBOX_NOTREADY "records on a disk: the pod is not ready"
is "$(state "$C") $(state "$W")" "CONTAINER_EXITED CONTAINER_EXITED" "... its containers have ended"
is "$(field "$C" exit_code)" 137 "... killed"
like "$(cri create "$P" "$(container again true)" 2>&1)" "not ready" "... it takes no new one"
again=$(cri runp "$(pod disk '.metadata.attempt = 1')")
is "$(cri inspectp "$again" | jq -r .status.state)" SANDBOX_READY "the next attempt runs beside it"
ok "the old one is removed" cri rmp "$P"
ok "... and the new one" cri rmp "$again"
ok "... with all layers" eventually 10 bash -c "[ -z \"\$(ls '$R/var/lib/coracle/containers')\" ]"
is "$(grep -c "$R" /proc/self/mountinfo)" 0 "no mount is left"
is "$(grep -cE 'Sanitizer|runtime error' "$T/cri.log")" 0 "nothing found by sanitizers"
done_testing
