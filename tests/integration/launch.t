#!/usr/bin/env bash
# Shim and launcher without the daemon: isolation, errors, streams, limits, and who survives whom.
# Runs on v1, hybrid and v2 hosts alike (tests/e2e/uml-launch.t repeats it on pure v2).
. "$(dirname "$0")/../lib/tap.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
[ -x /bin/busybox ] || skip_all "needs busybox-static"

P=$T/pod
C=/coracle-test-$$
LIBEXEC=$B/libexec/coracle
mkdir -p "$P" "$T/logs"

cleanup_cgroups() {
    local d i
    for i in 1 2 3 4 5 6 7 8 9 10; do
        for d in /sys/fs/cgroup"$C" /sys/fs/cgroup/*"$C"; do
            [ -d "$d" ] || continue
            [ "$i" = 1 ] && cat "$d"/*/cgroup.procs 2>/dev/null | while read -r p; do kill -9 "$p"; done
            find "$d" -depth -type d -exec rmdir {} \; 2>/dev/null
        done
        ls -d /sys/fs/cgroup"$C" /sys/fs/cgroup/*"$C" >/dev/null 2>&1 || return 0
        sleep 0.2
    done
}
unmount() { grep -o "$T[^ ]*" /proc/mounts | sort -r | while read -r m; do umount -l "$m"; done; }
at_end cleanup_cgroups
at_end unmount

# The image: busybox, a passwd file, and traps.
L=$T/l0
mkdir -p "$L"/{bin,etc,proc,sys,dev,tmp,var,root}
chmod 1777 "$L/tmp"
cp /bin/busybox "$L/bin/"
for a in sh ls cat id mount ps sleep echo true false head grep stat readlink dd env hostname wc seq \
    mkdir touch kill mknod pwd stty tty od tr awk nproc ulimit test rm umount chroot unshare yes; do
    ln -s busybox "$L/bin/$a"
done
printf 'root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv/web:/bin/sh\n' >"$L/etc/passwd"
printf 'root:x:0:\nwww:x:34:\nextra:x:50:web\n' >"$L/etc/group"
printf 'not a program' >"$L/bin/noexec"
printf '#!/no/interpreter\n' >"$L/bin/badscript" && chmod 755 "$L/bin/badscript"
ln -s /../../../../../../../../.."$T"/outside "$L/escape"
ln -s /run "$L/var/run" # /run is not there
mkdir "$T/outside"

n=0
# A fresh writable layer: $OPTS are the options that name it.
new_layer() {
    n=$((n + 1))
    mkdir -p "$T/u$n" "$T/w$n"
    OPTS="lower=$L upper=$T/u$n work=$T/w$n"
}
drive() { timeout 60 "$B/tests/bin/shim-drive" "$P" "$LIBEXEC" "$C/shims"; }
# pod COMMANDS…: a pod of its own for the commands on standard input; prints what they answer
pod() {
    local out
    out=$({ echo "start 7 hostname=pod1 ${POD:-}"; cat; echo shutdown; echo closed; } | drive 2>&1)
    unmount
    rm -rf "$P"
    mkdir -p "$P"
    printf '%s\n' "$out"
}
content() { sed -E 's/^[^ ]+ [^ ]+ [FP] //' "$1"; } # of a log of whole lines
v2() { [ -e /sys/fs/cgroup/cgroup.controllers ]; }

# ---- isolation ----
new_layer
CG="cgroup=$C/iso memory=67108864 pids=32 shares=512"
out=$(pod <<X
create iso $OPTS log=$T/logs/iso.log $CG shm=$P/shm seccomp -- sh -c 'for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/\$n; done; grep -E "^(Cap|NoNew|Seccomp:)" /proc/self/status; hostname; ls /proc/self/fd | tr "\\n" " "; echo; echo pid \$\$; pwd; echo home \$HOME; cat /proc/1/cgroup; ls /dev; readlink /proc/self/exe; ls / | tr "\\n" " "'
run iso
wait iso
X
)
like "$out" 'exit 0 0 0' "a container runs and exits 0"
log=$(content "$T/logs/iso.log")
for ns in pid net ipc uts mnt cgroup; do
    mine=$(readlink /proc/self/ns/$ns)
    theirs=$(grep "^$ns:" <<<"$log")
    if [ -n "$theirs" ] && [ "$mine" != "$theirs" ]; then pass "its own $ns namespace"; else fail "its own $ns namespace" "$mine $theirs"; fi
done
like "$log" 'CapPrm:.00000000a80425fb.CapEff:.00000000a80425fb.CapBnd:.00000000a80425fb' "default capabilities"
like "$log" 'NoNewPrivs:.0.Seccomp:.2' "a seccomp filter without no_new_privs"
like "$log" $'\npod1\n' "the pod's host name"
like "$log" $'\n0 1 2 [0-9] \n' "no descriptor but the three (and that of ls)"
like "$log" $'\npid 1\n/\nhome /root\n' "PID 1, in /, with HOME from passwd"
like "$log" '0::/'$'\n|:memory:/'$'\n' "its cgroup is the root of what it sees"
unlike "$log" "coracle-test" "and the host's path is not shown"
is "$(grep -c pivot <<<"$log")" 0 "nothing of the host's root is left"

new_layer
out=$(pod <<X
create m $OPTS log=$T/logs/m.log cgroup=$C/m -- sh -c 'ls /sys/firmware | wc -l; cat /proc/timer_list /proc/interrupts | wc -c; (echo 1 >/proc/sys/kernel/panic) 2>&1; mkdir /sys/x; touch /sys/fs/cgroup/x; ls /sys/fs/cgroup; echo ok >/dev/null && echo null works; mount -t tmpfs none /tmp'
run m
wait m
X
)
log=$(content "$T/logs/m.log")
like "$log" ^$'0\n0\n' "masked paths are empty"
is "$(grep -c 'Read-only file system' "$T/logs/m.log")" 3 "read-only paths: sysctls, /sys, cgroups"
like "$log" 'null works' "/dev/null works"
like "$log" "mount: .*(denied|permitted)" "no mounting without the capability"
if v2; then like "$log" 'memory.max' "the container's own cgroup is in /sys/fs/cgroup"
else like "$log" 'memory' "the controllers are in /sys/fs/cgroup"; fi

new_layer
out=$(pod <<X
create u $OPTS log=$T/logs/u.log user=web group=77 nnp seccomp env=A=b env=PATH=/bin cwd=/srv/made ro oom=500 nofile=99 -- sh -c 'id -u; id -G; env; pwd; grep -E "^(CapEff|CapBnd|NoNew)" /proc/self/status; touch /tmp/x; cat /proc/self/oom_score_adj; ulimit -n; echo err >/dev/stderr'
run u
wait u
X
)
like "$out" 'exit 0 0 0' "an unprivileged user runs"
log=$(content "$T/logs/u.log")
like "$log" ^$'33\n34 50 77\n' "user, group and supplementary groups by name"
like "$log" 'HOME=/srv/web' "HOME of the user"
like "$log" $'\n/srv/made\n' "a working directory that was not there is made"
like "$log" 'CapBnd:.00000000a80425fb' "bounding set"
like "$log" 'CapEff:.0000000000000000|CapEff:.00000000a80425fb' "effective set"
like "$log" 'NoNewPrivs:.1' "no_new_privs"
like "$log" "touch: /tmp/x: Read-only" "read-only root"
like "$log" $'\n500\n99\n' "oom_score_adj and a resource limit"
like "$(cut -d' ' -f2- "$T/logs/u.log")" 'stderr F err' "/dev/stderr can be opened by the user"

# ---- what goes wrong is said ----
: >"$T/afile"
declare -A want=(
    [nofile]='127 .*"/bin/nothere": no such file'
    [nopath]='127 .*"nothere": executable file not found in \$PATH'
    [noexec]='126 .*permission denied'
    [script]='127 .*interpreter that it names is missing'
    [nouser]='126 .*user "nobody" is not in the image'
    [mount]='128 .*/no/such/source'
    [mixed]='128 .*source is a file, the target is a directory'
    [layer]='128 .*layer /no/such/layer'
)
declare -A args=(
    [nofile]='-- /bin/nothere' [nopath]='-- nothere' [noexec]='-- /bin/noexec' [script]='-- /bin/badscript'
    [nouser]='user=nobody -- true' [mount]='mount=/no/such/source:/mnt -- true'
    [mixed]="mount=$T/afile:/tmp -- true" [layer]='-- true'
)
for k in nofile nopath noexec script nouser mount mixed layer; do
    new_layer
    [ $k = layer ] && OPTS="lower=/no/such/layer upper=$T/u$n work=$T/w$n"
    out=$(pod <<<"create e $OPTS ${args[$k]}"$'\nrun e\nstate')
    like "$out" "failed -[0-9]+ ${want[$k]}" "error: $k"
