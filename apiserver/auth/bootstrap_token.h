/*
 * Bootstrap tokens, by which new nodes make their first requests: "ID.SECRET", kept in a Secret
 * bootstrap-token-ID of kube-system, as kubeadm makes them.
 */
#pragma once

#include "apiserver/auth/user.h"
#include "base/error.h"

struct apiserver;
struct bootstrap_check;

/* @code: 0 with @user (the callee takes what is in it), -EACCES with the reason, another -errno
 * when the store does not say. */
typedef void bootstrap_token_fn(void *arg, int code, struct user *user, const struct error *err);

/* Whether it has the form of one. */
bool bootstrap_token_is(const char *token);
/* @done is called once: before this returns (NULL is returned then), or later. */
struct bootstrap_check *bootstrap_token_start(struct apiserver *srv, const char *token,
                                              bootstrap_token_fn *done, void *arg);
struct bootstrap_check *bootstrap_token_cancel(struct bootstrap_check *check); /* returns NULL */
