/* cri/cni_config, cri/cni_result, cri/cni_runtime, cri/cni_attachment: what goes to CNI plugins and
 * what comes from them. */
#include "lib/test.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cri/cni_attachment.h"
#include "cri/cni_config.h"
#include "cri/cni_result.h"
#include "cri/cni_runtime.h"
#include "net/pbjson.h"

static char dir[] = "/tmp/coracle-cni-XXXXXX";

static int setup(_unused_ void **state)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/coracle-cni-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(_unused_ void **state)
{
    return fs_remove_tree(dir, NULL);
}

static json_t *parse(const char *text, bool list, struct error *err)
{
    return cni_config_parse(text, strlen(text), list, err);
}

/* ---- configurations ---- */
static void one_plugin_becomes_a_list(_unused_ void **state)
{
    _cleanup_json_ json_t *c =
        parse("{\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"type\":\"ptp\"}", false, NULL);
    assert_non_null(c);
    assert_int_equal(cni_config_count(c), 1);
    assert_string_equal(cni_config_type(c, 0), "ptp");
    assert_false(cni_config_at_least(c, "0.4.0"));
    assert_true(cni_config_at_least(c, "0.3.1"));
    assert_null(parse("{\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"type\":\"ptp\"}", true, NULL));
}

static void the_highest_version_is_taken(_unused_ void **state)
{
    _cleanup_json_ json_t *c =
        parse("{\"cniVersion\":\"0.2.0\",\"cniVersions\":[\"0.4.0\",\"1.1.0\","
              "\"2.0.0\"],\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}",
              true, NULL);
    assert_non_null(c);
    assert_string_equal(json_path_string(c, "cniVersion"), "1.1.0");
}

