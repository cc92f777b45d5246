/* What the daemon must know again after it was killed; see record.h. */
#include "cri/record.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "net/pbjson.h"

/* A request is at most 16 MB, and JSON escapes may make six bytes of one. */
#define RECORD_MAX (128U << 20)

static const char *const sandbox_states[] = {"creating", "ready", "stopping", "stopped"};
static const char *const container_states[] = {"creating", "created", "starting", "running",
                                               "exited"};

static int state_of(const char *text, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(text, names[i]))
            return (int)i;
    return -EINVAL;
}

static int save(const char *path, json_t *record, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(record, &text);
    json_decref(record);
    return fs_write_atomic(path, text.data, text.len, 0600, FS_VOLATILE, err);
}

static char *sandbox_path(const struct sandbox *s)
{
    return fs_join(s->dir, "sandbox.json");
}

static char *container_path(const struct sandbox *s, const char *id)
{
    return str_printf("%s/containers/%s.json", s->dir, id);
}

int sandbox_save(const struct sandbox *s, struct error *err)
{
    _cleanup_strbuf_ struct strbuf addresses = STRBUF_INIT;
    json_t *j = json_object();
    network_addresses_format(&s->net, &addresses);
    (void)json_object_set_new(j, "state", json_string(sandbox_states[s->state]));
    (void)json_object_set_new(j, "createdNs", json_integer(s->created_ns));
    (void)json_object_set_new(j, "link", json_string(s->net.link));
    (void)json_object_set_new(j, "address", json_string(strbuf_text(&addresses)));
    (void)json_object_set_new(j, "config", pbjson_from_message(&s->config->base));
    _cleanup_free_ char *path = sandbox_path(s);
    return save(path, j, err);
}

static json_t *strings_json(char *const *list)
{
    json_t *j = json_array();
    for (; list && *list; list++)
        (void)json_array_append_new(j, json_text(*list));
    return j;
}

int container_save(const struct container *c, struct error *err)
{
    json_t *j = json_object();
    (void)json_object_set_new(j, "state", json_string(container_states[c->state]));
    (void)json_object_set_new(j, "imageId", json_text(c->image_id));
    (void)json_object_set_new(j, "imageUser", json_text(c->image_user));
    (void)json_object_set_new(j, "imageCwd", json_text(c->image_cwd));
    (void)json_object_set_new(j, "imageEnv", strings_json(c->image_env));
    (void)json_object_set_new(j, "volumeImages", strings_json(c->volume_images));
    if (c->n_groups >= 0) {
        json_t *groups = json_array();
        for (int i = 0; i < c->n_groups; i++)
            (void)json_array_append_new(groups, json_integer(c->groups[i]));
        (void)json_object_set_new(j, "uid", json_integer(c->uid));
        (void)json_object_set_new(j, "gid", json_integer(c->gid));
        (void)json_object_set_new(j, "groups", groups);
    }
    (void)json_object_set_new(j, "cgroup", json_text(c->cgroup));
    (void)json_object_set_new(j, "logPath", json_text(c->log_path));
    (void)json_object_set_new(j, "stopSignal", json_integer(c->stop_signal));
    (void)json_object_set_new(j, "pid", json_integer(c->pid));
    (void)json_object_set_new(j, "createdNs", json_integer(c->created_ns));
    (void)json_object_set_new(j, "startedNs", json_integer(c->started_ns));
    (void)json_object_set_new(j, "finishedNs", json_integer(c->finished_ns));
    (void)json_object_set_new(j, "exitCode", json_integer(c->exit_code));
    (void)json_object_set_new(j, "reason", json_text(c->reason));
    (void)json_object_set_new(j, "message", json_text(c->message));
    (void)json_object_set_new(j, "config", pbjson_from_message(&c->config->base));
    _cleanup_free_ char *path = container_path(c->sandbox, c->id);
    return save(path, j, err);
}

void container_forget(const struct container *c)
{
    _cleanup_free_ char *path = container_path(c->sandbox, c->id);
    (void)unlink(path);
}

