/*
 * A shutdown that waits for us: an inhibitor lock of systemd-logind in mode "delay", over the
 * message bus of the system, with sd-bus on our loop. org.freedesktop.login1(5),
 * logind.conf(5), https://systemd.io/INHIBITOR_LOCKS.
 *
 * logind lets shutdowns be delayed by InhibitDelayMaxSec only. Where that is less than what is
 * wanted, a file in logind.conf.d raises it (upstream's kubelet writes the same) and logind is told
 * to read it.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

#define LOGIND_OVERRIDE "/etc/systemd/logind.conf.d/99-kubelet.conf" /* upstream's name */

struct logind;

struct logind_ops {
    /* The machine is about to go down and waits for logind_release(); or (@begins false) it isn't
     * any more. */
    void (*shutdown)(void *arg, bool begins);
    /* The lock was got (@why NULL) or is lost, or not to be had: then it is tried again, in half a
     * minute at the latest. Told when it changes. With the lock @why may say what is wrong all the
     * same: the delay that logind grants is too short. */
    void (*changed)(void *arg, bool held, const struct error *why);
};

struct logind_options {
    const char *address;  /* of the bus */
    const char *override; /* path of LOGIND_OVERRIDE */
    const char *who, *why;
    uint64_t delay_ms; /* wanted */
};

/* Begins at once. @ops stays the caller's; so do the texts, which are copied. */
struct logind *logind_new(struct loop *loop, const struct logind_options *options,
                          const struct logind_ops *ops, void *arg);
/* Gives the lock back. NULL is harmless; returns NULL. Not from within a callback. */
struct logind *logind_free(struct logind *l);
/* The lock is held, and its owner will hear of a shutdown. */
bool logind_holds(const struct logind *l);
/* The machine may go down. */
void logind_release(struct logind *l);
