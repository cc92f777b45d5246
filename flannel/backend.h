/*
 * Back ends: how packets get from node to node. Each is a const table; the plan (plan.h) asks it
 * what a peer needs, the kernel side (kernel.h) whether it has a link of its own.
 */
#pragma once

#include "flannel/plan.h"

struct backend_ops {
    const char *name;         /* Backend.Type, and what nodes publish */
    bool link;                /* has a link flannel.<VNI>, whose MAC is published */
    int overhead[N_FAMILIES]; /* bytes that it puts around a packet, by the outer family */
    /* Adds to @plan what @peer needs in family @i. -EINVAL, with the reason, when it cannot be. */
    int (*peer)(const struct plan_self *self, int i, const struct lease_family *peer,
                struct plan *plan, struct error *err);
};

/* 0, -EINVAL for no back end of flannel's, -EPROTONOSUPPORT for one that is not there. */
int backend_find(const char *name, const struct backend_ops **ret, struct error *err);
/* The bytes that packets of pods have less than those of the link below. */
int backend_overhead(const struct flannel_config *c);
