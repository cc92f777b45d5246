#!/usr/bin/env bash
# Certificate signing requests: a new node by a bootstrap token, renewal, serving certificates, people.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up --authorization-mode Node,RBAC --enable-bootstrap-token-auth

csrs=/apis/certificates.k8s.io/v1/certificatesigningrequests
code() { cat "$T/code"; }
# by CURL ARGUMENTS: the answer; its code goes to $T/code
by() {
    in_ns curl -sS --max-time 20 --cacert "$T/pki/ca.crt" -o "$T/body" -w '%{http_code}' -H "Content-Type: ${TYPE:-application/json}" "$@" >"$T/code"
    cat "$T/body" 2>/dev/null
    rm -f "$T/body"
}
cert() { echo --cert "$T/pki/$1.crt" --key "$T/pki/$1.key"; }
url=https://127.0.0.1:6443
# request NAME KEY SUBJECT SIGNER USAGES [SAN [MORE SPEC]]: the object
request() {
    [ -e "$T/pki/$2.key" ] || openssl ecparam -name prime256v1 -genkey -noout -out "$T/pki/$2.key" 2>/dev/null
    openssl req -new -key "$T/pki/$2.key" -subj "$3" ${6:+-addext "subjectAltName=$6"} -out "$T/csr.pem" 2>/dev/null
    printf '{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"%s"},"spec":{"signerName":"%s","usages":[%s],"request":"%s"%s}}' \
        "$1" "$4" "$5" "$(base64 -w0 "$T/csr.pem")" "${7:-}"
}
kubelet=kubernetes.io/kube-apiserver-client-kubelet serving=kubernetes.io/kubelet-serving client=kubernetes.io/kube-apiserver-client
as_client='"client auth","digital signature"' as_server='"server auth","digital signature"'
issued() { [ -n "$(api GET $csrs/$1 | jq -r '.status.certificate // empty')" ]; }
save() { api GET $csrs/$1 | jq -r .status.certificate | base64 -d >"$T/pki/$2.crt"; }
conditions() { api GET $csrs/$1 | jq -r '[.status.conditions[]?.type]|sort|join(",")'; }
condition() { [ "$(conditions "$1")" = "$2" ]; }

# ---- bootstrap tokens ----
token() { # ID SECRET MORE
    api_json POST /api/v1/namespaces/kube-system/secrets "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"bootstrap-token-$1\"},\"type\":\"bootstrap.kubernetes.io/token\",\"stringData\":{\"token-id\":\"$1\",\"token-secret\":\"$2\"$3}}" >/dev/null
}
token abcdef 0123456789abcdef ',"usage-bootstrap-authentication":"true","auth-extra-groups":"system:bootstrappers:workers"'
token oldone 0123456789abcdef ',"usage-bootstrap-authentication":"true","expiration":"2020-01-01T00:00:00Z"'
token signer 0123456789abcdef ',"usage-bootstrap-signing":"true"'
bearer() { by -H "Authorization: Bearer $1" "${@:2}"; }
me=$url/apis/authentication.k8s.io/v1/selfsubjectreviews
ssr='{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'
is "$(bearer abcdef.0123456789abcdef $me -d "$ssr" | jq -c '.status.userInfo')" '{"username":"system:bootstrap:abcdef","groups":["system:bootstrappers","system:bootstrappers:workers","system:authenticated"]}' "a bootstrap token"
for t in abcdef.0123456789abcdee oldone.0123456789abcdef signer.0123456789abcdef nobody.0123456789abcdef; do bearer $t $me -d "$ssr" >/dev/null; echo "$(code)"; done >"$T/codes"
is "$(xargs <"$T/codes")" "401 401 401 401" "another secret, expired, for something else, not there"
bearer abcdef.0123456789abcdef $url/api/v1/nodes >/dev/null
is "$(code)" 403 "it opens nothing but"

