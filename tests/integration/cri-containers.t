#!/usr/bin/env bash
# Containers as the CRI describes them: mounts, users, privileges, namespaces. cri.t has their life.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
cri_setup
chmod 711 "$T"
busybox_root "$T/bb"
install -m 4755 "$B/tests/image/inspect" "$T/bb/bin/inspect"
ln -s /tmp "$T/bb/link"
mkdir "$T/bb/masked" && touch "$T/bb/masked/file" "$T/bb/afile"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin","FROM=image","BOTH=image"],"User":"alice:staff","StopSignal":"SIGUSR1"}'
# An image of two layers, to be mounted: the upper one hides and adds; links try to leave.
mkdir -p "$T"/v1/{dir/sub,gone} "$T"/v2/dir
echo lower >"$T/v1/dir/a" && echo lower >"$T/v1/dir/b" && echo x >"$T/v1/gone/x" && cp /bin/busybox "$T/v1/dir/sub/program"
echo upper >"$T/v2/dir/b" && touch "$T/v2/.wh.gone"
ln -s ../../../../../../../../../.. "$T/v2/up" && ln -s /dir "$T/v2/abs" && ln -s /etc "$T/v2/etc" && ln -s /proc/self/root "$T/v2/magic"
make_image "$T/v.tar" localhost/volume:1 "$T/v1" '{}' "$T/v2"
make_image "$T/one.tar" localhost/one:1 "$T/v1"
for d in proc sys; do
    mkdir "$T/$d-link" && ln -s /tmp "$T/$d-link/$d"
    make_image "$T/$d.tar" localhost/$d-link:1 "$T/bb" '{"Env":["PATH=/bin"]}' "$T/$d-link"
done
cri_start
for i in bb v one; do cri_import "$T/$i.tar" >/dev/null || bail "import $i"; done
a=$(cri runp "$(pod a '.linux.security_context.privileged=true')")
USER0='.linux.security_context.run_as_user={value:0}'
# What a peer refuses when the container is made or not before it starts, and in which words, is its own.
denied() { # DESCRIPTION
    local id
    if ! id=$(cri create "$a" "$T/config" 2>&1) || ! cri start "$id" >/dev/null 2>&1; then pass "$1"; else fail "$1"; fi
    cri rm "$(cri ps '{"label_selector":{"c":"x"}}' | jq -r '.containers[0].id // "none"')" 2>/dev/null
}
refused() { # JQ REGEX DESCRIPTION: a container that is not created
    ours || { container x true "$1" >"$T/config"; denied "$3"; return; }
    like "$(container x true "$1" >"$T/config"; cri create "$a" "$T/config" 2>&1)" "$2" "$3"
}
fails() { # JQ REGEX DESCRIPTION: one that does not start
    local id
    ours || { container x true "$1" >"$T/config"; denied "$3"; return; }
    container fails true "$1" >"$T/config"
    id=$(cri create "$a" "$T/config" 2>&1) || { fail "$3" "$id"; return; }
    like "$(cri start "$id" 2>&1)" "$2" "$3"
    cri rm "$id"
}

