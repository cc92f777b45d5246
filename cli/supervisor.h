/*
 * The supervisor: starts the processes of a node in order, restarts what ends (back-off), stops
 * them in reverse order.
 *
 * Theory of operation. A child is started with NOTIFY_SOCKET (sd_notify's protocol) and recorded
 * in <state>/<name>.json with its pid, the kernel's start time of that pid, and a digest of its
 * command line. The record is volatile: it lies under /run. Children are not killed when the
 * supervisor dies: the next supervisor finds the records, checks that pid and start time still name
 * the same process, and adopts it through a pidfd; one started with another command line is
 * replaced. So a killed supervisor costs nothing and nothing ever runs twice. One supervisor at a
 * time: it holds a lock on <state>/lock.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/loop.h"

struct supervisor;

struct unit_spec {
    const char *name;        /* "apiserver" */
    const char *const *argv; /* NULL-terminated; copied */
    const char *log_path;    /* standard output and error are appended here */
    bool notifies;           /* sends READY=1; others count as ready once they run */
    uint64_t stop_ms;        /* from SIGTERM to SIGKILL; 0: 10 s */
};

struct supervisor_ops {
    void (*ready)(void *arg, const char *unit);                  /* first time and after restarts */
    void (*ended)(void *arg, const char *unit, const char *how); /* about to be restarted */
    void (*stopped)(void *arg);                                  /* after supervisor_stop() */
};

/* Takes the lock. -EBUSY and the holder's pid in @ret_holder when another supervisor runs. */
int supervisor_new(struct supervisor **ret, struct loop *loop, const char *state_dir,
                   const struct supervisor_ops *ops, void *arg, pid_t *ret_holder,
                   struct error *err);
/* Children run on. Returns NULL. */
struct supervisor *supervisor_free(struct supervisor *s);

/* Starts (or adopts) a unit after all units added before it are ready. 0 or -errno. */
int supervisor_add(struct supervisor *s, const struct unit_spec *spec, struct error *err);
bool supervisor_all_ready(const struct supervisor *s);
/* Whether any unit was adopted from an earlier supervisor. */
bool supervisor_adopted(const struct supervisor *s);
/* Only adopts: units that do not run are not started, and none is restarted (`coracle down`).
 * Before the first supervisor_add(). */
void supervisor_only_adopt(struct supervisor *s);
/* Stops the units in reverse order, each after the one before it has ended, down to and not
 * including @until (NULL: all); then calls stopped. May be called again to go on. */
void supervisor_stop(struct supervisor *s, const char *until);

/* The pid of the running supervisor of @state_dir (its lock is held), 0 when there is none. */
pid_t supervisor_running(const char *state_dir);
