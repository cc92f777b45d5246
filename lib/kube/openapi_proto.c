/*
 * An OpenAPI v2 document in the protobuf form of gnostic's openapi.v2.Document, which kubectl asks
 * for. The messages are tables of (JSON key, field number, form); keys that begin with "x-" go to
 * the vendor extensions, whose values travel as YAML text, for which JSON is good.
 */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "kube/openapi.h"

enum form { TEXT, FLAG, TEXTS, ANY, ANYS, MESSAGE, MESSAGES, NAMED, CUSTOM };

struct message;
struct member {
    const char *key;
    unsigned number;
    enum form form;
    const struct message *message; /* MESSAGE, MESSAGES, NAMED: of the value */
    int (*custom)(const json_t *value, unsigned number, struct strbuf *out);
};

/* extension: number of vendor_extension, 0 for none. */
struct message {
    const char *name;
    unsigned extension;
    const struct member *members; /* ends with a NULL key */
};

static int encode_message(const struct message *m, const json_t *value, struct strbuf *out);

static void add_varint(struct strbuf *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        strbuf_addc(out, (char)(v | 0x80));
    strbuf_addc(out, (char)v);
}

static void add_bytes(struct strbuf *out, unsigned number, const char *data, size_t len)
{
    add_varint(out, number << 3 | 2);
    add_varint(out, len);
    strbuf_add(out, data ? data : "", len);
}

static void add_text(struct strbuf *out, unsigned number, const char *text)
{
    add_bytes(out, number, text, strlen(text));
}

static void add_any(struct strbuf *out, unsigned number, const json_t *value)
{
    _cleanup_strbuf_ struct strbuf yaml = STRBUF_INIT, any = STRBUF_INIT;
    json_encode(value, &yaml);
    add_text(&any, 2, strbuf_text(&yaml));
    add_bytes(out, number, any.data, any.len);
}

static void add_extension(struct strbuf *out, unsigned number, const char *key, const json_t *value)
{
    _cleanup_strbuf_ struct strbuf named = STRBUF_INIT;
    add_text(&named, 1, key);
    add_any(&named, 2, value);
    add_bytes(out, number, named.data, named.len);
}

/* A nested message. */
static int add_message(struct strbuf *out, unsigned number, const struct message *m,
                       const json_t *value)
{
    _cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
    int r = encode_message(m, value, &body);
    if (r == 0)
        add_bytes(out, number, body.data, body.len);
    return r;
}

/* A map as repeated (name, value) pairs, in field @number. */
static int add_pairs(struct strbuf *out, unsigned number, const struct message *m,
                     const json_t *map)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, key, value) {
        _cleanup_strbuf_ struct strbuf pair = STRBUF_INIT;
        add_text(&pair, 1, key);
        int r = add_message(&pair, 2, m, value);
        if (r < 0)
            return r;
        add_bytes(out, number, pair.data, pair.len);
    }
    return 0;
}

/* ---- the messages ---- */

extern const struct message SCHEMA_MESSAGE;
static int custom_parameters(const json_t *value, unsigned number, struct strbuf *out);
static int custom_responses(const json_t *value, unsigned number, struct strbuf *out);
static int custom_type(const json_t *value, unsigned number, struct strbuf *out);
static int custom_items(const json_t *value, unsigned number, struct strbuf *out);
static int custom_additional(const json_t *value, unsigned number, struct strbuf *out);
static int custom_response_schema(const json_t *value, unsigned number, struct strbuf *out);
static int custom_paths(const json_t *value, unsigned number, struct strbuf *out);

static const struct member SCHEMA_MEMBERS[] = {
    {"$ref", 1, TEXT},
    {"format", 2, TEXT},
    {"title", 3, TEXT},
    {"description", 4, TEXT},
    {"default", 5, ANY},
    {"required", 19, TEXTS},
    {"enum", 20, ANYS},
    {"additionalProperties", 21, CUSTOM, .custom = custom_additional},
    {"type", 22, CUSTOM, .custom = custom_type},
    {"items", 23, CUSTOM, .custom = custom_items},
    {"allOf", 24, MESSAGES, &SCHEMA_MESSAGE},
    {"properties", 25, NAMED, &SCHEMA_MESSAGE},
    {NULL},
};
const struct message SCHEMA_MESSAGE = {"schema", 31, SCHEMA_MEMBERS};