# ---- images as volumes: later than the peer ----
if ours; then
V='container_path:"/v",readonly:true,image:{image:"localhost/volume:1"}'
v=$(run "$a" volume 'exec sleep 1000' "$USER0"' | .mounts=[{'"$V"'},{'"${V/\/v/\/sub}"',image_sub_path:"dir/sub"},{'"${V/\/v/\/abs}"',image_sub_path:"abs"},{'"${V/\/v/\/up}"',image_sub_path:"up"},{container_path:"/one",readonly:true,image:{image:"localhost/one:1"}},{container_path:"/self",readonly:true,image:{image:"localhost/bb:1"}}]')
is "$(cri exec "$v" sh -c 'cat /v/dir/a /v/dir/b; ls /v /one')" $'lower\nupper\n/one:\ndir\ngone\n\n/v:\nabs\ndir\netc\nmagic\nup' "an image is mounted, its layers merged"
is "$(cri exec "$v" sh -c 'ls /sub; cat /abs/b')" $'program\nupper' "... a directory of it, also through a link in it"
is "$(cri exec "$v" sh -c 'touch /v/x /sub/x /one/x; /sub/program true; ls /self/bin/sh' 2>&1 | sed 's/.*: //')" $'Read-only file system\nRead-only file system\nRead-only file system\nPermission denied\n/self/bin/sh' "... read-only, nothing in it executable; also the container's own image"
fails '.mounts=[{'"$V"',image_sub_path:"no"}]' 'ImageVolumeMountFailed.*/v.*no directory "no"' "a sub path that is not there"
fails '.mounts=[{'"$V"',image_sub_path:"dir/a"}]' 'ImageVolumeMountFailed.*no directory "dir/a"' "... that is a file"
fails '.mounts=[{'"$V"',image_sub_path:"magic/etc"}]' 'ImageVolumeMountFailed' "... that goes through a link into /proc"
fails '.mounts=[{'"$V"',image_sub_path:"up/etc/passwd"}]' "ImageVolumeMountFailed" "... that would leave the image through links"
is "$(cri exec "$v" ls /up)" "$(cri exec "$v" ls /v)" "a link to above the image's root leads to its root"
refused '.mounts=[{'"$V"',image_sub_path:"up/../../etc"}]' 'INVALID_ARGUMENT.*ImageVolumeMountFailed.*mounts\[0\].image_sub_path' "a sub path with .. is refused"
refused '.mounts=[{'"$V"',image_sub_path:"/etc"}]' 'image_sub_path' "... and an absolute one"
refused '.mounts=[{'"$V"',host_path:"/etc"}]' 'mounts\[0\].host_path: must be empty' "an image and a path of the host"
refused '.mounts=[{container_path:"/v",image:{image:"localhost/volume:1"}}]' 'mounts\[0\].readonly: must be true' "an image that is to be writable"
refused '.mounts=[{container_path:"/v",readonly:true,image:{image:"localhost/none:1"}}]' 'NOT_FOUND.*ImageVolumeMountFailed.*mounts\[0\].image.*localhost/none:1' "an image that is not here"
cri rmi localhost/volume:1
unlike "$(cri images | jq -r '.images[].repo_tags[]')" "localhost/volume" "an image that is mounted can be untagged"
cri_kill9
cri_start
is "$(cri exec "$v" cat /v/dir/b)" upper "... and its files stay, also when the daemon was restarted"
w=$(run "$a" writes 'exec sleep 1000' "$USER0"' | .mounts=[{container_path:"/one",readonly:true,image:{image:"localhost/one:1"}}]')
cri rm "$v" && cri rmi localhost/one:1
layers() { ls "$R/var/lib/coracle/images/layers" | grep -c '^[0-9]'; }
ok "its layers go with the last container" eventually 10 bash -c "[ \$(ls '$R/var/lib/coracle/images/layers' | grep -c '^[0-9]') = 2 ]"
is "$(cri exec "$w" cat /one/dir/a)" lower "... and not before"
cri rm "$w"
ok "... whichever it was" eventually 10 bash -c "[ \$(ls '$R/var/lib/coracle/images/layers' | grep -c '^[0-9]') = 1 ]"
fi

