# make_image ARCHIVE NAME ROOTDIR [CONFIG]: an OCI archive with one layer made of ROOTDIR. CONFIG is
# the "config" object of the image's configuration (Entrypoint, Cmd, Env, User, …).
make_image() {
    local out=$1 name=$2 root=$3 config=${4:-{\}} work layer diff size cfg man
    work=$(mktemp -d "$T/image.XXXXXX")
    mkdir -p "$work/blobs/sha256"
    tar --sort=name --numeric-owner --owner=0 --group=0 -C "$root" -cf "$work/layer" .
    diff=$(sha256sum <"$work/layer" | cut -d' ' -f1)
    gzip -n "$work/layer"
    layer=$(sha256sum <"$work/layer.gz" | cut -d' ' -f1)
    size=$(stat -c %s "$work/layer.gz")
    mv "$work/layer.gz" "$work/blobs/sha256/$layer"
    jq -cn --argjson c "$config" --arg d "sha256:$diff" --arg a "$(dpkg --print-architecture)" \
        '{created: "2026-01-01T00:00:00Z", architecture: $a, os: "linux", config: $c, rootfs: {type: "layers", diff_ids: [$d]}}' >"$work/cfg"
    cfg=$(sha256sum <"$work/cfg" | cut -d' ' -f1)
    jq -cn --arg c "sha256:$cfg" --argjson cs "$(stat -c %s "$work/cfg")" --arg l "sha256:$layer" --argjson ls "$size" \
        '{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $c, size: $cs}, layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: $l, size: $ls}]}' >"$work/man"
    mv "$work/cfg" "$work/blobs/sha256/$cfg"
    man=$(sha256sum <"$work/man" | cut -d' ' -f1)
    jq -cn --arg m "sha256:$man" --argjson s "$(stat -c %s "$work/man")" --arg n "$name" \
        '{schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $m, size: $s, annotations: {"org.opencontainers.image.ref.name": $n, "io.containerd.image.name": $n}}]}' >"$work/index.json"
    mv "$work/man" "$work/blobs/sha256/$man"
    echo '{"imageLayoutVersion":"1.0.0"}' >"$work/oci-layout"
    tar -C "$work" -cf "$out" oci-layout index.json blobs
    rm -rf "$work"
}
# busybox_root DIR: a root with busybox and its applets, users, a /tmp.
busybox_root() {
    mkdir -p "$1"/{bin,etc,tmp,root,home/alice,www}
    cp "$(command -v busybox)" "$1/bin/busybox"
    local a
    for a in sh ls cat echo sleep id env hostname ip ping wget httpd nc mount ps kill touch stat head \
        grep mkdir rm true false test chmod tr wc seq dd sync pwd cut sort sed readlink mknod chroot; do
        ln -sf busybox "$1/bin/$a"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000:Alice:/home/alice:/bin/sh\n' >"$1/etc/passwd"
    printf 'root:x:0:\nalice:x:1000:\nstaff:x:50:alice\n' >"$1/etc/group"
    chmod 1777 "$1/tmp"
    echo hello from the image >"$1/www/index.html"
}
