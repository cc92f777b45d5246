/*
 * The cgroups of pods: <root>/kubepods for guaranteed pods, with burstable and besteffort below
 * it; one group per pod, limited to the sum of its containers. Containers' own groups are made by
 * the runtime, below the pod's.
 */
#pragma once

#include "base/cgroup.h"
#include "kubelet/config/downward.h"
#include "kubelet/runtime/requests.h"

struct pod_cgroups;

/* @root: --cgroup-root, "/" or "/name". Makes the tree. -errno when there are no cgroups to use. */
int pod_cgroups_new(const char *root, struct pod_cgroups **ret, struct error *err);
struct pod_cgroups *pod_cgroups_free(struct pod_cgroups *c); /* NULL is harmless; returns NULL */
DEFINE_CLEANUP(struct pod_cgroups *, pod_cgroups_free);
/* The host's groups, and the path of the one that all pods are in. */
const struct cgroups *pod_cgroups_host(const struct pod_cgroups *c);
const char *pod_cgroups_top(const struct pod_cgroups *c);
bool pod_cgroups_unified(const struct pod_cgroups *c); /* cgroup v2; false for NULL */
/* Whether groups have a limit of swap; false for NULL. */
bool pod_cgroups_swap(const struct pod_cgroups *c);
/* What pods together may have: @share (NULL: no limit), and how many tasks each (below 1: no limit
 * of ours; set when its group is made). */
int pod_cgroups_limit(struct pod_cgroups *c, const struct node_capacity *share, int64_t pids,
                      struct error *err);
/* The weight of burstable pods against others follows their requests, @milli in all. */
void pod_cgroups_weigh(struct pod_cgroups *c, int64_t milli);
/* The pod's group: what the runtime gets as cgroup_parent. Valid until the next call. */
const char *pod_cgroups_path(struct pod_cgroups *c, const struct pod *pod);
/* Makes the pod's group and sets its limits; again whenever they change. */
int pod_cgroups_ensure(struct pod_cgroups *c, const struct pod *pod, const struct pod_resources *r,
                       struct error *err);
/* The memory that the pod uses and cannot give back easily, bytes; 0 when it is not known. */
uint64_t pod_cgroups_memory(struct pod_cgroups *c, const struct pod *pod);
/* The path of a container's group, which the runtime made below the pod's under a name that holds
 * its id; NULL when there is none. The caller frees. */
char *pod_cgroups_container(struct pod_cgroups *c, const struct pod *pod, const char *id);
/* Kills what is left in it and removes it. -EBUSY: processes are still ending, try again soon. */
int pod_cgroups_remove(struct pod_cgroups *c, const struct pod *pod, struct error *err);
/* Calls @fn with the uid of every pod group there is: to find orphans. */
void pod_cgroups_each(struct pod_cgroups *c,
                      void (*fn)(const char *uid, const char *path, void *arg), void *arg);
/* As pod_cgroups_remove(), for one found so. */
int pod_cgroups_remove_path(struct pod_cgroups *c, const char *path, struct error *err);
