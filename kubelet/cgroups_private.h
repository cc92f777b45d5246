/* What the two drivers of pods' cgroups share; only for kubelet/cgroups*.c. */
#pragma once

#include "base/list.h"
#include "base/systemd.h"
#include "kubelet/cgroups.h"

enum cgroup_driver { DRIVER_UNKNOWN, DRIVER_CGROUPFS, DRIVER_SYSTEMD };

struct pod_cgroups {
    struct cgroups *host;
    enum cgroup_driver driver;
    char *prefix;             /* "/kubepods" below --cgroup-root */
    char *top;                /* its group; NULL until the driver is known */
    struct cgroup_limits all; /* of the pods together */
    int64_t pids, burstable;  /* limit of a pod's tasks; shares that are set */
    char *path;               /* of the last pod_cgroups_path() */
    /* systemd's */
    struct loop *loop;
    char *socket; /* NULL: systemd's own */
    struct systemd *systemd;
    struct list slices; /* struct slice_op: under way, or to be picked up */
};

/* ---- cgroups_systemd.c ---- */
int slices_open(struct pod_cgroups *c, struct error *err);
void slices_close(struct pod_cgroups *c);
/* As pod_cgroups_ensure() and pod_cgroups_remove(), of the group of a slice; without @done what
 * fails later is logged. */
int slice_apply(struct pod_cgroups *c, const char *group, const struct cgroup_limits *limits,
                void (*done)(void *arg), void *arg, struct error *err);
int slice_remove(struct pod_cgroups *c, const char *group, void (*done)(void *arg), void *arg,
                 struct error *err);
void slices_forget(struct pod_cgroups *c, const void *arg);
