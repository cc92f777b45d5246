/*
 * JSON → C structs by table; see decode.h. Each kind has a row of two functions: one reads a value
 * of its JSON type into the field, one frees what the field holds.
 */
#include "kube/decode.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/times.h"

#define DEPTH_MAX 64

/* The shape shared by every array, list and map field. */
struct any_array {
    void *items;
    size_t count;
};

struct reader {
    struct error *err;
    struct strbuf path;
    int depth;
};

static const char *type_name(const json_t *j)
{
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_NULL:
        return "null";
    case JSON_TRUE:
    case JSON_FALSE:
        break;
    }
    return "a boolean";
}

static int mismatch(struct reader *r, const char *expected, const json_t *j)
{
    return error_set_field(r->err, -EINVAL, strbuf_text(&r->path), "%s: expected %s, got %s",
                           strbuf_text(&r->path), expected, type_name(j));
}

static int malformed(struct reader *r, const char *what)
{
    return error_set_field(r->err, -EINVAL, strbuf_text(&r->path), "%s: not %s",
                           strbuf_text(&r->path), what);
}

static int read_object(struct reader *r, const struct decode_type *type, const json_t *j,
                       void *out);

static int read_string(struct reader *r, const json_t *j, char **out)
{
    if (!json_is_string(j))
        return mismatch(r, "a string", j);
    if (strlen(json_string_value(j)) != json_string_length(j))
        return malformed(r, "text: it holds a NUL character");
    *out = str_dup(json_string_value(j));
    return 0;
}

static int read_int(struct reader *r, const json_t *j, int64_t *out)
{
    if (!json_is_integer(j))
        return mismatch(r, "an integer", j);
    *out = json_integer_value(j);
    return 0;
}

static int read_bytes(struct reader *r, const json_t *j, struct bytes *out)
{
    if (!json_is_string(j))
        return mismatch(r, "a string", j);
    if (base64_decode(json_string_value(j), json_string_length(j), out) < 0)
        return malformed(r, "base64");
    return 0;
}

static int read_time(struct reader *r, const json_t *j, int64_t *out)
{
    if (!json_is_string(j))
        return mismatch(r, "a string", j);
    if (time_parse(json_string_value(j), out) < 0)
        return malformed(r, "a time in RFC 3339");
    return 0;
}

static int read_int_or_string(struct reader *r, const json_t *j, struct int_or_string *out)
{
    out->set = true;
    if (json_is_integer(j))
        return read_int(r, j, &out->value);
    if (json_is_string(j))
        return read_string(r, j, &out->text);
    return mismatch(r, "an integer or a string", j);
}

static int read_strings(struct reader *r, const json_t *j, struct string_list *out)
{
    if (!json_is_array(j))
        return mismatch(r, "an array", j);
    size_t len = r->path.len;
    out->items = mem_zalloc((json_array_size(j) + 1) * sizeof(*out->items));
    for (size_t i = 0; i < json_array_size(j); i++) {
        strbuf_addf(&r->path, "[%zu]", i);
        int err = read_string(r, json_array_get(j, i), &out->items[i]);
        if (err < 0)
            return err;
        out->count++;
        strbuf_truncate(&r->path, len);
    }
    return 0;
}

static int read_map(struct reader *r, const json_t *j, struct string_map *out)
{
    if (!json_is_object(j))
        return mismatch(r, "an object", j);
    size_t len = r->path.len;
    const char *key;
    json_t *value;
    out->items = mem_zalloc((json_object_size(j) + 1) * sizeof(*out->items));
    json_object_foreach((json_t *)(uintptr_t)j, key, value) {
        strbuf_addf(&r->path, "[%s]", key);
        struct string_pair *pair = &out->items[out->count];
        int err = read_string(r, value, &pair->value);
        if (err < 0)
            return err;
        pair->key = str_dup(key);
        out->count++;
        strbuf_truncate(&r->path, len);
    }
    return 0;
}

