/*
 * Reading YAML; see yaml.h. libyaml gives events, a recursive descent makes JSON of them. Scalars
 * are resolved as the Go library that Kubernetes uses does: YAML 1.1 booleans and nulls, integers
 * in Go's notation (0644 and 0o644 are octal), timestamps stay strings. An alias is a copy of what
 * its anchor stands for; all nodes, copies included, are counted against YAML_MAX_NODES.
 */
#include "kube/yaml.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <yaml.h>

#include "base/json.h"
#include "base/map.h"

struct reader {
    yaml_parser_t parser;
    struct map anchors; /* name → json_t, owned */
    size_t nodes;
    int document;
    struct error *err;
};

static int fail(struct reader *r, size_t line, const char *fmt, ...) _printf_(3, 4);
static int fail(struct reader *r, size_t line, const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    return error_set(r->err, -EINVAL, "document %d, line %zu: %s",
                     r->document > 0 ? r->document : 1, line + 1, strbuf_text(&text));
}

static int next_event(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event))
        return 0;
    const yaml_parser_t *p = &r->parser;
    return fail(r, p->problem_mark.line, "%s%s%s", p->context ? p->context : "",
                p->context ? ": " : "", p->problem ? p->problem : "malformed");
}

/* ---- scalars ---- */

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (str_eq(text, *words))
            return true;
    return false;
}

static bool is_null(const char *text)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL", NULL};
    return is_one_of(text, words);
}

static json_t *resolve_bool(const char *text)
{
    static const char *const yes[] = {"y",    "Y",    "yes", "Yes", "YES", "true",
                                      "True", "TRUE", "on",  "On",  "ON",  NULL};
    static const char *const no[] = {"n",     "N",     "no",  "No",  "NO",  "false",
                                     "False", "FALSE", "off", "Off", "OFF", NULL};
    if (is_one_of(text, yes))
        return json_true();
    return is_one_of(text, no) ? json_false() : NULL;
}

/* Go's integers: decimal, 0x, 0o, 0b, and a leading 0 for octal. */
static json_t *resolve_int(const char *text)
{
    bool negative = *text == '-';
    const char *digits = text + (*text == '-' || *text == '+');
    int base = 10;
    if (digits[0] == '0' && digits[1]) {
        char mark = digits[1];
        base = mark == 'x' || mark == 'X' ? 16 : mark == 'b' || mark == 'B' ? 2 : 8;
        digits += strchr("xXbBoO", mark) ? 2 : 1;
    }
    const char *alphabet = "0123456789abcdefABCDEF";
    size_t letters = base == 16 ? 22 : (size_t)base;
    if (!*digits)
        return NULL;
    for (const char *c = digits; *c; c++)
        if (!memchr(alphabet, *c, letters))
            return NULL;
    errno = 0;
    char *end;
    unsigned long long v = strtoull(digits, &end, base);
    if (errno || *end || v > (unsigned long long)INT64_MAX + negative)
        return NULL;
    return json_integer(negative ? (json_int_t)(0 - v) : (json_int_t)v);
}

static bool looks_like_float(const char *c)
{
    c += *c == '-' || *c == '+';
    size_t whole = strspn(c, "0123456789");
    c += whole;
    if (*c == '.') {
        size_t fraction = strspn(++c, "0123456789");
        if (!whole && !fraction)
            return false;
        c += fraction;
    } else if (!whole) {
        return false;
    }
    if (*c == 'e' || *c == 'E') {
        c++;
        c += *c == '-' || *c == '+';
        if (!strspn(c, "0123456789"))
            return false;
        c += strspn(c, "0123456789");
    }
    return *c == '\0';
}

/* A real without a fraction is an integer, as in Go's JSON. */
static json_t *resolve_float(const char *text)
{
    if (!looks_like_float(text))
        return NULL;
    double d = strtod(text, NULL);
    if (!isfinite(d))
        return NULL;
    if (fabs(d) < 9007199254740992.0 && d == floor(d))
        return json_integer((json_int_t)d);
    return json_real(d);
}

static json_t *resolve_number(const char *text)
{
    if (!*text || !strchr("+-.0123456789", *text))
        return NULL;
    _cleanup_free_ char *plain = str_dup(text);
    size_t n = 0;
    for (const char *c = text; *c; c++)
        if (*c != '_')
            plain[n++] = *c;
    plain[n] = '\0';
    json_t *v = resolve_int(plain);
    return v ? v : resolve_float(plain);
}

