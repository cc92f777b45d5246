/*
 * Decoding: bytes become a tree whose every value has the type that the schema says. Unknown
 * fields are dropped and reported, nulls are dropped, values that have a canonical form
 * (quantities, times) get it. The first value of a wrong type ends it, named by its path.
 */
#include "kube/object.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/times.h"
#include "kube/meta.h"
#include "kube/object_internal.h"
#include "kube/quantity.h"
#include "kube/status.h"
#include "kube/yaml.h"

#define MAX_UNKNOWN 100 /* unknown fields that are reported */

struct decoder {
    json_t *strict; /* texts of unknown and duplicate fields */
    struct error *err;
};

int field_validation_parse(const char *text, enum field_validation *ret)
{
    if (!text || !*text || str_eq(text, "Warn"))
        *ret = FIELD_VALIDATION_WARN;
    else if (str_eq(text, "Ignore"))
        *ret = FIELD_VALIDATION_IGNORE;
    else if (str_eq(text, "Strict"))
        *ret = FIELD_VALIDATION_STRICT;
    else
        return -EINVAL;
    return 0;
}

static const char *json_type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

static int fail_text(struct decoder *d, const struct field_path *path, const char *text)
{
    _cleanup_strbuf_ struct strbuf where = STRBUF_INIT;
    field_path_write(path, &where);
    return error_set_field(d->err, -EINVAL, strbuf_text(&where), "%s: %s", strbuf_text(&where),
                           text);
}

static int fail_type(struct decoder *d, const struct field_path *path, const char *expected,
                     const json_t *value)
{
    _cleanup_free_ char *text = str_printf("expected %s, got %s", expected, json_type_name(value));
    return fail_text(d, path, text);
}

static int decode_int(struct decoder *d, const struct schema *type, const json_t *v,
                      const struct field_path *path)
{
    bool small = type->kind == SCHEMA_INT32 || type->kind == SCHEMA_INT_OR_STRING;
    const char *expected = small ? "an integer (32 bits)" : "an integer";
    if (!json_is_integer(v))
        return fail_type(d, path, expected, v);
    json_int_t i = json_integer_value(v);
    if (small && (i < INT32_MIN || i > INT32_MAX))
        return fail_text(d, path, "the number does not fit into 32 bits");
    return 0;
}

static int decode_quantity(struct decoder *d, const json_t *v, const struct field_path *path,
                           json_t **ret)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (json_is_string(v))
        strbuf_adds(&text, json_string_value(v));
    else if (json_is_number(v))
        json_encode(v, &text);
    else
        return fail_type(d, path, "a quantity", v);
    struct quantity q;
    struct error err = ERROR_INIT;
    if (quantity_parse(strbuf_text(&text), &q, &err) < 0)
        return fail_text(d, path, err.text);
    char buf[QUANTITY_TEXT_MAX];
    *ret = json_string(quantity_format(&q, buf));
    return 0;
}

static int decode_time(struct decoder *d, const struct schema *type, const json_t *v,
                       const struct field_path *path, json_t **ret)
{
    int64_t ns;
    char buf[TIME_TEXT_MAX];
    if (!json_is_string(v))
        return fail_type(d, path, "a time", v);
    if (time_parse(json_string_value(v), &ns) < 0)
        return fail_text(d, path, "expected a time such as \"2006-01-02T15:04:05Z\"");
    int64_t seconds = ns / 1000000000 - (ns % 1000000000 < 0);
    *ret = json_string(type->kind == SCHEMA_TIME ? time_format(seconds, buf)
                                                 : time_format_micro(ns, buf));
    return 0;
}

bool object_base64_valid(const char *text)
{
    size_t digits = 0, padding = 0;
    for (; *text; text++) {
        char c = *text;
        if (c == '\n' || c == '\r')
            continue;
        bool digit = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                     c == '+' || c == '/';
        if ((!digit && c != '=') || (digit && padding))
            return false;
        digits += digit;
        padding += c == '=';
    }
    return padding < 3 && (digits + padding) % 4 == 0;
}

/* A value that is neither object, list nor map. *ret stays NULL when it is kept as it is. */
static int decode_scalar(struct decoder *d, const struct schema *type, const json_t *v,
                         const struct field_path *path, json_t **ret)
{
    int64_t ms;
    switch (type->kind) {
    case SCHEMA_STRING:
        return json_is_string(v) ? 0 : fail_type(d, path, "a string", v);
    case SCHEMA_BOOL:
        return json_is_boolean(v) ? 0 : fail_type(d, path, "a boolean", v);
    case SCHEMA_INT_OR_STRING:
        if (json_is_string(v))
            return 0;
        return json_is_integer(v) ? decode_int(d, type, v, path)
                                  : fail_type(d, path, "an integer or a string", v);
    case SCHEMA_INT32:
    case SCHEMA_INT64:
        return decode_int(d, type, v, path);
    case SCHEMA_DOUBLE:
        return json_is_number(v) ? 0 : fail_type(d, path, "a number", v);
    case SCHEMA_QUANTITY:
        return decode_quantity(d, v, path, ret);
    case SCHEMA_TIME:
    case SCHEMA_MICRO_TIME:
        return decode_time(d, type, v, path, ret);
    case SCHEMA_DURATION:
        if (!json_is_string(v))
            return fail_type(d, path, "a duration", v);
        return duration_parse(json_string_value(v), &ms) < 0
                   ? fail_text(d, path, "expected a duration such as \"1m30s\"")
                   : 0;
    case SCHEMA_BYTES:
        if (!json_is_string(v))
            return fail_type(d, path, "a base64 string", v);
        return object_base64_valid(json_string_value(v))
                   ? 0
                   : fail_text(d, path, "illegal base64 data");
    case SCHEMA_OBJECT:
    case SCHEMA_MAP:
    case SCHEMA_ARRAY:
    case SCHEMA_ANY:
        break;
    }
    return 0;
}

