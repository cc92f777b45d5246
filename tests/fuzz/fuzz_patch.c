/* Patches of the three kinds: the input is a JSON list of kind ("json", "merge", "strategic"),
 * document and patch. */
#include <string.h>

#include "base/json.h"
#include "kube/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct schema_registry *reg;
    if (!reg)
        reg = schema_registry_new();
    _cleanup_json_ json_t *input = json_parse((const char *)data, size, NULL);
    const char *kind = json_string_value(json_array_get(input, 0));
    json_t *doc = json_array_get(input, 1), *patch = json_array_get(input, 2), *result = NULL;
    if (!kind || !doc || !patch)
        return 0;
    enum patch_kind k = *kind == 'j' ? PATCH_JSON : *kind == 'm' ? PATCH_MERGE : PATCH_STRATEGIC;
    _cleanup_json_ json_t *before = json_deep_copy(doc);
    int r = patch_apply(k, schema_by_kind(reg, "", "v1", "Pod"), doc, patch, &result, NULL);
    if (!json_equal(before, doc) || (r == 0) != (result != NULL))
        abort();
    json_decref(result);
    return 0;
}
