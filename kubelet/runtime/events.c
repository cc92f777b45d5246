/*
 * The runtime's events. What is kept per sandbox and container is its id, its pod and its state:
 * enough to see from a list what has changed and what is gone.
 */
#include "kubelet/runtime/events.h"

#include "base/loop.h"
#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "kubelet/runtime/message.h"

#define POLL_MS          1000
#define RESYNC_MS        300000
#define RECONNECT_MS     200
#define RECONNECT_MAX_MS 2000

struct item {
    char *uid;
    bool sandbox;
    int state; /* -1: not known */
    uint32_t seen;
};

/* One list with the status calls that it leads to. */
struct listing {
    struct list entry;
    struct runtime_events *e;
    char *uid; /* NULL: everything */
    struct list asks;
    uint32_t generation;
    bool failed;
};
struct ask {
    struct list entry;
    struct listing *l;
    struct runtime_call *call;
    char *uid, *sandbox, *id;
};

struct runtime_events {
    struct kubelet *k;
    struct rpc_client *client;
    struct rpc_stream *stream;
    const struct runtime_events_ops *ops;
    void *arg;
    struct map items; /* id → struct item */
    struct map again; /* uids to be asked about when the runtime is back */
    struct list listings;
    struct loop_timer timer;
    uint64_t reconnect_ms;
    uint32_t generation;
    bool no_events, connected, listed, complained;
};

static const struct rpc_method events_method = {"/runtime.v1.RuntimeService/GetContainerEvents",
                                                &runtime__v1__container_event_response__descriptor};

static void start_listing(struct runtime_events *e, const char *uid);
static void on_timer(void *arg);

static void item_free(void *value)
{
    struct item *i = value;
    free(i->uid);
    free(i);
}

/* Remembers; true when the state is new. */
static bool note(struct runtime_events *e, const char *id, const char *uid, bool sandbox, int state)
{
    struct item *i = map_get(&e->items, id);
    if (!i) {
        i = mem_zalloc(sizeof(*i));
        i->uid = str_dup(uid);
        i->sandbox = sandbox;
        i->state = -1;
        map_set(&e->items, id, i);
    }
    i->seen = e->generation;
    bool changed = i->state != state;
    i->state = state;
    return changed;
}

static void forget(struct runtime_events *e, const char *id)
{
    struct item *i = map_take(&e->items, id);
    if (!i)
        return;
    e->ops->gone(e->arg, i->uid, id);
    item_free(i);
}

bool runtime_events_knows(const struct runtime_events *e, const char *uid)
{
    MAP_FOR_EACH(m, &e->items) {
        const struct item *i = map_value(m);
        if (str_eq(i->uid, uid))
            return true;
    }
    return false;
}

void runtime_events_each(const struct runtime_events *e, void (*fn)(const char *uid, void *arg),
                         void *arg)
{
    MAP_FOR_EACH(m, &e->items)
        fn(((const struct item *)map_value(m))->uid, arg);
}

void runtime_events_sandboxes(const struct runtime_events *e, const char *uid,
                              void (*fn)(const char *id, void *arg), void *arg)
{
    MAP_FOR_EACH(m, &e->items) {
        const struct item *i = map_value(m);
        if (i->sandbox && str_eq(i->uid, uid))
            fn(map_key(m), arg);
    }
}

bool runtime_events_connected(const struct runtime_events *e)
{
    return e->connected;
}

/* ---- listing ---- */
static void ask_free(struct ask *a)
{
    runtime_cancel(a->l->e->k->runtime, &a->call);
    list_remove(&a->entry);
    free(a->uid);
    free(a->sandbox);
    free(a->id);
    free(a);
}

static void listing_free(struct listing *l)
{
    LIST_FOR_EACH(x, &l->asks)
        ask_free(LIST_ENTRY(x, struct ask, entry));
    list_remove(&l->entry);
    free(l->uid);
    free(l);
}

