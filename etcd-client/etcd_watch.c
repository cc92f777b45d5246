/*
 * Watches: each has a stream of its own, made again when it breaks.
 *
 * `next` is the revision after the last one delivered; a stream starts there. etcd may split the
 * changes of a response over several messages (fragments), even within a revision; what belongs to
 * a revision is held back until all of it is there, so that `next` never points into the middle of
 * one. What is held back is bounded: a revision is one transaction, which etcd limits.
 */
#include <errno.h>

#include "etcd-client/etcd_internal.h"

static const struct rpc_method watch_method = {"/etcdserverpb.Watch/Watch",
                                               &etcdserverpb__watch_response__descriptor};

struct etcd_watch {
    struct list entry;
    struct etcd *e;
    struct etcd_watch_request request; /* key and end point to our copies */
    void *key, *end;
    struct etcd_watch_events events;
    void *arg;

    int64_t next; /* 0: from now on, and not made yet */
    uint64_t cluster_id;
    struct rpc_stream *stream; /* NULL: between attempts, or waiting for a token */
    struct rpc_call *asking;   /* the member's version */
    size_t endpoint;
    unsigned tries;
    bool paused, reauthenticated;
    int fatal;               /* what the next timer ends the watch with */
    struct loop_timer timer; /* the next attempt */

    bool delivering, over; /* in a callback; to be freed after it */
    Etcdserverpb__Event **held;
    size_t n_held;
};

struct etcd_watch *etcd_watch_of(struct list *entry)
{
    return LIST_ENTRY(entry, struct etcd_watch, entry);
}

static void drop_held(struct etcd_watch *w)
{
    for (size_t i = 0; i < w->n_held; i++)
        etcdserverpb__event__free_unpacked(w->held[i], NULL);
    free(TAKE_PTR(w->held));
    w->n_held = 0;
}

/* Everything up to @revision was delivered. */
static void advance(struct etcd_watch *w, int64_t revision)
{
    if (revision >= w->next && revision < INT64_MAX)
        w->next = revision + 1;
}

static void watch_close(struct etcd_watch *w)
{
    list_remove(&w->entry);
    loop_timer_done(&w->timer);
    rpc_stream_cancel(TAKE_PTR(w->stream));
    rpc_call_cancel(TAKE_PTR(w->asking));
    w->over = true;
}

static void watch_release(struct etcd_watch *w)
{
    if (!w->over || w->delivering)
        return;
    drop_held(w);
    free(w->key);
    free(w->end);
    free(w);
}

void etcd_watch_cancel(struct etcd_watch *watch)
{
    if (!watch || watch->over)
        return;
    watch_close(watch);
    watch_release(watch);
}

static void watch_end(struct etcd_watch *w, int code, const char *message)
{
    bool nested = w->delivering;
    watch_close(w);
    w->delivering = true;
    w->events.on_end(w->arg, code, message);
    w->delivering = nested;
    watch_release(w);
}

/* ---- streams ---- */
static void retry(struct etcd_watch *w)
{
    rpc_stream_cancel(TAKE_PTR(w->stream));
    rpc_call_cancel(TAKE_PTR(w->asking));
    drop_held(w); /* comes again: `next` is before it */
    etcd_endpoint_failed(w->e, w->endpoint);
    loop_timer_set(&w->timer, etcd_backoff(w->e, ++w->tries));
}

/* A member ended the watch and said so in a message. */
static void refused(struct etcd_watch *w, const Etcdserverpb__WatchResponse *r)
{
    const char *reason = r->cancel_reason ? r->cancel_reason : "";
    bool denied = strstr(reason, "permission denied") != NULL;
    if (r->compact_revision > 0) {
        watch_end(w, ETCD_E_COMPACTED, "the revision to watch from has been compacted");
    } else if (denied || strstr(reason, "auth")) {
        /* etcd says so of a token that it does not know, too. */
        if (w->reauthenticated || !etcd_token_refused(w->e, RPC_UNAUTHENTICATED, reason)) {
            watch_end(w, denied ? -EACCES : -EPERM, reason);
            return;
        }
        w->reauthenticated = true;
        retry(w);
    } else {
        retry(w);
    }
}

static Etcdserverpb__Event *copy_event(const Etcdserverpb__Event *event)
{
    size_t len = etcdserverpb__event__get_packed_size(event);
    _cleanup_free_ uint8_t *bytes = malloc(len + 1);
    if (!bytes)
        return NULL;
    (void)etcdserverpb__event__pack(event, bytes);
    return etcdserverpb__event__unpack(NULL, len, bytes);
}

