/*
 * flannel's rules in iptables: FLANNEL-POSTRTG (table nat) masquerades what pods send out of the
 * overlay, FLANNEL-FWD (filter) lets the overlay's packets through. They are word for word a stock
 * flanneld's, so that both on one host mean the same rules. What is there is left alone; what is
 * missing, or was deleted, is put (back).
 */
#pragma once

#include "base/loop.h"
#include "base/strbuf.h"
#include "flannel/config.h"

struct rules_wanted {
    bool masquerade, forward; /* --ip-masq, --iptables-forward-rules */
    bool on[N_FAMILIES];
    struct ip_prefix network[N_FAMILIES]; /* all pods */
    struct ip_prefix subnet[N_FAMILIES];  /* this node's */
};

/* Appends the input of iptables-restore --noflush (or ip6tables') that makes of @saved, the output
 * of iptables-save, what is wanted; nothing when it is. A pure function. */
void flannel_rules_difference(const struct rules_wanted *w, int i, const char *saved,
                              struct strbuf *out);

struct rules;
/* Begins with flannel_rules_want(). @resync_s: how often to look although nothing was heard. 0 or
 * -errno. */
int flannel_rules_new(struct rules **ret, struct loop *loop, const char *journal, int resync_s,
                      struct error *err);
struct rules *flannel_rules_free(struct rules *r); /* NULL is harmless; returns NULL */
/* Brings it about, soon; what fails is logged once and tried again. */
void flannel_rules_want(struct rules *r, const struct rules_wanted *w);
/* Removes the chains and the jumps to them. Waits for the programs. */
int flannel_rules_cleanup(const char *journal, struct error *err);
