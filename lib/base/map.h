/*
 * A map from a string to a pointer, kept in the order of insertion. Keys are copied; values
 * belong to the caller unless the map was given a function that frees them.
 */
#pragma once

#include <stdbool.h>

#include "base/macros.h"

struct map_entry;

struct map {
    struct map_entry *entries;
    void (*free_value)(void *value); /* may be NULL */
};

#define MAP_INIT(free_fn)                        \
    {                                            \
        .entries = NULL, .free_value = (free_fn) \
    }

/* Puts @value under @key; a value that was there is freed with free_value and replaced. */
void map_set(struct map *m, const char *key, void *value);
/* The value, NULL when there is none. */
void *map_get(const struct map *m, const char *key);
bool map_has(const struct map *m, const char *key);
/* Takes the value out without freeing it; NULL when there is none. */
void *map_take(struct map *m, const char *key);
/* Removes and frees; returns whether there was one. */
bool map_remove(struct map *m, const char *key);
size_t map_count(const struct map *m);
/* Empties the map, freeing values. It can be used again. */
void map_clear(struct map *m);

/* Iteration in order of insertion; the current entry may be removed in the loop. */
struct map_entry *map_first(const struct map *m);
struct map_entry *map_next(const struct map_entry *e);
const char *map_key(const struct map_entry *e);
void *map_value(const struct map_entry *e);

#define MAP_FOR_EACH(e, m)                                                          \
    for (struct map_entry *e = map_first(m), *e##_next = e ? map_next(e) : NULL; e; \
         e = e##_next, e##_next = e ? map_next(e) : NULL)
