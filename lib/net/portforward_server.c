/* The server's side of port forward: see remote.h. */
#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "net/remote_framing.h"

#define REQUEST_ID_MAX 64

struct portforward_server {
    struct loop *loop;
    const struct remote_framing_ops *ops;
    struct remote_framing *framing; /* NULL once freed by its owner */
    const struct portforward_handler *handler;
    void *arg;
    unsigned refs;
    struct list pairs;
};

struct portforward_pair {
    struct portforward_server *server; /* a reference */
    struct list entry;
    char id[REQUEST_ID_MAX];
    uint16_t port;
    struct stream *data, *error;
    bool told; /* the handler has it and will answer */
    struct splice *splice;
    struct loop_timer timer;
};

static void unref(struct portforward_server *p)
{
    if (--p->refs == 0)
        free(p);
}

static void pair_free(struct portforward_pair *pair)
{
    struct portforward_server *p = pair->server;
    list_remove(&pair->entry);
    loop_timer_done(&pair->timer);
    (void)splice_free(pair->splice);
    (void)stream_free(pair->data);
    (void)stream_free(pair->error);
    free(pair);
    unref(p);
}

/* Ends both streams in order. */
static void pair_finish(struct portforward_pair *pair)
{
    if (pair->data)
        stream_finish(TAKE_PTR(pair->data));
    if (pair->error)
        stream_finish(TAKE_PTR(pair->error));
    pair_free(pair);
}

static void on_pair_timer(void *arg)
{
    portforward_fail(arg, "the other stream of the connection was not opened in time");
}

static struct portforward_pair *find_or_make(struct portforward_server *p, const char *id,
                                             uint16_t port)
{
    LIST_FOR_EACH(e, &p->pairs) {
        struct portforward_pair *pair = LIST_ENTRY(e, struct portforward_pair, entry);
        if (strcmp(pair->id, id) == 0)
            return pair;
    }
    struct portforward_pair *pair = mem_zalloc(sizeof(*pair));
    pair->server = p;
    p->refs++;
    (void)snprintf(pair->id, sizeof(pair->id), "%s", id);
    pair->port = port;
    loop_timer_init(&pair->timer, p->loop, "port forward streams", on_pair_timer, pair);
    loop_timer_set(&pair->timer, REMOTE_TIMEOUT_MS);
    list_append(&p->pairs, &pair->entry);
    return pair;
}

static int parse_port(const char *text, uint16_t *ret)
{
    char *end;
    if (!text || *text < '0' || *text > '9')
        return -EINVAL;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || n == 0 || n > UINT16_MAX)
        return -EINVAL;
    *ret = (uint16_t)n;
    return 0;
}

static void on_stream(struct stream *stream, const struct http_headers *headers, void *arg)
{
    struct portforward_server *p = arg;
    const char *type = http_headers_get(headers, "streamType");
    const char *id = http_headers_get(headers, "requestID");
    bool data = type && strcmp(type, "data") == 0, error = type && strcmp(type, "error") == 0;
    char made_up[REQUEST_ID_MAX];
    uint16_t port;
    if (!id) {
        /* Clients before requestID open the error stream, then the data stream right after it. */
        (void)snprintf(made_up, sizeof(made_up), "#%u", p->ops->id(stream) - (data ? 2 : 0));
        id = made_up;
    }
    if ((!data && !error) || strlen(id) >= REQUEST_ID_MAX ||
        parse_port(http_headers_get(headers, "port"), &port) < 0) {
        p->ops->refuse(stream);
        return;
    }
    struct portforward_pair *pair = find_or_make(p, id, port);
    struct stream **slot = data ? &pair->data : &pair->error;
    if (*slot || pair->told || pair->port != port) {
        p->ops->refuse(stream);
        return;
    }
    *slot = stream;
    p->ops->accept(stream);
    if (pair->data && pair->error) {
        pair->told = true;
        loop_timer_stop(&pair->timer);
        p->handler->on_connect(p, pair, port, p->arg);
    }
}

