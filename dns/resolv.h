/*
 * The host's resolvers: the nameserver lines of a resolv.conf(5), which is followed: it may be
 * rewritten, replaced, absent for a while, or a link to a file somewhere else.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "nl/address.h"

#define RESOLV_SERVERS_MAX 8

struct resolv;

/* Gives *ret_n servers of @text, RESOLV_SERVERS_MAX at most, in their order. Lines that name no
 * address (a scope, too) are passed over. */
void resolv_parse(const char *text, struct ip_addr ret[RESOLV_SERVERS_MAX], size_t *ret_n);

/* Calls @changed with the servers at once and after every change of the file; none when it cannot
 * be read. -EMFILE, … when inotify is exhausted. */
int resolv_new(struct resolv **ret, struct loop *loop, const char *path,
               void (*changed)(void *arg, const struct ip_addr *servers, size_t n), void *arg,
               struct error *err);
struct resolv *resolv_free(struct resolv *r); /* NULL is harmless; returns NULL */
