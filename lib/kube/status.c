/* Status objects; see status.h. Codes and texts are those of meta/v1 and its error package. */
#include "kube/status.h"

#include <errno.h>
#include <stdarg.h>

#include "base/json.h"
#include "base/strbuf.h"

/* "deployments.apps", or "pods" for the core group. Caller frees. */
static char *qualified(const char *name, const char *group)
{
    return group && *group ? str_printf("%s.%s", name, group) : str_dup(name);
}

static char *resource_text(const struct status_resource *res)
{
    return res && res->resource ? qualified(res->resource, res->group) : str_dup("");
}

json_t *status_new(int code, const char *reason, const char *message)
{
    json_t *s = json_object();
    (void)json_object_set_new(s, "kind", json_string("Status"));
    (void)json_object_set_new(s, "apiVersion", json_string("v1"));
    (void)json_object_set_new(s, "metadata", json_object());
    (void)json_object_set_new(s, "status", json_string("Failure"));
    (void)json_object_set_new(s, "message", json_text(message ? message : ""));
    if (reason && *reason)
        (void)json_object_set_new(s, "reason", json_string(reason));
    (void)json_object_set_new(s, "code", json_integer(code));
    return s;
}

static void set_text(json_t *o, const char *key, const char *value)
{
    if (value && *value)
        (void)json_object_set_new(o, key, json_text(value));
}

/* details go before code, as upstream writes them. */
static json_t *details_of(json_t *status)
{
    json_t *details = json_object_get(status, "details");
    if (details)
        return details;
    json_t *code = json_incref(json_object_get(status, "code"));
    (void)json_object_del(status, "code");
    details = json_object();
    (void)json_object_set_new(status, "details", details);
    if (code)
        (void)json_object_set_new(status, "code", code);
    return details;
}

/* Steals @message. */
static json_t *about(int code, const char *reason, char *message, const struct status_resource *res,
                     const char *name)
{
    json_t *s = status_new(code, reason, message);
    free(message);
    json_t *details = details_of(s);
    set_text(details, "name", name);
    if (res) {
        set_text(details, "group", res->group);
        set_text(details, "kind", res->resource);
    }
    return s;
}

#define FORMAT_MESSAGE(text, fmt)         \
    do {                                  \
        va_list args_;                    \
        va_start(args_, fmt);             \
        strbuf_addv(&(text), fmt, args_); \
        va_end(args_);                    \
    } while (0)

json_t *status_success(void)
{
    json_t *s = json_object();
    (void)json_object_set_new(s, "kind", json_string("Status"));
    (void)json_object_set_new(s, "apiVersion", json_string("v1"));
    (void)json_object_set_new(s, "metadata", json_object());
    (void)json_object_set_new(s, "status", json_string("Success"));
    return s;
}

json_t *status_deleted(const struct status_resource *res, const char *name, const char *uid)
{
    json_t *s = status_success();
    json_t *details = details_of(s);
    set_text(details, "name", name);
    if (res) {
        set_text(details, "group", res->group);
        set_text(details, "kind", res->resource);
    }
    set_text(details, "uid", uid);
    return s;
}

/* The constructors that are a code, a reason and a text. */
#define SIMPLE_STATUS(function, code, reason, prefix)      \
    json_t *function(const char *fmt, ...)                 \
    {                                                      \
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT; \
        strbuf_adds(&text, prefix);                        \
        FORMAT_MESSAGE(text, fmt);                         \
        return status_new(code, reason, text.data);        \
    }                                                      \
    json_t *function(const char *fmt, ...)

SIMPLE_STATUS(status_bad_request, 400, "BadRequest", "");
SIMPLE_STATUS(status_gone, 410, "Gone", "");
SIMPLE_STATUS(status_expired, 410, "Expired", "");
SIMPLE_STATUS(status_too_large, 413, "RequestEntityTooLarge", "Request entity too large: ");
SIMPLE_STATUS(status_not_implemented, 501, "NotImplemented", "");
SIMPLE_STATUS(status_unavailable, 503, "ServiceUnavailable", "");
SIMPLE_STATUS(status_timeout, 504, "Timeout", "Timeout: ");

json_t *status_unauthorized(const char *message)
{
    return status_new(401, "Unauthorized", message && *message ? message : "Unauthorized");
}

json_t *status_forbidden(const struct status_resource *res, const char *name, const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    FORMAT_MESSAGE(text, fmt);
    _cleanup_free_ char *what = resource_text(res);
    char *message;
    if (!*what)
        message = str_printf("forbidden: %s", strbuf_text(&text));
    else if (!name || !*name)
        message = str_printf("%s is forbidden: %s", what, strbuf_text(&text));
    else
        message = str_printf("%s \"%s\" is forbidden: %s", what, name, strbuf_text(&text));
    return about(403, "Forbidden", message, res, name);
}

json_t *status_not_found(const struct status_resource *res, const char *name)
{
    _cleanup_free_ char *what = resource_text(res);
    return about(404, "NotFound", str_printf("%s \"%s\" not found", what, name ? name : ""), res,
                 name);
}

