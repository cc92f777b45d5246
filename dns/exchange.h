/*
 * One question to one server: over UDP from a port of its own, and over TCP when the answer is cut.
 * An answer counts only when it comes from the server, has the id and repeats the question;
 * whatever else arrives is passed over.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "nl/address.h"

struct exchange;

/* Called once, never from within exchange_new(). @result: 0 with the answer (borrowed), -ETIMEDOUT,
 * -ECONNREFUSED, … The exchange is to be freed in it or later. */
typedef void (*exchange_fn)(void *arg, int result, const uint8_t *data, size_t len);

/* @query is a whole message with one question; its id is replaced by a random one. */
struct exchange *exchange_new(struct loop *loop, const struct ip_addr *server, const uint8_t *query,
                              size_t len, uint64_t timeout_ms, exchange_fn done, void *arg);
struct exchange *exchange_free(struct exchange *x); /* NULL is harmless; returns NULL */
/* Whether this message is the query that was sent. */
bool exchange_is_query(const struct exchange *x, const uint8_t *data, size_t len);
