/*
 * The node's own state. One function builds the whole status; what the API has of it is compared
 * with that, and only a difference (or the heartbeat after 5 minutes) is written.
 */
#include "kubelet/node/node.h"

#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kube/informer.h"
#include "kube/meta.h"
#include "kubelet/cgroups.h"
#include "kubelet/devices/devices.h"
#include "kubelet/eviction/eviction.h"
#include "kubelet/pods.h"
#include "kubelet/runtime/events.h"

#define ASK_FIRST_MS 100   /* until the runtime is ready */
#define ASK_MS       10000 /* after that */
#define HEARTBEAT_MS 300000
#define RETRY_MS     500
#define RETRY_MAX_MS 7000

#define SHUTTING_DOWN "node is shutting down" /* upstream's message */

struct node {
    struct kubelet *k;
    struct loop_timer ask, write;
    struct runtime_call *status_call, *version_call, *driver_call, *cidr_call;
    struct kube_call *api_call;
    struct informer *own; /* our Node, once it is there: what others write to it */
    struct node_lease *lease;
    char *runtime_version;    /* "name://version" */
    char *why;                /* not ready, or NULL */
    char *cidr;               /* told to the runtime */
    char *sent;               /* conditions and the rest as last written, without heartbeat times */
    char *transition;         /* of Ready */
    char *pressed[PRESSURES]; /* transition of each condition of pressure */
    bool pressure[PRESSURES];
    uint64_t sent_at;
    uint32_t retry_ms;
    bool registered, told_ready, complained;
    char *groups_why; /* pods cannot have control groups, or NULL */
    bool groups_ready;
    void (*ready)(void *arg);
    void *arg;
};

/* Without and under pressure. */
static const struct {
    const char *type;
    struct {
        const char *reason, *message, *event;
    } of[2];
} pressures[PRESSURES] = {
    [PRESSURE_MEMORY] = {"MemoryPressure",
                         {{"KubeletHasSufficientMemory", "kubelet has sufficient memory available",
                           "NodeHasSufficientMemory"},
                          {"KubeletHasInsufficientMemory",
                           "kubelet has insufficient memory available",
                           "NodeHasInsufficientMemory"}}},
    [PRESSURE_DISK] =
        {"DiskPressure",
         {{"KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"},
          {"KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasDiskPressure"}}},
    [PRESSURE_PID] = {"PIDPressure",
                      {{"KubeletHasSufficientPID", "kubelet has sufficient PID available",
                        "NodeHasSufficientPID"},
                       {"KubeletHasInsufficientPID", "kubelet has insufficient PID available",
                        "NodeHasInsufficientPID"}}},
};

static void write_status(struct node *n);

/* ---- the status ---- */
static void add_condition(json_t *list, const char *type, bool status, const char *reason,
                          const char *message, const char *heartbeat, const char *transition)
{
    json_t *c =
        json_pack("{s:s,s:s,s:s,s:s,s:s}", "type", type, "status", status ? "True" : "False",
                  "reason", reason, "message", message, "lastTransitionTime", transition);
    if (heartbeat)
        (void)json_object_set_new(c, "lastHeartbeatTime", json_string(heartbeat));
    (void)json_array_append_new(list, c);
}

/* What the runtime says that it can do, and what we can. */
static void add_features(const struct kubelet *k, json_t *status)
{
    json_t *handlers = json_array();
    for (size_t i = 0; i < k->handlers.count; i++) {
        const struct runtime_handler *h = &k->handlers.items[i];
        (void)json_array_append_new(handlers,
                                    json_pack("{s:s,s:{s:b,s:b}}", "name", h->name, "features",
                                              "recursiveReadOnlyMounts", h->recursive_read_only,
                                              "userNamespaces", h->user_namespaces));
    }
    if (k->handlers.count)
        (void)json_object_set(status, "runtimeHandlers", handlers);
    json_decref(handlers);
    (void)json_object_set_new(
        status, "features",
        json_pack("{s:b}", "supplementalGroupsPolicy", k->supplemental_groups_policy));
    /* With this API servers pass WebSocket clients on to our server instead of translating. */
    (void)json_object_set_new(status, "declaredFeatures",
                              json_pack("[s]", "ExtendWebSocketsToKubelet"));
}

