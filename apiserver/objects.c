/* Objects on their way into the store; see objects.h. */
#include "apiserver/objects.h"

#include <errno.h>
#include <string.h>

#include "apiserver/negotiate.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/times.h"
#include "kube/meta.h"
#include "kube/protobuf.h"
#include "kube/status.h"

json_t *object_now(void)
{
    char buf[TIME_TEXT_MAX];
    return json_string(time_format(time_now(), buf));
}

json_t *object_dry_run(const struct request *r, bool *ret)
{
    const struct http_query *q = http_exchange_query(r->x);
    const char *value;
    *ret = false;
    for (size_t i = 0; (value = http_query_get_nth(q, "dryRun", i)); i++) {
        if (!str_eq(value, "All"))
            return status_bad_request("dryRun: unsupported value \"%.64s\": supported: \"All\"",
                                      value);
        *ret = true;
    }
    return NULL;
}

json_t *object_field_validation(const struct request *r, enum field_validation *ret)
{
    const char *text = http_exchange_query_get(r->x, "fieldValidation");
    if (field_validation_parse(text ? text : "", ret) < 0)
        return status_bad_request("fieldValidation: unsupported value \"%.64s\": supported: "
                                  "\"Ignore\", \"Warn\", \"Strict\"",
                                  text);
    return NULL;
}

static json_t *check_address(const struct request *r, const struct schema_resource *res,
                             json_t *obj)
{
    const char *ns = meta_namespace(obj), *name = meta_name(obj);
    if (res->namespaced) {
        if (!*ns)
            meta_set(obj, "namespace", r->info.namespace_);
        else if (!str_eq(ns, r->info.namespace_))
            return status_bad_request("the namespace of the provided object does not match the "
                                      "namespace sent on the request");
    } else if (*ns) {
        return status_bad_request("%s has no namespace: metadata.namespace must be empty",
                                  res->kind);
    }
    if (*r->info.name && *name && !str_eq(name, r->info.name))
        return status_bad_request(
            "the name of the object (%s) does not match the name on the URL (%s)", name,
            r->info.name);
    if (*r->info.name && !*name)
        meta_set(obj, "name", r->info.name);
    return NULL;
}

json_t *object_raw_body(const struct request *r, json_t **ret)
{
    struct error err = ERROR_INIT;
    switch (negotiate_body(http_exchange_header(r->x, "Content-Type"))) {
    case BODY_JSON:
        *ret = json_parse(r->body, r->body_len, &err);
        break;
    case BODY_PROTOBUF:
        (void)protobuf_decode(r->srv->schemas, r->body, r->body_len, ret, &err);
        break;
    case BODY_YAML:
    case BODY_UNSUPPORTED:
        return status_unsupported_media_type("application/json, " PROTOBUF_MEDIA_TYPE);
    }
    if (json_is_object(*ret))
        return NULL;
    return status_bad_request("the body is not an object: %s", error_text(&err));
}

/* A protobuf body is a tree already when its fields are checked. */
static json_t *decode_protobuf(struct request *r, const struct schema_resource *res,
                               enum field_validation fv, json_t **ret, json_t **ret_warnings)
{
    json_t *status = object_raw_body(r, ret);
    if (status)
        return status;
    char api_version[SCHEMA_API_VERSION_MAX];
    if (!str_eq(meta_kind(*ret), res->kind) ||
        !str_eq(meta_api_version(*ret), schema_api_version(res, api_version)))
        status = status_bad_request("the body is a %s of %s, expected a %s of %s", meta_kind(*ret),
                                    meta_api_version(*ret), res->kind,
                                    schema_api_version(res, api_version));
    else if (object_check(res, *ret, fv, ret_warnings, &status) == 0)
        return NULL;
    json_decref(*ret);
    *ret = NULL;
    return status;
}

