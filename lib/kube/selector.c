/*
 * Label selectors. The text form is cut into tokens (names, operators, parentheses, commas) and
 * read requirement by requirement; objects go straight into the same requirements. Field selectors
 * are in field_selector.c.
 */
#include "kube/selector.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "kube/format.h"

enum operator{ OP_IN, OP_NOT_IN, OP_EQUALS, OP_NOT_EQUALS, OP_EXISTS, OP_ABSENT, OP_GT, OP_LT };

struct requirement {
    char *key;
    enum operator op;
    char **values;
    size_t n_values;
};

struct selector {
    struct requirement *items;
    size_t count;
    bool nothing;
};

static void requirement_done(struct requirement *r)
{
    free(r->key);
    for (size_t i = 0; i < r->n_values; i++)
        free(r->values[i]);
    free(r->values);
}

struct selector *selector_free(struct selector *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->count; i++)
        requirement_done(&s->items[i]);
    free(s->items);
    free(s);
    return NULL;
}

static void add_value(struct requirement *r, const char *value, size_t len)
{
    r->values = mem_grow(r->values, r->n_values + 1, sizeof(char *));
    r->values[r->n_values++] = str_ndup(value, len);
}

/* Takes over @r's memory. */
static void add_requirement(struct selector *s, struct requirement *r)
{
    s->items = mem_grow(s->items, s->count + 1, sizeof(*r));
    s->items[s->count++] = *r;
    *r = (struct requirement){0};
}

static bool is_integer(const char *text)
{
    text += *text == '-' || *text == '+';
    return *text && strlen(text) < 19 && !text[strspn(text, "0123456789")];
}

static int check(const struct requirement *r, struct error *err)
{
    const char *problem = format_problem(FORMAT_QUALIFIED_NAME, r->key);
    if (problem)
        return error_set(err, -EINVAL, "key: Invalid value: \"%s\": %s", r->key, problem);
    if ((r->op == OP_IN || r->op == OP_NOT_IN) && !r->n_values)
        return error_set(err, -EINVAL,
                         "values: Invalid value: []: for 'in', 'notin' operators, values set "
                         "can't be empty");
    if ((r->op == OP_EXISTS || r->op == OP_ABSENT) && r->n_values)
        return error_set(err, -EINVAL,
                         "values: Invalid value: values set must be empty for exists and does "
                         "not exist");
    for (size_t i = 0; i < r->n_values; i++) {
        if ((r->op == OP_GT || r->op == OP_LT) && !is_integer(r->values[i]))
            return error_set(err, -EINVAL,
                             "values[%zu]: Invalid value: \"%s\": for 'Gt', 'Lt' operators, the "
                             "value must be an integer",
                             i, r->values[i]);
        problem = format_problem(FORMAT_LABEL_VALUE, r->values[i]);
        if (problem)
            return error_set(err, -EINVAL, "values[%zu][%s]: Invalid value: \"%s\": %s", i, r->key,
                             r->values[i], problem);
    }
    return 0;
}

/* ---- the text form ---- */

enum token { T_END, T_WORD, T_COMMA, T_OPEN, T_CLOSE, T_NOT, T_OPERATOR, T_BAD };

struct lexer {
    const char *at;
    enum token token;
    const char *text; /* of the token */
    size_t len;
};

static void next(struct lexer *l)
{
    l->at += strspn(l->at, " \t\r\n");
    l->text = l->at;
    l->len = 1;
    switch (*l->at) {
    case '\0':
        l->token = T_END;
        return;
    case ',':
        l->token = T_COMMA;
        break;
    case '(':
        l->token = T_OPEN;
        break;
    case ')':
        l->token = T_CLOSE;
        break;
    case '!':
        l->token = l->at[1] == '=' ? T_OPERATOR : T_NOT;
        l->len = l->at[1] == '=' ? 2 : 1;
        break;
    case '=':
        l->token = T_OPERATOR;
        l->len = l->at[1] == '=' ? 2 : 1;
        break;
    case '<':
    case '>':
        l->token = T_OPERATOR;
        break;
    default:
        l->token = T_WORD;
        l->len = strcspn(l->at, " \t\r\n,()!=<>");
    }
    l->at += l->len;
}

static bool token_is(const struct lexer *l, const char *text)
{
    return l->len == strlen(text) && memcmp(l->text, text, l->len) == 0;
}

