#!/usr/bin/env bash
# Export of images: the archive is one that OCI and Docker tools take, its layers are those that came.
. "$(dirname "$0")/../lib/imagestore.sh"
for tool in skopeo umoci jq; do command -v $tool >/dev/null || skip_all "needs $tool"; done
start_cri || bail "coracle-cri does not start: $(tail -5 "$T/cri.log")"
python3 "$TOP/tests/lib/layers.py" "$T/made" >"$T/made.log" 2>&1 || bail "layers.py: $(cat "$T/made.log")"
hello=$(testimage hello)
HELLO=$(images import "$hello" | cut -d' ' -f1)
GOOD=$(images import "$T/made/good.tar" | cut -d' ' -f1)
skopeo copy -q "oci-archive:$hello" "docker-archive:$T/docker.tar:docker.io/some/repo:tag"
images import "$T/docker.tar" >/dev/null

# ---- it comes back as it was ----
ok "an image of four difficult layers" images export "$T/good.tar" coracle.local/good:v1
images export "$T/again.tar" "$GOOD"
is "$(hex "$T/again.tar")" "$(hex "$T/good.tar")" "the same bytes each time"
is "$(tar -tf "$T/good.tar" | head -5 | tr '\n' ' ')" "blobs/ blobs/sha256/ oci-layout index.json manifest.json " "what readers look for comes first"
images remove "$GOOD"
is "$(images import "$T/good.tar")" "$GOOD coracle.local/good:v1" "imported it is the same image, every layer as it was"
mkdir "$T/other"
"$B/libexec/coracle/coracle-cri" --root "$T/other" >>"$T/other.log" 2>&1 &
other=$!
at_end eval "kill $other 2>/dev/null; wait $other"
other() { "$B/tests/bin/images" "$T/other/run/coracle/cri.sock" "$@"; }
eventually 20 other fsinfo || bail "no second daemon"
is "$(images export - coracle.local/hello:v1 coracle.local/good:v1 | other import - | sort)" \
    "$(printf '%s\n' "$HELLO coracle.local/hello:v1" "$GOOD coracle.local/good:v1" | sort)" "from one node to another, without a file"
images export "$T/empty.tar" "$(images import "$T/made/tame-empty.tar" | cut -d' ' -f1)"
like "$(other import "$T/empty.tar")" "coracle.local/tame-empty:v1" "an image without layers"

# ---- other tools ----
images export "$T/hello.tar" "$HELLO"
is "$(tar -xOf "$T/hello.tar" manifest.json | jq -r '.[0].RepoTags | sort | join(" ")')" "coracle.local/hello:v1 docker.io/some/repo:tag" "an ID stands for all tags"
images export "$T/one.tar" some/repo:tag
is "$(tar -xOf "$T/one.tar" manifest.json | jq -r '.[0].RepoTags | join(" ")')" "docker.io/some/repo:tag" "a tag for itself"
is "$(tar -tf "$T/one.tar" | sort | uniq -d)" "" "no member is there twice"
is "$(skopeo inspect --raw --config "oci-archive:$T/one.tar" | sha256sum | cut -d' ' -f1)" "${HELLO#sha256:}" "skopeo reads it as an OCI archive"
is "$(skopeo inspect --raw --config "docker-archive:$T/one.tar:some/repo:tag" | sha256sum | cut -d' ' -f1)" "${HELLO#sha256:}" "and as a Docker archive"
skopeo copy -q "oci-archive:$T/one.tar" "oci:$T/layout:one"
ok "umoci unpacks it" umoci unpack --image "$T/layout:one" "$T/bundle"
is "$(hex "$T/bundle/rootfs/hello")" "$(hex "$B/share/coracle/hello")" "to the same files"
skopeo copy -q "oci-archive:$T/one.tar" "oci-archive:$T/back.tar:docker.io/back/again:1"
is "$(other import "$T/back.tar")" "$HELLO coracle.local/hello:v1 docker.io/back/again:1" "what they make of it is still the same image"
ok "the front command" "$B/bin/coracle" image export --root "$T" -o "$T/front.tar" some/repo:tag
is "$(hex "$T/front.tar")" "$(hex "$T/one.tar")" "writes the same"
is "$("$B/bin/coracle" image export --root "$T" some/repo:tag | sha256sum | cut -d' ' -f1)" "$(hex "$T/one.tar")" "to standard output too"
is "$("$B/bin/coracle" image export --root "$T" coracle.local/good:v1 | gzip -1 | "$B/bin/coracle" image import --root "$T/other" -)" \
    "imported coracle.local/good:v1 (${GOOD:0:19})" "and through a pipe into another node"

