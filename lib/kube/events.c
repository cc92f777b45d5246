/*
 * Recording Events; see events.h. What was recorded lately is remembered (512 events), so that a
 * repetition becomes a patch of count and lastTimestamp. An event's name is
 * "<object>.<16 hex digits>", as upstream's.
 */
#include "kube/events.h"

#include <string.h>

#include "base/digest.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/times.h"
#include "net/http.h"

#define REMEMBERED_MAX  512
#define REPEAT_WINDOW_S 600
#define BURST           25
#define REFILL_S        300
#define ATTEMPTS        3
#define MESSAGE_MAX     1024
#define QUEUE_MAX       1000 /* writes that wait; what comes on top is dropped */
#define DELAY_MS        50   /* what the event is about goes to the API first */

struct remembered {
    char *path; /* of the event */
    int64_t last;
    int count;
};
struct bucket {
    double tokens;
    int64_t filled;
};

struct event_recorder {
    struct kube_client *client;
    char *component, *host;
    struct map remembered; /* object, type, reason, message → struct remembered */
    struct map buckets;    /* object → struct bucket */
    struct list writes;    /* in order; one at a time is under way */
    size_t n_writes;
    bool busy;
    struct loop_timer next;
};

struct write {
    struct list link;
    struct event_recorder *recorder;
    struct kube_call *call;
    uint64_t due; /* now_ms() before which it is not sent */
    const char *method;
    char *path;
    json_t *body;
    int attempts;
};

static void remembered_free(void *p)
{
    struct remembered *r = p;
    free(r->path);
    free(r);
}

static void send_next(void *arg);

struct event_recorder *event_recorder_new(struct kube_client *client, const char *component,
                                          const char *host)
{
    struct event_recorder *r = mem_zalloc(sizeof(*r));
    *r = (struct event_recorder){.client = client,
                                 .component = str_dup(component),
                                 .host = str_dup(host),
                                 .remembered = MAP_INIT(remembered_free),
                                 .buckets = MAP_INIT(free)};
    list_init(&r->writes);
    if (client)
        loop_timer_init(&r->next, kube_client_loop(client), "events", send_next, r);
    return r;
}

static void write_free(struct write *w)
{
    list_remove(&w->link);
    w->recorder->n_writes--;
    kube_call_cancel(w->call);
    free(w->path);
    json_decref(w->body);
    free(w);
}

struct event_recorder *event_recorder_free(struct event_recorder *r)
{
    if (!r)
        return NULL;
    LIST_FOR_EACH(l, &r->writes) {
        write_free(LIST_ENTRY(l, struct write, link));
    }
    loop_timer_done(&r->next);
    map_clear(&r->remembered);
    map_clear(&r->buckets);
    free(r->component);
    free(r->host);
    free(r);
    return NULL;
}

static void on_written(const struct kube_result *result, void *arg)
{
    struct write *w = arg;
    struct event_recorder *r = w->recorder;
    w->call = NULL;
    r->busy = false;
    bool again =
        result->error && (result->status == 0 || result->status >= 500 || result->status == 429);
    if (again && ++w->attempts < ATTEMPTS) {
        w->due = now_ms() + (1000U << w->attempts);
    } else {
        if (result->error)
            log_debug("event was not recorded", "path", w->path, "error", result->error, NULL);
        write_free(w);
    }
    send_next(r);
}

/* Sends the oldest write that is due; when there is none, sets the timer for the next. */
static void send_next(void *arg)
{
    struct event_recorder *r = arg;
    uint64_t now = now_ms(), soonest = UINT64_MAX;
    LIST_FOR_EACH(l, &r->writes) {
        struct write *w = LIST_ENTRY(l, struct write, link);
        if (r->busy)
            return;
        if (w->due > now) {
            soonest = w->due < soonest ? w->due : soonest;
            continue;
        }
        r->busy = true;
        w->call = kube_request(r->client, w->method, w->path,
                               str_eq(w->method, "PATCH") ? KUBE_PATCH_MERGE : NULL, w->body, 0,
                               on_written, w);
        return;
    }
    if (soonest != UINT64_MAX)
        loop_timer_set(&r->next, soonest - now);
}

static void start_write(struct event_recorder *r, const char *method, char *path, json_t *body)
{
    struct write *w = mem_zalloc(sizeof(*w));
    *w = (struct write){
        .recorder = r, .method = method, .path = path, .body = body, .due = now_ms() + DELAY_MS};
    list_append(&r->writes, &w->link);
    if (++r->n_writes > QUEUE_MAX) {
        write_free(w);
        return;
    }
    if (!r->busy)
        send_next(r);
}

