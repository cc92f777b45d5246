/* YAML: what was read and written is read as the same. */
#include "base/json.h"
#include "kube/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yaml_documents docs = {0};
    if (yaml_parse((const char *)data, size, &docs, NULL) < 0)
        return 0;
    for (size_t i = 0; i < docs.count; i++) {
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT, again = STRBUF_INIT;
        yaml_write(docs.items[i].value, &text);
        json_t *back = yaml_parse_one(text.data, text.len, NULL);
        if (!back)
            abort();
        yaml_write(back, &again);
        if (text.len != again.len)
            abort();
        json_decref(back);
    }
    yaml_documents_done(&docs);
    return 0;
}
