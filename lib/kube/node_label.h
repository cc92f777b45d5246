/* Labels of Nodes that not everybody may set (the NodeRestriction admission). */
#pragma once

#include <stdbool.h>

/* Whether a kubelet may not set the label @key on its own Node: those below kubernetes.io and
 * k8s.io, but for kubelet.kubernetes.io, node.kubernetes.io and a few that are listed by name. */
bool node_label_is_reserved(const char *key);