static json_t *resolve_plain(const char *text)
{
    if (is_null(text))
        return json_null();
    json_t *v = resolve_bool(text);
    if (!v)
        v = resolve_number(text);
    return v;
}

/* "!!int" and the like ask for one type. NULL: the text is not of that type. */
static json_t *resolve_tagged(const char *tag, const char *text)
{
    const char *name = tag + strlen("tag:yaml.org,2002:");
    json_t *v = resolve_plain(text);
    bool fits = (str_eq(name, "int") && json_is_integer(v)) ||
                (str_eq(name, "float") && json_is_number(v)) ||
                (str_eq(name, "bool") && json_is_boolean(v)) ||
                (str_eq(name, "null") && json_is_null(v));
    if (!fits) {
        json_decref(v);
        return NULL;
    }
    return v;
}

static bool is_nonfinite(const char *text)
{
    static const char *const words[] = {".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf",
                                        "+.INF", "-.inf", "-.Inf", "-.INF", ".nan",
                                        ".NaN",  ".NAN",  NULL};
    return is_one_of(text, words);
}

static int read_scalar(struct reader *r, const yaml_event_t *e, json_t **ret)
{
    const char *text = (const char *)e->data.scalar.value;
    const char *tag = (const char *)e->data.scalar.tag;
    size_t line = e->start_mark.line;
    if (strlen(text) != e->data.scalar.length)
        return fail(r, line, "a string holds a NUL character");
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    json_t *v = NULL;
    if (tag && !str_eq(tag, "!") && !str_eq(tag, YAML_STR_TAG)) {
        if (!str_starts(tag, "tag:yaml.org,2002:"))
            return fail(r, line, "unknown tag %.100s", tag);
        if (!str_eq(tag, "tag:yaml.org,2002:timestamp")) {
            v = resolve_tagged(tag, text);
            if (!v)
                return fail(r, line, "'%.100s' is not a value for the tag %.100s", text, tag);
        }
    } else if (plain && !tag) {
        if (is_nonfinite(text))
            return fail(r, line, "%s has no form in JSON", text);
        v = resolve_plain(text);
    }
    if (!v)
        v = json_string(text);
    if (!v)
        return fail(r, line, "a string is not valid UTF-8");
    *ret = v;
    return 0;
}

/* ---- collections ---- */

static int count_node(struct reader *r, size_t line, size_t nodes)
{
    if (nodes > YAML_MAX_NODES - r->nodes)
        return fail(r, line, "more than %d values, counting what aliases stand for",
                    YAML_MAX_NODES);
    r->nodes += nodes;
    return 0;
}

/* Counts up to @limit + 1. */
static size_t tree_nodes(const json_t *j, size_t limit) // NOLINT(misc-no-recursion)
{
    size_t n = 1;
    const char *key;
    json_t *member;
    if (json_is_object(j)) {
        json_object_foreach((json_t *)(uintptr_t)j, key, member) {
            if (n > limit)
                break;
            n += tree_nodes(member, limit - n);
        }
    }
    for (size_t i = 0; i < json_array_size(j) && n <= limit; i++)
        n += tree_nodes(json_array_get(j, i), limit - n);
    return n;
}

static int read_alias(struct reader *r, const yaml_event_t *e, json_t **ret)
{
    const char *name = (const char *)e->data.alias.anchor;
    json_t *target = map_get(&r->anchors, name);
    if (!target)
        return fail(r, e->start_mark.line, "unknown anchor '%.100s'", name);
    int res = count_node(r, e->start_mark.line, tree_nodes(target, YAML_MAX_NODES - r->nodes));
    if (res < 0)
        return res;
    *ret = json_deep_copy(target);
    return 0;
}

static int read_node(struct reader *r, yaml_event_t *event, int depth, json_t **ret);

/* Reads the next event as a node; *ret stays NULL at the end of a collection (@end). */
static int read_member(struct reader *r, yaml_event_type_t end, int depth, json_t **ret,
                       yaml_event_t *event)
{
    int res = next_event(r, event);
    if (res < 0)
        return res;
    *ret = NULL;
    if (event->type == end)
        return 0;
    return read_node(r, event, depth + 1, ret);
}

