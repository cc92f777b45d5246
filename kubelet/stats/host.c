/* The machine's own figures; see stats.h. */
#include "kubelet/cgroups.h"
#include "kubelet/node/node.h"
#include "kubelet/stats/stats.h"

void host_stats(const struct kubelet *k, struct cgroup_stats *ret)
{
    struct cgroup_stats s = {.has_memory = false};
    (void)cgroup_stats(pod_cgroups_host(k->cgroups), "/", &s, NULL);
    if (!s.has_memory) {
        uint64_t used = (uint64_t)(node_meminfo("MemTotal") - node_meminfo("MemFree"));
        uint64_t inactive = (uint64_t)node_meminfo("Inactive(file)");
        s.has_memory = used > 0;
        s.memory_usage = used;
        s.memory_working_set = used > inactive ? used - inactive : 0;
        s.memory_rss = (uint64_t)node_meminfo("AnonPages");
    }
    s.memory_limit = (uint64_t)k->capacity.memory;
    s.swap_limit = (uint64_t)node_meminfo("SwapTotal");
    s.swap_usage = s.swap_limit - (uint64_t)node_meminfo("SwapFree");
    s.has_swap = true;
    *ret = s;
}
