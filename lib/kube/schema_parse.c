/*
 * The text form of the schema (grammar in schema/README.md). Two passes over the text: the first
 * registers the names of types, so that they may refer to each other in any order; the second
 * reads fields and kinds. Lines are independent but for the type, package and API version that
 * they stand under.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kube/schema_internal.h"

#define MAX_WORDS 24

struct parser {
    struct schema_registry *reg;
    const char *source;
    struct error *err;
    int line_number;
    char *package;
    const char *group, *version;
    struct schema *type;         /* whose fields are being read */
    struct schema_field *fields; /* gathered so far */
    size_t n_fields;
    struct schema_resource *resource; /* whose columns are being read */
    struct schema_column *columns;
    size_t n_columns;
};

/* One line cut up: words before " : ", the text after it. */
struct line {
    char *words[MAX_WORDS];
    size_t count;
    const char *description;
    bool indented;
};

static int fail(struct parser *p, const char *what, const char *word)
{
    return error_set(p->err, -EINVAL, "%s, line %d: %s: %s", p->source, p->line_number, what, word);
}

/* Cuts @text in place. */
static int cut_line(struct parser *p, char *text, struct line *ret)
{
    *ret = (struct line){.description = "", .indented = *text == ' '};
    char *colon = strstr(text, " : ");
    if (colon) {
        *colon = '\0';
        ret->description = colon + 3;
    }
    char *save = NULL;
    for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        if (ret->count == MAX_WORDS)
            return fail(p, "too many words", w);
        ret->words[ret->count++] = w;
    }
    if (ret->count && ret->words[0][0] == '#')
        ret->count = 0;
    return 0;
}

static const char *text_copy(struct parser *p, const char *s)
{
    return schema_text(p->reg, s, strlen(s));
}

/* "a,b" or "a|b" into a NULL-terminated list. */
static const char *const *list_copy(struct parser *p, const char *text, char separator)
{
    size_t n = 1;
    for (const char *c = text; *c; c++)
        n += *c == separator;
    const char **list = schema_alloc(p->reg, (n + 1) * sizeof(char *));
    for (size_t i = 0; i < n; i++) {
        const char *end = strchr(text, separator);
        size_t len = end ? (size_t)(end - text) : strlen(text);
        list[i] = schema_text(p->reg, text, len);
        text += len + 1;
    }
    return list;
}

static char *type_name(const char *package, const char *name)
{
    return str_printf("%s.%s", package, name);
}

/* A named type: of the current package, else the first of that name in any. */
static struct schema *find_type(struct parser *p, const char *name)
{
    _cleanup_free_ char *full = type_name(p->package, name);
    struct schema *type = map_get(&p->reg->types_by_name, full);
    for (size_t i = 0; !type && i < p->reg->n_types; i++) {
        const char *dot = strrchr(p->reg->types[i]->name, '.');
        if (dot && str_eq(dot + 1, name))
            type = p->reg->types[i];
    }
    return type;
}

static const struct {
    const char *name;
    enum schema_kind kind;
} SCALARS[] = {
    {"string", SCHEMA_STRING}, {"bool", SCHEMA_BOOL},
    {"int32", SCHEMA_INT32},   {"int64", SCHEMA_INT64},
    {"double", SCHEMA_DOUBLE}, {"quantity", SCHEMA_QUANTITY},
    {"time", SCHEMA_TIME},     {"microtime", SCHEMA_MICRO_TIME},
    {"bytes", SCHEMA_BYTES},   {"duration", SCHEMA_DURATION},
    {"any", SCHEMA_ANY},       {"intstr", SCHEMA_INT_OR_STRING},
};

