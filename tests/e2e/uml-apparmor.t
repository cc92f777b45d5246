#!/usr/bin/env bash
# AppArmor profiles of containers, on a kernel that has it: the runtime's own, ones of the administrator's,
# none. integration/cri-containers.t has what happens without AppArmor, unit/test_apparmor.c the choice.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
command -v linux.uml >/dev/null || { echo "1..0 # SKIP needs user-mode-linux"; exit 0; }
command -v apparmor_parser >/dev/null || { echo "1..0 # SKIP needs apparmor"; exit 0; }
[ "${1:-}" = inside ] || exec "$TOP/tests/lib/uml" -a -t 880 bash "$0" inside
. "$TOP/tests/lib/tap.sh"
. "$TOP/tests/lib/cri.sh"
cri_setup
chmod 711 "$T"
profiles() { sed 's/ (.*//' /sys/kernel/security/apparmor/profiles; }
mkdir -p "$T"/bb/{bin,tmp} && cp /bin/busybox "$T/bb/bin/"
for i in sh cat mount kill sleep head touch; do ln -s busybox "$T/bb/bin/$i"; done
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
cri_start
cri import "$T/bb.tar" >/dev/null || bail "import"
OWN=$(profiles)
like "$OWN" '^coracle-default-[0-9a-f]{12}$' "the default profile is loaded, under a name of this root"
printf '%s\n' 'profile coracle-test {' ' file,' ' network,' ' capability,' ' deny /tmp/denied w,' ' signal,' '}' | apparmor_parser -rK 2>/dev/null || bail "cannot load a profile"
NODE='.linux.security_context.namespace_options.network="NODE"'
APPARMOR='.linux.security_context.apparmor'
a=$(cri runp "$(pod a "$NODE | .linux.security_context.privileged=true")")
current() { cri exec "$1" cat /proc/self/attr/current; }
start() { run "$a" "$1" 'exec sleep 10000' "$NODE | $2"; }

# ---- the default ----
# Everything else that would refuse is out of the way; the node's processes are seen.
FREE='.linux.security_context |= . + {capabilities:{add_capabilities:["ALL"]},seccomp:{profile_type:"Unconfined"},masked_paths:[],readonly_paths:[]} | .linux.security_context.namespace_options.pid="NODE" | .mounts=[{host_path:"/sys",container_path:"/sys"}]'
sleep 10000 &
outside=$!
cat >"$T/tries" <<X
mount -t tmpfs x /tmp 2>/dev/null && echo mounts
for f in /proc/sysrq-trigger /proc/sys/kernel/panic /proc/sys/vm/swappiness /sys/module/kernel/parameters/panic; do [ -e \$f ] && (: >>\$f) 2>/dev/null && echo writes \$f; done
for f in /sys/kernel/security/apparmor/profiles /proc/kcore; do [ -e \$f ] && head -c1 \$f >/dev/null 2>&1 && echo reads \$f; done
kill -0 $outside 2>/dev/null && echo signals
(: >>/proc/sys/kernel/shmmax) && (: >>/proc/self/comm) && (: >>/tmp/file) && sleep 1000 & kill \$! && ! wait \$! && echo own
X
d=$(start default "$FREE")
is "$(current "$d")" "$OWN (enforce)" "a container that says nothing has the default profile, and so what is executed in it"
is "$(cri exec "$d" sh -c "$(cat "$T/tries")" 2>/dev/null)" own "... which denies mounts, the node's settings, memory, policy and processes, and not its own"
u=$(start unconfined "$FREE | $APPARMOR={profile_type:\"Unconfined\"}")
is "$(current "$u")" unconfined "Unconfined"
like "$(cri exec "$u" sh -c "$(cat "$T/tries")" 2>/dev/null | xargs)" '^mounts .*writes /proc/sys/kernel/panic .*writes /sys/module/.*reads /sys/kernel/security/apparmor/profiles.* signals own$' "... can do all that"
kill $outside
cri rm "$u"
t=$(run "$a" term 'trap "echo ended; exit 0" TERM; echo ready; while :; do sleep 0.1; done' "$NODE | .linux.security_context.no_new_privs=true | $APPARMOR={profile_type:\"RuntimeDefault\"}")
is "$(current "$t")" "$OWN (enforce)" "RuntimeDefault, with no_new_privs"
eventually 10 grep -q ready "$T/logs/a/term/0.log"
cri stop "$t" 30
like "$(output "$t")" ended "... gets the signals that the runtime sends"

# ---- others ----
l=$(start local ".linux.security_context.privileged=true | $APPARMOR={profile_type:\"Localhost\",localhost_ref:\"coracle-test\"}")
is "$(cri exec "$l" sh -c '(cat /proc/self/attr/current; touch /tmp/allowed && touch /tmp/denied) 2>&1' | sed 's/.*: //' | xargs)" "coracle-test (enforce) Permission denied" "Localhost: a profile of the node's, also for a privileged container"
cri rm "$l"
refused() { like "$(cri create "$a" "$(container x true "$NODE | $1")" 2>&1)" "$2" "$3"; }
refused "$APPARMOR={profile_type:\"Localhost\",localhost_ref:\"no-such\"}" 'NOT_FOUND.*security_context.apparmor.localhost_ref: AppArmor profile "no-such" is not loaded' "a profile that is not loaded"

# ---- the profile comes, goes and comes again ----
cri rm "$t"
printf %s "$OWN" >/sys/kernel/security/apparmor/.remove
refused . "somebody removed the AppArmor profile $OWN" "a default profile that somebody removed is said"
ok "... and loaded again" eventually 20 grep -q "^$OWN " /sys/kernel/security/apparmor/profiles
cri rm "$d"
d=$(start again .)
cri_kill9
mkdir "$T/broken" && printf '#!/bin/sh\necho "no parser today" >&2\nexit 7\n' >"$T/broken/apparmor_parser" && chmod 755 "$T/broken/apparmor_parser"
PATH=$T/broken:$PATH cri_start
is "$(current "$d")" "$OWN (enforce)" "a container keeps its profile when the daemon is restarted"
printf %s "$OWN" >/sys/kernel/security/apparmor/.remove
refused "$APPARMOR={profile_type:\"RuntimeDefault\"}" 'no default AppArmor profile: .*status 7: no parser today' "where the profile cannot be loaded, who asks for it is told why"
q=$(start without .)
is "$(current "$q")" unconfined "... and who does not ask runs without"
like "$(cat "$T/cri.log")" 'no default AppArmor profile.*no parser today' "... which is logged"
cri rmp "$a"
cri_stop
ok "--cleanup" "$LIBEXEC/coracle-cri" --root "$R" --cgroup-root "$CGROUP" --cleanup
is "$(profiles)" coracle-test "... removes the profile, and no other"
cri_start
like "$("$B/bin/coracle" check --node-ip 10.0.0.1)" "ok +AppArmor +there" "coracle check sees the parser"
like "$(PATH=$T/broken/none "$B/bin/coracle" check --node-ip 10.0.0.1)" "warn +AppArmor +apparmor_parser is not in PATH" "... and says where it is missing"
done_testing
