"""A registry that lies, breaks off, redirects, or wants tokens, depending on the repository's name.
Arguments: port on loopback (all of 127.0.0.0/8), OCI archives of one image each, separated by commas, and
for TLS the files of a certificate and its key. The lies are about the first one's image; the others' are in
repositories of their names, whose layers take a second each when the name begins with "slow-". GET /log
lists the requests."""
import base64, hashlib, http.server, io, json, os, ssl, sys, tarfile, threading, time, urllib.parse

port = int(sys.argv[1])
blobs, indexes = {}, []
for archive in sys.argv[2].split(","):
    with tarfile.open(archive) as t:
        for m in t.getmembers():
            if m.isfile() and "/sha256/" in m.name:
                blobs["sha256:" + m.name.rsplit("/", 1)[1]] = t.extractfile(m).read()
            elif m.name.endswith("index.json"):
                indexes.append(json.loads(t.extractfile(m).read())["manifests"][0])
top = indexes[0]["digest"]
manifest = json.loads(blobs[top])
layer, config = manifest["layers"][0]["digest"], manifest["config"]["digest"]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
log = []
cut = {"interrupted": 2, "expired": 2}
busy = {"manifests": 1, "blobs": 2}
tokens = []
slow_lock, slow_now = threading.Lock(), 0


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def changed(edit):
    m = json.loads(blobs[top])
    edit(m)
    data = json.dumps(m).encode()
    blobs[digest(data)] = data
    return data


def other_diff():
    c = json.loads(blobs[config])
    c["rootfs"]["diff_ids"] = ["sha256:" + "1" * 64]
    data = json.dumps(c).encode()
    blobs[digest(data)] = data

    def edit(m):
        m["config"] = {"mediaType": m["config"]["mediaType"], "digest": digest(data), "size": len(data)}
    return changed(edit)


def index_of(*entries):
    return json.dumps({"schemaVersion": 2, "mediaType": LIST, "manifests": [
        {"mediaType": MANIFEST, "digest": d, "size": len(blobs.get(d, b"")), "platform": {"os": o, "architecture": a}}
        for d, o, a in entries]}).encode()


def too_long(m):
    m["layers"][0]["size"] -= 1000


def both(m):
    m["manifests"] = []


def huge(size):
    def edit(m):
        m["layers"][0]["size"] = size
    return edit


def huge_config(m):
    m["config"]["size"] = 5 << 20


ARCH = indexes[0]["platform"]["architecture"]
manifests = {
    "wrong-diff": other_diff(),
    "too-long": changed(too_long),
    "wrong-type": changed(both),
    "other-platform": index_of((top, "windows", "amd64"), (top, "linux", "vax")),
    "ten-gigabytes": changed(huge(10 << 30)),
    "absurd": changed(huge(1 << 60)),
    "huge-config": changed(huge_config),
    "huge-manifest": blobs[top] + b" " * (5 << 20),
    "index": index_of(("sha256:" + "2" * 64, "windows", ARCH), (top, "linux", ARCH), ("sha256:" + "3" * 64, "unknown", "unknown")),
}

for other in indexes[1:]:
    name = other["annotations"]["org.opencontainers.image.ref.name"]
    manifests[name.rsplit("/", 1)[-1].split(":")[0]] = blobs[other["digest"]]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        auth = self.headers.get("Authorization", "")
        log.append("%s %s%s" % (self.path, self.headers.get("Range", ""), " Authorization" if auth else ""))
        if url.path == "/log":
            return self.send(200, "\n".join(log).encode())
        if url.path == "/v2/":
            return self.send(200)
        if url.path == "/token":
            q = urllib.parse.parse_qs(url.query)
            who = base64.b64decode(auth.split(" ")[1]).decode() if auth.startswith("Basic ") else "nobody"
            log.append("token scope=%s service=%s %s" % (q["scope"][0], q["service"][0], who))
            tokens.append("sesame%d" % len(tokens))
            return self.send(200, json.dumps({"token": tokens[-1]}).encode())
        if url.path.startswith("/storage/"):
            return self.send(200, blobs[url.path.rsplit("/", 1)[1]])
        parts = url.path.split("/")
        repo, kind, what = parts[-3], parts[-2], parts[-1]
        if repo in ("token", "expired") and (not tokens or auth != "Bearer " + tokens[-1]):
            return self.send(401, WWW_Authenticate='Bearer realm="http://127.0.0.1:%d/token",service="bad",scope="repository:%s:pull"' % (port, repo))
        if repo in ("basic", "slow-basic") and auth != "Basic " + base64.b64encode(b"user:secret").decode():
            return self.send(401, WWW_Authenticate='Basic realm="r"')
        if repo == "bearer" and auth != "Bearer direct":
            return self.send(401, WWW_Authenticate='Bearer realm="http://127.0.0.1:1/token",service="bad"')
        if repo == "busy" and busy[kind]:
            busy[kind] -= 1
            return self.send(429, Retry_After="1")
        if repo == "too-busy":
            return self.send(429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}', Retry_After="7200")
        if repo == "foreign-realm":
            return self.send(401, WWW_Authenticate='Bearer realm="http://127.0.0.1:1/token",service="bad"')
        if repo == "redirected" and not auth:
            return self.send(401, WWW_Authenticate='Basic realm="r"')
        if kind == "manifests":
            data = manifests.get(repo, blobs[top]) if not what.startswith("sha256:") or repo == "wrong-manifest" else blobs[what]
            return self.send(200, data, Content_Type=LIST if repo in ("index", "other-platform") and data in manifests.values() else MANIFEST)
        data = blobs[what]
        if repo == "wrong-layer" and what == layer or repo == "wrong-config" and what == config:
            data = b"x" + data[1:]
        if repo == "redirected":
            return self.send(307, Location="http://localhost:%d/storage/%s" % (port, what))
        if repo == "slow" and what == layer:
            return self.slow(data, 1000)
        if repo.startswith("slow-") and len(data) > 5000:
            return self.slow(data, len(data) // 10 + 1)
        if repo in cut and what == layer:
            if cut[repo]:
                tokens.append("expired")
            return self.interrupted(data, repo)
        self.send(200, data)

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        log.append("token grant=%s refresh=%s scope=%s service=%s client=%s" % tuple(
            form[k][0] for k in ("grant_type", "refresh_token", "scope", "service", "client_id")))
        if form["refresh_token"][0] != "mine":
            return self.send(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}')
        tokens.append("sesame%d" % len(tokens))
        self.send(200, json.dumps({"access_token": tokens[-1]}).encode())

    def slow(self, data, step):
        global slow_now
        with slow_lock:
            slow_now += 1
            log.append("slow: %d at once" % slow_now)
        try:
            self.trickle(data, step)
        finally:
            with slow_lock:
                slow_now -= 1

    def trickle(self, data, step):
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            for i in range(0, len(data), step):
                self.wfile.write(data[i:i + step])
                time.sleep(0.1)
        except OSError:
            log.append("slow: broken off by the client")
            self.close_connection = True

    def interrupted(self, data, repo):
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(data) - 1, len(data)))
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if cut[repo]:
            cut[repo] -= 1
            self.wfile.write(data[start:start + len(data) // 4])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(data[start:])


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


server = Server(("0.0.0.0", port), Handler)
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
