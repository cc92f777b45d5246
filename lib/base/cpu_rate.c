/* Processor usage as a rate; see cpu_rate.h. */
#include "base/cpu_rate.h"

#define APART_NS 1000000000

bool cpu_rate_update(struct cpu_rate *rate, int64_t at_ns, uint64_t usage_ns)
{
    int64_t passed = at_ns - rate->at_ns;
    bool grown = rate->at_ns && passed >= 0 && usage_ns >= rate->usage_ns;
    if (grown && passed < APART_NS)
        return rate->known;
    rate->known = grown;
    if (grown)
        rate->nano_cores = (uint64_t)((double)(usage_ns - rate->usage_ns) / (double)passed * 1e9);
    rate->at_ns = at_ns;
    rate->usage_ns = usage_ns;
    return rate->known;
}
