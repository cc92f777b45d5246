/*
 * The container runtime as the kubelet sees it: CRI v1 calls by number, asynchronous. One table of
 * operations, so that the pod worker can be driven in tests by a script instead of a socket.
 */
#pragma once

#include "net/cri.pb-c.h"
#include "net/grpc_client.h"

enum cri_method {
    CRI_VERSION,
    CRI_STATUS,
    CRI_RUNTIME_CONFIG,
    CRI_UPDATE_RUNTIME_CONFIG,
    CRI_RUN_POD_SANDBOX,
    CRI_STOP_POD_SANDBOX,
    CRI_REMOVE_POD_SANDBOX,
    CRI_POD_SANDBOX_STATUS,
    CRI_LIST_POD_SANDBOX,
    CRI_CREATE_CONTAINER,
    CRI_START_CONTAINER,
    CRI_STOP_CONTAINER,
    CRI_REMOVE_CONTAINER,
    CRI_LIST_CONTAINERS,
    CRI_CONTAINER_STATUS,
    CRI_UPDATE_CONTAINER_RESOURCES,
    CRI_LIST_CONTAINER_STATS,
    CRI_LIST_POD_SANDBOX_STATS,
    CRI_EXEC_SYNC,
    CRI_EXEC,
    CRI_ATTACH,
    CRI_PORT_FORWARD,
    CRI_LIST_IMAGES,
    CRI_IMAGE_STATUS,
    CRI_PULL_IMAGE,
    CRI_REMOVE_IMAGE,
    CRI_IMAGE_FS_INFO,
    CRI_METHODS,
};

struct runtime;
struct runtime_call;

struct runtime_ops {
    /* As rpc_client_call(). */
    struct runtime_call *(*call)(struct runtime *rt, enum cri_method method,
                                 const ProtobufCMessage *request, uint64_t deadline_ms,
                                 rpc_reply_fn *cb, void *arg);
    void (*cancel)(struct runtime *rt, struct runtime_call *call);
};
struct runtime {
    const struct runtime_ops *ops;
    uint64_t calls[CRI_METHODS]; /* so far */
};
/* The name of a call in upstream's metrics ("create_container"). */
const char *cri_operation(enum cri_method method);

/* The upstream deadlines: runtime requests 2 minutes, more where the call itself waits. */
#define CRI_DEADLINE_MS 120000u

static inline struct runtime_call *runtime_call(struct runtime *rt, enum cri_method method,
                                                const ProtobufCMessage *request,
                                                uint64_t deadline_ms, rpc_reply_fn *cb, void *arg)
{
    rt->calls[method]++;
    return rt->ops->call(rt, method, request, deadline_ms, cb, arg);
}
/* The callback is not called. *@call becomes NULL; a NULL one is harmless. */
static inline void runtime_cancel(struct runtime *rt, struct runtime_call **call)
{
    if (*call)
        rt->ops->cancel(rt, *call);
    *call = NULL;
}

/* ---- over gRPC (grpc.c) ---- */

/* @endpoint: "unix:///path" (a bare path is taken too). NULL and @err when it is malformed. */
struct runtime *runtime_new_grpc(struct rpc *rpc, const char *endpoint, struct error *err);
struct runtime *runtime_free_grpc(struct runtime *rt); /* NULL is harmless; returns NULL */
/* The channel below, for streams; see events.h. */
struct rpc_client *runtime_client(struct runtime *rt);
