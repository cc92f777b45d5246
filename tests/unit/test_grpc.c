/* lib/net/grpc_*: a client against a server in one process over a unix socket. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/fs.h"
#include "net/cri.pb-c.h"
#include "net/grpc_client.h"
#include "net/grpc_h2.h"
#include "net/grpc_server.h"
#include "etcd-client/proto/etcd.pb-c.h"

#define KV(name) Etcdserverpb__KeyValue name = ETCDSERVERPB__KEY_VALUE__INIT
typedef Etcdserverpb__KeyValue kv_t;
#define TYPE (&etcdserverpb__key_value__descriptor)

struct fixture {
    struct loop *loop;
    struct rpc *rpc;
    struct rpc_server *server;
    struct rpc_client *client;
    char dir[64], target[128];
    struct loop_timer limit;

    /* what happened */
    enum rpc_status status;
    char text[256];
    int64_t version, flooded;
    size_t value_len;
    int replies, messages, ends, half_closes, cancels, writables;
    struct rpc_server_call *held;
    int stop_at; /* messages after which the loop stops */
    struct rpc_stream *stream;
};

static void on_limit(void *arg)
{
    struct fixture *f = arg;
    loop_stop(f->loop, 1);
}

/* Runs the loop until a callback stops it. */
static void run(struct fixture *f)
{
    loop_timer_set(&f->limit, 20000);
    assert_int_equal(loop_run(f->loop), 0);
    loop_timer_stop(&f->limit);
}

static void linger_end(void *arg)
{
    struct fixture *f = arg;
    loop_stop(f->loop, 0);
}

static void linger(struct fixture *f, uint64_t ms)
{
    struct loop_timer t;
    loop_timer_init(&t, f->loop, "linger", linger_end, f);
    loop_timer_set(&t, ms);
    assert_int_equal(loop_run(f->loop), 0);
    loop_timer_done(&t);
}

/* ---- the server's methods ---- */
static void serve_echo(struct rpc_server_call *call, const ProtobufCMessage *request,
                       _unused_ void *arg)
{
    const kv_t *in = (const kv_t *)request;
    KV(out);
    out.key = in->key;
    out.value = in->value;
    out.version = in->version + 1;
    rpc_server_reply(call, &out.base);
}

static void serve_fail(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                       _unused_ void *arg)
{
    rpc_server_fail(call, RPC_NOT_FOUND, "no %s of ä", "sandbox");
}

static void held_cancelled(_unused_ struct rpc_server_call *call, void *arg)
{
    struct fixture *f = arg;
    f->cancels++;
    loop_stop(f->loop, 0);
}

static void serve_hold(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                       void *arg)
{
    struct fixture *f = arg;
    f->held = call;
    rpc_server_on_cancel(call, held_cancelled, f);
}

static void serve_count(struct rpc_server_call *call, const ProtobufCMessage *request,
                        _unused_ void *arg)
{
    int64_t n = ((const kv_t *)request)->version;
    for (int64_t i = 1; i <= n; i++) {
        KV(out);
        out.version = i;
        assert_int_equal(rpc_server_send(call, &out.base), 0);
    }
    rpc_server_end(call);
}

static void sum_message(_unused_ struct rpc_server_call *call, const ProtobufCMessage *message,
                        void *arg)
{
    struct fixture *f = arg;
    f->messages++;
    f->version += ((const kv_t *)message)->version;
}

static void sum_half_close(struct rpc_server_call *call, void *arg)
{
    struct fixture *f = arg;
    f->half_closes++;
    KV(out);
    out.version = f->version;
    rpc_server_reply(call, &out.base);
}

static void serve_sum(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                      void *arg)
{
    struct fixture *f = arg;
    f->held = call;
    rpc_server_on_message(call, sum_message, sum_half_close, f);
    rpc_server_on_cancel(call, held_cancelled, f);
}

static void chat_message(struct rpc_server_call *call, const ProtobufCMessage *message,
                         _unused_ void *arg)
{
    KV(out);
    out.version = -((const kv_t *)message)->version;
    assert_int_equal(rpc_server_send(call, &out.base), 0);
}

static void chat_half_close(struct rpc_server_call *call, _unused_ void *arg)
{
    rpc_server_end(call);
}

static void give_up(struct rpc_server_call *call, _unused_ void *arg)
{
    rpc_server_end(call);
}

static void serve_chat(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                       void *arg)
{
    rpc_server_on_message(call, chat_message, chat_half_close, arg);
    rpc_server_on_cancel(call, give_up, NULL);
}

