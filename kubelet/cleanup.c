/* Leaving no trace; see cleanup.h. */
#include "kubelet/cleanup.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/daemon.h"
#include "base/logind.h"
#include "base/strbuf.h"
#include "base/teardown.h"
#include "kubelet/node/hint.h"

static int remove_cgroups(const char *cgroup_root, struct error *err)
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

int kubelet_cleanup(const char *root, const char *cgroup_root, const char *journal,
                    struct error *err)
{
    _cleanup_free_ char *dir = daemon_path(root, "/var/lib/kubelet");
    int first = remove_cgroups(cgroup_root, err);
    int r = teardown_mounts(dir, first ? NULL : err);
    if (!first)
        first = r;
    r = iptables_hint_remove(journal, first ? NULL : err);
    if (!first)
        first = r;
    r = remove_logind_override(root, first ? NULL : err);
    return first ? first : r;
}