done
like "$out" 'e created' "a container that could not start is still there to be removed"

# ---- mounts stay inside ----
new_layer
mkdir -p "$T/vol"
echo data >"$T/vol/f"
out=$(pod <<X
create b $OPTS log=$T/logs/b.log mount=$T/vol:/escape/in mount=$T/vol/f:/etc/one:ro mount=$T/vol:/var/run/secrets:ro mount=$T/vol:/rw -- sh -c 'cat /etc/one /var/run/secrets/f; (echo x >/etc/one) 2>&1; touch /var/run/secrets/y 2>&1; touch /rw/y && echo wrote'
run b
wait b
X
)
like "$out" 'exit 0 0 0' "bind mounts, one through a link that points outside, one through a dangling link"
is "$(ls "$T/outside")" "" "nothing was made outside of the root"
like "$(content "$T/logs/b.log")" ^$'data\ndata\n.*Read-only.*\n.*Read-only.*\nwrote' "contents, read-only and writable"
is "$(ls "$T/vol")" $'f\ny' "and what was written is there"

new_layer
if v2 || [ -d /sys/fs/cgroup/devices ]; then
    out=$(pod <<X
create d $OPTS log=$T/logs/d.log cgroup=$C/d -- sh -c 'mknod /tmp/m c 1 11; head -c1 /tmp/m; mknod /tmp/z c 1 5; head -c1 /dev/zero | wc -c; mknod /tmp/b b 7 0; head -c1 /tmp/b 2>&1'
run d
wait d
X
)
    like "$(content "$T/logs/d.log" | tr -d '\0')" $'1\nhead: /tmp/b: Operation not permitted' "a device that is not allowed cannot be opened"
