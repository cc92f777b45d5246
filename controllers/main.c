/* coracle-controllers: the workload controllers and the scheduler, over REST. */
#include <errno.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/options.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "controllers/certificates.h"
#include "controllers/controllers.h"

#define SIGNING_SECONDS (INT64_C(365) * 24 * 3600)

static const struct controller_def *const definitions[] = {
    &scheduler_controller,       &endpoints_controller, &replica_set_controller,
    &deployment_controller,      &garbage_controller,   &namespace_controller,
    &service_account_controller, &root_ca_controller,   &cluster_role_controller,
    &certificate_controller,     &volume_binder,        &volume_protection,
    &node_ipam_controller,       &bootstrap_signer,
};

static const struct cache_kind kinds[] = {
    {"v1", "pods", "Pod", &pod_type, pod_complete, NULL},
    {"v1", "nodes", "Node", &node_type, node_complete, NULL},
    {"v1", "services", "Service", &service_type, NULL, NULL},
    {"discovery.k8s.io/v1", "endpointslices", "EndpointSlice", &endpoint_slice_type, NULL, NULL},
    {"v1", "endpoints", "Endpoints", &endpoints_type, NULL, NULL},
    {"apps/v1", "replicasets", "ReplicaSet", &replica_set_type, NULL, NULL},
    {"apps/v1", "deployments", "Deployment", &deployment_type, NULL, NULL},
    {"v1", "namespaces", "Namespace", &plain_type, NULL, NULL},
    {"v1", "serviceaccounts", "ServiceAccount", &plain_type, NULL, NULL},
    {"v1", "configmaps", "ConfigMap", &config_map_type, NULL, ROOT_CA_NAME},
    {"rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", &cluster_role_type, NULL, NULL},
    {"certificates.k8s.io/v1", "certificatesigningrequests", "CertificateSigningRequest", &csr_type,
     NULL, NULL},
    {"v1", "persistentvolumes", "PersistentVolume", &volume_type, NULL, NULL},
    {"v1", "persistentvolumeclaims", "PersistentVolumeClaim", &claim_type, NULL, NULL},
    {"storage.k8s.io/v1", "storageclasses", "StorageClass", &storage_class_type, NULL, NULL},
    {"v1", "configmaps", "ConfigMap", &config_map_type, NULL, CLUSTER_INFO_NAME, CLUSTER_INFO_NS},
    {"v1", "secrets", "Secret", &bootstrap_secret_type, NULL, NULL, "kube-system",
     "type=bootstrap.kubernetes.io/token"},
};

struct program {
    struct controllers c;
    struct cache *caches[ARRAY_SIZE(kinds)];
    struct controller *running[ARRAY_SIZE(definitions)];
};

/* Controllers begin when the last cache is filled: none acts on half a picture. */
static void on_synced(void *arg)
{
    struct program *p = arg;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (!cache_synced(p->caches[i]))
            return;
    for (size_t i = 0; i < ARRAY_SIZE(definitions); i++)
        definitions[i]->synced(p->running[i]);
    daemon_notify("READY=1");
}

static void start_caches(struct program *p)
{
    struct cache **const slots[ARRAY_SIZE(kinds)] = {
        &p->c.pods,          &p->c.nodes,         &p->c.services,
        &p->c.slices,        &p->c.endpoints,     &p->c.replica_sets,
        &p->c.deployments,   &p->c.namespaces,    &p->c.service_accounts,
        &p->c.root_cas,      &p->c.cluster_roles, &p->c.csrs,
        &p->c.volumes,       &p->c.claims,        &p->c.storage_classes,
        &p->c.cluster_infos, &p->c.tokens,
    };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        p->caches[i] = cache_new(p->c.client, &kinds[i]);
        *slots[i] = p->caches[i];
        cache_on_synced(p->caches[i], on_synced, p);
    }
}

static int run(struct program *p, const char *kubeconfig, struct error *err)
{
    struct kubeconfig config;
    struct daemon_signals signals;
    p->c.loop = loop_new();
    int r = kubeconfig_load(kubeconfig, NULL, &config, err);
    if (r == 0) {
        r = kube_client_new(&p->c.client, p->c.loop, &config, "coracle-controllers", err);
        kubeconfig_done(&config);
    }
    if (r == 0) {
        daemon_stop_on_signals(&signals, p->c.loop);
        p->c.registry = schema_registry_new();
        p->c.recorder = event_recorder_new(p->c.client, "coracle-controllers", NULL);
        start_caches(p);
        for (size_t i = 0; i < ARRAY_SIZE(definitions); i++)
            p->running[i] = definitions[i]->start(&p->c);
        r = loop_run(p->c.loop);
        for (size_t i = 0; i < ARRAY_SIZE(definitions); i++)
            definitions[i]->stop(p->running[i]);
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
            cache_free(p->caches[i]);
        event_recorder_free(p->c.recorder);
        schema_registry_free(p->c.registry);
        kube_client_free(p->c.client);
        daemon_signals_done(&signals);
    }
    loop_free(p->c.loop);
    return r;
}

