/* run: a command in a container, without an upgraded connection; what it says is the answer. */
#include <string.h>

#include "kubelet/runtime/message.h"
#include "kubelet/server/server.h"

#define WORDS_MAX 1024

struct run_request {
    struct kubelet *k;
    struct http_exchange *x;
    struct runtime_call *call;
};

static void on_gone(struct http_exchange *x, void *arg)
{
    struct run_request *q = arg;
    runtime_cancel(q->k->runtime, &q->call);
    http_exchange_abort(x);
    free(q);
}

static void on_done(void *arg, enum rpc_status status, const char *message,
                    const ProtobufCMessage *response)
{
    struct run_request *q = arg;
    const Runtime__V1__ExecSyncResponse *r = (const void *)response;
    struct http_exchange *x = q->x;
    free(q);
    if (status != RPC_OK) {
        http_exchange_replyf(x, status == RPC_NOT_FOUND ? 404 : 500, "%s", message);
        return;
    }
    http_exchange_begin(x, r->exit_code ? 500 : 200, "text/plain",
                        (int64_t)(r->stdout.len + r->stderr.len));
    http_exchange_write(x, r->stdout.data, r->stdout.len);
    http_exchange_write(x, r->stderr.data, r->stderr.len);
    http_exchange_end(x);
}

void serve_run(struct http_exchange *x, const struct route *r)
{
    struct container_slot *s = route_container(x, r);
    if (!s)
        return; /* answered: the exchange is no more */
    const char *command = http_exchange_query_get(x, "cmd");
    if (!command || !*command) {
        http_exchange_replyf(x, 400, "cmd is missing");
        return;
    }
    if (!slot_is_running(s)) {
        http_exchange_replyf(x, 400, "container \"%s\" is not running", slot_spec(s)->name);
        return;
    }
    Runtime__V1__ExecSyncRequest *request =
        message_new(&runtime__v1__exec_sync_request__descriptor);
    _cleanup_free_ char *words = str_dup(command);
    char *save = NULL;
    request->container_id = str_dup(s->run->id);
    for (char *w = strtok_r(words, " ", &save); w && request->n_cmd < WORDS_MAX;
         w = strtok_r(NULL, " ", &save))
        message_append_text(&request->n_cmd, &request->cmd, w);
    struct run_request *q = mem_zalloc(sizeof(*q));
    *q = (struct run_request){.k = r->k, .x = x};
    http_exchange_on_close(x, on_gone, q);
    q->call = runtime_call(r->k->runtime, CRI_EXEC_SYNC, &request->base, 0, on_done, q);
    message_free(request);
}
