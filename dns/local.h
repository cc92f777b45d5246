/*
 * The service's address on this node. It stands on the loopback link, so that whoever asks it from
 * here is answered here, and its packets go past connection tracking: the race between two
 * questions from one port, by which one of them is lost for five seconds, cannot happen, and no
 * question takes room in the table. Rules (chain CORACLE-DNS in the tables raw and filter) also let
 * questions in where a firewall drops what it does not know.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "nl/address.h"

#define DNS_CHAIN "CORACLE-DNS"

struct dns_local_options {
    const char *state;   /* file that says which addresses were put there: gone after a reboot, as
                            they are */
    const char *journal; /* of iptables' tables */
    const char *variant; /* of iptables: "auto", "nft", "legacy" */
    const struct ip_addr *addresses;
    size_t n_addresses;
    uint16_t port;
};

/* Puts the addresses on the loopback link. One that somebody else put there stays when ours go. 0
 * or -errno. */
int dns_local_add(const struct dns_local_options *o, struct error *err);
/* Takes those away that @state names, and the rules. Waits: for commands. Goes on past errors and
 * returns the first. */
int dns_local_remove(const struct dns_local_options *o, struct error *err);

struct dns_rules;
/* Makes the rules and calls @done, later than this call. Where they cannot be made (a host without
 * iptables), that is logged: questions are answered all the same. @o belongs to the caller for as
 * long. */
struct dns_rules *dns_rules_new(struct loop *loop, const struct dns_local_options *o,
                                void (*done)(void *arg), void *arg);
struct dns_rules *dns_rules_free(struct dns_rules *r); /* NULL is harmless; returns NULL */
