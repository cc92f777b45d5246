/*
 * A few objects read together: from the watch cache where that will do, from the store else. What
 * the cache does not hold (it may be a moment behind) is always asked of the store.
 */
#pragma once

#include "apiserver/store/encoded.h"

#define LOOKUP_MAX 4

struct apiserver;
struct lookup;

/* @found[i] is NULL when there is no object under the i-th key; borrowed. @code: 0, or -errno of
 * the store (or -EBADMSG, a value that cannot be read) with @err; nothing is found then. */
typedef void lookup_fn(void *arg, int code, struct encoded *const *found, const struct error *err);

/* @keys: at most LOOKUP_MAX, copied. @fresh: the store only. @done is called once: before this
 * returns when the cache holds everything (and NULL is returned), else later; the handle is valid
 * until then. */
struct lookup *lookup_start(struct apiserver *srv, const char *const *keys, size_t n, bool fresh,
                            lookup_fn *done, void *arg);
/* No callback. NULL is harmless; returns NULL. */
struct lookup *lookup_cancel(struct lookup *lookup);
