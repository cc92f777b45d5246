#!/usr/bin/env bash
# exec, attach and port-forward end to end: stock kubectl → API server → kubelet → runtime, over
# SPDY/3.1 (kubectl 1.20) and WebSocket (newer ones), and a WebSocket client against each server.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
node_up
kubelet_start --kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt"
old=$("$TOP/tests/lib/kubectl-1.20" 2>"$T/fetch") || { cat "$T/fetch" >&2; old=; }
own=$(command -v kubectl || :)
[ -z "$own" ] || ! "$own" version --client 2>/dev/null | grep -q 'v1\.20\.' || own=

pods=/api/v1/namespaces/default/pods
ready() { [ "$(api GET "$pods/$1" | jq -r '.status.conditions[]? | select(.type=="Ready") | .status')" = True ]; }
# create NAME COMMAND [CONTAINER-FIELDS]
create() {
    api_json POST $pods "$(jq -cn --arg n "$1" --arg c "$2" --argjson m "${3:-{\}}" '{apiVersion:"v1",kind:"Pod",metadata:{name:$n},
        spec:{nodeName:"n1",terminationGracePeriodSeconds:1,containers:[{name:"c",image:"localhost/bb:1",command:["sh","-c",$c]}+$m]}}')" >/dev/null
}
create box 'mkdir /srv; head -c 3000000 /dev/zero >/srv/zeros; echo served >/srv/index.html; httpd -p 8080 -h /srv; while :; do sleep 1; done'
create reader 'while read x; do echo "got $x"; done; echo over' '{"stdin":true,"stdinOnce":true}'
ok "a pod runs" eventually 20 ready box
ok "another, which reads" eventually 20 ready reader
is "$(api GET /api/v1/nodes/n1 | jq -c .status.declaredFeatures)" '["ExtendWebSocketsToKubelet"]' "the node says that its kubelet speaks WebSocket"
descriptors() { find "/proc/$1/fd" -mindepth 1 | wc -l; }
settled() { [ "$(descriptors "$APISERVER_PID")" -le "$1" ] && [ "$(descriptors "$KUBELET_PID")" -le "$2" ]; }
before=("$(descriptors "$APISERVER_PID")" "$(descriptors "$KUBELET_PID")")
peak() { awk '/VmHWM/ {print $2}' "/proc/$1/status"; }
case $B in */asan) MARGIN=400000 ;; *) MARGIN=40000 ;; esac

