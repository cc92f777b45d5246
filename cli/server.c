/*
 * `coracle server`: runs a single-node cluster in the foreground. It makes keys and certificates,
 * then supervises etcd, apiserver, cri, controllers, proxy, dns and kubelet.
 *
 * SIGTERM and SIGINT stop the daemons in order; pods run on (`coracle down` stops them too).
 * SIGUSR1 ends the supervisor alone and leaves its children to the next one.
 */
#include <errno.h>
#include <signal.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "cli/node.h"
#include "cli/pki.h"

struct server {
    struct loop *loop;
    struct supervisor *supervisor;
    struct loop_signal term, intr, usr1;
    bool announced;
};

static void on_ready(void *arg, const char *unit)
{
    struct server *s = arg;
    _cleanup_free_ char *status = str_printf("STATUS=%s is ready", unit);
    daemon_notify(status);
    if (!s->announced && s->supervisor && supervisor_all_ready(s->supervisor)) {
        s->announced = true;
        daemon_notify("READY=1");
    }
}

static void on_ended(_unused_ void *arg, const char *unit, const char *how)
{
    _cleanup_free_ char *status = str_printf("STATUS=%s ended: %s", unit, how);
    daemon_notify(status);
}

static void on_stopped(void *arg)
{
    struct server *s = arg;
    loop_stop(s->loop, 0);
}

static void on_stop_signal(_unused_ int signo, void *arg)
{
    struct server *s = arg;
    daemon_notify("STOPPING=1");
    supervisor_stop(s->supervisor, NULL);
}

static void on_hand_over(_unused_ int signo, void *arg)
{
    struct server *s = arg;
    loop_stop(s->loop, 0);
}

static int ensure_keys(const struct node_config *c, struct error *err)
{
    const struct pki_config pki = {.root = c->root,
                                   .server_url = c->server_url,
                                   .node_name = c->node_name,
                                   .node_ip = c->node_ip,
                                   .service_ip = c->service_ip,
                                   .extra_san = c->tls_san};
    return pki_ensure(&pki, err);
}

static int run(const struct node_config *c, struct error *err)
{
    static const struct supervisor_ops ops = {
        .ready = on_ready, .ended = on_ended, .stopped = on_stopped};
    _cleanup_(loop_freep) struct loop *loop = loop_new();
    struct server s = {.loop = loop};
    _cleanup_free_ char *state = node_state_dir(c);
    pid_t holder = 0;
    int r = supervisor_new(&s.supervisor, s.loop, state, &ops, &s, &holder, err);
    if (r == 0)
        r = ensure_keys(c, err);
    loop_signal_init(&s.term, s.loop, SIGTERM, on_stop_signal, &s);
    loop_signal_init(&s.intr, s.loop, SIGINT, on_stop_signal, &s);
    loop_signal_init(&s.usr1, s.loop, SIGUSR1, on_hand_over, &s);
    if (r == 0)
        r = node_add_units(c, s.supervisor, err);
    if (r == 0) {
        if (supervisor_all_ready(s.supervisor)) /* all were adopted */
            on_ready(&s, "everything");
        (void)loop_run(s.loop);
    }
    loop_signal_done(&s.term);
    loop_signal_done(&s.intr);
    loop_signal_done(&s.usr1);
    supervisor_free(s.supervisor);
    return r;
}

int command_server(int argc, char **argv)
{
    struct node_config c = NODE_CONFIG_INIT;
    struct error err = ERROR_INIT;
    bool help = false;
    const struct option_def options[] = {
        NODE_OPTIONS(&c), {"help", 'h', OPTION_BOOL, &help, NULL, "show this"}, {NULL}};
    char *words[64];
    if (argc > (int)ARRAY_SIZE(words) ||
        options_parse(options, argc, argv, false, words, &err) != 0) {
        (void)fprintf(stderr, "coracle server: %s\n",
                      err.code ? err.text : "takes no arguments but flags");
        return 2;
    }
    if (help) {
        (void)printf("usage: coracle server [flags]\n\nRuns a single-node cluster in the "
                     "foreground.\n\n");
        options_help(options, stdout);
        return 0;
    }
    daemon_init("coracle", c.verbosity);
    int r = geteuid() == 0 ? node_config_complete(&c, &err)
                           : error_set(&err, -EPERM, "must be run as root");
    if (r == 0)
        r = run(&c, &err);
    if (r < 0)
        (void)fprintf(stderr, "coracle server: %s\n", error_text(&err));
    node_config_done(&c);
    return r < 0;
}
