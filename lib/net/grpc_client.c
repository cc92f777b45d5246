/*
 * The gRPC client of grpc_client.h.
 *
 * A unary call is one batch with all six operations. A stream has up to three batches at a time:
 * its start (headers out and in, and the final status, which completes when the stream is over),
 * one receive, one send. A structure is freed when its owner is through with it and no batch is
 * under way.
 *
 * A watch on the channel's connectivity is always under way: through it the queue's thread polls
 * the connection also while no call is open, so that a server that goes away is noticed at once
 * and the next call connects anew instead of failing on a dead socket.
 */
#include "net/grpc_client.h"

#include <errno.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/strbuf.h"
#include "net/grpc_internal.h"

#define METADATA_MAX 8

struct metadata {
    char *key, *value;
};

struct rpc_client {
    struct rpc *rpc;
    grpc_channel *channel; /* NULL after rpc_client_free() */
    uint32_t flags;        /* of initial metadata: wait-for-ready */
    uint32_t message_max;
    struct metadata metadata[METADATA_MAX];
    size_t n_metadata;
    struct list calls, streams;
    struct rpc_op watch;
};

/* What a call that has just ended says. */
struct outcome {
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;
};

struct rpc_call {
    struct rpc_op op;
    struct list entry; /* in client->calls until cancelled or done */
    grpc_call *call;
    const ProtobufCMessageDescriptor *response;
    grpc_byte_buffer *received;
    struct outcome outcome;
    rpc_reply_fn *cb; /* NULL: cancelled */
    void *arg;
};

struct rpc_stream {
    struct rpc *rpc;
    struct list entry; /* in client->streams until cancelled or ended */
    grpc_call *call;
    const ProtobufCMessageDescriptor *response;
    const struct rpc_stream_events *events; /* NULL: cancelled or ended */
    void *arg;
    uint32_t message_max;

    struct rpc_op start, recv, send;
    unsigned busy; /* batches under way */
    grpc_byte_buffer *received, *sending;
    struct outcome outcome;
    struct rpc_queue queue;
    bool receiving, at_end;   /* a receive is under way; the last message was received */
    bool is_sending, closing; /* a send is under way; no more will be queued */
    bool closed;              /* the half-close was handed to gRPC */
    bool over;                /* the status is there */
    bool paused, delivering;
    struct loop_deferred resume;
};

static void outcome_init(struct outcome *o)
{
    grpc_metadata_array_init(&o->initial);
    grpc_metadata_array_init(&o->trailing);
    o->status = GRPC_STATUS_UNKNOWN;
    o->details = grpc_empty_slice();
}

static void outcome_done(struct outcome *o)
{
    grpc_metadata_array_destroy(&o->initial);
    grpc_metadata_array_destroy(&o->trailing);
    grpc_slice_unref(o->details);
}

/* ---- the channel ---- */
static void watch_state(struct rpc_client *c)
{
    grpc_connectivity_state now = grpc_channel_check_connectivity_state(c->channel, 0);
    rpc_op_begin(c->rpc);
    grpc_channel_watch_connectivity_state(c->channel, now, gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                          c->rpc->cq, &c->watch);
}

static void client_release(struct rpc_client *c)
{
    for (size_t i = 0; i < c->n_metadata; i++) {
        free(c->metadata[i].key);
        free(c->metadata[i].value);
    }
    free(c);
}

static void on_state(struct rpc_op *op, _unused_ bool ok)
{
    struct rpc_client *c = CONTAINER_OF(op, struct rpc_client, watch);
    if (c->channel)
        watch_state(c);
    else
        client_release(c);
}

/* gRPC finds bad PEM only when it connects, and then says little. */
static int check_pem(const char *what, const char *pem, bool key, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    bool good = false;
    if (bio && key) {
        EVP_PKEY *k = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        good = k != NULL;
        EVP_PKEY_free(k);
    } else if (bio) {
        X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        good = x != NULL;
        X509_free(x);
    }
    BIO_free(bio);
    return good ? 0 : error_set(err, -EINVAL, "%s is not in PEM form or is damaged", what);
}

