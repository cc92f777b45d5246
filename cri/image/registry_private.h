/* What registry.c (requests) and token.c (the token service) share. */
#pragma once

#include "cri/image/challenge.h"
#include "cri/image/registry.h"

struct registry {
    struct loop *loop;
    struct http_client *http;
    bool plain;       /* HTTP, not HTTPS */
    char *base;       /* "https://host:port" */
    char *prefix;     /* "/v2" */
    char *repository; /* "library/nginx" */
    bool has_tls;
    struct tls_client_config tls; /* its strings are the three below */
    char *ca_file, *cert_file, *key_file;
    char *identity_token; /* NULL: none */
    char *basic;          /* base64 of "username:password"; NULL: none */
    char *authorization;  /* the field's value that works, NULL until known */
};

struct registry_get {
    struct registry *registry;
    struct registry_ops ops;
    void *arg;
    char *url, *accept, *next;
    uint64_t offset;
    struct http_call *call;
    struct loop_deferred again; /* sends the call from the loop */
    struct loop_timer later;    /* sends it when a busy registry said that it may */
    int status, redirects, waits;
    uint64_t retry_after_ms; /* 0: it said nothing */
    bool authenticated;
    struct challenge challenge;
    struct strbuf body; /* of an answer that is an error */
    struct error failure;
};

/* Asks the token service that g->challenge names, then goes on with registry_continue(). 0, or
 * -errno when there is nobody to ask. */
int registry_fetch_token(struct registry_get *g, struct error *err);
/* Sends the request (again), or ends it with @err. */
void registry_continue(struct registry_get *g, const struct error *err);
/* The error for an answer that is none of 200, 206. */
int registry_status_error(const char *url, int status, const struct strbuf *body, bool had_auth,
                          struct error *err);
/* Base64 (RFC 4648 section 4). The caller frees. */
char *base64_text(const char *text);
