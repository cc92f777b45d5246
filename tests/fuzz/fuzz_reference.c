/* Image names: whatever is taken comes out in a form that is taken again, unchanged. */
#include <stdint.h>

#include "base/strbuf.h"
#include "cri/image/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = str_ndup((const char *)data, size);
    struct image_reference ref, again;
    if (image_reference_parse(text, &ref, NULL))
        return 0;
    _cleanup_free_ char *full = image_reference_text(&ref);
    if (image_reference_parse(full, &again, NULL))
        abort();
    _cleanup_free_ char *second = image_reference_text(&again);
    if (!str_eq(full, second))
        abort();
    image_reference_done(&ref);
    image_reference_done(&again);
    return 0;
}
