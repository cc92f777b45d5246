/*
 * As much of systemd's manager as a cgroup driver needs, on a socket of the tests' own: transient
 * scopes that are directories of the host's hierarchies, end with their last process, and are
 * stopped; and slices, which stay until they are stopped.
 *
 *   fake-systemd SOCKET LOG
 *
 * LOG gets a line for each call, and for each scope that ended by itself:
 *   start NAME slice=… delegate=0|1 pid=…      stop NAME      gone NAME
 *   slice NAME LIMIT=… …      set NAME LIMIT=… …
 * LOG.fail, while it is there, says what becomes of starts: a job's result ("failed"), "refuse",
 * "close" (the connection) or "hang".
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <systemd/sd-bus.h>

#include "base/cgroup.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/systemd.h"

#define CONNS_MAX 16
#define STEP_MS   20
#define OBJECT    "/org/freedesktop/systemd1"
#define MANAGER   "org.freedesktop.systemd1.Manager"

struct fake {
    struct cgroups *cgs;
    FILE *log;
    char *fail_file;
    struct map scopes; /* name → its group */
    struct map slices; /* the same */
    struct {
        sd_bus *bus;
        uint32_t job; /* over, to be told after the answer; 0: none */
        char *unit;
        char result[16];
        bool close;
    } conns[CONNS_MAX];
    uint32_t jobs;
};

static void note(const struct fake *f, const char *fmt, ...) _printf_(2, 3);
static void note(const struct fake *f, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vfprintf(f->log, fmt, args);
    va_end(args);
    (void)fputc('\n', f->log);
    (void)fflush(f->log);
}

static size_t conn_of(const struct fake *f, sd_bus_message *m)
{
    for (size_t i = 0; i < CONNS_MAX; i++)
        if (f->conns[i].bus == sd_bus_message_get_bus(m))
            return i;
    abort();
}

static int queue_job(struct fake *f, sd_bus_message *m, const char *unit, const char *result)
{
    size_t i = conn_of(f, m);
    char object[64];
    f->conns[i].job = ++f->jobs;
    free(f->conns[i].unit);
    f->conns[i].unit = str_dup(unit);
    (void)snprintf(f->conns[i].result, sizeof(f->conns[i].result), "%s", result);
    (void)snprintf(object, sizeof(object), OBJECT "/job/%u", f->jobs);
    return sd_bus_reply_method_return(m, "o", object);
}

struct properties {
    char *slice;
    bool delegate;
    uint32_t pid;
    struct strbuf limits; /* " NAME=…", of the unsigned ones */
};

static int read_property(sd_bus_message *m, struct properties *p)
{
    const char *name, *text, *contents;
    const void *pids;
    uint64_t number;
    size_t size;
    int yes, r = sd_bus_message_enter_container(m, 'r', "sv");
    if (r <= 0)
        return r;
    if ((r = sd_bus_message_read(m, "s", &name)) < 0)
        return r;
    if (str_eq(name, "Slice") && (r = sd_bus_message_read(m, "v", "s", &text)) >= 0) {
        free(p->slice);
        p->slice = str_dup(text);
    } else if (str_eq(name, "Delegate") && (r = sd_bus_message_read(m, "v", "b", &yes)) >= 0) {
        p->delegate = yes;
    } else if (str_eq(name, "PIDs") && (r = sd_bus_message_enter_container(m, 'v', "au")) >= 0 &&
               (r = sd_bus_message_read_array(m, 'u', &pids, &size)) >= 0 && size >= 4) {
        p->pid = *(const uint32_t *)pids;
        r = sd_bus_message_exit_container(m);
    } else if (r >= 0 && (r = sd_bus_message_peek_type(m, NULL, &contents)) >= 0) {
        if (str_eq(contents, "t") && (r = sd_bus_message_read(m, "v", "t", &number)) >= 0)
            strbuf_addf(&p->limits, " %s=%" PRIu64, name, number);
        else if (r >= 0)
            r = sd_bus_message_skip(m, "v");
    }
    return r < 0 ? r : sd_bus_message_exit_container(m) < 0 ? -EBADMSG : 1;
}

/* What to do with a start instead of starting. */
static bool told_to_fail(struct fake *f, char text[16])
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    if (fs_read(f->fail_file, 15, &b, NULL) < 0)
        return false;
    (void)snprintf(text, 16, "%s", strbuf_text(&b));
    text[strcspn(text, "\n")] = '\0';
    return true;
}

