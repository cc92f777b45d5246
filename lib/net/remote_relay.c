/*
 * A relay from WebSocket to SPDY: see remote.h. For every channel of the client's a stream is
 * opened at the server, with the same headers, and the two are spliced; the error stream is copied
 * here, because whether anything came on it tells whether a command's end is known. A tunnel's
 * bytes are SPDY already.
 *
 * It is over when everything that the server sends has ended, or either side has gone. Go's servers
 * end their streams by resetting them, so that is no failure.
 */
#include "net/remote.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "net/remote_framing.h"
#include "net/stream_ops.h"

struct remote_relay {
    struct loop *loop;
    const struct remote_protocol *protocol;
    struct remote_framing *client, *server;
    struct splice *tunnel;
    struct list pairs;
    size_t outputs; /* pairs that the server sends on */
    bool told;      /* the server has said how it went, or has ended the error stream in order */
    bool client_gone, server_gone;
    struct loop_deferred turn;
    void (*cb)(const struct error *err, void *arg);
    void *arg;
};

struct pair {
    struct remote_relay *relay;
    struct list entry;
    bool output;
    struct splice *splice;
    struct stream *from, *to; /* of an error stream: the server's, the client's */
};

static void pair_free(struct pair *p)
{
    list_remove(&p->entry);
    (void)splice_free(p->splice);
    (void)stream_free(p->from);
    (void)stream_free(p->to);
    free(p);
}

static void pair_over(struct pair *p)
{
    struct remote_relay *r = p->relay;
    if (p->output && --r->outputs == 0)
        loop_defer(&r->turn);
    pair_free(p);
}

struct remote_relay *remote_relay_free(struct remote_relay *r)
{
    if (!r)
        return NULL;
    loop_deferred_done(&r->turn);
    (void)splice_free(r->tunnel);
    LIST_FOR_EACH(e, &r->pairs)
        pair_free(LIST_ENTRY(e, struct pair, entry));
    if (r->client)
        r->protocol->framing->abort(r->client);
    if (r->server)
        remote_framing_spdy.abort(r->server);
    free(r);
    return NULL;
}

/* What the client has not been told by now it will not be told. */
static void on_turn(void *arg)
{
    struct remote_relay *r = arg;
    struct error err = ERROR_INIT;
    void (*cb)(const struct error *, void *) = r->cb;
    void *cb_arg = r->arg;
    if (!r->told)
        (void)error_set(&err, -ECONNRESET, "the server closed the connection in between");
    if (!r->client_gone)
        r->protocol->framing->finish(TAKE_PTR(r->client), r->told ? NULL : &err);
    bool failed = !r->told && !r->client_gone;
    (void)remote_relay_free(r);
    if (cb)
        cb(failed ? &err : NULL, cb_arg);
}

/* ---- pairs ---- */

static void on_spliced(_unused_ const struct error *err, void *arg)
{
    struct pair *p = arg;
    p->splice = NULL;
    pair_over(p);
}

static size_t on_error_data(_unused_ struct stream *s, const void *data, size_t len, void *arg)
{
    struct pair *p = arg;
    p->relay->told = true;
    stream_write(p->to, data, len);
    return len;
}

static void on_error_eof(_unused_ struct stream *s, void *arg)
{
    struct pair *p = arg;
    p->relay->told = true;
    stream_finish(TAKE_PTR(p->to));
    stream_finish(TAKE_PTR(p->from));
    pair_over(p);
}

static void on_error_close(_unused_ struct stream *s, _unused_ const struct error *err, void *arg)
{
    struct pair *p = arg;
    stream_finish(TAKE_PTR(p->to));
    pair_over(p);
}

static const struct stream_handler error_handler = {
    .on_data = on_error_data, .on_eof = on_error_eof, .on_close = on_error_close};

static void on_client_stream(struct stream *stream, const struct http_headers *headers, void *arg)
{
    struct remote_relay *r = arg;
    const char *type = http_headers_get(headers, "streamType");
    struct stream *to =
        r->server_gone ? NULL : remote_framing_spdy.open(r->server, headers, NULL, NULL);
    if (!to) {
        r->protocol->framing->refuse(stream);
        return;
    }
    r->protocol->framing->accept(stream);
    struct pair *p = mem_zalloc(sizeof(*p));
    p->relay = r;
    p->output = !stream->ended;
    r->outputs += p->output;
    list_append(&r->pairs, &p->entry);
    if (stream->unreadable)
        stream_end(to);
    if (type && strcmp(type, "error") == 0) {
        p->from = to;
        p->to = stream;
        stream_set_handler(to, &error_handler, p);
    } else {
        p->splice = stream_splice(r->loop, stream, to, on_spliced, p);
    }
}

