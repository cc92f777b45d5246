#!/usr/bin/env bash
# Who may do what: roles and bindings, the built-in ones, escalation, impersonation, reviews.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
apiserver_up --authorization-mode Node,RBAC

rbac=/apis/rbac.authorization.k8s.io/v1
ns=/api/v1/namespaces/default
code() { cat "$T/code"; }
user() { pki_cert ca "$1" "$2/CN=$1" 'extendedKeyUsage=clientAuth\n'; }
user alice /O=dev
user bob ''
# as USER METHOD PATH [BODY [CURL ARGUMENT…]]: the answer; its code goes to $T/code. USER - sends no certificate
as() {
    local who=$1 method=$2 path=$3 body=${4:-}
    shift 3
    [ $# = 0 ] || shift
    local cert=(--cert "$T/pki/$who.crt" --key "$T/pki/$who.key")
    [ "$who" != - ] || cert=()
    in_ns curl -sS --max-time 20 --cacert "$T/pki/ca.crt" "${cert[@]}" -X "$method" -o "$T/body" -w '%{http_code}' \
        ${body:+-H "Content-Type: ${TYPE:-application/json}" --data-binary "$body"} "$@" "https://127.0.0.1:6443$path" >"$T/code"
    cat "$T/body" 2>/dev/null
    rm -f "$T/body"
}
message() { as "$@" | jq -r .message; }
codes() { as "$@" >/dev/null; code; }
role() { printf '{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"%s","metadata":{"name":"%s"},"rules":%s}' "$1" "$2" "$3"; }
binding() { printf '{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"%s","metadata":{"name":"%s"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"%s","name":"%s"},"subjects":[%s]}' "$@"; }
subject() { printf '{"apiGroup":"rbac.authorization.k8s.io","kind":"%s","name":"%s"}' "$1" "$2"; }
allowed() { [ "$(codes "$@")" = 200 ]; }
denied() { [ "$(codes "$@")" = 403 ]; }

# ---- what is there ----
is "$(api GET $rbac/clusterroles/cluster-admin | jq -c '[.rules[0].verbs, .metadata.labels["kubernetes.io/bootstrapping"]]')" '[["*"],"rbac-defaults"]' "built-in roles"
is "$(api GET $rbac/clusterrolebindings/system:node-proxier | jq -r '.subjects[0]|.kind, .name' | xargs)" "User system:kube-proxy" "…and bindings"
like "$(api GET $rbac/clusterroles -H 'Accept: application/json;as=Table;g=meta.k8s.io;v=v1' | jq -r '[.columnDefinitions[].name]|join(",")')" 'Name,Created At' "as a table"
is "$(api GET $rbac/clusterrolebindings -H 'Accept: application/json;as=Table;g=meta.k8s.io;v=v1' | jq -c '.rows[]|select(.cells[0]=="cluster-admin")|.cells[1,4]' | xargs)" "ClusterRole/cluster-admin system:masters" "…of bindings"

# ---- nobody and everybody ----
is "$(codes - GET /healthz) $(codes - GET /livez) $(codes - GET /version)" "200 200 200" "anonymous: health and version"
is "$(message - GET /api)" 'forbidden: User "system:anonymous" cannot get path "/api"' "…and nothing else"
is "$(codes - GET /api)" 403 "…which is 403"
is "$(message - GET $ns/pods)" 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace "default"' "…pods neither"
is "$(codes alice GET /api) $(codes alice GET /apis/apps/v1) $(codes alice GET /openapi/v2)" "200 200 200" "a user: discovery"
is "$(message alice GET /api/v1/nodes)" 'nodes is forbidden: User "alice" cannot list resource "nodes" in API group "" at the cluster scope' "…but no nodes"
is "$(message alice DELETE $ns/pods/x)" 'pods "x" is forbidden: User "alice" cannot delete resource "pods" in API group "" in the namespace "default"' "a named object"
is "$(message alice GET "$ns/pods/x/exec?command=a")" 'pods "x" is forbidden: User "alice" cannot create resource "pods/exec" in API group "" in the namespace "default"' "exec by GET is create"
is "$(message alice PUT $ns/pods/x/status '{}')" 'pods "x" is forbidden: User "alice" cannot update resource "pods/status" in API group "" in the namespace "default"' "a subresource"
is "$(message alice DELETE $ns/pods)" 'pods is forbidden: User "alice" cannot deletecollection resource "pods" in API group "" in the namespace "default"' "a collection"
is "$(message alice GET /apis/none.example/v1/things)" 'things.none.example is forbidden: User "alice" cannot list resource "things" in API group "none.example" at the cluster scope' "what is not served is forbidden too"
is "$(in_ns curl -sk -H 'Authorization: Bearer wrong' https://127.0.0.1:6443/healthz | jq -r .code)" 401 "a wrong token is not anonymous"

# ---- roles and bindings ----
api_json POST $rbac/namespaces/default/roles "$(role Role reader '[{"verbs":["get","list","watch"],"apiGroups":[""],"resources":["pods","configmaps"]}]')" >/dev/null
is "$(code)" 201 "a Role"
is "$(api_json POST $rbac/namespaces/default/rolebindings "$(binding RoleBinding alice Role reader '{"kind":"User","name":"alice"}')" | jq -r '.subjects[0].apiGroup')" rbac.authorization.k8s.io "a RoleBinding, with defaults"
ok "the user may" eventually 10 allowed alice GET $ns/pods
is "$(codes alice GET /api/v1/namespaces/kube-system/pods) $(codes alice GET /api/v1/pods) $(codes alice POST $ns/pods '{}')" "403 403 403" "…there, and that, only"
is "$(codes bob GET $ns/pods)" 403 "…and nobody else"
api_json POST $rbac/clusterroles "$(role ClusterRole one-node '[{"verbs":["get"],"apiGroups":[""],"resources":["nodes"],"resourceNames":["n1"]},{"verbs":["get"],"nonResourceURLs":["/metrics/*"]}]')" >/dev/null
api_json POST $rbac/clusterrolebindings "$(binding ClusterRoleBinding devs ClusterRole one-node "$(subject Group dev)")" >/dev/null
got() { [ "$(codes "$1" GET "$2")" = "$3" ]; }
ok "a ClusterRole to a group, one object" eventually 10 got alice /api/v1/nodes/n1 404
is "$(codes alice GET /api/v1/nodes/n2) $(codes alice GET /api/v1/nodes)" "403 403" "…and no other"
is "$(codes alice GET '/api/v1/nodes?fieldSelector=metadata.name%3Dn1')" 403 "…to get is not to list"
is "$(codes alice GET /metrics/x) $(codes alice GET /metrics) $(codes alice POST /metrics/x)" "404 403 403" "paths with a star"
api DELETE $rbac/namespaces/default/rolebindings/alice >/dev/null
ok "the binding goes, and with it the right" eventually 10 denied alice GET $ns/pods
api_json POST $rbac/namespaces/default/rolebindings "$(binding RoleBinding ghost Role nothing "$(subject User bob)")" >/dev/null
why() { [[ $(message bob GET $ns/pods) == *': RBAC: role.rbac.authorization.k8s.io "nothing" not found' ]]; }
ok "a binding to no role says so" eventually 10 why
is "$(api_json PUT $rbac/namespaces/default/rolebindings/ghost "$(binding RoleBinding ghost Role other "$(subject User bob)")" | jq -r '.message')" 'RoleBinding.rbac.authorization.k8s.io "ghost" is invalid: roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"other"}: cannot change roleRef' "roleRef is fixed"
is "$(api_json POST $rbac/namespaces/default/roles "$(role Role bad '[{"verbs":[],"apiGroups":[""],"resources":["pods"]},{"verbs":["get"],"nonResourceURLs":["/x"]},{"verbs":["get"]}]')" | jq -r '[.details.causes[].field]|join(" ")')" "rules[0].verbs rules[1].nonResourceURLs rules[2].apiGroups rules[2].resources" "invalid rules"
is "$(api_json POST $rbac/clusterrolebindings "$(binding ClusterRoleBinding bad Role x '{"kind":"Robot","name":"r"},{"kind":"ServiceAccount","name":"s"}')" | jq -r '[.details.causes[].field]|join(" ")')" "roleRef.kind subjects[0].kind subjects[1].namespace" "an invalid binding"

# ---- accounts ----
api_json POST $rbac/namespaces/default/rolebindings "$(binding RoleBinding robots ClusterRole view '{"kind":"ServiceAccount","name":"default","namespace":"default"}')" >/dev/null
token=$(api_json POST $ns/serviceaccounts/default/token '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}' | jq -r .status.token)
by_token() { in_ns curl -sk -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" "https://127.0.0.1:6443$1"; }
is "$(by_token /.well-known/openid-configuration) $(by_token /openid/v1/jwks)" "200 200" "accounts may read the keys of tokens"
is "$(by_token $ns/pods)" 403 "view has no rules as long as nobody gathers them"
nsenter --net=/run/netns/"$NS" "$B/libexec/coracle/coracle-controllers" --kubeconfig "$T/kubeconfig" --root-ca-file "$T/pki/ca.crt" >"$T/controllers.log" 2>&1 &
CONTROLLERS=$!
at_end kill "$CONTROLLERS"
may() { [ "$(by_token "$1")" = 200 ]; }
ok "the controller gathers them" eventually 20 may $ns/pods
is "$(by_token $ns/secrets) $(by_token /api/v1/namespaces/kube-system/pods)" "403 403" "view: no Secrets, here only"
aggregated() { [ "$(api GET $rbac/clusterroles/admin | jq '[.rules[].resources[]]|contains(["pods/exec","rolebindings","endpointslices"])')" = true ]; }
ok "admin holds edit and view" eventually 20 aggregated
api_json POST $rbac/clusterroles "$(role ClusterRole extra '[{"verbs":["get"],"apiGroups":["x.example"],"resources":["things"]}]' | jq '.metadata.labels={"rbac.authorization.k8s.io/aggregate-to-view":"true"}')" >/dev/null
extra() { [ "$(api GET $rbac/clusterroles/admin | jq '[.rules[].resources[]]|contains(["things"])')" = true ]; }
ok "…and what is labelled later" eventually 20 extra

# ---- nobody gives away what he does not have ----
api_json POST $rbac/clusterroles "$(role ClusterRole rbac-writer '[{"verbs":["*"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles","rolebindings","clusterroles","clusterrolebindings"]},{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]' | jq '.rules[0].verbs=["get","list","create","update","patch","delete"]')" >/dev/null
api_json POST $rbac/clusterrolebindings "$(binding ClusterRoleBinding bob ClusterRole rbac-writer "$(subject User bob)")" >/dev/null
ok "somebody who may write roles" eventually 10 allowed bob GET $rbac/clusterroles
is "$(codes bob POST $rbac/namespaces/default/roles "$(role Role mine '[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]')")" 201 "…may give what he has"
is "$(message bob POST $rbac/namespaces/default/roles "$(role Role more '[{"verbs":["get","delete"],"apiGroups":["","apps"],"resources":["pods"]}]')")" 'roles.rbac.authorization.k8s.io "more" is forbidden: user "bob" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:
{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}
{APIGroups:["apps"], Resources:["pods"], Verbs:["get" "delete"]}' "…and no more"
is "$(TYPE=application/merge-patch+json codes bob PATCH $rbac/namespaces/default/roles/mine '{"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}')" 403 "…not by a change either"
is "$(codes bob POST $rbac/clusterroles "$(role ClusterRole agg '[]' | jq '.aggregationRule={clusterRoleSelectors:[{matchLabels:{a:"b"}}]}')")" 403 "…not by gathering"
is "$(codes bob POST $rbac/clusterrolebindings "$(binding ClusterRoleBinding evil ClusterRole cluster-admin "$(subject User bob)")")" 403 "…not by binding"
is "$(message bob POST $rbac/namespaces/default/rolebindings "$(binding RoleBinding none Role none "$(subject User bob)")")" 'roles.rbac.authorization.k8s.io "none" not found' "a role that is not there cannot be compared"
api_json POST $rbac/clusterroles "$(role ClusterRole binder '[{"verbs":["bind"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],"resourceNames":["edit"]},{"verbs":["escalate"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"]}]')" >/dev/null
api_json POST $rbac/clusterrolebindings "$(binding ClusterRoleBinding bob2 ClusterRole binder "$(subject User bob)")" >/dev/null
created() { [ "$(codes "$@")" = 201 ]; }
ok "who may bind a role" eventually 10 created bob POST $rbac/namespaces/default/rolebindings "$(binding RoleBinding eve ClusterRole edit "$(subject User eve)")"
is "$(codes bob POST $rbac/namespaces/default/rolebindings "$(binding RoleBinding eve2 ClusterRole admin "$(subject User eve)")")" 403 "…only that one"
is "$(codes bob POST $rbac/namespaces/default/roles "$(role Role more '[{"verbs":["delete"],"apiGroups":[""],"resources":["nodes"]}]')")" 201 "who may escalate roles"

# ---- impersonation ----
me=/apis/authentication.k8s.io/v1/selfsubjectreviews
ssr='{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'
is "$(as admin POST $me "$ssr" -H 'Impersonate-User: carol' -H 'Impersonate-Group: x' -H 'Impersonate-Group: y' -H 'Impersonate-Extra-Scopes%2fa: 1' -H 'Impersonate-Uid: u' | jq -c '.status.userInfo')" '{"username":"carol","uid":"u","groups":["x","y","system:authenticated"],"extra":{"scopes/a":["1"]}}' "an administrator acts as somebody else"
is "$(as admin POST $me "$ssr" -H 'Impersonate-User: system:serviceaccount:default:default' | jq -c '.status.userInfo.groups')" '["system:serviceaccounts","system:serviceaccounts:default","system:authenticated"]' "…as an account"
is "$(message bob POST $me "$ssr" -H 'Impersonate-User: carol')" 'users "carol" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope' "others may not"
is "$(codes admin POST $me "$ssr" -H 'Impersonate-Group: x')" 400 "groups without a user"
api_json POST $rbac/clusterroles "$(role ClusterRole actor '[{"verbs":["impersonate"],"apiGroups":[""],"resources":["users"],"resourceNames":["carol"]}]')" >/dev/null
api_json POST $rbac/clusterrolebindings "$(binding ClusterRoleBinding bob3 ClusterRole actor "$(subject User bob)")" >/dev/null
ok "who may, may" eventually 10 created bob POST $me "$ssr" -H 'Impersonate-User: carol'
is "$(message bob POST $me "$ssr" -H 'Impersonate-User: carol' -H 'Impersonate-Group: system:masters')" 'groups "system:masters" is forbidden: User "bob" cannot impersonate resource "groups" in API group "" at the cluster scope' "…but not with any group"
is "$(message admin GET /api/v1/nodes '' -H 'Impersonate-User: carol')" 'nodes is forbidden: User "carol" cannot list resource "nodes" in API group "" at the cluster scope' "it is the other's rights that count"

# ---- reviews ----
authz=/apis/authorization.k8s.io/v1
sar() { api_json POST $authz/subjectaccessreviews "{\"apiVersion\":\"authorization.k8s.io/v1\",\"kind\":\"SubjectAccessReview\",\"spec\":$1}" | jq -c 'if .kind=="Status" then .message else .status end'; }
is "$(sar '{"user":"eve","resourceAttributes":{"verb":"create","resource":"pods","namespace":"default"}}')" '{"allowed":true,"reason":"RBAC: allowed by RoleBinding \"eve/default\" of ClusterRole \"edit\" to User \"eve\""}' "SubjectAccessReview"
is "$(sar '{"user":"eve","resourceAttributes":{"verb":"create","resource":"pods","namespace":"kube-system"}}')" '{"allowed":false}' "…no"
is "$(sar '{"groups":["dev"],"nonResourceAttributes":{"verb":"get","path":"/metrics/a"}}' | jq .allowed)" true "…of a group and a path"
is "$(sar '{"groups":["system:masters"],"resourceAttributes":{"verb":"x","resource":"y"}}' | jq .allowed)" true "…of system:masters"
like "$(sar '{"user":"eve"}')" 'exactly one of nonResourceAttributes or resourceAttributes must be specified' "…without a question"
is "$(api_json POST $authz/namespaces/default/localsubjectaccessreviews '{"apiVersion":"authorization.k8s.io/v1","kind":"LocalSubjectAccessReview","spec":{"user":"eve","resourceAttributes":{"verb":"create","resource":"pods"}}}' | jq .status.allowed)" true "LocalSubjectAccessReview"
is "$(api_json POST $authz/namespaces/default/localsubjectaccessreviews '{"apiVersion":"authorization.k8s.io/v1","kind":"LocalSubjectAccessReview","spec":{"user":"eve","resourceAttributes":{"verb":"create","resource":"pods","namespace":"x"}}}' | jq .code)" 400 "…of another namespace"
self() { as "$1" POST $authz/selfsubjectaccessreviews "{\"apiVersion\":\"authorization.k8s.io/v1\",\"kind\":\"SelfSubjectAccessReview\",\"spec\":{\"resourceAttributes\":$2}}" | jq .status.allowed; }
is "$(self alice '{"verb":"get","resource":"nodes","name":"n1"}') $(self alice '{"verb":"get","resource":"nodes"}')" "true false" "SelfSubjectAccessReview"
is "$(as alice POST $authz/selfsubjectrulesreviews '{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectRulesReview","spec":{"namespace":"default"}}' | jq -c '[.status|.incomplete, (.resourceRules[]|select(.resourceNames==["n1"])|.verbs), (.nonResourceRules|length > 2)]')" '[true,["get"],true]' "SelfSubjectRulesReview"

# ---- the built-in roles at a start ----
api PATCH $rbac/clusterroles/system:basic-user -H 'Content-Type: application/merge-patch+json' -d '{"rules":[{"verbs":["get"],"apiGroups":["own.example"],"resources":["things"]}]}' >/dev/null
api PATCH $rbac/clusterrolebindings/system:basic-user -H 'Content-Type: application/merge-patch+json' -d '{"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"zoe"}]}' >/dev/null
api PATCH $rbac/clusterroles/system:discovery -H 'Content-Type: application/merge-patch+json' -d '{"metadata":{"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"false"}},"rules":[]}' >/dev/null
api DELETE $rbac/clusterroles/system:node-bootstrapper >/dev/null
apiserver_stop TERM
apiserver_start
eventually 20 apiserver_ready
is "$(api GET $rbac/clusterroles/system:basic-user | jq -c '[.rules[].resources]')" '[["things"],["selfsubjectaccessreviews","selfsubjectrulesreviews"],["selfsubjectreviews"]]' "what is missing is added, what was added stays"
is "$(api GET $rbac/clusterrolebindings/system:basic-user | jq -c '[.subjects[].name]')" '["zoe","system:authenticated"]' "…of subjects too"
is "$(api GET $rbac/clusterroles/system:discovery | jq -c .rules)" '[]' "autoupdate: false is left alone"
is "$(api GET $rbac/clusterroles/system:node-bootstrapper | jq -r .metadata.name)" system:node-bootstrapper "a deleted role comes back"
is "$(api GET $rbac/clusterroles/admin | jq '[.rules[].resources[]]|contains(["things"])')" true "gathered rules stay"
done_testing