static grpc_channel_credentials *credentials(const struct rpc_client_options *o, struct error *err)
{
    if (!o->ca_pem)
        return grpc_insecure_credentials_create();
    if (check_pem("the CA certificate", o->ca_pem, false, err) < 0)
        return NULL;
    if (!o->cert_pem != !o->key_pem) {
        (void)error_set(err, -EINVAL,
                        "a client certificate needs its key and a key its certificate");
        return NULL;
    }
    if (o->cert_pem && (check_pem("the client certificate", o->cert_pem, false, err) < 0 ||
                        check_pem("the client key", o->key_pem, true, err) < 0))
        return NULL;
    grpc_ssl_pem_key_cert_pair pair = {o->key_pem, o->cert_pem};
    return grpc_ssl_credentials_create_ex(o->ca_pem, o->cert_pem ? &pair : NULL, NULL, NULL);
}

static grpc_arg int_arg(const char *name, uint32_t value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER,
                      .key = (char *)name,
                      .value.integer = value > INT32_MAX ? INT32_MAX : (int)value};
}

static grpc_arg string_arg(const char *name, const char *value)
{
    return (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)name, .value.string = (char *)value};
}

static grpc_channel *open_channel(const struct rpc_client_options *o, uint32_t message_max,
                                  grpc_channel_credentials *creds)
{
    uint32_t reconnect = o->reconnect_max_ms ? o->reconnect_max_ms : 5000;
    grpc_arg args[16];
    size_t n = 0;
    args[n++] = int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, message_max);
    args[n++] = int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, message_max);
    args[n++] = int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    args[n++] = int_arg(GRPC_ARG_ENABLE_RETRIES, 0);
    args[n++] = int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0);
    args[n++] = int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    args[n++] = int_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1);
    args[n++] = int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    args[n++] = int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    args[n++] = int_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, reconnect);
    args[n++] = int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, reconnect);
    args[n++] = int_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    if (o->keepalive_ms) {
        args[n++] = int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, o->keepalive_ms);
        args[n++] = int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                            o->keepalive_timeout_ms ? o->keepalive_timeout_ms : 10000);
        args[n++] = int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    }
    if (o->server_name)
        args[n++] = string_arg(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, o->server_name);
    else if (rpc_unix_path(o->target)) /* the default is the path, which servers refuse */
        args[n++] = string_arg(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    grpc_channel_args list = {n, args};
    return grpc_channel_create(o->target, creds, &list);
}

struct rpc_client *rpc_client_new(struct rpc *rpc, const struct rpc_client_options *options,
                                  struct error *err)
{
    const char *path = rpc_unix_path(options->target);
    if (path ? path[0] != '/' : !strrchr(options->target, ':')) {
        (void)error_set(err, -EINVAL, "\"%s\" is neither unix:///absolute/path nor host:port",
                        options->target);
        return NULL;
    }
    grpc_channel_credentials *creds = credentials(options, err);
    if (!creds)
        return NULL;
    struct rpc_client *c = mem_zalloc(sizeof(*c));
    c->rpc = rpc;
    c->message_max = options->message_max ? options->message_max : RPC_MESSAGE_MAX;
    c->flags = options->wait_for_ready ? GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                                             GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET
                                       : 0;
    list_init(&c->calls);
    list_init(&c->streams);
    c->channel = open_channel(options, c->message_max, creds);
    grpc_channel_credentials_release(creds);
    c->watch.done = on_state;
    watch_state(c);
    return c;
}

struct rpc_client *rpc_client_free(struct rpc_client *client)
{
    if (!client)
        return NULL;
    LIST_FOR_EACH(e, &client->calls)
        rpc_call_cancel(LIST_ENTRY(e, struct rpc_call, entry));
    LIST_FOR_EACH(e, &client->streams)
        rpc_stream_cancel(LIST_ENTRY(e, struct rpc_stream, entry));
    grpc_channel *channel = TAKE_PTR(client->channel);
    grpc_channel_destroy(channel); /* ends the watch, whose op frees the rest */
    return NULL;
}

