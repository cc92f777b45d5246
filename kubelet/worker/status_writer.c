/*
 * Keeps the status in the API equal to what the worker knows, with as few writes as that takes:
 * one patch under way at a time, holding only what differs from what the API has; what changes
 * meanwhile goes with the next one. A pod that is only getting started may wait a moment, because
 * most of them are running before it is over; everything else goes at once.
 */
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/worker/worker.h"

#define PENDING_DELAY_MS 200
#define RETRY_MAX_MS     10000

struct status_writer {
    struct pod_worker *w;
    char *known; /* the status that the API has, encoded; NULL: not known */
    char *sent;  /* what we wrote last, encoded */
    struct kube_call *call;
    struct loop_timer timer;
    uint32_t failures;
    bool gone; /* the API has no such object */
    void (*deleted)(void *arg);
    void *deleted_arg;
};

static void step(struct status_writer *s);

/* The object in the API: the pod itself, or the mirror of a static one; NULL when there is none. */
static const struct pod *target(const struct status_writer *s)
{
    if (!s->w->k->api || s->gone)
        return NULL;
    return s->w->pod->source == POD_FROM_API ? s->w->pod : s->w->mirror;
}

static char *encode(const json_t *j)
{
    struct strbuf out = STRBUF_INIT;
    json_encode(j, &out);
    return strbuf_take(&out);
}

static void on_timer(void *arg)
{
    step(arg);
}

struct status_writer *status_writer_new(struct pod_worker *w)
{
    struct status_writer *s = mem_zalloc(sizeof(*s));
    s->w = w;
    loop_timer_init(&s->timer, w->k->loop, "status", on_timer, s);
    status_writer_observe(s, w->pod);
    return s;
}

struct status_writer *status_writer_free(struct status_writer *s)
{
    if (!s)
        return NULL;
    kube_call_cancel(s->call);
    loop_timer_done(&s->timer);
    free(s->known);
    free(s->sent);
    free(s);
    return NULL;
}

/* ---- differences ---- */

/* Whether all of @want is in @have. What is empty or null may be absent. */
static bool covers(const json_t *have, const json_t *want) // NOLINT(misc-no-recursion)
{
    const char *key;
    json_t *value;
    if (json_is_null(want) || (json_is_object(want) && !json_object_size(want)))
        return !have || json_is_null(have) || (json_is_object(have) && !json_object_size(have));
    if (json_is_object(want)) {
        json_object_foreach((json_t *)(uintptr_t)want, key, value) {
            if (!covers(json_object_get(have, key), value))
                return false;
        }
        return json_is_object(have);
    }
    if (json_is_array(want)) {
        if (json_array_size(have) != json_array_size(want))
            return false;
        for (size_t i = 0; i < json_array_size(want); i++)
            if (!covers(json_array_get(have, i), json_array_get(want, i)))
                return false;
        return true;
    }
    return json_equal(have, want);
}

static const json_t *by_type(const json_t *list, const char *type)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (str_eq(json_path_string(json_array_get(list, i), "type"), type))
            return json_array_get(list, i);
    return NULL;
}

static json_t *changed_conditions(const json_t *have, const json_t *want)
{
    static const char *const optional[] = {"reason", "message"};
    static const char *const passing[] = {"PodResizePending", "PodResizeInProgress"};
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(want); i++) {
        json_t *c = json_array_get(want, i);
        const json_t *old = by_type(have, json_path_string(c, "type"));
        _cleanup_json_ json_t *patch = json_copy(c);
        bool stale = false;
        for (size_t k = 0; k < ARRAY_SIZE(optional); k++) {
            if (!json_object_get(old, optional[k]) || json_object_get(c, optional[k]))
                continue;
            stale = true;
            (void)json_object_set_new(patch, optional[k], json_null());
        }
        if (!old || stale || !covers(old, c))
            (void)json_array_append(out, patch);
    }
    /* Conditions of ours that hold no longer are not there. */
    for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
        if (by_type(have, passing[i]) && !by_type(want, passing[i]))
            (void)json_array_append_new(
                out, json_pack("{s:s,s:s}", "$patch", "delete", "type", passing[i]));
    return out;
}

