/* What a server may send to a gRPC client that has a call and a stream open. */
#include <sys/socket.h>
#include <sys/un.h>

#include "base/strbuf.h"
#include "etcd-client/proto/etcd.pb-c.h"
#include "net/grpc_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int ended;

static void on_reply(_unused_ void *arg, enum rpc_status status, const char *message,
                     const ProtobufCMessage *response)
{
    if (!message || (status == RPC_OK) != (response != NULL))
        abort();
    ended++;
}

static void on_message(_unused_ void *arg, const ProtobufCMessage *message)
{
    if (!message)
        abort();
}

static void on_end(_unused_ void *arg, _unused_ enum rpc_status status, const char *message)
{
    if (!message)
        abort();
    ended++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rpc_method method = {"/u", &etcdserverpb__watch_response__descriptor};
    static const struct rpc_stream_events events = {.on_message = on_message, .on_end = on_end};
    if (size > 65536)
        return 0;
    char target[64];
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/coracle-fuzz.%d", (int)getpid());
    (void)snprintf(target, sizeof(target), "unix://%s", addr.sun_path);
    (void)unlink(addr.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1) < 0)
        abort();
    struct loop *loop = loop_new();
    struct rpc *rpc = rpc_new(loop, NULL);
    struct rpc_client_options options = {.target = target};
    struct rpc_client *client = rpc_client_new(rpc, &options, NULL);
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    ended = 0;
    (void)rpc_client_call(client, &method, &request.base, 0, on_reply, NULL);
    (void)rpc_client_stream(client, &method, &request.base, false, 0, &events, NULL);
    int peer = accept(fd, NULL, NULL);
    (void)unlink(addr.sun_path);
    (void)close(fd);
    if (peer < 0 || (size && write(peer, data, size) < 0))
        abort();
    for (int i = 0; i < 10; i++)
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    (void)close(peer);
    for (int i = 0; i < 10 && ended < 2; i++)
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    if (ended != 2) /* each is told of its end exactly once */
        abort();
    (void)rpc_client_free(client);
    (void)rpc_free(rpc);
    (void)loop_free(loop);
    return 0;
}