/* @heartbeat NULL: the form that is compared. */
static json_t *build(const struct node *n, const char *heartbeat)
{
    struct kubelet *k = n->k;
    json_t *conditions = json_array(), *addresses = json_array();
    for (size_t i = 0; i < PRESSURES; i++)
        add_condition(conditions, pressures[i].type, n->pressure[i],
                      pressures[i].of[n->pressure[i]].reason,
                      pressures[i].of[n->pressure[i]].message, heartbeat, n->pressed[i]);
    add_condition(conditions, "Ready", k->node_ready,
                  k->node_ready ? "KubeletReady" : "KubeletNotReady",
                  k->node_ready ? "kubelet is posting ready status"
                  : n->why      ? n->why
                                : "starting",
                  heartbeat, n->transition);
    _cleanup_free_ char *ips = str_dup(k->node_ips ? k->node_ips : "");
    char *save = NULL;
    for (char *ip = strtok_r(ips, ",", &save); ip; ip = strtok_r(NULL, ",", &save))
        (void)json_array_append_new(addresses,
                                    json_pack("{s:s,s:s}", "type", "InternalIP", "address", ip));
    (void)json_array_append_new(
        addresses, json_pack("{s:s,s:s}", "type", "Hostname", "address", k->node_name));
    json_t *capacity = node_resources(&k->capacity), *rest = node_resources(&k->allocatable);
    devices_put(k->devices, capacity, rest);
    json_t *status = json_pack(
        "{s:o,s:o,s:o,s:o,s:{s:{s:i}},s:o}", "capacity", capacity, "allocatable", rest,
        "conditions", conditions, "addresses", addresses, "daemonEndpoints", "kubeletEndpoint",
        "Port", (int)k->port, "nodeInfo", node_info(n->runtime_version ? n->runtime_version : ""));
    if (k->images)
        (void)json_object_set(status, "images", k->images);
    add_features(k, status);
    return status;
}

static char *encode(const json_t *j)
{
    struct strbuf out = STRBUF_INIT;
    json_encode(j, &out);
    return strbuf_take(&out);
}

/* ---- the runtime ---- */
static void set_ready(struct node *n, bool ready, const char *why)
{
    char now[TIME_TEXT_MAX];
    bool changed = n->k->node_ready != ready || !n->transition;
    if (!changed && str_eq(n->why, why))
        return;
    if (changed) {
        free(n->transition);
        n->transition = str_dup(time_format(time_now(), now));
        if (ready)
            log_info("node is ready", "node", n->k->node_name, NULL);
        else
            log_warn("node is not ready", "node", n->k->node_name, "reason", why, NULL);
    }
    n->k->node_ready = ready;
    free(n->why);
    n->why = str_dup(why);
    if (ready && !n->told_ready) {
        n->told_ready = true;
        n->ready(n->arg);
    }
    write_status(n);
}

static void read_handlers(struct kubelet *k, const Runtime__V1__StatusResponse *r)
{
    for (size_t i = 0; i < k->handlers.count; i++)
        free(k->handlers.items[i].name);
    k->handlers.items =
        mem_grow(k->handlers.items, r->n_runtime_handlers + 1, sizeof(*k->handlers.items));
    k->handlers.count = r->n_runtime_handlers;
    k->supplemental_groups_policy = r->features && r->features->supplemental_groups_policy;
    for (size_t i = 0; i < r->n_runtime_handlers; i++) {
        const Runtime__V1__RuntimeHandler *h = r->runtime_handlers[i];
        k->handlers.items[i] = (struct runtime_handler){
            .name = str_dup(h->name),
            .recursive_read_only = h->features && h->features->recursive_read_only_mounts,
            .user_namespaces = h->features && h->features->user_namespaces,
        };
    }
}

static void on_status(void *arg, enum rpc_status status, const char *message,
                      const ProtobufCMessage *response)
{
    struct node *n = arg;
    const Runtime__V1__StatusResponse *r = (const void *)response;
    _cleanup_free_ char *why = NULL;
    n->status_call = NULL;
    if (status != RPC_OK)
        why = str_printf("container runtime is down: %s", message);
    else if (!r->status)
        why = str_dup("container runtime status is missing");
    else
        read_handlers(n->k, r);
    if (!why && n->groups_why)
        why = str_dup(n->groups_why);
    if (!why && n->k->shutting_down)
        why = str_dup(SHUTTING_DOWN);
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): str_dup never returns NULL
    for (size_t i = 0; !why && i < r->status->n_conditions; i++) {
        const Runtime__V1__RuntimeCondition *c = r->status->conditions[i];
        if (!c->status)
            why = str_printf("container runtime %snot ready: %s=false reason:%s message:%s",
                             str_eq(c->type, "NetworkReady") ? "network " : "", c->type, c->reason,
                             c->message);
    }
    loop_timer_set(&n->ask, why ? ASK_FIRST_MS * 5 : ASK_MS);
    set_ready(n, !why, why);
}

