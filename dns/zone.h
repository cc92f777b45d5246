/*
 * The cluster's names: a model of Services, EndpointSlices, Namespaces and (where asked for) Pods,
 * and the records that they mean by Kubernetes' DNS specification, schema 1.1. Knows nothing of
 * sockets. Where the specification leaves something open, it is as in CoreDNS's kubernetes plugin:
 *
 *   SERVICE.NAMESPACE.svc.DOMAIN           A, AAAA: cluster IPs; of a headless service those of its
 *                                          ready endpoints; ExternalName: CNAME; SRV of every port
 *   _PORT._PROTOCOL.SERVICE.NAMESPACE.svc.DOMAIN      SRV
 *   HOSTNAME.SERVICE.NAMESPACE.svc.DOMAIN  A, AAAA of endpoints; without a host name the address
 * with dashes stands in for one A-B-C-D.NAMESPACE.pod.DOMAIN           A, AAAA, see enum zone_pods
 *   dns-version.DOMAIN                     TXT
 *   and PTR of cluster IPs and endpoints.
 */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "dns/records.h"

struct zone;

enum zone_pods {
    ZONE_PODS_DISABLED, /* no names of pods */
    ZONE_PODS_INSECURE, /* every address, in a namespace that is there */
    ZONE_PODS_VERIFIED, /* addresses that a pod of the namespace has */
};
/* "disabled", "insecure", "verified". False for anything else. */
bool zone_pods_parse(const char *text, enum zone_pods *ret);

struct zone_config {
    const char *domain; /* "cluster.local" */
    enum zone_pods pods;
    uint32_t ttl;                  /* of every record but dns-version's, seconds */
    const struct ip_addr *servers; /* where this server listens: ns.dns.DOMAIN */
    size_t n_servers;
};

/* Copies @config. -EINVAL for a domain that is no name. */
int zone_new(struct zone **ret, const struct zone_config *config, struct error *err);
struct zone *zone_free(struct zone *z); /* NULL is harmless; returns NULL */
DEFINE_CLEANUP(struct zone *, zone_free);
const char *zone_domain(const struct zone *z);

/* An object is there or has changed; @key is "namespace/name". -EINVAL naming the field when it is
 * malformed: then it is as if it were gone. */
int zone_service_set(struct zone *z, const char *key, const json_t *service, struct error *err);
int zone_slice_set(struct zone *z, const char *key, const json_t *slice, struct error *err);
int zone_pod_set(struct zone *z, const char *key, const json_t *pod, struct error *err);
void zone_namespace_set(struct zone *z, const char *name);
/* It is gone; unknown ones are passed over. */
void zone_service_remove(struct zone *z, const char *key);
void zone_slice_remove(struct zone *z, const char *key);
void zone_pod_remove(struct zone *z, const char *key);
void zone_namespace_remove(struct zone *z, const char *name);
/* From now on the model is complete, and what it lacks does not exist. */
void zone_synced(struct zone *z);
bool zone_is_synced(const struct zone *z);

enum zone_verdict {
    ZONE_OUTSIDE, /* not ours to say */
    ZONE_UNKNOWN, /* ours, but zone_synced() is still to come */
    ZONE_NO_NAME, /* no such name */
    ZONE_NAME,    /* the name is there; it may have no record of the type */
};
struct zone_answer {
    ldns_rr_list *answer, *additional, *authority; /* never NULL after zone_lookup() */
    char *cname; /* where the answer goes on; NULL: it is whole. Lower case, no last dot */
};
/* What is known under @name (as name_text() gives it). At most ZONE_ANSWER_MAX records; authority
 * holds the SOA where there is no answer. Fills @a, which zone_answer_done() frees. Addresses of
 * headless services start with another one each time. */
#define ZONE_ANSWER_MAX 4000
enum zone_verdict zone_lookup(struct zone *z, const char *name, ldns_rr_type type,
                              struct zone_answer *a);
void zone_answer_done(struct zone_answer *a);
#define _cleanup_answer_ _cleanup_(zone_answer_done)

/* For people: appends to @why, an array, sentences that say what @name (as above) is, or what is
 * missing that it would be something. */
void zone_explain(const struct zone *z, const char *name, json_t *why);
