/*
 * What the gRPC clients and servers of a process share. gRPC here is HTTP/2 by nghttp2 and messages
 * by protobuf-c, all of it on the loop: no thread, no timer while nothing is under way.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

struct rpc;

/* The largest message either side accepts, in bytes. */
#define RPC_MESSAGE_MAX (16u << 20)

/* Makes the context; one per process is enough. Ignores SIGPIPE unless the process handles it: a
 * peer may be gone at any write. Never NULL at present; callers handle NULL with
 * @err set. */
struct rpc *rpc_new(struct loop *loop, struct error *err);

/* Ends it. Clients and servers must have been freed before. NULL is harmless. Returns NULL. */
struct rpc *rpc_free(struct rpc *rpc);
DEFINE_CLEANUP(struct rpc *, rpc_free);