static void event_from(struct etcd_event *out, const Etcdserverpb__Event *in)
{
    static const Etcdserverpb__KeyValue none = ETCDSERVERPB__KEY_VALUE__INIT;
    *out = (struct etcd_event){.deleted = in->type == ETCDSERVERPB__EVENT__EVENT_TYPE__DELETE};
    etcd_kv_from(&out->kv, in->kv ? in->kv : &none);
    if (in->prev_kv)
        etcd_kv_from(&out->prev, in->prev_kv);
}

static int64_t revision_of(const Etcdserverpb__Event *event)
{
    return event->kv ? event->kv->mod_revision : 0;
}

/* Hands on what was held and @r's events up to the last whole revision, and holds the rest. */
static void deliver(struct etcd_watch *w, const Etcdserverpb__WatchResponse *r)
{
    size_t whole = r->n_events;
    if (r->fragment) {
        int64_t last = revision_of(r->events[r->n_events - 1]);
        while (whole > 0 && revision_of(r->events[whole - 1]) == last)
            whole--;
        if (whole == 0 && w->n_held > 0 && revision_of(w->held[0]) != last)
            whole = SIZE_MAX; /* the held revision is complete, this message is all of the next */
    }
    bool flush = whole > 0;
    if (whole == SIZE_MAX)
        whole = 0;
    if (flush) {
        size_t n = w->n_held + whole;
        struct etcd_event *events = calloc(n, sizeof(*events));
        if (!events) {
            retry(w);
            return;
        }
        for (size_t i = 0; i < w->n_held; i++)
            event_from(&events[i], w->held[i]);
        for (size_t i = 0; i < whole; i++)
            event_from(&events[w->n_held + i], r->events[i]);
        int64_t revision = events[n - 1].kv.mod_revision;
        advance(w, revision);
        w->events.on_events(w->arg, events, n, revision);
        free(events);
        if (w->over || !w->stream)
            return;
        drop_held(w);
    }
    size_t more = r->n_events - whole;
    if (more == 0)
        return;
    w->held = mem_grow(w->held, w->n_held + more, sizeof(Etcdserverpb__Event *));
    for (size_t i = whole; i < r->n_events; i++) {
        w->held[w->n_held] = copy_event(r->events[i]);
        if (!w->held[w->n_held]) {
            retry(w);
            return;
        }
        w->n_held++;
    }
}

static void progress(struct etcd_watch *w, const Etcdserverpb__WatchResponse *r)
{
    int64_t revision = r->header ? r->header->revision : 0;
    bool asked = r->watch_id == -1;
    if (revision == 0 || w->n_held > 0 ||
        (asked && w->e->endpoints[w->endpoint].exact_progress <= 0))
        return;
    advance(w, revision);
    if (w->events.on_progress)
        w->events.on_progress(w->arg, revision);
}

static void on_response(void *arg, const ProtobufCMessage *message)
{
    struct etcd_watch *w = arg;
    const Etcdserverpb__WatchResponse *r = (const void *)message;
    w->delivering = true;
    uint64_t cluster = r->header ? r->header->cluster_id : 0;
    if (cluster && w->cluster_id && cluster != w->cluster_id) {
        watch_end(w, ETCD_E_COMPACTED, "the endpoint belongs to another cluster now");
    } else if (r->canceled) {
        refused(w, r);
    } else {
        if (cluster)
            w->cluster_id = cluster;
        if (r->created) {
            w->tries = 0;
            w->reauthenticated = false;
            if (w->next == 0 && r->header)
                advance(w, r->header->revision);
            if (w->events.on_created)
                w->events.on_created(w->arg, r->header ? r->header->revision : 0);
        }
        if (!w->over && r->n_events > 0)
            deliver(w, r);
        else if (!w->over && !r->created)
            progress(w, r);
    }
    w->delivering = false;
    watch_release(w);
}

static void on_stream_end(void *arg, enum rpc_status status, const char *message)
{
    struct etcd_watch *w = arg;
    w->stream = NULL;
    bool mended = etcd_token_refused(w->e, status, message) && !w->reauthenticated;
    if (!mended && (status == RPC_PERMISSION_DENIED || status == RPC_UNAUTHENTICATED ||
                    status == RPC_INVALID_ARGUMENT)) {
        watch_end(w, etcd_code(status, message), message);
        return;
    }
    w->reauthenticated = w->reauthenticated || mended;
    retry(w);
}

static const struct rpc_stream_events stream_events = {.on_message = on_response,
                                                       .on_end = on_stream_end};