# ---- read-only, recursively, and propagation ----
mkdir -p "$T/tree" "$T/shared" "$T/private"
mount -t tmpfs tree "$T/tree" && mkdir "$T/tree/below" && mount -t tmpfs below "$T/tree/below"
mount -t tmpfs shared "$T/shared" && mount --make-shared "$T/shared" && mkdir "$T/shared"/{in,out}
mount -t tmpfs private "$T/private" && mount --make-private "$T/private"
at_end eval "for m in \$(sed -n 's,^[^ ]* \($T/[a-z]*/*[a-z]*\) tmpfs.*,\1,p' /proc/mounts | sort -r); do umount -l \$m; done"
m=$(run "$a" propagation 'exec sleep 1000' "$USER0"' | .linux.security_context.privileged=true | .mounts=[
    {container_path:"/ro",host_path:"'"$T/tree"'",readonly:true},{container_path:"/rro",host_path:"'"$T/tree"'",readonly:true,recursive_read_only:true},
    {container_path:"/both",host_path:"'"$T/shared"'",propagation:"PROPAGATION_BIDIRECTIONAL"},
    {container_path:"/slave",host_path:"'"$T/shared"'",propagation:"PROPAGATION_HOST_TO_CONTAINER"},
    {container_path:"/none",host_path:"'"$T/shared"'"}]')
ours && is "$(cri exec "$m" sh -c 'for d in ro ro/below rro rro/below; do touch /$d/f 2>/dev/null && echo $d; done')" "ro/below" "read-only is for the mount itself, recursively for those below it, too"
ok "a mount that a container makes in a bidirectional volume" cri exec "$m" sh -c 'mount -t tmpfs none /both/in && touch /both/in/f && mount -t tmpfs none /slave/out && mount -t tmpfs none /none/out'
ok "... is the host's as well" test -e "$T/shared/in/f"
is "$(grep -c " $T/shared/out " /proc/mounts)" 0 "... and one in any other volume is not"
mount -t tmpfs host "$T/shared/out" && touch "$T/shared/out/g"
is "$(cri exec "$m" ls -A /both/out /none/out | xargs)" "/both/out: g /none/out:" "what the host mounts later arrives where it is to, and nowhere else"
cri exec "$m" umount /slave/out
mkdir "$T/shared/late" && mount -t tmpfs host "$T/shared/late" && touch "$T/shared/late/g"
is "$(cri exec "$m" ls -A /slave/late /none/late | xargs)" "/none/late: /slave/late: g" "... also one way"
cri exec "$m" umount /both/in
ok "an unmount travels, too" eventually 5 bash -c "! grep -q ' $T/shared/in ' /proc/mounts"
fails '.mounts=[{container_path:"/x",host_path:"'"$T/private"'",propagation:"PROPAGATION_BIDIRECTIONAL"}]' "mount /x: $T/private is not on a shared mount, as its propagation needs" "bidirectional needs a shared mount"
fails '.mounts=[{container_path:"/x",host_path:"'"$T/private"'",propagation:"PROPAGATION_HOST_TO_CONTAINER"}]' "mount /x: $T/private is not on a shared mount or a slave" "host-to-container one, or a slave"
ours && refused '.mounts=[{container_path:"/x",host_path:"/tmp",recursive_read_only:true}]' 'mounts\[0\].recursive_read_only: needs readonly' "recursively read-only and writable"
refused '.mounts=[{container_path:"/x",host_path:"/tmp",readonly:true,recursive_read_only:true,propagation:"PROPAGATION_HOST_TO_CONTAINER"}]' 'mounts\[0\].recursive_read_only' "... or with propagation"
cri rm "$m"

# ---- a container that tries to move another's mounts ----
mkdir "$T/swap"
S='container_path:"/v",host_path:"'"$T/swap"'"'
w=$(run "$a" swapper 'while :; do ln -s / /v/dir; rm -f /v/dir; mkdir /v/dir; rmdir /v/dir; done 2>/dev/null' "$USER0 | .mounts=[{$S}]")
started=0
for i in {1..15}; do
    r=$(run "$a" "race$i" 'exec sleep 1000' "$USER0 | .mounts=[{$S},{container_path:\"/v/dir/coracle-race-$$\",host_path:\"$T/v1\"}]" 2>"$T/race") && started=$((started + 1))
    cri rm "${r:-$(cri ps | jq -r --arg n "race$i" '.containers[] | select(.metadata.name == $n) | .id')}"
