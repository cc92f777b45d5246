/*
 * What is left of each resource. Memory as upstream counts it: all of it less what is in use and
 * cannot be given back at once, by the root group's figures where it has some (cgroup v1), else by
 * the kernel's for the whole machine, which on cgroup v2 are the same. See eviction.h.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "kubelet/cgroups.h"
#include "kubelet/eviction/eviction.h"
#include "kubelet/stats/stats.h"

static void observe_memory(const struct kubelet *k, struct observation *ret)
{
    struct cgroup_stats host;
    int64_t total = k->capacity.memory;
    host_stats(k, &host);
    int64_t available = total - (int64_t)host.memory_working_set;
    *ret = (struct observation){
        .available = available > 0 ? available : 0, .capacity = total, .known = host.has_memory};
}

/* Of all pods together, where they are limited. */
static void observe_pods(const struct kubelet *k, struct observation *ret)
{
    struct cgroup_stats s;
    if (cgroup_stats(pod_cgroups_host(k->cgroups), pod_cgroups_top(k->cgroups), &s, NULL) < 0 ||
        !s.has_memory || s.memory_limit > (uint64_t)k->capacity.memory)
        return;
    uint64_t used = s.memory_working_set;
    *ret = (struct observation){.available =
                                    (int64_t)(s.memory_limit > used ? s.memory_limit - used : 0),
                                .capacity = (int64_t)s.memory_limit,
                                .known = true};
}

static void observe_disk(const char *dir, struct observation *bytes, struct observation *inodes)
{
    struct statvfs fs;
    if (!dir || statvfs(dir, &fs) < 0 || !fs.f_blocks)
        return;
    *bytes = (struct observation){.available = (int64_t)(fs.f_bavail * fs.f_frsize),
                                  .capacity = (int64_t)(fs.f_blocks * fs.f_frsize),
                                  .known = true};
    if (fs.f_files) /* some file systems have as many as fit */
        *inodes = (struct observation){
            .available = (int64_t)fs.f_ffree, .capacity = (int64_t)fs.f_files, .known = true};
}

static int64_t read_number(const char *path, size_t skip_slash)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (fs_read(path, 4096, &text, NULL) < 0)
        return 0;
    const char *p = strbuf_text(&text);
    if (skip_slash) /* "0.00 0.01 0.05 1/234 5678": tasks are behind the slash */
        p = strchr(p, '/');
    return p ? strtoll(p + skip_slash, NULL, 10) : 0;
}

static void observe_pids(struct observation *ret)
{
    int64_t most = read_number("/proc/sys/kernel/pid_max", 0);
    int64_t tasks = read_number("/proc/loadavg", 1);
    *ret = (struct observation){
        .available = most > tasks ? most - tasks : 0, .capacity = most, .known = most && tasks};
}

void eviction_observe(const struct kubelet *k, const char *image_dir, struct observation *ret)
{
    memset(ret, 0, EVICTION_SIGNALS * sizeof(*ret));
    observe_memory(k, &ret[SIGNAL_MEMORY]);
    observe_pods(k, &ret[SIGNAL_ALLOCATABLE_MEMORY]);
    observe_disk(k->pods_dir, &ret[SIGNAL_NODEFS], &ret[SIGNAL_NODEFS_INODES]);
    observe_disk(image_dir, &ret[SIGNAL_IMAGEFS], &ret[SIGNAL_IMAGEFS_INODES]);
    observe_pids(&ret[SIGNAL_PID]);
}

bool eviction_images_apart(const struct kubelet *k, const char *image_dir)
{
    struct stat a, b;
    return image_dir && !stat(k->pods_dir, &a) && !stat(image_dir, &b) && a.st_dev != b.st_dev;
}