static void on_version(void *arg, enum rpc_status status, const char *message,
                       const ProtobufCMessage *response)
{
    struct node *n = arg;
    const Runtime__V1__VersionResponse *r = (const void *)response;
    (void)message;
    n->version_call = NULL;
    if (status != RPC_OK)
        return;
    free(n->runtime_version);
    free(n->k->runtime_name);
    n->k->runtime_name = str_dup(*r->runtime_name ? r->runtime_name : "cri");
    n->runtime_version = str_printf("%s://%s", n->k->runtime_name, r->runtime_version);
    write_status(n);
}

/* What the runtime has must be what the configuration names, if it names one. */
static int start_groups(struct node *n, const char *driver, struct error *err)
{
    const char *want = n->k->cgroup_driver;
    if (want && *want && !str_eq(want, driver))
        return error_set(err, -EINVAL,
                         "cgroupDriver: the configuration says %s, the container runtime has %s",
                         want, driver);
    return n->k->cgroups ? pod_cgroups_start(n->k->cgroups, str_eq(driver, "systemd"), err) : 0;
}

/* Older runtimes do not say: then it is what the configuration says. */
static void on_driver(void *arg, enum rpc_status status, _unused_ const char *message,
                      const ProtobufCMessage *response)
{
    struct node *n = arg;
    const Runtime__V1__RuntimeConfigResponse *r = (const void *)response;
    const char *driver = n->k->cgroup_driver;
    struct error err = ERROR_INIT;
    n->driver_call = NULL;
    if (status != RPC_OK && status != RPC_UNIMPLEMENTED)
        return;
    if (status == RPC_OK)
        driver = r->linux && r->linux->cgroup_driver == RUNTIME__V1__CGROUP_DRIVER__SYSTEMD
                     ? "systemd"
                     : "cgroupfs";
    n->groups_ready = start_groups(n, driver && *driver ? driver : "cgroupfs", &err) == 0;
    const char *why = n->groups_ready ? NULL : error_text(&err);
    if (!str_eq(why, n->groups_why)) {
        if (why)
            log_error("pods cannot have control groups", "error", why, NULL);
        free(n->groups_why);
        n->groups_why = why ? str_dup(why) : NULL;
        loop_timer_set(&n->ask, 0);
    }
    if (n->groups_ready)
        pod_manager_groups_ready(n->k->pods);
}

static void on_ask(void *arg)
{
    struct node *n = arg;
    Runtime__V1__StatusRequest status = RUNTIME__V1__STATUS_REQUEST__INIT;
    Runtime__V1__VersionRequest version = RUNTIME__V1__VERSION_REQUEST__INIT;
    Runtime__V1__RuntimeConfigRequest driver = RUNTIME__V1__RUNTIME_CONFIG_REQUEST__INIT;
    version.version = (char *)(uintptr_t) "v1";
    if (!n->runtime_version && !n->version_call)
        n->version_call =
            runtime_call(n->k->runtime, CRI_VERSION, &version.base, 5000, on_version, n);
    if (!n->groups_ready && !n->driver_call)
        n->driver_call =
            runtime_call(n->k->runtime, CRI_RUNTIME_CONFIG, &driver.base, 5000, on_driver, n);
    if (!n->status_call)
        n->status_call = runtime_call(n->k->runtime, CRI_STATUS, &status.base, 5000, on_status, n);
}

/* ---- the API ---- */
static void on_cidr(void *arg, enum rpc_status status, const char *message,
                    const ProtobufCMessage *response)
{
    struct node *n = arg;
    (void)response;
    n->cidr_call = NULL;
    if (status != RPC_OK)
        log_warn("pod CIDR cannot be told to the runtime", "cidr", n->cidr, "error", message, NULL);
}

