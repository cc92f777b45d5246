/* Resources: what was set aside for a pod, what the node has to give. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kubelet/node/node.h"
#include "kubelet/runtime/image_gc.h"
#include "kubelet/runtime/message.h"
#include "kubelet/runtime/requests.h"
#include "lib/test.h"

/* What was set aside stands in the status: a kubelet that starts anew goes on from there. */
static void a_resize_survives_a_restart(void **state)
{
    (void)state;
    struct pod *pod = NULL;
    static const char text[] =
        "{\"metadata\":{\"name\":\"web\",\"namespace\":\"d\",\"uid\":\"u1\"},\"spec\":"
        "{\"containers\":[{\"name\":\"a\",\"image\":\"i:1\","
        "\"resources\":{\"limits\":{\"cpu\":\"2\",\"memory\":\"64Mi\"}}}]}"
        ",\"status\":{\"containerStatuses\":[{\"name\":\"a\","
        "\"allocatedResources\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"},"
        "\"resources\":{\"limits\":{"
        "\"cpu\":\"100m\",\"memory\":\"64Mi\"}}}]}}";
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), NULL);
    assert_int_equal(pod_decode(j, POD_FROM_API, &pod, NULL), 0);
    struct pod *before = pod_allocated(pod);
    assert_non_null(before);
    assert_int_equal(pod_request(before, "cpu"), 100);
    assert_int_equal(pod_resources_of(before).quota, 10000);
    assert_null(pod_allocated(before)); /* that is what it asks for */
    pod_unref(before);
    pod_unref(pod);
}

static int load(const char *yaml, struct kubelet_config *ret, struct error *err)
{
    char path[] = "/tmp/kubelet-config.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(dprintf(fd,
                        "apiVersion: kubelet.config.k8s.io/v1beta1\n"
                        "kind: KubeletConfiguration\n%s",
                        yaml) > 0);
    (void)close(fd);
    int r = kubelet_config_load(path, NULL, ret, err);
    (void)unlink(path);
    return r;
}

static const struct node_capacity machine = {
    .cpu_milli = 4000, .memory = 8LL << 30, .ephemeral = 100LL << 30, .pods = 110};

static int allocatable(const char *yaml, struct node_capacity *pods, struct node_capacity *a,
                       struct error *err)
{
    struct kubelet_config c = {.kind = NULL};
    int r = load(yaml, &c, err);
    if (r < 0)
        return r;
    r = node_allocatable(&machine, &c, pods, a, err);
    kubelet_config_done(&c);
    return r;
}

static void what_is_reserved_is_not_for_pods(void **state)
{
    (void)state;
    struct node_capacity pods, a;
    assert_int_equal(allocatable("", &pods, &a, NULL), 0);
    assert_int_equal(pods.memory, machine.memory);
    assert_int_equal(a.memory, machine.memory - (100 << 20));
    assert_int_equal(a.ephemeral, 90LL << 30);
    assert_int_equal(a.cpu_milli, 4000);
    assert_int_equal(allocatable("kubeReserved: {cpu: 250m, memory: 512Mi}\n"
                                 "systemReserved: {cpu: \"0.5\", memory: 1Gi, "
                                 "ephemeral-storage: 10Gi}\n"
                                 "evictionHard: {memory.available: 5%, nodefs.available: 1Gi}\n",
                                 &pods, &a, NULL),
                     0);
    assert_int_equal(pods.cpu_milli, 3250);
    assert_int_equal(a.cpu_milli, 3250);
    assert_int_equal(pods.memory, (8LL << 30) - (3LL << 29));
    assert_int_equal(a.memory, pods.memory - (int64_t)((double)machine.memory * 0.05));
    assert_int_equal(a.ephemeral, 89LL << 30);
    /* What is given replaces all defaults. */
    assert_int_equal(allocatable("evictionHard: {pid.available: 10%}\n", &pods, &a, NULL), 0);
    assert_int_equal(a.memory, machine.memory);
    assert_int_equal(a.ephemeral, machine.ephemeral);
}

