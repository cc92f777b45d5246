/* A node that is started in the background, for `coracle up` and `coracle join`: both wait, and say
 * what for when it takes over a second. */
#pragma once

#include "cli/node.h"
#include "cli/session.h"

/* Starts `coracle @verb @flags` (@n of them) in a session of its own and waits until every unit is
 * ready, 60 s at most. On failure the end of its log is printed; what was started runs on. */
int node_start(const struct node_config *c, const char *verb, int n, char **flags,
               struct error *err);

/* Waits until the Node is Ready, 60 s at most. */
int node_wait_ready(struct session *s, const char *name, struct error *err);