json_t *object_from_body(struct request *r, const struct schema_resource *res, json_t **ret)
{
    enum field_validation fv;
    enum body_kind kind = negotiate_body(http_exchange_header(r->x, "Content-Type"));
    if (kind == BODY_UNSUPPORTED)
        return status_unsupported_media_type(BODY_MEDIA_TYPES);
    json_t *status = object_field_validation(r, &fv);
    if (status)
        return status;
    _cleanup_json_ json_t *warnings = NULL;
    if (kind == BODY_PROTOBUF)
        status = decode_protobuf(r, res, fv, ret, &warnings);
    else
        (void)object_decode(res, r->body, r->body_len, kind == BODY_YAML, fv, ret, &warnings,
                            &status);
    if (status)
        return status;
    r->warnings = TAKE_PTR(warnings);
    status = check_address(r, res, *ret);
    if (status) {
        json_decref(*ret);
        *ret = NULL;
    }
    return status;
}

static json_t *invalid(const struct route *route, const char *name, struct field_errors *errs)
{
    json_t *status = errs->count ? status_invalid(&route->about, name, errs) : NULL;
    field_errors_done(errs);
    return status;
}

json_t *object_complete_new(const struct route *route, json_t *obj)
{
    static const char *const not_yours[] = {
        "uid",      "deletionTimestamp", "deletionGracePeriodSeconds",
        "selfLink", "managedFields",     "generation",
    };
    if (*meta_resource_version(obj))
        return status_new(500, "", "resourceVersion should not be set on objects to be created");
    json_t *meta = meta_of(obj);
    for (size_t i = 0; i < ARRAY_SIZE(not_yours); i++)
        (void)json_object_del(meta, not_yours[i]);
    char uid[37];
    random_uuid(uid);
    meta_set(obj, "uid", uid);
    (void)json_object_set_new(meta, "creationTimestamp", object_now());
    object_default(route->res, obj);
    object_prepare_create(route->res, obj);
    struct field_errors errs = FIELD_ERRORS_INIT;
    object_validate_create(route->res, obj, &errs);
    return invalid(route, meta_name(obj), &errs);
}

/* metadata that only the server changes. */
static void keep_metadata(json_t *obj, const json_t *old)
{
    static const char *const kept[] = {
        "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
    };
    json_t *meta = meta_of(obj);
    const json_t *old_meta = json_object_get(old, "metadata");
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
        json_t *value = json_object_get(old_meta, kept[i]);
        if (value)
            (void)json_object_set(meta, kept[i], value);
        else
            (void)json_object_del(meta, kept[i]);
    }
    (void)json_object_del(meta, "selfLink");
    (void)json_object_del(meta, "managedFields");
    (void)json_object_set(meta, "resourceVersion", json_object_get(old_meta, "resourceVersion"));
}

json_t *object_complete_update(const struct route *route, const char *subresource, json_t *obj,
                               const json_t *old)
{
    const char *version = meta_resource_version(obj), *uid = meta_uid(obj);
    if (*uid && !str_eq(uid, meta_uid(old)))
        return status_conflict(&route->about, meta_name(old),
                               "Precondition failed: UID in precondition: %s, UID in object meta: "
                               "%s",
                               uid, meta_uid(old));
    if (*version && !str_eq(version, "0") && !str_eq(version, meta_resource_version(old)))
        return status_conflict(&route->about, meta_name(old), "%s", STATUS_CONFLICT_MODIFIED);
    keep_metadata(obj, old);
    object_default(route->res, obj);
    object_prepare_update(route->res, subresource, obj, old);
    struct field_errors errs = FIELD_ERRORS_INIT;
    object_validate_update(route->res, subresource, obj, old, &errs);
    return invalid(route, meta_name(old), &errs);
}

bool object_is_released(const struct route *route, const json_t *obj)
{
    if (!*meta_deletion_timestamp(obj) || json_array_size(json_path(obj, "metadata.finalizers")))
        return false;
    if (str_eq(route->res->kind, "Namespace") && json_array_size(json_path(obj, "spec.finalizers")))
        return false;
    return json_path_int(obj, "metadata.deletionGracePeriodSeconds", 0) == 0;
}