static void open_stream(struct etcd_watch *w)
{
    static const Etcdserverpb__WatchCreateRequest__FilterType filter_types[] = {
        ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT,
        ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE};
    Etcdserverpb__WatchCreateRequest__FilterType filters[2];
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    _cleanup_free_ void *buf = NULL;
    create.key = etcd_range_key(w->request.key, w->request.prefix);
    create.range_end = etcd_range_end(w->request.key, w->request.prefix, w->request.end, &buf);
    create.start_revision = w->next;
    create.progress_notify = w->request.progress_notify;
    create.prev_kv = w->request.prev;
    create.fragment = true;
    create.filters = filters;
    if (w->request.no_put)
        filters[create.n_filters++] = filter_types[0];
    if (w->request.no_delete)
        filters[create.n_filters++] = filter_types[1];
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    w->endpoint = w->e->current;
    w->stream = rpc_client_stream(w->e->endpoints[w->endpoint].client, &watch_method, &request.base,
                                  false, 0, &stream_events, w);
    rpc_stream_pause(w->stream, w->paused);
}

static void on_timer(void *arg)
{
    struct etcd_watch *w = arg;
    if (w->fatal)
        watch_end(w, w->fatal, "etcd refuses the user or the password");
    else if (etcd_ready(w->e))
        open_stream(w); /* else etcd_watch_wake() comes */
}

void etcd_watch_wake(struct etcd_watch *watch)
{
    int code = watch->e->auth_code;
    if (watch->stream)
        return;
    if (code == -EPERM || code == -EACCES || code == -EINVAL)
        watch->fatal = code;
    loop_timer_set(&watch->timer,
                   code == 0 || watch->fatal ? 0 : etcd_backoff(watch->e, ++watch->tries));
}

struct etcd_watch *etcd_watch(struct etcd *etcd, const struct etcd_watch_request *request,
                              const struct etcd_watch_events *events, void *arg)
{
    struct etcd_watch *w = mem_zalloc(sizeof(*w));
    w->e = etcd;
    w->request = *request;
    w->key = mem_dup(request->key.data, request->key.len);
    w->end = mem_dup(request->end.data, request->end.len);
    w->request.key.data = w->key;
    w->request.end.data = w->end;
    w->events = *events;
    w->arg = arg;
    w->next = request->start_revision;
    loop_timer_init(&w->timer, etcd->loop, "etcd watch", on_timer, w);
    list_append(&etcd->watches, &w->entry);
    loop_timer_set(&w->timer, 0);
    return w;
}

void etcd_watch_pause(struct etcd_watch *watch, bool paused)
{
    watch->paused = paused;
    if (watch->stream)
        rpc_stream_pause(watch->stream, paused);
}

/* ---- asking for progress ---- */
/* Whether a member of this version answers only when all changes before were sent. */
static bool exact_progress(const char *version)
{
    unsigned major = 0, minor = 0, patch = 0;
    if (sscanf(version, "%u.%u.%u", &major, &minor, &patch) < 2) // NOLINT(cert-err34-c)
        return false;
    if (major != 3 || minor >= 6)
        return major > 3 || (major == 3 && minor >= 6);
    return (minor == 4 && patch >= 25) || (minor == 5 && patch >= 8);
}

static void ask_progress(struct etcd_watch *w)
{
    Etcdserverpb__WatchProgressRequest progress_request =
        ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress_request;
    (void)rpc_stream_send(w->stream, &request.base);
}

static void on_version(void *arg, enum rpc_status status, _unused_ const char *message,
                       const ProtobufCMessage *response)
{
    struct etcd_watch *w = arg;
    w->asking = NULL;
    if (status != RPC_OK || !w->stream)
        return;
    struct endpoint *ep = &w->e->endpoints[w->endpoint];
    ep->exact_progress =
        exact_progress(((const Etcdserverpb__StatusResponse *)(const void *)response)->version)
            ? 1
            : -1;
    if (ep->exact_progress > 0)
        ask_progress(w);
}

void etcd_watch_progress(struct etcd_watch *watch)
{
    static const struct rpc_method status = {"/etcdserverpb.Maintenance/Status",
                                             &etcdserverpb__status_response__descriptor};
    if (!watch->stream || watch->asking)
        return;
    const struct endpoint *ep = &watch->e->endpoints[watch->endpoint];
    if (ep->exact_progress > 0) {
        ask_progress(watch);
    } else if (ep->exact_progress == 0) {
        Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
        watch->asking = rpc_client_call(ep->client, &status, &request.base, watch->e->deadline_ms,
                                        on_version, watch);
    }
}
