/*
 * A Kubernetes API client on the loop: one request, one callback; JSON both ways. Connections are
 * shared and kept by lib/net/http_client.
 */
#pragma once

#include <stdbool.h>

#include "base/json.h"
#include "base/loop.h"
#include "kube/kubeconfig.h"

struct kube_client;
struct kube_call;
struct tls_client_config;

/* Makes a client; @config is copied. @user_agent is the program's name. 0 or -errno (a bad
 * certificate is -EINVAL). */
int kube_client_new(struct kube_client **ret, struct loop *loop, const struct kubeconfig *config,
                    const char *user_agent, struct error *err);
/* Cancels what is under way (callbacks are not called). NULL is harmless; returns NULL. */
struct kube_client *kube_client_free(struct kube_client *client);
DEFINE_CLEANUP(struct kube_client *, kube_client_free);
struct loop *kube_client_loop(struct kube_client *client);
const struct kubeconfig *kube_client_config(const struct kube_client *client);
/* How to reach the server, for connections of one's own (exec, port-forward). Owned by @client. */
const struct tls_client_config *kube_client_tls(const struct kube_client *client);

/* Another certificate and key (PEM) from now on; connections that are kept are closed, what is
 * under way goes on. Ends a suspension. -EINVAL, and nothing is changed, when they are bad. Not
 * from inside a stream's callbacks. */
int kube_client_use_certificate(struct kube_client *client, const char *cert_pem,
                                const char *key_pem, struct error *err);
/* Connections that are kept are closed, what is under way goes on: after this host's address
 * changed nobody hears what is sent over them. Not from inside a stream's callbacks. */
void kube_client_forget_connections(struct kube_client *client);
/* Until then every request fails, with @why as its error: there are no credentials yet. */
void kube_client_suspend(struct kube_client *client, const char *why);

struct kube_result {
    int status;         /* HTTP status; 0 when there was no answer */
    int failure;        /* why there was none: -errno as of http_client_call(), -EAGAIN while
                           suspended; 0 when there was one */
    const json_t *body; /* object or Status; NULL when it was no JSON; borrowed for the call */
    const char *text;   /* body as it came (logs), NUL-terminated */
    size_t text_len;
    const char *error;  /* NULL on 2xx; else one line for people: the Status message, or why there
                           was no answer */
    const char *reason; /* the Status reason ("NotFound", "Conflict", …), "" when none */
};
typedef void (*kube_cb)(const struct kube_result *result, void *arg);

/* Sends one request; @cb (may be NULL) is called once, later. @path begins with "/" and may carry
 * a query. @body is borrowed, NULL for none; @content_type NULL: application/json. The whole
 * answer is limited to 64 MiB. @timeout_ms 0: 30 s. The call is valid until its callback. */
struct kube_call *kube_request(struct kube_client *client, const char *method, const char *path,
                               const char *content_type, const json_t *body, uint64_t timeout_ms,
                               kube_cb cb, void *arg);
/* As kube_request() with an Accept of one's own (Tables, discovery); NULL: application/json. */
struct kube_call *kube_request_as(struct kube_client *client, const char *method, const char *path,
                                  const char *accept, const char *content_type, const json_t *body,
                                  uint64_t timeout_ms, kube_cb cb, void *arg);
/* The callback is not called. NULL is harmless. */
void kube_call_cancel(struct kube_call *call);

#define KUBE_PATCH_STRATEGIC "application/strategic-merge-patch+json"
#define KUBE_PATCH_MERGE     "application/merge-patch+json"
#define KUBE_PATCH_JSON      "application/json-patch+json"

struct kube_call *kube_get(struct kube_client *c, const char *path, kube_cb cb, void *arg);
struct kube_call *kube_create(struct kube_client *c, const char *path, const json_t *body,
                              kube_cb cb, void *arg);
struct kube_call *kube_replace(struct kube_client *c, const char *path, const json_t *body,
                               kube_cb cb, void *arg);
struct kube_call *kube_patch(struct kube_client *c, const char *path, const char *patch_type,
                             const json_t *patch, kube_cb cb, void *arg);
/* @options: a DeleteOptions object (borrowed) or NULL. */
struct kube_call *kube_delete(struct kube_client *c, const char *path, const json_t *options,
                              kube_cb cb, void *arg);

/* ---- streamed answers: watches and logs ---- */
struct kube_stream;
struct kube_stream_handler {
    void (*on_open)(void *arg); /* a 2xx head has come; may be NULL */
    void (*on_data)(const void *data, size_t len, void *arg);
    /* The end, once: result->error is NULL when the answer was complete. The stream is gone. */
    void (*on_end)(const struct kube_result *result, void *arg);
};
/* Starts a GET whose answer is streamed. @handler is not copied. Never fails at once: trouble
 * arrives at on_end, later. */
struct kube_stream *kube_stream(struct kube_client *client, const char *path,
                                const struct kube_stream_handler *handler, void *arg);
/* As kube_stream() with an Accept of one's own; NULL: application/json. */
struct kube_stream *kube_stream_as(struct kube_client *client, const char *path, const char *accept,
                                   const struct kube_stream_handler *handler, void *arg);
/* No further callbacks; inside its callbacks too. NULL is harmless. */
void kube_stream_cancel(struct kube_stream *stream);

/* "/api/v1/namespaces/default/pods/web/status". @api is "v1" or "apps/v1"; @ns NULL: cluster
 * scope (or all namespaces when @name is NULL); @name, @sub may be NULL. Parts are
 * percent-encoded. The caller frees. */
char *kube_path(const char *api, const char *ns, const char *plural, const char *name,
                const char *sub);
/* "ns/name", or "name" for cluster-scoped objects: the key of informers. The caller frees. */
char *kube_key(const json_t *object);
