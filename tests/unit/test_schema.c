/* lib/kube/schema: the embedded text compiles, lookups, errors of the text form. */
#include "lib/test.h"

#include <errno.h>

#include "base/strbuf.h"
#include "kube/schema.h"

static int setup(void **state)
{
    *state = schema_registry_new();
    return 0;
}

static int teardown(void **state)
{
    *state = schema_registry_free(*state);
    return 0;
}

static void kinds_are_found(void **state)
{
    const struct schema_registry *reg = *state;
    const struct schema_resource *pod = schema_by_plural(reg, "", "v1", "pods");
    assert_non_null(pod);
    assert_string_equal(pod->kind, "Pod");
    assert_string_equal(pod->singular, "pod");
    assert_string_equal(pod->list_kind, "PodList");
    assert_true(pod->namespaced);
    assert_true(schema_has_subresource(pod, "exec"));
    assert_false(schema_has_subresource(pod, "scale"));
    assert_ptr_equal(schema_by_kind(reg, "", "v1", "Pod"), pod);
    assert_ptr_equal(schema_by_api_version(reg, "v1", "Pod"), pod);
    assert_null(schema_by_api_version(reg, "apps/v1", "Pod"));
    assert_null(schema_by_api_version(reg, "/v1", "Pod"));
    const struct schema_resource *dep = schema_by_api_version(reg, "apps/v1", "Deployment");
    char buf[SCHEMA_API_VERSION_MAX];
    assert_string_equal(schema_api_version(dep, buf), "apps/v1");
    assert_string_equal(dep->storage_version, "apps/v1");
    assert_non_null(schema_type_by_name(reg, "io.k8s.api.core.v1.PodList"));
}

