/*
 * A cluster's range of pod addresses, cut into equal pieces, one for a node. A piece that several
 * nodes claim is counted, so that it is free only when the last of them is gone.
 */
#pragma once

#include "nl/address.h"

#define CIDR_SET_BITS_MAX 20 /* a million pieces */
#define CIDR_SETS_MAX     2  /* one for each family */

struct cidr_set {
    struct ip_prefix cluster; /* host bits cleared */
    unsigned node_len;        /* prefix length of a piece */
    uint16_t *users;          /* of each piece */
    uint32_t n_pieces, n_free;
    uint32_t next; /* the search begins behind what was given last */
};

/* -EINVAL when a piece is larger than the range, has no room for pods, or there are too many. */
int cidr_set_init(struct cidr_set *s, const struct ip_prefix *cluster, unsigned node_len,
                  struct error *err);
void cidr_set_done(struct cidr_set *s); /* harmless on a zeroed set */
/* The next free piece, now in use; false when none is left. */
bool cidr_set_allocate(struct cidr_set *s, struct ip_prefix *ret);
/* Counts a user of every piece that @p overlaps. -ERANGE: it lies outside. */
int cidr_set_occupy(struct cidr_set *s, const struct ip_prefix *p);
/* Takes back one allocate() or occupy() of the same prefix. */
void cidr_set_release(struct cidr_set *s, const struct ip_prefix *p);

/* What the flags of the node IPAM say. */
struct cidr_flags {
    bool allocate;                 /* --allocate-node-cidrs */
    const char *cluster, *service; /* --cluster-cidr, --service-cluster-ip-range; may be NULL */
    int mask_size, mask_size_v4, mask_size_v6; /* --node-cidr-mask-size…; 0: not given */
};
/* Makes the sets, in the order of the flag, with the services' addresses taken out. Returns how
 * many, 0 when nothing is to be allocated; -EINVAL naming the flag. */
int cidr_sets_make(const struct cidr_flags *flags, struct cidr_set sets[CIDR_SETS_MAX],
                   struct error *err);
