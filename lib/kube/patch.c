/* Patch types, JSON merge patch (RFC 7386), and the choice between them; see patch.h. */
#include "kube/patch.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

const char *const PATCH_MEDIA_TYPES =
    "application/json-patch+json, application/merge-patch+json, "
    "application/strategic-merge-patch+json, application/apply-patch+yaml";

int patch_kind_parse(const char *content_type, enum patch_kind *ret)
{
    static const struct {
        const char *type;
        enum patch_kind kind;
    } types[] = {
        {"application/json-patch+json", PATCH_JSON},
        {"application/merge-patch+json", PATCH_MERGE},
        {"application/strategic-merge-patch+json", PATCH_STRATEGIC},
        {"application/apply-patch+yaml", PATCH_APPLY},
    };
    size_t len = content_type ? strcspn(content_type, "; \t") : 0;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (strlen(types[i].type) == len && memcmp(types[i].type, content_type, len) == 0) {
            *ret = types[i].kind;
            return 0;
        }
    return -EINVAL;
}

/* New reference. Depth is bounded by that of the patch. */
static json_t *merge(const json_t *doc, const json_t *patch) // NOLINT(misc-no-recursion)
{
    if (!json_is_object(patch))
        return json_deep_copy(patch);
    json_t *result = json_is_object(doc) ? json_copy((json_t *)(uintptr_t)doc) : json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)patch, key, value) {
        if (json_is_null(value))
            (void)json_object_del(result, key);
        else
            (void)json_object_set_new(result, key, merge(json_object_get(doc, key), value));
    }
    return result;
}

int patch_merge(const json_t *doc, const json_t *patch, json_t **ret, struct error *err)
{
    if (!json_is_object(patch))
        return error_set(err, -EINVAL, "a merge patch must be an object");
    /* What merge() did not touch is shared with @doc, which the caller keeps as it is. */
    _cleanup_json_ json_t *shared = merge(doc, patch);
    *ret = json_deep_copy(shared);
    return 0;
}

int patch_apply(enum patch_kind kind, const struct schema_resource *res, const json_t *doc,
                const json_t *patch, json_t **ret, struct error *err)
{
    switch (kind) {
    case PATCH_JSON:
        return patch_json(doc, patch, ret, err);
    case PATCH_MERGE:
        return patch_merge(doc, patch, ret, err);
    case PATCH_STRATEGIC:
        return patch_strategic(res->type, doc, patch, ret, err);
    case PATCH_APPLY:
        break;
    }
    return error_set(err, -EOPNOTSUPP,
                     "server-side apply is not supported by this server yet; apply on the client's "
                     "side (kubectl apply --server-side=false)");
}
