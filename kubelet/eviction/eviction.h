/*
 * Eviction: before the node runs out of memory, disk or process ids, pods go, those first that use
 * more than they asked for.
 *
 *   policy.c   KubeletConfiguration → thresholds, with how long each has to be met
 *   observe.c  what is left of each resource
 *   decide.c   thresholds, what is left, the time → the node's conditions and what to act on
 *   rank.c     who goes first, and the words it is told in
 *   eviction.c the acting: reclaims disk, looks at the pods, ends one at a time
 *
 * Nothing but a few small files and statvfs(2) is read while there is enough of everything.
 */
#pragma once

#include "kubelet/config/file.h"
#include "kubelet/kubelet.h"
#include "kubelet/node/threshold.h"
#include "kubelet/stats/disk.h"

struct eviction;

/* ---- policy.c ---- */
struct eviction_threshold {
    enum eviction_signal signal;
    struct threshold at, reclaim; /* once acted on, this much more has to be free */
    uint64_t grace_ms;            /* how long it has to be met; 0: a hard one */
};
#define EVICTION_THRESHOLDS_MAX (2 * EVICTION_SIGNALS + 1)
struct eviction_policy {
    struct eviction_threshold list[EVICTION_THRESHOLDS_MAX];
    size_t count;
    uint64_t transition_ms; /* a condition holds so long after it was last observed */
    int64_t max_grace;      /* seconds a pod gets at a soft threshold; 0: what it asks for */
};
/* -EINVAL with the field. */
int eviction_policy_read(const struct kubelet_config *c, struct eviction_policy *ret,
                         struct error *err);

/* ---- observe.c ---- */
struct observation {
    int64_t available, capacity;
    bool known;
};
/* Fills @ret (EVICTION_SIGNALS items). @image_dir: where the runtime keeps images, NULL while that
 * is not known. */
void eviction_observe(const struct kubelet *k, const char *image_dir, struct observation *ret);
/* Whether images have a disk of their own. */
bool eviction_images_apart(const struct kubelet *k, const char *image_dir);

/* ---- decide.c: pure ---- */
enum pressure { PRESSURE_MEMORY, PRESSURE_DISK, PRESSURE_PID, PRESSURES };
struct eviction_state {
    uint64_t met_since[EVICTION_THRESHOLDS_MAX]; /* ms; 0: not met */
    bool due[EVICTION_THRESHOLDS_MAX];           /* met for as long as it takes */
    uint64_t observed[PRESSURES];                /* ms, last; 0: never */
    bool on[PRESSURES];
};
/* @now: ms, above 0. */
void eviction_decide(struct eviction_state *s, const struct eviction_policy *p,
                     const struct observation *o, uint64_t now);
/* What to act on first: memory before all others. NULL: nothing is due. */
const struct eviction_threshold *eviction_first(const struct eviction_state *s,
                                                const struct eviction_policy *p);
/* Whether memory comes near a threshold, so that looking more often is worth it, or one is met. */
bool eviction_is_close(const struct eviction_state *s, const struct eviction_policy *p,
                       const struct observation *o);
/* The resource behind a signal as upstream names it: "memory", "ephemeral-storage", … */
const char *eviction_resource(enum eviction_signal s);

/* ---- rank.c: pure ---- */
struct eviction_candidate {
    const struct pod *pod;
    int64_t usage, request; /* of the resource */
    bool known;             /* else they are not, and the pod goes first */
};
/* Sorts: who goes first comes first. By what they use above their request, for process ids by what
 * they use. */
void eviction_rank(struct eviction_candidate *list, size_t n, enum eviction_signal signal);
/* Whether a pod may come while the node has these conditions; else *ret_text says why not (the
 * caller frees). */
bool eviction_lets_in(const struct pod *pod, const bool on[PRESSURES], char **ret_text);
/* Upstream's message. @usage: of each container, of the resource; -1 where it is not known. The
 * caller frees. */
char *eviction_message(const struct eviction_threshold *t, const struct observation *o,
                       const struct pod *pod, const int64_t *usage);

/* ---- eviction.c ---- */

/* @changed is called, later, when a condition has changed. The first look is at once. */
struct eviction *eviction_new(struct kubelet *k, const struct eviction_policy *policy,
                              void (*changed)(void *arg), void *arg);
struct eviction *eviction_free(struct eviction *e); /* NULL is harmless; returns NULL */
/* False for a NULL one. */
bool eviction_has(const struct eviction *e, enum pressure p);
/* How many pods were evicted for want of this. 0 for a NULL one. */
uint64_t eviction_count(const struct eviction *e, enum eviction_signal s);
/* Where the runtime keeps images; NULL while that is not known. */
const char *eviction_image_dir(const struct eviction *e);
/* As eviction_lets_in(), of now. A NULL one lets everybody in. */
bool eviction_admits(const struct eviction *e, const struct pod *pod, char **ret_text);