static void bad_configurations_name_the_field(_unused_ void **state)
{
    static const struct {
        const char *text, *named;
    } bad[] = {
        {"[]", "no JSON object"},
        {"{", "line 1"},
        {"{\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"a\"}]}", "name: is missing"},
        {"{\"cniVersion\":\"1.0.0\",\"name\":\"../x\",\"plugins\":[{\"type\":\"a\"}]}", "name:"},
        {"{\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}", "cniVersion: is missing"},
        {"{\"cniVersion\":\"0.2.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}", "0.2.0"},
        {"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[]}", "plugins:"},
        {"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"a\"}", "plugins:"},
        {"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{}]}", "plugins[0].type"},
        {"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\"},{\"type\":\"../"
         "a\"}]}",
         "plugins[1].type"},
        {"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\",\"capabilities\":[]"
         "}]}",
         "plugins[0].capabilities"},
        {"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[7]}", "plugins[0]"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = ERROR_INIT;
        assert_null(parse(bad[i].text, true, &err));
        if (!strstr(err.text, bad[i].named))
            fail_msg("%s: %s", bad[i].text, err.text);
    }
}

static void put(const char *name, const char *text)
{
    _cleanup_free_ char *path = fs_join(dir, name);
    assert_int_equal(fs_write_atomic(path, text, strlen(text), 0644, FS_VOLATILE, NULL), 0);
}

static void the_first_valid_file_by_name(_unused_ void **state)
{
    json_t *c = NULL;
    char *file = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(cni_config_load(dir, &c, &file, &err), -ENOENT);
    assert_non_null(strstr(err.text, dir));
    put("00-readme.txt", "no configuration");
    put("01-broken.conflist", "{");
    assert_int_equal(cni_config_load(dir, &c, &file, &err), -ENOENT);
    assert_non_null(strstr(err.text, "01-broken.conflist"));
    put("30-c.conf", "{\"cniVersion\":\"1.0.0\",\"name\":\"c\",\"type\":\"x\"}");
    put("20-b.conflist",
        "{\"cniVersion\":\"1.0.0\",\"name\":\"b\",\"plugins\":[{\"type\":\"x\"}]}");
    assert_int_equal(cni_config_load(dir, &c, &file, &err), 0);
    assert_string_equal(json_path_string(c, "name"), "b");
    assert_non_null(strstr(file, "/20-b.conflist"));
    assert_int_equal(cni_config_check_plugins(c, dir, &err), -ENOENT);
    assert_non_null(strstr(err.text, "the plugin x"));
    put("x", "");
    _cleanup_free_ char *x = fs_join(dir, "x"), *path = str_printf("/nonexistent:%s", dir);
    assert_int_equal(chmod(x, 0755), 0);
    assert_int_equal(cni_config_check_plugins(c, path, &err), 0);
    json_decref(c);
    free(file);
}

static void what_a_plugin_is_given(_unused_ void **state)
{
    _cleanup_json_ json_t *c = parse(
        "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\",\"name\":\"other\","
        "\"keep\":1},{\"type\":\"b\",\"capabilities\":{\"dns\":true,\"portMappings\":false}}]}",
        true, NULL);
    _cleanup_json_ json_t *runtime = json_pack("{s{ss}s[]}", "dns", "x", "y", "portMappings");
    _cleanup_json_ json_t *prev = json_pack("{si}", "is", 1);
    _cleanup_json_ json_t *a = cni_config_input(c, 0, runtime, NULL);
    _cleanup_json_ json_t *b = cni_config_input(c, 1, runtime, prev);
    assert_string_equal(json_path_string(a, "name"), "n");
    assert_string_equal(json_path_string(a, "cniVersion"), "1.0.0");
    assert_int_equal(json_path_int(a, "keep", 0), 1);
    assert_null(json_path(a, "runtimeConfig"));
    assert_null(json_path(a, "prevResult"));
    assert_non_null(json_path(b, "runtimeConfig.dns"));
    assert_null(json_path(b, "runtimeConfig.portMappings"));
    assert_int_equal(json_path_int(b, "prevResult.is", 0), 1);
    assert_true(cni_config_wants(c, "dns"));
    assert_false(cni_config_wants(c, "portMappings"));
    assert_null(json_path(c, "plugins.name")); /* the configuration itself is as it was */
}

/* ---- results ---- */
static int addresses(const char *text, const char *version, struct ip_addr *ret, size_t max,
                     struct error *err)
{
    _cleanup_json_ json_t *j = cni_result_parse(text, strlen(text), version, err);
    return j ? cni_result_addresses(j, "eth0", ret, max, err) : -EINVAL;
}

static void addresses_of_the_pod(_unused_ void **state)
{
    static const char text[] =
        "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"cni0\"},{\"name\":\"eth0\"},"
        "{\"name\":\"eth0\",\"sandbox\":\"/ns\"}],\"ips\":[{\"address\":\"10.0.0.1/"
        "24\",\"interface\":0},"
        "{\"address\":\"10.0.0.2/24\",\"interface\":1},{\"address\":\"fd00::5/"
        "64\",\"interface\":2},"
        "{\"address\":\"10.0.0.5/24\",\"interface\":2},{\"address\":\"10.0.0.6/24\"}]}";
    struct ip_addr a[4];
    char one[IP_TEXT_MAX];
    assert_int_equal(addresses(text, "1.0.0", a, 4, NULL), 3);
    assert_string_equal(ip_addr_format(&a[0], one), "fd00::5"); /* in the plugin's order */
    assert_string_equal(ip_addr_format(&a[1], one), "10.0.0.5");
    assert_int_equal(addresses(text, "1.0.0", a, 1, NULL), 1);
}

static void bad_results(_unused_ void **state)
{
    static const struct {
        const char *text, *named;
    } bad[] = {
        {"", "line"},
        {"7", "no JSON object"},
        {"{\"ips\":{}}", "ips"},
        {"{}", "no address for eth0"},
        {"{\"ips\":null}", "no address for eth0"},
        {"{\"ips\":[{\"address\":\"10.0.0.1\"}]}", "ips[0].address"},
        {"{\"ips\":[{}]}", "ips[0].address"},
        {"{\"ips\":[{\"address\":\"10.0.0.1/24\",\"interface\":0}]}", "ips[0].interface"},
        {"{\"ips\":[{\"address\":\"10.0.0.1/24\",\"interface\":\"x\"}]}", "ips[0].interface"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct ip_addr a[4];
        struct error err = ERROR_INIT;
        assert_true(addresses(bad[i].text, "1.0.0", a, 4, &err) < 0);
        if (!strstr(err.text, bad[i].named))
            fail_msg("%s: %s", bad[i].text, err.text);
    }
}

static void versions_are_converted(_unused_ void **state)
{
    static const char old[] = "{\"cniVersion\":\"0.4.0\",\"ips\":[{\"version\":\"4\",\"address\":"
                              "\"10.0.0.5/24\"}]}",
                      new[] = "{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"fd00::5/64\"}]}";
    _cleanup_json_ json_t *up = cni_result_parse(old, strlen(old), "1.0.0", NULL);
    _cleanup_json_ json_t *down = cni_result_parse(new, strlen(new), "0.3.1", NULL);
    _cleanup_strbuf_ struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;
    json_encode(up, &a);
    json_encode(down, &b);
    assert_string_equal(strbuf_text(&a),
                        "{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.0.5/24\"}]}");
    assert_string_equal(strbuf_text(&b), "{\"cniVersion\":\"0.3.1\",\"ips\":[{\"address\":"
                                         "\"fd00::5/64\",\"version\":\"6\"}]}");
}

/* ---- what is told of the pod ---- */
static Runtime__V1__PodSandboxConfig *pod(const char *text)
{
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), NULL);
    assert_non_null(j);
    ProtobufCMessage *m = pbjson_to_message(&runtime__v1__pod_sandbox_config__descriptor, j, NULL);
    assert_non_null(m);
    return (Runtime__V1__PodSandboxConfig *)m;
}

