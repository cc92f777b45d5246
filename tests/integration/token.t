#!/usr/bin/env bash
# `coracle token`: what new nodes join with, over a real API server.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
c() { in_ns "$B/bin/coracle" token "$@" 2>&1; }
apiserver_up --enable-bootstrap-token-auth --authorization-mode RBAC

is "$(c list)" "" "no token yet"
token=$(c create --description "for the attic")
like "$token" '^[a-z0-9]{6}\.[a-z0-9]{16}$' "create prints a token"
who() { in_ns curl -sS --cacert "$T/pki/ca.crt" -H "Authorization: Bearer $1" -H 'Content-Type: application/json' \
    -d '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' https://127.0.0.1:6443/apis/authentication.k8s.io/v1/selfsubjectreviews; }
is "$(who "$token" | jq -r '.status.userInfo.username')" "system:bootstrap:${token%.*}" "which lets in"
like "$(who "$token" | jq -r '.status.userInfo.groups[]' | paste -sd' ')" "system:bootstrappers:kubeadm:default-node-token" "into kubeadm's group"
like "$(c list)" "TOKEN +TTL +EXPIRES +USAGES +DESCRIPTION +EXTRA GROUPS"$'\n'"$token +2[34]h +20.*Z +authentication,signing +for the attic +system:bootstrappers:kubeadm:default-node-token" "list shows it"
is "$(c create abcdef.0123456789abcdef --ttl 0)" abcdef.0123456789abcdef "one of one's own"
like "$(c list)" "abcdef.0123456789abcdef +<forever> +<never>" "which does not expire"
like "$(c create abcdef.0000000000000000)" "a token with this ID is there already" "an ID is taken once"
like "$(c create --ttl soon)" '--ttl: "soon" is no duration' "no duration"
like "$(c create ABCDEF.0123456789abcdef)" 'is no token' "no token"
line=$(c create --print-join-command)
hash=$(openssl x509 -in "$T/pki/ca.crt" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -d' ' -f1)
like "$line" "^coracle join 127.0.0.1:6443 --token [a-z0-9.]{23} --discovery-token-ca-cert-hash sha256:$hash\$" "the line to join with"

# ---- what a node that joins is told ----
c delete "$(awk '{print $5}' <<<"$line")" >/dev/null
nsenter --net=/run/netns/"$NS" "$B/libexec/coracle/coracle-controllers" --kubeconfig "$KUBECONFIG" --root-ca-file "$T/pki/ca.crt" \
    --cluster-info-server https://192.0.2.10:6443 >"$T/controllers.log" 2>&1 &
CONTROLLERS=$!
controllers_down() { kill "$CONTROLLERS" && wait "$CONTROLLERS" 2>/dev/null; :; }
at_end controllers_down
info() { in_ns curl -sS --cacert "$T/pki/ca.crt" https://127.0.0.1:6443/api/v1/namespaces/kube-public/configmaps/cluster-info; }
signed_by() { info | jq -r '.data|keys[]' | grep jws | paste -sd' '; }
signers_are() { [ "$(signed_by)" = "$1" ]; }
ok "cluster-info is there for everybody, signed with both tokens" eventually 20 signers_are "$(printf 'jws-kubeconfig-%s\n' abcdef "${token%.*}" | sort | paste -sd' ')"
info >"$T/info"
like "$(jq -r .data.kubeconfig "$T/info")" "certificate-authority-data: $(base64 -w0 "$T/pki/ca.crt")"$'\n'" +server: https://192.0.2.10:6443" "with the server's address and CA"
is "$(python3 - "$T/info" <<'PY'
import base64, hashlib, hmac, json, sys
data = json.load(open(sys.argv[1]))["data"]
head, empty, mac = data["jws-kubeconfig-abcdef"].split(".")
pad = lambda s: s + "=" * (-len(s) % 4)
payload = base64.urlsafe_b64encode(data["kubeconfig"].encode()).decode().rstrip("=")
good = hmac.new(b"0123456789abcdef", f"{head}.{payload}".encode(), hashlib.sha256).digest()
print(json.loads(base64.urlsafe_b64decode(pad(head))), empty == "", hmac.compare_digest(good, base64.urlsafe_b64decode(pad(mac))))
PY
)" "{'alg': 'HS256', 'kid': 'abcdef'} True True" "the signature is kubeadm's"
short=$(c create --ttl 3s)
ok "one more token" eventually 10 eval 'signed_by | grep -q "${short%.*}"'
ok "a token that has expired signs no more" eventually 20 eval '! signed_by | grep -q "${short%.*}"'
ok "and is deleted" eventually 10 eval '! c list | grep -q "$short"'

is "$(c delete abcdef "$token")" "bootstrap token \"abcdef\" deleted
bootstrap token \"${token%.*}\" deleted" "delete, by ID and whole"
isnt "$(who "$token" | jq -r '.status.userInfo.username // empty')" "system:bootstrap:${token%.*}" "lets nobody in any more"
ok "nor does it sign" eventually 10 signers_are ""
like "$(c delete abcdef)" "there is no token abcdef" "one that is not there"
like "$(c delete nonsense)" 'neither a token nor the ID' "no ID"
like "$(c forget)" "usage: coracle token create" "no such verb"
done_testing
