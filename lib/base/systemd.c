/*
 * The manager's methods; see systemd.h.
 *
 * A request is a method call that queues a job; its answer names the job's object, and the signal
 * JobRemoved with that object says how the job ended. The answer comes before the signal. Results
 * are gathered while sd-bus dispatches and handed out after, so that callbacks may ask for more.
 */
#include "base/systemd.h"

#include <errno.h>
#include <string.h>

#include "base/bus.h"
#include "base/strbuf.h"

#define SERVICE   "org.freedesktop.systemd1"
#define OBJECT    "/org/freedesktop/systemd1"
#define MANAGER   "org.freedesktop.systemd1.Manager"
#define JOB_MS    30000 /* a job that is not over by then has failed */
#define LINGER_MS 2000  /* the connection stays that long for the next request */
#define OPEN_MS   5000

struct systemd {
    struct loop *loop;
    char *address;
    struct bus bus;
    struct loop_timer linger;
    struct loop_deferred kick;
    struct list jobs;     /* under way */
    struct list finished; /* to be told */
};

struct systemd_job {
    struct list entry;
    struct systemd *sd;
    char *what; /* "start x.scope" */
    bool stop;
    struct systemd_slice slice; /* of a start of one, until it is known not to be there; name */
    sd_bus_slot *slot;          /* of the call, until it is answered */
    char *object;               /* of the job, once known */
    struct loop_timer deadline;
    struct error err;
    systemd_done_fn *done; /* NULL: forgotten */
    void *arg;
};

static void job_free(struct systemd_job *job)
{
    list_remove(&job->entry);
    loop_timer_done(&job->deadline);
    (void)sd_bus_slot_unref(job->slot);
    free(job->object);
    free(job->what);
    free((char *)(uintptr_t)job->slice.name);
    free(job);
}

static void finish(struct systemd_job *job, int code, const char *why)
{
    if (code < 0)
        (void)error_set(&job->err, code, "systemd: %s: %s", job->what, why);
    job->slot = sd_bus_slot_unref(job->slot);
    loop_timer_stop(&job->deadline);
    list_remove(&job->entry);
    list_append(&job->sd->finished, &job->entry);
}

static void disconnect(struct systemd *sd)
{
    loop_timer_stop(&sd->linger);
    bus_disconnect(&sd->bus);
}

static void tell(struct systemd *sd)
{
    /* What a callback's own request adds is told by its kick. */
    LIST_FOR_EACH(e, &sd->finished) {
        struct systemd_job *job = LIST_ENTRY(e, struct systemd_job, entry);
        systemd_done_fn *done = job->done;
        void *arg = job->arg;
        struct error err = job->err;
        job_free(job);
        if (done)
            done(err.code, &err, arg);
    }
}

static void on_kick(void *arg);

static void linger(struct systemd *sd)
{
    if (list_empty(&sd->jobs) && !loop_timer_armed(&sd->linger))
        loop_timer_set(&sd->linger, LINGER_MS);
    else if (!list_empty(&sd->jobs))
        loop_timer_stop(&sd->linger);
}

static void dispatch(void *arg)
{
    struct systemd *sd = arg;
    if (bus_process(&sd->bus) < 0) {
        while (!list_empty(&sd->jobs))
            finish(LIST_ENTRY(sd->jobs.next, struct systemd_job, entry), -ECONNRESET,
                   "the connection broke");
        disconnect(sd);
    } else {
        linger(sd);
    }
    tell(sd);
}

static void on_linger(void *arg)
{
    struct systemd *sd = arg;
    if (list_empty(&sd->jobs))
        disconnect(sd);
}

/* JobRemoved(id, job, unit, result) */
static int on_job_removed(sd_bus_message *m, void *arg, _unused_ sd_bus_error *error)
{
    struct systemd *sd = arg;
    uint32_t id;
    const char *object, *unit, *result;
    if (sd_bus_message_read(m, "uoss", &id, &object, &unit, &result) < 0)
        return 0;
    LIST_FOR_EACH(e, &sd->jobs) {
        struct systemd_job *job = LIST_ENTRY(e, struct systemd_job, entry);
        if (job->object && str_eq(job->object, object)) {
            finish(job, str_eq(result, "done") ? 0 : -EIO, result);
            break;
        }
    }
    return 0;
}

