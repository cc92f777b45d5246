#!/usr/bin/env bash
# Tokens of ServiceAccounts: what is in one, who accepts it, and what ends it.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up --service-account-mount

sas=/api/v1/namespaces/default/serviceaccounts
me=/apis/authentication.k8s.io/v1/selfsubjectreviews
issuer=https://kubernetes.default.svc.cluster.local
object() { api_json POST "$1" "{\"apiVersion\":\"v1\",\"kind\":\"$2\",\"metadata\":{\"name\":\"$3\"}${4:-}}" >/dev/null; }
# request ACCOUNT SPEC: the answer to a TokenRequest
request() { api_json POST "$sas/$1/token" "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenRequest\",\"spec\":$2}"; }
token() { request "$@" | jq -r .status.token; }
claims() { cut -d. -f2 <<<"$1" | tr '_-' '/+' | awk '{while(length($0)%4)$0=$0"=";print}' | base64 -d; }
header() { cut -d. -f1 <<<"$1" | tr '_-' '/+' | awk '{while(length($0)%4)$0=$0"=";print}' | base64 -d; }
# as TOKEN METHOD PATH [BODY]
as() { in_ns curl -sk -m 20 -H "Authorization: Bearer $1" -X "$2" -H 'Content-Type: application/json' ${4:+-d "$4"} "https://127.0.0.1:6443$3"; }
whoami() { as "$1" POST $me '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' | jq -r '.code // .status.userInfo.username'; }
review() { api_json POST /apis/authentication.k8s.io/v1/tokenreviews "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\"spec\":{\"token\":\"$1\"${2:+,\"audiences\":$2}}}" | jq -c .status; }

object $sas ServiceAccount robot
object $sas ServiceAccount other
object /api/v1/nodes Node n1
object /api/v1/namespaces/default/secrets Secret s1
pod() { object /api/v1/namespaces/default/pods Pod "$1" ",\"spec\":{\"nodeName\":\"n1\",\"serviceAccountName\":\"robot\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}"; }
pod p1

# ---- a token and its claims ----
answer=$(request robot '{}')
t=$(jq -r .status.token <<<"$answer")
is "$(cat "$T/code")" 201 "a token is created"
is "$(jq -r '.kind, .metadata.name, .metadata.namespace, .spec.expirationSeconds, .spec.audiences[0]' <<<"$answer" | xargs)" "TokenRequest robot default 3600 $issuer" "the request comes back with its defaults"
is "$(header "$t" | jq -r '.alg, (.kid|length)' | xargs)" "ES256 43" "signed with the key's algorithm"
c=$(claims "$t")
uid=$(api GET $sas/robot | jq -r .metadata.uid)
is "$(jq -r '.iss, .sub, .aud[0], .["kubernetes.io"].namespace, .["kubernetes.io"].serviceaccount.name' <<<"$c" | xargs)" "$issuer system:serviceaccount:default:robot $issuer default robot" "claims name issuer, subject, audience, account"
is "$(jq -r '.["kubernetes.io"].serviceaccount.uid' <<<"$c")" "$uid" "…the account's uid"
is "$(jq -r '.exp-.iat, .nbf-.iat, (.jti|length), (.["kubernetes.io"]|has("warnafter"))' <<<"$c" | xargs)" "3600 0 36 false" "…and times"
is "$(date -ud "$(jq -r .status.expirationTimestamp <<<"$answer")" +%s)" "$(jq .exp <<<"$c")" "expirationTimestamp is exp"
is "$(whoami "$t")" system:serviceaccount:default:robot "the token opens the API"
is "$(as "$t" POST $me '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' | jq -r '.status.userInfo|.uid, .groups[], .extra["authentication.kubernetes.io/credential-id"][0]' | xargs)" "$uid system:serviceaccounts system:serviceaccounts:default system:authenticated JTI=$(jq -r .jti <<<"$c")" "…with uid, groups and credential"

