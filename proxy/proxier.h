/*
 * Keeps one address family programmed: gathers changes of the plan, tells a back end, tries again
 * with back-off when that failed, and knows how far it has come. Everything here is the same in
 * every mode.
 */
#pragma once

#include "proxy/backend.h"
#include "proxy/metrics.h"

struct proxier;

struct proxier_config {
    const struct backend_ops *ops;
    struct backend_config backend; /* done, disturbed and arg are the proxier's */
    const struct plan *plan;
    uint64_t min_sync_ms; /* at least this between runs (two may follow each other at once) */
    uint64_t check_ms;    /* how often the back end's check() is called, where it has to be */
    struct proxy_metrics *metrics;
    /* After each run. @error NULL: everything is programmed. */
    void (*synced)(void *arg, const char *error);
    /* @old has been replaced by @now in the kernel: flows that go elsewhere are stale. Called for
     * each service, then once with both NULL: the end of the run. */
    void (*replaced)(void *arg, int family, const struct plan_service *old,
                     const struct plan_service *now);
    void *arg;
};

/* Makes the back end. @config is copied, what it points to is not. 0 or -errno. */
int proxier_new(struct proxier **ret, struct loop *loop, const struct proxier_config *config,
                struct error *err);
struct proxier *proxier_free(struct proxier *p); /* what is programmed stays; returns NULL */

/* The input is complete: begins with what is in the kernel. */
void proxier_start(struct proxier *p);
/* The plan has another result for this service. @trigger: when that began, in nanoseconds since the
 * epoch; 0: unknown. */
void proxier_change(struct proxier *p, const char *key, int64_t trigger);
/* The node's addresses are others. */
void proxier_addresses_changed(struct proxier *p);
/* This node's own address and the range of its pods, as the Node object has them. */
void proxier_set_node(struct proxier *p, const struct ip_addr *ip, const struct local_traffic *l);

struct proxier_health {
    int64_t updated;   /* when everything was programmed last (seconds since the epoch), 0: never */
    uint64_t late_ms;  /* for how long the oldest change has been waiting */
    const char *error; /* of the last run; NULL */
};
void proxier_health(const struct proxier *p, struct proxier_health *ret);
/* Whether nothing is under way or waiting. */
bool proxier_is_settled(const struct proxier *p);
int proxier_family(const struct proxier *p);
/* What is programmed for a service; NULL: nothing. */
const struct plan_service *proxier_installed(const struct proxier *p, const char *key);
