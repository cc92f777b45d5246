/*
 * Where the kubelet learns what the runtime does: the stream of GetContainerEvents, a list of
 * everything at the start and after every break of the stream, and a list every second where the
 * runtime has no events (containerd before 1.7).
 */
#pragma once

#include "kubelet/kubelet.h"

struct runtime_events;

struct runtime_events_ops {
    /* A sandbox (or its containers) has a new state. @uid is the pod's. */
    void (*sandbox)(void *arg, const char *uid, const Runtime__V1__PodSandboxStatus *s);
    void (*container)(void *arg, const char *uid, const char *sandbox,
                      const Runtime__V1__ContainerStatus *c);
    /* A sandbox or container is gone. */
    void (*gone)(void *arg, const char *uid, const char *id);
    /* The first whole list is through: all there is has been told. Called once. */
    void (*listed)(void *arg);
    /* What runtime_events_refresh() asked for has been told. */
    void (*refreshed)(void *arg, const char *uid);
};

/* Starts listening at once. */
struct runtime_events *runtime_events_new(struct kubelet *k, struct rpc_client *client,
                                          const struct runtime_events_ops *ops, void *arg);
struct runtime_events *runtime_events_free(struct runtime_events *e);
/* Whether the runtime has anything of this pod, as far as is known. */
bool runtime_events_knows(const struct runtime_events *e, const char *uid);
/* Calls @fn for every pod of which the runtime has something. */
void runtime_events_each(const struct runtime_events *e, void (*fn)(const char *uid, void *arg),
                         void *arg);
/* Calls @fn for every sandbox of a pod. */
void runtime_events_sandboxes(const struct runtime_events *e, const char *uid,
                              void (*fn)(const char *id, void *arg), void *arg);
/* Whether the runtime answered the last time. */
bool runtime_events_connected(const struct runtime_events *e);
/* Asks what there is of one pod: after a call whose outcome is not known. Harmless when there is no
 * listener (tests). */
void runtime_events_refresh(struct kubelet *k, const char *uid);
