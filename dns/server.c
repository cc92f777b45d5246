/* The sockets of a name server: addresses, requests, datagrams; see server.h. */
#include "dns/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "dns/server_internal.h"

#define DATAGRAM_MAX 4096 /* a query is far shorter */
#define BATCH        64   /* datagrams read before others of the loop get their turn */

/* ---- requests ---- */

static void read_client(const struct sockaddr_storage *from, struct ip_addr *ret)
{
    *ret = (struct ip_addr){.family = from->ss_family};
    if (from->ss_family == AF_INET6)
        memcpy(ret->bytes, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
    else
        memcpy(ret->bytes, &((const struct sockaddr_in *)from)->sin_addr, 4);
}

bool server_take(struct dns_server *s, struct listening *socket, struct connection *c,
                 const struct sockaddr_storage *from, const void *data, size_t len)
{
    if (s->n_requests >= SERVER_REQUESTS_MAX)
        return false;
    struct dns_request *rq = mem_zalloc(sizeof(*rq) + len);
    rq->server = s;
    rq->socket = socket;
    rq->connection = c;
    rq->tcp = c != NULL;
    rq->from = *from;
    rq->len = len;
    read_client(from, &rq->client);
    memcpy(rq->data, data, len);
    list_append(&s->requests, &rq->entry);
    s->n_requests++;
    s->handler(rq, s->arg);
    return true;
}

const uint8_t *request_data(const struct dns_request *rq, size_t *ret_len)
{
    *ret_len = rq->len;
    return rq->data;
}

bool request_is_tcp(const struct dns_request *rq)
{
    return rq->tcp;
}

const struct ip_addr *request_client(const struct dns_request *rq)
{
    return &rq->client;
}

void request_reply(struct dns_request *rq, const void *data, size_t len)
{
    struct connection *c = rq->connection;
    socklen_t size =
        rq->from.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    /* A datagram that cannot be sent is lost, as others are on the way: the client asks again. */
    if (len && rq->server && rq->socket &&
        sendto(rq->socket->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL,
               (const struct sockaddr *)&rq->from, size) < 0)
        log_debug("answer not sent", "error", strerror(errno), NULL);
    list_remove(&rq->entry);
    if (rq->server)
        rq->server->n_requests--;
    free(rq);
    if (c)
        connection_reply(c, data, len);
}

/* ---- datagrams ---- */

static void on_datagrams(int fd, _unused_ short events, void *arg)
{
    struct listening *l = arg;
    uint8_t data[DATAGRAM_MAX];
    for (int i = 0; i < BATCH; i++) {
        struct sockaddr_storage from;
        socklen_t size = sizeof(from);
        ssize_t n = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT | MSG_TRUNC,
                             (struct sockaddr *)&from, &size);
        if (n < 0)
            return;
        if ((size_t)n <= sizeof(data))
            (void)server_take(l->server, l, NULL, &from, data, (size_t)n);
    }
}

static int listen_udp(struct listening *l, const struct sockaddr_storage *sa, socklen_t len,
                      struct error *err)
{
    const int on = 1;
    l->fd = socket(sa->ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return error_errno(err, -errno, "socket");
    if (sa->ss_family == AF_INET6)
        (void)setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    /* Answers are short enough for every path: what strangers say of its MTU is not believed. */
    if (sa->ss_family == AF_INET) {
        const int omit = IP_PMTUDISC_OMIT;
        (void)setsockopt(l->fd, IPPROTO_IP, IP_MTU_DISCOVER, &omit, sizeof(omit));
    }
    if (bind(l->fd, (const struct sockaddr *)sa, len) < 0)
        return error_errno(err, -errno, "binding");
    return loop_io_init(&l->io, l->server->loop, "DNS over UDP", l->fd, EV_READ, on_datagrams, l);
}

/* ---- life ---- */

struct dns_server *dns_server_new(struct loop *loop, dns_handler_fn handler, void *arg)
{
    struct dns_server *s = mem_zalloc(sizeof(*s));
    *s = (struct dns_server){.loop = loop, .handler = handler, .arg = arg};
    list_init(&s->listening);
    list_init(&s->requests);
    list_init(&s->connections);
    return s;
}

static void listening_free(struct listening *l)
{
    loop_io_done(&l->io);
    loop_timer_done(&l->retry);
    if (l->tcp)
        evconnlistener_free(l->tcp);
    if (l->fd >= 0)
        (void)close(l->fd);
    list_remove(&l->entry);
    free(l);
}

int dns_server_listen(struct dns_server *s, const struct ip_addr *address, uint16_t port,
                      struct error *err)
{
    char text[IP_TEXT_MAX];
    struct sockaddr_storage sa;
    socklen_t len;
    (void)ip_addr_format(address, text);
    if (ip_addr_is_any(address))
        return error_set(err, -EINVAL, "%s: name the addresses to listen on", text);
    int r = socket_address(text, port, &sa, &len, err);
    if (r < 0)
        return r;
    struct listening *l = mem_zalloc(sizeof(*l));
    *l = (struct listening){.server = s, .fd = -1};
    list_append(&s->listening, &l->entry);
    r = listen_udp(l, &sa, len, err);
    if (r == 0)
        r = server_listen_tcp(l, &sa, len, err);
    if (r < 0) {
        listening_free(l);
        return error_prefix(err, r, "%s port %u", text, port);
    }
    return 0;
}

struct dns_server *dns_server_free(struct dns_server *s)
{
    if (s) {
        server_close_connections(s);
        LIST_FOR_EACH(e, &s->requests) {
            struct dns_request *rq = LIST_ENTRY(e, struct dns_request, entry);
            rq->server = NULL;
            rq->connection = NULL;
            rq->socket = NULL;
            list_remove(e);
        }
        LIST_FOR_EACH(e, &s->listening)
            listening_free(LIST_ENTRY(e, struct listening, entry));
        free(s);
    }
    return NULL;
}
