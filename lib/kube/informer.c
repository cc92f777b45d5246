/*
 * List, then watch, for ever; see informer.h.
 *
 * Theory of operation. A list comes in pages of 500; each object is compared by resourceVersion
 * with what is known and marked with the number of this list; what carries an older number at the
 * end is gone. Then a watch goes on from the list's resourceVersion; every event, bookmarks
 * included, moves that forward, so a watch that ends (the server ends each after 5 to 10 minutes)
 * is resumed where it stopped. Only 410 (the server has compacted that far) leads to another list.
 */
#include "kube/informer.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/map.h"
#include "net/http.h"

#define PAGE_SIZE      500
#define LINE_MAX_BYTES ((size_t)16 << 20)
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 5000
#define GONE           410

struct known {
    unsigned list; /* number of the list that saw it last */
    char version[];
};

struct informer {
    struct kube_client *client;
    char *base_path, *selectors; /* selectors: "&fieldSelector=…" or "" */
    const struct informer_ops *ops;
    void *arg;
    struct map known; /* key → struct known */
    char *version;    /* resourceVersion to watch from */
    char *next_page;  /* continue token */
    unsigned list;
    bool synced, watching, complained;
    struct kube_call *call;
    struct kube_stream *stream;
    struct strbuf line;
    size_t scanned; /* bytes of @line that hold no newline */
    uint64_t backoff_ms, opened_at;
    struct loop_timer retry;
    /* A callback may free the informer: it sets this for the frame below. */
    bool *freed;
};

static void list_page(struct informer *inf);
static void watch(struct informer *inf);

static uint32_t random_below(uint32_t n)
{
    uint32_t v;
    random_bytes(&v, sizeof(v));
    return v % n;
}

static void retry_later(struct informer *inf, const char *what, const char *error)
{
    inf->watching = false;
    if (!inf->complained && error)
        log_info("API server cannot be followed, trying again", "resource", inf->base_path, "doing",
                 what, "error", error, NULL);
    inf->complained = inf->complained || error;
    inf->backoff_ms = inf->backoff_ms ? inf->backoff_ms * 2 : BACKOFF_MIN_MS;
    if (inf->backoff_ms > BACKOFF_MAX_MS)
        inf->backoff_ms = BACKOFF_MAX_MS;
    loop_timer_set(&inf->retry,
                   inf->backoff_ms / 2 + random_below((uint32_t)inf->backoff_ms / 2 + 1));
}

static void forget_position(struct informer *inf)
{
    free(inf->version);
    inf->version = NULL;
    free(inf->next_page);
    inf->next_page = NULL;
}

static void on_retry(void *arg)
{
    struct informer *inf = arg;
    if (inf->version && !inf->next_page && inf->synced)
        watch(inf);
    else
        list_page(inf);
}

/* ---- what is known ---- */

/* Returns whether the object is new or has changed. */
static bool note(struct informer *inf, const char *key, const char *version)
{
    struct known *k = map_get(&inf->known, key);
    if (k && str_eq(k->version, version)) {
        k->list = inf->list;
        return false;
    }
    size_t len = strlen(version);
    k = mem_zalloc(sizeof(*k) + len + 1);
    k->list = inf->list;
    memcpy(k->version, version, len + 1);
    map_set(&inf->known, key, k);
    return true;
}

static void upsert(struct informer *inf, const json_t *object)
{
    _cleanup_free_ char *key = kube_key(object);
    const char *version = json_path_string(object, "metadata.resourceVersion");
    if (*key && note(inf, key, version ? version : ""))
        inf->ops->upsert(inf->arg, key, object);
}

static void removed(struct informer *inf, const json_t *object)
{
    _cleanup_free_ char *key = kube_key(object);
    if (map_remove(&inf->known, key))
        inf->ops->remove(inf->arg, key, object);
}

/* Tells the owner about everything that the list just ended did not show. Returns whether the
 * informer was freed meanwhile. */
