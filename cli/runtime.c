/* A command's connection to the container runtime; see runtime.h. */
#include "cli/runtime.h"

#include <errno.h>
#include <fcntl.h>

#include "base/daemon.h"
#include "base/strbuf.h"
#include "net/cri.pb-c.h"
#include "net/images.pb-c.h"

#define CHUNK_MAX   (256 * 1024)
#define DEADLINE_MS 30000

int runtime_open(struct runtime *r, const char *root, struct error *err)
{
    *r = (struct runtime){.loop = loop_new()};
    _cleanup_free_ char *socket = daemon_path(root, "/run/coracle/cri.sock");
    _cleanup_free_ char *target = str_printf("unix://%s", socket);
    r->rpc = rpc_new(r->loop, err);
    if (r->rpc)
        r->client = rpc_client_new(r->rpc, &(struct rpc_client_options){.target = target}, err);
    if (r->client)
        return 0;
    runtime_close(r);
    return err && err->code ? err->code : -EIO;
}

void runtime_close(struct runtime *r)
{
    r->client = rpc_client_free(r->client);
    r->rpc = rpc_free(r->rpc);
    r->loop = loop_free(r->loop);
}

/* ---- unary calls ---- */

struct waiting {
    struct runtime *runtime;
    struct error *err;
    ProtobufCMessage **ret;
    size_t left; /* calls that have not been answered */
    int code;    /* the first failure */
};

static void keep_copy(const ProtobufCMessage *message, ProtobufCMessage **ret)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    _cleanup_free_ uint8_t *bytes = mem_zalloc(len);
    (void)protobuf_c_message_pack(message, bytes);
    *ret = protobuf_c_message_unpack(message->descriptor, NULL, len, bytes);
}

static void on_reply(void *arg, enum rpc_status status, const char *message,
                     const ProtobufCMessage *response)
{
    struct waiting *w = arg;
    if (status != RPC_OK && w->code == 0) {
        w->code = rpc_status_errno(status);
        if (status == RPC_UNAVAILABLE)
            (void)error_set(w->err, w->code, "the container runtime does not answer: %s", message);
        else
            (void)error_set(w->err, w->code, "%s", message);
    } else if (status == RPC_OK && w->ret) {
        keep_copy(response, w->ret);
    }
    if (--w->left == 0)
        loop_stop(w->runtime->loop, 0);
}

int runtime_call(struct runtime *r, const struct rpc_method *method,
                 const ProtobufCMessage *request, uint64_t deadline_ms, ProtobufCMessage **ret,
                 struct error *err)
{
    struct waiting w = {.runtime = r, .err = err, .ret = ret, .left = 1};
    (void)rpc_client_call(r->client, method, request, deadline_ms, on_reply, &w);
    (void)loop_run(r->loop);
    return w.code;
}

/* ---- import ---- */

struct import {
    struct runtime *runtime;
    struct rpc_stream *stream;
    int fd, code;
    bool ended, first;
    const char *name;
    struct error *err;
    void (*report)(const char *name, const char *id, void *arg);
    void *arg;
    size_t waiting; /* bytes in buf that were not taken */
    uint8_t buf[CHUNK_MAX];
};

/* Sends what fits the queue; goes on when there is room again. */
static void send_chunks(void *arg)
{
    struct import *im = arg;
    while (!im->ended) {
        ssize_t n = im->waiting ? (ssize_t)im->waiting : read(im->fd, im->buf, sizeof(im->buf));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            im->code = error_errno(im->err, -errno, "reading the archive");
            rpc_stream_cancel(im->stream);
            im->ended = true;
            loop_stop(im->runtime->loop, 0);
            return;
        }
        if (n == 0) {
            rpc_stream_close_send(im->stream);
            return;
        }
        Coracle__Images__V1__ImportRequest request = CORACLE__IMAGES__V1__IMPORT_REQUEST__INIT;
        if (im->first && im->name)
            request.name = (char *)(uintptr_t)im->name;
        request.chunk = (ProtobufCBinaryData){.data = im->buf, .len = (size_t)n};
        int r = rpc_stream_send(im->stream, &request.base);
        im->waiting = r == RPC_E_FULL ? (size_t)n : 0;
        if (r)
            return; /* there will be room, or on_import_end says why not */
        im->first = false;
    }
}

static void on_import_message(void *arg, const ProtobufCMessage *message)
{
    struct import *im = arg;
    const Coracle__Images__V1__ImportResponse *response =
        (const Coracle__Images__V1__ImportResponse *)message;
    for (size_t i = 0; i < response->n_images; i++) {
        const Coracle__Images__V1__ImportedImage *image = response->images[i];
        for (size_t n = 0; n < image->n_names; n++)
            im->report(image->names[n], image->id, im->arg);
        if (!image->n_names)
            im->report(image->id, image->id, im->arg);
    }
}

static void on_import_end(void *arg, enum rpc_status status, const char *message)
{
    struct import *im = arg;
    im->ended = true;
    if (status != RPC_OK)
        im->code = error_set(im->err, rpc_status_errno(status), "%s", message);
    loop_stop(im->runtime->loop, 0);
}

