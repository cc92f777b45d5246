#!/usr/bin/env bash
# Registries: those that lie or break off, authentication in all its forms, certificates, mirrors.
. "$(dirname "$0")/../lib/imagestore.sh"
command -v docker-registry >/dev/null || skip_all "needs docker-registry"
start_cri || bail "coracle-cri does not start: $(tail -5 "$T/cri.log")"
hello=$(testimage hello)
ID=$(images import "$hello" | cut -d' ' -f1)
images remove "$ID"

# ---- a registry that lies ----
start_bad_registry "$hello"
like "$(images pull "$bad/wrong-layer:v1" 2>&1)" "^DATA_LOSS: .*layer sha256:" "a layer with another digest"
like "$(images pull "$bad/wrong-config:v1" 2>&1)" "^DATA_LOSS: " "a config with another digest"
like "$(images pull "$bad/wrong-manifest@sha256:$(printf '%064d' 7)" 2>&1)" "^DATA_LOSS: " "a manifest with another digest"
like "$(images pull "$bad/wrong-diff:v1" 2>&1)" "^INVALID_ARGUMENT: .*uncompressed digest" "a layer that unpacks to something else"
like "$(images pull "$bad/wrong-type:v1" 2>&1)" "^INVALID_ARGUMENT: " "a manifest that is an index too"
like "$(images pull "$bad/too-long:v1" 2>&1)" "^DATA_LOSS: .*more than its size" "a layer longer than it says"
like "$(images pull "$bad/other-platform:v1" 2>&1)" "^NOT_FOUND: .*windows/amd64" "an index without our platform names those it has"
like "$(images pull "$bad/foreign-realm:v1" 2>&1)" "^(PERMISSION_DENIED|UNAVAILABLE): " "a token service that is not there"
is "$(images pull "$bad/index:v1")" "$ID" "an index, by platform"
images remove "$ID"
is "$(images pull "$bad/interrupted:v1")" "$ID" "a download that breaks off twice is resumed"
is "$(curl -s "http://$bad/log" | grep -c 'interrupted.*bytes=[1-9]')" 2 "from where it stopped"
images remove "$ID"
is "$(images pull "$bad/redirected:v1" user:secret)" "$ID" "a redirect to another host"
is "$(curl -s "http://$bad/log" | grep -c 'storage.*Authorization')" 0 "goes without the credentials"
images remove "$ID"
is "$(images pull "$bad/busy:v1")" "$ID" "a busy registry is asked again when it says"
like "$(images pull "$bad/too-busy:v1" 2>&1)" "^UNAVAILABLE: .*429 Too Many Requests: slow down" "unless that is too long"

# ---- tokens ----
images remove "$ID"
is "$(images pull "$bad/token:v1" user:secret)" "$ID" "a token service"
like "$(curl -s "http://$bad/log")" "token scope=repository:token:pull service=bad user:secret" "which got scope and credentials"

images remove "$ID"
is "$(images pull "$bad/token:v1" user:secret@other.example:5000 2>&1)" "$ID" "credentials for another registry"
like "$(curl -s "http://$bad/log" | grep '^token scope' | tail -1)" "nobody" "are not sent to this one"

images remove "$ID"
is "$(images pull "$bad/expired:v1" user:secret)" "$ID" "a token that expires in the middle of a layer is asked for anew"
is "$(curl -s "http://$bad/log" | grep -c '^token scope=repository:expired')" 3 "each time"
# ---- authentication ----
# bcrypt of "secret"
printf 'user:%s\n' '$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a' >"$T/htpasswd"
start_registry || bail "no registry"
push "$hello" lib/hello:v1
open_registry=$REGISTRY
start_registry htpasswd "$T/htpasswd" || bail "no registry"
push "$hello" private/hello:v1 --dest-creds user:secret
like "$(images pull "$REGISTRY/private/hello:v1" 2>&1)" "^PERMISSION_DENIED: .*401 Unauthorized.*credentials" "without credentials: denied, with the reason"
like "$(images pull "$REGISTRY/private/hello:v1" user:wrong 2>&1)" "^PERMISSION_DENIED: .*credentials were refused" "with wrong ones"
is "$(images pull "$REGISTRY/private/hello:v1" user:secret)" "$ID" "with the right ones"
private=$REGISTRY
REGISTRY=$open_registry

