/*
 * The meeting point of gRPC's threads and our loop.
 *
 * One thread sits in grpc_completion_queue_next() without a deadline; that call also is where gRPC
 * does its network input. For each event it links the batch's rpc_op into a list and wakes the
 * loop, which runs the ops' done functions. Everything that starts batches runs on the loop's
 * thread, so the objects need no locks: only the list has one.
 */
#include "net/grpc_core.h"

#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "net/grpc_client.h"
#include "net/grpc_internal.h"

/* gRPC threads are shallow; the default of 8 MB each counts against 32-bit address space. */
#define POLLER_STACK (256u << 10)

static void *poll_queue(void *arg)
{
    struct rpc *rpc = arg;
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(rpc->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        (void)pthread_mutex_lock(&rpc->lock);
        bool was_empty = !rpc->head;
        if (event.type == GRPC_OP_COMPLETE) {
            struct rpc_op *op = event.tag;
            op->ok = event.success != 0;
            op->next = NULL;
            *rpc->tail = op;
            rpc->tail = &op->next;
        } else if (event.type == GRPC_QUEUE_SHUTDOWN) {
            rpc->drained = true;
        }
        (void)pthread_cond_signal(&rpc->filled);
        bool end = rpc->drained;
        (void)pthread_mutex_unlock(&rpc->lock);
        if (end)
            return NULL;
        if (was_empty)
            loop_wake(&rpc->wakeup);
    }
}

static struct rpc_op *take_one(struct rpc *rpc, bool wait)
{
    (void)pthread_mutex_lock(&rpc->lock);
    while (wait && !rpc->head)
        (void)pthread_cond_wait(&rpc->filled, &rpc->lock);
    struct rpc_op *op = rpc->head;
    if (op) {
        rpc->head = op->next;
        if (!rpc->head)
            rpc->tail = &rpc->head;
    }
    (void)pthread_mutex_unlock(&rpc->lock);
    return op;
}

static void run_one(struct rpc *rpc, struct rpc_op *op)
{
    rpc->under_way--;
    op->done(op, op->ok);
}

/* One turn takes what is there now, not what its callbacks cause: other sources get their turn.
 * The thread wakes the loop only when it finds the list empty, hence the wake for the rest. */
static void on_wakeup(void *arg)
{
    struct rpc *rpc = arg;
    for (int i = 0; i < 256; i++) {
        struct rpc_op *op = take_one(rpc, false);
        if (!op)
            return;
        run_one(rpc, op);
    }
    loop_wake(&rpc->wakeup);
}

static void on_grpc_log(gpr_log_func_args *args)
{
    log_debug("grpc", "text", args->message, NULL);
}