int runtime_import(struct runtime *r, const char *path, const char *name,
                   void (*report)(const char *name, const char *id, void *arg), void *arg,
                   struct error *err)
{
    static const struct rpc_method method = {"/coracle.images.v1.Images/Import",
                                             &coracle__images__v1__import_response__descriptor};
    static const struct rpc_stream_events events = {
        .on_message = on_import_message, .on_end = on_import_end, .on_writable = send_chunks};
    _cleanup_close_ int fd = open(str_eq(path, "-") ? "/dev/stdin" : path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, -errno, "%s", path);
    _cleanup_free_ struct import *im = mem_zalloc(sizeof(*im));
    *im = (struct import){.runtime = r,
                          .fd = fd,
                          .first = true,
                          .name = name,
                          .err = err,
                          .report = report,
                          .arg = arg};
    im->stream = rpc_client_stream(r->client, &method, NULL, false, 0, &events, im);
    send_chunks(im);
    if (!im->ended)
        (void)loop_run(r->loop);
    return im->code < 0 ? error_prefix(err, im->code, "%s", path) : 0;
}

/* ---- export ---- */

struct export
{
    struct runtime *runtime;
    int fd, code;
    struct rpc_stream *stream;
    struct error *err;
};

static void on_export_message(void *arg, const ProtobufCMessage *message)
{
    struct export *ex = arg;
    const Coracle__Images__V1__ExportResponse *m =
        (const Coracle__Images__V1__ExportResponse *)message;
    for (size_t at = 0; at < m->chunk.len;) {
        ssize_t n = write(ex->fd, m->chunk.data + at, m->chunk.len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            ex->code = error_errno(ex->err, -errno, "cannot write the archive");
            rpc_stream_cancel(ex->stream);
            loop_stop(ex->runtime->loop, 0);
            return;
        }
        at += (size_t)n;
    }
}

static void on_export_end(void *arg, enum rpc_status status, const char *message)
{
    struct export *ex = arg;
    if (status != RPC_OK)
        ex->code = error_set(ex->err, rpc_status_errno(status), "%s", message);
    loop_stop(ex->runtime->loop, 0);
}

int runtime_export(struct runtime *r, char **names, size_t count, int fd, struct error *err)
{
    static const struct rpc_method method = {"/coracle.images.v1.Images/Export",
                                             &coracle__images__v1__export_response__descriptor};
    static const struct rpc_stream_events events = {.on_message = on_export_message,
                                                    .on_end = on_export_end};
    Coracle__Images__V1__ExportRequest request = CORACLE__IMAGES__V1__EXPORT_REQUEST__INIT;
    struct export ex = {.runtime = r, .fd = fd, .err = err};
    request.names = names;
    request.n_names = count;
    ex.stream = rpc_client_stream(r->client, &method, &request.base, true, 0, &events, &ex);
    (void)loop_run(r->loop);
    return ex.code;
}

/* ---- drain ---- */

static const struct rpc_method list_containers = {
    "/runtime.v1.RuntimeService/ListContainers",
    &runtime__v1__list_containers_response__descriptor};
static const struct rpc_method stop_container = {"/runtime.v1.RuntimeService/StopContainer",
                                                 &runtime__v1__stop_container_response__descriptor};
static const struct rpc_method list_sandboxes = {
    "/runtime.v1.RuntimeService/ListPodSandbox",
    &runtime__v1__list_pod_sandbox_response__descriptor};
static const struct rpc_method stop_sandbox = {"/runtime.v1.RuntimeService/StopPodSandbox",
                                               &runtime__v1__stop_pod_sandbox_response__descriptor};
static const struct rpc_method remove_sandbox = {
    "/runtime.v1.RuntimeService/RemovePodSandbox",
    &runtime__v1__remove_pod_sandbox_response__descriptor};

static int stop_containers(struct runtime *r, int grace_s, struct error *err)
{
    Runtime__V1__ListContainersRequest request = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    int code = runtime_call(r, &list_containers, &request.base, DEADLINE_MS, &message, err);
    if (code < 0)
        return code;
    Runtime__V1__ListContainersResponse *list = (Runtime__V1__ListContainersResponse *)message;
    struct waiting w = {.runtime = r, .err = err, .left = 0};
    for (size_t i = 0; i < list->n_containers; i++) {
        if (list->containers[i]->state != RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING)
            continue;
        Runtime__V1__StopContainerRequest stop = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;
        stop.container_id = list->containers[i]->id;
        stop.timeout = grace_s;
        w.left++;
        (void)rpc_client_call(r->client, &stop_container, &stop.base,
                              DEADLINE_MS + (uint64_t)grace_s * 1000, on_reply, &w);
    }
    if (w.left)
        (void)loop_run(r->loop);
    protobuf_c_message_free_unpacked(message, NULL);
    return w.code;
}

int runtime_drain(struct runtime *r, int grace_s, struct error *err)
{
    int first = stop_containers(r, grace_s, err);
    Runtime__V1__ListPodSandboxRequest request = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    int code =
        runtime_call(r, &list_sandboxes, &request.base, DEADLINE_MS, &message, first ? NULL : err);
    if (code < 0)
        return first ? first : code;
    Runtime__V1__ListPodSandboxResponse *list = (Runtime__V1__ListPodSandboxResponse *)message;
    for (size_t i = 0; i < list->n_items; i++) {
        Runtime__V1__StopPodSandboxRequest stop = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
        Runtime__V1__RemovePodSandboxRequest gone = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;
        stop.pod_sandbox_id = gone.pod_sandbox_id = list->items[i]->id;
        code = runtime_call(r, &stop_sandbox, &stop.base, DEADLINE_MS, NULL, first ? NULL : err);
        if (code == 0)
            code =
                runtime_call(r, &remove_sandbox, &gone.base, DEADLINE_MS, NULL, first ? NULL : err);
        if (code < 0 && !first)
            first = code;
    }
    protobuf_c_message_free_unpacked(message, NULL);
    return first;
}