# ---- what is refused ----
posted() { by $(cert "$1") $url$csrs -d "$2" | jq -r '.reason // .metadata.name'; }
is "$(api_json POST $csrs "$(request bad k1 /CN=a x "$as_client" | jq '.spec.request="bm9uc2Vuc2U="|.spec.expirationSeconds=10|.spec.usages=["client auth","nonsense"]')" | jq -r '[.details.causes[].field]|sort|join(" ")')" "spec.expirationSeconds spec.request spec.signerName spec.usages[1]" "an invalid request"
is "$(api_json POST $csrs "$(request bad k1 /O=system:masters/CN=a $client "$as_client")" | jq -r .message)" "certificatesigningrequests.certificates.k8s.io \"bad\" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed" "nobody gets system:masters"

# ---- a new node ----
bearer abcdef.0123456789abcdef $url$csrs -d "$(request node1 n1 /O=system:nodes/CN=system:node:n1 $kubelet "$as_client" '' ',"username":"admin","groups":["system:masters"],"expirationSeconds":3600')" >/dev/null
is "$(code)" 201 "a new node asks"
is "$(api GET $csrs/node1 | jq -c '[.spec.username, .spec.groups[0], .status]')" '["system:bootstrap:abcdef","system:bootstrappers",{}]' "who asks is the server's to say"
bearer abcdef.0123456789abcdef $url$csrs -d "$(request other1 o1 /O=system:nodes/CN=admin $kubelet "$as_client")" >/dev/null
is "$(in_ns "$B/libexec/coracle/coracle-controllers" --cluster-signing-duration nonsense 2>&1 | grep -c 'no duration')" 1 "a bad flag of the signer"
nsenter --net=/run/netns/"$NS" "$B/libexec/coracle/coracle-controllers" --kubeconfig "$T/kubeconfig" --cluster-signing-cert-file "$T/pki/ca.crt" \
    --cluster-signing-key-file "$T/pki/ca.key" >"$T/controllers.log" 2>&1 &
CONTROLLERS=$!
at_end kill "$CONTROLLERS"
ok "…and gets its certificate" eventually 20 issued node1
is "$(conditions node1)" Approved "…approved"
save node1 n1
is "$(openssl x509 -in "$T/pki/n1.crt" -noout -subject -nameopt RFC2253)" "subject=CN=system:node:n1,O=system:nodes" "its subject"
like "$(openssl x509 -in "$T/pki/n1.crt" -noout -text)" 'CA:FALSE.*TLS Web Client Authentication' "its uses"
ok "…for as long as it asked for" bash -c "openssl x509 -in '$T/pki/n1.crt' -checkend 3000 -noout && ! openssl x509 -in '$T/pki/n1.crt' -checkend 3700 -noout"
is "$(by $(cert n1) $me -d "$ssr" | jq -c '.status.userInfo|[.username,.groups]')" '["system:node:n1",["system:nodes","system:authenticated"]]' "the certificate is the node's"
is "$(api GET $csrs/other1 | jq -c .status)" '{}' "a strange request of that kind waits for a person"

# ---- renewal and serving ----
by $(cert n1) $url$csrs -d "$(request renew1 n1b /O=system:nodes/CN=system:node:n1 $kubelet "$as_client")" >/dev/null
ok "a node renews its certificate" eventually 20 issued renew1
by $(cert n1) $url$csrs -d "$(request steal n1c /O=system:nodes/CN=system:node:n2 $kubelet "$as_client")" >/dev/null
by $(cert n1) $url$csrs -d "$(request serve1 s1 /O=system:nodes/CN=system:node:n1 $serving "$as_server" DNS:n1,IP:192.0.2.10)" >/dev/null
by $(cert n1) $url$csrs -d "$(request serve2 s2 /O=system:nodes/CN=system:node:n1 $serving "$as_server" DNS:n1,DNS:kubernetes)" >/dev/null
by $(cert n1) $url/api/v1/nodes -d '{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}}' >/dev/null
TYPE=application/merge-patch+json by $(cert n1) -X PATCH $url/api/v1/nodes/n1/status -d '{"status":{"addresses":[{"type":"Hostname","address":"n1"},{"type":"InternalIP","address":"192.0.2.10"}]}}' >/dev/null
ok "a serving certificate once the Node has its addresses" eventually 20 issued serve1
save serve1 s1
like "$(openssl x509 -in "$T/pki/s1.crt" -noout -text)" 'TLS Web Server Authentication.*DNS:n1, IP Address:192.0.2.10' "…for these"
is "$(api GET $csrs/serve2 | jq -c .status) $(api GET $csrs/steal | jq -c .status)" '{} {}' "not for other names, nor for another node"

