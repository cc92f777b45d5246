/* Version, Status, configuration and events. */
#include "cri/api.h"

#include <errno.h>

#include "base/fs.h"
#include "cri/events.h"
#include "cri/groups.h"

void api_finish(struct rpc_server_call *call, const ProtobufCMessage *response, int code,
                const struct error *err)
{
    if (code < 0)
        rpc_server_fail_errno(call, code, err);
    else
        rpc_server_reply(call, response);
}

void api_done(int code, const struct error *err, void *arg)
{
    /* Messages without fields are all the same on the wire. */
    static const Runtime__V1__StopContainerResponse empty =
        RUNTIME__V1__STOP_CONTAINER_RESPONSE__INIT;
    api_finish(arg, &empty.base, code, err);
}

static void on_version(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                       _unused_ void *arg)
{
    Runtime__V1__VersionResponse r = RUNTIME__V1__VERSION_RESPONSE__INIT;
    static char version[] = "0.1.0", name[] = "coracle", runtime[] = CORACLE_VERSION, api[] = "v1";
    r.version = version;
    r.runtime_name = name;
    r.runtime_version = runtime;
    r.runtime_api_version = api;
    rpc_server_reply(call, &r.base);
}

static void set_condition(Runtime__V1__RuntimeCondition *c, const char *type, const char *problem,
                          const char *reason)
{
    runtime__v1__runtime_condition__init(c);
    c->type = (char *)(uintptr_t)type;
    c->status = !problem;
    if (problem) {
        c->reason = (char *)(uintptr_t)reason;
        c->message = (char *)(uintptr_t)problem;
    }
}

static void on_status(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    struct runtime *rt = arg;
    const Runtime__V1__StatusRequest *q = (const Runtime__V1__StatusRequest *)request;
    _cleanup_arena_ struct arena a = ARENA_INIT;
    Runtime__V1__StatusResponse r = RUNTIME__V1__STATUS_RESPONSE__INIT;
    Runtime__V1__RuntimeStatus status = RUNTIME__V1__RUNTIME_STATUS__INIT;
    Runtime__V1__RuntimeCondition conditions[2];
    Runtime__V1__RuntimeCondition *list[] = {&conditions[0], &conditions[1]};
    Runtime__V1__RuntimeHandler handler = RUNTIME__V1__RUNTIME_HANDLER__INIT;
    Runtime__V1__RuntimeHandlerFeatures of_handler = RUNTIME__V1__RUNTIME_HANDLER_FEATURES__INIT;
    Runtime__V1__RuntimeFeatures features = RUNTIME__V1__RUNTIME_FEATURES__INIT;
    Runtime__V1__RuntimeHandler *handlers[] = {&handler};
    set_condition(&conditions[0], "RuntimeReady", NULL, NULL);
    set_condition(&conditions[1], "NetworkReady", network_not_ready(rt->network),
                  "NetworkPluginNotReady");
    status.n_conditions = ARRAY_SIZE(list);
    status.conditions = list;
    r.status = &status;
    of_handler.recursive_read_only_mounts = true;
    of_handler.user_namespaces = !rt->userns_problem;
    handler.features = &of_handler;
    r.n_runtime_handlers = 1;
    r.runtime_handlers = handlers;
    features.supplemental_groups_policy = true;
    r.features = &features;
    Runtime__V1__StatusResponse__InfoEntry info = RUNTIME__V1__STATUS_RESPONSE__INFO_ENTRY__INIT;
    Runtime__V1__StatusResponse__InfoEntry *infos[] = {&info};
    if (q->verbose) {
        static char key[] = "config";
        info.key = key;
        info.value = arena_printf(&a,
                                  "{\"cgroupDriver\":\"%s\",\"sandboxes\":%zu,"
                                  "\"containers\":%zu}",
                                  groups_driver(rt->groups), map_count(&rt->sandboxes),
                                  map_count(&rt->containers));
        r.n_info = 1;
        r.info = infos;
    }
    rpc_server_reply(call, &r.base);
}

static void on_configured(int code, const struct error *err, void *arg)
{
    api_done(code, err, arg);
}

static void on_update_config(struct rpc_server_call *call, const ProtobufCMessage *request,
                             void *arg)
{
    struct runtime *rt = arg;
    const Runtime__V1__UpdateRuntimeConfigRequest *q =
        (const Runtime__V1__UpdateRuntimeConfigRequest *)request;
    const Runtime__V1__NetworkConfig *net =
        q->runtime_config ? q->runtime_config->network_config : NULL;
    if (!net || !net->pod_cidr[0]) {
        api_done(0, NULL, call);
        return;
    }
    struct error err = ERROR_INIT;
    int r = network_set_pod_cidr(rt->network, net->pod_cidr, on_configured, call, &err);
    if (r < 0)
        api_done(r, &err, call);
}

static void on_runtime_config(struct rpc_server_call *call,
                              _unused_ const ProtobufCMessage *request, void *arg)
{
    const struct runtime *rt = arg;
    Runtime__V1__RuntimeConfigResponse r = RUNTIME__V1__RUNTIME_CONFIG_RESPONSE__INIT;
    Runtime__V1__LinuxRuntimeConfiguration config = RUNTIME__V1__LINUX_RUNTIME_CONFIGURATION__INIT;
    config.cgroup_driver = str_eq(groups_driver(rt->groups), "systemd")
                               ? RUNTIME__V1__CGROUP_DRIVER__SYSTEMD
                               : RUNTIME__V1__CGROUP_DRIVER__CGROUPFS;
    r.linux = &config;
    rpc_server_reply(call, &r.base);
}

static void on_events(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                      void *arg)
{
    struct runtime *rt = arg;
    events_subscribe(rt->events, call);
}

static void on_checkpoint(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                          _unused_ void *arg)
{
    rpc_server_fail(call, RPC_UNIMPLEMENTED, "checkpoints are not supported: they need CRIU");
}

static const struct rpc_server_method methods[] = {
    API_METHOD(Version, version, RPC_UNARY, on_version),
    API_METHOD(Status, status, RPC_UNARY, on_status),
    API_METHOD(UpdateRuntimeConfig, update_runtime_config, RPC_UNARY, on_update_config),
    API_METHOD(RuntimeConfig, runtime_config, RPC_UNARY, on_runtime_config),
    API_METHOD(GetContainerEvents, get_events, RPC_SERVER_STREAM, on_events),
    API_METHOD(CheckpointContainer, checkpoint_container, RPC_UNARY, on_checkpoint),
};

void api_runtime_register(struct runtime *rt)
{
    rpc_server_add(rt->server, methods, ARRAY_SIZE(methods), rt);
}
