/* The protobuf form of objects: whatever decodes is an object that can be encoded. */
#include "base/json.h"
#include "kube/protobuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct schema_registry *reg;
    if (!reg)
        reg = schema_registry_new();
    json_t *obj = NULL;
    struct error err = ERROR_INIT;
    if (protobuf_decode(reg, data, size, &obj, &err) == 0) {
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        json_encode(obj, &text);
        json_decref(obj);
    }
    return 0;
}