else
    skip "no devices controller"
fi

# ---- exec ----
new_layer
out=$(pod <<X
create x $OPTS cgroup=$C/x pids=64 memory=67108864 -- sleep 100
run x
exec x e1 cgroup=$C/x seccomp user=web env=E=1 -- sh -c 'echo out; echo err >&2; id -u; echo \$E \$HOME; grep -E "^(Seccomp:|CapBnd)" /proc/self/status; tr "\\0" " " </proc/1/cmdline; ls /proc/self/fd | tr "\\n" " "; exit 9'
exec x e2 cgroup=$C/x -- nothere
exec x e3 cgroup=$C/x tty -- sh -c 'stty size; tty'
exec x e4 cgroup=$C/x -- sh -c 'grep -E "memory|0::" /proc/self/cgroup; hostname; readlink /proc/self/ns/pid; readlink /proc/1/ns/pid'
kill x 9
wait x
exec x e5 -- true
exec y e6 -- true
X
)
like "$out" $'out\nerr\n33\n1 /srv/web\n' "exec: output, user, environment"
like "$out" 'CapBnd:.00000000a80425fb.Seccomp:.2' "exec: confined like the container"
like "$out" $'0 1 2 [0-9] exec-exit 9' "exec: no descriptors leak, exit code"
like "$out" 'failed -2 127 exec "nothere"' "exec: a missing program"
like "$out" $'30 100\r\n/dev/pts/[01]\r\nexec-exit 0' "exec with a terminal"
like "$out" $':/\npod1\n' "exec: in the cgroup and the namespaces of the container"
like "$out" $'exit 137 9 0\n' "a killed container reports 137"
like "$out" 'failed -3 .*x is not running' "exec in a container that has ended"
like "$out" 'failed -2 .*no container y' "exec in a container that is not there"

