/*
 * The overlay of this node: brings together what it is told (its own pod CIDRs, the leases of all
 * nodes), what the kernel says (links, addresses, routes that change), and makes the kernel's part
 * as it should be, soon after anything changed. Never fails: what goes wrong is logged once
 * and tried again.
 */
#pragma once

#include "base/loop.h"
#include "flannel/plan.h"
#include "flannel/rules.h"
#include "flannel/uplink.h"

struct overlay;

struct overlay_ops {
    /* This is what the others should know of us; called whenever it is something else. @lease is
     * valid for the call. */
    void (*publish)(void *arg, const struct lease *lease);
    /* Everything is in place for the first time. */
    void (*ready)(void *arg);
};
struct overlay_options {
    const char *node; /* our name */
    const struct flannel_config *config;
    const struct uplink_choice *uplink;
    const char *subnet_file; /* subnet.env */
    const char *record;      /* where it is noted that the file is ours */
    bool ip_masq, forward;   /* the rules that are wanted */
    struct rules *rules;     /* told of our subnets */
    const struct overlay_ops *ops;
    void *arg;
};

/* Strings and structs of @options are borrowed. 0 or -errno. */
int overlay_new(struct overlay **ret, struct loop *loop, const struct overlay_options *options,
                struct error *err);
struct overlay *overlay_free(struct overlay *o); /* NULL is harmless; returns NULL */

/* What our Node says; @why NULL, or why that cannot be used. */
void overlay_own(struct overlay *o, const struct own_node *own, const char *why);
/* A node's lease is new or has changed (taken), or is gone (NULL). */
void overlay_lease(struct overlay *o, const char *node, struct lease *lease);
/* All leases are known: from now on what nobody claims is removed. */
void overlay_synced(struct overlay *o);
