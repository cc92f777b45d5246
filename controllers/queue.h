/*
 * A work queue: keys of objects that need a look, each at most once, one look at a time per key.
 * A look is asynchronous: the worker calls queue_done() when it is over. A key that is added
 * meanwhile is looked at again; a look that failed is repeated after a back-off.
 */
#pragma once

#include <stdbool.h>

#include "base/loop.h"
#include "base/map.h"

struct queue;

/* @work is called from the loop; it must lead to exactly one queue_done(). */
struct queue *queue_new(struct loop *loop, const char *name,
                        void (*work)(void *arg, const char *key), void *arg);
struct queue *queue_free(struct queue *q); /* NULL is harmless; returns NULL */
void queue_add(struct queue *q, const char *key);
/* After @ms milliseconds; an earlier time for the same key wins. */
void queue_add_after(struct queue *q, const char *key, uint64_t ms);
/* The look at @key is over. @error NULL: it went well; else it is logged and repeated, first after
 * 20 ms, then doubling up to a minute. A conflict is repeated without being logged. */
void queue_done(struct queue *q, const char *key, const char *error, bool conflict);
/* Holds everything until resumed: before the caches are filled. A new queue is paused. */
void queue_resume(struct queue *q);