# The launcher's own descriptors lead to the host's directories: no name may go through them.
new_layer
mkdir "$L/rootonly" && chmod 700 "$L/rootonly"
out=$(pod <<X
$(for i in $(seq 3 24); do
    printf 'create w%d %s cwd=/proc/self/fd/%d -- true\nrun w%d\n' "$i" "$OPTS" "$i" "$i"
    printf 'create p%d %s -- /proc/self/fd/%d/../../../../../../../../../../../bin/true\nrun p%d\n' "$i" "$OPTS" "$i" "$i"
done)
create c1 $OPTS cwd=/proc/self/cwd -- true
run c1
create c2 $OPTS cwd=/proc/1/root -- true
run c2
create ro $OPTS cwd=/rootonly user=web log=$T/logs/ro.log -- sh -c 'pwd; ls . 2>&1'
run ro
wait ro
X
)
is "$(grep -c started <<<"$out")" 1 "neither a working directory nor a program is reached through the launcher's descriptors" || diag "$out"
is "$(grep -c 'failed.*working directory' <<<"$out")" 24 "... which is said"
like "$(content "$T/logs/ro.log")" ^$'/rootonly\n.*denied' "a working directory that is open to root alone"

# The launcher's file is the host's: a container that makes the launcher execute itself, and writes to
# the executable of every process it sees, must not reach it.
before=$(sha256sum <"$LIBEXEC/coracle-launch")
new_layer
out=$(pod <<X
create ex $OPTS log=$T/logs/ex.log -- sh -c 'while true; do for p in /proc/[0-9]*; do case \$p in /proc/1|/proc/self) ;; *) (echo x >>\$p/exe) ;; esac; done; done 2>/dev/null'
run ex
$(for i in $(seq 1 30); do echo "exec ex e$i -- /proc/self/exe create"; done)
kill ex 9
wait ex
X
)
if readelf -l "$LIBEXEC/coracle-launch" | grep -q INTERP; then skip "this build's launcher is dynamic (sanitizers) and does not run inside"
else is "$(grep -c 'exec-exit 128' <<<"$out")" 30 "the launcher executed inside, out of place, ends at once"; fi
is "$(sha256sum <"$LIBEXEC/coracle-launch")" "$before" "and cannot be written to from there"

# ---- streams ----
new_layer
out=$(pod <<X
create i $OPTS log=$T/logs/i.log once -- cat
run i
attach i 'hello stdin' 20000
wait i
X
)
like "$out" $'hello stdin\nattach-end eof\nexit 0 0 0' "attach: input reaches the container, output comes back"
is "$(content "$T/logs/i.log")" "hello stdin" "and the log"
new_layer
out=$(pod <<X
create t $OPTS log=$T/logs/t.log tty stdin -- sh -c 'tty; stty size; read x; echo got \$x; ls -l /dev/console | wc -l'
run t
attach t 'line' 20000
wait t
X
)
like "$out" $'got line' "a container with a terminal"
like "$(content "$T/logs/t.log")" $'/dev/pts/0\r.*30 100\r' "its size and name"

new_layer
out=$(pod <<X
create l $OPTS log=$T/logs/l.log -- sh -c 'seq 1 60000; head -c 50000 /dev/zero | tr "\\0" x; echo; printf end'
create e $OPTS log=$T/logs/e.log -- sh -c 'true'
run l
sleep 20
reopen l
attach-stuck l
wait l
X
)
if [ "$(content "$T/logs/l.log" | head -60000)" = "$(seq 1 60000)" ]; then pass "60000 lines, each once and in order"; else fail "60000 lines, each once and in order"; fi
is "$(tail -n +60001 "$T/logs/l.log" | sed -E 's/^[^ ]+ ([^ ]+ [FP]) (.).*/\1 \2/' | tr '\n' ,)" \
    "stdout P x,stdout P x,stdout P x,stdout F x,stdout P e," "a long line is split, an open end is partial"
