#!/usr/bin/env bash
# coracle-cri as a unit of systemd: what the unit file says holds without systemd, too. Readiness is told, and
# whoever kills everything in the unit's control group kills the daemon and no pod.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
cri_setup
unit=$TOP/manifests/systemd/coracle-cri.service
for line in Type=notify KillMode=process Delegate=yes; do
    ok "the unit has $line" grep -qx "$line" "$unit"
done
unlike "$(grep -v '^#' "$unit")" '(Private|Protect|ReadOnly|RootDirectory|MountFlags|TemporaryFileSystem|RuntimeDirectory)' "... and nothing that gives it a mount namespace, or removes its state"
if command -v systemd-analyze >/dev/null; then
    sed "s|@libexecdir@|$B/libexec|" "$unit" >"$T/coracle-cri.service"
    is "$(systemd-analyze verify --man=no "$T/coracle-cri.service" 2>&1 | grep coracle-cri)" "" "systemd finds nothing wrong with it"
else
    skip "needs systemd-analyze"
fi

# ---- a control group as a unit's ----
# On a hybrid host in the unified tree, too: there systemd looks for a unit's processes.
GROUPS_OF_UNIT=()
for d in /sys/fs/cgroup /sys/fs/cgroup/pids /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ ! -e "$d/cgroup.procs" ] || GROUPS_OF_UNIT+=("$d$CGROUP/unit")
done
mkdir -p "${GROUPS_OF_UNIT[@]}" || bail "no control group"
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
python3 - "$T/notify" >"$T/notified" <<'PY' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(120)
print(s.recv(4096).decode(), flush=True)
PY
listener=$!
eventually 20 test -S "$T/notify"
start_in_unit() {
    (
        for g in "${GROUPS_OF_UNIT[@]}"; do echo $BASHPID >"$g/cgroup.procs"; done
        exec nsenter --net="/run/netns/$NETNS" "$LIBEXEC/coracle-cri" --root "$R" --pod-cidr 10.99.0.0/24 --cgroup-root "$CGROUP" >>"$T/cri.log" 2>&1
    ) &
    CRI_PID=$!
    eventually 20 cri version || bail "coracle-cri does not serve"
}
export NOTIFY_SOCKET=$T/notify
start_in_unit
unset NOTIFY_SOCKET
wait "$listener"
like "$(cat "$T/notified")" READY=1 "it tells that it is ready"
cri import "$T/bb.tar" >/dev/null || bail "import"
a=$(cri runp "$(pod a)")
k=$(run "$a" goes-on 'exec sleep 1000')
since() { cri exec "$k" cut -d' ' -f22 /proc/1/stat; }
began=$(since)
inside() { while read -r p; do cat "/proc/$p/comm"; done <"$1/cgroup.procs" | sort -u | xargs; }
for g in "${GROUPS_OF_UNIT[@]}"; do
    like "$(inside "$g")" '^coracle-cri( coracle-unpack)?$' "shims and containers are not in the unit's group ${g%$CGROUP/unit}"
done
sort -u "${GROUPS_OF_UNIT[@]/%//cgroup.procs}" | while read -r p; do kill -9 "$p"; done
wait "$CRI_PID" 2>/dev/null
start_in_unit
is "$(state "$k")" CONTAINER_RUNNING "when everything in that is killed, containers go on"
is "$(since)" "$began" "... the same process, which a restarted daemon drives"
cri rmp "$a"
done_testing
