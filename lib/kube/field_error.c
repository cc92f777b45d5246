/* Gathering field errors and writing them in upstream's form; see field_error.h. */
#include "kube/field_error.h"

#include <string.h>

#include "base/json.h"

#define VALUE_TEXT_MAX 512 /* of a bad value in a message */

void field_path_write(const struct field_path *path, // NOLINT(misc-no-recursion)
                      struct strbuf *out)
{
    if (!path)
        return;
    field_path_write(path->parent, out);
    if (!path->name)
        strbuf_addf(out, "[%zu]", path->index);
    else if (path->is_key)
        strbuf_addf(out, "[%s]", path->name);
    else
        strbuf_addf(out, "%s%s", path->parent ? "." : "", path->name);
}

static const struct {
    const char *text;
    const char *reason;
} TYPES[] = {
    [FIELD_ERROR_REQUIRED] = {"Required value", "FieldValueRequired"},
    [FIELD_ERROR_INVALID] = {"Invalid value", "FieldValueInvalid"},
    [FIELD_ERROR_NOT_SUPPORTED] = {"Unsupported value", "FieldValueNotSupported"},
    [FIELD_ERROR_DUPLICATE] = {"Duplicate value", "FieldValueDuplicate"},
    [FIELD_ERROR_FORBIDDEN] = {"Forbidden", "FieldValueForbidden"},
    [FIELD_ERROR_NOT_FOUND] = {"Not found", "FieldValueNotFound"},
    [FIELD_ERROR_TOO_LONG] = {"Too long", "FieldValueTooLong"},
    [FIELD_ERROR_TOO_MANY] = {"Too many", "FieldValueTooMany"},
    [FIELD_ERROR_TYPE_INVALID] = {"Invalid value", "FieldValueTypeInvalid"},
    [FIELD_ERROR_INTERNAL] = {"Internal error", "InternalError"},
};

const char *field_error_reason(enum field_error_type type)
{
    return TYPES[type].reason;
}

void field_errors_done(struct field_errors *errs)
{
    for (size_t i = 0; i < errs->count; i++) {
        free(errs->items[i].field);
        free(errs->items[i].message);
    }
    free(errs->items);
    *errs = (struct field_errors)FIELD_ERRORS_INIT;
}

/* @value is encoded JSON text or NULL for types that show none. */
static void add(struct field_errors *errs, enum field_error_type type,
                const struct field_path *path, const char *value, const char *detail)
{
    if (errs->count == FIELD_ERRORS_MAX) {
        errs->dropped++;
        return;
    }
    struct strbuf field = STRBUF_INIT;
    field_path_write(path, &field);
    struct strbuf message = STRBUF_INIT;
    strbuf_adds(&message, TYPES[type].text);
    if (value) {
        size_t len = strlen(value);
        strbuf_addf(&message, ": %.*s%s", (int)(len > VALUE_TEXT_MAX ? VALUE_TEXT_MAX : len), value,
                    len > VALUE_TEXT_MAX ? "…" : "");
    }
    if (detail && *detail)
        strbuf_addf(&message, ": %s", detail);
    errs->items = mem_grow(errs->items, errs->count + 1, sizeof(*errs->items));
    errs->items[errs->count++] = (struct field_error){
        .type = type, .field = strbuf_take(&field), .message = strbuf_take(&message)};
}

static void add_json(struct field_errors *errs, enum field_error_type type,
                     const struct field_path *path, const json_t *value, const char *detail)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    if (value)
        json_encode(value, &text);
    else
        strbuf_adds(&text, "null");
    add(errs, type, path, text.data, detail);
}

void field_required(struct field_errors *errs, const struct field_path *path, const char *detail)
{
    add(errs, FIELD_ERROR_REQUIRED, path, NULL, detail);
}

void field_invalid(struct field_errors *errs, const struct field_path *path, const json_t *value,
                   const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf detail = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&detail, fmt, args);
    va_end(args);
    add_json(errs, FIELD_ERROR_INVALID, path, value, strbuf_text(&detail));
}

void field_invalid_text(struct field_errors *errs, const struct field_path *path, const char *value,
                        const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf detail = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&detail, fmt, args);
    va_end(args);
    _cleanup_json_ json_t *j = json_text(value);
    add_json(errs, FIELD_ERROR_INVALID, path, j, strbuf_text(&detail));
}

void field_invalid_int(struct field_errors *errs, const struct field_path *path, int64_t value,
                       const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf detail = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&detail, fmt, args);
    va_end(args);
    _cleanup_json_ json_t *j = json_integer(value);
    add_json(errs, FIELD_ERROR_INVALID, path, j, strbuf_text(&detail));
}

void field_not_supported(struct field_errors *errs, const struct field_path *path,
                         const json_t *value, const char *const *values)
{
    _cleanup_strbuf_ struct strbuf detail = STRBUF_INIT;
    for (size_t i = 0; values && values[i]; i++) {
        strbuf_adds(&detail, i ? ", " : "supported values: ");
        _cleanup_json_ json_t *j = json_text(values[i]);
        json_encode(j, &detail);
    }
    add_json(errs, FIELD_ERROR_NOT_SUPPORTED, path, value, strbuf_text(&detail));
}

void field_duplicate(struct field_errors *errs, const struct field_path *path, const json_t *value)
{
    add_json(errs, FIELD_ERROR_DUPLICATE, path, value, NULL);
}

void field_forbidden(struct field_errors *errs, const struct field_path *path, const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf detail = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&detail, fmt, args);
    va_end(args);
    add(errs, FIELD_ERROR_FORBIDDEN, path, NULL, strbuf_text(&detail));
}

void field_not_found(struct field_errors *errs, const struct field_path *path, const json_t *value)
{
    add_json(errs, FIELD_ERROR_NOT_FOUND, path, value, NULL);
}

void field_too_long(struct field_errors *errs, const struct field_path *path, size_t max)
{
    _cleanup_free_ char *detail = str_printf("may not be more than %zu bytes", max);
    add(errs, FIELD_ERROR_TOO_LONG, path, NULL, detail);
}

void field_too_many(struct field_errors *errs, const struct field_path *path, size_t count,
                    size_t max)
{
    _cleanup_free_ char *value = str_printf("%zu", count);
    _cleanup_free_ char *detail = str_printf("must have at most %zu items", max);
    add(errs, FIELD_ERROR_TOO_MANY, path, value, detail);
}

void field_type_invalid(struct field_errors *errs, const struct field_path *path,
                        const json_t *value, const char *detail)
{
    add_json(errs, FIELD_ERROR_TYPE_INVALID, path, value, detail);
}

void field_errors_write(const struct field_errors *errs, struct strbuf *out)
{
    bool several = errs->count + errs->dropped > 1;
    if (several)
        strbuf_addc(out, '[');
    for (size_t i = 0; i < errs->count; i++)
        strbuf_addf(out, "%s%s: %s", i ? ", " : "", errs->items[i].field, errs->items[i].message);
    if (errs->dropped)
        strbuf_addf(out, ", and %zu more", errs->dropped);
    if (several)
        strbuf_addc(out, ']');
}
