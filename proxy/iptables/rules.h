/*
 * From the plan to iptables: chains by name, each with the text of its rules, in kube-proxy's names
 * and semantics. Lines are as iptables-save prints them, so that what is there can be compared.
 * Pure: tested without a kernel.
 */
#pragma once

#include "base/map.h"
#include "base/strbuf.h"
#include "proxy/backend.h"

enum rules_table { RULES_NAT, RULES_FILTER, RULES_TABLES };
extern const char *const rules_table_names[RULES_TABLES];

/* Chains to which every service adds lines of its own. */
enum rules_list {
    LIST_SERVICES,        /* nat KUBE-SERVICES: addresses */
    LIST_NODE_PORTS,      /* nat KUBE-NODEPORTS */
    LIST_REJECT,          /* filter KUBE-SERVICES: cluster IPs without endpoints */
    LIST_REJECT_EXTERNAL, /* filter KUBE-EXTERNAL-SERVICES */
    LIST_FIREWALL,        /* filter KUBE-PROXY-FIREWALL: what a source range did not let in */
    LIST_HEALTH_PORTS,    /* filter KUBE-NODEPORTS */
    RULES_LISTS
};
struct rules_list_def {
    enum rules_table table;
    const char *chain;
};
extern const struct rules_list_def rules_lists[RULES_LISTS];

/* What one service (or everything that is there whatever the services) contributes. */
struct rules {
    struct map chains[RULES_TABLES];  /* chains of its own: name → lines */
    struct strbuf lists[RULES_LISTS]; /* lines "-A CHAIN …\n" */
};
#define RULES_INIT                                   \
    {                                                \
        .chains = { MAP_INIT(free), MAP_INIT(free) } \
    }
void rules_done(struct rules *r);

/* Adds what @s needs in @c's family. NULL adds nothing. */
void rules_of_service(const struct backend_config *c, const struct plan_service *s,
                      struct rules *out);
/* The chains that are there whatever the services; of lists[] only LIST_SERVICES is used: the lines
 * that must be its last. */
void rules_static(const struct backend_config *c, struct rules *out);

/* Whether a chain of this name is made by this proxy. */
bool rules_is_ours(const char *chain);

/* A jump that must stand in a built-in chain, as iptables-save prints it after "-A CHAIN ". */
struct rules_jump {
    enum rules_table table;
    const char *chain, *rule;
};
extern const struct rules_jump rules_jumps[];
extern const size_t rules_n_jumps;