/* gRPC reads these once, at its start. */
static void set_defaults(void)
{
    static const struct {
        const char *name, *value;
    } defaults[] = {
        /* A timer that polls idle connections every 5 s: ours are polled by the queue's thread. */
        {"GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "0"},
        {"GRPC_POLL_STRATEGY", "epoll1"},
        {"GRPC_ENABLE_FORK_SUPPORT", "0"}, /* we never fork without exec */
        {"GRPC_VERBOSITY", "ERROR"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
        (void)setenv(defaults[i].name, defaults[i].value, 0);
}

struct rpc *rpc_new(struct loop *loop, struct error *err)
{
    struct rpc *rpc = mem_zalloc(sizeof(*rpc));
    rpc->loop = loop;
    rpc->tail = &rpc->head;
    int r = loop_wakeup_init(&rpc->wakeup, loop, "grpc", on_wakeup, rpc);
    if (r < 0) {
        (void)error_errno(err, r, "cannot make a wake-up descriptor for gRPC");
        loop_wakeup_done(&rpc->wakeup);
        free(rpc);
        return NULL;
    }
    (void)pthread_mutex_init(&rpc->lock, NULL);
    (void)pthread_cond_init(&rpc->filled, NULL);
    set_defaults();
    gpr_set_log_function(on_grpc_log);
    /* Signals belong to the loop's thread: threads made from here on inherit a full mask. */
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    grpc_init();
    rpc->cq = grpc_completion_queue_create_for_next(NULL);
    pthread_attr_t attr;
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, POLLER_STACK);
    r = pthread_create(&rpc->thread, &attr, poll_queue, rpc);
    (void)pthread_attr_destroy(&attr);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        (void)error_errno(err, -r, "cannot start gRPC's thread");
        grpc_completion_queue_shutdown(rpc->cq);
        (void)grpc_completion_queue_next(rpc->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        rpc->under_way = SIZE_MAX; /* no thread to wait for */
        return rpc_free(rpc);
    }
    return rpc;
}

struct rpc *rpc_free(struct rpc *rpc)
{
    if (!rpc)
        return NULL;
    if (rpc->under_way != SIZE_MAX) {
        while (rpc->under_way > 0)
            run_one(rpc, take_one(rpc, true));
        grpc_completion_queue_shutdown(rpc->cq);
        (void)pthread_join(rpc->thread, NULL);
    }
    grpc_completion_queue_destroy(rpc->cq);
    grpc_shutdown();
    loop_wakeup_done(&rpc->wakeup);
    (void)pthread_mutex_destroy(&rpc->lock);
    (void)pthread_cond_destroy(&rpc->filled);
    free(rpc);
    return NULL;
}

void rpc_op_begin(struct rpc *rpc)
{
    rpc->under_way++;
}

void rpc_batch(struct rpc *rpc, grpc_call *call, const grpc_op *ops, size_t n, struct rpc_op *op)
{
    rpc_op_begin(rpc);
    grpc_call_error r = grpc_call_start_batch(call, ops, n, op, NULL);
    if (r != GRPC_CALL_OK) {
        log_error("gRPC refused a batch", "reason", grpc_call_error_to_string(r), NULL);
        abort();
    }
}

gpr_timespec rpc_deadline(uint64_t deadline_ms)
{
    if (deadline_ms == 0 || deadline_ms > INT64_MAX / 2)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis((int64_t)deadline_ms, GPR_TIMESPAN));
}

/* ---- messages ---- */
grpc_byte_buffer *rpc_encode(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    (void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

/* A peer can make empty repeated messages at two bytes each, and each costs a structure here: what
 * unpacking may take is bounded by a budget in proportion to the encoded size. */
static void *budget_alloc(void *data, size_t size)
{
    size_t *left = data;
    if (size > *left)
        return NULL;
    *left -= size;
    return malloc(size);
}

static void budget_free(_unused_ void *data, void *p)
{
    free(p);
}

ProtobufCMessage *rpc_decode(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type)
{
    if (!buffer || buffer->type != GRPC_BB_RAW ||
        buffer->data.raw.compression != GRPC_COMPRESS_NONE)
        return NULL;
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return NULL;
    grpc_slice bytes;
    if (buffer->data.raw.slice_buffer.count == 1)
        bytes = grpc_slice_ref(buffer->data.raw.slice_buffer.slices[0]);
    else
        bytes = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    size_t budget = 8 * GRPC_SLICE_LENGTH(bytes) + (1u << 20);
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    ProtobufCMessage *message = protobuf_c_message_unpack(
        type, &allocator, GRPC_SLICE_LENGTH(bytes), GRPC_SLICE_START_PTR(bytes));
    grpc_slice_unref(bytes);
    return message;
}

void rpc_message_free(ProtobufCMessage *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

char *rpc_slice_text(grpc_slice slice)
{
    return str_ndup((const char *)GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
}

const char *rpc_unix_path(const char *target)
{
    if (!str_starts(target, "unix:"))
        return NULL;
    const char *path = target + strlen("unix:");
    return str_starts(path, "//") ? path + 2 : path;
}

/* ---- queues of streams ---- */
struct rpc_queued {
    struct rpc_queued *next;
    grpc_byte_buffer *buffer;
};

void rpc_queue_init(struct rpc_queue *q)
{
    *q = (struct rpc_queue){.head = NULL};
    q->tail = &q->head;
}

int rpc_queue_push(struct rpc_queue *q, grpc_byte_buffer *buffer)
{
    size_t size = grpc_byte_buffer_length(buffer);
    if (q->head && q->bytes + size > RPC_QUEUE_MAX) {
        q->full = true;
        return RPC_E_FULL;
    }
    struct rpc_queued *e = mem_zalloc(sizeof(*e));
    e->buffer = buffer;
    *q->tail = e;
    q->tail = &e->next;
    q->bytes += size;
    return 0;
}

grpc_byte_buffer *rpc_queue_pop(struct rpc_queue *q)
{
    struct rpc_queued *e = q->head;
    if (!e)
        return NULL;
    grpc_byte_buffer *buffer = e->buffer;
    q->head = e->next;
    if (!q->head)
        q->tail = &q->head;
    q->bytes -= grpc_byte_buffer_length(buffer);
    free(e);
    return buffer;
}

void rpc_queue_done(struct rpc_queue *q)
{
    grpc_byte_buffer *buffer;
    while ((buffer = rpc_queue_pop(q)))
        grpc_byte_buffer_destroy(buffer);
}
