/*
 * Chains that have to be there, made in the background by iptables-save and iptables-restore: for
 * daemons that need a few fixed rules. Removing them again is iptables_remove_chains()
 * (nl/iptables.h).
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

struct iptables_chain {
    const char *table, *name;
    const char *const *jumps; /* chains that jump to it before all else, NULL-terminated; or NULL */
    const char *rules;        /* lines of "-A NAME …", which replace what is in it; or NULL */
};

struct iptables_ensure_options {
    int family;          /* AF_INET, AF_INET6 */
    const char *variant; /* "nft", "legacy"; "auto", NULL: the host's default */
    const char *journal; /* of tables that were not there before; NULL: none */
    const struct iptables_chain *chains;
    size_t n_chains;
};

struct iptables_ensure;

/* Reads what is there and writes what is missing; @done is called once, later than this call, with
 * 0 or -ENOENT (no such program), -ETIMEDOUT, -EIO and its text. @options is copied, what it points
 * to belongs to the caller for as long. *ret is valid until @done is called. */
int iptables_ensure_start(struct iptables_ensure **ret, struct loop *loop,
                          const struct iptables_ensure_options *options,
                          void (*done)(void *arg, int code, const struct error *err), void *arg,
                          struct error *err);
/* Ends it; @done is not called. NULL is harmless; returns NULL. */
struct iptables_ensure *iptables_ensure_cancel(struct iptables_ensure *e);
