/* What `coracle-kubelet --cleanup` does: removes what the kubelet put into the host but files. */
#pragma once

#include "base/error.h"

/* Kills what runs below <cgroup_root>/kubepods, removes those cgroups, unmounts volumes below
 * <root>/var/lib/kubelet, and removes our chain of iptables and what was configured for logind.
 * Continues past errors; returns the
 * first. */
int kubelet_cleanup(const char *root, const char *cgroup_root, const char *journal,
                    struct error *err);