static int start_slice(struct fake *f, sd_bus_message *m, const char *name, sd_bus_error *error)
{
    struct error err = ERROR_INIT;
    char *group = systemd_slice_group(name, &err);
    if (!group || cgroup_create(f->cgs, group, &err) < 0) {
        free(group);
        return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "%s", err.text);
    }
    map_set(&f->slices, name, group);
    return queue_job(f, m, name, "done");
}

static int start(struct fake *f, sd_bus_message *m, const char *name, const struct properties *p,
                 sd_bus_error *error)
{
    struct error err = ERROR_INIT;
    char fail[16];
    if (told_to_fail(f, fail)) {
        if (str_eq(fail, "refuse"))
            return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED, "told to refuse");
        if (str_eq(fail, "close"))
            f->conns[conn_of(f, m)].close = true;
        return str_eq(fail, "close") || str_eq(fail, "hang") ? 1 : queue_job(f, m, name, fail);
    }
    if (map_has(&f->scopes, name) || map_has(&f->slices, name))
        return sd_bus_error_setf(error, "org.freedesktop.systemd1.UnitExists",
                                 "Unit %s was already loaded", name);
    if (str_ends(name, ".slice"))
        return start_slice(f, m, name, error);
    _cleanup_free_ char *slice = systemd_slice_group(p->slice ? p->slice : "", &err);
    if (!slice || !p->pid || !p->delegate)
        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "bad properties: %s", err.text);
    char *group = str_printf("%s/%s", slice, name);
    if (cgroup_create(f->cgs, group, &err) < 0 ||
        cgroup_add_pid(f->cgs, group, (pid_t)p->pid, &err) < 0) {
        free(group);
        return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "%s", err.text);
    }
    map_set(&f->scopes, name, group);
    return queue_job(f, m, name, "done");
}

static int on_start(sd_bus_message *m, void *arg, sd_bus_error *error)
{
    struct fake *f = arg;
    const char *name, *mode;
    struct properties p = {.limits = STRBUF_INIT};
    int r = sd_bus_message_read(m, "ss", &name, &mode);
    if (r >= 0)
        r = sd_bus_message_enter_container(m, 'a', "(sv)");
    while (r >= 0 && (r = read_property(m, &p)) > 0)
        ;
    if (r >= 0) {
        if (str_ends(name, ".slice"))
            note(f, "slice %s%s", name, strbuf_text(&p.limits));
        else
            note(f, "start %s slice=%s delegate=%d pid=%u", name, p.slice, p.delegate, p.pid);
        r = start(f, m, name, &p, error);
    }
    free(p.slice);
    strbuf_done(&p.limits);
    return r;
}

static int on_set(sd_bus_message *m, void *arg, sd_bus_error *error)
{
    struct fake *f = arg;
    const char *name;
    int runtime;
    struct properties p = {.limits = STRBUF_INIT};
    int r = sd_bus_message_read(m, "sb", &name, &runtime);
    if (r >= 0)
        r = sd_bus_message_enter_container(m, 'a', "(sv)");
    while (r >= 0 && (r = read_property(m, &p)) > 0)
        ;
    if (r >= 0) {
        note(f, "set %s%s", name, strbuf_text(&p.limits));
        r = map_has(&f->slices, name)
                ? sd_bus_reply_method_return(m, "")
                : sd_bus_error_setf(error, "org.freedesktop.systemd1.NoSuchUnit",
                                    "Unit %s not loaded.", name);
    }
    free(p.slice);
    strbuf_done(&p.limits);
    return r;
}

static int on_start_again(sd_bus_message *m, void *arg, sd_bus_error *error)
{
    struct fake *f = arg;
    const char *name, *mode;
    int r = sd_bus_message_read(m, "ss", &name, &mode);
    return r < 0 ? r : start_slice(f, m, name, error);
}

static bool is_empty(const struct fake *f, const char *group)
{
    pid_t *pids = NULL;
    size_t n = 0;
    int r = cgroup_pids(f->cgs, group, true, &pids, &n, NULL);
    free(pids);
    return r == 0 && n == 0;
}

static int on_stop(sd_bus_message *m, void *arg, sd_bus_error *error)
{
    struct fake *f = arg;
    const char *name, *mode;
    int r = sd_bus_message_read(m, "ss", &name, &mode);
    if (r < 0)
        return r;
    note(f, "stop %s", name);
    struct map *units = str_ends(name, ".slice") ? &f->slices : &f->scopes;
    const char *group = map_get(units, name);
    if (!group)
        return sd_bus_error_setf(error, "org.freedesktop.systemd1.NoSuchUnit",
                                 "Unit %s not loaded.", name);
    for (int i = 0; i < 200 && !is_empty(f, group); i++) {
        (void)cgroup_kill(f->cgs, group, NULL);
        (void)poll(NULL, 0, 10);
    }
    (void)cgroup_remove(f->cgs, group, NULL);
    r = queue_job(f, m, name, "done");
    map_remove(units, name);
    return r;
}

