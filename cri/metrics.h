/*
 * The CRI's metrics: what cAdvisor reports of containers, under its names and with its labels, so
 * that a kubelet that takes them from the runtime shows the same families. Counters of seconds have
 * whole seconds, because the protocol has whole numbers.
 */
#pragma once

#include "cri/stats.h"

#define METRIC_EXTRA_LABELS 2

enum metric {
    METRIC_LAST_SEEN,
    METRIC_START_TIME,
    METRIC_CPU_USAGE,
    METRIC_CPU_USER,
    METRIC_CPU_SYSTEM,
    METRIC_CPU_PERIODS,
    METRIC_CPU_THROTTLED_PERIODS,
    METRIC_CPU_THROTTLED_SECONDS,
    METRIC_MEMORY_USAGE,
    METRIC_MEMORY_MAX_USAGE,
    METRIC_MEMORY_WORKING_SET,
    METRIC_MEMORY_RSS,
    METRIC_MEMORY_CACHE,
    METRIC_MEMORY_MAPPED_FILE,
    METRIC_MEMORY_KERNEL,
    METRIC_MEMORY_ACTIVE_FILE,
    METRIC_MEMORY_INACTIVE_FILE,
    METRIC_MEMORY_SWAP,
    METRIC_MEMORY_FAILCNT,
    METRIC_MEMORY_FAILURES,
    METRIC_OOM_EVENTS,
    METRIC_PROCESSES,
    METRIC_THREADS,
    METRIC_THREADS_MAX,
    METRIC_FS_USAGE,
    METRIC_FS_LIMIT,
    METRIC_FS_INODES_TOTAL,
    METRIC_FS_INODES_FREE,
    METRIC_FS_READ_BYTES,
    METRIC_FS_READS,
    METRIC_FS_WRITTEN_BYTES,
    METRIC_FS_WRITES,
    METRIC_NETWORK_RX_BYTES,
    METRIC_NETWORK_RX_PACKETS,
    METRIC_NETWORK_RX_DROPPED,
    METRIC_NETWORK_RX_ERRORS,
    METRIC_NETWORK_TX_BYTES,
    METRIC_NETWORK_TX_PACKETS,
    METRIC_NETWORK_TX_DROPPED,
    METRIC_NETWORK_TX_ERRORS,
    METRIC_PRESSURE_CPU_STALLED,
    METRIC_PRESSURE_CPU_WAITING,
    METRIC_PRESSURE_MEMORY_STALLED,
    METRIC_PRESSURE_MEMORY_WAITING,
    METRIC_PRESSURE_IO_STALLED,
    METRIC_PRESSURE_IO_WAITING,
    METRIC_SPEC_CPU_PERIOD,
    METRIC_SPEC_CPU_QUOTA,
    METRIC_SPEC_CPU_SHARES,
    METRIC_SPEC_MEMORY_LIMIT,
    METRIC_SPEC_MEMORY_SWAP_LIMIT,
    N_METRICS,
};

struct metric_def {
    const char *name, *help;
    const char *extra[METRIC_EXTRA_LABELS]; /* labels besides those that all have; NULL: none */
    bool gauge;                             /* else a counter */
};
extern const struct metric_def metric_defs[N_METRICS]; /* metrics_table.c */

Runtime__V1__MetricDescriptor **metrics_descriptors(struct arena *a, size_t *ret_n);
/* @s was taken with details. */
Runtime__V1__PodSandboxMetrics *metrics_of_sandbox(struct arena *a, const struct stats_snapshot *s,
                                                   struct sandbox *sandbox);
