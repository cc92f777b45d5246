/*
 * `coracle join`: makes this machine a node of a cluster whose server is elsewhere. Finds the
 * cluster and checks its CA (discovery.h), reads what its nodes are told (cluster.h), gets
 * credentials, writes all down (agent.h), starts `coracle agent` and waits until the Node is Ready.
 * Flags are kubeadm's where kubeadm has them. Joining twice is harmless.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/strbuf.h"
#include "cli/agent.h"
#include "cli/background.h"
#include "cli/check.h"
#include "cli/cluster.h"
#include "cli/command.h"
#include "cli/discovery.h"
#include "cli/down.h"
#include "net/http.h"

#define DAEMON_SETS    "/apis/apps/v1/daemonsets"
#define CSRS           "/apis/certificates.k8s.io/v1/certificatesigningrequests"
#define CREDENTIALS_MS 60000
#define RETRY_MS       20

struct join {
    struct node_config config;
    struct discovery discovery;
    struct option_list pins;
    const char *proxy, *flannel, *dns; /* auto, on, off */
    struct kubeconfig found;
    struct session session; /* with the token */
    struct cluster_settings cluster;
    bool writing; /* from here on a failure takes back what was written */
};

static void step(const char *what)
{
    (void)printf("%s\n", what);
    (void)fflush(stdout);
}

/* ---- what runs here ---- */

/* The DaemonSet whose name says that it does @part's work; NULL when there is none. */
static const char *daemon_set_of(const json_t *sets, const char *part)
{
    static const struct {
        const char *part, *word;
    } names[] = {{"proxy", "kube-proxy"},  {"flannel", "flannel"}, {"flannel", "calico"},
                 {"flannel", "cilium"},    {"proxy", "cilium"},    {"flannel", "weave"},
                 {"dns", "node-local-dns"}};
    for (size_t i = 0; i < json_array_size(json_object_get(sets, "items")); i++) {
        const char *name =
            json_path_string(json_array_get(json_object_get(sets, "items"), i), "metadata.name");
        for (size_t n = 0; name && n < ARRAY_SIZE(names); n++)
            if (str_eq(names[n].part, part) && strstr(name, names[n].word))
                return name;
    }
    return NULL;
}

/* One line for each part: whether it runs here, and why. */
static const char *choose(const struct join *j, const char *part, const char *flag,
                          const json_t *sets)
{
    const char *set = daemon_set_of(sets, part);
    const char *choice = flag, *why = "as asked";
    if (!str_eq(flag, "auto")) {
        if (str_eq(flag, "on") && set)
            why = "as asked, although a DaemonSet does that";
    } else if (j->cluster.ours) {
        choice = str_eq(part, "dns") && !j->cluster.dns_ip ? "off" : "on";
        why = str_eq(choice, "on") ? "a Coracle cluster" : "the cluster has no DNS of its own";
    } else {
        choice = sets && !set && !str_eq(part, "dns") ? "on" : "off";
        why = set     ? "a DaemonSet does that"
              : !sets ? "another's cluster, which does not say what its DaemonSets do"
              : str_eq(choice, "on") ? "no DaemonSet does that"
                                     : "the cluster has its own";
    }
    (void)printf("  %-8s %-4s %s%s%s\n", part, choice, why, set ? ": " : "", set ? set : "");
    return choice;
}

static int choose_parts(struct join *j, struct error *err)
{
    const struct {
        const char *name, *value;
    } flags[] = {{"proxy", j->proxy}, {"flannel", j->flannel}, {"dns", j->dns}};
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        if (!str_eq(flags[i].value, "auto") && !str_eq(flags[i].value, "on") &&
            !str_eq(flags[i].value, "off"))
            return error_set_field(err, -EINVAL, flags[i].name,
                                   "--%s: \"%s\" is not auto, on or off", flags[i].name,
                                   flags[i].value);
    _cleanup_json_ json_t *sets = NULL;
    if (!j->cluster.ours)
        (void)session_call(&j->session, "GET", DAEMON_SETS, NULL, NULL, NULL, &sets, NULL);
    j->config.proxy = choose(j, "proxy", j->proxy, sets);
    j->config.flannel = choose(j, "flannel", j->flannel, sets);
    j->config.dns = choose(j, "dns", j->dns, sets);
    return 0;
}

/* ---- settings ---- */

