/*
 * Who gets an address and port that several services ask for. The winner depends on who claims, not
 * on the order in which they did.
 */
#pragma once

#include <stdint.h>

#include "base/map.h"

#define CLAIM_MAX 80 /* bytes of a claim's text */

enum claim_rank { CLAIM_CLUSTER_IP = 1, CLAIM_OTHER }; /* the lesser wins */

struct claims;

struct claims *claims_new(void);
struct claims *claims_free(struct claims *c); /* returns NULL */

/* @owner claims exactly @wanted (text → enum claim_rank as a pointer) from now on. The keys of
 * owners that win or lose something by this are added to @touched. @created decides between equal
 * ranks. */
void claims_set(struct claims *c, const char *owner, int64_t created, const struct map *wanted,
                struct map *touched);
/* The owner who has it; NULL when nobody claims it. */
const char *claims_winner(const struct claims *c, const char *claim);
