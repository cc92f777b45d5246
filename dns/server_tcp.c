/*
 * Connections of a name server; see server.h. Replies go out as they become ready, in whatever
 * order (RFC 7766, 6.2.1.1). A client that ends its direction still gets what it asked for; one
 * that does not take its answers is not read from meanwhile.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <string.h>

#include "base/strbuf.h"
#include "dns/server_internal.h"

#define IDLE_SECONDS 10
#define BACKLOG      128
#define RETRY_MS     100
#define PREFIX       2            /* bytes of length in front of each message */
#define PENDING_MAX  (256 * 1024) /* bytes of answers that a client has not taken */

struct connection {
    struct list entry;
    struct dns_server *server;
    struct bufferevent *bev;
    struct sockaddr_storage from;
    size_t outstanding; /* requests under way */
    bool ended;         /* the client will ask nothing more */
    bool reading;       /* in read_messages(): not to be freed below it */
    bool dead;          /* to be freed when that is through */
};

/* The requests under way go on; nobody waits for them. */
static void connection_free(struct connection *c)
{
    if (c->reading) {
        c->dead = true;
        return;
    }
    LIST_FOR_EACH(e, &c->server->requests) {
        struct dns_request *rq = LIST_ENTRY(e, struct dns_request, entry);
        if (rq->connection == c)
            rq->connection = NULL;
    }
    list_remove(&c->entry);
    c->server->n_connections--;
    bufferevent_free(c->bev);
    free(c);
}

static size_t pending(const struct connection *c)
{
    return evbuffer_get_length(bufferevent_get_output(c->bev));
}

/* Whether there is nothing left to do for this client. */
static bool is_through(const struct connection *c)
{
    return c->ended && !c->outstanding && !pending(c);
}

/* The length of the next message when it is there whole; 0 when it is not. */
static size_t next_message(struct evbuffer *in)
{
    uint8_t prefix[PREFIX];
    if (evbuffer_copyout(in, prefix, PREFIX) != PREFIX)
        return 0;
    size_t len = (size_t)prefix[0] << 8 | prefix[1];
    return evbuffer_get_length(in) >= PREFIX + len ? PREFIX + len : 0;
}

static void read_messages(struct connection *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    size_t size;
    c->reading = true;
    while (!c->dead && c->outstanding < SERVER_PIPELINE_MAX && pending(c) < PENDING_MAX &&
           (size = next_message(in)) > 0) {
        _cleanup_free_ uint8_t *message = mem_zalloc(size);
        (void)evbuffer_remove(in, message, size);
        /* It is not idle now: others go first. */
        list_remove(&c->entry);
        list_append(&c->server->connections, &c->entry);
        c->outstanding++;
        if (!server_take(c->server, NULL, c, &c->from, message + PREFIX, size - PREFIX))
            c->dead = true;
    }
    c->reading = false;
    if (c->dead || is_through(c))
        connection_free(c);
}

static void on_read(_unused_ struct bufferevent *bev, void *arg)
{
    read_messages(arg);
}

/* Everything was sent: there is room for more. */
static void on_written(_unused_ struct bufferevent *bev, void *arg)
{
    read_messages(arg);
}

static void on_event(_unused_ struct bufferevent *bev, short events, void *arg)
{
    struct connection *c = arg;
    if (events & BEV_EVENT_EOF)
        c->ended = true;
    else if (events & (BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT))
        c->dead = true;
    read_messages(c);
}

void connection_reply(struct connection *c, const void *data, size_t len)
{
    const uint8_t prefix[PREFIX] = {(uint8_t)(len >> 8), (uint8_t)len};
    c->outstanding--;
    if (len) {
        (void)bufferevent_write(c->bev, prefix, PREFIX);
        (void)bufferevent_write(c->bev, data, len);
    } else {
        c->dead = true; /* bytes that deserve no answer: whoever sends them does not speak DNS */
    }
    if (!c->reading)
        read_messages(c);
}

/* ---- accepting ---- */

static void on_accept(_unused_ struct evconnlistener *ev, evutil_socket_t fd, struct sockaddr *peer,
                      int len, void *arg)
{
    struct listening *l = arg;
    struct dns_server *s = l->server;
    const struct timeval idle = {.tv_sec = IDLE_SECONDS};
    if (s->n_connections >= SERVER_CONNECTIONS_MAX)
        connection_free(LIST_ENTRY(s->connections.next, struct connection, entry));
    struct bufferevent *bev = bufferevent_socket_new(loop_base(s->loop), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!bev) {
        (void)close(fd);
        return;
    }
    struct connection *c = mem_zalloc(sizeof(*c));
    *c = (struct connection){.server = s, .bev = bev};
    memcpy(&c->from, peer, (size_t)len < sizeof(c->from) ? (size_t)len : sizeof(c->from));
    socket_tune(fd);
    list_append(&s->connections, &c->entry);
    s->n_connections++;
    bufferevent_setcb(bev, on_read, on_written, on_event, c);
    bufferevent_setwatermark(bev, EV_READ, 0, PREFIX + UINT16_MAX);
    bufferevent_set_timeouts(bev, &idle, &idle);
    (void)bufferevent_enable(bev, EV_READ);
}

static void accept_again(void *arg)
{
    (void)evconnlistener_enable(((struct listening *)arg)->tcp);
}

static void on_accept_error(struct evconnlistener *ev, void *arg)
{
    struct listening *l = arg;
    (void)evconnlistener_disable(ev);
    loop_timer_set(&l->retry, RETRY_MS);
}

int server_listen_tcp(struct listening *l, const struct sockaddr_storage *sa, socklen_t len,
                      struct error *err)
{
    const int on = 1;
    _cleanup_close_ int fd = socket(sa->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(err, -errno, "socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (sa->ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)sa, len) < 0 || listen(fd, BACKLOG) < 0)
        return error_errno(err, -errno, "listening");
    l->tcp = evconnlistener_new(loop_base(l->server->loop), on_accept, l,
                                LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!l->tcp)
        return error_set(err, -ENOMEM, "listening");
    (void)TAKE_FD(fd);
    evconnlistener_set_error_cb(l->tcp, on_accept_error);
    loop_timer_init(&l->retry, l->server->loop, "accepting DNS connections", accept_again, l);
    return 0;
}

void server_close_connections(struct dns_server *s)
{
    LIST_FOR_EACH(e, &s->connections)
        connection_free(LIST_ENTRY(e, struct connection, entry));
}
