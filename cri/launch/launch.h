/*
 * coracle-launch, inside: turns itself into a container's process. Single-threaded, short-lived,
 * started by the shim in namespaces of its own (or to enter a container's), with
 *
 *   0, 1, 2  the process's standard streams (or /dev/null, with a terminal to come)
 *   3        the launch specification (a memory file)
 *   4        the report socket to the shim (report.c), closed by a successful exec
 *   5        a pidfd of the container's first process ("exec" only)
 *
 * Functions return 0 or -errno with a text in @err that names the step. There is nothing to undo:
 * when a step fails the process ends, and its namespaces go with it.
 */
#pragma once

#include "cri/launch_spec.h"

#define LAUNCH_FD_SPEC   3
#define LAUNCH_FD_REPORT 4
#define LAUNCH_FD_TARGET 5

struct launch_job {
    struct launch_spec spec;        /* borrows from the specification's bytes */
    const char *const *cgroup_join; /* NULL-terminated directories */
    const char *const *cgroup_view; /* NULL-terminated "name=directory" */
    bool cgroup_v2;

    /* made on the way */
    int root_fd; /* O_PATH: the container's root, before it is ours */
    int dev_fd;  /* its /dev */
    int pts_fd;  /* its /dev/pts */
    uid_t uid;   /* who the process will be */
    gid_t gid;
    gid_t *groups;
    size_t n_groups;
    char *home;    /* from /etc/passwd; NULL */
    int exit_code; /* of an error: 126, 127 or 128 */
    const char **bind_sources;
    int *binds; /* a detached mount per spec.mounts */
    int shm_fd; /* a detached mount of the pod's /dev/shm, -1 */
};

/* decode.c: -EBADMSG, -EINVAL; @data must outlive the job. */
int launch_decode(const void *data, size_t len, struct launch_job *ret, struct error *err);
void launch_job_done(struct launch_job *job);

/* report.c: what the shim is told. */
void report_note(const char *fmt, ...) _printf_(1, 2);
int report_tty(int master, struct error *err);
int report_ready(struct error *err); /* the next thing is exec */
void report_error(const struct error *err, int exit_code);

/* mounts.c: pieces of mount(2)'s successors. */
int mount_new(const char *type, const char *const options[][2], unsigned attributes,
              struct error *err);
int mount_clone(int dirfd, const char *path, bool recursive, struct error *err);
int mount_attach(int mount_fd, int target_fd, const char *what, struct error *err);
int mount_set_readonly(int mount_fd, bool recursive, struct error *err);
/* Opens @path inside the container's root (O_PATH), links resolved inside; -ENOENT is not a text.
 */
int root_open(const struct launch_job *job, const char *path, int flags);
/* The same, made (a directory or an empty file) where missing. */
int root_make(const struct launch_job *job, const char *path, bool directory, struct error *err);

/* rootfs.c: from the overlay to pivot_root(). */
int rootfs_prepare(struct launch_job *job, struct error *err); /* what needs the host's mounts */
int rootfs_make(struct launch_job *job, struct error *err);
int rootfs_enter(struct launch_job *job, struct error *err);

/* dev.c, sys.c: what every container finds mounted. */
int dev_make(struct launch_job *job, struct error *err);
int sys_make(struct launch_job *job, struct error *err);
int paths_protect(struct launch_job *job, struct error *err); /* masked and read-only paths */

/* tty.c */
int tty_make(struct launch_job *job, bool container, struct error *err);

/* user.c: fills uid, gid, groups, home from the root that we are in. */
int user_resolve(struct launch_job *job, struct error *err);
/* The same from the texts of the two files. */
int user_lookup(struct launch_job *job, const char *passwd, const char *groups, struct error *err);

/* process.c */
int process_prepare(struct launch_job *job,
                    struct error *err); /* with all privileges, on the host */
int process_become(struct launch_job *job, struct error *err); /* credentials, then exec */