/* Sends until the queue is full, then when there is room, 8 MB in all. */
static void flood(struct rpc_server_call *call, void *arg)
{
    struct fixture *f = arg;
    static uint8_t block[64 << 10];
    int r = 0;
    while (f->flooded < 128 && r == 0) {
        KV(out);
        out.value = (ProtobufCBinaryData){sizeof(block), block};
        r = rpc_server_send(call, &out.base);
        if (r == 0)
            f->flooded++;
    }
    if (r == RPC_E_FULL)
        f->writables++;
    else
        rpc_server_end(call);
}

static void serve_flood(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                        void *arg)
{
    rpc_server_on_writable(call, flood, arg);
    rpc_server_on_cancel(call, give_up, NULL);
    flood(call, arg);
}

static const struct rpc_server_method methods[] = {
    {"/t.T/Echo", TYPE, RPC_UNARY, serve_echo},
    {"/t.T/Fail", TYPE, RPC_UNARY, serve_fail},
    {"/t.T/Hold", TYPE, RPC_UNARY, serve_hold},
    {"/t.T/Count", TYPE, RPC_SERVER_STREAM, serve_count},
    {"/t.T/Flood", TYPE, RPC_SERVER_STREAM, serve_flood},
    {"/t.T/Sum", TYPE, RPC_CLIENT_STREAM, serve_sum},
    {"/t.T/Chat", TYPE, RPC_BIDI_STREAM, serve_chat},
};

/* ---- the client's side ---- */
static const struct rpc_method echo = {"/t.T/Echo", TYPE}, fail_method = {"/t.T/Fail", TYPE},
                               hold = {"/t.T/Hold", TYPE}, count = {"/t.T/Count", TYPE},
                               flood_method = {"/t.T/Flood", TYPE}, sum = {"/t.T/Sum", TYPE},
                               chat = {"/t.T/Chat", TYPE}, unknown = {"/t.T/Nothing", TYPE};

static void on_reply(void *arg, enum rpc_status status, const char *message,
                     const ProtobufCMessage *response)
{
    struct fixture *f = arg;
    f->replies++;
    f->status = status;
    (void)snprintf(f->text, sizeof(f->text), "%s", message);
    if (response) {
        f->version = ((const kv_t *)response)->version;
        f->value_len = ((const kv_t *)response)->value.len;
    }
    loop_stop(f->loop, 0);
}

static void on_message(void *arg, const ProtobufCMessage *message)
{
    struct fixture *f = arg;
    f->messages++;
    f->version = ((const kv_t *)message)->version;
    f->value_len += ((const kv_t *)message)->value.len;
    if (f->messages == f->stop_at)
        loop_stop(f->loop, 0);
}

static void on_end(void *arg, enum rpc_status status, const char *message)
{
    struct fixture *f = arg;
    f->ends++;
    f->stream = NULL;
    f->status = status;
    (void)snprintf(f->text, sizeof(f->text), "%s", message);
    loop_stop(f->loop, 0);
}

static void on_writable(void *arg)
{
    struct fixture *f = arg;
    f->writables++;
    loop_stop(f->loop, 0);
}

static const struct rpc_stream_events events = {on_message, on_end, on_writable};

static void start_server(struct fixture *f)
{
    struct rpc_server_options options = {.listen = f->target};
    f->server = rpc_server_new(f->rpc, &options);
    rpc_server_add(f->server, methods, ARRAY_SIZE(methods), f);
    struct error err = ERROR_INIT;
    if (rpc_server_start(f->server, &err) < 0)
        fail_msg("%s", error_text(&err));
}

static void start_client(struct fixture *f, bool wait_for_ready)
{
    struct rpc_client_options options = {.target = f->target, .wait_for_ready = wait_for_ready};
    struct error err = ERROR_INIT;
    f->client = rpc_client_new(f->rpc, &options, &err);
    assert_non_null(f->client);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/coracle-grpc.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->target, sizeof(f->target), "unix://%s/s", f->dir);
    f->loop = loop_new();
    loop_timer_init(&f->limit, f->loop, "limit", on_limit, f);
    struct error err = ERROR_INIT;
    f->rpc = rpc_new(f->loop, &err);
    assert_non_null(f->rpc);
    start_server(f);
    start_client(f, false);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    f->client = rpc_client_free(f->client);
    f->server = rpc_server_free(f->server);
    f->rpc = rpc_free(f->rpc);
    f->loop = loop_free(f->loop);
    assert_int_equal(fs_remove_tree(f->dir, NULL), 0);
    free(f);
    return 0;
}

