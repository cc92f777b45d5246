/* coracle-flannel: the overlay. flanneld's flags, the API, signals; the rest is overlay.h. */
#include <errno.h>
#include <string.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "flannel/kernel.h"
#include "flannel/kube_manager.h"
#include "flannel/subnet_file.h"

struct flags {
    const char *root, *net_conf, *subnet_file, *kubeconfig, *api_url, *prefix, *node;
    const char *public_ip[N_FAMILIES];
    struct option_list iface, iface_regex;
    bool kube_subnet_mgr, set_condition, ip_masq, forward, cleanup, version, help;
    int verbosity, resync_s;
};

struct program {
    struct loop *loop;
    struct flannel_config config;
    struct uplink_choice uplink;
    struct kube_client *client;
    struct kube_manager *manager;
    struct overlay *overlay;
    struct rules *rules;
    char *prefix, *node, *subnet_file, *record, *journal;
};

static int read_config(struct program *p, const struct flags *f, struct error *err)
{
    _cleanup_free_ char *standard = daemon_path(f->root, "/etc/kube-flannel/net-conf.json");
    const char *path = f->net_conf ? f->net_conf : standard;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(path, CONFIG_MAX, &text, err);
    if (r == 0 && (r = config_parse(strbuf_text(&text), text.len, &p->config, err)) < 0)
        (void)error_prefix(err, r, "%s", path);
    return r;
}

static int read_uplink(struct program *p, const struct flags *f, struct error *err)
{
    p->uplink.names = &f->iface;
    p->uplink.patterns = &f->iface_regex;
    for (int i = 0; i < N_FAMILIES; i++) {
        struct ip_addr *a = &p->uplink.public_ip[i];
        const char *text = f->public_ip[i];
        if (text && *text && (ip_addr_parse(text, a) < 0 || a->family != family_of(i)))
            return error_set(err, -EINVAL, "--public-ip%s: \"%.100s\" is no IPv%d address",
                             i == V4 ? "" : "v6", text, i == V4 ? 4 : 6);
    }
    return 0;
}

/* As kubelets have it: in lower case. */
static char *node_name(const struct flags *f)
{
    char host[256] = "";
    const char *given = f->node && *f->node ? f->node : getenv("NODE_NAME");
    (void)gethostname(host, sizeof(host) - 1);
    char *name = str_dup(given && *given ? given : host);
    for (char *s = name; *s; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s + ('a' - 'A'));
    return name;
}

static int connect_client(struct program *p, const struct flags *f, struct error *err)
{
    _cleanup_free_ char *standard = daemon_path(f->root, "/etc/coracle/flannel.kubeconfig");
    struct kubeconfig config = {.server = NULL};
    int r = 0;
    if (f->kubeconfig || !f->api_url)
        r = kubeconfig_load(f->kubeconfig ? f->kubeconfig : standard, NULL, &config, err);
    if (r == 0 && f->api_url) {
        free(config.server);
        config.server = str_dup(f->api_url);
    }
    if (r == 0)
        r = kube_client_new(&p->client, p->loop, &config, "coracle-flannel", err);
    kubeconfig_done(&config);
    return r;
}

static int prepare(struct program *p, const struct flags *f, struct error *err)
{
    if (!f->kube_subnet_mgr)
        return error_set(err, -EINVAL,
                         "--kube-subnet-mgr is needed: subnets out of etcd are not there yet");
    int r = read_config(p, f, err);
    if (r == 0)
        r = read_uplink(p, f, err);
    if (r == 0 && !(p->prefix = lease_prefix(f->prefix, err)))
        r = -EINVAL;
    p->node = node_name(f);
    p->subnet_file =
        f->subnet_file ? str_dup(f->subnet_file) : daemon_path(f->root, "/run/flannel/subnet.env");
    return r;
}

static int start(struct program *p, const struct flags *f, struct error *err)
{
    int r = connect_client(p, f, err);
    if (r < 0)
        return r;
    const struct kube_manager_options m = {.node = p->node,
                                           .prefix = p->prefix,
                                           .config = &p->config,
                                           .set_condition = f->set_condition};
    r = flannel_rules_new(&p->rules, p->loop, p->journal, f->resync_s, err);
    if (r < 0)
        return r;
    p->manager = kube_manager_new(p->client, &m);
    const struct overlay_options o = {.node = p->node,
                                      .config = &p->config,
                                      .uplink = &p->uplink,
                                      .subnet_file = p->subnet_file,
                                      .record = p->record,
                                      .ip_masq = f->ip_masq,
                                      .forward = f->forward,
                                      .rules = p->rules,
                                      .ops = &kube_manager_ops,
                                      .arg = p->manager};
    r = overlay_new(&p->overlay, p->loop, &o, err);
    if (r == 0)
        kube_manager_start(p->manager, p->overlay);
    return r;
}