# ---- sparse and huge files, links in the way, the same name twice ----
sparse() { # NAME TAR-OPTIONS…: an image with a file of 9 GB, nearly all of it hole
    local name=$1
    shift
    mkdir -p "$T/$name/blobs/sha256"
    tar -C "$T/sparse" "$@" --sparse -cf "$T/$name/layer" .
    oci_layer "$T/$name" "$name"
}
oci_layer() { # DIR NAME: makes the archive DIR.tar of DIR/layer
    local d=$1 diff cfg man
    diff=$(hex "$d/layer")
    jq -cn --arg d "sha256:$diff" --arg a "$(dpkg --print-architecture)" \
        '{architecture: $a, os: "linux", config: {}, rootfs: {type: "layers", diff_ids: [$d]}}' >"$d/cfg"
    cfg=$(hex "$d/cfg")
    jq -cn --arg c "sha256:$cfg" --argjson cs "$(stat -c %s "$d/cfg")" --arg l "sha256:$diff" --argjson ls "$(stat -c %s "$d/layer")" \
        '{schemaVersion: 2, config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $c, size: $cs},
          layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar", digest: $l, size: $ls}]}' >"$d/man"
    man=$(hex "$d/man")
    jq -cn --arg m "sha256:$man" --argjson s "$(stat -c %s "$d/man")" --arg n "coracle.local/$2:v1" \
        '{schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $m, size: $s,
          annotations: {"io.containerd.image.name": $n}}]}' >"$d/index.json"
    mv "$d/cfg" "$d/blobs/sha256/$cfg"
    mv "$d/man" "$d/blobs/sha256/$man"
    mv "$d/layer" "$d/blobs/sha256/$diff"
    tar -C "$d" -cf "$d.tar" index.json blobs
}
mkdir "$T/sparse"
truncate -s 9G "$T/sparse/huge"
printf middle | dd of="$T/sparse/huge" bs=1 seek=5000000000 conv=notrunc 2>/dev/null
printf end | dd of="$T/sparse/huge" bs=1 seek=$((9 * 1024 * 1024 * 1024 - 3)) conv=notrunc 2>/dev/null
n=0
for format in "--format=gnu" "--format=pax --sparse-version=0.0" "--format=pax --sparse-version=0.1" "--format=pax --sparse-version=1.0"; do
    n=$((n + 1))
    sparse "sparse$n" $format
    ID=$(images import "$T/sparse$n.tar" | cut -d' ' -f1)
    file=$(layers_of "$ID")/huge
    is "$(stat -c %s "$file") $(dd if="$file" bs=1 skip=5000000000 count=6 2>/dev/null) $(tail -c 3 "$file")" "9663676416 middle end" "$format: a sparse file of 9 GB"
    like "$(du -k "$file" | cut -f1)" '^[0-9]{1,2}$' "takes no more than its bytes"
    images export "$T/out.tar" "$ID"
    is "$(other import "$T/out.tar" | cut -d' ' -f1)" "$ID" "and is exported as it came"
    images remove "$ID"
