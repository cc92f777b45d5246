/* What somebody wants to do, as authorizers see it. */
#pragma once

#include "apiserver/request.h"
#include "apiserver/auth/user.h"
#include "kube/status.h"

struct access {
    const struct user *user;
    const char *verb; /* "get", …; of other paths than resources': the method in lower case */
    bool is_resource;
    const char *group, *resource, *subresource, *ns, *name; /* never NULL, "" when none */
    const char *path;                                       /* when it is no resource */
    const char *node; /* spec.nodeName that a field selector asks for, "" when none */
};
#define ACCESS_INIT                                                                       \
    {                                                                                     \
        .group = "", .resource = "", .subresource = "", .ns = "", .name = "", .path = "", \
        .node = ""                                                                        \
    }

/* "pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "y"",
 * with ": " and @reason behind it unless that is "". New reference. */
json_t *access_forbidden(const struct access *a, const char *reason);