static int run(struct program *p, const struct flags *f, struct error *err)
{
    struct daemon_signals signals;
    int r = prepare(p, f, err);
    if (r < 0)
        return r;
    p->loop = loop_new();
    daemon_stop_on_signals(&signals, p->loop);
    r = start(p, f, err);
    if (r == 0)
        r = loop_run(p->loop);
    (void)kube_manager_free(p->manager);
    (void)overlay_free(p->overlay);
    (void)flannel_rules_free(p->rules);
    (void)kube_client_free(p->client);
    daemon_signals_done(&signals);
    (void)loop_free(p->loop);
    return r;
}

static int clean_up(const struct program *p, struct error *err)
{
    int first = kernel_cleanup(err);
    int r = flannel_rules_cleanup(p->journal, first ? NULL : err);
    first = first ? first : r;
    r = subnet_file_cleanup(p->record, first ? NULL : err);
    return first ? first : r;
}

static int start_program(const struct flags *f)
{
    struct program p = {.loop = NULL};
    struct error err = ERROR_INIT;
    p.record = daemon_path(f->root, "/run/coracle/flannel.json");
    p.journal = daemon_path(f->root, "/var/lib/coracle/journal");
    int r = f->cleanup ? clean_up(&p, &err) : run(&p, f, &err);
    if (r < 0)
        log_error(f->cleanup ? "cannot clean up" : "cannot start", "error", error_text(&err), NULL);
    free(p.prefix);
    free(p.node);
    free(p.subnet_file);
    free(p.record);
    free(p.journal);
    return r < 0;
}

int main(int argc, char **argv)
{
    struct flags f = {.prefix = "flannel.alpha.coreos.com",
                      .set_condition = true,
                      .forward = true,
                      .resync_s = 60};
    struct error err = ERROR_INIT;
    const struct option_def options[] = {
        {"kube-subnet-mgr", 0, OPTION_BOOL, &f.kube_subnet_mgr, NULL,
         "take subnets from the Nodes' pod CIDRs"},
        {"kubeconfig-file", 0, OPTION_STRING, &f.kubeconfig, "FILE",
         "how to reach the API (/etc/coracle/flannel.kubeconfig)"},
        {"kube-api-url", 0, OPTION_STRING, &f.api_url, "URL", "another server than the file's"},
        {"kube-annotation-prefix", 0, OPTION_STRING, &f.prefix, "PREFIX",
         "of the annotations (flannel.alpha.coreos.com)"},
        {"net-config-path", 0, OPTION_STRING, &f.net_conf, "FILE",
         "the network's configuration (/etc/kube-flannel/net-conf.json)"},
        {"subnet-file", 0, OPTION_STRING, &f.subnet_file, "FILE",
         "written for container runtimes (/run/flannel/subnet.env)"},
        {"iface", 0, OPTION_LIST, &f.iface, "NAME",
         "link, by name or address, that leads to the other nodes; the first that is there"},
        {"iface-regex", 0, OPTION_LIST, &f.iface_regex, "REGEX",
         "the same by expressions for names or addresses, tried after --iface"},
        {"public-ip", 0, OPTION_STRING, &f.public_ip[V4], "ADDRESS",
         "where other nodes reach this one (the link's address)"},
        {"public-ipv6", 0, OPTION_STRING, &f.public_ip[V6], "ADDRESS", "the same for IPv6"},
        {"set-node-network-unavailable", 0, OPTION_BOOL, &f.set_condition, NULL,
         "set the Node's condition NetworkUnavailable to False when ready (true)"},
        {"ip-masq", 0, OPTION_BOOL, &f.ip_masq, NULL,
         "masquerade what pods send out of the overlay"},
        {"iptables-forward-rules", 0, OPTION_BOOL, &f.forward, NULL,
         "let the overlay's packets through in FORWARD (true)"},
        {"iptables-resync", 0, OPTION_INT, &f.resync_s, "SECONDS",
         "how often to look after the rules although nothing was heard (60)"},
        {"node-name", 0, OPTION_STRING, &f.node, "NAME",
         "our Node ($NODE_NAME, or the host's name)"},
        {"cleanup", 0, OPTION_BOOL, &f.cleanup, NULL, "remove the overlay from the host and exit"},
        {"root", 0, OPTION_STRING, &f.root, "DIR", "prefix of every path"},
        {"version", 0, OPTION_BOOL, &f.version, NULL, "print the version and exit"},
        {"v", 'v', OPTION_INT, &f.verbosity, "N", "verbosity; 4: debug"},
        {"help", 'h', OPTION_BOOL, &f.help, NULL, "show this"},
        {NULL}};
    _cleanup_free_ char **words = mem_zalloc(((size_t)argc + 1) * sizeof(*words));
    int status = 0;
    int n = options_parse(options, argc, argv, false, words, &err);
    if (n != 0) {
        (void)fprintf(stderr, "coracle-flannel: %s\n", err.code ? err.text : "takes flags only");
        status = 2;
    } else if (f.help) {
        options_help(options, stdout);
    } else if (f.version) {
        (void)puts(CORACLE_VERSION);
    } else {
        daemon_init("coracle-flannel", f.verbosity);
        status = start_program(&f);
    }
    option_list_done(&f.iface);
    option_list_done(&f.iface_regex);
    return status;
}
