/*
 * From the plan to IPVS: virtual servers, addresses on the dummy link, and entries of the IP sets
 * that the rules (rules.c) match. Pure: tested without a kernel.
 */
#pragma once

#include "nl/ipset.h"
#include "nl/ipvs.h"
#include "proxy/iptables/rules.h"

#define IPVS_LINK "kube-ipvs0"

/* kube-proxy's sets, and one of our own: KUBE-NO-LOCAL. */
enum ipvs_set {
    IPVS_SET_CLUSTER_IP,
    IPVS_SET_LOOP_BACK, /* endpoints on this node, to themselves */
    IPVS_SET_EXTERNAL_IP,
    IPVS_SET_EXTERNAL_IP_LOCAL,
    IPVS_SET_LOAD_BALANCER,
    IPVS_SET_LOAD_BALANCER_LOCAL,
    IPVS_SET_FIREWALL,    /* balancers with source ranges */
    IPVS_SET_SOURCE_CIDR, /* who may use them */
    IPVS_SET_SOURCE_IP,
    IPVS_SET_NODE_PORT_TCP,
    IPVS_SET_NODE_PORT_LOCAL_TCP,
    IPVS_SET_NODE_PORT_UDP,
    IPVS_SET_NODE_PORT_LOCAL_UDP,
    IPVS_SET_NODE_PORT_SCTP,
    IPVS_SET_NODE_PORT_LOCAL_SCTP,
    IPVS_SET_HEALTH_PORT,
    IPVS_SET_ADDRESSES, /* those on the link */
    IPVS_SET_NO_LOCAL,  /* policy Local and no endpoint here */
    IPVS_SETS
};
extern const struct ipvs_set_def {
    const char *name; /* after "KUBE-" or "KUBE-6-" */
    enum ipset_type type;
} ipvs_sets[IPVS_SETS];
void ipvs_set_name(enum ipvs_set set, int family, char out[IPSET_NAME_MAX]);

struct ipvs_item {
    enum ipvs_set set;
    struct ipset_entry entry;
};
struct ipvs_server {
    struct ipvs_service service;
    const struct plan_port *port; /* borrowed; NULL: read from the kernel */
    bool local;                   /* real servers by the policy Local */
};
struct ipvs_model {
    struct ipvs_item *items;
    size_t n_items, room_items;
    struct ipvs_server *servers;
    size_t n_servers, room_servers;
    struct ip_addr *addresses; /* on the link */
    size_t n_addresses, room_addresses;
};
void ipvs_model_done(struct ipvs_model *m);
void ipvs_model_add_item(struct ipvs_model *m, enum ipvs_set set, const struct ipset_entry *e);
void ipvs_model_add_server(struct ipvs_model *m, const struct ipvs_server *s);
void ipvs_model_add_address(struct ipvs_model *m, const struct ip_addr *a);

/* Name and flags of a scheduler as the configuration has it: "rr", "sh,sh-port", "mh". 0 or
 * -EINVAL. */
int ipvs_scheduler_parse(const char *text, char name[IPVS_SCHEDULER_MAX], uint32_t *ret_flags,
                         struct error *err);

/* Adds what @s needs in @c's family; NULL adds nothing. */
void ipvs_model_of(const struct backend_config *c, const struct plan_service *s,
                   struct ipvs_model *out);
/* Orders each list and drops what is there twice. */
void ipvs_model_sort(struct ipvs_model *m);
int ipvs_item_compare(const void *a, const void *b);
int ipvs_server_compare(const void *a, const void *b); /* by address, protocol and port */
int ipvs_address_compare(const void *a, const void *b);
bool ipvs_server_takes(const struct ipvs_server *s, const struct plan_endpoint *e);

/* The rules that match the sets. */
extern const struct rules_source ipvs_rules;
