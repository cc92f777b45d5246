/* Containers: their life after they were made; see container.h (making: container_create.c). */
#include "cri/container.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/times.h"
#include "cri/events.h"
#include "cri/groups.h"
#include "cri/record.h"
#include "cri/signals.h"
#include "cri/streaming.h"

#define KILL_DEADLINE_MS 10000
#define STOP_MAX_S       (INT64_C(10) * 365 * 24 * 3600)

static void on_deadline(void *arg);

int container_check(const Runtime__V1__ContainerConfig *config, struct error *err)
{
    if (!config)
        return error_set_field(err, -EINVAL, "config", "config: missing");
    if (!config->metadata || !config->metadata->name[0])
        return error_set_field(err, -EINVAL, "config.metadata.name",
                               "config.metadata.name: missing");
    if (!config->image || !config->image->image[0])
        return error_set_field(err, -EINVAL, "config.image.image", "config.image.image: missing");
    return 0;
}

struct container *container_new(struct sandbox *sandbox, const char *id,
                                Runtime__V1__ContainerConfig *config)
{
    struct container *c = mem_zalloc(sizeof(*c));
    c->rt = sandbox->rt;
    c->sandbox = sandbox;
    c->config = config;
    c->n_groups = -1;
    (void)snprintf(c->id, sizeof(c->id), "%s", id);
    c->layer_dir = fs_join(c->rt->containers_dir, c->id);
    list_init(&c->stop_waiters);
    list_init(&c->remove_waiters);
    list_init(&c->updates);
    loop_timer_init(&c->deadline, c->rt->loop, "container stop", on_deadline, c);
    list_append(&sandbox->containers, &c->entry);
    map_set(&c->rt->containers, c->id, c);
    return c;
}

void container_free(struct container *c)
{
    if (!c)
        return;
    container_updates_end(c);
    container_creation_drop(c);
    group_op_forget(c->group_op);
    list_remove(&c->entry);
    (void)map_take(&c->rt->containers, c->id);
    loop_timer_done(&c->deadline);
    runtime__v1__container_config__free_unpacked(c->config, NULL);
    free(c->image_id);
    (void)image_strings_free(c->volume_images);
    free(c->image_user);
    free(c->image_cwd);
    (void)image_strings_free(c->image_env);
    free(c->cgroup);
    free(c->log_path);
    free(c->layer_dir);
    free(c->reason);
    free(c->message);
    free(c->groups);
    free(c);
}

static void save(struct container *c)
{
    struct error err = ERROR_INIT;
    if (container_save(c, &err) < 0)
        log_error("cannot record a container", "container", c->id, "error", error_text(&err), NULL);
}

int container_stop_signal(const Runtime__V1__ContainerConfig *config, const char *image_signal)
{
    int number = signal_of_cri(config->stop_signal);
    if (number > 0)
        return number;
    if (image_signal && *image_signal && (number = signal_parse(image_signal)) > 0)
        return number;
    return SIGTERM;
}

/* ---- the cgroup ---- */
static void on_group_gone(int code, const struct error *err, void *arg)
{
    struct container *c = arg;
    c->group_op = NULL;
    c->cgroup_gone = true;
    if (code < 0)
        log_warn("cannot remove a container's cgroup", "container", c->id, "error", error_text(err),
                 NULL);
    container_done_fn *cb = c->on_reaped;
    c->on_reaped = NULL;
    if (cb)
        cb(c);
}

void container_reap(struct container *c, container_done_fn *cb)
{
    struct error err = ERROR_INIT;
    c->on_reaped = cb;
    if (c->group_op)
        return; /* under way */
    int r = c->cgroup_gone
                ? 0
                : groups_remove(c->rt->groups, c->cgroup, on_group_gone, c, &c->group_op, &err);
    if (r != GROUP_LATER)
        on_group_gone(r, &err, c);
}

/* ---- start ---- */

/* What a user's name and the image's groups came to is only known inside the container: the kernel
 * tells. A process that has ended already leaves it unknown. */
static void note_user(struct container *c)
{
    _cleanup_free_ char *path = str_printf("/proc/%d/status", (int)c->pid);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (fs_read(path, 1 << 20, &text, NULL) < 0)
        return;
    const char *uid = strstr(strbuf_text(&text), "\nUid:\t");
    const char *gid = strstr(strbuf_text(&text), "\nGid:\t");
    const char *groups = strstr(strbuf_text(&text), "\nGroups:\t");
    if (!uid || !gid || !groups)
        return;
    const struct userns *u = &c->sandbox->userns;
    c->uid = userns_inside(&u->uids, strtoll(uid + 6, NULL, 10));
    c->gid = userns_inside(&u->gids, strtoll(gid + 6, NULL, 10));
    c->n_groups = 0;
    free(TAKE_PTR(c->groups));
    const char *at = groups + 9;
    while (*at && *at != '\n') {
        char *end;
        int64_t id = strtoll(at, &end, 10);
        if (end == at)
            break;
        c->groups = mem_grow(c->groups, (size_t)c->n_groups + 1, sizeof(*c->groups));
        c->groups[c->n_groups++] = userns_inside(&u->gids, id);
        at = end + strspn(end, " ");
    }
}

