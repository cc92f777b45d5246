/* postStart and preStop: a command inside, an HTTP request, or a pause. */
#include <errno.h>
#include <inttypes.h>

#include "base/strbuf.h"
#include "kubelet/probe/http_get.h"
#include "kubelet/runtime/message.h"
#include "kubelet/worker/worker.h"

#define BODY_MAX 10240

struct hook {
    struct kubelet *k;
    struct runtime_call *call;
    struct http_call *http;
    struct loop_timer timer;
    char *error;
    void (*cb)(void *arg, const char *error);
    void *arg;
};

struct hook *hook_cancel(struct hook *h)
{
    if (!h)
        return NULL;
    runtime_cancel(h->k->runtime, &h->call);
    http_call_cancel(h->http);
    loop_timer_done(&h->timer);
    free(h->error);
    free(h);
    return NULL;
}

static void finish(struct hook *h, const char *error)
{
    void (*cb)(void *arg, const char *error) = h->cb;
    void *arg = h->arg;
    _cleanup_free_ char *text = str_dup(error);
    hook_cancel(h);
    cb(arg, text);
}

static void on_timer(void *arg)
{
    struct hook *h = arg;
    finish(h, h->error);
}

static void on_exec(void *arg, enum rpc_status status, const char *message,
                    const ProtobufCMessage *response)
{
    struct hook *h = arg;
    const Runtime__V1__ExecSyncResponse *reply = (const void *)response;
    char text[64];
    h->call = NULL;
    if (status == RPC_OK && reply->exit_code) {
        (void)snprintf(text, sizeof(text), "command exited with %" PRId32, reply->exit_code);
        message = text;
    }
    finish(h, status == RPC_OK && !reply->exit_code ? NULL : message);
}

/* Any answer will do, whatever its status: upstream's rule for hooks. */
static void on_http(const struct http_response *response, const struct error *err, void *arg)
{
    struct hook *h = arg;
    h->http = NULL;
    finish(h, response || err->code == -EFBIG ? NULL : error_text(err));
}

static int start_http(struct hook *h, struct container_slot *s, const struct http_get_action *a,
                      uint64_t deadline_ms, struct error *err)
{
    struct http_get get;
    int code = http_get_init(&get, a, slot_spec(s), worker_ip(s->w),
                             "kube-lifecycle/" KUBERNETES_MINOR_TEXT, err);
    if (code < 0)
        return code;
    struct http_request request = http_get_request(&get, deadline_ms);
    code = http_client_call(h->k->http, &request, BODY_MAX, on_http, h, &h->http, err);
    http_get_done(&get);
    return code;
}

static void start_exec(struct hook *h, struct container_slot *s, const struct exec_action *e,
                       uint64_t deadline_ms)
{
    Runtime__V1__ExecSyncRequest request = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
    request.container_id = s->run->id;
    request.n_cmd = e->command.count;
    request.cmd = e->command.items;
    request.timeout = (int64_t)(deadline_ms / 1000);
    h->call = runtime_call(h->k->runtime, CRI_EXEC_SYNC, &request.base, deadline_ms, on_exec, h);
}

struct hook *hook_start(struct container_slot *s, const struct lifecycle_handler *handler,
                        uint64_t deadline_ms, void (*cb)(void *arg, const char *error), void *arg)
{
    struct hook *h = mem_zalloc(sizeof(*h));
    struct error err = ERROR_INIT;
    h->k = s->w->k;
    h->cb = cb;
    h->arg = arg;
    loop_timer_init(&h->timer, h->k->loop, "lifecycle hook", on_timer, h);
    if (handler->exec) {
        start_exec(h, s, handler->exec, deadline_ms);
    } else if (handler->http_get) {
        if (start_http(h, s, handler->http_get, deadline_ms, &err) < 0) {
            h->error = str_dup(error_text(&err));
            loop_timer_set(&h->timer, 0);
        }
    } else if (handler->sleep && handler->sleep->seconds >= 0) {
        uint64_t ms = (uint64_t)handler->sleep->seconds * 1000;
        if (deadline_ms && ms > deadline_ms)
            ms = deadline_ms;
        loop_timer_set(&h->timer, ms);
    } else {
        h->error = str_dup("the hook's handler is not supported");
        loop_timer_set(&h->timer, 0);
    }
    return h;
}
