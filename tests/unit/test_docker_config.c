/* cri/image/docker_config: docker's config.json. */
#include "lib/test.h"

#include "base/strbuf.h"
#include "cri/image/docker_config.h"

static const char example[] =
    "{\"auths\": {"
    "  \"https://index.docker.io/v1/\": {\"auth\": \"aHViOnA=\"},"
    "  \"Registry.example:5000\": {\"username\": \"all\", \"password\": \"p\"},"
    "  \"registry.example:5000/team\": {\"username\": \"team\", \"password\": \"p\"},"
    "  \"http://registry.example:5000/v2/team/deep/\": {\"username\": \"deep\"},"
    "  \"registry.example:5000/team/deep/empty\": {},"
    "  \"*.cloud.example\": {\"identitytoken\": \"t\"},"
    "  \"v1.example/v1x\": {\"registrytoken\": \"r\"}},"
    " \"credHelpers\": {\"x\": \"y\"}, \"psFormat\": 1}";

static void the_most_specific_entry_counts(_unused_ void **state)
{
    static const struct {
        const char *host, *repository, *user; /* user NULL: none */
    } cases[] = {
        {"registry.example:5000", "x", "all"},
        {"registry.example:5000", "teams/x", "all"},
        {"registry.example:5000", "team", "team"},
        {"registry.example:5000", "team/x", "team"},
        {"registry.example:5000", "team/deep/x", "deep"},
        {"registry.example:5000", "team/deep/empty", "deep"},
        {"registry.example", "team/x", NULL},
        {"registry.example:50000", "x", NULL},
        {"other.example", "x", NULL},
        {"cloud.example", "x", NULL},
        {"a.b.cloud.example", "x", NULL},
        {"v1.example", "x", NULL},
    };
    struct error err = ERROR_INIT;
    _cleanup_(docker_config_freep) struct docker_config *c =
        docker_config_parse(example, strlen(example), &err);
    if (!c)
        fail_msg("%s", error_text(&err));
    struct registry_auth a = {.username = "untouched"};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool found = docker_config_find(c, cases[i].host, cases[i].repository, &a);
        if (found != (cases[i].user != NULL) || (found && !str_eq(a.username, cases[i].user)))
            fail_msg("%s/%s: %s", cases[i].host, cases[i].repository, found ? a.username : "none");
    }
    assert_true(docker_config_find(c, "docker.io", "library/nginx", &a));
    assert_string_equal(a.encoded, "aHViOnA=");
    assert_true(docker_config_find(c, "a.cloud.example", "x", &a));
    assert_string_equal(a.identity_token, "t");
    assert_true(docker_config_find(c, "v1.example", "v1x/y", &a));
    assert_string_equal(a.registry_token, "r");
}

static void faults_are_named(_unused_ void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "line 1"},
        {"[]", "must be a JSON object"},
        {"{\"auths\": []}", "auths must be an object"},
        {"{\"auths\": {\"a\": 1}}", "auths[a] must be an object"},
        {"{\"auths\": {\"a\": {\"password\": 1}}}", "auths[a].password must be a string"},
        {"{\"auths\": {\"a\": {\"auth\": \"dXNlcg==\"}}}", "auths[a].auth must be"},
        {"{\"auths\": {\"a\": {\"auth\": \"a:b\"}}}", "auths[a].auth must be"},
        {"{\"auths\": {\"a\": {\"auth\": \"dTpw\\r\\nX:\"}}}", "auths[a].auth must be"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        assert_null(docker_config_parse(cases[i].text, strlen(cases[i].text), &err));
        if (!strstr(error_text(&err), cases[i].says))
            fail_msg("%s: %s", cases[i].text, error_text(&err));
    }
    struct registry_auth a;
    _cleanup_(docker_config_freep) struct docker_config *none =
        docker_config_load("/nonexistent/config.json", NULL);
    assert_non_null(none);
    assert_false(docker_config_find(none, "docker.io", "library/nginx", &a));
    assert_null(docker_config_load("/", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_specific_entry_counts),
        cmocka_unit_test(faults_are_named),
    };
    return RUN_TESTS(tests);
}
