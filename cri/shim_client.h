/*
 * The daemon's end of a pod's shim: start one, or connect again to one that outlived the last
 * daemon; make containers in it, execute in them, attach to them.
 *
 * coracle-shim makes and pins the pod's namespaces itself while it starts (and stays in the
 * network, IPC and UTS ones), so its READY is when <dir>/ns/net can be given an address. It holds:
 *
 *   <dir>/shim.sock         its socket (SOCK_SEQPACKET; protocol: shim_proto.h)
 *   <dir>/shim.pid          "<pid> <start time in clock ticks since boot>\n"
 *   <dir>/ns/{net,ipc,uts,user}  bind mounts of the namespaces it was asked to make
 *   <dir>/shm               the pod's /dev/shm, a tmpfs
 *   <dir>/state/<id>        one file per container, kept for when the shim itself is lost
 *
 * Everything is asynchronous on the loop. Requests are answered once, in order of sending for each
 * kind; when the connection breaks, each outstanding one is answered with -ECONNRESET first, then
 * `closed` is called. A request call that returns a negative value was not sent: its callback does
 * not come. All calls are for the loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/cgroup.h"
#include "base/loop.h"
#include "cri/launch_spec.h"
#include "cri/shim_state.h"

struct shim;

/* ---- what a shim tells by itself ---- */

struct shim_exit {
    const char *container; /* id */
    const char *exec;      /* id of the exec; NULL: the container's first process */
    int exit_code;         /* 0 … 255; 128 + signal when killed */
    int signal;            /* 0: exited by itself */
    bool oom_killed;       /* the kernel killed a process of the container for want of memory */
    int64_t finished_ns;   /* since the epoch */
};

struct shim_events {
    void (*exited)(struct shim *shim, const struct shim_exit *e, void *arg);
    /* The connection is gone. @process_ended: the shim is dead, and with it all its containers have
     * been sent SIGKILL (their cgroups are yours to kill again and to remove). Free the shim
     * here or later; no other callback follows. */
    void (*closed)(struct shim *shim, bool process_ended, void *arg);
    void *arg; /* of `ready`, too */
};

/* ---- starting and finding ---- */

#define SHIM_NS_NET 1U
#define SHIM_NS_IPC 2U
#define SHIM_NS_UTS 4U

struct shim_config {
    const char *dir;    /* an existing directory of the pod, on tmpfs, on no shared path */
    const char *cgroup; /* group for the shim itself ("/coracle/shims"); made when missing */
    const struct cgroups *cgs;
    unsigned namespaces;        /* SHIM_NS_*: to make; the others are the daemon's own */
    const char *hostname;       /* with SHIM_NS_UTS; NULL: leave */
    const char *const *sysctls; /* "net.ipv4.ip_unprivileged_port_start=0", NULL-terminated; NULL */
    uint64_t shm_size;          /* bytes of <dir>/shm; 0: none is made */
    bool share_pid;             /* one PID namespace for the pod, with coracle-init in it */
    /* A user namespace that owns the others: its ids 0 … length - 1 are host … outside; length 0:
     * none. */
    struct {
        uint32_t host, length;
    } uids, gids;
    const char *libexec; /* directory of coracle-shim, -launch, -init */
};

/* Starts a shim. @ready is called once: code 0 when the namespaces are there and requests are
 * taken, else what failed (nothing is left but files in @dir; the shim is freed after). Requests
 * may be sent before. @cfg is used during the call only. */
int shim_start(struct loop *loop, const struct shim_config *cfg, const struct shim_events *events,
               void (*ready)(struct shim *shim, int code, const char *message, void *arg),
               struct shim **ret, struct error *err);
/* Connects to the shim of @dir after a restart of the daemon. -ENOENT/-ECONNREFUSED: it is dead
 * (read <dir>/state with shim_state_files()). */
int shim_connect(struct loop *loop, const char *dir, const struct shim_events *events,
                 struct shim **ret, struct error *err);
/* Drops the connection; the shim and its containers live on. Outstanding requests are forgotten
 * without a callback. NULL is harmless. Returns NULL. */
struct shim *shim_free(struct shim *shim);
pid_t shim_pid(const struct shim *shim);

/* Undoes what a dead or stopped shim left in the host below @dir: unmounts <dir>/ns/... and
 * <dir>/shm, and removes its files. */
int shim_clean(const char *dir, struct error *err);

/* ---- requests ---- */

