/* The pure parts of the controllers: where pods fit, how rollouts go, what slices are wanted. */
#include "lib/test.h"

#include "base/strbuf.h"
#include "controllers/deployment.h"
#include "controllers/endpoints.h"
#include "controllers/fit.h"

static void *decoded(const struct decode_type *type, const char *text)
{
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), &err);
    void *object = mem_zalloc(type->size);
    assert_non_null(j);
    assert_int_equal(decode(type, j, object, &err), 0);
    return object;
}

static struct pod *make_pod(const char *text)
{
    struct pod *p = decoded(&pod_type, text);
    pod_complete(p);
    return p;
}

static struct node *make_node(const char *name, const char *more)
{
    _cleanup_free_ char *text = str_printf(
        "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"disk\":\"ssd\"}},\"spec\":{%s},\"status\":{"
        "\"allocatable\":{\"cpu\":\"2\",\"memory\":\"4Gi\",\"pods\":\"3\"},\"conditions\":[{"
        "\"type\":"
        "\"Ready\",\"status\":\"True\"}]}}",
        name, more);
    struct node *n = decoded(&node_type, text);
    node_complete(n);
    return n;
}

static void pod_free(void *p)
{
    decode_done(&pod_type, p);
    free(p);
}
static void node_free(void *n)
{
    decode_done(&node_type, n);
    free(n);
}

static void claim_free(void *c)
{
    decode_done(&claim_type, c);
    free(c);
}
static void volume_free(void *v)
{
    decode_done(&volume_type, v);
    free(v);
}
static void class_free(void *c)
{
    decode_done(&storage_class_type, c);
    free(c);
}

#define POD(name, node, cpu)                                                                 \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"d\",\"uid\":\"u-" name             \
    "\"},\"spec\":{\"nodeName\":\"" node "\",\"containers\":[{\"resources\":{\"requests\":{" \
    "\"cpu\":\"" cpu "\"}}}]}}"

struct world {
    struct map nodes, pods, assumed, claims, volumes, classes;
    struct strbuf why;
};

static void world_done(struct world *w)
{
    map_clear(&w->nodes);
    map_clear(&w->pods);
    map_clear(&w->assumed);
    map_clear(&w->claims);
    map_clear(&w->volumes);
    map_clear(&w->classes);
    strbuf_done(&w->why);
}
#define WORLD                                                                                \
    {                                                                                        \
        .nodes = MAP_INIT(node_free), .pods = MAP_INIT(pod_free), .assumed = MAP_INIT(NULL), \
        .claims = MAP_INIT(claim_free), .volumes = MAP_INIT(volume_free),                    \
        .classes = MAP_INIT(class_free)                                                      \
    }

static const char *choose(struct world *w, const struct pod *p)
{
    strbuf_truncate(&w->why, 0);
    const struct volume_view view = {&w->claims, &w->volumes, &w->classes};
    const struct node *n = fit_choose(p, &w->nodes, &w->pods, &w->assumed, &view, &w->why);
    return n ? n->meta.name : NULL;
}

static void pods_go_where_there_is_room(_unused_ void **state)
{
    struct world w = WORLD;
    map_set(&w.nodes, "a", make_node("a", ""));
    map_set(&w.nodes, "b", make_node("b", ""));
    map_set(&w.pods, "d/x", make_pod(POD("x", "a", "1500m")));
    struct pod *p = make_pod(POD("p", "", "1"));
    assert_string_equal(choose(&w, p), "b");
    map_set(&w.pods, "d/y", make_pod(POD("y", "", "1500m")));
    char node[] = "b";
    map_set(&w.assumed, "u-y", node); /* bound a moment ago, not seen yet */
    assert_null(choose(&w, p));
    assert_string_equal(w.why.data, "0/2 nodes are available: 2 Insufficient cpu.");
    pod_free(p);
    world_done(&w);
}

#define GPUS(name, node, n)                                                                      \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"d\",\"uid\":\"u-" name                 \
    "\"},\"spec\":{\"nodeName\":\"" node "\",\"initContainers\":[{\"resources\":{\"requests\":{" \
    "\"example.com/gpu\":\"1\"}}}],\"containers\":[{\"resources\":{\"requests\":{"               \
    "\"cpu\":\"1m\",\"example.com/gpu\":\"" n "\"}}}]}}"

