/*
 * Decoding the protobuf form of objects; see protobuf.h.
 *
 * The table of numbers is text, one line a message, searched as it is: a request has a few dozen
 * messages, and a line is found by one pass over 17 KB. What a value is (string, quantity, map …)
 * the schema says; the wire only says how long it is.
 */
#include "kube/protobuf.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "base/times.h"
#include "kube/decode.h"
#include "kube/protobuf_text.h"

#define DEPTH_MAX 64

/* ---- the wire (protobuf encoding: varint 0, 64-bit 1, bytes 2, 32-bit 5) ---- */

struct wire {
    const uint8_t *at, *end;
};

struct wire_field {
    uint32_t number;
    unsigned type;
    uint64_t value;    /* varint and fixed */
    struct wire bytes; /* length-delimited */
};

static bool wire_varint(struct wire *w, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && w->at < w->end; shift += 7) {
        uint8_t b = *w->at++;
        value |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool wire_fixed(struct wire *w, size_t size, uint64_t *ret)
{
    if ((size_t)(w->end - w->at) < size)
        return false;
    *ret = 0;
    for (size_t i = 0; i < size; i++)
        *ret |= (uint64_t)w->at[i] << (8 * i);
    w->at += size;
    return true;
}

/* The next field; false at the end and for malformed bytes (then @bad is set). */
static bool wire_next(struct wire *w, struct wire_field *f, bool *bad)
{
    uint64_t tag, len;
    if (w->at == w->end)
        return false;
    *bad = true;
    if (!wire_varint(w, &tag) || tag >> 3 == 0 || tag >> 3 > (1u << 29))
        return false;
    *f = (struct wire_field){.number = (uint32_t)(tag >> 3), .type = tag & 7};
    switch (f->type) {
    case 0:
        if (!wire_varint(w, &f->value))
            return false;
        break;
    case 1:
    case 5:
        if (!wire_fixed(w, f->type == 1 ? 8 : 4, &f->value))
            return false;
        break;
    case 2:
        if (!wire_varint(w, &len) || len > (uint64_t)(w->end - w->at))
            return false;
        f->bytes = (struct wire){.at = w->at, .end = w->at + len};
        w->at += len;
        break;
    default:
        return false;
    }
    *bad = false;
    return true;
}

/* Field @number of a small message: the last one, as protobuf has it. */
static bool wire_find(struct wire w, uint32_t number, struct wire_field *ret)
{
    struct wire_field f;
    bool bad = false, found = false;
    while (wire_next(&w, &f, &bad)) {
        if (f.number == number) {
            *ret = f;
            found = true;
        }
    }
    return found && !bad;
}

/* ---- the table of numbers ---- */

struct number {
    char name[128]; /* field, or type of an inline message */
    bool is_inline, may_be_absent;
};

/* The line of @type ("core.v1.Pod"), after its name; NULL when there is none. */
static const char *table_line(const char *type)
{
    size_t len = strlen(type);
    for (const char *line = protobuf_numbers_text(); *line;) {
        if (!strncmp(line, type, len) && line[len] == ' ')
            return line + len;
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return NULL;
}

static bool table_find(const char *line, uint32_t number, struct number *ret)
{
    while (*line == ' ') {
        const char *word = ++line;
        size_t len = strcspn(word, "=");
        line += strcspn(line, " \n");
        if (strtoul(word + len + 1, NULL, 10) != number)
            continue;
        ret->is_inline = *word == '~';
        word += ret->is_inline;
        len -= ret->is_inline;
        if (len >= sizeof(ret->name))
            return false;
        memcpy(ret->name, word, len);
        ret->name[len] = '\0';
        ret->may_be_absent = line[-1] == '*';
        return true;
    }
    return false;
}

/* "core.v1.Pod" of "io.k8s.api.core.v1.Pod". */
static const char *short_type(const struct schema *type)
{
    const char *s = type->name ? type->name : "";
    const char *start = s;
    int dots = 0;
    for (const char *c = s + strlen(s); c > s && dots < 3; c--) {
        if (c[-1] == '.' && ++dots == 3)
            return c;
        start = c - 1;
    }
    return start;
}

/* ---- values ---- */

static json_t *text_of(struct wire w)
{
    return json_stringn((const char *)w.at, (size_t)(w.end - w.at));
}

static json_t *base64_of(struct wire w)
{
    _cleanup_free_ char *text = base64_encode(w.at, (size_t)(w.end - w.at));
    return text ? json_string(text) : NULL;
}

/* Time and MicroTime: seconds and nanoseconds; an empty one is not set. */
static json_t *time_of(struct wire w, bool micro)
{
    struct wire_field seconds = {.value = 0}, nanos = {.value = 0};
    bool any = wire_find(w, 1, &seconds);
    any |= wire_find(w, 2, &nanos);
    int64_t s = (int64_t)seconds.value;
    if (!any || s < -62135596800 || s > 253402300799)
        return any ? NULL : json_null();
    char text[TIME_TEXT_MAX];
    if (!micro)
        return json_string(time_format(s, text));
    if (s > INT64_MAX / 1000000000 || s < INT64_MIN / 1000000000)
        return NULL;
    return json_string(
        time_format_micro(s * 1000000000 + (int64_t)(nanos.value % 1000000000), text));
}

static json_t *int_or_string_of(struct wire w)
{
    struct wire_field type = {.value = 0}, number = {.value = 0}, text = {.value = 0};
    (void)wire_find(w, 1, &type);
    if (type.value == 1)
        return wire_find(w, 3, &text) ? text_of(text.bytes) : json_string("");
    (void)wire_find(w, 2, &number);
    return json_integer((int32_t)(uint32_t)number.value);
}

static json_t *double_of(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof(d));
    return json_real(d); /* NULL for what JSON has no word for */
}

/* A message with one field of bytes that hold JSON (RawExtension, FieldsV1). */
static json_t *raw_json_of(struct wire w)
{
    struct wire_field raw;
    if (!wire_find(w, 1, &raw) || raw.type != 2)
        return json_null();
    return json_parse((const char *)raw.bytes.at, (size_t)(raw.bytes.end - raw.bytes.at), NULL);
}

struct decoder {
    const struct schema_registry *reg;
    struct error *err;
    int depth;
};

static int decode_message(struct decoder *d, const struct schema *type, const char *name,
                          struct wire w, json_t *into);

/* Whether values of this kind travel as length-delimited bytes. */
static bool is_delimited(enum schema_kind kind)
{
    return kind != SCHEMA_BOOL && kind != SCHEMA_INT32 && kind != SCHEMA_INT64 &&
           kind != SCHEMA_DOUBLE;
}

/* One value that is no list or map. New reference; json_null() when it is not set; NULL when it is
 * malformed. */
static json_t *decode_value(struct decoder *d,
                            const struct schema *type, // NOLINT(misc-no-recursion)
                            const struct wire_field *f)
{
    struct wire_field inner;
    if (is_delimited(type->kind) != (f->type == 2))
        return NULL;
    switch (type->kind) {
    case SCHEMA_STRING:
        return text_of(f->bytes);
    case SCHEMA_BYTES:
        return base64_of(f->bytes);
    case SCHEMA_BOOL:
        return json_boolean(f->value != 0);
    case SCHEMA_INT32:
        return json_integer((int32_t)(uint32_t)f->value);
    case SCHEMA_INT64:
        return json_integer((json_int_t)(int64_t)f->value);
    case SCHEMA_DOUBLE:
        return f->type == 1 ? double_of(f->value) : NULL;
    case SCHEMA_QUANTITY:
        return wire_find(f->bytes, 1, &inner) && inner.type == 2 ? text_of(inner.bytes)
                                                                 : json_string("0");
    case SCHEMA_INT_OR_STRING:
        return int_or_string_of(f->bytes);
    case SCHEMA_TIME:
        return time_of(f->bytes, false);
    case SCHEMA_MICRO_TIME:
        return time_of(f->bytes, true);
    case SCHEMA_DURATION:
        return NULL; /* in no kind that is served */
    case SCHEMA_ANY:
        return raw_json_of(f->bytes);
    case SCHEMA_OBJECT: {
        json_t *obj = json_object();
        if (decode_message(d, type, short_type(type), f->bytes, obj) == 0)
            return obj;
        json_decref(obj);
        return NULL;
    }
    case SCHEMA_MAP:
    case SCHEMA_ARRAY:
        break;
    }
    return NULL;
}

/* A list as a map's value: a message of one repeated field. */
static json_t *decode_list(struct decoder *d,
                           const struct schema *items, // NOLINT(misc-no-recursion)
                           struct wire w)
{
    json_t *list = json_array();
    struct wire_field f;
    bool bad = false;
    while (wire_next(&w, &f, &bad)) {
        json_t *value = f.number == 1 ? decode_value(d, items, &f) : NULL;
        if (!value) {
            bad = true;
            break;
        }
        (void)json_array_append_new(list, value);
    }
    if (!bad)
        return list;
    json_decref(list);
    return NULL;
}

/* An entry of a map: a message of key and value. */
static json_t *decode_entry(struct decoder *d,
                            const struct schema *items, // NOLINT(misc-no-recursion)
                            const struct wire_field *f, char **ret_key)
{
    struct wire_field key, value;
    if (f->type != 2)
        return NULL;
    _cleanup_json_ json_t *text =
        wire_find(f->bytes, 1, &key) && key.type == 2 ? text_of(key.bytes) : json_string("");
    if (!text || strlen(json_string_value(text)) != json_string_length(text))
        return NULL;
    *ret_key = str_dup(json_string_value(text));
    bool found = wire_find(f->bytes, 2, &value);
    if (found && items->kind == SCHEMA_ARRAY)
        return value.type == 2 ? decode_list(d, items->items, value.bytes) : NULL;
    if (found)
        return decode_value(d, items, &value);
    return items->kind == SCHEMA_STRING || items->kind == SCHEMA_BYTES ? json_string("") : NULL;
}

static json_t *child(json_t *obj, const char *name, json_t *(*make)(void))
{
    json_t *c = json_object_get(obj, name);
    if (!c) {
        c = make();
        (void)json_object_set_new(obj, name, c);
    }
    return c;
}

/* What a Go client writes for a field that nobody has set. */
static bool is_zero(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_STRING:
        return json_string_length(v) == 0;
    case JSON_INTEGER:
        return json_integer_value(v) == 0;
    case JSON_REAL:
        return json_real_value(v) == 0;
    case JSON_FALSE:
    case JSON_NULL:
        return true;
    case JSON_OBJECT:
        return json_object_size(v) == 0;
    case JSON_ARRAY:
    case JSON_TRUE:
        break;
    }
    return false;
}