struct shim_reply {
    int code;            /* 0 or -errno */
    const char *message; /* for people, when @code is not 0; "" otherwise */
    /* start, exec: what the process would have exited with, as runc has it: 127 no such program,
     * 126 not executable, 128 anything else. 0 when it runs. */
    int exit_code;
    pid_t pid;         /* start, exec, create with hold: in the host's numbers */
    int64_t time_ns;   /* start, exec: when it was started */
    int fd;            /* exec with a tty: the terminal, yours from here on; else -1 */
    const char *notes; /* start, exec: what could not be applied here, one a line; "" */
};
typedef void (*shim_cb)(const struct shim_reply *reply, void *arg);

struct shim_container {
    const char *id;         /* at most 128 bytes of [A-Za-z0-9_.-] */
    const char *log_path;   /* CRI log file; directory exists; NULL: output is dropped */
    const char *pid_target; /* with LAUNCH_PID_TARGET: a container that runs when this starts */
    bool stdin_open;        /* keep a stdin for attach; else it is /dev/null */
    bool stdin_once;        /* close stdin when the first attached client's stdin ends */
    uint64_t log_max_bytes; /* rotate at write time beyond this (<log_path>.<time>); 0: never */
    unsigned log_max_files; /* rotated files to keep; 0: 1 */
    bool hold;              /* keep a process for its scope until it has ended; pid of the reply */
};

/* Registers the container. Nothing runs yet. -EEXIST. */
int shim_create(struct shim *shim, const struct shim_container *c, const struct launch_spec *spec,
                const struct cgroups *cgs, shim_cb cb, void *arg, struct error *err);
/* Runs it; answered when the program was executed, or with why it could not be. */
int shim_start_container(struct shim *shim, const char *id, shim_cb cb, void *arg);
/* Signals the container's first process (@exec NULL), an exec, or with @all every process of the
 * container. 0 also when it has exited already; -ENOENT when there is no such container. */
int shim_kill(struct shim *shim, const char *id, const char *exec, int signo, bool all, shim_cb cb,
              void *arg);
/* Executes @spec->process in a running container. Without a tty the process gets @fds (stdin,
 * stdout, stderr; -1: /dev/null) as they are, duplicated during the call: the shim relays nothing
 * and keeps no copy, so end of file means that the last process holding them is gone. With a tty
 * the reply carries the terminal. @exec names it until `exited`. */
int shim_exec(struct shim *shim, const char *id, const char *exec, const struct launch_spec *spec,
              const struct cgroups *cgs, const int fds[3], shim_cb cb, void *arg,
              struct error *err);
/* Attaches to a container's streams: each descriptor (-1: none) is duplicated to the shim during
 * the call, @fds[0] to be read, [1] and [2] to be written (tty: only [1]). What the container
 * writes from now on arrives there, and end of file when it ends; a reader that falls more than the
 * descriptor's buffer behind is dropped (use a socketpair with a good SO_SNDBUF). */
int shim_attach(struct shim *shim, const char *id, const int fds[3], shim_cb cb, void *arg);
int shim_resize(struct shim *shim, const char *id, uint16_t columns, uint16_t rows, shim_cb cb,
                void *arg); /* an exec's terminal is resized through its fd */
int shim_close_stdin(struct shim *shim, const char *id, shim_cb cb, void *arg);
/* Opens the log file anew (after a rename). */
int shim_reopen_log(struct shim *shim, const char *id, shim_cb cb, void *arg);
/* Forgets a container that is not running: closes its log, removes its state file. */
int shim_remove(struct shim *shim, const char *id, shim_cb cb, void *arg);
/* Kills what still runs, ends the shim. `closed` follows. */
int shim_shutdown(struct shim *shim, shim_cb cb, void *arg);

/* ---- state ---- */

/* Asks for every container; @cb gets an array that is valid during the call. */
int shim_query(struct shim *shim,
               void (*cb)(int code, const struct shim_state *states, size_t n, void *arg),
               void *arg);
/* The same from <dir>/state, for a shim that is dead: what was running then died with it (the
 * caller reports those 137). Caller frees *ret. */
int shim_state_files(const char *dir, struct shim_state **ret, size_t *n, struct error *err);

/* Kills the shim of a pod's directory, if one lives, and waits for its end. -ETIMEDOUT. For
 * --cleanup. */
int shim_kill_stray(const char *dir, struct error *err);

/* "<dir>/ns/net" and so on, "<dir>/shm". The caller frees. */
char *shim_ns_path(const char *dir, const char *ns);
char *shim_shm_path(const char *dir);
