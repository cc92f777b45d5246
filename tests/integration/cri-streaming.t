#!/usr/bin/env bash
# Exec, attach and port-forward through the runtime's streaming server, over SPDY/3.1 and WebSocket.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/cri.sh"
cri_setup
busybox_root "$T/bb"
ln -sf busybox "$T/bb/bin/stty"
make_image "$T/bb.tar" localhost/bb:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
cri_start
cri_import "$T/bb.tar" >/dev/null || bail "cannot import the image"
a=$(cri runp "$(pod a)")
k=$(run "$a" box 'httpd -p 8080 -h /www; nc -ll -p 7001 -e wc -c & nc -ll -p 7002 -e cat & while :; do sleep 1; done')
client=$B/tests/bin/cri-client
# background NAME ARGUMENT…: the client by itself, its pid in $pid, its output in $T/NAME.
background() { local n=$1; shift; nsenter --net="/run/netns/$NETNS" "$client" "$@" </dev/null >"$T/$n" 2>"$T/$n.err" & pid=$!; }
descriptors() { find "/proc/$CRI_PID/fd" -mindepth 1 2>/dev/null | wc -l; }
descriptors_are() { [ "$(descriptors)" -le "$1" ]; }
peak() { awk '/VmHWM/ {print $2}' "/proc/$1/status"; }
forget_peak() { echo 5 >"/proc/$1/clear_refs"; }
# Wide: a buffer that grows with what goes through would be 300 MB. Sanitizers keep freed memory.
case $B in */asan) MARGIN=400000 MB=30 ;; *) MARGIN=40000 MB=300 ;; esac
ours && shim=$(pgrep -f "coracle-shim $R/")
url() { cri call RuntimeService "$1" "$2" | jq -r .url; }
exec_url() { url Exec "$(jq -cn --arg id "$k" --arg c "$1" '{container_id:$id,cmd:["sh","-c",$c],stdin:true,stdout:true,stderr:true}')"; }
# Others let go of an attached client, and of a terminal, when the client's input has ended: where that is not
# what is looked at it stays open.
gone() { eventually 20 is_state "$1" EXITED; }
mkfifo "$T/open" && exec 8<>"$T/open"
if ours; then TYPED=/dev/null; else TYPED=$T/open; fi
old_url=$(exec_url true)
issued=$(date +%s)
before=$(descriptors)

# ---- what both framings do alike ----
both() { # label FLAG…
    local l=$1 rc
    shift
    is "$(cri "$@" stream "$k" sh -c 'echo o; echo e >&2; exit 4' 2>"$T/e"; echo $?)" $'o\n4' "$l: standard output and the exit code"
    is "$(cat "$T/e")" e "$l: standard error"
    cri "$@" stream "$k" true
    is $? 0 "$l: success"
    for s in KILL:137 TERM:143; do
        cri "$@" stream "$k" sh -c "kill -${s%:*} \$\$"
        is $? "${s#*:}" "$l: a command that SIG${s%:*} ends"
    done
    # Others may reset the stream before the reason.
    ours && like "$(cri "$@" stream "$k" /no/such 2>&1; echo $?)" 'no such file.*1$' "$l: a command that is not there"
    is "$(printf 'half\nclosed' | cri "$@" stream -i "$k" sh -c 'cat; echo; echo over')" $'half\nclosed\nover' "$l: standard input ends, output goes on"
    # What nobody reads stops the whole connection of others.
    ours && is "$(head -c 3000000 /dev/zero | cri "$@" stream -i "$k" sh -c 'head -c 5; exit 3' | wc -c; echo "${PIPESTATUS[1]}")" $'5\n3' "$l: a command that does not read all of it"
    is "$(cri "$@" --size 132x43 stream -i -t "$k" sh -c 'i=0; until [ "$(stty size 2>/dev/null)" = "43 132" ] || [ $((i+=1)) = 100 ]; do sleep 0.05; done; stty size; tty' <"$TYPED" | tr -d '\r' | xargs)" "43 132 /dev/pts/0" "$l: a terminal and its size"
    is "$(printf 'exit 6\n' | cri "$@" stream -i -t "$k" sh >/dev/null; echo $?)" 6 "$l: typing into it"
    is "$(cri "$@" stream "$k" sh -c 'head -c 5000000 /dev/zero; exit 5' | (sleep 1; wc -c); echo "${PIPESTATUS[0]}")" $'5000000\n5' "$l: all output comes before the status, also to a slow reader"
    is "$(cri "$@" stream "$k" sh -c 'sleep 100 & echo started')" started "$l: what a command leaves behind holds nothing up"
    is "$(printf 'GET /index.html HTTP/1.0\r\n\r\n' | cri "$@" forward "$a" 8080 | tail -1)" "hello from the image" "$l: port-forward"
    is "$(head -c 300000 /dev/zero | cri "$@" forward "$a" 7001)" 300000 "$l: ... one that answers when the request has ended"
    if ours; then
        python3 - "$R/run/coracle/sandboxes/$a/ns/net" >"$T/half" <<'PY' &
import ctypes, os, socket, sys
if ctypes.CDLL(None, use_errno=True).setns(os.open(sys.argv[1], os.O_RDONLY), 0): sys.exit("setns")
server = socket.create_server(("127.0.0.1", 7003))
server.settimeout(60)
print("listens", flush=True)
c, _ = server.accept()
c.sendall(b"bye")
c.shutdown(socket.SHUT_WR)
n = 0
while data := c.recv(65536): n += len(data)
print(n)
PY
        half=$!
        eventually 20 grep -q listens "$T/half"
        is "$( (sleep 0.5; head -c 300000 /dev/zero) | cri "$@" forward "$a" 7003)" bye "$l: ... one that ends its side first"
        wait $half
        is "$(tail -1 "$T/half")" 300000 "$l: ... and reads on"
    fi
    like "$(printf x | cri "$@" forward "$a" 9999 2>&1)" "[Cc]onnection refused" "$l: ... to what nobody listens on"
}
both SPDY
# Others do not have v5.channel.k8s.io yet, which alone can end standard input.
WS=$(ours && echo --websocket)
ours && both WebSocket --websocket

