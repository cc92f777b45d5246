/*
 * The gRPC server of grpc_server.h.
 *
 * We listen ourselves and hand accepted connections to gRPC: so the socket has its mode from the
 * start, a live owner is never displaced, and the listening socket costs gRPC nothing. One batch
 * (`accept`) always waits for the next call; its method is looked up in our tables.
 *
 * A call has three batches of its own: `close` is under way all the time and completes when the
 * call is over, its result says whether the client cancelled; `recv` takes messages; `send` gives
 * headers, messages and the final status, one batch at a time. A struct rpc_server_call lives until
 * its handler finished it and no batch is under way. gRPC's own call object goes as soon as the
 * batches are done, since a server cannot be shut down while one exists.
 */
#include "net/grpc_server.h"

#include <errno.h>
#include <fcntl.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/strbuf.h"
#include "net/grpc_client.h"
#include "net/grpc_internal.h"

#define CALLS_MAX      1024
#define TEXT_MAX       4096 /* a client refuses headers beyond 8 KB */
#define LISTEN_QUEUE   128
#define ACCEPT_REST_MS 200 /* pause after accept() failed for want of descriptors or memory */

struct method_table {
    const struct rpc_server_method *methods;
    size_t count;
    void *arg;
};

struct rpc_server {
    struct rpc *rpc;
    char *path;
    uint32_t message_max, calls_max;
    struct method_table *tables;
    size_t n_tables;

    int fd;
    struct stat bound; /* the socket file that we made */
    struct loop_io io;
    struct loop_timer rest;
    grpc_server *server; /* NULL before the start */
    bool freed;

    struct rpc_op accept, shutdown;
    unsigned busy; /* of these two */
    grpc_call *incoming;
    grpc_call_details details;
    grpc_metadata_array metadata;
    struct list calls;
    size_t n_calls;
};

struct rpc_server_call {
    struct rpc *rpc;
    struct rpc_server *server; /* NULL when freed */
    struct list entry;
    grpc_call *call; /* NULL when gRPC is through with it */
    char *path;
    const struct rpc_server_method *method; /* NULL: nobody's */
    void *method_arg;
    gpr_timespec deadline;

    struct rpc_op close, recv, send;
    unsigned busy;
    int cancelled_flag; /* written by gRPC when `close` completes */
    bool cancelled, finished;
    grpc_byte_buffer *received;
    ProtobufCMessage *request;
    bool receiving, at_end, paused, half_closed;
    bool delivering;
    struct loop_deferred resume;

    bool sent_headers, is_sending, ending, sent_status;
    grpc_byte_buffer *sending;
    struct rpc_queue queue;
    enum rpc_status status;
    char *text; /* of the status */

    void (*on_cancel)(struct rpc_server_call *call, void *arg);
    void *on_cancel_arg;
    void (*on_message)(struct rpc_server_call *, const ProtobufCMessage *, void *);
    void (*on_half_close)(struct rpc_server_call *, void *);
    void *on_message_arg;
    void (*on_writable)(struct rpc_server_call *call, void *arg);
    void *on_writable_arg;
};

/* ---- the life of a call ---- */
static void call_release(struct rpc_server_call *c)
{
    if (c->busy > 0)
        return;
    if (c->call && (c->sent_status || c->cancelled))
        grpc_call_unref(TAKE_PTR(c->call));
    if (!c->finished || c->call || c->delivering)
        return;
    if (c->server) {
        list_remove(&c->entry);
        c->server->n_calls--;
    }
    loop_deferred_done(&c->resume);
    grpc_byte_buffer_destroy(c->received);
    grpc_byte_buffer_destroy(c->sending);
    rpc_queue_done(&c->queue);
    rpc_message_free(c->request);
    free(c->path);
    free(c->text);
    free(c);
}

static void start_batch(struct rpc_server_call *c, const grpc_op *ops, size_t n, struct rpc_op *op)
{
    c->busy++;
    rpc_batch(c->rpc, c->call, ops, n, op);
}

static void call_cancelled(struct rpc_server_call *c)
{
    if (c->cancelled)
        return;
    c->cancelled = true;
    if (!c->finished && c->on_cancel) {
        c->delivering = true;
        c->on_cancel(c, c->on_cancel_arg);
        c->delivering = false;
    }
}

