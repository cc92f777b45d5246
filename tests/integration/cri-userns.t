#!/usr/bin/env bash
# Pods with a user namespace of their own. CORACLE_TEST_DIR: where the runtime keeps its files, on a
# file system that can map ids (tests/e2e/uml-userns.t runs this on Linux 6.1).
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
[ -e /proc/self/ns/user ] || skip_all "this kernel has no user namespaces"
R=${CORACLE_TEST_DIR:-$T}/r
export CRI_SOCKET=$R/run/coracle/cri.sock
cri_setup
chmod 711 "$T" # the container's root is nobody outside
busybox_root "$T/bb"
install -m 755 "$B/tests/image/inspect" "$T/bb/bin/capable"
setcap cap_net_admin+ep "$T/bb/bin/capable" || bail "no file capabilities"
install -m 4755 "$B/tests/image/inspect" "$T/bb/bin/setuid"
mkdir -m 700 "$T/bb/secret" && echo inside >"$T/bb/secret/file"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"]}'
cri_start
cri import "$T/bb.tar" >/dev/null
if [ "$(cri status | jq -r '.runtime_handlers[0].features.user_namespaces')" != true ]; then
    diag "$(grep "no user namespaces" "$T/cri.log")"
    like "$(cri runp "$(pod a '.linux.security_context.namespace_options.userns_options={mode:"POD",uids:[{host_id:131072,container_id:0,length:65536}],gids:[{host_id:131072,container_id:0,length:65536}]}')" 2>&1)" \
        "no user namespaces here: .*" "a host that cannot says why"
    done_testing
    exit
fi
pass "the runtime's status says that it can"

MAP='{mode:"POD",uids:[{host_id:131072,container_id:0,length:65536}],gids:[{host_id:196608,container_id:0,length:65536}]}'
upod() { pod "$1" ".linux.security_context.namespace_options.userns_options=$MAP | ${2:-.}"; }
# urun POD NAME COMMAND [JQ]
urun() { run "$1" "$2" "$3" ".linux.security_context.namespace_options.userns_options=$MAP | ${4:-.}"; }
ucreate() { cri create "$1" "$(container "$2" true ".linux.security_context.namespace_options.userns_options=$MAP | ${3:-.}")" 2>&1; }
bad() { # JQ FIELD DESCRIPTION
    like "$(cri runp "$(upod x ".linux.security_context.namespace_options.userns_options |= ($1)")" 2>&1)" "INVALID_ARGUMENT.*$2" "$3"
}

# ---- what is refused ----
bad '.uids=[]' 'userns_options.uids: 0 mappings' "no mapping"
bad '.gids += .gids' 'userns_options.gids: 2 mappings' "two mappings"
bad '.uids[0].host_id=1000' 'uids\[0\].host_id: 1000' "ids of the host's own users"
bad '.uids[0].container_id=1' 'uids\[0\].container_id: 1' "a range that does not begin at 0"
bad '.gids[0].length=1000' 'gids\[0\].length: 1000' "a range that is too short"
bad '.uids[0].host_id=4294940000' 'uids\[0\].length' "a range past the end"
bad '.mode="CONTAINER"' 'userns_options.mode' "a mode that is none"
bad '.mode="NODE"' 'NODE takes no mappings' "mappings for the host's"
for ns in network pid ipc; do
    like "$(cri runp "$(upod x ".linux.security_context.namespace_options.$ns=\"NODE\"")" 2>&1)" "INVALID_ARGUMENT.*$ns: NODE" "not with the host's $ns namespace"
done
is "$(cri pods | jq '.items | length')" 0 "nothing of these is left"

# ---- a pod ----
a=$(cri runp "$(upod a '.linux.security_context.privileged=true')")
dir=$R/run/coracle/sandboxes/$a
is "$(cri inspectp "$a" | jq -c '.status.linux.namespaces.options.userns_options.uids[0].host_id')" 131072 "the status tells the mapping"
ns=$(stat -Lc %i "$dir/ns/user")
for n in net ipc uts; do
    owner=$(python3 - "$dir/ns/$n" <<'P'
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
print(os.fstat(fcntl.ioctl(fd, 0xb701)).st_ino)  # NS_GET_USERNS
P
    )
    is "$owner" "$ns" "the pod's $n namespace belongs to its user namespace"
done
k=$(urun "$a" one 'exec sleep 1000')
like "$(cri exec "$k" cat /proc/self/uid_map)" '^ +0 +131072 +65536$' "user ids"
like "$(cri exec "$k" cat /proc/self/gid_map)" '^ +0 +196608 +65536$' "group ids"
pid=$(cri inspect "$k" | jq -r .info.info | jq -r .pid)
is "$(awk '/^Uid|^Gid/{print $2}' "/proc/$pid/status" | xargs)" "131072 196608" "root inside is somebody else outside"
is "$(field "$k" user.linux | jq -c '[.uid // 0, .gid // 0]')" "[0,0]" "... and the status tells the inside"
for n in mnt pid cgroup; do
    ok "the container's $n namespace is its own" test "$(readlink "/proc/$pid/ns/$n")" != "$(readlink "/proc/self/ns/$n")"