void rpc_client_set_metadata(struct rpc_client *client, const char *key, const char *value)
{
    struct metadata *m = client->metadata;
    size_t i = 0;
    while (i < client->n_metadata && !str_eq(m[i].key, key))
        i++;
    if (i < client->n_metadata) {
        free(m[i].key);
        free(m[i].value);
        m[i] = m[--client->n_metadata];
    }
    if (!value || client->n_metadata == METADATA_MAX)
        return;
    grpc_slice k = grpc_slice_from_copied_string(key), v = grpc_slice_from_copied_string(value);
    if (grpc_header_key_is_legal(k) && grpc_header_nonbin_value_is_legal(v))
        m[client->n_metadata++] = (struct metadata){str_dup(key), str_dup(value)};
    grpc_slice_unref(k);
    grpc_slice_unref(v);
}

void rpc_client_reset_backoff(struct rpc_client *client)
{
    grpc_channel_reset_connect_backoff(client->channel);
}

static grpc_call *open_call(struct rpc_client *c, const char *path, uint64_t deadline_ms)
{
    grpc_slice method = grpc_slice_from_static_string(path);
    return grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->rpc->cq, method,
                                    NULL, rpc_deadline(deadline_ms), NULL);
}

/* gRPC takes its own references to what it keeps: release with metadata_done() after the batch. */
static size_t metadata_init(const struct rpc_client *c, grpc_metadata out[METADATA_MAX])
{
    memset(out, 0, METADATA_MAX * sizeof(*out));
    for (size_t i = 0; i < c->n_metadata; i++) {
        out[i].key = grpc_slice_from_copied_string(c->metadata[i].key);
        out[i].value = grpc_slice_from_copied_string(c->metadata[i].value);
    }
    return c->n_metadata;
}

/* ---- unary calls ---- */
static void call_release(struct rpc_call *call)
{
    grpc_byte_buffer_destroy(call->received);
    outcome_done(&call->outcome);
    grpc_call_unref(call->call);
    free(call);
}

static void on_call_done(struct rpc_op *op, _unused_ bool ok)
{
    struct rpc_call *call = CONTAINER_OF(op, struct rpc_call, op);
    list_remove(&call->entry);
    if (call->cb) {
        enum rpc_status status = (enum rpc_status)call->outcome.status;
        _cleanup_free_ char *text = rpc_slice_text(call->outcome.details);
        ProtobufCMessage *message = NULL;
        const char *say = text;
        if (status == RPC_OK) {
            message = rpc_decode(call->received, call->response);
            if (!message) {
                status = RPC_INTERNAL;
                say = "the answer cannot be decoded";
            }
        }
        call->cb(call->arg, status, say, message);
        rpc_message_free(message);
    }
    call_release(call);
}

static size_t start_ops(struct rpc_client *c, grpc_op *ops, struct outcome *o,
                        grpc_metadata *metadata, size_t n_metadata)
{
    size_t n = 0;
    ops[n++] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA,
                         .flags = c->flags,
                         .data.send_initial_metadata = {.count = n_metadata, .metadata = metadata}};
    ops[n++] =
        (grpc_op){.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata = {&o->initial}};
    ops[n++] = (grpc_op){.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                         .data.recv_status_on_client = {.trailing_metadata = &o->trailing,
                                                        .status = &o->status,
                                                        .status_details = &o->details}};
    return n;
}

static void metadata_done(grpc_metadata *metadata, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        grpc_slice_unref(metadata[i].key);
        grpc_slice_unref(metadata[i].value);
    }
}

static struct rpc_call *start_call(struct rpc_client *client, const struct rpc_method *method,
                                   grpc_byte_buffer *request, uint64_t deadline_ms,
                                   rpc_reply_fn *cb, void *arg)
{
    struct rpc_call *call = mem_zalloc(sizeof(*call));
    call->op.done = on_call_done;
    call->response = method->response;
    call->cb = cb;
    call->arg = arg;
    outcome_init(&call->outcome);
    list_append(&client->calls, &call->entry);
    call->call = open_call(client, method->path, deadline_ms);

    grpc_metadata metadata[METADATA_MAX];
    size_t n_metadata = metadata_init(client, metadata);
    grpc_op ops[6];
    size_t n = start_ops(client, ops, &call->outcome, metadata, n_metadata);
    ops[n++] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message = {request}};
    ops[n++] = (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    ops[n++] = (grpc_op){.op = GRPC_OP_RECV_MESSAGE, .data.recv_message = {&call->received}};
    rpc_batch(client->rpc, call->call, ops, n, &call->op);
    grpc_byte_buffer_destroy(request);
    metadata_done(metadata, n_metadata);
    return call;
}

