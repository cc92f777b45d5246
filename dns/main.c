/* coracle-dns: the names of the cluster, answered on this node. Flags, the API, signals; what is
 * answered is in zone.h. */
#include <string.h>
#include <unistd.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/options.h"
#include "base/strbuf.h"
#include "dns/confine.h"
#include "dns/local.h"
#include "dns/resolv.h"
#include "dns/responder.h"
#include "dns/status.h"
#include "kube/events.h"
#include "kube/informer.h"

#define LISTEN_MAX 16 /* addresses */
/* Pods that have ended keep an address that is another's by now. */
#define LIVE_PODS "status.phase!=Succeeded,status.phase!=Failed"

struct flags {
    const char *root, *kubeconfig, *domain, *pods, *resolv, *user, *metrics, *iptables;
    struct option_list listen;
    int port, ttl, verbosity;
    bool local, cleanup, help;
};

struct program {
    const struct flags *flags;
    struct loop *loop;
    struct kube_client *client;
    struct zone *zone;
    struct elsewhere *elsewhere;
    struct event_recorder *events;
    const char *uid; /* of the ConfigMap under way */
    struct dns_metrics metrics;
    struct dns_status *status; /* NULL: not wanted */
    struct responder *responder;
    struct resolv *resolv;
    struct ip_addr addresses[LISTEN_MAX];
    size_t n_addresses;
    struct dns_server *server;
    char *state, *journal;
    struct dns_local_options local;
    struct dns_rules *rules;
    enum zone_pods with_pods;
    struct error *err;                                      /* why it ended */
    struct informer *services, *slices, *namespaces, *pods; /* pods: NULL unless verified */
    struct informer *config;
};

/* ---- input ---- */

static void start_if_ready(void *arg)
{
    const struct program *p = arg;
    if (zone_is_synced(p->zone) || !p->services || !p->slices || !p->namespaces)
        return;
    if (informer_synced(p->services) && informer_synced(p->slices) &&
        informer_synced(p->namespaces) && (!p->pods || informer_synced(p->pods))) {
        zone_synced(p->zone);
        log_info("names of the cluster are answered", "domain", zone_domain(p->zone), NULL);
    }
}

static void complain(const char *kind, const char *key, const struct error *err)
{
    log_warn("object is not understood, its names are not answered", "kind", kind, "object", key,
             "error", err->text, NULL);
}

static void on_service(void *arg, const char *key, const json_t *object)
{
    struct error err = ERROR_INIT;
    if (zone_service_set(((struct program *)arg)->zone, key, object, &err) < 0)
        complain("Service", key, &err);
}

static void on_service_gone(void *arg, const char *key, _unused_ const json_t *object)
{
    zone_service_remove(((struct program *)arg)->zone, key);
}

static void on_slice(void *arg, const char *key, const json_t *object)
{
    struct error err = ERROR_INIT;
    if (zone_slice_set(((struct program *)arg)->zone, key, object, &err) < 0)
        complain("EndpointSlice", key, &err);
}

static void on_slice_gone(void *arg, const char *key, _unused_ const json_t *object)
{
    zone_slice_remove(((struct program *)arg)->zone, key);
}

static void on_pod(void *arg, const char *key, const json_t *object)
{
    struct error err = ERROR_INIT;
    if (zone_pod_set(((struct program *)arg)->zone, key, object, &err) < 0)
        complain("Pod", key, &err);
}

static void on_pod_gone(void *arg, const char *key, _unused_ const json_t *object)
{
    zone_pod_remove(((struct program *)arg)->zone, key);
}

static void on_namespace(void *arg, const char *key, _unused_ const json_t *object)
{
    zone_namespace_set(((struct program *)arg)->zone, key);
}

static void on_namespace_gone(void *arg, const char *key, _unused_ const json_t *object)
{
    zone_namespace_remove(((struct program *)arg)->zone, key);
}

/* ---- what people add by hand ---- */

