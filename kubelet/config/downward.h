/* The downward API: fields and resources of a pod as text, for variables and for volumes. */
#pragma once

#include "kubelet/pod/pod.h"

/* What a node has, or may give to pods. */
struct node_capacity {
    int64_t cpu_milli, memory, ephemeral, pods;
};

/* What is known beside the object. */
struct downward_context {
    const char *node_name;
    const char *host_ips;       /* separated by commas, the first is status.hostIP */
    const char *pod_ips;        /* "" while unknown; the host's in its network */
    struct node_capacity limit; /* allocatable: what a missing limit means */
};

/* The value of "metadata.name", "metadata.labels", "metadata.labels['app']", … The caller frees.
 * NULL and @err for another path. */
char *downward_metadata(const struct pod *pod, const char *path, struct error *err);
/* As downward_metadata(), and spec.nodeName, spec.serviceAccountName, status.podIP, status.podIPs,
 * status.hostIP, status.hostIPs: what variables may have besides. */
char *downward_field(const struct pod *pod, const struct downward_context *ctx, const char *path,
                     struct error *err);
/* The value of "limits.cpu", "requests.memory", … in units of @r->divisor, rounded up.
 * @container is the one meant when @r names none; NULL when there is no such. The caller frees. */
char *downward_resource(const struct pod *pod, const struct downward_context *ctx,
                        const struct container_spec *container,
                        const struct resource_field_selector *r, struct error *err);
