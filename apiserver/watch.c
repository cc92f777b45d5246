/*
 * The watch verb: a cursor into the watch cache, and before it, when the client asks for it, the
 * state to start from.
 *
 * Where a watch starts:
 *   resourceVersion N   the changes after N; 410 in an ERROR event when the ring is past them
 *   resourceVersion 0   the state the cache holds, then what follows
 *   not set             the newest state, read from the store, then what follows
 *   sendInitialEvents   true: as above, ended by a bookmark that says so; false: changes only
 *
 * Nothing is written while the client has more than WATCH_PENDING_MAX bytes to read: the cursor
 * waits in the ring, and a client that is overtaken by the ring's end is cut off.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "apiserver/continue_token.h"
#include "apiserver/reply.h"
#include "apiserver/selection.h"
#include "apiserver/server.h"
#include "apiserver/store/watch_cache.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"

#define WATCH_PENDING_MAX  (256u << 10)
#define BOOKMARK_MS        60000
#define TIMEOUT_MIN_S      1800 /* without timeoutSeconds: upstream's --min-request-timeout */
#define INITIAL_EVENTS_END "k8s.io/initial-events-end"

struct watch_op {
    struct request *r;
    struct selection sel;
    struct cache_watcher w;
    struct encoded_list initial;
    size_t next_initial;
    bool starting;     /* the initial state is not out yet */
    bool send_initial; /* …and a bookmark has to say when it is */
    bool bookmarks;
    bool columns_sent; /* of a Table */
    int64_t revision;  /* where the changes start */
    int64_t at_least;
    struct loop_timer deadline, bookmark;
};

static void watch_op_free(void *p)
{
    struct watch_op *op = p;
    watch_cache_unsubscribe(&op->w);
    encoded_list_done(&op->initial);
    selection_done(&op->sel);
    loop_timer_done(&op->deadline);
    loop_timer_done(&op->bookmark);
    free(op);
}

static void watch_end(struct watch_op *op)
{
    struct request *r = op->r;
    http_exchange_end(r->x);
    request_free(r);
}

static void release_frame(const void *data, size_t len, void *arg)
{
    (void)data;
    (void)len;
    (void)frame_unref(arg);
}

static void write_frame(struct watch_op *op, struct frame *f)
{
    http_exchange_write_shared(op->r->x, f->data, f->len, release_frame, frame_ref(f));
}

static void write_line(struct watch_op *op, const char *type, const json_t *object)
{
    _cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
    strbuf_addf(&line, "{\"type\":\"%s\",\"object\":", type);
    json_encode(object, &line);
    strbuf_adds(&line, "}\n");
    http_exchange_write(op->r->x, line.data, line.len);
}

/* An error after the reply has begun; the stream ends. @status is stolen. */
static void watch_fail(struct watch_op *op, json_t *status)
{
    write_line(op, "ERROR", status);
    json_decref(status);
    watch_end(op);
}

/* @e as it is or, for a Table or metadata only, through a tree. */
static void write_object(struct watch_op *op, enum event_type type, struct encoded *e,
                         struct cache_event *event)
{
    struct request *r = op->r;
    if (r->accept.shape == SHAPE_OBJECT) {
        struct frame *f =
            event ? frame_ref(cache_event_frame(event, type)) : frame_new(type, e->data, e->len);
        write_frame(op, f);
        (void)frame_unref(f);
        return;
    }
    _cleanup_json_ json_t *tree = encoded_tree(e, NULL);
    if (!tree)
        return;
    _cleanup_json_ json_t *shaped = shape_tree(r, tree, !op->columns_sent);
    op->columns_sent = true;
    write_line(op, event_type_name(type), shaped);
}

static void write_bookmark(struct watch_op *op, int64_t revision, bool initial_end)
{
    const struct schema_resource *res = op->r->route->res;
    char version[24], api_version[SCHEMA_API_VERSION_MAX];
    (void)snprintf(version, sizeof(version), "%" PRId64, revision);
    _cleanup_json_ json_t *object =
        json_pack("{s:s,s:s,s:{s:s,s:n}}", "kind", res->kind, "apiVersion",
                  schema_api_version(res, api_version), "metadata", "resourceVersion", version,
                  "creationTimestamp");
    if (initial_end)
        (void)json_object_set_new(json_object_get(object, "metadata"), "annotations",
                                  json_pack("{s:s}", INITIAL_EVENTS_END, "true"));
    if (op->r->accept.shape == SHAPE_METADATA) {
        _cleanup_json_ json_t *shaped = shape_tree(op->r, object, false);
        write_line(op, "BOOKMARK", shaped);
    } else if (op->r->accept.shape == SHAPE_OBJECT) {
        write_line(op, "BOOKMARK", object);
    }
}