is "$(tail -n +60001 "$T/logs/l.log" | grep -v ' P end' | sed -E 's/^[^ ]+ [^ ]+ [FP] //' | tr -d '\n' | wc -c)" 50000 "with every byte"
is "$(grep -cvE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}Z std(out|err) [FP] ' "$T/logs/l.log")" 0 "every record is well formed"
new_layer
out=$(pod <<X
create s $OPTS log=$T/logs/s.log -- sh -c 'sleep 0.3; seq 1 200000; echo done >&2'
run s
attach-stuck s
wait s
X
)
is "$(tail -1 "$T/logs/s.log" | cut -d' ' -f2-)" "stderr F done" "a client that does not read holds nothing up"
is "$(grep -c stdout "$T/logs/s.log")" 200000 "and the log is whole"

new_layer
out=$({ cat <<X
start 7
create r $OPTS log=$T/logs/r.log -- sh -c 'for i in 1 2 3 4 5 6; do echo \$i; sleep 0.3; done'
run r
X
    eventually 30 grep -q ' F 3' "$T/logs/r.log"
    mv "$T/logs/r.log" "$T/logs/r.log.1"
    printf 'reopen r\nwait r\nshutdown\nclosed\n'; } | drive)
is "$(content "$T/logs/r.log.1")$(content "$T/logs/r.log" | tr '\n' ' ' | sed 's/^/ /;s/ $//' | tr ' ' '\n')" "$(seq 1 6)" "a rotated log continues in the new file"
unmount; rm -rf "$P"; mkdir -p "$P"

new_layer
mkdir -p "$T/small"
mount -t tmpfs -o size=64k tmpfs "$T/small"
out=$(drive <<X
start 7
create f $OPTS log=$T/small/f.log -- sh -c 'seq 1 50000; echo done >&2; exit 4'
run f
wait f
shutdown
closed
X
)
like "$out" 'exit 4 0 0' "a full disk holds no container up"
is "$(tail -c1 "$T/small/f.log" | od -An -c | tr -d ' ')" '\n' "its log ends with a whole record"
is "$(grep -cvE '^[0-9T:.-]{29}Z std(out|err) F ([0-9]+|done)$' "$T/small/f.log")" 0 "and has no torn one"
unmount; rm -rf "$P"; mkdir -p "$P"
new_layer
mkdir -p "$T/rot"
out=$(pod <<X
create ro $OPTS log=$T/rot/0.log log-max=20000 -- sh -c 'seq 1 400; sleep 1.1; seq 401 800; sleep 1.1; seq 801 1200'
run ro
wait ro
X
)
is "$(find "$T/rot" -size +20000c | wc -l)" 0 "a log is rotated when it would grow beyond its limit"
is "$(cd "$T/rot" && ls | sed -E 's/[0-9]{8}-[0-9]{6}/TIME/' | tr '\n' ' ')" "0.log 0.log.TIME " "in the kubelet's form, the old ones removed"
is "$(tail -qn1 "$T/rot/0.log" | cut -d' ' -f4)" 1200 "and goes on"

