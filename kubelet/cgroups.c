/* The cgroup tree of pods; see cgroups.h. */
#include "kubelet/cgroups.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/cgroups_private.h"

#define UID_MAX_LEN 128 /* of a pod: pod_decode() */

static const char *const tiers[] = {
    [QOS_GUARANTEED] = "", [QOS_BURSTABLE] = "/burstable", [QOS_BEST_EFFORT] = "/besteffort"};

/* The group of kubepods, of a tier ("/burstable"), or of a pod in it ("/burstable/podUID"). */
static char *group_of(const struct pod_cgroups *c, const char *below)
{
    _cleanup_free_ char *path = str_printf("%s%s", c->prefix, below);
    if (c->driver != DRIVER_SYSTEMD)
        return TAKE_PTR(path);
    _cleanup_free_ char *slice = systemd_slice_of_path(path);
    return systemd_slice_group(slice, NULL);
}

static int apply(struct pod_cgroups *c, const char *group, const struct cgroup_limits *limits,
                 void (*done)(void *arg), void *arg, struct error *err)
{
    if (c->driver == DRIVER_SYSTEMD)
        return slice_apply(c, group, limits, done, arg, err);
    int code = cgroup_create(c->host, group, err);
    return code < 0 ? code : cgroup_set(c->host, group, limits, NULL, err);
}

int pod_cgroups_new(const struct pod_cgroups_options *o, struct pod_cgroups **ret,
                    struct error *err)
{
    _cleanup_(pod_cgroups_freep) struct pod_cgroups *c = mem_zalloc(sizeof(*c));
    size_t len = o->root ? strlen(o->root) : 0;
    while (len && o->root[len - 1] == '/')
        len--;
    list_init(&c->slices);
    c->loop = o->loop;
    c->socket = o->systemd_socket ? str_dup(o->systemd_socket) : NULL;
    c->prefix = str_printf("%.*s/kubepods", (int)len, o->root ? o->root : "");
    c->all = (struct cgroup_limits)CGROUP_LIMITS_INIT;
    int code = cgroups_open(NULL, &c->host, err);
    if (!code)
        *ret = TAKE_PTR(c);
    return code;
}

void pod_cgroups_limit(struct pod_cgroups *c, const struct node_capacity *share, int64_t pids)
{
    c->pids = pids;
    c->all.memory_limit = share ? share->memory : CGROUP_UNLIMITED;
    if (share)
        c->all.cpu_shares = milli_to_shares(share->cpu_milli);
}

/* What all pods together may have. */
static int make_top(struct pod_cgroups *c, struct error *err)
{
    int code = apply(c, c->top, &c->all, NULL, NULL, err);
    if (code != -EBUSY)
        return code;
    /* Pods that run already use more: they run on. */
    log_warn("pods cannot be held to what is not reserved", "error", error_text(err), NULL);
    *err = (struct error)ERROR_INIT;
    return 0;
}

/* Whether the names of all slices will do. */
static int check_names(const struct pod_cgroups *c, struct error *err)
{
    _cleanup_free_ char *longest =
        str_printf("%s%s/pod%0*d", c->prefix, tiers[QOS_BEST_EFFORT], UID_MAX_LEN, 0);
    _cleanup_free_ char *slice = systemd_slice_of_path(longest);
    _cleanup_free_ char *group = systemd_slice_group(slice, err);
    return group ? 0 : error_prefix(err, -EINVAL, "cgroupRoot with cgroup driver systemd");
}

int pod_cgroups_start(struct pod_cgroups *c, bool systemd, struct error *err)
{
    if (c->driver != DRIVER_UNKNOWN)
        return 0;
    int code = systemd ? check_names(c, err) : 0;
    if (systemd && !code)
        code = slices_open(c, err);
    if (code < 0)
        return code;
    c->driver = systemd ? DRIVER_SYSTEMD : DRIVER_CGROUPFS;
    c->top = group_of(c, "");
    struct cgroup_limits weak = CGROUP_LIMITS_INIT, none = CGROUP_LIMITS_INIT;
    weak.cpu_shares = 2;
    _cleanup_free_ char *burstable = group_of(c, tiers[QOS_BURSTABLE]);
    _cleanup_free_ char *best_effort = group_of(c, tiers[QOS_BEST_EFFORT]);
    code = make_top(c, err);
    if (code >= 0)
        code = apply(c, burstable, &none, NULL, NULL, err);
    if (code >= 0)
        code = apply(c, best_effort, &weak, NULL, NULL, err);
    if (code < 0) {
        c->driver = DRIVER_UNKNOWN;
        free(c->top);
        c->top = NULL;
    }
    return code < 0 ? code : 0;
}

void pod_cgroups_weigh(struct pod_cgroups *c, int64_t milli)
{
    struct cgroup_limits limits = CGROUP_LIMITS_INIT;
    struct error err = ERROR_INIT;
    limits.cpu_shares = milli_to_shares(milli);
    if (limits.cpu_shares == c->burstable || c->driver == DRIVER_UNKNOWN)
        return;
    _cleanup_free_ char *path = group_of(c, tiers[QOS_BURSTABLE]);
    if (apply(c, path, &limits, NULL, NULL, &err) < 0)
        log_warn("weight of burstable pods cannot be set", "error", error_text(&err), NULL);
    else
        c->burstable = limits.cpu_shares;
}

