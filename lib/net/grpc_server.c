/*
 * The gRPC server of grpc_server.h: connections accepted on a unix socket, each with streams that
 * become calls. A struct rpc_server_call lives until its handler has finished it and its stream is
 * over; until then a vanished client is only a flag in it.
 */
#include "net/grpc_server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/grpc_client.h"
#include "net/grpc_h2.h"

#define CALLS_MAX      1024
#define CONNS_MAX      512
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
    struct list conns, calls;
    size_t n_conns, n_calls;
};

struct rpc_server_call {
    struct h2_stream h2;
    struct rpc_server *server; /* NULL when freed */
    struct list entry;
    char *path;
    const struct rpc_server_method *method; /* NULL: nobody's, or not known yet */
    void *method_arg;
    uint64_t deadline; /* now_ms(); 0: none */
    struct loop_timer timer;
    ProtobufCMessage *request;
    bool handled;   /* a handler has it */
    bool finished;  /* it, or nobody, will answer any more */
    bool cancelled; /* the client is gone, or its deadline passed */
    bool responded, over;
    unsigned delivering;
    enum rpc_status status;
    char status_text[4];
    char *text; /* of the status, encoded for a header */

    void (*on_cancel)(struct rpc_server_call *call, void *arg);
    void *on_cancel_arg;
    void (*on_message)(struct rpc_server_call *, const ProtobufCMessage *, void *);
    void (*on_half_close)(struct rpc_server_call *, void *);
    void *on_message_arg;
    void (*on_writable)(struct rpc_server_call *call, void *arg);
    void *on_writable_arg;
};

/* ---- the life of a call ---- */
static struct rpc_server_call *call_of(struct h2_stream *h2)
{
    return CONTAINER_OF(h2, struct rpc_server_call, h2);
}

static void call_release(struct rpc_server_call *c)
{
    if (!c->over || (c->handled && !c->finished) || c->delivering)
        return;
    list_remove(&c->entry);
    if (c->server)
        c->server->n_calls--;
    h2_stream_detach(&c->h2, NGHTTP2_CANCEL);
    loop_timer_done(&c->timer);
    rpc_message_free(c->request);
    free(c->path);
    free(c->text);
    free(c);
}

static void call_cancelled(struct rpc_server_call *c)
{
    if (c->cancelled)
        return;
    c->cancelled = true;
    if (!c->finished && c->on_cancel) {
        c->delivering++;
        c->on_cancel(c, c->on_cancel_arg);
        c->delivering--;
    }
}

/* The client gave up: what it would still get is dropped. */
static void call_abandon(struct rpc_server_call *c, uint32_t error)
{
    h2_stream_detach(&c->h2, error);
    c->over = true;
    loop_timer_stop(&c->timer);
    call_cancelled(c);
    call_release(c);
}

static void on_deadline(void *arg)
{
    call_abandon(arg, NGHTTP2_CANCEL);
}

/* ---- answering ---- */
static size_t trailers(struct h2_stream *h2, nghttp2_nv *nv)
{
    struct rpc_server_call *c = call_of(h2);
    size_t n = 0;
    (void)snprintf(c->status_text, sizeof(c->status_text), "%d", (int)c->status);
    nv[n++] = h2_nv("grpc-status", c->status_text);
    if (c->text)
        nv[n++] = h2_nv("grpc-message", c->text);
    return n;
}

static void respond(struct rpc_server_call *c, bool end)
{
    nghttp2_nv nv[2 + H2_TRAILERS_MAX] = {h2_nv(":status", "200"),
                                          h2_nv("content-type", "application/grpc")};
    if (c->responded)
        return;
    c->responded = true;
    (void)h2_stream_respond(&c->h2, nv, 2 + (end ? trailers(&c->h2, nv + 2) : 0), end);
}

static void finish(struct rpc_server_call *c, enum rpc_status status, struct rpc_frame *last)
{
    c->finished = true;
    c->status = status;
    if (c->cancelled) {
        free(last);
    } else {
        respond(c, !last && status != RPC_OK);
        if (last && h2_stream_send(&c->h2, last) != 0)
            free(last);
        h2_stream_pause(&c->h2, false); /* what still comes is dropped */
        h2_stream_end(&c->h2);
    }
    call_release(c);
}

void rpc_server_reply(struct rpc_server_call *call, const ProtobufCMessage *message)
{
    struct rpc_frame *frame = call->cancelled ? NULL : rpc_frame_of(message);
    if (frame && frame->len > RPC_MESSAGE_MAX) {
        free(frame);
        rpc_server_fail(call, RPC_RESOURCE_EXHAUSTED, "%s: the answer is larger than the limit",
                        call->path);
        return;
    }
    finish(call, RPC_OK, frame);
}

