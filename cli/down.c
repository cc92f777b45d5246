/*
 * `coracle down`: stops the cluster of this machine, pods included. State stays.
 *
 * The running supervisor is asked to leave its children (SIGUSR1); this command adopts them, stops
 * what would start pods again, drains the runtime, and stops the rest.
 */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>

#include <poll.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/strbuf.h"
#include "cli/agent.h"
#include "cli/command.h"
#include "cli/down.h"
#include "cli/node.h"
#include "cli/runtime.h"

#define HAND_OVER_MS 5000
#define GRACE_S      10

static void on_stopped(void *arg)
{
    loop_stop(arg, 0);
}

/* Waits for the running supervisor to leave. */
static int take_over(const char *state_dir, struct error *err)
{
    pid_t pid = supervisor_running(state_dir);
    if (pid <= 0)
        return 0;
    _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return 0;
    if (syscall(SYS_pidfd_send_signal, pidfd, SIGUSR1, NULL, 0) < 0)
        return errno == ESRCH ? 0 : error_errno(err, -errno, "cannot signal process %d", (int)pid);
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    if (poll(&p, 1, HAND_OVER_MS) == 0)
        return error_set(err, -ETIMEDOUT, "the supervisor (pid %d) does not answer", (int)pid);
    return 0;
}

static int drain(const char *root, struct error *err)
{
    struct runtime runtime;
    _cleanup_free_ char *socket = daemon_path(root, "/run/coracle/cri.sock");
    if (!fs_exists(socket))
        return 0;
    int r = runtime_open(&runtime, root, err);
    if (r < 0)
        return r;
    r = runtime_drain(&runtime, GRACE_S, err);
    runtime_close(&runtime);
    return r;
}

int node_down(const struct node_config *c, bool *ret_was_up, struct error *err)
{
    static const struct supervisor_ops ops = {.stopped = on_stopped};
    _cleanup_free_ char *state = node_state_dir(c);
    *ret_was_up = false;
    if (!fs_exists(state))
        return 0;
    int r = take_over(state, err);
    if (r < 0)
        return r;
    _cleanup_(loop_freep) struct loop *loop = loop_new();
    struct supervisor *s = NULL;
    pid_t holder = 0;
    if ((r = supervisor_new(&s, loop, state, &ops, loop, &holder, err)) < 0)
        return r;
    supervisor_only_adopt(s);
    struct node_config role = *c; /* only names count, for units that are not started */
    role.joined = agent_exists(c);
    if ((r = node_add_units(&role, s, err)) == 0) {
        *ret_was_up = supervisor_adopted(s);
        supervisor_stop(s, NODE_UNIT_CRI);
        (void)loop_run(loop);
        if (*ret_was_up)
            r = drain(c->root, err);
        supervisor_stop(s, NULL);
        (void)loop_run(loop);
    }
    supervisor_free(s);
    return r;
}

int command_down(int argc, char **argv)
{
    struct node_config c = NODE_CONFIG_INIT;
    struct error err = ERROR_INIT;
    const struct option_def options[] = {
        {"root", 0, OPTION_STRING, &c.root, "DIR", "prefix of every path"}, {NULL}};
    char *words[8];
    if (argc > (int)ARRAY_SIZE(words) || options_parse(options, argc, argv, false, words, &err)) {
        (void)fprintf(stderr, "coracle down: %s\n", err.code ? err.text : "takes flags only");
        return 2;
    }
    daemon_init("coracle", 0);
    bool was_up = false;
    int r = geteuid() == 0 ? node_down(&c, &was_up, &err)
                           : error_set(&err, -EPERM, "must be run as root");
    if (r < 0)
        (void)fprintf(stderr, "coracle down: %s\n", error_text(&err));
    else
        (void)puts(was_up ? "The cluster is stopped. `coracle up` starts it again, `coracle reset "
                            "--yes` removes it."
                          : "No cluster is running here.");
    return r < 0;
}
