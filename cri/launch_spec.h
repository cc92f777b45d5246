/*
 * What a container is, in the terms of the kernel: written by the daemon from the CRI's
 * configuration and the image's, read by coracle-launch, which makes it so. Follows the OCI runtime
 * specification's meaning where both have a field.
 *
 * The daemon fills the struct with borrowed pointers and launch_spec_encode() turns it into bytes;
 * coracle-launch decodes them with every bound checked (launch/spec_decode.c).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/strbuf.h"

#define LAUNCH_SPEC_MAX    (8U << 20) /* bytes of an encoded specification */
#define LAUNCH_LAYERS_MAX  127        /* lower directories of one root */
#define LAUNCH_ITEMS_MAX   65536      /* arguments, environment entries */
#define LAUNCH_MOUNTS_MAX  4096
#define LAUNCH_PATH_MAX    4095 /* bytes of a path */
#define LAUNCH_GROUPS_MAX  65536
#define LAUNCH_DEVICES_MAX 4096
#define LAUNCH_SECCOMP_MAX 65536 /* bytes: 8192 instructions, more than the kernel takes */

enum launch_pid_mode {
    LAUNCH_PID_CONTAINER, /* a PID namespace of its own */
    LAUNCH_PID_POD,       /* the pod's (shim_config.share_pid) */
    LAUNCH_PID_NODE,      /* the host's */
    LAUNCH_PID_TARGET,    /* that of another container (shim_container.pid_target) */
};

enum launch_propagation {
    LAUNCH_PRIVATE,
    LAUNCH_SLAVE,  /* HostToContainer */
    LAUNCH_SHARED, /* Bidirectional */
};

struct launch_mount {
    const char *source; /* on the host; links in it are resolved on the host */
    /* or an image's layers (when @source is NULL): read-only, nothing in it executable */
    const char *const *layers; /* NULL-terminated, topmost first */
    const char *sub_path;      /* a directory in them, links resolved inside; NULL: all */
    const char *target; /* absolute, in the container; made where missing, links resolve inside */
    enum launch_propagation propagation;
    bool readonly;
    bool recursive_readonly; /* mounts below the source too */
    bool idmapped; /* owners on disk are those of the pod's user namespace; not mounts below */
};

struct launch_device {
    const char *path; /* in the container: /dev/fuse */
    char type;        /* 'c' or 'b' */
    uint32_t major, minor;
    mode_t mode; /* permission bits */
    uid_t uid;
    gid_t gid;
    const char *access; /* of "rwm", for the group's device rules; NULL: all. Not encoded */
};

struct launch_rlimit {
    int resource; /* RLIMIT_NOFILE … */
    uint64_t soft, hard;
};

#define LAUNCH_ID_UNSET (-1)

/* A process: a container's first, or one executed in it later. */
struct launch_process {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in the PATH of @env */
    const char *const *env;  /* NULL-terminated "NAME=value"; HOME is added when missing */
    const char *cwd;         /* absolute; made (in a container's first process) when missing */
    /* Who: @user as images have it ("www-data", "33", "33:33", "name:group", "" for root), looked
     * up in the container's /etc/passwd and /etc/group; @uid and @gid, where set, win over it. */
    const char *user;
    int64_t uid, gid;    /* LAUNCH_ID_UNSET */
    const gid_t *groups; /* supplementary, besides those /etc/group gives the user */
    size_t n_groups;
    bool strict_groups; /* SupplementalGroupsPolicy Strict: only @groups, not /etc/group's */
    /* Bits by capability number (capabilities.h). */
    uint64_t cap_bounding, cap_effective, cap_permitted, cap_inheritable, cap_ambient;
    bool no_new_privs;
    const void *seccomp;    /* array of struct sock_filter (seccomp.h); NULL: unconfined */
    size_t seccomp_len;     /* bytes */
    unsigned seccomp_flags; /* SECCOMP_FILTER_FLAG_LOG, …_SPEC_ALLOW */
    const char *apparmor;   /* profile to take at exec; NULL: unconfined */
    const struct launch_rlimit *rlimits;
    size_t n_rlimits;
    int64_t oom_score_adj; /* -1000 … 1000; INT64_MIN: leave */
    bool tty;
    uint16_t tty_columns, tty_rows; /* 0: leave */
};

struct launch_spec {
    struct launch_process process;
    /* The pod has a user namespace of its own (of the shim's making): what its user and group 0 are
     * outside. Layers of the root are then mapped; mounts are as each of them says. */
    bool userns;
    uid_t userns_uid;
    gid_t userns_gid;

    /* The root. Either an overlay: */
    const char *const *lowerdirs; /* NULL-terminated, topmost first */
    const char *upperdir;         /* NULL: read-only overlay of the lower ones */
    const char *workdir;
    /* or a directory as it is (when @lowerdirs is NULL): */
    const char *rootdir;
    bool rootfs_readonly;

    enum launch_pid_mode pid_mode;
    bool host_network;    /* the pod lives in the node's network namespace */
    bool privileged;      /* /sys and cgroups writable, every host device, nothing masked */
    const char *shm_path; /* bound to /dev/shm (shim_shm_path() of the pod's); NULL: own 64 MB */
    const struct launch_mount *mounts; /* in order of making: sort by depth of target */
    size_t n_mounts;
    const struct launch_device *devices; /* besides the standard ones */
    size_t n_devices;
    const char *const *masked_paths;   /* NULL-terminated; NULL: none */
    const char *const *readonly_paths; /* NULL-terminated; NULL: none */
    const char *cgroup; /* path of the group as in base/cgroup.h; it exists already */
};

/* The lists the container runtimes agree on, NULL-terminated (CRI sends its own; these are for
 * callers that have none). */
extern const char *const launch_default_masked_paths[];
extern const char *const launch_default_readonly_paths[];

#define LAUNCH_PROCESS_INIT                                                     \
    {                                                                           \
        .cwd = "/", .user = "", .uid = LAUNCH_ID_UNSET, .gid = LAUNCH_ID_UNSET, \
        .oom_score_adj = INT64_MIN                                              \
    }

struct cgroups;

/* Appends the encoding. For a process to be executed in a running container only @spec->process,
 * @spec->cgroup and the user namespace count. -EINVAL names the field that is out of bounds. */
int launch_spec_encode(const struct launch_spec *spec, const struct cgroups *cgs,
                       struct strbuf *out, struct error *err);
