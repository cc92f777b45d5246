#!/usr/bin/env bash
# User namespaces of pods on Linux 6.1 with cgroup v2 alone: where files are on tmpfs, which cannot map
# ids there, and on ext4, which can. Without the daemon, which integration/cri-userns.t covers: User Mode
# Linux is slow.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
command -v linux.uml >/dev/null || { echo "1..0 # SKIP needs user-mode-linux"; exit 0; }
[ "${1:-}" = inside ] || exec "$TOP/tests/lib/uml" -t 900 -k loop bash "$0" inside
. "$TOP/tests/lib/tap.sh"
LIBEXEC=$B/libexec/coracle
chmod 711 "$T"
D=$T/ext4 # the layers
mkdir "$D" "$T/pod" "$T/vol" "$T/logs"
truncate -s 64M "$T/disk" && mkfs.ext4 -q "$T/disk" && mount -o loop "$T/disk" "$D" || bail "no ext4"
at_end umount "$D"
mkdir -p "$D"/{l0/bin,l1,vol,w,u} && chown 100000:100000 "$D/u"
cp /bin/busybox "$D/l0/bin/busybox"
for a in sh id cat stat touch sleep; do ln -s busybox "$D/l0/bin/$a"; done

like "$("$LIBEXEC/coracle-launch" probe "$T/vol" "$T/logs" 2>&1)" '^layer: .*/vol is on a tmpfs file system, on which Linux 6\.1.* cannot map ids \(from 6\.3 on it can\)' "the probe says that layers on tmpfs cannot be mapped, and why"
ok "... and that those on ext4 can" "$LIBEXEC/coracle-launch" probe "$D/l0" "$D/l1"
cat >"$T/commands" <<X
start 7 userns=100000 share-pid
create a userns=100000 lower=$D/l1:$D/l0 upper=$D/u work=$D/w log=$T/logs/a.log shm=$T/pod/shm cgroup=/coracle-test/a mount=$D/vol:/vol:idmap -- sh -c 'id -u; cat /proc/self/uid_map; touch /f /vol/f /dev/shm/x; stat -c "%u %n" /bin /vol/f /dev/null; touch /vol/done; sleep 100'
run a
exec a e1 userns=100000 cgroup=/coracle-test/a -- sh -c 'until [ -e /vol/done ]; do sleep 0.1; done; cat /proc/self/uid_map; exit 9'
create p userns=100000 lower=$D/l1:$D/l0 upper=$D/u work=$D/w pid=pod -- sh -c 'cat /proc/1/comm; exit 4'
kill a 9
wait a
run p
wait p
create t userns=100000 lower=$D/l1:$D/l0 upper=$D/u work=$D/w mount=$T/vol:/vol:idmap -- true
run t
shutdown
closed
X
out=$(timeout 120 "$B/tests/bin/shim-drive" "$T/pod" "$LIBEXEC" /coracle-test/shims <"$T/commands" 2>&1)
diag "$out"
log=$(sed -E 's/^[^ ]+ [^ ]+ [FP] //' "$T/logs/a.log")
like "$log" $'^0\n +0 +100000 +65536\n0 /bin\n0 /vol/f\n0 /dev/null' "root inside, the owners of mapped layers and volumes"
is "$(stat -c %u "$D/u/f" "$D/vol/f" "$T/pod/shm/x" | xargs)" "100000 0 100000" "... and outside"
like "$out" $' +0 +100000 +65536\nexec-exit 9' "exec joins it"
like "$out" $'exit 137 9 0' "its process is known and killed"
like "$out" $'exit 4 0 0' "a shared PID namespace"
like "$out" "failed -[0-9]+ 128 mount /vol: $T/vol is on a tmpfs file system, on which Linux 6.1.* cannot map ids" "a volume on tmpfs fails the container with that reason"
at_end sh -c "sed -n 's,^[^ ]* \($T/pod/[^ ]*\).*,\1,p' /proc/mounts | xargs -r umount -l"
done_testing