/* The list of IPs is merged by key, so an old one must be replaced as a whole. */
static json_t *replaced_list(const json_t *have, json_t *want)
{
    json_t *out = json_deep_copy(want);
    if (json_array_size(have))
        (void)json_array_insert_new(out, 0, json_pack("{s:s}", "$patch", "replace"));
    return out;
}

/* NULL when there is nothing to write. */
static json_t *difference(const json_t *have, const json_t *want)
{
    static const char *const ours[] = {"reason", "message", "podIP", "podIPs"};
    json_t *out = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)want, key, value) {
        const json_t *old = json_object_get(have, key);
        if (str_eq(key, "conditions")) {
            json_t *list = changed_conditions(old, value);
            if (json_array_size(list))
                (void)json_object_set(out, key, list);
            json_decref(list);
        } else if (!covers(old, value)) {
            bool merged = str_eq(key, "podIPs") || str_eq(key, "hostIPs");
            (void)json_object_set_new(out, key,
                                      merged ? replaced_list(old, value) : json_incref(value));
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
        const json_t *old = json_object_get(have, ours[i]);
        if (old && !json_is_null(old) && !json_object_get(want, ours[i]))
            (void)json_object_set_new(out, ours[i], json_null());
    }
    if (json_object_size(out))
        return out;
    json_decref(out);
    return NULL;
}

/* ---- writing ---- */
/* The object is gone; nothing is written after this. */
static void report_deleted(struct status_writer *s)
{
    void (*deleted)(void *arg) = s->deleted;
    s->deleted = NULL;
    s->gone = true;
    deleted(s->deleted_arg);
}

static void retry_later(struct status_writer *s)
{
    uint64_t ms = 200ULL << (s->failures < 6 ? s->failures : 6);
    s->failures++;
    loop_timer_set(&s->timer, ms > RETRY_MAX_MS ? RETRY_MAX_MS : ms);
}

static void on_patched(const struct kube_result *r, void *arg)
{
    struct status_writer *s = arg;
    char label[POD_LABEL_MAX];
    s->call = NULL;
    if (r->status >= 200 && r->status < 300) {
        const json_t *status = json_object_get(r->body, "status");
        s->failures = 0;
        free(s->known);
        s->known = status ? encode(status) : NULL;
        step(s);
    } else if (r->status == 404 || (r->status == 409 && strstr(r->error, "UID"))) {
        s->gone = true;
        step(s);
    } else {
        if (!s->failures || r->status)
            log_warn("status cannot be written", "pod", pod_label(s->w->pod, label), "error",
                     r->error, NULL);
        free(s->sent);
        s->sent = NULL;
        retry_later(s);
    }
}

static void send_patch(struct status_writer *s, const struct pod *pod, json_t *difference)
{
    _cleanup_free_ char *path = kube_path("v1", pod->meta.ns, "pods", pod->meta.name, "status");
    _cleanup_json_ json_t *patch =
        json_pack("{s:{s:s},s:O}", "metadata", "uid", pod->meta.uid, "status", difference);
    s->call = kube_patch(s->w->k->api, path, KUBE_PATCH_STRATEGIC, patch, on_patched, s);
}

static void on_deleted(const struct kube_result *r, void *arg)
{
    struct status_writer *s = arg;
    char label[POD_LABEL_MAX];
    s->call = NULL;
    if ((r->status >= 200 && r->status < 300) || r->status == 404 || r->status == 409) {
        report_deleted(s);
        return;
    }
    if (!s->failures || r->status)
        log_warn("pod cannot be deleted from the API", "pod", pod_label(s->w->pod, label), "error",
                 r->error, NULL);
    retry_later(s);
}

