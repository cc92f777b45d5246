/* The pure parts of the kubelet: pods, environment, requests, back-off, probes, logs, files. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/config/env.h"
#include "kubelet/pod/pod.h"
#include "kubelet/probe/probe.h"
#include "kubelet/runtime/message.h"
#include "kubelet/runtime/requests.h"
#include "kubelet/server/log_reader.h"
#include "kubelet/volume/volume.h"
#include "kubelet/worker/backoff.h"

static struct pod *make_pod(const char *spec)
{
    struct error err = ERROR_INIT;
    struct pod *pod = NULL;
    _cleanup_free_ char *text =
        str_printf("{\"metadata\":{\"name\":\"web\",\"namespace\":\"ns1\",\"uid\":\"u-1\","
                   "\"labels\":{\"app\":\"x\\\"y\"},\"annotations\":{\"a.b/c\":\"note\"}},"
                   "\"spec\":%s}",
                   spec);
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), &err);
    if (!j)
        fail_msg("%s", error_text(&err));
    assert_int_equal(pod_decode(j, POD_FROM_API, &pod, &err), 0);
    return pod;
}

/* ---- pods ---- */
static void pods_get_defaults(void **state)
{
    (void)state;
    struct pod *p = make_pod("{\"containers\":[{\"name\":\"a\",\"image\":\"r:5000/i\"},"
                             "{\"name\":\"b\",\"image\":\"i:v1\",\"readinessProbe\":{\"httpGet\":"
                             "{\"port\":80}}},{\"name\":\"c\",\"image\":\"i@sha256:00\"}]}");
    assert_null(p->invalid);
    assert_string_equal(p->spec.containers.items[0].image_pull_policy, "Always");
    assert_string_equal(p->spec.containers.items[1].image_pull_policy, "IfNotPresent");
    assert_string_equal(p->spec.containers.items[2].image_pull_policy, "IfNotPresent");
    const struct probe_spec *r = p->spec.containers.items[1].readiness;
    assert_int_equal(r->timeout, 1);
    assert_int_equal(r->period, 10);
    assert_int_equal(r->failure, 3);
    assert_string_equal(r->http_get->path, "/");
    assert_int_equal(p->qos, QOS_BEST_EFFORT);
    assert_int_equal(pod_grace(p), 30);
    pod_unref(p);
}

static void pods_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *complaint;
    } cases[] = {
        {"{}", "containers"},
        {"{\"containers\":[{\"name\":\"../x\",\"image\":\"i\"}]}", "containers[0]"},
        {"{\"containers\":[{\"name\":\"a\"}]}", "image"},
        {"{\"containers\":[{\"name\":\"a\",\"image\":\"i\"},{\"name\":\"a\",\"image\":\"i\"}]}",
         "twice"},
        {"{\"containers\":[{\"name\":\"a\",\"image\":5}]}", "spec.containers[0].image"},
        {"{\"containers\":[{\"name\":\"a\",\"image\":\"i\",\"volumeMounts\":[{\"name\":\"v\","
         "\"mountPath\":\"/x\"}]}]}",
         "no volume"},
        {"{\"containers\":[{\"name\":\"a\",\"image\":\"i\",\"volumeMounts\":[{\"name\":\"v\","
         "\"mountPath\":\"/x\",\"subPath\":\"a/../../b\"}]}],\"volumes\":[{\"name\":\"v\"}]}",
         "subPath"},
        {"{\"containers\":[{\"name\":\"a\",\"image\":\"i\",\"resources\":{\"limits\":{\"cpu\":"
         "\"5x\"}}}]}",
         "cpu"},
        {"{\"restartPolicy\":\"Perhaps\",\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}",
         "restartPolicy"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct pod *p = make_pod(cases[i].spec);
        if (!p->invalid || !strstr(p->invalid, cases[i].complaint))
            fail_msg("%s: %s", cases[i].spec, p->invalid ? p->invalid : "accepted");
        pod_unref(p);
    }
}

