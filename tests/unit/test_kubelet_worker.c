/* The pod worker against a scripted runtime: what it asks for, in which order, and what it says. */
#include "lib/test.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/runtime/message.h"
#include "kubelet/worker/worker.h"

/* ---- the runtime: answers on the next turn of the loop, from a small model ---- */
struct pending {
    struct pending *next;
    struct fake *fake;
    enum cri_method method;
    ProtobufCMessage *request;
    rpc_reply_fn *cb;
    void *arg;
    struct loop_deferred answer;
    bool cancelled;
};

struct fake {
    struct runtime base;
    struct loop *loop;
    struct strbuf trace; /* one word a call */
    struct pending *calls;
    int failing[CRI_METHODS]; /* answer this many calls with INTERNAL */
    bool no_image, hold_stops;
    char *target; /* target_id of the last container made */
    int sandboxes, containers;
    int64_t stop_timeout;
    struct kubelet k;
    struct pod_worker *w;
    char root[64];
    bool gone;
};

static const char *const words[CRI_METHODS] = {[CRI_RUN_POD_SANDBOX] = "run",
                                               [CRI_STOP_POD_SANDBOX] = "stopp",
                                               [CRI_REMOVE_POD_SANDBOX] = "rmp",
                                               [CRI_POD_SANDBOX_STATUS] = "statusp",
                                               [CRI_CREATE_CONTAINER] = "create",
                                               [CRI_START_CONTAINER] = "start",
                                               [CRI_STOP_CONTAINER] = "stop",
                                               [CRI_REMOVE_CONTAINER] = "rm",
                                               [CRI_CONTAINER_STATUS] = "status",
                                               [CRI_IMAGE_STATUS] = "image",
                                               [CRI_PULL_IMAGE] = "pull",
                                               [CRI_EXEC_SYNC] = "exec",
                                               [CRI_UPDATE_CONTAINER_RESOURCES] = "update"};

static void end_run(struct fake *f, const char *id, int32_t code);

static ProtobufCMessage *respond(struct fake *f, struct pending *p)
{
    switch (p->method) {
    case CRI_RUN_POD_SANDBOX: {
        Runtime__V1__RunPodSandboxResponse *r =
            message_new(&runtime__v1__run_pod_sandbox_response__descriptor);
        r->pod_sandbox_id = str_printf("s%d", f->sandboxes++);
        return &r->base;
    }
    case CRI_POD_SANDBOX_STATUS: {
        const Runtime__V1__PodSandboxStatusRequest *q = (const void *)p->request;
        Runtime__V1__PodSandboxStatusResponse *r =
            message_new(&runtime__v1__pod_sandbox_status_response__descriptor);
        r->status = message_new(&runtime__v1__pod_sandbox_status__descriptor);
        r->status->id = str_dup(q->pod_sandbox_id);
        r->status->metadata = message_new(&runtime__v1__pod_sandbox_metadata__descriptor);
        r->status->metadata->attempt = (uint32_t)(f->sandboxes - 1);
        r->status->network = message_new(&runtime__v1__pod_sandbox_network_status__descriptor);
        r->status->network->ip = str_dup("10.0.0.9");
        return &r->base;
    }
    case CRI_IMAGE_STATUS: {
        Runtime__V1__ImageStatusResponse *r =
            message_new(&runtime__v1__image_status_response__descriptor);
        if (!f->no_image) {
            r->image = message_new(&runtime__v1__image__descriptor);
            r->image->id = str_dup("sha256:i");
        }
        return &r->base;
    }
    case CRI_CREATE_CONTAINER: {
        const Runtime__V1__CreateContainerRequest *q = (const void *)p->request;
        Runtime__V1__CreateContainerResponse *r =
            message_new(&runtime__v1__create_container_response__descriptor);
        strbuf_addf(&f->trace, ":%s", q->config->metadata->name);
        r->container_id = str_printf("c%d", f->containers++);
        free(f->target);
        f->target = str_dup(q->config->linux->security_context->namespace_options->target_id);
        return &r->base;
    }
    case CRI_UPDATE_CONTAINER_RESOURCES: {
        const Runtime__V1__UpdateContainerResourcesRequest *q = (const void *)p->request;
        strbuf_addf(&f->trace, ":%lld/%lld", (long long)q->linux->cpu_quota,
                    (long long)q->linux->memory_limit_in_bytes);
        return message_new(&runtime__v1__update_container_resources_response__descriptor);
    }
    case CRI_STOP_CONTAINER: {
        const Runtime__V1__StopContainerRequest *q = (const void *)p->request;
        f->stop_timeout = q->timeout;
        strbuf_addf(&f->trace, ":%s", q->container_id);
        end_run(f, q->container_id, 143);
        return message_new(&runtime__v1__stop_container_response__descriptor);
    }
    default:
        return message_new(&runtime__v1__start_container_response__descriptor);
    }
}

