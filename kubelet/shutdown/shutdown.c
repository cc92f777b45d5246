/*
 * The shutdown; see shutdown.h. A group's turn is over when nothing of it runs any more, or its
 * time is up. After the last one what was written last gets a moment to reach the API.
 */
#include "kubelet/shutdown/shutdown.h"

#include <inttypes.h>

#include "base/daemon.h"
#include "base/log.h"
#include "base/logind.h"
#include "base/strbuf.h"
#include "kubelet/node/node.h"
#include "kubelet/pods.h"

/* Upstream's words. */
#define POD_REASON  "Terminated"
#define POD_MESSAGE "Pod was terminated in response to imminent node shutdown."

#define LOOK_MS 100
#define TELL_MS 3000 /* for the last statuses */

struct node_shutdown {
    struct kubelet *k;
    struct shutdown_plan plan;
    const struct node *node;
    struct logind *logind;
    struct loop_timer timer;
    size_t group;   /* whose turn it is; plan.count: all have had it */
    uint64_t until; /* now_ms(): the end of the turn */
    bool over;      /* all has ended, and the machine was let go */
    void (*changed)(void *arg);
    void *arg;
    void (*done)(void *arg); /* SIGTERM waits for it */
    void *done_arg;
};

static void node_event(const struct node_shutdown *s, const char *text)
{
    const char *node = s->k->node_name;
    struct event_object about = {.kind = "Node", .name = node, .uid = node};
    event_record(s->k->events, &about, "Normal", "NodeShutdown", "%s", text);
}

static bool runs(const struct pod_worker *w)
{
    return w->stage == WORKER_RUN || w->stage == WORKER_STOP;
}

/* ---- groups ---- */
struct look {
    struct node_shutdown *s;
    bool end; /* the turn begins: they are to end */
    size_t running;
};

static void look_at(const struct pod_worker *w, void *arg)
{
    struct look *l = arg;
    const struct opt_int *priority = &w->pod->spec.priority;
    const struct shutdown_plan *plan = &l->s->plan;
    if (!runs(w) || shutdown_plan_group(plan, priority->set ? priority->value : 0) != l->s->group)
        return;
    int64_t seconds = plan->groups[l->s->group].seconds;
    l->running++;
    if (l->end)
        worker_terminate(pod_manager_by_uid(l->s->k->pods, w->pod->meta.uid), POD_REASON,
                         POD_MESSAGE, seconds > 0 ? seconds : 1);
}

static size_t look(struct node_shutdown *s, bool end)
{
    struct look l = {.s = s, .end = end};
    pod_manager_each(s->k->pods, look_at, &l);
    return l.running;
}

static void untold(const struct pod_worker *w, void *arg)
{
    *(bool *)arg |= !status_writer_is_current(w->status);
}

static bool all_told(const struct node_shutdown *s)
{
    bool waiting = !node_is_current(s->node) || !event_recorder_is_idle(s->k->events);
    pod_manager_each(s->k->pods, untold, &waiting);
    return !waiting;
}

static void finish(struct node_shutdown *s)
{
    s->over = true;
    log_info("pods have ended: the machine may go down", "node", s->k->node_name, NULL);
    if (s->logind)
        logind_release(s->logind);
    if (s->done)
        s->done(s->done_arg);
}

static void begin_turn(struct node_shutdown *s)
{
    for (; s->group < s->plan.count; s->group++) {
        const struct shutdown_group *g = &s->plan.groups[s->group];
        char priority[24];
        size_t running = look(s, true);
        if (!running)
            continue;
        (void)snprintf(priority, sizeof(priority), "%" PRId64, g->priority);
        log_info("pods end before the shutdown", "priority", priority, NULL);
        s->until = now_ms() + (uint64_t)g->seconds * 1000;
        return;
    }
    s->until = now_ms() + TELL_MS;
}

static void on_timer(void *arg)
{
    struct node_shutdown *s = arg;
    bool late = now_ms() >= s->until;
    if (s->group < s->plan.count && (late || !look(s, false))) {
        if (late && look(s, false))
            log_warn("pods have not ended in their time before the shutdown", NULL);
        s->group++;
        begin_turn(s);
    } else if (s->group == s->plan.count && (late || all_told(s))) {
        finish(s);
        return;
    }
    loop_timer_set(&s->timer, LOOK_MS);
}

static void begin(struct node_shutdown *s)
{
    if (s->k->shutting_down)
        return;
    log_warn("the node is shutting down", "node", s->k->node_name, NULL);
    s->k->shutting_down = true;
    s->over = false;
    node_event(s, "Shutdown manager detected shutdown event");
    s->changed(s->arg);
    s->group = 0;
    begin_turn(s);
    loop_timer_set(&s->timer, LOOK_MS);
}

/* ---- logind ---- */
static void on_shutdown(void *arg, bool begins)
{
    struct node_shutdown *s = arg;
    if (begins) {
        begin(s);
        return;
    }
    if (s->done)
        return; /* we end all the same */
    log_warn("the shutdown was called off", "node", s->k->node_name, NULL);
    node_event(s, "Shutdown manager detected shutdown cancellation");
    loop_timer_stop(&s->timer);
    s->over = false;
    s->k->shutting_down = false;
    s->changed(s->arg);
}

static void on_logind(_unused_ void *arg, bool held, const struct error *why)
{
    if (!held)
        log_warn("no inhibitor lock is held: at SIGTERM pods end with the kubelet", "error",
                 error_text(why), NULL);
    else if (why)
        log_warn("a shutdown may come before all pods have had their time", "error",
                 error_text(why), NULL);
    else
        log_info("shutdowns of the machine wait for its pods", NULL);
}

static const struct logind_ops logind_events = {.shutdown = on_shutdown, .changed = on_logind};

static struct logind *open_logind(struct node_shutdown *s)
{
    const char *given = getenv("DBUS_SYSTEM_BUS_ADDRESS");
    _cleanup_free_ char *socket = daemon_path(s->k->root, "/run/dbus/system_bus_socket");
    _cleanup_free_ char *address = given ? str_dup(given) : str_printf("unix:path=%s", socket);
    _cleanup_free_ char *override = daemon_path(s->k->root, LOGIND_OVERRIDE);
    struct logind_options options = {.address = address,
                                     .override = override,
                                     .who = "kubelet",
                                     .why = "Kubelet needs time to handle node shutdown",
                                     .delay_ms = (uint64_t)shutdown_plan_seconds(&s->plan) * 1000};
    return logind_new(s->k->loop, &options, &logind_events, s);
}

struct node_shutdown *node_shutdown_new(struct kubelet *k, const struct shutdown_plan *plan,
                                        const struct node *node, void (*changed)(void *arg),
                                        void *arg)
{
    if (!plan->count)
        return NULL;
    struct node_shutdown *s = mem_zalloc(sizeof(*s));
    s->k = k;
    s->plan = *plan;
    s->node = node;
    s->changed = changed;
    s->arg = arg;
    loop_timer_init(&s->timer, k->loop, "node shutdown", on_timer, s);
    s->logind = open_logind(s);
    return s;
}

struct node_shutdown *node_shutdown_free(struct node_shutdown *s)
{
    if (!s)
        return NULL;
    s->logind = logind_free(s->logind);
    loop_timer_done(&s->timer);
    free(s);
    return NULL;
}

bool node_shutdown_term(struct node_shutdown *s, void (*done)(void *arg), void *arg)
{
    /* A second one is meant. */
    if (!s || s->over || s->done || logind_holds(s->logind))
        return false;
    s->done = done;
    s->done_arg = arg;
    begin(s);
    return true;
}