static void on_close(struct rpc_op *op, _unused_ bool ok)
{
    struct rpc_server_call *c = CONTAINER_OF(op, struct rpc_server_call, close);
    c->busy--;
    if (c->cancelled_flag || !c->sent_status)
        call_cancelled(c);
    call_release(c);
}

/* ---- sending ---- */
static void send_next(struct rpc_server_call *c)
{
    if (c->is_sending || c->sent_status || c->cancelled || !c->call)
        return;
    grpc_op ops[3];
    size_t n = 0;
    c->sending = rpc_queue_pop(&c->queue);
    bool last = c->ending && !c->queue.head;
    if (!c->sending && !last)
        return;
    if (!c->sent_headers) {
        ops[n++] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
        c->sent_headers = true;
    }
    if (c->sending)
        ops[n++] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message = {c->sending}};
    grpc_slice text = c->text ? grpc_slice_from_copied_string(c->text) : grpc_empty_slice();
    if (last) {
        c->sent_status = true;
        ops[n++] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                             .data.send_status_from_server = {.status = (grpc_status_code)c->status,
                                                              .status_details = &text}};
    }
    c->is_sending = true;
    start_batch(c, ops, n, &c->send);
    grpc_slice_unref(text);
}

static void on_sent(struct rpc_op *op, _unused_ bool ok)
{
    struct rpc_server_call *c = CONTAINER_OF(op, struct rpc_server_call, send);
    c->busy--;
    c->is_sending = false;
    grpc_byte_buffer_destroy(TAKE_PTR(c->sending));
    send_next(c);
    if (!c->finished && !c->cancelled && c->queue.full && c->queue.bytes <= RPC_QUEUE_MAX / 2) {
        c->queue.full = false;
        if (c->on_writable) {
            c->delivering = true;
            c->on_writable(c, c->on_writable_arg);
            c->delivering = false;
        }
    }
    call_release(c);
}

static void finish(struct rpc_server_call *c, enum rpc_status status)
{
    c->finished = true;
    c->ending = true;
    c->status = status;
    send_next(c);
    call_release(c);
}

void rpc_server_reply(struct rpc_server_call *call, const ProtobufCMessage *message)
{
    if (!call->cancelled) {
        grpc_byte_buffer *buffer = rpc_encode(message);
        if (rpc_queue_push(&call->queue, buffer) != 0)
            grpc_byte_buffer_destroy(buffer);
    }
    finish(call, RPC_OK);
}

void rpc_server_fail(struct rpc_server_call *call, enum rpc_status status, const char *fmt, ...)
{
    struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    strbuf_truncate(&text, text.len < TEXT_MAX ? text.len : TEXT_MAX);
    call->text = strbuf_take(&text);
    finish(call, status);
}

void rpc_server_fail_errno(struct rpc_server_call *call, int code, const struct error *err)
{
    rpc_server_fail(call, rpc_status_of_errno(code), "%s",
                    err && err->code ? error_text(err) : strerror(-code));
}

void rpc_server_end(struct rpc_server_call *call)
{
    finish(call, RPC_OK);
}

int rpc_server_send(struct rpc_server_call *call, const ProtobufCMessage *message)
{
    if (call->cancelled || call->finished)
        return -EPIPE;
    grpc_byte_buffer *buffer = rpc_encode(message);
    int r = grpc_byte_buffer_length(buffer) > RPC_MESSAGE_MAX
                ? -EMSGSIZE
                : rpc_queue_push(&call->queue, buffer);
    if (r != 0)
        grpc_byte_buffer_destroy(buffer);
    else
        send_next(call);
    return r;
}

/* ---- receiving ---- */
static bool streams_in(const struct rpc_server_call *c)
{
    return c->method->kind == RPC_CLIENT_STREAM || c->method->kind == RPC_BIDI_STREAM;
}

static void receive_next(struct rpc_server_call *c)
{
    if (c->receiving || c->received || c->at_end || c->paused || c->finished || c->cancelled ||
        !c->call)
        return;
    c->receiving = true;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message = {&c->received}};
    start_batch(c, &op, 1, &c->recv);
}

