/*
 * The cgroups of pods: <root>/kubepods for guaranteed pods, with burstable and besteffort below
 * it; one group per pod, limited to the sum of its containers. Containers' own groups are made by
 * the runtime, below the pod's.
 *
 * Two drivers. cgroupfs: groups are directories of ours. systemd: each is a slice, made and limited
 * by systemd at our request ("kubepods-burstable-pod<uid>.slice", dashes of the uid as
 * underscores); requests take a while. Which one is the runtime's choice, so nothing is made
 * before pod_cgroups_start().
 */
#pragma once

#include "base/cgroup.h"
#include "kubelet/config/downward.h"
#include "kubelet/runtime/requests.h"

struct pod_cgroups;

struct pod_cgroups_options {
    const char *root; /* --cgroup-root, "/" or "/name" */
    struct loop *loop;
    const char *systemd_socket; /* NULL: systemd's own */
};
/* Makes nothing yet. -errno when there are no cgroups to use. */
int pod_cgroups_new(const struct pod_cgroups_options *o, struct pod_cgroups **ret,
                    struct error *err);
struct pod_cgroups *pod_cgroups_free(struct pod_cgroups *c); /* NULL is harmless; returns NULL */
DEFINE_CLEANUP(struct pod_cgroups *, pod_cgroups_free);
/* The host's groups, and the path of the one that all pods are in. */
const struct cgroups *pod_cgroups_host(const struct pod_cgroups *c);
const char *pod_cgroups_top(const struct pod_cgroups *c);
bool pod_cgroups_unified(const struct pod_cgroups *c); /* cgroup v2; false for NULL */
/* Whether groups have a limit of swap, once there are any; false for NULL. */
bool pod_cgroups_swap(const struct pod_cgroups *c);
/* What pods together may have, @share (NULL: no limit), and how many tasks each (below 1: no limit
 * of ours). Before pod_cgroups_start(). */
void pod_cgroups_limit(struct pod_cgroups *c, const struct node_capacity *share, int64_t pids);
/* Makes the tree, with the driver that the runtime has; again is success. -errno when it cannot be
 * made (-ENOTCONN: there is no systemd): try again. */
int pod_cgroups_start(struct pod_cgroups *c, bool systemd, struct error *err);
/* The weight of burstable pods against others follows their requests, @milli in all. */
void pod_cgroups_weigh(struct pod_cgroups *c, int64_t milli);
/* The pod's group: what the runtime gets as cgroup_parent. Valid until the next call. */
const char *pod_cgroups_path(struct pod_cgroups *c, const struct pod *pod);

/* Not over yet: @done is called, then the same call tells how it went. */
enum { POD_CGROUPS_PENDING = 1 };

/* Makes the pod's group and sets its limits; again whenever they change. 0, POD_CGROUPS_PENDING
 * (also before pod_cgroups_start(), when @done is not called), or -errno. */
int pod_cgroups_ensure(struct pod_cgroups *c, const struct pod *pod, const struct pod_resources *r,
                       void (*done)(void *arg), void *arg, struct error *err);
/* No @done with this @arg is called any more. NULL is harmless. */
void pod_cgroups_forget(struct pod_cgroups *c, const void *arg);
/* The memory that the pod uses and cannot give back easily, bytes; 0 when it is not known. */
uint64_t pod_cgroups_memory(struct pod_cgroups *c, const struct pod *pod);
/* The path of a container's group, which the runtime made below the pod's under a name that holds
 * its id; NULL when there is none. The caller frees. */
char *pod_cgroups_container(struct pod_cgroups *c, const struct pod *pod, const char *id);
/* Kills what is left in it and removes it. 0, POD_CGROUPS_PENDING, or -errno; -EBUSY: processes are
 * still ending, try again soon. */
int pod_cgroups_remove(struct pod_cgroups *c, const struct pod *pod, void (*done)(void *arg),
                       void *arg, struct error *err);
/* Calls @fn with the uid of every pod group there is: to find orphans. */
void pod_cgroups_each(struct pod_cgroups *c,
                      void (*fn)(const char *uid, const char *path, void *arg), void *arg);
/* As pod_cgroups_remove(), for one found so; nobody is told when it is over: look again. */
int pod_cgroups_remove_path(struct pod_cgroups *c, const char *path, struct error *err);