static int read_bytes_map(struct reader *r, const json_t *j, struct bytes_map *out)
{
    if (!json_is_object(j))
        return mismatch(r, "an object", j);
    size_t len = r->path.len;
    const char *key;
    json_t *value;
    out->items = mem_zalloc((json_object_size(j) + 1) * sizeof(*out->items));
    json_object_foreach((json_t *)(uintptr_t)j, key, value) {
        strbuf_addf(&r->path, "[%s]", key);
        struct bytes_pair *pair = &out->items[out->count];
        int err = read_bytes(r, value, &pair->value);
        if (err < 0)
            return err;
        pair->key = str_dup(key);
        out->count++;
        strbuf_truncate(&r->path, len);
    }
    return 0;
}

static int read_array(struct reader *r, const struct decode_type *type, const json_t *j, void *out)
{
    if (!json_is_array(j))
        return mismatch(r, "an array", j);
    struct any_array array = {.items = mem_zalloc((json_array_size(j) + 1) * type->size)};
    size_t len = r->path.len;
    int err = 0;
    for (size_t i = 0; i < json_array_size(j) && !err; i++) {
        strbuf_addf(&r->path, "[%zu]", i);
        err = read_object(r, type, json_array_get(j, i), (char *)array.items + i * type->size);
        array.count++;
        if (!err)
            strbuf_truncate(&r->path, len);
    }
    memcpy(out, &array, sizeof(array));
    return err;
}

static int read_bool(struct reader *r, const json_t *j, bool *out)
{
    if (!json_is_boolean(j))
        return mismatch(r, "a boolean", j);
    *out = json_is_true(j);
    return 0;
}

static int read_field(struct reader *r, const struct decode_field *f, const json_t *j, void *out)
{
    switch (f->kind) {
    case DECODE_STRING:
        return read_string(r, j, out);
    case DECODE_INT:
        return read_int(r, j, out);
    case DECODE_OPT_INT:
        ((struct opt_int *)out)->set = true;
        return read_int(r, j, &((struct opt_int *)out)->value);
    case DECODE_BOOL:
        return read_bool(r, j, out);
    case DECODE_OPT_BOOL:
        ((struct opt_bool *)out)->set = true;
        return read_bool(r, j, &((struct opt_bool *)out)->value);
    case DECODE_TIME:
        return read_time(r, j, out);
    case DECODE_INT_OR_STRING:
        return read_int_or_string(r, j, out);
    case DECODE_BYTES:
        return read_bytes(r, j, out);
    case DECODE_STRINGS:
        return read_strings(r, j, out);
    case DECODE_MAP:
        return read_map(r, j, out);
    case DECODE_BYTES_MAP:
        return read_bytes_map(r, j, out);
    case DECODE_OBJECT:
        return read_object(r, f->type, j, out);
    case DECODE_OPT_OBJECT: {
        void *object = mem_zalloc(f->type->size);
        memcpy(out, &object, sizeof(object));
        return read_object(r, f->type, j, object);
    }
    case DECODE_ARRAY:
        return read_array(r, f->type, j, out);
    case DECODE_RAW: {
        json_t *raw = json_incref((json_t *)(uintptr_t)j);
        memcpy(out, &raw, sizeof(raw));
        return 0;
    }
    case DECODE_TEXT: {
        struct strbuf text = STRBUF_INIT;
        json_encode(j, &text);
        *(char **)out = strbuf_take(&text);
        return 0;
    }
    }
    return -EINVAL;
}

/* Recursion is bounded by DEPTH_MAX. */
static int read_object(struct reader *r, // NOLINT(misc-no-recursion)
                       const struct decode_type *type, const json_t *j, void *out)
{
    if (!json_is_object(j))
        return mismatch(r, "an object", j);
    if (++r->depth > DEPTH_MAX)
        return malformed(r, "decodable: nested too deeply");
    size_t len = r->path.len;
    for (const struct decode_field *f = type->fields; f->name; f++) {
        const json_t *value = json_object_get(j, f->name);
        if (!value || json_is_null(value))
            continue;
        strbuf_addf(&r->path, "%s%s", len ? "." : "", f->name);
        int err = read_field(r, f, value, (char *)out + f->offset);
        if (err < 0)
            return err;
        strbuf_truncate(&r->path, len);
    }
    r->depth--;
    return 0;
}

