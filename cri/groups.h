/*
 * Where the groups of containers come from: the cgroup driver, which must be the kubelet's.
 *
 * cgroupfs: directories that we make below the pod's. systemd: a scope of systemd's in the pod's
 * slice, handed over to us (Delegate=yes), and the container's group below it, so that nothing that
 * systemd does to the scope's own limits touches ours. A scope lives as long as a process is in it:
 * the shim holds one there from the container's creation until it has read how it ended.
 */
#pragma once

#include "base/cgroup.h"
#include "base/loop.h"
#include "cri/waiters.h"

struct groups;
struct group_op; /* under way */

struct groups_options {
    struct loop *loop;
    const struct cgroups *cgs;
    const char *driver;         /* "cgroupfs" or "systemd" */
    const char *root;           /* cgroupfs path below which our own groups are; "/" */
    const char *systemd_socket; /* NULL: systemd's */
};

/* -EINVAL for a driver that there is not, -ENOTCONN when systemd does not answer. */
int groups_open(const struct groups_options *options, struct groups **ret, struct error *err);
/* After every operation is over or forgotten. NULL is harmless; returns NULL. */
struct groups *groups_free(struct groups *g);
const char *groups_driver(const struct groups *g); /* its name */

/* Whether a pod's cgroup_parent ("": none) is of the driver's kind. -EINVAL. */
int groups_check_parent(const struct groups *g, const char *parent, struct error *err);
/* The group of a pod with a good parent, or without; of a container in it; the one that shims move
 * to, NULL when they stay where the daemon is. Callers free. */
char *groups_pod(const struct groups *g, const char *parent, const char *sandbox);
char *groups_container(const struct groups *g, const char *pod, const char *container);
char *groups_shims(const struct groups *g);
/* Whether groups_make() needs a process that stays in the group. */
bool groups_hold(const struct groups *g);

#define GROUP_LATER 1
/* Makes a container's group, to be limited by the caller. @holder: see groups_hold(). 0: it is
 * there; GROUP_LATER: @done is called, unless *ret is forgotten before; -errno. */
int groups_make(struct groups *g, const char *path, pid_t holder, done_fn done, void *arg,
                struct group_op **ret, struct error *err);
/* Kills what is in a container's group and removes it and its scope. A group that is not there is
 * success. 0, GROUP_LATER or -errno, as groups_make(). */
int groups_remove(struct groups *g, const char *path, done_fn done, void *arg,
                  struct group_op **ret, struct error *err);
/* NULL is harmless. */
void group_op_forget(struct group_op *op);
/* A pod without a parent is gone. */
void groups_remove_pod(const struct groups *g, const char *parent, const char *sandbox);

/* For --cleanup: removes what is ours whatever state it is in; shims and containers are killed
 * where they are in groups of ours. Waits. */
int groups_cleanup(const struct groups_options *options, struct error *err);
