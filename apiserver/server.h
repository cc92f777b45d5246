/*
 * The API server: what all of its parts share, and the life of one request.
 *
 * A request comes in as an HTTP exchange (net/http_server.h). server.c asks authn who sends it,
 * reads what it is about (request.h), finds the route (routes.h) and hands a struct request to the
 * verb, which answers exactly once with one of the request_reply… functions (reply.h); those free
 * it. Nothing blocks: a verb that waits for the store holds the call's handle in request->call, so
 * that a client that goes away takes its work with it.
 */
#pragma once

#include "apiserver/auth/authn.h"
#include "apiserver/store/encoded.h"
#include "apiserver/negotiate.h"
#include "apiserver/request.h"
#include "apiserver/routes.h"
#include "apiserver/store/store.h"
#include "base/loop.h"
#include "kube/object.h"
#include "net/http_server.h"

struct watch_cache;
struct http_client;
struct documents;
struct kubelet_access;
struct allocations;
struct accounts;
struct authz;
struct change;

/* Longest body of a request, as upstream. */
#define REQUEST_BODY_MAX (3u << 20)
/* Attempts at a write that others keep winning before the client is told. */
#define WRITE_ATTEMPTS 10
/* Objects read from the store at once. */
#define STORE_PAGE 500

struct apiserver {
    struct loop *loop;
    struct store *store;
    struct schema_registry *schemas;
    struct routes *routes;
    struct watch_cache *cache;
    struct authn *authn;
    struct authz *authz;             /* who may do what */
    struct accounts *accounts;       /* keys of ServiceAccount tokens */
    struct documents *documents;     /* OpenAPI, /version: encoded once */
    struct kubelet_access *kubelets; /* for log, exec, attach, portforward */
    struct allocations *allocations; /* cluster IPs and node ports */
    uint64_t event_ttl_s;
    const char *advertise_address; /* borrowed */
    const char *cluster_dns;       /* of the Service kube-dns; NULL: none. Borrowed */
    int secure_port;
    struct list requests; /* every struct request under way */
    bool ready;           /* bootstrap is through */
};

struct request {
    struct apiserver *srv;
    struct http_exchange *x;
    struct list entry; /* apiserver.requests */
    struct user user;
    struct request_info info;
    const struct route *route;
    enum verb verb;
    struct negotiated accept;
    bool dry_run;
    struct store_request *call; /* the store call under way */
    struct change *change;      /* or the change */
    json_t *warnings;           /* array of strings for Warning headers, or NULL */
    const char *body;           /* once read; the exchange's */
    size_t body_len;
    void *op; /* the verb's state */
    void (*op_free)(void *op);
};

/* The handler for net/http_server.h; @arg is the struct apiserver. */
void server_handle(struct http_exchange *x, void *arg);
/* Ends every request under way (the server is going down). */
void server_drop_requests(struct apiserver *srv);

/* The verbs; each takes the request over. */
void verb_get(struct request *r);
void verb_list(struct request *r);
void verb_watch(struct request *r);
void verb_create(struct request *r);
void verb_update(struct request *r); /* update and patch */
void verb_delete(struct request *r);
void verb_delete_collection(struct request *r);
/* Kinds that are not stored: a question is posted and comes back with its answer. */
void verb_review(struct request *r);
/* Whether it is the object itself of which only a part is changed (status, …): the verbs above
 * serve it. */
bool subresource_is_part(const char *subresource);
/* Another subresource; 404 when it is not served. */
void verb_subresource(struct request *r);

/* serviceaccounts/token. */
void verb_token_request(struct request *r);

/* Whether the subresource is a stream of its own (exec, attach, portforward): its body is not
 * read as a whole. */
bool subresource_streams(const struct request *r);

/* Frees a request whose exchange has been ended. */
void request_free(struct request *r);
