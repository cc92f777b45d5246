/* The cgroup drivers' common part, and the one that needs nobody's help; see groups.h. */
#include "cri/groups.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/teardown.h"
#include "cri/groups_private.h"

#define REMOVE_TRIES 400

static const struct group_driver *const drivers[] = {&groups_cgroupfs, &groups_systemd};

int groups_open(const struct groups_options *o, struct groups **ret, struct error *err)
{
    struct groups *g = mem_zalloc(sizeof(*g));
    g->loop = o->loop;
    g->cgs = o->cgs;
    g->root = str_dup(!o->root || str_eq(o->root, "/") ? "" : o->root);
    for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
        if (str_eq(drivers[i]->name, o->driver))
            g->driver = drivers[i];
    int r = !g->driver ? error_set(err, -EINVAL, "--cgroup-driver %s: must be cgroupfs or systemd",
                                   o->driver)
            : g->driver->open ? g->driver->open(g, o, err)
                              : 0;
    if (r < 0) {
        (void)groups_free(g);
        return r;
    }
    *ret = g;
    return 0;
}

struct groups *groups_free(struct groups *g)
{
    if (!g)
        return NULL;
    (void)systemd_free(g->systemd);
    free(g->root);
    free(g);
    return NULL;
}

const char *groups_driver(const struct groups *g)
{
    return g->driver->name;
}

int groups_check_parent(const struct groups *g, const char *parent, struct error *err)
{
    return *parent ? g->driver->check_parent(g, parent, err) : 0;
}

char *groups_pod(const struct groups *g, const char *parent, const char *sandbox)
{
    return g->driver->pod(g, parent, sandbox);
}

char *groups_container(const struct groups *g, const char *pod, const char *container)
{
    return g->driver->container(g, pod, container);
}

char *groups_shims(const struct groups *g)
{
    return g->driver->shims ? g->driver->shims(g) : NULL;
}

bool groups_hold(const struct groups *g)
{
    return g->driver->hold;
}

/* ---- operations ---- */

static void on_again(void *arg);

static struct group_op *op_new(struct groups *g, const char *path, done_fn done, void *arg)
{
    struct group_op *op = mem_zalloc(sizeof(*op));
    *op = (struct group_op){.groups = g, .path = str_dup(path), .done = done, .arg = arg};
    loop_timer_init(&op->again, g->loop, "cgroup removal", on_again, op);
    return op;
}

static void op_free(struct group_op *op)
{
    systemd_job_forget(op->job);
    loop_timer_done(&op->again);
    free(op->path);
    free(op);
}

void group_op_forget(struct group_op *op)
{
    if (op)
        op_free(op);
}

void group_op_done(struct group_op *op, int code, const struct error *err)
{
    done_fn done = op->done;
    void *arg = op->arg;
    op_free(op);
    done(code, err, arg);
}

static int begun(struct group_op *op, int r, struct group_op **ret)
{
    if (r == GROUP_LATER)
        *ret = op;
    else
        op_free(op);
    return r;
}

int groups_make(struct groups *g, const char *path, pid_t holder, done_fn done, void *arg,
                struct group_op **ret, struct error *err)
{
    struct group_op *op = op_new(g, path, done, arg);
    return begun(op, g->driver->make(op, holder, err), ret);
}

int groups_remove(struct groups *g, const char *path, done_fn done, void *arg,
                  struct group_op **ret, struct error *err)
{
    struct group_op *op = op_new(g, path, done, arg);
    return begun(op, g->driver->remove(op, err), ret);
}

char *group_top(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    char *above = str_ndup(path, len);
    if (str_ends(above, ".scope"))
        return above;
    free(above);
    return str_dup(path);
}

int group_op_remove_dirs(struct group_op *op, struct error *err)
{
    const struct cgroups *cgs = op->groups->cgs;
    _cleanup_free_ char *top = group_top(op->path);
    int r = cgroup_remove(cgs, top, err); /* mostly nobody is in it any more */
    if (r != -EBUSY || op->tries++ >= REMOVE_TRIES)
        return r;
    (void)cgroup_kill(cgs, top, NULL);
    loop_timer_set(&op->again, op->tries < 20 ? 1 : 25);
    return GROUP_LATER;
}

static void on_again(void *arg)
{
    struct group_op *op = arg;
    struct error err = ERROR_INIT;
    int r = op->tries ? group_op_remove_dirs(op, &err) : group_op_stop_scope(op, &err);
    if (r != GROUP_LATER)
        group_op_done(op, r, &err);
}

/* ---- cgroupfs ---- */

static int fs_check_parent(_unused_ const struct groups *g, const char *parent, struct error *err)
{
    if (str_ends(parent, ".slice"))
        return error_set(err, -EINVAL,
                         "\"%.300s\" is a slice of systemd's, and the cgroup driver is cgroupfs "
                         "(--cgroup-driver)",
                         parent);
    _cleanup_free_ char *absolute = str_printf("%s%s", *parent == '/' ? "" : "/", parent);
    for (const char *p = absolute; *p; p++)
        if (p[0] == '/' && (p[1] == '/' || (p[1] == '.' && strcspn(p + 1, "/") <= 2 &&
                                            p[strcspn(p + 1, "/")] == '.')))
            return error_set(err, -EINVAL, "\"%.300s\" is no path of a cgroup", parent);
    return 0;
}

static char *fs_pod(const struct groups *g, const char *parent, const char *sandbox)
{
    return *parent ? str_printf("%s%s", *parent == '/' ? "" : "/", parent)
                   : str_printf("%s/coracle/pods/%s", g->root, sandbox);
}

static char *fs_container(_unused_ const struct groups *g, const char *pod, const char *container)
{
    return fs_join(pod, container);
}

static char *fs_shims(const struct groups *g)
{
    return str_printf("%s/coracle/shims", g->root);
}

static int fs_make(struct group_op *op, _unused_ pid_t holder, struct error *err)
{
    return cgroup_create(op->groups->cgs, op->path, err);
}

static int fs_cleanup(struct groups *g, struct error *err)
{
    _cleanup_free_ char *ours = str_printf("%s/coracle", g->root);
    return teardown_cgroup(g->cgs, ours, err);
}

const struct group_driver groups_cgroupfs = {
    .name = "cgroupfs",
    .check_parent = fs_check_parent,
    .pod = fs_pod,
    .container = fs_container,
    .shims = fs_shims,
    .make = fs_make,
    .remove = group_op_remove_dirs,
    .cleanup = fs_cleanup,
};

void groups_remove_pod(const struct groups *g, const char *parent, const char *sandbox)
{
    if (*parent || g->driver != &groups_cgroupfs)
        return; /* the pod's group is the kubelet's; slices stay */
    _cleanup_free_ char *path = fs_pod(g, parent, sandbox);
    (void)cgroup_remove(g->cgs, path, NULL);
}

int groups_cleanup(const struct groups_options *o, struct error *err)
{
    struct groups *g = NULL;
    int r = groups_open(o, &g, err);
    if (r == 0)
        r = g->driver->cleanup(g, err);
    (void)groups_free(g);
    return r;
}