# ---- what is refused ----
is "$(request robot '{"expirationSeconds":599}' | jq -r '.reason, .message' | xargs)" 'Invalid TokenRequest.authentication.k8s.io robot is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes' "too short a lifetime"
is "$(request robot '{"expirationSeconds":4294967297}' | jq -r .details.causes[0].field)" spec.expirationSeconds "too long a lifetime"
is "$(request nobody '{}' | jq -r .message)" 'serviceaccounts "nobody" not found' "an account that is not there"
is "$(request robot '{"boundObjectRef":{"kind":"ConfigMap","apiVersion":"v1","name":"x"}}' | jq -r .message)" 'cannot bind token to object of type v1, Kind=ConfigMap' "bound to a strange kind"
is "$(request robot '{"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"none"}}' | jq -r .message)" 'pods "none" not found' "bound to a pod that is not there"
like "$(request other '{"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"p1"}}' | jq -r .message)" 'different serviceaccount name' "bound to a pod of another account"
is "$(request robot '{"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"p1","uid":"x"}}' | jq -r '.reason, .code' | xargs)" "Conflict 409" "bound to another pod of that name"
is "$(api GET $sas/robot/token | jq -r .reason)" MethodNotAllowed "a token cannot be read"
is "$(whoami "${t%????}AAAA")" 401 "a token with another signature"
is "$(whoami "$(token robot '{"audiences":["vault"]}')")" 401 "a token for another audience"

# ---- bound to a pod ----
p=$(token robot '{"expirationSeconds":3607,"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"p1"}}')
c=$(claims "$p")
puid=$(api GET /api/v1/namespaces/default/pods/p1 | jq -r .metadata.uid)
is "$(jq -r '.["kubernetes.io"]|.pod.name, .pod.uid, .node.name' <<<"$c" | xargs)" "p1 $puid n1" "a pod's token names pod and node"
is "$(jq -r '.exp-.iat, .["kubernetes.io"].warnafter-.iat' <<<"$c" | xargs)" "31536000 3607" "…lives for a year and warns after an hour"
is "$(as "$p" POST $me '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' | jq -r '.status.userInfo.extra|.["authentication.kubernetes.io/pod-name"][0], .["authentication.kubernetes.io/pod-uid"][0], .["authentication.kubernetes.io/node-name"][0]' | xargs)" "p1 $puid n1" "the user says so too"
api_json DELETE /api/v1/namespaces/default/pods/p1 '{"gracePeriodSeconds":0}' >/dev/null
refused() { [ "$(whoami "$1")" = 401 ]; }
ok "the pod is deleted: the token is refused" eventually 10 refused "$p"
pod p1
is "$(whoami "$p")" 401 "…also when another pod of that name is there"
is "$(whoami "$t")" system:serviceaccount:default:robot "…while the account's own token goes on"

# ---- bound to a Secret and to a node ----
s=$(token robot '{"boundObjectRef":{"kind":"Secret","apiVersion":"v1","name":"s1"}}')
n=$(token robot '{"boundObjectRef":{"kind":"Node","apiVersion":"v1","name":"n1"}}')
is "$(whoami "$s") $(whoami "$n")" "system:serviceaccount:default:robot system:serviceaccount:default:robot" "tokens bound to a Secret and a node"
api DELETE /api/v1/namespaces/default/secrets/s1 >/dev/null
api DELETE /api/v1/nodes/n1 >/dev/null
ok "…end with the Secret" eventually 10 refused "$s"
ok "…and the node" eventually 10 refused "$n"

# ---- TokenReview ----
is "$(review "$t" | jq -r '.authenticated, .user.username, .audiences[0]' | xargs)" "true system:serviceaccount:default:robot $issuer" "a review"
is "$(review "$t" '["vault"]' | jq -r '.authenticated // false, .error' | xargs)" "false the token is for another audience" "…for another audience"
v=$(token robot '{"audiences":["vault","bank"]}')
is "$(review "$v" '["x","bank"]' | jq -c '[.authenticated, .audiences]')" '[true,["bank"]]' "…for those in common"
is "$(review secret-token | jq -r '.user.username, .user.groups[]' | xargs)" "alice dev ops system:authenticated" "…of a token of the token file"
is "$(review nonsense | jq -r '.authenticated // false, .user' | xargs)" "false {}" "…of nonsense"
is "$(api GET /apis/authentication.k8s.io/v1/tokenreviews | jq -r .reason)" MethodNotAllowed "reviews cannot be listed"

