/*
 * Statistics, read when they are asked for: a snapshot of some containers' and pods' groups, taken
 * on a helper thread (reading a group's memory makes the kernel add up, which takes its time),
 * together with what is known of the writable layers.
 */
#pragma once

#include "cri/container.h"

struct stats_snapshot;

struct stats_group {
    char id[CONTAINER_ID_LEN + 1]; /* of the container or sandbox */
    char *cgroup;
    bool there; /* else what follows is not set */
    int64_t at_ns;
    struct cgroup_stats stats;
    /* With details only: */
    struct cgroup_details details;
    uint64_t oom_kills;
    struct cgroup_io *io;
    size_t n_io;
    bool waits; /* for a look at its layer */
};

/* @call is whom it is for. Nothing is read yet. */
struct stats_snapshot *stats_new(struct runtime *rt, struct rpc_server_call *call, bool details);
/* A container, or a sandbox with the containers that run in it. */
void stats_add_container(struct stats_snapshot *s, struct container *container);
void stats_add_sandbox(struct stats_snapshot *s, struct sandbox *sandbox);
/* Reads; @done answers the call, after which the snapshot is gone. Looks at layers that take long
 * are not waited for: what was known before counts, or nothing. */
void stats_take(struct stats_snapshot *s,
                void (*done)(struct stats_snapshot *s, struct rpc_server_call *call));

/* In @done. What was added, in that order, as far as it is still here; NULL at the end. */
struct container *stats_next_container(const struct stats_snapshot *s, size_t *at);
struct sandbox *stats_next_sandbox(const struct stats_snapshot *s, size_t *at);
struct runtime *stats_runtime(const struct stats_snapshot *s);
/* What was read of a container or sandbox; NULL when its group was not there. */
const struct stats_group *stats_of(const struct stats_snapshot *s, const char *id);

/* A look at a container's layer is over (layer_usage.h). */
void stats_layer_known(struct runtime *rt, const char *container);
/* The daemon ends: calls that wait are answered with UNAVAILABLE. */
void stats_drop(struct runtime *rt);
