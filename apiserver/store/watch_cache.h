/*
 * The watch cache: the newest state of every object under /registry/, each kept once as encoded
 * bytes, and behind it for each resource a ring of the latest changes. It follows the store through
 * one watch, so that the revision it has reached is one number for all resources.
 *
 * A watcher is a cursor into the ring of its resource: it costs no queue of its own, however slow
 * its client is, and one that falls off the end of the ring is told that it has lost the thread.
 */
#pragma once

#include <stdbool.h>

#include "apiserver/store/encoded.h"
#include "apiserver/routes.h"
#include "apiserver/store/store.h"
#include "base/list.h"
#include "base/loop.h"

/* The ring of a resource holds at most so many changes and about so many bytes. */
#define CACHE_RING_EVENTS 8192
#define CACHE_RING_BYTES  (24u << 20)

struct watch_cache;

enum event_type { EVENT_ADDED, EVENT_MODIFIED, EVENT_DELETED, EVENT_BOOKMARK };
/* "ADDED", … */
const char *event_type_name(enum event_type type);

/* The line of a watch stream for one change, shared by all watchers that get it. */
struct frame {
    unsigned refs;
    size_t len;
    char data[];
};
struct frame *frame_new(enum event_type type, const char *object, size_t len);
struct frame *frame_ref(struct frame *f);
struct frame *frame_unref(struct frame *f); /* NULL is harmless; returns NULL */

struct cache_event {
    enum event_type type; /* never a bookmark */
    int64_t revision;
    struct encoded *object;  /* deleted: the last state, at the revision of the deletion */
    struct encoded *before;  /* NULL when added (or not known) */
    struct frame *frames[3]; /* by enum event_type; made when first asked for */
};
/* The line that tells of @event as @change (a selector can turn a modification into an addition or
 * a deletion). Borrowed. */
struct frame *cache_event_frame(struct cache_event *event, enum event_type type);

struct cache_watcher {
    struct list entry;
    struct cached_resource *of; /* NULL when not subscribed */
    uint64_t cursor;
    int64_t after; /* changes up to this revision are known already */
    /* There is something for cache_watcher_next(). */
    void (*on_events)(struct cache_watcher *w);
    /* Over: the cache starts anew. The watcher is unsubscribed. */
    void (*on_lost)(struct cache_watcher *w);
};

/* Starts loading and following at once. @store and @routes are borrowed. @on_loaded is called each
 * time the state is complete. */
struct watch_cache *watch_cache_new(struct loop *loop, struct store *store,
                                    const struct routes *routes, void (*on_loaded)(void *arg),
                                    void *arg);
struct watch_cache *watch_cache_free(struct watch_cache *cache); /* returns NULL */

/* Whether there is a state to read. */
bool watch_cache_loaded(const struct watch_cache *cache);
/* Every change up to this revision is in. */
int64_t watch_cache_revision(const struct watch_cache *cache);

/* 0, or -EBADMSG with the reason when a value of this resource cannot be read, or -EAGAIN when
 * nothing was loaded yet. */
int watch_cache_check(const struct watch_cache *cache, const struct route *route,
                      struct error *err);
/* The newest known state, NULL when there is none. Borrowed. */
struct encoded *watch_cache_get(const struct watch_cache *cache, const char *key);

/* Every object whose key starts with @prefix. */
void watch_cache_snapshot(const struct watch_cache *cache, const struct route *route,
                          const char *prefix, struct encoded_list *out);

/* Subscribes @w to the changes after @revision. 0, or STORE_E_COMPACTED when the ring does not
 * reach back so far. */
int watch_cache_subscribe(struct watch_cache *cache, const struct route *route, int64_t revision,
                          struct cache_watcher *w);
void watch_cache_unsubscribe(struct cache_watcher *w); /* harmless when not subscribed */
/* The next change, NULL when there is none now; *lost is set when the watcher has fallen behind
 * the ring. Valid until the loop turns. */
struct cache_event *cache_watcher_next(struct cache_watcher *w, bool *lost);
/* The oldest revision that a watch of @route can start from. */
int64_t watch_cache_oldest(const struct watch_cache *cache, const struct route *route);
