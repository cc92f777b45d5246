/*
 * The chain KUBE-IPTABLES-HINT in the table mangle, empty: containers that program the host's
 * iptables see by it which flavour the host uses (makeIPTablesUtilChains).
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

struct iptables_hint;

struct iptables_hint_options {
    const char *journal; /* NULL: none */
    const char *variant; /* "nft", "legacy"; "auto": the host's default */
};

/* Makes the chains that are missing, in the background; a failure is logged. Strings belong to the
 * caller, for as long. */
struct iptables_hint *iptables_hint_new(struct loop *loop,
                                        const struct iptables_hint_options *options);
struct iptables_hint *iptables_hint_free(struct iptables_hint *h); /* NULL is harmless */
/* Removes them. Waits: for commands. 0, or -errno. */
int iptables_hint_remove(const char *journal, struct error *err);
