/* lib/kube/object: decoding, pruning, strictness, defaults, preparation. */
#include "lib/test.h"

#include <errno.h>

#include "base/json.h"
#include "kube/meta.h"
#include "kube/object.h"
#include "kube/status.h"

static struct schema_registry *reg;

static int setup(_unused_ void **state)
{
    reg = schema_registry_new();
    return 0;
}

static int teardown(_unused_ void **state)
{
    reg = schema_registry_free(reg);
    return 0;
}

static const struct schema_resource *resource(const char *kind)
{
    const struct schema_resource *r = schema_by_word(reg, kind);
    assert_non_null(r);
    return r;
}

/* Single quotes stand for double ones. */
static char *quoted(const char *text)
{
    char *copy = str_dup(text);
    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    return copy;
}

static json_t *decode(const char *kind, const char *text)
{
    _cleanup_free_ char *json = quoted(text);
    json_t *obj = NULL, *status = NULL;
    if (object_decode(resource(kind), json, strlen(json), false, FIELD_VALIDATION_STRICT, &obj,
                      NULL, &status) < 0)
        fail_msg("%s: %s", text, status_message(status));
    return obj;
}

static void assert_json(const json_t *got, const char *expected)
{
    _cleanup_free_ char *text = quoted(expected);
    _cleanup_json_ json_t *want = json_parse(text, strlen(text), NULL);
    assert_non_null(want);
    if (json_equal(got, want))
        return;
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    if (got)
        json_encode(got, &out);
    fail_msg("got %s, not %s", strbuf_text(&out), text);
}