static int unexpected(const struct lexer *l, const char *expected, struct error *err)
{
    return error_set(err, -EINVAL, "unable to parse requirement: found '%.*s', expected: %s",
                     l->len > 64 ? 64 : (int)l->len, l->token == T_END ? "" : l->text, expected);
}

/* "(a,b,)": values may be empty. */
static int parse_set(struct lexer *l, struct requirement *r, struct error *err)
{
    next(l);
    if (l->token != T_OPEN)
        return unexpected(l, "'('", err);
    bool value = false;
    for (;;) {
        next(l);
        if (l->token == T_WORD && !value) {
            add_value(r, l->text, l->len);
            value = true;
        } else if (l->token == T_COMMA || l->token == T_CLOSE) {
            if (!value)
                add_value(r, "", 0);
            value = false;
            if (l->token == T_CLOSE)
                break;
        } else {
            return unexpected(l, "',', ')' or identifier", err);
        }
    }
    next(l);
    return 0;
}

/* "= value": the value may be missing. */
static void parse_value(struct lexer *l, struct requirement *r)
{
    next(l);
    if (l->token == T_WORD) {
        add_value(r, l->text, l->len);
        next(l);
    } else {
        add_value(r, "", 0);
    }
}

static int parse_requirement(struct lexer *l, struct requirement *r, struct error *err)
{
    bool negated = l->token == T_NOT;
    if (negated)
        next(l);
    if (l->token != T_WORD)
        return unexpected(l, "identifier", err);
    r->key = str_ndup(l->text, l->len);
    r->op = negated ? OP_ABSENT : OP_EXISTS;
    next(l);
    if (negated || l->token == T_END || l->token == T_COMMA)
        return 0;
    if (l->token == T_WORD && (token_is(l, "in") || token_is(l, "notin"))) {
        r->op = token_is(l, "in") ? OP_IN : OP_NOT_IN;
        return parse_set(l, r, err);
    }
    if (l->token != T_OPERATOR)
        return unexpected(l, "in, notin, =, ==, !=, gt, lt", err);
    r->op = *l->text == '!'   ? OP_NOT_EQUALS
            : *l->text == '<' ? OP_LT
            : *l->text == '>' ? OP_GT
                              : OP_EQUALS;
    parse_value(l, r);
    return 0;
}

