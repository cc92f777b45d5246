/*
 * Watches of the etcd back end. There is one watch at etcd, on everything below the store's prefix;
 * each store_watch() gets the part under its own prefix. So all of them know at any time up to
 * which revision they are current (no kind falls behind because nothing of it changes), and it
 * costs one stream.
 *
 * `seen` is how far the shared watch has delivered, `after` how far each watch has. A watch that
 * wants to begin earlier than `seen` makes the shared watch start again from there; the others
 * skip what they have had.
 */
#include "apiserver/store/store_etcd_internal.h"

#include <errno.h>

#define FROM_NOW (-1) /* which revision that is tells the shared watch when it stands */

struct watch {
    struct store_watch base;
    struct list entry;
    struct etcd_store *s;
    char *prefix;
    int64_t after; /* everything up to this revision was delivered or is not wanted */
    struct store_watch_events events;
    void *arg;
    bool over, paused, asked;
};

static struct watch *watch_of(struct list *entry)
{
    return LIST_ENTRY(entry, struct watch, entry);
}

/* ---- lifetimes ---- */
static void sweep(struct etcd_store *s)
{
    if (s->delivering)
        return;
    LIST_FOR_EACH(e, &s->watches) {
        struct watch *w = watch_of(e);
        if (!w->over)
            continue;
        list_remove(&w->entry);
        free(w->prefix);
        free(w);
    }
    if (list_empty(&s->watches)) {
        etcd_watch_cancel(TAKE_PTR(s->shared));
        s->seen = 0;
    }
}

void etcd_store_watch_cancel(struct store_watch *watch)
{
    struct watch *w = CONTAINER_OF(watch, struct watch, base);
    w->over = true;
    if (w->paused)
        etcd_store_watch_pause(watch, false);
    sweep(w->s);
}

static void end_watch(struct watch *w, int code, const struct error *err)
{
    w->over = true;
    w->events.on_end(w->arg, code, err);
}

/* ---- the shared watch ---- */
static void shared_start(struct etcd_store *s, int64_t after);

static void on_created(void *arg, int64_t revision)
{
    struct etcd_store *s = arg;
    if (s->seen == 0)
        s->seen = revision;
    LIST_FOR_EACH(e, &s->watches)
        if (watch_of(e)->after == FROM_NOW)
            watch_of(e)->after = revision;
}

/* The events after w->after under its prefix. */
static void deliver_to(struct watch *w, const struct store_event *events, size_t n,
                       struct store_event *chosen, int64_t revision)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (events[i].kv.mod_revision > w->after && str_starts(events[i].kv.key, w->prefix))
            chosen[k++] = events[i];
    if (revision > w->after)
        w->after = revision;
    if (k > 0)
        w->events.on_events(w->arg, chosen, k, chosen[k - 1].kv.mod_revision);
}

static void on_events(void *arg, const struct etcd_event *in, size_t n, int64_t revision)
{
    struct etcd_store *s = arg;
    struct error err = ERROR_INIT;
    const struct etcd_kv **pairs = calloc(2 * n, sizeof(const struct etcd_kv *));
    struct store_event *events = calloc(2 * n, sizeof(*events)), *chosen = events + n;
    struct kv_block block = {0};
    size_t m = 0;
    int r = pairs && events ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++) {
        pairs[m++] = &in[i].kv;
        if (in[i].prev.key.data)
            pairs[m++] = &in[i].prev;
    }
    if (r == 0)
        r = kv_block_make(&block, pairs, m, &err);
    m = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        events[i].deleted = in[i].deleted;
        events[i].kv = block.kvs[m++];
        if (in[i].prev.key.data)
            events[i].prev = block.kvs[m++];
    }
    s->seen = revision;
    s->delivering++;
    LIST_FOR_EACH(e, &s->watches) {
        struct watch *w = watch_of(e);
        if (w->over)
            continue;
        if (r == 0)
            deliver_to(w, events, n, chosen, revision);
        else /* missing events must not go unnoticed: list again */
            end_watch(w, STORE_E_COMPACTED, &err);
    }
    s->delivering--;
    kv_block_done(&block);
    free(events);
    free(pairs);
    sweep(s);
}

