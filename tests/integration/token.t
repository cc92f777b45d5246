#!/usr/bin/env bash
# `coracle token`: what new nodes join with, over a real API server.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
c() { in_ns "$B/bin/coracle" token "$@" 2>&1; }
apiserver_up --enable-bootstrap-token-auth

is "$(c list)" "" "no token yet"
token=$(c create --description "for the attic")
like "$token" '^[a-z0-9]{6}\.[a-z0-9]{16}$' "create prints a token"
who() { in_ns curl -sS --cacert "$T/pki/ca.crt" -H "Authorization: Bearer $1" -H 'Content-Type: application/json' \
    -d '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' https://127.0.0.1:6443/apis/authentication.k8s.io/v1/selfsubjectreviews; }
is "$(who "$token" | jq -r '.status.userInfo.username')" "system:bootstrap:${token%.*}" "which lets in"
like "$(who "$token" | jq -r '.status.userInfo.groups[]' | paste -sd' ')" "system:bootstrappers:kubeadm:default-node-token" "into kubeadm's group"
like "$(c list)" "TOKEN +TTL +EXPIRES +USAGES +DESCRIPTION +EXTRA GROUPS"$'\n'"$token +23h +20.*Z +authentication,signing +for the attic +system:bootstrappers:kubeadm:default-node-token" "list shows it"
is "$(c create abcdef.0123456789abcdef --ttl 0)" abcdef.0123456789abcdef "one of one's own"
like "$(c list)" "abcdef.0123456789abcdef +<forever> +<never>" "which does not expire"
like "$(c create abcdef.0000000000000000)" "a token with this ID is there already" "an ID is taken once"
like "$(c create --ttl soon)" '--ttl: "soon" is no duration' "no duration"
like "$(c create ABCDEF.0123456789abcdef)" 'is no token' "no token"
line=$(c create --print-join-command)
hash=$(openssl x509 -in "$T/pki/ca.crt" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -d' ' -f1)
like "$line" "^coracle join 127.0.0.1:6443 --token [a-z0-9.]{23} --discovery-token-ca-cert-hash sha256:$hash\$" "the line to join with"
is "$(c delete abcdef "$token")" "bootstrap token \"abcdef\" deleted
bootstrap token \"${token%.*}\" deleted" "delete, by ID and whole"
isnt "$(who "$token" | jq -r '.status.userInfo.username // empty')" "system:bootstrap:${token%.*}" "lets nobody in any more"
like "$(c delete abcdef)" "there is no token abcdef" "one that is not there"
like "$(c delete nonsense)" 'neither a token nor the ID' "no ID"
like "$(c forget)" "usage: coracle token create" "no such verb"
done_testing