# ---- kubectl ----
head -c 20000000 /dev/urandom >"$T/random"
sum=$(cksum <"$T/random")
port=18000
k() { in_ns timeout -k 5 120 "$kubectl" --cache-dir "$cache" "$@"; }
with_kubectl() { # label
    local l=$1 i out
    cache=$T/cache-${l// /}
    is "$(k exec box -- sh -c 'echo out; echo err >&2; exit 7' 2>"$T/err"; echo $?)" $'out\n7' "$l: exec: output and status"
    like "$(cat "$T/err")" "^err.*exit code 7" "$l: ... standard error"
    k exec box -- sh -c 'kill -9 $$' 2>/dev/null
    is $? 137 "$l: a command that is killed"
    like "$(k exec box -- /no/such 2>&1; echo $?)" 'no such file.*1$' "$l: a command that is not there"
    like "$(k exec nobody -- true 2>&1)" 'pods "nobody" not found' "$l: a pod that is not there"
    like "$(k exec box -c none -- true 2>&1)" 'container none is not valid|container not found' "$l: a container that is not there"
    is "$(echo through | k exec -i box -- sh -c 'cat; echo over' 2>&1 | xargs)" "through over" "$l: standard input ends"
    is "$(k exec -i box -- cat <"$T/random" | cksum)" "$sum" "$l: 20 MB in and out are the same"
    is "$(k exec box -- head -c 5000000 /dev/zero | (sleep 1; wc -c))" 5000000 "$l: a slow reader gets it all"
    is "$(in_ns script -qec "stty cols 111 rows 22; timeout --foreground -k 5 60 '$kubectl' --cache-dir '$cache' exec -it box -- sh -c 'i=0; until [ \$((i+=1)) = 100 ] || stty size 2>/dev/null | grep \"22 111\"; do sleep 0.05; done; exit 3'" /dev/null </dev/null >"$T/tty"; echo $?)" 3 "$l: a terminal"
    like "$(tr -d '\r' <"$T/tty")" "22 111" "$l: ... of the client's size"
    k port-forward pod/box $port:8080 $((port + 1)):9999 >"$T/forward" 2>&1 &
    local forward=$!
    ok "$l: port-forward" eventually 20 in_ns curl -sf --max-time 5 http://127.0.0.1:$port/index.html
    for i in 1 2 3; do in_ns curl -s --max-time 60 http://127.0.0.1:$port/zeros | wc -c >"$T/got$i" & out+=" $!"; done
    wait $out
    is "$(cat "$T"/got? | xargs)" "3000000 3000000 3000000" "$l: ... several at once"
    in_ns curl -s --max-time 20 http://127.0.0.1:$((port + 1))/ >/dev/null
    ok "$l: ... and where nobody listens" eventually 10 grep -qi "connection refused" "$T/forward"
    kill $forward 2>/dev/null # newer ones end when a connection has failed
    wait $forward 2>/dev/null
    port=$((port + 2))
}
if [ -n "$old" ]; then kubectl=$old; with_kubectl "kubectl 1.20"; else skip "the package kubernetes-client cannot be fetched"; fi
if [ -n "$own" ]; then
    kubectl=$own
    with_kubectl "newer kubectl"
    like "$(k exec box -v 6 -- true 2>&1)" "subprotocol is v5.channel.k8s.io" "... that was WebSocket"
    export KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false KUBECTL_PORT_FORWARD_WEBSOCKETS=false
    with_kubectl "newer kubectl told to use SPDY"
    unset KUBECTL_REMOTE_COMMAND_WEBSOCKETS KUBECTL_PORT_FORWARD_WEBSOCKETS
    is "$( (sleep 1; echo one; echo two) | k attach -i reader 2>/dev/null | xargs)" "got one got two over" "newer kubectl: attach -i, with stdinOnce"
else
    skip "no newer kubectl on this machine"
fi

# ---- a client that is not ours, at the API server and at the kubelet ----
ws() { in_ns timeout 60 "$TOP/tests/lib/ws_client.py" --cert "$T/pki/admin.crt" --key "$T/pki/admin.key" "$@" 2>&1; }
say='command=sh&command=-c&command=read+x;+echo+$x;+exit+3'
status() { jq -Rr 'if startswith("3 ") then .[2:] | fromjson | .details.causes[0].message else . end' | xargs; }
if /usr/bin/python3 -c 'import websocket' 2>/dev/null; then
    api=https://127.0.0.1:6443$pods/box kubelet=https://192.0.2.10:10250
    is "$(ws "$api/exec?$say&stdin=1&stdout=1&stderr=1" v5.channel.k8s.io send:0:'hello\n' end:0 | status)" "1 hello 3 close 1000" "API server: v5.channel.k8s.io"
    is "$(ws "$api/exec?$say&stdin=1&stdout=1&stderr=1" v4.channel.k8s.io send:0:'hello\n' | status)" "1 hello 3 close 1000" "API server: v4.channel.k8s.io"
    is "$(ws "$api/exec?$say&stdin=1&stdout=1" base64.channel.k8s.io send:0:'hello\n' | xargs)" "1 hello 3 command terminated with non-zero exit code: exit status 3 close 1000" "API server: base64.channel.k8s.io"
    is "$(ws "$api/exec?$say&stdout=1" v9.channel.k8s.io)" "status 403" "API server: no protocol in common"
    is "$(ws "$api/exec?stdout=1" v5.channel.k8s.io)" "status 400" "API server: no command"
    is "$(ws "$api/portforward?ports=x" v4.channel.k8s.io)" "status 400" "API server: a port that is none"
    out=$(ws "$api/portforward?ports=8080,9999" v4.channel.k8s.io send:0:'GET /index.html HTTP/1.0\r\n\r\n')
    like "$(head -1 <<<"$out")" '^0 \\x90\\x1fHTTP/1.. 200 OK.*served$' "API server: numbered ports"
    like "$out" "3 \\\\x0f'.*Connection refused" "... and their errors"
    is "$(tail -1 <<<"$out")" "close 1000" "... and the end"
    is "$(ws "$kubelet/exec/default/box/c?$say&input=1&output=1&error=1" v5.channel.k8s.io send:0:'hello\n' end:0 | status)" "1 hello 3 close 1000" "kubelet: v5.channel.k8s.io"
    is "$(ws "$kubelet/exec/default/box/c?command=stty&command=size&input=1&output=1&tty=1" v4.channel.k8s.io | tail -1)" "close 1000" "kubelet: v4.channel.k8s.io with a terminal"
    like "$(ws "$kubelet/portForward/default/box?port=8080" v4.channel.k8s.io send:0:'GET /index.html HTTP/1.0\r\n\r\n')" "200 OK.*served" "kubelet: numbered ports"
    is "$(ws "$kubelet/exec/default/box/none?command=true&output=1" v5.channel.k8s.io)" "status 404" "kubelet: a container that is not there"
else
    skip "python3-websocket is not installed"
fi
is "$(api GET "$pods/box/exec?command=true&stdout=1" | jq -r .reason)" BadRequest "a request that asks for no upgrade"
is "$(cat "$T/code")" 400 "... is answered 400"

# ---- memory, and what is left ----
if [ -n "$own" ]; then
    kubectl=$own
    for p in "$APISERVER_PID" "$KUBELET_PID"; do echo 5 >"/proc/$p/clear_refs"; done
    a=$(peak "$APISERVER_PID") b=$(peak "$KUBELET_PID")
    is "$(for i in 1 2 3 4 5; do cat "$T/random"; done | k exec -i box -- cat | cksum)" "$(for i in 1 2 3 4 5; do cat "$T/random"; done | cksum)" "100 MB both ways over WebSocket"
    diag "peaks grew by $(($(peak "$APISERVER_PID") - a)) KB (API server), $(($(peak "$KUBELET_PID") - b)) KB (kubelet)"
    ok "the API server stays small" test $(($(peak "$APISERVER_PID") - a)) -lt $MARGIN
    ok "... and the kubelet" test $(($(peak "$KUBELET_PID") - b)) -lt $MARGIN
else
    skip "no newer kubectl on this machine"
fi
ok "nothing leaks: descriptors are what they were" eventually 40 settled $((before[0] + 4)) $((before[1] + 4))
done_testing
