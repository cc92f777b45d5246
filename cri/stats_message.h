/* Statistics in the protocol's messages. What is returned borrows from the objects and the arena.
 */
#pragma once

#include "cri/stats.h"

Runtime__V1__UInt64Value *stats_value(struct arena *a, uint64_t v);
Runtime__V1__FilesystemUsage *stats_filesystem(struct arena *a, const char *mountpoint,
                                               const struct fs_usage *usage, int64_t at_ns);
/* Both take a reading of the processor's use: once for each snapshot. */
Runtime__V1__ContainerStats *stats_of_container(struct arena *a, const struct stats_snapshot *s,
                                                struct container *container);
Runtime__V1__PodSandboxStats *stats_of_sandbox(struct arena *a, const struct stats_snapshot *s,
                                               struct sandbox *sandbox);
