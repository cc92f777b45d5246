/*
 * From the plan to iptables: chains by name, each with the text of its rules, for the tables nat
 * and filter. Names and semantics are kube-proxy's. Pure: tested without a kernel.
 */
#pragma once

#include "base/map.h"
#include "base/strbuf.h"
#include "proxy/plan.h"

struct rules_config {
    const char
        *cluster_cidr; /* addresses of pods: traffic from elsewhere is masqueraded; NULL: none is */
    bool masquerade_all;
};

/* The chains that belong to one service, name → rules (char *); iptables-restore lines. */
void rules_of_service(const struct rules_config *c, const struct plan_service *s, struct map *nat);

/* The chains that are there whatever the services. */
void rules_static(struct map *nat, struct map *filter);
/* The chains that list every service: KUBE-SERVICES and KUBE-NODEPORTS of nat, and of filter
 * KUBE-SERVICES and KUBE-EXTERNAL-SERVICES (rejections of services without endpoints). */
void rules_lists(const struct map *services, struct map *nat, struct map *filter);
/* What one service contributes to those lists; equal texts mean equal lists. */
void rules_list_entry(const struct plan_service *s, struct strbuf *out);

/* Whether a chain of this name is made by this proxy. */
bool rules_is_ours(const char *chain);

/* A jump that must stand in a built-in chain, as iptables-save prints it after "-A ". */
struct rules_jump {
    const char *table, *chain, *rule;
};
extern const struct rules_jump rules_jumps[];
extern const size_t rules_n_jumps;
