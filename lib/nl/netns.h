/*
 * Network namespaces. A process stays in its own; what must happen in another one happens on a
 * helper thread that enters it and ends.
 */
#pragma once

#include "base/error.h"

/* Runs @fn on a new thread inside the network namespace @netns (a descriptor) and waits for it.
 * Returns what @fn returns, or -errno when the namespace could not be entered. */
int netns_call(int netns, int (*fn)(void *arg, struct error *err), void *arg, struct error *err);
/* A socket opened inside the namespace: it stays there. The descriptor (O_CLOEXEC) or -errno. */
int netns_socket(int netns, int family, int type, int protocol, struct error *err);
