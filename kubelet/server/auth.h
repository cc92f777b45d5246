/*
 * Who may call the kubelet's server: client certificates, bearer tokens (TokenReview), perhaps
 * anybody; then, in mode Webhook, whether that one may do this on nodes/<subresource>
 * (SubjectAccessReview), with upstream's mapping of paths and methods.
 */
#pragma once

#include "kubelet/config/file.h"
#include "kubelet/kubelet.h"
#include "net/http_server.h"

struct server_auth;

/* -EINVAL names the field when the API server is to be asked and there is none. @pass is given
 * every request that is let in. @config belongs to the caller, for as long. */
int server_auth_new(struct kubelet *k, const struct kubelet_config *config, http_handler_fn pass,
                    void *arg, struct server_auth **ret, struct error *err);
/* Requests under way are broken off. Returns NULL. */
struct server_auth *server_auth_free(struct server_auth *a);
/* Takes the exchange over: answers 401 or 403, or passes it on; now or later. */
void server_auth_check(struct server_auth *a, struct http_exchange *x);

/* What a request needs: one of @ret (borrowed), which is NULL-terminated. @word: the first of its
 * path. */
#define AUTH_SUBRESOURCES_MAX 2
void server_auth_subresources(const char *word, const char *ret[static AUTH_SUBRESOURCES_MAX + 1]);