static void storage_paths_are_upstreams(void **state)
{
    static const char *const expected[][2] = {
        {"nodes", "minions"},
        {"services", "services/specs"},
        {"endpoints", "services/endpoints"},
        {"pods", "pods"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
        assert_string_equal(schema_by_plural(*state, "", "v1", expected[i][0])->storage,
                            expected[i][1]);
    assert_string_equal(schema_by_plural(*state, "events.k8s.io", "v1", "events")->storage_version,
                        "v1");
    assert_null(schema_by_plural(*state, "", "v1", "bindings")->storage);
}

static void words_of_people_are_found(void **state)
{
    static const struct {
        const char *word, *group, *kind;
    } cases[] = {
        {"po", "", "Pod"},
        {"Pods", "", "Pod"},
        {"deploy", "apps", "Deployment"},
        {"deployments.apps", "apps", "Deployment"},
        {"deployment.v1.apps", "apps", "Deployment"},
        {"events", "", "Event"},
        {"events.events.k8s.io", "events.k8s.io", "Event"},
        {"ep", "", "Endpoints"},
        {"svc", "", "Service"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct schema_resource *r = schema_by_word(*state, cases[i].word);
        assert_non_null(r);
        assert_string_equal(r->kind, cases[i].kind);
        assert_string_equal(r->group, cases[i].group);
    }
    assert_null(schema_by_word(*state, "pods.apps"));
    assert_null(schema_by_word(*state, "scale"));
    assert_null(schema_by_word(*state, ""));
}

static void fields_carry_their_attributes(void **state)
{
    const struct schema *spec = schema_type_by_name(*state, "io.k8s.api.core.v1.PodSpec");
    const struct schema_field *containers = schema_field_get(spec, "containers");
    assert_true(containers->required);
    assert_true(containers->checked);
    assert_string_equal(containers->patch_strategy, "merge");
    assert_string_equal(containers->patch_merge_key, "name");
    assert_int_equal(containers->type->list_type, SCHEMA_LIST_MAP);
    const struct schema_field *volumes = schema_field_get(spec, "volumes");
    assert_string_equal(volumes->patch_strategy, "merge,retainKeys");
    const struct schema_field *grace = schema_field_get(spec, "terminationGracePeriodSeconds");
    assert_int_equal(json_integer_value(grace->def), 30);
    const struct schema *port = schema_type_by_name(*state, "io.k8s.api.core.v1.ContainerPort");
    assert_int_equal(schema_field_get(port, "containerPort")->type->max, 65535);
    assert_string_equal(schema_field_get(port, "protocol")->type->values[0], "SCTP");
    const struct schema *ports =
        schema_field_get(schema_type_by_name(*state, "io.k8s.api.core.v1.Container"), "ports")
            ->type;
    assert_string_equal(ports->list_keys[0], "containerPort");
    assert_string_equal(ports->list_keys[1], "protocol");
    assert_null(ports->list_keys[2]);
    assert_null(schema_field_get(spec, "nope"));
    /* A name that two packages use means the nearer one. */
    const struct schema *slice =
        schema_type_by_name(*state, "io.k8s.api.discovery.v1.EndpointSlice");
    assert_string_equal(schema_field_get(slice, "ports")->type->items->name,
                        "io.k8s.api.discovery.v1.EndpointPort");
}

static void every_field_is_described(void **state)
{
    const struct schema *type;
    for (size_t i = 0; (type = schema_type_at(*state, i)); i++) {
        assert_true(*type->description != '\0');
        for (size_t f = 0; f < type->n_fields; f++) {
            if (*type->fields[f].description == '\0')
                fail_msg("%s.%s has no description", type->name, type->fields[f].name);
            assert_non_null(type->fields[f].type);
        }
    }
    assert_true(schema_type_at(*state, 200) != NULL);
}

static void broken_text_is_refused(_unused_ void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"type X : x\n", "t, line 1: package first: type"},
        {"package p\ntype A : a\n  f strin : x\n", "t, line 3: unknown type: strin"},
        {"package p\ntype A : a\n  f string fancy : x\n", "t, line 3: unknown attribute: fancy"},
        {"package p\ntype A : a\n  f int32 min=x : x\n", "t, line 3: not a number: min=x"},
        {"package p\ntype A : a\n  f string default=x : x\n", "t, line 3: bad default: x"},
        {"package p\ntype A : a\ntype A : b\n", "t, line 3: defined twice: p.A"},
        {"package p\n  f string : x\n", "t, line 2: a field outside of a type: f"},
        {"package p\nkind A as\n", "t, line 2: a kind is KIND PLURAL …, below an api line: kind"},
        {"package p\napi v1\nkind A as\n", "t, line 3: no type of that name: A"},
        {"package p\nfoo\n", "t, line 2: unknown directive: foo"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct schema_registry *reg = schema_registry_new();
        struct error err = ERROR_INIT;
        assert_int_equal(schema_registry_add(reg, "t", cases[i].text, strlen(cases[i].text), &err),
                         -EINVAL);
        assert_string_equal(err.text, cases[i].error);
        schema_registry_free(reg);
    }
}

static void kinds_can_be_added_later(_unused_ void **state)
{
    static const char text[] = "package com.example.v1\n"
                               "type Boat : A boat.\n"
                               "  metadata ObjectMeta : m\n"
                               "  seats int32 min=1 default=2 : s\n"
                               "api example.com/v1\n"
                               "kind Boat boats namespaced short=bt storage=example.com/boats\n"
                               "  | Name string name 0 metadata.name : n\n";
    struct schema_registry *reg = schema_registry_new();
    assert_int_equal(schema_registry_add(reg, "t", text, strlen(text), NULL), 0);
    const struct schema_resource *boat = schema_by_word(reg, "bt");
    assert_string_equal(boat->group, "example.com");
    assert_int_equal(boat->n_columns, 1);
    assert_non_null(schema_field_get(boat->type, "apiVersion"));
    schema_registry_free(reg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kinds_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(storage_paths_are_upstreams, setup, teardown),
        cmocka_unit_test_setup_teardown(words_of_people_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(fields_carry_their_attributes, setup, teardown),
        cmocka_unit_test_setup_teardown(every_field_is_described, setup, teardown),
        cmocka_unit_test(broken_text_is_refused),
        cmocka_unit_test(kinds_can_be_added_later),
    };
    return RUN_TESTS(tests);
}
