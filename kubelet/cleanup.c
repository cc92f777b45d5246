/* Leaving no trace; see cleanup.h. */
#include "kubelet/cleanup.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/daemon.h"
#include "base/fs.h"
#include "base/logind.h"
#include "base/strbuf.h"
#include "base/systemd.h"
#include "base/teardown.h"
#include "kubelet/node/hint.h"

struct waiting {
    struct loop *loop;
    int code;
    struct error *err;
};

static void on_stopped(int code, const struct error *why, void *arg)
{
    struct waiting *w = arg;
    w->code = code;
    if (code < 0 && w->err)
        *w->err = *why;
    loop_stop(w->loop, 0);
}

static int stop_slice(const char *name, const char *socket, struct error *err)
{
    _cleanup_(systemd_freep) struct systemd *systemd = NULL;
    struct waiting w = {.loop = loop_new(), .err = err};
    w.code = systemd_open(w.loop, socket, &systemd, err);
    if (w.code == 0) {
        (void)systemd_stop_unit(systemd, name, on_stopped, &w);
        (void)loop_run(w.loop);
    }
    systemd = systemd_free(systemd);
    loop_free(w.loop);
    return w.code;
}

/* The slice that stands for @path, with all that is in it, where there is one. */
static int remove_slice(const struct cgroups *cgs, const char *path, const char *socket,
                        struct error *err)
{
    _cleanup_free_ char *name = systemd_slice_of_path(path);
    _cleanup_free_ char *group = systemd_slice_group(name, NULL);
    _cleanup_free_ char *dir = group ? cgroup_dir(cgs, CGROUP_MEMORY, group) : NULL;
    if (!dir || !fs_exists(dir))
        return 0;
    int r = stop_slice(name, socket, err);
    return r < 0 ? r : teardown_cgroup(cgs, group, err); /* hierarchies that systemd leaves alone */
}

static int remove_cgroups(const char *cgroup_root, const char *socket, struct error *err)
{
    _cleanup_(cgroups_freep) struct cgroups *cgs = NULL;
    bool root = !cgroup_root || str_eq(cgroup_root, "/");
    _cleanup_free_ char *pods = str_printf("%s/kubepods", root ? "" : cgroup_root);
    int r = cgroups_open(NULL, &cgs, err);
    if (r == 0)
        r = teardown_cgroup(cgs, pods, err);
    /* A root of our own goes with us, once it is empty. */
    if (r == 0 && !root)
        r = teardown_cgroup(cgs, cgroup_root, err);
    if (r == 0)
        r = remove_slice(cgs, root ? pods : cgroup_root, socket, err);
    return r;
}

/* The file, and its directory where that was made for it alone. */
static int remove_logind_override(const char *root, struct error *err)
{
    _cleanup_free_ char *path = daemon_path(root, LOGIND_OVERRIDE);
    if (unlink(path) < 0)
        return errno == ENOENT ? 0 : error_errno(err, -errno, "cannot remove %s", path);
    *strrchr(path, '/') = '\0';
    (void)rmdir(path);
    return 0;
}

int kubelet_cleanup(const char *root, const char *cgroup_root, const char *systemd_socket,
                    const char *journal, struct error *err)
{
    _cleanup_free_ char *dir = daemon_path(root, "/var/lib/kubelet");
    int first = remove_cgroups(cgroup_root, systemd_socket, err);
    int r = teardown_mounts(dir, first ? NULL : err);
    if (!first)
        first = r;
    r = iptables_hint_remove(journal, first ? NULL : err);
    if (!first)
        first = r;
    r = remove_logind_override(root, first ? NULL : err);
    return first ? first : r;
}
