/* A Pod from anywhere → the requests that the runtime would get. */
#include "base/json.h"
#include "kubelet/config/env.h"
#include "kubelet/runtime/message.h"
#include "kubelet/runtime/image_name.h"
#include "kubelet/runtime/requests.h"

static struct bytes_pair config_items[] = {
    {.key = (char *)"key", .value = {.data = (unsigned char *)"value", .len = 5}}};
static const struct bytes_map config = {.items = config_items, .count = 1};

static enum object_state find_object(void *arg, enum object_kind kind, const char *name,
                                     const struct bytes_map **ret)
{
    (void)arg;
    (void)kind;
    if (name[0] == 'x')
        return OBJECT_ABSENT;
    *ret = &config;
    return OBJECT_PRESENT;
}

static const struct dns_settings dns = {
    .servers = {.items = (char *[]){(char *)"10.96.0.10"}, .count = 1},
    .domain = "cluster.local",
    .host_config = "nameserver 192.0.2.53\nsearch example.org\n"};
static const struct request_context ctx = {.log_root = "/var/log/pods",
                                           .cgroup_parent = "/kubepods/pod1",
                                           .seccomp_root = "/seccomp",
                                           .node_name = "n1",
                                           .dns = &dns,
                                           .memory_capacity = 1 << 30,
                                           .unified_cgroups = true};
static const struct env_context env_ctx = {
    .downward = {.node_name = "n1", .host_ips = "192.0.2.1", .pod_ips = "10.0.0.1"},
    .object = find_object};

static void pack(const ProtobufCMessage *m)
{
    _cleanup_free_ uint8_t *wire = mem_zalloc(protobuf_c_message_get_packed_size(m) + 1);
    (void)protobuf_c_message_pack(m, wire);
}

static void container(const struct pod *pod, const struct container_spec *c)
{
    struct env_list env = {.items = NULL};
    struct mount_list mounts = {.items = NULL};
    struct image_info image = {.id = (char *)"sha256:1"};
    struct image_name name = {.domain = NULL};
    if (image_name_parse(c->image, &name, NULL) == 0)
        image_name_done(&name);
    if (env_build(pod, c, &env_ctx, &env, NULL) < 0)
        return;
    for (size_t i = 0; i < c->volume_mounts.count; i++) {
        mount_list_add(&mounts, "/v", c->volume_mounts.items[i].mount_path, false);
        mounts.items[i].propagation = str_dup(c->volume_mounts.items[i].propagation);
    }
    struct container_request r = {
        .spec = c, .image = &image, .env = &env, .mounts = &mounts, .restart_count = 1};
    Runtime__V1__ContainerConfig *config_ = request_container(pod, &ctx, &r, NULL);
    if (config_)
        pack(&config_->base);
    message_free(config_);
    env_list_done(&env);
    mount_list_done(&mounts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pod *pod = NULL;
    _cleanup_json_ json_t *object = json_parse((const char *)data, size, NULL);
    if (!object || pod_decode(object, POD_FROM_API, &pod, NULL) < 0)
        return 0;
    if (!pod->invalid) {
        Runtime__V1__PodSandboxConfig *s = request_sandbox(pod, &ctx, 1);
        pack(&s->base);
        message_free(s);
        for (size_t i = 0; i < pod_container_count(pod); i++)
            container(pod, pod_container_at(pod, i));
    }
    pod_unref(pod);
    return 0;
}
