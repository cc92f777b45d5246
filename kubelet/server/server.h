/*
 * The kubelet's HTTPS server: logs, exec, attach, port-forward, pods. Everything but /healthz
 * needs a client certificate that verifies against --client-ca-file.
 */
#pragma once

#include "kubelet/pods.h"
#include "net/http_server.h"

struct kubelet_server;

struct kubelet_server_options {
    const char *address;
    uint16_t port;
    const char *cert_file, *key_file; /* NULL: self-signed, kept below /var/lib/kubelet/pki */
    const char *client_ca_file;       /* NULL: nobody is let in */
};

int kubelet_server_new(struct kubelet *k, const struct kubelet_server_options *options,
                       struct kubelet_server **ret, struct error *err);
struct kubelet_server *kubelet_server_free(struct kubelet_server *s); /* returns NULL */

/* The words of a request's path. */
#define ROUTE_WORDS_MAX 6
struct route {
    struct kubelet *k;
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
