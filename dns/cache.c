/* Answers of other servers; see cache.h. */
#include "dns/cache.h"

#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/strbuf.h"

#define OVERHEAD 192 /* of an entry, beside its key (twice) and its message */

struct entry {
    struct list used; /* the one that was not asked for longest is first */
    char *key;
    uint64_t since, until; /* ms */
    size_t len;
    uint8_t message[];
};
struct dns_cache {
    struct map entries;
    struct list used;
    size_t limit, size;
};

static size_t cost(const struct entry *e)
{
    return OVERHEAD + 2 * strlen(e->key) + e->len;
}

static void drop(struct dns_cache *c, struct entry *e)
{
    c->size -= cost(e);
    list_remove(&e->used);
    (void)map_take(&c->entries, e->key);
    free(e->key);
    free(e);
}

void dns_cache_put(struct dns_cache *c, const char *key, const void *message, size_t len,
                   uint32_t ttl, uint64_t now)
{
    struct entry *old = map_get(&c->entries, key);
    if (old)
        drop(c, old);
    if (!ttl)
        return;
    struct entry *e = mem_zalloc(sizeof(*e) + len);
    e->key = str_dup(key);
    e->since = now;
    e->until = now + (uint64_t)ttl * 1000;
    e->len = len;
    memcpy(e->message, message, len);
    map_set(&c->entries, key, e);
    list_append(&c->used, &e->used);
    c->size += cost(e);
    while (c->size > c->limit)
        drop(c, LIST_ENTRY(c->used.next, struct entry, used));
}

const uint8_t *dns_cache_get(struct dns_cache *c, const char *key, uint64_t now, size_t *ret_len,
                             uint32_t *ret_age)
{
    struct entry *e = map_get(&c->entries, key);
    if (!e)
        return NULL;
    if (now >= e->until) {
        drop(c, e);
        return NULL;
    }
    list_remove(&e->used);
    list_append(&c->used, &e->used);
    *ret_len = e->len;
    *ret_age = (uint32_t)((now - e->since) / 1000);
    return e->message;
}

void dns_cache_clear(struct dns_cache *c)
{
    LIST_FOR_EACH(l, &c->used)
        drop(c, LIST_ENTRY(l, struct entry, used));
}

size_t dns_cache_count(const struct dns_cache *c)
{
    return map_count(&c->entries);
}

struct dns_cache *dns_cache_new(size_t limit)
{
    struct dns_cache *c = mem_zalloc(sizeof(*c));
    c->limit = limit;
    list_init(&c->used);
    return c;
}

struct dns_cache *dns_cache_free(struct dns_cache *c)
{
    if (c) {
        dns_cache_clear(c);
        free(c);
    }
    return NULL;
}
