/*
 * Who sends a request: a client certificate (CN is the user, O the groups), or a bearer token: one
 * of the token file, a bootstrap token, or that of a ServiceAccount.
 */
#pragma once

#include "apiserver/auth/user.h"
#include "base/error.h"
#include "net/http_server.h"

struct apiserver;

struct authn_options {
    /* Lines of token,user,uid[,"group1,group2"], as upstream's --token-auth-file; NULL for none. */
    const char *token_file;
    bool bootstrap_tokens;
    bool anonymous; /* who brings no credentials is system:anonymous */
};

struct authn;
struct authn_call; /* one question under way */

/* NULL with @err (file and line named) when the token file cannot be read. */
struct authn *authn_new(struct apiserver *srv, const struct authn_options *options,
                        struct error *err);
struct authn *authn_free(struct authn *authn); /* returns NULL */
DEFINE_CLEANUP(struct authn *, authn_free);

/* @code: 0 with @user (the callee takes what is in it, system:authenticated among the groups) and
 * those @audiences that were asked for and that the token is for (NULL without a token); -EACCES,
 * the credentials do not hold or there are none; another -errno, that cannot be said now. */
typedef void authn_fn(void *arg, int code, struct user *user, const json_t *audiences,
                      const struct error *err);

/* @done is called once: before these return (NULL is returned then), or later. */
struct authn_call *authn_start(struct authn *authn, const struct http_exchange *x, authn_fn *done,
                               void *arg);
/* The same for a token alone. @audiences: array of strings. */
struct authn_call *authn_token(struct authn *authn, const char *token, const json_t *audiences,
                               authn_fn *done, void *arg);
struct authn_call *authn_cancel(struct authn_call *call); /* no callback; returns NULL */