static void call(struct fixture *f, const struct rpc_method *method, uint64_t deadline)
{
    KV(in);
    in.version = 41;
    int before = f->replies;
    (void)rpc_client_call(f->client, method, &in.base, deadline, on_reply, f);
    assert_int_equal(f->replies, before);
    run(f);
}

static void unary(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++) {
        call(f, &echo, 5000);
        assert_int_equal(f->status, RPC_OK);
        assert_int_equal(f->version, 42);
    }
    call(f, &fail_method, 5000);
    assert_int_equal(f->status, RPC_NOT_FOUND);
    assert_string_equal(f->text, "no sandbox of ä");
    call(f, &unknown, 5000);
    assert_int_equal(f->status, RPC_UNIMPLEMENTED);
    assert_non_null(strstr(f->text, "/t.T/Nothing"));
    assert_int_equal(f->replies, 102);
}

static void deadline_passes(void **state)
{
    struct fixture *f = *state;
    call(f, &hold, 100);
    if (f->replies == 0) /* the server's side may be told first */
        run(f);
    assert_int_equal(f->status, RPC_DEADLINE_EXCEEDED);
    if (f->cancels == 0)
        run(f);
    assert_int_equal(f->cancels, 1);
    assert_true(rpc_server_cancelled(f->held));
    KV(out);
    rpc_server_reply(f->held, &out.base); /* allowed, and dropped */
    call(f, &echo, 5000);
    assert_int_equal(f->version, 42);
}

static void cancel_reaches_the_server(void **state)
{
    struct fixture *f = *state;
    KV(in);
    struct rpc_call *c = rpc_client_call(f->client, &hold, &in.base, 0, on_reply, f);
    while (!f->held)
        linger(f, 10);
    rpc_call_cancel(c);
    run(f);
    assert_int_equal(f->cancels, 1);
    rpc_server_fail(f->held, RPC_INTERNAL, "dropped");
    linger(f, 50);
    assert_int_equal(f->replies, 0);
}

static void big_message(void **state)
{
    struct fixture *f = *state;
    size_t len = 10 << 20;
    _cleanup_free_ uint8_t *data = mem_zalloc(len);
    KV(in);
    in.value = (ProtobufCBinaryData){len, data};
    (void)rpc_client_call(f->client, &echo, &in.base, 10000, on_reply, f);
    run(f);
    assert_int_equal(f->status, RPC_OK);
    assert_int_equal(f->value_len, len);
    _cleanup_free_ uint8_t *more = mem_zalloc(RPC_MESSAGE_MAX);
    in.value = (ProtobufCBinaryData){RPC_MESSAGE_MAX, more};
    (void)rpc_client_call(f->client, &echo, &in.base, 10000, on_reply, f);
    run(f);
    assert_int_equal(f->status, RPC_RESOURCE_EXHAUSTED);
}

static void server_stream(void **state)
{
    struct fixture *f = *state;
    KV(in);
    in.version = 1000;
    (void)rpc_client_stream(f->client, &count, &in.base, true, 0, &events, f);
    run(f);
    assert_int_equal(f->ends, 1);
    assert_int_equal(f->status, RPC_OK);
    assert_int_equal(f->messages, 1000);
    assert_int_equal(f->version, 1000);
}

static void server_stream_flow_control(void **state)
{
    struct fixture *f = *state;
    KV(in);
    struct rpc_stream *s =
        rpc_client_stream(f->client, &flood_method, &in.base, true, 0, &events, f);
    rpc_stream_pause(s, true);
    linger(f, 100);
    assert_int_equal(f->messages, 0);
    assert_int_equal(f->ends, 0);
    assert_true(f->flooded < 128); /* the server waits */
    int64_t waited = f->flooded;
    linger(f, 50);
    assert_int_equal(f->flooded, waited);
    rpc_stream_pause(s, false);
    f->value_len = 0;
    while (f->ends == 0)
        run(f);
    assert_int_equal(f->status, RPC_OK);
    assert_int_equal(f->messages, 128);
    assert_true(f->writables > 0);
    assert_int_equal(f->value_len, 8 << 20);
}

