/* The Kubernetes subnet manager; see kube_manager.h. */
#include "flannel/kube_manager.h"

#include "base/daemon.h"
#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kube/informer.h"

#define RETRY_MS     1000
#define RETRY_MAX_MS 30000

struct kube_manager {
    struct kube_client *client;
    struct kube_manager_options options;
    struct overlay *overlay;
    struct informer *nodes;
    struct map bad; /* node → what is wrong with its lease, said already */
    struct kube_call *call;
    struct loop_timer retry;
    uint64_t retry_ms;
    json_t *wanted; /* annotations; NULL: nothing to publish yet */
    json_t *is;     /* the annotations of our Node; NULL: it is not there */
    bool ready, condition_is_set;
};

static void write_next(void *arg);

/* ---- writing: one patch at a time, until the Node says what we want ---- */

static bool is_published(const struct kube_manager *m)
{
    const char *key;
    json_t *value;
    json_object_foreach(m->wanted, key, value) {
        if (!json_equal(json_object_get(m->is, key), value))
            return false;
    }
    return true;
}

static void on_written(const struct kube_result *result, void *arg)
{
    struct kube_manager *m = arg;
    m->call = NULL;
    if (!result->error) {
        m->retry_ms = 0;
        json_decref(m->is);
        m->is = json_deep_copy(json_path(result->body, "metadata.annotations"));
        if (m->wanted && !is_published(m)) /* changed meanwhile, or the server drops it */
            loop_timer_set(&m->retry, RETRY_MS);
        else
            write_next(m);
        return;
    }
    if (!m->retry_ms)
        log_warn("cannot write to our Node, trying again", "node", m->options.node, "error",
                 result->error, NULL);
    m->condition_is_set = false;
    m->retry_ms = m->retry_ms ? m->retry_ms * 2 : RETRY_MS;
    if (m->retry_ms > RETRY_MAX_MS)
        m->retry_ms = RETRY_MAX_MS;
    loop_timer_set(&m->retry, m->retry_ms);
}

static void patch(struct kube_manager *m, const json_t *body)
{
    _cleanup_free_ char *path = kube_path("v1", NULL, "nodes", m->options.node, "status");
    m->call = kube_patch(m->client, path, KUBE_PATCH_STRATEGIC, body, on_written, m);
}

static void write_next(void *arg)
{
    struct kube_manager *m = arg;
    if (m->call || !m->is)
        return;
    if (m->wanted && !is_published(m)) {
        _cleanup_json_ json_t *body = json_pack("{s:{s:O}}", "metadata", "annotations", m->wanted);
        patch(m, body);
    } else if (m->ready && m->options.set_condition && !m->condition_is_set) {
        char now[TIME_TEXT_MAX];
        time_format(time_now(), now);
        _cleanup_json_ json_t *body = json_pack(
            "{s:{s:[{s:s,s:s,s:s,s:s,s:s,s:s}]}}", "status", "conditions", "type",
            "NetworkUnavailable", "status", "False", "lastHeartbeatTime", now, "lastTransitionTime",
            now, "reason", "FlannelIsUp", "message", "Flannel is running on this node");
        m->condition_is_set = true;
        patch(m, body);
    }
}

static void publish(void *arg, const struct lease *lease)
{
    struct kube_manager *m = arg;
    json_decref(m->wanted);
    m->wanted = lease_annotations(lease, m->options.prefix, m->options.config);
    kube_client_forget_connections(m->client); /* they may be those of an address that is gone */
    write_next(m);
}

static void on_ready(void *arg)
{
    struct kube_manager *m = arg;
    m->ready = true;
    log_info("the overlay is up", "node", m->options.node, NULL);
    daemon_notify("READY=1");
    write_next(m);
}

const struct overlay_ops kube_manager_ops = {.publish = publish, .ready = on_ready};

/* ---- reading ---- */

static bool has_condition(const json_t *node)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_path(node, "status.conditions"), i, c) {
        if (str_eq(json_path_string(c, "type"), "NetworkUnavailable"))
            return str_eq(json_path_string(c, "status"), "False") &&
                   str_eq(json_path_string(c, "reason"), "FlannelIsUp");
    }
    return false;
}

static void on_own(struct kube_manager *m, const json_t *node)
{
    struct own_node own;
    struct error err = ERROR_INIT;
    const json_t *annotations = json_path(node, "metadata.annotations");
    json_decref(m->is);
    m->is = json_is_object(annotations) ? json_deep_copy(annotations) : json_object();
    if (!m->call)
        m->condition_is_set = has_condition(node);
    int r = lease_own_node(node, m->options.prefix, m->options.config, &own, &err);
    overlay_own(m->overlay, &own, r < 0 ? error_text(&err) : NULL);
    if (!loop_timer_armed(&m->retry))
        write_next(m);
}

static void on_node(void *arg, const char *key, const json_t *node)
{
    struct kube_manager *m = arg;
    struct lease *lease;
    struct error err = ERROR_INIT;
    if (str_eq(key, m->options.node)) {
        on_own(m, node);
        return;
    }
    lease = mem_zalloc(sizeof(*lease));
    int r = lease_from_node(node, m->options.prefix, m->options.config, lease, &err);
    if (r < 0 && !str_eq(map_get(&m->bad, key), error_text(&err))) {
        log_warn("a node's lease cannot be understood", "node", key, "reason", error_text(&err),
                 NULL);
        map_set(&m->bad, key, str_dup(error_text(&err)));
    } else if (r >= 0) {
        (void)map_remove(&m->bad, key);
    }
    overlay_lease(m->overlay, key, r == 1 ? TAKE_PTR(lease) : NULL);
    free(lease);
}

static void on_gone(void *arg, const char *key, _unused_ const json_t *node)
{
    struct kube_manager *m = arg;
    (void)map_remove(&m->bad, key);
    if (!str_eq(key, m->options.node)) {
        overlay_lease(m->overlay, key, NULL);
        return;
    }
    m->is = (json_decref(m->is), NULL);
    _cleanup_free_ char *why = str_printf("there is no node %s", key);
    overlay_own(m->overlay, NULL, why);
}

static void on_synced(void *arg)
{
    struct kube_manager *m = arg;
    if (!m->is) {
        _cleanup_free_ char *why = str_printf("there is no node %s", m->options.node);
        overlay_own(m->overlay, NULL, why);
    }
    overlay_synced(m->overlay);
}

/* ---- life ---- */

struct kube_manager *kube_manager_new(struct kube_client *client,
                                      const struct kube_manager_options *options)
{
    struct kube_manager *m = mem_zalloc(sizeof(*m));
    *m = (struct kube_manager){.client = client, .options = *options, .bad = MAP_INIT(free)};
    loop_timer_init(&m->retry, kube_client_loop(client), "Node again", write_next, m);
    return m;
}

void kube_manager_start(struct kube_manager *m, struct overlay *overlay)
{
    static const struct informer_ops ops = {
        .upsert = on_node, .remove = on_gone, .synced = on_synced};
    m->overlay = overlay;
    m->nodes = informer_new(m->client, &(struct informer_config){
                                           .api = "v1", .plural = "nodes", .ops = &ops, .arg = m});
}

struct kube_manager *kube_manager_free(struct kube_manager *m)
{
    if (!m)
        return NULL;
    (void)informer_free(m->nodes);
    kube_call_cancel(m->call);
    loop_timer_done(&m->retry);
    map_clear(&m->bad);
    json_decref(m->wanted);
    json_decref(m->is);
    free(m);
    return NULL;
}
