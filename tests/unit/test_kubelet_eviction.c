/* Eviction: thresholds of the configuration, when they are met, who goes first, who may come. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kubelet/eviction/eviction.h"
#include "lib/test.h"

#define Mi (1LL << 20)

static int read_policy(const char *yaml, struct eviction_policy *ret, struct error *err)
{
    char path[] = "/tmp/kubelet-config.XXXXXX";
    struct kubelet_config c = {.kind = NULL};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(dprintf(fd,
                        "apiVersion: kubelet.config.k8s.io/v1beta1\n"
                        "kind: KubeletConfiguration\n%s",
                        yaml) > 0);
    (void)close(fd);
    int r = kubelet_config_load(path, NULL, &c, err);
    (void)unlink(path);
    if (r < 0)
        return r;
    r = eviction_policy_read(&c, ret, err);
    kubelet_config_done(&c);
    return r;
}

static struct eviction_policy policy(const char *yaml)
{
    struct eviction_policy p;
    struct error err = ERROR_INIT;
    if (read_policy(yaml, &p, &err) < 0)
        fail_msg("%s", error_text(&err));
    return p;
}

static void the_configuration_says_when(void **state)
{
    (void)state;
    struct eviction_policy p = policy("");
    assert_int_equal(p.count, 6); /* the defaults, and memory of all pods */
    assert_int_equal(p.transition_ms, 300000);
    p = policy("evictionHard: {memory.available: 100Mi, nodefs.available: 0%}\n"
               "evictionSoft: {memory.available: 200Mi, pid.available: 10%}\n"
               "evictionSoftGracePeriod: {memory.available: 1m30s, pid.available: 5s}\n"
               "evictionMinimumReclaim: {memory.available: 50Mi}\n"
               "evictionPressureTransitionPeriod: 30s\n"
               "evictionMaxPodGracePeriod: 60\n");
    assert_int_equal(p.count, 4);
    assert_int_equal(p.list[0].signal, SIGNAL_MEMORY);
    assert_int_equal(p.list[0].at.value, 100 * Mi);
    assert_int_equal(p.list[0].reclaim.value, 50 * Mi);
    assert_int_equal(p.list[0].grace_ms, 0);
    assert_int_equal(p.list[1].at.value, 200 * Mi);
    assert_int_equal(p.list[1].grace_ms, 90000);
    assert_int_equal(p.list[2].signal, SIGNAL_PID);
    assert_int_equal(p.list[3].signal, SIGNAL_ALLOCATABLE_MEMORY);
    assert_int_equal(p.transition_ms, 30000);
    assert_int_equal(p.max_grace, 60);
    p = policy("enforceNodeAllocatable: [none]\n");
    assert_int_equal(p.count, 5);
}

static void wrong_thresholds_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *error;
    } cases[] = {
        {"evictionSoft: {memory.available: 1Gi}\n",
         "evictionSoftGracePeriod[memory.available]: is missing"},
        {"evictionSoft: {memory: 1Gi}\n", "evictionSoft: unknown eviction signal \"memory\""},
        {"evictionSoftGracePeriod: {memory: 1s}\n",
         "evictionSoftGracePeriod: unknown eviction signal"},
        {"evictionSoftGracePeriod: {pid.available: soon}\n",
         "evictionSoftGracePeriod[pid.available]: \"soon\" is not a duration"},
        {"evictionMinimumReclaim: {disk: 1Gi}\n", "evictionMinimumReclaim: unknown"},
        {"evictionMinimumReclaim: {memory.available: lots}\n",
         "evictionMinimumReclaim[memory.available]: \"lots\" is not a quantity"},
        {"evictionPressureTransitionPeriod: x\n", "evictionPressureTransitionPeriod: \"x\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct eviction_policy p;
        struct error err = ERROR_INIT;
        assert_int_equal(read_policy(cases[i].yaml, &p, &err), -EINVAL);
        if (!strstr(error_text(&err), cases[i].error))
            fail_msg("%s: %s", cases[i].yaml, error_text(&err));
    }
}

static struct eviction_state now_state;

static const struct eviction_threshold *at(const struct eviction_policy *p, int64_t memory,
                                           int64_t disk, uint64_t now)
{
    struct observation o[EVICTION_SIGNALS] = {{0}};
    o[SIGNAL_MEMORY] = (struct observation){memory * Mi, 1000 * Mi, memory >= 0};
    o[SIGNAL_NODEFS] = (struct observation){disk * Mi, 1000 * Mi, disk >= 0};
    eviction_decide(&now_state, p, o, now);
    return eviction_first(&now_state, p);
}

