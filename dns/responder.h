/*
 * From a request to its reply: names of the cluster from the zone, all others from elsewhere, or
 * refused where nobody is asked. Aliases (ExternalName) are followed, RESPONDER_ALIASES_MAX of them
 * in the zone and the rest by who is asked for the last.
 */
#pragma once

#include "dns/elsewhere.h"
#include "dns/metrics.h"
#include "dns/server.h"
#include "dns/zone.h"

#define RESPONDER_ALIASES_MAX 8

struct responder;

/* All are borrowed; @elsewhere and @metrics may be NULL. Requests that wait for it are ended
 * by elsewhere_free(), which therefore comes before responder_free(). */
struct responder *responder_new(struct zone *zone, struct elsewhere *elsewhere,
                                struct dns_metrics *metrics);
struct responder *responder_free(struct responder *r); /* NULL is harmless; returns NULL */
DEFINE_CLEANUP(struct responder *, responder_free);

/* Answers one request; a dns_handler_fn with a struct responder as @arg. */
void responder_handle(struct dns_request *rq, void *arg);
/* What responder_handle() does without others, from bytes to bytes: *ret is freed by the
 * caller and NULL when there is to be no answer. */
void responder_answer(struct responder *r, const uint8_t *data, size_t len, bool tcp, uint8_t **ret,
                      size_t *ret_len);
