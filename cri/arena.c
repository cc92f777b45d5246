/* Memory that is freed together; see arena.h. */
#include "cri/arena.h"

#include <stdarg.h>
#include <stdalign.h>
#include <string.h>

#include "base/strbuf.h"

#define CHUNK_SIZE 4000

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    alignas(max_align_t) char data[];
};

void *arena_zalloc(struct arena *a, size_t size)
{
    if (size > SIZE_MAX / 2)
        abort();
    size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct arena_chunk *c = a->chunks;
    if (!c || c->size - c->used < size) {
        size_t room = size > CHUNK_SIZE ? size : CHUNK_SIZE;
        c = mem_zalloc(sizeof(*c) + room);
        c->size = room;
        c->next = a->chunks;
        a->chunks = c;
    }
    void *p = c->data + c->used;
    c->used += size;
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / 2 / size)
        abort();
    return arena_zalloc(a, count ? count * size : 1);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        abort();
    char *s = arena_zalloc(a, (size_t)n + 1);
    va_start(args, fmt);
    (void)vsnprintf(s, (size_t)n + 1, fmt, args);
    va_end(args);
    return s;
}

char *arena_dup(struct arena *a, const char *s)
{
    return s ? arena_printf(a, "%s", s) : NULL;
}

const char *const *arena_strings(struct arena *a, char *const *list)
{
    size_t n = 0;
    while (list[n])
        n++;
    const char **copy = arena_array(a, n + 1, sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = arena_dup(a, list[i]);
    return copy;
}

void arena_done(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *c = a->chunks;
        a->chunks = c->next;
        free(c);
    }
}
