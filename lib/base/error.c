/* Error texts gathered on the way up; see error.h. */
#include "base/error.h"

#include <errno.h>
#include <string.h>

static void set_text(struct error *err, int code, const char *fmt, va_list args)
{
    err->code = code;
    err->field[0] = '\0';
    (void)vsnprintf(err->text, sizeof(err->text), fmt, args);
}

int error_set(struct error *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        set_text(err, code, fmt, args);
        va_end(args);
    }
    return code;
}

int error_set_field(struct error *err, int code, const char *field, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        set_text(err, code, fmt, args);
        va_end(args);
        (void)snprintf(err->field, sizeof(err->field), "%s", field);
    }
    return code;
}

int error_errno(struct error *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        set_text(err, code, fmt, args);
        va_end(args);
        size_t len = strlen(err->text);
        (void)snprintf(err->text + len, sizeof(err->text) - len, ": %s", strerror(-code));
    }
    return code;
}

int error_prefix(struct error *err, int code, const char *fmt, ...)
{
    if (!err)
        return code;
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    size_t len = strlen(text);
    (void)snprintf(text + len, sizeof(text) - len, ": %s", err->code ? err->text : strerror(-code));
    memcpy(err->text, text, sizeof(text));
    err->code = code;
    return code;
}

const char *error_text(const struct error *err)
{
    if (!err || !err->code)
        return "unknown error";
    return err->text[0] ? err->text : strerror(-err->code);
}
