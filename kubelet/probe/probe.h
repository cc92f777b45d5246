/*
 * Probes of one running container: exec through the runtime, http, tcp and grpc from here, none
 * with a thread or process of its own. Startup first; liveness and readiness once it has succeeded.
 */
#pragma once

#include "kubelet/kubelet.h"

enum probe_kind { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, PROBE_KINDS };

const char *probe_name(enum probe_kind kind); /* "Startup", … */

/* How often probes went well and not, of a container in all its runs. */
struct probe_totals {
    uint64_t ok[PROBE_KINDS], failed[PROBE_KINDS];
};

struct probe_target {
    const struct pod *pod;
    const struct container_spec *container;
    const char *container_id;
    const char *pod_ip;
    int64_t started; /* nanoseconds since the epoch: initial delays count from here */
    /* What was known before a restart of the kubelet. */
    bool was_started, was_ready;
    struct probe_totals *totals; /* are counted up; NULL: nobody wants them */
};
struct probe_set;

/* @changed is called, later, when a threshold has been crossed: @ok says to which side. A failed
 * startup or liveness probe is told once; the container is then to be killed. */
struct probe_set *probe_set_new(struct kubelet *k, const struct probe_target *target,
                                void (*changed)(void *arg, enum probe_kind kind, bool ok),
                                void *arg);
struct probe_set *probe_set_free(struct probe_set *s); /* NULL is harmless; returns NULL */
/* No startup probe, or it has succeeded. */
bool probe_set_started(const struct probe_set *s);
/* No readiness probe, or it succeeds. */
bool probe_set_ready(const struct probe_set *s);

/* ---- threshold.c: pure ---- */
struct probe_counter {
    int32_t successes, failures; /* in a row */
    bool ok;                     /* the side it is on */
};
/* Counts one result; returns true when the side has changed. */
bool probe_count(struct probe_counter *c, const struct probe_spec *spec, bool success);
/* The port number of @port, by name among the container's when it is text; 0 when there is none. */
uint16_t probe_port(const struct container_spec *c, const struct int_or_string *port);

/* ---- action.c: one try ---- */
struct probe_try;
/* @cb is called once, later: @ok, and a text for people when it is not. */
struct probe_try *probe_try_start(struct kubelet *k, const struct probe_target *target,
                                  const struct probe_spec *spec,
                                  void (*cb)(void *arg, bool ok, const char *text), void *arg);
struct probe_try *probe_try_cancel(struct probe_try *t); /* NULL is harmless; returns NULL */
