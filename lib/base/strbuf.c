/* A growing byte buffer and allocation helpers; see strbuf.h. */
#include "base/strbuf.h"

#include <string.h>

static void die_of_memory(void)
{
    static const char text[] = "out of memory\n";
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    abort();
}

char *strbuf_reserve(struct strbuf *b, size_t len)
{
    if (len >= SIZE_MAX / 2 - b->len)
        die_of_memory();
    size_t need = b->len + len + 1;
    if (need > b->size) {
        size_t size = b->size ? b->size : 64;
        while (size < need)
            size *= 2;
        char *data = realloc(b->data, size);
        if (!data)
            die_of_memory();
        b->data = data;
        b->size = size;
    }
    return b->data + b->len;
}

void strbuf_terminate(struct strbuf *b)
{
    b->data[b->len] = '\0';
}

void strbuf_add(struct strbuf *b, const void *data, size_t len)
{
    char *to = strbuf_reserve(b, len);
    if (len)
        memcpy(to, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void strbuf_adds(struct strbuf *b, const char *text)
{
    strbuf_add(b, text, strlen(text));
}

void strbuf_addc(struct strbuf *b, char c)
{
    strbuf_add(b, &c, 1);
}

void strbuf_addv(struct strbuf *b, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (len < 0)
        return;
    char *to = strbuf_reserve(b, (size_t)len);
    (void)vsnprintf(to, (size_t)len + 1, fmt, args);
    b->len += (size_t)len;
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    strbuf_addv(b, fmt, args);
    va_end(args);
}

void strbuf_truncate(struct strbuf *b, size_t len)
{
    if (len < b->len) {
        b->len = len;
        b->data[len] = '\0';
    }
}

void strbuf_consume(struct strbuf *b, size_t len)
{
    if (len >= b->len) {
        strbuf_truncate(b, 0);
        return;
    }
    memmove(b->data, b->data + len, b->len - len + 1);
    b->len -= len;
}

const char *strbuf_text(const struct strbuf *b)
{
    return b->data ? b->data : "";
}

char *strbuf_take(struct strbuf *b)
{
    (void)strbuf_reserve(b, 0);
    strbuf_terminate(b);
    char *data = b->data;
    *b = (struct strbuf)STRBUF_INIT;
    return data;
}

void strbuf_done(struct strbuf *b)
{
    free(b->data);
    *b = (struct strbuf)STRBUF_INIT;
}

char *str_printf(const char *fmt, ...)
{
    struct strbuf b = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&b, fmt, args);
    va_end(args);
    return strbuf_take(&b);
}

char *str_dup(const char *s)
{
    return s ? str_ndup(s, strlen(s)) : NULL;
}

char *str_ndup(const char *s, size_t len)
{
    char *copy = strndup(s, len);
    if (!copy)
        die_of_memory();
    return copy;
}

void *mem_zalloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        die_of_memory();
    return p;
}

void *mem_dup(const void *p, size_t len)
{
    void *copy = mem_zalloc(len);
    if (len)
        memcpy(copy, p, len);
    return copy;
}

void *mem_grow(void *p, size_t count, size_t size)
{
    void *grown = reallocarray(p, count ? count : 1, size);
    if (!grown)
        die_of_memory();
    return grown;
}

bool str_eq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool str_starts(const char *s, const char *prefix)
{
    return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = s ? strlen(s) : 0;
    size_t m = strlen(suffix);
    return s && n >= m && memcmp(s + n - m, suffix, m) == 0;
}