int main(int argc, char **argv)
{
    struct program p = {.c = {.signing_duration_s = SIGNING_SECONDS}};
    struct cidr_flags cidrs = {.cluster = NULL};
    const char *root = NULL, *kubeconfig = NULL, *duration = NULL;
    int verbosity = 0;
    bool help = false;
    struct error err = ERROR_INIT;
    const struct option_def options[] = {
        {"kubeconfig", 0, OPTION_STRING, &kubeconfig, "FILE", "how to reach the API server"},
        {"allocate-node-cidrs", 0, OPTION_BOOL, &cidrs.allocate, NULL,
         "give nodes pod CIDRs out of --cluster-cidr"},
        {"cluster-cidr", 0, OPTION_STRING, &cidrs.cluster, "CIDR[,CIDR]", "addresses of pods"},
        {"node-cidr-mask-size", 0, OPTION_INT, &cidrs.mask_size, "N",
         "prefix length of a node's pod CIDR (24, IPv6: 64)"},
        {"node-cidr-mask-size-ipv4", 0, OPTION_INT, &cidrs.mask_size_v4, "N", "the same for IPv4"},
        {"node-cidr-mask-size-ipv6", 0, OPTION_INT, &cidrs.mask_size_v6, "N", "the same for IPv6"},
        {"service-cluster-ip-range", 0, OPTION_STRING, &cidrs.service, "CIDR[,CIDR]",
         "addresses of services, which no node gets"},
        {"root-ca-file", 0, OPTION_STRING, &p.c.root_ca_file, "FILE",
         "CA to publish in every namespace, for pods"},
        {"cluster-info-server", 0, OPTION_STRING, &p.c.cluster_info_server, "URL",
         "keep " CLUSTER_INFO_NS "/" CLUSTER_INFO_NAME ", which tells nodes that join of this URL"},
        {"cluster-signing-cert-file", 0, OPTION_STRING, &p.c.signing_cert_file, "FILE",
         "CA that signs certificate requests (none: they stay unsigned)"},
        {"cluster-signing-key-file", 0, OPTION_STRING, &p.c.signing_key_file, "FILE", "its key"},
        {"cluster-signing-duration", 0, OPTION_STRING, &duration, "DURATION",
         "longest life of such certificates (8760h)"},
        {"root", 0, OPTION_STRING, &root, "DIR", "prefix of every path"},
        {"v", 'v', OPTION_INT, &verbosity, "N", "verbosity; 4: debug"},
        {"help", 'h', OPTION_BOOL, &help, NULL, "show this"},
        {NULL}};
    char *words[64];
    int64_t ms = 0;
    if (argc > (int)ARRAY_SIZE(words) || options_parse(options, argc, argv, false, words, &err)) {
        (void)fprintf(stderr, "coracle-controllers: %s\n",
                      err.code ? err.text : "takes flags only");
        return 2;
    }
    if (help) {
        options_help(options, stdout);
        return 0;
    }
    if (duration && (duration_parse(duration, &ms) < 0 || ms < 1000)) {
        (void)fprintf(stderr,
                      "coracle-controllers: --cluster-signing-duration: \"%s\" is no "
                      "duration of at least a second\n",
                      duration);
        return 2;
    }
    if (duration)
        p.c.signing_duration_s = ms / 1000;
    int n = cidr_sets_make(&cidrs, p.c.cidr_sets, &err);
    if (n < 0) {
        (void)fprintf(stderr, "coracle-controllers: %s\n", error_text(&err));
        return 2;
    }
    p.c.n_cidr_sets = (size_t)n;
    _cleanup_free_ char *standard = daemon_path(root, "/etc/coracle/controllers.kubeconfig");
    daemon_init("coracle-controllers", verbosity);
    int r = run(&p, kubeconfig ? kubeconfig : standard, &err);
    if (r < 0)
        log_error("cannot start", "error", error_text(&err), NULL);
    for (size_t i = 0; i < CIDR_SETS_MAX; i++)
        cidr_set_done(&p.c.cidr_sets[i]);
    return r < 0;
}