/* The request of a unary call or a server stream. */
static void dispatch(struct rpc_server_call *c)
{
    ProtobufCMessage *request = rpc_decode(c->received, c->method->request);
    bool missing = !c->received;
    grpc_byte_buffer_destroy(TAKE_PTR(c->received));
    if (!request) {
        rpc_server_fail(
            c, RPC_INVALID_ARGUMENT,
            missing ? "%s: the request is missing" : "%s: the request cannot be decoded", c->path);
        return;
    }
    c->request = request;
    c->method->handle(c, request, c->method_arg);
}

static void deliver(struct rpc_server_call *c)
{
    if (c->finished || c->cancelled || c->paused)
        return;
    if (c->received) {
        ProtobufCMessage *message = rpc_decode(c->received, c->method->request);
        grpc_byte_buffer_destroy(TAKE_PTR(c->received));
        if (!message) {
            (void)grpc_call_cancel_with_status(c->call, GRPC_STATUS_INVALID_ARGUMENT,
                                               "a message of the stream cannot be decoded", NULL);
            return;
        }
        if (c->on_message)
            c->on_message(c, message, c->on_message_arg);
        rpc_message_free(message);
    } else if (c->at_end && !c->half_closed) {
        c->half_closed = true;
        if (c->on_half_close)
            c->on_half_close(c, c->on_message_arg);
    }
}

static void on_received(struct rpc_op *op, bool ok)
{
    struct rpc_server_call *c = CONTAINER_OF(op, struct rpc_server_call, recv);
    c->busy--;
    c->receiving = false;
    if (!ok)
        grpc_byte_buffer_destroy(TAKE_PTR(c->received));
    c->delivering = true;
    if (!streams_in(c)) {
        c->at_end = true;
        if (ok && !c->cancelled)
            dispatch(c);
        else
            c->finished = true; /* no handler saw it */
    } else {
        /* No message: a half-close only when nothing failed; of a failure `close` will tell. */
        ok = ok && !(!c->received && grpc_call_failed_before_recv_message(c->call));
        if (ok && !c->received)
            c->at_end = true;
        if (ok) {
            deliver(c);
            receive_next(c);
        }
    }
    c->delivering = false;
    call_release(c);
}

static void on_resume(void *arg)
{
    struct rpc_server_call *c = arg;
    c->delivering = true;
    deliver(c);
    receive_next(c);
    c->delivering = false;
    call_release(c);
}

void rpc_server_on_message(struct rpc_server_call *call,
                           void (*on_message)(struct rpc_server_call *call,
                                              const ProtobufCMessage *message, void *arg),
                           void (*on_half_close)(struct rpc_server_call *call, void *arg),
                           void *arg)
{
    call->on_message = on_message;
    call->on_half_close = on_half_close;
    call->on_message_arg = arg;
}

void rpc_server_on_writable(struct rpc_server_call *call,
                            void (*cb)(struct rpc_server_call *call, void *arg), void *arg)
{
    call->on_writable = cb;
    call->on_writable_arg = arg;
}

void rpc_server_pause(struct rpc_server_call *call, bool paused)
{
    if (call->paused && !paused)
        loop_defer(&call->resume);
    call->paused = paused;
}

void rpc_server_on_cancel(struct rpc_server_call *call,
                          void (*cb)(struct rpc_server_call *call, void *arg), void *arg)
{
    call->on_cancel = cb;
    call->on_cancel_arg = arg;
}

bool rpc_server_cancelled(const struct rpc_server_call *call)
{
    return call->cancelled;
}

uint64_t rpc_server_remaining_ms(const struct rpc_server_call *call)
{
    if (gpr_time_cmp(call->deadline, gpr_inf_future(call->deadline.clock_type)) == 0)
        return UINT64_MAX;
    gpr_timespec left = gpr_time_sub(call->deadline, gpr_now(call->deadline.clock_type));
    int32_t ms = gpr_time_to_millis(left);
    return ms < 0 ? 0 : (uint64_t)ms;
}

const char *rpc_server_path(const struct rpc_server_call *call)
{
    return call->path;
}

/* ---- new calls ---- */
static const struct rpc_server_method *find_method(const struct rpc_server *s, const char *path,
                                                   void **ret_arg)
{
    for (size_t i = 0; i < s->n_tables; i++)
        for (size_t j = 0; j < s->tables[i].count; j++)
            if (str_eq(s->tables[i].methods[j].path, path)) {
                *ret_arg = s->tables[i].arg;
                return &s->tables[i].methods[j];
            }
    return NULL;
}

