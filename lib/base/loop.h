/*
 * The event loop: one per process, over libevent. A source (timer, descriptor, signal, deferred
 * call) is a struct embedded in its owner, initialised once and named, so that a dump of the loop
 * says what is waiting. Callbacks run on the loop's thread only, except loop_wake().
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/list.h"

struct loop;

/* Makes a loop. Aborts when memory is exhausted, never NULL. */
struct loop *loop_new(void);
struct loop *loop_free(struct loop *loop); /* sources must be done before; returns NULL */
DEFINE_CLEANUP(struct loop *, loop_free);
/* Runs until loop_stop(); returns the code given there. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop, int code);
/* The libevent base, for bufferevents and listeners. */
struct event_base *loop_base(struct loop *loop);

/* ---- timers: one shot, monotonic ---- */
struct loop_timer {
    struct event ev;
    const char *what;
    void (*cb)(void *arg);
    void *arg;
};
void loop_timer_init(struct loop_timer *t, struct loop *loop, const char *what,
                     void (*cb)(void *arg), void *arg);
/* (Re)arms to fire once after @ms milliseconds. */
void loop_timer_set(struct loop_timer *t, uint64_t ms);
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_armed(const struct loop_timer *t);
void loop_timer_done(struct loop_timer *t); /* harmless on a zeroed timer */

/* ---- descriptors ---- */
struct loop_io {
    struct event ev;
    const char *what;
    void (*cb)(int fd, short events, void *arg); /* EV_READ, EV_WRITE */
    void *arg;
};
/* Watches @fd for @events (EV_READ | EV_WRITE) until done; does not own @fd. */
int loop_io_init(struct loop_io *io, struct loop *loop, const char *what, int fd, short events,
                 void (*cb)(int fd, short events, void *arg), void *arg);
void loop_io_done(struct loop_io *io); /* harmless on a zeroed source */

/* ---- signals ---- */
struct loop_signal {
    struct event ev;
    void (*cb)(int signo, void *arg);
    void *arg;
};
void loop_signal_init(struct loop_signal *s, struct loop *loop, int signo,
                      void (*cb)(int signo, void *arg), void *arg);
void loop_signal_done(struct loop_signal *s);

/* ---- deferred calls: run on the next turn of the loop, once per loop_defer() ---- */
struct loop_deferred {
    struct event ev;
    void (*cb)(void *arg);
    void *arg;
};
void loop_deferred_init(struct loop_deferred *d, struct loop *loop, void (*cb)(void *arg),
                        void *arg);
void loop_defer(struct loop_deferred *d);
void loop_deferred_done(struct loop_deferred *d);

/* ---- wake-ups from another thread (gRPC's poller): an eventfd ---- */
struct loop_wakeup {
    struct loop_io io;
    int fd;
    void (*cb)(void *arg);
    void *arg;
};
int loop_wakeup_init(struct loop_wakeup *w, struct loop *loop, const char *what,
                     void (*cb)(void *arg), void *arg);
void loop_wake(struct loop_wakeup *w); /* any thread */
void loop_wakeup_done(struct loop_wakeup *w);

/* ---- the end of a process, through a pidfd: works for children and for adopted processes ---- */
struct loop_pid {
    struct loop_io io;
    int pidfd; /* owned */
    pid_t pid;
    /* @status as from waitpid(); -1 when the process was not our child and its status is lost. */
    void (*cb)(pid_t pid, int status, void *arg);
    void *arg;
};
/* Watches @pid. -ESRCH when there is no such process. */
int loop_pid_init(struct loop_pid *p, struct loop *loop, pid_t pid,
                  void (*cb)(pid_t pid, int status, void *arg), void *arg);
/* Sends @signo through the pidfd: never hits a recycled pid. 0 or -errno. */
int loop_pid_kill(struct loop_pid *p, int signo);
void loop_pid_done(struct loop_pid *p);

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t now_ms(void);
