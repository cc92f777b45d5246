/* coracle-kubelet: flags and wiring. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/options.h"
#include "base/strbuf.h"
#include "kube/kubeconfig.h"
#include "kubelet/cgroups.h"
#include "kubelet/config/file.h"
#include "kubelet/cleanup.h"
#include "kubelet/eviction/eviction.h"
#include "kubelet/node/node.h"
#include "kubelet/runtime/events.h"
#include "kubelet/runtime/image_gc.h"
#include "kubelet/server/server.h"
#include "kubelet/sources.h"
#include "kubelet/stats/stats.h"
#include "net/http_client.h"
#include "net/socket.h"

static struct {
    const char *root, *config, *kubeconfig, *endpoint, *hostname, *node_ip, *manifests;
    const char *cgroup_root;
    const char *client_ca, *cert, *key, *cluster_domain, *resolv_conf, *address;
    struct option_list cluster_dns, unsafe_sysctls;
    int port, verbosity;
    bool help, cleanup, seccomp_default;
} options = {.root = "", .port = -1};

static const struct option_def definitions[] = {
    {"root", 0, OPTION_STRING, &options.root, "DIR", "prefix of all paths"},
    {"config", 0, OPTION_STRING, &options.config, "FILE",
     "KubeletConfiguration; flags win over what is in it"},
    {"kubeconfig", 0, OPTION_STRING, &options.kubeconfig, "FILE",
     "how to reach the API server; without it only static pods run"},
    {"container-runtime-endpoint", 0, OPTION_STRING, &options.endpoint, "URL", "CRI socket"},
    {"hostname-override", 0, OPTION_STRING, &options.hostname, "NAME", "name of this node"},
    {"node-ip", 0, OPTION_STRING, &options.node_ip, "IP",
     "address of this node; two, separated by a comma, for both families"},
    {"pod-manifest-path", 0, OPTION_STRING, &options.manifests, "DIR", "static pods"},
    {"cgroup-root", 0, OPTION_STRING, &options.cgroup_root, "PATH", "parent of kubepods"},
    {"cluster-dns", 0, OPTION_LIST, &options.cluster_dns, "IP", "DNS servers of the cluster"},
    {"cluster-domain", 0, OPTION_STRING, &options.cluster_domain, "NAME", "domain of the cluster"},
    {"resolv-conf", 0, OPTION_STRING, &options.resolv_conf, "FILE", "the host's resolver"},
    {"address", 0, OPTION_STRING, &options.address, "IP", "address to serve on"},
    {"port", 0, OPTION_INT, &options.port, "PORT", "port to serve on; 0: don't"},
    {"allowed-unsafe-sysctls", 0, OPTION_LIST, &options.unsafe_sysctls, "NAME",
     "sysctls that pods may set though they are not safe; \"net.x.*\""},
    {"client-ca-file", 0, OPTION_STRING, &options.client_ca, "FILE", "who may call the server"},
    {"tls-cert-file", 0, OPTION_STRING, &options.cert, "FILE", "certificate of the server"},
    {"tls-private-key-file", 0, OPTION_STRING, &options.key, "FILE", "its key"},
    {"seccomp-default", 0, OPTION_BOOL, &options.seccomp_default, NULL,
     "the runtime's profile for pods that name none"},
    {"cleanup", 0, OPTION_BOOL, &options.cleanup, NULL, "remove everything from the host and exit"},
    {"v", 0, OPTION_INT, &options.verbosity, "N", "verbosity"},
    {"help", 'h', OPTION_BOOL, &options.help, NULL, "this text"},
    {.name = NULL},
};

/* Everything that main() made, undone in reverse. */
struct program {
    struct kubelet k;
    struct kubeconfig config;
    struct kubelet_config file;
    struct eviction_policy eviction;
    struct node *node;
    struct file_source *files;
    struct api_source *api;
    struct kubelet_server *server;
    struct daemon_signals signals;
};

