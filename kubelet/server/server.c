/* Routes of the kubelet's server. */
#include "kubelet/server/server.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/server/auth.h"
#include "kubelet/server/serving.h"

/* How long until an address that was taken is tried again. */
#define HEALTH_RETRY_MS 5000

struct kubelet_server {
    struct kubelet *k;
    const struct kubelet_config *config;
    struct server_auth *auth;
    struct http_server *http, *health;
    struct serving *serving;
    struct loop_timer health_retry;
    bool complained;
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

/* ---- what else ---- */
static void serve_healthz(struct http_exchange *x, const struct route *r)
{
    (void)r;
    http_exchange_replyf(x, 200, "ok");
}

static void serve_configz(struct http_exchange *x, const struct route *r)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_json_ json_t *body = json_pack("{s:O}", "kubeletconfig", r->config->json);
    json_encode(body, &text);
    http_exchange_reply(x, 200, "application/json", text.data, text.len);
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
    bool debugging; /* enableDebuggingHandlers */
} routes[] = {
    {"containerLogs", "GET", serve_logs, true},
    {"exec", "GET POST", serve_exec, true},
    {"attach", "GET POST", serve_attach, true},
    {"portForward", "GET POST", serve_port_forward, true},
    {"run", "POST", serve_run, true},
    {"runningpods", "GET", serve_running, true},
    {"pods", "GET", serve_pods, false},
    {"configz", "GET", serve_configz, false},
    {"healthz", "GET", serve_healthz, false},
    {"stats", "GET", serve_stats, false},
    {"metrics", "GET", serve_metrics, false},
};

static void dispatch(struct http_exchange *x, void *arg)
{
    const struct kubelet_server *s = arg;
    _cleanup_free_ char *path = str_dup(http_exchange_decoded_path(x));
    struct route r = {.k = s->k, .config = s->config};
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
        if (routes[i].debugging && !s->config->debugging)
            http_exchange_replyf(x, 405, "Debug endpoints are disabled.");
        else if (strstr(routes[i].methods, http_exchange_method(x)))
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
    server_auth_check(s->auth, x);
}

/* ---- health, for everybody ---- */
static void on_health_request(struct http_exchange *x, void *arg)
{
    (void)arg;
    if (str_eq(http_exchange_path(x), "/healthz"))
        http_exchange_replyf(x, 200, "ok");
    else
        http_exchange_replyf(x, 404, "404 page not found");
}

/* Another kubelet's port must not keep this one from running pods. */
static void listen_health(void *arg)
{
    struct kubelet_server *s = arg;
    struct error err = ERROR_INIT;
    if (http_server_listen_tcp(s->health, s->config->healthz_address,
                               (uint16_t)s->config->healthz_port, NULL, NULL, &err) == 0)
        return;
    if (!s->complained)
        log_warn("healthz cannot be served", "error", error_text(&err), NULL);
    s->complained = true;
    loop_timer_set(&s->health_retry, HEALTH_RETRY_MS);
}

static void start_health(struct kubelet_server *s)
{
    s->health = http_server_new(s->k->loop, NULL, on_health_request, s);
    loop_timer_init(&s->health_retry, s->k->loop, "healthz", listen_health, s);
    listen_health(s);
}

/* ---- setting up ---- */
static int start_https(struct kubelet_server *s, struct error *err)
{
    const struct kubelet_config *c = s->config;
    int r = server_auth_new(s->k, c, dispatch, s, &s->auth, err);
    if (r == 0)
        r = serving_new(s->k, c, &s->serving, err);
    if (r < 0)
        return r;
    s->http = http_server_new(s->k->loop, NULL, on_request, s);
    return http_server_listen_tcp(s->http, c->address, (uint16_t)c->port, serving_tls(s->serving),
                                  NULL, err);
}

int kubelet_server_new(struct kubelet *k, const struct kubelet_config *config,
                       struct kubelet_server **ret, struct error *err)
{
    struct kubelet_server *s = mem_zalloc(sizeof(*s));
    s->k = k;
    s->config = config;
    int r = config->port ? start_https(s, err) : 0;
    if (r == 0 && config->healthz_port)
        start_health(s);
    if (r < 0)
        kubelet_server_free(s);
    else
        *ret = s;
    return r;
}

void kubelet_server_readdress(struct kubelet_server *s)
{
    serving_readdress(s->serving);
}

struct kubelet_server *kubelet_server_free(struct kubelet_server *s)
{
    if (!s)
        return NULL;
    (void)server_auth_free(s->auth);
    http_server_free(s->http);
    http_server_free(s->health);
    loop_timer_done(&s->health_retry);
    (void)serving_free(s->serving);
    free(s);
    return NULL;
}