# ---- hundreds of megabytes, both ways at once ----
head -c 1000000 /dev/urandom >"$T/block"
stream_all() { for i in $(seq "${1:-$MB}"); do cat "$T/block"; done; }
sum=$(stream_all | cksum)
less=$((MB / 5)) # through the forwarded port: busybox's nc is slow
for f in "" $WS; do
    forget_peak "$CRI_PID"
    start=$(peak "$CRI_PID")
    is "$(stream_all | cri $f stream -i "$k" cat | cksum)" "$sum" "$MB MB through cat and back are the same ${f:-(SPDY)}"
    is "$(stream_all $less | cri $f forward "$a" 7002 | cksum)" "$(stream_all $less | cksum)" "$less MB through a forwarded port, too"
    used=$(($(peak "$CRI_PID") - start))
    diag "the daemon's peak grew by $used KB"
    ok "... in constant memory" test $used -lt $MARGIN
done

# ---- attach ----
at=$(run "$a" attached 'until [ -e /tmp/go ]; do echo up; sleep 0.2; done; while read x; do echo "got $x"; [ "$x" = end ] && exit 0; done' '.stdin=true')
background w1 attach "$at"; w1=$pid
background w2 $WS attach "$at"; w2=$pid
eventually 20 grep -q up "$T/w1" && eventually 20 grep -q up "$T/w2" # they are attached
cri exec "$at" touch /tmp/go
without_up() { grep -v '^up$' | xargs; }
is "$( (echo one; echo end; gone "$at") | cri attach -i "$at" | without_up)" "got one got end" "attach: stdin and output"
wait $w1 $w2
is "$(without_up <"$T/w1") / $(without_up <"$T/w2")" "got one got end / got one got end" "... and two more who watch, over either framing"
once=$(run "$a" once 'cat; echo over' '.stdin=true | .stdin_once=true')
is "$(echo typed | cri $WS attach -i "$once" | xargs)" "typed over" "stdin_once: the container's input ends with the first client's"
ok "... and so does the container" eventually 10 is_state "$once" EXITED
tt=$(run "$a" tty 'stty -echo; read x; stty size; echo "tty $x"; exit 3' '.stdin=true | .tty=true')
is "$( (sleep 0.5; echo hi; gone "$tt") | cri $WS --size 99x33 attach -i -t "$tt" | tr -d '\r' | xargs)" "33 99 tty hi" "a container's terminal: resize and input"
if ours; then # others may cut the last piece off
ends=$(run "$a" ends 'read x; head -c 3000000 /dev/zero | tr "\0" x; exit 9' '.stdin=true')
is "$( (echo go; gone "$ends") | cri attach -i "$ends" | (sleep 1; wc -c))" 3000000 "a container that ends: all its output comes first"
fi

