/*
 * coracle-launch, inside: turns itself into a container's process. Single-threaded, short-lived,
 * started by the shim in namespaces of its own (or to enter a container's), with
 *
 *   0, 1, 2  the process's standard streams (or /dev/null, with a terminal to come)
 *   3        the launch specification (a memory file)
 *   4        the report socket to the shim (report.c), closed by a successful exec
 *   5        a pidfd of the container's first process ("exec" only)
 *   6        the pod's user namespace, if it has one ("create" only)
 *
 * Functions return 0 or -errno with a text in @err that names the step. There is nothing to undo:
 * when a step fails the process ends, and its namespaces go with it.
 */
#pragma once

#include "cri/launch_spec.h"

#define LAUNCH_FD_SPEC   3
#define LAUNCH_FD_REPORT 4
#define LAUNCH_FD_TARGET 5
#define LAUNCH_FD_USERNS 6

struct launch_mapped { /* a layer's id-mapped mount */
    const char *path;
    int fd;
};

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
    int *binds;    /* a detached mount per spec.mounts */
    int shm_fd;    /* a detached mount of the pod's /dev/shm, -1 */
    struct launch_mapped *mapped;
    size_t n_mapped;
    /* Who owns what is made for the container: its user and group 0, as the present user namespace
     * has them. */
    uid_t owner_uid;
    gid_t owner_gid;
};

/* decode.c: -EBADMSG, -EINVAL; @data must outlive the job. */
int launch_decode(const void *data, size_t len, struct launch_job *ret, struct error *err);
void launch_job_done(struct launch_job *job);

/* report.c: what the shim is told. */
void report_note(const char *fmt, ...) _printf_(1, 2);
int report_tty(int master, struct error *err);
int report_pid(pid_t pid);           /* another process goes on in our place */
int report_ready(struct error *err); /* the next thing is exec */
void report_error(const struct error *err, int exit_code);

/* mounts.c: pieces of mount(2)'s successors. */
int mount_new(const char *type, const char *const options[][2], unsigned attributes,
              struct error *err);
int mount_clone(int dirfd, const char *path, bool recursive, struct error *err);
int mount_attach(int mount_fd, int target_fd, const char *what, struct error *err);
int mount_set_readonly(int mount_fd, bool recursive, struct error *err);
/* Maps the owners of a detached mount's files as the pod's user namespace does. @path is where it
 * comes from, for the error: -ENOTSUP when the file system cannot. */
int mount_idmap(int mount_fd, const char *path, struct error *err);
struct mountinfo {
    struct strbuf text;
    const char *options, *type; /* the fields before " - " in proc(5)'s line, and the file system */
};
/* What is known of the mount that @path is on. */
int mountinfo_read(const char *path, struct mountinfo *ret, struct error *err);
void mountinfo_done(struct mountinfo *info);
/* Opens @path inside the container's root (O_PATH), links resolved inside; -ENOENT is not a text.
 */
int root_open(const struct launch_job *job, const char *path, int flags);
/* The same, made (a directory or an empty file) where missing. */
int root_make(const struct launch_job *job, const char *path, bool directory, struct error *err);

/* layers.c */
struct layers {
    const char *const *lower; /* NULL-terminated, topmost first */
    const char *upper, *work; /* NULL: read-only */
};
/* Mounts their overlay over the directory @target of our mount tree. */
int layers_mount(struct launch_job *job, const struct layers *layers, const char *target,
                 struct error *err);
/* A layer by itself, as the container is to see it: a descriptor that stays the job's. */
int layer_open(struct launch_job *job, const char *path, struct error *err);

/* binds.c: what is mounted from the host, and images */
int binds_prepare(struct launch_job *job, struct error *err);
int images_prepare(struct launch_job *job, struct error *err); /* once our mounts are private */
int binds_attach(struct launch_job *job, struct error *err);

/* userns.c */
/* Continues in the pod's user namespace and the container's own namespaces, with a detached copy of
 * the root and /dev, which is attached; with a PID namespace of the container's own in a child. */
int userns_cross(struct launch_job *job, struct error *err);
int userns_become_root(struct error *err);

/* rootfs.c: from the overlay to pivot_root(); in this order. */
int rootfs_prepare(struct launch_job *job, struct error *err);
int rootfs_make(struct launch_job *job, struct error *err);
int rootfs_fill(struct launch_job *job, struct error *err);
int rootfs_enter(struct launch_job *job, struct error *err);

/* dev.c, sys.c: what every container finds mounted. */
int dev_make(struct launch_job *job, struct error *err); /* the nodes, with the host's privileges */
int dev_fill(struct launch_job *job, struct error *err); /* terminals, shared memory, queues */
int sys_make(struct launch_job *job, struct error *err);
int paths_protect(struct launch_job *job, struct error *err); /* masked and read-only paths */

/* probe.c */
int probe(const char *upper_layer, const char *lower_layer, struct error *err);

/* tty.c */
int tty_make(struct launch_job *job, bool container, struct error *err);

/* user.c: fills uid, gid, groups, home from the root that we are in. */
int user_resolve(struct launch_job *job, struct error *err);
/* The same from the texts of the two files. */
int user_lookup(struct launch_job *job, const char *passwd, const char *groups, struct error *err);

/* process.c */
int process_prepare(struct launch_job *job,
                    struct error *err); /* with all privileges, on the host */
void process_own_streams(uid_t uid);
int process_become(struct launch_job *job, struct error *err); /* credentials, then exec */