/* What a complete list did not show is gone. */
static void sweep(struct runtime_events *e, const struct listing *l)
{
    MAP_FOR_EACH(m, &e->items) {
        const struct item *i = map_value(m);
        if (i->seen < l->generation && (!l->uid || str_eq(l->uid, i->uid))) {
            _cleanup_free_ char *id = str_dup(map_key(m));
            forget(e, id);
        }
    }
}

static void ask_done(struct ask *a)
{
    struct listing *l = a->l;
    struct runtime_events *e = l->e;
    ask_free(a);
    if (!list_empty(&l->asks))
        return;
    _cleanup_free_ char *uid = str_dup(l->uid);
    bool failed = l->failed;
    if (!failed)
        sweep(e, l);
    listing_free(l);
    if (uid && failed) {
        map_set(&e->again, uid, e);
        if (!loop_timer_armed(&e->timer))
            loop_timer_set(&e->timer, POLL_MS);
        return;
    }
    if (uid) {
        e->ops->refreshed(e->arg, uid);
        return;
    }
    e->connected = !failed;
    if (failed) {
        loop_timer_set(&e->timer, POLL_MS);
        return;
    }
    loop_timer_set(&e->timer, e->no_events ? POLL_MS : RESYNC_MS);
    if (!e->listed) {
        e->listed = true;
        e->ops->listed(e->arg);
    }
}

static struct ask *ask_new(struct listing *l, const char *uid, const char *sandbox, const char *id)
{
    struct ask *a = mem_zalloc(sizeof(*a));
    a->l = l;
    a->uid = str_dup(uid);
    a->sandbox = str_dup(sandbox);
    a->id = str_dup(id);
    list_append(&l->asks, &a->entry);
    return a;
}

static void on_sandbox_status(void *arg, enum rpc_status status, const char *message,
                              const ProtobufCMessage *response)
{
    struct ask *a = arg;
    const Runtime__V1__PodSandboxStatusResponse *r = (const void *)response;
    (void)message;
    a->call = NULL;
    if (status == RPC_OK && r->status)
        a->l->e->ops->sandbox(a->l->e->arg, a->uid, r->status);
    else if (status == RPC_NOT_FOUND)
        forget(a->l->e, a->id);
    else
        a->l->failed = true;
    ask_done(a);
}

static void on_container_status(void *arg, enum rpc_status status, const char *message,
                                const ProtobufCMessage *response)
{
    struct ask *a = arg;
    const Runtime__V1__ContainerStatusResponse *r = (const void *)response;
    (void)message;
    a->call = NULL;
    if (status == RPC_OK && r->status)
        a->l->e->ops->container(a->l->e->arg, a->uid, a->sandbox, r->status);
    else if (status == RPC_NOT_FOUND)
        forget(a->l->e, a->id);
    else
        a->l->failed = true;
    ask_done(a);
}

static void complain(struct runtime_events *e, const char *message)
{
    if (!e->complained)
        log_warn("the container runtime does not answer", "error", message, NULL);
    e->complained = true;
    e->connected = false;
}

static void on_containers(void *arg, enum rpc_status status, const char *message,
                          const ProtobufCMessage *response)
{
    struct ask *a = arg;
    struct listing *l = a->l;
    const Runtime__V1__ListContainersResponse *r = (const void *)response;
    a->call = NULL;
    if (status != RPC_OK) {
        complain(l->e, message);
        l->failed = true;
    }
    for (size_t i = 0; status == RPC_OK && i < r->n_containers; i++) {
        const Runtime__V1__Container *c = r->containers[i];
        const char *uid = message_map_get(c->n_labels, c->labels, LABEL_POD_UID);
        if (!uid || (!note(l->e, c->id, uid, false, (int)c->state) && !l->uid))
            continue;
        Runtime__V1__ContainerStatusRequest q = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
        struct ask *next = ask_new(l, uid, c->pod_sandbox_id, c->id);
        q.container_id = next->id;
        next->call = runtime_call(l->e->k->runtime, CRI_CONTAINER_STATUS, &q.base, CRI_DEADLINE_MS,
                                  on_container_status, next);
    }
    ask_done(a);
}

