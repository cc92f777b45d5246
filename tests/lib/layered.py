"""An OCI archive of many layers, the same bytes for the same arguments: layered.py ARCHIVE NAME LAYERS FILES
BYTES [COMMON]: each layer has FILES files of BYTES bytes, about half of them compressible. The first COMMON
layers depend on nothing but their number, so that images share them."""
import gzip, hashlib, io, json, platform, random, sys, tarfile

out, name, layers, files, size = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
common = int(sys.argv[6]) if len(sys.argv) > 6 else 0
ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(platform.machine(), platform.machine())
index, diffs, descriptors, blobs = [], [], [], {}


def put(data, kind):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    blobs[digest] = data
    return {"mediaType": "application/vnd.oci.image." + kind, "digest": digest, "size": len(data)}


def content(r, n):
    data = bytearray()
    while len(data) < n:
        data += r.randbytes(2048) + bytes([r.randrange(64)]) * 2048
    return bytes(data[:n])


for i in range(layers):
    r = random.Random("%s %d" % ("common" if i < common else name, i))
    buf = io.BytesIO()
    with tarfile.open(fileobj=buf, mode="w") as t:
        for f in range(files):
            m = tarfile.TarInfo("data/%d/%d" % (i, f))
            m.size, m.mtime = size, 1000000000
            t.addfile(m, io.BytesIO(content(r, size)))
    diffs.append("sha256:" + hashlib.sha256(buf.getvalue()).hexdigest())
    descriptors.append(put(gzip.compress(buf.getvalue(), 1, mtime=0), "layer.v1.tar+gzip"))
config = put(json.dumps({"architecture": ARCH, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}}).encode(), "config.v1+json")
manifest = put(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "config": config, "layers": descriptors}).encode(), "manifest.v1+json")
manifest["annotations"] = {"org.opencontainers.image.ref.name": name}
manifest["platform"] = {"os": "linux", "architecture": ARCH}
with tarfile.open(out, "w") as t:
    for path, data in [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
                       ("index.json", json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode())] + \
            [("blobs/" + d.replace(":", "/"), data) for d, data in blobs.items()]:
        m = tarfile.TarInfo(path)
        m.size = len(data)
        t.addfile(m, io.BytesIO(data))