static void drop(struct pending *p)
{
    for (struct pending **at = &p->fake->calls; *at; at = &(*at)->next) {
        if (*at == p) {
            *at = p->next;
            break;
        }
    }
    loop_deferred_done(&p->answer);
    message_free(p->request);
    free(p);
}

static void on_answer(void *arg)
{
    struct pending *p = arg;
    struct fake *f = p->fake;
    rpc_reply_fn *cb = p->cb;
    void *cb_arg = p->arg;
    if (f->hold_stops && p->method == CRI_STOP_CONTAINER) {
        const Runtime__V1__StopContainerRequest *q = (const void *)p->request;
        f->stop_timeout = q->timeout;
        return; /* the container takes its time */
    }
    strbuf_addf(&f->trace, "%s%s", f->trace.len ? " " : "",
                words[p->method] ? words[p->method] : "?");
    if (f->failing[p->method] > 0) {
        f->failing[p->method]--;
        drop(p);
        cb(cb_arg, RPC_INTERNAL, "scripted failure", NULL);
        return;
    }
    ProtobufCMessage *response = respond(f, p);
    drop(p);
    cb(cb_arg, RPC_OK, "", response);
    message_free(response);
}

static struct runtime_call *fake_call(struct runtime *rt, enum cri_method method,
                                      const ProtobufCMessage *request, uint64_t deadline_ms,
                                      rpc_reply_fn *cb, void *arg)
{
    struct fake *f = CONTAINER_OF(rt, struct fake, base);
    struct pending *p = mem_zalloc(sizeof(*p));
    (void)deadline_ms;
    *p = (struct pending){.next = f->calls,
                          .fake = f,
                          .method = method,
                          .request = message_copy(request),
                          .cb = cb,
                          .arg = arg};
    f->calls = p;
    loop_deferred_init(&p->answer, f->loop, on_answer, p);
    loop_defer(&p->answer);
    return (struct runtime_call *)p;
}

static void fake_cancel(struct runtime *rt, struct runtime_call *call)
{
    (void)rt;
    drop((struct pending *)call);
}

static const struct runtime_ops fake_ops = {.call = fake_call, .cancel = fake_cancel};

/* ---- driving ---- */
static void end_run(struct fake *f, const char *id, int32_t code)
{
    for (size_t i = 0; i < f->w->n_slots; i++) {
        struct container_slot *s = f->w->slots[i];
        if (!s->run || !str_eq(s->run->id, id))
            continue;
        Runtime__V1__ContainerStatus *c = message_new(&runtime__v1__container_status__descriptor);
        c->id = str_dup(id);
        c->metadata = message_new(&runtime__v1__container_metadata__descriptor);
        c->metadata->name = str_dup(slot_spec(s)->name);
        c->state = RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED;
        c->started_at = time_now_nano() - 1000000000;
        c->finished_at = time_now_nano();
        c->exit_code = code;
        worker_observe_container(f->w, s->run->sandbox, c);
        message_free(c);
        return;
    }
}

static void on_gone(struct pod_worker *w, void *arg)
{
    struct fake *f = arg;
    f->gone = true;
    f->w = worker_free(w);
}

