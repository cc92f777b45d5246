/*
 * What the runtime says → what the worker knows. Observations may be late, repeated, or cross the
 * answers to our own calls: a run only ever moves forward (created → running → exited).
 */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/runtime/message.h"
#include "kubelet/worker/worker.h"

struct container_run *run_free(struct container_run *r)
{
    if (!r)
        return NULL;
    free(r->id);
    free(r->sandbox);
    free(r->image);
    free(r->image_id);
    free(r->reason);
    free(r->message);
    free(r->message_file);
    free(r->stop_signal);
    free(r);
    return NULL;
}

struct container_slot *worker_slot(const struct pod_worker *w, const char *name)
{
    for (size_t i = 0; i < w->n_slots; i++)
        if (str_eq(slot_spec(w->slots[i])->name, name))
            return w->slots[i];
    return NULL;
}

static void replace(char **field, const char *value)
{
    if (str_eq(*field, value))
        return;
    free(*field);
    *field = value && *value ? str_dup(value) : NULL;
}

/* ---- sandboxes ---- */
static bool known_old(const struct pod_worker *w, const char *id)
{
    return string_list_has(&w->old_sandboxes, id);
}

static void keep_old(struct pod_worker *w, const char *id)
{
    if (!id || known_old(w, id))
        return;
    w->old_sandboxes.items =
        mem_grow(w->old_sandboxes.items, w->old_sandboxes.count + 1, sizeof(char *));
    w->old_sandboxes.items[w->old_sandboxes.count++] = str_dup(id);
}

static void set_ips(struct pod_sandbox *s, const Runtime__V1__PodSandboxNetworkStatus *n)
{
    if (!n)
        return;
    struct strbuf all = STRBUF_INIT;
    strbuf_adds(&all, n->ip);
    for (size_t i = 0; i < n->n_additional_ips && i < 8; i++)
        strbuf_addf(&all, ",%s", n->additional_ips[i]->ip);
    replace(&s->ip, n->ip);
    replace(&s->ips, strbuf_text(&all));
    strbuf_done(&all);
}

void worker_observe_sandbox(struct pod_worker *w, const Runtime__V1__PodSandboxStatus *s)
{
    uint32_t attempt = s->metadata ? s->metadata->attempt : 0;
    bool ready = s->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY;
    if (known_old(w, s->id))
        return;
    if (w->sandbox.id && !str_eq(w->sandbox.id, s->id)) {
        bool newer = attempt > w->sandbox.attempt;
        keep_old(w, newer ? w->sandbox.id : s->id);
        if (!newer) {
            worker_kick(w);
            return;
        }
    }
    if (!str_eq(w->sandbox.id, s->id)) {
        replace(&w->sandbox.id, s->id);
        w->sandbox.attempt = attempt;
        w->sandbox.state = ready ? SANDBOX_READY : SANDBOX_DEAD;
    }
    w->sandbox.created = s->created_at;
    if (ready && w->sandbox.state != SANDBOX_DEAD) {
        if (w->sandbox.state == SANDBOX_NONE)
            w->sandbox.state = SANDBOX_READY;
        set_ips(&w->sandbox, s->network);
    }
    if (!ready && (w->sandbox.state == SANDBOX_READY || w->sandbox.state == SANDBOX_NONE)) {
        w->sandbox.state = SANDBOX_DEAD;
        /* What failed in it need not wait before it is tried in the next one. */
        for (size_t i = 0; i < w->n_slots; i++)
            w->slots[i]->retry_at = 0;
    }
    worker_kick(w);
}

/* ---- containers ---- */
static enum run_state state_of(const Runtime__V1__ContainerStatus *c)
{
    switch (c->state) {
    case RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED:
        return RUN_CREATED;
    case RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING:
        return RUN_RUNNING;
    default:
        return RUN_EXITED;
    }
}

static uint32_t restart_of(const Runtime__V1__ContainerStatus *c)
{
    const char *text = message_map_get(c->n_annotations, c->annotations, ANNOTATION_RESTARTS);
    return text ? (uint32_t)strtoul(text, NULL, 10) : c->metadata ? c->metadata->attempt : 0;
}

static void read_annotations(struct container_run *r, const Runtime__V1__ContainerStatus *c)
{
    const char *path = message_map_get(c->n_annotations, c->annotations, ANNOTATION_MESSAGE_PATH);
    for (size_t i = 0; path && i < c->n_mounts; i++)
        if (str_eq(c->mounts[i]->container_path, path))
            replace(&r->message_file, c->mounts[i]->host_path);
    r->message_from_log =
        str_eq(message_map_get(c->n_annotations, c->annotations, ANNOTATION_MESSAGE_POLICY),
               "FallbackToLogsOnError");
    const char *hash = message_map_get(c->n_annotations, c->annotations, ANNOTATION_HASH);
    if (hash)
        (void)snprintf(r->hash, sizeof(r->hash), "%.8s", hash);
}

/* What a container found running has. Unless a resize was under way it is what was set aside:
 * runtimes tell rounded numbers. */
