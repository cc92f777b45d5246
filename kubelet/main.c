/* coracle-kubelet: flags and wiring. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/options.h"
#include "base/strbuf.h"
#include "kubelet/cgroups.h"
#include "kubelet/config/file.h"
#include "kubelet/cleanup.h"
#include "kubelet/credentials/credentials.h"
#include "kubelet/devices/devices.h"
#include "kubelet/eviction/eviction.h"
#include "kubelet/node/address.h"
#include "kubelet/node/hint.h"
#include "kubelet/node/node.h"
#include "kubelet/node/registration.h"
#include "kubelet/runtime/events.h"
#include "kubelet/runtime/image_gc.h"
#include "kubelet/server/server.h"
#include "kubelet/shutdown/shutdown.h"
#include "kubelet/sources.h"
#include "kubelet/stats/stats.h"
#include "net/http_client.h"
#include "net/socket.h"

static struct {
    const char *root, *config, *kubeconfig, *bootstrap, *cert_dir, *hostname, *node_ip;
    const char *iptables, *labels, *taints, *systemd_socket;
    int verbosity;
    bool help, cleanup;
} options = {.root = ""};

/* Those that are no fields of the configuration. */
static const struct option_def definitions[] = {
    {"root", 0, OPTION_STRING, &options.root, "DIR", "prefix of all paths"},
    {"config", 0, OPTION_STRING, &options.config, "FILE",
     "KubeletConfiguration; flags win over what is in it"},
    {"kubeconfig", 0, OPTION_STRING, &options.kubeconfig, "FILE",
     "how to reach the API server; without it only static pods run"},
    {"bootstrap-kubeconfig", 0, OPTION_STRING, &options.bootstrap, "FILE",
     "with the token that a client certificate is asked for with, when --kubeconfig does not work"},
    {"cert-dir", 0, OPTION_STRING, &options.cert_dir, "DIR",
     "certificates of our own (default: /var/lib/kubelet/pki)"},
    {"hostname-override", 0, OPTION_STRING, &options.hostname, "NAME", "name of this node"},
    {"node-ip", 0, OPTION_STRING, &options.node_ip, "IP",
     "address of this node; two, separated by a comma, for both families"},
    {"systemd-socket", 0, OPTION_STRING, &options.systemd_socket, "PATH",
     "where systemd is asked for slices (/run/systemd/private)"},
    {"iptables-variant", 0, OPTION_STRING, &options.iptables, "NAME",
     "flavour of iptables: nft, legacy; auto: the host's default"},
    {"node-labels", 0, OPTION_STRING, &options.labels, "KEY=VALUE,…",
     "labels that our Node is registered with"},
    {"register-with-taints", 0, OPTION_STRING, &options.taints, "KEY=VALUE:EFFECT,…",
     "taints that it is registered with"},
    {"cleanup", 0, OPTION_BOOL, &options.cleanup, NULL, "remove everything from the host and exit"},
    {"v", 0, OPTION_INT, &options.verbosity, "N", "verbosity"},
    {"help", 'h', OPTION_BOOL, &options.help, NULL, "this text"},
    {.name = NULL},
};

/* Everything that main() made, undone in reverse. */
struct program {
    struct kubelet k;
    struct credentials *credentials;
    struct config_flags flags;
    struct kubelet_config file;
    struct eviction_policy eviction;
    struct shutdown_plan shutdown_plan;
    struct node *node;
    struct node_address *address; /* NULL: --node-ip says it */
    struct node_shutdown *shutdown;
    struct iptables_hint *hint;
    char *journal;
    struct file_source *files;
    struct api_source *api;
    struct kubelet_server *server;
    struct daemon_signals signals;
};

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
    k->cert_dir = options.cert_dir ? str_dup(options.cert_dir)
                                   : daemon_path(options.root, "/var/lib/kubelet/pki");
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
    int r = options.labels ? registration_labels(options.labels, &k->new_labels, err) : 0;
    if (r == 0 && options.taints)
        r = registration_taints(options.taints, &k->new_taints, err);
    if (r < 0)
        return r;
    k->node_ips = options.node_ip ? str_dup(options.node_ip) : node_default_address();
    r = check_node_ips(k->node_ips, err);
    if (r < 0)
        return r;
    k->node_ip = k->node_ips ? str_ndup(k->node_ips, strcspn(k->node_ips, ",")) : NULL;
    return 0;
}

static bool is_given(const char *text)
{
    return text && *text;
}

