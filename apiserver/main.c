/* coracle-apiserver: flags and wiring. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "apiserver/auth/accounts.h"
#include "apiserver/auth/authz.h"
#include "apiserver/bootstrap.h"
#include "apiserver/documents.h"
#include "apiserver/flags.h"
#include "apiserver/kubelet_proxy.h"
#include "apiserver/server.h"
#include "apiserver/service.h"
#include "apiserver/store/store_etcd.h"
#include "apiserver/store/watch_cache.h"
#include "base/daemon.h"
#include "base/log.h"
#include "net/grpc_core.h"
#include "net/http_client.h"

#define DRAIN_MS 2000

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
    authz_load(p->srv.authz);
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
    srv->cluster_dns = f->cluster_dns;
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
    srv->accounts = accounts_new(&f->accounts, err);
    srv->authz = authz_new(srv, &f->authorization_modes);
    /* As upstream: where everything is allowed, somebody must at least say who he is. */
    const struct authn_options authn = {.token_file = f->token_file,
                                        .bootstrap_tokens = f->bootstrap_tokens,
                                        .anonymous = f->anonymous && !authz_allows_all(srv->authz)};
    srv->authn = srv->accounts ? authn_new(srv, &authn, err) : NULL;
    p->rpc = srv->authn ? rpc_new(srv->loop, err) : NULL;
    if (!p->rpc || allocations_init(&p->allocations, f->service_cidr, f->node_ports, err) < 0 ||
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
    srv->authz = authz_free(srv->authz);
    srv->cache = watch_cache_free(srv->cache);
    srv->store = store_free(srv->store);
    p->rpc = rpc_free(p->rpc);
    p->tls = tls_server_unref(p->tls);
    kubelet_access_done(&p->kubelets);
    srv->documents = documents_free(srv->documents);
    srv->authn = authn_free(srv->authn);
    srv->accounts = accounts_free(srv->accounts);
    srv->routes = routes_free(srv->routes);
    srv->schemas = schema_registry_free(srv->schemas);
    allocations_done(&p->allocations);
}

int main(int argc, char **argv)
{
    struct program p = {.http = NULL};
    struct error err = ERROR_INIT;
    if (flags_parse(&p.flags, argc, argv, &err) < 0) {
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
    flags_done(&p.flags);
    p.srv.loop = loop_free(p.srv.loop);
    return code ? 1 : 0;
}