static int decode_field(struct decoder *d, const struct schema *type, // NOLINT(misc-no-recursion)
                        const struct number *number, const struct wire_field *f, json_t *into)
{
    const struct schema_field *field = schema_field_get(type, number->name);
    if (!field) /* upstream has dropped it: nothing reads it */
        return 0;
    json_t *value;
    if (field->type->kind == SCHEMA_MAP) {
        _cleanup_free_ char *key = NULL;
        value = decode_entry(d, field->type->items, f, &key);
        if (value)
            return json_object_set_new(child(into, number->name, json_object), key, value);
    } else if (field->type->kind == SCHEMA_ARRAY) {
        value = decode_value(d, field->type->items, f);
        if (value)
            return json_array_append_new(child(into, number->name, json_array), value);
    } else {
        value = decode_value(d, field->type, f);
        if (value && (json_is_null(value) || (!number->may_be_absent && is_zero(value)))) {
            json_decref(value);
            return 0;
        }
        if (value)
            return json_object_set_new(into, number->name, value);
    }
    if (d->err && d->err->code)
        return -EINVAL;
    return error_set(d->err, -EINVAL, "malformed value of %s.%s", short_type(type), number->name);
}

/* The message @name (of numbers) into @into, an object of @type. An inline message has numbers of
 * its own, but its fields are @type's. */