/* "10.244.1.0/24,fd44::/64": the form in which the runtime takes one of each family. */
static char *pod_cidrs(const json_t *object)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    const char *single = json_path_string(object, "spec.podCIDR");
    size_t i;
    json_t *one;
    json_array_foreach(json_path(object, "spec.podCIDRs"), i, one) {
        strbuf_addf(&text, "%s%s", i ? "," : "", json_string_value(one));
    }
    if (!text.len && single)
        strbuf_adds(&text, single);
    return strbuf_take(&text);
}

static void tell_cidr(struct node *n, const json_t *object)
{
    _cleanup_free_ char *cidr = pod_cidrs(object);
    if (!*cidr || str_eq(cidr, n->cidr))
        return;
    Runtime__V1__NetworkConfig network = RUNTIME__V1__NETWORK_CONFIG__INIT;
    Runtime__V1__RuntimeConfig config = RUNTIME__V1__RUNTIME_CONFIG__INIT;
    Runtime__V1__UpdateRuntimeConfigRequest q = RUNTIME__V1__UPDATE_RUNTIME_CONFIG_REQUEST__INIT;
    free(n->cidr);
    n->cidr = TAKE_PTR(cidr);
    network.pod_cidr = n->cidr;
    config.network_config = &network;
    q.runtime_config = &config;
    runtime_cancel(n->k->runtime, &n->cidr_call);
    n->cidr_call =
        runtime_call(n->k->runtime, CRI_UPDATE_RUNTIME_CONFIG, &q.base, 10000, on_cidr, n);
}

static void on_own(void *arg, _unused_ const char *key, const json_t *object)
{
    tell_cidr(arg, object);
}

static void on_own_gone(void *arg, _unused_ const char *key, _unused_ const json_t *object)
{
    struct node *n = arg;
    free(n->cidr); /* the next Node's is told again */
    n->cidr = NULL;
}

/* The pod CIDR is often given a while after the Node was registered. */
static void follow_own(struct node *n)
{
    static const struct informer_ops ops = {.upsert = on_own, .remove = on_own_gone};
    if (!n->own)
        n->own = informer_new(
            n->k->api,
            &(struct informer_config){
                .api = "v1", .plural = "nodes", .name = n->k->node_name, .ops = &ops, .arg = n});
}

static void fail(struct node *n, const char *what, const struct kube_result *r)
{
    if (!n->complained)
        log_warn(what, "node", n->k->node_name, "error", r->error, NULL);
    n->complained = true;
    free(n->sent);
    n->sent = NULL;
    loop_timer_set(&n->write, n->retry_ms);
    n->retry_ms = n->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : n->retry_ms * 2;
}

static void on_written(const struct kube_result *r, void *arg)
{
    struct node *n = arg;
    n->api_call = NULL;
    if (r->status == 404)
        n->registered = false;
    if (r->error) {
        fail(n, "node status cannot be written", r);
        return;
    }
    n->complained = false;
    n->retry_ms = RETRY_MS;
    n->sent_at = now_ms();
    tell_cidr(n, r->body);
    follow_own(n);
    json_decref(n->k->node_labels);
    n->k->node_labels = json_deep_copy(meta_labels(r->body));
    node_lease_start(n->lease, meta_uid(r->body));
    loop_timer_set(&n->write, HEARTBEAT_MS);
    write_status(n);
}

static void on_registered(const struct kube_result *r, void *arg)
{
    struct node *n = arg;
    n->api_call = NULL;
    if (r->error && r->status != 409) {
        fail(n, "node cannot be registered", r);
        return;
    }
    n->registered = true;
    if (!r->error)
        log_info("node registered", "node", n->k->node_name, NULL);
    /* An existing Node keeps what others put there; its status becomes ours. */
    if (r->error) {
        free(n->sent);
        n->sent = NULL;
        write_status(n);
        return;
    }
    on_written(r, arg);
}

static json_t *labels(const struct node *n)
{
    const char *arch = node_architecture();
    json_t *own = json_pack("{s:s,s:s,s:s,s:s,s:s}", "kubernetes.io/hostname", n->k->node_name,
                            "kubernetes.io/os", "linux", "kubernetes.io/arch", arch,
                            "beta.kubernetes.io/os", "linux", "beta.kubernetes.io/arch", arch);
    (void)json_object_update_missing(own, n->k->new_labels);
    return own;
}

