/*
 * The roles and bindings of policy.text, which is built into the program: what every cluster has to
 * have so that its parts, and people, can work under role-based access control.
 */
#pragma once

#include <stddef.h>

#include <jansson.h>

/* An array of ClusterRoles and ClusterRoleBindings, with the label and the annotation that upstream
 * marks its own by. New reference. Aborts when the text is broken: the build tests it. */
json_t *policy_objects(void);
/* One of the ClusterRoles. New reference; NULL when there is none of that name. */
json_t *policy_cluster_role(const char *name);