/* Devices, huge pages, storage: whatever nodes say that they have. */
static void resources_of_every_name_count(_unused_ void **state)
{
    struct world w = WORLD;
    struct node *before = make_node("a", "");
    map_set(&w.nodes, "a", make_node("a", ""));
    struct pod *p = make_pod(GPUS("p", "", "2")), *none = make_pod(GPUS("q", "", "0"));
    assert_null(choose(&w, p));
    assert_string_equal(w.why.data, "0/1 nodes are available: 1 Insufficient example.com/gpu.");
    struct node *b = make_node("b", "");
    b->allocatable.items =
        mem_grow(b->allocatable.items, b->allocatable.count + 1, sizeof(*b->allocatable.items));
    b->allocatable.items[b->allocatable.count++] =
        (struct string_pair){str_dup("example.com/gpu"), str_dup("3")};
    map_set(&w.nodes, "b", b);
    assert_true(fit_node_changed(before, b));
    assert_false(fit_node_changed(before, map_get(&w.nodes, "a")));
    assert_string_equal(choose(&w, p), "b");
    assert_string_equal(choose(&w, none), "b"); /* its init container wants one */
    map_set(&w.pods, "d/x", make_pod(GPUS("x", "b", "1")));
    assert_string_equal(choose(&w, p), "b");
    map_set(&w.pods, "d/y", make_pod(GPUS("y", "b", "1")));
    assert_null(choose(&w, p));
    assert_string_equal(w.why.data, "0/2 nodes are available: 2 Insufficient example.com/gpu.");
    pod_free(p);
    pod_free(none);
    node_free(before);
    world_done(&w);
}

static void nodes_refuse_with_a_reason(_unused_ void **state)
{
    struct world w = WORLD;
    struct pod *p = make_pod(POD("p", "", "0"));
    assert_null(choose(&w, p));
    assert_string_equal(w.why.data, "no nodes available to schedule pods");
    map_set(&w.nodes, "a", make_node("a", "\"unschedulable\":true"));
    map_set(
        &w.nodes, "b",
        make_node("b", "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]"));
    assert_null(choose(&w, p));
    assert_string_equal(w.why.data, "0/2 nodes are available: 1 node(s) were unschedulable, 1 "
                                    "node(s) had untolerated taint {k: v}.");
    struct pod *tolerant =
        make_pod("{\"spec\":{\"tolerations\":[{\"key\":\"k\",\"operator\":\"Exists\"}]}}");
    assert_string_equal(choose(&w, tolerant), "b");
    struct pod *picky = make_pod("{\"spec\":{\"nodeSelector\":{\"disk\":\"hdd\"},\"tolerations\":[{"
                                 "\"operator\":\"Exists\"}]}}");
    assert_null(choose(&w, picky));
    assert_string_equal(w.why.data, "0/2 nodes are available: 2 node(s) didn't match Pod's node "
                                    "affinity/selector.");
    pod_free(p);
    pod_free(tolerant);
    pod_free(picky);
    world_done(&w);
}

#define VOLUME(name, size, more)                                                            \
    decoded(&volume_type, "{\"metadata\":{\"name\":\"" name "\",\"labels\":{\"is\":\"" name \
                          "\"}},\"spec\":{\"capacity\":{\"storage\":\"" size                \
                          "\"},\"accessModes\":[\"ReadWriteOnce\",\"ReadOnlyMany\"]" more "}}")
#define CLAIM(more)                                                                       \
    decoded(&claim_type,                                                                  \
            "{\"metadata\":{\"name\":\"c\",\"namespace\":\"d\",\"uid\":\"u\"},\"spec\":{" \
            "\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{"           \
            "\"storage\":\"1Gi\"}}" more "}}")
#define KEPT_FOR(name, uid) \
    ",\"claimRef\":{\"namespace\":\"d\",\"name\":\"" name "\",\"uid\":\"" uid "\"}"

static void check_choice(const struct world *w, struct claim *c, const char *wanted)
{
    const struct volume *v = volume_choose(&w->volumes, c, NULL);
    assert_string_equal(v ? v->meta.name : "none", wanted);
    claim_free(c);
}