static void client_stream(void **state)
{
    struct fixture *f = *state;
    struct rpc_stream *s = rpc_client_stream(f->client, &sum, NULL, false, 0, &events, f);
    for (int i = 1; i <= 100; i++) {
        KV(in);
        in.version = i;
        assert_int_equal(rpc_stream_send(s, &in.base), 0);
    }
    rpc_stream_close_send(s);
    KV(late);
    assert_int_equal(rpc_stream_send(s, &late.base), -EPIPE);
    run(f);
    assert_int_equal(f->status, RPC_OK);
    assert_int_equal(f->half_closes, 1);
    assert_int_equal(f->messages, 101);
    assert_int_equal(f->version, 5050);
}

/* A client that gives up is never taken for one that has sent everything. */
static void cancel_is_no_half_close(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 50; i++) {
        f->messages = 0;
        f->held = NULL;
        struct rpc_stream *s = rpc_client_stream(f->client, &sum, NULL, false, 0, &events, f);
        KV(in);
        assert_int_equal(rpc_stream_send(s, &in.base), 0);
        while (f->messages == 0)
            linger(f, 1);
        rpc_stream_cancel(s);
        run(f);
        assert_int_equal(f->half_closes, 0);
        assert_int_equal(f->cancels, i + 1);
        rpc_server_fail(f->held, RPC_CANCELLED, "given up");
    }
    assert_int_equal(f->ends, 0);
}

static void send_queue_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct rpc_stream *s = rpc_client_stream(f->client, &sum, NULL, false, 0, &events, f);
    while (!f->held)
        linger(f, 1);
    rpc_server_pause(f->held, true);
    static uint8_t block[64 << 10];
    KV(in);
    in.value = (ProtobufCBinaryData){sizeof(block), block};
    int sent = 0, r = 0;
    for (; sent < 1000 && (r = rpc_stream_send(s, &in.base)) == 0; sent++)
        linger(f, 1);
    assert_int_equal(r, RPC_E_FULL);
    rpc_server_pause(f->held, false);
    run(f);
    assert_int_equal(f->writables, 1);
    rpc_stream_close_send(s);
    f->stop_at = -1;
    run(f);
    assert_int_equal(f->ends, 1);
    assert_int_equal(f->messages, sent + 1);
}

static void bidi(void **state)
{
    struct fixture *f = *state;
    f->stop_at = 1;
    KV(in);
    in.version = 1;
    struct rpc_stream *s = rpc_client_stream(f->client, &chat, &in.base, false, 0, &events, f);
    for (int i = 2; i <= 20; i++) {
        run(f);
        assert_int_equal(f->version, -(i - 1));
        f->stop_at = i;
        in.version = i;
        assert_int_equal(rpc_stream_send(s, &in.base), 0);
    }
    run(f);
    f->stop_at = -1;
    rpc_stream_close_send(s);
    run(f);
    assert_int_equal(f->ends, 1);
    assert_int_equal(f->status, RPC_OK);
    assert_int_equal(f->messages, 20);
}

static void cancel_in_callback(void *arg, _unused_ const ProtobufCMessage *message)
{
    struct fixture *f = arg;
    f->messages++;
    rpc_stream_cancel(f->stream);
    loop_stop(f->loop, 0);
}

static void stream_cancelled_in_its_callback(void **state)
{
    struct fixture *f = *state;
    static const struct rpc_stream_events cancels = {cancel_in_callback, on_end, NULL};
    KV(in);
    in.version = 10;
    f->stream = rpc_client_stream(f->client, &count, &in.base, true, 0, &cancels, f);
    run(f);
    linger(f, 50);
    assert_int_equal(f->messages, 1);
    assert_int_equal(f->ends, 0);
}

static void server_goes_and_comes_back(void **state)
{
    struct fixture *f = *state;
    call(f, &echo, 5000);
    assert_int_equal(f->status, RPC_OK);
    f->stop_at = 1;
    KV(in);
    in.version = 1;
    (void)rpc_client_stream(f->client, &chat, &in.base, false, 0, &events, f);
    run(f);
    f->stop_at = -1;
    f->server = rpc_server_free(f->server);
    run(f);
    assert_int_equal(f->ends, 1);
    assert_int_not_equal(f->status, RPC_OK);
    call(f, &echo, 2000);
    assert_int_equal(f->status, RPC_UNAVAILABLE);
    start_server(f);
    rpc_client_reset_backoff(f->client);
    for (int i = 0; i < 100 && f->status != RPC_OK; i++) {
        call(f, &echo, 2000);
        linger(f, 20);
    }
    assert_int_equal(f->status, RPC_OK);
    /* An idle client notices: its first call after the restart succeeds. */
    f->server = rpc_server_free(f->server);
    linger(f, 100);
    start_server(f);
    f->client = rpc_client_free(f->client);
    start_client(f, true);
    call(f, &echo, 2000);
    assert_int_equal(f->status, RPC_OK);
    f->server = rpc_server_free(f->server);
    linger(f, 300);
    start_server(f);
    call(f, &echo, 2000);
    assert_int_equal(f->status, RPC_OK);
}

