/* Namespaces as the place objects live in: they must exist, and not be on their way out. */
#pragma once

#include "apiserver/store/plan.h"
#include "apiserver/server.h"

/* Adds to @plan that @ns stays as it is known, so that nothing can be created in a namespace that
 * vanishes meanwhile. NULL, or a new Status (404 not found, 403 terminating) about the object
 * @name of @route. */
json_t *namespace_guard(struct apiserver *srv, const struct route *route, const char *ns,
                        const char *name, struct plan *plan);

/* default, kube-system, kube-public: they cannot be deleted. */
bool namespace_is_immortal(const char *name);