/* A type expression into a node; *ret_leaf is the innermost one when it is ours to constrain. */
static struct schema *parse_type(struct parser *p, const char *text, struct schema **ret_leaf)
{
    bool is_list = str_starts(text, "[]");
    bool is_map = str_starts(text, "map[") && str_ends(text, "]");
    if (is_list || is_map) {
        struct schema *outer = schema_alloc(p->reg, sizeof(*outer));
        outer->kind = is_list ? SCHEMA_ARRAY : SCHEMA_MAP;
        outer->description = "";
        _cleanup_free_ char *inner =
            is_list ? str_dup(text + 2) : str_ndup(text + 4, strlen(text) - 5);
        outer->items = parse_type(p, inner, ret_leaf);
        return outer->items ? outer : NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(SCALARS); i++) {
        if (!str_eq(SCALARS[i].name, text))
            continue;
        struct schema *leaf = schema_alloc(p->reg, sizeof(*leaf));
        leaf->kind = SCALARS[i].kind;
        leaf->description = "";
        *ret_leaf = leaf;
        return leaf;
    }
    *ret_leaf = NULL;
    return find_type(p, text);
}

static const struct {
    const char *name;
    enum schema_format format;
} FORMATS[] = {
    {"dns-label", FORMAT_DNS_LABEL},
    {"dns-subdomain", FORMAT_DNS_SUBDOMAIN},
    {"dns1035-label", FORMAT_DNS1035_LABEL},
    {"qualified-name", FORMAT_QUALIFIED_NAME},
    {"label-value", FORMAT_LABEL_VALUE},
    {"port-name", FORMAT_PORT_NAME},
    {"config-key", FORMAT_CONFIG_KEY},
    {"env-name", FORMAT_ENV_NAME},
    {"ip", FORMAT_IP},
    {"cidr", FORMAT_CIDR},
    {"absolute-path", FORMAT_ABSOLUTE_PATH},
    {"local-path", FORMAT_LOCAL_PATH},
    {"path-segment", FORMAT_PATH_SEGMENT},
    {"percent-or-count", FORMAT_PERCENT_OR_COUNT},
};

static int parse_number(struct parser *p, const char *word, const char *text, int64_t *ret)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || end == text || *end)
        return fail(p, "not a number", word);
    *ret = v;
    return 0;
}

static int parse_default(struct parser *p, const char *text, struct schema_field *f)
{
    json_t *value = json_parse(text, strlen(text), NULL);
    if (!value)
        return fail(p, "bad default", text);
    (void)json_array_append_new(p->reg->defaults, value);
    f->def = value;
    return 0;
}

/* Attributes with a value that concern the node or its leaf. -ENOENT: not one of these. */
static int parse_bound(struct parser *p, const char *word, struct schema *node, struct schema *leaf)
{
    const char *value = strchr(word, '=');
    if (!value)
        return -ENOENT;
    value++;
    if (leaf && str_starts(word, "enum=")) {
        leaf->values = list_copy(p, value, '|');
        return 0;
    }
    if (leaf && str_starts(word, "min=")) {
        leaf->has_min = true;
        return parse_number(p, word, value, &leaf->min);
    }
    if (leaf && str_starts(word, "max=")) {
        leaf->has_max = true;
        return parse_number(p, word, value, &leaf->max);
    }
    if (str_starts(word, "minlen="))
        return parse_number(p, word, value, &node->min_length);
    if (str_starts(word, "maxlen="))
        return parse_number(p, word, value, &node->max_length);
    return -ENOENT;
}

