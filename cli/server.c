/*
 * `coracle server`: runs a single-node cluster in the foreground. It makes keys and certificates,
 * then supervises etcd, apiserver, cri, controllers, proxy, dns, kubelet and flannel.
 *
 * SIGTERM and SIGINT stop the daemons in order; pods run on (`coracle down` stops them too).
 * SIGUSR1 ends the supervisor alone and leaves its children to the next one.
 */
#include <errno.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "cli/cluster.h"
#include "cli/command.h"
#include "cli/node.h"
#include "cli/pki.h"
#include "cli/supervise.h"

static int prepare(const struct node_config *c, struct error *err)
{
    const struct pki_config pki = {.root = c->root,
                                   .server_url = c->server_url,
                                   .node_name = c->node_name,
                                   .node_ip = c->node_ip,
                                   .service_ip = c->service_ip,
                                   .extra_san = c->tls_san};
    int r = pki_ensure(&pki, err);
    return r == 0 ? cluster_write_net_conf(c, err) : r;
}

static void *publish(const struct node_config *c, struct loop *loop)
{
    return cluster_publish(loop, c);
}

static void stop_publishing(void *started)
{
    (void)cluster_publisher_free(started);
}

int command_server(int argc, char **argv)
{
    struct node_config c = NODE_CONFIG_INIT;
    struct error err = ERROR_INIT;
    static const struct node_hooks hooks = {prepare, publish, stop_publishing};
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
        r = node_supervise(&c, &hooks, &err);
    if (r < 0)
        (void)fprintf(stderr, "coracle server: %s\n", error_text(&err));
    node_config_done(&c);
    return r < 0;
}
