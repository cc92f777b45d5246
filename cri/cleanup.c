/*
 * Leaving no trace; see cleanup.h. Nothing here needs the daemon's state to be sound: what is ours
 * is found by where it lies (cgroups and mounts below our directories) and by its name.
 */
#include "cri/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/file.h>

#include "base/cgroup.h"
#include "base/daemon.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "base/teardown.h"
#include "cri/apparmor.h"
#include "cri/groups.h"
#include "cri/shim_client.h"

#define RECORD_MAX ((size_t)16 << 20)

static int refuse_if_running(const struct runtime_options *o, struct error *err)
{
    _cleanup_free_ char *path = daemon_path(o->root, "/run/coracle/cri.lock");
    _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(err, -EBUSY, "coracle-cri is running (%s is locked): stop it first", path);
    return 0;
}

/* With a shim its containers die. */
static int kill_shims(const struct runtime_options *o, struct error *err)
{
    _cleanup_free_ char *path = daemon_path(o->root, "/run/coracle/sandboxes");
    DIR *d = opendir(path);
    int r = d || errno == ENOENT ? 0 : error_errno(err, -errno, "%s", path);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        _cleanup_free_ char *dir = fs_join(path, e->d_name);
        int one = e->d_name[0] == '.' ? 0 : shim_kill_stray(dir, r ? NULL : err);
        r = r ? r : one;
    }
    if (d)
        (void)closedir(d);
    return r;
}

/* One container's record: what of it still runs is in the group that it names. */
static int kill_container(const struct cgroups *cgs, const char *record, struct error *err)
{
    _cleanup_json_ json_t *j = json_parse_file(record, RECORD_MAX, NULL);
    const char *cgroup = json_path_string(j, "cgroup");
    return cgroup ? teardown_cgroup(cgs, cgroup, err) : 0; /* a damaged record names nothing */
}

/* A process does not always die with its shim: changing the AppArmor profile, or executing a
 * set-user-ID program, takes the parent-death signal away. Below our own group all is killed
 * anyway; a pod's group may be the kubelet's. */
static int kill_containers(const struct runtime_options *o, struct error *err)
{
    _cleanup_(cgroups_freep) struct cgroups *cgs = NULL;
    _cleanup_free_ char *pattern =
        daemon_path(o->root, "/run/coracle/sandboxes/*/containers/*.json");
    glob_t found = {.gl_pathc = 0};
    int r = cgroups_open(NULL, &cgs, err);
    if (r < 0 || glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return r;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        int one = kill_container(cgs, found.gl_pathv[i], r ? NULL : err);
        r = r ? r : one;
    }
    globfree(&found);
    return r;
}

static int remove_cgroups(const struct runtime_options *o, struct error *err)
{
    _cleanup_(cgroups_freep) struct cgroups *cgs = NULL;
    _cleanup_(loop_freep) struct loop *loop = loop_new();
    int r = cgroups_open(NULL, &cgs, err);
    const struct groups_options g = {.loop = loop,
                                     .cgs = cgs,
                                     .driver = o->cgroup_driver,
                                     .root = o->cgroup_root,
                                     .systemd_socket = o->systemd_socket};
    return r < 0 ? r : groups_cleanup(&g, err);
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

/* Once nobody is left whom it confines. */
static int unload_profile(const struct runtime_options *o, struct error *err)
{
    return apparmor_unload(o->root, "/sys", err);
}

int runtime_cleanup(const struct runtime_options *o, struct error *err)
{
    static int (*const steps[])(const struct runtime_options *o, struct error *err) = {
        kill_shims, kill_containers, remove_cgroups, remove_network, remove_mounts, unload_profile};
    int first = refuse_if_running(o, err);
    if (first < 0)
        return first;
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int r = steps[i](o, first ? NULL : err);
        first = first ? first : r;
    }
    return first;
}