void rpc_server_fail(struct rpc_server_call *call, enum rpc_status status, const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    call->text = rpc_text_encode(strbuf_text(&text));
    finish(call, status, NULL);
}

void rpc_server_fail_errno(struct rpc_server_call *call, int code, const struct error *err)
{
    rpc_server_fail(call, rpc_status_of_errno(code), "%s",
                    err && err->code ? error_text(err) : strerror(-code));
}

void rpc_server_end(struct rpc_server_call *call)
{
    finish(call, RPC_OK, NULL);
}

int rpc_server_send(struct rpc_server_call *call, const ProtobufCMessage *message)
{
    if (call->cancelled || call->finished)
        return -EPIPE;
    struct rpc_frame *frame = rpc_frame_of(message);
    int r = frame->len > RPC_MESSAGE_MAX ? -EMSGSIZE : 0;
    if (r == 0) {
        respond(call, false);
        r = h2_stream_send(&call->h2, frame);
    }
    if (r != 0)
        free(frame);
    return r;
}

/* ---- what arrives ---- */
static bool streams_in(const struct rpc_server_call *c)
{
    return c->method->kind == RPC_CLIENT_STREAM || c->method->kind == RPC_BIDI_STREAM;
}

static uint64_t parse_timeout(const char *value)
{
    char *end;
    unsigned long long n = strtoull(value, &end, 10);
    if (end == value || end - value > 8 || !*end || end[1])
        return 0;
    switch (*end) {
    case 'H':
        return n * 3600000;
    case 'M':
        return n * 60000;
    case 'S':
        return n * 1000;
    case 'm':
        return n ? n : 1;
    case 'u':
        return n / 1000 + 1;
    case 'n':
        return n / 1000000 + 1;
    default:
        return 0;
    }
}

static void on_header(struct h2_stream *h2, const char *name, const char *value)
{
    struct rpc_server_call *c = call_of(h2);
    if (str_eq(name, ":path") && !c->path) {
        c->path = str_dup(value);
    } else if (str_eq(name, "grpc-timeout")) {
        uint64_t ms = parse_timeout(value);
        c->deadline = ms ? now_ms() + ms : 0;
    }
}

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

static void handle(struct rpc_server_call *c, ProtobufCMessage *request)
{
    c->handled = true;
    c->request = request;
    c->delivering++;
    c->method->handle(c, request, c->method_arg);
    c->delivering--;
    call_release(c);
}

static void on_request(struct h2_stream *h2)
{
    struct rpc_server_call *c = call_of(h2);
    struct rpc_server *s = c->server;
    if (!c->path)
        c->path = str_dup("");
    c->method = find_method(s, c->path, &c->method_arg);
    if (c->deadline) {
        uint64_t now = now_ms();
        loop_timer_set(&c->timer, c->deadline > now ? c->deadline - now : 0);
    }
    if (!c->method)
        rpc_server_fail(c, RPC_UNIMPLEMENTED, "unknown method %s", c->path);
    else if (s->n_calls > s->calls_max)
        rpc_server_fail(c, RPC_RESOURCE_EXHAUSTED, "more than %u calls at a time", s->calls_max);
    else if (streams_in(c))
        handle(c, NULL);
}

static void on_message(struct h2_stream *h2, const void *data, size_t len)
{
    struct rpc_server_call *c = call_of(h2);
    if (c->finished)
        return;
    if (!streams_in(c) && c->handled) {
        call_abandon(c, NGHTTP2_PROTOCOL_ERROR); /* a second request in one call */
        return;
    }
    ProtobufCMessage *message = rpc_decode(data, len, c->method->request);
    if (!streams_in(c)) {
        if (message)
            handle(c, message);
        else
            rpc_server_fail(c, RPC_INVALID_ARGUMENT,
                            "%s: the request cannot be decoded (or has a NUL in a string)",
                            c->path);
    } else if (!message) {
        call_abandon(c, NGHTTP2_PROTOCOL_ERROR);
    } else {
        c->delivering++;
        if (c->on_message)
            c->on_message(c, message, c->on_message_arg);
        c->delivering--;
        rpc_message_free(message);
        call_release(c);
    }
}

static void on_bad_message(struct h2_stream *h2, enum rpc_status status, const char *text)
{
    struct rpc_server_call *c = call_of(h2);
    if (c->finished)
        return;
    if (c->handled)
        call_abandon(c, NGHTTP2_CANCEL);
    else
        rpc_server_fail(c, status, "%s: %s", c->path, text);
}