static int take_settings(struct join *j, struct error *err)
{
    struct node_config *c = &j->config;
    c->joined = true;
    c->server_url = str_dup(j->found.server);
    c->cluster_cidr = j->cluster.pod_cidr;
    c->service_cidr = j->cluster.service_cidr;
    c->cni = !j->cluster.ours && !str_eq(c->flannel, "on");
    if (!c->cni && (!c->cluster_cidr || !c->service_cidr))
        return error_set(err, -EINVAL,
                         "the cluster's kubeadm-config names no podSubnet or serviceSubnet, which "
                         "the overlay needs: use --flannel=off and CNI plugins");
    if (str_eq(c->dns, "on") && !j->cluster.ours && !j->cluster.dns_ip)
        return error_set_field(err, -EINVAL, "dns",
                               "--dns=on: the cluster's kubelet-config names no clusterDNS");
    /* Our address is the one that leads to the server. */
    struct http_url url = {.scheme = NULL};
    int r = http_url_parse(&url, c->server_url, err);
    if (r == 0) {
        bool given = c->node_ip;
        c->toward = url.host;
        r = node_config_complete(c, err);
        c->follow = r == 0 && !given && node_has_default_address(c);
        c->toward = NULL;
    }
    http_url_done(&url);
    if (r == 0 && str_eq(c->dns, "on") && j->cluster.dns_ip) {
        free(c->dns_ip);
        c->dns_ip = str_dup(j->cluster.dns_ip);
    }
    return r;
}

/* A Node of this name that is alive is another machine's. */
static int check_name(struct join *j, struct error *err)
{
    _cleanup_json_ json_t *node = NULL;
    _cleanup_free_ char *path = kube_path("v1", NULL, "nodes", j->config.node_name, NULL);
    struct error why = ERROR_INIT;
    int r = session_call(&j->session, "GET", path, NULL, NULL, NULL, &node, &why);
    if (r == -ENOENT || r == -EACCES) /* there is none, or we are not to know */
        return 0;
    if (r < 0)
        return error_set(err, r, "%s", error_text(&why));
    const json_t *conditions = json_path(node, "status.conditions");
    for (size_t i = 0; i < json_array_size(conditions); i++) {
        const json_t *c = json_array_get(conditions, i);
        if (str_eq(json_path_string(c, "type"), "Ready") &&
            str_eq(json_path_string(c, "status"), "True"))
            return error_set(
                err, -EEXIST,
                "a node called %s is Ready in the cluster already: choose another name "
                "with --node-name, or `kubectl delete node %s` if that machine is gone",
                j->config.node_name, j->config.node_name);
    }
    return 0;
}

/* ---- writing it down ---- */

static int write_file(const struct node_config *c, const char *name, const char *text,
                      struct error *err)
{
    _cleanup_free_ char *path = node_path(c, name);
    _cleanup_free_ char *dir = str_ndup(path, (size_t)(strrchr(path, '/') - path));
    int r = fs_mkdirs(dir, 0755, err);
    return r == 0 ? fs_write_atomic(path, text, strlen(text), 0644, FS_DURABLE, err) : r;
}

static char *bootstrap_path(const struct node_config *c)
{
    return node_path(c, "/etc/coracle/" AGENT_BOOTSTRAP_KUBECONFIG);
}

/* The token's kubeconfig, which the kubelet will need; the session is opened with it. */
static int open_session(struct join *j, struct error *err)
{
    _cleanup_free_ char *path = bootstrap_path(&j->config);
    _cleanup_free_ char *dir = node_path(&j->config, "/etc/coracle");
    struct kubeconfig *k = &j->found;
    if (j->discovery.token) {
        free(k->token);
        k->token = str_dup(j->discovery.token);
    }
    if (!k->token && !k->cert_pem)
        return error_set(err, -EINVAL, "%s has no credentials: give --token too",
                         j->discovery.file);
    int r = fs_mkdirs(dir, 0755, err);
    if (r == 0)
        r = kubeconfig_write(path, k, err);
    return r == 0 ? session_open(&j->session, path, NULL, NULL, err) : r;
}

static int write_down(struct join *j, struct error *err)
{
    const struct node_config *c = &j->config;
    int r = write_file(c, "/etc/coracle/pki/ca.crt", j->found.ca_pem, err);
    if (r == 0 && j->cluster.kubelet_config)
        r = write_file(c, AGENT_KUBELET_CONFIG, j->cluster.kubelet_config, err);
    if (r == 0 && str_eq(c->flannel, "on"))
        r = j->cluster.net_conf
                ? write_file(c, "/etc/coracle/" CLUSTER_NET_CONF, j->cluster.net_conf, err)
                : cluster_write_net_conf(c, err);
    if (r == 0)
        r = agent_all_credentials(c, &j->session, err);
    return r == 0 ? agent_save(c, err) : r;
}

