/* Rules about ConfigMaps, Secrets, Nodes, Leases and Events. */
#include <string.h>

#include "base/json.h"
#include "base/map.h"
#include "kube/format.h"
#include "kube/meta.h"
#include "kube/validate_internal.h"

#define DATA_MAX (1024 * 1024) /* bytes of all values */

static size_t validate_keys(const json_t *data, const struct field_path *path,
                            struct field_errors *errs)
{
    size_t total = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)data, key, value) {
        const char *problem = format_problem(FORMAT_CONFIG_KEY, key);
        if (problem)
            field_invalid_text(errs, FIELD_KEY(path, key), key, "%s", problem);
        total += json_string_length(value);
    }
    return total;
}

void validate_config_map(const json_t *obj, struct field_errors *errs)
{
    const json_t *data = json_object_get(obj, "data");
    const json_t *binary = json_object_get(obj, "binaryData");
    size_t total = validate_keys(data, FIELD(NULL, "data"), errs);
    /* Base64 holds three bytes in four characters. */
    total += validate_keys(binary, FIELD(NULL, "binaryData"), errs) / 4 * 3;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)data, key, value) {
        if (json_object_get(binary, key))
            field_invalid_text(errs, FIELD_KEY(FIELD(NULL, "data"), key), key,
                               "duplicate of key present in binaryData");
    }
    if (total > DATA_MAX)
        field_too_long(errs, FIELD(NULL, "data"), DATA_MAX);
}

static void validate_frozen(const json_t *obj, const json_t *old, const char *key,
                            struct field_errors *errs)
{
    const json_t *a = json_object_get(obj, key), *b = json_object_get(old, key);
    bool empty = !json_object_size(a) && !json_object_size(b);
    if (!empty && !json_equal(a, b))
        field_forbidden(errs, FIELD(NULL, key), "field is immutable when `immutable` is set");
}

static void validate_immutable_data(const json_t *obj, const json_t *old, struct field_errors *errs)
{
    if (!json_is_true(json_object_get(old, "immutable")))
        return;
    if (!json_is_true(json_object_get(obj, "immutable")))
        field_forbidden(errs, FIELD(NULL, "immutable"),
                        "field is immutable when `immutable` is set");
    validate_frozen(obj, old, "data", errs);
    validate_frozen(obj, old, "binaryData", errs);
}

void validate_config_map_update(const json_t *obj, const json_t *old, struct field_errors *errs)
{
    validate_immutable_data(obj, old, errs);
}

static const struct {
    const char *type;
    const char *keys[2];
    bool any; /* one of the keys is enough */
} SECRET_TYPES[] = {
    {"kubernetes.io/dockercfg", {".dockercfg"}, false},
    {"kubernetes.io/dockerconfigjson", {".dockerconfigjson"}, false},
    {"kubernetes.io/basic-auth", {"username", "password"}, true},
    {"kubernetes.io/ssh-auth", {"ssh-privatekey"}, false},
    {"kubernetes.io/tls", {"tls.crt", "tls.key"}, false},
};

void validate_secret(const json_t *obj, struct field_errors *errs)
{
    const struct field_path *path = FIELD(NULL, "data");
    const json_t *data = json_object_get(obj, "data");
    const char *type = member_text(obj, "type");
    if (validate_keys(data, path, errs) / 4 * 3 > DATA_MAX)
        field_too_long(errs, path, DATA_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(SECRET_TYPES); i++) {
        if (!str_eq(SECRET_TYPES[i].type, type))
            continue;
        bool found = false;
        for (size_t k = 0; k < 2 && SECRET_TYPES[i].keys[k]; k++)
            found |= json_object_get(data, SECRET_TYPES[i].keys[k]) != NULL;
        for (size_t k = 0; k < 2 && SECRET_TYPES[i].keys[k]; k++) {
            const char *key = SECRET_TYPES[i].keys[k];
            bool missing = SECRET_TYPES[i].any ? !found : !json_object_get(data, key);
            if (missing)
                field_required(errs, FIELD_KEY(path, key), NULL);
        }
    }
    if (str_eq(type, "kubernetes.io/service-account-token")) {
        const char *name = meta_annotation(obj, "kubernetes.io/service-account.name");
        if (!name || !*name)
            field_required(errs,
                           FIELD_KEY(FIELD(FIELD(NULL, "metadata"), "annotations"),
                                     "kubernetes.io/service-account.name"),
                           NULL);
    }
}

void validate_secret_update(const json_t *obj, const json_t *old, struct field_errors *errs)
{
    validate_immutable(obj, old, "type", NULL, errs);
    validate_immutable_data(obj, old, errs);
}

/* ---- nodes ---- */