done
diag "$started of 15 started"
ok "a target that is swapped for a link all the time is in the container or nowhere" test ! -e "/coracle-race-$$" -a $started -gt 0
cri rm "$w"
# The same with the working directory: a link to what the launcher may have open must not be followed.
w=$(run "$a" swapper2 'while :; do for l in / /proc/self/cwd /proc/self/fd/3 /proc/self/fd/4 /proc/self/fd/5 /proc/self/fd/6 /proc/1/root; do ln -s $l /v/dir; rm -f /v/dir; mkdir /v/dir; rmdir /v/dir; done; done 2>/dev/null' "$USER0 | .mounts=[{$S}]")
started=0 inside=0
for i in {1..15}; do
    if r=$(run "$a" "cwd$i" "for up in . ../../../../../..; do [ ! -e \$up$T/bb.tar ] || echo outside; done; echo ran" "$USER0 | .mounts=[{$S}] | .working_dir=\"/v/dir\"" 2>"$T/race"); then
        started=$((started + 1))
        eventually 10 is_state "$r" EXITED
        [ "$(output "$r")" != ran ] || inside=$((inside + 1))
    fi
    cri rm "${r:-$(cri ps | jq -r --arg n "cwd$i" '.containers[] | select(.metadata.name == $n) | .id')}"
done
diag "$started of 15 started"
ok "a working directory that is swapped for a link all the time is in the container" test $started -gt 0 -a $inside = $started
cri rm "$w"
for d in proc sys; do
    cri_import "$T/$d.tar" >/dev/null || bail "import $d"
    fails '.image.image="localhost/'$d'-link:1"' "the image's /$d is a link" "an image whose /$d is a link"
done

# ---- who it is ----
# Each line: what run_as_… and groups are, and what id says of it.
n=0
while IFS='|' read -r jq expected description; do
    [[ $jq == *Strict* ]] && ! ours && continue # later than the peer
    n=$((n + 1))
    u=$(run "$a" "user$n" 'id; exec sleep 1000' ".linux.security_context |= . + {$jq}")
    ok "$description runs" eventually 10 test -s "$T/logs/a/user$n/0.log"
    is "$(output "$u")" "$expected" "$description"
    cri rm "$u"
done <<'X'
|uid=1000(alice) gid=50(staff) groups=50(staff)|the image's user and group, by name
run_as_username:"alice"|uid=1000(alice) gid=1000(alice) groups=50(staff),1000(alice)|a user by name, with the groups of the image
run_as_user:{value:1000}|uid=1000(alice) gid=1000(alice) groups=50(staff),1000(alice)|the same by number
run_as_user:{value:1000},run_as_group:{value:4}|uid=1000(alice) gid=4 groups=4,50(staff)|... with another group
run_as_user:{value:1000},supplemental_groups:[7,50]|uid=1000(alice) gid=1000(alice) groups=7,50(staff),1000(alice)|supplemental groups are merged with the image's
run_as_user:{value:1000},supplemental_groups:[7],supplemental_groups_policy:"Strict"|uid=1000(alice) gid=1000(alice) groups=7,1000(alice)|... or are all there is (Strict)
run_as_user:{value:1000},supplemental_groups_policy:"Strict"|uid=1000(alice) gid=1000(alice) groups=1000(alice)|... also when that is none
run_as_user:{value:12345}|uid=12345 gid=0(root) groups=0(root)|a number that the image does not know
X
refused '.linux.security_context.run_as_group={value:5}' 'INVALID_ARGUMENT.*run_as_group needs' "a group without a user"
ours && refused '.linux.security_context |= . + {run_as_user:{value:5},run_as_username:"alice"}' 'run_as_username' "a user twice"
fails '.linux.security_context.run_as_username="nobody-here"' 'user "nobody-here" is not in the image' "a user whom the image does not know"

