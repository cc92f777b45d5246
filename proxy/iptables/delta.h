/*
 * What iptables-restore --noflush is to be told: chains to write anew, lines to add to and take out
 * of chains that services share, chains to delete. Each table's part is one transaction, so nobody
 * ever sees half of it. Pure: tested without a kernel.
 */
#pragma once

#include "proxy/iptables/rules.h"

struct delta {
    struct map chains[RULES_TABLES]; /* name → lines it shall have; NULL: it goes */
    struct strbuf remove[RULES_TABLES], add[RULES_TABLES]; /* "-D …\n"; "-A …\n", "-I …\n" */
    long rules[RULES_TABLES];                              /* by how many rules the tables grow */
};
#define DELTA_INIT                                   \
    {                                                \
        .chains = { MAP_INIT(free), MAP_INIT(free) } \
    }
void delta_done(struct delta *d);
bool delta_is_empty(const struct delta *d); /* the kernel needs nothing of it */

/* From what @old made to what @now makes. */
void delta_change(struct delta *d, const struct rules *old, const struct rules *now);
/* Chains only, of @table: what differs is written, what is only in @old goes. */
void delta_chains(struct delta *d, enum rules_table table, const struct map *old,
                  const struct map *now);
/* One line ("-A CHAIN …", @len bytes without newline) of a list; @add: or else it goes. */
void delta_line(struct delta *d, enum rules_list list, const char *line, size_t len, bool add);
/* As above at the chain's end, behind all others. */
void delta_last_line(struct delta *d, enum rules_list list, const char *line, size_t len);

/* Appends the input for iptables-restore, and says how many rules it writes. */
void delta_text(const struct delta *d, struct strbuf *out, size_t written[RULES_TABLES]);

/* Calls @each for every line of @text, without its newline. */
void lines_each(const char *text, void (*each)(const char *line, size_t len, void *arg), void *arg);
size_t lines_count(const char *text);