static void socket_is_ours_alone(void **state)
{
    struct fixture *f = *state;
    const char *path = f->target + strlen("unix://");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    struct rpc_server_options options = {.listen = f->target};
    struct rpc_server *second = rpc_server_new(f->rpc, &options);
    struct error err = ERROR_INIT;
    assert_int_equal(rpc_server_start(second, &err), -EADDRINUSE);
    (void)rpc_server_free(second);
    call(f, &echo, 5000);
    assert_int_equal(f->status, RPC_OK);

    f->server = rpc_server_free(f->server);
    assert_false(fs_exists(path));
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    (void)close(fd); /* stale now */
    start_server(f);
    rpc_client_reset_backoff(f->client);

    options.listen = "relative";
    second = rpc_server_new(f->rpc, &options);
    assert_int_equal(rpc_server_start(second, &err), -EINVAL);
    (void)rpc_server_free(second);
    char name[200];
    memset(name, 'x', sizeof(name));
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    options.listen = name;
    second = rpc_server_new(f->rpc, &options);
    assert_int_equal(rpc_server_start(second, &err), -ENAMETOOLONG);
    (void)rpc_server_free(second);
}

/* ---- servers that misbehave: a raw socket in the place of ours ---- */
static int raw_listener(struct fixture *f)
{
    f->server = rpc_server_free(f->server);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", f->target + strlen("unix://"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

/* Calls a raw server that answers with these bytes, and nothing more. */
static int raw_call(struct fixture *f, int listener, const struct rpc_client_options *options,
                    const void *answer, size_t len)
{
    struct error err = ERROR_INIT;
    struct rpc_client_options o = *options;
    o.target = f->target;
    (void)rpc_client_free(f->client);
    f->client = rpc_client_new(f->rpc, &o, &err);
    assert_non_null(f->client);
    KV(in);
    f->status = RPC_OK;
    (void)rpc_client_call(f->client, &echo, &in.base, 5000, on_reply, f);
    linger(f, 10);
    int conn = accept(listener, NULL, NULL);
    assert_true(conn >= 0);
    assert_int_equal(write(conn, answer, len), (ssize_t)len);
    int before = f->replies;
    while (f->replies == before)
        run(f);
    return conn;
}

static void servers_that_misbehave(void **state)
{
    struct fixture *f = *state;
    static const char settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0}, http[] = "HTTP/1.1 400 Bad\r\n\r\n",
                      goodbye[] = {0, 0, 0, 4, 0, 0, 0, 0, 0, /* settings */
                                   0, 0, 8, 7, 0, 0, 0, 0, 0, /* GOAWAY: no stream was seen */
                                   0, 0, 0, 0, 0, 0, 0, 0};
    int listener = raw_listener(f);
    uint64_t start = now_ms();
    struct rpc_client_options pings = {.keepalive_ms = 100, .keepalive_timeout_ms = 100};
    int conn = raw_call(f, listener, &pings, settings, sizeof(settings));
    assert_int_equal(f->status, RPC_UNAVAILABLE); /* it does not answer pings */
    assert_false(rpc_never_sent(f->status, f->text));
    assert_in_range(now_ms() - start, 100, 3000);
    (void)close(conn);

    struct rpc_client_options plain = {.reconnect_max_ms = 200};
    conn = raw_call(f, listener, &plain, http, sizeof(http) - 1);
    assert_int_equal(f->status, RPC_UNAVAILABLE); /* does not speak HTTP/2 */
    assert_true(rpc_never_sent(f->status, f->text));
    (void)close(conn);

    conn = raw_call(f, listener, &plain, "", 0);
    assert_int_equal(f->status, RPC_UNAVAILABLE); /* accepts, and says nothing */
    assert_non_null(strstr(f->text, "no answer in time"));
    (void)close(conn);

    conn = raw_call(f, listener, &plain, goodbye, sizeof(goodbye));
    assert_int_equal(f->status, RPC_UNAVAILABLE);
    assert_true(rpc_never_sent(f->status, f->text));
    (void)close(conn);
    (void)close(listener);
}

