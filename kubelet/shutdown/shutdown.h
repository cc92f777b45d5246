/*
 * Graceful shutdown of the node (KubeletConfiguration's shutdownGracePeriod…): before the machine
 * goes down its pods end, one group of priorities after the other, the lowest first, each with the
 * time that is configured for it. Meanwhile the node is not ready and no pod comes.
 *
 *   plan.c      KubeletConfiguration → groups; which group a pod is in
 *   shutdown.c  hears of the shutdown, ends the pods, lets the machine go down
 *
 * Where systemd-logind answers, the kubelet holds an inhibitor lock of it and hears from it;
 * SIGTERM then ends the kubelet alone, and pods run on. Where there is none, SIGTERM is what a
 * shutdown of the machine looks like: the pods end first.
 */
#pragma once

#include "kubelet/config/file.h"
#include "kubelet/kubelet.h"

#define SHUTDOWN_GROUPS_MAX 64

struct shutdown_group {
    int64_t priority; /* of its pods, or above, up to the next group's */
    int64_t seconds;  /* at most, until the next group's turn */
};
struct shutdown_plan {
    struct shutdown_group groups[SHUTDOWN_GROUPS_MAX]; /* by priority */
    size_t count;                                      /* 0: nothing is configured */
};

/* ---- plan.c: pure ---- */
/* -EINVAL with the field. */
int shutdown_plan_read(const struct kubelet_config *c, struct shutdown_plan *ret,
                       struct error *err);
/* Pods below all groups are in the first. */
size_t shutdown_plan_group(const struct shutdown_plan *p, int64_t priority);
int64_t shutdown_plan_seconds(const struct shutdown_plan *p); /* of all groups */

/* ---- shutdown.c ---- */
struct node_shutdown;
struct node;
/* @changed: k->shutting_down is another, later. NULL when the plan is empty. */
struct node_shutdown *node_shutdown_new(struct kubelet *k, const struct shutdown_plan *plan,
                                        const struct node *node, void (*changed)(void *arg),
                                        void *arg);
struct node_shutdown *node_shutdown_free(struct node_shutdown *s); /* returns NULL */
/* SIGTERM has come. True: @done will be called once the pods have ended; the kubelet goes on until
 * then. False, also for a NULL one: it may end now. */
bool node_shutdown_term(struct node_shutdown *s, void (*done)(void *arg), void *arg);
