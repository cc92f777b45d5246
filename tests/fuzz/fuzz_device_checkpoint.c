/* kubelet_internal_checkpoint: what is read is written and read back the same. */
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/devices/devices.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct allocation_list l, again;
    struct string_list names, names_again;
    if (checkpoint_decode((const char *)data, size, &l, &names, NULL) < 0)
        return 0;
    _cleanup_free_ char *text = checkpoint_encode(&l, &names);
    if (checkpoint_decode(text, strlen(text), &again, &names_again, NULL) < 0 ||
        again.count != l.count || names_again.count != names.count)
        abort();
    allocation_list_done(&l);
    allocation_list_done(&again);
    string_list_done(&names);
    string_list_done(&names_again);
    return 0;
}
