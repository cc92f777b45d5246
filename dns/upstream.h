/*
 * Asking a list of servers until one answers: in their order, those that were down a moment ago
 * last. A server that does not answer within UPSTREAM_TRY_MS, or refuses, or has a failure of its
 * own, hands on to the next; UPSTREAM_DEADLINE_MS after the start it is over. Resolvers of clients
 * wait for 5 s.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "nl/address.h"

#define UPSTREAM_SERVERS_MAX 8
#define UPSTREAM_TRY_MS      1400
#define UPSTREAM_DEADLINE_MS 4500
#define UPSTREAM_DOWN_MS     10000 /* how long a server that did not answer is asked last */

struct upstream;
struct upstream_query;

struct upstream *upstream_new(struct loop *loop);
/* Queries must be freed before. NULL is harmless; returns NULL. */
struct upstream *upstream_free(struct upstream *u);
/* From now on these are asked, the first UPSTREAM_SERVERS_MAX of them. */
void upstream_set(struct upstream *u, const struct ip_addr *servers, size_t n);
size_t upstream_count(const struct upstream *u);

/* Called once, never from within upstream_ask(). @result: 0 with the answer (borrowed), or -errno
 * when nobody had any. The query is to be freed in it or later. */
typedef void (*upstream_fn)(void *arg, int result, const uint8_t *data, size_t len);
/* @query: a whole message with one question; copied, its id does not matter. */
struct upstream_query *upstream_ask(struct upstream *u, const uint8_t *query, size_t len,
                                    upstream_fn done, void *arg);
struct upstream_query *upstream_query_free(struct upstream_query *q);
/* Whether this message is what was sent to a server: then that server asks us. */
bool upstream_is_query(const struct upstream_query *q, const uint8_t *data, size_t len);
