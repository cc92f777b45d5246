/* Memory that is freed together: messages and specifications that are built, encoded and dropped.
 */
#pragma once

#include "base/macros.h"

struct arena_chunk;
struct arena {
    struct arena_chunk *chunks;
};
#define ARENA_INIT     \
    {                  \
        .chunks = NULL \
    }
#define _cleanup_arena_ _cleanup_(arena_done)

/* Zeroed memory, aligned for anything; aborts on exhaustion. */
void *arena_zalloc(struct arena *a, size_t size);
/* Room for @count elements. */
void *arena_array(struct arena *a, size_t count, size_t size);
char *arena_printf(struct arena *a, const char *fmt, ...) _printf_(2, 3);
char *arena_dup(struct arena *a, const char *s); /* NULL gives NULL */
/* A copy of a NULL-terminated list. */
const char *const *arena_strings(struct arena *a, char *const *list);
void arena_done(struct arena *a);

/* A message of a protobuf-c type in the arena: ARENA_MESSAGE(a, runtime__v1__pod_sandbox). */
#define ARENA_MESSAGE(a, type, lower)                     \
    __extension__({                                       \
        type *arena_m_ = arena_zalloc((a), sizeof(type)); \
        lower##__init(arena_m_);                          \
        arena_m_;                                         \
    })
