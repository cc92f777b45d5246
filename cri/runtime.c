/* The CRI runtime: putting the parts together; see runtime.h. */
#include "cri/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/log.h"
#include "cri/adopt.h"
#include "cri/apparmor.h"
#include "cri/api.h"
#include "cri/container.h"
#include "cri/events.h"
#include "cri/groups.h"
#include "cri/layer_usage.h"
#include "cri/stats.h"
#include "cri/streaming.h"
#include "cri/userns.h"

/* A complete id, or its beginning when that is at least this long and only one has it. */
#define ID_PREFIX_MIN 4

struct start {
    void (*ready)(void *arg, int code, const struct error *err);
    void *arg;
};

static void *find(const struct map *m, const char *id)
{
    void *found = map_get(m, id);
    if (found || strlen(id) < ID_PREFIX_MIN)
        return found;
    MAP_FOR_EACH(e, m) {
        if (!str_starts(map_key(e), id))
            continue;
        if (found)
            return NULL;
        found = map_value(e);
    }
    return found;
}

struct sandbox *runtime_sandbox(const struct runtime *rt, const char *id)
{
    struct sandbox *s = find(&rt->sandboxes, id);
    return s && s->state != SANDBOX_CREATING ? s : NULL;
}

struct container *runtime_container(const struct runtime *rt, const char *id)
{
    struct container *c = find(&rt->containers, id);
    return c && c->state != CONTAINER_CREATING ? c : NULL;
}

/* The directory of our own executable: the companions are beside it. */
static char *own_directory(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n <= 0)
        return str_dup(".");
    path[n] = '\0';
    *strrchr(path, '/') = '\0';
    return str_dup(path);
}