static int parse_attribute(struct parser *p, const char *word, struct schema_field *f,
                           struct schema *node, struct schema *leaf)
{
    const char *value = strchr(word, '=') ? strchr(word, '=') + 1 : "";
    bool owned = !node->name; /* a shared type takes no attributes of one use */
    for (size_t i = 0; leaf && i < ARRAY_SIZE(FORMATS); i++)
        if (str_eq(word, FORMATS[i].name)) {
            leaf->format = FORMATS[i].format;
            return 0;
        }
    if (str_eq(word, "immutable"))
        f->immutable = true;
    else if (str_eq(word, "deprecated"))
        f->deprecated = true;
    else if (str_eq(word, "zero-is-unset"))
        f->zero_is_unset = true;
    else if (str_starts(word, "default="))
        return parse_default(p, value, f);
    else if (str_starts(word, "patch="))
        f->patch_strategy = text_copy(p, value);
    else if (str_starts(word, "key="))
        f->patch_merge_key = text_copy(p, value);
    else if (str_eq(word, "set") && node->kind == SCHEMA_ARRAY)
        node->list_type = SCHEMA_LIST_SET;
    else if (owned && str_eq(word, "atomic"))
        node->atomic = true;
    else if (owned && str_eq(word, "nullable"))
        node->nullable = true;
    else if (node->kind == SCHEMA_ARRAY &&
             (str_starts(word, "listmap=") || str_starts(word, "merge="))) {
        node->list_type = SCHEMA_LIST_MAP;
        node->list_keys = list_copy(p, value, ',');
        if (str_starts(word, "merge=")) {
            f->patch_strategy = "merge";
            f->patch_merge_key = node->list_keys[0];
        }
    } else {
        int r = parse_bound(p, word, node, leaf);
        return r == -ENOENT ? fail(p, "unknown attribute", word) : r;
    }
    return 0;
}

/* Fields marked * are always written, as Go's encoder does: their default is the zero value. */
static int zero_default(struct parser *p, struct schema_field *f)
{
    static const char *const zeros[] = {
        [SCHEMA_OBJECT] = "{}",      [SCHEMA_STRING] = "\"\"", [SCHEMA_BOOL] = "false",
        [SCHEMA_INT32] = "0",        [SCHEMA_INT64] = "0",     [SCHEMA_DOUBLE] = "0",
        [SCHEMA_QUANTITY] = "\"0\"", [SCHEMA_ARRAY] = NULL,    [SCHEMA_ANY] = NULL,
    };
    const char *zero = zeros[f->type->kind];
    return zero && !f->def ? parse_default(p, zero, f) : 0;
}

static int add_field(struct parser *p, const struct line *l)
{
    if (l->count < 2)
        return fail(p, "a field needs a type", l->words[0]);
    struct schema_field f = {.description = text_copy(p, l->description)};
    char *name = l->words[0];
    size_t len = strlen(name);
    char mark = name[len - 1];
    if (mark == '!' || mark == '*')
        name[--len] = '\0';
    f.name = text_copy(p, name);
    f.required = mark == '!' || mark == '*';
    struct schema *leaf = NULL;
    struct schema *node = parse_type(p, l->words[1], &leaf);
    if (!node)
        return fail(p, "unknown type", l->words[1]);
    f.type = node;
    for (size_t i = 2; i < l->count; i++) {
        int r = parse_attribute(p, l->words[i], &f, node, leaf);
        if (r < 0)
            return r;
    }
    f.checked = mark == '!';
    if (mark == '*') {
        int r = zero_default(p, &f);
        if (r < 0)
            return r;
    }
    p->fields = mem_grow(p->fields, p->n_fields + 1, sizeof(f));
    p->fields[p->n_fields++] = f;
    return 0;
}

static int add_column(struct parser *p, const struct line *l)
{
    if (l->count != 6 || !p->resource)
        return fail(p, "a column is NAME TYPE FORMAT PRIORITY PATH", l->words[0]);
    for (char *c = l->words[1]; *c; c++)
        if (*c == '_')
            *c = ' ';
    int64_t priority;
    if (parse_number(p, "priority", l->words[4], &priority) < 0)
        return -EINVAL;
    struct schema_column c = {
        .name = text_copy(p, l->words[1]),
        .type = text_copy(p, l->words[2]),
        .format = str_eq(l->words[3], "-") ? "" : text_copy(p, l->words[3]),
        .priority = (int)priority,
        .path = str_eq(l->words[5], "-") ? NULL : text_copy(p, l->words[5]),
        .description = text_copy(p, l->description),
    };
    p->columns = mem_grow(p->columns, p->n_columns + 1, sizeof(c));
    p->columns[p->n_columns++] = c;
    return 0;
}

