/* A growing byte buffer that is always NUL-terminated, for text and for encoded bytes. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

#include "base/macros.h"

struct strbuf {
    char *data;  /* NULL while nothing was added, else NUL-terminated */
    size_t len;  /* bytes without the NUL */
    size_t size; /* bytes allocated */
};

#define STRBUF_INIT  \
    {                \
        .data = NULL \
    }
#define _cleanup_strbuf_ _cleanup_(strbuf_done)

/* Additions abort the process when memory is exhausted: bound what a peer chooses before. */
void strbuf_add(struct strbuf *b, const void *data, size_t len);
void strbuf_adds(struct strbuf *b, const char *text);
void strbuf_addc(struct strbuf *b, char c);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) _printf_(2, 3);
void strbuf_addv(struct strbuf *b, const char *fmt, va_list args);

/* Makes room for @len more bytes and returns where they go; the caller adds to b->len what it
 * wrote and then calls strbuf_terminate(). */
char *strbuf_reserve(struct strbuf *b, size_t len);
void strbuf_terminate(struct strbuf *b);

/* Cuts to the first @len bytes. */
void strbuf_truncate(struct strbuf *b, size_t len);
/* Drops the first @len bytes. */
void strbuf_consume(struct strbuf *b, size_t len);
/* The text; "" when empty. Owned by the buffer. */
const char *strbuf_text(const struct strbuf *b);
/* Hands the memory to the caller (never NULL); the buffer is empty after. */
char *strbuf_take(struct strbuf *b);
void strbuf_done(struct strbuf *b);

/* printf into new memory; aborts on exhaustion. The caller frees. */
char *str_printf(const char *fmt, ...) _printf_(1, 2);
/* strdup and friends that abort on exhaustion; NULL gives NULL. */
char *str_dup(const char *s);
char *str_ndup(const char *s, size_t len);
void *mem_zalloc(size_t size);
void *mem_dup(const void *p, size_t len);
/* realloc for @count elements of @size bytes; aborts on exhaustion or overflow. */
void *mem_grow(void *p, size_t count, size_t size);

bool str_eq(const char *a, const char *b); /* NULL equals NULL only */
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
