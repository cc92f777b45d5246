/*
 * coracle-shim, inside. One thread, one epoll, plain structs: a pod pays for this process, so it
 * keeps next to no heap and gives buffers back after a burst. It links libc and the parts of
 * lib/base that need nothing else.
 *
 *   main.c        start: double fork, cgroup, namespaces, the loop
 *   namespaces.c  the pod's namespaces, pinned by bind mounts
 *   userns.c      the same owned by a user namespace of the pod's
 *   pod_init.c    the first process of a PID namespace that containers share
 *   server.c      the socket: connections, requests in, replies and events out
 *   container.c   containers: create, start, end
 *   process.c     a process under way: clone, launcher's report, exec'd or failed
 *   holder.c      a process that keeps a container's systemd scope
 *   streams.c     standard streams: pipe or terminal → log and attached clients, clients → stdin
 *   log.c         the CRI log format
 *   state.c       state files
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/list.h"
#include "base/tlv.h"
#include "cri/shim_proto.h"
#include "cri/shim_state.h"

struct shim;
struct conn;

/* Something epoll watches, embedded in its owner. */
struct source {
    int fd; /* -1: not watched */
    void (*cb)(struct shim *shim, struct source *s, uint32_t events);
};
int source_add(struct shim *shim, struct source *s, uint32_t events);
void source_set(struct shim *shim, struct source *s, uint32_t events);
/* Stops watching until the next source_set(): not even a hang-up is told. */
void source_pause(struct shim *shim, struct source *s);
/* Stops watching and closes the descriptor. */
void source_close(struct shim *shim, struct source *s);

/* ---- log.c ---- */
#define LOG_LINE_MAX 16384 /* bytes of one record's content; longer lines are split */

struct log_stream { /* one stream's unfinished line */
    char *partial;  /* LOG_LINE_MAX bytes while there is one */
    size_t len;
};
struct log_file {
    int fd; /* -1: output is dropped */
    char *path;
    uint64_t size, max_bytes;
    unsigned max_files;
    int64_t rotated_s; /* the time in the name of the last rotated file */
    uint64_t lost;     /* bytes of records that could not be written (disk full) */
};
/* Frames @data: appends whole records to @out, which log_write() sends; call it often. */
void log_frame(struct log_stream *s, const char *stream, int64_t now_ns, const char *data,
               size_t len, void (*emit)(void *arg, const char *record, size_t len), void *arg);
/* Ends an unfinished line as a partial record. */
void log_finish(struct log_stream *s, const char *stream, int64_t now_ns,
                void (*emit)(void *arg, const char *record, size_t len), void *arg);
int log_open(struct log_file *f);
/* Appends whole records: all of them or, when the disk is full, as many as fit. */
void log_write(struct log_file *f, const char *records, size_t len);
void log_close(struct log_file *f);

/* ---- processes ---- */
struct process {
    struct list link;
    struct container *container;
    char *exec_id; /* NULL: the container's first process */
    pid_t pid;
    struct source report; /* from the launcher, until it has executed the program */
    bool ready;           /* the launcher was about to execute it */
    bool failed;
    bool exited; /* reaped before the report was read */
    int status;
    int64_t started_ns;
    int tty_fd; /* the terminal's master on its way to who asked, or to the streams */
    struct strbuf notes, error;
    int code, exit_code;
    struct conn *asker; /* gets the reply; NULL when gone */
    uint32_t request;
};

/* Starts the launcher. @spec_fd and @fds stay the caller's. On failure nothing is left. */
struct spawn {
    struct container *container;
    const char *exec_id;
    int spec_fd;
    const int *fds; /* standard streams; -1: /dev/null */
};
int process_start(struct shim *shim, const struct spawn *s, struct conn *asker, uint32_t request,
                  struct error *err);
void process_reap(struct shim *shim);
/* 0 also when it has ended already. */
int process_kill(struct process *p, int signo);
struct process *process_find(struct shim *shim, const struct container *c, const char *exec_id);
void process_forget_conn(struct shim *shim, const struct conn *conn);

/* Every signal as a new program expects it. */
void process_reset_signals(void);

/* ---- holder.c ---- */
int holder_start(const struct shim *shim, struct container *c, struct error *err);
void holder_end(struct container *c);
/* @pid is gone: it may have been a holder. */
void holder_reaped(const struct shim *shim, pid_t pid);

/* ---- containers ---- */
struct attached { /* one client of a container's streams */
    struct list link;
    struct container *container;
    struct source in, out[2]; /* out[0] stdout, out[1] stderr */
    char *pending;            /* input that the container did not take yet */
    size_t pending_len, pending_at;
};

struct container {
    struct list link;
    struct shim_state state;
    int spec_fd;
    uint8_t pid_mode;
    char *pid_target; /* id of the container whose PID namespace it shares */
    bool tty, stdin_open, stdin_once;
    char *cgroup, *oom_file, *procs_file; /* NULL where there is none */
    struct log_file log;
    struct source out[2]; /* stdout, stderr; with a terminal out[0] is the master */
    struct source in;     /* the writing end of stdin */
    struct log_stream line[2];
    struct list attached;
    struct process *process;
    pid_t holder; /* 0: none */
};