# ---- clients that do not read: others stop with them ----
if ours; then
burst=$(run "$a" burst 'while [ ! -e /tmp/go ]; do sleep 0.05; done; i=0; while [ $i -lt 40 ]; do seq 100000; i=$((i+1)); done; echo finished >/tmp/done; sleep 1000')
background stuck attach "$burst"; stuck=$pid
background live --websocket attach "$burst"; live=$pid
eventually 10 descriptors_are $((before + 100)) >/dev/null
sleep 0.5
kill -STOP $stuck
forget_peak "$CRI_PID"; forget_peak "$shim"
daemon=$(peak "$CRI_PID") helper=$(peak "$shim")
cri exec "$burst" touch /tmp/go
ok "an attached client that stops reading does not hold the container up" eventually 60 cri exec "$burst" test -e /tmp/done
is "$(cri exec "$k" echo alive)" alive "... nor the daemon"
ok "... which stays small" test $(($(peak "$CRI_PID") - daemon)) -lt $MARGIN
ok "... as does the shim" test $(($(peak "$shim") - helper)) -lt $((MARGIN / 10))
is "$(output "$burst" | grep -c '^100000$')" 40 "... and the log has it all"
like "$(cat "$T/live" | wc -c)" '^[0-9]{5,}$' "another client has read meanwhile"
kill -CONT $stuck
wait $stuck
is $? 1 "the client that fell behind ends with an error"
like "$(cat "$T/stuck.err")" "fell behind" "... that says why"
kill $live 2>/dev/null
wait $live 2>/dev/null
ok "the container is still there" is_state "$burst" RUNNING

for f in "" --websocket; do
    background idle $f stream "$k" sh -c 'echo $$ >/tmp/pid; exec cat /dev/zero'
    idle=$pid
    eventually 10 cri exec "$k" test -s /tmp/pid
    kill -STOP $idle
    forget_peak "$CRI_PID"; start=$(peak "$CRI_PID")
    sleep 1
    is "$(cri $f stream "$k" echo others)" others "an exec whose client does not read holds nobody else up ${f:-(SPDY)}"
    ok "... nor does it fill memory" test $(($(peak "$CRI_PID") - start)) -lt $MARGIN
    kill -9 $idle; wait $idle 2>/dev/null
    ok "... and when the client is gone, the command's output is closed" eventually 20 cri exec "$k" sh -c '! kill -0 $(cat /tmp/pid)'
    cri exec "$k" rm /tmp/pid

    # The other way: nobody reads what the client sends, and the client dies.
    nsenter --net="/run/netns/$NETNS" "$client" $f stream -i "$k" sh -c 'echo $$ >/tmp/pid; exec sleep 1000' </dev/zero >"$T/idle" 2>&1 &
    idle=$!
    eventually 10 cri exec "$k" test -s /tmp/pid
    forget_peak "$CRI_PID"; start=$(peak "$CRI_PID")
    sleep 1
    ok "input that nobody reads does not fill memory ${f:-(SPDY)}" test $(($(peak "$CRI_PID") - start)) -lt $MARGIN
    kill -9 $idle; wait $idle 2>/dev/null
    ok "... and the command goes on without its client" cri exec "$k" sh -c 'kill -0 $(cat /tmp/pid)'
    cri exec "$k" sh -c 'kill -9 $(cat /tmp/pid); rm /tmp/pid'
done
fi

