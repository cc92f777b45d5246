/*
 * Field errors: what is wrong with an object, each with the path of its field and a text in
 * upstream's form ("spec.containers[0].name: Required value"). Validation gathers them all;
 * status.h makes a Status of them.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

/* A path is a chain of structs on the stack, from a field up to its root. */
struct field_path {
    const struct field_path *parent; /* NULL for the root */
    const char *name;                /* field name or map key; NULL for an index */
    bool is_key;                     /* written [key] instead of .name */
    size_t index;
};
/* In the scope of the calling block: FIELD(NULL, "spec"), FIELD_INDEX(path, 0),
 * FIELD_KEY(path, "app"). */
#define FIELD(up, field_name) (&(const struct field_path){.parent = (up), .name = (field_name)})
#define FIELD_INDEX(up, i)    (&(const struct field_path){.parent = (up), .index = (i)})
#define FIELD_KEY(up, key) \
    (&(const struct field_path){.parent = (up), .name = (key), .is_key = true})

/* Appends "spec.containers[0].name". */
void field_path_write(const struct field_path *path, struct strbuf *out);

enum field_error_type {
    FIELD_ERROR_REQUIRED,
    FIELD_ERROR_INVALID,
    FIELD_ERROR_NOT_SUPPORTED,
    FIELD_ERROR_DUPLICATE,
    FIELD_ERROR_FORBIDDEN,
    FIELD_ERROR_NOT_FOUND,
    FIELD_ERROR_TOO_LONG,
    FIELD_ERROR_TOO_MANY,
    FIELD_ERROR_TYPE_INVALID,
    FIELD_ERROR_INTERNAL,
};

struct field_error {
    enum field_error_type type;
    char *field;   /* path */
    char *message; /* "Required value: …", without the path */
};

#define FIELD_ERRORS_MAX 100 /* beyond, errors are only counted */
struct field_errors {
    struct field_error *items;
    size_t count; /* at most FIELD_ERRORS_MAX */
    size_t dropped;
};
#define FIELD_ERRORS_INIT \
    {                     \
        .items = NULL     \
    }
#define _cleanup_field_errors_ _cleanup_(field_errors_done)
void field_errors_done(struct field_errors *errs);

/* Each adds one error. @detail may be NULL or "". @value is the bad value (JSON null when NULL);
 * long ones are shortened. */
void field_required(struct field_errors *errs, const struct field_path *path, const char *detail);
void field_invalid(struct field_errors *errs, const struct field_path *path, const json_t *value,
                   const char *fmt, ...) _printf_(4, 5);
/* As field_invalid() with a string value. */
void field_invalid_text(struct field_errors *errs, const struct field_path *path, const char *value,
                        const char *fmt, ...) _printf_(4, 5);
void field_invalid_int(struct field_errors *errs, const struct field_path *path, int64_t value,
                       const char *fmt, ...) _printf_(4, 5);
/* @values: NULL-terminated list of what is allowed. */
void field_not_supported(struct field_errors *errs, const struct field_path *path,
                         const json_t *value, const char *const *values);
void field_duplicate(struct field_errors *errs, const struct field_path *path, const json_t *value);
void field_forbidden(struct field_errors *errs, const struct field_path *path, const char *fmt, ...)
    _printf_(3, 4);
void field_not_found(struct field_errors *errs, const struct field_path *path, const json_t *value);
void field_too_long(struct field_errors *errs, const struct field_path *path, size_t max);
void field_too_many(struct field_errors *errs, const struct field_path *path, size_t count,
                    size_t max);
void field_type_invalid(struct field_errors *errs, const struct field_path *path,
                        const json_t *value, const char *detail);

/* The reason in a Status cause: "FieldValueRequired", … */
const char *field_error_reason(enum field_error_type type);
/* "a: Required value" or "[a: Required value, b: Invalid value: 3]". Appends nothing for none. */
void field_errors_write(const struct field_errors *errs, struct strbuf *out);