static void deliver(struct watch_op *op, struct cache_event *event)
{
    const struct schema_resource *res = op->r->route->res;
    if (!selection_covers(&op->sel, event->object->key))
        return;
    if (op->sel.everything) {
        write_object(op, event->type, event->object, event);
        return;
    }
    bool now = event->type != EVENT_DELETED && selection_matches(&op->sel, event->object, res);
    bool before = event->before && selection_matches(&op->sel, event->before, res);
    if (now)
        write_object(op, before ? EVENT_MODIFIED : EVENT_ADDED, event->object, event);
    else if (before)
        write_object(op, EVENT_DELETED, event->object, event);
}

/* The next initial object; false when there is none left. */
static bool pump_initial(struct watch_op *op)
{
    if (op->next_initial == op->initial.count)
        return false;
    struct encoded *e = op->initial.items[op->next_initial];
    op->initial.items[op->next_initial++] = NULL;
    write_object(op, EVENT_ADDED, e, NULL);
    (void)encoded_unref(e);
    return true;
}

/* Writes what there is and the client can take. The request may be gone after. */
static void pump(struct watch_op *op)
{
    while (http_exchange_pending(op->r->x) < WATCH_PENDING_MAX) {
        if (op->starting) {
            if (pump_initial(op))
                continue;
            op->starting = false;
            encoded_list_done(&op->initial);
            if (op->send_initial && op->bookmarks)
                write_bookmark(op, op->revision, true);
        }
        bool lost;
        struct cache_event *event = cache_watcher_next(&op->w, &lost);
        if (lost) {
            log_warn("watcher too slow, dropped", "resource", op->r->info.resource, "user",
                     op->r->user.name, NULL);
            watch_end(op);
            return;
        }
        if (!event)
            return;
        deliver(op, event);
    }
}

static void on_cache_events(struct cache_watcher *w)
{
    pump(CONTAINER_OF(w, struct watch_op, w));
}

static void on_cache_lost(struct cache_watcher *w)
{
    struct watch_op *op = CONTAINER_OF(w, struct watch_op, w);
    watch_fail(op, status_expired("the watch cache starts anew: list again"));
}

static void on_drain(struct http_exchange *x, void *arg)
{
    (void)x;
    pump(arg);
}

/* What the client has been told everything up to. */
static int64_t reached(const struct watch_op *op)
{
    int64_t cache = watch_cache_revision(op->r->srv->cache);
    return cache > op->revision ? cache : op->revision;
}

static void on_bookmark(void *arg)
{
    struct watch_op *op = arg;
    bool behind = op->starting || http_exchange_pending(op->r->x) >= WATCH_PENDING_MAX;
    if (!behind)
        write_bookmark(op, reached(op), false);
    loop_timer_set(&op->bookmark, BOOKMARK_MS);
}

static void on_deadline(void *arg)
{
    struct watch_op *op = arg;
    if (op->bookmarks && !op->starting && http_exchange_pending(op->r->x) < WATCH_PENDING_MAX)
        write_bookmark(op, reached(op), false);
    watch_end(op);
}

/* The state, if any, is in op->initial: begins the stream. */
static void watch_begin(struct watch_op *op)
{
    struct request *r = op->r;
    http_exchange_begin(r->x, 200, "application/json", -1);
    if (watch_cache_subscribe(r->srv->cache, r->route, op->revision, &op->w)) {
        watch_fail(op, status_expired("too old resource version: %" PRId64 " (%" PRId64 ")",
                                      op->revision, watch_cache_oldest(r->srv->cache, r->route)));
        return;
    }
    http_exchange_on_drain(r->x, WATCH_PENDING_MAX / 4, on_drain, op);
    int64_t timeout = http_query_int(http_exchange_query(r->x), "timeoutSeconds", 0);
    if (timeout <= 0 || timeout > 86400) {
        uint16_t spread;
        random_bytes(&spread, sizeof(spread));
        timeout = TIMEOUT_MIN_S + spread % TIMEOUT_MIN_S;
    }
    loop_timer_set(&op->deadline, (uint64_t)timeout * 1000);
    if (op->bookmarks)
        loop_timer_set(&op->bookmark, BOOKMARK_MS);
    op->starting = true;
    pump(op);
}

static void initial_from_cache(struct watch_op *op)
{
    struct request *r = op->r;
    struct encoded_list all = {.items = NULL};
    watch_cache_snapshot(r->srv->cache, r->route, op->sel.prefix, &all);
    for (size_t i = 0; i < all.count; i++)
        if (selection_covers(&op->sel, all.items[i]->key) &&
            selection_matches(&op->sel, all.items[i], r->route->res))
            encoded_list_add(&op->initial, encoded_ref(all.items[i]));
    encoded_list_done(&all);
    op->revision = watch_cache_revision(r->srv->cache);
    watch_begin(op);
}