static int connect_bus(struct systemd *sd, struct error *err)
{
    int r = bus_connect(&sd->bus, sd->address, false, err);
    if (r < 0)
        return r;
    r = sd_bus_match_signal(sd->bus.bus, NULL, NULL, OBJECT, MANAGER, "JobRemoved", on_job_removed,
                            sd);
    if (r < 0) {
        bus_disconnect(&sd->bus);
        return error_errno(err, r, "systemd does not answer at %s", sd->address);
    }
    return 0;
}

/* Something that only the manager can answer, within a deadline. */
static int ask_version(struct systemd *sd, struct error *err)
{
    _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
    sd_bus_message *call = NULL, *reply = NULL;
    int r = sd_bus_message_new_method_call(sd->bus.bus, &call, SERVICE, OBJECT,
                                           "org.freedesktop.DBus.Properties", "Get");
    if (r >= 0)
        r = sd_bus_message_append(call, "ss", MANAGER, "Version");
    if (r >= 0)
        r = sd_bus_call(sd->bus.bus, call, (uint64_t)OPEN_MS * 1000, &error, &reply);
    if (r < 0)
        (void)error_set(err, -ENOTCONN, "systemd does not answer at %s: %s", sd->address,
                        error.message ? error.message : strerror(-r));
    (void)sd_bus_message_unref(call);
    (void)sd_bus_message_unref(reply);
    return r < 0 ? -ENOTCONN : 0;
}

int systemd_open(struct loop *loop, const char *socket, struct systemd **ret, struct error *err)
{
    struct systemd *sd = mem_zalloc(sizeof(*sd));
    sd->loop = loop;
    sd->address = str_printf("unix:path=%s", socket ? socket : SYSTEMD_SOCKET);
    list_init(&sd->jobs);
    list_init(&sd->finished);
    bus_init(&sd->bus, loop, "systemd", dispatch, sd);
    loop_timer_init(&sd->linger, loop, "systemd idle", on_linger, sd);
    loop_deferred_init(&sd->kick, loop, on_kick, sd);
    int r = connect_bus(sd, err);
    if (r == 0)
        r = ask_version(sd, err);
    disconnect(sd);
    if (r < 0) {
        (void)systemd_free(sd);
        return r;
    }
    *ret = sd;
    return 0;
}

struct systemd *systemd_free(struct systemd *sd)
{
    if (!sd)
        return NULL;
    LIST_FOR_EACH(e, &sd->jobs)
        job_free(LIST_ENTRY(e, struct systemd_job, entry));
    LIST_FOR_EACH(e, &sd->finished)
        job_free(LIST_ENTRY(e, struct systemd_job, entry));
    disconnect(sd);
    bus_done(&sd->bus);
    loop_timer_done(&sd->linger);
    loop_deferred_done(&sd->kick);
    free(sd->address);
    free(sd);
    return NULL;
}

/* ---- requests ---- */

static int code_of(const sd_bus_error *e)
{
    if (sd_bus_error_has_name(e, "org.freedesktop.systemd1.UnitExists"))
        return -EEXIST;
    if (sd_bus_error_has_name(e, "org.freedesktop.systemd1.NoSuchUnit"))
        return -ENOENT;
    int code = sd_bus_error_get_errno(e);
    return code ? -code : -EIO;
}

static void change_slice(struct systemd_job *job);