# ---- people ----
pki_cert ca alice /CN=alice 'extendedKeyUsage=clientAuth\n'
rbac=/apis/rbac.authorization.k8s.io/v1
api_json POST $rbac/clusterroles '{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"csr"},"rules":[{"verbs":["get","list","create","update","patch"],"apiGroups":["certificates.k8s.io"],"resources":["certificatesigningrequests","certificatesigningrequests/approval","certificatesigningrequests/status"]}]}' >/dev/null
api_json POST $rbac/clusterrolebindings '{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"csr"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"csr"},"subjects":[{"kind":"User","name":"alice"}]}' >/dev/null
made() { [ "$(posted alice "$(request alice1 a1 /O=dev/CN=alice $client "$as_client")")" = alice1 ]; }
ok "somebody asks for a client certificate" eventually 20 made
patch() { TYPE=application/strategic-merge-patch+json by $(cert "$1") -X PATCH $url$csrs/$2/$3 -d "$4"; }
yes='{"status":{"conditions":[{"type":"Approved","status":"True","reason":"r","message":"m"}]}}'
is "$(patch alice alice1 approval "$yes" | jq -r .message)" "certificatesigningrequests.certificates.k8s.io \"alice1\" is forbidden: user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\"" "…and may not approve it"
is "$(patch alice alice1 status '{"status":{"certificate":"LS0t"}}' | jq -r .message)" "certificatesigningrequests.certificates.k8s.io \"alice1\" is forbidden: user not permitted to sign requests with signerName \"kubernetes.io/kube-apiserver-client\"" "…nor sign it"
k() { in_ns timeout 30 kubectl --cache-dir "$T/cache" "$@"; }
is "$(k certificate approve alice1)" "certificatesigningrequest.certificates.k8s.io/alice1 approved" "kubectl certificate approve"
ok "…signs it" eventually 20 issued alice1
save alice1 a1
is "$(by $(cert a1) $me -d "$ssr" | jq -c '.status.userInfo|[.username,.groups[0]]')" '["alice","dev"]' "the certificate works"
is "$(k certificate deny other1)" "certificatesigningrequest.certificates.k8s.io/other1 denied" "kubectl certificate deny"
like "$(k get csr | tr -s ' ')" "alice1 [0-9a-z]+ $client alice <none> Approved,Issued" "kubectl get csr"
like "$(k get csr other1 | tr -s ' ')" 'Denied' "…a denied one"
is "$(patch admin other1 approval "$yes" | jq -r '.details.causes[0].message')" 'Invalid value: "Denied": Approved and Denied conditions are mutually exclusive' "denied is not approved"
is "$(patch admin alice1 status '{"status":{"certificate":"LS0t"}}' | jq -r '.details.causes[0].field')" status.certificate "an issued certificate stays"
api_json POST $csrs "$(request wrong w1 /CN=w $client '"server auth"')" >/dev/null
k certificate approve wrong >/dev/null
ok "what the signer does not sign fails" eventually 20 condition wrong Approved,Failed
is "$(api_json PUT $csrs/wrong "$(api GET $csrs/wrong | jq '.spec.signerName="x.example/y"')" | jq -r .spec.signerName)" $client "the request is fixed"
done_testing
