/*
 * Leaving no trace; see cleanup.h. Nothing here needs the daemon's state to be sound: what is ours
 * is found by where it lies (cgroups and mounts below our directories) and by its name.
 */
#include "cri/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/cgroup.h"
#include "base/daemon.h"
#include "base/fs.h"
#include "base/strbuf.h"
#include "base/teardown.h"

static int refuse_if_running(const struct runtime_options *o, struct error *err)
{
    _cleanup_free_ char *path = daemon_path(o->root, "/run/coracle/cri.lock");
    _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(err, -EBUSY, "coracle-cri is running (%s is locked): stop it first", path);
    return 0;
}

static int remove_cgroups(const struct runtime_options *o, struct error *err)
{
    const char *root = o->cgroup_root && !str_eq(o->cgroup_root, "/") ? o->cgroup_root : "";
    _cleanup_(cgroups_freep) struct cgroups *cgs = NULL;
    _cleanup_free_ char *shims = str_printf("%s/coracle", root);
    int r = cgroups_open(NULL, &cgs, err);
    return r < 0 ? r : teardown_cgroup(cgs, shims, err);
}

static int remove_mounts(const struct runtime_options *o, struct error *err)
{
    _cleanup_free_ char *run = daemon_path(o->root, "/run/coracle");
    _cleanup_free_ char *lib = daemon_path(o->root, "/var/lib/coracle");
    int r = teardown_mounts(run, err);
    int r2 = teardown_mounts(lib, r ? NULL : err);
    return r ? r : r2;
}

static int remove_network(const struct runtime_options *o, struct error *err)
{
    const struct network_options no = runtime_network_options(o);
    return network_cleanup(&no, err);
}

int runtime_cleanup(const struct runtime_options *o, struct error *err)
{
    static int (*const steps[])(const struct runtime_options *o, struct error *err) = {
        remove_cgroups, remove_network, remove_mounts};
    int first = refuse_if_running(o, err);
    if (first < 0)
        return first;
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int r = steps[i](o, first ? NULL : err);
        first = first ? first : r;
    }
    return first;
}