static int take_lock(struct runtime *rt, struct error *err)
{
    _cleanup_free_ char *dir = daemon_path(rt->opts->root, "/run/coracle");
    _cleanup_free_ char *path = fs_join(dir, "cri.lock");
    int r = fs_mkdirs(dir, 0755, err);
    if (r < 0)
        return r;
    rt->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (rt->lock_fd < 0)
        return error_errno(err, -errno, "%s", path);
    if (flock(rt->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? error_set(err, -EBUSY, "another coracle-cri has this root (%s is locked)",
                               path)
                   : error_errno(err, -errno, "%s", path);
    return 0;
}

static int make_paths(struct runtime *rt, struct error *err)
{
    const struct runtime_options *o = rt->opts;
    rt->sandboxes_dir = daemon_path(o->root, "/run/coracle/sandboxes");
    rt->containers_dir = daemon_path(o->root, "/var/lib/coracle/containers");
    rt->libexec = o->libexec ? str_dup(o->libexec) : own_directory();
    int r = fs_mkdirs(rt->sandboxes_dir, 0700, err);
    return r < 0 ? r : fs_mkdirs(rt->containers_dir, 0700, err);
}

static int open_images(struct runtime *rt, struct error *err)
{
    _cleanup_free_ char *dir = daemon_path(rt->opts->root, "/var/lib/coracle/images");
    _cleanup_free_ char *worker = fs_join(rt->libexec, "coracle-unpack");
    const struct image_store_options o = {.dir = dir, .worker = worker};
    rt->images = image_store_open(rt->loop, &o, err);
    if (!rt->images)
        return err && err->code ? err->code : -EIO;
    _cleanup_free_ char *registries = daemon_path(rt->opts->root, "/etc/coracle/registries.yaml");
    _cleanup_free_ char *docker_config = str_eq(rt->opts->docker_config, "")
                                             ? NULL
                                             : daemon_path(rt->opts->root, rt->opts->docker_config);
    _cleanup_free_ char *archives = daemon_path(rt->opts->root, "/var/lib/coracle/images.d");
    const struct image_service_options so = {.loop = rt->loop,
                                             .store = rt->images,
                                             .insecure = &rt->opts->insecure,
                                             .registries = registries,
                                             .docker_config = docker_config,
                                             .archives = archives};
    rt->image_service = image_service_new(&so);
    return 0;
}

struct network_options runtime_network_options(const struct runtime_options *o)
{
    return (struct network_options){.root = o->root,
                                    .backend = o->network,
                                    .bridge = o->bridge,
                                    .pod_cidr = o->pod_cidr,
                                    .await_flannel = o->await_flannel,
                                    .cluster_cidr = o->cluster_cidr,
                                    .cni_conf_dir = o->cni_conf_dir,
                                    .cni_bin_path = o->cni_bin_path,
                                    .cni_timeout_s = o->cni_timeout_s};
}

static int open_groups(struct runtime *rt, struct error *err)
{
    const struct groups_options o = {.loop = rt->loop,
                                     .cgs = rt->cgs,
                                     .driver = rt->opts->cgroup_driver,
                                     .root = rt->opts->cgroup_root,
                                     .systemd_socket = rt->opts->systemd_socket};
    return groups_open(&o, &rt->groups, err);
}

static int open_network(struct runtime *rt, struct error *err)
{
    struct network_options no = runtime_network_options(rt->opts);
    no.loop = rt->loop;
    no.jobs = rt->jobs;
    rt->network = network_new(&no, err);
    return rt->network ? 0 : err && err->code ? err->code : -EIO;
}

static int open_server(struct runtime *rt, struct error *err)
{
    _cleanup_free_ char *socket = daemon_path(rt->opts->root, "/run/coracle/cri.sock");
    const struct rpc_server_options o = {.listen = rt->opts->listen ? rt->opts->listen : socket};
    rt->rpc = rpc_new(rt->loop, err);
    if (!rt->rpc)
        return err && err->code ? err->code : -EIO;
    rt->server = rpc_server_new(rt->rpc, &o);
    api_runtime_register(rt);
    api_sandbox_register(rt);
    api_container_register(rt);
    api_stats_register(rt);
    api_metrics_register(rt);
    image_service_register(rt->image_service, rt->server);
    return 0;
}

static void on_adopted(struct runtime *rt)
{
    struct error err = ERROR_INIT;
    struct start *start = rt->start;
    int r = rpc_server_start(rt->server, &err);
    if (r == 0)
        image_service_load_archives(rt->image_service);
    rt->start = NULL;
    start->ready(start->arg, r, &err);
    free(start);
}

static void on_profile(void *arg)
{
    struct runtime *rt = arg;
    if (--rt->adopting == 0)
        rt->adopted(rt);
}

static void load_profile(struct runtime *rt)
{
    rt->apparmor = apparmor_new(rt->loop, rt->opts->root, "/sys");
    rt->adopting += apparmor_load(rt->apparmor, on_profile, rt);
}

int runtime_start(struct loop *loop, const struct runtime_options *opts,
                  void (*ready)(void *arg, int code, const struct error *err), void *arg,
                  struct runtime **ret, struct error *err)
{
    struct runtime *rt = mem_zalloc(sizeof(*rt));
    *rt = (struct runtime){.loop = loop, .opts = opts, .lock_fd = -1, .adopted = on_adopted};
    list_init(&rt->snapshots);
    int r;
    if ((r = take_lock(rt, err)) == 0 && (r = make_paths(rt, err)) == 0 &&
        (r = cgroups_open(NULL, &rt->cgs, err)) == 0 && (r = open_groups(rt, err)) == 0) {
        rt->jobs = jobs_new(loop, JOBS_AT_ONCE);
        rt->layers = layers_new(rt);
        rt->events = events_new(rt);
        if ((r = open_network(rt, err)) == 0 && (r = open_images(rt, err)) == 0 &&
            (r = open_server(rt, err)) == 0 && !(rt->streaming = streaming_new(rt, err)))
            r = err && err->code ? err->code : -EIO;
    }
    if (r < 0) {
        (void)runtime_free(rt);
        return r;
    }
    *ret = rt;
    rt->start = mem_zalloc(sizeof(*rt->start));
    *rt->start = (struct start){ready, arg};
    userns_probe(rt);
    load_profile(rt);
    adopt_begin(rt);
    return 0;
}

struct runtime *runtime_free(struct runtime *rt)
{
    if (!rt)
        return NULL;
    seccomp_cache_done(&rt->filters);
    rt->apparmor = apparmor_free(rt->apparmor);
    rt->streaming = streaming_free(rt->streaming);
    rt->events = events_free(rt->events);
    (void)rpc_server_free(rt->server);
    (void)rpc_free(rt->rpc);
    rt->layers = layers_free(rt->layers);
    rt->jobs = jobs_free(rt->jobs);
    stats_drop(rt);
    while (map_first(&rt->sandboxes))
        sandbox_free(map_value(map_first(&rt->sandboxes)));
    (void)image_service_free(rt->image_service);
    (void)image_store_free(rt->images);
    (void)network_free(rt->network);
    (void)groups_free(rt->groups);
    (void)cgroups_free(rt->cgs);
    closep(&rt->lock_fd);
    free(rt->start);
    free(rt->sandboxes_dir);
    free(rt->containers_dir);
    free(rt->libexec);
    free(rt->userns_problem);
    free(rt);
    return NULL;
}
