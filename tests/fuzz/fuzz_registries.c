/* registries.yaml, and what it makes of names. */
#include <stdint.h>

#include "cri/image/registries.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct registry_auth none = {.username = NULL};
    size_t n;
    struct registries *r = registries_parse((const char *)data, size, &err);
    if (!r)
        return 0;
    struct registry_endpoint *e =
        registries_endpoints(r, "docker.io", "library/nginx", &none, NULL, &n);
    (void)registry_endpoints_free(e, n);
    (void)registries_free(r);
    return 0;
}
