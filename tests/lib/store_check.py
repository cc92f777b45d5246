"""What an image store holds, for tests: store_check.py STORE. Prints a line "NAME… HASH" for every image (its
names, and a digest of the trees of all its layers), then "problem: …" for everything that should not be there:
leftovers, layers and blobs that nothing needs, names without an image."""
import hashlib, json, os, stat, sys

store = sys.argv[1]
# What overlayfs remembers about the layers below; handles of files differ from unpacking to unpacking.
OVERLAY_NOTES = ["trusted.overlay.origin", "trusted.overlay.impure", "trusted.overlay.uuid"]
problems = []


def records(sub):
    for name in sorted(os.listdir(os.path.join(store, sub))):
        path = os.path.join(store, sub, name)
        try:
            yield name, json.load(open(path))
        except ValueError:
            problems.append("%s is no JSON" % path)


def tree_hash(top):
    total = hashlib.sha256()
    for directory, dirs, files in os.walk(top):
        dirs.sort()
        for name in sorted(dirs + files):
            path = os.path.join(directory, name)
            s = os.lstat(path)
            line = [os.path.relpath(path, top), s.st_mode, s.st_uid, s.st_gid, s.st_rdev]
            if not stat.S_ISDIR(s.st_mode): # those that are in no layer are as old as their unpacking
                line.append(int(s.st_mtime))
            if stat.S_ISREG(s.st_mode):
                line.append(hashlib.sha256(open(path, "rb").read()).hexdigest())
            elif stat.S_ISLNK(s.st_mode):
                line.append(os.readlink(path))
            line += sorted((n, os.getxattr(path, n, follow_symlinks=False)) for n in os.listxattr(path, follow_symlinks=False)
                           if n not in OVERLAY_NOTES)
            total.update(repr(line).encode())
    return total.hexdigest()


layers, needed, blobs, names, ids = {}, set(), set(), {}, set()
for name in os.listdir(os.path.join(store, "layers")):
    if name == "empty":
        continue
    path = os.path.join(store, "layers", name)
    try:
        layers[json.load(open(os.path.join(path, "layer.json")))["chain"]] = path
    except (OSError, ValueError) as e:
        problems.append("%s: %s" % (path, e))
for _, r in records("references"):
    names.setdefault(r["image"], []).append(r["reference"])
for _, r in records("images"):
    ids.add(r["id"])
    blobs |= {r["id"][7:], r["manifest"][7:]}
    total = hashlib.sha256()
    for chain in r["layers"]:
        needed.add(chain)
        total.update(tree_hash(os.path.join(layers[chain], "fs")).encode() if chain in layers else b"missing")
        if chain not in layers:
            problems.append("image %s lacks layer %s" % (r["id"], chain))
    print(" ".join(sorted(n for n in names.get(r["id"], []) if "@" not in n) or ["none"]), total.hexdigest())
for i in set(names) - ids:
    problems.append("%s names an image that is not there" % names[i])
for chain in set(layers) - needed:
    problems.append("nothing needs layer %s (%s)" % (layers[chain], chain))
there = set(os.listdir(os.path.join(store, "blobs/sha256")))
for b in blobs ^ there:
    problems.append("blob %s %s" % (b, "is not needed" if b in there else "is not there"))
for b in blobs & there:
    if hashlib.sha256(open(os.path.join(store, "blobs/sha256", b), "rb").read()).hexdigest() != b:
        problems.append("blob %s is damaged" % b)
for name in os.listdir(os.path.join(store, "tmp")):
    problems.append("tmp/%s is left" % name)
for name in os.listdir(store):
    if name not in "lock blobs images references pins layers tmp quarantine lost+found".split():
        problems.append("%s is left" % name)
for p in problems:
    print("problem:", p)
