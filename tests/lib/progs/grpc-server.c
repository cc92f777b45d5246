/*
 * A gRPC server for clients of other makes: a little of etcd's KV and Watch services, which etcdctl
 * (grpc-go) speaks. Argument: the socket's path. Keys: "big" has 3 MB, "fail" fails, "slow" never
 * answers, any other has "value of KEY". A watch reports two changes of its key and ends when the
 * client goes.
 */
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "etcd-client/proto/etcd.pb-c.h"
#include "net/grpc_client.h"
#include "net/grpc_server.h"

#define BIG (3u << 20)

struct program {
    struct loop *loop;
    struct rpc_server *server;
    uint8_t *big;
};

static bool is(ProtobufCBinaryData key, const char *name)
{
    return key.len == strlen(name) && memcmp(key.data, name, key.len) == 0;
}

static void give_up(struct rpc_server_call *call, _unused_ void *arg)
{
    (void)printf("cancelled %s\n", rpc_server_path(call));
    (void)fflush(stdout);
    rpc_server_end(call);
}

static void serve_range(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    struct program *p = arg;
    const Etcdserverpb__RangeRequest *in = (const void *)request;
    if (is(in->key, "fail")) {
        rpc_server_fail(call, RPC_FAILED_PRECONDITION, "100%% of nö: %s", "refused");
        return;
    }
    if (is(in->key, "slow")) {
        rpc_server_on_cancel(call, give_up, NULL);
        return;
    }
    _cleanup_free_ char *text = str_printf("value of %.*s", (int)in->key.len, (char *)in->key.data);
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__KeyValue kv = ETCDSERVERPB__KEY_VALUE__INIT, *kvs[] = {&kv};
    Etcdserverpb__RangeResponse out = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    header.revision = 7;
    kv.key = in->key;
    kv.value = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
    if (is(in->key, "big"))
        kv.value = (ProtobufCBinaryData){BIG, p->big};
    out.header = &header;
    out.n_kvs = 1;
    out.kvs = kvs;
    out.count = 1;
    rpc_server_reply(call, &out.base);
}

static void on_watch(struct rpc_server_call *call, const ProtobufCMessage *message,
                     _unused_ void *arg)
{
    const Etcdserverpb__WatchRequest *in = (const void *)message;
    if (in->request_union_case != ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST)
        return;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__WatchResponse out = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    header.revision = 7;
    out.header = &header;
    out.created = true;
    (void)rpc_server_send(call, &out.base);
    out.created = false;
    for (int i = 0; i < 2; i++) {
        static char first[] = "first", second[] = "second";
        Etcdserverpb__KeyValue kv = ETCDSERVERPB__KEY_VALUE__INIT;
        Etcdserverpb__Event event = ETCDSERVERPB__EVENT__INIT, *events[] = {&event};
        char *value = i ? second : first;
        header.revision = kv.mod_revision = 8 + i;
        kv.key = in->create_request->key;
        kv.value = (ProtobufCBinaryData){strlen(value), (uint8_t *)value};
        event.kv = &kv;
        out.n_events = 1;
        out.events = events;
        (void)rpc_server_send(call, &out.base);
    }
}

static void on_half_close(struct rpc_server_call *call, _unused_ void *arg)
{
    rpc_server_end(call);
}

static void serve_watch(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                        void *arg)
{
    rpc_server_on_message(call, on_watch, on_half_close, arg);
    rpc_server_on_cancel(call, give_up, NULL);
}

static const struct rpc_server_method methods[] = {
    {"/etcdserverpb.KV/Range", &etcdserverpb__range_request__descriptor, RPC_UNARY, serve_range},
    {"/etcdserverpb.Watch/Watch", &etcdserverpb__watch_request__descriptor, RPC_BIDI_STREAM,
     serve_watch},
};

static void on_signal(_unused_ int signo, void *arg)
{
    struct program *p = arg;
    loop_stop(p->loop, 0);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s PATH\n", argv[0]);
        return 2;
    }
    struct program p = {.loop = loop_new()};
    struct loop_signal term;
    struct error err = ERROR_INIT;
    struct rpc *rpc = rpc_new(p.loop, &err);
    struct rpc_server_options options = {.listen = argv[1]};
    p.server = rpc_server_new(rpc, &options);
    p.big = mem_zalloc(BIG);
    memset(p.big, 'x', BIG);
    loop_signal_init(&term, p.loop, SIGTERM, on_signal, &p);
    rpc_server_add(p.server, methods, ARRAY_SIZE(methods), &p);
    int r = rpc_server_start(p.server, &err);
    if (r < 0)
        (void)fprintf(stderr, "%s\n", error_text(&err));
    else
        r = loop_run(p.loop);
    loop_signal_done(&term);
    (void)rpc_server_free(p.server);
    (void)rpc_free(rpc);
    (void)loop_free(p.loop);
    free(p.big);
    return r == 0 ? 0 : 1;
}
