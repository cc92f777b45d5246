#!/usr/bin/env bash
# The systemd cgroup driver with a real systemd: a machine in QEMU (no acceleration needed), Debian's
# kernel, this machine's files as its root, read-only below a tmpfs. Slow: minutes.
#
#   KERNEL=DIR    where a linux-image package is: /, or a directory it was unpacked to with dpkg -x
#
# The guest runs this same file, as a service of its systemd.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
. "$TOP/tests/lib/tap.sh"

host() {
    local kernel=${KERNEL:-/} image release modules m
    [ "$(id -u)" = 0 ] || skip_all "needs root"
    command -v busybox >/dev/null || skip_all "needs busybox-static"
    command -v qemu-system-x86_64 >/dev/null || skip_all "needs qemu-system-x86"
    [ -x /lib/systemd/systemd ] || skip_all "needs systemd's files"
    image=$(ls "$kernel"/boot/vmlinuz-*-amd64 2>/dev/null | tail -1)
    release=${image##*/vmlinuz-}
    modules=$kernel/lib/modules/$release/kernel
    [ -n "$image" ] && [ -d "$modules" ] || skip_all "needs a linux-image package (KERNEL=DIR)"

    # The initial file system: enough to mount the root.
    mkdir -p "$T/i"/{bin,dev,proc,sys,lower,rw,new,m}
    cp "$(command -v busybox)" "$T/i/bin/busybox"
    for m in drivers/virtio/virtio drivers/virtio/virtio_ring drivers/virtio/virtio_pci_modern_dev \
        drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci fs/netfs/netfs fs/fscache/fscache \
        net/9p/9pnet net/9p/9pnet_virtio fs/9p/9p fs/overlayfs/overlay drivers/net/veth net/llc/llc \
        net/802/stp net/bridge/bridge; do
        [ -e "$modules/$m.ko" ] || skip_all "the kernel has no module ${m##*/}"
        cp "$modules/$m.ko" "$T/i/m/"
        echo "insmod /m/${m##*/}.ko" >>"$T/insmod"
    done
    {
        cat <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc # --install looks there for itself
/bin/busybox --install /bin
export PATH=/bin
mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
INIT
        cat "$T/insmod"
        cat <<INIT
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose root /lower || echo "no root" >/dev/ttyS1
mount -t tmpfs tmpfs /rw
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work root /new
# What holds the writable layers of containers must not be an overlay itself.
for d in /tmp /var/lib /var/log; do mount -t tmpfs tmpfs /new\$d; done
mkdir -p /new$T && mount --bind /lower$T /new$T # the guest's part of the test's directory, read-only
: >/new/etc/fstab
rm -f /new/.dockerenv # where this machine is a container the guest would take itself for one
cat >/new/etc/systemd/system/coracle-test.service <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
TimeoutStartSec=infinity
Environment=GUEST=1 TOP=$TOP B=$B PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
WorkingDirectory=$TOP
ExecStart=/bin/bash -c 'exec bash tests/soak/systemd-qemu.t >/dev/ttyS1 2>&1'
ExecStopPost=/bin/bash -c 'echo "@exit \$\$EXIT_STATUS" >/dev/ttyS1; sleep 1; echo o >/proc/sysrq-trigger'
UNIT
# Directories that are mounts outside look like mounts to systemd: it gets these mounted.
mount -t tmpfs -o mode=755 tmpfs /new/run
mount -t proc proc /new/proc; mount -t sysfs sysfs /new/sys; mount -t devtmpfs dev /new/dev
exec switch_root /new /lib/systemd/systemd
INIT
    } >"$T/i/init"
    chmod 755 "$T/i/init"
    (cd "$T/i" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$T/initrd"
    timeout "${SECONDS_MAX:-3000}" qemu-system-x86_64 -M pc -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -display none \
        -no-reboot -nic none -kernel "$image" -initrd "$T/initrd" -virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
        -append "console=ttyS0 quiet panic=-1 psi=1 systemd.unit=coracle-test.service systemd.unified_cgroup_hierarchy=1 systemd.show_status=no" \
        -serial "file:$T/console" -serial stdio -monitor none </dev/null 2>"$T/qemu.err" |
        tee "$T/out" | sed -u 's/\r$//; /^@exit/d'
    [ "$(sed -n 's/\r$//; s/^@exit //p' "$T/out")" = 0 ] || {
        { tail -40 "$T/console"; cat "$T/qemu.err"; } | sed 's/^/# /' >&2
        bail "the guest did not come to a good end"
    }
    exit 0
}

[ -n "${GUEST:-}" ] || host

# ---- in the guest ----
mount -t tmpfs tmpfs /root
ip link set lo up
. "$TOP/tests/lib/cri.sh"
diag "$(systemctl --version | head -1), Linux $(uname -r), $(cat /sys/fs/cgroup/cgroup.controllers)"
cri_setup
busybox_root "$T/bb"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
# The daemon as a service, as its unit will have it.
unit_start() {
    local unit=/run/systemd/system/coracle-cri.service
    if [ ! -e "$unit" ]; then # a file: one of systemd-run stays loaded while shims live in its group
        printf '%s\n' '[Unit]' DefaultDependencies=no '[Service]' Delegate=yes KillMode=process \
            "ExecStart=/usr/bin/nsenter --net=/run/netns/$NETNS $LIBEXEC/coracle-cri --root $R --pod-cidr 10.99.0.0/24 --cgroup-driver systemd" >"$unit"
        systemctl daemon-reload
    fi
    systemctl start coracle-cri
    eventually 60 cri version || { journalctl -u coracle-cri --no-pager | tail -20 >&2; bail "coracle-cri does not serve"; }
}
cri_cleanup() { for p in $(cri pods | jq -r '.items[]?.id'); do cri rmp "$p"; done; }
unit_start
cri_import "$T/bb.tar" >/dev/null || bail "no image"
scopes() { systemctl list-units --all --no-legend --plain 'cri-coracle-*' | awk '{print $1}'; }
show() { systemctl show "cri-coracle-$1.scope" -p "$2" --value; }
P=kubelet-kubepods-burstable-pod0a_1b
SLICES=/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/$P.slice
a=$(cri runp "$(pod a ".linux.cgroup_parent=\"$SLICES\"")")
k=$(run "$a" one 'exec sleep 10000' '.linux.resources={memory_limit_in_bytes:67108864,cpu_quota:20000,cpu_period:100000,cpuset_cpus:"1"}')
is "$(show "$k" ActiveState) $(show "$k" Delegate) $(show "$k" Slice) $(show "$k" TasksMax)" "active yes $P.slice infinity" "a delegated scope in the pod's slice"
is "$(show "$k" ControlGroup)" "$SLICES/cri-coracle-$k.scope" "... where we think it is"
pid=$(cri inspect "$k" | jq -r .info.info | jq -r .pid)
is "$(cat "/proc/$pid/cgroup")" "0::$SLICES/cri-coracle-$k.scope/container" "the container is in a group below"
dir=/sys/fs/cgroup$SLICES/cri-coracle-$k.scope/container
limits() { cat "$dir/memory.max" "$dir/cpu.max" "$dir/cpuset.cpus" | xargs; }
is "$(limits)" "67108864 20000 100000 1" "... with its limits"
systemctl daemon-reload
is "$(limits)" "67108864 20000 100000 1" "they survive systemctl daemon-reload"
systemctl daemon-reexec
is "$(limits) $(systemctl is-active "cri-coracle-$k.scope")" "67108864 20000 100000 1 active" "... and daemon-reexec"
d=$(run "$a" two 'exec sleep 10000' '.linux.security_context.run_as_user={value:0}')
is "$(state "$d")" CONTAINER_RUNNING "systemd is asked again after it executed itself anew"
like "$(cri exec "$d" sh -c 'mknod /tmp/mem c 1 1 && head -c1 /tmp/mem 2>&1')" "not permitted" "device rules hold"
systemctl daemon-reload
like "$(cri exec "$d" sh -c 'head -c1 /tmp/mem 2>&1')" "not permitted" "... also after daemon-reload"
ok "pressure is told" jq -e '[.stats[] | select((.cpu.psi | has("Some")) and (.memory.psi | has("Full")) and (.io.psi | has("Some")))] | length == 2' <<<"$(cri stats)"

# ---- ends ----
wrong=0
for i in $(seq 1 10); do
    o=$(run "$a" "oom$i" 'exec busybox tail /dev/zero' '.linux.resources={memory_limit_in_bytes:16777216,memory_swap_limit_in_bytes:16777216}')
    eventually 60 is_state "$o" EXITED
    [ "$(field "$o" exit_code) $(field "$o" reason)" = "137 OOMKilled" ] || wrong=$((wrong + 1))
done
is $wrong 0 "ten containers out of memory, each with its reason"
only() { [ "$(scopes | sort | xargs)" = "$(printf 'cri-coracle-%s.scope\n' "$@" | sort | xargs)" ]; }
ok "their scopes are gone" eventually 30 only "$k" "$d"
is "$(systemctl list-units --failed --no-legend --plain 'cri-coracle-*' | wc -l)" 0 "none has failed"
e=$(run "$a" graceful 'trap "exit 7" TERM; while :; do sleep 0.1; done')
sleep 1
systemctl stop "cri-coracle-$e.scope"
ok "a scope stopped by systemctl ends its container" eventually 30 is_state "$e" EXITED

# ---- the daemon is restarted ----
shim=$(cri inspectp "$a" | jq -r .info.info | jq -r .pid)
systemctl stop coracle-cri
ok "stopping the unit spares shims and containers" kill -0 "$shim" "$pid"
systemctl reset-failed coracle-cri 2>/dev/null
unit_start
is "$(state "$k") $(cri inspect "$k" | jq -r .info.info | jq -r .pid)" "CONTAINER_RUNNING $pid" "the next daemon adopts them"
w=$(cri create "$a" "$(container waits 'exec sleep 10000')")
systemctl kill --kill-whom=main -s KILL coracle-cri
eventually 20 bash -c '! systemctl is-active -q coracle-cri'
systemctl reset-failed coracle-cri 2>/dev/null
unit_start
ok "a container that waited through a kill -9 starts" cri start "$w"
kill -9 "$shim"
none() { [ -z "$(scopes)" ]; }
ok "a killed shim: all its scopes end" eventually 30 none
cri rmp "$a"
is "$(systemctl is-active "$P.slice")" active "the pod's slice is the kubelet's to remove"
b=$(cri runp "$(pod b '.linux |= del(.cgroup_parent)')")
m=$(run "$b" lonely 'exec sleep 10000')
is "$(show "$m" ControlGroup)" "/coracle.slice/coracle-pods.slice/cri-coracle-$m.scope" "a pod without a parent is in our slice"
systemctl kill -s KILL coracle-cri
eventually 20 bash -c '! systemctl is-active -q coracle-cri'
ok "--cleanup" nsenter --net=/run/netns/$NETNS "$LIBEXEC/coracle-cri" --root "$R" --cgroup-driver systemd --cleanup
ok "... leaves no scope" eventually 30 none
is "$(systemctl is-active coracle.slice)" inactive "... and no slice"

# ---- what only this kernel has ----
ok "the unit tests of the groups: cpusets, swap, huge pages" "$B/tests/unit/test_cgroup"
done_testing
