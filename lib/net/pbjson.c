/* Protocol buffers as JSON; see pbjson.h. */
#include "net/pbjson.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

/* protoc makes "map<K, V> name" a repeated message NameEntry of key = 1 and value = 2. */
static bool is_map(const ProtobufCFieldDescriptor *f)
{
    if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *d = f->descriptor;
    return d->n_fields == 2 && str_ends(d->name, "Entry") && str_eq(d->fields[0].name, "key") &&
           str_eq(d->fields[1].name, "value") && d->fields[0].type == PROTOBUF_C_TYPE_STRING;
}

static size_t element_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return sizeof(int64_t);
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(double);
    case PROTOBUF_C_TYPE_FLOAT:
        return sizeof(float);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return sizeof(int32_t);
    }
}

/* ---- to JSON ---- */
static json_t *bytes_to_json(const ProtobufCBinaryData *b)
{
    size_t size = (b->len + 2) / 3 * 4 + 1;
    _cleanup_free_ char *text = mem_zalloc(size);
    (void)EVP_EncodeBlock((unsigned char *)text, b->data, (int)b->len);
    return json_string(text);
}

static json_t *enum_to_json(const ProtobufCFieldDescriptor *f, int value)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(f->descriptor, value);
    return v ? json_string(v->name) : json_integer(value);
}

static json_t *value_to_json(const ProtobufCFieldDescriptor *f, const void *p)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer(*(const int32_t *)p);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)p);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_integer((json_int_t) * (const int64_t *)p);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_real(*(const double *)p);
    case PROTOBUF_C_TYPE_FLOAT:
        return json_real((double)*(const float *)p);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)p);
    case PROTOBUF_C_TYPE_ENUM:
        return enum_to_json(f, *(const int *)p);
    case PROTOBUF_C_TYPE_STRING:
        return json_text(*(char *const *)p);
    case PROTOBUF_C_TYPE_BYTES:
        return bytes_to_json(p);
    case PROTOBUF_C_TYPE_MESSAGE:
        return pbjson_from_message(*(ProtobufCMessage *const *)p);
    }
    return json_null();
}

static bool is_default(const ProtobufCFieldDescriptor *f, const void *p)
{
    static const uint8_t zero[sizeof(double)];
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return !*(char *const *)p || !**(char *const *)p;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return !*(ProtobufCMessage *const *)p;
    if (f->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)p)->len == 0;
    return memcmp(p, zero, element_size(f->type)) == 0;
}

static json_t *repeated_to_json(const ProtobufCFieldDescriptor *f, const uint8_t *items, size_t n)
{
    json_t *list = is_map(f) ? json_object() : json_array();
    for (size_t i = 0; i < n; i++) {
        const void *item = items + i * element_size(f->type);
        if (!json_is_object(list)) {
            (void)json_array_append_new(list, value_to_json(f, item));
            continue;
        }
        const uint8_t *entry = *(const uint8_t *const *)item;
        const ProtobufCFieldDescriptor *fields =
            ((const ProtobufCMessageDescriptor *)f->descriptor)->fields;
        const char *key = *(char *const *)(const void *)(entry + fields[0].offset);
        (void)json_object_set_new(list, key ? key : "",
                                  value_to_json(&fields[1], entry + fields[1].offset));
    }
    return list;
}

json_t *pbjson_from_message(const ProtobufCMessage *message)
{
    json_t *j = json_object();
    const uint8_t *base = (const uint8_t *)message;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
        const uint8_t *p = base + f->offset;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t n = *(const size_t *)(const void *)(base + f->quantifier_offset);
            if (n)
                (void)json_object_set_new(
                    j, f->name, repeated_to_json(f, *(const uint8_t *const *)(const void *)p, n));
        } else if (f->type == PROTOBUF_C_TYPE_ENUM || !is_default(f, p)) {
            (void)json_object_set_new(j, f->name, value_to_json(f, p));
        }
    }
    return j;
}

/* ---- from JSON ---- */
static int integer_of(const json_t *j, int64_t min, int64_t max, int64_t *ret)
{
    int64_t v;
    if (json_is_string(j)) { /* as others write 64-bit numbers */
        const char *s = json_string_value(j);
        char *end;
        errno = 0;
        v = strtoll(s, &end, 10);
        if (errno || end == s || *end)
            return -EINVAL;
    } else if (json_is_integer(j)) {
        v = json_integer_value(j);
    } else {
        return -EINVAL;
    }
    if (v < min || v > max)
        return -ERANGE;
    *ret = v;
    return 0;
}

static int bytes_of(const json_t *j, ProtobufCBinaryData *ret)
{
    if (!json_is_string(j))
        return -EINVAL;
    size_t len = json_string_length(j);
    if (len % 4 || len > INT32_MAX)
        return -EINVAL;
    const char *text = json_string_value(j);
    ret->data = mem_zalloc(len / 4 * 3 + 1);
    int n = EVP_DecodeBlock(ret->data, (const unsigned char *)text, (int)len);
    if (n < 0) {
        free(TAKE_PTR(ret->data));
        return -EINVAL;
    }
    size_t padding = 0;
    while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
        padding++;
    ret->len = (size_t)n - padding;
    return 0;
}

