/*
 * The pure part of the deployment controller: given a deployment and its sets, how many replicas
 * each set should have now, and what the status is. Tested without a cluster.
 */
#pragma once

#include "controllers/objects.h"

struct rollout {
    const struct replica_set *current; /* has the deployment's template; NULL when there is none */
    const struct replica_set **old;    /* the others, oldest first; owned */
    size_t n_old;
};

int64_t rollout_wanted(const struct deployment *d); /* spec.replicas, 1 by default */
int64_t rollout_max_surge(const struct deployment *d);
int64_t rollout_max_unavailable(const struct deployment *d);
/* No pods wanted and none there. */
bool rollout_is_empty(const struct replica_set *rs);
/* Pods of old sets that are still there. */
int64_t rollout_old_pods(const struct rollout *r);
/* Old sets still have replicas. */
bool rollout_is_under_way(const struct deployment *d, const struct rollout *r);

/* What the current set (or one about to be made) should be scaled to in this step. */
int64_t rollout_new_replicas(const struct deployment *d, const struct rollout *r);
/* What each old set should be scaled to in this step: @replicas holds n_old values. */
void rollout_old_replicas(const struct deployment *d, const struct rollout *r, int64_t *replicas);

/* The status that should be there. @old: the one that is. @now: seconds. *look_again_ms: when the
 * progress deadline would pass, 0 when it cannot. New reference. */
json_t *rollout_status(const struct deployment *d, const struct rollout *r, const json_t *old,
                       int64_t now, int64_t *look_again_ms);
