/*
 * Keeping iptables rules of one address family: rules from a source (rules.h), compared with what
 * is in the kernel, and changed by their differences. Used by the modes iptables and ipvs.
 */
#pragma once

#include "proxy/iptables/rules.h"

struct iptables;

/* As in struct backend_config. */
struct iptables_handler {
    void (*done)(void *arg, const char *error);
    void (*disturbed)(void *arg, const char *what);
    void *arg;
};

/* Whether the programs and the kernel's tables are there. */
int iptables_probe(const struct backend_config *c, struct error *err);
/* -ENOENT names a program that is missing; -EINVAL for an unknown variant. @c must stay valid. */
int iptables_new(struct iptables **ret, struct loop *loop, const struct backend_config *c,
                 const struct rules_source *source, const struct iptables_handler *handler,
                 struct error *err);
struct iptables *iptables_free(struct iptables *b); /* rules stay. NULL is harmless; returns NULL */

/* As the functions of struct backend_ops. @services stay valid until done. */
void iptables_reconcile(struct iptables *b, const struct map *services);
void iptables_apply(struct iptables *b, const struct backend_change *changes, size_t n, bool node);
bool iptables_check(struct iptables *b);
void iptables_stats(const struct iptables *b, struct backend_stats *ret);
