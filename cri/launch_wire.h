/*
 * The encoded launch specification: tagged records (base/tlv.h) after a version record. Shared by
 * the encoder (launch_spec.c, in the daemon) and the decoder (launch/decode.c, in coracle-launch).
 * Tags are never given a new meaning: a shim of an older release starts the launcher it was started
 * with, under a newer daemon.
 */
#pragma once

#define LAUNCH_VERSION 1

enum launch_tag {
    LT_VERSION = 1,
    /* the process */
    LT_ARG = 10,
    LT_ENV,
    LT_CWD,
    LT_USER,
    LT_UID,
    LT_GID,
    LT_GROUP,
    LT_STRICT_GROUPS,
    LT_CAP_BOUNDING,
    LT_CAP_EFFECTIVE,
    LT_CAP_PERMITTED,
    LT_CAP_INHERITABLE,
    LT_CAP_AMBIENT,
    LT_NO_NEW_PRIVS,
    LT_SECCOMP, /* struct sock_filter[], in the machine's own byte order: it never leaves it */
    LT_APPARMOR,
    LT_RLIMIT, /* holds LT_R_… */
    LT_OOM_SCORE_ADJ,
    LT_TTY,
    LT_TTY_COLUMNS,
    LT_TTY_ROWS,
    LT_SECCOMP_FLAGS,
    /* the container */
    LT_LOWERDIR = 60,
    LT_UPPERDIR,
    LT_WORKDIR,
    LT_ROOTDIR,
    LT_ROOT_READONLY,
    LT_PID_MODE,
    LT_HOST_NETWORK,
    LT_PRIVILEGED,
    LT_SHM,
    LT_MOUNT,  /* holds LT_M_… */
    LT_DEVICE, /* holds LT_D_… */
    LT_MASKED,
    LT_READONLY,
    LT_CGROUP_JOIN, /* v1: a group's directory, to be joined by the launcher */
    LT_CGROUP_VIEW, /* v1: "name=directory", to be seen as /sys/fs/cgroup/name */
    LT_CGROUP_V2,   /* /sys/fs/cgroup is one v2 tree */
    LT_USERNS_UID,  /* both: the pod has a user namespace, whose 0 is this outside */
    LT_USERNS_GID,
    /* inside LT_MOUNT */
    LT_M_SOURCE = 1,
    LT_M_TARGET,
    LT_M_PROPAGATION,
    LT_M_READONLY,
    LT_M_RECURSIVE_READONLY,
    LT_M_IDMAPPED,
    LT_M_LAYER,
    LT_M_SUB_PATH,
    /* inside LT_DEVICE */
    LT_D_PATH = 1,
    LT_D_TYPE,
    LT_D_MAJOR,
    LT_D_MINOR,
    LT_D_MODE,
    LT_D_UID,
    LT_D_GID,
    /* inside LT_RLIMIT */
    LT_R_RESOURCE = 1,
    LT_R_SOFT,
    LT_R_HARD,
};