static int decode_message(struct decoder *d, const struct schema *type, // NOLINT(misc-no-recursion)
                          const char *name, struct wire w, json_t *into)
{
    const char *line = table_line(name);
    struct wire_field f;
    struct number number;
    bool bad = false;
    int code = 0;
    if (!line && w.at != w.end)
        return error_set(d->err, -EINVAL, "no protobuf form of %s is known", name);
    if (++d->depth > DEPTH_MAX)
        code = error_set(d->err, -EINVAL, "nested too deeply");
    while (!code && wire_next(&w, &f, &bad)) {
        if (!table_find(line, f.number, &number))
            code = error_set(d->err, -EINVAL, "unknown protobuf field %" PRIu32 " of %s", f.number,
                             name);
        else if (number.is_inline && f.type == 2)
            code = decode_message(d, type, number.name, f.bytes, into);
        else
            code = decode_field(d, type, &number, &f, into);
    }
    d->depth--;
    if (!code && bad)
        code = error_set(d->err, -EINVAL, "malformed message %s", name);
    return code;
}

bool protobuf_is(const void *data, size_t len)
{
    return len >= 4 && !memcmp(data, "k8s\0", 4);
}

/* A string field of TypeMeta. */
static char *type_meta(struct wire w, uint32_t number)
{
    struct wire_field f;
    if (!wire_find(w, number, &f) || f.type != 2)
        return str_dup("");
    return str_ndup((const char *)f.bytes.at, (size_t)(f.bytes.end - f.bytes.at));
}

