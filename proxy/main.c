/* coracle-proxy: services → iptables (IPVS and nftables come later and say so). */
#include <errno.h>

#include "base/daemon.h"
#include "base/journal.h"
#include "base/log.h"
#include "base/options.h"
#include "base/strbuf.h"
#include "kube/events.h"
#include "kube/informer.h"
#include "nl/iptables.h"
#include "proxy/iptables.h"

struct flags {
    const char *root, *kubeconfig, *cluster_cidr, *mode, *variant, *hostname;
    bool masquerade_all, cleanup, help;
    int verbosity;
};

struct program {
    struct loop *loop;
    struct kube_client *client;
    struct event_recorder *recorder;
    struct plan *plan;
    struct iptables *backend;
    struct informer *services, *slices;
    bool announced, complained;
};

/* ---- input ---- */

static void sync_if_ready(struct program *p)
{
    if (informer_synced(p->services) && informer_synced(p->slices))
        iptables_sync(p->backend);
}

static void bad_object(struct program *p, const char *kind, const char *api, const json_t *object,
                       const char *key, const struct error *err)
{
    const struct event_object about = {.api_version = api,
                                       .kind = kind,
                                       .ns = json_path_string(object, "metadata.namespace"),
                                       .name = json_path_string(object, "metadata.name"),
                                       .uid = json_path_string(object, "metadata.uid")};
    log_warn("object is passed over", "kind", kind, "object", key, "error", err->text, NULL);
    event_record(p->recorder, &about, "Warning", "FailedToProgram", "%s", err->text);
}

static void on_service(void *arg, const char *key, const json_t *object)
{
    struct program *p = arg;
    struct error err = ERROR_INIT;
    if (plan_service_set(p->plan, key, object, &err) < 0)
        bad_object(p, "Service", "v1", object, key, &err);
    sync_if_ready(p);
}

static void on_service_gone(void *arg, const char *key, _unused_ const json_t *object)
{
    struct program *p = arg;
    plan_service_remove(p->plan, key);
    sync_if_ready(p);
}

static void on_slice(void *arg, const char *key, const json_t *object)
{
    struct program *p = arg;
    struct error err = ERROR_INIT;
    if (plan_slice_set(p->plan, key, object, &err) < 0)
        bad_object(p, "EndpointSlice", "discovery.k8s.io/v1", object, key, &err);
    sync_if_ready(p);
}

static void on_slice_gone(void *arg, const char *key, _unused_ const json_t *object)
{
    struct program *p = arg;
    plan_slice_remove(p->plan, key);
    sync_if_ready(p);
}

static void on_input_synced(void *arg)
{
    sync_if_ready(arg);
}

static void on_programmed(void *arg, const char *error)
{
    struct program *p = arg;
    if (error && !p->complained)
        log_error("rules could not be programmed, trying again", "error", error, NULL);
    else if (!error && p->complained)
        log_info("rules are programmed again", NULL);
    p->complained = error != NULL;
    if (!error && !p->announced) {
        p->announced = true;
        daemon_notify("READY=1");
    }
}

static void start_informers(struct program *p)
{
    static const struct informer_ops service_ops = {
        .upsert = on_service, .remove = on_service_gone, .synced = on_input_synced};
    static const struct informer_ops slice_ops = {
        .upsert = on_slice, .remove = on_slice_gone, .synced = on_input_synced};
    /* Headless services need no rules: the server leaves their slices out. */
    p->services = informer_new(
        p->client, &(struct informer_config){
                       .api = "v1", .plural = "services", .ops = &service_ops, .arg = p});
    p->slices = informer_new(
        p->client,
        &(struct informer_config){.api = "discovery.k8s.io/v1",
                                  .plural = "endpointslices",
                                  .label_selector = "!service.kubernetes.io/headless,"
                                                    "!service.kubernetes.io/service-proxy-name",
                                  .ops = &slice_ops,
                                  .arg = p});
}

/* ---- life ---- */

static int set_sysctls(const char *journal, struct error *err)
{
    static const char *const wanted[] = {"net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet"};
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(wanted) && r == 0; i++)
        r = journal_sysctl(journal, "proxy", wanted[i], "1", err);
    return r;
}

