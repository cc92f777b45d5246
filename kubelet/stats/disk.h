/*
 * What a pod takes of the node's disk: the writable layers of its containers, as the runtime counts
 * them, their logs and its volumes, as coracle-tree does. A look takes as long as the trees are
 * large, so nobody looks without a reason: a limit, a disk that is full, somebody who asks.
 */
#pragma once

#include "kubelet/volume/volume.h"

struct disk_use {
    uint64_t bytes, inodes;
    bool known;
};
struct container_disk {
    struct disk_use layer, logs;
};
/* Containers and volumes are in the order of the pod (pod_container_at(), spec.volumes). */
struct pod_disk {
    const struct container_disk *containers;
    const struct disk_use *volumes;
    size_t n_containers, n_volumes;
};

struct disk_look;
/* Looks once. @volumes may be NULL: none are set up. @cb is called once, later; what could not be
 * seen is not known. Never fails otherwise. */
struct disk_look *disk_look_new(struct kubelet *k, struct pod *pod,
                                const struct volume_set *volumes,
                                void (*cb)(void *arg, const struct pod_disk *disk), void *arg);
/* The callback is not called. NULL is harmless; returns NULL. */
struct disk_look *disk_look_cancel(struct disk_look *l);
/* Whether a volume's files count as the pod's share of the node's disk: emptyDirs that are not in
 * memory, and configMaps. */
bool disk_is_local(const struct volume_spec *v);
/* Layers, logs and local volumes together; unknown parts are 0, and it is known when one is. */
struct disk_use disk_total(const struct pod *pod, const struct pod_disk *d);

/* ---- limits.c: sizeLimit of emptyDirs, limits of ephemeral-storage ---- */
struct disk_limits;
/* Looks every @period_ms at a pod that has such limits; NULL when it has none. @over is called,
 * later and once, with upstream's text when one is exceeded. To be freed before the set. */
struct disk_limits *disk_limits_new(struct volume_set *s, uint64_t period_ms,
                                    void (*over)(void *arg, const char *text), void *arg);
struct disk_limits *disk_limits_free(struct disk_limits *l); /* returns NULL */
/* The first limit of the pod that @d is over, as text for people; NULL when there is none. The
 * caller frees. */
char *disk_limits_check(const struct pod *pod, const struct pod_disk *d);
