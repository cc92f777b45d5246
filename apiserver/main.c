/* coracle-apiserver: flags and wiring. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "apiserver/bootstrap.h"
#include "apiserver/documents.h"
#include "apiserver/kubelet_proxy.h"
#include "apiserver/server.h"
#include "apiserver/service.h"
#include "apiserver/store_etcd.h"
#include "apiserver/watch_cache.h"
#include "base/daemon.h"
#include "base/log.h"
#include "base/options.h"
#include "net/grpc_core.h"
#include "net/http_client.h"

#define DRAIN_MS          2000
#define COMPACT_SECONDS   300
#define EVENT_TTL_SECONDS 3600

struct flags {
    struct option_list etcd_servers;
    const char *etcd_ca, *etcd_cert, *etcd_key, *etcd_prefix;
    const char *bind_address, *advertise_address;
    int secure_port, event_ttl, compact_interval, verbosity;
    const char *cert, *key, *client_ca, *token_file;
    const char *service_cidr, *node_ports;
    const char *kubelet_cert, *kubelet_key, *kubelet_ca;
    const char *root;
    bool help;
};

struct program {
    struct apiserver srv;
    struct flags flags;
    struct allocations allocations;
    struct kubelet_access kubelets;
    struct rpc *rpc;
    struct tls_server *tls;
    struct http_server *http;
    struct bootstrap *bootstrap;
    struct daemon_signals signals;
    char address[INET_ADDRSTRLEN];
};

static void on_ready(void *arg)
{
    (void)arg;
    log_info("serving", NULL);
    daemon_notify("READY=1");
}

static void on_cache_loaded(void *arg)
{
    struct program *p = arg;
    bootstrap_run(p->bootstrap);
}

static int open_store(struct program *p, struct error *err)
{
    const struct flags *f = &p->flags;
    const struct store_etcd_options options = {
        .endpoints = (const char *const *)f->etcd_servers.items,
        .n_endpoints = f->etcd_servers.count,
        .ca_file = f->etcd_ca,
        .cert_file = f->etcd_cert,
        .key_file = f->etcd_key,
        .prefix = f->etcd_prefix,
        .compact_interval_s = f->compact_interval < 0 ? 0 : (uint64_t)f->compact_interval,
    };
    if (!options.n_endpoints)
        return error_set(err, -EINVAL, "--etcd-servers is missing");
    p->srv.store = store_etcd_new(p->srv.loop, p->rpc, &options, err);
    return p->srv.store ? 0 : -EINVAL;
}

static int listen_https(struct program *p, struct error *err)
{
    const struct flags *f = &p->flags;
    const struct tls_server_options tls = {
        .cert_file = f->cert,
        .key_file = f->key,
        .client_ca_file = f->client_ca,
        .client_auth = f->client_ca ? TLS_CLIENT_REQUEST : TLS_CLIENT_NONE,
    };
    if (!f->cert || !f->key)
        return error_set(err, -EINVAL, "--tls-cert-file and --tls-private-key-file are needed");
    if (tls_server_new(&tls, &p->tls, err) < 0 || tls_server_watch(p->tls, p->srv.loop, err) < 0)
        return -EINVAL;
    p->http = http_server_new(p->srv.loop, NULL, server_handle, &p->srv);
    uint16_t port;
    int code = http_server_listen_tcp(p->http, f->bind_address, (uint16_t)f->secure_port, p->tls,
                                      &port, err);
    if (code < 0)
        return error_prefix(err, code, "cannot listen on %s port %d", f->bind_address,
                            f->secure_port);
    p->srv.secure_port = port;
    return 0;
}

/* The address that this machine's default route leaves from. No packet is sent: connecting a
 * datagram socket only chooses a route. */
static const char *default_address(char buf[INET_ADDRSTRLEN])
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)}, from;
    socklen_t len = sizeof(from);
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, "192.0.2.1", &to.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        getsockname(fd, (struct sockaddr *)&from, &len) < 0 ||
        !inet_ntop(AF_INET, &from.sin_addr, buf, INET_ADDRSTRLEN))
        return "127.0.0.1";
    return buf;
}

static const char *advertised(struct program *p)
{
    const struct flags *f = &p->flags;
    if (f->advertise_address && *f->advertise_address)
        return f->advertise_address;
    bool any =
        !*f->bind_address || str_eq(f->bind_address, "0.0.0.0") || str_eq(f->bind_address, "::");
    return any ? default_address(p->address) : f->bind_address;
}

static int start(struct program *p, struct error *err)
{
    struct apiserver *srv = &p->srv;
    const struct flags *f = &p->flags;
    list_init(&srv->requests);
    srv->advertise_address = advertised(p);
    srv->event_ttl_s = (uint64_t)f->event_ttl;
    srv->schemas = schema_registry_new();
    srv->routes = routes_new(srv->schemas);
    srv->documents = documents_new();
    srv->allocations = &p->allocations;
    srv->kubelets = &p->kubelets;
    p->kubelets = (struct kubelet_access){
        .client_cert = f->kubelet_cert, .client_key = f->kubelet_key, .ca = f->kubelet_ca};
    list_init(&p->kubelets.tunnels);
    p->kubelets.http = http_client_new(srv->loop);
    srv->authn = authn_new(f->token_file, err);
    p->rpc = rpc_new(srv->loop, err);
    if (!srv->authn || !p->rpc ||
        allocations_init(&p->allocations, f->service_cidr, f->node_ports, err) < 0 ||
        open_store(p, err) < 0 || listen_https(p, err) < 0)
        return -EINVAL;
    p->bootstrap = bootstrap_new(srv, on_ready, p);
    srv->cache = watch_cache_new(srv->loop, srv->store, srv->routes, on_cache_loaded, p);
    return 0;
}

