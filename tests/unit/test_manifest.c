/* cri/image: manifests, indexes, platforms, configs. */
#include "lib/test.h"

#include <errno.h>

#include "base/strbuf.h"
#include "cri/image/manifest.h"

#define A      "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B      "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define CONFIG "{\"mediaType\":\"m\",\"digest\":\"" A "\",\"size\":7}"
#define LAYER                                                                        \
    "{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"" B \
    "\",\"size\":123}"

static json_t *parse(const char *text)
{
    struct error err = ERROR_INIT;
    json_t *j = json_parse(text, strlen(text), &err);
    if (!j)
        fail_msg("%s: %s", text, error_text(&err));
    return j;
}

static void manifest_is_read(_unused_ void **state)
{
    _cleanup_json_ json_t *j =
        parse("{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER "," LAYER "]}");
    struct manifest m;
    enum manifest_kind kind;
    assert_int_equal(manifest_kind(j, MEDIA_OCI_MANIFEST, &kind, NULL), 0);
    assert_int_equal(kind, MANIFEST_IMAGE);
    assert_int_equal(manifest_parse(j, &m, NULL), 0);
    assert_string_equal(m.config.digest, A);
    assert_int_equal(m.n_layers, 2);
    assert_int_equal(m.layers[1].size, 123);
    manifest_done(&m);
}

