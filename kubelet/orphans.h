/*
 * What is left of pods that nobody wants: sandboxes in the runtime, directories, cgroups, logs.
 * After a restart of the kubelet, and whenever the runtime shows a pod that no source has.
 */
#pragma once

#include "base/map.h"
#include "kubelet/kubelet.h"

struct orphans;

struct orphans *orphans_new(struct kubelet *k);
struct orphans *orphans_free(struct orphans *o); /* returns NULL */
/* Stops the pod's containers with the grace period that they carry, then removes all of it. Does
 * nothing while that is under way already. */
void orphans_remove(struct orphans *o, const char *uid);
/* Removes directories, cgroups and logs of pods that are neither in @wanted (by uid) nor in the
 * runtime. */
void orphans_remove_files(struct orphans *o, const struct map *wanted);
