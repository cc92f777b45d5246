#!/usr/bin/env bash
# Images: import of archives, pulls from a real registry, what layers may and may not do. All of it in
# a network namespace of its own: registries listen on its loopback.
. "$(dirname "$0")/../lib/imagestore.sh"
command -v docker-registry >/dev/null || skip_all "needs docker-registry"

start_cri || bail "coracle-cri does not start: $(tail -5 "$T/cri.log")"

# ---- import ----
hello=$(testimage hello)
out=$(images import "$hello")
like "$out" '^sha256:[0-9a-f]{64} coracle.local/hello:v1$' "import of an OCI archive"
ID=${out%% *}
like "$(images status coracle.local/hello:v1)" "uid 65534" "status knows the numeric user"
is "$(images status "${ID:7:12}" | head -1)" "id $ID" "found by a short ID"
is "$(images status nothere:v1)" "" "an absent image has an empty status, not an error"
skopeo copy -q "oci-archive:$hello" "docker-archive:$T/docker.tar:some/repo:tag"
is "$(images import "$T/docker.tar")" "$ID coracle.local/hello:v1 docker.io/some/repo:tag" \
    "import of what docker save writes; the same config is the same image"
is "$(gzip -c "$T/docker.tar" | images import - | cut -d' ' -f1)" "$ID" "a compressed archive, streamed"
like "$(images import /etc/passwd 2>&1)" "INVALID_ARGUMENT: .*not a readable image archive" "no archive: refused"
head -c 100000 "$hello" >"$T/cut.tar"
like "$(images import "$T/cut.tar" 2>&1)" "^INVALID_ARGUMENT: " "a cut archive is refused"
is "$(images import "$(testimage busybox)" | cut -d' ' -f2)" "coracle.local/busybox:v1" "import of busybox"

# ---- pull ----
start_registry || bail "no registry"
push "$hello" lib/hello:v1
push "$(testimage busybox)" lib/busybox:1
images remove "$ID"
is "$(images status "$ID")" "" "removed by ID"
is "$(images pull "$REGISTRY/lib/hello:v1")" "$ID" "pull by tag"
digest=$(images status "$REGISTRY/lib/hello:v1" | sed -n 's/^digest .*@//p')
like "$digest" '^sha256:[0-9a-f]{64}$' "the repo digest is known"
images remove "$ID"
is "$(images pull "$REGISTRY/lib/hello@$digest")" "$ID" "pull by digest"
is "$(images status "$ID" | grep -c '^tag')" 0 "a pull by digest makes no tag"
is "$(images pull "$REGISTRY/lib/hello:v1")" "$ID" "pull again: nothing to fetch"
push "$hello" lib/hello:docker --format v2s2
is "$(images pull "$REGISTRY/lib/hello:docker" | cut -c1-7)" "sha256:" "a Docker schema 2 manifest"
skopeo copy -q --dest-decompress "oci-archive:$(testimage busybox)" "dir:$T/plain"
# By a layout: a push straight to the registry may take a gzip layer that skopeo remembers instead.
skopeo copy -q --dest-compress-format zstd "dir:$T/plain" "oci:$T/zstd:v1"
skopeo copy -q --dest-tls-verify=false --preserve-digests "oci:$T/zstd:v1" "docker://$REGISTRY/zstd/busybox:v1"
like "$(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/zstd/busybox:v1")" 'layer.v1.tar\+zstd' "a layer in zstd"
is "$(images pull "$REGISTRY/zstd/busybox:v1")" "$(images status coracle.local/busybox:v1 | sed -n 's/^id //p')" "is the same image"
like "$(images pull "$REGISTRY/lib/none:v1" 2>&1)" "^NOT_FOUND: .*/v2/lib/none/manifests/v1: 404" "no such image: the endpoint and its answer are named"
like "$(images pull "$REGISTRY/lib/hello:none" 2>&1)" "^NOT_FOUND: " "no such tag"
like "$(images pull "$REGISTRY/lib/hello@sha256:$(printf '%064d' 0)" 2>&1)" "^NOT_FOUND: " "no such digest"
like "$(images pull "Not/Valid" 2>&1)" "^INVALID_ARGUMENT: invalid image name" "a bad name is refused"
like "$(images pull "127.0.0.1:1/x:y" 2>&1)" "^UNAVAILABLE: .*127.0.0.1:1/v2/x/manifests/y" "nobody there"

