/* IP addresses and prefixes as values, and addresses on links (RTM_NEWADDR). */
#pragma once

#include <stdbool.h>

#include "nl/netlink.h"

#define IP_TEXT_MAX 50 /* "xxxx:…/128" and a NUL */

struct ip_addr {
    int family;        /* AF_INET or AF_INET6; 0: none */
    uint8_t bytes[16]; /* network order, the first 4 for IPv4 */
};
struct ip_prefix {
    struct ip_addr addr; /* host bits may be set, as in 10.244.0.1/24 */
    unsigned len;
};

/* -EINVAL for anything that is not exactly one numeric address (one prefix). */
int ip_addr_parse(const char *text, struct ip_addr *ret);
int ip_prefix_parse(const char *text, struct ip_prefix *ret);
/* @buf holds IP_TEXT_MAX bytes; returned. */
char *ip_addr_format(const struct ip_addr *a, char *buf);
char *ip_prefix_format(const struct ip_prefix *p, char *buf);
bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b);
size_t ip_addr_size(const struct ip_addr *a); /* 4 or 16 bytes */
/* The prefix with its host bits cleared. */
struct ip_prefix ip_prefix_network(const struct ip_prefix *p);
bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b);
bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a);
bool ip_addr_is_any(const struct ip_addr *a); /* 0.0.0.0 or :: */
/* Prefixes separated by commas, at most @max; blanks around them are ignored. Returns how many, or
 * -EINVAL naming the one that is none. */
int ip_prefixes_parse(const char *text, struct ip_prefix *ret, size_t max, struct error *err);

#define LINK_LOOPBACK 1 /* the index of lo, in every network namespace */

/* Adds an address to a link; one that is there already is success. An IPv6 address can be used at
 * once (no duplicate address detection). 0 or -errno. */
int address_add(struct netlink *nl, int ifindex, const struct ip_prefix *p, struct error *err);
/* Calls @cb for each address of @family on the link; a negative result is returned. */
int address_list(struct netlink *nl, int ifindex, int family,
                 int (*cb)(const struct ip_prefix *p, void *arg), void *arg, struct error *err);
/* The same for every link. */
int address_list_all(struct netlink *nl, int family,
                     int (*cb)(int ifindex, const struct ip_prefix *p, void *arg), void *arg,
                     struct error *err);
int address_delete(struct netlink *nl, int ifindex, const struct ip_prefix *p, struct error *err);
