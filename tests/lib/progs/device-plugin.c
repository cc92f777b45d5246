/*
 * A device plugin, and a client of the pod resources service, for tests.
 *
 *   device-plugin serve DIR RESOURCE [pre-start] [preferred]
 *
 * registers with DIR/kubelet.sock (again whenever that is another) and serves DIR/plugin-PID.sock.
 * DIR/../devices has a line for each device: ID HEALTH [NUMA]; it is read again at SIGHUP. While
 * DIR/../refuse is there, allocations are refused, with DIR/../hang they are not answered. Standard
 * output gets a line for each call.
 *
 *   device-plugin register DIR VERSION RESOURCE ENDPOINT     the answer to this registration
 *   device-plugin list|allocatable SOCKET, device-plugin get SOCKET NAMESPACE NAME     as JSON
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "kube/decode.h"
#include "net/deviceplugin.pb-c.h"
#include "net/grpc_client.h"
#include "net/grpc_server.h"
#include "net/pbjson.h"
#include "net/podresources.pb-c.h"

struct program {
    struct loop *loop;
    struct rpc *rpc;
    struct rpc_server *server;
    struct rpc_client *client;
    struct rpc_server_call *watch; /* ListAndWatch; NULL: nobody listens */
    struct loop_timer look;
    char *dir, *above, *endpoint, *kubelet;
    const char *resource;
    struct stat registered; /* with this socket of the kubelet's */
    bool pre_start, preferred;
    int status;
};

static void note(const char *what, size_t n, char *const *ids)
{
    (void)printf("%s", what);
    for (size_t i = 0; i < n; i++)
        (void)printf(" %s", ids[i]);
    (void)printf("\n");
    (void)fflush(stdout);
}

/* ---- the plugin ---- */
static void send_devices(struct program *p)
{
    V1beta1__Device devices[16], *list[16];
    V1beta1__TopologyInfo near[16];
    V1beta1__NUMANode nodes[16], *node[16];
    V1beta1__ListAndWatchResponse m = V1BETA1__LIST_AND_WATCH_RESPONSE__INIT;
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_free_ char *path = fs_join(p->above, "devices");
    char *save = NULL, *words;
    if (!p->watch || fs_read(path, 4096, &text, NULL) < 0)
        return;
    _cleanup_free_ char *copy = str_dup(strbuf_text(&text));
    for (char *line = strtok_r(copy, "\n", &save); line && m.n_devices < 16;
         line = strtok_r(NULL, "\n", &save)) {
        size_t i = m.n_devices++;
        v1beta1__device__init(&devices[i]);
        v1beta1__topology_info__init(&near[i]);
        v1beta1__numanode__init(&nodes[i]);
        devices[i].id = strtok_r(line, " ", &words);
        devices[i].health = strtok_r(NULL, " ", &words);
        const char *numa = strtok_r(NULL, " ", &words);
        list[i] = &devices[i];
        if (!numa)
            continue;
        nodes[i].id = strtoll(numa, NULL, 10);
        node[i] = &nodes[i];
        near[i].n_nodes = 1;
        near[i].nodes = &node[i];
        devices[i].topology = &near[i];
    }
    m.devices = list;
    (void)rpc_server_send(p->watch, &m.base);
}

static void on_watch_gone(struct rpc_server_call *call, void *arg)
{
    struct program *p = arg;
    p->watch = p->watch == call ? NULL : p->watch;
    rpc_server_end(call);
}

static void serve_list(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                       void *arg)
{
    struct program *p = arg;
    p->watch = call;
    rpc_server_on_cancel(call, on_watch_gone, p);
    send_devices(p);
}

static void serve_options(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                          void *arg)
{
    const struct program *p = arg;
    V1beta1__DevicePluginOptions out = V1BETA1__DEVICE_PLUGIN_OPTIONS__INIT;
    out.pre_start_required = p->pre_start;
    out.get_preferred_allocation_available = p->preferred;
    note("options", 0, NULL);
    rpc_server_reply(call, &out.base);
}

/* The last ones. */
static void serve_preferred(struct rpc_server_call *call, const ProtobufCMessage *request,
                            _unused_ void *arg)
{
    const V1beta1__PreferredAllocationRequest *q = (const void *)request;
    const V1beta1__ContainerPreferredAllocationRequest *one = q->container_requests[0];
    V1beta1__ContainerPreferredAllocationResponse
        part = V1BETA1__CONTAINER_PREFERRED_ALLOCATION_RESPONSE__INIT,
        *list = &part;
    V1beta1__PreferredAllocationResponse out = V1BETA1__PREFERRED_ALLOCATION_RESPONSE__INIT;
    size_t n = (size_t)one->allocation_size;
    note("preferred", one->n_available_deviceids, one->available_deviceids);
    part.n_deviceids = n > one->n_available_deviceids ? one->n_available_deviceids : n;
    part.deviceids = one->available_deviceids + (one->n_available_deviceids - part.n_deviceids);
    out.n_container_responses = 1;
    out.container_responses = &list;
    rpc_server_reply(call, &out.base);
}

