/* What a client may send to a gRPC server after HTTP/2's connection preface. */
#include <sys/socket.h>

#include "base/strbuf.h"
#include "etcd-client/proto/etcd.pb-c.h"
#include "net/grpc_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TYPE (&etcdserverpb__range_response__descriptor)

static void echo(struct rpc_server_call *call, const ProtobufCMessage *request, _unused_ void *arg)
{
    rpc_server_reply(call, request);
}

static void twice(struct rpc_server_call *call, const ProtobufCMessage *request, _unused_ void *arg)
{
    (void)rpc_server_send(call, request);
    (void)rpc_server_send(call, request);
    rpc_server_end(call);
}

static void back(struct rpc_server_call *call, const ProtobufCMessage *message, _unused_ void *arg)
{
    (void)rpc_server_send(call, message);
}

static void over(struct rpc_server_call *call, _unused_ void *arg)
{
    rpc_server_end(call);
}

static void chat(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                 _unused_ void *arg)
{
    rpc_server_on_message(call, back, over, NULL);
    rpc_server_on_cancel(call, over, NULL);
}

static const struct rpc_server_method methods[] = {
    {"/u", TYPE, RPC_UNARY, echo},
    {"/s", TYPE, RPC_SERVER_STREAM, twice},
    {"/b", TYPE, RPC_BIDI_STREAM, chat},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if (size > 65536) /* fits into the socket's buffer */
        return 0;
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        abort();
    struct loop *loop = loop_new();
    struct rpc *rpc = rpc_new(loop, NULL);
    struct rpc_server_options options = {.listen = "/nowhere"};
    struct rpc_server *server = rpc_server_new(rpc, &options);
    rpc_server_add(server, methods, ARRAY_SIZE(methods), NULL);
    rpc_server_adopt(server, fds[1]);
    if (write(fds[0], preface, sizeof(preface) - 1) < 0 || (size && write(fds[0], data, size) < 0))
        abort();
    for (int i = 0; i < 10; i++)
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    (void)close(fds[0]);
    for (int i = 0; i < 3; i++)
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    (void)rpc_server_free(server);
    (void)rpc_free(rpc);
    (void)loop_free(loop);
    return 0;
}