static int read_sequence(struct reader *r, int depth, json_t **ret) // NOLINT(misc-no-recursion)
{
    _cleanup_json_ json_t *list = json_array();
    for (;;) {
        yaml_event_t event;
        json_t *member = NULL;
        int res = read_member(r, YAML_SEQUENCE_END_EVENT, depth, &member, &event);
        if (res < 0)
            return res;
        yaml_event_delete(&event);
        if (!member)
            break;
        (void)json_array_append_new(list, member);
    }
    *ret = TAKE_PTR(list);
    return 0;
}

/* The text of a key; NULL when it can be none in JSON. */
static char *key_text(const json_t *key)
{
    if (json_is_string(key))
        return str_dup(json_string_value(key));
    if (!json_is_boolean(key) && !json_is_number(key))
        return NULL;
    struct strbuf text = STRBUF_INIT;
    json_encode(key, &text);
    return strbuf_take(&text);
}

/* "<<: *base" or "<<: [*a, *b]": earlier ones win, gathered into @merged. */
static int merge(struct reader *r, size_t line, const json_t *value, json_t *merged)
{
    if (json_is_object(value))
        return json_object_update_missing(merged, (json_t *)(uintptr_t)value);
    if (!json_is_array(value))
        return fail(r, line, "a merge key needs a mapping or a list of mappings");
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *m = json_array_get(value, i);
        if (!json_is_object(m))
            return fail(r, line, "a merge key needs a mapping or a list of mappings");
        (void)json_object_update_missing(merged, m);
    }
    return 0;
}

static int set_member(struct reader *r, size_t line, json_t *map, const json_t *key, json_t *value)
{
    _cleanup_free_ char *name = key_text(key);
    if (!name)
        return fail(r, line, "a key must be a string, a number or a boolean");
    if (json_object_get(map, name))
        return fail(r, line, "key \"%.200s\" already set in map", name);
    return json_object_set(map, name, value) < 0 ? fail(r, line, "unusable key") : 0;
}

static int read_mapping(struct reader *r, int depth, json_t **ret) // NOLINT(misc-no-recursion)
{
    _cleanup_json_ json_t *map = json_object();
    _cleanup_json_ json_t *merged = json_object();
    for (;;) {
        yaml_event_t event;
        _cleanup_json_ json_t *key = NULL;
        _cleanup_json_ json_t *value = NULL;
        int res = read_member(r, YAML_MAPPING_END_EVENT, depth, &key, &event);
        if (res < 0)
            return res;
        size_t line = event.start_mark.line;
        bool is_merge = event.type == YAML_SCALAR_EVENT && !event.data.scalar.tag &&
                        event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                        str_eq((const char *)event.data.scalar.value, "<<");
        yaml_event_delete(&event);
        if (!key)
            break;
        /* Never the end of the mapping: libyaml gives every key a value. */
        res = read_member(r, YAML_NO_EVENT, depth, &value, &event);
        if (res < 0)
            return res;
        yaml_event_delete(&event);
        res = is_merge ? merge(r, line, value, merged) : set_member(r, line, map, key, value);
        if (res < 0)
            return res;
    }
    (void)json_object_update_missing(map, merged);
    *ret = TAKE_PTR(map);
    return 0;
}

static void json_free(void *j)
{
    json_decref(j);
}

static char *anchor_of(const yaml_event_t *e)
{
    const yaml_char_t *anchor = NULL;
    if (e->type == YAML_SCALAR_EVENT)
        anchor = e->data.scalar.anchor;
    else if (e->type == YAML_SEQUENCE_START_EVENT)
        anchor = e->data.sequence_start.anchor;
    else if (e->type == YAML_MAPPING_START_EVENT)
        anchor = e->data.mapping_start.anchor;
    return str_dup((const char *)anchor);
}

