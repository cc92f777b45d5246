/* Processes executed in running containers: ExecSync here, Exec of the streaming server through
 * exec_start(). */
#pragma once

#include "cri/container.h"

struct exec;

struct exec_events {
    /* It runs (@code 0; @tty_fd is the terminal, the callee's, else -1), or cannot be run: then
     * @exec is gone after this. */
    void (*started)(struct exec *exec, int code, const char *message, int tty_fd, void *arg);
    /* It has ended; @exec is gone after this. Never before `started`. */
    void (*exited)(struct exec *exec, int exit_code, void *arg);
};

/* Runs @argv (NULL-terminated). Without @tty it gets @fds (-1: /dev/null), duplicated during the
 * call. -errno at once: no callback. */
int exec_start(struct container *container, const char *const *argv, bool tty, const int fds[3],
               const struct exec_events *events, void *arg, struct exec **ret, struct error *err);
void exec_kill(struct exec *exec);
/* No callbacks any more; the process goes on. NULL is harmless. */
void exec_forget(struct exec *exec);

struct exec_result {
    int code; /* 0, -ETIMEDOUT, -errno */
    const char *message;
    int exit_code;
    const struct strbuf *out, *err; /* EXEC_OUTPUT_MAX together; the rest was dropped */
};
/* What fits into one message of 16 MB. */
#define EXEC_OUTPUT_MAX ((16U << 20) - 4096)
/* @timeout_s 0: none. @cb is called once, perhaps before this returns. */
void exec_sync(struct container *container, const char *const *argv, int64_t timeout_s,
               void (*cb)(const struct exec_result *result, void *arg), void *arg);

/* ---- from the shim's events ---- */
void exec_exited(struct runtime *rt, const char *container, const char *exec, int exit_code);
/* The container's shim is gone: whatever ran in it was killed. */
void exec_container_gone(struct runtime *rt, const char *container);