/* A flag, else the file's field, else the default. */
static void choose(const char **option, const char *from_file, const char *fallback)
{
    if (!*option)
        *option = from_file && *from_file ? from_file : fallback;
}

static int read_config(struct program *p, struct error *err)
{
    struct kubelet_config *f = &p->file;
    int r = options.config ? kubelet_config_load(options.config, f, err) : 0;
    if (r < 0)
        return r;
    kubelet_config_init(f);
    choose(&options.manifests, f->static_pods, NULL);
    choose(&options.cluster_domain, f->cluster_domain, "cluster.local");
    choose(&options.address, f->address, "0.0.0.0");
    choose(&options.cgroup_root, f->cgroup_root, "/");
    choose(&options.resolv_conf, f->resolv_conf, "/etc/resolv.conf");
    choose(&options.endpoint, f->endpoint, NULL);
    choose(&options.cert, f->cert, NULL);
    choose(&options.key, f->key, NULL);
    choose(&options.client_ca, f->client_ca, NULL);
    if (options.port < 0)
        options.port = f->port.set && f->port.value >= 0 && f->port.value <= 65535
                           ? (int)f->port.value
                           : 10250;
    return 0;
}

/* Companions are beside our own executable. */
static char *companion(const char *name)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    if (!slash)
        return str_dup(name);
    *slash = 0;
    return fs_join(self, name);
}

static int make_paths(struct kubelet *k, struct error *err)
{
    k->tree_program = companion("coracle-tree");
    k->pods_dir = daemon_path(options.root, "/var/lib/kubelet/pods");
    k->log_root = daemon_path(options.root, "/var/log/pods");
    k->log_links = daemon_path(options.root, "/var/log/containers");
    k->seccomp_root = daemon_path(options.root, "/var/lib/kubelet/seccomp");
    int r = fs_mkdirs(k->pods_dir, 0750, err);
    if (r == 0)
        r = fs_mkdirs(k->log_root, 0755, err);
    if (r == 0)
        r = fs_mkdirs(k->log_links, 0755, err);
    return r;
}

/* One address, or two of different families. */
static int check_node_ips(const char *list, struct error *err)
{
    _cleanup_free_ char *copy = str_dup(list ? list : "");
    char *save = NULL;
    int seen = 0;
    for (char *ip = strtok_r(copy, ",", &save); ip; ip = strtok_r(NULL, ",", &save)) {
        int family = strchr(ip, ':') ? 2 : 1;
        struct sockaddr_storage address;
        socklen_t len;
        if (socket_address(ip, 0, &address, &len, NULL) < 0 || (seen & family))
            return error_set(err, -EINVAL,
                             "--node-ip: \"%.100s\" is not an address, or one of each family",
                             list);
        seen |= family;
    }
    return 0;
}

