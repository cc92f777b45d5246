/* IP sets over nfnetlink, of the kinds that a service proxy needs. */
#pragma once

#include "nl/address.h"

#define IPSET_NAME_MAX 32

enum ipset_type {
    IPSET_HASH_IP,          /* ip */
    IPSET_HASH_IP_PORT,     /* ip, protocol, port */
    IPSET_HASH_IP_PORT_IP,  /* ip, protocol, port, ip2 */
    IPSET_HASH_IP_PORT_NET, /* ip, protocol, port, ip2/prefix */
    IPSET_BITMAP_PORT,      /* port */
};
struct ipset_entry {
    struct ip_addr ip, ip2;
    uint16_t port;
    uint8_t protocol, prefix; /* prefix: of ip2; of a single address its whole length */
};

/* @nl: a NETLINK_NETFILTER socket. -ENOTSUP when the kernel lacks the type, naming it. A set of
 * this name that is there already is success; -EEXIST when it is of another type. */
int ipset_create(struct netlink *nl, const char *name, enum ipset_type type, int family,
                 struct error *err);
/* Deletes it; one that is not there is success. -EBUSY while rules refer to it. */
int ipset_destroy(struct netlink *nl, const char *name, struct error *err);
/* Adds or removes entries; what is there already, or not there, is success. */
int ipset_add(struct netlink *nl, const char *name, enum ipset_type type,
              const struct ipset_entry *entries, size_t n, struct error *err);
int ipset_remove(struct netlink *nl, const char *name, enum ipset_type type,
                 const struct ipset_entry *entries, size_t n, struct error *err);
/* -ENOENT when there is no such set. */
int ipset_list(struct netlink *nl, const char *name, int family,
               int (*cb)(const struct ipset_entry *e, void *arg), void *arg, struct error *err);