struct rpc_call *rpc_client_call(struct rpc_client *client, const struct rpc_method *method,
                                 const ProtobufCMessage *request, uint64_t deadline_ms,
                                 rpc_reply_fn *cb, void *arg)
{
    return start_call(client, method, rpc_encode(request), deadline_ms, cb, arg);
}

struct rpc_call *rpc_client_call_encoded(struct rpc_client *client, const struct rpc_method *method,
                                         const void *request, size_t len, uint64_t deadline_ms,
                                         rpc_reply_fn *cb, void *arg)
{
    grpc_slice slice = grpc_slice_from_copied_buffer(request, len);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return start_call(client, method, buffer, deadline_ms, cb, arg);
}

/* gRPC has no code for it; these are the texts of its channel when no connection could be made. */
bool rpc_never_sent(enum rpc_status status, const char *message)
{
    return status == RPC_UNAVAILABLE &&
           (str_starts(message, "failed to connect to all addresses") ||
            str_starts(message, "DNS resolution failed") ||
            str_starts(message, "empty address list"));
}

void rpc_call_cancel(struct rpc_call *call)
{
    if (!call)
        return;
    call->cb = NULL;
    list_remove(&call->entry);
    (void)grpc_call_cancel(call->call, NULL);
}

/* ---- streams ---- */
static void stream_release(struct rpc_stream *s)
{
    if (s->events || s->busy > 0 || s->delivering)
        return;
    loop_deferred_done(&s->resume);
    grpc_byte_buffer_destroy(s->received);
    grpc_byte_buffer_destroy(s->sending);
    rpc_queue_done(&s->queue);
    outcome_done(&s->outcome);
    grpc_call_unref(s->call);
    free(s);
}

static void receive_next(struct rpc_stream *s)
{
    if (s->receiving || s->received || s->at_end || s->paused || !s->events)
        return;
    s->receiving = true;
    s->busy++;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message = {&s->received}};
    rpc_batch(s->rpc, s->call, &op, 1, &s->recv);
}

