/* References of pods and volumes; see node_refs.h. */
#include "apiserver/auth/node_refs.h"

#include <string.h>

#include "base/json.h"
#include "kube/meta.h"

#define MIRROR "kubernetes.io/config.mirror"

static void add(struct strbuf *out, enum ref_kind kind, const char *name)
{
    if (!name || !*name)
        return;
    strbuf_addc(out, (char)kind);
    strbuf_add(out, name, strlen(name) + 1);
}

bool node_refs_have(const char *refs, size_t len, enum ref_kind kind, const char *name)
{
    for (const char *at = refs; at < refs + len; at += strlen(at) + 1)
        if (*at == (char)kind && !strcmp(at + 1, name))
            return true;
    return false;
}

static void add_environment(const json_t *containers, struct strbuf *out)
{
    size_t i, k;
    json_t *container, *entry;
    json_array_foreach(containers, i, container) {
        json_array_foreach(json_object_get(container, "env"), k, entry) {
            add(out, REF_SECRET, json_path_string(entry, "valueFrom.secretKeyRef.name"));
            add(out, REF_CONFIG_MAP, json_path_string(entry, "valueFrom.configMapKeyRef.name"));
        }
        json_array_foreach(json_object_get(container, "envFrom"), k, entry) {
            add(out, REF_SECRET, json_path_string(entry, "secretRef.name"));
            add(out, REF_CONFIG_MAP, json_path_string(entry, "configMapRef.name"));
        }
    }
}

/* Secrets that volume sources name, by the fields they name them in. */
static const char *const secret_fields[] = {"secretRef.name", "nodePublishSecretRef.name"};

static void add_volume(const char *pod_name, const json_t *volume, struct strbuf *out)
{
    const char *key;
    json_t *source, *part;
    size_t i;
    add(out, REF_SECRET, json_path_string(volume, "secret.secretName"));
    add(out, REF_SECRET, json_path_string(volume, "azureFile.secretName"));
    add(out, REF_CONFIG_MAP, json_path_string(volume, "configMap.name"));
    add(out, REF_CLAIM, json_path_string(volume, "persistentVolumeClaim.claimName"));
    if (json_object_get(volume, "ephemeral")) {
        const char *name = json_path_string(volume, "name");
        _cleanup_free_ char *claim = str_printf("%s-%s", pod_name, name ? name : "");
        add(out, REF_CLAIM, claim);
    }
    json_array_foreach(json_path(volume, "projected.sources"), i, part) {
        add(out, REF_SECRET, json_path_string(part, "secret.name"));
        add(out, REF_CONFIG_MAP, json_path_string(part, "configMap.name"));
    }
    json_object_foreach((json_t *)(uintptr_t)volume, key, source) {
        for (i = 0; i < ARRAY_SIZE(secret_fields); i++)
            add(out, REF_SECRET, json_path_string(source, secret_fields[i]));
    }
}

void node_refs_of_pod(const json_t *pod, struct strbuf *out)
{
    const json_t *spec = json_object_get(pod, "spec");
    size_t i;
    json_t *entry;
    if (meta_annotation(pod, MIRROR))
        return;
    add(out, REF_ACCOUNT, json_path_string(spec, "serviceAccountName"));
    json_array_foreach(json_object_get(spec, "imagePullSecrets"), i, entry) {
        add(out, REF_SECRET, json_path_string(entry, "name"));
    }
    add_environment(json_object_get(spec, "initContainers"), out);
    add_environment(json_object_get(spec, "containers"), out);
    add_environment(json_object_get(spec, "ephemeralContainers"), out);
    json_array_foreach(json_object_get(spec, "volumes"), i, entry) {
        add_volume(meta_name(pod), entry, out);
    }
}

static void add_pair(struct strbuf *out, const char *ns, const char *name)
{
    strbuf_addf(out, "%s/%s", ns, name);
    strbuf_add(out, "", 1);
}

void node_secrets_of_volume(const json_t *volume, const char *ns, struct strbuf *out)
{
    const char *key, *field;
    json_t *source, *ref;
    json_object_foreach(json_object_get(json_object_get(volume, "spec"), "csi"), field, ref) {
        /* nodePublishSecretRef, nodeStageSecretRef, … */
        if (str_ends(field, "SecretRef") && json_path_string(ref, "name")) {
            const char *of = json_path_string(ref, "namespace");
            add_pair(out, of && *of ? of : ns, json_path_string(ref, "name"));
        }
    }
    json_object_foreach(json_object_get(volume, "spec"), key, source) {
        const char *name = json_path_string(source, "secretRef.name");
        const char *of = json_path_string(source, "secretRef.namespace");
        if (!name && (name = json_path_string(source, "secretName")))
            of = json_path_string(source, "secretNamespace");
        if (name)
            add_pair(out, of && *of ? of : ns, name);
    }
}
