/* coracle-proxy: services → iptables, IPVS or nftables. Flags, the API, signals; the rest is
 * proxy.h. */
#include <errno.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kube/informer.h"
#include "proxy/modes.h"
#include "proxy/proxy.h"
#include "proxy/sysctls.h"

#define LABELS "!service.kubernetes.io/headless"

struct flags {
    const char *root, *config, *variant;
    bool cleanup, init_only, help;
    int verbosity;
    struct config_values *values; /* of config_flags[] */
};

struct program {
    struct loop *loop;
    struct config config;
    struct kube_client *client;
    struct event_recorder *recorder;
    struct proxy *proxy;
    struct informer *services, *slices, *node;
    struct kube_call *discovery;
    struct loop_timer retry;
    char *hostname, *journal, *selector;
    bool announced, complained, v1beta1;
};

/* ---- input ---- */

static void start_if_ready(void *arg)
{
    struct program *p = arg;
    if (informer_synced(p->services) && p->slices && informer_synced(p->slices) &&
        informer_synced(p->node))
        proxy_start(p->proxy);
}

static void on_service(void *arg, const char *key, const json_t *object)
{
    proxy_service(((struct program *)arg)->proxy, key, object);
}

static void on_service_gone(void *arg, const char *key, _unused_ const json_t *object)
{
    proxy_service(((struct program *)arg)->proxy, key, NULL);
}

static void on_slice(void *arg, const char *key, const json_t *object)
{
    proxy_slice(((struct program *)arg)->proxy, key, object);
}

static void on_slice_gone(void *arg, const char *key, _unused_ const json_t *object)
{
    proxy_slice(((struct program *)arg)->proxy, key, NULL);
}

static void on_node(void *arg, _unused_ const char *key, const json_t *object)
{
    proxy_node(((struct program *)arg)->proxy, object);
}

static void on_node_gone(void *arg, _unused_ const char *key, _unused_ const json_t *object)
{
    proxy_node(((struct program *)arg)->proxy, NULL);
}

static struct informer *follow(struct program *p, const char *api, const char *plural,
                               const char *name, const struct informer_ops *ops)
{
    return informer_new(p->client,
                        &(struct informer_config){.api = api,
                                                  .plural = plural,
                                                  .name = name,
                                                  .label_selector = name ? NULL : p->selector,
                                                  .ops = ops,
                                                  .arg = p});
}

static void follow_slices(struct program *p)
{
    static const struct informer_ops ops = {
        .upsert = on_slice, .remove = on_slice_gone, .synced = start_if_ready};
    p->slices = follow(p, p->v1beta1 ? "discovery.k8s.io/v1beta1" : "discovery.k8s.io/v1",
                       "endpointslices", NULL, &ops);
}

static void ask_versions(void *arg);

/* Servers before 1.21 have the slices in v1beta1 only. */
static void on_versions(const struct kube_result *result, void *arg)
{
    struct program *p = arg;
    bool v1 = false;
    size_t i;
    json_t *version;
    p->discovery = NULL;
    if (result->error) {
        if (result->status == 403) { /* a server that tells nobody has v1 by now */
            follow_slices(p);
            return;
        }
        log_info("API server cannot be asked for its versions, trying again", "error",
                 result->error, NULL);
        loop_timer_set(&p->retry, 1000);
        return;
    }
    json_array_foreach(json_object_get(result->body, "versions"), i, version) {
        v1 = v1 || str_eq(json_path_string(version, "version"), "v1");
    }
    p->v1beta1 = !v1;
    follow_slices(p);
}

static void ask_versions(void *arg)
{
    struct program *p = arg;
    p->discovery = kube_get(p->client, "/apis/discovery.k8s.io", on_versions, p);
}

static void start_informers(struct program *p)
{
    static const struct informer_ops service_ops = {
        .upsert = on_service, .remove = on_service_gone, .synced = start_if_ready};
    static const struct informer_ops node_ops = {
        .upsert = on_node, .remove = on_node_gone, .synced = start_if_ready};
    const char *name = p->config.file.proxy_name;
    /* Headless services need no rules: the server leaves them and their slices out. */
    p->selector = name && *name
                      ? str_printf(LABELS ",service.kubernetes.io/service-proxy-name=%s", name)
                      : str_dup(LABELS ",!service.kubernetes.io/service-proxy-name");
    p->services = follow(p, "v1", "services", NULL, &service_ops);
    p->node = follow(p, "v1", "nodes", p->hostname, &node_ops);
    ask_versions(p);
}

static void on_synced(void *arg, _unused_ int family, const char *error)
{
    struct program *p = arg;
    if (error && !p->complained)
        log_error("rules could not be programmed, trying again", "error", error, NULL);
    else if (!error && p->complained)
        log_info("rules are programmed again", NULL);
    p->complained = error != NULL;
    if (!error && !p->announced) {
        p->announced = true;
        log_info("services are programmed", "mode", p->config.mode, NULL);
        daemon_notify("READY=1");
    }
}

/* ---- life ---- */

static int connect_client(struct program *p, const struct flags *f, struct error *err)
{
    _cleanup_free_ char *standard = daemon_path(f->root, "/etc/coracle/proxy.kubeconfig");
    const char *path = p->config.file.kubeconfig;
    struct kubeconfig config;
    int r = kubeconfig_load(path && *path ? path : standard, NULL, &config, err);
    if (r == 0) {
        r = kube_client_new(&p->client, p->loop, &config, "coracle-proxy", err);
        kubeconfig_done(&config);
    }
    return r;
}