static void send_delete(struct status_writer *s, const struct pod *pod)
{
    _cleanup_free_ char *path = kube_path("v1", pod->meta.ns, "pods", pod->meta.name, NULL);
    _cleanup_json_ json_t *options =
        json_pack("{s:s,s:s,s:i,s:{s:s}}", "kind", "DeleteOptions", "apiVersion", "v1",
                  "gracePeriodSeconds", 0, "preconditions", "uid", pod->meta.uid);
    s->call = kube_delete(s->w->k->api, path, options, on_deleted, s);
}

/* A pod on its way up with nothing to tell: its state is worth a write only if it stays. */
static bool may_wait(const struct pod_worker *w)
{
    if (w->stage != WORKER_RUN || w->failed_reason || !str_eq(worker_phase(w), "Pending"))
        return false;
    for (size_t i = 0; i < w->n_slots; i++)
        if (w->slots[i]->wait_reason)
            return false;
    return true;
}

static void step(struct status_writer *s)
{
    const struct pod *pod = target(s);
    if (s->call)
        return;
    _cleanup_json_ json_t *want = pod ? worker_status(s->w) : NULL;
    _cleanup_free_ char *text = want ? encode(want) : NULL;
    if (pod && !str_eq(text, s->sent)) {
        _cleanup_json_ json_t *have =
            s->known ? json_parse(s->known, strlen(s->known), NULL) : NULL;
        _cleanup_json_ json_t *patch = difference(have, want);
        free(s->sent);
        s->sent = TAKE_PTR(text);
        if (patch) {
            send_patch(s, pod, patch);
            return;
        }
    }
    if (s->deleted && pod)
        send_delete(s, pod);
    else if (s->deleted)
        report_deleted(s);
}

/* Everything of a pod on its way out has ended: the last status follows in a moment, with the
 * sandbox gone too, and the deletion waits for it. */
static bool about_to_end(const struct pod_worker *w)
{
    if (!w->removed || w->stage != WORKER_STOP)
        return false;
    for (size_t i = 0; i < w->n_slots; i++)
        if (slot_is_running(w->slots[i]))
            return false;
    return true;
}

void status_writer_update(struct status_writer *s)
{
    if (!target(s) || s->call || about_to_end(s->w))
        return;
    if (may_wait(s->w)) {
        if (!loop_timer_armed(&s->timer))
            loop_timer_set(&s->timer, PENDING_DELAY_MS);
        return;
    }
    if (s->failures && loop_timer_armed(&s->timer))
        return; /* backing off */
    loop_timer_stop(&s->timer);
    step(s);
}

bool status_writer_is_current(const struct status_writer *s)
{
    if (!target(s))
        return true;
    if (s->call)
        return false;
    _cleanup_json_ json_t *want = worker_status(s->w);
    _cleanup_free_ char *text = encode(want);
    return str_eq(text, s->sent);
}

void status_writer_observe(struct status_writer *s, const struct pod *pod)
{
    /* While we write, the answer tells what the API has. */
    if (s->call || s->sent || !pod)
        return;
    _cleanup_json_ json_t *object = json_parse(pod->json, pod->json_len, NULL);
    const json_t *status = json_object_get(object, "status");
    free(s->known);
    s->known = status ? encode(status) : NULL;
}

void status_writer_retarget(struct status_writer *s)
{
    kube_call_cancel(s->call);
    s->call = NULL;
    s->gone = false;
    s->failures = 0;
    loop_timer_stop(&s->timer);
    free(s->known);
    free(s->sent);
    s->known = s->sent = NULL;
}

void status_writer_gone(struct status_writer *s)
{
    s->gone = true;
}

void status_writer_delete(struct status_writer *s, void (*done)(void *arg), void *arg)
{
    if (s->deleted)
        return;
    s->deleted = done;
    s->deleted_arg = arg;
    loop_timer_stop(&s->timer);
    step(s);
}
