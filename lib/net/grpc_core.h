/*
 * What all gRPC clients and servers of a process share: one completion queue and the one thread
 * that waits on it. That thread only hands events to the loop; every callback of grpc_client.h and
 * grpc_server.h runs on the loop's thread, and their functions may be called there only.
 *
 * The prefix is rpc_, because gRPC's library owns grpc_.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

struct rpc;

/* The largest message either side accepts, in bytes. */
#define RPC_MESSAGE_MAX (16u << 20)

/* Starts gRPC and its thread. One per process is enough. Returns NULL with @err set when the
 * thread or a descriptor cannot be had. */
struct rpc *rpc_new(struct loop *loop, struct error *err);

/* Ends it. Clients and servers must have been freed before; what they still had under way is
 * waited for (it is cancelled already, so that takes no time worth naming). NULL is harmless.
 * Returns NULL. */
struct rpc *rpc_free(struct rpc *rpc);
DEFINE_CLEANUP(struct rpc *, rpc_free);