static int open_runtime(struct program *p, struct error *err)
{
    _cleanup_free_ char *fallback = daemon_path(options.root, "/run/coracle/cri.sock");
    p->k.rpc = rpc_new(p->k.loop, err);
    if (!p->k.rpc)
        return -EIO;
    p->k.runtime =
        runtime_new_grpc(p->k.rpc, is_given(p->file.endpoint) ? p->file.endpoint : fallback, err);
    return p->k.runtime ? 0 : -EINVAL;
}

static int open_api(struct program *p, struct error *err)
{
    struct credentials_options how = {.kubeconfig = options.kubeconfig,
                                      .bootstrap = options.bootstrap,
                                      .rotate = p->file.rotate_certificates};
    int r = credentials_new(&p->k, &how, &p->credentials, err);
    if (r < 0)
        return r;
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

static void on_address(void *arg)
{
    struct program *p = arg;
    kubelet_server_readdress(p->server);
    node_update(p->node);
    pod_manager_kick(p->k.pods);
}

static void on_pods_ended(void *arg)
{
    struct program *p = arg;
    loop_stop(p->k.loop, 0);
}

/* In place of daemon_stop_on_signals()' own. */
static void on_term(_unused_ int signo, void *arg)
{
    struct program *p = arg;
    daemon_notify("STOPPING=1");
    if (!node_shutdown_term(p->shutdown, on_pods_ended, p))
        loop_stop(p->k.loop, 0);
}

static void on_ready(void *arg)
{
    (void)arg;
    daemon_notify("STATUS=runtime is ready");
}

static void read_settings(struct program *p)
{
    struct kubelet *k = &p->k;
    const struct kubelet_config *f = &p->file;
    k->port = (uint16_t)f->port;
    k->dns.servers = f->cluster_dns;
    k->dns.domain = f->cluster_domain;
    k->unsafe_sysctls = f->unsafe_sysctls;
    k->resolv_conf = is_given(f->resolv_conf) ? f->resolv_conf : NULL;
    k->seccomp_default = f->seccomp_default;
    kubelet_read_dns(k);
}

/* How much of the machine is for pods. */
static int share_node(struct program *p, struct error *err)
{
    struct kubelet *k = &p->k;
    const struct kubelet_config *f = &p->file;
    struct node_capacity pods;
    node_read_capacity(k, f->max_pods);
    int r = node_allocatable(&k->capacity, f, &pods, &k->allocatable, err);
    if (r == 0)
        r = eviction_policy_read(f, &p->eviction, err);
    if (r == 0)
        r = shutdown_plan_read(f, &p->shutdown_plan, err);
    if (r < 0)
        return r;
    k->cgroup_driver = f->cgroup_driver;
    k->swap_capacity = node_meminfo("SwapTotal");
    k->limited_swap = str_eq(f->memory_swap.behavior, "LimitedSwap");
    k->oom_single = f->oom_single.value;
    pod_cgroups_limit(k->cgroups, kubelet_config_enforces_pods(f) ? &pods : NULL,
                      f->pod_pids_limit);
    return 0;
}

static int start(struct program *p, struct error *err)
{
    struct kubelet *k = &p->k;
    k->root = options.root;
    int r = kubelet_config_load(options.config, &p->flags, &p->file, err);
    const struct pod_cgroups_options groups = {
        .root = p->file.cgroup_root, .loop = k->loop, .systemd_socket = options.systemd_socket};
    if (r == 0)
        r = make_paths(k, err);
    if (r == 0)
        r = read_identity(k, err);
    if (r == 0)
        r = pod_cgroups_new(&groups, &k->cgroups, err);
    if (r == 0)
        r = share_node(p, err);
    if (r == 0)
        r = open_runtime(p, err);
    if (r == 0)
        r = open_api(p, err);
    if (r < 0)
        return r;
    read_settings(p);
    k->http = http_client_new(k->loop);
    k->objects = object_cache_new(k->api);
    k->services = service_cache_new(k->api, on_services, p);
    k->pods = pod_manager_new(k);
    k->runtime_events =
        runtime_events_new(k, runtime_client(k->runtime), &pod_manager_runtime_ops, k->pods);
    p->node = node_new(k, on_ready, p);
    struct image_gc_policy images = {.high = p->file.image_gc_high,
                                     .low = p->file.image_gc_low,
                                     .min_age_ms = p->file.image_min_age_ms,
                                     .max_age_ms = p->file.image_max_age_ms};
    k->image_gc = image_gc_new(k, &images, on_node_changed, p);
    k->stats = stats_new(k);
    r = devices_new(k, on_node_changed, p, &k->devices, err);
    if (r < 0)
        return r;
    k->eviction = eviction_new(k, &p->eviction, on_node_changed, p);
    p->shutdown = node_shutdown_new(k, &p->shutdown_plan, p->node, on_node_changed, p);
    _cleanup_free_ char *manifests = is_given(p->file.static_pods)
                                         ? str_dup(p->file.static_pods)
                                         : daemon_path(options.root, "/etc/kubernetes/manifests");
    p->files = file_source_new(k, manifests);
    if (k->api)
        p->api = api_source_new(k);
    struct iptables_hint_options hint = {.journal = p->journal, .variant = options.iptables};
    if (p->file.iptables_chains)
        p->hint = iptables_hint_new(k->loop, &hint);
    r = kubelet_server_new(k, &p->file, &p->server, err);
    if (r == 0 && !options.node_ip)
        r = node_address_new(k, on_address, p, &p->address, err);
    return r;
}

static void stop(struct program *p)
{
    struct kubelet *k = &p->k;
    (void)node_address_free(p->address);
    kubelet_server_free(p->server);
    (void)iptables_hint_free(p->hint);
    file_source_free(p->files);
    api_source_free(p->api);
    p->shutdown = node_shutdown_free(p->shutdown);
    k->eviction = eviction_free(k->eviction);
    k->devices = devices_free(k->devices);
    k->stats = stats_free(k->stats);
    k->image_gc = image_gc_free(k->image_gc);
    node_free(p->node);
    pod_manager_free(k->pods);
    runtime_events_free(k->runtime_events);
    service_cache_free(k->services);
    object_cache_free(k->objects);
    event_recorder_free(k->events);
    http_client_free(k->http);
    (void)credentials_free(p->credentials);
    kubelet_config_done(&p->file);
    config_flags_done(&p->flags);
    runtime_free_grpc(k->runtime);
    rpc_free(k->rpc);
    pod_cgroups_free(k->cgroups);
    free(k->node_name);
    free(k->node_ip);
    free(k->node_ips);
    free(k->pods_dir);
    free(k->log_root);
    free(k->log_links);
    free(p->journal);
    free(k->seccomp_root);
    free(k->cert_dir);
    free(k->tree_program);
    for (size_t i = 0; i < k->handlers.count; i++)
        free(k->handlers.items[i].name);
    free(k->handlers.items);
    json_decref(k->node_labels);
    json_decref(k->new_labels);
    json_decref(k->new_taints);
    free(k->runtime_name);
    free(k->resolv_text);
}

/* Not for the loop: only the place in the tree of cgroups counts. */
static int cleanup(struct program *p, struct error *err)
{
    int r = kubelet_config_load(options.config, &p->flags, &p->file, err);
    if (r == 0)
        r = kubelet_cleanup(options.root, p->file.cgroup_root, options.systemd_socket, p->journal,
                            err);
    kubelet_config_done(&p->file);
    config_flags_done(&p->flags);
    free(p->journal);
    return r;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct program p = {.k = {.loop = NULL}};
    _cleanup_free_ char **words = mem_zalloc((size_t)(argc + 1) * sizeof(char *));
    config_flags_init(&p.flags, definitions);
    int r = options_parse(p.flags.definitions, argc, argv, false, words, &err);
    if (r > 0)
        r = error_set(&err, -EINVAL, "unexpected argument \"%s\"", words[0]);
    const char *variant = options.iptables;
    if (r == 0 && variant && !str_eq(variant, "auto") && !str_eq(variant, "nft") &&
        !str_eq(variant, "legacy"))
        r = error_set(&err, -EINVAL, "--iptables-variant: \"%.60s\" is no flavour of iptables",
                      variant);
    if (options.help) {
        options_help(p.flags.definitions, stdout);
        config_flags_done(&p.flags);
        return 0;
    }
    daemon_init("coracle-kubelet", options.verbosity);
    if (r < 0) {
        log_error("cannot start", "error", error_text(&err), NULL);
        config_flags_done(&p.flags);
        return 2;
    }
    p.journal = daemon_path(options.root, "/var/lib/coracle/journal");
    if (options.cleanup) {
        r = cleanup(&p, &err);
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
    if (p.shutdown) {
        loop_signal_done(&p.signals.term);
        loop_signal_init(&p.signals.term, p.k.loop, SIGTERM, on_term, &p);
    }
    int code = r < 0 ? 1 : loop_run(p.k.loop);
    daemon_notify("STOPPING=1");
    stop(&p);
    daemon_signals_done(&p.signals);
    loop_free(p.k.loop);
    return code;
}