# ---- discovery: anybody can check a token with openssl ----
is "$(api GET /.well-known/openid-configuration | jq -r '.issuer, .jwks_uri, .id_token_signing_alg_values_supported[0]' | xargs)" "$issuer https://192.0.2.10:6443/openid/v1/jwks ES256" "the discovery document"
is "$(api GET /openid/v1/jwks | jq -r '.keys[0]|.kty, .crv, .use, .alg, .kid' | xargs)" "EC P-256 sig ES256 $(header "$t" | jq -r .kid)" "the key set has the key"
is "$(api GET /openid/v1/jwks | jq -r '.keys[0].x' | tr '_-' '/+' | awk '{print $0"="}' | base64 -d | xxd -p -c 99)" "$(openssl ec -in "$T/pki/sa.key" -pubout -outform DER 2>/dev/null | tail -c 64 | head -c 32 | xxd -p -c 99)" "…itself"

# ---- the account goes ----
api DELETE $sas/robot >/dev/null
ok "the account is deleted: its token is refused" eventually 10 refused "$t"
object $sas ServiceAccount robot
is "$(whoami "$t")" 401 "…also when another account of that name is there"
t=$(token robot '{}')

# ---- pods and their account ----
pods=/api/v1/namespaces/default/pods
# pod_of NAME SPEC…: what comes of a pod, nothing being stored
pod_of() { api_json POST "$pods?dryRun=All" "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\"${3:-}},\"spec\":{$2}}"; }
c='"containers":[{"name":"c","image":"i"},{"name":"d","image":"i","volumeMounts":[{"name":"v","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}]}],"volumes":[{"name":"v","emptyDir":{}}]'
p=$(pod_of a "$c,\"initContainers\":[{\"name\":\"i\",\"image\":\"i\"}]")
is "$(jq -r '.spec|.serviceAccountName, .serviceAccount' <<<"$p" | xargs)" "default default" "a pod acts as default"
vol=$(jq -c '.spec.volumes[1]' <<<"$p")
like "$(jq -r .name <<<"$vol")" '^kube-api-access-[a-z0-9]{5}$' "…and gets a volume"
is "$(jq -c '.projected|.defaultMode, .sources[]' <<<"$vol" | xargs -0 echo -n)" '420
{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}}
{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}}
{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}' "…with token, CA and namespace"
is "$(jq -c '[.spec|.initContainers[0], .containers[]|.volumeMounts|length]' <<<"$p")" "[1,1,1]" "mounted into each container that has nothing there"
is "$(jq -r '.spec.containers|.[0].volumeMounts[0].readOnly, .[1].volumeMounts[0].name' <<<"$p" | xargs)" "true v" "…read-only"
c='"containers":[{"name":"c","image":"i"}]'
is "$(pod_of a "$c,\"automountServiceAccountToken\":false" | jq '.spec|has("volumes")')" false "the pod can do without"
api PATCH $sas/other -H 'Content-Type: application/merge-patch+json' -d '{"automountServiceAccountToken":false,"imagePullSecrets":[{"name":"pull"}]}' >/dev/null
is "$(pod_of a "$c,\"serviceAccountName\":\"other\"" | jq -c '.spec|[has("volumes"), .imagePullSecrets]')" '[false,[{"name":"pull"}]]' "so can the account, which gives secrets to pull with"
is "$(pod_of a "$c,\"serviceAccountName\":\"other\",\"automountServiceAccountToken\":true,\"imagePullSecrets\":[{\"name\":\"own\"}]" | jq -c '.spec|[has("volumes"), .imagePullSecrets]')" '[true,[{"name":"own"}]]' "the pod has the last word"
is "$(pod_of a "$c,\"serviceAccount\":\"other\"" | jq -r .spec.serviceAccountName)" other "the old name of the field"
is "$(pod_of a "$c,\"serviceAccountName\":\"nobody\"" | jq -r '.code, .message' | xargs -0 echo -n)" '403
pods "a" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found' "an account that is not there"
m=',"annotations":{"kubernetes.io/config.mirror":"x"}'
is "$(pod_of a "$c,\"nodeName\":\"n\"" "$m" | jq -c '.spec|[has("volumes"), .serviceAccountName]')" '[false,null]' "a mirror stays as it is"
is "$(pod_of a "$c,\"serviceAccountName\":\"other\"" "$m" | jq -r .message)" 'pods "a" is forbidden: a mirror pod may not reference service accounts' "…and has no account"
like "$(pod_of a "$c,\"volumes\":[{\"name\":\"s\",\"secret\":{\"secretName\":\"s\"}}]" "$m" | jq -r .message)" 'a mirror pod may not reference secrets' "…and no secrets"
object /api/v1/namespaces Namespace late
is "$(api_json POST /api/v1/namespaces/late/pods "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":{$c}}" | jq -r .message)" 'pods "p" is forbidden: error looking up service account late/default: serviceaccount "default" not found' "a namespace whose account does not come"
in_ns curl -s --cacert "$T/pki/ca.crt" --cert "$T/pki/admin.crt" --key "$T/pki/admin.key" -H 'Content-Type: application/json' -d "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":{$c}}" -o "$T/late" https://127.0.0.1:6443/api/v1/namespaces/late/pods &
sleep 0.2
object /api/v1/namespaces/late/serviceaccounts ServiceAccount default
arrived() { [ "$(jq -r .metadata.name "$T/late")" = p ]; }
ok "…or late" eventually 10 arrived

