/*
 * One container: image → create → start → (postStart) → probes; after its end, by policy and
 * back-off, the same again. Each step is one call under way, remembered in the slot.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/runtime/events.h"
#include "kubelet/runtime/message.h"
#include "kubelet/worker/worker.h"

#define RETRY_MS 10000u

static int64_t wall_ms(void)
{
    return time_now_nano() / 1000000;
}

void slot_wait(struct container_slot *s, const char *reason, const char *message)
{
    if (str_eq(s->wait_reason, reason) && str_eq(s->wait_message, message))
        return;
    char *m = str_dup(message), *r = str_dup(reason);
    free(s->wait_reason);
    free(s->wait_message);
    s->wait_reason = r;
    s->wait_message = m;
}

static void slot_event(struct container_slot *s, const char *type, const char *reason,
                       const char *fmt, const char *text)
{
    kubelet_event(s->w->k, s->w->pod, slot_spec(s)->name, type, reason, fmt, text);
}

void slot_failed(struct container_slot *s, const char *reason, const char *message)
{
    char label[POD_LABEL_MAX];
    s->step = SLOT_IDLE;
    s->retry_at = now_ms() + RETRY_MS;
    if (!str_eq(s->wait_reason, reason) || !str_eq(s->wait_message, message)) {
        slot_event(s, "Warning", "Failed", "Error: %s", message);
        log_warn("container cannot be started", "pod", pod_label(s->w->pod, label), "container",
                 slot_spec(s)->name, "reason", reason, "error", message, NULL);
    }
    slot_wait(s, reason, message);
    worker_kick(s->w);
}

/* ---- probes ---- */
static void on_probe(void *arg, enum probe_kind kind, bool ok)
{
    struct container_slot *s = arg;
    if (!ok && kind == PROBE_LIVENESS)
        s->kill_event = "Container %s failed liveness probe, will be restarted";
    else if (!ok && kind == PROBE_STARTUP)
        s->kill_event = "Container %s failed startup probe, will be restarted";
    if (s->kill_event) {
        const struct container_spec *c = slot_spec(s);
        const struct probe_spec *p = kind == PROBE_LIVENESS ? c->liveness : c->startup;
        s->kill_grace = p && p->termination_grace.set ? p->termination_grace.value
                                                      : s->w->pod->spec.grace.value;
    }
    worker_kick(s->w);
}

static const struct api_container_state *api_state(const struct container_slot *s)
{
    const struct api_status *status = &s->w->pod->status;
    bool init = s->index < s->w->n_init;
    size_t n = init ? status->init_containers.count : status->containers.count;
    for (size_t i = 0; i < n; i++) {
        const struct api_container_state *a =
            init ? &status->init_containers.items[i] : &status->containers.items[i];
        if (str_eq(a->name, slot_spec(s)->name))
            return a;
    }
    return NULL; /* ephemeral containers have neither probes nor restarts */
}

void slot_probe(struct container_slot *s)
{
    const struct container_spec *c = slot_spec(s);
    if (s->probes || !slot_is_running(s) || s->step == SLOT_STOP || s->kill_event)
        return;
    if (!c->liveness && !c->readiness && !c->startup)
        return;
    const struct api_container_state *a = api_state(s);
    bool same = a && a->container_id && str_ends(a->container_id, s->run->id);
    struct probe_target target = {
        .pod = s->w->pod,
        .container = c,
        .container_id = s->run->id,
        .pod_ip = worker_ip(s->w),
        .started = s->run->started ? s->run->started : time_now_nano(),
        .was_started = same && a->started,
        .was_ready = same && a->ready,
        .totals = &s->probed,
    };
    s->probes = probe_set_new(s->w->k, &target, on_probe, s);
}

/* ---- start ---- */
static void on_post_start(void *arg, const char *error)
{
    struct container_slot *s = arg;
    s->hook = NULL;
    s->step = SLOT_IDLE;
    if (error) {
        kubelet_event(s->w->k, s->w->pod, slot_spec(s)->name, "Warning", "FailedPostStartHook",
                      "PostStartHook failed: %s", error);
        s->kill_event = "FailedPostStartHook";
        s->kill_grace = s->w->pod->spec.grace.value;
    }
    worker_kick(s->w);
}

/* The runtime refused to start it: that run is over. */
static void start_failed(struct container_slot *s, const char *message)
{
    struct container_run *r = s->run;
    if (r->state == RUN_CREATED) {
        r->state = RUN_EXITED;
        r->exit_code = 128;
        r->started = r->finished = time_now_nano();
        free(r->reason);
        free(r->message);
        r->reason = str_dup("StartError");
        r->message = str_dup(message);
    }
    slot_failed(s, "RunContainerError", message);
    s->retry_at = 0; /* the back-off after an ended run holds */
}

