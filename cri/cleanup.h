/* What `coracle-cri --cleanup` does: removes everything the runtime put into the host. */
#pragma once

#include "cri/runtime.h"

/* Kills shims and containers, removes their cgroups, mounts, the bridge and the iptables chains.
 * Refuses
 * (-EBUSY) while a daemon runs on this root. Files stay. Continues past errors; returns the first.
 */
int runtime_cleanup(const struct runtime_options *options, struct error *err);
