/* A CreateContainer request as bytes → launch specification → its encoding. */
#include "base/strbuf.h"
#include "cri/resources.h"
#include "cri/seccomp.h"
#include "cri/spec.h"
#include "net/grpc_h2.h"
#include "net/pbjson.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seccomp_cache filters;
    Runtime__V1__CreateContainerRequest *q = (Runtime__V1__CreateContainerRequest *)rpc_decode(
        data, size, &runtime__v1__create_container_request__descriptor);
    if (!q)
        return 0;
    json_decref(pbjson_from_message(&q->base));
    if (q->config) {
        _cleanup_arena_ struct arena a = ARENA_INIT;
        _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
        static char *nothing[] = {NULL};
        const struct image_config image = {.env = nothing, .entrypoint = nothing, .cmd = nothing};
        const struct spec_pod pod = {.filters = &filters,
                                     .hostname = "h",
                                     .hosts_file = "/h",
                                     .shm_path = "/s",
                                     .share_pid = true};
        static const char *const lower[] = {"/l", NULL};
        const struct spec_root root = {lower, "/u", "/w"};
        struct launch_spec spec;
        struct cgroup_limits limits;
        struct error err = ERROR_INIT;
        if (spec_build(&a, q->config, &image, &pod, &root, "/cg", &spec, &err) == 0)
            (void)launch_spec_encode(&spec, NULL, &out, &err);
        (void)resources_to_limits(&a, q->config->linux ? q->config->linux->resources : NULL,
                                  &limits, &err);
    }
    runtime__v1__create_container_request__free_unpacked(q, NULL);
    return 0;
}