static void on_close(const struct error *err, void *arg)
{
    struct portforward_server *p = arg;
    p->handler->on_close(p, err, p->arg);
}

static const struct remote_framing_handler framing_handler = {.on_stream = on_stream,
                                                              .on_close = on_close};

int remote_ports_from_query(const struct http_query *q, const char *key, struct remote_ports *ret,
                            struct error *err)
{
    const char *value;
    ret->count = 0;
    for (size_t n = 0; (value = http_query_get_nth(q, key, n)); n++) {
        for (const char *p = value, *comma = p; comma; p = comma + 1) {
            comma = strchr(p, ',');
            _cleanup_free_ char *word = comma ? str_ndup(p, (size_t)(comma - p)) : str_dup(p);
            if (ret->count == REMOTE_PORTS_MAX)
                return error_set_field(err, -E2BIG, key, "%s: more than %d ports", key,
                                       REMOTE_PORTS_MAX);
            if (parse_port(word, &ret->ports[ret->count++]) < 0)
                return error_set_field(err, -EINVAL, key, "%s: \"%.32s\" is no port", key, word);
        }
    }
    return 0;
}

int portforward_server_start(struct loop *loop, struct http_exchange *x,
                             const struct remote_ports *ports,
                             const struct portforward_handler *handler, void *arg,
                             struct portforward_server **ret, struct error *err)
{
    struct remote_setup setup = {.protocol = NULL};
    struct stream *transport;
    int r = remote_negotiate(x, remote_portforward_protocols, &setup.protocol, err);
    if (r == 0 && setup.protocol->framing == &remote_framing_websocket) {
        setup.ports = ports ? ports->ports : NULL;
        setup.n_ports = ports ? ports->count : 0;
        if (setup.n_ports == 0) {
            http_exchange_replyf(x, 400, "this protocol needs the ports named in the request\n");
            r = error_set_field(err, -EINVAL, "port", "the request names no ports");
        }
    }
    if (r == 0)
        r = remote_upgrade(loop, x, setup.protocol, &transport, err);
    if (r < 0)
        return r;
    struct portforward_server *p = mem_zalloc(sizeof(*p));
    p->loop = loop;
    p->ops = setup.protocol->framing;
    p->handler = handler;
    p->arg = arg;
    p->refs = 1;
    list_init(&p->pairs);
    p->framing = p->ops->start(loop, transport, true, &setup, &framing_handler, p);
    *ret = p;
    return 0;
}

static void on_spliced(_unused_ const struct error *err, void *arg)
{
    struct portforward_pair *pair = arg;
    pair->splice = NULL;
    pair_finish(pair);
}

void portforward_accept(struct portforward_pair *pair, struct stream *target)
{
    struct stream *data = TAKE_PTR(pair->data);
    if (!data) { /* the client has gone */
        (void)stream_free(target);
        pair_free(pair);
        return;
    }
    pair->splice = stream_splice(pair->server->loop, data, target, on_spliced, pair);
}

void portforward_fail(struct portforward_pair *pair, const char *message)
{
    if (pair->error)
        stream_write(pair->error, message, strlen(message));
    pair_finish(pair);
}

struct portforward_server *portforward_server_free(struct portforward_server *p)
{
    if (!p)
        return NULL;
    LIST_FOR_EACH(e, &p->pairs) {
        struct portforward_pair *pair = LIST_ENTRY(e, struct portforward_pair, entry);
        if (pair->told && !pair->splice) {
            /* The handler still answers this one. */
            list_remove(&pair->entry);
            pair->data = stream_free(pair->data);
            pair->error = stream_free(pair->error);
        } else {
            pair_free(pair);
        }
    }
    p->ops->abort(TAKE_PTR(p->framing));
    unref(p);
    return NULL;
}
