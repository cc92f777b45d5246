"""Image archives whose layers are difficult (good.tar), hostile (bad-*.tar: must be refused) or hostile
but harmless when confined (tame-*.tar: must be imported without effect outside). Argument: a folder."""
import hashlib, io, json, os, sys, tarfile, platform

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
victim = os.path.join(os.path.dirname(out), "victim")
ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(platform.machine(), platform.machine())


class Layer:
    def __init__(self, format=tarfile.PAX_FORMAT, encoding="utf-8"):
        self.buf = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buf, mode="w", format=format, encoding=encoding)

    def add(self, name, data=b"", kind=tarfile.REGTYPE, link="", mode=0o644, uid=0, gid=0, xattrs=None, dev=(0, 0), mtime=1000000000):
        i = tarfile.TarInfo(name)
        i.type, i.linkname, i.mode, i.uid, i.gid, i.mtime = kind, link, mode, uid, gid, mtime
        i.size = len(data)
        i.devmajor, i.devminor = dev
        if xattrs:
            i.pax_headers = {"SCHILY.xattr." + k: v for k, v in xattrs.items()}
        self.tar.addfile(i, io.BytesIO(data))
        return self

    def dir(self, name, mode=0o755, **k):
        return self.add(name, kind=tarfile.DIRTYPE, mode=mode, **k)

    def link(self, name, to):
        return self.add(name, kind=tarfile.SYMTYPE, link=to, mode=0o777)

    def hard(self, name, to):
        return self.add(name, kind=tarfile.LNKTYPE, link=to)

    def bytes(self):
        self.tar.close()
        return self.buf.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def archive(name, *layers, config=None):
    blobs = {}

    def blob(data, kind):
        blobs[digest(data)] = data
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    datas = [l if isinstance(l, bytes) else l.bytes() for l in layers]
    c = config or {"architecture": ARCH, "os": "linux", "config": {"Cmd": ["/x"]},
                   "rootfs": {"type": "layers", "diff_ids": [digest(d) for d in datas]}}
    manifest = {"schemaVersion": 2,
                "config": blob(json.dumps(c).encode(), "application/vnd.oci.image.config.v1+json"),
                "layers": [blob(d, "application/vnd.oci.image.layer.v1.tar") for d in datas]}
    entry = blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "coracle.local/%s:v1" % name}
    with tarfile.open(os.path.join(out, name + ".tar"), "w") as t:
        def put(n, data):
            i = tarfile.TarInfo(n)
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))
        put("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        put("index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
        for d, data in blobs.items():
            put("blobs/" + d.replace(":", "/"), data)


CAPS = "\x01\x00\x00\x02\x00\x04" + "\x00" * 14
base = (Layer().dir("./", mode=0o751, uid=5, xattrs={"user.root": "yes"}).dir("etc/").add("etc/kept", b"kept").add("etc/gone", b"x")
        .dir("dir-gone").add("dir-gone/a", b"x").dir("dir-gone/sub").add("dir-gone/sub/b", b"x")
        .dir("opaque").add("opaque/old", b"x").dir("opaque/olddir").add("opaque/olddir/f", b"x")
        .dir("replaced").add("replaced/old", b"x")
        .dir("owned", mode=0o2750, uid=12, gid=34)
        .dir("usr").dir("usr/lib").link("lib", "usr/lib")
        .dir("bin").add("bin/setuid", b"x", mode=0o4755).add("bin/capable", b"x", xattrs={"security.capability": CAPS})
        .dir("dev").add("dev/zero", kind=tarfile.CHRTYPE, dev=(1, 5))
        .add("fifo", kind=tarfile.FIFOTYPE)
        .add("xattr", b"x", xattrs={"user.hello": "world", "trusted.overlay.opaque": "y", "trusted.overlay.redirect": "/etc"})
        .add("smuggled", kind=tarfile.CHRTYPE, dev=(0, 0))
        .add("becomes-dir", b"x").dir("becomes-file").add("becomes-file/deep", b"x"))
middle = (Layer(tarfile.GNU_FORMAT)
          .add("etc/.wh.gone").add(".wh.dir-gone")
          .add("opaque/new", b"new").add("opaque/.wh..wh..opq").dir("opaque")
          .add("owned/child", b"child")
          .add("lib/through", b"through")
          .add("l" * 150 + "/" + "n" * 200, b"long")
          .dir("becomes-dir").add("becomes-dir/f", b"x").add("becomes-file", b"x"))
top = (Layer().add(".wh.replaced").dir("replaced").add("replaced/file", b"new")
       .hard("link-below", "etc/kept").add("ünïcödé", b"utf8")
       .add("etc/.wh.never-there").add(".wh..wh.plnk/1", b"x")
       .add("sparse", b"\0" * 1048576))
latin = Layer(tarfile.GNU_FORMAT, "latin-1").add("latin-\xe9", b"latin")
archive("good", base, middle, top, latin)

def tower(n):
    return [Layer().add("f%d" % i, b"x").add("top", b"%d" % (i + 1)) for i in range(n)]


archive("tall", *tower(127))
archive("bad-tower", *tower(128))

# Names and links that try to leave. Refused:
archive("bad-dotdot", Layer().add("../../coracle-escaped", b"x"))
archive("bad-inner-dotdot", Layer().dir("a").add("a/../../coracle-escaped", b"x"))
archive("bad-hardlink-dotdot", Layer().hard("h", "../../../../" + victim))
archive("bad-hardlink-absolute", Layer().hard("h", victim).add("h", b"pwned"))
archive("bad-whiteout-dotdot", Layer().add("etc/.wh..", b""), Layer().add("etc/.wh...", b""))
archive("bad-whiteout-empty", Layer().add("x/.wh.", b""))
archive("bad-dir-through-file", Layer().add("f", b"x").add("f/x", b"x"))
archive("bad-long-component", Layer().add("x" * 300, b"x"))
archive("bad-depth", Layer().add("/".join(["d"] * 600), b"x"))
archive("bad-hardlink-to-directory", Layer().dir("d").hard("h", "d"))
archive("bad-xattrs", Layer().add("f", b"x", xattrs={"user.n%d" % i: "v" for i in range(100)}))
archive("bad-not-tar", b"this is no tar archive at all" * 100)
archive("bad-truncated", Layer().add("f", b"x" * 5000).bytes()[:3000])
archive("bad-loop", Layer().link("a", "b").link("b", "a").add("a/x", b"x"))
good = Layer().add("f", b"x").bytes()
archive("bad-diff-id", good, config={"architecture": ARCH, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}})
archive("bad-layer-count", good, config={"architecture": ARCH, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}})
archive("bad-config-env", good, config={"architecture": ARCH, "os": "linux", "config": {"Env": [1]}, "rootfs": {"type": "layers", "diff_ids": [digest(good)]}})
archive("bad-platform", good, config={"architecture": "vax", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(good)]}})