/* A scope ends with its last process. */
static void collect(struct fake *f)
{
    MAP_FOR_EACH(e, &f->scopes) {
        if (!is_empty(f, map_value(e)) || cgroup_remove(f->cgs, map_value(e), NULL) < 0)
            continue;
        note(f, "gone %s", map_key(e));
        map_remove(&f->scopes, map_key(e));
    }
}

static int get_version(_unused_ sd_bus *bus, _unused_ const char *path,
                       _unused_ const char *interface, _unused_ const char *property,
                       sd_bus_message *reply, _unused_ void *arg, _unused_ sd_bus_error *error)
{
    return sd_bus_message_append(reply, "s", "252 (fake)");
}

static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Version", "s", get_version, 0, 0),
    SD_BUS_METHOD("StartTransientUnit", "ssa(sv)a(sa(sv))", "o", on_start,
                  SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("StartUnit", "ss", "o", on_start_again, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("SetUnitProperties", "sba(sv)", "", on_set, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("StopUnit", "ss", "o", on_stop, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_SIGNAL("JobRemoved", "uoss", 0),
    SD_BUS_VTABLE_END,
};

static void accept_one(struct fake *f, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    size_t i = 0;
    while (i < CONNS_MAX && f->conns[i].bus)
        i++;
    if (fd < 0 || i == CONNS_MAX)
        return;
    sd_bus *bus = NULL;
    static const sd_id128_t id =
        SD_ID128_MAKE(12, 34, 56, 78, 9a, bc, de, f0, 12, 34, 56, 78, 9a, bc, de, f0);
    if (sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 ||
        sd_bus_set_server(bus, 1, id) < 0 ||
        sd_bus_set_sender(bus, "org.freedesktop.systemd1") < 0 || sd_bus_start(bus) < 0 ||
        sd_bus_add_object_vtable(bus, NULL, OBJECT, MANAGER, vtable, f) < 0)
        abort();
    f->conns[i].bus = bus;
}

static void serve(struct fake *f, size_t i)
{
    int r;
    while ((r = sd_bus_process(f->conns[i].bus, NULL)) > 0) {
        if (f->conns[i].job) {
            char object[64];
            (void)snprintf(object, sizeof(object), OBJECT "/job/%u", f->conns[i].job);
            (void)sd_bus_emit_signal(f->conns[i].bus, OBJECT, MANAGER, "JobRemoved", "uoss",
                                     f->conns[i].job, object, f->conns[i].unit, f->conns[i].result);
            f->conns[i].job = 0;
        }
        if (f->conns[i].close)
            r = -ECONNRESET;
        if (r < 0)
            break;
    }
    if (r < 0) {
        sd_bus_close_unref(f->conns[i].bus);
        free(f->conns[i].unit);
        f->conns[i] = (__typeof__(f->conns[i])){.bus = NULL};
    }
}

int main(int argc, char **argv)
{
    struct fake f = {.scopes = MAP_INIT(free), .slices = MAP_INIT(free)};
    struct error err = ERROR_INIT;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (argc != 3 || strlen(argv[1]) >= sizeof(addr.sun_path) ||
        cgroups_open(NULL, &f.cgs, &err) < 0 || !(f.log = fopen(argv[2], "ae"))) {
        (void)fprintf(stderr, "fake-systemd SOCKET LOG: %s\n", error_text(&err));
        return 2;
    }
    f.fail_file = str_printf("%s.fail", argv[2]);
    memcpy(addr.sun_path, argv[1], strlen(argv[1]));
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unlink(argv[1]);
    if (listener < 0 || bind(listener, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(listener, CONNS_MAX) < 0) {
        perror(argv[1]);
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    for (;;) {
        struct pollfd p[CONNS_MAX + 1] = {{.fd = listener, .events = POLLIN}};
        for (size_t i = 0; i < CONNS_MAX; i++)
            p[i + 1] = (struct pollfd){
                .fd = f.conns[i].bus ? sd_bus_get_fd(f.conns[i].bus) : -1,
                .events = f.conns[i].bus ? (short)sd_bus_get_events(f.conns[i].bus) : (short)0};
        (void)poll(p, CONNS_MAX + 1, STEP_MS);
        accept_one(&f, listener);
        for (size_t i = 0; i < CONNS_MAX; i++)
            if (f.conns[i].bus)
                serve(&f, i);
        collect(&f);
    }
}
