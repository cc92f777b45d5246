/*
 * The pod's sandbox: made when a container wants to run, made anew (next attempt) when it died.
 * After any failure the runtime is asked what there is before the next try, because the call may
 * have succeeded without us hearing of it.
 */
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/cgroups.h"
#include "kubelet/runtime/events.h"
#include "kubelet/runtime/message.h"
#include "kubelet/worker/worker.h"

void worker_fill_request(struct pod_worker *w, struct request_context *ctx)
{
    struct kubelet *k = w->k;
    *ctx = (struct request_context){
        .log_root = k->log_root,
        .cgroup_parent = k->cgroups ? pod_cgroups_path(k->cgroups, w->pod) : NULL,
        .seccomp_root = k->seccomp_root,
        .node_name = k->node_name,
        .dns = &k->dns,
        .memory_capacity = k->capacity.memory,
        .swap_capacity = k->swap_capacity,
        .unified_cgroups = pod_cgroups_unified(k->cgroups),
        .swap_accounting = pod_cgroups_swap(k->cgroups),
        .limited_swap = k->limited_swap,
        .oom_single = k->oom_single,
        .seccomp_default = k->seccomp_default,
        .ids = w->ids,
    };
}

static enum object_state env_object(void *arg, enum object_kind kind, const char *name,
                                    const struct bytes_map **ret_data)
{
    struct pod_worker *w = arg;
    const struct object_ref *ref = worker_object(w, kind, name);
    if (!ref)
        return OBJECT_ABSENT;
    *ret_data = object_data(ref);
    return object_state(ref);
}

static void env_skipped(void *arg, enum object_kind kind, const char *name, const char *keys)
{
    struct pod_worker *w = arg;
    kubelet_event(w->k, w->pod, NULL, "Warning", "InvalidEnvironmentVariableNames",
                  "Keys [%s] from the EnvFrom %s %s/%s were skipped since they are considered "
                  "invalid environment variable names.",
                  keys, kind == OBJECT_CONFIG_MAP ? "configMap" : "secret", w->pod->meta.ns, name);
}

const char *worker_ip(const struct pod_worker *w)
{
    const char *ip = w->pod->spec.host_network ? w->k->node_ip : w->sandbox.ip;
    return ip ? ip : "";
}

const char *worker_ips(const struct pod_worker *w)
{
    const char *ips = w->pod->spec.host_network ? w->k->node_ips : w->sandbox.ips;
    return ips ? ips : "";
}

void worker_fill_env(struct pod_worker *w, struct env_context *ctx)
{
    struct kubelet *k = w->k;
    *ctx = (struct env_context){
        .downward = {.node_name = k->node_name,
                     .host_ips = k->node_ips,
                     .pod_ips = worker_ips(w),
                     .limit = k->allocatable},
        .services = k->services,
        .object = env_object,
        .skipped = env_skipped,
        .arg = w,
    };
}

static void sandbox_failed(struct pod_worker *w, const char *message)
{
    char label[POD_LABEL_MAX];
    uint64_t delay = 1000ULL << (w->failures < 5 ? w->failures : 5);
    w->failures++;
    w->sandbox.state = w->sandbox.id ? SANDBOX_DEAD : SANDBOX_NONE;
    w->retry_at = now_ms() + delay;
    log_warn("sandbox cannot be started", "pod", pod_label(w->pod, label), "error", message, NULL);
    kubelet_event(w->k, w->pod, NULL, "Warning", "FailedCreatePodSandBox",
                  "Failed to create pod sandbox: %s", message);
    runtime_events_refresh(w->k, w->pod->meta.uid);
    worker_kick(w);
}

static void on_sandbox_status(void *arg, enum rpc_status status, const char *message,
                              const ProtobufCMessage *response)
{
    struct pod_worker *w = arg;
    const Runtime__V1__PodSandboxStatusResponse *reply = (const void *)response;
    w->call = NULL;
    if (status != RPC_OK || !reply->status) {
        sandbox_failed(w, status != RPC_OK ? message : "the runtime has no status of it");
        return;
    }
    w->failures = 0;
    w->sandbox.state = SANDBOX_READY;
    worker_observe_sandbox(w, reply->status);
    worker_kick(w);
}

static void on_sandbox_run(void *arg, enum rpc_status status, const char *message,
                           const ProtobufCMessage *response)
{
    struct pod_worker *w = arg;
    const Runtime__V1__RunPodSandboxResponse *reply = (const void *)response;
    w->call = NULL;
    if (status != RPC_OK) {
        sandbox_failed(w, message);
        return;
    }
    free(w->sandbox.id);
    w->sandbox.id = str_dup(reply->pod_sandbox_id);
    Runtime__V1__PodSandboxStatusRequest request = RUNTIME__V1__POD_SANDBOX_STATUS_REQUEST__INIT;
    request.pod_sandbox_id = w->sandbox.id;
    w->call = runtime_call(w->k->runtime, CRI_POD_SANDBOX_STATUS, &request.base, CRI_DEADLINE_MS,
                           on_sandbox_status, w);
}

/* What of the pod's DNS is not as it was asked for. */
static void tell_dns(struct pod_worker *w, const struct dns_settings *dns)
{
    struct strbuf notes = STRBUF_INIT;
    char *save = NULL;
    if (dns_lacks_cluster(w->pod, dns))
        kubelet_event(w->k, w->pod, NULL, "Warning", "MissingClusterDNS",
                      "kubelet does not have ClusterDNS IP configured and cannot create Pod using "
                      "\"%s\" policy. Falling back to \"Default\" policy.",
                      w->pod->spec.dns_policy);
    message_free(request_dns(w->pod, dns, &notes));
    for (char *line = notes.len ? strtok_r(notes.data, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save))
        kubelet_event(w->k, w->pod, NULL, "Warning", "DNSConfigForming", "%s", line);
    strbuf_done(&notes);
}

