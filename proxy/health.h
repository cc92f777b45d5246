/*
 * What load balancers and people ask over HTTP: /healthz and /livez (whether this node programs
 * services and is going to stay), a port per service with healthCheckNodePort (how many endpoints
 * of it are here), and /metrics, /proxyMode and /services/NAMESPACE/NAME on the metrics address.
 */
#pragma once

#include "base/json.h"
#include "base/loop.h"
#include "proxy/metrics.h"
#include "proxy/proxier.h"

struct health;

struct health_config {
    const char *mode;
    const char *healthz_host, *metrics_host;
    int healthz_port, metrics_port; /* 0: off */
    bool hard_fail;                 /* a port in use is an error; else it is logged */
    uint64_t late_ms;               /* a change that waits longer makes the node unhealthy */
    struct proxy_metrics *metrics;
    struct proxier *const *proxiers; /* looked at when somebody asks */
    size_t n_proxiers;
    const struct addresses *addresses; /* service ports listen on those of node ports */
    /* What is to be told of a service; NULL: there is none of that name. */
    json_t *(*describe)(void *arg, const char *key);
    /* A service's port cannot be listened on. */
    void (*failed)(void *arg, const char *key, int port, const char *error);
    void *arg;
};

/* Strings and pointers must stay valid. 0 or -errno. */
int health_new(struct health **ret, struct loop *loop, const struct health_config *config,
               struct error *err);
struct health *health_free(struct health *h); /* NULL is harmless; returns NULL */
/* Whether the node exists and is not about to be taken away. */
void health_set_node(struct health *h, bool eligible);
/* The service is to be served on @port (0: no longer) with @endpoints on this node. */
void health_set_service(struct health *h, const char *key, uint16_t port, size_t endpoints);
/* The addresses of node ports are others: listens there. */
void health_addresses_changed(struct health *h);
