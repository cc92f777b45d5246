/*
 * Which volume suits a claim: the pure part of the binder, used by the scheduler too. Tested
 * without a cluster.
 */
#pragma once

#include "base/map.h"
#include "controllers/objects.h"

/* What is known of volumes: "ns/name" → struct claim; name → struct volume; name → struct
 * storage_class. */
struct volume_view {
    const struct map *claims, *volumes, *classes;
};

#define SELECTED_NODE "volume.kubernetes.io/selected-node" /* annotation: bind for this node */

/* Whether @v is kept for, or bound to, @c: its claimRef names it, by uid unless that is empty. */
bool volume_is_for(const struct volume *v, const struct claim *c);
/* Why @v cannot serve @c, in upstream's words; NULL when it can. Does not look at claimRef. */
const char *volume_refusal(const struct volume *v, const struct claim *c);
/* Whether @n reaches the volume. */
bool volume_reaches(const struct volume *v, const struct node *n);
/* The volume that is already @c's, or kept for it; else the smallest free one that suits and that
 * @n reaches (NULL: any). NULL when there is none. */
const struct volume *volume_choose(const struct map *volumes, const struct claim *c,
                                   const struct node *n);

bool claim_is_bound(const struct claim *c);
/* The claim is bound when a pod that uses it has a node (WaitForFirstConsumer). */
bool claim_waits_for_pod(const struct claim *c, const struct map *classes);

/* "ns/name" of the claim that a pod's volume uses; NULL when it uses none. The caller frees. */
char *pod_volume_claim(const struct pod *p, const struct pod_volume *v);
/* Why no node at all does for the pod's claims, for people; NULL when some may. The caller frees.
 */
char *pod_claims_problem(const struct pod *p, const struct volume_view *view);
/* The same for one node; a static text. */
const char *pod_claims_refusal(const struct pod *p, const struct node *n,
                               const struct volume_view *view);
