/*
 * Requests to one repository of a registry (OCI distribution specification 1.1), with what
 * registries ask for around them: token and basic authentication, redirects to storage.
 *
 * Credentials go to the registry's own host and to the token service that it names, over TLS unless
 * the registry itself is spoken to in the clear; a redirect elsewhere goes without them.
 */
#pragma once

#include "base/options.h"
#include "net/http_client.h"

/* Credentials as in the CRI's AuthConfig. Any may be NULL or "". */
struct registry_auth {
    const char *username, *password;
    const char *encoded;        /* base64 of "username:password" */
    const char *identity_token; /* an OAuth2 refresh token */
    const char *registry_token; /* a bearer token, used as it is */
    const char *server;         /* the registry they are for, not sent to another; "": any */
};

/* Whether there is anything in it. */
bool registry_auth_given(const struct registry_auth *auth);

/* One place to ask for a repository: the registry itself, or a mirror. */
struct registry_endpoint {
    char *base;                /* "https://host:port" */
    char *prefix;              /* "/v2" */
    char *host;                /* as names and configuration say it: "docker.io", "host:port" */
    char *repository;          /* "library/nginx" */
    struct registry_auth auth; /* borrowed strings */
    bool has_tls;
    struct tls_client_config tls; /* borrowed strings */
};

/* The address of the registry @host of a reference ("docker.io"): over TLS, but for the hosts in
 * @insecure (may be NULL) and for this machine itself (localhost). The caller frees. */
char *registry_base(const char *host, const struct option_list *insecure);
/* Whether credentials are meant for @host, by what they say about their server. */
bool registry_auth_is_for(const struct registry_auth *auth, const char *host);

struct registry;

/* Everything of @endpoint is copied. */
struct registry *registry_new(struct loop *loop, struct http_client *http,
                              const struct registry_endpoint *endpoint);
/* All requests must have ended or been cancelled. Returns NULL. */
struct registry *registry_free(struct registry *registry);

struct registry_get;

struct registry_ops {
    /* The answer's head, status 200 or 206. NULL: not of interest. */
    void (*head)(struct registry_get *get, const struct http_response *response, void *arg);
    void (*data)(struct registry_get *get, const void *data, size_t len, void *arg);
    /* The end, once: @err NULL when the body is complete. -EACCES: credentials are missing, wrong
     * or not enough; -ENOENT: not there; -EAGAIN: worth trying again (busy, 5xx, connection lost);
     * -EPROTO: what came makes no sense. The text names method, URL and answer. */
    void (*end)(struct registry_get *get, const struct error *err, void *arg);
};

/* GET <prefix>/<repository>/<what> ("manifests/latest", "blobs/sha256:…"). @accept may be NULL;
 * with
 * @offset > 0 a range from there on is asked for. Callbacks come later than this call. NULL with
 * @err.
 */
struct registry_get *registry_start(struct registry *registry, const char *what, const char *accept,
                                    uint64_t offset, const struct registry_ops *ops, void *arg,
                                    struct error *err);
/* Ends it without callbacks; allowed inside head and data, and nothing of it may be used after.
 * NULL is harmless. Returns NULL. */
struct registry_get *registry_cancel(struct registry_get *get);
