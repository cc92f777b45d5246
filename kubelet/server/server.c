/* Routes and authentication of the kubelet's server. */
#include "kubelet/server/server.h"

#include <errno.h>
#include <string.h>

#include "base/daemon.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "net/x509.h"

struct kubelet_server {
    struct kubelet *k;
    struct http_server *http;
    struct tls_server *tls;
};

/* ---- lists of pods ---- */
static void add_pod(const struct pod_worker *w, void *arg)
{
    json_t *items = arg;
    json_t *object = json_parse(w->pod->json, w->pod->json_len, NULL);
    if (!object)
        return;
    (void)json_object_set_new(object, "status", worker_status(w));
    (void)json_array_append_new(items, object);
}

static void add_running(const struct pod_worker *w, void *arg)
{
    json_t *items = arg, *containers = json_array();
    for (size_t i = 0; i < w->n_slots; i++)
        if (slot_is_running(w->slots[i]))
            (void)json_array_append_new(containers,
                                        json_pack("{s:s,s:s}", "name", slot_spec(w->slots[i])->name,
                                                  "image", slot_spec(w->slots[i])->image));
    if (json_array_size(containers))
        (void)json_array_append(items,
                                json_pack("{s:{s:s,s:s,s:s},s:{s:O}}", "metadata", "name",
                                          w->pod->meta.name, "namespace", w->pod->meta.ns, "uid",
                                          w->pod->meta.uid, "spec", "containers", containers));
    json_decref(containers);
}

static void reply_list(struct http_exchange *x, struct kubelet *k,
                       void (*add)(const struct pod_worker *w, void *arg))
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_t *items = json_array();
    pod_manager_each(k->pods, add, items);
    _cleanup_json_ json_t *list = json_pack("{s:s,s:s,s:{},s:o}", "kind", "PodList", "apiVersion",
                                            "v1", "metadata", "items", items);
    json_encode(list, &text);
    http_exchange_reply(x, 200, "application/json", text.data, text.len);
}

static void serve_pods(struct http_exchange *x, const struct route *r)
{
    reply_list(x, r->k, add_pod);
}

static void serve_running(struct http_exchange *x, const struct route *r)
{
    reply_list(x, r->k, add_running);
}

/* ---- routes ---- */
struct pod_worker *route_pod(struct http_exchange *x, const struct route *r)
{
    struct pod_worker *w = r->count < 2 ? NULL
                                        : pod_manager_find(r->k->pods, r->words[0], r->words[1],
                                                           r->count == 3 ? r->words[2] : NULL);
    if (!w)
        http_exchange_replyf(x, 404, "pod does not exist");
    return w;
}

struct container_slot *route_container(struct http_exchange *x, const struct route *r)
{
    const char *uid = r->count == 4 ? r->words[2] : NULL;
    struct pod_worker *w =
        r->count < 3 ? NULL : pod_manager_find(r->k->pods, r->words[0], r->words[1], uid);
    if (!w) {
        http_exchange_replyf(x, 404, "pod does not exist");
        return NULL;
    }
    struct container_slot *s = worker_slot(w, r->words[r->count - 1]);
    if (!s)
        http_exchange_replyf(x, 404, "container \"%s\" not found in pod \"%s_%s\"",
                             r->words[r->count - 1], r->words[1], r->words[0]);
    return s;
}

static const struct {
    const char *name;
    const char *methods;
    void (*serve)(struct http_exchange *x, const struct route *r);
} routes[] = {
    {"containerLogs", "GET", serve_logs}, {"exec", "GET POST", serve_exec},
    {"attach", "GET POST", serve_attach}, {"portForward", "GET POST", serve_port_forward},
    {"pods", "GET", serve_pods},          {"runningpods", "GET", serve_running},
    {"stats", "GET", serve_stats},        {"metrics", "GET", serve_metrics},
};

static void dispatch(struct http_exchange *x, struct kubelet *k)
{
    _cleanup_free_ char *path = str_dup(http_exchange_decoded_path(x));
    struct route r = {.k = k};
    char *save = NULL, *first = strtok_r(path, "/", &save);
    for (char *w; (w = strtok_r(NULL, "/", &save));) {
        if (r.count == ROUTE_WORDS_MAX) {
            http_exchange_replyf(x, 404, "404 page not found");
            return;
        }
        r.words[r.count++] = w;
    }
    for (size_t i = 0; first && i < ARRAY_SIZE(routes); i++) {
        if (!str_eq(routes[i].name, first))
            continue;
        if (strstr(routes[i].methods, http_exchange_method(x)))
            routes[i].serve(x, &r);
        else
            http_exchange_replyf(x, 405, "method not allowed");
        return;
    }
    http_exchange_replyf(x, 404, "404 page not found");
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct kubelet_server *s = arg;
    const struct http_peer *peer = http_exchange_peer(x);
    if (str_eq(http_exchange_path(x), "/healthz")) {
        http_exchange_replyf(x, 200, "ok");
        return;
    }
    if (!peer->has_certificate || !peer->verified) {
        http_exchange_replyf(x, 401, "Unauthorized");
        return;
    }
    dispatch(x, s->k);
}

/* ---- certificate ---- */
static int self_signed(struct kubelet *k, char **ret_cert, char **ret_key, struct error *err)
{
    char *cert = daemon_path(k->root, "/var/lib/kubelet/pki/kubelet.crt");
    char *key = daemon_path(k->root, "/var/lib/kubelet/pki/kubelet.key");
    *ret_cert = cert;
    *ret_key = key;
    if (fs_exists(cert) && fs_exists(key))
        return 0;
    _cleanup_x509_pair_ struct x509_pair pair = {.cert = NULL};
    _cleanup_free_ char *ips = str_dup(k->node_ips ? k->node_ips : "");
    char *second = strchr(ips, ',');
    if (second)
        *second++ = 0;
    const char *names[] = {k->node_name, NULL}, *addresses[] = {*ips ? ips : NULL, second, NULL};
    struct x509_request request = {.common_name = k->node_name,
                                   .dns_names = names,
                                   .ip_addresses = addresses,
                                   .usage = X509_SERVER,
                                   .days = 365};
    int r = x509_self_signed(&request, &pair, err);
    return r < 0 ? r : x509_pair_write(&pair, cert, key, err);
}

int kubelet_server_new(struct kubelet *k, const struct kubelet_server_options *options,
                       struct kubelet_server **ret, struct error *err)
{
    _cleanup_free_ char *cert = str_dup(options->cert_file), *key = str_dup(options->key_file);
    struct kubelet_server *s = mem_zalloc(sizeof(*s));
    int r = 0;
    s->k = k;
    if (!cert || !key) {
        freep(&cert);
        freep(&key);
        cert = key = NULL;
        r = self_signed(k, &cert, &key, err);
    }
    struct tls_server_options tls = {.cert_file = cert,
                                     .key_file = key,
                                     .client_ca_file = options->client_ca_file,
                                     .client_auth = TLS_CLIENT_REQUEST};
    if (r == 0)
        r = tls_server_new(&tls, &s->tls, err);
    if (r == 0) {
        (void)tls_server_watch(s->tls, k->loop, NULL);
        s->http = http_server_new(k->loop, NULL, on_request, s);
        r = http_server_listen_tcp(s->http, options->address, options->port, s->tls, NULL, err);
    }
    if (r < 0)
        kubelet_server_free(s);
    else
        *ret = s;
    return r;
}

struct kubelet_server *kubelet_server_free(struct kubelet_server *s)
{
    if (!s)
        return NULL;
    http_server_free(s->http);
    tls_server_unref(s->tls);
    free(s);
    return NULL;
}