# ---- limits ----
limit_file() { # controller v1-file v2-file
    if v2; then cat "/sys/fs/cgroup$C/lim/$3"; else cat "/sys/fs/cgroup/$1$C/lim/$2"; fi
}
has() { if v2; then grep -qw "$1" /sys/fs/cgroup/cgroup.controllers; else [ -d "/sys/fs/cgroup/$1" ]; fi; }
new_layer
if has memory && has pids; then
    out=$(pod <<X
create lim $OPTS log=$T/logs/lim.log cgroup=$C/lim memory=33554432 pids=10 -- sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 2 & done; wait'
run lim
wait lim
create oom $OPTS cgroup=$C/oom memory=16777216 -- sh -c 'x=0123456789; while true; do x=\$x\$x; done'
X
)
    is "$(limit_file memory memory.limit_in_bytes memory.max)" 33554432 "the memory limit is set"
    is "$(limit_file pids pids.max pids.max)" 10 "the pids limit is set"
    like "$(content "$T/logs/lim.log")" "can't fork" "and holds"
    new_layer
    out=$(pod <<X
create oom $OPTS cgroup=$C/oom memory=16777216 -- sh -c 'x=0123456789; while true; do x=\$x\$x; done'
run oom
wait oom
state
X
)
    like "$out" $'exit 137 9 1\n' "a container that is out of memory is killed, and says why"
else
    skip "no memory and pids controllers"
fi

# ---- who survives whom ----
new_layer
out=$(drive <<X
start 7
create a $OPTS -- sleep 100
run a
X
)
like "$out" 'started' "a container is left running by a client that ends"
new_layer
out=$(drive <<X
connect
state
create b $OPTS log=$T/logs/sb.log -- sh -c 'sleep 0.5; exit 5'
run b
X
)
like "$out" $'connected [0-9]+\na running 0 1\ncreated\nstarted' "another client finds it, and goes on"
b_exited() { drive <<<$'connect\nstate' | grep 'b exited 5 0'; }
ok "an exit that nobody saw is known" eventually 20 b_exited
shim=$(cut -d' ' -f1 "$P/shim.pid")
cpid=$(cat "/proc/$shim/task/$shim/children")
{ printf 'connect\nstate\nwait a\nclosed\n'; eventually 30 grep -q 'a running' "$T/watcher"; kill -9 "$shim"; } | drive >"$T/watcher"
out=$(cat "$T/watcher")
like "$out" 'closed ended' "the end of the shim is noticed"
eventually 20 sh -c "! grep -qs 'State:.[^Z]' /proc/$cpid/status" && pass "and its container has died with it" || fail "and its container has died with it"
is "$(drive <<<connect | cut -d' ' -f1,2)" "failed -111" "a dead shim cannot be connected to"
is "$(ls "$P/state" | tr '\n' ' ')" "a b " "its state files tell what there was"
unmount; rm -rf "$P"; mkdir -p "$P"

# ---- odds and ends ----
new_layer
mkdir -p "$T/u${n}b" "$T/w${n}b"
out=$(POD=share-pid pod <<X
create p1 $OPTS pid=pod -- sleep 100
run p1
create p2 lower=$L upper=$T/u${n}b work=$T/w${n}b pid=pod log=$T/logs/p2.log -- sh -c 'ps; ls -l /proc/1/root/ /proc/1/fd; kill -9 1; exit 0'
run p2
wait p2
state
X
)
log=$(content "$T/logs/p2.log")
like "$log" 'coracle-init' "a shared PID namespace: its first process is coracle-init"
like "$log" 'sleep 100' "and containers see each other"
like "$log" 'ls: /proc/1/(root|fd)/?: ?.*(Permission denied|cannot)' "nothing can be taken from it"
like "$out" 'p1 running 0 1' "one container's end leaves the other alone"

new_layer
out=$(pod <<X
create pn $OPTS pid=node log=$T/logs/pn.log cgroup=$C/pn -- sh -c 'readlink /proc/self/ns/pid; sleep 300 & exit 3'
run pn
wait pn
X
)
is "$(content "$T/logs/pn.log")" "$(readlink /proc/self/ns/pid)" "the node's PID namespace, where it was asked for"
like "$out" 'exit 3 0 0' "its exit code"
pn_empty() { [ -z "$(cat /sys/fs/cgroup"$C"/pn/cgroup.procs /sys/fs/cgroup/*"$C"/pn/cgroup.procs 2>/dev/null)" ]; }
ok "and what it leaves behind is killed" eventually 20 pn_empty

