/*
 * Pods and their ServiceAccount, as upstream's admission plugin of that name: a pod that names none
 * acts as "default"; each container gets a token, the cluster's CA and the namespace as files,
 * unless pod or account say that none is wanted.
 */
#include <string.h>

#include "apiserver/auth/accounts.h"
#include "apiserver/admission/admission.h"
#include "apiserver/store/peek.h"
#include "base/json.h"
#include "kube/meta.h"
#include "kube/status.h"

#define TOKEN_PATH      "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_VOLUME    "kube-api-access-"
#define TOKEN_SECONDS   3607 /* the mark of this volume: see token_request.c */
#define ROOT_CA         "kube-root-ca.crt"
#define MIRROR          "kubernetes.io/config.mirror"
#define DEFAULT_ACCOUNT "default" /* made by a controller, soon after the namespace */

static const char *text_at(const json_t *obj, const char *path)
{
    const char *text = json_path_string(obj, path);
    return text ? text : "";
}

/* ---- mirrors of static pods: they stay as their kubelet wrote them ---- */

static bool uses_secrets(const json_t *list)
{
    size_t i, k;
    json_t *container, *entry;
    json_array_foreach(list, i, container) {
        json_array_foreach(json_object_get(container, "env"), k, entry) {
            if (json_path(entry, "valueFrom.secretKeyRef"))
                return true;
        }
        json_array_foreach(json_object_get(container, "envFrom"), k, entry) {
            if (json_object_get(entry, "secretRef"))
                return true;
        }
    }
    return false;
}

static enum verdict check_mirror(const struct admission *a, const json_t *pod, json_t **status)
{
    const char *problem = NULL;
    size_t i, k;
    json_t *volume, *source;
    if (*text_at(pod, "spec.serviceAccountName") || *text_at(pod, "spec.serviceAccount"))
        problem = "a mirror pod may not reference service accounts";
    if (uses_secrets(json_path(pod, "spec.containers")) ||
        uses_secrets(json_path(pod, "spec.initContainers")))
        problem = "a mirror pod may not reference secrets";
    json_array_foreach(json_path(pod, "spec.volumes"), i, volume) {
        if (json_object_get(volume, "secret"))
            problem = "a mirror pod may not reference secrets";
        json_array_foreach(json_path(volume, "projected.sources"), k, source) {
            if (json_object_get(source, "secret"))
                problem = "a mirror pod may not reference secrets";
            if (json_object_get(source, "serviceAccountToken"))
                problem = "a mirror pod may not use ServiceAccountToken volume projections";
        }
    }
    if (!problem)
        return VERDICT_WRITE;
    *status = status_forbidden(&a->route->about, meta_name(pod), "%s", problem);
    return VERDICT_REFUSE;
}

/* ---- the token volume ---- */

static bool wants_token(const json_t *pod, const json_t *account)
{
    const json_t *of_pod = json_path(pod, "spec.automountServiceAccountToken");
    return of_pod ? json_is_true(of_pod)
                  : json_path_bool(account, "automountServiceAccountToken", true);
}

static json_t *volume_of(json_t *spec)
{
    size_t i;
    json_t *volume;
    json_array_foreach(json_object_get(spec, "volumes"), i, volume) {
        if (str_starts(text_at(volume, "name"), TOKEN_VOLUME))
            return volume;
    }
    return NULL;
}

static json_t *array_of(json_t *obj, const char *key)
{
    json_t *array = json_object_get(obj, key);
    if (!json_is_array(array)) {
        array = json_array();
        (void)json_object_set_new(obj, key, array);
    }
    return array;
}