static void on_drained(void *arg)
{
    struct program *p = arg;
    loop_stop(p->srv.loop, 0);
}

static void stop(struct program *p)
{
    struct apiserver *srv = &p->srv;
    daemon_notify("STOPPING=1");
    server_drop_requests(srv);
    if (p->http) {
        http_server_drain(p->http, DRAIN_MS, on_drained, p);
        (void)loop_run(srv->loop);
    }
    p->http = http_server_free(p->http);
    server_drop_requests(srv);
    p->bootstrap = bootstrap_free(p->bootstrap);
    srv->cache = watch_cache_free(srv->cache);
    srv->store = store_free(srv->store);
    p->rpc = rpc_free(p->rpc);
    p->tls = tls_server_unref(p->tls);
    kubelet_access_done(&p->kubelets);
    srv->documents = documents_free(srv->documents);
    srv->authn = authn_free(srv->authn);
    srv->routes = routes_free(srv->routes);
    srv->schemas = schema_registry_free(srv->schemas);
    allocations_done(&p->allocations);
}

static int parse_flags(struct flags *f, int argc, char **argv, struct error *err)
{
    *f = (struct flags){.bind_address = "0.0.0.0",
                        .secure_port = 6443,
                        .event_ttl = EVENT_TTL_SECONDS,
                        .compact_interval = COMPACT_SECONDS,
                        .service_cidr = "10.96.0.0/16",
                        .node_ports = "30000-32767"};
    const struct option_def defs[] = {
        {"root", 0, OPTION_STRING, &f->root, "DIR", "prefix of all paths"},
        {"etcd-servers", 0, OPTION_LIST, &f->etcd_servers, "URL,…", "etcd endpoints"},
        {"etcd-cafile", 0, OPTION_STRING, &f->etcd_ca, "FILE", "CA of etcd's certificate"},
        {"etcd-certfile", 0, OPTION_STRING, &f->etcd_cert, "FILE", "client certificate for etcd"},
        {"etcd-keyfile", 0, OPTION_STRING, &f->etcd_key, "FILE", "its key"},
        {"etcd-prefix", 0, OPTION_STRING, &f->etcd_prefix, "KEY", "prefix of all keys (/registry)"},
        {"etcd-compaction-interval", 0, OPTION_INT, &f->compact_interval, "SECONDS",
         "time between compactions (300)"},
        {"bind-address", 0, OPTION_STRING, &f->bind_address, "IP", "listen there (0.0.0.0)"},
        {"secure-port", 0, OPTION_INT, &f->secure_port, "PORT", "HTTPS port (6443; 0: any)"},
        {"advertise-address", 0, OPTION_STRING, &f->advertise_address, "IP",
         "where others reach this server"},
        {"tls-cert-file", 0, OPTION_STRING, &f->cert, "FILE", "serving certificate"},
        {"tls-private-key-file", 0, OPTION_STRING, &f->key, "FILE", "its key"},
        {"client-ca-file", 0, OPTION_STRING, &f->client_ca, "FILE", "CA of client certificates"},
        {"token-auth-file", 0, OPTION_STRING, &f->token_file, "FILE",
         "lines of token,user,uid,\"groups\""},
        {"service-cluster-ip-range", 0, OPTION_STRING, &f->service_cidr, "CIDR",
         "cluster IPs of Services (10.96.0.0/16)"},
        {"service-node-port-range", 0, OPTION_STRING, &f->node_ports, "FIRST-LAST",
         "node ports of Services (30000-32767)"},
        {"kubelet-client-certificate", 0, OPTION_STRING, &f->kubelet_cert, "FILE",
         "client certificate for kubelets"},
        {"kubelet-client-key", 0, OPTION_STRING, &f->kubelet_key, "FILE", "its key"},
        {"kubelet-certificate-authority", 0, OPTION_STRING, &f->kubelet_ca, "FILE",
         "CA of the kubelets' certificates"},
        {"event-ttl-seconds", 0, OPTION_INT, &f->event_ttl, "SECONDS",
         "how long Events are kept (3600)"},
        {"v", 'v', OPTION_INT, &f->verbosity, "N", "log verbosity"},
        {"help", 'h', OPTION_BOOL, &f->help, NULL, "this text"},
        {NULL, 0, OPTION_FLAG_GROUP, NULL, NULL, NULL},
    };
    _cleanup_free_ char **words = mem_grow(NULL, (size_t)argc + 1, sizeof(*words));
    int n = options_parse(defs, argc, argv, false, words, err);
    if (n < 0)
        return n;
    if (f->help)
        options_help(defs, stdout);
    else if (n > 0)
        return error_set(err, -EINVAL, "unexpected argument: %s", words[0]);
    return 0;
}

int main(int argc, char **argv)
{
    struct program p = {.http = NULL};
    struct error err = ERROR_INIT;
    if (parse_flags(&p.flags, argc, argv, &err) < 0) {
        (void)fprintf(stderr, "coracle-apiserver: %s\n", error_text(&err));
        return 2;
    }
    if (p.flags.help)
        return 0;
    daemon_init("coracle-apiserver", p.flags.verbosity);
    p.srv.loop = loop_new();
    daemon_stop_on_signals(&p.signals, p.srv.loop);
    int code = start(&p, &err);
    if (code < 0)
        log_error("cannot start", "error", error_text(&err), NULL);
    else
        code = loop_run(p.srv.loop);
    if (p.srv.requests.next)
        stop(&p);
    daemon_signals_done(&p.signals);
    option_list_done(&p.flags.etcd_servers);
    p.srv.loop = loop_free(p.srv.loop);
    return code ? 1 : 0;
}