static void claims_get_the_smallest_volume_that_suits(_unused_ void **state)
{
    struct world w = WORLD;
    map_set(&w.volumes, "small", VOLUME("small", "500Mi", ""));
    check_choice(&w, CLAIM(""), "none");
    map_set(&w.volumes, "large", VOLUME("large", "10Gi", ""));
    check_choice(&w, CLAIM(""), "large");
    map_set(&w.volumes, "b", VOLUME("b", "1.5Gi", ""));
    map_set(&w.volumes, "a", VOLUME("a", "1536Mi", ""));
    check_choice(&w, CLAIM(""), "a");
    check_choice(&w, CLAIM(",\"selector\":{\"matchLabels\":{\"is\":\"large\"}}"), "large");
    check_choice(&w, CLAIM(",\"storageClassName\":\"fast\""), "none");
    check_choice(&w, CLAIM(",\"volumeMode\":\"Block\""), "none");
    map_set(&w.volumes, "theirs", VOLUME("theirs", "1Gi", KEPT_FOR("other", "")));
    check_choice(&w, CLAIM(""), "a");
    map_set(&w.volumes, "kept", VOLUME("kept", "9Gi", KEPT_FOR("c", "")));
    check_choice(&w, CLAIM(""), "kept");
    map_set(&w.volumes, "before", VOLUME("before", "1Gi", KEPT_FOR("c", "older")));
    check_choice(&w, CLAIM(""), "kept");
    map_set(&w.volumes, "mine", VOLUME("mine", "1Mi", KEPT_FOR("c", "u")));
    check_choice(&w, CLAIM(""), "mine");
    world_done(&w);
}

static void pods_go_where_their_volumes_are(_unused_ void **state)
{
    struct world w = WORLD;
    struct pod *p = make_pod(
        "{\"metadata\":{\"namespace\":\"d\",\"name\":\"p\"},\"spec\":{\"volumes\":[{\"name\":"
        "\"v\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]}}");
    map_set(&w.nodes, "a", make_node("a", ""));
    map_set(&w.nodes, "b", make_node("b", ""));
    assert_null(choose(&w, p));
    assert_string_equal(w.why.data,
                        "0/2 nodes are available: persistentvolumeclaim \"c\" not found.");
    map_set(&w.claims, "d/c", CLAIM(",\"storageClassName\":\"local\""));
    assert_null(choose(&w, p));
    assert_string_equal(w.why.data, "0/2 nodes are available: pod has unbound immediate "
                                    "PersistentVolumeClaims.");
    map_set(&w.classes, "local",
            decoded(&storage_class_type, "{\"volumeBindingMode\":\"WaitForFirstConsumer\"}"));
    assert_null(choose(&w, p));
    assert_string_equal(w.why.data, "0/2 nodes are available: 2 node(s) didn't find available "
                                    "persistent volumes to bind.");
#define ON_B                                                                                   \
    ",\"storageClassName\":\"local\",\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{" \
    "\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"b\"]}]}]}}"
    map_set(&w.volumes, "v", VOLUME("v", "1Gi", ON_B));
    assert_string_equal(choose(&w, p), "b");
    struct claim *bound = CLAIM(",\"volumeName\":\"v\"");
    bound->meta.annotations.items = mem_zalloc(sizeof(struct string_pair));
    bound->meta.annotations.items[0] =
        (struct string_pair){str_dup("pv.kubernetes.io/bind-completed"), str_dup("yes")};
    bound->meta.annotations.count = 1;
    map_set(&w.claims, "d/c", bound);
    assert_string_equal(choose(&w, p), "b");
    map_remove(&w.nodes, "b");
    assert_null(choose(&w, p));
    assert_string_equal(w.why.data, "0/1 nodes are available: 1 node(s) didn't match "
                                    "PersistentVolume's node affinity.");
    pod_free(p);
    world_done(&w);
}

static void node_affinity_and_host_ports(_unused_ void **state)
{
    struct world w = WORLD;
    map_set(&w.nodes, "a", make_node("a", ""));
    struct pod *p = make_pod(
        "{\"spec\":{\"affinity\":{\"nodeAffinity\":{"
        "\"requiredDuringSchedulingIgnoredDuringExecution\":"
        "{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"disk\",\"operator\":\"In\","
        "\"values\":[\"ssd\"]}]}]}}},\"containers\":[{\"ports\":[{\"hostPort\":80}]}]}}");
    assert_string_equal(choose(&w, p), "a");
    map_set(
        &w.pods, "d/x",
        make_pod(
            "{\"spec\":{\"nodeName\":\"a\",\"containers\":[{\"ports\":[{\"hostPort\":80}]}]}}"));
    assert_null(choose(&w, p));
    pod_free(p);
    world_done(&w);
}

static void requests_count_init_containers_and_sidecars(_unused_ void **state)
{
    struct pod *p = make_pod(
        "{\"spec\":{\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":"
        "\"1Mi\"}}},"
        "{\"resources\":{\"requests\":{\"cpu\":\"200m\"}}}],\"initContainers\":[{\"restartPolicy\":"
        "\"Always\",\"resources\":{\"requests\":{\"cpu\":\"50m\"}}},{\"resources\":{\"requests\":{"
        "\"cpu\":\"1\"}}}],\"overhead\":{\"cpu\":\"10m\"}}}");
    assert_int_equal(p->cpu_milli, 1060); /* the sidecar and the large init container, overhead */
    assert_int_equal(p->memory, 1048576);
    pod_free(p);
}

