/* Registration of plugins and what the node has of them; see devices.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/devices/internal.h"

#define VERSION    "v1beta1"
#define CHECKPOINT "kubelet_internal_checkpoint"

/* ---- the checkpoint ---- */
void devices_save(const struct devices *d)
{
    struct error err = ERROR_INIT;
    struct string_list names = {.items = NULL};
    MAP_FOR_EACH(e, &d->plugins)
        string_list_add(&names, map_key(e));
    _cleanup_free_ char *text = checkpoint_encode(&d->allocations, &names);
    string_list_done(&names);
    if (fs_write_atomic(d->checkpoint, text, strlen(text), 0600, FS_DURABLE, &err) < 0)
        log_error("devices of pods cannot be written down", "file", d->checkpoint, "error",
                  error_text(&err), NULL);
}

static void on_plugin(_unused_ struct plugin *p, void *arg)
{
    struct devices *d = arg;
    d->changed(d->arg);
}

static struct plugin *add_plugin(struct devices *d, const char *resource)
{
    struct plugin *p = plugin_new(d->k->loop, resource, on_plugin, d);
    map_set(&d->plugins, resource, p);
    return p;
}

static void load(struct devices *d)
{
    struct error err = ERROR_INIT;
    struct string_list names;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(d->checkpoint, CHECKPOINT_MAX, &text, &err);
    if (r == -ENOENT)
        return;
    if (r >= 0)
        r = checkpoint_decode(strbuf_text(&text), text.len, &d->allocations, &names, &err);
    if (r < 0) {
        log_error("which pods have which devices is not known any more", "file", d->checkpoint,
                  "error", error_text(&err), NULL);
        return;
    }
    for (size_t i = 0; i < names.count; i++)
        (void)add_plugin(d, names.items[i]);
    string_list_done(&names);
}

/* ---- registration ---- */
static int check_registration(const struct devices *d, const V1beta1__RegisterRequest *q,
                              struct error *err)
{
    if (!str_eq(q->version, VERSION))
        return error_set(err, -EINVAL,
                         "requested API version \"%.40s\" is not supported by kubelet. Supported "
                         "version is \"" VERSION "\"",
                         q->version);
    if (!resource_is_extended(q->resource_name))
        return error_set(err, -EINVAL, "the ResourceName \"%.100s\" is invalid", q->resource_name);
    if (!*q->endpoint || strchr(q->endpoint, '/') || str_starts(q->endpoint, "."))
        return error_set(err, -EINVAL, "the endpoint \"%.100s\" is no name of a socket",
                         q->endpoint);
    if (!map_has(&d->plugins, q->resource_name) && map_count(&d->plugins) >= DEVICE_RESOURCES_MAX)
        return error_set(err, -ENOSPC, "more than %d resources", DEVICE_RESOURCES_MAX);
    return 0;
}

static void on_register(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    struct devices *d = arg;
    const V1beta1__RegisterRequest *q = (const void *)request;
    V1beta1__Empty empty = V1BETA1__EMPTY__INIT;
    struct error err = ERROR_INIT;
    int r = check_registration(d, q, &err);
    if (r == 0) {
        _cleanup_free_ char *socket = fs_join(d->dir, q->endpoint);
        bool known = map_has(&d->plugins, q->resource_name);
        struct plugin *p =
            known ? map_get(&d->plugins, q->resource_name) : add_plugin(d, q->resource_name);
        devices_lost(d, q->resource_name);
        r = plugin_connect(p, d->k->rpc, socket, q->options, &err);
        if (!known)
            devices_save(d);
    }
    if (r < 0) {
        log_warn("device plugin is refused", "resource", q->resource_name, "error",
                 error_text(&err), NULL);
        rpc_server_fail_errno(call, r, &err);
        return;
    }
    log_info("device plugin has registered", "resource", q->resource_name, NULL);
    rpc_server_reply(call, &empty.base);
}

/* ---- what the node has ---- */
static void put_count(json_t *o, const char *name, size_t n)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%zu", n);
    (void)json_object_set_new(o, name, json_string(text));
}

void devices_put(const struct devices *d, json_t *capacity, json_t *allocatable)
{
    if (!d)
        return;
    MAP_FOR_EACH(e, &d->plugins) {
        const struct plugin *p = map_value(e);
        put_count(capacity, p->resource, p->n_devices);
        put_count(allocatable, p->resource, plugin_healthy(p));
    }
}

/* ---- life ---- */

/* Plugins watch for this: their sockets go when a kubelet starts, and they register again. */
static void remove_sockets(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *e;
    struct stat st;
    while (dir && (e = readdir(dir))) // NOLINT(concurrency-mt-unsafe): one thread
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        (void)closedir(dir);
}

static struct rpc_server *serve(struct devices *d, const char *dir, struct error *err,
                                void (*add)(struct devices *d, struct rpc_server *server))
{
    _cleanup_free_ char *socket = fs_join(dir, "kubelet.sock");
    const struct rpc_server_options o = {.listen = socket};
    if (fs_mkdirs(dir, 0750, err) < 0)
        return NULL;
    struct rpc_server *server = rpc_server_new(d->k->rpc, &o);
    add(d, server);
    return rpc_server_start(server, err) < 0 ? rpc_server_free(server) : server;
}

static void add_registration(struct devices *d, struct rpc_server *server)
{
    static const struct rpc_server_method methods[] = {{"/v1beta1.Registration/Register",
                                                        &v1beta1__register_request__descriptor,
                                                        RPC_UNARY, on_register}};
    rpc_server_add(server, methods, ARRAY_SIZE(methods), d);
}

static void free_plugin(void *p)
{
    (void)plugin_free(p);
}

int devices_new(struct kubelet *k, void (*changed)(void *arg), void *arg, struct devices **ret,
                struct error *err)
{
    struct devices *d = mem_zalloc(sizeof(*d));
    _cleanup_free_ char *lister = daemon_path(k->root, "/var/lib/kubelet/pod-resources");
    d->k = k;
    d->dir = daemon_path(k->root, "/var/lib/kubelet/device-plugins");
    d->checkpoint = fs_join(d->dir, CHECKPOINT);
    d->plugins = (struct map)MAP_INIT(free_plugin);
    d->changed = changed;
    d->arg = arg;
    list_init(&d->requests);
    load(d);
    remove_sockets(d->dir);
    d->registration = serve(d, d->dir, err, add_registration);
    if (d->registration)
        d->lister = serve(d, lister, err, devices_lister_add);
    if (!d->lister) {
        (void)devices_free(d);
        return -EIO;
    }
    *ret = d;
    return 0;
}

struct devices *devices_free(struct devices *d)
{
    if (!d)
        return NULL;
    while (!list_empty(&d->requests))
        (void)device_request_cancel(LIST_ENTRY(d->requests.next, struct device_request, entry));
    (void)rpc_server_free(d->registration);
    (void)rpc_server_free(d->lister);
    map_clear(&d->plugins);
    allocation_list_done(&d->allocations);
    free(d->dir);
    free(d->checkpoint);
    free(d);
    return NULL;
}
