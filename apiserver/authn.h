/*
 * Who sends a request: a client certificate (CN is the user, O the groups) or a bearer token of
 * the token file. Every authenticated user may do everything: there is no authorization yet.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "net/http_server.h"

#define USER_GROUPS_MAX 64

struct user {
    char *name; /* NULL: anonymous; owned, like all here */
    char *uid;  /* NULL when none */
    char **groups;
    size_t n_groups;
};
void user_done(struct user *user);

struct authn;
/* @token_file: lines of token,user,uid[,"group1,group2"], as upstream's --token-auth-file; NULL for
 * none. NULL with @err (file and line named) when it cannot be read. */
struct authn *authn_new(const char *token_file, struct error *err);
struct authn *authn_free(struct authn *authn); /* returns NULL */
DEFINE_CLEANUP(struct authn *, authn_free);

/* 0 and *ret (anonymous when the request brings no credentials); -EACCES when it brings a token
 * that is not known, or nothing but a certificate that does not verify. */
int authn_check(const struct authn *authn, const struct http_exchange *x, struct user *ret);