# ---- what it may do ----
status() { cri exec "$1" grep -E "^$2:" /proc/self/status | cut -f2; }
c=$(run "$a" ambient 'grep -E "^Cap(Amb|Eff|Prm|Inh):" /proc/self/status; exec sleep 1000' '.linux.security_context |= . + {run_as_user:{value:1000},capabilities:{add_ambient_capabilities:["NET_BIND_SERVICE"],drop_capabilities:["NET_BIND_SERVICE"]}}')
ours && refused '.linux.security_context.capabilities={add_ambient_capabilities:["NOPE"]}' 'add_ambient_capabilities: there is no capability "NOPE"' "an ambient capability that is none"
is "$(output "$c" | cut -f2 | xargs)" "0000000000000000 0000000000000000 0000000000000000 0000000000000000" "what is dropped is not ambient either"
c2=$(run "$a" ambient2 'grep -E "^Cap(Amb|Eff|Prm|Inh):" /proc/self/status; exec sleep 1000' '.linux.security_context |= . + {run_as_user:{value:1000},no_new_privs:true,capabilities:{add_capabilities:["NET_ADMIN"],add_ambient_capabilities:["NET_ADMIN"]}}')
# Later than the peer.
ours && is "$(eventually 5 test -s "$T/logs/a/ambient2/0.log"; output "$c2" | cut -f2 | xargs)" "0000000000001000 0000000000001000 0000000000001000 0000000000001000" "an ambient capability is a user's own, across exec"
is "$(cri exec "$c" inspect ids)" "1000 0 1000 1000" "a set-user-ID program makes root"
is "$(cri exec "$c2" inspect ids)" "1000 1000 1000 1000" "... but not with no_new_privs"
p=$(run "$a" privileged 'exec sleep 1000' "$USER0"' | .linux.security_context |= . + {privileged:true,masked_paths:["/proc/version"],capabilities:{drop_capabilities:["CHOWN"]}}')
is "$(status "$p" CapEff)" "$(status "$p" CapBnd)" "privileged: every capability"
ok "... and nothing masked, the system writable" cri exec "$p" sh -c 'grep -q Linux /proc/version && test -w /proc/sys/kernel/panic && mkdir -p /mnt && mount -t tmpfs x /mnt && test -c /dev/kmsg -o -b /dev/loop0'
d=$(run "$a" protected 'exec sleep 1000' "$USER0"' | .linux.security_context |= . + {readonly_rootfs:true,masked_paths:["/masked","/afile","/proc/version","/proc/no/such"],readonly_paths:["/proc/sys","/dev/shm"]} | .mounts=[{container_path:"/vol",host_path:"'"$T/v1"'"}]')
is "$(cri exec "$d" sh -c 'ls -A /masked; wc -c </afile; wc -c </proc/version; touch /vol/written && echo volume; touch /dev/shm/x /x /tmp/x 2>&1 | grep -c Read-only; (echo 0 >/proc/sys/kernel/panic) 2>&1 | grep -c Read-only')" $'0\n0\nvolume\n3\n1' "masked files and directories, read-only paths and root, writable volumes"

# ---- devices ----
mkdir "$T/devices" "$T/devices/deeper" && mknod "$T/devices/zero" c 1 5 && mknod "$T/devices/null" c 1 3 && touch "$T/devices/file"
mknod -m 600 "$T/null2" c 1 3
d=$(run "$a" devices 'exec sleep 1000' "$USER0"' | .devices=[{host_path:"/dev/zero",container_path:"/dev/mine"},{host_path:"'"$T/devices"'",container_path:"/dev/many"},{host_path:"'"$T/null2"'",container_path:"/elsewhere/null"}] | .devices[].permissions="rwm"')
is "$(cri exec "$d" sh -c 'head -c 3 /dev/mine | wc -c; ls /dev/many; head -c 2 /dev/many/zero | wc -c; echo x >/elsewhere/null; stat -c %a /elsewhere/null')" $'3\nnull\nzero\n2\n600' "devices, a directory of them, one outside of /dev"
if [ -e /sys/fs/cgroup/cgroup.controllers ] || [ -d /sys/fs/cgroup/devices ]; then
    d2=$(run "$a" loop 'exec sleep 1000' "$USER0"' | .devices=[{host_path:"/dev/loop0",permissions:"r"}]')
    if [ -b /dev/loop0 ]; then
        is "$(cri exec "$d2" sh -c 'dd if=/dev/loop0 of=/dev/null count=0 2>/dev/null && echo reads; dd if=/dev/zero of=/dev/loop0 count=0 conv=notrunc 2>&1 | grep -c "not permitted"')" $'reads\n1' "a device's permissions: to be read only"
        is "$(cri exec "$d" sh -c 'mknod /tmp/loop b 7 0 && head -c1 /tmp/loop 2>&1 | grep -c "not permitted"')" 1 "a device that was not given cannot be used"
    else
        skip "no loop device"
        skip "no loop device"
    fi
