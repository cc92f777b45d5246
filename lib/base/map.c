/* The string map of map.h, over uthash. */
#include "base/map.h"

#include <string.h>
#include <uthash.h>

#include "base/strbuf.h"

struct map_entry {
    UT_hash_handle hh;
    void *value;
    char key[];
};

static struct map_entry *find(const struct map *m, const char *key)
{
    struct map_entry *e = NULL;
    HASH_FIND_STR(m->entries, key, e);
    return e;
}

void map_set(struct map *m, const char *key, void *value)
{
    struct map_entry *e = find(m, key);
    if (e) {
        void *old = e->value;
        e->value = value;
        if (m->free_value && old != value)
            m->free_value(old);
        return;
    }
    size_t len = strlen(key);
    e = mem_zalloc(sizeof(*e) + len + 1);
    memcpy(e->key, key, len + 1);
    e->value = value;
    HASH_ADD_KEYPTR(hh, m->entries, e->key, len, e);
}

void *map_get(const struct map *m, const char *key)
{
    struct map_entry *e = find(m, key);
    return e ? e->value : NULL;
}

bool map_has(const struct map *m, const char *key)
{
    return find(m, key) != NULL;
}

void *map_take(struct map *m, const char *key)
{
    struct map_entry *e = find(m, key);
    if (!e)
        return NULL;
    void *value = e->value;
    HASH_DEL(m->entries, e);
    free(e);
    return value;
}

bool map_remove(struct map *m, const char *key)
{
    if (!find(m, key))
        return false;
    void *value = map_take(m, key);
    if (m->free_value)
        m->free_value(value);
    return true;
}

size_t map_count(const struct map *m)
{
    return HASH_COUNT(m->entries);
}

void map_clear(struct map *m)
{
    while (m->entries)
        map_remove(m, m->entries->key);
}

struct map_entry *map_first(const struct map *m)
{
    return m->entries;
}

struct map_entry *map_next(const struct map_entry *e)
{
    return e->hh.next;
}

const char *map_key(const struct map_entry *e)
{
    return e->key;
}

void *map_value(const struct map_entry *e)
{
    return e->value;
}
