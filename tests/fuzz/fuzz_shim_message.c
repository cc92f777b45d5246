/* What a shim tells the daemon. */
#include <stdint.h>

#include "cri/shim_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shim_message m;
    (void)shim_message_decode(data, size, &m);
    return 0;
}
