/*
 * WebSocket as the framing of the streaming sub-protocols: see remote_framing.h. The first byte of
 * a message is the number of its channel (in the base64 variants a digit, and the rest is base64).
 *
 *   remote command   0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize; in v5 a message to channel
 *                    255 names a channel that its sender has ended
 *   port forward     for the n-th port 2n data and 2n+1 error; the server's first message on each
 *                    is the port, as two bytes, the lower first
 *
 * All channels share the connection: when the reader of one lags, nothing is read until it has
 * caught up. Only v5's clients can end a channel; otherwise a connection that is no longer needed
 * is closed, and where there is no other way to tell the end of a forwarded connection, it is that.
 */
#include "net/remote_framing.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/strbuf.h"
#include "net/stream_ops.h"

#define CHANNELS_MAX  (2 * REMOTE_PORTS_MAX)
#define CLOSE_CHANNEL 255
#define MESSAGE_MAX   (24 * 1024) /* a multiple of three: base64 without padding in between */

struct channel {
    struct stream base;
    struct remote_framing *f; /* NULL once out of it */
    unsigned number;
    bool server_reads, server_writes;
    bool eof_due; /* our direction has ended, and so has the peer's */
    void (*on_reply)(struct stream *stream, int result, const struct http_headers *headers,
                     void *arg);
    void *reply_arg;
};

struct remote_framing {
    struct websocket *ws; /* NULL once finished */
    const struct remote_framing_handler *handler;
    void *arg;
    unsigned refs;
    bool freed, server, over;
    bool base64, half_close;
    const uint16_t *ports; /* of a server that forwards: a copy */
    size_t n_ports;
    struct loop *loop;
    struct loop_deferred turn;
    struct channel *channels[CHANNELS_MAX];
    bool offered; /* a server's channels were handed out */
    struct channel *blocked_on;
    /* the message that is being received */
    bool numbered;
    unsigned number;
    EVP_ENCODE_CTX *decoder;
};

static struct channel *of(const struct stream *s)
{
    return CONTAINER_OF((struct stream *)(uintptr_t)s, struct channel, base);
}

static void unref(struct remote_framing *f)
{
    if (--f->refs > 0)
        return;
    EVP_ENCODE_CTX_free(f->decoder);
    free((void *)(uintptr_t)f->ports);
    free(f);
}

/* ---- channels as streams ---- */

static void send_message(struct remote_framing *f, unsigned number, const void *data, size_t len)
{
    char head = (char)(f->base64 ? '0' + number : number);
    if (!f->base64) {
        websocket_send(f->ws, false, &head, 1, data, len);
        return;
    }
    unsigned char text[MESSAGE_MAX / 3 * 4 + 1];
    int n = EVP_EncodeBlock(text, data, (int)len);
    websocket_send(f->ws, true, &head, 1, text, (size_t)n);
}

static void channel_write(struct stream *s, const void *data, size_t len)
{
    const struct channel *c = of(s);
    for (const char *p = data; c->f && c->f->ws && len > 0;) {
        size_t n = len < MESSAGE_MAX ? len : MESSAGE_MAX;
        send_message(c->f, c->number, p, n);
        p += n;
        len -= n;
    }
}

static size_t channel_pending(const struct stream *s)
{
    const struct channel *c = of(s);
    return c->f && c->f->ws ? websocket_pending(c->f->ws) : 0;
}

static void unblock(struct remote_framing *f)
{
    f->blocked_on = NULL;
    if (f->ws)
        websocket_resume(f->ws);
}

static void channel_used(struct stream *s, _unused_ size_t len)
{
    const struct channel *c = of(s);
    if (c->f && c->f->blocked_on == c && evbuffer_get_length(s->in) < STREAM_BUFFER_MAX / 2)
        unblock(c->f);
}

static void channel_end(struct stream *s)
{
    struct channel *c = of(s);
    struct remote_framing *f = c->f;
    const char message[2] = {(char)CLOSE_CHANNEL, (char)c->number};
    if (!f || !f->ws)
        return;
    if (!f->server && f->half_close)
        websocket_send(f->ws, false, message, 2, NULL, 0);
    /* Nothing can tell the client this but the end of everything. */
    c->eof_due = f->server && f->n_ports > 0 && !s->eof;
    if (c->eof_due)
        loop_defer(&f->turn);
}

