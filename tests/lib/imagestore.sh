# Tests of images in a network namespace of their own, so that registries listen on its loopback: source
# it first. It starts the test again in there and sources tap.sh and images.sh.
#
#   start_cri [FLAG…], stop_cri [-SIGNAL]   the daemon, below the root $T; its store is $STORE
#   images …                                the image services' test client, talking to it
#   layers_of NAME                          the layer directories of an image, top first
#   merged NAME DIR                         mounts its merged tree at DIR
#   start_bad_registry ARCHIVE              bad_registry.py with that image; sets $bad to its host:port
if [ -z "${IMAGES_NETNS:-}" ]; then
    export IMAGES_NETNS=coracle-images-$$
    ip netns add $IMAGES_NETNS 2>/dev/null || { echo "1..0 # SKIP needs root and network namespaces"; exit 0; }
    trap 'ip netns del $IMAGES_NETNS' EXIT
    trap 'exit 130' INT TERM
    ip -n $IMAGES_NETNS link set lo up
    nsenter --net=/run/netns/$IMAGES_NETNS bash "$0" "$@"
    exit $?
fi
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"
. "$TOP/tests/lib/images.sh"

STORE=$T/var/lib/coracle/images
CRI=
at_end eval '[ -z "$CRI" ] || stop_cri'
start_cri() {
    "$B/libexec/coracle/coracle-cri" --root "$T" --v 4 "$@" >>"$T/cri.log" 2>&1 &
    CRI=$!
    eventually 60 images fsinfo
}
stop_cri() {
    kill "${1:--TERM}" "$CRI" 2>/dev/null
    wait "$CRI" 2>/dev/null
}
images() { "$B/tests/bin/images" "$T/run/coracle/cri.sock" "$@"; }
layers_of() {
    local chain n out=
    chain=$(images info "$1" | sed -n 's/^info //p' | jq -r .chainID)
    while [ -n "$chain" ] && [ "$chain" != null ]; do
        n=$(grep -l "\"chain\":\"$chain\"" "$STORE"/layers/*/layer.json) || return 1
        out=$out${out:+:}$(dirname "$n")/fs
        chain=$(jq -r .parent "$n")
    done
    echo "$out"
}
merged() {
    local lower
    lower=$(layers_of "$1") || return 1
    mkdir -p "$2"
    mount -t overlay overlay -o "lowerdir=$lower:$STORE/layers/empty" "$2" || return 1
    at_end eval "! mountpoint -q $2 || umount $2"
}
remove_all() { images list | sed -n 's/^id //p' | while read -r id; do images remove "$id"; done; }
hex() { sha256sum "$1" | cut -d' ' -f1; }
start_bad_registry() {
    local port
    port=$(free_port)
    python3 "$TOP/tests/lib/bad_registry.py" "$port" "$1" 2>"$T/bad.log" &
    at_end kill $!
    eventually 60 curl -s -o "$T/.x" "http://127.0.0.1:$port/v2/" || bail "$(cat "$T/bad.log")"
    bad=127.0.0.1:$port
}