static void wrong_types_are_named(_unused_ void **state)
{
    static const struct {
        const char *kind, *text, *error;
    } cases[] = {
        {"pod", "[]",
         "the object provided is unrecognized (must be of type Pod): expected an object, got a "
         "list"},
        {"pod", "{",
         "the object provided is unrecognized (must be of type Pod): line 1, column 1: string or "
         "'}' expected near end of file"},
        {"pod", "{'kind':'Service'}",
         "Service in version \"v1\" cannot be handled as a Pod: the resource holds objects of "
         "kind Pod"},
        {"pod", "{'kind':3}",
         "Pod in version \"v1\" cannot be handled as a Pod: apiVersion and kind must be strings"},
        {"pod", "{'apiVersion':'apps/v1','kind':'Pod'}",
         "the API version in the data (apps/v1) does not match the expected API version (v1)"},
        {"pod", "{'spec':{'hostNetwork':'true'}}",
         "Pod in version \"v1\" cannot be handled as a Pod: spec.hostNetwork: expected a boolean, "
         "got a string"},
        {"pod", "{'spec':{'containers':{}}}",
         "Pod in version \"v1\" cannot be handled as a Pod: spec.containers: expected a list, got "
         "an object"},
        {"pod", "{'spec':{'containers':[{'ports':[{'containerPort':'x'}]}]}}",
         "Pod in version \"v1\" cannot be handled as a Pod: "
         "spec.containers[0].ports[0].containerPort: expected an integer (32 bits), got a string"},
        {"pod", "{'spec':{'priority':3000000000}}",
         "Pod in version \"v1\" cannot be handled as a Pod: spec.priority: the number does not fit "
         "into 32 bits"},
        {"pod", "{'spec':{'priority':1.5}}",
         "Pod in version \"v1\" cannot be handled as a Pod: spec.priority: expected an integer (32 "
         "bits), got a number"},
        {"pod", "{'metadata':{'labels':{'a':1}}}",
         "Pod in version \"v1\" cannot be handled as a Pod: metadata.labels.a: expected a string, "
         "got a number"},
        {"pod", "{'metadata':{'creationTimestamp':'today'}}",
         "Pod in version \"v1\" cannot be handled as a Pod: metadata.creationTimestamp: expected a "
         "time such as \"2006-01-02T15:04:05Z\""},
        {"pod", "{'spec':{'containers':[{'resources':{'limits':{'cpu':'much'}}}]}}",
         "Pod in version \"v1\" cannot be handled as a Pod: "
         "spec.containers[0].resources.limits.cpu: quantities must match the regular expression "
         "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
        {"secret", "{'data':{'a':'%%%'}}",
         "Secret in version \"v1\" cannot be handled as a Secret: data.a: illegal base64 data"},
        {"secret", "{'data':{'a':'YQ'}}",
         "Secret in version \"v1\" cannot be handled as a Secret: data.a: illegal base64 data"},
        {"svc", "{'spec':{'ports':[{'targetPort':true}]}}",
         "Service in version \"v1\" cannot be handled as a Service: spec.ports[0].targetPort: "
         "expected an integer or a string, got a boolean"},
        {"deploy", "{'spec':{'replicas':'3'}}",
         "Deployment in version \"v1\" cannot be handled as a Deployment: spec.replicas: expected "
         "an integer (32 bits), got a string"},
        {"cm", "{'data':{'a':'x\\u0000y'}}",
         "the object provided is unrecognized (must be of type ConfigMap): line 1, column 23: "
         "\\u0000 is not allowed without JSON_ALLOW_NUL near '\"x\\u0000y\"'"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *json = quoted(cases[i].text);
        json_t *obj = NULL, *status = NULL;
        assert_int_equal(object_decode(resource(cases[i].kind), json, strlen(json), false,
                                       FIELD_VALIDATION_IGNORE, &obj, NULL, &status),
                         -EINVAL);
        if (strcmp(status_message(status), cases[i].error) != 0)
            fail_msg("%s: %s", cases[i].text, status_message(status));
        assert_int_equal(status_code(status), 400);
        assert_string_equal(status_reason(status), "BadRequest");
        json_decref(status);
    }
}

static void values_become_canonical(_unused_ void **state)
{
    _cleanup_json_ json_t *pod = decode(
        "pod", "{'metadata':{'name':'a','labels':null,'annotations':{'x':null},'creationTimestamp':"
               "'2026-01-02T05:04:05.9+02:00'},'spec':{'containers':[null,{'name':'c','resources':{"
               "'limits':{'cpu':0.5,'memory':'1024Mi'},'requests':{'cpu':1}}}]}}");
    assert_json(pod,
                "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'a','annotations':{'x':''},"
                "'creationTimestamp':'2026-01-02T03:04:05Z'},'spec':{'containers':[{},{'name':'c',"
                "'resources':{'limits':{'cpu':'500m','memory':'1Gi'},'requests':{'cpu':'1'}}}]}}");
}

static void unknown_fields_by_validation_mode(_unused_ void **state)
{
    static const char text[] = "{\"spec\":{\"foo\":1,\"containers\":[{\"nme\":\"x\",\"name\":\"a\","
                               "\"name\":\"b\"}]},\"bar\":{}}";
    const struct schema_resource *pod = resource("pod");
    json_t *obj = NULL, *warnings = NULL, *status = NULL;
    assert_int_equal(object_decode(pod, text, strlen(text), false, FIELD_VALIDATION_WARN, &obj,
                                   &warnings, &status),
                     0);
    assert_json(obj, "{'spec':{'containers':[{'name':'b'}]},'apiVersion':'v1','kind':'Pod'}");
    assert_json(warnings,
                "['duplicate field \\'spec.containers[0].name\\'','unknown field \\'spec.foo\\'',"
                "'unknown field \\'spec.containers[0].nme\\'','unknown field \\'bar\\'']");
    json_decref(obj);
    json_decref(warnings);
    assert_int_equal(object_decode(pod, text, strlen(text), false, FIELD_VALIDATION_IGNORE, &obj,
                                   &warnings, &status),
                     0);
    assert_int_equal(json_array_size(warnings), 0);
    json_decref(obj);
    json_decref(warnings);
    assert_int_equal(
        object_decode(pod, text, strlen(text), false, FIELD_VALIDATION_STRICT, &obj, NULL, &status),
        -EINVAL);
    assert_string_equal(
        status_message(status),
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: duplicate field "
        "\"spec.containers[0].name\", unknown field \"spec.foo\", unknown field "
        "\"spec.containers[0].nme\", unknown field \"bar\"");
    json_decref(status);
    enum field_validation fv;
    assert_int_equal(field_validation_parse("", &fv), 0);
    assert_int_equal(fv, FIELD_VALIDATION_WARN);
    assert_int_equal(field_validation_parse("Strict", &fv), 0);
    assert_int_equal(fv, FIELD_VALIDATION_STRICT);
    assert_int_equal(field_validation_parse("strict", &fv), -EINVAL);
}

static void duplicates_are_found_where_they_are(_unused_ void **state)
{
    static const char text[] =
        "{\"data\":{\"a\":\"}\\\"{,\",\"b\":\"[\",\"a\":\"2\"},\"metadata\":{\"labels\":{},"
        "\"name\":\"x\",\"labels\":{}},\"metadata\":{\"n\\u0061me\":\"x\",\"name\":\"y\"}}";
    json_t *obj = NULL, *status = NULL, *warnings = NULL;
    assert_int_equal(object_decode(resource("cm"), text, strlen(text), false, FIELD_VALIDATION_WARN,
                                   &obj, &warnings, &status),
                     0);
    assert_json(warnings, "['duplicate field \\'data.a\\'','duplicate field "
                          "\\'metadata.labels\\'','duplicate field \\'metadata\\'','duplicate "
                          "field \\'metadata.name\\'']");
    json_decref(obj);
    json_decref(warnings);
}

static void yaml_bodies_are_taken(_unused_ void **state)
{
    static const char text[] = "metadata:\n  name: a\ndata:\n  x: 'on'\n";
    json_t *obj = NULL, *status = NULL;
    assert_int_equal(object_decode(resource("cm"), text, strlen(text), true,
                                   FIELD_VALIDATION_STRICT, &obj, NULL, &status),
                     0);
    assert_string_equal(meta_name(obj), "a");
    json_decref(obj);
    static const char broken[] = "a: [1";
    assert_int_equal(object_decode(resource("cm"), broken, strlen(broken), true,
                                   FIELD_VALIDATION_STRICT, &obj, NULL, &status),
                     -EINVAL);
    json_decref(status);
}

static void a_pod_gets_its_defaults(_unused_ void **state)
{
    _cleanup_json_ json_t *pod =
        decode("pod", "{'metadata':{'name':'a'},'spec':{'containers':[{'name':'c','image':'web',"
                      "'ports':[{'containerPort':80}],'resources':{'limits':{'cpu':'1'}},"
                      "'livenessProbe':{'httpGet':{'port':80},'periodSeconds':0}}],'volumes':[{"
                      "'name':'v'}],'serviceAccountName':'sa','dnsPolicy':''}}");
    const struct schema_resource *res = resource("pod");
    object_default(res, pod);
    assert_json(
        json_object_get(pod, "spec"),
        "{'containers':[{'name':'c','image':'web','ports':[{'containerPort':80,'protocol':'TCP'}],"
        "'resources':{'limits':{'cpu':'1'},'requests':{'cpu':'1'}},'livenessProbe':{'httpGet':{"
        "'port':80,'path':'/','scheme':'HTTP'},'timeoutSeconds':1,'periodSeconds':10,"
        "'successThreshold':1,'failureThreshold':3},'imagePullPolicy':'Always',"
        "'terminationMessagePath':'/dev/termination-log','terminationMessagePolicy':'File'}],"
        "'volumes':[{'name':'v','emptyDir':{}}],'serviceAccountName':'sa','serviceAccount':'sa',"
        "'dnsPolicy':'ClusterFirst','restartPolicy':'Always','terminationGracePeriodSeconds':30,"
        "'securityContext':{},'schedulerName':'default-scheduler','enableServiceLinks':true}");
    _cleanup_json_ json_t *again = json_deep_copy(pod);
    object_default(res, again);
    assert_true(json_equal(pod, again));
}

static void pull_policy_follows_the_tag(_unused_ void **state)
{
    static const char *const cases[][2] = {
        {"web", "Always"},
        {"web:latest", "Always"},
        {"web:1", "IfNotPresent"},
        {"host:5000/web", "Always"},
        {"host:5000/web:2", "IfNotPresent"},
        {"web@sha256:abc", "IfNotPresent"},
        {"web:latest@sha256:abc", "IfNotPresent"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *text = str_printf(
            "{'spec':{'template':{'spec':{'containers':[{'image':'%s'}]}}}}", cases[i][0]);
        _cleanup_json_ json_t *rs = decode("rs", text);
        object_default(resource("rs"), rs);
        const json_t *list = json_path(rs, "spec.template.spec.containers");
        assert_string_equal(json_path_string(json_array_get(list, 0), "imagePullPolicy"),
                            cases[i][1]);
        assert_null(json_path(rs, "spec.template.spec.enableServiceLinks"));
    }
}

static void other_kinds_get_their_defaults(_unused_ void **state)
{
    static const struct {
        const char *kind, *text, *path, *expected;
    } cases[] = {
        {"svc", "{'spec':{'ports':[{'port':80}]}}", "spec",
         "{'ports':[{'port':80,'protocol':'TCP','targetPort':80}],'type':'ClusterIP',"
         "'sessionAffinity':'None','internalTrafficPolicy':'Cluster'}"},
        {"svc", "{'spec':{'type':'NodePort','sessionAffinity':'ClientIP'}}", "spec",
         "{'type':'NodePort','sessionAffinity':'ClientIP','sessionAffinityConfig':{'clientIP':{"
         "'timeoutSeconds':10800}},'internalTrafficPolicy':'Cluster','externalTrafficPolicy':"
         "'Cluster'}"},
        {"svc", "{'spec':{'type':'ExternalName','externalName':'a.b'}}", "spec",
         "{'type':'ExternalName','externalName':'a.b','sessionAffinity':'None'}"},
        {"deploy", "{'spec':{}}", "spec.strategy",
         "{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':'25%','maxSurge':'25%'}}"},
        {"deploy", "{'spec':{'strategy':{'type':'Recreate'}}}", "spec.strategy",
         "{'type':'Recreate'}"},
        {"deploy", "{'spec':{'strategy':{'rollingUpdate':{'maxSurge':1}}}}", "spec.strategy",
         "{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':'25%','maxSurge':1}}"},
        {"ns", "{'metadata':{'name':'x'}}", "metadata",
         "{'name':'x','labels':{'kubernetes.io/metadata.name':'x'}}"},
        {"no", "{'status':{'capacity':{'cpu':'1'}}}", "status.allocatable", "{'cpu':'1'}"},
        {"endpointslices", "{'addressType':'IPv4','endpoints':[],'ports':[{'port':80}]}", "ports",
         "[{'port':80,'name':'','protocol':'TCP'}]"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *obj = decode(cases[i].kind, cases[i].text);
        object_default(resource(cases[i].kind), obj);
        assert_json(json_path(obj, cases[i].path), cases[i].expected);
    }
    _cleanup_json_ json_t *deploy = decode("deploy", "{}");
    object_default(resource("deploy"), deploy);
    assert_int_equal(json_path_int(deploy, "spec.replicas", -1), 1);
    assert_int_equal(json_path_int(deploy, "spec.revisionHistoryLimit", -1), 10);
    assert_int_equal(json_path_int(deploy, "spec.progressDeadlineSeconds", -1), 600);
}

static json_t *created(const char *kind, const char *text)
{
    json_t *obj = decode(kind, text);
    object_default(resource(kind), obj);
    object_prepare_create(resource(kind), obj);
    return obj;
}

static void creation_clears_what_clients_may_not_set(_unused_ void **state)
{
    _cleanup_json_ json_t *pod =
        created("pod", "{'metadata':{'name':'a','generation':7,'deletionTimestamp':"
                       "'2026-01-01T00:00:00Z'},'spec':{'containers':[{'name':'c','image':'x',"
                       "'resources':{'limits':{'cpu':'1','memory':'1Gi'}}}]},'status':{'phase':"
                       "'Running'}}");
    assert_json(json_object_get(pod, "metadata"), "{'name':'a','generation':1}");
    assert_json(json_object_get(pod, "status"), "{'phase':'Pending','qosClass':'Guaranteed'}");
    assert_int_equal(json_array_size(json_path(pod, "spec.tolerations")), 2);
    assert_int_equal(json_path_int(pod, "spec.priority", -1), 0);

    _cleanup_json_ json_t *secret =
        created("secret", "{'stringData':{'a':'1','b':'22','c':'333','d':'4444'},'data':{'a':'eA=="
                          "','z':''}}");
    assert_json(json_object_get(secret, "data"),
                "{'a':'MQ==','b':'MjI=','c':'MzMz','d':'NDQ0NA==','z':''}");
    assert_null(json_object_get(secret, "stringData"));

    _cleanup_json_ json_t *ns = created("ns", "{'metadata':{'name':'x'}}");
    assert_json(json_object_get(ns, "spec"), "{'finalizers':['kubernetes']}");
    assert_json(json_object_get(ns, "status"), "{'phase':'Active'}");

    _cleanup_json_ json_t *svc = created("svc", "{'spec':{'clusterIP':'10.0.0.1','ports':[]}}");
    assert_json(json_path(svc, "spec.clusterIPs"), "['10.0.0.1']");
    assert_json(json_path(svc, "spec.ipFamilies"), "['IPv4']");
    assert_json(json_object_get(svc, "status"), "{'loadBalancer':{}}");

    _cleanup_json_ json_t *node = created("no", "{'status':{'capacity':{'cpu':'2'}}}");
    assert_json(json_path(node, "status.capacity"), "{'cpu':'2'}");
}

static void qos_classes(_unused_ void **state)
{
    static const char *const cases[][2] = {
        {"{}", "BestEffort"},
        {"{'limits':{'cpu':'0'}}", "BestEffort"},
        {"{'limits':{'example.com/gpu':'1'}}", "BestEffort"},
        {"{'requests':{'cpu':'1'}}", "Burstable"},
        {"{'limits':{'cpu':'1'}}", "Burstable"},
        {"{'limits':{'cpu':'1','memory':'1Gi'}}", "Guaranteed"},
        {"{'limits':{'cpu':'1','memory':'1Gi'},'requests':{'cpu':'500m'}}", "Burstable"},
        {"{'limits':{'cpu':'1','memory':'1Gi'},'requests':{'cpu':'1000m'}}", "Guaranteed"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *text =
            str_printf("{'spec':{'containers':[{'name':'c','resources':%s}]}}", cases[i][0]);
        _cleanup_json_ json_t *pod = created("pod", text);
        assert_string_equal(json_path_string(pod, "status.qosClass"), cases[i][1]);
    }
}

static void updates_keep_what_is_not_theirs(_unused_ void **state)
{
    _cleanup_json_ json_t *old =
        created("deploy", "{'metadata':{'name':'a','labels':{'x':'1'}},'spec':{'replicas':2}}");
    json_path_set(old, "status.replicas", json_integer(2));
    meta_set(old, "uid", "u1");
    _cleanup_json_ json_t *spec_change = json_deep_copy(old);
    json_path_set(spec_change, "spec.replicas", json_integer(3));
    json_path_set(spec_change, "status.replicas", json_integer(9));
    meta_set(spec_change, "uid", NULL);
    object_prepare_update(resource("deploy"), NULL, spec_change, old);
    assert_int_equal(meta_generation(spec_change), 2);
    assert_int_equal(json_path_int(spec_change, "status.replicas", -1), 2);
    assert_string_equal(meta_uid(spec_change), "u1");

    _cleanup_json_ json_t *status_change = json_deep_copy(old);
    json_path_set(status_change, "spec.replicas", json_integer(3));
    json_path_set(status_change, "status.replicas", json_integer(9));
    meta_set_label(status_change, "x", "2");
    object_prepare_update(resource("deploy"), "status", status_change, old);
    assert_int_equal(meta_generation(status_change), 1);
    assert_int_equal(json_path_int(status_change, "spec.replicas", -1), 2);
    assert_int_equal(json_path_int(status_change, "status.replicas", -1), 9);
    assert_string_equal(meta_label(status_change, "x"), "1");

    _cleanup_json_ json_t *same = json_deep_copy(old);
    meta_set_label(same, "x", "2");
    object_prepare_update(resource("deploy"), "", same, old);
    assert_int_equal(meta_generation(same), 1);
}

static void a_pod_put_back_by_its_manifest_is_unchanged(_unused_ void **state)
{
    static const char manifest[] = "{'metadata':{'name':'a','namespace':'n'},'spec':{'containers':["
                                   "{'name':'c','image':'i'}]}}";
    const struct schema_resource *res = resource("pod");
    _cleanup_json_ json_t *old = created("pod", manifest);
    json_path_set(old, "status.phase", json_string("Running"));
    _cleanup_json_ json_t *again = decode("pod", manifest);
    object_default(res, again);
    object_prepare_update(res, NULL, again, old);
    assert_true(json_equal(again, old));
    _cleanup_field_errors_ struct field_errors errs = FIELD_ERRORS_INIT;
    object_validate_update(res, NULL, again, old, &errs);
    assert_int_equal(errs.count, 0);
}

static void services_keep_what_was_allocated(_unused_ void **state)
{
    _cleanup_json_ json_t *old =
        created("svc", "{'spec':{'type':'NodePort','clusterIP':'10.0.0.1','ports':[{'name':'a',"
                       "'port':80,'nodePort':30080},{'name':'b','port':81,'nodePort':30081}]}}");
    _cleanup_json_ json_t *replaced =
        decode("svc", "{'spec':{'type':'NodePort','ports':[{'name':'b','port':81},{'name':'c',"
                      "'port':82}]}}");
    object_default(resource("svc"), replaced);
    object_prepare_update(resource("svc"), NULL, replaced, old);
    assert_string_equal(json_path_string(replaced, "spec.clusterIP"), "10.0.0.1");
    assert_json(json_path(replaced, "spec.clusterIPs"), "['10.0.0.1']");
    const json_t *ports = json_path(replaced, "spec.ports");
    assert_int_equal(json_path_int(json_array_get(ports, 0), "nodePort", 0), 30081);
    assert_null(json_object_get(json_array_get(ports, 1), "nodePort"));
}

static void scale_reads_and_writes(_unused_ void **state)
{
    _cleanup_json_ json_t *rs = created(
        "rs", "{'metadata':{'name':'a','namespace':'n'},'spec':{'replicas':2,'selector':{"
              "'matchLabels':{'b':'1','a':'2'},'matchExpressions':[{'key':'c','operator':'In',"
              "'values':['y','x']}]}}}");
    json_path_set(rs, "status.replicas", json_integer(1));
    _cleanup_json_ json_t *scale = object_scale_get(resource("rs"), rs);
    assert_json(scale, "{'kind':'Scale','apiVersion':'autoscaling/v1','metadata':{'name':'a',"
                       "'namespace':'n'},'spec':{'replicas':2},'status':{'replicas':1,'selector':"
                       "'a=2,b=1,c in (x,y)'}}");
    json_path_set(scale, "spec.replicas", json_integer(5));
    _cleanup_field_errors_ struct field_errors errs = FIELD_ERRORS_INIT;
    assert_int_equal(object_scale_set(rs, scale, &errs), 0);
    assert_int_equal(json_path_int(rs, "spec.replicas", 0), 5);
    assert_int_equal(meta_generation(rs), 2);
    json_path_set(scale, "spec.replicas", json_integer(-1));
    assert_int_equal(object_scale_set(rs, scale, &errs), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_types_are_named),
        cmocka_unit_test(values_become_canonical),
        cmocka_unit_test(unknown_fields_by_validation_mode),
        cmocka_unit_test(duplicates_are_found_where_they_are),
        cmocka_unit_test(yaml_bodies_are_taken),
        cmocka_unit_test(a_pod_gets_its_defaults),
        cmocka_unit_test(pull_policy_follows_the_tag),
        cmocka_unit_test(other_kinds_get_their_defaults),
        cmocka_unit_test(creation_clears_what_clients_may_not_set),
        cmocka_unit_test(qos_classes),
        cmocka_unit_test(updates_keep_what_is_not_theirs),
        cmocka_unit_test(a_pod_put_back_by_its_manifest_is_unchanged),
        cmocka_unit_test(services_keep_what_was_allocated),
        cmocka_unit_test(scale_reads_and_writes),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