static int connect_client(struct program *p, const struct flags *f, struct error *err)
{
    _cleanup_free_ char *standard = daemon_path(f->root, "/etc/coracle/proxy.kubeconfig");
    struct kubeconfig config;
    int r = kubeconfig_load(f->kubeconfig ? f->kubeconfig : standard, NULL, &config, err);
    if (r == 0) {
        r = kube_client_new(&p->client, p->loop, &config, "coracle-proxy", err);
        kubeconfig_done(&config);
    }
    return r;
}

static int run(const struct flags *f, struct error *err)
{
    struct program p = {.loop = loop_new(), .plan = plan_new(f->hostname)};
    struct daemon_signals signals;
    _cleanup_free_ char *journal = daemon_path(f->root, "/var/lib/coracle/journal");
    const struct iptables_config config = {
        .variant = f->variant,
        .journal = journal,
        .rules = {.cluster_cidr = f->cluster_cidr, .masquerade_all = f->masquerade_all}};
    int r = connect_client(&p, f, err);
    if (r == 0)
        r = iptables_new(&p.backend, p.loop, &config, p.plan, err);
    if (r == 0)
        r = set_sysctls(journal, err);
    if (r == 0) {
        daemon_stop_on_signals(&signals, p.loop);
        p.recorder = event_recorder_new(p.client, "coracle-proxy", f->hostname);
        iptables_on_synced(p.backend, on_programmed, &p);
        start_informers(&p);
        r = loop_run(p.loop);
        informer_free(p.services);
        informer_free(p.slices);
        event_recorder_free(p.recorder);
        daemon_signals_done(&signals);
    }
    iptables_free(p.backend);
    kube_client_free(p.client);
    plan_free(p.plan);
    loop_free(p.loop);
    return r;
}

static int cleanup(const struct flags *f, struct error *err)
{
    _cleanup_free_ char *journal = daemon_path(f->root, "/var/lib/coracle/journal");
    return iptables_remove_chains(journal, rules_is_ours, err);
}

int main(int argc, char **argv)
{
    struct flags f = {.mode = "iptables", .variant = "auto"};
    struct error err = ERROR_INIT;
    char host[256] = "";
    (void)gethostname(host, sizeof(host) - 1);
    f.hostname = host;
    const struct option_def options[] = {
        {"kubeconfig", 0, OPTION_STRING, &f.kubeconfig, "FILE", "how to reach the API server"},
        {"cluster-cidr", 0, OPTION_STRING, &f.cluster_cidr, "CIDR", "addresses of pods"},
        {"proxy-mode", 0, OPTION_STRING, &f.mode, "MODE", "iptables"},
        {"iptables-variant", 0, OPTION_STRING, &f.variant, "NAME", "auto, nft or legacy"},
        {"hostname-override", 0, OPTION_STRING, &f.hostname, "NAME", "name of this node"},
        {"masquerade-all", 0, OPTION_BOOL, &f.masquerade_all, NULL,
         "masquerade all service traffic"},
        {"cleanup", 0, OPTION_BOOL, &f.cleanup, NULL, "remove every rule of ours and exit"},
        {"root", 0, OPTION_STRING, &f.root, "DIR", "prefix of every path"},
        {"v", 'v', OPTION_INT, &f.verbosity, "N", "verbosity; 4: debug"},
        {"help", 'h', OPTION_BOOL, &f.help, NULL, "show this"},
        {NULL}};
    char *words[64];
    if (argc > (int)ARRAY_SIZE(words) || options_parse(options, argc, argv, false, words, &err)) {
        (void)fprintf(stderr, "coracle-proxy: %s\n", err.code ? err.text : "takes flags only");
        return 2;
    }
    if (f.help) {
        options_help(options, stdout);
        return 0;
    }
    daemon_init("coracle-proxy", f.verbosity);
    if (!str_eq(f.mode, "iptables")) {
        log_error("this mode is not there yet; use --proxy-mode=iptables", "mode", f.mode, NULL);
        return 1;
    }
    int r = f.cleanup ? cleanup(&f, &err) : run(&f, &err);
    if (r < 0) {
        log_error(f.cleanup ? "cannot clean up" : "cannot start", "error", error_text(&err), NULL);
        return 1;
    }
    return 0;
}