# ---- certificates ----
# A registry over TLS that nobody vouches for: loopback, but not a name that means this machine.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=registry.test \
    -addext subjectAltName=IP:127.0.0.2 -keyout "$T/key.pem" -out "$T/cert.pem" 2>/dev/null
tls_port=$(free_port)
python3 "$TOP/tests/lib/bad_registry.py" "$tls_port" "$hello" "$T/cert.pem" "$T/key.pem" 2>>"$T/bad.log" &
at_end kill $!
eventually 60 curl -sk -o "$T/.x" "https://127.0.0.2:$tls_port/v2/" || bail "$(cat "$T/bad.log")"
like "$(images pull "127.0.0.2:$tls_port/hello:v1" 2>&1)" "^[A-Z]+: .*https://127.0.0.2:$tls_port/v2/hello/manifests/v1: .*certificate" \
    "a certificate that nobody vouches for is refused, and said"

# ---- mirrors ----
mkdir -p "$T/etc/coracle"
mirrors() { cat >"$T/etc/coracle/registries.yaml"; }
mirrors <<END
mirrors:
  first.test:
    endpoint: ["http://127.0.0.1:1", "http://$REGISTRY"]
    rewrite: {"^app/(.*)": "lib/\$1"}
  private.test: {endpoint: ["http://$private"]}
  token.test: {endpoint: ["http://$bad"], rewrite: {"^.*": token}}
  ca.test: {endpoint: ["https://127.0.0.2:$tls_port"]}
  none.test: {endpoint: ["http://127.0.0.1:1", "http://$REGISTRY"]}
  docker.io: {endpoint: ["http://$bad"]}
configs:
  "$private": {auth: {username: user, password: secret}}
  "127.0.0.2:$tls_port": {tls: {ca_file: "$T/cert.pem"}}
END
images remove "$ID"
is "$(images pull first.test/app/hello:v1)" "$ID" "the second mirror answers, under another name"
is "$(images status first.test/app/hello:v1 | sed -n 's/^tag //p')" "first.test/app/hello:v1" "the image keeps its own"
images remove "$ID"
is "$(images pull private.test/private/hello:v1)" "$ID" "a mirror with credentials of its own"
images remove "$ID"
is "$(images pull token.test/x:v1 user:secret)" "$ID" "a mirror with a token service"
like "$(curl -s "http://$bad/log" | grep '^token scope=repository:token' | tail -1)" "nobody" "does not get the request's credentials"
images remove "$ID"
is "$(images pull ca.test/hello:v1)" "$ID" "a mirror with a certificate authority of its own"
images remove "$ID"
is "$(images pull 127.0.0.2:$tls_port/hello:v1)" "$ID" "its authority for the registry itself too"
like "$(images pull none.test/nothing:v1 2>&1)" "127.0.0.1:1/v2/nothing.*$REGISTRY/v2/nothing/manifests/v1: 404.*https://none.test/v2/nothing" \
    "when all fail, each endpoint and its answer are named"
images remove "$ID"
is "$(images pull hello)" "$ID" "a bare name is Docker Hub's, whose mirror is asked"
is "$(images status "$ID" | sed -n 's/^tag //p') $(curl -s "http://$bad/log" | grep -c '^/v2/library/hello/manifests/latest')" \
    "docker.io/library/hello:latest 1" "... for library/ and latest"
mirrors <<<'mirrors: {docker.io: {endpoint: ["http://127.0.0.1:1"]}}'
like "$(images pull nothing/here 2>&1)" "127.0.0.1:1/v2/nothing/here/manifests/latest.*https://registry-1.docker.io/v2/nothing/here/manifests/latest: " \
    "Docker Hub itself is registry-1.docker.io"
mirrors <<<"configs: {\"127.0.0.2:$tls_port\": {tls: {insecure_skip_verify: true}}}"
images remove "$ID"
is "$(images pull 127.0.0.2:$tls_port/hello:v1)" "$ID" "a certificate that is not looked at, when registries.yaml says so"
echo 'mirrors: {a.test: {endpoints: []}}' | mirrors
like "$(images pull "$REGISTRY/lib/hello:v1" 2>&1)" "^INVALID_ARGUMENT: .*registries.yaml: mirrors.a.test.endpoints is not known" "a wrong registries.yaml names the field"
rm "$T/etc/coracle/registries.yaml"


