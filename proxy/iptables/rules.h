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

/* A jump that must stand in a built-in chain, as iptables-save prints it after "-A CHAIN ". */
struct rules_jump {
    enum rules_table table;
    const char *chain, *rule;
};
#define RULES_JUMPS_MAX 16

/* Where rules come from: each mode that uses iptables has its own. */
struct rules_source {
    /* The chains that are there whatever the services; of lists[] only LIST_SERVICES is used: the
     * lines that must be its last. */
    void (*fixed)(const struct backend_config *c, struct rules *out);
    /* Adds what @s needs. NULL: services need no rules, and there are no lists. */
    void (*service)(const struct backend_config *c, const struct plan_service *s,
                    struct rules *out);
    const struct rules_jump *jumps;
    size_t n_jumps;
};
/* Of the mode iptables. */
extern const struct rules_source rules_source;

/* Adds what @s needs in @c's family. NULL adds nothing. */
void rules_of_service(const struct backend_config *c, const struct plan_service *s,
                      struct rules *out);
/* Chains of every mode's: masquerading by the mark, and forwarding of what has it. */
void rules_masquerade(const struct backend_config *c, struct rules *out);
void rules_forward(const struct backend_config *c, struct rules *out);
/* " -s 10.0.0.0/8" or " -i br0", with @negate the opposite: whether traffic comes from a pod of
 * ours.
 */
void rules_add_local(const struct backend_config *c, bool negate, struct strbuf *b);

/* Whether a chain of this name is made by this proxy, in any mode. */
bool rules_is_ours(const char *chain);
