/* A supervisor in the foreground; see supervise.h. */
#include "cli/supervise.h"

#include <signal.h>

#include "base/daemon.h"
#include "base/strbuf.h"

struct run {
    const struct node_config *config;
    struct loop *loop;
    struct supervisor *supervisor;
    struct loop_signal term, intr, usr1;
    const struct node_hooks *hooks;
    void *started; /* by hooks->ready */
    bool announced;
};

static void on_ready(void *arg, const char *unit)
{
    struct run *r = arg;
    _cleanup_free_ char *status = str_printf("STATUS=%s is ready", unit);
    daemon_notify(status);
    if (!r->announced && r->supervisor && supervisor_all_ready(r->supervisor)) {
        r->announced = true;
        daemon_notify("READY=1");
        if (r->hooks->ready)
            r->started = r->hooks->ready(r->config, r->loop);
    }
}

static void on_ended(_unused_ void *arg, const char *unit, const char *how)
{
    _cleanup_free_ char *status = str_printf("STATUS=%s ended: %s", unit, how);
    daemon_notify(status);
}

static void on_stopped(void *arg)
{
    struct run *r = arg;
    loop_stop(r->loop, 0);
}

static void on_stop_signal(_unused_ int signo, void *arg)
{
    struct run *r = arg;
    daemon_notify("STOPPING=1");
    supervisor_stop(r->supervisor, NULL);
}

static void on_hand_over(_unused_ int signo, void *arg)
{
    struct run *r = arg;
    loop_stop(r->loop, 0);
}

int node_supervise(const struct node_config *c, const struct node_hooks *hooks, struct error *err)
{
    static const struct supervisor_ops ops = {
        .ready = on_ready, .ended = on_ended, .stopped = on_stopped};
    _cleanup_(loop_freep) struct loop *loop = loop_new();
    struct run run = {.config = c, .loop = loop, .hooks = hooks};
    _cleanup_free_ char *state = node_state_dir(c);
    pid_t holder = 0;
    int r = supervisor_new(&run.supervisor, loop, state, &ops, &run, &holder, err);
    if (r == 0)
        r = hooks->prepare(c, err);
    loop_signal_init(&run.term, loop, SIGTERM, on_stop_signal, &run);
    loop_signal_init(&run.intr, loop, SIGINT, on_stop_signal, &run);
    loop_signal_init(&run.usr1, loop, SIGUSR1, on_hand_over, &run);
    if (r == 0)
        r = node_add_units(c, run.supervisor, err);
    if (r == 0) {
        if (supervisor_all_ready(run.supervisor)) /* all were adopted */
            on_ready(&run, "everything");
        (void)loop_run(loop);
    }
    if (run.started)
        hooks->done(run.started);
    loop_signal_done(&run.term);
    loop_signal_done(&run.intr);
    loop_signal_done(&run.usr1);
    supervisor_free(run.supervisor);
    return r;
}