static void give_up(struct rpc_server_call *call, _unused_ void *arg)
{
    note("cancelled", 0, NULL);
    rpc_server_fail(call, RPC_CANCELLED, "cancelled");
}

static void serve_allocate(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const struct program *p = arg;
    const V1beta1__AllocateRequest *q = (const void *)request;
    const V1beta1__ContainerAllocateRequest *one = q->container_requests[0];
    struct strbuf ids = STRBUF_INIT;
    _cleanup_free_ char *refuse = fs_join(p->above, "refuse");
    _cleanup_free_ char *hang = fs_join(p->above, "hang");
    _cleanup_free_ char *shared = fs_join(p->above, "shared");
    char key[] = "DEVICE_IDS", mount_at[] = "/shared", null[] = "/dev/null", at[] = "/dev/coracle0",
         rw[] = "rw", note_key[] = "example.com/devices";
    note("allocate", one->n_devices_ids, one->devices_ids);
    if (access(hang, F_OK) == 0) {
        rpc_server_on_cancel(call, give_up, NULL);
        return;
    }
    if (access(refuse, F_OK) == 0) {
        rpc_server_fail(call, RPC_UNKNOWN, "told to refuse");
        return;
    }
    for (size_t i = 0; i < one->n_devices_ids; i++)
        strbuf_addf(&ids, "%s%s", i ? "," : "", one->devices_ids[i]);
    char *text = strbuf_take(&ids);
    V1beta1__ContainerAllocateResponse part = V1BETA1__CONTAINER_ALLOCATE_RESPONSE__INIT,
                                       *list = &part;
    V1beta1__ContainerAllocateResponse__EnvsEntry
        env = V1BETA1__CONTAINER_ALLOCATE_RESPONSE__ENVS_ENTRY__INIT,
        *envs = &env;
    V1beta1__ContainerAllocateResponse__AnnotationsEntry
        annotation = V1BETA1__CONTAINER_ALLOCATE_RESPONSE__ANNOTATIONS_ENTRY__INIT,
        *annotations = &annotation;
    V1beta1__Mount mount = V1BETA1__MOUNT__INIT, *mounts = &mount;
    V1beta1__DeviceSpec device = V1BETA1__DEVICE_SPEC__INIT, *devices = &device;
    V1beta1__AllocateResponse out = V1BETA1__ALLOCATE_RESPONSE__INIT;
    env.key = key;
    env.value = annotation.value = text;
    annotation.key = note_key;
    mount.host_path = shared;
    mount.container_path = mount_at;
    mount.read_only = true;
    device.host_path = null;
    device.container_path = at;
    device.permissions = rw;
    part.n_envs = part.n_annotations = part.n_mounts = part.n_devices = 1;
    part.envs = &envs;
    part.annotations = &annotations;
    part.mounts = &mounts;
    part.devices = &devices;
    out.n_container_responses = 1;
    out.container_responses = &list;
    rpc_server_reply(call, &out.base);
    free(text);
}

static void serve_pre_start(struct rpc_server_call *call, const ProtobufCMessage *request,
                            _unused_ void *arg)
{
    const V1beta1__PreStartContainerRequest *q = (const void *)request;
    V1beta1__PreStartContainerResponse out = V1BETA1__PRE_START_CONTAINER_RESPONSE__INIT;
    note("pre-start", q->n_devices_ids, q->devices_ids);
    rpc_server_reply(call, &out.base);
}

static const struct rpc_server_method methods[] = {
    {"/v1beta1.DevicePlugin/GetDevicePluginOptions", &v1beta1__empty__descriptor, RPC_UNARY,
     serve_options},
    {"/v1beta1.DevicePlugin/ListAndWatch", &v1beta1__empty__descriptor, RPC_SERVER_STREAM,
     serve_list},
    {"/v1beta1.DevicePlugin/GetPreferredAllocation",
     &v1beta1__preferred_allocation_request__descriptor, RPC_UNARY, serve_preferred},
    {"/v1beta1.DevicePlugin/Allocate", &v1beta1__allocate_request__descriptor, RPC_UNARY,
     serve_allocate},
    {"/v1beta1.DevicePlugin/PreStartContainer", &v1beta1__pre_start_container_request__descriptor,
     RPC_UNARY, serve_pre_start},
};

/* ---- as a client ---- */
static void on_answer(void *arg, enum rpc_status status, const char *message,
                      const ProtobufCMessage *response)
{
    struct program *p = arg;
    if (status == RPC_OK) {
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        _cleanup_json_ json_t *j = pbjson_from_message(response);
        json_encode(j, &text);
        (void)puts(strbuf_text(&text));
    } else {
        (void)fprintf(stderr, "%s: %s\n", rpc_status_name(status), message);
    }
    p->status = status != RPC_OK;
    loop_stop(p->loop, 0);
}

static void on_registered(void *arg, enum rpc_status status, const char *message,
                          _unused_ const ProtobufCMessage *response)
{
    struct program *p = arg;
    (void)printf("registered: %s\n", status == RPC_OK ? "ok" : message);
    (void)fflush(stdout);
    p->client = rpc_client_free(p->client);
    if (status != RPC_OK)
        p->registered.st_ino = 0;
}