static void a_threshold_has_to_be_met_for_its_time(void **state)
{
    (void)state;
    struct eviction_policy p = policy("evictionHard: {memory.available: 100Mi}\n"
                                      "evictionSoft: {memory.available: 20%}\n"
                                      "evictionSoftGracePeriod: {memory.available: 10s}\n"
                                      "evictionPressureTransitionPeriod: 30s\n"
                                      "enforceNodeAllocatable: [none]\n");
    now_state = (struct eviction_state){.on = {false}};
    assert_null(at(&p, 200, 500, 1000)); /* as much as has to be there is enough */
    assert_false(now_state.on[PRESSURE_MEMORY]);
    assert_null(at(&p, 199, 500, 2000));
    assert_true(now_state.on[PRESSURE_MEMORY]); /* told at once */
    assert_null(at(&p, 199, 500, 11999));
    assert_int_equal(at(&p, 199, 500, 12000)->grace_ms, 10000);
    assert_null(at(&p, 300, 500, 13000));
    assert_null(at(&p, 199, 500, 14000)); /* the time begins anew */
    assert_int_equal(at(&p, 99, 500, 15000)->grace_ms, 0);
    assert_null(at(&p, 300, 500, 16000));
    assert_true(now_state.on[PRESSURE_MEMORY]);
    assert_null(at(&p, 300, 500, 44999));
    assert_true(now_state.on[PRESSURE_MEMORY]);
    assert_null(at(&p, 300, 500, 45000));
    assert_false(now_state.on[PRESSURE_MEMORY]);
    assert_null(at(&p, -1, 500, 46000)); /* nothing follows from what is not known */
}

static void the_minimum_is_reclaimed(void **state)
{
    (void)state;
    struct eviction_policy p =
        policy("evictionHard: {memory.available: 100Mi, nodefs.available: 10%}\n"
               "evictionMinimumReclaim: {nodefs.available: 50Mi}\n"
               "enforceNodeAllocatable: [none]\n");
    now_state = (struct eviction_state){.on = {false}};
    assert_null(at(&p, 500, 120, 1000)); /* the minimum counts only once it was too little */
    assert_int_equal(at(&p, 500, 99, 2000)->signal, SIGNAL_NODEFS);
    assert_int_equal(at(&p, 99, 99, 3000)->signal, SIGNAL_MEMORY); /* before all others */
    assert_int_equal(at(&p, 500, 149, 4000)->signal, SIGNAL_NODEFS);
    assert_null(at(&p, 500, 150, 5000));
    assert_null(at(&p, 500, 149, 6000));
    assert_true(now_state.on[PRESSURE_DISK]);
    assert_false(now_state.on[PRESSURE_PID]);
}

/* ---- pods ---- */
static struct pod *new_pod(const char *name, const char *memory, int priority, const char *more)
{
    struct pod *pod = NULL;
    struct error err = ERROR_INIT;
    _cleanup_free_ char *text = str_printf(
        "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"d\",\"uid\":\"%s\"},\"spec\":{\"priority\":"
        "%d%s,\"containers\":[{\"name\":\"c\",\"image\":\"i:1\",\"resources\":{\"requests\":{%s%s%"
        "s}"
        "}}]}}",
        name, name, priority, more, memory ? "\"memory\":\"" : "", memory ? memory : "",
        memory ? "\"" : "");
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), &err);
    if (!j || pod_decode(j, POD_FROM_API, &pod, &err) < 0)
        fail_msg("%s", error_text(&err));
    return pod;
}

static void who_uses_more_than_asked_goes_first(void **state)
{
    (void)state;
    struct pod *a = new_pod("a", "100Mi", 0, ""), *b = new_pod("b", "100Mi", 10, "");
    struct pod *c = new_pod("c", NULL, 0, ""), *d = new_pod("d", "500Mi", 0, "");
    struct pod *e = new_pod("e", NULL, 0, "");
    struct eviction_candidate list[] = {
        {d, 400 * Mi, 500 * Mi, true},
        {a, 99 * Mi, 100 * Mi, true},
        {b, 300 * Mi, 100 * Mi, true},
        {c, 50 * Mi, 0, true},
        {e, 0, 0, false},
    };
    char order[ARRAY_SIZE(list) + 1] = "";
    eviction_rank(list, ARRAY_SIZE(list), SIGNAL_MEMORY);
    for (size_t i = 0; i < ARRAY_SIZE(list); i++)
        order[i] = *list[i].pod->meta.name;
    /* Unknown; over what they asked for by priority; the rest by how near they are. */
    assert_string_equal(order, "ecbad");
    list[0].known = true;
    eviction_rank(list, ARRAY_SIZE(list), SIGNAL_PID);
    for (size_t i = 0; i < ARRAY_SIZE(list); i++)
        order[i] = *list[i].pod->meta.name;
    assert_string_equal(order, "daceb");
    pod_unref(a);
    pod_unref(b);
    pod_unref(c);
    pod_unref(d);
    pod_unref(e);
}