done
is "$(cri exec "$k" readlink /proc/1/exe)" /bin/busybox "it is the first process of its PID namespace"
is "$(cri exec "$k" stat -c '%u %g %a %n' /bin /secret /dev /dev/null /dev/pts /dev/shm /etc/hosts /etc/resolv.conf | xargs -n4 | sed 's, /, ,')" \
    $'0 0 755 bin\n0 0 700 secret\n0 0 755 dev\n0 0 666 dev/null\n0 0 755 dev/pts\n0 0 1777 dev/shm\n0 0 644 etc/hosts\n0 0 644 etc/resolv.conf' "the image's owners are those of the image, and /dev is its root's"
ok "its root may do what root does with the image's files" cri exec "$k" sh -c 'cat /secret/file && chown 1000 /secret/file && rm -r /www && mkdir -p /new/dir'
upper=$R/var/lib/coracle/containers/$k/upper
is "$(stat -c '%u %g' "$upper/new" "$upper/secret/file" | xargs)" "131072 196608 132072 196608" "... and outside those belong to the mapped ids"
ok "/etc/hosts and resolv.conf can be written" cri exec "$k" sh -c 'echo "1.2.3.4 four" >>/etc/hosts && echo "# x" >>/etc/resolv.conf && cat /etc/hostname'
like "$(cri exec "$k" grep CapEff /proc/self/status)" 00000000a80425fb "the default capabilities, in the namespace"
like "$(cri exec "$k" sh -c 'echo 1 >/proc/sys/kernel/panic; hostname other; mknod /m c 1 5; echo $$ >/sys/fs/cgroup/cgroup.procs; date -s 2001-01-01' 2>&1 | grep -ciE 'denied|permitted|read-only|not found')" "[45]" "nothing of the host's can be changed"
is "$(cri exec "$k" sh -c 'echo out >/dev/stdout; echo ok >/dev/null; id -u')" $'out\n0' "streams and devices can be opened"
like "$(printf 'tty\nid -u\nexit 3\n' | cri stream -i -t "$k" sh; echo "status $?")" "/dev/pts/0.*0.*status 3" "a terminal"
u=$(urun "$a" alice 'cat /proc/self/status; id; echo >/tmp/f; echo err >/dev/stderr; exec sleep 1000' '.linux.security_context |= . + {run_as_username:"alice", supplemental_groups:[77]}')
like "$(eventually 5 grep -q ' err' "$T/logs/a/alice/0.log"; output "$u")" "uid=1000\(alice\) gid=1000\(alice\) groups=50\(staff\),77,1000\(alice\)" "a user of the image"
is "$(field "$u" user.linux | jq -c '[.uid, .gid, .supplemental_groups]')" "[1000,1000,[50,77,1000]]" "... which the status tells, as inside"
is "$(stat -c '%u' "$R/var/lib/coracle/containers/$u/upper/tmp/f")" 132072 "... and outside it is the mapped id's"
is "$(cri exec "$u" setuid ids)" "1000 0 1000 1000" "a set-user-ID program of the image works"
c=$(urun "$a" caps 'exec sleep 1000' '.linux.security_context |= . + {run_as_user:{value:1000}, capabilities:{add_capabilities:["NET_ADMIN"]}}')
is "$(cri exec "$c" capable caps)" "0000000000001000" "a program's capability of the image works"
p=$(urun "$a" privileged 'exec sleep 1000' '.linux.security_context.privileged=true')
is "$(cri exec "$p" sh -c 'mount -t tmpfs none /mnt 2>/dev/null || { mkdir -p /mnt && mount -t tmpfs none /mnt; }; grep -c " /mnt tmpfs" /proc/mounts')" 1 "a privileged container mounts in its own namespace"
like "$(cri exec "$p" sh -c 'head -c1 /dev/loop0; head -c1 /dev/kmsg; echo 1 >/proc/sys/vm/drop_caches' 2>&1 | grep -ciE 'denied|permitted|No such')" 3 "... and has none of the host's devices and settings"
ok "the pod's network is its own to configure" cri exec "$p" ip link add name dummy0x type bridge