static void wrong_reservations_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *error;
    } cases[] = {
        {"kubeReserved: {cpu: x}\n", "kubeReserved[cpu]: \"x\" is not a quantity"},
        {"kubeReserved: {memory: -1Gi}\n", "kubeReserved[memory]: \"-1Gi\" is not a quantity"},
        {"kubeReserved: {gpu: \"1\"}\n", "kubeReserved: \"gpu\" cannot be reserved"},
        {"systemReserved: {cpu: \"5\"}\n", "has a reservation of 5000 but capacity of 4000"},
        {"evictionHard: {disk: 1Gi}\n", "evictionHard: unknown eviction signal \"disk\""},
        {"evictionHard: {memory.available: 101%}\n",
         "evictionHard[memory.available]: \"101%\" is not a percentage"},
        {"evictionHard: {memory.available: nan%}\n", "is not a percentage"},
        {"enforceNodeAllocatable: [kube-reserved]\n", "\"kube-reserved\" is not supported"},
        {"enforceNodeAllocatable: [pods, none]\n", "none goes with no other"},
        {"cgroupDriver: x\n", "cgroupDriver: \"x\" is neither"},
        {"memorySwap: {swapBehavior: All}\n", "memorySwap.swapBehavior: \"All\" is neither"},
        {"maxPods: 0\n", "maxPods: 0 is not between"},
        {"imageGCHighThresholdPercent: 101\n", "imageGCHighThresholdPercent: 101 is not between"},
        {"imageGCHighThresholdPercent: 80\n", "imageGCLowThresholdPercent: 80 is not below"},
        {"imageMinimumGCAge: soon\n", "imageMinimumGCAge: \"soon\" is not a duration"},
        {"imageMaximumGCAge: 1m\n", "imageMaximumGCAge: is not above"},
        {"podPidsLimit: -2\n", "podPidsLimit: -2 is not between"},
        {"maxPod: 5\n", "maxPod: there is no such field"},
        {"authentication: {webhook: {ttl: 5}}\n",
         "authentication.webhook.ttl: there is no such field"},
        {"authentication: {webhook: {cacheTTL: 5}}\n",
         "authentication.webhook.cacheTTL: expected a string"},
        {"authentication: no\n", "authentication: expected an object"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct node_capacity pods, a;
        struct error err = ERROR_INIT;
        assert_true(allocatable(cases[i].yaml, &pods, &a, &err) < 0);
        if (!strstr(error_text(&err), cases[i].error))
            fail_msg("%s: %s", cases[i].yaml, error_text(&err));
    }
}

/* ---- swap and the kernel's choice ---- */
static struct pod *burstable(const char *more, const char *request, const char *limit)
{
    struct pod *pod = NULL;
    struct error err = ERROR_INIT;
    _cleanup_free_ char *text = str_printf(
        "{\"metadata\":{\"name\":\"web\",\"namespace\":\"d\",\"uid\":\"u1\"},\"spec\":{%s"
        "\"containers\":[{\"name\":\"a\",\"image\":\"i:1\",\"resources\":{\"requests\":{\"cpu\":"
        "\"1m\",\"memory\":\"%s\"},\"limits\":{\"memory\":\"%s\"}}}]}}",
        more, request, limit);
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), &err);
    if (!j || pod_decode(j, POD_FROM_API, &pod, &err) < 0)
        fail_msg("%s", error_text(&err));
    return pod;
}

/* memory.swap.max of its container ("-": none), and v1's limit in *v1. */
static char *swap_of(struct pod *pod, const struct request_context *ctx, int64_t *v1)
{
    Runtime__V1__LinuxContainerResources *r =
        request_resources(pod, &pod->spec.containers.items[0], ctx);
    const char *text = message_map_get(r->n_unified, r->unified, "memory.swap.max");
    char *copy = str_dup(text ? text : "-");
    *v1 = r->memory_swap_limit_in_bytes;
    message_free(r);
    pod_unref(pod);
    return copy;
}