static void accept_next(struct rpc_server *s)
{
    grpc_call_details_init(&s->details);
    grpc_metadata_array_init(&s->metadata);
    s->busy++;
    rpc_op_begin(s->rpc);
    (void)grpc_server_request_call(s->server, &s->incoming, &s->details, &s->metadata, s->rpc->cq,
                                   s->rpc->cq, &s->accept);
}

static void begin_call(struct rpc_server *s, grpc_call *incoming)
{
    struct rpc_server_call *c = mem_zalloc(sizeof(*c));
    c->rpc = s->rpc;
    c->server = s;
    c->call = incoming;
    c->path = rpc_slice_text(s->details.method);
    c->deadline = s->details.deadline;
    c->method = find_method(s, c->path, &c->method_arg);
    c->close.done = on_close;
    c->recv.done = on_received;
    c->send.done = on_sent;
    rpc_queue_init(&c->queue);
    loop_deferred_init(&c->resume, s->rpc->loop, on_resume, c);
    list_append(&s->calls, &c->entry);
    s->n_calls++;
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                  .data.recv_close_on_server = {&c->cancelled_flag}};
    start_batch(c, &op, 1, &c->close);
    if (!c->method) {
        rpc_server_fail(c, RPC_UNIMPLEMENTED, "unknown method %s", c->path);
    } else if (s->n_calls > s->calls_max) {
        rpc_server_fail(c, RPC_RESOURCE_EXHAUSTED, "more than %u calls at a time", s->calls_max);
    } else if (streams_in(c)) {
        c->delivering = true;
        c->method->handle(c, NULL, c->method_arg);
        c->delivering = false;
        receive_next(c);
        call_release(c);
    } else {
        receive_next(c);
    }
}

static void server_release(struct rpc_server *s)
{
    if (!s->freed || s->busy > 0)
        return;
    if (s->server)
        grpc_server_destroy(s->server);
    free(s->tables);
    free(s->path);
    free(s);
}

static void on_accept(struct rpc_op *op, bool ok)
{
    struct rpc_server *s = CONTAINER_OF(op, struct rpc_server, accept);
    s->busy--;
    if (ok && !s->freed)
        begin_call(s, s->incoming);
    else if (ok)
        grpc_call_unref(s->incoming);
    grpc_call_details_destroy(&s->details);
    grpc_metadata_array_destroy(&s->metadata);
    if (ok && !s->freed)
        accept_next(s);
    server_release(s);
}

static void on_shutdown(struct rpc_op *op, _unused_ bool ok)
{
    struct rpc_server *s = CONTAINER_OF(op, struct rpc_server, shutdown);
    s->busy--;
    server_release(s);
}

/* ---- listening ---- */
static void on_connection(int fd, _unused_ short events, void *arg)
{
    struct rpc_server *s = arg;
    int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (conn >= 0) {
        grpc_server_credentials *creds = grpc_insecure_server_credentials_create();
        grpc_server_add_channel_from_fd(s->server, conn, creds);
        grpc_server_credentials_release(creds);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        loop_io_done(&s->io);
        loop_timer_set(&s->rest, ACCEPT_REST_MS);
    }
}

static void on_rested(void *arg)
{
    struct rpc_server *s = arg;
    (void)loop_io_init(&s->io, s->rpc->loop, "gRPC listener", s->fd, EV_READ, on_connection, s);
}

static int unix_address(const char *path, struct sockaddr_un *addr, struct error *err)
{
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (path[0] != '/')
        return error_set(err, -EINVAL, "%s is not an absolute path of a unix socket", path);
    if (strlen(path) >= sizeof(addr->sun_path))
        return error_set(err, -ENAMETOOLONG, "%s is longer than a unix socket's name may be (%zu)",
                         path, sizeof(addr->sun_path) - 1);
    memcpy(addr->sun_path, path, strlen(path));
    return 0;
}

