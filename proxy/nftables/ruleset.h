/*
 * The rules of the table: chains at the kernel's hooks, and one chain for all services that are
 * alike. There is no chain per service or endpoint, but for session affinity and source ranges.
 */
#pragma once

#include "nl/nft.h"
#include "proxy/nftables/elements.h"

/* Rules being written: into a batch, and by their comments, so that they can be recognised. */
struct ruleset {
    const struct backend_config *c;
    struct nft_batch *batch;
    struct map chains; /* name → the comments of its rules, a line each */
};
void ruleset_init(struct ruleset *r, const struct backend_config *c);
void ruleset_done(struct ruleset *r);

/* What tells whether a table was made by a proxy like this one with this configuration. Caller
 * frees. */
char *ruleset_version(const struct backend_config *c);

/* The table with its sets, and chains that are there whatever the services. */
void ruleset_write_table(struct ruleset *r);
/* @anew: the chain is there, its rules are replaced. */
void ruleset_write_chain(struct ruleset *r, const struct chain *c, bool anew);
/* The rules of a chain of one service's own, as text: equal texts mean equal rules. Caller frees.
 */
char *ruleset_signature(const struct chain *c);

const char *ruleset_set_name(enum nft_table_set set);

/* probe.c: of the mode's table of functions (backend.h). */
int nftables_probe(const struct backend_config *c, struct error *err);
int nftables_cleanup(const struct backend_config *c, struct error *err);