static void on_bad_line(void *arg, const char *text)
{
    const struct program *p = arg;
    const struct event_object about = {.api_version = "v1",
                                       .kind = "ConfigMap",
                                       .ns = CUSTOM_CONFIG_NS,
                                       .name = CUSTOM_CONFIG_NAME,
                                       .uid = p->uid};
    log_warn("line of the ConfigMap " CUSTOM_CONFIG_NAME " is passed over", "why", text, NULL);
    event_record(p->events, &about, "Warning", "InvalidLine", "%s", text);
}

static void on_config(void *arg, _unused_ const char *key, const json_t *object)
{
    struct program *p = arg;
    const char *uid = json_path_string(object, "metadata.uid");
    p->uid = uid ? uid : "";
    elsewhere_set_config(p->elsewhere, object, on_bad_line, p);
}

static void on_config_gone(void *arg, _unused_ const char *key, _unused_ const json_t *object)
{
    struct program *p = arg;
    elsewhere_set_config(p->elsewhere, NULL, on_bad_line, p);
}

static void follow_config(struct program *p)
{
    static const struct informer_ops ops = {on_config, on_config_gone, NULL};
    p->config = informer_new(p->client, &(struct informer_config){.api = "v1",
                                                                  .plural = "configmaps",
                                                                  .ns = CUSTOM_CONFIG_NS,
                                                                  .name = CUSTOM_CONFIG_NAME,
                                                                  .ops = &ops,
                                                                  .arg = p});
}

static struct informer *follow(struct program *p, const char *api, const char *plural,
                               const char *fields, const struct informer_ops *ops)
{
    return informer_new(
        p->client,
        &(struct informer_config){
            .api = api, .plural = plural, .field_selector = fields, .ops = ops, .arg = p});
}

static void start_informers(struct program *p, enum zone_pods pods)
{
    static const struct informer_ops service_ops = {on_service, on_service_gone, start_if_ready};
    static const struct informer_ops slice_ops = {on_slice, on_slice_gone, start_if_ready};
    static const struct informer_ops pod_ops = {on_pod, on_pod_gone, start_if_ready};
    static const struct informer_ops namespace_ops = {on_namespace, on_namespace_gone,
                                                      start_if_ready};
    if (pods == ZONE_PODS_VERIFIED)
        p->pods = follow(p, "v1", "pods", LIVE_PODS, &pod_ops);
    p->services = follow(p, "v1", "services", NULL, &service_ops);
    p->slices = follow(p, "discovery.k8s.io/v1", "endpointslices", NULL, &slice_ops);
    p->namespaces = follow(p, "v1", "namespaces", NULL, &namespace_ops);
    follow_config(p);
}

/* ---- other servers ---- */

static void on_servers(void *arg, const struct ip_addr *servers, size_t n)
{
    elsewhere_set_servers(((struct program *)arg)->elsewhere, servers, n);
}

static int start_forwarding(struct program *p, const char *file, struct error *err)
{
    return *file ? resolv_new(&p->resolv, p->loop, file, on_servers, p, err) : 0;
}

/* ---- life ---- */

static int connect_client(struct program *p, const struct flags *f, struct error *err)
{
    _cleanup_free_ char *standard = daemon_path(f->root, "/etc/coracle/dns.kubeconfig");
    struct kubeconfig config;
    char host[256] = "";
    int r = kubeconfig_load(f->kubeconfig ? f->kubeconfig : standard, NULL, &config, err);
    if (r == 0) {
        r = kube_client_new(&p->client, p->loop, &config, "coracle-dns", err);
        kubeconfig_done(&config);
    }
    if (r == 0) {
        (void)gethostname(host, sizeof(host) - 1);
        p->events = event_recorder_new(p->client, "coracle-dns", host);
    }
    return r;
}

static int read_addresses(struct program *p, const struct flags *f, struct error *err)
{
    if (f->listen.count > LISTEN_MAX)
        return error_set(err, -EINVAL, "--listen: more than %d addresses", LISTEN_MAX);
    for (size_t i = 0; i < f->listen.count; i++)
        if (ip_addr_parse(f->listen.items[i], &p->addresses[p->n_addresses++]) < 0)
            return error_set(err, -EINVAL, "--listen: \"%s\" is not an address",
                             f->listen.items[i]);
    return p->n_addresses ? 0
                          : error_set(err, -EINVAL, "--listen: name the addresses to listen on");
}

