/*
 * Keeps the kernel's iptables rules equal to firewall_rules.h: one run of iptables-restore a family
 * for all the changes that came while the last was under way. The first run after a start looks at
 * what is there; until then nothing is known of it.
 */
#pragma once

#include "base/loop.h"
#include "cri/firewall_rules.h"
#include "cri/waiters.h"

struct firewall;

/* @journal: directory of the journal of host changes (base/journal.h). @ports is read at each run
 * and outlives the firewall. */
struct firewall *firewall_new(struct loop *loop, const char *journal,
                              const struct hostports *ports);
struct firewall *firewall_free(struct firewall *f); /* the rules stay; NULL is harmless */

/* What the rules are made of from the next run on. */
void firewall_configure(struct firewall *f, const struct firewall_config *config);
/* Brings the rules in line. @done is called later, once a run that began after this call is over.
 * With host ports it also lets the bridge route 127.0.0.1 (route_localnet). */
void firewall_apply(struct firewall *f, done_fn done, void *arg);
/* The last run failed: the kernel may hold what was taken back meanwhile. */
bool firewall_is_behind(const struct firewall *f);
