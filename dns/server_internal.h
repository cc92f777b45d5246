/* Inside of server.h: what its datagrams (server.c) and its connections (server_tcp.c) share. */
#pragma once

#include <event2/listener.h>

#include "base/list.h"
#include "dns/server.h"
#include "net/socket.h"

struct connection;

struct dns_request {
    struct list entry; /* of its server's, or alone after that is gone */
    struct dns_server *server;
    struct connection *connection; /* NULL: a datagram, or gone */
    struct listening *socket;      /* of a datagram */
    bool tcp;
    struct sockaddr_storage from;
    struct ip_addr client;
    size_t len;
    uint8_t data[];
};
/* One address. */
struct listening {
    struct list entry;
    struct dns_server *server;
    int fd; /* UDP */
    struct loop_io io;
    struct evconnlistener *tcp;
    struct loop_timer retry; /* of accepting, after descriptors ran out */
};
struct dns_server {
    struct loop *loop;
    dns_handler_fn handler;
    void *arg;
    struct list listening, requests, connections; /* connections: the longest idle first */
    size_t n_requests, n_connections;
};

/* Makes a request and gives it to the handler. False when there are too many. */
bool server_take(struct dns_server *s, struct listening *socket, struct connection *c,
                 const struct sockaddr_storage *from, const void *data, size_t len);

int server_listen_tcp(struct listening *l, const struct sockaddr_storage *sa, socklen_t len,
                      struct error *err);
void server_close_connections(struct dns_server *s);
/* Sends the reply to a request of this connection; it may be freed by that. */
void connection_reply(struct connection *c, const void *data, size_t len);