static void on_started(void *arg, enum rpc_status status, const char *message,
                       const ProtobufCMessage *response)
{
    struct container_slot *s = arg;
    const struct container_spec *c = slot_spec(s);
    (void)response;
    s->call = NULL;
    s->step = SLOT_IDLE;
    if (!s->run)
        return;
    if (status == RPC_UNAVAILABLE || status == RPC_DEADLINE_EXCEEDED || status == RPC_NOT_FOUND) {
        runtime_events_refresh(s->w->k, s->w->pod->meta.uid);
        slot_failed(s, "RunContainerError", message);
        return;
    }
    if (status != RPC_OK) {
        start_failed(s, message);
        return;
    }
    if (s->run->state == RUN_CREATED) {
        s->run->state = RUN_RUNNING;
        s->run->started = time_now_nano();
    }
    slot_wait(s, NULL, NULL);
    s->said_backoff = false;
    slot_event(s, "Normal", "Started", "Started container %s", c->name);
    if (c->lifecycle && c->lifecycle->post_start && slot_is_running(s)) {
        s->step = SLOT_HOOK;
        s->hook = hook_start(s, c->lifecycle->post_start, 0, on_post_start, s);
    }
    slot_probe(s);
    worker_kick(s->w);
}

static void start_run(struct container_slot *s)
{
    Runtime__V1__StartContainerRequest request = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;
    request.container_id = s->run->id;
    s->step = SLOT_START;
    s->call = runtime_call(s->w->k->runtime, CRI_START_CONTAINER, &request.base, CRI_DEADLINE_MS,
                           on_started, s);
}

/* ---- create ---- */
static uint32_t next_restart(const struct container_slot *s)
{
    if (s->run)
        return s->run->restart + 1;
    const struct api_container_state *a = api_state(s);
    /* The runtime's memory is gone (reboot), the API's is not. */
    return a && a->container_id && *a->container_id ? (uint32_t)a->restart_count + 1 : 0;
}

static void forget_images(struct container_slot *s)
{
    image_info_done(&s->info);
    s->volume_images = 0;
}

static void on_created(void *arg, enum rpc_status status, const char *message,
                       const ProtobufCMessage *response)
{
    struct container_slot *s = arg;
    const Runtime__V1__CreateContainerResponse *reply = (const void *)response;
    s->call = NULL;
    s->step = SLOT_IDLE;
    if (status != RPC_OK) {
        runtime_events_refresh(s->w->k, s->w->pod->meta.uid);
        slot_failed(s, "CreateContainerError", message);
        return;
    }
    if (!s->run || !str_eq(s->run->id, reply->container_id)) {
        struct container_run *r = mem_zalloc(sizeof(*r));
        r->id = str_dup(reply->container_id);
        r->sandbox = str_dup(s->w->sandbox.id);
        r->restart = next_restart(s);
        r->created = time_now_nano();
        r->image = str_dup(slot_spec(s)->image);
        r->image_id = str_dup(s->info.digest_ref);
        container_hash(slot_spec(s), r->hash);
        r->applied = s->requested;
        r->applied_known = true;
        if (s->last) {
            worker_remove_container(s->w, s->last->id);
            run_free(s->last);
        }
        s->last = s->run;
        s->run = r;
    }
    s->hook_done = false;
    forget_images(s); /* the next run looks again */
    slot_event(s, "Normal", "Created", "Created container: %s", slot_spec(s)->name);
    slot_link_log(s);
    if (s->w->stage == WORKER_RUN)
        start_run(s);
    else
        worker_kick(s->w);
}

/* The container whose processes an ephemeral one is to join. */
static int find_target(const struct container_slot *s, const char **ret, struct error *err)
{
    const char *name = slot_is_ephemeral(s) ? slot_spec(s)->target : NULL;
    if (!name || !*name)
        return 0;
    const struct container_slot *t = worker_slot(s->w, name);
    if (!t || !slot_is_running(t))
        return error_set(err, -ENOENT, "unable to find target container %.63s", name);
    *ret = t->run->id;
    return 0;
}