# ---- many at once share one download ----
images remove "$(images status "$REGISTRY/lib/hello:v1" | sed -n 's/^id //p')"
for i in 1 2 3 4; do images pull "$REGISTRY/lib/busybox:1" >"$T/pull.$i" & pids[i]=$!; done
wait "${pids[@]}"
is "$(cat "$T"/pull.[1-4] | sort -u | wc -l)" 1 "four pulls of one image at once agree"

# ---- restart and crash ----
before=$(images list)
stop_cri -KILL
mkdir -p "$STORE/tmp/left/over"
echo '{"chain":' >"$STORE/images/$(printf '%064d' 1).json"
echo nonsense >"$STORE/references/$(printf '%064d' 2).json"
start_cri
is "$?" 0 "starts again over a damaged record"
is "$(images list)" "$before" "after a kill -9 the same images are there"
is "$(ls "$STORE/quarantine" | wc -l)" 2 "damaged records are set aside"
ok "what was left in tmp is swept" eventually 10 eval "[ -z \"\$(ls '$STORE/tmp')\" ]"
is "$(ls -d "$STORE"/tmp.old* 2>/dev/null)" "" "and its old place too"

# ---- hostile and difficult layers ----
python3 "$TOP/tests/lib/layers.py" "$T/made" >"$T/made.log" 2>&1 || bail "layers.py: $(cat "$T/made.log")"
echo untouched >"$T/victim"
is "$(images import "$T/made/good.tar" | cut -d' ' -f2)" "coracle.local/good:v1" "a difficult image of four layers"
merged coracle.local/good:v1 "$T/m" || bail "cannot mount its layers"
m=$T/m
is "$(cat "$m/etc/kept")" "kept" "a file of the base"
ok "a whited-out file is gone" test ! -e "$m/etc/gone"
ok "a whited-out directory is gone" test ! -e "$m/dir-gone"
is "$(ls -A "$m/opaque")" "new" "an opaque directory shows only the new"
is "$(cat "$m/replaced/file" 2>&1)" "new" "a directory hidden and made anew in one layer"
is "$(ls -A "$m/replaced")" "file" "without what was in it"
is "$(cat "$m/link-below")" "kept" "a hard link to a file of a lower layer"
is "$(stat -c %a:%u:%g "$m/owned")" "2750:12:34" "an implicit parent keeps mode and owner"
is "$(cat "$m/owned/child")" "child" "and got its child"
is "$(stat -c %a "$m/bin/setuid")" 4755 "setuid bits"
is "$(stat -c %F:%t:%T "$m/dev/zero")" "character special file:1:5" "a device node"
is "$(stat -c %F "$m/fifo")" "fifo" "a fifo"
if python3 -c 'import os,sys; os.setxattr(sys.argv[1], "user.x", b"y")' "$T/victim" 2>/dev/null; then
    is "$(python3 -c 'import os,sys; print(os.getxattr(sys.argv[1], "user.hello").decode())' "$m/xattr")" "world" "an extended attribute"
    is "$(python3 -c 'import os,sys; print(os.getxattr(sys.argv[1], "user.root").decode())' "$m")" "yes" "those of the root directory"
else
    skip "the file system has no user attributes"
    skip "likewise"
fi
is "$(python3 -c 'import os,sys; print(len(os.getxattr(sys.argv[1], "security.capability")))' "$m/bin/capable")" 20 "file capabilities"
is "$(cat "$m/$(printf 'l%.0s' {1..150})/$(printf 'n%.0s' {1..200})")" "long" "a long name"
is "$(cat "$m/ünïcödé")" "utf8" "a name in UTF-8"
is "$(cat "$m/$(printf 'latin-\351')")" "latin" "a name in no encoding at all"
is "$(stat -c %a:%u:%Y "$m")" "751:5:1000000000" "the root directory of the base, through layers that don't mention it"
is "$(cat "$m/usr/lib/through")" "through" "an entry behind a link of a lower layer lands behind the link"
ok "which stays a link" test -L "$m/lib"
is "$(stat -c %Y "$m/opaque")" 1000000000 "the time of a directory that got children"
is "$(stat -c %s "$m/sparse")" 1048576 "a sparse file"
ok "overlayfs' whiteout device cannot be smuggled in" test ! -e "$m/smuggled"

while read -r name why; do
    like "$(images import "$T/made/bad-$name.tar" 2>&1)" "^INVALID_ARGUMENT: .*$why" "bad-$name is refused"
