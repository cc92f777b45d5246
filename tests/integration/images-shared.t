#!/usr/bin/env bash
# What images share: pulls of several at once and one given up, names, disk usage, removal, and images
# that claim or become more than there is room for.
. "$(dirname "$0")/../lib/imagestore.sh"
for tool in zstd jq; do command -v $tool >/dev/null || skip_all "needs $tool"; done
start_cri || bail "coracle-cri does not start: $(tail -5 "$T/cri.log")"
hello=$(testimage hello)
LAYERED=$TOP/tests/lib/layered.py
for n in a b c; do python3 "$LAYERED" "$T/$n.tar" "slow-$n:v1" 4 3 20000 3 || bail "no image"; done
start_bad_registry "$hello,$T/a.tar,$T/b.tar,$T/c.tar"
log() { curl -s "http://$bad/log"; }
blobs_asked() { log | grep -c "/v2/$1/blobs/"; } # REGEX: of repositories
id() { images status "$1" | sed -n 's/^id //p'; }
size() { images status "$1" | sed -n 's/^size //p'; }
used() { images fsinfo | awk '{print $3}'; }

# ---- pulls at once ----
pids=()
for n in a b; do images pull "$bad/slow-$n:v1" >"$T/pull.$n" 2>&1 & pids[${#pids[@]}]=$!; done
wait "${pids[@]}"
like "$(cat "$T"/pull.a) $(cat "$T/pull.b")" "^sha256:[0-9a-f]{64} sha256:[0-9a-f]{64}$" "two images at once that share three of four layers"
is "$(blobs_asked slow-.)" "$((3 + 1 + 1 + 2))" "each blob is fetched once"
is "$(ls "$STORE/layers" | grep -vc empty)" 5 "and kept once"
like "$(log | grep -o '[0-9]* at once' | sort -n | tail -1)" '^[3-6] at once$' "layers of one image are fetched side by side"
like "$(($(size "$bad/slow-a:v1") + $(size "$bad/slow-b:v1") - $(used)))" "^[0-9]+$" "an image's size is all of its layers', the disk's usage counts each once"
[ $(($(size "$bad/slow-a:v1") + $(size "$bad/slow-b:v1"))) -gt $((7 * $(used) / 5)) ] && pass "by much" || fail "by much" "$(used)"
remove_all
ok "all layers go" eventually 20 eval "[ \"\$(ls '$STORE/layers')\" = empty ] && [ -z \"\$(ls '$STORE/tmp')\" ]"

# ---- one of them is given up ----
before=$(blobs_asked slow-a)
"$B/tests/bin/images" "$T/run/coracle/cri.sock" pull "$bad/slow-a:v1" >"$T/pull.a" 2>&1 &
a=$!
eventually 30 eval "[ \$(blobs_asked slow-a) -gt $((before + 1)) ]" || bail "no pull"
images pull "$bad/slow-b:v1" >"$T/pull.b" 2>&1 &
b=$!
images pull "$bad/slow-c:v1" >"$T/pull.c" 2>&1 &
c=$!
sleep 0.5
{ kill -KILL $a; wait $a; } 2>/dev/null
wait $b $c
like "$(cat "$T/pull.b") $(cat "$T/pull.c")" "^sha256:[0-9a-f]{64} sha256:[0-9a-f]{64}$" "a pull that is given up does not take others with it that wait for its layers"
is "$(images status "$bad/slow-a:v1")" "" "its own image is not there"
is "$(ls "$STORE/layers" | grep -vc empty)" 5 "nor a layer that only it has"
ok "nothing of it is left" eventually 20 eval "[ -z \"\$(ls '$STORE/tmp')\" ]"
merged "$bad/slow-b:v1" "$T/m" || bail "cannot mount its layers"
is "$(find "$T/m/data" -type f | wc -l) $(find "$T/m/data" -type f -size -20000c | wc -l)" "12 0" "and the others are whole"
umount "$T/m"
images pull "$bad/slow-a:v1" >/dev/null
shared=$(images info "$bad/slow-a:v1" | sed -n 's/^info //p' | jq -r '.imageSpec.rootfs.diff_ids[0]')
is "$(grep -l "\"diff\":\"$shared\"" "$STORE"/layers/*/layer.json | wc -l)" 1 "a later pull builds on what is there"
images remove "$bad/slow-a:v1"
ok "an image goes with the layers that only it has" eventually 20 eval "[ \"\$(ls '$STORE/layers' | grep -vc empty)\" = 5 ] && [ -z \"\$(ls '$STORE/tmp')\" ]"
remove_all

# ---- names ----
images pull "$bad/hello:v1" >/dev/null
for name in hello:v2 mine/hello:v1 mine/hello:v2; do images pull "$bad/$name" >/dev/null; done
names() { images status "$ID" | sed -n "s/^\(tag\|digest\) $bad.//p" | sed 's/@sha256.*/@/' | tr '\n' ' '; }
ID=$(id "$bad/hello:v1")
is "$(names)" "hello:v1 hello:v2 mine/hello:v1 mine/hello:v2 hello@ mine/hello@ " "an image with four tags in two repositories"
digest=$(images status "$ID" | sed -n "s/^digest .*@//p" | head -1)
images remove "$bad/hello:v1"
is "$(names)" "hello:v2 mine/hello:v1 mine/hello:v2 hello@ mine/hello@ " "a tag goes alone while its repository has others"
images remove "$bad/hello:v1"
is "$?" 0 "again is no error"
images remove "$bad/hello:v2"
is "$(names)" "mine/hello:v1 mine/hello:v2 mine/hello@ " "the last one takes the repository's digest with it"
images pull "$bad/hello@$digest" >/dev/null
images remove "$bad/mine/hello@$digest"
is "$(names)" "hello@ " "a digest takes its repository's tags, not another's names"
images pull "$bad/hello:v1" >/dev/null
images pull "$bad/mine/hello:v1" >/dev/null
images remove "${ID:7:12}"
is "$(images list)" "" "an ID takes all, a short one too"
images remove "$ID"
is "$?" 0 "again is no error"
like "$(images remove "" 2>&1)" "^INVALID_ARGUMENT: image.image is missing" "no name is one"

# ---- what is said about them ----
images import "$hello" >/dev/null
images import "$(testimage busybox)" >/dev/null
is "$(images list | grep -c '^id')" 2 "ListImages"
is "$(images list coracle.local/hello | grep -c '^id')" 0 "its filter completes names: latest"
is "$(images list coracle.local/hello:v1 | grep '^tag')" "tag coracle.local/hello:v1" "a name"
is "$(images list "$(id coracle.local/busybox:v1)" | grep '^tag')" "tag coracle.local/busybox:v1" "an ID"
is "$(images list nothing:here)" "" "nothing matches"
info=$(images info coracle.local/hello:v1 | sed -n 's/^info //p')
is "$(jq -r '.imageSpec.config.Entrypoint[0]' <<<"$info")" "/hello" "verbose status holds the image's config"
is "$(jq -r .imageSpec.rootfs.diff_ids[0] <<<"$info")" "$(jq -r .chainID <<<"$info")" "and the chain of its layers"
like "$(jq -r .manifest <<<"$info")" "^sha256:[0-9a-f]{64}$" "and its manifest"
is "$(images status coracle.local/hello:v1 | grep -c '^info')" 0 "only when asked"
like "$(images fsinfo)" "^$STORE bytes [0-9]+ inodes [0-9]+$" "ImageFsInfo"
real=$(du -sk "$STORE/layers" | cut -f1)
[ $(($(used) / 1024)) -gt $((real * 8 / 10)) ] && [ $(($(used) / 1024)) -lt $((real * 12 / 10)) ] &&
    pass "is about what the disk says" || fail "is about what the disk says" "$(used) bytes, du: $real KiB"

# ---- more than there is room for ----
SMALL=$T/small/var/lib/coracle/images
mkdir -p "$SMALL"
mount -t tmpfs -o size=24m,nr_inodes=2000 none "$SMALL"
at_end umount "$SMALL"
"$B/libexec/coracle/coracle-cri" --root "$T/small" >>"$T/cri.log" 2>&1 &
small=$!
at_end eval "kill $small 2>/dev/null; wait $small"
small() { "$B/tests/bin/images" "$T/small/run/coracle/cri.sock" "$@"; }
eventually 60 small fsinfo || bail "no second daemon"
clean() { ok "$1" eventually 20 eval "[ -z \"\$(ls '$SMALL/tmp')\" ]"; }
like "$(small pull "$bad/ten-gigabytes:v1" 2>&1)" "^RESOURCE_EXHAUSTED: .*layer sha256:[0-9a-f]*: the disk has no room" "a layer that claims 10 GB"
is "$(blobs_asked ten-gigabytes)" 1 "is not even begun"
like "$(images pull "$bad/absurd:v1" 2>&1)" "^INVALID_ARGUMENT: .*layers\\[0\\].size is over" "one that claims more than any disk"
like "$(images pull "$bad/huge-config:v1" 2>&1)" "^INVALID_ARGUMENT: .*config.size is over" "a config that claims too much"
like "$(images pull "$bad/huge-manifest:v1" 2>&1)" "a manifest or config of more than" "a manifest that is too much"
bomb() { # NAME COMMAND…: an archive NAME.tar whose layer is what COMMAND makes of the tar on its input
    local name=$1 d=$T/$1
    shift
    mkdir -p "$d/blobs/sha256"
    jq -cn --arg d "sha256:$(tar -C "$T/bomb" -cf - . | sha256sum | cut -d' ' -f1)" --arg a "$(dpkg --print-architecture)" \
        '{architecture: $a, os: "linux", config: {}, rootfs: {type: "layers", diff_ids: [$d]}}' >"$d/config"
    tar -C "$T/bomb" -cf - . | "$@" >"$d/layer"
    python3 - "$d" "$name" <<'END'
import hashlib, json, os, sys
d, name = sys.argv[1:]
def blob(file, kind):
    data = open(d + "/" + file, "rb").read()
    digest = hashlib.sha256(data).hexdigest()
    os.rename(d + "/" + file, d + "/blobs/sha256/" + digest)
    return {"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + digest, "size": len(data)}
m = {"schemaVersion": 2, "config": blob("config", "config.v1+json"), "layers": [blob("layer", "layer.v1.tar+gzip")]}
open(d + "/manifest", "w").write(json.dumps(m))
e = blob("manifest", "manifest.v1+json")
e["annotations"] = {"io.containerd.image.name": "coracle.local/%s:v1" % name}
open(d + "/index.json", "w").write(json.dumps({"schemaVersion": 2, "manifests": [e]}))
END
    tar -C "$d" -cf "$d.tar" index.json blobs
}
mkdir "$T/bomb"
head -c 200M /dev/zero >"$T/bomb/zeros"
bomb zeros gzip -1
like "$(du -k "$T/zeros.tar" | cut -f1)" '^[0-9]{1,4}$' "200 MB of zeros in less than 10 MB"
like "$(small import "$T/zeros.tar" 2>&1)" "^RESOURCE_EXHAUSTED: .*(disk is free|No space left)" "fill no disk"
clean "and leave nothing"
bomb twice sh -c 'gzip -9 | gzip -9'
like "$(small import "$T/twice.tar" 2>&1)" "^INVALID_ARGUMENT: .*the layer is compressed more than once" "packed twice they are refused"
gzip -1 <"$T/zeros.tar" | gzip -1 >"$T/zeros.tar.gz.gz"
like "$(small import "$T/zeros.tar.gz.gz" 2>&1)" "^INVALID_ARGUMENT: .*the archive is compressed more than once" "so is an archive"
bomb window zstd -q --long=31 -c
like "$(small import "$T/window.tar" 2>&1)" "^(INVALID_ARGUMENT|RESOURCE_EXHAUSTED): .*does not decompress" "zstd that asks for 2 GB of memory"
rm "$T/bomb/zeros"
(cd "$T/bomb" && for i in $(seq 3000); do echo "f$i"; done | xargs touch)
bomb files gzip -1
like "$(small import "$T/files.tar" 2>&1)" "^RESOURCE_EXHAUSTED: .*No space left" "more files than the disk has room for"
clean "leave nothing either"
is "$(small import "$hello" | cut -d' ' -f2)" "coracle.local/hello:v1" "what fits is imported after all that"

stop_cri
is "$?" 0 "coracle-cri ends orderly"
is "$(grep -c 'ERROR: AddressSanitizer\|runtime error' "$T/cri.log")" 0 "no sanitizer report"
done_testing