int selector_parse(const char *text, struct selector **ret, struct error *err)
{
    struct selector *s = mem_zalloc(sizeof(*s));
    struct lexer l = {.at = text ? text : ""};
    int r = 0;
    if (strlen(l.at) > SELECTOR_MAX_BYTES)
        r = error_set(err, -EINVAL, "the selector is longer than %d bytes", SELECTOR_MAX_BYTES);
    else
        next(&l);
    while (r == 0 && l.token != T_END) {
        struct requirement req = {0};
        r = parse_requirement(&l, &req, err);
        if (r == 0)
            r = check(&req, err);
        if (r == 0)
            add_requirement(s, &req);
        requirement_done(&req);
        if (r < 0 || l.token == T_END)
            break;
        if (l.token != T_COMMA)
            r = unexpected(&l, "',' or 'end of string'", err);
        else
            next(&l);
        if (r == 0 && l.token == T_END)
            r = unexpected(&l, "identifier after ','", err);
    }
    if (r < 0) {
        selector_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

/* ---- objects ---- */

static int add_expression(struct selector *s, const json_t *e, struct error *err)
{
    static const struct {
        const char *name;
        enum operator op;
    } names[] = {
        {"In", OP_IN}, {"NotIn", OP_NOT_IN}, {"Exists", OP_EXISTS}, {"DoesNotExist", OP_ABSENT}};
    const char *key = json_path_string(e, "key");
    const char *name = json_path_string(e, "operator");
    struct requirement req = {.key = str_dup(key ? key : "")};
    int r = -EINVAL;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eq(names[i].name, name)) {
            req.op = names[i].op;
            r = 0;
        }
    const json_t *values = json_object_get(e, "values");
    for (size_t i = 0; i < json_array_size(values); i++) {
        const char *v = json_string_value(json_array_get(values, i));
        add_value(&req, v ? v : "", v ? strlen(v) : 0);
    }
    if (r < 0)
        (void)error_set(err, r, "\"%s\" is not a valid label selector operator", name ? name : "");
    else
        r = check(&req, err);
    if (r == 0)
        add_requirement(s, &req);
    requirement_done(&req);
    return r;
}

static int add_pair(struct selector *s, const char *key, const json_t *value, struct error *err)
{
    const char *v = json_string_value(value);
    struct requirement req = {.key = str_dup(key), .op = OP_EQUALS};
    add_value(&req, v ? v : "", v ? strlen(v) : 0);
    int r = err ? check(&req, err) : 0;
    if (r == 0)
        add_requirement(s, &req);
    requirement_done(&req);
    return r;
}

int selector_from_object(const json_t *label_selector, struct selector **ret, struct error *err)
{
    struct error local = ERROR_INIT;
    struct selector *s = mem_zalloc(sizeof(*s));
    const char *key;
    json_t *value;
    int r = 0;
    s->nothing = !label_selector;
    if (!err)
        err = &local;
    json_t *labels = json_object_get(label_selector, "matchLabels");
    json_object_foreach(labels, key, value) {
        if (r == 0)
            r = add_pair(s, key, value, err);
    }
    const json_t *expressions = json_object_get(label_selector, "matchExpressions");
    for (size_t i = 0; r == 0 && i < json_array_size(expressions); i++)
        r = add_expression(s, json_array_get(expressions, i), err);
    if (r < 0) {
        selector_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

struct selector *selector_from_map(const json_t *labels)
{
    struct selector *s = mem_zalloc(sizeof(*s));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)labels, key, value) {
        (void)add_pair(s, key, value, NULL);
    }
    s->nothing = s->count == 0;
    return s;
}

/* ---- matching and writing ---- */

static bool has_value(const struct requirement *r, const char *value)
{
    for (size_t i = 0; i < r->n_values; i++)
        if (str_eq(r->values[i], value))
            return true;
    return false;
}

static bool requirement_matches(const struct requirement *r, const char *value)
{
    switch (r->op) {
    case OP_IN:
    case OP_EQUALS:
        return value && has_value(r, value);
    case OP_NOT_IN:
    case OP_NOT_EQUALS:
        return !value || !has_value(r, value);
    case OP_EXISTS:
        return value != NULL;
    case OP_ABSENT:
        return value == NULL;
    case OP_GT:
    case OP_LT: {
        if (!value || !is_integer(value))
            return false;
        long long have = strtoll(value, NULL, 10), want = strtoll(r->values[0], NULL, 10);
        return r->op == OP_GT ? have > want : have < want;
    }
    }
    return false;
}

bool selector_matches(const struct selector *s, const json_t *labels)
{
    if (s->nothing)
        return false;
    for (size_t i = 0; i < s->count; i++) {
        const char *value = json_string_value(json_object_get(labels, s->items[i].key));
        if (!requirement_matches(&s->items[i], value))
            return false;
    }
    return true;
}

bool selector_is_everything(const struct selector *s)
{
    return !s->nothing && s->count == 0;
}

static int by_key(const void *a, const void *b)
{
    const struct requirement *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

static int by_text(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static void write_requirement(const struct requirement *r, struct strbuf *out)
{
    static const char *const texts[] = {
        [OP_IN] = " in (", [OP_NOT_IN] = " notin (", [OP_EQUALS] = "=", [OP_NOT_EQUALS] = "!=",
        [OP_EXISTS] = "",  [OP_ABSENT] = "",         [OP_GT] = ">",     [OP_LT] = "<"};
    bool set = r->op == OP_IN || r->op == OP_NOT_IN;
    strbuf_addf(out, "%s%s%s", r->op == OP_ABSENT ? "!" : "", r->key, texts[r->op]);
    const char **values = mem_grow(NULL, r->n_values + 1, sizeof(char *));
    for (size_t i = 0; i < r->n_values; i++)
        values[i] = r->values[i];
    qsort((void *)values, r->n_values, sizeof(char *), by_text);
    for (size_t i = 0; i < r->n_values; i++)
        strbuf_addf(out, "%s%s", i ? "," : "", values[i]);
    free((void *)values);
    if (set)
        strbuf_addc(out, ')');
}

void selector_write(const struct selector *s, struct strbuf *out)
{
    const struct requirement **sorted = mem_grow(NULL, s->count + 1, sizeof(void *));
    for (size_t i = 0; i < s->count; i++)
        sorted[i] = &s->items[i];
    qsort((void *)sorted, s->count, sizeof(void *), by_key);
    for (size_t i = 0; i < s->count; i++) {
        if (i)
            strbuf_addc(out, ',');
        write_requirement(sorted[i], out);
    }
    free((void *)sorted);
}
