/* Those who wait for one outcome: several calls may ask to stop the same container. */
#pragma once

#include "base/error.h"
#include "base/list.h"
#include "base/strbuf.h"

/* @code is 0 or -errno; @err belongs to the caller. */
typedef void (*done_fn)(int code, const struct error *err, void *arg);

struct waiter {
    struct list entry;
    done_fn cb;
    void *arg;
};

static inline void waiters_add(struct list *waiters, done_fn cb, void *arg)
{
    struct waiter *w = mem_zalloc(sizeof(*w));
    w->cb = cb;
    w->arg = arg;
    list_append(waiters, &w->entry);
}

/* Calls and forgets each. The list may be freed by a callback: it is emptied first. */
static inline void waiters_finish(struct list *waiters, int code, const struct error *err)
{
    struct list taken;
    list_init(&taken);
    while (!list_empty(waiters)) {
        struct list *e = waiters->next;
        list_remove(e);
        list_append(&taken, e);
    }
    while (!list_empty(&taken)) {
        struct waiter *w = LIST_ENTRY(taken.next, struct waiter, entry);
        list_remove(&w->entry);
        w->cb(code, err, w->arg);
        free(w);
    }
}