done <<'END'
dotdot "../../coracle-escaped": a name that leaves the layer
inner-dotdot "a/../../coracle-escaped": a name that leaves
hardlink-dotdot "h": a hard link that leaves the layer
hardlink-absolute "h": a hard link to .*, which is not there
whiteout-dotdot "etc/.wh..": a whiteout of nothing
whiteout-empty "x/.wh.": a whiteout of nothing
dir-through-file "f": .*Not a directory
long-component a name that leaves the layer or is too long
depth a name that leaves the layer or is too long
hardlink-to-directory "h": a hard link to a directory
xattrs "f": 100 extended attributes
not-tar no valid tar archive
truncated no valid tar archive
loop "a": .*Too many levels of symbolic links
diff-id its uncompressed digest is sha256:[0-9a-f]{64}, the config says sha256:0
layer-count the manifest has 1 layers, the config 0
config-env Env\[0\] must be a string
END
like "$(images import "$T/made/bad-platform.tar" 2>&1)" "^NOT_FOUND: .*linux/vax" "an image for another machine is refused"
is "$(images import "$T/made/tall.tar" | cut -d' ' -f2)" "coracle.local/tall:v1" "an image of 127 layers"
merged_tall() { # as the launcher does it: by descriptors, so that all fit into one page
    python3 - "$T/tall" $(layers_of coracle.local/tall:v1 | tr : ' ') <<'PY'
import ctypes, os, sys
fds = [os.open(d, os.O_PATH) for d in sys.argv[2:]]
os.makedirs(sys.argv[1], exist_ok=True)
data = "lowerdir=" + ":".join("/proc/self/fd/%d" % fd for fd in fds)
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"overlay", sys.argv[1].encode(), b"overlay", 0, data.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
PY
}
at_end eval "! mountpoint -q $T/tall || umount $T/tall"
ok "mounts" merged_tall
is "$(ls "$T/tall" | wc -l) $(cat "$T/tall/top")" "128 127" "and shows all of them"
umount "$T/tall"
like "$(images import "$T/made/bad-tower.tar" 2>&1)" "^INVALID_ARGUMENT: .*128 layers \\(at most 127\\)" "one more is refused"
for attack in "$T"/made/tame-*.tar; do
    ok "$(basename "$attack" .tar) is imported and harms nothing" images import "$attack"
done
is "$(cat "$T/victim")" "untouched" "no attack wrote outside"
is "$(ls -A /coracle-escaped "$T/coracle-escaped" "$STORE/coracle-escaped" "$STORE"/*/coracle-escaped 2>/dev/null)" "" "nor made a file outside"
is "$(find "$STORE/tmp" -mindepth 1 -maxdepth 1 ! -name 'gone-*' | wc -l)" 0 "refused images leave nothing behind"

# ---- interrupted work ----
start_bad_registry "$hello"
images remove "$ID"
{ timeout -s KILL 1 "$B/tests/bin/images" "$T/run/coracle/cri.sock" pull "$bad/slow:v1"; } 2>/dev/null
ok "a pull whose caller is gone ends" eventually 5 eval "[ -z \"\$(ls '$STORE/tmp')\" ]"
ok "its download too" eventually 10 eval "curl -s http://$bad/log | grep -q 'slow.*broken'"
images pull "$bad/slow:v1" >"$T/killed" 2>&1 &
puller=$!
job() { pgrep -P "$(pgrep -P "$CRI" -f 'coracle-unpack serve$')"; }
ok "layers are unpacked by a child of the worker" eventually 20 job
ok "confined" eventually 20 eval 'grep -q "^Seccomp:.*2" /proc/$(job)/status'
is "$(awk '/^Cap(Eff|Bnd)/{print $2}' "/proc/$(job)/status" | tr '\n' ' ')$(ls -A "/proc/$(job)/root")" "000000008820001b 0000000000000000 " "as every one is"
kill -KILL "$(pgrep -P "$CRI" -f 'coracle-unpack serve$')"
wait $puller
like "$(cat "$T/killed")" "^[A-Z]+: .*layer 1 of 1: coracle-unpack gave no answer" "a worker that is killed is an error of what it did"
ok "which leaves nothing" eventually 10 eval "[ -z \"\$(ls '$STORE/tmp')\" ]"
is "$(images pull "$bad/hello:v1")" "$ID" "the next one starts another"
images remove "$ID"
BUSYBOX=$(images status coracle.local/busybox:v1 | sed -n 's/^id //p')
for delay in 0.02 0.05 0.08 0.12 0.2; do
    images remove "$BUSYBOX"
    images pull "$REGISTRY/lib/busybox:1" >/dev/null 2>&1 &
    puller=$!
    sleep $delay
    stop_cri -KILL
    wait $puller
    start_cri || fail "starts after kill -9 at $delay s"
    now=$(images status "$REGISTRY/lib/busybox:1" | grep -c '^id')
    images pull "$REGISTRY/lib/busybox:1" >"$T/again" 2>&1
    like "$(cat "$T/again")" "^sha256:" "killed $delay s into a pull (image there after: $now), pulled again"
