/* Docker's config.json, and what it holds for a name. */
#include <stdint.h>

#include "cri/image/docker_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct registry_auth auth;
    struct docker_config *c = docker_config_parse((const char *)data, size, &err);
    if (!c)
        return 0;
    (void)docker_config_find(c, "docker.io", "library/nginx", &auth);
    (void)docker_config_find(c, "registry.example:5000", "team/app", &auth);
    (void)docker_config_free(c);
    return 0;
}