static void channel_leave(struct channel *c)
{
    struct remote_framing *f = TAKE_PTR(c->f);
    if (!f)
        return;
    f->channels[c->number] = NULL;
    if (f->blocked_on == c)
        unblock(f);
    if (f->server && f->n_ports > 0)
        loop_defer(&f->turn); /* it may have been the last */
}

/* What was written is with the connection already. */
static void channel_finish(struct stream *s)
{
    (void)stream_free(s);
}

static void channel_destroy(struct stream *s)
{
    channel_leave(of(s));
    evbuffer_free(s->in);
}

static const struct stream_ops channel_ops = {
    .name = "websocket channel",
    .write = channel_write,
    .pending = channel_pending,
    .used = channel_used,
    .end = channel_end,
    .finish = channel_finish,
    .destroy = channel_destroy,
};

static struct channel *channel_new(struct remote_framing *f, unsigned number, bool server_reads,
                                   bool server_writes)
{
    struct channel *c = mem_zalloc(sizeof(*c));
    struct evbuffer *in = evbuffer_new();
    if (!in)
        abort();
    stream_init(&c->base, &channel_ops, f->loop, in);
    c->f = f;
    c->number = number;
    c->server_reads = server_reads;
    c->server_writes = server_writes;
    c->base.unreadable = f->server ? !server_reads : !server_writes;
    c->base.ended = f->server ? !server_writes : !server_reads;
    f->channels[number] = c;
    return c;
}

/* ---- remote command's channels ---- */

static const struct {
    const char *type;
    bool server_reads, server_writes;
} command_channels[] = {
    [REMOTE_STDIN] = {"stdin", true, false},   [REMOTE_STDOUT] = {"stdout", false, true},
    [REMOTE_STDERR] = {"stderr", false, true}, [REMOTE_ERROR] = {"error", false, true},
    [REMOTE_RESIZE] = {"resize", true, false},
};

static void add_command_channels(struct remote_framing *f, const struct remote_options *o)
{
    const bool wanted[] = {[REMOTE_STDIN] = o->want_stdin,
                           [REMOTE_STDOUT] = o->want_stdout,
                           [REMOTE_STDERR] = o->want_stderr && !o->tty,
                           [REMOTE_ERROR] = true,
                           [REMOTE_RESIZE] = o->tty};
    for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++)
        if (wanted[i])
            (void)channel_new(f, i, command_channels[i].server_reads,
                              command_channels[i].server_writes);
    /* An empty message tells the client that all is set up, as upstream does. */
    send_message(f,
                 wanted[REMOTE_STDOUT]   ? REMOTE_STDOUT
                 : wanted[REMOTE_STDERR] ? REMOTE_STDERR
                                         : REMOTE_ERROR,
                 "", 0);
}

static void add_port_channels(struct remote_framing *f)
{
    for (unsigned i = 0; i < f->n_ports; i++) {
        const uint8_t port[2] = {(uint8_t)f->ports[i], (uint8_t)(f->ports[i] >> 8)};
        (void)channel_new(f, 2 * i, true, true);
        (void)channel_new(f, 2 * i + 1, false, true);
        send_message(f, 2 * i, port, 2);
        send_message(f, 2 * i + 1, port, 2);
    }
}

/* Tells a client that its channels are open: nobody is asked. */
static void reply_all(struct remote_framing *f)
{
    static const struct http_headers none = HTTP_HEADERS_INIT;
    for (unsigned i = 0; i < CHANNELS_MAX && !f->freed; i++) {
        struct channel *c = f->channels[i];
        void (*on_reply)(struct stream *, int, const struct http_headers *, void *) =
            c ? c->on_reply : NULL;
        if (!on_reply)
            continue;
        c->on_reply = NULL;
        on_reply(&c->base, 0, &none, c->reply_arg);
    }
}

/* ---- what comes ---- */

static void on_begin(_unused_ struct websocket *ws, _unused_ bool text, void *arg)
{
    struct remote_framing *f = arg;
    f->numbered = false;
    if (f->base64)
        EVP_DecodeInit(f->decoder);
}