static bool lets_in(struct pod *pod, bool memory, bool disk, bool pid)
{
    const bool on[PRESSURES] = {
        [PRESSURE_MEMORY] = memory, [PRESSURE_DISK] = disk, [PRESSURE_PID] = pid};
    _cleanup_free_ char *text = NULL;
    bool in = eviction_lets_in(pod, on, &text);
    assert_true(in == !text);
    if (memory && disk && !pid && text)
        assert_string_equal(text, "The node had condition: [MemoryPressure DiskPressure]. ");
    return in;
}

static void pressure_keeps_pods_out(void **state)
{
    (void)state;
    struct pod *best = new_pod("a", NULL, 0, ""), *burst = new_pod("b", "1Mi", 0, "");
    struct pod *critical = new_pod("c", NULL, 2000000000, "");
    struct pod *tolerant =
        new_pod("d", NULL, 0,
                ",\"tolerations\":[{\"key\":\"node.kubernetes.io/memory-pressure\","
                "\"operator\":\"Exists\",\"effect\":\"NoSchedule\"}]");
    struct pod *other = new_pod("e", NULL, 0,
                                ",\"tolerations\":[{\"key\":\"node.kubernetes.io/disk-pressure\","
                                "\"operator\":\"Exists\"}]");
    assert_true(lets_in(best, false, false, false));
    assert_false(lets_in(best, true, false, false));
    assert_true(lets_in(burst, true, false, false));
    assert_true(lets_in(tolerant, true, false, false));
    assert_false(lets_in(other, true, false, false));
    assert_false(lets_in(burst, false, true, false));
    assert_false(lets_in(tolerant, true, true, false));
    assert_false(lets_in(burst, false, false, true));
    assert_true(lets_in(critical, true, true, true));
    critical->spec.priority.value--;
    assert_false(lets_in(critical, true, true, true));
    critical->source = POD_FROM_FILE;
    assert_true(lets_in(critical, true, true, true));
    pod_unref(best);
    pod_unref(burst);
    pod_unref(critical);
    pod_unref(tolerant);
    pod_unref(other);
}

static void people_are_told_why(void **state)
{
    (void)state;
    struct pod *pod = new_pod("a", "64Mi", 0, "");
    const struct observation o = {.available = 98304, .capacity = 1000 * Mi, .known = true};
    struct eviction_threshold t = {.signal = SIGNAL_MEMORY, .at = {.percent = 10}};
    t.at.form = QUANTITY_BINARY_SI;
    int64_t usage = 65 * Mi;
    char *text = eviction_message(&t, &o, pod, &usage);
    assert_string_equal(text,
                        "The node was low on resource: memory. Threshold quantity: 100Mi, "
                        "available: 96Ki. Container c was using 65Mi, request is 64Mi, has larger "
                        "consumption of memory. ");
    free(text);
    usage = 64 * Mi;
    t.signal = SIGNAL_PID;
    t.at = (struct threshold){.value = 1000, .form = QUANTITY_DECIMAL_SI};
    text = eviction_message(&t, &o, pod, &usage);
    assert_string_equal(text, "The node was low on resource: pids. Threshold quantity: 1k, "
                              "available: 98304. ");
    free(text);
    pod_unref(pod);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_configuration_says_when),
        cmocka_unit_test(wrong_thresholds_are_refused),
        cmocka_unit_test(a_threshold_has_to_be_met_for_its_time),
        cmocka_unit_test(the_minimum_is_reclaimed),
        cmocka_unit_test(who_uses_more_than_asked_goes_first),
        cmocka_unit_test(pressure_keeps_pods_out),
        cmocka_unit_test(people_are_told_why),
    };
    return RUN_TESTS(tests);
}
