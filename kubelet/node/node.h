/*
 * This node in the API: registration, status when something changed (and every 5 minutes), the
 * Lease every 10 s. And, with or without an API, whether the runtime is ready.
 */
#pragma once

#include "kubelet/config/file.h"
#include "kubelet/kubelet.h"
#include "kubelet/node/threshold.h"

struct node;

/* Begins asking the runtime at once; with an API, registers as soon as it answers. @ready is
 * called, later, when the runtime becomes ready for the first time. */
struct node *node_new(struct kubelet *k, void (*ready)(void *arg), void *arg);
/* What the status is made of has changed. */
void node_update(struct node *n);
/* The API has the status as it is, or there is none to tell. */
bool node_is_current(const struct node *n);
struct node *node_free(struct node *n); /* returns NULL */

/* ---- facts.c: what the machine is ---- */
/* A line of /proc/meminfo in bytes; 0 when there is none. */
int64_t node_meminfo(const char *name);
/* @max_pods 0: as many as upstream's default. */
void node_read_capacity(struct kubelet *k, int64_t max_pods);
/* status.nodeInfo; the runtime's version is "" while it is not known. */
json_t *node_info(const char *runtime_version);
/* The names of this architecture and machine as Kubernetes writes them ("amd64"). */
const char *node_architecture(void);
/* The address of the interface with the default route; NULL when there is none. Caller frees. */
char *node_default_address(void);
json_t *node_resources(const struct node_capacity *c);

/* ---- reserve.c ---- */

/* What pods together may use (*ret_pods: capacity less kubeReserved and systemReserved) and what
 * they may ask for (*ret: also less evictionHard). -EINVAL with the field for a wrong quantity and
 * when more is reserved than there is. */
int node_allocatable(const struct node_capacity *capacity, const struct kubelet_config *c,
                     struct node_capacity *ret_pods, struct node_capacity *ret, struct error *err);

/* ---- lease.c ---- */
struct node_lease;
struct node_lease *node_lease_new(struct kubelet *k);
struct node_lease *node_lease_free(struct node_lease *l); /* returns NULL */
/* The Node is registered: begin (or go on) with its uid as owner. */
void node_lease_start(struct node_lease *l, const char *node_uid);
