/* What an etcd may answer to a transaction (stream 1) and a watch (stream 3). */
#include <sys/socket.h>
#include <sys/un.h>

#include "base/strbuf.h"
#include "etcd-client/etcd.h"
#include "net/grpc_core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void touch(struct etcd_bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        sink ^= ((const uint8_t *)b.data)[i];
}

static void touch_reply(const struct etcd_reply *reply)
{
    for (size_t i = 0; i < reply->n; i++) {
        touch(reply->kvs[i].key);
        touch(reply->kvs[i].value);
    }
    for (size_t i = 0; i < reply->n_responses; i++)
        touch_reply(&reply->responses[i]);
}

static void on_reply(_unused_ void *arg, int code, const char *message,
                     const struct etcd_reply *reply)
{
    if (!message || (code == 0) != (reply != NULL))
        abort();
    if (reply)
        touch_reply(reply);
}

static void on_events(_unused_ void *arg, const struct etcd_event *events, size_t n,
                      _unused_ int64_t revision)
{
    if (n == 0)
        abort();
    for (size_t i = 0; i < n; i++) {
        touch(events[i].kv.key);
        touch(events[i].kv.value);
        touch(events[i].prev.key);
    }
}

static void on_end(_unused_ void *arg, int code, const char *message)
{
    if (code == 0 || !message)
        abort();
}

static int listen_at(char *url, size_t size)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/coracle-fuzz-etcd.%d",
                   (int)getpid());
    (void)snprintf(url, size, "unix://%s", addr.sun_path);
    (void)unlink(addr.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1) < 0)
        abort();
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct etcd_watch_events events = {.on_events = on_events, .on_end = on_end};
    char url[64], message[128];
    if (size > 65536)
        return 0;
    int fd = listen_at(url, sizeof(url));
    struct loop *loop = loop_new();
    struct rpc *rpc = rpc_new(loop, NULL);
    const char *urls[] = {url};
    struct etcd_options options = {.endpoints = urls, .n_endpoints = 1};
    struct etcd *etcd = etcd_new(loop, rpc, &options, message, sizeof(message));
    if (!etcd)
        abort();
    struct etcd_op op = {.kind = ETCD_OP_RANGE, .range = {.key = ETCD_STR("k")}};
    struct etcd_txn txn = {.success = &op, .n_success = 1};
    (void)etcd_txn(etcd, &txn, 0, on_reply, NULL);
    struct etcd_watch_request request = {.key = ETCD_STR("k"), .prefix = true, .prev = true};
    (void)etcd_watch(etcd, &request, &events, NULL);
    int peer = accept(fd, NULL, NULL);
    (void)unlink(url + strlen("unix://"));
    (void)close(fd);
    if (peer < 0)
        abort();
    static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    if (write(peer, settings, sizeof(settings)) < 0)
        abort();
    for (int i = 0; i < 4; i++) /* both streams open */
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    if (size && write(peer, data, size) < 0)
        abort();
    for (int i = 0; i < 10; i++)
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    (void)close(peer);
    for (int i = 0; i < 3; i++)
        (void)event_base_loop(loop_base(loop), EVLOOP_NONBLOCK);
    (void)etcd_free(etcd);
    (void)rpc_free(rpc);
    (void)loop_free(loop);
    return 0;
}
