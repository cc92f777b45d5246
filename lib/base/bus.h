/*
 * A D-Bus connection by sd-bus on our loop. The owner makes it, calls what it likes on ->bus
 * (asynchronously), and is told through ready() when bus_process() has something to do; whoever has
 * sent something outside of a callback of sd-bus's calls bus_watch().
 */
#pragma once

#include <systemd/sd-bus.h>

#include "base/error.h"
#include "base/loop.h"

struct bus {
    struct loop *loop;
    const char *what; /* for dumps of the loop */
    sd_bus *bus;      /* NULL: not connected */
    struct loop_io io;
    short watched; /* events of @io */
    struct loop_timer timer;
    void (*ready)(void *arg);
    void *arg;
};

void bus_init(struct bus *b, struct loop *loop, const char *what, void (*ready)(void *arg),
              void *arg);
/* Connects to @address (D-Bus specification, "Server Addresses"); @daemon: a message bus answers
 * there, which is greeted. Does not wait. -errno with @err. */
int bus_connect(struct bus *b, const char *address, bool daemon, struct error *err);
/* Closes; calls under way are not answered any more. Harmless when there is no connection; not from
 * within a callback of sd-bus's. */
void bus_disconnect(struct bus *b);
/* Reads, dispatches and sends what there is, and watches for more. -errno: the connection broke,
 * and is still to be closed. */
int bus_process(struct bus *b);
void bus_watch(struct bus *b);
void bus_done(struct bus *b);