static int check_flags(const struct flags *f, struct zone_config *c, struct error *err)
{
    if (!zone_pods_parse(f->pods, &c->pods))
        return error_set(err, -EINVAL, "--pods: \"%s\" is none of disabled, insecure, verified",
                         f->pods);
    if (f->port < 1 || f->port > UINT16_MAX)
        return error_set(err, -EINVAL, "--port: %d is not a port", f->port);
    if (f->ttl < 0 || f->ttl > 3600)
        return error_set(err, -EINVAL, "--ttl: from 0 to 3600 seconds");
    c->domain = f->domain;
    c->ttl = (uint32_t)f->ttl;
    return 0;
}

static int listen_on_all(struct program *p, struct error *err)
{
    const struct flags *f = p->flags;
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n_addresses; i++)
        r = dns_server_listen(p->server, &p->addresses[i], (uint16_t)f->port, err);
    if (r == 0 && !str_eq(f->metrics, "0") && *f->metrics &&
        (r = dns_status_new(&p->status, p->loop, f->metrics, &p->metrics, p->zone, p->elsewhere,
                            err)) < 0)
        (void)error_prefix(err, r, "--metrics-bind-address");
    return r;
}

/* Then everything that takes root is done: addresses, rules, ports, keys, and telling whoever
 * started us, whose socket may be closed to others. Names outside the cluster are answered from
 * here on. */
static int serve(struct program *p, struct error *err)
{
    const char *user = p->flags->user;
    int r = listen_on_all(p, err);
    if (r < 0)
        return r;
    daemon_notify("READY=1");
    r = user && !*user ? 0 : dns_confine(user, err);
    if (r == 0)
        start_informers(p, p->with_pods);
    return r;
}

static void on_rules(void *arg)
{
    struct program *p = arg;
    int r = serve(p, p->err);
    if (r < 0)
        loop_stop(p->loop, r);
}

static int start(struct program *p, struct error *err)
{
    if (!p->flags->local)
        return serve(p, err);
    _cleanup_free_ char *dir = daemon_path(p->flags->root, "/run/coracle");
    int r = fs_mkdirs(dir, 0755, err);
    if (r == 0)
        r = dns_local_add(&p->local, err);
    if (r == 0)
        p->rules = dns_rules_new(p->loop, &p->local, on_rules, p);
    return r;
}

static void program_done(struct program *p)
{
    (void)informer_free(p->services);
    (void)informer_free(p->slices);
    (void)informer_free(p->namespaces);
    (void)informer_free(p->pods);
    (void)informer_free(p->config);
    (void)event_recorder_free(p->events);
    (void)dns_rules_free(p->rules);
    (void)dns_status_free(p->status);
    (void)dns_server_free(p->server);
    (void)resolv_free(p->resolv);
    (void)elsewhere_free(p->elsewhere);
    (void)responder_free(p->responder);
    (void)zone_free(p->zone);
    dns_metrics_done(&p->metrics);
    (void)kube_client_free(p->client);
    (void)loop_free(p->loop);
    free(p->state);
    free(p->journal);
}

static void describe_local(struct program *p, const struct flags *f)
{
    p->state = daemon_path(f->root, "/run/coracle/dns.addresses");
    p->journal = daemon_path(f->root, "/var/lib/coracle/journal");
    p->local = (struct dns_local_options){.state = p->state,
                                          .journal = p->journal,
                                          .variant = f->iptables,
                                          .addresses = p->addresses,
                                          .n_addresses = p->n_addresses,
                                          .port = (uint16_t)f->port};
}