static int build_request(struct container_slot *s, const struct request_context *ctx,
                         Runtime__V1__CreateContainerRequest *request, struct error *err)
{
    struct env_context env_ctx;
    struct env_list env = {.items = NULL};
    struct mount_list mounts = {.items = NULL};
    const struct container_spec *c = slot_spec(s);
    const char *target = NULL;
    V1beta1__ContainerAllocateResponse *devices =
        devices_answer(s->w->k->devices, s->w->pod, c->name);
    worker_fill_env(s->w, &env_ctx);
    slot_devices_mounts(devices, &mounts);
    int code = find_target(s, &target, err);
    if (!code)
        code = env_build(s->w->pod, c, &env_ctx, &env, err);
    if (!code)
        slot_devices_env(devices, &env);
    if (!code)
        code = volume_set_mounts(s->w->volumes, c, s->w->handler, &env, &mounts, err);
    if (!code)
        code = slot_file_mounts(s, &mounts, err);
    if (!code) {
        struct container_request r = {.spec = c,
                                      .image = &s->info,
                                      .env = &env,
                                      .mounts = &mounts,
                                      .devices = devices,
                                      .target_id = target,
                                      .restart_count = next_restart(s)};
        request->config = request_container(s->w->pod, ctx, &r, err);
        code = request->config ? 0 : -EINVAL;
    }
    message_free(devices);
    env_list_done(&env);
    mount_list_done(&mounts);
    return code;
}

static void create_run(struct container_slot *s)
{
    struct pod_worker *w = s->w;
    struct request_context ctx;
    struct error err = ERROR_INIT;
    Runtime__V1__CreateContainerRequest request = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT;
    worker_fill_request(w, &ctx);
    s->devices_told = false;
    if (build_request(s, &ctx, &request, &err) < 0) {
        slot_failed(s, "CreateContainerConfigError", error_text(&err));
        return;
    }
    request.sandbox_config = request_sandbox(w->pod, &ctx, w->sandbox.attempt);
    request.pod_sandbox_id = w->sandbox.id;
    s->requested = container_limits_of(slot_spec(s));
    s->step = SLOT_CREATE;
    s->call = runtime_call(w->k->runtime, CRI_CREATE_CONTAINER, &request.base, CRI_DEADLINE_MS,
                           on_created, s);
    message_free(request.config);
    message_free(request.sandbox_config);
}

/* ---- image ---- */
/* ErrImagePull stays to be seen for a moment before it becomes ImagePullBackOff. */
#define PULL_ERROR_SHOWN_MS 2000

static void image_failed(struct container_slot *s, const struct image_result *r)
{
    if (r->pull_failed) {
        int64_t now = wall_ms();
        backoff_next(&s->pulls, now, now);
        s->pull_failed = now;
        free(s->pull_message);
        s->pull_message = str_printf("%s: %s", r->reason, r->message);
        s->said_backoff = false;
        slot_wait(s, r->reason, r->message);
    } else {
        slot_failed(s, r->reason, r->message);
    }
}

static void on_image(const struct image_result *r, void *arg)
{
    struct container_slot *s = arg;
    s->image = NULL;
    s->step = SLOT_IDLE;
    if (r->reason) {
        image_failed(s, r);
    } else {
        if (s->info.id) {
            s->volume_images++;
        } else {
            s->info = *r->info;
            *r->info = (struct image_info){.id = NULL};
        }
        s->pulls.delay_ms = 0;
        s->pull_failed = 0;
    }
    worker_kick(s->w);
}

/* The image that is still to be looked for: the container's, then those of its image volumes. */
static bool next_image(const struct container_slot *s, struct image_want *want)
{
    const struct container_spec *c = slot_spec(s);
    size_t n = 0;
    if (!s->info.id) {
        *want = (struct image_want){c->image, c->image_pull_policy, c->name};
        return true;
    }
    for (size_t i = 0; i < c->volume_mounts.count; i++) {
        const struct volume_spec *v = pod_volume(s->w->pod, c->volume_mounts.items[i].name);
        if (!v || !v->image || !v->image->reference || n++ < s->volume_images)
            continue;
        *want = (struct image_want){v->image->reference, v->image->pull_policy, c->name};
        return true;
    }
    return false;
}

static void pull_backing_off(struct container_slot *s, const char *name)
{
    _cleanup_free_ char *text = str_printf("Back-off pulling image \"%s\": %s", name,
                                           s->pull_message ? s->pull_message : "");
    if (!s->said_backoff) {
        slot_event(s, "Normal", "BackOff", "Back-off pulling image \"%s\"", name);
        slot_event(s, "Warning", "Failed", "Error: %s", "ImagePullBackOff");
    }
    s->said_backoff = true;
    slot_wait(s, "ImagePullBackOff", text);
}

