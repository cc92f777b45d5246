/* The client's side of port forward: see remote.h. */
#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "net/remote_framing.h"

struct portforward_client {
    struct loop *loop;
    const struct remote_protocol *protocol;
    const struct remote_framing_ops *ops;
    char key[WEBSOCKET_KEY_LEN + 1];
    struct upgrade *upgrade;
    struct remote_framing *framing;
    const struct portforward_client_handler *handler;
    void *arg;
    struct list connections;
    unsigned next_id;
    bool told;
};

/* One forwarded connection. */
struct connection {
    struct portforward_client *client;
    struct list entry;
    unsigned id;
    struct stream *error;
    struct splice *splice;
    struct strbuf message;
};

static void tell_closed(struct portforward_client *p, const struct error *err)
{
    if (!p->told) {
        p->told = true;
        p->handler->on_close(p, err, p->arg);
    }
}

static void connection_free(struct connection *c)
{
    list_remove(&c->entry);
    (void)splice_free(c->splice);
    (void)stream_free(c->error);
    strbuf_done(&c->message);
    free(c);
}

static void free_if_over(struct connection *c)
{
    if (!c->splice && !c->error)
        connection_free(c);
}

static size_t on_error_data(_unused_ struct stream *s, const void *data, size_t len, void *arg)
{
    struct connection *c = arg;
    size_t room = REMOTE_MESSAGE_MAX - c->message.len;
    strbuf_add(&c->message, data, len < room ? len : room);
    return len;
}

static void on_error_eof(_unused_ struct stream *s, void *arg)
{
    struct connection *c = arg;
    struct portforward_client *p = c->client;
    unsigned id = c->id;
    char *message = c->message.len > 0 ? strbuf_take(&c->message) : NULL;
    stream_finish(TAKE_PTR(c->error));
    free_if_over(c);
    if (!p->told)
        p->handler->on_end(p, id, message, p->arg);
    free(message);
}

static void on_error_close(struct stream *s, _unused_ const struct error *err, void *arg)
{
    on_error_eof(s, arg);
}

static const struct stream_handler error_handler = {
    .on_data = on_error_data, .on_eof = on_error_eof, .on_close = on_error_close};

static void on_spliced(_unused_ const struct error *err, void *arg)
{
    struct connection *c = arg;
    c->splice = NULL;
    free_if_over(c);
}

int portforward_client_open(struct portforward_client *p, uint16_t port, struct stream *local,
                            unsigned *ret_id)
{
    _cleanup_http_headers_ struct http_headers h = HTTP_HEADERS_INIT;
    unsigned id = p->next_id++;
    struct stream *error = NULL, *data = NULL;
    http_headers_add(&h, "streamType", "error");
    http_headers_addf(&h, "port", "%u", port);
    http_headers_addf(&h, "requestID", "%u", id);
    if (p->framing)
        error = p->ops->open(p->framing, &h, NULL, NULL);
    http_headers_set(&h, "streamType", "data");
    if (error)
        data = p->ops->open(p->framing, &h, NULL, NULL);
    if (!data) {
        (void)stream_free(error);
        (void)stream_free(local);
        return -EPIPE;
    }
    struct connection *c = mem_zalloc(sizeof(*c));
    c->client = p;
    c->id = id;
    c->error = error;
    list_append(&p->connections, &c->entry);
    stream_set_handler(error, &error_handler, c);
    stream_end(error); /* we never say anything there */
    c->splice = stream_splice(p->loop, data, local, on_spliced, c);
    if (ret_id)
        *ret_id = id;
    return 0;
}

static void on_stream(struct stream *stream, _unused_ const struct http_headers *headers, void *arg)
{
    const struct portforward_client *p = arg;
    p->ops->refuse(stream); /* servers open none */
}

static void on_close(const struct error *err, void *arg)
{
    tell_closed(arg, err);
}

static const struct remote_framing_handler framing_handler = {.on_stream = on_stream,
                                                              .on_close = on_close};

static void on_upgraded(struct stream *stream, const struct upgrade_response *response,
                        const struct error *failure, void *arg)
{
    struct portforward_client *p = arg;
    struct error err = ERROR_INIT;
    p->upgrade = NULL;
    stream = remote_upgraded(p->loop, stream, response, failure, p->protocol, p->key, &err);
    if (!stream) {
        tell_closed(p, &err);
        return;
    }
    const struct remote_setup setup = {.protocol = p->protocol};
    p->framing = p->ops->start(p->loop, stream, false, &setup, &framing_handler, p);
    p->handler->on_ready(p, p->arg);
}

int portforward_client_start(struct loop *loop, const struct upgrade_request *request,
                             bool websocket, const struct portforward_client_handler *handler,
                             void *arg, struct portforward_client **ret, struct error *err)
{
    struct portforward_client *p = mem_zalloc(sizeof(*p));
    p->loop = loop;
    p->protocol = remote_portforward_client(websocket);
    p->ops = p->protocol->framing;
    p->handler = handler;
    p->arg = arg;
    list_init(&p->connections);
    int r = remote_request(loop, request, p->protocol, p->key, on_upgraded, p, &p->upgrade, err);
    if (r < 0) {
        free(p);
        return r;
    }
    *ret = p;
    return 0;
}

struct portforward_client *portforward_client_free(struct portforward_client *p)
{
    if (!p)
        return NULL;
    (void)upgrade_cancel(p->upgrade);
    LIST_FOR_EACH(e, &p->connections)
        connection_free(LIST_ENTRY(e, struct connection, entry));
    if (p->framing)
        p->ops->abort(p->framing);
    free(p);
    return NULL;
}
