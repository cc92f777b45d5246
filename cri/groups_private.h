/* Shared by the files of the cgroup drivers. */
#pragma once

#include "base/systemd.h"
#include "cri/groups.h"

struct groups {
    const struct group_driver *driver;
    struct loop *loop;
    const struct cgroups *cgs;
    char *root; /* "" or "/name" */
    struct systemd *systemd;
};

struct group_op {
    struct groups *groups;
    char *path;   /* of the container's group */
    done_fn done; /* NULL: forgotten */
    void *arg;
    unsigned tries;          /* to remove directories */
    struct loop_timer again; /* once more from where it was */
    struct systemd_job *job; /* NULL: none */
    pid_t holder;
    unsigned stops; /* of the scope that failed */
};

struct group_driver {
    const char *name;
    bool hold;
    int (*open)(struct groups *g, const struct groups_options *o, struct error *err);
    int (*check_parent)(const struct groups *g, const char *parent, struct error *err);
    char *(*pod)(const struct groups *g, const char *parent, const char *sandbox);
    char *(*container)(const struct groups *g, const char *pod, const char *container);
    char *(*shims)(const struct groups *g);
    /* 0, GROUP_LATER (then group_op_done() follows), -errno. */
    int (*make)(struct group_op *op, pid_t holder, struct error *err);
    int (*remove)(struct group_op *op, struct error *err);
    int (*cleanup)(struct groups *g, struct error *err);
};
extern const struct group_driver groups_cgroupfs, groups_systemd;

/* Tells, and frees @op. */
void group_op_done(struct group_op *op, int code, const struct error *err);
/* Kills what is in the group and removes it, again and again until it is empty: a process that was
 * killed is in it for a moment longer. */
int group_op_remove_dirs(struct group_op *op, struct error *err);
/* Stops the scope that the group is in, where it is in one, then removes what is left. */
int group_op_stop_scope(struct group_op *op, struct error *err);
/* The scope that @path is in, else @path. Caller frees. */
char *group_top(const char *path);
