/* How much of a processor something uses now, in billionths: from two readings of what it has used
 * in all that are at least a second apart. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cpu_rate {
    int64_t at_ns; /* of the last reading; 0: none yet */
    uint64_t usage_ns;
    uint64_t nano_cores;
    bool known;
};

/* Takes a reading; whether rate->nano_cores is known. A reading within the second counts for
 * nothing, one that is lower than the last (another group) begins anew. */
bool cpu_rate_update(struct cpu_rate *rate, int64_t at_ns, uint64_t usage_ns);