struct starting {
    struct container *c;
    done_fn cb;
    void *arg;
};

static const char *reason_of(int exit_code, bool oom_killed)
{
    return oom_killed ? "OOMKilled" : exit_code == 0 ? "Completed" : "Error";
}

void container_exited(struct container *c, int exit_code, bool oom_killed, int64_t finished_ns,
                      const char *reason, const char *message)
{
    if (c->state == CONTAINER_EXITED || c->state == CONTAINER_CREATING)
        return;
    c->state = CONTAINER_EXITED;
    c->pid = 0;
    c->exit_code = exit_code;
    c->finished_ns = finished_ns ? finished_ns : time_now_nano();
    free(c->reason);
    c->reason = str_dup(reason ? reason : reason_of(exit_code, oom_killed));
    free(c->message);
    c->message = str_dup(message);
    loop_timer_stop(&c->deadline);
    save(c);
    log_debug("container exited", "container", c->id, "reason", c->reason, NULL);
    container_reap(c, c->on_reaped);
    events_emit(c->rt->events, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_STOPPED_EVENT,
                c->sandbox, c);
    streaming_container_exited(c->rt->streaming, c);
    waiters_finish(&c->stop_waiters, 0, NULL);
}

static void begin_stop(struct container *c, int64_t timeout_s);

static void on_started(const struct shim_reply *reply, void *arg)
{
    struct starting *st = arg;
    struct container *c = st->c;
    struct error err = ERROR_INIT;
    int code = reply->code;
    if (code < 0) {
        (void)error_set(&err, code, "%s", reply->message);
        if (c->state == CONTAINER_STARTING) {
            c->started_ns = time_now_nano();
            container_exited(c, reply->exit_code ? reply->exit_code : 128, false, 0, "StartError",
                             reply->message);
        }
    } else if (c->state == CONTAINER_STARTING) {
        c->state = CONTAINER_RUNNING;
        c->pid = reply->pid;
        c->started_ns = reply->time_ns;
        note_user(c);
        save(c);
        if (reply->notes && *reply->notes)
            log_debug("not everything could be applied", "container", c->id, "notes", reply->notes,
                      NULL);
        events_emit(c->rt->events, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_STARTED_EVENT,
                    c->sandbox, c);
        if (!list_empty(&c->stop_waiters))
            begin_stop(c, 0);
    }
    st->cb(code, &err, st->arg);
    free(st);
}

void container_start(struct container *c, done_fn cb, void *arg)
{
    struct error err = ERROR_INIT;
    if (c->removing || c->state != CONTAINER_CREATED) {
        (void)error_set(&err, -EBADFD, "container %s is not in the created state", c->id);
        cb(-EBADFD, &err, arg);
        return;
    }
    if (c->sandbox->state != SANDBOX_READY || !c->sandbox->shim) {
        (void)error_set(&err, -EBADFD, "sandbox %s is not ready", c->sandbox->id);
        cb(-EBADFD, &err, arg);
        return;
    }
    struct starting *st = mem_zalloc(sizeof(*st));
    *st = (struct starting){c, cb, arg};
    c->state = CONTAINER_STARTING;
    int r = shim_start_container(c->sandbox->shim, c->id, on_started, st);
    if (r < 0) {
        c->state = CONTAINER_CREATED;
        free(st);
        (void)error_errno(&err, r, "cannot talk to the shim of sandbox %s", c->sandbox->id);
        cb(r, &err, arg);
    }
}

/* ---- stop ---- */
static void on_signalled(const struct shim_reply *reply, void *arg)
{
    (void)arg;
    if (reply->code < 0 && reply->code != -ECONNRESET)
        log_warn("cannot signal a container", "error", reply->message, NULL);
}

static void send_signal(struct container *c, int signo, bool all)
{
    if (c->sandbox->shim)
        (void)shim_kill(c->sandbox->shim, c->id, NULL, signo, all, on_signalled, NULL);
}

static void kill_now(struct container *c)
{
    c->stop = STOP_KILLED;
    send_signal(c, SIGKILL, true);
    loop_timer_set(&c->deadline, KILL_DEADLINE_MS);
}