static void names_that_become_paths_are_refused(void **state)
{
    (void)state;
    static const char *const metas[] = {
        "{\"name\":\"../../etc\",\"namespace\":\"d\",\"uid\":\"u\"}",
        "{\"name\":\"a\",\"namespace\":\"a/b\",\"uid\":\"u\"}",
        "{\"name\":\"a\",\"namespace\":\"d\",\"uid\":\"..\"}",
        "{\"name\":\"a\",\"namespace\":\"d\"}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(metas); i++) {
        struct pod *pod = NULL;
        _cleanup_free_ char *text = str_printf("{\"metadata\":%s,\"spec\":{}}", metas[i]);
        _cleanup_json_ json_t *j = json_parse(text, strlen(text), NULL);
        assert_true(pod_decode(j, POD_FROM_API, &pod, NULL) < 0);
    }
    assert_true(path_is_below("a/b..c"));
    assert_false(path_is_below("a/.."));
    assert_false(path_is_below("/a"));
    assert_false(path_is_below(""));
}

static void qos_follows_requests_and_limits(void **state)
{
    (void)state;
    static const struct {
        const char *resources;
        enum qos_class qos;
    } cases[] = {
        {"{}", QOS_BEST_EFFORT},
        {"{\"requests\":{\"cpu\":\"10m\"}}", QOS_BURSTABLE},
        {"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}", QOS_GUARANTEED},
        {"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"500m\"}}",
         QOS_BURSTABLE},
        {"{\"limits\":{\"memory\":\"1Gi\"}}", QOS_BURSTABLE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *spec =
            str_printf("{\"containers\":[{\"name\":\"a\",\"image\":\"i\",\"resources\":%s}]}",
                       cases[i].resources);
        struct pod *p = make_pod(spec);
        assert_int_equal(p->qos, cases[i].qos);
        pod_unref(p);
    }
}

/* ---- environment ---- */
static struct bytes_pair config_items[] = {
    {.key = (char *)"key", .value = {.data = (unsigned char *)"value", .len = 5}},
    {.key = (char *)"other", .value = {.data = (unsigned char *)"2", .len = 1}}};
static const struct bytes_map config = {.items = config_items, .count = 2};

static enum object_state find_object(void *arg, enum object_kind kind, const char *name,
                                     const struct bytes_map **ret)
{
    (void)arg;
    if (kind != OBJECT_CONFIG_MAP || strcmp(name, "cfg") != 0)
        return OBJECT_ABSENT;
    *ret = &config;
    return OBJECT_PRESENT;
}

static const struct env_context env_ctx = {
    .downward = {.node_name = "n1",
                 .host_ips = "192.0.2.1,2001:db8::1",
                 .pod_ips = "10.0.0.5,2001:db8::5",
                 .limit = {.cpu_milli = 2000, .memory = 1 << 30, .ephemeral = 5 << 20}},
    .object = find_object};

static void build_env(const char *container, struct env_list *env, int expected, struct error *err)
{
    _cleanup_free_ char *spec =
        str_printf("{\"containers\":[{\"name\":\"a\",\"image\":\"i\",%s}]}", container);
    struct pod *p = make_pod(spec);
    assert_null(p->invalid);
    int r = env_build(p, &p->spec.containers.items[0], &env_ctx, env, err);
    if (r != expected)
        fail_msg("%d: %s", r, error_text(err));
    pod_unref(p);
}

static void environment_is_built(void **state)
{
    (void)state;
    struct env_list e = {.items = NULL};
    struct error err = ERROR_INIT;
    build_env(
        "\"resources\":{\"limits\":{\"cpu\":\"1500m\"},\"requests\":{\"memory\":\"5M\"}},"
        "\"envFrom\":[{\"prefix\":\"P_\",\"configMapRef\":{\"name\":\"cfg\"}},"
        "{\"secretRef\":{\"name\":\"none\",\"optional\":true}}],\"env\":["
        "{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"$(A)-$(P_key)-$(NO)-$$(A)\"},"
        "{\"name\":\"IP\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}},"
        "{\"name\":\"IPS\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIPs\"}}},"
        "{\"name\":\"HOST\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.hostIP\"}}},"
        "{\"name\":\"HOSTS\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.hostIPs\"}}},"
        "{\"name\":\"DISK\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":"
        "\"limits.ephemeral-storage\",\"divisor\":\"1Mi\"}}},"
        "{\"name\":\"L\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['app']\"}}},"
        "{\"name\":\"ALL\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels\"}}},"
        "{\"name\":\"CPU\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\"}}},"
        "{\"name\":\"MEM\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":"
        "\"requests.memory\",\"divisor\":\"1Mi\"}}},"
        "{\"name\":\"NODEMEM\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":"
        "\"limits.memory\"}}},"
        "{\"name\":\"K\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"cfg\",\"key\":\"key\"}}},"
        "{\"name\":\"OPT\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"cfg\",\"key\":\"no\","
        "\"optional\":true}}}]",
        &e, 0, &err);
    assert_string_equal(env_list_get(&e, "B"), "1-value-$(NO)-$(A)");
    assert_string_equal(env_list_get(&e, "P_other"), "2");
    assert_string_equal(env_list_get(&e, "IP"), "10.0.0.5");
    assert_string_equal(env_list_get(&e, "IPS"), "10.0.0.5,2001:db8::5");
    assert_string_equal(env_list_get(&e, "HOST"), "192.0.2.1");
    assert_string_equal(env_list_get(&e, "HOSTS"), "192.0.2.1,2001:db8::1");
    assert_string_equal(env_list_get(&e, "DISK"), "5");
    assert_string_equal(env_list_get(&e, "L"), "x\"y");
    assert_string_equal(env_list_get(&e, "ALL"), "app=\"x\\\"y\"");
    assert_string_equal(env_list_get(&e, "CPU"), "2");
    assert_string_equal(env_list_get(&e, "MEM"), "5");
    assert_string_equal(env_list_get(&e, "NODEMEM"), "1073741824");
    assert_string_equal(env_list_get(&e, "K"), "value");
    assert_null(env_list_get(&e, "OPT"));
    _cleanup_free_ char *word = env_expand("x$(A)$(", &e);
    assert_string_equal(word, "x1$(");
    env_list_done(&e);
}

static void environment_errors_have_upstream_texts(void **state)
{
    (void)state;
    static const struct {
        const char *env, *text;
    } cases[] = {
        {"\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"cfg\",\"key\":\"no\"}}",
         "couldn't find key no in ConfigMap ns1/cfg"},
        {"\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":\"k\"}}",
         "secret \"s\" not found"},
        {"\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"spec.nothing\"}}", "unsupported fieldPath"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct env_list e = {.items = NULL};
        struct error err = ERROR_INIT;
        _cleanup_free_ char *text = str_printf("\"env\":[{\"name\":\"A\",%s}]", cases[i].env);
        build_env(text, &e, i < 2 ? -ENOENT : -EINVAL, &err);
        assert_non_null(strstr(error_text(&err), cases[i].text));
    }
}

/* Each variable doubles the one before: the sum is refused long before memory is gone. */
static void expansion_is_bounded(void **state)
{
    (void)state;
    struct strbuf text = STRBUF_INIT;
    struct error err = ERROR_INIT;
    struct env_list e = {.items = NULL};
    strbuf_adds(&text, "\"env\":[{\"name\":\"V0\",\"value\":\"0123456789abcdef\"}");
    for (int i = 1; i < 40; i++)
        strbuf_addf(&text, ",{\"name\":\"V%d\",\"value\":\"$(V%d)$(V%d)\"}", i, i - 1, i - 1);
    strbuf_addc(&text, ']');
    build_env(strbuf_text(&text), &e, -E2BIG, &err);
    strbuf_done(&text);
}

/* ---- requests ---- */
static const struct dns_settings dns = {
    .servers = {.items = (char *[]){(char *)"10.96.0.10"}, .count = 1},
    .domain = "cluster.local",
    .host_config = "# comment\nnameserver 192.0.2.53\nsearch example.org .\noptions timeout:3\n"};
static const struct request_context request_ctx = {.log_root = "/var/log/pods",
                                                   .cgroup_parent = "/kubepods/podu-1",
                                                   .dns = &dns,
                                                   .memory_capacity = 1000000000};

static void resources_follow_upstream_formulas(void **state)
{
    (void)state;
    assert_int_equal(milli_to_shares(0), 2);
    assert_int_equal(milli_to_shares(1000), 1024);
    assert_int_equal(milli_to_shares(100), 102);
    assert_int_equal(milli_to_shares(INT64_MAX), 262144);
    assert_int_equal(milli_to_quota(0), 0);
    assert_int_equal(milli_to_quota(5), 1000);
    assert_int_equal(milli_to_quota(1500), 150000);
    struct pod *p = make_pod(
        "{\"containers\":[{\"name\":\"a\",\"image\":\"i\",\"resources\":{\"requests\":{\"memory\":"
        "\"250M\",\"cpu\":\"250m\"},\"limits\":{\"cpu\":\"1\",\"memory\":\"500M\"}}},{\"name\":"
        "\"b\","
        "\"image\":\"i\",\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"1M\"}}}]}");
    assert_int_equal(oom_score_adj(p, &p->spec.containers.items[0], 1000000000), 750);
    struct pod_resources r = pod_resources_of(p);
    assert_int_equal(r.shares, 768);
    assert_int_equal(r.quota, 150000);
    assert_int_equal(r.memory, 501000000);
    pod_unref(p);
}

static void dns_follows_the_policy(void **state)
{
    (void)state;
    struct pod *p = make_pod("{\"containers\":[{\"name\":\"a\",\"image\":\"i\"}],\"dnsConfig\":"
                             "{\"searches\":[\"x.org\"],\"options\":[{\"name\":\"ndots\",\"value\":"
                             "\"2\"},{\"name\":\"edns0\"}]}}");
    Runtime__V1__DNSConfig *d = request_dns(p, &dns, NULL);
    assert_int_equal(d->n_servers, 1);
    assert_string_equal(d->servers[0], "10.96.0.10");
    assert_int_equal(d->n_searches, 5);
    assert_string_equal(d->searches[0], "ns1.svc.cluster.local");
    assert_string_equal(d->searches[3], "example.org");
    assert_string_equal(d->options[0], "ndots:2");
    assert_string_equal(d->options[1], "edns0");
    message_free(d);
    pod_unref(p);
    p = make_pod("{\"dnsPolicy\":\"Default\",\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}");
    d = request_dns(p, &dns, NULL);
    assert_string_equal(d->servers[0], "192.0.2.53");
    assert_int_equal(d->n_searches, 1);
    assert_string_equal(d->options[0], "timeout:3");
    message_free(d);
    pod_unref(p);
}

static void dns_fits_what_libc_takes(void **state)
{
    (void)state;
    struct strbuf notes = STRBUF_INIT, searches = STRBUF_INIT;
    for (int i = 0; i < 40; i++)
        strbuf_addf(&searches, "%s\"s%d.org\"", i ? "," : "", i);
    _cleanup_free_ char *spec = str_printf(
        "{\"dnsPolicy\":\"None\",\"containers\":[{\"name\":\"a\",\"image\":\"i\"}],"
        "\"dnsConfig\":{\"nameservers\":[\"1.1.1.1\",\"2.2.2.2\",\"1.1.1.1\",\"3.3.3.3\","
        "\"4.4.4.4\"],\"searches\":[%s]}}",
        strbuf_text(&searches));
    struct pod *p = make_pod(spec);
    Runtime__V1__DNSConfig *d = request_dns(p, &dns, &notes);
    assert_int_equal(d->n_servers, 3);
    assert_string_equal(d->servers[2], "3.3.3.3");
    assert_int_equal(d->n_searches, 32);
    assert_non_null(strstr(strbuf_text(&notes), "the applied nameserver line is: 1.1.1.1 2.2.2.2 "
                                                "3.3.3.3\n"));
    assert_non_null(strstr(strbuf_text(&notes), "the applied search line is: s0.org s1.org"));
    message_free(d);
    pod_unref(p);
    strbuf_done(&notes);
    strbuf_done(&searches);
    /* Of the host's search lines the last one counts; a dot at the end does not. */
    struct dns_settings host = dns;
    host.servers.count = 0;
    host.host_config = "search a.org\nnameserver 192.0.2.1\nsearch b.org. c.org\n";
    p = make_pod("{\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}");
    assert_true(dns_lacks_cluster(p, &host));
    d = request_dns(p, &host, NULL);
    assert_int_equal(d->n_searches, 2);
    assert_string_equal(d->searches[0], "b.org");
    message_free(d);
    pod_unref(p);
}

static void host_names_have_their_forms(void **state)
{
    (void)state;
    static const struct {
        const char *more, *name;
    } cases[] = {
        {"", "web"},
        {"\"hostname\":\"h\",\"subdomain\":\"sub\",", "h"},
        {"\"hostname\":\"h\",\"subdomain\":\"sub\",\"setHostnameAsFQDN\":true,",
         "h.sub.ns1.svc.cluster.local"},
        {"\"hostname\":\"h\",\"subdomain\":\"sub\",\"setHostnameAsFQDN\":true,"
         "\"hostnameOverride\":\"a.b\",",
         "a.b"},
        {"\"hostname\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"subdomain\":\"sub\","
         "\"setHostnameAsFQDN\":true,",
         NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        _cleanup_free_ char *spec =
            str_printf("{%s\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}", cases[i].more);
        struct pod *p = make_pod(spec);
        assert_null(p->invalid);
        _cleanup_free_ char *name = pod_kernel_hostname(p, "cluster.local", &err);
        if (cases[i].name)
            assert_string_equal(name, cases[i].name);
        else
            assert_non_null(strstr(error_text(&err), "is too long (64 characters is the max"));
        pod_unref(p);
    }
}

static void sysctls_are_allowed_one_by_one(void **state)
{
    (void)state;
    static char *items[] = {(char *)"kernel.msg*", (char *)"net/core/somaxconn"};
    const struct string_list unsafe = {.items = items, .count = 2};
    static const struct {
        const char *more, *name, *complaint;
    } cases[] = {
        {"", "net.ipv4.tcp_syncookies", NULL},
        {"", "net/ipv4/tcp_syncookies", NULL},
        {"", "kernel.msgmax", NULL},
        {"", "net.core.somaxconn", NULL},
        {"", "kernel.sem", "\"kernel.sem\" not allowlisted"},
        {"", "vm.swappiness", "not allowlisted"},
        {"\"hostNetwork\":true,", "net.ipv4.tcp_syncookies", "with host net enabled"},
        {"\"hostIPC\":true,", "kernel.msgmax", "with host ipc enabled"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        _cleanup_free_ char *spec =
            str_printf("{%s\"containers\":[{\"name\":\"a\",\"image\":\"i\"}],\"securityContext\":{"
                       "\"sysctls\":[{\"name\":\"%s\",\"value\":\"1\"}]}}",
                       cases[i].more, cases[i].name);
        struct pod *p = make_pod(spec);
        int code = pod_check_sysctls(p, &unsafe, &err);
        if (cases[i].complaint ? code != -EPERM || !strstr(error_text(&err), cases[i].complaint)
                               : code != 0)
            fail_msg("%s: %s", cases[i].name, error_text(&err));
        pod_unref(p);
    }
}

static void pods_add_up(void **state)
{
    (void)state;
    static const struct {
        const char *more;
        int64_t cpu, memory;
    } cases[] = {
        {"", 100, 1000},
        /* An init container runs alone, beside the sidecars before it. */
        {"\"initContainers\":[{\"name\":\"s\",\"image\":\"i\",\"restartPolicy\":\"Always\","
         "\"resources\":{\"requests\":{\"cpu\":\"50m\"}}},{\"name\":\"x\",\"image\":\"i\","
         "\"resources\":{\"requests\":{\"cpu\":\"300m\",\"memory\":\"10\"}}}],",
         350, 1000},
        {"\"overhead\":{\"cpu\":\"7m\",\"memory\":\"5\"},", 107, 1005},
        {"\"resources\":{\"requests\":{\"cpu\":\"2\"}},", 2000, 1000},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *spec = str_printf(
            "{%s\"containers\":[{\"name\":\"a\",\"image\":\"i\",\"resources\":{\"requests\":{"
            "\"cpu\":\"100m\",\"memory\":\"1000\"}}}]}",
            cases[i].more);
        struct pod *p = make_pod(spec);
        assert_null(p->invalid);
        assert_int_equal(pod_request(p, "cpu"), cases[i].cpu);
        assert_int_equal(pod_request(p, "memory"), cases[i].memory);
        pod_unref(p);
    }
    struct pod *p = make_pod("{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}},"
                             "\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}");
    assert_int_equal(p->qos, QOS_GUARANTEED);
    struct pod_resources r = pod_resources_of(p);
    assert_int_equal(r.quota, 100000);
    assert_int_equal(r.memory, 1 << 30);
    pod_unref(p);
}

static Runtime__V1__ContainerConfig *make_container(const char *more, const char *pod_more,
                                                    const struct image_info *image,
                                                    struct error *err)
{
    struct env_list env = {.items = NULL};
    struct mount_list mounts = {.items = NULL};
    _cleanup_free_ char *spec =
        str_printf("{%s\"containers\":[{\"name\":\"a\",\"image\":\"i\",\"args\":[\"$(X)\"]%s}]}",
                   pod_more, more);
    struct pod *p = make_pod(spec);
    assert_null(p->invalid);
    struct container_request r = {.spec = &p->spec.containers.items[0],
                                  .image = image,
                                  .env = &env,
                                  .mounts = &mounts,
                                  .restart_count = 3};
    Runtime__V1__ContainerConfig *c = request_container(p, &request_ctx, &r, err);
    pod_unref(p);
    return c;
}

static void containers_carry_their_identity(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct image_info image = {.id = (char *)"sha256:1"};
    Runtime__V1__ContainerConfig *c = make_container("", "", &image, &err);
    assert_non_null(c);
    assert_string_equal(c->log_path, "a/3.log");
    assert_string_equal(c->image->image, "sha256:1");
    assert_string_equal(c->image->user_specified_image, "i");
    assert_int_equal(c->metadata->attempt, 3);
    assert_string_equal(message_map_get(c->n_labels, c->labels, LABEL_POD_UID), "u-1");
    assert_string_equal(message_map_get(c->n_labels, c->labels, LABEL_CONTAINER_NAME), "a");
    assert_string_equal(message_map_get(c->n_annotations, c->annotations, ANNOTATION_RESTARTS),
                        "3");
    assert_string_equal(c->args[0], "$(X)");
    assert_true(c->linux->security_context->n_masked_paths > 0);
    assert_false(c->linux->security_context->no_new_privs);
    message_free(c);
}

static void a_user_namespace_maps_everything(void **state)
{
    (void)state;
    struct request_context ctx = request_ctx;
    struct mount_list mounts = {.items = NULL};
    struct env_list env = {.items = NULL};
    struct error err = ERROR_INIT;
    ctx.ids = (struct id_mapping){.host = 131072, .length = 65536};
    struct pod *p =
        make_pod("{\"hostUsers\":false,\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}");
    (void)mount_list_add(&mounts, "/v", "/v", false);
    struct container_request r = {
        .spec = &p->spec.containers.items[0], .env = &env, .mounts = &mounts};
    Runtime__V1__PodSandboxConfig *s = request_sandbox(p, &ctx, 0);
    Runtime__V1__ContainerConfig *c = request_container(p, &ctx, &r, &err);
    const Runtime__V1__UserNamespace *u[] = {
        s->linux->security_context->namespace_options->userns_options,
        c->linux->security_context->namespace_options->userns_options};
    for (size_t i = 0; i < ARRAY_SIZE(u); i++) {
        assert_int_equal(u[i]->mode, RUNTIME__V1__NAMESPACE_MODE__POD);
        assert_int_equal(u[i]->uids[0]->host_id, 131072);
        assert_int_equal(u[i]->gids[0]->length, 65536);
    }
    assert_int_equal(c->mounts[0]->uidmappings[0]->host_id, 131072);
    message_free(s);
    message_free(c);
    mount_list_done(&mounts);
    pod_unref(p);
}

static void run_as_non_root_looks_at_the_image(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct image_info root = {.has_uid = true, .uid = 0};
    struct image_info user = {.has_uid = true, .uid = 1000};
    struct image_info name = {.username = (char *)"app"};
    const char *non_root = ",\"securityContext\":{\"runAsNonRoot\":true}";
    assert_null(make_container(non_root, "", &root, &err));
    assert_string_equal(error_text(&err), "container has runAsNonRoot and image will run as root");
    assert_null(make_container(non_root, "", &name, &err));
    Runtime__V1__ContainerConfig *c = make_container(non_root, "", &user, &err);
    assert_non_null(c);
    assert_int_equal(c->linux->security_context->run_as_user->value, 1000);
    message_free(c);
    /* The container's runAsUser wins over the pod's. */
    c = make_container(",\"securityContext\":{\"runAsUser\":7,\"allowPrivilegeEscalation\":false}",
                       "\"securityContext\":{\"runAsUser\":5,\"fsGroup\":9,"
                       "\"supplementalGroups\":[3]},",
                       &root, &err);
    assert_int_equal(c->linux->security_context->run_as_user->value, 7);
    assert_true(c->linux->security_context->no_new_privs);
    assert_int_equal(c->linux->security_context->n_supplemental_groups, 2);
    assert_int_equal(c->linux->security_context->supplemental_groups[1], 9);
    message_free(c);
}

/* ---- back-off, thresholds ---- */
static void backoff_doubles_and_is_forgotten(void **state)
{
    (void)state;
    struct backoff b = {.delay_ms = 0};
    int64_t t = 1000000;
    static const uint32_t delays[] = {10000, 20000, 40000, 80000, 160000, 300000, 300000};
    assert_int_equal(backoff_wait(&b, t, t), 0); /* the first failure costs nothing */
    for (size_t i = 0; i < ARRAY_SIZE(delays); i++) {
        backoff_next(&b, t, t);
        assert_int_equal(b.delay_ms, delays[i]);
        t += 1000; /* it ran for a second */
        assert_int_equal(backoff_wait(&b, t, t), delays[i]);
        assert_int_equal(backoff_wait(&b, t, t + delays[i]), 0);
        t += delays[i];
    }
    t = b.last_update + 601000; /* it ran for more than ten minutes */
    assert_int_equal(backoff_wait(&b, t, t), 0);
    backoff_next(&b, t, t);
    assert_int_equal(b.delay_ms, 10000);
    assert_true(backoff_wait(&b, t, t - 5000000) <= 10000); /* the clock was set back */
    assert_int_equal(backoff_restore(0, 5).delay_ms, 0);
    assert_int_equal(backoff_restore(3, 5).delay_ms, 40000);
    assert_int_equal(backoff_restore(1000000, 5).delay_ms, 300000);
}

static void probes_count_to_their_thresholds(void **state)
{
    (void)state;
    struct probe_spec spec = {.success = 2, .failure = 3};
    struct probe_counter c = {.ok = false};
    assert_false(probe_count(&c, &spec, true));
    assert_true(probe_count(&c, &spec, true));
    assert_false(probe_count(&c, &spec, true));
    assert_false(probe_count(&c, &spec, false));
    assert_false(probe_count(&c, &spec, false));
    assert_false(probe_count(&c, &spec, true)); /* a success in between starts the count again */
    assert_false(probe_count(&c, &spec, false));
    assert_false(probe_count(&c, &spec, false));
    assert_true(probe_count(&c, &spec, false));
    assert_false(c.ok);
}

/* ---- logs ---- */
static const char log_text[] = "2026-01-02T03:04:05.000000001Z stdout F one\n"
                               "2026-01-02T03:04:06.000000000Z stderr P tw\n"
                               "2026-01-02T03:04:06.500000000Z stderr F o\n"
                               "not a record\n"
                               "2026-01-02T03:04:07.000000000Z stdout F three\n";

static void check_log(struct log_options options, const char *expected)
{
    for (size_t piece = 1; piece < sizeof(log_text); piece += 7) {
        struct log_reader r = {.options = options};
        struct strbuf in = STRBUF_INIT, out = STRBUF_INIT;
        for (size_t at = 0; at < sizeof(log_text) - 1; at += piece) {
            size_t n = sizeof(log_text) - 1 - at < piece ? sizeof(log_text) - 1 - at : piece;
            strbuf_add(&in, log_text + at, n);
            strbuf_consume(&in, log_reader_feed(&r, in.data, in.len, false, &out));
        }
        assert_string_equal(strbuf_text(&out), expected);
        strbuf_done(&in);
        strbuf_done(&out);
    }
}

static void logs_are_read(void **state)
{
    (void)state;
    int64_t since;
    assert_int_equal(time_parse("2026-01-02T03:04:06Z", &since), 0);
    check_log((struct log_options){.limit = -1}, "one\ntwo\nthree\n");
    check_log((struct log_options){.limit = -1, .timestamps = true},
              "2026-01-02T03:04:05.000000001Z one\n2026-01-02T03:04:06.000000000Z two\n"
              "2026-01-02T03:04:07.000000000Z three\n");
    check_log((struct log_options){.limit = 6}, "one\ntw");
    check_log((struct log_options){.limit = -1, .since = since}, "two\nthree\n");
    check_log((struct log_options){.limit = -1, .no_stderr = true}, "one\nthree\n");
}

static void the_tail_of_a_log_is_found(void **state)
{
    (void)state;
    static const struct {
        int64_t lines;
        const char *expected;
    } cases[] = {{0, ""},
                 {1, "three\n"},
                 {3, "two\nthree\n"},
                 {4, "one\ntwo\nthree\n"},
                 {100, "one\ntwo\nthree\n"}};
    char path[] = "/tmp/coracle-log.XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, log_text, sizeof(log_text) - 1), sizeof(log_text) - 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct log_reader r = {.options = {.limit = -1}};
        struct strbuf out = STRBUF_INIT;
        int64_t at = log_tail_offset(fd, cases[i].lines);
        assert_true(at >= 0);
        (void)log_reader_feed(&r, log_text + at, sizeof(log_text) - 1 - (size_t)at, true, &out);
        assert_string_equal(strbuf_text(&out), cases[i].expected);
        strbuf_done(&out);
    }
    (void)close(fd);
    (void)unlink(path);
}

/* ---- files ---- */
static void check_file(const char *dir, const char *name, const char *expected, mode_t mode)
{
    _cleanup_free_ char *path = fs_join(dir, name);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    struct stat st;
    assert_int_equal(fs_read(path, 100, &text, NULL), 0);
    assert_string_equal(strbuf_text(&text), expected);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

static char *link_of(const char *dir)
{
    _cleanup_free_ char *path = fs_join(dir, "..data");
    char buf[256];
    ssize_t n = readlink(path, buf, sizeof(buf) - 1);
    assert_true(n > 0);
    return str_ndup(buf, (size_t)n);
}

static void files_change_all_at_once(void **state)
{
    (void)state;
    char dir[] = "/tmp/coracle-atomic.XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct payload_file one[] = {{.path = "a", .data = "1", .len = 1, .mode = 0644},
                                 {.path = "sub/dir/b", .data = "2", .len = 1, .mode = 0400}};
    struct payload_file two[] = {{.path = "a", .data = "3", .len = 1, .mode = 0600},
                                 {.path = "c", .data = "", .len = 0, .mode = 0644}};
    assert_int_equal(atomic_write(dir, one, 2, -1, NULL), 0);
    check_file(dir, "a", "1", 0644);
    check_file(dir, "sub/dir/b", "2", 0400);
    _cleanup_free_ char *first = link_of(dir);
    assert_int_equal(atomic_write(dir, one, 2, -1, NULL), 0);
    _cleanup_free_ char *same = link_of(dir);
    assert_string_equal(first, same); /* nothing changed, nothing written */
    assert_int_equal(atomic_write(dir, two, 2, -1, NULL), 0);
    check_file(dir, "a", "3", 0600);
    check_file(dir, "c", "", 0644);
    _cleanup_free_ char *gone = fs_join(dir, "sub"), *old = fs_join(dir, first);
    assert_false(fs_exists(gone));
    assert_false(fs_exists(old));
    assert_int_equal(fs_remove_tree(dir, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pods_get_defaults),
        cmocka_unit_test(pods_are_checked),
        cmocka_unit_test(names_that_become_paths_are_refused),
        cmocka_unit_test(qos_follows_requests_and_limits),
        cmocka_unit_test(environment_is_built),
        cmocka_unit_test(environment_errors_have_upstream_texts),
        cmocka_unit_test(expansion_is_bounded),
        cmocka_unit_test(resources_follow_upstream_formulas),
        cmocka_unit_test(dns_follows_the_policy),
        cmocka_unit_test(dns_fits_what_libc_takes),
        cmocka_unit_test(host_names_have_their_forms),
        cmocka_unit_test(sysctls_are_allowed_one_by_one),
        cmocka_unit_test(pods_add_up),
        cmocka_unit_test(containers_carry_their_identity),
        cmocka_unit_test(a_user_namespace_maps_everything),
        cmocka_unit_test(run_as_non_root_looks_at_the_image),
        cmocka_unit_test(backoff_doubles_and_is_forgotten),
        cmocka_unit_test(probes_count_to_their_thresholds),
        cmocka_unit_test(logs_are_read),
        cmocka_unit_test(the_tail_of_a_log_is_found),
        cmocka_unit_test(files_change_all_at_once),
    };
    return RUN_TESTS(tests);
}
