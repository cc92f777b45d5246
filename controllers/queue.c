/* Keys of objects that need a look; see queue.h. */
#include "controllers/queue.h"

#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"

#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 60000
#define PARALLEL_MAX   32

struct item {
    struct queue *queue;
    struct loop_timer timer;
    uint64_t due, backoff_ms;
    bool waiting; /* in the queue, to be looked at in its turn */
    bool working, again;
    char key[];
};

struct queue {
    struct loop *loop;
    const char *name;
    struct map items; /* key → struct item */
    size_t working;
    bool paused;
    struct loop_deferred turn;
    void (*work)(void *arg, const char *key);
    void *arg;
};

static void item_free(void *p)
{
    struct item *i = p;
    loop_timer_done(&i->timer);
    free(i);
}

static void on_turn(void *arg)
{
    struct queue *q = arg;
    if (q->paused)
        return;
    /* Work may add items, never remove the one it is at. */
    MAP_FOR_EACH(e, &q->items) {
        struct item *i = map_value(e);
        if (q->working >= PARALLEL_MAX)
            return;
        if (!i->waiting || i->working)
            continue;
        i->waiting = false;
        i->working = true;
        q->working++;
        q->work(q->arg, i->key);
        loop_defer(&q->turn); /* the map may have changed: go on in another turn */
        return;
    }
}

static void on_due(void *arg)
{
    struct item *i = arg;
    i->due = 0;
    queue_add(i->queue, i->key);
}

struct queue *queue_new(struct loop *loop, const char *name,
                        void (*work)(void *arg, const char *key), void *arg)
{
    struct queue *q = mem_zalloc(sizeof(*q));
    *q = (struct queue){.loop = loop,
                        .name = name,
                        .items = MAP_INIT(item_free),
                        .paused = true,
                        .work = work,
                        .arg = arg};
    loop_deferred_init(&q->turn, loop, on_turn, q);
    return q;
}

struct queue *queue_free(struct queue *q)
{
    if (q) {
        map_clear(&q->items);
        loop_deferred_done(&q->turn);
        free(q);
    }
    return NULL;
}

static struct item *item_of(struct queue *q, const char *key)
{
    struct item *i = map_get(&q->items, key);
    if (i)
        return i;
    size_t len = strlen(key);
    i = mem_zalloc(sizeof(*i) + len + 1);
    i->queue = q;
    memcpy(i->key, key, len + 1);
    loop_timer_init(&i->timer, q->loop, q->name, on_due, i);
    map_set(&q->items, key, i);
    return i;
}

void queue_add(struct queue *q, const char *key)
{
    struct item *i = item_of(q, key);
    if (i->working)
        i->again = true;
    else
        i->waiting = true;
    loop_defer(&q->turn);
}

void queue_add_after(struct queue *q, const char *key, uint64_t ms)
{
    struct item *i = item_of(q, key);
    uint64_t due = now_ms() + ms;
    if (i->waiting || i->again || (i->due && i->due <= due))
        return;
    i->due = due;
    loop_timer_set(&i->timer, ms);
}

void queue_done(struct queue *q, const char *key, const char *error, bool conflict)
{
    struct item *i = map_get(&q->items, key);
    if (!i || !i->working)
        return;
    i->working = false;
    q->working--;
    loop_defer(&q->turn);
    if (error) {
        if (!conflict)
            log_warn("cannot bring about what is wanted, trying again", "controller", q->name,
                     "object", key, "error", error, NULL);
        i->backoff_ms = i->backoff_ms ? i->backoff_ms * 2 : BACKOFF_MIN_MS;
        if (i->backoff_ms > BACKOFF_MAX_MS)
            i->backoff_ms = BACKOFF_MAX_MS;
        i->again = false;
        queue_add_after(q, i->key, i->backoff_ms);
        return;
    }
    i->backoff_ms = 0;
    if (i->again) {
        i->again = false;
        i->waiting = true;
    } else if (!i->due) {
        map_remove(&q->items, i->key);
    }
}

void queue_resume(struct queue *q)
{
    q->paused = false;
    loop_defer(&q->turn);
}