done
cat >"$T/twice.py" <<'END'
import io, sys, tarfile
kind, out = sys.argv[1:]
with tarfile.open(out, "w") as t:
    def add(name, data=b"", type=tarfile.REGTYPE, link=""):
        m = tarfile.TarInfo(name)
        m.size, m.type, m.linkname, m.mode = len(data), type, link, 0o755
        t.addfile(m, io.BytesIO(data))
    if kind == "twice":
        add("f", b"first"); add("f", b"other")
    else:
        add("real", type=tarfile.DIRTYPE); add("way", type=tarfile.SYMTYPE, link="real")
        add("way/f", b"behind a link"); add("way", type=tarfile.DIRTYPE); add("way/f", b"another")
END
for kind in twice link; do
    mkdir -p "$T/$kind/blobs/sha256"
    python3 "$T/twice.py" $kind "$T/$kind/layer"
    oci_layer "$T/$kind" $kind
    images import "$T/$kind.tar" >/dev/null
done
ok "a file behind a link that is replaced later" images export "$T/out.tar" coracle.local/link:v1
is "$(other import "$T/out.tar" | cut -d' ' -f2)" "coracle.local/link:v1" "is exported as it came"
like "$(images export "$T/out.tar" coracle.local/twice:v1 2>&1)" "^DATA_LOSS: .*blobs/sha256/[0-9a-f]{64}: it is not what it was" "a layer that held the same file twice cannot be, and that is said"

# ---- while the image goes ----
(images export - coracle.local/good:v1 coracle.local/hello:v1; echo $? >"$T/status") | { head -c 1; touch "$T/begun"; sleep 2; cat; } >"$T/late.tar" &
late=$!
eventually 60 test -e "$T/begun"
images remove "$GOOD"
wait $late
is "$(cat "$T/status") $(other import "$T/late.tar" | grep -c "$GOOD")" "0 1" "an image that is removed meanwhile still comes whole"
ok "and goes then" eventually 20 eval "[ -z \"\$(ls '$STORE/tmp')\" ] && ! grep -l '$(tar -xOf "$T/good.tar" "$(tar -xOf "$T/good.tar" manifest.json | jq -r '.[0].Config')" | jq -r '.rootfs.diff_ids[3]')' '$STORE'/layers/*/layer.json"

# ---- errors ----
like "$(images export "$T/out.tar" coracle.local/hello:v1 nothing:here 2>&1)" '^NOT_FOUND: no image "nothing:here"' "an image that is not there is named"
like "$(images export "$T/out.tar" 2>&1)" "^INVALID_ARGUMENT: names: " "no image at all"
like "$("$B/bin/coracle" image export --root "$T" -o "$T/no/such/dir.tar" some/repo:tag 2>&1)" "no/such/dir.tar.*No such file" "a place that is not there"
file=$(layers_of coracle.local/hello:v1)/hello
printf x | dd of="$file" bs=1 seek=100 conv=notrunc 2>/dev/null
like "$("$B/bin/coracle" image export --root "$T" -o "$T/bad.tar" some/repo:tag 2>&1)" "it is not what it was" "a layer that changed on disk is noticed"
is "$(ls "$T" | grep bad.tar)" "" "and leaves no file"
truncate -s 100 "$file"
like "$(images export "$T/out.tar" some/repo:tag 2>&1)" '^DATA_LOSS: .*"hello" is shorter than it was' "one that lost something too"
rm "$file"
like "$(images export "$T/out.tar" some/repo:tag 2>&1)" '^DATA_LOSS: .*"hello" is no longer in it' "or everything"
echo nonsense >"$(dirname "$file")/../recipe"
like "$(images export "$T/out.tar" some/repo:tag 2>&1)" '^DATA_LOSS: .*notes on how the layer is made are damaged' "damaged notes"
{ timeout -s KILL 1 "$B/tests/bin/images" "$T/run/coracle/cri.sock" export - coracle.local/link:v1 | sleep 3; } 2>/dev/null
ok "a client that is gone ends it" eventually 10 images fsinfo

stop_cri
is "$?" 0 "coracle-cri ends orderly"
is "$(grep -c 'ERROR: AddressSanitizer\|runtime error' "$T/cri.log")" 0 "no sanitizer report"
done_testing