static struct pod *make_pod(const char *meta, const char *spec)
{
    struct pod *pod = NULL;
    struct error err = ERROR_INIT;
    _cleanup_free_ char *text = str_printf(
        "{\"metadata\":{\"name\":\"web\",\"namespace\":\"d\",\"uid\":\"u1\"%s},\"spec\":%s}", meta,
        spec);
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), &err);
    if (!j)
        fail_msg("%s", error_text(&err));
    assert_int_equal(pod_decode(j, POD_FROM_API, &pod, NULL), 0);
    return pod;
}

static void start(struct fake *f, const char *spec)
{
    memset(f, 0, sizeof(*f));
    (void)snprintf(f->root, sizeof(f->root), "/tmp/coracle-worker.XXXXXX");
    assert_non_null(mkdtemp(f->root));
    f->base.ops = &fake_ops;
    f->loop = loop_new();
    f->k = (struct kubelet){.loop = f->loop,
                            .root = f->root,
                            .node_name = (char *)"n1",
                            .node_ip = (char *)"192.0.2.1",
                            .node_ips = (char *)"192.0.2.1,2001:db8::1",
                            .runtime = &f->base,
                            .pods_dir = str_printf("%s/pods", f->root),
                            .log_root = str_printf("%s/logs", f->root),
                            .log_links = str_printf("%s/links", f->root),
                            .seccomp_root = str_printf("%s/seccomp", f->root)};
    f->k.events = event_recorder_new(NULL, "kubelet", "n1");
    f->k.objects = object_cache_new(NULL);
    f->k.services = service_cache_new(NULL, NULL, NULL);
    struct pod *pod = make_pod("", spec);
    f->w = worker_new(&f->k, pod, on_gone, f);
    pod_unref(pod);
}

static void finish(struct fake *f)
{
    f->w = worker_free(f->w);
    assert_null(f->calls);
    object_cache_free(f->k.objects);
    service_cache_free(f->k.services);
    event_recorder_free(f->k.events);
    free(f->k.pods_dir);
    free(f->k.log_root);
    free(f->k.log_links);
    free(f->k.seccomp_root);
    loop_free(f->loop);
    strbuf_done(&f->trace);
    free(f->target);
    assert_int_equal(fs_remove_tree(f->root, NULL), 0);
}

