/*
 * What the node, its pods and their containers use, for those who ask: /stats/summary and
 * /metrics/resource. Containers and pods' networks are the runtime's to tell; pods and the machine
 * are read from control groups. Nothing is gathered unless somebody asks.
 */
#pragma once

#include "base/cgroup.h"
#include "kubelet/kubelet.h"
#include "kubelet/stats/disk.h"
#include "kubelet/worker/worker.h"

struct stats;
struct stats *stats_new(struct kubelet *k);
struct stats *stats_free(struct stats *s); /* NULL is harmless; returns NULL */

/* What the runtime told. */
struct stats_found {
    const Runtime__V1__ListContainerStatsResponse *containers; /* NULL: it could not */
    const Runtime__V1__ListPodSandboxStatsResponse *sandboxes; /* NULL: it cannot, or could not */
};
struct stats_query;
/* Asks the runtime and, with @disks, has the disk usage of pods measured that was not for a minute.
 * @cb is called once, later; what it gets is valid until it returns. */
struct stats_query *stats_ask(struct stats *s, bool disks,
                              void (*cb)(void *arg, const struct stats_found *found), void *arg);
struct stats_query *stats_query_cancel(struct stats_query *q); /* NULL is harmless; returns NULL */

/* The disk usage of a pod as measured last; NULL when it was not. */
const struct pod_disk *stats_disk(const struct stats *s, const char *uid);
/* As cpu_rate_update(), of whatever @key names. */
bool stats_rate(struct stats *s, const char *key, int64_t at_ns, uint64_t usage_ns,
                uint64_t *ret_nano_cores);
/* The runtime's figures of a container; NULL when it has none. */
const Runtime__V1__ContainerStats *stats_of_run(const struct stats_found *f,
                                                const struct container_run *r);
/* A pod's own group; false where there is none. */
bool stats_of_pod(const struct stats *s, const struct pod_worker *w, struct cgroup_stats *ret);

/* ---- host.c ---- */

/* The machine as a whole: the root group, with what cgroup v2 does not tell of it from the kernel's
 * own counts. */
void host_stats(const struct kubelet *k, struct cgroup_stats *ret);

/* ---- summary.c: stats.k8s.io/v1alpha1 Summary ---- */
json_t *stats_summary(struct stats *s, const struct stats_found *f, bool only_cpu_and_memory);

/* ---- resource.c: Prometheus' text ---- */
/* What `kubectl top` lives on. */
void stats_resource_metrics(struct stats *s, const struct stats_found *f, struct strbuf *out);
/* Results of probes. */
void stats_probe_metrics(const struct kubelet *k, struct strbuf *out);
/* The kubelet's own: pods, containers, evictions, calls of the runtime, volumes. */
void stats_kubelet_metrics(const struct stats *s, struct strbuf *out);

/* For the two above. */
struct kubelet *stats_kubelet(const struct stats *s);
