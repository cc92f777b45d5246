/* Running a node's units in the foreground: what `coracle server` and `coracle agent` share. */
#pragma once

#include "base/loop.h"
#include "cli/node.h"

struct node_hooks {
    /* Before the first unit starts, with the lock held. */
    int (*prepare)(const struct node_config *c, struct error *err);
    /* Once, on the loop, when all units are ready; what it returns goes to done at the end. May be
     * NULL. */
    void *(*ready)(const struct node_config *c, struct loop *loop);
    void (*done)(void *started);
};

/* Takes the supervisor's lock, prepares, adds the units, and runs until a signal: SIGTERM and
 * SIGINT stop the units in order (pods run on), SIGUSR1 leaves them to the next supervisor. Tells
 * NOTIFY_SOCKET what goes on. 0, or -errno: -EBUSY when another supervisor runs. */
int node_supervise(const struct node_config *c, const struct node_hooks *hooks, struct error *err);