/* Bytes of a channel. */
static void give(struct remote_framing *f, const void *data, size_t len)
{
    struct channel *c = f->number < CHANNELS_MAX ? f->channels[f->number] : NULL;
    if (!c || c->base.unreadable || c->base.eof || len == 0)
        return; /* not ours to know, or over */
    (void)evbuffer_add(c->base.in, data, len);
    stream_ref(&c->base);
    stream_arrived(&c->base);
    if (!f->freed && c->f && evbuffer_get_length(c->base.in) >= STREAM_BUFFER_MAX) {
        f->blocked_on = c;
        websocket_pause(f->ws);
    }
    stream_unref(&c->base);
}

static void decode(struct remote_framing *f, const uint8_t *data, size_t len)
{
    /* Pieces have at most 4 KB. What is no base64 is dropped, as upstream does. */
    unsigned char bytes[4096];
    while (len > 0) {
        int n = 0, piece = (int)(len < sizeof(bytes) ? len : sizeof(bytes));
        if (EVP_DecodeUpdate(f->decoder, bytes, &n, data, piece) < 0)
            return;
        data += piece;
        len -= (size_t)piece;
        give(f, bytes, (size_t)n);
        if (f->freed)
            return;
    }
}

/* Messages of the channel that ends others. */
static void end_channels(struct remote_framing *f, const uint8_t *numbers, size_t len)
{
    for (size_t i = 0; i < len && !f->freed; i++) {
        struct channel *c = numbers[i] < CHANNELS_MAX ? f->channels[numbers[i]] : NULL;
        if (c && !c->base.unreadable && !c->base.eof)
            stream_eof(&c->base);
    }
}

static void on_data(_unused_ struct websocket *ws, const void *data, size_t len, void *arg)
{
    struct remote_framing *f = arg;
    const uint8_t *p = data;
    f->refs++;
    if (!f->numbered) {
        f->numbered = true;
        f->number = f->base64 ? (uint8_t)(*p - '0') : *p;
        p++;
        len--;
    }
    if (f->server && f->half_close && f->number == CLOSE_CHANNEL)
        end_channels(f, p, len);
    else if (f->base64)
        decode(f, p, len);
    else
        give(f, p, len);
    unref(f);
}

static void on_drain(_unused_ struct websocket *ws, void *arg)
{
    struct remote_framing *f = arg;
    f->refs++;
    for (unsigned i = 0; i < CHANNELS_MAX && !f->freed; i++)
        if (f->channels[i])
            stream_drained(&f->channels[i]->base);
    unref(f);
}

static void on_close(_unused_ struct websocket *ws, const struct error *err, void *arg)
{
    struct remote_framing *f = arg;
    f->refs++;
    f->over = true;
    reply_all(f);
    for (unsigned i = 0; i < CHANNELS_MAX && !f->freed; i++) {
        struct channel *c = f->channels[i];
        if (c && err)
            stream_closed(&c->base, err);
        else if (c && !c->base.unreadable && !c->base.eof)
            stream_eof(&c->base);
    }
    if (!f->freed)
        f->handler->on_close(err, f->arg);
    unref(f);
}

static const struct websocket_handler websocket_handler = {
    .on_begin = on_begin, .on_data = on_data, .on_drain = on_drain, .on_close = on_close};

/* ---- what is due later ---- */

/* Hands out a server's channels as if the client had opened them. */
static void offer(struct remote_framing *f)
{
    for (unsigned i = 0; i < CHANNELS_MAX && !f->freed; i++) {
        _cleanup_http_headers_ struct http_headers h = HTTP_HEADERS_INIT;
        if (!f->channels[i])
            continue;
        if (f->n_ports > 0) {
            http_headers_add(&h, "streamType", i % 2 ? "error" : "data");
            http_headers_addf(&h, "port", "%u", f->ports[i / 2]);
            http_headers_addf(&h, "requestID", "%u", i / 2);
        } else {
            http_headers_add(&h, "streamType", command_channels[i].type);
        }
        f->handler->on_stream(&f->channels[i]->base, &h, f->arg);
    }
}