/* ---- rollouts ---- */

static struct replica_set *make_set(int replicas, int available)
{
    _cleanup_free_ char *text =
        str_printf("{\"spec\":{\"replicas\":%d},\"status\":{\"replicas\":%d,\"readyReplicas\":%d,"
                   "\"availableReplicas\":%d}}",
                   replicas, replicas, available, available);
    return decoded(&replica_set_type, text);
}

static void set_free(struct replica_set *rs)
{
    decode_done(&replica_set_type, rs);
    free(rs);
}

static struct deployment *make_deployment(int replicas, const char *strategy)
{
    _cleanup_free_ char *text =
        str_printf("{\"spec\":{\"replicas\":%d,\"strategy\":%s}}", replicas, strategy);
    return decoded(&deployment_type, text);
}

static void deployment_free(struct deployment *d)
{
    decode_done(&deployment_type, d);
    free(d);
}

#define ROLLING                                                                                    \
    "{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":\"25%\",\"maxUnavailable\":\"25%" \
    "\"}}"

static void surge_rounds_up_and_unavailable_down(_unused_ void **state)
{
    struct deployment *d = make_deployment(2, ROLLING);
    assert_int_equal(rollout_max_surge(d), 1);
    assert_int_equal(rollout_max_unavailable(d), 0);
    deployment_free(d);
    d = make_deployment(10, ROLLING);
    assert_int_equal(rollout_max_surge(d), 3);
    assert_int_equal(rollout_max_unavailable(d), 2);
    deployment_free(d);
    d = make_deployment(
        3, "{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":0,\"maxUnavailable\":0}}");
    assert_int_equal(rollout_max_unavailable(d), 1); /* else it would stand still for ever */
    deployment_free(d);
}

/* Plays a whole rolling update of two replicas: never fewer than two available, never more than
 * three. */
static void a_rolling_update_keeps_its_bounds(_unused_ void **state)
{
    struct deployment *d = make_deployment(2, ROLLING);
    struct replica_set *old = make_set(2, 2), *new = make_set(0, 0);
    const struct replica_set *olds[] = {old};
    struct rollout r = {.current = new, .old = olds, .n_old = 1};
    int steps = 0;
    while ((old->replicas.value || new->st_available < 2) && steps++ < 20) {
        int64_t left;
        new->replicas.value = rollout_new_replicas(d, &r);
        rollout_old_replicas(d, &r, &left);
        old->replicas.value = left;
        old->st_replicas = old->st_available = left;
        assert_true(new->replicas.value + old->replicas.value <= 3);
        assert_true(new->st_available + old->st_available >= 2);
        new->st_replicas = new->replicas.value;
        if (new->st_available < new->st_replicas)
            new->st_available++; /* one more pod became available */
    }
    assert_int_equal(new->replicas.value, 2);
    assert_int_equal(old->replicas.value, 0);
    assert_true(steps < 20);
    set_free(old);
    set_free(new);
    deployment_free(d);
}

static void unhealthy_old_pods_go_first(_unused_ void **state)
{
    struct deployment *d = make_deployment(4, ROLLING);
    struct replica_set *broken = make_set(2, 0), *healthy = make_set(3, 3);
    const struct replica_set *olds[] = {healthy, broken};
    struct rollout r = {.old = olds, .n_old = 2};
    int64_t left[2];
    rollout_old_replicas(d, &r, left);
    assert_int_equal(left[0], 3);
    assert_int_equal(left[1], 0);
    set_free(broken);
    set_free(healthy);
    deployment_free(d);
}

static void recreate_waits_for_the_old_pods(_unused_ void **state)
{
    struct deployment *d = make_deployment(2, "{\"type\":\"Recreate\"}");
    struct replica_set *old = make_set(2, 2), *new = make_set(0, 0);
    const struct replica_set *olds[] = {old};
    struct rollout r = {.current = new, .old = olds, .n_old = 1};
    int64_t left;
    assert_int_equal(rollout_new_replicas(d, &r), 0);
    rollout_old_replicas(d, &r, &left);
    assert_int_equal(left, 0);
    old->replicas.value = old->st_replicas = 0;
    assert_int_equal(rollout_new_replicas(d, &r), 2);
    set_free(old);
    set_free(new);
    deployment_free(d);
}