/* @event starts the node. On failure it is deleted, on success the caller does. */
static int read_node(struct reader *r, yaml_event_t *event, // NOLINT(misc-no-recursion)
                     int depth, json_t **ret)
{
    _cleanup_json_ json_t *v = NULL;
    _cleanup_free_ char *anchor = anchor_of(event);
    size_t line = event->start_mark.line;
    int res = depth > YAML_MAX_DEPTH ? fail(r, line, "nested deeper than %d levels", YAML_MAX_DEPTH)
                                     : count_node(r, line, 1);
    if (res == 0 && event->type == YAML_SCALAR_EVENT)
        res = read_scalar(r, event, &v);
    else if (res == 0 && event->type == YAML_ALIAS_EVENT)
        res = read_alias(r, event, &v);
    else if (res == 0 && event->type == YAML_SEQUENCE_START_EVENT)
        res = read_sequence(r, depth, &v);
    else if (res == 0 && event->type == YAML_MAPPING_START_EVENT)
        res = read_mapping(r, depth, &v);
    else if (res == 0)
        res = fail(r, line, "unexpected end");
    if (res < 0) {
        yaml_event_delete(event);
        return res;
    }
    if (anchor)
        map_set(&r->anchors, anchor, json_incref(v));
    *ret = TAKE_PTR(v);
    return 0;
}

/* ---- documents ---- */

void yaml_documents_done(struct yaml_documents *docs)
{
    for (size_t i = 0; i < docs->count; i++)
        json_decref(docs->items[i].value);
    free(docs->items);
    *docs = (struct yaml_documents){0};
}

static void add_document(struct yaml_documents *docs, json_t *value, int number, int line)
{
    docs->items = mem_grow(docs->items, docs->count + 1, sizeof(*docs->items));
    docs->items[docs->count++] =
        (struct yaml_document){.value = value, .number = number, .line = line};
}

/* From after the document's start to its end. */
static int read_document(struct reader *r, struct yaml_documents *docs)
{
    yaml_event_t event;
    json_t *value = NULL;
    int res = next_event(r, &event);
    if (res < 0)
        return res;
    int line = (int)event.start_mark.line + 1;
    res = read_node(r, &event, 0, &value);
    if (res < 0)
        return res;
    yaml_event_delete(&event);
    if (json_is_null(value))
        json_decref(value);
    else
        add_document(docs, value, r->document, line);
    map_clear(&r->anchors);
    res = next_event(r, &event); /* the document's end */
    if (res == 0)
        yaml_event_delete(&event);
    return res;
}

static int read_stream(struct reader *r, struct yaml_documents *docs)
{
    for (;;) {
        yaml_event_t event;
        int res = next_event(r, &event);
        if (res < 0)
            return res;
        yaml_event_type_t type = event.type;
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT || type == YAML_NO_EVENT)
            return 0;
        if (type != YAML_DOCUMENT_START_EVENT)
            continue;
        r->document++;
        res = read_document(r, docs);
        if (res < 0)
            return res;
    }
}

int yaml_parse(const char *data, size_t len, struct yaml_documents *ret, struct error *err)
{
    struct yaml_documents docs = {0};
    size_t blank = 0;
    while (blank < len && strchr(" \t\r\n", data[blank]) && data[blank])
        blank++;
    /* JSON may be indented with tabs, which YAML forbids. */
    json_t *json = blank < len && data[blank] == '{' ? json_parse(data, len, NULL) : NULL;
    if (json) {
        add_document(&docs, json, 1, 1);
        *ret = docs;
        return 0;
    }
    struct reader r = {.anchors = MAP_INIT(json_free), .err = err};
    if (!yaml_parser_initialize(&r.parser))
        return error_set(err, -ENOMEM, "out of memory");
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(len ? data : ""), len);
    int res = read_stream(&r, &docs);
    yaml_parser_delete(&r.parser);
    map_clear(&r.anchors);
    if (res < 0) {
        yaml_documents_done(&docs);
        return res;
    }
    *ret = docs;
    return 0;
}

json_t *yaml_parse_one(const char *data, size_t len, struct error *err)
{
    struct yaml_documents docs = {0};
    json_t *value = NULL;
    if (yaml_parse(data, len, &docs, err) < 0)
        return NULL;
    if (docs.count == 1)
        value = json_incref(docs.items[0].value);
    else
        (void)error_set(err, -EINVAL, "expected one YAML document, found %zu", docs.count);
    yaml_documents_done(&docs);
    return value;
}

bool yaml_plain_is_string(const char *text)
{
    json_t *v = resolve_plain(text);
    bool other = v != NULL || is_nonfinite(text) || str_eq(text, "<<");
    json_decref(v);
    return !other;
}