done
merged "$REGISTRY/lib/busybox:1" "$T/bb" || bail "cannot mount its layers"
is "$(hex "$T/bb/bin/busybox")" "$(hex "$(command -v busybox)")" "and what came is whole"
umount "$T/bb"
is "$(ls "$STORE/quarantine" | wc -l)" 2 "no kill damaged a record"

# ---- a full disk ----
mkdir -p "$T/small/var/lib/coracle/images"
mount -t tmpfs -o size=2500k none "$T/small/var/lib/coracle/images"
at_end umount "$T/small/var/lib/coracle/images"
"$B/libexec/coracle/coracle-cri" --root "$T/small" >>"$T/cri.log" 2>&1 &
small=$!
at_end eval "kill $small 2>/dev/null; wait $small"
small() { "$B/tests/bin/images" "$T/small/run/coracle/cri.sock" "$@"; }
ok "a second daemon with a root of its own" eventually 20 small fsinfo
like "$(small pull "$REGISTRY/lib/busybox:1" 2>&1)" "^RESOURCE_EXHAUSTED: " "no room for an image"
like "$(small import "$(testimage busybox)" 2>&1)" "^RESOURCE_EXHAUSTED: " "nor for an archive"
ok "what they left is removed" eventually 20 eval "[ -z \"\$(ls '$T/small/var/lib/coracle/images/tmp')\" ]"
is "$(small pull "$REGISTRY/lib/hello:v1")" "$ID" "a smaller one fits after that"

# ---- the worker's confinement ----
mkdir -p "$T/w/layers" "$T/w/tmp/x/layer/fs" "$T/w/tmp/x/work" "$T/w/tmp/x/root"
mkfifo "$T/w/progress"
: >"$T/w/blob"
sleep 60 >"$T/w/progress" &
holder=$!
at_end eval "kill $holder 2>/dev/null; :"
(cd "$T/w/layers" && exec "$B/libexec/coracle/coracle-unpack" apply 1000 ../tmp/x 3<"$T/w/blob" 4<"$T/w/progress" >"$T/w/answer") &
worker=$!
ok "a worker waits for its layer, filtered" eventually 10 grep -q '^Seccomp:.*2' /proc/$worker/status
status() { sed -n "s/^$1:[[:space:]]*//p" /proc/$worker/status; }
is "$(status CapEff) $(status CapBnd)" "000000008820001b 0000000000000000" "with seven capabilities and no way to more"
is "$(status NoNewPrivs)" 1 "and no new privileges"
is "$(ls -A /proc/$worker/root)" "" "its root is the layer's directory"
is "$(wc -l </proc/$worker/mountinfo)" 1 "there is no other mount"
kill $holder
wait $worker
like "$(cat "$T/w/answer")" '"error":"the layer ends after 0 of 1000 bytes"' "a layer that never comes is an error"

# ---- nothing half done ----
images remove "$ID"
is "$(find "$STORE/tmp" -mindepth 1 -maxdepth 1 ! -name 'gone-*' | wc -l)" 0 "tmp is empty at the end"
kill $small
wait $small
umount "$T/m"
remove_all
is "$(images list)" "" "all images removed"
is "$(images fsinfo | cut -d' ' -f2-)" "bytes 0 inodes 0" "and their space is free"
gone() { [ "$(ls "$STORE/layers")" = empty ] && [ -z "$(ls "$STORE/tmp")" ]; }
ok "their layers too" eventually 20 gone
images import "$hello" >/dev/null
isnt "$(ls "$STORE/layers" | grep -vc empty)" 0 "an image's layers"
stop_cri -KILL
rm "$STORE"/images/* "$STORE"/references/*
start_cri
ok "go at the next start when its record is lost" eventually 20 gone
stop_cri
is "$?" 0 "coracle-cri ends orderly"
is "$(grep -c 'ERROR: AddressSanitizer\|runtime error' "$T/cri.log")" 0 "no sanitizer report"
done_testing