struct pod_cgroups *pod_cgroups_free(struct pod_cgroups *c)
{
    if (!c)
        return NULL;
    slices_close(c);
    cgroups_free(c->host);
    free(c->prefix);
    free(c->socket);
    free(c->top);
    free(c->path);
    free(c);
    return NULL;
}

void pod_cgroups_forget(struct pod_cgroups *c, const void *arg)
{
    if (c)
        slices_forget(c, arg);
}

const struct cgroups *pod_cgroups_host(const struct pod_cgroups *c)
{
    return c->host;
}

const char *pod_cgroups_top(const struct pod_cgroups *c)
{
    return c->top ? c->top : c->prefix;
}

bool pod_cgroups_unified(const struct pod_cgroups *c)
{
    return c && cgroups_mode(c->host) == CGROUP_V2;
}

bool pod_cgroups_swap(const struct pod_cgroups *c)
{
    _cleanup_free_ char *dir = c && c->top ? cgroup_dir(c->host, CGROUP_MEMORY, c->top) : NULL;
    _cleanup_free_ char *file =
        dir ? fs_join(dir,
                      pod_cgroups_unified(c) ? "memory.swap.max" : "memory.memsw.limit_in_bytes")
            : NULL;
    return file && fs_exists(file);
}

const char *pod_cgroups_path(struct pod_cgroups *c, const struct pod *pod)
{
    _cleanup_free_ char *below = str_printf("%s/pod%s", tiers[pod->qos], pod->meta.uid);
    free(c->path);
    c->path = group_of(c, below);
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
                       void (*done)(void *arg), void *arg, struct error *err)
{
    struct cgroup_limits limits = CGROUP_LIMITS_INIT;
    if (c->driver == DRIVER_UNKNOWN)
        return POD_CGROUPS_PENDING;
    limits.cpu_shares = r->shares;
    limits.cpu_period = 100000;
    limits.cpu_quota = r->quota ? r->quota : CGROUP_UNLIMITED;
    limits.memory_limit = r->memory ? r->memory : CGROUP_UNLIMITED;
    if (c->pids > 0)
        limits.pids_limit = c->pids;
    return apply(c, pod_cgroups_path(c, pod), &limits, done, arg, err);
}

static int remove_group(struct pod_cgroups *c, const char *path, void (*done)(void *arg), void *arg,
                        struct error *err)
{
    if (c->driver == DRIVER_SYSTEMD)
        return slice_remove(c, path, done, arg, err);
    int code = cgroup_kill(c->host, path, err);
    return code < 0 ? code : cgroup_remove(c->host, path, err);
}

int pod_cgroups_remove_path(struct pod_cgroups *c, const char *path, struct error *err)
{
    return remove_group(c, path, NULL, NULL, err);
}

int pod_cgroups_remove(struct pod_cgroups *c, const struct pod *pod, void (*done)(void *arg),
                       void *arg, struct error *err)
{
    /* Without a driver there are no groups of this kubelet's; an earlier one's are orphans. */
    return c->driver == DRIVER_UNKNOWN ? 0
                                       : remove_group(c, pod_cgroups_path(c, pod), done, arg, err);
}

/* The uid of a pod from the name of its group: what is between @before and @after. NULL: it is no
 * pod's. Names of slices have no dashes within a level. */
static char *uid_of(const char *name, const char *before, const char *after)
{
    if (!str_starts(name, before) || !str_ends(name, after) ||
        strlen(name) <= strlen(before) + strlen(after))
        return NULL;
    char *uid = str_ndup(name + strlen(before), strlen(name) - strlen(before) - strlen(after));
    for (char *p = uid; *after && *p; p++)
        if (*p == '_')
            *p = '-';
    return uid;
}

void pod_cgroups_each(struct pod_cgroups *c,
                      void (*fn)(const char *uid, const char *path, void *arg), void *arg)
{
    bool slices = c->driver == DRIVER_SYSTEMD;
    for (size_t i = 0; c->driver != DRIVER_UNKNOWN && i < ARRAY_SIZE(tiers); i++) {
        _cleanup_free_ char *tier = group_of(c, tiers[i]);
        const char *last = strrchr(tier, '/') + 1;
        _cleanup_free_ char *before =
            slices ? str_printf("%.*s-pod", (int)(strlen(last) - strlen(".slice")), last)
                   : str_dup("pod");
        char **dirs = NULL;
        (void)cgroup_dirs(c->host, tier, &dirs);
        DIR *d = dirs && dirs[0] ? opendir(dirs[0]) : NULL;
        for (const struct dirent *e; d && (e = readdir(d));) {
            _cleanup_free_ char *path = str_printf("%s/%s", tier, e->d_name);
            _cleanup_free_ char *uid = uid_of(e->d_name, before, slices ? ".slice" : "");
            if (uid)
                fn(uid, path, arg);
        }
        if (d)
            (void)closedir(d);
        cgroup_dirs_free(dirs);
    }
}
