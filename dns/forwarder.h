/*
 * Names that are not the cluster's: asked of other servers, once for all who want to know the same
 * at the same time, and remembered.
 *
 * Of an answer only that is believed which the question was about (forward_read()). Signatures are
 * not asked for and not passed on: who wants to check them asks a server that has them.
 */
#pragma once

#include "dns/forward_read.h"
#include "dns/upstream.h"

#define FORWARDER_PENDING_MAX 1000 /* different questions under way; more fail at once */
#define FORWARDER_CACHE_BYTES ((size_t)2 << 20)

struct forwarder;

struct forwarder *forwarder_new(struct loop *loop);
/* Who still waits gets a failure. NULL is harmless; returns NULL. */
struct forwarder *forwarder_free(struct forwarder *f);
DEFINE_CLEANUP(struct forwarder *, forwarder_free);
/* The servers to ask. What is remembered of others is forgotten. */
void forwarder_set_servers(struct forwarder *f, const struct ip_addr *servers, size_t n);

/* Called once, perhaps before forwarder_ask() returns. The lists in @answer are borrowed; the code
 * is SERVFAIL when nobody answered. */
typedef void (*forward_fn)(void *arg, const struct forward_answer *answer);
/* Asks for records of @type of @name (copied). */
void forwarder_ask(struct forwarder *f, const ldns_rdf *name, ldns_rr_type type, forward_fn done,
                   void *arg);
struct forwarder_stats {
    size_t entries;        /* answers remembered now */
    uint64_t hits, misses; /* questions that were answered from them, and that were not */
};
void forwarder_stats(const struct forwarder *f, struct forwarder_stats *ret);
/* Whether this message from a client is one of our own questions: a server asks us what we ask it.
 */
bool forwarder_is_loop(const struct forwarder *f, const uint8_t *data, size_t len);
