/*
 * Names that are not the cluster's: those that people added by hand (custom.h), and servers to be
 * asked for the rest, a list of their own for each domain that people named one for.
 */
#pragma once

#include "dns/custom.h"
#include "dns/forwarder.h"

struct elsewhere;

struct elsewhere_config {
    const struct ip_addr *own; /* where this server listens: it does not ask itself */
    size_t n_own;
    uint32_t ttl; /* of names added by hand, seconds */
};

struct elsewhere *elsewhere_new(struct loop *loop, const struct elsewhere_config *config);
/* Who still waits gets a failure. NULL is harmless; returns NULL. */
struct elsewhere *elsewhere_free(struct elsewhere *e);
DEFINE_CLEANUP(struct elsewhere *, elsewhere_free);

/* The host's resolvers. Until it is called once, names that no domain covers are refused. */
void elsewhere_set_servers(struct elsewhere *e, const struct ip_addr *servers, size_t n);
/* The ConfigMap; NULL: there is none (any more). */
void elsewhere_set_config(struct elsewhere *e, const json_t *config_map,
                          custom_complain_fn complain, void *arg);

/* Whether the name was added by hand; then @answer gets its records of the type, if any. */
bool elsewhere_knows(const struct elsewhere *e, const char *name, ldns_rr_type type,
                     ldns_rr_list *answer);
/* Whom to ask for the name; NULL: nobody. Valid until the next call that sets something. */
struct forwarder *elsewhere_forwarder(const struct elsewhere *e, const char *name);
/* The domain that this is because of; NULL: the host's resolvers. */
const char *elsewhere_domain(const struct elsewhere *e, const char *name);
/* Whether this message of a client is one of our own questions. */
bool elsewhere_is_loop(const struct elsewhere *e, const uint8_t *data, size_t len);
/* Whether anybody is asked at all. */
bool elsewhere_forwards(const struct elsewhere *e);
/* Of all of them. */
void elsewhere_stats(const struct elsewhere *e, struct forwarder_stats *ret);
