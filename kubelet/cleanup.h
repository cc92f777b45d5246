/* What `coracle-kubelet --cleanup` does: removes what the kubelet put into the host but files. */
#pragma once

#include "base/error.h"

/* Kills what runs below <cgroup_root>/kubepods or in that slice, removes those cgroups, unmounts
 * volumes below <root>/var/lib/kubelet, and removes our chain of iptables and what was configured
 * for logind. @systemd_socket NULL: systemd's own. Continues past errors; returns the first. */
int kubelet_cleanup(const char *root, const char *cgroup_root, const char *systemd_socket,
                    const char *journal, struct error *err);
