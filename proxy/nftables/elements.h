/*
 * From the plan to elements of the maps and sets of one table, and to the chains they lead to; see
 * ruleset.h for the rules in those. Pure: tested without a kernel.
 *
 * Endpoints are numbered, in order of address; the number, the slot, is what a rule draws. They are
 * in the maps once for every address and node port that leads to them, so that a packet's own
 * fields and a number are the whole key. (A key made of what another map said would be shorter, but
 * nft up to 1.0.6 aborts when it lists such a rule.)
 */
#pragma once

#include "proxy/backend.h"

enum nft_table_set {
    SET_SERVICES,                  /* address . protocol . port : verdict */
    SET_NODE_PORTS,                /* protocol . port : verdict */
    SET_ENDPOINTS,                 /* address . protocol . port . slot : address . port */
    SET_LOCAL_ENDPOINTS,           /* the same; policy Local */
    SET_NODE_PORT_ENDPOINTS,       /* protocol . port . slot : address . port */
    SET_NODE_PORT_LOCAL_ENDPOINTS, /* the same; policy Local */
    SET_UNSERVED,                  /* address . protocol . port : verdict; no endpoints */
    SET_UNSERVED_NODE_PORTS,       /* protocol . port : verdict */
    SET_FIREWALL,                  /* address . protocol . port : verdict; source ranges */
    SET_HAIRPIN,                   /* address . address, the same twice: endpoints on this node */
    SET_NODE_PORT_ADDRESSES,       /* address */
    SET_LOCAL_ADDRESSES,           /* address */
    SETS,
    SET_AFFINITY = SETS, /* client . service . endpoint; filled by rules */
    SETS_AND_AFFINITY
};

#define ELEMENT_KEY_MAX  32 /* address . address in IPv6 */
#define ELEMENT_DATA_MAX 20
#define CHAIN_NAME_MAX   48

struct element {
    uint8_t set, key_len, data_len;
    bool verdict; /* to @chain; "": drop */
    uint8_t key[ELEMENT_KEY_MAX], data[ELEMENT_DATA_MAX];
    char chain[CHAIN_NAME_MAX];
    const char *comment; /* borrowed from the plan */
};
struct elements {
    struct element *items;
    size_t n, room;
};
void elements_done(struct elements *e);
struct element *elements_add(struct elements *e, enum nft_table_set set, const char *comment);
void element_key(struct element *e, const void *data, size_t len);

/* A chain that elements lead to. Services that are alike share chains; one with session affinity,
 * or with source ranges, has chains of its own. */
enum chain_kind {
    CHAIN_CLUSTER_IP,
    CHAIN_EXTERNAL,
    CHAIN_NODE_PORT,
    CHAIN_FIREWALL, /* lets source ranges in */
};
struct chain {
    char name[CHAIN_NAME_MAX];
    enum chain_kind kind;
    bool local;                  /* policy Local */
    bool bare;                   /* the choice among endpoints, and nothing before it */
    unsigned cluster, n_local;   /* how many endpoints by each policy */
    const struct plan_port *own; /* whose it is, borrowed; NULL: everybody's */
};
/* The name follows from the rest. */
void chain_set_name(struct chain *c);
/* The chain that makes the choice by the policy Cluster (@local: Local) for one like @c. */
struct chain chain_choice(const struct chain *c, bool local);

struct contribution {
    struct elements elements;
    struct map chains; /* name → struct chain; those that others go to come first */
};
#define CONTRIBUTION_INIT        \
    {                            \
        .chains = MAP_INIT(free) \
    }
void contribution_done(struct contribution *c);

/* Adds what @s needs in @c's family; NULL adds nothing. The elements are in no order. */
void contribution_of(const struct backend_config *c, const struct plan_service *s,
                     struct contribution *out);
/* The addresses of the node. */
void contribution_of_node(const struct backend_config *c, struct elements *out);

/* Orders by set and key; of elements with the same ones, one stays. */
void elements_sort(struct elements *e);
/* Both sorted: calls @removed for what only @old has or has otherwise, @added for what only @now
 * has or has otherwise. */
void elements_compare(const struct elements *old, const struct elements *now,
                      void (*removed)(const struct element *e, void *arg),
                      void (*added)(const struct element *e, void *arg), void *arg);