static void start_sandbox(struct pod_worker *w)
{
    struct request_context ctx;
    struct error err = ERROR_INIT;
    Runtime__V1__RunPodSandboxRequest request = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
    worker_fill_request(w, &ctx);
    _cleanup_free_ char *host = pod_kernel_hostname(w->pod, ctx.dns->domain, &err);
    if (!host && !w->pod->spec.host_network) {
        sandbox_failed(w, error_text(&err));
        return;
    }
    const struct runtime_handler *handler = kubelet_handler(w->k, w->handler);
    if (w->ids.length && !(handler && handler->user_namespaces)) {
        sandbox_failed(w, "spec.hostUsers is false, and the runtime does not support user "
                          "namespaces");
        return;
    }
    kubelet_read_dns(w->k);
    ctx.dns = &w->k->dns;
    tell_dns(w, ctx.dns);
    request.config = request_sandbox(w->pod, &ctx, w->sandbox.attempt);
    message_text(&request.runtime_handler, w->handler);
    w->sandbox.state = SANDBOX_STARTING;
    w->call = runtime_call(w->k->runtime, CRI_RUN_POD_SANDBOX, &request.base, 2 * CRI_DEADLINE_MS,
                           on_sandbox_run, w);
    message_free(request.config);
    if (*request.runtime_handler)
        free(request.runtime_handler);
}

static void on_dead_stopped(void *arg, enum rpc_status status, const char *message,
                            const ProtobufCMessage *response)
{
    struct pod_worker *w = arg;
    (void)response;
    w->call = NULL;
    if (status != RPC_OK && status != RPC_NOT_FOUND) {
        sandbox_failed(w, message);
        return;
    }
    w->old_sandboxes.items =
        mem_grow(w->old_sandboxes.items, w->old_sandboxes.count + 1, sizeof(char *));
    w->old_sandboxes.items[w->old_sandboxes.count++] = TAKE_PTR(w->sandbox.id);
    w->sandbox.state = SANDBOX_NONE;
    w->sandbox.attempt++;
    worker_kick(w);
}

/* The sandbox died: what still runs in it goes first, then what it holds (network, namespaces). */
static void replace_sandbox(struct pod_worker *w)
{
    bool busy = false;
    for (size_t i = 0; i < w->n_slots; i++) {
        struct container_slot *s = w->slots[i];
        if (slot_is_running(s) && s->step == SLOT_IDLE)
            slot_stop(s, 2, "Stopping container %s: its sandbox has gone");
        busy |= slot_is_running(s) || s->step != SLOT_IDLE;
    }
    if (busy)
        return;
    kubelet_event(w->k, w->pod, NULL, "Normal", "SandboxChanged",
                  "Pod sandbox changed, it will be killed and re-created.");
    Runtime__V1__StopPodSandboxRequest request = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
    request.pod_sandbox_id = w->sandbox.id;
    w->call = runtime_call(w->k->runtime, CRI_STOP_POD_SANDBOX, &request.base, CRI_DEADLINE_MS,
                           on_dead_stopped, w);
}

/* ---- RuntimeClass ---- */
static void on_runtime_class(const struct kube_result *r, void *arg)
{
    struct pod_worker *w = arg;
    const char *handler = json_path_string(r->body, "handler");
    w->handler_call = NULL;
    if (r->error || !handler) {
        _cleanup_free_ char *text =
            str_printf("failed to get sandbox runtime: RuntimeClass \"%s\": %s",
                       w->pod->spec.runtime_class, r->error ? r->error : "it has no handler");
        sandbox_failed(w, text);
        return;
    }
    w->handler = str_dup(handler);
    worker_kick(w);
}

/* True when the runtime's handler is known: "" is the default one. */
static bool find_handler(struct pod_worker *w)
{
    const char *name = w->pod->spec.runtime_class;
    if (!name || !*name) {
        w->handler = str_dup("");
        return true;
    }
    if (!w->k->api) {
        sandbox_failed(w, "failed to get sandbox runtime: there is no API server to read the "
                          "RuntimeClass from");
        return false;
    }
    _cleanup_free_ char *path = kube_path("node.k8s.io/v1", NULL, "runtimeclasses", name, NULL);
    if (!w->handler_call)
        w->handler_call = kube_get(w->k->api, path, on_runtime_class, w);
    return false;
}

static bool anything_to_run(const struct pod_worker *w)
{
    for (size_t i = 0; i < w->n_fixed; i++)
        if (slot_wants_run(w->slots[i]) || slot_is_running(w->slots[i]))
            return true;
    return false;
}

bool worker_sync_sandbox(struct pod_worker *w)
{
    if (w->sandbox.state == SANDBOX_READY)
        return true;
    if (w->call || !anything_to_run(w))
        return false;
    uint64_t now = now_ms();
    if (w->retry_at > now) {
        worker_wake_in(w, w->retry_at - now);
        return false;
    }
    if (!w->handler && !find_handler(w))
        return false;
    if (w->sandbox.state == SANDBOX_DEAD && w->sandbox.id)
        replace_sandbox(w);
    else if (w->sandbox.state == SANDBOX_NONE || w->sandbox.state == SANDBOX_DEAD)
        start_sandbox(w);
    return false;
}
