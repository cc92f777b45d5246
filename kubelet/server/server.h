/*
 * The kubelet's HTTPS server: logs, exec, attach, port-forward, run, pods, configz; who may call it
 * is auth.h's business. Beside it, /healthz in plain text on an address of its own, for everybody.
 */
#pragma once

#include "kubelet/config/file.h"
#include "kubelet/pods.h"
#include "net/http_server.h"

struct kubelet_server;

/* @config belongs to the caller, for as long. */
int kubelet_server_new(struct kubelet *k, const struct kubelet_config *config,
                       struct kubelet_server **ret, struct error *err);
/* The node's addresses are others: the server's certificate has to be for them. */
void kubelet_server_readdress(struct kubelet_server *s);
struct kubelet_server *kubelet_server_free(struct kubelet_server *s); /* returns NULL */

/* The words of a request's path. */
#define ROUTE_WORDS_MAX 6
struct route {
    struct kubelet *k;
    const struct kubelet_config *config;
    const char *words[ROUTE_WORDS_MAX]; /* after the first */
    size_t count;
};
/* The worker and container that /x/{ns}/{pod}[/{uid}]/{container} names. Answers 404 itself and
 * returns NULL when there is none. */
struct container_slot *route_container(struct http_exchange *x, const struct route *r);
struct pod_worker *route_pod(struct http_exchange *x, const struct route *r);

/* Each takes the exchange over. */
void serve_logs(struct http_exchange *x, const struct route *r);
void serve_exec(struct http_exchange *x, const struct route *r);
void serve_attach(struct http_exchange *x, const struct route *r);
void serve_stats(struct http_exchange *x, const struct route *r);
void serve_metrics(struct http_exchange *x, const struct route *r);
void serve_port_forward(struct http_exchange *x, const struct route *r);
void serve_run(struct http_exchange *x, const struct route *r);