static void end_type(struct parser *p)
{
    if (p->type)
        schema_type_set_fields(p->reg, p->type, p->fields, p->n_fields);
    p->type = NULL;
    p->n_fields = 0;
}

static void end_kind(struct parser *p)
{
    if (p->resource && p->n_columns) {
        size_t size = p->n_columns * sizeof(*p->columns);
        struct schema_column *copy = schema_alloc(p->reg, size);
        memcpy(copy, p->columns, size);
        p->resource->columns = copy;
        p->resource->n_columns = p->n_columns;
    }
    p->resource = NULL;
    p->n_columns = 0;
}

static struct schema *scalar(struct parser *p, enum schema_kind kind)
{
    struct schema *s = schema_alloc(p->reg, sizeof(*s));
    s->kind = kind;
    s->description = "";
    return s;
}

/* Puts apiVersion and kind (and a list's metadata) in front of the fields a type has. */
static void make_top_level(struct parser *p, struct schema *type, const char *meta)
{
    size_t count = 0;
    struct schema_field *all = mem_grow(NULL, type->n_fields + 3, sizeof(*all));
    all[count++] =
        (struct schema_field){.name = "apiVersion",
                              .description = "Group and version that the object is written in.",
                              .type = scalar(p, SCHEMA_STRING)};
    all[count++] = (struct schema_field){
        .name = "kind", .description = "Kind of the object.", .type = scalar(p, SCHEMA_STRING)};
    if (meta)
        all[count++] = (struct schema_field){
            .name = "metadata", .description = "About the list.", .type = find_type(p, meta)};
    for (size_t i = 0; i < type->n_fields; i++)
        all[count++] = type->fields[i];
    if (type->by_name)
        map_clear(type->by_name);
    schema_type_set_fields(p->reg, type, all, count);
    free(all);
}

static void make_list_type(struct parser *p, const struct schema_resource *res)
{
    _cleanup_free_ char *full = type_name(p->package, res->list_kind);
    struct schema *type = schema_type_add(p->reg, full);
    _cleanup_free_ char *text = str_printf("A list of %s.", res->plural);
    type->description = text_copy(p, text);
    struct schema *items = scalar(p, SCHEMA_ARRAY);
    items->items = res->type;
    const struct schema_field f = {
        .name = "items", .description = "The objects.", .type = items, .required = true};
    schema_type_set_fields(p->reg, type, &f, 1);
    make_top_level(p, type, "ListMeta");
}

static int kind_attribute(struct parser *p, struct schema_resource *res, const char *word,
                          const char **meta)
{
    const char *value = strchr(word, '=') ? strchr(word, '=') + 1 : "";
    if (str_eq(word, "namespaced"))
        res->namespaced = true;
    else if (str_starts(word, "short="))
        res->short_names = list_copy(p, value, ',');
    else if (str_starts(word, "categories="))
        res->categories = list_copy(p, value, ',');
    else if (str_starts(word, "sub="))
        res->subresources = list_copy(p, value, ',');
    else if (str_starts(word, "storage="))
        res->storage = text_copy(p, value);
    else if (str_starts(word, "stored="))
        res->storage_version = text_copy(p, value);
    else if (str_starts(word, "meta="))
        *meta = str_eq(value, "none") ? NULL : text_copy(p, value);
    else if (!str_eq(word, "virtual"))
        return fail(p, "unknown attribute of a kind", word);
    return 0;
}