/* Containers are listed once the sandboxes are known, so that each finds its pod. */
static void list_containers(struct listing *l)
{
    Runtime__V1__ListContainersRequest *q =
        message_new(&runtime__v1__list_containers_request__descriptor);
    if (l->uid) {
        q->filter = message_new(&runtime__v1__container_filter__descriptor);
        message_map_put(&q->filter->n_label_selector, &q->filter->label_selector,
                        &runtime__v1__container_filter__label_selector_entry__descriptor,
                        LABEL_POD_UID, l->uid);
    }
    struct ask *a = ask_new(l, NULL, NULL, NULL);
    a->call = runtime_call(l->e->k->runtime, CRI_LIST_CONTAINERS, &q->base, CRI_DEADLINE_MS,
                           on_containers, a);
    message_free(q);
}

static void on_sandboxes(void *arg, enum rpc_status status, const char *message,
                         const ProtobufCMessage *response)
{
    struct ask *a = arg;
    struct listing *l = a->l;
    const Runtime__V1__ListPodSandboxResponse *r = (const void *)response;
    a->call = NULL;
    if (status != RPC_OK) {
        complain(l->e, message);
        l->failed = true;
        ask_done(a);
        return;
    }
    l->e->complained = false;
    for (size_t i = 0; i < r->n_items; i++) {
        const Runtime__V1__PodSandbox *s = r->items[i];
        const char *uid = s->metadata ? s->metadata->uid : "";
        if (!*uid || (!note(l->e, s->id, uid, true, (int)s->state) && !l->uid))
            continue;
        Runtime__V1__PodSandboxStatusRequest q = RUNTIME__V1__POD_SANDBOX_STATUS_REQUEST__INIT;
        struct ask *next = ask_new(l, uid, s->id, s->id);
        q.pod_sandbox_id = next->id;
        next->call = runtime_call(l->e->k->runtime, CRI_POD_SANDBOX_STATUS, &q.base,
                                  CRI_DEADLINE_MS, on_sandbox_status, next);
    }
    list_containers(l);
    ask_done(a);
}

static void start_listing(struct runtime_events *e, const char *uid)
{
    struct listing *l = mem_zalloc(sizeof(*l));
    l->e = e;
    l->uid = str_dup(uid);
    l->generation = ++e->generation;
    list_init(&l->asks);
    list_append(&e->listings, &l->entry);
    Runtime__V1__ListPodSandboxRequest *q =
        message_new(&runtime__v1__list_pod_sandbox_request__descriptor);
    if (uid) {
        q->filter = message_new(&runtime__v1__pod_sandbox_filter__descriptor);
        message_map_put(&q->filter->n_label_selector, &q->filter->label_selector,
                        &runtime__v1__pod_sandbox_filter__label_selector_entry__descriptor,
                        LABEL_POD_UID, uid);
    }
    struct ask *a = ask_new(l, NULL, NULL, NULL);
    a->call = runtime_call(e->k->runtime, CRI_LIST_POD_SANDBOX, &q->base, CRI_DEADLINE_MS,
                           on_sandboxes, a);
    message_free(q);
}

void runtime_events_refresh(struct kubelet *k, const char *uid)
{
    struct runtime_events *e = k->runtime_events;
    if (!e)
        return;
    LIST_FOR_EACH(x, &e->listings) {
        if (str_eq(LIST_ENTRY(x, struct listing, entry)->uid, uid))
            return; /* being asked already */
    }
    start_listing(e, uid);
}

/* ---- the stream ---- */
static const char *uid_of(const struct runtime_events *e,
                          const Runtime__V1__ContainerEventResponse *m)
{
    const Runtime__V1__PodSandboxStatus *s = m->pod_sandbox_status;
    if (s && s->metadata && *s->metadata->uid)
        return s->metadata->uid;
    const struct item *i = map_get(&e->items, m->container_id);
    return i ? i->uid : NULL;
}