/* The job that was queued, or why none was. */
static int on_answer(sd_bus_message *m, void *arg, _unused_ sd_bus_error *error)
{
    struct systemd_job *job = arg;
    const char *object;
    const sd_bus_error *e = sd_bus_message_get_error(m);
    job->slot = sd_bus_slot_unref(job->slot);
    if (e && sd_bus_is_open(job->sd->bus.bus) <= 0)
        finish(job, -ECONNRESET, "the connection broke");
    else if (e && job->stop && code_of(e) == -ENOENT)
        finish(job, 0, NULL);
    else if (e && job->slice.name && code_of(e) == -EEXIST)
        change_slice(job);
    else if (e)
        finish(job, code_of(e), e->message ? e->message : e->name);
    else if (sd_bus_message_read(m, "o", &object) < 0)
        finish(job, -EBADMSG, "an answer that cannot be understood");
    else
        job->object = str_dup(object);
    return 0;
}

static void on_deadline(void *arg)
{
    struct systemd_job *job = arg;
    struct systemd *sd = job->sd;
    finish(job, -ETIMEDOUT, "not done in time");
    tell(sd);
}

/* Later than the request, so that nobody is called back from within it. */
static void on_kick(void *arg)
{
    struct systemd *sd = arg;
    if (sd->bus.bus)
        dispatch(sd);
    else
        tell(sd);
}

/* A call with its arguments still to be added; NULL when there is no connection. */
static sd_bus_message *begin(struct systemd *sd, const char *method, struct error *err)
{
    sd_bus_message *m = NULL;
    if (!sd->bus.bus && connect_bus(sd, err) < 0)
        return NULL;
    int r = sd_bus_message_new_method_call(sd->bus.bus, &m, SERVICE, OBJECT, MANAGER, method);
    if (r < 0)
        (void)error_errno(err, r, "systemd: %s", method);
    return r < 0 ? NULL : m;
}

/* Takes @m. @code: whether it could be put together. */
static struct systemd_job *submit(struct systemd *sd, sd_bus_message *m, int code,
                                  const struct error *why, const char *what, const char *name,
                                  systemd_done_fn *done, void *arg)
{
    struct systemd_job *job = mem_zalloc(sizeof(*job));
    *job = (struct systemd_job){.sd = sd,
                                .what = str_printf("%s %s", what, name),
                                .stop = str_eq(what, "stop"),
                                .done = done,
                                .arg = arg};
    loop_timer_init(&job->deadline, sd->loop, "systemd job", on_deadline, job);
    list_append(&sd->jobs, &job->entry);
    if (m && code >= 0)
        code =
            sd_bus_call_async(sd->bus.bus, &job->slot, m, on_answer, job, (uint64_t)JOB_MS * 1000);
    if (!m)
        finish(job, why->code, error_text(why));
    else if (code < 0)
        finish(job, code, strerror(-code));
    else
        loop_timer_set(&job->deadline, JOB_MS);
    (void)sd_bus_message_unref(m);
    loop_defer(&sd->kick);
    return job;
}

struct systemd_job *systemd_start_scope(struct systemd *sd, const struct systemd_scope *scope,
                                        systemd_done_fn *done, void *arg)
{
    struct error err = ERROR_INIT;
    sd_bus_message *m = begin(sd, "StartTransientUnit", &err);
    int r = m ? sd_bus_message_append(m, "ss", scope->name, "fail") : 0;
    if (m && r >= 0)
        r = sd_bus_message_append(m, "a(sv)", 11, "Description", "s", scope->description, "Slice",
                                  "s", scope->slice, "PIDs", "au", 1, (uint32_t)scope->pid,
                                  "Delegate", "b", 1, "DefaultDependencies", "b", 0, "CollectMode",
                                  "s", "inactive-or-failed", "CPUAccounting", "b", 1,
                                  "MemoryAccounting", "b", 1, "TasksAccounting", "b", 1,
                                  "IOAccounting", "b", 1, "TasksMax", "t", UINT64_MAX);
    if (m && r >= 0)
        r = sd_bus_message_append(m, "a(sa(sv))", 0);
    return submit(sd, m, r, &err, "start", scope->name, done, arg);
}

/* ---- slices: StartTransientUnit; where there is one, SetUnitProperties and StartUnit ---- */