static const struct member BODY_MEMBERS[] = {
    {"description", 1, TEXT},
    {"name", 2, TEXT},
    {"in", 3, TEXT},
    {"required", 4, FLAG},
    {"schema", 5, MESSAGE, &SCHEMA_MESSAGE},
    {NULL},
};
static const struct message BODY_PARAMETER = {"body parameter", 6, BODY_MEMBERS};

static const struct member QUERY_MEMBERS[] = {
    {"required", 1, FLAG}, {"in", 2, TEXT},     {"description", 3, TEXT},  {"name", 4, TEXT},
    {"type", 6, TEXT},     {"format", 7, TEXT}, {"uniqueItems", 20, FLAG}, {NULL},
};
static const struct message QUERY_PARAMETER = {"query parameter", 23, QUERY_MEMBERS};

static const struct member PATH_MEMBERS[] = {
    {"required", 1, FLAG}, {"in", 2, TEXT},     {"description", 3, TEXT},  {"name", 4, TEXT},
    {"type", 5, TEXT},     {"format", 6, TEXT}, {"uniqueItems", 19, FLAG}, {NULL},
};
static const struct message PATH_PARAMETER = {"path parameter", 22, PATH_MEMBERS};

static const struct member RESPONSE_MEMBERS[] = {
    {"description", 1, TEXT},
    {"schema", 2, CUSTOM, .custom = custom_response_schema},
    {NULL},
};
static const struct message RESPONSE = {"response", 5, RESPONSE_MEMBERS};

static const struct member OPERATION_MEMBERS[] = {
    {"tags", 1, TEXTS},
    {"summary", 2, TEXT},
    {"description", 3, TEXT},
    {"operationId", 5, TEXT},
    {"produces", 6, TEXTS},
    {"consumes", 7, TEXTS},
    {"parameters", 8, CUSTOM, .custom = custom_parameters},
    {"responses", 9, CUSTOM, .custom = custom_responses},
    {"schemes", 10, TEXTS},
    {NULL},
};
static const struct message OPERATION = {"operation", 13, OPERATION_MEMBERS};

static const struct member ITEM_MEMBERS[] = {
    {"get", 2, MESSAGE, &OPERATION},
    {"put", 3, MESSAGE, &OPERATION},
    {"post", 4, MESSAGE, &OPERATION},
    {"delete", 5, MESSAGE, &OPERATION},
    {"options", 6, MESSAGE, &OPERATION},
    {"head", 7, MESSAGE, &OPERATION},
    {"patch", 8, MESSAGE, &OPERATION},
    {"parameters", 9, CUSTOM, .custom = custom_parameters},
    {NULL},
};
static const struct message PATH_ITEM = {"path item", 10, ITEM_MEMBERS};

static const struct member INFO_MEMBERS[] = {
    {"title", 1, TEXT}, {"version", 2, TEXT}, {"description", 3, TEXT}, {NULL}};
static const struct message INFO = {"info", 7, INFO_MEMBERS};

static const struct member DOCUMENT_MEMBERS[] = {
    {"swagger", 1, TEXT},
    {"info", 2, MESSAGE, &INFO},
    {"paths", 8, CUSTOM, .custom = custom_paths},
    {"definitions", 9, NAMED, &SCHEMA_MESSAGE},
    {NULL},
};
static const struct message DOCUMENT = {"document", 16, DOCUMENT_MEMBERS};

/* ---- what is more than a table ---- */

/* Each writes whole fields of the number that its table gives. */
static int custom_type(const json_t *value, unsigned number, struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf item = STRBUF_INIT;
    if (!json_is_string(value))
        return -EINVAL;
    add_text(&item, 1, json_string_value(value));
    add_bytes(out, number, item.data, item.len);
    return 0;
}

static int custom_items(const json_t *value, unsigned number, struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf item = STRBUF_INIT;
    int r = add_message(&item, 1, &SCHEMA_MESSAGE, value);
    if (r == 0)
        add_bytes(out, number, item.data, item.len);
    return r;
}

static int custom_additional(const json_t *value, unsigned number, struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf item = STRBUF_INIT;
    int r = 0;
    if (json_is_boolean(value)) {
        add_varint(&item, 2 << 3);
        add_varint(&item, json_is_true(value));
    } else {
        r = add_message(&item, 1, &SCHEMA_MESSAGE, value);
    }
    if (r == 0)
        add_bytes(out, number, item.data, item.len);
    return r;
}

static int custom_response_schema(const json_t *value, unsigned number, struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf item = STRBUF_INIT;
    int r = add_message(&item, 1, &SCHEMA_MESSAGE, value);
    if (r == 0)
        add_bytes(out, number, item.data, item.len);
    return r;
}