/* True when all images are there. */
static bool sync_image(struct container_slot *s)
{
    struct image_want want;
    if (!next_image(s, &want))
        return true;
    int64_t now = wall_ms();
    uint64_t wait = s->pull_failed ? backoff_wait(&s->pulls, s->pull_failed, now) : 0;
    if (wait) {
        int64_t shown = now - s->pull_failed;
        if (shown >= 0 && shown < PULL_ERROR_SHOWN_MS)
            wait = (uint64_t)(PULL_ERROR_SHOWN_MS - shown);
        else
            pull_backing_off(s, want.image);
        worker_wake_in(s->w, wait);
        return false;
    }
    struct keyring keys = {.entries = NULL};
    if (!worker_keyring(s->w, &keys))
        return false; /* the answer of the API server brings us back */
    want.keys = &keys;
    s->step = SLOT_IMAGE;
    s->image = image_ensure(s->w->k, s->w->pod, &want, on_image, s);
    keyring_done(&keys);
    return false;
}

/* ---- the whole ---- */

/* True when the back-off after an ended run is over. */
static bool sync_backoff(struct container_slot *s)
{
    const struct pod *pod = s->w->pod;
    if (!s->run || s->run->state != RUN_EXITED)
        return true;
    uint64_t wait = backoff_wait(&s->restarts, s->run->finished / 1000000, wall_ms());
    if (!wait)
        return true;
    _cleanup_free_ char *text =
        str_printf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
                   s->restarts.delay_ms == 10000    ? "10s"
                   : s->restarts.delay_ms == 20000  ? "20s"
                   : s->restarts.delay_ms == 40000  ? "40s"
                   : s->restarts.delay_ms == 80000  ? "1m20s"
                   : s->restarts.delay_ms == 160000 ? "2m40s"
                                                    : "5m0s",
                   slot_spec(s)->name, pod->meta.name, pod->meta.ns, pod->meta.uid);
    slot_wait(s, "CrashLoopBackOff", text);
    if (!s->said_backoff)
        kubelet_event(s->w->k, pod, slot_spec(s)->name, "Warning", "BackOff",
                      "Back-off restarting failed container %s in pod %s_%s(%s)",
                      slot_spec(s)->name, pod->meta.name, pod->meta.ns, pod->meta.uid);
    s->said_backoff = true;
    worker_wake_in(s->w, wait);
    return false;
}

static void sync_running(struct container_slot *s)
{
    char hash[9];
    container_hash(slot_spec(s), hash);
    if (!s->kill_event && s->run->hash[0] && !str_eq(hash, s->run->hash)) {
        s->kill_event = "Container %s definition changed, will be restarted";
        s->kill_grace = s->w->pod->spec.grace.value;
        forget_images(s);
    }
    slot_wait(s, NULL, NULL);
    bool resizing = !s->kill_event && slot_sync_resize(s);
    if (s->kill_event)
        slot_stop(s, s->kill_grace, s->kill_event);
    else if (!resizing)
        slot_probe(s);
}

/* A run that was created and never started, by us before a restart. */
static bool startable(const struct container_slot *s)
{
    return s->run && s->run->state == RUN_CREATED && str_eq(s->run->sandbox, s->w->sandbox.id);
}

bool slot_sync(struct container_slot *s)
{
    bool ready = s->w->sandbox.state == SANDBOX_READY && s->w->volumes_ready;
    uint64_t now = now_ms();
    if (s->step == SLOT_IMAGE || s->step == SLOT_STOP || s->step == SLOT_RESIZE ||
        s->step == SLOT_DEVICES)
        return true; /* these may take long, and hold nobody up */
    if (s->step != SLOT_IDLE)
        return false;
    if (slot_is_running(s)) {
        sync_running(s);
        return true;
    }
    if (s->retry_at > now) {
        worker_wake_in(s->w, s->retry_at - now);
        return true;
    }
    if (ready && startable(s)) {
        start_run(s);
        return false;
    }
    if (!slot_wants_run(s) || !sync_backoff(s))
        return true;
    if (str_eq(s->wait_reason, "CrashLoopBackOff"))
        slot_wait(s, NULL, NULL);
    if (!sync_image(s) || !ready || !slot_sync_devices(s))
        return true;
    if (s->run)
        backoff_next(&s->restarts, s->run->finished / 1000000, wall_ms());
    create_run(s);
    return false;
}

void slot_done(struct container_slot *s)
{
    runtime_cancel(s->w->k->runtime, &s->call);
    s->image = image_cancel(s->image);
    slot_done_devices(s);
    s->hook = hook_cancel(s->hook);
    s->probes = probe_set_free(s->probes);
    s->run = run_free(s->run);
    s->last = run_free(s->last);
    image_info_done(&s->info);
    free(s->wait_reason);
    free(s->wait_message);
    free(s->pull_message);
}