struct container *container_find(struct shim *shim, const char *id);
void container_exited(struct shim *shim, struct container *c, int status);
int container_kill_all(const struct container *c, int signo);
struct container *container_free(struct shim *shim, struct container *c);

/* Requests, as decoded by server.c. Strings point into the message. */
struct request {
    uint16_t type;
    uint32_t id;
    const char *container, *exec_id, *log_path, *cgroup, *oom_file, *procs_file, *pid_target;
    uint64_t log_max_bytes, log_max_files, stdin_open, stdin_once, tty, pid_mode, signo, all,
        columns, rows, streams, hold;
    pid_t holder;          /* out, of SHIM_CREATE: 0 when there is none */
    int fds[SHIM_FDS_MAX]; /* owned by the request: -1 once taken */
    size_t n_fds;
};
/* 0 or -EBADMSG. Pure: tests and the fuzzer call it. */
int request_decode(const void *data, size_t len, struct request *ret);
/* Whether the descriptors of @req are as its type and streams say; -EBADMSG. */
int request_check_fds(const struct request *req);
/* The fd of each stream in @req, for types that carry a specification first (@lead 1) or not. */
void request_streams(const struct request *req, size_t lead, int fds[3]);

int container_create(struct shim *shim, struct request *req, struct error *err);
int container_start(struct shim *shim, const struct request *req, struct conn *asker,
                    struct error *err);
int container_exec(struct shim *shim, const struct request *req, struct conn *asker,
                   struct error *err);
int container_remove(struct shim *shim, const struct request *req, struct error *err);
int container_signal(struct shim *shim, const struct request *req, struct error *err);

/* ---- streams.c ---- */
int streams_open(struct container *c, int theirs[3], struct error *err);
void streams_watch(struct shim *shim, struct container *c);
void streams_take_tty(struct shim *shim, struct container *c, int master);
/* Everything written so far goes to the log and the clients. */
void streams_drain(struct shim *shim, struct container *c);
void streams_close(struct shim *shim, struct container *c);
void streams_close_stdin(struct shim *shim, struct container *c);
int streams_attach(struct shim *shim, struct container *c, struct request *req, struct error *err);
int streams_resize(struct container *c, const struct request *req, struct error *err);
void attached_free(struct shim *shim, struct attached *a);

/* ---- state.c ---- */
void state_put(struct strbuf *out, const struct shim_state *s);
void state_save(const struct shim_state *s);
void state_remove(const char *id);

/* ---- server.c ---- */
struct conn {
    struct list link;
    struct source io;
};
int server_listen(struct shim *shim, struct error *err);
/* Takes over a connected socket and says hello: @err tells why the shim is not ready, if so. */
void server_adopt(struct shim *shim, int fd, const struct error *err);
void server_reply_process(struct shim *shim, struct process *p);
void server_broadcast_exit(struct shim *shim, const struct process *p, bool oom_killed,
                           int64_t finished_ns);

/* ---- main.c, namespaces.c ---- */
struct shim {
    int epoll_fd;
    struct source listener, signals;
    struct list conns, containers, processes;
    unsigned n_containers, n_processes;
    int launch_fd;  /* O_PATH: coracle-launch on a read-only mount of its own */
    int own_pid_ns; /* to come back to after starting a process in another */
    int user_ns;    /* the pod's, -1: it has none of its own */
    int pod_pidfd;  /* coracle-init, -1 */
    pid_t pod_init;
    bool shutting_down;
};

struct shim_setup { /* from the daemon (shim_start()); strings borrow */
    const char *libexec, *cgroup_v2, *hostname;
    const char *cgroup_v1[32];
    size_t n_cgroup_v1;
    const char *sysctls[128];
    size_t n_sysctls;
    uint64_t namespaces, shm_size, share_pid;
    struct shim_ids {
        uint64_t host, length; /* ids 0 … length - 1 inside are these outside; length 0: no own */
    } uids, gids;
    void *data; /* what they borrow from */
    size_t len;
};
int setup_decode(const void *data, size_t len, struct shim_setup *ret);
int namespaces_make(struct shim *shim, const struct shim_setup *setup, struct error *err);
/* Takes away the mounts of a start that failed. */
void namespaces_undo(const struct shim_setup *setup);
/* Makes the user namespace of @setup and those of @flags (CLONE_NEW…), owned by it, and enters the
 * latter. */
int userns_make(struct shim *shim, const struct shim_setup *setup, int flags, struct error *err);
/* Starts coracle-init as the first process of a PID namespace that the pod's containers share. */
int pod_init_start(struct shim *shim, const struct shim_setup *setup, struct error *err);
void shim_maybe_end(struct shim *shim);