static void on_deadline(void *arg)
{
    struct container *c = arg;
    if (c->stop == STOP_SIGNALLED) {
        kill_now(c);
        return;
    }
    struct error err = ERROR_INIT;
    (void)error_set(&err, -ETIMEDOUT, "container %s has not ended %d s after SIGKILL", c->id,
                    KILL_DEADLINE_MS / 1000);
    (void)cgroup_kill(c->rt->cgs, c->cgroup, NULL);
    c->stop = STOP_NONE;
    waiters_finish(&c->stop_waiters, -ETIMEDOUT, &err);
}

static void begin_stop(struct container *c, int64_t timeout_s)
{
    if (timeout_s <= 0) {
        if (c->stop != STOP_KILLED)
            kill_now(c);
        return;
    }
    if (timeout_s > STOP_MAX_S)
        timeout_s = STOP_MAX_S;
    if (c->stop == STOP_KILLED)
        return;
    if (c->stop == STOP_NONE)
        send_signal(c, c->stop_signal, false);
    c->stop = STOP_SIGNALLED;
    loop_timer_set(&c->deadline, (uint64_t)timeout_s * 1000);
}

void container_stop(struct container *c, int64_t timeout_s, done_fn cb, void *arg)
{
    if (c->state != CONTAINER_RUNNING && c->state != CONTAINER_STARTING) {
        cb(0, NULL, arg);
        return;
    }
    waiters_add(&c->stop_waiters, cb, arg);
    if (c->state == CONTAINER_RUNNING)
        begin_stop(c, timeout_s);
}

/* ---- remove ---- */
static int remove_tree(void *data, struct error *err)
{
    return fs_remove_tree(data, err);
}

static void on_tree_removed(int code, const struct error *err, void *data)
{
    if (code < 0)
        log_warn("cannot remove a container's layer", "error", error_text(err), NULL);
    free(data);
}

int container_use_images(const struct container *c, struct error *err)
{
    int r = image_store_use(c->rt->images, c->image_id, c->id);
    if (r < 0)
        return error_errno(err, r, "image %s", c->image_id);
    for (char **id = c->volume_images; id && *id; id++)
        if ((r = image_store_use(c->rt->images, *id, c->id)) < 0)
            return error_errno(err, r, "image %s", *id);
    return 0;
}

static void container_unuse_images(const struct container *c)
{
    if (c->image_id)
        image_store_unuse(c->rt->images, c->image_id, c->id);
    for (char **id = c->volume_images; id && *id; id++)
        image_store_unuse(c->rt->images, *id, c->id);
}

void container_discard(struct container *c)
{
    struct runtime *rt = c->rt;
    /* Out of the way first: removing many files takes its time. */
    char *trash = str_printf("%s/trash-%s", rt->containers_dir, c->id);
    if (rename(c->layer_dir, trash) == 0)
        job_run(rt->jobs, remove_tree, on_tree_removed, trash);
    else
        free(trash);
    container_forget(c);
    container_unuse_images(c);
    struct list waiters;
    list_init(&waiters);
    while (!list_empty(&c->remove_waiters)) {
        struct list *e = c->remove_waiters.next;
        list_remove(e);
        list_append(&waiters, e);
    }
    container_free(c);
    waiters_finish(&waiters, 0, NULL);
}

static void removed(struct container *c)
{
    list_remove(&c->entry);
    events_emit(c->rt->events, RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_DELETED_EVENT,
                c->sandbox, c);
    container_discard(c);
}

static void on_forgotten(const struct shim_reply *reply, void *arg)
{
    if (reply->code < 0 && reply->code != -ECONNRESET && reply->code != -ENOENT)
        log_warn("a shim cannot forget a container", "error", reply->message, NULL);
    container_reap(arg, removed);
}

static void on_stopped(int code, const struct error *err, void *arg)
{
    struct container *c = arg;
    if (code < 0) {
        c->removing = false;
        waiters_finish(&c->remove_waiters, code, err);
        return;
    }
    struct shim *shim = c->sandbox->shim;
    if (!shim || shim_remove(shim, c->id, on_forgotten, c) < 0)
        container_reap(c, removed);
}

void container_remove(struct container *c, done_fn cb, void *arg)
{
    waiters_add(&c->remove_waiters, cb, arg);
    if (c->removing)
        return;
    c->removing = true;
    if (c->state == CONTAINER_CREATING) {
        container_creation_cancel(c); /* whose end takes it away, and tells who waits */
        return;
    }
    container_stop(c, 0, on_stopped, c);
}