int decode(const struct decode_type *type, const json_t *j, void *out, struct error *err)
{
    struct reader r = {.err = err, .path = STRBUF_INIT};
    memset(out, 0, type->size);
    if (!json_is_object(j)) {
        return error_set(err, -EINVAL, "%s: expected an object, got %s", type->name,
                         j ? type_name(j) : "nothing");
    }
    int code = read_object(&r, type, j, out);
    strbuf_done(&r.path);
    if (code < 0)
        decode_done(type, out);
    return code;
}

static void free_pairs(struct string_map *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->items[i].key);
        free(m->items[i].value);
    }
    free(m->items);
}

static void free_bytes_pairs(struct bytes_map *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->items[i].key);
        free(m->items[i].value.data);
    }
    free(m->items);
}

void string_list_done(struct string_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->items[i]);
    free(l->items);
    *l = (struct string_list){.items = NULL};
}

static void free_object(const struct decode_type *type, void *obj);

static void free_field(const struct decode_field *f, void *field) // NOLINT(misc-no-recursion)
{
    void *pointer = NULL;
    struct any_array array;
    switch (f->kind) {
    case DECODE_STRING:
    case DECODE_TEXT:
        freep(field);
        return;
    case DECODE_INT_OR_STRING:
        free(((struct int_or_string *)field)->text);
        return;
    case DECODE_BYTES:
        free(((struct bytes *)field)->data);
        return;
    case DECODE_STRINGS:
        string_list_done(field);
        return;
    case DECODE_MAP:
        free_pairs(field);
        return;
    case DECODE_BYTES_MAP:
        free_bytes_pairs(field);
        return;
    case DECODE_OBJECT:
        free_object(f->type, field);
        return;
    case DECODE_OPT_OBJECT:
        memcpy(&pointer, field, sizeof(pointer));
        if (pointer)
            free_object(f->type, pointer);
        free(pointer);
        return;
    case DECODE_ARRAY:
        memcpy(&array, field, sizeof(array));
        for (size_t i = 0; i < array.count; i++)
            free_object(f->type, (char *)array.items + i * f->type->size);
        free(array.items);
        return;
    case DECODE_RAW:
        memcpy(&pointer, field, sizeof(pointer));
        json_decref(pointer);
        return;
    case DECODE_INT:
    case DECODE_OPT_INT:
    case DECODE_BOOL:
    case DECODE_OPT_BOOL:
    case DECODE_TIME:
        return;
    }
}

/* Leaves the struct as it is: several tables may describe parts of one struct. */
static void free_object(const struct decode_type *type, void *obj) // NOLINT(misc-no-recursion)
{
    for (const struct decode_field *f = type->fields; f->name; f++)
        free_field(f, (char *)obj + f->offset);
}

void decode_done(const struct decode_type *type, void *obj)
{
    if (!obj)
        return;
    free_object(type, obj);
    memset(obj, 0, type->size);
}

const char *string_map_get(const struct string_map *m, const char *key)
{
    for (size_t i = 0; i < m->count; i++)
        if (str_eq(m->items[i].key, key))
            return m->items[i].value;
    return NULL;
}

void string_list_add(struct string_list *l, const char *text)
{
    l->items = mem_grow(l->items, l->count + 1, sizeof(*l->items));
    l->items[l->count++] = str_dup(text);
}

bool string_list_has(const struct string_list *l, const char *item)
{
    for (size_t i = 0; i < l->count; i++)
        if (str_eq(l->items[i], item))
            return true;
    return false;
}