# Confined by the kernel: links that lead out lead to places inside the layer.
archive("tame-absolute", Layer().add("/coracle-escaped", b"x").add("//etc//x", b"x"))
archive("tame-symlink-absolute", Layer().dir("tmp").link("out", "/tmp").add("out/coracle-escaped", b"x"))
archive("tame-symlink-dotdot", Layer().dir("tmp").link("out", "../../../../../../tmp").add("out/coracle-escaped", b"x"))
archive("tame-symlink-victim", Layer().link("v", victim).add("v", b"pwned"))
archive("tame-symlink-swap", Layer().dir("tmp").dir("d").link("d", "/tmp").add("d/coracle-escaped", b"x"))
archive("tame-lower-symlink", Layer().dir("tmp").link("d", "/tmp"), Layer().add("d/coracle-escaped", b"x").add(".wh.d"))
archive("tame-hardlink-to-symlink", Layer().link("s", victim).hard("h", "s").add("h", b"pwned"))
archive("tame-whiteout-through-link", Layer().dir("tmp").add("tmp/f", b"x").link("d", "/tmp"), Layer().add("d/.wh.f").dir("tmp/x"))
archive("tame-aufs", Layer().add(".wh..wh.aufs", b"x").dir(".wh..wh.plnk"))
archive("tame-empty")
archive("tame-empty-layer", Layer())
