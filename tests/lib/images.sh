# What tests of images share: source it after tap.sh.
#
#   busybox_root DIR                   makes a root directory of busybox with all its applets and users
#   make_image ARCHIVE NAME DIR [CONFIG [DIR]…]   an OCI archive with a layer made of DIR, and of each
#                                      further one; CONFIG is the "config" object of the image's
#                                      configuration
#   testimage NAME [mkimage options]   prints the path of an archive, made once, whose image is called
#                                      coracle.local/NAME:v1: `busybox`, `hello`, or NAME of
#                                      tests/lib/image/NAME.c
#   start_registry [htpasswd FILE]     sets REGISTRY to host:port of a new docker-registry on loopback
#   push ARCHIVE NAME [OPTION…]        copies an OCI archive into it: NAME is repository:tag

busybox_root() {
    local applet
    mkdir -p "$1"/{bin,etc,tmp,root,home/alice,var/run,usr,www}
    cp "$(command -v busybox)" "$1/bin/busybox"
    for applet in $("$1/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -sf busybox "$1/bin/$applet"
    done
    printf '%s\n' root:x:0:0:root:/root:/bin/sh alice:x:1000:1000:Alice:/home/alice:/bin/sh \
        nobody:x:65534:65534:nobody:/:/bin/false >"$1/etc/passwd"
    printf '%s\n' root:x:0: alice:x:1000: staff:x:50:alice nogroup:x:65534: >"$1/etc/group"
    chmod 1777 "$1/tmp"
    echo hello from the image >"$1/www/index.html"
}

make_image() { TMPDIR=$T "$TOP/manifests/examples/mkimage" -o "$1" -n "$2" -C "${4:-{\}}" "$3" "${@:5}"; }

testimage() {
    local name=$1 out=$T/images/$1.tar root=$T/images/$1.root
    shift
    if [ ! -e "$out" ]; then
        mkdir -p "$root"
        case $name in
        busybox)
            busybox_root "$root"
            [ $# -gt 0 ] || set -- -c /bin/sh
            ;;
        hello)
            cp "$B/share/coracle/hello" "$root/hello"
            [ $# -gt 0 ] || set -- -e /hello -u 65534:65534
            ;;
        *)
            cp "$B/tests/image/$name" "$root/$name"
            [ $# -gt 0 ] || set -- -e "/$name"
            ;;
        esac
        "$TOP/manifests/examples/mkimage" -o "$out" -n "coracle.local/$name:v1" "$@" "$root" || return 1
    fi
    echo "$out"
}

# A port that nobody listens on now.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start_registry() {
    local dir port i
    dir=$(mktemp -d "$T/registry.XXXX")
    for i in 1 2 3 4 5; do
        port=$(free_port)
        {
            printf 'version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: %s\n' "$dir/data"
            printf 'http:\n  addr: 127.0.0.1:%s\nlog:\n  level: error\n' "$port"
            [ "${1:-}" != htpasswd ] || printf 'auth:\n  htpasswd:\n    realm: test\n    path: %s\n' "$2"
        } >"$dir/config.yml"
        docker-registry serve "$dir/config.yml" >"$dir/log" 2>&1 &
        REGISTRY_PID=$!
        REGISTRY=127.0.0.1:$port
        eventually 60 eval "! kill -0 $REGISTRY_PID || curl -s -o $T/.registry http://$REGISTRY/v2/"
        if kill -0 $REGISTRY_PID; then
            at_end kill "$REGISTRY_PID"
            return 0
        fi
        kill "$REGISTRY_PID" 2>/dev/null
    done
    cat "$dir/log" >&2
    return 1
}

push() {
    local archive=$1 name=$2
    shift 2
    TMPDIR=$T skopeo copy -q --dest-tls-verify=false "$@" "oci-archive:$archive" "docker://$REGISTRY/$name"
}