static void bad_options(void **state)
{
    struct fixture *f = *state;
    struct error err = ERROR_INIT;
    struct rpc_client_options o = {.target = "unix://relative"};
    assert_null(rpc_client_new(f->rpc, &o, &err));
    assert_int_equal(err.code, -EINVAL);
    o = (struct rpc_client_options){.target = "127.0.0.1:1", .ca_pem = "no pem"};
    assert_null(rpc_client_new(f->rpc, &o, &err));
    assert_non_null(strstr(err.text, "CA certificate"));
}

static void ends_with_work_under_way(void **state)
{
    struct fixture *f = *state;
    KV(in);
    (void)rpc_client_call(f->client, &hold, &in.base, 0, on_reply, f);
    (void)rpc_client_stream(f->client, &chat, &in.base, false, 0, &events, f);
    (void)rpc_client_stream(f->client, &flood_method, &in.base, true, 0, &events, f);
    while (!f->held)
        linger(f, 1);
    f->client = rpc_client_free(f->client);
    rpc_server_on_cancel(f->held, NULL, NULL);
    f->server = rpc_server_free(f->server);
    KV(out);
    rpc_server_reply(f->held, &out.base);
    assert_int_equal(f->replies, 0);
}

/* A NUL would cut a string short in C. */
static void strings_with_nul(_unused_ void **state)
{
    static const uint8_t good[] = {0x0a, 1, 'A', 0x12, 3, 'x', 'z', 'y'},
                         bad[] = {0x0a, 1, 'A', 0x12, 3, 'x', 0, 'y'},
                         nested[] = {0x32, 8, 0x0a, 1, 'A', 0x12, 3, 'x', 0, 'y'},
                         later[] = {0xfa, 0x7f, 1, 0, 0x0a, 1, 'A'};
    const ProtobufCMessageDescriptor *entry = &runtime__v1__key_value__descriptor;
    ProtobufCMessage *m = rpc_decode(good, sizeof(good), entry);
    assert_non_null(m);
    rpc_message_free(m);
    assert_null(rpc_decode(bad, sizeof(bad), entry));
    assert_null(
        rpc_decode(nested, sizeof(nested), &runtime__v1__container_config__descriptor)); /* envs */
    m = rpc_decode(later, sizeof(later), entry); /* of a later release: not looked at */
    assert_non_null(m);
    rpc_message_free(m);
}

static void statuses(_unused_ void **state)
{
    assert_string_equal(rpc_status_name(RPC_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(rpc_status_name((enum rpc_status)99), "UNKNOWN");
    for (int i = 0; i <= RPC_UNAUTHENTICATED; i++)
        assert_true(rpc_status_errno((enum rpc_status)i) <= 0);
    assert_int_equal(rpc_status_of_errno(-ENOENT), RPC_NOT_FOUND);
    assert_int_equal(rpc_status_of_errno(-ETIMEDOUT), RPC_DEADLINE_EXCEEDED);
    assert_int_equal(rpc_status_of_errno(0), RPC_OK);
    assert_int_equal(rpc_status_of_errno(-ESTALE), RPC_UNKNOWN);
}

/* Whatever a message is made of arrives: a field's value has no space at its ends. */
static void texts_in_headers(_unused_ void **state)
{
    static const char *const texts[][2] = {
        {"plain text", "plain text"}, {" both ", "%20both%20"},   {" ", "%20"}, {"", ""},
        {"100%\n", "100%25%0A"},      {"\xc3\xa9 ", "%C3%A9%20"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        _cleanup_free_ char *encoded = rpc_text_encode(texts[i][0]);
        _cleanup_free_ char *decoded = rpc_text_decode(encoded);
        assert_string_equal(encoded, texts[i][1]);
        assert_string_equal(decoded, texts[i][0]);
    }
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(unary),
        T(deadline_passes),
        T(cancel_reaches_the_server),
        T(big_message),
        T(server_stream),
        T(server_stream_flow_control),
        T(client_stream),
        T(cancel_is_no_half_close),
        T(send_queue_is_bounded),
        T(bidi),
        T(stream_cancelled_in_its_callback),
        T(server_goes_and_comes_back),
        T(socket_is_ours_alone),
        T(servers_that_misbehave),
        T(bad_options),
        T(ends_with_work_under_way),
        cmocka_unit_test(strings_with_nul),
        cmocka_unit_test(statuses),
        cmocka_unit_test(texts_in_headers),
    };
    return RUN_TESTS(tests);
}