json_t *status_not_found_path(void)
{
    return about(404, "NotFound", str_dup("the server could not find the requested resource"), NULL,
                 NULL);
}

json_t *status_method_not_allowed(const struct status_resource *res, const char *verb)
{
    if (!res || !res->resource)
        return status_new(405, "MethodNotAllowed",
                          "the server does not allow this method on the requested resource");
    _cleanup_free_ char *what = resource_text(res);
    return about(405, "MethodNotAllowed",
                 str_printf("%s is not supported on resources of kind \"%s\"", verb, what), res,
                 NULL);
}

json_t *status_not_acceptable(const char *accepted)
{
    _cleanup_free_ char *message =
        str_printf("only the following media types are accepted: %s", accepted);
    return status_new(406, "NotAcceptable", message);
}

json_t *status_already_exists(const struct status_resource *res, const char *name)
{
    _cleanup_free_ char *what = resource_text(res);
    return about(409, "AlreadyExists", str_printf("%s \"%s\" already exists", what, name), res,
                 name);
}

json_t *status_conflict(const struct status_resource *res, const char *name, const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    FORMAT_MESSAGE(text, fmt);
    _cleanup_free_ char *what = resource_text(res);
    return about(409, "Conflict",
                 str_printf("Operation cannot be fulfilled on %s \"%s\": %s", what,
                            name ? name : "", strbuf_text(&text)),
                 res, name);
}

json_t *status_unsupported_media_type(const char *accepted)
{
    _cleanup_free_ char *message = str_printf(
        "the body of the request was in an unknown format - accepted media types include: %s",
        accepted);
    return status_new(415, "UnsupportedMediaType", message);
}

json_t *status_invalid(const struct status_resource *res, const char *name,
                       const struct field_errors *errs)
{
    _cleanup_free_ char *kind =
        res && res->kind ? qualified(res->kind, res->group) : resource_text(res);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    strbuf_addf(&text, "%s \"%s\" is invalid", kind, name ? name : "");
    if (errs->count) {
        strbuf_adds(&text, ": ");
        field_errors_write(errs, &text);
    }
    json_t *s = status_new(422, "Invalid", text.data);
    json_t *details = details_of(s);
    set_text(details, "name", name);
    if (res) {
        set_text(details, "group", res->group);
        set_text(details, "kind", res->kind ? res->kind : res->resource);
    }
    json_t *causes = json_array();
    for (size_t i = 0; i < errs->count; i++) {
        const struct field_error *e = &errs->items[i];
        json_t *cause = json_object();
        (void)json_object_set_new(cause, "reason", json_string(field_error_reason(e->type)));
        (void)json_object_set_new(cause, "message", json_text(e->message));
        (void)json_object_set_new(cause, "field", json_text(e->field));
        (void)json_array_append_new(causes, cause);
    }
    (void)json_object_set_new(details, "causes", causes);
    return s;
}

json_t *status_too_many_requests(const char *message, int retry_after_seconds)
{
    json_t *s = status_new(429, "TooManyRequests", message);
    if (retry_after_seconds > 0)
        (void)json_object_set_new(details_of(s), "retryAfterSeconds",
                                  json_integer(retry_after_seconds));
    return s;
}

json_t *status_internal_error(const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    FORMAT_MESSAGE(text, fmt);
    _cleanup_free_ char *message = str_printf("Internal error occurred: %s", strbuf_text(&text));
    json_t *s = status_new(500, "InternalError", message);
    json_t *cause = json_object();
    (void)json_object_set_new(cause, "message", json_text(strbuf_text(&text)));
    json_t *causes = json_array();
    (void)json_array_append_new(causes, cause);
    (void)json_object_set_new(details_of(s), "causes", causes);
    return s;
}

json_t *status_server_timeout(const struct status_resource *res, const char *verb,
                              int retry_after_seconds)
{
    _cleanup_free_ char *what = resource_text(res);
    json_t *s = about(500, "ServerTimeout",
                      str_printf("The %s operation against %s could not be completed at this "
                                 "time, please try again.",
                                 verb, what),
                      res, NULL);
    (void)json_object_set_new(details_of(s), "retryAfterSeconds",
                              json_integer(retry_after_seconds));
    return s;
}

json_t *status_from_error(int code, const struct error *err)
{
    const char *text = error_text(err);
    switch (-code) {
    case ENOENT:
        return status_new(404, "NotFound", text);
    case EEXIST:
        return status_new(409, "AlreadyExists", text);
    case EINVAL:
        return status_bad_request("%s", text);
    case ETIMEDOUT:
        return status_timeout("%s", text);
    case EFBIG:
        return status_too_large("%s", text);
    default:
        return status_internal_error("%s", text);
    }
}

int status_code(const json_t *status)
{
    return (int)json_path_int(status, "code", 500);
}

const char *status_reason(const json_t *status)
{
    const char *s = json_path_string(status, "reason");
    return s ? s : "";
}

const char *status_message(const json_t *status)
{
    const char *s = json_path_string(status, "message");
    return s ? s : "";
}
