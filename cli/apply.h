/* Applying manifests, for `apply` and `up`. */
#pragma once

#include "cli/manifest.h"
#include "cli/session.h"

/* Applies every object in order; @report gets "deployment.apps/hello" and "created", "configured"
 * or "unchanged". Applies nothing when the server refuses one of them as malformed. Goes on to the
 * next object after another failure, whose text names file, document and field; @failed is told.
 * Returns the number of failures. */
int apply_manifests(struct session *s, const struct manifests *m,
                    void (*report)(const char *title, const char *what, void *arg),
                    void (*failed)(const struct error *err, void *arg), void *arg);
