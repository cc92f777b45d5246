/*
 * The iptables back end: keeps what is installed equal to the plan by iptables-restore --noflush,
 * with only the chains that changed. Each run is one transaction per table, so nobody ever sees
 * half of a change and a process killed in the middle leaves either state.
 */
#pragma once

#include "base/loop.h"
#include "proxy/plan.h"
#include "proxy/rules.h"

struct iptables;

struct iptables_config {
    const char *variant; /* "auto", "nft", "legacy" */
    const char *journal; /* of host changes; NULL: none is kept */
    struct rules_config rules;
};

/* Finds the programs. -ENOENT names what is missing; -EINVAL for an unknown variant. */
int iptables_new(struct iptables **ret, struct loop *loop, const struct iptables_config *config,
                 struct plan *plan, struct error *err);
struct iptables *iptables_free(struct iptables *b); /* rules stay. NULL is harmless */

/* Brings the kernel nearer to the plan soon: changes are gathered while a run is under way. The
 * first run replaces whatever chains of ours are there. */
void iptables_sync(struct iptables *b);
/* Called after each run: @error NULL when everything is installed. A failed run is repeated. */
void iptables_on_synced(struct iptables *b, void (*synced)(void *arg, const char *error),
                        void *arg);
