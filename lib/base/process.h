/*
 * Starting programs. Daemons never fork without exec: everything goes through posix_spawn.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/strbuf.h"

struct process_spec {
    const char *const *argv; /* argv[0] is looked up in PATH unless it holds a slash */
    const char *const *envp; /* NULL: our environment */
    const char *cwd;         /* NULL: ours */
    int stdin_fd;            /* -1: /dev/null */
    int stdout_fd;           /* -1: /dev/null */
    int stderr_fd;           /* -1: ours */
    const int *extra_fds;    /* become 3, 4, … in the child; everything above is closed */
    size_t n_extra_fds;
    bool new_session; /* setsid() */
};
#define PROCESS_SPEC_INIT                                \
    {                                                    \
        .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 \
    }

/* Starts the program with default signal handling and no blocked signals. Returns 0 and *ret_pid;
 * -ENOENT when the program is not there, else -errno. */
int process_spawn(const struct process_spec *spec, pid_t *ret_pid, struct error *err);

/* The end of a program run by process_run(). */
struct process_result {
    int status;               /* from waitpid(); -1 when it could not be had */
    bool timed_out;           /* killed at its deadline */
    bool truncated;           /* wrote more than the limit; the rest was dropped */
    const struct strbuf *out; /* standard output */
    const struct strbuf *err; /* standard error */
};
struct process_run;

/* Runs a program with @input on its standard input, gathers at most @limit bytes of each output,
 * kills it after @deadline_ms (with a new session also what it started, unless that left the
 * session), and calls @cb once, always later than this call, also when the program cannot be killed
 * because it hangs in the kernel. spec's three standard descriptors are ignored. *ret (may be NULL)
 * is valid until @cb is called. */
int process_run(struct loop *loop, const struct process_spec *spec, const void *input,
                size_t input_len, size_t limit, uint64_t deadline_ms,
                void (*cb)(const struct process_result *result, void *arg), void *arg,
                struct process_run **ret, struct error *err);
/* Its process ID. */
pid_t process_run_pid(const struct process_run *run);
/* Kills the program; its callback is not called. NULL is harmless. */
void process_run_cancel(struct process_run *run);

/* Sets an error from a result: "iptables-restore: exit status 2: <first lines of stderr>".
 * Returns 0 when it ended with status 0, -ETIMEDOUT, or -EIO. */
int process_result_error(const struct process_result *result, const char *program,
                         struct error *err);

/* As process_run() but waits for the end: for command-line programs, never in a daemon's loop.
 * @out gathers standard output and may be NULL (then it is ours). Returns the exit status
 * (128 + signal when killed) or -errno. */
int process_call(const char *const *argv, struct strbuf *out, struct error *err);
