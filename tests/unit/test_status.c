/* lib/kube/status and lib/kube/meta. */
#include "lib/test.h"

#include <errno.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kube/meta.h"
#include "kube/status.h"

static const struct status_resource PODS = {"", "pods", "Pod"};
static const struct status_resource DEPLOYMENTS = {"apps", "deployments", "Deployment"};

static void every_reason_has_its_code_and_text(_unused_ void **state)
{
    const struct {
        json_t *status;
        int code;
        const char *reason, *message;
    } cases[] = {
        {status_bad_request("bad %d", 1), 400, "BadRequest", "bad 1"},
        {status_unauthorized(NULL), 401, "Unauthorized", "Unauthorized"},
        {status_forbidden(&PODS, "a", "no"), 403, "Forbidden", "pods \"a\" is forbidden: no"},
        {status_forbidden(&DEPLOYMENTS, "", "no"), 403, "Forbidden",
         "deployments.apps is forbidden: no"},
        {status_forbidden(NULL, NULL, "no"), 403, "Forbidden", "forbidden: no"},
        {status_not_found(&DEPLOYMENTS, "a"), 404, "NotFound", "deployments.apps \"a\" not found"},
        {status_not_found_path(), 404, "NotFound",
         "the server could not find the requested resource"},
        {status_method_not_allowed(NULL, "x"), 405, "MethodNotAllowed",
         "the server does not allow this method on the requested resource"},
        {status_method_not_allowed(&PODS, "patch"), 405, "MethodNotAllowed",
         "patch is not supported on resources of kind \"pods\""},
        {status_not_acceptable("application/json"), 406, "NotAcceptable",
         "only the following media types are accepted: application/json"},
        {status_already_exists(&PODS, "a"), 409, "AlreadyExists", "pods \"a\" already exists"},
        {status_conflict(&PODS, "a", "%s", STATUS_CONFLICT_MODIFIED), 409, "Conflict",
         "Operation cannot be fulfilled on pods \"a\": the object has been modified; please apply "
         "your changes to the latest version and try again"},
        {status_gone("x"), 410, "Gone", "x"},
        {status_expired("too old resource version: %d (%d)", 1, 2), 410, "Expired",
         "too old resource version: 1 (2)"},
        {status_too_large("limit is 1"), 413, "RequestEntityTooLarge",
         "Request entity too large: limit is 1"},
        {status_unsupported_media_type("application/json"), 415, "UnsupportedMediaType",
         "the body of the request was in an unknown format - accepted media types include: "
         "application/json"},
        {status_too_many_requests("slow", 3), 429, "TooManyRequests", "slow"},
        {status_internal_error("x"), 500, "InternalError", "Internal error occurred: x"},
        {status_server_timeout(&PODS, "list", 1), 500, "ServerTimeout",
         "The list operation against pods could not be completed at this time, please try again."},
        {status_not_implemented("x"), 501, "NotImplemented", "x"},
        {status_unavailable("x"), 503, "ServiceUnavailable", "x"},
        {status_timeout("x"), 504, "Timeout", "Timeout: x"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(status_code(cases[i].status), cases[i].code);
        assert_string_equal(status_reason(cases[i].status), cases[i].reason);
        assert_string_equal(status_message(cases[i].status), cases[i].message);
        assert_string_equal(json_path_string(cases[i].status, "status"), "Failure");
        json_decref(cases[i].status);
    }
    _cleanup_json_ json_t *busy = status_too_many_requests("slow", 3);
    assert_int_equal(json_path_int(busy, "details.retryAfterSeconds", 0), 3);
    _cleanup_json_ json_t *deleted = status_deleted(&DEPLOYMENTS, "a", "u");
    assert_string_equal(json_path_string(deleted, "status"), "Success");
    assert_string_equal(json_path_string(deleted, "details.uid"), "u");
    struct error err = ERROR_INIT;
    static const int codes[][2] = {{-ENOENT, 404}, {-EEXIST, 409},    {-EINVAL, 400},
                                   {-EFBIG, 413},  {-ETIMEDOUT, 504}, {-EIO, 500}};
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        (void)error_set(&err, codes[i][0], "text");
        _cleanup_json_ json_t *s = status_from_error(codes[i][0], &err);
        assert_int_equal(status_code(s), codes[i][1]);
        assert_non_null(strstr(status_message(s), "text"));
    }
}

static void metadata_is_read_and_written(_unused_ void **state)
{
    _cleanup_json_ json_t *obj = json_object();
    assert_string_equal(meta_name(obj), "");
    assert_string_equal(meta_name(NULL), "");
    assert_null(meta_labels(obj));
    meta_set(obj, "name", "a");
    meta_set(obj, "namespace", "n");
    meta_set_label(obj, "k", "v");
    meta_set_annotation(obj, "x", NULL);
    assert_null(meta_annotations(obj));
    assert_string_equal(meta_label(obj, "k"), "v");
    meta_set(obj, "namespace", NULL);
    assert_string_equal(meta_namespace(obj), "");
    (void)json_object_set_new(meta_of(obj), "finalizers", json_pack("[s,s]", "a", "b"));
    assert_true(meta_has_finalizer(obj, "b"));
    assert_int_equal(meta_remove_finalizer(obj, "b"), 0);
    assert_int_equal(meta_remove_finalizer(obj, "b"), -ENOENT);
    assert_int_equal(meta_remove_finalizer(obj, "a"), 0);
    assert_null(json_path(obj, "metadata.finalizers"));
    _cleanup_json_ json_t *owner =
        json_pack("{s:s,s:s,s:{s:s,s:s}}", "apiVersion", "apps/v1", "kind", "ReplicaSet",
                  "metadata", "name", "rs", "uid", "u1");
    json_t *refs = json_array();
    (void)json_array_append_new(refs, meta_controller_ref(owner));
    (void)json_object_set_new(meta_of(obj), "ownerReferences", refs);
    assert_string_equal(json_path_string(meta_controller(obj), "name"), "rs");
    assert_true(meta_owned_by(obj, "u1"));
    assert_false(meta_owned_by(obj, "u2"));
}

static void api_versions_and_names(_unused_ void **state)
{
    char group[META_PART_MAX], version[META_PART_MAX];
    assert_int_equal(meta_split_api_version("apps/v1", group, version), 0);
    assert_string_equal(group, "apps");
    assert_string_equal(version, "v1");
    assert_int_equal(meta_split_api_version("v1", group, version), 0);
    assert_string_equal(group, "");
    static const char *const broken[] = {"", "/v1", "apps/", "a/b/c"};
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
        assert_int_equal(meta_split_api_version(broken[i], group, version), -EINVAL);
    _cleanup_free_ char *a = meta_generated_name("web-");
    _cleanup_free_ char *b = meta_generated_name("web-");
    assert_int_equal(strlen(a), 9);
    assert_string_not_equal(a, b);
    char base[100];
    memset(base, 'x', sizeof(base));
    base[99] = '\0';
    _cleanup_free_ char *cut = meta_generated_name(base);
    assert_int_equal(strlen(cut), 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reason_has_its_code_and_text),
        cmocka_unit_test(metadata_is_read_and_written),
        cmocka_unit_test(api_versions_and_names),
    };
    return RUN_TESTS(tests);
}