static void send_next(struct rpc_stream *s)
{
    if (s->is_sending || s->over || !s->events)
        return;
    grpc_op op;
    s->sending = rpc_queue_pop(&s->queue);
    if (s->sending) {
        op = (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message = {s->sending}};
    } else if (s->closing && !s->closed) {
        s->closed = true;
        op = (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    } else {
        return;
    }
    s->is_sending = true;
    s->busy++;
    rpc_batch(s->rpc, s->call, &op, 1, &s->send);
}

/* The status may be there before the last messages were taken: the end waits for them. */
static void maybe_end(struct rpc_stream *s)
{
    if (!s->events || !s->over || s->receiving || s->received || s->paused || s->delivering)
        return;
    if (!s->at_end) {
        receive_next(s);
        return;
    }
    const struct rpc_stream_events *events = TAKE_PTR(s->events);
    list_remove(&s->entry);
    _cleanup_free_ char *text = rpc_slice_text(s->outcome.details);
    events->on_end(s->arg, (enum rpc_status)s->outcome.status, text);
}

static void on_stream_over(struct rpc_op *op, _unused_ bool ok)
{
    struct rpc_stream *s = CONTAINER_OF(op, struct rpc_stream, start);
    s->busy--;
    s->over = true;
    maybe_end(s);
    stream_release(s);
}

/* Hands on the message that was received, unless paused. */
static void deliver(struct rpc_stream *s)
{
    if (!s->received || !s->events || s->paused)
        return;
    ProtobufCMessage *message = rpc_decode(s->received, s->response);
    grpc_byte_buffer_destroy(TAKE_PTR(s->received));
    if (!message) {
        (void)grpc_call_cancel_with_status(s->call, GRPC_STATUS_INTERNAL,
                                           "a message of the stream cannot be decoded", NULL);
        return;
    }
    s->delivering = true;
    s->events->on_message(s->arg, message);
    s->delivering = false;
    rpc_message_free(message);
}

static void on_received(struct rpc_op *op, bool ok)
{
    struct rpc_stream *s = CONTAINER_OF(op, struct rpc_stream, recv);
    s->busy--;
    s->receiving = false;
    if (!ok || !s->received) {
        grpc_byte_buffer_destroy(TAKE_PTR(s->received));
        s->at_end = true;
    }
    deliver(s);
    receive_next(s);
    maybe_end(s);
    stream_release(s);
}

static void on_resume(void *arg)
{
    struct rpc_stream *s = arg;
    deliver(s);
    receive_next(s);
    maybe_end(s);
    stream_release(s);
}

static void on_sent(struct rpc_op *op, _unused_ bool ok)
{
    struct rpc_stream *s = CONTAINER_OF(op, struct rpc_stream, send);
    s->busy--;
    s->is_sending = false;
    grpc_byte_buffer_destroy(TAKE_PTR(s->sending));
    send_next(s);
    if (s->events && s->queue.full && s->queue.bytes <= RPC_QUEUE_MAX / 2 && !s->over) {
        s->queue.full = false;
        if (s->events->on_writable) {
            s->delivering = true;
            s->events->on_writable(s->arg);
            s->delivering = false;
            maybe_end(s);
        }
    }
    stream_release(s);
}

struct rpc_stream *rpc_client_stream(struct rpc_client *client, const struct rpc_method *method,
                                     const ProtobufCMessage *first, bool only, uint64_t deadline_ms,
                                     const struct rpc_stream_events *events, void *arg)
{
    struct rpc_stream *s = mem_zalloc(sizeof(*s));
    s->rpc = client->rpc;
    s->response = method->response;
    s->events = events;
    s->arg = arg;
    s->message_max = client->message_max;
    s->start.done = on_stream_over;
    s->recv.done = on_received;
    s->send.done = on_sent;
    s->closing = only;
    outcome_init(&s->outcome);
    rpc_queue_init(&s->queue);
    loop_deferred_init(&s->resume, s->rpc->loop, on_resume, s);
    list_append(&client->streams, &s->entry);
    s->call = open_call(client, method->path, deadline_ms);

    grpc_metadata metadata[METADATA_MAX];
    size_t n_metadata = metadata_init(client, metadata);
    grpc_op ops[3];
    size_t n = start_ops(client, ops, &s->outcome, metadata, n_metadata);
    s->busy++;
    rpc_batch(s->rpc, s->call, ops, n, &s->start);
    metadata_done(metadata, n_metadata);
    if (first)
        (void)rpc_queue_push(&s->queue, rpc_encode(first));
    send_next(s);
    receive_next(s);
    return s;
}

int rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *message)
{
    if (stream->closing || stream->over)
        return -EPIPE;
    grpc_byte_buffer *buffer = rpc_encode(message);
    int r = grpc_byte_buffer_length(buffer) > stream->message_max
                ? -EMSGSIZE
                : rpc_queue_push(&stream->queue, buffer);
    if (r != 0)
        grpc_byte_buffer_destroy(buffer);
    else
        send_next(stream);
    return r;
}

void rpc_stream_close_send(struct rpc_stream *stream)
{
    stream->closing = true;
    send_next(stream);
}

void rpc_stream_pause(struct rpc_stream *stream, bool paused)
{
    if (stream->paused && !paused)
        loop_defer(&stream->resume);
    stream->paused = paused;
}

void rpc_stream_cancel(struct rpc_stream *stream)
{
    if (!stream || !stream->events)
        return;
    stream->events = NULL;
    list_remove(&stream->entry);
    (void)grpc_call_cancel(stream->call, NULL);
    stream_release(stream);
}