static void write_status(struct node *n)
{
    char now[TIME_TEXT_MAX];
    if (!n->k->api || n->api_call || !n->transition || !n->runtime_version)
        return;
    _cleanup_json_ json_t *bare = build(n, NULL);
    _cleanup_free_ char *text = encode(bare);
    if (n->registered && str_eq(text, n->sent) && now_ms() - n->sent_at < HEARTBEAT_MS)
        return;
    _cleanup_json_ json_t *status = build(n, time_format(time_now(), now));
    free(n->sent);
    n->sent = TAKE_PTR(text);
    if (!n->registered) {
        _cleanup_json_ json_t *object = json_pack(
            "{s:s,s:s,s:{s:s,s:o},s:{},s:O}", "apiVersion", "v1", "kind", "Node", "metadata",
            "name", n->k->node_name, "labels", labels(n), "spec", "status", status);
        if (json_array_size(n->k->new_taints))
            (void)json_path_set(object, "spec.taints", json_deep_copy(n->k->new_taints));
        n->api_call = kube_create(n->k->api, "/api/v1/nodes", object, on_registered, n);
        return;
    }
    _cleanup_free_ char *path = kube_path("v1", NULL, "nodes", n->k->node_name, "status");
    _cleanup_json_ json_t *patch = json_pack("{s:O}", "status", status);
    n->api_call = kube_patch(n->k->api, path, KUBE_PATCH_STRATEGIC, patch, on_written, n);
}

static void on_write(void *arg)
{
    write_status(arg);
}

static void note_pressures(struct node *n)
{
    char now[TIME_TEXT_MAX];
    const char *node = n->k->node_name;
    struct event_object about = {.kind = "Node", .name = node, .uid = node};
    for (enum pressure p = 0; p < PRESSURES; p++) {
        bool on = eviction_has(n->k->eviction, p);
        if (n->pressure[p] == on)
            continue;
        n->pressure[p] = on;
        free(n->pressed[p]);
        n->pressed[p] = str_dup(time_format(time_now(), now));
        event_record(n->k->events, &about, "Normal", pressures[p].of[on].event,
                     "Node %s status is now: %s", node, pressures[p].of[on].event);
        log_warn("node pressure has changed", "node", node, "condition", pressures[p].type,
                 "status", on ? "True" : "False", NULL);
    }
}

static void note_shutdown(struct node *n)
{
    if (n->k->shutting_down && n->k->node_ready)
        set_ready(n, false, SHUTTING_DOWN);
    else if (!n->k->shutting_down && str_eq(n->why, SHUTTING_DOWN))
        loop_timer_set(&n->ask, 0); /* whether the runtime still is, it says itself */
}

void node_update(struct node *n)
{
    note_pressures(n);
    note_shutdown(n);
    write_status(n);
}

bool node_is_current(const struct node *n)
{
    return !n->k->api || (n->registered && n->sent && !n->api_call);
}

struct node *node_new(struct kubelet *k, void (*ready)(void *arg), void *arg)
{
    char now[TIME_TEXT_MAX];
    struct node *n = mem_zalloc(sizeof(*n));
    n->k = k;
    n->ready = ready;
    n->arg = arg;
    n->retry_ms = RETRY_MS;
    for (size_t i = 0; i < PRESSURES; i++)
        n->pressed[i] = str_dup(time_format(time_now(), now));
    n->lease = node_lease_new(k);
    loop_timer_init(&n->ask, k->loop, "runtime status", on_ask, n);
    loop_timer_init(&n->write, k->loop, "node status", on_write, n);
    loop_timer_set(&n->ask, 0);
    return n;
}

struct node *node_free(struct node *n)
{
    if (!n)
        return NULL;
    runtime_cancel(n->k->runtime, &n->status_call);
    runtime_cancel(n->k->runtime, &n->version_call);
    runtime_cancel(n->k->runtime, &n->driver_call);
    runtime_cancel(n->k->runtime, &n->cidr_call);
    kube_call_cancel(n->api_call);
    (void)informer_free(n->own);
    node_lease_free(n->lease);
    loop_timer_done(&n->ask);
    loop_timer_done(&n->write);
    free(n->runtime_version);
    free(n->groups_why);
    free(n->why);
    free(n->cidr);
    free(n->sent);
    free(n->transition);
    for (size_t i = 0; i < PRESSURES; i++)
        free(n->pressed[i]);
    free(n);
    return NULL;
}
