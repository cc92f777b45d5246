/*
 * A container's environment: env, envFrom, fieldRef, resourceFieldRef, ConfigMap and Secret keys,
 * $(VAR) expansion, service variables.
 */
#pragma once

#include "kubelet/config/downward.h"
#include "kubelet/config/objects.h"
#include "kubelet/config/services.h"
#include "kubelet/pod/pod.h"

#define ENV_TOTAL_MAX (4u << 20) /* bytes of all names and values: expansion multiplies */

struct env_list {
    struct string_pair *items;
    size_t count;
    size_t bytes;
};
void env_list_done(struct env_list *l);
const char *env_list_get(const struct env_list *l, const char *name);

struct env_context {
    struct downward_context downward;
    const struct service_cache *services; /* may be NULL */
    /* The data of a ConfigMap or Secret of the pod's namespace. */
    enum object_state (*object)(void *arg, enum object_kind kind, const char *name,
                                const struct bytes_map **ret_data);
    /* Keys of an object in envFrom that are no names of variables, separated by ", ". May be NULL.
     */
    void (*skipped)(void *arg, enum object_kind kind, const char *name, const char *keys);
    void *arg;
};

/* Builds the environment in the order in which it is to be passed. 0, or -errno with upstream's
 * text: a missing object or key, an unsupported source, more than ENV_TOTAL_MAX. */
int env_build(const struct pod *pod, const struct container_spec *c, const struct env_context *ctx,
              struct env_list *ret, struct error *err);

/* Replaces $(NAME) by what @env has; $$ is $; what is unknown or not closed stays. Caller frees.
 * NULL when the result would exceed ENV_TOTAL_MAX. */
char *env_expand(const char *text, const struct env_list *env);
