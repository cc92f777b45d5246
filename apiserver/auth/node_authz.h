/*
 * The node authorizer: a kubelet (system:node:NAME in system:nodes) may read what the pods on its
 * node refer to, and nothing else of that kind. It follows the pods in the watch cache; of each pod
 * that has a node it keeps the names of what the pod refers to.
 */
#pragma once

#include "apiserver/auth/access.h"
#include "base/strbuf.h"

#define NODE_USER_PREFIX "system:node:"
#define NODE_GROUP       "system:nodes"

struct apiserver;
struct node_authz;

struct node_authz *node_authz_new(struct apiserver *srv);
struct node_authz *node_authz_free(struct node_authz *n); /* returns NULL */
void node_authz_load(struct node_authz *n);

/* The node that @user is the kubelet of; NULL when it is none. "" when it is one of an unknown node
 * (a user of the group with another name). Borrowed from the user. */
const char *node_of_user(const struct user *user);

/* False for everybody who is no kubelet. @reason (may be NULL) says why a kubelet may not. */
bool node_authz_allows(const struct node_authz *n, const struct access *a, struct strbuf *reason);
