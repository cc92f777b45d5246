/* GetContainerEvents: tells every client that listens what happened, with the pod's status. */
#pragma once

#include "cri/container.h"

struct events;

struct events *events_new(struct runtime *rt);
struct events *events_free(struct events *ev); /* ends the streams; returns NULL */

/* A client listens from now on. */
void events_subscribe(struct events *ev, struct rpc_server_call *call);

/* @container may be NULL: the event is the sandbox's own, under its id. A client that does not keep
 * up is ended with RESOURCE_EXHAUSTED, so that it lists again. */
void events_emit(struct events *ev, Runtime__V1__ContainerEventType type,
                 const struct sandbox *sandbox, const struct container *container);