# ---- an independent client; protocols of before; numbered ports ----
ws() { in_node timeout 60 "$TOP/tests/lib/ws_client.py" "$@" 2>&1; }
if /usr/bin/python3 -c 'import websocket' 2>/dev/null; then
    ours && is "$(ws "$(exec_url 'cat; echo err >&2; exit 3')" v5.channel.k8s.io send:0:'hello\n' end:0 | jq -Rr 'if startswith("3 ") then .[2:] | fromjson | .details.causes[0].message else . end' | xargs)" \
        "1 hello 2 err 3 close 1000" "v5.channel.k8s.io"
    is "$(ws "$(exec_url 'read x; echo "$x"; exit 3')" v4.channel.k8s.io send:0:'hello\n' | sed 's/^3 .*"reason":"\(NonZero[^"]*\)".*/\1/' | xargs)" \
        "1 hello NonZeroExitCode close 1000" "v4.channel.k8s.io"
    is "$(ws "$(exec_url 'read x; echo "$x"')" v4.base64.channel.k8s.io send:0:'hello\n' | sed 's/^3 .*"status":"\([^"]*\)".*/3 \1/' | xargs)" "1 hello 3 Success close 1000" "v4.base64.channel.k8s.io"
    is "$(ws "$(exec_url 'read x; echo "$x"; exit 3')" channel.k8s.io send:0:'hello\n' | xargs)" "1 hello 3 command terminated with non-zero exit code: $(ours && echo "exit status 3" || echo 'error executing command [sh -c read x; echo $x; exit 3], exit code 3') close 1000" "channel.k8s.io"
    is "$(ws "$(exec_url 'read x; echo "$x"')" base64.channel.k8s.io send:0:'hello\n' | xargs)" "1 hello close 1000" "base64.channel.k8s.io"
    is "$(ws "$(exec_url 'read x; echo "$x"')" "" send:0:'hello\n' | xargs)" "1 hello close 1000" "no protocol named"
    is "$(ws "$(exec_url true)" v9.channel.k8s.io)" "status 403" "one that is not known"
    is "$(ws "$(exec_url 'head -c 200000 /dev/zero | tr "\0" x')" v4.channel.k8s.io | grep -o x | wc -l)" 200000 "much output"
    forward="$(url PortForward "{\"pod_sandbox_id\":\"$a\",\"port\":[8080,9999]}")"
    out=$(ws "$forward" v4.channel.k8s.io send:0:'GET /index.html HTTP/1.0\r\n\r\n')
    like "$(head -1 <<<"$out")" '^0 \\x90\\x1fHTTP/1.. 200 OK.*hello from the image$' "numbered ports: data, after the port's number"
    like "$out" "3 \\\\x0f'.*[Cc]onnection refused" "... and errors"
    is "$(tail -1 <<<"$out")" "close 1000" "... and the end when all have ended"
    for bad in bad-mask:8103306869 reserved-bits:c28100000000ff fragmented-ping:098100000000ff huge-frame:82ff7fffffffffffffff00000000ff; do
        ours && like "$(ws "$(exec_url cat)" v5.channel.k8s.io "raw:${bad#*:}")" 'close (100[29]|none)' "refused: ${bad%:*}"
    done
    # A client that never closes.
    mkfifo "$T/hold"
    ws "$(exec_url 'echo held')" v4.channel.k8s.io hold <"$T/hold" >"$T/held" &
    held=$!
    exec 7>"$T/hold"
    ok "a client that does not close after the server's Close" eventually 20 grep -q held "$T/held"
    is "$(cri $WS stream "$k" echo others)" others "... holds nobody up"
    exec 7>&-
    wait $held
else
    skip "python3-websocket is not installed"
fi

# ---- URLs ----
u=$(exec_url true)
like "$u" '^http://127\.0\.0\.1:[0-9]+/exec/[0-9a-zA-Z_-]{8,}$' "a stream's URL is on loopback, with a token"
is "$(in_node ss -Hltnp | grep -c "pid=$CRI_PID,")" 1 "the daemon listens on one socket"
code() { in_node curl -s -o /dev/null -w '%{http_code}' "$@"; }
is "$(code "${u%/exec/*}/attach/${u##*/}")" 404 "a token is good for its kind only"
u=$(exec_url true)
is "$(code "$u") $(code "$u")" "400 404" "and once"
is "$(code "${u%/*}/00000000000000000000000000000000")" 404 "a token that was never issued"

# ---- nonsense; what is kept and for how long ----
ours || { done_testing; exit; }
port=${u#http://127.0.0.1:}; port=${port%%/*}
in_node timeout 60 python3 - "$port" "$(exec_url cat)" "$(exec_url cat)" "$(exec_url cat)" >"$T/nonsense" 2>&1 <<'PY'
import socket, sys
port = int(sys.argv[1])
def ask(data):
    s = socket.create_connection(("127.0.0.1", port), timeout=20)
    s.sendall(data)
    answer = b""
    try:
        while chunk := s.recv(65536):
            answer += chunk
    except ConnectionResetError:
        pass
    s.close()
    return answer
head = b"POST /exec/x HTTP/1.1\r\nHost: h\r\n"
print(ask(head + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").split()[1].decode())
print(ask(head + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd").split()[1].decode())
print(ask(head + b"X: " + b"y" * 70000 + b"\r\n\r\n").split()[1].decode())
print(ask(b"GET / HTTP/1.1\nHost: h\n\n").split()[1].decode())
upgrade = b"POST /exec/%s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
for url, junk in zip(sys.argv[2:], (b"\x80\x02\0\1\0\0\0\0", b"\x80\x03\0\1\0\xff\xff\xff" + b"a" * 1000, b"\x80\x03\0\1\0\0\0\x0f\0\0\0\1\0\0\0\0\0\0\xff\xff\xff\xff\xff")):
    answer = ask(upgrade % url.rsplit("/", 1)[1].encode() + junk)
    print(answer.split()[1].decode(), "goaway" if b"\x80\x03\0\7" in answer else "none")
PY
is "$(xargs <"$T/nonsense")" "400 400 431 400 101 goaway 101 goaway 101 goaway" "smuggled, huge and malformed requests, SPDY that is none"

ok "nothing leaks: the daemon's descriptors are what they were" eventually 30 descriptors_are "$before"
cri stream "$k" true
is "$(pgrep -f "coracle-shim $R/" | xargs)" "$shim" "the shim is the same"
if [ $(($(date +%s) - issued)) -gt 61 ]; then
    is "$(code "$old_url")" 404 "a token that nobody used is forgotten after a minute"
else
    skip "a minute has not passed: the end of a token"
fi
done_testing