static void swap_follows_the_configuration(void **state)
{
    (void)state;
    struct request_context ctx = {.memory_capacity = 8LL << 30,
                                  .swap_capacity = 2LL << 30,
                                  .unified_cgroups = true,
                                  .swap_accounting = true};
    static const struct {
        bool limited;
        const char *more, *request, *limit, *max;
    } cases[] = {
        {false, "", "1Gi", "2Gi", "0"},
        {true, "", "1Gi", "2Gi", "268435456"},
        {true, "", "1Gi", "1Gi", "0"},
        {true, "", "0", "1Gi", "0"},
        {true, "\"priority\":2000000000,", "1Gi", "2Gi", "0"},
    };
    int64_t v1;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        ctx.limited_swap = cases[i].limited;
        char *max = swap_of(burstable(cases[i].more, cases[i].request, cases[i].limit), &ctx, &v1);
        assert_string_equal(max, cases[i].max);
        assert_int_equal(v1, 0);
        free(max);
    }
    ctx.unified_cgroups = false;
    free(swap_of(burstable("", "1Gi", "2Gi"), &ctx, &v1));
    assert_int_equal(v1, 2LL << 30); /* of memory and swap: nobody has any on v1 */
    ctx.swap_accounting = false;
    free(swap_of(burstable("", "1Gi", "2Gi"), &ctx, &v1));
    assert_int_equal(v1, 0);
}

static void the_kernel_kills_in_upstreams_order(void **state)
{
    (void)state;
    struct pod *pod = burstable("", "1Gi", "2Gi");
    assert_int_equal(oom_score_adj(pod, &pod->spec.containers.items[0], 8LL << 30), 875);
    pod_unref(pod);
    pod = burstable("\"priority\":2000001000,\"priorityClassName\":\"system-node-critical\",",
                    "1Gi", "2Gi");
    assert_int_equal(oom_score_adj(pod, &pod->spec.containers.items[0], 8LL << 30), -997);
    pod_unref(pod);
    pod = burstable(
        "\"initContainers\":[{\"name\":\"s\",\"image\":\"i:1\",\"restartPolicy\":\"Always\"}],",
        "1Gi", "2Gi");
    assert_int_equal(oom_score_adj(pod, &pod->spec.init_containers.items[0], 8LL << 30), 875);
    free(pod->spec.init_containers.items[0].restart_policy);
    pod->spec.init_containers.items[0].restart_policy = NULL; /* not a sidecar */
    assert_int_equal(oom_score_adj(pod, &pod->spec.init_containers.items[0], 8LL << 30), 999);
    pod->qos = QOS_BEST_EFFORT;
    pod->spec.priority.value = 0;
    assert_int_equal(oom_score_adj(pod, &pod->spec.containers.items[0], 8LL << 30), 1000);
    pod_unref(pod);
}

/* Of images "a".."e": who goes, in order. */
static void chosen(const struct image_gc_policy *policy, uint64_t bytes, const char *expected)
{
    struct image_record r[] = {
        {.id = (char *)(uintptr_t) "a", .size = 10, .last_used = 500, .used = true},
        {.id = (char *)(uintptr_t) "b", .size = 10, .last_used = 400},
        {.id = (char *)(uintptr_t) "c", .size = 20, .first_seen = 100, .last_used = 100},
        {.id = (char *)(uintptr_t) "d", .size = 5, .first_seen = 950, .last_used = 950},
        {.id = (char *)(uintptr_t) "e", .size = 5, .last_used = 50, .pinned = true}};
    size_t n;
    char got[ARRAY_SIZE(r) + 1] = "";
    (void)image_gc_choose(r, ARRAY_SIZE(r), policy, bytes, 1000, &n);
    for (size_t i = 0; i < n; i++)
        got[i] = *r[i].id;
    assert_string_equal(got, expected);
}

static void images_go_by_use(void **state)
{
    (void)state;
    struct image_gc_policy p = {.min_age_ms = 100};
    chosen(&p, 0, "");
    chosen(&p, 1, "c");
    chosen(&p, 21, "cb");
    chosen(&p, 1000, "cb"); /* not what is used, pinned or new */
    p.min_age_ms = 0;
    chosen(&p, 1000, "cbd");
    p.max_age_ms = 700;
    chosen(&p, 0, "c"); /* whatever the disk has */
    p.max_age_ms = 500;
    chosen(&p, 1, "cb");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resize_survives_a_restart),
        cmocka_unit_test(what_is_reserved_is_not_for_pods),
        cmocka_unit_test(wrong_reservations_are_refused),
        cmocka_unit_test(swap_follows_the_configuration),
        cmocka_unit_test(the_kernel_kills_in_upstreams_order),
        cmocka_unit_test(images_go_by_use),
    };
    return RUN_TESTS(tests);
}
