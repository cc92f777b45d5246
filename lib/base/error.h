/*
 * Errors for people. Functions return 0 or -errno; the text a person will read travels in a last
 * parameter `struct error *err`, which may be NULL. Text is gathered on the way up: the innermost
 * function says what failed, callers prefix what they were doing.
 */
#pragma once

#include <stdarg.h>

#include "base/macros.h"

#define ERROR_TEXT_MAX  1024
#define ERROR_FIELD_MAX 256

struct error {
    int code;                    /* -errno, 0 when nothing is set */
    char text[ERROR_TEXT_MAX];   /* one line, no trailing newline; cut when longer */
    char field[ERROR_FIELD_MAX]; /* field path or object it concerns, "" when none */
};

#define ERROR_INIT \
    {              \
        .code = 0  \
    }

/* Sets @err to @code (-errno) and the formatted text. Returns @code, so that callers write
 * `return error_set(err, -EINVAL, "…")`. */
int error_set(struct error *err, int code, const char *fmt, ...) _printf_(3, 4);

/* As error_set(), and names the field (or object) that is at fault. */
int error_set_field(struct error *err, int code, const char *field, const char *fmt, ...)
    _printf_(4, 5);

/* As error_set() with ": " and the text of errno @code appended. */
int error_errno(struct error *err, int code, const char *fmt, ...) _printf_(3, 4);

/* Puts the formatted text and ": " in front of what is set. Returns err->code, or @code without
 * changing anything when @err is NULL. */
int error_prefix(struct error *err, int code, const char *fmt, ...) _printf_(3, 4);

/* The text, or the text of errno when nothing was set. Never NULL. */
const char *error_text(const struct error *err);