static int value_of(const ProtobufCFieldDescriptor *f, const json_t *j, void *p, struct error *err)
{
    int64_t v = 0;
    int r = 0;
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        r = integer_of(j, INT32_MIN, INT32_MAX, &v);
        *(int32_t *)p = (int32_t)v;
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        r = integer_of(j, 0, UINT32_MAX, &v);
        *(uint32_t *)p = (uint32_t)v;
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        r = integer_of(j, INT64_MIN, INT64_MAX, &v);
        *(int64_t *)p = v;
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        r = json_is_number(j) ? 0 : -EINVAL;
        *(double *)p = json_number_value(j);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        r = json_is_number(j) ? 0 : -EINVAL;
        *(float *)p = (float)json_number_value(j);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        r = json_is_boolean(j) ? 0 : -EINVAL;
        *(protobuf_c_boolean *)p = json_is_true(j);
        break;
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumValue *e =
            json_is_string(j)
                ? protobuf_c_enum_descriptor_get_value_by_name(f->descriptor, json_string_value(j))
                : NULL;
        r = e ? 0 : integer_of(j, INT32_MIN, INT32_MAX, &v);
        *(int *)p = e ? e->value : (int)v;
        break;
    }
    case PROTOBUF_C_TYPE_STRING:
        r = json_is_string(j) && strlen(json_string_value(j)) == json_string_length(j) ? 0
                                                                                       : -EINVAL;
        if (r == 0)
            *(char **)p = str_dup(json_string_value(j));
        break;
    case PROTOBUF_C_TYPE_BYTES:
        r = bytes_of(j, p);
        break;
    case PROTOBUF_C_TYPE_MESSAGE: {
        ProtobufCMessage *m = pbjson_to_message(f->descriptor, j, err);
        if (!m)
            return -EINVAL;
        *(ProtobufCMessage **)p = m;
        break;
    }
    }
    return r < 0 ? error_set_field(err, r, f->name, "%s: wrong type or out of range", f->name) : 0;
}

static int map_of(const ProtobufCFieldDescriptor *f, const json_t *j, uint8_t *items, size_t *n,
                  struct error *err)
{
    const ProtobufCMessageDescriptor *d = f->descriptor;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)j, key, value) {
        uint8_t *entry = mem_zalloc(d->sizeof_message);
        d->message_init((ProtobufCMessage *)(void *)entry);
        ((ProtobufCMessage **)(void *)items)[(*n)++] = (ProtobufCMessage *)(void *)entry;
        *(char **)(void *)(entry + d->fields[0].offset) = str_dup(key);
        int r = value_of(&d->fields[1], value, entry + d->fields[1].offset, err);
        if (r < 0)
            return error_prefix(err, r, "%s[%s]", f->name, key);
    }
    return 0;
}

static int repeated_of(const ProtobufCFieldDescriptor *f, const json_t *j, uint8_t *base,
                       struct error *err)
{
    bool map = is_map(f);
    if (map ? !json_is_object(j) : !json_is_array(j))
        return error_set_field(err, -EINVAL, f->name, "%s: not %s", f->name,
                               map ? "an object" : "a list");
    size_t count = map ? json_object_size(j) : json_array_size(j);
    size_t *n = (size_t *)(void *)(base + f->quantifier_offset);
    size_t size = element_size(f->type);
    uint8_t *items = mem_zalloc(count ? count * size : 1);
    *(uint8_t **)(void *)(base + f->offset) = items;
    if (map)
        return map_of(f, j, items, n, err);
    for (size_t i = 0; i < count; i++) {
        int r = value_of(f, json_array_get(j, i), items + i * size, err);
        if (r < 0)
            return error_prefix(err, r, "%s[%zu]", f->name, i);
        *n = i + 1;
    }
    return 0;
}

ProtobufCMessage *pbjson_to_message(const ProtobufCMessageDescriptor *type, const json_t *j,
                                    struct error *err)
{
    if (!json_is_object(j)) {
        (void)error_set(err, -EINVAL, "%s: not an object", type->short_name);
        return NULL;
    }
    ProtobufCMessage *message = mem_zalloc(type->sizeof_message);
    type->message_init(message);
    uint8_t *base = (uint8_t *)message;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)j, key, value) {
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field_by_name(type, key);
        int r;
        if (!f)
            r = error_set_field(err, -EINVAL, key, "%s: %s has no such field", key,
                                type->short_name);
        else if (json_is_null(value))
            r = 0;
        else if (f->label == PROTOBUF_C_LABEL_REPEATED)
            r = repeated_of(f, value, base, err);
        else if ((r = value_of(f, value, base + f->offset, err)) < 0 &&
                 f->type == PROTOBUF_C_TYPE_MESSAGE)
            r = error_prefix(err, r, "%s", f->name);
        if (r < 0) {
            protobuf_c_message_free_unpacked(message, NULL);
            return NULL;
        }
    }
    return message;
}

ProtobufCMessage *pbjson_copy(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    _cleanup_free_ uint8_t *bytes = mem_zalloc(len + 1);
    (void)protobuf_c_message_pack(message, bytes);
    ProtobufCMessage *copy = protobuf_c_message_unpack(message->descriptor, NULL, len, bytes);
    if (!copy)
        abort();
    return copy;
}
