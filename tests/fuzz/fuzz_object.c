/* Objects through the whole way of a create and an update: the first byte of the input chooses the
 * kind and the form, the rest is the body. */
#include "base/json.h"
#include "kube/object.h"
#include "kube/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const words[] = {"pod",    "svc", "deploy", "no", "cm",
                                        "secret", "ep",  "events", "ns", "endpointslices"};
    static struct schema_registry *reg;
    if (!reg)
        reg = schema_registry_new();
    if (!size)
        return 0;
    const struct schema_resource *res = schema_by_word(reg, words[data[0] % ARRAY_SIZE(words)]);
    json_t *obj = NULL, *warnings = NULL, *status = NULL;
    if (object_decode(res, (const char *)data + 1, size - 1, data[0] & 0x80, FIELD_VALIDATION_WARN,
                      &obj, &warnings, &status) < 0) {
        json_decref(status);
        return 0;
    }
    struct field_errors errs = FIELD_ERRORS_INIT;
    object_default(res, obj);
    json_t *old = json_deep_copy(obj);
    object_prepare_create(res, obj);
    object_validate_create(res, obj, &errs);
    object_prepare_update(res, data[0] & 0x40 ? "status" : NULL, obj, old);
    object_validate_update(res, data[0] & 0x40 ? "status" : NULL, obj, old, &errs);
    json_decref(table_cells(res, obj, 1767225600));
    field_errors_done(&errs);
    json_decref(old);
    json_decref(obj);
    json_decref(warnings);
    return 0;
}
