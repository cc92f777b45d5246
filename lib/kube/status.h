/*
 * Kubernetes Status objects (meta/v1 Status): one constructor for each reason, with upstream's
 * codes and texts. All return a new reference. @res may be NULL where nothing is known of the
 * resource; @name may be NULL or "".
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "kube/field_error.h"

/* What the request was about, for texts ("deployments.apps") and details. */
struct status_resource {
    const char *group;    /* "" for the core group */
    const char *resource; /* plural ("deployments"), maybe with "/status" */
    const char *kind;     /* "Deployment", for Invalid */
};

#define STATUS_CONFLICT_MODIFIED \
    "the object has been modified; please apply your changes to the latest version and try again"

/* Any Failure. @reason may be "". */
json_t *status_new(int code, const char *reason, const char *message);
json_t *status_success(void);
/* The answer to a delete: Success with the details of what was deleted. */
json_t *status_deleted(const struct status_resource *res, const char *name, const char *uid);

json_t *status_bad_request(const char *fmt, ...) _printf_(1, 2); /* 400 */
json_t *status_unauthorized(const char *message);                /* 401 */
json_t *status_forbidden(const struct status_resource *res, const char *name, const char *fmt, ...)
    _printf_(3, 4);                                                            /* 403 */
json_t *status_not_found(const struct status_resource *res, const char *name); /* 404 */
/* 404 for a path that nothing serves: "the server could not find the requested resource". */
json_t *status_not_found_path(void);
json_t *status_method_not_allowed(const struct status_resource *res, const char *verb); /* 405 */
json_t *status_not_acceptable(const char *accepted);                                    /* 406 */
json_t *status_already_exists(const struct status_resource *res, const char *name);     /* 409 */
json_t *status_conflict(const struct status_resource *res, const char *name, const char *fmt, ...)
    _printf_(3, 4);                                            /* 409 */
json_t *status_gone(const char *fmt, ...) _printf_(1, 2);      /* 410 Gone */
json_t *status_expired(const char *fmt, ...) _printf_(1, 2);   /* 410 Expired */
json_t *status_too_large(const char *fmt, ...) _printf_(1, 2); /* 413 */
json_t *status_unsupported_media_type(const char *accepted);   /* 415 */
/* 422 with one cause for each field error. */
json_t *status_invalid(const struct status_resource *res, const char *name,
                       const struct field_errors *errs);
json_t *status_too_many_requests(const char *message, int retry_after_seconds); /* 429 */
json_t *status_internal_error(const char *fmt, ...) _printf_(1, 2);             /* 500 */
json_t *status_not_implemented(const char *fmt, ...) _printf_(1, 2);            /* 501 */
json_t *status_unavailable(const char *fmt, ...) _printf_(1, 2);                /* 503 */
json_t *status_timeout(const char *fmt, ...) _printf_(1, 2);                    /* 504 Timeout */
/* 500 ServerTimeout: "The %s operation against %s could not be completed at this time". */
json_t *status_server_timeout(const struct status_resource *res, const char *verb,
                              int retry_after_seconds);
/* From a libc-style error: -ENOENT → 404, -EEXIST → 409, -EINVAL → 400, -ETIMEDOUT → 504,
 * -EFBIG → 413, everything else 500. */
json_t *status_from_error(int code, const struct error *err);

/* Reading one. */
int status_code(const json_t *status);            /* 500 when it has none */
const char *status_reason(const json_t *status);  /* "" when none */
const char *status_message(const json_t *status); /* "" when none */