static void on_initial_page(void *arg, int code, const struct store_range_result *result,
                            const struct error *err)
{
    struct watch_op *op = arg;
    struct request *r = op->r;
    if (code && code != STORE_E_NOT_FOUND) {
        r->call = NULL;
        if (code > 0)
            reply_status(r, status_expired("the state was compacted while it was being read"));
        else
            reply_store_error(r, code, err);
        return;
    }
    for (size_t i = 0; i < result->n; i++) {
        const struct store_kv *kv = &result->kvs[i];
        struct error bad = ERROR_INIT;
        struct encoded *e = encoded_new(kv->key, kv->value, kv->len, kv->mod_revision, &bad);
        if (!e) {
            if (result->more)
                store_cancel(r->call);
            r->call = NULL;
            reply_status(r, status_internal_error("%s", error_text(&bad)));
            return;
        }
        if (selection_covers(&op->sel, e->key) && selection_matches(&op->sel, e, r->route->res))
            encoded_list_add(&op->initial, e);
        else
            (void)encoded_unref(e);
    }
    if (result->more)
        return;
    r->call = NULL;
    op->revision = result->revision;
    if (op->at_least > op->revision)
        reply_status(r, status_version_too_large(op->at_least, op->revision));
    else
        watch_begin(op);
}

static void on_revision(void *arg, int code, int64_t revision, const struct error *err)
{
    struct watch_op *op = arg;
    op->r->call = NULL;
    if (code) {
        reply_store_error(op->r, code, err);
        return;
    }
    op->revision = revision;
    watch_begin(op);
}

static int watch_parameters(struct watch_op *op, const char **ret_version, bool *ret_initial,
                            json_t **ret_status)
{
    const struct request *r = op->r;
    const struct http_query *q = http_exchange_query(r->x);
    const char *version = http_query_get(q, "resourceVersion");
    const char *match = http_query_get(q, "resourceVersionMatch");
    const char *initial = http_query_get(q, "sendInitialEvents");
    version = version ? version : "";
    op->bookmarks = http_query_bool(q, "allowWatchBookmarks");
    *ret_version = version;
    if (version_parse(version, &op->revision) < 0)
        *ret_status = status_bad_request("invalid resourceVersion \"%.64s\"", version);
    else if (initial && *initial && !str_eq(match, "NotOlderThan"))
        *ret_status =
            status_bad_request("sendInitialEvents needs resourceVersionMatch=NotOlderThan");
    else if (match && *match && !(initial && *initial))
        *ret_status =
            status_bad_request("resourceVersionMatch is for a watch with sendInitialEvents only");
    if (*ret_status)
        return -EINVAL;
    op->send_initial = initial && *initial && http_query_bool(q, "sendInitialEvents");
    *ret_initial = initial && *initial ? op->send_initial : op->revision == 0;
    return 0;
}

void verb_watch(struct request *r)
{
    struct watch_op *op = mem_zalloc(sizeof(*op));
    op->r = r;
    r->op = op;
    r->op_free = watch_op_free;
    op->w.on_events = on_cache_events;
    op->w.on_lost = on_cache_lost;
    loop_timer_init(&op->deadline, r->srv->loop, "watch deadline", on_deadline, op);
    loop_timer_init(&op->bookmark, r->srv->loop, "watch bookmark", on_bookmark, op);
    json_t *status = NULL;
    const char *version;
    bool initial;
    if (selection_parse(&op->sel, r, &status) < 0 ||
        watch_parameters(op, &version, &initial, &status) < 0) {
        reply_status(r, status);
        return;
    }
    struct error err = ERROR_INIT;
    int code = watch_cache_check(r->srv->cache, r->route, &err);
    if (code == -EAGAIN) {
        http_exchange_add_header(r->x, "Retry-After", "1");
        reply_status(r, status_unavailable("%s", error_text(&err)));
        return;
    }
    if (code < 0) {
        reply_status(r, status_internal_error("%s", error_text(&err)));
        return;
    }
    bool fresh = watch_cache_revision(r->srv->cache) >= op->revision;
    if (!initial && *version && op->revision) {
        watch_begin(op);
    } else if (initial && *version && fresh) {
        initial_from_cache(op);
    } else if (initial) {
        op->at_least = op->revision;
        const struct store_range range = {.key = op->sel.prefix, .prefix = !op->sel.exact};
        r->call = op->sel.exact
                      ? store_range(r->srv->store, &range, on_initial_page, op)
                      : store_list(r->srv->store, &range, STORE_PAGE, on_initial_page, op);
    } else if (*version) {
        op->revision = watch_cache_revision(r->srv->cache);
        watch_begin(op);
    } else {
        r->call = store_revision(r->srv->store, on_revision, op);
    }
}
