/*
 * JSON patch (RFC 6902) with JSON pointers (RFC 6901). Works on a copy of the document. Since
 * "copy" may double a document with every operation, all copied values are counted, and depth is
 * checked where something is put into the document.
 */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "kube/patch.h"

#define MAX_OPERATIONS 10000
#define MAX_VALUES     1000000 /* values that all operations together may copy */
#define MAX_DEPTH      500     /* of what operations put somewhere */
#define MAX_TOKENS     200     /* of a pointer */

struct patcher {
    json_t *doc;
    size_t values;
    size_t operation; /* index, for errors */
    struct error *err;
};

/* A pointer cut into tokens; the text is owned. */
struct pointer {
    char *text;
    char *tokens[MAX_TOKENS];
    size_t count;
};

static void pointer_done(struct pointer *p)
{
    free(p->text);
}

static int fail(struct patcher *p, int code, const char *what, const char *path)
{
    return error_set(p->err, code, "operation %zu: %s: \"%.200s\"", p->operation, what, path);
}

static void unescape(char *token)
{
    char *to = token;
    for (const char *from = token; *from; from++) {
        if (*from == '~' && (from[1] == '0' || from[1] == '1'))
            *to++ = *++from == '0' ? '~' : '/';
        else
            *to++ = *from;
    }
    *to = '\0';
}

static int parse_pointer(struct patcher *p, const json_t *op, const char *key, struct pointer *ret)
{
    const char *text = json_string_value(json_object_get(op, key));
    *ret = (struct pointer){0};
    if (!text)
        return error_set(p->err, -EINVAL, "operation %zu: \"%s\" must be a string", p->operation,
                         key);
    if (*text && *text != '/')
        return fail(p, -EINVAL, "not a JSON pointer", text);
    ret->text = str_dup(text);
    for (char *c = ret->text; *c == '/';) {
        *c++ = '\0';
        if (ret->count == MAX_TOKENS)
            return fail(p, -EFBIG, "the pointer has too many parts", text);
        ret->tokens[ret->count++] = c;
        c += strcspn(c, "/");
    }
    for (size_t i = 0; i < ret->count; i++)
        unescape(ret->tokens[i]);
    return 0;
}

/* An array index below @limit, or -1. */
static long parse_index(const char *token, size_t limit)
{
    if (!*token || token[strspn(token, "0123456789")] || (token[0] == '0' && token[1]) ||
        strlen(token) > 9)
        return -1;
    long v = strtol(token, NULL, 10);
    return (size_t)v < limit ? v : -1;
}

static json_t *member(json_t *container, const char *token)
{
    if (json_is_object(container))
        return json_object_get(container, token);
    if (!json_is_array(container))
        return NULL;
    long i = parse_index(token, json_array_size(container));
    return i < 0 ? NULL : json_array_get(container, (size_t)i);
}

/* What the first @count tokens lead to; borrowed, NULL when it is not there. */
static json_t *walk(struct patcher *p, const struct pointer *at, size_t count)
{
    json_t *v = p->doc;
    for (size_t i = 0; v && i < count; i++)
        v = member(v, at->tokens[i]);
    return v;
}

/* Counts values and finds the depth, giving up past either bound. */
static size_t measure(const json_t *v, size_t depth, size_t *values) // NOLINT(misc-no-recursion)
{
    size_t deepest = depth;
    const char *key;
    json_t *m;
    if (++*values > MAX_VALUES || depth > MAX_DEPTH)
        return depth;
    if (json_is_object(v)) {
        json_object_foreach((json_t *)(uintptr_t)v, key, m) {
            size_t d = measure(m, depth + 1, values);
            deepest = d > deepest ? d : deepest;
        }
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        size_t d = measure(json_array_get(v, i), depth + 1, values);
        deepest = d > deepest ? d : deepest;
    }
    return deepest;
}

/* A copy of @v that may be put below @at, counted against the limits. */
static int copy_value(struct patcher *p, const json_t *v, const struct pointer *at, json_t **ret)
{
    if (measure(v, at->count, &p->values) > MAX_DEPTH || p->values > MAX_VALUES)
        return error_set(p->err, -EFBIG, "operation %zu: the result would be too large or too deep",
                         p->operation);
    *ret = json_deep_copy(v);
    return 0;
}

/* Steals @value. */
static int add(struct patcher *p, const struct pointer *at, json_t *value)
{
    if (at->count == 0) {
        json_decref(p->doc);
        p->doc = value;
        return 0;
    }
    json_t *parent = walk(p, at, at->count - 1);
    const char *last = at->tokens[at->count - 1];
    if (json_is_object(parent)) {
        if (json_object_set_new(parent, last, value) < 0)
            return fail(p, -EINVAL, "unusable key", last);
        return 0;
    }
    if (json_is_array(parent)) {
        size_t size = json_array_size(parent);
        long i = str_eq(last, "-") ? (long)size : parse_index(last, size + 1);
        if (i >= 0) {
            (void)json_array_insert_new(parent, (size_t)i, value);
            return 0;
        }
    }
    json_decref(value);
    return fail(p, -ENOENT, "there is no place to add to", last);
}

