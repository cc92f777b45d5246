/* What the files of the plan share. */
#pragma once

#include "base/map.h"
#include "proxy/claims.h"
#include "proxy/objects.h"
#include "proxy/plan.h"

/* A service with what belongs to it. It exists while it has an object, slices or a result. */
struct plan_entry {
    char *key;
    struct service *service; /* NULL: none that we serve */
    struct map slices;       /* slice key → struct slice */
    struct plan_service *result;
};

struct plan {
    struct plan_config config;
    char *node, *proxy_name, *zone;
    struct map entries;  /* service key → struct plan_entry */
    struct map slice_of; /* slice key → service key */
    struct map results;  /* service key → struct plan_service (borrowed from its entry) */
    struct map dirty;    /* service keys */
    struct claims *claims;
};

/* Computes what is to be programmed for an entry that has a service. Never NULL. */
struct plan_service *plan_compute(const struct plan *p, const struct plan_entry *e);
bool plan_service_equal(const struct plan_service *a, const struct plan_service *b);

/* Says what of the service is not served. */
void plan_problem(struct plan_service *s, const char *fmt, ...) _printf_(2, 3);

/* Fills @port's endpoints from the entry's slices. @name: the service port's, "" when it has none.
 * Adds addresses of ready local endpoints to @ready. */
void plan_endpoints(const struct plan *p, const struct plan_entry *e, const char *name,
                    struct plan_port *port, struct map *ready);
/* The number that the slice has for a service port; 0: it has none of this name and protocol. */
int plan_slice_port(const struct slice *s, const char *name, int protocol);
/* IPPROTO_* of "TCP" and so on; NULL and "" are TCP; 0 for anything else. */
int plan_protocol(const char *name);
/* Whether an address can be an endpoint's: not unspecified, loopback, link-local or multicast. */
bool plan_endpoint_address_ok(const struct ip_addr *a);
/* "10.0.0.1 port 80/tcp", "node port 30080/tcp": what can belong to one service only. @buf:
 * CLAIM_MAX. */
void plan_claim_address(const struct ip_addr *ip, int protocol, int port, char *buf);
void plan_claim_node_port(int protocol, int port, char *buf);
/* What the service claims; the caller clears the map. */
void plan_claims_of(const struct service *s, struct map *ret);
