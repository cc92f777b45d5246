/* What the files of this directory share. */
#pragma once

#include "kubelet/devices/devices.h"
#include "net/grpc_server.h"

struct devices {
    struct kubelet *k;
    char *dir, *checkpoint;
    struct rpc_server *registration, *lister;
    struct map plugins; /* resource → struct plugin */
    struct allocation_list allocations;
    struct list requests;
    void (*changed)(void *arg);
    void *arg;
};

struct device_request {
    struct list entry;
    struct devices *d;
    struct pod *pod;
    const char *container; /* whose start is told of; NULL: an allocation */
    size_t at, resource;   /* container, and place in its limits */
    struct string_list ids;
    struct rpc_call *call;
    const char *asked; /* the resource that @call is about */
    struct loop_deferred step;
    char *error;
    void (*done)(void *arg, const char *error);
    void *arg;
};

/* Another one of this resource has registered, and the calls to the one before are gone. */
void devices_lost(struct devices *d, const char *resource);
void devices_save(const struct devices *d); /* writes the checkpoint; a failure is logged */
/* Adds the pod resources service (lister.c). */
void devices_lister_add(struct devices *d, struct rpc_server *server);
