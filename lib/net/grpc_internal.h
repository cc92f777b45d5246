/* What grpc_core.c, grpc_client.c and grpc_server.c share; nobody else includes it. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>

#include "net/grpc_core.h"
#include "net/grpc_status.h"

/* Why a call or a stream ended when gRPC's library gave no text. */

/*
 * A batch that gRPC works on: its address is the tag on the completion queue. It sits in its owner,
 * which must stay until done() was called; done() runs on the loop's thread.
 */
struct rpc_op {
    void (*done)(struct rpc_op *op, bool ok);
    struct rpc_op *next; /* in the list between the two threads */
    bool ok;
};

struct rpc {
    struct loop *loop;
    grpc_completion_queue *cq;
    pthread_t thread;
    struct loop_wakeup wakeup;

    pthread_mutex_t lock; /* guards the list; the condition says that it is not empty */
    pthread_cond_t filled;
    struct rpc_op *head, **tail;
    bool drained; /* the completion queue is shut down and empty */

    size_t under_way; /* batches handed to gRPC and not yet done; loop's thread only */
};

/* Starts a batch on a call. A refusal by the library is a mistake of ours: aborts. */
void rpc_batch(struct rpc *rpc, grpc_call *call, const grpc_op *ops, size_t n, struct rpc_op *op);
/* Accounts for an operation that is started by other means than rpc_batch(). */
void rpc_op_begin(struct rpc *rpc);

gpr_timespec rpc_deadline(uint64_t deadline_ms);

/* Encodes a message. */
grpc_byte_buffer *rpc_encode(const ProtobufCMessage *message);
/* Decodes one; NULL when it does not parse, is compressed, or would take far more memory than its
 * bytes justify. Free with rpc_message_free(). */
ProtobufCMessage *rpc_decode(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type);
void rpc_message_free(ProtobufCMessage *message);

/* Slice to C string, never NULL; the caller frees. */
char *rpc_slice_text(grpc_slice slice);

/* "unix:///path" and "unix:/path" give the path, other targets NULL. */
const char *rpc_unix_path(const char *target);

/* The queue of messages that wait to be sent on a stream. */
struct rpc_queue {
    struct rpc_queued *head, **tail;
    size_t bytes;
    bool full; /* somebody was told RPC_E_FULL and waits for room */
};
void rpc_queue_init(struct rpc_queue *q);
/* Takes @buffer. 0, or RPC_E_FULL (not taken). */
int rpc_queue_push(struct rpc_queue *q, grpc_byte_buffer *buffer);
/* The next one, NULL when empty; the caller destroys it. */
grpc_byte_buffer *rpc_queue_pop(struct rpc_queue *q);
void rpc_queue_done(struct rpc_queue *q);
