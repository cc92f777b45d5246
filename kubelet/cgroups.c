/* The cgroup tree of pods; see cgroups.h. */
#include "kubelet/cgroups.h"

#include <dirent.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"

struct pod_cgroups {
    struct cgroups *host;
    char *top;               /* "/kubepods" below --cgroup-root */
    int64_t pids, burstable; /* limit of a pod's tasks; shares that are set */
    char *path;              /* of the last pod_cgroups_path() */
};

static int make(const struct pod_cgroups *c, const char *path, int64_t shares, struct error *err)
{
    struct cgroup_limits limits = CGROUP_LIMITS_INIT;
    limits.cpu_shares = shares;
    int code = cgroup_create(c->host, path, err);
    return code < 0 ? code : cgroup_set(c->host, path, &limits, NULL, err);
}

int pod_cgroups_new(const char *root, struct pod_cgroups **ret, struct error *err)
{
    _cleanup_(pod_cgroups_freep) struct pod_cgroups *c = mem_zalloc(sizeof(*c));
    size_t len = root ? strlen(root) : 0;
    while (len && root[len - 1] == '/')
        len--;
    c->top = str_printf("%.*s/kubepods", (int)len, root ? root : "");
    _cleanup_free_ char *burstable = str_printf("%s/burstable", c->top);
    _cleanup_free_ char *best_effort = str_printf("%s/besteffort", c->top);
    int code = cgroups_open(NULL, &c->host, err);
    if (!code)
        code = make(c, c->top, CGROUP_UNSET, err);
    if (!code)
        code = make(c, burstable, CGROUP_UNSET, err);
    if (!code)
        code = make(c, best_effort, 2, err);
    if (!code)
        *ret = TAKE_PTR(c);
    return code;
}

int pod_cgroups_limit(struct pod_cgroups *c, const struct node_capacity *share, int64_t pids,
                      struct error *err)
{
    struct cgroup_limits limits = CGROUP_LIMITS_INIT;
    c->pids = pids;
    limits.memory_limit = share ? share->memory : CGROUP_UNLIMITED;
    if (share)
        limits.cpu_shares = milli_to_shares(share->cpu_milli);
    return cgroup_set(c->host, c->top, &limits, NULL, err);
}

void pod_cgroups_weigh(struct pod_cgroups *c, int64_t milli)
{
    struct cgroup_limits limits = CGROUP_LIMITS_INIT;
    struct error err = ERROR_INIT;
    limits.cpu_shares = milli_to_shares(milli);
    if (limits.cpu_shares == c->burstable)
        return;
    _cleanup_free_ char *path = str_printf("%s/burstable", c->top);
    if (cgroup_set(c->host, path, &limits, NULL, &err) < 0)
        log_warn("weight of burstable pods cannot be set", "error", error_text(&err), NULL);
    else
        c->burstable = limits.cpu_shares;
}

struct pod_cgroups *pod_cgroups_free(struct pod_cgroups *c)
{
    if (!c)
        return NULL;
    cgroups_free(c->host);
    free(c->top);
    free(c->path);
    free(c);
    return NULL;
}

const struct cgroups *pod_cgroups_host(const struct pod_cgroups *c)
{
    return c->host;
}

const char *pod_cgroups_top(const struct pod_cgroups *c)
{
    return c->top;
}

bool pod_cgroups_unified(const struct pod_cgroups *c)
{
    return c && cgroups_mode(c->host) == CGROUP_V2;
}

bool pod_cgroups_swap(const struct pod_cgroups *c)
{
    _cleanup_free_ char *dir = c ? cgroup_dir(c->host, CGROUP_MEMORY, c->top) : NULL;
    _cleanup_free_ char *file =
        dir ? fs_join(dir,
                      pod_cgroups_unified(c) ? "memory.swap.max" : "memory.memsw.limit_in_bytes")
            : NULL;
    return file && fs_exists(file);
}

const char *pod_cgroups_path(struct pod_cgroups *c, const struct pod *pod)
{
    static const char *const tiers[] = {"", "/burstable", "/besteffort"};
    free(c->path);
    c->path = str_printf("%s%s/pod%s", c->top, tiers[pod->qos], pod->meta.uid);
    return c->path;
}

uint64_t pod_cgroups_memory(struct pod_cgroups *c, const struct pod *pod)
{
    struct cgroup_stats stats = {.memory_working_set = 0};
    const char *path = pod_cgroups_path(c, pod);
    return cgroup_stats(c->host, path, &stats, NULL) < 0 ? 0 : stats.memory_working_set;
}

char *pod_cgroups_container(struct pod_cgroups *c, const struct pod *pod, const char *id)
{
    const char *parent = pod_cgroups_path(c, pod);
    char *path = NULL, **dirs = NULL;
    (void)cgroup_dirs(c->host, parent, &dirs);
    DIR *d = dirs && dirs[0] ? opendir(dirs[0]) : NULL;
    for (const struct dirent *e; d && !path && (e = readdir(d));)
        if (e->d_type == DT_DIR && strstr(e->d_name, id))
            path = str_printf("%s/%s", parent, e->d_name);
    if (d)
        (void)closedir(d);
    cgroup_dirs_free(dirs);
    return path;
}

int pod_cgroups_ensure(struct pod_cgroups *c, const struct pod *pod, const struct pod_resources *r,
                       struct error *err)
{
    const char *path = pod_cgroups_path(c, pod);
    struct cgroup_limits limits = CGROUP_LIMITS_INIT;
    limits.cpu_shares = r->shares;
    limits.cpu_period = 100000;
    limits.cpu_quota = r->quota ? r->quota : CGROUP_UNLIMITED;
    limits.memory_limit = r->memory ? r->memory : CGROUP_UNLIMITED;
    if (c->pids > 0)
        limits.pids_limit = c->pids;
    int code = cgroup_create(c->host, path, err);
    return code < 0 ? code : cgroup_set(c->host, path, &limits, NULL, err);
}

int pod_cgroups_remove_path(struct pod_cgroups *c, const char *path, struct error *err)
{
    int code = cgroup_kill(c->host, path, err);
    return code < 0 ? code : cgroup_remove(c->host, path, err);
}

int pod_cgroups_remove(struct pod_cgroups *c, const struct pod *pod, struct error *err)
{
    return pod_cgroups_remove_path(c, pod_cgroups_path(c, pod), err);
}

void pod_cgroups_each(struct pod_cgroups *c,
                      void (*fn)(const char *uid, const char *path, void *arg), void *arg)
{
    static const char *const tiers[] = {"", "/burstable", "/besteffort"};
    for (size_t i = 0; i < ARRAY_SIZE(tiers); i++) {
        _cleanup_free_ char *tier = str_printf("%s%s", c->top, tiers[i]);
        char **dirs = NULL;
        (void)cgroup_dirs(c->host, tier, &dirs);
        DIR *d = dirs && dirs[0] ? opendir(dirs[0]) : NULL;
        for (const struct dirent *e; d && (e = readdir(d));) {
            _cleanup_free_ char *path = str_printf("%s/%s", tier, e->d_name);
            if (str_starts(e->d_name, "pod"))
                fn(e->d_name + 3, path, arg);
        }
        if (d)
            (void)closedir(d);
        cgroup_dirs_free(dirs);
    }
}