static int add_kind(struct parser *p, const struct line *l)
{
    if (l->count < 3 || !p->version)
        return fail(p, "a kind is KIND PLURAL …, below an api line", l->words[0]);
    static const char *const none[] = {NULL};
    _cleanup_free_ char *full = type_name(p->package, l->words[1]);
    struct schema *type = map_get(&p->reg->types_by_name, full);
    if (!type)
        return fail(p, "no type of that name", l->words[1]);
    struct schema_resource *res = schema_alloc(p->reg, sizeof(*res));
    res->group = p->group;
    res->version = p->version;
    res->kind = text_copy(p, l->words[1]);
    res->type = type;
    res->short_names = res->categories = res->subresources = none;
    bool travels = str_eq(l->words[2], "-");
    char buf[SCHEMA_API_VERSION_MAX];
    res->storage_version = text_copy(p, schema_api_version(res, buf));
    const char *meta = NULL;
    for (size_t i = 3; i < l->count; i++)
        if (kind_attribute(p, res, l->words[i], &meta) < 0)
            return -EINVAL;
    make_top_level(p, type, meta);
    if (!travels) {
        res->plural = text_copy(p, l->words[2]);
        char *singular = schema_text(p->reg, res->kind, strlen(res->kind));
        for (char *c = singular; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        res->singular = singular;
    }
    if (res->storage) {
        _cleanup_free_ char *list = str_printf("%sList", res->kind);
        res->list_kind = text_copy(p, list);
        make_list_type(p, res);
    }
    schema_resource_add(p->reg, res);
    p->resource = res;
    return 0;
}

static void set_api(struct parser *p, const char *api_version)
{
    const char *slash = strchr(api_version, '/');
    p->group = schema_text(p->reg, api_version, slash ? (size_t)(slash - api_version) : 0);
    p->version = text_copy(p, slash ? slash + 1 : api_version);
}

static int begin_type(struct parser *p, const struct line *l, bool first_pass)
{
    if (l->count < 2)
        return fail(p, "a type needs a name", "type");
    _cleanup_free_ char *full = type_name(p->package, l->words[1]);
    struct schema *type = map_get(&p->reg->types_by_name, full);
    if (first_pass) {
        if (type)
            return fail(p, "defined twice", full);
        type = schema_type_add(p->reg, full);
        type->description = text_copy(p, l->description);
        for (size_t i = 2; i < l->count; i++) {
            type->atomic |= str_eq(l->words[i], "atomic");
            type->preserve_unknown |= str_eq(l->words[i], "preserve");
        }
        return 0;
    }
    p->type = type;
    return 0;
}

static int parse_line(struct parser *p, const struct line *l, bool first_pass)
{
    const char *word = l->words[0];
    if (l->indented) {
        if (first_pass)
            return 0;
        if (str_eq(word, "|"))
            return add_column(p, l);
        return p->type ? add_field(p, l) : fail(p, "a field outside of a type", word);
    }
    end_type(p);
    end_kind(p);
    if (str_eq(word, "package") && l->count == 2) {
        free(p->package);
        p->package = str_dup(l->words[1]);
        return 0;
    }
    if (!p->package)
        return fail(p, "package first", word);
    if (str_eq(word, "type"))
        return begin_type(p, l, first_pass);
    if (str_eq(word, "api") && l->count == 2) {
        set_api(p, l->words[1]);
        return 0;
    }
    if (str_eq(word, "kind"))
        return first_pass ? 0 : add_kind(p, l);
    return fail(p, "unknown directive", word);
}

static int parse_pass(struct parser *p, const char *text, size_t len, bool first_pass)
{
    const char *end = text + len;
    int r = 0;
    p->line_number = 0;
    while (r == 0 && text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t n = newline ? (size_t)(newline - text) : (size_t)(end - text);
        _cleanup_free_ char *copy = str_ndup(text, n);
        struct line l;
        p->line_number++;
        r = cut_line(p, copy, &l);
        if (r == 0 && l.count)
            r = parse_line(p, &l, first_pass);
        text += n + 1;
    }
    if (r == 0) {
        end_type(p);
        end_kind(p);
    }
    return r;
}

int schema_registry_add(struct schema_registry *reg, const char *source, const char *text,
                        size_t len, struct error *err)
{
    struct parser p = {.reg = reg, .source = source, .err = err};
    int r = parse_pass(&p, text, len, true);
    if (r == 0)
        r = parse_pass(&p, text, len, false);
    free(p.package);
    free(p.fields);
    free(p.columns);
    return r;
}
