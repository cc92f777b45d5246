/*
 * The inhibitor lock; see logind.h.
 *
 * Connect, ask how long a delay may be, raise that once if it is too short (write the file, have
 * systemd send SIGHUP to logind, ask again until it has read it), take the lock. Each step is a
 * call whose answer begins the next one. What goes wrong ends the attempt; a timer begins another.
 * Owners are told after sd-bus has dispatched, so that they may call back.
 */
#include "base/logind.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/bus.h"
#include "base/fs.h"
#include "base/strbuf.h"

#define SERVICE    "org.freedesktop.login1"
#define OBJECT     "/org/freedesktop/login1"
#define MANAGER    "org.freedesktop.login1.Manager"
#define CALL_US    (10 * UINT64_C(1000000))
#define RETRY_MS   1000
#define RETRY_MAX  30000
#define SETTLE_MS  200 /* until logind may have read its configuration */
#define SETTLE_MAX 25  /* so often */

struct logind {
    struct bus bus;
    char *address, *override, *who, *why;
    uint64_t delay_ms;
    const struct logind_ops *ops;
    void *arg;
    struct loop_timer timer; /* the next attempt, or the next look at the delay */
    struct loop_deferred telling;
    struct error err; /* of the last attempt */
    uint64_t retry_ms;
    int fd; /* the lock; -1: none */
    unsigned looks;
    bool settled;             /* the delay is what it will be */
    bool held, told_held;     /* as it is, as the owner knows */
    bool told, broken;        /* the owner knows anything; the attempt has failed */
    bool event, event_begins; /* a shutdown to be told of */
};

static void drop_lock(struct logind *l)
{
    closep(&l->fd);
    l->fd = -1;
}

static void on_telling(void *arg)
{
    struct logind *l = arg;
    if (l->broken) {
        l->broken = false;
        l->held = false;
        drop_lock(l); /* who does not hear of a shutdown would only hold it up */
        bus_disconnect(&l->bus);
        loop_timer_set(&l->timer, l->retry_ms);
        l->retry_ms = l->retry_ms * 2 > RETRY_MAX ? RETRY_MAX : l->retry_ms * 2;
    }
    if (!l->told || l->held != l->told_held) {
        l->told = true;
        l->told_held = l->held;
        l->ops->changed(l->arg, l->held, l->err.code ? &l->err : NULL);
    }
    if (l->event) {
        l->event = false;
        l->ops->shutdown(l->arg, l->event_begins);
    }
}

static void attempt_failed(struct logind *l)
{
    l->broken = true;
    loop_defer(&l->telling);
}

/* True when the answer is one; otherwise the attempt has failed. */
static bool is_answer(struct logind *l, sd_bus_message *m, const char *what)
{
    const sd_bus_error *e = sd_bus_message_get_error(m);
    if (!e)
        return true;
    (void)error_set(&l->err, -EIO, "logind: %s: %s", what, e->message ? e->message : e->name);
    attempt_failed(l);
    return false;
}

static void no_call(struct logind *l, const char *what, int code)
{
    if (code >= 0)
        return;
    (void)error_errno(&l->err, code, "logind: %s", what);
    attempt_failed(l);
}

/* ---- the lock ---- */
static int on_lock(sd_bus_message *m, void *arg, _unused_ sd_bus_error *error)
{
    struct logind *l = arg;
    int fd;
    if (!is_answer(l, m, "Inhibit"))
        return 0;
    int r = sd_bus_message_read(m, "h", &fd);
    int own = r < 0 ? r : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0) {
        no_call(l, "Inhibit", r < 0 ? r : -errno);
        return 0;
    }
    drop_lock(l);
    l->fd = own;
    l->held = true;
    l->retry_ms = RETRY_MS;
    loop_defer(&l->telling);
    return 0;
}

static void take_lock(struct logind *l)
{
    no_call(l, "Inhibit",
            sd_bus_call_method_async(l->bus.bus, NULL, SERVICE, OBJECT, MANAGER, "Inhibit", on_lock,
                                     l, "ssss", "shutdown", l->who, l->why, "delay"));
}

/* ---- how long a delay may be ---- */
static void ask_delay(struct logind *l);

static int on_reloaded(sd_bus_message *m, void *arg, _unused_ sd_bus_error *error)
{
    struct logind *l = arg;
    if (is_answer(l, m, "reload"))
        loop_timer_set(&l->timer, SETTLE_MS);
    return 0;
}

static int write_override(const struct logind *l, struct error *err)
{
    _cleanup_free_ char *dir =
        str_ndup(l->override, (size_t)(strrchr(l->override, '/') - l->override));
    _cleanup_free_ char *text =
        str_printf("# Kubelet logind override\n[Login]\nInhibitDelayMaxSec=%" PRIu64 "\n",
                   (l->delay_ms + 999) / 1000);
    int r = fs_mkdirs(dir, 0755, err);
    return r < 0 ? r : fs_write_atomic(l->override, text, strlen(text), 0644, FS_DURABLE, err);
}

