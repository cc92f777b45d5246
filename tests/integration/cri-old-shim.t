#!/usr/bin/env bash
# An upgrade: pods that the release before started run on, and the new daemon drives their shims. The shim and
# launcher of that release are built from its sources in the history; OLD names it.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
OLD=${OLD:-38e8b3865cea6a5ef15023c55ec4d83bcbc5fa34}
git -C "$TOP" cat-file -e "$OLD^{commit}" 2>/dev/null || skip_all "the history does not hold $OLD (a shallow clone?)"

old_programs() { # DIRECTORY: builds them there, once for all runs
    local src=$T/old-source p
    mkdir -p "$src" && git -C "$TOP" archive "$OLD" | tar -x -C "$src" || return 1
    for p in shim launch init; do
        make -s -C "$src" B="$src/b" CFLAGS=-O1 SANITIZE= LIB_SRC="$(cd "$src" && echo lib/base/*.c)" GEN_C= GEN_H= \
            "$src/b/libexec/coracle/coracle-$p" || return 1
    done
    mkdir -p "$(dirname "$1")" && cp -r "$src/b/libexec/coracle" "$1.$$" && mv -T "$1.$$" "$1"
}
CACHE=$TOP/build/cache/old-shim-$OLD
[ -d "$CACHE" ] || old_programs "$CACHE" >"$T/build.log" 2>&1 || bail "the old release does not build: $(tail -3 "$T/build.log")"
NEW=$LIBEXEC
LIBEXEC=$T/libexec
mkdir "$LIBEXEC"
cp "$NEW"/coracle-* "$LIBEXEC/"
for p in shim launch init; do cp "$CACHE/coracle-$p" "$LIBEXEC/"; done

cri_setup
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
cri_start
ok "an image" cri import "$T/bb.tar"
own=$(cri runp "$(pod own)")
shared=$(cri runp "$(pod shared '.linux.security_context.namespace_options.pid = "POD"')")
c=$(run "$own" c 'trap "echo got TERM; exit 3" TERM; echo up; while :; do sleep 0.1; done')
s=$(run "$shared" s 'echo up; exec sleep 100000' '.linux.security_context.namespace_options.pid = "POD"')
pid=$(cri inspect "$c" | jq -r .info.info | jq -r .pid)
shim=$(cri inspectp "$own" | jq -r .info.info | jq -r .pid)
is "$(sha256sum <"/proc/$shim/exe")" "$(sha256sum <"$CACHE/coracle-shim")" "its shim is of the release before"

# The upgrade, as install(1) does it: other files under the same names.
cri_stop
for p in "$NEW"/coracle-*; do cp "$p" "$T/new" && mv "$T/new" "$LIBEXEC/${p##*/}"; done
cri_start
is "$(state "$c") $(state "$s")" "CONTAINER_RUNNING CONTAINER_RUNNING" "the new daemon knows the pods"
is "$(cri inspect "$c" | jq -r .info.info | jq -r .pid)" "$pid" "... by their processes"
is "$(cri exec "$c" echo hello)" hello "it runs commands in them"
is "$(cri exec "$s" echo hello)" hello "... also with a shared PID namespace"
is "$(echo streamed | cri stream -i "$c" cat)" streamed "... over SPDY"
n=$(run "$own" new 'echo new; exec sleep 100000')
is "$(state "$n")" CONTAINER_RUNNING "a new container in an old pod"
ok "... writes its log" eventually 5 grep -q "stdout F new" "$T/logs/own/new/0.log"
mv "$T/logs/own/c/0.log" "$T/logs/own/c/1.log"
ok "a log is opened anew" cri call RuntimeService ReopenContainerLog '{"container_id":"'"$c"'"}'
like "$(cri create "$own" "$(container target true '.linux.security_context.namespace_options = {pid: "TARGET", target_id: "'"$c"'"}')" 2>&1)" "started by an older release" "what the old release cannot do is refused"
ok "stop" cri stop "$c" 10
is "$(field "$c" exit_code)" 3 "... with the exit code"
ok "... and the log's last line" eventually 5 grep -q "got TERM" "$T/logs/own/c/0.log"
fresh=$(cri runp "$(pod fresh)")
is "$(cri exec "$(run "$fresh" f 'exec sleep 1000')" echo hello)" hello "a new pod"
for p in $own $shared $fresh; do ok "remove" cri rmp "$p"; done
is "$(grep -c "$R/run" /proc/self/mountinfo)" 0 "no mount is left"
is "$(pgrep -fc "coracle-(shim|init|launch).*$R/")" 0 "no process is left"
done_testing