/* ParametersItem { Parameter { BodyParameter | NonBodyParameter { query | path } } }. */
static int add_parameter(const json_t *value, unsigned number, struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf inner = STRBUF_INIT, parameter = STRBUF_INIT, item = STRBUF_INIT;
    const char *in = json_path_string(value, "in");
    int r;
    if (str_eq(in, "body")) {
        r = add_message(&parameter, 1, &BODY_PARAMETER, value);
    } else {
        bool query = str_eq(in, "query");
        r = add_message(&inner, query ? 3 : 4, query ? &QUERY_PARAMETER : &PATH_PARAMETER, value);
        add_bytes(&parameter, 2, inner.data, inner.len);
    }
    add_bytes(&item, 1, parameter.data, parameter.len);
    add_bytes(out, number, item.data, item.len);
    return r;
}

static int custom_parameters(const json_t *value, unsigned number, struct strbuf *out)
{
    for (size_t i = 0; i < json_array_size(value); i++) {
        int r = add_parameter(json_array_get(value, i), number, out);
        if (r < 0)
            return r;
    }
    return 0;
}

static int custom_responses(const json_t *value, unsigned number, struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf all = STRBUF_INIT;
    const char *code;
    json_t *response;
    json_object_foreach((json_t *)(uintptr_t)value, code, response) {
        _cleanup_strbuf_ struct strbuf item = STRBUF_INIT, pair = STRBUF_INIT;
        int r = add_message(&item, 1, &RESPONSE, response);
        if (r < 0)
            return r;
        add_text(&pair, 1, code);
        add_bytes(&pair, 2, item.data, item.len);
        add_bytes(&all, 1, pair.data, pair.len);
    }
    add_bytes(out, number, all.data, all.len);
    return 0;
}

static int custom_paths(const json_t *value, unsigned number, struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf all = STRBUF_INIT;
    int r = add_pairs(&all, 2, &PATH_ITEM, value);
    if (r == 0)
        add_bytes(out, number, all.data, all.len);
    return r;
}

static int encode_member(const struct member *m, const json_t *value, // NOLINT(misc-no-recursion)
                         struct strbuf *out)
{
    int r = 0;
    switch (m->form) {
    case TEXT:
        if (!json_is_string(value))
            return -EINVAL;
        add_text(out, m->number, json_string_value(value));
        break;
    case FLAG:
        add_varint(out, m->number << 3);
        add_varint(out, json_is_true(value));
        break;
    case TEXTS:
        for (size_t i = 0; i < json_array_size(value); i++)
            add_text(out, m->number, json_string_value(json_array_get(value, i)));
        break;
    case ANY:
        add_any(out, m->number, value);
        break;
    case ANYS:
        for (size_t i = 0; i < json_array_size(value); i++)
            add_any(out, m->number, json_array_get(value, i));
        break;
    case MESSAGE:
        return add_message(out, m->number, m->message, value);
    case MESSAGES:
        for (size_t i = 0; r == 0 && i < json_array_size(value); i++)
            r = add_message(out, m->number, m->message, json_array_get(value, i));
        break;
    case NAMED: {
        _cleanup_strbuf_ struct strbuf pairs = STRBUF_INIT;
        r = add_pairs(&pairs, 1, m->message, value);
        add_bytes(out, m->number, pairs.data, pairs.len);
        break;
    }
    case CUSTOM:
        return m->custom(value, m->number, out);
    }
    return r;
}

static int encode_message(const struct message *m, const json_t *value, // NOLINT(misc-no-recursion)
                          struct strbuf *out)
{
    const char *key;
    json_t *v;
    if (!json_is_object(value))
        return -EINVAL;
    json_object_foreach((json_t *)(uintptr_t)value, key, v) {
        const struct member *found = m->members;
        int r = 0;
        while (found->key && !str_eq(found->key, key))
            found++;
        if (found->key)
            r = encode_member(found, v, out);
        else if (str_starts(key, "x-") && m->extension)
            add_extension(out, m->extension, key, v);
        else
            r = -EINVAL;
        if (r < 0)
            return r;
    }
    return 0;
}

int openapi_v2_proto(const json_t *document, struct strbuf *out)
{
    size_t start = out->len;
    int r = encode_message(&DOCUMENT, document, out);
    if (r < 0)
        strbuf_truncate(out, start);
    return r;
}
