/*
 * Cluster IPs and node ports of Services.
 *
 * In the store, as upstream keeps them: an IPAddress object for each cluster IP
 * (/registry/ipaddresses/10.96.0.10) and one bitmap of all node ports
 * (/registry/ranges/servicenodeports). Both change in the transaction that writes the Service:
 * nothing is leaked by a crash, and no two servers give the same number out. What is kept in memory
 * only tells where it is worth trying.
 */
#pragma once

#include "apiserver/store/plan.h"
#include "apiserver/ranges.h"
#include "apiserver/server.h"

struct allocations {
    struct number_range ips;
    struct number_range ports;
    int64_t ports_revision; /* of the bitmap; 0: not known */
    char *ip_cidr;          /* for texts; owned */
};
/* Parses the two flags. 0 or -EINVAL. */
int allocations_init(struct allocations *a, const char *ip_cidr, const char *port_range,
                     struct error *err);
void allocations_done(struct allocations *a);

/* The first address of the range: the Service "kubernetes". */
uint32_t allocations_first_ip(const struct allocations *a);

/* Plans what the step from @old to @next (either may be NULL) takes and gives back, and fills in
 * what @next leaves open. NULL, or a new Status. */
json_t *service_plan(struct apiserver *srv, const json_t *old, json_t *next, struct plan *plan);

/* After a transaction was done or refused: what it says about ranges. For every plan. */
void service_committed(struct apiserver *srv, const struct plan *plan, int64_t revision);
void service_conflicted(struct apiserver *srv, const struct plan *plan);

/* Makes the ranges in the store agree with the Services in the watch cache, and learns what is
 * taken: once, at the start. @done is called once with 0 or -errno; the handle is valid until
 * then. */
struct repair;
typedef void service_repair_fn(void *arg, int code, const struct error *err);
struct repair *service_repair(struct apiserver *srv, service_repair_fn *done, void *arg);
struct repair *service_repair_cancel(struct repair *repair); /* no callback; returns NULL */
