/*
 * Tokens of ServiceAccounts: the keys, what goes into a token, and what can be said of one without
 * asking whether its account still exists (account_authn.h does). Claims are upstream's: the
 * registered ones of RFC 7519 and "kubernetes.io".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "base/options.h"

struct accounts_options {
    struct option_list issuers;   /* the first one is written into tokens, all are accepted */
    struct option_list key_files; /* keys that tokens may be signed with */
    struct option_list audiences; /* of this server; empty: the issuers */
    const char *signing_key_file; /* NULL: no tokens are given out */
    const char *jwks_uri;         /* for the discovery document; NULL: this server's */
    int64_t max_expiration_s;     /* longest lifetime given out; 0: what is asked for */
    bool mount;                   /* pods get a volume with a token */
    bool extend; /* tokens of pods live for a year, and warn when they should have been replaced */
};

struct accounts;
/* NULL with @err, naming the flag or the file. Without issuers there are no tokens: none are given
 * out, none accepted. @o is borrowed while accounts live. */
struct accounts *accounts_new(const struct accounts_options *o, struct error *err);
struct accounts *accounts_free(struct accounts *a); /* returns NULL */
DEFINE_CLEANUP(struct accounts *, accounts_free);
bool accounts_can_sign(const struct accounts *a);
const struct accounts_options *accounts_options(const struct accounts *a);
/* Who this server is in an "aud" claim. Array of strings, borrowed; empty when there are none. */
const json_t *accounts_audiences(const struct accounts *a);

/* An object that a token speaks of; name NULL: of none. Strings are owned. */
struct claimed {
    char *name, *uid;
};
struct account_claims {
    char *ns;
    struct claimed account, pod, secret, node;
    json_t *audiences;                   /* array of strings */
    char *id;                            /* "jti"; NULL when it has none */
    int64_t issued, expires, warn_after; /* seconds; expires 0: never, warn_after 0: no warning */
    bool legacy; /* the form without an end, kept in a Secret; audiences is NULL */
};
void account_claims_done(struct account_claims *c);

/* The token; id is made here. The caller frees. NULL with @err when there is no key to sign with.
 */
char *accounts_issue(const struct accounts *a, const struct account_claims *c, struct error *err);

/* Positive result of accounts_verify(): the token is somebody else's (or none at all). */
#define ACCOUNTS_NOT_OURS 1
/* Signature, issuer and times of @token at @now (seconds). 0 and *ret, ACCOUNTS_NOT_OURS, or
 * -EACCES with the reason. */
int accounts_verify(const struct accounts *a, const char *token, int64_t now,
                    struct account_claims *ret, struct error *err);

/* The documents of OpenID Connect discovery; new references. @base: "https://host:port". */
json_t *accounts_openid_configuration(const struct accounts *a, const char *base);
json_t *accounts_key_set(const struct accounts *a);
