/*
 * The sockets of a name server: datagrams and, over TCP, messages with their length in front,
 * several under way at once on a connection (RFC 7766). Hands on each message as a request and
 * sends what it is answered with; what the bytes mean is not its business.
 *
 * Limits: SERVER_REQUESTS_MAX requests under way (what comes then is dropped, a connection closed);
 * SERVER_CONNECTIONS_MAX connections (the one that was idle longest makes room); 10 s without a
 * message or without a byte taken end a connection.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "nl/address.h"

#define SERVER_REQUESTS_MAX    4096
#define SERVER_CONNECTIONS_MAX 256
#define SERVER_PIPELINE_MAX    32 /* requests under way on one connection; more are read later */

struct dns_server;
struct dns_request;

/* Called for each message. The handler ends the request with request_reply(), now or later. */
typedef void (*dns_handler_fn)(struct dns_request *rq, void *arg);

struct dns_server *dns_server_new(struct loop *loop, dns_handler_fn handler, void *arg);
/* Closes the sockets. Requests that are still held must still be ended. Returns NULL. */
struct dns_server *dns_server_free(struct dns_server *s);
DEFINE_CLEANUP(struct dns_server *, dns_server_free);
/* Listens on this address, UDP and TCP. -EINVAL for 0.0.0.0 and ::, of which nobody would know
 * where an answer comes from; -EADDRINUSE, … */
int dns_server_listen(struct dns_server *s, const struct ip_addr *address, uint16_t port,
                      struct error *err);

/* The message; valid until the request is ended. */
const uint8_t *request_data(const struct dns_request *rq, size_t *ret_len);
bool request_is_tcp(const struct dns_request *rq);
/* The client's address. */
const struct ip_addr *request_client(const struct dns_request *rq);
/* Ends the request: sends these @len bytes, or nothing when @len is 0. */
void request_reply(struct dns_request *rq, const void *data, size_t len);
