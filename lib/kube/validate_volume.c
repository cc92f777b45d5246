/* Rules about volumes. */
#include <string.h>

#include "base/json.h"
#include "base/map.h"
#include "kube/format.h"
#include "kube/quantity.h"
#include "kube/validate_internal.h"

/* keyToPath lists: paths are relative (schema), keys are keys. */
static void validate_items(const json_t *items, const struct field_path *path,
                           struct field_errors *errs)
{
    for (size_t i = 0; i < json_array_size(items); i++)
        validate_format(json_array_get(items, i), "key", FORMAT_CONFIG_KEY, FIELD_INDEX(path, i),
                        errs);
}

static void require(const json_t *source, const char *key, const struct field_path *path,
                    struct field_errors *errs)
{
    if (!*member_text(source, key))
        field_required(errs, FIELD(path, key), NULL);
}

static void validate_downward_files(const json_t *items, const struct field_path *path,
                                    struct field_errors *errs)
{
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const struct field_path *at = FIELD_INDEX(path, i);
        const json_t *field = json_object_get(item, "fieldRef");
        const json_t *resource = json_object_get(item, "resourceFieldRef");
        if (field && resource)
            field_invalid(errs, at, json_object_get(item, "path"),
                          "fieldRef and resourceFieldRef can not be specified simultaneously");
        else if (field)
            validate_field_ref(field, true, FIELD(at, "fieldRef"), errs);
        else if (resource)
            validate_resource_field_ref(resource, true, FIELD(at, "resourceFieldRef"), errs);
        else
            field_required(errs, at, "one of fieldRef and resourceFieldRef is required");
    }
}

static void validate_host_path(const json_t *v, const struct field_path *path,
                               struct field_errors *errs)
{
    const char *p = member_text(v, "path");
    for (const char *part = p; *part; part += strcspn(part, "/")) {
        part += *part == '/';
        if (strcspn(part, "/") == 2 && part[0] == '.' && part[1] == '.') {
            field_invalid_text(errs, FIELD(path, "path"), p, "must not contain '..'");
            return;
        }
    }
}

static void validate_empty_dir(const json_t *v, const struct field_path *path,
                               struct field_errors *errs)
{
    struct quantity q = {0};
    (void)quantity_parse(member_text(v, "sizeLimit"), &q, NULL);
    if (quantity_sign(&q) < 0)
        field_forbidden(errs, FIELD(path, "sizeLimit"),
                        "SizeLimit field must be a valid resource "
                        "quantity");
}

static void validate_secret_volume(const json_t *v, const struct field_path *path,
                                   struct field_errors *errs)
{
    require(v, "secretName", path, errs);
    validate_items(json_object_get(v, "items"), FIELD(path, "items"), errs);
}

static void validate_config_map_volume(const json_t *v, const struct field_path *path,
                                       struct field_errors *errs)
{
    require(v, "name", path, errs);
    validate_items(json_object_get(v, "items"), FIELD(path, "items"), errs);
}

static void validate_downward_volume(const json_t *v, const struct field_path *path,
                                     struct field_errors *errs)
{
    validate_downward_files(json_object_get(v, "items"), FIELD(path, "items"), errs);
}

static void validate_token(const json_t *v, const struct field_path *path,
                           struct field_errors *errs)
{
    json_int_t seconds = json_integer_value(json_object_get(v, "expirationSeconds"));
    if (seconds < 600)
        field_invalid_int(errs, FIELD(path, "expirationSeconds"), seconds,
                          "may not specify a duration less than 10 minutes");
    else if (seconds > (json_int_t)1 << 32)
        field_invalid_int(errs, FIELD(path, "expirationSeconds"), seconds,
                          "may not specify a duration larger than 2^32 seconds");
}

static void validate_projected(const json_t *v, const struct field_path *path,
                               struct field_errors *errs)
{
    const json_t *sources = json_object_get(v, "sources");
    for (size_t i = 0; i < json_array_size(sources); i++) {
        const json_t *s = json_array_get(sources, i);
        const struct field_path *at = FIELD_INDEX(FIELD(path, "sources"), i);
        if (json_object_size(s) > 1)
            field_forbidden(errs, at, "may not specify more than 1 volume type per source");
        static const char *const named[] = {"secret", "configMap"};
        for (size_t n = 0; n < ARRAY_SIZE(named); n++) {
            const json_t *ref = json_object_get(s, named[n]);
            if (!ref)
                continue;
            require(ref, "name", FIELD(at, named[n]), errs);
            validate_items(json_object_get(ref, "items"), FIELD(FIELD(at, named[n]), "items"),
                           errs);
        }
        validate_downward_files(json_object_get(json_object_get(s, "downwardAPI"), "items"),
                                FIELD(FIELD(at, "downwardAPI"), "items"), errs);
        if (json_object_get(s, "serviceAccountToken"))
            validate_token(json_object_get(s, "serviceAccountToken"),
                           FIELD(at, "serviceAccountToken"), errs);
        const json_t *bundle = json_object_get(s, "clusterTrustBundle");
        if (bundle && !*member_text(bundle, "name") == !*member_text(bundle, "signerName"))
            field_invalid(errs, FIELD(at, "clusterTrustBundle"), bundle,
                          "exactly one of name and signerName must be set");
    }
}

static void validate_ephemeral(const json_t *v, const struct field_path *path,
                               struct field_errors *errs)
{
    const struct field_path *at = FIELD(path, "volumeClaimTemplate");
    const json_t *claim = json_object_get(v, "volumeClaimTemplate");
    if (claim)
        validate_claim_spec(json_object_get(claim, "spec"), FIELD(at, "spec"), errs);
    else
        field_required(errs, at, NULL);
}

static void validate_image_volume(const json_t *v, const struct field_path *path,
                                  struct field_errors *errs)
{
    require(v, "reference", path, errs);
}

static const struct {
    const char *source;
    void (*validate)(const json_t *v, const struct field_path *path, struct field_errors *errs);
} SOURCES[] = {
    {"hostPath", validate_host_path},          {"emptyDir", validate_empty_dir},
    {"secret", validate_secret_volume},        {"configMap", validate_config_map_volume},
    {"downwardAPI", validate_downward_volume}, {"projected", validate_projected},
    {"ephemeral", validate_ephemeral},         {"image", validate_image_volume},
};

static void validate_volume(const json_t *volume, const struct field_path *path,
                            struct field_errors *errs)
{
    size_t found = 0;
    const char *key;
    json_t *source;
    json_object_foreach((json_t *)(uintptr_t)volume, key, source) {
        if (str_eq(key, "name"))
            continue;
        if (found++) {
            field_forbidden(errs, FIELD(path, key), "may not specify more than 1 volume type");
            continue;
        }
        for (size_t i = 0; i < ARRAY_SIZE(SOURCES); i++)
            if (str_eq(SOURCES[i].source, key))
                SOURCES[i].validate(source, FIELD(path, key), errs);
    }
    if (!found)
        field_required(errs, path, "must specify a volume type");
}

void validate_volumes(const json_t *volumes, const struct field_path *path,
                      struct field_errors *errs)
{
    struct map names = MAP_INIT(NULL);
    for (size_t i = 0; i < json_array_size(volumes); i++) {
        const json_t *volume = json_array_get(volumes, i);
        const char *name = member_text(volume, "name");
        if (*name && map_has(&names, name))
            field_duplicate(errs, FIELD(FIELD_INDEX(path, i), "name"),
                            json_object_get(volume, "name"));
        map_set(&names, name, &names);
        validate_volume(volume, FIELD_INDEX(path, i), errs);
    }
    map_clear(&names);
}
