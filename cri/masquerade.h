/*
 * The pod network's iptables rules: chain CORACLE-FORWARD (filter) accepts what the bridge
 * forwards, CORACLE-MASQ (nat) masquerades what pods send to outside; one commented jump to each.
 * Applied as a whole, again and again with the same result, never touching what is not ours.
 */
#pragma once

#include <stdbool.h>

#include "base/loop.h"
#include "base/strbuf.h"
#include "cri/waiters.h"

struct masquerade {
    const char *bridge;
    const char *pod_cidr;
    const char *cluster_cidr; /* what is not masqueraded */
    const char *journal;      /* of host changes; NULL: none is kept */
};

/* Copies @m; @done is called once, later. */
void masquerade_apply(struct loop *loop, const struct masquerade *m, done_fn done, void *arg);
/* Whether a chain is one of the two above. */
bool masquerade_is_ours(const char *chain);
/* The input of iptables-restore --noflush, with the jumps that are missing. For tests. */
void masquerade_rules(const struct masquerade *m, bool jump_forward, bool jump_masq,
                      struct strbuf *out);
