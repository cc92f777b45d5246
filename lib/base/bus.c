/* sd-bus on our loop; see bus.h. sd-bus says which events and what timeout it waits for. */
#include "base/bus.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

static void on_io(_unused_ int fd, _unused_ short events, void *arg)
{
    struct bus *b = arg;
    b->ready(b->arg);
}

static void on_timer(void *arg)
{
    struct bus *b = arg;
    b->ready(b->arg);
}

void bus_init(struct bus *b, struct loop *loop, const char *what, void (*ready)(void *arg),
              void *arg)
{
    *b = (struct bus){.loop = loop, .what = what, .ready = ready, .arg = arg};
    loop_timer_init(&b->timer, loop, what, on_timer, b);
}

int bus_connect(struct bus *b, const char *address, bool daemon, struct error *err)
{
    sd_bus *bus = NULL;
    int r = sd_bus_new(&bus);
    if (r >= 0)
        r = sd_bus_set_address(bus, address);
    if (r >= 0)
        r = sd_bus_set_bus_client(bus, daemon);
    if (r >= 0)
        r = sd_bus_start(bus);
    if (r < 0) {
        (void)sd_bus_close_unref(bus);
        return error_errno(err, r, "%s does not answer at %s", b->what, address);
    }
    b->bus = bus;
    return 0;
}

void bus_disconnect(struct bus *b)
{
    loop_io_done(&b->io);
    b->io = (struct loop_io){.what = NULL};
    b->watched = 0;
    loop_timer_stop(&b->timer);
    b->bus = sd_bus_close_unref(b->bus);
}

void bus_watch(struct bus *b)
{
    int events = sd_bus_get_events(b->bus);
    uint64_t until = UINT64_MAX;
    short want = (short)((events & POLLIN ? EV_READ : 0) | (events & POLLOUT ? EV_WRITE : 0));
    if (want != b->watched) {
        loop_io_done(&b->io);
        b->io = (struct loop_io){.what = NULL};
        if (want)
            (void)loop_io_init(&b->io, b->loop, b->what, sd_bus_get_fd(b->bus), want, on_io, b);
        b->watched = want;
    }
    loop_timer_stop(&b->timer);
    if (sd_bus_get_timeout(b->bus, &until) > 0 && until != UINT64_MAX) {
        struct timespec now;
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        uint64_t now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
        loop_timer_set(&b->timer, until > now_us ? (until - now_us + 999) / 1000 : 0);
    }
}

int bus_process(struct bus *b)
{
    int r;
    while ((r = sd_bus_process(b->bus, NULL)) > 0)
        ;
    if (r == 0)
        bus_watch(b);
    return r;
}

void bus_done(struct bus *b)
{
    bus_disconnect(b);
    loop_timer_done(&b->timer);
}
