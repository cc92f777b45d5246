/*
 * Taking over what is there: iptables-save's output compared, service by service, with what is
 * wanted. What is found as wanted is crossed off; what is left over at the end goes. Comparing
 * texts is safe whatever a version of iptables prints: a chain that looks different is written
 * anew, with the same rules in one transaction. Pure: tested without a kernel.
 */
#pragma once

#include "proxy/iptables/delta.h"

struct survey {
    struct map chains[RULES_TABLES]; /* of ours, not yet found wanted: name → lines */
    struct map lines[RULES_LISTS];   /* the same of lines */
    struct map
        strays[RULES_TABLES]; /* rules in chains of others that lead to ours: target → buffer */
    bool have_list[RULES_LISTS]; /* the chain is there */
    bool have_jump[RULES_JUMPS_MAX];
    const struct rules_source *source;
    char *services; /* all lines of LIST_SERVICES, in order */
};
#define SURVEY_STALE_MAX 256 /* lines to take out one by one; beyond, a list is written anew */

void survey_init(struct survey *s, const struct rules_source *source);
void survey_done(struct survey *s);
void survey_read(struct survey *s, const char *saved);

/* The beginning: what must be there before services are. */
void survey_static(struct survey *s, const struct rules *wanted, struct delta *d);
/* One service. */
void survey_service(struct survey *s, const struct rules *wanted, struct delta *d);
/* Whether so much is stale in a list that survey_rewrite() shall write it, before survey_end(). */
bool survey_wants_rewrite(const struct survey *s, enum rules_list list);
/* The whole list as it shall be. */
void survey_rewrite(struct survey *s, enum rules_list list, const char *lines, struct delta *d);
/* The end: jumps that are missing; what nobody wanted goes. */
void survey_end(struct survey *s, struct delta *d);