static void read_limits(const struct container_slot *s, struct container_run *r,
                        const Runtime__V1__ContainerStatus *c)
{
    if (r->applied_known)
        return;
    r->applied = container_limits_of(slot_spec(s));
    if (s->w->resizing && c->resources && c->resources->linux) {
        const Runtime__V1__LinuxContainerResources *l = c->resources->linux;
        r->applied = (struct container_limits){
            .shares = l->cpu_shares,
            .quota = l->cpu_quota > 0 ? l->cpu_quota : 0,
            .memory = l->memory_limit_in_bytes > 0 ? l->memory_limit_in_bytes : 0};
    }
    r->applied_known = true;
}

static void read_run(const struct container_slot *s, struct container_run *r,
                     const Runtime__V1__ContainerStatus *c)
{
    enum run_state state = state_of(c);
    if (c->created_at)
        r->created = c->created_at;
    if (c->started_at)
        r->started = c->started_at;
    replace(&r->image_id, *c->image_ref ? c->image_ref : c->image_id);
    if (c->image && *c->image->user_specified_image)
        replace(&r->image, c->image->user_specified_image);
    else if (c->image && !r->image)
        replace(&r->image, c->image->image);
    read_annotations(r, c);
    read_limits(s, r, c);
    const ProtobufCEnumValue *signal =
        protobuf_c_enum_descriptor_get_value(&runtime__v1__signal__descriptor, (int)c->stop_signal);
    if (signal && signal->value)
        replace(&r->stop_signal, signal->name);
    if (state < r->state)
        return;
    if (state == RUN_EXITED && (r->state != RUN_EXITED || !r->finished)) {
        r->exit_code = c->exit_code;
        r->finished = c->finished_at;
        replace(&r->reason, c->reason);
        replace(&r->message, c->message);
        if (!r->message) {
            char *text = run_termination_message(s, r);
            replace(&r->message, text);
            free(text);
        }
    }
    r->state = state;
}

/* The back-off as it must have been, after a restart of the kubelet. */
static void restore_backoff(struct container_slot *s)
{
    if (!s->restarts.delay_ms && s->run->restart)
        s->restarts = backoff_restore(s->run->restart, s->run->started / 1000000);
}

static struct container_run *find_run(const struct container_slot *s, const char *id)
{
    if (s->run && str_eq(s->run->id, id))
        return s->run;
    return s->last && str_eq(s->last->id, id) ? s->last : NULL;
}

/* Finds the place of a container that was not known: after a restart of the kubelet they come in
 * any order. The highest restart count is current, the one below it the last; others go. */
static struct container_run *place_run(struct container_slot *s, const char *id, uint32_t restart)
{
    struct container_run *r = mem_zalloc(sizeof(*r));
    r->id = str_dup(id);
    r->restart = restart;
    struct container_run *loser = NULL;
    if (!s->run || restart >= s->run->restart) {
        loser = s->last;
        s->last = s->run;
        s->run = r;
    } else if (!s->last || restart > s->last->restart) {
        loser = s->last;
        s->last = r;
    } else {
        loser = r;
        r = NULL;
    }
    if (loser) {
        worker_remove_container(s->w, loser->id);
        run_free(loser);
    }
    return r;
}

void worker_observe_container(struct pod_worker *w, const char *sandbox,
                              const Runtime__V1__ContainerStatus *c)
{
    const char *name = c->metadata ? c->metadata->name : "";
    struct container_slot *s = worker_slot(w, name);
    if (!s)
        return;
    struct container_run *r = find_run(s, c->id);
    bool first = !r;
    /* Our own CreateContainer has not answered yet: its answer brings the id. */
    if (!r && s->step == SLOT_CREATE && state_of(c) == RUN_CREATED)
        return;
    if (!r)
        r = place_run(s, c->id, restart_of(c));
    if (!r)
        return;
    enum run_state before = r->state;
    if (!r->sandbox)
        r->sandbox = str_dup(sandbox);
    read_run(s, r, c);
    if (first && r == s->run)
        restore_backoff(s);
    if (r == s->run && r->state == RUN_EXITED && (first || before != RUN_EXITED)) {
        s->probes = probe_set_free(s->probes);
        s->kill_event = NULL;
    }
    worker_kick(w);
}

static void drop_old(struct pod_worker *w, const char *id)
{
    struct string_list *l = &w->old_sandboxes;
    for (size_t i = 0; i < l->count; i++) {
        if (!str_eq(l->items[i], id))
            continue;
        free(l->items[i]);
        memmove(&l->items[i], &l->items[i + 1], (--l->count - i) * sizeof(char *));
        return;
    }
}

/* A container that vanished while we believed that it ran: somebody removed it behind our back. */
static void lose_run(struct container_slot *s)
{
    struct container_run *r = s->run;
    if (r->state != RUN_EXITED) {
        r->state = RUN_EXITED;
        r->exit_code = 137;
        r->finished = time_now_nano();
        replace(&r->reason, "ContainerStatusUnknown");
        replace(&r->message, "The container could not be located when the pod was terminated");
        s->probes = probe_set_free(s->probes);
        s->kill_event = NULL;
    }
}

void worker_observe_gone(struct pod_worker *w, const char *id)
{
    drop_old(w, id);
    if (str_eq(w->sandbox.id, id) && w->sandbox.state != SANDBOX_STARTING) {
        w->sandbox.state = SANDBOX_NONE;
        replace(&w->sandbox.id, NULL);
    }
    for (size_t i = 0; i < w->n_slots; i++) {
        struct container_slot *s = w->slots[i];
        if (s->run && str_eq(s->run->id, id))
            lose_run(s);
    }
    worker_kick(w);
}