static bool is_empty(const struct remote_framing *f)
{
    for (unsigned i = 0; i < CHANNELS_MAX; i++)
        if (f->channels[i])
            return false;
    return true;
}

static void on_turn(void *arg)
{
    struct remote_framing *f = arg;
    f->refs++;
    if (f->server && !f->offered) {
        f->offered = true;
        offer(f);
    }
    reply_all(f);
    for (unsigned i = 0; i < CHANNELS_MAX && !f->freed; i++) {
        struct channel *c = f->channels[i];
        if (c && c->eof_due && !c->base.eof)
            stream_eof(&c->base);
    }
    if (!f->freed && !f->over && f->n_ports > 0 && is_empty(f)) {
        f->over = true;
        f->ws = websocket_finish(f->ws, WEBSOCKET_NORMAL);
        f->handler->on_close(NULL, f->arg);
    }
    unref(f);
}

/* ---- the operations ---- */

static struct remote_framing *start(struct loop *loop, struct stream *transport, bool server,
                                    const struct remote_setup *setup,
                                    const struct remote_framing_handler *handler, void *arg)
{
    struct remote_framing *f = mem_zalloc(sizeof(*f));
    f->refs = 1;
    f->loop = loop;
    f->server = server;
    f->handler = handler;
    f->arg = arg;
    f->base64 = setup->protocol->base64;
    f->half_close = setup->protocol->half_close;
    f->n_ports = setup->n_ports;
    f->decoder = f->base64 ? EVP_ENCODE_CTX_new() : NULL;
    if (f->base64 && !f->decoder)
        abort();
    loop_deferred_init(&f->turn, loop, on_turn, f);
    f->ws = websocket_new(loop, transport, server, &websocket_handler, f);
    if (server && f->n_ports > 0) {
        f->ports = mem_dup(setup->ports, f->n_ports * sizeof(*f->ports));
        add_port_channels(f);
    } else if (server) {
        add_command_channels(f, &setup->command);
    }
    if (server)
        loop_defer(&f->turn);
    return f;
}

static struct stream *open_stream(struct remote_framing *f, const struct http_headers *headers,
                                  void (*on_reply)(struct stream *stream, int result,
                                                   const struct http_headers *headers, void *arg),
                                  void *arg)
{
    const char *type = http_headers_get(headers, "streamType");
    for (unsigned i = 0; !f->over && type && i < ARRAY_SIZE(command_channels); i++) {
        if (strcmp(command_channels[i].type, type) != 0 || f->channels[i])
            continue;
        struct channel *c =
            channel_new(f, i, command_channels[i].server_reads, command_channels[i].server_writes);
        c->on_reply = on_reply;
        c->reply_arg = arg;
        loop_defer(&f->turn);
        return &c->base;
    }
    return NULL;
}

static void accept_stream(_unused_ struct stream *stream)
{
}

static void refuse_stream(struct stream *stream)
{
    (void)stream_free(stream);
}

static uint32_t id_of(const struct stream *stream)
{
    return of(stream)->number;
}

/* Channels that their owners still hold are dead. */
static void let_go(struct remote_framing *f)
{
    struct error err = ERROR_INIT;
    (void)error_set(&err, -EPIPE, "the connection was closed");
    f->freed = true;
    for (unsigned i = 0; i < CHANNELS_MAX; i++) {
        struct channel *c = TAKE_PTR(f->channels[i]);
        if (!c)
            continue;
        c->f = NULL;
        c->base.handler = NULL;
        stream_closed(&c->base, &err);
    }
    loop_deferred_done(&f->turn);
    unref(f);
}

static void finish(struct remote_framing *f, const struct error *err)
{
    if (f->ws)
        f->ws = websocket_finish(f->ws, err ? WEBSOCKET_INTERNAL : WEBSOCKET_NORMAL);
    let_go(f);
}

static void abort_now(struct remote_framing *f)
{
    f->ws = websocket_free(f->ws);
    let_go(f);
}

const struct remote_framing_ops remote_framing_websocket = {
    .start = start,
    .open = open_stream,
    .accept = accept_stream,
    .refuse = refuse_stream,
    .id = id_of,
    .finish = finish,
    .abort = abort_now,
};
