/*
 * As much of systemd-logind as an inhibitor of shutdowns needs, on the message bus of a test.
 *
 *   fake-logind ADDRESS LOG OVERRIDE
 *
 * LOG gets a line for each call, and when a lock is given back:
 *   inhibit WHAT WHO MODE      reload UNIT SIGNAL      released
 * A delay of 5 s is granted until OVERRIDE, a file of logind.conf.d, is read at a reload. SIGUSR1:
 * the machine is about to go down; SIGUSR2: it isn't.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <systemd/sd-bus.h>

#include "base/fs.h"

#define OBJECT  "/org/freedesktop/login1"
#define MANAGER "org.freedesktop.login1.Manager"
#define LOCKS   8

struct fake {
    FILE *log;
    const char *override;
    uint64_t delay;
    int locks[LOCKS]; /* our ends; -1: none */
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

static int on_inhibit(sd_bus_message *m, void *arg, sd_bus_error *error)
{
    struct fake *f = arg;
    const char *what, *who, *why, *mode;
    int ends[2], r = sd_bus_message_read(m, "ssss", &what, &who, &why, &mode);
    size_t i = 0;
    while (i < LOCKS && f->locks[i] >= 0)
        i++;
    if (r < 0 || i == LOCKS || pipe2(ends, O_CLOEXEC) < 0)
        return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "no lock");
    f->locks[i] = ends[0];
    note(f, "inhibit %s %s %s", what, who, mode);
    r = sd_bus_reply_method_return(m, "h", ends[1]);
    (void)close(ends[1]);
    return r;
}

static int on_kill(sd_bus_message *m, void *arg, _unused_ sd_bus_error *error)
{
    struct fake *f = arg;
    const char *unit, *who;
    int signo, r = sd_bus_message_read(m, "ssi", &unit, &who, &signo);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (r < 0)
        return r;
    note(f, "reload %s %d", unit, signo);
    if (fs_read(f->override, 4096, &text, NULL) >= 0) {
        const char *value = strstr(strbuf_text(&text), "\nInhibitDelayMaxSec=");
        f->delay = value ? strtoull(strchr(value, '=') + 1, NULL, 10) * 1000000 : f->delay;
    }
    return sd_bus_reply_method_return(m, "");
}

static int get_delay(_unused_ sd_bus *bus, _unused_ const char *path,
                     _unused_ const char *interface, _unused_ const char *property,
                     sd_bus_message *reply, void *arg, _unused_ sd_bus_error *error)
{
    const struct fake *f = arg;
    return sd_bus_message_append(reply, "t", f->delay);
}

static const sd_bus_vtable logind[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("InhibitDelayMaxUSec", "t", get_delay, 0, 0),
    SD_BUS_METHOD("Inhibit", "ssss", "h", on_inhibit, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_SIGNAL("PrepareForShutdown", "b", 0),
    SD_BUS_VTABLE_END,
};
static const sd_bus_vtable systemd[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("KillUnit", "ssi", "", on_kill, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

static int serve_bus(const char *address, struct fake *f, sd_bus **ret)
{
    int r = sd_bus_new(ret);
    if (r >= 0)
        r = sd_bus_set_address(*ret, address);
    if (r >= 0)
        r = sd_bus_set_bus_client(*ret, 1);
    if (r >= 0)
        r = sd_bus_start(*ret);
    if (r >= 0)
        r = sd_bus_add_object_vtable(*ret, NULL, OBJECT, MANAGER, logind, f);
    if (r >= 0)
        r = sd_bus_add_object_vtable(*ret, NULL, "/org/freedesktop/systemd1",
                                     "org.freedesktop.systemd1.Manager", systemd, f);
    if (r >= 0)
        r = sd_bus_request_name(*ret, "org.freedesktop.systemd1", 0);
    if (r >= 0)
        r = sd_bus_request_name(*ret, "org.freedesktop.login1", 0);
    return r;
}

static void look_at_locks(struct fake *f)
{
    for (size_t i = 0; i < LOCKS; i++) {
        struct pollfd p = {.fd = f->locks[i], .events = POLLIN};
        if (f->locks[i] < 0 || poll(&p, 1, 0) <= 0)
            continue;
        note(f, "released");
        (void)close(f->locks[i]);
        f->locks[i] = -1;
    }
}

int main(int argc, char **argv)
{
    struct fake f = {.delay = 5000000};
    sd_bus *bus = NULL;
    sigset_t set;
    if (argc != 4 || !(f.log = fopen(argv[2], "ae"))) {
        (void)fputs("fake-logind ADDRESS LOG OVERRIDE\n", stderr);
        return 2;
    }
    f.override = argv[3];
    for (size_t i = 0; i < LOCKS; i++)
        f.locks[i] = -1;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigaddset(&set, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    int r = serve_bus(argv[1], &f, &bus);
    if (r < 0) {
        (void)fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
        return 1;
    }
    note(&f, "ready");
    for (;;) {
        struct signalfd_siginfo info;
        while ((r = sd_bus_process(bus, NULL)) > 0)
            ;
        if (r < 0)
            return 1;
        if (read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
            (void)sd_bus_emit_signal(bus, OBJECT, MANAGER, "PrepareForShutdown", "b",
                                     info.ssi_signo == SIGUSR1);
        look_at_locks(&f);
        struct pollfd p[] = {{.fd = sd_bus_get_fd(bus), .events = (short)sd_bus_get_events(bus)},
                             {.fd = signals, .events = POLLIN}};
        (void)poll(p, 2, 20);
    }
}