/* Until nothing is under way: the worker has done all it can do now. */
static void settle(struct fake *f)
{
    for (int i = 0; i < 2000; i++)
        (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
}

static void expect(struct fake *f, const char *trace)
{
    settle(f);
    assert_string_equal(strbuf_text(&f->trace), trace);
    strbuf_truncate(&f->trace, 0);
}

static const char *waiting(const struct fake *f, size_t slot)
{
    return f->w->slots[slot]->wait_reason ? f->w->slots[slot]->wait_reason : "";
}

#define ONE(more) "{" more "\"containers\":[{\"name\":\"a\",\"image\":\"i:1\"}]}"

/* The image is looked up while the sandbox is being made; who answers first is no matter. */
static void begun(struct fake *f)
{
    settle(f);
    const char *t = strbuf_text(&f->trace);
    assert_true(str_ends(t, "statusp create:a start"));
    assert_non_null(strstr(t, "image"));
    assert_non_null(strstr(t, "run"));
    strbuf_truncate(&f->trace, 0);
}

static void a_pod_starts(void **state)
{
    (void)state;
    struct fake f;
    start(&f, ONE(""));
    assert_string_equal(worker_phase(f.w), "Pending");
    begun(&f);
    assert_string_equal(worker_phase(f.w), "Running");
    assert_true(slot_is_ready(f.w->slots[0]));
    _cleanup_json_ json_t *s = worker_status(f.w);
    assert_string_equal(json_path_string(s, "podIP"), "10.0.0.9");
    assert_string_equal(json_path_string(s, "qosClass"), "BestEffort");
    assert_non_null(json_path(json_array_get(json_object_get(s, "containerStatuses"), 0),
                              "state.running.startedAt"));
    expect(&f, ""); /* and then it rests */
    finish(&f);
}

static void a_crash_restarts_then_backs_off(void **state)
{
    (void)state;
    struct fake f;
    start(&f, ONE(""));
    begun(&f);
    end_run(&f, "c0", 1);
    expect(&f, "image create:a start");
    assert_int_equal(f.w->slots[0]->run->restart, 1);
    assert_int_equal(f.w->slots[0]->last->exit_code, 1);
    end_run(&f, "c1", 2);
    expect(&f, "");
    assert_string_equal(waiting(&f, 0), "CrashLoopBackOff");
    assert_string_equal(f.w->slots[0]->wait_message,
                        "back-off 10s restarting failed container=a pod=web_d(u1)");
    assert_string_equal(worker_phase(f.w), "Running");
    _cleanup_json_ json_t *s = worker_status(f.w);
    const json_t *c = json_array_get(json_object_get(s, "containerStatuses"), 0);
    assert_string_equal(json_path_string(c, "state.waiting.reason"), "CrashLoopBackOff");
    assert_int_equal(json_path_int(c, "lastState.terminated.exitCode", -1), 2);
    assert_int_equal(json_path_int(c, "restartCount", -1), 1);
    finish(&f);
}

static void never_means_never(void **state)
{
    (void)state;
    static const struct {
        int32_t code;
        const char *phase;
    } cases[] = {{0, "Succeeded"}, {3, "Failed"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fake f;
        start(&f, ONE("\"restartPolicy\":\"Never\","));
        begun(&f);
        end_run(&f, "c0", cases[i].code);
        expect(&f, "stopp"); /* the container stays for its logs */
        assert_string_equal(worker_phase(f.w), cases[i].phase);
        assert_int_equal(f.w->stage, WORKER_DONE);
        finish(&f);
    }
}

static void on_failure_restarts_only_failures(void **state)
{
    (void)state;
    struct fake f;
    start(&f, ONE("\"restartPolicy\":\"OnFailure\","));
    begun(&f);
    end_run(&f, "c0", 1);
    expect(&f, "image create:a start");
    end_run(&f, "c1", 0);
    expect(&f, "stopp");
    assert_string_equal(worker_phase(f.w), "Succeeded");
    finish(&f);
}

static void deletion_goes_in_order(void **state)
{
    (void)state;
    struct fake f;
    start(&f, ONE(""));
    begun(&f);
    struct pod *pod = make_pod(",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\","
                               "\"deletionGracePeriodSeconds\":7",
                               ONE(""));
    worker_update(f.w, pod);
    pod_unref(pod);
    expect(&f, "stop:c0 stopp rmp");
    assert_int_equal(f.stop_timeout, 7);
    assert_true(f.gone);
    _cleanup_free_ char *dir = str_printf("%s/pods/u1", f.root);
    assert_false(fs_exists(dir));
    finish(&f);
}

static void a_restarted_kubelet_takes_over(void **state)
{
    (void)state;
    struct fake f;
    start(&f, ONE(""));
    Runtime__V1__PodSandboxStatus s = RUNTIME__V1__POD_SANDBOX_STATUS__INIT;
    Runtime__V1__PodSandboxMetadata m = RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
    Runtime__V1__PodSandboxNetworkStatus n = RUNTIME__V1__POD_SANDBOX_NETWORK_STATUS__INIT;
    Runtime__V1__ContainerStatus *c = message_new(&runtime__v1__container_status__descriptor);
    char hash[9];
    container_hash(slot_spec(f.w->slots[0]), hash);
    m.attempt = 2;
    n.ip = (char *)"10.0.0.7";
    s.id = (char *)"old";
    s.metadata = &m;
    s.network = &n;
    c->id = str_dup("mine");
    c->metadata = message_new(&runtime__v1__container_metadata__descriptor);
    c->metadata->name = str_dup("a");
    c->state = RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING;
    c->started_at = time_now_nano();
    message_map_put(&c->n_annotations, &c->annotations,
                    &runtime__v1__container_status__annotations_entry__descriptor,
                    ANNOTATION_RESTARTS, "4");
    message_map_put(&c->n_annotations, &c->annotations,
                    &runtime__v1__container_status__annotations_entry__descriptor, ANNOTATION_HASH,
                    hash);
    worker_observe_sandbox(f.w, &s);
    worker_observe_container(f.w, "old", c);
    expect(&f, ""); /* nothing is started, nothing doubled */
    assert_string_equal(worker_phase(f.w), "Running");
    assert_int_equal(f.w->slots[0]->run->restart, 4);
    assert_string_equal(f.w->sandbox.ip, "10.0.0.7");
    end_run(&f, "mine", 1);
    expect(&f, "");
    assert_string_equal(waiting(&f, 0), "CrashLoopBackOff");
    assert_int_equal(f.w->slots[0]->restarts.delay_ms, 80000); /* the fourth restart's */
    message_free(c);
    finish(&f);
}

static void images_that_are_missing_have_reasons(void **state)
{
    (void)state;
    struct fake f;
    start(&f,
          "{\"containers\":[{\"name\":\"a\",\"image\":\"i:1\",\"imagePullPolicy\":\"Never\"}]}");
    f.no_image = true;
    settle(&f);
    assert_string_equal(waiting(&f, 0), "ErrImageNeverPull");
    finish(&f);
    start(&f, ONE(""));
    f.no_image = true;
    f.failing[CRI_PULL_IMAGE] = 1;
    settle(&f);
    assert_string_equal(waiting(&f, 0), "ErrImagePull");
    assert_string_equal(f.w->slots[0]->wait_message, "scripted failure");
    assert_string_equal(worker_phase(f.w), "Pending");
    assert_null(strstr(strbuf_text(&f.trace), "create"));
    finish(&f);
    start(&f, "{\"containers\":[{\"name\":\"a\",\"image\":\"No/Name\"}]}");
    settle(&f);
    assert_string_equal(waiting(&f, 0), "InvalidImageName");
    assert_null(strstr(strbuf_text(&f.trace), "image"));
    finish(&f);
}

static void init_containers_run_in_order(void **state)
{
    (void)state;
    struct fake f;
    start(&f, ONE("\"initContainers\":[{\"name\":\"x\",\"image\":\"i:1\"},"
                  "{\"name\":\"side\",\"image\":\"i:1\",\"restartPolicy\":\"Always\"},"
                  "{\"name\":\"y\",\"image\":\"i:1\"}],"));
    settle(&f);
    assert_non_null(strstr(strbuf_text(&f.trace), "create:x start"));
    strbuf_truncate(&f.trace, 0);
    end_run(&f, "c0", 0);
    expect(&f, "image create:side start image create:y start");
    assert_string_equal(worker_phase(f.w), "Pending");
    end_run(&f, "c2", 0);
    expect(&f, "image create:a start");
    assert_string_equal(worker_phase(f.w), "Running");
    worker_remove(f.w);
    expect(&f, "stop:c3 stop:c1 stopp rmp"); /* what serves the others goes last */
    finish(&f);
}

static void a_failed_init_container_fails_the_pod(void **state)
{
    (void)state;
    struct fake f;
    start(&f, ONE("\"restartPolicy\":\"Never\",\"initContainers\":[{\"name\":\"x\",\"image\":\"i:"
                  "1\"}],"));
    settle(&f);
    strbuf_truncate(&f.trace, 0);
    end_run(&f, "c0", 1);
    expect(&f, "stopp");
    assert_string_equal(worker_phase(f.w), "Failed");
    finish(&f);
}

static void a_dead_sandbox_is_replaced(void **state)
{
    (void)state;
    struct fake f;
    start(&f, ONE(""));
    begun(&f);
    Runtime__V1__PodSandboxStatus s = RUNTIME__V1__POD_SANDBOX_STATUS__INIT;
    Runtime__V1__PodSandboxMetadata m = RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
    s.id = (char *)"s0";
    s.metadata = &m;
    s.state = RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_NOTREADY;
    end_run(&f, "c0", 137);
    worker_observe_sandbox(f.w, &s);
    settle(&f);
    const char *t = strbuf_text(&f.trace);
    assert_non_null(strstr(t, "stopp"));
    assert_true(str_ends(t, "run statusp create:a start"));
    assert_int_equal(f.w->sandbox.attempt, 1);
    assert_int_equal(f.w->slots[0]->run->restart, 1);
    assert_string_equal(worker_phase(f.w), "Running");
    finish(&f);
}

static void what_cannot_run_says_so(void **state)
{
    (void)state;
    struct fake f;
    start(&f, "{\"containers\":[]}");
    expect(&f, "");
    assert_string_equal(worker_phase(f.w), "Failed");
    assert_string_equal(f.w->failed_reason, "UnexpectedAdmissionError");
    finish(&f);
    start(&f, ONE("\"volumes\":[{\"name\":\"v\",\"awsElasticBlockStore\":{}}],"));
    settle(&f);
    assert_null(strstr(strbuf_text(&f.trace), "create"));
    assert_string_equal(worker_phase(f.w), "Pending");
    finish(&f);
    start(&f, "{\"containers\":[{\"name\":\"a\",\"image\":\"i:1\",\"env\":[{\"name\":\"X\","
              "\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":\"k\"}}}]}]}");
    settle(&f);
    assert_string_equal(waiting(&f, 0), "CreateContainerConfigError");
    finish(&f);
}

static void failed_calls_are_tried_again_later(void **state)
{
    (void)state;
    struct fake f;
    start(&f, ONE(""));
    f.failing[CRI_RUN_POD_SANDBOX] = 1;
    settle(&f);
    assert_null(strstr(strbuf_text(&f.trace), "create"));
    assert_true(loop_timer_armed(&f.w->timer));
    finish(&f);
    start(&f, ONE(""));
    f.failing[CRI_CREATE_CONTAINER] = 1;
    settle(&f);
    assert_string_equal(waiting(&f, 0), "CreateContainerError");
    assert_null(strstr(strbuf_text(&f.trace), "start"));
    assert_true(loop_timer_armed(&f.w->timer));
    finish(&f);
}

static void a_new_image_replaces_the_container(void **state)
{
    (void)state;
    struct fake f;
    start(&f, ONE(""));
    begun(&f);
    struct pod *pod = make_pod("", "{\"containers\":[{\"name\":\"a\",\"image\":\"i:2\"}]}");
    worker_update(f.w, pod);
    pod_unref(pod);
    settle(&f);
    assert_non_null(strstr(strbuf_text(&f.trace), "stop"));
    assert_non_null(strstr(strbuf_text(&f.trace), "create:a start"));
    assert_int_equal(f.w->slots[0]->run->restart, 1);
    finish(&f);
}

/* Sidecars end one by one, the last first, once nothing is left that they could serve. */
static void sidecars_end_in_reverse(void **state)
{
    (void)state;
    struct fake f;
    start(&f,
          ONE("\"initContainers\":[{\"name\":\"s1\",\"image\":\"i:1\",\"restartPolicy\":"
              "\"Always\"},{\"name\":\"s2\",\"image\":\"i:1\",\"restartPolicy\":\"Always\"}],"));
    settle(&f);
    assert_string_equal(worker_phase(f.w), "Running");
    strbuf_truncate(&f.trace, 0);
    worker_remove(f.w);
    expect(&f, "stop:c2 stop:c1 stop:c0 stopp rmp");
    finish(&f);
}

static void a_shorter_grace_period_hurries(void **state)
{
    (void)state;
    struct fake f;
    start(&f, ONE(""));
    begun(&f);
    f.hold_stops = true;
    struct pod *pod = make_pod(",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\","
                               "\"deletionGracePeriodSeconds\":600",
                               ONE(""));
    worker_update(f.w, pod);
    pod_unref(pod);
    settle(&f);
    assert_int_equal(f.stop_timeout, 600);
    f.hold_stops = false;
    pod = make_pod(",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\","
                   "\"deletionGracePeriodSeconds\":5",
                   ONE(""));
    worker_update(f.w, pod);
    pod_unref(pod);
    expect(&f, "stop:c0 stopp rmp");
    assert_int_equal(f.stop_timeout, 5);
    finish(&f);
}

static void an_ephemeral_container_joins(void **state)
{
    (void)state;
    struct fake f;
    start(&f, ONE(""));
    begun(&f);
    struct pod *pod =
        make_pod("", ONE("\"ephemeralContainers\":[{\"name\":\"dbg\",\"image\":\"i:2\","
                         "\"targetContainerName\":\"a\"}],"));
    worker_update(f.w, pod);
    pod_unref(pod);
    expect(&f, "image create:dbg start");
    assert_string_equal(f.target, "c0");
    end_run(&f, "c1", 3);
    expect(&f, ""); /* never again, and the pod does not care */
    assert_string_equal(worker_phase(f.w), "Running");
    _cleanup_json_ json_t *s = worker_status(f.w);
    const json_t *c = json_array_get(json_object_get(s, "ephemeralContainerStatuses"), 0);
    assert_int_equal(json_path_int(c, "state.terminated.exitCode", -1), 3);
    assert_int_equal(json_array_size(json_object_get(s, "containerStatuses")), 1);
    worker_remove(f.w);
    expect(&f, "stop:c0 stopp rmp");
    finish(&f);
}

static void a_container_has_a_policy_of_its_own(void **state)
{
    (void)state;
    struct fake f;
    start(&f, "{\"restartPolicy\":\"Always\",\"containers\":[{\"name\":\"a\",\"image\":\"i:1\","
              "\"restartPolicy\":\"Never\",\"restartPolicyRules\":[{\"action\":\"Restart\","
              "\"exitCodes\":{\"operator\":\"In\",\"values\":[42]}}]}]}");
    begun(&f);
    end_run(&f, "c0", 42);
    expect(&f, "image create:a start");
    end_run(&f, "c1", 1);
    expect(&f, "stopp");
    assert_string_equal(worker_phase(f.w), "Failed");
    finish(&f);
}

static void what_may_not_run_is_rejected(void **state)
{
    (void)state;
    struct fake f;
    start(&f,
          ONE("\"securityContext\":{\"sysctls\":[{\"name\":\"kernel.msgmax\",\"value\":\"1\"}]},"));
    expect(&f, "");
    assert_string_equal(worker_phase(f.w), "Failed");
    assert_string_equal(f.w->failed_reason, "SysctlForbidden");
    assert_string_equal(f.w->failed_message,
                        "Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted");
    finish(&f);
    start(&f, ONE("\"runtimeClassName\":\"kata\","));
    settle(&f);
    assert_null(strstr(strbuf_text(&f.trace), "run")); /* nobody knows its handler */
    assert_string_equal(worker_phase(f.w), "Pending");
    finish(&f);
}

#define SIZED(cpu, memory, more)                               \
    "{\"containers\":[{\"name\":\"a\",\"image\":\"i:1\"," more \
    "\"resources\":{\"limits\":{\"cpu\":\"" cpu "\",\"memory\":\"" memory "\"}}}]}"

static void change(struct fake *f, const char *meta, const char *spec)
{
    struct pod *pod = make_pod(meta, spec);
    worker_update(f->w, pod);
    pod_unref(pod);
}

static const char *condition(const json_t *status, const char *type)
{
    const json_t *list = json_object_get(status, "conditions");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (str_eq(json_path_string(json_array_get(list, i), "type"), type))
            return json_path_string(json_array_get(list, i), "reason");
    return NULL;
}

static void a_running_container_is_resized(void **state)
{
    (void)state;
    struct fake f;
    start(&f, SIZED("100m", "64Mi", ""));
    begun(&f);
    f.failing[CRI_UPDATE_CONTAINER_RESOURCES] = 1;
    change(&f, "", SIZED("200m", "128Mi", ""));
    expect(&f, "update"); /* fails, and is told */
    _cleanup_json_ json_t *failed = worker_status(f.w);
    const json_t *c = json_array_get(json_object_get(failed, "containerStatuses"), 0);
    assert_string_equal(condition(failed, "PodResizeInProgress"), "Error");
    assert_string_equal(json_path_string(c, "allocatedResources.cpu"), "200m");
    assert_string_equal(json_path_string(c, "resources.limits.cpu"), "100m"); /* still */
    assert_string_equal(json_path_string(c, "resources.limits.memory"), "64Mi");
    f.w->resize_retry_at = 0;
    worker_kick(f.w);
    expect(&f, "update:20000/134217728");
    _cleanup_json_ json_t *s = worker_status(f.w);
    c = json_array_get(json_object_get(s, "containerStatuses"), 0);
    assert_false(f.w->resizing);
    assert_string_equal(json_path_string(c, "resources.limits.cpu"), "200m");
    assert_int_equal(json_path_int(c, "restartCount", -1), 0);
    /* Where its policy says so it is restarted instead. */
    change(&f, "",
           SIZED("200m", "256Mi",
                 "\"resizePolicy\":[{\"resourceName\":\"memory\",\"restartPolicy\":"
                 "\"RestartContainer\"}],"));
    expect(&f, "stop:c0 image create:a start");
    assert_int_equal(f.w->slots[0]->run->restart, 1);
    assert_int_equal(f.w->slots[0]->run->applied.memory, 256 << 20);
    finish(&f);
}

static void a_resize_waits_for_room(void **state)
{
    (void)state;
    struct fake f;
    start(&f, SIZED("100m", "64Mi", ""));
    begun(&f);
    f.k.allocatable.cpu_milli = 1000;
    change(&f, ",\"labels\":{\"new\":\"1\"}", SIZED("2", "64Mi", ""));
    expect(&f, "");
    _cleanup_json_ json_t *s = worker_status(f.w);
    assert_string_equal(condition(s, "PodResizePending"), "Infeasible");
    assert_string_equal(f.w->resize_message,
                        "Node didn't have enough capacity: cpu, requested: 2000, capacity: 1000");
    /* What else changed holds, and the old resources do too. */
    assert_string_equal(string_map_get(&f.w->pod->meta.labels, "new"), "1");
    assert_int_equal(pod_request(f.w->pod, "cpu"), 100);
    f.k.allocatable.cpu_milli = 4000;
    worker_retry_resize(f.w);
    expect(&f, "update:200000/67108864");
    assert_null(f.w->resize_pending);
    assert_null(f.w->desired);
    change(&f, "", SIZED("100m", "64Mi", ""));
    expect(&f, "update:10000/67108864");
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_starts),
        cmocka_unit_test(a_crash_restarts_then_backs_off),
        cmocka_unit_test(never_means_never),
        cmocka_unit_test(on_failure_restarts_only_failures),
        cmocka_unit_test(deletion_goes_in_order),
        cmocka_unit_test(a_restarted_kubelet_takes_over),
        cmocka_unit_test(images_that_are_missing_have_reasons),
        cmocka_unit_test(init_containers_run_in_order),
        cmocka_unit_test(a_failed_init_container_fails_the_pod),
        cmocka_unit_test(a_dead_sandbox_is_replaced),
        cmocka_unit_test(what_cannot_run_says_so),
        cmocka_unit_test(failed_calls_are_tried_again_later),
        cmocka_unit_test(a_new_image_replaces_the_container),
        cmocka_unit_test(sidecars_end_in_reverse),
        cmocka_unit_test(a_shorter_grace_period_hurries),
        cmocka_unit_test(an_ephemeral_container_joins),
        cmocka_unit_test(a_container_has_a_policy_of_its_own),
        cmocka_unit_test(what_may_not_run_is_rejected),
        cmocka_unit_test(a_running_container_is_resized),
        cmocka_unit_test(a_resize_waits_for_room),
    };
    return RUN_TESTS(tests);
}