/* Best effort: what memory is short must not take the services down first. */
static void protect(const struct config *c)
{
    struct error err = ERROR_INIT;
    int64_t adj = c->file.oom_score_adj.set ? c->file.oom_score_adj.value : -999;
    _cleanup_free_ char *text = str_printf("%lld", (long long)adj);
    if (fs_write_text("/proc/self/oom_score_adj", text, &err) < 0)
        log_debug("oom_score_adj stays as it is", "wanted", text, "error", err.text, NULL);
}

static void program_done(struct program *p)
{
    kube_call_cancel(p->discovery);
    (void)informer_free(p->services);
    (void)informer_free(p->slices);
    (void)informer_free(p->node);
    loop_timer_done(&p->retry);
    (void)proxy_free(p->proxy);
    (void)event_recorder_free(p->recorder);
    (void)kube_client_free(p->client);
    (void)loop_free(p->loop);
    free(p->selector);
}

static int run(struct program *p, const struct flags *f, struct error *err)
{
    struct daemon_signals signals;
    p->loop = loop_new();
    loop_timer_init(&p->retry, p->loop, "API versions", ask_versions, p);
    const struct proxy_env env = {.node = p->hostname,
                                  .journal = p->journal,
                                  .variant = f->variant,
                                  .slice_api = "discovery.k8s.io/v1",
                                  .synced = on_synced,
                                  .arg = p};
    int r = connect_client(p, f, err);
    if (r == 0) {
        struct proxy_env with_events = env;
        p->recorder = event_recorder_new(p->client, "kube-proxy", p->hostname);
        with_events.recorder = p->recorder;
        r = proxy_new(&p->proxy, p->loop, &p->config, &with_events, err);
    }
    if (r == 0)
        r = sysctls_apply(&p->config, p->config.mode, p->journal, err);
    if (r == 0 && !f->init_only) {
        protect(&p->config);
        daemon_stop_on_signals(&signals, p->loop);
        start_informers(p);
        r = loop_run(p->loop);
        daemon_signals_done(&signals);
    }
    program_done(p);
    return r;
}

static int cleanup(const struct program *p, struct error *err)
{
    const struct backend_config c = {.family = AF_INET,
                                     .journal = p->journal,
                                     .variant = "auto",
                                     .nft_table = config_table(&p->config)};
    return mode_cleanup(&c, NULL, err);
}

/* The node's name as kubelets have it: in lower case. */
static char *node_name(const struct config *c)
{
    char host[256] = "";
    (void)gethostname(host, sizeof(host) - 1);
    char *name = str_dup(c->file.hostname && *c->file.hostname ? c->file.hostname : host);
    for (char *s = name; *s; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s + ('a' - 'A'));
    return name;
}

static int start(const struct flags *f)
{
    struct program p = {.announced = false};
    struct error err = ERROR_INIT;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    p.journal = daemon_path(f->root, "/var/lib/coracle/journal");
    int r =
        config_load(f->config, f->values, processors > 0 ? (int)processors : 1, &p.config, &err);
    if (r == 0) {
        p.hostname = node_name(&p.config);
        r = f->cleanup ? cleanup(&p, &err) : run(&p, f, &err);
        config_done(&p.config);
    }
    if (r < 0)
        log_error(f->cleanup ? "cannot clean up" : "cannot start", "error", error_text(&err), NULL);
    free(p.hostname);
    free(p.journal);
    return r < 0;
}

int main(int argc, char **argv)
{
    struct flags f = {.variant = "auto"};
    struct error err = ERROR_INIT;
    const struct option_def own[] = {
        {"config", 0, OPTION_STRING, &f.config, "FILE",
         "a KubeProxyConfiguration instead of flags"},
        {"iptables-variant", 0, OPTION_STRING, &f.variant, "NAME", "auto, nft or legacy"},
        {"cleanup", 0, OPTION_BOOL, &f.cleanup, NULL, "remove every rule of ours and exit"},
        {"init-only", 0, OPTION_BOOL, &f.init_only, NULL, "set kernel settings and exit"},
        {"root", 0, OPTION_STRING, &f.root, "DIR", "prefix of every path"},
        {"v", 'v', OPTION_INT, &f.verbosity, "N", "verbosity; 4: debug"},
        {"help", 'h', OPTION_BOOL, &f.help, NULL, "show this"}};
    struct option_def *options =
        mem_zalloc((ARRAY_SIZE(own) + config_n_flags + 1) * sizeof(*options));
    f.values = mem_zalloc(config_n_flags * sizeof(*f.values));
    for (size_t i = 0; i < config_n_flags; i++)
        options[i] = config_option(i, &f.values[i]);
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        options[config_n_flags + i] = own[i];
    char **words = mem_zalloc(((size_t)argc + 1) * sizeof(*words));
    int status = 0;
    int n = options_parse(options, argc, argv, false, words, &err);
    if (n != 0) {
        (void)fprintf(stderr, "coracle-proxy: %s\n", err.code ? err.text : "takes flags only");
        status = 2;
    } else if (f.help) {
        options_help(options, stdout);
    } else {
        daemon_init("coracle-proxy", f.verbosity);
        status = start(&f);
    }
    for (size_t i = 0; i < config_n_flags; i++)
        option_list_done(&f.values[i].list);
    free(f.values);
    free(options);
    free(words);
    return status;
}