static const struct rpc_method register_method = {"/v1beta1.Registration/Register",
                                                  &v1beta1__empty__descriptor};

static struct rpc_client *connect_to(struct program *p, const char *socket)
{
    struct error err = ERROR_INIT;
    _cleanup_free_ char *target = str_printf("unix://%s", socket);
    struct rpc_client_options o = {.target = target};
    return rpc_client_new(p->rpc, &o, &err);
}

static void register_with(struct program *p, const char *version, rpc_reply_fn *done)
{
    V1beta1__RegisterRequest q = V1BETA1__REGISTER_REQUEST__INIT;
    q.version = (char *)(uintptr_t)version;
    q.endpoint = p->endpoint;
    q.resource_name = (char *)(uintptr_t)p->resource;
    p->client = connect_to(p, p->kubelet);
    (void)rpc_client_call(p->client, &register_method, &q.base, 5000, done, p);
}

/* A new file may have the number of the one before. */
static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Whether there is another kubelet. */
static void on_look(void *arg)
{
    struct program *p = arg;
    struct stat st;
    if (!p->client && stat(p->kubelet, &st) == 0 && !is_same(&st, &p->registered)) {
        _cleanup_free_ char *socket = fs_join(p->dir, p->endpoint);
        struct rpc_server_options o = {.listen = socket};
        struct error err = ERROR_INIT;
        p->watch = NULL;
        p->server = rpc_server_free(p->server);
        p->server = rpc_server_new(p->rpc, &o);
        rpc_server_add(p->server, methods, ARRAY_SIZE(methods), p);
        if (rpc_server_start(p->server, &err) == 0) {
            p->registered = st;
            register_with(p, "v1beta1", on_registered);
        }
    }
    loop_timer_set(&p->look, 100);
}

static void on_hup(_unused_ int signo, void *arg)
{
    send_devices(arg);
}

static void on_term(_unused_ int signo, void *arg)
{
    struct program *p = arg;
    loop_stop(p->loop, 0);
}

static void serve(struct program *p, int argc, char **argv)
{
    struct loop_signal term, hup;
    p->endpoint = str_printf("plugin-%d.sock", (int)getpid());
    for (int i = 4; i < argc; i++) {
        p->pre_start |= str_eq(argv[i], "pre-start");
        p->preferred |= str_eq(argv[i], "preferred");
    }
    loop_signal_init(&term, p->loop, SIGTERM, on_term, p);
    loop_signal_init(&hup, p->loop, SIGHUP, on_hup, p);
    loop_timer_init(&p->look, p->loop, "kubelet", on_look, p);
    loop_timer_set(&p->look, 0);
    (void)loop_run(p->loop);
    loop_timer_done(&p->look);
    loop_signal_done(&term);
    loop_signal_done(&hup);
}

static void ask(struct program *p, char **argv)
{
    static const struct rpc_method list = {"/v1.PodResourcesLister/List",
                                           &v1__list_pod_resources_response__descriptor},
                                   get = {"/v1.PodResourcesLister/Get",
                                          &v1__get_pod_resources_response__descriptor},
                                   all = {"/v1.PodResourcesLister/GetAllocatableResources",
                                          &v1__allocatable_resources_response__descriptor};
    V1__ListPodResourcesRequest empty = V1__LIST_POD_RESOURCES_REQUEST__INIT;
    V1__GetPodResourcesRequest one = V1__GET_POD_RESOURCES_REQUEST__INIT;
    p->client = connect_to(p, argv[2]);
    if (str_eq(argv[1], "get")) {
        one.pod_namespace = argv[3];
        one.pod_name = argv[4];
        (void)rpc_client_call(p->client, &get, &one.base, 5000, on_answer, p);
    } else {
        (void)rpc_client_call(p->client, str_eq(argv[1], "list") ? &list : &all, &empty.base, 5000,
                              on_answer, p);
    }
    (void)loop_run(p->loop);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct program p = {.loop = loop_new()};
    if (argc < 3)
        return 2;
    p.rpc = rpc_new(p.loop, &err);
    p.dir = str_dup(argv[2]);
    p.above = fs_join(p.dir, "..");
    p.kubelet = fs_join(p.dir, "kubelet.sock");
    if (str_eq(argv[1], "serve") && argc > 3) {
        p.resource = argv[3];
        serve(&p, argc, argv);
    } else if (str_eq(argv[1], "register") && argc == 6) {
        p.resource = argv[4];
        p.endpoint = str_dup(argv[5]);
        register_with(&p, argv[3], on_answer);
        (void)loop_run(p.loop);
    } else {
        ask(&p, argv);
    }
    (void)rpc_server_free(p.server);
    (void)rpc_client_free(p.client);
    (void)rpc_free(p.rpc);
    (void)loop_free(p.loop);
    free(p.dir);
    free(p.above);
    free(p.endpoint);
    free(p.kubelet);
    return p.status;
}
