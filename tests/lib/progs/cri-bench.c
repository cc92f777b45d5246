/*
 * A load client that drives any CRI socket: rounds of RunPodSandbox, CreateContainer,
 * StartContainer, StopContainer, StopPodSandbox, RemovePodSandbox, one after the other, then N pods
 * at once. Prints one line a step: name, p50 and p99 in milliseconds.
 *
 *   cri-bench --socket PATH --image NAME [--rounds N] [--parallel N] [--hold SECONDS] [-- COMMAND…]
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/options.h"
#include "base/strbuf.h"
#include "net/cri.pb-c.h"
#include "net/grpc_client.h"

#define DEADLINE_MS 120000
#define STEPS       6
#define SETTLE_US   100000

enum step { RUN, CREATE, START, STOP, STOP_POD, REMOVE };
static const char *const step_names[STEPS] = {"RunPodSandbox",  "CreateContainer",
                                              "StartContainer", "StopContainer",
                                              "StopPodSandbox", "RemovePodSandbox"};

struct bench {
    struct loop *loop;
    struct rpc *rpc;
    struct rpc_client *client;
    const char *image;
    char **command;
    size_t n_command;
    double *times[STEPS];
    size_t n_times[STEPS], running;
    unsigned next;
};

struct pod {
    struct bench *b;
    char name[32], uid[48];
    char *sandbox, *container;
    enum step step, last; /* ends after @last */
    double began;
    void (*done)(struct pod *p);
};