static bool sweep(struct informer *inf, const bool *freed)
{
    MAP_FOR_EACH(e, &inf->known) {
        const struct known *k = map_value(e);
        if (k->list == inf->list)
            continue;
        _cleanup_free_ char *key = str_dup(map_key(e));
        map_remove(&inf->known, key);
        inf->ops->remove(inf->arg, key, NULL);
        if (*freed)
            return true;
    }
    return false;
}

/* ---- list ---- */

static void list_ended(struct informer *inf, const bool *freed)
{
    if (sweep(inf, freed))
        return;
    if (!inf->synced) {
        inf->synced = true;
#ifdef __GLIBC__
        (void)malloc_trim(0); /* pages as trees took much more than what is kept of them */
#endif
        if (inf->ops->synced)
            inf->ops->synced(inf->arg);
        if (*freed)
            return;
    }
    watch(inf);
}

static void on_page(const struct kube_result *result, void *arg)
{
    struct informer *inf = arg;
    bool freed = false;
    inf->call = NULL;
    if (result->error) {
        if (result->status == GONE)
            forget_position(inf);
        retry_later(inf, "list", result->error);
        return;
    }
    // cppcheck-suppress autoVariables; reset below unless the object is gone
    inf->freed = &freed;
    const json_t *items = json_object_get(result->body, "items");
    for (size_t i = 0; i < json_array_size(items); i++) {
        upsert(inf, json_array_get(items, i));
        if (freed)
            return;
    }
    const char *version = json_path_string(result->body, "metadata.resourceVersion");
    const char *next = json_path_string(result->body, "metadata.continue");
    forget_position(inf);
    inf->version = str_dup(version ? version : "0");
    if (next && *next) {
        inf->next_page = str_dup(next);
        list_page(inf);
    } else {
        list_ended(inf, &freed);
    }
    if (!freed)
        inf->freed = NULL;
}

static void list_page(struct informer *inf)
{
    struct strbuf path = STRBUF_INIT;
    strbuf_addf(&path, "%s?limit=%d%s", inf->base_path, PAGE_SIZE, inf->selectors);
    if (inf->next_page)
        http_query_add(&path, "continue", inf->next_page);
    else
        inf->list++;
    inf->call = kube_get(inf->client, strbuf_text(&path), on_page, inf);
    strbuf_done(&path);
}

/* ---- watch ---- */

static void end_watch(struct informer *inf)
{
    kube_stream_cancel(inf->stream);
    inf->stream = NULL;
    inf->watching = false;
    strbuf_truncate(&inf->line, 0);
    inf->scanned = 0;
}

/* Returns whether the watch goes on. */
static bool handle_event(struct informer *inf, const char *text, size_t len)
{
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *event = json_parse(text, len, &err);
    const char *type = json_path_string(event, "type");
    const json_t *object = json_object_get(event, "object");
    if (!type || !json_is_object(object)) {
        end_watch(inf);
        retry_later(inf, "watch", err.code ? err.text : "not a watch event");
        return false;
    }
    if (str_eq(type, "ERROR")) {
        const char *message = json_path_string(object, "message");
        bool gone = json_path_int(object, "code", 0) == GONE;
        end_watch(inf);
        if (gone)
            forget_position(inf);
        retry_later(inf, "watch", gone ? NULL : (message ? message : "error event"));
        return false;
    }
    const char *version = json_path_string(object, "metadata.resourceVersion");
    if (version) {
        free(inf->version);
        inf->version = str_dup(version);
    }
    bool freed = false;
    // cppcheck-suppress autoVariables; reset below unless the object is gone
    inf->freed = &freed;
    if (str_eq(type, "ADDED") || str_eq(type, "MODIFIED"))
        upsert(inf, object);
    else if (str_eq(type, "DELETED"))
        removed(inf, object);
    if (freed)
        return false;
    inf->freed = NULL;
    return inf->stream != NULL;
}

static void on_watch_open(void *arg)
{
    struct informer *inf = arg;
    inf->watching = true;
    inf->opened_at = now_ms();
    if (inf->complained)
        log_info("API server is followed again", "resource", inf->base_path, NULL);
    inf->complained = false;
}

