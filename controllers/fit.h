/*
 * The pure part of the scheduler: which node suits a pod. Tested without a cluster.
 */
#pragma once

#include "base/map.h"
#include "base/strbuf.h"
#include "controllers/volume_match.h"

/*
 * The best node for @p, or NULL with @why set to upstream's sentence ("0/3 nodes are available: 1
 * Insufficient cpu, 2 node(s) had untolerated taint {a: b}.").
 *
 * @nodes: name → struct node; @pods: key → struct pod; @assumed: uid → name of the node (char *)
 * of pods that are bound but not seen as such yet; @view: for pods that use claims.
 */
const struct node *fit_choose(const struct pod *p, const struct map *nodes, const struct map *pods,
                              const struct map *assumed, const struct volume_view *view,
                              struct strbuf *why);

/* Whether the difference could make a pod fit that did not. */
bool fit_node_changed(const struct node *before, const struct node *now);