struct sandbox *sandbox_load(struct runtime *rt, const char *id, struct error *err)
{
    _cleanup_free_ char *path = str_printf("%s/%s/sandbox.json", rt->sandboxes_dir, id);
    _cleanup_json_ json_t *j = json_parse_file(path, RECORD_MAX, err);
    if (!j)
        return NULL;
    int state = state_of(json_path_string(j, "state"), sandbox_states, ARRAY_SIZE(sandbox_states));
    const char *link = json_path_string(j, "link");
    const char *address = json_path_string(j, "address");
    struct network_attachment net = {.n_addrs = 0};
    if (state < 0 || !link || strlen(link) >= IFNAMSIZ || !address ||
        network_addresses_parse(&net, address) < 0) {
        (void)error_set(err, -EINVAL, "%s: damaged", path);
        return NULL;
    }
    ProtobufCMessage *config = pbjson_to_message(&runtime__v1__pod_sandbox_config__descriptor,
                                                 json_path(j, "config"), err);
    if (!config) {
        (void)error_prefix(err, -EINVAL, "%s", path);
        return NULL;
    }
    if (sandbox_check((Runtime__V1__PodSandboxConfig *)config, err) < 0) {
        protobuf_c_message_free_unpacked(config, NULL);
        return NULL;
    }
    struct sandbox *s = sandbox_new(rt, id, (Runtime__V1__PodSandboxConfig *)config);
    s->state = (enum sandbox_state)state;
    s->created_ns = json_path_int(j, "createdNs", 0);
    s->net = net;
    memcpy(s->net.link, link, strlen(link) + 1);
    return s;
}

/* NULL-terminated; NULL when it is no list. */
static char **strings_of(const json_t *j)
{
    size_t n = json_array_size(j);
    if (!n)
        return NULL;
    char **list = mem_zalloc((n + 1) * sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        const char *s = json_string_value(json_array_get(j, i));
        list[i] = str_dup(s ? s : "");
    }
    return list;
}

static char *text_of(const json_t *j, const char *key)
{
    return str_dup(json_path_string(j, key));
}

struct container *container_load(struct sandbox *sandbox, const char *id, struct error *err)
{
    _cleanup_free_ char *path = container_path(sandbox, id);
    _cleanup_json_ json_t *j = json_parse_file(path, RECORD_MAX, err);
    if (!j)
        return NULL;
    int state =
        state_of(json_path_string(j, "state"), container_states, ARRAY_SIZE(container_states));
    if (state < 0 || !json_path_string(j, "cgroup") || !json_path_string(j, "imageId")) {
        (void)error_set(err, -EINVAL, "%s: damaged", path);
        return NULL;
    }
    ProtobufCMessage *config =
        pbjson_to_message(&runtime__v1__container_config__descriptor, json_path(j, "config"), err);
    if (!config) {
        (void)error_prefix(err, -EINVAL, "%s", path);
        return NULL;
    }
    if (container_check((Runtime__V1__ContainerConfig *)config, err) < 0) {
        protobuf_c_message_free_unpacked(config, NULL);
        return NULL;
    }
    struct container *c = container_new(sandbox, id, (Runtime__V1__ContainerConfig *)config);
    c->state = (enum container_state)state;
    c->image_id = text_of(j, "imageId");
    c->image_user = text_of(j, "imageUser");
    c->image_cwd = text_of(j, "imageCwd");
    c->image_env = strings_of(json_path(j, "imageEnv"));
    c->volume_images = strings_of(json_path(j, "volumeImages"));
    const json_t *groups = json_path(j, "groups");
    if (json_is_array(groups)) {
        c->uid = json_path_int(j, "uid", 0);
        c->gid = json_path_int(j, "gid", 0);
        c->n_groups = (int)json_array_size(groups);
        c->groups = mem_zalloc(((size_t)c->n_groups + 1) * sizeof(*c->groups));
        for (int i = 0; i < c->n_groups; i++)
            c->groups[i] = json_integer_value(json_array_get(groups, (size_t)i));
    }
    c->cgroup = text_of(j, "cgroup");
    c->log_path = text_of(j, "logPath");
    c->stop_signal = (int)json_path_int(j, "stopSignal", 15);
    c->pid = (pid_t)json_path_int(j, "pid", 0);
    c->created_ns = json_path_int(j, "createdNs", 0);
    c->started_ns = json_path_int(j, "startedNs", 0);
    c->finished_ns = json_path_int(j, "finishedNs", 0);
    c->exit_code = (int)json_path_int(j, "exitCode", 0);
    c->reason = text_of(j, "reason");
    c->message = text_of(j, "message");
    return c;
}