/* Removes a socket file nobody listens on. -EADDRINUSE when somebody does. */
static int clear_stale(const char *path, const struct sockaddr_un *addr, struct error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : error_errno(err, -errno, "%s", path);
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, -EEXIST, "%s exists and is not a socket", path);
    _cleanup_close_ int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return error_errno(err, -errno, "%s", path);
    if (connect(probe, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
        return error_set(err, -EADDRINUSE, "another process listens on %s", path);
    if (errno != ECONNREFUSED)
        return error_errno(err, -errno, "cannot tell whether somebody listens on %s", path);
    return unlink(path) < 0 && errno != ENOENT ? error_errno(err, -errno, "cannot remove %s", path)
                                               : 0;
}

static int bind_socket(struct rpc_server *s, struct error *err)
{
    struct sockaddr_un addr;
    int r = unix_address(s->path, &addr, err);
    if (r < 0)
        return r;
    r = clear_stale(s->path, &addr, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(err, -errno, "cannot make a socket");
    /* The mode of the socket's inode is the mode of its file: nobody can get in between. */
    if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        return error_errno(err, -errno, "cannot listen on %s", s->path);
    if (listen(fd, LISTEN_QUEUE) < 0 || lstat(s->path, &s->bound) < 0) {
        r = error_errno(err, -errno, "cannot listen on %s", s->path);
        (void)unlink(s->path);
        return r;
    }
    s->fd = TAKE_FD(fd);
    return 0;
}

struct rpc_server *rpc_server_new(struct rpc *rpc, const struct rpc_server_options *options)
{
    struct rpc_server *s = mem_zalloc(sizeof(*s));
    s->rpc = rpc;
    const char *path = rpc_unix_path(options->listen);
    s->path = str_dup(path ? path : options->listen);
    s->message_max = options->message_max ? options->message_max : RPC_MESSAGE_MAX;
    s->calls_max = options->calls_max ? options->calls_max : CALLS_MAX;
    s->fd = -1;
    s->accept.done = on_accept;
    s->shutdown.done = on_shutdown;
    list_init(&s->calls);
    loop_timer_init(&s->rest, rpc->loop, "gRPC listener rests", on_rested, s);
    return s;
}

void rpc_server_add(struct rpc_server *server, const struct rpc_server_method *methods,
                    size_t count, void *arg)
{
    server->tables = mem_grow(server->tables, server->n_tables + 1, sizeof(*server->tables));
    server->tables[server->n_tables++] = (struct method_table){methods, count, arg};
}

static grpc_arg int_arg(const char *name, uint32_t value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)name, .value.integer = (int)value};
}

int rpc_server_start(struct rpc_server *server, struct error *err)
{
    int r = bind_socket(server, err);
    if (r < 0)
        return r;
    grpc_arg args[] = {
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, server->message_max),
        int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_MESSAGE_MAX),
        int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
        int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        int_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1),
        int_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        /* Clients on this socket may ping as they like. */
        int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000),
        int_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0),
        int_arg(GRPC_ARG_MAX_METADATA_SIZE, 16384),
    };
    grpc_channel_args list = {ARRAY_SIZE(args), args};
    server->server = grpc_server_create(&list, NULL);
    grpc_server_register_completion_queue(server->server, server->rpc->cq, NULL);
    grpc_server_start(server->server);
    accept_next(server);
    return loop_io_init(&server->io, server->rpc->loop, "gRPC listener", server->fd, EV_READ,
                        on_connection, server);
}

/* Removes the socket file if it is still ours: another process may have taken the name over. */
static void unbind_socket(struct rpc_server *s)
{
    struct stat st;
    if (s->fd < 0)
        return;
    (void)close(TAKE_FD(s->fd));
    if (lstat(s->path, &st) == 0 && st.st_dev == s->bound.st_dev && st.st_ino == s->bound.st_ino)
        (void)unlink(s->path);
}

struct rpc_server *rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return NULL;
    loop_io_done(&server->io);
    loop_timer_done(&server->rest);
    unbind_socket(server);
    server->freed = true;
    if (server->server) {
        server->busy++;
        rpc_op_begin(server->rpc);
        grpc_server_shutdown_and_notify(server->server, server->rpc->cq, &server->shutdown);
        grpc_server_cancel_all_calls(server->server);
    }
    while (!list_empty(&server->calls)) { /* a callback may finish any of them */
        struct rpc_server_call *c = LIST_ENTRY(server->calls.next, struct rpc_server_call, entry);
        list_remove(&c->entry);
        c->server = NULL;
        call_cancelled(c);
        call_release(c);
    }
    server_release(server);
    return NULL;
}