static void on_event(void *arg, const ProtobufCMessage *message)
{
    struct runtime_events *e = arg;
    const Runtime__V1__ContainerEventResponse *m = (const void *)message;
    const Runtime__V1__PodSandboxStatus *s = m->pod_sandbox_status;
    const char *uid = uid_of(e, m);
    e->connected = true;
    e->reconnect_ms = RECONNECT_MS;
    if (!uid)
        return;
    bool deleted =
        m->container_event_type == RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_DELETED_EVENT;
    if (s && *s->id && !(deleted && str_eq(s->id, m->container_id))) {
        (void)note(e, s->id, uid, true, (int)s->state);
        e->ops->sandbox(e->arg, uid, s);
    }
    for (size_t i = 0; i < m->n_containers_statuses; i++) {
        const Runtime__V1__ContainerStatus *c = m->containers_statuses[i];
        if (deleted && str_eq(c->id, m->container_id))
            continue;
        (void)note(e, c->id, uid, false, (int)c->state);
        e->ops->container(e->arg, uid, s ? s->id : "", c);
    }
    if (deleted)
        forget(e, m->container_id);
}

static void on_stream_end(void *arg, enum rpc_status status, const char *message)
{
    struct runtime_events *e = arg;
    e->stream = NULL;
    if (status == RPC_UNIMPLEMENTED) {
        e->no_events = true;
        log_info("the container runtime has no events: it is asked every second", NULL);
        loop_timer_set(&e->timer, POLL_MS);
        return;
    }
    complain(e, message);
    loop_timer_set(&e->timer, e->reconnect_ms);
    e->reconnect_ms =
        e->reconnect_ms >= RECONNECT_MAX_MS / 2 ? RECONNECT_MAX_MS : e->reconnect_ms * 2;
}

static const struct rpc_stream_events stream_events = {.on_message = on_event,
                                                       .on_end = on_stream_end};

static void on_timer(void *arg)
{
    struct runtime_events *e = arg;
    if (!e->no_events && !e->stream) {
        Runtime__V1__GetEventsRequest q = RUNTIME__V1__GET_EVENTS_REQUEST__INIT;
        rpc_client_reset_backoff(e->client);
        e->stream =
            rpc_client_stream(e->client, &events_method, &q.base, true, 0, &stream_events, e);
    }
    struct map again = e->again;
    e->again = (struct map)MAP_INIT(NULL);
    MAP_FOR_EACH(m, &again)
        runtime_events_refresh(e->k, map_key(m));
    map_clear(&again);
    LIST_FOR_EACH(x, &e->listings) {
        if (!LIST_ENTRY(x, struct listing, entry)->uid)
            return; /* one is under way and sets the timer */
    }
    start_listing(e, NULL);
}

struct runtime_events *runtime_events_new(struct kubelet *k, struct rpc_client *client,
                                          const struct runtime_events_ops *ops, void *arg)
{
    struct runtime_events *e = mem_zalloc(sizeof(*e));
    e->k = k;
    e->client = client;
    e->ops = ops;
    e->arg = arg;
    e->reconnect_ms = RECONNECT_MS;
    e->items = (struct map)MAP_INIT(item_free);
    list_init(&e->listings);
    loop_timer_init(&e->timer, k->loop, "runtime events", on_timer, e);
    loop_timer_set(&e->timer, 0);
    return e;
}

struct runtime_events *runtime_events_free(struct runtime_events *e)
{
    if (!e)
        return NULL;
    LIST_FOR_EACH(x, &e->listings)
        listing_free(LIST_ENTRY(x, struct listing, entry));
    rpc_stream_cancel(e->stream);
    loop_timer_done(&e->timer);
    map_clear(&e->items);
    map_clear(&e->again);
    free(e);
    return NULL;
}
