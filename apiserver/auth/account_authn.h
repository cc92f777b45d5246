/*
 * Whether a ServiceAccount token holds: its signature (accounts.h), its audience, and that the
 * account and the object it is bound to are still those it was made for. What a token was found to
 * be is remembered with the revisions of these objects, so that a client which comes back costs a
 * few look-ups in memory.
 */
#pragma once

#include "apiserver/auth/accounts.h"
#include "apiserver/auth/user.h"

struct apiserver;
struct account_authn;
struct account_check; /* one check under way */

struct account_authn *account_authn_new(struct apiserver *srv);
struct account_authn *account_authn_free(struct account_authn *a); /* returns NULL */

/* @code: 0 with @user (the callee takes what is in it) and those @audiences that were asked for and
 * that the token is for; ACCOUNTS_NOT_OURS; -EACCES with the reason; another -errno when the store
 * does not say. */
typedef void account_authn_fn(void *arg, int code, struct user *user, const json_t *audiences,
                              const struct error *err);

/* @audiences: array of strings, copied. @done is called once: before this returns (NULL is
 * returned then), or later. */
struct account_check *account_authn_start(struct account_authn *a, const char *token,
                                          const json_t *audiences, account_authn_fn *done,
                                          void *arg);
struct account_check *account_authn_cancel(struct account_check *check); /* returns NULL */
