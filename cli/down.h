/* Stopping the node's processes and pods, for `down` and `reset`. */
#pragma once

#include <stdbool.h>

#include "cli/node.h"

/* Stops pods and daemons in order. Only c->root matters. *ret_was_up tells whether anything ran. */
int node_down(const struct node_config *c, bool *ret_was_up, struct error *err);
