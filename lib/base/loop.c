/* The event loop of loop.h, over libevent. */
#include "base/loop.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/strbuf.h"

struct loop {
    struct event_base *base;
    int code;
};

struct loop *loop_new(void)
{
    struct loop *loop = mem_zalloc(sizeof(*loop));
    loop->base = event_base_new();
    if (!loop->base)
        abort();
    return loop;
}

struct loop *loop_free(struct loop *loop)
{
    if (loop) {
        event_base_free(loop->base);
        free(loop);
    }
    return NULL;
}

int loop_run(struct loop *loop)
{
    loop->code = 0;
    (void)event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
    return loop->code;
}

void loop_stop(struct loop *loop, int code)
{
    loop->code = code;
    (void)event_base_loopbreak(loop->base);
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

static bool assigned(const struct event *ev)
{
    return event_initialized(ev) != 0;
}

static void on_timer(_unused_ evutil_socket_t fd, _unused_ short events, void *arg)
{
    struct loop_timer *t = arg;
    t->cb(t->arg);
}

void loop_timer_init(struct loop_timer *t, struct loop *loop, const char *what,
                     void (*cb)(void *arg), void *arg)
{
    *t = (struct loop_timer){.what = what, .cb = cb, .arg = arg};
    (void)evtimer_assign(&t->ev, loop->base, on_timer, t);
}

void loop_timer_set(struct loop_timer *t, uint64_t ms)
{
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    (void)evtimer_add(&t->ev, &tv);
}

void loop_timer_stop(struct loop_timer *t)
{
    if (assigned(&t->ev))
        (void)evtimer_del(&t->ev);
}

bool loop_timer_armed(const struct loop_timer *t)
{
    return assigned(&t->ev) && evtimer_pending(&t->ev, NULL);
}

void loop_timer_done(struct loop_timer *t)
{
    loop_timer_stop(t);
}

static void on_io(evutil_socket_t fd, short events, void *arg)
{
    struct loop_io *io = arg;
    io->cb(fd, events, io->arg);
}

int loop_io_init(struct loop_io *io, struct loop *loop, const char *what, int fd, short events,
                 void (*cb)(int fd, short events, void *arg), void *arg)
{
    *io = (struct loop_io){.what = what, .cb = cb, .arg = arg};
    if (event_assign(&io->ev, loop->base, fd, (short)(events | EV_PERSIST), on_io, io) < 0)
        return -EINVAL;
    return event_add(&io->ev, NULL) < 0 ? -EIO : 0;
}

void loop_io_done(struct loop_io *io)
{
    if (assigned(&io->ev))
        (void)event_del(&io->ev);
}

static void on_signal(evutil_socket_t signo, _unused_ short events, void *arg)
{
    struct loop_signal *s = arg;
    s->cb(signo, s->arg);
}

void loop_signal_init(struct loop_signal *s, struct loop *loop, int signo,
                      void (*cb)(int signo, void *arg), void *arg)
{
    *s = (struct loop_signal){.cb = cb, .arg = arg};
    (void)evsignal_assign(&s->ev, loop->base, signo, on_signal, s);
    (void)evsignal_add(&s->ev, NULL);
}

void loop_signal_done(struct loop_signal *s)
{
    if (assigned(&s->ev))
        (void)evsignal_del(&s->ev);
}

static void on_deferred(_unused_ evutil_socket_t fd, _unused_ short events, void *arg)
{
    struct loop_deferred *d = arg;
    d->cb(d->arg);
}

void loop_deferred_init(struct loop_deferred *d, struct loop *loop, void (*cb)(void *arg),
                        void *arg)
{
    *d = (struct loop_deferred){.cb = cb, .arg = arg};
    (void)event_assign(&d->ev, loop->base, -1, 0, on_deferred, d);
}

void loop_defer(struct loop_deferred *d)
{
    /* Not event_active(): the current turn would go on with it, and a call that defers itself
     * would keep descriptors from being looked at. */
    const struct timeval now = {.tv_sec = 0};
    (void)event_add(&d->ev, &now);
}

void loop_deferred_done(struct loop_deferred *d)
{
    if (assigned(&d->ev))
        (void)event_del(&d->ev);
}

static void on_wakeup(int fd, _unused_ short events, void *arg)
{
    struct loop_wakeup *w = arg;
    uint64_t count;
    (void)!read(fd, &count, sizeof(count));
    w->cb(w->arg);
}

int loop_wakeup_init(struct loop_wakeup *w, struct loop *loop, const char *what,
                     void (*cb)(void *arg), void *arg)
{
    *w = (struct loop_wakeup){.cb = cb, .arg = arg};
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->fd < 0)
        return -errno;
    return loop_io_init(&w->io, loop, what, w->fd, EV_READ, on_wakeup, w);
}

void loop_wake(struct loop_wakeup *w)
{
    uint64_t one = 1;
    (void)!write(w->fd, &one, sizeof(one));
}

void loop_wakeup_done(struct loop_wakeup *w)
{
    loop_io_done(&w->io);
    closep(&w->fd);
    w->fd = -1;
}

static void on_pidfd(_unused_ int fd, _unused_ short events, void *arg)
{
    struct loop_pid *p = arg;
    int status = -1;
    if (waitpid(p->pid, &status, WNOHANG) != p->pid)
        status = -1;
    pid_t pid = p->pid;
    loop_pid_done(p);
    p->cb(pid, status, p->arg);
}

int loop_pid_init(struct loop_pid *p, struct loop *loop, pid_t pid,
                  void (*cb)(pid_t pid, int status, void *arg), void *arg)
{
    *p = (struct loop_pid){.pid = pid, .cb = cb, .arg = arg};
    p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (p->pidfd < 0)
        return -errno;
    return loop_io_init(&p->io, loop, "pidfd", p->pidfd, EV_READ, on_pidfd, p);
}

int loop_pid_kill(struct loop_pid *p, int signo)
{
    if (p->pidfd < 0)
        return -ESRCH;
    return syscall(SYS_pidfd_send_signal, p->pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

void loop_pid_done(struct loop_pid *p)
{
    loop_io_done(&p->io);
    if (p->pid > 0 && p->pidfd >= 0)
        (void)close(p->pidfd);
    p->pidfd = -1;
}

uint64_t now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}