static int run(struct program *p, const struct flags *f, struct error *err)
{
    struct zone_config c = {.servers = p->addresses};
    struct daemon_signals signals;
    int r = check_flags(f, &c, err);
    if (r == 0)
        r = read_addresses(p, f, err);
    c.n_servers = p->n_addresses;
    if (r == 0 && (r = zone_new(&p->zone, &c, err)) < 0)
        (void)error_prefix(err, r, "--cluster-domain");
    if (r < 0)
        return r;
    p->with_pods = c.pods;
    p->err = err;
    p->loop = loop_new();
    describe_local(p, f);
    dns_metrics_init(&p->metrics, zone_domain(p->zone), f->port);
    p->elsewhere = elsewhere_new(
        p->loop,
        &(struct elsewhere_config){.own = p->addresses, .n_own = p->n_addresses, .ttl = c.ttl});
    r = start_forwarding(p, f->resolv, err);
    p->responder = responder_new(p->zone, p->elsewhere, &p->metrics);
    p->server = dns_server_new(p->loop, responder_handle, p->responder);
    if (r == 0)
        r = connect_client(p, f, err);
    if (r == 0)
        r = start(p, err);
    if (r == 0) {
        daemon_stop_on_signals(&signals, p->loop);
        r = loop_run(p->loop);
        daemon_signals_done(&signals);
    }
    return r;
}

static int cleanup(struct program *p, const struct flags *f, struct error *err)
{
    describe_local(p, f);
    return dns_local_remove(&p->local, err);
}

int main(int argc, char **argv)
{
    struct flags f = {.domain = "cluster.local",
                      .pods = "insecure",
                      .resolv = "/etc/resolv.conf",
                      .metrics = "127.0.0.1:9153",
                      .iptables = "auto",
                      .port = 53,
                      .ttl = 5};
    struct program p = {.flags = &f};
    struct error err = ERROR_INIT;
    const struct option_def options[] = {
        {"listen", 0, OPTION_LIST, &f.listen, "ADDRESS", "addresses to listen on, UDP and TCP"},
        {"local", 0, OPTION_BOOL, &f.local, NULL,
         "put those addresses on the loopback link, their packets past connection tracking"},
        {"iptables-variant", 0, OPTION_STRING, &f.iptables, "NAME", "auto, nft or legacy"},
        {"cleanup", 0, OPTION_BOOL, &f.cleanup, NULL, "undo --local and exit"},
        {"port", 0, OPTION_INT, &f.port, "N", "port to listen on (53)"},
        {"cluster-domain", 0, OPTION_STRING, &f.domain, "NAME",
         "domain of the cluster (cluster.local)"},
        {"pods", 0, OPTION_STRING, &f.pods, "MODE",
         "names of pods: disabled, insecure (any address has one), verified (insecure)"},
        {"ttl", 0, OPTION_INT, &f.ttl, "SECONDS", "how long answers may be kept (5)"},
        {"resolv-conf", 0, OPTION_STRING, &f.resolv, "FILE",
         "whom to ask for other names (/etc/resolv.conf); empty: they are refused"},
        {"kubeconfig", 0, OPTION_STRING, &f.kubeconfig, "FILE",
         "how to reach the API (/etc/coracle/dns.kubeconfig)"},
        {"metrics-bind-address", 0, OPTION_STRING, &f.metrics, "ADDRESS:PORT",
         "metrics, /health and /ready (127.0.0.1:9153); 0: none"},
        {"user", 0, OPTION_STRING, &f.user, "NAME",
         "whom to become once listening (coracle-dns or nobody); empty: stay root, unconfined"},
        {"root", 0, OPTION_STRING, &f.root, "DIR", "prefix of every path"},
        {"v", 'v', OPTION_INT, &f.verbosity, "N", "verbosity; 4: debug"},
        {"help", 'h', OPTION_BOOL, &f.help, NULL, "show this"},
        {NULL}};
    _cleanup_free_ char **words = mem_zalloc(((size_t)argc + 1) * sizeof(*words));
    int status = 0;
    int n = options_parse(options, argc, argv, false, words, &err);
    if (n != 0) {
        (void)fprintf(stderr, "coracle-dns: %s\n", err.code ? err.text : "takes flags only");
        status = 2;
    } else if (f.help) {
        options_help(options, stdout);
    } else {
        daemon_init("coracle-dns", f.verbosity);
        status = (f.cleanup ? cleanup(&p, &f, &err) : run(&p, &f, &err)) < 0;
        if (status)
            log_error(f.cleanup ? "cannot clean up" : "cannot start", "error", error_text(&err),
                      NULL);
        program_done(&p);
    }
    option_list_done(&f.listen);
    return status;
}
