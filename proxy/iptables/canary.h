/*
 * Hearing that somebody else has flushed or deleted rules of ours. The nft flavour tells by
 * netlink; the legacy one tells nothing, so there the number of rules in a table is asked for now
 * and then.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/loop.h"

struct canary;

/* @disturbed may be called at any time later. 0 or -errno. */
int canary_new(struct canary **ret, struct loop *loop, int family, bool nft,
               void (*disturbed)(void *arg, const char *what), void *arg, struct error *err);
struct canary *canary_free(struct canary *c); /* NULL is harmless; returns NULL */
/* What this process does is ours. */
void canary_expect(struct canary *c, pid_t pid);
/* What is there now is as it should be. */
void canary_resume(struct canary *c);
/* Looks, where nothing is told. */
void canary_check(struct canary *c);