/* ---- the command ---- */

static void print_trouble(enum check_result result, const char *what, const char *finding,
                          const char *remedy, _unused_ void *arg)
{
    if (result == CHECK_FAIL)
        (void)fprintf(stderr, "coracle join: %s: %s\n  → %s\n", what, finding, remedy);
}

static int start(struct join *j, struct error *err)
{
    char root[4096], level[32];
    char *flags[] = {root, level};
    (void)snprintf(root, sizeof(root), "--root=%s", j->config.root);
    (void)snprintf(level, sizeof(level), "--v=%d", j->config.verbosity);
    return node_start(&j->config, "agent", 2, flags, err);
}

/* The kubelet writes it when it has got its certificate. */
static int await_credentials(const char *path, struct error *err)
{
    uint64_t began = now_ms();
    while (!fs_exists(path)) {
        if (now_ms() - began > CREDENTIALS_MS)
            return error_set(err, -ETIMEDOUT,
                             "the kubelet has got no certificate: does anything approve the "
                             "requests of kubelets there? (kubectl get csr)");
        (void)poll(NULL, 0, RETRY_MS);
    }
    return 0;
}

/* With the node's own credentials: what a node may see of itself. */
static int await_ready(const struct node_config *c, struct error *err)
{
    _cleanup_free_ char *path = node_path(c, "/etc/coracle/kubelet.kubeconfig");
    struct session s = {.loop = NULL};
    int r = await_credentials(path, err);
    if (r == 0)
        r = session_open(&s, path, NULL, NULL, err);
    if (r == 0)
        r = node_wait_ready(&s, c->node_name, err);
    session_close(&s);
    return r;
}

/* This machine has joined before: that node is to run. */
static int again(struct join *j, struct error *err)
{
    struct node_config *c = &j->config;
    struct node_config have = NODE_CONFIG_INIT;
    _cleanup_(agent_file_freep) struct agent_file *file = NULL;
    _cleanup_free_ char *state = node_state_dir(c);
    have.root = c->root;
    int r = agent_load(&have, &file, err);
    if (r == 0 && j->found.server && !str_eq(have.server_url, j->found.server))
        r = error_set(err, -EEXIST,
                      "this machine is a node of %s: `coracle reset` first to join another cluster",
                      have.server_url);
    bool running = supervisor_running(state) > 0;
    if (r == 0 && !running) {
        j->config.verbosity = have.verbosity;
        r = start(j, err);
    }
    if (r == 0)
        r = await_ready(&have, err);
    if (r == 0)
        (void)printf("This machine has joined %s already: node %s is Ready.\n", have.server_url,
                     have.node_name);
    node_config_done(&have);
    return r;
}

/* A kubelet of somebody else's keeps its identity here: it is not ours to overwrite, or to remove.
 */
static int check_foreign(const struct node_config *c, struct error *err)
{
    static const char *const paths[] = {AGENT_KUBELET_CONFIG, "/var/lib/kubelet/pki"};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        _cleanup_free_ char *path = node_path(c, paths[i]);
        if (fs_exists(path))
            return error_set(err, -EEXIST,
                             "%s is there: this machine is, or was, a node already; take it out "
                             "of that cluster first (`kubeadm reset`; `coracle reset` if it was "
                             "one of ours)",
                             path);
    }
    return 0;
}

/* The signature may match while the use is not allowed. */
static int check_token(struct join *j, struct error *err)
{
    int r = session_call(&j->session, "GET", CSRS "?limit=1", NULL, NULL, NULL, NULL, err);
    if (r == -EACCES)
        return error_prefix(err, r,
                            "the cluster does not let these credentials ask for a "
                            "certificate");
    return r;
}