/* ---- the two sides ---- */

static void on_client_close(_unused_ const struct error *err, void *arg)
{
    struct remote_relay *r = arg;
    r->client_gone = true;
    loop_defer(&r->turn);
}

/* Its streams were told first, so that what it had sent is with the client. */
static void on_server_close(_unused_ const struct error *err, void *arg)
{
    struct remote_relay *r = arg;
    r->server_gone = true;
    loop_defer(&r->turn);
}

static void on_server_stream(struct stream *stream, _unused_ const struct http_headers *headers,
                             _unused_ void *arg)
{
    remote_framing_spdy.refuse(stream); /* servers open none */
}

static const struct remote_framing_handler client_handler = {.on_stream = on_client_stream,
                                                             .on_close = on_client_close};
static const struct remote_framing_handler server_handler = {.on_stream = on_server_stream,
                                                             .on_close = on_server_close};

static void on_tunnel_end(const struct error *err, void *arg)
{
    struct remote_relay *r = arg;
    void (*cb)(const struct error *, void *) = r->cb;
    void *cb_arg = r->arg;
    r->tunnel = NULL;
    (void)remote_relay_free(r);
    if (cb)
        cb(err, cb_arg);
}

/* ---- starting ---- */

int remote_relay_negotiate(struct http_exchange *x, const struct remote_relay_request *q,
                           const struct remote_protocol **ret, struct error *err)
{
    const struct remote_protocol *protocol;
    *ret = NULL;
    if (!http_exchange_wants_upgrade(x, "websocket"))
        return 0;
    int r = remote_negotiate(x, q->ports ? remote_portforward_protocols : remote_command_protocols,
                             &protocol, err);
    if (r < 0)
        return r;
    if (q->ports && q->ports->count == 0 && !protocol->tunnel) {
        http_exchange_replyf(x, 400, "%s needs the ports named in the request\n", protocol->name);
        return error_set_field(err, -EINVAL, "port", "the request names no ports");
    }
    *ret = protocol;
    return 0;
}

void remote_relay_request(const struct remote_protocol *protocol, struct http_headers *h,
                          struct upgrade_request *request)
{
    http_headers_set(h, REMOTE_VERSION, protocol->spdy);
    request->method = "POST";
    request->protocol = "SPDY/3.1";
    request->headers = h;
}

int remote_relay_start(struct loop *loop, struct http_exchange *x,
                       const struct remote_relay_request *q, const struct remote_protocol *protocol,
                       struct stream *server, const struct upgrade_response *response,
                       void (*cb)(const struct error *err, void *arg), void *arg,
                       struct remote_relay **ret, struct error *err)
{
    const char *version = http_headers_get(response->headers, REMOTE_VERSION);
    struct stream *client;
    if (!http_headers_has_token(response->headers, "Upgrade", "SPDY/3.1") || !version ||
        strcmp(version, protocol->spdy) != 0) {
        (void)stream_free(server);
        http_exchange_replyf(x, 502, "the server does not speak %s over SPDY/3.1\n",
                             protocol->spdy);
        return error_set(err, -EPROTO, "the server does not speak %s over SPDY/3.1",
                         protocol->spdy);
    }
    int result = remote_upgrade(loop, x, protocol, &client, err);
    if (result < 0) {
        (void)stream_free(server);
        return result;
    }
    struct remote_relay *r = mem_zalloc(sizeof(*r));
    r->loop = loop;
    r->protocol = protocol;
    r->cb = cb;
    r->arg = arg;
    r->told = q->ports != NULL;
    list_init(&r->pairs);
    loop_deferred_init(&r->turn, loop, on_turn, r);
    if (protocol->tunnel) {
        r->tunnel = stream_splice(loop, client, server, on_tunnel_end, r);
    } else {
        const struct remote_setup setup = {.protocol = protocol,
                                           .command = q->command,
                                           .ports = q->ports ? q->ports->ports : NULL,
                                           .n_ports = q->ports ? q->ports->count : 0};
        r->client = protocol->framing->start(loop, client, true, &setup, &client_handler, r);
        r->server = remote_framing_spdy.start(loop, server, false, &setup, &server_handler, r);
    }
    if (ret)
        *ret = r;
    return 0;
}