static void on_watch_data(const void *data, size_t len, void *arg)
{
    struct informer *inf = arg;
    strbuf_add(&inf->line, data, len);
    size_t start = 0;
    const char *end;
    while ((end = memchr(inf->line.data + inf->scanned, '\n', inf->line.len - inf->scanned))) {
        size_t at = (size_t)(end - inf->line.data);
        inf->scanned = at + 1;
        if (at > start && !handle_event(inf, inf->line.data + start, at - start))
            return;
        start = at + 1;
    }
    strbuf_consume(&inf->line, start);
    inf->scanned = inf->line.len;
    if (inf->line.len > LINE_MAX_BYTES) {
        end_watch(inf);
        retry_later(inf, "watch", "an event is larger than 16 MiB");
    }
    if (inf->line.len == 0)
        strbuf_done(&inf->line); /* watches are idle most of the time */
}

static void on_watch_end(const struct kube_result *result, void *arg)
{
    struct informer *inf = arg;
    bool lasted = inf->watching && now_ms() - inf->opened_at > 1000;
    inf->stream = NULL;
    inf->watching = false;
    strbuf_truncate(&inf->line, 0);
    inf->scanned = 0;
    if (result->status == GONE)
        forget_position(inf);
    if (lasted)
        inf->backoff_ms = 0;
    if (lasted && !result->error)
        watch(inf);
    else
        retry_later(inf, "watch", result->status == GONE ? NULL : result->error);
}

static void watch(struct informer *inf)
{
    static const struct kube_stream_handler handler = {
        .on_open = on_watch_open, .on_data = on_watch_data, .on_end = on_watch_end};
    struct strbuf path = STRBUF_INIT;
    strbuf_addf(&path, "%s?watch=true&allowWatchBookmarks=true&timeoutSeconds=%u%s", inf->base_path,
                300 + random_below(300), inf->selectors);
    http_query_add(&path, "resourceVersion", inf->version);
    inf->stream = kube_stream(inf->client, strbuf_text(&path), &handler, inf);
    strbuf_done(&path);
}

/* ---- life ---- */

struct informer *informer_new(struct kube_client *client, const struct informer_config *config)
{
    struct informer *inf = mem_zalloc(sizeof(*inf));
    *inf = (struct informer){.client = client,
                             .base_path =
                                 kube_path(config->api, config->ns, config->plural, NULL, NULL),
                             .ops = config->ops,
                             .arg = config->arg,
                             .known = MAP_INIT(free)};
    struct strbuf selectors = STRBUF_INIT;
    struct strbuf fields = STRBUF_INIT;
    if (config->name)
        strbuf_addf(&fields, "metadata.name=%s", config->name);
    if (config->field_selector)
        strbuf_addf(&fields, "%s%s", fields.len ? "," : "", config->field_selector);
    if (fields.len) {
        strbuf_adds(&selectors, "&fieldSelector=");
        http_percent_encode(fields.data, NULL, &selectors);
    }
    if (config->label_selector) {
        strbuf_adds(&selectors, "&labelSelector=");
        http_percent_encode(config->label_selector, NULL, &selectors);
    }
    inf->selectors = strbuf_take(&selectors);
    strbuf_done(&fields);
    loop_timer_init(&inf->retry, kube_client_loop(client), "informer retry", on_retry, inf);
    list_page(inf);
    return inf;
}

struct informer *informer_free(struct informer *inf)
{
    if (!inf)
        return NULL;
    if (inf->freed)
        *inf->freed = true;
    kube_call_cancel(inf->call);
    kube_stream_cancel(inf->stream);
    loop_timer_done(&inf->retry);
    map_clear(&inf->known);
    strbuf_done(&inf->line);
    free(inf->base_path);
    free(inf->selectors);
    free(inf->version);
    free(inf->next_page);
    free(inf);
    return NULL;
}

bool informer_synced(const struct informer *inf)
{
    return inf->synced;
}

bool informer_connected(const struct informer *inf)
{
    return inf->watching;
}

size_t informer_count(const struct informer *inf)
{
    return map_count(&inf->known);
}
