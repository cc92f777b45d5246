/*
 * Addresses of the pods of this node: a prefix of each family that pods have, one lease an address.
 * A lease is a file named by the address, with the owner's id in it, in a directory on tmpfs: it is
 * there before the address is used and gone after, so that no crash and no damaged record of a pod
 * leads to an address given twice. Addresses are given out in turn, so that a freed one rests.
 */
#pragma once

#include "nl/address.h"

#define IPAM_PREFIXES_MAX 2 /* IPv4 and IPv6 */

struct ipam;

/* @dir is made when missing; leases found there are kept. NULL with @err when that fails. */
struct ipam *ipam_new(const char *dir, struct error *err);
struct ipam *ipam_free(struct ipam *ipam); /* returns NULL; leases stay */
DEFINE_CLEANUP(struct ipam *, ipam_free);

/* Whether these can be pod CIDRs: one or two, of different families, IPv4 /8 to /30, IPv6 /16 to
 * /126. -EINVAL. */
int ipam_check(const struct ip_prefix *prefixes, size_t n, struct error *err);
/* Sets the prefixes, which ipam_check() accepts, that leases are taken from from now on. Leases
 * outside stay. Of each the first 65,536 addresses are used. */
void ipam_set_prefixes(struct ipam *ipam, const struct ip_prefix *prefixes, size_t n);
/* The first address of a prefix with its length: the bridge's, never leased. */
struct ip_prefix ipam_gateway(const struct ip_prefix *prefix);

/* Leases an address to @owner (an id). -ENOSPC when none is free, -ENXIO without a prefix. */
int ipam_lease(struct ipam *ipam, int family, const char *owner, struct ip_addr *ret,
               struct error *err);
/* Frees every address that is leased to @owner. */
void ipam_release(struct ipam *ipam, const char *owner);
/* Frees every lease whose owner @keep rejects. Returns how many. */
size_t ipam_sweep(struct ipam *ipam, bool (*keep)(const char *owner, void *arg), void *arg);
size_t ipam_count(const struct ipam *ipam);
/* The leased addresses, in *ret (the caller frees). Returns how many. */
size_t ipam_addresses(const struct ipam *ipam, struct ip_addr **ret);
