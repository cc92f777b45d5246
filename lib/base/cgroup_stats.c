/* Statistics of groups: what v1 and v2 have in common. */
#include <errno.h>
#include <string.h>

#include "base/cgroup_internal.h"
#include "base/fs.h"

static int check(const struct cgroups *cgs, const char *path, struct error *err)
{
    return cgroup_exists(cgs, cgroup_any_controller(cgs), path)
               ? 0
               : error_set(err, -ENOENT, "cgroup %s is not there", path);
}

int cgroup_stats(const struct cgroups *cgs, const char *path, struct cgroup_stats *ret,
                 struct error *err)
{
    int r = check(cgs, path, err);
    if (r < 0)
        return r;
    *ret = (struct cgroup_stats){.memory_limit = UINT64_MAX, .swap_limit = UINT64_MAX};
    cgs->ops->stats(cgs, path, ret);
    return 0;
}

int cgroup_details(const struct cgroups *cgs, const char *path, struct cgroup_details *ret,
                   struct error *err)
{
    int r = check(cgs, path, err);
    if (r < 0)
        return r;
    *ret = (struct cgroup_details){.cpu_quota = CGROUP_UNLIMITED, .pids_limit = UINT64_MAX};
    cgs->ops->details(cgs, path, ret);
    pid_t *pids = NULL;
    size_t n = 0;
    if (cgroup_pids(cgs, path, true, &pids, &n, NULL) == 0)
        ret->processes = n;
    free(pids);
    return 0;
}

size_t cgroup_io(const struct cgroups *cgs, const char *path, struct cgroup_io *list, size_t max)
{
    return cgs->ops->io(cgs, path, list, max);
}

uint64_t cgroup_oom_kills(const struct cgroups *cgs, const char *path)
{
    return cgs->ops->oom_kills(cgs, path);
}

/* ---- parts of the back ends ---- */

bool cgroup_number(const struct cgroups *cgs, enum cgroup_controller c, const char *path,
                   const char *file, uint64_t *ret)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (!cgs->has[c] || cgroup_file_read(cgs, c, path, file, &text, NULL) < 0)
        return false;
    *ret =
        str_starts(strbuf_text(&text), "max") ? UINT64_MAX : strtoull(strbuf_text(&text), NULL, 10);
    return true;
}

void cgroup_parse_psi(const char *text, struct cgroup_psi *ret)
{
    while (*text) {
        struct cgroup_psi_line l;
        char which[8];
        unsigned long long total;
        if (sscanf(text, "%7s avg10=%lf avg60=%lf avg300=%lf total=%llu", which, &l.avg10, &l.avg60,
                   &l.avg300, &total) == 5) {
            l.total_us = total;
            *(str_eq(which, "full") ? &ret->full : &ret->some) = l;
            ret->there = true;
        }
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
}

struct cgroup_io *cgroup_io_line(const char *line, struct cgroup_io *list, size_t *n, size_t max,
                                 const char **rest)
{
    unsigned major, minor;
    int len = 0;
    if (sscanf(line, "%u:%u %n", &major, &minor, &len) != 2 || !len)
        return NULL;
    *rest = line + len;
    for (size_t i = 0; i < *n; i++)
        if (list[i].major == major && list[i].minor == minor)
            return &list[i];
    if (*n == max)
        return NULL;
    list[*n] = (struct cgroup_io){.major = major, .minor = minor};
    return &list[(*n)++];
}
