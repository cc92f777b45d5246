#!/usr/bin/env bash
# The hello example's program: answers, many connections, and the way it stops.
. "$(dirname "$0")/../lib/tap.sh"
NS=coracle-hello-$$
ip netns add "$NS" 2>/dev/null || skip_all "needs root and network namespaces"
at_end ip netns del "$NS"
ip -n "$NS" link set lo up
inside() { nsenter --net=/run/netns/"$NS" "$@"; }
nsenter --net=/run/netns/"$NS" "$B/share/coracle/hello" >"$T/out" &
pid=$!
at_end eval "kill $pid 2>/dev/null; :"
get() { inside curl -s --max-time 5 "$@"; }
ok "it listens" eventually 5 inside curl -s -o "$T/x" http://127.0.0.1:8080/
is "$(get http://127.0.0.1:8080/)" "Hello from $(hostname)" "/ names the host"
is "$(get http://[::1]:8080/some/path)" "Hello from $(hostname) /some/path" "over IPv6, with the path"
is "$(get -w ' %{http_code}' http://127.0.0.1:8080/healthz | tr -d '\n')" "ok 200" "/healthz"
is "$(get -X POST -w ' %{http_code}' http://127.0.0.1:8080/ | tr -d '\n')" "405 Method Not Allowed 405" "other methods are refused"
is "$(get -I http://127.0.0.1:8080/healthz | head -1 | tr -d '\r')" "HTTP/1.1 200 OK" "HEAD"
is "$(get -w '%{num_connects}' http://127.0.0.1:8080/healthz http://127.0.0.1:8080/healthz | tr -d '\n')" "ok1ok0" "connections are kept"
is "$(printf 'GET /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n' | inside timeout 5 python3 -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", 8080))
s.sendall(sys.stdin.buffer.read())
data = b""
while True:
    d = s.recv(4096)
    if not d: break
    data += d
print(data.count(b"200 OK"))')" 2 "two requests in one packet"
inside timeout 20 python3 - >"$T/many" <<'PY'
import socket
all = [socket.create_connection(("127.0.0.1", 8080)) for i in range(500)]
for s in all: s.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
print(sum(s.recv(4096).startswith(b"HTTP/1.1 200") for s in all))
PY
is "$(cat "$T/many")" 500 "500 connections at once"

# A client that loops requests, each on a connection of its own, and one that keeps its connection.
# They run before the signal, of which the file tells, and until a little before the two seconds are over.
cat >"$T/loop.py" <<'PY'
import http.client, os, sys, time
keep, dir = sys.argv[1] == "keep", sys.argv[2]
def over():
    try: return time.time() > os.stat(dir + "/signalled").st_mtime + 1.5
    except FileNotFoundError: return False
n, c = 0, None
while not over():
    if c is None or not keep: c = http.client.HTTPConnection("127.0.0.1", 8080, timeout=5)
    c.request("GET", "/")
    r = c.getresponse(); r.read()
    if r.status != 200: raise SystemExit("status %d" % r.status)
    if r.will_close: c = None
    n += 1
    if n == 10: open(dir + "/looping." + sys.argv[1], "w").close()
print("ok")
PY
inside python3 - "$T/idle" <<'PY' &
import socket, sys, time
s = socket.create_connection(("127.0.0.1", 8080))
open(sys.argv[1], "w").close()
time.sleep(60)
PY
idle=$!
for mode in new keep; do
    inside python3 "$T/loop.py" $mode "$T" >"$T/loop.$mode" 2>&1 &
    loops+=($!)
done
looping() { [ -e "$T/looping.new" ] && [ -e "$T/looping.keep" ] && [ -e "$T/idle" ]; }
ok "clients loop requests" eventually 20 looping
start=$(date +%s%N)
touch "$T/signalled"
kill -TERM $pid
wait "${loops[@]}"
is "$(cat "$T/loop.new" "$T/loop.keep" | tr '\n' ' ')" "ok ok " "after SIGTERM it serves on"
wait $pid
is $? 0 "then it exits with 0"
took=$((($(date +%s%N) - start) / 1000000))
ok "after two seconds, an idle connection does not hold it ($took ms)" test $took -ge 1900 -a $took -lt 6500
kill $idle 2>/dev/null
wait $idle 2>/dev/null
is "$("$TOP/manifests/examples/mkimage" -o "$T/a.tar" -n x:v1 -e /hello "$B/share" && sha256sum <"$T/a.tar")" \
    "$(sleep 1; "$TOP/manifests/examples/mkimage" -o "$T/b.tar" -n x:v1 -e /hello "$B/share" && sha256sum <"$T/b.tar")" \
    "mkimage gives the same bytes for the same input"
done_testing
