/* flanneld's subnet.env. */
#include <stdint.h>

#include "cri/flannel_env.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flannel_env e;
    struct error err = ERROR_INIT;
    if (flannel_env_parse((const char *)data, size, &e, &err) == 0 &&
        (e.n_pods == 0 || e.n_pods > IPAM_PREFIXES_MAX || e.n_clusters > FIREWALL_CLUSTERS_MAX))
        abort();
    return 0;
}
