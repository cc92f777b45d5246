/* GetContainerEvents; see events.h. */
#include "cri/events.h"

#include "base/log.h"
#include "base/times.h"
#include "cri/status.h"

struct subscriber {
    struct list entry;
    struct rpc_server_call *call;
};

struct events {
    struct runtime *rt;
    struct list subscribers;
};

struct events *events_new(struct runtime *rt)
{
    struct events *ev = mem_zalloc(sizeof(*ev));
    ev->rt = rt;
    list_init(&ev->subscribers);
    return ev;
}

static void drop(struct subscriber *s)
{
    list_remove(&s->entry);
    free(s);
}

struct events *events_free(struct events *ev)
{
    if (!ev)
        return NULL;
    LIST_FOR_EACH(e, &ev->subscribers) {
        struct subscriber *s = LIST_ENTRY(e, struct subscriber, entry);
        rpc_server_fail(s->call, RPC_UNAVAILABLE, "the runtime is stopping");
        drop(s);
    }
    free(ev);
    return NULL;
}

static void on_cancel(struct rpc_server_call *call, void *arg)
{
    drop(arg);
    rpc_server_end(call);
}

void events_subscribe(struct events *ev, struct rpc_server_call *call)
{
    struct subscriber *s = mem_zalloc(sizeof(*s));
    s->call = call;
    list_append(&ev->subscribers, &s->entry);
    rpc_server_on_cancel(call, on_cancel, s);
}

void events_emit(struct events *ev, Runtime__V1__ContainerEventType type,
                 const struct sandbox *sandbox, const struct container *container)
{
    if (!ev || list_empty(&ev->subscribers))
        return;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__ContainerEventResponse r = RUNTIME__V1__CONTAINER_EVENT_RESPONSE__INIT;
    r.container_id = (char *)(uintptr_t)(container ? container->id : sandbox->id);
    r.container_event_type = type;
    r.created_at = time_now_nano();
    r.pod_sandbox_status = status_of_sandbox(&a, sandbox);
    r.containers_statuses = statuses_of_containers(&a, sandbox, &r.n_containers_statuses);
    LIST_FOR_EACH(e, &ev->subscribers) {
        struct subscriber *s = LIST_ENTRY(e, struct subscriber, entry);
        if (rpc_server_send(s->call, &r.base) == 0)
            continue;
        log_warn("a listener for container events does not keep up", NULL);
        struct rpc_server_call *call = s->call;
        drop(s);
        rpc_server_fail(call, RPC_RESOURCE_EXHAUSTED, "events were not read in time: list again");
    }
}