static const char *reason_of(const json_t *status, const char *type)
{
    const json_t *conditions = json_object_get(status, "conditions");
    for (size_t i = 0; i < json_array_size(conditions); i++)
        if (str_eq(json_path_string(json_array_get(conditions, i), "type"), type))
            return json_path_string(json_array_get(conditions, i), "reason");
    return NULL;
}

static void progress_has_a_deadline(_unused_ void **state)
{
    struct deployment *d = make_deployment(1, ROLLING);
    struct replica_set *new = make_set(1, 0);
    struct rollout r = {.current = new};
    int64_t again = 0;
    _cleanup_json_ json_t *none = json_object();
    _cleanup_json_ json_t *first = rollout_status(d, &r, none, 1000, &again);
    assert_string_equal(reason_of(first, "Progressing"), "ReplicaSetUpdated");
    assert_int_equal(again, 601000);
    _cleanup_json_ json_t *same = rollout_status(d, &r, first, 1100, &again);
    assert_true(json_equal(first, same)); /* nothing to write */
    _cleanup_json_ json_t *late = rollout_status(d, &r, first, 1700, &again);
    assert_string_equal(reason_of(late, "Progressing"), "ProgressDeadlineExceeded");
    new->st_available = new->st_ready = 1;
    _cleanup_json_ json_t *done = rollout_status(d, &r, late, 1800, &again);
    assert_string_equal(reason_of(done, "Progressing"), "NewReplicaSetAvailable");
    assert_string_equal(reason_of(done, "Available"), "MinimumReplicasAvailable");
    set_free(new);
    deployment_free(d);
}

/* ---- slices ---- */

static void named_ports_make_their_own_slices(_unused_ void **state)
{
    struct service *s = decoded(
        &service_type, "{\"metadata\":{\"name\":\"web\",\"namespace\":\"d\"},\"spec\":{\"ports\":[{"
                       "\"name\":\"http\",\"port\":80,\"targetPort\":\"http\"}]}}");
    struct pod *a = make_pod("{\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"uid\":\"1\"},"
                             "\"spec\":{\"containers\":[{"
                             "\"ports\":[{\"name\":\"http\",\"containerPort\":8080}]}]},\"status\":"
                             "{\"podIP\":\"10.0.0.1\","
                             "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
    struct pod *b = make_pod("{\"metadata\":{\"name\":\"b\",\"namespace\":\"d\",\"uid\":\"2\"},"
                             "\"spec\":{\"containers\":[{"
                             "\"ports\":[{\"name\":\"http\",\"containerPort\":9090}]}]},\"status\":"
                             "{\"podIP\":\"10.0.0.2\"}}");
    const struct pod *pods[] = {a, b};
    _cleanup_json_ json_t *slices = endpoints_wanted_slices(s, pods, 2);
    assert_int_equal(json_array_size(slices), 2);
    const json_t *first = json_array_get(slices, 0);
    const json_t *endpoint = json_array_get(json_object_get(first, "endpoints"), 0);
    assert_int_equal(json_path_int(json_array_get(json_object_get(first, "ports"), 0), "port", 0),
                     8080);
    assert_true(json_path_bool(endpoint, "conditions.ready", false));
    const json_t *second =
        json_array_get(json_object_get(json_array_get(slices, 1), "endpoints"), 0);
    assert_false(json_path_bool(second, "conditions.ready", true));
    _cleanup_json_ json_t *subsets = endpoints_wanted_subsets(slices);
    assert_int_equal(json_array_size(subsets), 2);
    assert_int_equal(
        json_array_size(json_object_get(json_array_get(subsets, 1), "notReadyAddresses")), 1);
    _cleanup_json_ json_t *none = endpoints_wanted_slices(s, NULL, 0);
    assert_int_equal(json_array_size(none), 1);
    pod_free(a);
    pod_free(b);
    decode_done(&service_type, s);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pods_go_where_there_is_room),
        cmocka_unit_test(nodes_refuse_with_a_reason),
        cmocka_unit_test(resources_of_every_name_count),
        cmocka_unit_test(node_affinity_and_host_ports),
        cmocka_unit_test(claims_get_the_smallest_volume_that_suits),
        cmocka_unit_test(pods_go_where_their_volumes_are),
        cmocka_unit_test(requests_count_init_containers_and_sidecars),
        cmocka_unit_test(surge_rounds_up_and_unavailable_down),
        cmocka_unit_test(a_rolling_update_keeps_its_bounds),
        cmocka_unit_test(unhealthy_old_pods_go_first),
        cmocka_unit_test(recreate_waits_for_the_old_pods),
        cmocka_unit_test(progress_has_a_deadline),
        cmocka_unit_test(named_ports_make_their_own_slices),
    };
    return RUN_TESTS(tests);
}
