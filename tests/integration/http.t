#!/usr/bin/env bash
# lib/net's HTTP server with curl and openssl as its clients.
. "$(dirname "$0")/../lib/tap.sh"

mkfifo "$T/ready"
"$B/tests/bin/http_test_server" "$T" >"$T/ready" 2>"$T/log" &
server=$!
stop() { [ -z "$server" ] || kill "$server"; }
at_end stop
read -r plain secure <"$T/ready" || bail "the test server did not start: $(cat "$T/log")"
http=http://127.0.0.1:$plain https=https://127.0.0.1:$secure
get() { curl -sS --max-time 30 --cacert "$T/ca.crt" "$@"; }
certificate=(--cert "$T/client.crt" --key "$T/client.key")

is "$(get $http/who)" "tls=0 certificate=0 verified=0 cn= o= unix=0" "plain text"
is "$(get --unix-socket "$T/s" http://x/who)" "tls=0 certificate=0 verified=0 cn= o= unix=1" "a unix socket"
is "$(get $https/who)" "tls=1 certificate=0 verified=0 cn= o= unix=0" "TLS, verified by curl"
is "$(get --tls-max 1.2 $https/who)" "tls=1 certificate=0 verified=0 cn= o= unix=0" "TLS 1.2"
is "$(get "${certificate[@]}" $https/who)" "tls=1 certificate=1 verified=1 cn=client o=testers unix=0" "a client certificate"
is "$(get --tls-max 1.2 "${certificate[@]}" $https/who)" "tls=1 certificate=1 verified=1 cn=client o=testers unix=0" \
    "a client certificate with TLS 1.2"
is "$(get --cert "$T/server.crt" --key "$T/server.key" $https/who)" \
    "tls=1 certificate=1 verified=0 cn=server o=testers unix=0" "a server's certificate is not believed from a client"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /O=testers/CN=client \
    -keyout "$T/own.key" -out "$T/own.crt" 2>/dev/null
is "$(get --cert "$T/own.crt" --key "$T/own.key" $https/who)" \
    "tls=1 certificate=1 verified=0 cn=client o=testers unix=0" "nor one that signs itself"
ok "TLS 1.1 is refused" bash -c "! openssl s_client -connect 127.0.0.1:$secure -tls1_1 -cipher ALL:@SECLEVEL=0 </dev/null >/dev/null 2>&1"
like "$(openssl s_client -connect 127.0.0.1:$secure -alpn h2,http/1.1 </dev/null 2>/dev/null)" 'ALPN protocol: http/1.1' \
    "HTTP/1.1 is chosen where HTTP/2 is offered"
openssl verify -x509_strict -CAfile "$T/ca.crt" -purpose sslserver "$T/server.crt" >"$T/v" 2>&1
like "$(cat "$T/v")" 'OK$' "openssl is content with the certificates"

is "$(get -v $http/who $http/who $https/who $https/who 2>&1 | grep -c 'Re-using existing connection')" 2 "connections are kept alive"
is "$(get -d 'hello world' $https/echo)" "hello world" "a body comes back"
is "$(printf 'a b' | get -T - $http/echo)" "a b" "a chunked one too"
head -c 5000000 /dev/urandom >"$T/big"
want="5000000 $(sha256sum <"$T/big" | cut -d' ' -f1)"
is "$(get -T "$T/big" $https/digest)" "$want" "an upload with 100-continue over TLS"
is "$(get -T - $https/digest <"$T/big")" "$want" "a chunked upload over TLS"
is "$(get -H Expect: -T "$T/big" $http/digest)" "$want" "an upload without asking first"
like "$(get -v -T "$T/big" -H 'Expect: 100-continue' $http/digest 2>&1)" 'HTTP/1.1 100 Continue' "100 is sent when it is asked for"
is "$(get -o "$T/out" -w '%{http_code}' -T "$T/big" -H 'Expect: 100-continue' $http/refuse)" 403 "an upload that is not wanted is refused"
is "$(get -o "$T/out" -w '%{http_code}' -H Expect: -T "$T/big" $https/refuse)" 403 "also when it was sent at once"
is "$(get -o "$T/out" -w '%{http_code}' --data-binary @"$T/big" $http/echo)" 413 "a body over the limit"
is "$(get "$http/chunks?n=20" | wc -c)" 20971520 "a long chunked reply"
is "$(get --limit-rate 20M "$https/chunks?n=10" | wc -c)" 10485760 "a long chunked reply over TLS to a slow reader"
is "$(get -0 "$http/chunks?n=2" | wc -c)" 2097152 "a long reply to HTTP/1.0"
is "$(get -I "$http/chunks?n=9" | grep -ci 'transfer-encoding: chunked')" 1 "HEAD gets no body"
is "$(get "$http/a%20b?x=%zz")" "query: invalid percent-encoding" "a malformed query"
is "$(get "$http/a%20b")" "no /a b here" "an escaped path"

# 30 at once, over and over, on both ports; then the server still is small.
for i in {1..30}; do get "$https/who?[1-20]" "$http/chunks?n=1" >"$T/many.$i" & pids[i]=$!; done
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
is "${failed:-0} $(cat "$T"/many.* | wc -c)" "0 $((30 * (1048576 + 20 * 45)))" "thirty clients at once"
kill $server
wait $server
status=$? server=
is $status 0 "the server ends in order"
is "$(cat "$T/log")" "" "and has said nothing"
done_testing
