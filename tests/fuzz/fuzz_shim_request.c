/* What a shim is told: requests and its setup. */
#include <stdint.h>

#include "cri/shim/shim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request req;
    struct shim_setup setup;
    int fds[3];
    if (request_decode(data, size, &req) == 0) {
        (void)request_check_fds(&req);
        request_streams(&req, 1, fds);
    }
    (void)setup_decode(data, size, &setup);
    return 0;
}
