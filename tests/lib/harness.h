/*
 * An API server over the in-memory store, spoken to by HTTP through a socket pair: for unit tests
 * and fuzzing. No TLS, no etcd, no time passes.
 */
#pragma once

#include "apiserver/auth/accounts.h"
#include "apiserver/server.h"
#include "apiserver/service.h"

struct harness {
    struct apiserver srv;
    struct allocations allocations;
    struct accounts_options accounts; /* no issuer: no tokens */
    struct option_list modes;         /* none: everything is allowed */
    struct http_server *http;
};

/* @cidr: the cluster IPs. With the namespace "default" and its account. */
struct harness *harness_new(const char *cidr);
struct harness *harness_free(struct harness *h); /* returns NULL */

/* Sends one request and returns the status code, 0 when there is none within @turns turns of the
 * loop (a watch goes on); *ret_body (may be NULL) is the body as far as it came. */
int harness_request(struct harness *h, const char *method, const char *path,
                    const char *content_type, const void *body, size_t len, int turns,
                    struct strbuf *ret_body);
/* As harness_request() with JSON text (NULL: no body); the answer parsed, NULL when it is no JSON.
 */
json_t *harness_json(struct harness *h, const char *method, const char *path, const char *body);
