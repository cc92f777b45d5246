/*
 * Finds duplicate keys in JSON text, which the parser has found valid but for them: jansson says
 * that there is one, not where. A scan without recursion over a stack of open objects and arrays.
 */
#include <string.h>

#include "base/json.h"
#include "base/map.h"
#include "kube/object_internal.h"

#define MAX_DEPTH   2048
#define MAX_REPORTS 100

struct level {
    struct map seen; /* keys of an object */
    bool is_object;
    bool want_key;
    size_t path_length; /* of the path buffer before this level */
    size_t index;
};

struct scan {
    struct level *levels;
    size_t depth;
    struct strbuf path;
    json_t *out;
};

static void push(struct scan *s, bool is_object)
{
    s->levels = mem_grow(s->levels, s->depth + 1, sizeof(*s->levels));
    s->levels[s->depth++] =
        (struct level){.is_object = is_object, .want_key = is_object, .path_length = s->path.len};
    if (!is_object)
        strbuf_adds(&s->path, "[0]");
}

static void pop(struct scan *s)
{
    struct level *l = &s->levels[--s->depth];
    map_clear(&l->seen);
    strbuf_truncate(&s->path, l->path_length);
}

static void key_seen(struct scan *s, const char *start, size_t len)
{
    struct level *l = &s->levels[s->depth - 1];
    l->want_key = false;
    strbuf_truncate(&s->path, l->path_length);
    /* The text is quoted JSON: parsing it undoes the escapes. */
    _cleanup_json_ json_t *key = json_loadb(start, len, JSON_DECODE_ANY, NULL);
    const char *name = key ? json_string_value(key) : "";
    strbuf_addf(&s->path, "%s%s", s->path.len ? "." : "", name);
    if (map_has(&l->seen, name) && json_array_size(s->out) < MAX_REPORTS) {
        _cleanup_free_ char *text = str_printf("duplicate field \"%s\"", strbuf_text(&s->path));
        (void)json_array_append_new(s->out, json_text(text));
    }
    map_set(&l->seen, name, l);
}

static void comma(struct scan *s)
{
    struct level *l = &s->levels[s->depth - 1];
    l->want_key = l->is_object;
    strbuf_truncate(&s->path, l->path_length);
    if (!l->is_object)
        strbuf_addf(&s->path, "[%zu]", ++l->index);
}

void object_find_duplicates(const char *data, size_t len, json_t *out)
{
    struct scan s = {.out = out};
    const char *end = data + len;
    for (const char *c = data; c < end && s.depth < MAX_DEPTH; c++) {
        if (*c == '{' || *c == '[') {
            push(&s, *c == '{');
        } else if ((*c == '}' || *c == ']') && s.depth) {
            pop(&s);
        } else if (*c == ',' && s.depth) {
            comma(&s);
        } else if (*c == '"') {
            const char *start = c++;
            while (c < end && *c != '"')
                c += *c == '\\' ? 2 : 1;
            if (c >= end)
                break;
            if (s.depth && s.levels[s.depth - 1].want_key)
                key_seen(&s, start, (size_t)(c - start) + 1);
        }
    }
    while (s.depth)
        pop(&s);
    free(s.levels);
    strbuf_done(&s.path);
}