static void manifest_faults_are_named(_unused_ void **state)
{
    static const struct {
        const char *text, *field;
    } cases[] = {
        {"{\"layers\":[]}", "config"},
        {"{\"config\":" CONFIG "}", "layers"},
        {"{\"config\":{\"digest\":\"" A "\"},\"layers\":[]}", "config"},
        {"{\"config\":{\"digest\":\"sha256:1\",\"size\":1},\"layers\":[]}", "config"},
        {"{\"config\":" CONFIG ",\"layers\":[{\"digest\":\"" B "\",\"size\":-1}]}", "layers[0]"},
        {"{\"config\":" CONFIG ",\"layers\":[" LAYER ",3]}", "layers[1]"},
        {"{\"config\":" CONFIG ",\"layers\":[{\"digest\":\"" B
         "\",\"size\":1,\"mediaType\":\"x\"}]}",
         "layers[0]"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *j = parse(cases[i].text);
        struct manifest m;
        struct error err = ERROR_INIT;
        assert_int_equal(manifest_parse(j, &m, &err), -EINVAL);
        assert_string_equal(err.field, cases[i].field);
    }
}

static void kinds_must_agree(_unused_ void **state)
{
    static const struct {
        const char *text, *type;
        int r;
    } cases[] = {
        {"{\"schemaVersion\":2,\"layers\":[]}", NULL, 0},
        {"{\"schemaVersion\":2,\"layers\":[]}", "text/plain", 0},
        {"{\"schemaVersion\":2,\"manifests\":[]}", MEDIA_DOCKER_LIST, 0},
        {"{\"schemaVersion\":2,\"manifests\":[]}", MEDIA_OCI_MANIFEST, -EINVAL},
        {"{\"schemaVersion\":2,\"layers\":[],\"mediaType\":\"" MEDIA_OCI_INDEX "\"}", NULL,
         -EINVAL},
        {"{\"schemaVersion\":2,\"layers\":[],\"manifests\":[]}", NULL, -EINVAL},
        {"{\"schemaVersion\":1,\"layers\":[]}", NULL, -EINVAL},
        {"{\"layers\":[]}", NULL, -EINVAL},
        {"[]", NULL, -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *j = parse(cases[i].text);
        enum manifest_kind kind;
        assert_int_equal(manifest_kind(j, cases[i].type, &kind, NULL), cases[i].r);
    }
}

static void platforms_match(_unused_ void **state)
{
    struct platform arm6 = {"linux", "arm", "v6"}, arm64 = {"linux", "arm64", "v8"};
    struct platform amd64 = {"linux", "amd64", NULL};
    struct platform v5 = {"linux", "arm", "v5"}, v6 = {"linux", "arm", "v6"},
                    v7 = {"linux", "arm", "v7"}, windows = {"windows", "amd64", NULL},
                    v3 = {"linux", "amd64", "v3"}, any = {NULL, NULL, NULL};
    assert_true(platform_match(&arm6, &v6) > platform_match(&arm6, &v5));
    assert_int_equal(platform_match(&arm6, &v7), 0);
    assert_int_equal(platform_match(&arm64, &v7), 0);
    assert_int_equal(platform_match(&amd64, &windows), 0);
    assert_int_equal(platform_match(&amd64, &v3), 0);
    assert_true(platform_match(&amd64, &amd64) > platform_match(&amd64, &any));
}

static void index_selects(_unused_ void **state)
{
    _cleanup_json_ json_t *j =
        parse("{\"schemaVersion\":2,\"manifests\":["
              "{\"digest\":\"" A "\",\"size\":1,\"platform\":{\"os\":\"unknown\",\"architecture\":"
              "\"unknown\"}},"
              "{\"digest\":\"" B "\",\"size\":1,\"platform\":{\"os\":\"linux\",\"architecture\":"
              "\"arm\",\"variant\":\"v6\"}}]}");
    struct platform arm = {"linux", "arm", "v7"}, s390 = {"linux", "s390x", NULL};
    struct descriptor d = {.digest = NULL};
    struct error err = ERROR_INIT;
    assert_int_equal(index_select(j, &arm, &d, NULL), 0);
    assert_string_equal(d.digest, B);
    descriptor_done(&d);
    assert_int_equal(index_select(j, &s390, &d, &err), -ENOENT);
    assert_non_null(strstr(err.text, "linux/arm"));
}

static void config_is_read(_unused_ void **state)
{
    _cleanup_json_ json_t *j =
        parse("{\"os\":\"linux\",\"config\":{\"User\":\"a:b\",\"Env\":[\"X=1\"],\"Cmd\":null,"
              "\"Entrypoint\":[\"/e\",\"-x\"],\"Volumes\":{\"/v\":{}},\"Labels\":{\"l\":\"m\"},"
              "\"StopSignal\":\"SIGQUIT\"},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" A
              "\",\"" B "\"]}}");
    struct image_config c;
    assert_int_equal(image_config_parse(j, &c, NULL), 0);
    assert_string_equal(c.user, "a:b");
    assert_string_equal(c.env[0], "X=1");
    assert_null(c.env[1]);
    assert_null(c.cmd[0]);
    assert_string_equal(c.entrypoint[1], "-x");
    assert_string_equal(c.volumes[0], "/v");
    assert_string_equal(map_get(&c.labels, "l"), "m");
    assert_string_equal(c.stop_signal, "SIGQUIT");
    image_config_done(&c);
    char **ids;
    size_t count;
    assert_int_equal(image_config_diff_ids(j, &ids, &count, NULL), 0);
    assert_int_equal(count, 2);
    char chain[2][IMAGE_ID_MAX];
    chain_ids(ids, count, chain);
    assert_string_equal(chain[0], A);
    /* printf '%s %s' A B | sha256sum */
    assert_string_equal(chain[1],
                        "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c");
    (void)image_strings_free(ids);
}

static void config_faults_are_named(_unused_ void **state)
{
    static const struct {
        const char *text, *field;
    } cases[] = {
        {"{\"config\":[]}", "config"},
        {"{\"config\":{\"Env\":[1]}}", "Env"},
        {"{\"config\":{\"Env\":{}}}", "Env"},
        {"{\"config\":{\"User\":1}}", "User"},
        {"{\"config\":{\"User\":\"a\\u0000b\"}}", "User"},
        {"{\"config\":{\"Volumes\":[]}}", "Volumes"},
        {"{\"config\":{\"Labels\":{\"a\":1}}}", "Labels"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *j = parse(cases[i].text);
        struct image_config c;
        struct error err = ERROR_INIT;
        assert_int_equal(image_config_parse(j, &c, &err), -EINVAL);
        assert_string_equal(err.field, cases[i].field);
        assert_null(c.env);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifest_is_read),        cmocka_unit_test(manifest_faults_are_named),
        cmocka_unit_test(kinds_must_agree),        cmocka_unit_test(platforms_match),
        cmocka_unit_test(index_selects),           cmocka_unit_test(config_is_read),
        cmocka_unit_test(config_faults_are_named),
    };
    return RUN_TESTS(tests);
}