/* Mounts it into those containers that have nothing at its place. */
static bool mount_into(json_t *containers, const char *volume)
{
    size_t i, k;
    json_t *container, *mount;
    bool any = false;
    json_array_foreach(containers, i, container) {
        bool taken = false;
        if (!json_is_object(container))
            continue;
        json_array_foreach(json_object_get(container, "volumeMounts"), k, mount) {
            taken |= str_eq(text_at(mount, "mountPath"), TOKEN_PATH);
        }
        if (taken)
            continue;
        (void)json_array_append_new(
            array_of(container, "volumeMounts"),
            json_pack("{s:s,s:b,s:s}", "name", volume, "readOnly", 1, "mountPath", TOKEN_PATH));
        any = true;
    }
    return any;
}

static json_t *token_volume(const char *name)
{
    json_t *token = json_pack("{s:{s:i,s:s}}", "serviceAccountToken", "expirationSeconds",
                              TOKEN_SECONDS, "path", "token");
    json_t *ca = json_pack("{s:{s:s,s:[{s:s,s:s}]}}", "configMap", "name", ROOT_CA, "items", "key",
                           "ca.crt", "path", "ca.crt");
    json_t *ns =
        json_pack("{s:{s:[{s:s,s:{s:s,s:s}}]}}", "downwardAPI", "items", "path", "namespace",
                  "fieldRef", "apiVersion", "v1", "fieldPath", "metadata.namespace");
    return json_pack("{s:s,s:{s:i,s:[o,o,o]}}", "name", name, "projected", "defaultMode", 0644,
                     "sources", token, ca, ns);
}

static void mount_token(json_t *pod)
{
    json_t *spec = json_object_get(pod, "spec");
    const json_t *volume = volume_of(spec);
    _cleanup_free_ char *name =
        volume ? str_dup(text_at(volume, "name")) : meta_generated_name(TOKEN_VOLUME);
    bool needed = mount_into(json_object_get(spec, "initContainers"), name);
    needed |= mount_into(json_object_get(spec, "containers"), name);
    if (needed && !volume)
        (void)json_array_append_new(array_of(spec, "volumes"), token_volume(name));
}

/* ---- the account ---- */

static json_t *no_account(const struct admission *a, const json_t *pod, const char *name)
{
    return status_forbidden(&a->route->about, meta_name(pod),
                            "error looking up service account %s/%s: serviceaccount \"%s\" not "
                            "found",
                            a->ns, name, name);
}

static void give(const struct admission *a, json_t *pod, const json_t *account)
{
    const json_t *secrets = json_object_get(account, "imagePullSecrets");
    const struct accounts_options *o = accounts_options(a->srv->accounts);
    if (o->mount && accounts_can_sign(a->srv->accounts) && wants_token(pod, account))
        mount_token(pod);
    if (!json_array_size(json_path(pod, "spec.imagePullSecrets")) && json_array_size(secrets))
        (void)json_path_set(pod, "spec.imagePullSecrets", json_deep_copy(secrets));
}

enum verdict admit_pod_account(const struct admission *a, json_t *pod, json_t **status)
{
    if (meta_annotation(pod, MIRROR))
        return check_mirror(a, pod, status);
    if (!json_is_object(json_object_get(pod, "spec")))
        return VERDICT_WRITE; /* validation says so */
    const char *name = text_at(pod, "spec.serviceAccountName");
    if (!*name)
        name = text_at(pod, "spec.serviceAccount"); /* the old name of the field */
    if (!*name)
        name = DEFAULT_ACCOUNT;
    if (strchr(name, '/'))
        return VERDICT_WRITE; /* likewise */
    _cleanup_free_ char *copy = str_dup(name);
    (void)json_path_set(pod, "spec.serviceAccountName", json_text(copy));
    _cleanup_free_ char *key = str_printf("/registry/serviceaccounts/%s/%s", a->ns, copy);
    _cleanup_(peeked_done) struct peeked account = peek(a->srv, a->plan, key);
    if (account.known && !account.tree) {
        *status = no_account(a, pod, copy);
        return str_eq(copy, DEFAULT_ACCOUNT) ? VERDICT_LATER : VERDICT_REFUSE;
    }
    peek_guard(a->plan, key, &account);
    if (account.known)
        give(a, pod, account.tree);
    return VERDICT_WRITE;
}