void validate_node(const json_t *obj, struct field_errors *errs)
{
    const struct field_path *path = FIELD(NULL, "spec");
    const json_t *spec = json_object_get(obj, "spec");
    const json_t *taints = json_object_get(spec, "taints");
    struct map seen = MAP_INIT(NULL);
    for (size_t i = 0; i < json_array_size(taints); i++) {
        const json_t *taint = json_array_get(taints, i);
        const struct field_path *at = FIELD_INDEX(FIELD(path, "taints"), i);
        validate_format(taint, "value", FORMAT_LABEL_VALUE, at, errs);
        _cleanup_free_ char *key =
            str_printf("%s:%s", member_text(taint, "key"), member_text(taint, "effect"));
        if (map_has(&seen, key))
            field_duplicate(errs, at, taint);
        map_set(&seen, key, &seen);
    }
    map_clear(&seen);
    const json_t *cidrs = json_object_get(spec, "podCIDRs");
    if (cidrs && *member_text(spec, "podCIDR") &&
        !str_eq(json_string_value(json_array_get(cidrs, 0)), member_text(spec, "podCIDR")))
        field_invalid(errs, FIELD(path, "podCIDRs"), cidrs, "first value must match `podCIDR`");
}

void validate_node_update(const json_t *obj, const json_t *old, struct field_errors *errs)
{
    const struct field_path *path = FIELD(NULL, "spec");
    const json_t *spec = json_object_get(obj, "spec"), *was = json_object_get(old, "spec");
    if (json_array_size(json_object_get(was, "podCIDRs")) &&
        !json_equal(json_object_get(spec, "podCIDRs"), json_object_get(was, "podCIDRs")))
        field_forbidden(errs, FIELD(path, "podCIDRs"),
                        "node updates may not change podCIDR except from \"\" to valid");
    if (*member_text(was, "providerID") &&
        !str_eq(member_text(spec, "providerID"), member_text(was, "providerID")))
        field_forbidden(errs, FIELD(path, "providerID"),
                        "node updates may not change providerID except from \"\" to valid");
}

/* ---- leases ---- */

void validate_lease(const json_t *obj, struct field_errors *errs)
{
    const struct field_path *path = FIELD(NULL, "spec");
    const json_t *spec = json_object_get(obj, "spec");
    const json_t *seconds = json_object_get(spec, "leaseDurationSeconds");
    const json_t *transitions = json_object_get(spec, "leaseTransitions");
    if (seconds && json_integer_value(seconds) <= 0)
        field_invalid(errs, FIELD(path, "leaseDurationSeconds"), seconds, "must be greater than 0");
    if (json_integer_value(transitions) < 0)
        field_invalid(errs, FIELD(path, "leaseTransitions"), transitions,
                      "must be greater than or equal to 0");
    if (json_object_get(spec, "preferredHolder") && !*member_text(spec, "strategy"))
        field_forbidden(errs, FIELD(path, "preferredHolder"),
                        "may only be specified if `strategy` is defined");
}

/* ---- events ---- */

/* Events live in the namespace of what they are about; those of cluster-wide objects in default. */
static void validate_event_namespace(const json_t *obj, const char *key, struct field_errors *errs)
{
    const json_t *about = json_object_get(obj, key);
    const char *namespace = member_text(about, "namespace");
    bool good = *namespace ? str_eq(namespace, meta_namespace(obj))
                           : str_eq(meta_namespace(obj), "default") ||
                                 str_eq(meta_namespace(obj), "kube-system") ||
                                 str_eq(meta_namespace(obj), "");
    if (!good)
        field_invalid_text(errs, FIELD(FIELD(NULL, key), "namespace"), namespace,
                           "does not match event.namespace");
}

void validate_event(const json_t *obj, struct field_errors *errs)
{
    validate_event_namespace(obj, "involvedObject", errs);
}

void validate_events_v1(const json_t *obj, struct field_errors *errs)
{
    static const char *const required[] = {"reportingController", "reportingInstance", "action",
                                           "reason"};
    validate_event_namespace(obj, "regarding", errs);
    for (size_t i = 0; i < ARRAY_SIZE(required); i++)
        if (!*member_text(obj, required[i]))
            field_required(errs, FIELD(NULL, required[i]), NULL);
    validate_format(obj, "reportingController", FORMAT_QUALIFIED_NAME, NULL, errs);
    if (strlen(member_text(obj, "reportingInstance")) > 128)
        field_too_long(errs, FIELD(NULL, "reportingInstance"), 128);
    if (strlen(member_text(obj, "note")) > 1024)
        field_too_long(errs, FIELD(NULL, "note"), 1024);
    if (!str_eq(member_text(obj, "type"), "Normal") && !str_eq(member_text(obj, "type"), "Warning"))
        field_invalid_text(errs, FIELD(NULL, "type"), member_text(obj, "type"),
                           "has to be one of: Normal, Warning");
}
