/*
 * The protocol between the daemon and its shims, and between a shim and the launcher it starts.
 *
 * Daemon ↔ shim: a SOCK_SEQPACKET socket; one packet is one message: struct-free, tagged records
 * (base/tlv.h), beginning with SHIM_TYPE and, but for events, SHIM_REQUEST, which a reply repeats.
 * Descriptors travel beside (SCM_RIGHTS) in the order each request says. The shim's first message
 * on a connection is SHIM_HELLO with its version. Records with unknown tags are skipped; a request
 * of an unknown type is answered with -ENOSYS; a malformed one ends the connection. A daemon drives
 * shims of its own version and of the one before, and refuses what those cannot.
 */
#pragma once

#define SHIM_VERSION        2 /* 2: LAUNCH_PID_TARGET, LT_M_LAYER */
#define SHIM_VERSION_MIN    1
#define SHIM_MESSAGE_MAX    16384 /* bytes of one message, either way */
#define SHIM_FDS_MAX        4
#define SHIM_ID_MAX         128
#define SHIM_CONTAINERS_MAX 512  /* of one pod, running or not */
#define SHIM_EXECS_MAX      1024 /* running in one pod */

enum shim_type {
    SHIM_HELLO = 1,
    SHIM_REPLY,
    SHIM_EVENT_EXIT,
    SHIM_STATE_ITEM,  /* one for each container, before the reply to SHIM_QUERY */
    SHIM_CREATE = 16, /* fds: the specification */
    SHIM_START,
    SHIM_KILL,
    SHIM_EXEC,   /* fds: the specification, then those of SHIM_FDS that are set */
    SHIM_ATTACH, /* fds: those of SHIM_FDS that are set */
    SHIM_RESIZE,
    SHIM_CLOSE_STDIN,
    SHIM_REOPEN_LOG,
    SHIM_REMOVE,
    SHIM_QUERY,
    SHIM_SHUTDOWN,
};

enum shim_tag {
    SHIM_TYPE = 1,
    SHIM_REQUEST,
    SHIM_PROTOCOL,  /* version, in SHIM_HELLO */
    SHIM_CONTAINER, /* id */
    SHIM_EXEC_ID,
    SHIM_CODE, /* 0 or -errno, two's complement */
    SHIM_TEXT,
    SHIM_NOTES,
    SHIM_EXIT_CODE,
    SHIM_SIGNAL,
    SHIM_OOM,
    SHIM_PID,
    SHIM_CREATED_AT, /* times: nanoseconds since the epoch */
    SHIM_STARTED_AT,
    SHIM_FINISHED_AT,
    SHIM_STATE, /* enum shim_container_state */
    SHIM_FDS,   /* bit n: stream n is among the descriptors */
    SHIM_LOG_PATH,
    SHIM_LOG_MAX_BYTES,
    SHIM_LOG_MAX_FILES,
    SHIM_STDIN_OPEN,
    SHIM_STDIN_ONCE,
    SHIM_TTY,
    SHIM_PID_MODE,
    SHIM_CGROUP,     /* v2: the directory to clone into */
    SHIM_OOM_FILE,   /* the file whose "oom_kill" line counts */
    SHIM_PROCS_FILE, /* v1, v2: a cgroup.procs of the container, to signal all */
    SHIM_ALL,
    SHIM_COLUMNS,
    SHIM_ROWS,
    SHIM_PID_TARGET, /* id of the container whose PID namespace it shares */
    SHIM_HOLD, /* keep a process for the container's scope: the reply to SHIM_CREATE has its pid */
};

/* What the daemon gives a new shim on descriptor 3; descriptor 4 is its first connection. */
enum shim_setup_tag {
    SETUP_LIBEXEC = 1,
    SETUP_CGROUP_V2, /* directory to clone into */
    SETUP_CGROUP_V1, /* directory of one hierarchy, repeated */
    SETUP_NAMESPACES,
    SETUP_HOSTNAME,
    SETUP_SYSCTL, /* "net/ipv4/x=value", repeated */
    SETUP_SHM_SIZE,
    SETUP_SHARE_PID,
    SETUP_UID_HOST, /* the four: a user namespace whose ids 0 … length - 1 are these outside */
    SETUP_UID_LENGTH,
    SETUP_GID_HOST,
    SETUP_GID_LENGTH,
};
#define SHIM_FD_SETUP  3
#define SHIM_FD_CONN   4
#define SHIM_SETUP_MAX 65536

/* Launcher → shim. */
enum report_tag {
    REPORT_NOTE = 1, /* what could not be applied on this host */
    REPORT_TTY,      /* the terminal's descriptor is beside it */
    REPORT_READY,    /* the program is executed next: end of file after it means success */
    REPORT_CODE,     /* with the next two: failure */
    REPORT_EXIT_CODE,
    REPORT_ERROR,
    REPORT_PID, /* of the process that goes on in place of the one the shim started */
};

/*
 * <dir>/state/<id>: the records SHIM_CONTAINER … SHIM_STATE of one container, written whole and
 * renamed into place.
 */