static bool take_token(struct event_recorder *r, const char *object, int64_t now)
{
    struct bucket *b = map_get(&r->buckets, object);
    if (!b) {
        if (map_count(&r->buckets) >= REMEMBERED_MAX)
            map_remove(&r->buckets, map_key(map_first(&r->buckets)));
        b = mem_zalloc(sizeof(*b));
        *b = (struct bucket){.tokens = BURST, .filled = now};
        map_set(&r->buckets, object, b);
    }
    b->tokens += (double)(now - b->filled) / REFILL_S;
    if (b->tokens > BURST)
        b->tokens = BURST;
    b->filled = now;
    if (b->tokens < 1)
        return false;
    b->tokens -= 1;
    return true;
}

static void set_text(json_t *to, const char *key, const char *value)
{
    if (value && *value)
        (void)json_object_set_new(to, key, json_text(value));
}

static json_t *make_event(const struct event_recorder *r, const struct event_object *about,
                          const char *name, const char *ns, const char *type, const char *reason,
                          const char *message, const char *stamp)
{
    json_t *object = json_object();
    set_text(object, "apiVersion", about->api_version);
    set_text(object, "kind", about->kind);
    set_text(object, "namespace", about->ns);
    set_text(object, "name", about->name);
    set_text(object, "uid", about->uid);
    set_text(object, "resourceVersion", about->resource_version);
    set_text(object, "fieldPath", about->field_path);
    json_t *source = json_object();
    set_text(source, "component", r->component);
    set_text(source, "host", r->host);
    json_t *event =
        json_pack("{ss ss s{ss ss} so so si ss ss}", "apiVersion", "v1", "kind", "Event",
                  "metadata", "name", name, "namespace", ns, "involvedObject", object, "source",
                  source, "count", 1, "firstTimestamp", stamp, "lastTimestamp", stamp);
    set_text(event, "type", type);
    set_text(event, "reason", reason);
    set_text(event, "message", message);
    set_text(event, "reportingComponent", r->component);
    set_text(event, "reportingInstance", r->host);
    return event;
}

/* Raises the count of an event of the last ten minutes. Returns whether there was one. */
static bool repeat(struct event_recorder *r, const char *key, int64_t now, const char *stamp)
{
    struct remembered *old = map_get(&r->remembered, key);
    if (!old)
        return false;
    if (now - old->last > REPEAT_WINDOW_S) {
        map_remove(&r->remembered, key);
        return false;
    }
    old->last = now;
    old->count++;
    start_write(r, "PATCH", str_dup(old->path),
                json_pack("{siss}", "count", old->count, "lastTimestamp", stamp));
    return true;
}

bool event_recorder_is_idle(const struct event_recorder *r)
{
    return list_empty(&r->writes);
}

void event_record(struct event_recorder *r, const struct event_object *about, const char *type,
                  const char *reason, const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf message = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&message, fmt, args);
    va_end(args);
    strbuf_truncate(&message, MESSAGE_MAX);
    const char *text = strbuf_text(&message);
    const char *ns = about->ns && *about->ns ? about->ns : "default";
    log_debug("event", "object", about->name, "namespace", about->ns, "type", type, "reason",
              reason, "message", text, NULL);
    if (!r->client)
        return;
    int64_t now = time_now();
    char stamp[TIME_TEXT_MAX];
    (void)time_format(now, stamp);
    _cleanup_free_ char *object =
        str_printf("%s/%s/%s/%s", about->kind, ns, about->name, about->uid ? about->uid : "");
    if (!take_token(r, object, now))
        return;
    _cleanup_free_ char *key = str_printf(
        "%s|%s|%s|%s|%s", object, about->field_path ? about->field_path : "", type, reason, text);
    if (repeat(r, key, now, stamp))
        return;
    char suffix[17];
    random_hex(suffix, 16);
    _cleanup_free_ char *name = str_printf("%s.%s", about->name, suffix);
    if (map_count(&r->remembered) >= REMEMBERED_MAX)
        map_remove(&r->remembered, map_key(map_first(&r->remembered)));
    struct remembered *fresh = mem_zalloc(sizeof(*fresh));
    *fresh = (struct remembered){
        .path = kube_path("v1", ns, "events", name, NULL), .last = now, .count = 1};
    map_set(&r->remembered, key, fresh);
    start_write(r, "POST", kube_path("v1", ns, "events", NULL, NULL),
                make_event(r, about, name, ns, type, reason, text, stamp));
}
