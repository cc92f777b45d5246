/*
 * Addresses of the pods of this node: one IPv4 prefix, one lease an address. A lease is a file
 * named by the address, with the owner's id in it, in a directory on tmpfs: it is there before the
 * address is used and gone after, so that no crash and no damaged record of a pod leads to an
 * address given twice. Addresses are given out in turn, so that a freed one rests.
 */
#pragma once

#include "nl/address.h"

struct ipam;

/* @dir is made when missing; leases found there are kept. NULL with @err when that fails. */
struct ipam *ipam_new(const char *dir, struct error *err);
struct ipam *ipam_free(struct ipam *ipam); /* returns NULL; leases stay */
DEFINE_CLEANUP(struct ipam *, ipam_free);

/* Sets the prefix that leases are taken from from now on. Leases outside stay. -EINVAL: not IPv4,
 * or longer than /30. Of a prefix larger than /16 the first 65,536 addresses are used. */
int ipam_set_prefix(struct ipam *ipam, const struct ip_prefix *prefix, struct error *err);
/* The first address of the prefix with its length: the bridge's. */
struct ip_prefix ipam_gateway(const struct ipam *ipam);

/* Leases an address to @owner (an id). -ENOSPC when none is free, -ENXIO without a prefix. */
int ipam_lease(struct ipam *ipam, const char *owner, struct ip_addr *ret, struct error *err);
/* Frees an address, if it is leased to @owner. */
void ipam_release(struct ipam *ipam, const char *owner, const struct ip_addr *addr);
/* Frees every lease whose owner @keep rejects. Returns how many. */
size_t ipam_sweep(struct ipam *ipam, bool (*keep)(const char *owner, void *arg), void *arg);
size_t ipam_count(const struct ipam *ipam);