static void tell_progress(struct etcd_store *s, bool all)
{
    s->delivering++;
    LIST_FOR_EACH(e, &s->watches) {
        struct watch *w = watch_of(e);
        if (w->over || !(all || w->asked) || s->seen == 0)
            continue;
        if (w->after < s->seen)
            w->after = s->seen;
        w->asked = false;
        if (w->events.on_progress)
            w->events.on_progress(w->arg, w->after);
    }
    s->delivering--;
    sweep(s);
}

static void on_progress(void *arg, int64_t revision)
{
    struct etcd_store *s = arg;
    if (revision > s->seen)
        s->seen = revision;
    tell_progress(s, true);
}

/* Compacted: those that stand farthest back have lost something; the rest may go on. */
static void on_end(void *arg, int code, const char *message)
{
    struct etcd_store *s = arg;
    struct error err = ERROR_INIT;
    int r = etcd_store_code(code);
    (void)error_set(&err, r < 0 ? r : -ESTALE, "%s", message);
    s->shared = NULL;
    s->delivering++;
    int64_t next = INT64_MAX;
    LIST_FOR_EACH(e, &s->watches) {
        struct watch *w = watch_of(e);
        if (w->over)
            continue;
        if (code != ETCD_E_COMPACTED || (w->after != FROM_NOW && w->after <= s->seen))
            end_watch(w, r, &err);
    }
    bool any = false;
    LIST_FOR_EACH(e, &s->watches) {
        const struct watch *w = watch_of(e);
        any = any || !w->over;
        if (!w->over && w->after != FROM_NOW && w->after < next)
            next = w->after;
    }
    s->delivering--;
    s->seen = 0;
    if (any && !s->shared) /* a callback may have started it */
        shared_start(s, next == INT64_MAX ? 0 : next);
    sweep(s);
}

static void shared_start(struct etcd_store *s, int64_t after)
{
    static const struct etcd_watch_events events = {on_created, on_events, on_progress, on_end};
    struct etcd_watch_request request = {
        .key = ETCD_STR(s->base.prefix),
        .prefix = true,
        .start_revision = after > 0 && after < INT64_MAX ? after + 1 : after,
        .prev = true,
        .progress_notify = true,
    };
    etcd_watch_cancel(s->shared);
    s->seen = after;
    s->shared = etcd_watch(s->etcd, &request, &events, s);
}

struct store_watch *etcd_store_watch(struct store *store, const char *prefix, int64_t revision,
                                     const struct store_watch_events *events, void *arg)
{
    struct etcd_store *s = etcd_store_of(store);
    struct watch *w = mem_zalloc(sizeof(*w));
    w->base.ops = &etcd_store_ops;
    w->s = s;
    w->prefix = str_dup(prefix);
    w->after = revision ? revision : s->seen ? s->seen : FROM_NOW;
    w->events = *events;
    w->arg = arg;
    list_append(&s->watches, &w->entry);
    if (!s->shared || (revision != 0 && (s->seen == 0 || revision < s->seen)))
        shared_start(s, revision);
    return &w->base;
}

static void on_answer(void *arg)
{
    tell_progress(arg, false);
}

void etcd_store_watch_progress(struct store_watch *watch)
{
    struct watch *w = CONTAINER_OF(watch, struct watch, base);
    w->asked = true;
    loop_defer(&w->s->answer);
    if (w->s->shared)
        etcd_watch_progress(w->s->shared); /* where etcd answers reliably, all hear of it */
}

void etcd_store_watch_pause(struct store_watch *watch, bool paused)
{
    struct watch *w = CONTAINER_OF(watch, struct watch, base);
    bool any = false;
    w->paused = paused;
    LIST_FOR_EACH(e, &w->s->watches)
        any = any || watch_of(e)->paused;
    if (w->s->shared)
        etcd_watch_pause(w->s->shared, any);
}

void etcd_store_watches_init(struct etcd_store *s)
{
    list_init(&s->watches);
    loop_deferred_init(&s->answer, s->base.loop, on_answer, s);
}

void etcd_store_watches_done(struct etcd_store *s)
{
    LIST_FOR_EACH(e, &s->watches)
        watch_of(e)->over = true;
    sweep(s);
    loop_deferred_done(&s->answer);
}