/* The kind; one that only travels (DeleteOptions) is known under every version. */
static const struct schema_resource *find_kind(const struct schema_registry *reg,
                                               const char *api_version, const char *kind)
{
    const struct schema_resource *res = schema_by_api_version(reg, api_version, kind);
    for (size_t i = 0; !res; i++) {
        const struct schema_resource *other = schema_resource_at(reg, i);
        if (!other)
            break;
        if (!other->plural && str_eq(other->kind, kind))
            res = other;
    }
    return res;
}

int protobuf_decode(const struct schema_registry *reg, const void *data, size_t len, json_t **ret,
                    struct error *err)
{
    struct decoder d = {.reg = reg, .err = err};
    struct wire_field meta, raw;
    if (!protobuf_is(data, len))
        return error_set(err, -EINVAL, "the body is not a Kubernetes protobuf message");
    struct wire w = {.at = (const uint8_t *)data + 4, .end = (const uint8_t *)data + len};
    if (!wire_find(w, 1, &meta) || meta.type != 2)
        return error_set(err, -EINVAL, "the protobuf message does not say what kind it is");
    _cleanup_free_ char *api_version = type_meta(meta.bytes, 1);
    _cleanup_free_ char *kind = type_meta(meta.bytes, 2);
    const struct schema_resource *res = find_kind(reg, api_version, kind);
    if (!res)
        return error_set(err, -EINVAL, "no kind \"%.64s\" is known in version \"%.64s\"", kind,
                         api_version);
    if (!wire_find(w, 2, &raw))
        raw = (struct wire_field){.type = 2};
    if (raw.type != 2)
        return error_set(err, -EINVAL, "malformed protobuf message");
    json_t *obj = json_object();
    (void)json_object_set_new(obj, "apiVersion", json_string(api_version));
    (void)json_object_set_new(obj, "kind", json_string(kind));
    int code = decode_message(&d, res->type, short_type(res->type), raw.bytes, obj);
    if (code < 0)
        json_decref(obj);
    else
        *ret = obj;
    return code < 0 ? -EINVAL : 0;
}