static int enter(struct join *j, struct error *err)
{
    struct node_config *c = &j->config;
    int r = open_session(j, err);
    if (r == 0)
        r = check_token(j, err);
    if (r == 0)
        r = cluster_read(&j->session, &j->cluster, err);
    if (r < 0)
        return r;
    (void)printf("The cluster is %s, its server %s. What runs here:\n", j->cluster.version,
                 j->found.server);
    r = choose_parts(j, err);
    if (r == 0)
        r = take_settings(j, err);
    if (r == 0)
        r = check_name(j, err);
    if (r == 0 && check_machine(c, true, print_trouble, NULL))
        r = error_set(err, -ENOTSUP, "this machine is not ready; nothing was changed");
    if (r == 0)
        r = check_foreign(c, err);
    if (r < 0)
        return r;
    j->writing = true;
    (void)printf("Joining as %s with the address %s\n", c->node_name, c->node_ip);
    (void)fflush(stdout);
    r = write_down(j, err);
    if (r == 0)
        r = start(j, err);
    return r == 0 ? await_ready(c, err) : r;
}

static int run(struct join *j, struct error *err)
{
    struct node_config *c = &j->config;
    _cleanup_free_ char *state = node_state_dir(c);
    _cleanup_free_ char *bootstrap = bootstrap_path(c);
    _cleanup_free_ char *server_key = node_path(c, "/etc/coracle/pki/ca.key");
    bool joined = agent_exists(c);
    if (fs_exists(server_key) || (!joined && supervisor_running(state) > 0))
        return error_set(err, -EEXIST,
                         "a cluster's server is set up on this machine: `coracle reset` first");
    step("Looking for the cluster");
    int r = discover(&j->discovery, &j->found, err);
    if (r < 0)
        return r;
    if (joined)
        return again(j, err);
    r = enter(j, err);
    if (r < 0 && j->writing) { /* nothing half made stays */
        bool ran = false;
        (void)node_down(c, &ran, NULL);
        agent_forget(c);
    }
    (void)unlink(bootstrap); /* it has done its work, or none, and is a secret */
    if (r < 0)
        return r;
    (void)printf("Node %s is Ready.\n", c->node_name);
    return 0;
}

int command_join(int argc, char **argv)
{
    struct join j = {.config = NODE_CONFIG_INIT, .proxy = "auto", .flannel = "auto", .dns = "auto"};
    struct discovery *d = &j.discovery;
    struct error err = ERROR_INIT;
    bool help = false;
    const struct option_def options[] = {
        NODE_HOST_OPTIONS(&j.config),
        {"token", 0, OPTION_STRING, &d->token, "TOKEN", "of `coracle token create` on the server"},
        {"discovery-token-ca-cert-hash", 0, OPTION_LIST, &j.pins, "sha256:HEX",
         "the CA's public key"},
        {"discovery-token-unsafe-skip-ca-verification", 0, OPTION_BOOL, &d->unpinned, NULL,
         "believe whoever knows the token"},
        {"discovery-file", 0, OPTION_STRING, &d->file, "FILE",
         "a kubeconfig with the server and its CA, instead of HOST and hash"},
        {"proxy", 0, OPTION_STRING, &j.proxy, "auto|on|off",
         "the service proxy (auto: unless a DaemonSet does that)"},
        {"flannel", 0, OPTION_STRING, &j.flannel, "auto|on|off", "the overlay, likewise"},
        {"dns", 0, OPTION_STRING, &j.dns, "auto|on|off", "the cluster's DNS, likewise"},
        {"help", 'h', OPTION_BOOL, &help, NULL, "show this"},
        {NULL}};
    char *words[64];
    int n = argc > (int)ARRAY_SIZE(words) ? -E2BIG
                                          : options_parse(options, argc, argv, false, words, &err);
    if (n < 0 || n > 1 || help) {
        if (!help)
            (void)fprintf(stderr, "coracle join: %s\n\n",
                          err.code ? err.text : "takes one HOST:PORT");
        (void)fputs("usage: coracle join HOST:PORT --token TOKEN --discovery-token-ca-cert-hash "
                    "sha256:HEX [flags]\n\nMakes this machine a node of a cluster.\n\n",
                    help ? stdout : stderr);
        options_help(options, help ? stdout : stderr);
        option_list_done(&j.pins);
        return help ? 0 : 2;
    }
    d->server = n == 1 ? words[0] : NULL;
    d->pins = &j.pins;
    daemon_init("coracle", j.config.verbosity);
    int r = geteuid() == 0 ? run(&j, &err) : error_set(&err, -EPERM, "must be run as root (sudo)");
    if (r < 0)
        (void)fprintf(stderr, "coracle join: %s\n", error_text(&err));
    session_close(&j.session);
    kubeconfig_done(&j.found);
    cluster_settings_done(&j.cluster);
    option_list_done(&j.pins);
    node_config_done(&j.config);
    return r < 0;
}