# ---- the cluster's CA in every namespace, and the account ----
nsenter --net=/run/netns/"$NS" "$B/libexec/coracle/coracle-controllers" --kubeconfig "$T/kubeconfig" --root-ca-file "$T/pki/ca.crt" >"$T/controllers.log" 2>&1 &
CONTROLLERS=$!
at_end kill "$CONTROLLERS"
root_ca=/api/v1/namespaces/late/configmaps/kube-root-ca.crt
has_ca() { [ "$(api GET $root_ca | jq -r '.data["ca.crt"]')" = "$(cat "$T/pki/ca.crt")" ]; }
ok "kube-root-ca.crt is published" eventually 10 has_ca
api PATCH $root_ca -H 'Content-Type: application/merge-patch+json' -d '{"metadata":{"labels":{"mine":"1"}},"data":{"ca.crt":"x","y":"z"}}' >/dev/null
ok "…put right when it is changed" eventually 10 has_ca
is "$(api GET $root_ca | jq -c '[.metadata.labels.mine, (.data|length)]')" '["1",1]' "…without touching the rest"
api DELETE $root_ca >/dev/null
ok "…and comes back" eventually 10 has_ca
has_account() { [ "$(api GET /api/v1/namespaces/late/serviceaccounts/default | jq -r .metadata.name)" = default ]; }
api DELETE /api/v1/namespaces/late/serviceaccounts/default >/dev/null
ok "so does the account" eventually 10 has_account

# ---- keys: RSA, and a change of keys ----
openssl genrsa -out "$T/pki/rsa.key" 2048 2>/dev/null
openssl rsa -in "$T/pki/rsa.key" -pubout -out "$T/pki/rsa.pub" 2>/dev/null
apiserver_stop TERM
APISERVER_FLAGS=(--service-account-key-file "$T/pki/rsa.pub" --service-account-signing-key-file "$T/pki/rsa.key" --api-audiences "api,$issuer" --service-account-max-token-expiration 2h)
apiserver_start
eventually 20 apiserver_ready
is "$(whoami "$t")" system:serviceaccount:default:robot "after a change of keys the old token holds"
answer=$(request robot '{"expirationSeconds":9000}')
r=$(jq -r .status.token <<<"$answer")
is "$(header "$r" | jq -r .alg) $(claims "$r" | jq -c '[.aud, .exp-.iat]')" "RS256 [[\"api\",\"$issuer\"],7200]" "the new one is RS256, for all audiences, no longer than allowed"
is "$(whoami "$r")" system:serviceaccount:default:robot "…and holds"
is "$(in_ns "$B/libexec/coracle/coracle-apiserver" --service-account-key-file "$T/pki/sa.key" 2>&1 | grep -c 'service-account-issuer is missing')" 1 "keys without an issuer are refused"
done_testing
