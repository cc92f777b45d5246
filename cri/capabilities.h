/* Linux capabilities by name and as bit sets (bit n: capability number n). */
#pragma once

#include <stdbool.h>

#include "base/macros.h"

/* What a container gets unless told otherwise: the set that the container runtimes agree on. */
uint64_t capabilities_default(void);
/* All that this process itself may hand on (its bounding set): what "privileged" and "ALL" mean. */
uint64_t capabilities_all(void);
/* "NET_ADMIN", "CAP_NET_ADMIN", any case. False when there is no such capability. */
bool capability_parse(const char *name, uint64_t *ret_bit);