/* What null is as an element of a list or map: Go's zero value. */
static json_t *zero_value(const struct schema *type)
{
    switch (type->kind) {
    case SCHEMA_OBJECT:
    case SCHEMA_MAP:
        return json_object();
    case SCHEMA_ARRAY:
        return json_array();
    case SCHEMA_BOOL:
        return json_false();
    case SCHEMA_INT32:
    case SCHEMA_INT64:
    case SCHEMA_DOUBLE:
    case SCHEMA_INT_OR_STRING:
        return json_integer(0);
    case SCHEMA_QUANTITY:
        return json_string("0");
    case SCHEMA_STRING:
    case SCHEMA_BYTES:
    case SCHEMA_DURATION:
        return json_string("");
    case SCHEMA_TIME:
    case SCHEMA_MICRO_TIME:
    case SCHEMA_ANY:
        break;
    }
    return json_null();
}

static int decode_value(struct decoder *d, const struct schema *type, json_t *v,
                        const struct field_path *path, json_t **ret);

static void unknown_field(struct decoder *d, const struct field_path *path)
{
    if (json_array_size(d->strict) >= MAX_UNKNOWN)
        return;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    strbuf_adds(&text, "unknown field \"");
    field_path_write(path, &text);
    strbuf_addc(&text, '"');
    (void)json_array_append_new(d->strict, json_text(text.data));
}

static int decode_object(struct decoder *d, const struct schema *type, // NOLINT(misc-no-recursion)
                         json_t *v, const struct field_path *path)
{
    const char *key;
    json_t *member;
    void *next;
    if (!json_is_object(v))
        return fail_type(d, path, "an object", v);
    json_object_foreach_safe(v, next, key, member) {
        const struct schema_field *f = schema_field_get(type, key);
        if (!f) {
            if (!type->preserve_unknown) {
                unknown_field(d, FIELD(path, key));
                (void)json_object_del(v, key);
            }
            continue;
        }
        if (json_is_null(member) && f->type->kind != SCHEMA_ANY && !f->type->nullable) {
            (void)json_object_del(v, key);
            continue;
        }
        json_t *replaced = NULL;
        int r = decode_value(d, f->type, member, FIELD(path, f->name), &replaced);
        if (r < 0)
            return r;
        if (replaced)
            (void)json_object_set_new(v, f->name, replaced);
    }
    return 0;
}

static int decode_map(struct decoder *d, const struct schema *type, // NOLINT(misc-no-recursion)
                      json_t *v, const struct field_path *path)
{
    const char *key;
    json_t *member;
    if (!json_is_object(v))
        return fail_type(d, path, "an object", v);
    json_object_foreach(v, key, member) {
        json_t *replaced = NULL;
        int r = 0;
        if (json_is_null(member) && type->items->kind != SCHEMA_ANY)
            replaced = zero_value(type->items);
        else
            r = decode_value(d, type->items, member, FIELD(path, key), &replaced);
        if (r < 0)
            return r;
        if (replaced)
            (void)json_object_set_new(v, key, replaced);
    }
    return 0;
}

static int decode_array(struct decoder *d, const struct schema *type, // NOLINT(misc-no-recursion)
                        json_t *v, const struct field_path *path)
{
    if (!json_is_array(v))
        return fail_type(d, path, "a list", v);
    for (size_t i = 0; i < json_array_size(v); i++) {
        json_t *member = json_array_get(v, i), *replaced = NULL;
        int r = 0;
        if (json_is_null(member) && type->items->kind != SCHEMA_ANY)
            replaced = zero_value(type->items);
        else
            r = decode_value(d, type->items, member, FIELD_INDEX(path, i), &replaced);
        if (r < 0)
            return r;
        if (replaced)
            (void)json_array_set_new(v, i, replaced);
    }
    return 0;
}

/* *ret: what takes the place of @v, NULL to keep it. Depth is bounded by the parser. */
static int decode_value(struct decoder *d, const struct schema *type, // NOLINT(misc-no-recursion)
                        json_t *v, const struct field_path *path, json_t **ret)
{
    switch (type->kind) {
    case SCHEMA_OBJECT:
        return decode_object(d, type, v, path);
    case SCHEMA_MAP:
        return decode_map(d, type, v, path);
    case SCHEMA_ARRAY:
        return decode_array(d, type, v, path);
    default:
        return decode_scalar(d, type, v, path, ret);
    }
}

