#!/usr/bin/env bash
# Images of pods: credentials, pull policies, names, users, and what is said when one cannot be had.
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../lib/apiserver.sh"
for tool in docker-registry skopeo; do command -v $tool >/dev/null || skip_all "$tool is not installed"; done
apiserver_up
. "$(dirname "$0")/../lib/kubelet.sh"
. "$(dirname "$0")/../lib/pods.sh"
node_up
kubelet_start --kubeconfig "$T/kubeconfig" --client-ca-file "$T/pki/ca.crt"
# A registry in the node's namespace that wants user:secret.
# The bcrypt hash of "secret" with a fixed salt.
printf 'user:%s\n' '$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a' >"$T/htpasswd"
cat >"$T/registry.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $T/registry}}
http: {addr: "127.0.0.1:5000"}
log: {level: error}
auth: {htpasswd: {realm: test, path: $T/htpasswd}}
END
nsenter --net="/run/netns/$NS" docker-registry serve "$T/registry.yml" >"$T/registry.log" 2>&1 &
at_end kill $!
serves() { [ "$(in_ns curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:5000/v2/)" = 401 ]; }
ok "a registry that wants credentials" eventually 40 serves
I=127.0.0.1:5000/team/app:v1
in_ns skopeo copy -q --dest-tls-verify=false --dest-creds user:secret "oci-archive:$T/bb.tar" "docker://$I" >"$T/skopeo.log" 2>&1 ||
    bail "cannot push: $(cat "$T/skopeo.log")"
docker_secret() { # NAME TYPE KEY JSON
    api_json POST /api/v1/namespaces/default/secrets "$(jq -cn --arg n "$1" --arg t "kubernetes.io/$2" --arg k "$3" --arg d "$4" '{metadata:{name:$n},type:$t,stringData:{($k):$d}}')" >/dev/null
}
docker_secret wrong dockerconfigjson .dockerconfigjson '{"auths":{"127.0.0.1:5000/team":{"username":"user","password":"no"}}}'
docker_secret right dockerconfigjson .dockerconfigjson "{\"auths\":{\"http://127.0.0.1:5000\":{\"auth\":\"$(printf user:secret | base64)\"}}}"
docker_secret old dockercfg .dockercfg '{"127.0.0.1:5000":{"username":"user","password":"secret"}}'
docker_secret other dockerconfigjson .dockerconfigjson '{"auths":{"registry.example.com":{"username":"user","password":"secret"}}}'
pulled() { create "$1" "$(jq -cn --arg i "$2" --argjson c "$(container "$SLEEP" "${4:-{\}}")" --argjson s "$3" '{containers:[$c+{image:$i}],imagePullSecrets:$s}')" >/dev/null; }
forget() { cri rmi "$I" >/dev/null; }

# ---- credentials ----
pulled none "$I" '[{"name":"other"},{"name":"missing"}]'
ok "no credentials that fit: ErrImagePull or its back-off" eventually 40 event_says none Failed 'Failed to pull image.*(401|credentials)'
ok "... a Secret that is missing is told" eventually 40 event_says none FailedToRetrieveImagePullSecret 'Unable to retrieve some image pull secrets \(missing\)'
pulled both "$I" '[{"name":"wrong"},{"name":"right"}]'
ok "wrong ones for the path, right ones for the host: tried in that order" eventually 40 ready both
ok "... pulled" has_event both Pulled
api DELETE $pods/both >/dev/null
eventually 40 absent both
forget
pulled old "$I" '[{"name":"old"}]'
ok "the old form of Secret" eventually 40 ready old
api DELETE $pods/none >/dev/null

# ---- policies ----
pulled never "localhost/none:1" '[]' '{"imagePullPolicy":"Never"}'
pulled present "localhost/bb:1" '[]' '{"imagePullPolicy":"Never"}'
pulled again "$I" '[{"name":"wrong"}]' '{"imagePullPolicy":"Always"}'
ok "Never, and it is not there" eventually 40 waiting never ErrImageNeverPull
ok "Never, and it is there" eventually 40 ready present
ok "... used as it is" event_says present Pulled 'already present on machine'
ok "Always asks the registry though the image is there" eventually 40 event_says again Failed 'Failed to pull image'

# ---- names and users ----
pulled upper "localhost/Upper:1" '[]'
ok "a name that cannot be one" eventually 40 waiting upper InvalidImageName
ok "... with the reason" waiting_says upper 'repository name must be lowercase'
make_image "$T/user.tar" localhost/user:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"],"User":"alice"}'
make_image "$T/uid.tar" localhost/uid:1 "$T/bb" '{"Cmd":["sh"],"Env":["PATH=/bin"],"User":"1000"}'
for i in user uid; do cri import "$T/$i.tar" >/dev/null || bail "cannot import"; done
root='{"securityContext":{"runAsNonRoot":true}}'
pulled named localhost/user:1 '[]' "$root"
pulled number localhost/uid:1 '[]' "$root"
pulled zero localhost/bb:1 '[]' '{"securityContext":{"runAsNonRoot":true,"runAsUser":0}}'
ok "runAsNonRoot: an image's user by number is seen" eventually 40 ready number
ok "... by name it cannot be" eventually 40 waiting named CreateContainerConfigError
ok "... which is said" waiting_says named 'non-numeric user (alice), cannot verify user is non-root'
ok "... runAsUser 0 breaks it" eventually 40 waiting_says zero "runAsUser breaks non-root policy"

# ---- profiles ----
mkdir -p "$R/var/lib/kubelet/seccomp/profiles"
echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' >"$R/var/lib/kubelet/seccomp/profiles/nomkdir.json"
seccomp() { create "$1" "$(spec "$(container "$SLEEP" "{\"securityContext\":{\"seccompProfile\":{\"type\":\"Localhost\",\"localhostProfile\":\"$2\"}}}")")" >/dev/null; }
seccomp profile profiles/nomkdir.json
seccomp noprofile profiles/none.json
ok "a seccomp profile of the node's" eventually 40 ready profile
is "$(in_pod profile c sh -c 'mkdir /tmp/x 2>/dev/null; echo $?')" 1 "... holds"
failing() { waiting noprofile CreateContainerError || waiting noprofile RunContainerError; }
ok "one that is not there is an error of that container" eventually 40 failing

# ---- the end ----
api DELETE $pods >/dev/null
empty() { [ "$(get $pods '.items|length')" = 0 ]; }
ok "all deleted" eventually 30 empty
kubelet_stop
is $? 0 "SIGTERM: an orderly end"
KUBELET_PID=
unlike "$(cat "$T/kubelet.log")" "AddressSanitizer|LeakSanitizer|runtime error" "no sanitizer report"
unlike "$(cat "$T/kubelet.log" "$T/cri.log")" "secret[^s]*$|user:secret" "no password in the logs"
done_testing