static void runtime_config(_unused_ void **state)
{
    Runtime__V1__PodSandboxConfig *c =
        pod("{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\"},"
            "\"port_mappings\":[{\"container_port\":80,\"host_port\":8080,\"host_ip\":\"::1\"},"
            "{\"container_port\":1}],\"dns_config\":{\"servers\":[\"10.0.0.10\"]},"
            "\"annotations\":{\"kubernetes.io/ingress-bandwidth\":\"1M\"}}");
    _cleanup_json_ json_t *j = NULL;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_free_ char *args = NULL;
    assert_int_equal(cni_runtime_config(c, &j, NULL), 0);
    json_encode(j, &text);
    assert_string_equal(strbuf_text(&text),
                        "{\"portMappings\":[{\"hostPort\":8080,\"containerPort\":80,\"protocol\":"
                        "\"tcp\",\"hostIP\":\"::1\"}],\"bandwidth\":{\"ingressRate\":1000000,"
                        "\"ingressBurst\":4294967295},\"dns\":{\"servers\":[\"10.0.0.10\"],"
                        "\"searches\":[],\"options\":[]}}");
    assert_int_equal(cni_runtime_args("id", c->metadata, &args, NULL), 0);
    assert_string_equal(args, "IgnoreUnknown=1;K8S_POD_NAMESPACE=n;K8S_POD_NAME=p;"
                              "K8S_POD_INFRA_CONTAINER_ID=id;K8S_POD_UID=u");
    protobuf_c_message_free_unpacked(&c->base, NULL);
}

static void bad_pods(_unused_ void **state)
{
    static const char *const rates[] = {"", "x", "999", "2P", "-1M", "1M1"};
    for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
        _cleanup_free_ char *text =
            str_printf("{\"annotations\":{\"kubernetes.io/egress-bandwidth\":\"%s\"}}", rates[i]);
        Runtime__V1__PodSandboxConfig *c = pod(text);
        json_t *j = NULL;
        struct error err = ERROR_INIT;
        assert_int_equal(cni_runtime_config(c, &j, &err), -EINVAL);
        assert_non_null(strstr(err.text, "egress-bandwidth"));
        protobuf_c_message_free_unpacked(&c->base, NULL);
    }
    Runtime__V1__PodSandboxConfig *c =
        pod("{\"metadata\":{\"name\":\"p;K8S_POD_NAME=q\",\"namespace\":\"n\",\"uid\":\"u\"}}");
    char *args = NULL;
    assert_int_equal(cni_runtime_args("id", c->metadata, &args, NULL), -EINVAL);
    protobuf_c_message_free_unpacked(&c->base, NULL);
}

/* ---- what is kept ---- */
static void count(_unused_ const char *sandbox, void *arg)
{
    ++*(int *)arg;
}

static void attachments_are_kept(_unused_ void **state)
{
    static char id[] = "s1", netns[] = "/ns", args[] = "A=1";
    struct cni_attachment a = {.sandbox = id, .netns = netns, .args = args}, *b = NULL;
    _cleanup_json_ json_t *config = parse(
        "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"a\"}]}", true, NULL);
    _cleanup_json_ json_t *runtime = json_object(), *result = json_pack("{s[]}", "ips");
    int n = 0;
    a.config = config;
    a.runtime = runtime;
    assert_int_equal(cni_attachment_load(dir, "s1", &b, NULL), -ENOENT);
    assert_int_equal(cni_attachment_save(dir, &a, NULL), 0);
    assert_int_equal(cni_attachment_load(dir, "s1", &b, NULL), 0);
    assert_null(b->result);
    cni_attachment_free(b);
    a.result = result;
    assert_int_equal(cni_attachment_save(dir, &a, NULL), 0);
    assert_int_equal(cni_attachment_load(dir, "s1", &b, NULL), 0);
    assert_string_equal(b->args, "A=1");
    assert_true(json_equal(b->result, result));
    assert_true(json_equal(b->config, config));
    cni_attachment_free(b);
    put("s2.json", "{\"netns\":\"/ns\"}");
    assert_int_equal(cni_attachment_load(dir, "s2", &b, NULL), -EBADMSG);
    assert_int_equal(cni_attachments_each(dir, count, &n), 2);
    assert_int_equal(n, 2);
    assert_int_equal(cni_attachment_forget(dir, "s1", NULL), 0);
    assert_int_equal(cni_attachment_forget(dir, "s1", NULL), 0);
    assert_int_equal(cni_attachment_load(dir, "s1", &b, NULL), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_plugin_becomes_a_list),
        cmocka_unit_test(the_highest_version_is_taken),
        cmocka_unit_test(bad_configurations_name_the_field),
        cmocka_unit_test_setup_teardown(the_first_valid_file_by_name, setup, teardown),
        cmocka_unit_test(what_a_plugin_is_given),
        cmocka_unit_test(addresses_of_the_pod),
        cmocka_unit_test(bad_results),
        cmocka_unit_test(versions_are_converted),
        cmocka_unit_test(runtime_config),
        cmocka_unit_test(bad_pods),
        cmocka_unit_test_setup_teardown(attachments_are_kept, setup, teardown),
    };
    return RUN_TESTS(tests);
}