else
    skip "no devices controller"
    skip "no devices controller"
fi
refused '.devices=[{host_path:"/dev/null",permissions:"rx"}]' 'devices\[0\].permissions' "permissions that are none"
refused '.devices=[{host_path:"/etc/passwd"}]' 'devices\[0\].host_path: /etc/passwd is not a device' "a device that is none"
refused '.devices=[{host_path:"/no/such"}]' 'devices\[0\].host_path: /no/such' "... that is not there"

# ---- working directory, environment, arguments ----
run_output() { # NAME COMMAND JQ: what it says and ends with
    local id
    id=$(run "$a" "$1" "$2" "$3") || return
    eventually 10 is_state "$id" EXITED
    output "$id"
    cri rm "$id"
}
is "$(run_output wd1 pwd '.working_dir="/link"')" /tmp "a working directory that is a link"
is "$(run_output wd2 'pwd; stat -c "%u %a" .' "$USER0"' | .working_dir="/made/for/it"')" $'/made/for/it\n0 755' "... that is not there is made"
fails '.working_dir="/afile"' 'working directory /afile: Not a directory' "... that is a file"
fails '.working_dir="/proc/self/fd/7"' 'working directory' "... that is an open file of ours"
refused '.working_dir="relative"' 'working_dir: "relative" is not absolute' "... that is relative"
is "$(run_output env1 'echo $FROM $BOTH $OWN; env | grep -c "^BOTH="' '.envs=[{key:"BOTH",value:"own"},{key:"OWN",value:"a=b c"}]')" $'image own a=b c\n1' "the image's environment, and the container's over it"
ours && refused '.envs=[{key:"A=B",value:"x"}]' 'envs\[0\].key: "A=B" is no name' "a name with an equals sign"
refused '.envs=[{key:"",value:"x"}]' 'envs\[0\].key' "an empty name"
is "$(run_output env2 'echo $LD_PRELOAD $LD_LIBRARY_PATH $GCONV_PATH' '.envs=[{key:"LD_PRELOAD",value:"/evil.so"},{key:"LD_LIBRARY_PATH",value:"/tmp"},{key:"GCONV_PATH",value:"/tmp"}]')" "/evil.so /tmp /tmp" "the loader's variables are the container's business alone"
ours && fails '.envs=[{key:"BIG",value:("x" * 200000)}]' 'exec "/bin/sh": Argument list too long' "an environment that the kernel does not take"
ours && refused '.envs=[range(70000) | {key:"A\(.)",value:"x"}]' 'envs: more than' "more entries than any program has"
is "$(run_output args x '.command=["/bin/echo"] | .args=["a b","","$(c)"]')" "a b  \$(c)" "arguments are passed on as they are"

