/*
 * Groups as scopes of systemd's; see groups.h.
 *
 * Making one: StartTransientUnit with the holder, which systemd moves into the scope. On v2 a group
 * with processes cannot hand controllers down, so the holder moves on into a group of its own,
 * beside the container's.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/log.h"
#include "cri/groups_private.h"

#define CONTAINER_GROUP "container"
#define HOLDER_GROUP    "holder"
#define STOP_TRIES      5
#define STOP_AGAIN_MS   500

static int open_systemd(struct groups *g, const struct groups_options *o, struct error *err)
{
    int r = systemd_open(g->loop, o->systemd_socket, &g->systemd, err);
    return r < 0 ? error_prefix(err, r, "--cgroup-driver systemd") : 0;
}

/* "a.slice", or "/a.slice/a-b.slice" as the kubelet sends it. */
static int check_parent(_unused_ const struct groups *g, const char *parent, struct error *err)
{
    if (!str_ends(parent, ".slice"))
        return error_set(err, -EINVAL,
                         "\"%.300s\" is no slice, and the cgroup driver is systemd "
                         "(--cgroup-driver)",
                         parent);
    _cleanup_free_ char *name = systemd_slice_name(parent, err);
    return name ? 0 : -EINVAL;
}

/* Ours are in a slice of our own, below that of the root. */
static char *own_slice(const struct groups *g, const char *name)
{
    _cleanup_free_ char *path = str_printf("%s/coracle%s%s", g->root, *name ? "/" : "", name);
    return systemd_slice_of_path(path);
}

static char *pod(const struct groups *g, const char *parent, _unused_ const char *sandbox)
{
    _cleanup_free_ char *name = *parent ? systemd_slice_name(parent, NULL) : own_slice(g, "pods");
    return systemd_slice_group(name, NULL);
}

static char *container(_unused_ const struct groups *g, const char *pod_group, const char *id)
{
    return str_printf("%s/cri-coracle-%s.scope/" CONTAINER_GROUP, pod_group, id);
}

/* "x.scope" of ".../y.slice/x.scope/container". */
static char *scope_of(const char *path)
{
    _cleanup_free_ char *top = group_top(path);
    return str_dup(strrchr(top, '/') + 1);
}

static char *slice_of(const char *path)
{
    _cleanup_free_ char *top = group_top(path);
    *strrchr(top, '/') = '\0';
    const char *slash = strrchr(top, '/');
    return str_dup(slash ? slash + 1 : "-.slice");
}

/* ---- making ---- */

/* v1 does not mind processes in a group that has others below. */
static int move_holder(const struct cgroups *cgs, const char *top, pid_t holder, struct error *err)
{
    char text[16];
    if (cgroups_mode(cgs) != CGROUP_V2)
        return 0;
    _cleanup_free_ char *scope = cgroup_dir(cgs, CGROUP_CPU, top);
    _cleanup_free_ char *dir = fs_join(scope, HOLDER_GROUP);
    _cleanup_free_ char *procs = fs_join(dir, "cgroup.procs");
    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return error_errno(err, -errno, "make cgroup %s", dir);
    (void)snprintf(text, sizeof(text), "%d", (int)holder);
    return fs_write_text(procs, text, err);
}

static void on_started(int code, const struct error *why, void *arg)
{
    struct group_op *op = arg;
    const struct cgroups *cgs = op->groups->cgs;
    struct error err = code < 0 ? *why : (struct error)ERROR_INIT;
    op->job = NULL;
    _cleanup_free_ char *top = group_top(op->path);
    if (code == 0)
        code = move_holder(cgs, top, op->holder, &err);
    if (code == 0)
        code = cgroup_create(cgs, op->path, &err);
    group_op_done(op, code, &err);
}

static int make(struct group_op *op, pid_t holder, struct error *err)
{
    if (holder <= 0)
        return error_set(err, -EPROTO, "the shim is of a release that knows no systemd scopes");
    op->holder = holder;
    _cleanup_free_ char *name = scope_of(op->path), *slice = slice_of(op->path);
    const struct systemd_scope scope = {
        .name = name, .slice = slice, .description = "Container of Coracle", .pid = holder};
    op->job = systemd_start_scope(op->groups->systemd, &scope, on_started, op);
    return GROUP_LATER;
}

/* ---- removing ---- */

static void on_stopped(int code, const struct error *why, void *arg)
{
    struct group_op *op = arg;
    struct error err = ERROR_INIT;
    op->job = NULL;
    if (code == -ECONNRESET || code == -ECONNREFUSED || code == -ENOENT) {
        if (op->stops++ < STOP_TRIES) { /* systemd executes itself anew: a moment */
            loop_timer_set(&op->again, STOP_AGAIN_MS);
            return;
        }
    }
    if (code < 0)
        log_warn("cannot stop a scope", "error", error_text(why), NULL);
    int r = group_op_remove_dirs(op, &err); /* v1: hierarchies that systemd does not use */
    if (r != GROUP_LATER)
        group_op_done(op, r, &err);
}

int group_op_stop_scope(struct group_op *op, struct error *err)
{
    _cleanup_free_ char *top = group_top(op->path);
    if (!op->groups->systemd || !str_ends(top, ".scope"))
        return group_op_remove_dirs(op, err);
    _cleanup_free_ char *name = scope_of(op->path);
    (void)cgroup_kill(op->groups->cgs, top, NULL);
    op->job = systemd_stop_unit(op->groups->systemd, name, on_stopped, op);
    return GROUP_LATER;
}

/* ---- --cleanup ---- */
struct waiting {
    struct loop *loop;
    int code;
    struct error *err;
};

static void on_slice_stopped(int code, const struct error *why, void *arg)
{
    struct waiting *w = arg;
    w->code = code;
    if (code < 0 && w->err)
        *w->err = *why;
    loop_stop(w->loop, 0);
}

/* With our slice goes all that is in it. */
static int cleanup(struct groups *g, struct error *err)
{
    struct waiting w = {.loop = g->loop, .err = err};
    _cleanup_free_ char *slice = own_slice(g, "");
    (void)systemd_stop_unit(g->systemd, slice, on_slice_stopped, &w);
    (void)loop_run(g->loop);
    return w.code;
}

const struct group_driver groups_systemd = {
    .name = "systemd",
    .hold = true,
    .open = open_systemd,
    .check_parent = check_parent,
    .pod = pod,
    .container = container,
    .make = make,
    .remove = group_op_stop_scope,
    .cleanup = cleanup,
};
