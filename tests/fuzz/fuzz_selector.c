/* Selectors: the canonical text of what parses parses to the same text. */
#include <string.h>

#include <jansson.h>

#include "kube/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = str_ndup((const char *)data, size);
    struct selector *s = NULL, *again = NULL;
    struct field_selector *f = NULL;
    json_t *labels = json_pack("{s:s}", "a", "b");
    if (selector_parse(text, &s, NULL) == 0) {
        _cleanup_strbuf_ struct strbuf first = STRBUF_INIT, second = STRBUF_INIT;
        selector_write(s, &first);
        if (selector_parse(strbuf_text(&first), &again, NULL) < 0)
            abort();
        selector_write(again, &second);
        if (strcmp(strbuf_text(&first), strbuf_text(&second)) != 0 ||
            selector_matches(s, labels) != selector_matches(again, labels))
            abort();
    }
    if (field_selector_parse(text, field_selector_fields("", "Pod"), &f, NULL) == 0)
        (void)field_selector_matches(f, labels);
    json_decref(labels);
    selector_free(s);
    selector_free(again);
    field_selector_free(f);
    return 0;
}