static double now(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* What the kubelet asks for, unless a pod shares its PID namespace. */
static Runtime__V1__NamespaceOption *own_pid_namespace(void)
{
    static Runtime__V1__NamespaceOption options = RUNTIME__V1__NAMESPACE_OPTION__INIT;
    options.pid = RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
    return &options;
}

static void make_config(struct pod *p, Runtime__V1__PodSandboxConfig *c,
                        Runtime__V1__PodSandboxMetadata *m, Runtime__V1__LinuxPodSandboxConfig *l)
{
    static char ns[] = "bench", hostname[] = "bench";
    *c = (Runtime__V1__PodSandboxConfig)RUNTIME__V1__POD_SANDBOX_CONFIG__INIT;
    *m = (Runtime__V1__PodSandboxMetadata)RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
    *l = (Runtime__V1__LinuxPodSandboxConfig)RUNTIME__V1__LINUX_POD_SANDBOX_CONFIG__INIT;
    m->name = p->name;
    m->uid = p->uid;
    m->namespace_ = ns;
    c->metadata = m;
    c->hostname = hostname;
    c->linux = l;
    static Runtime__V1__LinuxSandboxSecurityContext security =
        RUNTIME__V1__LINUX_SANDBOX_SECURITY_CONTEXT__INIT;
    security.namespace_options = own_pid_namespace();
    l->security_context = &security;
}

static void next_step(struct pod *p);

static void on_reply(void *arg, enum rpc_status status, const char *message,
                     const ProtobufCMessage *response)
{
    struct pod *p = arg;
    struct bench *b = p->b;
    if (status != RPC_OK) {
        (void)fprintf(stderr, "%s: %s\n", step_names[p->step], message);
        exit(1);
    }
    b->times[p->step] =
        mem_grow(b->times[p->step], b->n_times[p->step] + 1, sizeof(*b->times[p->step]));
    b->times[p->step][b->n_times[p->step]++] = now() - p->began;
    if (p->step == RUN)
        p->sandbox =
            str_dup(((const Runtime__V1__RunPodSandboxResponse *)response)->pod_sandbox_id);
    if (p->step == CREATE)
        p->container =
            str_dup(((const Runtime__V1__CreateContainerResponse *)response)->container_id);
    if (p->step == p->last) {
        p->done(p);
        return;
    }
    p->step++;
    next_step(p);
}

static void call(struct pod *p, const struct rpc_method *method, const ProtobufCMessage *request)
{
    p->began = now();
    (void)rpc_client_call(p->b->client, method, request, DEADLINE_MS, on_reply, p);
}

static void run_sandbox(struct pod *p)
{
    static const struct rpc_method method = {"/runtime.v1.RuntimeService/RunPodSandbox",
                                             &runtime__v1__run_pod_sandbox_response__descriptor};
    Runtime__V1__PodSandboxConfig c;
    Runtime__V1__PodSandboxMetadata m;
    Runtime__V1__LinuxPodSandboxConfig l;
    Runtime__V1__RunPodSandboxRequest q = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
    make_config(p, &c, &m, &l);
    q.config = &c;
    call(p, &method, &q.base);
}

static void create_container(struct pod *p)
{
    static const struct rpc_method method = {"/runtime.v1.RuntimeService/CreateContainer",
                                             &runtime__v1__create_container_response__descriptor};
    static char name[] = "main", log[] = "";
    Runtime__V1__PodSandboxConfig c;
    Runtime__V1__PodSandboxMetadata m;
    Runtime__V1__LinuxPodSandboxConfig l;
    Runtime__V1__ContainerConfig k = RUNTIME__V1__CONTAINER_CONFIG__INIT;
    Runtime__V1__ContainerMetadata km = RUNTIME__V1__CONTAINER_METADATA__INIT;
    Runtime__V1__LinuxContainerConfig kl = RUNTIME__V1__LINUX_CONTAINER_CONFIG__INIT;
    Runtime__V1__LinuxContainerSecurityContext security =
        RUNTIME__V1__LINUX_CONTAINER_SECURITY_CONTEXT__INIT;
    Runtime__V1__ImageSpec image = RUNTIME__V1__IMAGE_SPEC__INIT;
    Runtime__V1__CreateContainerRequest q = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT;
    make_config(p, &c, &m, &l);
    km.name = name;
    image.image = (char *)(uintptr_t)p->b->image;
    k.metadata = &km;
    k.image = &image;
    security.namespace_options = own_pid_namespace();
    kl.security_context = &security;
    k.linux = &kl;
    k.log_path = log;
    k.n_command = p->b->n_command;
    k.command = p->b->command;
    q.pod_sandbox_id = p->sandbox;
    q.config = &k;
    q.sandbox_config = &c;
    call(p, &method, &q.base);
}

static void next_step(struct pod *p)
{
    static const struct rpc_method start = {"/runtime.v1.RuntimeService/StartContainer",
                                            &runtime__v1__start_container_response__descriptor};
    static const struct rpc_method stop = {"/runtime.v1.RuntimeService/StopContainer",
                                           &runtime__v1__stop_container_response__descriptor};
    static const struct rpc_method stop_pod = {"/runtime.v1.RuntimeService/StopPodSandbox",
                                               &runtime__v1__stop_pod_sandbox_response__descriptor};
    static const struct rpc_method remove_pod = {
        "/runtime.v1.RuntimeService/RemovePodSandbox",
        &runtime__v1__remove_pod_sandbox_response__descriptor};
    Runtime__V1__StartContainerRequest q_start = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;
    Runtime__V1__StopContainerRequest q_stop = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;
    Runtime__V1__StopPodSandboxRequest q_stop_pod = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
    Runtime__V1__RemovePodSandboxRequest q_remove = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;
    switch (p->step) {
    case RUN:
        run_sandbox(p);
        return;
    case CREATE:
        create_container(p);
        return;
    case START:
        q_start.container_id = p->container;
        call(p, &start, &q_start.base);
        return;
    case STOP:
        q_stop.container_id = p->container;
        q_stop.timeout = 10;
        call(p, &stop, &q_stop.base);
        return;
    case STOP_POD:
        q_stop_pod.pod_sandbox_id = p->sandbox;
        call(p, &stop_pod, &q_stop_pod.base);
        return;
    case REMOVE:
        q_remove.pod_sandbox_id = p->sandbox;
        call(p, &remove_pod, &q_remove.base);
        return;
    }
}

static void begin(struct bench *b, struct pod *p, enum step first, enum step last,
                  void (*done)(struct pod *p))
{
    if (first == RUN) {
        *p = (struct pod){.b = b};
        (void)snprintf(p->name, sizeof(p->name), "bench-%u", b->next++);
        (void)snprintf(p->uid, sizeof(p->uid), "%s-%d", p->name, (int)getpid());
    }
    p->step = first;
    p->last = last;
    p->done = done;
    b->running++;
    next_step(p);
}

static void on_done(struct pod *p)
{
    if (--p->b->running == 0)
        loop_stop(p->b->loop, 0);
}

static void pod_done(struct pod *p)
{
    free(p->sandbox);
    free(p->container);
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double percentile(const double *sorted, size_t n, double p)
{
    size_t i = (size_t)(p * (double)(n - 1) + 0.5);
    return n ? sorted[i] : 0;
}

static void report(struct bench *b)
{
    for (size_t i = 0; i < STEPS; i++) {
        qsort(b->times[i], b->n_times[i], sizeof(double), by_value);
        (void)printf("%s %.2f %.2f\n", step_names[i], percentile(b->times[i], b->n_times[i], 0.5),
                     percentile(b->times[i], b->n_times[i], 0.99));
        b->n_times[i] = 0;
    }
}

int main(int argc, char **argv)
{
    struct bench b = {.loop = loop_new()};
    const char *socket = NULL;
    int rounds = 20, parallel = 20, hold = 0;
    struct error err = ERROR_INIT;
    const struct option_def options[] = {
        {"socket", 0, OPTION_STRING, &socket, "PATH", "CRI socket"},
        {"image", 0, OPTION_STRING, &b.image, "NAME", "image to run"},
        {"rounds", 0, OPTION_INT, &rounds, "N", "pods one after the other"},
        {"parallel", 0, OPTION_INT, &parallel, "N", "pods at once"},
        {"hold", 0, OPTION_INT, &hold, "SECONDS",
         "how long the pods at once stay (-1: until standard input ends)"},
        {NULL}};
    b.command = mem_zalloc((size_t)argc * sizeof(*b.command));
    int n = options_parse(options, argc, argv, false, b.command, &err);
    if (n < 0 || !socket || !b.image) {
        (void)fprintf(stderr, "cri-bench: %s\n",
                      err.code ? err.text : "needs --socket and --image");
        options_help(options, stderr);
        return 2;
    }
    b.n_command = (size_t)n;
    _cleanup_free_ char *target = str_printf("unix://%s", socket);
    b.rpc = rpc_new(b.loop, &err);
    b.client =
        b.rpc ? rpc_client_new(b.rpc, &(struct rpc_client_options){.target = target}, &err) : NULL;
    if (!b.client) {
        (void)fprintf(stderr, "cri-bench: %s\n", error_text(&err));
        return 1;
    }
    struct pod *pods = mem_zalloc((size_t)(parallel + 1) * sizeof(*pods));
    for (int i = 0; i < rounds; i++) {
        begin(&b, &pods[0], RUN, START, on_done);
        (void)loop_run(b.loop);
        /* The first process of a PID namespace does not hear SIGTERM before it has a handler. */
        (void)usleep(SETTLE_US);
        begin(&b, &pods[0], STOP, REMOVE, on_done);
        (void)loop_run(b.loop);
        pod_done(&pods[0]);
    }
    report(&b);
    double began = now();
    for (int i = 0; i < parallel; i++)
        begin(&b, &pods[i], RUN, START, on_done);
    if (parallel)
        (void)loop_run(b.loop);
    (void)printf("start-%d-at-once %.2f\n", parallel, now() - began);
    (void)fflush(stdout);
    if (hold >= 0)
        (void)sleep((unsigned)hold);
    else
        while (getchar() != EOF)
            ;
    began = now();
    for (int i = 0; i < parallel; i++)
        begin(&b, &pods[i], STOP, REMOVE, on_done);
    if (parallel)
        (void)loop_run(b.loop);
    (void)printf("remove-%d-at-once %.2f\n", parallel, now() - began);
    for (int i = 0; i < parallel; i++)
        pod_done(&pods[i]);
    for (size_t i = 0; i < STEPS; i++)
        free(b.times[i]);
    free(pods);
    free(b.command);
    rpc_client_free(b.client);
    rpc_free(b.rpc);
    loop_free(b.loop);
    return 0;
}
