/* cri/spec, cri/resources, cri/signals: from the CRI's configuration to a launch specification. */
#include "lib/test.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>

#include "cri/capabilities.h"
#include "cri/resources.h"
#include "cri/seccomp.h"
#include "cri/signals.h"
#include "cri/spec.h"
#include "cri/userns.h"
#include "net/pbjson.h"

#define BIT(n) (UINT64_C(1) << (n))

struct built {
    struct arena a;
    struct seccomp_cache filters;
    Runtime__V1__ContainerConfig *config;
    struct launch_spec spec;
    struct error err;
    int code;
};

static char *image_entrypoint[] = {(char[]){"/entry"}, NULL};
static char *image_cmd[] = {(char[]){"arg"}, NULL};
static char *image_env[] = {(char[]){"PATH=/image"}, (char[]){"A=1"}, (char[]){"broken"}, NULL};

static struct built build(const char *json)
{
    struct built b = {.a = ARENA_INIT};
    _cleanup_json_ json_t *j = json_parse(json, strlen(json), &b.err);
    assert_non_null(j);
    b.config = (Runtime__V1__ContainerConfig *)pbjson_to_message(
        &runtime__v1__container_config__descriptor, j, &b.err);
    if (!b.config)
        fail_msg("%s", b.err.text);
    static char user[] = "www-data:33", cwd[] = "/srv";
    struct image_config image = {.user = user,
                                 .working_dir = cwd,
                                 .entrypoint = image_entrypoint,
                                 .cmd = image_cmd,
                                 .env = image_env};
    const struct spec_pod pod = {.filters = &b.filters,
                                 .privileged = true,
                                 .hostname = "pod",
                                 .resolv_conf = "/p/resolv.conf",
                                 .hosts_file = "/p/hosts",
                                 .hostname_file = "/p/hostname",
                                 .shm_path = "/p/shm",
                                 .share_pid = true};
    static const char *const lower[] = {"/l", NULL};
    const struct spec_root root = {lower, "/u", "/w"};
    b.code = spec_build(&b.a, b.config, &image, &pod, &root, "/cg", &b.spec, &b.err);
    return b;
}

static void done(struct built *b)
{
    runtime__v1__container_config__free_unpacked(b->config, NULL);
    seccomp_cache_done(&b->filters);
    arena_done(&b->a);
}

static void assert_list(const char *const *list, const char *expected)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    for (size_t i = 0; list[i]; i++)
        strbuf_addf(&text, "%s%s", i ? " " : "", list[i]);
    assert_string_equal(strbuf_text(&text), expected);
}

