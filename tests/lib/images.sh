# What tests of images share: source it after tap.sh.
#
#   testimage NAME [mkimage options]   prints the path of an archive: `busybox` (a static busybox with
#                                      its applets), or NAME of tests/lib/image/NAME.c, or `hello`
#   start_registry [htpasswd FILE]     sets REGISTRY to host:port of a new docker-registry on loopback
#   push ARCHIVE NAME                  copies an OCI archive into it: NAME is repository:tag

# An image archive, made once per test run under $T. It is called coracle.local/NAME:v1.
testimage() {
    local name=$1 out=$T/images/$1.tar root=$T/images/$1.root
    shift
    if [ ! -e "$out" ]; then
        mkdir -p "$root"
        case $name in
        busybox)
            mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/root" "$root/var/run" "$root/usr"
            cp "$(command -v busybox)" "$root/bin/busybox"
            local applet
            for applet in $("$root/bin/busybox" --list); do
                [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
            done
            chmod 1777 "$root/tmp"
            printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
            printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
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
        if eventually 10 eval "kill -0 $REGISTRY_PID && curl -s -o $T/.registry http://$REGISTRY/v2/"; then
            at_end kill "$REGISTRY_PID"
            return 0
        fi
        kill "$REGISTRY_PID" 2>/dev/null
    done
    cat "$dir/log" >&2
    return 1
}

# push ARCHIVE NAME [skopeo options]
push() {
    local archive=$1 name=$2
    shift 2
    TMPDIR=$T skopeo copy -q --dest-tls-verify=false "$@" "oci-archive:$archive" "docker://$REGISTRY/$name"
}