new_layer
layers=""
for i in $(seq 1 126); do
    mkdir -p "$T/layers/$(printf 'a-rather-long-name-of-a-layer-directory-%0120d' "$i")"
    layers="$T/layers/$(printf 'a-rather-long-name-of-a-layer-directory-%0120d' "$i"):$layers"
done
out=$(pod <<<"create ly lower=$layers$L upper=$T/u$n work=$T/w$n log=$T/logs/ly.log -- sh -c 'ls /bin/busybox'"$'\nrun ly\nwait ly')
like "$out" 'exit 0' "127 layers"

new_layer
out=$(pod <<X
create pv $OPTS log=$T/logs/pv.log privileged caps=all -- sh -c 'mount -t tmpfs none /tmp && echo mounted; ls /dev | wc -l; (echo 1 >/proc/sys/net/ipv4/ip_forward) && echo sysctl'
run pv
wait pv
X
)
like "$(content "$T/logs/pv.log")" $'mounted\n[0-9]{2,}\nsysctl' "a privileged container"

new_layer
mkdir -p "$T/prop" "$T/alone"
mount -t tmpfs tmpfs "$T/prop" && mount --make-shared "$T/prop" && mkdir "$T/prop/a" "$T/prop/b"
mount -t tmpfs tmpfs "$T/alone" && mount --make-private "$T/alone"
P2=$T/pod2
mkdir -p "$P2"
out=$({ cat <<X
start 7
create pr $OPTS log=$T/logs/pr.log privileged caps=all mount=$T/prop:/both:shared mount=$T/prop:/in:slave mount=$T/prop:/none -- sh -c 'mount -t tmpfs none /both/a && touch /both/a/f; mount -t tmpfs none /none/b; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do [ -e /in/b/g ] || sleep 0.5; done; ls /both/b /in/b /none/a'
run pr
X
    eventually 20 test -e "$T/prop/a/f" && echo >"$T/seen"
    sleep 0.2 # for the mount that must not come
    grep -c " $T/prop/b " /proc/mounts >"$T/leaked"
    mount -t tmpfs tmpfs "$T/prop/b" && touch "$T/prop/b/g"
    printf 'wait pr\ncreate al %s mount=%s:/x:slave -- true\nrun al\nshutdown\nclosed\n' "$OPTS" "$T/alone"; } |
    timeout 60 "$B/tests/bin/shim-drive" "$P2" "$LIBEXEC" "$C/shims" 2>&1)
if [ -e "$T/seen" ]; then pass "Bidirectional: the host sees what is mounted inside"; else fail "Bidirectional: the host sees what is mounted inside" "$out"; fi
is "$(cat "$T/leaked")" 0 "None: the host does not"
like "$(content "$T/logs/pr.log")" $'/both/b:\ng\n\n/in/b:\ng\n\n/none/a:$' "and both directions, and none, seen from inside"
like "$out" 'failed -22 128 .*not on a shared mount' "propagation that the source cannot give is refused"
unmount

new_layer
out=$(POD="sysctl=net.ipv4.ip_unprivileged_port_start=80" pod <<X
create sc $OPTS log=$T/logs/sc.log -- sh -c 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start; cat /proc/net/dev | grep -c lo:; cat /sys/class/net/lo/operstate'
run sc
wait sc
X
)
like "$(content "$T/logs/sc.log")" $'^80\n1\nunknown' "a pod's sysctl, and its loopback interface is up"
out=$(echo "start 7 sysctl=net.ipv4.no_such_thing=1" | drive)
like "$out" 'failed -2 .*no_such_thing' "a sysctl that is not there is refused with its name"
is "$(grep -c "$P" /proc/mounts)" 0 "and the shim that failed leaves no mount"
unmount; rm -rf "$P"; mkdir -p "$P"

is "$(grep -c "$T" /proc/mounts)" 0 "no mount is left"
cleanup_cgroups
if ls -d /sys/fs/cgroup"$C" /sys/fs/cgroup/*"$C" >/dev/null 2>&1; then fail "no cgroup is left"; else pass "no cgroup is left"; fi
done_testing