static void arguments_merge_with_the_image(_unused_ void **state)
{
    static const struct {
        const char *json, *expected;
    } cases[] = {
        {"{}", "/entry arg"},
        {"{\"args\":[\"x\",\"y\"]}", "/entry x y"},
        {"{\"command\":[\"c\"]}", "c"},
        {"{\"command\":[\"c\"],\"args\":[\"x\"]}", "c x"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct built b = build(cases[i].json);
        assert_int_equal(b.code, 0);
        assert_list(b.spec.process.argv, cases[i].expected);
        done(&b);
    }
}

static void environment_merges(_unused_ void **state)
{
    struct built b =
        build("{\"envs\":[{\"key\":\"A\",\"value\":\"2\"},{\"key\":\"B\"}],\"tty\":true}");
    assert_int_equal(b.code, 0);
    assert_list(b.spec.process.env, "PATH=/image HOSTNAME=pod TERM=xterm A=2 B=");
    assert_true(b.spec.process.tty);
    assert_string_equal(b.spec.process.cwd, "/srv");
    done(&b);
}

static void users(_unused_ void **state)
{
    struct built b = build("{}");
    assert_string_equal(b.spec.process.user, "www-data:33");
    assert_int_equal(b.spec.process.uid, LAUNCH_ID_UNSET);
    done(&b);
    b = build("{\"linux\":{\"security_context\":{\"run_as_user\":{\"value\":7},\"run_as_group\":"
              "{\"value\":8},\"supplemental_groups\":[9],\"supplemental_groups_policy\":1}}}");
    assert_int_equal(b.code, 0);
    assert_string_equal(b.spec.process.user, "7");
    assert_int_equal(b.spec.process.uid, 7);
    assert_int_equal(b.spec.process.gid, 8);
    assert_int_equal(b.spec.process.n_groups, 1);
    assert_true(b.spec.process.strict_groups);
    done(&b);
    b = build("{\"linux\":{\"security_context\":{\"run_as_username\":\"bob\"}}}");
    assert_string_equal(b.spec.process.user, "bob");
    done(&b);
}

static uint64_t capabilities(const char *json)
{
    struct built b = build(json);
    assert_int_equal(b.code, 0);
    assert_int_equal(b.spec.process.cap_effective, b.spec.process.cap_bounding);
    uint64_t set = b.spec.process.cap_bounding;
    done(&b);
    return set;
}

#define CAPS(c)  "{\"linux\":{\"security_context\":{\"capabilities\":" c "}}}"
#define DEFAULTS (capabilities_default() & capabilities_all())

static void capability_lists(_unused_ void **state)
{
    assert_int_equal(capabilities("{}"), DEFAULTS);
    assert_int_equal(capabilities(CAPS("{\"add_capabilities\":[\"NET_ADMIN\"],"
                                       "\"drop_capabilities\":[\"CAP_CHOWN\"]}")),
                     ((DEFAULTS | BIT(CAP_NET_ADMIN)) & ~BIT(CAP_CHOWN)) & capabilities_all());
    assert_int_equal(capabilities(CAPS("{\"drop_capabilities\":[\"ALL\"]}")), 0);
    assert_int_equal(capabilities(CAPS("{\"add_capabilities\":[\"kill\"],"
                                       "\"drop_capabilities\":[\"all\"]}")),
                     BIT(CAP_KILL));
    assert_int_equal(capabilities(CAPS("{\"add_capabilities\":[\"ALL\"],"
                                       "\"drop_capabilities\":[\"KILL\"]}")),
                     capabilities_all() & ~BIT(CAP_KILL));
    assert_int_equal(capabilities("{\"linux\":{\"security_context\":{\"privileged\":true}}}"),
                     capabilities_all());
}

static void mounts_are_sorted_and_completed(_unused_ void **state)
{
    struct built b = build("{\"mounts\":[{\"container_path\":\"/a/b/c\",\"host_path\":\"/tmp\"},"
                           "{\"container_path\":\"/a\",\"host_path\":\"/tmp\",\"readonly\":true},"
                           "{\"container_path\":\"//etc/hosts/\",\"host_path\":\"/tmp\"},"
                           "{\"container_path\":\"/dev/shm\",\"host_path\":\"/tmp\"}]}");
    assert_int_equal(b.code, 0);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    for (size_t i = 0; i < b.spec.n_mounts; i++)
        strbuf_addf(&text, "%s:%s ", b.spec.mounts[i].source, b.spec.mounts[i].target);
    assert_string_equal(strbuf_text(&text),
                        "/tmp:/a /tmp://etc/hosts/ /tmp:/dev/shm /p/hostname:/etc/hostname "
                        "/p/resolv.conf:/etc/resolv.conf /tmp:/a/b/c ");
    assert_true(b.spec.mounts[0].readonly);
    assert_null(b.spec.shm_path);
    done(&b);
}

static void seccomp_profiles(_unused_ void **state)
{
    struct built b = build("{}");
    assert_null(b.spec.process.seccomp);
    done(&b);
    b = build(
        "{\"linux\":{\"security_context\":{\"seccomp\":{\"profile_type\":\"RuntimeDefault\"}}}}");
    assert_int_equal(b.code, 0);
    assert_non_null(b.spec.process.seccomp);
    done(&b);
    b = build("{\"linux\":{\"security_context\":{\"privileged\":true,\"seccomp\":{}}}}");
    assert_null(b.spec.process.seccomp);
    done(&b);
}

static void bad_input_names_its_field(_unused_ void **state)
{
    static const struct {
        const char *json, *field;
    } bad[] = {
        {"{\"command\":[\"\"]}", "command"},
        {"{\"working_dir\":\"a\"}", "working_dir"},
        {"{\"envs\":[{\"key\":\"a=b\"}]}", "envs"},
        {"{\"envs\":[{}]}", "envs"},
        {"{\"mounts\":[{\"host_path\":\"/tmp\"}]}", "mounts[0]"},
        {"{\"mounts\":[{\"container_path\":\"/x\",\"host_path\":\"tmp\"}]}", "mounts[0]"},
        {"{\"mounts\":[{\"container_path\":\"/x\",\"host_path\":\"/no/such\"}]}", "mounts[0]"},
        {"{\"mounts\":[{\"container_path\":\"/x\",\"host_path\":\"/tmp\",\"propagation\":9}]}",
         "mounts[0]"},
        {"{\"devices\":[{\"container_path\":\"/x\",\"host_path\":\"/etc/passwd\"}]}", "devices"},
        {"{\"devices\":[{\"host_path\":\"/dev/null\",\"permissions\":\"x\"}]}", "devices"},
        {"{\"CDI_devices\":[{}]}", "CDI_devices"},
        {CAPS("{\"add_capabilities\":[\"NOPE\"]}"),
         "linux.security_context.capabilities.add_capabilities"},
        {"{\"linux\":{\"security_context\":{\"run_as_group\":{}}}}",
         "linux.security_context.run_as_group"},
        {"{\"linux\":{\"security_context\":{\"run_as_user\":{\"value\":-1}}}}",
         "linux.security_context.run_as_user"},
        {"{\"linux\":{\"security_context\":{\"run_as_user\":{},\"run_as_username\":\"x\"}}}",
         "linux.security_context.run_as_username"},
        {"{\"linux\":{\"security_context\":{\"seccomp\":{\"profile_type\":\"Localhost\","
         "\"localhost_ref\":\"x\"}}}}",
         "linux.security_context.seccomp.localhost_ref"},
        {"{\"linux\":{\"security_context\":{\"namespace_options\":{\"userns_options\":{\"mode\":"
         "\"POD\"}}}}}",
         "linux.security_context.namespace_options.userns_options.uids"},
        {"{\"mounts\":[{\"container_path\":\"/x\",\"host_path\":\"/tmp\",\"uidMappings\":[{"
         "\"host_id\":65536,\"length\":65536}],\"gidMappings\":[{\"host_id\":65536,\"length\":"
         "65536}]}]}",
         "mounts[0]"}, /* the pod has no user namespace */
        {"{\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":7}}}}",
         "linux.security_context.namespace_options.pid"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct built b = build(bad[i].json);
        if (b.code >= 0)
            fail_msg("%s was taken", bad[i].json);
        assert_string_equal(b.err.field, bad[i].field);
        done(&b);
    }
}