# ---- volumes ----
mkdir "$T/vol" && echo data >"$T/vol/file" && chmod 700 "$T/vol"
mkdir "$T/plain" && chown 131072 "$T/plain"
mkdir -p "$T/ram" && mount -t ramfs ramfs "$T/ram" && at_end umount "$T/ram"
MM='uidMappings:[{host_id:131072,container_id:0,length:65536}],gidMappings:[{host_id:196608,container_id:0,length:65536}]'
v=$(urun "$a" vol 'exec sleep 1000' '.mounts=[{container_path:"/vol",host_path:"'"$T/vol"'",'"$MM"'},{container_path:"/ro",host_path:"'"$T/vol"'",readonly:true,'"$MM"'},{container_path:"/plain",host_path:"'"$T/plain"'"}]')
is "$(cri exec "$v" sh -c 'cat /vol/file; stat -c "%u %g" /vol; echo more >/vol/new; touch /plain/f; (echo no >/ro/no) 2>/dev/null; id -u')" $'data\n0 0\n0' "a mapped volume is its root's"
is "$(stat -c '%u %g' "$T/vol/new") $(stat -c '%u %g' "$T/plain/f")" "0 0 131072 196608" "... what it writes there is root's on disk, in one that is not mapped it is not"
ok "... and nothing where it is read-only" test ! -e "$T/vol/no"
like "$(ucreate "$a" badmap '.mounts=[{container_path:"/x",host_path:"/tmp",uidMappings:[{host_id:131072,container_id:0,length:65536}]}]')" 'mounts\[0\].gidMappings: 0 mappings' "half a mapping is refused"
like "$(ucreate "$a" othermap '.mounts=[{container_path:"/x",host_path:"/tmp",uidMappings:[{host_id:262144,container_id:0,length:65536}],gidMappings:[{host_id:262144,container_id:0,length:65536}]}]')" 'mounts\[0\].uidMappings: not those of the pod' "another mapping than the pod's is refused"
like "$(cri start "$(ucreate "$a" ram '.mounts=[{container_path:"/x",host_path:"'"$T/ram"'",'"$MM"'}]')" 2>&1)" "mount /x: .*$T/ram is on a ramfs file system, on which Linux [0-9.a-z-]+ cannot map ids" "a file system that cannot map ids fails the container, with that reason"
like "$(cri create "$a" "$(container other true '.linux.security_context.namespace_options.userns_options={mode:"NODE"}')" 2>&1)" "INVALID_ARGUMENT.*userns_options: not the user namespace of the sandbox" "a container of another user namespace is refused"
like "$(ucreate "$a" hostpid '.linux.security_context.namespace_options.pid="NODE"')" "INVALID_ARGUMENT.*pid: NODE" "... and one in the host's PID namespace"

# ---- a shared PID namespace, and one container in another's ----
b=$(cri runp "$(upod b '.linux.security_context.namespace_options.pid="POD"')")
b1=$(urun "$b" one 'exec sleep 1001' '.linux.security_context.namespace_options.pid="POD"')
b2=$(urun "$b" two 'exec sleep 1002' '.linux.security_context.namespace_options.pid="POD"')
like "$(cri exec "$b1" ps)" "1 .*coracle-init.*sleep 1001.*sleep 1002" "a shared PID namespace"
is "$(cri exec "$b1" cat /proc/1/uid_map | xargs)" "0 131072 65536" "... its first process is in the pod's user namespace"
t=$(urun "$a" target 'exec sleep 1003' '.linux.security_context.namespace_options |= . + {pid:"TARGET",target_id:"'"$k"'"}')
like "$(cri exec "$t" ps)" "1 .*sleep 1000.*sleep 1003" "one in the PID namespace of another"

# ---- ends, restarts ----
e=$(urun "$a" ends 'exit 7')
ok "a container ends" eventually 5 is_state "$e" EXITED
is "$(field "$e" exit_code)" 7 "... with its exit code"
like "$(cri start "$(ucreate "$a" nocmd '.command=["/no/such"]')" 2>&1)" "no/such" "an error of the last step is told"
q=$(urun "$a" quick 'exec sleep 1000')
ok "stop" cri stop "$q" 1
is "$(field "$q" exit_code)" 137 "a container without a handler is killed"
cri_kill9
ok "the container outlives the daemon" kill -0 "$pid"
cri_start
is "$(cri inspect "$k" | jq -r .info.info | jq -r .pid)" "$pid" "a restarted daemon adopts it"
is "$(cri exec "$k" cat /proc/self/uid_map | xargs)" "0 131072 65536" "... and executes in it"
n=$(urun "$a" later 'exec sleep 1000')
is "$(cri exec "$n" sh -c 'cat /proc/self/uid_map; readlink /proc/self/ns/user' | xargs)" "0 131072 65536 user:[$ns]" "a container made after the restart is in the same namespace"
b2pid=$(cri inspect "$b2" | jq -r .info.info | jq -r .pid)
kill -9 "$(cri inspectp "$b" | jq -r .info.info | jq -r .pid)"
ok "a killed shim: its container is reported" eventually 5 is_state "$b2" EXITED
ok "... and dead" eventually 5 bash -c "! kill -0 $b2pid 2>/dev/null"

for x in $a $b; do cri rmp "$x" || fail "cannot remove $x"; done
is "$(grep -c "$R/" /proc/self/mountinfo)" 0 "no mount is left"
ok "no layer is left" eventually 5 bash -c "[ -z \"\$(ls '$R/var/lib/coracle/containers')\" ]"
is "$(pgrep -fc "coracle-(shim|init|launch).*$R/")" 0 "no process is left"
is "$(ls "$R/run/coracle/sandboxes")" "" "no state is left"
cri_stop
is "$(grep -cE 'Sanitizer|runtime error|Assertion' "$T/cri.log")" 0 "nothing found by sanitizers" || diag "$(grep -A30 -E 'Sanitizer|runtime error' "$T/cri.log" | head -60)"
done_testing
