/*
 * Who may do what: a chain of authorizers, as --authorization-mode lists them. The first that
 * allows a request decides; none of them can forbid what another allows. The group system:masters
 * may do everything, before any of them is asked.
 */
#pragma once

#include "apiserver/auth/access.h"
#include "base/error.h"
#include "base/options.h"
#include "base/strbuf.h"

struct apiserver;
struct authz;
struct rbac;
struct node_authz;

/* @modes: Node, RBAC, AlwaysAllow, AlwaysDeny; none: AlwaysAllow. -EINVAL names the mode that is
 * not known. */
int authz_check_modes(const struct option_list *modes, struct error *err);
struct authz *authz_new(struct apiserver *srv, const struct option_list *modes);
struct authz *authz_free(struct authz *authz); /* returns NULL */
DEFINE_CLEANUP(struct authz *, authz_free);
/* The watch cache has a (new) state. */
void authz_load(struct authz *authz);

/* Whether everything is allowed to everybody. */
bool authz_allows_all(const struct authz *authz);
/* @reason (may be NULL): why, or why not, as far as somebody can say. */
bool authz_allows(const struct authz *authz, const struct access *a, struct strbuf *reason);
/* The index of roles: for rules that are shown, and for those that are given to others. */
const struct rbac *authz_rbac(const struct authz *authz);
/* Whether roles count: the mode RBAC is on. */
bool authz_uses_rbac(const struct authz *authz);
const struct node_authz *authz_nodes(const struct authz *authz); /* NULL without the mode Node */