static int take_out(struct patcher *p, const struct pointer *at)
{
    const char *last = at->count ? at->tokens[at->count - 1] : "";
    json_t *parent = at->count ? walk(p, at, at->count - 1) : NULL;
    if (!parent || !member(parent, last))
        return fail(p, -ENOENT, "there is nothing to remove", last);
    if (json_is_object(parent))
        (void)json_object_del(parent, last);
    else
        (void)json_array_remove(parent, (size_t)parse_index(last, json_array_size(parent)));
    return 0;
}

static int replace(struct patcher *p, const struct pointer *at, json_t *value)
{
    if (at->count == 0)
        return add(p, at, value);
    const char *last = at->tokens[at->count - 1];
    json_t *parent = walk(p, at, at->count - 1);
    if (!parent || !member(parent, last)) {
        json_decref(value);
        return fail(p, -ENOENT, "there is nothing to replace", last);
    }
    if (json_is_object(parent))
        (void)json_object_set_new(parent, last, value);
    else
        (void)json_array_set_new(parent, (size_t)parse_index(last, json_array_size(parent)), value);
    return 0;
}

/* add, replace, test: the operations with a value. */
static int with_value(struct patcher *p, const char *name, const json_t *op,
                      const struct pointer *at)
{
    const json_t *value = json_object_get(op, "value");
    if (!value)
        return error_set(p->err, -EINVAL, "operation %zu: \"value\" is missing", p->operation);
    if (str_eq(name, "test"))
        return json_equal(walk(p, at, at->count), value)
                   ? 0
                   : error_set(p->err, -ENOENT, "operation %zu: the test failed", p->operation);
    json_t *copy = NULL;
    int r = copy_value(p, value, at, &copy);
    if (r < 0)
        return r;
    return str_eq(name, "add") ? add(p, at, copy) : replace(p, at, copy);
}

static bool is_below(const struct pointer *at, const struct pointer *from)
{
    if (at->count <= from->count)
        return false;
    for (size_t i = 0; i < from->count; i++)
        if (!str_eq(at->tokens[i], from->tokens[i]))
            return false;
    return true;
}

static int with_from(struct patcher *p, const char *name, const struct pointer *at,
                     const struct pointer *from)
{
    bool move = str_eq(name, "move");
    const json_t *value = walk(p, from, from->count);
    const char *last = from->count ? from->tokens[from->count - 1] : "";
    if (!value)
        return fail(p, -ENOENT, move ? "there is nothing to move" : "there is nothing to copy",
                    last);
    if (move && is_below(at, from))
        return fail(p, -EINVAL, "a value cannot be moved into itself", last);
    json_t *copy = NULL;
    int r = copy_value(p, value, at, &copy);
    if (r == 0 && move && from->count)
        r = take_out(p, from);
    return r < 0 ? r : add(p, at, copy);
}

static int operate(struct patcher *p, const json_t *op)
{
    static const char *const with_values[] = {"add", "replace", "test"};
    const char *name = json_string_value(json_object_get(op, "op"));
    struct pointer at = {0}, from = {0};
    int r = -ENOTSUP;
    if (!name)
        return error_set(p->err, -EINVAL, "operation %zu: \"op\" must be a string", p->operation);
    r = parse_pointer(p, op, "path", &at);
    if (r == 0) {
        r = -ENOTSUP;
        for (size_t i = 0; i < ARRAY_SIZE(with_values); i++)
            if (str_eq(name, with_values[i]))
                r = with_value(p, name, op, &at);
        if (str_eq(name, "remove"))
            r = take_out(p, &at);
        if (str_eq(name, "move") || str_eq(name, "copy")) {
            r = parse_pointer(p, op, "from", &from);
            if (r == 0)
                r = with_from(p, name, &at, &from);
        }
        if (r == -ENOTSUP)
            r = fail(p, -EINVAL, "unknown operation", name);
    }
    pointer_done(&at);
    pointer_done(&from);
    return r;
}

int patch_json(const json_t *doc, const json_t *patch, json_t **ret, struct error *err)
{
    if (!json_is_array(patch))
        return error_set(err, -EINVAL, "a JSON patch must be a list of operations");
    if (json_array_size(patch) > MAX_OPERATIONS)
        return error_set(err, -EFBIG,
                         "The allowed maximum operations in a JSON patch is %d, got %zu",
                         MAX_OPERATIONS, json_array_size(patch));
    struct patcher p = {.doc = json_deep_copy(doc), .err = err};
    int r = 0;
    for (; r == 0 && p.operation < json_array_size(patch); p.operation++) {
        const json_t *op = json_array_get(patch, p.operation);
        r = json_is_object(op)
                ? operate(&p, op)
                : error_set(err, -EINVAL, "operation %zu: must be an object", p.operation);
    }
    if (r < 0) {
        json_decref(p.doc);
        return r;
    }
    *ret = p.doc;
    return 0;
}
