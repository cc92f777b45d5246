/*
 * A lease: what a node publishes so that others reach its pods. With the Kubernetes subnet manager
 * it is the Node's pod CIDRs and annotations below flannel.alpha.coreos.com/, byte for byte
 * as flanneld writes them.
 */
#pragma once

#include "base/json.h"
#include "flannel/config.h"

#define LEASE_PREFIX "flannel.alpha.coreos.com/"

struct lease_family {
    bool set;
    struct ip_prefix subnet;  /* its pods */
    struct ip_addr public_ip; /* where it is reached */
    uint8_t mac[6];           /* of its link, where the back end has one */
    int64_t vni;              /* its last 16 bits; -1: not told, as by old versions */
};

struct lease {
    char *node;
    int64_t created; /* of the Node, nanoseconds: the older of two that claim the same is right */
    char *backend;
    struct lease_family family[N_FAMILIES];
};

void lease_done(struct lease *l);
struct lease *lease_free(struct lease *l); /* NULL is harmless; returns NULL */

bool lease_family_equal(const struct lease_family *a, const struct lease_family *b);

/* What our own Node says of us before we publish anything. */
struct own_node {
    struct lease_family family[N_FAMILIES]; /* set: a pod CIDR is there; MAC and public IP as
                                               published before (zero: none) */
    struct ip_addr overwrite[N_FAMILIES];   /* public-ip-overwrite; family 0: none */
};

/* The annotations' prefix from --kube-annotation-prefix, with its slash or hyphen. The caller
 * frees; NULL for what flanneld refuses. */
char *lease_prefix(const char *flag, struct error *err);

/* 1: *ret is what the Node publishes in the families that @c has. 0: it is not flannel's (yet).
 * -EINVAL: something is wrong with it, which is named. Whether it fits here, the plan says. */
int lease_from_node(const json_t *node, const char *prefix, const struct flannel_config *c,
                    struct lease *ret, struct error *err);
/* Bad annotations of an earlier life are passed over, bad pod CIDRs and overwrites are -EINVAL. */
int lease_own_node(const json_t *node, const char *prefix, const struct flannel_config *c,
                   struct own_node *ret, struct error *err);
/* The annotations that publish @l: a JSON object of strings. New reference. */
json_t *lease_annotations(const struct lease *l, const char *prefix,
                          const struct flannel_config *c);

/* A MAC as text ("aa:bb:cc:dd:ee:ff", @buf of 18 bytes) and back; false for anything else. */
char *mac_format(const uint8_t mac[6], char *buf);
bool mac_parse(const char *text, uint8_t ret[6]);
bool mac_is_zero(const uint8_t mac[6]);