static int append_limits(sd_bus_message *m, const struct systemd_slice *s)
{
    const struct {
        const char *name;
        uint64_t value;
    } limits[] = {
        {s->unified ? "CPUWeight" : "CPUShares", s->cpu},
        {"CPUQuotaPerSecUSec", s->cpu_quota},
        {s->unified ? "MemoryMax" : "MemoryLimit", s->memory},
        {"TasksMax", s->tasks},
    };
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(limits); i++)
        if (limits[i].value)
            r = sd_bus_message_append(m, "(sv)", limits[i].name, "t", limits[i].value);
    return r;
}

static sd_bus_message *new_call(struct systemd_job *job, const char *method, int *code)
{
    sd_bus_message *m = NULL;
    *code = sd_bus_message_new_method_call(job->sd->bus.bus, &m, SERVICE, OBJECT, MANAGER, method);
    return m;
}

/* The next call of a job whose last one was answered. Takes @m. */
static void call_next(struct systemd_job *job, sd_bus_message *m, int code,
                      sd_bus_message_handler_t answered)
{
    if (code >= 0)
        code = sd_bus_call_async(job->sd->bus.bus, &job->slot, m, answered, job,
                                 (uint64_t)JOB_MS * 1000);
    if (code < 0)
        finish(job, code, strerror(-code));
    (void)sd_bus_message_unref(m);
}

/* It has its limits; it may have been stopped. */
static int on_changed(sd_bus_message *m, void *arg, _unused_ sd_bus_error *error)
{
    struct systemd_job *job = arg;
    const sd_bus_error *e = sd_bus_message_get_error(m);
    int r;
    job->slot = sd_bus_slot_unref(job->slot);
    if (e) {
        finish(job, code_of(e), e->message ? e->message : e->name);
        return 0;
    }
    _cleanup_free_ char *name = (char *)(uintptr_t)job->slice.name;
    job->slice.name = NULL;
    sd_bus_message *call = new_call(job, "StartUnit", &r);
    if (r >= 0)
        r = sd_bus_message_append(call, "ss", name, "replace");
    call_next(job, call, r, on_answer);
    return 0;
}

static void change_slice(struct systemd_job *job)
{
    int r;
    sd_bus_message *m = new_call(job, "SetUnitProperties", &r);
    if (r >= 0)
        r = sd_bus_message_append(m, "sb", job->slice.name, 1);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "(sv)");
    if (r >= 0)
        r = append_limits(m, &job->slice);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    call_next(job, m, r, on_changed);
}

struct systemd_job *systemd_start_slice(struct systemd *sd, const struct systemd_slice *slice,
                                        systemd_done_fn *done, void *arg)
{
    struct error err = ERROR_INIT;
    sd_bus_message *m = begin(sd, "StartTransientUnit", &err);
    int r = m ? sd_bus_message_append(m, "ss", slice->name, "fail") : 0;
    if (m && r >= 0)
        r = sd_bus_message_open_container(m, 'a', "(sv)");
    if (m && r >= 0)
        r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)(sv)", "Description", "s",
                                  slice->description, "DefaultDependencies", "b", 0,
                                  "CPUAccounting", "b", 1, "MemoryAccounting", "b", 1,
                                  "TasksAccounting", "b", 1, "IOAccounting", "b", 1);
    if (m && r >= 0)
        r = append_limits(m, slice);
    if (m && r >= 0)
        r = sd_bus_message_close_container(m);
    if (m && r >= 0)
        r = sd_bus_message_append(m, "a(sa(sv))", 0);
    struct systemd_job *job = submit(sd, m, r, &err, "start", slice->name, done, arg);
    job->slice = *slice;
    job->slice.name = str_dup(slice->name);
    job->slice.description = NULL;
    return job;
}

struct systemd_job *systemd_stop_unit(struct systemd *sd, const char *name, systemd_done_fn *done,
                                      void *arg)
{
    struct error err = ERROR_INIT;
    sd_bus_message *m = begin(sd, "StopUnit", &err);
    int r = m ? sd_bus_message_append(m, "ss", name, "replace") : 0;
    return submit(sd, m, r, &err, "stop", name, done, arg);
}

void systemd_job_forget(struct systemd_job *job)
{
    if (job)
        job->done = NULL;
}