/* What stands in front of every decoding error. */
static json_t *refuse(const struct schema_resource *res, const char *text)
{
    return status_bad_request("%s in version \"%s\" cannot be handled as a %s: %s", res->kind,
                              res->version, res->kind, text);
}

/* Checks or sets apiVersion and kind. Returns a Status when they are of another kind. */
static json_t *check_kind(const struct schema_resource *res, json_t *obj)
{
    char buf[SCHEMA_API_VERSION_MAX];
    const char *expected = schema_api_version(res, buf);
    const json_t *version = json_object_get(obj, "apiVersion");
    const json_t *kind = json_object_get(obj, "kind");
    if ((version && !json_is_string(version) && !json_is_null(version)) ||
        (kind && !json_is_string(kind) && !json_is_null(kind)))
        return refuse(res, "apiVersion and kind must be strings");
    const char *has_version = meta_api_version(obj);
    const char *has_kind = meta_kind(obj);
    if (*has_kind && !str_eq(has_kind, res->kind))
        return status_bad_request("%.100s in version \"%.100s\" cannot be handled as a %s: the "
                                  "resource holds objects of kind %s",
                                  has_kind, *has_version ? has_version : res->version, res->kind,
                                  res->kind);
    if (*has_version && !str_eq(has_version, expected))
        return status_bad_request("the API version in the data (%.300s) does not match the "
                                  "expected API version (%s)",
                                  has_version, expected);
    (void)json_object_set_new(obj, "apiVersion", json_string(expected));
    (void)json_object_set_new(obj, "kind", json_string(res->kind));
    return NULL;
}

static json_t *check_strict(const struct schema_resource *res, const json_t *strict)
{
    if (json_array_size(strict) == 0)
        return NULL;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    strbuf_adds(&text, "strict decoding error: ");
    for (size_t i = 0; i < json_array_size(strict); i++)
        strbuf_addf(&text, "%s%s", i ? ", " : "", json_string_value(json_array_get(strict, i)));
    return refuse(res, text.data);
}

static int check_with(const struct schema_resource *res, json_t *obj, enum field_validation fv,
                      json_t *strict, json_t **ret_warnings, json_t **ret_status)
{
    struct error err = ERROR_INIT;
    struct decoder d = {.strict = strict, .err = &err};
    json_t *status = NULL;
    if (!json_is_object(obj))
        status = status_bad_request("the object provided is unrecognized (must be of type %s): "
                                    "expected an object, got %s",
                                    res->kind, json_type_name(obj));
    if (!status)
        status = check_kind(res, obj);
    if (!status && decode_object(&d, res->type, obj, NULL) < 0)
        status = refuse(res, err.text);
    if (!status && fv == FIELD_VALIDATION_STRICT)
        status = check_strict(res, strict);
    if (status) {
        *ret_status = status;
        return -EINVAL;
    }
    if (ret_warnings)
        *ret_warnings = fv == FIELD_VALIDATION_WARN ? json_incref(strict) : json_array();
    return 0;
}

int object_check(const struct schema_resource *res, json_t *obj, enum field_validation fv,
                 json_t **ret_warnings, json_t **ret_status)
{
    _cleanup_json_ json_t *strict = json_array();
    return check_with(res, obj, fv, strict, ret_warnings, ret_status);
}

/* Duplicate keys are found by a second look, at the text. */
static json_t *parse_json(const char *data, size_t len, json_t *strict, struct error *err)
{
    json_error_t jerr;
    json_t *j = json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &jerr);
    if (!j && json_error_code(&jerr) == json_error_duplicate_key) {
        j = json_loadb(data, len, JSON_DECODE_ANY, &jerr);
        if (j)
            object_find_duplicates(data, len, strict);
    }
    if (!j)
        (void)error_set(err, -EINVAL, "line %d, column %d: %s", jerr.line, jerr.column, jerr.text);
    return j;
}

int object_decode(const struct schema_resource *res, const char *data, size_t len, bool yaml,
                  enum field_validation fv, json_t **ret, json_t **ret_warnings,
                  json_t **ret_status)
{
    if (len > OBJECT_MAX_BYTES) {
        *ret_status = status_too_large("limit is %u", OBJECT_MAX_BYTES);
        return -EINVAL;
    }
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *strict = json_array();
    _cleanup_json_ json_t *obj =
        yaml ? yaml_parse_one(data, len, &err) : parse_json(data, len, strict, &err);
    if (!obj) {
        *ret_status = status_bad_request("the object provided is unrecognized (must be of type "
                                         "%s): %s",
                                         res->kind, err.text);
        return -EINVAL;
    }
    int r = check_with(res, obj, fv, strict, ret_warnings, ret_status);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(obj);
    return 0;
}