static int read_identity(struct kubelet *k, struct error *err)
{
    char host[256] = "";
    if (!options.hostname && gethostname(host, sizeof(host) - 1) < 0)
        return error_errno(err, -errno, "cannot read the host name");
    k->node_name = str_dup(options.hostname ? options.hostname : host);
    for (char *p = k->node_name; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    if (!name_is_dns(k->node_name, 253, true))
        return error_set(err, -EINVAL, "--hostname-override: \"%.60s\" is not a DNS name",
                         k->node_name);
    k->node_ips = options.node_ip ? str_dup(options.node_ip) : node_default_address();
    int r = check_node_ips(k->node_ips, err);
    if (r < 0)
        return r;
    k->node_ip = k->node_ips ? str_ndup(k->node_ips, strcspn(k->node_ips, ",")) : NULL;
    k->port = (uint16_t)options.port;
    return 0;
}

static int open_runtime(struct program *p, struct error *err)
{
    _cleanup_free_ char *fallback = daemon_path(options.root, "/run/coracle/cri.sock");
    p->k.rpc = rpc_new(p->k.loop, err);
    if (!p->k.rpc)
        return -EIO;
    p->k.runtime = runtime_new_grpc(p->k.rpc, options.endpoint ? options.endpoint : fallback, err);
    return p->k.runtime ? 0 : -EINVAL;
}

static int open_api(struct program *p, struct error *err)
{
    if (options.kubeconfig) {
        int r = kubeconfig_load(options.kubeconfig, NULL, &p->config, err);
        if (r == 0)
            r = kube_client_new(&p->k.api, p->k.loop, &p->config, "kubelet", err);
        if (r < 0)
            return r;
    }
    p->k.events = event_recorder_new(p->k.api, "kubelet", p->k.node_name);
    return 0;
}

static void on_services(void *arg)
{
    struct program *p = arg;
    if (p->k.pods)
        pod_manager_kick(p->k.pods);
}

static void on_node_changed(void *arg)
{
    struct program *p = arg;
    node_update(p->node);
}

static void on_ready(void *arg)
{
    (void)arg;
    daemon_notify("STATUS=runtime is ready");
}

/* As choose(), of lists; borrowed. */
static void choose_list(struct string_list *ret, const struct option_list *flag,
                        const struct string_list *from_file)
{
    ret->items = flag->count ? flag->items : from_file->items;
    ret->count = flag->count ? flag->count : from_file->count;
}

static void read_lists(struct program *p)
{
    choose_list(&p->k.dns.servers, &options.cluster_dns, &p->file.cluster_dns);
    choose_list(&p->k.unsafe_sysctls, &options.unsafe_sysctls, &p->file.unsafe_sysctls);
    p->k.dns.domain = options.cluster_domain;
    p->k.resolv_conf = options.resolv_conf;
    kubelet_read_dns(&p->k);
    p->k.seccomp_default = options.seccomp_default || p->file.seccomp_default.value;
}

/* How much of the machine is for pods. */
static int share_node(struct program *p, struct error *err)
{
    struct kubelet *k = &p->k;
    const struct kubelet_config *f = &p->file;
    struct node_capacity pods;
    node_read_capacity(k, f->max_pods.value);
    int r = node_allocatable(&k->capacity, f, &pods, &k->allocatable, err);
    if (r == 0)
        r = eviction_policy_read(f, &p->eviction, err);
    if (r < 0)
        return r;
    k->cgroup_driver = f->cgroup_driver;
    k->swap_capacity = node_meminfo("SwapTotal");
    k->swap_accounting = pod_cgroups_swap(k->cgroups);
    k->limited_swap = str_eq(f->memory_swap.behavior, "LimitedSwap");
    k->oom_single = f->oom_single.value;
    r = pod_cgroups_limit(k->cgroups, kubelet_config_enforces_pods(f) ? &pods : NULL,
                          f->pod_pids_limit.value, err);
    if (r != -EBUSY)
        return r;
    /* Pods that run already use more: they run on. */
    log_warn("pods cannot be held to what is not reserved", "error", error_text(err), NULL);
    *err = (struct error)ERROR_INIT;
    return 0;
}

static int start(struct program *p, struct error *err)
{
    struct kubelet *k = &p->k;
    k->root = options.root;
    int r = read_config(p, err);
    if (r == 0)
        r = make_paths(k, err);
    if (r == 0)
        r = read_identity(k, err);
    if (r == 0)
        r = pod_cgroups_new(options.cgroup_root, &k->cgroups, err);
    if (r == 0)
        r = share_node(p, err);
    if (r == 0)
        r = open_runtime(p, err);
    if (r == 0)
        r = open_api(p, err);
    if (r < 0)
        return r;
    read_lists(p);
    k->http = http_client_new(k->loop);
    k->objects = object_cache_new(k->api);
    k->services = service_cache_new(k->api, on_services, p);
    k->pods = pod_manager_new(k);
    k->runtime_events =
        runtime_events_new(k, runtime_client(k->runtime), &pod_manager_runtime_ops, k->pods);
    p->node = node_new(k, on_ready, p);
    struct image_gc_policy images = {.high = p->file.image_gc_high.value,
                                     .low = p->file.image_gc_low.value,
                                     .min_age_ms = p->file.image_min_age_ms,
                                     .max_age_ms = p->file.image_max_age_ms};
    k->image_gc = image_gc_new(k, &images, on_node_changed, p);
    k->stats = stats_new(k);
    k->eviction = eviction_new(k, &p->eviction, on_node_changed, p);
    _cleanup_free_ char *manifests = options.manifests
                                         ? str_dup(options.manifests)
                                         : daemon_path(options.root, "/etc/kubernetes/manifests");
    p->files = file_source_new(k, manifests);
    if (k->api)
        p->api = api_source_new(k);
    struct kubelet_server_options server = {.address = options.address,
                                            .port = (uint16_t)options.port,
                                            .cert_file = options.cert,
                                            .key_file = options.key,
                                            .client_ca_file = options.client_ca};
    return options.port ? kubelet_server_new(k, &server, &p->server, err) : 0;
}

static void stop(struct program *p)
{
    struct kubelet *k = &p->k;
    kubelet_server_free(p->server);
    file_source_free(p->files);
    api_source_free(p->api);
    k->eviction = eviction_free(k->eviction);
    k->stats = stats_free(k->stats);
    k->image_gc = image_gc_free(k->image_gc);
    node_free(p->node);
    pod_manager_free(k->pods);
    runtime_events_free(k->runtime_events);
    service_cache_free(k->services);
    object_cache_free(k->objects);
    event_recorder_free(k->events);
    http_client_free(k->http);
    kube_client_free(k->api);
    kubeconfig_done(&p->config);
    kubelet_config_done(&p->file);
    runtime_free_grpc(k->runtime);
    rpc_free(k->rpc);
    pod_cgroups_free(k->cgroups);
    option_list_done(&options.cluster_dns);
    option_list_done(&options.unsafe_sysctls);
    free(k->node_name);
    free(k->node_ip);
    free(k->node_ips);
    free(k->pods_dir);
    free(k->log_root);
    free(k->log_links);
    free(k->seccomp_root);
    free(k->tree_program);
    for (size_t i = 0; i < k->handlers.count; i++)
        free(k->handlers.items[i].name);
    free(k->handlers.items);
    json_decref(k->node_labels);
    free(k->runtime_name);
    free(k->resolv_text);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct program p = {.k = {.loop = NULL}};
    _cleanup_free_ char **words = mem_zalloc((size_t)(argc + 1) * sizeof(char *));
    int r = options_parse(definitions, argc, argv, false, words, &err);
    if (r > 0)
        r = error_set(&err, -EINVAL, "unexpected argument \"%s\"", words[0]);
    if (options.help) {
        options_help(definitions, stdout);
        return 0;
    }
    if (r == 0 && (options.port < -1 || options.port > 65535))
        r = error_set(&err, -EINVAL, "--port: %d is not a port", options.port);
    daemon_init("coracle-kubelet", options.verbosity);
    if (r < 0) {
        log_error("cannot start", "error", error_text(&err), NULL);
        return 2;
    }
    if (options.cleanup) {
        r = kubelet_cleanup(options.root, options.cgroup_root, &err);
        if (r < 0)
            log_error("cannot clean up", "error", error_text(&err), NULL);
        return r < 0;
    }
    p.k.loop = loop_new();
    daemon_stop_on_signals(&p.signals, p.k.loop);
    r = start(&p, &err);
    if (r < 0)
        log_error("cannot start", "error", error_text(&err), NULL);
    else
        daemon_notify("READY=1");
    int code = r < 0 ? 1 : loop_run(p.k.loop);
    daemon_notify("STOPPING=1");
    stop(&p);
    daemon_signals_done(&p.signals);
    loop_free(p.k.loop);
    return code;
}