static void raise_delay(struct logind *l)
{
    int r = write_override(l, &l->err);
    if (r < 0) {
        attempt_failed(l);
        return;
    }
    no_call(l, "reload",
            sd_bus_call_method_async(l->bus.bus, NULL, "org.freedesktop.systemd1",
                                     "/org/freedesktop/systemd1",
                                     "org.freedesktop.systemd1.Manager", "KillUnit", on_reloaded, l,
                                     "ssi", "systemd-logind.service", "all", SIGHUP));
}

static int on_delay(sd_bus_message *m, void *arg, _unused_ sd_bus_error *error)
{
    struct logind *l = arg;
    uint64_t us;
    if (!is_answer(l, m, "InhibitDelayMaxUSec"))
        return 0;
    int r = sd_bus_message_read(m, "v", "t", &us);
    if (r < 0) {
        no_call(l, "InhibitDelayMaxUSec", r);
    } else if (us / 1000 >= l->delay_ms || l->settled || l->looks >= SETTLE_MAX) {
        l->settled = true;
        if (us / 1000 < l->delay_ms)
            (void)error_set(&l->err, -ERANGE,
                            "logind grants a delay of %" PRIu64 " ms, less than the %" PRIu64
                            " ms that are wanted",
                            us / 1000, l->delay_ms);
        take_lock(l);
    } else if (l->looks++ == 0) {
        raise_delay(l);
    } else {
        loop_timer_set(&l->timer, SETTLE_MS);
    }
    return 0;
}

static void ask_delay(struct logind *l)
{
    no_call(l, "InhibitDelayMaxUSec",
            sd_bus_call_method_async(l->bus.bus, NULL, SERVICE, OBJECT,
                                     "org.freedesktop.DBus.Properties", "Get", on_delay, l, "ss",
                                     MANAGER, "InhibitDelayMaxUSec"));
}

/* ---- the connection ---- */

/* PrepareForShutdown(active). One that was called off needs another lock for the next. */
static int on_prepare(sd_bus_message *m, void *arg, _unused_ sd_bus_error *error)
{
    struct logind *l = arg;
    int active;
    if (sd_bus_message_read(m, "b", &active) < 0)
        return 0;
    l->event = true;
    l->event_begins = active;
    if (!active)
        take_lock(l);
    loop_defer(&l->telling);
    return 0;
}

static void on_ready(void *arg)
{
    struct logind *l = arg;
    int r = bus_process(&l->bus);
    if (r < 0 && !l->broken) {
        (void)error_errno(&l->err, r, "logind: the connection to the message bus broke");
        attempt_failed(l);
    }
    /* Until it is closed it would be reported again and again. */
    if (r < 0)
        bus_disconnect(&l->bus);
}

static void on_timer(void *arg)
{
    struct logind *l = arg;
    if (!l->bus.bus) {
        l->err = (struct error)ERROR_INIT;
        l->looks = 0;
        int r = bus_connect(&l->bus, l->address, true, &l->err);
        if (r >= 0) {
            (void)sd_bus_set_method_call_timeout(l->bus.bus, CALL_US);
            r = sd_bus_match_signal_async(l->bus.bus, NULL, SERVICE, OBJECT, MANAGER,
                                          "PrepareForShutdown", on_prepare, NULL, l);
            no_call(l, "PrepareForShutdown", r);
        } else {
            attempt_failed(l);
        }
        if (r < 0)
            return;
    }
    ask_delay(l);
    if (l->bus.bus)
        bus_watch(&l->bus);
}

struct logind *logind_new(struct loop *loop, const struct logind_options *options,
                          const struct logind_ops *ops, void *arg)
{
    struct logind *l = mem_zalloc(sizeof(*l));
    l->address = str_dup(options->address);
    l->override = str_dup(options->override);
    l->who = str_dup(options->who);
    l->why = str_dup(options->why);
    l->delay_ms = options->delay_ms;
    l->ops = ops;
    l->arg = arg;
    l->fd = -1;
    l->retry_ms = RETRY_MS;
    bus_init(&l->bus, loop, "logind", on_ready, l);
    loop_timer_init(&l->timer, loop, "logind", on_timer, l);
    loop_deferred_init(&l->telling, loop, on_telling, l);
    loop_timer_set(&l->timer, 0);
    return l;
}

struct logind *logind_free(struct logind *l)
{
    if (!l)
        return NULL;
    drop_lock(l);
    bus_done(&l->bus);
    loop_timer_done(&l->timer);
    loop_deferred_done(&l->telling);
    free(l->address);
    free(l->override);
    free(l->who);
    free(l->why);
    free(l);
    return NULL;
}

bool logind_holds(const struct logind *l)
{
    return l && l->held;
}

void logind_release(struct logind *l)
{
    l->held = false;
    l->told_held = false;
    drop_lock(l);
}