static void on_remote_end(struct h2_stream *h2)
{
    struct rpc_server_call *c = call_of(h2);
    if (c->finished)
        return;
    if (!c->handled) {
        rpc_server_fail(c, RPC_INVALID_ARGUMENT, "%s: the request is missing", c->path);
    } else if (streams_in(c) && c->on_half_close) {
        c->delivering++;
        c->on_half_close(c, c->on_message_arg);
        c->delivering--;
        call_release(c);
    }
}

static void on_writable(struct h2_stream *h2)
{
    struct rpc_server_call *c = call_of(h2);
    if (c->finished || !c->on_writable)
        return;
    c->delivering++;
    c->on_writable(c, c->on_writable_arg);
    c->delivering--;
    call_release(c);
}

static void on_close(struct h2_stream *h2, _unused_ uint32_t error, _unused_ bool lost)
{
    struct rpc_server_call *c = call_of(h2);
    c->over = true;
    loop_timer_stop(&c->timer);
    if (!c->finished)
        call_cancelled(c);
    call_release(c);
}

static const struct h2_stream_ops stream_ops = {
    .on_header = on_header,
    .on_request = on_request,
    .on_message = on_message,
    .on_bad_message = on_bad_message,
    .on_remote_end = on_remote_end,
    .on_writable = on_writable,
    .on_close = on_close,
    .trailers = trailers,
};

static struct h2_stream *on_stream(_unused_ struct h2_conn *conn, void *owner)
{
    struct rpc_server *s = owner;
    struct rpc_server_call *c = mem_zalloc(sizeof(*c));
    h2_stream_init(&c->h2, s->rpc->loop, &stream_ops, s->message_max);
    c->server = s;
    loop_timer_init(&c->timer, s->rpc->loop, "gRPC deadline", on_deadline, c);
    list_append(&s->calls, &c->entry);
    s->n_calls++;
    return &c->h2;
}

static void on_lost(_unused_ struct h2_conn *conn, _unused_ const char *reason, void *owner)
{
    struct rpc_server *s = owner;
    s->n_conns--;
}

static const struct h2_conn_ops conn_ops = {.on_stream = on_stream, .on_lost = on_lost};

/* ---- what handlers ask and set ---- */
void rpc_server_on_message(struct rpc_server_call *call,
                           void (*on_message_cb)(struct rpc_server_call *call,
                                                 const ProtobufCMessage *message, void *arg),
                           void (*on_half_close)(struct rpc_server_call *call, void *arg),
                           void *arg)
{
    call->on_message = on_message_cb;
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
    h2_stream_pause(&call->h2, paused);
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
    uint64_t now = now_ms();
    if (!call->deadline)
        return UINT64_MAX;
    return call->deadline > now ? call->deadline - now : 0;
}

const char *rpc_server_path(const struct rpc_server_call *call)
{
    return call->path;
}

/* ---- listening ---- */
void rpc_server_adopt(struct rpc_server *server, int fd)
{
    struct h2_conn_options options = {.server = true, .streams_max = server->calls_max};
    struct bufferevent *bev = NULL;
    if (server->n_conns < CONNS_MAX && evutil_make_socket_nonblocking(fd) == 0)
        bev = bufferevent_socket_new(loop_base(server->rpc->loop), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!bev) {
        (void)close(fd);
        return;
    }
    server->n_conns++;
    (void)h2_conn_new(server->rpc->loop, bev, &options, &conn_ops, server, &server->conns);
}

static void on_connection(int fd, _unused_ short events, void *arg)
{
    struct rpc_server *s = arg;
    _cleanup_close_ int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (conn < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            loop_io_done(&s->io);
            loop_timer_set(&s->rest, ACCEPT_REST_MS);
        }
        return;
    }
    rpc_server_adopt(s, TAKE_FD(conn));
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
    list_init(&s->conns);
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

int rpc_server_start(struct rpc_server *server, struct error *err)
{
    int r = bind_socket(server, err);
    if (r < 0)
        return r;
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
    /* Answers that were given still go out as far as the sockets take them. */
    h2_conns_free(&server->conns);
    struct list *entry;
    while ((entry = list_pop(&server->calls))) { /* a callback may finish any of them */
        struct rpc_server_call *c = LIST_ENTRY(entry, struct rpc_server_call, entry);
        c->server = NULL;
        c->over = true;
        call_cancelled(c);
        call_release(c);
    }
    free(server->tables);
    free(server->path);
    free(server);
    return NULL;
}