# ---- streams and the end ----
t=$(run "$a" tty 'tty; test -t 0 -a -t 1 -a -t 2 && echo terminal; ls -l /dev/console | cut -c1; read x; echo "got $x"' '.tty=true | .stdin=true')
ok "a container with a terminal" eventually 5 grep -q terminal "$T/logs/a/tty/0.log"
(sleep 0.2; echo line) | cri attach -i -t "$t" >"$T/attached" 2>&1
ok "... takes input" eventually 5 is_state "$t" EXITED
like "$(output "$t" | tr -d '\r' | xargs)" "/dev/pts/0 terminal c line got line" "... and all it says is in its log"
o=$(run "$a" once 'cat; echo end' '.stdin=true | .stdin_once=true')
is "$(echo some input | cri attach -i "$o" | head -1)" "some input" "stdin_once: the first client's input"
ok "... and its end is the end of the input" eventually 5 is_state "$o" EXITED
is "$(output "$o")" $'some input\nend' "... after which the container goes on"
o2=$(run "$a" many 'read x; read y; echo "$x $y"' '.stdin=true')
echo one | cri attach -i "$o2" & sleep 0.3; kill $! 2>/dev/null
echo two | cri attach -i "$o2" >/dev/null 2>&1 & attached=$!
ok "without it a second client can go on" eventually 5 is_state "$o2" EXITED
kill $attached 2>/dev/null
is "$(output "$o2")" "one two" "... where the first stopped"
TRAP='for s in TERM USR1 USR2 QUIT; do trap "echo got $s; exit 0" $s; done; echo ready; while :; do sleep 0.1; done'
stopped_by() { # NAME JQ
    local id
    id=$(run "$a" "$1" "$TRAP" "$2")
    eventually 5 grep -q ready "$T/logs/a/$1/0.log"
    cri stop "$id" 10
    output "$id" | tail -1
    ! ours || field "$id" stop_signal
}
is "$(stopped_by sig1 .)" "got USR1$(ours && printf '\nSIGUSR1')" "the image's stop signal"
ours && is "$(stopped_by sig2 '.stop_signal="SIGUSR2"')" $'got USR2\nSIGUSR2' "the container's own"

# ---- the PID namespace of another container ----
k=$(run "$a" target 'exec sleep 1234')
T1='.linux.security_context.namespace_options={pid:"TARGET",target_id:"'$k'"}'
e=$(run "$a" debugger 'ps; exec sleep 4321' "$T1 | $USER0")
like "$(eventually 5 grep -q sleep "$T/logs/a/debugger/0.log"; output "$e")" "1 .*sleep 1234" "a container in another's PID namespace sees its processes"
like "$(cri exec "$k" ps)" "sleep 4321" "... and is seen"
ok "... and has its own files" bash -c "! cri exec $e ls /proc/1/root/afile"
refused '.linux.security_context.namespace_options={pid:"TARGET",target_id:"0123456789abcdef"}' 'NOT_FOUND.*target_id' "a target that is not here"
refused '.linux.security_context.namespace_options={pid:"TARGET"}' 'target_id' "no target"
b=$(cri runp "$(pod b)")
like "$(cri create "$b" "$(container other true "$T1")" 2>&1)" "INVALID_ARGUMENT.*target_id: container $k is of another sandbox|$k.*does not belong to sandbox" "a target of another pod"
late=$(cri create "$a" "$(container late 'exec sleep 1' "$T1")")
cri stop "$k" 0
ok "with its target a container ends" eventually 5 is_state "$e" EXITED
is "$(field "$e" exit_code)" 137 "... killed"
like "$(cri start "$late" 2>&1)" "$k.* is not running" "one that starts later says that its target is gone"
refused "$T1" 'FAILED_PRECONDITION.*not running|target_id: container .* is not running' "... as does one that is made later"

for p in $a $b; do cri rmp "$p" || fail "remove $p"; done
ours || { done_testing; exit; }
is "$(grep -c "$R/" /proc/self/mountinfo)" 0 "no mount is left"
is "$(pgrep -fc "coracle-(shim|init|launch).*$R/")" 0 "no process is left"
cri_stop
is "$(grep -cE 'Sanitizer|runtime error|Assertion' "$T/cri.log")" 0 "nothing found by sanitizers" || diag "$(grep -A30 -E 'Sanitizer|runtime error' "$T/cri.log" | head -60)"
done_testing