# ---- the form that the registry sees ----
last_grant() { curl -s "http://$bad/log" | grep '^token grant' | tail -1; }
is "$(images pull "$bad/basic:v1" auth=dXNlcjpzZWNyZXQ=)" "$ID" "auth: user and password in base64"
images remove "$ID"
like "$(images pull "$bad/basic:v1" "auth=dXNlcjpzZWNyZXQ=$(printf '\r\n')X-Other: header" 2>&1)" "^[A-Z_]+: " "which cannot smuggle in a header"
is "$(images pull "$bad/bearer:v1" registry=direct)" "$ID" "registry_token: used as it is"
images remove "$ID"
is "$(images pull "$bad/token:v1" identity=mine)" "$ID" "identity_token: exchanged at the token service"
is "$(last_grant)" "token grant=refresh_token refresh=mine scope=repository:token:pull service=bad client=coracle" "by what it says about itself"
images remove "$ID"
like "$(images pull "$bad/token:v1" identity=other 2>&1)" "^PERMISSION_DENIED: .*401 Unauthorized: who are you.*credentials were refused" "one that is not known"

# ---- an image for those who may have it ----
images pull "$bad/slow-basic:v1" user:secret >"$T/own" 2>&1 &
own=$!
eventually 20 eval 'curl -s "http://$bad/log" | grep -q "slow-basic/blobs/.* Authorization"' || bail "no pull"
like "$(images pull "$bad/slow-basic:v1" 2>&1)" "^PERMISSION_DENIED: " "who has no credentials does not join a pull under way that has them"
like "$(images pull "$bad/slow-basic:v1" user:wrong 2>&1)" "^PERMISSION_DENIED: " "... nor who has wrong ones"
ok "... while it goes on" kill -0 $own
wait $own
is "$(cat "$T/own")" "$ID" "... to its end"
images remove "$ID"

# ---- docker's config.json ----
mkdir -p "$T/root/.docker" "$T/etc/coracle"
docker_config() { cat >"$T/root/.docker/config.json"; }
echo '{"auths":{"'"$bad"'":{"auth":"'"$(printf user:secret | base64)"'"},"other.test":{"auth":"Og=="}},"credsStore":"none","HttpHeaders":{}}' | docker_config
is "$(images pull "$bad/basic:v1")" "$ID" "credentials of docker's config.json"
images remove "$ID"
like "$(images pull "$bad/basic:v1" user:wrong 2>&1)" "^PERMISSION_DENIED: " "those of the request come first"
echo "configs: {\"$bad\": {auth: {username: user, password: wrong}}}" >"$T/etc/coracle/registries.yaml"
like "$(images pull "$bad/basic:v1" 2>&1)" "^PERMISSION_DENIED: " "then those of registries.yaml"
rm "$T/etc/coracle/registries.yaml"
echo '{"auths":{"'"$bad"'":{"username":"<token>","identitytoken":"mine"}}}' | docker_config
is "$(images pull "$bad/token:v1")" "$ID" "an identity token of config.json"
images remove "$ID"
echo '{"auths":{"'"$bad"'":{}},"credsStore":"pass"}' | docker_config
like "$(images pull "$bad/basic:v1" 2>&1)" "^PERMISSION_DENIED: .*it needs credentials" "an entry whose credentials a helper keeps has none"
echo '{"auths":{"http://mirror.test:99":{"auth":"dXNlcg=="}}}' | docker_config
like "$(images pull "$bad/basic:v1" 2>&1)" '^INVALID_ARGUMENT: .*/root/.docker/config.json: auths\[http://mirror.test:99\].auth must be' "a wrong config.json names file and field"
echo '{"auths":' | docker_config
like "$(images pull "$bad/hello:v1" 2>&1)" '^INVALID_ARGUMENT: .*/root/.docker/config.json: line' "one that is cut too"
stop_cri
echo '{"auths":{"'"$bad"'":{"auth":"'"$(printf user:secret | base64)"'"}}}' >"$T/elsewhere.json"
start_cri --docker-config /elsewhere.json
is "$(images pull "$bad/basic:v1")" "$ID" "another place for it"
images remove "$ID"
stop_cri
start_cri --docker-config ""
is "$(images pull "$bad/hello:v1")" "$ID" "or none: the broken file is not looked at"

stop_cri
is "$?" 0 "coracle-cri ends orderly"
is "$(grep -c 'ERROR: AddressSanitizer\|runtime error' "$T/cri.log")" 0 "no sanitizer report"
done_testing