static struct userns parse(const char *json, struct error *err, int expected)
{
    struct userns u;
    _cleanup_json_ json_t *j = json_parse(json, strlen(json), err);
    assert_non_null(j);
    ProtobufCMessage *m = pbjson_to_message(&runtime__v1__user_namespace__descriptor, j, err);
    assert_non_null(m);
    assert_int_equal(userns_parse((Runtime__V1__UserNamespace *)m, "f", &u, err), expected);
    protobuf_c_message_free_unpacked(m, NULL);
    return u;
}

static void user_namespaces(_unused_ void **state)
{
    struct error err = ERROR_INIT;
    struct userns none;
    assert_int_equal(userns_parse(NULL, "f", &none, NULL), 0);
    assert_false(none.own);
    assert_false(parse("{\"mode\":\"NODE\"}", &err, 0).own);
#define MAP(host, length) "[{\"host_id\":" #host ",\"length\":" #length "}]"
#define POD(uids, gids)   "{\"mode\":\"POD\",\"uids\":" uids ",\"gids\":" gids "}"
    struct userns u = parse(POD(MAP(65536, 65536), MAP(131072, 70000)), &err, 0);
    assert_true(u.own && u.uids.host == 65536 && u.gids.host == 131072 && u.gids.length == 70000);
    assert_true(userns_equal(&u, &u) && !userns_equal(&u, &none));
    assert_int_equal(userns_outside(&u.uids, 0), 65536);
    assert_int_equal(userns_outside(&u.uids, 65535), 131071);
    assert_int_equal(userns_outside(&u.uids, 65536), 65536); /* nobody inside: root's */
    assert_int_equal(userns_outside(&none.uids, 7), 7);
    assert_int_equal(userns_inside(&u.uids, 65537), 1);
    assert_int_equal(userns_inside(&u.uids, 5), 5);
    assert_int_equal(userns_inside(&none.uids, 7), 7);
    static const struct {
        const char *json, *field;
    } bad[] = {
        {"{\"mode\":\"TARGET\"}", "f"},
        {"{\"mode\":\"NODE\",\"uids\":" MAP(65536, 65536) "}", "f"},
        {"{\"mode\":\"POD\"}", "f.uids"},
        {POD(MAP(65536, 65536), "[]"), "f.gids"},
        {POD(MAP(65535, 65536), MAP(65536, 65536)), "f.uids"},
        {POD(MAP(65536, 65535), MAP(65536, 65536)), "f.uids"},
        {POD(MAP(65536, 65536), MAP(4294901760, 65536)), "f.gids"},
        {POD("[{\"host_id\":65536,\"container_id\":1,\"length\":65536}]", MAP(65536, 65536)),
         "f.uids"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        (void)parse(bad[i].json, &err, -EINVAL);
        assert_string_equal(err.field, bad[i].field);
    }
}

static void limits(_unused_ void **state)
{
    _cleanup_arena_ struct arena a = ARENA_INIT;
    struct cgroup_limits l;
    struct error err = ERROR_INIT;
    Runtime__V1__LinuxContainerResources r = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT;
    assert_int_equal(resources_to_limits(&a, NULL, &l, NULL), 0);
    assert_int_equal(l.memory_limit, CGROUP_UNSET);
    r.memory_limit_in_bytes = 1000;
    r.cpu_quota = -1;
    r.cpu_shares = 2;
    assert_int_equal(resources_to_limits(&a, &r, &l, NULL), 0);
    assert_int_equal(l.memory_limit, 1000);
    assert_int_equal(l.cpu_quota, CGROUP_UNLIMITED);
    assert_int_equal(l.cpu_period, CGROUP_UNSET);
    assert_null(l.cpus);
    r.cpu_period = 10;
    assert_int_equal(resources_to_limits(&a, &r, &l, &err), -EINVAL);
    assert_string_equal(err.field, "resources.cpu_period");
}

static void signals(_unused_ void **state)
{
    assert_int_equal(signal_parse("SIGTERM"), SIGTERM);
    assert_int_equal(signal_parse("quit"), SIGQUIT);
    assert_int_equal(signal_parse("9"), SIGKILL);
    assert_int_equal(signal_parse("SIGRTMIN+3"), SIGRTMIN + 3);
    assert_int_equal(signal_parse("RTMAXMINUS2"), SIGRTMAX - 2);
    static const char *const bad[] = {"",      "0",           "99", "SIG",
                                      "TERMX", "SIGRTMIN+99", "9x", "SIGRTMIN-1"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(signal_parse(bad[i]), -EINVAL);
    assert_int_equal(signal_of_cri(RUNTIME__V1__SIGNAL__SIGRTMAXMINUS14), SIGRTMAX - 14);
    assert_int_equal(signal_of_cri(RUNTIME__V1__SIGNAL__RUNTIME_DEFAULT), 0);
    assert_int_equal(signal_of_cri((Runtime__V1__Signal)999), -EINVAL);
    assert_int_equal(signal_to_cri(SIGTERM), RUNTIME__V1__SIGNAL__SIGTERM);
    assert_int_equal(signal_to_cri(SIGCHLD), RUNTIME__V1__SIGNAL__SIGCHLD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_merge_with_the_image),
        cmocka_unit_test(environment_merges),
        cmocka_unit_test(users),
        cmocka_unit_test(capability_lists),
        cmocka_unit_test(mounts_are_sorted_and_completed),
        cmocka_unit_test(seccomp_profiles),
        cmocka_unit_test(bad_input_names_its_field),
        cmocka_unit_test(user_namespaces),
        cmocka_unit_test(limits),
        cmocka_unit_test(signals),
    };
    return RUN_TESTS(tests);
}
